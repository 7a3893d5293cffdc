//! Sessions on disk: what was made, written before it is made.
//!
//! Owns the files under `$XDG_STATE_HOME/nodewatch-tui/sessions`, one a session, of JSON lines that are only ever
//! appended and each flushed to the disk. The program that has a session open holds its file's lock. Must not know
//! a cluster.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nodewatch_protocol::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{
    base::{clock::unix_millis, disk, folders, text},
    model::{
        ClusterIdentity, Failure, Holder, LogsSettings, MadeObject, Notice, SUMMARY_VERSION, SessionId,
        StorageSettings, Summary,
    },
};

/// Somebody who only looks holds a lock for a moment; trying again passes it.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(40);
/// Journals of sessions that are over are kept for so long.
const KEPT: u64 = 30 * 86_400_000;

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
    #[error("there is no journal of session {0} on this laptop")]
    Unknown(SessionId),
    /// The first line is not what a session begins with.
    #[error("the journal {path:?} cannot be read: its first line is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl JournalError {
    /// For the user, as the reason why something was not done.
    pub fn notice(&self, headline: impl Into<String>) -> Notice {
        let (next_step, failure) = match self {
            Self::NoHome => ("set HOME", Failure::BadInput),
            Self::File { .. } => ("make room or mend its rights, or choose another XDG_STATE_HOME", Failure::Other),
            Self::InUse(_) => ("quit it there first", Failure::Other),
            Self::Unknown(_) => ("see nodewatch-tui sessions", Failure::BadInput),
            Self::Damaged { .. } => ("clean up by hand (docs/guide.md), then delete the file", Failure::Other),
        };
        Notice::error(headline, text::chain(self), next_step).of(failure)
    }
}

/// What a session begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The session.
    pub session: SessionId,
    /// Who began it, as `user@host`.
    pub owner: String,
    /// When.
    pub began: UnixMillis,
    /// When its agents end by themselves, unless a later entry says otherwise.
    pub ends: UnixMillis,
    /// Where.
    pub cluster: ClusterIdentity,
    /// The namespace of its agents.
    pub namespace: String,
    /// The namespace is the session's own, and goes with it.
    pub own_namespace: bool,
    /// How its agents are deployed; `None` in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Box<Deployed>>,
}

/// How a session's agents are deployed, so that whoever takes it up needs no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployed {
    /// Their image.
    pub image: String,
    /// When it is pulled, in Kubernetes' word.
    pub pull_policy: Option<String>,
    /// The program that is sent into pods of a stock image.
    pub pushed: Option<Pushed>,
    /// How long they go on without a heartbeat.
    pub lease_seconds: u64,
    /// They find out who holds ports.
    pub processes: bool,
    /// What the ring on a node may take, where the user has said it.
    pub ring: Option<u64>,
    /// A service account that existed before the session.
    pub service_account: Option<String>,
    /// The role that they assume.
    pub role: Option<String>,
    /// A Job removes the namespace at the session's end.
    pub reaper: bool,
    /// Nodes that join while nobody is attached get one.
    pub daemonset: bool,
}

/// A program that is sent into pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pushed {
    /// Where it was on the laptop.
    pub program: PathBuf,
    /// Its lower-case hexadecimal SHA-256.
    pub sha256: String,
    /// The pods run as uid 0.
    pub as_root: bool,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first line.
    Began(Header),
    /// About to be created. Without a later line it may exist or not.
    Making(MadeObject),
    /// Created, with its UID.
    Made(MadeObject),
    /// Seen gone.
    Gone(MadeObject),
    /// What was in the session's own namespace before anything of the session: `ConfigMap/NAME`.
    Before(BTreeSet<String>),
    /// The session's cluster has another address or CA now, and the user has said that this is right.
    Moved(ClusterIdentity),
    /// The budget was changed.
    Ends(UnixMillis),
    /// Where in S3 its captures go; `None` once they are gone.
    Storage(Option<StorageSettings>),
    /// Where its reports go and whether there are alarms on them; `None` once the alarms are gone.
    Logs(Option<LogsSettings>),
    /// Left running on purpose.
    Detached,
    /// Taken up again.
    Attached,
    /// What became of it, as JSON.
    Receipt(serde_json::Value),
}

