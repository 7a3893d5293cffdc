//! Tunnels: from any byte stream to the hub, and the unix socket that carries them.
//!
//! Owns the handshake and the joining of stdio to the socket. Must not know what a request does.

use std::{
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nodewatch_protocol::{
    DecodeError, FromAgent, Hello, Lines, Request, Response, TUNNEL_SILENCE_SECONDS, ToAgent, VersionMismatch, decode,
    encode,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{hub::HubHandle, subscribers::Line};

/// Tunnels at once; further ones wait in the socket's own queue.
const TUNNELS: usize = 64;
/// Asks of one tunnel that may be under way; a peer that asks for more waits.
const ASKS: usize = 64;
/// Answers that may wait for one tunnel; a peer that asks without reading waits.
const ANSWERS: usize = 16;
/// Half lines longer than this are few.
const LONG: usize = 64 * 1024;
/// Tunnels together may have so many long half lines.
const LONG_LINES: usize = 8;
/// After a connection that could not be accepted, as when there are too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Room for long half lines, which all tunnels share.
static LONG_LINES_FREE: Semaphore = Semaphore::const_new(LONG_LINES);

/// How long the agent puts up with a peer that says nothing, or reads nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Another peer may come: this one is cut off after [`TUNNEL_SILENCE_SECONDS`].
    Tunnel,
    /// There is no other, and one that sleeps may wake up: the agent's lease is what ends it.
    Pipe,
}

impl Patience {
    fn silence(self) -> Option<Duration> {
        (self == Self::Tunnel).then(|| Duration::from_secs(TUNNEL_SILENCE_SECONDS))
    }
}

/// A tunnel or its socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The peer speaks another version.
    #[error(transparent)]
    Version(#[from] VersionMismatch),
    /// The peer's bytes are no protocol.
    #[error("the peer does not speak the protocol")]
    Protocol(#[from] DecodeError),
    /// The first line was no Hello, or a later one was.
    #[error("the peer sent a line out of order")]
    Order,
    /// The stream failed.
    #[error("the tunnel was cut")]
    Stream(#[from] io::Error),
    /// The peer said nothing for too long.
    #[error("no line came from the peer for {TUNNEL_SILENCE_SECONDS} s")]
    Silence,
    /// The peer reads nothing.
    #[error("the peer has read nothing for {TUNNEL_SILENCE_SECONDS} s")]
    Deaf,
    /// Too many peers are in the middle of a long line.
    #[error("{LONG_LINES} tunnels are in the middle of a line of more than {LONG} bytes")]
    LongLines,
    /// Somebody serves there.
    #[error("another agent is serving on the socket {0:?}")]
    Taken(PathBuf),
    /// What is there is not ours to remove.
    #[error("{0:?} exists and is not a socket")]
    NoSocket(PathBuf),
    /// The unix socket.
    #[error("cannot use the socket {path:?}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves one tunnel until its peer says goodbye, goes silent or is gone.
pub async fn serve<R, W>(reader: R, writer: W, hub: &HubHandle) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    serve_with(Patience::Tunnel, reader, writer, hub).await
}

/// Serves the one tunnel that there will be, until its peer says goodbye or is gone: silence is a peer that was
/// stopped.
pub async fn serve_pipe<R, W>(reader: R, writer: W, hub: &HubHandle) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    serve_with(Patience::Pipe, reader, writer, hub).await
}

async fn serve_with<R, W>(patience: Patience, mut reader: R, writer: W, hub: &HubHandle) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut output = Output { writer, patience };
    output.value(&FromAgent::Hello(Hello::of("nodewatch-agent", env!("CARGO_PKG_VERSION")))).await?;
    let mut input = Input { reader: &mut reader, lines: Lines::default(), patience, long: None };
    match input.next().await? {
        Some(ToAgent::Hello(hello)) => hello.check()?,
        Some(ToAgent::Request { .. }) => return Err(ServeError::Order),
        None => return Ok(()),
    }
    let _writing = hub.writing();
    let Some(updates) = hub.subscribe().await else { return Ok(()) };
    let (answers, queue) = mpsc::channel(ANSWERS);
    // Reading and writing side by side: a peer that does not read is still noticed when it goes silent.
    tokio::select! {
        read = read_requests(input, hub, answers) => read,
        written = write_lines(&mut output, updates, queue) => written,
    }
}

struct Input<'a, R> {
    reader: &'a mut R,
    lines: Lines,
    patience: Patience,
    /// The right to a long half line.
    long: Option<tokio::sync::SemaphorePermit<'static>>,
}

impl<R: AsyncRead + Unpin> Input<'_, R> {
    /// The next line's value; `None` at the end of the stream. A byte now and then is no line.
    async fn next(&mut self) -> Result<Option<ToAgent>, ServeError> {
        let mut buffer = [0; 8 * 1024];
        let silent_at = self.patience.silence().map(|silence| Instant::now() + silence);
        loop {
            if let Some(line) = self.lines.next_line()? {
                self.long = None;
                return Ok(Some(decode(&line)?));
            }
            if self.long.is_none() && self.lines.pending() > LONG {
                self.long = Some(LONG_LINES_FREE.try_acquire().map_err(|_| ServeError::LongLines)?);
            }
            let read = self.reader.read(&mut buffer);
            let read = match silent_at {
                Some(at) => timeout_at(at, read).await.map_err(|_| ServeError::Silence)??,
                None => read.await?,
            };
            if read == 0 {
                return Ok(None);
            }
            self.lines.push(&buffer[..read]);
        }
    }
}

