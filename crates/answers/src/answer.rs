//! An answer: what it says, how sure it is, and what it is proved by.
//!
//! Owns its parts and the words of certainty. Must not know how it was found, nor how it is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nodewatch_protocol::Service;
use serde::{Deserialize, Serialize};

use crate::{ClockGap, Code, Segment};

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Symptom, mechanism, same time and place, and no neighbour is left.
    Verdict,
    /// The same, but a neighbour could not be excluded; it is named.
    Likely,
    /// Where it is lost is known, why is not.
    Located,
    /// A counter alone: nobody has felt anything.
    Note,
}

impl Certainty {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Likely => "likely",
            Self::Located => "located",
            Self::Note => "note",
        }
    }

    /// It counts as an answer: for the badge, and for the exit code.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Verdict | Self::Likely)
    }
}

/// Where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The node; of files, what the file is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `NAMESPACE/NAME` of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// `NAMESPACE/NAME` of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The address and port of who is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<(IpAddr, u16)>,
    /// On which part of the way it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
}

impl Place {
    /// For people: the narrowest that is known.
    pub fn text(&self) -> String {
        let target = self.target.map(|(address, port)| match port {
            0 => address.to_string(),
            port => std::net::SocketAddr::new(address, port).to_string(),
        });
        let what = match (&self.pod, &self.service, target) {
            (Some(pod), _, Some(_)) => self
                .target
                .map_or_else(|| pod.clone(), |(_, port)| if port == 0 { pod.clone() } else { format!("{pod}:{port}") }),
            (Some(what), _, None) | (None, Some(what), None) => what.clone(),
            (None, Some(service), Some(target)) => format!("{service} ({target})"),
            (None, None, Some(target)) => target,
            (None, None, None) => String::new(),
        };
        let on = match (&self.node, &self.interface) {
            (Some(node), Some(interface)) => format!("{interface} of {node}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        match (what.is_empty(), on.is_empty()) {
            (false, false) => format!("{what} on {on}"),
            _ => format!("{what}{on}"),
        }
    }
}

/// One connection that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// When it has failed, in nanoseconds since the Unix epoch: of an attempt, when it was begun.
    pub at: i64,
    /// Who asks, and from which port.
    pub source: (IpAddr, u16),
    /// Who is asked, and on which.
    pub destination: (IpAddr, u16),
    /// For what.
    pub service: Service,
    /// What became of it, in words.
    pub what: String,
    /// Where it was seen, in the order of its way; then where it was not seen although others are.
    pub seen: Vec<String>,
    /// Where it was not.
    pub missing: Vec<String>,
}

/// One connection that it has hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hurt {
    /// When it has failed, in nanoseconds since the Unix epoch.
    pub at: i64,
    /// For what.
    pub service: Service,
    /// Who asks whom, as it was seen nearest to who asks, and nearest to who is asked: addresses may be translated between.
    pub ends: [Ends; 2],
}

/// Who asks, and who is asked, each with its port.
pub type Ends = ((IpAddr, u16), (IpAddr, u16));

/// A counter that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// On which node.
    pub node: String,
    /// The signal's name, and what of the node it is about.
    pub signal: String,
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// The cause that fits next best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Which.
    pub code: Code,
    /// The one check that would decide between the two.
    pub check: String,
}

/// What is known of why connections fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which one it is of all that were found, whatever is known of it meanwhile.
    #[serde(default)]
    pub id: u64,
    /// The cause; `None` where only the place is known.
    pub code: Option<Code>,
    /// How sure it is.
    pub certainty: Certainty,
    /// The whole of it in one sentence.
    pub text: String,
    /// Where.
    pub place: Place,
    /// When its first evidence was seen, in milliseconds since the Unix epoch.
    pub since: u64,
    /// When its last evidence was seen, where it has ended.
    pub until: Option<u64>,
    /// When its last evidence was seen.
    pub last: u64,
    /// Connections and questions that it has hurt in the last minute; where it is over, in the worst one.
    pub failed: u64,
    /// Of so many.
    pub of: u64,
    /// The same since it began.
    pub in_all: u64,
    /// Three of them.
    pub proof: Vec<Proof>,
    /// The latest of the last minute, a hundred at most: what its packets are, and which pairs it is about.
    #[serde(skip)]
    pub hurt: Vec<Hurt>,
    /// How far the clocks are apart of nodes whose times stand side by side in the proof.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockGap>,
    /// Counters that say the same.
    pub counters: Vec<Step>,
    /// What it is not, and by what that is known.
    pub ruled_out: Vec<String>,
    /// What could not be seen.
    pub not_seen: Vec<String>,
    /// What fits next best.
    pub runner_up: Option<Runner>,
    /// What to do: commands as they can be typed, or where to look. The first one is copied.
    pub next: Vec<String>,
}

