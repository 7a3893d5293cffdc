//! What a node's agent watches: how that stands, and what it has told of pairs of ends.
//!
//! Owns what was seen in the last minute and since watching began, in bounded memory: pairs that were not seen for longest
//! are forgotten and counted. What an agent that has gone told gets older and never new. Pure.

use std::net::IpAddr;

use nodewatch_protocol::{
    NotJudged, Role, SamplePacket, Service, Sums, Symptom, Symptoms, Tunnel, UnixMillis, Unlisted, WatchSpec,
    WatchState, WatchedInterface, WatchedPair,
};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use super::{
    sums::{Recent, Took, WINDOW},
    unseen::Unseen,
};
use crate::base::text;

use super::{Asked, NodeSignals, dated::Dated, sums::Window};

/// Pairs of a node that are kept.
pub const MOST_PAIRS_KEPT: usize = 2_000;
/// So many are forgotten at once when there are more.
const FORGOTTEN_AT_ONCE: usize = 200;
/// Sample packets kept a symptom of a pair, a pair, and a node.
const SAMPLES_OF_SYMPTOM: usize = 3;
const SAMPLES_OF_PAIR: usize = 24;
const SAMPLES_OF_NODE: usize = 2_000;
/// Bytes kept of a sample packet.
const SAMPLE_BYTES: usize = 256;
/// Milliseconds of a step of a pair's window, and of a node's.
const PAIR_STEP: UnixMillis = 5_000;
const NODE_STEP: UnixMillis = 1_000;
/// What was told no longer ago, in milliseconds, goes on.
const JUST_NOW: UnixMillis = 5_000;
/// Longest name of an interface that is believed.
const LONGEST_NAME: usize = 64;

/// What tells pairs of a node apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PairKey {
    /// Who asks.
    pub source: IpAddr,
    /// Who is asked.
    pub destination: IpAddr,
    /// On which port.
    pub port: u16,
    /// For what.
    pub service: Service,
    /// The interface that saw it.
    pub interface: Box<str>,
    /// What that is.
    pub role: Role,
    /// In which tunnel.
    pub tunnel: Option<Tunnel>,
}

/// A packet that shows a symptom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it shows.
    pub symptom: Symptom,
    /// When it was seen, in nanoseconds since the Unix epoch, by the node's clock.
    pub nanos: i64,
    /// Its link type's number in a file.
    pub link_type: u16,
    /// Its length on the wire.
    pub length: u32,
    /// Its first bytes.
    pub headers: Vec<u8>,
}

/// What is known of a pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairState {
    /// When it was first and last seen, by the laptop's clock.
    pub first: UnixMillis,
    /// When it was last seen.
    pub last: UnixMillis,
    /// Since it was first told of.
    pub all: Sums,
    recent: Window,
    /// What was seen of symptoms since then: there and back.
    pub symptoms: Vec<(Symptom, [u64; 2])>,
    /// Packets that show them, oldest first.
    pub samples: Vec<Sample>,
    /// From an attempt to its answer.
    pub answers: Option<Took>,
    /// From data to its acknowledgment.
    pub round_trips: Option<Took>,
    /// Windows were closed for so many milliseconds.
    pub stalled_millis: [u64; 2],
    /// The longest silence before a failure, in milliseconds.
    pub idle_millis: u64,
    /// The least that a link on the way takes, in bytes.
    pub mtu: Option<u32>,
    /// Who sent the last ICMP error.
    pub told_by: Option<IpAddr>,
    /// Hops that were left to the last RST.
    pub hops_left: Option<u8>,
}

