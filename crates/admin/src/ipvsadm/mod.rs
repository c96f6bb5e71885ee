//! ipvsadm: its command line, its listings, its words.
//!
//! Promises: output, error texts and exit codes of ipvsadm 1.31, to the byte, from whatever table [`Ipvs`] holds; and
//! the commands that LVS's FULLNAT family adds. Where weir lacks what is asked for, one sentence and exit code 255.
//! Does not know: the admin socket, or how the director makes a change.
//!
//! # How it works
//!
//! | file | holds |
//! |---|---|
//! | `word` | commands and options, as they are written |
//! | `arguments` | a command line into words, by popt's rules |
//! | `rules` | which options a command needs and allows |
//! | `value`, `names` | numbers and addresses; names of hosts and services |
//! | `command`, `draft` | a command line, understood or refused; what its options have said so far |
//! | `listed` | the table as the daemon tells it |
//! | `order`, `listing`, `saving` | the table as text |
//! | `restoring` | lines of commands |
//! | `remote` | the table of a running daemon |

mod arguments;
mod command;
mod draft;
mod listed;
mod listing;
mod names;
mod order;
mod remote;
mod restoring;
mod rules;
mod saving;
mod value;
mod word;

use std::io::{self, Read, Write};

use weir_config::ipvs::{Edit, EditError, ServiceName, Timeouts};

use self::command::{Command, List, Listed, Stop};
use crate::command::Failure;
use crate::rows::ConnectionRow;

pub use listed::{ListedLocal, ListedServer, ListedService, Traffic};
pub use names::{Names, Services, SystemNames};
pub use remote::Remote;

const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";
const HELP: &str = include_str!("help.txt");

const DONE: u8 = 0;
/// A service that is to be listed and is none.
const EXIT_NOTHING_TO_LIST: u8 = 1;
/// Refused before anything is asked of the table.
const EXIT_USAGE: u8 = 2;
/// Refused by the table; -1 as a process says it.
const EXIT_REFUSED: u8 = 255;

/// As many changes travel together at most.
const CHANGES_AT_ONCE: usize = 10_000;

/// The table that is shown and changed.
pub trait Ipvs {
    /// All services, in the order in which they were added.
    fn services(&mut self) -> Result<Vec<ListedService>, Failure>;
    /// How long silent connections are kept.
    fn timeouts(&mut self) -> Result<Timeouts, Failure>;
    /// Makes changes, each after the one before it; one answer each, in their order. What is refused leaves no trace.
    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, Failure>;
    /// Hands all living connections to `take`, some at a time.
    fn connections(
        &mut self,
        take: impl FnMut(&[ConnectionRow]) -> io::Result<()>,
    ) -> Result<(), Failure>;
}

/// The three streams of a process.
pub struct Streams<'a, I, O, E> {
    /// Read by `-R` alone.
    pub input: &'a mut I,
    /// Tables.
    pub output: &'a mut O,
    /// Refusals.
    pub errors: &'a mut E,
}

/// Does what `words` say, which stand after `program` on the command line; returns the exit code.
pub fn ipvsadm<I: Read, O: Write, E: Write>(
    program: &str,
    words: &[String],
    ipvs: &mut impl Ipvs,
    names: &impl Names,
    streams: Streams<'_, I, O, E>,
) -> u8 {
    let mut performance = Performance {
        program,
        ipvs,
        names,
        streams,
        pending: Vec::new(),
    };
    let outcome = match words {
        // ipvsadm alone lists, with names.
        [] => performance.list(&List::default()),
        words => performance.do_words(words),
    };
    let code = outcome.unwrap_or_else(|end| performance.end(&end));
    // Nobody may be left to read it.
    let _ = performance.streams.output.flush();
    code
}

/// Why all of it ends here.
enum End {
    Stop(Stop),
    /// The daemon cannot be asked, or what is to be printed cannot be.
    Failure(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failure(Failure::Output(error))
    }
}

struct Performance<'a, T, N, I, O, E> {
    program: &'a str,
    ipvs: &'a mut T,
    names: &'a N,
    streams: Streams<'a, I, O, E>,
    /// Changes read by `-R` and not yet asked for.
    pending: Vec<Edit>,
}

