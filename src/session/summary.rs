//! The session's facts for its report.
//!
//! Owns what of the whole state goes into a report. No payload and no credential is in the state. Pure.

use nodewatch_protocol::{CaptureFile, CaptureState, Delivery};

use super::{
    Session,
    exit::Phase,
    node::{NodeState, reason_text},
};
use crate::{
    base::text,
    model::{
        CaptureSummary, FetchProgress, FileSummary, Group, Moment, NodeSummary, PortMoment, PortSummary,
        SUMMARY_VERSION, Summary,
    },
};

/// Of a file that was in a ring which is gone, and is nowhere else.
const LOST: &str = "lost: its ring was removed with its agent";

impl Session {
    /// The session as its report tells it.
    pub fn summary(&self) -> Summary {
        let watched = || self.nodes.values().filter(|state| state.agent.is_deployed() || state.ports.known);
        let of_nodes = watched().flat_map(|state| {
            state.log.events.iter().map(|event| Moment {
                at: self.wall(event.at),
                node: Some(state.node.name.clone()),
                text: event.text.clone(),
            })
        });
        let told =
            self.notices.iter().map(|(at, notice)| Moment { at: self.wall(*at), node: None, text: notice.fact() });
        let mut timeline: Vec<Moment> = of_nodes.chain(told).collect();
        timeline.sort_by(|a, b| (a.at, &a.node, &a.text).cmp(&(b.at, &b.node, &b.text)));
        let receipt = self.ended().map(|_| self.receipt().text());
        Summary {
            version: SUMMARY_VERSION,
            session: self.terms.id.clone(),
            place: self.place_text(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            began: self.life.began.map(|at| self.wall(at)),
            ends: self.life.ends.map(|at| self.wall(at)),
            written: self.wall(self.now),
            timeline,
            nodes: watched().map(|state| self.node_summary(state)).collect(),
            receipt: receipt.unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect(),
        }
    }

    fn node_summary(&self, state: &NodeState) -> NodeSummary {
        let node = &state.node;
        let facts = [Some(node.readiness.word()), node.zone.as_deref(), node.instance_type.as_deref()];
        let ports = self.list_ports(state).into_iter().map(|listed| {
            let why: Vec<&str> = [&*listed.why, &*listed.owner].into_iter().filter(|why| !why.is_empty()).collect();
            PortSummary { port: listed.port.to_string(), class: listed.class, why: why.join(", ") }
        });
        let changes = state.ports.changes.0.iter().map(|change| PortMoment {
            at: self.wall(change.at),
            opened: change.opened,
            port: change.port.to_string(),
        });
        let former = state.gone.former.iter().map(|file| self.file_summary(state, file, LOST));
        let let_go = state.gone.let_go.iter().map(|file| self.file_summary(state, file, "being fetched"));
        let on_node = self.on_node_word();
        let in_ring = state.files.iter().map(|file| self.file_summary(state, file, on_node));
        NodeSummary {
            name: node.name.clone(),
            facts: facts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            agent: state.agent.word().to_owned(),
            ports: ports.collect(),
            changes: changes.collect(),
            rates: state.counts.of_session.points().to_vec(),
            capture: capture(state),
            files: former.chain(let_go).chain(in_ring).collect(),
        }
    }

    /// Where a file is that is in its agent's ring and nowhere else.
    fn on_node_word(&self) -> &'static str {
        // Once everything is gone, rings are.
        match self.ended().filter(|exit| exit.phase == Phase::Done && !exit.keeps(Group::Agents)) {
            Some(exit) if exit.discards_files() => "discarded: not fetched, and gone with its agent, as requested",
            Some(_) => LOST,
            None => "on the node",
        }
    }

