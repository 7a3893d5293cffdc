//! From options to the settings of the layers below.
//!
//! Owns no option; those are in `cli/`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nodewatch_protocol::Freeze;

use super::layers::{Setting, Source};
use crate::{
    base::{text, user},
    cli::{DiagnoseArgs, NodeCommand, Options, SETTINGS},
    cluster::{AgentSettings, Push, Target},
    config::file::Config,
    headless,
    journal::{Deployed, Journals, Pushed, Record},
    logs::Logs,
    model::{
        self, AgentImage, Failure, LogsSettings, NodeName, Notice, Place, PullPolicy, SessionId, StorageSettings, Way,
    },
    otlp::{self, Exporter},
    runtime::Outlets,
    session::{Permission, Terms},
    storage::Storage,
};

pub(super) fn target(options: &Options) -> Target {
    Target {
        kubeconfig: options.connection.kubeconfig.iter().cloned().collect(),
        context: options.connection.context.clone(),
    }
}

pub(super) fn agents(options: &Options) -> Result<AgentSettings, Notice> {
    can_stand_in(options)?;
    Ok(AgentSettings {
        image: image(options),
        pull_policy: options.agents.image_pull_policy,
        budget: options.session.budget,
        lease: options.session.lease,
        namespace: options.session.namespace.clone(),
        reaper: options.session.reaper,
        daemonset: options.session.daemonset,
        processes: options.agents.processes,
        ring: options.agents.ring_size,
        service_account: options.agents.service_account.clone(),
        role: options.credentials.irsa.clone(),
        push: pushed(options)?,
        owner: user::user_at_host(),
    })
}

/// The image that agents run from.
pub(super) fn image(options: &Options) -> AgentImage {
    match &options.agents.push_agent {
        Some(stock) => AgentImage::from(stock.as_str()),
        None => AgentImage { reference: options.agents.image.clone(), is_default: options.agents.image_is_default },
    }
}

/// With `--pods` what `-n` says is where these are; agents then have a namespace of the session's own. For a pod that is named
/// without its namespace `-n` would be either's.
pub(super) fn with_targets(options: &Options, mut command: NodeCommand) -> Result<(Options, NodeCommand), Notice> {
    let mut options = options.clone();
    if let NodeCommand::Diagnose(arguments) = &command
        && arguments.is_empty()
        && !options.local
    {
        let cause = "neither captures nor nodes are named";
        let next_step = "name captures (diagnose FILE...) or nodes (--all, --nodes, -l, --pod, --service; --local)";
        return Err(Notice::error("nothing to diagnose", cause, next_step).of(Failure::BadInput));
    }
    let (NodeCommand::Ports { targets, .. }
    | NodeCommand::Capture { targets, .. }
    | NodeCommand::Watch { targets, .. }
    | NodeCommand::Diagnose(DiagnoseArgs { targets, .. })) = &mut command
    else {
        return Ok((options, command));
    };
    let bare = |target: &&model::Target| matches!(target, model::Target::Pod(name) | model::Target::Service(name) if name.namespace.is_none());
    let typed = options.session.namespace.is_some();
    if targets.pods && typed {
        targets.namespace = options.session.namespace.take();
    } else if let Some(target) = targets.pod.iter().chain(&targets.service).find(bare).filter(|_| typed) {
        let cause = "-n is the namespace of the agents here";
        let next_step = "name it as NAMESPACE/NAME";
        return Err(Notice::error(format!("which namespace has {target}?"), cause, next_step).of(Failure::BadInput));
    }
    if options.local && (targets.pods || !targets.pod.is_empty() || !targets.service.is_empty()) {
        let notice = Notice::error("this machine has no pods", "it is the only node", "drop --local, or the pods");
        return Err(notice.of(Failure::BadInput));
    }
    Ok((options, command))
}

