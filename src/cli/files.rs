//! What is done with capture files: which, and how.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{NodesArgs, OutputArgs, PacketArgs, TargetArgs};
use crate::base::{
    clock::{self, Moment},
    text,
};

/// What to merge.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// Captures (pcap or pcapng, plain, gzip or zstd) or directories of them; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Only packets from this time on: RFC 3339, or e.g. 14:05 or 23:40+09:00 for today; UTC without an offset
    #[arg(long, value_name = "TIME", value_parser = clock::parse_time)]
    pub from: Option<Moment>,
    /// Only packets up to this time
    #[arg(long, value_name = "TIME", value_parser = clock::parse_time)]
    pub to: Option<Moment>,
    /// Times without an offset are local, not UTC
    #[arg(long)]
    pub local_time: bool,
    /// Write packets that several nodes captured once, with all times in a comment; list what one node alone has
    #[arg(long)]
    pub pair: bool,
    /// With --pair: how far apart two nodes' copies may be, clocks included [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration, requires = "pair")]
    pub pair_within: Option<Duration>,
    /// New file to write, or - for standard output [default: merged.pcapng]
    #[arg(short = 'w', long = "into", value_name = "FILE")]
    pub into: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to look at: captures, or nodes.
#[derive(Debug, Clone, Args)]
pub struct DiagnoseArgs {
    /// Captures (pcap or pcapng, plain, gzip or zstd) or directories of them; - for standard input
    #[arg(conflicts_with_all = ["nodes", "all", "selector", "pod", "service", "pods", "filter", "interfaces", "duration",
        "record", "confirm", "kubeconfig", "context", "local"])]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub nodes: NodesArgs,
    #[command(flatten)]
    pub targets: TargetArgs,
    #[command(flatten)]
    pub packets: PacketArgs,
    /// Watch nodes for this long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = text::parse_duration)]
    pub duration: Duration,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl DiagnoseArgs {
    /// Neither captures nor nodes are named.
    pub fn is_empty(&self) -> bool {
        let NodesArgs { nodes, all, selector } = &self.nodes;
        let nodes_are_named = *all || !nodes.is_empty() || selector.is_some();
        self.files.is_empty() && !nodes_are_named && self.targets.pod.is_empty() && self.targets.service.is_empty()
    }
}
