//! What a session has done and left.
//!
//! Owns what there is to say, and whether it is all well; its two forms are [`text`] and [`json`]. Pure.

mod json;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use nodewatch_protocol::{ReportState, UnixMillis};

use super::{exit::Later, ledger::Thing};
use crate::model::{NodeName, Notice, SessionId};

/// A session that goes on without this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detachment {
    /// When its agents end by themselves.
    pub until: UnixMillis,
    /// Nodes with an agent.
    pub agents: Vec<NodeName>,
    /// Nodes whose capture goes on.
    pub captures: Vec<NodeName>,
    /// Which of these are flight recorders.
    pub recorders: Vec<NodeName>,
    /// Agents that could not be told, and so end after their lease.
    pub untold: Vec<NodeName>,
    /// What becomes of nodes that join.
    pub later: Later,
    /// A reaper removes the rest at the end.
    pub reaped: bool,
}

/// A file, and why it is where it is, or is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNote {
    /// Whose ring it is or was in.
    pub node: NodeName,
    /// The file; or how many, where they have no names any more.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// Why.
    pub reason: String,
}

/// Every capture file of the session, by what has become of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounted {
    /// On the laptop, with their sizes and checksums.
    pub fetched: Vec<(PathBuf, u64, String)>,
    /// Made of those here, with their sizes.
    pub merged: Vec<(PathBuf, u64)>,
    /// Tables of screens, with their sizes.
    pub saved: Vec<(PathBuf, u64)>,
    /// In S3, with their sizes there and the checksums of what is in them.
    pub delivered: Vec<(String, u64, Option<String>)>,
    /// Which of them nobody has compared with what was sent.
    pub not_compared: BTreeSet<String>,
    /// Those whose only other copy nobody has compared, and why they are not on the laptop.
    pub unproved: Vec<FileNote>,
    /// Other objects of the session in S3, such as manifests, with their sizes.
    pub in_bucket: Vec<(String, u64)>,
    /// Why S3 does not say what it has.
    pub unlisted: Option<String>,
    /// Those that S3 should have and has not, with the last reason.
    pub undelivered: Vec<FileNote>,
    /// Those that did not get here, with the reason.
    pub lost: Vec<FileNote>,
    /// Those that are not whole, and what is missing.
    pub incomplete: Vec<FileNote>,
    /// Those whose only copies are in rings that stay, and why.
    pub held: Vec<FileNote>,
    /// Those that nobody wanted: their rings went with the agents.
    pub left_there: Vec<FileNote>,
}

/// Why files that are in rings alone are not wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unwanted {
    /// It was chosen so.
    #[default]
    Chosen,
    /// Their packets went to a reader as a stream.
    Streamed,
}

/// What a session has done and left, for standard output and for the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The session.
    pub session: Option<SessionId>,
    /// Where it ran.
    pub place: String,
    /// That is this machine, without a cluster.
    pub on_this_machine: bool,
    /// Its capture files.
    pub files: Accounted,
    /// What was made, and what has become of it.
    pub things: Vec<Thing>,
    /// What names the place in S3 on a command line, where no journal does.
    pub storage_words: Vec<String>,
    /// Why the session's manifest is not where it should be.
    pub no_manifest: Vec<String>,
    /// What is to be known of the removal beside its objects.
    pub noted: Vec<String>,
    /// Where reports went, and how they stood at the end.
    pub reports: Option<(String, ReportState)>,
    /// The images that agents ran from, by digest, and on which nodes.
    pub images: BTreeMap<String, Vec<NodeName>>,
    /// Nodes that have no agent although one was asked for, and why.
    pub without_agent: Vec<(NodeName, String)>,
    /// What failed on nodes while they were captured.
    pub troubles: Vec<(NodeName, String)>,
    /// Files in rings are why the session stays, and nobody has chosen so.
    pub stranded: bool,
    /// The program was told to end without waiting for what was under way.
    pub abandoned: bool,
    /// Where on this machine rings are; `None` where agents have them.
    pub ring_folder: Option<PathBuf>,
    /// Why nobody wanted the files that went with their rings.
    pub unwanted: Unwanted,
    /// Why nothing was touched.
    pub trouble: Option<Notice>,
    /// The session goes on.
    pub detached: Option<Detachment>,
}

impl Receipt {
    /// Something of ours is still there that nobody chose to keep.
    pub fn left_behind(&self) -> bool {
        let left = self.trouble.is_some() || self.things.iter().any(|thing| !thing.fate.is_settled());
        // Nothing on this machine goes on without this program: what it holds is left.
        let held = self.on_this_machine && !self.files.held.is_empty();
        self.stranded || self.abandoned || held || (self.detached.is_none() && left)
    }

    /// Everything is whole and where it should be.
    pub fn is_whole(&self) -> bool {
        let Accounted { lost, incomplete, undelivered, unproved, .. } = &self.files;
        let missing = lost.len() + incomplete.len() + undelivered.len() + unproved.len();
        missing + self.troubles.len() + self.no_manifest.len() == 0 && !self.stranded && self.unreported() == 0
    }

