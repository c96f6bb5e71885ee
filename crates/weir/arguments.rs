//! The command line: what may be written after `weir`, and the words that explain it.
//!
//! Promises: wrong usage exits with code 2 and says what would be right; `--help` exits with 0. There is no
//! subcommand here that does not work.
//! Does not know: what any of it does.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use weir_admin::{Attempt, DEFAULT_SOCKET, Format, ServiceLabel, Table, View};

/// Wrong usage.
const EXIT_USAGE: i32 = 2;
/// How often `--watch` prints again.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
const READY_MADE: &str = "configs/fullnat-two-arm.ron";

/// What `weir` says when it is started with nothing to do.
const FIRST_STEPS: &str = "\
weir, a layer-4 load balancer on DPDK. It needs to be told what to do; to try it:

  cargo xtask demo
      see it serve real clients, in a network of its own
  weir check --config configs/fullnat-two-arm.ron
      see whether a configuration is right
  weir run --config configs/fullnat-two-arm.ron
      run it, once your own interfaces and addresses are in the file
  weir status
      ask the running weir how it is

`weir --help` lists all commands, `weir help COMMAND` explains one.
";

/// A layer-4 load balancer that owns its NICs through DPDK. The same binary is the daemon (`weir run`) and the client
/// that asks it, over its admin socket.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    arg_required_else_help = false,
    after_help = "Exit codes: 0 done, 1 refused or invalid, 2 wrong usage, 3 the daemon cannot be reached."
)]
pub(crate) struct Arguments {
    /// The daemon's admin socket [default: /run/weir/admin.sock, for `run` that of the configuration]
    #[arg(long, global = true, value_name = "PATH", env = "WEIR_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Those of this process. Does not return if they are wrong, or if they ask for help or the version.
    pub(crate) fn of_this_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| explain(error))
    }

    /// The socket that a client connects to.
    pub(crate) fn client_socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(DEFAULT_SOCKET))
    }
}

/// What was said to ipvsadm.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ipvsadm {
    /// What it was called.
    pub(crate) program: String,
    /// What stands behind.
    pub(crate) words: Vec<String>,
    /// The daemon's admin socket.
    pub(crate) socket: PathBuf,
}

/// Whether this process was called `ipvsadm`, or as `weir ipvsadm`: then every word behind is ipvsadm's, `--help` and
/// `--socket` included, and clap has no part in it.
pub(crate) fn ipvsadm_of_this_process() -> Option<Ipvsadm> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    read_ipvsadm(
        words.collect(),
        std::env::var_os("WEIR_SOCKET").map(PathBuf::from),
    )
}

fn read_ipvsadm(words: Vec<String>, socket: Option<PathBuf>) -> Option<Ipvsadm> {
    let (program, rest) = words.split_first()?;
    let mut socket = socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
    if Path::new(program).file_name() == Some("ipvsadm".as_ref()) {
        return Some(Ipvsadm {
            program: program.clone(),
            words: rest.to_vec(),
            socket,
        });
    }
    let mut rest = rest;
    loop {
        rest = match rest {
            [word, path, rest @ ..] if word == "--socket" => {
                socket = PathBuf::from(path);
                rest
            }
            [word, words @ ..] if word == "ipvsadm" => {
                return Some(Ipvsadm {
                    program: "ipvsadm".to_owned(),
                    words: words.to_vec(),
                    socket,
                });
            }
            [word, rest @ ..] => match word.strip_prefix("--socket=") {
                Some(path) => {
                    socket = PathBuf::from(path);
                    rest
                }
                None => return None,
            },
            [] => return None,
        };
    }
}

