//! One capture file from an agent's ring to the laptop: resumed after a cut, checked against its SHA-256.
//!
//! Owns what is asked of the agent. Must not know what carries the bytes, nor how files get onto the disk.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use nodewatch_protocol::{CaptureFile, Request, Response};
use tokio::{
    io::AsyncReadExt,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    agents::{
        client::{Ask, back_off},
        site::{FilePart, Site},
    },
    base::disk::{self, DiskError, Part, Whole},
    model::{FetchProgress, NodeName, Notice},
};

/// Cuts in a row, without a byte in between, after which a fetch gives up.
const MAX_EMPTY_TRIES: u32 = 8;
/// A stream that brings nothing for so long is cut.
const STALLED: Duration = Duration::from_secs(20);
/// Bytes that go to the disk at once.
const CHUNK: usize = 128 * 1024;

/// A file could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Local(#[from] DiskError),
    #[error("the agent reports {size} bytes, more than a ring can hold ({most})")]
    TooLarge { size: u64, most: u64 },
    #[error("the agent did not report the file's checksum: {0}")]
    NoChecksum(String),
    #[error("no data in {MAX_EMPTY_TRIES} attempts in a row: {0}")]
    Cut(String),
    #[error("its agent is gone and the file is incomplete")]
    Gone,
    #[error("the file's SHA-256 is {found}, the agent reports {expected}")]
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
    /// No file can have more bytes, whatever its agent says.
    pub most: u64,
    /// The way to its agent's tunnel.
    pub asks: mpsc::Sender<Ask>,
    /// Whether that is still the node's agent: the next one has another ring.
    pub is_there: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Fetch {
    /// Does it, telling how it goes; the last thing told is `Done` or `Failed`.
    pub async fn run(self, site: &dyn Site, progress: impl Fn(FetchProgress)) {
        let outcome = match self.attempt(site, &progress).await {
            Ok((path, sha256)) => FetchProgress::Done { path, sha256 },
            Err(error) => {
                let next_step = match error {
                    FetchError::Local(_) => "make room, or choose another folder with --out",
                    FetchError::TooLarge { .. } => "check that agent; --ring-size sets how large a ring may be",
                    FetchError::Gone => "use --s3 to deliver captures while they run",
                    _ => "press {open} on the file to try again; the node keeps it until then",
                };
                let headline = format!("{} of {} was not fetched", self.file.name, self.node);
                let notice = Notice::error(headline, crate::base::text::chain(&error), next_step);
                FetchProgress::Failed(notice.naming_keys())
            }
        };
        progress(outcome);
    }

    async fn attempt(
        &self,
        site: &dyn Site,
        progress: &impl Fn(FetchProgress),
    ) -> Result<(PathBuf, String), FetchError> {
        if self.file.size > self.most {
            return Err(FetchError::TooLarge { size: self.file.size, most: self.most });
        }
        if let Some(sum) = self.file.sha256.clone()
            && let Some(path) = find(&self.folder, &self.file, sum.clone()).await
        {
            self.say_fetched();
            return Ok((path, sum));
        }
        let whole = self.bytes(site, progress).await?;
        let expected = self.checksum().await?;
        if whole.sha256 != expected {
            return Err(FetchError::Checksum { found: whole.sha256, expected });
        }
        let sum = whole.sha256.clone();
        let path = disk::aside(self.folder.clone(), move || whole.keep()).await?;
        self.say_fetched();
        Ok((path, sum))
    }

    fn say_fetched(&self) {
        let (answer, _nobody_waits) = oneshot::channel();
        // An agent that does not hear it keeps the file longer than it must, and no more.
        let _ = self.asks.try_send(Ask { request: Request::Fetched { file: self.file.name.clone() }, answer });
    }

    /// The file's bytes, on the disk.
    async fn bytes(&self, site: &dyn Site, progress: &impl Fn(FetchProgress)) -> Result<Whole, FetchError> {
        let name = name_here(&self.file);
        let mut part = Part::begun(self.folder.clone(), name, self.file.size).await?;
        // Before anything is asked of the node.
        part.fits(self.file.size)?;
        let mut empty_tries = 0;
        while part.have() < self.file.size {
            let before = part.have();
            let cut;
            (part, cut) = self.read_on(site, part, progress).await?;
            empty_tries = if part.have() > before { 0 } else { empty_tries + 1 };
            if let Some(reason) = cut {
                if !(self.is_there)() {
                    return Err(FetchError::Gone);
                }
                if empty_tries >= MAX_EMPTY_TRIES {
                    return Err(FetchError::Cut(reason));
                }
                progress(FetchProgress::Resuming { have: part.have(), reason });
                back_off(empty_tries + 1).await;
            }
        }
        Ok(disk::aside(self.folder.clone(), move || part.finish()).await?)
    }

    /// Reads from one stream until the file is whole or the stream is cut, and then says why.
    async fn read_on(
        &self,
        site: &dyn Site,
        mut part: Part,
        progress: &impl Fn(FetchProgress),
    ) -> Result<(Part, Option<String>), FetchError> {
        let length = self.file.size - part.have();
        let wanted = FilePart { file: self.file.name.clone(), offset: part.have(), length };
        let mut bulk = match timeout(STALLED, site.fetch(&self.node, wanted)).await {
            Ok(Ok(bulk)) => bulk,
            Ok(Err(error)) => return Ok((part, Some(error.to_string()))),
            Err(_) => return Ok((part, Some("the stream did not open in time".to_owned()))),
        };
        let mut buffer = Vec::with_capacity(CHUNK);
        let cut = loop {
            let have = part.have() + buffer.len() as u64;
            let left = self.file.size - have;
            if left == 0 {
                break None;
            }
            let room = ((CHUNK - buffer.len()) as u64).min(left);
            match timeout(STALLED, (&mut bulk.reader).take(room).read_buf(&mut buffer)).await {
                Ok(Ok(0)) => break Some("the stream ended early".to_owned()),
                Ok(Ok(read)) => progress(FetchProgress::Bytes(have + read as u64)),
                Ok(Err(error)) => break Some(error.to_string()),
                Err(_) => break Some("the stream stalled".to_owned()),
            }
            if buffer.len() == CHUNK {
                part = part.with(std::mem::replace(&mut buffer, Vec::with_capacity(CHUNK))).await?;
            }
        };
        if !buffer.is_empty() {
            part = part.with(buffer).await?;
        }
        Ok((part, cut))
    }

    /// The agent's own checksum, asked again while its tunnel is away. One that has gone may have told it before.
    async fn checksum(&self) -> Result<String, FetchError> {
        match (self.asked_checksum().await, &self.file.sha256) {
            (Err(FetchError::NoChecksum(_) | FetchError::Gone), Some(known)) if !(self.is_there)() => Ok(known.clone()),
            (asked, _) => asked,
        }
    }

    async fn asked_checksum(&self) -> Result<String, FetchError> {
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
            if !(self.is_there)() {
                return Err(FetchError::Gone);
            }
            back_off(attempt).await;
        }
        Err(FetchError::NoChecksum(reason))
    }
}

