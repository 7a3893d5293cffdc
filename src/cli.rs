//! The command line: arguments only.
//!
//! Owns names, defaults and help texts. Must not do anything.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{cluster::PullPolicy, headless::exclude::Exclusions, text};

/// Live open ports, packet statistics and captures of Kubernetes nodes, with nothing left behind
///
/// Without a command the terminal program starts on the current context.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do without a terminal
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where and with what
    #[command(flatten)]
    pub place: PlaceArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 done in part, 4 something was left behind, \
     5 not permitted";

/// Options that go with every command.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The kubeconfig, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context, instead of its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// This machine is the only node; no Kubernetes
    #[arg(long, global = true, conflicts_with_all = ["kubeconfig", "context"])]
    pub local: bool,
    /// The agent image
    #[arg(long, global = true, env = "NODEWATCH_IMAGE", default_value = concat!("nodewatch-agent:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// When nodes pull the agent image
    #[arg(long, global = true, value_name = "POLICY")]
    pub image_pull_policy: Option<PullPolicy>,
    /// How long agents may run, whatever happens to this program
    #[arg(long, global = true, value_name = "DURATION", default_value = "4h", value_parser = text::parse_duration)]
    pub session_budget: Duration,
    /// Folder for fetched captures [default: nodewatch-captures/SESSION]
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The commands that need no terminal.
#[derive(Debug, Subcommand)]
pub enum Command {
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
        /// Report again and again until Ctrl-C
        #[arg(long)]
        watch: bool,
        /// Time between two reports
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = text::parse_duration, requires = "watch")]
        interval: Duration,
        /// Ports to leave out, as in 22,8000-8100,53/udp; they are counted
        #[arg(long, value_name = "LIST", default_value = "")]
        exclude: Exclusions,
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

/// Which nodes are meant.
#[derive(Debug, Clone, Args)]
#[group(required = false, multiple = false)]
pub struct NodesArgs {
    /// These nodes
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Every node
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
    #[arg(long, value_name = "N")]
    pub max_packets: Option<u64>,
    /// Begin the next file at this size
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size)]
    pub rotate_size: Option<u64>,
    /// Begin the next file after this long
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub rotate_time: Option<Duration>,
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
