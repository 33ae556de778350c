//! The captures that the offline bench reads.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Report;
use crate::command::{cargo, check, program, target_dir};

/// The mix's path: made anew only if it is missing.
pub(super) fn path() -> Result<PathBuf> {
    let path = target_dir().join("mix.pcap");
    if !path.is_file() {
        make(&path)?;
    }
    Ok(path)
}

/// Makes the mix and says how large it is.
pub(super) fn measure() -> Result<Report> {
    let path = target_dir().join("mix.pcap");
    make(&path)?;
    let packets = packets(&path)?;
    let bytes = fs::metadata(&path)?.len();
    let mut report = Report::new("mix", "The capture that `bench offline` reads");
    report.condition(
        "every Ethernet capture of SENSOR_CASES in INDEX order, repeated with shifted addresses",
    );
    report.row("packets", packets as f64, "", None);
    report.row("file", bytes as f64 / 1e6, "MB", None);
    Ok(report)
}

/// The program that makes captures, built.
pub(super) fn maker() -> Result<Command> {
    check(&mut cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "-p",
        "sensor-tests",
        "--bin",
        "captures",
    ]))?;
    Ok(program(target_dir().join("release/captures")))
}

fn make(path: &PathBuf) -> Result<()> {
    let Some(cases) = std::env::var_os("SENSOR_CASES") else {
        bail!("the mix is made of public captures: set SENSOR_CASES to a folder with an INDEX.tsv");
    };
    let part = path.with_extension("part");
    let out = File::create(&part).with_context(|| format!("{}", part.display()))?;
    check(maker()?.arg("mix").arg(cases).stdout(out))?;
    fs::rename(&part, path).with_context(|| format!("{}", path.display()))
}

/// Counts a classic pcap's packets by its record headers.
pub(super) fn packets(path: &PathBuf) -> Result<u64> {
    use std::io::{BufReader, Read as _};
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut header = [0; 24];
    file.read_exact(&mut header)?;
    let (mut record, mut count) = ([0; 16], 0);
    while file.read_exact(&mut record).is_ok() {
        let length = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        file.seek_relative(length.into())?;
        count += 1;
    }
    Ok(count)
}
