//! What a journal's lines say.
//!
//! Owns the form of a line, which later versions of the program must still read.

use std::{collections::BTreeSet, path::PathBuf};

use nodewatch_protocol::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterIdentity, Made, Moment, SessionId};

/// What a session begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The session.
    pub session: SessionId,
    /// Who began it, as `user@host`.
    pub owner: String,
    /// When.
    pub began: UnixMillis,
    /// When its agents end by themselves, unless a later entry says otherwise.
    pub ends: UnixMillis,
    /// Where.
    pub cluster: ClusterIdentity,
    /// The namespace of its agents.
    pub namespace: String,
    /// The namespace is the session's own, and goes with it.
    pub own_namespace: bool,
    /// How its agents are deployed; `None` in journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Box<Deployed>>,
}

/// How a session's agents are deployed, so that whoever takes it up needs no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployed {
    /// Their image.
    pub image: String,
    /// When it is pulled, in Kubernetes' word.
    pub pull_policy: Option<String>,
    /// The program that is sent into pods of a stock image.
    pub pushed: Option<Pushed>,
    /// How long they go on without a heartbeat.
    pub lease_seconds: u64,
    /// They find out who holds ports.
    pub processes: bool,
    /// What the ring on a node may take, where the user has said it.
    pub ring: Option<u64>,
    /// A service account that existed before the session.
    pub service_account: Option<String>,
    /// The role that they assume.
    pub role: Option<String>,
    /// A Job removes the namespace at the session's end.
    pub reaper: bool,
    /// Nodes that join while nobody is attached get one.
    pub daemonset: bool,
}

/// A program that is sent into pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pushed {
    /// Where it was on the laptop.
    pub program: PathBuf,
    /// Its lower-case hexadecimal SHA-256.
    pub sha256: String,
    /// The pods run as uid 0.
    pub as_root: bool,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first line.
    Began(Header),
    /// About to be created. Without a later line it may exist or not.
    Making(Made),
    /// Created, with its UID.
    Made(Made),
    /// Seen gone.
    Gone(Made),
    /// What was in the session's own namespace before anything of the session: `ConfigMap/NAME`.
    Before(BTreeSet<String>),
    /// The session's cluster has another address or CA now, and the user has said that this is right.
    Moved(ClusterIdentity),
    /// The budget was changed.
    Ends(UnixMillis),
    /// Agents are deployed from that image from now on.
    Image(String),
    /// What was done on nodes.
    Did(Vec<Moment>),
    /// Left running on purpose.
    Detached,
    /// Taken up again.
    Attached,
    /// What became of it, as JSON.
    Receipt(serde_json::Value),
}

impl Entry {
    /// For people; `None` for what is bookkeeping.
    pub(super) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Began(header) => format!("started by {} in context {}", header.owner, header.cluster.context),
            Self::Making(Made::Captures { captures }) => format!("captures go to {}", captures.url),
            Self::Making(Made::Reports { reports }) => format!("reports go to log group {}", reports.group),
            Self::Making(Made::Alarms { alarms }) => format!("alarms are created on log group {}", alarms.group),
            Self::Made(made) => format!("created {}", made.text()),
            Self::Gone(made) => format!("seen gone: {}", made.text()),
            Self::Ends(_) => "end moved".to_owned(),
            Self::Image(image) => format!("agents are deployed from image {image} from now on"),
            Self::Moved(cluster) => format!("cluster trusted at {}", cluster.server),
            Self::Detached => "left running on purpose".to_owned(),
            Self::Attached => "attached again".to_owned(),
            Self::Making(Made::Object(_)) | Self::Before(_) | Self::Did(_) | Self::Receipt(_) => return None,
        })
    }
}

/// A line as it is written.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: UnixMillis,
    #[serde(flatten)]
    pub(super) entry: Entry,
}
