//! What a person sees of each table.
//!
//! Promises: one line per thing, what matters most first; everything else is in `--json`.
//! Does not know: where rows come from and where lines go.

use crate::rows::{
    ConnectionRow, DestinationRow, DropRow, NeighbourRow, PortRow, RouteRow, ServiceRow, StatusRow,
    WorkerRow,
};
use crate::table::Align::{Left, Right};
use crate::table::Column;

/// Stands where there is nothing.
const NOTHING: &str = "-";

/// A row that people see in columns.
pub(crate) trait Tabular {
    const COLUMNS: &'static [Column];

    /// Its lines, cell by cell.
    fn lines(&self) -> Vec<Vec<String>>;

    /// What is too long for a column; printed below the table.
    fn footnote(&self) -> Option<String> {
        None
    }
}

impl Tabular for PortRow {
    const COLUMNS: &'static [Column] = &[
        ("PORT", Left),
        ("DEVICE", Left),
        ("DRIVER", Left),
        ("MAC", Left),
        ("LINK", Left),
        ("MTU", Right),
        ("QUEUES", Right),
        ("RX PACKETS", Right),
        ("RX BYTES", Right),
        ("MISSED", Right),
        ("RX ERRORS", Right),
        ("NO BUFFER", Right),
        ("TX PACKETS", Right),
        ("TX BYTES", Right),
        ("TX ERRORS", Right),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let link = match self.link_mbits {
            Some(mbits) => format!("{} {mbits} Mbit/s", self.link),
            None => self.link.clone(),
        };
        vec![vec![
            self.port.clone(),
            self.device.clone(),
            self.driver.clone(),
            self.mac.clone(),
            link,
            self.mtu.to_string(),
            format!("{}+{}", self.receive_queues, self.transmit_queues),
            self.received_packets.to_string(),
            self.received_bytes.to_string(),
            self.missed_packets.to_string(),
            self.receive_errors.to_string(),
            self.no_buffer.to_string(),
            self.transmitted_packets.to_string(),
            self.transmitted_bytes.to_string(),
            self.transmit_errors.to_string(),
        ]]
    }

    fn footnote(&self) -> Option<String> {
        let addresses = self.addresses.join(", ");
        Some(format!("{}: {addresses}; {}", self.port, self.rss))
    }
}

impl Tabular for ServiceRow {
    const COLUMNS: &'static [Column] = &[
        ("SERVICE", Left),
        ("SCHEDULER", Left),
        ("METHOD", Left),
        ("WEIGHT", Right),
        ("ACTIVE", Right),
        ("INACTIVE", Right),
        ("CONNECTIONS", Right),
        ("IN PACKETS", Right),
        ("IN BYTES", Right),
        ("OUT PACKETS", Right),
        ("OUT BYTES", Right),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let mut lines = vec![vec![
            self.service.to_string(),
            self.scheduler.clone(),
            self.method.clone(),
        ]];
        lines.extend(self.destinations.iter().map(destination));
        lines
    }

    fn footnote(&self) -> Option<String> {
        let service = &self.service;
        let persistent = self
            .persistent
            .map(|seconds| format!("{service}: a client keeps its destination for {seconds} s"));
        let exhausted = (self.local_ports_exhausted > 0).then(|| {
            format!(
                "{service}: {} packets dropped because no local port was free; add local addresses",
                self.local_ports_exhausted
            )
        });
        let also = (!self.also.is_empty()).then(|| {
            let also: Vec<String> = self.also.iter().map(ToString::to_string).collect();
            format!("{service}: serves {} too, as one", also.join(", "))
        });
        let notes: Vec<String> = [also, persistent, exhausted]
            .into_iter()
            .flatten()
            .collect();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }
}

fn destination(row: &DestinationRow) -> Vec<String> {
    vec![
        format!("  {}", row.address),
        String::new(),
        row.method.clone(),
        row.weight.to_string(),
        row.active.to_string(),
        row.inactive.to_string(),
        row.connections.to_string(),
        row.inbound_packets.to_string(),
        row.inbound_bytes.to_string(),
        row.outbound_packets.to_string(),
        row.outbound_bytes.to_string(),
    ]
}

