//! What connections and questions show, put together from all that is known of them.
//!
//! Owns the form of a case. Must not know which of them are kept.

use std::net::{IpAddr, Ipv6Addr};

use nodewatch_protocol::{Case, Finding, Symptom, lot};

use crate::{
    analysis::{Analysis, Key},
    connection::{Connection, Said, Shown},
    pairs::PairKey,
    table::Place,
};

/// An address of IPv4 is kept as IPv6 has it.
fn address(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

fn case_of(connection: &Connection, pair: &PairKey, client_port: u16, shown: &Shown) -> Case {
    let known = connection.portrait(shown);
    let (amount, others_pass) = known.stuck;
    Case {
        what: shown.what,
        source: address(pair.source),
        destination: address(pair.destination),
        ports: (client_port, pair.port),
        service: pair.service,
        interface: pair.interface,
        began: known.began,
        at: shown.at,
        id: known.id,
        repeats: known.repeats,
        hops: known.hops,
        refusal_hops: shown.hops,
        usual_hops: known.usual_hops,
        by_server: known.by_server,
        silence_millis: known.silence_millis,
        amount,
        others_pass,
        reused: known.challenged,
        other: None,
    }
}

impl Analysis {
    /// Gives out what connections and questions have shown since the last time; how many more there were.
    pub fn tell_cases(&mut self, now: i64, give: impl FnMut(Case)) -> u64 {
        let judging = &self.judging;
        self.cases.tell(|interface| judging.has_lost(interface, now), give)
    }

    /// An attempt was answered here.
    #[inline]
    pub(crate) fn answered(&mut self, place: Place, at: i64) {
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        let Some(id) = connection.id() else { return };
        let lot = lot(id.0);
        if self.cases.wants(lot) {
            let (client, shown) = (connection.client(), Shown { what: Finding::Answered, side: 0, at, hops: None });
            let case = case_of(connection, &key.pair(client), key.port(client), &shown);
            self.cases.put_answered(lot, case);
        }
    }

    /// A question was answered here.
    pub(crate) fn answered_question(&mut self, pair: &PairKey, asked: &Asked) {
        let lot = lot(asked.id.map_or(0, |(number, name)| number ^ name));
        if self.cases.wants(lot) {
            let case = question(pair, Finding::Answered, asked);
            self.cases.put_answered(lot, case);
        }
    }

    /// What a segment has shown, which may be judged.
    pub(crate) fn show(&mut self, place: Place, side: usize, said: &Said, (at, hops): (i64, Option<u8>)) {
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        let key = *key;
        let client = connection.client();
        let (pair, port) = (key.pair(client), key.port(client));
        let stalled = said.stalled.filter(|&(_, felt)| felt);
        let found = said.symptom.map(Finding::Symptom).into_iter().chain(said.finding);
        let found: Vec<Case> = found
            .chain(stalled.map(|_| Finding::Symptom(Symptom::Stalled)))
            .map(|what| case_of(connection, &pair, port, &Shown { what, side, at, hops }))
            .collect();
        for mut case in found {
            match (case.what, stalled) {
                (Finding::Stray, _) => self.find_owner(&mut case, &key, side),
                (Finding::Symptom(Symptom::Stalled), Some((closed, _))) => {
                    case.amount = u32::try_from(closed / 1_000_000).unwrap_or(u32::MAX);
                }
                _ => {}
            }
            self.cases.put(case);
        }
    }

    /// Who refuses a packet from nowhere may have a connection with another end from the same port.
    fn find_owner(&mut self, case: &mut Case, stray: &Key, side: usize) {
        let (own, refused) = (stray.end(side), stray.end(1 - side));
        (case.source, case.destination) = (address(own.0), address(refused.0));
        case.ports = (own.1, refused.1);
        if !self.cases.may_look() {
            return;
        }
        let mut others = self.connections.keys().filter(|key| **key != *stray && key.interface == stray.interface);
        let other = others.find_map(|key| (0..2).find(|&end| key.end(end) == own).map(|end| key.end(1 - end)));
        case.other = other.map(|(bits, _)| address(bits));
    }

    /// An attempt was not answered, or by an error that somebody else has sent, and its code.
    pub(crate) fn show_failed(&mut self, place: Place, what: Finding, at: i64, told: Option<(u128, u8)>) {
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        let client = connection.client();
        let shown = Shown { what, side: client, at, hops: None };
        let case = case_of(connection, &key.pair(client), key.port(client), &shown);
        let (other, amount) = (told.map(|told| address(told.0)), told.map_or(0, |told| told.1.into()));
        self.cases.put(Case { other, amount, ..case });
    }

    /// What a question, or an address that is asked for, has shown.
    pub(crate) fn show_question(&mut self, pair: &PairKey, what: Finding, asked: &Asked) {
        self.cases.put(question(pair, what, asked));
    }
}

fn question(pair: &PairKey, what: Finding, asked: &Asked) -> Case {
    let Asked { port, id, began, at, hops, told } = *asked;
    let ends = ((address(pair.source), port), (address(pair.destination), pair.port));
    let (amount, other) = (told.map_or(0, |told| told.1.into()), told.map(|told| address(told.0)));
    Case {
        interface: pair.interface,
        began,
        id,
        hops,
        amount,
        other,
        ..Case::of(what, pair.service, ends.0, ends.1, at)
    }
}

/// A question that shows something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// From which port it was asked.
    pub(crate) port: u16,
    /// Its number, and its name's.
    pub(crate) id: Option<(u32, u32)>,
    /// When it was asked.
    pub(crate) began: i64,
    /// When it was shown.
    pub(crate) at: i64,
    /// Hops that it had left, where that is known.
    pub(crate) hops: Option<u8>,
    /// Who has sent an error, and its code.
    pub(crate) told: Option<(u128, u8)>,
}
