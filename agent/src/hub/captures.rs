//! Captures from the ask to the end: begun beside the hub, one at a time, and gone on with after a restart.
//!
//! Owns what is asked while another one is beginning or ending. Packets and files are the capture's own.

use std::{collections::BTreeSet, time::Duration};

use nodewatch_analysis::Echoes;
use nodewatch_protocol::{
    CaptureRecord, CaptureSpec, CaptureState, Freeze, RefusalKind, Response, StopReason, UnixMillis, Update,
};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::sleep,
};

use super::{
    Found, Hub, NodeFacts, answer,
    facts::{GRANT_NET_RAW, NET_RAW, default_interfaces},
    refused,
};
use crate::{
    capture::{self, Capture, CaptureEvent, Chosen, interfaces},
    clock::Boot,
    unix_millis,
};

/// A capture that has not begun by then is not to begin any more.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// The one capture there can be.
pub(super) enum Slot {
    /// None.
    None,
    /// It is being begun on a thread beside the hub; `stop` is why it is not to run when it has, `early` what it has
    /// told before the hub knew of it.
    Beginning { stop: Option<StopReason>, early: Vec<CaptureEvent> },
    /// It runs.
    Running(Capture),
    /// It was told to end; `next` begins when it has.
    Ending { capture: Capture, next: Option<Box<Wanted>> },
}

/// A capture that is to begin.
pub(super) struct Wanted {
    spec: CaptureSpec,
    /// Why there is nothing before its first file; empty for no such reason.
    gap: String,
    by: By,
}

/// Who wants it.
pub(super) enum By {
    Tunnel(oneshot::Sender<Response>),
    /// The process before this one was capturing since then.
    Restart(UnixMillis),
}

/// What came of beginning.
pub(super) struct Started {
    /// The capture with its interfaces and what it captures, or why there is none.
    pub(super) outcome: Result<(Capture, Vec<String>, CaptureSpec), Response>,
    /// Who is to hear of it; not a tunnel that has waited too long.
    pub(super) by: Option<By>,
    /// It took too long, and is not to run any more.
    pub(super) late: bool,
}

impl Hub {
    /// Goes on with what a process before this one was capturing when it was stopped.
    pub(super) fn resume(&mut self, interrupted: CaptureRecord) {
        let now = unix_millis();
        let list = self.ring.list();
        let files = || list.files.iter().filter(|record| record.capture == interrupted.since);
        let until = files().map(|record| record.file.ended).max().unwrap_or(interrupted.since);
        let packets: u64 = files().map(|record| record.file.packets).sum();
        let bytes: u64 = files().map(|record| record.file.size).sum();
        let mut spec = interrupted.spec;
        let interfaces = interrupted.interfaces;
        // Those of pods are looked for again.
        if spec.toward.is_empty() || !spec.interfaces.is_empty() {
            spec.interfaces.clone_from(&interfaces);
        }
        let lasted = self.ring.clock().boot().since(Boot::from_millis(interrupted.boot));
        spec.limit_seconds = spec.limit_seconds.map(|limit| limit.less(lasted.as_secs()));
        spec.limit_packets = spec.limit_packets.map(|limit| limit.saturating_sub(packets));
        spec.limit_bytes = spec.limit_bytes.map(|limit| limit.saturating_sub(bytes));
        let time = |at: UnixMillis| jiff::Timestamp::from_millisecond(at as i64).unwrap_or_default();
        let gap =
            format!("gap: nothing was captured from {:.3} to {:.3}, while the agent restarted", time(until), time(now));
        // A tunnel that comes before it has begun again must not take it for ended.
        self.state = CaptureState::Running { since: interrupted.since, interfaces, spec: spec.clone() };
        self.want(Wanted { spec, gap, by: By::Restart(interrupted.since) });
    }

    pub(super) fn start_capture(&mut self, spec: CaptureSpec, reply: oneshot::Sender<Response>) {
        self.want(Wanted { spec, gap: String::new(), by: By::Tunnel(reply) });
    }

