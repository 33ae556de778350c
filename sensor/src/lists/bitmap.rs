//! The kernel's index of the lists, made from what is listed.

use sensor_ebpf::lists::index::{self, Slot, WORDS};

use super::Prefix;

/// Bits of an address that its IPv4 slot shows: 96 of the mapping, and a /24.
const V4_BITS: u8 = 96 + 24;
/// Bits of an address that its IPv6 slot shows.
const V6_BITS: u8 = 32;
/// IPv6 prefixes up to this length cover more /32s than there are slots.
const V6_ALL: u8 = 10;

/// All words of `LIST_INDEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap(Vec<u64>);

impl Bitmap {
    pub(crate) fn new() -> Self {
        Self(vec![0; WORDS])
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    fn set(&mut self, slot: Slot, bits: u64) {
        if let Some(word) = self.0.get_mut(slot.word() as usize) {
            *word |= bits << slot.shift();
        }
    }

    /// Marks the slots that `prefix` overlaps.
    pub(super) fn add(&mut self, prefix: Prefix, bits: u64) {
        if prefix.is_v4() {
            let first = (prefix.first() >> 8) as u32 & 0xff_ffff;
            let count = 1_u32 << V4_BITS.saturating_sub(prefix.bits());
            for net in first..first + count {
                self.set(Slot::v4(net), bits);
            }
        } else if prefix.bits() <= V6_ALL {
            for slot in index::all_v6() {
                self.set(slot, bits);
            }
        } else {
            let first = (prefix.first() >> 96) as u32;
            let last = first | ((1_u32 << V6_BITS.saturating_sub(prefix.bits())) - 1);
            for net in first..=last {
                self.set(Slot::v6(net), bits);
            }
        }
    }

    /// Marks a port.
    pub(super) fn add_port(&mut self, protocol: u16, port: u16) {
        let slot = u8::try_from(protocol)
            .ok()
            .and_then(|protocol| Slot::port(protocol, port));
        if let Some(slot) = slot {
            self.set(slot, index::PREFIX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Target;

    fn marked(texts: &[&str]) -> Bitmap {
        let mut bitmap = Bitmap::new();
        for text in texts {
            match text.parse().unwrap() {
                Target::Net(prefix) => bitmap.add(prefix, index::PREFIX),
                Target::Port(port) => bitmap.add_port(port.protocol, port.port),
            }
        }
        bitmap
    }

    fn has(bitmap: &Bitmap, slot: Slot) -> bool {
        bitmap.words()[slot.word() as usize] >> slot.shift() & index::PREFIX != 0
    }

    fn count(bitmap: &Bitmap) -> u32 {
        bitmap.words().iter().map(|word| word.count_ones()).sum()
    }

    #[test]
    fn a_prefix_marks_what_it_overlaps_and_nothing_else() {
        let bitmap = marked(&["192.0.2.128/25", "10.0.0.0/22"]);
        assert!(has(&bitmap, Slot::v4(0xc0_0002)));
        assert!((0..4).all(|net| has(&bitmap, Slot::v4(0x0a_0000 + net))));
        assert_eq!(count(&bitmap), 5);
        assert_eq!(count(&marked(&["0.0.0.0/0"])), 1 << 24);
        assert_eq!(count(&marked(&["2001:db8::1"])), 1);
        let v6 = marked(&["2001:db8::/30"]);
        assert!((0..4).all(|net| has(&v6, Slot::v6(0x2001_0db8 + net))));
        assert!(count(&v6) <= 4);
        assert_eq!(count(&marked(&["::/0"])), 1 << 22);
        assert_eq!(count(&marked(&["ffc0::/10"])), 1 << 22);
        assert!(has(&marked(&["ffe0::/11"]), Slot::v6(u32::MAX)));
        let port = marked(&["tcp/22"]);
        assert!(has(&port, Slot::port(6, 22).unwrap()));
        assert_eq!(count(&port), 1);
    }
}
