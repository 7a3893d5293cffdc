//! Objects in a session's namespace that are not the session's: while there are any, the namespace stays.
//!
//! Owns what counts as somebody else's. Every kind that can be created in a namespace is looked at, page by page and by
//! its metadata alone. Only a refusal (403) means that a kind may not be looked at; whatever else goes wrong is tried
//! again, and then nothing is known.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList},
};
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, ListParams, ObjectMeta},
};
use tokio::time::{Instant, sleep};

use super::{
    PARALLEL,
    error::{Attempt, notice},
    objects::SESSION_LABEL,
};
use crate::model::{Notice, SessionId};

/// Objects a page.
const PAGE: u32 = 500;
/// Each call is tried so often at least.
const TRIES: u32 = 3;
const TRY_EVERY: Duration = Duration::from_millis(300);
/// More than so many objects are not looked through: it is no namespace for a few agents any more.
const MANY: usize = 50_000;

/// ConfigMaps that controllers put into every namespace: Kubernetes, Istio, OpenShift.
const AUTOMATIC_CONFIG_MAPS: [&str; 3] = ["kube-root-ca.crt", "istio-ca-root-cert", "openshift-service-ca.crt"];
/// The same for service accounts: Kubernetes, OpenShift.
const AUTOMATIC_ACCOUNTS: [&str; 3] = ["default", "builder", "deployer"];
/// A secret with one of these belongs to a service account.
const ACCOUNT_SECRETS: [&str; 2] =
    ["kubernetes.io/service-account.name", "openshift.io/internal-registry-auth-token.service-account"];

