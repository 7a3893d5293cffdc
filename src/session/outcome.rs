//! What a session amounts to: where each file is, what is missing from it, what is left.
//!
//! Owns how the receipt is made of the session's state, and nothing of its forms. Pure.

use std::path::PathBuf;

use nodewatch_protocol::{CaptureFile, Delivery, Dropped, FileState};

use super::{
    Session,
    exit::{Exit, Later, Phase},
    ledger::Thing,
    node::{Agent, NodeState},
    receipt::{Detachment, FileNote, Receipt, Unwanted},
};
use crate::{
    base::text,
    model::{FetchProgress, Group, Kind, NodeName, Notice, Place},
};

impl Session {
    /// What the session has done and left.
    pub fn receipt(&self) -> Receipt {
        let ended = self.ended();
        let detached = ended.filter(|exit| matches!(exit.phase, Phase::Detaching { .. }));
        let mut receipt = Receipt {
            session: Some(self.terms.id.clone()),
            on_this_machine: self.terms.place == Place::Local,
            place: match &self.terms.place {
                Place::Local => "this machine".to_owned(),
                Place::Cluster { context, .. } => format!("context {context}"),
            },
            things: ended.map(|exit| self.ledger_now(exit).things().to_vec()).unwrap_or_default(),
            trouble: ended.and_then(|exit| exit.trouble.clone()),
            storage_words: self.storage_words(),
            no_manifest: ended.map(|exit| exit.end.no_manifest.iter().map(Notice::line).collect()).unwrap_or_default(),
            noted: ended.map(|exit| [exit.end.dropped.as_slice(), &exit.end.noted].concat()).unwrap_or_default(),
            reports: self.reports.as_ref().and_then(|reports| {
                // What agents send by themselves goes on when they do.
                let state = if detached.is_some() { Some(reports.state.clone()) } else { self.report_state() };
                Some((format!("log group {}", reports.settings.group), state?))
            }),
            detached: detached.map(|exit| self.detachment(exit)),
            stranded: ended.is_some_and(|exit| exit.end.stranded),
            abandoned: ended.is_some_and(|exit| exit.end.abandoned),
            ring_folder: self.terms.files.ring_folder.clone(),
            unwanted: if self.terms.files.keep_files { Unwanted::Streamed } else { Unwanted::Chosen },
            ..Receipt::default()
        };
        for state in self.nodes.values() {
            self.lost_in_ring(state, &mut receipt);
            for file in state.all_files() {
                self.account_for(state, file, &mut receipt);
            }
            for file in &state.gone.former {
                self.account_for_former(state, file, &mut receipt);
            }
            let name = &state.node.name;
            if let Agent::Failed(notice) = &state.agent {
                receipt.without_agent.push((name.clone(), notice.fact()));
            }
            for image in &state.log.images {
                receipt.images.entry(image.clone()).or_default().push(name.clone());
            }
            receipt.troubles.extend(state.log.troubles.texts.iter().map(|text| (name.clone(), text.clone())));
            receipt.troubles.extend(self.missing_of_bundles(name).into_iter().map(|what| (name.clone(), what)));
            if state.log.troubles.more > 0 {
                receipt.troubles.push((name.clone(), format!("and {} more", state.log.troubles.more)));
            }
        }
        // Somebody has chosen so, and it is no failure.
        for name in self.transfers.bundles.without_end().into_iter().filter(|_| detached.is_some()) {
            receipt.noted.push(format!("the bundle of {name} has no end: its capture was left alone"));
        }
        for file in &self.transfers.made {
            let files = if file.is_table() { &mut receipt.files.saved } else { &mut receipt.files.merged };
            files.extend(file.path().map(|path| (path.to_owned(), file.bytes)));
        }
        match ended.and_then(|exit| exit.end.in_bucket.as_ref()) {
            Some(Ok(found)) => {
                let named = |(uri, _): &&(String, u64)| !receipt.files.delivered.iter().any(|(known, ..)| known == uri);
                receipt.files.in_bucket = found.iter().filter(named).cloned().collect();
            }
            Some(Err(notice)) => receipt.files.unlisted = Some(notice.fact()),
            None => {}
        }
        receipt
    }

    /// What was thrown away for want of room. What went another way than by files is not lost with its file.
    fn lost_in_ring(&self, state: &NodeState, receipt: &mut Receipt) {
        let discarded = state.discarded();
        if discarded.files == 0 || self.terms.files.keep_files {
            return;
        }
        let what = text::counted(discarded.files as usize, "file");
        let reason = format!("the ring was full: {} packets were discarded before delivery", discarded.packets);
        receipt.files.lost.push(FileNote { node: state.node.name.clone(), file: what, size: discarded.bytes, reason });
    }

