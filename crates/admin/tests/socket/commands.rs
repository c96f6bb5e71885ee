//! What the commands print, and how they fail.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_admin::{Attempt, Failure, Format, Table, View, config_save, reload, show};

use crate::fake::{CONFIG, Running, own_file};

fn view(table: Table, format: Format) -> View {
    View {
        table,
        format,
        every: None,
    }
}

const ALL_CONNECTIONS: Table = Table::Connections {
    service: None,
    client: None,
};

fn printed(running: &Running, table: Table, format: Format) -> String {
    let mut out = Vec::new();
    show(&running.socket, &view(table, format), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn people(running: &Running, table: Table) -> String {
    printed(running, table, Format::People)
}

fn json(running: &Running, table: Table) -> Value {
    let text = printed(running, table, Format::Json);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn json_is_one_array_of_objects() {
    let running = Running::new();
    for table in [
        Table::Status,
        Table::Ports,
        Table::Services,
        Table::Routes,
        Table::Neighbours,
        Table::Drops,
    ] {
        let rows = json(&running, table);
        let rows = rows.as_array().unwrap();
        assert!(
            !rows.is_empty() && rows.iter().all(Value::is_object),
            "{rows:?}"
        );
    }
}

#[test]
fn services_have_the_fields_of_the_manual() {
    let service = json(&Running::new(), Table::Services)[0].clone();
    assert_eq!(service["service"], "tcp/192.0.2.100:80");
    assert_eq!(service["scheduler"], "wrr");
    assert_eq!(service["persistent"], Value::Null);
    let destination = &service["destinations"][0];
    assert_eq!(destination["address"], "10.0.0.11:8080");
    assert_eq!(destination["weight"], 100);
    assert_eq!(destination["method"], "FullNat");
    assert_eq!(destination["active"], 3);
    assert_eq!(destination["inactive"], 4);
}

#[test]
fn people_see_the_daemon_at_a_glance() {
    let pid = std::process::id();
    let expected = format!(
        "weir 0.1.0, pid {pid}, up for 1 h 1 min
configuration  generation 1, started with weir.ron
workers        1
ports          2
services       1 with 2 destinations
connections    10 of 1000
memory         256 MiB
warning: the port lan has no link; look at the cable
"
    );
    assert_eq!(people(&Running::new(), Table::Status), expected);
}

#[test]
fn people_see_services_in_columns() {
    let expected = "\
SERVICE             SCHEDULER  METHOD   WEIGHT  ACTIVE  INACTIVE  CONNECTIONS  IN PACKETS  IN BYTES  OUT PACKETS  OUT BYTES
tcp/192.0.2.100:80  wrr        FullNat
  10.0.0.11:8080               FullNat     100       3         4           12           5         6            8          9

tcp/192.0.2.100:80: 7 packets dropped because no local port was free; add local addresses
";
    assert_eq!(people(&Running::new(), Table::Services), expected);
}

#[test]
fn people_see_ports_with_what_was_chosen_and_why() {
    let text = people(&Running::new(), Table::Ports);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].starts_with(
            "wan   net_af_packet0  net_af_packet  02:00:00:00:00:01  up 10000 Mbit/s  1500"
        ),
        "{text}"
    );
    assert_eq!(
        lines[3],
        "wan: 192.0.2.10/24; the port tells no key, so weir's own hash chooses the worker"
    );
}

#[test]
fn people_see_only_drops_that_happened() {
    let expected = "REASON      COUNT  EXPLANATION\nno_service      3  What no_service means.\n";
    assert_eq!(people(&Running::new(), Table::Drops), expected);
}

#[test]
fn people_see_routes_and_neighbours() {
    let running = Running::new();
    assert_eq!(
        people(&running, Table::Routes),
        "TO         VIA        PORT  ORIGIN\n0.0.0.0/0  192.0.2.1  wan   static\n"
    );
    assert_eq!(
        people(&running, Table::Neighbours),
        "ADDRESS    MAC  PORT  STATE       CONFIRMED\n10.0.0.11  -    lan   incomplete      never\n"
    );
}

#[test]
fn all_pages_of_the_connections_become_one_table_and_one_array() {
    let n_connections = 9000;
    let running = Running::with_connections(n_connections);
    let rows = json(&running, ALL_CONNECTIONS);
    let bytes: Vec<u64> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["inbound_bytes"].as_u64().unwrap())
        .collect();
    assert!(
        bytes.iter().copied().eq(0..u64::from(n_connections)),
        "{} rows",
        bytes.len()
    );

    let text = people(&running, ALL_CONNECTIONS);
    assert_eq!(text.lines().count(), 1 + n_connections as usize);
    assert_eq!(text.matches("PROTOCOL").count(), 1);
}

