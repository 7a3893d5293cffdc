//! Removal of a session's objects: by UID and session label, and believed only when it was seen gone.
//!
//! Owns the order, the preconditions and the patience. The same for the guided exit and for leftovers of any session.

mod claims;

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream, stream::BoxStream};
use kube::{
    Client, Error, ResourceExt,
    api::{DeleteParams, ObjectMeta, Preconditions, PropagationPolicy},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use super::{
    PARALLEL,
    error::{Attempt, Patience, notice},
    identity,
    inventory::{Places, Seen, look},
    kinds,
    lists::every_metadata,
    lock,
    strangers::{self, Contents, Known, Stranger},
};
use crate::{
    agents::site::produce,
    journal::{Entry, Journal},
    model::{ClusterIdentity, Failure, Group, Keep, Kind, MadeObject, Notice, Removal, SessionId},
};
use claims::{Claim, claims};

/// Calls to a server that cannot be reached are tried again for this long.
const UNREACHABLE: Duration = Duration::from_secs(60);
/// That a server says nothing is told after this long, and then each second.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// Looking into a namespace is tried again for this long at most.
const LOOK_INTO: Duration = Duration::from_secs(15);
/// Between two looks at first; it grows, as what hangs does not hurry.
const LOOK_EVERY: Duration = Duration::from_millis(300);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(1500);

/// What to remove, and what is known of it.
#[derive(Clone)]
pub(super) struct Scope {
    pub client: Client,
    pub session: SessionId,
    /// The cluster that it must be; `None` for a session that has no journal here.
    pub identity: Option<ClusterIdentity>,
    /// What the journal has; empty for a session that has none here.
    pub known: Vec<MadeObject>,
    pub places: Places,
    pub journal: Option<Arc<Journal>>,
    /// What was in the session's own namespace before anything of it.
    pub before: BTreeSet<String>,
    /// What of others may go with the session's own namespace, as the user was told it.
    pub with_contents: BTreeSet<String>,
    /// An object that is still there after this long is reported with what holds it.
    pub patience: Duration,
}

/// Removes what is not to be kept, ending with [`Removal::Finished`].
pub(super) fn remove(scope: Scope, keep: Keep) -> BoxStream<'static, Removal> {
    produce(move |tell| async move {
        let work = Work { scope, tell, server: Patience::default(), silent: Mutex::default() };
        if let Err(notice) = work.run(&keep).await {
            work.tell(Removal::Refused(notice)).await;
        }
        work.tell(Removal::Finished).await;
    })
}

/// Removes this one object of a session that goes on, and waits until it is seen gone; the error says why it is not.
pub(super) async fn remove_one(scope: Scope, object: MadeObject) -> Result<(), String> {
    let (tell, mut told) = mpsc::channel(64);
    let work = Work { scope, tell, server: Patience::default(), silent: Mutex::default() };
    let removal = async move { work.remove_all(vec![object]).await };
    let reason = async {
        let mut failed = Ok(());
        while let Some(removal) = told.recv().await {
            if let Removal::Failed(_, reason) = removal {
                failed = Err(reason);
            }
        }
        failed
    };
    let (_, outcome) = tokio::join!(removal, reason);
    outcome
}

/// What a removal would leave a session's own namespace for, and what of it may not be looked at.
pub(super) async fn contents(scope: &Scope) -> Result<Contents, Notice> {
    let Some(own) = &scope.places.own else { return Ok(Contents::default()) };
    if let Some(identity) = &scope.identity {
        identity::check_uid(&scope.client, identity).await?;
    }
    let seen = look(&scope.client, &scope.places, &scope.session).await?;
    if !seen.iter().any(|one| one.object.kind == Kind::Namespace) {
        return Ok(Contents::default());
    }
    strangers::find(&scope.client, own, &scope.session, &known(scope, &seen), Instant::now() + LOOK_INTO).await
}

