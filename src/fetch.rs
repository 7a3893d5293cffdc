//! One capture file from an agent's ring to the laptop: resumed after a cut, checked against its SHA-256.
//!
//! Owns the partial file and its renaming. Must not know what carries the bytes.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use nodewatch_protocol::{CaptureFile, Request, Response};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    agent_client::{Ask, back_off},
    model::{FetchProgress, NodeName, Notice},
    site::{FilePart, Site},
};

/// Cuts in a row, without a byte in between, after which a fetch gives up.
const MAX_EMPTY_TRIES: u32 = 8;
/// A stream that brings nothing for so long is cut.
const STALLED: Duration = Duration::from_secs(20);

/// A file could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("cannot write {path:?}")]
    Local {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent does not say what the file's checksum is: {0}")]
    NoChecksum(String),
    #[error("the stream brought nothing {MAX_EMPTY_TRIES} times in a row: {0}")]
    Cut(String),
    #[error("the file's SHA-256 is {found}, the agent says {expected}")]
    Checksum { found: String, expected: String },
}

/// What to fetch and where to.
pub struct Fetch {
    /// The node whose agent has it.
    pub node: NodeName,
    /// The file.
    pub file: CaptureFile,
    /// The folder it goes to, made where it is missing.
    pub folder: PathBuf,
    /// The way to its agent's tunnel.
    pub asks: mpsc::Sender<Ask>,
}

impl Fetch {
    /// Does it, telling how it goes; the last thing told is `Done` or `Failed`.
    pub async fn run(self, site: &dyn Site, progress: impl Fn(FetchProgress)) {
        let outcome = match self.attempt(site, &progress).await {
            Ok((path, sha256)) => FetchProgress::Done { path, sha256 },
            Err(error) => {
                let next_step = match error {
                    FetchError::Local { .. } => "make room, or choose another folder with --out",
                    _ => "press Enter on the file to try again; it stays on the node until then",
                };
                let headline = format!("{} of {} was not fetched", self.file.name, self.node);
                FetchProgress::Failed(Notice::error(headline, crate::text::chain(&error), next_step))
            }
        };
        progress(outcome);
    }

