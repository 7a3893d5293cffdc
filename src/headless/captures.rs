//! `freeze`, and the captures in S3 that `cleanup --captures` removes.
//!
//! Owns what they print and the exit code.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nodewatch_protocol::{CaptureFile, FileState, Freeze, Request};
use serde_json::json;

use super::{
    ExitCode, output, records,
    run::{Run, Stop},
    select,
};
use crate::{
    base::text::{bytes, counted},
    cli::{CleanupArgs, Format},
    journal::{Entry, Journals, Record},
    model::{Failure, FetchProgress, Holder, Kind, Made, NodeName, Notice, Purpose, S3Url, SessionId, StorageSettings},
    runtime::Engine,
    session::{
        Event, Listing, Session,
        node::{Agent, NodeState},
    },
    storage::Storage,
};

/// A frozen file is written within so long after its last second.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);
/// A session's agents are found, and their tunnels open, within this.
const AGENTS_WITHIN: Duration = Duration::from_secs(60);

/// Saves the flight recorders of a session that runs elsewhere: in another program, or detached.
pub async fn freeze(mut engine: Engine<Session>, nodes: &[NodeName], freeze: Freeze, format: Format) -> ExitCode {
    engine.handle(Event::Observe);
    let mut run = match Run::start(engine) {
        Ok(run) => run.of_others(),
        Err(error) => {
            output::say(&format!("cannot listen for signals: {error}"));
            return ExitCode::Failed;
        }
    };
    let done = freeze_all(&mut run, nodes, freeze, format).await;
    // The session is not this program's: nothing is cleaned up.
    Box::pin(run.shut_down()).await;
    match done {
        Ok(exit) => exit,
        Err(stop) => stop.told(),
    }
}

/// Refuses what a session's journal says nothing can come of: it has ended, or none of these nodes has an agent.
pub fn check_freeze(record: &Record, nodes: &[NodeName]) -> Result<(), Notice> {
    let refused = |cause: String, next_step: &str| {
        let headline = format!("cannot freeze session {}", record.header.session);
        Err(Notice::error(headline, cause, next_step).of(Failure::BadInput))
    };
    if record.is_over() {
        return refused("it has ended and left nothing behind".to_owned(), "see nodewatch-tui sessions");
    }
    let objects = || record.objects.iter().map(|(_, object)| object);
    let agents: BTreeSet<&NodeName> = objects()
        .filter_map(|object| match &object.purpose {
            Purpose::Agent(node) if object.is_agent() => Some(node),
            _ => None,
        })
        .collect();
    // The agents of a DaemonSet are in no journal.
    let all_known = !agents.is_empty() && !objects().any(|object| object.kind == Kind::DaemonSet);
    if !all_known || nodes.is_empty() || nodes.iter().any(|node| agents.contains(node)) {
        return Ok(());
    }
    let listed = |names: &mut dyn Iterator<Item = &NodeName>| {
        let names: Vec<String> = names.map(ToString::to_string).collect();
        names.join(", ")
    };
    let cause = format!("it has no agent on {}", listed(&mut nodes.iter()));
    refused(cause, &format!("its agents: {}", listed(&mut agents.into_iter())))
}

/// Named nodes of which there is no agent of the session to ask.
fn without_agent(session: &Session, nodes: &[NodeName]) -> Vec<NodeName> {
    let deployed = |name: &NodeName| session.nodes.get(name).is_some_and(|state| state.agent.is_deployed());
    nodes.iter().filter(|name| !deployed(name)).cloned().collect()
}

