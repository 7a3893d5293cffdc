//! `nodewatch-tui`: parse, choose the site, run, exit with the right code.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use nodewatch_protocol::Freeze;
use nodewatch_tui::{
    app::{App, Event, Permission},
    cli::{AlarmsCommand, CleanupArgs, Cli, Command, NodeCommand, OutputArgs, PlaceArgs},
    clock,
    cluster::{AgentSettings, Cluster, Connection, Target},
    config::file::Config,
    headless::{self, Exit},
    journal::Journals,
    local::Local,
    logs::Logs,
    model::{Failure, LogsSettings, NodeName, Notice, Place, SessionId, StorageSettings, Way},
    runtime::{Engine, Outlets, terminal},
    site::Site,
    storage::Storage,
    text::visible,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(Exit::Failed.code())
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let place = &cli.place;
    let config = match Config::load() {
        Ok(config) => config,
        Err(error) => return Ok(refuse(&error.into())),
    };
    let outcome = match cli.command {
        None => return interactive(place, &config, None).await,
        Some(Command::Attach { session }) => return interactive(place, &config, Some(session)).await,
        Some(Command::OnNodes(command)) => Box::pin(on_nodes(place, &config, command)).await,
        Some(Command::Sessions { output }) => sessions(place, output).await,
        Some(Command::Cleanup(arguments)) => cleanup(place, &config, &arguments).await,
        Some(Command::Freeze { session, nodes, output }) => Box::pin(freeze(place, &session, nodes, output)).await,
        Some(Command::Alarms(command)) => alarms(place, command).await,
        Some(Command::Merge(arguments)) => Ok(headless::captures::merge(&arguments, place.out.as_deref())),
        Some(Command::Preflight { nodes, output }) => preflight(place, nodes, output).await,
        Some(Command::Manifests { nodes, session }) => manifests(place, nodes, session),
    };
    Ok(outcome.unwrap_or_else(|notice| refuse(&notice)))
}

fn refuse(notice: &Notice) -> Exit {
    say(&format!("error: {}", notice.line()));
    Exit::of(notice)
}

async fn on_nodes(place: &PlaceArgs, config: &Config, command: NodeCommand) -> Result<Exit, Notice> {
    let session = SessionId::new(rand::random());
    let out = out(place, &session);
    headless::check(&command, place.ring_size, &out)?;
    has_a_sink(place)?;
    if let NodeCommand::Ports { nodes, ports, output } = &command
        && let Some(since) = ports.since
    {
        let logs = Logs::open(logs_of(place, &cluster_name(place, None))?).await;
        return headless::reports::past(&logs, nodes, since, ports.port, output.format).await;
    }
    let (site, where_it_is) = site(place, &session).await?;
    if !matches!(command, NodeCommand::Nodes { .. }) {
        must_be_free(permission(place, config, &where_it_is), &where_it_is)?;
    }
    let captures = matches!(command, NodeCommand::Capture { .. });
    let reports = matches!(command, NodeCommand::Ports { .. });
    let cluster = cluster_name(place, Some(&where_it_is));
    let mut outlets = outlets(place, config, &out, &cluster).await;
    if !reports {
        outlets.logs = None;
    }
    let app = App::new(where_it_is, session, place.session_budget);
    let engine = Engine::start(settled(app, place, config), site, outlets);
    if captures {
        engine.check_storage().await?;
    }
    let run = headless::Settings { out: &out, interval: place.interval, cluster: &cluster };
    Ok(Box::pin(headless::run(engine, command, run)).await)
}

/// The alarms of a cluster. Nothing is deployed.
async fn alarms(place: &PlaceArgs, command: AlarmsCommand) -> Result<Exit, Notice> {
    let session = SessionId::new(0);
    let create = matches!(command, AlarmsCommand::Create { .. });
    // Only for the nodes, and for the cluster's name.
    let found = if create || place.logs.cluster_name.is_none() { Some(site(place, &session).await?) } else { None };
    let name = cluster_name(place, found.as_ref().map(|(_, place)| place));
    let settings = place.logs(&name).unwrap_or_else(|| LogsSettings {
        group: String::new(),
        per_node: false,
        retention_days: place.logs.log_retention,
        interval_seconds: place.interval.as_secs(),
        cluster: name.clone(),
        region: None,
        endpoint: None,
        way: place.way(),
        alarms: true,
        sns_topic: place.logs.sns_topic.clone(),
    });
    let logs = Logs::open(settings).await;
    headless::reports::alarms(&logs, command, found.map(|(site, _)| site)).await
}

