//! The kernel of Debian's current release, from its package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::command::{check, output, program, target_dir};
use crate::packages;

/// The package that depends on the newest image of the release.
const PACKAGE: &str = "linux-image-amd64";

/// Drivers that the tests use and Debian's image does not have built in, in an order in which
/// they can be loaded.
const MODULES: [&str; 3] = [
    "drivers/net/veth.ko",
    "net/sched/sch_ingress.ko",
    "net/sched/cls_bpf.ko",
];

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As `uname -r` says.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// In the order in which to load them.
    pub(super) modules: Vec<PathBuf>,
}

/// What has this name in [`folder`] was unpacked to its end.
const WHOLE: &str = "kernel";

/// Where everything of this stage is kept.
pub(super) fn folder() -> PathBuf {
    target_dir().join("second-kernel")
}

/// The kernel that an earlier run has fetched, or Debian's newest.
///
/// # Errors
/// Without apt and dpkg, without network, or where a distribution names or packs its kernel in
/// another way.
pub(super) fn fetch() -> Result<Kernel> {
    let folder = folder();
    if let Some(kernel) = kept(&folder) {
        return Ok(kernel);
    }
    fs::create_dir_all(&folder)?;
    let package = match download(&folder) {
        Ok(package) => package,
        // The lists of a fresh machine are empty, and old ones name what is no longer there.
        Err(_) => {
            packages::update()?;
            download(&folder)?
        }
    };
    let release = package
        .strip_prefix("linux-image-")
        .context("the package of an image is named after something else")?;
    unpack(&folder, release)?;
    kept(&folder).context("the package lacks the image, or a module")
}

/// The kernel that is there, all of it.
fn kept(folder: &Path) -> Option<Kernel> {
    let folder = folder.join(WHOLE);
    let boot = fs::read_dir(folder.join("boot")).ok()?;
    let release = boot.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("vmlinuz-").map(str::to_owned)
    })?;
    let kernel = unpacked(&folder, release);
    // An earlier version of this stage wanted fewer.
    let is_whole = kernel.modules.iter().all(|module| module.is_file());
    is_whole.then_some(kernel)
}

fn unpacked(folder: &Path, release: String) -> Kernel {
    let modules = folder.join("lib/modules").join(&release).join("kernel");
    Kernel {
        image: folder.join(format!("boot/vmlinuz-{release}")),
        modules: MODULES.iter().map(|module| modules.join(module)).collect(),
        release,
    }
}

/// Fetches the package of the newest image into `folder`, and returns its name.
fn download(folder: &Path) -> Result<String> {
    let depends = output(program("apt-cache").args(["depends", PACKAGE]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|package| package.starts_with("linux-image-"))
        .with_context(|| format!("apt knows no {PACKAGE}"))?;
    // What an earlier run has left may be half of another one.
    for old in packages(folder)? {
        fs::remove_file(old)?;
    }
    check(
        program("apt-get")
            .args(["download", "--quiet", package])
            .current_dir(folder),
    )?;
    Ok(package.to_owned())
}

/// Takes the image and the modules out of the package, a hundredth of it, and removes the rest.
/// What was unpacked gets its name only when it is whole.
fn unpack(folder: &Path, release: &str) -> Result<()> {
    let package = packages(folder)?
        .pop()
        .context("apt-get downloaded nothing")?;
    let parts = folder.join("parts");
    remove(&parts)?;
    fs::create_dir(&parts)?;
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let archive = dpkg.stdout.take().context("no stdout")?;
    let modules = MODULES.map(|module| format!("./lib/modules/{release}/kernel/{module}"));
    let extracted = check(
        program("tar")
            .args(["--extract", "--file=-"])
            .arg(format!("--directory={}", parts.display()))
            .arg(format!("./boot/vmlinuz-{release}"))
            .args(modules)
            .stdin(archive),
    );
    let status = dpkg.wait()?;
    extracted?;
    ensure!(status.success(), "dpkg-deb failed ({status})");
    remove(&folder.join(WHOLE))?;
    fs::rename(&parts, folder.join(WHOLE))?;
    fs::remove_file(&package)?;
    Ok(())
}

/// Downloaded packages.
fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files
        .filter(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

/// Removes a folder that may not be there.
fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_kernel_is_kept() {
        let folder = std::env::temp_dir().join(format!("xtask-kernel-{}", std::process::id()));
        remove(&folder).expect("nothing of another run");
        assert!(kept(&folder).is_none(), "no folder");
        // A run that ended while it unpacked.
        let write = |parts: &str, file: &str| {
            let file = folder.join(parts).join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
            fs::write(file, "").expect("a file");
        };
        write("parts", "boot/vmlinuz-6.1.0");
        assert!(kept(&folder).is_none(), "half unpacked");
        write(WHOLE, "boot/vmlinuz-6.1.0");
        let (last, others) = MODULES.split_last().expect("modules");
        for module in others {
            write(WHOLE, &format!("lib/modules/6.1.0/kernel/{module}"));
            assert!(kept(&folder).is_none(), "modules are missing");
        }
        write(WHOLE, &format!("lib/modules/6.1.0/kernel/{last}"));
        let kernel = kept(&folder).expect("a whole kernel");
        assert_eq!(kernel.release, "6.1.0");
        assert!(kernel.image.is_file());
        remove(&folder).expect("the folder goes");
    }
}
