//! The subcommands that need no terminal, over the same app and runtime.
//!
//! Owns what they wait for, what they print and the exit code. Results go to standard output, everything else to
//! standard error. SIGINT, SIGTERM and SIGHUP end the work, clean up and then end the program.

pub mod captures;
pub mod merge;
mod output;
mod ports;
pub mod preflight;
pub mod reports;
pub mod rings;
mod run;
mod select;
pub mod sessions;

use std::{fs, io, path::Path, time::Duration};

use nodewatch_protocol::{CaptureSpec, CaptureState, StopReason};

use crate::{
    app::{
        App, Event, Listing,
        node::{Agent, NodeState},
    },
    cli::{CaptureArgs, Format, NodeCommand, NodesArgs},
    live,
    model::{Failure, NodeName, Notice, Place},
    runtime::Engine,
    text,
};
use run::{Run, Stop};

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    BadUsage,
    Partly,
    LeftBehind,
    NotPermitted,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadUsage => 2,
            Self::Partly => 3,
            Self::LeftBehind => 4,
            Self::NotPermitted => 5,
        }
    }

    /// The first of two that is not well.
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        if self == Self::Done { later } else { self }
    }

    /// What a failure amounts to.
    pub fn of(notice: &Notice) -> Self {
        match notice.failure {
            Failure::Other | Failure::Busy => Self::Failed,
            Failure::BadInput | Failure::Unreachable | Failure::Moved => Self::BadUsage,
            Failure::NotPermitted => Self::NotPermitted,
        }
    }
}

/// Refuses what can be known to be wrong before anything is asked or created.
pub fn check(command: &NodeCommand, ring_size: Option<u64>, out: &Path) -> Result<(), Notice> {
    let NodeCommand::Capture { capture, .. } = command else { return Ok(()) };
    spec(capture, ring_size)?;
    if out.as_os_str() == STDOUT {
        return Ok(());
    }
    tried(out).map_err(|error| {
        let headline = format!("cannot write to {}", out.display());
        Notice::error(headline, error.to_string(), "choose another folder with --out").of(Failure::BadInput)
    })
}

/// Whether files can be made in a folder. Nothing stays of the trial: the command may yet be refused.
fn tried(folder: &Path) -> io::Result<()> {
    let named = folder.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
    let made: Vec<&Path> = named.take_while(|ancestor| !ancestor.exists()).collect();
    let result = fs::create_dir_all(folder).and_then(|()| {
        let probe = folder.join(format!(".nodewatch-{:08x}", rand::random::<u32>()));
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe))
    });
    for folder in made {
        // One that somebody uses by now is not empty, and stays.
        let _ = fs::remove_dir(folder);
    }
    result
}

/// The folder that means one stream on standard output.
const STDOUT: &str = "-";

/// What a command has from options that go with every command.
pub struct Settings<'a> {
    /// Folder for fetched captures, or `-`.
    pub out: &'a Path,
    /// Time between two reports.
    pub interval: Duration,
    /// The cluster's name.
    pub cluster: &'a str,
}

