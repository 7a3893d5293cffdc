//! The program on a terminal: one session after the other.
//!
//! Owns the order: a credential plugin that may ask has the terminal first, then the screen is there before anything is
//! asked of a network, and receipts come when it is gone.

use std::{
    fmt::Write,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    layers::Setting,
    print, read_only, recorder,
    settings::{
        agents_again, as_begun, can_stand_in, cluster_name, earlier_storage, has_a_sink, journals, logs_again, metrics,
        out, outlets, outlets_with, permission, storage_again, switched_off, target, terms,
    },
    site,
};
use crate::{
    agents::{
        local::{Local, LocalError},
        rings::Rings,
    },
    base::{
        clock, folders, loan,
        text::{self, visible},
    },
    cli::Options,
    cluster::{self, Cluster, Connection, context_name},
    config::file::Config,
    headless::{self, ExitCode},
    model::{Failure, Kind, Notice, Place, SessionId},
    record::Recorder,
    runtime::{
        Engine, handoff,
        terminal::{self, Screen},
    },
    screens::{Action, App, Input, update},
    session::{Event, Next, Session, Terms},
    storage::Storage,
    ui::Theme,
};

/// Runs sessions until the user leaves.
pub(super) async fn run(
    (options, in_force): (&Options, &[Setting]),
    config: &Config,
    attach: Option<SessionId>,
) -> Result<ExitCode, Notice> {
    can_stand_in(options)?;
    terminal::check("use the commands nodes, ports and capture (see --help)")?;
    let recorder = recorder(options)?;
    let theme = Theme::from_environment(options.display.theme, options.display.ascii, config.keys.clone());
    signed_in(options, attach.as_ref()).await?;
    loan::screen_opens();
    let mut screen = Screen::open(theme, options.mouse).map_err(|error| terminal_failed(&error))?;
    let mut told = String::new();
    let outcome = Box::pin(sessions(&mut screen, (options, in_force), config, attach, recorder, &mut told)).await;
    drop(screen);
    print(&told);
    outcome
}

/// Runs a credential plugin that may ask on the terminal before the screen is open.
async fn signed_in(options: &Options, attach: Option<&SessionId>) -> Result<(), Notice> {
    if options.local {
        return Ok(());
    }
    let Some(session) = attach else { return cluster::sign_in(&target(options)).await };
    // A session that does not exist is reported when it is attached.
    let Ok(journals) = journals() else { return Ok(()) };
    match journals.record(session) {
        Ok(record) => cluster::sign_in_again(&record.header.cluster).await,
        Err(_) => Ok(()),
    }
}

fn terminal_failed(error: &io::Error) -> Notice {
    Notice::error("terminal error", error.to_string(), "see nodewatch-tui sessions for leftovers")
}

