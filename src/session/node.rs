//! One node as the session knows it: its agent, ports, capture, files and history.
//!
//! Owns what an agent's updates do to that picture. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nodewatch_protocol::{
    AgentFacts, Amount, CaptureFile, CaptureSpec, CaptureState, Delivery, FileState, Port, PortChange, PortOwner,
    ReportPlan, ReportState, RingState, Statistics, StopReason, UnixMillis, Update,
};
use nodewatch_report::Schedule;

use super::{grant::GrantState, rollup::Rollup};
use crate::{
    base::text,
    model::{FetchProgress, Node, Notice, Readiness},
};

/// Seconds of rates kept for charts.
pub const HISTORY: usize = 300;
/// Events kept a node.
pub(super) const MAX_EVENTS: usize = 500;
/// Texts of failures kept a node.
const MAX_TROUBLES: usize = 50;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing is outstanding.
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
}

/// What failed on a node that nobody asked about, for the receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Each once, oldest first.
    pub texts: Vec<String>,
    /// How many more there were than are kept.
    pub more: u64,
}

impl Troubles {
    fn add(&mut self, message: &str) {
        // A scan that fails says nothing of packets, and has a counter of its own.
        if message.starts_with("ports: ") || self.texts.iter().any(|known| known == message) {
            return;
        }
        if self.texts.len() < MAX_TROUBLES {
            self.texts.push(message.to_owned());
        } else {
            self.more += 1;
        }
    }

    /// Nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// How a node's reports to CloudWatch Logs stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reporting {
    /// When its tunnel was first up.
    pub live_since: Option<UnixMillis>,
    /// When they are due.
    pub schedule: Schedule,
    /// What failed on the node since the last one.
    pub errors: u64,
    /// What the agent was told to report by itself.
    pub told: Option<ReportPlan>,
    /// How that stands.
    pub by_agent: Option<ReportState>,
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

/// What this program has asked a flight recorder to save: only that is brought home by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frozen {
    /// The place in the ring's order of the newest file before.
    pub after: Option<u64>,
    /// Bytes that may still come of it: a ring has no more, whatever an agent lists.
    pub left: u64,
}

/// Whether the whole list of files has come over the tunnel that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Coming,
    Whole,
}

/// What a node's agent is to do as soon as it can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    #[default]
    Nothing,
    /// This capture, once the hosts that its filter names are known by their addresses.
    Resolving(Box<CaptureSpec>),
    /// This capture, once the agent is live.
    Capture(Box<CaptureSpec>),
}

