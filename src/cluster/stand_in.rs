//! The DaemonSet that gives agents to nodes that join while nobody is attached.
//!
//! Owns its making, and what changes of it when the session is left again. It is removed as everything is.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{
    Cluster, deploy,
    error::{Attempt, notice},
    identity, kinds, lock,
    objects::{ENDS, STAND_IN},
    progress::AGENT,
};
use crate::{
    base::clock::rfc3339,
    journal::Journal,
    model::{Kind, MadeObject, Notice, StandIn},
};

/// Makes it; where it is there already, what it gives to later nodes is changed. Its name is returned.
pub(super) async fn stand_in(cluster: Cluster, what: StandIn) -> Result<String, Notice> {
    let headline = "nodes that join later get no agent";
    let Some((journal, header)) = cluster.journal() else {
        return Err(Notice::error(headline, "the session has created nothing yet", ""));
    };
    identity::check_uid(cluster.client(), &header.cluster).await?;
    let known = cluster.made().into_iter().find(|object| object.kind == Kind::DaemonSet && object.uid.is_some());
    match known {
        Some(known) => change(&cluster, &known, &what).await.map(|()| known.name),
        None => make(&cluster, &journal, &what).await,
    }
}

async fn make(cluster: &Cluster, journal: &std::sync::Arc<Journal>, what: &StandIn) -> Result<String, Notice> {
    let mut name = String::new();
    let draft = || {
        let draft = deploy::with_session(cluster, |session| session.agent_daemonset(what))?;
        name.clone_from(&draft.object.name);
        Ok(draft)
    };
    deploy::create(cluster, journal, draft).await?;
    Ok(name)
}

/// Only what its template says to agents that are still to come.
async fn change(cluster: &Cluster, known: &MadeObject, what: &StandIn) -> Result<(), Notice> {
    let ends = rfc3339(lock(&cluster.state.ends).unwrap_or_default());
    let annotations = json!({ENDS: ends, STAND_IN: json!(what.orders).to_string()});
    // By name, as a list in a plain patch would take the place of the whole list.
    let agent = json!({"name": AGENT, "image": cluster.settings().image.reference});
    let template = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [agent]}});
    let patch = json!({"spec": {"template": template}});
    let api = kinds::api(cluster.client(), Kind::DaemonSet, known.namespace.as_deref());
    let changed = api.patch(&known.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    let what = format!("change {}", known.text());
    changed.map(drop).map_err(|error| notice(&Attempt { what, rights: "patch on daemonsets (apps)" }, &error))
}
