//! The command line: arguments only.
//!
//! Owns names, defaults and help texts. Must not do anything.

mod place;
mod words;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use nodewatch_protocol::{Content, Recorder};

use crate::{
    base::{clock, text},
    model::{PortKey, SessionId},
};
pub use place::{PlaceArgs, SETTINGS};
use words::Words;

/// Live open ports, packet statistics and captures of Kubernetes nodes, with nothing left behind
///
/// Without a command the terminal program starts on the current context.
#[derive(Debug, Parser)]
#[command(name = "nodewatch-tui", version = nodewatch_protocol::version_text(env!("CARGO_PKG_VERSION")), after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where and with what
    #[command(flatten)]
    pub place: PlaceArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 done in part, 4 something was left behind, \
     5 not permitted";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// On nodes, without a terminal
    #[command(flatten)]
    OnNodes(NodeCommand),
    /// List sessions that are detached, left over or of other laptops
    Sessions {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove what sessions have left: the plan first, then by UID, until it is seen gone
    Cleanup(CleanupArgs),
    /// Take up a session again: its agents, captures and files
    Attach {
        /// Its id, as `sessions` has it
        session: SessionId,
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Save the last seconds of a session's armed flight recorders, wherever the session is open
    Freeze {
        /// Its id
        session: SessionId,
        /// Only these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Alarms on the reports of a cluster, which stay until they are deleted
    #[command(subcommand)]
    Alarms(AlarmsCommand),
    /// Make one capture of many, in time order, with the nodes' names at their interfaces
    Merge(MergeArgs),
    /// What would stop a session, and how to mend it; creates nothing
    Preflight {
        /// Only these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print every setting with its value and where that comes from
    Config {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write what a session has done as Markdown and as one HTML page
    Report(ReportArgs),
    /// Show a session again that was recorded with --record
    Replay(ReplayArgs),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Print what a session would apply, as YAML
    Manifests {
        /// Agents for these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "node-name")]
        nodes: Vec<String>,
        /// The session's id [default: a random one]
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
    },
}

/// Which session is told, and where.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Its id, as `sessions` and receipts have it
    #[arg(required_unless_present = "from")]
    pub session: Option<SessionId>,
    /// Instead a recording made with --record
    #[arg(long, value_name = "FILE", conflicts_with = "session")]
    pub from: Option<PathBuf>,
    /// Write only Markdown, to standard output
    #[arg(long)]
    pub print: bool,
}

/// What is shown again, and how.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The recording
    pub file: PathBuf,
    /// So many times as fast
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    pub speed: f64,
    /// Print the last frame as text instead of playing
    #[arg(long)]
    pub print: bool,
}

/// More than nothing and not beyond what can be followed.
fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| (0.01..=10_000.0).contains(factor));
    factor.ok_or_else(|| format!("{text:?} is no speed: write a number from 0.01 to 10000"))
}

/// The commands that do on nodes what the screens do.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes
    Nodes {
        /// Only nodes with these labels
        #[arg(short = 'l', long = "selector", value_name = "LABEL=VALUE,...")]
        selector: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Deploy, report the open ports, clean up
    Ports {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        ports: PortsArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Deploy, capture packets, fetch the files, clean up
    Capture {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        capture: CaptureArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// How ports are reported.
#[derive(Debug, Clone, Args)]
pub struct PortsArgs {
    /// Report again and again until Ctrl-C, and tell each change as it is seen
    #[arg(long)]
    pub watch: bool,
    /// End the watch after this long
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration, requires = "watch")]
    pub duration: Option<Duration>,
    /// Write the ports down as the cluster's baseline; - is standard output, in the report's place
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "baseline"])]
    pub save_baseline: Option<PathBuf>,
    /// Tell what differs from this baseline, - from standard input; exit code 3 when something does
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Read reports of so long ago until now back from --cloudwatch; deploys nothing
    #[arg(long, value_name = "DURATION", value_parser = text::parse_past, requires = "cloudwatch",
        conflicts_with_all = ["watch", "baseline", "save_baseline"])]
    pub since: Option<Duration>,
    /// With --since: only reports with this port, as in 22/tcp
    #[arg(long, value_name = "PORT", requires = "since")]
    pub port: Option<PortKey>,
}