    async fn attempt(
        &self,
        site: &dyn Site,
        progress: &impl Fn(FetchProgress),
    ) -> Result<(PathBuf, String), FetchError> {
        let local = |path: &Path| {
            let path = path.to_owned();
            move |source| FetchError::Local { path, source }
        };
        fs::create_dir_all(&self.folder).await.map_err(local(&self.folder))?;
        // The name comes from an agent; only its last component is ever used.
        let name = Path::new(&self.file.name).file_name().unwrap_or_else(|| "capture.pcapng".as_ref());
        let whole = self.folder.join(name);
        let mut part = whole.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let fetched = self.fetch_part(site, &part, progress).await;
        let done = match fetched {
            Ok(sum) => kept(&part, &whole, &sum).await.map(|path| (path, sum)).map_err(local(&whole)),
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                let (answer, _nobody_waits) = oneshot::channel();
                // An agent that does not hear it keeps the file longer than it must, and no more.
                let _ = self.asks.try_send(Ask { request: Request::Fetched { file: self.file.name.clone() }, answer });
                Ok(done)
            }
            Err(error) => {
                // A part, or a wrong file, must not be mistaken for a capture, nor take room that is short.
                let _ = fs::remove_file(&part).await;
                Err(error)
            }
        }
    }

    /// The file's bytes into that file, on the disk and checked; their sum.
    async fn fetch_part(
        &self,
        site: &dyn Site,
        part: &Path,
        progress: &impl Fn(FetchProgress),
    ) -> Result<String, FetchError> {
        let local = |source| FetchError::Local { path: part.to_owned(), source };
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut output = options.open(part).await.map_err(local)?;
        let mut hash = Sha256::new();
        let mut have = 0;
        let mut empty_tries = 0;
        while have < self.file.size {
            let before = have;
            let cut = self.read_on(site, &mut output, part, &mut hash, &mut have, progress).await?;
            empty_tries = if have > before { 0 } else { empty_tries + 1 };
            if let Some(reason) = cut {
                if empty_tries >= MAX_EMPTY_TRIES {
                    return Err(FetchError::Cut(reason));
                }
                progress(FetchProgress::Resuming { have, reason });
                back_off(empty_tries + 1).await;
            }
        }
        output.sync_all().await.map_err(local)?;

        let found = crate::text::hex(&hash.finalize());
        let expected = self.checksum().await?;
        if found != expected {
            return Err(FetchError::Checksum { found, expected });
        }
        Ok(found)
    }

    /// Reads from one stream until the file is whole or the stream is cut, and then says why.
    async fn read_on(
        &self,
        site: &dyn Site,
        output: &mut File,
        part: &Path,
        hash: &mut Sha256,
        have: &mut u64,
        progress: &impl Fn(FetchProgress),
    ) -> Result<Option<String>, FetchError> {
        let length = self.file.size - *have;
        let wanted = FilePart { file: self.file.name.clone(), offset: *have, length };
        let mut bulk = match timeout(STALLED, site.fetch(&self.node, wanted)).await {
            Ok(Ok(bulk)) => bulk,
            Ok(Err(error)) => return Ok(Some(error.to_string())),
            Err(_) => return Ok(Some("the stream did not open in time".to_owned())),
        };
        let mut buffer = vec![0; 128 * 1024];
        while *have < self.file.size {
            let room = buffer.len().min((self.file.size - *have) as usize);
            let read = match timeout(STALLED, bulk.reader.read(&mut buffer[..room])).await {
                Ok(Ok(0)) => return Ok(Some("the stream ended early".to_owned())),
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return Ok(Some(error.to_string())),
                Err(_) => return Ok(Some("the stream stalled".to_owned())),
            };
            output
                .write_all(&buffer[..read])
                .await
                .map_err(|source| FetchError::Local { path: part.to_owned(), source })?;
            hash.update(&buffer[..read]);
            *have += read as u64;
            progress(FetchProgress::Bytes(*have));
        }
        output.flush().await.map_err(|source| FetchError::Local { path: part.to_owned(), source })?;
        Ok(None)
    }

    /// The agent's own checksum, asked again while its tunnel is away.
    async fn checksum(&self) -> Result<String, FetchError> {
        let mut reason = "its tunnel is closed".to_owned();
        for attempt in 1..=MAX_EMPTY_TRIES {
            let (answer, response) = oneshot::channel();
            let request = Request::Checksum { file: self.file.name.clone() };
            if self.asks.send(Ask { request, answer }).await.is_err() {
                break;
            }
            match response.await {
                Ok(Response::Checksum { sha256, .. }) => return Ok(sha256),
                Ok(Response::Refused(refusal)) => return Err(FetchError::NoChecksum(refusal.message)),
                Ok(Response::Done | Response::Probed(_)) => "it answered something else".clone_into(&mut reason),
                Err(_) => "the tunnel was cut".clone_into(&mut reason),
            }
            back_off(attempt).await;
        }
        Err(FetchError::NoChecksum(reason))
    }
}

/// Names that are tried for a file when others have its own.
const NAMES: u32 = 1000;

/// Gives a checked file its name, on the disk too. Another file of that name, as of another session in the same folder,
/// stays as it is.
async fn kept(part: &Path, whole: &Path, sum: &str) -> io::Result<PathBuf> {
    let (part, whole, sum) = (part.to_owned(), whole.to_owned(), sum.to_owned());
    let work = move || {
        let path = free(&whole, &sum)?;
        std::fs::rename(&part, &path)?;
        if let Some(folder) = path.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(path)
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn sum_of(mut file: std::fs::File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crate::text::hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The first name that is free, or whose file is the same.
fn free(whole: &Path, sum: &str) -> io::Result<PathBuf> {
    let stem = whole.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = whole.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
    let numbered = (2..NAMES).map(|number| whole.with_file_name(format!("{stem}-{number}{extension}")));
    for path in std::iter::once(whole.to_owned()).chain(numbered) {
        match std::fs::File::open(&path) {
            Ok(file) => {
                if sum_of(file)? == sum {
                    return Ok(path);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{NAMES} files of that name are there already")))
}
