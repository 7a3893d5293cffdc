//! From the command line to what the layers are told.
//!
//! Owns no setting; each is said once in the command line's table.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use nodewatch_protocol::Freeze;

use crate::{
    app::{App, Permission},
    cli::PlaceArgs,
    clock,
    cluster::{AgentSettings, Push, Target},
    config::file::Config,
    journal::Journals,
    logs::Logs,
    model::{Failure, LogsSettings, NodeName, Notice, Place, SessionId, StorageSettings, Way},
    runtime::Outlets,
    storage::Storage,
};

pub(super) fn target(arguments: &PlaceArgs) -> Target {
    Target { kubeconfig: arguments.kubeconfig.iter().cloned().collect(), context: arguments.context.clone() }
}

pub(super) fn agents(arguments: &PlaceArgs) -> Result<AgentSettings, Notice> {
    Ok(AgentSettings {
        image: arguments.push_agent.clone().unwrap_or_else(|| arguments.image.clone()),
        pull_policy: arguments.image_pull_policy,
        budget: arguments.session_budget,
        lease: arguments.lease,
        namespace: arguments.namespace.clone(),
        reaper: arguments.reaper,
        processes: arguments.processes,
        ring: arguments.ring_size,
        service_account: arguments.storage.service_account.clone(),
        role: arguments.storage.irsa.clone(),
        push: pushed(arguments)?,
        owner: clock::user_at_host(),
    })
}

pub(super) fn journals() -> Result<Journals, Notice> {
    Journals::from_environment().map_err(|error| error.notice("there is no place for the journal"))
}

pub(super) fn names(nodes: Vec<String>) -> Vec<NodeName> {
    nodes.into_iter().map(|name| NodeName(name.trim().to_owned())).collect()
}

pub(super) fn out(arguments: &PlaceArgs, session: &SessionId) -> PathBuf {
    arguments.out.clone().unwrap_or_else(|| Path::new("nodewatch-captures").join(session.to_string()))
}

pub(super) fn settled(mut app: App, arguments: &PlaceArgs) -> App {
    app.ports.exclude = arguments.exclude.clone().unwrap_or_default();
    app.ports.named = arguments.expect.clone().unwrap_or_default();
    app.namespace.clone_from(&arguments.namespace);
    app.ports.processes = arguments.processes;
    app.session.lease = arguments.lease;
    app.freeze = frozen(arguments);
    app.ring_bytes = arguments.ring_size;
    app
}

pub(super) fn frozen(arguments: &PlaceArgs) -> Freeze {
    Freeze { before_seconds: arguments.freeze_before.into(), after_seconds: arguments.freeze_after.into() }
}

pub(super) async fn outlets(arguments: &PlaceArgs, config: &Config, folder: &Path, cluster: &str) -> Outlets {
    outlets_with(arguments.storage(), arguments.logs(cluster), config, folder).await
}

pub(super) async fn outlets_with(
    storage: Option<StorageSettings>,
    logs: Option<LogsSettings>,
    config: &Config,
    folder: &Path,
) -> Outlets {
    let mut outlets = Outlets::from(folder.to_owned());
    if let Some(settings) = logs {
        outlets.logs = Some(Arc::new(Logs::open(settings).await));
    }
    if let Some(settings) = storage {
        outlets.storage = Some(Arc::new(Storage::open(settings).await));
    }
    outlets.viewer.clone_from(&config.viewer);
    outlets
}

pub(super) fn permission(arguments: &PlaceArgs, config: &Config, place: &Place) -> Permission {
    match place {
        Place::Local => Permission::Free,
        Place::Cluster { .. } if arguments.read_only => Permission::ReadOnly,
        Place::Cluster { context, .. } => {
            let confirmed = arguments.confirm.as_ref() == Some(context);
            if config.guards(context) && !confirmed { Permission::Guarded } else { Permission::Free }
        }
    }
}

/// The cluster's name in metrics and alarms: of an EKS context's ARN the last part.
pub(super) fn cluster_name(arguments: &PlaceArgs, place: Option<&Place>) -> String {
    let from_context = || match place {
        Some(Place::Cluster { context, .. }) => {
            let last = context.rsplit('/').next().unwrap_or(context);
            last.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).take(100).collect()
        }
        Some(Place::Local) | None => "local".to_owned(),
    };
    arguments.logs.cluster_name.clone().unwrap_or_else(from_context)
}

pub(super) fn logs_of(place: &PlaceArgs, cluster: &str) -> Result<LogsSettings, Notice> {
    let none = || {
        let next_step = "name it with --cloudwatch GROUP";
        Notice::error("there is no log group to read", "", next_step).of(Failure::BadInput)
    };
    place.logs(cluster).ok_or_else(none)
}

/// A role of the agents' own that nothing is sent with is a mistake.
pub(super) fn has_a_sink(place: &PlaceArgs) -> Result<(), Notice> {
    let own = place.way() != Way::Grant;
    if own && place.storage.s3.is_none() && place.logs.cloudwatch.is_none() {
        let token = if place.storage.pod_identity { "--pod-identity" } else { "--irsa" };
        let next_step = "name a bucket with --s3, or a log group with --cloudwatch";
        let headline = format!("{token} has nowhere to deliver to");
        return Err(Notice::error(headline, "", next_step).of(Failure::BadInput));
    }
    Ok(())
}

/// What is sent to pods of a stock image, where that is asked for.
fn pushed(arguments: &PlaceArgs) -> Result<Option<Push>, Notice> {
    let Some(image) = &arguments.push_agent else { return Ok(None) };
    if arguments.reaper {
        let cause = "the reaper runs from the agent image";
        let notice = Notice::error("--reaper does not go with --push-agent", cause, "leave one of them out");
        return Err(notice.of(Failure::BadInput));
    }
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("nodewatch-agent"));
    let path = arguments.agent_binary.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("nodewatch-agent"));
    let push = Push::read(image.clone(), &path, arguments.push_agent_as_root)?;
    Ok(Some(push))
}
