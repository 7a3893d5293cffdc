//! Waiting without a terminal: for a state of the session, for time, for a signal.
//!
//! Owns what signals do, and the progress lines on standard error.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use nodewatch_protocol::{Froze, ReportState, Request, Symptoms, Update};
use tokio::time::{Instant, sleep};

use super::{ExitCode, output, signals::Signals};
use crate::{
    base::text,
    model::{FetchProgress, NodeName, Notice, Severity, TunnelChange},
    runtime::{Engine, spool},
    session::{Event, Session, node::Agent},
};

/// Why a command did not get to its end.
pub(super) enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// Nobody reads its results any more.
    Reader,
    /// Something failed.
    Notice(Notice),
}

impl Stop {
    /// Says why the command did not get to its end; its exit code.
    pub(super) fn told(self) -> ExitCode {
        let (why, exit) = match self {
            Self::Signal => ("stopped by a signal before it was done".to_owned(), ExitCode::Failed),
            Self::Reader => ("standard output was closed before it was done".to_owned(), ExitCode::Failed),
            Self::Notice(notice) => (notice.line(), ExitCode::of(&notice)),
        };
        output::say(&format!("error: {why}"));
        exit
    }
}

/// What is told of each node's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Each step to it, and how its capture goes.
    Steps,
    /// When it is up: nobody watches.
    Outcomes,
    /// Only when it is lost: it is up for somebody else.
    Losses,
}

/// Between two lines about how a capture goes.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Different failures that are said; a node that fails in ever new words says enough.
const MAX_SAID: usize = 1000;

/// A program that is to end without waiting has so long to write down what it leaves.
const ABANDON_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Run {
    engine: Engine<Session>,
    signals: Signals,
    /// Signals so far.
    signalled: u32,
    /// What was said already of each node.
    said: HashSet<(NodeName, String)>,
    /// What was said last about each node's agent.
    told: HashMap<NodeName, String>,
    /// Since when each node's agent is on its way; `None` once it was up.
    awaited: HashMap<NodeName, Option<Instant>>,
    /// How much is told of agents.
    telling: Telling,
    /// What was said last about each node that has joined.
    joined: HashMap<NodeName, String>,
    /// Lines about targets that were said.
    aimed: usize,
    /// How reports stood when that was last said.
    reports: ReportState,
    /// When the next line about captures is due.
    progress: Instant,
    /// The guided exit is through.
    over: bool,
    /// That the recording has stopped was told.
    unrecorded: bool,
    /// What agents have seen and nobody has taken yet, where somebody takes it.
    seen: Option<Vec<(NodeName, Box<Symptoms>)>>,
}

impl Run {
    pub(super) fn start(engine: Engine<Session>) -> std::io::Result<Self> {
        Ok(Self {
            engine,
            signals: Signals::listen()?,
            signalled: 0,
            said: HashSet::new(),
            told: HashMap::new(),
            awaited: HashMap::new(),
            telling: if output::is_terse() { Telling::Outcomes } else { Telling::Steps },
            joined: HashMap::new(),
            aimed: 0,
            reports: ReportState::default(),
            progress: Instant::now() + PROGRESS_EVERY,
            over: false,
            unrecorded: false,
            seen: None,
        })
    }

    /// Its agents are another program's session's: that they are reached is no news.
    pub(super) fn of_others(mut self) -> Self {
        self.telling = Telling::Losses;
        self
    }

    pub(super) fn session(&self) -> &Session {
        &self.engine.state
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.tell_failure(&event);
        if let (Some(seen), Event::Tunnel(node, TunnelChange::Update(Update::Symptoms(told)))) =
            (&mut self.seen, &event)
        {
            seen.push((node.clone(), told.clone()));
        }
        self.over |= self.engine.handle(event);
        self.tell_unrecorded();
        self.tell_progress();
    }

    /// From now on what agents see is kept until it is taken.
    pub(super) fn keep_what_is_seen(&mut self) {
        self.seen = Some(Vec::new());
    }

