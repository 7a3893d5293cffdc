//! `ports`: reports of open ports, each change as it is seen, and what differs from a baseline.
//!
//! Owns what is printed of them and the exit code.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

use nodewatch_ports::{ListedPortFields, PortFields};
use nodewatch_protocol::PortChange;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    ExitCode,
    drift::{Baseline, BaselineError, Drift, STANDARD, Target},
    gaps::{Gap, Gaps},
    output, records,
    run::{Run, Stop},
    select::Choice,
    team::Team,
};
use crate::{
    base::{
        clock::unix_millis,
        text::{self, counted, time_of_day},
    },
    cli::{Format, PortsArgs},
    model::{Failure, ListedPort, NodeName, Notice, Place, PortKey},
    session::{
        Event, Session,
        node::{Agent, NodeState},
    },
};

/// What should be open is waited for so long before the first report.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);
/// CloudWatch Logs has so long to take a first report.
const SENT_WITHIN: Duration = Duration::from_secs(60);
/// When every agent is gone, one may come back within this.
const ALONE_WITHIN: Duration = Duration::from_secs(30);

/// What is asked for.
pub(super) struct Work<'a> {
    pub arguments: &'a PortsArgs,
    pub interval: Duration,
    pub cluster: &'a str,
    pub format: Format,
}

fn unusable(error: &BaselineError) -> Stop {
    let (headline, next_step, failure) = match error {
        BaselineError::Write { .. } => {
            ("the baseline was not saved", "free some space, fix the permissions, or use another file", Failure::Other)
        }
        BaselineError::Read { .. } | BaselineError::Invalid { .. } => {
            ("cannot use the baseline", "create one with --save-baseline, or use another file", Failure::BadInput)
        }
        BaselineError::OtherCluster { .. } => {
            ("cannot use the baseline", "use this cluster's, or create one with --save-baseline", Failure::BadInput)
        }
    };
    Stop::Notice(Notice::error(headline, text::chain(error), next_step).of(failure))
}

pub(super) async fn ports(run: &mut Run, choice: &Choice, work: &Work<'_>) -> Result<ExitCode, Stop> {
    let arguments = work.arguments;
    // A file that cannot be used is known before anything is deployed.
    let baseline = match arguments.baseline.clone() {
        Some(path) => {
            let cluster = work.cluster.to_owned();
            Some(beside(run, move || Baseline::read(&path, &cluster)).await?.map_err(|error| unusable(&error))?)
        }
        None => None,
    };
    if let Some(path) = &arguments.save_baseline {
        writable(path)?;
    }
    let mut team = Team::gather(run, choice, arguments.watch.then_some(|_| true)).await?;
    // Where the pods are now is what is reported.
    run.handle(Event::Aim(Vec::new()));
    let live = team.recruits(run.session());
    if live.is_empty() {
        return Ok(team.outcome(0, Vec::new()));
    }
    wait_for_the_rest(run, &live).await?;
    // A baseline on standard output is to be read back from there.
    let printed = arguments.save_baseline.as_deref() != Some(Path::new(STANDARD));
    let mut drifted = report(run, &live, baseline.as_ref(), work, printed);
    if let Some(path) = &arguments.save_baseline {
        save(run, &live, path, work).await?;
    }
    let mut whole = true;
    if arguments.watch {
        let end = arguments.duration.map(|duration| Instant::now() + duration);
        let mut watch = Watch::begin(run.session(), &live, work);
        loop {
            let until = end.map_or(watch.next, |end| end.min(watch.next));
            // A signal, a reader that has gone and the time end the watch, and that is how it is meant to end.
            if watch.wait(run, &mut team, until).await.is_err() || end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            watch.next += work.interval;
            let printed = watch.may_print();
            drifted |= report(run, &team.members(), baseline.as_ref(), work, printed);
        }
        for gap in watch.gaps.at_end(run.session(), &team, |_| true) {
            watch.tell_gap(&gap);
        }
        whole = watch.left_out.0 == 0 && watch.gaps.count == 0;
    } else {
        team.look(run.session(), |_| false);
        if run.session().reports.is_some() {
            match sent(run, live.len() as u64).await {
                // Those of the others are there.
                Err(Stop::Notice(notice)) if run.session().report_state().is_some_and(|state| state.sent > 0) => {
                    output::say(&format!("error: {}", notice.line()));
                    whole = false;
                }
                done => done?,
            }
        }
    }
    Ok(match team.outcome(live.len(), Vec::new()) {
        ExitCode::Done if drifted || !whole => ExitCode::Partly,
        exit => exit,
    })
}

