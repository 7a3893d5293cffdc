//! What becomes of a session's pods, told for as long as anybody listens.
//!
//! Owns the watches of pods and events, and taking up a session that was begun earlier. What their news mean is for
//! `pods.rs`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{Event as KubeEvent, Pod};
use kube::{
    ResourceExt,
    api::{Api, ListParams},
    runtime::watcher,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::{
    Cluster,
    error::{Attempt, watch_notice},
    inventory,
    lists::{every, watched},
    lock, objects,
};
use crate::{
    agents::site::produce,
    model::{DeployProgress, Failure, Kind, MadeObject, NodeName, Notice, Purpose},
};

pub(super) type Progress = mpsc::Sender<(NodeName, DeployProgress)>;

/// A watch that is refused for so long will be refused for good: a server that comes back refuses for a moment.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Between two tries to find the agents of an earlier session.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Follows the pods, unless somebody does already.
pub(super) async fn follow(cluster: &Cluster, tell: &Progress) {
    if !cluster.state.following.swap(true, Ordering::Relaxed) {
        let (listed, pods_are_listed) = oneshot::channel();
        let events = async {
            // How old an event is can be told only beside its pod. Pods that cannot be listed say so themselves.
            if pods_are_listed.await.is_ok() {
                follow_events(cluster, tell).await;
            }
        };
        tokio::join!(follow_pods(cluster, tell, listed), events);
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
        let ours =
            |one: &&inventory::Seen| one.object.kind == Kind::Job && one.session.as_ref() == Some(&cluster.session);
        let mut jobs: Vec<&inventory::Seen> = seen.iter().filter(ours).collect();
        // Of several Jobs of a node the last one counts.
        jobs.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let mut taken: BTreeMap<NodeName, &inventory::Seen> = BTreeMap::new();
        for job in jobs {
            let Some(node) = job.metadata.annotations.as_ref().and_then(|all| all.get(objects::NODE)) else { continue };
            taken.insert(NodeName(node.clone()), job);
        }
        let standing = loop {
            match stood_in(&cluster).await {
                Ok(nodes) => break nodes,
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        };
        // One of the DaemonSet's speaks for the node before a Job that is over.
        taken.retain(|node, job| !(job.over && standing.contains(node)));
        for node in standing.into_iter().filter(|node| !taken.contains_key(node)) {
            gone.retain(|known| *known != node);
            let _ = tell.send((node, DeployProgress::Step("taking it up again".to_owned()))).await;
        }
        // Those that may be there first: whoever asks which there are is not to take the first that has ended for all.
        let (over, live): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(_, job)| job.over);
        for (node, job) in live.into_iter().chain(over) {
            gone.retain(|known| *known != node);
            lock(&cluster.state.jobs).insert(job.object.name.clone(), node.clone());
            let progress = if job.over {
                DeployProgress::Ended(format!("its Job is over: {}", job.state))
            } else {
                DeployProgress::Step("taking it up again".to_owned())
            };
            let _ = tell.send((node, progress)).await;
        }
        for node in gone {
            let _ = tell.send((node, DeployProgress::Ended("its Job is gone".to_owned()))).await;
        }
        follow(&cluster, &tell).await;
    })
}

/// Nodes with an agent of the session's DaemonSet, which are known in no other way than by its pods.
async fn stood_in(cluster: &Cluster) -> Result<Vec<NodeName>, kube::Error> {
    if !cluster.places().daemonset {
        return Ok(Vec::new());
    }
    let labels = format!("{}={},{}", objects::SESSION_LABEL, cluster.session, objects::STAND_IN);
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    let (api, mut nodes) = (&api, Vec::new());
    let page = |page: ListParams| async move { api.list(&page).await };
    every(ListParams::default().labels(&labels), page, |pod| nodes.extend(node_of(cluster, &pod))).await?;
    Ok(nodes)
}

/// Nodes that the journal has a Job for.
fn known_nodes(cluster: &Cluster) -> Vec<NodeName> {
    let jobs = cluster.made().into_iter().filter(MadeObject::is_agent);
    let node = |job: MadeObject| match job.purpose {
        Purpose::Agent(node) => Some(node),
        _ => None,
    };
    let mut nodes: Vec<NodeName> = jobs.filter_map(node).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

fn session_objects(cluster: &Cluster) -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", objects::SESSION_LABEL, cluster.session))
}

