//! What several places have seen of one connection, put together, and on which part of its way it was lost.
//!
//! Owns by what sightings belong together: the numbers that no translation of addresses changes, in the order of the hops
//! that packets had left. Which places a connection takes is learned from those that were answered. Pure, in bounded memory.

use std::{collections::VecDeque, net::IpAddr};

use nodewatch_protocol::{Case, Finding, Role, Service, Symptom};
use rustc_hash::FxHashMap;

use crate::clocks::Clocks;
use crate::paths::{Segment, Sighting, Tap, TapId, Trouble};

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
/// Sightings that are kept.
const MOST_SIGHTINGS: usize = 16_000;
/// With more of attempts that were answered, half as many are taken; with fewer, twice as many.
const MOST_ANSWERED: usize = 6_000;
const FEW_ANSWERED: usize = 1_500;
/// Those of attempts that were answered are kept for so long, in milliseconds: that one was lost is known 10 s later.
const ANSWERED: u64 = 20_000;
/// Agents tell of the same moment within this time, in milliseconds.
const SETTLED: u64 = 3_000;

/// The places that connections take, learned from those that were answered.
#[derive(Debug, Clone, Default)]
struct Ways {
    ends: FxHashMap<(TapId, IpAddr, IpAddr, u16), Vec<TapId>>,
    target: FxHashMap<(TapId, IpAddr, u16), Vec<TapId>>,
    backend: FxHashMap<(IpAddr, u16), Vec<TapId>>,
}

impl Ways {
    fn len(&self) -> usize {
        self.ends.len() + self.target.len() + self.backend.len()
    }

    fn learn(&mut self, way: &[Sighting]) {
        let (Some(first), Some(last)) = (way.first(), way.last()) else { return };
        if self.len() > MOST_WAYS {
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
        longer(self.ends.entry((first.tap, case.source, case.destination, port)).or_default());
        longer(self.target.entry((first.tap, case.destination, port)).or_default());
        longer(self.backend.entry((last.case.destination, last.case.ports.1)).or_default());
    }

    /// The way that such a connection takes.
    fn of(&self, first: &Sighting) -> Option<&[TapId]> {
        let (case, port) = (&first.case, first.case.ports.1);
        let of_ends = self.ends.get(&(first.tap, case.source, case.destination, port));
        let of_target = || self.target.get(&(first.tap, case.destination, port));
        let of_backend = || self.backend.get(&(case.destination, port));
        of_ends.or_else(of_target).or_else(of_backend).map(Vec::as_slice).filter(|way| way.contains(&first.tap))
    }
}

/// What was seen of one connection.
#[derive(Debug, Clone)]
struct Group {
    seen: Vec<Sighting>,
    /// When it was first and last heard of.
    heard: (u64, u64),
    /// Something was heard of it since it was looked at.
    fresh: bool,
    /// What it shows, where it shows something; as of when so many ways were known.
    trouble: Option<(Trouble, usize)>,
}

impl Group {
    fn is_answered(&self) -> bool {
        self.seen.iter().all(|it| it.case.what == Finding::Answered)
    }
}

/// What was seen of all connections, each put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    groups: FxHashMap<Identity, Vec<Group>>,
    /// By when they were first heard of.
    order: VecDeque<(u64, Identity)>,
    sightings: usize,
    /// Sightings of attempts that were answered, and how often the number of those that are taken was halved.
    answered: usize,
    halved: u32,
    ways: Ways,
    /// How far apart the clocks of their nodes are.
    pub(crate) clocks: Clocks,
}

impl Joined {
    /// Something more was seen.
    pub(crate) fn put(&mut self, sighting: Sighting) {
        let (key, heard) = (identity(&sighting.case), sighting.heard);
        if sighting.case.what == Finding::Answered {
            if lot(&sighting.case).leading_zeros() < self.halved {
                return;
            }
            self.answered += 1;
        }
        self.sightings += 1;
        let groups = self.groups.entry(key.clone()).or_default();
        let same = groups.iter_mut().find(|group| are_one(&group.seen[0].case, &sighting.case));
        if let Some(group) = same {
            group.seen.push(sighting);
            (group.heard.1, group.fresh) = (heard, true);
            return;
        }
        groups.push(Group { seen: vec![sighting], heard: (heard, heard), fresh: true, trouble: None });
        self.order.push_back((heard, key));
    }

