//! The way of one connection over several interfaces, and on which part of it something was lost.
//!
//! Owns how what was seen of one connection in several places is put together: by the numbers that no translation of
//! addresses changes, in the order of the hops that its packets had left. Which places a connection takes is learned from
//! those that were answered. Pure.

use std::{collections::VecDeque, net::IpAddr};

use nodewatch_protocol::{Case, Finding, Role, Service, Symptom};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// A place where packets are seen, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapId(pub u16);

/// A place where packets are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Its node; of files, what they are called.
    pub node: String,
    /// Its interface.
    pub interface: String,
    /// What that is.
    pub role: Role,
    /// When it was first and last told of, in milliseconds since the Unix epoch.
    pub first: u64,
    /// When it was last told of.
    pub last: u64,
    /// When packets were lost there, in the last minutes.
    pub lost: VecDeque<u64>,
}

impl Tap {
    /// For people.
    pub fn text(&self) -> String {
        match (self.node.is_empty(), self.interface.is_empty()) {
            (true, _) => self.interface.clone(),
            (_, true) => self.node.clone(),
            _ => format!("{} of {}", self.interface, self.node),
        }
    }
}

/// On which part of the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Inside a node, between two of its interfaces.
    Node {
        /// Which.
        node: String,
        /// It is the answer that is lost.
        back: bool,
    },
    /// Between two nodes.
    Between {
        /// The one that the packet has left.
        from: String,
        /// The one at which it has not arrived.
        to: String,
    },
    /// It has left the host's end of the pod's interface.
    Pod {
        /// The pod's node.
        node: String,
        /// That interface.
        interface: String,
    },
    /// It was seen there, and nothing is watched beyond.
    Beyond {
        /// The last place that has seen it.
        tap: String,
    },
}

impl Segment {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Node { node, back: false } => format!("lost inside {node}"),
            Self::Node { node, back: true } => format!("answers lost inside {node}"),
            Self::Between { from, to } => format!("lost between {from} and {to}"),
            Self::Pod { node, interface } => format!("not answered by the pod behind {interface} of {node}"),
            Self::Beyond { tap } => format!("lost beyond {tap}"),
        }
    }

    /// The node in which it is, where it is in one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Node { node, .. } | Self::Pod { node, .. } => Some(node),
            Self::Between { .. } | Self::Beyond { .. } => None,
        }
    }
}

/// A case, where and when it was heard of.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) tap: TapId,
    /// In milliseconds since the Unix epoch.
    pub(crate) heard: u64,
    pub(crate) case: Case,
}

/// One connection, or question, that shows something, as all have seen it.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// In the order of its way.
    pub(crate) seen: Vec<Sighting>,
    /// What it shows, as felt by who asks.
    pub(crate) what: Finding,
    /// When it began, in nanoseconds since the Unix epoch.
    pub(crate) began: i64,
    /// Where others of its kind are seen and this was not.
    pub(crate) missing: Vec<TapId>,
    /// Where it was lost, as far as that is known.
    pub(crate) segment: Option<Segment>,
    /// Nothing more is to be expected of it.
    pub(crate) settled: bool,
}

impl Trouble {
    /// As it was seen nearest to who asks.
    pub(crate) fn first(&self) -> &Case {
        &self.seen[0].case
    }

    /// As it was seen nearest to who is asked.
    pub(crate) fn last(&self) -> &Case {
        &self.seen[self.seen.len() - 1].case
    }

    /// Who is asked in the end, after all translation that was seen.
    pub(crate) fn backend(&self) -> (IpAddr, u16) {
        (self.last().destination, self.last().ports.1)
    }

    /// One of them shows that.
    pub(crate) fn shows(&self, what: Finding) -> bool {
        self.seen.iter().any(|sighting| sighting.case.what == what)
    }

    /// An attempt that was lost, or had to be repeated.
    pub(crate) fn is_lost_attempt(&self) -> bool {
        matches!(self.what, Finding::Symptom(Symptom::Unanswered | Symptom::Delayed))
    }

    /// The most bytes, or milliseconds, that one of them shows.
    pub(crate) fn amount(&self) -> u32 {
        let shown = self.seen.iter().filter(|it| it.case.what == self.what);
        shown.map(|it| it.case.amount).max().unwrap_or(0)
    }

    /// The moment in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.began / 1_000_000).unwrap_or(0)
    }

    /// When its last evidence was there, in milliseconds.
    pub(crate) fn shown(&self) -> u64 {
        let latest = self.seen.iter().map(|sighting| sighting.case.began.max(sighting.case.at)).max();
        // What is decided by waiting has happened when it was begun.
        let decided_late = matches!(self.what, Finding::Symptom(Symptom::Unanswered | Symptom::DnsUnanswered));
        if decided_late { self.millis() } else { u64::try_from(latest.unwrap_or(0) / 1_000_000).unwrap_or(0) }
    }
}

