//! From chosen nodes to running agents: preflight, namespace and service account once, a Job a node.
//!
//! Owns creation. Every object is in the journal before it exists, and again with the UID that the server gave it.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    ResourceExt,
    api::{Api, DynamicObject, PostParams},
};
use nodewatch_protocol::UnixMillis;
use tokio::time::{sleep, timeout};

use super::{
    Cluster, PARALLEL,
    error::{Attempt, Patience, notice},
    identity, kinds, lock,
    objects::{Draft, SESSION_LABEL, Session},
    preflight, remove,
    strangers::{self, Stranger},
    template::ManifestError,
    watch_pods::{Progress, follow},
};
use crate::{
    agents::site::produce,
    base::clock::{steady_at, steady_millis, unix_millis, wall_at},
    journal::{Entry, Header, Journal},
    model::{DeployProgress, Kind, MadeObject, NodeName, Notice, Purpose},
};

/// A creation is tried again for this long when the server cannot be reached.
const UNREACHABLE: Duration = Duration::from_secs(30);
const TRY_EVERY: Duration = Duration::from_millis(500);
/// How long a look into the new namespace may take, and how much of it is written down.
const NOTE_WITHIN: Duration = Duration::from_secs(3);
const NOTE_AT_MOST: usize = 200;

/// Deploys, and for the first deployment of a session goes on to follow all its pods.
pub(super) fn deploy(cluster: Cluster, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
    produce(move |tell| async move {
        match make_base(&cluster, &nodes).await {
            Ok(warnings) => {
                for (node, warning) in nodes.first().cloned().into_iter().cycle().zip(warnings) {
                    let _ = tell.send((node, DeployProgress::Told(warning))).await;
                }
            }
            Err(notice) => {
                for node in nodes {
                    // Nobody listening means that the session is over.
                    let _ = tell.send((node, DeployProgress::Failed(notice.clone()))).await;
                }
                return;
            }
        }
        let create = make_jobs(&cluster, nodes, &tell);
        tokio::join!(create, follow(&cluster, &tell));
    })
}

async fn make_jobs(cluster: &Cluster, nodes: Vec<NodeName>, tell: &Progress) {
    let create = futures::stream::iter(nodes).for_each_concurrent(PARALLEL, |node| async move {
        let progress = match make_job(cluster, &node, tell).await {
            // Its pod says more.
            Ok(()) if lock(&cluster.state.pods).uid(&node).is_some() => return,
            Ok(()) => DeployProgress::Step("the Job is created".to_owned()),
            Err(notice) => DeployProgress::Failed(notice),
        };
        let _ = tell.send((node, progress)).await;
    });
    create.await;
}

