//! One node as the session knows it: its agent, ports, capture, files and history.
//!
//! Owns what an agent's updates do to that picture. Pure.

mod capture;
mod dated;
mod files;
mod ports;
mod reporting;
mod rollup;
mod signals;
mod sums;
mod told;
mod troubles;
mod unseen;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nodewatch_ports::PortHistory;
use nodewatch_protocol::{
    AcceptQueue, AgentFacts, Amount, CaptureFile, CaptureSpec, CaptureState, FreezeCause, Froze, Port, PortChange,
    PortOwner, RingState, Statistics, StopReason, UnixMillis, Update,
};

pub(super) use self::capture::Frozen;
pub use self::{
    capture::reason_text,
    reporting::Reporting,
    signals::{NodeSignals, STEPS, SignalState},
    told::Run,
    troubles::Troubles,
};
use self::{
    files::{FileListing, Listed},
    rollup::Rollup,
    told::Told,
    watch::Seen,
};
use super::grant::GrantState;
use crate::{
    base::text,
    model::{FetchProgress, FullQueue, Node, Notice, Readiness, Severity},
};

/// Seconds of rates kept for charts.
pub const HISTORY: usize = 300;
/// Events kept a node.
pub(super) const MAX_EVENTS: usize = 500;
/// How long a port that opened or closed is pointed out, in milliseconds.
pub const FRESH: u64 = 60_000;

/// The agent on a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Agent {
    /// None was asked for.
    Absent,
    /// On its way.
    Deploying(String),
    /// Its container runs; the tunnel is being opened.
    Connecting,
    /// The tunnel is up.
    Live,
    /// The tunnel is cut and being reopened.
    Lost {
        /// Why.
        reason: String,
        /// Tries since it was last up.
        attempts: u32,
        /// When that was noticed: what is shown of it is older.
        since: UnixMillis,
    },
    /// It does not work and nothing is being tried; what was seen last remains on the screen.
    Failed(Notice),
    /// It ran and is no more, and neither is its ring.
    Ended(Notice),
}

impl Agent {
    /// One word for a column.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Absent => "-",
            Self::Deploying(_) => "deploying",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Lost { .. } => "lost",
            Self::Failed(_) => "failed",
            Self::Ended(_) => "ended",
        }
    }

    /// For sorting: the further along, the earlier.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Connecting => 1,
            Self::Deploying(_) => 2,
            Self::Lost { .. } => 3,
            Self::Failed(_) => 4,
            Self::Ended(_) => 5,
            Self::Absent => 6,
        }
    }

    /// Whether it runs, as far as anyone knows.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Connecting | Self::Live | Self::Lost { .. } | Self::Deploying(_))
    }

    /// Whether it can be asked something now. Whatever else is said of it, a tunnel that is up is the truth.
    pub fn has_tunnel(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// Whether there is none that works, so that one can be deployed.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Absent | Self::Failed(_) | Self::Ended(_))
    }

    /// Whether an agent of ours may exist there.
    pub fn is_deployed(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// A capture as the user sees it: what the agent says, or what was asked and not yet confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nothing is outstanding.
    #[default]
    Nothing,
    /// A start was asked for.
    Start,
    /// A stop was asked for.
    Stop,
}

/// One port with its short history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRow {
    /// The port.
    pub port: Port,
    /// When it was first seen.
    pub since: UnixMillis,
    /// Seen to open, not there from the beginning.
    pub opened: bool,
    /// When it closed.
    pub closed: Option<UnixMillis>,
}

/// Rates of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Packets a second.
    pub packets: u64,
    /// Bytes a second.
    pub bytes: u64,
}

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// When, by the laptop's clock.
    pub at: UnixMillis,
    /// What.
    pub text: String,
    /// How grave it is.
    pub severity: Severity,
}

/// What a ring had before the capture that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Before {
    /// The next whole list tells.
    #[default]
    ToBeListed,
    /// Files up to this place in the ring's order, if any.
    UpTo(Option<u64>),
}