/// Kinds that mean nothing without the namespace: rules for what is in it, and reports on that. The group's last labels
/// are compared, as in `authorization.openshift.io`.
const ABOUT_THE_NAMESPACE: [(&str, &str); 22] = [
    ("", "Event"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    // They say where a service is, which is looked at itself.
    ("", "Endpoints"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("events.k8s.io", "Event"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("extensions", "NetworkPolicy"),
    ("projectcalico.org", "NetworkPolicy"),
    ("projectcalico.org", "StagedNetworkPolicy"),
    ("cilium.io", "CiliumNetworkPolicy"),
    ("cilium.io", "CiliumEndpoint"),
    ("antrea.io", "NetworkPolicy"),
    ("networking.k8s.aws", "PolicyEndpoint"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("authorization.openshift.io", "Role"),
    ("authorization.openshift.io", "RoleBinding"),
    ("authorization.openshift.io", "RoleBindingRestriction"),
    ("hnc.x-k8s.io", "HierarchyConfiguration"),
    ("kyverno.io", "UpdateRequest"),
    ("secscan.quay.redhat.com", "ImageManifestVuln"),
];
/// Groups whose kinds that end in `Report` are what scanners and policy engines found.
const REPORTS: [&str; 5] =
    ["wgpolicyk8s.io", "openreports.io", "reports.kyverno.io", "kyverno.io", "aquasecurity.github.io"];

/// Labels and annotations, by how they begin, of what engines copy into namespaces: Kyverno, Capsule, Reflector,
/// Replicator, Rancher's projects.
const COPIED: [&str; 8] = [
    "generate.kyverno.io/",
    "capsule.clastix.io/resources",
    "capsule.clastix.io/managed-by",
    "projectcapsule.dev/managed-by",
    "reflector.v1.k8s.emberstack.com/reflects",
    "replicator.v1.mittwald.de/replicated-",
    "management.cattle.io/project-scoped-secret-copy",
    "hnc.x-k8s.io/inherited-from",
];
/// What such a copy can be: it is data, and no workload.
const DATA: [&str; 3] = ["ConfigMap", "Secret", "ServiceAccount"];

/// What is known to be no stranger in a namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// UIDs of the session's own objects, also of those that are gone.
    pub ours: BTreeSet<String>,
    /// What was there before anything of the session, by [`Stranger::key`].
    pub before: BTreeSet<String>,
}

/// Somebody else's object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stranger {
    kind: String,
    name: String,
    group: String,
}

impl Stranger {
    /// For people: `ConfigMap notes`.
    pub fn text(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// It, also when it is made anew: `ConfigMap/notes`, `Sidecar.networking.istio.io/default`.
    pub fn key(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}/{}", self.kind, self.group, self.name)
    }
}

/// What a look at a namespace found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// What is not the session's, sorted.
    pub strangers: Vec<Stranger>,
    /// Kinds that may not be looked at, sorted.
    pub hidden: Vec<String>,
}

/// What is there and not the session's. Trying again ends at that time.
pub(super) async fn find(
    client: &Client,
    namespace: &str,
    session: &SessionId,
    known: &Known,
    until: Instant,
) -> Result<Contents, Notice> {
    let (kinds, mut hidden) = kinds_that_people_make(client, until).await?;
    let looks = stream::iter(kinds).map(|kind| async move {
        let listed = list(client, namespace, &kind, session, known, until).await;
        listed.map(|listed| (kind, listed))
    });
    let looks = looks.buffer_unordered(PARALLEL);
    futures::pin_mut!(looks);
    let mut all = Vec::new();
    while let Some((kind, listed)) = looks.try_next().await? {
        match listed {
            Some(listed) => all.extend(listed),
            None => hidden.push(kind.plural),
        }
        if all.len() > MANY {
            let cause = format!("it contains more than {MANY} objects");
            return Err(Notice::error(format!("{namespace} was not searched"), cause, "check what it is used for"));
        }
    }
    hidden.sort();
    hidden.dedup();
    Ok(Contents { strangers: judge(&all, known), hidden })
}

/// Data that is there and not the session's, as far as it can be seen: what engines copy into every namespace.
pub(super) async fn data(client: &Client, namespace: &str, session: &SessionId) -> Vec<Stranger> {
    let kinds = [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
    ];
    let known = Known::default();
    let looks = kinds.iter().map(|kind| list(client, namespace, kind, session, &known, Instant::now()));
    let found = futures::future::join_all(looks).await;
    let listed: Vec<Listed> = found.into_iter().filter_map(Result::ok).flatten().flatten().collect();
    judge(&listed, &known)
}

/// Tries until it works, may not be, or the time is up. `None` when it may not be.
async fn again<T, F: Future<Output = Result<T, Error>>>(
    attempt: &Attempt,
    until: Instant,
    mut work: impl FnMut() -> F,
) -> Result<Option<T>, Notice> {
    let mut tries = 0;
    loop {
        match work().await {
            Ok(found) => return Ok(Some(found)),
            Err(Error::Api(status)) if status.code == 403 => return Ok(None),
            Err(error) => {
                tries += 1;
                if tries >= TRIES && Instant::now() >= until {
                    return Err(notice(attempt, &error));
                }
                sleep(TRY_EVERY * tries.min(10)).await;
            }
        }
    }
}

/// Every kind that can be created, listed and deleted in a namespace, in each group's preferred version; and the groups
/// that may not be asked.
async fn kinds_that_people_make(client: &Client, until: Instant) -> Result<(Vec<ApiResource>, Vec<String>), Notice> {
    let attempt = Attempt { what: "list the kinds of objects".to_owned(), rights: "none" };
    let core = again(&attempt, until, || client.list_core_api_resources("v1")).await?;
    let groups = again(&attempt, until, || client.list_api_groups()).await?;
    let mut hidden = Vec::new();
    if core.is_none() {
        hidden.push("the core kinds".to_owned());
    }
    if groups.is_none() {
        hidden.push("all other kinds".to_owned());
    }
    let versions = groups.into_iter().flat_map(|groups| groups.groups).filter_map(|group| {
        let preferred = group.preferred_version.or_else(|| group.versions.into_iter().next())?;
        Some(preferred.group_version)
    });
    let asked = stream::iter(versions).map(|version| async move {
        let what = format!("list the kinds in {version}");
        let attempt = Attempt { what, rights: "none" };
        let found = again(&attempt, until, || client.list_api_group_resources(&version)).await;
        found.map(|found| found.ok_or(version.clone()))
    });
    let others: Vec<Result<APIResourceList, String>> = asked.buffer_unordered(PARALLEL).try_collect().await?;
    let mut kinds: Vec<ApiResource> = core.iter().flat_map(made_by_people).collect();
    for other in others {
        match other {
            Ok(list) => kinds.extend(made_by_people(&list)),
            Err(version) => hidden.push(version),
        }
    }
    Ok((kinds, hidden))
}

fn made_by_people(list: &APIResourceList) -> Vec<ApiResource> {
    let (group, version) = list.group_version.split_once('/').unwrap_or(("", &list.group_version));
    let wanted = list.resources.iter().filter(|kind| {
        let able = ["create", "delete", "list"].iter().all(|verb| kind.verbs.iter().any(|known| known == verb));
        // Subresources have a slash.
        kind.namespaced && able && !kind.name.contains('/') && !is_about_the_namespace(group, &kind.kind)
    });
    let resource = |kind: &APIResource| ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: list.group_version.clone(),
        kind: kind.kind.clone(),
        plural: kind.name.clone(),
    };
    wanted.map(resource).collect()
}