impl Entry {
    /// For people; `None` for what is bookkeeping.
    fn text(&self) -> Option<String> {
        Some(match self {
            Self::Began(header) => format!("begun by {} in context {}", header.owner, header.cluster.context),
            Self::Made(object) => format!("made {}", object.text()),
            Self::Gone(object) => format!("seen gone: {}", object.text()),
            Self::Ends(_) => "its end was moved".to_owned(),
            Self::Moved(cluster) => format!("its cluster is trusted at {}", cluster.server),
            Self::Storage(Some(storage)) => format!("captures go to {}", storage.url),
            Self::Logs(Some(logs)) => format!("reports go to log group {}", logs.group),
            Self::Detached => "left running on purpose".to_owned(),
            Self::Attached => "taken up again".to_owned(),
            Self::Making(_) | Self::Before(_) | Self::Storage(None) | Self::Logs(None) | Self::Receipt(_) => {
                return None;
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: UnixMillis,
    #[serde(flatten)]
    entry: Entry,
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
            .map_err(failed("make the folder", &self.folder))?;
        self.forget_old();
        let path = self.path(&header.session);
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("make the journal", &path))?;
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
        let file = OpenOptions::new().append(true).read(true).open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => JournalError::Unknown(session.clone()),
            _ => JournalError::File { operation: "open the journal", path: path.clone(), source },
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
        let text = fs::read(self.summary_path(session)).ok()?;
        serde_json::from_slice(&text).ok().filter(|summary: &Summary| summary.version == SUMMARY_VERSION)
    }

    /// What a session's journal tells, oldest first.
    pub fn history(&self, session: &SessionId) -> Vec<(UnixMillis, String)> {
        let bytes = fs::read(self.path(session)).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        lines.filter_map(|line| Some((line.at, line.entry.text()?))).collect()
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
                && record.storage.is_none()
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
        TryLockError::Error(source) => {
            JournalError::File { operation: "lock the journal", path: path.to_owned(), source }
        }
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
            file.write_all(b"\n").map_err(|source| self.failed("mend the journal", source))?;
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> JournalError {
        JournalError::File { operation, path: self.path.clone(), source }
    }
}

/// A session as its journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How it began.
    pub header: Header,
    /// When its agents end by themselves.
    pub ends: UnixMillis,
    /// What may exist: being made or made, and not seen gone. With the time of its making.
    pub objects: Vec<(UnixMillis, MadeObject)>,
    /// What was in its own namespace before anything of it.
    pub before: BTreeSet<String>,
    /// Where in S3 it has captures.
    pub storage: Option<StorageSettings>,
    /// Where its reports go, as long as something of them is to be removed or may be.
    pub logs: Option<LogsSettings>,
    /// Left running on purpose.
    pub detached: bool,
    /// The last line's time.
    pub last: UnixMillis,
}

impl Record {
    /// There may be alarms of it.
    pub fn has_alarms(&self) -> bool {
        self.logs.as_ref().is_some_and(|logs| logs.alarms)
    }

    /// Nothing of it can be left.
    pub fn is_over(&self) -> bool {
        self.objects.is_empty()
    }

    fn apply(&mut self, line: Line) {
        self.last = line.at;
        match line.entry {
            Entry::Began(_) | Entry::Receipt(_) => {}
            Entry::Making(object) => self.objects.push((line.at, object)),
            Entry::Made(object) => {
                let making = |known: &MadeObject| known.uid.is_none() && known.is_named_as(&object);
                match self.objects.iter_mut().find(|(_, known)| making(known)) {
                    Some(known) => known.1 = object,
                    None => self.objects.push((line.at, object)),
                }
            }
            Entry::Gone(object) => self.objects.retain(|(_, known)| !known.is(&object)),
            Entry::Before(before) => self.before = before,
            Entry::Moved(cluster) => self.header.cluster = cluster,
            Entry::Ends(ends) => self.ends = ends,
            Entry::Storage(storage) => self.storage = storage,
            Entry::Logs(logs) => self.logs = logs,
            Entry::Detached => self.detached = true,
            Entry::Attached => self.detached = false,
        }
    }
}

/// Reads a journal. Lines that are damaged, as the last one is after a crash, are passed over.
fn read(path: &Path) -> Result<Record, JournalError> {
    let bytes =
        fs::read(path).map_err(|source| JournalError::File { operation: "read", path: path.to_owned(), source })?;
    replay(&bytes).ok_or_else(|| JournalError::Damaged { path: path.to_owned() })
}

fn replay(bytes: &[u8]) -> Option<Record> {
    let mut lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let Line { at, entry: Entry::Began(header) } = lines.next()? else { return None };
    let mut record = Record {
        ends: header.ends,
        header,
        objects: Vec::new(),
        before: BTreeSet::new(),
        storage: None,
        logs: None,
        detached: false,
        last: at,
    };
    lines.for_each(|line| record.apply(line));
    Some(record)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Kind;

    fn header(id: u32) -> Header {
        Header {
            session: SessionId::new(id),
            owner: "me@here".into(),
            began: 1,
            ends: 100,
            cluster: ClusterIdentity {
                kubeconfig: vec!["/k".into()],
                context: "c".into(),
                server: "https://s".into(),
                ca_sha256: None,
                kube_system_uid: "u".into(),
            },
            namespace: "n".into(),
            own_namespace: true,
            agents: None,
        }
    }

    #[test]
    fn a_journal_of_an_earlier_version_is_read_and_a_later_ones_agents_are_passed_over_field_by_field() {
        let line = |header: &str| format!("{{\"at\":1,\"began\":{header}}}\n");
        let mut json = serde_json::to_value(header(1)).expect("JSON");
        assert!(json.get("agents").is_none(), "as an earlier program wrote it: {json}");
        assert_eq!(replay(line(&json.to_string()).as_bytes()).expect("read").header, header(1));
        json["agents"] = serde_json::json!({"image": "a:1", "lease_seconds": 7200, "what_comes": {"later": true}});
        let agents = replay(line(&json.to_string()).as_bytes()).expect("read").header.agents.expect("agents");
        assert_eq!((agents.image.as_str(), agents.lease_seconds, agents.reaper), ("a:1", 7200, false));
    }

    fn job(name: &str, uid: Option<&str>) -> MadeObject {
        MadeObject {
            kind: Kind::Job,
            namespace: Some("n".into()),
            name: name.into(),
            uid: uid.map(str::to_owned),
            purpose: "node".into(),
        }
    }

    fn names(record: &Record) -> Vec<(&str, Option<&str>)> {
        record.objects.iter().map(|(_, object)| (object.name.as_str(), object.uid.as_deref())).collect()
    }

    #[test]
    fn a_session_can_be_told_after_it_has_ended_and_goes_with_its_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let journal = journals.create(&header(1)).expect("created");
        journal.record(Entry::Making(job("a", None))).expect("recorded");
        journal.record(Entry::Made(job("a", Some("1")))).expect("recorded");
        journal.record(Entry::Gone(job("a", Some("1")))).expect("recorded");
        drop(journal);
        let session = header(1).session;
        let told: Vec<String> = journals.history(&session).into_iter().map(|(_, text)| text).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("begun by") && told[2].starts_with("seen gone: Job a"), "{told:?}");
        assert_eq!(journals.summary(&session), None);
        let summary = Summary {
            version: SUMMARY_VERSION,
            session: session.clone(),
            place: String::new(),
            program: String::new(),
            began: None,
            ends: None,
            written: 1,
            timeline: Vec::new(),
            nodes: Vec::new(),
            receipt: Vec::new(),
        };
        journals.save_summary(&summary).expect("saved");
        assert_eq!(journals.summary(&session), Some(summary.clone()));
        assert_eq!(journals.all().len(), 1, "a summary is no journal");
        // One of a program that is newer is not guessed at.
        journals.save_summary(&Summary { version: SUMMARY_VERSION + 1, ..summary }).expect("saved");
        assert_eq!(journals.summary(&session), None);
        journals.forget(&session).expect("forgotten");
        assert_eq!(fs::read_dir(folder.path().join("sessions")).expect("there").count(), 0);
    }

