//! Packets made by hand, and what is said of them.

mod evidence;

use proptest::prelude::*;

use super::{judging::Kind, *};

const SECOND: i64 = 1_000_000_000;
const MILLI: i64 = 1_000_000;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

fn mapped(address: [u8; 4]) -> u128 {
    0xFFFF_0000_0000 | u128::from(u32::from_be_bytes(address))
}

fn ip(protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(from.into_iter().chain(to));
    bytes.extend(payload);
    bytes
}

/// A segment from one end, with so many bytes of payload.
fn tcp(
    (from, to): ([u8; 4], [u8; 4]),
    ports: (u16, u16),
    flags: u8,
    (seq, ack): (u32, u32),
    window: u16,
    length: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags]);
    bytes.extend(window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.resize(20 + length, 7);
    ip(6, from, to, &bytes)
}

fn there(flags: u8, numbers: (u32, u32), length: usize) -> Vec<u8> {
    tcp((CLIENT, SERVER), (40_000, 80), flags, numbers, 5000, length)
}

fn back(flags: u8, numbers: (u32, u32), length: usize) -> Vec<u8> {
    tcp((SERVER, CLIENT), (80, 40_000), flags, numbers, 5000, length)
}

fn udp((from, to): ([u8; 4], [u8; 4]), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    ip(17, from, to, &bytes)
}

/// A message for `name.example`.
fn dns(id: u16, flags: u16, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(id.to_be_bytes());
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes.extend(b"\x07example\0\0\x01\0\x01");
    bytes
}

fn question(id: u16, name: &str) -> Vec<u8> {
    udp((CLIENT, SERVER), (5000, 53), &dns(id, 0x0100, name))
}

fn answer(id: u16, flags: u16, name: &str) -> Vec<u8> {
    udp((SERVER, CLIENT), (53, 5000), &dns(id, 0x8180 | flags, name))
}

/// ARP, as it is on Ethernet.
fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 2, 2, 2, 2, 2]);
    bytes.extend(sender);
    bytes.extend([0; 6]);
    bytes.extend(target);
    bytes
}

/// Listens since five seconds ago, and has seen answers of each kind to the client.
struct Listening {
    analysis: Analysis,
    told: Vec<(PairKey, Counts)>,
}

impl Listening {
    fn new() -> Self {
        let mut new = Self::just_begun();
        new.see(-5 * SECOND, &udp((SERVER, CLIENT), (53, 1), &dns(9, 0x8180, "before")));
        for kind in [Kind::Tcp, Kind::Neighbour] {
            new.analysis.judging.hears(3, kind, mapped(CLIENT));
        }
        new
    }

    fn just_begun() -> Self {
        Self { analysis: Analysis::new(Limits::default()), told: Vec::new() }
    }

    fn see(&mut self, nanos: i64, bytes: &[u8]) -> Marks {
        self.cut(nanos, bytes, bytes.len())
    }

    fn cut(&mut self, nanos: i64, bytes: &[u8], captured: usize) -> Marks {
        let wire_length = bytes.len() as u32;
        let seen = Seen { interface: 3, link: Link::Raw, nanos, wire_length, bytes: &bytes[..captured] };
        self.analysis.packet(&seen)
    }

    /// Packets still come, which have nothing to do with it.
    fn later(&mut self, nanos: i64) {
        self.see(nanos, &udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b""));
    }

    fn end(mut self) -> (Vec<(PairKey, Counts)>, Totals) {
        let told = &mut self.told;
        self.analysis.end(|pair, counts| told.push((*pair, counts)));
        (self.told, self.analysis.totals())
    }

    /// What was counted of connections to the server.
    fn counts(self, service: Service) -> (Counts, Totals) {
        let (told, totals) = self.end();
        let mut of = told.into_iter().filter(|(pair, _)| pair.service == service);
        let (pair, counts) = of.next().expect("a pair");
        assert_eq!((pair.source, pair.destination, pair.interface), (mapped(CLIENT), mapped(SERVER), 3));
        assert!(of.next().is_none(), "one pair");
        (counts, totals)
    }
}

fn handshake(listening: &mut Listening) {
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &back(SYN | ACK, (500, 101), 0));
    listening.see(2 * MILLI, &there(ACK, (101, 501), 0));
}

