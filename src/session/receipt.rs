//! What a session has done and left, for standard output and for the journal.
//!
//! Owns its two forms, text and JSON. Pure.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

use nodewatch_protocol::{ReportState, Retention, UnixMillis};
use serde_json::{Value, json};

use super::exit::{Fate, InStorage, Later};
use crate::{
    base::text,
    model::{Group, MadeObject, NodeName, Notice, S3Url, SessionId},
};

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
    /// What becomes of nodes that join.
    pub later: Later,
    /// A reaper removes the rest at the end.
    pub reaped: bool,
}

/// A file that is in a ring alone, which stays for its sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// Whose ring.
    pub node: NodeName,
    /// The file.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// Why it is nowhere else.
    pub reason: String,
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
    /// Which of them nobody has compared with what was sent.
    pub not_compared: BTreeSet<String>,
    /// Files whose only other copy nobody has compared, with the reason why they are not on the laptop.
    pub unproved: Vec<(NodeName, String, String)>,
    /// Where captures are in S3, and what has become of them.
    pub storage: Option<(S3Url, InStorage)>,
    /// What names that place on a command line, where no journal does.
    pub storage_words: Vec<String>,
    /// Other objects of the session there, such as manifests, with their sizes.
    pub in_bucket: Vec<(String, u64)>,
    /// Why S3 does not say what it has.
    pub unlisted: Option<String>,
    /// Files that S3 should have and has not, with the last reason.
    pub undelivered: Vec<(NodeName, String, String)>,
    /// Why the session's manifest is not where it should be.
    pub no_manifest: Vec<String>,
    /// What is to be known of the removal beside its objects.
    pub noted: Vec<String>,
    /// Where reports went, and how they stood at the end.
    pub reports: Option<(String, ReportState)>,
    /// What there was in CloudWatch, and what has become of it.
    pub cloud: Vec<(Group, String, Fate)>,
    /// Files that did not get here, with the reason.
    pub lost: Vec<(NodeName, String, u64, String)>,
    /// Files that are not whole, and what is missing.
    pub incomplete: Vec<(NodeName, String, String)>,
    /// What failed on nodes while they were captured.
    pub troubles: Vec<(NodeName, String)>,
    /// Files whose only copies are in rings that stay.
    pub held: Vec<HeldFile>,
    /// They are why the session stays, and nobody has chosen so.
    pub stranded: bool,
    /// The program was told to end without waiting for what was under way.
    pub abandoned: bool,
    /// Where on this machine rings are; `None` where agents have them.
    pub ring_folder: Option<PathBuf>,
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
        self.stranded
            || self.abandoned
            || (self.detached.is_none() && (self.trouble.is_some() || stored || objects || cloud))
    }

    /// Everything is whole and where it should be.
    pub fn is_whole(&self) -> bool {
        let missing = self.lost.len() + self.incomplete.len() + self.troubles.len() + self.undelivered.len();
        missing + self.unproved.len() + self.no_manifest.len() == 0 && !self.stranded && self.unreported() == 0
    }

    /// The receipt as text, a line a thing.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let session = self.session.as_ref().map_or_else(String::new, |session| format!("session {session} "));
        let goes_on = self.detached.is_some() && !self.on_this_machine;
        let verb = match (self.abandoned, goes_on) {
            (true, _) => "was left without waiting",
            (false, true) => "goes on without this program",
            (false, false) => "has ended",
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "nodewatch-tui: {session}on {} {verb}", text::visible(&self.place));
        for (path, size, sha256) in &self.fetched {
            let path = text::visible(&path.display().to_string());
            let _ = writeln!(out, "  fetched  {path}  {}  sha256:{sha256}", text::bytes(*size));
        }
        for (uri, size, sha256) in &self.delivered {
            // What nobody compared may have another.
            let sum = match sha256 {
                _ if self.not_compared.contains(uri) => "  not compared".to_owned(),
                Some(sum) => format!("  sha256:{sum}"),
                None => String::new(),
            };
            let _ = writeln!(out, "  in S3    {}  {}{sum}", text::visible(uri), text::bytes(*size));
        }
        for (uri, size) in &self.in_bucket {
            let _ = writeln!(out, "  in S3    {}  {}", text::visible(uri), text::bytes(*size));
        }
        self.holes_text(&mut out);
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
            Some(_) if self.on_this_machine => self.held_text(&mut out),
            Some(detached) => self.detachment_text(detached, &mut out),
            None => self.objects_text(&mut out),
        }
        out
    }

    /// What is missing from files that are there, or not where it should be.
    fn holes_text(&self, out: &mut String) {
        for (node, file, why) in &self.undelivered {
            let _ = writeln!(out, "  NOT IN S3 {}", text::visible(&format!("{file} of {node}: {why}")));
        }
        for (node, file, why) in &self.unproved {
            let _ = writeln!(out, "  NOT COMPARED {}", text::visible(&format!("{file} of {node}: {why}")));
        }
        for why in &self.no_manifest {
            let _ = writeln!(out, "  NO MANIFEST {}", text::visible(why));
        }
        for what in &self.noted {
            let _ = writeln!(out, "  NOTE     {}", text::visible(what));
        }
        for (node, file, why) in &self.incomplete {
            let _ = writeln!(out, "  INCOMPLETE {}", text::visible(&format!("{file} of {node}: {why}")));
        }
        for (node, what) in &self.troubles {
            let _ = writeln!(out, "  TROUBLE  {}", text::visible(&format!("{node}: {what}")));
        }
        for HeldFile { node, file, size, reason } in &self.held {
            let place = self.ring_folder.as_ref().map(|folder| folder.join(file).display().to_string());
            let place = place.unwrap_or_else(|| format!("{file} in the ring of {node}"));
            let _ =
                writeln!(out, "  KEPT     {}", text::visible(&format!("{place}, {}: {reason}", text::bytes(*size))));
        }
    }

    /// Reports that did not get there; some may still, where agents send them.
    pub fn unreported(&self) -> u64 {
        self.reports.as_ref().map_or(0, |(_, state)| state.lost())
    }

    fn reports_text(&self, out: &mut String) {
        let Some((place, state)) = &self.reports else { return };
        let sent = text::counted(state.sent as usize, "report");
        let _ = writeln!(out, "  reported {sent} to {}", text::visible(place));
        if let Retention::NotSet { reason } = &state.retention {
            let _ = writeln!(out, "  it does not forget: its retention was not set: {}", text::visible(reason));
        }
        if self.unreported() > 0 {
            let why = text::visible(&state.why_lost());
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
        let _ = match &detached.later {
            Later::Nothing => Ok(()),
            Later::Served(by) => {
                writeln!(out, "  until {until}: nodes that join get an agent by {}", text::visible(by))
            }
            Later::Failed(notice) => writeln!(out, "  NOT SERVED nodes that join: {}", text::visible(&notice.line())),
            Later::Asked { .. } => writeln!(out, "  NOT SERVED nodes that join, perhaps: the cluster has not answered"),
        };
        if self.cloud.iter().any(|(group, ..)| *group == Group::Alarms) {
            let _ = writeln!(
                out,
                "  alarms of the session stay, and tell that nodes are silent once nobody reports for them"
            );
        }
        if self.storage.is_some() && !self.delivered.is_empty() {
            self.storage_text(out);
        }
        if self.stranded {
            let _ = writeln!(out, "  LEFT     the session: what is kept above is in its rings and nowhere else");
        }
        if let Some(session) = &self.session {
            if !detached.reaped {
                let _ =
                    writeln!(out, "  after that an empty namespace stays until it is cleaned up (--reaper removes it)");
            }
            let _ = writeln!(out, "  come back: {}", text::command(["attach", session.as_str()]));
            let _ = writeln!(out, "  end it:    {}", text::command(["cleanup", session.as_str()]));
        }
    }

    /// A session on this machine that was left has no agent: what is there are its files.
    fn held_text(&self, out: &mut String) {
        self.storage_text(out);
        if let (false, Some(session)) = (self.held.is_empty(), &self.session) {
            let session = session.as_str();
            let _ = writeln!(out, "  copy what is kept, or");
            let _ = writeln!(out, "  fetch it:  {}", text::command(["attach", session, "--local"]));
            let _ = writeln!(out, "  remove it: {}", text::command(["cleanup", session, "--local"]));
        } else if let (true, Some(folder)) = (self.abandoned, &self.ring_folder) {
            let _ = writeln!(out, "  LEFT     {}", text::visible(&folder.display().to_string()));
        } else {
            let _ = writeln!(out, "  {}", self.outside());
        }
    }

    /// What there is to say of other machines when no object in a cluster is named.
    fn outside(&self) -> &'static str {
        let stored = !self.delivered.is_empty() || !self.in_bucket.is_empty() || self.unlisted.is_some();
        let removed = matches!(self.storage, Some((_, InStorage::Gone(found))) if !found.is_empty());
        let reported = self.reports.as_ref().is_some_and(|(_, state)| state.sent > 0) || !self.cloud.is_empty();
        if stored || removed || reported {
            "outside this machine only what is named above was made"
        } else {
            "nothing was made outside this machine, nothing is left"
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
        let again =
            self.session.as_ref().map(|session| text::command(["cleanup", session.as_str()])).unwrap_or_default();
        let _ = match (left, kept, gone) {
            (0, ..) if self.trouble.is_some() => writeln!(out, "  not everything was removed; try again: {again}"),
            (0, ..) if self.abandoned => writeln!(out, "  nothing was waited for; look what is left: {again}"),
            (0, 0, 0) => writeln!(out, "  {}", self.outside()),
            (0, 0, _) => writeln!(out, "  {gone} objects were made, {gone} were seen gone, nothing is left"),
            (0, ..) => writeln!(out, "  {gone} objects were seen gone, {kept} were kept; remove them: {again}"),
            (left, ..) => writeln!(out, "  {} may still be there; try again: {again}", text::counted(left, "object")),
        };
    }

    fn storage_text(&self, out: &mut String) {
        let Some((place, state)) = &self.storage else { return };
        let place = text::visible(&place.to_string());
        let _ = match state {
            InStorage::Gone(found) => {
                writeln!(out, "  removed  {} in {place}", text::counted(found.objects as usize, "object"))
            }
            InStorage::Failed(notice) => writeln!(out, "  LEFT     {place}: {}", text::visible(&notice.line())),
            InStorage::Removing => writeln!(out, "  LEFT     {place}: not seen gone"),
            InStorage::Kept if self.delivered.is_empty() && self.in_bucket.is_empty() && self.unlisted.is_none() => {
                Ok(())
            }
            InStorage::Asked | InStorage::There(_) | InStorage::Unknown(_) | InStorage::Kept => {
                let again = self.session.as_ref().map(|session| {
                    let words = ["cleanup", session.as_str(), "--captures"].into_iter();
                    format!("; remove: {}", text::command(words.chain(self.storage_words.iter().map(String::as_str))))
                });
                let unlisted =
                    self.unlisted.as_ref().map(|why| format!(" (what is there is not known: {})", text::visible(why)));
                writeln!(
                    out,
                    "  kept     captures in {place}{}{}",
                    unlisted.unwrap_or_default(),
                    again.unwrap_or_default()
                )
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
                "untold": detached.untold, "nodes_that_join": detached.later.word()})
        });
        let delivered = self.delivered.iter().map(|(uri, size, sha256)| {
            let compared = !self.not_compared.contains(uri);
            json!({"uri": uri, "bytes": size, "sha256": sha256.as_ref().filter(|_| compared), "compared": compared})
        });
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
        let of_file =
            |(node, file, why): &(NodeName, String, String)| json!({"node": node, "file": file, "reason": why});
        let held = self.held.iter().map(|held| {
            let place = self.ring_folder.as_ref().map(|folder| folder.join(&held.file));
            json!({"node": held.node, "file": held.file, "bytes": held.size, "reason": held.reason, "path": place})
        });
        let troubles = self.troubles.iter().map(|(node, what)| json!({"node": node, "message": what}));
        let in_bucket = self.in_bucket.iter().map(|(uri, size)| json!({"uri": uri, "bytes": size}));
        let reports = self.reports.as_ref().map(|(place, state)| json!({"place": place, "state": state}));
        json!({
            "cloud": cloud.collect::<Vec<_>>(), "reports": reports,
            "delivered": delivered.collect::<Vec<_>>(), "storage": storage,
            "session": self.session, "place": self.place, "left_behind": self.left_behind(),
            "objects": objects.collect::<Vec<_>>(), "fetched": fetched.collect::<Vec<_>>(),
            "lost": lost.collect::<Vec<_>>(), "left_on_nodes": there.collect::<Vec<_>>(), "detached": detached,
            "trouble": self.trouble.as_ref().map(Notice::line),
            "incomplete": self.incomplete.iter().map(of_file).collect::<Vec<_>>(),
            "undelivered": self.undelivered.iter().map(of_file).collect::<Vec<_>>(),
            "not_compared": self.unproved.iter().map(of_file).collect::<Vec<_>>(),
            "held": held.collect::<Vec<_>>(), "troubles": troubles.collect::<Vec<_>>(),
            "in_bucket": in_bucket.collect::<Vec<_>>(), "no_manifest": self.no_manifest, "noted": self.noted,
            "whole": self.is_whole(),
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
                later: Later::Served("DaemonSet agents-7f3a91c2".into()),
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