/// Tells what the session's pods do, for as long as it is listened to; and once that they were listed.
async fn follow_pods(cluster: &Cluster, tell: &Progress, listed: oneshot::Sender<()>) {
    let api: Api<Pod> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    let mut pods = watched(api, session_objects(cluster), Arc::clone(&cluster.connection.calls)).boxed();
    let mut refused: Option<Instant> = None;
    let mut listed = Some(listed);
    while let Some(event) = pods.next().await {
        let told = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pod_applied(cluster, &pod),
            Ok(watcher::Event::Delete(pod)) => pod_deleted(cluster, &pod),
            Ok(watcher::Event::Init) => {
                lock(&cluster.state.pods).list_begins();
                Vec::new()
            }
            Ok(watcher::Event::InitDone) => {
                refused = None;
                if let Some(listed) = listed.take() {
                    // Nobody waits for it who has gone.
                    let _ = listed.send(());
                }
                lock(&cluster.state.pods).list_is_whole()
            }
            Err(error) => {
                if let Some(notice) = lasting(cluster, &error)
                    && refused.get_or_insert_with(Instant::now).elapsed() > REFUSED_FOR
                {
                    for node in waiting_nodes(cluster) {
                        let _ = tell.send((node, DeployProgress::Failed(notice.clone()))).await;
                    }
                }
                Vec::new()
            }
        };
        for told in told {
            if tell.send(told).await.is_err() {
                return;
            }
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
    lock(&cluster.state.jobs).values().filter(|node| pods.uid(node).is_none()).cloned().collect()
}

/// The node of a pod of its current Job; of the DaemonSet's where it was put.
fn node_of(cluster: &Cluster, pod: &Pod) -> Option<NodeName> {
    if pod.labels().contains_key(objects::STAND_IN) {
        return pod.spec.as_ref()?.node_name.clone().map(NodeName);
    }
    lock(&cluster.state.jobs).get(pod.labels().get("job-name")?).cloned()
}

fn pod_applied(cluster: &Cluster, pod: &Pod) -> Vec<(NodeName, DeployProgress)> {
    let Some(node) = node_of(cluster, pod) else { return Vec::new() };
    let told = lock(&cluster.state.pods).applied(&node, pod);
    told.into_iter().map(|progress| (node.clone(), progress)).collect()
}

fn pod_deleted(cluster: &Cluster, pod: &Pod) -> Vec<(NodeName, DeployProgress)> {
    let Some(node) = node_of(cluster, pod) else { return Vec::new() };
    let told = lock(&cluster.state.pods).deleted(&node, pod);
    told.into_iter().map(|progress| (node.clone(), progress)).collect()
}

/// Tells what keeps pods from being created or started: only events say so. They stay for an hour, and are listed anew
/// whenever their watch is cut: what was told once, or was over before anybody listened, is no news.
async fn follow_events(cluster: &Cluster, tell: &Progress) {
    let api: Api<KubeEvent> = Api::namespaced(cluster.client().clone(), &cluster.namespace());
    let mut events = watched(api, watcher::Config::default(), Arc::clone(&cluster.connection.calls)).boxed();
    let mut listed_before = false;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(watcher::Event::Apply(event)) => event,
            Ok(watcher::Event::InitApply(event)) if !listed_before => event,
            Ok(watcher::Event::InitDone) => {
                listed_before = true;
                continue;
            }
            // Without the right to watch events the pods still tell most of it.
            _ => continue,
        };
        let Some(about) = event.involved_object.name.as_deref() else { continue };
        // A pod is named after its Job, with a random suffix.
        let node = lock(&cluster.state.jobs)
            .iter()
            .find(|(job, _)| about == job.as_str() || about.starts_with(&format!("{job}-")))
            .map(|(_, node)| node.clone());
        let Some(node) = node else { continue };
        let told = lock(&cluster.state.pods).heard(&node, &event);
        if let Some(progress) = told
            && tell.send((node, progress)).await.is_err()
        {
            return;
        }
    }
}
