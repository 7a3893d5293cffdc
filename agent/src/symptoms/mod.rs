//! Packets of several interfaces on their way through the analysis, and what a second of it has shown.
//!
//! Owns the bound of what is remembered, and that an interface is not judged of which packets were lost or left out, nor
//! any around a moment at which the clock was set. For what is only watched and for what is captured too. Must not know
//! sockets.

mod timeline;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
};

use nodewatch_analysis::{
    Analysis, Counts, Echoes, Limits, PairKey, Seen, Totals,
    decode::{Headers, Link},
};
use nodewatch_protocol::{Case, Finding, MOST_CASES, Symptoms, WatchedInterface, WatchedPair};

use crate::moment::Moment;
use timeline::Timeline;
use told::Second;

/// All of it takes less than 24 MiB, also where every packet is of another connection.
const LIMITS: Limits = Limits { connections: 1 << 15, pairs: 1 << 12, questions: 1 << 13, seed: 0 };
/// A packet is told by the kernel this long after it came at the latest, in nanoseconds.
const LATE: i64 = 300_000_000;
/// A second that was longer than this was none: the machine was suspended, or nothing was read.
const LONGEST: i64 = 5_000_000_000;

/// What all analyses of a node share: whoever sends packets must not know where they are kept.
pub fn echoes() -> Echoes {
    Echoes::new(RandomState::new().hash_one(0) as usize)
}

/// One interface in a second.
#[derive(Debug, Clone, Default)]
pub struct Face {
    /// Its number in the analysis.
    pub number: u16,
    /// It is listened to until now.
    pub open: bool,
    /// As it is told, with what was counted in this second.
    pub watched: WatchedInterface,
}

/// An analysis that is told once a second.
pub struct Analyst {
    analysis: Analysis,
    before: Totals,
    timeline: Timeline,
    /// When it was told last.
    since: i64,
    captured: bool,
    filtered: bool,
}

impl Analyst {
    /// One that begins now: of packets that are captured too, or only watched.
    pub fn new(captured: bool, now: Moment, echoes: Echoes) -> Self {
        let seed = RandomState::new().hash_one(0) as usize;
        let analysis = Analysis::new(Limits { seed, ..LIMITS }).beside(echoes, u16::from(captured));
        let timeline = Timeline::new(now);
        Self { analysis, before: Totals::default(), timeline, since: timeline.now(), captured, filtered: false }
    }

    /// Only some packets of interfaces come: what is missing may not have passed the filter.
    #[must_use]
    pub fn filtered(self) -> Self {
        Self { filtered: true, ..self }
    }

    /// Packets are about to be read, and this is when.
    pub fn look(&mut self, now: Moment) {
        self.timeline.look(now);
    }

    /// Takes a packet whose headers were read.
    #[inline]
    pub fn read(&mut self, (interface, link): (u16, Link), packet: (u64, u32, &[u8]), headers: &Headers) {
        let (stamp, wire_length, bytes) = packet;
        let nanos = self.timeline.steady(stamp as i64);
        self.analysis.read(&Seen { interface, link, nanos, wire_length, bytes }, headers);
    }

    /// An interface is listened to from now on.
    pub fn listens(&mut self, number: u16, now: Moment) {
        self.timeline.look(now);
        self.analysis.listens(number, self.timeline.now());
        if !self.filtered {
            self.analysis.is_whole(number);
        }
    }

    /// An interface is gone for long.
    pub fn forget(&mut self, number: u16) {
        self.analysis.is_gone(number);
    }

    /// What the second that ends now has shown.
    pub fn tell(&mut self, moment: Moment, faces: Vec<Face>) -> Symptoms {
        self.second(moment, faces, |analysis, now, give| analysis.tell(now, give))
    }

    /// The same of the last second: nothing is listened to any more, and what waits for an answer is decided.
    pub fn end(&mut self, moment: Moment, faces: Vec<Face>) -> Symptoms {
        self.second(moment, faces, |analysis, now, give| analysis.conclude(now, give))
    }

