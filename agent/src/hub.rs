//! The agent's state and the one task that changes it.
//!
//! Owns the ports, the running capture, the reports and the answer to every request; files are the ring's, their
//! delivery the uploader's. The task waits for nothing but what is told to it: files, names and the kernel's lists are
//! looked at on threads beside it, which tell it what they have found. Must not know how tunnels carry bytes.

mod captures;
mod facts;
mod handle;
mod judging;
mod looks;
mod reporting;
mod requests;
mod watching;

use std::{net::IpAddr, sync::Arc, time::Duration};

use nodewatch_protocol::{
    AgentFacts, CaptureRecord, CaptureState, Refusal, RefusalKind, Response, RingState, SignalsUpdate, SinkState,
    Statistics, Update,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    capture::{CaptureEvent, own::OwnTraffic},
    lifetime::Lifetime,
    port_reports::{ReportError, Reports},
    ports::{Looked, Ports},
    ring::{Ring, listing::Listing},
    subscribers::Subscribers,
    unix_millis,
    upload::Uploader,
    watch::WatchEvent,
};
use captures::{Slot, Started};
use handle::{Command, Told};
pub use handle::{HubFailed, HubHandle};
use reporting::Reporting;
use requests::Turns;
use watching::{Begun, Seen};

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

/// What threads beside the hub have found.
enum Found {
    Facts(Box<AgentFacts>),
    Ports(Box<Looked>),
    Signals(Box<SignalsUpdate>),
    Capture(Box<Started>),
    Watching(Box<Begun>),
    /// Of what was asked for under that number.
    Watch(u64, WatchEvent),
    Reports {
        number: u64,
        made: Box<Result<Reports, ReportError>>,
        reply: Option<oneshot::Sender<Response>>,
    },
    Trouble(String),
}

/// The state of one agent.
pub struct Hub {
    node: NodeFacts,
    ring: Ring,
    told: ToldRing,
    uploader: Uploader,
    own: OwnTraffic,
    lifetime: Lifetime,
    facts: AgentFacts,
    /// When interfaces are looked at next; `None` while that is under way.
    facts_due: Option<Instant>,
    ports: Ports,
    seen: Seen,
    reporting: Reporting,
    capture: Slot,
    state: CaptureState,
    statistics: Option<Box<Statistics>>,
    subscribers: Subscribers,
    capture_events: (mpsc::UnboundedSender<CaptureEvent>, mpsc::UnboundedReceiver<CaptureEvent>),
    found: (mpsc::UnboundedSender<Found>, mpsc::UnboundedReceiver<Found>),
    turns: Turns,
    end: watch::Receiver<Option<Told>>,
    /// Who is there was told that others end it.
    told_ending: bool,
    /// Until when the capture may close its files, once the agent is to end.
    closed_by: Option<Instant>,
}