/// Waits for what should be open and who holds it, and says what of that stays unknown.
async fn wait_for_the_rest(run: &mut Run, live: &[NodeName]) -> Result<(), Stop> {
    let nodes = live.to_vec();
    let known = move |session: &Session| {
        session.terms.place == Place::Local || nodes.iter().all(|name| session.ports.is_expected_known(name))
    };
    match run.until(EXPECTED_WITHIN, "the expected ports", known).await {
        Err(stop @ (Stop::Signal | Stop::Reader)) => return Err(stop),
        Err(Stop::Notice(_)) => output::say("warning: the expected ports are unknown"),
        Ok(()) => {}
    }
    if run.session().terms.processes {
        let nodes = live.to_vec();
        let known = move |session: &Session| {
            nodes.iter().all(|name| session.nodes.get(name).is_none_or(|state| state.ports.owners.is_some()))
        };
        match run.until(EXPECTED_WITHIN, "the port owners", known).await {
            Err(stop @ (Stop::Signal | Stop::Reader)) => return Err(stop),
            Err(Stop::Notice(_)) => output::say("warning: port owners are unknown on some nodes"),
            Ok(()) => {}
        }
    }
    for gap in run.session().ports.expected.iter().flat_map(|expected| &expected.gaps) {
        output::say(&format!("warning: {gap}"));
    }
    for (name, gap) in gaps(run.session(), live) {
        output::say(&format!("warning: {name}: {gap}"));
    }
    Ok(())
}

/// What of the nodes' ports cannot be told.
fn gaps<'a>(session: &'a Session, live: &'a [NodeName]) -> impl Iterator<Item = (&'a NodeName, &'a String)> {
    let states = live.iter().filter_map(|name| session.nodes.get(name));
    states.flat_map(|state| state.ports.gaps.iter().map(|gap| (&state.node.name, gap)))
}

/// Does what a file may make wait for ever, as a pipe without a writer does, on a thread that nobody waits for at the end.
async fn beside<T: Send + 'static>(run: &mut Run, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    let (answer, mut done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whoever asked may have been told to stop.
        let _ = answer.send(work());
    });
    loop {
        tokio::select! {
            done = &mut done => {
                let lost = |_| Stop::Notice(Notice::error("cannot use the baseline", "its thread ended", ""));
                return done.map_err(lost);
            }
            stepped = run.step() => stepped?,
        }
    }
}

/// Waits until each node's report was accepted, or says why it was not.
async fn sent(run: &mut Run, nodes: u64) -> Result<(), Stop> {
    let told = |session: &Session| {
        let state = session.report_state().unwrap_or_default();
        state.sent + state.rejected + state.dropped >= nodes
    };
    match run.until(SENT_WITHIN, "CloudWatch Logs to accept the reports", told).await {
        Err(Stop::Notice(notice)) => {
            let state = run.session().report_state().unwrap_or_default();
            let next_step = "check manifests/cloudwatch-policy.json, AWS_PROFILE and AWS_REGION";
            Err(Stop::Notice(Notice::error(notice.headline, state.trouble, next_step)))
        }
        other => other,
    }
}

struct Watch {
    next: Instant,
    format: Format,
    /// How many changes of each node were told.
    seen: HashMap<NodeName, u64>,
    /// When nobody looked.
    gaps: Gaps,
    /// Results that a slow reader did not get: all of them, and those since it was last told of some.
    left_out: (u64, u64),
    /// Since when no agent is there.
    alone: Option<Instant>,
}