/// What is no stranger there.
fn known(scope: &Scope, seen: &[Seen]) -> Known {
    let ours = seen.iter().filter(|one| one.session.as_ref() == Some(&scope.session));
    let seen = ours.filter_map(|one| one.object.uid.clone());
    let journalled = scope.known.iter().filter_map(|object| object.uid.clone());
    Known { ours: seen.chain(journalled).collect(), before: scope.before.clone() }
}

/// What a removal would do, object by object.
pub(super) async fn plan(scope: &Scope) -> Result<Vec<Seen>, Notice> {
    if let Some(identity) = &scope.identity {
        identity::check_uid(&scope.client, identity).await?;
    }
    let mut seen = look(&scope.client, &scope.places, &scope.session).await?;
    for one in &mut seen {
        // The journal knows what it was made for.
        if let Some(known) = scope.known.iter().find(|known| known.uid.is_some() && known.uid == one.object.uid) {
            one.object.purpose.clone_from(&known.purpose);
        }
    }
    let ours = |one: &Seen| {
        claims(&scope.known, std::slice::from_ref(one), &scope.session).iter().any(|(_, claim)| *claim == Claim::Remove)
    };
    // Pods go with their Jobs.
    Ok(seen.into_iter().filter(|one| ours(one) && one.metadata.owner_references.is_none()).collect())
}

struct Work {
    scope: Scope,
    tell: mpsc::Sender<Removal>,
    /// With the server.
    server: Patience,
    /// Since when it has said nothing to what it was asked.
    silent: Mutex<Option<Instant>>,
}

impl Work {
    /// A server that says nothing for so long is given up, and asked nothing more.
    fn at_most(&self) -> Duration {
        UNREACHABLE.min(self.scope.patience.max(Duration::from_secs(1)))
    }

