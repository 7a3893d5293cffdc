//! `capture`: files brought home, or one stream on standard output.
//!
//! Owns when a node's capture has ended and why, what is told of it, and the exit code.

use std::{collections::BTreeMap, io};

use nodewatch_protocol::{CaptureFile, CaptureSpec, CaptureState, StopReason, UnixMillis};
use tokio::{
    sync::mpsc,
    time::{Duration, timeout},
};

use super::{
    ExitCode, output,
    run::{Run, Stop},
    select::{self, Choice},
    team::Team,
};
use crate::{
    agents::live,
    base::text,
    cli::Format,
    model::{FetchProgress, NodeName, Notice, Place},
    session::{
        Event, Session,
        node::{Agent, NodeState},
        targets::Aim,
    },
};

/// What is on its way in a stream has so long to come, once captures are to end.
const REST_WITHIN: Duration = Duration::from_secs(20);

/// Captures, until every node's has ended; the files are here or in S3 then.
pub(super) async fn capture(
    run: &mut Run,
    choice: &Choice,
    spec: CaptureSpec,
    format: Format,
) -> Result<ExitCode, Stop> {
    let armed = spec.recorder.is_some();
    let mut team = Team::gather(run, choice, Some(select::was_given_capture)).await?;
    let session = &run.session().terms.id;
    let mut begun = false;
    if armed {
        let here = (run.session().terms.place == Place::Local).then_some("--local");
        let freeze = text::command(["freeze", session.as_str()].into_iter().chain(here));
        output::say(&format!("session {session} is armed: {freeze} saves its last seconds"));
    }
    let mut ended_early = None;
    let mut short = BTreeMap::new();
    loop {
        start(run, &mut team, &spec);
        if !std::mem::replace(&mut begun, true) && !armed {
            let nodes = text::counted(team.members().len(), "node");
            output::progress(&format!("session {} captures on {nodes}", run.session().terms.id));
        }
        tell_cut_short(run.session(), &team, &mut short);
        tell_unserved(run.session(), &team, &mut short);
        if is_through(run.session(), &team, &short) {
            break;
        }
        ended_early = too_near_its_end(run.session());
        if ended_early.is_some() {
            break;
        }
        // A signal is how a capture without a limit is meant to end. What ends after it ends as asked.
        if run.work().await.is_err() {
            break;
        }
    }
    let members = team.members();
    run.clean_up().await;

    let mut worked = 0;
    let mut failures: Vec<Notice> = ended_early.into_iter().chain(short.into_values()).collect();
    for name in &members {
        let Some(state) = run.session().nodes.get(name) else { continue };
        if let Some(notice) = &state.refusal {
            output::say(&format!("error: {}", notice.line()));
            failures.push(notice.clone());
        } else if let CaptureState::Stopped { reason: StopReason::Failed { message }, .. } = &state.capture {
            let headline = format!("the capture on {name} failed");
            let notice = Notice::error(headline, message.clone(), what_is_left(run.session(), state));
            output::say(&format!("error: {}", notice.line()));
            failures.push(notice);
        } else {
            // What it has captured is there.
            worked += 1;
        }
    }
    failures.extend(without_bundle(run.session(), &members, &spec));
    let states: Vec<&NodeState> = members.iter().filter_map(|name| run.session().nodes.get(name)).collect();
    output::files(&states, run.session().terms.storage.is_some(), format);
    output::bundles(&run.session().transfers.bundles.files, format);
    Ok(team.outcome(worked, failures))
}

