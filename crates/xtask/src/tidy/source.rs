//! One Rust file, its tokens split into what ships and what tests.
//!
//! Promises: code under `#[test]` or `#[cfg(test)]`, in a `tests` folder, or in a module that is declared under
//! `#[cfg(test)]`, is test code; all else ships. Comments are in neither.
//! Does not know: the rules.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::Finding;

/// A parsed file.
pub(super) struct Source {
    /// Relative to the workspace.
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    /// Tokens that ship, groups opened.
    pub(super) shipped: Vec<Token>,
    /// Tokens of tests, groups opened.
    pub(super) tests: Vec<Token>,
    /// Modules this file declares for tests only, as the files they may lie in.
    test_modules: Vec<PathBuf>,
}

/// A token and its line. A group is its opening delimiter, its content, and its closing delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Source {
    /// Parses the file `path`, whose content is `text`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Finding> {
        let syntax = syn::parse_file(text).map_err(|error| {
            Finding::new(
                path,
                error.span().start().line,
                format!("this is not Rust that can be read: {error}"),
            )
        })?;
        // A shebang line is no token; a file that parsed without trouble has none here.
        let tokens: TokenStream = text
            .parse()
            .map_err(|_| Finding::new(path, 1, "this file has no Rust tokens"))?;
        let mut split = Split::default();
        let is_test_file = path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches");
        if is_test_file {
            flatten(tokens, &mut split.tests);
        } else {
            split.walk(tokens);
        }
        let folder = module_folder(path);
        let test_modules = split
            .test_modules
            .iter()
            .flat_map(|name| {
                [
                    folder.join(format!("{name}.rs")),
                    folder.join(name).join("mod.rs"),
                ]
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            syntax,
            shipped: split.shipped,
            tests: split.tests,
            test_modules,
        })
    }

    /// The folder below `crates` that the file lies in; nothing for files of the workspace's own folder.
    pub(super) fn crate_folder(&self) -> Option<&str> {
        let mut parts = self.path.iter();
        (parts.next()? == "crates").then(|| parts.next()?.to_str())?
    }
}

/// Moves the tokens of files that are modules for tests only, and of the modules below them, to the tests.
pub(super) fn mark_test_modules(sources: &mut [Source]) {
    let files: Vec<PathBuf> = sources
        .iter()
        .flat_map(|source| source.test_modules.clone())
        .collect();
    for source in sources {
        let is_below =
            |file: &PathBuf| source.path == *file || source.path.starts_with(module_folder(file));
        if files.iter().any(is_below) {
            source.tests.append(&mut source.shipped);
        }
    }
}

/// Where the modules declared in `path` lie.
fn module_folder(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => folder.to_owned(),
        Some(stem) => folder.join(stem),
    }
}

#[derive(Default)]
struct Split {
    shipped: Vec<Token>,
    tests: Vec<Token>,
    test_modules: Vec<String>,
}

impl Split {
    fn walk(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            if is_hash(&tree)
                && let Some(TokenTree::Group(attribute)) = trees.peek()
                && is_test_attribute(attribute)
            {
                trees.next();
                self.take_test_item(&mut trees);
                continue;
            }
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = delimiters(&group);
                    self.shipped.push(Token {
                        text: open.into(),
                        line: group.span_open().start().line,
                    });
                    self.walk(group.stream());
                    self.shipped.push(Token {
                        text: close.into(),
                        line: group.span_close().start().line,
                    });
                }
                other => self.shipped.push(token(&other)),
            }
        }
    }

    /// An item ends with its first braces, or with a semicolon.
    fn take_test_item(&mut self, trees: &mut impl Iterator<Item = TokenTree>) {
        let mut item = Vec::new();
        for tree in trees {
            let is_end = match &tree {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(punct) => punct.as_char() == ';',
                TokenTree::Ident(_) | TokenTree::Literal(_) => false,
            };
            flatten(TokenStream::from(tree), &mut item);
            if is_end {
                break;
            }
        }
        let declared = item
            .iter()
            .zip(item.iter().skip(1))
            .zip(item.iter().skip(2));
        for ((keyword, name), end) in declared {
            if keyword.text == "mod" && end.text == ";" {
                self.test_modules.push(name.text.clone());
            }
        }
        self.tests.append(&mut item);
    }
}

fn is_hash(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == '#')
}

/// `test`, `cfg(test)`, `cfg(all(test, …))`; not `cfg(not(test))`. Also a test attribute by path, `tokio::test`.
fn is_test_attribute(attribute: &Group) -> bool {
    let mut words = Vec::new();
    flatten(attribute.stream(), &mut words);
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    match words[..] {
        ["cfg", ..] => words.contains(&"test") && !words.contains(&"not"),
        ["test", ..] => true,
        [.., ":", ":", "test"] => true,
        _ => false,
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(&group);
                tokens.push(Token {
                    text: open.into(),
                    line: group.span_open().start().line,
                });
                flatten(group.stream(), tokens);
                tokens.push(Token {
                    text: close.into(),
                    line: group.span_close().start().line,
                });
            }
            other => tokens.push(token(&other)),
        }
    }
}

fn token(tree: &TokenTree) -> Token {
    Token {
        text: tree.to_string(),
        line: tree.span().start().line,
    }
}

fn delimiters(group: &Group) -> (&'static str, &'static str) {
    match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(tokens: &[Token]) -> String {
        tokens
            .iter()
            .map(|token| token.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn tests_are_told_from_what_ships() {
        let source = Source::parse(
            Path::new("crates/wire/src/a.rs"),
            "fn f() { g(1) }\n#[cfg(test)]\nmod tests { #[test] fn t() { h() } }\n#[cfg(not(test))]\nfn k() {}",
        )
        .ok()
        .unwrap();
        assert_eq!(
            words(&source.shipped),
            "fn f ( ) { g ( 1 ) } # [ cfg ( not ( test ) ) ] fn k ( ) { }"
        );
        assert!(words(&source.tests).contains("h ( )"));
        assert_eq!(source.shipped.last().unwrap().line, 5);
        assert_eq!(source.crate_folder(), Some("wire"));
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test_with_all_below() {
        let parse = |path: &str, text: &str| Source::parse(Path::new(path), text).ok().unwrap();
        let mut sources = [
            parse(
                "crates/wire/src/lib.rs",
                "#[cfg(test)]\nmod twin;\nmod real;",
            ),
            parse("crates/wire/src/twin.rs", "fn f() {}"),
            parse("crates/wire/src/twin/deep.rs", "fn f() {}"),
            parse("crates/wire/src/real.rs", "fn f() {}"),
            parse("crates/wire/tests/outside.rs", "fn f() {}"),
        ];
        mark_test_modules(&mut sources);
        let ships: Vec<bool> = sources
            .iter()
            .map(|source| !source.shipped.is_empty())
            .collect();
        assert_eq!(ships, [true, false, false, true, false]);
    }
}
