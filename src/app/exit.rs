//! The guided exit: captures stopped, files fetched, objects removed and seen gone, and a receipt.
//!
//! Owns what is kept and what is removed, the order of the steps and what is left when one of them fails. Pure.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

use nodewatch_protocol::{ReportState, UnixMillis};
use serde_json::{Value, json};

use crate::{
    model::{Group, Keep, MadeObject, NodeName, Notice, Removal, S3Url, SeenObject, SessionId, StoredSummary},
    text,
};

/// A capture that was asked to stop has this long to say that it has, in milliseconds.
pub const STOP_WITHIN: u64 = 15_000;
/// Agents have this long to say that they go on alone.
pub const DETACH_WITHIN: u64 = 5_000;

/// Seconds between two questions for what there is, when the cluster could not say.
pub const STOCK_EVERY: u64 = 5;

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
    /// Agents are delivering to S3.
    Delivering {
        /// When waiting ends, unless it moves.
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
    /// Agents are being told to go on without this program.
    Detaching {
        /// When waiting ends.
        until: UnixMillis,
    },
    /// All done.
    Done,
}

impl Phase {
    /// Nothing was removed yet.
    pub fn is_before_removal(self) -> bool {
        matches!(
            self,
            Self::Asking | Self::Stopping { .. } | Self::Delivering { .. } | Self::Fetching | Self::FetchFailed
        )
    }
}

/// What has become of a made object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was done to it yet; what the server says of it.
    There(String),
    /// Deletion was asked for.
    Removing,
    /// Seen gone.
    Gone,
    /// Left on purpose.
    Kept,
    /// Still there, and why.
    Failed(String),
}

impl Fate {
    /// Nothing more has to be done for it.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Gone | Self::Kept)
    }
}

/// What has become of the session's captures in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InStorage {
    /// S3 was asked what there is.
    Asked,
    /// This much is there.
    There(StoredSummary),
    /// S3 does not say.
    Unknown(Notice),
    /// Being removed.
    Removing,
    /// Seen gone.
    Gone(StoredSummary),
    /// Left on purpose.
    Kept,
    /// Perhaps still there.
    Failed(Notice),
}

/// The exit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How far it is.
    pub phase: Phase,
    /// Every object that was made.
    pub objects: Vec<(MadeObject, Fate)>,
    /// Where captures are in S3, and what has become of them.
    pub storage: Option<(S3Url, InStorage)>,
    /// What there is in CloudWatch, by group, and what has become of it.
    pub cloud: Vec<(Group, String, Fate)>,
    /// The cluster's objects have all been tried.
    pub site_finished: bool,
    /// How far the delivery was when it was last seen to move.
    pub delivered: u64,
    /// Why nothing can be said of the objects, or why nothing was touched.
    pub trouble: Option<Notice>,
    /// The cluster has said what there is.
    pub stocked: bool,
    /// What is not to be removed, or fetched.
    pub keep: Keep,
    /// The group that Space is about.
    pub cursor: Group,
    /// Agents that have not confirmed that they go on alone.
    pub untold: BTreeSet<NodeName>,
    /// No person is there to answer: failures end it instead of asking.
    pub unattended: bool,
}

impl Exit {
    /// Nothing done yet; everything is to be removed, but for captures in S3, which were put there to stay.
    pub fn new(unattended: bool, storage: Option<S3Url>) -> Self {
        let keep = storage.iter().map(|_| Group::Storage).collect();
        Self {
            phase: Phase::Asking,
            objects: Vec::new(),
            storage: storage.map(|place| (place, InStorage::Asked)),
            cloud: Vec::new(),
            site_finished: false,
            delivered: 0,
            trouble: None,
            stocked: false,
            keep,
            cursor: Group::Files,
            untold: BTreeSet::new(),
            unattended,
        }
    }

    /// Whether a group stays; agents do not run without their namespace.
    pub fn keeps(&self, group: Group) -> bool {
        self.keep.contains(&group) || (group == Group::Base && self.keep.contains(&Group::Agents))
    }

