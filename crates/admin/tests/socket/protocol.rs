//! JSON-RPC 2.0 to the letter, line by line.

use std::rc::Rc;

use serde_json::{Value, json};
use weir_admin::{Answer, Dispatcher, Method};

use crate::fake::{Fake, block_on};

fn answer(line: &str) -> Answer {
    block_on(Dispatcher::new(Rc::new(Fake::new(10))).answer(line.as_bytes()))
}

fn value(line: &str) -> Value {
    let text = answer(line)
        .text
        .unwrap_or_else(|| panic!("no answer to {line}"));
    serde_json::from_str(&text).unwrap()
}

/// The code of an error with a sentence, and the id it is for.
fn code(answer: &Value) -> (i64, &Value) {
    assert_eq!(answer["jsonrpc"], "2.0");
    assert_eq!(answer.get("result"), None);
    let sentence = answer["error"]["message"].as_str().unwrap();
    assert!(sentence.contains(' '), "{sentence}");
    (answer["error"]["code"].as_i64().unwrap(), &answer["id"])
}

#[test]
fn a_request_is_answered_with_its_result_and_its_id() {
    for id in [
        json!(1),
        json!(-7),
        json!("a \"b\""),
        json!(null),
        json!(1.5),
    ] {
        let line = json!({"jsonrpc": "2.0", "method": "drop.list", "id": id}).to_string();
        let expected = json!({
            "jsonrpc": "2.0",
            "result": [
                {"reason": "no_service", "count": 3, "explanation": "What no_service means."},
                {"reason": "too_big", "count": 0, "explanation": "What too_big means."},
            ],
            "id": id,
        });
        assert_eq!(value(&line), expected);
    }
}

