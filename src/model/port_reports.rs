//! Port reports in CloudWatch, as far as the layers share it: where they go, what was sent, and the alarms on them.

use std::fmt;

use nodewatch_answers::{Code, Codes};
use nodewatch_protocol::{ParsePortError, Port, UnixMillis};
use nodewatch_report::Stream;
use serde::{Deserialize, Serialize};

use super::{NodeName, PortClass, PortKey, SessionId, Way};

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
    /// Codes of answers that have an alarm each, where alarms are made.
    #[serde(default)]
    pub alarm_on: Codes,
}

impl LogsSettings {
    /// Where a node's reports go.
    pub fn stream(&self, node: &NodeName) -> Stream {
        Stream::of_node(&self.group, self.per_node, &node.0)
    }
}

/// A port of a report that was read back. Displays as `tcp 0.0.0.0:22 expected`, without a class that was not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "PastPortForm")]
pub struct PastPort {
    /// The port.
    pub port: Port,
    /// What it was called.
    pub class: PortClass,
}

impl fmt::Display for PastPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.fmt(f)?;
        if self.class.is_known() { write!(f, " {}", self.class.word()) } else { Ok(()) }
    }
}

/// Recordings of earlier versions have a text, with the class behind a tab.
#[derive(Deserialize)]
#[serde(untagged)]
enum PastPortForm {
    Typed {
        port: Port,
        #[serde(default)]
        class: PortClass,
    },
    Text(PastPortText),
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PastPortText(Port, PortClass);

impl TryFrom<String> for PastPortText {
    type Error = ParsePortError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (port, class) = text.split_once('\t').unwrap_or((&text, ""));
        Ok(Self(port.parse()?, PortClass::named(class)))
    }
}

impl From<PastPortForm> for PastPort {
    fn from(form: PastPortForm) -> Self {
        let (port, class) = match form {
            PastPortForm::Typed { port, class } | PastPortForm::Text(PastPortText(port, class)) => (port, class),
        };
        Self { port, class }
    }
}

/// A report that was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastReport {
    /// When it was made.
    pub at: UnixMillis,
    /// The node.
    pub node: String,
    /// Its ports.
    pub ports: Vec<PastPort>,
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
    /// Connections fail on some node, and that is why.
    Answer(Code),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_port_is_read_also_as_recordings_of_before_have_it() {
        let port = PastPort { port: "tcp6 *:22".parse().expect("a port"), class: PortClass::Expected };
        let text = serde_json::to_string(&port).expect("JSON");
        assert_eq!(text, r#"{"port":"tcp6 *:22","class":"expected"}"#);
        for form in [text.as_str(), r#""tcp6 *:22\texpected""#] {
            assert_eq!(serde_json::from_str::<PastPort>(form).expect("read"), port, "{form}");
        }
        let old: PastPort = serde_json::from_str(r#""tcp6 *:22""#).expect("read");
        assert_eq!((port.to_string(), old.to_string()), ("tcp6 *:22 expected".to_owned(), "tcp6 *:22".to_owned()));
        assert!(serde_json::from_str::<PastPort>("\"no port\"").is_err());
    }
}
