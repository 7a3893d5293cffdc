//! The wire between `nodewatch-tui` and `nodewatch-agent`: types and bytes.
//!
//! Owns every type that crosses a tunnel and how one becomes a line. Must not know sockets, files, Kubernetes or
//! screens: no I/O happens here. A tunnel carries JSON lines, one value a line, at most [`MAX_LINE`] bytes; the
//! first line each way is a [`Hello`].
#![warn(missing_docs)]

mod bundle;
mod capture;
mod case;
mod expect;
mod files;
mod join;
mod line;
mod marks;
mod orders;
mod ports;
mod reports;
mod seconds;
mod signals;
mod stream;
mod sums;
mod symptom;
mod trigger;
mod watch;

pub use bundle::{BUNDLE, Bundle, BundleSection};
pub use capture::{
    CaptureSpec, CaptureState, Content, Dropped, Endpoint, Flow, Freeze, InterfaceDrops, InterfaceState, Mix, Recorder,
    SIZE_BUCKETS, Share, SpecError, Statistics, StopReason, Transport, Tunnel, Window,
};
pub use case::{Case, Finding, MOST_ANSWERED, MOST_CASES, UnknownFinding, lot};
pub use expect::{Expectation, ExpectedPorts, Origin, ParsePortKeyError, PortKey, PortRule};
pub use files::{
    Amount, BootSpan, CaptureFile, CaptureRecord, Delivery, FilePlace, FileRecord, FileState, Grant, MANIFEST,
    ObjectForm, OwnSink, PendingFreeze, RingList, RingState, ServerFacts, Sink, SinkState, is_manifest, manifest_name,
};
pub use line::{DecodeError, EncodeError, Lines, MAX_LINE, decode, encode};
pub use marks::{ENDS, SESSION_LABEL};
pub use orders::{EACH_NODE, Orders};
pub use ports::{
    AcceptQueue, Device, OwnersUpdate, ParsePortError, Port, PortChange, PortOwner, PortProtocol, PortScope, PortsKind,
    PortsUpdate,
};
pub use reports::{Probe, ProbeOutcome, Probed, ReportPlan, ReportState, Retention};
pub use seconds::Seconds;
pub use signals::{LONGEST_ITEM, MOST_SIGNALS, MissingSource, SignalSeries, SignalsUpdate};
pub use stream::StreamMark;
pub use sums::Sums;
pub use symptom::{Symptom, UnknownSymptom};
pub use trigger::{FreezeCause, FreezeOn, UnknownTrigger};
pub use watch::{
    MOST_PAIRS, MOST_SAMPLES, NotJudged, Role, SamplePacket, Service, Spread, SymptomCount, Symptoms, Unlisted,
    WatchSpec, WatchState, WatchedInterface, WatchedPair,
};

use serde::{Deserialize, Serialize};

/// The protocol's version. Both sides must speak the same one; it changes with every line that changes meaning.
///
/// In version 6 a [`ReportPlan`] has what is left out and what is expected as values, with the node, address and origin of each
/// expectation; before, both were lists of numbers in a text, by which an agent could not judge as the laptop does.
///
/// In version 8 a [`CaptureSpec`] may have addresses of pods; before, an agent would have taken its default interfaces for them.
/// And it may say when its flight recorder freezes by itself, which an agent from before would never have done. An agent that
/// is being ended says so.
pub const VERSION: u32 = 8;

/// More listeners with connections waiting are told of no more.
pub const MOST_QUEUES: usize = 100;

/// A program's version as it tells it, with the protocol that the other side must speak: `0.1.0 (agent protocol 6)`.
pub fn version_text(program: &str) -> String {
    format!("{program} (agent protocol {VERSION})")
}

/// A point in time: milliseconds since the Unix epoch, by the clock of the side that wrote it.
pub type UnixMillis = u64;

/// The first line each way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The speaker's [`VERSION`].
    pub protocol: u32,
    /// The speaker's program, `nodewatch-tui` or `nodewatch-agent`.
    pub program: String,
    /// The speaker's own version, for people.
    pub version: String,
}

impl Hello {
    /// The Hello of a program of this build.
    pub fn of(program: &str, version: &str) -> Self {
        Self { protocol: VERSION, program: program.to_owned(), version: version.to_owned() }
    }

