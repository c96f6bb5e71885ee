//! A director that is only its table, for ipvsadm to be tried on; and a session's commands with what they printed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_admin::ipvsadm::{
    Ipvs, ListedLocal, ListedServer, ListedService, Names, Services, Streams, Traffic, ipvsadm,
};
use weir_admin::{ConnectionRow, Failure};
use weir_config::ipvs::{Edit, EditError, ServiceName, Table, Timeouts, Transport};

/// What passed through one real server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    pub(crate) persistent: u32,
    pub(crate) totals: Traffic,
    pub(crate) rates: Traffic,
}

/// The director.
pub(crate) struct Model {
    pub(crate) table: Table,
    pub(crate) passed: HashMap<SocketAddr, Passed>,
    /// Of services whose rates are not the sum of their servers' as rounded.
    pub(crate) service_rates: HashMap<SocketAddr, Traffic>,
    pub(crate) connections: Vec<ConnectionRow>,
    /// The rates at the second asking: those of servers, and that of the one service in `service_rates`.
    pub(crate) later: Option<(HashMap<SocketAddr, Traffic>, Traffic)>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let timeouts = Timeouts {
            tcp_s: 900,
            tcp_fin_s: 120,
            udp_s: 300,
        };
        Self {
            table: Table::new(Vec::new(), timeouts),
            passed: HashMap::new(),
            service_rates: HashMap::new(),
            connections: Vec::new(),
            later: None,
        }
    }

    /// The rates become those of the second asking.
    pub(crate) fn time_passes(&mut self) {
        let (servers, service) = self.later.take().unwrap();
        for (server, passed) in &mut self.passed {
            passed.rates = servers[server];
        }
        self.service_rates
            .values_mut()
            .for_each(|rates| *rates = service);
    }

    fn zero(&mut self, service: &ServiceName) {
        let Some(entry) = self.table.find(service) else {
            return;
        };
        for server in &entry.servers {
            if let Some(passed) = self.passed.get_mut(&server.address) {
                passed.totals = Traffic::default();
            }
        }
    }
}

impl Ipvs for Model {
    fn services(&mut self) -> Result<Vec<ListedService>, Failure> {
        let services = self.table.entries().map(|entry| {
            let servers: Vec<_> = entry
                .servers
                .iter()
                .map(|server| {
                    let passed = self.passed.get(&server.address);
                    let passed = passed.copied().unwrap_or_default();
                    ListedServer {
                        server: *server,
                        active: passed.active,
                        inactive: passed.inactive,
                        persistent: passed.persistent,
                        totals: passed.totals,
                        rates: passed.rates,
                    }
                })
                .collect();
            let mut totals = Traffic::default();
            let mut rates = Traffic::default();
            for server in &servers {
                add(&mut totals, &server.totals);
                add(&mut rates, &server.rates);
            }
            if let ServiceName::Virtual { endpoint, .. } = entry.service.name
                && let Some(known) = self.service_rates.get(&endpoint)
            {
                rates = *known;
            }
            ListedService {
                service: entry.service.clone(),
                totals,
                rates,
                locals: entry
                    .locals
                    .iter()
                    .map(|address| ListedLocal {
                        address: *address,
                        connections: 0,
                    })
                    .collect(),
                servers,
            }
        });
        Ok(services.collect())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Failure> {
        Ok(self.table.timeouts)
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, Failure> {
        let outcomes = edits.iter().map(|edit| {
            let outcome = self.table.apply(edit);
            if *edit == Edit::Clear {
                self.passed.clear();
            }
            if let (Ok(()), Edit::Zero(name)) = (&outcome, edit) {
                let names: Vec<_> = match name {
                    Some(name) => vec![*name],
                    None => self
                        .table
                        .entries()
                        .map(|entry| entry.service.name)
                        .collect(),
                };
                names.iter().for_each(|name| self.zero(name));
            }
            outcome
        });
        Ok(outcomes.collect())
    }

    fn connections(
        &mut self,
        mut take: impl FnMut(&[ConnectionRow]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        take(&self.connections).map_err(Failure::Output)
    }
}

fn add(sum: &mut Traffic, one: &Traffic) {
    sum.connections += one.connections;
    sum.inbound_packets += one.inbound_packets;
    sum.outbound_packets += one.outbound_packets;
    sum.inbound_bytes += one.inbound_bytes;
    sum.outbound_bytes += one.outbound_bytes;
}

/// What the machine on which the references were recorded knew.
pub(crate) struct RecordedNames(Services);

impl RecordedNames {
    pub(crate) fn new() -> Self {
        Self(Services::parse(
            "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp www\nhttps 443/tcp\nhttps 443/udp\n\
             http-alt 8080/tcp webcache\nhttp-alt 8080/udp\n",
        ))
    }
}

const HOSTS: [(&str, &str); 3] = [
    ("127.0.0.1", "localhost"),
    ("10.0.0.77", "seventy-seven"),
    (
        "10.1.0.99",
        "a-real-server-with-a-very-long-name.example.org",
    ),
];

impl Names for RecordedNames {
    fn host(&self, address: IpAddr) -> Option<String> {
        let known = HOSTS
            .iter()
            .find(|(known, _)| address.to_string() == *known);
        known.map(|(_, name)| (*name).to_owned())
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let known = HOSTS.iter().find(|(_, name)| *name == host)?;
        known.0.parse().ok()
    }

    fn service(&self, l4_port: u16, transport: Transport) -> Option<String> {
        self.0.name(l4_port, transport)
    }

    fn l4_port(&self, service: &str, transport: Transport) -> Option<u16> {
        self.0.l4_port(service, transport)
    }
}

/// What a command printed, refusals first, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) code: u8,
}

/// Runs a command line as a shell would.
pub(crate) fn run(model: &mut Model, line: &str) -> Outcome {
    let (input, line) = match line.strip_prefix("printf '") {
        Some(piped) => {
            let (text, command) = piped.split_once("' | ").unwrap();
            let text = text.replace("\\n", "\n").replace("\\r", "\r");
            (text, command)
        }
        None => (String::new(), line),
    };
    let words = shell_words(line);
    let (program, words) = words.split_first().unwrap();
    assert_eq!(program, "ipvsadm");
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let streams = Streams {
        input: &mut input.as_bytes(),
        output: &mut output,
        errors: &mut errors,
    };
    let code = ipvsadm("ipvsadm", words, model, &RecordedNames::new(), streams);
    errors.extend(output);
    Outcome {
        text: String::from_utf8(errors).unwrap(),
        code,
    }
}

/// Words parted by blanks, with single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The commands of a recording, and what came of each.
pub(crate) fn recorded(text: &str) -> Vec<(String, Outcome)> {
    let mut steps: Vec<(String, Outcome)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("# ") {
            let nothing = Outcome {
                text: String::new(),
                code: 0,
            };
            steps.push((command.to_owned(), nothing));
        } else if let Some((_, outcome)) = steps.last_mut() {
            match line
                .strip_prefix("[rc=")
                .and_then(|rest| rest.strip_suffix(']'))
            {
                Some(code) => outcome.code = code.parse().unwrap(),
                None => {
                    outcome.text.push_str(line);
                    outcome.text.push('\n');
                }
            }
        }
    }
    steps
}
