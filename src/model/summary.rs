//! What a session has seen and done, for its report.
//!
//! Owns the facts that outlive the session; they hold no payload and no credentials.

use std::collections::BTreeSet;

use nodewatch_answers::{Answer, Looked};
use nodewatch_ports::Flap;
use nodewatch_protocol::{Dropped, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{NodeName, PortClass, SessionId};

/// The form of [`Summary`] on disk.
pub const SUMMARY_VERSION: u32 = 1;

/// A file may be begun so little before what is told of its capture.
const BEFORE: u64 = 2_000;

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
    /// Who began it, as `user@host`; empty where nobody has said.
    #[serde(default)]
    pub by: String,
    /// When a laptop was attached, in order; in between agents went on alone.
    #[serde(default)]
    pub watched: Vec<Span>,
    /// It was left running on purpose.
    #[serde(default)]
    pub detached: bool,
    /// What it made outside this laptop, with what became of each.
    #[serde(default)]
    pub objects: Vec<ObjectSummary>,
    /// When the last of these was seen gone.
    #[serde(default)]
    pub gone_at: Option<UnixMillis>,
    /// Why connections failed, as far as that was found.
    #[serde(default)]
    pub answers: AnswersSummary,
}

/// Why connections failed, as far as that was found; times are by the laptop's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersSummary {
    /// Answers that stand, those first that hurt most.
    pub standing: Vec<Answer>,
    /// Those that are over, the latest first.
    pub over: Vec<Answer>,
    /// What was looked at.
    pub looked: Looked,
    /// What could not be seen, a sentence each.
    pub not_seen: Vec<String>,
    /// Answers that somebody has silenced, in words: how many, and of which codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

impl AnswersSummary {
    /// More than this that are over are not kept.
    const MOST: usize = 200;

    /// Packets were looked at, by this program or one before it.
    pub fn has_looked(&self) -> bool {
        self.looked.until > 0 || !self.standing.is_empty() || !self.over.is_empty()
    }

    /// Of two programs one after the other: what stood when the earlier one left is over, unless it stands again.
    #[must_use]
    pub fn joined(self, later: Self) -> Self {
        let stood = self.standing.into_iter().filter(|answer| {
            !later.standing.iter().any(|known| (known.code, &known.place) == (answer.code, &answer.place))
        });
        let stood = stood.map(|answer| Answer { until: answer.until.or(Some(answer.last)), ..answer });
        let mut over: Vec<Answer> = later.over.into_iter().chain(stood).chain(self.over).collect();
        over.truncate(Self::MOST);
        let (before, now) = (self.looked, later.looked);
        let looked = match (before.until, now.until) {
            (_, 0) => before,
            (0, _) => now,
            _ => Looked {
                since: before.since.min(now.since),
                until: before.until.max(now.until),
                nodes: before.nodes.max(now.nodes),
                taps: before.taps.max(now.taps),
                unplaced: before.unplaced.max(now.unplaced),
                several: before.several || now.several,
                attempts: before.attempts.saturating_add(now.attempts),
                one_direction: before.one_direction.saturating_add(now.one_direction),
                dns_unanswered: before.dns_unanswered.saturating_add(now.dns_unanswered),
                failed: before.failed.saturating_add(now.failed),
                delayed: before.delayed.saturating_add(now.delayed),
                unexplained: now.unexplained,
                left_out: before.left_out.saturating_add(now.left_out),
            },
        };
        let withheld: BTreeSet<String> = self.withheld.into_iter().chain(later.withheld).collect();
        let withheld = (!withheld.is_empty()).then(|| withheld.into_iter().collect::<Vec<_>>().join("; "));
        Self { standing: later.standing, over, looked, not_seen: later.not_seen, withheld }
    }
}

impl Summary {
    /// Of a session in which nothing has happened.
    pub fn new(session: SessionId, place: String) -> Self {
        Self {
            version: SUMMARY_VERSION,
            session,
            place,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            began: None,
            ends: None,
            written: 0,
            timeline: Vec::new(),
            nodes: Vec::new(),
            receipt: Vec::new(),
            by: String::new(),
            watched: Vec::new(),
            detached: false,
            objects: Vec::new(),
            gone_at: None,
            answers: AnswersSummary::default(),
        }
    }
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning.
    pub from: UnixMillis,
    /// Its end; `None` while it goes on.
    pub until: Option<UnixMillis>,
}

/// Something that the session made outside this laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSummary {
    /// As people call it.
    pub name: String,
    /// It is an object in the cluster, and no captures in S3 or reports in CloudWatch.
    pub in_cluster: bool,
    /// What has become of it.
    pub fate: ObjectFate,
    /// More about that, as why it is still there; may be empty.
    pub why: String,
}

/// What has become of something that the session made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectFate {
    /// Seen gone.
    Gone,
    /// Left on purpose.
    Kept,
    /// It may still be there.
    Left,
}

