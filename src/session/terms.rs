//! What a session begins with: the one value that all of it follows from.
//!
//! Owns every setting that a session goes by, and their form as the first line of a recording. Nothing of it changes
//! while the session runs. Pure.

use std::{path::PathBuf, time::Duration};

use nodewatch_ports::PortSet;
use nodewatch_protocol::Freeze;
use serde::{Deserialize, Serialize};

use super::{Permission, delivery::StorageInfo};
use crate::model::{AgentImage, LogsSettings, Place, S3Url, SessionId, Sides};

/// How long agents go on without a heartbeat, unless the user says otherwise.
pub const LEASE: Duration = Duration::from_secs(600);

/// What a session begins with.
#[allow(clippy::struct_excessive_bools, reason = "each is an option of the command line, and any may go with any")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Its id.
    pub id: SessionId,
    /// Who began it, as `user@host`; empty in recordings of earlier versions.
    #[serde(default)]
    pub owner: String,
    /// Where the nodes are.
    pub place: Place,
    /// How long agents may run, unless the end is moved.
    pub budget: Duration,
    /// How long agents go on without hearing from this program.
    pub lease: Duration,
    /// Whether the cluster may be changed.
    pub permission: Permission,
    /// The namespace for agents, where it is not the session's own.
    pub namespace: Option<String>,
    /// Nothing was deployed with this program before: a line says what to begin with.
    pub first_run: bool,
    /// The image that agents are deployed from, unless the user names another one.
    #[serde(default)]
    pub image: AgentImage,
    /// Agents look at the nodes' processes.
    pub processes: bool,
    /// Nodes that join while no laptop is attached are to get an agent too.
    pub daemonset: bool,
    /// Ports that are left out of lists and reports.
    #[serde(with = "as_text")]
    pub exclude: PortSet,
    /// Ports that should be open, beside those that the API says.
    #[serde(with = "as_text")]
    pub expect: PortSet,
    /// Where captures go beside this laptop.
    pub storage: Option<StorageInfo>,
    /// What there is to know of S3 beside that.
    #[serde(flatten)]
    pub s3: S3Terms,
    /// Where reports and metrics go.
    #[serde(flatten)]
    pub sinks: SinkTerms,
    /// The size of the ring on a node in bytes, where the user has set it.
    pub ring_bytes: Option<u64>,
    /// How much a freeze saves.
    pub freeze: Freeze,
    /// What becomes of capture files that S3 does not take.
    #[serde(flatten)]
    pub files: FileTerms,
    /// How the viewer shows what several nodes capture.
    #[serde(default)]
    pub sides: Sides,
}

/// What there is to know of S3 beside where captures go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Terms {
    /// Where captures of the session went before.
    #[serde(default)]
    pub earlier_places: Vec<S3Url>,
    /// Options that say how S3 is reached, for commands that are printed.
    pub storage_options: Vec<String>,
}

/// Where what is known goes beside the screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkTerms {
    /// Where reports go, when they go to CloudWatch Logs.
    pub reports: Option<LogsSettings>,
    /// How often metrics go to an OpenTelemetry collector, where they do.
    #[serde(default)]
    pub metrics: Option<Duration>,
}

/// What becomes of capture files that S3 does not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTerms {
    /// Where on this machine they stay when they are not fetched; `None` where agents keep them.
    pub ring_folder: Option<PathBuf>,
    /// They are not fetched at the end: they go another way.
    pub keep_files: bool,
    /// They come here as soon as they are closed, where no sink takes them.
    pub bring_home: bool,
}

impl Terms {
    /// Those of a session for which the user has set nothing.
    pub fn new(place: Place, id: SessionId, budget: Duration) -> Self {
        Self {
            id,
            owner: String::new(),
            place,
            budget,
            lease: LEASE,
            permission: Permission::Free,
            namespace: None,
            first_run: false,
            image: AgentImage::default(),
            processes: false,
            daemonset: false,
            exclude: PortSet::default(),
            expect: PortSet::default(),
            storage: None,
            s3: S3Terms::default(),
            sinks: SinkTerms::default(),
            ring_bytes: None,
            freeze: Freeze::default(),
            files: FileTerms::default(),
            sides: Sides::Ask,
        }
    }
}

/// As users write it.
mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
