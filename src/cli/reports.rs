//! Which ports are reported, and how often.

use std::time::Duration;

use clap::Args;
use nodewatch_ports::PortSet;

use crate::base::text;

/// Which ports are reported.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Port reports")]
pub struct PortListArgs {
    /// Ports to leave out, e.g. 22,8000-8100,53/udp,tcp/9100,127.0.0.0/8
    ///
    /// They are counted, but not listed or reported.
    #[arg(long, value_name = "LIST")]
    pub exclude: Option<PortSet>,
    /// Ports to expect open even if no service or pod declares them, e.g. 22,68/udp
    #[arg(long, value_name = "LIST")]
    pub expect: Option<PortSet>,
}

/// How often ports are reported.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Port reports")]
pub struct IntervalArgs {
    /// Time between two reports of a node
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = text::parse_interval)]
    pub interval: Duration,
}