    /// Reports that did not get there; some may still, where agents send them.
    pub fn unreported(&self) -> u64 {
        self.reports.as_ref().map_or(0, |(_, state)| state.lost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Kind, MadeObject, Purpose},
        session::ledger::Fate,
    };

    fn object(kind: Kind) -> MadeObject {
        MadeObject { kind, namespace: None, name: "nodewatch-1".into(), uid: None, purpose: Purpose::Unknown }
    }

    #[test]
    fn what_was_kept_on_purpose_is_not_left_behind() {
        let receipt = Receipt {
            session: Some(SessionId::new(1)),
            things: vec![
                Thing::object(object(Kind::Job), Fate::Gone),
                Thing::object(object(Kind::Namespace), Fate::Kept),
            ],
            ..Receipt::default()
        };
        assert!(!receipt.left_behind());
        let text = receipt.text();
        assert!(text.contains("1 kept; to remove the rest: nodewatch-tui cleanup 00000001"), "{text}");
    }

    #[test]
    fn what_was_streamed_is_no_failure() {
        let file = FileNote { node: "n".into(), file: "f.pcapng".into(), size: 2048, reason: String::new() };
        let files = Accounted { left_there: vec![file], ..Accounted::default() };
        let mut receipt = Receipt { unwanted: Unwanted::Streamed, files, ..Receipt::default() };
        assert!(receipt.text().contains("  streamed, not kept: f.pcapng of n, 2.00 KiB"), "{}", receipt.text());
        receipt.unwanted = Unwanted::Chosen;
        assert!(receipt.text().contains("  not fetched, and gone with its agent, as requested: f.pcapng of n"));
    }

    #[test]
    fn a_detached_session_says_until_when_and_how_to_come_back() {
        let receipt = Receipt {
            session: Some(SessionId::new(1)),
            detached: Some(Detachment {
                until: 0,
                agents: vec!["a".into(), "b".into()],
                captures: vec!["a".into(), "b".into()],
                recorders: vec!["b".into()],
                untold: vec!["b".into()],
                later: Later::Served("DaemonSet agents-7f3a91c2".into()),
                reaped: false,
            }),
            things: vec![Thing::object(object(Kind::Job), Fate::There("its pod is there".into()))],
            ..Receipt::default()
        };
        assert_eq!(receipt.json()["objects"][0]["fate"], "kept");
        let text = receipt.text();
        for part in [
            "2 agents: a, b",
            "1 capture: a",
            "1 flight recorder: b",
            "save what they hold: nodewatch-tui freeze 00000001",
            "NOT TOLD b",
            "an empty namespace is left",
            "nodewatch-tui attach 00000001",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!receipt.left_behind());
    }

    #[test]
    fn a_detached_session_without_agents_says_so() {
        let detached = Some(Detachment {
            until: 0,
            agents: Vec::new(),
            captures: Vec::new(),
            recorders: Vec::new(),
            untold: Vec::new(),
            later: Later::Nothing,
            reaped: false,
        });
        let text = Receipt { session: Some(SessionId::new(1)), detached, ..Receipt::default() }.text();
        assert!(text.contains("  no agent is running any more\n") && !text.contains("0 agents"), "{text}");
    }

    #[test]
    fn what_is_gone_is_one_line_and_what_is_missing_is_short() {
        let reason = "incomplete: the recorder has no packets for 9.0 s from 2026-11-26T09:12:28.123Z to \
                      2026-11-26T09:12:37.123Z; dropped 3 by kernel; incomplete: torn";
        let note = FileNote { node: "n".into(), file: "f.pcapng".into(), size: 1, reason: reason.into() };
        let named = |name: &str| Thing::object(MadeObject { name: name.into(), ..object(Kind::Job) }, Fate::Gone);
        let receipt = Receipt {
            things: ["a", "b", "c", "d"].map(named).to_vec(),
            files: Accounted { incomplete: vec![note], ..Accounted::default() },
            without_agent: vec![("n2".into(), "the image i cannot be pulled".into())],
            ..Receipt::default()
        };
        let text = receipt.text();
        for line in [
            "  INCOMPLETE f.pcapng of n: the recorder has no packets for 9.0 s; dropped 3 by kernel; and 1 more",
            "  removed  Job a, Job b, Job c and 1 more",
            "  NO AGENT n2: the image i cannot be pulled",
            "  4 objects created, 4 confirmed removed; nothing is left",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_receipt_says_what_is_left_and_hides_no_control_characters() {
        let receipt = Receipt {
            place: "a\u{1b}b".into(),
            things: vec![Thing::object(object(Kind::Job), Fate::Failed("finalizer \u{1b}[2J".into()))],
            files: Accounted {
                lost: vec![FileNote {
                    node: "n".into(),
                    file: "f.pcapng".into(),
                    size: 2048,
                    reason: "disk full".into(),
                }],
                ..Accounted::default()
            },
            ..Receipt::default()
        };
        let text = receipt.text();
        assert!(receipt.left_behind());
        assert!(text.contains("LEFT     Job nodewatch-1: finalizer \\u{1b}[2J"), "{text}");
        assert!(text.contains("LOST     f.pcapng of n, 2.00 KiB: disk full"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
