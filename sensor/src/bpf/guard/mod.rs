//! The user side of the SYN-flood guard: its maps, and what the system's settings let a cookie carry.

mod system;

use std::{collections::VecDeque, io};

use sensor_ebpf::abi::{
    Destination, DestinationCounters, DestinationKey, GuardSettings, MAX_DESTINATIONS,
    MAX_SUSPECTS, SEED_WORDS, Settings, map,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::{
    GuardTables,
    pin::State,
    sys::map::{Array, Cursor, PerCpuArray, Table},
};

pub use system::TcpSettings;

/// The guard's maps, and which slot belongs to which destination.
#[derive(Debug)]
pub(super) struct Guard {
    maps: Maps,
    tables: GuardTables,
    seed: [u64; SEED_WORDS],
    /// What is in `DESTINATIONS`.
    destinations: Vec<(DestinationKey, Destination)>,
    /// The slots that are free, the one that was given back last at the end: a program that still
    /// counts for the destination that had it shall not count for the next.
    free: VecDeque<u32>,
}

#[derive(Debug)]
pub(super) struct Maps {
    pub(super) settings: Array<GuardSettings>,
    pub(super) heartbeat: Array<u64>,
    pub(super) destinations: Table<DestinationKey, Destination>,
    pub(super) suspects: Table<DestinationKey, u64>,
    pub(super) counters: PerCpuArray<DestinationCounters>,
}

impl Guard {
    pub(super) fn new(maps: Maps, tables: GuardTables) -> io::Result<Self> {
        Ok(Self {
            maps,
            tables,
            seed: random()?,
            destinations: Vec::new(),
            free: (0..MAX_DESTINATIONS as u32).collect(),
        })
    }

    /// Goes on with the seed and the destinations of an earlier process, under whose protection
    /// they are at this moment.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        let seed = self.maps.settings.get(0)?.seed;
        if seed != [0; SEED_WORDS] {
            self.seed = seed;
        }
        self.destinations = self.maps.destinations.elements()?;
        let used = |slot: &u32| self.destinations.iter().any(|(_, has)| has.slot == *slot);
        self.free = (0..MAX_DESTINATIONS as u32)
            .filter(|slot| !used(slot))
            .collect();
        Ok(())
    }

    /// Takes over the destinations of an earlier data plane, whose maps this one replaces. Returns
    /// the `GuardMode` that was in force there.
    pub(super) fn inherit(&mut self, from: &State) -> io::Result<u32> {
        let open = |name| -> io::Result<_> {
            let map = from.open(name)?;
            map.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let settings: Array<Settings> = Array::new(open(map::SETTINGS)?)?;
        let destinations: Table<_, _> = Table::new(open(map::DESTINATIONS)?)?;
        for (key, destination) in destinations.elements()? {
            self.put(key, destination)?;
        }
        Ok(settings.get(0)?.guard)
    }

    pub(super) fn destinations(&self) -> &[(DestinationKey, Destination)] {
        &self.destinations
    }

    /// Puts settings into force. What this side owns of them (seed, sizes, what cookies may carry)
    /// is filled in; the system's part is read anew each time.
    pub(super) fn configure(&self, settings: &GuardSettings) -> io::Result<()> {
        let tcp = TcpSettings::read();
        let settings = GuardSettings {
            seed: self.seed,
            syn_filter_mask: self.tables.syn_filter - 1,
            sources_mask: self.tables.sources - 1,
            source_rates_mask: self.tables.source_rates - 1,
            flags: tcp.cookie_flags(),
            window_scale: tcp.window_scale(),
            source_burst: settings.source_burst.min(GuardSettings::MAX_BURST),
            ..*settings
        };
        self.maps.settings.set(0, &settings)
    }

    pub(super) fn beat(&self, now_ns: u64) -> io::Result<()> {
        self.maps.heartbeat.set(0, &now_ns)
    }

    pub(super) fn has(&self, key: &DestinationKey) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &DestinationKey) -> Option<usize> {
        self.destinations.iter().position(|(has, _)| has == key)
    }

    pub(super) fn put(&mut self, key: DestinationKey, wanted: Destination) -> io::Result<u32> {
        if let Some(at) = self.find(&key) {
            let slot = self.destinations[at].1.slot;
            let destination = Destination { slot, ..wanted };
            self.maps.destinations.set(&key, &destination)?;
            self.destinations[at].1 = destination;
            return Ok(slot);
        }
        let Some(slot) = self.free.pop_front() else {
            return Err(io::Error::other(format!(
                "{MAX_DESTINATIONS} destinations are watched already"
            )));
        };
        let destination = Destination { slot, ..wanted };
        let put = self
            .maps
            .counters
            .zero(slot)
            .and_then(|()| self.maps.destinations.set(&key, &destination));
        if let Err(error) = put {
            self.free.push_front(slot);
            return Err(error);
        }
        self.destinations.push((key, destination));
        Ok(slot)
    }

    pub(super) fn remove(&mut self, key: &DestinationKey) -> io::Result<bool> {
        let Some(at) = self.find(key) else {
            return Ok(false);
        };
        self.maps.destinations.delete(key)?;
        let (_, destination) = self.destinations.swap_remove(at);
        self.free.push_back(destination.slot);
        Ok(true)
    }

    pub(super) fn suspects(&self) -> io::Result<Vec<(DestinationKey, u64)>> {
        let mut keys = vec![DestinationKey::default(); MAX_SUSPECTS];
        let mut times = vec![0; MAX_SUSPECTS];
        let mut found = Vec::new();
        let mut cursor = Cursor::default();
        // A kernel that always has more must not keep us here.
        for _ in 0..MAX_SUSPECTS {
            let batch = self
                .maps
                .suspects
                .read(&mut cursor, &mut keys, &mut times)?;
            found.extend(
                keys.iter()
                    .copied()
                    .zip(times.iter().copied())
                    .take(batch.count),
            );
            if batch.end {
                break;
            }
        }
        let keys: Vec<_> = found.iter().map(|(key, _)| *key).collect();
        self.maps.suspects.delete_all(&keys)?;
        Ok(found)
    }

    pub(super) fn counters(
        &mut self,
        key: &DestinationKey,
    ) -> io::Result<Option<DestinationCounters>> {
        let Some(at) = self.find(key) else {
            return Ok(None);
        };
        let slot = self.destinations[at].1.slot;
        let mut sum = DestinationCounters::new_zeroed();
        for cpu in self.maps.counters.read(slot)? {
            // All of its fields are counters of 64 bits.
            for (to, from) in words(&mut sum).iter_mut().zip(words(&mut cpu.to_owned())) {
                *to = to.wrapping_add(*from);
            }
        }
        Ok(Some(sum))
    }
}

fn words(counters: &mut DestinationCounters) -> &mut [u64] {
    <[u64]>::mut_from_bytes(counters.as_mut_bytes()).unwrap_or_default()
}

fn random() -> io::Result<[u64; SEED_WORDS]> {
    let mut seed = [0; SEED_WORDS];
    let bytes = seed.as_mut_bytes();
    // SAFETY: the kernel writes at most as many bytes as there are.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes come whole, or not at all.
    if usize::try_from(got).is_ok_and(|got| got == bytes.len()) {
        Ok(seed)
    } else {
        Err(io::Error::last_os_error())
    }
}
