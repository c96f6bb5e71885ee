//! `cargo xtask bench`: how fast a worker is, in cycles, and in instructions, which are the same in every run.
//!
//! Promises: what is measured is built first, as an appliance is; with `--record` the outcome is kept under `perf/`
//! with machine and commit; more instructions a packet than recorded are a failure.
//! Does not know: how a packet is measured (`crates/bench`), nor what the figures mean (`perf/README.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use serde_json::{Value, json};

use crate::build::{cargo, workspace_root};
use crate::plot;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Under two minutes: no 10 M flows, fewer rounds
    #[arg(long)]
    quick: bool,
    /// Writes JSON lines there
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long)]
    case: Option<String>,
    /// Counts instructions a packet instead, and compares them with those recorded
    #[arg(long, conflicts_with_all = ["quick", "json", "case"])]
    instructions: bool,
    /// Keeps the outcome in perf/
    #[arg(long)]
    record: bool,
}

/// By how much instructions a packet may exceed those recorded, in percent.
const TOLERANCE_PERCENT: f64 = 3.0;
/// The function that callgrind counts.
const WINDOW: &str = "weir_bench::instructions::measured_window";

/// Measures, or counts.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.instructions {
        return run_instructions(arguments.record);
    }
    let (binary, folder) = build()?;
    let lines = folder.join("rows.json");
    let mut command = Command::new(binary);
    command.arg("--json").arg(&lines);
    if arguments.quick {
        command.arg("--quick");
    }
    if let Some(case) = &arguments.case {
        command.args(["--case", case]);
    }
    let status = command
        .status()
        .context("the benchmark cannot be started")?;
    ensure!(
        status.success(),
        "the benchmark failed; its words are above"
    );
    if let Some(path) = &arguments.json {
        std::fs::copy(&lines, path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if arguments.record {
        let rows = std::fs::read_to_string(&lines).context("the benchmark's rows")?;
        let (record, plot) = record(&rows)?;
        println!(
            "Recorded in {}, plotted in {}",
            record.display(),
            plot.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the benchmark. Returns it, and a folder of its own for what it writes.
fn build() -> Result<(PathBuf, PathBuf)> {
    let status = cargo(&["build", "--quiet", "--release", "--package", "weir-bench"])?
        .status()
        .context("cargo cannot be started")?;
    ensure!(
        status.success(),
        "the benchmark does not build; the compiler's words are above"
    );
    let metadata = MetadataCommand::new()
        .no_deps()
        .current_dir(workspace_root()?)
        .exec()?;
    let folder = metadata.target_directory.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| folder.to_string())?;
    let binary = metadata.target_directory.join("release/weir-bench");
    Ok((binary.into(), folder.into()))
}

/// Writes rows down with all that says what they were measured on, and a plot of them beside. Returns both.
fn record(lines: &str) -> Result<(PathBuf, PathBuf)> {
    let rows: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the benchmark's rows are JSON")?;
    let date = words_of("date", &["--utc", "+%F"])?;
    let commit = words_of("git", &["rev-parse", "--short", "HEAD"])?;
    let changes = words_of("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let kept = json!({
        "date": date,
        "commit": commit,
        "changed_since_commit": !changes.is_empty(),
        "compiler": words_of("rustc", &["--version"])?,
        "machine": machine(&rows)?,
        "rows": rows,
    });
    let folder = workspace_root()?.join("perf/record");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{date}-{commit}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&kept)? + "\n")?;
    let plot_path = path.with_extension("svg");
    plot::draw(&kept, &plot_path)?;
    Ok((path, plot_path))
}

fn machine(rows: &[Value]) -> Result<Value> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    Ok(json!({
        "processor": model,
        "tsc_ghz": tsc_ghz(rows),
        "cores": std::thread::available_parallelism()?.get(),
        "kernel": words_of("uname", &["--kernel-release"])?,
    }))
}

/// The rate of the time-stamp counter, by which rows tell cycles: those a packet took times packets a second.
fn tsc_ghz(rows: &[Value]) -> Option<f64> {
    let of_one_worker = rows.iter().filter(|row| row["workers"] == 1);
    let factors =
        of_one_worker.filter_map(|row| Some((row["mpps"].as_f64()?, row["cycles_p10"].as_f64()?)));
    // The larger the first, the less its rounding matters.
    factors
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(mpps, cycles)| (mpps * cycles / 10.0).round() / 100.0)
}

