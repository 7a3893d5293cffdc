//! Tunnels: from any byte stream to the hub, and the unix socket that carries them.
//!
//! Owns the handshake and the joining of stdio to the socket. Must not know what a request does.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nodewatch_protocol::{
    DecodeError, FromAgent, Hello, Lines, Request, TUNNEL_SILENCE_SECONDS, ToAgent, VersionMismatch, decode, encode,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::timeout,
};

use crate::{hub::HubHandle, subscribers::Line};

/// Answers that may wait for one tunnel; a peer that asks without reading waits.
const ANSWERS: usize = 16;

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
    #[error("nothing came from the peer for {TUNNEL_SILENCE_SECONDS} s")]
    Silence,
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
pub async fn serve<R, W>(mut reader: R, mut writer: W, hub: &HubHandle) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let hello = FromAgent::Hello(Hello::of("nodewatch-agent", env!("CARGO_PKG_VERSION")));
    write_line(&mut writer, &hello).await?;
    let mut input = Input { reader: &mut reader, lines: Lines::default() };
    match input.next().await? {
        Some(ToAgent::Hello(hello)) => hello.check()?,
        Some(ToAgent::Request { .. }) => return Err(ServeError::Order),
        None => return Ok(()),
    }
    let Some(updates) = hub.subscribe().await else { return Ok(()) };
    let (answers, queue) = mpsc::channel(ANSWERS);
    // Reading and writing side by side: a peer that does not read is still noticed when it goes silent.
    tokio::select! {
        read = read_requests(input, hub, answers) => read,
        written = write_lines(&mut writer, updates, queue) => written,
    }
}

struct Input<'a, R> {
    reader: &'a mut R,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Input<'_, R> {
    /// The next line's value; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<ToAgent>, ServeError> {
        let mut buffer = [0; 8 * 1024];
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(Some(decode(&line)?));
            }
            let silence = Duration::from_secs(TUNNEL_SILENCE_SECONDS);
            let read = timeout(silence, self.reader.read(&mut buffer)).await.map_err(|_| ServeError::Silence)??;
            if read == 0 {
                return Ok(None);
            }
            self.lines.push(&buffer[..read]);
        }
    }
}

async fn read_requests<R: AsyncRead + Unpin>(
    mut input: Input<'_, R>,
    hub: &HubHandle,
    answers: mpsc::Sender<FromAgent>,
) -> Result<(), ServeError> {
    while let Some(line) = input.next().await? {
        let ToAgent::Request { id, request } = line else { return Err(ServeError::Order) };
        let last = request == Request::Goodbye;
        let Some(response) = hub.ask(request).await else { return Ok(()) };
        if last || answers.send(FromAgent::Response { id, response }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn write_lines<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut updates: mpsc::Receiver<Line>,
    mut answers: mpsc::Receiver<FromAgent>,
) -> Result<(), ServeError> {
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => write_line(writer, &answer).await?,
            update = updates.recv() => match update {
                Some(line) => {
                    writer.write_all(&line).await?;
                    writer.flush().await?;
                }
                None => return Ok(()),
            },
        }
    }
}

async fn write_line<W: AsyncWrite + Unpin>(writer: &mut W, message: &FromAgent) -> Result<(), ServeError> {
    // Hellos and answers are short; the limit is for updates, which are encoded elsewhere.
    let line = encode(message).map_err(io::Error::other)?;
    writer.write_all(&line).await?;
    writer.flush().await?;
    Ok(())
}

/// Accepts tunnels on a unix socket that only this user can open, for good.
pub async fn listen(path: &Path, hub: HubHandle) -> Result<(), ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    // A restarted container finds the socket of the process before it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let hub = hub.clone();
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            // The peer has been told by the cut; the agent goes on for the others.
            let _ = serve(reader, writer, &hub).await;
        });
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
