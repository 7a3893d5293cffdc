//! Removal of what the session has made: by UID and session label, and believed only when it was seen gone.
//!
//! Owns the order, the preconditions and the patience.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Error, Resource, ResourceExt,
    api::{Api, DeleteParams, Preconditions, PropagationPolicy},
};
use tokio::{sync::mpsc, time::sleep};

use super::{
    Cluster, Kind, Made,
    error::{Attempt, notice},
    lock,
    objects::SESSION_LABEL,
};
use crate::{
    model::{MadeObject, Removal},
    site::produce,
};

/// An object that is still there after this long is reported with what holds it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Calls to a server that cannot be reached are tried again for this long.
const UNREACHABLE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(300);
const PARALLEL: usize = 10;

pub(super) fn remove(cluster: Cluster) -> BoxStream<'static, Removal> {
    produce(move |tell| async move {
        // Jobs with their pods first: a namespace that is deleted around ending pods is looked at again only much later.
        let (jobs, rest): (Vec<Made>, Vec<Made>) =
            lock(&cluster.state.made).iter().cloned().partition(|made| made.kind == Kind::Job);
        for wanted in [jobs, rest] {
            stream::iter(wanted).for_each_concurrent(PARALLEL, |made| remove_one(&cluster, made, &tell)).await;
        }
        // Nobody listening means that the program has ended.
        let _ = tell.send(Removal::Finished).await;
    })
}

async fn remove_one(cluster: &Cluster, made: Made, tell: &mpsc::Sender<Removal>) {
    let facts = made.facts();
    let _ = tell.send(Removal::Removing(facts.clone())).await;
    let namespace = cluster.namespace();
    let client = cluster.client.clone();
    let outcome = match made.kind {
        Kind::Namespace => until_gone(&Api::<Namespace>::all(client), cluster, &made).await,
        Kind::ServiceAccount => {
            until_gone(&Api::<ServiceAccount>::namespaced(client, &namespace), cluster, &made).await
        }
        Kind::Job => until_gone(&Api::<Job>::namespaced(client, &namespace), cluster, &made).await,
    };
    let removal = match outcome {
        Ok(()) => {
            lock(&cluster.state.made).retain(|known| *known != made);
            Removal::Gone(facts)
        }
        Err(reason) => Removal::Failed(facts, reason),
    };
    let _ = tell.send(removal).await;
}

/// Deletes an object and waits until one with its UID is no longer there.
async fn until_gone<K>(api: &Api<K>, cluster: &Cluster, made: &Made) -> Result<(), String>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let began = Instant::now();
    let mut asked = false;
    loop {
        let step = if asked { look(api, made).await } else { ask(api, cluster, made).await };
        match step {
            Ok(Step::Gone) => return Ok(()),
            Ok(Step::There(held_by)) => {
                asked = true;
                if began.elapsed() >= PATIENCE {
                    return Err(format!("still there after {} s{held_by}", PATIENCE.as_secs()));
                }
            }
            Err(Trouble::Lasting(reason)) => return Err(reason),
            Err(Trouble::Passing(reason)) => {
                if began.elapsed() >= UNREACHABLE {
                    return Err(reason);
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

enum Step {
    Gone,
    /// What holds it, for a person; may be empty.
    There(String),
}

enum Trouble {
    Passing(String),
    Lasting(String),
}

/// Asks for the deletion of exactly this object.
async fn ask<K>(api: &Api<K>, cluster: &Cluster, made: &Made) -> Result<Step, Trouble>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let Some(found) = get(api, made).await? else { return Ok(Step::Gone) };
    if found.labels().get(SESSION_LABEL) != Some(&cluster.session.to_string()) {
        return Err(Trouble::Lasting(format!("it no longer carries the label {SESSION_LABEL}: left alone")));
    }
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(made.uid.clone()), ..Preconditions::default() }),
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    match api.delete(&made.name, &parameters).await {
        Ok(_) => Ok(Step::There(String::new())),
        Err(Error::Api(status)) if status.code == 404 => Ok(Step::Gone),
        // Another object has taken the name in the meantime: ours is gone.
        Err(Error::Api(status)) if status.code == 409 && status.message.contains("UID") => Ok(Step::Gone),
        Err(error) => Err(trouble(&made.facts(), "delete", &error)),
    }
}

async fn look<K>(api: &Api<K>, made: &Made) -> Result<Step, Trouble>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    Ok(match get(api, made).await? {
        None => Step::Gone,
        Some(found) if found.finalizers().is_empty() => Step::There(String::new()),
        Some(found) => Step::There(format!(", held by the finalizers {}", found.finalizers().join(", "))),
    })
}

/// The object with this name and UID; 404 and another UID both mean that it is gone.
async fn get<K>(api: &Api<K>, made: &Made) -> Result<Option<K>, Trouble>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.get_opt(&made.name).await {
        Ok(found) => Ok(found.filter(|found| found.uid().as_ref() == Some(&made.uid))),
        Err(error) => Err(trouble(&made.facts(), "get", &error)),
    }
}

fn trouble(object: &MadeObject, verb: &str, error: &Error) -> Trouble {
    let what = format!("{verb} {} {}", object.kind, object.name);
    let line = notice(&Attempt { what, rights: "get and delete on namespaces, serviceaccounts, jobs" }, error).line();
    match error {
        Error::Api(status) if (400..500).contains(&status.code) && status.code != 409 && status.code != 429 => {
            Trouble::Lasting(line)
        }
        Error::Auth(_) => Trouble::Lasting(line),
        _ => Trouble::Passing(line),
    }
}
