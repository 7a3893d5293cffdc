//! What one node, or one set of files, has told of one second.
//!
//! Owns the form that the engine takes, whoever tells it.

use std::{borrow::Cow, net::IpAddr};

use nodewatch_protocol::{Case, Finding, MOST_ANSWERED, MOST_CASES, Role, Service, Sums, Symptoms, Tunnel};
use rustc_hash::FxHashMap;

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Face {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Packets were lost or left out there.
    pub lost: bool,
    /// Nothing more is read of it: nobody knows whether something has passed it since.
    pub ended: bool,
}

/// Two ends, as one interface has seen them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Who asks.
    pub source: IpAddr,
    /// Who is asked.
    pub destination: IpAddr,
    /// On which port.
    pub port: u16,
    /// For what.
    pub service: Service,
    /// Where: a place in the list of interfaces.
    pub interface: u16,
    /// In which tunnel.
    pub tunnel: Option<Tunnel>,
    /// What was counted.
    pub sums: Sums,
    /// Packets that were too long for a link, where an error has said so, and what it takes.
    pub mtu: Option<u32>,
}

/// One second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Which node; of files, which of them.
    pub node: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at: u64,
    /// How long it was, in milliseconds.
    pub millis: u64,
    /// Its interfaces.
    pub faces: Vec<Face>,
    /// Pairs.
    pub pairs: Vec<Pair>,
    /// Cases.
    pub cases: Vec<Case>,
    /// What is not among them: connections that were felt and not judged, and cases without room.
    pub left_out: u64,
    /// Attempts that were judged at none of its interfaces, as only one direction of them was seen.
    pub one_direction: u64,
    /// There were more cases than these, so that one that is not among them may have been seen.
    pub crowded: bool,
    /// Of attempts that were answered all are among them up to this lot.
    pub answered_to: u32,
    /// What all pairs of it amount to.
    pub sums: Sums,
}

impl Told {
    /// What an agent has told, by the clock of who hears it.
    pub fn by(node: &str, symptoms: &Symptoms, at: u64) -> Self {
        let faces = symptoms.interfaces.iter().map(|face| Face {
            name: face.name.clone(),
            role: face.role,
            lost: face.dropped > 0 || face.skipped > 0,
            ended: false,
        });
        let pairs = symptoms.pairs.iter().map(|pair| Pair {
            source: pair.source,
            destination: pair.destination,
            port: pair.port,
            service: pair.service,
            interface: pair.interface,
            tunnel: pair.tunnel,
            sums: Sums::of(pair),
            mtu: pair.mtu,
        });
        Self {
            node: node.to_owned(),
            at,
            millis: symptoms.millis,
            faces: faces.collect(),
            pairs: pairs.collect(),
            cases: symptoms.cases.clone(),
            left_out: symptoms.unlisted.cases,
            one_direction: symptoms.not_judged.one_direction,
            crowded: symptoms.unlisted.cases > 0,
            answered_to: Self::answered_to(symptoms.cases.iter()),
            sums: symptoms.sums,
        }
    }

    /// Its pairs, those once that an interface has seen in a tunnel and out of it: the same packets pass it twice.
    pub(crate) fn pairs_once(&self) -> Cow<'_, [Pair]> {
        if self.pairs.iter().all(|pair| pair.tunnel.is_none()) {
            return Cow::Borrowed(&self.pairs);
        }
        let mut places = FxHashMap::default();
        let mut once: Vec<Pair> = Vec::with_capacity(self.pairs.len());
        for pair in &self.pairs {
            let Pair { source, destination, port, service, interface, .. } = *pair;
            let place = *places.entry((source, destination, port, service, interface)).or_insert(once.len());
            match once.get_mut(place) {
                Some(known) => {
                    known.sums = most_of(&known.sums, &pair.sums);
                    known.mtu = known.mtu.or(pair.mtu);
                }
                None => once.push(pair.clone()),
            }
        }
        Cow::Owned(once)
    }

    /// Up to which lot attempts that were answered are told, where of many only the lowest are.
    pub fn answered_to<'a>(cases: impl Iterator<Item = &'a Case>) -> u32 {
        let (mut all, mut answered, mut highest) = (0, 0, 0);
        for case in cases {
            all += 1;
            if case.what == Finding::Answered {
                answered += 1;
                highest = highest.max(case.lot());
            }
        }
        if answered >= MOST_ANSWERED || all >= MOST_CASES { highest } else { u32::MAX }
    }
}

/// Of each number the higher one.
fn most_of(one: &Sums, other: &Sums) -> Sums {
    Sums {
        packets: one.packets.max(other.packets),
        segments: one.segments.max(other.segments),
        bytes: one.bytes.max(other.bytes),
        attempts: one.attempts.max(other.attempts),
        answered: one.answered.max(other.answered),
        lookups: one.lookups.max(other.lookups),
        failed: one.failed.max(other.failed),
        delayed: one.delayed.max(other.delayed),
        retransmitted: one.retransmitted.max(other.retransmitted),
        dns_unanswered: one.dns_unanswered.max(other.dns_unanswered),
    }
}
