//! One object to the laptop: resumed after a cut, unpacked, checked.
//!
//! Owns how an object is asked for. The folder is chosen by the caller; of a key only a plain file name is ever used.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_s3::types::ChecksumMode;
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::time::timeout;

use super::{Storage, StorageError, reason};
use crate::base::{
    disk::{self, DiskError, Part, Whole},
    text::hex,
};

/// Cuts in a row, without a byte in between, after which a download gives up.
const MAX_EMPTY_TRIES: u32 = 6;
const STALLED: Duration = Duration::from_secs(20);
/// What an object may have, and a compressed capture unpack to: the largest that an agent writes, with room.
const LARGEST: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes that go to the disk at once.
const CHUNK: usize = 256 * 1024;

/// A key's last part, where that is a plain file name.
pub(super) fn file_name(key: &str) -> Option<&str> {
    let name = key.rsplit('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!name.is_empty() && !name.starts_with('.') && name.len() < 200 && name.chars().all(plain)).then_some(name)
}

impl Storage {
    /// Brings an object into that folder; where it is now, and its SHA-256. `progress` gets the bytes so far.
    pub async fn download(
        &self,
        key: &str,
        folder: &Path,
        progress: impl Fn(u64),
    ) -> Result<(PathBuf, String), StorageError> {
        let bad_name = || StorageError::Foreign { key: key.to_owned(), prefix: "a plain file name".to_owned() };
        let name = file_name(key).ok_or_else(bad_name)?;
        let part = Part::begun(folder.to_owned(), name.to_owned(), LARGEST).await?;
        let mut partial = Partial { part: Some(part), have: 0, size: None, tag: None, stored: None };
        let mut empty_tries = 0;
        loop {
            let before = partial.have;
            match self.read_on(key, &mut partial, &progress).await {
                Ok(()) => break,
                Err(ReadOn::Local(error)) => return Err(error.into()),
                Err(ReadOn::Cut(why)) => {
                    empty_tries = if partial.have > before { 0 } else { empty_tries + 1 };
                    if empty_tries >= MAX_EMPTY_TRIES {
                        return Err(StorageError::Call { operation: "download it", reason: why });
                    }
                    tokio::time::sleep(Duration::from_millis(250 << empty_tries)).await;
                }
            }
        }
        let Partial { part, stored, .. } = partial;
        let part = part
            .ok_or_else(|| StorageError::Call { operation: "download it", reason: "the download broke off".into() })?;
        let whole = disk::aside(folder.to_owned(), move || part.finish()).await?;
        if let Some(expected) = stored.map(|sum| hex(&sum)).filter(|sum| *sum != whole.sha256) {
            return Err(StorageError::Checksum { found: whole.sha256, expected });
        }
        let whole = match name.strip_suffix(".zst") {
            None => whole,
            Some(name) => {
                let (place, name) = (folder.to_owned(), name.to_owned());
                disk::aside(folder.to_owned(), move || unpack(&whole, &place, &name)).await?
            }
        };
        if let Some(expected) = self.expected(key).await.filter(|expected| *expected != whole.sha256) {
            return Err(StorageError::Checksum { found: whole.sha256, expected });
        }
        let found = whole.sha256.clone();
        let path = disk::aside(folder.to_owned(), move || whole.keep()).await?;
        Ok((path, found))
    }

    /// What the node's own manifest says of the unpacked file.
    async fn expected(&self, key: &str) -> Option<String> {
        let (folder, name) = key.rsplit_once('/')?;
        let manifest = self.manifest(folder).await?;
        let name = name.strip_suffix(".zst").unwrap_or(name);
        let record = manifest.files.into_iter().find(|record| record.file.name == name)?;
        record.file.sha256
    }

    async fn read_on(&self, key: &str, partial: &mut Partial, progress: &impl Fn(u64)) -> Result<(), ReadOn> {
        let call = self.client.get_object().bucket(&self.settings.url.bucket).key(key);
        let call = call.checksum_mode(ChecksumMode::Enabled);
        let ranged = (partial.have > 0).then(|| format!("bytes={}-", partial.have));
        // Another object under the same key is not the rest of this one.
        let call = call.set_if_match(partial.tag.clone()).set_range(ranged).send();
        let answer = timeout(STALLED, call).await.map_err(|_| ReadOn::Cut("no answer".into()))?;
        let answer = match answer {
            Ok(answer) => answer,
            // Asked for what is behind the last byte: the cut came after it.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 416) => return Ok(()),
            Err(error) => return Err(ReadOn::Cut(reason(&error))),
        };
        let from = format!("bytes {}-", partial.have);
        if partial.have > 0 && !answer.content_range().is_some_and(|range| range.starts_with(&from)) {
            return Err(ReadOn::Cut("the server sent another part than requested".to_owned()));
        }
        if partial.have == 0 {
            partial.tag = answer.e_tag().map(str::to_owned);
            partial.size = answer.content_length().and_then(|size| u64::try_from(size).ok());
            // One of several parts is no checksum of the whole.
            let sum = answer.checksum_sha256().filter(|sum| !sum.contains('-'));
            partial.stored = sum.and_then(|sum| STANDARD.decode(sum).ok());
            if let (Some(part), Some(size)) = (&partial.part, partial.size) {
                part.fits(size).map_err(ReadOn::Local)?;
            }
        }
        let mut body = answer.body;
        let mut buffer = Vec::with_capacity(CHUNK);
        let ended = loop {
            match timeout(STALLED, body.try_next()).await {
                Ok(Ok(Some(bytes))) => {
                    buffer.extend_from_slice(&bytes);
                    progress(partial.have + buffer.len() as u64);
                }
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(error)) => break Err(error.to_string()),
                Err(_) => break Err("it stalled".to_owned()),
            }
            if buffer.len() >= CHUNK {
                partial.write(std::mem::take(&mut buffer)).await?;
            }
        };
        partial.write(buffer).await?;
        match partial.size {
            Some(size) if ended.is_ok() && partial.have != size => {
                Err(ReadOn::Cut(format!("received {} of {size} bytes", partial.have)))
            }
            _ => ended.map_err(ReadOn::Cut),
        }
    }
}