    /// What the server says, if it says anything in time.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Notice>>) -> Result<T, Notice> {
        let since = *lock(&self.silent).get_or_insert_with(Instant::now);
        let mut answer = pin!(timeout_at(since + self.at_most(), work));
        let said = loop {
            tokio::select! {
                said = &mut answer => break said,
                () = sleep(Duration::from_secs(1)) => self.tell_silent(since).await,
            }
        };
        let Ok(said) = said else {
            let cause = format!("the API server has not answered for {} s", self.at_most().as_secs());
            let next_step = format!("once it can be reached again: nodewatch-tui cleanup {}", self.scope.session);
            return Err(Notice::error("the removal cannot continue", cause, next_step));
        };
        if matches!(&said, Err(notice) if notice.failure == Failure::Unreachable) {
            self.tell_silent(since).await;
        } else {
            *lock(&self.silent) = None;
            if since.elapsed() >= SILENT_AFTER {
                self.tell(Removal::Silent(0)).await;
            }
        }
        said
    }

    async fn tell_silent(&self, since: Instant) {
        let silent = since.elapsed();
        if silent >= SILENT_AFTER {
            self.tell(Removal::Silent(silent.as_secs())).await;
        }
    }

    async fn run(&self, keep: &Keep) -> Result<(), Notice> {
        let scope = &self.scope;
        if let Some(identity) = &scope.identity {
            self.patiently(|| identity::check_uid(&scope.client, identity)).await?;
        }
        let seen = self.patiently(|| look(&scope.client, &scope.places, &scope.session)).await?;
        // Agents do not run without their namespace.
        let keep_base = keep.contains(&Group::Base) || keep.contains(&Group::Agents);
        let mut stages: [Vec<MadeObject>; 4] = Default::default();
        let mut with_namespace = Vec::new();
        for (object, claim) in claims(&scope.known, &seen, &scope.session) {
            let kept = match object.kind.group() {
                Group::Base => keep_base,
                group => keep.contains(&group),
            };
            match claim {
                Claim::Gone => self.gone(object).await,
                Claim::LeftAlone(reason) => self.tell(Removal::Failed(object, reason)).await,
                Claim::Remove | Claim::WithNamespace if kept => self.tell(Removal::Kept(object)).await,
                Claim::WithNamespace => with_namespace.push(object),
                Claim::Remove => stages[stage(object.kind)].push(object),
            }
        }
        let [jobs, _, base, namespaces] = stages;
        let stuck = self.remove_all(jobs).await;
        // Pods of Jobs that are still there are theirs.
        if !stuck && !keep.contains(&Group::Agents) {
            self.remove_orphans().await?;
        }
        self.remove_all(base).await;
        let namespace_gone = match namespaces.into_iter().next() {
            Some(namespace) => self.remove_namespace(namespace, &known(scope, &seen)).await,
            None => !seen.iter().any(|one| one.object.kind == Kind::Namespace),
        };
        for object in with_namespace {
            if namespace_gone {
                self.gone(object).await;
            } else {
                self.tell(Removal::Failed(object, "it goes with its namespace".to_owned())).await;
            }
        }
        Ok(())
    }

    /// Pods whose Jobs somebody has deleted without them.
    async fn remove_orphans(&self) -> Result<(), Notice> {
        let scope = &self.scope;
        let seen = self.patiently(|| look(&scope.client, &scope.places, &scope.session)).await?;
        let ours = |one: &&Seen| one.object.kind == Kind::Pod && one.session.as_ref() == Some(&scope.session);
        let pods = seen.iter().filter(ours).map(|one| one.object.clone()).collect();
        self.remove_all(pods).await;
        Ok(())
    }

    /// Not while somebody else's objects are in it.
    async fn remove_namespace(&self, namespace: MadeObject, known: &Known) -> bool {
        let scope = &self.scope;
        let until = Instant::now() + LOOK_INTO.min(scope.patience);
        let at_most = scope.patience.max(Duration::from_secs(1));
        let looked = strangers::find(&scope.client, &namespace.name, &scope.session, known, until);
        // Trying again ends earlier, but a try takes its time too.
        let looked = timeout_at(Instant::now() + at_most, looked).await.unwrap_or_else(|_| {
            let headline = format!("cannot search {} in time", namespace.name);
            let cause = format!("the API server did not list everything within {} s", at_most.as_secs());
            let next_step = format!("try again with more time: nodewatch-tui cleanup {}", scope.session);
            Err(Notice::error(headline, cause, next_step).of(Failure::Unreachable))
        });
        let contents = match looked {
            Ok(contents) => contents,
            Err(notice) => {
                let reason = format!("not removed because its contents cannot be listed: {}", notice.line());
                self.tell(Removal::Failed(namespace, reason)).await;
                return false;
            }
        };
        let strangers: Vec<String> = contents.strangers.iter().map(Stranger::text).collect();
        if strangers.iter().all(|stranger| scope.with_contents.contains(stranger)) {
            if !contents.hidden.is_empty() {
                self.tell(Removal::Noted(not_looked_at(&namespace.name, &contents.hidden))).await;
            }
            let name = namespace.name.clone();
            let gone = !self.remove_all(vec![namespace]).await;
            if gone && !strangers.is_empty() {
                let went = strangers.join(", ");
                self.tell(Removal::Noted(format!(
                    "namespace {name} was removed with objects that were not the \
                                                  session's: {went}"
                )))
                .await;
            }
            return gone;
        }
        let others: Vec<String> =
            strangers.into_iter().filter(|stranger| !scope.with_contents.contains(stranger)).collect();
        let next = format!(
            "move or delete it, then: nodewatch-tui cleanup {0}; or remove it too: nodewatch-tui cleanup {0} \
             --with-namespace-contents",
            scope.session
        );
        let reason = format!(
            "not removed because it contains objects that are not the session's: {} ({next})",
            first_few(&others)
        );
        self.tell(Removal::Holds(others)).await;
        self.tell(Removal::Failed(namespace, reason)).await;
        false
    }

    /// Deletes these and waits until none is there. True when something stays.
    async fn remove_all(&self, objects: Vec<MadeObject>) -> bool {
        let asked = stream::iter(objects).map(|object| async move {
            self.tell(Removal::Removing(object.clone())).await;
            match self.ask(&object).await {
                Ok(there) => Ok((object, there)),
                Err(reason) => {
                    self.tell(Removal::Failed(object, reason)).await;
                    Err(())
                }
            }
        });
        let answers: Vec<Result<_, ()>> = asked.buffer_unordered(PARALLEL).collect().await;
        let refused = answers.iter().any(Result::is_err);
        let mut waiting = Vec::new();
        for (object, there) in answers.into_iter().flatten() {
            if there {
                waiting.push(object);
            } else {
                self.gone(object).await;
            }
        }
        self.until_gone(waiting).await || refused
    }

    /// Asks for the deletion of exactly this object; false when it is not there.
    async fn ask(&self, object: &MadeObject) -> Result<bool, String> {
        let Some(uid) = object.uid.clone() else { return Err("its UID is not known".to_owned()) };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid), ..Preconditions::default() }),
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        let api = kinds::api(&self.scope.client, object.kind, object.namespace.as_deref());
        let delete = || async {
            match api.delete(&object.name, &parameters).await {
                Ok(_) => Ok(true),
                Err(Error::Api(status)) if status.code == 404 => Ok(false),
                // Another object has taken the name in the meantime: ours is gone.
                Err(Error::Api(status)) if status.code == 409 && status.message.contains("UID") => Ok(false),
                // It is being deleted already.
                Err(Error::Api(status)) if status.code == 409 => Ok(true),
                Err(error) => {
                    let what = format!("delete {} {}", object.kind.word(), object.name);
                    Err(notice(&Attempt { what, rights: delete_right(object.kind) }, &error))
                }
            }
        };
        loop {
            match self.in_time(delete()).await {
                Err(notice) if self.server.permits(notice.failure, self.at_most()) => sleep(LOOK_EVERY).await,
                asked => return asked.map_err(|notice| notice.line()),
            }
        }
    }

    /// Looks until none of these is there. True when something stays.
    async fn until_gone(&self, mut waiting: Vec<MadeObject>) -> bool {
        let began = Instant::now();
        let mut pause = LOOK_EVERY;
        while !waiting.is_empty() {
            sleep(pause).await;
            pause = (pause * 5 / 4).min(LOOK_AT_LEAST_EVERY);
            let reason = match self.in_time(self.still_there(&waiting)).await {
                Ok(there) => {
                    self.server.worked();
                    let (still, gone): (Vec<_>, Vec<_>) = waiting
                        .into_iter()
                        .partition(|object| there.iter().any(|(uid, _)| Some(uid) == object.uid.as_ref()));
                    for object in gone {
                        self.gone(object).await;
                    }
                    waiting = still;
                    if began.elapsed() < self.scope.patience {
                        continue;
                    }
                    let held = |object: &MadeObject| {
                        let held = there.iter().find(|(uid, _)| Some(uid) == object.uid.as_ref());
                        held.map(|(_, by)| by.clone()).unwrap_or_default()
                    };
                    for object in std::mem::take(&mut waiting) {
                        let reason = format!("still there after {} s{}", began.elapsed().as_secs(), held(&object));
                        self.tell(Removal::Failed(object, reason)).await;
                    }
                    return true;
                }
                Err(notice) if self.server.permits(notice.failure, self.at_most()) => continue,
                Err(notice) => notice.line(),
            };
            for object in std::mem::take(&mut waiting) {
                self.tell(Removal::Failed(object, format!("not seen gone: {reason}"))).await;
            }
            return true;
        }
        false
    }

    /// The UIDs of what is there among the kinds and namespaces of these, with what holds each.
    async fn still_there(&self, waiting: &[MadeObject]) -> Result<Vec<(String, String)>, Notice> {
        let mut there = Vec::new();
        let lists: BTreeSet<_> = waiting.iter().map(|object| (object.kind, object.namespace.clone())).collect();
        for (kind, namespace) in lists {
            let api = kinds::api(&self.scope.client, kind, namespace.as_deref());
            let attempt =
                Attempt { what: format!("check whether the {}s are gone", kind.word()), rights: "list and get" };
            if kind == Kind::Namespace {
                for object in waiting.iter().filter(|object| object.kind == Kind::Namespace) {
                    let found = api.get_opt(&object.name).await.map_err(|error| notice(&attempt, &error))?;
                    there.extend(found.map(|found| {
                        let held = namespace_held_by(&found.data).unwrap_or_else(|| held_by(&found.metadata));
                        (found.uid().unwrap_or_default(), held)
                    }));
                }
            } else {
                let listed =
                    every_metadata(&api, |one| there.push((one.uid().unwrap_or_default(), held_by(&one.metadata))));
                listed.await.map_err(|error| notice(&attempt, &error))?;
            }
        }
        Ok(there)
    }

    /// Tries again for a while when the server cannot be reached.
    async fn patiently<T, F: Future<Output = Result<T, Notice>>>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> Result<T, Notice> {
        loop {
            match self.in_time(work()).await {
                Err(notice) if self.server.permits(notice.failure, self.at_most()) => sleep(LOOK_EVERY * 2).await,
                done => {
                    self.server.worked();
                    return done;
                }
            }
        }
    }

    async fn gone(&self, object: MadeObject) {
        if let Some(journal) = &self.scope.journal {
            // An entry that is missing costs one needless look at the next cleanup.
            let _ = journal.record(Entry::Gone(object.clone().into()));
        }
        self.tell(Removal::Gone(object)).await;
    }

    async fn tell(&self, removal: Removal) {
        // Nobody listening means that the program has ended.
        let _ = self.tell.send(removal).await;
    }
}

