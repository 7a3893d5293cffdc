//! The subcommands that need no terminal, over the same app and runtime.
//!
//! Owns what they wait for, what they print and the exit code. Results go to standard output, everything else to
//! standard error. SIGINT, SIGTERM and SIGHUP end the work, clean up and then end the program.

mod answering;
mod answers;
mod ask;
pub mod captures;
pub mod cleanup;
mod counted;
pub mod diagnose;
mod drift;
mod exit_code;
pub mod explain;
mod gaps;
pub mod merge;
mod nodes;
mod output;
mod packets;
pub mod port_reports;
mod ports;
pub mod preflight;
mod probe;
pub mod records;
pub mod rings;
mod run;
mod select;
pub mod sessions;
mod signals;
mod team;
mod watch;

use std::{fs, io, path::Path, time::Duration};

use nodewatch_protocol::CaptureSpec;
use tokio::time::Instant;

use crate::{
    base::text,
    cli::{CaptureArgs, DiagnoseArgs, Format, NodeCommand, NodesArgs, WatchArgs},
    model::{Failure, Notice},
    runtime::Engine,
    session::{FileTerms, Listing, Session, Terms},
};
pub use exit_code::ExitCode;
pub use output::{Shown, print, print_names, print_values, settle, write_as};
use run::{Run, Stop};
use select::Choice;
pub use select::named;
pub use signals::Signals;

/// A server that cannot answer this time is asked again for so long.
const TRY_AGAIN_FOR: Duration = Duration::from_secs(15);