/// Nodes whose recorders can save, and those of which that is not known or cannot be, which are named.
async fn gathered(run: &mut Run, nodes: &[NodeName]) -> Result<(Vec<NodeName>, Vec<NodeName>), Stop> {
    let meant = |state: &NodeState| state.agent.is_deployed() && (nodes.is_empty() || nodes.contains(&state.node.name));
    let seen = |state: &NodeState| state.ring.is_some() || !state.agent.runs();
    // Of a node that is not there nothing comes.
    let nowhere = |session: &Session| {
        let unknown = |name: &NodeName| !session.nodes.contains_key(name);
        !nodes.is_empty() && session.listing == Listing::Current && nodes.iter().all(unknown)
    };
    let all_seen = run.until(AGENTS_WITHIN, "its agents", |session| {
        if nowhere(session) {
            return true;
        }
        let mut wanted = session.nodes.values().filter(|state| meant(state)).peekable();
        wanted.peek().is_some() && wanted.all(seen)
    });
    let waited = all_seen.await;
    if nowhere(run.session()) {
        let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        let headline = format!("nothing to freeze: no node {}", names.join(", "));
        return Err(Stop::Notice(
            Notice::error(headline, select::known(run.session()), "see nodewatch-tui nodes").of(Failure::BadInput),
        ));
    }
    let armed: Vec<NodeName> = run
        .session()
        .nodes
        .values()
        .filter(|state| state.is_armed() && meant(state))
        .map(|state| state.node.name.clone())
        .collect();
    // One node that does not answer keeps no other from being saved.
    let mut unseen: Vec<NodeName> = match waited {
        Err(Stop::Notice(_)) if !armed.is_empty() => {
            let unseen = run.session().nodes.values().filter(|state| meant(state) && !seen(state));
            unseen.map(|state| state.node.name.clone()).collect()
        }
        waited => waited.map(|()| Vec::new())?,
    };
    for name in &unseen {
        output::say(&format!("error: {name}: not frozen: its agent does not answer"));
    }
    let absent = without_agent(run.session(), nodes);
    for name in &absent {
        output::say(&format!("error: {name}: not frozen: it has no agent of this session"));
    }
    unseen.extend(absent);
    if armed.is_empty() {
        let mut states = run.session().nodes.values().filter(|state| meant(state));
        let (cause, next_step) = if states.any(|state| state.agent.runs()) {
            ("no flight recorder is armed", "arm one with capture --recorder or in the terminal program")
        } else {
            ("its agents have ended", "see nodewatch-tui sessions")
        };
        return Err(Stop::Notice(Notice::error("nothing to freeze", cause, next_step)));
    }
    Ok((armed, unseen))
}

async fn freeze_all(run: &mut Run, nodes: &[NodeName], freeze: Freeze, format: Format) -> Result<ExitCode, Stop> {
    let (armed, unseen) = gathered(run, nodes).await?;
    let before: BTreeMap<NodeName, u64> =
        armed.iter().map(|name| (name.clone(), run.session().nodes.get(name).map_or(0, newest))).collect();
    let after = freeze.after_seconds.duration().as_secs();
    output::progress(&format!(
        "saving {} s before and {after} s after now on {}: {after} s and a little more",
        freeze.before_seconds.duration().as_secs(),
        counted(armed.len(), "node")
    ));
    for name in &armed {
        run.ask(name.clone(), Request::Freeze(freeze));
    }
    let within = freeze.after_seconds.duration() + WRITTEN_WITHIN;
    let settled = before.clone();
    let waited = run.until(within, "the frozen files", move |session| {
        settled.iter().all(|(name, newest)| {
            session
                .nodes
                .get(name)
                .is_none_or(|state| state.refusal.is_some() || !state.agent.runs() || arrived(state, *newest))
        })
    });
    // What is there is told, whatever the others do.
    let stopped = match waited.await {
        Err(Stop::Signal) => true,
        Ok(()) | Err(Stop::Reader | Stop::Notice(_)) => false,
    };
    let (rows, failed) = frozen(run.session(), &before);
    print_frozen(run.session(), &rows, format);
    let refused = unseen.len() + failed;
    Ok(match refused {
        _ if stopped => ExitCode::Failed,
        0 => ExitCode::Done,
        all if all >= before.len() + unseen.len() => ExitCode::Failed,
        _ => ExitCode::Partly,
    })
}

/// A file that was frozen: its node, and where it is.
type FrozenFile = (NodeName, CaptureFile, String);