/// Parts of what is too large for one line, until the last one has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Coming {
    pub(super) ports: Option<BTreeSet<Port>>,
    pub(super) owners: Option<BTreeMap<Port, PortOwner>>,
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
    /// Its ports, closed ones for [`FRESH`] longer.
    pub ports: BTreeMap<Port, PortRow>,
    /// Whether the ports are known.
    pub scanned: bool,
    /// How often the agent has said something of them.
    pub ports_version: u64,
    /// Who holds them, where the agent may look.
    pub owners: Option<BTreeMap<Port, PortOwner>>,
    /// How its reports stand.
    pub reporting: Reporting,
    /// Ports that were seen to open and close, oldest first, and how many there were in all.
    pub port_changes: (VecDeque<PortChange>, u64),
    /// What of its ports the agent cannot tell, and why.
    pub port_gaps: Vec<String>,
    /// Pictures that have not come whole.
    pub(super) coming: Coming,
    /// The last picture of the ports was the first, so what changed before it is news.
    pub(super) history_is_news: bool,
    /// Its capture.
    pub capture: CaptureState,
    /// When it began, by the laptop's steady clock.
    pub capture_began: UnixMillis,
    /// What the ring had before that capture.
    pub(super) before_capture: Before,
    /// What its flight recorder was asked to save.
    pub(super) frozen: Option<Frozen>,
    /// What is outstanding.
    pub asked: Asked,
    /// What its agent is to do as soon as it can.
    pub pending: Pending,
    /// Somebody else is ending its agent, and why.
    pub(super) ending: Option<String>,
    /// Why the agent did not do what it was asked last.
    pub refusal: Option<Notice>,
    /// The capture's latest counts.
    pub statistics: Option<Box<Statistics>>,
    /// Rates, oldest first.
    pub history: VecDeque<Sample>,
    /// The whole session's rates.
    pub rates_of_session: Rollup,
    /// Files in the agent's ring, by sequence.
    pub files: Vec<CaptureFile>,
    /// Files of rings that went with earlier agents of the node.
    pub former: Vec<CaptureFile>,
    /// Files that were fetched, or are on their way, and that the ring has let go since.
    pub let_go: Vec<CaptureFile>,
    /// The parts of a long list whose end has not come yet.
    files_before: Vec<CaptureFile>,
    /// Whether the whole list has come since the tunnel is up.
    listed: Listed,
    /// How the ring and its delivery stand.
    pub ring: Option<RingState>,
    /// What earlier rings of the node had thrown away.
    discarded_before: Amount,
    /// Its right to deliver.
    pub grant: GrantState,
    /// Files on their way home or here, by name.
    pub fetches: BTreeMap<String, FetchProgress>,
    /// Updates that the agent left out because this side was slow.
    pub dropped_updates: u64,
    /// Why a file did not get to S3 when that was last tried, by name.
    pub undelivered: BTreeMap<String, String>,
    /// Why its agent could not be told where to deliver.
    pub no_grant: Option<String>,
    /// What failed there.
    pub troubles: Troubles,
    /// What happened, oldest first.
    pub events: VecDeque<NodeEvent>,
}

impl NodeState {
    /// A node without an agent.
    pub fn new(node: Node) -> Self {
        Self {
            node,
            present: true,
            agent: Agent::Absent,
            facts: None,
            ports: BTreeMap::new(),
            scanned: false,
            ports_version: 0,
            owners: None,
            reporting: Reporting::default(),
            port_changes: (VecDeque::new(), 0),
            port_gaps: Vec::new(),
            coming: Coming::default(),
            history_is_news: false,
            capture: CaptureState::Idle,
            capture_began: 0,
            before_capture: Before::default(),
            frozen: None,
            asked: Asked::Nothing,
            pending: Pending::Nothing,
            ending: None,
            refusal: None,
            statistics: None,
            history: VecDeque::new(),
            rates_of_session: Rollup::default(),
            files: Vec::new(),
            former: Vec::new(),
            let_go: Vec::new(),
            files_before: Vec::new(),
            listed: Listed::Coming,
            ring: None,
            discarded_before: Amount::default(),
            grant: GrantState::Nothing,
            fetches: BTreeMap::new(),
            dropped_updates: 0,
            undelivered: BTreeMap::new(),
            no_grant: None,
            troubles: Troubles::default(),
            events: VecDeque::new(),
        }
    }

