//! The guided exit: captures stopped, files fetched, objects removed and seen gone, and a receipt.
//!
//! Owns the order of these steps and what is left when one of them fails. Pure.

use std::{fmt::Write, path::PathBuf};

use nodewatch_protocol::UnixMillis;

use crate::{
    model::{MadeObject, NodeName, Removal, SessionId},
    text,
};

/// A capture that was asked to stop has this long to say that it has, in milliseconds.
pub const STOP_WITHIN: u64 = 15_000;

/// How far the exit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been done yet; Enter goes on.
    Asking,
    /// Waiting for captures to close their files.
    Stopping {
        /// When waiting ends.
        until: UnixMillis,
    },
    /// Files are on their way.
    Fetching,
    /// Some files could not be fetched: again, or without them.
    FetchFailed,
    /// Objects are being removed.
    Removing,
    /// Something is still there: again, or leave it.
    RemoveFailed,
    /// All done.
    Done,
}

/// What has become of a made object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Deletion was asked for.
    Removing,
    /// Seen gone.
    Gone,
    /// Still there, and why.
    Failed(String),
}

/// The exit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How far it is.
    pub phase: Phase,
    /// Every object that was made.
    pub objects: Vec<(MadeObject, Fate)>,
    /// No person is there to answer: failures end it instead of asking.
    pub unattended: bool,
}

impl Exit {
    /// Takes in how cleanup goes; true when it has ended.
    pub fn apply(&mut self, removal: Removal) -> bool {
        let (object, fate) = match removal {
            Removal::Removing(object) => (object, Fate::Removing),
            Removal::Gone(object) => (object, Fate::Gone),
            Removal::Failed(object, reason) => (object, Fate::Failed(reason)),
            Removal::Finished => {
                let all_gone = self.objects.iter().all(|(_, fate)| *fate == Fate::Gone);
                self.phase = if all_gone { Phase::Done } else { Phase::RemoveFailed };
                return true;
            }
        };
        match self.objects.iter_mut().find(|(known, _)| known.kind == object.kind && known.name == object.name) {
            Some((_, known)) => *known = fate,
            None => self.objects.push((object, fate)),
        }
        false
    }

    /// Objects that were not seen gone.
    pub fn left(&self) -> usize {
        self.objects.iter().filter(|(_, fate)| *fate != Fate::Gone).count()
    }
}

/// What a session has done and left, for standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The session.
    pub session: Option<SessionId>,
    /// Where it ran.
    pub place: String,
    /// Files on the laptop, with their sizes and checksums.
    pub fetched: Vec<(PathBuf, u64, String)>,
    /// Files that did not get here, with the reason.
    pub lost: Vec<(NodeName, String, u64, String)>,
    /// Objects and what has become of them.
    pub objects: Vec<(MadeObject, Fate)>,
}

impl Receipt {
    /// Something of ours is still there.
    pub fn left_behind(&self) -> bool {
        self.objects.iter().any(|(_, fate)| *fate != Fate::Gone)
    }

    /// The receipt as text, a line a thing.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let session = self.session.as_ref().map_or_else(String::new, |session| format!("session {session} "));
        // Writing to a String does not fail.
        let _ = writeln!(out, "nodewatch-tui: {session}on {} has ended", text::visible(&self.place));
        for (path, size, sha256) in &self.fetched {
            let path = text::visible(&path.display().to_string());
            let _ = writeln!(out, "  fetched  {path}  {}  sha256:{sha256}", text::bytes(*size));
        }
        for (node, file, size, reason) in &self.lost {
            let what = text::visible(&format!("{file} of {node}, {}: {reason}", text::bytes(*size)));
            let _ = writeln!(out, "  LOST     {what}");
        }
        for (object, fate) in &self.objects {
            let name = text::visible(&format!("{} {}", object.kind, object.name));
            let _ = match fate {
                Fate::Gone => writeln!(out, "  removed  {name}"),
                Fate::Removing => writeln!(out, "  LEFT     {name}: not seen gone"),
                Fate::Failed(reason) => writeln!(out, "  LEFT     {name}: {}", text::visible(reason)),
            };
        }
        let left = self.objects.iter().filter(|(_, fate)| *fate != Fate::Gone).count();
        let _ = match (left, self.objects.len()) {
            (0, 0) => writeln!(out, "  nothing was made outside this machine, nothing is left"),
            (0, count) => writeln!(out, "  {count} objects were made, {count} were seen gone, nothing is left"),
            (left, _) => writeln!(out, "  {left} objects may still be there: kubectl delete namespace is the way out"),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &'static str) -> MadeObject {
        MadeObject { kind, name: "nodewatch-1".into(), purpose: String::new() }
    }

    #[test]
    fn an_object_is_gone_only_when_it_was_seen_gone() {
        let mut exit = Exit {
            phase: Phase::Removing,
            objects: vec![(object("Namespace"), Fate::Removing), (object("Job"), Fate::Removing)],
            unattended: false,
        };
        assert!(!exit.apply(Removal::Gone(object("Job"))));
        assert!(!exit.apply(Removal::Removing(object("Namespace"))));
        assert!(exit.apply(Removal::Finished));
        assert_eq!((exit.phase, exit.left()), (Phase::RemoveFailed, 1));
        exit.apply(Removal::Gone(object("Namespace")));
        exit.apply(Removal::Finished);
        assert_eq!(exit.phase, Phase::Done);
    }

    #[test]
    fn the_receipt_says_what_is_left_and_hides_no_control_characters() {
        let receipt = Receipt {
            place: "a\u{1b}b".into(),
            objects: vec![(object("Job"), Fate::Failed("finalizer \u{1b}[2J".into()))],
            lost: vec![("n".into(), "f.pcapng".into(), 2048, "disk full".into())],
            ..Receipt::default()
        };
        let text = receipt.text();
        assert!(receipt.left_behind());
        assert!(text.contains("LEFT     Job nodewatch-1: finalizer \\u{1b}[2J"), "{text}");
        assert!(text.contains("LOST     f.pcapng of n, 2.00 KiB: disk full"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