    #[test]
    fn what_was_about_to_be_made_is_known_until_it_is_seen_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let journal = journals.create(&header(1)).expect("created");
        for entry in [
            Entry::Making(job("a", None)),
            Entry::Made(job("a", Some("1"))),
            Entry::Making(job("b", None)),
            Entry::Making(job("c", None)),
            Entry::Made(job("c", Some("3"))),
            Entry::Gone(job("c", Some("3"))),
            Entry::Ends(200),
            Entry::Detached,
        ] {
            journal.record(entry).expect("recorded");
        }
        drop(journal);
        let (journal, record) = journals.open(&SessionId::new(1)).expect("opened");
        assert_eq!(names(&record), [("a", Some("1")), ("b", None)]);
        assert_eq!((record.ends, record.detached, record.is_over()), (200, true, false));
        // Another object of the same name is not the one that was made.
        journal.record(Entry::Gone(job("a", Some("9")))).expect("recorded");
        journal.record(Entry::Gone(job("b", Some("2")))).expect("recorded");
        journal.record(Entry::Attached).expect("recorded");
        let record = journals.all().remove(0).expect("readable");
        assert_eq!((names(&record), record.detached), (vec![("a", Some("1"))], false));
    }

    #[test]
    fn only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let journal = journals.create(&header(1)).expect("created");
        let mode = |path: &Path| fs::metadata(path).expect("facts").permissions().mode() & 0o777;
        assert_eq!((mode(&journal.path), mode(&journals.folder)), (0o600, 0o700));
    }

    #[test]
    fn a_line_torn_by_a_crash_costs_itself_and_not_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let journal = journals.create(&header(1)).expect("created");
        journal.record(Entry::Making(job("a", None))).expect("recorded");
        let path = journal.path.clone();
        drop(journal);
        let mut torn = fs::read(&path).expect("readable");
        torn.extend_from_slice(b"{\"at\":5,\"made\":{\"kind\":\"Jo");
        fs::write(&path, torn).expect("written");

        let (journal, record) = journals.open(&SessionId::new(1)).expect("opened");
        assert_eq!(names(&record), [("a", None)]);
        journal.record(Entry::Made(job("a", Some("1")))).expect("recorded");
        assert_eq!(names(&read(&path).expect("readable")), [("a", Some("1"))]);
    }

    #[test]
    fn a_session_that_is_open_cannot_be_opened_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let journal = journals.create(&header(1)).expect("created");
        let other = journals.create(&header(2)).expect("another session is no matter");
        assert!(matches!(journals.open(&SessionId::new(1)), Err(JournalError::InUse(_))));
        let records: Vec<Record> = journals.all().into_iter().flatten().collect();
        assert_eq!(records.len(), 2);
        assert_eq!(journals.holder(&records[0]), Holder::Running);
        drop((journal, other));
        assert_eq!(journals.holder(&records[0]), Holder::Abandoned);
        assert!(matches!(journals.open(&SessionId::new(3)), Err(JournalError::Unknown(_))));
    }

    #[test]
    fn a_file_that_is_no_journal_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        fs::create_dir_all(&journals.folder).expect("a folder");
        fs::write(journals.folder.join("00000001.json"), "what\n").expect("written");
        let error = journals.all().remove(0).expect_err("damaged").to_string();
        assert!(error.contains("00000001.json"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = replay(&bytes);
        }
    }
}
