//! Whatever is sent: never a panic, and a valid JSON-RPC answer or none.

use std::rc::Rc;

use proptest::prelude::*;
use serde_json::Value;
use weir_admin::Dispatcher;

use crate::fake::{CONFIG, Fake, block_on};

fn check(line: &[u8]) -> Result<(), TestCaseError> {
    // `neighbour.list` waits for another client.
    let is_waiting = line.windows(9).any(|word| word == b"neighbour");
    if is_waiting {
        return Ok(());
    }
    let answer = block_on(Dispatcher::new(Rc::new(Fake::new(3))).answer(line));
    let Some(text) = answer.text else {
        return Ok(());
    };
    prop_assert!(!text.contains('\n'), "an answer of several lines: {text}");
    match serde_json::from_str(&text) {
        Ok(Value::Array(answers)) => {
            prop_assert!((1..=64).contains(&answers.len()));
            answers.iter().try_for_each(check_one)
        }
        Ok(answer) => check_one(&answer),
        Err(error) => Err(TestCaseError::fail(format!("{error}: {text}"))),
    }
}

fn check_one(answer: &Value) -> Result<(), TestCaseError> {
    let Value::Object(fields) = answer else {
        return Err(TestCaseError::fail(format!("no object: {answer}")));
    };
    prop_assert_eq!(&answer["jsonrpc"], "2.0");
    let id = fields.get("id");
    let is_id = id.is_some_and(|id| id.is_null() || id.is_string() || id.is_number());
    prop_assert!(is_id, "no id: {answer}");
    prop_assert!(
        fields.contains_key("result") != fields.contains_key("error"),
        "{answer}"
    );
    if let Some(error) = fields.get("error") {
        prop_assert!(error["code"].is_i64(), "{answer}");
        prop_assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{answer}"
        );
    }
    prop_assert_eq!(fields.len(), 3);
    Ok(())
}

fn valid_requests() -> Vec<String> {
    let config = serde_json::to_string(CONFIG).unwrap();
    vec![
        r#"{"jsonrpc":"2.0","method":"status.show","id":1}"#.into(),
        r#"{"jsonrpc":"2.0","method":"connection.list","params":{"cursor":1,"limit":2,"service":"tcp/192.0.2.100:80","client":"192.0.2.1"},"id":"é\n"}"#.into(),
        r#"[{"jsonrpc":"2.0","method":"service.list","id":null},{"jsonrpc":"2.0","method":"daemon.stop"}]"#.into(),
        format!(r#"{{"jsonrpc":"2.0","method":"config.diff","params":{{"text":{config},"file_name":"a.ron"}},"id":-1.5e3}}"#),
    ]
}

/// A change to a line: at a place in 0..1 of its length, some bytes are replaced by others.
fn mutation() -> impl Strategy<Value = (f64, usize, Vec<u8>)> {
    let pieces = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        proptest::sample::select(vec![
            "{", "}", "[", "]", "\"", "\\", "\\u", "\\ud800", ",", ":", "null", "1e999", "-",
            "\u{2028}", "[[[[[[[["
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    (0.0..1.0, 0_usize..8, pieces)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&line)?;
    }

    #[test]
    fn arbitrary_json_punctuation(line in r#"[\[\]{}",:0-9a-z.\\ -]{0,100}"#) {
        check(line.as_bytes())?;
    }

    #[test]
    fn mutated_requests(
        line in proptest::sample::select(valid_requests()),
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        let mut line = line.into_bytes();
        for (place, n_removed, piece) in mutations {
            let start = (place * line.len() as f64) as usize;
            let end = (start + n_removed).min(line.len());
            line.splice(start..end, piece);
        }
        check(&line)?;
    }
}

#[test]
fn what_is_mutated_is_valid() {
    for line in valid_requests() {
        let text = block_on(Dispatcher::new(Rc::new(Fake::new(3))).answer(line.as_bytes()))
            .text
            .unwrap();
        assert!(
            text.contains("\"result\"") && !text.contains("\"error\""),
            "{text}"
        );
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for opening in ["[", "{\"a\":"] {
        check(opening.repeat(1_000_000).as_bytes()).unwrap();
    }
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    check(deep.as_bytes()).unwrap();
    let params =
        format!(r#"{{"jsonrpc":"2.0","method":"connection.list","params":{deep},"id":1}}"#);
    check(params.as_bytes()).unwrap();
}