    fn want(&mut self, wanted: Wanted) {
        let state = |message: &str, next_step: &str| refused(RefusalKind::State, message, next_step);
        let refusal = match &mut self.capture {
            _ if self.closed_by.is_some() => state("the agent is ending", "deploy another one"),
            Slot::None => return self.begin(wanted),
            Slot::Beginning { .. } => state("a capture is already beginning", "wait for it"),
            Slot::Running(_) | Slot::Ending { next: Some(_), .. } => {
                state("a capture is already running", "stop it first")
            }
            Slot::Ending { next, .. } => {
                *next = Some(Box::new(wanted));
                return;
            }
        };
        self.not_begun(wanted.by, refusal);
    }

    /// Beside the hub: names, lists of interfaces, packet sockets and the ring's files are waited for there.
    fn begin(&mut self, wanted: Wanted) {
        let Wanted { spec, gap, by } = wanted;
        if let Err(error) = spec.check() {
            return self.not_begun(by, refused(RefusalKind::Invalid, error.to_string(), "choose another value"));
        }
        self.capture = Slot::Beginning { stop: None, early: Vec::new() };
        let (node, ring) = (self.node.clone(), self.ring.clone());
        let shared = (self.own.clone(), self.seen.echoes.clone());
        let (events, found) = (self.capture_events.0.clone(), self.found.0.clone());
        let resumes = matches!(by, By::Restart(_));
        let start = move || {
            // What the capture before this one has left to be saved would be forgotten now.
            if !resumes && let Ok(Some(saving)) = capture::save_pending(&ring) {
                // A panic there has cost its own file only.
                let _ = saving.join();
            }
            let notify = move |event| {
                // The hub drains its events until the last capture has ended.
                let _ = events.send(event);
            };
            start(&node, spec, gap, (ring, shared), notify)
        };
        tokio::spawn(async move {
            let started = begun(start, by, &found).await;
            // The hub may have ended.
            let _ = found.send(Found::Capture(Box::new(started)));
        });
    }

    pub(super) fn capture_started(&mut self, started: Started) {
        let Started { outcome, by, late } = started;
        let Slot::Beginning { stop, early } = std::mem::replace(&mut self.capture, Slot::None) else { return };
        match outcome {
            Err(refusal) => {
                if let Some(by) = by {
                    self.not_begun(by, refusal);
                }
            }
            Ok((capture, interfaces, spec)) => {
                self.state = CaptureState::Running { since: capture.since, interfaces, spec };
                self.statistics = None;
                self.subscribers.publish(&Update::Capture(self.state.clone()));
                let late = late.then(|| StopReason::Failed { message: "it started too late".to_owned() });
                if let Some(By::Tunnel(reply)) = by {
                    answer(Some(reply), Response::Done);
                }
                self.capture = match stop.or(late) {
                    None => Slot::Running(capture),
                    Some(reason) => {
                        capture.stop(reason);
                        Slot::Ending { capture, next: None }
                    }
                };
                self.share_with_capture();
                for event in early {
                    self.capture_event(event);
                }
            }
        }
    }

    fn not_begun(&mut self, by: By, refusal: Response) {
        match (by, refusal) {
            (By::Tunnel(reply), refusal) => answer(Some(reply), refusal),
            (By::Restart(since), Response::Refused(refusal)) => {
                // A limit that was all but reached is an end like any other.
                let message = format!("the capture did not resume after a restart: {}", refusal.message);
                self.ring.say(message.clone());
                let reason = StopReason::Failed { message };
                let at = unix_millis();
                self.ring.capture_ended(at, reason.clone());
                self.save_pending();
                self.state = CaptureState::Stopped { since, at, reason };
                self.subscribers.publish(&Update::Capture(self.state.clone()));
            }
            (By::Restart(_), _) => {}
        }
    }

    fn save_pending(&self) {
        if let Err(error) = capture::save_pending(&self.ring) {
            self.ring.say(format!("pending freezes of the flight recorder were not saved: {error}"));
        }
    }

