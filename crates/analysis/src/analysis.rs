//! The way of a packet through everything that is known: connections, questions, neighbours, pairs.
//!
//! Owns the connection table, the waiting attempts and the totals; what is judged at all is asked of `judging`.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    num::NonZeroU64,
};

use nodewatch_protocol::{Service, Symptom, Tunnel};

use crate::{
    Seen,
    cases::Cases,
    connection::{Connection, Said},
    decode::{self, Class, Headers, Link, Tuple},
    detail::{ACK, RST, SYN, Segment, hops_left},
    echoes::{Echoes, KNOWN},
    fate::FATES,
    flow::Marks,
    judging::{Judging, Kind, Unjudged},
    neighbours::Neighbours,
    pairs::{Counts, PairKey, Pairs, Way, where_seen},
    questions::{DnsTotals, Questions, Silence},
    streams::Streams,
    table::{Place, Table},
};

/// The port of DNS.
pub(crate) const DNS: u16 = 53;

/// What Wireshark says of a segment, and the name under which it is counted.
const COUNTED: [(Marks, Symptom); 11] = [
    (Marks::RETRANSMISSION, Symptom::Retransmission),
    (Marks::FAST, Symptom::FastRetransmission),
    (Marks::SPURIOUS, Symptom::SpuriousRetransmission),
    (Marks::OUT_OF_ORDER, Symptom::OutOfOrder),
    (Marks::DUPLICATE_ACK, Symptom::DuplicateAck),
    (Marks::ZERO_WINDOW, Symptom::ZeroWindow),
    (Marks::WINDOW_FULL, Symptom::WindowFull),
    (Marks::KEEP_ALIVE, Symptom::KeepAlive),
    (Marks::PREVIOUS_UNSEEN, Symptom::PreviousUnseen),
    (Marks::ACKED_UNSEEN, Symptom::AckedUnseen),
    (Marks::PORTS_REUSED, Symptom::PortsReused),
];

/// How much is remembered at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections, of some 300 bytes each.
    pub connections: usize,
    /// Pairs of ends, of some 1 KiB each.
    pub pairs: usize,
    /// Questions to DNS, of some 150 bytes each.
    pub questions: usize,
    /// Whoever knows it can make packets that are slow to look up.
    pub seed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1 << 16, pairs: 1 << 13, questions: 1 << 15, seed: 0 }
    }
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets.
    pub packets: u64,
    /// Those that were not IP or ARP, or could not be read as such.
    pub unread: u64,
    /// Segments of TCP.
    pub segments: u64,
    /// Connections of TCP.
    pub connections: u64,
    /// Connections that had to make room for others before they were over.
    pub evicted: u64,
    /// Attempts and questions that had to make room before they were decided.
    pub forgotten: u64,
    /// What no pair had room for.
    pub no_room: u64,
    /// What was not judged, and why.
    pub unjudged: Unjudged,
    /// DNS.
    pub dns: DnsTotals,
    /// How far connections have come that are not known any more, in the order of [`FATES`].
    pub fates: [u64; FATES.len()],
    symptoms: [u64; Symptom::COUNT],
}

impl Totals {
    /// How often a symptom was seen.
    pub fn of(&self, symptom: Symptom) -> u64 {
        self.symptoms[symptom as usize]
    }
}

/// A connection's ends in an order of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    low: u128,
    high: u128,
    ports: (u16, u16),
    pub(crate) interface: u16,
    tunnel: Option<Tunnel>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.low);
        state.write_u128(self.high);
        let ports = u64::from(self.ports.0) | u64::from(self.ports.1) << 16;
        state.write_u64(ports | where_seen(self.interface, self.tunnel) << 32);
    }
}