/// Only a reaper removes a DaemonSet whose laptop does not come back.
pub(super) fn can_stand_in(options: &Options) -> Result<(), Notice> {
    if !options.session.daemonset || options.session.reaper {
        return Ok(());
    }
    let cause = "a DaemonSet does not end by itself: without a reaper it would remain if this laptop never came back";
    Err(Notice::error("--daemonset needs --reaper", cause, "add --reaper").of(Failure::BadInput))
}

/// The options that a session was started with, from its journal, and a notice for each typed option that differs: it is
/// ignored, as all agents of a session have the same settings. Journals of earlier versions leave the options as they are.
pub(super) fn as_begun(options: &Options, record: &Record, in_force: &[Setting]) -> (Options, Vec<Notice>) {
    let header = &record.header;
    let mut begun = options.clone();
    begun.session.namespace = (!header.own_namespace).then(|| header.namespace.clone());
    let Some(agents) = &header.agents else { return (begun, Vec::new()) };
    if let Some(pushed) = &agents.pushed {
        begun.agents.push_agent = Some(agents.image.clone());
        begun.agents.push_agent_as_root = pushed.as_root;
    } else {
        begun.agents.image.clone_from(&agents.image);
        // Whoever takes it up has its agents already.
        begun.agents.image_is_default = false;
        (begun.agents.push_agent, begun.agents.push_agent_as_root) = (None, false);
    }
    begun.agents.image_pull_policy =
        agents.pull_policy.as_deref().and_then(|word| <PullPolicy as clap::ValueEnum>::from_str(word, false).ok());
    begun.session.lease = Duration::from_secs(agents.lease_seconds);
    begun.session.budget = Duration::from_millis(header.ends.saturating_sub(header.began));
    (begun.agents.processes, begun.agents.ring_size) = (agents.processes, agents.ring);
    (begun.session.reaper, begun.session.daemonset) = (agents.reaper, agents.daemonset);
    begun.agents.service_account.clone_from(&agents.service_account);
    begun.credentials.irsa.clone_from(&agents.role);

    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let switch = |on: bool| if on { "on" } else { "" }.to_owned();
    let size = |size: Option<u64>| size.map(text::bytes).unwrap_or_default();
    let policy = |policy: Option<PullPolicy>| policy.map(|policy| policy.word().to_owned()).unwrap_or_default();
    let both = |of: &dyn Fn(&Options) -> String| (of(options), of(&begun));
    let told = [
        ("image", both(&|args| args.agents.image.clone())),
        ("image_pull_policy", both(&|args| policy(args.agents.image_pull_policy))),
        ("push_agent", both(&|args| word(&args.agents.push_agent))),
        ("push_agent_as_root", both(&|args| switch(args.agents.push_agent_as_root))),
        ("session_budget", both(&|args| format!("{}s", args.session.budget.as_secs()))),
        ("namespace", both(&|args| word(&args.session.namespace))),
        ("lease", both(&|args| format!("{}s", args.session.lease.as_secs()))),
        ("processes", both(&|args| switch(args.agents.processes))),
        ("ring_size", both(&|args| size(args.agents.ring_size))),
        ("reaper", both(&|args| switch(args.session.reaper))),
        ("daemonset", both(&|args| switch(args.session.daemonset))),
        ("service_account", both(&|args| word(&args.agents.service_account))),
        ("irsa", both(&|args| word(&args.credentials.irsa))),
    ];
    // What is no setting has no default: a value was typed.
    let typed = |key: &str, now: &str| if SETTINGS.contains(&key) { is_typed(in_force, key) } else { !now.is_empty() };
    let notices = told.into_iter().filter(|(key, (now, then))| now != then && typed(key, now)).map(|(key, values)| {
        let (now, then) = values;
        let now = if now == "on" { String::new() } else { format!(" {now}") };
        let then = if then.is_empty() { "without it".to_owned() } else { format!("with {then}") };
        let headline = format!("--{}{now} is ignored", key.replace('_', "-"));
        let started = format!("session {} was started {then}", header.session);
        if key == "session_budget" {
            let cause = format!("{started}, and when it ends is not changed by attaching");
            return Notice::warning(headline, cause, "{budget} moves the end").naming_keys();
        }
        let cause = format!("{started}, and all its agents have the same settings");
        Notice::warning(headline, cause, "start another session to use it")
    });
    let notices = notices.collect();
    (begun, notices)
}