/// What a file is called on the laptop: its name comes from an agent.
fn name_here(file: &CaptureFile) -> String {
    crate::base::text::safe_component(file.name.rsplit('/').next().unwrap_or_default())
}

/// Where an earlier fetch into this folder, perhaps another program's, has put the file with that checksum.
async fn find(folder: &Path, file: &CaptureFile, sha256: String) -> Option<PathBuf> {
    let (wanted, size) = (folder.join(name_here(file)), file.size);
    let found = disk::aside(wanted.clone(), move || Ok(disk::find(&wanted, size, &sha256))).await;
    found.ok().flatten()
}

/// The same, with the checksum, which its agent is asked for where its list lacks it.
pub async fn look_for(folder: &Path, file: &CaptureFile, asks: Option<mpsc::Sender<Ask>>) -> Option<(PathBuf, String)> {
    if !disk::has_size(&folder.join(name_here(file)), file.size) {
        return None;
    }
    let sum = if let Some(sum) = &file.sha256 {
        sum.clone()
    } else {
        let (answer, response) = oneshot::channel();
        let request = Request::Checksum { file: file.name.clone() };
        asks?.send(Ask { request, answer }).await.ok()?;
        let Response::Checksum { sha256, .. } = response.await.ok()? else { return None };
        sha256
    };
    Some((find(folder, file, sum.clone()).await?, sum))
}