    pub(super) fn stop_capture(&mut self) -> Response {
        let nothing = || refused(RefusalKind::State, "no capture is running", "start one first");
        match &mut self.capture {
            Slot::None => nothing(),
            Slot::Running(_) => {
                self.end_running(StopReason::Asked);
                Response::Done
            }
            Slot::Beginning { stop, .. } => {
                stop.get_or_insert(StopReason::Asked);
                Response::Done
            }
            Slot::Ending { next, .. } => {
                if let Some(wanted) = next.take() {
                    let word = refused(RefusalKind::State, "it was stopped before it began", "start it again");
                    self.not_begun(wanted.by, word);
                }
                Response::Done
            }
        }
    }

    fn end_running(&mut self, reason: StopReason) {
        self.capture = match std::mem::replace(&mut self.capture, Slot::None) {
            Slot::Running(capture) => {
                capture.stop(reason);
                Slot::Ending { capture, next: None }
            }
            other => other,
        };
        // Its files may take long to be closed; it reads no packets any more.
        self.share_with_capture();
    }

    /// The agent ends.
    pub(super) fn end_capture(&mut self) {
        self.end_running(StopReason::AgentEnds);
        match &mut self.capture {
            Slot::None | Slot::Running(_) => {}
            Slot::Beginning { stop, .. } => {
                stop.get_or_insert(StopReason::AgentEnds);
            }
            Slot::Ending { next, .. } => {
                if let Some(wanted) = next.take() {
                    let word = refused(RefusalKind::State, "the agent is ending", "deploy another one");
                    self.not_begun(wanted.by, word);
                }
            }
        }
    }

    /// Marks a part of the recorder's time; the capture thread saves it when its end has come.
    pub(super) fn freeze(&self, freeze: Freeze) -> Response {
        let CaptureState::Running { spec: CaptureSpec { recorder: Some(recorder), .. }, .. } = &self.state else {
            let next_step = "arm one first: start a capture with --recorder, or arm a flight recorder in the TUI";
            return refused(RefusalKind::State, "no flight recorder is armed", next_step);
        };
        // One that begins again after a restart takes it over; one that ends looks no more.
        if !matches!(self.capture, Slot::Running(_) | Slot::Beginning { stop: None, .. }) {
            return refused(RefusalKind::State, "the flight recorder is ending", "arm it again, then freeze");
        }
        if freeze.before_seconds > recorder.seconds {
            let message = format!(
                "the recorder keeps {} s, less than the requested {} s",
                recorder.seconds, freeze.before_seconds
            );
            return refused(RefusalKind::Invalid, message, "freeze a shorter time, or arm a longer recorder");
        }
        let (before, after) = (freeze.before_seconds.duration(), freeze.after_seconds.duration());
        if self.ring.add_freeze_of(freeze.cause, before, after).is_none() {
            let message = "too many freezes are already pending";
            return refused(RefusalKind::State, message, "wait until one of them is saved");
        }
        Response::Done
    }

    pub(super) fn capture_event(&mut self, event: CaptureEvent) {
        if let Slot::Beginning { early, .. } = &mut self.capture {
            return early.push(event);
        }
        match event {
            CaptureEvent::Statistics(statistics) => {
                self.subscribers.publish(&Update::Statistics(statistics.clone()));
                self.statistics = Some(statistics);
            }
            CaptureEvent::Symptoms(symptoms) => self.tell_symptoms(symptoms),
            CaptureEvent::Failed(message) => self.end_running(StopReason::Failed { message }),
            CaptureEvent::Closing(reason) => self.end_running(reason),
            CaptureEvent::Trouble(message) => self.trouble(message),
            CaptureEvent::Joined(name) => {
                let message = format!("interface {name} leads to a pod of the capture and is captured too from now on");
                if let CaptureState::Running { interfaces, .. } = &mut self.state
                    && !interfaces.contains(&name)
                {
                    interfaces.push(name);
                    self.subscribers.publish(&Update::Capture(self.state.clone()));
                }
                self.subscribers.publish(&Update::Note { message });
            }
            CaptureEvent::Note(message) => self.subscribers.publish(&Update::Note { message }),
            CaptureEvent::Ended(reason) => {
                let (since, next) = match std::mem::replace(&mut self.capture, Slot::None) {
                    Slot::Running(capture) => (capture.since, None),
                    Slot::Ending { capture, next } => (capture.since, next),
                    Slot::Beginning { .. } | Slot::None => (self.facts.started, None),
                };
                self.state = CaptureState::Stopped { since, at: unix_millis(), reason };
                // Asked for when the capture had looked for the last time.
                self.save_pending();
                self.uploader.manifest_changed();
                // Whoever sees the end sees the files as they are then.
                self.tell_ring();
                self.subscribers.publish(&Update::Capture(self.state.clone()));
                self.share_with_capture();
                if let Some(wanted) = next {
                    self.want(*wanted);
                }
            }
        }
    }
}

