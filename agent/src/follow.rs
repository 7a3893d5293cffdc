//! A running capture's files as one stream, while they are written.
//!
//! Owns the order of files and when the stream ends. Runs as a process of its own beside the agent, and sees nothing
//! but the ring's folder. A file that is rotated away and discarded before it was read is said on standard error.

use std::{
    io::{self, Read, Write},
    thread,
    time::Duration,
};

use nodewatch_protocol::{FilePlace, FileRecord, FileState, NodeManifest, UnixMillis};

use crate::ring::store::{Store, StoreError};

/// Between two looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A capture has so long to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// The stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ring.
    #[error(transparent)]
    Ring(#[from] StoreError),
    /// Reading, or whoever reads the stream.
    #[error("the stream was cut")]
    Stream(#[from] io::Error),
    /// Nothing to follow.
    #[error("no capture is running")]
    NoCapture,
}

/// Copies the latest capture's files, those that ended before `since` left out, until it has ended and all is copied.
pub fn follow(store: &Store, since: UnixMillis, out: &mut impl Write) -> Result<(), FollowError> {
    let capture = begun(store)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut last = String::new();
    loop {
        let Some(record) = next(store, capture, since, &last) else {
            if over(store, capture) && next(store, capture, since, &last).is_none() {
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
            continue;
        };
        last.clone_from(&record.file.name);
        let mut input = match store.read_from(&last, 0) {
            Ok(input) => input,
            Err(error) => {
                // Nobody may be there to read it.
                let _ = writeln!(io::stderr(), "{last} went before it was read: {error}");
                continue;
            }
        };
        loop {
            // Looked at before reading: what is closed now has no more than what is read next.
            let closed = !is_open(store, &last);
            let read = copy(&mut input, &mut buffer, out)?;
            if read == 0 {
                if closed {
                    break;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

fn copy(input: &mut impl Read, buffer: &mut [u8], out: &mut impl Write) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        match input.read(buffer)? {
            0 => {
                out.flush()?;
                return Ok(copied);
            }
            read => {
                out.write_all(&buffer[..read])?;
                copied += read as u64;
            }
        }
    }
}

/// The capture to follow: the latest, once there is one that runs.
fn begun(store: &Store) -> Result<UnixMillis, FollowError> {
    let mut waited = Duration::ZERO;
    loop {
        let manifest = store.read_manifest().unwrap_or_default();
        if let Some(capture) = manifest.captures.last().filter(|capture| capture.ended.is_none()) {
            return Ok(capture.since);
        }
        if waited >= BEGINS_WITHIN {
            return Err(FollowError::NoCapture);
        }
        thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

fn over(store: &Store, capture: UnixMillis) -> bool {
    let ended =
        |manifest: NodeManifest| manifest.captures.iter().any(|one| one.since == capture && one.ended.is_some());
    store.read_manifest().is_some_and(ended)
}

fn is_open(store: &Store, name: &str) -> bool {
    let open = |record: &FileRecord| record.file.name == name && record.file.state == FileState::Open;
    store.read_manifest().is_some_and(|manifest| manifest.files.iter().any(open))
}

fn next(store: &Store, capture: UnixMillis, since: UnixMillis, last: &str) -> Option<FileRecord> {
    let wanted = |record: &FileRecord| {
        let file = &record.file;
        record.capture == capture
            && record.place != FilePlace::Gone
            && file.name.as_str() > last
            && (file.state == FileState::Open || file.ended >= since)
    };
    store.read_manifest()?.files.into_iter().filter(wanted).min_by(|a, b| a.file.name.cmp(&b.file.name))
}