    /// Keeps what would be removed, and the other way around.
    pub fn toggle(&mut self) {
        if !self.keep.remove(&self.cursor) {
            self.keep.insert(self.cursor);
        }
    }

    /// Moves to the next or the previous group.
    pub fn step(&mut self, by: isize) {
        let groups = self.groups();
        let at = groups.iter().position(|&group| group == self.cursor).unwrap_or(0) as isize;
        self.cursor = groups[(at + by).clamp(0, groups.len() as isize - 1) as usize];
    }

    /// The groups that there are.
    pub fn groups(&self) -> Vec<Group> {
        let there = |group: &Group| match group {
            Group::Storage => self.storage.is_some(),
            Group::Reports | Group::Alarms => self.cloud.iter().any(|(known, ..)| known == group),
            Group::Files | Group::Agents | Group::Base => true,
        };
        Group::ALL.into_iter().filter(there).collect()
    }

    /// Takes in what CloudWatch says there is, as long as nothing of it was touched.
    pub fn stock_cloud(&mut self, found: Group, state: &str) {
        let untouched = |fate: &Fate| matches!(fate, Fate::There(_));
        for (_, _, fate) in self.cloud.iter_mut().filter(|(group, _, fate)| *group == found && untouched(fate)) {
            *fate = Fate::There(state.to_owned());
        }
    }

    /// What has become of a group in CloudWatch; true when that was the last thing to wait for.
    pub fn cloud_removed(&mut self, removed: Group, outcome: &Result<(), Notice>) -> bool {
        for (_, _, fate) in self.cloud.iter_mut().filter(|(group, ..)| *group == removed) {
            *fate = match outcome {
                Ok(()) => Fate::Gone,
                Err(notice) => Fate::Failed(notice.line()),
            };
        }
        self.settle()
    }

    /// What S3 says there is, as long as nothing of it was touched.
    pub fn stock_storage(&mut self, found: Result<StoredSummary, Notice>) {
        if let Some((_, state @ (InStorage::Asked | InStorage::There(_) | InStorage::Unknown(_)))) = &mut self.storage {
            *state = match found {
                Ok(summary) => InStorage::There(summary),
                Err(notice) => InStorage::Unknown(notice),
            };
        }
    }

    /// What has become of the captures in S3; true when that was the last thing to wait for.
    pub fn storage_removed(&mut self, outcome: Result<StoredSummary, Notice>) -> bool {
        if let Some((_, state)) = &mut self.storage {
            *state = match outcome {
                Ok(summary) => InStorage::Gone(summary),
                Err(notice) => InStorage::Failed(notice),
            };
        }
        self.settle()
    }

    /// True when everything has been tried.
    fn settle(&mut self) -> bool {
        let removing = |(_, _, fate): &(Group, String, Fate)| *fate == Fate::Removing;
        let waiting = matches!(self.storage, Some((_, InStorage::Removing))) || self.cloud.iter().any(removing);
        if !self.site_finished || waiting {
            return false;
        }
        let stored = !matches!(self.storage, Some((_, InStorage::Failed(_))));
        let cloud = self.cloud.iter().all(|(_, _, fate)| fate.is_settled());
        let settled =
            stored && cloud && self.trouble.is_none() && self.objects.iter().all(|(_, fate)| fate.is_settled());
        self.phase = if settled { Phase::Done } else { Phase::RemoveFailed };
        true
    }

    /// Takes in what the cluster says there is.
    pub fn stock(&mut self, stock: Result<Vec<SeenObject>, Notice>) {
        match stock {
            Ok(seen) => {
                self.stocked = true;
                self.trouble = None;
                self.objects = seen.into_iter().map(|one| (one.object, Fate::There(one.state))).collect();
            }
            Err(notice) => self.trouble = Some(notice),
        }
    }

