//! How much the verifier walks through and how much code it makes of it: guarded against growth.
//!
//! `instructions.txt` holds the figures; `SENSOR_BLESS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sensor_ebpf::abi::program;

use super::programs::{Setup, loaded};

/// By how many per cent a figure may grow, as another kernel's verifier and compiler differ a
/// little.
const SLACK_PERCENT: u32 = 10;

const HEADER: &str =
    "# program, instructions that the verifier walked through, bytes of machine code\n";

const PROGRAMS: [&str; 4] = [
    program::XDP,
    program::XDP_LINEAR,
    program::EGRESS,
    program::INGRESS,
];

#[test]
fn the_programs_have_not_grown() -> Result<()> {
    let Some(programs) = loaded(Setup::of(&PROGRAMS))? else {
        return Ok(());
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/kernel/instructions.txt");
    let mut text = HEADER.to_owned();
    let mut found = Vec::new();
    for name in PROGRAMS {
        let info = programs.info(name)?;
        let verified = info
            .verified_instruction_count()
            .context("the kernel does not tell (before 5.16)")?;
        let machine_code = info.size_jitted();
        writeln!(text, "{name} {verified} {machine_code}")?;
        found.push((name, [verified, machine_code]));
    }
    if std::env::var_os("SENSOR_BLESS").is_some() {
        std::fs::write(&file, text)?;
        return Ok(());
    }
    let recorded = std::fs::read_to_string(&file)?;
    for (name, now) in found {
        let line = recorded
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .with_context(|| format!("no line of {name} in {}", file.display()))?;
        let before: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        ensure!(before.len() == 2, "{line}");
        for (now, before) in now.into_iter().zip(before) {
            ensure!(
                now <= before + before * SLACK_PERCENT / 100,
                "{name} has grown from {before} to {now}: make it smaller, or record it with \
                 SENSOR_BLESS=1"
            );
        }
    }
    Ok(())
}
