//! `cargo xtask fuzz`: the fuzz targets, on stable Rust and without a sanitizer.
//!
//! libFuzzer needs coverage counters from the compiler. Stable rustc writes them when LLVM's pass
//! is asked for by name; what it cannot do, and cargo-fuzz's default needs nightly for, is a
//! sanitizer. Overflow checks and debug assertions are on instead.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, check, find, output, program, root, target_dir};

const INSTRUMENTATION: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// A hang for a fuzzer, seconds.
const TIMEOUT: u64 = 10;
/// Memory that no input may take, MiB.
const MEMORY: u64 = 1024;

/// Builds all targets and runs each whose name contains one of `targets` (all, if empty) for
/// `seconds`.
///
/// # Errors
/// If a target does not build, or finds something: the input is kept and named.
pub(crate) fn run(seconds: u64, targets: &[String]) -> Result<()> {
    if find("c++").is_none() && find("clang++").is_none() {
        bail!("libFuzzer is built with a C++ compiler, and there is none: apt-get install g++");
    }
    let work = target_dir().join("fuzz");
    let binaries = build(&work)?;
    let wanted = |name: &str| targets.is_empty() || targets.iter().any(|part| name.contains(part));
    let mut ran = 0;
    for name in names()?.iter().filter(|name| wanted(name)) {
        fuzz(name, &binaries, &work, seconds)?;
        ran += 1;
    }
    if ran == 0 {
        bail!(
            "no fuzz target is called {}; there are: {}",
            targets.join(" or "),
            names()?.join(" ")
        );
    }
    Ok(())
}

/// One target a file.
fn names() -> Result<Vec<String>> {
    let folder = root().join("tests/fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the folder of the binaries.
fn build(work: &Path) -> Result<PathBuf> {
    // With a target named, build scripts and macros are not instrumented.
    let host = output(program("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let mut command = cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "--target",
        host,
    ]);
    command
        .arg("--manifest-path")
        .arg(root().join("tests/fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", work)
        .env("RUSTFLAGS", INSTRUMENTATION);
    check(&mut command).context("the fuzz targets do not build")?;
    Ok(work.join(host).join("release"))
}

fn fuzz(name: &str, binaries: &Path, work: &Path, seconds: u64) -> Result<()> {
    let corpus = work.join("corpus").join(name);
    let findings = work.join("findings").join(name);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    let mut command = Command::new(binaries.join(name));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-max_len=16384", "-print_final_stats=1"])
        .arg(&corpus);
    // What is kept beside the targets or the golden captures is where the fuzzer starts from.
    for seeds in [
        root().join("tests/fuzz/seeds").join(name),
        root().join("tests/it/golden/captures"),
    ] {
        if seeds.is_dir() {
            command.arg(seeds);
        }
    }
    let done = command
        .output()
        .with_context(|| format!("cannot run the fuzz target {name}"))?;
    let messages = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        eprint!("{messages}");
        bail!(
            "the fuzz target {name} found something: its input is in {}",
            findings.display()
        );
    }
    let figure = |key: &str| {
        let line = messages.lines().find_map(|line| line.strip_prefix(key));
        line.map_or("?", str::trim).to_owned()
    };
    let runs = figure("stat::number_of_executed_units:");
    eprintln!("fuzz {name}: {runs} inputs in {seconds} s, nothing found");
    Ok(())
}
