//! Whether cookies may be sent on this host.

use std::thread::{self, JoinHandle};

use crate::{
    bpf::{SelfTest, SelfTestError},
    guard::{Obstacle, Obstacles},
};

/// Whether cookies have been shown to work, as they have to before the first is sent: for each
/// family of addresses on its own.
#[derive(Debug)]
pub(super) struct Trial {
    ipv4: Outcome,
    ipv6: Outcome,
    /// On a thread of its own: the verifier alone takes a second.
    running: Option<JoinHandle<Result<SelfTest, SelfTestError>>>,
    /// It began before somebody said that failures shall be forgotten.
    is_outdated: bool,
}

/// What is known of one family.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Untested,
    /// Cookies were being sent when this process took over: they have been shown to work, and go
    /// on until this process's own trial says otherwise.
    Inherited,
    Passed,
    /// And why.
    Failed(String),
}

/// The families whose cookies an earlier process was sending.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inherited {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

impl Outcome {
    const fn new(is_inherited: bool) -> Self {
        if is_inherited {
            Self::Inherited
        } else {
            Self::Untested
        }
    }

    const fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Untested => Some(Obstacle::Untested),
            Self::Inherited | Self::Passed => None,
            Self::Failed(_) => Some(Obstacle::SelfTest),
        }
    }

    const fn is_due(&self) -> bool {
        matches!(self, Self::Untested | Self::Inherited)
    }

    /// Takes in what a trial says, unless an earlier one has shown that cookies work: both families
    /// are tried together, also for the sake of one.
    fn settle(&mut self, found: Self) {
        if self.is_due() {
            *self = found;
        }
    }

    fn forget_failure(&mut self) {
        if matches!(self, Self::Failed(_)) {
            *self = Self::Untested;
        }
    }

    const fn why(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why.as_str()),
            _ => None,
        }
    }
}

