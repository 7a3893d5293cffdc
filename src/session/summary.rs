//! The session's facts for its report.
//!
//! Owns what of the whole state goes into a report. No payload and no credential is in the state. Pure.

use nodewatch_protocol::{CaptureFile, CaptureSpec, CaptureState, Delivery, PortProtocol, ProbeOutcome};

use super::{
    Session, earlier,
    exit::{Exit, Phase},
    ledger::Fate,
    node::{Agent, NodeState, Run, reason_text},
    probes::probe_text,
};
use crate::{
    base::text,
    model::{
        CaptureRun, CaptureSummary, FetchProgress, FileSummary, FullQueue, Group, Moment, NodeSummary, ObjectFate,
        ObjectSummary, Place, PortMoment, PortSummary, ProbeSummary, Span, Summary,
    },
};

/// Of a file that was in a ring which is gone, and is nowhere else.
const LOST: &str = "lost: its ring was removed with its agent";

impl Session {
    /// The session as its report tells it, with what was seen of it before this program took it up.
    pub fn summary(&self) -> Summary {
        let now = self.seen_here();
        match &self.earlier {
            Some(earlier) => earlier::joined(earlier, now),
            None => now,
        }
    }

    fn seen_here(&self) -> Summary {
        let watched = || self.nodes.values().filter(|state| state.agent.is_deployed() || state.ports.known);
        let of_nodes = watched().flat_map(|state| {
            state.log.told.events.iter().map(|event| Moment {
                at: self.wall(event.at),
                node: Some(state.node.name.clone()),
                text: event.text.clone(),
            })
        });
        let told =
            self.notices.iter().map(|(at, notice)| Moment { at: self.wall(*at), node: None, text: notice.fact() });
        let attached = self.life.attached.map(|at| self.wall(at));
        let attaching = attached.map(|at| Moment { at, node: None, text: "attached to the session".to_owned() });
        let mut timeline: Vec<Moment> = of_nodes.chain(told).chain(attaching).collect();
        timeline.sort_by(|a, b| (a.at, &a.node, &a.text).cmp(&(b.at, &b.node, &b.text)));
        let ended = self.ended();
        let receipt = ended.map(|_| self.receipt().text()).unwrap_or_default();
        let began = self.life.began.map(|at| self.wall(at));
        let written = self.wall(self.now);
        let place = match &self.terms.place {
            Place::Local => self.place_text(),
            Place::Cluster { .. } => format!("cluster {}", self.place_text()),
        };
        Summary {
            began,
            ends: self.life.ends.map(|at| self.wall(at)),
            written,
            timeline,
            nodes: watched().map(|state| self.node_summary(state)).collect(),
            receipt: receipt.lines().map(|line| line.trim().to_owned()).collect(),
            by: self.terms.owner.clone(),
            watched: attached.or(began).map(|from| Span { from, until: Some(written) }).into_iter().collect(),
            detached: ended.is_some_and(|exit| matches!(exit.phase, Phase::Detaching { .. })),
            objects: ended.map(|exit| self.objects(exit)).unwrap_or_default(),
            gone_at: self.life.last_gone.map(|at| self.wall(at)),
            answers: self.answers_summary(),
            ..Summary::new(self.terms.id.clone(), place)
        }
    }

    fn objects(&self, exit: &Exit) -> Vec<ObjectSummary> {
        let ledger = self.ledger_now(exit);
        let object = |thing: &super::ledger::Thing| {
            let (fate, why) = match &thing.fate {
                Fate::Gone => (ObjectFate::Gone, String::new()),
                Fate::Kept => (ObjectFate::Kept, String::new()),
                Fate::There(state) => (ObjectFate::Left, state.clone()),
                Fate::Asked => (ObjectFate::Left, String::new()),
                Fate::Removing => (ObjectFate::Left, "removal not confirmed".to_owned()),
                Fate::Unknown(why) | Fate::Failed(why) => (ObjectFate::Left, why.clone()),
            };
            ObjectSummary { name: thing.name(), in_cluster: thing.as_object().is_some(), fate, why }
        };
        ledger.things().iter().map(object).collect()
    }

