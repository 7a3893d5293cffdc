//! The program: settings in layers, a command, an exit code.
//!
//! Owns which command becomes what. Every other layer is known here and knows nothing of it.

mod generated;
mod interactive;
mod kubectl;
pub mod layers;
mod replay;
mod settings;
pub mod tables;
mod tools;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    sync::Arc,
};

use crate::{
    agents::{
        local::{Local, LocalError},
        ready,
        rings::Rings,
        site::Site,
    },
    base::text::{self, visible},
    cli::{AlarmsCommand, CleanupArgs, Cli, Command, Format, NodeCommand, Options, OutputArgs, ReportArgs},
    cluster::{self, Cluster, Connection},
    config::file::Config,
    headless::{self, ExitCode, Shown, records::SETTING},
    logs::Logs,
    model::{Failure, LogsSettings, Notice, Place, SessionId},
    record::Recorder,
    runtime::{Engine, handoff, spool},
    session::Permission,
    storage::Storage,
};
use layers::{LayersError, Setting, Source};
use settings::{
    agents, agents_again, as_begun, can_stand_in, cluster_name, frozen, has_a_sink, journals, logs_of, names, out,
    outlets, permission, target, terms,
};

/// Runs the program with these arguments; the first one is its own name.
pub async fn run(arguments: &[OsString]) -> ExitCode {
    if let Some(words) = kubectl::words(arguments) {
        let fitting = kubectl::completions(words, &layers::command());
        return headless::settle(print(&fitting), Shown::Results).await;
    }
    let (cli, config, in_force) = match layers::read(arguments) {
        Ok(read) => read,
        Err(LayersError::CommandLine(error)) => {
            // Help and version are no errors, and go to standard output.
            return if error.use_stderr() {
                // Nobody is left to tell when standard error is gone.
                let _ = error.print();
                ExitCode::BadUsage
            } else {
                headless::settle(help(&error), Shown::Results).await
            };
        }
        Err(LayersError::Config(error)) => return headless::settle(refuse(&error.into()), Shown::Results).await,
        Err(error @ LayersError::Environment { .. }) => {
            let notice = Notice::error("invalid environment variable", error.to_string(), "correct it or unset it");
            return headless::settle(refuse(&notice.of(Failure::BadInput)), Shown::Results).await;
        }
    };
    let shown = match &cli.command {
        None | Some(Command::Attach { .. }) => Shown::Screens,
        Some(Command::Replay(arguments)) if !arguments.print => Shown::Screens,
        Some(_) => Shown::Results,
    };
    let outcome = Box::pin(obey(cli, &config, &in_force)).await;
    headless::settle(outcome.unwrap_or_else(|notice| refuse(&notice)), shown).await
}