/// Where reports of a session that was started earlier go: where they went, unless a typed option names another log group.
/// Alarms that were made for it are still its own.
pub(super) fn logs_again(
    options: &Options,
    cluster: &str,
    record: &Record,
    in_force: &[Setting],
) -> Option<LogsSettings> {
    let then = record.logs.clone();
    match options.logs(cluster).filter(|_| then.is_none() || is_typed(in_force, "cloudwatch")) {
        Some(now) => Some(LogsSettings { alarms: now.alarms || record.has_alarms(), ..now }),
        None => then,
    }
}

/// Where its captures go: where they went, unless a typed option names another bucket.
pub(super) fn storage_again(options: &Options, record: &Record, in_force: &[Setting]) -> Option<StorageSettings> {
    let then = record.storage.clone();
    options.storage().filter(|_| then.is_none() || is_typed(in_force, "s3")).or(then)
}

/// Where else it has captures: a typed option does not move what is there.
pub(super) fn earlier_storage(record: &Record, now: Option<&StorageSettings>) -> Vec<StorageSettings> {
    let elsewhere = |then: &&StorageSettings| now.is_none_or(|now| !now.is_at_the_place_of(then));
    record.places().filter(elsewhere).cloned().collect()
}

fn is_typed(in_force: &[Setting], key: &str) -> bool {
    in_force.iter().any(|setting| setting.key == key && setting.source == Source::Flag)
}

/// The agents of a session that was started earlier, with its options.
pub(super) fn agents_again(begun: &Options, record: &Record) -> Result<AgentSettings, Notice> {
    let Some(Deployed { image, pushed: Some(pushed), .. }) = record.header.agents.as_deref() else {
        return agents(begun);
    };
    let named = begun.agents.agent_binary.clone().map(|program| Pushed { program, ..pushed.clone() });
    let push = Push::again(image.clone(), named.as_ref().unwrap_or(pushed));
    let mut without = begun.clone();
    (without.agents.push_agent, without.agents.image) = (None, image.clone());
    Ok(AgentSettings { push: Some(push), ..agents(&without)? })
}

pub(super) fn journals() -> Result<Journals, Notice> {
    Journals::from_environment().map_err(|error| error.notice("cannot create the journal"))
}

pub(super) fn names(nodes: &[String]) -> Vec<NodeName> {
    nodes.iter().map(|name| headless::named(name)).collect()
}

pub(super) fn out(options: &Options, session: &SessionId) -> PathBuf {
    options.out.clone().unwrap_or_else(|| Path::new("nodewatch-captures").join(session.to_string()))
}

/// What a session begins with as the user has set it.
pub(super) fn terms(options: &Options, place: Place, session: SessionId) -> Terms {
    Terms {
        owner: user::user_at_host(),
        exclude: options.ports.exclude.clone().unwrap_or_default(),
        expect: options.ports.expect.clone().unwrap_or_default(),
        namespace: options.session.namespace.clone(),
        image: image(options),
        processes: options.agents.processes,
        lease: options.session.lease,
        daemonset: options.session.daemonset,
        freeze: frozen(options),
        ring_bytes: options.agents.ring_size,
        sides: options.viewer_nodes,
        ..Terms::new(place, session, options.session.budget)
    }
}

pub(super) fn frozen(options: &Options) -> Freeze {
    Freeze { before_seconds: options.freeze.before.into(), after_seconds: options.freeze.after.into(), cause: None }
}