impl Watch {
    fn begin(session: &Session, live: &[NodeName], work: &Work<'_>) -> Self {
        let states = live.iter().filter_map(|name| session.nodes.get(name));
        let seen = states.map(|state| (state.node.name.clone(), state.ports.changes.1)).collect();
        let mut gaps = Gaps::default();
        for state in live.iter().filter_map(|name| session.nodes.get(name)) {
            // Whoever looks from the beginning leaves none.
            let _ = gaps.look(state, session, None);
        }
        Self { next: Instant::now() + work.interval, format: work.format, seen, gaps, left_out: (0, 0), alone: None }
    }

    fn tell_gap(&mut self, gap: &Gap) {
        if self.may_print() {
            match self.format {
                Format::Json | Format::Yaml => {
                    output::print_values(&records::GAP, [gap.value()].into_iter(), self.format);
                }
                Format::Name => {}
                Format::Table | Format::Wide => output::print(&format!("{}\n", gap.line())),
            }
        }
    }

    /// Tells every change until then.
    async fn wait(&mut self, run: &mut Run, team: &mut Team, until: Instant) -> Result<(), Stop> {
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            // The step is abandoned at the end of the time; it loses nothing.
            if let Ok(stepped) = timeout(left, run.step_for_reader()).await {
                stepped?;
            }
            for name in team.recruits(run.session()) {
                let known = run.session().nodes.get(&name).map_or(0, |state| state.ports.changes.1);
                self.seen.insert(name, known);
            }
            team.take_back(run.session());
            team.look(run.session(), |_| false);
            for name in team.members() {
                if let Some(state) = run.session().nodes.get(&name) {
                    if let Some(gap) = self.gaps.look(state, run.session(), team.last_word(&name)) {
                        self.tell_gap(&gap);
                    }
                    self.tell(state, run.session());
                }
            }
            if !team.is_through(run.session(), |_| false) {
                self.alone = None;
            } else if self.alone.get_or_insert_with(Instant::now).elapsed() >= ALONE_WITHIN {
                return Err(Stop::Notice(Notice::error("no agents left", "", "")));
            }
        }
        Ok(())
    }

    /// False for a result that its reader is too slow for; one that reads again is told how many it did not get.
    fn may_print(&mut self) -> bool {
        if output::is_behind() {
            if self.left_out.1 == 0 {
                output::say("warning: skipping results: output is not read in time");
            }
            self.left_out = (self.left_out.0 + 1, self.left_out.1 + 1);
            return false;
        }
        if self.left_out.1 > 0 {
            output::print_left_out(std::mem::take(&mut self.left_out.1), self.format);
        }
        true
    }

    fn tell(&mut self, state: &NodeState, session: &Session) {
        let (changes, total) = &state.ports.changes;
        let told = self.seen.insert(state.node.name.clone(), *total).unwrap_or(0);
        let new = (total - told) as usize;
        if new > changes.len() {
            output::say(&format!("{}: skipped {} changes: too many at once", state.node.name, new - changes.len()));
        }
        let latest = changes.iter().skip(changes.len().saturating_sub(new));
        for change in latest.filter(|change| !session.leaves_out(&change.port)) {
            if self.may_print() {
                print_change(&state.node.name, change, self.format);
            }
        }
    }
}

fn print_change(node: &NodeName, change: &PortChange, format: Format) {
    let event = if change.opened { "opened" } else { "closed" };
    let port = change.port;
    match format {
        Format::Json | Format::Yaml => {
            let mut value = json!(PortFields::from(&port));
            value["event"] = json!(event);
            value["node"] = json!(node);
            value["at"] = json!(change.at);
            output::print_values(&records::PORT_CHANGE, [value].into_iter(), format);
        }
        Format::Name => output::print_names([format!("{node} {}", PortKey::from(port))].into_iter()),
        Format::Table | Format::Wide => {
            let line = format!("{}  {node}  {event} {port}", time_of_day(change.at));
            output::print(&format!("{}\n", text::visible(&line)));
        }
    }
}

