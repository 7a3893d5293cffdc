//! The agent's state and the one task that changes it.
//!
//! Owns the last scan, the running capture, the list of files, and the answer to every request. Must not know how
//! tunnels carry bytes.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use nodewatch_protocol::{
    AgentFacts, CaptureAbility, CaptureFile, CaptureSpec, CaptureState, FileState, Interface, Port, PortChange,
    PortsKind, PortsUpdate, Refusal, RefusalKind, Request, Response, Statistics, StopReason, UnixMillis, Update,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    capture::{self, Capture, CaptureEvent, FileEvent, StartError, interfaces, store::Store},
    error::chain,
    lifetime::Lifetime,
    sockets::{self, ScanError, Scanner},
    subscribers::{Line, Subscribers},
    unix_millis,
};

/// How often ports are scanned.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Ports in one line: well below the line limit at about 50 bytes each.
const PORTS_A_LINE: usize = 10_000;
/// Changes of ports that a tunnel opened later is told.
const PORT_HISTORY: usize = 1000;
/// A capture has this long to close its files when the agent ends.
const GRACE: Duration = Duration::from_secs(10);

/// What the agent is told about its node.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// For capture file headers and the TUI.
    pub hostname: String,
    /// The node's own addresses, where Kubernetes has told them.
    pub addresses: Vec<IpAddr>,
}