    /// Takes in how cleanup goes; true when it has ended.
    pub fn apply(&mut self, removal: Removal) -> bool {
        let (object, fate) = match removal {
            Removal::Removing(object) => (object, Fate::Removing),
            Removal::Gone(object) => (object, Fate::Gone),
            Removal::Kept(object) => (object, Fate::Kept),
            Removal::Failed(object, reason) => (object, Fate::Failed(reason)),
            Removal::Refused(notice) => {
                self.trouble = Some(notice);
                return false;
            }
            Removal::Finished => {
                self.site_finished = true;
                return self.settle();
            }
        };
        match self.objects.iter_mut().find(|(known, _)| known.is_named_as(&object)) {
            Some(known) => *known = (object, fate),
            None => self.objects.push((object, fate)),
        }
        false
    }

    /// Objects that were neither seen gone nor kept on purpose.
    pub fn left(&self) -> usize {
        let stored = matches!(self.storage, Some((_, InStorage::Removing | InStorage::Failed(_))));
        let cloud = self.cloud.iter().filter(|(_, _, fate)| !fate.is_settled()).count();
        self.objects.iter().filter(|(_, fate)| !fate.is_settled()).count() + cloud + usize::from(stored)
    }
}

/// A session that goes on without this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detachment {
    /// When its agents end by themselves.
    pub until: UnixMillis,
    /// Nodes with an agent.
    pub agents: Vec<NodeName>,
    /// Nodes whose capture goes on.
    pub captures: Vec<NodeName>,
    /// Agents that could not be told, and so end after their lease.
    pub untold: Vec<NodeName>,
    /// A reaper removes the rest at the end.
    pub reaped: bool,
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
    /// Files on the laptop, with their sizes and checksums.
    pub fetched: Vec<(PathBuf, u64, String)>,
    /// Files in S3, with their sizes there and the checksums of what is in them.
    pub delivered: Vec<(String, u64, Option<String>)>,
    /// Where captures are in S3, and what has become of them.
    pub storage: Option<(S3Url, InStorage)>,
    /// Where reports went, and how they stood at the end.
    pub reports: Option<(String, ReportState)>,
    /// What there was in CloudWatch, and what has become of it.
    pub cloud: Vec<(Group, String, Fate)>,
    /// Files that did not get here, with the reason.
    pub lost: Vec<(NodeName, String, u64, String)>,
    /// Files that were left on the nodes on purpose.
    pub left_there: Vec<(NodeName, String, u64)>,
    /// Objects and what has become of them.
    pub objects: Vec<(MadeObject, Fate)>,
    /// Why nothing was touched.
    pub trouble: Option<Notice>,
    /// The session goes on.
    pub detached: Option<Detachment>,
}

impl Receipt {
    /// Something of ours is still there that nobody chose to keep.
    pub fn left_behind(&self) -> bool {
        let stored = matches!(self.storage, Some((_, InStorage::Failed(_) | InStorage::Removing)));
        let objects = self.objects.iter().any(|(_, fate)| !fate.is_settled());
        let cloud = self.cloud.iter().any(|(_, _, fate)| !fate.is_settled());
        self.detached.is_none() && (self.trouble.is_some() || stored || objects || cloud)
    }