/// What was saved since these newest files, and on how many nodes nothing was.
fn frozen(session: &Session, before: &BTreeMap<NodeName, u64>) -> (Vec<FrozenFile>, usize) {
    let mut failed = 0;
    let mut rows = Vec::new();
    for (name, newest) in before {
        let Some(state) = session.nodes.get(name) else { continue };
        if let Some(notice) = &state.refusal {
            output::say(&format!("error: {}", notice.line()));
            failed += 1;
        } else if saved_after(state, *newest).next().is_none() {
            output::say(&format!("error: {name}: {}", why_not_saved(state)));
            failed += 1;
        }
        for file in saved_after(state, *newest) {
            let place = match state.fetches.get(&file.name) {
                Some(FetchProgress::Done { path, .. }) => path.display().to_string(),
                _ if file.delivery.is_proved() => "in S3".to_owned(),
                _ if file.delivery.is_delivered() => output::NOT_COMPARED.to_owned(),
                _ => "on the node".to_owned(),
            };
            rows.push((name.clone(), file.clone(), place));
        }
    }
    (rows, failed)
}

fn print_frozen(session: &Session, rows: &[FrozenFile], format: Format) {
    match format {
        Format::Json | Format::Yaml => {
            let value = |(name, file, place): &FrozenFile| {
                let state = session.nodes.get(name)?;
                let mut value = output::file_value(state, file, session.terms.storage.is_some());
                value["place"] = json!(place);
                Some(value)
            };
            output::print_values(&records::CAPTURE_FILE, rows.iter().filter_map(value), format);
        }
        Format::Name => {
            let name = |(name, file, _): &FrozenFile| Some(output::file_name(session.nodes.get(name)?, file));
            output::print_names(rows.iter().filter_map(name));
        }
        Format::Table | Format::Wide => {
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|(name, file, place)| {
                    vec![name.0.clone(), file.packets.to_string(), bytes(file.size), file.name.clone(), place.clone()]
                })
                .collect();
            output::print_table(&["NODE", "PACKETS", "SIZE", "FILE", "WHERE"], &rows);
        }
    }
}

fn why_not_saved(state: &NodeState) -> String {
    match &state.agent {
        Agent::Failed(notice) | Agent::Ended(notice) => notice.fact(),
        Agent::Lost { reason, .. } => format!("no file arrived, its tunnel is lost: {reason}"),
        _ => "no file arrived".to_owned(),
    }
}

/// The place in the ring's order of its newest file.
fn newest(state: &NodeState) -> u64 {
    state.files.iter().map(|file| file.sequence).max().unwrap_or(0)
}

/// Closed files that came after that one, whatever clocks say and whatever has gone from the ring meanwhile.
fn saved_after(state: &NodeState, newest: u64) -> impl Iterator<Item = &CaptureFile> {
    state.files.iter().filter(move |file| file.state == FileState::Closed && file.sequence > newest)
}

/// There is a new file, and it is where it should be.
fn arrived(state: &NodeState, newest: u64) -> bool {
    let there = |file: &CaptureFile| {
        file.delivery.is_delivered()
            || matches!(state.fetches.get(&file.name), Some(FetchProgress::Done { .. } | FetchProgress::Failed(_)))
    };
    let mut saved = saved_after(state, newest).peekable();
    saved.peek().is_some() && saved.all(there)
}

