//! Whether cookies may be sent on this host.

use std::thread::{self, JoinHandle};

use crate::{
    bpf::{DataPlane, SelfTest, SelfTestError},
    guard::Obstacle,
};

/// Whether cookies have been shown to work, as they have to before the first is sent.
#[derive(Debug)]
pub(super) struct Trial {
    stage: Stage,
    /// Cookies were being sent when this process took over: they have been shown to work, and go
    /// on until this process's own trial says otherwise.
    inherited: bool,
}

#[derive(Debug)]
enum Stage {
    None,
    /// On a thread of its own: the verifier alone takes a second.
    Running(JoinHandle<Result<SelfTest, SelfTestError>>),
    Passed,
    Failed,
}

impl Trial {
    pub(super) const fn new(inherited: bool) -> Self {
        Self {
            stage: Stage::None,
            inherited,
        }
    }

    /// Begins it, unless it has begun. An error to start the thread is a failure.
    pub(super) fn begin(&mut self) {
        if matches!(self.stage, Stage::None) {
            let thread = thread::Builder::new().name("sensor-selftest".to_owned());
            self.stage = match thread.spawn(DataPlane::guard_self_test) {
                Ok(running) => Stage::Running(running),
                Err(error) => {
                    tracing::warn!("The self-test of SYN cookies could not begin: {error}");
                    Stage::Failed
                }
            };
        }
    }

    /// Whether it has ended by now, and had not before.
    pub(super) fn has_ended(&mut self) -> bool {
        let Stage::Running(running) = &self.stage else {
            return false;
        };
        if !running.is_finished() {
            return false;
        }
        let Stage::Running(running) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return false;
        };
        match running.join() {
            Ok(Ok(passed)) => {
                tracing::info!(ipv6 = passed.ipv6, "SYN cookies work");
                self.stage = Stage::Passed;
            }
            Ok(Err(error)) => tracing::warn!("{error}"),
            Err(_) => tracing::error!("The self-test of SYN cookies panicked"),
        }
        true
    }

    /// Why cookies may not be sent as far as it has come.
    pub(super) const fn obstacle(&self) -> Option<Obstacle> {
        match self.stage {
            Stage::None | Stage::Running(_) if self.inherited => None,
            Stage::None | Stage::Running(_) => Some(Obstacle::Untested),
            Stage::Passed => None,
            Stage::Failed => Some(Obstacle::SelfTest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trial that ends with this result.
    fn run(inherited: bool, result: Result<SelfTest, SelfTestError>) -> Trial {
        let mut trial = Trial::new(inherited);
        trial.stage = Stage::Running(thread::spawn(|| result));
        trial
    }

    fn wait(trial: &mut Trial) {
        while !trial.has_ended() {
            thread::yield_now();
        }
        assert!(!trial.has_ended(), "once");
    }

    #[test]
    fn nothing_is_sent_before_it_has_passed() {
        let mut trial = run(false, Ok(SelfTest::default()));
        assert_eq!(Trial::new(false).obstacle(), Some(Obstacle::Untested));
        assert_eq!(trial.obstacle(), Some(Obstacle::Untested));
        wait(&mut trial);
        assert_eq!(trial.obstacle(), None);
    }

    #[test]
    fn what_an_earlier_process_sent_goes_on_until_it_has_failed() {
        assert_eq!(Trial::new(true).obstacle(), None);
        let mut trial = run(true, Err(SelfTestError::Disabled));
        assert_eq!(trial.obstacle(), None);
        wait(&mut trial);
        assert_eq!(trial.obstacle(), Some(Obstacle::SelfTest));
    }
}
