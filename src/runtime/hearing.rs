//! What hears the changes of the cluster, for the answers.
//!
//! Owns that there is one such stream at a time, and that what comes together is one event.

use std::sync::Arc;

use futures::StreamExt;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{agents::site::Site, session::Event};

/// So many changes are one event at the most: between two events others have their turn.
const AT_ONCE: usize = 256;

/// The stream that is heard.
#[derive(Default)]
pub(super) struct Hearing(Option<AbortHandle>);

impl Hearing {
    /// Begins to hear, or ends it.
    pub(super) fn hear(
        &mut self,
        on: bool,
        site: &Arc<dyn Site>,
        events: &mpsc::Sender<Event>,
        tasks: &mut JoinSet<()>,
    ) {
        if let Some(before) = self.0.take() {
            before.abort();
        }
        if !on {
            return;
        }
        let Some(changes) = site.changes() else { return };
        let events = events.clone();
        self.0 = Some(tasks.spawn(async move {
            let mut changes = changes.ready_chunks(AT_ONCE);
            while let Some(changes) = changes.next().await {
                let (mut news, mut refusals) = (Vec::new(), Vec::new());
                for change in changes {
                    match change {
                        Ok(one) => news.push(one),
                        Err(notice) => refusals.push(Event::Told(notice)),
                    }
                }
                let news = (!news.is_empty()).then_some(Event::Changes(news));
                for event in news.into_iter().chain(refusals) {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
        }));
    }
}
