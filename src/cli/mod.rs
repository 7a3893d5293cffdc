//! The command line: arguments only.
//!
//! Owns names, defaults and help texts: the commands' own options here, the groups that several commands take in a file
//! each. Must not do anything.

mod arn;
mod cloudwatch;
mod connection;
mod display;
mod explain;
mod files;
mod mcp;
mod metrics;
mod options;
mod probe;
mod reports;
mod s3;
mod session;
mod targets;
mod watch;
mod words;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use nodewatch_protocol::{Content, FreezeOn, Recorder};

use crate::{
    base::text,
    model::{PortKey, SessionId},
};
pub use explain::ExplainArgs;
pub use files::{DiagnoseArgs, MergeArgs};
pub use mcp::McpArgs;
pub use metrics::{MetricsArgs, MetricsTarget};
pub use options::{Options, SETTINGS, command_of, leaf, takes};
pub use probe::{ProbeArgs, ProbeHost, ProbeTarget};
pub use session::{DEFAULT_IMAGE, RELEASED_IMAGE};
pub use targets::TargetArgs;
pub use watch::{PacketArgs, WatchArgs};
use words::Words;

/// Live open ports, packet statistics and captures of Kubernetes nodes, with nothing left behind
///
/// Without a command, the terminal program starts on the current context.
#[derive(Debug, Parser)]
#[command(name = "nodewatch-tui", version = nodewatch_protocol::version_text(env!("CARGO_PKG_VERSION")),
    max_term_width = 100, subcommand_value_name = "COMMAND", after_help = MORE, after_long_help = MORE_AND_EXIT_CODES)]