    /// Where a file is that was kept in time: in S3, on the laptop. True when that is all there is to say of it.
    fn account_for_copies(&self, state: &NodeState, file: &CaptureFile, receipt: &mut Receipt) -> bool {
        let name = &state.node.name;
        if let Some(why) = what_is_missing(file) {
            receipt.files.incomplete.push(note(name, file, why));
        }
        let fetched = state.fetches.get(&file.name);
        let removed = state.is_removed_from_s3(file);
        if let Delivery::Delivered { key, size, unproved } = &file.delivery
            && let Some(uri) = self.object_uri(key).filter(|_| !removed)
        {
            if *unproved {
                receipt.files.not_compared.insert(uri.clone());
            }
            receipt.files.delivered.push((uri, *size, file.sha256.clone()));
            if !unproved && !matches!(fetched, Some(FetchProgress::Done { .. })) {
                return true;
            }
        } else if self.was_removed_by_key(file) {
            // Nobody misses it.
            receipt.files.fetched.extend(fetched.and_then(|fetch| here(fetch, file)));
            return true;
        } else if self.terms.storage.is_some()
            && !self.terms.files.keep_files
            // Agents that go on deliver what waits, and nothing twice.
            && (receipt.detached.is_none() || receipt.stranded || removed)
        {
            receipt.files.undelivered.push(note(name, file, state.why_undelivered(file)));
        }
        let here = fetched.and_then(|fetch| here(fetch, file));
        let is_here = here.is_some();
        receipt.files.fetched.extend(here);
        is_here
    }

    /// Its object was removed from S3 by this program's own key.
    fn was_removed_by_key(&self, file: &CaptureFile) -> bool {
        matches!(&file.delivery, Delivery::Delivered { key, .. } if self.transfers.removed.contains(key))
    }

    /// A file whose ring went with an earlier agent of the node: what was not kept in time is lost.
    fn account_for_former(&self, state: &NodeState, file: &CaptureFile, receipt: &mut Receipt) {
        if self.account_for_copies(state, file, receipt) {
            return;
        }
        let name = &state.node.name;
        if state.is_in_s3(file) {
            let reason = "in S3 but not compared: its ring was removed with its agent".to_owned();
            receipt.files.unproved.push(note(name, file, reason));
        } else if !self.terms.files.keep_files {
            receipt.files.lost.push(note(name, file, "its ring was removed with its agent".to_owned()));
        }
    }

    fn account_for(&self, state: &NodeState, file: &CaptureFile, receipt: &mut Receipt) {
        if self.account_for_copies(state, file, receipt) {
            return;
        }
        let name = &state.node.name;
        let fetched = state.fetches.get(&file.name);
        let reason = match fetched {
            Some(FetchProgress::Failed(notice)) => notice.cause.clone(),
            _ => "not fetched".to_owned(),
        };
        let chosen = self.ended().is_some_and(|exit| exit.keeps(Group::Files));
        let held = note(name, file, reason);
        match receipt.detached {
            Some(_) if receipt.stranded || receipt.on_this_machine => receipt.files.held.push(held),
            // It is still there.
            Some(_) => {}
            None if receipt.abandoned => receipt.files.held.push(held),
            None if chosen && file.state == FileState::Closed => {
                receipt.files.left_there.push(held);
            }
            None if state.is_in_s3(file) => {
                let reason = format!("in S3 but not compared: {}", held.reason);
                receipt.files.unproved.push(FileNote { reason, ..held });
            }
            None if matches!(fetched, Some(FetchProgress::Failed(_))) => {
                receipt.files.lost.push(held);
            }
            None => {
                let reason = "not fetched before its agent was removed".to_owned();
                receipt.files.lost.push(FileNote { reason, ..held });
            }
        }
    }

    /// What names the place in S3 on a command line, for a session that no journal knows.
    fn storage_words(&self) -> Vec<String> {
        let Some(storage) = self.terms.storage.as_ref().filter(|_| self.terms.place == Place::Local) else {
            return Vec::new();
        };
        let place = ["--s3".to_owned(), storage.url.to_string().trim_end_matches('/').to_owned()];
        place.into_iter().chain(self.terms.s3.storage_options.iter().cloned()).collect()
    }

