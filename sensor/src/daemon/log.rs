//! Messages on stderr.

use std::{env, io};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat, LogLevel};

/// Changes the level of a running sensor.
#[derive(Clone, Debug)]
pub(super) struct Levels(reload::Handle<LevelFilter, Registry>);

impl Levels {
    pub(super) fn set(&self, level: LogLevel) {
        // Fails only if the subscriber is gone, and with it every message.
        let _ = self.0.reload(filter(level));
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Starts logging. A second call in one process changes nothing.
pub(super) fn init(config: &Log) -> Levels {
    let (level, handle) = reload::Layer::new(filter(config.level));
    // The journal has its own time, and no colours.
    let in_journal = env::var_os("JOURNAL_STREAM").is_some();
    let plain = fmt::layer().with_writer(io::stderr).with_target(false);
    let layer = match config.format {
        LogFormat::Json => plain.json().boxed(),
        LogFormat::Text if in_journal => plain.without_time().with_ansi(false).boxed(),
        LogFormat::Text => {
            let colours =
                io::IsTerminal::is_terminal(&io::stderr()) && env::var_os("NO_COLOR").is_none();
            plain.with_ansi(colours).boxed()
        }
    };
    let _ = tracing_subscriber::registry()
        .with(level)
        .with(layer)
        .try_init();
    Levels(handle)
}