fn explain(mut error: clap::Error) -> ! {
    match error.kind() {
        ErrorKind::MissingSubcommand => {
            eprint!("{FIRST_STEPS}");
            process::exit(EXIT_USAGE)
        }
        ErrorKind::MissingRequiredArgument => {
            let tip = format!("{READY_MADE} is a configuration to start from");
            error.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![tip.into()]),
            );
            error.exit()
        }
        _ => error.exit(),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground, logging to standard error
    ///
    /// SIGTERM and SIGINT end it in order, SIGHUP reloads its file. It needs root, or the rights to the devices,
    /// memory and CPUs that its configuration names.
    Run(Run),
    /// Say whether a configuration is right, without a daemon
    ///
    /// Every error stands on a line of its own, `FILE:LINE:COLUMN: what is wrong; what would be right`, and the exit
    /// code is 1. If there is none, one line says what the configuration would take.
    Check(Check),
    /// Make the running state that of a file, all or nothing
    ///
    /// Prints what changes. Connections that exist go on, those to destinations that are removed too. Services that
    /// were made by other means and are not in the file go.
    Reload(Reload),
    /// The running configuration
    #[command(subcommand)]
    Config(Config),
    #[command(flatten)]
    Show(Show),
    /// The commands of ipvsadm, to the letter: `weir ipvsadm -ln`; also under a link named ipvsadm
    ///
    /// Everything behind is read as ipvsadm 1.31 reads it, and output and exit codes are ipvsadm's; 255 if the daemon
    /// cannot be reached.
    #[command(disable_help_flag = true)]
    Ipvsadm(IpvsadmWords),
    /// End the daemon in order; returns when it has ended
    Stop,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration; `weir check` reads it too
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One object per line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct IpvsadmWords {
    /// As on ipvsadm's command line
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// The configuration; left out: the file that the daemon was started with, as it is now
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only print what would change; exit code 0 if the file is valid
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    /// Whether it is meant.
    pub(crate) fn attempt(&self) -> Attempt {
        match self.dry_run {
            true => Attempt::DryRun,
            false => Attempt::Apply,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Write the running configuration as RON, as `weir run` and `weir reload` read it
    Save(Save),
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Where to; left out: standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Show {
    /// The daemon at a glance, and what an operator should look at
    Status(Form),
    /// NIC ports: link, counters, and how flows find their worker on each and why
    Ports(Form),
    /// Services and their destinations
    Services(Form),
    /// Living connections
    Connections(Connections),
    /// Next hops and their MAC addresses
    Neighbours(Form),
    /// Routes
    Routes(Form),
    /// Packets dropped, by reason, and what each reason means
    Drops(Form),
    /// Workers: CPU, load, packets handed over to each other
    Workers(Form),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Form {
    /// One array of objects on one line, for programs
    #[arg(long)]
    json: bool,
    /// Print it again every second until interrupted
    #[arg(long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    form: Form,
    /// Only those of this service, as in tcp/192.0.2.100:80
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceLabel>,
    /// Only those of this client address, from whatever L4 port
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
}

impl Show {
    /// What is to be shown, and how.
    pub(crate) fn view(&self) -> View {
        match *self {
            Self::Status(form) => form.view(Table::Status),
            Self::Ports(form) => form.view(Table::Ports),
            Self::Services(form) => form.view(Table::Services),
            Self::Connections(Connections {
                form,
                service,
                client,
            }) => form.view(Table::Connections { service, client }),
            Self::Neighbours(form) => form.view(Table::Neighbours),
            Self::Routes(form) => form.view(Table::Routes),
            Self::Drops(form) => form.view(Table::Drops),
            Self::Workers(form) => form.view(Table::Workers),
        }
    }
}

impl Form {
    fn view(self, table: Table) -> View {
        View {
            table,
            format: match self.json {
                true => Format::Json,
                false => Format::People,
            },
            every: self.watch.then_some(WATCH_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap()
    }

    fn refusal(line: &str) -> clap::Error {
        Arguments::try_parse_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "weir run --config a.ron",
            "weir run --config a.ron --log-format json --socket /tmp/a.sock",
            "weir check --config a.ron",
            "weir reload",
            "weir reload --config a.ron --dry-run",
            "weir config save",
            "weir config save --output a.ron",
            "weir status --json",
            "weir ports",
            "weir services --watch",
            "weir connections --json --service tcp/192.0.2.100:80 --client 198.51.100.7",
            "weir neighbours",
            "weir routes",
            "weir drops --json --watch",
            "weir workers --json --socket /tmp/a.sock",
            "weir --socket /tmp/a.sock stop",
        ] {
            read(line);
        }
    }

    #[test]
    fn wrong_usage_has_exit_code_2() {
        for line in [
            "weir",
            "weir run",
            "weir check",
            "weir config",
            "weir balance",
            "weir status --yaml",
            "weir run --config a.ron --log-format xml",
            "weir connections --service 192.0.2.100:80",
            "weir connections --client www",
        ] {
            assert_eq!(refusal(line).exit_code(), EXIT_USAGE, "{line}");
        }
        assert_eq!(refusal("weir --help").exit_code(), 0);
        assert_eq!(refusal("weir --version").exit_code(), 0);
    }

    #[test]
    fn nothing_at_all_is_told_from_other_wrong_usage() {
        assert_eq!(refusal("weir").kind(), ErrorKind::MissingSubcommand);
        assert_eq!(
            refusal("weir run").kind(),
            ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn the_first_steps_are_commands_that_there_are() {
        let commands = FIRST_STEPS
            .lines()
            .filter_map(|line| line.strip_prefix("  weir "));
        let mut n_commands = 0;
        for command in commands {
            read(&format!("weir {command}"));
            n_commands += 1;
        }
        assert_eq!(n_commands, 3);
    }

    #[test]
    fn the_socket_may_stand_before_and_behind_the_command() {
        for line in [
            "weir --socket /tmp/a.sock stop",
            "weir stop --socket /tmp/a.sock",
        ] {
            assert_eq!(read(line).client_socket(), Path::new("/tmp/a.sock"));
        }
    }

    #[test]
    fn what_is_said_to_ipvsadm_is_not_read_here() {
        let said = |line: &str| {
            let words = line.split(' ').map(str::to_owned).collect();
            read_ipvsadm(words, None)
        };
        let expected = |program: &str, words: &[&str], socket: &str| {
            Some(Ipvsadm {
                program: program.to_owned(),
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                socket: PathBuf::from(socket),
            })
        };
        assert_eq!(
            said("/sbin/ipvsadm -ln --help"),
            expected("/sbin/ipvsadm", &["-ln", "--help"], DEFAULT_SOCKET)
        );
        assert_eq!(
            said("weir --socket=/a ipvsadm -S -n --socket"),
            expected("ipvsadm", &["-S", "-n", "--socket"], "/a")
        );
        assert_eq!(
            said("weir --socket /a ipvsadm"),
            expected("ipvsadm", &[], "/a")
        );
        assert_eq!(said("weir status ipvsadm"), None);
        assert_eq!(said("weir"), None);
    }

    #[test]
    fn a_table_is_shown_as_asked() {
        let Command::Show(show) = read("weir drops --json --watch").command else {
            panic!("drops is a table");
        };
        let view = View {
            table: Table::Drops,
            format: Format::Json,
            every: Some(WATCH_PAUSE),
        };
        assert_eq!(show.view(), view);
    }
}
