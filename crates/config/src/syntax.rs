//! From text to the configuration as written, and `ron`'s refusals in the operator's words.
//!
//! Promises: one problem at most, at the place where `ron` met it.
//! Does not know: what the values mean.

use ron::error::{Error, SpannedError};
use ron::extensions::Extensions;
use serde::de::DeserializeOwned;

use crate::error::{Problem, one_of};
use crate::locate::{Node, Position};
use crate::spec::{KEYS_TO_COME, Spec, Variant};

/// Reads the whole file.
pub(crate) fn parse(text: &str) -> Result<Spec, Problem> {
    read(text)
}

/// Reads the options of a choice, which begins at `at`; none at all where it is written without brackets.
pub(crate) fn parse_options<T: DeserializeOwned + Default>(
    variant: &Variant,
    at: Position,
) -> Result<T, Problem> {
    if !variant.has_options() {
        return Ok(T::default());
    }
    read(variant.value()).map_err(|Problem { at: inner, what }| Problem {
        at: inner.within(at),
        what,
    })
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    options.from_str(text).map_err(|error| Problem {
        at: place(&error, text),
        what: sentence(&error.code),
    })
}

/// `ron` tells where its cursor stood before and after the step that failed. What it read and disliked begins where
/// the step began; what it missed is missing where the step ended.
fn place(error: &SpannedError, text: &str) -> Position {
    let position = match &error.code {
        Error::NoSuchStructField { .. }
        | Error::NoSuchEnumVariant { .. }
        | Error::NoSuchExtension(_)
        | Error::IntegerOutOfBounds
        | Error::ExpectedDifferentStructName { .. } => error.span.start,
        Error::DuplicateStructField { field, .. } => return duplicate(field, error, text),
        _ => error.span.end,
    };
    Position {
        line: position.line,
        column: position.col,
    }
}

/// `ron` finds out about a second key behind it; its place is that of the last such key up to there.
fn duplicate(field: &str, error: &SpannedError, text: &str) -> Position {
    let end = Position {
        line: error.span.end.line,
        column: error.span.end.col,
    };
    Node::scan(text).last_key_before(field, end).unwrap_or(end)
}

fn sentence(error: &Error) -> String {
    match error {
        Error::NoSuchStructField { expected, found, outer } => {
            let holder = outer.as_deref().unwrap_or_default();
            let to_come = KEYS_TO_COME.iter().find(|(of, _)| *of == holder).map_or(&[][..], |(_, keys)| keys);
            let keys: Vec<&str> = expected.iter().copied().filter(|key| !to_come.contains(key)).collect();
            format!("`{found}` is no key here; the keys of `{holder}` are {}", keys.join(", "))
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            format!("`{found}` is none of the choices here; write {}", one_of(expected))
        }
        Error::DuplicateStructField { field, .. } => format!("`{field}` is given twice; keep one of the two"),
        Error::Eof => "the file ends too early; close every (, [ and { that is open".to_owned(),
        Error::ExpectedArray => "a list belongs here; write it in brackets, as in [\"…\", \"…\"]".to_owned(),
        Error::ExpectedArrayEnd => "this list goes on without a comma or is not closed; write , or ] here".to_owned(),
        Error::ExpectedMap => "named entries belong here; write them in braces, as in {\"name\": …}".to_owned(),
        Error::ExpectedMapEnd => "an entry is not followed by a comma, or a { is not closed; write , or } here".to_owned(),
        Error::ExpectedMapColon => "a key is not followed by its value; write : and the value here".to_owned(),
        Error::ExpectedStructLike | Error::ExpectedNamedStructLike(_) | Error::ExpectedDifferentStructName { .. } => {
            "keys with values belong here; write them in parentheses, as in (key: value)".to_owned()
        }
        Error::ExpectedStructLikeEnd => {
            "a value is not followed by a comma, or a ( is not closed; write , or ) here".to_owned()
        }
        Error::ExpectedComma => "two values stand side by side; write a comma between them, or the quote missing before".to_owned(),
        Error::ExpectedString => "text belongs here; write it in double quotes, as in \"10.0.0.1\"".to_owned(),
        Error::ExpectedStringEnd => "this text does not end; close it with a double quote".to_owned(),
        Error::ExpectedBoolean => "a yes or no belongs here; write true or false".to_owned(),
        Error::ExpectedInteger => "a whole number belongs here; write it with digits alone".to_owned(),
        Error::IntegerOutOfBounds => "this number is too large for any setting; write a smaller one".to_owned(),
        Error::InvalidIntegerDigit { digit, .. } => {
            format!("`{digit}` is no digit; write a whole number with digits alone")
        }
        Error::UnderscoreAtBeginning => "a number begins with an underscore; begin it with a digit".to_owned(),
        Error::ExpectedIdentifier => {
            "a key belongs here; write its name without quotes, or close the ( that is open before".to_owned()
        }
        Error::SuggestRawIdentifier(found) => {
            format!("a key belongs before `{found}`; write it with a colon, as in (key: {found})")
        }
        Error::UnexpectedChar(found) => format!("`{found}` means nothing here; remove it, or put text in double quotes"),
        Error::TrailingCharacters => {
            "the configuration has ended before this; remove what follows, or a ) too many before it".to_owned()
        }
        Error::UnclosedBlockComment => "a /* is not closed; write */ where the comment ends".to_owned(),
        Error::NoSuchExtension(name) => {
            format!("`{name}` is no extension of RON; the one of use here is implicit_some")
        }
        Error::ExpectedAttribute | Error::ExpectedAttributeEnd => {
            "this is no attribute of RON; write #![enable(implicit_some)], or nothing".to_owned()
        }
        Error::ExceededRecursionLimit => "brackets are nested too deeply; no setting needs more than ten".to_owned(),
        Error::InvalidEscape(_) => {
            "a backslash in text is followed by something it cannot stand before; write \\\\ for a backslash".to_owned()
        }
        Error::InvalidValueForType { expected, found } => format!("{found} stands here; write {expected}"),
        other => format!("this is no valid RON ({other}); compare with the files in configs/"),
    }
}
