//! Recordings: a session's events on disk, and the same frames made of them again.
//!
//! Owns the file's form: JSON lines, the first with what the app began as, then every event and every frame with its
//! time. Packets are not among the app's events, and credentials are taken out before anything is written.

mod player;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nodewatch_protocol::{Freeze, Request, Sink, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, Event, Permission, delivery::StorageInfo, reports::Reports},
    base::text,
    model::{Failure, LogsSettings, Notice, Place, S3Url, SessionId, Way},
};
pub use player::{Player, Step};

/// The form of recordings.
const VERSION: u32 = 1;
/// A recording that gets longer than this ends there, in bytes: a forgotten one does not fill the disk.
const LONGEST: u64 = 1 << 30;
/// The size of frames that nobody saw.
const UNSEEN: (u16, u16) = (120, 40);

/// A recording cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file.
    #[error("cannot {operation} the recording {path:?}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its contents.
    #[error("{path:?} is no recording of this version: line {line}: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It has reached [`LONGEST`].
    #[error("the recording {0:?} has reached 1 GiB")]
    Full(PathBuf),
}

impl RecordError {
    /// For the user.
    pub fn notice(&self) -> Notice {
        let (headline, next_step) = match self {
            Self::File { operation: "make" | "read", .. } | Self::Invalid { .. } => {
                ("the recording cannot be used", "name another file; a recording is not written over")
            }
            Self::File { .. } | Self::Full(_) => ("the recording has ended", "the session goes on without it"),
        };
        Notice::error(headline, text::chain(self), next_step).of(Failure::BadInput)
    }
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    recording: u32,
    program: String,
    start: Start,
}

/// What the app began as.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Start {
    place: Place,
    session: SessionId,
    budget: Duration,
    lease: Duration,
    permission: Permission,
    namespace: Option<String>,
    first_run: bool,
    processes: bool,
    exclude: String,
    expect: String,
    storage: Option<(S3Url, Way)>,
    reports: Option<LogsSettings>,
    ring_bytes: Option<u64>,
    freeze: Freeze,
    keep_files: bool,
}

impl Start {
    fn of(app: &App) -> Self {
        Self {
            place: app.place.clone(),
            session: app.session.id.clone(),
            budget: app.session.budget,
            lease: app.session.lease,
            permission: app.permission,
            namespace: app.namespace.clone(),
            first_run: app.first_run,
            processes: app.ports.processes,
            exclude: app.ports.exclude.to_string(),
            expect: app.ports.named.to_string(),
            storage: app.storage.as_ref().map(|storage| (storage.url.clone(), storage.way.clone())),
            reports: app.reports.as_ref().map(|reports| reports.settings.clone()),
            ring_bytes: app.ring_bytes,
            freeze: app.freeze,
            keep_files: app.keep_files,
        }
    }

    fn app(self) -> Result<App, String> {
        let mut app = App::new(self.place, self.session, self.budget);
        app.session.lease = self.lease;
        app.permission = self.permission;
        app.namespace = self.namespace;
        app.first_run = self.first_run;
        app.ports.processes = self.processes;
        app.ports.exclude = self.exclude.parse().map_err(|error| format!("{error}"))?;
        app.ports.named = self.expect.parse().map_err(|error| format!("{error}"))?;
        app.storage = self.storage.map(|(url, way)| StorageInfo { url, way });
        app.reports = self.reports.map(Reports::new);
        app.ring_bytes = self.ring_bytes;
        app.freeze = self.freeze;
        app.keep_files = self.keep_files;
        Ok(app)
    }
}

/// Every further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Something happened.
    Event(UnixMillis, Box<Event>),
    /// The screen was drawn in so many columns and rows.
    Frame(UnixMillis, u16, u16),
}

/// A recording that is being made.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    out: BufWriter<File>,
    written: u64,
    /// Somebody draws.
    framed: bool,
}

