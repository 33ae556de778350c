use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Lab;

/// Binds the attacked queue to a processor, as a network card with one receive queue binds its
/// interrupt: whatever enters the wire does so there, so that the server's receive path (NAPI) is
/// scheduled there and nowhere else.
///
/// The attacker's [`Generator`](crate::Generator), bound to the same processor, sends from there by
/// itself. Clients enter through a kernel thread that preempts it, as an interrupt would.
///
/// # Errors
/// On a kernel without threaded NAPI (5.12).
pub fn bind_queue(lab: &Lab, cpu: Cpu) -> Result<()> {
    let before = napi_threads("wc")?;
    lab.thread_wire_of_clients()?;
    let mut found = false;
    for id in napi_threads("wc")? {
        if !before.contains(&id) {
            set_affinity(id, cpu)?;
            set_realtime(id)?;
            found = true;
        }
    }
    anyhow::ensure!(found, "the wire got no kernel thread");
    Ok(())
}

/// A processor by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu(pub usize);

impl Cpu {
    /// Binds the calling thread.
    ///
    /// # Errors
    /// If there is no such processor.
    pub fn pin(self) -> Result<()> {
        set_affinity(0, self)
    }

    /// Processor time of the softirq thread, which works off what interrupts and system calls
    /// leave over.
    ///
    /// # Errors
    /// If there is no such processor.
    pub fn softirq_time(self) -> Result<Duration> {
        let name = format!("ksoftirqd/{}", self.0);
        let id = threads(&name)?
            .into_iter()
            .next()
            .with_context(|| format!("no {name}"))?;
        let text = std::fs::read_to_string(format!("/proc/{id}/schedstat"))?;
        let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// Kernel threads that poll a device of this name, in any namespace.
fn napi_threads(device: &str) -> Result<Vec<libc::pid_t>> {
    // The kernel cuts names to 15 bytes; `napi/wc-8193` fits.
    threads(&format!("napi/{device}-"))
}

/// Processes whose name starts so.
fn threads(prefix: &str) -> Result<Vec<libc::pid_t>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        if std::fs::read_to_string(format!("/proc/{id}/comm"))
            .is_ok_and(|name| name.starts_with(prefix))
        {
            found.push(id);
        }
    }
    Ok(found)
}

fn set_affinity(id: libc::pid_t, cpu: Cpu) -> Result<()> {
    // SAFETY: a `cpu_set_t` is plain bits, for which zeros are valid; the call reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu.0, &mut set);
        libc::sched_setaffinity(id, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result < 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot bind a thread to processor {}", cpu.0));
    }
    Ok(())
}

/// Lets a kernel thread preempt everything that is not in real time.
fn set_realtime(id: libc::pid_t) -> Result<()> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the parameter.
    if unsafe { libc::sched_setscheduler(id, libc::SCHED_FIFO, &raw const parameter) } < 0 {
        return Err(io::Error::last_os_error()).context("cannot raise a thread's priority");
    }
    Ok(())
}