/// Prints a report of the nodes whose agents are there, when it is to be; true when something differs from the baseline.
fn report(run: &Run, nodes: &[NodeName], baseline: Option<&Baseline>, work: &Work<'_>, printed: bool) -> bool {
    let session = run.session();
    // What was seen last of an agent that is gone is no news.
    let live = |state: &&NodeState| state.agent == Agent::Live;
    let states: Vec<&NodeState> = nodes.iter().filter_map(|name| session.nodes.get(name)).filter(live).collect();
    let lists: Vec<(&NodeState, Vec<ListedPort>, usize)> = states
        .into_iter()
        .map(|state| {
            let (excluded, kept): (Vec<_>, Vec<_>) =
                session.list_ports(state).into_iter().partition(|listed| session.leaves_out(&listed.port));
            (state, kept, excluded.len())
        })
        .collect();
    // As with diff: of what is the same nothing is told.
    let only_drift = baseline.is_some() && matches!(work.format, Format::Table | Format::Wide | Format::Name);
    if printed && !only_drift {
        print_report(&lists, unix_millis(), work.format);
    }
    let Some(baseline) = baseline else { return false };
    let missing = baseline.nodes().filter(|name| !lists.iter().any(|(state, ..)| state.node.name.0 == **name)).count();
    if missing > 0 {
        output::say(&format!("{} in the baseline not checked", counted(missing, "node")));
    }
    let drifts: Vec<Drift> = lists
        .iter()
        .flat_map(|(state, kept, _)| baseline.compare(&state.node.name, kept, state.ports.gaps.is_empty()))
        .collect();
    let name = work.arguments.baseline.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    if drifts.is_empty() && only_drift {
        let ports: usize = lists.iter().map(|(_, kept, _)| kept.len()).sum();
        let what = format!("{}, {}", counted(ports, "port"), counted(lists.len(), "node"));
        output::progress(&format!("no difference from {name} ({what})"));
    } else if printed || work.arguments.save_baseline.is_some() {
        print_drifts(&drifts, work.format);
    }
    !drifts.is_empty()
}

fn print_report(lists: &[(&NodeState, Vec<ListedPort>, usize)], at: u64, format: Format) {
    match format {
        Format::Name => {
            let keys = lists.iter().flat_map(|(state, kept, _)| {
                kept.iter().map(move |one| format!("{} {}", state.node.name, PortKey::from(one.port)))
            });
            // A port on several addresses is one.
            output::print_names(keys.collect::<BTreeSet<_>>().into_iter());
        }
        Format::Json | Format::Yaml => {
            let reports = lists.iter().map(|(state, kept, excluded)| {
                let sockets = kept.iter().filter(|one| one.socket).map(|one| port_json(one, at));
                let without = kept.iter().filter(|one| !one.socket).map(|one| {
                    json!({"protocol": one.port.protocol_name(), "port": one.port.local.port(), "class": one.class,
                    "why": &*one.why})
                });
                json!({"node": state.node.name, "at": at, "ports": sockets.collect::<Vec<_>>(),
                "without_socket": without.collect::<Vec<_>>(), "excluded": excluded, "gaps": state.ports.gaps})
            });
            output::print_values(&records::PORT_REPORT, reports, format);
        }
        Format::Table | Format::Wide => {
            let mut rows = Vec::new();
            for (state, kept, _) in lists {
                rows.extend(kept.iter().map(|one| {
                    let (address, scope) =
                        if one.socket { (one.port.address(), one.port.scope().word()) } else { ("-".to_owned(), "-") };
                    let why = [&*one.why, &*one.owner].into_iter().filter(|part| !part.is_empty());
                    vec![
                        state.node.name.0.clone(),
                        one.port.protocol_name().to_owned(),
                        address,
                        one.port.local.port().to_string(),
                        scope.to_owned(),
                        if one.class.is_known() { one.class.word() } else { "-" }.to_owned(),
                        why.collect::<Vec<_>>().join(", "),
                        if one.socket { text::rfc3339(one.since) } else { "-".to_owned() },
                    ]
                }));
            }
            let wide = format == Format::Wide;
            if rows.is_empty() {
                // A head alone looks as if something were missing.
                output::say("no listening sockets found, other than excluded ones (--exclude)");
            }
            let heads = ["NODE", "PROTOCOL", "ADDRESS", "PORT", "SCOPE", "CLASS", "WHY, OWNER", "FIRST SEEN"];
            output::print_table(if wide { &heads } else { &heads[..7] }, &output::cut(rows, wide, 7));
            for (state, _, excluded) in lists.iter().filter(|(_, _, excluded)| *excluded > 0) {
                output::say(&format!("{}: {excluded} excluded", state.node.name));
            }
        }
    }
}