/// One pcapng of all nodes on standard output, for as long as captures run and somebody reads it.
pub(super) async fn stream(run: &mut Run, choice: &Choice, spec: CaptureSpec) -> Result<ExitCode, Stop> {
    let mut team = Team::gather(run, choice, Some(select::was_given_capture)).await?;
    let (join, joining) = mpsc::unbounded_channel();
    let mut stream = tokio::spawn(live::follow(run.site(), joining, 0, tokio::io::stdout(), live::Live::default()));
    let mut ended_early = None;
    let mut short = BTreeMap::new();
    let mut streamed = None;
    let mut read = BTreeMap::new();
    while streamed.is_none() {
        let new = start(run, &mut team, &spec);
        let begun = if run.session().aim.is_some() { begun(run.session(), &mut read) } else { new };
        for name in begun {
            // A stream that has ended says so below.
            let _ = join.send(name);
        }
        tell_cut_short(run.session(), &team, &mut short);
        tell_unserved(run.session(), &team, &mut short);
        if is_through(run.session(), &team, &short) {
            break;
        }
        ended_early = too_near_its_end(run.session());
        if ended_early.is_some() {
            break;
        }
        tokio::select! {
            // A signal is how a capture without a limit is meant to end, and so is a reader that has had enough.
            step = run.step_for_reader() => if step.is_err() { break },
            done = &mut stream => streamed = Some(done),
        }
    }
    drop(join);
    let members = team.members();
    let refused: Vec<Notice> =
        members.iter().filter_map(|name| run.session().nodes.get(name)?.refusal.clone()).collect();
    for notice in &refused {
        output::say(&format!("error: {}", notice.line()));
    }
    if streamed.is_none() {
        // What is on its way still comes, once the captures have closed their files.
        run.stop_captures();
        let rest = async { streamed = Some((&mut stream).await) };
        let _ = timeout(REST_WITHIN, async {
            tokio::select! {
                () = rest => {}
                () = run.go_on() => {}
                () = output::reader_gone() => {}
            }
        })
        .await;
    }
    stream.abort();
    let worked = members.len().saturating_sub(refused.len());
    let unread = without_bundle(run.session(), &members, &spec);
    let failures: Vec<Notice> =
        refused.into_iter().chain(short.into_values()).chain(ended_early).chain(unread).collect();
    let outcome = team.outcome(worked, failures);
    match streamed {
        Some(Ok(Ok(followed))) => {
            output::progress(&format!("{} streamed", text::counted(followed.packets as usize, "packet")));
            for fault in followed.faults() {
                output::say(&format!("error: {fault}"));
            }
            Ok(if followed.is_whole() { outcome } else { ExitCode::Partly })
        }
        // A reader that has enough, as `head` or `tshark -c` do, is no failure.
        Some(Ok(Err(live::LiveError::Reader(error)))) if error.kind() == io::ErrorKind::BrokenPipe => Ok(outcome),
        Some(Ok(Err(live::LiveError::Reader(error)))) => {
            output::say(&format!("error: standard output ends early: {error}"));
            Ok(ExitCode::Partly)
        }
        None if output::is_reader_gone() => Ok(outcome),
        Some(Err(_)) | None => Ok(ExitCode::Partly),
    }
}

/// Captures that ran and of which nobody has heard in time to read a bundle. What else is missing is in the receipt.
fn without_bundle(session: &Session, members: &[NodeName], spec: &CaptureSpec) -> Vec<Notice> {
    let unheard = |name: &&NodeName| {
        let state = session.nodes.get(*name).filter(|state| state.refusal.is_none());
        spec.bundle
            && state.is_some_and(|state| matches!(state.capture, CaptureState::Stopped { .. }))
            && !session.transfers.bundles.is_begun(name)
    };
    let notice = |name: &NodeName| {
        let notice = Notice::error(format!("no bundle of {name}"), "its capture had ended before it was heard of", "");
        output::say(&format!("error: {}", notice.line()));
        notice
    };
    members.iter().filter(unheard).map(notice).collect()
}

/// Starts it on nodes that have come up; sees which are gone.
fn start(run: &mut Run, team: &mut Team, spec: &CaptureSpec) -> Vec<NodeName> {
    let new = team.recruits(run.session());
    // Nodes that have joined were given what is left of it, and so are those that pods come to once it has begun.
    let follows = run.session().aim.as_ref().is_some_and(Aim::captures);
    let given = |name: &&NodeName| !follows && !run.session().joining.joined().any(|(joined, _)| joined == *name);
    let first: Vec<NodeName> = new.iter().filter(given).cloned().collect();
    if !first.is_empty() {
        run.handle(Event::StartCaptures(first, spec.clone()));
    }
    team.look(run.session(), is_over);
    new
}

/// Nodes of the targets' pods where a capture has begun that was not read yet: each that takes another's place is a stream of its
/// own.
fn begun(session: &Session, read: &mut BTreeMap<NodeName, UnixMillis>) -> Vec<NodeName> {
    let running = |name: &NodeName| match session.nodes.get(name)?.capture {
        CaptureState::Running { since, .. } => Some(since),
        _ => None,
    };
    let nodes = session.aim.iter().flat_map(Aim::nodes);
    let new =
        nodes.filter(|name| running(name).is_some_and(|since| read.insert((*name).clone(), since) != Some(since)));
    new.cloned().collect()
}

/// Every part has ended. Where one was cut short another agent may run by now, without a capture.
fn is_through(session: &Session, team: &Team, short: &BTreeMap<NodeName, Notice>) -> bool {
    if session.aim.as_ref().is_some_and(Aim::captures) {
        return session.targets_are_through();
    }
    team.is_through(session, |state| is_over(state) || short.contains_key(&state.node.name))
}

/// It was refused, or has run and ended.
fn is_over(state: &NodeState) -> bool {
    state.refusal.is_some() || state.capture_over()
}

/// Captures end before their session does, so that what only nodes have gets home.
fn too_near_its_end(session: &Session) -> Option<Notice> {
    let ends = session.life.ends?;
    if session.homeward().is_none_or(|at| session.now < at) {
        return None;
    }
    let left = text::lasting(ends.saturating_sub(session.now));
    let budget = text::lasting(session.terms.budget.as_millis() as u64);
    let cause = format!("the session's budget of {budget} ends in {left}, and files must be fetched before that");
    let notice = Notice::error("captures stopped early", cause, "choose a longer --session-budget");
    output::say(&format!("error: {}", notice.line()));
    Some(notice)
}

