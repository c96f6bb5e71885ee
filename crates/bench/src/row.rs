//! One row of the outcome, for people and for programs.
//!
//! Promises: the names of the fields in JSON stay what they are. Does not know: how the figures were found.

use std::fs::File;
use std::io::{LineWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use weir_worker::BurstSummary;

use crate::window::{Clock, Figures};

/// One case and its figures: cycles a packet; `null` where a field has no meaning.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) method: &'static str,
    pub(crate) protocol: String,
    pub(crate) direction: &'static str,
    pub(crate) flows: usize,
    pub(crate) workers: usize,
    pub(crate) source_cycles_p10: Option<f64>,
    pub(crate) cycles_p10: Option<f64>,
    pub(crate) cycles_median: Option<f64>,
    /// S2 − S0.
    pub(crate) net_cycles_p10: Option<f64>,
    pub(crate) net_cycles_median: Option<f64>,
    /// S2 / S1, of the p10s.
    pub(crate) ratio_5tswap: Option<f64>,
    /// At `cycles_p10`, of all workers together.
    pub(crate) mpps: Option<f64>,
    /// At `cycles_p10`: SYN in to SYN out, the source included.
    pub(crate) new_connections_per_s: Option<f64>,
    pub(crate) bytes_per_connection: Option<f64>,
    pub(crate) rounds_kept: usize,
    /// Microseconds from receive to transmit that half of the quiet rounds' bursts took at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) burst_us_p50: Option<f64>,
    /// Likewise, 999 of 1,000 bursts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) burst_us_p999: Option<f64>,
    /// Microseconds of half of the turns in which the worker adopts a snapshot, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adoption_us_p50: Option<f64>,
    /// Likewise, of 999 in 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adoption_us_p999: Option<f64>,
    /// Milliseconds from a configuration's text to the checked configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_ms: Option<f64>,
    /// Milliseconds from there to the parts of a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compile_ms: Option<f64>,
    /// Milliseconds from there to the worker's running it, compiling included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) live_ms: Option<f64>,
    /// For people alone: the median of the paired ratios, and the number of rounds.
    #[serde(skip)]
    pub(crate) paired_ratio: Option<f64>,
    #[serde(skip)]
    pub(crate) n_rounds: usize,
}

impl Row {
    /// With the figures of one worker.
    pub(crate) fn with(self, figures: &Figures, clock: &Clock) -> Self {
        Self {
            workers: 1,
            source_cycles_p10: rounded(figures.source_p10),
            cycles_p10: rounded(figures.worker_p10),
            cycles_median: rounded(figures.worker_median),
            net_cycles_p10: rounded(figures.net_p10),
            net_cycles_median: rounded(figures.net_median),
            ratio_5tswap: rounded(figures.ratio),
            mpps: rounded(clock.hz / figures.worker_p10 / 1e6),
            rounds_kept: figures.n_kept,
            paired_ratio: rounded(figures.paired_ratio),
            n_rounds: figures.n_rounds,
            ..self
        }
    }
}

impl Row {
    /// With the times of bursts, if there were any.
    pub(crate) fn with_bursts(self, bursts: BurstSummary, clock: &Clock) -> Self {
        let us = |cycles: u64| (cycles != 0).then(|| clock.us(cycles));
        Self {
            burst_us_p50: us(bursts.p50).and_then(rounded),
            burst_us_p999: us(bursts.p999).and_then(rounded),
            ..self
        }
    }
}

/// To hundredths; more is noise.
pub(crate) fn rounded(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 100.0).round() / 100.0)
}

/// Prints rows as they come, and writes them down.
pub(crate) struct Report {
    json: Option<LineWriter<File>>,
    n_rows: usize,
}

impl Report {
    /// Writes JSON lines to `json`, if given.
    pub(crate) fn new(json: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            File::create(path)
                .map(LineWriter::new)
                .with_context(|| format!("{} cannot be written", path.display()))
        };
        Ok(Self {
            json: json.map(open).transpose()?,
            n_rows: 0,
        })
    }

    /// Prints a row.
    pub(crate) fn add(&mut self, row: &Row) -> Result<()> {
        if self.n_rows == 0 {
            println!(
                "{:<44} {:>6} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>7} {:>8} {:>7} {:>7} {:>11}",
                "case",
                "source",
                "p10",
                "median",
                "net p10",
                "net med",
                "ratio",
                "paired",
                "Mpps",
                "conn/s",
                "B/conn",
                "µs 99.9",
                "kept"
            );
        }
        self.n_rows += 1;
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let opened = row
            .new_connections_per_s
            .map_or_else(|| "-".to_owned(), |opened| format!("{:.2} M", opened / 1e6));
        println!(
            "{:<44} {:>6} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>7} {:>8} {:>7} {:>7} {:>11}",
            row.case,
            cell(row.source_cycles_p10, 1),
            cell(row.cycles_p10, 1),
            cell(row.cycles_median, 1),
            cell(row.net_cycles_p10, 1),
            cell(row.net_cycles_median, 1),
            cell(row.ratio_5tswap, 2),
            cell(row.paired_ratio, 2),
            cell(row.mpps, 2),
            opened,
            cell(row.bytes_per_connection, 1),
            cell(row.burst_us_p999, 1),
            format!("{}/{}", row.rounds_kept, row.n_rounds),
        );
        if let Row {
            adoption_us_p50: Some(p50),
            adoption_us_p999: Some(p999),
            read_ms: Some(read),
            compile_ms: Some(compile),
            live_ms: Some(live),
            ..
        } = row
        {
            println!(
                "  adoption {p50:.1} µs, 99.9 % {p999:.1} µs; text read in {read:.0} ms, compiled in {compile:.0} ms, \
                 live in {live:.0} ms"
            );
        }
        if let Some(json) = &mut self.json {
            writeln!(json, "{}", serde_json::to_string(row)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs rely on these names; others may follow.
    #[test]
    fn every_row_has_these_fields_and_others_only_where_they_mean_something() {
        let row = serde_json::to_value(Row::default()).unwrap();
        let mut names: Vec<_> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let mut expected = [
            "case",
            "method",
            "protocol",
            "direction",
            "flows",
            "workers",
            "source_cycles_p10",
            "cycles_p10",
            "cycles_median",
            "net_cycles_p10",
            "net_cycles_median",
            "ratio_5tswap",
            "mpps",
            "new_connections_per_s",
            "bytes_per_connection",
            "rounds_kept",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
