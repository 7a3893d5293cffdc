//! Bundles of nodes, written beside their captures.

use std::sync::Arc;

use nodewatch_protocol::UnixMillis;

use super::Performer;
use crate::{
    base::text,
    captures::bundle::{self, Wanted},
    model::{NodeName, Notice},
    session::Event,
};

impl Performer {
    /// Reads a node's state on a stream of its own, and tells where it is.
    pub(super) fn take_bundle(&mut self, node: NodeName, since: Option<UnixMillis>) {
        let (site, turns, folder) = (Arc::clone(&self.site), Arc::clone(&self.fetches), self.folder_of(&node));
        let (session, context) = (self.outlet.session.clone(), self.outlet.context.clone());
        self.tell(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let wanted = Wanted { session, context, node: node.clone(), since };
            let taken = bundle::take(&*site, wanted, &folder).await.map_err(|error| {
                let headline = format!("no bundle of {node}");
                Notice::warning(headline, text::chain(&error), "the capture goes on without it")
            });
            Event::Bundled(node, taken)
        });
    }
}