#[test]
fn an_attempt_is_refused_by_who_was_asked() {
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &back(RST | ACK, (0, 101), 0));
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.attempts, counts.answered, counts.failures()), (1, 0, 1));
    assert_eq!(counts.of(Symptom::Refused, Way::Back), 1);
    assert_eq!(counts.hops_left, Some(64));
    assert_eq!((totals.connections, totals.of(Symptom::ResetFlag), totals.of(Symptom::Refused)), (1, 1, 1));
    assert_eq!(counts.samples.len(), 2, "one of each: {:?}", counts.samples);
}

#[test]
fn what_is_not_answered_is_decided_also_where_no_packet_comes() {
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &question(1, "quiet"));
    let mut told = Vec::new();
    for second in 1..13 {
        listening.analysis.listens(3, second * SECOND);
        listening.analysis.passes(second * SECOND);
        listening.analysis.tell(second * SECOND, |pair, counts| {
            if counts.failures() > 0 {
                told.push((second, pair.service));
            }
        });
    }
    assert_eq!(told, [(6, Service::Dns), (10, Service::Tcp)]);
    assert_eq!(listening.analysis.followed(), 1);
}

#[test]
fn an_old_answer_refuses_nothing() {
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &back(RST | ACK, (0, 77), 0));
    listening.see(2 * MILLI, &back(SYN | ACK, (500, 101), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!((counts.failures(), counts.answered), (0, 1));
}

#[test]
fn an_attempt_without_an_answer_is_counted_once_however_often_it_was_repeated() {
    let mut listening = Listening::new();
    for second in [0, 1, 3, 7] {
        listening.see(second * SECOND, &there(SYN, (100, 0), 0));
    }
    listening.later(12 * SECOND);
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.attempts, counts.both(Symptom::Unanswered), counts.failures()), (1, 1, 1));
    assert_eq!(totals.of(Symptom::Retransmission), 3);
    assert_eq!(totals.unjudged, Unjudged::default());
}

#[test]
fn an_attempt_that_the_capture_ends_with_is_not_judged() {
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.later(SECOND);
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.failures(), totals.unjudged.undecided), (0, 1));
}

#[test]
fn a_silent_interface_may_not_have_been_captured_for_so_long() {
    for (next, failures) in [(14, 1), (200, 0)] {
        let mut listening = Listening::new();
        listening.see(0, &there(SYN, (100, 0), 0));
        listening.see(MILLI, &question(1, "a"));
        // Other interfaces go on.
        let other = udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b"");
        for second in 0..next {
            let nanos = second * SECOND;
            let seen = Seen { interface: 7, link: Link::Raw, nanos, wire_length: other.len() as u32, bytes: &other };
            listening.analysis.packet(&seen);
            let told = &mut listening.told;
            listening.analysis.tell(nanos, |pair, counts| told.push((*pair, counts)));
        }
        listening.later(next * SECOND);
        let (told, totals) = listening.end();
        let failed: u64 = told.iter().map(|(_, counts)| counts.failures()).sum();
        assert_eq!((failed, totals.unjudged.undecided), (2 * failures, 2 - 2 * failures), "{next}");
    }
}