impl From<Result<(), SelfTestError>> for Outcome {
    fn from(result: Result<(), SelfTestError>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl Trial {
    pub(super) const fn new(inherited: Inherited) -> Self {
        Self {
            ipv4: Outcome::new(inherited.ipv4),
            ipv6: Outcome::new(inherited.ipv6),
            running: None,
            is_outdated: false,
        }
    }

    /// Begins it, unless there is nothing to be found out, or it runs.
    pub(super) fn begin(&mut self) {
        if self.running.is_some() || !(self.ipv4.is_due() || self.ipv6.is_due()) {
            return;
        }
        let thread = thread::Builder::new().name("sensor-selftest".to_owned());
        match thread.spawn(SelfTest::run) {
            Ok(running) => self.running = Some(running),
            Err(error) => self.fail(&format!("the self-test could not begin: {error}")),
        }
    }

    /// What failed before may work now: [`Trial::begin`] tries it again. So does what fails in a
    /// trial that is under way.
    pub(super) fn forget_failures(&mut self) {
        self.is_outdated = self.running.is_some();
        self.ipv4.forget_failure();
        self.ipv6.forget_failure();
    }

    /// Whether it has ended by now, and had not before.
    pub(super) fn has_ended(&mut self) -> bool {
        let Some(ended) = self.running.take_if(|running| running.is_finished()) else {
            return false;
        };
        match ended.join() {
            Ok(Ok(SelfTest { ipv4, ipv6 })) => {
                self.ipv4.settle(ipv4.into());
                self.ipv6.settle(ipv6.into());
            }
            Ok(Err(error)) => self.fail(&error.to_string()),
            Err(_) => self.fail("the self-test panicked: please report it"),
        }
        if std::mem::take(&mut self.is_outdated) {
            self.ipv4.forget_failure();
            self.ipv6.forget_failure();
        }
        for (family, outcome) in [("IPv4", &self.ipv4), ("IPv6", &self.ipv6)] {
            if *outcome == Outcome::Passed {
                tracing::info!("SYN cookies work over {family}");
            }
        }
        true
    }

    fn fail(&mut self, why: &str) {
        self.ipv4.settle(Outcome::Failed(why.to_owned()));
        self.ipv6.settle(Outcome::Failed(why.to_owned()));
    }

    /// Why cookies may not be sent as far as it has come.
    pub(super) const fn obstacles(&self) -> Obstacles {
        Obstacles {
            ipv4: self.ipv4.obstacle(),
            ipv6: self.ipv6.obstacle(),
        }
    }

    /// What failed, of IPv4 and of IPv6.
    pub(super) const fn failures(&self) -> [Option<&str>; 2] {
        [self.ipv4.why(), self.ipv6.why()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Inherited = Inherited {
        ipv4: false,
        ipv6: false,
    };
    const BOTH: Inherited = Inherited {
        ipv4: true,
        ipv6: true,
    };

    /// A trial that ends with this result.
    fn run(inherited: Inherited, result: Result<SelfTest, SelfTestError>) -> Trial {
        let mut trial = Trial::new(inherited);
        trial.running = Some(thread::spawn(|| result));
        trial
    }

    fn wait(trial: &mut Trial) {
        while !trial.has_ended() {
            thread::yield_now();
        }
        assert!(!trial.has_ended(), "once");
    }

    fn only_ipv4() -> Result<SelfTest, SelfTestError> {
        Ok(SelfTest {
            ipv4: Ok(()),
            ipv6: Err(SelfTestError::NoListener {
                address: std::net::Ipv6Addr::LOCALHOST.into(),
                source: std::io::ErrorKind::AddrNotAvailable.into(),
            }),
        })
    }

    #[test]
    fn nothing_is_sent_before_it_has_passed() {
        let untested = Obstacles::both(Obstacle::Untested);
        assert_eq!(Trial::new(NONE).obstacles(), untested);
        let mut trial = run(
            NONE,
            Ok(SelfTest {
                ipv4: Ok(()),
                ipv6: Ok(()),
            }),
        );
        assert_eq!(trial.obstacles(), untested);
        wait(&mut trial);
        assert_eq!(trial.obstacles(), Obstacles::default());
    }

    #[test]
    fn what_an_earlier_process_sent_goes_on_until_it_has_failed() {
        assert_eq!(Trial::new(BOTH).obstacles(), Obstacles::default());
        let mut trial = run(BOTH, Err(SelfTestError::Disabled));
        assert_eq!(trial.obstacles(), Obstacles::default());
        wait(&mut trial);
        assert_eq!(trial.obstacles(), Obstacles::both(Obstacle::SelfTest));
        let ipv4 = Inherited {
            ipv6: false,
            ..BOTH
        };
        assert_eq!(
            Trial::new(ipv4).obstacles(),
            Obstacles {
                ipv4: None,
                ipv6: Some(Obstacle::Untested)
            }
        );
    }

    #[test]
    fn a_family_that_could_not_be_tried_hinders_itself_alone() {
        let mut trial = run(NONE, only_ipv4());
        wait(&mut trial);
        assert_eq!(
            trial.obstacles(),
            Obstacles {
                ipv4: None,
                ipv6: Some(Obstacle::SelfTest)
            }
        );
        let [ipv4, ipv6] = trial.failures();
        assert_eq!(ipv4, None);
        assert!(
            ipv6.is_some_and(|why| why.contains("listen on ::1")),
            "{ipv6:?}"
        );
    }

    #[test]
    fn what_failed_is_tried_again_when_it_is_asked_for() {
        let mut trial = run(NONE, only_ipv4());
        wait(&mut trial);
        trial.begin();
        assert!(trial.running.is_none(), "nothing is left to be found out");
        trial.forget_failures();
        // Meanwhile what has passed serves.
        assert_eq!(
            trial.obstacles(),
            Obstacles {
                ipv4: None,
                ipv6: Some(Obstacle::Untested)
            }
        );
        assert!(trial.ipv6.is_due());
    }

    #[test]
    fn what_has_passed_stays_so_while_the_other_family_is_tried_again() {
        let mut trial = run(NONE, only_ipv4());
        wait(&mut trial);
        trial.forget_failures();
        trial.running = Some(thread::spawn(|| Err(SelfTestError::Disabled)));
        wait(&mut trial);
        assert_eq!(trial.ipv4, Outcome::Passed);
        assert_eq!(trial.obstacles().ipv6, Some(Obstacle::SelfTest));
    }

    #[test]
    fn a_failure_that_was_to_be_forgotten_while_it_happened_is_tried_again() {
        let mut trial = run(NONE, only_ipv4());
        trial.forget_failures();
        wait(&mut trial);
        assert_eq!(trial.ipv4, Outcome::Passed);
        assert_eq!(trial.ipv6, Outcome::Untested);
        trial.running = Some(thread::spawn(only_ipv4));
        wait(&mut trial);
        assert_eq!(trial.obstacles().ipv6, Some(Obstacle::SelfTest), "once");
    }
}
