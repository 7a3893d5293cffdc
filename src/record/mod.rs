//! Recordings: a session's events on disk, and the same frames made of them again.
//!
//! Owns the file's form: JSON lines, the first with what the session began with, then every event and every frame with its
//! time, the last one a mark that this was all. Packets are not among the events, and credentials are taken out before anything is written.

mod player;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nodewatch_protocol::{Request, Sink, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    base::text,
    model::{Failure, Notice},
    session::{Event, Happened, NoInput, Terms},
};
pub use player::{Player, Step};

/// The form of recordings.
const VERSION: u32 = 3;
/// The form before that, which has no mark at its end.
const WITHOUT_END: u32 = 2;
/// A recording that gets longer than this ends there, in bytes: a forgotten one does not fill the disk.
const LONGEST: u64 = 1 << 30;
/// The size of frames that nobody saw.
const UNSEEN: (u16, u16) = (120, 40);
/// What becomes of a session whose recording has stopped.
const CONTINUES: &str = "the session continues without it";

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
    #[error("{path:?} is not a valid recording: line {line}: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A line that cannot be read at all.
    #[error("{path:?} is not a valid recording: line {line}, column {column}: {reason}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in it.
        column: usize,
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
            Self::File { operation: "create", .. } => {
                ("cannot use the recording", "use another file; recordings are never overwritten")
            }
            Self::File { operation: "read", .. } | Self::Invalid { .. } | Self::Unreadable { .. } => {
                ("cannot use the recording", "use another file")
            }
            Self::File { .. } | Self::Full(_) => {
                return Notice::warning("the recording has stopped", text::chain(self), CONTINUES);
            }
        };
        Notice::error(headline, text::chain(self), next_step).of(Failure::BadInput)
    }
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    recording: u32,
    program: String,
    terms: Terms,
}

