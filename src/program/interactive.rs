//! The program on a terminal, and whatever the user goes on with in it.
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
        agents_again, as_begun, can_stand_in, cluster_name, has_a_sink, journals, out, outlets, outlets_with,
        permission, target, terms,
    },
    site,
};
use crate::{
    agents::{
        local::{Local, LocalError},
        rings::Rings,
    },
    base::{
        clock, folders,
        text::{self, visible},
    },
    cli::PlaceArgs,
    cluster::{self, Cluster, Connection, context_name},
    config::file::Config,
    headless::{self, Exit},
    model::{Failure, Kind, Notice, Place, SessionId},
    record::Recorder,
    runtime::{
        Engine, handoff,
        terminal::{self, Screen},
    },
    screens::{App, update},
    session::{Event, Next, Session, Terms},
    ui::Theme,
};

/// Runs sessions until the user leaves.
pub(super) async fn run(
    (place, in_force): (&PlaceArgs, &[Setting]),
    config: &Config,
    attach: Option<SessionId>,
) -> Result<Exit, Notice> {
    can_stand_in(place)?;
    terminal::check("use the commands nodes, ports and capture (see --help)")?;
    let recorder = recorder(place)?;
    let theme = Theme::from_environment(place.theme, place.ascii, config.keys.clone());
    signed_in(place, attach.as_ref()).await?;
    cluster::screen_opens();
    let mut screen = Screen::open(theme, place.mouse).map_err(|error| terminal_failed(&error))?;
    let mut told = String::new();
    let outcome = Box::pin(sessions(&mut screen, (place, in_force), config, attach, recorder, &mut told)).await;
    drop(screen);
    print(told.as_bytes());
    outcome
}

/// A credential plugin that may ask on the terminal does so while there is no screen on it.
async fn signed_in(place: &PlaceArgs, attach: Option<&SessionId>) -> Result<(), Notice> {
    if place.local {
        return Ok(());
    }
    let Some(session) = attach else { return cluster::sign_in(&target(place)).await };
    // A session that is not there is named when it is taken up.
    let Ok(journals) = journals() else { return Ok(()) };
    match journals.all().into_iter().flatten().find(|record| record.header.session == *session) {
        Some(record) => cluster::sign_in_again(&record.header.cluster).await,
        None => Ok(()),
    }
}

fn terminal_failed(error: &io::Error) -> Notice {
    Notice::error("the terminal failed", error.to_string(), "see nodewatch-tui sessions for what is left")
}

async fn sessions(
    screen: &mut Screen,
    (place, in_force): (&PlaceArgs, &[Setting]),
    config: &Config,
    mut attach: Option<SessionId>,
    mut recorder: Option<Recorder>,
    told: &mut String,
) -> Result<Exit, Notice> {
    let mut place = place.clone();
    // Where a switch that fails leads back to, and what is said of it there.
    let mut before: Option<PlaceArgs> = None;
    let mut failed: Option<Notice> = None;
    // What an earlier session left behind is not forgotten over a later one that did not.
    let mut worst = Exit::Done;
    loop {
        let begun = screen.wait(&preview(&place), Box::pin(begin((&place, in_force), config, attach.take()))).await;
        let mut engine = match (begun.map_err(|error| terminal_failed(&error))?, before.take()) {
            (None, _) => return Ok(worst),
            (Some(Err(notice)), Some(back)) => {
                place = back;
                failed = Some(notice);
                continue;
            }
            (Some(Err(notice)), None) => return Err(notice),
            (Some(Ok(engine)), _) => engine,
        };
        match recorder.take() {
            Some(recorder) => engine.record(recorder)?,
            None if place.record.is_some() => {
                let headline = "the recording has ended with the session before this one";
                engine.handle(Event::Told(Notice::info(headline)));
            }
            None => {}
        }
        if let Some(notice) = failed.take() {
            engine.handle(Event::Told(notice));
        }
        let was_first = engine.state.session.terms.first_run;
        let drawn = screen.run(&mut engine).await;
        let app = engine.shut_down().await;
        let session = &app.session;
        if was_first && session.life.began.is_some() {
            no_longer_first();
        }
        told.push_str(&epilogue(&app, &out(&place, &session.terms.id)));
        drawn.map_err(|error| terminal_failed(&error))?;
        worst = worst.or(exit_of(session));
        match session.next.clone() {
            None => return Ok(worst),
            Some(next) => {
                before = Some(place.clone());
                match next {
                    Next::Attach(session) => attach = Some(session),
                    Next::Context(name) => (place.context, place.local) = (Some(name), false),
                    Next::Namespace(name) => place.namespace = name,
                }
            }
        }
    }
}

fn exit_of(session: &Session) -> Exit {
    let receipt = session.receipt();
    match (receipt.left_behind(), receipt.is_whole()) {
        (true, _) => Exit::LeftBehind,
        (false, false) => Exit::Partly,
        (false, true) => Exit::Done,
    }
}

