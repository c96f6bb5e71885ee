//! Who gets the socket.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use weir_admin::{Client, ListenError, Listener};

use crate::fake::{Process, Running};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_folder_is_made_the_mode_is_0660_and_the_file_goes_in_the_end() {
    let folder = folder();
    let path = folder.path().join("run/weir/admin.sock");
    let listener = Listener::bind(&path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_living_daemon_keeps_its_socket_and_is_named() {
    let running = Running::new();
    let refusal = Listener::bind(&running.socket).unwrap_err().to_string();
    let path = running.socket.display();
    let pid = std::process::id();
    assert_eq!(
        refusal,
        format!(
            "another weir is already running on {path} (pid {pid}); stop it with `weir stop --socket {path}` or choose another --socket"
        )
    );
    assert!(Client::connect(&running.socket).is_ok());
}

#[test]
fn a_daemon_that_does_not_come_round_to_its_clients_is_alive() {
    let folder = folder();
    let path = folder.path().join("admin.sock");
    let _listener = Listener::bind(&path).unwrap();
    // Nobody accepts: the kernel keeps these waiting until it takes no more.
    let mut waiting: Vec<Client> = Vec::new();
    let refusal = loop {
        match Client::connect(&path) {
            Ok(client) => waiting.push(client),
            Err(refusal) => break refusal.to_string(),
        }
        assert!(waiting.len() < 100_000, "the backlog has no end");
    };
    assert!(refusal.contains("too busy"), "{refusal}");
    assert!(matches!(
        Listener::bind(&path),
        Err(ListenError::AlreadyRunning { .. })
    ));
}

#[test]
fn what_a_killed_daemon_leaves_is_taken_over() {
    let folder = folder();
    let path = folder.path().join("admin.sock");
    let mut daemon = Process::start(&path);
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    assert!(
        path.exists(),
        "a killed daemon has cleaned up: the test proves nothing"
    );
    let _listener = Listener::bind(&path).unwrap();
    assert!(Client::connect(&path).is_ok());
}

#[test]
fn of_many_that_find_a_dead_socket_at_once_one_gets_it() {
    const N_STARTERS: usize = 8;
    let folder = folder();
    let path = folder.path().join("admin.sock");
    for _ in 0..300 {
        drop(UnixListener::bind(&path).unwrap());
        let start = Barrier::new(N_STARTERS);
        let outcomes: Vec<Result<Listener, ListenError>> = thread::scope(|scope| {
            let starters: Vec<_> = (0..N_STARTERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Listener::bind(&path)
                    })
                })
                .collect();
            starters
                .into_iter()
                .map(|starter| starter.join().unwrap())
                .collect()
        });
        let n_winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(n_winners, 1, "{outcomes:?}");
        assert!(Client::connect(&path).is_ok());
    }
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("admin.sock");
    fs::write(&path, "precious").unwrap();
    let refusal = Listener::bind(&path).unwrap_err().to_string();
    assert!(refusal.contains("is no socket; remove it"), "{refusal}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_file_of_a_successor_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("admin.sock");
    let first = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = Listener::bind(&path).unwrap();
    drop(first);
    assert!(Client::connect(&path).is_ok());
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let too_long = folder.path().join("long".repeat(30));
    for path in [
        file.join("admin.sock").as_path(),
        &too_long,
        Path::new("/proc/weir/admin.sock"),
    ] {
        let refusal = Listener::bind(path).unwrap_err().to_string();
        assert!(refusal.ends_with("or choose another --socket"), "{refusal}");
        assert_eq!(refusal.lines().count(), 1);
    }
}

#[test]
fn a_folder_that_stays_locked_is_told_and_not_waited_for() {
    let folder = folder();
    let lock = File::open(folder.path()).unwrap();
    lock.lock().unwrap();
    let refusal = Listener::bind(&folder.path().join("admin.sock")).unwrap_err();
    assert!(matches!(refusal, ListenError::Locked(_)), "{refusal}");
}