async fn obey(cli: Cli, config: &Config, in_force: &[Setting]) -> Result<ExitCode, Notice> {
    let options = &cli.options;
    if let Some(output) = cli.command.as_ref().and_then(Command::output) {
        headless::write_as(output);
    }
    choice_has_alarms(&cli, in_force)?;
    // Shells read the output of some commands, and others list or remove leftovers themselves.
    let quiet = matches!(
        cli.command,
        None | Some(
            Command::Attach { .. }
                | Command::Sessions { .. }
                | Command::Cleanup(_)
                | Command::Explain(_)
                | Command::Mcp(_)
                | Command::Completions { .. }
                | Command::Man
                | Command::Config { .. }
        )
    );
    if !quiet {
        headless::rings::warn(&Rings::from_environment());
    }
    match cli.command {
        None => Box::pin(interactive::run((options, in_force), config, None)).await,
        Some(Command::Attach { session, trust }) => {
            if let Some(uid) = &trust.trust_cluster {
                cluster::trust_cluster(None, &journals()?, uid).await?;
            }
            let attach = || Box::pin(interactive::run((options, in_force), config, Some(session.clone())));
            match attach().await {
                // Asked in the plain terminal; a recording has one beginning.
                Err(notice) if options.run.record.is_none() && headless::cleanup::is_right(&notice).await => {
                    cluster::trust(None, &journals()?, &session).await?;
                    attach().await
                }
                outcome => outcome,
            }
        }
        Some(Command::OnNodes(NodeCommand::Diagnose(arguments))) if !arguments.files.is_empty() => {
            Ok(headless::diagnose::diagnose(arguments).await)
        }
        Some(Command::OnNodes(command)) => {
            let (options, command) = settings::with_targets(options, command)?;
            Box::pin(on_nodes(&options, config, command)).await
        }
        Some(Command::Sessions { output }) => sessions(options, output).await,
        Some(Command::Cleanup(arguments)) => Box::pin(cleanup(options, &arguments)).await,
        Some(Command::Freeze { session, nodes, trust, output }) => {
            Box::pin(freeze((options, in_force), &session, nodes, trust.trust_cluster, output)).await
        }
        Some(Command::Alarms(command)) => alarms(options, command).await,
        Some(Command::Merge(arguments)) => Ok(headless::merge::merge(arguments, options.out.as_deref()).await),
        Some(Command::Explain(arguments)) => Ok(headless::explain::explain(&arguments)),
        Some(Command::Preflight { nodes, output }) => preflight(options, nodes, output).await,
        Some(Command::Manifests { nodes, session }) => manifests(options, &nodes, session),
        Some(Command::Config { output }) => Ok(settings_in_force(in_force, config, output)),
        Some(Command::Report(arguments)) => report(options, &arguments),
        Some(Command::Mcp(arguments)) => tools::serve((options, in_force), &arguments).await,
        Some(Command::Replay(arguments)) => replay::run(options, config, &arguments).await,
        Some(Command::Completions { shell }) => Ok(print(&String::from_utf8_lossy(&generated::completions(shell)))),
        Some(Command::Man) => generated::man()
            .map(|page| print(&String::from_utf8_lossy(&page)))
            .map_err(|error| Notice::error("cannot write the manual page", error.to_string(), "")),
    }
}

/// A command that prints one result, and is done.
fn print(result: &str) -> ExitCode {
    headless::print(result);
    ExitCode::Done
}

/// Help or the version, in colours where there is a terminal for them.
fn help(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if coloured { print(&text.ansi().to_string()) } else { print(&text.to_string()) }
}

fn settings_in_force(in_force: &[Setting], config: &Config, output: OutputArgs) -> ExitCode {
    match output.format {
        Format::Table | Format::Wide => headless::print(&layers::as_toml(in_force, config.path.as_deref())),
        Format::Name => headless::print_names(in_force.iter().map(|setting| setting.key.clone())),
        Format::Json | Format::Yaml => {
            headless::print_values(&SETTING, layers::as_json(in_force), output.format);
        }
    }
    ExitCode::Done
}

/// The report of a session, from its journal on this laptop or from a recording.
fn report(options: &Options, arguments: &ReportArgs) -> Result<ExitCode, Notice> {
    let (summary, exit) = match (&arguments.from, &arguments.session) {
        (Some(file), _) => replay::summary(file)?,
        (None, Some(session)) => (headless::sessions::summary(&journals()?, session)?, ExitCode::Done),
        // The command line asks for one of them.
        (None, None) => return Ok(ExitCode::BadUsage),
    };
    if arguments.print {
        print(&crate::handover::markdown(&summary));
        return Ok(exit);
    }
    let folder = out(options, &summary.session);
    let written = handoff::write_report(&folder, &summary).map_err(|error| {
        let cause = text::chain(&error);
        Notice::error("cannot write the report", cause, "free some space, fix the permissions, or choose another --out")
    })?;
    for path in written {
        print(&format!("{}\n", visible(&path.display().to_string())));
    }
    Ok(exit)
}

fn refuse(notice: &Notice) -> ExitCode {
    say(&format!("error: {}", notice.line()));
    ExitCode::of(notice)
}

