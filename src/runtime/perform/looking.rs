//! What is looked for: in the cluster what should be open and where pods run; on this laptop the kubeconfig's contexts, and
//! files of rings that are here already, as another program fetched them, or this one before it was left.
//!
//! Owns where that is looked for. Must not know who wants it.

use std::{path::PathBuf, sync::Arc};

use nodewatch_protocol::CaptureFile;

use super::{Performer, lock};
use crate::{agents::fetch, base::text::safe_component, model::NodeName, session::Event};

impl Performer {
    pub(super) fn find_contexts(&mut self) {
        let site = Arc::clone(&self.site);
        self.tell(async move { Event::Contexts(site.contexts()) });
    }

    pub(super) fn expect(&mut self, nodes: Vec<NodeName>) {
        if let Some(expected) = self.site.expected(nodes.clone()) {
            self.tell(async move { Event::Expected(nodes, expected.await) });
        }
    }

    pub(super) fn find_workloads(&mut self) {
        if let Some(workloads) = self.site.workloads() {
            self.tell(async move { Event::Workloads(workloads.await) });
        }
    }

    /// Where files of a node go.
    pub(super) fn folder_of(&self, node: &NodeName) -> PathBuf {
        self.outlet.folder().join(safe_component(&node.0))
    }

    /// Tells of a file only when it is there with the same bytes.
    pub(super) fn look_for(&mut self, node: NodeName, file: CaptureFile) {
        let asks = lock(&self.tunnels).get(&node).cloned();
        let (folder, events, turns) = (self.folder_of(&node), self.events.clone(), self.fetches.clone());
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let Some((path, sha256)) = fetch::look_for(&folder, &file, asks).await else { return };
            // The app being gone ends everything anyway.
            let _ = events.send(Event::Here { node, file: file.name, path, sha256 }).await;
        });
    }
}