#[test]
fn an_attempt_that_was_repeated_is_delayed() {
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    // A copy is no second attempt.
    listening.see(MILLI, &there(SYN, (100, 0), 0));
    listening.see(1020 * MILLI, &there(SYN, (100, 0), 0));
    listening.see(1021 * MILLI, &back(SYN | ACK, (500, 101), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!((counts.both(Symptom::Delayed), counts.failures(), counts.answered), (1, 0, 1));
}

#[test]
fn a_connection_in_use_is_reset_by_an_end_or_by_another() {
    for (hops, symptom) in [(64, Symptom::Reset), (55, Symptom::ForeignReset)] {
        let mut listening = Listening::new();
        handshake(&mut listening);
        listening.see(3 * MILLI, &there(ACK, (101, 501), 10));
        let mut reset = back(RST, (501, 0), 0);
        reset[8] = hops;
        listening.see(4 * MILLI, &reset);
        let (counts, totals) = listening.counts(Service::Tcp);
        assert_eq!((counts.of(symptom, Way::Back), counts.failures(), totals.of(symptom)), (1, 1, 1));
        assert_eq!(counts.idle, 0);
    }
}

#[test]
fn silence_before_a_reset_is_told() {
    let mut listening = Listening::new();
    handshake(&mut listening);
    listening.see(400 * SECOND, &there(ACK, (101, 501), 10));
    listening.see(400 * SECOND + MILLI, &back(RST, (501, 0), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!((counts.both(Symptom::Reset), counts.both(Symptom::IdleBefore)), (1, 1));
    assert_eq!(counts.idle, (400 * SECOND - 2 * MILLI) as u64);
}

#[test]
fn an_end_that_resets_what_is_idle_has_decided_so() {
    for by_client in [true, false] {
        let mut listening = Listening::new();
        handshake(&mut listening);
        let reset = if by_client { there(RST, (101, 0), 0) } else { back(RST, (501, 0), 0) };
        listening.see(400 * SECOND, &reset);
        let (counts, _) = listening.counts(Service::Tcp);
        assert_eq!((counts.both(Symptom::Reset), counts.both(Symptom::IdleBefore)), (1, 0), "{by_client}");
    }
}

#[test]
fn a_reset_after_the_end_is_no_failure_but_data_may_have_been_lost() {
    let mut closed = Listening::new();
    handshake(&mut closed);
    closed.see(3 * MILLI, &there(FIN | ACK, (101, 501), 0));
    closed.see(4 * MILLI, &back(FIN | ACK, (501, 102), 0));
    closed.see(5 * MILLI, &there(RST, (102, 0), 0));
    let (counts, _) = closed.counts(Service::Tcp);
    assert_eq!((counts.failures(), counts.both(Symptom::ClosedTooSoon)), (0, 0));

    let mut race = Listening::new();
    handshake(&mut race);
    race.see(3 * MILLI, &back(FIN | ACK, (501, 101), 0));
    race.see(4 * MILLI, &there(ACK, (101, 501), 20));
    race.see(5 * MILLI, &back(RST, (502, 0), 0));
    let (counts, _) = race.counts(Service::Tcp);
    assert_eq!((counts.failures(), counts.of(Symptom::ClosedTooSoon, Way::Back)), (0, 1));
}

#[test]
fn a_window_that_stays_closed_stalls() {
    let mut listening = Listening::new();
    handshake(&mut listening);
    let closed = tcp((SERVER, CLIENT), (80, 40_000), ACK, (501, 101), 0, 0);
    listening.see(10 * MILLI, &closed);
    listening.see(300 * MILLI, &closed);
    listening.see(810 * MILLI, &back(ACK, (501, 101), 0));
    // A short one was not felt.
    listening.see(820 * MILLI, &closed);
    listening.see(830 * MILLI, &back(ACK, (501, 101), 0));
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.of(Symptom::Stalled, Way::Back), totals.of(Symptom::ZeroWindow)), (1, 3));
    assert_eq!(counts.stalled, [0, (810 * MILLI) as u64]);
}

#[test]
fn times_that_are_as_far_apart_as_can_be_fit() {
    let mut analysis = Analysis::new(Limits { questions: 1, ..Limits::default() });
    let mut see = |nanos: i64, bytes: &[u8]| {
        analysis.packet(&Seen { interface: 0, link: Link::Raw, nanos, wire_length: bytes.len() as u32, bytes });
    };
    let closed = tcp((SERVER, CLIENT), (80, 40_000), ACK, (501, 101), 0, 0);
    for _ in 0..3 {
        see(i64::MIN, &closed);
        see(i64::MAX, &back(ACK, (501, 101), 0));
    }
    see(i64::MIN, &question(1, "one"));
    see(i64::MIN, &answer(1, 0, "one"));
    see(i64::MIN, &question(2, "another, which needs its room"));
    let mut stalled = 0;
    analysis.end(|_, counts| stalled = stalled.max(counts.stalled[Way::Back as usize]));
    assert_eq!(stalled, u64::MAX);
    assert_eq!(analysis.totals().dns.questions, 2);
}

#[test]
fn an_error_of_icmp_fails_the_attempt_that_it_quotes() {
    let syn = there(SYN, (100, 0), 0);
    let error = |kind: u8, code: u8, rest: u32| {
        let mut bytes = vec![kind, code, 0, 0];
        bytes.extend(rest.to_be_bytes());
        bytes.extend(&syn[..28]);
        ip(1, [10, 0, 0, 254], CLIENT, &bytes)
    };
    let mut listening = Listening::new();
    listening.see(0, &syn);
    listening.see(MILLI, &error(3, 1, 0));
    // The same again is about an attempt that has failed already.
    listening.see(2 * MILLI, &error(3, 1, 0));
    listening.later(15 * SECOND);
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!((counts.both(Symptom::Unreachable), counts.failures()), (1, 1));
    assert_eq!(counts.told_by, mapped([10, 0, 0, 254]));

    // Of another attempt between the same ports, or made up.
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (99, 0), 0));
    listening.see(MILLI, &there(SYN, (200, 0), 0));
    listening.see(2 * MILLI, &error(3, 1, 0));
    listening.see(3 * MILLI, &back(SYN | ACK, (500, 201), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!((counts.both(Symptom::Unreachable), counts.answered), (0, 1));

    let mut listening = Listening::new();
    handshake(&mut listening);
    listening.see(5 * MILLI, &error(3, 4, 1400));
    listening.see(6 * MILLI, &error(3, 4, 1300));
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.both(Symptom::TooBig), counts.longest, counts.failures()), (2, 1300, 0));
    assert_eq!(totals.of(Symptom::TooBig), 2);
}

