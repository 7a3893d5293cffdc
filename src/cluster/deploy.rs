//! From chosen nodes to running agents: namespace and service account once, a Job a node, and what becomes of them.
//!
//! Owns creation and the watch of pods and events. Every object is entered into the list of what was made with the
//! UID that the server gave it.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event as KubeEvent, Namespace, Pod, ServiceAccount},
};
use kube::{
    Resource, ResourceExt,
    api::{Api, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::mpsc;

use super::{
    Cluster, Kind, Made,
    error::{Attempt, notice, watch_notice},
    lock, objects, progress,
};
use crate::{
    model::{DeployProgress, NodeName, Notice},
    site::produce,
};

/// Jobs created at once.
const PARALLEL: usize = 10;

type Progress = mpsc::Sender<(NodeName, DeployProgress)>;

/// Deploys, and for the first deployment of a session goes on to follow all its pods.
pub(super) fn deploy(cluster: Cluster, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
    produce(move |tell| async move {
        cluster.state.began.get_or_init(Instant::now);
        if let Err(notice) = make_base(&cluster).await {
            for node in nodes {
                // Nobody listening means that the session is over.
                let _ = tell.send((node, DeployProgress::Failed(notice.clone()))).await;
            }
            return;
        }
        let create = futures::stream::iter(nodes).for_each_concurrent(PARALLEL, |node| {
            let (cluster, tell) = (cluster.clone(), tell.clone());
            async move {
                let progress = match make_job(&cluster, &node).await {
                    Ok(()) => DeployProgress::Step("the Job is created".to_owned()),
                    Err(notice) => DeployProgress::Failed(notice),
                };
                let _ = tell.send((node, progress)).await;
            }
        });
        if cluster.state.following.swap(true, Ordering::Relaxed) {
            create.await;
        } else {
            tokio::join!(create, follow_pods(&cluster, &tell), follow_events(&cluster, &tell));
        }
    })
}

async fn make_base(cluster: &Cluster) -> Result<(), Notice> {
    let _turn = cluster.state.base.lock().await;
    let made = |kind| lock(&cluster.state.made).iter().any(|made| made.kind == kind);
    if !made(Kind::Namespace) {
        let object = objects::namespace(&cluster.session).map_err(|error| broken(&error))?;
        let attempt =
            Attempt { what: format!("create namespace {}", cluster.namespace()), rights: "create on namespaces" };
        let api: Api<Namespace> = Api::all(cluster.client.clone());
        create(cluster, &api, &object, Kind::Namespace, "the session", &attempt).await?;
    }
    if !made(Kind::ServiceAccount) {
        let object = objects::service_account(&cluster.session).map_err(|error| broken(&error))?;
        let attempt =
            Attempt { what: "create the agents' service account".to_owned(), rights: "create on serviceaccounts" };
        let api: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), &cluster.namespace());
        create(cluster, &api, &object, Kind::ServiceAccount, "the agents' identity", &attempt).await?;
    }
    Ok(())
}

async fn make_job(cluster: &Cluster, node: &NodeName) -> Result<(), Notice> {
    let earlier = |made: &&Made| made.kind == Kind::Job && made.purpose == node.0;
    let attempt = lock(&cluster.state.made).iter().filter(earlier).count() + 1;
    let spent = cluster.state.began.get().map_or(Duration::ZERO, Instant::elapsed);
    let left = cluster.settings.budget.saturating_sub(spent);
    let job =
        objects::agent_job(&cluster.session, node, attempt, &cluster.settings, left).map_err(|error| broken(&error))?;
    {
        // Known before it exists, so that its first pod finds its node; pods of an earlier Job speak for it no more.
        let mut jobs = lock(&cluster.state.jobs);
        jobs.retain(|_, known| known != node);
        jobs.insert(job.name_any(), node.clone());
    }
    lock(&cluster.state.pods).remove(node);
    let api: Api<Job> = Api::namespaced(cluster.client.clone(), &cluster.namespace());
    let attempt = Attempt { what: format!("create the Job for {node}"), rights: "create on jobs (batch)" };
    create(cluster, &api, &job, Kind::Job, &node.0, &attempt).await
}

async fn create<K>(
    cluster: &Cluster,
    api: &Api<K>,
    object: &K,
    kind: Kind,
    purpose: &str,
    attempt: &Attempt,
) -> Result<(), Notice>
where
    K: Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let created = api.create(&PostParams::default(), object).await.map_err(|error| notice(attempt, &error))?;
    lock(&cluster.state.made).push(Made {
        kind,
        name: created.name_any(),
        uid: created.uid().unwrap_or_default(),
        purpose: purpose.to_owned(),
    });
    Ok(())
}

fn broken(error: &objects::ManifestError) -> Notice {
    Notice::error("nothing was created", error.to_string(), "this is a defect of nodewatch-tui: please report it")
}

fn session_objects(cluster: &Cluster) -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", objects::SESSION_LABEL, cluster.session))
}

/// Tells what the session's pods do, for as long as it is listened to.
async fn follow_pods(cluster: &Cluster, tell: &Progress) {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace());
    let mut pods = watcher(api, session_objects(cluster)).default_backoff().boxed();
    while let Some(event) = pods.next().await {
        let told = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => pod_changed(cluster, &pod, false),
            Ok(watcher::Event::Delete(pod)) => pod_changed(cluster, &pod, true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
            Err(error) => {
                if let Some(notice) = lasting(cluster, &error) {
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

/// A watch that is refused will be refused again; one that was cut comes back by itself.
fn lasting(cluster: &Cluster, error: &watcher::Error) -> Option<Notice> {
    let what = format!("watch the agents' pods in {}", cluster.namespace());
    let notice = watch_notice(&Attempt { what, rights: "list and watch on pods" }, error);
    (notice.failure == crate::model::Failure::NotPermitted).then_some(notice)
}

/// Nodes with a Job and no pod yet.
fn waiting_nodes(cluster: &Cluster) -> Vec<NodeName> {
    let pods = lock(&cluster.state.pods);
    lock(&cluster.state.jobs).values().filter(|node| !pods.contains_key(node)).cloned().collect()
}

fn pod_changed(cluster: &Cluster, pod: &Pod, deleted: bool) -> Option<(NodeName, DeployProgress)> {
    let job = pod.labels().get("job-name")?;
    let node = lock(&cluster.state.jobs).get(job)?.clone();
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
    let api: Api<KubeEvent> = Api::namespaced(cluster.client.clone(), &cluster.namespace());
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
