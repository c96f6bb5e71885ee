//! Where each value of a RON text stands: a position index, because `ron` gives values without their spans.
//!
//! Promises: for a text that `ron` accepts, every key and value is found at the line and column of its first
//! character (both from 1, columns in characters, as `ron` counts them). For any other text it ends, without a
//! panic, with whatever it made of it.
//! Does not know: types, field names or which text is valid; it sees brackets, names, quotes and comments.
//!
//! How it works: a value is a *leaf* (number, text, character, bare name) or a *container*: `( )`, `[ ]`, `{ }`,
//! with or without a name before it. A container holds entries separated by commas; an entry is a value, or two
//! values with a colon between them, the first being the key. `Some(x)` stands for `x`.

use std::ops::Range;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    /// This position, counted from the start of a piece of text, in the text in which that piece begins at `base`.
    pub(crate) fn within(self, base: Position) -> Position {
        match self.line {
            1 => Position {
                line: base.line,
                column: base.column + self.column - 1,
            },
            line => Position {
                line: base.line + line - 1,
                column: self.column,
            },
        }
    }
}

/// One value of the text, with what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where the value begins: its name if it has one, else its first character.
    at: Position,
    /// From its first byte to behind its last, from the start of the text.
    bytes: Range<usize>,
    /// The name before the bracket, or the bare name that is the whole value.
    name: Option<String>,
    /// The key before the colon, where there is one.
    key: Option<Key>,
    /// Has a bracket, be it empty.
    is_container: bool,
    entries: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Key {
    at: Position,
    /// The bare name; `None` for a text or any other value.
    name: Option<String>,
}

impl Node {
    /// The index of `text`.
    pub(crate) fn scan(text: &str) -> Node {
        let mut scanner = Scanner {
            rest: text,
            offset: 0,
            at: Position::START,
            depth: 0,
        };
        scanner.skip_attributes();
        scanner.value()
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place(self)
    }

    /// Where the last key of that name begins that begins before `end`, at any depth.
    pub(crate) fn last_key_before(&self, name: &str, end: Position) -> Option<Position> {
        let own = self
            .key
            .as_ref()
            .filter(|key| key.name.as_deref() == Some(name) && key.at < end)
            .map(|key| key.at);
        let inner = self
            .entries
            .iter()
            .filter_map(|entry| entry.last_key_before(name, end))
            .max();
        own.max(inner)
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The bytes of this value in the text that was scanned.
    pub(crate) fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }

    pub(crate) fn is_container(&self) -> bool {
        self.is_container
    }
}

/// A step-by-step walk to a value: `root.field("services").item(2).field("vip").at()`.
///
/// A step to what is not there stays where it is, so that an error about something left out points at what
/// should have held it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a>(&'a Node);

impl<'a> Place<'a> {
    /// The value of the first entry whose key is the bare name `name`.
    pub(crate) fn field(self, name: &str) -> Place<'a> {
        let is_named = |node: &&Node| {
            node.key
                .as_ref()
                .is_some_and(|key| key.name.as_deref() == Some(name))
        };
        self.0.entries.iter().find(is_named).map_or(self, Place)
    }

    /// The value of the entry number `index`, from 0, with or without a key.
    pub(crate) fn item(self, index: usize) -> Place<'a> {
        self.0.entries.get(index).map_or(self, Place)
    }

    /// Where the value begins.
    pub(crate) fn at(self) -> Position {
        self.0.at
    }

    /// Where the key of this value begins; without a key, the value.
    pub(crate) fn key_at(self) -> Position {
        self.0.key.as_ref().map_or(self.0.at, |key| key.at)
    }
}

/// Deeper than `ron` goes; keeps the stack small on rubbish.
const DEPTH_LIMIT: usize = 200;