    /// Remembers that something happened.
    pub fn log(&mut self, at: UnixMillis, text: impl Into<String>) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(NodeEvent { at, text: text.into() });
    }

    /// Something is wrong with the node, its agent or its capture.
    pub fn is_faulty(&self) -> bool {
        let dropped = self.statistics.as_ref().is_some_and(|it| it.dropped != nodewatch_protocol::Dropped::default());
        let failed = matches!(&self.capture, CaptureState::Stopped { reason: StopReason::Failed { .. }, .. });
        let agent = matches!(self.agent, Agent::Lost { .. } | Agent::Failed(_) | Agent::Ended(_));
        let node = !self.present || self.node.cordoned || self.node.readiness != Readiness::Ready;
        let lost = self.lost_files().next().is_some();
        node || agent || failed || dropped || lost || self.refusal.is_some() || self.delivery_trouble().is_some()
    }

    /// Ports that are open now.
    pub fn open_ports(&self) -> impl Iterator<Item = &PortRow> {
        self.ports.values().filter(|row| row.closed.is_none())
    }

    /// Ports that opened and closed lately.
    pub fn recent_changes(&self, now: UnixMillis) -> (usize, usize) {
        let fresh = |at: UnixMillis| now.saturating_sub(at) < FRESH;
        let opened = self.open_ports().filter(|row| row.opened && fresh(row.since)).count();
        let closed = self.ports.values().filter(|row| row.closed.is_some_and(fresh)).count();
        (opened, closed)
    }

    /// A capture runs, as far as the agent has said.
    pub fn is_capturing(&self) -> bool {
        matches!(self.capture, CaptureState::Running { .. })
    }

    /// A flight recorder runs there.
    pub fn is_armed(&self) -> bool {
        let recorder = matches!(&self.capture, CaptureState::Running { spec, .. } if spec.recorder.is_some());
        self.agent.has_tunnel() && recorder
    }

    /// An agent that is there, or may come back, has a file that is not closed yet.
    pub fn is_writing(&self) -> bool {
        let open = self.is_capturing() || self.files.iter().any(|file| file.state == FileState::Open);
        open && matches!(self.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting)
    }

    /// A capture has run, and nothing is outstanding.
    pub fn capture_over(&self) -> bool {
        self.asked == Asked::Nothing && matches!(self.capture, CaptureState::Stopped { .. })
    }

    /// The last second's rates, zero when no capture runs or nobody tells.
    pub fn rates(&self) -> Sample {
        match (&self.agent, self.is_capturing()) {
            (Agent::Live, true) => self.history.back().copied().unwrap_or_default(),
            _ => Sample::default(),
        }
    }

    /// A file that its ring has let go is still on its way.
    pub fn is_receiving(&self) -> bool {
        let fetches = self.let_go.iter().filter_map(|file| self.fetches.get(&file.name));
        fetches.into_iter().any(|fetch| matches!(fetch, FetchProgress::Bytes(_) | FetchProgress::Resuming { .. }))
    }

    /// The ring's files, and those of it that are here, in no order.
    pub fn all_files(&self) -> impl Iterator<Item = &CaptureFile> {
        self.let_go.iter().chain(&self.files)
    }

    /// Closed files that are neither on the laptop nor, as far as was proved, in S3.
    pub fn unfetched(&self) -> impl Iterator<Item = &CaptureFile> {
        self.files.iter().filter(|file| {
            let here = matches!(self.fetches.get(&file.name), Some(FetchProgress::Done { .. }));
            file.state == FileState::Closed && !here && !file.delivery.is_proved()
        })
    }

    /// What was thrown away for want of room, in all rings of the node.
    pub fn discarded(&self) -> Amount {
        let now = self.ring.as_ref().map(|ring| ring.discarded).unwrap_or_default();
        let before = self.discarded_before;
        Amount {
            files: before.files + now.files,
            bytes: before.bytes + now.bytes,
            packets: before.packets + now.packets,
        }
    }

    /// Files that were in a ring that is gone and are nowhere else, nor on their way here.
    pub fn lost_files(&self) -> impl Iterator<Item = &CaptureFile> {
        self.former.iter().filter(|file| {
            let kept = matches!(
                self.fetches.get(&file.name),
                Some(FetchProgress::Done { .. } | FetchProgress::Bytes(_) | FetchProgress::Resuming { .. })
            );
            !kept && !file.delivery.is_delivered()
        })
    }

    /// Files that are on their way here although their ring is gone: what has come of them may yet be all.
    pub fn late_files(&self) -> impl Iterator<Item = &CaptureFile> {
        let coming = |file: &&CaptureFile| {
            matches!(self.fetches.get(&file.name), Some(FetchProgress::Bytes(_) | FetchProgress::Resuming { .. }))
        };
        self.former.iter().filter(coming)
    }

    /// Its agent is no more, and so are its ring and its capture.
    pub(super) fn agent_is_over(&mut self, now: UnixMillis) {
        self.former.append(&mut self.files);
        self.files_before.clear();
        self.listed = Listed::Coming;
        if let Some(ring) = self.ring.take() {
            let Amount { files, bytes, packets } = ring.discarded;
            self.discarded_before.files += files;
            self.discarded_before.bytes += bytes;
            self.discarded_before.packets += packets;
        }
        self.facts = None;
        self.ending = None;
        self.asked = Asked::Nothing;
        if let CaptureState::Running { since, .. } = self.capture {
            // In the agent's time, which may differ from this side's.
            let elapsed = self.statistics.as_ref().map_or(0, |counts| counts.elapsed);
            self.capture = CaptureState::Stopped { since, at: since + elapsed, reason: StopReason::AgentEnds };
            self.log(now, "capture ended: the agent ended");
        }
        self.history.clear();
        self.before_capture = Before::default();
        self.frozen = None;
        self.coming = Coming::default();
    }

    /// A file that is listed is in the ring that there is.
    fn take_back_former(&mut self) {
        if !self.former.is_empty() {
            let listed: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
            self.former.retain(|file| !listed.contains(file.name.as_str()));
        }
    }

    /// Forgets ports that closed too long ago.
    pub fn age(&mut self, now: UnixMillis) {
        self.ports.retain(|_, row| row.closed.is_none_or(|at| now.saturating_sub(at) < FRESH));
    }

    /// Takes in what the agent tells.
    pub fn apply(&mut self, update: Update, now: UnixMillis) {
        if matches!(update, Update::Ports(_) | Update::Owners(_) | Update::PortHistory(_)) {
            self.ports_version += 1;
        }
        match update {
            Update::Agent(facts) => {
                let before = self.facts.as_ref().map(|before| before.started);
                if before.is_some_and(|before| before != facts.started) {
                    self.log(now, "the agent restarted");
                }
                self.facts = Some(facts);
                // The first of a picture: what an earlier tunnel did not tell to the end is no part of it.
                self.files_before.clear();
                self.listed = Listed::Coming;
            }
            Update::Ports(update) => self.apply_ports(update, now),
            Update::PortHistory(changes) => self.apply_port_history(&changes, now),
            Update::Owners(owners) => self.apply_owners(owners),
            Update::PortGaps(gaps) => self.apply_port_gaps(gaps, now),
            Update::Reports(state) => self.reporting.by_agent = Some(state),
            Update::Capture(state) => self.apply_capture(state, now),
            Update::Statistics(statistics) => {
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                let window = statistics.window;
                self.rates_of_session.push(now, &window);
                self.history.push_back(Sample {
                    packets: text::per_second(window.packets, window.millis),
                    bytes: text::per_second(window.bytes, window.millis),
                });
                self.statistics = Some(statistics);
            }
            Update::FilesPart(files) => self.files_before.extend(files),
            Update::Files(files) => {
                let before = std::mem::replace(&mut self.files, std::mem::take(&mut self.files_before));
                self.files.extend(files);
                let there: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
                let gone = before.into_iter().filter(|file| !there.contains(file.name.as_str())).collect();
                self.let_go(gone);
                self.listed = Listed::Whole;
                self.take_back_former();
                self.settle_before();
                self.note_undelivered();
            }
            Update::FilesChanged { files, gone } => {
                self.change_files(files, &gone);
                self.note_undelivered();
            }
            Update::Ring(ring) => self.ring = Some(ring),
            Update::Dropped { updates } => {
                self.files_before.clear();
                self.dropped_updates += updates;
                self.reporting.errors += 1;
                self.log(now, format!("skipped {updates} updates: this terminal fell behind"));
            }
            Update::Note { message } => self.log(now, message),
            Update::Trouble { message } => {
                self.reporting.errors += 1;
                self.troubles.add(&message);
                self.log(now, message);
            }
        }
    }

    /// The reason of a delivery that failed is kept: the file may be on its way again when the session ends.
    fn note_undelivered(&mut self) {
        for file in &self.files {
            if let Delivery::Waiting { reason } | Delivery::Lost { reason } = &file.delivery
                && self.undelivered.get(&file.name) != Some(reason)
            {
                self.undelivered.insert(file.name.clone(), reason.clone());
            }
        }
    }

    /// Takes over what has changed in a long list.
    fn change_files(&mut self, changed: Vec<CaptureFile>, gone: &[u64]) {
        for file in changed {
            match self.files.binary_search_by_key(&file.sequence, |known| known.sequence) {
                Ok(at) => self.files[at] = file,
                Err(at) => self.files.insert(at, file),
            }
        }
        if !gone.is_empty() {
            let gone: BTreeSet<u64> = gone.iter().copied().collect();
            let (gone, files) =
                std::mem::take(&mut self.files).into_iter().partition(|file| gone.contains(&file.sequence));
            self.files = files;
            self.let_go(gone);
        }
    }

    /// A ring lets go what it was told is elsewhere. What is here is still to be accounted for.
    fn let_go(&mut self, gone: Vec<CaptureFile>) {
        let fetched = |file: &CaptureFile| match self.fetches.get(&file.name) {
            None | Some(FetchProgress::Failed(_)) => false,
            Some(FetchProgress::Bytes(_) | FetchProgress::Resuming { .. } | FetchProgress::Done { .. }) => true,
        };
        let fetched: Vec<CaptureFile> = gone.into_iter().filter(fetched).collect();
        self.let_go.extend(fetched);
    }

    /// With the first list after a capture was found running, by the node's own times: nothing better is known of it.
    fn settle_before(&mut self) {
        let CaptureState::Running { since, .. } = self.capture else { return };
        if self.before_capture == Before::ToBeListed {
            let older = self.files.iter().filter(|file| file.state == FileState::Closed && file.ended < since);
            self.before_capture = Before::UpTo(older.map(|file| file.sequence).max());
        }
    }

    fn apply_capture(&mut self, state: CaptureState, now: UnixMillis) {
        if state == self.capture {
            return;
        }
        // An agent that was started anew may know nothing of a capture that ended meanwhile.
        let state = match (state, &self.capture) {
            (CaptureState::Idle, &CaptureState::Running { since, .. }) => {
                let at = self.facts.as_ref().map_or(now, |facts| facts.now);
                CaptureState::Stopped { since, at, reason: StopReason::AgentEnds }
            }
            (state, _) => state,
        };
        match &state {
            CaptureState::Idle => {}
            CaptureState::Running { interfaces, spec, since } => {
                // The node's clock may show another time.
                let theirs = self.facts.as_ref().map_or(*since, |facts| facts.now);
                self.capture_began = now.saturating_sub(theirs.saturating_sub(*since));
                if !matches!(self.capture, CaptureState::Running { since: known, .. } if known == *since) {
                    self.before_capture = match self.listed {
                        Listed::Whole => Before::UpTo(self.files.iter().map(|file| file.sequence).max()),
                        Listed::Coming => Before::ToBeListed,
                    };
                    self.frozen = None;
                }
                self.history.clear();
                self.statistics = None;
                let filter = spec.filter.as_deref().unwrap_or("every packet");
                let content = spec.content.word();
                self.log(now, format!("capture started on {}: {filter}, content {content}", interfaces.join(", ")));
            }
            CaptureState::Stopped { reason, at, .. } => {
                // Perhaps a while ago, by the agent's clock, which may differ from this one.
                let theirs = self.facts.as_ref().map_or(*at, |facts| facts.now);
                // Not before anything was seen of it, whatever it says.
                let first = self.reporting.live_since.unwrap_or(now);
                let at = now.saturating_sub(theirs.saturating_sub(*at)).max(first);
                self.log(at, format!("capture ended: {}", reason_text(reason)));
            }
        }
        self.asked = Asked::Nothing;
        self.capture = state;
    }
}

/// Why a capture ended, for people.
pub fn reason_text(reason: &StopReason) -> String {
    match reason {
        StopReason::Asked => "stopped".to_owned(),
        StopReason::ByteLimit => "byte limit reached".to_owned(),
        StopReason::PacketLimit => "packet limit reached".to_owned(),
        StopReason::TimeLimit => "time limit reached".to_owned(),
        StopReason::AgentEnds => "the agent ended".to_owned(),
        StopReason::Failed { message } => format!("failed: {message}"),
    }
}
