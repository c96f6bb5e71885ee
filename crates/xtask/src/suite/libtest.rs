//! Counting what the standard test harness prints.
//!
//! Promises: counts come from the summary line of each test program, which is printed on every harness's ordinary end;
//! names and reasons of ignored tests from their own lines.
//! Does not know: test programs that die; the caller sees those by cargo's exit status.

/// What has been counted so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: usize,
    failures: Vec<String>,
    /// Failures that a summary counted, to be matched with the names in `failures`.
    n_failed: usize,
    skips: Vec<Skip>,
}

#[derive(Debug, PartialEq, Eq)]
struct Skip {
    name: String,
    reason: String,
}

impl Tally {
    /// Notes one thing that is not a test of the harness.
    pub(super) fn note(&mut self, name: &str, has_passed: bool) {
        if has_passed {
            self.passed += 1;
        } else {
            self.n_failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// Notes something that was not run.
    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skips.push(Skip {
            name: name.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Forgets skipped tests whose reason `is_run_later`.
    pub(super) fn forget_skips(&mut self, is_run_later: impl Fn(&str) -> bool) {
        self.skips.retain(|skip| !is_run_later(&skip.reason));
    }

    /// Adds another tally to this one.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.n_failed += other.n_failed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// How much has failed.
    pub(super) fn failed(&self) -> usize {
        self.n_failed
    }

    /// Reads one line of the harness.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += count(summary, "passed");
            self.n_failed += count(summary, "failed");
        } else if let Some((name, result)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        {
            if let Some(reason) = result.strip_prefix("ignored") {
                self.skip(name, reason.trim_start_matches(", "));
            } else if result == "FAILED" {
                self.failures.push(name.to_owned());
            }
        }
    }

    /// Prints what failed, what was skipped and why, and the count as the last line.
    pub(super) fn print(&self) {
        println!();
        for name in &self.failures {
            println!("failed: {name}");
        }
        for Skip { name, reason } in &self.skips {
            let reason = if reason.is_empty() {
                "its author gives no reason"
            } else {
                reason
            };
            println!("skipped: {name}: {reason}");
        }
        println!("{self}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.n_failed,
            self.skips.len()
        )
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(summary: &str, word: &str) -> usize {
    let words: Vec<&str> = summary.split([' ', ';']).collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test wire::tests::checksum ... ok
test lab::split ... ignored, lab: needs root
test lab::slow ... ignored
test table::evict ... FAILED

test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn every_kind_of_result_is_counted_and_the_last_line_has_its_form() {
        let mut tally = Tally::default();
        OUTPUT.lines().for_each(|line| tally.read(line));
        tally.note("formatting", true);
        assert_eq!(tally.failures, ["table::evict"]);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn skips_that_are_run_later_are_forgotten_and_others_are_not() {
        let mut tally = Tally::default();
        OUTPUT.lines().for_each(|line| tally.read(line));
        tally.forget_skips(|reason| reason.starts_with("lab:"));
        assert_eq!(
            tally.skips,
            [Skip {
                name: "lab::slow".into(),
                reason: String::new()
            }]
        );
    }
}