/// Everything that agents need before there can be one, and what is worth knowing of it. What can be known to stop them
/// stops it here.
async fn make_base(cluster: &Cluster, nodes: &[NodeName]) -> Result<Vec<Notice>, Notice> {
    let _turn = cluster.state.base.lock().await;
    let mut warnings = Vec::new();
    let journal = if let Some((journal, header)) = cluster.journal() {
        // The same address may answer as another cluster by now.
        identity::check_uid(cluster.client(), &header.cluster).await?;
        journal
    } else {
        let (journal, warning) = begin(cluster, nodes).await?;
        warnings.extend(warning);
        journal
    };
    let has = |kind, name: &str| {
        let made = lock(&cluster.state.made);
        made.iter()
            .find(|(_, made)| made.kind == kind && made.name == name && made.uid.is_some())
            .map(|(_, made)| made.clone())
    };
    let namespace = cluster.namespace();
    if cluster.settings.namespace.is_none() && has(Kind::Namespace, &namespace).is_none() {
        create(cluster, &journal, || with_session(cluster, |session| session.namespace())).await?;
        note_before(cluster, &journal).await;
    }
    // As early as can be: from here on nothing is left without the laptop.
    if cluster.settings.reaper
        && let Some(MadeObject { uid: Some(uid), .. }) = has(Kind::Namespace, &namespace)
    {
        let drafts = with_session(cluster, |session| session.reaper(&uid))?;
        if !drafts.iter().all(|draft| has(draft.object.kind, &draft.object.name).is_some()) {
            warnings.extend(preflight::asked_for(cluster.client(), &drafts).await?);
        }
        for draft in drafts {
            if has(draft.object.kind, &draft.object.name).is_none() {
                create(cluster, &journal, || Ok(draft)).await?;
            }
        }
    }
    if cluster.settings.service_account.is_none() {
        let account = with_session(cluster, |session| session.service_account())?;
        if has(Kind::ServiceAccount, &account.object.name).is_none() {
            create(cluster, &journal, || with_session(cluster, |session| session.service_account())).await?;
        }
    }
    // With a namespace of somebody else's this was asked at the beginning.
    if cluster.settings.namespace.is_none() && !cluster.state.asked.load(Ordering::Relaxed) {
        let began = cluster.journal().map_or_else(unix_millis, |(_, header)| header.began);
        let ends = lock(&cluster.state.ends).map_or(began, wall_at);
        let session = Session { id: &cluster.session, settings: &cluster.settings(), began, ends };
        warnings.extend(preflight::in_own_namespace(cluster.client(), session, nodes).await?);
        cluster.state.asked.store(true, Ordering::Relaxed);
    }
    Ok(warnings)
}

/// Writes down what data is in the session's own namespace from the beginning: policy engines copy secrets and settings
/// into every namespace, also anew, and they do not keep it.
async fn note_before(cluster: &Cluster, journal: &Arc<Journal>) {
    let namespace = cluster.namespace();
    let find = strangers::data(cluster.client(), &namespace, &cluster.session);
    // Where it cannot be had in time, all that is there later is somebody else's.
    let Ok(found) = timeout(NOTE_WITHIN, find).await else { return };
    let before: BTreeSet<String> = found.iter().take(NOTE_AT_MOST).map(Stranger::key).collect();
    if !before.is_empty() && record(journal, Entry::Before(before.clone())).await.is_ok() {
        *lock(&cluster.state.before) = before;
    }
}

/// The first deployment of the session: preflight, and the journal's first line.
async fn begin(cluster: &Cluster, nodes: &[NodeName]) -> Result<(Arc<Journal>, Option<Notice>), Notice> {
    let warning = preflight::gate(&cluster.connection, &cluster.settings(), nodes).await?;
    let began = unix_millis();
    let ends = began + cluster.settings.budget.as_millis() as u64;
    let header = header(cluster, began, ends).await?;
    let journal = cluster.journals.create(&header).map_err(|error| unrecorded(&error))?;
    let journal = Arc::new(journal);
    *lock(&cluster.state.journal) = Some((Arc::clone(&journal), header));
    *lock(&cluster.state.ends) = Some(steady_at(ends));
    Ok((journal, warning))
}

/// Rather nothing than something that nobody would find again.
fn unrecorded(error: &crate::journal::JournalError) -> Notice {
    error.notice("nothing was created: it cannot be recorded")
}

