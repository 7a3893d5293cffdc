//! Packets of several interfaces on their way through the analysis, and what a second of it has shown.
//!
//! Owns the bound of what is remembered, and that an interface is not judged of which packets were lost or left out.
//! For what is only watched and for what is captured too. Must not know sockets.

mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
};

use nodewatch_analysis::{
    Analysis, Limits, Seen, Totals,
    decode::{Headers, Link},
};
use nodewatch_protocol::{Symptoms, WatchedInterface, WatchedPair};

use told::Second;

/// All of it takes less than 24 MiB, also where every packet is of another connection.
const LIMITS: Limits = Limits { connections: 1 << 15, pairs: 1 << 12, questions: 1 << 13, seed: 0 };
/// A packet is told by the kernel this long after it came at the latest, in nanoseconds.
const LATE: i64 = 300_000_000;

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
    /// When it was told last, in nanoseconds since the Unix epoch.
    since: i64,
    captured: bool,
}

impl Analyst {
    /// One that begins now, in nanoseconds since the Unix epoch: of packets that are captured too, or only watched.
    pub fn new(captured: bool, now: i64) -> Self {
        // Whoever sends packets must not know where they are kept.
        let seed = RandomState::new().hash_one(0) as usize;
        let analysis = Analysis::new(Limits { seed, ..LIMITS });
        Self { analysis, before: Totals::default(), since: now, captured }
    }

    /// Takes a packet whose headers were read.
    #[inline]
    pub fn read(&mut self, (interface, link): (u16, Link), packet: (u64, u32, &[u8]), headers: &Headers) {
        let (nanos, wire_length, bytes) = packet;
        self.analysis.read(&Seen { interface, link, nanos: nanos as i64, wire_length, bytes }, headers);
    }

    /// An interface is listened to from now on.
    pub fn listens(&mut self, number: u16, now: i64) {
        self.analysis.listens(number, now);
    }

    /// An interface is gone for long.
    pub fn forget(&mut self, number: u16) {
        self.analysis.is_gone(number);
    }

    /// What the second that ends now has shown.
    pub fn tell(&mut self, now: i64, faces: Vec<Face>) -> Symptoms {
        for face in &faces {
            if face.watched.dropped > 0 || face.watched.skipped > 0 {
                self.analysis.lost(face.number, now);
            } else if face.open {
                self.analysis.listens(face.number, now.saturating_sub(LATE));
            }
        }
        self.analysis.passes(now.saturating_sub(LATE));
        let mut second = Second::default();
        self.analysis.tell(now, |key, counts| second.take(key, counts));
        let after = self.analysis.totals();
        let places: BTreeMap<u16, u16> = (0..).zip(&faces).map(|(place, face)| (face.number, place)).collect();
        let mut told = second.told(|number| places.get(&number).copied(), &self.before, &after);
        self.before = after;
        let interfaces = listed(faces, &mut told.pairs);
        let millis = now.saturating_sub(std::mem::replace(&mut self.since, now)).max(0) / 1_000_000;
        Symptoms {
            captured: self.captured,
            at: (now / 1_000_000) as u64,
            millis: millis as u64,
            interfaces,
            connections: self.analysis.followed() as u64,
            pairs: told.pairs,
            samples: told.samples,
            unlisted: told.unlisted,
            not_judged: told.not_judged,
        }
    }
}

/// Those that are open or of which something is told, and the pairs by their places in that list.
fn listed(faces: Vec<Face>, pairs: &mut [WatchedPair]) -> Vec<WatchedInterface> {
    let named: BTreeSet<u16> = pairs.iter().map(|pair| pair.interface).collect();
    let mut places = BTreeMap::new();
    let mut listed = Vec::new();
    for (place, Face { open, watched, .. }) in (0..).zip(faces) {
        if open || watched.packets > 0 || watched.dropped > 0 || named.contains(&place) {
            places.insert(place, listed.len() as u16);
            listed.push(watched);
        }
    }
    for pair in pairs {
        pair.interface = places.get(&pair.interface).copied().unwrap_or_default();
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
    use super::*;

    #[test]
    fn an_interface_that_is_gone_is_listed_while_something_is_told_of_it() {
        let face = |name: &str, number, open| {
            let watched = WatchedInterface { name: name.into(), ..WatchedInterface::default() };
            Face { number, open, watched }
        };
        let mut analyst = Analyst::new(false, 0);
        let faces = || vec![face("gone", 1, false), face("silent", 2, false), face("eth0", 3, true)];
        let names = |told: &Symptoms| told.interfaces.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        let told = analyst.tell(1_500_000_000, faces());
        assert_eq!((names(&told), told.millis, told.at), (vec!["eth0".to_owned()], 1500, 1500));
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0x40, 0, 60, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x90, 0, 0, 80, 0, 8, 0, 0]);
        for number in [3, 1] {
            let headers = nodewatch_analysis::decode::headers(Link::Raw, &packet);
            analyst.read((number, Link::Raw), (1_600_000_000, 28, &packet), &headers);
        }
        let told = analyst.tell(2_500_000_000, faces());
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
