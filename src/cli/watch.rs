//! What is watched, and for how long.

use std::time::Duration;

use clap::Args;

use crate::base::text;

/// Which packets are watched.
#[derive(Debug, Clone, Args)]
pub struct PacketArgs {
    /// Watch only packets that this matches, in tcpdump syntax [default: all packets]
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Interface to watch, repeatable [default: those with the node's addresses and the pods' own]
    #[arg(long = "interface", short = 'i', value_name = "NAME")]
    pub interfaces: Vec<String>,
}

/// What to watch and for how long.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    pub packets: PacketArgs,
    /// Stop after this long [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    pub duration: Option<Duration>,
}