/// Rules and reports go with what they are about.
fn is_about_the_namespace(group: &str, kind: &str) -> bool {
    let within = |known: &str| known == group || (!known.is_empty() && group.ends_with(&format!(".{known}")));
    ABOUT_THE_NAMESPACE.iter().any(|(known, of)| *of == kind && within(known))
        || (kind.ends_with("Report") && REPORTS.iter().any(|known| within(known)))
}

/// What is kept of an object while a namespace is looked through.
#[derive(Debug, Clone)]
struct Listed {
    stranger: Stranger,
    uid: String,
    owners: Vec<String>,
    /// The session's, a controller's for every namespace, or a policy's.
    accounted: bool,
    /// The session's own.
    ours: bool,
}

/// All objects of a kind; `None` where they may not be listed.
async fn list(
    client: &Client,
    namespace: &str,
    kind: &ApiResource,
    session: &SessionId,
    known: &Known,
    until: Instant,
) -> Result<Option<Vec<Listed>>, Notice> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
    let attempt = Attempt { what: format!("list the {} in {namespace}", kind.plural), rights: "list on all kinds" };
    let look = || async {
        let mut listed = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let (items, next) = page_of(&api, &page).await?;
            listed.extend(items.into_iter().map(|one| read(kind, one, session, known)));
            match next.filter(|next| !next.is_empty()) {
                Some(next) if listed.len() <= MANY => page = page.continue_token(&next),
                _ => return Ok(listed),
            }
        }
    };
    again(&attempt, until, look).await
}

async fn page_of(api: &Api<DynamicObject>, page: &ListParams) -> Result<(Vec<ObjectMeta>, Option<String>), Error> {
    match api.list_metadata(page).await {
        Ok(list) => Ok((list.items.into_iter().map(|one| one.metadata).collect(), list.metadata.continue_)),
        // Servers beside the API server need not know this form.
        Err(Error::Api(status)) if status.code == 406 => {
            let list = api.list(page).await?;
            Ok((list.items.into_iter().map(|one| one.metadata).collect(), list.metadata.continue_))
        }
        Err(error) => Err(error),
    }
}

fn read(kind: &ApiResource, metadata: ObjectMeta, session: &SessionId, known: &Known) -> Listed {
    let stranger = Stranger {
        kind: kind.kind.clone(),
        name: metadata.name.clone().unwrap_or_default(),
        group: kind.group.clone(),
    };
    let uid = metadata.uid.clone().unwrap_or_default();
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(SESSION_LABEL));
    let ours = known.ours.contains(&uid) || label.is_some_and(|label| label == session.as_str());
    let accounted = ours || is_automatic(&kind.kind, &metadata) || known.before.contains(&stranger.key());
    let owners = metadata.owner_references.into_iter().flatten().map(|owner| owner.uid).collect();
    Listed { stranger, uid, owners, accounted, ours }
}

