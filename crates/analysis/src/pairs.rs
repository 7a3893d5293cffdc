//! What is counted of each pair of ends: who asks whom, on which port, seen where.
//!
//! Owns the counts, three packets of each symptom, and the bound on both. What found no room is counted.

use std::hash::{Hash, Hasher};

use nodewatch_protocol::{Service, Sums, Symptom, Tunnel};

use crate::{
    Seen,
    fate::FATES,
    table::{Place, Table},
    times::Times,
};

/// Packets of one symptom of one pair that are kept.
const SAMPLES: usize = 3;
/// Bytes of each.
const SAMPLE_BYTES: usize = 128;
/// Packets that are kept of all pairs.
const ALL_SAMPLES: usize = 16_384;

/// Who asks whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairKey {
    /// Who asks: the end that began the connection, where that was seen.
    pub source: u128,
    /// Who is asked.
    pub destination: u128,
    /// On which port.
    pub port: u16,
    /// For what.
    pub service: Service,
    /// Where it was seen.
    pub interface: u16,
    /// In which tunnel.
    pub tunnel: Option<Tunnel>,
}

impl Hash for PairKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.source);
        state.write_u128(self.destination);
        let what = u64::from(self.port) | (self.service as u64) << 16;
        state.write_u64(what | where_seen(self.interface, self.tunnel) << 32);
    }
}

/// An interface and a tunnel in one number, as each number takes a hasher its time.
pub(crate) fn where_seen(interface: u16, tunnel: Option<Tunnel>) -> u64 {
    u64::from(interface) | tunnel.map_or(0, |tunnel| 1 + tunnel as u64) << 16
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who asks to who is asked.
    There = 0,
    /// From who is asked.
    Back = 1,
}

/// A packet that shows a symptom: its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it shows.
    pub symptom: Symptom,
    /// When it was seen, in nanoseconds since the Unix epoch.
    pub at: i64,
    /// Its link type's number in a file.
    pub link_type: u16,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its first bytes, no payload among them.
    pub bytes: Box<[u8]>,
}

/// What was counted of a pair that another interface of its node has shown too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echoed {
    /// Segments of connections whose beginning was.
    pub segments: u64,
    /// Of these, those that were sent again.
    pub retransmitted: u64,
    /// Connections that were begun, questions that were asked.
    pub attempts: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Names that were looked up.
    pub lookups: u64,
    /// Failures.
    pub failed: u64,
    /// Attempts that had to be repeated.
    pub delayed: u64,
    /// Questions to DNS without an answer.
    pub dns_unanswered: u64,
}

impl Echoed {
    fn note(&mut self, symptom: Symptom) {
        self.failed += u64::from(symptom.is_failure());
        self.delayed += u64::from(symptom == Symptom::Delayed);
        self.dns_unanswered += u64::from(symptom == Symptom::DnsUnanswered);
        self.retransmitted += u64::from(symptom == Symptom::Retransmission);
    }

    fn add(&mut self, more: &Self) {
        self.segments += more.segments;
        self.retransmitted += more.retransmitted;
        self.attempts += more.attempts;
        self.answered += more.answered;
        self.lookups += more.lookups;
        self.failed += more.failed;
        self.delayed += more.delayed;
        self.dns_unanswered += more.dns_unanswered;
    }
}

/// What was counted of a pair, each by way.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Packets.
    pub packets: [u64; 2],
    /// Their bytes on the wire.
    pub bytes: [u64; 2],
    /// Connections that were begun, questions that were asked.
    pub attempts: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Names that were looked up, each perhaps with several questions.
    pub lookups: u64,
    symptoms: [[u32; Symptom::COUNT]; 2],
    /// What of all this another interface has shown too.
    pub echoed: Echoed,
    /// How far connections have come that are not known any more, in the order of [`FATES`].
    pub fates: [u32; FATES.len()],
    /// Windows were closed for so long.
    pub stalled: [u64; 2],
    /// The longest silence before a failure.
    pub idle: u64,
    /// The least that a link on the way takes; 0 where that was not said.
    pub longest: u32,
    /// Who sent the last ICMP error; 0 where nobody did.
    pub told_by: u128,
    /// Hops that were left to the last RST.
    pub hops_left: Option<u8>,
    /// From a question, or an attempt, to its answer.
    pub answers: Option<Times>,
    /// From data to its acknowledgment, by the ends' clocks.
    pub round_trips: Option<Times>,
    /// Packets that show symptoms.
    pub samples: Vec<Sample>,
}