impl PairState {
    fn add(&mut self, told: &WatchedPair, sums: Sums, now: UnixMillis) {
        self.last = now;
        self.all += sums;
        self.recent.add(now, PAIR_STEP, sums.into());
        for count in &told.symptoms {
            let (there, back) = (u64::from(count.1), u64::from(count.2));
            match self.symptoms.iter_mut().find(|(symptom, _)| *symptom == count.0) {
                Some((_, known)) => *known = [known[0].saturating_add(there), known[1].saturating_add(back)],
                None => self.symptoms.push((count.0, [there, back])),
            }
        }
        self.symptoms.sort_unstable_by_key(|(symptom, _)| *symptom);
        if let Some(spread) = told.answers {
            self.answers = Took::and(self.answers, spread);
        }
        if let Some(spread) = told.round_trips {
            self.round_trips = Took::and(self.round_trips, spread);
        }
        for (known, more) in self.stalled_millis.iter_mut().zip(told.stalled_millis) {
            *known = known.saturating_add(more);
        }
        self.idle_millis = self.idle_millis.max(told.idle_millis);
        self.mtu = [self.mtu, told.mtu].into_iter().flatten().min();
        self.told_by = told.told_by.or(self.told_by);
        self.hops_left = told.hops_left.or(self.hops_left);
    }

    /// Keeps the packet, and the newest others; by how many there are more now.
    fn keep(&mut self, sample: Sample) -> usize {
        let before = self.samples.len();
        let same = |known: &Sample| known.symptom == sample.symptom;
        let crowded = self.samples.iter().filter(|known| same(known)).count() >= SAMPLES_OF_SYMPTOM;
        let oldest = if crowded { self.samples.iter().position(same) } else { None };
        let oldest = oldest.or((before >= SAMPLES_OF_PAIR).then_some(0));
        if let Some(at) = oldest {
            self.samples.remove(at);
        }
        self.samples.push(sample);
        self.samples.len().saturating_sub(before)
    }

    /// In the last minute.
    pub fn recent(&self, now: UnixMillis) -> Recent {
        self.recent.sum(now, PAIR_STEP)
    }

    /// How many of a symptom were seen in all.
    pub fn count(&self, symptom: Symptom) -> u64 {
        let found = self.symptoms.iter().find(|(known, _)| *known == symptom);
        found.map_or(0, |(_, ways)| ways[0].saturating_add(ways[1]))
    }
}

/// What its agent sees happen there beside ports and captures.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its kernel's signals.
    pub signals: NodeSignals,
    /// What is watched.
    pub watch: NodeWatch,
}

/// Whether and what a node's agent watches.
#[derive(Debug, Clone, Default)]
pub struct NodeWatch {
    /// As the agent says.
    pub state: WatchState,
    /// What it is to watch.
    pub(in crate::session) wanted: Option<WatchSpec>,
    /// That is newer than what its agent has taken up.
    pub(in crate::session) changed: bool,
    /// What is outstanding.
    pub asked: Asked,
    /// What its agent was last asked to watch over the tunnel that is up.
    pub(in crate::session) sent: Option<WatchSpec>,
    /// Over the tunnel that is up it has said how it stands.
    pub(in crate::session) said: bool,
    /// Since when the tunnel is up.
    pub(in crate::session) up_since: UnixMillis,
    /// Pairs of ends.
    pairs: FxHashMap<PairKey, PairState>,
    /// Their sample packets.
    samples: usize,
    /// Pairs that were forgotten.
    pub forgotten: u64,
    /// Of the whole node; what several of its interfaces have shown counts once, but for packets and bytes.
    pub all: Sums,
    /// The same while its agent watched, not counting what captures alone have shown: this is what reports have.
    pub watched: Sums,
    recent: Window,
    /// Interfaces of the latest line: of those that are captured, and of those that are only watched.
    interfaces: [Vec<WatchedInterface>; 2],
    /// Packets that were dropped or left out.
    pub lost: u64,
    unseen: Unseen,
    /// When that was seen which was told last, of what is only watched and of what is captured.
    dated: [Dated; 2],
    /// What found no room.
    pub unlisted: Unlisted,
    /// What was not judged.
    pub not_judged: NotJudged,
    /// When something was told first and last, by the laptop's clock.
    heard: Option<(UnixMillis, UnixMillis)>,
}

