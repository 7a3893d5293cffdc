//! The engine behind the screens and the subcommands: performs the app's effects as cancellable tasks and turns what
//! comes of them into events.
//!
//! Owns every task. The one module that sees the app and the outside world; must not draw.

mod aiming;
mod gone;
mod guard;
pub mod handoff;
mod hearing;
mod input;
mod keyboard;
mod lending;
mod merging;
mod metering;
mod named;
mod outlets;
mod panics;
mod perform;
mod port_reports;
mod resolve;
mod signals;
pub mod spool;
mod tailing;
pub mod terminal;
mod tunnels;
mod viewer;

use std::sync::Arc;

use nodewatch_protocol::UnixMillis;
use tokio::sync::mpsc;

use crate::{
    agents::site::Site,
    base::clock::{steady_millis, wall_ahead},
    model::{Notice, Place, Severity},
    record::{RecordError, Recorder},
    session::{Effect, Event, FileTerms, Happened, S3Terms, SinkTerms, State, Terms, delivery::StorageInfo},
};
pub use merging::merge_notice;
pub use outlets::Outlets;
use perform::Performer;

/// Events that may wait for the app. A full queue makes tunnels wait, and their agents then count what they drop.
const QUEUE: usize = 4096;

/// A wall clock that is further from where it was, in milliseconds, was set and has not just drifted.
const STEP: u64 = 1_000;

/// A session, or one with screens over it, with its effects performed.
pub struct Engine<S> {
    /// All as of the last event.
    pub state: S,
    performer: Performer,
    /// What the terminal is to take into its clipboard.
    pub clipboard: Option<String>,
    /// The terminal is to be given back for a while.
    pub suspend: bool,
    recorder: Option<Recorder>,
    /// Why the recording is not whole.
    unrecorded: Option<Notice>,
    events: mpsc::Receiver<Event>,
    clock: Box<dyn Fn() -> UnixMillis + Send>,
}

impl<S: State> Engine<S> {
    /// Starts to watch the site's nodes. Captures leave by these outlets.
    pub fn start(terms: Terms, site: Arc<dyn Site>, outlets: impl Into<Outlets>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let mut outlets = outlets.into();
        outlets.largest = terms.ring_bytes.unwrap_or(outlets.largest);
        let state = S::begin(Terms {
            storage: outlets.storage.as_ref().map(|storage| {
                let settings = storage.settings();
                StorageInfo { url: settings.url, way: settings.way }
            }),
            s3: S3Terms {
                earlier_places: outlets.earlier.iter().map(|storage| storage.settings().url).collect(),
                storage_options: outlets.storage_options(),
            },
            files: FileTerms { ring_folder: site.ring_folder(), ..terms.files },
            sinks: SinkTerms {
                reports: outlets.logs.as_ref().map(|logs| logs.settings().clone()),
                metrics: outlets.metrics.as_ref().map(|metrics| metrics.every()),
            },
            ..terms
        });
        let session = state.session();
        let context = matches!(session.terms.place, Place::Cluster { .. }).then(|| session.place_text());
        let performer = Performer::start(site, sender, outlets, session.terms.id.clone(), context);
        Self {
            state,
            performer,
            events,
            clipboard: None,
            suspend: false,
            recorder: None,
            unrecorded: None,
            clock: Box::new(steady_millis),
        }
    }

    /// From here on that is the time.
    pub fn set_clock(&mut self, clock: impl Fn() -> UnixMillis + Send + 'static) {
        self.clock = Box::new(clock);
    }

    /// Records everything from here on.
    pub fn record(&mut self, mut recorder: Recorder) -> Result<(), Notice> {
        recorder.begin(&self.state.session().terms).map_err(|error| error.notice())?;
        self.recorder = Some(recorder);
        Ok(())
    }

    /// The screen was drawn in so many columns and rows.
    pub fn record_frame(&mut self, width: u16, height: u16) {
        let written = self.recorder.as_mut().map(|recorder| recorder.frame((self.clock)(), width, height));
        self.recorded(written);
    }

    /// A recording that fails ends, and says so once.
    fn recorded(&mut self, written: Option<Result<(), RecordError>>) {
        if let Some(Err(error)) = written {
            self.recorder = None;
            let notice = error.notice();
            self.unrecorded = Some(notice.clone());
            // As any event that is not recorded.
            let _ = self.state.take_in(Event::Told(notice).into(), (self.clock)());
        }
    }

    /// Why the recording that was asked for is not whole; `None` as long as it is.
    pub fn unrecorded(&self) -> Option<&Notice> {
        self.unrecorded.as_ref()
    }

    /// Where agents are.
    pub fn site(&self) -> Arc<dyn Site> {
        self.performer.site()
    }

    /// What would stop a delivery to S3, found out before anything is made.
    pub async fn check_storage(&mut self) -> Result<(), Notice> {
        match self.performer.outlet().check().await {
            Some(notice) if notice.severity == Severity::Error => return Err(notice),
            Some(notice) => self.performer.tell(async move { Event::Told(notice) }),
            None => {}
        }
        Ok(())
    }

    /// The same beside everything else, told when there is something to tell.
    pub fn watch_storage(&mut self) {
        self.performer.check_storage();
    }

    /// What would keep reports from CloudWatch, looked at beside everything else and told when there is something to
    /// tell.
    pub fn watch_reports(&mut self) {
        self.performer.check_reports();
    }

    /// Looks whether other sessions have left something, which the app shows when it has.
    pub fn find_sessions(&mut self) {
        self.performer.find_sessions(false);
    }

    /// The next event from outside. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        // The performer holds a sender, so the queue does not end before this value does.
        self.events.recv().await.unwrap_or(Event::Tick)
    }

    /// The next event, when one is waiting already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Takes in one event and begins what follows from it. True when the program is to end.
    pub fn handle(&mut self, happened: impl Into<Happened<S::Input>>) -> bool {
        let happened = happened.into();
        let mut quit = false;
        let ahead = wall_ahead();
        let is_set = matches!(happened, Happened::Event(Event::ClockSet(_)));
        if ahead.abs_diff(self.state.session().wall_ahead) >= STEP && !is_set {
            quit = self.handle(Event::ClockSet(ahead));
        }
        let now = (self.clock)();
        let written = self.recorder.as_mut().map(|recorder| recorder.event(&happened, now));
        self.recorded(written);
        let effects = self.state.take_in(happened, now);
        for effect in effects {
            match effect {
                Effect::Quit => quit = true,
                Effect::Copy(text) => self.clipboard = Some(text),
                Effect::Suspend => self.suspend = true,
                effect => self.performer.perform(effect),
            }
        }
        quit
    }

    /// Ends every task; tunnels say goodbye first. What became of the session is recorded.
    pub async fn shut_down(self) -> S {
        self.concluded().await.0
    }

    /// The same, and why the recording is not whole.
    pub async fn concluded(mut self) -> (S, Option<Notice>) {
        if let Some(state) = self.performer.settle_reports().await {
            self.handle(Event::Reports(state));
        }
        if let Some(notice) = self.performer.settle_metrics().await {
            self.handle(Event::Told(notice));
        }
        let now = (self.clock)();
        let written = self.recorder.take().map(|recorder| recorder.finish(now));
        self.recorded(written);
        let session = self.state.session();
        if session.ended().is_some() {
            self.performer.conclude(session.receipt().json(), &session.summary());
        }
        self.performer.shut_down().await;
        (self.state, self.unrecorded)
    }
}
