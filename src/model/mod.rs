//! Plain facts that the layers share.
//!
//! Owns names for things: nodes, sessions, progress, notices. Imports nothing of ours but the protocol's types, and
//! does nothing.

mod bundle;
pub mod disruption;
mod image;
mod machine;
mod made;
pub mod metrics;
mod notice;
mod objects;
mod port_reports;
mod ports;
mod selector;
mod sides;
mod stand_in;
mod storage;
mod summary;
mod tail;
mod targets;
mod workloads;

pub use bundle::{BundleFiles, BundleOf, NetworkProgram};
pub use image::{AgentImage, PullPolicy, parse_image};
pub use machine::{ARCHITECTURES, Machine, NoAgent};
pub use made::Made;
pub use notice::{Failure, Notice, Severity};
pub use objects::{Group, Keep, Kind, MadeObject, Purpose, Removal, SeenObject};
pub use port_reports::{ALARM_MARK, Alarm, AlarmKind, LogsSettings, PastPort, PastQuery, PastReport};
pub use ports::{Expectation, Expectations, ListedPort, NodeExpectations, Origin, Owner, PortClass, PortKey};
pub use selector::Selector;
pub use sides::Sides;
pub use stand_in::StandIn;
pub use storage::{MAX_LISTED, ParseS3UrlError, S3Url, StorageSettings, StoredFile, StoredSummary, Way};
pub use summary::{
    AnswersSummary, CaptureRun, CaptureSummary, FileSummary, FullQueue, Moment, NodeSummary, ObjectFate, ObjectSummary,
    PortMoment, PortSummary, ProbeSummary, RatePoint, SUMMARY_VERSION, Span, Summary, missing_of,
};
pub use tail::{TailLine, TailNews};
pub use targets::{Aimed, AimedPod, MOST_ADDRESSES, MOST_TARGETS, Missing, ObjectName, Target, targets_text};
pub use workloads::{PodPlace, ServicePlaces, Workloads};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::PathBuf,
    str::FromStr,
};

use nodewatch_protocol::{Hello, UnixMillis, Update};
use serde::{Deserialize, Serialize};

/// A node's name as Kubernetes has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// The id with that number.
    pub fn new(number: u32) -> Self {
        Self(format!("{number:08x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no session's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid session ID {0:?}: expected eight hexadecimal digits, see nodewatch-tui sessions")]
pub struct ParseSessionError(String);

impl FromStr for SessionId {
    type Err = ParseSessionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if text.len() == 8 && digits { Ok(Self(text.to_owned())) } else { Err(ParseSessionError(text.to_owned())) }
    }
}

impl TryFrom<String> for SessionId {
    type Error = ParseSessionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where the nodes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// This machine is the only node.
    Local,
    /// A Kubernetes cluster.
    Cluster {
        /// The kubeconfig's context.
        context: String,
        /// What runs it, where its address tells: `eks`.
        flavour: Option<String>,
    },
}

/// A node's Ready condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its UID, where there is one: another node of the same name has another.
    #[serde(default)]
    pub uid: Option<String>,
    /// Its Ready condition.
    pub readiness: Readiness,
    /// Closed for scheduling.
    pub cordoned: bool,
    /// Availability zone.
    pub zone: Option<String>,
    /// Instance type.
    pub instance_type: Option<String>,
    /// When it joined the cluster.
    #[serde(default)]
    pub created: Option<UnixMillis>,
    /// Its addresses, those inside the cluster first.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The kubelet's version.
    pub version: Option<String>,
    /// The EC2 instance's id.
    pub instance_id: Option<String>,
    /// Where its kubelet listens.
    pub kubelet_port: Option<u16>,
    /// What decides whether an agent can run there.
    #[serde(default)]
    pub machine: Machine,
}

impl Node {
    /// Its roles, as kubectl reads them from labels.
    pub fn roles(&self) -> Vec<&str> {
        let by_name = self.labels.keys().filter_map(|name| name.strip_prefix("node-role.kubernetes.io/"));
        let by_value = self.labels.get("kubernetes.io/role").map(String::as_str);
        let roles: BTreeSet<&str> = by_name.chain(by_value).filter(|role| !role.is_empty()).collect();
        roles.into_iter().collect()
    }

    /// A node of which only the name is known.
    pub fn named(name: NodeName) -> Self {
        Self {
            name,
            uid: None,
            readiness: Readiness::Unknown,
            cordoned: false,
            zone: None,
            instance_type: None,
            created: None,
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            version: None,
            instance_id: None,
            kubelet_port: None,
            machine: Machine::default(),
        }
    }
}

/// What a watch of the nodes says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "each is on its way for a moment, and none is kept")]
pub enum NodesChange {
    /// These are all nodes.
    Replaced(Vec<Node>),
    /// A node is new or has changed.
    Applied(Node),
    /// A node has gone.
    Gone(NodeName),
    /// The list cannot be had; the watch goes on trying.
    Failed(Notice),
    /// What the cluster has to tell besides.
    Told(Notice),
}

