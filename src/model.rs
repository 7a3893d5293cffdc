//! Plain facts that the layers share.
//!
//! Owns names for things: nodes, sessions, progress, notices. Imports nothing of ours but the protocol's types, and
//! does nothing.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use nodewatch_protocol::{Hello, Update};
use serde::Serialize;

/// A node's name as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// A session's id: eight lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// The id with that number.
    pub fn new(number: u32) -> Self {
        Self(format!("{number:08x}"))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where the nodes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This machine is the only node.
    Local,
    /// A Kubernetes cluster.
    Cluster {
        /// The kubeconfig's context.
        context: String,
        /// What runs it, where its address tells: `eks`.
        flavour: Option<&'static str>,
    },
}

/// A node's Ready condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Readiness {
    /// Ready.
    Ready,
    /// Not ready.
    NotReady,
    /// The node has not reported for a while.
    Unknown,
}

impl Readiness {
    /// The word that kubectl uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Unknown => "Unknown",
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its Ready condition.
    pub readiness: Readiness,
    /// Closed for scheduling.
    pub cordoned: bool,
    /// Availability zone.
    pub zone: Option<String>,
    /// Instance type.
    pub instance_type: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The kubelet's version.
    pub version: Option<String>,
}

/// What a watch of the nodes says.
#[derive(Debug, Clone)]
pub enum NodesChange {
    /// These are all nodes.
    Replaced(Vec<Node>),
    /// A node is new or has changed.
    Applied(Node),
    /// A node has gone.
    Gone(NodeName),
    /// The list cannot be had; the watch goes on trying.
    Failed(Notice),
}

/// How a deployment to one node goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployProgress {
    /// On the way; what is being waited for.
    Step(String),
    /// The agent's container runs.
    Running,
    /// It does not come up; it may still, if the reason goes away.
    Failed(Notice),
    /// It ran, and has ended or been removed by somebody else.
    Ended(String),
}

/// What happens to the tunnel to one agent.
#[derive(Debug, Clone, PartialEq)]
pub enum TunnelChange {
    /// Both sides have said Hello.
    Up(Hello),
    /// The agent told something.
    Update(Update),
    /// It was cut, or could not be opened; the next try comes in so many milliseconds.
    Lost {
        /// Why, for people.
        reason: String,
        /// Milliseconds until the next try.
        retry_in: u64,
    },
    /// It cannot work: no further try.
    Incompatible(Notice),
}

/// A capture file on its way to the laptop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchProgress {
    /// So many bytes are here.
    Bytes(u64),
    /// The stream was cut at so many bytes and is being resumed.
    Resuming {
        /// Bytes that are here.
        have: u64,
        /// Why it was cut.
        reason: String,
    },
    /// It is here, whole and checked.
    Done {
        /// Where.
        path: PathBuf,
        /// Lower-case hexadecimal SHA-256.
        sha256: String,
    },
    /// It could not be had.
    Failed(Notice),
}

/// Something that this session has made outside this program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeObject {
    /// Its kind, as in `Job`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// For a person: what it is for, such as the node's name.
    pub purpose: String,
}

/// How the removal of one made object goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Deletion was asked for; it is still there.
    Removing(MadeObject),
    /// Seen gone.
    Gone(MadeObject),
    /// Still there, and why.
    Failed(MadeObject, String),
    /// Every object has been tried.
    Finished,
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is missing or late.
    Warning,
    /// Something did not work.
    Error,
}

/// Something told to the user: what happened, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How grave it is.
    pub severity: Severity,
    /// What happened, naming the thing.
    pub headline: String,
    /// Why; may be empty.
    pub cause: String,
    /// What to do; may be empty.
    pub next_step: String,
    /// What kind of failure it is, for exit codes.
    pub failure: Failure,
}

/// The kinds of failure that exit codes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Something failed, or nothing did.
    Other,
    /// The user's input names something that is no such thing.
    BadInput,
    /// A right is missing.
    NotPermitted,
}

impl Notice {
    /// An error with its cause and the way out.
    pub fn error(headline: impl Into<String>, cause: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            headline: headline.into(),
            cause: cause.into(),
            next_step: next_step.into(),
            failure: Failure::Other,
        }
    }

    /// A warning with its cause and the way out.
    pub fn warning(headline: impl Into<String>, cause: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(headline, cause, next_step) }
    }

    /// Good to know.
    pub fn info(headline: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::error(headline, "", "") }
    }

    /// The same, as another kind of failure.
    #[must_use]
    pub fn of(self, failure: Failure) -> Self {
        Self { failure, ..self }
    }

    /// All of it on one line.
    pub fn line(&self) -> String {
        let mut line = self.headline.clone();
        if !self.cause.is_empty() {
            line = format!("{line}: {}", self.cause);
        }
        if !self.next_step.is_empty() {
            line = format!("{line} ({})", self.next_step);
        }
        line
    }
}
