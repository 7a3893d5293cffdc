//! Capture files as they cross the wire, where they go, and what a node remembers of them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{CaptureSpec, Dropped, FreezeCause, ReportPlan, Seconds, StopReason, UnixMillis};

/// One pcapng file in an agent's ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureFile {
    /// Its name in the ring, no path in it.
    pub name: String,
    /// Its place in the order of the ring's files: larger is later, over captures and restarts, whatever clocks say.
    #[serde(default)]
    pub sequence: u64,
    /// Bytes so far.
    pub size: u64,
    /// Packets so far.
    pub packets: u64,
    /// When it was begun.
    pub started: UnixMillis,
    /// When it was closed; 0 while it is open.
    #[serde(default)]
    pub ended: UnixMillis,
    /// Whether it still grows.
    pub state: FileState,
    /// Packets that should be in it and are not.
    #[serde(default)]
    pub dropped: Dropped,
    /// Why something else than that is missing: a gap, a torn end. Empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incomplete: String,
    /// Lower-case hexadecimal SHA-256, once it has been summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How far it is on the way to the sink.
    #[serde(default)]
    pub delivery: Delivery,
    /// A laptop has it, checked.
    #[serde(default)]
    pub fetched: bool,
    /// The capture that it is of, by when that began; 0 where nobody has said.
    #[serde(default, skip_serializing_if = "is_unsaid")]
    pub since: UnixMillis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_unsaid(since: &UnixMillis) -> bool {
    *since == 0
}

impl CaptureFile {
    /// Somebody else has it: the ring may let it go.
    pub fn is_elsewhere(&self) -> bool {
        self.fetched || self.delivery.is_proved()
    }

    /// Nothing is missing from it.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty() && self.dropped == Dropped::default()
    }
}

/// Whether a capture file still grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Being written.
    Open,
    /// Whole; only such a file is fetched.
    Closed,
}

/// How far a capture file is on its way from the node to the sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// On the node alone.
    #[default]
    Held,
    /// So many bytes of it are sent.
    Sending {
        /// Bytes.
        sent: u64,
    },
    /// The last try failed; the next one comes.
    Waiting {
        /// Why it failed.
        reason: String,
    },
    /// The sink has it and has checked it.
    Delivered {
        /// Where: the object's key.
        key: String,
        /// Bytes there.
        size: u64,
        /// The server took it and compared nothing: the ring's copy stays until a laptop has it too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unproved: bool,
    },
    /// It can never get there, and is not tried again.
    Lost {
        /// Why.
        reason: String,
    },
}

impl Delivery {
    /// The sink has it.
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered { .. })
    }

    /// Nothing more comes of it.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Lost { .. })
    }

    /// The sink has it, and has been seen to have every byte of it.
    pub fn is_proved(&self) -> bool {
        matches!(self, Self::Delivered { unproved: false, .. })
    }
}

/// Where an agent is to deliver closed capture files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// Nowhere: they stay in the ring.
    Ring,
    /// To S3 under a policy that the laptop has signed. Held in memory only.
    Grant(Grant),
    /// To S3 with the agent's own credentials.
    Own(OwnSink),
}

/// A signed POST policy: whoever has it may make objects below one prefix, up to a size, until it expires.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Where to post to.
    pub url: String,
    /// The form's fields besides the key, the checksum and the file: policy, signature, and what the policy demands.
    pub fields: BTreeMap<String, String>,
    /// What every key must begin with, ending in a slash.
    pub prefix: String,
    /// The largest object.
    pub max_bytes: u64,
    /// Seconds until it expires, from when it was sent.
    pub valid_seconds: Seconds,
    /// Files are compressed on their way.
    pub zstd: bool,
    /// What the laptop has found out about the server.
    #[serde(default, skip_serializing_if = "ServerFacts::is_usual")]
    pub server: ServerFacts,
}

/// What a laptop has found out about an S3 server, for those who send to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// It took an object whose checksum was another's: that it has a file proves nothing.
    #[serde(default)]
    pub unchecked: bool,
    /// Authorities, in PEM, that vouch for it beside the public ones. No secret.
    #[serde(default)]
    pub authorities: Option<String>,
}

impl ServerFacts {
    /// Nothing about it is out of the ordinary.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for Grant {
    /// Without the fields: these are the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}{} for {} s)", self.url, self.prefix, self.valid_seconds)
    }
}

/// A bucket that the agent has credentials for by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnSink {
    /// The bucket.
    pub bucket: String,
    /// What every key must begin with, ending in a slash.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// Another server than AWS's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket goes into the path, not into the host name.
    #[serde(default)]
    pub path_style: bool,
    /// What becomes of files there.
    #[serde(flatten)]
    pub form: ObjectForm,
    /// What the laptop has found out about the server.
    #[serde(default, skip_serializing_if = "ServerFacts::is_usual")]
    pub server: ServerFacts,
}

/// What files become in S3, as the user says it and as agents are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectForm {
    /// The KMS key that objects are encrypted with.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// The storage class.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Agents compress files on their way.
    #[serde(default)]
    pub zstd: bool,
}