    fn node_summary(&self, state: &NodeState) -> NodeSummary {
        let node = &state.node;
        let facts = [Some(node.readiness.word()), node.zone.as_deref(), node.instance_type.as_deref()];
        let ports = self.list_ports(state).into_iter().map(|listed| {
            // What declares a port may be the pod that holds it.
            let owner = if listed.why.contains(&*listed.owner) { "" } else { &*listed.owner };
            let why: Vec<&str> = [&*listed.why, owner].into_iter().filter(|why| !why.is_empty()).collect();
            PortSummary { port: listed.port.to_string(), class: listed.class, why: why.join(", ") }
        });
        let over_time = &state.ports.over_time;
        let changes = over_time.changes(self.now).map(|change| PortMoment {
            at: self.wall(change.at),
            opened: change.opened,
            port: change.port.to_string(),
        });
        let former = state.gone.former.iter().map(|file| self.file_summary(state, file, LOST));
        let let_go = state.gone.let_go.iter().map(|file| self.file_summary(state, file, "being fetched"));
        let on_node = self.on_node_word();
        let in_ring =
            state.files.iter().map(|file| FileSummary { in_ring: true, ..self.file_summary(state, file, on_node) });
        let told = &state.log.told;
        let wall = |span: Span| Span { from: self.wall(span.from), until: span.until.map(|at| self.wall(at)) };
        let over = self.ended().is_some_and(|exit| !matches!(exit.phase, Phase::Detaching { .. }));
        let lost = match state.agent {
            Agent::Lost { since, .. } if !self.is_removing() => Some(Span { from: since, until: None }),
            _ => None,
        };
        NodeSummary {
            facts: facts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            agent: if over && state.agent.runs() { "removed" } else { state.agent_word() }.to_owned(),
            ports: ports.collect(),
            changes: changes.collect(),
            rates: self.rates(state),
            capture: capture(state),
            files: former.chain(let_go).chain(in_ring).collect(),
            flaps: over_time.flaps().into_iter().map(|flap| flap.by_clock(self.wall_ahead)).collect(),
            clients: over_time.clients(),
            outages: told.outages.iter().copied().chain(lost).map(wall).collect(),
            captures: told.runs.iter().map(|run| self.capture_run(run)).collect(),
            probes: self.probe_summaries(state),
            gaps: [gaps(state), self.missing_of_bundles(&node.name)].concat(),
            full_queues: self.full_queues(state),
            ring: state.ring_name().to_owned(),
            ..NodeSummary::named(node.name.clone())
        }
    }

    fn rates(&self, state: &NodeState) -> Vec<crate::model::RatePoint> {
        let points = state.counts.of_session.points().iter();
        points.map(|point| crate::model::RatePoint { at: self.wall(point.at), ..*point }).collect()
    }

    fn full_queues(&self, state: &NodeState) -> Vec<FullQueue> {
        let by_clock = |queue: &FullQueue| FullQueue {
            first: self.wall(queue.first),
            last: self.wall(queue.last),
            ..queue.clone()
        };
        state.ports.full.values().map(by_clock).collect()
    }

    fn probe_summaries(&self, state: &NodeState) -> Vec<ProbeSummary> {
        let of = self.ports.probes.iter().filter(|((node, _), _)| *node == state.node.name);
        of.map(|(_, result)| {
            let probe = &result.probed.probe;
            let open = match result.probed.outcome {
                ProbeOutcome::Reached => true,
                // Many servers take what they do not understand without a word.
                ProbeOutcome::Silent => probe.protocol == PortProtocol::Udp,
                _ => false,
            };
            ProbeSummary {
                at: self.wall(result.at),
                from: result.from.clone(),
                port: format!("{} {}", probe.protocol.word(), probe.to),
                open,
                text: probe_text(&result.probed),
            }
        })
        .collect()
    }

    fn capture_run(&self, run: &Run) -> CaptureRun {
        CaptureRun {
            since: run.since,
            began: self.wall(run.began),
            ended: run.ended.as_ref().map(|(at, _)| self.wall(*at)),
            reason: run.ended.as_ref().map(|(_, reason)| reason.clone()).unwrap_or_default(),
            interfaces: run.interfaces.clone(),
            filter: run.spec.filter.clone(),
            content: kept(&run.spec),
            options: self.place_options().into_iter().chain(options(&run.spec)).collect(),
        }
    }

