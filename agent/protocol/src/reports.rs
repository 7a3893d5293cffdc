//! Probes of ports, and reports that an agent sends by itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{PortProtocol, Seconds};

/// A try to reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Probe {
    /// TCP is connected to; UDP is sent to, on port 53 a DNS query.
    pub protocol: PortProtocol,
    /// Where.
    pub to: SocketAddr,
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// What was tried.
    pub probe: Probe,
    /// What came of it.
    pub outcome: ProbeOutcome,
    /// Microseconds until that was known.
    pub micros: u64,
}

/// What can come of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// The connection was accepted, or an answer came.
    Reached,
    /// The other side says that nothing is there.
    Refused,
    /// Nothing came back in time: dropped on the way or, with UDP, perhaps taken without a word.
    Silent,
    /// It could not be tried.
    Failed {
        /// Why not.
        reason: String,
    },
}

impl ProbeOutcome {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Refused => "refused",
            Self::Silent => "no answer",
            Self::Failed { .. } => "not tried",
        }
    }
}

/// What an agent reports to CloudWatch Logs by itself, and where. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPlan {
    /// The log group.
    pub group: String,
    /// The log stream.
    pub stream: String,
    /// Days after which a group that the agent makes forgets its events.
    pub retention_days: u32,
    /// The region.
    pub region: String,
    /// Another server than AWS's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The dimension `cluster`.
    pub cluster: String,
    /// The dimension `hostname`: the node's name.
    pub hostname: String,
    /// The session, for the events.
    pub session: String,
    /// Seconds between two reports.
    pub interval_seconds: Seconds,
    /// Ports that are counted and not listed, as `--exclude` takes them.
    pub exclude: String,
    /// Ports that are to be there, in the same language; `None` where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// How reports stand. Every report is in exactly one of the first four counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportState {
    /// Accepted by CloudWatch Logs.
    pub sent: u64,
    /// Waiting to be sent.
    pub queued: u64,
    /// Thrown away because the queue was full.
    pub dropped: u64,
    /// Not taken by CloudWatch Logs: too old for its retention, or too large.
    pub rejected: u64,
    /// Tries that failed.
    pub retries: u64,
    /// Why the last try failed; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

impl ReportState {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            queued: self.queued + other.queued,
            dropped: self.dropped + other.dropped,
            rejected: self.rejected + other.rejected,
            retries: self.retries + other.retries,
            trouble: if self.trouble.is_empty() { other.trouble.clone() } else { self.trouble },
        }
    }
}