impl Key {
    /// The connection of a packet, and which of its ends has sent it.
    #[inline]
    pub(crate) fn of(tuple: &Tuple, interface: u16, tunnel: Option<Tunnel>) -> (Self, usize) {
        let (from, to) = ((tuple.source, tuple.source_port), (tuple.destination, tuple.destination_port));
        let side = usize::from(from > to);
        let (low, high) = if side == 0 { (from, to) } else { (to, from) };
        (Self { low: low.0, high: high.0, ports: (low.1, high.1), interface, tunnel }, side)
    }

    /// Address and port of an end.
    pub(crate) fn end(&self, side: usize) -> (u128, u16) {
        if side == 0 { (self.low, self.ports.0) } else { (self.high, self.ports.1) }
    }

    /// The port of an end.
    pub(crate) fn port(&self, side: usize) -> u16 {
        self.end(side).1
    }

    pub(crate) fn pair(&self, client: usize) -> PairKey {
        let ends = [(self.low, self.ports.0), (self.high, self.ports.1)];
        let ((source, _), (destination, port)) = (ends[client], ends[1 - client]);
        let Self { interface, tunnel, .. } = *self;
        PairKey { source, destination, port, service: Service::Tcp, interface, tunnel }
    }
}

/// What will be decided when more is known.
pub(crate) enum Postponed {
    Attempt { asked: i64, place: Place },
    Question(Silence),
}

/// Everything that is known of packets so far.
pub struct Analysis {
    pub(crate) connections: Table<Key, Connection>,
    pub(crate) waiting: VecDeque<(i64, Place)>,
    pub(crate) postponed: VecDeque<Postponed>,
    pub(crate) questions: Questions,
    pub(crate) streams: Streams,
    pub(crate) neighbours: Neighbours,
    pub(crate) pairs: Pairs,
    pub(crate) cases: Cases,
    pub(crate) judging: Judging,
    /// What the node's interfaces have shown, and what tells those here from those of other analyses.
    pub(crate) echoes: (Echoes, u16),
    pub(crate) totals: Totals,
    pub(crate) limits: Limits,
}

impl Analysis {
    /// Knows nothing yet.
    pub fn new(limits: Limits) -> Self {
        let seed = limits.seed;
        Self {
            connections: Table::new(limits.connections, seed),
            waiting: VecDeque::new(),
            postponed: VecDeque::new(),
            questions: Questions::new(limits.questions, seed),
            streams: Streams::new(limits.questions / 32, seed),
            neighbours: Neighbours::new(limits.questions / 8, seed),
            pairs: Pairs::new(limits.pairs, seed),
            cases: Cases::default(),
            judging: Judging::new(seed),
            echoes: (Echoes::new(seed), 0),
            totals: Totals::default(),
            limits,
        }
    }

    /// Knows what other analyses of the same node have shown too. The number tells it from these.
    #[must_use]
    pub fn beside(mut self, echoes: Echoes, number: u16) -> Self {
        self.echoes = (echoes, number);
        self
    }

    /// Another interface of the node has shown this at about that moment.
    pub(crate) fn is_echo(&self, what: impl Hash, (interface, tunnel): (u16, Option<Tunnel>), at: i64) -> bool {
        let (echoes, number) = &self.echoes;
        // Inside and outside of a tunnel are two places too.
        let inside = tunnel.map_or(0, |tunnel| 1 + tunnel as u16);
        let place = interface.wrapping_mul(32).wrapping_add(number * 16).wrapping_add(inside);
        echoes.is_echo(what, place, at)
    }

    /// Takes a packet; those of one interface come in order. Says what Wireshark would.
    #[inline]
    pub fn packet(&mut self, seen: &Seen<'_>) -> Marks {
        self.read(seen, &decode::headers(seen.link, seen.bytes))
    }

