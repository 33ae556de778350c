use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::source::capture::Reader;

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Frames between two looks at the clock.
const STEP: u32 = 8192;

/// A bar on stderr, where that is a terminal and the work is long.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes of all files; `None` if one of them is a pipe.
    total: Option<u64>,
    before: u64,
    frames: u32,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let size = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            metadata.is_file().then_some(metadata.len())
        };
        let total = files.iter().map(size).sum();
        Self {
            total,
            before: 0,
            frames: 0,
            started: Instant::now(),
            bar: None,
        }
    }

    /// A frame was read.
    pub(super) fn step(&mut self, reader: &Reader) {
        self.frames += 1;
        if self.frames < STEP {
            return;
        }
        self.frames = 0;
        if self.bar.is_none() && self.started.elapsed() >= PATIENCE {
            self.bar = Some(bar(self.total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.before + reader.progress().0);
        }
    }

    /// A file was read to its end.
    pub(super) fn end_of_file(&mut self, reader: &Reader) {
        self.before += reader.progress().0;
    }

    /// Takes the bar off the terminal.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Draws nothing where stderr is no terminal.
fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:40} {percent:>3} %  {bytes_per_sec}  {eta}",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {bytes}  {bytes_per_sec}",
        ),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