#[test]
fn questions_are_answered_late_wrongly_or_never() {
    let mut listening = Listening::new();
    listening.see(0, &question(1, "a"));
    listening.see(2 * MILLI, &answer(1, 0, "a"));
    listening.see(SECOND, &question(2, "b"));
    listening.see(3 * SECOND, &answer(2, 0, "b"));
    listening.see(4 * SECOND, &question(3, "c"));
    listening.see(4 * SECOND + MILLI, &answer(3, 2, "c"));
    listening.see(5 * SECOND, &question(4, "d"));
    listening.see(5 * SECOND + MILLI, &answer(4, 0x0203, "d"));
    listening.see(6 * SECOND, &question(5, "e"));
    listening.see(7 * SECOND, &question(5, "E"));
    listening.later(20 * SECOND);
    let (told, totals) = listening.end();
    let (_, counts) =
        told.iter().find(|(pair, _)| pair.service == Service::Dns && pair.source == mapped(CLIENT)).expect("it");
    let of = |symptom| counts.both(symptom);
    assert_eq!((of(Symptom::DnsLate), of(Symptom::DnsFailed), of(Symptom::DnsNoName)), (1, 1, 1));
    assert_eq!((of(Symptom::DnsTruncated), of(Symptom::DnsUnanswered)), (1, 1));
    assert_eq!((counts.attempts, counts.answered, counts.failures()), (6, 4, 2));
    assert_eq!(counts.lookups, 5, "the same name in other letters is the same lookup");
    let dns = totals.dns;
    assert_eq!((dns.questions, dns.unanswered(), dns.servfail, dns.nxdomain), (6, 2, 1, 1));
}

#[test]
fn questions_come_over_tcp_too_in_pieces() {
    let message = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let stream = [message(&dns(7, 0x0100, "one")), message(&dns(8, 0x0100, "two"))].concat();
    let segment = |at: usize, end: usize| {
        let mut bytes = tcp((CLIENT, SERVER), (4000, 53), ACK, (101 + at as u32, 501), 1000, end - at);
        let payload = bytes.len() - (end - at);
        bytes[payload..].copy_from_slice(&stream[at..end]);
        bytes
    };
    for split in 1..stream.len() {
        let mut listening = Listening::new();
        listening.see(0, &tcp((CLIENT, SERVER), (4000, 53), SYN, (100, 0), 1000, 0));
        listening.see(MILLI, &segment(0, split));
        // One that is sent again says nothing new.
        listening.see(2 * MILLI, &segment(0, split));
        listening.see(3 * MILLI, &segment(split, stream.len()));
        let (_, totals) = listening.end();
        assert_eq!(totals.dns.questions, 2, "split at {split}");
    }
}