    fn second(
        &mut self,
        moment: Moment,
        faces: Vec<Face>,
        tell: impl Fn(&mut Analysis, i64, &mut dyn FnMut(&PairKey, Counts)),
    ) -> Symptoms {
        self.timeline.look(moment);
        let now = self.timeline.now();
        let took = now.saturating_sub(std::mem::replace(&mut self.since, now));
        let disturbed = self.timeline.was_set() || took > LONGEST;
        for face in &faces {
            if disturbed || face.watched.dropped > 0 || face.watched.skipped > 0 {
                self.analysis.lost(face.number, now);
            } else if face.open {
                self.analysis.listens(face.number, now.saturating_sub(LATE));
            }
        }
        self.analysis.passes(now.saturating_sub(LATE));
        let mut second = Second::default();
        tell(&mut self.analysis, now, &mut |key, counts| second.take(key, counts));
        let after = self.analysis.totals();
        let places: BTreeMap<u16, u16> = (0..).zip(&faces).map(|(place, face)| (face.number, place)).collect();
        let mut told = second.told(|number| places.get(&number).copied(), &self.before, &after);
        self.before = after;
        for sample in &mut told.samples {
            sample.at = self.timeline.on_the_wall(sample.at);
        }
        let mut cases = Vec::new();
        let mut left_out = self.analysis.tell_cases(now, |mut case| {
            if let Some(&place) = places.get(&case.interface) {
                case.interface = place;
                cases.push(case);
            }
        });
        left_out += choose(&mut cases);
        for case in &mut cases {
            case.began = self.timeline.on_the_wall(case.began);
            case.at = self.timeline.on_the_wall(case.at);
        }
        told.unlisted.cases = left_out;
        let interfaces = listed(faces, &mut told.pairs, &mut cases);
        Symptoms {
            captured: self.captured,
            at: moment.unix_millis(),
            millis: (took / 1_000_000).max(0) as u64,
            interfaces,
            connections: self.analysis.followed() as u64,
            sums: told.sums,
            pairs: told.pairs,
            samples: told.samples,
            cases,
            unlisted: told.unlisted,
            not_judged: told.not_judged,
        }
    }
}

/// Takes as many cases as are told: of many those with the lowest lots, whose places on the way choose them too. How many
/// that show something are left out.
fn choose(cases: &mut Vec<Case>) -> u64 {
    let is_answered = |case: &Case| case.what == Finding::Answered;
    cases.sort_by_key(|case| (is_answered(case), case.lot()));
    let left_out = cases.iter().skip(MOST_CASES).filter(|case| !is_answered(case)).count();
    cases.truncate(MOST_CASES);
    left_out as u64
}

/// Those that are open or of which something is told, and pairs and cases by their places in that list.
fn listed(faces: Vec<Face>, pairs: &mut [WatchedPair], cases: &mut [Case]) -> Vec<WatchedInterface> {
    let of_pairs = pairs.iter().map(|pair| pair.interface);
    let named: BTreeSet<u16> = of_pairs.chain(cases.iter().map(|case| case.interface)).collect();
    let mut places = BTreeMap::new();
    let mut listed = Vec::new();
    for (place, Face { open, watched, .. }) in (0..).zip(faces) {
        if open || watched.packets > 0 || watched.dropped > 0 || named.contains(&place) {
            places.insert(place, listed.len() as u16);
            listed.push(watched);
        }
    }
    let of_pairs = pairs.iter_mut().map(|pair| &mut pair.interface);
    for place in of_pairs.chain(cases.iter_mut().map(|case| &mut case.interface)) {
        *place = places.get(place).copied().unwrap_or_default();
    }
    listed
}

/// Whether packets are passed over, so that those that come are not lost.
#[derive(Debug, Default)]
pub struct Lag(bool);

