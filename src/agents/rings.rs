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
    time::Duration,
};

use crate::{base::folders, model::SessionId};

/// In a session's folder: whose lock says whether its program lives.
const LOCK: &str = "lock";
/// What the name of a folder begins with that is being made.
const MAKING: &str = ".new-";
/// A folder that is being made is made within so long.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// In a session's folder: what its agent has.
const RING: &str = "ring";

/// A ring that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Its folder.
    #[error("cannot create a private folder for capture files below {below:?}")]
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
    #[error("no captures of session {0} on this machine")]
    Unknown(SessionId),
}

/// The folders that rings are in.
#[derive(Debug, Clone)]
pub struct Rings {
    places: Vec<Place>,
}

/// Where rings may be.
#[derive(Debug, Clone)]
struct Place {
    rings: PathBuf,
    /// The folder above is the user's by being in the home: it may be a link.
    at_home: bool,
}

impl Place {
    fn new(folder: &Path, at_home: bool) -> Self {
        Self { rings: folder.join("rings"), at_home }
    }

    /// Nobody else can put another folder in its place.
    fn is_private(&self) -> bool {
        is_private(&self.rings) && (self.at_home || self.rings.parent().is_some_and(is_private))
    }
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
        let home = folders::kept_state().map(|folder| Place::new(&folder, true));
        Self { places: home.into_iter().chain([Place::new(&temporary, false)]).collect() }
    }

    /// In the first of these that can be written, and that nobody else can write.
    pub fn in_folders(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { places: folders.into_iter().map(|folder| Place::new(&folder, false)).collect() }
    }

    /// A new session's.
    pub fn create(&self, session: &SessionId) -> Result<Ring, RingError> {
        let mut failed = None;
        for place in &self.places {
            match Ring::create(place, session) {
                Ok(ring) => return Ok(ring),
                Err(source) => failed = Some(RingError::Folder { below: place.rings.clone(), source }),
            }
        }
        Err(failed.unwrap_or_else(|| RingError::Unknown(session.clone())))
    }

    /// That of a session whose program has ended.
    pub fn open(&self, session: &SessionId) -> Result<Ring, RingError> {
        let places = self.places.iter().filter(|place| place.is_private());
        let mut folders = places.map(|place| place.rings.join(session.as_str()));
        let folder = folders.find(|folder| is_private(folder));
        let folder = folder.ok_or_else(|| RingError::Unknown(session.clone()))?;
        let failed = |source| RingError::Folder { below: folder.clone(), source };
        match lock(&folder).map_err(failed)? {
            Some(lock) => Ok(Ring { folder, _lock: lock, removed: AtomicBool::new(false) }),
            None => Err(RingError::InUse(session.clone())),
        }
    }

    /// What there is; what holds no captures and is nobody's goes. In the order of their ids.
    pub fn all(&self) -> Vec<LeftRing> {
        let places = self.places.iter().filter(|place| place.is_private());
        let entries = places.filter_map(|place| fs::read_dir(&place.rings).ok());
        let sessions = entries.flatten().flatten().filter_map(|entry| {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(MAKING)) {
                remove_unmade(&entry.path());
            }
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
    fn create(place: &Place, session: &SessionId) -> io::Result<Self> {
        let below = &place.rings;
        let mut private = DirBuilder::new();
        private.mode(0o700).recursive(true).create(below)?;
        if !place.is_private() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "other users can write to it"));
        }
        let folder = below.join(session.as_str());
        // Whoever sees it under its name finds it held.
        let making = below.join(format!("{MAKING}{session}-{}", std::process::id()));
        private.recursive(false).create(&making)?;
        let made = private.create(making.join(RING)).and_then(|()| {
            let lock = lock(&making)?.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))?;
            fs::rename(&making, &folder)?;
            Ok(lock)
        });
        match made {
            Ok(lock) => Ok(Self { folder, _lock: lock, removed: AtomicBool::new(false) }),
            Err(error) => {
                let _ = fs::remove_dir_all(&making);
                Err(error)
            }
        }
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

/// What a program left that was killed while it made a ring.
fn remove_unmade(folder: &Path) {
    let changed = fs::symlink_metadata(folder).and_then(|facts| facts.modified());
    let is_old = changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > MADE_WITHIN));
    if is_old && is_private(folder) && lock(folder).is_ok_and(|lock| lock.is_some()) {
        let _ = fs::remove_dir_all(folder);
    }
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
    fn a_ring_that_is_being_made_is_seen_by_nobody_and_never_removed() {
        let state = tempfile::tempdir().expect("a folder");
        let rings = Rings::in_folders([state.path().to_owned()]);
        let making = std::thread::spawn({
            let rings = rings.clone();
            move || {
                (0..300).map(|number| rings.create(&SessionId::new(number)).map(drop)).collect::<Result<Vec<_>, _>>()
            }
        });
        while !making.is_finished() {
            rings.all();
        }
        making.join().expect("no panic").expect("each is made");
        // As a program leaves it that is killed in between: it goes, but not while it may be being made.
        let unmade = state.path().join("rings").join(format!("{MAKING}00000001-1"));
        DirBuilder::new().mode(0o700).recursive(true).create(unmade.join(RING)).expect("made");
        assert!(rings.all().is_empty() && unmade.exists());
        let old = std::time::SystemTime::now() - 2 * MADE_WITHIN;
        File::open(&unmade).and_then(|folder| folder.set_modified(old)).expect("set");
        assert!(rings.all().is_empty() && !unmade.exists());
    }

    #[test]
    fn a_folder_below_one_that_is_a_link_or_that_others_can_write_is_not_used() {
        let state = tempfile::tempdir().expect("a folder");
        let [open, real, link] = ["open", "real", "link"].map(|name| state.path().join(name));
        for folder in [&open, &real] {
            DirBuilder::new().mode(0o700).recursive(true).create(folder.join("rings")).expect("made");
        }
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("set");
        std::os::unix::fs::symlink(&real, &link).expect("made");
        for folder in [open, link] {
            DirBuilder::new().mode(0o700).create(folder.join("rings/00000001")).expect("made");
            let rings = Rings::in_folders([folder]);
            assert!(rings.create(&SessionId::new(2)).is_err());
            assert!(matches!(rings.open(&SessionId::new(1)), Err(RingError::Unknown(_))));
            assert_eq!(rings.all(), []);
        }
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
