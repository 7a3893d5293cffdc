//! Bundles of nodes, written beside their captures.
//!
//! Owns how many are taken at once, and that nothing is written any more once all is being removed.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};

use super::Performer;
use crate::{
    base::text,
    captures::bundle::{self, Wanted},
    model::{BundleOf, NodeName, Notice},
    session::Event,
};

/// Bundles taken at once. They are small and of one moment, so they wait for each other and for no capture file.
const BUNDLES: u32 = 16;
/// A disk has so long to take what is being written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Bundles that are being taken.
pub(super) struct Bundling {
    /// Held by each until its files are written.
    turns: Arc<Semaphore>,
    tasks: Vec<AbortHandle>,
}

impl Default for Bundling {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(BUNDLES as usize)), tasks: Vec::new() }
    }
}

impl Bundling {
    /// Takes no more; what is being written is, once that has been waited for.
    pub(super) fn end(&mut self) -> impl Future<Output = ()> + use<> {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let turns = Arc::clone(&self.turns);
        async move {
            // A disk that hangs is waited for no longer.
            let _ = timeout(WRITTEN_WITHIN, turns.acquire_many(BUNDLES)).await;
        }
    }
}

impl Performer {
    /// Reads a node's state on a stream of its own, and tells where it is.
    pub(super) fn take_bundle(&mut self, node: NodeName, of: Option<BundleOf>) {
        let (site, turns, folder) = (Arc::clone(&self.site), Arc::clone(&self.bundling.turns), self.folder_of(&node));
        let (session, context) = (self.outlet.session.clone(), self.outlet.context.clone());
        let events = self.events.clone();
        let task = self.tasks.spawn(async move {
            // The semaphore is never closed.
            let turn = turns.acquire_owned().await;
            let wanted = Wanted { session, context, node: node.clone(), of };
            let taken = bundle::take(&*site, wanted, &folder, turn).await.map_err(|error| {
                let headline = match of {
                    Some(of) => format!("the {} of the bundle of {node} was not read", of.word()),
                    None => format!("no bundle of {node}"),
                };
                let next_step = if of.is_some() { "the capture is the same without it" } else { "" };
                Notice::warning(headline, text::chain(&error), next_step)
            });
            // The app being gone ends everything anyway.
            let _ = events.send(Event::Bundled(node, taken)).await;
        });
        self.bundling.tasks.retain(|task| !task.is_finished());
        self.bundling.tasks.push(task);
    }
}

#[cfg(test)]
mod tests {
    use futures::{
        FutureExt, StreamExt,
        future::BoxFuture,
        stream::{self, BoxStream},
    };
    use nodewatch_protocol::{BUNDLE, Bundle};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        agents::site::{Bulk, FilePart, OpenError, Site, StreamFrom, Tunnel},
        model::{DeployProgress, Keep, NodesChange, Removal, SessionId},
        runtime::outlets::Outlets,
        session::Effect,
    };

    /// A site whose agents have a bundle once the gate is open.
    struct Gated(Arc<Semaphore>);

    impl Site for Gated {
        fn nodes(&self) -> BoxStream<'static, NodesChange> {
            stream::pending().boxed()
        }

        fn deploy(&self, _nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
            stream::pending().boxed()
        }

        fn open(&self, _node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
            async { Err(OpenError::Refused("no tunnel".into())) }.boxed()
        }

        fn fetch(&self, _node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
            assert_eq!(part.file, BUNDLE);
            let gate = Arc::clone(&self.0);
            async move {
                let _open = gate.acquire_owned().await;
                let bundle = serde_json::to_vec(&Bundle::default()).expect("JSON");
                Ok(Bulk { reader: Box::new(std::io::Cursor::new(bundle)), guard: Box::new(()) })
            }
            .boxed()
        }

        fn follow(&self, _node: &NodeName, _from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
            async { Err(OpenError::Refused("no capture".into())) }.boxed()
        }

        fn remove(&self, _keep: Keep) -> BoxStream<'static, Removal> {
            stream::iter([Removal::Finished]).boxed()
        }
    }

    fn performer(gate: &Arc<Semaphore>, folder: &tempfile::TempDir) -> (Performer, mpsc::Receiver<Event>) {
        let (events, told) = mpsc::channel(64);
        let outlets = Outlets::from(folder.path().to_owned());
        let site = Arc::new(Gated(Arc::clone(gate)));
        (Performer::start(site, events, outlets, SessionId::new(1), None), told)
    }

    #[tokio::test]
    async fn a_bundle_waits_for_no_capture_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut performer, mut told) = performer(&Arc::new(Semaphore::new(1)), &folder);
        let fetches = Arc::clone(&performer.fetches);
        let _all = fetches.acquire_many(super::super::FETCHES as u32).await;
        performer.perform(Effect::TakeBundle("a".into(), Some(BundleOf::Begin { since: 1 })));
        let files = loop {
            if let Event::Bundled(_, outcome) = told.recv().await.expect("the program goes on") {
                break outcome.expect("a bundle");
            }
        };
        assert!(files.text.exists());
        performer.shut_down().await;
    }

    /// What is summed up for the manifest is not written any more.
    #[tokio::test]
    async fn no_bundle_comes_once_all_is_being_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let gate = Arc::new(Semaphore::new(0));
        let (mut performer, mut told) = performer(&gate, &folder);
        performer.perform(Effect::TakeBundle("a".into(), Some(BundleOf::Begin { since: 1 })));
        performer.perform(Effect::CleanUp { captured: Vec::new(), known: Vec::new(), keep: Keep::new() });
        while !matches!(told.recv().await.expect("the program goes on"), Event::Removal(Removal::Finished)) {}
        assert_eq!(performer.bundling.turns.available_permits(), BUNDLES as usize, "none is under way");
        gate.add_permits(1);
        performer.shut_down().await;
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
