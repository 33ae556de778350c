use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Host, traffic, until};

/// Where the sensor serves its metrics, in every namespace of the lab.
const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 19100);

/// How to start a sensor.
#[derive(Clone, Debug, Default)]
pub struct SensorOptions {
    /// The sensor's binary; by default [`sensor_binary`].
    pub binary: Option<PathBuf>,
    /// Words before the sensor's own: a program that starts it, e.g. with fewer capabilities.
    pub wrapper: Vec<String>,
    /// Path of its control socket; by default one of its own.
    pub socket: Option<PathBuf>,
    /// Start it without `--json`, so that it makes no events to keep.
    pub discard_events: bool,
    /// Words after `sensor run -i DEVICE --json`.
    pub args: Vec<String>,
}

/// `sensor run --json` as a child process on a host of the lab. Dropped, it is killed.
#[derive(Debug)]
pub struct Sensor {
    child: Child,
    host: Host,
    events: Arc<Mutex<Vec<Value>>>,
    messages: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// Its control socket.
    socket: PathBuf,
    /// Where that lies by default.
    _directory: TempDir,
}

/// The product's binary: `SENSOR_BIN`, which `cargo xtask test` sets, or the one that cargo
/// built beside the running test.
#[must_use]
pub fn sensor_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SENSOR_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    // target/debug/deps/it-… and target/debug/sensor; a binary sits beside it.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("sensor"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| "sensor".into())
}

impl Sensor {
    /// Starts it without waiting for anything.
    ///
    /// # Errors
    /// If there is no such binary.
    pub fn spawn(host: &Host, options: &SensorOptions) -> Result<Self> {
        let directory = crate::scratch()?;
        let binary = options.binary.clone().unwrap_or_else(sensor_binary);
        let default = || directory.path().join("control.sock");
        let socket = options.socket.clone().unwrap_or_else(default);
        let mut command = match options.wrapper.split_first() {
            Some((program, words)) => {
                let mut command = host.namespace.command(program);
                command.args(words).arg(&binary);
                command
            }
            None => host.namespace.command(&binary),
        };
        let mut child = command
            .args(["run", "-i", host.device, "--socket"])
            .arg(&socket)
            .args((!options.discard_events).then_some("--json"))
            .args(&options.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let messages = Arc::new(Mutex::new(String::new()));
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let (sink, text) = (Arc::clone(&events), Arc::clone(&messages));
        let readers = vec![
            std::thread::spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    // A line that is no JSON becomes a string, which no test expects.
                    let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                    sink.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(event);
                }
            }),
            std::thread::spawn(move || {
                for line in stderr.lines().map_while(Result::ok) {
                    let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                    text.push_str(&line);
                    text.push('\n');
                }
            }),
        ];
        Ok(Self {
            child,
            host: host.clone(),
            events,
            messages,
            readers,
            socket,
            _directory: directory,
        })
    }

    /// Starts it and waits until it is attached and draining.
    ///
    /// # Errors
    /// With its messages, if it ends or does not get ready.
    pub fn start(host: &Host, options: &SensorOptions) -> Result<Self> {
        let mut sensor = Self::spawn(host, options)?;
        let ready = until("the sensor is ready", || {
            if let Ok(Some(status)) = sensor.child.try_wait() {
                return Some(Err(status));
            }
            matches!(sensor.web("/readyz"), Ok((200, _))).then_some(Ok(()))
        });
        match ready {
            Ok(Ok(())) => Ok(sensor),
            Ok(Err(status)) => Err(anyhow::anyhow!("the sensor ended ({status})"))
                .with_context(|| sensor.messages()),
            Err(error) => Err(error).with_context(|| sensor.messages()),
        }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fetches a page from its listener: status and body.
    ///
    /// # Errors
    /// If nothing answers.
    pub fn web(&self, path: &str) -> Result<(u16, String)> {
        let (status, body) = self.host.block_on(async {
            let get = traffic::http_get(LISTEN, "127.0.0.1:19100", path);
            tokio::time::timeout(crate::DEADLINE, get)
                .await
                .context("no answer")?
        })??;
        Ok((status, String::from_utf8(body)?))
    }

    /// Sum of a metric over its samples whose labels contain all of `labels`.
    ///
    /// # Errors
    /// If there is no such sample.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        // A loop that is busy with a generation answers 503 rather than with old values.
        let text = until("a scrape", || match self.web("/metrics") {
            Ok((200, text)) => Some(text),
            _ => None,
        })?;
        sum_samples(&text, name, labels)
            .with_context(|| format!("no sample of {name} with {labels:?}"))
    }

    /// Runs `sensor WORDS --json` on its control socket: what that answers.
    ///
    /// # Errors
    /// With what the command wrote, if it fails.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut command = self.host.namespace.command(sensor_binary());
        let output = command
            .args(words)
            .args(["--json", "--socket"])
            .arg(&self.socket)
            .output()?;
        let messages = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{words:?}: {messages}");
        serde_json::from_slice(&output.stdout).context("no JSON")
    }

    /// Events since the last call, which are kept no longer.
    #[must_use]
    pub fn take_events(&self) -> Vec<Value> {
        std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn messages(&self) -> String {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks it to end, as `systemctl stop` does, and waits.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(mut self) -> Result<Ended> {
        self.signal(libc::SIGTERM);
        self.end()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn end(mut self) -> Result<Ended> {
        let status = until("the sensor ends", || self.child.try_wait().ok().flatten())
            .with_context(|| self.messages())?;
        for reader in self.readers.drain(..) {
            // A reader only ends early if it panicked; then lines are missing and a test fails.
            let _ = reader.join();
        }
        Ok(Ended {
            status,
            events: self.events(),
            messages: self.messages(),
        })
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: libc::c_int) {
        // SAFETY: the child is not reaped before it is waited for, so the id is its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // It may have ended by itself; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sum of a metric in Prometheus' text format over the samples whose labels contain all of
/// `labels`; `None` if there is no such sample.
#[must_use]
pub fn sum_samples(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let fitting = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (have, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        labels
            .iter()
            .all(|label| have.contains(label))
            .then(|| value.trim().parse::<f64>().ok())?
    });
    fitting.reduce(|sum, value| sum + value)
}

/// A sensor that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Everything it wrote to stdout.
    pub events: Vec<Value>,
    /// Everything it wrote to stderr.
    pub messages: String,
}

#[cfg(test)]
mod tests {
    use super::sum_samples;

    #[test]
    fn samples_are_summed_by_name_and_labels() {
        let text = "# HELP a b\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\",y=\"2\"} 4\nb 5\na_total_more 9\n";
        assert_eq!(sum_samples(text, "a_total", &["y=\"2\""]), Some(7.0));
        assert_eq!(sum_samples(text, "a_total", &["x=\"1\""]), Some(3.0));
        assert_eq!(sum_samples(text, "b", &[]), Some(5.0));
        assert_eq!(sum_samples(text, "a_total", &["x=\"3\""]), None);
        assert_eq!(sum_samples(text, "c", &[]), None);
    }
}