#[test]
fn no_connection_is_an_empty_array_and_a_table_of_titles() {
    let running = Running::with_connections(0);
    assert_eq!(printed(&running, ALL_CONNECTIONS, Format::Json), "[]\n");
    assert_eq!(people(&running, ALL_CONNECTIONS).lines().count(), 1);
}

#[test]
fn connections_can_be_narrowed_down() {
    let running = Running::new();
    let table = Table::Connections {
        service: Some("tcp/192.0.2.100:443".parse().unwrap()),
        client: Some("198.51.100.3".parse().unwrap()),
    };
    let rows = json(&running, table);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["client"], "198.51.100.3:40000");
}

/// A reader that goes after some bytes.
struct Head {
    n_bytes_left: usize,
    seen: Vec<u8>,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.n_bytes_left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n_bytes = bytes.len().min(self.n_bytes_left);
        self.n_bytes_left -= n_bytes;
        self.seen.extend_from_slice(&bytes[..n_bytes]);
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let running = Running::with_connections(9000);
    for format in [Format::People, Format::Json] {
        let mut head = Head {
            n_bytes_left: 1000,
            seen: Vec::new(),
        };
        show(&running.socket, &view(ALL_CONNECTIONS, format), &mut head).unwrap();
        assert_eq!(head.seen.len(), 1000);
    }
}

#[test]
fn watching_prints_an_array_per_line_until_the_reader_goes() {
    let running = Running::new();
    let once = printed(&running, Table::Drops, Format::Json);
    let watch = View {
        every: Some(Duration::from_millis(1)),
        ..view(Table::Drops, Format::Json)
    };
    let mut head = Head {
        n_bytes_left: 3 * once.len(),
        seen: Vec::new(),
    };
    show(&running.socket, &watch, &mut head).unwrap();
    assert_eq!(String::from_utf8(head.seen).unwrap(), once.repeat(3));
}

