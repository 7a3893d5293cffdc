//! What packets other than segments of TCP say: questions and answers of DNS, errors of ICMP, questions for neighbours.

use std::hash::Hash;

use nodewatch_protocol::{Finding, Service, Symptom, Transport};

use crate::{
    Seen,
    analysis::{Analysis, DNS, Key},
    decode::{Headers, Tuple},
    detail::{Icmp, Message, Neighbour, Quoted, Segment, hops_left},
    echoes::KNOWN,
    judging::{Asker, Kind},
    pairs::{PairKey, Way, least},
    questions::{QuestionKey, is_multicast},
    showing::Asked,
    table::Place,
};

/// DNS, multicast DNS, and name resolution on a link: the same messages.
const DNS_OVER_UDP: [u16; 3] = [DNS, 5353, 5355];

impl Analysis {
    #[inline]
    pub(crate) fn datagram(&mut self, seen: &Seen<'_>, headers: &Headers, tuple: &Tuple) {
        // A later piece of a packet has no ports.
        if headers.fragment.is_some_and(|fragment| !fragment.first) {
            return;
        }
        let is_dns = DNS_OVER_UDP.contains(&tuple.source_port) || DNS_OVER_UDP.contains(&tuple.destination_port);
        if is_dns && let Some(message) = message_of(seen, headers) {
            self.message(seen, headers, tuple, &message);
            return;
        }
        let (pair, way) = pair_of(tuple, Service::Udp, seen, headers);
        let place = self.pairs.place(None, || pair);
        self.count_packet(place, way, seen);
    }

    /// What a segment of a stream of DNS carries.
    pub(crate) fn stream(&mut self, seen: &Seen<'_>, headers: &Headers, tuple: &Tuple, segment: &Segment<'_>) {
        let mut messages = Vec::new();
        let whose = (seen.interface, headers.tunnel);
        self.streams.take(whose, tuple, segment, seen.nanos, |message| messages.push(message));
        for message in messages {
            self.message(seen, headers, tuple, &message);
        }
    }

    fn message(&mut self, seen: &Seen<'_>, headers: &Headers, tuple: &Tuple, message: &Message) {
        let key = QuestionKey { id: message.id, ..question_key(tuple, seen, headers, message.answers) };
        let (heard, place) = self.questions.take(key, message, seen.nanos);
        let known = self.questions.pair(place).and_then(|question| question.pair);
        let pair = self.pairs.place(known, || key.pair());
        if let Some(question) = self.questions.pair(place) {
            question.pair = pair;
            if !message.answers {
                question.hops = hops_left(headers, seen.bytes);
            }
        }
        let way = if message.answers { Way::Back } else { Way::There };
        if !key.over_tcp {
            self.count_packet(pair, way, seen);
        }
        // What is said to all is said by its own sender.
        if message.answers && !key.is_for_all() {
            self.judging.hears(seen.interface, Kind::Dns, key.client);
        }
        let what = |part: u8| (part, message.id, message.name);
        let is_echo =
            self.is_echo(what(u8::MAX - u8::from(message.answers)), (seen.interface, headers.tunnel), seen.nanos);
        if let Some(counts) = self.pairs.counts(pair, seen.nanos) {
            let (attempts, lookups) = (u64::from(heard.question.is_some()), u64::from(heard.question == Some(true)));
            counts.attempts += attempts;
            counts.lookups += lookups;
            counts.answered += u64::from(heard.answer.is_some());
            if is_echo {
                counts.echoed.attempts += attempts;
                counts.echoed.lookups += lookups;
                counts.echoed.answered += u64::from(heard.answer.is_some());
            }
            if let Some(took) = heard.answer {
                counts.answers.get_or_insert_default().count(took);
            }
        }
        if let Some(took) = heard.answer {
            let asked = seen.nanos.saturating_sub_unsigned(took);
            self.is_echo(what(KNOWN), (seen.interface, headers.tunnel), asked);
        }
        if let Some(took) = heard.answer.filter(|_| heard.symptoms.iter().all(Option::is_none)) {
            let hops = self.questions.pair(place).and_then(|question| question.hops);
            let began = seen.nanos.saturating_sub(took as i64);
            let id = Some((message.id.into(), message.name as u32));
            let asked = Asked { port: key.ports.0, id, began, at: seen.nanos, hops, told: None };
            self.answered_question(&key.pair(), &asked);
        }
        for symptom in heard.symptoms.into_iter().flatten() {
            let may = self.judge(seen, headers, (pair, way), (symptom, what(symptom as u8)));
            if may && matches!(symptom, Symptom::DnsFailed | Symptom::DnsLate) {
                let began = seen.nanos.saturating_sub(heard.answer.unwrap_or(0) as i64);
                let id = Some((message.id.into(), message.name as u32));
                let asked = Asked { port: key.ports.0, id, began, at: seen.nanos, hops: None, told: None };
                self.show_question(&key.pair(), Finding::Symptom(symptom), &asked);
            }
        }
    }