impl Answer {
    /// One that says nothing yet.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self {
            id: 0,
            code: None,
            certainty: Certainty::Note,
            text: String::new(),
            place: Place::default(),
            since: 0,
            until: None,
            last: 0,
            failed: 0,
            of: 0,
            in_all: 0,
            proof: Vec::new(),
            hurt: Vec::new(),
            clocks: Vec::new(),
            counters: Vec::new(),
            ruled_out: Vec::new(),
            not_seen: Vec::new(),
            runner_up: None,
            next: Vec::new(),
        }
    }

    /// `N-11 accept queue full`, or that only the place is known.
    pub fn title(&self) -> String {
        match (self.code, &self.place.segment) {
            (Some(code), _) => format!("{} {}", code.text(), code.name()),
            (None, Some(segment)) => segment.text(),
            (None, None) => self.text.clone(),
        }
    }

    /// Its code in all outputs.
    pub fn code_text(&self) -> &'static str {
        self.code.map_or("-", Code::text)
    }

    /// Whether it goes on.
    pub fn is_current(&self) -> bool {
        self.until.is_none()
    }

    /// The connections of it that are known one by one, and when each has failed; of an answer that was written down those of
    /// its proof.
    pub fn connections(&self) -> Vec<Hurt> {
        if !self.hurt.is_empty() {
            return self.hurt.clone();
        }
        let shown = self.proof.iter().map(|proof| {
            let ends = (proof.source, proof.destination);
            Hurt { at: proof.at, service: proof.service, ends: [ends; 2] }
        });
        shown.collect()
    }

    /// A display filter of Wireshark for exactly its connections, as far as they are known one by one, also where addresses
    /// are translated.
    pub fn filter(&self) -> String {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => format!("ip.addr == {address}"),
            IpAddr::V6(address) => format!("ipv6.addr == {address}"),
        };
        // By the two addresses, the ports that are asked from; none where that is not known.
        let mut ports: BTreeMap<(IpAddr, IpAddr, &str), BTreeSet<u16>> = BTreeMap::new();
        let mut neighbours = BTreeSet::new();
        for hurt in self.connections() {
            let transport = if hurt.service == Service::Tcp { "tcp" } else { "udp" };
            for (source, destination) in hurt.ends {
                if hurt.service == Service::Neighbour {
                    neighbours.insert(destination.0);
                } else {
                    let known = ports.entry((source.0, destination.0, transport)).or_default();
                    known.extend(Some(source.1).filter(|port| *port != 0));
                }
            }
        }
        let neighbours = neighbours.into_iter().map(|asked| match asked {
            IpAddr::V4(asked) => format!("arp.dst.proto_ipv4 == {asked}"),
            IpAddr::V6(asked) => format!("icmpv6.nd.ns.target_address == {asked}"),
        });
        let of = |((one, other, transport), ports): ((IpAddr, IpAddr, &str), BTreeSet<u16>)| {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            let ports = match &ports[..] {
                [] => String::new(),
                [port] => format!(" and {transport}.port == {port}"),
                ports => format!(" and {transport}.port in {{{}}}", ports.join(", ")),
            };
            format!("({} and {}{ports})", address(one), address(other))
        };
        neighbours.chain(ports.into_iter().map(of)).collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_all_of_its_connections_also_as_they_are_translated() {
        let end = |last: u8, port: u16| (IpAddr::from([10, 0, 0, last]), port);
        let hurt = |port: u16| {
            let ends = [(end(1, port), end(9, 80)), (end(3, port + 1), end(2, 8080))];
            Hurt { at: 0, service: Service::Tcp, ends }
        };
        let answer = Answer { hurt: (0..4).map(|number| hurt(40_000 + 10 * number)).collect(), ..Answer::nothing() };
        assert_eq!(
            answer.filter(),
            "(ip.addr == 10.0.0.1 and ip.addr == 10.0.0.9 and tcp.port in {40000, 40010, 40020, 40030}) or \
             (ip.addr == 10.0.0.3 and ip.addr == 10.0.0.2 and tcp.port in {40001, 40011, 40021, 40031})"
        );
        let asked = Hurt { service: Service::Neighbour, ends: [(end(1, 0), end(7, 0)); 2], ..hurt(1) };
        assert_eq!(Answer { hurt: vec![asked], ..answer }.filter(), "arp.dst.proto_ipv4 == 10.0.0.7");
    }
}