/// Captures in S3 of these sessions, where their journals know of any: shown, asked about, removed. Without
/// `--captures` they are only named. Those of sessions that are left stay: their agents may still deliver.
pub async fn remove_captures(
    journals: &Journals,
    arguments: &CleanupArgs,
    here: Option<&str>,
    left: &BTreeSet<SessionId>,
) -> ExitCode {
    let meant = |record: &Record| {
        let id = &record.header.session;
        arguments.sessions.contains(id)
            || (arguments.sessions.is_empty()
                && (arguments.all || here == Some(record.header.cluster.context.as_str()))
                && journals.holder(record) != Holder::Running)
    };
    let records = journals.all().into_iter().flatten().filter(meant);
    let mut exit = ExitCode::Done;
    for record in records {
        let id = record.header.session.clone();
        let mut all_gone = true;
        for settings in record.places() {
            let place = settings.url.below(id.as_str());
            if !arguments.captures {
                output::say(&format!(
                    "captures of session {id} are kept in {place}: cleanup {id} --captures removes them"
                ));
                continue;
            }
            if is_open(journals, &record, &place) {
                all_gone = false;
                continue;
            }
            if left.contains(&id) {
                output::say(&format!("error: {place} was not removed: agents of session {id} may still upload to it"));
                all_gone = false;
                continue;
            }
            let storage = Storage::open(settings.clone()).await;
            let removed = remove_captures_of(&storage, arguments, &id).await;
            if let Err(notice) = removed.and_then(|()| note_removed(journals, arguments, &record, settings)) {
                output::say(&format!("error: {}", notice.line()));
                all_gone = false;
            }
        }
        if !all_gone {
            exit = ExitCode::LeftBehind;
        }
    }
    exit
}

/// The journal lists the captures of that place no more.
fn note_removed(
    journals: &Journals,
    arguments: &CleanupArgs,
    record: &Record,
    place: &StorageSettings,
) -> Result<(), Notice> {
    if arguments.dry_run || !record.places().any(|known| known.is_at_the_place_of(place)) {
        return Ok(());
    }
    let named = "the journal still lists these captures";
    let gone = Entry::Gone(Made::Captures { captures: place.clone() });
    let noted = journals.open(&record.header.session).and_then(|(journal, _)| journal.record(gone));
    noted.map_err(|error| error.notice(named))
}

/// Whether another program here has the session open, and goes on delivering; says so.
fn is_open(journals: &Journals, record: &Record, place: &S3Url) -> bool {
    let open = journals.holder(record) == Holder::Running;
    if open {
        let id = &record.header.session;
        output::say(&format!("error: {place} was not removed: session {id} is open in another nodewatch-tui here"));
    }
    open
}

/// The same for sessions that no journal here knows, as those on a machine without a cluster, in a place that is named.
pub async fn remove_named(settings: StorageSettings, journals: &Journals, arguments: &CleanupArgs) -> ExitCode {
    let storage = Storage::open(settings).await;
    let mut exit = ExitCode::Done;
    let records: Vec<Record> = journals.all().into_iter().flatten().collect();
    for id in &arguments.sessions {
        let its_own = |record: &&Record| record.header.session == *id;
        if records.iter().find(its_own).is_some_and(|record| is_open(journals, record, &storage.session(id))) {
            exit = ExitCode::LeftBehind;
            continue;
        }
        let removed = remove_captures_of(&storage, arguments, id).await.and_then(|()| {
            let record = records.iter().find(its_own);
            record.map_or(Ok(()), |record| note_removed(journals, arguments, record, &storage.settings()))
        });
        if let Err(notice) = removed {
            output::say(&format!("error: {}", notice.line()));
            exit = ExitCode::LeftBehind;
        }
    }
    exit
}

