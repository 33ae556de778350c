//! `cargo xtask test`: every test in one command.

mod install;
pub(crate) mod libtest;
mod second_kernel;
mod tally;

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::command::{as_root, cargo, check, find, is_root, program, root};
use crate::{ebpf, fuzz};
use tally::Tally;

/// Modules of the integration tests that need the kernel: run as root, and only these.
const ROOT_MODULES: [&str; 9] = [
    "accounting::",
    "attach::",
    "daemon::",
    "defence::",
    "e2e::",
    "flood::",
    "kernel::",
    "lifecycle::",
    "lists::",
];

/// Seconds that each fuzz target gets here; `cargo xtask fuzz` gives more.
const FUZZ_SECONDS: u64 = 5;

/// Runs every test and check, or the tests whose name contains one of `filters`. The filter
/// `second-kernel` chooses the tests on a second kernel.
///
/// Goes on after a failure, so that one run shows all of them, and closes with the count.
///
/// # Errors
/// If anything failed.
pub(crate) fn run(filters: &[String]) -> Result<()> {
    let mut tally = Tally::default();
    let all = filters.is_empty();
    let (stages, filters): (Vec<String>, Vec<String>) = filters
        .iter()
        .cloned()
        .partition(|filter| filter == second_kernel::STAGE);
    if all {
        install::debian_packages(&mut tally);
        checks(&mut tally);
    }
    match libtest::build() {
        Ok(built) => {
            if all || !filters.is_empty() {
                tests(&built, &filters, &mut tally);
            }
            if all || !stages.is_empty() {
                second_kernel::run(&built, &mut tally);
            }
        }
        Err(error) => tally.fail("build", &format!("{error:#}")),
    }
    if all {
        tools(&mut tally);
    }
    tally.print();
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// What needs no test binary.
fn checks(tally: &mut Tally) {
    tally.check("rustfmt", || check(&mut cargo(["fmt", "--all", "--check"])));
    tally.check("clippy", || {
        let words = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        check(&mut cargo(words))
    });
}

/// Unit, property, integration and documentation tests.
fn tests(built: &libtest::Built, filters: &[String], tally: &mut Tally) {
    tally.tests("unit tests", |tally| {
        for (binary, folder) in &built.units {
            libtest::run(program(binary).current_dir(folder).args(filters), tally)?;
        }
        Ok(())
    });
    tally.tests("documentation tests", |tally| {
        let mut command = cargo(["test", "--workspace", "--doc", "--locked", "--"]);
        libtest::run(command.args(filters), tally)
    });
    tally.tests("integration tests", |tally| {
        let binary = &built.integration;
        let mut environment = vec![("SENSOR_BIN", built.sensor.clone().into_os_string())];
        for key in ["SENSOR_CASES", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
            if let Some(value) = std::env::var_os(key) {
                environment.push((key, value));
            }
        }
        let environment: Vec<(&str, &OsStr)> = environment
            .iter()
            .map(|(key, value)| (*key, value.as_os_str()))
            .collect();

        let mut command = program(binary);
        command
            .current_dir(root().join("tests"))
            .envs(environment.iter().copied())
            .args(filters);
        for module in ROOT_MODULES {
            command.args(["--skip", module]);
        }
        libtest::run(&mut command, tally)?;

        if !is_root() && find("sudo").is_none() {
            for name in libtest::list(binary, &ROOT_MODULES)? {
                tally.skip(&name, "needs root, and sudo is not installed");
            }
            return Ok(());
        }
        let mut command = as_root(binary, &environment)?;
        command.current_dir(root().join("tests"));
        // libtest runs what contains any of its words: without filters, the modules.
        if filters.is_empty() {
            command.args(ROOT_MODULES);
        } else {
            let names = libtest::list(binary, &ROOT_MODULES)?;
            let names: Vec<_> = names
                .into_iter()
                .filter(|name| filters.iter().any(|filter| name.contains(filter.as_str())))
                .collect();
            if names.is_empty() {
                return Ok(());
            }
            command.arg("--exact").args(names);
        }
        libtest::run(&mut command, tally)
    });
}

/// Checks with programs that a machine may lack.
fn tools(tally: &mut Tally) {
    if find("promtool").is_some() {
        for rules in rule_files() {
            let is_test = rules.to_string_lossy().contains(".test.");
            let verb = if is_test { "test" } else { "check" };
            tally.check(&format!("promtool {verb} rules"), || {
                check(program("promtool").args([verb, "rules"]).arg(&rules))
            });
        }
    } else {
        tally.skip(
            "promtool check rules",
            "promtool is not installed (package prometheus)",
        );
    }
    match install::bpf_toolchain() {
        Ok(()) => tally.check("cargo xtask ebpf --check", || ebpf::run(true)),
        Err(error) => tally.skip("cargo xtask ebpf --check", &format!("{error:#}")),
    }
    match install::cargo_deny() {
        Ok(()) => deny(tally),
        Err(error) => tally.skip("cargo deny", &format!("{error:#}")),
    }
    tally.check("fuzz targets", || fuzz::run(FUZZ_SECONDS, &[]));
}

fn deny(tally: &mut Tally) {
    tally.check("cargo deny check bans licenses sources", || {
        check(&mut cargo(["deny", "check", "bans", "licenses", "sources"]))
    });
    // Advisories come from the network, which a machine for tests need not reach.
    let advisories = cargo(["deny", "fetch", "db"])
        .output()
        .context("cannot start cargo deny")
        .is_ok_and(|output| output.status.success());
    if advisories {
        tally.check("cargo deny check advisories", || {
            check(&mut cargo([
                "deny",
                "check",
                "--disable-fetch",
                "advisories",
            ]))
        });
    } else {
        tally.skip(
            "cargo deny check advisories",
            "the advisory database cannot be fetched",
        );
    }
}

/// Prometheus rules that ship.
fn rule_files() -> Vec<PathBuf> {
    let directory = root().join("deploy/prometheus");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.contains("rules") && (name.ends_with(".yml") || name.ends_with(".yaml"))
        })
        .collect();
    files.sort();
    files
}