impl Lag {
    /// A socket is about to be emptied. More than half full once is a burst, twice in a row is more than can be read.
    pub fn passes_over(&mut self, more_than_half_full: bool) -> bool {
        std::mem::replace(&mut self.0, more_than_half_full) && more_than_half_full
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nodewatch_analysis::decode;
    use nodewatch_protocol::{Symptom, SymptomCount};

    use super::*;
    use crate::clock::Clock;

    /// A segment of TCP from an end to the other one's port 80, or back.
    fn segment(there: bool, port: u16, flags: u8) -> Vec<u8> {
        let (ends, ports) = ([[10, 0, 0, 1], [10, 0, 0, 2]], [port.to_be_bytes(), [0, 80]]);
        let from = usize::from(!there);
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 60, 6, 0, 0];
        bytes.extend(ends[from].into_iter().chain(ends[1 - from]).chain(ports[from]).chain(ports[1 - from]));
        bytes.extend([0, 0, port.to_be_bytes()[1], 7, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        bytes
    }

    /// An analyst of one interface whose clocks a test moves.
    struct Second {
        clock: Clock,
        analyst: Analyst,
        told: Vec<(Symptom, u64)>,
        millis: Vec<u64>,
    }

    impl Second {
        fn begun() -> Self {
            let clock = Clock::standing(10_000, 1_700_000_000_000);
            let analyst = Analyst::new(false, Moment::by(&clock), echoes());
            let mut new = Self { clock, analyst, told: Vec::new(), millis: Vec::new() };
            (0..4).for_each(|_| new.passes());
            // What comes back to the client is seen.
            new.see(&segment(true, 1, 0x10));
            new.see(&segment(false, 1, 0x10));
            new
        }

        fn see(&mut self, packet: &[u8]) {
            let headers = decode::headers(Link::Raw, packet);
            self.analyst.look(Moment::by(&self.clock));
            self.stamped(packet, &headers);
        }

        /// One that waits to be read since the clocks were looked at.
        fn stamped(&mut self, packet: &[u8], headers: &Headers) {
            self.analyst.read((3, Link::Raw), (self.clock.unix_nanos(), 40, packet), headers);
        }

        /// A second in which nothing is lost.
        fn passes(&mut self) {
            self.clock.advance(Duration::from_secs(1));
            let told = self.analyst.tell(Moment::by(&self.clock), vec![Self::face()]);
            self.millis.push(told.millis);
            let counts = told.pairs.iter().flat_map(|pair| &pair.symptoms);
            self.told.extend(counts.filter(|it| it.0.is_failure()).map(|it| (it.0, u64::from(it.1 + it.2))));
        }

        fn face() -> Face {
            Face { number: 3, open: true, ..Face::default() }
        }

        fn set(&self, by: i64) {
            self.clock.set_wall(self.clock.unix_millis().saturating_add_signed(by));
        }
    }

    #[test]
    fn a_clock_that_is_set_fails_nothing_and_what_comes_after_is_judged_in_its_time() {
        for by in [3_600_000, -3_600_000, 12_000, -12_000] {
            let mut second = Second::begun();
            second.see(&segment(true, 5001, 2));
            second.passes();
            second.set(by);
            // Before the clocks are looked at again.
            second.stamped(&segment(true, 5002, 2), &decode::headers(Link::Raw, &segment(true, 5002, 2)));
            (0..4).for_each(|_| second.passes());
            assert_eq!(second.told, [], "by {by} ms");
            second.see(&segment(true, 5003, 2));
            (0..9).for_each(|_| second.passes());
            assert_eq!(second.told, [], "by {by} ms: it has waited for nine seconds");
            (0..2).for_each(|_| second.passes());
            assert_eq!(second.told, [(Symptom::Unanswered, 1)], "by {by} ms");
            assert!(second.millis.iter().all(|&millis| millis == 1000), "{:?}", second.millis);
        }
    }

    #[test]
    fn what_waits_at_the_end_is_judged_where_it_was_listened_to_for_long_enough() {
        let mut second = Second::begun();
        second.see(&segment(true, 5001, 2));
        (0..4).for_each(|_| second.passes());
        second.see(&segment(true, 5002, 2));
        second.see(&segment(true, 5003, 2));
        second.passes();
        assert_eq!(second.told, [], "they have waited for five seconds and for one");
        second.clock.advance(Duration::from_millis(300));
        let told = second.analyst.end(Moment::by(&second.clock), vec![Second::face()]);
        let failed: Vec<_> = told.pairs.iter().flat_map(|pair| &pair.symptoms).filter(|it| it.0.is_failure()).collect();
        assert!(matches!(failed[..], [SymptomCount(Symptom::Unanswered, 1, 0)]), "{failed:?}");
        assert_eq!((told.sums.failed, told.not_judged.undecided, told.millis), (1, 2, 300));
    }

    #[test]
    fn of_too_many_cases_every_place_tells_the_same_ones_and_what_is_left_out_is_counted() {
        let case = |what, number: u32| {
            let ends = |last| (std::net::IpAddr::from([10, 0, 0, last]), 80);
            let case = Case::of(what, nodewatch_protocol::Service::Tcp, ends(1), ends(2), 0);
            Case { id: Some((number, 7)), ..case }
        };
        let repeated = (0..300).map(|number| case(Finding::AnswerRepeated, number));
        let failed = (0..300).map(|number| case(Finding::Symptom(Symptom::Unanswered), number));
        let answered = (1000..1016).map(|number| case(Finding::Answered, number));
        let told = |cases: Vec<Case>| {
            let mut cases = cases;
            let left_out = choose(&mut cases);
            let mut numbers: Vec<u32> = cases.iter().filter_map(|case| Some(case.id?.0)).collect();
            numbers.sort_unstable();
            (numbers, left_out)
        };
        let here = told(failed.clone().chain(answered.clone()).collect());
        let there = told(answered.clone().chain(repeated.rev()).collect());
        assert_eq!(here, there);
        assert_eq!((here.0.len(), here.1), (MOST_CASES, 204));
        let (few, left_out) = told(answered.chain(failed.take(80)).collect());
        assert_eq!((few.len(), left_out), (96, 0));
    }

    #[test]
    fn a_machine_that_was_suspended_fails_nothing() {
        let mut second = Second::begun();
        second.see(&segment(true, 5001, 2));
        second.clock.advance(Duration::from_secs(600));
        (0..20).for_each(|_| second.passes());
        assert_eq!(second.told, []);
    }

    #[test]
    fn an_interface_that_is_gone_is_listed_while_something_is_told_of_it() {
        let face = |name: &str, number, open| {
            let watched = WatchedInterface { name: name.into(), ..WatchedInterface::default() };
            Face { number, open, watched }
        };
        let clock = Clock::standing(10_000, 1_000_000);
        let mut analyst = Analyst::new(false, Moment::by(&clock), echoes());
        let faces = || vec![face("gone", 1, false), face("silent", 2, false), face("eth0", 3, true)];
        let names = |told: &Symptoms| told.interfaces.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        clock.advance(Duration::from_millis(1500));
        let told = analyst.tell(Moment::by(&clock), faces());
        assert_eq!((names(&told), told.millis, told.at), (vec!["eth0".to_owned()], 1500, 1_001_500));
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0x40, 0, 60, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x90, 0, 0, 80, 0, 8, 0, 0]);
        for number in [3, 1] {
            let headers = decode::headers(Link::Raw, &packet);
            analyst.read((number, Link::Raw), (1_001_600_000_000, 28, &packet), &headers);
        }
        clock.advance(Duration::from_secs(1));
        let told = analyst.tell(Moment::by(&clock), faces());
        assert_eq!(names(&told), ["gone", "eth0"]);
        let mut places: Vec<u16> = told.pairs.iter().map(|pair| pair.interface).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1]);
        assert_eq!((told.pairs[0].packets, told.captured), ([1, 0], false));
    }

    #[test]
    fn a_burst_is_read_and_what_does_not_end_is_passed_over() {
        let mut lag = Lag::default();
        let passed: Vec<bool> =
            [true, false, true, true, true, false].into_iter().map(|full| lag.passes_over(full)).collect();
        assert_eq!(passed, [false, false, false, true, true, false]);
    }
}