    /// Forgets what is older, and what has no room; how much of the latter somebody has felt.
    pub(crate) fn forget(&mut self, now: u64, old: u64) -> u64 {
        let answered = now.saturating_sub(ANSWERED);
        (self.sightings, self.answered) = (0, 0);
        let (all, those_answered) = (&mut self.sightings, &mut self.answered);
        self.groups.retain(|_, groups| {
            groups.retain(|group| {
                let is_answered = group.is_answered();
                let stays = group.heard.1 >= if is_answered { answered } else { old };
                if stays {
                    *all += group.seen.len();
                    *those_answered += if is_answered { group.seen.len() } else { 0 };
                }
                stays
            });
            !groups.is_empty()
        });
        // Of few all are taken, of many the same ones at every place.
        match self.answered {
            MOST_ANSWERED.. => self.halved = (self.halved + 1).min(20),
            0..FEW_ANSWERED => self.halved = self.halved.saturating_sub(1),
            _ => {}
        }
        let mut felt = 0;
        while let Some((heard, key)) = self.order.front() {
            let known = self.groups.get(key).is_some_and(|groups| groups.iter().any(|group| group.heard.0 == *heard));
            if known && self.sightings <= MOST_SIGHTINGS {
                break;
            }
            if let Some((heard, key)) = self.order.pop_front()
                && let Some(groups) = self.groups.get_mut(&key)
            {
                for gone in groups.extract_if(.., |group| group.heard.0 == heard) {
                    self.sightings -= gone.seen.len();
                    felt += u64::from(gone.seen.iter().any(|it| it.case.what.is_felt()));
                }
                if groups.is_empty() {
                    self.groups.remove(&key);
                }
            }
        }
        felt
    }

    /// Looks at what has been heard of for long enough, so that all have told of it. `over`: nothing more will be heard.
    pub(crate) fn settle(&mut self, taps: &[Tap], now: u64, over: bool) {
        let settled = |group: &Group| over || now.saturating_sub(group.heard.0) >= SETTLED;
        // One that was lost in places shows no way.
        let Self { groups, ways, clocks, .. } = self;
        for group in groups.values_mut().flatten().filter(|group| group.fresh && settled(group)) {
            in_order(&mut group.seen);
            if group.is_answered() {
                ways.learn(&group.seen);
                compare(&group.seen, taps, clocks);
                group.fresh = false;
            }
        }
        let known = ways.len();
        for group in groups.values_mut().flatten().filter(|group| settled(group)) {
            let old = group.trouble.as_ref().is_some_and(|(trouble, ways)| trouble.way_is_unknown && *ways != known);
            if (group.fresh || old) && !group.is_answered() {
                group.trouble = Some((trouble(group.seen.clone(), taps, ways), known));
                group.fresh = false;
            }
        }
    }

    /// Those of which every place that has seen them says that they were answered, as seen furthest from who asks.
    pub(crate) fn answered(&self) -> impl Iterator<Item = &Case> {
        let groups = self.groups.values().flatten();
        groups.filter(|group| group.is_answered()).filter_map(|group| group.seen.last()).map(|sighting| &sighting.case)
    }

    /// Connections that show something, in the order in which they were begun.
    pub(crate) fn troubles(&self) -> Vec<&Trouble> {
        let groups = self.groups.values().flatten();
        let mut troubles: Vec<&Trouble> =
            groups.filter_map(|group| group.trouble.as_ref().map(|(trouble, _)| trouble)).collect();
        troubles.sort_by_key(|trouble| (trouble.began, trouble.first().source, trouble.first().ports));
        troubles
    }
}

/// A number that is the same wherever the attempt is seen, and spread evenly.
fn lot(case: &Case) -> u32 {
    case.id.map_or(0, |(number, _)| number).wrapping_mul(0x9E37_79B1)
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

/// When a connection and its answer have passed one node and the next one.
fn compare(way: &[Sighting], taps: &[Tap], clocks: &mut Clocks) {
    let node = |sighting: &Sighting| taps.get(usize::from(sighting.tap.0)).map_or("", |tap| tap.node.as_str());
    for pair in way.windows(2) {
        let [here, there] = [&pair[0], &pair[1]].map(|it| (node(it), it.case.began, it.case.at));
        clocks.learn(here, there);
    }
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

fn trouble(seen: Vec<Sighting>, taps: &[Tap], ways: &Ways) -> Trouble {
    let worst = |it: &&Sighting| rank(it.case.what);
    let what = seen.iter().min_by_key(worst).map_or(Finding::Answered, |it| it.case.what);
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
    let segment = segment(&seen, what, way, &missing, taps);
    let (began, way_is_unknown) = (seen[0].case.began, way.is_empty());
    Trouble { seen, what, began, missing, segment, way_is_unknown }
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
