//! From the command line to what the layers are told.
//!
//! Owns no setting; each is said once in the command line's table.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nodewatch_protocol::Freeze;

use super::layers::{Setting, Source};
use crate::{
    base::{clock, text},
    cli::PlaceArgs,
    cluster::{AgentSettings, Push, Target},
    config::file::Config,
    journal::{Deployed, Journals, Pushed, Record},
    logs::Logs,
    model::{Failure, LogsSettings, NodeName, Notice, Place, PullPolicy, SessionId, StorageSettings, Way},
    runtime::Outlets,
    session::{Permission, Terms},
    storage::Storage,
};

pub(super) fn target(arguments: &PlaceArgs) -> Target {
    Target { kubeconfig: arguments.kubeconfig.iter().cloned().collect(), context: arguments.context.clone() }
}

pub(super) fn agents(arguments: &PlaceArgs) -> Result<AgentSettings, Notice> {
    can_stand_in(arguments)?;
    Ok(AgentSettings {
        image: arguments.push_agent.clone().unwrap_or_else(|| arguments.image.clone()),
        pull_policy: arguments.image_pull_policy,
        budget: arguments.session_budget,
        lease: arguments.lease,
        namespace: arguments.namespace.clone(),
        reaper: arguments.reaper,
        daemonset: arguments.daemonset,
        processes: arguments.processes,
        ring: arguments.ring_size,
        service_account: arguments.storage.service_account.clone(),
        role: arguments.storage.irsa.clone(),
        push: pushed(arguments)?,
        owner: clock::user_at_host(),
    })
}

/// Without a reaper nothing would ever remove a DaemonSet whose laptop does not come back.
pub(super) fn can_stand_in(arguments: &PlaceArgs) -> Result<(), Notice> {
    if !arguments.daemonset || arguments.reaper {
        return Ok(());
    }
    let cause =
        "a DaemonSet does not end by itself: without a reaper it would stay where this laptop does not come back";
    Err(Notice::error("--daemonset needs --reaper", cause, "say --reaper too").of(Failure::BadInput))
}

/// The options as a session was begun with them, by its journal, and what the command line says otherwise. A session's
/// agents are all alike: what was typed is not taken, and said. Journals of earlier versions leave the options as they are.
pub(super) fn as_begun(place: &PlaceArgs, record: &Record, in_force: &[Setting]) -> (PlaceArgs, Vec<Notice>) {
    let header = &record.header;
    let mut begun = place.clone();
    begun.namespace = (!header.own_namespace).then(|| header.namespace.clone());
    let Some(agents) = &header.agents else { return (begun, Vec::new()) };
    if let Some(pushed) = &agents.pushed {
        begun.push_agent = Some(agents.image.clone());
        begun.push_agent_as_root = pushed.as_root;
    } else {
        begun.image.clone_from(&agents.image);
        (begun.push_agent, begun.push_agent_as_root) = (None, false);
    }
    begun.image_pull_policy =
        agents.pull_policy.as_deref().and_then(|word| <PullPolicy as clap::ValueEnum>::from_str(word, false).ok());
    begun.lease = Duration::from_secs(agents.lease_seconds);
    (begun.processes, begun.ring_size) = (agents.processes, agents.ring);
    (begun.reaper, begun.daemonset) = (agents.reaper, agents.daemonset);
    begun.storage.service_account.clone_from(&agents.service_account);
    begun.storage.irsa.clone_from(&agents.role);

    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let switch = |on: bool| if on { "on" } else { "" }.to_owned();
    let size = |size: Option<u64>| size.map(text::bytes).unwrap_or_default();
    let policy = |policy: Option<PullPolicy>| policy.map(|policy| policy.word().to_owned()).unwrap_or_default();
    let both = |of: &dyn Fn(&PlaceArgs) -> String| (of(place), of(&begun));
    let told = [
        ("image", both(&|args| args.image.clone())),
        ("image_pull_policy", both(&|args| policy(args.image_pull_policy))),
        ("push_agent", both(&|args| word(&args.push_agent))),
        ("push_agent_as_root", both(&|args| switch(args.push_agent_as_root))),
        ("lease", both(&|args| format!("{}s", args.lease.as_secs()))),
        ("processes", both(&|args| switch(args.processes))),
        ("ring_size", both(&|args| size(args.ring_size))),
        ("reaper", both(&|args| switch(args.reaper))),
        ("daemonset", both(&|args| switch(args.daemonset))),
        ("service_account", both(&|args| word(&args.storage.service_account))),
        ("irsa", both(&|args| word(&args.storage.irsa))),
    ];
    // The last two are no settings: what they say was typed.
    let source = |key: &str| in_force.iter().find(|setting| setting.key == key).map(|setting| setting.source);
    let typed = |key: &str, now: &str| source(key).map_or(!now.is_empty(), |source| source == Source::Flag);
    let notices = told.into_iter().filter(|(key, (now, then))| now != then && typed(key, now)).map(|(key, values)| {
        let (now, then) = values;
        let now = if now == "on" { String::new() } else { format!(" {now}") };
        let then = if then.is_empty() { "without it".to_owned() } else { format!("with {then}") };
        let headline = format!("--{}{now} is not taken", key.replace('_', "-"));
        let cause = format!("session {} was begun {then}, and its agents are all alike", header.session);
        Notice::warning(headline, cause, "begin another session for it")
    });
    let notices = notices.collect();
    (begun, notices)
}