    /// Takes a packet whose headers were read already.
    pub fn read(&mut self, seen: &Seen<'_>, headers: &Headers) -> Marks {
        self.totals.packets += 1;
        self.silences(seen.nanos, false);
        self.judging.listens(seen.interface, seen.nanos);
        match (headers.class, &headers.tuple) {
            (Class::Tcp, Some(tuple)) => return self.segment(seen, headers, tuple),
            (Class::Udp, Some(tuple)) => {
                self.judging.reaches(seen.interface, tuple.destination);
                self.datagram(seen, headers, tuple);
            }
            (Class::Icmp | Class::Icmp6, Some(tuple)) => {
                self.judging.reaches(seen.interface, tuple.destination);
                self.error(seen, headers, tuple.source);
                self.neighbour(seen, headers);
            }
            (Class::Arp, _) => self.neighbour(seen, headers),
            (class, _) => self.totals.unread += u64::from(class == Class::Other),
        }
        Marks::default()
    }

    /// An interface has lost packets before that moment.
    pub fn lost(&mut self, interface: u16, at: i64) {
        self.judging.loses(interface, at);
    }

    /// An interface was listened to until that moment, whether or not packets came.
    pub fn listens(&mut self, interface: u16, at: i64) {
        self.judging.listens(interface, at);
    }

    /// All packets of an interface come, whatever they are. Otherwise a filter may let only some pass.
    pub fn is_whole(&mut self, interface: u16) {
        self.judging.is_whole(interface);
    }

    /// An interface is gone: its number may be given to another one.
    pub fn is_gone(&mut self, interface: u16) {
        self.judging.forgets(interface);
    }

    /// All packets until that moment have come: what they leave without an answer is decided.
    pub fn passes(&mut self, now: i64) {
        self.silences(now, false);
    }

    /// Connections that are not over, as far as was seen.
    pub fn followed(&self) -> usize {
        self.connections.values().filter(|connection| !connection.is_over()).count()
    }

    /// Gives out what was counted of each pair since the last time, some second ago. Of an interface that has lost
    /// packets since nothing is judged.
    pub fn tell(&mut self, now: i64, mut give: impl FnMut(&PairKey, Counts)) {
        self.take_up(now);
        let (judging, totals) = (&self.judging, &mut self.totals);
        let forgotten = self.pairs.tell(
            |interface| judging.has_lost(interface, now),
            |pair, counts| {
                for symptom in Symptom::ALL.into_iter().filter(|symptom| symptom.is_judged()) {
                    totals.symptoms[symptom as usize] += u64::from(counts.both(symptom));
                }
                give(pair, counts);
            },
        );
        self.judging.unjudged.lost_packets += forgotten;
    }

    /// Nobody listens any more: what can be decided is decided, and what is younger is counted as undecided. Gives out
    /// what was counted as [`Self::tell`] does.
    pub fn conclude(&mut self, now: i64, give: impl FnMut(&PairKey, Counts)) {
        self.decide_all();
        self.tell(now, give);
    }

    fn decide_all(&mut self) {
        self.silences(i64::MAX, true);
        self.take_up(i64::MAX);
    }

    /// Nothing comes any more: what can be decided is decided, and how far each connection has come is told.
    pub fn end(&mut self, mut give: impl FnMut(&PairKey, Counts)) {
        self.decide_all();
        for (key, connection) in self.connections.take_all() {
            if let Some(kind) = self.part(&connection, i64::MAX) {
                // Its pair had to make room for others.
                let mut counts = Counts::default();
                counts.fates[kind] = 1;
                give(&key.pair(connection.client()), counts);
            }
        }
        self.tell(i64::MAX, give);
    }

    /// A connection is not known any more. How far it came is given back where its pair is not known either.
    fn part(&mut self, connection: &Connection, at: i64) -> Option<usize> {
        let kind = connection.fate().kind();
        self.totals.fates[kind] += 1;
        let Some(counts) = self.pairs.counts(connection.pair, at) else { return Some(kind) };
        counts.fates[kind] = counts.fates[kind].saturating_add(1);
        None
    }

