//! What becomes of a session's pods, told for as long as anybody listens.
//!
//! Owns the watches of pods and events, and taking up a session that was begun earlier.

use std::{sync::atomic::Ordering, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::{
    ResourceExt,
    api::Api,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    Cluster,
    error::{Attempt, watch_notice},
    inventory, lock, objects, progress,
};
use crate::{
    model::{DeployProgress, Failure, Kind, MadeObject, NodeName, Notice},
    site::produce,
};

pub(super) type Progress = mpsc::Sender<(NodeName, DeployProgress)>;

/// A watch that is refused for so long will be refused for good: a server that comes back refuses for a moment.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Between two tries to find the agents of an earlier session.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Follows the pods, unless somebody does already.
pub(super) async fn follow(cluster: &Cluster, tell: &Progress) {
    if !cluster.state.following.swap(true, Ordering::Relaxed) {
        tokio::join!(follow_pods(cluster, tell), follow_events(cluster, tell));
    }
}

/// Finds the Jobs of a session that was begun earlier, and goes on as if they had just been deployed.
pub(super) fn attach(cluster: Cluster) -> BoxStream<'static, (NodeName, DeployProgress)> {
    produce(move |tell| async move {
        let seen = loop {
            match inventory::look(cluster.client(), &cluster.places(), &cluster.session).await {
                Ok(seen) => break seen,
                Err(notice) => {
                    for node in known_nodes(&cluster) {
                        // Nobody listening means that the session is over.
                        let _ = tell.send((node, DeployProgress::Failed(notice.clone()))).await;
                    }
                    sleep(LOOK_AGAIN).await;
                }
            }
        };
        let mut gone = known_nodes(&cluster);
        for one in
            seen.iter().filter(|one| one.object.kind == Kind::Job && one.session.as_ref() == Some(&cluster.session))
        {
            let Some(node) = one.metadata.annotations.as_ref().and_then(|all| all.get(objects::NODE)) else { continue };
            let node = NodeName(node.clone());
            gone.retain(|known| *known != node);
            lock(&cluster.state.jobs).insert(one.object.name.clone(), node.clone());
            let _ = tell.send((node, DeployProgress::Step("taking it up again".to_owned()))).await;
        }
        for node in gone {
            let _ = tell.send((node, DeployProgress::Ended("its Job is gone".to_owned()))).await;
        }
        follow(&cluster, &tell).await;
    })
}

/// Nodes that the journal has a Job for.
fn known_nodes(cluster: &Cluster) -> Vec<NodeName> {
    let jobs = cluster.made().into_iter().filter(MadeObject::is_agent);
    let mut nodes: Vec<NodeName> = jobs.map(|job| NodeName(job.purpose)).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

fn session_objects(cluster: &Cluster) -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", objects::SESSION_LABEL, cluster.session))
}

/// Tells what the session's pods do, for as long as it is listened to.
async fn follow_pods(cluster: &Cluster, tell: &Progress) {
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    let mut pods = watcher(api, session_objects(cluster)).default_backoff().boxed();
    let mut refused: Option<Instant> = None;
    while let Some(event) = pods.next().await {
        let told = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pod_changed(cluster, &pod, false),
            Ok(watcher::Event::Delete(pod)) => pod_changed(cluster, &pod, true),
            Ok(watcher::Event::Init) => None,
            Ok(watcher::Event::InitDone) => {
                refused = None;
                None
            }
            Err(error) => {
                if let Some(notice) = lasting(cluster, &error)
                    && refused.get_or_insert_with(Instant::now).elapsed() > REFUSED_FOR
                {
                    for node in waiting_nodes(cluster) {
                        let _ = tell.send((node, DeployProgress::Failed(notice.clone()))).await;
                    }
                }
                None
            }
        };
        if let Some(told) = told
            && tell.send(told).await.is_err()
        {
            return;
        }
    }
}

/// One that was cut comes back by itself.
fn lasting(cluster: &Cluster, error: &watcher::Error) -> Option<Notice> {
    let what = format!("watch the agents' pods in {}", cluster.namespace());
    let notice = watch_notice(&Attempt { what, rights: "list and watch on pods" }, error);
    (notice.failure == Failure::NotPermitted).then_some(notice)
}

/// Nodes with a Job and no pod yet.
fn waiting_nodes(cluster: &Cluster) -> Vec<NodeName> {
    let pods = lock(&cluster.state.pods);
    lock(&cluster.state.jobs).values().filter(|node| !pods.contains_key(node)).cloned().collect()
}

/// By its Job; for the DaemonSet's by where it was put.
fn node_of(cluster: &Cluster, pod: &Pod) -> Option<NodeName> {
    if pod.labels().contains_key(objects::STAND_IN) {
        return pod.spec.as_ref()?.node_name.clone().map(NodeName);
    }
    lock(&cluster.state.jobs).get(pod.labels().get("job-name")?).cloned()
}

fn pod_changed(cluster: &Cluster, pod: &Pod, deleted: bool) -> Option<(NodeName, DeployProgress)> {
    let node = node_of(cluster, pod)?;
    let name = pod.name_any();
    let mut pods = lock(&cluster.state.pods);
    let progress =
        if deleted { DeployProgress::Ended("its pod was deleted".to_owned()) } else { progress::of_pod(pod) };
    match (&progress, pods.get(&node)) {
        // An older pod of the same node has ended; the current one matters.
        (DeployProgress::Ended(_), Some(current)) if *current != name => return None,
        (DeployProgress::Ended(_), None) => return None,
        (DeployProgress::Ended(_), Some(_)) => drop(pods.remove(&node)),
        _ => drop(pods.insert(node.clone(), name)),
    }
    Some((node, progress))
}

/// Tells what keeps pods from being created or started: only events say so.
async fn follow_events(cluster: &Cluster, tell: &Progress) {
    let api: Api<KubeEvent> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        // Without the right to watch events the pods still tell most of it.
        let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event else { continue };
        let Some(progress) = progress::of_event(&event) else { continue };
        let Some(about) = event.involved_object.name.as_deref() else { continue };
        // A pod is named after its Job, with a random suffix.
        let node = lock(&cluster.state.jobs)
            .iter()
            .find(|(job, _)| about == job.as_str() || about.starts_with(&format!("{job}-")))
            .map(|(_, node)| node.clone());
        if let Some(node) = node
            && tell.send((node, progress)).await.is_err()
        {
            return;
        }
    }
}
