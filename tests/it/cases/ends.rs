//! Every capture, whatever is in it, ends `sensor read` with a clear result in bounded memory.

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        path::{Path, PathBuf},
        process::Command,
    };

    use anyhow::{Context as _, Result, ensure};
    use sensor_tests::sensor_binary;

    use super::super::index;

    /// All that the command may map, in KiB, which its memory can only be less than.
    const ADDRESS_SPACE_KIB: u32 = 512 << 10;
    /// Seconds after which a capture counts as one that never ends.
    const DEADLINE: u32 = 60;

    #[test]
    fn every_capture_ends_with_a_clear_result() -> Result<()> {
        let Some(root) = std::env::var_os("SENSOR_CASES").map(PathBuf::from) else {
            eprintln!("SENSOR_CASES is not set: no captures to read");
            return Ok(());
        };
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let cases = index::read(&workspace.join(root))?;
        let captures: BTreeSet<_> = cases.into_iter().map(|case| case.capture).collect();
        ensure!(!captures.is_empty(), "INDEX.tsv lists no captures");
        let folder = tempfile::tempdir()?;
        let cut = folder.path().join("cut");
        for capture in &captures {
            let name = capture.display();
            let whole = read(capture).with_context(|| format!("{name}"))?;
            let data = std::fs::read(capture)?;
            // A file header alone has no packet to lose.
            if whole && data.len() > 24 {
                std::fs::write(&cut, &data[..data.len() - 1])?;
                let whole = read(&cut).with_context(|| format!("{name} without its last byte"))?;
                ensure!(!whole, "{name} without its last byte is not missed");
            }
        }
        Ok(())
    }

    /// Whether the capture was read to its end; an error if how it ended is not clear.
    fn read(capture: &Path) -> Result<bool> {
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -v $0 && exec timeout $1 \"$2\" read --json \"$3\"",
            ])
            .args([ADDRESS_SPACE_KIB, DEADLINE].map(|number| number.to_string()))
            .arg(sensor_binary())
            .arg(capture)
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        for line in output.stdout.split_inclusive(|&byte| byte == b'\n') {
            serde_json::from_slice::<serde::de::IgnoredAny>(line).context("stdout")?;
        }
        let prefix = format!("error: {}: ", capture.display());
        let errors: Vec<_> = told.lines().filter(|line| line.contains("error")).collect();
        match output.status.code() {
            Some(0) => ensure!(errors.is_empty(), "success, and {told}"),
            Some(1) => ensure!(
                matches!(errors[..], [error] if error.strip_prefix(&prefix).is_some_and(|why| {
                    why.starts_with("stopped at byte ") || why.starts_with("not a capture file")
                })),
                "failure without where: {told}"
            ),
            _ => anyhow::bail!("{}: {told}", output.status),
        }
        Ok(output.status.success())
    }
}
