//! The ring of capture files on the node's disk.
//!
//! Owns the folder: names, sizes, what is thrown away first. Must not know packets or tunnels.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nodewatch_protocol::{CaptureFile, FileState, UnixMillis};
use sha2::{Digest, Sha256};

use super::pcapng;

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

    /// The files that a process before this one has left, each cut to its last whole block; empty ones are removed.
    pub fn recover(&self) -> Result<Vec<CaptureFile>, StoreError> {
        let folder = |source| StoreError::Folder { path: self.folder.clone(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(folder)? {
            let name = entry.map_err(folder)?.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|extension| extension == "pcapng") {
                files.extend(self.recover_file(&name)?);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn recover_file(&self, name: &str) -> Result<Option<CaptureFile>, StoreError> {
        let failed = |operation| move |source| StoreError::File { operation, name: name.to_owned(), source };
        let path = self.path(name)?;
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed("open"))?;
        let whole = pcapng::whole(io::BufReader::new(&file)).map_err(failed("read"))?;
        if whole.packets == 0 {
            fs::remove_file(&path).map_err(failed("remove"))?;
            return Ok(None);
        }
        file.set_len(whole.length).map_err(failed("cut"))?;
        let modified = file.metadata().and_then(|facts| facts.modified()).map_err(failed("examine"))?;
        Ok(Some(CaptureFile {
            name: name.to_owned(),
            size: whole.length,
            packets: whole.packets,
            started: modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            state: FileState::Closed,
        }))
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

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        fs::remove_file(self.path(name)?).map_err(|source| StoreError::File {
            operation: "remove",
            name: name.to_owned(),
            source,
        })
    }

    /// Size and lower-case hexadecimal SHA-256 of a file.
    pub fn checksum(&self, name: &str) -> Result<(u64, String), StoreError> {
        let mut file = self.read_from(name, 0)?;
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(|source| StoreError::File {
                operation: "read",
                name: name.to_owned(),
                source,
            })?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
        let hex = hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok((size, hex))
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

/// A file's name: its start in UTC with microseconds, and a sequence number, so that no two collide.
pub fn file_name(start: UnixMillis, micros: u16, sequence: u32) -> String {
    let start = jiff::Timestamp::from_millisecond(start as i64).unwrap_or_default();
    format!("{}.{:03}{micros:03}Z-{sequence:04}.pcapng", start.strftime("%Y%m%dT%H%M%S"), start.subsec_millisecond())
}

/// More files than this would not fit one line of the protocol.
const MAX_FILES: usize = 4096;

/// Which closed files go, oldest first, so that all of them together take at most `limit` bytes.
pub fn surplus(files: &[CaptureFile], limit: u64) -> Vec<String> {
    let mut total: u64 = files.iter().map(|file| file.size).sum();
    let mut gone = Vec::new();
    for file in files.iter().filter(|file| file.state == FileState::Closed) {
        if total <= limit && files.len() - gone.len() <= MAX_FILES {
            break;
        }
        total -= file.size;
        gone.push(file.name.clone());
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    fn file(name: &str, size: u64, state: FileState) -> CaptureFile {
        CaptureFile { name: name.into(), size, packets: 1, started: 0, state }
    }

    #[test]
    fn the_oldest_closed_files_go_and_the_open_one_stays() {
        let files =
            [file("1", 40, FileState::Closed), file("2", 40, FileState::Closed), file("3", 40, FileState::Open)];
        assert_eq!(surplus(&files, 120), Vec::<String>::new());
        assert_eq!(surplus(&files, 80), ["1"]);
        assert_eq!(surplus(&files, 10), ["1", "2"]);
    }

    #[test]
    fn names_sort_by_time_and_tell_microseconds_apart() {
        assert_eq!(file_name(1_700_000_000_123, 456, 7), "20231114T221320.123456Z-0007.pcapng");
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
    fn a_torn_file_is_cut_and_an_empty_one_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a ring");
        let mut bytes = Vec::new();
        pcapng::section_header(&mut bytes, "n");
        pcapng::enhanced_packet(&mut bytes, 0, 0, 4, [&[1, 2, 3, 4]]);
        let whole = bytes.len() as u64;
        bytes.extend([6, 0, 0, 0, 40]);
        store.create("torn.pcapng").expect("create").write_all(&bytes).expect("write");
        store.create("empty.pcapng").expect("create");

        let files = store.recover().expect("recover");
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].size, files[0].packets), (whole, 1));
        assert_eq!(store.checksum("torn.pcapng").expect("checksum").0, whole);
        let mode = fs::metadata(folder.path().join("torn.pcapng")).expect("facts").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