impl Tabular for ConnectionRow {
    const COLUMNS: &'static [Column] = &[
        ("PROTOCOL", Left),
        ("CLIENT", Left),
        ("VIRTUAL", Left),
        ("LOCAL", Left),
        ("DESTINATION", Left),
        ("STATE", Left),
        ("EXPIRES", Right),
        ("WORKER", Right),
        ("IN BYTES", Right),
        ("OUT BYTES", Right),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.protocol.clone(),
            self.client.to_string(),
            self.virtual_endpoint.to_string(),
            or_nothing(self.local),
            self.destination.to_string(),
            self.state.clone(),
            format!("{} s", self.expires_s),
            self.worker.to_string(),
            self.inbound_bytes.to_string(),
            self.outbound_bytes.to_string(),
        ]]
    }
}

impl Tabular for NeighbourRow {
    const COLUMNS: &'static [Column] = &[
        ("ADDRESS", Left),
        ("MAC", Left),
        ("PORT", Left),
        ("STATE", Left),
        ("CONFIRMED", Right),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.address.to_string(),
            or_nothing(self.mac.as_ref()),
            self.port.clone(),
            self.state.clone(),
            self.confirmed_s
                .map_or("never".to_owned(), |seconds| format!("{seconds} s ago")),
        ]]
    }
}

impl Tabular for RouteRow {
    const COLUMNS: &'static [Column] = &[
        ("TO", Left),
        ("VIA", Left),
        ("PORT", Left),
        ("ORIGIN", Left),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![
            self.to.clone(),
            or_nothing(self.via),
            self.port.clone(),
            self.origin.clone(),
        ]]
    }
}

impl Tabular for DropRow {
    const COLUMNS: &'static [Column] = &[("REASON", Left), ("COUNT", Right), ("EXPLANATION", Left)];

    /// A reason that was never met is of interest to programs only.
    fn lines(&self) -> Vec<Vec<String>> {
        if self.count == 0 {
            return Vec::new();
        }
        vec![vec![
            self.reason.clone(),
            self.count.to_string(),
            self.explanation.clone(),
        ]]
    }
}

impl Tabular for WorkerRow {
    const COLUMNS: &'static [Column] = &[
        ("WORKER", Right),
        ("CPU", Right),
        ("BUSY", Right),
        ("PACKETS", Right),
        ("HANDED OVER", Right),
        ("DROPS", Right),
        ("CONNECTIONS", Right),
        ("CAPACITY", Right),
        ("EVICTED", Right),
        ("BURST P50", Right),
        ("BURST P99.9", Right),
        ("GENERATION", Right),
    ];

    fn lines(&self) -> Vec<Vec<String>> {
        let burst = |us: Option<f64>| or_nothing(us.map(|us| format!("{us:.1} µs")));
        vec![vec![
            self.worker.to_string(),
            self.cpu.to_string(),
            format!("{:.1} %", self.busy_percent),
            self.packets.to_string(),
            self.handed_over.to_string(),
            self.drops.to_string(),
            self.connections.to_string(),
            self.capacity.to_string(),
            self.evicted.to_string(),
            burst(self.burst_us_p50),
            burst(self.burst_us_p999),
            self.generation.to_string(),
        ]]
    }
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map_or(NOTHING.to_owned(), |value| value.to_string())
}

/// The daemon at a glance: a name and a value per line, then the warnings.
pub(crate) fn status(row: &StatusRow) -> Vec<String> {
    let mut lines = vec![
        format!(
            "weir {}, pid {}, up for {}",
            row.version,
            row.pid,
            span(row.uptime_s)
        ),
        format!(
            "configuration  generation {}, started with {}",
            row.generation, row.config_file
        ),
        format!("workers        {}", row.workers),
        format!("ports          {}", row.ports),
        format!(
            "services       {} with {} destinations",
            row.services, row.destinations
        ),
        format!("connections    {} of {}", row.connections, row.capacity),
        format!("memory         {} MiB", row.memory_mib),
    ];
    lines.extend(
        row.warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    lines
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`, `6 s`.
fn span(seconds: u64) -> String {
    let units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let parts: Vec<String> = units
        .iter()
        .map(|(name, size)| {
            let count = rest / size;
            rest %= size;
            (count, name)
        })
        .skip_while(|(count, name)| *count == 0 && **name != "s")
        .take(2)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        assert_eq!(span(0), "0 s");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(306), "5 min 6 s");
        assert_eq!(span(3600), "1 h 0 min");
        assert_eq!(span(3 * 86400 + 4 * 3600 + 59), "3 d 4 h");
    }
}