pub(super) async fn outlets(
    options: &Options,
    config: &Config,
    (folder, session): (&Path, &SessionId),
    cluster: &str,
) -> Result<Outlets, Notice> {
    let metrics = metrics(options, cluster, session)?;
    let outlets = outlets_with(options.storage(), options.logs(cluster), config, folder).await;
    Ok(Outlets { metrics, ..outlets })
}

/// The collector of a session's metrics, if there is one.
pub(super) fn metrics(options: &Options, cluster: &str, session: &SessionId) -> Result<Option<Arc<Exporter>>, Notice> {
    let Some(target) = &options.metrics else { return Ok(None) };
    let environment = |name: &str| std::env::var(name).ok();
    Ok(Exporter::open(target.url.as_deref(), (cluster, session), &environment)?.map(Arc::new))
}

/// That metrics were asked for and the environment has them switched off.
pub(super) fn switched_off(options: &Options) -> Option<Notice> {
    let is_off = options.metrics.is_some() && otlp::is_off(&|name| std::env::var(name).ok());
    let cause = || format!("{} is true", otlp::OFF);
    is_off.then(|| Notice::warning("no metrics are sent", cause(), "unset it to send them"))
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

pub(super) fn permission(options: &Options, config: &Config, place: &Place) -> Permission {
    match place {
        Place::Local => Permission::Free,
        Place::Cluster { .. } if options.connection.read_only => Permission::ReadOnly,
        Place::Cluster { context, .. } => {
            let confirmed = options.run.confirm.as_ref() == Some(context);
            if config.guards(context) && !confirmed { Permission::Guarded } else { Permission::Free }
        }
    }
}

/// The cluster's name in metrics and alarms: of an EKS context's ARN the last part.
pub(super) fn cluster_name(options: &Options, place: Option<&Place>) -> String {
    let from_context = || match place {
        Some(Place::Cluster { context, .. }) => {
            let last = context.rsplit('/').next().unwrap_or(context);
            last.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).take(100).collect()
        }
        Some(Place::Local) | None => "local".to_owned(),
    };
    options.log_group.cluster_name.clone().unwrap_or_else(from_context)
}

pub(super) fn logs_of(options: &Options, cluster: &str) -> Result<LogsSettings, Notice> {
    let none = || {
        let next_step = "add --cloudwatch GROUP";
        Notice::error("no log group given", "", next_step).of(Failure::BadInput)
    };
    options.logs(cluster).ok_or_else(none)
}

/// Credentials of the agents without a bucket or log group are a mistake.
pub(super) fn has_a_sink(options: &Options) -> Result<(), Notice> {
    let own = options.credentials.way() != Way::Grant;
    if own && options.s3.url.is_none() && options.log_group.cloudwatch.is_none() {
        let token = if options.credentials.pod_identity { "--pod-identity" } else { "--irsa" };
        let next_step = "add --s3 or --cloudwatch";
        let headline = format!("{token} needs a bucket or a log group");
        return Err(Notice::error(headline, "", next_step).of(Failure::BadInput));
    }
    Ok(())
}

