//! Watching as it crosses the wire: what is watched, what was counted of it a second, and packets that show it.
//!
//! Owns the form of these lines, each bounded. Must not know how packets are judged.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Case, Sums, Symptom, Tunnel, UnixMillis};

/// Pairs of ends that are told of in one second: those with failures first, then those with delays, then those with the
/// most bytes.
pub const MOST_PAIRS: usize = 250;
/// Packets that are told of in one second.
pub const MOST_SAMPLES: usize = 60;

/// What to watch: packets are analysed, and none is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    /// Interfaces by name; empty means those that a capture takes by default and the pods' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// A capture filter as libpcap has them; `None` watches every packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl WatchSpec {
    /// Not every packet is watched.
    pub fn is_filtered(&self) -> bool {
        self.filter.as_deref().is_some_and(|filter| !filter.trim().is_empty())
    }
}

/// What an interface is on its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It has an address of the node, or carries the default route.
    Node,
    /// The host's end of a pod's interface.
    Pod,
    /// A bridge, a tunnel, anything else.
    #[default]
    Other,
}

impl Role {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Other => "other",
        }
    }
}

/// How an agent's watching stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchState {
    /// Nothing is watched.
    #[default]
    Off,
    /// It goes on.
    On {
        /// Since then, by the agent's clock.
        since: UnixMillis,
        /// What was asked for.
        spec: WatchSpec,
    },
    /// It has ended by a failure.
    Failed {
        /// Which, for people.
        message: String,
    },
}

impl WatchState {
    /// Whether packets are watched.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }
}

/// One interface that is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedInterface {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Packets of this second.
    pub packets: u64,
    /// Packets that the kernel had no room for in this second; nothing of it is judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Packets that were not analysed because it was behind; nothing of the second is judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// It is to be watched, and is not there or down: nothing of it was seen in this second.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// What two ends do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Connections of TCP.
    Tcp,
    /// Datagrams.
    Udp,
    /// Questions to DNS, over either.
    Dns,
    /// Questions for hardware addresses.
    Neighbour,
    /// Anything else that an ICMP error was about.
    Other,
}

impl Service {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Dns => "dns",
            Self::Neighbour => "neighbour",
            Self::Other => "other",
        }
    }
}

/// How long things took: how many there were, and the time within which half and 99 of a hundred were done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// How many were measured.
    pub count: u64,
    /// Half of them took no longer, in microseconds.
    pub p50: u64,
    /// 99 of a hundred took no longer, in microseconds.
    pub p99: u64,
}

/// How often one symptom was seen: from who asks to who is asked, and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymptomCount(pub Symptom, pub u32, pub u32);

/// Two ends in one second, as one interface saw them. Fields with two values have the way from who asks first, then the
/// way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedPair {
    /// Who asks: the end that began the connection, where that was seen.
    pub source: IpAddr,
    /// Who is asked.
    pub destination: IpAddr,
    /// On which port.
    pub port: u16,
    /// For what.
    pub service: Service,
    /// Where: a place in [`Symptoms::interfaces`].
    pub interface: u16,
    /// In which tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes on the wire.
    pub bytes: [u64; 2],
    /// Connections that were begun, questions that were asked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u64,
    /// Those that were answered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub answered: u64,
    /// Names that were looked up, each perhaps with several questions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lookups: u64,
    /// What was seen of symptoms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symptoms: Vec<SymptomCount>,
    /// Windows were closed for so many milliseconds.
    #[serde(default, skip_serializing_if = "are_zero")]
    pub stalled_millis: [u64; 2],
    /// The longest silence before a failure, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub idle_millis: u64,
    /// The least that a link on the way takes, where an ICMP error said so, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Who sent the last ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_by: Option<IpAddr>,
    /// Hops that were left to the last RST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops_left: Option<u8>,
    /// From an attempt, or a question, to its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Spread>,
    /// From data to its acknowledgment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trips: Option<Spread>,
}

/// A packet that shows a symptom: its headers, no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePacket {
    /// Whose: a place in [`Symptoms::pairs`].
    pub pair: u16,
    /// What it shows.
    pub symptom: Symptom,
    /// When it was seen, in nanoseconds since the Unix epoch, by the node's clock.
    pub at: i64,
    /// Its link type's number in a file.
    pub link_type: u16,
    /// Its length on the wire.
    pub length: u32,
    /// Its first bytes, in hexadecimal.
    pub headers: String,
}

/// What found no room in a line of this second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlisted {
    /// Pairs that are not told of one by one.
    pub pairs: u64,
    /// Their packets.
    pub packets: u64,
    /// What of theirs has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// What of theirs was felt without having failed, as delays.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub felt: u64,
    /// Cases of theirs, or of pairs that are told of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cases: u64,
    /// Packets that no pair had room for at all.
    pub no_room: u64,
    /// Connections that were forgotten before they were over.
    pub evicted: u64,
}

/// What was seen and not judged in this second, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotJudged {
    /// Its interface had only just begun to be watched.
    pub first_seconds: u64,
    /// Attempts and questions to DNS, each once on its node, of which the other direction is seen nowhere.
    pub one_direction: u64,
    /// Packets were lost or left out around then, or the clock that stamps them was set.
    pub dropped: u64,
    /// Watching ended before it was decided.
    pub undecided: u64,
}

/// What an agent has watched in one second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptoms {
    /// Of the packets that a capture takes; otherwise of those that are only watched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captured: bool,
    /// When the second ended, by the agent's clock.
    pub at: UnixMillis,
    /// How long it was, in milliseconds.
    pub millis: u64,
    /// What is watched.
    pub interfaces: Vec<WatchedInterface>,
    /// Connections that are followed now.
    pub connections: u64,
    /// What all pairs amount to, also those that are not told of one by one. What several interfaces of the node have
    /// shown counts once, but for packets and bytes.
    #[serde(default)]
    pub sums: Sums,
    /// Pairs of ends, at most [`MOST_PAIRS`].
    pub pairs: Vec<WatchedPair>,
    /// Packets of these, at most [`MOST_SAMPLES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SamplePacket>,
    /// What connections and questions have shown one by one, at most [`crate::MOST_CASES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<Case>,
    /// What is not among the pairs.
    #[serde(default)]
    pub unlisted: Unlisted,
    /// What was not judged.
    #[serde(default)]
    pub not_judged: NotJudged,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn are_zero(counts: &[u64; 2]) -> bool {
    *counts == [0, 0]
}