/// Runs one command to its end.
pub async fn run(engine: Engine, command: NodeCommand, settings: Settings<'_>) -> Exit {
    let Settings { out, interval, cluster } = settings;
    let mut run = match Run::start(engine) {
        Ok(run) => run,
        Err(error) => {
            output::say(&format!("cannot listen for signals: {error}"));
            return Exit::Failed;
        }
    };
    let captures = matches!(command, NodeCommand::Capture { .. });
    let outcome = match command {
        NodeCommand::Nodes { selector, output } => nodes(&mut run, selector.as_deref(), output.format).await,
        NodeCommand::Ports { nodes, ports, output } => {
            let work = ports::Work { arguments: &ports, interval, cluster, format: output.format };
            ports::ports(&mut run, &nodes, &work).await
        }
        NodeCommand::Capture { nodes, capture, output } => {
            let spec = spec(&capture, run.app().ring_bytes).map_err(Stop::Notice);
            if let Ok(CaptureSpec { filter: Some(filter), .. }) = &spec
                && capture.filter.as_ref() != Some(filter)
            {
                output::say(&format!("the filter with its hosts' addresses: {filter}"));
            }
            match spec {
                Ok(spec) if out.as_os_str() == STDOUT => stream_packets(&mut run, &nodes, spec).await,
                Ok(spec) => capture_packets(&mut run, &nodes, spec, output.format).await,
                Err(stop) => Err(stop),
            }
        }
    };
    run.clean_up().await;
    let app = Box::pin(run.shut_down()).await;
    let receipt = app.receipt();
    if app.ended.is_some() {
        output::say(receipt.text().trim_end());
    }
    match outcome {
        _ if receipt.left_behind() => Exit::LeftBehind,
        // A list of ports says for itself what is missing from it.
        Ok(Exit::Done) if captures && !receipt.is_whole() || receipt.unreported() > 0 => Exit::Partly,
        Ok(exit) => exit,
        Err(Stop::Signal) => Exit::Failed,
        Err(Stop::Notice(notice)) => {
            output::say(&format!("error: {}", notice.line()));
            Exit::of(&notice)
        }
    }
}

/// Waits for the list of nodes.
async fn listed(run: &mut Run) -> Result<(), Stop> {
    run.until(Duration::from_secs(60), "the list of nodes", |app| app.listing != Listing::Loading).await?;
    match &run.app().listing {
        Listing::Stale(notice) => Err(Stop::Notice(notice.clone())),
        Listing::Loading | Listing::Current => Ok(()),
    }
}

async fn nodes(run: &mut Run, selector: Option<&str>, format: Format) -> Result<Exit, Stop> {
    listed(run).await?;
    let arguments = NodesArgs { nodes: vec![], all: selector.is_none(), selector: selector.map(str::to_owned) };
    let chosen = select::nodes(run.app(), &arguments)?;
    output::nodes(chosen.iter().filter_map(|name| run.app().nodes.get(name)), format);
    Ok(Exit::Done)
}

/// Deploys to the chosen nodes; returns those that are live and how many are not. Where all are chosen and it is `later` too,
/// nodes that join get what these have.
async fn deployed(run: &mut Run, arguments: &NodesArgs, later: bool) -> Result<(Vec<NodeName>, Vec<Notice>), Stop> {
    listed(run).await?;
    let chosen = select::nodes(run.app(), arguments)?;
    if arguments.all && later && run.app().place != Place::Local {
        output::say("nodes that join get an agent and what runs on the others, too");
        run.handle(Event::MeanLaterNodes);
    }
    run.handle(Event::DeployTo(chosen.clone()));
    let settled = |state: &NodeState| match state.agent {
        Agent::Live => state.scanned && state.facts.is_some(),
        Agent::Failed(_) => true,
        _ => !state.present,
    };
    let wanted = chosen.clone();
    run.until(Duration::from_secs(300), "every agent to come up", move |app| {
        wanted.iter().all(|name| app.nodes.get(name).is_none_or(settled))
    })
    .await?;
    let mut live = Vec::new();
    let mut failed = Vec::new();
    for name in chosen {
        match run.app().nodes.get(&name).map(|state| &state.agent) {
            Some(Agent::Live) => live.push(name),
            Some(Agent::Failed(notice)) => {
                failed.push(Notice { headline: format!("{name}: {}", notice.headline), ..notice.clone() });
            }
            _ => failed.push(Notice::error(format!("{name} has left the cluster"), "", "")),
        }
    }
    for notice in &failed {
        output::say(&format!("error: {}", notice.line()));
    }
    Ok((live, failed))
}

