//! `cargo xtask tidy`: the house rules that the compiler does not check.
//!
//! Promises: each finding names file, line, and what is wrong; no findings, exit code 0. Rules read tokens and syntax,
//! never raw text, so that comments and strings are not mistaken for code.
//! Does not know: whether the code is good.

mod arrows;
mod coverage;
mod glossary;
mod rules;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::build::workspace_root;
use source::Source;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    line: usize,
    sentence: String,
}

impl Finding {
    fn new(path: impl Into<PathBuf>, line: usize, sentence: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            sentence: sentence.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            self.path.display(),
            self.line,
            self.sentence
        )
    }
}

/// Prints the findings.
pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Checks the whole workspace.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    let root = workspace_root()?;
    let mut findings = arrows::check(&root)?;
    let mut sources = Vec::new();
    for path in rust_files(&root) {
        let text = std::fs::read_to_string(root.join(&path))
            .with_context(|| path.display().to_string())?;
        match Source::parse(&path, &text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    source::mark_test_modules(&mut sources);
    for source in &sources {
        findings.extend(rules::check(source));
        findings.extend(glossary::check(source));
    }
    findings.extend(coverage::drop_reasons(&root, &sources));
    findings.extend(coverage::configurations(&root, &sources));
    findings.sort();
    Ok(findings)
}

/// All Rust files of the project, relative to `root`.
fn rust_files(root: &Path) -> Vec<PathBuf> {
    let is_ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name == "target" || name.starts_with('.'))
    };
    WalkDir::new(root)
        .into_iter()
        .filter_entry(is_ours)
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .filter_map(|entry| Some(entry.path().strip_prefix(root).ok()?.to_owned()))
        .collect()
}