struct Scanner<'a> {
    /// What is still to be read.
    rest: &'a str,
    /// Where `rest` begins, in bytes and as a position.
    offset: usize,
    at: Position,
    depth: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.offset += next.len_utf8();
        self.at = match next {
            '\n' => Position {
                line: self.at.line + 1,
                column: 1,
            },
            _ => Position {
                column: self.at.column + 1,
                ..self.at
            },
        };
        Some(next)
    }

    fn advance_bytes(&mut self, n_bytes: usize) {
        let end = self.offset + n_bytes;
        while self.offset < end && self.advance().is_some() {}
    }

    /// Past `end`, or to the end of the text where it does not occur.
    fn advance_past(&mut self, end: &str) {
        let n_bytes = self
            .rest
            .find(end)
            .map_or(self.rest.len(), |found| found + end.len());
        self.advance_bytes(n_bytes);
    }

    fn skip_blank(&mut self) {
        loop {
            match self.peek() {
                Some(c) if is_blank(c) => {
                    self.advance();
                }
                Some('/') if self.rest.starts_with("//") => self.advance_past("\n"),
                Some('/') if self.rest.starts_with("/*") => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.advance_bytes(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.advance_bytes(2);
            } else if self.advance().is_none() {
                return;
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// `#![enable(...)]` and `#![type = "..."]` before the value.
    fn skip_attributes(&mut self) {
        self.skip_blank();
        while self.peek() == Some('#') {
            while let Some(c) = self.peek() {
                match c {
                    ']' => {
                        self.advance();
                        break;
                    }
                    '"' => self.skip_quoted('"'),
                    _ => {
                        self.advance();
                    }
                }
                self.skip_blank();
            }
            self.skip_blank();
        }
    }

    fn value(&mut self) -> Node {
        self.skip_blank();
        let (at, offset) = (self.at, self.offset);
        let name = if self.skip_literal() {
            None
        } else {
            self.read_name()
        };
        let is_literal = name.is_none() && self.offset > offset;
        let name_end = self.offset;
        // A name and its bracket may stand apart; a text or character has no bracket.
        if name.is_some() {
            self.skip_blank();
        }
        let is_container = match self.peek() {
            Some('(') => !is_literal,
            Some('[' | '{') => !is_literal && name.is_none(),
            _ => false,
        };
        let mut node = Node {
            at,
            bytes: offset..name_end,
            name,
            key: None,
            is_container,
            entries: Vec::new(),
        };
        if is_container {
            node.entries = self.read_entries();
            node.bytes.end = self.offset;
        } else if node.name.is_none() && !is_literal {
            self.skip_scalar();
            node.bytes.end = self.offset;
        }
        node.without_some()
    }

    /// Passes over text, raw text and characters, with or without the `b` for bytes. False where none stands.
    fn skip_literal(&mut self) -> bool {
        let prefix = if self.rest.starts_with('b') { "b" } else { "" };
        let body = &self.rest[prefix.len()..];
        if let Some(raw) = body.strip_prefix('r') {
            let n_hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[n_hashes..].starts_with('"') {
                self.advance_bytes(prefix.len() + 1 + n_hashes + 1);
                self.advance_past(&format!("\"{}", "#".repeat(n_hashes)));
                return true;
            }
        }
        match body.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.advance_bytes(prefix.len());
                self.skip_quoted(quote);
                true
            }
            _ => false,
        }
    }

    /// From one quote to its partner, minding backslashes.
    fn skip_quoted(&mut self, quote: char) {
        self.advance();
        // The character that is itself the quote: ''' is one.
        if quote == '\'' && self.rest.starts_with("''") {
            self.advance();
        }
        while let Some(c) = self.advance() {
            match c {
                '\\' => {
                    self.advance();
                }
                _ if c == quote => return,
                _ => {}
            }
        }
    }

    fn read_name(&mut self) -> Option<String> {
        let is_raw = self.rest.starts_with("r#");
        let body = if is_raw { &self.rest[2..] } else { self.rest };
        let first = body.chars().next()?;
        let may_start = if is_raw {
            is_raw_name_char(first)
        } else {
            first == '_' || first.is_alphabetic()
        };
        if !may_start {
            return None;
        }
        let is_inner = if is_raw {
            is_raw_name_char
        } else {
            is_name_char
        };
        let n_bytes = body.find(|c| !is_inner(c)).unwrap_or(body.len());
        let name = body[..n_bytes].to_owned();
        self.advance_bytes(n_bytes + if is_raw { 2 } else { 0 });
        Some(name)
    }

    /// A number, or anything that is nothing: up to what must end it, one character at least.
    fn skip_scalar(&mut self) {
        while self.advance().is_some() {
            match self.peek() {
                Some(c)
                    if is_blank(c)
                        || matches!(c, ',' | ':' | '(' | ')' | '[' | ']' | '{' | '}' | '/') =>
                {
                    return;
                }
                _ => {}
            }
        }
    }

    /// From the opening bracket, which is next, past the closing one.
    fn read_entries(&mut self) -> Vec<Node> {
        self.advance();
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            self.advance_bytes(self.rest.len());
        }
        let mut entries = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                None => break,
                Some(')' | ']' | '}') => {
                    self.advance();
                    break;
                }
                Some(',') => {
                    self.advance();
                }
                Some(_) => entries.push(self.read_entry()),
            }
        }
        self.depth -= 1;
        entries
    }

    fn read_entry(&mut self) -> Node {
        let first = self.value();
        self.skip_blank();
        if self.peek() != Some(':') {
            return first;
        }
        self.advance();
        Node {
            key: Some(Key {
                at: first.at,
                name: first.name,
            }),
            ..self.value()
        }
    }
}