fn port_json(one: &ListedPort, at: u64) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut value = json!(ListedPortFields::new(&one.port, one.class, one.since, at));
    value["why"] = json!(text(&one.why));
    value["owner"] = json!(text(&one.owner));
    value
}

fn print_drifts(drifts: &[Drift], format: Format) {
    match format {
        Format::Json | Format::Yaml => {
            output::print_values(&records::PORT_DRIFT, drifts.iter().map(|drift| json!(drift)), format);
        }
        Format::Name => output::print_names(drifts.iter().map(|drift| format!("{} {}", drift.node, drift.port))),
        Format::Table | Format::Wide => {
            let row = |drift: &Drift| {
                let Drift { node, kind, port, before, now } = drift.clone();
                vec![node.0, kind.word().to_owned(), port, before, now]
            };
            let rows: Vec<Vec<String>> = drifts.iter().map(row).collect();
            output::print_table(&["NODE", "DRIFT", "PORT", "BASELINE", "NOW"], &rows);
        }
    }
}

/// Whether a baseline can be written there, found out before anything is deployed.
fn writable(path: &Path) -> Result<(), Stop> {
    let Err(error) = Target::of(path) else { return Ok(()) };
    let headline = format!("cannot write the baseline to {}", path.display());
    let cause = match error.kind() {
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        std::io::ErrorKind::NotFound => "no such folder".to_owned(),
        _ => error.to_string(),
    };
    Err(Stop::Notice(Notice::error(headline, cause, "use another file").of(Failure::BadInput)))
}

async fn save(run: &mut Run, live: &[NodeName], path: &Path, work: &Work<'_>) -> Result<(), Stop> {
    let session = run.session();
    let lists: Vec<(NodeName, Vec<ListedPort>)> = live
        .iter()
        .filter_map(|name| session.nodes.get(name))
        .map(|state| {
            let kept = session.list_ports(state).into_iter().filter(|one| !session.leaves_out(&one.port));
            (state.node.name.clone(), kept.collect())
        })
        .collect();
    let baseline = Baseline::of(work.cluster, unix_millis(), lists.iter().map(|(name, list)| (name, &list[..])));
    let to = path.to_owned();
    beside(run, move || baseline.write(&to)).await?.map_err(|error| unusable(&error))?;
    let place =
        if path == Path::new(STANDARD) { "to standard output".into() } else { format!("to {}", path.display()) };
    output::progress(&format!("saved the baseline of {} {place}", counted(lists.len(), "node")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::*;

    #[test]
    fn a_baseline_that_was_not_saved_is_not_advised_to_be_saved() {
        let told = |error: BaselineError| match unusable(&error) {
            Stop::Notice(notice) => notice,
            _ => panic!("it is a notice"),
        };
        let (path, full) = (|| PathBuf::from("b"), || io::Error::from(io::ErrorKind::StorageFull));
        let notice = told(BaselineError::Write { path: path(), source: full() });
        assert!(!notice.next_step.contains("--save-baseline") && notice.headline.contains("not saved"), "{notice:?}");
        let notice = told(BaselineError::Read { path: path(), source: full() });
        assert!(notice.next_step.contains("--save-baseline"), "{notice:?}");
    }
}