/// The program to push into pods of a stock image, if any.
fn pushed(options: &Options) -> Result<Option<Push>, Notice> {
    let Some(image) = &options.agents.push_agent else { return Ok(None) };
    if options.session.reaper {
        let cause = "the reaper runs from the agent image";
        let notice = Notice::error("--reaper cannot be used with --push-agent", cause, "drop one of them");
        return Err(notice.of(Failure::BadInput));
    }
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("nodewatch-agent"));
    let path = options.agents.agent_binary.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("nodewatch-agent"));
    let push = Push::read(image.clone(), &path, options.agents.push_agent_as_root)?;
    Ok(Some(push))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::{cli::Cli, journal::Header, model::ClusterIdentity};

    #[test]
    fn with_labels_of_pods_the_namespace_is_theirs_and_a_bare_name_beside_it_is_refused() {
        let read = |arguments: &[&str]| {
            let cli = Cli::try_parse_from(["nodewatch-tui", "capture"].iter().chain(arguments))
                .map_err(|error| error.to_string())?;
            let Some(crate::cli::Command::OnNodes(command)) = cli.command else { panic!("it is on nodes") };
            let (options, command) = with_targets(&cli.options, command).map_err(|notice| notice.line())?;
            let NodeCommand::Capture { nodes, targets, .. } = command else { panic!("a capture") };
            let targets = targets.targets(&nodes)?;
            Ok::<_, String>((options.session.namespace, model::targets_text(&targets)))
        };
        let text = |arguments: &[&str]| read(arguments).map(|(_, text)| text);
        assert_eq!(read(&["--pods", "-l", "app=web", "-n", "shop"]), Ok((None, "pods with app=web in shop".into())));
        assert_eq!(text(&["--pods", "-l", "app=web"]), Ok("pods with app=web".into()));
        let own = (Some("tools".to_owned()), "pod shop/web-0, service shop/web".to_owned());
        assert_eq!(
            read(&["--pod", "shop/web-0", "--service", "shop/web", "--pod", "shop/web-0", "-n", "tools"]),
            Ok(own)
        );
        assert_eq!(text(&["--pod", "web-0"]), Ok("pod web-0".into()));
        for (wrong, told) in [
            (&["--pod", "web-0", "-n", "shop"][..], "which namespace has pod web-0?"),
            (&["--pod", "shop/web-0", "--local"], "this machine has no pods"),
            (&["--pod", "shop/web-0", "--all"], "cannot be used with"),
            (&["--pod", "shop/web-0", "-l", "a=b"], "cannot be used with"),
            (&["--pods"], "--selector"),
            (&["--pods", "-l", "a in b"], "found \"b\""),
            (&["--pod", "shop/Web"], "\"Web\" is no name"),
        ] {
            let error = read(wrong).expect_err("refused");
            assert!(error.contains(told), "{wrong:?}: {error}");
        }
    }

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
            earlier_storage: Vec::new(),
            logs: None,
            detached: true,
            last: 1,
        }
    }

    fn typed_options(arguments: &[&str]) -> (Options, Vec<Setting>) {
        let cli = Cli::try_parse_from([&["nodewatch-tui"], arguments].concat()).expect("arguments");
        let in_force = SETTINGS.iter().map(|&key| {
            let typed = arguments.contains(&format!("--{}", key.replace('_', "-")).as_str());
            let source = if typed { Source::Flag } else { Source::Default };
            Setting { key: key.to_owned(), value: Value::Null, source }
        });
        (cli.options, in_force.collect())
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
        let (bare, in_force) = typed_options(&[]);
        let (begun, told) = as_begun(&bare, &record(Some(begun_with())), &in_force);
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(
            (begun.agents.image.as_str(), begun.agents.image_pull_policy),
            ("mirror/agent:1", Some(PullPolicy::Never))
        );
        assert_eq!(
            (begun.session.lease.as_secs(), begun.agents.processes, begun.agents.ring_size),
            (7200, true, Some(1 << 30))
        );
        assert!(begun.session.reaper && !begun.session.daemonset);
        // Of a command that takes none of them, too.
        assert!(as_begun(&bare, &record(Some(begun_with())), &[]).1.is_empty());
        let agents = agents_again(&begun, &record(Some(begun_with()))).expect("agents");
        assert_eq!((agents.image.reference.as_str(), agents.lease.as_secs()), ("mirror/agent:1", 7200));
    }

    #[test]
    fn an_option_that_was_typed_and_says_otherwise_is_named() {
        let (typed, in_force) =
            typed_options(&["--lease", "5m", "--image", "mirror/agent:1", "--service-account", "a", "-n", "n"]);
        let (begun, told) = as_begun(&typed, &record(Some(begun_with())), &in_force);
        assert_eq!(begun.session.lease.as_secs(), 7200);
        let told: Vec<String> = told.iter().map(Notice::line).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("--namespace n is ignored"), "{told:?}");
        assert!(told[1].starts_with("--lease 300s is ignored: session 00000001 was started with 7200s"), "{told:?}");
        assert!(
            told[2].starts_with("--service-account a is ignored: session 00000001 was started without it"),
            "{told:?}"
        );
    }

    /// Unlike what its agents were started with, its end can be moved.
    #[test]
    fn a_typed_budget_is_ignored_in_its_own_words() {
        let (typed, in_force) = typed_options(&["--session-budget", "9h"]);
        let (_, told) = as_begun(&typed, &record(Some(begun_with())), &in_force);
        let [notice] = &told[..] else { panic!("{told:?}") };
        assert!(notice.headline.starts_with("--session-budget 32400s is ignored"), "{notice:?}");
        assert!(!notice.cause.contains("same settings") && notice.next_step == "{budget} moves the end", "{notice:?}");
        assert!(notice.names_keys);
    }

    /// What a config file says is for new sessions: one that made alarms goes on having them.
    #[test]
    fn reports_and_captures_go_on_going_where_they_went() {
        let (mut options, in_force) = typed_options(&["--cloudwatch", "/new", "--s3", "s3://new/x"]);
        let then = LogsSettings { group: "/then".into(), alarms: true, ..options.logs("c").expect("a group") };
        let storage = StorageSettings { url: "s3://then/x".parse().expect("a URL"), ..options.storage().expect("S3") };
        let record = Record { logs: Some(then.clone()), storage: Some(storage.clone()), ..record(None) };
        assert_eq!(logs_again(&options, "c", &record, &[]), Some(then), "from the file, not typed");
        assert_eq!(storage_again(&options, &record, &[]), Some(storage.clone()));
        let now = logs_again(&options, "c", &record, &in_force).expect("settings");
        assert_eq!((now.group.as_str(), now.alarms), ("/new", true));
        assert_eq!(storage_again(&options, &record, &in_force), options.storage());
        let now = options.storage();
        assert_eq!(earlier_storage(&record, now.as_ref()), std::slice::from_ref(&storage), "its captures are there");
        assert_eq!(earlier_storage(&record, Some(&storage)), []);
        options.log_group.cloudwatch = None;
        assert!(logs_again(&options, "c", &record, &in_force).is_some_and(|logs| logs.group == "/then"));
    }

    #[test]
    fn an_earlier_versions_journal_leaves_the_options_as_they_are() {
        let (typed, in_force) = typed_options(&["--lease", "5m", "--image", "x"]);
        let (begun, told) = as_begun(&typed, &record(None), &in_force);
        assert_eq!((begun.session.lease.as_secs(), begun.agents.image.as_str(), told.len()), (300, "x", 0));
    }

    /// The program that was sent is another one by now: pods that have it go on being asked under its path.
    #[test]
    fn a_session_with_a_sent_program_is_taken_up_without_it() {
        let pushed = Pushed { program: "/nowhere/agent".into(), sha256: "ab".repeat(32), as_root: true };
        let record = record(Some(Deployed { image: "stock:1".into(), pushed: Some(pushed), ..begun_with() }));
        let (bare, in_force) = typed_options(&[]);
        let (begun, told) = as_begun(&bare, &record, &in_force);
        assert!(told.is_empty() && begun.agents.push_agent.as_deref() == Some("stock:1"), "{told:?}");
        let agents = agents_again(&begun, &record).expect("agents");
        assert!(agents.push.is_some_and(|push| push.as_root && push.image == "stock:1"));
    }

    #[test]
    fn a_daemonset_that_nothing_would_remove_is_refused() {
        let (alone, _) = typed_options(&["--daemonset"]);
        let notice = can_stand_in(&alone).expect_err("refused");
        assert_eq!((notice.failure, notice.headline.as_str()), (Failure::BadInput, "--daemonset needs --reaper"));
        let (both, _) = typed_options(&["--daemonset", "--reaper"]);
        assert!(can_stand_in(&both).is_ok());
    }
}
