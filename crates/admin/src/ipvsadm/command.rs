//! A command line, understood.
//!
//! Promises: what ipvsadm 1.31 accepts becomes a [`Command`]; what it refuses becomes its words and its exit code, in
//! the order in which it finds fault.
//! Does not know: what is in the director's table; a valid command may still be refused there.
//!
//! How it works: the command stands first and chooses the vocabulary; options are taken in their order into a
//! [`Draft`]. Then the options are held against the command, and the draft becomes a command.

use weir_config::ipvs::{Edit, SchedulerFlags, ServiceName, Timeouts};

use super::arguments::Arguments;
use super::draft::{Draft, timeout};
use super::names::Names;
use super::rules::Verb;
use super::word::{Vocabulary, Word};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The table is to change.
    Edit(Edit),
    /// A service, the table or the like is to be shown.
    List(List),
    /// The table as commands that make it.
    Save(Format),
    /// Commands from standard input.
    Restore,
    /// `-G`.
    GetLocals(ServiceName),
    /// weir has no synchronisation daemon.
    StartDaemon,
    /// The same.
    StopDaemon,
}

/// What is to be listed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) what: Listed,
    pub(super) format: Format,
}

/// What is to be listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    All,
    Service(ServiceName),
    Connections,
    Timeouts,
    Daemon,
}

/// How it is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Figures in the place of names.
    pub(super) is_numeric: bool,
    /// Large numbers whole.
    pub(super) is_exact: bool,
    /// In the order of the table and not by address.
    pub(super) is_unsorted: bool,
    pub(super) columns: Columns,
}

/// Which columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Columns {
    #[default]
    Plain,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    TunnelInfo,
}

/// Why there is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Refused in one sentence, exit code 2.
    Refused(String),
    /// Not understood at all, exit code 255.
    TryHelp,
    /// Help is wanted.
    Help,
    /// The version is wanted.
    Version,
    /// A word that cannot be read, exit code 255; `-R` goes on behind it.
    Unreadable(String),
}

pub(super) fn refuse<T>(sentence: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(sentence.into()))
}

/// Reads `words`, which are those after the program's name.
pub(super) fn parse(words: &[String], names: &impl Names) -> Result<Command, Stop> {
    let mut arguments = Arguments::new(words);
    let verb = verb(&mut arguments)?;
    let vocabulary = vocabulary(verb);
    let mut draft = Draft::new();
    while let Some(next) = arguments.next(vocabulary) {
        let (word, argument) = next.map_err(|complaint| {
            Stop::Unreadable(format!("{}: {}", complaint.word, complaint.what))
        })?;
        match word {
            Word::Say(saying) => draft.take(saying, argument, names)?,
            Word::Do(_) | Word::Help | Word::Version => {
                return refuse(format!("invalid option `{}'", arguments.last()));
            }
        }
    }
    let timeouts = timeouts(verb, arguments.leftovers())?;
    let n_taken = if timeouts.is_some() { 3 } else { 0 };
    if let Some(unexpected) = arguments.leftovers().get(n_taken) {
        return refuse(format!("unexpected argument {unexpected}"));
    }
    let flags = scheduler_flags(&draft.scheduler, &draft.flags)?;
    // These commands are weir's; without what they need they are what ipvsadm takes them for.
    let is_added = matches!(verb, Verb::AddLocal | Verb::DeleteLocal | Verb::GetLocals);
    if is_added && !draft.given.suffices(verb) {
        return Err(Stop::TryHelp);
    }
    draft.given.check(verb).map_err(Stop::Refused)?;
    draft.into_command(verb, flags, timeouts)
}

/// The command, which stands first.
fn verb(arguments: &mut Arguments<'_>) -> Result<Verb, Stop> {
    let Some(Ok((word, argument))) = arguments.next(Vocabulary::Common) else {
        return Err(Stop::TryHelp);
    };
    let role = argument.as_deref();
    let has_role = role == Some("master") || role == Some("backup");
    match word {
        Word::Do(Verb::StartDaemon) if !has_role => {
            refuse("illegal start-daemon parameter specified")
        }
        Word::Do(Verb::StopDaemon) if !has_role => refuse("illegal start_daemon specified"),
        Word::Do(verb) => Ok(verb),
        Word::Help => Err(Stop::Help),
        Word::Version => Err(Stop::Version),
        Word::Say(_) => Err(Stop::TryHelp),
    }
}

fn vocabulary(verb: Verb) -> Vocabulary {
    match verb {
        Verb::AddServer | Verb::EditServer => Vocabulary::RealServer,
        Verb::AddLocal | Verb::DeleteLocal | Verb::GetLocals => Vocabulary::LocalAddress,
        Verb::AddService
        | Verb::EditService
        | Verb::DeleteService
        | Verb::Flush
        | Verb::List
        | Verb::DeleteServer
        | Verb::Set
        | Verb::StartDaemon
        | Verb::StopDaemon
        | Verb::Restore
        | Verb::Save
        | Verb::Zero => Vocabulary::Common,
    }
}

/// The three that `--set` takes.
fn timeouts(verb: Verb, leftovers: &[&str]) -> Result<Option<Timeouts>, Stop> {
    if verb != Verb::Set {
        return Ok(None);
    }
    let [tcp, tcp_fin, udp, ..] = leftovers else {
        return refuse("--set option requires 3 timeout values");
    };
    Ok(Some(Timeouts {
        tcp_s: timeout(tcp, 0)?,
        tcp_fin_s: timeout(tcp_fin, 0)?,
        udp_s: timeout(udp, 0)?,
    }))
}

/// What `-b` says, which depends on the scheduler.
fn scheduler_flags(scheduler: &str, text: &str) -> Result<SchedulerFlags, Stop> {
    let mut flags = SchedulerFlags::default();
    if text.is_empty() {
        return Ok(flags);
    }
    let scheduler = or_default(scheduler);
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (flag, only_of) = match name {
            "flag-1" => (SchedulerFlags::FIRST, None),
            "flag-2" => (SchedulerFlags::SECOND, None),
            "flag-3" => (SchedulerFlags::THIRD, None),
            "sh-fallback" => (SchedulerFlags::FIRST, Some("sh")),
            "sh-port" => (SchedulerFlags::SECOND, Some("sh")),
            "mh-fallback" => (SchedulerFlags::FIRST, Some("mh")),
            "mh-port" => (SchedulerFlags::SECOND, Some("mh")),
            _ => return refuse(format!("invalid scheduler flag `{name}'")),
        };
        if only_of.is_some_and(|only_of| only_of != scheduler) {
            return refuse(format!("incompatible scheduler flag `{name}'"));
        }
        flags = flags.with(flag);
    }
    Ok(flags)
}

/// The scheduler where none is named.
pub(super) fn or_default(scheduler: &str) -> &str {
    match scheduler {
        "" => "wlc",
        other => other,
    }
}