    /// Notes a symptom, where that may be judged. `what` is the same wherever on the node it is shown.
    fn judge(
        &mut self,
        seen: &Seen<'_>,
        headers: &Headers,
        pair: (Option<Place>, Way),
        (symptom, what): (Symptom, impl Hash),
    ) -> bool {
        if !symptom.is_judged() {
            self.total(symptom);
        } else if !self.judging.may(seen.interface, seen.nanos) {
            return false;
        }
        let is_echo = self.is_echo(what, (seen.interface, headers.tunnel), seen.nanos);
        self.pairs.note(pair, (symptom, is_echo), seen, headers.length);
        true
    }

    #[inline]
    fn count_packet(&mut self, pair: Option<Place>, way: Way, seen: &Seen<'_>) {
        if let Some(counts) = self.pairs.counts(pair, seen.nanos) {
            counts.packets[way as usize] += 1;
            counts.bytes[way as usize] += u64::from(seen.wire_length);
        }
    }

    /// An error of ICMP is about a connection, a question, or something else that it quotes.
    pub(crate) fn error(&mut self, seen: &Seen<'_>, headers: &Headers, teller: u128) {
        let Some(icmp) = Icmp::of(headers, seen.bytes) else { return };
        let Some(quoted) = icmp.quoted else { return };
        let too_big = icmp.too_big(headers.class);
        let unreachable = icmp.is_unreachable(headers.class);
        if too_big.is_none() && !unreachable {
            return;
        }
        // It comes where the quoted packet was seen, and goes back to where that came from.
        let about = Headers { tunnel: quoted.tunnel, ..*headers };
        let (place, failed) = match quoted.tuple.transport {
            Transport::Tcp => self.quoted_connection(seen, &about, &quoted),
            Transport::Udp if quoted.tuple.destination_port == DNS => {
                let mut key = question_key(&quoted.tuple, seen, &about, false);
                key.id = quoted.number.unwrap_or_default();
                self.questions.fail(&key);
                (self.pairs.place(None, || key.pair()), unreachable)
            }
            transport => {
                let service = if transport == Transport::Udp { Service::Udp } else { Service::Other };
                let (pair, way) = pair_of(&quoted.tuple, service, seen, &about);
                // That nobody listens for an answer any more is no failure of the service.
                (self.pairs.place(None, || pair), unreachable && way == Way::There)
            }
        };
        if let Some(counts) = self.pairs.counts(place, seen.nanos) {
            counts.told_by = teller;
            counts.longest = least(counts.longest, too_big.unwrap_or(0));
        }
        let symptom = if too_big.is_some() { Some(Symptom::TooBig) } else { failed.then_some(Symptom::Unreachable) };
        if let Some(symptom) = symptom {
            let what = (symptom as u8, quoted.tuple.source_port, quoted.sequence, quoted.number, icmp.code);
            let may = self.judge(seen, headers, (place, Way::Back), (symptom, what));
            if may {
                self.show_error(seen, &about, &quoted, (symptom, (teller, icmp.code)));
            }
        }
        if unreachable && quoted.tuple.transport == Transport::Udp && quoted.tuple.source_port == DNS {
            let mut key = question_key(&quoted.tuple, seen, &about, true);
            key.id = quoted.number.unwrap_or_default();
            let id = Some((key.id.into(), 0));
            let asked = Asked {
                port: key.ports.0,
                id,
                began: seen.nanos,
                at: seen.nanos,
                hops: None,
                told: Some((teller, icmp.code)),
            };
            self.show_question(&key.pair(), Finding::AnswerTooLate, &asked);
        }
    }

    /// An error is about that connection, or question.
    fn show_error(
        &mut self,
        seen: &Seen<'_>,
        about: &Headers,
        quoted: &Quoted,
        (symptom, told): (Symptom, (u128, u8)),
    ) {
        let what = Finding::Symptom(symptom);
        let (key, _) = Key::of(&quoted.tuple, seen.interface, about.tunnel);
        let known = self.connections.find(&key).filter(|_| quoted.tuple.transport == Transport::Tcp);
        if let Some(place) = known {
            return self.show_failed(place, what, seen.nanos, Some(told));
        }
        let service = if quoted.tuple.destination_port == DNS { Service::Dns } else { Service::Udp };
        let (pair, _) = pair_of(&quoted.tuple, service, seen, about);
        let id = quoted.number.map(|number| (number.into(), 0));
        let port = quoted.tuple.source_port;
        self.show_question(
            &pair,
            what,
            &Asked { port, id, began: seen.nanos, at: seen.nanos, hops: None, told: Some(told) },
        );
    }

