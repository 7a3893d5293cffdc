//! How long a session lives, and what is created for it.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    base::text,
    model::{PullPolicy, parse_image},
};

/// A session's namespace and lifetime.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Session")]
pub struct SessionArgs {
    /// Existing namespace [default: create one for the session]
    #[arg(short = 'n', long, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// End the session this long from now, e.g. 30m or 8h
    ///
    /// Agents stop by then, whatever happens to this program.
    #[arg(id = "session_budget", long = "session-budget", value_name = "DURATION", default_value = "4h",
        value_parser = text::parse_budget)]
    pub budget: Duration,
    /// Stop agents this long after their last contact with this program
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = text::parse_budget,
        hide_short_help = true)]
    pub lease: Duration,
    /// Also run a cleanup Job in the cluster, in case this program cannot clean up
    #[arg(long, conflicts_with = "namespace", hide_short_help = true)]
    pub reaper: bool,
    /// With --reaper: also cover nodes that join after you detach
    ///
    /// Applies to sessions of all nodes, including those that join. When such a session is left running, a DaemonSet
    /// gives each new node an agent and starts on it what runs on the others.
    #[arg(long, conflicts_with = "namespace", hide_short_help = true)]
    pub daemonset: bool,
}

/// The agents' image that was released with this program, by digest; a program that somebody has built knows none.
pub const RELEASED_IMAGE: Option<&str> = match option_env!("NODEWATCH_RELEASED_IMAGE") {
    Some(image) if !image.is_empty() => Some(image),
    _ => None,
};

/// The agents' image unless one is named. If it was not released, it is published nowhere.
pub const DEFAULT_IMAGE: &str = match RELEASED_IMAGE {
    Some(image) => image,
    None => concat!("nodewatch-agent:", env!("CARGO_PKG_VERSION")),
};

/// What the agents run from, and what they may use on a node.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Session")]
pub struct AgentArgs {
    /// Agent image
    #[arg(long, default_value = DEFAULT_IMAGE, value_parser = parse_image)]
    pub image: String,
    /// Nobody has named that image: the layers of settings know.
    #[arg(skip)]
    pub image_is_default: bool,
    /// When nodes pull the agent image
    #[arg(long, value_name = "POLICY", hide_short_help = true)]
    pub image_pull_policy: Option<PullPolicy>,
    /// Existing service account for the agents, in --namespace, as for its pull secrets
    #[arg(long, value_name = "NAME", requires = "namespace", value_parser = account, hide_short_help = true)]
    pub service_account: Option<String>,
    /// Send the agent program into pods of this stock image, e.g. busybox:1.36
    ///
    /// For clusters that cannot pull the agent image. The stock image needs a shell. The program is verified before it
    /// starts. It reports ports only: to capture packets, add --push-agent-as-root.
    #[arg(long, value_name = "IMAGE", value_parser = parse_image, hide_short_help = true)]
    pub push_agent: Option<String>,
    /// With --push-agent: run the pods as uid 0, to capture packets too
    ///
    /// NET_RAW is still the only capability.
    #[arg(long, requires = "push_agent", hide_short_help = true)]
    pub push_agent_as_root: bool,
    /// Agent program for --push-agent [default: nodewatch-agent next to this program]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub agent_binary: Option<PathBuf>,
    /// Show the process and pod that hold each port
    ///
    /// Agents then see the host's processes and run as uid 0 with SYS_PTRACE and DAC_READ_SEARCH: they could read every
    /// file and process of the node.
    #[arg(long, hide_short_help = true)]
    pub processes: bool,
    /// Disk space for undelivered captures on each node (at most 80 % of what is free) [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = text::parse_size, hide_short_help = true)]
    pub ring_size: Option<u64>,
}

/// As Kubernetes names it (RFC 1123, with dots).
fn account(name: &str) -> Result<String, String> {
    let good = name.len() <= 253 && name.split('.').all(text::is_dns_label);
    let expected = || format!("invalid service account {name:?}: use lower-case letters, digits, - and .");
    good.then(|| name.to_owned()).ok_or_else(expected)
}

/// What goes with a session that is run here.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Session")]
pub struct RunArgs {
    /// Confirm that you mean this context, if the config file guards it
    #[arg(long, value_name = "CONTEXT", hide_short_help = true)]
    pub confirm: Option<String>,
    /// Record the session to a file for replay, without packets and credentials
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub record: Option<PathBuf>,
}

/// What a freeze of the flight recorders saves.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Session")]
pub struct FreezeArgs {
    /// How far back a freeze of the flight recorders reaches
    #[arg(id = "freeze_before", long = "freeze-before", value_name = "DURATION", default_value = "30s",
        value_parser = text::parse_duration, hide_short_help = true)]
    pub before: Duration,
    /// How long a freeze of the flight recorders continues
    #[arg(id = "freeze_after", long = "freeze-after", value_name = "DURATION", default_value = "10s",
        value_parser = text::parse_duration, hide_short_help = true)]
    pub after: Duration,
}

/// Where files go on this machine.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Session")]
pub struct OutArgs {
    /// Directory for captures [default: nodewatch-captures/SESSION]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

fn namespace(text: &str) -> Result<String, String> {
    let expected = || format!("invalid namespace {text:?}: use lower-case letters, digits and -, 63 at most");
    text::is_dns_label(text).then(|| text.to_owned()).ok_or_else(expected)
}
