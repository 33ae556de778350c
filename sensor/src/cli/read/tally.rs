use std::{collections::BTreeMap, fmt::Write};

use bytes::Bytes;

use crate::core::event::Text;

/// Different texts that are kept apart; a capture can hold millions.
const LIMIT: usize = 65_536;
/// Characters of a text that are shown.
const WIDTH: usize = 72;

/// How often each of a bounded number of texts occurred.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<Bytes, u64>,
    /// Occurrences of texts that came when there was no more room.
    beyond: u64,
}

impl Tally {
    pub(super) fn add(&mut self, text: &[u8]) {
        if let Some(count) = self.counts.get_mut(text) {
            *count += 1;
        } else if self.counts.len() < LIMIT {
            self.counts.insert(Bytes::copy_from_slice(text), 1);
        } else {
            self.beyond += 1;
        }
    }

    /// The most frequent, as lines below a heading; the same whatever order they came in.
    pub(super) fn render(&self, heading: &str, out: &mut String) {
        const SHOWN: usize = 10;
        if self.counts.is_empty() {
            return;
        }
        let more = if self.beyond > 0 { " or more" } else { "" };
        let _ = writeln!(out, "\n{heading} ({}{more})", self.counts.len());
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        for (text, count) in all.iter().take(SHOWN) {
            let _ = writeln!(
                out,
                "  {count:>9}  {}",
                printable(&Text((*text).clone()).to_str())
            );
        }
    }
}

/// Text off the wire, harmless on a terminal: control characters and those that turn the
/// direction of writing are escaped, and it is cut.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == WIDTH {
            shown.push('…');
            break;
        }
        let hidden = matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if character.is_control() || hidden {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_by_count_then_text() {
        let mut tally = Tally::default();
        for text in ["b", "a", "c", "c"] {
            tally.add(text.as_bytes());
        }
        let mut out = String::new();
        tally.render("Names", &mut out);
        assert_eq!(
            out,
            "\nNames (3)\n          2  c\n          1  a\n          1  b\n"
        );
    }

    #[test]
    fn memory_is_bounded_and_what_is_beyond_is_told() {
        let mut tally = Tally::default();
        for number in 0..LIMIT + 5 {
            tally.add(number.to_string().as_bytes());
        }
        assert_eq!((tally.counts.len(), tally.beyond), (LIMIT, 5));
        let mut out = String::new();
        tally.render("Names", &mut out);
        assert!(out.contains("(65536 or more)"), "{out}");
    }

    #[test]
    fn terminals_are_safe() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}é"), "a\\u{1b}[2J\\u{202e}é");
        assert_eq!(printable("a\u{9b}b"), "a\\u{9b}b");
        assert_eq!(printable(&"x".repeat(100)).chars().count(), WIDTH + 1);
    }
}