/// What tunnels send to the hub.
enum Command {
    Subscribe(oneshot::Sender<mpsc::Receiver<Line>>),
    Ask(Request, oneshot::Sender<Response>),
    End(oneshot::Sender<()>),
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
        self.commands.send(Command::Ask(request, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Ends the hub: the capture is stopped and its files are closed when this returns.
    pub async fn end(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::End(reply)).await.is_ok() {
            // A hub that is already gone has ended.
            let _ = answer.await;
        }
    }
}

/// The state of one agent.
pub struct Hub {
    node: NodeFacts,
    started: UnixMillis,
    store: Store,
    lifetime: Lifetime,
    scanner: Option<Scanner>,
    /// `None` before the first scan that worked.
    ports: Option<(UnixMillis, BTreeSet<Port>)>,
    /// What opened and closed, oldest first.
    port_history: VecDeque<PortChange>,
    /// The last scan's failure, so that it is told once.
    scan_trouble: Option<String>,
    capture: Option<Capture>,
    state: CaptureState,
    statistics: Option<Box<Statistics>>,
    files: Vec<CaptureFile>,
    subscribers: Subscribers,
    capture_events: (mpsc::UnboundedSender<CaptureEvent>, mpsc::UnboundedReceiver<CaptureEvent>),
}

impl Hub {
    /// An agent with the ring's files of the process before it. Spawns the hub's task on the current runtime.
    pub fn spawn(node: NodeFacts, store: Store, lifetime: Lifetime) -> Result<HubHandle, capture::store::StoreError> {
        let (commands, queue) = mpsc::channel(64);
        let hub = Self {
            node,
            started: unix_millis(),
            files: store.recover()?,
            store,
            lifetime,
            scanner: None,
            ports: None,
            port_history: VecDeque::new(),
            scan_trouble: None,
            capture: None,
            state: CaptureState::Idle,
            statistics: None,
            subscribers: Subscribers::default(),
            // Unbounded, but its writers send a few events a second at most.
            capture_events: mpsc::unbounded_channel(),
        };
        tokio::spawn(hub.run(queue));
        Ok(HubHandle { commands })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut scan = interval(SCAN_EVERY);
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::End(done)) => {
                        self.end().await;
                        // Whoever asked may have gone away meanwhile.
                        let _ = done.send(());
                        return;
                    }
                    Some(Command::Subscribe(reply)) => {
                        let lines = self.subscribers.add(&self.picture());
                        // A tunnel that is gone again is forgotten at the next update.
                        let _ = reply.send(lines);
                    }
                    Some(Command::Ask(request, reply)) => self.answer(request, reply),
                },
                Some(event) = self.capture_events.1.recv() => self.capture_event(event),
                _ = scan.tick() => {
                    self.scan();
                    let mut subscribers = std::mem::take(&mut self.subscribers);
                    subscribers.catch_up(|| self.picture());
                    self.subscribers = subscribers;
                }
            }
        }
    }

    async fn end(&mut self) {
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
        if let Some((at, ports)) = &self.ports {
            let all: Vec<Port> = ports.iter().copied().collect();
            let mut kind = PortsKind::Snapshot;
            // An empty picture is a picture too.
            let parts = if all.is_empty() { vec![&all[..]] } else { all.chunks(PORTS_A_LINE).collect() };
            for part in parts {
                picture.push(Update::Ports(PortsUpdate { at: *at, kind, opened: part.to_vec(), closed: vec![] }));
                kind = PortsKind::Continued;
            }
        }
        if !self.port_history.is_empty() {
            picture.push(Update::PortHistory(self.port_history.iter().copied().collect()));
        }
        picture.push(Update::Capture(self.state.clone()));
        picture.extend(self.statistics.clone().map(Update::Statistics));
        picture.push(Update::Files(self.files.clone()));
        picture
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
        let at = unix_millis();
        match self.scan_once() {
            Ok(now) => {
                self.scan_trouble = None;
                let update = match &self.ports {
                    None => PortsUpdate {
                        at,
                        kind: PortsKind::Snapshot,
                        opened: now.iter().copied().collect(),
                        closed: vec![],
                    },
                    Some((_, before)) => {
                        let (opened, closed) = sockets::changes(before, &now);
                        PortsUpdate { at, kind: PortsKind::Changes, opened, closed }
                    }
                };
                self.ports = Some((at, now));
                if update.kind == PortsKind::Changes {
                    let opened = update.opened.iter().map(|&port| PortChange { at, port, opened: true });
                    let closed = update.closed.iter().map(|&port| PortChange { at, port, opened: false });
                    self.port_history.extend(closed.chain(opened));
                    let surplus = self.port_history.len().saturating_sub(PORT_HISTORY);
                    self.port_history.drain(..surplus);
                }
                if update.kind == PortsKind::Snapshot || !(update.opened.is_empty() && update.closed.is_empty()) {
                    self.subscribers.publish(&Update::Ports(update));
                }
            }
            Err(error) => {
                self.scanner = None;
                let message = format!("ports: {}", chain(&error));
                if self.scan_trouble.as_ref() != Some(&message) {
                    self.subscribers.publish(&Update::Trouble { message: message.clone() });
                    self.scan_trouble = Some(message);
                }
            }
        }
    }

    fn scan_once(&mut self) -> Result<BTreeSet<Port>, ScanError> {
        match &mut self.scanner {
            Some(scanner) => scanner.scan(),
            None => self.scanner.insert(Scanner::open()?).scan(),
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
            Request::Checksum { file } => return self.checksum(file, reply),
        };
        // The tunnel may be gone; what was asked is done all the same.
        let _ = reply.send(response);
    }

    /// Reads the whole file, so it happens beside the hub.
    fn checksum(&self, file: String, reply: oneshot::Sender<Response>) {
        let closed = self.files.iter().any(|one| one.name == file && one.state == FileState::Closed);
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            let response = if closed {
                match store.checksum(&file) {
                    Ok((size, sha256)) => Response::Checksum { file, size, sha256 },
                    Err(error) => refused(RefusalKind::Failed, chain(&error), "fetch it again"),
                }
            } else {
                let message = format!("no closed capture file {file:?} in the ring");
                refused(RefusalKind::Invalid, message, "stop the capture first, or choose one of the files listed")
            };
            // The tunnel may be gone.
            let _ = reply.send(response);
        });
    }

    fn start_capture(&mut self, spec: CaptureSpec) -> Response {
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
            store: self.store.clone(),
            files: self.files.clone(),
            hostname: self.node.hostname.clone(),
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
            CaptureEvent::File(FileEvent::Files(files)) => {
                self.subscribers.publish(&Update::Files(files.clone()));
                self.files = files;
            }
            CaptureEvent::File(FileEvent::Discarded(name)) => {
                let message = format!("the ring is full: its oldest file {name} was removed");
                self.subscribers.publish(&Update::Trouble { message });
            }
            CaptureEvent::File(FileEvent::Failed(message)) => {
                if let Some(capture) = &self.capture {
                    capture.stop(StopReason::Failed { message });
                }
            }
            CaptureEvent::Trouble(message) => self.subscribers.publish(&Update::Trouble { message }),
            CaptureEvent::Ended(reason) => {
                let since = self.capture.take().map_or(self.started, |capture| capture.since);
                self.state = CaptureState::Stopped { since, at: unix_millis(), reason };
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

fn refused(kind: RefusalKind, message: impl Into<String>, next_step: impl Into<String>) -> Response {
    Response::Refused(Refusal { kind, message: message.into(), next_step: next_step.into() })
}
