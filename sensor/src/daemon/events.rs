//! The outputs of a running sensor, each behind a queue of its own.

use std::{collections::BTreeMap, io, path::PathBuf};

use crate::{
    core::event::Event,
    metrics,
    output::{Dropped, OutputSettings, Queue, RotatingFile, Stream},
};

/// Why an output could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(
        "cannot write events to {}: {source}; set `output.eve.file` to another file",
        path.display()
    )]
    File { path: PathBuf, source: io::Error },
    #[error("cannot start an output: {0}")]
    Thread(io::Error),
}

/// All outputs, by the name that is their label.
#[derive(Debug)]
pub(super) struct Outputs(Vec<(&'static str, Queue)>);

impl Outputs {
    pub(super) fn open(settings: &OutputSettings, stdout: bool) -> Result<Self, OutputError> {
        let capacity = usize::try_from(settings.eve.queue).unwrap_or(usize::MAX);
        let mut outputs = Vec::new();
        if let Some(path) = &settings.eve.file {
            let file =
                RotatingFile::open(path, &settings.eve).map_err(|source| OutputError::File {
                    path: path.clone(),
                    source,
                })?;
            let queue = Queue::start("eve_file", file, capacity).map_err(OutputError::Thread)?;
            outputs.push(("eve_file", queue));
        }
        if stdout {
            let stream = Stream::new(io::stdout());
            let queue =
                Queue::start("eve_stdout", stream, capacity).map_err(OutputError::Thread)?;
            outputs.push(("eve_stdout", queue));
        }
        Ok(Self(outputs))
    }

    /// Hands an event to every output; never waits.
    pub(super) fn push(&self, event: Event) {
        let Some(((_, last), others)) = self.0.split_last() else {
            return;
        };
        for (_, queue) in others {
            queue.push(event.clone());
        }
        last.push(event);
    }

    pub(super) fn reopen(&self) {
        for (_, queue) in &self.0 {
            queue.reopen();
        }
    }

    /// Packets of flows in events that at least one output has neither written nor dropped yet.
    pub(super) fn unwritten_packets(&self) -> u64 {
        let queues = self.0.iter().map(|(_, queue)| queue.unwritten_packets());
        queues.max().unwrap_or(0)
    }

    /// Writes what is queued, and takes nothing any more.
    pub(super) fn close(&mut self) {
        self.0.clear();
    }

    /// Whether the reader of an output has gone, as in `sensor run --json | head`.
    pub(super) fn reader_left(&self) -> bool {
        self.0.iter().any(|(_, queue)| queue.is_closed())
    }

    /// What became of the events so far.
    pub(super) fn counters(&self) -> BTreeMap<&'static str, metrics::Output> {
        self.0
            .iter()
            .map(|(name, queue)| {
                let counters = queue.counters();
                let output = metrics::Output {
                    events: counters.written(),
                    dropped_queue_full: counters.dropped(Dropped::QueueFull),
                    dropped_write_error: counters.dropped(Dropped::WriteError),
                };
                (*name, output)
            })
            .collect()
    }
}