pub struct Cli {
    /// The options of the command.
    // Before the command: reading that takes it out of what was parsed.
    #[command(flatten)]
    pub options: Options,
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

const MORE: &str = "Use --help for all options, and COMMAND --help for those of a command.";
const MORE_AND_EXIT_CODES: &str = "\
Examples:
  nodewatch-tui preflight
          What would stop a session in the current context, and how to fix it
  nodewatch-tui ports --all
          Which ports are open on each node, and whether they should be
  nodewatch-tui capture --nodes node-1,node-2 --filter 'tcp port 8080' --duration 30s
          Packets of two nodes at the same time, as files; then nodewatch-tui merge makes one of them
  nodewatch-tui capture --pod shop/web-0
          Packets of one pod, wherever it runs
  nodewatch-tui diagnose --all --duration 5m
          Why connections fail, and what to do

Options can also stand before the command. Most can be set in the environment (--lease as NODEWATCH_LEASE) and in the \
config file: see nodewatch-tui config.

Exit codes: 0 done, 1 failed, 2 bad usage, 3 done in part, 4 something was left behind, 5 not permitted, \
6 diagnose has found a cause";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// On nodes, without a terminal
    #[command(flatten)]
    OnNodes(NodeCommand),
    /// List sessions that are detached, left over or from other laptops
    #[command(args = options::sessions())]
    Sessions {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Remove what earlier sessions left behind
    ///
    /// Shows the plan and asks before it removes anything. Objects are deleted by UID, and reported as removed once they
    /// are gone.
    #[command(args = options::cleanup())]
    Cleanup(CleanupArgs),
    /// Reattach to a session: its agents, captures and files
    #[command(args = options::terminal())]
    Attach {
        /// Session ID, see `sessions`
        session: SessionId,
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Save the last seconds of a session's flight recorders
    ///
    /// The session may be open in another terminal.
    #[command(args = options::freeze())]
    Freeze {
        /// Session ID, see `sessions`
        session: SessionId,
        /// Only these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Manage CloudWatch alarms on a cluster's reports, which are kept until deleted
    #[command(subcommand)]
    Alarms(AlarmsCommand),
    /// Merge captures into one file, in time order
    #[command(args = options::merge())]
    Merge(MergeArgs),
    /// Explain the codes of answers, such as N-11
    ///
    /// What each cause means, how it is decided, what looks like it, how to prove it by hand and how to fix it. Needs
    /// neither a cluster nor a terminal.
    #[command(args = options::explain())]
    Explain(ExplainArgs),
    /// Check what would stop a session and how to fix it; creates nothing
    #[command(args = options::preflight())]
    Preflight {
        /// Only these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
        nodes: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print every setting with its value and source
    ///
    /// Takes every option that is a setting too, and shows it in place.
    #[command(args = options::config())]
    Config {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Write a report of a session, as Markdown and HTML
    #[command(args = options::report())]
    Report(ReportArgs),
    /// Offer the commands to a language model, as MCP tools over standard input and output
    ///
    /// Reads only, unless --allow-changes is given; then tools also deploy agents, capture, freeze and remove, within the
    /// budget. What a tool has deployed is removed before it answers, and the rest when standard input ends.
    #[command(args = options::mcp())]
    Mcp(McpArgs),
    /// Play back a session recorded with --record
    #[command(args = options::replay())]
    Replay(ReplayArgs),
    /// Print shell completions
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Print what a session would apply, as YAML
    #[command(args = options::manifests())]
    Manifests {
        /// Print agents for these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "node-name")]
        nodes: Vec<String>,
        /// Session ID [default: random]
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
    },
}

/// Which session is reported, and where to.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Session ID, from `sessions` or a receipt
    #[arg(required_unless_present = "from")]
    pub session: Option<SessionId>,
    /// Report a recording made with --record instead
    #[arg(long, value_name = "FILE", conflicts_with = "session")]
    pub from: Option<PathBuf>,
    /// Print only Markdown, to standard output
    #[arg(long)]
    pub print: bool,
}

/// What is played back, and how.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Recording to play
    pub file: PathBuf,
    /// Playback speed
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    pub speed: f64,
    /// Print the last frame as text and exit
    #[arg(long)]
    pub print: bool,
}

/// A factor above zero, and not beyond what anyone can follow.
fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| (0.01..=10_000.0).contains(factor));
    factor.ok_or_else(|| "expected a number from 0.01 to 10000".to_owned())
}

/// The commands that do on nodes what the screens do.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes
    #[command(args = options::nodes())]
    Nodes {
        /// Only nodes with these labels
        #[arg(short = 'l', long = "selector", value_name = "LABEL=VALUE,...")]
        selector: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Report the open ports of nodes: deploy, report, clean up
    #[command(args = options::ports())]
    Ports {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        targets: TargetArgs,
        #[command(flatten)]
        ports: PortsArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Capture packets on nodes: deploy, capture, download, clean up
    #[command(args = options::capture())]
    Capture {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        targets: TargetArgs,
        #[command(flatten)]
        capture: CaptureArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Watch packets on nodes for what fails: deploy, analyse, clean up
    ///
    /// Connections that failed, were delayed or reset, retransmissions, questions to DNS without an answer and more, by
    /// pairs of addresses, once a second. No packet is written anywhere.
    #[command(args = options::watch())]
    Watch {
        #[command(flatten)]
        nodes: NodesArgs,
        #[command(flatten)]
        targets: TargetArgs,
        #[command(flatten)]
        watch: WatchArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show why connections fail, on nodes or in captures
    ///
    /// On nodes: deploy, analyse packets for --duration, print the answers, clean up. Of captures, also what went wrong
    /// among their packets, by pairs of addresses; needs neither a cluster nor a terminal. Exits with 6 if a cause was
    /// found.
    #[command(args = options::diagnose())]
    Diagnose(DiagnoseArgs),
    /// Try ports from nodes, several times: deploy, probe, clean up
    ///
    /// Exits with 3 if not every try was answered.
    #[command(args = options::probe())]
    Probe {
        #[command(flatten)]
        probe: ProbeArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// How ports are reported.
#[derive(Debug, Clone, Args)]
pub struct PortsArgs {
    /// Keep reporting until Ctrl-C, and print each change as it happens
    #[arg(long)]
    pub watch: bool,
    /// Stop watching after this long
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration, requires = "watch")]
    pub duration: Option<Duration>,
    /// Save the ports as a baseline; with -, print it instead of the report
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "baseline"])]
    pub save_baseline: Option<PathBuf>,
    /// Show differences from this baseline (- for standard input); exit with 3 if there are any
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Show past reports from --cloudwatch, this far back; deploys nothing
    #[arg(long, value_name = "DURATION", value_parser = text::parse_past, requires = "cloudwatch",
        conflicts_with_all = ["watch", "baseline", "save_baseline", "pod", "service", "pods"])]
    pub since: Option<Duration>,
    /// With --since: only reports with this port, e.g. 22/tcp
    #[arg(long, value_name = "PORT", requires = "since")]
    pub port: Option<PortKey>,
}

/// What to do with a cluster's alarms.
#[derive(Debug, Clone, Subcommand)]
pub enum AlarmsCommand {
    /// Create alarms for silent nodes, agent errors, unexpected ports and chosen answers
    ///
    /// Removes the alarms of nodes that are gone, and of answers that are not chosen.
    #[command(args = options::alarms_create())]
    Create {
        #[command(flatten)]
        nodes: NodesArgs,
        /// Also create metric filters on --cloudwatch, for reports sent by a log shipper as plain lines
        #[arg(long, requires = "cloudwatch")]
        metric_filter: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the alarms of the cluster and its sessions, with their states
    #[command(args = options::alarms())]
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete the alarms of the cluster
    ///
    /// With --cloudwatch, also deletes the metric filters of that log group.
    #[command(args = options::alarms())]
    Delete {
        /// Delete the alarms of this session instead, which has no journal any more
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
        /// Do not ask for confirmation
        #[arg(short = 'y', long)]
        yes: bool,
    },
}

/// What to clean up, and how.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct CleanupArgs {
    /// Session IDs [default: sessions of this laptop in the current context]
    #[arg(conflicts_with = "all")]
    pub sessions: Vec<SessionId>,
    /// All sessions of this laptop, in every cluster
    #[arg(long)]
    pub all: bool,
    /// Only show the plan
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// How long to wait for each object to be gone
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = text::parse_duration)]
    pub timeout: Duration,
    /// Also remove log groups created by the sessions, with their reports
    #[arg(long, conflicts_with = "local")]
    pub reports: bool,
    /// Also remove the sessions' captures from S3
    ///
    /// For a session without a journal on this laptop, name the bucket with --s3.
    #[arg(long)]
    pub captures: bool,
    /// Also remove a namespace with objects that are not the session's; each is listed first
    #[arg(long, conflicts_with = "local")]
    pub with_namespace_contents: bool,
    /// Only drop the journals of these sessions, after their cluster is gone for good
    #[arg(long, requires = "sessions", conflicts_with_all = ["dry_run", "yes", "captures", "reports", "with_namespace_contents", "local"])]
    pub forget: bool,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A cluster whose address or CA may have changed.
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// Accept a new address or CA of the session's cluster, if its kube-system has this UID
    #[arg(long, value_name = "UID")]
    pub trust_cluster: Option<String>,
}