/// Put there by a controller, as into every namespace.
fn is_automatic(kind: &str, metadata: &ObjectMeta) -> bool {
    let name = metadata.name.as_deref().unwrap_or_default();
    let marks = || metadata.labels.iter().chain(&metadata.annotations).flatten();
    let automatic = match kind {
        "ConfigMap" => AUTOMATIC_CONFIG_MAPS.contains(&name),
        "ServiceAccount" => AUTOMATIC_ACCOUNTS.contains(&name),
        "Secret" => marks().any(|(key, _)| ACCOUNT_SECRETS.contains(&key.as_str())),
        _ => false,
    };
    let copied = |(key, value): (&String, &String)| {
        COPIED.iter().any(|mark| key.starts_with(mark)) || (key == "app.kubernetes.io/managed-by" && value == "kyverno")
    };
    automatic || (DATA.contains(&kind) && marks().any(copied))
}

/// Which of these are somebody else's. An object with owners goes by them, up the chain: it is passed over when one
/// that has none was seen, which is judged by itself, or when one is the session's.
fn judge(listed: &[Listed], known: &Known) -> Vec<Stranger> {
    let by_uid: HashMap<&str, &Listed> = listed.iter().map(|one| (one.uid.as_str(), one)).collect();
    let mut seen = BTreeSet::new();
    let mut strangers: Vec<Stranger> = listed
        .iter()
        .filter(|one| !one.accounted && !goes_with_another(one, &by_uid, known))
        // What two groups have is one object.
        .filter(|one| one.uid.is_empty() || seen.insert(one.uid.as_str()))
        .map(|one| one.stranger.clone())
        .collect();
    strangers.sort();
    strangers.dedup();
    strangers
}

