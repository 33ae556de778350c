//! Where events go: EVE JSON Lines on stdout or in a file that rotates.
//!
//! [`EveWriter`] turns events into lines, synchronously: `sensor read` uses it as it is. A live
//! sensor puts a [`Queue`] in front of it, so that a slow or full disk costs events, counted by
//! reason, and never packets.

mod eve;
mod file;
mod queue;
mod settings;

use std::io::{self, Write};

pub use self::{
    eve::EveWriter,
    file::RotatingFile,
    queue::{Counters, DROP_REASONS, Dropped, Queue},
    settings::{EveSettings, OutputSettings},
};

/// Takes whole lines.
pub trait Sink: Send {
    /// Writes `lines`, which end with a line feed.
    ///
    /// # Errors
    /// What the operating system says. The lines are lost then; a later line is never appended to
    /// the rest of an earlier one.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Opens the destination anew, after it was moved away.
    ///
    /// # Errors
    /// Where it cannot be opened; the old one is kept then.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream as a sink: stdout, a pipe, a buffer.
#[derive(Debug)]
pub struct Stream<W> {
    stream: W,
    /// A write failed, perhaps in the middle of a line.
    torn: bool,
}

impl<W: Write> Stream<W> {
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            torn: false,
        }
    }

    /// The stream, with everything written to it.
    pub fn into_inner(self) -> W {
        self.stream
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        if torn {
            self.stream.write_all(b"\n")?;
        }
        self.stream.write_all(lines)?;
        self.stream.flush()?;
        self.torn = false;
        Ok(())
    }
}
