//! `ports`: reports of open ports, each change as it is seen, and what differs from a baseline.
//!
//! Owns what is printed of them and the exit code.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use nodewatch_protocol::PortChange;
use serde_json::{Value, json};

use super::{
    Exit, deployed, outcome, output,
    run::{Run, Stop},
};
use crate::{
    app::{App, node::NodeState},
    cli::{Format, NodesArgs, PortsArgs},
    clock::unix_millis,
    drift::{Baseline, BaselineError, Drift},
    model::{Failure, ListedPort, NodeName, Notice, Place, PortClass},
    text::{self, counted, time_of_day},
};

/// What should be open is waited for so long before the first report.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);
/// CloudWatch Logs has so long to take a first report.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// What is asked for.
pub(super) struct Work<'a> {
    pub arguments: &'a PortsArgs,
    pub interval: Duration,
    pub cluster: &'a str,
    pub format: Format,
}

fn unusable(error: &BaselineError) -> Stop {
    let failure = match error {
        BaselineError::File { operation: "write", .. } => Failure::Other,
        _ => Failure::BadInput,
    };
    let next_step = "make one with --save-baseline, or name another file";
    Stop::Notice(Notice::error("the baseline cannot be used", text::chain(error), next_step).of(failure))
}

pub(super) async fn ports(run: &mut Run, nodes: &NodesArgs, work: &Work<'_>) -> Result<Exit, Stop> {
    let arguments = work.arguments;
    // A file that cannot be used is known before anything is deployed.
    let baseline = arguments.baseline.as_deref().map(|path| Baseline::read(path, work.cluster));
    let baseline = baseline.transpose().map_err(|error| unusable(&error))?;
    if let Some(path) = &arguments.save_baseline {
        writable(path)?;
    }
    let (live, failed) = deployed(run, nodes).await?;
    if live.is_empty() {
        return Ok(outcome(0, &failed));
    }
    let nodes = live.clone();
    let known =
        move |app: &App| app.place == Place::Local || nodes.iter().all(|name| app.ports.is_expected_known(name));
    match run.until(EXPECTED_WITHIN, "what should be open", known).await {
        Err(Stop::Signal) => return Err(Stop::Signal),
        Err(Stop::Notice(_)) => output::say("warning: which ports should be open is not known"),
        Ok(()) => {}
    }
    if run.app().ports.processes {
        let nodes = live.clone();
        let known =
            move |app: &App| nodes.iter().all(|name| app.nodes.get(name).is_none_or(|state| state.owners.is_some()));
        match run.until(EXPECTED_WITHIN, "who holds the ports", known).await {
            Err(Stop::Signal) => return Err(Stop::Signal),
            Err(Stop::Notice(_)) => output::say("warning: who holds the ports is not known on every node"),
            Ok(()) => {}
        }
    }
    for gap in run.app().ports.expected.iter().flat_map(|expected| &expected.gaps) {
        output::say(&format!("warning: {gap}"));
    }
    let mut drifted = report(run, &live, baseline.as_ref(), work);
    if let Some(path) = &arguments.save_baseline {
        save(run.app(), &live, path, work)?;
    }
    if arguments.watch {
        let end = arguments.duration.map(|duration| Instant::now() + duration);
        let mut watch = Watch { next: Instant::now() + work.interval, seen: seen(run.app(), &live) };
        loop {
            let until = end.map_or(watch.next, |end| end.min(watch.next));
            // Only a signal and the time end the watch, and that is how it is meant to end.
            if watch.wait(run, &live, until, work.format).await.is_err() {
                break;
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            watch.next += work.interval;
            drifted |= report(run, &live, baseline.as_ref(), work);
        }
    } else if run.app().reports.is_some() {
        sent(run, live.len() as u64).await?;
    }
    Ok(match outcome(live.len(), &failed) {
        Exit::Done if drifted => Exit::Partly,
        exit => exit,
    })
}

/// Waits until each node's report was accepted, or says why it was not.
async fn sent(run: &mut Run, nodes: u64) -> Result<(), Stop> {
    let told = |app: &App| {
        let state = app.report_state().unwrap_or_default();
        state.sent + state.rejected + state.dropped >= nodes
    };
    match run.until(SENT_WITHIN, "CloudWatch Logs to take the reports", told).await {
        Err(Stop::Notice(notice)) => {
            let state = run.app().report_state().unwrap_or_default();
            let next_step = "see manifests/cloudwatch-policy.json, AWS_PROFILE and AWS_REGION";
            Err(Stop::Notice(Notice::error(notice.headline, state.trouble, next_step)))
        }
        other => other,
    }
}

/// How many changes of each node were told.
fn seen(app: &App, live: &[NodeName]) -> HashMap<NodeName, u64> {
    let states = live.iter().filter_map(|name| app.nodes.get(name));
    states.map(|state| (state.node.name.clone(), state.port_changes.1)).collect()
}

struct Watch {
    next: Instant,
    seen: HashMap<NodeName, u64>,
}

impl Watch {
    /// Tells every change until then.
    async fn wait(&mut self, run: &mut Run, live: &[NodeName], until: Instant, format: Format) -> Result<(), Stop> {
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            // The step is abandoned at the end of the time; it loses nothing.
            if let Ok(stepped) = tokio::time::timeout(left, run.step()).await {
                stepped?;
            }
            for name in live {
                if let Some(state) = run.app().nodes.get(name) {
                    self.tell(state, &run.app().ports, format);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, state: &NodeState, ports: &crate::app::ports::Ports, format: Format) {
        let (changes, total) = &state.port_changes;
        let told = self.seen.insert(state.node.name.clone(), *total).unwrap_or(0);
        let new = (total - told) as usize;
        if new > changes.len() {
            output::say(&format!("{}: {} changes were too many to be told", state.node.name, new - changes.len()));
        }
        let latest = changes.iter().skip(changes.len().saturating_sub(new));
        for change in latest.filter(|change| !ports.leaves_out(&change.port)) {
            print_change(&state.node.name, change, format);
        }
    }
}

fn print_change(node: &NodeName, change: &PortChange, format: Format) {
    let event = if change.opened { "opened" } else { "closed" };
    let port = change.port;
    match format {
        Format::Json => output::print_json(
            [json!({"event": event, "node": node, "at": change.at, "protocol": port.protocol_name(),
                "address": port.local.ip(), "port": port.local.port()})]
            .into_iter(),
        ),
        Format::Table => {
            output::print(&format!("{}  {}  {event} {port}\n", time_of_day(change.at), text::visible(&node.0)));
        }
    }
}

/// Prints a report; true when something differs from the baseline.
fn report(run: &Run, live: &[NodeName], baseline: Option<&Baseline>, work: &Work<'_>) -> bool {
    let app = run.app();
    let states: Vec<&NodeState> = live.iter().filter_map(|name| app.nodes.get(name)).collect();
    let lists: Vec<(&NodeState, Vec<ListedPort>, usize)> = states
        .into_iter()
        .map(|state| {
            let (excluded, kept): (Vec<_>, Vec<_>) =
                app.list_ports(state).into_iter().partition(|listed| app.ports.leaves_out(&listed.port));
            (state, kept, excluded.len())
        })
        .collect();
    print_report(&lists, unix_millis(), work.format);
    let Some(baseline) = baseline else { return false };
    let missing = baseline.nodes().filter(|name| !live.iter().any(|node| node.0 == **name)).count();
    if missing > 0 {
        output::say(&format!("{} of the baseline not looked at", counted(missing, "node")));
    }
    let drifts: Vec<Drift> =
        lists.iter().flat_map(|(state, kept, _)| baseline.compare(&state.node.name, kept)).collect();
    print_drifts(&drifts, work.format);
    !drifts.is_empty()
}

fn print_report(lists: &[(&NodeState, Vec<ListedPort>, usize)], at: u64, format: Format) {
    match format {
        Format::Json => output::print_json(lists.iter().map(|(state, kept, excluded)| {
            let sockets = kept.iter().filter(|one| one.socket).map(|one| port_json(one, at));
            let without = kept.iter().filter(|one| !one.socket).map(|one| {
                json!({"protocol": one.port.protocol_name(), "port": one.port.local.port(), "class": one.class,
                    "why": &*one.why})
            });
            json!({"node": state.node.name, "at": at, "ports": sockets.collect::<Vec<_>>(),
                "without_socket": without.collect::<Vec<_>>(), "excluded": excluded})
        })),
        Format::Table => {
            let mut rows = Vec::new();
            for (state, kept, _) in lists {
                rows.extend(kept.iter().map(|one| {
                    let (address, scope) = if one.socket {
                        (one.port.local.ip().to_string(), one.port.scope().word())
                    } else {
                        ("-".to_owned(), "-")
                    };
                    let why = [&*one.why, &*one.owner].into_iter().filter(|part| !part.is_empty());
                    vec![
                        state.node.name.0.clone(),
                        one.port.protocol_name().to_owned(),
                        address,
                        one.port.local.port().to_string(),
                        scope.to_owned(),
                        one.class.map_or("-", PortClass::word).to_owned(),
                        why.collect::<Vec<_>>().join(", "),
                    ]
                }));
            }
            output::print_table(&["NODE", "PROTOCOL", "ADDRESS", "PORT", "SCOPE", "CLASS", "WHY, OWNER"], &rows);
            for (state, _, excluded) in lists.iter().filter(|(_, _, excluded)| *excluded > 0) {
                output::say(&format!("{}: {excluded} excluded", state.node.name));
            }
        }
    }
}

fn port_json(one: &ListedPort, at: u64) -> Value {
    let port = one.port;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "protocol": port.protocol_name(), "address": port.local.ip(), "port": port.local.port(),
        "scope": port.scope().word(), "first_seen": one.since, "last_seen": at, "class": one.class,
        "why": text(&one.why), "owner": text(&one.owner),
    })
}

fn print_drifts(drifts: &[Drift], format: Format) {
    match format {
        Format::Json => output::print_json(drifts.iter().map(|drift| json!(drift))),
        Format::Table if drifts.is_empty() => output::say("nothing differs from the baseline"),
        Format::Table => {
            let row = |drift: &Drift| {
                let Drift { node, drift, port, before, now } = drift.clone();
                vec![node.0, drift.word().to_owned(), port, before, now]
            };
            let rows: Vec<Vec<String>> = drifts.iter().map(row).collect();
            output::print_table(&["NODE", "DRIFT", "PORT", "BASELINE", "NOW"], &rows);
        }
    }
}

/// Whether a baseline can be written there, found out before anything is deployed.
fn writable(path: &Path) -> Result<(), Stop> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() && !path.is_dir() {
        return Ok(());
    }
    let headline = format!("the baseline cannot be written to {}", path.display());
    let cause = if path.is_dir() { "that is a folder" } else { "there is no such folder" };
    Err(Stop::Notice(Notice::error(headline, cause, "name another file").of(Failure::BadInput)))
}

fn save(app: &App, live: &[NodeName], path: &Path, work: &Work<'_>) -> Result<(), Stop> {
    let lists: Vec<(NodeName, Vec<ListedPort>)> = live
        .iter()
        .filter_map(|name| app.nodes.get(name))
        .map(|state| {
            let kept = app.list_ports(state).into_iter().filter(|one| !app.ports.leaves_out(&one.port));
            (state.node.name.clone(), kept.collect())
        })
        .collect();
    let baseline = Baseline::of(work.cluster, unix_millis(), lists.iter().map(|(name, list)| (name, &list[..])));
    baseline.write(path).map_err(|error| unusable(&error))?;
    output::say(&format!("the baseline of {} is in {}", counted(lists.len(), "node"), path.display()));
    Ok(())
}