async fn sessions(
    screen: &mut Screen,
    (options, in_force): (&Options, &[Setting]),
    config: &Config,
    mut attach: Option<SessionId>,
    mut recorder: Option<Recorder>,
    told: &mut String,
) -> Result<ExitCode, Notice> {
    let mut options = options.clone();
    // What to return to if a switch fails, and what is to be told once the next session is there.
    let mut before: Option<Options> = None;
    let mut failed: Option<Notice> = None;
    // The worst exit of all sessions counts.
    let mut worst = ExitCode::Done;
    loop {
        let begun = screen.wait(&preview(&options), Box::pin(begin((&options, in_force), config, attach.take()))).await;
        let (mut engine, first) = match (begun.map_err(|error| terminal_failed(&error))?, before.take()) {
            (None, _) => return Ok(worst),
            (Some(Err(notice)), Some(back)) => {
                options = back;
                failed = Some(notice);
                continue;
            }
            (Some(Err(notice)), None) => return Err(notice),
            (Some(Ok(begun)), _) => begun,
        };
        match recorder.take() {
            Some(recorder) => engine.record(recorder)?,
            None if options.run.record.is_some() => {
                let headline = "recording ended with the previous session";
                engine.handle(Event::Told(Notice::info(headline)));
            }
            None => {}
        }
        // A recording has these too.
        for event in first.into_iter().chain(switched_off(&options).map(Event::Told)) {
            engine.handle(event);
        }
        if let Some(notice) = failed.take() {
            engine.handle(Event::Told(notice));
        }
        // As if it was typed: a recording has it.
        if let Some(filter) = std::mem::take(&mut options.first).filter() {
            for input in [Input::Key(Action::Filter), Input::Pasted(filter), Input::Key(Action::Open)] {
                engine.handle(input);
            }
        }
        let was_first = engine.state.session.terms.first_run;
        let drawn = screen.run(&mut engine).await;
        let (app, unrecorded) = Box::pin(engine.concluded()).await;
        let session = &app.session;
        if was_first && session.life.began.is_some() {
            no_longer_first();
        }
        told.push_str(&epilogue(&app, &out(&options, &session.terms.id)));
        if let Some(notice) = unrecorded {
            // Writing to a String does not fail.
            let _ = writeln!(told, "  {}", visible(&headless::recording_line(&notice)));
        }
        drawn.map_err(|error| terminal_failed(&error))?;
        worst = worst.or(exit_of(session));
        match session.next.clone() {
            None => return Ok(worst),
            Some(next) => {
                before = Some(options.clone());
                match next {
                    Next::Attach(session) => attach = Some(session),
                    Next::Context(name) => (options.connection.context, options.local) = (Some(name), false),
                    Next::Namespace(name) => {
                        failed = Some(agents_go_to(name.as_deref()));
                        options.session.namespace = name;
                    }
                }
            }
        }
    }
}

/// That agents go elsewhere from now on; nobody has asked the cluster yet.
fn agents_go_to(namespace: Option<&str>) -> Notice {
    match namespace {
        Some(name) => {
            let check = text::command(["preflight", "--namespace", name]);
            let told = Notice::info(format!("agents are deployed to namespace {name}"));
            Notice { next_step: format!("{check} checks it"), ..told }
        }
        None => Notice::info("agents are deployed to a namespace of the session's own"),
    }
}

fn exit_of(session: &Session) -> ExitCode {
    let receipt = session.receipt();
    match (receipt.left_behind(), receipt.is_whole()) {
        (true, _) => ExitCode::LeftBehind,
        (false, false) => ExitCode::Partly,
        (false, true) => ExitCode::Done,
    }
}

/// What is printed after the screen closes: the receipt, and the path of the report.
fn epilogue(app: &App, folder: &Path) -> String {
    let session = &app.session;
    let mut told = if session.ended().is_some() { session.receipt().text() } else { String::new() };
    for cut in session.cut() {
        // Writing to a String does not fail.
        let _ = writeln!(told, "interrupted: {cut}");
    }
    if app.choices.report_at_end && session.life.began.is_some() {
        let report = match handoff::write_report(folder, &session.summary()) {
            Ok(paths) => paths.map(|path| path.display().to_string()).join(" and "),
            Err(error) => format!("not written: {}", text::chain(&error)),
        };
        // Writing to a String does not fail.
        let _ = writeln!(told, "  report   {}", visible(&report));
    }
    told
}

/// What can be shown before any server has answered.
fn preview(options: &Options) -> App {
    let context = || context_name(&target(options)).unwrap_or_else(|| "kubeconfig".to_owned());
    let where_it_is = if options.local { Place::Local } else { Place::Cluster { context: context(), flavour: None } };
    let mut app = App::new(Terms::new(where_it_is, SessionId::new(0), options.session.budget));
    // Nothing is to be done at a beginning.
    let _ = update(&mut app, Event::ClockSet(clock::wall_ahead()), clock::steady_millis());
    app
}

/// The file that marks that this program has deployed before.
fn used() -> Option<PathBuf> {
    Some(folders::state()?.join("used"))
}

fn no_longer_first() {
    if let Some(path) = used() {
        // If it cannot be written, the hint is shown again, which is harmless.
        let folder = path.parent().map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        if matches!(folder, Some(Ok(()))) {
            let _ = fs::write(path, "");
        }
    }
}

