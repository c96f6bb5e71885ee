//! Clients that are too many, too slow, too long-winded, strangers, or gone.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use weir_admin::ipvsadm::ListedService;
use weir_admin::{Client, ClientError, DropRow, Limits, Method, RouteRow};
use weir_config::ipvs::EditError;

use crate::fake::{PATIENCE, Process, Running, wait_for};

const DROPS: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"drop.list\",\"id\":1}\n";

fn connect(running: &Running) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(&running.socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn send(client: &mut BufReader<UnixStream>, bytes: &[u8]) {
    client.get_mut().write_all(bytes).unwrap();
}

/// The next answer; `None` once the server has hung up.
fn receive(client: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    match client.read_line(&mut line) {
        Ok(0) => None,
        // A server that closes with our bytes unread resets the connection.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
        Ok(_) => Some(serde_json::from_str(&line).unwrap()),
    }
}

fn drops(client: &mut Client) -> Result<Vec<DropRow>, ClientError> {
    client.call(Method::DropList, &())
}

#[test]
fn garbage_is_answered_and_the_client_is_served_on() {
    let running = Running::new();
    let mut client = connect(&running);
    send(&mut client, b"\xff\xfe\x00 garbage\n\n{\"half\":\n");
    assert_eq!(receive(&mut client).unwrap()["error"]["code"], -32700);
    assert_eq!(receive(&mut client).unwrap()["error"]["code"], -32700);
    send(&mut client, DROPS);
    assert_eq!(receive(&mut client).unwrap()["result"][0]["count"], 3);
}

#[test]
fn requests_may_come_in_pieces_and_together() {
    let running = Running::new();
    let mut client = connect(&running);
    for piece in DROPS.chunks(7) {
        send(&mut client, piece);
    }
    send(&mut client, &[DROPS, DROPS].concat());
    for _ in 0..3 {
        assert_eq!(receive(&mut client).unwrap()["result"][0]["count"], 3);
    }
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_request_disturbs_nobody() {
    let running = Running::new();
    let mut other = running.client();
    for length in [0, 1, 20, DROPS.len() - 1] {
        let mut client = connect(&running);
        send(&mut client, &DROPS[..length]);
        drop(client);
        assert!(drops(&mut other).is_ok());
    }
}

#[test]
fn a_line_may_have_its_limit_and_not_a_byte_more() {
    let limits = Limits {
        line_bytes: DROPS.len(),
        ..Limits::default()
    };
    let running = Running::with_limits(limits);
    let mut client = connect(&running);
    send(&mut client, DROPS);
    assert!(receive(&mut client).unwrap()["result"].is_array());

    send(&mut client, &vec![b' '; DROPS.len() + 1]);
    let refusal = receive(&mut client).unwrap();
    assert_eq!(refusal["error"]["code"], -32600);
    assert!(
        refusal["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&DROPS.len().to_string())
    );
    assert_eq!(receive(&mut client), None);
}

#[test]
fn the_client_tells_why_its_long_line_was_refused() {
    let running = Running::with_limits(Limits {
        line_bytes: 1000,
        ..Limits::default()
    });
    let params = serde_json::json!({"text": " ".repeat(1 << 20), "file_name": "a.ron"});
    let refusal = running
        .client()
        .call::<Box<RawValue>>(Method::ConfigDiff, &params);
    let sentence = refusal.unwrap_err().to_string();
    assert!(sentence.contains("1000 bytes at most"), "{sentence}");
}

#[test]
fn one_client_too_many_is_told_so_and_finds_a_place_later() {
    let running = Running::with_limits(Limits {
        clients: 2,
        ..Limits::default()
    });
    let mut first = running.client();
    let mut second = running.client();
    assert!(drops(&mut first).is_ok() && drops(&mut second).is_ok());

    let refusal = drops(&mut running.client()).unwrap_err();
    assert!(
        matches!(&refusal, ClientError::Unreachable(sentence) if sentence.contains("too many clients")),
        "{refusal}"
    );

    drop(first);
    wait_for("a place", || drops(&mut running.client()).ok());
    assert!(drops(&mut second).is_ok());
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let limits = Limits {
        idle: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = Running::with_limits(limits);
    let mut client = connect(&running);
    client.get_mut().write_all(b"{\"half").unwrap();
    assert_eq!(receive(&mut client), None);
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up_and_is_let_go() {
    let limits = Limits {
        stalled: Duration::from_millis(200),
        ..Limits::default()
    };
    let running = Running::with_limits(limits);
    let mut deaf = UnixStream::connect(&running.socket).unwrap();
    deaf.set_nonblocking(true).unwrap();
    wait_for("the server to hang up", || {
        assert!(drops(&mut running.client()).is_ok());
        match deaf.write(&DROPS.repeat(100)) {
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(()),
        }
    });
}

#[test]
fn an_answer_that_takes_its_time_holds_up_nobody_else() {
    let running = Running::new();
    let mut patient = connect(&running);
    // Answered only once another client has asked for the routes.
    send(
        &mut patient,
        b"{\"jsonrpc\":\"2.0\",\"method\":\"neighbour.list\",\"id\":1}\n",
    );
    let routes: Vec<RouteRow> = running.client().call(Method::RouteList, &()).unwrap();
    assert_eq!(routes.len(), 1);
    assert_eq!(
        receive(&mut patient).unwrap()["result"][0]["state"],
        "incomplete"
    );
}

#[test]
fn a_stop_is_answered_then_all_is_closed_and_the_file_gone() {
    let running = Running::new();
    let mut other = connect(&running);
    let mut client = running.client();
    assert!(client.call::<bool>(Method::DaemonStop, &()).unwrap());
    assert_eq!(receive(&mut other), None);
    // `join` returns because `serve` has.
    assert!(!running.join().exists());
}

const STRANGER: &str = "WEIR_TEST_STRANGER";
const NOBODY: u32 = 65534;

/// The other half of the next test, in a process of another user.
#[test]
fn a_stranger() {
    if let Some(socket) = env::var_os(STRANGER) {
        println!(
            "<{}>",
            drops(&mut Client::connect(Path::new(&socket)).unwrap()).unwrap_err()
        );
    }
}

#[test]
fn a_stranger_is_turned_away() {
    let running = Running::new();
    if !is_root() {
        eprintln!("skipped: only root can speak as somebody else");
        return;
    }
    // What the mode of the file would keep out, the server must keep out by itself.
    fs::set_permissions(running.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&running.socket, fs::Permissions::from_mode(0o666)).unwrap();
    let program = running.folder().join("stranger");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();

    let output = Command::new(&program)
        .args(["--exact", "server::a_stranger", "--nocapture"])
        .env(STRANGER, &running.socket)
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("<only root and the user and group that weir runs as may speak here"),
        "{printed}"
    );
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0\t0"))
}

#[test]
fn weir_stop_returns_when_the_process_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let mut daemon = Process::start(&socket);
    weir_admin::stop(&socket).unwrap();
    // Ended already, so this does not wait.
    assert!(
        daemon
            .0
            .try_wait()
            .unwrap()
            .is_some_and(|status| status.success())
    );
    assert!(!socket.exists());
}

#[test]
fn services_are_changed_one_by_one_and_together() {
    let running = Running::new();
    let mut client = running.client();
    let service = |vip: &str, scheduler: &str| {
        json!({"name": {"virtual": {"protocol": "tcp", "endpoint": vip}}, "scheduler": scheduler,
               "flags": 0, "persistence": null, "persistence_module": null, "one_packet": false})
    };
    let server = |address: &str| {
        json!({"address": address, "forwarding": "full_nat", "weight": 1,
               "upper_threshold": 0, "lower_threshold": 0})
    };
    let label = "tcp/192.0.2.101:80";
    let steps = [
        (Method::ServiceAdd, service("192.0.2.101:80", "rr")),
        (Method::ServiceEdit, service("192.0.2.101:80", "wrr")),
        (
            Method::DestinationAdd,
            json!({"service": label, "destination": server("10.0.0.11:80")}),
        ),
        (
            Method::DestinationSetWeight,
            json!({"service": label, "address": "10.0.0.11:80", "weight": 9}),
        ),
        (
            Method::TimeoutSet,
            json!({"tcp_s": 0, "tcp_fin_s": 7, "udp_s": 0}),
        ),
    ];
    for (method, params) in steps {
        assert_eq!(client.call(method, &params), Ok(true), "{method:?}");
    }
    let config: String = client.call(Method::ConfigShow, &()).unwrap();
    for said in [
        "scheduler: Wrr",
        "\"10.0.0.11:80\", weight: 9",
        "tcp_fin: \"7s\"",
    ] {
        assert!(config.contains(said), "{said}: {config}");
    }
    let again = client.call::<bool>(Method::ServiceAdd, &service("192.0.2.101:80", "rr"));
    let refused = |sentence: &str| Err(ClientError::Refused(sentence.to_owned()));
    assert_eq!(again, refused("Service already exists"));
    let unknown = json!({"service": label, "address": "10.0.0.99:80"});
    assert_eq!(
        client.call::<bool>(Method::DestinationDelete, &unknown),
        refused("No such destination")
    );
    // Together: each for itself.
    let edits = json!({"edits": [
        {"delete_service": {"virtual": {"protocol": "tcp", "endpoint": "192.0.2.101:80"}}},
        {"delete_service": {"virtual": {"protocol": "tcp", "endpoint": "192.0.2.101:80"}}},
        {"add_service": service("192.0.2.102:80", "lc")},
    ]});
    let outcomes: Vec<Option<EditError>> = client.call(Method::IpvsEdit, &edits).unwrap();
    assert_eq!(outcomes, [None, Some(EditError::NoService), None]);
    let listed: Vec<ListedService> = client.call(Method::IpvsList, &()).unwrap();
    assert_eq!(listed.len(), 2);
}