impl ObjectFate {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Kept => "kept",
            Self::Left => "left",
        }
    }
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
    /// Listeners that closed and opened again and again. These are not among `changes`.
    #[serde(default)]
    pub flaps: Vec<Flap>,
    /// Sockets of clients that came and went, which are not among `changes` either.
    #[serde(default)]
    pub clients: u64,
    /// When its agent could not be reached.
    #[serde(default)]
    pub outages: Vec<Span>,
    /// What was captured there, oldest first.
    #[serde(default)]
    pub captures: Vec<CaptureRun>,
    /// Ports of it that were tried from other nodes.
    #[serde(default)]
    pub probes: Vec<ProbeSummary>,
    /// What is not known of it, and why.
    #[serde(default)]
    pub gaps: Vec<String>,
    /// Accept queues that were full.
    #[serde(default)]
    pub full_queues: Vec<FullQueue>,
    /// The name of its agent's ring; empty where nobody has said.
    #[serde(default)]
    pub ring: String,
}

impl NodeSummary {
    /// Of a node of which nothing is known.
    pub fn named(name: NodeName) -> Self {
        Self {
            name,
            facts: String::new(),
            agent: String::new(),
            ports: Vec::new(),
            changes: Vec::new(),
            rates: Vec::new(),
            capture: None,
            files: Vec::new(),
            flaps: Vec::new(),
            clients: 0,
            outages: Vec::new(),
            captures: Vec::new(),
            probes: Vec::new(),
            gaps: Vec::new(),
            full_queues: Vec::new(),
            ring: String::new(),
        }
    }
}

impl NodeSummary {
    /// The capture that a file is of: the one that it names, and of files of earlier versions the last that had begun.
    pub fn run_of(&self, file: &FileSummary) -> Option<&CaptureRun> {
        if file.since > 0 {
            return self.captures.iter().find(|run| run.since == file.since);
        }
        let begun = self.captures.iter().filter(|run| run.since <= file.started.saturating_add(BEFORE));
        begun.max_by_key(|run| run.since)
    }
}

/// A capture from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRun {
    /// When it began by the node's own clock, as its files have it.
    pub since: UnixMillis,
    /// When it began.
    pub began: UnixMillis,
    /// When it ended, if it has.
    pub ended: Option<UnixMillis>,
    /// Why it ended; empty while it runs.
    pub reason: String,
    /// Where.
    pub interfaces: Vec<String>,
    /// Its capture filter; `None` takes every packet.
    pub filter: Option<String>,
    /// What was kept of packets, and for how long, in words.
    pub content: String,
    /// What the command that captures the same has beside the nodes.
    pub options: Vec<String>,
}

impl CaptureRun {
    /// It kept its last minutes only, in memory that went with it.
    pub fn is_recorder(&self) -> bool {
        self.options.iter().any(|option| option == "--recorder")
    }
}

/// A port that was tried from another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// When.
    pub at: UnixMillis,
    /// From where.
    pub from: NodeName,
    /// Protocol, address and port.
    pub port: String,
    /// Something answered there.
    pub open: bool,
    /// What came of it.
    pub text: String,
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

impl RatePoint {
    /// Between it and the next one is a time in which nobody counted: more than it and a scan or two take.
    pub fn is_before_a_hole(&self, next: &Self) -> bool {
        next.at.saturating_sub(self.at) > self.millis.saturating_mul(2).saturating_add(3000)
    }
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
    /// When it was begun by the node's clock; 0 where that is not known.
    #[serde(default)]
    pub started: UnixMillis,
    /// When it was closed by the same.
    #[serde(default)]
    pub ended: UnixMillis,
    /// It is where it stays when the agents are gone.
    #[serde(default)]
    pub kept: bool,
    /// Its bytes there were compared with the node's by their checksum.
    #[serde(default)]
    pub checked: bool,
    /// The capture that it is of, as [`CaptureRun::since`] has it; 0 where nobody has said.
    #[serde(default)]
    pub since: UnixMillis,
    /// It was in its agent's ring, which is [`NodeSummary::ring`].
    #[serde(default)]
    pub in_ring: bool,
    /// Its place in the order of that ring's files.
    #[serde(default)]
    pub sequence: u64,
}

/// An accept queue that was full: connections were dropped before anybody accepted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullQueue {
    /// Protocol and address of the listener.
    pub port: String,
    /// How many times it became full.
    pub times: u64,
    /// When it was first seen full.
    pub first: UnixMillis,
    /// When it was last seen full.
    pub last: UnixMillis,
    /// The most that waited.
    pub waiting: u32,
    /// The backlog.
    pub limit: u32,
}

impl FullQueue {
    /// The same queue, seen by two programs one after the other.
    #[must_use]
    pub fn joined(self, later: Self) -> Self {
        Self {
            times: self.times + later.times,
            first: self.first.min(later.first),
            waiting: self.waiting.max(later.waiting),
            ..later
        }
    }
}

/// What an agent says is missing, without the word that it is: for where that stands before it anyway.
pub fn missing_of(incomplete: &str) -> String {
    let parts = incomplete.split("; ").map(|part| part.strip_prefix("incomplete: ").unwrap_or(part));
    parts.collect::<Vec<_>>().join("; ")
}
