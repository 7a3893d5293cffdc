//! The engine behind the screens and the subcommands: performs the app's effects as cancellable tasks and turns what
//! comes of them into events.
//!
//! Owns every task. The one module that sees the app and the outside world; must not draw.

mod perform;
pub mod terminal;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    app::{App, Effect, Event, update},
    clock::unix_millis,
    site::Site,
};
use perform::Performer;

/// Events that may wait for the app. A full queue makes tunnels wait, and their agents then count what they drop.
const QUEUE: usize = 4096;

/// The app with its effects performed.
pub struct Engine {
    /// The state.
    pub app: App,
    performer: Performer,
    events: mpsc::Receiver<Event>,
}

impl Engine {
    /// Starts to watch the site's nodes.
    pub fn start(app: App, site: Arc<dyn Site>, out: PathBuf) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let performer = Performer::start(site, sender, out);
        Self { app, performer, events }
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
    pub fn handle(&mut self, event: Event) -> bool {
        let effects = update(&mut self.app, event, unix_millis());
        let mut quit = false;
        for effect in effects {
            if effect == Effect::Quit {
                quit = true;
            } else {
                self.performer.perform(effect);
            }
        }
        quit
    }

    /// Ends every task; tunnels say goodbye first. What became of the session is recorded.
    pub async fn shut_down(self) -> App {
        if self.app.ended.is_some() {
            self.performer.conclude(self.app.receipt().json());
        }
        self.performer.shut_down().await;
        self.app
    }
}
