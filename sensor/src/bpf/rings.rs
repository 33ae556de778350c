//! The sample rings, one for each CPU that is online.

use std::{
    fmt, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    time::Duration,
};

use aya::maps::{Map, MapData, MapType, RingBuf};
use sensor_ebpf::abi::SampleHeader;
use zerocopy::FromBytes as _;

use super::{
    Polled,
    pin::State,
    sys::map::{OuterArray, create_ring},
};
use crate::source::live::monotonic_ns;

/// Records of one ring before the next has its turn.
const TURN: usize = 64;

/// The rings, and how far each has been read.
pub(super) struct Rings {
    rings: Vec<Ring>,
    /// The ring that has the first turn of the next round.
    first: usize,
    /// Nothing is written into adopted rings any more.
    is_over: bool,
}

struct Ring {
    buffer: RingBuf<MapData>,
    origin: Origin,
    /// Kernel time of the latest record that was read.
    read_ns: u64,
}

/// Whose records are in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Own,
    /// Of an earlier data plane.
    Earlier,
    /// Of one with another layout of records, which can only be counted.
    Foreign,
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings")
            .field("rings", &self.rings.len())
            .finish_non_exhaustive()
    }
}

impl Rings {
    /// Makes a ring for each of `cpus` and puts it into `outer`.
    ///
    /// CPUs beyond the array's length share rings with others; a CPU that comes online later has
    /// none, and its samples count as lost for want of a ring. A ring that is pinned in `state` is
    /// used with what it holds.
    pub(super) fn create(
        outer: &OuterArray,
        cpus: &[u32],
        bytes: u32,
        state: Option<&State>,
    ) -> io::Result<Self> {
        let mut rings = Vec::new();
        for cpu in cpus.iter().filter(|cpu| **cpu < outer.len()) {
            let map = match state {
                Some(state) => pinned_ring(state, *cpu, bytes)?,
                None => MapData::from_fd(create_ring(bytes)?).map_err(io::Error::other)?,
            };
            outer.set(*cpu, map.fd().as_fd())?;
            rings.push(Ring::new(map, Origin::Own)?);
        }
        Ok(Self {
            rings,
            first: 0,
            is_over: false,
        })
    }

    /// Reads the rings of an earlier data plane as well, with what waits in them and what its
    /// programs still write. Records that this build cannot read count as malformed. Returns how
    /// many rings could not be opened, whose samples are lost.
    ///
    /// # Errors
    /// If it cannot be told which rings there are.
    pub(super) fn adopt(&mut self, state: &State, is_readable: bool) -> io::Result<u64> {
        let origin = if is_readable {
            Origin::Earlier
        } else {
            Origin::Foreign
        };
        let mut lost = 0;
        for name in state.names()? {
            if !name.starts_with(PINNED) {
                continue;
            }
            let opened = state.open(&name).and_then(|map| {
                let map = map.ok_or(io::ErrorKind::NotFound)?;
                Ring::new(map, origin)
            });
            match opened {
                Ok(ring) => self.rings.push(ring),
                Err(error) => {
                    tracing::warn!(ring = name, %error, "Samples that wait in it are lost");
                    lost += 1;
                }
            }
        }
        Ok(lost)
    }

    /// No program writes into adopted rings any more: each goes once it is empty.
    pub(super) const fn release(&mut self) {
        self.is_over = true;
    }

    /// See [`super::DataPlane::poll_samples`].
    ///
    /// Records of generations after `last` are left in their rings, and all behind them.
    pub(super) fn poll(
        &mut self,
        budget: usize,
        last: u64,
        mut sink: impl FnMut(&SampleHeader, &[u8]),
    ) -> Polled {
        // Read before the rings: what comes later is at least as late.
        let started_ns = monotonic_ns();
        let mut polled = Polled::default();
        let mut empty = vec![false; self.rings.len()];
        while polled.records < budget && empty.contains(&false) {
            let at = self.first % self.rings.len();
            self.first = at + 1;
            if empty[at] {
                continue;
            }
            let ring = &mut self.rings[at];
            for _ in 0..TURN.min(budget - polled.records) {
                let Some(record) = ring.buffer.next() else {
                    empty[at] = true;
                    break;
                };
                let split = match ring.origin {
                    Origin::Own | Origin::Earlier => split(&record),
                    Origin::Foreign => None,
                };
                if split.is_some_and(|(header, _)| header.epoch > last) {
                    // Dropping a record is what takes it out of its ring.
                    std::mem::forget(record);
                    empty[at] = true;
                    break;
                }
                polled.records += 1;
                match split {
                    Some((header, bytes)) => {
                        ring.read_ns = ring.read_ns.max(header.time_ns);
                        sink(&header, bytes);
                    }
                    None => polled.malformed += 1,
                }
            }
        }
        polled.more = empty.contains(&false);
        polled.frontier_ns = self
            .rings
            .iter()
            .zip(&empty)
            .map(|(ring, empty)| match ring.origin {
                Origin::Own | Origin::Earlier if !empty => ring.read_ns,
                _ => started_ns,
            })
            .min()
            .unwrap_or(started_ns);
        if self.is_over {
            let mut empty = empty.iter();
            self.rings
                .retain(|ring| empty.next() == Some(&false) || ring.origin == Origin::Own);
        }
        polled
    }

    /// See [`super::DataPlane::wait`].
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut fds: Vec<_> = self
            .fds()
            .map(|fd| libc::pollfd {
                fd: fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let count = libc::nfds_t::try_from(fds.len()).map_err(io::Error::other)?;
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `fds` is an array of `count` entries, which the kernel fills in.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), count, timeout) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(false)
            } else {
                Err(error)
            };
        }
        Ok(ready > 0)
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| ring.buffer.as_fd())
    }
}

impl Ring {
    fn new(map: MapData, origin: Origin) -> io::Result<Self> {
        // Names promise nothing where another version has given them.
        let kind = map.info().and_then(|info| info.map_type());
        if kind.map_err(io::Error::other)? != MapType::RingBuf {
            return Err(io::Error::other("a map that is called a ring is none"));
        }
        let buffer = RingBuf::try_from(Map::RingBuf(map)).map_err(io::Error::other)?;
        Ok(Self {
            buffer,
            origin,
            read_ns: 0,
        })
    }
}

/// What the names of pinned rings begin with; the CPU's number follows.
const PINNED: &str = "RING_";

/// The CPU's ring that an earlier process has pinned, or a new one under its name.
fn pinned_ring(state: &State, cpu: u32, bytes: u32) -> io::Result<MapData> {
    let name = format!("{PINNED}{cpu}");
    if let Some(ring) = state.open(&name)? {
        return Ok(ring);
    }
    let ring = create_ring(bytes)?;
    state.pin(&name, &ring)?;
    MapData::from_fd(ring).map_err(io::Error::other)
}

/// Header and captured bytes. A record is as long as its size class, so bytes may follow.
fn split(record: &[u8]) -> Option<(SampleHeader, &[u8])> {
    let (header, rest) = SampleHeader::read_from_prefix(record).ok()?;
    let bytes = rest.get(..header.captured_len as usize)?;
    Some((header, bytes))
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn a_record_is_cut_to_what_was_captured() {
        let header = SampleHeader {
            captured_len: 3,
            wire_len: 9,
            ..SampleHeader::default()
        };
        let mut record = header.as_bytes().to_vec();
        record.extend_from_slice(b"abcdef");
        assert_eq!(split(&record), Some((header, &b"abc"[..])));
        assert_eq!(split(&record[..size_of::<SampleHeader>() + 2]), None);
        assert_eq!(split(&record[..10]), None);
    }
}