/// Tells, once, whose capture nobody has asked to end: the agent was evicted, was stopped, or has spent its budget. Those
/// that are gone were told before.
fn tell_cut_short(session: &Session, team: &Team, short: &mut BTreeMap<NodeName, Notice>) {
    for name in team.members() {
        let agent_ended = |state: &NodeState| {
            state.refusal.is_none()
                && matches!(&state.capture, CaptureState::Stopped { reason: StopReason::AgentEnds, .. })
        };
        let new = !short.contains_key(&name) && !team.has_fallen(&name);
        if let Some(state) = session.nodes.get(&name).filter(|state| new && agent_ended(state)) {
            let left = what_is_left(session, state);
            let headline = format!("the capture on {name} ended early");
            let why = state.ending().map(|why| format!("its agent is being ended: {why}"));
            let ended = || why.unwrap_or_else(|| "its agent has ended".to_owned());
            let cause = team.last_word(&name).map_or_else(ended, Notice::fact);
            let notice = Notice::error(headline, cause, left);
            output::say(&format!("error: {}", notice.line()));
            short.insert(name, notice);
        }
    }
}

/// Tells, once, which nodes that a pod came to later have no agent.
fn tell_unserved(session: &Session, team: &Team, short: &mut BTreeMap<NodeName, Notice>) {
    let members = team.members();
    let later = session.aim.iter().flat_map(Aim::nodes);
    for name in later.filter(|name| !members.contains(name) && !team.is_missing(name)) {
        let agent = session.nodes.get(name).map(|state| &state.agent);
        if let Some(Agent::Failed(notice) | Agent::Ended(notice)) = agent.filter(|_| !short.contains_key(name)) {
            let notice = Notice { next_step: String::new(), ..notice.clone() };
            output::say(&format!("error: {name}: {}", notice.fact()));
            short.insert(name.clone(), notice);
        }
    }
}

/// What there is of a capture that has ended before its time.
fn what_is_left(session: &Session, state: &NodeState) -> String {
    if session.terms.files.keep_files {
        return "the stream has what was read of it until then".to_owned();
    }
    let total = |files: &mut dyn Iterator<Item = &CaptureFile>| {
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size))
    };
    let here = |file: &&CaptureFile| matches!(state.fetches.get(&file.name), Some(FetchProgress::Done { .. }));
    let over = session.ended().is_some();
    let (missing, bytes) = if over {
        total(&mut state.every_file().filter(|file| !here(file) && !state.is_in_s3(file)))
    } else {
        total(&mut state.lost_files())
    };
    let what = format!("{} ({})", text::counted(missing, "file"), text::bytes(bytes));
    match (missing, over) {
        (1.., false) => format!("lost with its agent: {what}; any other is complete up to that point"),
        (1.., true) => format!("not fetched: {what}; any other is complete up to that point"),
        (0, false) if state.unfetched().chain(state.late_files()).next().is_some() || state.is_writing() => {
            "its files are fetched or uploaded while its agent is up".to_owned()
        }
        (0, _) => "its files are complete up to that point".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::Update;

    use super::*;
    use crate::{
        model::{DeployProgress, Node, NodesChange, SessionId, TunnelChange},
        session::update,
    };

    #[test]
    fn a_file_that_went_with_its_agent_is_not_said_to_be_complete() {
        let place = Place::Cluster { context: "c".into(), flavour: None };
        let mut session = Session::plain(place, SessionId::new(1), Duration::from_secs(9));
        let file: CaptureFile = serde_json::from_value(serde_json::json!({"name": "x", "size": 9, "packets": 1,
            "started": 1, "ended": 2, "state": "closed"}))
        .expect("a file");
        let name = NodeName::from("a");
        let tell = |session: &mut Session, change| update(session, Event::Tunnel("a".into(), change), 1);
        update(&mut session, Event::Nodes(NodesChange::Replaced(vec![Node::named(name.clone())])), 1);
        update(&mut session, Event::Deploy(name.clone(), DeployProgress::Running), 1);
        tell(&mut session, TunnelChange::Up(nodewatch_protocol::Hello::of("nodewatch-agent", "0")));
        tell(&mut session, TunnelChange::Update(Update::Files(vec![file])));
        let left = |session: &Session| what_is_left(session, &session.nodes[&name]);
        assert_eq!(left(&session), "its files are fetched or uploaded while its agent is up");
        update(&mut session, Event::Deploy(name.clone(), DeployProgress::Ended("evicted".into())), 1);
        assert_eq!(left(&session), "lost with its agent: 1 file (9 B); any other is complete up to that point");
        let done = FetchProgress::Done { path: "x".into(), sha256: "00".into() };
        update(&mut session, Event::Fetch(name.clone(), "x".into(), done), 1);
        assert_eq!(left(&session), "its files are complete up to that point");
        session.terms.files.keep_files = true;
        assert_eq!(left(&session), "the stream has what was read of it until then");
    }
}
