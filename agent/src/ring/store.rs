//! The ring's folder on the node's disk.
//!
//! Owns names, modes, and what a crash has left. Must not know what goes first or why.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nodewatch_pcapng as pcapng;
use nodewatch_protocol::{CaptureFile, Delivery, Dropped, FileState, MANIFEST, NodeManifest, UnixMillis};
use sha2::{Digest, Sha256};

/// An operation on the ring failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder.
    #[error("cannot use the ring folder {path:?}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file.
    #[error("cannot {operation} capture file {name:?}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file's name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A name with a path in it.
    #[error("{0:?} is no name of a capture file")]
    Name(String),
}

/// The folder of capture files.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the ring, readable by its owner only, made where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| StoreError::Folder { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    /// Names of the capture files in it.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let folder = |source| StoreError::Folder { path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(folder)? {
            let name = entry.map_err(folder)?.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|extension| extension == "pcapng") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A file that a process before this one has left open: cut to its last whole block, with a last block that says
    /// so; removed when it holds no packet.
    pub fn recover_file(&self, name: &str) -> Result<Option<CaptureFile>, StoreError> {
        let failed = |operation| move |source| StoreError::File { operation, name: name.to_owned(), source };
        let path = self.path(name)?;
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed("open"))?;
        let whole = pcapng::whole(io::BufReader::new(&file)).map_err(failed("read"))?;
        if whole.packets == 0 {
            fs::remove_file(&path).map_err(failed("remove"))?;
            return Ok(None);
        }
        let modified = file.metadata().and_then(|facts| facts.modified()).map_err(failed("examine"))?;
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let ended = modified.as_millis() as UnixMillis;
        file.set_len(whole.length).map_err(failed("cut"))?;
        let at = jiff::Timestamp::from_millisecond(ended as i64).unwrap_or_default();
        let incomplete = format!(
            "incomplete: the agent was stopped while it wrote this file; packets after about {at:.3} are missing, and \
             how many were dropped is not known"
        );
        let mut counts = Vec::new();
        let block = pcapng::StatisticsBlock {
            interface: 0,
            at: ended * 1_000_000,
            since: 0,
            received: 0,
            dropped_by_interface: 0,
            dropped_by_kernel: 0,
            delivered: whole.packets,
            comment: &incomplete,
        };
        pcapng::interface_statistics(&mut counts, &block);
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&counts)).map_err(failed("mark"))?;
        Ok(Some(CaptureFile {
            name: name.to_owned(),
            sequence: 0,
            size: whole.length + counts.len() as u64,
            packets: whole.packets,
            started: ended,
            ended,
            state: FileState::Closed,
            dropped: Dropped::default(),
            incomplete,
            sha256: None,
            delivery: Delivery::Held,
            fetched: false,
        }))
    }

    /// What was remembered; `None` where there is nothing that can be read.
    pub fn read_manifest(&self) -> Option<NodeManifest> {
        serde_json::from_slice(&fs::read(self.folder.join(MANIFEST)).ok()?).ok()
    }

    /// Remembers, all at once or not at all.
    pub fn write_manifest(&self, manifest: &NodeManifest) -> Result<(), StoreError> {
        let failed = |source| StoreError::File { operation: "write", name: MANIFEST.to_owned(), source };
        let bytes = serde_json::to_vec(manifest).map_err(|error| failed(error.into()))?;
        let part = self.folder.join("manifest.part");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&part).and_then(|mut file| file.write_all(&bytes)).map_err(failed)?;
        fs::rename(part, self.folder.join(MANIFEST)).map_err(failed)
    }

    /// A file without a name, for what is needed for a moment.
    pub fn scratch(&self) -> Result<File, StoreError> {
        let failed = |source| StoreError::File { operation: "create", name: "scratch".to_owned(), source };
        let path = self.folder.join(format!("{}.scratch", chance()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        fs::remove_file(path).map_err(failed)?;
        Ok(file)
    }

    /// Bytes that the volume has left; `None` where it does not say.
    pub fn available(&self) -> Option<u64> {
        let facts = rustix::fs::statvfs(&self.folder).ok()?;
        Some(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// Begins a new file, readable by its owner only.
    pub fn create(&self, name: &str) -> Result<File, StoreError> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(name)?)
            .map_err(|source| StoreError::File { operation: "create", name: name.to_owned(), source })
    }

    /// Opens a file for reading, at that offset.
    pub fn read_from(&self, name: &str, offset: u64) -> Result<File, StoreError> {
        let failed = |operation| move |source| StoreError::File { operation, name: name.to_owned(), source };
        let mut file = File::open(self.path(name)?).map_err(failed("open"))?;
        file.seek(SeekFrom::Start(offset)).map_err(failed("seek in"))?;
        Ok(file)
    }

    /// Removes a file; one that somebody else has removed already is gone all the same.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.map_err(|source| StoreError::File { operation: "remove", name: name.to_owned(), source })
            }
        }
    }

    /// Size and lower-case hexadecimal SHA-256 of a file.
    pub fn checksum(&self, name: &str) -> Result<(u64, String), StoreError> {
        let (size, sum) = sha256(&mut self.read_from(name, 0)?).map_err(|source| StoreError::File {
            operation: "read",
            name: name.to_owned(),
            source,
        })?;
        Ok((size, hex(&sum)))
    }

    /// A name is one path component: what a tunnel asks for cannot leave the folder.
    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        if Path::new(name).file_name() == Some(name.as_ref()) {
            Ok(self.folder.join(name))
        } else {
            Err(StoreError::Name(name.to_owned()))
        }
    }
}

/// How many bytes a reader has, and their SHA-256.
pub fn sha256(input: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok((size, hash.finalize().into())),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// A file's name: its start in UTC with microseconds, and a sequence number, so that no two collide.
pub fn file_name(start: UnixMillis, micros: u16, sequence: u64) -> String {
    let start = jiff::Timestamp::from_millisecond(start as i64).unwrap_or_default();
    format!("{}.{:03}{micros:03}Z-{sequence:04}.pcapng", start.strftime("%Y%m%dT%H%M%S"), start.subsec_millisecond())
}

/// The sequence number that a file's name ends in.
pub fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".pcapng")?.rsplit_once('-')?.1.parse().ok()
}

/// A name by chance: 16 hexadecimal digits.
pub fn chance() -> String {
    format!("{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_tell_microseconds_and_end_in_their_place_in_the_order() {
        assert_eq!(file_name(1_700_000_000_123, 456, 7), "20231114T221320.123456Z-0007.pcapng");
        assert_eq!(sequence_of(&file_name(1_700_000_000_123, 456, 12_345)), Some(12_345));
        for name in ["a.pcapng", "a-b.pcapng", "a-7.zst", ""] {
            assert_eq!(sequence_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("ring")).expect("a ring");
        for name in ["../secret", "/etc/passwd", "..", "", "a/b"] {
            assert!(matches!(store.read_from(name, 0), Err(StoreError::Name(_))), "{name}");
        }
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a ring");
        store.create("a.pcapng").expect("created");
        store.write_manifest(&NodeManifest::default()).expect("written");
        for name in ["a.pcapng", MANIFEST] {
            let mode = fs::metadata(folder.path().join(name)).expect("facts").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(store.read_manifest(), Some(NodeManifest::default()));
    }
}