/// Refuses what can be known to be wrong before anything is asked or created.
pub fn check(command: &NodeCommand, ring_size: Option<u64>, out: &Path) -> Result<(), Notice> {
    if let NodeCommand::Ports { nodes, targets, .. }
    | NodeCommand::Capture { nodes, targets, .. }
    | NodeCommand::Watch { nodes, targets, .. }
    | NodeCommand::Diagnose(DiagnoseArgs { nodes, targets, .. }) = command
    {
        Choice::of(nodes, targets)?;
    }
    if let NodeCommand::Watch { watch: WatchArgs { packets, .. }, .. }
    | NodeCommand::Diagnose(DiagnoseArgs { packets, .. }) = command
    {
        watch::spec(packets)?;
    }
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

/// What a command's session begins with: how its capture files leave the nodes.
pub fn terms(command: &NodeCommand, out: &Path, terms: Terms) -> Terms {
    let captures = matches!(command, NodeCommand::Capture { .. });
    let streams = captures && out.as_os_str() == STDOUT;
    let files = FileTerms { keep_files: streams, bring_home: captures && !streams, ..terms.files };
    Terms { files, ..terms }
}

/// Runs one command to its end.
pub async fn run(engine: Engine<Session>, command: NodeCommand, settings: Settings<'_>) -> ExitCode {
    let Settings { out, interval, cluster } = settings;
    let mut run = match Run::start(engine) {
        Ok(run) => run,
        Err(error) => {
            output::say(&format!("cannot listen for signals: {error}"));
            return ExitCode::Failed;
        }
    };
    let captures = matches!(command, NodeCommand::Capture { .. });
    let outcome = match command {
        NodeCommand::Nodes { selector, output } => list(&mut run, selector.as_deref(), output.format).await,
        NodeCommand::Ports { nodes, targets, ports, output } => {
            let work = ports::Work { arguments: &ports, interval, cluster, format: output.format };
            match Choice::of(&nodes, &targets) {
                Ok(choice) => ports::ports(&mut run, &choice, &work).await,
                Err(notice) => Err(Stop::Notice(notice)),
            }
        }
        NodeCommand::Capture { nodes, targets, capture, output } => {
            let spec = spec(&capture, run.session().terms.ring_bytes).map_err(Stop::Notice);
            if let Ok(CaptureSpec { filter: Some(filter), .. }) = &spec
                && capture.filter.as_ref() != Some(filter)
            {
                output::say(&format!("filter with host names resolved: {filter}"));
            }
            match (spec, Choice::of(&nodes, &targets).map_err(Stop::Notice)) {
                (Ok(spec), Ok(choice)) if out.as_os_str() == STDOUT => packets::stream(&mut run, &choice, spec).await,
                (Ok(spec), Ok(choice)) => packets::capture(&mut run, &choice, spec, output.format).await,
                (Err(stop), _) | (_, Err(stop)) => Err(stop),
            }
        }
        NodeCommand::Watch { nodes, targets, watch, output } => match Choice::of(&nodes, &targets) {
            Ok(choice) => watch::watch(&mut run, &choice, &watch, output.format).await,
            Err(notice) => Err(Stop::Notice(notice)),
        },
        NodeCommand::Diagnose(arguments) => match Choice::of(&arguments.nodes, &arguments.targets) {
            Ok(choice) => answering::diagnose(&mut run, &choice, &arguments).await,
            Err(notice) => Err(Stop::Notice(notice)),
        },
        NodeCommand::Probe { probe, output } => probe::probe(&mut run, &probe, output.format).await,
    };
    run.clean_up().await;
    let (session, unrecorded) = Box::pin(run.shut_down()).await;
    let receipt = session.receipt();
    let is_well = !receipt.left_behind() && receipt.is_whole();
    if session.ended().is_some() && !(is_well && output::is_quiet()) {
        output::say_lines(&receipt.text().trim_end().lines().collect::<Vec<_>>());
    }
    if let Some(notice) = &unrecorded {
        output::say(&format!("  {}", recording_line(notice)));
    }
    match outcome {
        _ if receipt.left_behind() => ExitCode::LeftBehind,
        // A list of ports says for itself what is missing from it.
        Ok(ExitCode::Done) if captures && !receipt.is_whole() || receipt.unreported() > 0 || unrecorded.is_some() => {
            ExitCode::Partly
        }
        Ok(exit) => exit,
        Err(stop) => stop.told(),
    }
}

/// What a receipt says of a recording that is not whole.
pub fn recording_line(notice: &Notice) -> String {
    format!("recording INCOMPLETE: {}", notice.cause)
}

/// Waits for the list of nodes.
async fn listed(run: &mut Run) -> Result<(), Stop> {
    let give_up = Instant::now() + TRY_AGAIN_FOR;
    let told = |session: &Session| match &session.listing {
        Listing::Loading => false,
        Listing::Current => true,
        // The watch is begun again by itself; one that nobody answers is told at once.
        Listing::Stale(notice) => notice.failure != Failure::Busy || Instant::now() >= give_up,
    };
    run.until(Duration::from_secs(60), "the list of nodes", told).await?;
    match &run.session().listing {
        Listing::Stale(notice) => Err(Stop::Notice(notice.clone())),
        Listing::Loading | Listing::Current => Ok(()),
    }
}

async fn list(run: &mut Run, selector: Option<&str>, format: Format) -> Result<ExitCode, Stop> {
    listed(run).await?;
    let arguments = NodesArgs { nodes: vec![], all: selector.is_none(), selector: selector.map(str::to_owned) };
    let chosen = select::nodes(run.session(), &arguments)?;
    nodes::print(chosen.iter().filter_map(|name| run.session().nodes.get(name)).map(|state| &state.node), format);
    Ok(ExitCode::Done)
}

/// All, some or none of it worked.
fn outcome(worked: usize, failed: &[Notice]) -> ExitCode {
    match (worked, failed.first()) {
        (_, None) => ExitCode::Done,
        (0, Some(first)) => ExitCode::of(first),
        (_, Some(_)) => ExitCode::Partly,
    }
}

/// A host's name in a filter is looked up here, where it is seen what becomes of it; an agent looks none up.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(5);

/// A filter with the addresses of the hosts that it names.
fn resolved_filter(filter: Option<&str>, headline: &str) -> Result<Option<String>, Notice> {
    let hosts = nodewatch_filter::SystemHosts { within: LOOKED_UP_WITHIN };
    let filter = filter.map(|filter| nodewatch_filter::resolve(filter, &hosts)).transpose();
    filter.map_err(|error| Notice::error(headline, text::chain(&error), error.next_step()).of(Failure::BadInput))
}

/// The capture that the arguments ask for.
fn spec(arguments: &CaptureArgs, ring_size: Option<u64>) -> Result<CaptureSpec, Notice> {
    let default = CaptureSpec::default();
    let rotate_bytes = arguments.rotate_size.unwrap_or(default.rotate_bytes);
    let bad = |cause: String, next_step: &str| Notice::error("invalid capture", cause, next_step).of(Failure::BadInput);
    let filter = resolved_filter(arguments.filter.as_deref(), "invalid capture")?;
    let spec = CaptureSpec {
        interfaces: arguments.interfaces.clone(),
        filter,
        toward: Vec::new(),
        snaplen: arguments.snaplen.unwrap_or(default.snaplen),
        rotate_bytes,
        rotate_seconds: arguments.rotate_time.map_or(default.rotate_seconds, Into::into),
        ring_bytes: ring_size.unwrap_or(default.ring_bytes),
        content: arguments.content.unwrap_or_default(),
        include_own: arguments.include_own,
        recorder: arguments.recorder,
        freeze_on: arguments.freeze_on,
        bundle: arguments.bundle,
        limit_bytes: arguments.max_bytes,
        limit_packets: arguments.max_packets,
        limit_seconds: arguments.duration.map(Into::into),
    };
    spec.check().map_err(|error| bad(error.to_string(), "see nodewatch-tui capture --help"))?;
    if let Some(filter) = &spec.filter {
        nodewatch_filter::check(filter).map_err(|error| bad(text::chain(&error), error.next_step()))?;
    }
    Ok(spec)
}
