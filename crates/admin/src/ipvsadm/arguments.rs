//! A command line into words with their arguments, by the rules of popt 1.19.
//!
//! Promises: the same words, the same leftovers and the same complaints as ipvsadm gets from popt: short options
//! bundled (`-lnc`), arguments attached (`-t10.0.0.1:80`, `-t=10.0.0.1:80`, `--weight=2`) or following, and what is
//! no option left over in its order.
//! Does not know: what a word means.

use super::word::{Spelling, Takes, Vocabulary, Word};

/// The rest of a command line.
pub(super) struct Arguments<'a> {
    words: &'a [String],
    /// Of the word to be read next.
    next: usize,
    /// What is left of a bundle of short options; not empty.
    bundle: Option<&'a str>,
    leftovers: Vec<&'a str>,
    only_leftovers: bool,
}

/// What popt says of a word it cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The word, whole.
    pub(super) word: String,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

const UNKNOWN: &str = "unknown option";
const MISSING: &str = "missing argument";
const UNWANTED: &str = "option does not take an argument";

impl<'a> Arguments<'a> {
    /// `words` without the program's name.
    pub(super) fn new(words: &'a [String]) -> Self {
        Self {
            words,
            next: 0,
            bundle: None,
            leftovers: Vec::new(),
            only_leftovers: false,
        }
    }

    /// The next word and its argument; `None` at the end.
    pub(super) fn next(
        &mut self,
        vocabulary: Vocabulary,
    ) -> Option<Result<(Word, Option<String>), Complaint>> {
        if let Some(bundle) = self.bundle.take() {
            return Some(self.short(bundle, vocabulary));
        }
        loop {
            let word = self.words.get(self.next)?;
            self.next += 1;
            if self.only_leftovers || !word.starts_with('-') || word == "-" {
                self.leftovers.push(word);
            } else if word == "--" {
                self.only_leftovers = true;
            } else if let Some(long) = word.strip_prefix("--") {
                return Some(self.long(long, vocabulary));
            } else {
                return Some(self.short(&word[1..], vocabulary));
            }
        }
    }

    /// What was no option, in order.
    pub(super) fn leftovers(&self) -> &[&'a str] {
        &self.leftovers
    }

    /// The word that was read last, whole.
    pub(super) fn last(&self) -> &'a str {
        &self.words[self.next - 1]
    }

    fn long(
        &mut self,
        text: &'a str,
        vocabulary: Vocabulary,
    ) -> Result<(Word, Option<String>), Complaint> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let spelling = vocabulary
            .find(|spelling| spelling.long == name)
            .ok_or_else(|| self.complaint(UNKNOWN))?;
        if spelling.takes == Takes::Nothing && attached.is_some() {
            return Err(self.complaint(UNWANTED));
        }
        self.with_argument(spelling, attached)
    }

    /// The first of a bundle; what follows it is its argument, or the rest of the bundle.
    fn short(
        &mut self,
        bundle: &'a str,
        vocabulary: Vocabulary,
    ) -> Result<(Word, Option<String>), Complaint> {
        let mut letters = bundle.chars();
        let letter = letters.next();
        let rest = Some(letters.as_str()).filter(|rest| !rest.is_empty());
        let spelling = vocabulary
            .find(|spelling| spelling.short.is_some() && spelling.short == letter)
            .ok_or_else(|| self.complaint(UNKNOWN))?;
        match spelling.takes {
            Takes::Nothing if rest.is_some_and(|rest| rest.starts_with('=')) => {
                Err(self.complaint(UNWANTED))
            }
            Takes::Nothing => {
                self.bundle = rest;
                Ok((spelling.word, None))
            }
            Takes::Argument | Takes::Perhaps => {
                let attached = rest.map(|rest| rest.strip_prefix('=').unwrap_or(rest));
                self.with_argument(spelling, attached)
            }
        }
    }

    fn with_argument(
        &mut self,
        spelling: &Spelling,
        attached: Option<&str>,
    ) -> Result<(Word, Option<String>), Complaint> {
        let following = self.words.get(self.next);
        let argument = match (spelling.takes, attached, following) {
            (Takes::Nothing, _, _) => None,
            (Takes::Argument | Takes::Perhaps, Some(attached), _) => Some(attached.to_owned()),
            (Takes::Argument, None, None) => return Err(self.complaint(MISSING)),
            (Takes::Perhaps, None, None) => None,
            (Takes::Perhaps, None, Some(following)) if following.starts_with('-') => None,
            (Takes::Argument | Takes::Perhaps, None, Some(following)) => {
                self.next += 1;
                Some(following.clone())
            }
        };
        Ok((spelling.word, argument))
    }

    fn complaint(&self, what: &'static str) -> Complaint {
        Complaint {
            word: self.last().to_owned(),
            what,
        }
    }
}