    fn detachment(&self, exit: &Exit) -> Detachment {
        let of = |so: fn(&NodeState) -> bool| {
            self.nodes.values().filter(|state| so(state)).map(|state| state.node.name.clone()).collect()
        };
        Detachment {
            until: self.wall(self.life.ends.unwrap_or(self.now)),
            agents: of(|state| state.agent.runs()),
            captures: of(|state| state.agent.runs() && state.is_capturing()),
            recorders: of(|state| state.agent.runs() && state.recorder().is_some()),
            untold: exit.untold.iter().cloned().collect(),
            later: match &exit.end.later {
                Later::Nothing if self.joining.stood_in => Later::Served("the session's DaemonSet".to_owned()),
                later => later.clone(),
            },
            reaped: exit.ledger.things().iter().filter_map(Thing::as_object).any(|object| object.kind == Kind::Role),
        }
    }
}

/// Where a file is on the laptop, with its size and checksum.
fn here(fetch: &FetchProgress, file: &CaptureFile) -> Option<(PathBuf, u64, String)> {
    match fetch {
        FetchProgress::Done { path, sha256 } => Some((path.clone(), file.size, sha256.clone())),
        _ => None,
    }
}

fn note(node: &NodeName, file: &CaptureFile, reason: String) -> FileNote {
    FileNote { node: node.clone(), file: file.name.clone(), size: file.size, reason }
}

/// Packets and times that a file should have and has not; `None` when it is whole.
pub fn what_is_missing(file: &CaptureFile) -> Option<String> {
    if file.is_complete() {
        return None;
    }
    let Dropped { kernel, interface, queue } = file.dropped;
    let counts = [(kernel, "by kernel"), (interface, "by interface"), (queue, "by queue")];
    let drops: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, by)| format!("{count} {by}")).collect();
    let drops = if drops.is_empty() { String::new() } else { format!("dropped {}", drops.join(", ")) };
    let parts: Vec<&str> = [&*file.incomplete, &*drops].into_iter().filter(|part| !part.is_empty()).collect();
    Some(parts.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nodewatch_protocol::{Amount, RingState};

    use super::*;
    use crate::model::{Node, SessionId};

    fn session_with(file: CaptureFile) -> Session {
        let mut session = Session::plain(Place::Local, SessionId::new(1), Duration::from_secs(1));
        let mut state = NodeState::new(Node::named("a".into()));
        state.files = vec![file];
        state.fetches.insert("x".into(), FetchProgress::Done { path: "x".into(), sha256: "00".into() });
        session.nodes.insert("a".into(), state);
        session
    }

    fn file() -> CaptureFile {
        serde_json::from_value(serde_json::json!({"name": "x", "size": 9, "packets": 1, "started": 1, "ended": 2,
            "state": "closed"}))
        .expect("a file")
    }

    #[test]
    fn every_hole_of_a_file_is_in_the_receipt() {
        assert!(session_with(file()).receipt().is_whole());
        let dropped = Dropped { kernel: 3, interface: 0, queue: 1 };
        let torn = CaptureFile { incomplete: "interface vx0 went away".into(), dropped, ..file() };
        let receipt = session_with(torn).receipt();
        assert!(!receipt.is_whole());
        let line = "INCOMPLETE x of a: interface vx0 went away; dropped 3 by kernel, 1 by queue";
        assert!(receipt.text().contains(line), "{}", receipt.text());
        assert_eq!(receipt.json()["incomplete"][0]["file"], "x");
    }

    #[test]
    fn what_failed_on_a_node_is_in_the_receipt_and_a_failed_scan_is_not_a_hole() {
        let mut session = session_with(file());
        let state = session.nodes.get_mut(&"a".into()).expect("there");
        let trouble = |message: &str| nodewatch_protocol::Update::Trouble { message: message.into() };
        state.apply(trouble("ports: no such table"), 1);
        assert!(session.receipt().is_whole());
        let state = session.nodes.get_mut(&"a".into()).expect("there");
        for _ in 0..2 {
            state.apply(trouble("interface vx0: Network is down"), 1);
        }
        let receipt = session.receipt();
        assert_eq!(receipt.troubles, [("a".into(), "interface vx0: Network is down".into())], "once");
        assert!(!receipt.is_whole() && receipt.text().contains("TROUBLE  a: interface vx0"), "{}", receipt.text());
    }

    #[test]
    fn what_was_streamed_is_not_lost_with_its_file() {
        let mut session = session_with(file());
        let state = session.nodes.get_mut(&"a".into()).expect("there");
        let discarded = Amount { files: 2, bytes: 10, packets: 5 };
        state.ring = Some(RingState { discarded, ..RingState::default() });
        assert_eq!(session.receipt().files.lost.len(), 1);
        session.terms.files.keep_files = true;
        assert_eq!(session.receipt().files.lost, []);
    }
}
