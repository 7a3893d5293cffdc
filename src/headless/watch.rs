//! `watch`: what agents see between pairs of ends, second by second.
//!
//! Owns what each node is told to watch, what is printed of it, and the exit code.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nodewatch_protocol::{NotJudged, SamplePacket, Service, Spread, Symptom, Symptoms, WatchSpec, WatchedPair};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    ExitCode,
    gaps::{Gap, Gaps},
    merge, output, records, resolved_filter,
    run::{Run, Stop},
    select::Choice,
    team::Team,
};
use crate::{
    base::text::{self, bytes, counted, lasting, time_of_day},
    cli::{Format, PacketArgs, WatchArgs},
    model::{Failure, NodeName, Notice},
    packets,
    session::{
        Event, Session,
        node::{
            NodeState,
            watch::{PairKey, PairState, Recent, Took, Unseen},
        },
        targets::narrowed,
    },
};

/// A pair that goes on failing is told of so often.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Pairs that are kept apart between two lines; of more the next second tells.
const MOST_TOLD: usize = 10_000;
/// Pairs in the table at the end; the rest is in the other forms.
const ROWS: usize = 40;
/// Agents have so long to tell what they have seen last.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// What the arguments ask for, before anything is asked of a cluster.
pub(super) fn spec(arguments: &PacketArgs) -> Result<WatchSpec, Notice> {
    let filter = resolved_filter(arguments.filter.as_deref(), "invalid watch")?;
    if let Some(filter) = &filter {
        let bad = |error: nodewatch_filter::FilterError| {
            Notice::error("invalid watch", text::chain(&error), error.next_step()).of(Failure::BadInput)
        };
        nodewatch_filter::check(filter).map_err(bad)?;
    }
    Ok(WatchSpec { interfaces: arguments.interfaces.clone(), filter })
}

/// A node that has joined was told to watch, or has refused.
pub(super) fn was_told_to_watch(state: &NodeState) -> bool {
    state.seen.watch.is_wanted() || state.refusal.is_some()
}

