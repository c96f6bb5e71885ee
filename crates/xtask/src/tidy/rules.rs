//! Rules about single tokens: the opening documentation, the home of `unsafe`, what the fast path must not say.
//!
//! Promises: reads tokens, so a word in a comment or string is none.
//! Does not know: types; a method called `unwrap` of our own would be taken for the one that panics.

use super::Finding;
use super::source::{Source, Token};

/// The crates that hold all `unsafe`.
pub(super) const HOMES_OF_UNSAFE: [&str; 3] = ["dpdk-sys", "dpdk", "memory"];
/// The crates that a packet passes through: they return reasons, and neither panic on purpose nor log.
const FAST_PATH: [&str; 3] = ["wire", "director", "worker"];
const PANICKING: [&str; 2] = ["unwrap", "expect"];
const PRINTING: [&str; 10] = [
    "println", "eprintln", "print", "eprint", "dbg", "trace", "debug", "info", "warn", "error",
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings.push(Finding::new(
            &source.path,
            1,
            "a file starts with `//!`: what it is, promises, does not know",
        ));
    }
    let folder = source.crate_folder();
    if !folder.is_some_and(|folder| HOMES_OF_UNSAFE.contains(&folder)) {
        let all = source.shipped.iter().chain(&source.tests);
        findings.extend(all.filter(|token| token.text == "unsafe").map(|token| {
            let homes = HOMES_OF_UNSAFE.join(", ");
            Finding::new(
                &source.path,
                token.line,
                format!("`unsafe` is at home in {homes} only"),
            )
        }));
    }
    if folder.is_some_and(|folder| FAST_PATH.contains(&folder)) {
        findings.extend(said_on_the_fast_path(source));
    }
    findings
}

fn said_on_the_fast_path(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for window in source.shipped.windows(3) {
        let [before, token, after] = window else {
            continue;
        };
        let is_call = before.text == "." && after.text == "(";
        if is_call && PANICKING.contains(&token.text.as_str()) {
            let sentence = format!("`{}` panics; return a reason instead", token.text);
            findings.push(Finding::new(&source.path, token.line, sentence));
        }
        if is_macro_call(token, after) && PRINTING.contains(&token.text.as_str()) {
            let sentence = format!(
                "`{}!` prints; count instead, and leave words to the control plane",
                token.text
            );
            findings.push(Finding::new(&source.path, token.line, sentence));
        }
    }
    findings
}

fn is_macro_call(name: &Token, after: &Token) -> bool {
    after.text == "!" && name.text.chars().all(|letter| letter.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(Path::new(path), text).ok().unwrap();
        check(&source).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_file_without_opening_documentation_is_found() {
        let found = findings("build.rs", "fn main() {}");
        assert!(
            found.len() == 1 && found[0].starts_with("build.rs:1: a file starts with"),
            "{found:?}"
        );
    }

    #[test]
    fn unsafe_is_found_outside_its_home_even_in_tests_but_not_in_words() {
        let text = "//! About unsafe.\nfn f() {\n    unsafe { g() }\n}\n#[cfg(test)]\nmod tests { fn f() { unsafe {} } }";
        let found = findings("crates/wire/src/a.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("crates/wire/src/a.rs:3: "),
            "{found:?}"
        );
        assert!(findings("crates/memory/src/a.rs", text).is_empty());
        assert!(
            findings(
                "crates/wire/src/a.rs",
                "//! a\nconst S: &str = \"unsafe\"; // unsafe\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn panicking_and_printing_are_found_on_the_fast_path_outside_tests_only() {
        let text = "//! a\nfn f() {\n    g().unwrap();\n    g().expect(\"x\");\n    println!();\n    log::warn!();\n}\n\
                    #[cfg(test)]\nmod tests { fn t() { g().unwrap(); println!(); } }";
        let lines: Vec<String> = findings("crates/director/src/a.rs", text)
            .iter()
            .map(|found| found.split(':').nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(lines, ["3", "4", "5", "6"]);
        assert!(findings("crates/control/src/a.rs", text).is_empty());
        assert!(
            findings(
                "crates/director/src/a.rs",
                "//! a\nfn f() { g().unwrap_or(1); }"
            )
            .is_empty()
        );
    }
}
