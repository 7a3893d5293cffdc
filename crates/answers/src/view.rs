//! What the rules look at: the last minute of everything that is known.
//!
//! Owns the gates that all rules share: how many connections a cause must have hurt, and of how many. Must not know any
//! cause.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
};

use nodewatch_protocol::{Case, Role, Service, Sums};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    Answer, Certainty, ClockGap, Code, Hurt, Journal, Place, Proof, Runner, Source, Step,
    clocks::Clocks,
    joined::Joined,
    pairs::{Pairs, Target},
    paths::{KnownWay, Segment, Tap, TapId, Trouble},
    signals::Signals,
    words::end,
};

/// Distinct connections, or questions, that a cause must have hurt.
pub(crate) const ENOUGH: usize = 5;
/// The same, where their pattern leaves no doubt.
pub(crate) const ENOUGH_EXACT: usize = 3;
/// Of thousands of a kind, so many must fail at least, as far as the sample is large enough to say.
const SHARE: f64 = 0.005;
/// A counter and what it does are told within this time of each other, in milliseconds.
const TOGETHER: u64 = 2_500;

/// Connections of an answer that are known one by one.
const MOST_HURT: usize = 100;

/// What each place has counted of one address and port, and whether that is DNS.
type Summed = Rc<[(bool, TapId, Sums)]>;

/// What the rules look at.
pub(crate) struct View<'a> {
    /// The last minute, in milliseconds since the Unix epoch.
    pub(crate) window: (u64, u64),
    pub(crate) taps: &'a [Tap],
    /// Nodes of which a pod's own interface is watched, or was.
    pub(crate) with_pods: FxHashSet<&'a str>,
    pub(crate) troubles: &'a [&'a Trouble],
    /// Those of targets that nobody is at: no rule counts them.
    pub(crate) dead: &'a [&'a Trouble],
    /// What was counted at each place of attempts to reach each.
    pub(crate) pairs: &'a Pairs,
    /// The same of those targets that a rule has asked for.
    pub(crate) summed: RefCell<FxHashMap<(IpAddr, u16), Summed>>,
    /// What links take, where errors have said so: by who is asked.
    pub(crate) mtu: &'a BTreeMap<IpAddr, u32>,
    pub(crate) signals: &'a Signals,
    pub(crate) journal: &'a Journal,
    pub(crate) clocks: &'a Clocks,
    /// The nodes' own addresses, and whose each is.
    pub(crate) nodes: &'a FxHashMap<IpAddr, String>,
    /// Those that were answered, as far as they are known: who asks and who is asked, at one place each.
    pub(crate) joined: &'a Joined,
    /// A silence from which on a connection may be forgotten, in milliseconds.
    pub(crate) idle: u64,
}

/// What tells an answer from others, whatever is known of it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Key {
    code: Option<Code>,
    node: Option<String>,
    interface: Option<String>,
    target: Option<(IpAddr, u16)>,
    segment: Option<Segment>,
    /// Who asks whom, where that is all of their ports.
    ends: Option<(IpAddr, IpAddr)>,
    /// The port, where that is all of its targets.
    port: u16,
    /// Of notes, which are several on one node: what to do about it.
    about: Option<String>,
}

/// What a rule has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) code: Option<Code>,
    pub(crate) certainty: Option<Certainty>,
    /// Nothing else makes such a pattern.
    pub(crate) exact: bool,
    pub(crate) text: String,
    pub(crate) place: Place,
    /// Which of the troubles.
    pub(crate) hurt: Vec<usize>,
    pub(crate) of: u64,
    pub(crate) counters: Vec<Step>,
    pub(crate) ruled_out: Vec<String>,
    pub(crate) not_seen: Vec<String>,
    pub(crate) runner_up: Option<Runner>,
    pub(crate) next: Vec<String>,
}

/// The lower end of the share that a sample allows, with 95 of a hundred samples right (Wilson, 1927).
pub(crate) fn least_share(failed: u64, of: u64) -> f64 {
    if of == 0 {
        return 0.0;
    }
    let (n, z) = (of as f64, 1.96_f64);
    let share = (failed.min(of)) as f64 / n;
    let middle = share + z * z / (2.0 * n);
    let around = z * ((share * (1.0 - share) + z * z / (4.0 * n)) / n).sqrt();
    ((middle - around) / (1.0 + z * z / n)).max(0.0)
}