async fn on_nodes(options: &Options, config: &Config, command: NodeCommand) -> Result<ExitCode, Notice> {
    let session = SessionId::new(rand::random());
    let out = out(options, &session);
    headless::check(&command, options.agents.ring_size, &out)?;
    can_stand_in(options)?;
    has_a_sink(options)?;
    let recorder = recorder(options)?;
    if matches!(command, NodeCommand::Capture { .. } | NodeCommand::Watch { .. } | NodeCommand::Diagnose(_)) {
        can_capture(options)?;
    }
    if let NodeCommand::Ports { nodes, ports, output, .. } = &command
        && let Some(since) = ports.since
    {
        let logs = Logs::open(logs_of(options, &cluster_name(options, None))?).await;
        return headless::port_reports::past(&logs, nodes, since, ports.port, output.format).await;
    }
    let (site, where_it_is) = site(options, &session).await?;
    if !matches!(command, NodeCommand::Nodes { .. }) {
        must_be_free(permission(options, config, &where_it_is), &where_it_is)?;
    }
    let captures = matches!(command, NodeCommand::Capture { .. });
    let reports = matches!(command, NodeCommand::Ports { .. });
    let cluster = cluster_name(options, Some(&where_it_is));
    let mut outlets = outlets(options, config, (&out, &session), &cluster).await?;
    if !reports {
        outlets.logs = None;
    }
    if let Some(logs) = &outlets.logs {
        headless::port_reports::check(logs).await?;
    }
    if let Some(notice) = settings::switched_off(options) {
        say(&format!("warning: {}", notice.line()));
    }
    let deploys = !matches!(command, NodeCommand::Nodes { .. }) && where_it_is != Place::Local;
    if let Some(notice) = settings::image(options).unpublished().filter(|_| deploys) {
        say(&format!("warning: {}", notice.line()));
    }
    let terms = headless::terms(&command, &out, terms(options, where_it_is, session));
    let mut engine = Engine::start(terms, site, outlets);
    if let Some(recorder) = recorder {
        engine.record(recorder)?;
    }
    if captures {
        engine.check_storage().await?;
    }
    let run = headless::Settings { out: &out, interval: options.interval, cluster: &cluster };
    Ok(Box::pin(headless::run(engine, command, run)).await)
}

/// The alarms of a cluster. Nothing is deployed.
async fn alarms(options: &Options, command: AlarmsCommand) -> Result<ExitCode, Notice> {
    let session = SessionId::new(0);
    let create = matches!(command, AlarmsCommand::Create { .. });
    // Only for the nodes, and for the cluster's name.
    let found =
        if create || options.log_group.cluster_name.is_none() { Some(site(options, &session).await?) } else { None };
    let name = cluster_name(options, found.as_ref().map(|(_, place)| place));
    let settings = options.logs(&name).unwrap_or_else(|| LogsSettings {
        group: String::new(),
        per_node: false,
        retention_days: options.reporting.log_retention,
        interval_seconds: options.interval.as_secs(),
        cluster: name.clone(),
        region: None,
        endpoint: None,
        way: options.credentials.way(),
        alarms: true,
        sns_topic: options.sns_topic.clone(),
        alarm_on: options.alarm_on.clone(),
    });
    let logs = Logs::open(settings).await;
    headless::port_reports::alarms(&logs, command, found.map(|(site, _)| site)).await
}

/// A topic, or a choice of alarms, without alarms is a mistake if it is typed. In the config file it is for the sessions that
/// have alarms.
fn choice_has_alarms(cli: &Cli, in_force: &[Setting]) -> Result<(), Notice> {
    let made =
        cli.options.reporting.alarms || matches!(cli.command, Some(Command::Alarms(AlarmsCommand::Create { .. })));
    let typed = |key: &str| in_force.iter().any(|setting| setting.key == key && setting.source == Source::Flag);
    let choices = [("sns_topic", "--sns-topic"), ("alarm_on", "--alarm-on")];
    let Some((_, option)) = choices.into_iter().find(|(key, _)| !made && typed(key)) else { return Ok(()) };
    let next_step = format!("add --alarms, or drop {option}");
    let notice = Notice::error(format!("{option} needs alarms"), "this command creates none", next_step);
    Err(notice.of(Failure::BadInput))
}