impl<T: Ipvs, N: Names, I: Read, O: Write, E: Write> Performance<'_, T, N, I, O, E> {
    fn do_words(&mut self, words: &[String]) -> Result<u8, End> {
        match command::parse(words, self.names).map_err(End::Stop)? {
            Command::Restore => self.restore(),
            Command::Edit(edit) => {
                self.pending.push(edit);
                self.make_pending()
            }
            Command::List(list) => self.list(&list),
            Command::Save(format) => {
                let services = self.ipvs.services()?;
                let text = saving::commands(&services, format, self.names);
                self.print(&text)
            }
            Command::GetLocals(name) => match self.find(&name)? {
                Some(service) => self.print(&listing::locals(&service)),
                None => self.complain(&EditError::NoService.to_string(), EXIT_REFUSED),
            },
            Command::StartDaemon => self.complain(
                "weir has no connection synchronisation daemon; run a weir on each machine, and leave the address to keepalived",
                EXIT_REFUSED,
            ),
            Command::StopDaemon => self.complain("No daemon is running", EXIT_REFUSED),
        }
    }

    /// `-R`: the lines of standard input, one after the other. Changes are collected until something else is asked
    /// for; a line that cannot be read ends it, one that is refused does not. The last line's outcome is that of all.
    fn restore(&mut self) -> Result<u8, End> {
        let mut bytes = Vec::new();
        self.streams.input.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut code = DONE;
        for words in restoring::lines(&text) {
            let parsed = command::parse(&words, self.names);
            if let Ok(Command::Edit(edit)) = parsed {
                self.pending.push(edit);
                if self.pending.len() < CHANGES_AT_ONCE {
                    continue;
                }
                code = self.make_pending()?;
                continue;
            }
            self.make_pending()?;
            code = match parsed {
                // Standard input is being read already.
                Ok(Command::Restore) => return Err(End::Stop(Stop::TryHelp)),
                Err(Stop::Unreadable(sentence)) => self.complain(&sentence, EXIT_REFUSED)?,
                Ok(_) | Err(_) => self.do_words(&words)?,
            };
        }
        match self.pending.is_empty() {
            true => Ok(code),
            false => self.make_pending(),
        }
    }

    /// Asks for the changes collected; the outcome is that of the last one.
    fn make_pending(&mut self) -> Result<u8, End> {
        let edits = std::mem::take(&mut self.pending);
        if edits.is_empty() {
            return Ok(DONE);
        }
        let mut code = DONE;
        for outcome in self.ipvs.edit(edits)? {
            code = match outcome {
                Ok(()) => DONE,
                Err(error) => self.complain(&error.to_string(), EXIT_REFUSED)?,
            };
        }
        Ok(code)
    }

    fn list(&mut self, list: &List) -> Result<u8, End> {
        let format = list.format;
        match list.what {
            Listed::All => {
                let services = self.ipvs.services()?;
                self.print(&listing::table(&services, format, self.names))
            }
            Listed::Service(name) => match self.find(&name)? {
                Some(service) => self.print(&listing::one_service(&service, format, self.names)),
                None => self.complain(&EditError::NoService.to_string(), EXIT_NOTHING_TO_LIST),
            },
            Listed::Timeouts => {
                let timeouts = self.ipvs.timeouts()?;
                self.print(&listing::timeouts(timeouts))
            }
            Listed::Daemon => {
                // There is none; but whoever asks wants to know that the director is there.
                self.ipvs.timeouts()?;
                Ok(DONE)
            }
            Listed::Connections => {
                let (names, output) = (self.names, &mut *self.streams.output);
                let mut title = Some(listing::connections_title(format.columns));
                self.ipvs.connections(|rows| {
                    output.write_all(title.take().unwrap_or_default().as_bytes())?;
                    for row in rows {
                        output.write_all(listing::connection(row, format, names).as_bytes())?;
                    }
                    Ok(())
                })?;
                Ok(DONE)
            }
        }
    }

    fn find(&mut self, name: &ServiceName) -> Result<Option<ListedService>, End> {
        let services = self.ipvs.services()?;
        Ok(services
            .into_iter()
            .find(|listed| listed.service.name == *name))
    }

    fn print(&mut self, text: &str) -> Result<u8, End> {
        self.streams.output.write_all(text.as_bytes())?;
        Ok(DONE)
    }

    fn complain(&mut self, sentence: &str, code: u8) -> Result<u8, End> {
        // As with the output: the exit code says it too.
        let _ = writeln!(self.streams.errors, "{sentence}");
        Ok(code)
    }

    /// Says why it ends here. What lines before have asked for is done by now.
    fn end(&mut self, end: &End) -> u8 {
        let program = self.program;
        let (sentence, code) = match end {
            End::Stop(Stop::Refused(sentence)) => (format!("{sentence}\n"), EXIT_USAGE),
            End::Stop(Stop::Unreadable(sentence)) => (format!("{sentence}\n"), EXIT_REFUSED),
            End::Stop(Stop::TryHelp) => (
                format!("Try `{program} -h' or '{program} --help' for more information.\n"),
                EXIT_REFUSED,
            ),
            End::Stop(Stop::Version) => {
                let _ = self.streams.output.write_all(VERSION.as_bytes());
                return DONE;
            }
            End::Stop(Stop::Help) => {
                let text = VERSION.to_owned() + &HELP.replace("{program}", program);
                let _ = self.streams.output.write_all(text.as_bytes());
                return DONE;
            }
            // A reader that has seen enough is no failure.
            End::Failure(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return DONE;
            }
            End::Failure(failure) => (format!("{failure}\n"), EXIT_REFUSED),
        };
        let _ = self.streams.errors.write_all(sentence.as_bytes());
        code
    }
}