/// What a node's agent is to do as soon as it can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    #[default]
    Nothing,
    /// This capture, once the hosts that its filter names are known by their addresses.
    Resolving {
        /// What.
        spec: Box<CaptureSpec>,
        /// In place of one that runs then.
        replaces: bool,
    },
    /// This capture, once the agent is live.
    Capture(Box<CaptureSpec>),
    /// This capture, in place of the one that runs, once that has ended.
    Replacing(Box<CaptureSpec>),
}

/// Parts of what is too large for one line, until the last one has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Coming {
    pub(super) ports: Option<BTreeSet<Port>>,
    pub(super) owners: Option<BTreeMap<Port, PortOwner>>,
}

/// A node's ports as its agent says them.
#[derive(Debug, Clone, Default)]
pub struct NodePorts {
    /// Open ones, and closed ones for [`FRESH`] longer.
    pub rows: BTreeMap<Port, PortRow>,
    /// Whether the ports are known.
    pub known: bool,
    /// How often the agent has said something of them.
    pub version: u64,
    /// Who holds them, where the agent may look.
    pub owners: Option<BTreeMap<Port, PortOwner>>,
    /// Ports that were seen to open and close, oldest first, and how many there were in all.
    pub changes: (VecDeque<PortChange>, u64),
    /// Connections that wait to be accepted, where there are some.
    pub queues: BTreeMap<Port, AcceptQueue>,
    /// What of them the agent cannot say, and why.
    pub gaps: Vec<String>,
    /// Pictures that have not come whole.
    pub(super) coming: Coming,
    /// The last picture was the first, so what changed before it is news.
    pub(super) history_is_news: bool,
    /// What they did over time: flaps, clients, and changes that are neither's.
    pub over_time: PortHistory,
    /// Accept queues that were full, by the laptop's steady clock.
    pub full: BTreeMap<Port, FullQueue>,
    /// What they did until then is in an earlier part of the session.
    pub(super) heard_until: UnixMillis,
}

/// What a node's capture counts.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// When it began, by the laptop's steady clock.
    pub began: UnixMillis,
    /// The latest counts.
    pub latest: Option<Box<Statistics>>,
    /// Rates, oldest first.
    pub rates: VecDeque<Sample>,
    /// The whole session's rates.
    pub of_session: Rollup,
    /// What the ring had before it.
    pub(super) before: Before,
    /// What its flight recorder was asked to save.
    pub(super) frozen: Option<Frozen>,
    /// Reasons for which it has frozen by itself, or was asked to, and when last.
    pub(super) froze_for: BTreeMap<FreezeCause, UnixMillis>,
    /// When it was asked to save something while its agent could not be reached.
    pub(super) freeze_due: Option<UnixMillis>,
}

/// Files that are in no ring any more.
#[derive(Debug, Clone, Default)]
pub struct GoneFiles {
    /// Those of rings that went with earlier agents of the node.
    pub former: Vec<CaptureFile>,
    /// Those that were fetched, or are on their way, and that the ring has let go since.
    pub let_go: Vec<CaptureFile>,
    /// What earlier rings of the node had thrown away.
    discarded: Amount,
}

/// A node's delivery to S3.
#[derive(Debug, Clone, Default)]
pub struct NodeDelivery {
    /// Its right to deliver.
    pub grant: GrantState,
    /// Why its agent could not be told where to deliver.
    pub no_grant: Option<String>,
    /// Why a file did not get to S3 when that was last tried, by name.
    pub reasons: BTreeMap<String, String>,
    /// Files that S3 had and has not any more, by name.
    pub(super) removed: BTreeSet<String>,
}

/// What has happened on a node.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// Events, oldest first.
    pub events: VecDeque<NodeEvent>,
    /// What failed there.
    pub troubles: Troubles,
    /// Updates that the agent left out because this side was slow.
    pub dropped_updates: u64,
    /// What is for the report.
    pub told: Told,
    /// The images that its agents ran from, by digest.
    pub images: BTreeSet<String>,
}

