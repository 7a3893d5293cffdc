//! What an analysis has counted in a second, as it crosses the wire.
//!
//! Owns what is listed where not all has room: failures first, then what was felt, then what was sent again, then bytes.
//! What is not listed is counted, and is in the sums. Pure.

use std::{
    cmp::Reverse,
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
};

use nodewatch_analysis::{Counts, PairKey, Sample, Times, Totals, Way};
use nodewatch_protocol::{
    MOST_PAIRS, MOST_SAMPLES, NotJudged, SamplePacket, Spread, Sums, Symptom, SymptomCount, Unlisted, WatchedPair,
};

const MILLI: u64 = 1_000_000;
const MICRO: u64 = 1_000;

/// Pairs of one second, of which those that matter most are kept.
#[derive(Debug, Default)]
pub struct Second {
    pairs: Vec<(PairKey, Counts)>,
    unlisted: Unlisted,
    sums: Sums,
}

/// What is told of them.
#[derive(Debug, Default)]
pub struct Told {
    /// The pairs, those that matter most first.
    pub pairs: Vec<WatchedPair>,
    /// Packets of these.
    pub samples: Vec<SamplePacket>,
    /// What all of them amount to.
    pub sums: Sums,
    /// What is not among them.
    pub unlisted: Unlisted,
    /// What was not judged.
    pub not_judged: NotJudged,
}

impl Second {
    /// One more pair.
    pub fn take(&mut self, key: &PairKey, counts: Counts) {
        self.sums += counts.sums(key.service);
        self.pairs.push((*key, counts));
        if self.pairs.len() >= 4 * MOST_PAIRS {
            self.cut();
        }
    }

    /// In their order, and no more of them than may be told.
    fn cut(&mut self) {
        self.pairs.sort_by_cached_key(|(key, counts)| {
            let (bytes, again): (u64, _) = (counts.bytes.iter().sum(), counts.both(Symptom::Retransmission));
            let matters = (counts.failures(), counts.felt(), again, bytes);
            (Reverse(matters), key.source, key.destination, key.port, key.interface)
        });
        for (_, counts) in self.pairs.drain(MOST_PAIRS.min(self.pairs.len())..) {
            leave(&mut self.unlisted, &counts);
        }
    }

    /// The whole second. `place` is where an interface is listed; the totals are those of its beginning and its end.
    pub fn told(mut self, place: impl Fn(u16) -> Option<u16>, before: &Totals, after: &Totals) -> Told {
        self.cut();
        let mut told = Told { unlisted: self.unlisted, sums: self.sums, ..Told::default() };
        let mut samples = Vec::new();
        for (key, counts) in self.pairs {
            let Some(interface) = place(key.interface) else {
                leave(&mut told.unlisted, &counts);
                continue;
            };
            let pair = told.pairs.len() as u16;
            told.pairs.push(watched(&key, interface, &counts));
            let mut seen: Vec<Symptom> = Vec::new();
            for sample in counts.samples {
                let times = seen.iter().filter(|&&before| before == sample.symptom).count();
                seen.push(sample.symptom);
                samples.push((!sample.symptom.is_failure(), !sample.symptom.is_judged(), times, pair, sample));
            }
        }
        // One of each before a second one of any.
        samples.sort_by_key(|&(no_failure, not_judged, times, pair, _)| (no_failure, not_judged, times, pair));
        told.samples = samples.into_iter().take(MOST_SAMPLES).map(|(.., pair, sample)| packet(pair, &sample)).collect();
        told.unlisted.no_room = after.no_room.saturating_sub(before.no_room);
        told.unlisted.evicted = after.evicted.saturating_sub(before.evicted);
        let (then, now) = (&before.unjudged, &after.unjudged);
        told.not_judged = NotJudged {
            first_seconds: now.at_the_beginning.saturating_sub(then.at_the_beginning),
            one_direction: now.one_way.saturating_sub(then.one_way),
            dropped: now.lost_packets.saturating_sub(then.lost_packets),
            undecided: now.undecided.saturating_sub(then.undecided),
        };
        told
    }
}

fn leave(unlisted: &mut Unlisted, counts: &Counts) {
    unlisted.pairs += 1;
    unlisted.packets += counts.packets.iter().sum::<u64>();
    unlisted.failed += counts.failures();
    unlisted.felt += counts.felt();
}