pub(super) fn with_session<T>(
    cluster: &Cluster,
    work: impl FnOnce(Session<'_>) -> Result<T, ManifestError>,
) -> Result<T, Notice> {
    let began = cluster.journal().map_or_else(unix_millis, |(_, header)| header.began);
    // Annotations are for people and for the cluster's clock.
    let ends = lock(&cluster.state.ends).map_or(began, wall_at);
    let session = Session { id: &cluster.session, settings: &cluster.settings(), began, ends };
    work(session).map_err(|error| broken(&error))
}

async fn make_job(cluster: &Cluster, node: &NodeName, tell: &Progress) -> Result<(), Notice> {
    let Some((journal, _)) = cluster.journal() else {
        return Err(Notice::error("no Job was created", "the session has no journal", "deploy again"));
    };
    // Before one of them is removed: what is still said of that one is not said of the next.
    let attempt = next_attempt(&cluster.made(), node);
    remove_stuck(cluster, node, tell).await?;
    let draft = || {
        let left = lock(&cluster.state.ends).unwrap_or_default().saturating_sub(steady_millis());
        if left == 0 {
            let headline = format!("no agent on {node}");
            let next_step = "move its end with {budget}, then deploy again";
            return Err(Notice::error(headline, "the session's budget is spent", next_step).naming_keys());
        }
        let job = with_session(cluster, |session| session.made_job(node, attempt, Duration::from_millis(left)))?;
        // Known before it exists, so that its first pod finds its node; pods of an earlier Job speak for it no more.
        {
            let mut jobs = lock(&cluster.state.jobs);
            jobs.retain(|_, known| known != node);
            jobs.insert(job.object.name.clone(), node.clone());
        }
        lock(&cluster.state.pods).forget(node);
        Ok(job)
    };
    create(cluster, &journal, draft).await
}

/// The number of a node's next Job, after all of it that may be there.
fn next_attempt(made: &[MadeObject], node: &NodeName) -> usize {
    let ours = made.iter().filter(|made| made.kind == Kind::Job && made.purpose == Purpose::Agent(node.clone()));
    let numbers = ours.filter_map(|job| job.name.rsplit_once('-')?.1.parse::<usize>().ok());
    numbers.max().unwrap_or_default() + 1
}

/// Removes a node's Job whose container never came to run, as with an image that cannot be had: it would go on trying.
async fn remove_stuck(cluster: &Cluster, node: &NodeName, tell: &Progress) -> Result<(), Notice> {
    if !lock(&cluster.state.pods).is_stuck(node) {
        return Ok(());
    }
    let of_node = lock(&cluster.state.jobs).iter().find(|(_, known)| *known == node).map(|(job, _)| job.clone());
    let is_it = |made: &MadeObject| made.is_agent() && made.uid.is_some() && Some(&made.name) == of_node.as_ref();
    let Some(job) = cluster.made().into_iter().find(is_it) else { return Ok(()) };
    // What is said of its pod from now on is not of the node's agent.
    lock(&cluster.state.jobs).remove(&job.name);
    lock(&cluster.state.pods).forget(node);
    let step = format!("removing {}, which could not start", job.text());
    // Nobody listening means that the session is over.
    let _ = tell.send((node.clone(), DeployProgress::Step(step))).await;
    remove::remove_one(cluster.scope(), job.clone()).await.map_err(|reason| {
        let headline = format!("{} was not removed, and no other one was made", job.text());
        Notice::error(headline, reason, "press {deploy} to make another one all the same").naming_keys()
    })?;
    lock(&cluster.state.made).retain(|(_, known)| !known.is(&job));
    Ok(())
}

/// Creates one object. Once begun it is finished, even when nobody waits for it any more: removal must see it. What it
/// is to be is asked when its turn has come, so that an end that is moved meanwhile is its end too.
pub(super) async fn create(
    cluster: &Cluster,
    journal: &Arc<Journal>,
    draft: impl FnOnce() -> Result<Draft, Notice>,
) -> Result<(), Notice> {
    let (cluster, journal) = (cluster.clone(), Arc::clone(journal));
    // Before the task: one that has not run yet must not begin behind the back of a removal, or of who moves the end.
    let creating = Arc::clone(&cluster.state.creating).read_owned().await;
    let draft = draft()?;
    let what = format!("create {}", draft.object.text());
    let created = tokio::spawn(async move {
        let _creating = creating;
        let object = draft.object.clone();
        let rights = create_right(object.kind);
        let dynamic = draft.dynamic().map_err(|error| broken(&error))?;
        record(&journal, Entry::Making(object.clone().into())).await.map_err(|error| unrecorded(&error))?;
        lock(&cluster.state.made).push((steady_millis(), object.clone()));
        let api = kinds::api(cluster.client(), object.kind, object.namespace.as_deref());
        let attempt = Attempt { what: format!("create {}", object.text()), rights };
        match made_or_known(&api, &dynamic, &cluster).await {
            Ok(created) => {
                let made = MadeObject { uid: created.uid(), ..object.clone() };
                if let Some(known) = lock(&cluster.state.made).iter_mut().find(|(_, known)| *known == object) {
                    known.1 = made.clone();
                }
                // Without it the object is found by its label.
                let _ = record(&journal, Entry::Made(made.into())).await;
                Ok(())
            }
            Err(Uncreated { error, was_asked }) => {
                // A refusal of the first try means that it does not exist; anything else leaves that open.
                if !was_asked && is_refusal(&error) {
                    lock(&cluster.state.made).retain(|(_, known)| *known != object);
                    let _ = record(&journal, Entry::Gone(object.into())).await;
                }
                Err(notice(&attempt, &error))
            }
        }
    });
    created.await.unwrap_or_else(|_| Err(Notice::error(format!("cannot {what}"), "the program is ending", "")))
}

/// A creation that has failed.
struct Uncreated {
    error: kube::Error,
    /// An earlier try got no answer, and may have made it.
    was_asked: bool,
}

/// The server has said that it does not make it. A time that has run out says nothing.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 408)
}