impl Node {
    fn without_some(mut self) -> Node {
        let is_some = self.name.as_deref() == Some("Some")
            && self.entries.len() == 1
            && self.entries.iter().all(|entry| entry.key.is_none());
        match self.entries.pop() {
            Some(inner) if is_some => inner,
            Some(last) => {
                self.entries.push(last);
                self
            }
            None => self,
        }
    }
}

/// What `ron` takes for white space.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t'
            | '\n'
            | '\r'
            | '\x0B'
            | '\x0C'
            | '\u{85}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

fn is_name_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn is_raw_name_char(c: char) -> bool {
    is_name_char(c) || matches!(c, '.' | '+' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn a_walk_finds_keys_and_values() {
        let text = "#![enable(implicit_some)]\n// (\n(\n  a: [1, Two(b: 'x'), r#\"]\"#, \"\\\"]\"],\n  c : {\"k\": (d: 5)},\n)";
        let root = Node::scan(text);
        let a = root.place().field("a");
        assert_eq!(a.key_at(), position(4, 3));
        assert_eq!(a.item(0).at(), position(4, 7));
        assert_eq!(a.item(1).at(), position(4, 10));
        assert_eq!(a.item(1).field("b").at(), position(4, 17));
        assert_eq!(a.item(2).at(), position(4, 23));
        assert_eq!(a.item(3).at(), position(4, 31));
        let c = root.place().field("c");
        assert_eq!(c.item(0).key_at(), position(5, 8));
        assert_eq!(c.item(0).field("d").at(), position(5, 17));
    }

    #[test]
    fn comments_nest_and_do_not_count() {
        let root = Node::scan("( /* ( /* ] */ \" */ a /**/ : // )\n /* */ 1)");
        assert_eq!(root.place().field("a").at(), position(2, 8));
    }

    #[test]
    fn quotes_hide_brackets() {
        for literal in [
            r#""\\""#,
            r#""\")""#,
            "'\\''",
            "')'",
            "'\"'",
            "'''",
            "r\"\\\"",
            "r##\"\"#)\"##",
            "b\")\"",
            "br#\")\"#",
            "b')'",
        ] {
            let text = format!("(a: {literal}, b: 1)");
            assert_eq!(
                Node::scan(&text).place().field("b").at().column,
                10 + literal.chars().count(),
                "{text}"
            );
        }
    }

    #[test]
    fn some_is_transparent_and_a_missing_step_stays() {
        let root = Node::scan("(a: Some((b: Some(3))))");
        assert_eq!(root.place().field("a").field("b").at(), position(1, 19));
        assert_eq!(
            root.place().field("a").field("z").item(7).at(),
            position(1, 10)
        );
    }

    #[test]
    fn deep_rubbish_ends() {
        Node::scan(&"(".repeat(1_000_000));
        Node::scan(&"Some(".repeat(1_000_000));
    }

    /// The naive twin: a value that, while it is written, notes where it writes what.
    #[derive(Clone, Debug)]
    enum Model {
        Leaf(&'static str),
        List(Vec<Model>),
        Struct(Option<&'static str>, Vec<Model>),
        Map(Vec<Model>),
    }

    const LEAVES: [&str; 16] = [
        "1",
        "-2.5",
        "0xff",
        "true",
        "Name",
        "\"a\"",
        "\"\\\"(\"",
        "\"\\\\\"",
        "r\"[\"",
        "r#\"\"}\"#",
        "'\\''",
        "'('",
        "b\"x\\\"\"",
        "\"ä,:\"",
        "()",
        "\"/*\"",
    ];
    const BLANKS: [&str; 8] = [
        "",
        " ",
        "\n",
        "\t",
        "/* ( /* \" */ ] */",
        "// )'\n",
        "\r\n  ",
        "/**/ \u{2028}",
    ];

    fn model() -> impl Strategy<Value = Model> {
        let leaf = prop::sample::select(&LEAVES[..]).prop_map(Model::Leaf);
        leaf.prop_recursive(4, 40, 5, |inner| {
            let several = prop::collection::vec(inner, 0..5);
            prop_oneof![
                several.clone().prop_map(Model::List),
                (prop::option::of(Just("Tag")), several.clone())
                    .prop_map(|(name, fields)| Model::Struct(name, fields)),
                several.prop_map(Model::Map),
            ]
        })
    }

    struct Writer<'a> {
        text: String,
        blanks: std::iter::Cycle<std::slice::Iter<'a, &'static str>>,
    }

    impl Writer<'_> {
        fn blank(&mut self) {
            let blank = self.blanks.next().copied().unwrap_or("");
            self.text.push_str(blank);
        }

        fn here(&self) -> Position {
            let line = 1 + self.text.matches('\n').count();
            let column = 1 + self.text.chars().rev().take_while(|&c| c != '\n').count();
            Position { line, column }
        }

        /// Writes the model; gives each of its values with the path of entry numbers that leads there.
        fn write(
            &mut self,
            model: &Model,
            path: &[usize],
            found: &mut Vec<(Vec<usize>, Position, Option<Position>)>,
        ) {
            let number = found.len() - 1;
            found[number].1 = self.here();
            let (open, close, entries) = match model {
                Model::Leaf(text) => return self.text.push_str(text),
                Model::List(entries) => ("[", "]", entries),
                Model::Map(entries) => ("{", "}", entries),
                Model::Struct(name, entries) => {
                    if let Some(name) = name {
                        self.text.push_str(name);
                        self.blank();
                    }
                    ("(", ")", entries)
                }
            };
            self.text.push_str(open);
            for (index, entry) in entries.iter().enumerate() {
                self.blank();
                let path: Vec<usize> = path.iter().copied().chain([index]).collect();
                let key_at = self.here();
                let key = match model {
                    Model::Leaf(_) | Model::List(_) => None,
                    Model::Struct(..) => Some(format!("field_{index}")),
                    Model::Map(_) => Some(format!("\"k{index}:\"")),
                };
                if let Some(key) = &key {
                    self.text.push_str(key);
                    self.blank();
                    self.text.push(':');
                    self.blank();
                }
                found.push((path.clone(), Position::START, key.map(|_| key_at)));
                self.write(entry, &path, found);
                self.blank();
                self.text.push(',');
            }
            self.blank();
            self.text.push_str(close);
        }
    }

    proptest! {
        #[test]
        fn every_value_is_found_where_it_was_written(
            model in model(),
            blanks in prop::collection::vec(prop::sample::select(&BLANKS[..]), 1..20),
        ) {
            let mut writer = Writer { text: String::new(), blanks: blanks.iter().cycle() };
            writer.blank();
            let mut found = vec![(Vec::new(), Position::START, None)];
            writer.write(&model, &[], &mut found);
            // The twin must speak RON, or the comparison says nothing.
            prop_assert!(ron::from_str::<serde::de::IgnoredAny>(&writer.text).is_ok(), "{}", writer.text);

            let root = Node::scan(&writer.text);
            for (path, at, key_at) in found {
                let place = path.iter().fold(root.place(), |place, &index| place.item(index));
                prop_assert_eq!(place.at(), at, "path {:?} of {}", path, writer.text);
                if let Some(key_at) = key_at {
                    prop_assert_eq!(place.key_at(), key_at, "key of {:?} of {}", path, writer.text);
                }
            }
        }

        #[test]
        fn any_text_is_survived(text in "\\PC*", rubbish in "[\\(\\)\\[\\]{}:,'\"r#b/*\\\\ \na1]{0,200}") {
            Node::scan(&text);
            Node::scan(&rubbish);
        }
    }
}