/// A session, and what it is to be told first.
type Begun = (Engine<App>, Vec<Event>);

/// Everything that can be refused before anything runs.
async fn begin(
    (options, in_force): (&Options, &[Setting]),
    config: &Config,
    attach: Option<SessionId>,
) -> Result<Begun, Notice> {
    if let Some(session) = attach {
        if options.local {
            return attached_here(options, config, session).await;
        }
        if options.connection.read_only {
            return Err(read_only());
        }
        return attached((options, in_force), config, &session).await;
    }
    let session = SessionId::new(rand::random());
    let out = out(options, &session);
    has_a_sink(options)?;
    let (site, where_it_is) = site(options, &session).await?;
    let cluster = cluster_name(options, Some(&where_it_is));
    let outlets = outlets(options, config, (&out, &session), &cluster).await?;
    let terms = Terms {
        permission: permission(options, config, &where_it_is),
        first_run: used().is_some_and(|path| !path.exists()),
        ..terms(options, where_it_is, session)
    };
    let mut engine = Engine::start(terms, site, outlets);
    engine.find_sessions();
    engine.watch_storage();
    engine.watch_reports();
    let warnings = headless::rings::warnings(&Rings::from_environment()).into_iter().map(Event::Told);
    Ok((engine, warnings.collect()))
}

/// The captures that a session on this machine has left, with an agent to fetch them from.
async fn attached_here(options: &Options, config: &Config, session: SessionId) -> Result<Begun, Notice> {
    let ring = Rings::from_environment().open(&session).map_err(LocalError::from)?;
    let site = Local::new(ring, options.agents.processes)?;
    let out = out(options, &session);
    let cluster = cluster_name(options, Some(&Place::Local));
    let outlets = outlets(options, config, (&out, &session), &cluster).await?;
    let engine = Engine::start(terms(options, Place::Local, session), Arc::new(site), outlets);
    Ok((engine, vec![Event::Attach { began: clock::unix_millis(), ends: None, stood_in: false }]))
}

/// A session from its journal, in its own cluster.
async fn attached(
    (options, in_force): (&Options, &[Setting]),
    config: &Config,
    session: &SessionId,
) -> Result<Begun, Notice> {
    let headline = format!("cannot attach to session {session}");
    let journals = journals()?;
    let (journal, record) = journals.open(session).map_err(|error| error.notice(headline.clone()))?;
    if record.is_over() {
        let next_step = "see nodewatch-tui sessions";
        return Err(Notice::error(headline, "it has ended and left nothing behind", next_step).of(Failure::BadInput));
    }
    let (begun, told) = as_begun(options, &record, in_force);
    let options = &begun;
    let connection = Connection::again(&record.header.cluster).await?;
    let (began, ends) = (record.header.began, record.ends);
    let stood_in = record.objects.iter().any(|(_, object)| object.kind == Kind::DaemonSet);
    let settings = agents_again(options, &record)?;
    let terms =
        Terms { owner: record.header.owner.clone(), ..terms(options, connection.place.clone(), session.clone()) };
    let was = Event::Earlier(Box::new(journals.told(&record)));
    let logs = logs_again(options, &cluster_name(options, Some(&connection.place)), &record, in_force);
    let storage = storage_again(options, &record, in_force);
    let earlier = earlier_storage(&record, storage.as_ref());
    let metrics = metrics(options, &cluster_name(options, Some(&connection.place)), session)?;
    let mut outlets = outlets_with(storage, logs, config, &out(options, session)).await;
    outlets.metrics = metrics;
    for place in earlier {
        outlets.earlier.push(Arc::new(Storage::open(place).await));
    }
    let cluster =
        Cluster::resume(connection, settings, journals, (journal, record)).map_err(|error| error.notice(headline))?;
    let engine = Engine::start(terms, Arc::new(cluster), outlets);
    let attach = Event::Attach { began, ends: Some(ends), stood_in };
    Ok((engine, [was, attach].into_iter().chain(told.into_iter().map(Event::Told)).collect()))
}
