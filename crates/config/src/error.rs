//! Errors of a configuration file: each one sentence with the place it speaks of.
//!
//! Promises: [`Errors`] is never empty, is sorted by position, and prints one line per error.
//! Does not know: the rules; the sentences come from `syntax` and `check`.

use std::fmt;

use crate::locate::Position;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where the offending value, or the key that should not be there, begins.
    pub at: Position,
    /// One sentence: what is wrong; what would be right.
    pub what: String,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    file_name: String,
    /// Invariant: not empty, sorted by position.
    problems: Vec<Problem>,
}

impl Errors {
    /// `problems` in any order, at least one; `file_name` as the user gave it.
    pub(crate) fn new(file_name: &str, mut problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "errors without an error");
        problems.sort();
        Self {
            file_name: file_name.to_owned(),
            problems,
        }
    }

    /// The problems, sorted by position.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Errors {
    /// `FILE:LINE:COLUMN: sentence`, one line each, no line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, what }) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: {what}", self.file_name, at.line, at.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Where the checks put what they find, so that one error does not hide the next.
#[derive(Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// Notes one problem.
    pub(crate) fn refuse(&mut self, at: Position, what: impl Into<String>) {
        self.problems.push(Problem {
            at,
            what: what.into(),
        });
    }

    /// The value of `result`, or `None` with its sentence noted at `at`.
    pub(crate) fn keep<T>(&mut self, at: Position, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.refuse(at, what)).ok()
    }

    /// How many problems were noted so far; lets a check see whether it added one.
    pub(crate) fn n_problems(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// Choices in a sentence: `Rr, Wrr, Lc or Wlc`.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