impl Recorder {
    /// Begins a file that must not exist, which nobody else may read.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let failed = |source| RecordError::File { operation: "make", path: path.to_owned(), source };
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file.map_err(failed)?), written: 0, framed: false })
    }

    /// What the app is before its first event.
    pub fn begin(&mut self, app: &App) -> Result<(), RecordError> {
        let header =
            Header { recording: VERSION, program: env!("CARGO_PKG_VERSION").to_owned(), start: Start::of(app) };
        self.write(&header)
    }

    /// An event, before the app takes it in.
    pub fn event(&mut self, event: &Event, at: UnixMillis) -> Result<(), RecordError> {
        self.write(&Line::Event(at, Box::new(without_secrets(event))))?;
        // Without a terminal nothing is drawn; a replay shows what would have been.
        if matches!(event, Event::Tick) && !self.framed {
            let (width, height) = UNSEEN;
            self.write(&Line::Frame(at, width, height))?;
        }
        Ok(())
    }

    /// A frame, after it was drawn. What was recorded until then is on the disk.
    pub fn frame(&mut self, at: UnixMillis, width: u16, height: u16) -> Result<(), RecordError> {
        self.framed = true;
        self.write(&Line::Frame(at, width, height))?;
        self.out.flush().map_err(|source| self.failed(source))
    }

    /// All of it is on the disk.
    pub fn finish(mut self) -> Result<(), RecordError> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|source| self.failed(source))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), RecordError> {
        let mut bytes = text::json(line).map_err(|error| self.failed(error.into()))?.into_bytes();
        bytes.push(b'\n');
        self.written += bytes.len() as u64;
        if self.written > LONGEST {
            return Err(RecordError::Full(self.path.clone()));
        }
        self.out.write_all(&bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::File { operation: "write", path: self.path.clone(), source }
    }
}

/// A session that never began leaves no file, which would be in the way of the next try.
impl Drop for Recorder {
    fn drop(&mut self) {
        if self.written == 0 {
            // Whoever wants the file for something else finds it empty.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A signed grant lets whoever has it write to the bucket; that an agent was given one is all there is to tell.
fn without_secrets(event: &Event) -> Event {
    match event {
        Event::Answer(node, Request::Sink(_), response) => {
            Event::Answer(node.clone(), Request::Sink(Sink::Ring), response.clone())
        }
        Event::Asked(node, Request::Sink(_)) => Event::Asked(node.clone(), Request::Sink(Sink::Ring)),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nodewatch_protocol::{Grant, Response};

    use super::*;

    fn app() -> App {
        App::new(Place::Local, SessionId::new(7), Duration::from_secs(60))
    }

    #[test]
    fn a_grants_signature_is_not_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let mut recorder = Recorder::create(&path).expect("made");
        recorder.begin(&app()).expect("written");
        let fields = BTreeMap::from([("x-amz-signature".to_owned(), "s3cr3t".to_owned())]);
        let grant = Grant {
            url: "https://b.s3".into(),
            fields,
            prefix: "p/".into(),
            max_bytes: 1,
            valid_seconds: 1.into(),
            zstd: false,
            server: nodewatch_protocol::ServerFacts::default(),
        };
        let sink = Request::Sink(Sink::Grant(grant));
        recorder.event(&Event::Answer("n".into(), sink.clone(), Some(Response::Done)), 1).expect("written");
        recorder.event(&Event::Asked("n".into(), sink), 2).expect("written");
        recorder.frame(3, 80, 24).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        assert!(!text.contains("s3cr3t") && text.lines().count() == 4, "{text}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(Recorder::create(&path).is_err_and(|error| error.notice().line().contains("not written over")));
    }

    #[test]
    fn what_is_no_recording_is_named_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let mut recorder = Recorder::create(&path).expect("made");
        recorder.begin(&app()).expect("written");
        recorder.frame(3, 80, 24).expect("written");
        let good = fs::read_to_string(&path).expect("text");
        for (text, told) in [
            (String::new(), "line 1"),
            ("{}".to_owned(), "line 1"),
            (good.replace("\"recording\":1", "\"recording\":2"), "line 1: it has form 2"),
            (format!("{good}{{\"event\":[1,\"Nothing\"]}}\n"), "line 3"),
            (format!("{good}\u{1b}[2J\n"), "line 3"),
            (format!("{good}{{\"frame\":[1,65535,65535]}}\n"), "line 3: no terminal has 65535x65535 cells"),
            (format!("{good}{{\"event\":[18446744073709551615,\"Tick\"]}}\n"), "18446744073709551615 is no time"),
        ] {
            fs::write(&path, &text).expect("written");
            let error = Player::open(&path).and_then(|mut player| {
                while player.step()?.is_some() {}
                Ok(())
            });
            let error = error.expect_err(told).notice().line();
            assert!(error.contains(told) && !error.contains('\u{1b}'), "{error}");
        }
    }
}