/// How a deployment to one node goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeployProgress {
    /// On the way; what is being waited for.
    Step(String),
    /// The agent's container runs.
    Running,
    /// What its container runs from, as the node says: an image by its digest.
    Image(String),
    /// It does not come up; it may still, if the reason goes away.
    Failed(Notice),
    /// Worth knowing of the whole deployment.
    Told(Notice),
    /// It is being ended by somebody else, and has some time to close its files.
    Ending(String),
    /// It ran, and has ended or been removed by somebody else. What is told after that is another agent's.
    Ended(String),
}

/// What happens to the tunnel to one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TunnelChange {
    /// Both sides have said Hello.
    Up(Hello),
    /// The agent told something.
    Update(Update),
    /// The agent has not answered for a while; it is not cut yet.
    Silent,
    /// The agent has said something again.
    Heard,
    /// It was cut, or could not be opened; another try comes.
    Lost {
        /// Why, for people.
        reason: String,
    },
    /// It cannot work: no further try.
    Incompatible(Notice),
}

/// A capture file on its way to the laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Which cluster a session began in, so that no other one is ever cleaned up in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// The kubeconfig files that the context was read from, as absolute paths.
    pub kubeconfig: Vec<PathBuf>,
    /// The kubeconfig's context.
    pub context: String,
    /// The API server's address.
    pub server: String,
    /// SHA-256 of the certificates that the API server is trusted by, in lower-case hexadecimal; `None` where the
    /// system's own store is.
    pub ca_sha256: Option<String>,
    /// The UID of the namespace `kube-system`, which no two clusters share.
    pub kube_system_uid: String,
}

/// What is known of a session from journals and from a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// The kubeconfig's context that leads to its cluster.
    pub context: String,
    /// Who began it, as `user@host`.
    pub owner: Option<String>,
    /// When it began.
    pub began: Option<UnixMillis>,
    /// When its agents end by themselves.
    pub ends: Option<UnixMillis>,
    /// Who has to do with it.
    pub holder: Holder,
    /// What is still there of it.
    pub objects: Vec<SeenObject>,
    /// What could not be found out; empty when all is known.
    pub trouble: String,
    /// Its cluster has another address or CA than at its beginning, and nobody has said yet that this is right.
    #[serde(default)]
    pub moved: bool,
}

impl SessionSummary {
    /// How many agents it has.
    pub fn agents(&self) -> usize {
        self.objects.iter().filter(|seen| seen.object.is_agent()).count()
    }

    /// Whether agents may be there: those of a DaemonSet, and those that have lost their Job, are known by their pods only.
    pub fn may_have_agents(&self) -> bool {
        let stray = |object: &MadeObject| object.kind == Kind::Pod && object.purpose == Purpose::Unknown;
        let may_be = |object: &MadeObject| object.is_agent() || object.kind == Kind::DaemonSet || stray(object);
        self.objects.iter().any(|seen| may_be(&seen.object))
    }
}

/// What an agent has that nobody else has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its node.
    pub node: NodeName,
    /// A capture runs there.
    pub capturing: bool,
    /// It is a flight recorder, and how many seconds it keeps; they are in no file.
    #[serde(default)]
    pub recorder: Option<u64>,
    /// Capture files that are neither on a laptop nor in S3, beside the one that a running capture writes.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Who has to do with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A program that runs on this laptop now.
    Running,
    /// This laptop, which has left it running on purpose.
    Detached,
    /// This laptop, whose program has ended without cleaning up.
    Abandoned,
    /// Another laptop: there is no journal of it here.
    Elsewhere,
}

impl Holder {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Detached => "detached",
            Self::Abandoned => "leftover",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// What was looked at before anything is created, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreflightCheck {
    /// What was looked at, in a word or two.
    pub check: String,
    /// Whether it stops a session.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// How to mend it; empty when there is nothing to mend. May have several lines.
    pub fix: String,
}

impl PreflightCheck {
    /// As the reason why something was not begun.
    pub fn notice(self, headline: impl Into<String>) -> Notice {
        let failure = match self.outcome {
            Outcome::NotPermitted => Failure::NotPermitted,
            Outcome::Passed | Outcome::Unknown | Outcome::Warning | Outcome::Failed => Failure::BadInput,
        };
        Notice::error(headline, self.detail, self.fix).of(failure)
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// The server could not say, this time or at all; it is no refusal.
    Unknown,
    /// A session works, not in every respect.
    Warning,
    /// A session would fail.
    Failed,
    /// A session would be refused for want of a right.
    NotPermitted,
}

impl Outcome {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::NotPermitted => "MISSING",
        }
    }

    /// Nothing should be created.
    pub fn stops(self) -> bool {
        matches!(self, Self::Failed | Self::NotPermitted)
    }
}

/// A context of the kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRow {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Its user.
    pub user: String,
    /// It is the kubeconfig's current one.
    pub current: bool,
}
