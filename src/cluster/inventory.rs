//! What is there of a session, as the API server lists it.
//!
//! Owns the lists and their reading. A list a kind and a namespace, however many nodes: nothing is asked object by
//! object.

use std::collections::BTreeSet;

use kube::{
    Client, ResourceExt,
    api::{DynamicObject, ListParams, ObjectMeta},
};
use serde_json::Value;

use super::{
    error::{Attempt, notice},
    kinds,
    lists::every,
    objects::{BEGAN, ENDS, MANAGED_BY, NODE, OWNER, SESSION_LABEL},
};
use crate::{
    base::clock::from_rfc3339,
    model::{Kind, MadeObject, NodeName, Notice, Purpose, SeenObject, SessionId},
};

/// An object that is there.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub object: MadeObject,
    /// The session that its label names.
    pub session: Option<SessionId>,
    pub metadata: ObjectMeta,
    /// For a person.
    pub state: String,
    /// A Job that runs nothing any more.
    pub over: bool,
}

impl Seen {
    pub fn summary(&self) -> SeenObject {
        SeenObject { object: self.object.clone(), state: self.state.clone() }
    }

    /// An annotation that says who, since when or until when.
    pub fn owner(&self) -> Option<String> {
        self.metadata.annotations.as_ref()?.get(OWNER).cloned()
    }

    pub fn began(&self) -> Option<u64> {
        from_rfc3339(self.metadata.annotations.as_ref()?.get(BEGAN)?)
    }

    pub fn ends(&self) -> Option<u64> {
        from_rfc3339(self.metadata.annotations.as_ref()?.get(ENDS)?)
    }
}

/// Where a session's objects can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Namespaces with Jobs, pods and accounts of it.
    pub namespaces: BTreeSet<String>,
    /// The namespace that is itself the session's.
    pub own: Option<String>,
    /// There is a DaemonSet, or was one: who has none needs no right to look for it.
    pub daemonset: bool,
}

/// Every Job, pod, service account and, where there is one, DaemonSet in these places, and the session's own namespace. Labels are not asked for, so
/// that an object which has lost its label is still seen to be there.
pub(super) async fn look(client: &Client, places: &Places, session: &SessionId) -> Result<Vec<Seen>, Notice> {
    let mut seen = Vec::new();
    if let Some(own) = &places.own {
        let attempt = Attempt { what: format!("get namespace {own}"), rights: "get on namespaces" };
        let found = kinds::api(client, Kind::Namespace, None).get_opt(own).await;
        let found = found.map_err(|error| notice(&attempt, &error))?;
        seen.extend(found.map(|found| read(Kind::Namespace, found)));
    }
    let session = ListParams::default().labels(&format!("{SESSION_LABEL}={session}"));
    let lists = [
        (Kind::Job, ListParams::default(), "list on jobs (batch)"),
        (Kind::ServiceAccount, ListParams::default(), "list on serviceaccounts"),
        // Pods die with their Jobs; in a busy namespace the others are many.
        (Kind::Pod, session, "list on pods"),
    ];
    let daemonsets = places.daemonset.then(|| (Kind::DaemonSet, ListParams::default(), "list on daemonsets (apps)"));
    for namespace in &places.namespaces {
        for (kind, parameters, rights) in lists.iter().chain(&daemonsets) {
            let what = format!("list the {}s in {namespace}", kind.word());
            let api = &kinds::api(client, *kind, Some(namespace));
            let page = |page: ListParams| async move { api.list(&page).await };
            let listed = every(parameters.clone(), page, |found| seen.push(read(*kind, found))).await;
            listed.map_err(|error| notice(&Attempt { what, rights }, &error))?;
        }
    }
    Ok(seen)
}

/// Everything in the whole cluster that carries our label, of the kinds that sessions are found by.
pub(super) async fn everywhere(client: &Client) -> Result<Vec<Seen>, Notice> {
    let ours = ListParams::default().labels(MANAGED_BY);
    let mut seen = Vec::new();
    for (kind, rights) in [
        (Kind::Namespace, "list on namespaces"),
        (Kind::ServiceAccount, "list on serviceaccounts"),
        (Kind::Job, "list on jobs (batch)"),
        (Kind::DaemonSet, "list on daemonsets (apps)"),
    ] {
        let attempt = Attempt { what: format!("look for {}s of earlier sessions", kind.word()), rights };
        let api = &kinds::api(client, kind, None);
        let page = |page: ListParams| async move { api.list(&page).await };
        let listed =
            every(ours.clone(), page, |found| seen.extend(Some(read(kind, found)).filter(|one| one.session.is_some())));
        match listed.await {
            // Nobody who may not look at these has made one, and one of somebody else goes with its namespace.
            Err(kube::Error::Api(status)) if kind == Kind::DaemonSet && status.code == 403 => {}
            listed => listed.map_err(|error| notice(&attempt, &error))?,
        }
    }
    Ok(seen)
}

/// As the reaper's objects are named.
fn is_reapers(name: &str) -> bool {
    name.starts_with("reaper-") || name.starts_with("nodewatch-reaper")
}

fn read(kind: Kind, mut found: DynamicObject) -> Seen {
    // The most of it, and of no interest.
    found.metadata.managed_fields = None;
    let state = state(kind, &found);
    let purpose = match (found.annotations().get(NODE), kind) {
        (Some(node), _) => Purpose::Agent(NodeName(node.clone())),
        (None, Kind::Namespace) => Purpose::Session,
        (None, Kind::DaemonSet) => Purpose::LaterNodes,
        (None, _) if is_reapers(&found.name_any()) => Purpose::Reaper,
        (None, Kind::ServiceAccount) => Purpose::Accounts,
        // Somebody may have made it, or taken its Job from it.
        (None, _) => Purpose::Unknown,
    };
    let object = MadeObject { kind, namespace: found.namespace(), name: found.name_any(), uid: found.uid(), purpose };
    let session = found.labels().get(SESSION_LABEL).and_then(|id| id.parse().ok());
    let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array);
    let is_end = |condition: &Value| {
        condition["status"] == "True" && (condition["type"] == "Complete" || condition["type"] == "Failed")
    };
    let over = kind == Kind::Job && conditions.is_some_and(|conditions| conditions.iter().any(is_end));
    Seen { object, session, metadata: found.metadata, state, over }
}

fn state(kind: Kind, found: &DynamicObject) -> String {
    if found.metadata.deletion_timestamp.is_some() {
        return "being deleted".to_owned();
    }
    let status = |path: &str| found.data.pointer(path);
    match kind {
        Kind::Job => {
            let count = |path: &str| status(path).and_then(Value::as_u64).unwrap_or(0);
            match (count("/status/active"), count("/status/succeeded"), status("/status/conditions/0/reason")) {
                (1.., _, _) => "its pod is there".to_owned(),
                (0, 1.., _) => "has ended".to_owned(),
                (0, 0, Some(reason)) => format!("failed: {}", reason.as_str().unwrap_or_default()),
                (0, 0, None) => "no pod yet".to_owned(),
            }
        }
        Kind::DaemonSet => match status("/status/currentNumberScheduled").and_then(Value::as_u64) {
            Some(pods) => crate::base::text::counted(pods as usize, "pod"),
            None => "no pod yet".to_owned(),
        },
        Kind::Pod | Kind::Namespace => {
            status("/status/phase").and_then(Value::as_str).unwrap_or("there").to_lowercase()
        }
        Kind::ServiceAccount | Kind::Role | Kind::RoleBinding => "there".to_owned(),
    }
}