    /// What was counted since the beginning, of symptoms that are judged until the last time that they were told.
    pub fn totals(&self) -> Totals {
        Totals {
            no_room: self.pairs.no_room,
            forgotten: self.totals.forgotten + self.questions.forgotten,
            unjudged: self.judging.unjudged,
            dns: self.questions.totals,
            ..self.totals.clone()
        }
    }

    fn segment(&mut self, seen: &Seen<'_>, headers: &Headers, tuple: &Tuple) -> Marks {
        let Some(segment) = Segment::of(headers, seen.bytes, seen.wire_length) else { return Marks::default() };
        self.totals.segments += 1;
        let (key, side) = Key::of(tuple, seen.interface, headers.tunnel);
        let (place, reused) = self.connection(key, side, tuple, &segment, seen.nanos);
        let Some((_, connection)) = self.connections.get_mut(place) else { return Marks::default() };
        let is_reset = segment.has(RST);
        let hops = hops_left(headers, seen.bytes);
        let before = connection.client();
        let mut said = connection.take(side, &segment, seen.nanos, hops);
        if reused {
            said.marks |= Marks::PORTS_REUSED;
        }
        let client = connection.client();
        let known = connection.pair.filter(|_| before == client);
        let pair = self.pairs.place(known, || key.pair(client));
        connection.pair = pair;
        let way = if side == client { Way::There } else { Way::Back };
        let mut is_echo = connection.is_echo;
        let (begun, asked) = (connection.beginning(), connection.asked().unwrap_or(seen.nanos));
        if said.both_ways {
            // What goes to either end is seen here.
            self.judging.hears(seen.interface, Kind::Tcp, tuple.source);
            self.judging.hears(seen.interface, Kind::Tcp, tuple.destination);
            for way in link_ways(seen).into_iter().flatten() {
                self.judging.hears_on(seen.interface, way);
            }
        }
        if said.attempt {
            self.wait(seen.nanos, place);
            is_echo = self.is_echo((SYN, segment.sequence), (seen.interface, headers.tunnel), seen.nanos);
            if let Some((_, connection)) = self.connections.get_mut(place) {
                (connection.is_echo, connection.link) = (is_echo, link_ways(seen)[1]);
            }
        }
        let is_answered = said.answer.is_some() || said.answered_elsewhere;
        // The interface that has seen the answer first, which may be another one than that of the attempt.
        let answer_is_echo = is_answered && self.is_echo((KNOWN, begun), (seen.interface, headers.tunnel), asked);
        if let Some(counts) = self.pairs.counts(pair, seen.nanos) {
            counts.answered += u64::from(is_answered);
            counts.echoed.answered += u64::from(answer_is_echo);
            count(counts, &said, (way, is_echo), seen, hops.filter(|_| is_reset));
        }
        if !said.marks.is_empty() || is_reset || said.is_felt() {
            let may = self.note(seen, headers, (pair, way, is_echo), &said, &segment);
            if may {
                self.show(place, side, &said, (seen.nanos, hops.filter(|_| is_reset)));
            }
        }
        if said.answer.is_some() && said.symptom.is_none() {
            self.answered(place, seen.nanos);
        }
        if tuple.source_port == DNS || tuple.destination_port == DNS {
            self.stream(seen, headers, tuple, &segment);
        }
        said.marks
    }

