use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result};

/// A network namespace without a name. It lives as long as a descriptor, thread or process
/// refers to it.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// A new, empty namespace with its loopback device up.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new() -> Result<Self> {
        let file = std::thread::spawn(|| {
            // SAFETY: changes this thread only, which ends below.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            File::open("/proc/thread-self/ns/net")
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread for a new namespace panicked"))?
        .context("cannot make a network namespace: this needs root")?;
        let namespace = Self {
            file: Arc::new(file),
        };
        // Every program that is started inside does so, and could not say why it fails.
        namespace.enter(mount_sys)?.context(
            "cannot mount a /sys of its own for a network namespace: in a chroot, bind the root \
             directory to itself first (mount --bind DIR DIR)",
        )?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A path that other programs of this machine can open while the lab lives, for `ip link
    /// set ... netns PATH` and `nsenter --net=PATH`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// Runs `work` on a thread of its own inside the namespace.
    ///
    /// # Panics
    /// As `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let fd = self.file.as_raw_fd();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                join(fd)
                    .context("cannot enter a network namespace")
                    .map(|()| work())
            });
            match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a thread inside the namespace.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<Result<T>> {
        let namespace = self.clone();
        std::thread::spawn(move || {
            join(namespace.file.as_raw_fd()).context("cannot enter a network namespace")?;
            Ok(work())
        })
    }

    /// A program to run inside the namespace, with a `/sys` that shows its devices. It is
    /// killed when the thread that started it ends, and Ctrl-C in a terminal does not reach it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let fd = self.file.as_raw_fd();
        let mut command = Command::new(program);
        command.process_group(0);
        // SAFETY: between fork and exec, only system calls without allocation.
        unsafe {
            command.pre_exec(move || {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
                join(fd)?;
                mount_sys()
            });
        }
        command
    }

    /// Runs `ip` with these words inside the namespace.
    ///
    /// # Errors
    /// With what `ip` wrote, if it fails.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.tool("ip", words)
    }

    /// Sets a value below `/proc/sys`, e.g. of `net/ipv4/tcp_syncookies`; it holds for this
    /// namespace alone.
    ///
    /// # Errors
    /// If the kernel does not know it, or refuses the value.
    pub fn set_sysctl(&self, name: &str, value: impl std::fmt::Display) -> Result<()> {
        let (file, text) = (format!("/proc/sys/{name}"), value.to_string());
        self.enter(|| std::fs::write(&file, &text))?
            .with_context(|| format!("cannot write {value} to {file}"))
    }

    /// Runs a program inside the namespace and writes `text` to its stdin.
    ///
    /// # Errors
    /// With what it wrote, if it fails.
    pub(crate) fn feed(&self, program: &str, words: &[&str], text: &str) -> Result<()> {
        let mut child = self
            .command(program)
            .args(words)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{program}`"))?;
        child
            .stdin
            .take()
            .context("no stdin")?
            .write_all(text.as_bytes())?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(
            output.status.success(),
            "`{program}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Runs a program with these words inside the namespace.
    pub(crate) fn tool(&self, program: &str, words: &str) -> Result<()> {
        let output = self
            .command(program)
            .args(words.split_whitespace())
            .output()
            .with_context(|| format!("cannot start `{program}`"))?;
        anyhow::ensure!(
            output.status.success(),
            "`{program} {words}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

/// Moves the calling thread into the namespace.
fn join(fd: RawFd) -> io::Result<()> {
    // SAFETY: setns takes plain integers and changes this thread only.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })
}

/// Gives the calling thread its own view of mounts, with this namespace's devices in `/sys`.
pub(crate) fn mount_sys() -> io::Result<()> {
    let none = c"none".as_ptr();
    let sys = c"/sys".as_ptr();
    let bpf = c"/sys/fs/bpf".as_ptr();
    let flags = libc::MS_SLAVE | libc::MS_REC;
    // SAFETY: all pointers are to static strings; the calls change this thread's view only.
    unsafe {
        check(libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS))?;
        check(libc::mount(
            none,
            c"/".as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        ))?;
        check(libc::mount(
            none,
            sys,
            c"sysfs".as_ptr(),
            0,
            std::ptr::null(),
        ))?;
        // Absent where the kernel lacks it; then nobody can pin anything either.
        libc::mount(none, bpf, c"bpf".as_ptr(), 0, std::ptr::null());
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
