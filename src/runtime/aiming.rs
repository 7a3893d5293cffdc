//! What follows the targets of captures.
//!
//! Owns that there is one such stream at a time.

use std::sync::Arc;

use futures::StreamExt;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    agents::site::Site,
    model::{Failure, Notice, Target},
    session::Event,
};

/// The stream that is followed.
#[derive(Default)]
pub(super) struct Aiming(Option<AbortHandle>);

impl Aiming {
    /// Follows what these targets are, and nothing else any more.
    pub(super) fn aim(
        &mut self,
        targets: Vec<Target>,
        site: &Arc<dyn Site>,
        events: &mpsc::Sender<Event>,
        tasks: &mut JoinSet<()>,
    ) {
        if let Some(before) = self.0.take() {
            before.abort();
        }
        if targets.is_empty() {
            return;
        }
        let (events, found) = (events.clone(), site.aim(targets.clone()));
        self.0 = Some(tasks.spawn(async move {
            let Some(mut found) = found else {
                let notice = Notice::error("there are no pods here", "this machine is the only node", "");
                // The app being gone ends everything anyway.
                let _ = events.send(Event::Aimed(targets, Err(notice.of(Failure::BadInput)))).await;
                return;
            };
            while let Some(found) = found.next().await {
                if events.send(Event::Aimed(targets.clone(), found)).await.is_err() {
                    return;
                }
            }
        }));
    }
}
