//! Somebody looks at a node's packets.
//!
//! Owns that there is one such stream at a time, and its end when nobody looks any more.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use crate::{
    agents::{site::Site, tail},
    model::NodeName,
    session::Event,
};

/// News that may wait for the app; the agent's stream waits then, and leaves packets out.
const QUEUE: usize = 4;

/// The stream that is being looked at.
#[derive(Default)]
pub(super) struct Tailing(Option<AbortHandle>);

impl Tailing {
    pub(super) fn begin(
        &mut self,
        node: NodeName,
        site: &Arc<dyn Site>,
        events: &mpsc::Sender<Event>,
        tasks: &mut JoinSet<()>,
    ) {
        self.end();
        let (site, events) = (Arc::clone(site), events.clone());
        let task = tasks.spawn(async move {
            let (sender, mut news) = mpsc::channel(QUEUE);
            let passed_on = async {
                while let Some(one) = news.recv().await {
                    if events.send(Event::Tail(node.clone(), one)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(tail::tail(site, node.clone(), sender), passed_on);
        });
        self.0 = Some(task);
    }

    pub(super) fn end(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}
