//! One word for one thing: the words that the naming glossary avoids do not appear in names of ours.
//!
//! Promises: looks at names where they are declared, so the names of other people's libraries are free.
//! Does not know: meanings; `port` for an L4 port is left to reviewers.

use proc_macro2::Ident;
use syn::visit::{self, Visit};

use super::Finding;
use super::source::Source;

/// A word avoided, and what to say instead.
const AVOIDED: [(&str, &str); 13] = [
    (
        "backend",
        "real server, or destination for its role in a service",
    ),
    (
        "upstream",
        "real server, or destination for its role in a service",
    ),
    ("engine", "director"),
    ("manager", "director, or the name of what it does"),
    ("balancer", "director"),
    ("session", "connection"),
    ("conn", "connection"),
    ("pkt", "packet"),
    ("skb", "packet"),
    ("tuple", "flow key"),
    ("batch", "burst"),
    ("ingress", "inbound"),
    ("egress", "outbound"),
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut declared = Declared {
        source,
        findings: Vec::new(),
    };
    declared.visit_file(&source.syntax);
    declared.findings
}

struct Declared<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Declared<'_> {
    fn look_at(&mut self, name: &Ident) {
        let text = name.to_string();
        for word in words(&text) {
            if let Some((avoided, instead)) = AVOIDED.iter().find(|(avoided, _)| *avoided == word) {
                let sentence = format!("`{text}` says \"{avoided}\"; the glossary says {instead}");
                self.findings.push(Finding::new(
                    &self.source.path,
                    name.span().start().line,
                    sentence,
                ));
            }
        }
    }
}

/// The words of `snake_case`, `CamelCase` or `SCREAMING_CASE`, in lower case, plurals without their s.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if letter == '_' || (was_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter != '_' {
            words
                .last_mut()
                .into_iter()
                .for_each(|word| word.extend(letter.to_lowercase()));
        }
        was_lower = letter.is_lowercase() || letter.is_ascii_digit();
    }
    words
        .into_iter()
        .map(|word| word.strip_suffix('s').map_or(word.clone(), str::to_owned))
        .collect()
}

macro_rules! look_at_names {
    ($($visit:ident $node:ident $($field:ident).+;)*) => {
        impl<'ast> Visit<'ast> for Declared<'_> {
            $(fn $visit(&mut self, node: &'ast syn::$node) {
                self.look_at(&node.$($field).+);
                visit::$visit(self, node);
            })*

            fn visit_field(&mut self, node: &'ast syn::Field) {
                if let Some(name) = &node.ident {
                    self.look_at(name);
                }
                visit::visit_field(self, node);
            }
        }
    };
}

look_at_names! {
    visit_signature Signature ident;
    visit_item_struct ItemStruct ident;
    visit_item_enum ItemEnum ident;
    visit_item_union ItemUnion ident;
    visit_item_trait ItemTrait ident;
    visit_item_type ItemType ident;
    visit_item_mod ItemMod ident;
    visit_item_const ItemConst ident;
    visit_item_static ItemStatic ident;
    visit_variant Variant ident;
    visit_pat_ident PatIdent ident;
    visit_type_param TypeParam ident;
    visit_use_rename UseRename rename;
    visit_impl_item_const ImplItemConst ident;
    visit_impl_item_type ImplItemType ident;
    visit_trait_item_const TraitItemConst ident;
    visit_trait_item_type TraitItemType ident;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let source = Source::parse(Path::new("crates/wire/src/a.rs"), text)
            .ok()
            .unwrap();
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words("BackendSet"), ["backend", "set"]);
        assert_eq!(words("N_PKTS"), ["n", "pkt"]);
        assert_eq!(words("connection"), ["connection"]);
    }

    #[test]
    fn declared_names_are_found_wherever_they_are_declared() {
        let text = "struct Backend;\nstruct A { pkt: u8 }\nfn open_session() {}\nfn f(conn: u8) {}\n\
                    fn g() { let tuple = 1; }\nenum E { Engine }\nmod batch {}\nuse a::B as Manager;";
        assert_eq!(lines(text), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn names_of_other_peoples_are_free() {
        assert_eq!(
            lines("fn f() { mbuf.pkt_len(); engine::run(); let connection = a.session; }"),
            [0usize; 0]
        );
    }
}