/// The cluster's name in metrics and alarms: of an EKS context's ARN the last part.
fn cluster_name(arguments: &PlaceArgs, place: Option<&Place>) -> String {
    let from_context = || match place {
        Some(Place::Cluster { context, .. }) => {
            let last = context.rsplit('/').next().unwrap_or(context);
            last.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).take(100).collect()
        }
        Some(Place::Local) | None => "local".to_owned(),
    };
    arguments.logs.cluster_name.clone().unwrap_or_else(from_context)
}

fn logs_of(place: &PlaceArgs, cluster: &str) -> Result<LogsSettings, Notice> {
    let none = || {
        let next_step = "name it with --cloudwatch GROUP";
        Notice::error("there is no log group to read", "", next_step).of(Failure::BadInput)
    };
    place.logs(cluster).ok_or_else(none)
}

/// A role of the agents' own that nothing is sent with is a mistake.
fn has_a_sink(place: &PlaceArgs) -> Result<(), Notice> {
    let own = place.way() != Way::Grant;
    if own && place.storage.s3.is_none() && place.logs.cloudwatch.is_none() {
        let token = if place.storage.pod_identity { "--pod-identity" } else { "--irsa" };
        let next_step = "name a bucket with --s3, or a log group with --cloudwatch";
        let headline = format!("{token} has nowhere to deliver to");
        return Err(Notice::error(headline, "", next_step).of(Failure::BadInput));
    }
    Ok(())
}

async fn sessions(place: &PlaceArgs, output: OutputArgs) -> Result<Exit, Notice> {
    refuse_local(place)?;
    let current = Connection::open(&target(place)).await;
    Ok(headless::sessions::sessions(current, &journals()?, output.format).await)
}

async fn cleanup(place: &PlaceArgs, config: &Config, arguments: &CleanupArgs) -> Result<Exit, Notice> {
    refuse_local(place)?;
    if (place.read_only || config.read_only) && !arguments.dry_run {
        return Err(read_only());
    }
    let target = target(place);
    Ok(headless::sessions::cleanup(place, &journals()?, arguments, Connection::open(&target)).await)
}

async fn preflight(place: &PlaceArgs, nodes: Vec<String>, output: OutputArgs) -> Result<Exit, Notice> {
    refuse_local(place)?;
    let connection = Connection::open(&target(place)).await?;
    let cluster = Cluster::new(connection, SessionId::new(rand::random()), settings(place), journals()?);
    let storage = match place.storage() {
        Some(settings) => Some(Storage::open(settings).await),
        None => None,
    };
    Ok(headless::preflight::preflight(&cluster, storage.as_ref(), &names(nodes), output.format).await)
}

fn manifests(place: &PlaceArgs, nodes: Vec<String>, session: Option<SessionId>) -> Result<Exit, Notice> {
    let session = session.unwrap_or_else(|| SessionId::new(rand::random()));
    let yaml = Cluster::manifests(&session, &settings(place), &names(nodes))?;
    Ok(headless::preflight::manifests(&yaml))
}

/// Takes no session over: the agents are asked beside whoever has it.
async fn freeze(
    place: &PlaceArgs,
    session: &SessionId,
    nodes: Vec<String>,
    output: OutputArgs,
) -> Result<Exit, Notice> {
    refuse_local(place)?;
    let journals = journals()?;
    let headline = format!("session {session} cannot be frozen");
    let record = journals.all().into_iter().flatten().find(|record| record.header.session == *session);
    let unknown = || {
        Notice::error(headline.clone(), "this laptop has no journal of it", "see nodewatch-tui sessions")
            .of(Failure::BadInput)
    };
    let record = record.ok_or_else(unknown)?;
    let connection = Connection::again(&record.header.cluster).await?;
    let app = App::new(connection.place.clone(), session.clone(), place.session_budget);
    let app = settled(app, place, &Config::default());
    let cluster = Cluster::observe(connection, settings(place), journals, &record);
    let engine = Engine::start(app, Arc::new(cluster), out(place, session));
    Ok(Box::pin(headless::captures::freeze(engine, &names(nodes), frozen(place), output.format)).await)
}