    /// What leads a command to the same place.
    fn place_options(&self) -> Vec<String> {
        match &self.terms.place {
            Place::Local => vec!["--local".to_owned()],
            Place::Cluster { context, .. } => vec!["--context".to_owned(), context.clone()],
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
        let sum = match state.fetches.get(&file.name) {
            Some(FetchProgress::Done { sha256, .. }) => Some(sha256.clone()),
            _ => None,
        };
        let stored = match &file.delivery {
            Delivery::Delivered { key, unproved, .. } if !state.is_removed_from_s3(file) => {
                self.object_uri(key).map(|uri| (uri, !unproved))
            }
            _ => None,
        };
        let (place, kept, checked) = match (state.fetches.get(&file.name), stored) {
            // Nothing is called fetched before its checksum was compared.
            (Some(FetchProgress::Done { path, .. }), ..) => (path.display().to_string(), true, true),
            (_, Some((uri, true))) => (uri, true, true),
            (_, Some((uri, false))) => (format!("{uri} (not compared)"), true, false),
            (Some(FetchProgress::Failed(notice)), ..) => (format!("not fetched: {}", notice.cause), false, false),
            _ if state.is_removed_from_s3(file) => (format!("{otherwise}; not in S3 any more"), false, false),
            _ => (otherwise.to_owned(), false, false),
        };
        FileSummary {
            name: file.name.clone(),
            bytes: file.size,
            packets: file.packets,
            dropped: file.dropped,
            place,
            sha256: sum.or_else(|| file.sha256.clone()),
            incomplete: file.incomplete.clone(),
            started: file.started,
            ended: file.ended,
            kept,
            checked,
            since: file.since,
            in_ring: false,
            sequence: file.sequence,
        }
    }
}

/// What is not known of a node, or was lost there.
fn gaps(state: &NodeState) -> Vec<String> {
    let mut gaps: Vec<String> = state.ports.gaps.iter().map(|gap| format!("ports: {gap}")).collect();
    gaps.extend(state.log.troubles.texts.iter().cloned());
    if state.log.troubles.more > 0 {
        gaps.push(format!("and {} more failures", state.log.troubles.more));
    }
    if state.log.dropped_updates > 0 {
        gaps.push(format!("{} updates of the agent were skipped: this laptop fell behind", state.log.dropped_updates));
    }
    let discarded = state.discarded();
    if discarded.files > 0 {
        let files = text::counted(discarded.files as usize, "file");
        gaps.push(format!("the ring was full: {files} of {} packets discarded", discarded.packets));
    }
    if let Agent::Failed(notice) | Agent::Ended(notice) = &state.agent {
        gaps.push(notice.fact());
    }
    gaps
}

/// What is kept of packets, and for how long.
fn kept(spec: &CaptureSpec) -> String {
    let mut kept = spec.content.word().to_owned();
    if spec.snaplen < CaptureSpec::MAX_SNAPLEN {
        kept = format!("{kept}, at most {} bytes of each packet", spec.snaplen);
    }
    match spec.recorder {
        Some(recorder) => format!("{kept}, flight recorder of {} s", recorder.seconds.get()),
        None => kept,
    }
}

/// The options with which `capture` does the same.
fn options(spec: &CaptureSpec) -> Vec<String> {
    let plain = CaptureSpec::default();
    let seconds = |seconds: nodewatch_protocol::Seconds| format!("{}s", seconds.get());
    let changed = |value: u64, usual: u64| (value != usual).then(|| value.to_string());
    let named = [
        ("--filter", spec.filter.clone()),
        ("--content", (spec.content != plain.content).then(|| spec.content.word().to_owned())),
        ("--snaplen", changed(spec.snaplen.into(), plain.snaplen.into())),
        ("--recorder", spec.recorder.map(|recorder| format!("{}s,{}", recorder.seconds.get(), recorder.bytes))),
        ("--freeze-on", spec.freeze_on.map(|on| on.to_string())),
        ("--duration", spec.limit_seconds.map(seconds)),
        ("--max-bytes", spec.limit_bytes.map(|bytes| bytes.to_string())),
        ("--max-packets", spec.limit_packets.map(|packets| packets.to_string())),
        ("--rotate-size", changed(spec.rotate_bytes, plain.rotate_bytes)),
        ("--rotate-time", (spec.rotate_seconds != plain.rotate_seconds).then(|| seconds(spec.rotate_seconds))),
    ];
    let interfaces = spec.interfaces.iter().map(|interface| ("--interface", Some(interface.clone())));
    let mut options: Vec<String> = named
        .into_iter()
        .chain(interfaces)
        .filter_map(|(name, value)| value.map(|value| [name.to_owned(), value]))
        .flatten()
        .collect();
    options.extend(spec.bundle.then(|| "--bundle".to_owned()));
    options.extend(spec.include_own.then(|| "--include-own".to_owned()));
    options
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
        state.agent = Agent::Live;
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
