//! The answer to every request.
//!
//! Owns how many asks may wait for the node's disk, and for how long. What waits for it does so on a thread beside the
//! hub.

use std::{sync::Arc, time::Duration};

use nodewatch_protocol::{FileState, RefusalKind, Request, Response};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{Found, Hub, answer, refused};
use crate::{error::chain, probe};

/// Asks that may wait for the node's disk at once.
const DISK_ASKS: usize = 64;
/// New terms are written down within so long, or it is said that they are not.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(5);

/// Who may be busy with the node's disk.
pub(super) struct Turns {
    /// Asks of tunnels.
    disk: Arc<Semaphore>,
    /// Writers of terms: one, and one that waits for it.
    terms: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { disk: Arc::new(Semaphore::new(DISK_ASKS)), terms: Arc::new(Semaphore::new(2)) }
    }
}

impl Hub {
    pub(super) fn answer(&mut self, request: Request, reply: oneshot::Sender<Response>) {
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
            Request::Freeze(freeze) => match self.freeze_for(freeze, None) {
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
            Request::Watch(spec) => return self.watch(spec, reply),
            Request::Report(plan) => return self.report(plan.map(|plan| *plan), Some(reply)),
        };
        answer(Some(reply), response);
    }

    /// What waits for the node's disk happens on a thread beside the hub.
    fn beside(&self, work: impl FnOnce() -> Response + Send + 'static, reply: oneshot::Sender<Response>) {
        let Ok(turn) = Arc::clone(&self.turns.disk).try_acquire_owned() else {
            let message = format!("{DISK_ASKS} requests are already waiting for the node's disk");
            return answer(Some(reply), refused(RefusalKind::Failed, message, "check the node's disk and try again"));
        };
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            answer(Some(reply), work());
        });
    }

    /// The new terms hold already: what fails here counts for a restarted agent only, and is said.
    fn remember_terms(&self) {
        // One writes, and one that waits for it will write what holds then.
        let Ok(turn) = Arc::clone(&self.turns.terms).try_acquire_owned() else { return };
        let (lifetime, found) = (self.lifetime.clone(), self.found.0.clone());
        tokio::spawn(async move {
            let written = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                lifetime.remember()
            });
            let why = match timeout(REMEMBERED_WITHIN, written).await {
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(_) => return,
                Err(_) => format!("the disk did not respond within {} s", REMEMBERED_WITHIN.as_secs()),
            };
            let message = format!("the new deadline and lease apply, but a restart would forget them: {why}");
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
                ring.say("a freeze is not on disk yet; a restart would forget it".to_owned());
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