/// The program on a terminal, and whatever session the user takes up in it after that.
async fn interactive(place: &PlaceArgs, config: &Config, attach: Option<SessionId>) -> anyhow::Result<Exit> {
    let mut attach = attach;
    loop {
        let engine = match begin(place, config, attach.take()).await {
            Ok(engine) => engine,
            Err(notice) => return Ok(refuse(&notice)),
        };
        let (exit, next) = on_terminal(engine).await?;
        if next.is_none() {
            return Ok(exit);
        }
        attach = next;
    }
}

/// Everything that can be refused before anything runs.
async fn begin(place: &PlaceArgs, config: &Config, attach: Option<SessionId>) -> Result<Engine, Notice> {
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        let next_step = "run it in one, or use the commands nodes, ports and capture (see --help)";
        return Err(Notice::error("there is no terminal to draw on", "", next_step).of(Failure::BadInput));
    }
    if let Some(session) = attach {
        refuse_local(place)?;
        if place.read_only || config.read_only {
            return Err(read_only());
        }
        return attached(place, config, &session).await;
    }
    let session = SessionId::new(rand::random());
    let out = out(place, &session);
    has_a_sink(place)?;
    let (site, where_it_is) = site(place, &session).await?;
    let mut app = App::new(where_it_is.clone(), session, place.session_budget);
    app.permission = permission(place, config, &where_it_is);
    let outlets = outlets(place, config, &out, &cluster_name(place, Some(&where_it_is))).await;
    let mut engine = Engine::start(settled(app, place, config), site, outlets);
    engine.find_sessions();
    engine.watch_storage();
    Ok(engine)
}

/// A session from its journal, in its own cluster.
async fn attached(place: &PlaceArgs, config: &Config, session: &SessionId) -> Result<Engine, Notice> {
    let headline = format!("session {session} cannot be taken up");
    let journals = journals()?;
    let (journal, record) = journals.open(session).map_err(|error| error.notice(headline.clone()))?;
    if record.is_over() {
        let next_step = "see nodewatch-tui sessions";
        return Err(Notice::error(headline, "nothing of it is left", next_step).of(Failure::BadInput));
    }
    let connection = Connection::again(&record.header.cluster).await?;
    let (began, ends) = (record.header.began, record.ends);
    let app = settled(App::new(connection.place.clone(), session.clone(), place.session_budget), place, config);
    // Where its reports went until now is where they go, unless another place is named.
    let cluster = cluster_name(place, Some(&connection.place));
    let logs = place.logs(&cluster).or_else(|| record.logs.clone());
    // Where its captures went until now is where they go, unless another place is named.
    let storage = place.storage().or_else(|| record.storage.clone());
    let cluster = Cluster::resume(connection, settings(place), journals, (journal, record))
        .map_err(|error| error.notice(headline))?;
    let outlets = outlets_with(storage, logs, config, &out(place, session)).await;
    let mut engine = Engine::start(app, Arc::new(cluster), outlets);
    engine.handle(Event::Attach { began, ends });
    Ok(engine)
}

async fn on_terminal(mut engine: Engine) -> anyhow::Result<(Exit, Option<SessionId>)> {
    let drawn = terminal::run(&mut engine).await;
    let app = engine.shut_down().await;
    let receipt = app.receipt();
    if app.ended.is_some() {
        // A terminal that is gone reads no receipt.
        let _ = std::io::stdout().write_all(receipt.text().as_bytes());
    }
    drawn.context("the terminal failed")?;
    let exit = match (receipt.left_behind(), receipt.lost.is_empty()) {
        (true, _) => Exit::LeftBehind,
        (false, false) => Exit::Partly,
        (false, true) => Exit::Done,
    };
    Ok((exit, app.attach_next))
}

