//! `probe`: ports that are tried from nodes, so often that what fails now and then is seen.
//!
//! Owns which addresses targets mean, what is printed of the tries, and the exit code.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nodewatch_protocol::{PortProtocol, Probe, ProbeOutcome, Probed, Request, UnixMillis};
use serde_json::{Value, json};

use super::{
    ExitCode, listed, output, records,
    run::{Run, Stop},
    select::{self, Choice},
    team::Team,
};
use crate::{
    base::text::counted,
    cli::{Format, NodesArgs, ProbeArgs, ProbeHost, ProbeTarget},
    model::{Failure, NodeName, Notice},
    session::{Session, probes::ProbeResult},
};

/// After the last try has begun its answer has so long, on the node and on the way here.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// What came of a target, tried from one node.
struct Row {
    target: String,
    /// When, by the clock on the wall.
    at: UnixMillis,
    result: ProbeResult,
}

/// Tries every target from every node and prints what came of it.
pub(super) async fn probe(run: &mut Run, arguments: &ProbeArgs, format: Format) -> Result<ExitCode, Stop> {
    listed(run).await?;
    // What cannot be tried is refused before anything is deployed.
    let mut aims: Vec<(&ProbeTarget, Probe)> = Vec::new();
    for target in &arguments.targets {
        let to = SocketAddr::new(address(run.session(), target)?, target.port);
        let protocol = if arguments.udp { PortProtocol::Udp } else { PortProtocol::Tcp };
        let probe = Probe { protocol, to, tries: arguments.count };
        if !aims.iter().any(|(_, known)| *known == probe) {
            aims.push((target, probe));
        }
    }
    let nodes = Choice::Nodes(NodesArgs { nodes: arguments.from.clone(), all: false, selector: None });
    let mut team = Team::gather(run, &nodes, None).await?;
    let from = team.recruits(run.session());
    let (mut rows, mut failed, mut stopped) = (Vec::new(), Vec::new(), None);
    // One after the other, as an agent tries one at a time.
    for (target, probe) in aims {
        match tried(run, &from, target, probe).await {
            Ok(()) => {}
            Err(stop) => stopped = Some(stop),
        }
        // What is there is told, whatever ends the rest.
        for name in &from {
            match run.session().ports.tried.get(&(name.clone(), probe)) {
                Some(result) => rows.push(Row {
                    target: target.text.clone(),
                    at: run.session().wall(result.at),
                    result: result.clone(),
                }),
                None if stopped.is_none() => failed.push(not_probed(run.session(), name, probe)),
                None => {}
            }
        }
        if stopped.is_some() {
            break;
        }
    }
    for notice in &failed {
        output::say(&format!("error: {}", notice.line()));
    }
    print(&rows, format);
    if let Some(stop) = stopped {
        return Err(stop);
    }
    let all = rows.iter().all(|row| row.result.probed.outcome == ProbeOutcome::Reached);
    Ok(match team.outcome(rows.len(), failed) {
        ExitCode::Done if !all => ExitCode::Partly,
        exit => exit,
    })
}

/// Where a target is, as far as the list of nodes says.
fn address(session: &Session, target: &ProbeTarget) -> Result<IpAddr, Stop> {
    let name = match &target.host {
        ProbeHost::Address(address) => return Ok(*address),
        ProbeHost::Node(name) => select::named(name),
    };
    let port = target.port;
    let bad = |headline: String, cause: String, next_step: String| {
        Stop::Notice(Notice::error(headline, cause, next_step).of(Failure::BadInput))
    };
    let Some(state) = session.nodes.get(&name) else {
        let headline = format!("node {:?} of {:?} not found", name.0, target.text);
        return Err(bad(headline, select::known(session), format!("name one of them, or an address: 10.0.0.5:{port}")));
    };
    state.node.addresses.first().copied().ok_or_else(|| {
        let headline = format!("cannot probe {:?}: the address of {name} is unknown", target.text);
        bad(headline, String::new(), format!("name the address: 127.0.0.1:{port} on the probing node itself"))
    })
}

