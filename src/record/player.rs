//! A recording, event by event.
//!
//! Owns the reading. Time is the recording's own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use nodewatch_protocol::UnixMillis;
use serde::Deserialize;

use super::{Header, Line, RecordError, VERSION, WITHOUT_END};
use crate::session::{Event, Happened, State};

/// The end of the year 9999. Nothing that is added to a time before it overflows.
const LAST: UnixMillis = 253_402_300_799_999;
/// Lines are shorter: the largest have all open ports of a node.
const LONGEST: u64 = 64 << 20;
/// More cells than any terminal has; so many can be drawn.
const LARGEST: u32 = 1_000_000;

/// What a line of a recording was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An event was taken in.
    Event(UnixMillis),
    /// The screen was drawn in so many columns and rows.
    Frame(UnixMillis, u16, u16),
}

/// The part of the first line that every form has.
#[derive(Deserialize)]
struct Made {
    recording: u32,
    program: String,
}

/// The lines of a file, none of which is longer than [`LONGEST`].
#[derive(Debug)]
struct Lines(BufReader<File>);

impl Lines {
    fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        self.0.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.len() as u64 == LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has a line that no program has recorded"));
        }
        let is_end = line.is_empty();
        let text = String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((!is_end).then(|| text.trim_end_matches('\n').to_owned()))
    }
}

/// A recording that is being played.
#[derive(Debug)]
pub struct Player<S> {
    /// All as of the last step.
    pub state: S,
    path: PathBuf,
    lines: Lines,
    line: usize,
    /// Nothing of it is missing, as far as it says.
    whole: bool,
}

impl<S: State> Player<S> {
    /// Reads how it began.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let failed = |source| RecordError::File { operation: "read", path: path.to_owned(), source };
        let mut lines = Lines(BufReader::new(File::open(path).map_err(failed)?));
        let invalid = |reason: String| RecordError::Invalid { path: path.to_owned(), line: 1, reason };
        let first = lines.next().map_err(failed)?.unwrap_or_default();
        if first.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        let unreadable = |error: serde_json::Error| unreadable(path, 1, &error);
        let Made { recording, program } = serde_json::from_str(&first).map_err(unreadable)?;
        if ![VERSION, WITHOUT_END].contains(&recording) {
            return Err(invalid(format!(
                "unsupported format {recording} of program {program:?}; this one reads {VERSION}"
            )));
        }
        let header: Header = serde_json::from_str(&first).map_err(unreadable)?;
        let state = S::begin(header.terms);
        Ok(Self { state, path: path.to_owned(), lines, line: 1, whole: recording == WITHOUT_END })
    }

    /// Whether it has its end; false before that is reached.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The next step; `None` at the end. A last line that was cut off by the program's end is the end.
    pub fn step(&mut self) -> Result<Option<Step>, RecordError> {
        let failed = |source| RecordError::File { operation: "read", path: self.path.clone(), source };
        let Some(text) = self.lines.next().map_err(failed)? else { return Ok(None) };
        self.line += 1;
        let line: Line<S::Input> = match serde_json::from_str(&text) {
            Ok(line) => line,
            Err(error) if error.is_eof() => {
                self.whole = false;
                return Ok(None);
            }
            Err(error) => return Err(unreadable(&self.path, self.line, &error)),
        };
        if let Some(reason) = impossible(&line) {
            return Err(self.invalid(reason));
        }
        Ok(Some(match line {
            Line::Event(at, happened) => {
                // What it made the program do was done when it was recorded.
                let _ = self.state.take_in(*happened, at);
                Step::Event(at)
            }
            Line::Frame(at, width, height) => Step::Frame(at, width, height),
            Line::End(_) => {
                self.whole = true;
                return Ok(None);
            }
        }))
    }

    fn invalid(&self, reason: String) -> RecordError {
        RecordError::Invalid { path: self.path.clone(), line: self.line, reason }
    }
}

/// What is wrong with a line, and where in it: the file's line is the one that is named.
fn unreadable(path: &Path, line: usize, error: &serde_json::Error) -> RecordError {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    RecordError::Unreadable { path: path.to_owned(), line, column: error.column(), reason: reason.to_owned() }
}

/// Why no program can have recorded a line.
fn impossible<I>(line: &Line<I>) -> Option<String> {
    let (at, width, height) = match *line {
        Line::Event(at, _) | Line::End(at) => (at, 0, 0),
        Line::Frame(at, width, height) => (at, width, height),
    };
    if at > LAST {
        return Some(format!("invalid time {at}"));
    }
    if let Line::Event(_, happened) = line
        && let Happened::Event(Event::ClockSet(ahead)) = **happened
        && ahead.unsigned_abs() > LAST
    {
        return Some(format!("invalid clock offset {ahead} ms"));
    }
    (u32::from(width) * u32::from(height) > LARGEST).then(|| format!("invalid terminal size {width}x{height}"))
}