/// What one try leaves for the next.
struct Partial {
    /// Away while it is written to.
    part: Option<Part>,
    have: u64,
    /// As the first answer has it.
    size: Option<u64>,
    /// Of the object that the bytes are of.
    tag: Option<String>,
    /// The checksum that is stored with it.
    stored: Option<Vec<u8>>,
}

impl Partial {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), ReadOn> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(part) = self.part.take() else { return Ok(()) };
        let part = part.with(bytes).await.map_err(ReadOn::Local)?;
        self.have = part.have();
        self.part = Some(part);
        Ok(())
    }
}

enum ReadOn {
    Cut(String),
    Local(DiskError),
}

/// What was in it, on the disk beside it. Whatever the bytes, no more than a bounded file is written.
fn unpack(packed: &Whole, folder: &Path, name: &str) -> Result<Whole, DiskError> {
    let failed = |source: io::Error| DiskError::Read { path: folder.join(format!("{name}.zst")), source };
    let mut input = zstd::stream::Decoder::new(packed.read()?).map_err(failed)?;
    let mut part = Part::begin(folder, name, LARGEST)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match input.read(&mut buffer).map_err(failed)? {
            0 => return part.finish(),
            read => part.write(&buffer[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_becomes_a_file() {
        assert_eq!(file_name("a/b/20231114T221320.123456Z-0007.pcapng"), Some("20231114T221320.123456Z-0007.pcapng"));
        for key in ["a/..", "a/.", "a/", "", "a/.ssh", "a/b\\c", "a/x\u{1b}[2J", "a/b c", "a/\u{202e}x"] {
            assert_eq!(file_name(key), None, "{key:?}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let packed = |bytes: &[u8]| {
            let mut part = Part::begin(folder.path(), "a.pcapng.zst", LARGEST).expect("begun");
            part.write(bytes).expect("written");
            part.finish().expect("on the disk")
        };
        let mut bytes = zstd::encode_all(&*vec![7; 100_000], 1).expect("packed");
        let whole = unpack(&packed(&bytes), folder.path(), "a.pcapng").expect("unpacked");
        assert_eq!(whole.size(), 100_000);
        drop(whole);
        bytes.truncate(bytes.len() - 2);
        assert!(unpack(&packed(&bytes), folder.path(), "a.pcapng").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