/// Where its agent comes from, and where it goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    /// Somebody else is ending it, and why.
    pub(super) ending: Option<String>,
    /// It says itself that others end it; why, as far as its node tells.
    pub(super) told_to_end: Option<String>,
    /// It was there before this program: what runs there may have been started by another one.
    pub(super) found: bool,
    /// A capture ran when an earlier program left, and nothing was heard of that agent since.
    pub(super) unseen: bool,
    /// It does not answer over a tunnel that is up.
    pub(super) silent: bool,
}

/// Everything known of one node.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// The node itself.
    pub node: Node,
    /// Still listed.
    pub present: bool,
    /// Its agent.
    pub agent: Agent,
    /// What the agent says of itself.
    pub facts: Option<AgentFacts>,
    /// Its ports.
    pub ports: NodePorts,
    /// What else its agent sees.
    pub seen: Box<Seen>,
    /// How its reports stand.
    pub reporting: Reporting,
    /// Its capture.
    pub capture: CaptureState,
    /// What that counts.
    pub counts: Counts,
    /// What is outstanding.
    pub asked: Asked,
    /// What its agent is to do as soon as it can.
    pub pending: Pending,
    /// Where its agent comes from, and where it goes.
    pub(super) fate: Fate,
    /// Why the agent did not do what it was asked last.
    pub refusal: Option<Notice>,
    /// Files in the agent's ring, by sequence.
    pub files: Vec<CaptureFile>,
    /// Files that are in no ring any more.
    pub gone: GoneFiles,
    /// How far the list of files has come.
    listing: FileListing,
    /// How the ring and its delivery stand.
    pub ring: Option<RingState>,
    /// How delivery to S3 stands.
    pub delivery: NodeDelivery,
    /// Files on their way home or here, by name.
    pub fetches: BTreeMap<String, FetchProgress>,
    /// What has happened there.
    pub log: Box<NodeLog>,
}

impl NodeState {
    /// A node without an agent.
    pub fn new(node: Node) -> Self {
        Self {
            node,
            present: true,
            agent: Agent::Absent,
            facts: None,
            ports: NodePorts::default(),
            seen: Box::default(),
            reporting: Reporting::default(),
            capture: CaptureState::Idle,
            counts: Counts::default(),
            asked: Asked::Nothing,
            pending: Pending::Nothing,
            fate: Fate::default(),
            refusal: None,
            files: Vec::new(),
            gone: GoneFiles::default(),
            listing: FileListing::default(),
            ring: None,
            delivery: NodeDelivery::default(),
            fetches: BTreeMap::new(),
            log: Box::default(),
        }
    }

    /// Something is wrong with the node, its agent or its capture.
    pub fn is_faulty(&self) -> bool {
        let dropped = self.has_dropped();
        let failed = matches!(&self.capture, CaptureState::Stopped { reason: StopReason::Failed { .. }, .. });
        let agent = matches!(self.agent, Agent::Lost { .. } | Agent::Failed(_) | Agent::Ended(_));
        let node = !self.present || self.node.cordoned || self.node.readiness != Readiness::Ready;
        let lost = self.lost_files().next().is_some();
        node || agent || failed || dropped || lost || self.refusal.is_some() || self.delivery_trouble().is_some()
    }

    /// Its tunnel is up, and the agent answers on it.
    pub fn is_live(&self) -> bool {
        self.agent == Agent::Live && !self.fate.silent
    }