    /// The connection that a segment belongs to, and whether its ports had another before.
    fn connection(&mut self, key: Key, side: usize, tuple: &Tuple, segment: &Segment<'_>, at: i64) -> (Place, bool) {
        if let Some(place) = self.connections.find(&key) {
            let begun_anew =
                self.connections.get_mut(place).is_some_and(|(_, known)| known.is_begun_anew(side, segment));
            if begun_anew {
                self.totals.connections += 1;
                self.give_up(place, at);
                let known = self.connections.get_mut(place).map(|(_, known)| known);
                if let Some(gone) = known.map(|known| std::mem::replace(known, Connection::new(side))) {
                    self.part(&gone, at);
                }
            }
            return (place, begun_anew);
        }
        let client = match (segment.has(SYN), segment.has(ACK)) {
            (true, false) => side,
            (true, true) => 1 - side,
            // Services have the lower ports.
            _ if tuple.source_port >= tuple.destination_port => side,
            _ => 1 - side,
        };
        self.totals.connections += 1;
        if !segment.has(SYN) || segment.has(ACK) {
            self.judging.reaches(key.interface, tuple.destination);
        }
        let (place, gone) = self.connections.insert(key, Connection::new(client), Connection::worth);
        if let Some((_, gone)) = gone {
            self.totals.evicted += u64::from(!gone.is_over());
            self.totals.forgotten += u64::from(gone.waits().is_some());
            self.part(&gone, at);
        }
        (place, false)
    }

    /// Counts a symptom that is not judged.
    pub(crate) fn total(&mut self, symptom: Symptom) {
        self.totals.symptoms[symptom as usize] += 1;
    }

    /// Notes all that a segment says; whether what is felt of it may be judged.
    #[cold]
    fn note(
        &mut self,
        seen: &Seen<'_>,
        headers: &Headers,
        (pair, way, is_echo): (Option<Place>, Way, bool),
        said: &Said,
        segment: &Segment<'_>,
    ) -> bool {
        let marked = COUNTED.iter().filter(|(mark, _)| said.marks.has(*mark)).map(|&(_, symptom)| symptom);
        for symptom in marked.chain(segment.has(RST).then_some(Symptom::ResetFlag)) {
            self.total(symptom);
            self.pairs.note((pair, way), (symptom, is_echo), seen, headers.length);
        }
        if !said.is_felt() || !self.judging.may(seen.interface, seen.nanos) {
            return false;
        }
        let stalled = said.stalled.filter(|&(_, felt)| felt).map(|_| Symptom::Stalled);
        let idle = said.silence.map(|_| Symptom::IdleBefore);
        for symptom in [said.symptom, stalled, idle].into_iter().flatten() {
            // The interface that could be judged has shown it, whichever has shown the beginning.
            let what = (symptom as u8, segment.sequence, segment.acknowledged);
            let is_echo = self.is_echo(what, (seen.interface, headers.tunnel), seen.nanos);
            self.pairs.note((pair, way), (symptom, is_echo), seen, headers.length);
        }
        true
    }
}

/// The way of a packet on its link, and the way back, where the link has addresses.
fn link_ways(seen: &Seen<'_>) -> [Option<NonZeroU64>; 2] {
    let (Link::Ethernet, Some((ends, _))) = (seen.link, seen.bytes.split_first_chunk::<12>()) else { return [None; 2] };
    let address = |at: usize| ends[at..at + 6].iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
    let (to, from) = (address(0), address(6));
    let way = |from: u64, to: u64| NonZeroU64::new(from.rotate_left(16) ^ to);
    [way(from, to), way(to, from)]
}

fn count(counts: &mut Counts, said: &Said, (way, is_echo): (Way, bool), seen: &Seen<'_>, reset_hops: Option<u8>) {
    counts.packets[way as usize] += 1;
    counts.bytes[way as usize] += u64::from(seen.wire_length);
    let attempts = u64::from(said.attempt);
    counts.attempts += attempts;
    if is_echo {
        counts.echoed.segments += 1;
        counts.echoed.attempts += attempts;
    }
    if let Some(took) = said.answer {
        counts.answers.get_or_insert_default().count(took);
    }
    if let Some(took) = said.round_trip {
        counts.round_trips.get_or_insert_default().count(took);
    }
    if let Some((closed, _)) = said.stalled {
        // Times of damaged files are further apart than any.
        counts.stalled[way as usize] = counts.stalled[way as usize].saturating_add(closed);
    }
    counts.idle = counts.idle.max(said.silence.unwrap_or(0));
    counts.hops_left = reset_hops.or(counts.hops_left);
}