/// What a program says on standard output.
fn words_of(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(words)
        .current_dir(workspace_root()?)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    ensure!(output.status.success(), "{program} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// How the count of instructions compares with the one recorded.
pub(crate) enum Gate {
    /// All cases are within the tolerance.
    Passed,
    /// What is not, a sentence each.
    Failed(Vec<String>),
    /// It could not be compared, and why.
    Skipped(String),
}

/// Counts instructions a packet and compares them with those recorded for this compiler.
pub(crate) fn instruction_gate() -> Result<Gate> {
    if !has_callgrind() {
        return Ok(Gate::Skipped(
            "valgrind is missing: run `apt-get install valgrind`".to_owned(),
        ));
    }
    let compiler = words_of("rustc", &["--version"])?;
    let path = recorded_instructions()?;
    let Ok(recorded) = std::fs::read_to_string(&path) else {
        return Ok(Gate::Skipped(format!(
            "{} is missing; `cargo xtask bench --instructions --record` writes it",
            path.display()
        )));
    };
    let recorded: Value = serde_json::from_str(&recorded).context("perf/instructions.json")?;
    if recorded["compiler"] != compiler.as_str() {
        return Ok(Gate::Skipped(format!(
            "instructions were recorded for {}, this is {compiler}",
            recorded["compiler"]
        )));
    }
    let before: BTreeMap<String, f64> =
        serde_json::from_value(recorded["instructions_a_packet"].clone())
            .context("perf/instructions.json")?;
    let now = count_instructions()?;
    print_instructions(&now, &before);
    let differences = differences(&now, &before);
    Ok(if differences.is_empty() {
        Gate::Passed
    } else {
        Gate::Failed(differences)
    })
}

fn run_instructions(is_recorded: bool) -> Result<ExitCode> {
    if !is_recorded {
        return Ok(match instruction_gate()? {
            Gate::Passed => ExitCode::SUCCESS,
            Gate::Failed(differences) => {
                differences
                    .iter()
                    .for_each(|sentence| println!("{sentence}"));
                ExitCode::FAILURE
            }
            Gate::Skipped(reason) => {
                println!("Not compared: {reason}");
                if has_callgrind() {
                    print_instructions(&count_instructions()?, &BTreeMap::new());
                }
                ExitCode::SUCCESS
            }
        });
    }
    let now = count_instructions()?;
    print_instructions(&now, &BTreeMap::new());
    let kept = json!({
        "compiler": words_of("rustc", &["--version"])?,
        "instructions_a_packet": now,
    });
    let path = recorded_instructions()?;
    std::fs::write(&path, serde_json::to_string_pretty(&kept)? + "\n")
        .with_context(|| path.display().to_string())?;
    println!("Recorded in {}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn recorded_instructions() -> Result<PathBuf> {
    Ok(workspace_root()?.join("perf/instructions.json"))
}

fn has_callgrind() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Instructions a packet of each case, those of the source taken off, to tenths.
fn count_instructions() -> Result<BTreeMap<String, f64>> {
    let (binary, folder) = build()?;
    let counts = folder.join("callgrind");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        // Each call is counted alone, and its count written to a file of its own.
        .args([
            format!("--toggle-collect={WINDOW}"),
            format!("--dump-after={WINDOW}"),
        ])
        .arg(binary)
        .arg("--instructions")
        .output()
        .context("valgrind cannot be started")?;
    ensure!(
        output.status.success(),
        "counting instructions failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut instructions = BTreeMap::new();
    let mut of_source = 0.0;
    for (place, line) in String::from_utf8(output.stdout)?.lines().enumerate() {
        let (name, n_packets) = line.split_once(' ').context("a name and a number")?;
        let count = summary(&counts.with_extension((place + 1).to_string()))?;
        let a_packet = count / n_packets.parse::<f64>()?;
        if name == "source" {
            of_source = a_packet;
        } else {
            let net = ((a_packet - of_source) * 10.0).round() / 10.0;
            instructions.insert(name.to_owned(), net);
        }
    }
    Ok(instructions)
}

/// The sum in one of callgrind's files.
fn summary(path: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let sum = text.lines().find_map(|line| line.strip_prefix("summary: "));
    Ok(sum.context("callgrind wrote no sum")?.trim().parse()?)
}

fn print_instructions(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) {
    println!("Instructions a packet, those of the source taken off:");
    for (case, count) in now {
        match before.get(case) {
            Some(before) => println!("  {case:<44} {count:>8.1}   recorded {before:>8.1}"),
            None => println!("  {case:<44} {count:>8.1}"),
        }
    }
}

/// What costs more than recorded, the tolerance included, and what was never recorded.
fn differences(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> Vec<String> {
    let mut sentences = Vec::new();
    for (case, count) in now {
        let Some(before) = before.get(case) else {
            sentences.push(format!("{case}: not recorded; record it"));
            continue;
        };
        let percent = (count / before - 1.0) * 100.0;
        if percent > TOLERANCE_PERCENT {
            sentences.push(format!(
                "{case}: {count:.1} instructions a packet, {percent:.1} % more than the {before:.1} recorded"
            ));
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([("udp".to_owned(), count)])
    }

    #[test]
    fn more_than_three_percent_more_is_too_much() {
        assert!(differences(&counts(102.9), &counts(100.0)).is_empty());
        assert!(differences(&counts(50.0), &counts(100.0)).is_empty());
        assert_eq!(differences(&counts(103.1), &counts(100.0)).len(), 1);
        assert_eq!(differences(&counts(1.0), &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn the_rate_of_the_counter_follows_from_a_row() {
        let rows = [
            json!({"workers": 1, "mpps": null, "cycles_p10": null}),
            json!({"workers": 2, "mpps": 33.0, "cycles_p10": 164.0}),
            json!({"workers": 1, "mpps": 0.59, "cycles_p10": 4_600.0}),
            json!({"workers": 1, "mpps": 17.42, "cycles_p10": 155.0}),
        ];
        assert_eq!(tsc_ghz(&rows), Some(2.7));
        assert_eq!(tsc_ghz(&rows[..1]), None);
    }

    #[test]
    fn the_sum_is_read_from_what_callgrind_writes() {
        let path = std::env::temp_dir().join(format!("weir-callgrind-{}", std::process::id()));
        std::fs::write(&path, "version: 1\nsummary: 4096\n\nfn=(1) a\n").unwrap();
        assert_eq!(summary(&path).unwrap(), 4096.0);
        std::fs::remove_file(&path).unwrap();
    }
}