/// All, some or none of it worked.
fn outcome(worked: usize, failed: &[Notice]) -> Exit {
    match (worked, failed.first()) {
        (_, None) => Exit::Done,
        (0, Some(first)) => Exit::of(first),
        (_, Some(_)) => Exit::Partly,
    }
}

/// A host's name in a filter is looked up here, where it is seen what becomes of it; an agent looks none up.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(5);

/// The capture that the arguments ask for.
fn spec(arguments: &CaptureArgs, ring_size: Option<u64>) -> Result<CaptureSpec, Notice> {
    let default = CaptureSpec::default();
    let rotate_bytes = arguments.rotate_size.unwrap_or(default.rotate_bytes);
    let bad = |cause: String, next_step: &str| Notice::error("no such capture", cause, next_step).of(Failure::BadInput);
    let hosts = nodewatch_filter::SystemHosts { within: LOOKED_UP_WITHIN };
    let filter = arguments.filter.as_deref().map(|filter| nodewatch_filter::resolve(filter, &hosts)).transpose();
    let filter =
        filter.map_err(|error| bad(text::chain(&error), "write the host's addresses, or see man pcap-filter"))?;
    let spec = CaptureSpec {
        interfaces: arguments.interfaces.clone(),
        filter,
        snaplen: arguments.snaplen.unwrap_or(default.snaplen),
        rotate_bytes,
        rotate_seconds: arguments.rotate_time.map_or(default.rotate_seconds, Into::into),
        ring_bytes: ring_size.unwrap_or(default.ring_bytes),
        content: arguments.content.unwrap_or_default(),
        include_own: arguments.include_own,
        recorder: arguments.recorder,
        limit_bytes: arguments.max_bytes,
        limit_packets: arguments.max_packets,
        limit_seconds: arguments.duration.map(Into::into),
    };
    spec.check().map_err(|error| bad(error.to_string(), "see nodewatch-tui capture --help"))?;
    if let Some(filter) = &spec.filter {
        nodewatch_filter::check(filter)
            .map_err(|error| bad(text::chain(&error), "write it as tcpdump takes it, see man pcap-filter"))?;
    }
    Ok(spec)
}

/// One pcapng of all nodes on standard output, for as long as captures run and somebody reads it.
async fn stream_packets(run: &mut Run, nodes: &NodesArgs, spec: CaptureSpec) -> Result<Exit, Stop> {
    if nodes.all {
        output::say("nodes that join later are not in the stream");
    }
    let (live, failed) = deployed(run, nodes, false).await?;
    run.keep_files();
    run.handle(Event::StartCaptures(live.clone(), spec));
    let mut stream = tokio::spawn(live::follow(run.site(), live.clone(), 0, tokio::io::stdout()));
    let ended = |state: &NodeState| state.refusal.is_some() || state.capture_over() || !state.agent.is_deployed();
    let watched = live.clone();
    let mut over = false;
    let mut streamed = None;
    while !over && streamed.is_none() {
        tokio::select! {
            // A signal is how a capture without a limit is meant to end.
            step = run.step() => over = step.is_err() || watched.iter().all(|name| run.app().nodes.get(name).is_none_or(ended)),
            done = &mut stream => streamed = Some(done),
        }
    }
    let refused: Vec<Notice> = live.iter().filter_map(|name| run.app().nodes.get(name)?.refusal.clone()).collect();
    for notice in &refused {
        output::say(&format!("error: {}", notice.line()));
    }
    let short = live.iter().filter(|name| run.app().nodes.get(name).is_some_and(is_cut_short));
    let short: Vec<Notice> = short.map(told_cut_short).collect();
    if streamed.is_none() {
        // What is on its way still comes, once the captures have closed their files.
        run.stop_captures();
        let rest = async { streamed = Some((&mut stream).await) };
        let _ = tokio::time::timeout(Duration::from_secs(20), async {
            tokio::select! {
                () = rest => {}
                () = run.go_on() => {}
            }
        })
        .await;
    }
    stream.abort();
    let mut failures: Vec<Notice> = failed.into_iter().chain(refused).collect();
    let worked = live.len().saturating_sub(failures.len());
    failures.extend(short);
    match streamed {
        Some(Ok(Ok(followed))) => {
            output::say(&format!("{} streamed", text::counted(followed.packets as usize, "packet")));
            for fault in followed.faults() {
                output::say(&format!("error: {fault}"));
            }
            Ok(if followed.is_whole() { outcome(worked, &failures) } else { Exit::Partly })
        }
        // A reader that has enough, as `head` or `tshark -c` do, is no failure.
        Some(Ok(Err(live::LiveError::Reader(_)))) => Ok(outcome(worked, &failures)),
        Some(Err(_)) | None => Ok(Exit::Partly),
    }
}