impl NodeWatch {
    /// Takes in what was seen in a second.
    pub(super) fn apply(&mut self, told: Symptoms, now: UnixMillis) {
        self.heard = Some((self.heard.map_or(now, |(first, _)| first), now));
        self.unseen.hear(&told, now);
        if self.wanted.is_none() {
            // This is what was seen until nobody wanted it any more.
            self.unseen.rests();
        }
        let seen = self.dated[usize::from(told.captured)].date(told.at, told.millis, now);
        let names: Vec<Box<str>> = told
            .interfaces
            .iter()
            .map(|interface| interface.name.chars().take(LONGEST_NAME).collect::<String>().into())
            .collect();
        let mut keys = Vec::with_capacity(told.pairs.len());
        for pair in &told.pairs {
            let at = usize::from(pair.interface);
            let (Some(interface), Some(name)) = (told.interfaces.get(at), names.get(at)) else {
                keys.push(None);
                continue;
            };
            let key = PairKey {
                source: pair.source,
                destination: pair.destination,
                port: pair.port,
                service: pair.service,
                interface: name.clone(),
                role: interface.role,
                tunnel: pair.tunnel,
            };
            let sums = Sums::of(pair);
            let new = || PairState { first: seen, ..PairState::default() };
            self.pairs.entry(key.clone()).or_insert_with(new).add(pair, sums, seen);
            keys.push(Some(key));
        }
        for sample in told.samples {
            let Some(Some(key)) = keys.get(usize::from(sample.pair)) else { continue };
            if let (Some(state), Some(sample)) = (self.pairs.get_mut(key), read(&sample)) {
                self.samples += state.keep(sample);
            }
        }
        self.all += told.sums;
        if self.state.is_on() {
            self.watched += told.sums;
        }
        self.recent.add(seen, NODE_STEP, told.sums.into());
        for interface in &told.interfaces {
            self.lost = self.lost.saturating_add(interface.dropped).saturating_add(interface.skipped);
        }
        self.unlisted.pairs = self.unlisted.pairs.saturating_add(told.unlisted.pairs);
        self.unlisted.packets = self.unlisted.packets.saturating_add(told.unlisted.packets);
        self.unlisted.failed = self.unlisted.failed.saturating_add(told.unlisted.failed);
        self.unlisted.felt = self.unlisted.felt.saturating_add(told.unlisted.felt);
        self.unlisted.no_room = self.unlisted.no_room.saturating_add(told.unlisted.no_room);
        self.unlisted.evicted = self.unlisted.evicted.saturating_add(told.unlisted.evicted);
        let unjudged = &mut self.not_judged;
        unjudged.first_seconds = unjudged.first_seconds.saturating_add(told.not_judged.first_seconds);
        unjudged.one_direction = unjudged.one_direction.saturating_add(told.not_judged.one_direction);
        unjudged.dropped = unjudged.dropped.saturating_add(told.not_judged.dropped);
        unjudged.undecided = unjudged.undecided.saturating_add(told.not_judged.undecided);
        self.interfaces[usize::from(!told.captured)] = told.interfaces;
        self.make_room();
    }

    /// Forgets what was not seen for longest, where there is more than is kept.
    fn make_room(&mut self) {
        if self.pairs.len() > MOST_PAIRS_KEPT {
            let many = self.pairs.len() - MOST_PAIRS_KEPT + FORGOTTEN_AT_ONCE;
            let mut seen: Vec<(UnixMillis, PairKey)> =
                self.pairs.iter().map(|(key, state)| (state.last, key.clone())).collect();
            // Equal ones by key, so that the same events make the same state.
            seen.sort_unstable();
            for (_, key) in seen.into_iter().take(many) {
                self.samples -= self.pairs.remove(&key).map_or(0, |state| state.samples.len());
            }
            self.forgotten = self.forgotten.saturating_add(many as u64);
        }
        if self.samples > SAMPLES_OF_NODE {
            let mut shown: Vec<(UnixMillis, &PairKey)> =
                self.pairs.iter().filter(|(_, it)| !it.samples.is_empty()).map(|(key, it)| (it.last, key)).collect();
            shown.sort_unstable();
            let old: Vec<PairKey> = shown.into_iter().map(|(_, key)| key.clone()).collect();
            for key in old {
                if self.samples <= SAMPLES_OF_NODE / 2 {
                    break;
                }
                if let Some(state) = self.pairs.get_mut(&key) {
                    self.samples -= std::mem::take(&mut state.samples).len();
                }
            }
        }
    }

