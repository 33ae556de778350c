//! What a committed BPF object was built from. `sensor/build.rs` compiles this file as well, so
//! it needs nothing but std and sha2.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The product's object; every other one is a program of the lab or of the benches, in
/// `sensor-ebpf/src/bin/`.
pub(crate) const PRODUCT: &str = "sensor";

/// Crates whose code ends up in an object, or makes what does.
const COMPILED: [&str; 6] = [
    "aya-ebpf",
    "aya-ebpf-bindings",
    "aya-ebpf-cty",
    "aya-ebpf-macros",
    "zerocopy",
    "zerocopy-derive",
];

/// The manifest of one object, stored beside it as lines of `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// `abi::VERSION`.
    pub(crate) abi: String,
    /// SHA-256 of everything that is compiled for BPF.
    pub(crate) sources: String,
    /// SHA-256 of the object.
    pub(crate) object: String,
    /// The one toolchain whose output is comparable, with its flags.
    pub(crate) toolchain: String,
}

impl Manifest {
    /// Where an object lies.
    pub(crate) fn object_path(root: &Path, name: &str) -> PathBuf {
        root.join("sensor-ebpf/prebuilt")
            .join(format!("{name}.bpf.o"))
    }

    fn path(root: &Path, name: &str) -> PathBuf {
        root.join("sensor-ebpf/prebuilt")
            .join(format!("{name}.manifest"))
    }

    /// Describes `object` as built from the present sources.
    ///
    /// # Errors
    /// Where sources cannot be read.
    pub(crate) fn describe(
        root: &Path,
        name: &str,
        object: &[u8],
        toolchain: &str,
    ) -> io::Result<Self> {
        Ok(Self {
            abi: abi_version(root)?,
            sources: sources(root, name)?,
            object: sha256(object),
            toolchain: toolchain.into(),
        })
    }

    /// Reads the stored manifest.
    ///
    /// # Errors
    /// Where the file cannot be read or lacks a line.
    pub(crate) fn load(root: &Path, name: &str) -> io::Result<Self> {
        let text = fs::read_to_string(Self::path(root, name))?;
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find_map(|(found, value)| (found == key).then(|| value.to_owned()))
                .ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("no line `{key} = ...`"))
                })
        };
        Ok(Self {
            abi: value("abi")?,
            sources: value("sources")?,
            object: value("object")?,
            toolchain: value("toolchain")?,
        })
    }

    /// Stores object and manifest.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub(crate) fn store(&self, root: &Path, name: &str, object: &[u8]) -> io::Result<()> {
        fs::create_dir_all(root.join("sensor-ebpf/prebuilt"))?;
        fs::write(Self::object_path(root, name), object)?;
        let Self {
            abi,
            sources,
            object,
            toolchain,
        } = self;
        let text = format!(
            "abi = {abi}\nsources = {sources}\nobject = {object}\ntoolchain = {toolchain}\n"
        );
        fs::write(Self::path(root, name), text)
    }
}

/// The sources of an object: the library as far as all share it, and its own files.
///
/// # Errors
/// Where the folder cannot be read.
pub(crate) fn source_files(root: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let src = root.join("sensor-ebpf/src");
    let mut files = vec![root.join("sensor-ebpf/Cargo.toml"), src.join("lib.rs")];
    for module in ["abi", "parse", "sampling"] {
        collect(&src.join(module), &mut files)?;
    }
    if name == PRODUCT {
        files.push(src.join("main.rs"));
        collect(&src.join("bpf"), &mut files)?;
    } else {
        // What it shares with user space, and its programs.
        let shared = src.join(format!("{name}.rs"));
        if shared.is_file() {
            files.push(shared);
        }
        collect(&src.join("bin").join(name), &mut files)?;
    }
    files.sort();
    Ok(files)
}

/// Collects a folder's Rust files, but for tests, which are compiled for the host only.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn sources(root: &Path, name: &str) -> io::Result<String> {
    let mut hash = Sha256::new();
    for file in source_files(root, name)? {
        let text = fs::read(&file)?;
        let relative = file.strip_prefix(root).unwrap_or(&file);
        hash.update(format!("{} {}\n", relative.display(), text.len()));
        hash.update(text);
    }
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    for package in lock.split("[[package]]").filter(|package| {
        COMPILED
            .iter()
            .any(|name| package.contains(&format!("\nname = \"{name}\"\n")))
    }) {
        let pinned = package.lines().filter(|line| {
            ["name = ", "version = ", "checksum = "]
                .iter()
                .any(|key| line.starts_with(key))
        });
        for line in pinned {
            hash.update(line);
            hash.update("\n");
        }
    }
    Ok(hex(&hash.finalize()))
}

fn abi_version(root: &Path) -> io::Result<String> {
    let text = fs::read_to_string(root.join("sensor-ebpf/src/abi/mod.rs"))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("pub const VERSION: u32 = ")?
                .strip_suffix(';')
        })
        .map(str::to_owned)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "abi/mod.rs has no VERSION"))
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