async fn remove_captures_of(storage: &Storage, arguments: &CleanupArgs, id: &SessionId) -> Result<(), Notice> {
    let place = storage.session(id);
    let found = storage.summary(&place).await.map_err(|error| error.notice(format!("cannot list {place}")))?;
    let more = if found.versions > 0 { format!(", {} older versions", found.versions) } else { String::new() };
    let what = format!(
        "{} ({}{more}), {} in {place}",
        counted(found.objects as usize, "object"),
        bytes(found.bytes),
        counted(found.uploads as usize, "unfinished upload")
    );
    if arguments.dry_run {
        output::say(&format!("would remove {what}"));
        return Ok(());
    }
    if !found.is_empty() {
        if !(arguments.yes || super::ask::asked(&format!("Remove {what}? [y/N]")).await) {
            return Err(Notice::error(format!("{place} is kept"), "not confirmed", "use --yes"));
        }
        storage.remove(id).await.map_err(|error| error.notice(format!("{place} may still exist")))?;
    }
    output::say(&format!("removed {what}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        journal::Header,
        model::{ClusterIdentity, MadeObject},
    };

    fn header(id: &SessionId) -> Header {
        let cluster = ClusterIdentity {
            kubeconfig: vec![],
            context: "c".into(),
            server: "https://s".into(),
            ca_sha256: None,
            kube_system_uid: "u".into(),
        };
        Header {
            session: id.clone(),
            owner: "me@here".into(),
            began: 1,
            ends: 2,
            cluster,
            namespace: "n".into(),
            own_namespace: true,
            agents: None,
        }
    }

    #[test]
    fn a_freeze_that_nothing_can_come_of_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let id = SessionId::new(1);
        let journal = journals.create(&header(&id)).expect("created");
        let refused = |nodes: &[&str]| {
            let nodes: Vec<NodeName> = nodes.iter().map(|&name| name.into()).collect();
            check_freeze(&journals.record(&id).expect("readable"), &nodes).err().map(|notice| notice.line())
        };
        assert!(refused(&[]).is_some_and(|told| told.contains("it has ended")));
        let made = |kind, name: &str, purpose| MadeObject {
            kind,
            namespace: Some("n".into()),
            name: name.into(),
            uid: Some(name.into()),
            purpose,
        };
        let job = made(Kind::Job, "agent-1", Purpose::Agent("node-1".into()));
        journal.record(Entry::Made(Made::Object(job))).expect("recorded");
        assert_eq!((refused(&[]), refused(&["node-1"]), refused(&["node-9", "node-1"])), (None, None, None));
        let told = refused(&["node-9"]).expect("refused");
        assert!(told.contains("no agent on node-9") && told.contains("its agents: node-1"), "{told}");
        let later = made(Kind::DaemonSet, "later", Purpose::LaterNodes);
        journal.record(Entry::Made(Made::Object(later))).expect("recorded");
        assert_eq!(refused(&["node-9"]), None, "it may have joined");
    }

    fn arguments(more: &[&str]) -> CleanupArgs {
        let words = ["nodewatch-tui", "cleanup", "--captures", "--yes"];
        let cli = Cli::try_parse_from(words.iter().chain(more)).expect("a command line");
        let Some(Command::Cleanup(arguments)) = cli.command else { panic!("it cleans up") };
        arguments
    }

    /// A program that has a session open goes on delivering: nothing of it is removed, nor asked for.
    #[tokio::test]
    async fn captures_of_a_session_that_is_open_elsewhere_are_left_alone() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        server.set_nonblocking(true).expect("as it is asked");
        let endpoint = format!("http://{}", server.local_addr().expect("its address"));
        let settings: StorageSettings =
            serde_json::from_value(json!({"url": "s3://captures/inc", "endpoint": endpoint})).expect("settings");
        let folder = tempfile::tempdir().expect("a folder");
        let journals = Journals::in_folder(folder.path());
        let id = SessionId::new(1);
        let header = header(&id);
        let open = journals.create(&header).expect("created");
        open.record(Entry::Making(Made::Captures { captures: settings.clone() })).expect("recorded");
        let (none, named) = (BTreeSet::new(), arguments(&["00000001"]));
        assert_eq!(remove_captures(&journals, &named, Some("c"), &none).await, ExitCode::LeftBehind);
        assert_eq!(remove_named(settings, &journals, &named).await, ExitCode::LeftBehind);
        // One that is not named is not even complained about.
        assert_eq!(remove_captures(&journals, &arguments(&["--all"]), Some("c"), &none).await, ExitCode::Done);
        assert!(server.accept().is_err(), "the bucket was asked");
        assert_eq!(journals.record(&id).expect("readable").places().count(), 1, "the journal still knows them");
        let record = journals.record(&id).expect("readable");
        let place: S3Url = "s3://captures/inc".parse().expect("a place");
        assert!(is_open(&journals, &record, &place));
        drop(open);
        assert!(!is_open(&journals, &record, &place));
    }
}
