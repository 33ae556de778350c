//! EVE JSON Lines in blocks of whole lines.

use std::io;

use super::Sink;
use crate::core::event::Event;

/// Lines are handed to the sink once there are so many bytes of them.
const BUFFER: usize = 128 * 1024;

/// Writes events as EVE JSON Lines, in blocks of whole lines.
#[derive(Debug)]
pub struct EveWriter<S> {
    sink: S,
    buffer: Vec<u8>,
    /// Events in `buffer`.
    waiting: u64,
    written: u64,
    lost: u64,
}

impl<S: Sink> EveWriter<S> {
    pub fn new(sink: S) -> Self {
        let buffer = Vec::with_capacity(BUFFER + BUFFER / 4);
        Self {
            sink,
            buffer,
            waiting: 0,
            written: 0,
            lost: 0,
        }
    }

    /// Adds an event's line.
    ///
    /// # Errors
    /// If the sink fails: see [`Self::flush`].
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let start = self.buffer.len();
        // JSON escapes control characters, so that a line is a line whatever was on the wire.
        if let Err(error) = serde_json::to_writer(&mut self.buffer, event) {
            self.buffer.truncate(start);
            self.lost += 1;
            return Err(error.into());
        }
        self.buffer.push(b'\n');
        self.waiting += 1;
        if self.buffer.len() >= BUFFER {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Hands all lines to the sink.
    ///
    /// # Errors
    /// If the sink fails; the lines are dropped then and [`Self::lost`] says how many.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let outcome = self.sink.append(&self.buffer);
        let count = std::mem::take(&mut self.waiting);
        if outcome.is_ok() {
            self.written += count;
        } else {
            self.lost += count;
        }
        self.buffer.clear();
        outcome
    }

    /// Whether the sink has been handed every line.
    pub const fn is_flushed(&self) -> bool {
        self.waiting == 0
    }

    /// Events that the sink took.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Events that it did not take.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// The sink.
    pub const fn sink(&mut self) -> &mut S {
        &mut self.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Stream, queue::tests::event};

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let mut writer = EveWriter::new(Stream::new(Vec::new()));
        for number in 0..3 {
            writer.write(&event(number)).unwrap();
        }
        assert!(
            writer.sink.stream.is_empty(),
            "nothing is written line by line"
        );
        writer.flush().unwrap();
        assert_eq!((writer.written(), writer.lost()), (3, 0));
        let text = String::from_utf8(writer.sink.into_inner()).unwrap();
        let numbers: Vec<_> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["pcap_cnt"].clone()
            })
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
    }
}