/// Every further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<I> {
    /// Something happened.
    Event(UnixMillis, Box<Happened<I>>),
    /// The screen was drawn in so many columns and rows.
    Frame(UnixMillis, u16, u16),
    /// The session has ended.
    End(UnixMillis),
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
        let failed = |source| RecordError::File { operation: "create", path: path.to_owned(), source };
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file.map_err(failed)?), written: 0, framed: false })
    }

    /// What the session begins with.
    pub fn begin(&mut self, terms: &Terms) -> Result<(), RecordError> {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        self.write(&Header { recording: VERSION, program, terms: terms.clone() })
    }

    /// Something that happened, before it is taken in.
    pub fn event<I: Clone + Serialize>(&mut self, happened: &Happened<I>, at: UnixMillis) -> Result<(), RecordError> {
        self.write(&Line::Event(at, Box::new(without_secrets(happened))))?;
        // Without a terminal nothing is drawn; a replay shows what would have been.
        if matches!(happened, Happened::Event(Event::Tick)) && !self.framed {
            self.unseen(at)?;
            self.flush()?;
        }
        Ok(())
    }

    fn unseen(&mut self, at: UnixMillis) -> Result<(), RecordError> {
        let (width, height) = UNSEEN;
        self.write(&Line::<NoInput>::Frame(at, width, height))
    }

    /// A frame, after it was drawn. What was recorded until then is on the disk.
    pub fn frame(&mut self, at: UnixMillis, width: u16, height: u16) -> Result<(), RecordError> {
        self.framed = true;
        self.write(&Line::<NoInput>::Frame(at, width, height))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.out.flush().map_err(|source| self.failed(source))
    }

    /// The session has ended at that time, and all of it is on the disk.
    pub fn finish(mut self, at: UnixMillis) -> Result<(), RecordError> {
        if !self.framed {
            // What came after the last second is to be seen too.
            self.unseen(at)?;
        }
        self.write(&Line::<NoInput>::End(at))?;
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

/// A session that never began, or of which nothing could be written, leaves no file: it would be in the way of the next try.
impl Drop for Recorder {
    fn drop(&mut self) {
        let is_lost = self.written > 0 && self.out.flush().is_err();
        if self.written == 0 || (is_lost && self.out.get_ref().metadata().is_ok_and(|facts| facts.len() == 0)) {
            // Whoever wants the file for something else finds it empty.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A signed grant lets whoever has it write to the bucket; that an agent was given one is all there is to tell.
fn without_secrets<I: Clone>(happened: &Happened<I>) -> Happened<I> {
    let sink = || Request::Sink(Sink::Ring);
    match happened {
        Happened::Event(Event::Answer(node, Request::Sink(_), response)) => {
            Event::Answer(node.clone(), sink(), response.clone()).into()
        }
        Happened::Event(Event::Asked(node, Request::Sink(_))) => Event::Asked(node.clone(), sink()).into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nodewatch_protocol::{Grant, Response};

    use super::*;
    use crate::{
        model::{Place, SessionId},
        session::Session,
    };

    fn terms() -> Terms {
        Terms::new(Place::Local, SessionId::new(7), std::time::Duration::from_secs(60))
    }

    fn answered(sink: Request) -> Happened<NoInput> {
        Event::Answer("n".into(), sink, Some(Response::Done)).into()
    }

    #[test]
    fn a_grants_signature_is_not_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let mut recorder = Recorder::create(&path).expect("made");
        recorder.begin(&terms()).expect("written");
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
        recorder.event(&answered(sink.clone()), 1).expect("written");
        recorder.event(&Happened::<NoInput>::from(Event::Asked("n".into(), sink)), 2).expect("written");
        recorder.frame(3, 80, 24).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        assert!(!text.contains("s3cr3t") && text.lines().count() == 4, "{text}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(Recorder::create(&path).is_err_and(|error| error.notice().line().contains("never overwritten")));
    }

    #[test]
    fn what_is_no_recording_is_named_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let mut recorder = Recorder::create(&path).expect("made");
        recorder.begin(&terms()).expect("written");
        recorder.frame(3, 80, 24).expect("written");
        let good = fs::read_to_string(&path).expect("text");
        for (text, told) in [
            (String::new(), "it is empty"),
            ("{}".to_owned(), "line 1, column 2: missing field"),
            (good.replace("\"recording\":3", "\"recording\":1"), "line 1: unsupported format 1"),
            (format!("{good}{{\"event\":[1,{{\"event\":\"Nothing\"}}]}}\n"), "line 3"),
            (format!("{good}\u{1b}[2J\n"), "line 3"),
            (format!("{good}{{\"frame\":[1,65535,65535]}}\n"), "line 3: invalid terminal size 65535x65535"),
            (
                format!("{good}{{\"event\":[18446744073709551615,{{\"event\":\"Tick\"}}]}}\n"),
                "invalid time 18446744073709551615",
            ),
        ] {
            fs::write(&path, &text).expect("written");
            let error = Player::<Session>::open(&path).and_then(|mut player| {
                while player.step()?.is_some() {}
                Ok(())
            });
            let error = error.expect_err(told).notice().line();
            assert!(error.contains(told) && !error.contains('\u{1b}'), "{error}");
            assert!(error.matches("line ").count() <= 1, "one line is named: {error}");
        }
    }

    fn ends_whole(path: &Path) -> bool {
        let mut player = Player::<Session>::open(path).expect("a recording");
        while player.step().expect("a step").is_some() {}
        player.is_whole()
    }

    #[test]
    fn a_recording_that_was_cut_off_is_known_from_one_that_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let mut recorder = Recorder::create(&path).expect("made");
        recorder.begin(&terms()).expect("written");
        recorder.event(&Happened::<NoInput>::from(Event::Tick), 1).expect("written");
        recorder.event(&answered(Request::Sink(Sink::Ring)), 2).expect("written");
        recorder.finish(3).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        assert!(ends_whole(&path));
        let last = text.lines().rev().nth(1).expect("a line");
        assert!(last.starts_with("{\"frame\":[3,"), "the end is drawn: {last}");
        for length in
            [text.len() - 3, text.trim_end().rfind('\n').expect("lines") + 1, text.find('\n').expect("lines") + 20]
        {
            fs::write(&path, &text[..length]).expect("written");
            assert!(!ends_whole(&path), "{length} of {}", text.len());
        }
        // Those of the form before say nothing of their end.
        let earlier = text.replace("\"recording\":3", "\"recording\":2");
        fs::write(&path, &earlier[..earlier.trim_end().rfind('\n').expect("lines")]).expect("written");
        assert!(ends_whole(&path));
    }

    #[test]
    fn a_disk_that_is_full_is_told_and_leaves_no_empty_file() {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        let path = tempfile::tempdir().expect("a folder").path().join("r.jsonl");
        let mut recorder = Recorder { path, out: BufWriter::new(full), written: 0, framed: false };
        recorder.begin(&terms()).expect("it is in the buffer");
        let error = recorder.event(&Happened::<NoInput>::from(Event::Tick), 1).expect_err("told at the first second");
        let line = error.notice().line();
        assert!(line.contains("the recording has stopped") && line.contains("No space left"), "{line}");
        assert_eq!(error.notice().severity, crate::model::Severity::Warning);
    }
}