    /// Pairs of ends that are remembered, in no order.
    pub fn pairs(&self) -> impl Iterator<Item = (&PairKey, &PairState)> {
        self.pairs.iter()
    }

    /// What is known of a pair.
    pub fn pair(&self, key: &PairKey) -> Option<&PairState> {
        self.pairs.get(key)
    }

    /// Of the whole node in the last minute.
    pub fn recent(&self, now: UnixMillis) -> Recent {
        self.recent.sum(now, NODE_STEP)
    }

    /// Something was told; when first and when last, by the laptop's clock.
    pub fn heard(&self) -> Option<(UnixMillis, UnixMillis)> {
        self.heard
    }

    /// Interfaces that were looked at in the latest second that was told of.
    pub fn interfaces(&self) -> impl Iterator<Item = &WatchedInterface> {
        self.interfaces.iter().flatten()
    }

    /// Something was told just now: its agent watches, or analyses the packets of a capture.
    pub fn is_told(&self, now: UnixMillis) -> bool {
        self.heard.is_some_and(|(_, last)| now.saturating_sub(last) < JUST_NOW)
    }

    /// Of which time not all was seen.
    pub fn unseen(&self, now: UnixMillis) -> Unseen {
        self.unseen.at(now)
    }

    /// It is to watch.
    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// It is to watch that, as people want it now, or nothing any more.
    pub(in crate::session) fn wish(&mut self, spec: Option<WatchSpec>) {
        if spec.is_none() {
            self.unseen.rests();
        }
        self.changed = spec.is_some();
        self.wanted = spec;
    }

    /// Its agent watches that, and somebody has wanted it.
    pub(in crate::session) fn watches(&mut self, spec: WatchSpec) {
        (self.wanted, self.changed) = (Some(spec), false);
    }

    /// Its tunnel is up; what was asked over another one may not have arrived.
    pub(in crate::session) fn comes_up(&mut self, now: UnixMillis) {
        (self.said, self.up_since, self.sent) = (false, now, None);
        self.dated = Default::default();
        if self.asked == Asked::Start {
            self.asked = Asked::Nothing;
        }
    }

    /// The agent was replaced or has ended, and nothing of what it watched goes on.
    pub(in crate::session) fn agent_is_over(&mut self) {
        self.state = WatchState::Off;
        self.asked = Asked::Nothing;
        self.said = false;
        self.interfaces = Default::default();
    }
}