/// For people: what nobody has looked for.
pub(super) fn not_looked_at(namespace: &str, hidden: &[String]) -> String {
    format!("could not check these in namespace {namespace}, as you may not list them: {}", first_few(hidden))
}

fn first_few(names: &[String]) -> String {
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    format!("{}{more}", names[..names.len().min(5)].join(", "))
}

/// Jobs and the DaemonSet with their pods first, as nothing makes these anew then: a namespace that is deleted around
/// ending pods is looked at again only much later.
fn stage(kind: Kind) -> usize {
    match kind {
        Kind::Job | Kind::DaemonSet => 0,
        Kind::Pod => 1,
        Kind::ServiceAccount | Kind::Role | Kind::RoleBinding => 2,
        Kind::Namespace => 3,
    }
}

fn delete_right(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "delete on namespaces",
        Kind::ServiceAccount => "delete on serviceaccounts",
        Kind::Role => "delete on roles (rbac.authorization.k8s.io)",
        Kind::RoleBinding => "delete on rolebindings (rbac.authorization.k8s.io)",
        Kind::Job => "delete on jobs (batch)",
        Kind::DaemonSet => "delete on daemonsets (apps)",
        Kind::Pod => "delete on pods",
    }
}

fn held_by(metadata: &ObjectMeta) -> String {
    match metadata.finalizers.as_deref() {
        Some(finalizers) if !finalizers.is_empty() => format!(", held by the finalizers {}", finalizers.join(", ")),
        _ => String::new(),
    }
}

/// A namespace that hangs says itself what is in it and which finalizers hold that.
fn namespace_held_by(data: &serde_json::Value) -> Option<String> {
    let conditions = data.pointer("/status/conditions")?.as_array()?;
    let telling = ["NamespaceFinalizersRemaining", "NamespaceContentRemaining", "NamespaceDeletionContentFailure"];
    let messages: Vec<&str> = conditions
        .iter()
        .filter(|condition| condition["status"] == "True")
        .filter(|condition| telling.iter().any(|kind| condition["type"] == *kind))
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    (!messages.is_empty()).then(|| format!(": {}", messages.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_what_holds_it() {
        let data = serde_json::json!({"status": {"conditions": [
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "all is well"},
            {"type": "NamespaceFinalizersRemaining", "status": "True",
             "message": "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource \
                         instances"},
        ]}});
        let held = namespace_held_by(&data).expect("held");
        assert!(held.contains("example.com/hold") && !held.contains("all is well"), "{held}");
    }
}