/// Which nodes are meant.
#[derive(Debug, Clone, Args)]
#[group(required = false, multiple = false)]
pub struct NodesArgs {
    /// Only these nodes
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// All nodes, including nodes that join during a capture or watch
    #[arg(long)]
    pub all: bool,
    /// Only nodes with these labels
    #[arg(short = 'l', long = "selector", value_name = "LABEL=VALUE,...")]
    pub selector: Option<String>,
}

/// What to capture and for how long.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// Capture filter in tcpdump syntax [default: all packets]
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Interface to capture on, repeatable [default: those with the node's addresses, or the pods' own]
    #[arg(long = "interface", short = 'i', value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Keep at most N bytes of each packet
    #[arg(long, value_name = "N", value_parser = text::parse_snaplen)]
    pub snaplen: Option<u32>,
    /// Stop after this long [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub duration: Option<Duration>,
    /// Stop at this size, on each node
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    pub max_bytes: Option<u64>,
    /// Stop after N packets, on each node
    #[arg(long, value_name = "N", value_parser = text::parse_packets)]
    pub max_packets: Option<u64>,
    /// Start a new file at this size
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    pub rotate_size: Option<u64>,
    /// Start a new file after this long
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub rotate_time: Option<Duration>,
    /// Keep headers, dns (headers and whole DNS packets) or full packets [default: headers]
    #[arg(long, value_name = "WHAT", hide_possible_values = true,
        value_parser = Words::new(text::parse_content, Content::ALL.map(Content::word)))]
    pub content: Option<Content>,
    /// Also capture the traffic of nodewatch itself
    #[arg(long, hide_short_help = true)]
    pub include_own: bool,
    /// Write each node's network state beside its captures: routes, rules, settings and counters, at begin and end
    #[arg(long)]
    pub bundle: bool,
    /// Flight recorder: keep only the last part, e.g. 2m or 2m,512MiB, for `freeze` to save
    #[arg(long, value_name = "TIME[,SIZE]", value_parser = text::parse_recorder)]
    pub recorder: Option<Recorder>,
    /// With --recorder: freeze by itself too, on verdict, on causes (N-05,N-11) or on failures>1%
    #[arg(long, value_name = "WHEN", requires = "recorder")]
    pub freeze_on: Option<FreezeOn>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value = "table")]
    pub format: Format,
    /// Print tables without their heads
    #[arg(long)]
    pub no_headers: bool,
    /// Say only what goes wrong, without progress and receipts
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    Table,
    /// The same with more columns
    Wide,
    /// Only names, one per line
    Name,
    /// One JSON value per line
    Json,
    /// One YAML document per value
    Yaml,
}

impl Command {
    /// How its results are written; `None` where that is not for the user to say.
    pub fn output(&self) -> Option<OutputArgs> {
        match self {
            Self::OnNodes(
                NodeCommand::Nodes { output, .. }
                | NodeCommand::Ports { output, .. }
                | NodeCommand::Capture { output, .. }
                | NodeCommand::Watch { output, .. }
                | NodeCommand::Probe { output, .. },
            )
            | Self::Sessions { output }
            | Self::Freeze { output, .. }
            | Self::Preflight { output, .. }
            | Self::Config { output }
            | Self::Alarms(AlarmsCommand::Create { output, .. } | AlarmsCommand::List { output }) => Some(*output),
            Self::Cleanup(arguments) => Some(arguments.output),
            Self::OnNodes(NodeCommand::Diagnose(arguments)) => Some(arguments.output),
            Self::Merge(arguments) => Some(arguments.output),
            Self::Explain(arguments) => Some(arguments.output),
            Self::Alarms(AlarmsCommand::Delete { .. })
            | Self::Attach { .. }
            | Self::Report(_)
            | Self::Mcp(_)
            | Self::Replay(_)
            | Self::Completions { .. }
            | Self::Man
            | Self::Manifests { .. } => None,
        }
    }
}
