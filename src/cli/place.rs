//! Options that go with every command, and which of them are settings.
//!
//! Owns their names, defaults and checks. Must not do anything.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use nodewatch_ports::PortSet;
use nodewatch_protocol::ObjectForm;

use super::words::Words;
use crate::{
    base::text,
    model::{LogsSettings, PullPolicy, S3Url, StorageSettings, Way},
    ui::Palette,
};

/// The options that the environment (`NODEWATCH_NAME`) and the config file can set too, by their names with underscores.
/// Those that say where to go and who to be are not among them.
pub const SETTINGS: [&str; 34] = [
    "image",
    "image_pull_policy",
    "push_agent",
    "push_agent_as_root",
    "agent_binary",
    "session_budget",
    "lease",
    "reaper",
    "daemonset",
    "read_only",
    "processes",
    "out",
    "ring_size",
    "freeze_before",
    "freeze_after",
    "exclude",
    "expect",
    "interval",
    "theme",
    "ascii",
    "mouse",
    "s3",
    "s3_endpoint",
    "s3_region",
    "s3_path_style",
    "s3_kms_key",
    "s3_storage_class",
    "zstd",
    "cloudwatch",
    "log_group_per_node",
    "log_retention",
    "cluster_name",
    "alarms",
    "sns_topic",
];

/// Options that go with every command.
#[derive(Debug, Clone, Args)]
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
    /// With --reaper: when a session of all nodes, also those that join, is left running, nodes that join meanwhile get an
    /// agent and what runs on the others, by a DaemonSet
    #[arg(long, global = true, conflicts_with_all = ["local", "namespace"])]
    pub daemonset: bool,
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
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = text::parse_interval)]
    pub interval: Duration,
    /// Name the process and pod that hold each port. The agents then see the host's processes and run as uid 0 with
    /// SYS_PTRACE and DAC_READ_SEARCH: they could read every file and process of the node
    #[arg(long, global = true)]
    pub processes: bool,
    /// A stock image with a shell that the cluster has already, where the agent image cannot be had: the agent program is
    /// sent to its pods and checked. Ports only, as a sent program cannot carry a capability
    #[arg(long, global = true, value_name = "IMAGE")]
    pub push_agent: Option<String>,
    /// With --push-agent: capture too, with the pods as uid 0 and still NET_RAW alone
    #[arg(long, global = true, requires = "push_agent")]
    pub push_agent_as_root: bool,
    /// The agent program that --push-agent sends [default: nodewatch-agent beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    pub agent_binary: Option<PathBuf>,
    /// Record the session's events into this file, for replay; without packets and credentials
    #[arg(long, global = true, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Colours: auto, dark, light, high-contrast, or terminal for its own sixteen
    #[arg(long, global = true, value_name = "NAME", default_value = "auto", hide_possible_values = true,
        value_parser = Words::new(str::parse::<Palette>, Palette::ALL.map(|(name, _)| name)))]
    pub theme: Palette,
    /// Draw with ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Whether the mouse is taken: select, scroll, pick a part of a chart
    #[arg(long, global = true, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    pub mouse: bool,
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
            form: ObjectForm {
                kms_key: storage.s3_kms_key.clone(),
                storage_class: storage.s3_storage_class.clone(),
                zstd: storage.zstd,
            },
            way: self.way(),
        })
    }
}

/// Reports in CloudWatch.
#[derive(Debug, Clone, Args)]
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

/// The account and the resource of a service's ARN whose partition and region are what they can be.
fn arn<'a>(text: &'a str, service: &str, regional: bool) -> Option<(&'a str, &'a str)> {
    let (account, resource) = {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, named, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let word = |word: &str| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(inside)
        };
        let words = |text: &str| text.split('-').all(word);
        let partition = words(partition) && partition.split('-').next() == Some("aws");
        let region = if regional { words(region) && region.contains('-') } else { region.is_empty() };
        if arn != "arn" || !partition || named != service || !region {
            return None;
        }
        (parts.next()?, parts.next()?)
    };
    let digits = (1..=12).contains(&account.len()) && account.bytes().all(|byte| byte.is_ascii_digit());
    let graphic = !resource.is_empty() && resource.bytes().all(|byte| byte.is_ascii_graphic());
    (digits && graphic).then_some((account, resource))
}

fn sns_topic(text: &str) -> Result<String, String> {
    let named = |(account, topic): (&str, &str)| {
        let name = topic.strip_suffix(".fifo").unwrap_or(topic);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        account.len() == 12 && (1..=256).contains(&topic.len()) && !name.is_empty() && name.bytes().all(inside)
    };
    let good = arn(text, "sns", true).is_some_and(named);
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no SNS topic: write it as arn:aws:sns:eu-west-1:123456789012:name"))
}

fn role(text: &str) -> Result<String, String> {
    let name = arn(text, "iam", false).and_then(|(_, resource)| resource.strip_prefix("role/"));
    let good = name.is_some_and(|name| !name.is_empty());
    good.then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no role: write it as arn:aws:iam::123456789012:role/name"))
}

/// Captures in S3.
#[derive(Debug, Clone, Args)]
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
    #[arg(long, global = true, value_name = "ROLE_ARN", value_parser = role)]
    pub irsa: Option<String>,
    /// Agents deliver and report with what EKS Pod Identity gives their service account
    #[arg(long, global = true, requires = "service_account", conflicts_with = "irsa")]
    pub pod_identity: bool,
    /// An existing service account for the agents, in --namespace
    #[arg(long, global = true, value_name = "NAME", requires = "namespace")]
    pub service_account: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_and_a_role_are_of_any_partition_and_nothing_else_is_taken_for_one() {
        for topic in [
            "arn:aws:sns:eu-west-1:123456789012:name",
            "arn:aws-cn:sns:cn-north-1:123456789012:Name_1-x",
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a.fifo",
        ] {
            assert_eq!(sns_topic(topic).as_deref(), Ok(topic));
        }
        for topic in [
            "",
            "name",
            "arn:aws:sns:eu-west-1:12345678901x:name",
            "arn:aws:sns:eu-west-1:abcdefghijkl:name",
            "arn:aws:sns:eu-west-1:123456789012:a name",
            "arn:aws:sns:eu-west-1:123456789012: name",
            "arn:aws:sns:eu-west-1:123456789012:name:more",
            "arn:aws:sns:eu-west-1:123456789012:",
            "arn:aws:sns:eu-west-1:123456789012:.fifo",
            "arn:aws:sns::123456789012:name",
            "arn::sns:eu-west-1:123456789012:name",
            "arn:awsome:sns:eu-west-1:123456789012:name",
            "arn:aws:sqs:eu-west-1:123456789012:name",
            "arn:aws:sns:eu west-1:123456789012:name",
        ] {
            assert!(sns_topic(topic).is_err_and(|error| error.starts_with(&format!("{topic:?}"))), "{topic}");
        }
        for good in ["arn:aws:iam::123456789012:role/nw", "arn:aws-us-gov:iam::123456789012:role/path/nw"] {
            assert_eq!(role(good).as_deref(), Ok(good));
        }
        for bad in
            ["nw", "arn:aws:iam::123456789012:user/nw", "arn:aws:iam::x:role/nw", "arn:aws:iam::123456789012:role/"]
        {
            assert!(role(bad).is_err(), "{bad}");
        }
    }
}