fn watched(key: &PairKey, interface: u16, counts: &Counts) -> WatchedPair {
    let symptoms = Symptom::ALL.into_iter().filter_map(|symptom| {
        let (there, back) = (counts.of(symptom, Way::There), counts.of(symptom, Way::Back));
        (there > 0 || back > 0).then_some(SymptomCount(symptom, there, back))
    });
    WatchedPair {
        source: address(key.source),
        destination: address(key.destination),
        port: key.port,
        service: key.service,
        interface,
        tunnel: key.tunnel,
        packets: counts.packets,
        bytes: counts.bytes,
        attempts: counts.attempts,
        answered: counts.answered,
        lookups: counts.lookups,
        symptoms: symptoms.collect(),
        stalled_millis: counts.stalled.map(|nanos| nanos / MILLI),
        idle_millis: counts.idle / MILLI,
        mtu: (counts.longest > 0).then_some(counts.longest),
        told_by: (counts.told_by != 0).then(|| address(counts.told_by)),
        hops_left: counts.hops_left,
        answers: counts.answers.as_ref().and_then(spread),
        round_trips: counts.round_trips.as_ref().and_then(spread),
    }
}

fn spread(times: &Times) -> Option<Spread> {
    let (p50, p99) = times.within(500).zip(times.within(990)).filter(|_| !times.is_empty())?;
    Some(Spread { count: times.len(), p50: p50 / MICRO, p99: p99 / MICRO })
}

fn packet(pair: u16, sample: &Sample) -> SamplePacket {
    let mut headers = String::with_capacity(2 * sample.bytes.len());
    for byte in &sample.bytes {
        // A text takes whatever is written.
        let _ = write!(headers, "{byte:02x}");
    }
    let Sample { symptom, at, link_type, wire_length, .. } = *sample;
    SamplePacket { pair, symptom, at, link_type, length: wire_length, headers }
}

