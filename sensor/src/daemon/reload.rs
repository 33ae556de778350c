//! SIGHUP: what a new configuration changes, and what needs a restart.

use super::{Command, log::Levels, systemd};
use crate::config::{Config, ConfigError, Loaded};

/// Loads the configuration anew; on any error the old one stays in force.
pub(super) fn reload(
    running: &Config,
    load: &dyn Fn() -> Result<Loaded, ConfigError>,
    levels: &Levels,
) -> Command {
    systemd::reloading();
    let command = match load() {
        Ok(loaded) => {
            levels.set(loaded.config.log.level);
            for key in needs_restart(running, &loaded.config) {
                tracing::warn!("`{key}` has changed: it takes effect at the next start");
            }
            tracing::info!("Configuration reloaded");
            let feeds = loaded.config.lists.read_feeds();
            Command::Reconfigure(Box::new(loaded.config), feeds)
        }
        Err(error) => {
            tracing::error!("Configuration not reloaded, the old one stays: {error}");
            Command::ReloadFailed
        }
    };
    systemd::ready();
    command
}

/// Keys whose change a running sensor does not follow. What is not named here is put into force
/// by the live loop: sampling, lists, the interval, detectors, the log level.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let pairs = [
        ("interfaces", old.interfaces != new.interfaces),
        ("mode", old.mode != new.mode),
        ("tap", old.tap != new.tap),
        ("flows.capacity", old.flows.capacity != new.flows.capacity),
        ("engine", old.engine != new.engine),
        ("output.eve", old.output.eve != new.output.eve),
        ("metrics.listen", old.metrics.listen != new.metrics.listen),
        ("control.socket", old.control.socket != new.control.socket),
        ("log.format", old.log.format != new.log.format),
    ];
    pairs
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_is_named() {
        let old = Config::default();
        let mut new = Config::default();
        new.sampling.one_in += 1;
        new.flows.interval_ms += 1;
        assert!(needs_restart(&old, &new).is_empty());
        new.tap = true;
        new.flows.capacity += 1;
        assert_eq!(needs_restart(&old, &new), ["tap", "flows.capacity"]);
    }
}
