//! The agent's state and the one task that changes it.
//!
//! Owns the ports, the running capture, the reports and the answer to every request; files are the ring's, their delivery the
//! uploader's. Must not know how tunnels carry bytes.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use nodewatch_protocol::{
    AgentFacts, BootSpan, CaptureAbility, CaptureRecord, CaptureSpec, CaptureState, FileState, Freeze, Interface,
    PendingFreeze, Refusal, RefusalKind, ReportPlan, ReportState, Request, Response, RingState, Statistics, StopReason,
    UnixMillis, Update,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout, timeout_at},
};

use crate::{
    capture::{self, Capture, CaptureEvent, StartError, interfaces, own::OwnTraffic},
    error::chain,
    lifetime::Lifetime,
    ports::Ports,
    probe,
    reports::Reports,
    ring::Ring,
    subscribers::{Line, Subscribers},
    unix_millis,
    upload::Uploader,
};

/// How often ports are scanned.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// The list of files is told at most this often.
const FILES_EVERY: Duration = Duration::from_millis(250);
/// A capture has this long to close its files when the agent ends.
const GRACE: Duration = Duration::from_secs(10);

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
    End(Duration, oneshot::Sender<()>),
}

/// The way from any task to the hub.
#[derive(Clone)]
pub struct HubHandle {
    commands: mpsc::Sender<Command>,
}

impl HubHandle {
    /// Updates from now on, the whole picture first; `None` when the hub has ended.
    pub(crate) async fn subscribe(&self) -> Option<mpsc::Receiver<Line>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Subscribe(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The answer to a request; `None` when the hub has ended.
    pub async fn ask(&self, request: Request) -> Option<Response> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ask(Box::new(request), reply)).await.ok()?;
        answer.await.ok()
    }

    /// Ends the hub: when this returns the capture is stopped, its files are closed, and what a sink takes within that
    /// time is delivered.
    pub async fn end(&self, within: Duration) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::End(within, reply)).await.is_ok() {
            // A hub that is already gone has ended.
            let _ = answer.await;
        }
    }
}

/// The state of one agent.
pub struct Hub {
    node: NodeFacts,
    started: UnixMillis,
    ring: Ring,
    ring_changes: watch::Receiver<u64>,
    /// What was told of the ring last, and when the next may be told.
    told: (RingState, Instant),
    uploader: Uploader,
    own: OwnTraffic,
    lifetime: Lifetime,
    ports: Ports,
    reports: Option<Reports>,
    /// How reports stood when that was last told.
    told_reports: ReportState,
    capture: Option<Capture>,
    state: CaptureState,
    statistics: Option<Box<Statistics>>,
    subscribers: Subscribers,
    capture_events: (mpsc::UnboundedSender<CaptureEvent>, mpsc::UnboundedReceiver<CaptureEvent>),
}

