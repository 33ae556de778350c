use anyhow::Result;

/// Counts over all runs, and what to tell at the end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: i64,
    pub(crate) failed: i64,
    pub(crate) skipped: i64,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Runs one check that counts as one test.
    pub(crate) fn check(&mut self, title: &str, work: impl FnOnce() -> Result<()>) {
        eprintln!("=== {title}");
        match work() {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(title, &format!("{error:#}")),
        }
    }

    /// Runs tests that count themselves; what keeps them from running counts as a failure.
    pub(crate) fn tests(&mut self, title: &str, work: impl FnOnce(&mut Self) -> Result<()>) {
        eprintln!("=== {title}");
        if let Err(error) = work(self) {
            self.fail(title, &format!("{error:#}"));
        }
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, title: &str, reason: &str) {
        self.failed += 1;
        self.failures.push(format!("{title}: {reason}"));
    }

    /// Counts and names something that cannot run here.
    pub(crate) fn skip(&mut self, title: &str, reason: &str) {
        self.skipped += 1;
        self.skips.push(format!("{title}: {reason}"));
    }

    /// Names a failure that a run has counted.
    pub(crate) fn name_failure(&mut self, line: &str) {
        self.failures.push(line.to_owned());
    }

    /// Turns a pass that a run has counted into a skip: the test found that it cannot run here.
    pub(crate) fn skip_passed(&mut self, line: &str) {
        // Below zero for a moment where the notice comes before the run's counts.
        self.passed -= 1;
        self.skipped += 1;
        self.skips.push(line.to_owned());
    }

    /// Adds the counts of tests that ran at `place`, and names those that failed or were skipped
    /// with it.
    pub(crate) fn add(&mut self, place: &str, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        let name = |line: String| format!("{place}: {line}");
        self.failures.extend(other.failures.into_iter().map(name));
        self.skips.extend(other.skips.into_iter().map(name));
    }

    /// What was skipped and what failed, and as the last line the counts.
    pub(crate) fn print(&self) {
        for skip in &self.skips {
            println!("skipped: {skip}");
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        );
    }
}