/// A packet as its agent tells it; `None` when it is none.
fn read(told: &SamplePacket) -> Option<Sample> {
    let headers = text::from_hex(told.headers.get(..2 * SAMPLE_BYTES).unwrap_or(&told.headers))?;
    let SamplePacket { symptom, at, link_type, length, .. } = *told;
    (headers.len() <= SAMPLE_BYTES).then_some(Sample { symptom, nanos: at, link_type, length, headers })
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{Spread, SymptomCount};

    use super::*;

    const NOW: UnixMillis = 1_000_000;

    fn pair(last: u8, symptoms: &[(Symptom, u32)]) -> WatchedPair {
        WatchedPair {
            source: [10, 0, 0, last].into(),
            destination: [10, 1, 0, 1].into(),
            port: 443,
            service: Service::Tcp,
            interface: 0,
            tunnel: None,
            packets: [60, 40],
            bytes: [6_000, 4_000],
            attempts: 5,
            answered: 4,
            lookups: 0,
            symptoms: symptoms.iter().map(|(symptom, count)| SymptomCount(*symptom, *count, 0)).collect(),
            stalled_millis: [0, 7],
            idle_millis: 0,
            mtu: None,
            told_by: None,
            hops_left: None,
            answers: Some(Spread { count: 4, p50: 1_000, p99: 9_000 }),
            round_trips: None,
        }
    }

    fn second(pairs: Vec<WatchedPair>) -> Symptoms {
        let eth0 = WatchedInterface { name: "eth0".into(), role: Role::Node, ..WatchedInterface::default() };
        let mut sums = Sums::default();
        for pair in &pairs {
            sums += Sums::of(pair);
        }
        Symptoms { millis: 1000, interfaces: vec![eth0], sums, pairs, ..Symptoms::default() }
    }

    fn only(node: &NodeWatch) -> &PairState {
        let all: Vec<_> = node.pairs().collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].1
    }

    #[test]
    fn what_is_recent_ages_and_what_was_in_all_does_not() {
        let mut node = NodeWatch::default();
        node.apply(second(vec![pair(1, &[(Symptom::Refused, 2), (Symptom::Retransmission, 10)])]), NOW);
        node.apply(second(vec![pair(1, &[(Symptom::Delayed, 1)])]), NOW + 1_000);
        let recent = node.recent(NOW + 1_000);
        assert_eq!((recent.attempts, recent.failed, recent.delayed, recent.retransmitted), (10, 2, 1, 10));
        assert_eq!(recent.retransmitted_share(), Some(50), "ten of two hundred");
        assert_eq!(only(&node).recent(NOW + 1_000), recent);
        assert_eq!(only(&node).count(Symptom::Refused), 2);
        assert_eq!(only(&node).stalled_millis, [0, 14]);
        // The agent goes, and says nothing more: what it told becomes no news.
        node.agent_is_over();
        assert_eq!(node.recent(NOW + 60_500).failed, 0, "the first second is over a minute ago");
        assert_eq!(node.recent(NOW + 60_500).delayed, 1);
        assert_eq!(node.recent(NOW + 70_000), Recent::default());
        assert_eq!(only(&node).recent(NOW + 70_000), Recent::default());
        assert_eq!((only(&node).all.failed, only(&node).last, node.all.attempts), (2, NOW + 1_000, 10));
        assert_eq!(node.heard(), Some((NOW, NOW + 1_000)));
    }

    #[test]
    fn what_has_waited_in_the_tunnel_is_no_news() {
        let mut node = NodeWatch::default();
        let told = |at: u64| Symptoms { at: 7_000 + at * 1_000, ..second(vec![pair(1, &[(Symptom::Refused, 1)])]) };
        node.apply(told(0), NOW);
        // Four minutes in which nothing comes, and then all of it.
        let now = NOW + 240_000;
        (1..=240).for_each(|second| node.apply(told(second), now));
        let recent = node.recent(now);
        assert!((58..=62).contains(&recent.failed), "{recent:?}");
        assert!((55..=65).contains(&only(&node).recent(now).failed), "{:?}", only(&node).recent(now));
        assert_eq!((only(&node).all.failed, only(&node).last), (241, now));
        // A tunnel that is new brings no old lines.
        node.comes_up(now + 60_000);
        node.apply(told(290), now + 60_000);
        assert_eq!(only(&node).last, now + 60_000);
    }

    #[test]
    fn the_latest_times_weigh_most() {
        let mut node = NodeWatch::default();
        node.apply(second(vec![pair(1, &[])]), NOW);
        let slow = WatchedPair { answers: Some(Spread { count: 6, p50: 9_000, p99: 9_000 }), ..pair(1, &[]) };
        node.apply(second(vec![slow]), NOW + 1_000);
        let took = only(&node).answers.expect("measured");
        assert_eq!((took.count, took.p50, took.p99), (10, 7_000, 9_000), "two of the four that came before");
        let none = WatchedPair { answers: None, ..pair(1, &[]) };
        node.apply(second(vec![none]), NOW + 2_000);
        assert_eq!(only(&node).answers, Some(took));
    }

    #[test]
    fn ends_are_told_apart_by_interface_role_and_tunnel() {
        let mut node = NodeWatch::default();
        let veth = WatchedInterface { name: "veth1".into(), role: Role::Pod, ..WatchedInterface::default() };
        let mut told = second(vec![pair(1, &[]), WatchedPair { interface: 1, ..pair(1, &[]) }]);
        told.pairs.push(WatchedPair { tunnel: Some(Tunnel::Vxlan), ..pair(1, &[]) });
        told.pairs.push(WatchedPair { interface: 9, ..pair(1, &[]) });
        told.interfaces.push(veth);
        node.apply(told, NOW);
        assert_eq!(node.pairs().count(), 3, "an interface that is not named is nobody's");
        assert_eq!(node.interfaces().count(), 2);
    }

    #[test]
    fn the_newest_samples_are_kept_three_a_symptom() {
        let mut node = NodeWatch::default();
        let sample =
            |at, symptom| SamplePacket { pair: 0, symptom, at, link_type: 1, length: 60, headers: "0aFf".into() };
        for at in 0..5 {
            let mut told = second(vec![pair(1, &[(Symptom::Refused, 1)])]);
            told.samples = vec![sample(at, Symptom::Refused), sample(at, Symptom::Delayed)];
            told.samples.push(SamplePacket { pair: 7, ..sample(at, Symptom::Reset) });
            told.samples.push(SamplePacket { headers: "0g".into(), ..sample(at, Symptom::Reset) });
            node.apply(told, NOW + at as u64);
        }
        let samples = &only(&node).samples;
        let of = |symptom| -> Vec<i64> {
            samples.iter().filter(|sample| sample.symptom == symptom).map(|sample| sample.nanos).collect()
        };
        assert_eq!((of(Symptom::Refused), of(Symptom::Delayed)), (vec![2, 3, 4], vec![2, 3, 4]));
        assert_eq!((samples.len(), node.samples, samples[0].headers.as_slice()), (6, 6, &[0x0a, 0xff][..]));
    }

    #[test]
    fn the_pairs_of_long_ago_are_forgotten_and_counted() {
        let mut node = NodeWatch::default();
        let mut many = |from: u32, until: u32, now| {
            let ends = (from..until).map(|at| WatchedPair { source: at.to_be_bytes().into(), ..pair(1, &[]) });
            let mut told = second(ends.collect());
            let headers = "00".repeat(9_000);
            told.samples =
                vec![SamplePacket { pair: 0, symptom: Symptom::Refused, at: 1, link_type: 1, length: 9_000, headers }];
            node.apply(told, now);
            assert!(node.pairs.len() <= MOST_PAIRS_KEPT);
        };
        many(0, 1_500, NOW);
        many(1_000, 2_000, NOW + 1_000);
        many(2_000, 2_001, NOW + 2_000);
        assert_eq!((node.pairs.len(), node.forgotten), (1_800, 201));
        let key = |at: u32| node.pairs().any(|(key, _)| key.source == IpAddr::from(at.to_be_bytes()));
        assert!(!key(5) && key(1_200) && key(2_000), "those that were seen last are kept");
        let kept: usize = node.pairs().map(|(_, state)| state.samples.len()).sum();
        assert_eq!(kept, node.samples);
        assert!(node.pairs().flat_map(|(_, state)| &state.samples).all(|it| it.headers.len() <= SAMPLE_BYTES));
    }

    #[test]
    fn hostile_numbers_overflow_nothing() {
        let mut node = NodeWatch::default();
        let most = [u64::MAX, u64::MAX];
        let pair = WatchedPair {
            packets: most,
            bytes: most,
            attempts: u64::MAX,
            answered: u64::MAX,
            lookups: u64::MAX,
            stalled_millis: most,
            idle_millis: u64::MAX,
            answers: Some(Spread { count: u64::MAX, p50: u64::MAX, p99: u64::MAX }),
            symptoms: vec![SymptomCount(Symptom::Retransmission, u32::MAX, u32::MAX); 3],
            ..pair(1, &[])
        };
        for step in 0..3 {
            node.apply(second(vec![pair.clone(), pair.clone()]), NOW + step);
        }
        assert_eq!(only(&node).all.attempts, u64::MAX);
        assert_eq!(only(&node).answers.map(|took| took.p99), Some(u64::MAX));
        assert!(node.recent(NOW).retransmitted_share().is_some_and(|share| share <= 1000));
    }
}