/// What of a connection stays the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// The sender's clock is another one in each beginning that is repeated.
    Begun(Service, u32, u32),
    Ends(Service, IpAddr, IpAddr, (u16, u16)),
}

fn identity(case: &Case) -> Identity {
    match case.id {
        Some((sequence, _)) if case.service == Service::Tcp => Identity::Begun(case.service, sequence, 0),
        Some((number, name)) => Identity::Begun(case.service, number, name),
        None => Identity::Ends(case.service, case.source, case.destination, case.ports),
    }
}

/// What belongs together is seen within this time, in nanoseconds.
const TOGETHER: u64 = 5_000_000_000;
/// Beginnings of one attempt have clocks that differ by less: two minutes, of clocks that count milliseconds.
const CLOCKS: u32 = 120_000;
/// A beginning that is this much later than the first, in nanoseconds, is a repeated one.
const REPEATED: u64 = 500_000_000;
/// Ways that are known.
const MOST_WAYS: usize = 8192;
/// Agents tell of the same moment within this time, in milliseconds.
const SETTLED: u64 = 3_000;

/// The places that connections take, learned from those that were answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    by_ends: FxHashMap<(TapId, IpAddr, IpAddr, u16), Vec<TapId>>,
    by_target: FxHashMap<(TapId, IpAddr, u16), Vec<TapId>>,
    by_backend: FxHashMap<(IpAddr, u16), Vec<TapId>>,
}

impl Ways {
    fn learn(&mut self, way: &[Sighting]) {
        let (Some(first), Some(last)) = (way.first(), way.last()) else { return };
        if self.by_ends.len() + self.by_target.len() + self.by_backend.len() > MOST_WAYS {
            *self = Self::default();
        }
        let mut taps: Vec<TapId> = way.iter().map(|sighting| sighting.tap).collect();
        taps.dedup();
        let (case, port) = (&first.case, first.case.ports.1);
        let longer = |known: &mut Vec<TapId>| {
            if known.len() <= taps.len() {
                known.clone_from(&taps);
            }
        };
        longer(self.by_ends.entry((first.tap, case.source, case.destination, port)).or_default());
        longer(self.by_target.entry((first.tap, case.destination, port)).or_default());
        longer(self.by_backend.entry((last.case.destination, last.case.ports.1)).or_default());
    }

    /// The way that such a connection takes.
    fn of(&self, first: &Sighting) -> Option<&[TapId]> {
        let (case, port) = (&first.case, first.case.ports.1);
        let ends = self.by_ends.get(&(first.tap, case.source, case.destination, port));
        let target = || self.by_target.get(&(first.tap, case.destination, port));
        let backend = || self.by_backend.get(&(case.destination, port));
        ends.or_else(target).or_else(backend).map(Vec::as_slice).filter(|way| way.contains(&first.tap))
    }
}

/// Puts together what was seen of the same connections. `over`: nothing more will be heard.
pub(crate) fn join(
    cases: &VecDeque<Sighting>,
    taps: &[Tap],
    ways: &mut Ways,
    (now, over): (u64, bool),
) -> Vec<Trouble> {
    let mut groups: FxHashMap<Identity, Vec<Vec<&Sighting>>> = FxHashMap::default();
    for sighting in cases {
        let of_identity = groups.entry(identity(&sighting.case)).or_default();
        let near = |group: &&mut Vec<&Sighting>| group.first().is_some_and(|one| are_one(&one.case, &sighting.case));
        match of_identity.iter_mut().find(near) {
            Some(group) => group.push(sighting),
            None => of_identity.push(vec![sighting]),
        }
    }
    let mut groups: Vec<Vec<Sighting>> =
        groups.into_values().flatten().map(|group| group.into_iter().cloned().collect()).collect();
    for group in &mut groups {
        in_order(group);
    }
    // One that was lost in places shows no way.
    for group in groups.iter().filter(|group| group.iter().all(|it| it.case.what == Finding::Answered)) {
        ways.learn(group);
    }
    let troubles = groups.into_iter().filter(|group| group.iter().any(|it| it.case.what != Finding::Answered));
    let mut troubles: Vec<Trouble> = troubles.map(|group| trouble(group, taps, ways, (now, over))).collect();
    troubles.sort_by_key(|trouble| (trouble.began, trouble.first().source, trouble.first().ports));
    troubles
}

/// What has the same numbers is the same where it was begun at about the same time, by the ends' clocks too.
fn are_one(one: &Case, other: &Case) -> bool {
    let near = one.began.abs_diff(other.began) <= TOGETHER;
    let clocks = match (one.id, other.id) {
        (Some((_, here)), Some((_, there))) if one.service == Service::Tcp => here.abs_diff(there) <= CLOCKS,
        _ => true,
    };
    near && clocks
}

