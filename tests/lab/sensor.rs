use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{Host, traffic, until};

/// Where the sensor serves its metrics, in every namespace of the lab.
const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 19100);

/// How to start a sensor.
#[derive(Clone, Debug, Default)]
pub struct SensorOptions {
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
        let binary = sensor_binary();
        let mut child = host
            .namespace
            .command(&binary)
            .args(["run", "-i", host.device, "--json"])
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

    /// All samples of one metric: labels as written, and value.
    ///
    /// # Errors
    /// If the metrics cannot be fetched.
    pub fn metric(&self, name: &str) -> Result<Vec<(String, f64)>> {
        let (_, text) = self.web("/metrics")?;
        let mut samples = Vec::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ").context("a label set without end")?,
                None => match rest.strip_prefix(' ') {
                    Some(value) => ("", value),
                    None => continue,
                },
            };
            samples.push((labels.to_owned(), value.trim().parse()?));
        }
        Ok(samples)
    }

    /// Sum of a metric over its samples whose labels contain all of `labels`.
    ///
    /// # Errors
    /// If there is no such sample.
    pub fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let samples = self.metric(name)?;
        let mut fitting = samples
            .iter()
            .filter(|(have, _)| labels.iter().all(|label| have.contains(label)))
            .peekable();
        anyhow::ensure!(
            fitting.peek().is_some(),
            "no sample of {name} with {labels:?}"
        );
        Ok(fitting.map(|(_, value)| value).sum())
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

/// A sensor that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Everything it wrote to stdout.
    pub events: Vec<Value>,
    /// Everything it wrote to stderr.
    pub messages: String,
}
