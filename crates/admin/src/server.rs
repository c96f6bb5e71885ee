//! The connected clients, each bounded in everything.
//!
//! Promises: a client can be neither so many, so slow, so long-winded nor so wrong that another is not served, or
//! that the thread is held up for longer than one answer takes to write. Whoever may not speak is told so.
//! Does not know: what lines mean (`dispatch`).
//!
//! # How it works
//!
//! One task per client on the caller's own thread, which reads a line, has it answered, writes the answer and lets
//! others run before the next line. A client that does not read its answers stalls nobody but itself, and not for
//! long.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{self, LocalSet};
use tokio::time;

use crate::daemon::Daemon;
use crate::dispatch::{Answer, Dispatcher};
use crate::listener::{Listener, Owner};
use crate::protocol::{self, ErrorObject};

/// After a refused accept (out of file descriptors, say) the next one is tried this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many may be connected at once.
    pub clients: usize,
    /// How long a line may be: a configuration of ten thousand services fits.
    pub line_bytes: usize,
    /// How long a client may take to send a line.
    pub idle: Duration,
    /// How long a client may take to accept another piece of an answer.
    pub stalled: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 32,
            line_bytes: 16 << 20,
            idle: Duration::from_secs(600),
            stalled: Duration::from_secs(10),
        }
    }
}

/// The server of the admin socket.
pub struct Server<D> {
    listener: Listener,
    clients: Clients<D>,
}

impl<D: Daemon> Server<D> {
    /// Will answer for `daemon` whoever connects to `listener`.
    pub fn new(listener: Listener, daemon: Rc<D>, limits: Limits) -> Self {
        let clients = Clients(Rc::new(Shared {
            dispatcher: Dispatcher::new(daemon),
            limits,
            places: Arc::new(Semaphore::new(limits.clients)),
            owner: Owner::of_this_process(),
            stop: Notify::new(),
        }));
        Self { listener, clients }
    }

    /// Serves until a client has asked the daemon to stop and has been answered; then, or when dropped, all clients
    /// are disconnected and the socket's file is gone. To be called within a tokio runtime with I/O and time.
    ///
    /// Errors: the runtime does not take the socket.
    pub async fn serve(self) -> io::Result<()> {
        let Self { listener, clients } = self;
        let _file = listener.file;
        let socket = UnixListener::from_std(listener.socket)?;
        let stop = Rc::clone(&clients.0);
        let local = LocalSet::new();
        local
            .run_until(async {
                tokio::select! {
                    () = clients.accept_all(&socket) => {}
                    () = stop.stop.notified() => {}
                }
            })
            .await;
        Ok(())
    }
}

struct Clients<D>(Rc<Shared<D>>);

struct Shared<D> {
    dispatcher: Dispatcher<D>,
    limits: Limits,
    places: Arc<Semaphore>,
    /// Of the daemon itself.
    owner: Owner,
    stop: Notify,
}

impl<D: Daemon> Clients<D> {
    async fn accept_all(&self, socket: &UnixListener) {
        loop {
            match socket.accept().await {
                Ok((stream, _)) => self.admit(stream),
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn admit(&self, stream: UnixStream) {
        if !self.may_speak(&stream) {
            turn_away(
                &stream,
                "only root and the user and group that weir runs as may speak here; try sudo",
            );
            return;
        }
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            turn_away(
                &stream,
                "too many clients are connected to this weir; end some of them or try again later",
            );
            return;
        };
        let shared = Rc::clone(&self.0);
        task::spawn_local(async move {
            // A client that cannot be read from or written to has gone: there is nobody to tell.
            let _ = converse(stream, &shared).await;
            drop(place);
        });
    }

    fn may_speak(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| {
            let peer = Owner {
                user: peer.uid(),
                group: peer.gid(),
            };
            peer.may_speak_to(self.0.owner)
        })
    }
}

/// Says one sentence if the socket takes it at once, as a fresh one does.
fn turn_away(stream: &UnixStream, sentence: &str) {
    let error = ErrorObject::new(protocol::TURNED_AWAY, sentence);
    let line = protocol::answer(None, &Err(error)) + "\n";
    let _ = stream.try_write(line.as_bytes());
}

/// Reads and answers line after line until the client goes, is too slow, or says too much.
async fn converse<D: Daemon>(mut stream: UnixStream, shared: &Shared<D>) -> io::Result<()> {
    let limits = &shared.limits;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(limits.line_bytes as u64 + 1);
        time::timeout(limits.idle, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > limits.line_bytes {
            let sentence = format!(
                "a line may have {} bytes at most; `weir reload` without --config lets the daemon read its file itself",
                limits.line_bytes
            );
            let error = ErrorObject::new(protocol::INVALID_REQUEST, sentence);
            return send(
                &mut writer,
                protocol::answer(None, &Err(error)),
                limits.stalled,
            )
            .await;
        }
        let Answer { text, is_stop } = shared.dispatcher.answer(&line).await;
        let sent = match text {
            Some(text) => send(&mut writer, text, limits.stalled).await,
            None => Ok(()),
        };
        if is_stop {
            shared.stop.notify_one();
        }
        sent?;
        task::yield_now().await;
    }
}

async fn send(writer: &mut WriteHalf<'_>, mut text: String, stalled: Duration) -> io::Result<()> {
    text.push('\n');
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let n_sent = time::timeout(stalled, writer.write(rest)).await??;
        if n_sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(n_sent..).unwrap_or_default();
    }
    Ok(())
}