/// Packets have fewer hops left the further they have come; where that does not tell, earlier is nearer.
fn in_order(group: &mut [Sighting]) {
    group.sort_by_key(|it| (std::cmp::Reverse(it.case.hops.unwrap_or(0)), it.case.began, it.tap));
}

fn rank(what: Finding) -> u8 {
    match what {
        Finding::NotAccepted => 0,
        Finding::Stray => 1,
        Finding::Stuck => 2,
        Finding::Symptom(symptom) if symptom.is_failure() => 3,
        Finding::Symptom(symptom) if symptom.is_judged() => 4,
        Finding::Symptom(_) | Finding::AnswerTooLate => 5,
        Finding::AnswerRepeated => 6,
        Finding::Answered => 7,
    }
}

fn trouble(seen: Vec<Sighting>, taps: &[Tap], ways: &Ways, (now, over): (u64, bool)) -> Trouble {
    let worst = |it: &&Sighting| rank(it.case.what);
    let what = seen.iter().min_by_key(worst).map_or(Finding::Answered, |it| it.case.what);
    let heard = seen.iter().map(|it| it.heard).min().unwrap_or(now);
    let settled = over || now.saturating_sub(heard) >= SETTLED;
    let way = ways.of(&seen[0]).unwrap_or_default();
    let has_seen = |tap: &TapId| seen.iter().any(|it| it.tap == *tap);
    let moment = u64::try_from(seen[0].case.began / 1_000_000).unwrap_or(0);
    let could_see = |tap: &TapId| {
        taps.get(usize::from(tap.0)).is_some_and(|tap| {
            let around = tap.lost.iter().any(|lost| lost.abs_diff(moment) < 2_000);
            tap.first <= moment && tap.last.saturating_add(1_000) >= moment && !around
        })
    };
    // Of places before one that has seen it, nothing follows.
    let behind = way.iter().rposition(&has_seen).map_or(way, |at| &way[at..]);
    let missing: Vec<TapId> = behind.iter().filter(|tap| !has_seen(tap) && could_see(tap)).copied().collect();
    let segment = settled.then(|| segment(&seen, what, way, &missing, taps)).flatten();
    let began = seen[0].case.began;
    Trouble { seen, what, began, missing, segment, settled }
}

/// A tap at the host's end of the interface of the pod that is asked: packets come there from elsewhere.
fn is_servers(sighting: &Sighting, tap: &Tap) -> bool {
    let from_here = matches!(sighting.case.hops, Some(64 | 128 | 255));
    tap.role == Role::Pod && !from_here
}

fn segment(seen: &[Sighting], what: Finding, way: &[TapId], missing: &[TapId], taps: &[Tap]) -> Option<Segment> {
    let tap = |id: TapId| taps.get(usize::from(id.0));
    let attempt = matches!(
        what,
        Finding::Symptom(Symptom::Unanswered | Symptom::Delayed | Symptom::DnsUnanswered) | Finding::NotAccepted
    );
    if !attempt {
        return None;
    }
    // Where it was answered at its first beginning and the end that asks has not heard of it, the answer is lost between.
    let first = seen.first()?;
    let is_answer = |it: &Sighting| matches!(it.case.what, Finding::Answered | Finding::AnswerRepeated);
    let at_once = |it: &Sighting| it.case.began.abs_diff(first.case.began) < REPEATED;
    if let Some(at) = seen.iter().position(|it| is_answer(it) && at_once(it))
        && at > 0
    {
        let (to, from) = (tap(seen[at - 1].tap)?, tap(seen[at].tap)?);
        return Some(if to.node == from.node {
            Segment::Node { node: to.node.clone(), back: true }
        } else {
            Segment::Between { from: from.node.clone(), to: to.node.clone() }
        });
    }
    // What came through at a later beginning has not come through at the first.
    let last = seen.iter().rev().find(|it| !is_answer(it))?;
    let here = tap(last.tap)?;
    let came_late = |id: TapId| seen.iter().any(|it| it.tap == id && is_answer(it));
    let behind = way.iter().skip_while(|id| **id != last.tap).skip(1);
    let next = behind.copied().find(|id| missing.contains(id) || came_late(*id));
    let next =
        next.or_else(|| seen.iter().skip_while(|it| it.tap != last.tap).find(|it| is_answer(it)).map(|it| it.tap));
    if let Some(next) = next.and_then(tap) {
        return Some(if next.node == here.node {
            Segment::Node { node: here.node.clone(), back: false }
        } else {
            Segment::Between { from: here.node.clone(), to: next.node.clone() }
        });
    }
    let is_last = way.last() == Some(&last.tap) && way.len() > 1;
    if is_servers(last, here) || (is_last && here.role == Role::Pod) {
        return Some(Segment::Pod { node: here.node.clone(), interface: here.interface.clone() });
    }
    Some(Segment::Beyond { tap: here.text() })
}
