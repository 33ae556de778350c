//! What the lists remember beside a pinned data plane: a map that only user space reads.

use std::{collections::BTreeMap, io};

use aya::maps::MapData;

use crate::{
    bpf::{
        pin::State,
        sys::map::{Table, create_table},
    },
    lists::Record,
};

/// Its name among the pinned maps; a new one where the layout of [`Record`] changes.
const NAME: &str = "LIST_RECORDS_1";

/// Entries that are remembered.
pub(super) const MAX_RECORDS: usize = 16_384;

/// The map, and what it holds.
#[derive(Debug)]
pub(super) struct ListRecords {
    table: Table<u32, Record>,
    held: BTreeMap<u32, Record>,
}

impl ListRecords {
    /// Opens the map of a state, made if it is missing.
    pub(super) fn open(state: &State) -> io::Result<Self> {
        if let Some(found) = Self::find(state)? {
            return Ok(found);
        }
        let fd = create_table::<u32, Record>(MAX_RECORDS as u32, b"list_records")?;
        let pinned = fd.try_clone()?;
        let map = MapData::from_fd(fd).map_err(io::Error::other)?;
        let table = Table::new(map)?;
        state.pin(NAME, &pinned)?;
        Ok(Self {
            table,
            held: BTreeMap::new(),
        })
    }

    /// Reads the map of a state, if it has one.
    pub(super) fn find(state: &State) -> io::Result<Option<Self>> {
        let Some(map) = state.open(NAME)? else {
            return Ok(None);
        };
        let table = Table::new(map)?;
        let held = table.elements()?.into_iter().collect();
        Ok(Some(Self { table, held }))
    }

    /// What is remembered, by the index of its hits.
    pub(super) fn read(&self) -> Vec<(u32, Record)> {
        self.held.iter().map(|(key, one)| (*key, *one)).collect()
    }

    /// Remembers exactly these, of which the kernel is told one by one: whenever the process is
    /// killed, each entry is remembered as it was or as it is to be.
    pub(super) fn write(&mut self, records: &[(u32, Record)]) -> io::Result<()> {
        let wanted: BTreeMap<_, _> = records.iter().copied().collect();
        let held = self.held.keys().copied();
        let gone: Vec<_> = held.filter(|key| !wanted.contains_key(key)).collect();
        for key in gone {
            self.table.delete(&key)?;
            self.held.remove(&key);
        }
        for (key, record) in wanted {
            if self.held.get(&key) != Some(&record) {
                self.table.set(&key, &record)?;
                self.held.insert(key, record);
            }
        }
        Ok(())
    }
}