fn goes_with_another(one: &Listed, by_uid: &HashMap<&str, &Listed>, known: &Known) -> bool {
    let mut ahead: Vec<&str> = one.owners.iter().map(String::as_str).collect();
    let mut been = BTreeSet::new();
    while let Some(uid) = ahead.pop() {
        if known.ours.contains(uid) {
            return true;
        }
        // Owners that own each other lead nowhere.
        if !been.insert(uid) {
            continue;
        }
        match by_uid.get(uid) {
            Some(owner) if owner.ours => return true,
            // It is named itself.
            Some(owner) if owner.owners.is_empty() && !owner.accounted => return true,
            Some(owner) => ahead.extend(owner.owners.iter().map(String::as_str)),
            None => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kind(group: &str, kind: &str) -> ApiResource {
        ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: kind.into(),
            plural: kind.to_lowercase(),
        }
    }

    fn strangers_beside(known: &Known, objects: &[(&str, Value)]) -> Vec<String> {
        let listed: Vec<Listed> = objects
            .iter()
            .enumerate()
            .map(|(index, (of, metadata))| {
                let mut metadata: ObjectMeta = serde_json::from_value(metadata.clone()).expect("metadata");
                metadata.uid.get_or_insert_with(|| format!("uid-{index}"));
                read(&kind("", of), metadata, &SessionId::new(1), known)
            })
            .collect();
        judge(&listed, known).iter().map(Stranger::text).collect()
    }

    fn strangers(objects: &[(&str, Value)]) -> Vec<String> {
        strangers_beside(&Known::default(), objects)
    }

    fn owned(name: &str, uid: &str, owner: &str) -> Value {
        json!({"name": name, "uid": uid,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Any", "name": owner, "uid": owner}]})
    }

    #[test]
    fn somebody_elses_objects_are_told_from_ours_and_from_automatic_ones() {
        let found = strangers(&[
            ("ConfigMap", json!({"name": "notes"})),
            ("ConfigMap", json!({"name": "kube-root-ca.crt"})),
            ("Job", json!({"name": "backup", "labels": {"nodewatch-tui/session": "00000002"}})),
            ("Job", json!({"name": "agent", "labels": {"nodewatch-tui/session": "00000001"}})),
            ("Secret", json!({"name": "kube-root-ca.crt"})),
            ("Secret", json!({"name": "x", "annotations": {"kubernetes.io/service-account.name": "default"}})),
            ("ServiceAccount", json!({"name": "default"})),
            ("Pod", json!({"name": "debug"})),
        ]);
        assert_eq!(found, ["ConfigMap notes", "Job backup", "Pod debug", "Secret kube-root-ca.crt"]);
    }

    #[test]
    fn owners_are_followed_up_the_chain_and_each_must_have_been_seen() {
        let chain = |objects: &[(&str, Value)]| strangers(objects);
        // A pod of a Deployment: the Deployment is named.
        assert_eq!(
            chain(&[
                ("Deployment", json!({"name": "web", "uid": "d"})),
                ("ReplicaSet", owned("web-1", "r", "d")),
                ("Pod", owned("web-1-x", "p", "r")),
            ]),
            ["Deployment web"]
        );
        // The Deployments may not be listed, or the owner is of a kind of its own: the first one that is seen is named.
        assert_eq!(
            chain(&[("ReplicaSet", owned("web-1", "r", "d")), ("Pod", owned("web-1-x", "p", "r"))]),
            ["Pod web-1-x", "ReplicaSet web-1"]
        );
        // A bare ReplicaSet that may not be listed.
        assert_eq!(chain(&[("Pod", owned("bare-x", "p", "r"))]), ["Pod bare-x"]);
        // Owners that own each other are nobody's.
        assert_eq!(chain(&[("Job", owned("a", "a", "b")), ("Job", owned("b", "b", "a"))]), ["Job a", "Job b"]);
        // What every namespace has speaks for nothing but itself.
        assert_eq!(
            chain(&[("ServiceAccount", json!({"name": "default", "uid": "s"})), ("Pod", owned("debug", "p", "s"))]),
            ["Pod debug"]
        );
    }

    #[test]
    fn what_ours_own_is_ours_also_when_they_are_gone() {
        let known = Known { ours: ["job-1".to_owned()].into(), ..Known::default() };
        let label = json!({"nodewatch-tui/session": "00000001"});
        let there = [
            ("Pod", json!({"name": "agent-x", "uid": "p", "labels": label})),
            ("WorkloadEndpoint", owned("agent-x", "w", "p")),
            ("PodGroup", owned("agent", "g", "job-1")),
        ];
        assert_eq!(strangers_beside(&known, &there), Vec::<String>::new());
    }

    #[test]
    fn what_policies_put_there_is_no_stranger() {
        let before = ["Secret/registry".to_owned(), "Sidecar.networking.istio.io/default".to_owned()].into();
        let known = Known { before, ..Known::default() };
        let there = [
            // Made anew since.
            ("Secret", json!({"name": "registry", "uid": "another"})),
            ("Secret", json!({"name": "copy", "labels": {"generate.kyverno.io/policy-name": "sync"}})),
            ("ConfigMap", json!({"name": "ca", "annotations": {"replicator.v1.mittwald.de/replicated-from": "a/ca"}})),
            ("Secret", json!({"name": "mine"})),
            // A workload is one, whoever made it.
            ("Deployment", json!({"name": "web", "labels": {"generate.kyverno.io/policy-name": "sync"}})),
        ];
        assert_eq!(strangers_beside(&known, &there), ["Deployment web", "Secret mine"]);
        for (group, kind) in [
            ("", "LimitRange"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("crd.projectcalico.org", "NetworkPolicy"),
            ("wgpolicyk8s.io", "PolicyReport"),
            ("reports.kyverno.io", "EphemeralReport"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
        ] {
            assert!(is_about_the_namespace(group, kind), "{kind}.{group}");
        }
        for (group, kind) in
            [("", "Secret"), ("example.com", "Role"), ("example.com", "Report"), ("apps", "Deployment")]
        {
            assert!(!is_about_the_namespace(group, kind), "{kind}.{group}");
        }
    }
}
