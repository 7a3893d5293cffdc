//! Sessions on disk: what was made, written before it is made.
//!
//! Owns the files under `$XDG_STATE_HOME/nodewatch-tui/sessions`, one a session, of JSON lines that are only ever
//! appended and each flushed to the disk. The program that has a session open holds its file's lock. Must not know
//! a cluster.

mod entry;
mod record;
mod told;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    base::{clock::unix_millis, disk, folders, text},
    model::{Failure, Holder, Notice, SUMMARY_VERSION, SessionId, Summary},
};
use entry::Line;
pub use entry::{Deployed, Entry, Header, Pushed};
pub use record::Record;
use record::replay;

/// Somebody who only looks holds a lock for a moment; trying again passes it.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(40);
/// Journals of sessions that are over are kept for so long.
const KEPT: u64 = 30 * 86_400_000;
/// A file that is larger is no journal.
const LARGEST: u64 = 256 << 20;

/// What is done with a journal that is there.
const READ: &str = "read";
const OPEN: &str = "open the journal";
const LOCK: &str = "lock the journal";

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no place for it.
    #[error("neither XDG_STATE_HOME nor HOME is set, so there is no folder for the journal")]
    NoHome,
    /// A file or folder.
    #[error("cannot {operation} {path:?}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program has it open.
    #[error("session {0} is open in another nodewatch-tui on this laptop")]
    InUse(SessionId),
    /// No such session.
    #[error("this laptop has no journal of session {0}")]
    Unknown(SessionId),
    /// The first line is not what a session begins with.
    #[error("cannot read the journal {path:?}: its first line is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl JournalError {
    /// For the user, as the reason why something was not done.
    pub fn notice(&self, headline: impl Into<String>) -> Notice {
        let failure = match self {
            Self::NoHome | Self::Unknown(_) => Failure::BadInput,
            Self::File { .. } | Self::InUse(_) | Self::Damaged { .. } => Failure::Other,
        };
        Notice::error(headline, text::chain(self), self.next_step()).of(failure)
    }

    fn next_step(&self) -> String {
        match self {
            Self::NoHome => "set HOME".to_owned(),
            // Room helps nobody who may not read, and another folder has none of what is to be read.
            Self::File { operation: READ | OPEN | LOCK, .. } => "make it readable and writable for you".to_owned(),
            Self::File { .. } => "free disk space or fix its permissions, or choose another XDG_STATE_HOME".to_owned(),
            Self::InUse(_) => "quit it there first".to_owned(),
            Self::Unknown(_) => "see nodewatch-tui sessions".to_owned(),
            Self::Damaged { path } => {
                let id = path.file_stem().unwrap_or_default().to_string_lossy();
                let (forget, clean) = (text::command(["cleanup", "--forget", &id]), text::command(["cleanup", &id]));
                format!("{forget} drops it; then {clean} removes what its cluster's context still lists of the session")
            }
        }
    }
}

/// The folder of all journals.
#[derive(Debug, Clone)]
pub struct Journals {
    folder: PathBuf,
}

impl Journals {
    /// Where the environment says.
    pub fn from_environment() -> Result<Self, JournalError> {
        Ok(Self::in_folder(&folders::state().ok_or(JournalError::NoHome)?))
    }

    /// Below the program's state folder.
    pub fn in_folder(state: &Path) -> Self {
        Self { folder: state.join("sessions") }
    }