/// Nobody has asked for its end: its agent was evicted, was stopped, or has spent its budget.
fn is_cut_short(state: &NodeState) -> bool {
    let ended = matches!(&state.capture, CaptureState::Stopped { reason: StopReason::AgentEnds, .. });
    state.refusal.is_none() && (ended || !state.agent.is_deployed())
}

fn told_cut_short(name: &NodeName) -> Notice {
    let headline = format!("the capture on {name} ended before its time");
    let notice = Notice::error(headline, "its agent has ended", "its files are whole up to there");
    output::say(&format!("error: {}", notice.line()));
    notice
}

async fn capture_packets(run: &mut Run, nodes: &NodesArgs, spec: CaptureSpec, format: Format) -> Result<Exit, Stop> {
    let armed = spec.recorder.is_some();
    if armed && run.app().place == Place::Local {
        let next_step = "use the screen: nodewatch-tui --local, then C with a recorder, and F saves it";
        let cause = "freeze reaches no session of --local";
        return Err(Stop::Notice(
            Notice::error("--recorder would save nothing", cause, next_step).of(Failure::BadInput),
        ));
    }
    let (live, mut failed) = deployed(run, nodes, true).await?;
    if armed {
        let session = run.app().session.id.clone();
        output::say(&format!("session {session} is armed: nodewatch-tui freeze {session} saves its last seconds"));
    }
    run.handle(Event::StartCaptures(live.clone(), spec));
    let ended = |state: &NodeState| state.refusal.is_some() || state.capture_over() || !state.agent.is_deployed();
    let watched = live.clone();
    let all_ended =
        move |app: &App| select::with_joined(app, &watched).iter().all(|name| app.nodes.get(name).is_none_or(ended));
    let waited = run.work(all_ended).await;
    let live = select::with_joined(run.app(), &live);
    // A signal is how a capture without a limit is meant to end. Looked at before the clean-up, which ends agents itself.
    let cut_short: Vec<NodeName> = match waited {
        Ok(()) => live.iter().filter(|name| run.app().nodes.get(name).is_some_and(is_cut_short)).cloned().collect(),
        Err(_) => Vec::new(),
    };
    run.clean_up().await;

    let mut worked = 0;
    for name in &live {
        let Some(state) = run.app().nodes.get(name) else { continue };
        if let Some(notice) = &state.refusal {
            output::say(&format!("error: {}", notice.line()));
            failed.push(notice.clone());
        } else if let CaptureState::Stopped { reason: StopReason::Failed { message }, .. } = &state.capture {
            let notice = Notice::error(
                format!("the capture on {name} failed"),
                message.clone(),
                "its file is whole up to there",
            );
            output::say(&format!("error: {}", notice.line()));
            failed.push(notice);
        } else {
            failed.extend(cut_short.contains(name).then(|| told_cut_short(name)));
            // What it has captured is there.
            worked += 1;
        }
    }
    let states: Vec<&NodeState> = live.iter().filter_map(|name| run.app().nodes.get(name)).collect();
    output::files(&states, run.app().storage.is_some(), format);
    Ok(outcome(worked, &failed))
}
