//! Zeek's `history`: one letter per kind of packet, in the order of first sight, upper case for
//! the originator.

use crate::core::event::Text;
use crate::core::proto::Side;

/// Letters that are kept: beyond that the connection is odd enough to look at its packets.
const CAPACITY: usize = 20;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    letters: [u8; CAPACITY],
    len: u8,
    /// Bits of the letters that each side has, `A` the lowest.
    seen: [u32; 2],
    /// How often `G`, `T` and `W` happened, per side.
    repeats: [[u16; 3]; 2],
}

impl History {
    /// Notes a letter (upper case) once per side.
    #[inline]
    pub(crate) fn once(&mut self, side: Side, letter: u8) {
        let bit = 1 << (letter.wrapping_sub(b'A') & 31);
        if self.seen[side as usize] & bit == 0 {
            self.seen[side as usize] |= bit;
            self.push(side, letter);
        }
    }

    /// Notes a letter each time that it comes.
    pub(crate) fn push(&mut self, side: Side, letter: u8) {
        if let Some(place) = self.letters.get_mut(usize::from(self.len)) {
            *place = if side == Side::Originator {
                letter
            } else {
                letter.to_ascii_lowercase()
            };
            self.len += 1;
        }
    }

    /// Notes the 1st, 10th, 100th ... time that bytes were missing (`G`), were sent again (`T`),
    /// or that the window was closed (`W`).
    pub(crate) fn logarithmic(&mut self, side: Side, letter: u8) {
        let kind = match letter {
            b'G' => 0,
            b'T' => 1,
            _ => 2,
        };
        let count = &mut self.repeats[side as usize][kind];
        *count = count.saturating_add(1);
        if matches!(*count, 1 | 10 | 100 | 1_000 | 10_000) {
            self.push(side, letter);
        }
    }

    /// Notes that the roles were turned round.
    pub(crate) fn flipped(&mut self) {
        self.push(Side::Originator, b'^');
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.letters[..usize::from(self.len)]
    }

    /// Whether the originator sent a SYN and a RST but nothing that tells of an answer, nor one
    /// came: Zeek's pattern for a scan that resets half-open connections.
    pub(crate) fn is_half_open_reset(&self) -> bool {
        let letters = self.as_bytes();
        let letters = letters.strip_prefix(b"^").unwrap_or(letters);
        letters.first() == Some(&b'S')
            && letters
                .iter()
                .position(|letter| *letter == b'R')
                .is_some_and(|reset| {
                    letters[..reset]
                        .iter()
                        .all(|letter| !b"HAFGIQ".contains(letter))
                })
    }

    pub(crate) fn text(&self) -> Text {
        Text::from(self.as_bytes().to_vec())
    }
}