/// Creates it. One that is there already and carries the session's label is an earlier try's, whose answer was lost.
async fn made_or_known(
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    cluster: &Cluster,
) -> Result<DynamicObject, Uncreated> {
    let server = Patience::default();
    let attempt = Attempt { what: String::new(), rights: "" };
    let mut was_asked = false;
    let refused = loop {
        match api.create(&PostParams::default(), object).await {
            Ok(created) => return Ok(created),
            Err(kube::Error::Api(status)) if status.code == 409 => break kube::Error::Api(status),
            Err(error) => {
                let again = server.permits(notice(&attempt, &error).failure, UNREACHABLE);
                if !again {
                    return Err(Uncreated { error, was_asked });
                }
                was_asked |= !is_refusal(&error);
                sleep(TRY_EVERY).await;
            }
        }
    };
    match api.get_opt(&object.name_any()).await {
        Ok(found) => {
            let ours = |found: &DynamicObject| {
                found.labels().get(SESSION_LABEL).map(String::as_str) == Some(cluster.session.as_str())
            };
            found.filter(ours).ok_or(Uncreated { error: refused, was_asked })
        }
        // Something of that name is there, and perhaps it is ours.
        Err(error) => Err(Uncreated { error, was_asked: true }),
    }
}

/// Flushing takes a while on some disks, which must not hold up the screen.
async fn record(journal: &Arc<Journal>, entry: Entry) -> Result<(), crate::journal::JournalError> {
    let journal = Arc::clone(journal);
    // A task that was cancelled has not run, which happens only when the program ends.
    tokio::task::spawn_blocking(move || journal.record(entry)).await.unwrap_or(Ok(()))
}

fn create_right(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "create on namespaces",
        Kind::ServiceAccount => "create on serviceaccounts",
        Kind::Role => "create on roles (rbac.authorization.k8s.io), and every right that the reaper gets",
        Kind::RoleBinding => "create on rolebindings (rbac.authorization.k8s.io)",
        Kind::Job => "create on jobs (batch)",
        Kind::DaemonSet => "create on daemonsets (apps)",
        Kind::Pod => "create on pods",
    }
}

fn broken(error: &ManifestError) -> Notice {
    Notice::error("nothing was created", error.to_string(), "this is a bug in nodewatch-tui: please report it")
}

/// The identity that a journal is begun with.
async fn header(cluster: &Cluster, began: UnixMillis, ends: UnixMillis) -> Result<Header, Notice> {
    Ok(Header {
        session: cluster.session.clone(),
        owner: cluster.settings.owner.clone(),
        began,
        ends,
        cluster: cluster.connection.identity().await?,
        namespace: cluster.namespace(),
        own_namespace: cluster.settings.namespace.is_none(),
        agents: Some(Box::new(cluster.settings().deployed())),
    })
}
