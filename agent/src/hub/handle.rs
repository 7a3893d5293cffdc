//! The way from any task to the hub.
//!
//! Owns the order of asks and the agent's end, as others see both. Must not know what the hub does with either.

use std::{sync::Arc, time::Duration};

use nodewatch_protocol::{Request, Response};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::subscribers::Line;

/// What tunnels send to the hub.
pub(super) enum Command {
    Subscribe(oneshot::Sender<mpsc::Receiver<Line>>),
    Ask(Box<Request>, oneshot::Sender<Response>),
}

/// An end that the hub was told of.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// By when it is to have ended.
    pub(super) by: Instant,
    /// The session has not asked for it: its pod is being ended.
    pub(super) by_others: bool,
}

/// The hub's task has ended without having been told to.
#[derive(Debug, thiserror::Error)]
#[error("the agent's main task has failed")]
pub struct HubFailed;

/// The way from any task to the hub.
#[derive(Clone)]
pub struct HubHandle {
    pub(super) commands: mpsc::Sender<Command>,
    /// What it was told of its end.
    pub(super) end: Arc<watch::Sender<Option<Told>>>,
    /// True once it has.
    pub(super) over: watch::Receiver<bool>,
    /// Tunnels that have something to write, or may have.
    pub(super) tunnels: Arc<watch::Sender<usize>>,
}

/// A tunnel, for as long as it may have something to write.
pub(crate) struct Writing(Arc<watch::Sender<usize>>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl HubHandle {
    /// Updates from now on, the whole picture first; `None` when the hub has ended.
    pub(crate) async fn subscribe(&self) -> Option<mpsc::Receiver<Line>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Subscribe(reply)).await.ok()?;
        answer.await.ok()
    }

    /// A tunnel that writes what it is told until this is dropped.
    pub(crate) fn writing(&self) -> Writing {
        self.tunnels.send_modify(|count| *count += 1);
        Writing(Arc::clone(&self.tunnels))
    }

    /// Waits until tunnels have written all that they were told, for so long at most: who reads nothing holds up no end.
    pub async fn written(&self, within: Duration) {
        let mut tunnels = self.tunnels.subscribe();
        // What is not written by then is lost with its tunnel.
        let _ = timeout(within, tunnels.wait_for(|count| *count == 0)).await;
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

    /// The agent is to end within that time: to stop the capture, close its files and deliver what a sink takes. Told
    /// again, the end can only come nearer.
    pub fn end_within(&self, within: Duration) {
        self.tell_end(within, false);
    }

    /// The same, where its pod is being ended: what an armed flight recorder holds is saved first, and who is there is told.
    pub fn ended_by_others(&self, within: Duration) {
        self.tell_end(within, true);
    }

    fn tell_end(&self, within: Duration, by_others: bool) {
        let by = Instant::now() + within;
        self.end.send_if_modified(|end| {
            let known = *end;
            let nearest = known.map_or(by, |known| known.by.min(by));
            *end = Some(Told { by: nearest, by_others: by_others || known.is_some_and(|known| known.by_others) });
            known.is_none_or(|known| nearest < known.by || (by_others && !known.by_others))
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
