//! Port reports in CloudWatch, as far as the layers share it: where they go, what was sent, and the alarms on them.

use nodewatch_protocol::UnixMillis;
use nodewatch_report::Stream;
use serde::{Deserialize, Serialize};

use super::{NodeName, PortKey, SessionId, Way};

/// Where reports go and how; nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsSettings {
    /// The log group, or what the groups' names begin with.
    pub group: String,
    /// A group a node instead of a stream a node.
    pub per_node: bool,
    /// Days after which a group that was made for this forgets its events.
    pub retention_days: u32,
    /// Seconds between two reports of a node.
    pub interval_seconds: u64,
    /// The metrics' dimension `cluster`.
    pub cluster: String,
    /// The region; `None` asks the environment.
    #[serde(default)]
    pub region: Option<String>,
    /// Another server than AWS's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Who sends them: this laptop, or agents with their own role.
    #[serde(default)]
    pub way: Way,
    /// Alarms are made for the session.
    #[serde(default)]
    pub alarms: bool,
    /// Who is told of an alarm: an SNS topic.
    #[serde(default)]
    pub sns_topic: Option<String>,
}

impl LogsSettings {
    /// Where a node's reports go.
    pub fn stream(&self, node: &NodeName) -> Stream {
        Stream::of_node(&self.group, self.per_node, &node.0)
    }
}

/// A report that was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastReport {
    /// When it was made.
    pub at: UnixMillis,
    /// The node.
    pub node: String,
    /// Its ports, as in `tcp 0.0.0.0:22`; with their class behind a tab where that was known.
    pub ports: Vec<String>,
    /// How many were left out.
    pub excluded: u64,
    /// How many were unexpected.
    pub unexpected: Option<u64>,
    /// Why `ports` are not all that were open; `None` where they are.
    #[serde(default)]
    pub incomplete: Option<String>,
    /// Older ones were left out, as there were too many.
    #[serde(default)]
    pub older_left_out: bool,
}

/// Which past reports are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastQuery {
    /// Of these nodes; empty is all.
    pub nodes: Vec<NodeName>,
    /// Only reports with this port.
    pub port: Option<PortKey>,
    /// From when on.
    pub since: UnixMillis,
    /// Read at most so many.
    pub limit: usize,
}

/// What an alarm is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// A node fell silent.
    Silent(NodeName),
    /// Something failed on some node.
    Errors,
    /// Some node has a port that nobody expects.
    Unexpected,
}

/// What the description of every alarm of ours begins with.
pub const ALARM_MARK: &str = "nodewatch-tui";

/// An alarm of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// Whose it is: a session's, or `None` for the cluster's own.
    pub session: Option<SessionId>,
    /// What it is about.
    pub kind: AlarmKind,
    /// Its state as CloudWatch has it: `OK`, `ALARM`, `INSUFFICIENT_DATA`.
    pub state: String,
}