    /// Where the connection of a quoted packet is counted, and whether it was an attempt that has failed by that.
    fn quoted_connection(&mut self, seen: &Seen<'_>, about: &Headers, quoted: &Quoted) -> (Option<Place>, bool) {
        let (key, side) = Key::of(&quoted.tuple, seen.interface, about.tunnel);
        let known = self.connections.find(&key).and_then(|place| self.connections.get_mut(place));
        let Some((_, connection)) = known else { return (self.pairs.place(None, || key.pair(side)), false) };
        // Of an older attempt between the same ports, or of none, it says nothing of this one.
        let of_it = quoted.sequence.is_none_or(|sequence| connection.beginning() == Some(sequence));
        let failed = connection.waits().is_some() && connection.client() == side && of_it;
        if failed {
            connection.fail();
        }
        let (known, client) = (connection.pair, connection.client());
        (self.pairs.place(known, || key.pair(client)), failed)
    }

    pub(crate) fn neighbour(&mut self, seen: &Seen<'_>, headers: &Headers) {
        let Some(neighbour) = Neighbour::of(headers, seen.bytes) else { return };
        if !neighbour.asks {
            self.judging.hears(seen.interface, Kind::Neighbour, neighbour.asker);
        }
        if !self.neighbours.take(seen.interface, &neighbour, seen.nanos) {
            return;
        }
        let pair = PairKey {
            source: neighbour.asker,
            destination: neighbour.address,
            port: 0,
            service: Service::Neighbour,
            interface: seen.interface,
            tunnel: headers.tunnel,
        };
        let asker = Asker { interface: seen.interface, kind: Kind::Neighbour, address: neighbour.asker, link: None };
        if self.judging.has_heard(&asker) {
            let place = self.pairs.place(None, || pair);
            let what = (Symptom::NeighbourUnanswered as u8, neighbour.asker, neighbour.address);
            let may = self.judge(seen, headers, (place, Way::There), (Symptom::NeighbourUnanswered, what));
            if may {
                let asked = Asked { port: 0, id: None, began: seen.nanos, at: seen.nanos, hops: None, told: None };
                self.show_question(&pair, Finding::Symptom(Symptom::NeighbourUnanswered), &asked);
            }
        }
    }
}

/// The message of DNS that a datagram carries, where it is one.
fn message_of(seen: &Seen<'_>, headers: &Headers) -> Option<Message> {
    let at = headers.place.transport as usize;
    let datagram = seen.bytes.get(at..).filter(|_| at > 0)?;
    Message::of(payload(datagram))
}

/// What a datagram carries, as far as it was captured.
fn payload(datagram: &[u8]) -> &[u8] {
    let length = datagram.get(4..6).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    datagram.get(8..length.min(datagram.len())).unwrap_or_default()
}

/// Who asks whom; the question's number is not known here.
fn question_key(tuple: &Tuple, seen: &Seen<'_>, headers: &Headers, answers: bool) -> QuestionKey {
    let (mut ends, mut ports) = ((tuple.source, tuple.destination), (tuple.source_port, tuple.destination_port));
    // What is said to all has no other end.
    if answers && !is_multicast(tuple.destination) {
        (ends, ports) = ((ends.1, ends.0), (ports.1, ports.0));
    }
    QuestionKey {
        client: ends.0,
        server: ends.1,
        ports,
        id: 0,
        interface: seen.interface,
        tunnel: headers.tunnel,
        over_tcp: tuple.transport == Transport::Tcp,
    }
}

/// The pair of a packet, and its way: services have the lower ports.
#[inline]
fn pair_of(tuple: &Tuple, service: Service, seen: &Seen<'_>, headers: &Headers) -> (PairKey, Way) {
    let Tuple { source, destination, source_port, destination_port, .. } = *tuple;
    let way = if source_port >= destination_port { Way::There } else { Way::Back };
    let (source, destination, port) = match way {
        Way::There => (source, destination, destination_port),
        Way::Back => (destination, source, source_port),
    };
    (PairKey { source, destination, port, service, interface: seen.interface, tunnel: headers.tunnel }, way)
}