#[test]
fn an_address_that_nobody_has_is_asked_for_in_vain() {
    let see = |listening: &mut Listening, nanos: i64, bytes: &[u8]| {
        let wire_length = bytes.len() as u32;
        listening.analysis.packet(&Seen { interface: 3, link: Link::Ethernet, nanos, wire_length, bytes });
    };
    for answered in [false, true] {
        let mut listening = Listening::new();
        for second in 0..3 {
            see(&mut listening, second * SECOND, &arp(1, CLIENT, SERVER));
            if answered {
                see(&mut listening, second * SECOND + MILLI, &arp(2, SERVER, CLIENT));
            }
        }
        let (told, totals) = listening.end();
        assert_eq!(totals.of(Symptom::NeighbourUnanswered), u64::from(!answered), "{told:?}");
    }
    // Whoever goes on asking goes on being told of.
    let mut listening = Listening::new();
    for second in 0..40 {
        see(&mut listening, second * SECOND, &arp(1, CLIENT, SERVER));
    }
    assert_eq!(listening.end().1.of(Symptom::NeighbourUnanswered), 4);
}

#[test]
fn lengths_are_those_on_the_wire_however_little_was_captured() {
    let mut listening = Listening::new();
    handshake(&mut listening);
    let long = there(ACK, (101, 501), 1000);
    assert!(listening.cut(3 * MILLI, &long, 40).is_empty());
    assert!(listening.cut(4 * MILLI, &there(ACK, (1101, 501), 1000), 40).is_empty());
    listening.see(5 * MILLI, &back(ACK, (501, 2101), 0));
    let again = listening.cut(400 * MILLI, &long, 40);
    assert!(again.has(Marks::SPURIOUS) && again.has(Marks::RETRANSMISSION), "{again:?}");
    // Padding is no payload.
    let mut padded = back(ACK, (501, 2101), 0);
    padded.resize(60, 0);
    assert!(listening.see(401 * MILLI, &padded).has(Marks::DUPLICATE_ACK));
}