    /// Takes what agents have seen since.
    pub(super) fn seen(&mut self) -> Vec<(NodeName, Box<Symptoms>)> {
        self.seen.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A recording that stops is told when it does, once.
    fn tell_unrecorded(&mut self) {
        if let Some(notice) = self.engine.unrecorded().filter(|_| !self.unrecorded) {
            output::say(&format!("warning: {}", notice.line()));
            self.unrecorded = true;
        }
    }

    /// What fails while captures run, or is worth knowing of them, is said when it comes, each thing once.
    fn tell_failure(&mut self, event: &Event) {
        let none = || NodeName(String::new());
        if let Event::Tunnel(
            node,
            TunnelChange::Update(Update::Note { message } | Update::Froze(Froze { message, .. })),
        ) = event
        {
            if self.said.len() < MAX_SAID && self.said.insert((node.clone(), message.clone())) {
                output::say(&format!("{node}: {message}"));
            }
            return;
        }
        let (node, text) = match event {
            Event::Tunnel(node, TunnelChange::Update(Update::Trouble { message })) => {
                (node.clone(), format!("{node}: {message}"))
            }
            Event::Told(notice) | Event::Ended(_, notice) if notice.severity != Severity::Info => {
                (none(), notice.line())
            }
            Event::NoManifest(notice) | Event::InBucket(Err(notice)) => (none(), notice.line()),
            Event::Granted(node, Err(notice))
            | Event::Bundled(node, Err(notice))
            | Event::Fetch(node, _, FetchProgress::Failed(notice)) => (node.clone(), notice.line()),
            _ => return,
        };
        if self.said.len() < MAX_SAID && self.said.insert((node, text.clone())) {
            // A bundle is tried again; the receipt has what came of it.
            let grave = match event {
                Event::Told(notice) => notice.severity != Severity::Warning,
                Event::Bundled(..) => false,
                _ => true,
            };
            output::say(&format!("{}: {text}", if grave { "error" } else { "warning" }));
        }
    }

    /// Asks an agent something; the answer shows in the session.
    pub(super) fn ask(&mut self, node: NodeName, request: Request) {
        self.handle(Event::Asked(node, request));
    }

    /// Where agents are, for what reads captures while they run.
    pub(super) fn site(&self) -> std::sync::Arc<dyn crate::agents::site::Site> {
        self.engine.site()
    }

    /// Waits until the app is so; the notice names what was waited for.
    pub(super) async fn until(
        &mut self,
        at_most: Duration,
        what: &str,
        mut so: impl FnMut(&Session) -> bool,
    ) -> Result<(), Stop> {
        let end = Instant::now() + at_most;
        while !so(&self.engine.state) {
            if Instant::now() >= end {
                let headline = format!("timed out after {} s waiting for {what}", at_most.as_secs());
                return Err(Stop::Notice(Notice::error(headline, "", "try again, or with fewer nodes")));
            }
            self.step().await?;
        }
        Ok(())
    }

    /// A step of a capture, telling how captures go.
    pub(super) async fn work(&mut self) -> Result<(), Stop> {
        self.step().await?;
        if Instant::now() >= self.progress {
            self.progress = Instant::now() + PROGRESS_EVERY;
            self.tell_captures();
        }
        Ok(())
    }

    /// A step of what is done for a reader alone.
    pub(super) async fn step_for_reader(&mut self) -> Result<(), Stop> {
        tokio::select! {
            stepped = self.step() => stepped,
            () = output::reader_gone() => Err(Stop::Reader),
        }
    }

    /// Stops captures, fetches files, removes everything. Once a second signal has come nothing is waited for.
    pub(super) async fn clean_up(&mut self) {
        if !self.over {
            self.handle(Event::Finish);
        }
        while !self.over {
            if self.signalled > 1 {
                self.abandon();
            } else {
                // Whether it was a signal is counted.
                let _ = self.step().await;
            }
        }
    }

    /// Ends without waiting for anything; what may still be there is in the receipt.
    fn abandon(&mut self) {
        let made = self.engine.site().made();
        self.handle(Event::Abandon(made));
        // It was told to end, and it does.
        self.over = true;
    }

    /// The session as it has ended, and why its recording is not whole.
    pub(super) async fn shut_down(self) -> (Session, Option<Notice>) {
        let Self { engine, mut signals, mut signalled, .. } = self;
        let session = (engine.state.clone(), engine.unrecorded().cloned());
        let ended_without_waiting = async {
            while signalled < 2 {
                signals.next().await;
                signalled += 1;
            }
            sleep(ABANDON_WITHIN).await;
        };
        tokio::select! {
            session = engine.concluded() => session,
            () = ended_without_waiting => session,
        }
    }

    /// Ends every capture, and nothing else.
    pub(super) fn stop_captures(&mut self) {
        self.handle(Event::StopCaptures);
    }

    /// Lets the app go on for as long as this is polled, up to a second signal.
    pub(super) async fn go_on(&mut self) {
        while self.signalled < 2 {
            // Whether it was a signal is counted.
            let _ = self.step().await;
        }
    }

    pub(super) async fn step(&mut self) -> Result<(), Stop> {
        tokio::select! {
            () = self.signals.next() => {
                self.signalled += 1;
                spool::hurry();
                if self.signalled == 1 {
                    output::say("shutting down; a second signal exits without waiting");
                }
                Err(Stop::Signal)
            }
            event = self.engine.next() => {
                self.handle(event);
                Ok(())
            }
        }
    }

    /// One line for each change of an agent; where nobody watches, only when it is up and when it is lost.
    fn tell_progress(&mut self) {
        for (name, state) in &self.engine.state.nodes {
            let awaited = self.awaited.get(name).copied();
            let now = match &state.agent {
                Agent::Absent | Agent::Failed(_) | Agent::Ended(_) => continue,
                Agent::Live => match awaited.flatten() {
                    Some(since) => format!("live after {:.1} s", since.elapsed().as_secs_f64()),
                    None => "live".to_owned(),
                },
                Agent::Lost { reason, .. } => format!("tunnel lost: {reason}"),
                Agent::Deploying(_) | Agent::Connecting if self.telling != Telling::Steps => String::new(),
                Agent::Deploying(step) => format!("deploying: {step}"),
                Agent::Connecting => "connecting".to_owned(),
            };
            if awaited.is_none() {
                self.awaited.insert(name.clone(), Some(Instant::now()));
            }
            let is_live = state.agent == Agent::Live;
            let was_live = self.told.get(name).is_some_and(|told| told.starts_with("live"));
            if now.is_empty() || (is_live && was_live) || self.told.get(name) == Some(&now) {
                continue;
            }
            if is_live {
                self.awaited.insert(name.clone(), None);
            }
            if matches!(state.agent, Agent::Lost { .. }) {
                output::say(&format!("{name}: {now}"));
            } else if self.telling != Telling::Losses || self.told.contains_key(name) {
                output::progress(&format!("{name}: {now}"));
            }
            self.told.insert(name.clone(), now);
        }
        for (name, stage) in self.engine.state.joining.joined() {
            let text = stage.text();
            if self.joined.get(name) != Some(&text) {
                output::progress(&format!("{name} {text}"));
                self.joined.insert(name.clone(), text);
            }
        }
        if let Some(aim) = &self.engine.state.aim {
            let (lines, count) = aim.lines_since(self.aimed);
            lines.for_each(output::progress);
            self.aimed = count;
        }
        let reports = self.engine.state.report_state().unwrap_or_default();
        for line in reports.news_since(&self.reports) {
            output::progress(&format!("CloudWatch Logs: {line}"));
        }
        self.reports = reports;
    }

    fn tell_captures(&self) {
        if self.telling != Telling::Steps {
            return;
        }
        for (name, state) in &self.engine.state.nodes {
            if let Some(counts) = state.counts.latest.as_ref().filter(|_| state.is_capturing()) {
                let dropped = counts.dropped;
                output::progress(&format!(
                    "{name}: {} {} packets, {}, dropped by kernel {} interface {} queue {}",
                    text::lasting(counts.elapsed),
                    counts.packets,
                    text::bytes(counts.bytes),
                    dropped.kernel,
                    dropped.interface,
                    dropped.queue
                ));
            }
        }
    }
}
