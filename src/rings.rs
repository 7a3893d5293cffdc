//! Rings of sessions on this machine: a private folder each, which is found again whatever ended the program.
//!
//! Owns the folders and their locks. What holds captures goes only when somebody says so; what holds none goes by
//! itself. Must not know agents or the app.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{folders, model::SessionId};

/// In a session's folder: whose lock says whether its program lives.
const LOCK: &str = "lock";
/// In a session's folder: what its agent has.
const RING: &str = "ring";

/// A ring that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Its folder.
    #[error("cannot make a private folder for capture files below {below:?}")]
    Folder {
        /// The last place that was tried.
        below: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program has it.
    #[error("session {0} is open in another nodewatch-tui on this machine")]
    InUse(SessionId),
    /// There is none.
    #[error("no captures of session {0} are on this machine")]
    Unknown(SessionId),
}

/// The folders that rings are in.
#[derive(Debug, Clone)]
pub struct Rings {
    folders: Vec<PathBuf>,
}

/// Captures of a session on this machine that nobody has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRing {
    /// The session.
    pub session: SessionId,
    /// Where its capture files are.
    pub folder: PathBuf,
    /// How many.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// A program has it open.
    pub in_use: bool,
}

impl Rings {
    /// Below the program's state folder; without a home a private folder among temporary files.
    pub fn from_environment() -> Self {
        let user = rustix::process::getuid().as_raw();
        let temporary = std::env::temp_dir().join(format!("nodewatch-tui-{user}"));
        Self::in_folders(folders::kept_state().into_iter().chain([temporary]))
    }

    /// In the first of these that can be written.
    pub fn in_folders(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { folders: folders.into_iter().map(|folder| folder.join("rings")).collect() }
    }

    /// A new session's.
    pub fn create(&self, session: &SessionId) -> Result<Ring, RingError> {
        let mut failed = None;
        for below in &self.folders {
            match Ring::create(below, session) {
                Ok(ring) => return Ok(ring),
                Err(source) => failed = Some(RingError::Folder { below: below.clone(), source }),
            }
        }
        Err(failed.unwrap_or_else(|| RingError::Unknown(session.clone())))
    }

    /// That of a session whose program has ended.
    pub fn open(&self, session: &SessionId) -> Result<Ring, RingError> {
        let folders = self.folders.iter().map(|below| below.join(session.as_str()));
        let folder = folders.into_iter().find(|folder| is_private(folder));
        let folder = folder.ok_or_else(|| RingError::Unknown(session.clone()))?;
        let failed = |source| RingError::Folder { below: folder.clone(), source };
        match lock(&folder).map_err(failed)? {
            Some(lock) => Ok(Ring { folder, _lock: lock, removed: AtomicBool::new(false) }),
            None => Err(RingError::InUse(session.clone())),
        }
    }

    /// What there is; what holds no captures and is nobody's goes. In the order of their ids.
    pub fn all(&self) -> Vec<LeftRing> {
        let entries =
            self.folders.iter().filter(|below| is_private(below)).filter_map(|below| fs::read_dir(below).ok());
        let sessions = entries.flatten().flatten().filter_map(|entry| {
            let session: SessionId = entry.file_name().to_str()?.parse().ok()?;
            Some((session, entry.path()))
        });
        let mut found: Vec<LeftRing> = sessions
            .filter(|(_, folder)| is_private(folder))
            .filter_map(|(session, folder)| {
                let lock = lock(&folder).ok()?;
                let (files, bytes) = held(&folder.join(RING));
                if files == 0 && lock.is_some() {
                    // Another start may be at it at the same time.
                    let _ = fs::remove_dir_all(&folder);
                    return None;
                }
                Some(LeftRing { session, folder: folder.join(RING), files, bytes, in_use: lock.is_none() })
            })
            .collect();
        found.sort_by(|a, b| a.session.cmp(&b.session));
        found
    }
}

/// A session's folder, held by this program. Dropped, it goes when there are no captures in it.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    _lock: File,
    removed: AtomicBool,
}

impl Ring {
    fn create(below: &Path, session: &SessionId) -> io::Result<Self> {
        let mut private = DirBuilder::new();
        private.mode(0o700).recursive(true).create(below)?;
        if !is_private(below) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others can write to it"));
        }
        let folder = below.join(session.as_str());
        private.recursive(false).create(&folder)?;
        private.create(folder.join(RING))?;
        let lock = lock(&folder)?.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))?;
        Ok(Self { folder, _lock: lock, removed: AtomicBool::new(false) })
    }

    /// Where the agent's files are.
    pub fn path(&self) -> PathBuf {
        self.folder.join(RING)
    }

    /// All of it goes.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.removed.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.removed.load(Ordering::Relaxed) && held(&self.path()).0 == 0 {
            // What is left of it goes at the next start.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// This user's alone, and no link to elsewhere.
fn is_private(folder: &Path) -> bool {
    let of_user = |facts: &fs::Metadata| {
        facts.is_dir() && facts.uid() == rustix::process::geteuid().as_raw() && facts.mode() & 0o022 == 0
    };
    fs::symlink_metadata(folder).is_ok_and(|facts| of_user(&facts))
}

/// `None` when a living program has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever looks by hand.
            writeln!(file, "{}", std::process::id())?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Capture files, and their bytes.
fn held(ring: &Path) -> (usize, u64) {
    let entries = fs::read_dir(ring).into_iter().flatten().flatten();
    let captures = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pcapng"));
    captures.fold((0, 0), |(files, bytes), entry| (files + 1, bytes + entry.metadata().map_or(0, |facts| facts.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_captures_is_found_again_and_goes_only_when_told_to() {
        let state = tempfile::tempdir().expect("a folder");
        let rings = Rings::in_folders([state.path().to_owned()]);
        let session = SessionId::new(7);
        let ring = rings.create(&session).expect("made");
        let mode = fs::metadata(ring.path()).expect("there").mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(ring.path().join("1.pcapng"), b"packets").expect("written");
        assert!(matches!(rings.open(&session), Err(RingError::InUse(_))), "while it is held");
        assert!(rings.all()[0].in_use);
        drop(ring);
        let left = rings.all();
        assert_eq!((left.len(), left[0].files, left[0].bytes, left[0].in_use), (1, 1, 7, false));
        let ring = rings.open(&session).expect("nobody has it");
        ring.remove().expect("removed");
        drop(ring);
        assert_eq!(rings.all(), []);
        assert!(matches!(rings.open(&session), Err(RingError::Unknown(_))));
        assert_eq!(fs::read_dir(state.path().join("rings")).expect("the folder").count(), 0);
    }

    #[test]
    fn what_holds_nothing_goes_by_itself() {
        let state = tempfile::tempdir().expect("a folder");
        let rings = Rings::in_folders([state.path().to_owned()]);
        let ring = rings.create(&SessionId::new(1)).expect("made");
        fs::write(ring.path().join("manifest.json"), b"{}").expect("written");
        drop(ring);
        // As a program leaves it that was killed.
        let killed = state.path().join("rings/00000002/ring");
        fs::create_dir_all(&killed).expect("made");
        assert_eq!(rings.all(), []);
        assert_eq!(fs::read_dir(state.path().join("rings")).expect("the folder").count(), 0);
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_used() {
        let state = tempfile::tempdir().expect("a folder");
        let open = state.path().join("a/rings");
        fs::create_dir_all(&open).expect("made");
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("set");
        let second = state.path().join("b");
        let rings = Rings::in_folders([state.path().join("a"), second.clone()]);
        let ring = rings.create(&SessionId::new(1)).expect("the second is fine");
        assert!(ring.path().starts_with(second));
    }
}