    /// Refuses a peer that speaks another protocol version, with the way out in the error.
    pub fn check(&self) -> Result<(), VersionMismatch> {
        if self.protocol == VERSION {
            return Ok(());
        }
        Err(VersionMismatch {
            peer: self.program.clone(),
            peer_version: self.version.clone(),
            peer_protocol: self.protocol,
        })
    }
}

/// The two programs cannot talk to each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{peer} {peer_version} speaks protocol {peer_protocol}, this program speaks {VERSION}: use an agent image and a nodewatch-tui of the same release (--image)"
)]
pub struct VersionMismatch {
    /// The peer's program name.
    pub peer: String,
    /// The peer's own version.
    pub peer_version: String,
    /// The peer's protocol version.
    pub peer_protocol: u32,
}

/// One line from the TUI to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// The handshake.
    Hello(Hello),
    /// An ask, answered once by a [`FromAgent::Response`] with the same id.
    Request {
        /// Chosen by the asking side, unique within a tunnel.
        id: u64,
        /// What is asked.
        request: Request,
    },
}

/// One line from an agent to the TUI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// The handshake.
    Hello(Hello),
    /// The answer to the request of that id.
    Response {
        /// The request's id.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Something unasked. The first updates on a tunnel are the whole picture.
    Update(Update),
}

/// What the TUI asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// "I am here": a tunnel without one for [`TUNNEL_SILENCE_SECONDS`] is closed by the agent.
    Heartbeat,
    /// Begin a capture. Refused while one runs.
    StartCapture(CaptureSpec),
    /// End the running capture and close its file.
    StopCapture,
    /// Save a part of the flight recorder's time as one file.
    Freeze(Freeze),
    /// Deliver closed files there from now on.
    Sink(Sink),
    /// The laptop has a file, checked: it may go when room is needed.
    Fetched {
        /// The file's name as in [`CaptureFile::name`].
        file: String,
    },
    /// Remove a closed file from the ring, delivered or not.
    RemoveFile {
        /// The file's name as in [`CaptureFile::name`].
        file: String,
    },
    /// The SHA-256 of a closed capture file.
    Checksum {
        /// The file's name as in [`CaptureFile::name`].
        file: String,
    },
    /// Try to reach a port from the agent's node.
    Probe(Probe),
    /// Report open ports to CloudWatch Logs from now on, with the agent's own credentials; `None` ends it.
    Report(Option<Box<ReportPlan>>),
    /// Watch packets from now on, instead of what is watched; `None` ends it.
    Watch(Option<WatchSpec>),
    /// From now on the agent may go on for so long. Every request renews the lease.
    Terms(Terms),
    /// The tunnel is about to be closed on purpose; nothing else changes.
    Goodbye,
}

/// How long an agent may go on. Lengths of time, as the two sides' clocks may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Seconds until the session's deadline.
    pub left_seconds: Seconds,
    /// Seconds without a request after which the agent ends before its deadline; `None` while the session is
    /// detached.
    pub lease_seconds: Option<Seconds>,
}

/// How often the TUI sends [`Request::Heartbeat`].
pub const HEARTBEAT_SECONDS: u64 = 5;
/// After how long without a line from the TUI an agent closes a tunnel.
pub const TUNNEL_SILENCE_SECONDS: u64 = 30;

/// An agent's answer to one [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done, and there is nothing to tell.
    Done,
    /// The checksum asked for.
    Checksum {
        /// The file it belongs to.
        file: String,
        /// Bytes that were summed.
        size: u64,
        /// Lower-case hexadecimal SHA-256.
        sha256: String,
    },
    /// What came of a probe.
    Probed(Probed),
    /// It could not be done; nothing changed.
    Refused(Refusal),
}

/// Why an agent did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of failure.
    pub kind: RefusalKind,
    /// What went wrong, naming the offending token.
    pub message: String,
    /// What to do about it.
    pub next_step: String,
}

/// The kinds of [`Refusal`] that a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The ask itself is wrong: a filter that does not compile, an interface that does not exist.
    Invalid,
    /// The agent lacks a right.
    NotPermitted,
    /// Not now: already running, or nothing to stop.
    State,
    /// The node failed: disk, kernel.
    Failed,
}