/// The file is created before anything else.
fn recorder(options: &Options) -> Result<Option<Recorder>, Notice> {
    options.run.record.as_deref().map(Recorder::create).transpose().map_err(|error| error.notice())
}

/// A pushed program has no file capability, and without one only root has NET_RAW.
fn can_capture(options: &Options) -> Result<(), Notice> {
    if options.agents.push_agent.is_none() || options.agents.push_agent_as_root || options.agents.processes {
        return Ok(());
    }
    let cause = "a pushed program cannot carry the capability NET_RAW, which a non-root pod gets from its image";
    let next_step = "use the agent image (--image), or run the pods as uid 0 with NET_RAW alone: --push-agent-as-root";
    Err(Notice::error("--push-agent cannot capture", cause, next_step).of(Failure::BadInput))
}

async fn sessions(options: &Options, output: OutputArgs) -> Result<ExitCode, Notice> {
    let rings = Rings::from_environment().all();
    if options.local {
        return Ok(headless::sessions::sessions(None, &rings, output.format).await);
    }
    let journals = journals()?;
    let current = Connection::open(&target(options)).await;
    Ok(headless::sessions::sessions(Some((current, &journals)), &rings, output.format).await)
}

async fn cleanup(options: &Options, arguments: &CleanupArgs) -> Result<ExitCode, Notice> {
    if options.connection.read_only && !arguments.dry_run {
        return Err(read_only());
    }
    let (here, exit) = if arguments.forget {
        (Vec::new(), ExitCode::Done)
    } else {
        headless::rings::cleanup(&Rings::from_environment(), arguments).await
    };
    let mut elsewhere = arguments.clone();
    // Captures in S3 go by the same id, whoever has the session.
    // A session whose ring stays, as it is in use, goes on delivering.
    let captures = arguments.captures && exit == ExitCode::Done;
    elsewhere.sessions.retain(|session| captures || !here.contains(session));
    let done = elsewhere.sessions.is_empty() && !arguments.sessions.is_empty();
    if options.local || done {
        for session in arguments.sessions.iter().filter(|session| !here.contains(session)) {
            say(&format!("session {session}: nothing left on this machine"));
        }
        if here.is_empty() && arguments.sessions.is_empty() {
            say("there is nothing to do");
        }
        return Ok(match options.storage().filter(|_| captures && !done) {
            Some(settings) => exit.or(headless::captures::remove_named(settings, &journals()?, &elsewhere).await),
            None => exit,
        });
    }
    let target = target(options);
    Ok(exit.or(headless::cleanup::cleanup(
        options,
        &journals()?,
        &elsewhere,
        agents(options).ok().as_ref(),
        Connection::open(&target),
    )
    .await))
}

async fn preflight(options: &Options, nodes: Vec<String>, output: OutputArgs) -> Result<ExitCode, Notice> {
    let session = SessionId::new(rand::random());
    let open_storage = async || match options.storage() {
        Some(settings) => Some(Storage::open(settings).await),
        None => None,
    };
    if options.local {
        let checks = ready::checks(&Rings::from_environment(), &session);
        let storage = open_storage().await;
        return Ok(headless::preflight::here(checks, storage.as_ref(), &session, output.format).await);
    }
    let connection = Connection::open(&target(options)).await?;
    let cluster = Cluster::new(connection, session, agents(options)?, journals()?);
    let storage = open_storage().await;
    Ok(headless::preflight::preflight(&cluster, storage.as_ref(), &names(&nodes), output.format).await)
}

fn manifests(options: &Options, nodes: &[String], session: Option<SessionId>) -> Result<ExitCode, Notice> {
    if options.local {
        let cause = "on this machine nothing is applied: the agent is a process that this program starts and ends";
        let notice = Notice::error("there are no manifests for --local", cause, "drop --local");
        return Err(notice.of(Failure::BadInput));
    }
    let session = session.unwrap_or_else(|| SessionId::new(rand::random()));
    let yaml = Cluster::manifests(&session, &agents(options)?, &names(nodes))?;
    Ok(headless::preflight::manifests(&yaml))
}

