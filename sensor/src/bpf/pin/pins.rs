//! What a running sensor holds of its pins.

use std::{io, path::Path};

use sensor_ebpf::hash::FLOW_SEED_WORDS;

use super::{
    super::{slots::Slots, sys::map::Array},
    Directory, Found, Head, Meta, PinError, State,
};
use crate::source::live::monotonic_ns;

/// The pinned state that this process counts into, and the folder around it.
#[derive(Debug)]
pub(in super::super) struct Pins {
    pub(in super::super) directory: Directory,
    pub(in super::super) state: State,
    /// What this process knows of it.
    meta: Meta,
    /// The map that tells the next one, once the state is whole.
    map: Option<Array<Meta>>,
    /// As the state said before this process wrote anything; none if it is a new one.
    pub(in super::super) found: Option<Head>,
    /// Not removed when this process ends.
    pub(in super::super) keep: bool,
}

/// What there was before this process.
#[derive(Debug, Default)]
pub(in super::super) struct Before {
    /// The state to go on with says this of itself.
    pub(in super::super) own: Option<Box<Meta>>,
    /// States with other layouts, which are read once and removed.
    pub(in super::super) others: Vec<Old>,
}

/// A state with other layouts.
#[derive(Debug)]
pub(in super::super) struct Old {
    pub(in super::super) state: State,
    pub(in super::super) head: Head,
    /// All that it says, where the version is the same.
    pub(in super::super) meta: Option<Box<Meta>>,
}

impl Old {
    /// Writes what it says, if this build knows how.
    pub(super) fn save(&self) -> Result<(), PinError> {
        let Some(meta) = &self.meta else {
            return Ok(());
        };
        let map = self.state.open_meta(meta)?;
        map.set(0, meta)
            .map_err(|source| self.state.unwritable(source))
    }
}

impl Pins {
    /// Takes the folder at `path`, and looks at what is in it. `number` is that of the layouts
    /// that this process will load.
    pub(in super::super) fn open(path: &Path, number: u64) -> Result<(Self, Before), PinError> {
        let directory = Directory::open(path)?;
        let (state, other_states) = directory.states(number)?;
        let own = match state.meta()? {
            Found::Known(meta) => Some(meta),
            Found::Unfinished => {
                state.clear()?;
                None
            }
            // Another version whose layouts have the same number by chance, or a damaged one.
            Found::Other(_) => {
                tracing::warn!(state = state.number(), "A pinned state is not readable");
                state.clear()?;
                None
            }
        };
        let has_links = !directory.linked()?.is_empty();
        let mut others = Vec::new();
        for state in other_states {
            match state.meta()? {
                Found::Unfinished => state.remove()?,
                Found::Known(meta) => others.push(Old {
                    state,
                    head: meta.head,
                    meta: Some(meta),
                }),
                Found::Other(head) => others.push(Old {
                    state,
                    head,
                    meta: None,
                }),
            }
        }
        let pins = Self {
            directory,
            state,
            meta: own.as_deref().copied().unwrap_or_default(),
            map: None,
            found: own.as_ref().map(|meta| meta.head),
            // Whatever goes wrong now, what was there before stays: also programs that run on
            // devices and count into maps that have no name any more.
            keep: own.is_some() || !others.is_empty() || has_links,
        };
        Ok((pins, Before { own, others }))
    }

    /// What the state shall say of its flow tables.
    pub(in super::super) const fn describe(
        &mut self,
        flow_capacity: u32,
        flow_seed: [u64; FLOW_SEED_WORDS],
    ) {
        self.meta.flow_capacity = flow_capacity;
        self.meta.flow_seed = flow_seed;
    }

    /// Makes the state whole, before anything counts into it: all maps have their names, and hold
    /// what the state before had that shall outlive it. A start that ends before this leaves
    /// nothing but what there was.
    pub(in super::super) fn complete(&mut self, slots: &Slots) -> Result<(), PinError> {
        slots.record(&mut self.meta);
        self.meta.head.heartbeat_ns = monotonic_ns();
        self.map = Some(self.state.open_meta(&self.meta)?);
        Ok(())
    }

    pub(in super::super) const fn head(&mut self) -> &mut Head {
        &mut self.meta.head
    }

    /// The outputs have taken a generation of so many packets, and nothing of it is cleared yet.
    pub(in super::super) fn recorded(
        &mut self,
        epoch: u64,
        packets: u64,
        slots: &Slots,
    ) -> io::Result<()> {
        self.meta.head.recorded = epoch;
        self.meta.head.drained_packets += packets;
        self.save(slots)
    }

    /// Tells the next process how things stand.
    pub(in super::super) fn save(&mut self, slots: &Slots) -> io::Result<()> {
        slots.record(&mut self.meta);
        self.meta.head.heartbeat_ns = monotonic_ns();
        let Some(map) = &self.map else {
            return Ok(());
        };
        map.set(0, &self.meta)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.directory.remove() {
            tracing::error!("A start that failed has left pins behind: {error}");
        }
    }
}