impl Hub {
    /// An agent with the ring's files of the process before it, whose capture it goes on with. Spawns the hub's task on
    /// the current runtime.
    pub fn spawn(node: NodeFacts, ring: Ring, lifetime: Lifetime) -> std::io::Result<HubHandle> {
        let (commands, queue) = mpsc::channel(64);
        let own = OwnTraffic::default();
        let mut hub = Self {
            started: unix_millis(),
            ring_changes: ring.changes(),
            told: (RingState::default(), Instant::now()),
            uploader: Uploader::start(ring.clone(), own.clone())?,
            own,
            ring,
            lifetime,
            ports: Ports::new(node.processes),
            node,
            reports: None,
            told_reports: ReportState::default(),
            capture: None,
            state: CaptureState::Idle,
            statistics: None,
            subscribers: Subscribers::default(),
            // Unbounded, but its writers send a few events a second at most.
            capture_events: mpsc::unbounded_channel(),
        };
        if let Some(interrupted) = hub.ring.interrupted() {
            hub.resume(interrupted);
        }
        if let Some(plan) = hub.ring.manifest().reports {
            // A plan that worked before the restart works after it.
            hub.report(Some(plan));
        }
        tokio::spawn(hub.run(queue));
        Ok(HubHandle { commands })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut scan = interval(SCAN_EVERY);
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A change that came too soon after the last one that was told.
        let mut owed = false;
        loop {
            tokio::select! {
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
                    Some(Command::End(within, done)) => {
                        self.end(within).await;
                        // Whoever asked may have gone away meanwhile.
                        let _ = done.send(());
                        return;
                    }
                    Some(Command::Subscribe(reply)) => {
                        let lines = self.subscribers.add(&self.picture());
                        // A tunnel that is gone again is forgotten at the next update.
                        let _ = reply.send(lines);
                    }
                    Some(Command::Ask(request, reply)) => self.answer(*request, reply),
                },
                Some(event) = self.capture_events.1.recv() => self.capture_event(event),
                _ = scan.tick() => {
                    self.scan();
                    self.tell_ring_state();
                    let mut subscribers = std::mem::take(&mut self.subscribers);
                    subscribers.catch_up(|| self.picture());
                    self.subscribers = subscribers;
                }
            }
        }
    }

    async fn end(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        self.end_capture().await;
        // Tunnels may be gone or not; who is there sees how it goes.
        let delivered = async {
            let reported = |reports: &Option<Reports>| reports.as_ref().is_none_or(Reports::is_idle);
            while !(self.uploader.is_idle() && reported(&self.reports)) {
                self.uploader.wake();
                let _ = timeout(FILES_EVERY, self.ring_changes.changed()).await;
                self.tell_ring();
            }
        };
        // What is not there by then stays in the ring, for as long as the ring does.
        let _ = timeout_at(deadline, delivered).await;
    }

    async fn end_capture(&mut self) {
        let Some(capture) = &self.capture else { return };
        capture.stop(StopReason::AgentEnds);
        let ended = async {
            while self.capture.is_some() {
                let Some(event) = self.capture_events.1.recv().await else { return };
                self.capture_event(event);
            }
        };
        // Past the grace period the torn tail is cut at the next start.
        let _ = timeout(GRACE, ended).await;
    }

    /// Everything a new tunnel must know.
    fn picture(&self) -> Vec<Update> {
        let mut picture = vec![Update::Agent(self.facts())];
        picture.extend(self.ports.picture());
        picture.extend(self.reports.as_ref().and_then(Reports::state).map(Update::Reports));
        picture.push(Update::Capture(self.state.clone()));
        picture.extend(self.statistics.clone().map(Update::Statistics));
        picture.push(Update::Files(self.ring.files()));
        picture.push(Update::Ring(self.ring.state(self.uploader.state())));
        picture
    }

    fn tell_ring(&mut self) {
        self.told.1 = Instant::now() + FILES_EVERY;
        for message in self.ring.messages() {
            self.subscribers.publish(&Update::Trouble { message });
        }
        self.subscribers.publish(&Update::Files(self.ring.files()));
        self.tell_ring_state();
    }

    fn tell_ring_state(&mut self) {
        let now = self.ring.state(self.uploader.state());
        if now != self.told.0 {
            self.subscribers.publish(&Update::Ring(now.clone()));
            self.told.0 = now;
        }
    }

    fn facts(&self) -> AgentFacts {
        let all = interfaces::list().unwrap_or_default();
        AgentFacts {
            hostname: self.node.hostname.clone(),
            started: self.started,
            now: unix_millis(),
            default_interfaces: self.default_interfaces(&all),
            interfaces: all,
            capture: match capture::permitted() {
                Ok(()) => CaptureAbility::Ready,
                Err(_) => CaptureAbility::Missing { right: NET_RAW.to_owned(), next_step: GRANT_NET_RAW.to_owned() },
            },
        }
    }

    fn default_interfaces(&self, all: &[Interface]) -> Vec<String> {
        interfaces::defaults(all, &self.node.addresses, interfaces::Traits::read)
    }

    fn scan(&mut self) {
        for update in self.ports.scan() {
            if let (Update::Trouble { .. }, Some(reports)) = (&update, &mut self.reports) {
                reports.failed();
            }
            self.subscribers.publish(&update);
        }
        let Some(reports) = &mut self.reports else { return };
        reports.due(&self.ports);
        let state = reports.state().unwrap_or_default();
        if state != self.told_reports {
            self.subscribers.publish(&Update::Reports(state.clone()));
            self.told_reports = state;
        }
    }

    /// Reports by that plan from now on, also after a restart.
    fn report(&mut self, plan: Option<ReportPlan>) -> Response {
        let http = self.uploader.http();
        let next = match (self.reports.take(), plan) {
            (_, None) => None,
            (Some(same), Some(plan)) if *same.plan() == plan => {
                self.reports = Some(same);
                return Response::Done;
            }
            (Some(before), Some(plan)) => Some(before.replan(plan, &http)),
            (None, Some(plan)) => Some(Reports::new(plan, Some(http))),
        };
        match next.transpose() {
            Ok(next) => {
                self.ring.remember_reports(next.as_ref().map(|reports| reports.plan().clone()));
                self.reports = next;
                Response::Done
            }
            Err(error) => {
                let next_step = "see manifests/cloudwatch-policy.json, or report from the laptop: leave --irsa and \
                     --pod-identity out";
                refused(RefusalKind::NotPermitted, chain(&error), next_step)
            }
        }
    }

    fn answer(&mut self, request: Request, reply: oneshot::Sender<Response>) {
        self.lifetime.heard();
        let response = match request {
            Request::Heartbeat | Request::Goodbye => Response::Done,
            Request::Terms(terms) => match self.lifetime.set(&terms) {
                Ok(()) => Response::Done,
                Err(error) => {
                    let message = format!("the new terms hold, but are not remembered over a restart: {error}");
                    refused(RefusalKind::Failed, message, "make room in the ring")
                }
            },
            Request::StartCapture(spec) => self.start_capture(spec),
            Request::StopCapture => match &self.capture {
                Some(capture) => {
                    capture.stop(StopReason::Asked);
                    Response::Done
                }
                None => refused(RefusalKind::State, "no capture is running", "start one first"),
            },
            Request::Freeze(freeze) => self.freeze(freeze),
            Request::Sink(sink) => {
                self.uploader.set(sink);
                self.tell_ring_state();
                Response::Done
            }
            Request::Fetched { file } => {
                self.ring.set_fetched(&file);
                Response::Done
            }
            Request::RemoveFile { file } => match self.ring.remove(&file) {
                Ok(true) => Response::Done,
                Ok(false) => no_such_file(&file),
                Err(error) => refused(RefusalKind::Failed, chain(&error), "try again"),
            },
            Request::Checksum { file } => return self.checksum(file, reply),
            Request::Probe(probe) => {
                tokio::spawn(async move {
                    // The tunnel may be gone.
                    let _ = reply.send(Response::Probed(probe::probe(probe).await));
                });
                return;
            }
            Request::Report(plan) => self.report(plan.map(|plan| *plan)),
        };
        // The tunnel may be gone; what was asked is done all the same.
        let _ = reply.send(response);
    }

    /// Reads the whole file, so it happens beside the hub.
    fn checksum(&self, file: String, reply: oneshot::Sender<Response>) {
        let closed = self.ring.files().iter().any(|one| one.name == file && one.state == FileState::Closed);
        let ring = self.ring.clone();
        tokio::task::spawn_blocking(move || {
            let response = if closed {
                match ring.store().checksum(&file) {
                    Ok((size, sha256)) => {
                        ring.set_checksum(&file, sha256.clone());
                        Response::Checksum { file, size, sha256 }
                    }
                    Err(error) => refused(RefusalKind::Failed, chain(&error), "fetch it again"),
                }
            } else {
                no_such_file(&file)
            };
            // The tunnel may be gone.
            let _ = reply.send(response);
        });
    }

    /// Marks a part of the recorder's time; the capture thread saves it when its end has come.
    fn freeze(&self, freeze: Freeze) -> Response {
        let CaptureState::Running { spec: CaptureSpec { recorder: Some(recorder), .. }, .. } = &self.state else {
            let next_step = "arm one first: a capture with --recorder, or C in the TUI";
            return refused(RefusalKind::State, "no flight recorder is armed", next_step);
        };
        if freeze.before_seconds > recorder.seconds {
            let message =
                format!("the recorder keeps {} s, {} s were asked for", recorder.seconds, freeze.before_seconds);
            return refused(RefusalKind::Invalid, message, "ask for less, or arm it with more");
        }
        let now = unix_millis();
        self.ring.add_freeze(PendingFreeze {
            id: self.ring.sequence().take(),
            capture: 0,
            span: BootSpan::default(),
            from: now.saturating_sub(freeze.before_seconds.saturating_mul(1000)),
            to: now.saturating_add(freeze.after_seconds.saturating_mul(1000)),
        });
        Response::Done
    }

    /// Goes on with what a process before this one was capturing when it was stopped.
    fn resume(&mut self, interrupted: CaptureRecord) {
        let now = unix_millis();
        let manifest = self.ring.manifest();
        let files = || manifest.files.iter().filter(|record| record.capture == interrupted.since);
        let until = files().map(|record| record.file.ended).max().unwrap_or(interrupted.since);
        let packets: u64 = files().map(|record| record.file.packets).sum();
        let bytes: u64 = files().map(|record| record.file.size).sum();
        let mut spec = interrupted.spec;
        spec.interfaces = interrupted.interfaces;
        spec.limit_seconds =
            spec.limit_seconds.map(|limit| limit.saturating_sub((now - interrupted.since.min(now)) / 1000));
        spec.limit_packets = spec.limit_packets.map(|limit| limit.saturating_sub(packets));
        spec.limit_bytes = spec.limit_bytes.map(|limit| limit.saturating_sub(bytes));
        let time = |at: UnixMillis| jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
        let gap = format!(
            "gap: nothing was captured from {:.3} to {:.3}, when the agent was stopped and started again",
            time(until),
            time(now)
        );
        if let Response::Refused(refusal) = self.start_capture_after(spec, gap) {
            // A limit that was all but reached is an end like any other.
            let message = format!("the capture did not go on after a restart: {}", refusal.message);
            self.ring.say(message.clone());
            let reason = StopReason::Failed { message };
            self.ring.capture_ended(now, reason.clone());
            self.state = CaptureState::Stopped { since: interrupted.since, at: now, reason };
        }
    }

    fn start_capture(&mut self, spec: CaptureSpec) -> Response {
        self.start_capture_after(spec, String::new())
    }

    fn start_capture_after(&mut self, spec: CaptureSpec, gap: String) -> Response {
        if self.capture.is_some() {
            return refused(RefusalKind::State, "a capture is already running", "stop it first");
        }
        if let Err(error) = spec.check() {
            return refused(RefusalKind::Invalid, error.to_string(), "choose another value");
        }
        if let Some(Err(error)) = spec.filter.as_deref().map(nodewatch_filter::check) {
            return refused(RefusalKind::Invalid, chain(&error), FILTER_HELP);
        }
        if let Err(error) = capture::permitted() {
            let message = format!("this agent may not capture, it lacks {NET_RAW}: {error}");
            return refused(RefusalKind::NotPermitted, message, GRANT_NET_RAW);
        }
        let known = interfaces::list().unwrap_or_default();
        let chosen = if spec.interfaces.is_empty() {
            self.default_interfaces(&known)
        } else {
            // Named twice is meant once.
            let mut seen = BTreeSet::new();
            spec.interfaces.iter().filter(|name| seen.insert(*name)).cloned().collect()
        };
        let events = self.capture_events.0.clone();
        let start = capture::Start {
            interfaces: chosen.clone(),
            known,
            ring: self.ring.clone(),
            hostname: self.node.hostname.clone(),
            gap,
            own: self.own.clone(),
            spec: spec.clone(),
        };
        match Capture::start(start, move |event| {
            // The hub drains its events until the last capture has ended.
            let _ = events.send(event);
        }) {
            Ok(capture) => {
                self.state = CaptureState::Running { since: capture.since, interfaces: chosen, spec };
                self.capture = Some(capture);
                self.statistics = None;
                self.subscribers.publish(&Update::Capture(self.state.clone()));
                Response::Done
            }
            Err(error) => {
                let (kind, next_step) = match &error {
                    StartError::NoInterface { .. } => (RefusalKind::Invalid, "choose one of these"),
                    StartError::NoDefault | StartError::LinkType { .. } => {
                        (RefusalKind::Invalid, "name another interface")
                    }
                    StartError::Filter(_) => (RefusalKind::Invalid, FILTER_HELP),
                    StartError::Ring { .. } | StartError::Threads(_) => {
                        (RefusalKind::Failed, "try fewer interfaces, or another node")
                    }
                };
                refused(kind, chain(&error), next_step)
            }
        }
    }

    fn capture_event(&mut self, event: CaptureEvent) {
        match event {
            CaptureEvent::Statistics(statistics) => {
                self.subscribers.publish(&Update::Statistics(statistics.clone()));
                self.statistics = Some(statistics);
            }
            CaptureEvent::Failed(message) => {
                if let Some(capture) = &self.capture {
                    capture.stop(StopReason::Failed { message });
                }
            }
            CaptureEvent::Trouble(message) => self.subscribers.publish(&Update::Trouble { message }),
            CaptureEvent::Ended(reason) => {
                let since = self.capture.take().map_or(self.started, |capture| capture.since);
                self.state = CaptureState::Stopped { since, at: unix_millis(), reason };
                self.uploader.manifest_changed();
                // Whoever sees the end sees the files as they are then.
                self.tell_ring();
                self.subscribers.publish(&Update::Capture(self.state.clone()));
            }
        }
    }
}

const NET_RAW: &str = "CAP_NET_RAW";
const GRANT_NET_RAW: &str = "grant it: in Kubernetes the agent's Job adds NET_RAW and the image's binary needs the file \
     capability (setcap cap_net_raw=ep) as the container's direct entrypoint; on this machine run \
     `sudo setcap cap_net_raw=ep nodewatch-agent`, or run as root";
const FILTER_HELP: &str = "write it as tcpdump takes it, see `man pcap-filter`";

fn no_such_file(file: &str) -> Response {
    let message = format!("no closed capture file {file:?} in the ring");
    refused(RefusalKind::Invalid, message, "stop the capture first, or choose one of the files listed")
}

fn refused(kind: RefusalKind, message: impl Into<String>, next_step: impl Into<String>) -> Response {
    Response::Refused(Refusal { kind, message: message.into(), next_step: next_step.into() })
}
