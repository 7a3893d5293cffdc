//! The agent's state and the one task that changes it.
//!
//! Owns the ports, the running capture, the reports and the answer to every request; files are the ring's, their delivery the
//! uploader's. The task waits for nothing but what is told to it: files, names and the kernel's lists are looked at on threads
//! beside it, which tell it what they have found. Must not know how tunnels carry bytes.

mod captures;
mod facts;

use std::{net::IpAddr, sync::Arc, time::Duration};

use nodewatch_protocol::{
    AgentFacts, CaptureRecord, CaptureState, FileState, Refusal, RefusalKind, ReportPlan, ReportState, Request,
    Response, RingState, SinkState, Statistics, Update,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    capture::{CaptureEvent, own::OwnTraffic},
    error::chain,
    lifetime::Lifetime,
    ports::{Looked, Ports},
    probe,
    reports::{ReportError, Reports},
    ring::{Ring, listing::Listing},
    subscribers::{Line, Subscribers},
    unix_millis,
    upload::Uploader,
};
use captures::{Slot, Started};

/// How often ports are scanned.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// The list of files is told at most this often.
const FILES_EVERY: Duration = Duration::from_millis(250);
/// A capture has this long to close its files when the agent ends.
const GRACE: Duration = Duration::from_secs(10);
/// A laptop has this much longer to fetch what goes nowhere else: a pod's grace period is not over by then.
const FETCHED_AFTER: Duration = Duration::from_secs(10);
/// The ring's list has this long to be written when the agent ends.
const GRACE_OF_THE_LIST: Duration = Duration::from_secs(2);
/// Interfaces are looked at this often, and for every new tunnel.
const FACTS_EVERY: Duration = Duration::from_secs(10);
/// Asks that may wait for the node's disk at once.
const DISK_ASKS: usize = 64;
/// New terms are written down within so long, or it is said that they are not.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(5);

/// What the agent is told about its node.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// For capture file headers and the TUI.
    pub hostname: String,
    /// The node's own addresses, where Kubernetes has told them.
    pub addresses: Vec<IpAddr>,
    /// The node's processes may be looked at.
    pub processes: bool,
}

/// What tunnels send to the hub.
enum Command {
    Subscribe(oneshot::Sender<mpsc::Receiver<Line>>),
    Ask(Box<Request>, oneshot::Sender<Response>),
}

/// What threads beside the hub have found.
enum Found {
    Facts(Box<AgentFacts>),
    Ports(Box<Looked>),
    Capture(Box<Started>),
    Reports { number: u64, made: Box<Result<Reports, ReportError>>, reply: Option<oneshot::Sender<Response>> },
    Trouble(String),
}

/// The hub's task has ended without having been told to.
#[derive(Debug, thiserror::Error)]
#[error("the agent's main task has failed")]
pub struct HubFailed;

/// The way from any task to the hub.
#[derive(Clone)]
pub struct HubHandle {
    commands: mpsc::Sender<Command>,
    /// By when it is to have ended.
    end: Arc<watch::Sender<Option<Instant>>>,
    /// True once it has.
    over: watch::Receiver<bool>,
}

impl HubHandle {
    /// Updates from now on, the whole picture first; `None` when the hub has ended.
    pub(crate) async fn subscribe(&self) -> Option<mpsc::Receiver<Line>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Subscribe(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Asks, in the order of the calls; the answer comes in its own time. `None` when the hub has ended.
    pub(crate) async fn send(&self, request: Request) -> Option<oneshot::Receiver<Response>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ask(Box::new(request), reply)).await.ok()?;
        Some(answer)
    }

    /// The answer to a request; `None` when the hub has ended.
    pub async fn ask(&self, request: Request) -> Option<Response> {
        self.send(request).await?.await.ok()
    }

    /// The agent is to end within that time: to stop the capture, close its files and deliver what a sink takes. Told again,
    /// the end can only come nearer.
    pub fn end_within(&self, within: Duration) {
        let by = Instant::now() + within;
        self.end.send_if_modified(|end| {
            let nearer = end.is_none_or(|end| by < end);
            if nearer {
                *end = Some(by);
            }
            nearer
        });
    }

    /// Waits until the hub has ended; an error when it did so unasked.
    pub async fn over(&self) -> Result<(), HubFailed> {
        // An error is a task that is gone without a word.
        self.over.clone().wait_for(|over| *over).await.map(drop).map_err(|_| HubFailed)
    }

    /// Ends the hub: when this returns the capture is stopped, its files are closed, and what a sink takes within that
    /// time is delivered.
    pub async fn end(&self, within: Duration) {
        self.end_within(within);
        // A hub that is already gone has ended.
        let _ = self.over().await;
    }
}