impl Counts {
    /// How often a symptom was seen that way.
    pub fn of(&self, symptom: Symptom, way: Way) -> u32 {
        self.symptoms[way as usize][symptom as usize]
    }

    fn see(&mut self, symptom: Symptom, way: Way, is_echo: bool) {
        let count = &mut self.symptoms[way as usize][symptom as usize];
        *count = count.saturating_add(1);
        if is_echo {
            self.echoed.note(symptom);
        }
    }

    /// The same, either way.
    pub fn both(&self, symptom: Symptom) -> u32 {
        self.of(symptom, Way::There).saturating_add(self.of(symptom, Way::Back))
    }

    /// What did not come about.
    pub fn failures(&self) -> u64 {
        Symptom::ALL.iter().filter(|symptom| symptom.is_failure()).map(|&symptom| u64::from(self.both(symptom))).sum()
    }

    /// What was felt without having failed, as delays.
    pub fn felt(&self) -> u64 {
        Symptom::ALL.iter().filter(|symptom| symptom.is_felt()).map(|&symptom| u64::from(self.both(symptom))).sum()
    }

    /// What it amounts to at its interface, whatever others have shown.
    pub fn seen(&self, service: Service) -> Sums {
        let count = |symptom| u64::from(self.both(symptom));
        let packets = self.packets.iter().sum();
        Sums {
            packets,
            segments: if service == Service::Tcp { packets } else { 0 },
            bytes: self.bytes.iter().sum(),
            attempts: self.attempts,
            answered: self.answered,
            lookups: self.lookups,
            failed: self.failures(),
            delayed: count(Symptom::Delayed),
            retransmitted: count(Symptom::Retransmission),
            dns_unanswered: count(Symptom::DnsUnanswered),
        }
    }

    /// What it amounts to on its node, where that has shown some of it on several interfaces.
    pub fn sums(&self, service: Service) -> Sums {
        let Echoed { segments, retransmitted, attempts, answered, lookups, failed, delayed, dns_unanswered } =
            self.echoed;
        let (packets, bytes) = (0, 0);
        let mut sums = self.seen(service);
        sums -= Sums {
            packets,
            segments,
            bytes,
            attempts,
            answered,
            lookups,
            failed,
            delayed,
            retransmitted,
            dns_unanswered,
        };
        sums
    }

    fn forget_judgements(&mut self) -> u64 {
        let mut gone = 0;
        for symptom in Symptom::ALL.into_iter().filter(|symptom| symptom.is_judged()) {
            for way in &mut self.symptoms {
                gone += u64::from(std::mem::take(&mut way[symptom as usize]));
            }
        }
        self.samples.retain(|sample| !sample.symptom.is_judged());
        (self.echoed.failed, self.echoed.delayed, self.echoed.dns_unanswered) = (0, 0, 0);
        gone
    }

    /// Adds those of a later time.
    pub fn add(&mut self, later: Self) {
        for way in 0..2 {
            self.packets[way] += later.packets[way];
            self.bytes[way] += later.bytes[way];
            self.stalled[way] = self.stalled[way].saturating_add(later.stalled[way]);
            for (count, more) in self.symptoms[way].iter_mut().zip(later.symptoms[way]) {
                *count = count.saturating_add(more);
            }
        }
        for (count, more) in self.fates.iter_mut().zip(later.fates) {
            *count = count.saturating_add(more);
        }
        self.attempts += later.attempts;
        self.answered += later.answered;
        self.lookups += later.lookups;
        self.echoed.add(&later.echoed);
        self.idle = self.idle.max(later.idle);
        self.longest = least(self.longest, later.longest);
        self.told_by = if later.told_by == 0 { self.told_by } else { later.told_by };
        self.hops_left = later.hops_left.or(self.hops_left);
        for (times, more) in [(&mut self.answers, later.answers), (&mut self.round_trips, later.round_trips)] {
            match (times.as_mut(), more) {
                (Some(times), Some(more)) => times.add(&more),
                (None, more) => *times = more,
                (Some(_), None) => {}
            }
        }
        for sample in later.samples {
            if self.samples.iter().filter(|kept| kept.symptom == sample.symptom).count() < SAMPLES {
                self.samples.push(sample);
            }
        }
    }
}

