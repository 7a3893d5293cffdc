//! What changes of a session's terms while it runs: its end, and the image that agents are deployed from.
//!
//! Owns the patches: each Job's deadline, the reaper's, and the annotation that says until when. Agents that run keep
//! their image.

use std::sync::atomic::Ordering;

use futures::{StreamExt, stream};
use kube::api::{Patch, PatchParams};
use nodewatch_protocol::UnixMillis;
use serde_json::json;

use super::{
    Cluster, PARALLEL,
    error::{Attempt, notice},
    image::{self, Reading},
    kinds, lock,
    objects::{DEADLINE, ENDS, REAPER_LONGER},
};
use crate::{
    base::clock::{rfc3339, steady_at, unix_millis, wall_at},
    journal::Entry,
    model::{AgentImage, Failure, Kind, MadeObject, Notice},
};

/// Deploys agents from that image from now on; what is odd about it is returned.
pub(super) fn set_image(cluster: &Cluster, reference: &str) -> Result<String, Notice> {
    let headline = "the image was not changed";
    let odd = match image::read(reference) {
        Reading::Good => String::new(),
        Reading::Odd(detail) => detail,
        Reading::Bad(detail) => {
            let cause = format!("{reference:?}: {detail}");
            return Err(Notice::error(headline, cause, "name another one").of(Failure::BadInput));
        }
    };
    // Without a journal nothing was made yet, and its first line will have it.
    if let Some((journal, _)) = cluster.journal() {
        journal.record(Entry::Image(reference.to_owned())).map_err(|error| error.notice(headline))?;
    }
    *lock(&cluster.state.image) = Some(AgentImage::from(reference));
    // Policies may refuse this one: the server is asked again.
    cluster.state.asked.store(false, Ordering::Relaxed);
    Ok(odd)
}

/// Moves the end of everything that the session has in the cluster. A Job's deadline counts from its start, so each
/// gets its own. Told as one failure when any of it failed; what worked holds.
pub(super) async fn set_ends(cluster: Cluster, ends: UnixMillis) -> Result<(), Notice> {
    let Some((journal, _)) = cluster.journal() else {
        *lock(&cluster.state.ends) = Some(steady_at(ends));
        return Ok(());
    };
    journal
        .record(Entry::Ends(ends))
        .map_err(|error| error.notice("the session's end was not moved: it cannot be recorded"))?;
    // Whatever is created from now on has the new end.
    *lock(&cluster.state.ends) = Some(steady_at(ends));
    // What is being created with the old one is let finish, so that it is moved too.
    drop(cluster.state.creating.write().await);
    let made = lock(&cluster.state.made).clone();
    let patches = made.into_iter().filter_map(|(at, object)| Some((patch(&object, wall_at(at), ends)?, object)));
    let results: Vec<Result<(), Notice>> = stream::iter(patches.collect::<Vec<_>>())
        .map(|(patch, object)| apply(&cluster, object, patch))
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let failures: Vec<Notice> = results.into_iter().filter_map(Result::err).collect();
    match failures.len() {
        0 => Ok(()),
        count => {
            let first = &failures[0];
            let headline = format!("the end of {count} objects was not moved");
            Err(Notice { headline, cause: first.line(), ..first.clone() })
        }
    }
}

/// What changes on an object; `None` where nothing says when it ends.
fn patch(object: &MadeObject, made: UnixMillis, ends: UnixMillis) -> Option<serde_json::Value> {
    match object.kind {
        Kind::Job => {
            let longer = if object.name.starts_with("reaper-") { REAPER_LONGER.as_secs() } else { 0 };
            // A Job starts within a second of its creation; a deadline must be above 0.
            let seconds = (ends.saturating_sub(made) / 1000 + longer).max(1);
            Some(json!({"spec": {"activeDeadlineSeconds": seconds}}))
        }
        Kind::Namespace | Kind::ServiceAccount => Some(json!({"metadata": {"annotations": {ENDS: rfc3339(ends)}}})),
        // For nodes that join later; agents that run have been told.
        Kind::DaemonSet => {
            let left = (ends.saturating_sub(unix_millis()) / 1000).max(1).to_string();
            let agent = json!({"name": "agent", "env": [{"name": DEADLINE, "value": left}]});
            Some(json!({"spec": {"template": {
                "metadata": {"annotations": {ENDS: rfc3339(ends)}},
                "spec": {"containers": [agent]}}}}))
        }
        Kind::Role | Kind::RoleBinding | Kind::Pod => None,
    }
}

async fn apply(cluster: &Cluster, object: MadeObject, patch: serde_json::Value) -> Result<(), Notice> {
    let api = kinds::api(cluster.client(), object.kind, object.namespace.as_deref());
    match api.patch(&object.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        // A Job that has ended and gone needs no end.
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => {
            let what = format!("move the end of {}", object.text());
            Err(notice(
                &Attempt { what, rights: "patch on jobs (batch), daemonsets (apps), namespaces, serviceaccounts" },
                &error,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Purpose;

    #[test]
    fn a_deadline_counts_from_its_own_job() {
        let object = |kind, name: &str| MadeObject {
            kind,
            namespace: None,
            name: name.into(),
            uid: None,
            purpose: Purpose::Unknown,
        };
        let deadline = |name: &str, made| {
            patch(&object(Kind::Job, name), made, 100_000).expect("a patch")["spec"]["activeDeadlineSeconds"].clone()
        };
        assert_eq!(deadline("agent-1", 0), 100);
        assert_eq!(deadline("agent-2", 40_000), 60);
        assert_eq!(deadline("agent-3", 100_000), 1, "an end that is now is a second away");
        assert_eq!(deadline("reaper-1", 0), 1900);
        assert_eq!(patch(&object(Kind::Role, "r"), 0, 1), None);
    }
}
