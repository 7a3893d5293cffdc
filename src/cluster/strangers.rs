//! Objects in a session's namespace that are not the session's: while there are any, the namespace stays.
//!
//! Owns what counts as somebody else's. Every kind that can be created in a namespace is looked at, as far as the
//! user may list it.

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList, OwnerReference};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, ObjectMeta},
};

use super::{
    PARALLEL,
    error::{Attempt, notice},
    objects::SESSION_LABEL,
};
use crate::model::{Notice, SessionId};

/// ConfigMaps that controllers put into every namespace: Kubernetes, Istio, OpenShift.
const AUTOMATIC_CONFIG_MAPS: [&str; 3] = ["kube-root-ca.crt", "istio-ca-root-cert", "openshift-service-ca.crt"];
/// The same for service accounts: Kubernetes, OpenShift.
const AUTOMATIC_ACCOUNTS: [&str; 3] = ["default", "builder", "deployer"];

/// Names of somebody else's objects there, as in `ConfigMap notes`.
pub(super) async fn find(client: &Client, namespace: &str, session: &SessionId) -> Result<Vec<String>, Notice> {
    let kinds = kinds_that_people_make(client).await?;
    let found = stream::iter(kinds).map(|kind| async move {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        // What may not be listed is not looked at; SECURITY.md says so.
        let listed = api.list_metadata(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let strange = listed.into_iter().filter(|one| is_strange(&kind.kind, &one.metadata, session));
        strange.map(|one| format!("{} {}", kind.kind, one.metadata.name.unwrap_or_default())).collect::<Vec<_>>()
    });
    let mut found: Vec<String> = found.buffer_unordered(PARALLEL).concat().await;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Every kind that can be created, listed and deleted in a namespace, in each group's preferred version.
async fn kinds_that_people_make(client: &Client) -> Result<Vec<ApiResource>, Notice> {
    let attempt = Attempt { what: "ask which kinds of objects there are".to_owned(), rights: "none" };
    let core = client.list_core_api_resources("v1").await.map_err(|error| notice(&attempt, &error))?;
    let groups = client.list_api_groups().await.map_err(|error| notice(&attempt, &error))?;
    let versions = groups.groups.into_iter().filter_map(|group| {
        let preferred = group.preferred_version.or_else(|| group.versions.into_iter().next())?;
        Some(preferred.group_version)
    });
    // A group whose own server is away (metrics often is) must not hold up the removal.
    let asked =
        stream::iter(versions).map(|version| async move { client.list_api_group_resources(&version).await.ok() });
    let others: Vec<Option<APIResourceList>> = asked.buffer_unordered(PARALLEL).collect().await;
    let lists = [core].into_iter().chain(others.into_iter().flatten());
    Ok(lists.flat_map(|list| made_by_people(&list)).collect())
}

fn made_by_people(list: &APIResourceList) -> Vec<ApiResource> {
    let (group, version) = list.group_version.split_once('/').unwrap_or(("", &list.group_version));
    let wanted = list.resources.iter().filter(|kind| {
        let able = ["create", "delete", "list"].iter().all(|verb| kind.verbs.iter().any(|known| known == verb));
        // Subresources have a slash; events are told by everyone about everything.
        kind.namespaced && able && !kind.name.contains('/') && kind.kind != "Event"
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

/// Neither the session's, nor made by a controller for something that is looked at by itself.
fn is_strange(kind: &str, metadata: &ObjectMeta, session: &SessionId) -> bool {
    let has = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str, value: Option<&str>| {
        map.as_ref().and_then(|map| map.get(key)).is_some_and(|found| value.is_none_or(|value| found == value))
    };
    let name = metadata.name.as_deref().unwrap_or_default();
    let owned = metadata.owner_references.as_deref().is_some_and(|owners: &[OwnerReference]| !owners.is_empty());
    let automatic = match kind {
        "ConfigMap" => AUTOMATIC_CONFIG_MAPS.contains(&name),
        "ServiceAccount" => AUTOMATIC_ACCOUNTS.contains(&name),
        // A service account's token.
        "Secret" => has(&metadata.annotations, "kubernetes.io/service-account.name", None),
        "RoleBinding" => name.starts_with("system:"),
        _ => false,
    };
    !(has(&metadata.labels, SESSION_LABEL, Some(session.as_str())) || owned || automatic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strange(kind: &str, metadata: serde_json::Value) -> bool {
        let metadata = serde_json::from_value(metadata).expect("metadata");
        is_strange(kind, &metadata, &SessionId::new(1))
    }

    #[test]
    fn somebody_elses_objects_are_told_from_ours_and_from_automatic_ones() {
        use serde_json::json;
        assert!(strange("ConfigMap", json!({"name": "notes"})));
        assert!(strange("Job", json!({"name": "backup", "labels": {"nodewatch-tui/session": "00000002"}})));
        assert!(!strange("Job", json!({"name": "agent", "labels": {"nodewatch-tui/session": "00000001"}})));
        assert!(!strange("ConfigMap", json!({"name": "kube-root-ca.crt"})));
        assert!(strange("Secret", json!({"name": "kube-root-ca.crt"})));
        assert!(!strange(
            "Secret",
            json!({"name": "default-token-x", "annotations": {"kubernetes.io/service-account.name": "default"}})
        ));
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "agent", "uid": "1"}]);
        assert!(!strange("Pod", json!({"name": "agent-x", "ownerReferences": owner})));
        assert!(strange("Pod", json!({"name": "debug"})));
    }
}