/// The state of one agent.
pub struct Hub {
    node: NodeFacts,
    ring: Ring,
    ring_changes: watch::Receiver<u64>,
    /// What was told of the ring last, and when the next may be told.
    told: (RingState, Instant),
    /// How far the list of files was told.
    listing: Listing,
    uploader: Uploader,
    own: OwnTraffic,
    lifetime: Lifetime,
    facts: AgentFacts,
    /// When interfaces are looked at next; `None` while that is under way.
    facts_due: Option<Instant>,
    ports: Ports,
    reports: Option<Reports>,
    /// How reports stood when that was last told.
    told_reports: ReportState,
    /// Counts plans, so that of two the later one stands.
    plans: u64,
    capture: Slot,
    state: CaptureState,
    statistics: Option<Box<Statistics>>,
    subscribers: Subscribers,
    capture_events: (mpsc::UnboundedSender<CaptureEvent>, mpsc::UnboundedReceiver<CaptureEvent>),
    found: (mpsc::UnboundedSender<Found>, mpsc::UnboundedReceiver<Found>),
    disk: Arc<Semaphore>,
    remembering: Arc<Semaphore>,
    end: watch::Receiver<Option<Instant>>,
    /// Until when the capture may close its files, once the agent is to end.
    closed_by: Option<Instant>,
}

impl Hub {
    /// An agent with the ring's files of the process before it, whose capture it goes on with. Spawns the hub's task on
    /// the current runtime.
    pub fn spawn(node: NodeFacts, ring: Ring, lifetime: Lifetime) -> std::io::Result<HubHandle> {
        let (commands, queue) = mpsc::channel(64);
        let (end, ends) = watch::channel(None);
        let (over, is_over) = watch::channel(false);
        let hub = Self::new(node, ring, lifetime, ends)?;
        tokio::spawn(async move {
            hub.run(queue).await;
            // Who waits for it may have gone away meanwhile.
            let _ = over.send(true);
        });
        Ok(HubHandle { commands, end: Arc::new(end), over: is_over })
    }