/// Asks the hub in the order of the lines. Each answer goes back in its own time: one that waits for a disk holds up no
/// heartbeat.
async fn read_requests<R: AsyncRead + Unpin>(
    mut input: Input<'_, R>,
    hub: &HubHandle,
    answers: mpsc::Sender<FromAgent>,
) -> Result<(), ServeError> {
    let asks = Arc::new(Semaphore::new(ASKS));
    // One at a time, so that no tunnel scans a network.
    let probes = Arc::new(Semaphore::new(1));
    // Dropped with the tunnel, it ends the waiting.
    let mut waiting = JoinSet::new();
    while let Some(line) = input.next().await? {
        let ToAgent::Request { id, request } = line else { return Err(ServeError::Order) };
        let beat = matches!(request, Request::Heartbeat | Request::Goodbye);
        if beat {
            let last = request == Request::Goodbye;
            let Some(response) = hub.ask(request).await else { return Ok(()) };
            if last || answers.send(FromAgent::Response { id, response }).await.is_err() {
                return Ok(());
            }
            continue;
        }
        let Ok(turn) = Arc::clone(&asks).try_acquire_owned() else {
            let response = too_many();
            if answers.send(FromAgent::Response { id, response }).await.is_err() {
                return Ok(());
            }
            continue;
        };
        let answers = answers.clone();
        if let Request::Probe(_) = request {
            let (hub, probes) = (hub.clone(), Arc::clone(&probes));
            waiting.spawn(async move {
                let _turns = (turn, probes.acquire_owned().await);
                let answer = hub.ask(request).await;
                pass_on(id, answer, answers).await;
            });
        } else {
            let Some(answer) = hub.send(request).await else { return Ok(()) };
            waiting.spawn(async move {
                let _turn: OwnedSemaphorePermit = turn;
                pass_on(id, answer.await.ok(), answers).await;
            });
        }
        while waiting.try_join_next().is_some() {}
    }
    Ok(())
}

async fn pass_on(id: u64, answer: Option<Response>, answers: mpsc::Sender<FromAgent>) {
    if let Some(response) = answer {
        // The tunnel may be gone.
        let _ = answers.send(FromAgent::Response { id, response }).await;
    }
}

fn too_many() -> Response {
    Response::Refused(nodewatch_protocol::Refusal {
        kind: nodewatch_protocol::RefusalKind::State,
        message: format!("{ASKS} requests of this tunnel are already waiting for answers"),
        next_step: "wait for their answers".to_owned(),
    })
}

async fn write_lines<W: AsyncWrite + Unpin>(
    output: &mut Output<W>,
    mut updates: mpsc::Receiver<Line>,
    mut answers: mpsc::Receiver<FromAgent>,
) -> Result<(), ServeError> {
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => output.value(&answer).await?,
            update = updates.recv() => match update {
                Some(line) => output.line(&line).await?,
                None => return Ok(()),
            },
        }
    }
}

struct Output<W> {
    writer: W,
    patience: Patience,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    async fn value(&mut self, message: &FromAgent) -> Result<(), ServeError> {
        // Hellos and answers are short; the limit is for updates, which are encoded elsewhere.
        let line = encode(message).map_err(io::Error::other)?;
        self.line(&line).await
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), ServeError> {
        let writer = &mut self.writer;
        let write = async {
            writer.write_all(line).await?;
            writer.flush().await
        };
        match self.patience.silence() {
            Some(within) => timeout(within, write).await.map_err(|_| ServeError::Deaf)??,
            None => write.await?,
        }
        Ok(())
    }
}

/// Accepts tunnels on a unix socket that only this user can open, for good.
pub async fn listen(path: &Path, hub: HubHandle) -> Result<(), ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    make_way(path).await?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let turns = Arc::new(Semaphore::new(TUNNELS));
    loop {
        // Never closed.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if passes(&error) => {
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            let _turn = turn;
            let (reader, writer) = stream.into_split();
            // The peer has been told by the cut; the agent goes on for the others.
            let _ = serve(reader, writer, &hub).await;
        });
    }
}

/// A connection that could not be accepted says nothing of the next.
fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::AGAIN,
        Errno::PERM,
        Errno::PROTO,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

/// A restarted container finds the socket of the process before it, which goes; a living agent's stays.
async fn make_way(path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(facts) if !facts.file_type().is_socket() => return Err(ServeError::NoSocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
        // Also one whose queue is full.
        Ok(_) | Err(_) => return Err(ServeError::Taken(path.to_owned())),
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Joins a reader and a writer to the agent's socket, until either side ends or a write fails.
pub async fn connect<R, W>(path: &Path, mut reader: R, mut writer: W) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    let (mut from_agent, mut to_agent) = UnixStream::connect(path).await.map_err(failed)?.into_split();
    tokio::select! {
        up = tokio::io::copy(&mut reader, &mut to_agent) => up?,
        down = tokio::io::copy(&mut from_agent, &mut writer) => down?,
    };
    Ok(())
}

#[cfg(test)]
mod tests;