/// Begins a capture on a thread of its own. Whoever wants it waits so long and no longer; what comes after that is
/// not to run: it ends as soon as it is there.
async fn begun(
    start: impl FnOnce() -> Result<(Capture, Vec<String>, CaptureSpec), Response> + Send + 'static,
    by: By,
    found: &UnboundedSender<Found>,
) -> Started {
    let failed = |_| Err(refused(RefusalKind::Failed, "the agent failed", "deploy it again"));
    let mut beginning = tokio::task::spawn_blocking(start);
    tokio::select! {
        outcome = &mut beginning => Started { outcome: outcome.unwrap_or_else(failed), by: Some(by), late: false },
        () = sleep(BEGUN_WITHIN) => {
            let by = tell(found, by, &too_slow("the capture did not begin", BEGUN_WITHIN));
            Started { outcome: beginning.await.unwrap_or_else(failed), by, late: true }
        }
    }
}

fn too_slow(what: &str, within: Duration) -> Response {
    let message = format!("{what} within {} s", within.as_secs());
    refused(RefusalKind::Failed, message, "use a shorter filter, check the node's disk, or try another node")
}

/// A tunnel that asked hears it now and is done with; of what goes on after a restart the hub is told, and has to end
/// it.
pub(super) fn tell(found: &UnboundedSender<Found>, by: By, word: &Response) -> Option<By> {
    match by {
        By::Tunnel(reply) => {
            answer(Some(reply), word.clone());
            None
        }
        By::Restart(since) => {
            if let Response::Refused(refusal) = word {
                // The hub may have ended.
                let _ = found.send(Found::Trouble(refusal.message.clone()));
            }
            Some(By::Restart(since))
        }
    }
}

/// Waits for names, files and the kernel.
fn start<N>(
    node: &NodeFacts,
    spec: CaptureSpec,
    gap: String,
    (ring, (own, echoes)): (crate::ring::Ring, (capture::own::OwnTraffic, Echoes)),
    notify: N,
) -> Result<(Capture, Vec<String>, CaptureSpec), Response>
where
    N: Fn(CaptureEvent) + Clone + Send + 'static,
{
    if let Err(error) = capture::permitted() {
        let message = format!("this agent cannot capture: it lacks {NET_RAW}: {error}");
        return Err(refused(RefusalKind::NotPermitted, message, GRANT_NET_RAW));
    }
    let known = interfaces::list().unwrap_or_default();
    let chosen = if spec.interfaces.is_empty() {
        let defaults = default_interfaces(node, &known);
        if spec.toward.is_empty() {
            Chosen::named(defaults)
        } else {
            Chosen::toward(&spec.toward, defaults).map_err(|error| {
                let message = format!("the node's routes cannot be read: {error}");
                refused(RefusalKind::Failed, message, "name the interfaces, or try again")
            })?
        }
    } else {
        // Named twice is meant once.
        let mut seen = BTreeSet::new();
        Chosen::named(spec.interfaces.iter().filter(|name| seen.insert(*name)).cloned().collect())
    };
    let hostname = node.hostname.clone();
    let start = capture::Start { chosen, known, ring, hostname, gap, own, echoes, spec: spec.clone() };
    match Capture::start(start, notify) {
        Ok(capture) => {
            let interfaces = capture.interfaces.clone();
            Ok((capture, interfaces, spec))
        }
        Err(error) => Err(Response::Refused(error.refusal())),
    }
}
