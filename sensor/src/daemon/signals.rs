//! Signals, the time limit and the end of the live loop: what the main thread waits for.

use std::{future, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
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
                tell(&commands, reload());
                tell(&commands, Command::Reopen);
            }
            _ = signals.user1.recv() => tell(&commands, Command::Reopen),
        }
    }
    let stopped = async {
        // Either failure means that the loop has ended.
        let _ = commands.send(Command::Stop).await;
        let _ = (&mut end).await;
    };
    tokio::select! {
        () = stopped => {}
        _ = signals.interrupt.recv() => exit("Interrupted again"),
        _ = signals.terminate.recv() => exit("Terminated again"),
        () = sleep(FLUSH) => exit("The outputs could not be flushed in time"),
    }
}

/// Never waits: a live loop that is stuck behind a full inbox must still be stopped by a signal.
fn tell(commands: &mpsc::Sender<Command>, command: Command) {
    if let Err(TrySendError::Full(_)) = commands.try_send(command) {
        tracing::error!("The sensor is too busy to take the signal: send it again");
    }
}

#[expect(clippy::exit, reason = "asked for twice: the kernel closes the links")]
fn exit(reason: &str) {
    tracing::warn!("{reason}: exiting at once, events that wait are lost");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_inbox_does_not_hold_a_signal_up() {
        let (commands, mut inbox) = mpsc::channel(1);
        tell(&commands, Command::Stop);
        tell(&commands, Command::Reopen);
        assert!(matches!(inbox.recv().await, Some(Command::Stop)));
        assert!(inbox.try_recv().is_err());
    }
}