#[test]
fn times_are_told_of_handshakes_and_of_data_by_its_stamps() {
    let stamped = |from: bool, numbers: (u32, u32), stamps: (u32, u32), length: usize| {
        let ends = if from { ((CLIENT, SERVER), (40_000, 80)) } else { ((SERVER, CLIENT), (80, 40_000)) };
        let mut bytes = tcp(ends.0, ends.1, ACK, numbers, 1000, 12 + length);
        bytes[32] = 0x80;
        bytes[40..44].copy_from_slice(&[1, 1, 8, 10]);
        bytes[44..48].copy_from_slice(&stamps.0.to_be_bytes());
        bytes[48..52].copy_from_slice(&stamps.1.to_be_bytes());
        bytes
    };
    let mut listening = Listening::new();
    handshake(&mut listening);
    listening.see(10 * MILLI, &stamped(true, (101, 501), (1000, 5), 100));
    listening.see(30 * MILLI, &stamped(false, (501, 201), (6, 1000), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    let (answers, trips) = (counts.answers.expect("one"), counts.round_trips.expect("one"));
    let near =
        |nanos: Option<u64>, wanted: i64| nanos.is_some_and(|nanos| nanos.abs_diff(wanted as u64) * 5 < wanted as u64);
    assert!(near(answers.within(500), MILLI), "{answers:?}");
    assert!(near(trips.within(990), 20 * MILLI), "{trips:?}");
}

#[test]
fn how_far_each_connection_has_come_is_told_when_it_is_not_known_any_more() {
    let mut listening = Listening::new();
    handshake(&mut listening);
    listening.see(3 * MILLI, &there(ACK, (101, 501), 10));
    listening.see(4 * MILLI, &back(FIN | ACK, (501, 111), 0));
    // The same ports again, without an answer, and again with one.
    listening.see(SECOND, &there(SYN, (9000, 0), 0));
    listening.see(2 * SECOND, &there(SYN, (19_000, 0), 0));
    listening.see(2 * SECOND + 1, &back(SYN | ACK, (700, 19_001), 0));
    let (counts, totals) = listening.counts(Service::Tcp);
    let told: Vec<(&str, u32)> = FATES.into_iter().zip(counts.fates).filter(|(_, count)| *count > 0).collect();
    assert_eq!(told, [("syn_sent", 1), ("client_established", 1), ("complete_with_data", 1)]);
    assert_eq!(totals.fates.iter().sum::<u64>(), totals.connections);
}

#[test]
fn taps_and_tunnels_are_kept_apart() {
    let mut analysis = Analysis::new(Limits::default());
    let syn = there(SYN, (100, 0), 0);
    for interface in [1, 2] {
        let seen = Seen { interface, link: Link::Raw, nanos: 0, wire_length: syn.len() as u32, bytes: &syn };
        assert!(analysis.packet(&seen).is_empty(), "the same packet at another place is not sent again");
    }
    let inside = ip(4, [1, 1, 1, 1], [2, 2, 2, 2], &syn);
    let seen = Seen { interface: 1, link: Link::Raw, nanos: 1, wire_length: inside.len() as u32, bytes: &inside };
    assert!(analysis.packet(&seen).is_empty());
    let mut pairs = Vec::new();
    analysis.end(|pair, _| pairs.push((pair.interface, pair.tunnel.is_some(), pair.source)));
    pairs.sort_unstable();
    assert_eq!(pairs, [(1, false, mapped(CLIENT)), (1, true, mapped(CLIENT)), (2, false, mapped(CLIENT))]);
}

#[test]
fn a_flood_finds_its_bound_and_what_had_no_room_is_counted() {
    let limits = Limits { connections: 1000, pairs: 100, questions: 100, seed: 5 };
    let mut analysis = Analysis::new(limits);
    let mut told = 0;
    for number in 0..50_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let syn = tcp(([10, a, b, c], SERVER), (1000 + u16::from(c), 80), SYN, (number, 0), 10, 0);
        let seen =
            Seen { interface: 0, link: Link::Raw, nanos: i64::from(number) * 10_000, wire_length: 40, bytes: &syn };
        analysis.packet(&seen);
        if number == 25_000 {
            analysis.tell(0, |_, counts| told += counts.packets.iter().sum::<u64>());
        }
    }
    analysis.end(|_, counts| told += counts.packets.iter().sum::<u64>());
    let totals = analysis.totals();
    assert_eq!((totals.connections, totals.evicted), (50_000, 49_000));
    assert_eq!(totals.forgotten + totals.unjudged.total(), 50_000, "{totals:?}");
    assert_eq!(told + totals.no_room, 50_000);
}

proptest! {
    #[test]
    fn whatever_the_bytes_nothing_panics_and_nothing_grows(
        packets in prop::collection::vec((0u8..12, prop::collection::vec((0usize..90, any::<u8>()), 0..6), 0usize..120, any::<i64>()), 1..60),
        link in prop::sample::select(vec![0u16, 1, 9, 10, 12, 101, 104, 105, 113, 127, 276]),
    ) {
        let limits = Limits { connections: 4, pairs: 4, questions: 4, seed: 1 };
        let mut analysis = Analysis::new(limits);
        let mut last = 0;
        for (kind, changes, captured, nanos) in packets {
            let mut bytes = match kind {
                0 => there(SYN, (100, 0), 0),
                1 => back(SYN | ACK, (500, 101), 0),
                2 => there(ACK, (101, 501), 9),
                3 => back(FIN | ACK, (501, 110), 0),
                4 => back(RST, (501, 110), 0),
                5 => question(1, "name"),
                6 => answer(1, 3, "name"),
                7 => ip(1, SERVER, CLIENT, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &there(SYN, (100, 0), 0)].concat()),
                8 => tcp((CLIENT, SERVER), (4000, 53), ACK, (101, 1), 10, 30),
                9 => [&[0; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[1; 20]].concat(),
                10 => [&[0; 12][..], &[8, 0], &there(ACK, (101, 501), 0)].concat(),
                _ => ip(47, CLIENT, SERVER, &[&[0, 0, 0x82, 0, 8, 1][..], &[0; 60]].concat()),
            };
            for (at, byte) in changes {
                if let Some(changed) = bytes.get_mut(at) {
                    *changed = byte;
                }
            }
            let bytes = &bytes[..captured.min(bytes.len())];
            last = if kind % 3 == 0 { nanos } else { last + 1 };
            let link = if kind == 10 || kind == 9 { Link::Ethernet } else { Link::from_number(link) };
            analysis.packet(&Seen { interface: u16::from(kind & 1), link, nanos: last, wire_length: 100, bytes });
        }
        let (mut pairs, mut fates) = (0, 0);
        analysis.end(|_, counts| {
            pairs += 1;
            fates += counts.fates.iter().map(|&count| u64::from(count)).sum::<u64>();
            assert!(counts.samples.len() <= 3 * Symptom::COUNT);
        });
        // Those that are known, and those of connections whose pair is not.
        prop_assert!(pairs <= 4 + 4);
        let totals = analysis.totals();
        prop_assert!(fates <= totals.connections && totals.fates.iter().sum::<u64>() == totals.connections);
    }
}
