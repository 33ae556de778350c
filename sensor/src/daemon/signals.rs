//! Signals, the time limit and the end of the live loop: what the main thread waits for.

use std::{future, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::Command;

/// How long the flush may take before a stop becomes an exit.
const FLUSH: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    /// From here on, signals are ours: no default action can leave anything half done.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Waits until the live loop has ended, and tells it what the signals ask for.
pub(super) async fn supervise(
    mut signals: Signals,
    mut end: oneshot::Receiver<()>,
    commands: mpsc::Sender<Command>,
    limit: Option<Duration>,
    mut reload: impl FnMut() -> Command,
) {
    let limit = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => future::pending().await,
        }
    };
    tokio::pin!(limit);
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
            () = &mut limit => break,
            _ = signals.hangup.recv() => {
                // The loop may have ended meanwhile: then there is nothing to tell.
                let _ = commands.send(reload()).await;
                let _ = commands.send(Command::Reopen).await;
            }
            _ = signals.user1.recv() => {
                let _ = commands.send(Command::Reopen).await;
            }
        }
    }
    let _ = commands.send(Command::Stop).await;
    tokio::select! {
        _ = &mut end => {}
        _ = signals.interrupt.recv() => exit("Interrupted again"),
        _ = signals.terminate.recv() => exit("Terminated again"),
        () = sleep(FLUSH) => exit("The outputs could not be flushed in time"),
    }
}

#[expect(clippy::exit, reason = "asked for twice: the kernel closes the links")]
fn exit(reason: &str) {
    tracing::warn!("{reason}: exiting at once, events that wait are lost");
    std::process::exit(1);
}