/// The agents of a session that was begun earlier, for those options.
pub(super) fn agents_again(begun: &PlaceArgs, record: &Record) -> Result<AgentSettings, Notice> {
    let Some(Deployed { image, pushed: Some(pushed), .. }) = record.header.agents.as_deref() else {
        return agents(begun);
    };
    let named = begun.agent_binary.clone().map(|program| Pushed { program, ..pushed.clone() });
    let push = Push::again(image.clone(), named.as_ref().unwrap_or(pushed));
    let without = PlaceArgs { push_agent: None, image: image.clone(), ..begun.clone() };
    Ok(AgentSettings { push: Some(push), ..agents(&without)? })
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

/// What a session begins with as the user has set it.
pub(super) fn terms(arguments: &PlaceArgs, place: Place, session: SessionId) -> Terms {
    Terms {
        exclude: arguments.exclude.clone().unwrap_or_default(),
        expect: arguments.expect.clone().unwrap_or_default(),
        namespace: arguments.namespace.clone(),
        processes: arguments.processes,
        lease: arguments.lease,
        daemonset: arguments.daemonset,
        freeze: frozen(arguments),
        ring_bytes: arguments.ring_size,
        ..Terms::new(place, session, arguments.session_budget)
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::{
        cli::{Cli, SETTINGS},
        journal::Header,
        model::ClusterIdentity,
    };

    fn record(agents: Option<Deployed>) -> Record {
        let cluster = ClusterIdentity {
            kubeconfig: Vec::new(),
            context: "c".into(),
            server: "https://s".into(),
            ca_sha256: None,
            kube_system_uid: "u".into(),
        };
        let header = Header {
            session: SessionId::new(1),
            owner: "me@here".into(),
            began: 1,
            ends: 2,
            cluster,
            namespace: "n".into(),
            own_namespace: true,
            agents: agents.map(Box::new),
        };
        Record {
            ends: 2,
            header,
            objects: Vec::new(),
            before: BTreeSet::new(),
            storage: None,
            logs: None,
            detached: true,
            last: 1,
        }
    }

    fn place(arguments: &[&str]) -> (PlaceArgs, Vec<Setting>) {
        let cli = Cli::try_parse_from([&["nodewatch-tui"], arguments].concat()).expect("arguments");
        let in_force = SETTINGS.iter().map(|&key| {
            let typed = arguments.contains(&format!("--{}", key.replace('_', "-")).as_str());
            let source = if typed { Source::Flag } else { Source::Default };
            Setting { key: key.to_owned(), value: Value::Null, source }
        });
        (cli.place, in_force.collect())
    }

    fn begun_with() -> Deployed {
        Deployed {
            image: "mirror/agent:1".into(),
            pull_policy: Some("Never".into()),
            lease_seconds: 7200,
            processes: true,
            ring: Some(1 << 30),
            reaper: true,
            ..Deployed::default()
        }
    }

    #[test]
    fn a_session_is_taken_up_as_it_was_begun_without_an_option() {
        let (bare, in_force) = place(&[]);
        let (begun, told) = as_begun(&bare, &record(Some(begun_with())), &in_force);
        assert!(told.is_empty(), "{told:?}");
        assert_eq!((begun.image.as_str(), begun.image_pull_policy), ("mirror/agent:1", Some(PullPolicy::Never)));
        assert_eq!((begun.lease.as_secs(), begun.processes, begun.ring_size), (7200, true, Some(1 << 30)));
        assert!(begun.reaper && !begun.daemonset);
        let agents = agents_again(&begun, &record(Some(begun_with()))).expect("agents");
        assert_eq!((agents.image.as_str(), agents.lease.as_secs()), ("mirror/agent:1", 7200));
    }

    #[test]
    fn an_option_that_was_typed_and_says_otherwise_is_named() {
        let (typed, in_force) =
            place(&["--lease", "5m", "--image", "mirror/agent:1", "--service-account", "a", "-n", "n"]);
        let (begun, told) = as_begun(&typed, &record(Some(begun_with())), &in_force);
        assert_eq!(begun.lease.as_secs(), 7200);
        let told: Vec<String> = told.iter().map(Notice::line).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("--lease 300s is not taken: session 00000001 was begun with 7200s"), "{told:?}");
        assert!(
            told[1].starts_with("--service-account a is not taken: session 00000001 was begun without it"),
            "{told:?}"
        );
    }

    #[test]
    fn an_earlier_versions_journal_leaves_the_options_as_they_are() {
        let (typed, in_force) = place(&["--lease", "5m", "--image", "x"]);
        let (begun, told) = as_begun(&typed, &record(None), &in_force);
        assert_eq!((begun.lease.as_secs(), begun.image.as_str(), told.len()), (300, "x", 0));
    }

    /// The program that was sent is another one by now: pods that have it go on being asked under its path.
    #[test]
    fn a_session_with_a_sent_program_is_taken_up_without_it() {
        let pushed = Pushed { program: "/nowhere/agent".into(), sha256: "ab".repeat(32), as_root: true };
        let record = record(Some(Deployed { image: "stock:1".into(), pushed: Some(pushed), ..begun_with() }));
        let (bare, in_force) = place(&[]);
        let (begun, told) = as_begun(&bare, &record, &in_force);
        assert!(told.is_empty() && begun.push_agent.as_deref() == Some("stock:1"), "{told:?}");
        let agents = agents_again(&begun, &record).expect("agents");
        assert!(agents.push.is_some_and(|push| push.as_root && push.image == "stock:1"));
    }

    #[test]
    fn a_daemonset_that_nothing_would_remove_is_refused() {
        let (alone, _) = place(&["--daemonset"]);
        let notice = can_stand_in(&alone).expect_err("refused");
        assert_eq!((notice.failure, notice.headline.as_str()), (Failure::BadInput, "--daemonset needs --reaper"));
        let (both, _) = place(&["--daemonset", "--reaper"]);
        assert!(can_stand_in(&both).is_ok());
    }
}
