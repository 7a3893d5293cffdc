//! What is done with capture files: which, and how.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::OutputArgs;
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

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct DiagnoseArgs {
    /// Captures (pcap or pcapng, plain, gzip or zstd) or directories of them; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}
