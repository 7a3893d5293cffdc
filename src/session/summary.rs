//! The session's facts for its report.
//!
//! Owns what of the whole state goes into a report. No payload and no credential is in the state. Pure.

use nodewatch_protocol::{CaptureFile, CaptureState, Delivery};

use super::{
    Session,
    node::{NodeState, reason_text},
};
use crate::{
    base::text,
    model::{
        CaptureSummary, FetchProgress, FileSummary, Moment, NodeSummary, PortMoment, PortSummary, SUMMARY_VERSION,
        Summary,
    },
};

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
        let lost = "lost: its ring was removed with its agent";
        let former = state.gone.former.iter().map(|file| self.file_summary(state, file, lost));
        NodeSummary {
            name: node.name.clone(),
            facts: facts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            agent: state.agent.word().to_owned(),
            ports: ports.collect(),
            changes: changes.collect(),
            rates: state.counts.of_session.points().to_vec(),
            capture: capture(state),
            files: former.chain(state.files.iter().map(|file| self.file_summary(state, file, "on the node"))).collect(),
        }
    }

    fn file_summary(&self, state: &NodeState, file: &CaptureFile, otherwise: &str) -> FileSummary {
        let place = match (state.fetches.get(&file.name), &file.delivery, &self.terms.storage) {
            (Some(FetchProgress::Done { path, .. }), ..) => path.display().to_string(),
            (_, Delivery::Delivered { key, unproved, .. }, Some(storage)) => {
                format!("{}{}", storage.url.object(key), if *unproved { " (not compared)" } else { "" })
            }
            (Some(FetchProgress::Failed(notice)), ..) => format!("not fetched: {}", notice.cause),
            _ => otherwise.to_owned(),
        };
        FileSummary {
            name: file.name.clone(),
            bytes: file.size,
            packets: file.packets,
            dropped: file.dropped,
            place,
            sha256: file.sha256.clone(),
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
