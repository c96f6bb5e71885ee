//! What an operator meets at the command line: tables that show the truth, errors of one sentence, exit codes.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{self, Protocol, Service};
use weir_lab::director::{self, Director};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, command, server, wait};

const LIMIT: Duration = Duration::from_secs(20);

fn rig() -> Result<Rig> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    rig.serve(1, &services(&rig))?;
    Ok(rig)
}

fn services(rig: &Rig) -> Vec<Service> {
    Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Wrr", [3, 1]).to_vec()
}

fn text<'a>(row: &'a director::Row, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Asserts that `output` is a refusal as users know it: this exit code, and one sentence that holds `word`.
fn assert_refused(output: &Output, code: i32, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(
        said.trim().lines().count(),
        1,
        "an error is one sentence: {said}"
    );
    assert!(said.contains(word), "the error should name {word}: {said}");
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn tables_show_what_is() -> Result<()> {
    let mut rig = rig()?;
    let topology = &rig.topology;
    let director = rig.director()?;
    server::write_payload(
        &server::files_folder(&topology.lab).join("big"),
        20_000_000,
        6,
    )?;

    let services = director.table("services")?;
    let expected: Vec<String> = services_of(&rig);
    let listed: Vec<&str> = services.iter().map(|row| text(row, "service")).collect();
    assert!(
        expected
            .iter()
            .all(|service| listed.contains(&service.as_str())),
        "{listed:?}"
    );
    let destinations = services[0]["destinations"].as_array().map(Vec::len);
    assert_eq!(destinations, Some(2));

    let url = format!(
        "{}/files/big",
        client::url(topology.vip.ipv4.into(), server::HTTP)
    );
    let file = topology.lab.folder().join("downloaded");
    let mut download = Download::start(&topology.client.namespace, &url, &file, Some(1_000_000))?;
    download.wait_for_len(1, LIMIT)?;
    let row = wait::until("the download to be listed as a connection", LIMIT, || {
        let connections = director.table("connections")?;
        Ok(connections
            .into_iter()
            .find(|row| text(row, "client").starts_with("192.0.2.10:")))
    })?;
    assert_eq!(text(&row, "protocol").to_lowercase(), "tcp");
    assert_eq!(text(&row, "virtual"), "192.0.2.100:80");
    assert!(text(&row, "local").starts_with("10.0.0.20"), "{row:?}");
    assert!(text(&row, "destination").starts_with("10.0.0.1"), "{row:?}");
    client::abandon(download)?;

    let neighbours = serde_json::to_string(&director.table("neighbours")?)?;
    for mac in [topology.client.mac, topology.real_servers[0].mac] {
        assert!(
            neighbours.contains(mac),
            "{mac} is not among the neighbours: {neighbours}"
        );
    }
    let ports = serde_json::to_string(&director.table("ports")?)?;
    for port in &topology.ports {
        assert!(
            ports.contains(port.name) && ports.contains(port.mac),
            "{ports}"
        );
    }
    for table in ["routes", "workers", "drops", "status"] {
        director.table(table)?;
    }
    for table in [
        "status",
        "ports",
        "services",
        "connections",
        "neighbours",
        "routes",
        "drops",
        "workers",
    ] {
        assert!(
            director.output(&[table])?.status.success(),
            "`weir {table}` for people"
        );
    }
    rig.stop_director()
}

fn services_of(rig: &Rig) -> Vec<String> {
    services(rig).iter().map(Service::label).collect()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_dry_run_and_a_wrong_file_change_nothing() -> Result<()> {
    let mut rig = rig()?;
    let before = rig.director()?.table("services")?;
    let fewer = config::text(&rig.topology, &config::last_cpus(1)?, &services(&rig)[..1]);
    let file = rig.topology.lab.folder().join("other.ron");
    let name = file.display().to_string();

    std::fs::write(&file, &fewer)?;
    let director = rig.director()?;
    let dry = director.output(&["reload", "--config", &name, "--dry-run"])?;
    assert_eq!(dry.status.code(), Some(0));
    let diff = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        diff.contains("2001:db8:1::100"),
        "the diff names the service that would go: {diff}"
    );
    assert_eq!(director.table("services")?, before);

    std::fs::write(&file, fewer.replace("192.0.2.100:80", "192.0.2.100:0"))?;
    let refused = director.output(&["reload", "--config", &name])?;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(director.table("services")?, before);
    client::curl(
        &rig.topology.client.namespace,
        &client::url(rig.topology.vip.ipv4.into(), server::HTTP),
        10,
    )?;
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_start_that_cannot_be_is_refused_in_one_sentence() -> Result<()> {
    let mut rig = rig()?;
    let topology = &rig.topology;
    let binary = director::built("weir")?;
    let file = topology.lab.folder().join("other.ron");
    let text = config::text(topology, &config::last_cpus(1)?, &services(&rig));
    let start = |text: &str| -> Result<Output> {
        std::fs::write(&file, text)?;
        command::output(
            topology
                .director
                .command(&binary)
                .args(["run", "--config"])
                .arg(&file),
        )
    };

    assert_refused(&start(&text)?, 1, "admin.sock");
    let elsewhere = text.replace("admin.sock", "other.sock");
    assert_refused(
        &start(&elsewhere.replace("AfPacket(\"wan\")", "AfPacket(\"absent0\")"))?,
        1,
        "absent0",
    );
    let missing =
        command::output(Command::new(&binary).args(["run", "--config", "/nonexistent/weir.ron"]))?;
    assert_refused(&missing, 1, "/nonexistent/weir.ron");
    let nobody = command::output(Command::new(&binary).args([
        "status",
        "--socket",
        "/nonexistent/admin.sock",
    ]))?;
    assert_refused(&nobody, 3, "/nonexistent/admin.sock");
    let wrong_usage = command::output(Command::new(&binary).arg("no-such-command"))?;
    assert_eq!(wrong_usage.status.code(), Some(2));

    client::curl(
        &topology.client.namespace,
        &client::url(topology.vip.ipv4.into(), server::HTTP),
        10,
    )?;
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn weir_stop_is_an_orderly_end() -> Result<()> {
    let rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let config = config::text(&rig.topology, &config::last_cpus(1)?, &services(&rig));
    let mut director = Director::start(&rig.topology, &director::built("weir")?, &config)?;
    let stop = director.output(&["stop"])?;
    assert!(
        stop.status.success(),
        "{}",
        String::from_utf8_lossy(&stop.stderr)
    );
    assert_eq!(director.wait_for_end(LIMIT)?.code(), Some(0));
    assert!(
        !director::socket_path(&rig.topology.lab).exists(),
        "the admin socket is gone"
    );
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_vip_answers_pings_and_refuses_what_no_service_wants() -> Result<()> {
    let mut rig = rig()?;
    let client_ns = &rig.topology.client.namespace;
    for family in Family::ALL {
        let vip = rig.topology.vip.of(family);
        assert!(client::ping(client_ns, vip)?, "{vip} answers a ping");
        let own = rig.topology.ports[0].addresses.of(family);
        assert!(client::ping(client_ns, own)?, "{own} answers a ping");
        let refused = command::output(client_ns.command("curl").args([
            "-sS",
            "-m",
            "5",
            &client::url(vip, 81),
        ]))?;
        // curl's exit code 7: refused, which takes an answer; silence would be 28.
        assert_eq!(
            refused.status.code(),
            Some(7),
            "{}",
            String::from_utf8_lossy(&refused.stderr)
        );
    }
    rig.stop_director()
}