/// What is said of a session when the screen is gone: its receipt, and where its report is.
fn epilogue(app: &App, folder: &Path) -> String {
    let session = &app.session;
    let mut told = if session.ended().is_some() { session.receipt().text() } else { String::new() };
    for cut in session.cut() {
        // Writing to a String does not fail.
        let _ = writeln!(told, "left while under way: {cut}");
    }
    if app.report_at_end && session.life.began.is_some() {
        let report = match handoff::write_report(folder, &session.summary()) {
            Ok(paths) => paths.map(|path| path.display().to_string()).join(" and "),
            Err(error) => format!("not written, {}", text::chain(&error)),
        };
        // Writing to a String does not fail.
        let _ = writeln!(told, "  report   {}", visible(&report));
    }
    told
}

/// What can be shown before anybody has answered.
fn preview(place: &PlaceArgs) -> App {
    let context = || context_name(&target(place)).unwrap_or_else(|| "kubeconfig".to_owned());
    let where_it_is = if place.local { Place::Local } else { Place::Cluster { context: context(), flavour: None } };
    let mut app = App::new(Terms::new(where_it_is, SessionId::new(0), place.session_budget));
    // Nothing is to be done at a beginning.
    let _ = update(&mut app, Event::ClockSet(clock::wall_ahead()), clock::steady_millis());
    app
}

/// The file that says that somebody has deployed with this program before.
fn used() -> Option<PathBuf> {
    Some(folders::state()?.join("used"))
}

fn no_longer_first() {
    if let Some(path) = used() {
        // Where it cannot be written the hint comes again, which is no harm.
        let folder = path.parent().map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        if matches!(folder, Some(Ok(()))) {
            let _ = fs::write(path, "");
        }
    }
}

/// Everything that can be refused before anything runs.
async fn begin(
    (place, in_force): (&PlaceArgs, &[Setting]),
    config: &Config,
    attach: Option<SessionId>,
) -> Result<Engine<App>, Notice> {
    if let Some(session) = attach {
        if place.local {
            return attached_here(place, config, session).await;
        }
        if place.read_only {
            return Err(read_only());
        }
        return attached((place, in_force), config, &session).await;
    }
    let session = SessionId::new(rand::random());
    let out = out(place, &session);
    has_a_sink(place)?;
    let (site, where_it_is) = site(place, &session).await?;
    let outlets = outlets(place, config, &out, &cluster_name(place, Some(&where_it_is))).await;
    let terms = Terms {
        permission: permission(place, config, &where_it_is),
        first_run: used().is_some_and(|path| !path.exists()),
        ..terms(place, where_it_is, session)
    };
    let mut engine = Engine::start(terms, site, outlets);
    engine.find_sessions();
    engine.watch_storage();
    engine.watch_reports();
    for warning in headless::rings::warnings(&Rings::from_environment()) {
        engine.handle(Event::Told(warning));
    }
    Ok(engine)
}

/// The captures that a session on this machine has left, with an agent to fetch them from.
async fn attached_here(place: &PlaceArgs, config: &Config, session: SessionId) -> Result<Engine<App>, Notice> {
    let ring = Rings::from_environment().open(&session).map_err(LocalError::from)?;
    let site = Local::new(ring, place.processes)?;
    let out = out(place, &session);
    let outlets = outlets(place, config, &out, &cluster_name(place, Some(&Place::Local))).await;
    let mut engine = Engine::start(terms(place, Place::Local, session), Arc::new(site), outlets);
    engine.handle(Event::Attach { began: clock::unix_millis(), ends: None, stood_in: false });
    Ok(engine)
}

/// A session from its journal, in its own cluster.
async fn attached(
    (place, in_force): (&PlaceArgs, &[Setting]),
    config: &Config,
    session: &SessionId,
) -> Result<Engine<App>, Notice> {
    let headline = format!("session {session} cannot be taken up");
    let journals = journals()?;
    let (journal, record) = journals.open(session).map_err(|error| error.notice(headline.clone()))?;
    if record.is_over() {
        let next_step = "see nodewatch-tui sessions";
        return Err(Notice::error(headline, "nothing of it is left", next_step).of(Failure::BadInput));
    }
    let (begun, told) = as_begun(place, &record, in_force);
    let place = &begun;
    let connection = Connection::again(&record.header.cluster).await?;
    let (began, ends) = (record.header.began, record.ends);
    let stood_in = record.objects.iter().any(|(_, object)| object.kind == Kind::DaemonSet);
    let settings = agents_again(place, &record)?;
    let terms = terms(place, connection.place.clone(), session.clone());
    // Where its reports went until now is where they go, unless another place is named.
    let cluster = cluster_name(place, Some(&connection.place));
    let logs = place.logs(&cluster).or_else(|| record.logs.clone());
    // Where its captures went until now is where they go, unless another place is named.
    let storage = place.storage().or_else(|| record.storage.clone());
    let cluster =
        Cluster::resume(connection, settings, journals, (journal, record)).map_err(|error| error.notice(headline))?;
    let outlets = outlets_with(storage, logs, config, &out(place, session)).await;
    let mut engine = Engine::start(terms, Arc::new(cluster), outlets);
    engine.handle(Event::Attach { began, ends: Some(ends), stood_in });
    for notice in told {
        engine.handle(Event::Told(notice));
    }
    Ok(engine)
}
