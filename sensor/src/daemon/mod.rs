//! A running sensor: wiring of the live loop, the outputs, the web and the control socket.
//!
//! One thread ([`live`]) owns the data plane and the engine; nothing else touches them. Everyone
//! else asks it through bounded channels. The main thread waits for signals on a small runtime
//! that also serves the web and the control socket. Whatever ends the process, the links die with
//! their descriptors, unless the data plane is pinned: traffic passes on.

pub mod control;
mod events;
mod live;
mod log;
mod reload;
mod signals;
mod stats;
mod systemd;

use std::{io, process::ExitCode, sync::Arc, thread, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{
    bpf::{AttachError, DataPlane, LoadError, LoadOptions, PinError, PlaneError},
    config::{Config, ConfigError, Loaded},
    lists::FeedFile,
    metrics::{Exporter, Health, ListenError, Refresh, Server},
};

pub use events::OutputError;

/// What the command line asks for beyond the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Events to stdout.
    pub json: bool,
    /// End by itself after so long.
    pub limit: Option<Duration>,
    /// Tap mode even on an interface with addresses.
    pub force_tap: bool,
}

/// Why a sensor did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("no interface: name one with -i, or set `interfaces` in the configuration file")]
    NoInterface,
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Control(#[from] control::ControlError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("cannot start a thread or the runtime: {0}")]
    System(#[from] io::Error),
    #[error("the live loop panicked: {0}; traffic passes, and what was not pinned is detached")]
    Panicked(String),
}

/// What the live loop is asked for.
#[derive(Debug)]
enum Command {
    /// Put what can change into force, with the feeds that it names.
    Reconfigure(Box<Config>, Vec<FeedFile>),
    /// A reload was refused; the configuration stays.
    ReloadFailed,
    /// Open the files of the outputs anew.
    Reopen,
    /// A question from the control socket.
    Ask(control::Request, oneshot::Sender<control::Answer>),
    /// Drain, flush, end.
    Stop,
}

/// How many questions may wait for the live loop.
const COMMANDS: usize = 64;

/// Runs a sensor until a signal, the time limit or a failure ends it.
///
/// `reload` loads the configuration anew, with the same flags.
///
/// # Errors
/// [`DaemonError`]; the interfaces are detached by then.
pub fn run(
    loaded: Loaded,
    options: Options,
    reload: &dyn Fn() -> Result<Loaded, ConfigError>,
) -> Result<ExitCode, DaemonError> {
    let config = loaded.config;
    let levels = log::init(&config.log);
    if config.interfaces.is_empty() {
        return Err(DaemonError::NoInterface);
    }
    // First what needs capabilities: that is the message that a plain user has to see.
    let load = LoadOptions {
        flow_table_capacity: config.flows.capacity,
        passive: config.is_passive(),
        ..LoadOptions::default()
    };
    let plane = if config.pin.enabled {
        DataPlane::load_pinned(load, &config.pin.path)?
    } else {
        DataPlane::load(load)?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("sensor-io")
        .enable_all()
        .build()?;
    let entered = runtime.enter();

    // Whatever else can be refused comes before anything is attached.
    let signals = signals::Signals::new()?;
    let control = control::Listener::bind(&config.control.socket)?;
    let server = runtime.block_on(Server::bind(&config.metrics.listen))?;
    let outputs = events::Outputs::open(&config.output, options.json)?;

    let exporter = Exporter::new()?;
    let health = Arc::new(Health::default());
    let (refresh, refreshes) = Refresh::channel();
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (ended, end) = oneshot::channel::<()>();
    let (started, start) = oneshot::channel();

    let parts = live::Parts {
        config: config.clone(),
        feeds: config.lists.read_feeds(),
        force_tap: options.force_tap,
        plane,
        outputs,
        exporter: exporter.clone(),
        health: health.clone(),
        refreshes,
        inbox,
    };
    let live = thread::Builder::new()
        .name("sensor-live".to_owned())
        .spawn(move || {
            // Dropped when this thread ends, in whatever way.
            let _ended = ended;
            live::run(parts, started)
        })?;

    // If the loop did not start, why is the thread's result.
    if runtime.block_on(start).is_ok() {
        for address in server.addresses() {
            tracing::info!("Metrics on http://{address}/metrics");
        }
        runtime.spawn(server.serve(exporter, refresh, health));
        runtime.spawn(control.serve(commands.clone()));
        systemd::ready();
        let supervision = signals::supervise(signals, end, commands, options.limit, || {
            reload::reload(&config, reload, &levels)
        });
        runtime.block_on(supervision);
    }
    let result = join(live);
    systemd::stopping();
    drop(entered);
    // A client that is still connected must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn join(live: thread::JoinHandle<Result<(), DaemonError>>) -> Result<ExitCode, DaemonError> {
    match live.join() {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Err(error),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            Err(DaemonError::Panicked(message))
        }
    }
}
