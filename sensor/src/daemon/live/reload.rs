//! A new configuration comes into force while the sensor runs.

use std::time::Duration;

use super::{Live, apply_sampling, passive};
use crate::{config::Config, lists::FeedFile};

impl Live {
    /// Puts into force what can change; the rest keeps its value.
    pub(super) fn reconfigure(&mut self, mut new: Config, feeds: &[FeedFile]) {
        // Another mode takes effect at the next start.
        new.mode = self.config.mode;
        passive::restrict(&mut new);
        // What is refused keeps its value and holds back nothing else. The kill switch goes on
        // before all the rest, and off after it.
        let mut good = !new.pass_all || self.configure_pass_all(true);
        match apply_sampling(&mut self.plane, &new.sampling) {
            Ok(()) => self.config.sampling = new.sampling.clone(),
            Err(error) => {
                tracing::error!("Sampling stays as it was: {error}");
                good = false;
            }
        }
        match self.configure_guard(&new) {
            Ok(()) => {
                self.syn_flood.configure(new.detect.syn_flood.clone());
                self.config.guard = new.guard;
                self.config.detect = new.detect;
            }
            Err(error) => {
                tracing::error!("The SYN-flood guard is not as configured: {error}");
                good = false;
            }
        }
        self.config.flows.interval_ms = new.flows.interval_ms;
        self.interval = Duration::from_millis(new.flows.interval_ms);
        self.config.stats = new.stats;
        self.config.log = new.log;
        self.config.lists = new.lists;
        good &= self.configure_lists(feeds);
        self.tell_unenforced();
        good &= new.pass_all || self.configure_pass_all(false);
        self.snapshot.reload.failed = !good;
        if good {
            self.snapshot.reload.loaded = self.now();
        }
    }

    /// Turns the kill switch as the file says. What a command has turned stays so until the file
    /// says something else.
    fn configure_pass_all(&mut self, pass_all: bool) -> bool {
        if self.config.pass_all == pass_all {
            return true;
        }
        match self.set_pass_all(pass_all) {
            Ok(()) => {
                self.config.pass_all = pass_all;
                true
            }
            Err(error) => {
                tracing::error!("The kill switch stays as it was: {error}");
                false
            }
        }
    }
}