    fn file_summary(&self, state: &NodeState, file: &CaptureFile, otherwise: &str) -> FileSummary {
        // What was fetched was compared with this, whether its agent has ever named it or not.
        let checked = match state.fetches.get(&file.name) {
            Some(FetchProgress::Done { sha256, .. }) => Some(sha256.clone()),
            _ => None,
        };
        let uri = match &file.delivery {
            Delivery::Delivered { key, unproved, .. } if !state.is_removed_from_s3(file) => {
                self.object_uri(key).map(|uri| format!("{uri}{}", if *unproved { " (not compared)" } else { "" }))
            }
            _ => None,
        };
        let place = match (state.fetches.get(&file.name), uri) {
            (Some(FetchProgress::Done { path, .. }), ..) => path.display().to_string(),
            (_, Some(uri)) => uri,
            (Some(FetchProgress::Failed(notice)), ..) => format!("not fetched: {}", notice.cause),
            _ if state.is_removed_from_s3(file) => format!("{otherwise}; not in S3 any more"),
            _ => otherwise.to_owned(),
        };
        FileSummary {
            name: file.name.clone(),
            bytes: file.size,
            packets: file.packets,
            dropped: file.dropped,
            place,
            sha256: checked.or_else(|| file.sha256.clone()),
            incomplete: file.incomplete.clone(),
        }
    }
}

fn capture(state: &NodeState) -> Option<CaptureSummary> {
    let statistics = state.counts.latest.as_ref()?;
    let what = match &state.capture {
        CaptureState::Running { interfaces, spec, .. } => {
            let filter = spec.filter.as_deref().unwrap_or("every packet");
            format!("{filter}, on {}, content {}", interfaces.join(", "), spec.content.word())
        }
        CaptureState::Stopped { reason, .. } => format!("ended: {}", reason_text(reason)),
        CaptureState::Idle => String::new(),
    };
    let what = format!("{what}; {}", text::lasting(statistics.elapsed));
    let mix = statistics.mix.iter().map(|mix| (mix.protocol.clone(), mix.share.bytes)).collect();
    Some(CaptureSummary {
        what,
        packets: statistics.packets,
        bytes: statistics.bytes,
        dropped: statistics.dropped,
        mix,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{Node, Place, SessionId},
        session::exit::{Exit, Leaving},
    };

    fn file(name: &str) -> CaptureFile {
        serde_json::from_value(serde_json::json!({"name": name, "size": 9, "packets": 1, "started": 1, "ended": 2,
            "state": "closed"}))
        .expect("a file")
    }

    fn session() -> Session {
        let mut session = Session::plain(Place::Local, SessionId::new(1), Duration::from_secs(1));
        let mut state = NodeState::new(Node::named("a".into()));
        state.agent = crate::session::node::Agent::Live;
        state.files = vec![file("x")];
        session.nodes.insert("a".into(), state);
        session
    }

    fn files(session: &Session) -> Vec<FileSummary> {
        session.summary().nodes.remove(0).files
    }

    #[test]
    fn a_file_that_was_fetched_has_the_checksum_that_it_was_checked_against() {
        let mut session = session();
        assert_eq!(files(&session)[0].sha256, None, "its agent has not named it");
        let state = session.nodes.get_mut(&"a".into()).expect("there");
        let done = || FetchProgress::Done { path: "here".into(), sha256: "ab".into() };
        state.fetches.insert("x".into(), done());
        // Its ring has let it go since.
        state.gone.let_go.push(file("y"));
        state.fetches.insert("y".into(), done());
        let files = files(&session);
        assert_eq!(files.len(), 2);
        for file in files {
            assert_eq!((file.sha256.as_deref(), file.place.as_str()), (Some("ab"), "here"));
        }
    }

    #[test]
    fn what_went_with_its_agent_is_not_on_the_node() {
        let mut session = session();
        let place = |session: &Session| files(session)[0].place.clone();
        assert_eq!(place(&session), "on the node");
        let mut exit = Exit::new(false, None);
        exit.phase = Phase::Done;
        session.leaving = Leaving::Over(exit.clone());
        assert_eq!(place(&session), LOST);
        exit.keep.insert(Group::Files);
        session.leaving = Leaving::Over(exit.clone());
        assert!(place(&session).starts_with("discarded"), "{}", place(&session));
        exit.keep.insert(Group::Agents);
        session.leaving = Leaving::Over(exit);
        assert_eq!(place(&session), "on the node");
    }
}
