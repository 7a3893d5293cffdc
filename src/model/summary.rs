//! What a session has seen and done, for its report.
//!
//! Owns the facts that outlive the session; they hold no payload and no credentials.

use nodewatch_protocol::{Dropped, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{NodeName, PortClass, SessionId};

/// The form of [`Summary`] on disk.
pub const SUMMARY_VERSION: u32 = 1;

/// A session as its report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SUMMARY_VERSION`].
    pub version: u32,
    /// Its id.
    pub session: SessionId,
    /// Where it ran.
    pub place: String,
    /// The program's version.
    pub program: String,
    /// When the first deployment was asked for.
    pub began: Option<UnixMillis>,
    /// When its agents end by themselves.
    pub ends: Option<UnixMillis>,
    /// When this was written down.
    pub written: UnixMillis,
    /// What happened, oldest first.
    pub timeline: Vec<Moment>,
    /// Every node that had an agent.
    pub nodes: Vec<NodeSummary>,
    /// What was fetched, delivered, removed, kept and left, a line each; empty while the session goes on.
    pub receipt: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, by the laptop's clock.
    pub at: UnixMillis,
    /// On which node, if on one.
    pub node: Option<NodeName>,
    /// What.
    pub text: String,
}

/// A node as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Its name.
    pub name: NodeName,
    /// Status, zone and instance type, in words.
    pub facts: String,
    /// How its agent stood at the end.
    pub agent: String,
    /// Its open ports.
    pub ports: Vec<PortSummary>,
    /// Ports that opened and closed while it was watched.
    pub changes: Vec<PortMoment>,
    /// Packets and bytes over time; empty when nothing was captured.
    pub rates: Vec<RatePoint>,
    /// What the last capture has counted and dropped.
    pub capture: Option<CaptureSummary>,
    /// Its capture files.
    pub files: Vec<FileSummary>,
}

/// A port as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSummary {
    /// Protocol and address.
    pub port: String,
    /// Its class, where that is known.
    #[serde(default)]
    pub class: PortClass,
    /// Why it should be there, and who holds it.
    pub why: String,
}

/// A port that opened or closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMoment {
    /// When.
    pub at: UnixMillis,
    /// It opened.
    pub opened: bool,
    /// Protocol and address.
    pub port: String,
}

/// What was captured in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatePoint {
    /// From when on.
    pub at: UnixMillis,
    /// In so many milliseconds.
    pub millis: u64,
    /// So many packets.
    pub packets: u64,
    /// Of so many bytes.
    pub bytes: u64,
}

/// A capture as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSummary {
    /// Filter, interfaces, content, or why it ended.
    pub what: String,
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Packets dropped, by who dropped them.
    pub dropped: Dropped,
    /// Protocols with their bytes, the most first.
    pub mix: Vec<(String, u64)>,
}

/// A capture file as the report tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSummary {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its packets.
    pub packets: u64,
    /// Packets dropped meanwhile.
    pub dropped: Dropped,
    /// Where it is: on the laptop, in S3, on the node, gone.
    pub place: String,
    /// Lower-case hexadecimal SHA-256, where it is known.
    pub sha256: Option<String>,
    /// What is missing from it; empty when nothing is.
    pub incomplete: String,
}
