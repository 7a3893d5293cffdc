//! The command line: arguments only.
//!
//! Owns names, defaults and help texts. Must not do anything.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use nodewatch_protocol::{Content, Recorder};
use nodewatch_report::PortSet;

use crate::{
    cluster::PullPolicy,
    headless::captures,
    model::{LogsSettings, PortKey, S3Url, SessionId, StorageSettings, Way},
    text,
};

/// Live open ports, packet statistics and captures of Kubernetes nodes, with nothing left behind
///
/// Without a command the terminal program starts on the current context.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
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

/// Options that go with every command.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct PlaceArgs {
    /// The kubeconfig, instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context, instead of its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// An existing namespace for the agents, instead of one of the session's own
    #[arg(short = 'n', long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// This machine is the only node; no Kubernetes
    #[arg(long, global = true, conflicts_with_all = ["kubeconfig", "context", "namespace", "reaper"])]
    pub local: bool,
    /// Hide and refuse everything that changes the cluster
    #[arg(long, global = true)]
    pub read_only: bool,
    /// The context's name, where the config guards it against deployments by mistake
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub confirm: Option<String>,
    /// The agent image
    #[arg(long, global = true, env = "NODEWATCH_IMAGE", default_value = concat!("nodewatch-agent:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// When nodes pull the agent image
    #[arg(long, global = true, value_name = "POLICY")]
    pub image_pull_policy: Option<PullPolicy>,
    /// How long agents may run, whatever happens to this program
    #[arg(long, global = true, value_name = "DURATION", default_value = "4h", value_parser = text::parse_budget)]
    pub session_budget: Duration,
    /// How long agents go on when nothing is heard of this program
    #[arg(long, global = true, value_name = "DURATION", default_value = "10m", value_parser = text::parse_budget)]
    pub lease: Duration,
    /// A Job in the cluster removes the session's namespace at its end, should this program no longer be able to
    #[arg(long, global = true, conflicts_with = "namespace")]
    pub reaper: bool,
    /// Folder for fetched captures [default: nodewatch-captures/SESSION]; `capture --out -` writes one stream to
    /// standard output
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep so much of captures on each node until it is delivered; never more than 80 % of what its volume has left
    /// [default: 1GiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = text::parse_size)]
    pub ring_size: Option<u64>,
    /// Seconds before now that a freeze saves
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = text::parse_duration)]
    pub freeze_before: Duration,
    /// Seconds from now that a freeze saves
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = text::parse_duration)]
    pub freeze_after: Duration,
    /// Ports to leave out of lists and reports, as in 22,8000-8100,53/udp,tcp/9100,127.0.0.0/8; they are counted
    #[arg(long, global = true, value_name = "LIST")]
    pub exclude: Option<PortSet>,
    /// Ports that should be open though no service and no pod says so, in the same form
    #[arg(long, global = true, value_name = "LIST")]
    pub expect: Option<PortSet>,
    /// Time between two reports of a node
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = text::parse_duration)]
    pub interval: Duration,
    /// Name the process and pod that hold each port. The agents then see the host's processes and run as uid 0 with
    /// SYS_PTRACE and DAC_READ_SEARCH: they could read every file and process of the node
    #[arg(long, global = true)]
    pub processes: bool,
    #[command(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    pub logs: LogsArgs,
}

impl PlaceArgs {
    /// By what right agents deliver and report.
    pub fn way(&self) -> Way {
        match (&self.storage.irsa, self.storage.pod_identity) {
            (Some(role), _) => Way::Role(role.clone()),
            (None, true) => Way::PodIdentity,
            (None, false) => Way::Grant,
        }
    }

    /// Where reports go, when they go anywhere; the cluster goes by that name where none is given.
    pub fn logs(&self, cluster: &str) -> Option<LogsSettings> {
        let logs = &self.logs;
        Some(LogsSettings {
            group: logs.cloudwatch.clone()?,
            per_node: logs.log_group_per_node,
            retention_days: logs.log_retention,
            interval_seconds: self.interval.as_secs(),
            cluster: logs.cluster_name.clone().unwrap_or_else(|| cluster.to_owned()),
            region: None,
            endpoint: None,
            way: self.way(),
            alarms: logs.alarms,
            sns_topic: logs.sns_topic.clone(),
        })
    }

    /// Where captures go, when they go to S3.
    pub fn storage(&self) -> Option<StorageSettings> {
        let storage = &self.storage;
        Some(StorageSettings {
            url: storage.s3.clone()?,
            endpoint: storage.s3_endpoint.clone(),
            region: storage.s3_region.clone(),
            path_style: storage.s3_path_style,
            kms_key: storage.s3_kms_key.clone(),
            storage_class: storage.s3_storage_class.clone(),
            zstd: storage.zstd,
            way: self.way(),
        })
    }
}

/// Reports in CloudWatch.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reports in CloudWatch")]
pub struct LogsArgs {
    /// Report open ports to this log group, a stream a node, with metrics in the embedded metric format
    #[arg(long, global = true, value_name = "GROUP", value_parser = log_group)]
    pub cloudwatch: Option<String>,
    /// A log group a node, GROUP/NODE, instead
    #[arg(long, global = true, requires = "cloudwatch")]
    pub log_group_per_node: bool,
    /// Days after which a log group that is made here forgets its events
    #[arg(long, global = true, value_name = "DAYS", default_value = "14", value_parser = retention)]
    pub log_retention: u32,
    /// The metrics' dimension `cluster`, and whose alarms are meant [default: the context's name]
    #[arg(long, global = true, value_name = "NAME", value_parser = cluster_name)]
    pub cluster_name: Option<String>,
    /// Alarms for the session: a silent node, agent errors, unexpected ports; removed when it ends
    #[arg(long, global = true, requires = "cloudwatch")]
    pub alarms: bool,
    /// Who is told of an alarm
    #[arg(long, global = true, value_name = "ARN", value_parser = sns_topic)]
    pub sns_topic: Option<String>,
}