fn write(running: &Running, name: &str, text: &str) -> PathBuf {
    let path = running.folder().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn reloaded(running: &Running, config: Option<&Path>, attempt: Attempt) -> Result<String, Failure> {
    let mut out = Vec::new();
    reload(&running.socket, config, attempt, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_reload_prints_what_changed_and_the_generation() {
    let running = Running::new();
    let config = write(
        &running,
        "new.ron",
        &CONFIG.replace("weight: 50", "weight: 0"),
    );
    let change = "~ weight of 10.0.0.12:80 of tcp 192.0.2.100:80: 50 → 0\n";

    let dry = reloaded(&running, Some(&config), Attempt::DryRun).unwrap();
    assert_eq!(dry, format!("{change}valid; 1 change, nothing applied\n"));
    let done = reloaded(&running, Some(&config), Attempt::Apply).unwrap();
    assert_eq!(done, format!("{change}applied as generation 2\n"));
    for attempt in [Attempt::DryRun, Attempt::Apply] {
        assert_eq!(
            reloaded(&running, Some(&config), attempt).unwrap(),
            "nothing would change\n"
        );
    }
}

#[test]
fn a_reload_without_a_file_has_the_daemon_read_its_own() {
    let running = Running::new();
    assert_ne!(own_file(), CONFIG);
    let done = reloaded(&running, None, Attempt::Apply).unwrap();
    assert_eq!(
        done,
        "- destination 10.0.0.12:80 of tcp 192.0.2.100:80\napplied as generation 2\n"
    );
}

#[test]
fn every_error_of_a_file_stands_on_its_own_line() {
    let running = Running::new();
    let text = CONFIG
        .replace("10.0.0.11:8080", "10.0.0.11")
        .replace("10.0.0.1/24", "10.0.0.1/240");
    let config = write(&running, "wrong.ron", &text);
    for attempt in [Attempt::DryRun, Attempt::Apply] {
        let failure = reloaded(&running, Some(&config), attempt).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        let lines = failure.to_string();
        assert!(lines.lines().count() >= 2, "{lines}");
        let prefix = format!("{}:", config.display());
        assert!(
            lines.lines().all(|line| line.starts_with(&prefix)),
            "{lines}"
        );
    }
}

#[test]
fn a_dry_run_warns_of_what_only_a_restart_can_do_and_a_reload_refuses_it() {
    let running = Running::new();
    let config = write(
        &running,
        "restart.ron",
        &CONFIG.replace("connections: 1000", "connections: 2000"),
    );
    let dry = reloaded(&running, Some(&config), Attempt::DryRun).unwrap();
    assert!(
        dry.contains("valid; 1 change, nothing applied\nbeware: a running weir cannot"),
        "{dry}"
    );
    let failure = reloaded(&running, Some(&config), Attempt::Apply).unwrap_err();
    assert_eq!(failure.exit_code(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let running = Running::new();
    let failure =
        reloaded(&running, Some(Path::new("/nowhere/a.ron")), Attempt::Apply).unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(
        failure
            .to_string()
            .starts_with("/nowhere/a.ron cannot be read: "),
        "{failure}"
    );
}

#[test]
fn what_is_saved_can_be_loaded() {
    let running = Running::new();
    let mut out = Vec::new();
    config_save(&running.socket, None, &mut out).unwrap();

    let file = write(&running, "saved.ron", "what was there before");
    config_save(&running.socket, Some(&file), &mut Vec::new()).unwrap();
    assert_eq!(fs::read(&file).unwrap(), out);
    assert_eq!(
        reloaded(&running, Some(&file), Attempt::Apply).unwrap(),
        "nothing would change\n"
    );
    let left: Vec<_> = fs::read_dir(running.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn saving_follows_links_and_replaces_no_device() {
    let running = Running::new();
    let file = write(&running, "saved.ron", "");
    let link = running.folder().join("link.ron");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    config_save(&running.socket, Some(&link), &mut Vec::new()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!fs::read(&file).unwrap().is_empty());

    let pipe = running.folder().join("null");
    std::os::unix::fs::symlink("/dev/null", &pipe).unwrap();
    config_save(&running.socket, Some(&pipe), &mut Vec::new()).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());

    let failure = config_save(
        &running.socket,
        Some(Path::new("/nowhere/a.ron")),
        &mut Vec::new(),
    )
    .unwrap_err();
    assert_eq!(failure.exit_code(), 1);
}

#[test]
fn what_the_daemon_refuses_is_told_in_its_words() {
    let running = Running::new();
    let failure = show(
        &running.socket,
        &view(Table::Workers, Format::People),
        &mut Vec::new(),
    )
    .unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the workers do not answer; look at the log"
    );
    assert_eq!(failure.exit_code(), 1);
}

#[test]
fn a_daemon_that_is_not_there_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    for socket in [folder.path().join("missing.sock"), dead] {
        let failure =
            show(&socket, &view(Table::Status, Format::Json), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        let expected = format!(
            "no weir answers at {}; start it with `weir run --config FILE`, or name its socket with --socket",
            socket.display()
        );
        assert_eq!(failure.to_string(), expected);
    }
}

/// As one that was stopped by a signal: the socket takes the question, and nobody reads it.
#[test]
fn a_daemon_that_is_silent_is_given_up_soon() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let began = std::time::Instant::now();
    let status = view(Table::Status, Format::Json);
    let failure = show(&socket, &status, &mut io::sink()).unwrap_err();
    assert_eq!(failure.exit_code(), 3);
    assert_eq!(
        failure.to_string(),
        format!(
            "the weir at {} has not answered for 10 s; see whether it is stopped, and its log",
            socket.display()
        )
    );
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn something_else_on_the_socket_is_exit_code_3() {
    for (answer, sentence) in [
        ("", "has hung up without an answer"),
        ("220 smtp ready\n", "does not speak as this weir does"),
        (
            "{\"jsonrpc\":\"2.0\",\"result\":[],\"id\":77}\n",
            "does not speak as this weir does",
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":1}\n",
            "does not speak as this weir does",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let other = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).unwrap();
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        });
        let failure = show(
            &socket,
            &view(Table::Status, Format::People),
            &mut Vec::new(),
        )
        .unwrap_err();
        other.join().unwrap();
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains(sentence), "{failure}");
    }
}