/// How the ring and its delivery stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingState {
    /// Bytes of all files in the ring.
    pub used: u64,
    /// What they may take: the capture's bound, or less where the volume is short.
    pub limit: u64,
    /// Files and bytes that are closed and not delivered.
    pub queued: Amount,
    /// What was delivered since the ring began.
    pub delivered: Amount,
    /// What was thrown away before it was delivered, since the ring began.
    pub discarded: Amount,
    /// What could not be delivered for good, since the ring began.
    #[serde(default)]
    pub lost: Amount,
    /// Tries that failed, since the agent began.
    pub retries: u64,
    /// Where files go.
    pub sink: SinkState,
}

/// A number of files with their bytes and packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Packets in them.
    pub packets: u64,
}

impl Amount {
    /// Adds one file.
    pub fn add(&mut self, file: &CaptureFile) {
        self.files += 1;
        self.bytes += file.size;
        self.packets += file.packets;
    }
}

/// Whether an agent can deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It was not told where to.
    #[default]
    Ring,
    /// By grant, for so many seconds yet; 0 is expired, and the ring holds the files.
    Grant {
        /// Seconds left.
        left_seconds: u64,
    },
    /// With its own credentials.
    Own,
}

/// What a node's [`RingList`] is called, in the ring and in S3.
pub const MANIFEST: &str = "manifest.json";

/// What the manifest of one ring is called in S3, where the rings of a node share a folder. Agents of earlier versions
/// called it [`MANIFEST`].
pub fn manifest_name(ring: &str) -> String {
    format!("manifest-{ring}.json")
}

/// Whether an object of that name is a manifest of some ring.
pub fn is_manifest(name: &str) -> bool {
    let ring = name.strip_prefix("manifest").and_then(|rest| rest.strip_suffix(".json"));
    ring.is_some_and(|ring| ring.is_empty() || ring.starts_with('-'))
}

/// What a node remembers of its captures: the ring's own list, and, as `manifest.json`, what goes along with the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingList {
    /// The node's name.
    pub node: String,
    /// The ring's own name, made by chance when its folder was new: another ring of the node has another.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ring: String,
    /// What [`CaptureFile::sequence`] the next file gets.
    #[serde(default)]
    pub next_sequence: u64,
    /// The boot of the node that the [`BootSpan`]s are of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    /// Captures, oldest first.
    pub captures: Vec<CaptureRecord>,
    /// Files, oldest first; those that were delivered or thrown away stay listed.
    pub files: Vec<FileRecord>,
    /// By capture: the last of its files with packets that is listed no more, by [`CaptureFile::sequence`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forgotten: BTreeMap<UnixMillis, u64>,
    /// What was delivered.
    pub delivered: Amount,
    /// What was thrown away before it was delivered.
    pub discarded: Amount,
    /// What could not be delivered for good.
    #[serde(default)]
    pub lost: Amount,
    /// Parts of a flight recorder's time that are still to be saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<PendingFreeze>,
    /// Where files go when the agent has credentials of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<OwnSink>,
    /// What the agent reports by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportPlan>,
}

/// A part of a flight recorder's time that is to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingFreeze {
    /// Its number in this ring.
    #[serde(default)]
    pub id: u64,
    /// The capture that it is a part of, as [`FileRecord::capture`] has it.
    #[serde(default)]
    pub capture: UnixMillis,
    /// Its beginning by the node's clock, for people.
    pub from: UnixMillis,
    /// Its end by the node's clock, for people.
    pub to: UnixMillis,
    /// What counts.
    #[serde(default)]
    pub span: BootSpan,
    /// Why, where nobody has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FreezeCause>,
}

/// A span of time in milliseconds since the node was started, which goes on while it is suspended and never jumps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSpan {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: u64,
}

/// One capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRecord {
    /// When it began; what [`FileRecord::capture`] names.
    pub since: UnixMillis,
    /// The interfaces that it read.
    pub interfaces: Vec<String>,
    /// What was asked.
    pub spec: CaptureSpec,
    /// When and why it ended; `None` while it runs.
    pub ended: Option<(UnixMillis, StopReason)>,
    /// When it began by the clock that a [`BootSpan`] has.
    #[serde(default)]
    pub boot: u64,
    /// The capture that it goes on with, after the agent was stopped and started again: its `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<UnixMillis>,
}

/// One file of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file.
    #[serde(flatten)]
    pub file: CaptureFile,
    /// The capture's beginning.
    pub capture: UnixMillis,
    /// What it is to the ring.
    pub place: FilePlace,
    /// When its packets were captured; nothing where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<BootSpan>,
    /// It was saved out of a flight recorder's memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Why it was saved, where nobody had asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FreezeCause>,
    /// It is gone because somebody asked for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

/// What a file is to the ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilePlace {
    /// In it.
    #[default]
    Kept,
    /// A part of a flight recorder's memory: not delivered, and not listed for people.
    Recorder,
    /// No longer in it.
    Gone,
}