/// What an agent tells unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// Facts about the agent and its node; first on every tunnel.
    Agent(AgentFacts),
    /// Open ports: the whole picture, then changes.
    Ports(PortsUpdate),
    /// What opened and closed before this tunnel did, oldest first; bounded, and only part of a whole picture.
    PortHistory(Vec<PortChange>),
    /// Which process holds which port, whenever that changes; only from an agent that may look.
    Owners(OwnersUpdate),
    /// TCP listeners with connections that wait to be accepted, whenever that changes: the fullest, and no more than
    /// [`MOST_QUEUES`] of them.
    Queues(Vec<AcceptQueue>),
    /// What of the ports cannot be told, and why, whenever that changes; before the ports in a whole picture.
    PortGaps(Vec<String>),
    /// How the agent's own reports stand, whenever that changes.
    Reports(ReportState),
    /// The capture's state, whenever it changes.
    Capture(CaptureState),
    /// Once a second while a capture runs, and once after its end.
    Statistics(Box<Statistics>),
    /// How watching stands, whenever that changes.
    Watch(WatchState),
    /// What went between whom: once a second while packets are watched or captured, a line of those that are watched and
    /// one of those that are captured.
    Symptoms(Box<Symptoms>),
    /// The flight recorder has frozen by itself.
    Froze(Froze),
    /// Somebody ends the agent, who may or may not be this tunnel's other end: it closes its files, delivers what a sink
    /// takes, and waits a little to be fetched from.
    Ending,
    /// The kernel's signals: the whole picture, then once a second what has moved.
    Signals(SignalsUpdate),
    /// The first part of the list of capture files, where it is too long for one line; [`Update::Files`] is its end.
    FilesPart(Vec<CaptureFile>),
    /// All capture files in the ring, by sequence, together with the parts just before this line.
    Files(Vec<CaptureFile>),
    /// What has changed in a long list since it was told.
    FilesChanged {
        /// New files, and those that are no longer as they were told.
        files: Vec<CaptureFile>,
        /// The sequence numbers of those that went.
        gone: Vec<u64>,
    },
    /// How the ring and its delivery stand, whenever that changes.
    Ring(RingState),
    /// This tunnel's reader was too slow: so many updates were left out since the last line; the troubles among them and
    /// the whole picture follow.
    Dropped {
        /// Updates left out.
        updates: u64,
    },
    /// Something on the node failed that nobody asked about, such as a scan.
    Trouble {
        /// What failed, for people.
        message: String,
    },
    /// Something that is worth knowing and no failure, such as how a capture filters its packets.
    Note {
        /// What, for people.
        message: String,
    },
}

/// What a flight recorder saves without having been asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Froze {
    /// Why, for people.
    pub message: String,
    /// What is saved, and why.
    pub freeze: Freeze,
}

/// What an agent knows about itself and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The node's own host name.
    pub hostname: String,
    /// When this agent process began.
    pub started: UnixMillis,
    /// The agent's clock now.
    pub now: UnixMillis,
    /// Every network interface, by index.
    pub interfaces: Vec<Interface>,
    /// Names of the interfaces that a capture takes when none is named.
    pub default_interfaces: Vec<String>,
    /// Whether capture is possible.
    pub capture: CaptureAbility,
    /// The name of its ring, as [`RingList::ring`] has it: an agent with another one has none of the files of before.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ring: String,
}

impl AgentFacts {
    /// The node's own addresses: those of its interfaces that are up, but for loopback. What kube-proxy keeps at an interface
    /// that is down, for IPVS, are addresses of services.
    pub fn own_addresses(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        let own = self.interfaces.iter().filter(|interface| interface.up && !interface.loopback);
        own.flat_map(|interface| interface.addresses.iter().copied())
    }
}

/// One network interface of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Kernel name, such as `eth0`.
    pub name: String,
    /// Addresses it holds.
    pub addresses: Vec<std::net::IpAddr>,
    /// Administratively up.
    pub up: bool,
    /// A loopback interface.
    pub loopback: bool,
}

/// Whether an agent can capture packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureAbility {
    /// It can.
    Ready,
    /// It lacks a right.
    Missing {
        /// The right, as in `CAP_NET_RAW`.
        right: String,
        /// How to grant it.
        next_step: String,
    },
}