/// An address of IPv4 is kept as IPv6 has it.
fn address(bits: u128) -> IpAddr {
    let address = Ipv6Addr::from_bits(bits);
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use nodewatch_analysis::{Analysis, Limits, Seen, decode::Link};
    use nodewatch_protocol::Service;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn key(source: u128, interface: u16) -> PairKey {
        PairKey { source, destination: 2, port: 80, service: Service::Tcp, interface, tunnel: None }
    }

    fn counts(packets: u64, bytes: u64) -> Counts {
        let mut counts = Counts::default();
        (counts.packets, counts.bytes) = ([packets, 0], [bytes, 0]);
        counts
    }

    /// An attempt to connect that is refused: the SYN, then the RST.
    fn refused(client: u8) -> [Vec<u8>; 2] {
        let segment = |from: [u8; 4], to: [u8; 4], ports: [u8; 4], numbers: [u8; 8], flags: u8| {
            let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 60, 6, 0, 0];
            bytes.extend(from.into_iter().chain(to).chain(ports).chain(numbers));
            bytes.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
            bytes
        };
        let (here, there) = ([10, 0, 0, client], [10, 0, 9, 9]);
        [
            segment(here, there, [0x90, 0, 0, 80], [0, 0, 0, 7, 0, 0, 0, 0], 2),
            segment(there, here, [0, 80, 0x90, 0], [0, 0, 0, 0, 0, 0, 0, 8], 0x14),
        ]
    }

    fn see(analysis: &mut Analysis, nanos: i64, bytes: &[u8]) {
        let wire_length = bytes.len() as u32;
        analysis.packet(&Seen { interface: 5, link: Link::Raw, nanos, wire_length, bytes });
    }

    #[test]
    fn failures_come_first_and_what_has_no_room_is_counted() {
        let mut analysis = Analysis::new(Limits::default());
        analysis.listens(5, 0);
        let before = analysis.totals();
        for client in 1..=80 {
            for packet in refused(client) {
                see(&mut analysis, 3 * SECOND, &packet);
            }
        }
        let mut second = Second::default();
        for other in 0..2000 {
            second.take(&key(other, 5), counts(2, 1_000_000 + other as u64));
        }
        analysis.tell(3 * SECOND, |key, counts| second.take(key, counts));
        second.take(&key(7, 6), counts(3, u64::MAX));
        let told = second.told(|number| (number == 5).then_some(1), &before, &analysis.totals());
        assert_eq!(told.pairs.len(), MOST_PAIRS - 1, "one is of an interface that is not listed");
        let first = &told.pairs[0];
        assert_eq!((first.destination, first.port, first.interface), ([10, 0, 9, 9].into(), 80, 1));
        assert_eq!((first.attempts, first.answered, first.packets, first.hops_left), (1, 0, [1, 1], Some(60)));
        assert!(first.symptoms.contains(&SymptomCount(Symptom::Refused, 0, 1)), "{first:?}");
        let failed = |pair: &WatchedPair| pair.symptoms.iter().any(|count| count.0.is_failure());
        assert!(told.pairs[..80].iter().all(failed) && !told.pairs[80..].iter().any(failed));
        assert_eq!(told.pairs[80].bytes, [1_001_999, 0], "then the most bytes");
        assert_eq!((told.unlisted.pairs, told.unlisted.packets), (2081 - 249, 2 * 1831 + 3));
        assert_eq!(told.samples.len(), MOST_SAMPLES);
        assert!(told.samples.iter().all(|sample| sample.symptom == Symptom::Refused && sample.headers.len() == 80));
        assert!(told.samples[0].headers.starts_with("4500") && told.samples[0].link_type == 101);
        assert_eq!((told.not_judged, told.unlisted.no_room), (NotJudged::default(), 0));
    }

    #[test]
    fn what_was_felt_comes_before_plain_traffic_and_what_of_it_has_no_room_is_counted() {
        let mut analysis = Analysis::new(Limits::default());
        analysis.listens(5, 0);
        let [mut syn, _] = refused(1);
        let mut answer = refused(1)[1].clone();
        answer[33] = 0x12;
        let clients = MOST_PAIRS as u16 + 50;
        for client in 0..clients {
            let ends = client.to_be_bytes();
            syn[14..16].copy_from_slice(&ends);
            answer[18..20].copy_from_slice(&ends);
            see(&mut analysis, 3 * SECOND, &syn);
            see(&mut analysis, 4 * SECOND, &syn);
            see(&mut analysis, 4 * SECOND + 1, &answer);
        }
        let totals = analysis.totals();
        let mut second = Second::default();
        for other in 0..2000 {
            second.take(&key(other, 5), counts(2, 1_000_000));
        }
        analysis.tell(5 * SECOND, |key, counts| second.take(key, counts));
        let told = second.told(|_| Some(0), &totals, &totals);
        let delayed = |pair: &WatchedPair| pair.symptoms.contains(&SymptomCount(Symptom::Delayed, 0, 1));
        assert!(told.pairs.len() == MOST_PAIRS && told.pairs.iter().all(delayed), "{:?}", told.pairs[0]);
        assert_eq!((told.unlisted.pairs, told.unlisted.failed, told.unlisted.felt), (2050, 0, 50));
        assert_eq!((told.sums.delayed, told.sums.failed), (clients.into(), 0), "all of them");
        assert_eq!(told.sums.packets, 4000 + 3 * u64::from(clients));
    }

    #[test]
    fn what_was_not_judged_is_told_of_that_second_alone() {
        let mut analysis = Analysis::new(Limits { connections: 1, ..Limits::default() });
        let told = |analysis: &mut Analysis, before: &Totals| {
            let mut second = Second::default();
            analysis.tell(SECOND, |key, counts| second.take(key, counts));
            second.told(|_| Some(0), before, &analysis.totals())
        };
        let begun = analysis.totals();
        for packet in refused(1) {
            see(&mut analysis, SECOND, &packet);
        }
        assert_eq!(told(&mut analysis, &begun).not_judged.first_seconds, 1);
        let before = analysis.totals();
        for client in [2, 3] {
            see(&mut analysis, SECOND, &refused(client)[0]);
        }
        let told = told(&mut analysis, &before);
        assert_eq!((told.not_judged.first_seconds, told.unlisted.evicted), (0, 1));
    }

    #[test]
    fn addresses_and_times_are_as_people_have_them() {
        assert_eq!(address(Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().to_bits()), IpAddr::from([10, 1, 2, 3]));
        assert_eq!(address(1).to_string(), "::1");
        let mut times = Times::default();
        assert_eq!(spread(&times), None);
        (0..100).for_each(|_| times.count(1_000_000));
        let spread = spread(&times).expect("some");
        assert!(spread.count == 100 && (800..1200).contains(&spread.p50), "{spread:?}");
        let mut counts = counts(0, 0);
        (counts.stalled, counts.idle, counts.longest) = ([2_500_000, 0], 61_000_000_000, 1400);
        let pair = watched(&key(1, 0), 3, &counts);
        assert_eq!((pair.stalled_millis, pair.idle_millis, pair.mtu, pair.told_by), ([2, 0], 61_000, Some(1400), None));
    }
}