/// Attempts of which it is known what became of them, and those that were answered, at the place that knows of most: where
/// most were seen that may be one direction.
fn most(counted: impl Iterator<Item = (bool, TapId, Sums)>) -> (u64, u64) {
    let (mut by_tap, mut questions): (FxHashMap<TapId, Sums>, bool) = (FxHashMap::default(), false);
    for (dns, tap, sums) in counted {
        *by_tap.entry(tap).or_default() += sums;
        questions |= dns;
    }
    let known = |sums: &Sums| (sums.attempts.saturating_sub(sums.open()), sums.answered);
    if questions {
        // A question may be answered at another place than where it was seen.
        let most = |count: fn(&Sums) -> u64| by_tap.values().map(count).max().unwrap_or(0);
        let attempts = most(|sums| sums.attempts);
        let (answered, failed) = (most(|sums| sums.answered).min(attempts), most(|sums| sums.failed));
        return known(&Sums { attempts, answered, failed, ..Sums::default() });
    }
    by_tap.values().map(known).max().unwrap_or_default()
}

impl<'a> View<'a> {
    pub(crate) fn tap(&self, id: TapId) -> Option<&'a Tap> {
        self.taps.get(usize::from(id.0))
    }

    /// The node at which a trouble was seen last on its way.
    pub(crate) fn last_node(&self, trouble: &Trouble) -> &'a str {
        trouble.seen.last().and_then(|it| self.tap(it.tap)).map_or("", |tap| tap.node.as_str())
    }

    /// The node into which it has come and out of which it was not seen: at its last place a packet of it comes in. Of
    /// packets that leave a node it says nothing how that node is.
    pub(crate) fn came_into(&self, trouble: &Trouble) -> Option<&'a str> {
        let last = trouble.seen.last()?;
        let tap = self.tap(last.tap)?;
        let from_here = matches!(last.case.hops, Some(64 | 128 | 255));
        let before = trouble.seen.iter().filter_map(|it| self.tap(it.tap).filter(|_| it.tap != last.tap));
        let comes_in = match tap.role {
            // The pod's own packets.
            Role::Pod => from_here,
            _ if from_here || before.into_iter().any(|other| other.node == tap.node) => false,
            // A pod of this node would have been seen at its own interface; where none is watched, nobody knows.
            _ => {
                let one_hop = matches!(last.case.hops, None | Some(63 | 127 | 254));
                !one_hop || self.with_pods.contains(tap.node.as_str())
            }
        };
        comes_in.then_some(tap.node.as_str())
    }

    /// Counters of a node that have risen at the moments of these, where they have risen by enough for at least half of
    /// them: what moves by itself is no cause.
    pub(crate) fn counted(&self, node: &str, name: &str, hurt: &[usize]) -> Vec<Step> {
        let mut moments: Vec<(u64, u64)> = hurt
            .iter()
            .map(|&at| self.troubles[at])
            .map(|it| (it.millis().saturating_sub(TOGETHER), it.shown().saturating_add(TOGETHER)))
            .collect();
        moments.sort_unstable();
        let mut apart: Vec<(u64, u64)> = Vec::new();
        for (from, to) in moments {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => apart.push((from, to)),
            }
        }
        let rise: u64 =
            apart.into_iter().fold(0, |sum, within| sum.saturating_add(self.signals.rise(node, name, within)));
        if rise.saturating_mul(2) < hurt.len() as u64 { Vec::new() } else { self.steps(node, name, hurt) }
    }

    /// Of connections to that port that were answered, nine of ten were begun from such a port.
    pub(crate) fn passes_only(&self, port: u16, from: impl Fn(u16) -> bool) -> bool {
        let ports =
            self.joined.answered().map(|it| &it.case).filter(|case| case.ports.1 == port).map(|case| case.ports.0);
        let (mut all, mut such) = (0_usize, 0_usize);
        for source in ports {
            all += 1;
            such += usize::from(from(source));
        }
        all > 0 && such * 10 >= all * 9
    }

    /// All nodes that have seen it.
    pub(crate) fn nodes_of(&self, trouble: &Trouble) -> BTreeSet<&'a str> {
        trouble.seen.iter().filter_map(|it| self.tap(it.tap)).map(|tap| tap.node.as_str()).collect()
    }

    /// Those troubles of which that is true, by what they have in common.
    pub(crate) fn grouped<K: Ord>(&self, by: impl Fn(&'a Trouble) -> Option<K>) -> BTreeMap<K, Vec<usize>> {
        let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for (at, trouble) in self.troubles.iter().enumerate() {
            if let Some(key) = by(trouble) {
                groups.entry(key).or_default().push(at);
            }
        }
        groups
    }

    /// So many different connections as a cause needs, asked from more than one port, and enough of all.
    pub(crate) fn enough(&self, hurt: &[usize], of: u64, least: usize) -> bool {
        let mut cases = hurt.iter().map(|&at| self.troubles[at].first());
        let Some(first) = cases.next().filter(|_| hurt.len() >= least) else { return false };
        let other_port = |case: &Case| (case.source, case.ports.0) != (first.source, first.ports.0);
        let one_port = || hurt.iter().all(|&at| self.troubles[at].first().service == Service::Dns);
        (cases.any(other_port) || one_port()) && least_share(hurt.len() as u64, of.max(hurt.len() as u64)) > SHARE
    }

    /// Who is asked in the end, where that is the same for all of these.
    pub(crate) fn one_target(&self, hurt: &[usize]) -> Option<(IpAddr, u16)> {
        let mut targets = hurt.iter().map(|&at| self.troubles[at].backend);
        let first = targets.next()?;
        targets.all(|target| target == first).then_some(first)
    }

    /// Where most of these were lost.
    pub(crate) fn segment_of(&self, hurt: &[usize]) -> Option<&'a Segment> {
        let mut counts: BTreeMap<&'a Segment, usize> = BTreeMap::new();
        for segment in hurt.iter().filter_map(|&at| self.troubles[at].segment.as_ref()) {
            *counts.entry(segment).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(segment, _)| segment)
    }

    /// What was counted of one address and port, which many rules ask for.
    fn counted_at(&self, (destination, port): (IpAddr, u16)) -> Summed {
        let sum = || {
            let kinds = [false, true].into_iter().map(|dns| Target { destination, port, dns });
            kinds.flat_map(|target| self.pairs.of(target).map(move |(tap, sums)| (target.dns, tap, sums))).collect()
        };
        Rc::clone(self.summed.borrow_mut().entry((destination, port)).or_insert_with(sum))
    }

    /// Attempts to reach such targets in this minute: the most that one place has seen of them, and how many were answered.
    pub(crate) fn attempts(&self, so: impl Fn(&Target) -> bool) -> (u64, u64) {
        let targets = self.pairs.targets().filter(so);
        most(targets.flat_map(|target| self.pairs.of(target).map(move |(tap, sums)| (target.dns, tap, sums))))
    }

    /// The same of one address and port.
    pub(crate) fn attempts_at(&self, target: (IpAddr, u16)) -> (u64, u64) {
        most(self.counted_at(target).iter().copied())
    }

    /// What was counted of one address and port, at the place that has seen most of it.
    pub(crate) fn sums_at(&self, (destination, port): (IpAddr, u16)) -> Sums {
        let known = self.pairs.of(Target { destination, port, dns: false }).map(|(_, sums)| sums);
        known.max_by_key(|sums| sums.packets).unwrap_or_default()
    }

    /// Attempts at what these were to reach.
    pub(crate) fn attempts_of(&self, hurt: &[usize]) -> (u64, u64) {
        let seen = hurt.iter().flat_map(|&at| &self.troubles[at].seen);
        let targets: FxHashSet<(IpAddr, u16)> = seen.map(|it| (it.case.destination, it.case.ports.1)).collect();
        let summed: Vec<Summed> = targets.into_iter().map(|target| self.counted_at(target)).collect();
        let (attempts, answered) = most(summed.iter().flat_map(|summed| summed.iter().copied()));
        (attempts.max(hurt.len() as u64), answered)
    }

    /// Counters of a node that have risen at the moments of these, and by how much.
    pub(crate) fn steps(&self, node: &str, name: &str, hurt: &[usize]) -> Vec<Step> {
        let moments = hurt.iter().map(|&at| (self.troubles[at].millis(), self.troubles[at].shown()));
        let from = moments.clone().map(|(from, _)| from).min().unwrap_or(self.window.0);
        let to = moments.map(|(_, to)| to).max().unwrap_or(self.window.1);
        self.signals.steps(node, name, (from.saturating_sub(TOGETHER), to.saturating_add(TOGETHER)))
    }

    /// The same in this minute.
    pub(crate) fn rise(&self, node: &str, name: &str) -> u64 {
        self.signals.rise(node, name, self.window)
    }

    /// Part of how full a table of a node is: entries and the most it takes.
    pub(crate) fn fill(&self, node: &str) -> Option<(u64, u64)> {
        let count = self.signals.value(node, "conntrack.count")?;
        self.signals.value(node, "conntrack.max").filter(|most| *most > 0).map(|most| (count, most))
    }

    /// What address and port are called at a moment.
    pub(crate) fn name(&self, (address, port): (IpAddr, u16), at: u64) -> String {
        match self.journal.name(address, port, at) {
            name if port == 0 => name,
            name if name == address.to_string() => end((address, port)),
            name => format!("{name}:{port}"),
        }
    }

    /// The place of a target, with the names that it had.
    pub(crate) fn place_of(&self, target: (IpAddr, u16), at: u64) -> Place {
        let (address, port) = target;
        let pod = self.journal.pod_at(address, at).map(|pod| pod.name.clone());
        let service = self.journal.service_at(address, port).or_else(|| self.journal.service_of(address, port));
        Place { pod, service: service.map(str::to_owned), target: Some(target), ..Place::default() }
    }

    /// Kinds of the API's journal that a rule would want and are not heard.
    pub(crate) fn unheard(&self, wanted: &[Source]) -> Vec<String> {
        let deaf = wanted.iter().filter(|source| self.journal.since(**source).is_none());
        deaf.map(|source| format!("{} of the API server", source.resource())).collect()
    }

    /// How far apart the clocks are of nodes that have seen these, and of which nodes that is not known.
    fn clocks_of(&self, shown: &[&Trouble]) -> (Vec<ClockGap>, Vec<String>) {
        let way = |trouble: &&Trouble| {
            let mut nodes: Vec<&str> =
                trouble.seen.iter().filter_map(|it| self.tap(it.tap)).map(|tap| tap.node.as_str()).collect();
            nodes.dedup();
            nodes.windows(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect::<Vec<_>>()
        };
        let pairs: BTreeSet<(&str, &str)> = shown.iter().flat_map(way).filter(|(one, other)| one != other).collect();
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for (one, other) in pairs {
            match self.clocks.gap(one, other) {
                Some(gap) => known.push(gap),
                None => unknown.push(format!("the clocks of {one} and {other}: no connection past both was answered")),
            }
        }
        (known, unknown)
    }

    /// One connection, as proof.
    pub(crate) fn proof(&self, trouble: &Trouble) -> Proof {
        let (first, last) = (trouble.first(), trouble.last());
        let text = |id: TapId| self.tap(id).map(Tap::text).unwrap_or_default();
        let mut what = trouble.what.name().replace('_', " ");
        if first.repeats > 0 {
            what = format!("{what}, begun again {}", times(first.repeats));
        }
        if first.silence_millis > 0 {
            what = format!("{what}, after {:.1} s without a packet", first.silence_millis as f64 / 1000.0);
        }
        if (first.destination, first.ports.1) != (last.destination, last.ports.1) {
            what = format!("{what}, translated to {}", std::net::SocketAddr::new(last.destination, last.ports.1));
        }
        if let Some(other) = first.other {
            what = format!("{what}, by {other}");
        }
        let mut seen: Vec<TapId> = trouble.seen.iter().map(|it| it.tap).collect();
        seen.dedup();
        Proof {
            at: trouble.at,
            source: (first.source, first.ports.0),
            destination: (first.destination, first.ports.1),
            service: first.service,
            what,
            seen: seen.into_iter().map(text).collect(),
            missing: trouble.missing.iter().map(|tap| text(*tap)).collect(),
        }
    }
}