/// What to do with a cluster's alarms.
#[derive(Debug, Clone, Subcommand)]
pub enum AlarmsCommand {
    /// One for each node that falls silent, one for agent errors, one for unexpected ports; those of nodes that are gone
    /// are removed
    Create {
        #[command(flatten)]
        nodes: NodesArgs,
        /// Make metrics of events that are plain lines in --cloudwatch, as a log shipper sends an agent's standard output
        #[arg(long, requires = "cloudwatch")]
        metric_filter: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The cluster's alarms and their states, its sessions' too
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove the cluster's alarms, and with --cloudwatch the metric filters of that group
    Delete {
        /// Instead those of this session, of which no journal is left
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
        /// Do not ask
        #[arg(short = 'y', long)]
        yes: bool,
    },
}

/// What to merge.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// Captures: pcap or pcapng, also as gzip or zstd; folders with some; - is standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Only packets from this time on: RFC 3339, or 14:05 of today, UTC
    #[arg(long, value_name = "TIME", value_parser = clock::parse_time)]
    pub from: Option<u64>,
    /// Only packets up to this time
    #[arg(long, value_name = "TIME", value_parser = clock::parse_time)]
    pub to: Option<u64>,
    /// The new file, which must not exist; - is standard output. --out does the same [default: merged.pcapng]
    #[arg(short = 'w', long = "into", value_name = "FILE")]
    pub into: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to clean up, and how.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct CleanupArgs {
    /// These sessions; default: this laptop's, in the current context
    #[arg(conflicts_with = "all")]
    pub sessions: Vec<SessionId>,
    /// This laptop's sessions in every cluster that their journals know
    #[arg(long)]
    pub all: bool,
    /// Show the plan only
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// How long an object may take to go
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = text::parse_duration)]
    pub timeout: Duration,
    /// Remove the log groups that the sessions have made, with the reports in them
    #[arg(long)]
    pub reports: bool,
    /// Remove the sessions' captures in S3 too, which stay otherwise; a session that no journal here knows is looked for
    /// below --s3
    #[arg(long)]
    pub captures: bool,
    /// Remove a session's own namespace also when it holds what is not the session's; each object is named first
    #[arg(long)]
    pub with_namespace_contents: bool,
    /// Only forget the journals of these sessions, whose cluster is gone for good
    #[arg(long, requires = "sessions", conflicts_with_all = ["dry_run", "yes", "captures", "reports", "with_namespace_contents"])]
    pub forget: bool,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A cluster whose address or CA may have changed.
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// The cluster whose kube-system has this UID is the session's, although its address or CA is another one now
    #[arg(long, value_name = "UID")]
    pub trust_cluster: Option<String>,
}

/// Which nodes are meant.
#[derive(Debug, Clone, Args)]
#[group(required = false, multiple = false)]
pub struct NodesArgs {
    /// These nodes
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Every node, also those that join while a capture or a watch runs
    #[arg(long)]
    pub all: bool,
    /// Nodes with these labels
    #[arg(short = 'l', long = "selector", value_name = "LABEL=VALUE,...")]
    pub selector: Option<String>,
}

/// What to capture and for how long.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// Capture filter as tcpdump takes it [default: every packet]
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// An interface; may be given again [default: those with the node's addresses]
    #[arg(long = "interface", short = 'i', value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Bytes kept of each packet
    #[arg(long, value_name = "BYTES")]
    pub snaplen: Option<u32>,
    /// End after this long [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub duration: Option<Duration>,
    /// End at this size, on each node
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    pub max_bytes: Option<u64>,
    /// End at this many packets, on each node
    #[arg(long, value_name = "N", value_parser = text::parse_packets)]
    pub max_packets: Option<u64>,
    /// Begin the next file at this size
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    pub rotate_size: Option<u64>,
    /// Begin the next file after this long
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub rotate_time: Option<Duration>,
    /// What is kept of packets: headers (link to transport layer), dns (the same, and DNS whole), full
    /// [default: headers]
    #[arg(long, value_name = "WHAT", hide_possible_values = true,
        value_parser = Words::new(text::parse_content, Content::ALL.map(Content::word)))]
    pub content: Option<Content>,
    /// Capture this product's own traffic too
    #[arg(long)]
    pub include_own: bool,
    /// A flight recorder: keep only the last of it, as in 2m or 2m,512MiB, until `freeze` saves it
    #[arg(long, value_name = "TIME[,SIZE]", value_parser = text::parse_recorder)]
    pub recorder: Option<Recorder>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Form of the output
    #[arg(short = 'o', long = "output", value_enum, default_value = "table")]
    pub format: Format,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON value a line
    Json,
}