/// Watches, until the time is over, a signal comes, nobody reads any more, or no node can be watched.
pub(super) async fn watch(
    run: &mut Run,
    choice: &Choice,
    arguments: &WatchArgs,
    format: Format,
) -> Result<ExitCode, Stop> {
    let spec = spec(&arguments.packets).map_err(Stop::Notice)?;
    let mut team = Team::gather(run, choice, Some(was_told_to_watch)).await?;
    run.keep_what_is_seen();
    let end = arguments.duration.map(|length| Instant::now() + length);
    let mut told = Told::new(format);
    let mut given = BTreeMap::new();
    let mut gaps = Gaps::default();
    loop {
        begin(run, &mut team, &spec, &mut given);
        team.take_back(run.session());
        team.look(run.session(), |state| state.refusal.is_some());
        for (node, seen) in run.seen() {
            told.second(run.session(), &node, &seen);
        }
        for state in team.members().iter().filter_map(|name| run.session().nodes.get(name)) {
            if let Some(gap) = gaps.look(state, run.session(), team.last_word(&state.node.name)) {
                told.gap(&gap);
            }
        }
        if team.is_through(run.session(), |state| state.refusal.is_some()) {
            break;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        // A signal is how watching without a limit is meant to end, and so is a reader that has had enough.
        if run.step_for_reader().await.is_err() {
            break;
        }
    }
    super::counted::print(run.session(), format);
    let untold = rest(run).await;
    for (node, seen) in run.seen() {
        told.second(run.session(), &node, &seen);
    }
    for gap in left(run.session(), &team, &mut gaps, &untold) {
        told.gap(&gap);
    }
    told.end(run.session(), &untold);
    let members = team.members();
    run.clean_up().await;
    let states = members.iter().filter_map(|name| run.session().nodes.get(name));
    let refused: Vec<Notice> = states.filter_map(|state| state.refusal.clone()).collect();
    for notice in &refused {
        output::say(&format!("error: {}", notice.line()));
    }
    Ok(match team.outcome(members.len().saturating_sub(refused.len()), refused) {
        ExitCode::Done if gaps.count > 0 => ExitCode::Partly,
        exit => exit,
    })
}

/// Ends watching on all nodes, each of which tells what it has seen last, and what of it was not decided. Those that have
/// not told it by then, or cannot be reached.
pub(super) async fn rest(run: &mut Run) -> BTreeSet<NodeName> {
    let wanted = run.session().nodes.values().filter(|state| state.seen.watch.is_wanted());
    let wanted: BTreeSet<NodeName> = wanted.map(|state| state.node.name.clone()).collect();
    let watches = |session: &Session, name: &NodeName| {
        session.nodes.get(name).is_some_and(|state| state.agent.has_tunnel() && state.seen.watch.state.is_on())
    };
    let asked: Vec<NodeName> = wanted.iter().filter(|name| watches(run.session(), name)).cloned().collect();
    if !asked.is_empty() {
        run.handle(Event::StopWatching(asked.clone()));
        let is_over = |session: &Session| !asked.iter().any(|name| watches(session, name));
        // Whoever has not told it by then, or before another signal, is among those that are given back.
        let _ = run.until(LAST_WITHIN, "what agents have seen last", is_over).await;
    }
    let has_told = |name: &NodeName| {
        let state = run.session().nodes.get(name);
        asked.contains(name) && state.is_some_and(|state| state.agent.has_tunnel() && !state.seen.watch.state.is_on())
    };
    wanted.into_iter().filter(|name| !has_told(name)).collect()
}

/// Times that are missing at the end, of nodes that are away and of those that have not told their last.
pub(super) fn left(session: &Session, team: &Team, gaps: &mut Gaps, untold: &BTreeSet<NodeName>) -> Vec<Gap> {
    let aimed = session.aim.as_ref().and_then(|aim| aim.now.as_ref());
    let mut left = gaps.at_end(session, team, |name| aimed.is_none_or(|aimed| aimed.nodes.contains_key(name)));
    let reached = untold.iter().filter_map(|name| session.nodes.get(name)).filter(|state| state.agent.has_tunnel());
    left.extend(reached.map(|state| gaps.untold(state, session)));
    left
}

/// Tells nodes that have come up what to watch, and of targets' nodes what these are now.
pub(super) fn begin(run: &mut Run, team: &mut Team, spec: &WatchSpec, given: &mut BTreeMap<NodeName, WatchSpec>) {
    let new = team.recruits(run.session());
    let Some(aimed) = run.session().aim.as_ref().map(|aim| aim.now.clone()) else {
        // Nodes that have joined are told by themselves.
        let joined = |name: &&NodeName| run.session().joining.joined().any(|(joined, _)| joined == *name);
        let first: Vec<NodeName> = new.iter().filter(|name| !joined(name)).cloned().collect();
        if !first.is_empty() {
            run.handle(Event::Watch(first, spec.clone()));
        }
        return;
    };
    let Some(aimed) = aimed else { return };
    for name in aimed.nodes.keys() {
        let filter = narrowed(spec.filter.as_deref(), &aimed.addresses(name));
        let wanted = WatchSpec { filter, ..spec.clone() };
        if given.get(name) == Some(&wanted) {
            continue;
        }
        if run.session().nodes.get(name).is_some_and(|state| state.agent.is_missing()) {
            run.handle(Event::DeployTo(vec![name.clone()]));
        }
        run.handle(Event::Watch(vec![name.clone()], wanted.clone()));
        given.insert(name.clone(), wanted);
    }
    let left: Vec<NodeName> = given.keys().filter(|name| !aimed.nodes.contains_key(*name)).cloned().collect();
    for name in left {
        given.remove(&name);
        run.handle(Event::StopWatching(vec![name]));
    }
}

/// A pair that failed, as it is told of between two lines.
type Failing = (NodeName, IpAddr, IpAddr, u16, Service, String);

/// What was printed.
struct Told {
    format: Format,
    /// When each was told of last, and what failed since: how many, and by what.
    failing: HashMap<Failing, (Option<Instant>, u64, BTreeSet<&'static str>)>,
    /// Results that a slow reader has missed.
    left_out: u64,
    headed: bool,
}

impl Told {
    fn new(format: Format) -> Self {
        Self { format, failing: HashMap::new(), left_out: 0, headed: false }
    }

    /// A second of a node.
    fn second(&mut self, session: &Session, node: &NodeName, seen: &Symptoms) {
        match self.format {
            Format::Json | Format::Yaml => {
                if output::is_behind() {
                    self.left_out += 1;
                    return;
                }
                if self.left_out > 0 {
                    output::print_left_out(std::mem::take(&mut self.left_out), self.format);
                }
                let watch = session.nodes.get(node).map(|state| state.seen.watch.unseen(session.now));
                let value = value(node, seen, &watch.unwrap_or_default());
                output::print_values(&records::WATCH, std::iter::once(value), self.format);
            }
            Format::Name => {}
            Format::Table | Format::Wide => self.lines(session, node, seen),
        }
    }

    /// A time in which nobody looked at a node.
    fn gap(&mut self, gap: &Gap) {
        match self.format {
            Format::Json | Format::Yaml if output::is_behind() => self.left_out += 1,
            Format::Json | Format::Yaml => output::print_values(&records::GAP, [gap.value()].into_iter(), self.format),
            Format::Name => {}
            Format::Table | Format::Wide => output::print(&format!("{}\n", gap.line())),
        }
    }

    /// A line a pair that fails: when it begins to, and while it goes on now and then.
    fn lines(&mut self, session: &Session, node: &NodeName, seen: &Symptoms) {
        for pair in &seen.pairs {
            let symptoms = || pair.symptoms.iter().filter(|it| it.0.is_failure());
            let failed: u64 = symptoms().map(|it| u64::from(it.1) + u64::from(it.2)).sum();
            let interface = seen.interfaces.get(usize::from(pair.interface)).map_or("", |it| it.name.as_str());
            if failed == 0 {
                continue;
            }
            let key = (node.clone(), pair.source, pair.destination, pair.port, pair.service, interface.to_owned());
            if self.failing.len() >= MOST_TOLD {
                self.failing.clear();
            }
            let (at, count, names) = self.failing.entry(key).or_default();
            *count += failed;
            names.extend(symptoms().map(|it| it.0.name()));
            if at.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
                continue;
            }
            *at = Some(Instant::now());
            let names = std::mem::take(names).into_iter().collect::<Vec<_>>().join(", ");
            let row = vec![
                time_of_day(session.wall(session.now)),
                node.0.clone(),
                pair.source.to_string(),
                target(pair.destination, pair.port, pair.service),
                interface.to_owned(),
                std::mem::take(count).to_string(),
                names,
            ];
            if std::mem::replace(&mut self.headed, true) {
                output::print(&format!("{}\n", text::line(&row.join("  "))));
            } else {
                output::print_table(&HEAD, &[row]);
            }
        }
    }

    /// What it amounts to; these nodes have not told their last.
    fn end(&mut self, session: &Session, untold: &BTreeSet<NodeName>) {
        let mut failing: Vec<(&NodeName, &PairKey, &PairState)> = Vec::new();
        for (name, state) in &session.nodes {
            let pairs = state.seen.watch.pairs().filter(|(_, pair)| pair.all.failed > 0);
            failing.extend(pairs.map(|(key, pair)| (name, key, pair)));
        }
        failing.sort_by(|a, b| b.2.all.failed.cmp(&a.2.all.failed).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
        match self.format {
            Format::Json | Format::Yaml => {
                if self.left_out > 0 {
                    output::print_left_out(self.left_out, self.format);
                }
            }
            Format::Name => output::print_names(failing.iter().map(|(node, key, _)| {
                format!("{node} {} {}", key.source, target(key.destination, key.port, key.service))
            })),
            format @ (Format::Table | Format::Wide) => {
                if self.headed {
                    output::print("\n");
                }
                tables(session, &failing, untold, format == Format::Wide);
            }
        }
    }
}

const HEAD: [&str; 7] = ["TIME", "NODE", "SOURCE", "DESTINATION", "INTERFACE", "FAILED", "SYMPTOMS"];

fn target(destination: IpAddr, port: u16, service: Service) -> String {
    match service {
        Service::Neighbour | Service::Other => format!("{destination}/{}", service.name()),
        _ => format!("{}/{}", SocketAddr::new(destination, port), service.name()),
    }
}

fn tables(session: &Session, failing: &[(&NodeName, &PairKey, &PairState)], untold: &BTreeSet<NodeName>, wide: bool) {
    let watched = session.nodes.values().filter(|state| state.seen.watch.heard().is_some());
    let rows: Vec<Vec<String>> = watched
        .map(|state| {
            let (watch, all) = (&state.seen.watch, &state.seen.watch.all);
            let share = Recent::from(*all).retransmitted_share();
            vec![
                state.node.name.0.clone(),
                watch.pairs().count().to_string(),
                all.attempts.to_string(),
                all.failed.to_string(),
                all.delayed.to_string(),
                share.map_or_else(|| "-".to_owned(), |share| format!("{}.{}", share / 10, share % 10)),
                all.dns_unanswered.to_string(),
                watch.lost.to_string(),
                lasting(watch.unseen(session.now).total()),
                bytes(all.bytes),
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let heads =
        ["NODE", "PAIRS", "ATTEMPTS", "FAILED", "DELAYED", "RETR%", "DNS UNANSWERED", "LOST", "NOT SEEN", "SIZE"];
    output::print_table(&heads, &rows);
    for text in session.not_judged() {
        output::print(&format!("# {text}\n"));
    }
    // Of the others all was decided.
    let open = session.nodes.iter().filter(|(name, _)| untold.contains(*name));
    let open: u64 = open.map(|(_, state)| state.seen.watch.all.open()).sum();
    if open > 0 {
        let what = counted(open as usize, "attempt");
        output::print(&format!("# {what} without an answer so far; one that is judged fails after 10 s\n"));
    }
    if failing.is_empty() {
        let whole =
            open == 0 && session.nodes.values().all(|state| state.seen.watch.not_judged == NotJudged::default());
        output::print(if whole { "# nothing failed\n" } else { "# nothing failed of what was judged\n" });
        return;
    }
    output::print("\n");
    let took = |took: Option<Took>| {
        took.map_or_else(|| "-".to_owned(), |it| format!("{:.1}/{:.1}", millis(it.p50), millis(it.p99)))
    };
    let shown = if wide { failing.len() } else { ROWS };
    let rows = failing.iter().take(shown).map(|(node, key, pair)| {
        let said = pair.symptoms.iter().filter(|(symptom, _)| *symptom != Symptom::ResetFlag);
        let said: Vec<String> =
            said.map(|(symptom, ways)| format!("{} {}", symptom.name(), ways[0].saturating_add(ways[1]))).collect();
        vec![
            node.0.clone(),
            key.source.to_string(),
            target(key.destination, key.port, key.service),
            format!("{} {}", key.interface, key.role.word()),
            pair.all.failed.to_string(),
            pair.all.attempts.to_string(),
            took(pair.answers),
            took(pair.round_trips),
            said.join(", "),
        ]
    });
    let heads = ["NODE", "SOURCE", "DESTINATION", "INTERFACE", "FAILED", "ATTEMPTS", "ANSWER ms", "RTT ms", "SYMPTOMS"];
    output::print_table(&heads, &output::cut(rows.collect(), wide, heads.len()));
    if failing.len() > shown {
        output::print(&format!("# and {}: -o wide has all\n", counted(failing.len() - shown, "more pair")));
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// A second of a node, for programs.
fn value(node: &NodeName, seen: &Symptoms, unseen: &Unseen) -> Value {
    let interface = |it: &nodewatch_protocol::WatchedInterface| {
        json!({"name": it.name, "role": it.role.word(), "packets": it.packets, "dropped": it.dropped,
            "skipped": it.skipped, "gone": it.gone})
    };
    let mut samples: HashMap<usize, Vec<&SamplePacket>> = HashMap::new();
    for sample in &seen.samples {
        samples.entry(usize::from(sample.pair)).or_default().push(sample);
    }
    let pairs = seen.pairs.iter().enumerate().map(|(at, pair)| {
        let interface = seen.interfaces.get(usize::from(pair.interface)).map_or("", |it| it.name.as_str());
        pair_value(pair, interface, samples.get(&at).map_or(&[][..], Vec::as_slice))
    });
    let (unlisted, unjudged, sums) = (&seen.unlisted, &seen.not_judged, &seen.sums);
    json!({
        "node": node.0, "at": seen.at, "millis": seen.millis, "captured": seen.captured,
        "interfaces": seen.interfaces.iter().map(interface).collect::<Vec<_>>(),
        "connections": seen.connections,
        "sums": {
            "packets": sums.packets, "segments": sums.segments, "bytes": sums.bytes, "attempts": sums.attempts,
            "answered": sums.answered, "lookups": sums.lookups, "failed": sums.failed, "delayed": sums.delayed,
            "retransmitted": sums.retransmitted, "dns_unanswered": sums.dns_unanswered,
        },
        "pairs": pairs.collect::<Vec<_>>(),
        "unlisted": {
            "pairs": unlisted.pairs, "packets": unlisted.packets, "failed": unlisted.failed, "felt": unlisted.felt,
            "no_room": unlisted.no_room, "evicted": unlisted.evicted,
        },
        "not_judged": {
            "first_seconds": unjudged.first_seconds, "one_direction": unjudged.one_direction,
            "dropped": unjudged.dropped, "undecided": unjudged.undecided,
        },
        "unseen_millis": {
            "dropped": unseen.dropped, "behind": unseen.behind, "gone": unseen.gone, "untold": unseen.untold,
        },
    })
}

/// The fields that `diagnose` has too.
fn pair_value(pair: &WatchedPair, interface: &str, samples: &[&SamplePacket]) -> Value {
    let failed: u64 =
        pair.symptoms.iter().filter(|it| it.0.is_failure()).map(|it| u64::from(it.1) + u64::from(it.2)).sum();
    let symptoms: Map<String, Value> =
        pair.symptoms.iter().map(|it| (it.0.name().to_owned(), json!({"there": it.1, "back": it.2}))).collect();
    let ways = |[there, back]: [u64; 2]| json!({"there": there, "back": back});
    let times = |spread: Option<Spread>| {
        spread.map(|it| json!({"count": it.count, "p50_ms": millis(it.p50), "p99_ms": millis(it.p99)}))
    };
    json!({
        "source": pair.source.to_string(), "destination": pair.destination.to_string(), "port": pair.port,
        "service": pair.service.name(), "interface": interface,
        "tunnel": pair.tunnel.map(nodewatch_protocol::Tunnel::name),
        "packets": ways(pair.packets), "bytes": ways(pair.bytes), "attempts": pair.attempts,
        "answered": pair.answered, "failed": failed, "lookups": pair.lookups, "symptoms": symptoms,
        "answer": times(pair.answers), "round_trip": times(pair.round_trips),
        "stalled_ms": ways(pair.stalled_millis), "idle_ms": pair.idle_millis, "path_mtu": pair.mtu,
        "told_by": pair.told_by.map(|by| by.to_string()), "reset_ttl": pair.hops_left,
        "samples": samples.iter().map(|sample| sample_value(sample)).collect::<Vec<_>>(),
    })
}

fn sample_value(sample: &SamplePacket) -> Value {
    let headers = text::from_hex(&sample.headers).unwrap_or_default();
    let packet = packets::line(sample.link_type, &headers, sample.length);
    json!({"symptom": sample.symptom.name(), "time": merge::exact(sample.at), "packet": packet})
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{Role, SymptomCount, WatchedInterface};

    use super::*;

    fn seen() -> Symptoms {
        let pair: WatchedPair = serde_json::from_value(json!({
            "source": "10.0.0.1", "destination": "10.0.0.2", "port": 443, "service": "tcp", "interface": 0,
            "packets": [3, 2], "bytes": [300, 200], "attempts": 2, "answered": 1, "told_by": "10.0.0.9",
            "answers": {"count": 1, "p50": 1500, "p99": 1500},
        }))
        .expect("a pair");
        let symptoms = vec![SymptomCount(Symptom::Unreachable, 1, 0), SymptomCount(Symptom::Delayed, 1, 0)];
        let sample = SamplePacket {
            pair: 0,
            symptom: Symptom::Unreachable,
            at: 1_500_000_000,
            link_type: 1,
            length: 60,
            headers: "00".repeat(30),
        };
        Symptoms {
            at: 1000,
            millis: 1000,
            interfaces: vec![WatchedInterface { name: "eth0".into(), role: Role::Node, ..WatchedInterface::default() }],
            pairs: vec![WatchedPair { symptoms, ..pair }],
            samples: vec![sample],
            ..Symptoms::default()
        }
    }

    #[test]
    fn a_second_has_the_fields_of_the_reference_and_pairs_those_of_diagnose() {
        let mut value = value(&"a".into(), &seen(), &Unseen::default());
        assert_eq!(records::undocumented(&records::WATCH, &value), Vec::<String>::new());
        let pair = value["pairs"][0].take();
        assert_eq!(records::undocumented(&records::PAIR, &pair), Vec::<String>::new());
        // How far connections came is known when they are over.
        for (field, _) in records::PAIR.fields.iter().filter(|(field, _)| *field != "fates") {
            assert!(pair.get(field).is_some(), "{field}");
        }
        assert_eq!((&pair["failed"], &pair["answer"]["p50_ms"]), (&json!(1), &json!(1.5)));
        assert_eq!(pair["symptoms"]["unreachable"]["there"], 1);
        assert_eq!(pair["samples"][0]["symptom"], "unreachable");
        assert_eq!(value["interfaces"][0]["role"], "node");
    }

    #[test]
    fn bad_filters_are_refused_before_anything_is_asked() {
        let arguments = |filter: &str| PacketArgs { filter: Some(filter.into()), interfaces: vec![] };
        assert!(spec(&arguments("tcp port 443")).is_ok());
        let refused = spec(&arguments("tcp prt 443")).expect_err("refused");
        assert_eq!((refused.failure, refused.headline.as_str()), (Failure::BadInput, "invalid watch"));
    }
}
