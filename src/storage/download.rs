//! One object to the laptop: resumed after a cut, unpacked, checked.
//!
//! Owns the partial file, which goes when the download fails, and its renaming. The folder is chosen by the caller; of a key only a plain file name is
//! ever used.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_s3::types::ChecksumMode;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{self, OpenOptions},
    io::AsyncWriteExt,
    time::timeout,
};

use super::{Storage, StorageError, reason};
use crate::text::hex;

/// Cuts in a row, without a byte in between, after which a download gives up.
const MAX_EMPTY_TRIES: u32 = 6;
const STALLED: Duration = Duration::from_secs(20);
/// What a compressed capture may unpack to: the largest that an agent writes, with room.
const MAX_UNPACKED: u64 = 64 * 1024 * 1024 * 1024;

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
        let local = |path: &Path| {
            let path = path.to_owned();
            move |source| StorageError::Local { path, source }
        };
        fs::create_dir_all(folder).await.map_err(local(folder))?;
        let part = folder.join(format!("{name}.part"));
        let half = Half(part.clone());
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let output = options.open(&part).await.map_err(local(&part))?;
        let mut partial = Partial { output, hash: Sha256::new(), have: 0, tag: None, stored: None };
        let mut empty_tries = 0;
        loop {
            let before = partial.have;
            match self.read_on(key, &mut partial, &progress).await {
                Ok(()) => break,
                Err(ReadOn::Local(source)) => return Err(StorageError::Local { path: part, source }),
                Err(ReadOn::Cut(why)) => {
                    empty_tries = if partial.have > before { 0 } else { empty_tries + 1 };
                    if empty_tries >= MAX_EMPTY_TRIES {
                        return Err(StorageError::Call { operation: "download it", reason: why });
                    }
                    tokio::time::sleep(Duration::from_millis(250 << empty_tries)).await;
                }
            }
        }
        let Partial { output, hash, stored, .. } = partial;
        output.sync_all().await.map_err(local(&part))?;
        let found: [u8; 32] = hash.finalize().into();
        if let Some(expected) = stored.filter(|sum| *sum != found) {
            return Err(StorageError::Checksum { found: hex(&found), expected: hex(&expected) });
        }
        let (whole, half, found) = match name.strip_suffix(".zst") {
            None => (folder.join(name), half, hex(&found)),
            Some(name) => {
                let whole = folder.join(name);
                let unpacked = tokio::task::spawn_blocking(move || unpack(&half.0)).await;
                let unpacked = unpacked.map_err(io::Error::other).and_then(|unpacked| unpacked);
                let (half, sum) = unpacked.map_err(local(&whole))?;
                (whole, half, sum)
            }
        };
        // What is there under that name stays until this one is known to be right.
        if let Some(expected) = self.expected(key).await.filter(|expected| *expected != found) {
            return Err(StorageError::Checksum { found, expected });
        }
        fs::rename(&half.0, &whole).await.map_err(local(&whole))?;
        Ok((whole, found))
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
        if partial.have == 0 {
            partial.tag = answer.e_tag().map(str::to_owned);
            // One of several parts is no checksum of the whole.
            let sum = answer.checksum_sha256().filter(|sum| !sum.contains('-'));
            partial.stored = sum.and_then(|sum| STANDARD.decode(sum).ok());
        }
        let mut body = answer.body;
        loop {
            match timeout(STALLED, body.try_next()).await {
                Ok(Ok(Some(bytes))) => {
                    partial.hash.update(&bytes);
                    partial.output.write_all(&bytes).await.map_err(ReadOn::Local)?;
                    partial.have += bytes.len() as u64;
                    progress(partial.have);
                }
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(ReadOn::Cut(error.to_string())),
                Err(_) => return Err(ReadOn::Cut("it stalled".to_owned())),
            }
        }
    }
}

/// A file that goes when it is dropped; renamed, it is out of reach.
struct Half(PathBuf);

impl Drop for Half {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What one try leaves for the next.
struct Partial {
    output: fs::File,
    hash: Sha256,
    have: u64,
    /// Of the object that the bytes are of.
    tag: Option<String>,
    /// The checksum that is stored with it.
    stored: Option<Vec<u8>>,
}

enum ReadOn {
    Cut(String),
    Local(io::Error),
}

/// What was in it, in a file beside it, and the SHA-256 of that. Whatever the bytes, no more than a bounded file is written.
fn unpack(from: &Path) -> io::Result<(Half, String)> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut input = io::Read::take(zstd::stream::Decoder::new(std::fs::File::open(from)?)?, MAX_UNPACKED);
    let half = Half(from.with_extension("unpacked"));
    let mut output = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&half.0)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match io::Read::read(&mut input, &mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                output.write_all(&buffer[..read])?;
            }
        }
    }
    if input.limit() == 0 {
        return Err(io::Error::other("it unpacks to more than a capture has"));
    }
    output.sync_all()?;
    Ok((half, hex(&hash.finalize())))
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
        let from = folder.path().join("a.pcapng.zst.part");
        let mut packed = zstd::encode_all(&*vec![7; 100_000], 1).expect("packed");
        std::fs::write(&from, &packed).expect("written");
        let (half, _) = unpack(&from).expect("unpacked");
        assert_eq!(std::fs::read(&half.0).expect("there").len(), 100_000);
        drop(half);
        packed.truncate(packed.len() - 2);
        std::fs::write(&from, &packed).expect("written");
        assert!(unpack(&from).is_err());
        drop(Half(from));
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    }
}