    fn new(
        node: NodeFacts,
        ring: Ring,
        lifetime: Lifetime,
        end: watch::Receiver<Option<Instant>>,
    ) -> std::io::Result<Self> {
        let own = OwnTraffic::default();
        // What a process before this one has seen end is told to those who saw it run.
        let state = match ring.manifest().captures.last() {
            Some(CaptureRecord { since, ended: Some((at, reason)), .. }) => {
                CaptureState::Stopped { since: *since, at: *at, reason: reason.clone() }
            }
            _ => CaptureState::Idle,
        };
        Ok(Self {
            ring_changes: ring.changes(),
            told: (RingState::default(), Instant::now()),
            listing: Listing::default(),
            uploader: Uploader::start(ring.clone(), own.clone())?,
            own,
            ring,
            lifetime,
            facts: facts::read(&node, unix_millis()),
            facts_due: Some(Instant::now() + FACTS_EVERY),
            ports: Ports::new(node.processes),
            node,
            reports: None,
            told_reports: ReportState::default(),
            plans: 0,
            capture: Slot::None,
            state,
            statistics: None,
            subscribers: Subscribers::default(),
            // Unbounded, but their writers send a few events a second at most.
            capture_events: mpsc::unbounded_channel(),
            found: mpsc::unbounded_channel(),
            disk: Arc::new(Semaphore::new(DISK_ASKS)),
            remembering: Arc::new(Semaphore::new(2)),
            end,
            closed_by: None,
        })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        if let Some(interrupted) = self.ring.interrupted() {
            self.resume(interrupted);
        }
        if let Some(plan) = self.ring.manifest().reports {
            // A plan that worked before the restart works after it.
            self.report(Some(plan), None);
        }
        let mut scan = interval(SCAN_EVERY);
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = interval(FILES_EVERY);
        looked.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A change that came too soon after the last one that was told.
        let mut owed = false;
        while !self.is_over() {
            tokio::select! {
                Ok(()) = self.end.changed() => self.begin_to_end(),
                _ = looked.tick(), if self.closed_by.is_some() => {
                    self.uploader.wake();
                    owed = true;
                }
                Ok(()) = self.ring_changes.changed() => {
                    self.uploader.wake();
                    owed = true;
                }
                () = sleep_until(self.told.1), if owed => {
                    owed = false;
                    self.tell_ring();
                }
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Subscribe(reply)) => {
                        let lines = self.subscribers.add(&self.picture());
                        // A tunnel that is gone again is forgotten at the next update.
                        let _ = reply.send(lines);
                        owed = true;
                        self.look_at_interfaces();
                    }
                    Some(Command::Ask(request, reply)) => self.answer(*request, reply),
                },
                Some(event) = self.capture_events.1.recv() => self.capture_event(event),
                Some(found) = self.found.1.recv() => self.take(found),
                _ = scan.tick() => {
                    self.look_at_ports();
                    self.tell_reports();
                    self.tell_ring_state();
                    if self.facts_due.is_some_and(|due| due <= Instant::now()) {
                        self.look_at_interfaces();
                    }
                    let mut subscribers = std::mem::take(&mut self.subscribers);
                    subscribers.catch_up(|| self.picture());
                    self.subscribers = subscribers;
                }
            }
        }
        // Tunnels may be gone or not; who is there sees how it went.
        self.tell_ring();
        // What a disk that stands still does not take is found again by looking into the files.
        let _ = self.ring.remembered(GRACE_OF_THE_LIST).await;
    }

    /// The agent is to end, or to end sooner than it was told before.
    fn begin_to_end(&mut self) {
        if self.closed_by.is_none() {
            self.closed_by = Some(Instant::now() + GRACE);
            self.end_capture();
        }
    }

    /// Somebody is there to fetch what goes nowhere else.
    fn is_fetched_from(&mut self) -> bool {
        self.uploader.state() == SinkState::Ring && self.ring.has_alone() && !self.subscribers.is_empty()
    }

    /// There is nothing left to do before the end, or no time.
    fn is_over(&mut self) -> bool {
        let (Some(by), Some(closed_by)) = (*self.end.borrow(), self.closed_by) else { return false };
        let now = Instant::now();
        // Past the grace period the torn tail is cut at the next start. What is not delivered by the end stays in the ring,
        // for as long as the ring does.
        let saved = matches!(self.capture, Slot::None) && self.ring.freezes().is_empty();
        let closed = saved || now >= closed_by;
        let reported = self.reports.as_ref().is_none_or(Reports::is_idle);
        let fetched = now >= closed_by + FETCHED_AFTER || !self.is_fetched_from();
        now >= by || (closed && self.uploader.is_idle() && reported && fetched)
    }

    fn take(&mut self, found: Found) {
        match found {
            Found::Facts(facts) => {
                self.facts_due = Some(Instant::now() + FACTS_EVERY);
                let news = AgentFacts { now: self.facts.now, ..*facts };
                if news != self.facts {
                    self.facts = news;
                    self.subscribers.publish(&Update::Agent(self.facts()));
                }
            }
            Found::Ports(looked) => self.looked_at_ports(*looked),
            Found::Capture(started) => self.capture_started(*started),
            Found::Reports { number, made, reply } => self.reports_made(number, *made, reply),
            Found::Trouble(message) => self.trouble(message),
        }
    }

    /// Everything a new tunnel must know.
    fn picture(&self) -> Vec<Update> {
        let mut picture = vec![Update::Agent(self.facts())];
        picture.extend(self.ports.picture());
        picture.extend(self.reports.as_ref().and_then(Reports::state).map(Update::Reports));
        picture.push(Update::Capture(self.state.clone()));
        picture.extend(self.statistics.clone().map(Update::Statistics));
        picture.extend(Listing::picture(&self.ring));
        picture.push(Update::Ring(self.ring.state(self.uploader.state())));
        picture
    }

    fn tell_ring(&mut self) {
        self.told.1 = Instant::now() + FILES_EVERY;
        // The ring keeps what nobody is there to be told.
        if !self.subscribers.is_empty() {
            for message in self.ring.messages() {
                self.subscribers.publish(&Update::Trouble { message });
            }
        }
        for update in self.listing.news(&self.ring) {
            self.subscribers.publish(&update);
        }
        self.tell_ring_state();
    }

    fn trouble(&mut self, message: String) {
        if self.subscribers.is_empty() {
            self.ring.say(message);
        } else {
            self.subscribers.publish(&Update::Trouble { message });
        }
    }

    fn tell_ring_state(&mut self) {
        let now = self.ring.state(self.uploader.state());
        if now != self.told.0 {
            self.subscribers.publish(&Update::Ring(now.clone()));
            self.told.0 = now;
        }
    }

    fn facts(&self) -> AgentFacts {
        AgentFacts { now: unix_millis(), ..self.facts.clone() }
    }

    /// Beside the hub, unless that is under way.
    fn look_at_interfaces(&mut self) {
        if self.facts_due.take().is_none() {
            return;
        }
        let (node, started, found) = (self.node.clone(), self.facts.started, self.found.0.clone());
        tokio::task::spawn_blocking(move || {
            // The hub may have ended.
            let _ = found.send(Found::Facts(Box::new(facts::read(&node, started))));
        });
    }

    /// Beside the hub, unless a look is under way.
    fn look_at_ports(&mut self) {
        let Some(look) = self.ports.look() else {
            if self.ports.is_overdue() {
                self.trouble("the kernel does not list the node's sockets: what is shown of ports is old".to_owned());
            }
            return;
        };
        let found = self.found.0.clone();
        tokio::task::spawn_blocking(move || {
            // The hub may have ended.
            let _ = found.send(Found::Ports(Box::new(look.run())));
        });
    }

    fn looked_at_ports(&mut self, looked: Looked) {
        for update in self.ports.looked(looked) {
            if let (Update::PortGaps(gaps), Some(reports)) = (&update, &mut self.reports)
                && !gaps.is_empty()
            {
                reports.failed();
            }
            self.subscribers.publish(&update);
        }
        if let Some(reports) = &mut self.reports {
            reports.due(&self.ports);
        }
    }

    fn tell_reports(&mut self) {
        let Some(reports) = &mut self.reports else { return };
        let state = reports.state().unwrap_or_default();
        if state != self.told_reports {
            self.subscribers.publish(&Update::Reports(state.clone()));
            self.told_reports = state;
        }
    }

    /// Reports by that plan from now on, also after a restart. What is refused leaves the plan before it as it is.
    fn report(&mut self, plan: Option<ReportPlan>, reply: Option<oneshot::Sender<Response>>) {
        self.plans += 1;
        let response = match (&mut self.reports, plan) {
            (_, None) => {
                self.reports = None;
                self.ring.remember_reports(None);
                Response::Done
            }
            (Some(same), Some(plan)) if *same.plan() == plan => Response::Done,
            (Some(before), Some(plan)) if before.goes_where(&plan) => {
                before.replan(plan.clone());
                self.ring.remember_reports(Some(plan));
                Response::Done
            }
            (_, Some(plan)) => {
                let (number, http, found) = (self.plans, self.uploader.http(), self.found.0.clone());
                // Credentials are looked for on the way.
                tokio::task::spawn_blocking(move || {
                    let made = Box::new(Reports::new(plan, Some(http)));
                    // The hub may have ended.
                    let _ = found.send(Found::Reports { number, made, reply });
                });
                return;
            }
        };
        answer(reply, response);
    }

    fn reports_made(
        &mut self,
        number: u64,
        made: Result<Reports, ReportError>,
        reply: Option<oneshot::Sender<Response>>,
    ) {
        let response = match made {
            _ if number != self.plans => {
                refused(RefusalKind::State, "another plan came after this one", "look at that")
            }
            Ok(made) => {
                self.ring.remember_reports(Some(made.plan().clone()));
                self.reports = Some(made);
                Response::Done
            }
            Err(error) => not_reported(&error),
        };
        answer(reply, response);
    }

    fn answer(&mut self, request: Request, reply: oneshot::Sender<Response>) {
        self.lifetime.heard();
        let response = match request {
            Request::Heartbeat | Request::Goodbye => Response::Done,
            Request::Terms(terms) => {
                self.lifetime.set(&terms);
                self.remember_terms();
                Response::Done
            }
            Request::StartCapture(spec) => return self.start_capture(spec, reply),
            Request::StopCapture => self.stop_capture(),
            Request::Freeze(freeze) => match self.freeze(freeze) {
                Response::Done => return self.when_remembered(reply),
                refused => refused,
            },
            Request::Sink(sink) => {
                self.uploader.set(sink);
                self.tell_ring_state();
                Response::Done
            }
            Request::Fetched { file } => {
                self.ring.set_fetched(&file);
                Response::Done
            }
            Request::RemoveFile { file } => {
                let ring = self.ring.clone();
                let work = move || match ring.remove(&file) {
                    Ok(true) => Response::Done,
                    Ok(false) => no_such_file(&file),
                    Err(error) => refused(RefusalKind::Failed, chain(&error), "try again"),
                };
                return self.beside(work, reply);
            }
            Request::Checksum { file } => return self.checksum(file, reply),
            Request::Probe(probe) => {
                tokio::spawn(async move {
                    // The tunnel may be gone.
                    let _ = reply.send(Response::Probed(probe::probe(probe).await));
                });
                return;
            }
            Request::Report(plan) => return self.report(plan.map(|plan| *plan), Some(reply)),
        };
        answer(Some(reply), response);
    }

    /// What waits for the node's disk happens on a thread beside the hub.
    fn beside(&self, work: impl FnOnce() -> Response + Send + 'static, reply: oneshot::Sender<Response>) {
        let Ok(turn) = Arc::clone(&self.disk).try_acquire_owned() else {
            let message = format!("{DISK_ASKS} asks wait for the node's disk already");
            return answer(
                Some(reply),
                refused(RefusalKind::Failed, message, "look at the node's disk, and try again"),
            );
        };
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            answer(Some(reply), work());
        });
    }

    /// The new terms hold already: what fails here counts for a restarted agent only, and is said.
    fn remember_terms(&self) {
        // One writes, and one that waits for it will write what holds then.
        let Ok(turn) = Arc::clone(&self.remembering).try_acquire_owned() else { return };
        let (lifetime, found) = (self.lifetime.clone(), self.found.0.clone());
        tokio::spawn(async move {
            let written = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                lifetime.remember()
            });
            let why = match timeout(REMEMBERED_WITHIN, written).await {
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(_) => return,
                Err(_) => format!("the disk does not answer within {} s", REMEMBERED_WITHIN.as_secs()),
            };
            let message = format!("the new terms hold, but are not remembered over a restart: {why}");
            // The hub may have ended.
            let _ = found.send(Found::Trouble(message));
        });
    }

    /// What was promised holds over a restart when it is on the disk: the answer waits for that beside the hub, but not
    /// for a disk that stands still.
    fn when_remembered(&self, reply: oneshot::Sender<Response>) {
        let ring = self.ring.clone();
        tokio::spawn(async move {
            if !ring.remembered(REMEMBERED_WITHIN).await {
                ring.say("a freeze is not on the disk yet: a restarted agent would not know of it".to_owned());
            }
            answer(Some(reply), Response::Done);
        });
    }

    /// Reads the whole file, so it happens beside the hub.
    fn checksum(&self, file: String, reply: oneshot::Sender<Response>) {
        let closed = self.ring.files().iter().any(|one| one.name == file && one.state == FileState::Closed);
        let ring = self.ring.clone();
        let work = move || {
            if !closed {
                return no_such_file(&file);
            }
            match ring.store().checksum(&file) {
                Ok((size, sha256)) => {
                    ring.set_checksum(&file, sha256.clone());
                    Response::Checksum { file, size, sha256 }
                }
                Err(error) => refused(RefusalKind::Failed, chain(&error), "fetch it again"),
            }
        };
        self.beside(work, reply);
    }
}

fn no_such_file(file: &str) -> Response {
    let message = format!("no closed capture file {file:?} in the ring");
    refused(RefusalKind::Invalid, message, "stop the capture first, or choose one of the files listed")
}

fn not_reported(error: &ReportError) -> Response {
    let next_step =
        "see manifests/cloudwatch-policy.json, or report from the laptop: leave --irsa and --pod-identity out";
    refused(RefusalKind::NotPermitted, chain(error), next_step)
}

fn refused(kind: RefusalKind, message: impl Into<String>, next_step: impl Into<String>) -> Response {
    Response::Refused(Refusal { kind, message: message.into(), next_step: next_step.into() })
}

/// What was asked is done whether or not the tunnel is still there.
fn answer(reply: Option<oneshot::Sender<Response>>, response: Response) {
    if let Some(reply) = reply {
        let _ = reply.send(response);
    }
}

#[cfg(test)]
mod tests;