/// Does not take the session over: agents answer a second tunnel as well.
async fn freeze(
    (options, in_force): (&Options, &[Setting]),
    session: &SessionId,
    nodes: Vec<String>,
    trusted: Option<String>,
    output: OutputArgs,
) -> Result<ExitCode, Notice> {
    let headline = format!("cannot freeze session {session}");
    if options.local {
        return freeze_here(options, session, nodes, output).await;
    }
    let journals = journals()?;
    let record = journals.record(session).map_err(|error| error.notice(headline))?;
    headless::captures::check_freeze(&record, &names(&nodes))?;
    let (begun, told) = as_begun(options, &record, in_force);
    for notice in told {
        say(&format!("warning: {}", notice.line()));
    }
    let cluster = &record.header.cluster;
    let connection = match Connection::again_trusted(cluster, trusted.as_deref()).await {
        Err(notice) if headless::cleanup::is_right(&notice).await => {
            Connection::again_trusted(cluster, Some(&cluster.kube_system_uid)).await?
        }
        outcome => outcome?,
    };
    if connection.identity().await.is_ok_and(|now| now != *cluster) {
        // A program that has the session open also keeps the journal, and continues with its own connection.
        let _ = cluster::trust(Some(&connection), &journals, session).await;
    }
    let terms = terms(&begun, connection.place.clone(), session.clone());
    let cluster = Cluster::observe(connection, agents_again(&begun, &record)?, journals, &record);
    let engine = Engine::start(terms, Arc::new(cluster), out(options, session));
    Ok(Box::pin(headless::captures::freeze(engine, &names(&nodes), frozen(options), output.format)).await)
}

/// The same of a session on this machine, which another program has open.
async fn freeze_here(
    options: &Options,
    session: &SessionId,
    nodes: Vec<String>,
    output: OutputArgs,
) -> Result<ExitCode, Notice> {
    let ring = Rings::from_environment().all().into_iter().find(|ring| ring.session == *session);
    let refused = |cause: &str, next_step: String| {
        Notice::error(format!("cannot freeze session {session}"), cause, next_step).of(Failure::BadInput)
    };
    let unknown =
        || refused("there is no such session on this machine", "see nodewatch-tui sessions --local".to_owned());
    let ring = ring.ok_or_else(unknown)?;
    if !ring.in_use {
        let again = text::command(["attach", session.as_str(), "--local"]);
        return Err(refused("no program has it open, so nothing is recorded", format!("{again} fetches its captures")));
    }
    let site = Local::beside(&ring)?;
    let engine = Engine::start(terms(options, Place::Local, session.clone()), Arc::new(site), out(options, session));
    Ok(Box::pin(headless::captures::freeze(engine, &names(&nodes), frozen(options), output.format)).await)
}

async fn site(options: &Options, session: &SessionId) -> Result<(Arc<dyn Site>, Place), Notice> {
    if options.local {
        let ring = Rings::from_environment().create(session).map_err(LocalError::from)?;
        return Ok((Arc::new(Local::new(ring, options.agents.processes)?), Place::Local));
    }
    let connection = Connection::open(&target(options)).await?;
    let place = connection.place.clone();
    Ok((Arc::new(Cluster::new(connection, session.clone(), agents(options)?, journals()?)), place))
}

/// Without a terminal, the name of a guarded context must come with --confirm.
fn must_be_free(permission: Permission, place: &Place) -> Result<(), Notice> {
    match (permission, place) {
        (Permission::ReadOnly, _) => Err(read_only()),
        (Permission::Guarded, Place::Cluster { context, .. }) => {
            let headline = format!("context {context:?} is guarded against accidental deployments");
            let next_step = format!("to deploy to it, add --confirm {}", text::shell(context));
            Err(Notice::error(headline, "it matches `production` in the config file", next_step).of(Failure::BadInput))
        }
        (Permission::Guarded | Permission::Free, _) => Ok(()),
    }
}

fn read_only() -> Notice {
    Notice::error("this session is read-only", "", "drop --read-only, or read_only in the config file")
        .of(Failure::BadInput)
}

fn say(text: &str) {
    spool::stderr().push(format!("{}\n", text::line(text)).into_bytes());
}