/// The smaller one, where 0 is none.
pub(crate) fn least(one: u32, other: u32) -> u32 {
    if one == 0 || other == 0 { one.max(other) } else { one.min(other) }
}

#[derive(Debug, Default)]
struct Pair {
    counts: Counts,
    /// Something was counted since it was last told.
    fresh: bool,
    last: i64,
}

/// All pairs.
pub(crate) struct Pairs {
    table: Table<PairKey, Pair>,
    fresh: Vec<Place>,
    samples: usize,
    /// What had no room, since it was last told.
    pub(crate) no_room: u64,
}

impl Pairs {
    pub(crate) fn new(most: usize, seed: usize) -> Self {
        Self { table: Table::new(most, seed), fresh: Vec::new(), samples: 0, no_room: 0 }
    }

    /// Where a pair is, which may have to be found anew; `None` where there is no room for it until others are told.
    #[inline]
    pub(crate) fn place(&mut self, known: Option<Place>, key: impl FnOnce() -> PairKey) -> Option<Place> {
        if let Some(known) = known
            && self.table.get_mut(known).is_some()
        {
            return Some(known);
        }
        let key = key();
        self.table.find(&key).or_else(|| self.begin(key))
    }

    /// A pair that was not known.
    #[inline(never)]
    fn begin(&mut self, key: PairKey) -> Option<Place> {
        if self.table.is_full() && self.fresh.len() * 2 > self.table.len() {
            self.no_room += 1;
            return None;
        }
        // What was not told yet does not go.
        let worth = |pair: &Pair| if pair.fresh { i64::MAX } else { pair.last };
        let (place, gone) = self.table.insert(key, Pair::default(), worth);
        if let Some((_, gone)) = gone
            && gone.fresh
        {
            self.no_room += gone.counts.packets.iter().sum::<u64>();
        }
        Some(place)
    }

    /// What is counted there.
    #[inline]
    pub(crate) fn counts(&mut self, place: Option<Place>, at: i64) -> Option<&mut Counts> {
        let place = place?;
        let (_, pair) = self.table.get_mut(place)?;
        pair.last = at;
        if !pair.fresh {
            pair.fresh = true;
            self.fresh.push(place);
        }
        Some(&mut pair.counts)
    }

    /// Counts a symptom that a packet shows, on another interface too where it is an echo.
    pub(crate) fn note(
        &mut self,
        (place, way): (Option<Place>, Way),
        (symptom, is_echo): (Symptom, bool),
        seen: &Seen<'_>,
        headers: usize,
    ) {
        let room = self.samples < ALL_SAMPLES;
        let Some(counts) = self.counts(place, seen.nanos) else {
            self.no_room += 1;
            return;
        };
        counts.see(symptom, way, is_echo);
        if room && counts.samples.iter().filter(|sample| sample.symptom == symptom).count() < SAMPLES {
            let kept = headers.min(seen.bytes.len()).min(SAMPLE_BYTES);
            counts.samples.push(Sample {
                symptom,
                at: seen.nanos,
                link_type: seen.link.number(),
                wire_length: seen.wire_length,
                bytes: seen.bytes[..kept].into(),
            });
            self.samples += 1;
        }
    }

    /// Counts a symptom that no packet shows: something was asked then, and no answer came.
    pub(crate) fn note_silence(&mut self, place: Option<Place>, (symptom, is_echo): (Symptom, bool), at: i64) {
        match self.counts(place, at) {
            Some(counts) => counts.see(symptom, Way::There, is_echo),
            None => self.no_room += 1,
        }
    }

    /// Gives out what was counted since the last time, and begins anew. Of interfaces that have lost packets nothing is
    /// judged; how much that was is the result.
    pub(crate) fn tell(&mut self, lost: impl Fn(u16) -> bool, mut give: impl FnMut(&PairKey, Counts)) -> u64 {
        let mut unjudged = 0;
        for place in std::mem::take(&mut self.fresh) {
            let Some((key, pair)) = self.table.get_mut(place) else { continue };
            if lost(key.interface) {
                unjudged += pair.counts.forget_judgements();
            }
            pair.fresh = false;
            give(key, std::mem::take(&mut pair.counts));
        }
        self.samples = 0;
        unjudged
    }
}
