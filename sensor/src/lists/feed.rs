//! Feeds: files with an address or a prefix a line.

use super::{Target, TargetError};

/// A line that names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub error: TargetError,
}

/// What a feed holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// In the order of the file, each as often as it stands there.
    pub targets: Vec<Target>,
    /// Lines that were skipped.
    pub bad: usize,
    /// The first of them.
    pub first_bad: Option<BadLine>,
}

impl Feed {
    /// Reads a feed: one address, prefix or port a line. What follows `#` or `;`, and what follows
    /// the first word, is a comment. A line that names nothing is skipped and counted.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut feed = Self::default();
        for (at, line) in text.lines().enumerate() {
            let content = line.split(['#', ';']).next().unwrap_or_default();
            let Some(word) = content.split_whitespace().next() else {
                continue;
            };
            match Target::parse_lenient(word) {
                Ok(target) => feed.targets.push(target),
                Err(error) => {
                    feed.bad += 1;
                    if feed.first_bad.is_none() {
                        feed.first_bad = Some(BadLine {
                            line: at + 1,
                            error,
                        });
                    }
                }
            }
        }
        feed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_what_follows_are_skipped() {
        let feed = Feed::parse(
            "; Spamhaus DROP List\n\
             192.0.2.0/24 ; SBL123456\n\
             # firehol\n\
             \n\
             \t198.51.100.7 # a host\r\n\
             2001:db8::/32 some words\n\
             203.0.113.77/24\n",
        );
        let written: Vec<_> = feed.targets.iter().map(ToString::to_string).collect();
        assert_eq!(
            written,
            [
                "192.0.2.0/24",
                "198.51.100.7",
                "2001:db8::/32",
                "203.0.113.0/24"
            ]
        );
        assert_eq!((feed.bad, feed.first_bad), (0, None));
    }

    #[test]
    fn broken_lines_are_counted_and_the_first_is_told() {
        let feed = Feed::parse("192.0.2.1\n<html>\n999.0.0.1\n192.0.2.2\n");
        assert_eq!(feed.targets.len(), 2);
        assert_eq!(feed.bad, 2);
        let first = feed.first_bad.expect("a bad line");
        assert_eq!(first.line, 2);
        assert_eq!(first.error, TargetError::Unknown("<html>".to_owned()));
    }
}
