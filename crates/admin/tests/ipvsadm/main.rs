//! ipvsadm against what the real one printed: the reference session, and two thousand commands recorded from
//! ipvsadm 1.31-1+b1 (Debian 12) on Linux 6.1.192 with ip_vs, one table over all of them.
//!
//! Both recordings read `# COMMAND`, then what it printed (refusals first), then `[rc=N]` where that was not 0.

mod model;

use std::collections::HashMap;

use model::{Model, Passed, RecordedNames, recorded, run};
use proptest::prelude::*;
use weir_admin::ConnectionRow;
use weir_admin::ipvsadm::{Streams, Traffic, ipvsadm};

/// Compares step by step; a command for which `is_ours` is weir's own affair.
fn replay(model: &mut Model, text: &str, is_ours: impl Fn(&str) -> bool) -> usize {
    let mut n_steps = 0;
    let mut wrong = Vec::new();
    for (command, expected) in recorded(text) {
        if is_ours(&command) {
            continue;
        }
        let found = run(model, &command);
        n_steps += 1;
        if found != expected {
            wrong.push(format!(
                "# {command}\n--- ipvsadm ({})\n{}--- weir ({})\n{}",
                expected.code, expected.text, found.code, found.text
            ));
        }
    }
    let n_wrong = wrong.len();
    wrong.truncate(25);
    assert!(
        n_wrong == 0,
        "{n_wrong} of {n_steps}:\n{}",
        wrong.join("\n")
    );
    n_steps
}

#[test]
fn whatever_was_recorded_is_printed_again() {
    let n_steps = replay(&mut Model::new(), include_str!("recorded.txt"), |_| false);
    assert!(n_steps > 2000, "{n_steps}");
}

/// Between two listings of the reference the test client has sent what its lines say.
fn after_the_client(model: &mut Model) {
    let traffic = |[
        connections,
        inbound_packets,
        outbound_packets,
        inbound_bytes,
        outbound_bytes,
    ]: [u64; 5]| {
        Traffic {
            connections,
            inbound_packets,
            outbound_packets,
            inbound_bytes,
            outbound_bytes,
        }
    };
    // Real server; active, inactive, persistent; totals; rates at the first asking and at the second.
    let rows = [
        (
            "10.1.0.12:8080",
            [3, 0, 1],
            [3, 9, 6, 492, 342],
            [0, 1, 1, 46, 32],
            [0, 1, 0, 35, 24],
        ),
        (
            "10.1.0.11:81",
            [3, 0, 0],
            [3, 9, 6, 492, 342],
            [0, 1, 1, 46, 32],
            [0, 1, 0, 35, 24],
        ),
        (
            "10.1.0.12:81",
            [1, 2, 0],
            [3, 13, 9, 700, 498],
            [0, 1, 1, 66, 47],
            [0, 1, 1, 49, 35],
        ),
        (
            "10.1.0.11:53",
            [0, 1, 0],
            [1, 1, 0, 29, 0],
            [0, 0, 0, 3, 0],
            [0, 0, 0, 2, 0],
        ),
        (
            "10.1.0.12:53",
            [0, 2, 0],
            [2, 2, 0, 58, 0],
            [0, 0, 0, 5, 0],
            [0, 0, 0, 4, 0],
        ),
        (
            "[fd00:b::12]:80",
            [0, 2, 1],
            [2, 10, 6, 736, 452],
            [0, 1, 1, 69, 42],
            [0, 1, 0, 52, 32],
        ),
    ];
    model.service_rates = [("10.0.0.100:81", [1, 2, 1, 112, 79])]
        .into_iter()
        .map(|(service, rates)| (service.parse().unwrap(), traffic(rates)))
        .collect();
    let mut later = HashMap::new();
    for (server, [active, inactive, persistent], totals, rates, rates_later) in rows {
        let passed = Passed {
            active,
            inactive,
            persistent,
            totals: traffic(totals),
            rates: traffic(rates),
        };
        model.passed.insert(server.parse().unwrap(), passed);
        later.insert(server.parse().unwrap(), traffic(rates_later));
    }
    model.later = Some((later, traffic([0, 2, 1, 84, 59])));
}

