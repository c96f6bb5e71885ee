//! What must not be forgotten: each drop reason has a test and a line of documentation, each ready-made configuration
//! is loaded by a test.
//!
//! Promises: "a test" is code that does not ship; a mention anywhere else does not count.
//! Does not know: whether the test is a good one.

use std::path::{Path, PathBuf};

use super::Finding;
use super::source::{Source, Token};

const DROP_REASONS: &str = "crates/director/src/drop_reason.rs";
const DROPS_PAGE: &str = "docs/drops.md";
const CONFIGURATIONS: &str = "configs";

/// A variant of `DropReason`, and the name that users see.
#[derive(Debug, PartialEq, Eq)]
struct Reason {
    variant: String,
    name: String,
    line: usize,
}

/// Checks that each drop reason appears in a test, as `DropReason::Variant`, and in the documentation, as `name`.
pub(super) fn drop_reasons(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let Some(declaration) = sources
        .iter()
        .find(|source| source.path == Path::new(DROP_REASONS))
    else {
        return vec![Finding::new(
            DROP_REASONS,
            1,
            "the drop reasons are not where tidy looks for them",
        )];
    };
    let reasons = reasons(&declaration.shipped);
    if reasons.is_empty() {
        return vec![Finding::new(
            DROP_REASONS,
            1,
            "tidy finds no `Variant = \"name\": \"explanation\"` here",
        )];
    }
    let page = std::fs::read_to_string(root.join(DROPS_PAGE)).unwrap_or_default();
    let mut findings = Vec::new();
    for Reason {
        variant,
        name,
        line,
    } in reasons
    {
        if !sources
            .iter()
            .any(|source| names_reason(&source.tests, &variant))
        {
            findings.push(Finding::new(
                DROP_REASONS,
                line,
                format!("no test names `DropReason::{variant}`"),
            ));
        }
        if !page.contains(&format!("`{name}`")) {
            findings.push(Finding::new(
                DROP_REASONS,
                line,
                format!("`{name}` has no line in {DROPS_PAGE}"),
            ));
        }
    }
    findings
}

/// The rows `Variant = "name": "explanation"` of the declaring macro.
fn reasons(tokens: &[Token]) -> Vec<Reason> {
    let is_text = |token: &Token| token.text.starts_with('"');
    tokens
        .windows(5)
        .filter(|row| {
            row[1].text == "=" && is_text(&row[2]) && row[3].text == ":" && is_text(&row[4])
        })
        .map(|row| Reason {
            variant: row[0].text.clone(),
            name: row[2].text.trim_matches('"').to_owned(),
            line: row[0].line,
        })
        .collect()
}

fn names_reason(tests: &[Token], variant: &str) -> bool {
    let path = ["DropReason", ":", ":", variant];
    tests
        .windows(path.len())
        .any(|tokens| tokens.iter().map(|token| token.text.as_str()).eq(path))
}

/// Checks that each `configs/*.ron` is loaded by a test: one that names it, or one that goes through the folder.
pub(super) fn configurations(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let files = std::fs::read_dir(root.join(CONFIGURATIONS))
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let ron = files
        .map(|file| PathBuf::from(file.file_name()))
        .filter(|name| name.extension().is_some_and(|e| e == "ron"));
    ron.filter(|name| {
        !sources
            .iter()
            .any(|source| loads(&source.tests, &name.to_string_lossy()))
    })
    .map(|name| {
        Finding::new(
            Path::new(CONFIGURATIONS).join(name),
            1,
            "no test loads this configuration",
        )
    })
    .collect()
}

fn loads(tests: &[Token], file: &str) -> bool {
    let folder = format!("{CONFIGURATIONS}\"");
    tests
        .iter()
        .filter(|token| token.text.starts_with('"'))
        .any(|token| {
            token.text.contains(&format!("{CONFIGURATIONS}/{file}"))
                || token.text == format!("\"{file}\"")
                || token.text.ends_with(&folder)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        let source = Source::parse(Path::new("crates/a/tests/a.rs"), text)
            .ok()
            .unwrap();
        source.tests
    }

    #[test]
    fn reasons_are_read_from_the_macro() {
        let tokens = tokens(
            "//! a\ndrop_reasons! {\n    /// Doc.\n    TooShort = \"too_short\": \"It is short.\",\n}",
        );
        let expected = Reason {
            variant: "TooShort".into(),
            name: "too_short".into(),
            line: 4,
        };
        assert_eq!(reasons(&tokens), [expected]);
    }

    #[test]
    fn a_reason_is_named_by_its_full_path_only() {
        assert!(names_reason(
            &tokens("fn t() { assert_eq!(f(), DropReason::TooShort); }"),
            "TooShort"
        ));
        assert!(!names_reason(
            &tokens("fn t() { let _ = \"DropReason::TooShort\"; }"),
            "TooShort"
        ));
        assert!(!names_reason(&tokens("fn t() { f(TooShort) }"), "TooShort"));
    }

    #[test]
    fn a_configuration_is_loaded_by_name_or_with_its_folder() {
        assert!(loads(
            &tokens("fn t() { f(\"../../configs/a.ron\") }"),
            "a.ron"
        ));
        assert!(loads(
            &tokens("fn t() { f(include_str!(\"configs/a.ron\")) }"),
            "a.ron"
        ));
        assert!(loads(
            &tokens("fn t() { read_dir(\"../../configs\") }"),
            "a.ron"
        ));
        assert!(!loads(&tokens("fn t() { f(\"configs/b.ron\") }"), "a.ron"));
    }
}
