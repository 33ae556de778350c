//! Finding and running a toolchain that compiles Rust for BPF.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::manifest::PRODUCT;
use crate::command::{check, find, output, program, root, target_dir};

const TARGET: &str = "bpfel-unknown-none";

const REMEDY: &str = "\
no toolchain that compiles Rust for BPF. On Debian:
    apt install rustc-web libstd-rust-web-dev-bpf llvm-22-dev zlib1g-dev libzstd-dev libxml2-dev
or, with rustup:
    rustup toolchain install nightly --component rust-src
and the linker, whose LLVM must not be older than rustc's:
    LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --locked --version 0.13.0 \\
        --no-default-features --features llvm-22";

/// Code generation that the sources rely on, and that the manifest's toolchain line names.
/// `v3` has the atomics that return the old value; misaligned access is what packets need, and
/// every machine that XDP programs are written for allows it.
const FLAGS: [&str; 5] = [
    "-Ctarget-cpu=v3",
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
    // Expansion "in order" turns memset into calls of a loop.
    "-Clink-arg=--disable-expand-memcpy-in-order",
];

/// Settings of the profile, independent of what the workspace's release profile says.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "false"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// A compiler, a linker and a tool that removes DWARF, which belong together.
#[derive(Debug)]
pub(super) struct Toolchain {
    rustc: PathBuf,
    /// Whether `core` for BPF has to be built from rust-src.
    build_core: bool,
    linker: PathBuf,
    objcopy: PathBuf,
    /// Exact versions, as the manifest names them.
    pub(super) name: String,
}

impl Toolchain {
    /// The first complete one: Debian's, else rustup's nightly.
    ///
    /// # Errors
    /// Names the packages to install where there is none.
    pub(super) fn find() -> Result<Self> {
        let rustc = Path::new("/usr/bin/rustc");
        let debian = rustc.is_file().then(|| sysroot(rustc)).transpose()?;
        let (rustc, build_core) = match debian {
            Some(sysroot) if sysroot.join("lib/rustlib").join(TARGET).is_dir() => {
                (rustc.to_owned(), false)
            }
            _ => (nightly().context(REMEDY)?, true),
        };
        let home = std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default();
        let installed = home.join(".cargo/bin/bpf-linker");
        let Some(linker) = find("bpf-linker").or_else(|| installed.is_file().then_some(installed))
        else {
            bail!("{REMEDY}");
        };
        let Some(objcopy) = objcopy() else {
            bail!("llvm-objcopy is missing: apt install llvm-22");
        };
        let version = |tool: &Path| output(Command::new(tool).arg("--version"));
        let name = format!(
            "{}; {}; {}",
            version(&rustc)?.trim(),
            version(&linker)?.trim(),
            FLAGS.join(" "),
        );
        Ok(Self {
            rustc,
            build_core,
            linker,
            objcopy,
            name,
        })
    }

    /// Builds one object and returns its bytes, without DWARF.
    ///
    /// # Errors
    /// Where a tool fails; it has said why.
    pub(super) fn build(&self, name: &str) -> Result<Vec<u8>> {
        let binary = if name == PRODUCT { "sensor-ebpf" } else { name };
        let target = target_dir().join("bpf");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = program(cargo);
        command
            .args([
                "build",
                "--quiet",
                "--locked",
                "--release",
                "--package",
                "sensor-ebpf",
            ])
            .args(["--bin", binary, "--target", TARGET, "--target-dir"])
            .arg(&target)
            .env("RUSTC", &self.rustc)
            // Atomics and inline assembly for BPF are not stable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags())
            .envs(PROFILE)
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER");
        if self.build_core {
            command.arg("-Zbuild-std=core");
        }
        check(&mut command)?;
        let built = target.join(TARGET).join("release").join(binary);
        let stripped = target.join(format!("{name}.bpf.o"));
        check(
            Command::new(&self.objcopy)
                .arg("--strip-debug")
                .args([&built, &stripped]),
        )?;
        std::fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
    }

    /// Flags in cargo's encoding. Paths of this machine become the same on every one.
    fn rustflags(&self) -> String {
        let home = std::env::var_os("CARGO_HOME").map_or_else(
            || {
                std::env::var_os("HOME")
                    .map(PathBuf::from)
                    .unwrap_or_default()
                    .join(".cargo")
            },
            PathBuf::from,
        );
        let mut flags = vec![format!("-Clinker={}", self.linker.display())];
        flags.extend(FLAGS.map(String::from));
        flags.push("--cfg=bpf_target_arch=\"x86_64\"".into());
        flags.push(format!("--remap-path-prefix={}=/sensor", root().display()));
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
        flags.join("\x1f")
    }
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    let path = output(Command::new(rustc).args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(path.trim()))
}

/// rustup's nightly compiler, if it has the sources of `core`.
fn nightly() -> Result<PathBuf> {
    let rustc = output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))?;
    let rustc = PathBuf::from(rustc.trim());
    if !sysroot(&rustc)?
        .join("lib/rustlib/src/rust/library/core")
        .is_dir()
    {
        bail!("rustup's nightly lacks the component rust-src");
    }
    Ok(rustc)
}

fn objcopy() -> Option<PathBuf> {
    let prefix = std::env::var_os("LLVM_PREFIX").map(PathBuf::from);
    prefix
        .into_iter()
        .chain(["/usr/lib/llvm-22".into(), "/usr/lib/llvm-23".into()])
        .map(|prefix| prefix.join("bin/llvm-objcopy"))
        .find(|path| path.is_file())
        .or_else(|| find("llvm-objcopy"))
}