/// What tunnels have been told of the ring.
struct ToldRing {
    changes: watch::Receiver<u64>,
    state: RingState,
    /// How far the list of files was told.
    listing: Listing,
    /// When the next news may be told.
    next: Instant,
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
        Ok(HubHandle { commands, end: Arc::new(end), over: is_over, tunnels: Arc::new(watch::Sender::new(0)) })
    }

    fn new(
        node: NodeFacts,
        ring: Ring,
        lifetime: Lifetime,
        end: watch::Receiver<Option<Told>>,
    ) -> std::io::Result<Self> {
        let own = OwnTraffic::default();
        // What a process before this one has seen end is told to those who saw it run.
        let state = match ring.list().captures.last() {
            Some(CaptureRecord { since, ended: Some((at, reason)), .. }) => {
                CaptureState::Stopped { since: *since, at: *at, reason: reason.clone() }
            }
            _ => CaptureState::Idle,
        };
        Ok(Self {
            told: ToldRing {
                changes: ring.changes(),
                state: RingState::default(),
                listing: Listing::default(),
                next: Instant::now(),
            },
            uploader: Uploader::start(ring.clone(), own.clone())?,
            own,
            ring,
            lifetime,
            facts: facts::read(&node, unix_millis()),
            facts_due: Some(Instant::now() + FACTS_EVERY),
            ports: Ports::new(node.processes),
            seen: Seen::new(),
            node,
            reporting: Reporting::default(),
            capture: Slot::None,
            state,
            statistics: None,
            subscribers: Subscribers::default(),
            // Unbounded, but their writers send a few events a second at most.
            capture_events: mpsc::unbounded_channel(),
            found: mpsc::unbounded_channel(),
            turns: Turns::default(),
            end,
            told_ending: false,
            closed_by: None,
        })
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.begin_to_read_signals();
        if let Some(interrupted) = self.ring.interrupted() {
            self.resume(interrupted);
        }
        if let Some(plan) = self.ring.list().reports {
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
                // While something is owed, what changes meanwhile can wait for it.
                Ok(()) = self.told.changes.changed(), if !owed => {
                    self.uploader.wake();
                    owed = true;
                }
                () = sleep_until(self.told.next), if owed => {
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
                    self.judge_itself();
                    self.look_who_is_told();
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
        let by_others = self.end.borrow().is_some_and(|end| end.by_others);
        if by_others && !self.told_ending {
            self.told_ending = true;
            self.subscribers.publish(&Update::Ending);
        }
        if self.closed_by.is_none() {
            self.closed_by = Some(Instant::now() + GRACE);
            if by_others {
                self.freeze_at_the_end();
            }
            self.end_capture();
            self.rest_watching();
        }
    }

    /// Somebody is there to fetch what goes nowhere else.
    fn is_fetched_from(&mut self) -> bool {
        self.uploader.state() == SinkState::Ring && self.ring.has_alone() && !self.subscribers.is_empty()
    }

    /// There is nothing left to do before the end, or no time.
    fn is_over(&mut self) -> bool {
        let (Some(Told { by, .. }), Some(closed_by)) = (*self.end.borrow(), self.closed_by) else { return false };
        let now = Instant::now();
        // Past the grace period the torn tail is cut at the next start. What is not delivered by the end stays in the
        // ring, for as long as the ring does.
        let saved = matches!(self.capture, Slot::None) && self.ring.freezes().is_empty();
        let closed = (saved && self.has_told_all()) || now >= closed_by;
        let reported = self.reporting.reports.as_ref().is_none_or(Reports::is_idle);
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
            Found::Signals(update) => self.signals_read(*update),
            Found::Capture(started) => self.capture_started(*started),
            Found::Watching(begun) => self.watch_begun(*begun),
            Found::Watch(number, event) => self.watch_event(number, event),
            Found::Reports { number, made, reply } => self.reports_made(number, *made, reply),
            Found::Trouble(message) => self.trouble(message),
        }
    }

    /// Everything a new tunnel must know.
    fn picture(&self) -> Vec<Update> {
        let mut picture = vec![Update::Agent(self.facts())];
        picture.extend(self.ports.picture());
        picture.extend(self.seen.signals.whole());
        picture.push(Update::Watch(self.seen.watch.state.clone()));
        picture.extend(self.reporting.reports.as_ref().and_then(Reports::state).map(Update::Reports));
        picture.push(Update::Capture(self.state.clone()));
        picture.extend(self.statistics.clone().map(Update::Statistics));
        picture.extend(Listing::picture(&self.ring));
        picture.push(Update::Ring(self.ring.state(self.uploader.state())));
        picture.extend(self.told_ending.then_some(Update::Ending));
        picture
    }

    fn tell_ring(&mut self) {
        self.told.next = Instant::now() + FILES_EVERY;
        // The ring keeps what nobody is there to be told.
        if !self.subscribers.is_empty() {
            for message in self.ring.messages() {
                self.subscribers.publish(&Update::Trouble { message });
            }
        }
        for update in self.told.listing.news(&self.ring) {
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
        if now != self.told.state {
            self.subscribers.publish(&Update::Ring(now.clone()));
            self.told.state = now;
        }
    }

    fn facts(&self) -> AgentFacts {
        AgentFacts { now: unix_millis(), ring: self.ring.name(), ..self.facts.clone() }
    }
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