    /// Begins a session's journal.
    pub fn create(&self, header: &Header) -> Result<Journal, JournalError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::File { operation, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(failed("create the folder", &self.folder))?;
        self.forget_old();
        let path = self.path(&header.session);
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("create the journal", &path))?;
        file.try_lock().map_err(|error| lock_error(error, &path, &header.session))?;
        let journal = Journal { file: Mutex::new(file), path };
        if let Err(error) = journal.record(Entry::Began(header.clone())) {
            // Nothing was made yet, so an empty file is no record of anything.
            let _ = fs::remove_file(&journal.path);
            return Err(error);
        }
        // The name must be on the disk too.
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(failed("flush the folder", &self.folder))?;
        Ok(journal)
    }

    /// Opens a session's journal to go on with it.
    pub fn open(&self, session: &SessionId) -> Result<(Journal, Record), JournalError> {
        let path = self.path(session);
        if fs::metadata(&path).is_ok_and(|facts| !facts.is_file()) {
            // Opening a pipe would wait for ever.
            read(&path)?;
        }
        let file = OpenOptions::new().append(true).read(true).open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => JournalError::Unknown(session.clone()),
            _ => JournalError::File { operation: OPEN, path: path.clone(), source },
        })?;
        let mut tries = 1;
        while let Err(error) = file.try_lock() {
            if tries == LOCK_TRIES {
                return Err(lock_error(error, &path, session));
            }
            tries += 1;
            std::thread::sleep(LOCK_PAUSE);
        }
        let record = read(&path)?;
        let journal = Journal { file: Mutex::new(file), path };
        journal.end_torn_line()?;
        Ok((journal, record))
    }

    /// What a session's journal says, whoever has it open.
    pub fn record(&self, session: &SessionId) -> Result<Record, JournalError> {
        read(&self.path(session)).map_err(|error| match error {
            JournalError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                JournalError::Unknown(session.clone())
            }
            error => error,
        })
    }

    /// Drops a session's journal, whatever it says. Nothing is removed from a cluster.
    pub fn forget(&self, session: &SessionId) -> Result<(), JournalError> {
        // Not while a program goes by it.
        let _held = match self.open(session) {
            Ok((journal, _)) => Some(journal),
            Err(JournalError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let path = self.path(session);
        // Nothing depends on it, and there may be none.
        let _ = fs::remove_file(self.summary_path(session));
        fs::remove_file(&path).map_err(|source| JournalError::File { operation: "remove the journal", path, source })
    }

    /// Writes down what a session's report is made of, beside its journal.
    pub fn save_summary(&self, summary: &Summary) -> Result<(), JournalError> {
        let path = self.summary_path(&summary.session);
        let failed = |source| JournalError::File { operation: "write the summary", path: path.clone(), source };
        let text = serde_json::to_vec(summary).map_err(|error| failed(error.into()))?;
        disk::write_over(&path, &text).map(drop).map_err(|error| failed(io::Error::other(error)))
    }

    /// What a session's report is made of; `None` when nobody has written it down, or not in a form that can be read.
    pub fn summary(&self, session: &SessionId) -> Option<Summary> {
        let text = disk::read_regular(&self.summary_path(session), LARGEST).ok()?;
        serde_json::from_slice(&text).ok().filter(|summary: &Summary| summary.version == SUMMARY_VERSION)
    }

    /// A journal's lines, oldest first.
    fn lines(&self, session: &SessionId) -> Vec<Line> {
        let bytes = disk::read_regular(&self.path(session), LARGEST).unwrap_or_default();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()).collect()
    }

    fn summary_path(&self, session: &SessionId) -> PathBuf {
        self.folder.join(format!("{session}.summary"))
    }

    /// Every session that has a journal, by name; damaged ones as errors.
    pub fn all(&self) -> Vec<Result<Record, JournalError>> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }

    /// Who has to do with a session that has a journal here.
    pub fn holder(&self, record: &Record) -> Holder {
        let probe = File::open(self.path(&record.header.session)).map(|file| file.try_lock_shared());
        match probe {
            Ok(Err(TryLockError::WouldBlock)) => Holder::Running,
            _ if record.detached => Holder::Detached,
            _ => Holder::Abandoned,
        }
    }

    fn path(&self, session: &SessionId) -> PathBuf {
        self.folder.join(format!("{session}.json"))
    }

    /// Journals that nothing depends on any more.
    fn forget_old(&self) {
        let now = unix_millis();
        for record in self.all().into_iter().flatten() {
            // The only record of where its captures are.
            if record.is_over()
                && record.places().next().is_none()
                && !record.has_alarms()
                && now.saturating_sub(record.last) > KEPT
            {
                // It will be tried again at the next session.
                let _ = fs::remove_file(self.path(&record.header.session));
                let _ = fs::remove_file(self.summary_path(&record.header.session));
            }
        }
    }
}

fn lock_error(error: TryLockError, path: &Path, session: &SessionId) -> JournalError {
    match error {
        TryLockError::WouldBlock => JournalError::InUse(session.clone()),
        TryLockError::Error(source) => JournalError::File { operation: LOCK, path: path.to_owned(), source },
    }
}

/// One session's journal, held by this program.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<File>,
    path: PathBuf,
}

impl Journal {
    /// Appends an entry. When this returns, the entry is on the disk.
    pub fn record(&self, entry: Entry) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(&Line { at: unix_millis(), entry })
            .map_err(|error| self.failed("write an entry of", error.into()))?;
        line.push(b'\n');
        // What a full disk has left of an earlier line must not swallow this one.
        self.end_torn_line()?;
        // The file is whole even if a holder panicked: a torn line is passed over.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(|source| self.failed("write to the journal", source))
    }

    fn end_torn_line(&self) -> Result<(), JournalError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = [0];
        let torn = match file.seek(SeekFrom::End(-1)) {
            Ok(_) => file.read(&mut last).is_ok_and(|read| read == 1) && last[0] != b'\n',
            Err(_) => false,
        };
        if torn {
            file.write_all(b"\n").map_err(|source| self.failed("repair the journal", source))?;
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> JournalError {
        JournalError::File { operation, path: self.path.clone(), source }
    }
}

/// Reads a journal. Lines that are damaged, as the last one is after a crash, are passed over.
fn read(path: &Path) -> Result<Record, JournalError> {
    let bytes = disk::read_regular(path, LARGEST).map_err(|source| JournalError::File {
        operation: READ,
        path: path.to_owned(),
        source,
    })?;
    replay(&bytes).ok_or_else(|| JournalError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests;
