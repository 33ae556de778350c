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
    let kept = fs::read_dir(folder.join("boot")).into_iter().flatten();
    let release = kept.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("vmlinuz-").map(str::to_owned)
    });
    if let Some(kernel) = release.map(|release| unpacked(&folder, release))
        && kernel.modules.iter().all(|module| module.is_file())
    {
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
        .context("the package of an image is named after something else")?
        .to_owned();
    unpack(&folder, &release)?;
    Ok(unpacked(&folder, release))
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
    check(
        program("apt-get")
            .args(["download", "--quiet", package])
            .current_dir(folder),
    )?;
    Ok(package.to_owned())
}

/// Takes the image and the modules out of the package, a hundredth of it, and removes the rest.
fn unpack(folder: &Path, release: &str) -> Result<()> {
    let package = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
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
            .arg(format!("--directory={}", folder.display()))
            .arg(format!("./boot/vmlinuz-{release}"))
            .args(modules)
            .stdin(archive),
    );
    let status = dpkg.wait()?;
    extracted?;
    ensure!(status.success(), "dpkg-deb failed ({status})");
    fs::remove_file(&package)?;
    Ok(())
}