async fn site(arguments: &PlaceArgs, session: &SessionId) -> Result<(Arc<dyn Site>, Place), Notice> {
    if arguments.local {
        return Ok((Arc::new(Local::new(arguments.processes)?), Place::Local));
    }
    let connection = Connection::open(&target(arguments)).await?;
    let place = connection.place.clone();
    Ok((Arc::new(Cluster::new(connection, session.clone(), settings(arguments), journals()?)), place))
}

fn target(arguments: &PlaceArgs) -> Target {
    Target { kubeconfig: arguments.kubeconfig.iter().cloned().collect(), context: arguments.context.clone() }
}

fn settings(arguments: &PlaceArgs) -> AgentSettings {
    AgentSettings {
        image: arguments.image.clone(),
        pull_policy: arguments.image_pull_policy,
        budget: arguments.session_budget,
        lease: arguments.lease,
        namespace: arguments.namespace.clone(),
        reaper: arguments.reaper,
        processes: arguments.processes,
        ring: arguments.ring_size,
        service_account: arguments.storage.service_account.clone(),
        role: arguments.storage.irsa.clone(),
        owner: clock::user_at_host(),
    }
}

fn journals() -> Result<Journals, Notice> {
    Journals::from_environment().map_err(|error| error.notice("there is no place for the journal"))
}

fn names(nodes: Vec<String>) -> Vec<NodeName> {
    nodes.into_iter().map(|name| NodeName(name.trim().to_owned())).collect()
}

fn out(arguments: &PlaceArgs, session: &SessionId) -> PathBuf {
    arguments.out.clone().unwrap_or_else(|| Path::new("nodewatch-captures").join(session.to_string()))
}

fn settled(mut app: App, arguments: &PlaceArgs, config: &Config) -> App {
    app.ports.exclude = arguments.exclude.clone().unwrap_or_else(|| config.exclude.clone());
    app.ports.named = arguments.expect.clone().unwrap_or_else(|| config.expect.clone());
    app.ports.processes = arguments.processes;
    app.session.lease = arguments.lease;
    app.freeze = frozen(arguments);
    app.ring_bytes = arguments.ring_size;
    app
}

fn frozen(arguments: &PlaceArgs) -> Freeze {
    Freeze { before_seconds: arguments.freeze_before.as_secs(), after_seconds: arguments.freeze_after.as_secs() }
}

async fn outlets(arguments: &PlaceArgs, config: &Config, folder: &Path, cluster: &str) -> Outlets {
    outlets_with(arguments.storage(), arguments.logs(cluster), config, folder).await
}

async fn outlets_with(
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

fn permission(arguments: &PlaceArgs, config: &Config, place: &Place) -> Permission {
    match place {
        Place::Local => Permission::Free,
        Place::Cluster { .. } if arguments.read_only || config.read_only => Permission::ReadOnly,
        Place::Cluster { context, .. } => {
            let confirmed = arguments.confirm.as_ref() == Some(context);
            if config.guards(context) && !confirmed { Permission::Guarded } else { Permission::Free }
        }
    }
}

/// Without a terminal nobody can type the context's name.
fn must_be_free(permission: Permission, place: &Place) -> Result<(), Notice> {
    match (permission, place) {
        (Permission::ReadOnly, _) => Err(read_only()),
        (Permission::Guarded, Place::Cluster { context, .. }) => {
            let headline = format!("context {context:?} is guarded against deployments by mistake");
            let next_step = format!("if you mean it: --confirm {context}");
            Err(Notice::error(headline, "it matches `production` in the config", next_step).of(Failure::BadInput))
        }
        (Permission::Guarded | Permission::Free, _) => Ok(()),
    }
}

fn read_only() -> Notice {
    Notice::error("nothing is changed", "this is read-only", "leave --read-only out, or read_only in the config")
        .of(Failure::BadInput)
}

fn refuse_local(arguments: &PlaceArgs) -> Result<(), Notice> {
    if !arguments.local {
        return Ok(());
    }
    let cause = "a session on this machine makes nothing outside this program";
    Err(Notice::error("--local has no sessions and no preflight", cause, "leave --local out").of(Failure::BadInput))
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{}", visible(text));
}
