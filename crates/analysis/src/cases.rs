//! Connections and questions that show something, one by one.
//!
//! Owns the bound of what is kept until it is told, and which of the attempts that were answered are told of: those with
//! the lowest numbers, so that several interfaces and nodes choose the same ones. Must not know what a case proves.

use std::net::{IpAddr, Ipv6Addr};

use nodewatch_protocol::{Case, Finding, Symptom};

use crate::{
    analysis::{Analysis, Key},
    connection::{Said, Shown},
    pairs::PairKey,
    table::Place,
};

/// Cases that are kept until they are told.
const MOST: usize = 384;
/// Answered attempts among them.
const ANSWERED: usize = 16;
/// Strays whose connection is looked for until they are told: all connections are looked through for each.
const LOOKED_FOR: u32 = 16;

/// An address of IPv4 is kept as IPv6 has it.
pub(crate) fn address(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// A number that is the same wherever the attempt is seen, and spread evenly.
fn lot(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1)
}

/// What was not told yet.
#[derive(Debug, Default)]
pub(crate) struct Cases {
    kept: Vec<Case>,
    answered: Vec<(u32, Case)>,
    looked_for: u32,
    /// Cases that had no room.
    left_out: u64,
}

impl Cases {
    pub(crate) fn put(&mut self, case: Case) {
        if self.kept.len() < MOST {
            self.kept.push(case);
        } else {
            self.left_out += 1;
        }
    }

    /// An attempt with these numbers would be among those that are told of.
    #[inline]
    fn wants(&self, lot: u32) -> bool {
        self.answered.len() < ANSWERED || self.answered.iter().any(|(known, _)| lot < *known)
    }

    fn put_answered(&mut self, lot: u32, case: Case) {
        if self.answered.len() >= ANSWERED {
            let highest = self.answered.iter().enumerate().max_by_key(|(_, (lot, _))| *lot).map(|(at, _)| at);
            highest.map(|at| self.answered.swap_remove(at));
        }
        self.answered.push((lot, case));
    }

    /// Gives out those of interfaces that have lost nothing; how many there were besides.
    fn tell(&mut self, lost: impl Fn(u16) -> bool, give: impl FnMut(Case)) -> u64 {
        let answered = self.answered.drain(..).map(|(_, case)| case);
        self.kept.drain(..).chain(answered).filter(|case| !lost(case.interface)).for_each(give);
        self.looked_for = 0;
        std::mem::take(&mut self.left_out)
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
            let case = connection.case(&key.pair(client), key.port(client), &shown);
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
            .map(|what| connection.case(&pair, port, &Shown { what, side, at, hops }))
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
        self.cases.looked_for += 1;
        if self.cases.looked_for > LOOKED_FOR {
            return;
        }
        let others = self.connections.keys().filter(|key| **key != *stray && key.interface == stray.interface);
        let other = others.filter_map(|key| (0..2).find(|&end| key.end(end) == own).map(|end| key.end(1 - end))).next();
        case.other = other.map(|(bits, _)| address(bits));
    }

    /// An attempt was not answered, or by an error that somebody else has sent, and its code.
    pub(crate) fn show_failed(&mut self, place: Place, what: Finding, at: i64, told: Option<(u128, u8)>) {
        let Some((key, connection)) = self.connections.get_mut(place) else { return };
        let client = connection.client();
        let shown = Shown { what, side: client, at, hops: None };
        let case = connection.case(&key.pair(client), key.port(client), &shown);
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
    Case {
        what,
        source: address(pair.source),
        destination: address(pair.destination),
        ports: (port, pair.port),
        service: pair.service,
        interface: pair.interface,
        began,
        at,
        id,
        repeats: 0,
        hops,
        refusal_hops: None,
        usual_hops: None,
        by_server: false,
        silence_millis: 0,
        amount: told.map_or(0, |told| told.1.into()),
        others_pass: false,
        other: told.map(|told| address(told.0)),
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
