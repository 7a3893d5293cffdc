//! The tunnels of a session: one a node, each leading to one agent.
//!
//! Owns which tunnel is a node's own now; asks are sent by `perform`. What a tunnel brings after its end is not passed
//! on.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    agents::{
        client::{Ask, Opener, keep_tunnel},
        site::{OpenError, Site},
    },
    model::NodeName,
    session::Event,
};

/// Tunnels get this long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where a node's agent is asked.
pub(super) type Tunnels = Arc<Mutex<HashMap<NodeName, mpsc::Sender<Ask>>>>;

/// A task that keeps a tunnel to the agent that is on this node now, unless there is one already. It leads to that
/// agent alone: another one's, in its place, is another tunnel. What it tells after its end is not passed on.
pub(super) fn open_tunnel(
    site: &Arc<dyn Site>,
    node: &NodeName,
    tunnels: &Tunnels,
    events: &mpsc::Sender<Event>,
) -> Option<impl Future<Output = ()> + use<>> {
    let (asks, queue) = mpsc::channel(16);
    let ours = asks.downgrade();
    match lock(tunnels).entry(node.clone()) {
        Entry::Occupied(known) if !known.get().is_closed() => return None,
        Entry::Occupied(mut closed) => drop(closed.insert(asks)),
        Entry::Vacant(free) => drop(free.insert(asks)),
    }
    let (site, name, events) = (Arc::clone(site), node.clone(), events.clone());
    let (opened, agent) = (name.clone(), site.agent_of(node));
    let opener: Opener = Box::new(move || {
        let (site, opened, agent) = (Arc::clone(&site), opened.clone(), agent.clone());
        let is_same = move |site: &Arc<dyn Site>, opened: &NodeName| {
            if site.agent_of(opened) == agent { Ok(()) } else { Err(OpenError::AgentGone) }
        };
        async move {
            is_same(&site, &opened)?;
            let tunnel = site.open(&opened).await?;
            is_same(&site, &opened)?;
            Ok(tunnel)
        }
        .boxed()
    });
    let (changes, mut told) = mpsc::channel(64);
    let known = Arc::clone(tunnels);
    Some(async move {
        let is_current = || {
            let ours = ours.upgrade();
            ours.is_some_and(|ours| lock(&known).get(&name).is_some_and(|known| known.same_channel(&ours)))
        };
        let forward = async {
            while let Some(change) = told.recv().await {
                if is_current() && events.send(Event::Tunnel(name.clone(), change)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(keep_tunnel(opener, queue, changes), forward);
    })
}

/// Closes every tunnel and waits a moment for their goodbyes.
pub(super) async fn close_tunnels(tunnels: &Tunnels, tasks: &tokio::sync::Mutex<JoinSet<()>>) {
    lock(tunnels).clear();
    let mut tasks = std::mem::take(&mut *tasks.lock().await);
    let goodbye = async { while tasks.join_next().await.is_some() {} };
    // What has not said goodbye by then is cut.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// The tunnels that are open.
pub(super) fn lock(tunnels: &Tunnels) -> MutexGuard<'_, HashMap<NodeName, mpsc::Sender<Ask>>> {
    // The map is whole even if a holder panicked: every change to it is one call.
    tunnels.lock().unwrap_or_else(PoisonError::into_inner)
}