    /// One word for its agent.
    pub fn agent_word(&self) -> &'static str {
        if self.agent == Agent::Live && self.fate.silent { "silent" } else { self.agent.word() }
    }

    /// Its capture lost packets.
    pub fn has_dropped(&self) -> bool {
        self.counts.latest.as_ref().is_some_and(|it| it.dropped != nodewatch_protocol::Dropped::default())
    }

    /// Its agent is no more, and so are its ring and its capture; it is `wall` on the wall's clock.
    pub(super) fn agent_is_over(&mut self, now: UnixMillis, wall: UnixMillis) {
        // What it was writing ends now, as far as anybody can know.
        for file in self.files.iter_mut().filter(|file| file.ended == 0) {
            file.ended = wall.max(file.started);
        }
        self.gone.former.append(&mut self.files);
        self.listing.parts.clear();
        self.listing.state = Listed::Coming;
        self.listing.ring.clear();
        if let Some(ring) = self.ring.take() {
            let Amount { files, bytes, packets } = ring.discarded;
            self.gone.discarded.files += files;
            self.gone.discarded.bytes += bytes;
            self.gone.discarded.packets += packets;
        }
        self.facts = None;
        (self.fate.ending, self.fate.told_to_end) = (None, None);
        self.seen.watch.agent_is_over();
        self.asked = Asked::Nothing;
        if let CaptureState::Running { since, .. } = self.capture {
            // In the agent's time, which may differ from this side's.
            let elapsed = self.counts.latest.as_ref().map_or(0, |counts| counts.elapsed);
            self.capture = CaptureState::Stopped { since, at: since + elapsed, reason: StopReason::AgentEnds };
            self.log.told.ended(now, reason_text(&StopReason::AgentEnds));
            self.note(now, "capture ended: the agent ended");
        }
        self.counts.rates.clear();
        self.counts.before = Before::default();
        self.counts.frozen = None;
        self.ports.coming = Coming::default();
        // They are of the moment, and nobody looks at them now.
        self.ports.queues.clear();
    }

    /// Why others are ending its agent just now.
    pub fn ending(&self) -> Option<&str> {
        self.fate.ending.as_deref().or(self.fate.told_to_end.as_deref())
    }

    /// Takes in what the agent tells.
    pub fn apply(&mut self, update: Update, now: UnixMillis) {
        if matches!(update, Update::Ports(_) | Update::Owners(_) | Update::PortHistory(_)) {
            self.ports.version += 1;
        }
        match update {
            Update::Agent(facts) => {
                let before = self.facts.as_ref().map(|before| before.started);
                if before.is_some_and(|before| before != facts.started) {
                    self.note(now, "the agent restarted");
                    self.fate.told_to_end = None;
                }
                self.ring_is(&facts.ring);
                self.facts = Some(facts);
                // The first of a picture: what an earlier tunnel did not tell to the end is no part of it.
                self.listing.parts.clear();
                self.listing.state = Listed::Coming;
            }
            Update::Ports(update) => self.apply_ports(update, now),
            Update::PortHistory(changes) => self.apply_port_history(&changes, now),
            Update::Owners(owners) => self.apply_owners(owners),
            Update::PortGaps(gaps) => self.apply_port_gaps(gaps, now),
            Update::Queues(queues) => self.apply_queues(queues, now),
            // What follows from it is the session's to say.
            Update::Watch(state) => self.seen.watch.state = state,
            Update::Ending => {}
            Update::Symptoms(told) => self.seen.watch.apply(*told, now),
            Update::Signals(update) => self.seen.signals.apply(update, now),
            Update::Reports(state) => self.reporting.by_agent = Some(state),
            Update::Capture(state) => self.apply_capture(state, now),
            Update::Statistics(statistics) => {
                if self.counts.rates.len() == HISTORY {
                    self.counts.rates.pop_front();
                }
                let window = statistics.window;
                self.counts.of_session.push(now, &window);
                self.counts.rates.push_back(Sample {
                    packets: text::per_second(window.packets, window.millis),
                    bytes: text::per_second(window.bytes, window.millis),
                });
                self.counts.latest = Some(statistics);
            }
            update @ (Update::FilesPart(_) | Update::Files(_) | Update::FilesChanged { .. }) => {
                self.apply_files(update);
            }
            Update::Ring(ring) => self.ring = Some(ring),
            Update::Dropped { updates } => {
                self.listing.parts.clear();
                self.log.dropped_updates += updates;
                self.reporting.errors += 1;
                self.note(now, format!("skipped {updates} updates: this terminal fell behind"));
            }
            Update::Note { message } | Update::Froze(Froze { message, .. }) => self.note(now, message),
            Update::Trouble { message } => {
                self.reporting.errors += 1;
                self.log.troubles.add(&message);
                self.note_fault(now, message);
            }
        }
    }
}
