//! Captures that go on between two calls, and the one folder that files are in.
//!
//! Owns which captures run, by session, and which paths tools may read. What a capture has used of the budget is settled
//! when it is taken out.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    twin::{Outcome, Running},
};
use crate::{base::text, captures::merge};

/// One that was started.
#[derive(Debug)]
pub(super) struct Capture {
    pub running: Running,
    /// Taken out of the budget for it.
    pub bytes: u64,
    /// The most bytes on each of its nodes.
    pub bytes_each: u64,
    /// On so many nodes.
    pub nodes: usize,
    /// It keeps only the last part.
    pub recorder: bool,
    /// It has ended with that.
    pub outcome: Option<Outcome>,
}

/// All that were started and not taken out, by session.
#[derive(Debug, Default)]
pub(super) struct Captures {
    known: Mutex<BTreeMap<String, Capture>>,
}

impl Captures {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Capture>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, session: String, capture: Capture) {
        self.known().insert(session, capture);
    }

    pub(super) fn take(&self, session: &str) -> Result<Capture, Refusal> {
        self.known().remove(session).ok_or_else(|| unknown(session))
    }

    /// On how many nodes a flight recorder is, and the most bytes on each.
    pub(super) fn recorder(&self, session: &str) -> Result<(usize, u64), Refusal> {
        let known = self.known();
        let capture = known.get(session).ok_or_else(|| unknown(session))?;
        if !capture.recorder {
            let next_step = "start one with recorder_seconds";
            return Err(Refusal::bad_arguments(format!("{session:?} is no flight recorder"), next_step));
        }
        Ok((capture.nodes, capture.bytes_each))
    }

    /// What is known of each.
    pub(super) fn list(&self) -> Vec<Value> {
        let mut known = self.known();
        let told = known.iter_mut().map(|(session, capture)| {
            if capture.outcome.is_none() {
                capture.outcome = capture.running.done.try_recv().ok();
            }
            let state = if capture.outcome.is_some() { "ended" } else { "running" };
            json!({"kind": "capture", "session": session, "state": state, "nodes": capture.nodes,
                "recorder": capture.recorder, "bytes_each": capture.bytes_each})
        });
        told.collect()
    }
}

fn unknown(session: &str) -> Refusal {
    let message = format!("this server has no capture {session:?}");
    Refusal::new("unknown_session", message, "captures lists those that it has")
}

/// The capture files of a folder, newest first.
pub(super) fn files(folder: &Path) -> Vec<Value> {
    let Ok(found) = merge::find(&[folder.to_owned()]) else { return Vec::new() };
    let file = |path: PathBuf| {
        let facts = fs::metadata(&path).ok()?;
        let since = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((since.as_millis() as u64, path, facts.len()))
    };
    let mut files: Vec<(u64, PathBuf, u64)> = found.captures.into_iter().filter_map(file).collect();
    files.sort_by(|a, b| b.cmp(a));
    let told = files.into_iter().map(|(at, path, bytes)| {
        let inside = path.strip_prefix(folder).unwrap_or(&path);
        json!({"kind": "file", "path": inside, "bytes": bytes, "modified_time": text::rfc3339(at)})
    });
    told.collect()
}

/// A path that tools may read: one in the folder, whatever links lead there.
pub(super) fn inside(folder: &Path, path: &str) -> Result<PathBuf, Refusal> {
    let outside = || {
        let next_step = format!("name a file in {}, as captures lists them", folder.display());
        Refusal::new("not_allowed", format!("{path:?} is not in the server's directory"), next_step)
    };
    let home = folder.canonicalize().map_err(|_| outside())?;
    let path = home.join(path).canonicalize().map_err(|_| outside())?;
    if path.starts_with(&home) { Ok(path) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_folder_may_be_read() {
        let outer = tempfile::tempdir().expect("a folder");
        let folder = outer.path().join("captures");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("a.pcap"), b"").expect("written");
        fs::write(outer.path().join("secret"), b"").expect("written");
        std::os::unix::fs::symlink(outer.path().join("secret"), folder.join("link.pcap")).expect("a link");
        let home = folder.canonicalize().expect("a path");
        assert_eq!(inside(&folder, "a.pcap"), Ok(home.join("a.pcap")));
        assert_eq!(inside(&folder, home.join("a.pcap").to_str().expect("text")), Ok(home.join("a.pcap")));
        for path in ["../secret", "link.pcap", "/etc/passwd", "nowhere.pcap", "", "-"] {
            let refused = inside(&folder, path);
            // The folder itself is in it, and has nothing that a person has not put there.
            assert!(path.is_empty() || refused.is_err_and(|it| it.code == "not_allowed"), "{path}");
        }
    }
}
