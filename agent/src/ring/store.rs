//! The ring's folder on the node's disk.
//!
//! Owns names, modes, the list's two copies, and that one agent uses it at a time. Must not know what goes first or
//! why.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nodewatch_protocol::{MANIFEST, RingList, UnixMillis};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use sha2::{Digest, Sha256};

/// The list before the last one.
const LIST_BEFORE: &str = "manifest.json.1";
/// An agent that is just ending has so many looks' time to leave the folder.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(50);

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
    /// One agent a ring.
    #[error("another agent uses the ring {path:?}: stop it first, or choose another folder with --ring")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing more can go.
    #[error("the ring has no room for {bytes} more bytes, its limit is {limit}")]
    Full {
        /// What was to be written.
        bytes: u64,
        /// What all files may take.
        limit: u64,
    },
    /// A thread.
    #[error("cannot start a thread of the ring")]
    Thread(#[source] io::Error),
    /// A name with a path in it.
    #[error("invalid capture file name {0:?}")]
    Name(String),
}

/// What there is of the list that the process before this one has left.
#[derive(Debug)]
pub enum Remembered {
    /// The last one.
    Last(RingList),
    /// The one before it, and why not the last.
    Before(RingList, String),
    /// None, and why; no reason where there never was one.
    Nothing(Option<String>),
}

/// The right to use a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "it is held, not used")] File);

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

    /// Nobody else uses the folder from now on.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        let failed = |source| StoreError::Folder { path: self.folder.clone(), source };
        let folder = File::open(&self.folder).map_err(failed)?;
        for _ in 0..LOOKS {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => thread::sleep(LOOK_EVERY),
                // A file system that knows no locks has no second agent either, as far as one can see.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS) => return Ok(Lock(folder)),
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Err(StoreError::InUse { path: self.folder.clone() })
    }

    /// What was remembered; `None` where there is nothing that can be read.
    pub fn latest_list(&self) -> Option<RingList> {
        match self.read_list() {
            Remembered::Last(list) | Remembered::Before(list, _) => Some(list),
            Remembered::Nothing(_) => None,
        }
    }

    /// Which list is there: the file's number, its size, and when it was written, in seconds and nanoseconds.
    pub fn list_written(&self) -> Option<(u64, u64, i64, i64)> {
        let file = fs::metadata(self.folder.join(MANIFEST)).ok()?;
        Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    }

    /// What was remembered, and how well.
    pub fn read_list(&self) -> Remembered {
        let why = match self.read_one(MANIFEST) {
            Ok(Some(list)) => return Remembered::Last(list),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        match (self.read_one(LIST_BEFORE), why) {
            (Ok(Some(list)), why) => Remembered::Before(list, why.unwrap_or_else(|| "it is not there".to_owned())),
            (Ok(None) | Err(_), Some(why)) | (Err(why), None) => Remembered::Nothing(Some(why)),
            (Ok(None), None) => Remembered::Nothing(None),
        }
    }

    fn read_one(&self, name: &str) -> Result<Option<RingList>, String> {
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{name}: {error}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name}: {error}")),
        }
    }

    /// Remembers, all at once or not at all, also over a loss of power; what was remembered before is kept beside it.
    pub fn write_list(&self, list: &RingList) -> Result<(), StoreError> {
        let failed = |source| StoreError::File { operation: "write", name: MANIFEST.to_owned(), source };
        let bytes = serde_json::to_vec(list).map_err(|error| failed(error.into()))?;
        let (part, last) = (self.folder.join("manifest.part"), self.folder.join(MANIFEST));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(&part)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .map_err(failed)?;
        self.keep_the_one_before(&last);
        fs::rename(part, last).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// A second name for the list, which it keeps when another takes the first. Where that cannot be had there is one
    /// copy less, and the last one is whole all the same.
    fn keep_the_one_before(&self, last: &Path) {
        let link = self.folder.join("manifest.link");
        // One that a stopped process has left.
        let _ = fs::remove_file(&link);
        let _ = fs::hard_link(last, &link).and_then(|()| fs::rename(&link, self.folder.join(LIST_BEFORE)));
    }

    /// It is a file and nothing else: no folder, link or pipe. What cannot be told of may be one.
    pub(super) fn is_file(&self, name: &str) -> bool {
        self.path(name).is_ok_and(|path| match fs::symlink_metadata(path) {
            Ok(facts) => facts.is_file(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
    }

    /// Bytes of a file.
    pub fn size(&self, name: &str) -> Result<u64, StoreError> {
        let facts = fs::metadata(self.path(name)?);
        let failed = |source| StoreError::File { operation: "examine", name: name.to_owned(), source };
        facts.map(|facts| facts.len()).map_err(failed)
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
    pub(super) fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
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

/// When a file was begun by its name.
pub(super) fn started_of(name: &str) -> Option<UnixMillis> {
    let (start, _) = name.strip_suffix(".pcapng")?.rsplit_once('-')?;
    let start = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S.%fZ", start).ok()?;
    let start = start.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    u64::try_from(start).ok()
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
        assert_eq!(started_of("20231114T221320.123456Z-0007.pcapng"), Some(1_700_000_000_123));
        assert_eq!(started_of("a-7.pcapng"), None);
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
        store.write_list(&RingList::default()).expect("written");
        for name in ["a.pcapng", MANIFEST] {
            let mode = fs::metadata(folder.path().join(name)).expect("facts").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(store.latest_list(), Some(RingList::default()));
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_the_one_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a ring");
        assert!(matches!(store.read_list(), Remembered::Nothing(None)), "there never was one");
        let list = |node: &str| RingList { node: node.into(), ..RingList::default() };
        for node in ["a", "b", "c"] {
            store.write_list(&list(node)).expect("written");
        }
        assert!(matches!(store.read_list(), Remembered::Last(last) if last == list("c")));
        fs::write(folder.path().join(MANIFEST), b"").expect("written");
        let Remembered::Before(before, why) = store.read_list() else { panic!("the one before") };
        assert_eq!(before, list("b"));
        assert!(why.contains("manifest.json"), "{why}");
        fs::remove_file(folder.path().join(MANIFEST)).expect("removed");
        assert!(matches!(store.read_list(), Remembered::Before(before, _) if before == list("b")));
        fs::write(folder.path().join(LIST_BEFORE), b"{\"node\":").expect("written");
        assert!(matches!(store.read_list(), Remembered::Nothing(Some(_))));
    }

    #[test]
    fn one_agent_uses_a_folder_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a ring");
        let lock = store.lock().expect("nobody else");
        let error = store.lock().expect_err("in use").to_string();
        assert!(error.contains("another agent uses the ring"), "{error}");
        drop(lock);
        store.lock().expect("free again");
    }
}
