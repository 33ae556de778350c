//! Netlink messages as bytes: building requests, taking answers apart. No input makes it panic.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Attribute types carry two flags in their highest bits (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// A request in the making.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of type `kind`, which begins with the fixed part `body`.
    pub(super) fn new(kind: u16, flags: i32, body: &(impl IntoBytes + Immutable)) -> Self {
        let flags = u16::try_from(flags).unwrap_or(0);
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body.as_bytes());
        Self { bytes }
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends a text attribute with its terminator.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Appends what `fill` appends, as one nested attribute.
    pub(super) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let mut filled = fill(self);
        let len = u16::try_from(filled.bytes.len() - start).unwrap_or(u16::MAX);
        filled.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        filled.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        filled
    }

    /// The message, with its length filled in.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

/// The messages of one datagram; ends at the first that is cut short.
#[derive(Clone, Debug)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = u32::read_from_prefix(self.0).ok()?;
        let (kind, rest) = u16::read_from_prefix(rest).ok()?;
        let (flags, rest) = u16::read_from_prefix(rest).ok()?;
        let (sequence, _) = u32::read_from_prefix(rest).ok()?;
        let len = len as usize;
        let payload = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind,
            flags,
            sequence,
            payload,
        })
    }
}

/// A run of attributes; ends at the first that is cut short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of type `kind`.
    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut attributes = self;
        attributes.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// A number in host order.
    pub(super) fn number(self, kind: u16) -> Option<u32> {
        u32::read_from_prefix(self.get(kind)?)
            .ok()
            .map(|(value, _)| value)
    }

    /// A text without its terminator.
    pub(super) fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let end = value
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    }

    /// The attributes within one.
    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Attributes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = u16::read_from_prefix(self.0).ok()?;
        let (kind, _) = u16::read_from_prefix(rest).ok()?;
        let len = usize::from(len);
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let bytes = Request::new(18, 5, &7_u32)
            .text(3, "veth0")
            .nested(18, |inside| {
                inside.text(1, "vlan").attribute(2, &9_u32.to_ne_bytes())
            })
            .finish(42);
        let mut messages = Messages(&bytes);
        let message = messages.next().expect("one message");
        assert_eq!((message.kind, message.flags, message.sequence), (18, 5, 42));
        let (body, rest) = u32::read_from_prefix(message.payload).expect("a body");
        assert_eq!(body, 7);
        let attributes = Attributes(rest);
        assert_eq!(attributes.text(3).as_deref(), Some("veth0"));
        let inside = attributes.nested(18).expect("nested");
        assert_eq!(inside.text(1).as_deref(), Some("vlan"));
        assert_eq!(inside.number(2), Some(9));
        assert_eq!(inside.number(4), None);
        assert!(messages.next().is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics_or_loops(bytes in proptest::collection::vec(0_u8..24, 0..256)) {
            for message in Messages(&bytes) {
                for (_, value) in Attributes(message.payload) {
                    proptest::prop_assert!(Attributes(value).count() <= value.len());
                }
            }
        }
    }
}