/// Has all these nodes try it, and waits for what comes of it.
async fn tried(run: &mut Run, from: &[NodeName], target: &ProbeTarget, probe: Probe) -> Result<(), Stop> {
    let Some(first) = from.first() else { return Ok(()) };
    let who = if from.len() == 1 { first.to_string() } else { counted(from.len(), "node") };
    let at = if target.text == probe.to.to_string() { String::new() } else { format!(" ({})", probe.to) };
    let tries = if probe.tries == 1 { "once".to_owned() } else { format!("{} times", probe.tries) };
    let lasts = Duration::from_millis(Probe::EVERY) * u32::from(probe.tries - 1);
    let took = if lasts.as_secs() > 0 { format!(": {} s", lasts.as_secs()) } else { String::new() };
    output::progress(&format!("trying {}{at} {tries} from {who}{took}", target.text));
    for name in from {
        run.ask(name.clone(), Request::Probe(probe));
    }
    let nodes = from.to_vec();
    let over = move |session: &Session| !nodes.iter().any(|name| session.ports.is_trying(name, probe));
    match run.until(lasts + ANSWERED_WITHIN, "the probes", over).await {
        // Those that have not answered are named one by one.
        Err(Stop::Notice(_)) => Ok(()),
        waited => waited,
    }
}

/// Why there is no result of a node.
fn not_probed(session: &Session, name: &NodeName, probe: Probe) -> Notice {
    let refusal = session.nodes.get(name).and_then(|state| state.refusal.clone());
    match refusal.filter(|_| !session.ports.is_trying(name, probe)) {
        Some(notice) => notice,
        None => Notice::error(format!("{name} did not probe {}", probe.to), "its agent has not answered", "try again"),
    }
}

/// What else came of the tries than an answer, and how often.
fn failures(probed: &Probed) -> Vec<(&ProbeOutcome, u16)> {
    match &probed.outcome {
        // Of a single try that is the outcome itself.
        outcome if probed.failures.is_empty() && *outcome != ProbeOutcome::Reached => {
            vec![(outcome, probed.probe.tries)]
        }
        _ => probed.failures.iter().map(|(outcome, count)| (outcome, *count)).collect(),
    }
}

fn details(outcome: &ProbeOutcome) -> (Option<IpAddr>, Option<&str>) {
    match outcome {
        ProbeOutcome::Unreachable { by, reason } => (*by, Some(reason)),
        ProbeOutcome::Failed { reason } => (None, Some(reason)),
        ProbeOutcome::Reached | ProbeOutcome::Refused | ProbeOutcome::Silent => (None, None),
    }
}

fn print(rows: &[Row], format: Format) {
    match format {
        Format::Json | Format::Yaml => output::print_values(&records::PROBE, rows.iter().map(value), format),
        Format::Name => {
            let answered = rows.iter().filter(|row| row.result.probed.outcome == ProbeOutcome::Reached);
            output::print_names(answered.map(|row| format!("{} {}", row.result.from, row.result.probed.probe.to)));
        }
        Format::Table | Format::Wide if rows.is_empty() => {}
        Format::Table | Format::Wide => {
            let wide = format == Format::Wide;
            let heads = ["FROM", "TARGET", "ANSWERED", "MEDIAN", "FAILURES", "ADDRESS", "PROTOCOL"];
            let cells = output::cut(rows.iter().map(cells).collect(), wide, 5);
            output::print_table(if wide { &heads } else { &heads[..5] }, &cells);
        }
    }
}

fn cells(Row { target, result, .. }: &Row) -> Vec<String> {
    let probed = &result.probed;
    let told: Vec<String> = failures(probed)
        .into_iter()
        .map(|(outcome, count)| {
            let said = match details(outcome) {
                (Some(by), Some(reason)) => format!(" ({reason}, says {by})"),
                (None, Some(reason)) => format!(" ({reason})"),
                (_, None) => String::new(),
            };
            format!("{count} {}{said}", outcome.word())
        })
        .collect();
    vec![
        result.from.to_string(),
        target.clone(),
        format!("{}/{}", probed.reached, probed.probe.tries),
        if probed.reached > 0 { format!("{:.1} ms", probed.micros as f64 / 1000.0) } else { "-".to_owned() },
        if told.is_empty() { "-".to_owned() } else { told.join(", ") },
        probed.probe.to.to_string(),
        probed.probe.protocol.word().to_owned(),
    ]
}

fn value(Row { target, at, result }: &Row) -> Value {
    let Probed { probe, micros, reached, .. } = result.probed;
    let failures = failures(&result.probed).into_iter().map(|(outcome, count)| {
        let (by, reason) = details(outcome);
        json!({"outcome": outcome.word().replace(' ', "_"), "count": count, "by": by, "reason": reason})
    });
    json!({
        "node": result.from, "target": target, "address": probe.to.ip(), "port": probe.to.port(),
        "protocol": probe.protocol.word(), "at": at, "tries": probe.tries, "answered": reached,
        "microseconds": (reached > 0).then_some(micros), "failures": failures.collect::<Vec<_>>(),
    })
}