#[test]
fn every_wrong_line_gets_the_code_of_its_kind() {
    let cases = [
        (r#"{"jsonrpc": "2.0", "method"#, -32700),
        ("no JSON", -32700),
        ("\u{fffd}", -32700),
        (
            r#"{"jsonrpc":"2.0","method":"drop.list","id":1} {}"#,
            -32700,
        ),
        (r#"[{"jsonrpc":"2.0","method":"drop.list","id":1},"#, -32700),
        ("1", -32600),
        ("\"drop.list\"", -32600),
        ("null", -32600),
        ("[]", -32600),
        ("{}", -32600),
        (r#"{"jsonrpc":"2.0","method":1,"id":1}"#, -32600),
        (r#"{"jsonrpc":"1.0","method":"drop.list","id":1}"#, -32600),
        (r#"{"method":"drop.list","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"drop.list","id":{}}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","method":"drop.list","id":true}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"drop.list","id":"\ud800"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"drop.list","method":"drop.list","id":1}"#,
            -32600,
        ),
    ];
    for (line, expected) in cases {
        let answer = value(line);
        assert_eq!(code(&answer), (expected, &Value::Null), "{line}");
    }
}

#[test]
fn every_request_that_cannot_be_done_gets_the_code_of_its_kind() {
    let cases = [
        ("drop.eat", json!({}), -32601),
        ("", json!({}), -32601),
        ("drop.list", json!({"reason": 1}), -32602),
        ("drop.list", json!("all"), -32602),
        ("drop.list", json!([1]), -32602),
        ("connection.list", json!({"cursor": -1}), -32602),
        ("connection.list", json!({"limit": 0}), -32602),
        ("connection.list", json!({"limit": 4097}), -32602),
        ("connection.list", json!({"service": "tcp"}), -32602),
        ("connection.list", json!({"client": "www"}), -32602),
        ("connection.list", json!({"klient": "192.0.2.1"}), -32602),
        ("config.apply", json!({"text": "()"}), -32602),
        ("config.diff", json!({"file_name": "a.ron"}), -32602),
        (
            "config.diff",
            json!({"text": "(", "file_name": "a.ron"}),
            -32000,
        ),
        ("worker.list", json!(null), -32000),
    ];
    for (method, params, expected) in cases {
        let line = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 9});
        let answer = value(&line.to_string());
        assert_eq!(code(&answer), (expected, &json!(9)), "{line}");
    }
}

#[test]
fn params_may_stand_by_name_in_order_or_not_at_all() {
    for params in [
        r#""params":{},"#,
        r#""params":[],"#,
        r#""params":null,"#,
        "",
    ] {
        let line = format!(r#"{{"jsonrpc":"2.0","method":"drop.list",{params}"id":1}}"#);
        assert_eq!(value(&line)["result"][0]["count"], 3, "{line}");
    }
    let line = r#"{"jsonrpc":"2.0","method":"connection.list","params":[8,1],"id":1}"#;
    assert_eq!(value(line)["result"]["next"], 9);
}

#[test]
fn notifications_and_blank_lines_are_not_answered() {
    for line in [
        "",
        "  \r",
        r#"{"jsonrpc":"2.0","method":"drop.list"}"#,
        r#"{"jsonrpc":"2.0","method":"drop.eat"}"#,
        r#"[{"jsonrpc":"2.0","method":"drop.list"}]"#,
    ] {
        assert_eq!(answer(line), Answer::default(), "{line}");
    }
}

#[test]
fn an_array_is_answered_by_an_array_without_the_notifications() {
    let answers = value(
        r#"[1,{"jsonrpc":"2.0","method":"drop.list"},{"jsonrpc":"2.0","method":"drop.list","id":"b"},[]]"#,
    );
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(code(&answers[0]), (-32600, &Value::Null));
    assert_eq!(answers[1]["id"], "b");
    assert_eq!(code(&answers[2]), (-32600, &Value::Null));
}

#[test]
fn an_array_may_hold_64_requests() {
    let request = r#"{"jsonrpc":"2.0","method":"drop.list","id":1}"#;
    let array = |n_requests| format!("[{}]", vec![request; n_requests].join(","));
    assert_eq!(value(&array(64)).as_array().unwrap().len(), 64);
    assert_eq!(code(&value(&array(65))).0, -32600);
}

#[test]
fn connections_come_in_pages_and_can_be_narrowed_down() {
    let page = |params: Value| {
        let line =
            json!({"jsonrpc": "2.0", "method": "connection.list", "params": params, "id": 1});
        value(&line.to_string())["result"].clone()
    };
    let first = page(json!({"limit": 4}));
    assert_eq!(first["connections"].as_array().unwrap().len(), 4);
    assert_eq!(first["next"], 4);
    let last = page(json!({"cursor": 8, "limit": 4}));
    assert_eq!(last["connections"].as_array().unwrap().len(), 2);
    assert_eq!(last["next"], Value::Null);

    let of_service = page(json!({"service": "tcp/192.0.2.100:443"}));
    let of_service = of_service["connections"].as_array().unwrap();
    assert_eq!(of_service.len(), 5);
    assert!(
        of_service
            .iter()
            .all(|row| row["virtual"] == "192.0.2.100:443")
    );
    assert_eq!(
        page(json!({"service": "udp/192.0.2.100:443"}))["connections"],
        json!([])
    );

    let of_client = page(json!({"client": "198.51.100.3"}));
    assert_eq!(of_client["connections"].as_array().unwrap().len(), 1);
    assert_eq!(of_client["connections"][0]["client"], "198.51.100.3:40000");
}

#[test]
fn a_connection_has_the_fields_of_the_manual() {
    let line = r#"{"jsonrpc":"2.0","method":"connection.list","params":{"limit":1},"id":1}"#;
    let row = value(line)["result"]["connections"][0].clone();
    let expected = json!({
        "protocol": "tcp", "client": "198.51.100.0:40000", "virtual": "192.0.2.100:80",
        "local": "10.0.0.200:1024", "destination": "10.0.0.11:8080", "state": "ESTABLISHED",
        "expires_s": 900, "worker": 0, "inbound_bytes": 0, "outbound_bytes": 0,
    });
    assert_eq!(row, expected);
}

#[test]
fn only_a_stop_that_was_understood_stops() {
    assert!(answer(r#"{"jsonrpc":"2.0","method":"daemon.stop","id":1}"#).is_stop);
    assert!(answer(r#"{"jsonrpc":"2.0","method":"daemon.stop"}"#).is_stop);
    assert!(answer(r#"[{"jsonrpc":"2.0","method":"daemon.stop","id":1},1]"#).is_stop);
    for line in [
        r#"{"jsonrpc":"2.0","method":"daemon.stop","params":{"how":1},"id":1}"#,
        r#"{"method":"daemon.stop","id":1}"#,
        r#"{"jsonrpc":"2.0","method":"drop.list","id":1}"#,
    ] {
        assert!(!answer(line).is_stop, "{line}");
    }
}

#[test]
fn every_method_is_noun_dot_verb_and_answers() {
    for method in Method::ALL {
        let name = method.name();
        assert_eq!(Method::find(name), Some(*method));
        assert_eq!(name.split('.').count(), 2);
        if *method == Method::NeighbourList {
            continue; // waits for another client
        }
        let line = json!({"jsonrpc": "2.0", "method": name, "id": 1});
        let answer = value(&line.to_string());
        let is_refused_by_the_fake = *method == Method::WorkerList;
        let needs_params = answer["error"]["code"] == -32602;
        if needs_params {
            let sentence = answer["error"]["message"].as_str().unwrap();
            assert!(sentence.starts_with(name), "{sentence}");
            continue;
        }
        assert_eq!(
            answer.get("result").is_some(),
            !is_refused_by_the_fake,
            "{answer}"
        );
    }
}