/// Between whom, and when.
fn hurt(trouble: &Trouble) -> Hurt {
    let ends = |case: &Case| ((case.source, case.ports.0), (case.destination, case.ports.1));
    let first = trouble.first();
    Hurt { at: trouble.at, service: first.service, ends: [ends(first), ends(trouble.last())] }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

impl Draft {
    /// One with a code.
    pub(crate) fn of(code: Code, certainty: Certainty, text: String) -> Self {
        Self { code: Some(code), certainty: Some(certainty), text, ..Self::default() }
    }

    /// Not sure where most of these are judged by the way that other ports of their address have, or by places of which
    /// nothing more is read.
    pub(crate) fn with_its_doubts(mut self, view: &View<'_>) -> Self {
        let most = |so: fn(&Trouble) -> bool| {
            self.hurt.iter().filter(|&&at| so(view.troubles[at])).count() * 2 > self.hurt.len()
        };
        if self.certainty != Some(Certainty::Verdict) || !most(|it| it.way == KnownWay::OfAddress || it.after_end) {
            return self;
        }
        let some = |so: fn(&Trouble) -> bool| self.hurt.iter().any(|&at| so(view.troubles[at]));
        let (by_address, after_end) = (some(|it| it.way == KnownWay::OfAddress), some(|it| it.after_end));
        self.certainty = Some(Certainty::Likely);
        self.ruled_out.clear();
        if by_address {
            let why = "none to that port was answered, others of its address were";
            self.not_seen.push(format!("which way that port has, by a proxy, a filter or routing of its own: {why}"));
        }
        if after_end {
            self.not_seen.push("whether it was still captured where it is missing: those files end before".to_owned());
        }
        self
    }

    /// What it has in common whatever its names are, and whichever of its connections comes first.
    pub(crate) fn key(&self, view: &View<'_>) -> Key {
        let Place { node, interface, target, segment, .. } = self.place.clone();
        let is_note = self.certainty == Some(Certainty::Note);
        let about = self.next.first().filter(|_| is_note).cloned();
        let key = Key { code: self.code, node, interface, target, segment, ends: None, port: 0, about };
        let first = self.hurt.first().map(|&at| view.troubles[at]);
        match (self.code, first) {
            (Some(Code::WireLoss), Some(first)) => Key { target: None, port: first.backend.1, ..key },
            (Some(Code::MtuHole), Some(first)) => {
                let ends = Some((first.first().source, first.backend.0));
                Key { node: None, target: None, ends, ..key }
            }
            // What a node's counter says is of all that it was asked for.
            (Some(Code::ReturnPath), _) if !self.exact => Key { target: None, ..key },
            _ => key,
        }
    }

    /// As an answer, which is not counted yet.
    pub(crate) fn answer(self, view: &View<'_>) -> Answer {
        let moments = || self.hurt.iter().map(|&at| view.troubles[at]);
        let since = moments().map(Trouble::millis).min().unwrap_or(view.window.1);
        let last = moments().map(Trouble::shown).max().unwrap_or(view.window.1);
        // The first, the last and one between show that it goes on.
        let count = self.hurt.len();
        let mut shown = vec![0, count / 2, count.saturating_sub(1)];
        shown.dedup();
        let shown: Vec<&Trouble> =
            shown.iter().filter_map(|&at| self.hurt.get(at)).map(|&at| view.troubles[at]).collect();
        let (clocks, unknown) = view.clocks_of(&shown);
        let proof = shown.into_iter().map(|trouble| view.proof(trouble));
        let latest = self.hurt.iter().rev().take(MOST_HURT).map(|&at| hurt(view.troubles[at]));
        Answer {
            id: 0,
            code: self.code,
            certainty: self.certainty.unwrap_or(Certainty::Note),
            text: self.text,
            place: self.place,
            since,
            until: None,
            last,
            failed: count as u64,
            of: self.of.max(count as u64),
            in_all: count as u64,
            proof: proof.collect(),
            hurt: latest.collect(),
            clocks,
            counters: self.counters,
            ruled_out: self.ruled_out,
            not_seen: self.not_seen.into_iter().chain(unknown).collect(),
            runner_up: self.runner_up,
            next: self.next,
        }
    }
}

/// A segment, and in what it lies.
pub(crate) fn inside(segment: Option<&Segment>) -> Option<&str> {
    match segment {
        Some(Segment::Node { node, .. }) => Some(node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::Sums;

    use super::{TapId, least_share, most};

    #[test]
    fn what_became_of_most_attempts_is_known_where_answers_come_by_whoever_sees_more() {
        let sums = |attempts, answered, failed| Sums { attempts, answered, failed, ..Sums::default() };
        let one_way = (TapId(0), sums(100, 0, 0));
        let target = [one_way, (TapId(1), sums(95, 85, 10)), (TapId(2), sums(96, 80, 10))];
        for dns in [false, true] {
            let of = |places: &[(TapId, Sums)]| most(places.iter().map(|(tap, sums)| (dns, *tap, *sums)));
            assert_eq!(of(&target), (95, 85));
            assert_eq!(of(&[one_way]), (0, 0));
        }
    }

    #[test]
    fn a_share_is_believed_as_far_as_its_sample_allows() {
        // Compared with the interval that statistics packages give (R's binom.confint, method "wilson").
        assert!((least_share(5, 1000) - 0.002_14).abs() < 0.000_05, "{}", least_share(5, 1000));
        assert!((least_share(5, 10) - 0.236_6).abs() < 0.000_5);
        assert!(least_share(0, 10) < 1e-9 && least_share(1, 0) < 1e-9 && least_share(9, 3) <= 1.0);
    }
}