    /// The receipt as text, a line a thing.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let session = self.session.as_ref().map_or_else(String::new, |session| format!("session {session} "));
        let verb = if self.detached.is_some() { "goes on without this program" } else { "has ended" };
        // Writing to a String does not fail.
        let _ = writeln!(out, "nodewatch-tui: {session}on {} {verb}", text::visible(&self.place));
        for (path, size, sha256) in &self.fetched {
            let path = text::visible(&path.display().to_string());
            let _ = writeln!(out, "  fetched  {path}  {}  sha256:{sha256}", text::bytes(*size));
        }
        for (uri, size, sha256) in &self.delivered {
            let sha256 = sha256.as_ref().map(|sum| format!("  sha256:{sum}")).unwrap_or_default();
            let _ = writeln!(out, "  in S3    {}  {}{sha256}", text::visible(uri), text::bytes(*size));
        }
        for (node, file, size, reason) in &self.lost {
            let what = text::visible(&format!("{file} of {node}, {}: {reason}", text::bytes(*size)));
            let _ = writeln!(out, "  LOST     {what}");
        }
        for (node, file, size) in &self.left_there {
            let what = text::visible(&format!("{file} of {node}, {}", text::bytes(*size)));
            let _ = writeln!(out, "  not fetched, as chosen: {what}");
        }
        self.reports_text(&mut out);
        match &self.detached {
            Some(detached) => self.detachment_text(detached, &mut out),
            None => self.objects_text(&mut out),
        }
        out
    }

    /// Reports that did not get there; some may still, where agents send them.
    pub fn unreported(&self) -> u64 {
        let lost = |(_, state): &(String, ReportState)| state.queued + state.dropped + state.rejected;
        self.reports.as_ref().map_or(0, lost)
    }

    fn reports_text(&self, out: &mut String) {
        let Some((place, state)) = &self.reports else { return };
        let sent = text::counted(state.sent as usize, "report");
        let _ = writeln!(out, "  reported {sent} to {}", text::visible(place));
        if self.unreported() > 0 {
            let ReportState { queued, dropped, rejected, trouble, .. } = state;
            let why =
                text::visible(&format!("{queued} not sent, {dropped} without room, {rejected} refused; {trouble}"));
            let _ = writeln!(out, "  LOST     {}: {why}", text::counted(self.unreported() as usize, "report"));
        }
    }

    fn detachment_text(&self, detached: &Detachment, out: &mut String) {
        let list = |names: &[NodeName]| {
            let names: Vec<String> = names.iter().map(|name| text::visible(&name.0)).collect();
            names.join(", ")
        };
        let until = text::date_and_time(detached.until);
        let (agents, captures) = (&detached.agents, &detached.captures);
        let _ = writeln!(out, "  until {until}: {}: {}", text::counted(agents.len(), "agent"), list(agents));
        if !captures.is_empty() {
            let _ = writeln!(out, "  until {until}: {}: {}", text::counted(captures.len(), "capture"), list(captures));
        }
        if !detached.untold.is_empty() {
            let untold = list(&detached.untold);
            let _ = writeln!(out, "  NOT TOLD {untold}: without a tunnel these end when their lease lapses");
        }
        if self.cloud.iter().any(|(group, ..)| *group == Group::Alarms) {
            let _ = writeln!(
                out,
                "  alarms of the session stay, and tell that nodes are silent once nobody reports for them"
            );
        }
        if let Some(session) = &self.session {
            if !detached.reaped {
                let _ =
                    writeln!(out, "  after that an empty namespace stays until it is cleaned up (--reaper removes it)");
            }
            let _ = writeln!(out, "  come back: nodewatch-tui attach {session}");
            let _ = writeln!(out, "  end it:    nodewatch-tui cleanup {session}");
        }
    }

    fn objects_text(&self, out: &mut String) {
        for (object, fate) in &self.objects {
            let name = text::visible(&format!("{} {}", object.kind.word(), object.name));
            let _ = match fate {
                Fate::Gone => writeln!(out, "  removed  {name}"),
                Fate::Kept => writeln!(out, "  kept     {name}"),
                Fate::There(_) => writeln!(out, "  LEFT     {name}: not touched"),
                Fate::Removing => writeln!(out, "  LEFT     {name}: not seen gone"),
                Fate::Failed(reason) => writeln!(out, "  LEFT     {name}: {}", text::visible(reason)),
            };
        }
        self.storage_text(out);
        for (_, what, fate) in &self.cloud {
            let what = text::visible(what);
            let _ = match fate {
                Fate::Gone => writeln!(out, "  removed  {what}"),
                Fate::Kept => writeln!(out, "  kept     {what}"),
                Fate::There(_) => writeln!(out, "  LEFT     {what}: not touched"),
                Fate::Removing => writeln!(out, "  LEFT     {what}: not seen gone"),
                Fate::Failed(reason) => writeln!(out, "  LEFT     {what}: {}", text::visible(reason)),
            };
        }
        if let Some(notice) = &self.trouble {
            let _ = writeln!(out, "  {}", text::visible(&notice.line()));
        }
        let count = |so: fn(&Fate) -> bool| self.objects.iter().filter(|(_, fate)| so(fate)).count();
        let (gone, kept) = (count(|fate| *fate == Fate::Gone), count(|fate| *fate == Fate::Kept));
        let left = self.objects.len() - gone - kept;
        let again = self.session.as_ref().map(|session| format!("nodewatch-tui cleanup {session}")).unwrap_or_default();
        let _ = match (left, kept, gone) {
            (0, ..) if self.trouble.is_some() => writeln!(out, "  not everything was removed; try again: {again}"),
            (0, 0, 0) => writeln!(out, "  nothing was made outside this machine, nothing is left"),
            (0, 0, _) => writeln!(out, "  {gone} objects were made, {gone} were seen gone, nothing is left"),
            (0, ..) => writeln!(out, "  {gone} objects were seen gone, {kept} were kept; remove them: {again}"),
            (left, ..) => writeln!(out, "  {} may still be there; try again: {again}", text::counted(left, "object")),
        };
    }

    fn storage_text(&self, out: &mut String) {
        let Some((place, state)) = &self.storage else { return };
        // A session on this machine has no journal that would know the place.
        let outer = place.prefix.trim_end_matches('/').rsplit_once('/').map_or("", |(outer, _)| outer);
        let named = if self.on_this_machine {
            format!(" --s3 s3://{}/{}", place.bucket, text::visible(outer))
        } else {
            String::new()
        };
        let place = text::visible(&place.to_string());
        let _ = match state {
            InStorage::Gone(found) => {
                writeln!(out, "  removed  {} in {place}", text::counted(found.objects as usize, "object"))
            }
            InStorage::Failed(notice) => writeln!(out, "  LEFT     {place}: {}", text::visible(&notice.line())),
            InStorage::Removing => writeln!(out, "  LEFT     {place}: not seen gone"),
            InStorage::Kept if self.delivered.is_empty() => Ok(()),
            InStorage::Asked | InStorage::There(_) | InStorage::Unknown(_) | InStorage::Kept => {
                let again = self
                    .session
                    .as_ref()
                    .map(|session| format!("; remove: nodewatch-tui cleanup {session} --captures{named}"));
                writeln!(out, "  kept     captures in {place}{}", again.unwrap_or_default())
            }
        };
    }

    /// The receipt for the journal and for programs.
    pub fn json(&self) -> Value {
        let fate = |fate: &Fate| match fate {
            Fate::There(_) | Fate::Removing => json!({"fate": "left", "reason": "not seen gone"}),
            Fate::Gone => json!({"fate": "removed"}),
            Fate::Kept => json!({"fate": "kept"}),
            Fate::Failed(reason) => json!({"fate": "left", "reason": reason}),
        };
        let objects = self.objects.iter().map(|(object, became)| {
            let mut value = fate(became);
            value["kind"] = json!(object.kind);
            value["namespace"] = json!(object.namespace);
            value["name"] = json!(object.name);
            value["uid"] = json!(object.uid);
            value
        });
        let fetched =
            self.fetched.iter().map(|(path, size, sha256)| json!({"path": path, "bytes": size, "sha256": sha256}));
        let lost = self
            .lost
            .iter()
            .map(|(node, file, size, reason)| json!({"node": node, "file": file, "bytes": size, "reason": reason}));
        let there = self.left_there.iter().map(|(node, file, size)| json!({"node": node, "file": file, "bytes": size}));
        let detached = self.detached.as_ref().map(|detached| {
            json!({"until": detached.until, "agents": detached.agents, "captures": detached.captures,
                "untold": detached.untold})
        });
        let delivered =
            self.delivered.iter().map(|(uri, size, sha256)| json!({"uri": uri, "bytes": size, "sha256": sha256}));
        let storage = self.storage.as_ref().map(|(place, state)| {
            let word = match state {
                InStorage::Gone(_) => "removed",
                InStorage::Failed(_) | InStorage::Removing => "left",
                _ => "kept",
            };
            json!({"place": place, "fate": word})
        });
        let cloud = self.cloud.iter().map(|(group, what, became)| {
            let mut value = fate(became);
            value["group"] = json!(group);
            value["what"] = json!(what);
            value
        });
        let reports = self.reports.as_ref().map(|(place, state)| json!({"place": place, "state": state}));
        json!({
            "cloud": cloud.collect::<Vec<_>>(), "reports": reports,
            "delivered": delivered.collect::<Vec<_>>(), "storage": storage,
            "session": self.session, "place": self.place, "left_behind": self.left_behind(),
            "objects": objects.collect::<Vec<_>>(), "fetched": fetched.collect::<Vec<_>>(),
            "lost": lost.collect::<Vec<_>>(), "left_on_nodes": there.collect::<Vec<_>>(), "detached": detached,
            "trouble": self.trouble.as_ref().map(Notice::line),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn object(kind: Kind) -> MadeObject {
        MadeObject { kind, namespace: None, name: "nodewatch-1".into(), uid: None, purpose: String::new() }
    }

    #[test]
    fn an_object_is_gone_only_when_it_was_seen_gone() {
        let mut exit = Exit::new(false, None);
        exit.stock(Ok(vec![
            SeenObject { object: object(Kind::Namespace), state: "active".into() },
            SeenObject { object: object(Kind::Job), state: "its pod is there".into() },
        ]));
        assert!(!exit.apply(Removal::Gone(object(Kind::Job))));
        assert!(!exit.apply(Removal::Removing(object(Kind::Namespace))));
        assert!(exit.apply(Removal::Finished));
        assert_eq!((exit.phase, exit.left()), (Phase::RemoveFailed, 1));
        exit.apply(Removal::Gone(object(Kind::Namespace)));
        exit.apply(Removal::Finished);
        assert_eq!(exit.phase, Phase::Done);
    }

    #[test]
    fn a_removal_that_was_refused_is_no_success_though_nothing_is_known_to_be_left() {
        let mut exit = Exit::new(false, None);
        exit.apply(Removal::Refused(Notice::error("another cluster", "its UID differs", "point it back")));
        exit.apply(Removal::Finished);
        assert_eq!(exit.phase, Phase::RemoveFailed);
        let receipt = Receipt { trouble: exit.trouble, ..Receipt::default() };
        assert!(receipt.left_behind());
        assert!(receipt.text().contains("another cluster: its UID differs"), "{}", receipt.text());
        assert_eq!(receipt.json()["left_behind"], true);
    }

    #[test]
    fn agents_are_not_kept_without_their_namespace() {
        let mut exit = Exit::new(false, None);
        exit.step(1);
        exit.toggle();
        assert!(exit.keeps(Group::Agents) && exit.keeps(Group::Base) && !exit.keeps(Group::Files));
        exit.toggle();
        assert!(Group::ALL.iter().all(|&group| !exit.keeps(group)));
    }

    #[test]
    fn what_was_kept_on_purpose_is_not_left_behind() {
        let receipt = Receipt {
            session: Some(SessionId::new(1)),
            objects: vec![(object(Kind::Job), Fate::Gone), (object(Kind::Namespace), Fate::Kept)],
            ..Receipt::default()
        };
        assert!(!receipt.left_behind());
        let text = receipt.text();
        assert!(text.contains("1 were kept; remove them: nodewatch-tui cleanup 00000001"), "{text}");
    }

    #[test]
    fn a_detached_session_says_until_when_and_how_to_come_back() {
        let receipt = Receipt {
            session: Some(SessionId::new(1)),
            detached: Some(Detachment {
                until: 0,
                agents: vec!["a".into(), "b".into()],
                captures: vec!["a".into()],
                untold: vec!["b".into()],
                reaped: false,
            }),
            ..Receipt::default()
        };
        let text = receipt.text();
        for part in [
            "2 agents: a, b",
            "1 capture: a",
            "NOT TOLD b",
            "an empty namespace stays",
            "nodewatch-tui attach 00000001",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!receipt.left_behind());
    }

    #[test]
    fn the_receipt_says_what_is_left_and_hides_no_control_characters() {
        let receipt = Receipt {
            place: "a\u{1b}b".into(),
            objects: vec![(object(Kind::Job), Fate::Failed("finalizer \u{1b}[2J".into()))],
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
