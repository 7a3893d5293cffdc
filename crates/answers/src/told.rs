//! What one node, or one set of files, has told of one second.
//!
//! Owns the form that the engine takes, whoever tells it.

use std::net::IpAddr;

use nodewatch_protocol::{Case, Finding, MOST_ANSWERED, MOST_CASES, Role, Service, Sums, Symptoms, Tunnel};

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Face {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Packets were lost or left out there.
    pub lost: bool,
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