fn log_group(name: &str) -> Result<String, String> {
    nodewatch_report::check_group(name).map(|()| name.to_owned())
}

fn retention(text: &str) -> Result<u32, String> {
    nodewatch_report::check_retention(text)
}

/// It is a part of alarms' names and a dimension's value.
fn cluster_name(text: &str) -> Result<String, String> {
    let good = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    good.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "{text:?} is no name of a cluster: write 1 to 100 letters, digits and signs, without spaces and slashes"
        )
    })
}

fn sns_topic(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let good = matches!(parts[..], ["arn", _, "sns", region, account, topic]
        if !region.is_empty() && account.len() == 12 && !topic.is_empty());
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no SNS topic: write it as arn:aws:sns:eu-west-1:123456789012:name"))
}

/// `22/tcp`, `tcp/22`, or `22` for TCP.
fn port(text: &str) -> Result<PortKey, String> {
    let bad = || format!("{text:?} is no port: write 22/tcp, 53/udp or 22");
    let (number, protocol) = match text.split_once('/') {
        None => (text, "tcp"),
        Some((left @ ("tcp" | "udp"), right)) => (right, left),
        Some(parts) => parts,
    };
    let protocol = match protocol {
        "tcp" => nodewatch_protocol::PortProtocol::Tcp,
        "udp" => nodewatch_protocol::PortProtocol::Udp,
        _ => return Err(bad()),
    };
    let port = number.parse().ok().filter(|&port: &u16| port > 0).ok_or_else(bad)?;
    Ok(PortKey { port, protocol })
}

/// Captures in S3.
#[derive(Debug, Args)]
#[command(next_help_heading = "Captures in S3")]
pub struct StorageArgs {
    /// Deliver captures there, as they are closed, below a folder of the session's own
    #[arg(long, global = true, value_name = "s3://BUCKET/PREFIX")]
    pub s3: Option<S3Url>,
    /// Another server than AWS's, as $AWS_ENDPOINT_URL has it; agents must reach it too
    #[arg(long, global = true, value_name = "URL", requires = "s3")]
    pub s3_endpoint: Option<String>,
    /// The bucket's region [default: the environment's, then what the bucket says]
    #[arg(long, global = true, value_name = "REGION", requires = "s3")]
    pub s3_region: Option<String>,
    /// Whether the bucket goes into the path [default: with another server than AWS's]
    #[arg(long, global = true, value_name = "BOOL", requires = "s3")]
    pub s3_path_style: Option<bool>,
    /// Encrypt objects with this KMS key
    #[arg(long, global = true, value_name = "ARN", requires = "s3")]
    pub s3_kms_key: Option<String>,
    /// The objects' storage class
    #[arg(long, global = true, value_name = "CLASS", requires = "s3")]
    pub s3_storage_class: Option<String>,
    /// Agents compress captures on their way
    #[arg(long, global = true, requires = "s3")]
    pub zstd: bool,
    /// Agents deliver and report under this role, which their service account may assume, instead of what this laptop
    /// signs and sends
    #[arg(long, global = true, value_name = "ROLE_ARN")]
    pub irsa: Option<String>,
    /// Agents deliver and report with what EKS Pod Identity gives their service account
    #[arg(long, global = true, requires = "service_account", conflicts_with = "irsa")]
    pub pod_identity: bool,
    /// An existing service account for the agents, in --namespace
    #[arg(long, global = true, value_name = "NAME", requires = "namespace")]
    pub service_account: Option<String>,
}

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
    },
    /// Save the last seconds of a session's armed flight recorders, wherever the session is open
    Freeze {
        /// Its id
        session: SessionId,
        /// Only these nodes
        #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
        nodes: Vec<String>,
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
    /// Write the ports down as the cluster's baseline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "baseline"])]
    pub save_baseline: Option<PathBuf>,
    /// Tell what differs from this baseline; exit code 3 when something does
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Read reports of so long ago until now back from --cloudwatch; deploys nothing
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration, requires = "cloudwatch",
        conflicts_with_all = ["watch", "baseline", "save_baseline"])]
    pub since: Option<Duration>,
    /// With --since: only reports with this port, as in 22/tcp
    #[arg(long, value_name = "PORT", value_parser = port, requires = "since")]
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
    /// Capture files, or folders with some
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Only packets from this time on: RFC 3339, or 14:05 of today, UTC
    #[arg(long, value_name = "TIME", value_parser = captures::parse_time)]
    pub from: Option<u64>,
    /// Only packets up to this time
    #[arg(long, value_name = "TIME", value_parser = captures::parse_time)]
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
    /// Only forget the journals of these sessions, whose cluster is gone for good
    #[arg(long, requires = "sessions", conflicts_with_all = ["dry_run", "yes", "captures", "reports"])]
    pub forget: bool,
    #[command(flatten)]
    pub output: OutputArgs,
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
    /// What is kept of packets: headers (link to transport layer), dns (the same, and DNS whole), full
    /// [default: headers]
    #[arg(long, value_name = "WHAT", value_parser = text::parse_content)]
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