/// The connections of the reference as they stood when the first one had `expires_s` left.
fn connections(expires_s: u64) -> Vec<ConnectionRow> {
    let rows = [
        (
            "tcp",
            "TIME_WAIT",
            0,
            "[fd00:a::2]:25001",
            "[fd00:a::100]:80",
            "[fd00:b::12]:80",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:22001",
            "10.0.0.100:81",
            "10.1.0.11:81",
        ),
        (
            "tcp",
            "ASSURED",
            180,
            "10.0.0.2:0",
            "10.0.0.100:80",
            "10.1.0.12:8080",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:21002",
            "10.0.0.100:80",
            "10.1.0.12:8080",
        ),
        (
            "tcp",
            "ASSURED",
            0,
            "[fd00:a::]:0",
            "[fd00:a::100]:80",
            "[fd00:b::12]:80",
        ),
        (
            "udp",
            "UDP",
            181,
            "10.0.0.2:24001",
            "10.0.0.100:53",
            "10.1.0.12:53",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:22002",
            "10.0.0.100:81",
            "10.1.0.12:81",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:22003",
            "10.0.0.100:81",
            "10.1.0.11:81",
        ),
        (
            "tcp",
            "TIME_WAIT",
            0,
            "10.0.0.2:23001",
            "10.0.0.100:81",
            "10.1.0.12:81",
        ),
        (
            "udp",
            "UDP",
            181,
            "10.0.0.2:24002",
            "10.0.0.100:53",
            "10.1.0.11:53",
        ),
        (
            "udp",
            "UDP",
            181,
            "10.0.0.2:24000",
            "10.0.0.100:53",
            "10.1.0.12:53",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:21000",
            "10.0.0.100:80",
            "10.1.0.12:8080",
        ),
        (
            "tcp",
            "TIME_WAIT",
            0,
            "10.0.0.2:23000",
            "10.0.0.100:81",
            "10.1.0.12:81",
        ),
        (
            "tcp",
            "TIME_WAIT",
            0,
            "[fd00:a::2]:25000",
            "[fd00:a::100]:80",
            "[fd00:b::12]:80",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:21001",
            "10.0.0.100:80",
            "10.1.0.12:8080",
        ),
        (
            "tcp",
            "ESTABLISHED",
            780,
            "10.0.0.2:22000",
            "10.0.0.100:81",
            "10.1.0.11:81",
        ),
    ];
    let row = |(protocol, state, more_s, client, virtual_endpoint, destination): (
        &str,
        &str,
        u64,
        &str,
        &str,
        &str,
    )| {
        ConnectionRow {
            protocol: protocol.to_owned(),
            client: client.parse().unwrap(),
            virtual_endpoint: virtual_endpoint.parse().unwrap(),
            local: None,
            destination: destination.parse().unwrap(),
            state: state.to_owned(),
            expires_s: expires_s + more_s,
            worker: 0,
            inbound_bytes: 0,
            outbound_bytes: 0,
        }
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn the_reference_is_printed_again() {
    let reference = include_str!("reference.txt");
    // Between these lines is what the kernel's files said, which is not ipvsadm's.
    let (before, rest) = reference.split_once("== restore\n").unwrap();
    let behind = &rest[rest.find("# ipvsadm -C\n").unwrap()..];
    let text: String = [before, behind]
        .concat()
        .lines()
        .filter(|line| !line.starts_with("== ") && *line != "DONE")
        .flat_map(|line| [line, "\n"])
        .collect();

    // What the client did stands before the first listing, and the first expiry in each list of connections.
    let (commands, listings) = text.split_once("\ntcp 10.0.0.100:80 n=3:").unwrap();
    let listings = &listings[listings.find("# ").unwrap()..];
    let mut model = Model::new();
    replay(&mut model, commands, |_| false);
    after_the_client(&mut model);
    let mut n_steps = 0;
    for (command, expected) in recorded(listings) {
        if let Some(first) = expected.text.lines().nth(2)
            && expected.text.starts_with("IPVS connection")
        {
            let (minutes, seconds) = first[4..9].split_once(':').unwrap();
            let minutes: u64 = minutes.parse().unwrap();
            model.connections = connections(60 * minutes + seconds.parse::<u64>().unwrap());
        }
        if command == "ipvsadm -ln --exact --rate" {
            model.time_passes();
        }
        // weir has no synchronisation daemon: starting it is refused, so there is none to show or to stop.
        if command.contains("-daemon master") || expected.text.starts_with("master sync daemon") {
            assert_eq!(run(&mut model, "ipvsadm -ln --daemon").text, "");
            continue;
        }
        let found = run(&mut model, &command);
        assert_eq!(
            found, expected,
            "{command}\n{}\n{}",
            found.text, expected.text
        );
        n_steps += 1;
    }
    assert!(n_steps > 80, "{n_steps}");
}

#[test]
fn what_was_saved_is_restored() {
    let (commands, _) = include_str!("reference.txt")
        .split_once("\ntcp 10.0.0.100:80 n=3:")
        .unwrap();
    let mut model = Model::new();
    replay(&mut model, commands, |_| false);
    for save in ["ipvsadm -S", "ipvsadm -S -n"] {
        let saved = run(&mut model, save).text;
        let mut other = Model::new();
        let restored = run(&mut other, &format!("printf '{saved}' | ipvsadm -R"));
        assert_eq!((restored.text.as_str(), restored.code), ("", 0));
        assert_eq!(run(&mut other, save).text, saved);
    }
}

#[test]
fn fullnat_is_said_as_its_family_says_it() {
    let mut model = Model::new();
    let mut done = |line: &str| {
        let outcome = run(&mut model, line);
        (outcome.text, outcome.code)
    };
    let nothing = (String::new(), 0);
    assert_eq!(
        done("ipvsadm -A -t 10.0.0.100:80 -s sh -b sh-port"),
        nothing
    );
    assert_eq!(
        done("ipvsadm -a -t 10.0.0.100:80 -r 10.1.0.11:8080 -b -w 3"),
        nothing
    );
    assert_eq!(
        done("ipvsadm -a -t 10.0.0.100:80 -r [fd00:b::11]:80 --fullnat"),
        nothing
    );
    assert_eq!(
        done("ipvsadm -e -t 10.0.0.100:80 -r 10.1.0.11:8080 -bw 4"),
        nothing
    );
    assert_eq!(done("ipvsadm -P -t 10.0.0.100:80 -z 10.2.0.1"), nothing);
    assert_eq!(
        done("ipvsadm --add-laddr -t 10.0.0.100:80 -z 10.2.0.2 -F eth1"),
        nothing
    );
    let saved = "-A -t 10.0.0.100:80 -s sh -b sh-port
-P -t 10.0.0.100:80 -z 10.2.0.1
-P -t 10.0.0.100:80 -z 10.2.0.2
-a -t 10.0.0.100:80 -r [fd00:b::11]:80 -b -w 1
-a -t 10.0.0.100:80 -r 10.1.0.11:8080 -b -w 4
";
    assert_eq!(done("ipvsadm -S -n").0, saved);
    assert_eq!(
        done("ipvsadm -ln -t 10.0.0.100:80").0,
        "Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 sh (sh-port)
  -> [fd00:b::11]:80              FullNat 1      0          0         
  -> 10.1.0.11:8080               FullNat 4      0          0         
"
    );
    assert_eq!(
        done("ipvsadm -G -t 10.0.0.100:80").0,
        "VIP:VPORT            TOTAL    LADDR                CONFLICTS  CONNS     
10.0.0.100:80        2        
                              10.2.0.1             0          0         
                              10.2.0.2             0          0         
"
    );
    let refused = |text: &str, code| (format!("{text}\n"), code);
    assert_eq!(done("ipvsadm -Q -t 10.0.0.100:80 -z 10.2.0.1"), nothing);
    assert_eq!(
        done("ipvsadm -Q -t 10.0.0.100:80 -z 10.2.0.1"),
        refused("No such local address", 255)
    );
    assert_eq!(
        done("ipvsadm -P -t 10.0.0.100:80 -z 10.2.0.2"),
        refused("Local address already exists", 255)
    );
    assert_eq!(
        done("ipvsadm -P -t 10.0.0.100:81 -z 10.2.0.2"),
        refused("Service not defined", 255)
    );
    assert_eq!(
        done("ipvsadm -P -t 10.0.0.100:80 -z nowhere"),
        refused("illegal local address specified", 2)
    );
    let try_help = refused(
        "Try `ipvsadm -h' or 'ipvsadm --help' for more information.",
        255,
    );
    for lacking in ["-P", "-Q", "-G", "-P -t 10.0.0.100:80", "-Q -z 10.2.0.1"] {
        assert_eq!(done(&format!("ipvsadm {lacking}")), try_help, "{lacking}");
    }
    // With services, -b is what it always was.
    assert_eq!(
        done("ipvsadm -E -t 10.0.0.100:80 -s sh -b"),
        refused("-b: missing argument", 255)
    );
    assert_eq!(
        done("ipvsadm -a -t 10.0.0.100:80 -r 10.1.0.12 -b -m"),
        refused("multiple 'forwarding-method' options specified", 2)
    );
}

#[test]
fn weir_has_no_synchronisation_daemon() {
    let refused = run(
        &mut Model::new(),
        "ipvsadm --start-daemon master --syncid 5",
    );
    assert_eq!(refused.code, 255);
    assert_eq!(refused.text.lines().count(), 1);
}

#[test]
fn the_program_is_called_what_it_was_called() {
    let mut errors = Vec::new();
    let streams = Streams {
        input: &mut std::io::empty(),
        output: &mut Vec::new(),
        errors: &mut errors,
    };
    let (words, names) = (["-Q".to_owned()], RecordedNames::new());
    ipvsadm("/sbin/ipvsadm", &words, &mut Model::new(), &names, streams);
    let errors = String::from_utf8(errors).unwrap();
    assert_eq!(
        errors,
        "Try `/sbin/ipvsadm -h' or '/sbin/ipvsadm --help' for more information.\n"
    );
}

/// Words that mean something, and some that do not.
const WORDS: [&str; 44] = [
    "-A",
    "-E",
    "-D",
    "-C",
    "-a",
    "-e",
    "-d",
    "-l",
    "-ln",
    "-S",
    "-Z",
    "-P",
    "-Q",
    "-G",
    "--set",
    "-R",
    "-t",
    "10.0.0.100:80",
    "-u",
    "[fd00::1]:53",
    "--sctp-service",
    "-f",
    "7",
    "-6",
    "-s",
    "rr",
    "sh",
    "-b",
    "sh-port",
    "-p",
    "300",
    "-M",
    "255.0.255.0",
    "-r",
    "10.1.0.11:8080",
    "-m",
    "-i",
    "--tun-type",
    "gue",
    "--tun-port",
    "-w",
    "-z",
    "-=",
    "--",
];

proptest! {
    /// However odd the command line, it ends with one of ipvsadm's exit codes, and a refusal changes nothing.
    #[test]
    fn no_words_make_it_panic_and_what_is_refused_leaves_no_trace(
        lines in prop::collection::vec(
            prop::collection::vec(prop_oneof![9 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => "[^']{0,6}"], 0..9),
            1..12,
        )
    ) {
        let mut model = Model::new();
        for words in lines {
            let before: Vec<_> = model.table.entries().cloned().collect();
            let (mut output, mut errors) = (Vec::new(), Vec::new());
            let streams = Streams {
                input: &mut std::io::empty(),
                output: &mut output,
                errors: &mut errors,
            };
            let code = ipvsadm("ipvsadm", &words, &mut model, &RecordedNames::new(), streams);
            prop_assert!([0, 1, 2, 255].contains(&code));
            prop_assert_eq!(code == 0, errors.is_empty());
            if code != 0 {
                let after: Vec<_> = model.table.entries().cloned().collect();
                prop_assert_eq!(after, before, "{:?}", words);
            }
        }
    }
}
