//! Which options each command takes, beside its own.
//!
//! Owns the sets of option groups, and the options as a command has them. A group that a command does not take has its
//! defaults there.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches};
use nodewatch_answers::Codes;
use nodewatch_protocol::ObjectForm;

use super::{
    cloudwatch::{AnswerAlarmsArgs, LogGroupArgs, ReportingArgs, TopicArgs},
    connection::{ConnectionArgs, LocalArgs},
    display::{DisplayArgs, FirstArgs, MouseArgs, ViewerArgs},
    metrics::{MetricsArgs, MetricsTarget},
    reports::{IntervalArgs, PortListArgs},
    s3::{CredentialsArgs, S3Args, UploadArgs},
    session::{AgentArgs, FreezeArgs, OutArgs, RunArgs, SessionArgs},
};
use crate::model::{LogsSettings, Sides, StorageSettings};

/// The options that the environment (`NODEWATCH_NAME`) and the config file can set too, by their names with underscores.
/// Those that choose the cluster and the credentials are not among them.
pub const SETTINGS: [&str; 37] = [
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
    "viewer_nodes",
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
    "alarm_on",
    "sns_topic",
    "metrics",
];

/// The options of all groups, as they are for the command that was given.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which cluster.
    pub connection: ConnectionArgs,
    /// This machine instead.
    pub local: bool,
    /// The session's namespace and lifetime.
    pub session: SessionArgs,
    /// What agents run from.
    pub agents: AgentArgs,
    /// What goes with a session that is run here.
    pub run: RunArgs,
    /// What a freeze saves.
    pub freeze: FreezeArgs,
    /// Where files go.
    pub out: Option<PathBuf>,
    /// Which ports are reported.
    pub ports: PortListArgs,
    /// Time between two reports of a node.
    pub interval: Duration,
    /// Where captures are in S3.
    pub s3: S3Args,
    /// How captures are uploaded.
    pub upload: UploadArgs,
    /// The agents' own credentials.
    pub credentials: CredentialsArgs,
    /// Where reports are.
    pub log_group: LogGroupArgs,
    /// How the session reports.
    pub reporting: ReportingArgs,
    /// Which answers have alarms.
    pub alarm_on: Codes,
    /// Who hears of alarms.
    pub sns_topic: Option<String>,
    /// The collector of metrics.
    pub metrics: Option<MetricsTarget>,
    /// How the screen looks.
    pub display: DisplayArgs,
    /// Whether the screen listens to the mouse.
    pub mouse: bool,
    /// How the viewer shows what several nodes capture.
    pub viewer_nodes: Sides,
    /// What the list of nodes shows at first.
    pub first: FirstArgs,
}

impl Options {
    /// Where reports go, if they go anywhere; `cluster` is the cluster's name if none is given.
    pub fn logs(&self, cluster: &str) -> Option<LogsSettings> {
        Some(LogsSettings {
            group: self.log_group.cloudwatch.clone()?,
            per_node: self.reporting.log_group_per_node,
            retention_days: self.reporting.log_retention,
            interval_seconds: self.interval.as_secs(),
            cluster: self.log_group.cluster_name.clone().unwrap_or_else(|| cluster.to_owned()),
            region: None,
            endpoint: None,
            way: self.credentials.way(),
            alarms: self.reporting.alarms,
            sns_topic: self.sns_topic.clone(),
            alarm_on: self.alarm_on.clone(),
        })
    }

    /// Where captures go, if they go to S3.
    pub fn storage(&self) -> Option<StorageSettings> {
        let s3 = &self.s3;
        Some(StorageSettings {
            url: s3.url.clone()?,
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            path_style: s3.path_style,
            form: ObjectForm {
                kms_key: self.upload.kms_key.clone(),
                storage_class: self.upload.storage_class.clone(),
                zstd: self.upload.zstd,
            },
            way: self.credentials.way(),
        })
    }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        command.args(terminal())
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.args(terminal())
    }
}

impl FromArgMatches for Options {
    /// Of the command that was given, however deep it is below these.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (root, given) = (super::Cli::command(), leaf(matches));
        let command = command_of(&root, matches);
        let defaults = Command::new("").args(terminal()).no_binary_name(true).try_get_matches_from::<_, &str>([])?;
        let all = (command, given, &defaults);
        Ok(Self {
            connection: group(all)?,
            local: group::<LocalArgs>(all)?.local,
            session: group(all)?,
            agents: group(all)?,
            run: group(all)?,
            freeze: group(all)?,
            out: group::<OutArgs>(all)?.out,
            ports: group(all)?,
            interval: group::<IntervalArgs>(all)?.interval,
            s3: group(all)?,
            upload: group(all)?,
            credentials: group(all)?,
            log_group: group(all)?,
            reporting: group(all)?,
            alarm_on: group::<AnswerAlarmsArgs>(all)?.alarm_on.unwrap_or_default(),
            sns_topic: group::<TopicArgs>(all)?.sns_topic,
            metrics: group::<MetricsArgs>(all)?.metrics,
            display: group(all)?,
            mouse: group::<MouseArgs>(all)?.mouse,
            viewer_nodes: group::<ViewerArgs>(all)?.viewer_nodes,
            first: group(all)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The arguments of the command that was given, and not of those above it.
pub fn leaf(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, below)| leaf(below))
}

/// The command that was given, of the whole command line's.
pub fn command_of<'a>(root: &'a Command, matches: &ArgMatches) -> &'a Command {
    let below = matches.subcommand().and_then(|(name, below)| Some((root.find_subcommand(name)?, below)));
    below.map_or(root, |(command, below)| command_of(command, below))
}

/// Whether a command takes an option at all. What was parsed does not know that: only with debug assertions does clap keep
/// the names of options that were not given.
pub fn takes(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == option)
}

/// A group of the command's, or its defaults.
fn group<G: Args>((command, given, defaults): (&Command, &ArgMatches, &ArgMatches)) -> Result<G, Error> {
    let own = Set::new().with::<G>().options();
    let is_taken = own.iter().all(|argument| takes(command, argument.get_id().as_str()));
    G::from_arg_matches(if is_taken { given } else { defaults })
}

/// A command that has these options alone.
struct Set(Command);

impl Set {
    fn new() -> Self {
        Self(Command::new(""))
    }

    fn with<G: Args>(self) -> Self {
        // A group's heading must not become that of what comes after it.
        Self(G::augment_args(self.0.next_help_heading(None)).next_help_heading(None))
    }

    fn sites(self) -> Self {
        self.with::<ConnectionArgs>().with::<LocalArgs>()
    }

    /// Without a cluster to choose, `--local` is for the command to answer.
    fn anywhere(self) -> Self {
        Self(self.0.arg(Arg::new("local").long("local").action(ArgAction::SetTrue).hide(true)))
    }

    fn deployed(self) -> Self {
        self.with::<SessionArgs>().with::<AgentArgs>()
    }

    /// A session on this machine or in a cluster.
    fn session(self) -> Self {
        let Self(command) = self.sites().deployed().with::<RunArgs>();
        Self(command.mut_arg("local", |local| local.conflicts_with_all(["namespace", "reaper", "daemonset"])))
    }

    fn port_reports(self) -> Self {
        self.with::<PortListArgs>().with::<IntervalArgs>()
    }

    fn cloudwatch(self) -> Self {
        self.with::<LogGroupArgs>().with::<ReportingArgs>().with::<TopicArgs>()
    }

    fn metrics(self) -> Self {
        self.with::<MetricsArgs>()
    }

    fn upload(self) -> Self {
        self.with::<S3Args>().with::<UploadArgs>().with::<CredentialsArgs>()
    }

    /// With another help for an option that means something else here.
    fn help(self, option: &'static str, help: &'static str) -> Self {
        Self(self.0.mut_arg(option, |argument| argument.help(help)))
    }

    /// `--out` among the command's own options.
    fn out(help: &'static str) -> Self {
        let Self(command) = Self::new().with::<OutArgs>().help("out", help);
        // After the options that the command itself declares.
        Self(command.mut_arg("out", |out| out.help_heading(None).display_order(100)))
    }

    fn options(self) -> Vec<Arg> {
        self.0.get_arguments().cloned().collect()
    }
}

/// The terminal program, and `attach`: every group.
pub(super) fn terminal() -> Vec<Arg> {
    let Set(command) = Set::new().session().with::<FreezeArgs>().with::<OutArgs>().port_reports();
    // Of these many, the short help has only those that shape a session.
    let command = command.mut_args(|argument| {
        let is_minor = argument.get_help_heading() == Some("Port reports") || argument.get_id() == "out";
        if is_minor { argument.hide_short_help(true) } else { argument }
    });
    let Set(command) = Set(command).upload().cloudwatch().with::<AnswerAlarmsArgs>().metrics();
    let screen = Set(command).with::<DisplayArgs>().with::<MouseArgs>().with::<ViewerArgs>();
    screen.with::<FirstArgs>().options()
}

pub(super) fn nodes() -> Vec<Arg> {
    Set::new().sites().options()
}

pub(super) fn ports() -> Vec<Arg> {
    Set::new().session().port_reports().cloudwatch().with::<CredentialsArgs>().metrics().options()
}

pub(super) fn capture() -> Vec<Arg> {
    let out = "Directory for captures, or - for one stream to standard output [default: nodewatch-captures/SESSION]";
    Set::new().session().with::<OutArgs>().help("out", out).upload().metrics().options()
}

pub(super) fn watch() -> Vec<Arg> {
    Set::new().session().metrics().options()
}

pub(super) fn probe() -> Vec<Arg> {
    Set::new().session().options()
}

pub(super) fn sessions() -> Vec<Arg> {
    Set::new().sites().options()
}

pub(super) fn cleanup() -> Vec<Arg> {
    Set::new().sites().with::<S3Args>().help("s3", "Bucket of the captures that --captures removes").options()
}

pub(super) fn freeze() -> Vec<Arg> {
    let Set(command) = Set::new().with::<FreezeArgs>().with::<OutArgs>().anywhere();
    let local = |local: Arg| local.hide(false).help("The session is on this machine, without Kubernetes");
    Set(command.mut_arg("local", local)).options()
}

pub(super) fn alarms() -> Vec<Arg> {
    Set::new().sites().with::<LogGroupArgs>().options()
}

pub(super) fn alarms_create() -> Vec<Arg> {
    let set = Set::new().sites().with::<IntervalArgs>().with::<LogGroupArgs>();
    set.with::<TopicArgs>().with::<AnswerAlarmsArgs>().options()
}

pub(super) fn merge() -> Vec<Arg> {
    let Set(command) = Set::out("Same as --into; in an existing directory, merged.pcapng");
    Set(command.mut_arg("out", |out| out.conflicts_with("into"))).anywhere().options()
}

pub(super) fn diagnose() -> Vec<Arg> {
    Set::new().session().metrics().options()
}

pub(super) fn explain() -> Vec<Arg> {
    Set::new().anywhere().options()
}

pub(super) fn preflight() -> Vec<Arg> {
    let Set(command) = Set::new().sites().deployed().upload().help("s3", "Also check this bucket");
    let local = |local: Arg| local.conflicts_with_all(["nodes", "namespace", "reaper", "daemonset", "push_agent"]);
    Set(command.mut_arg("local", local)).options()
}

pub(super) fn manifests() -> Vec<Arg> {
    Set::new().deployed().with::<CredentialsArgs>().anywhere().options()
}

pub(super) fn report() -> Vec<Arg> {
    Set::out("Directory for the report [default: nodewatch-captures/SESSION]").anywhere().options()
}

pub(super) fn mcp() -> Vec<Arg> {
    let out = "The one directory that tools read captures from and write them to [default: nodewatch-captures]";
    let Set(command) = Set::new().sites().deployed().with::<OutArgs>().help("out", out);
    Set(command.mut_arg("local", |local| local.conflicts_with_all(["namespace", "reaper", "daemonset"]))).options()
}

pub(super) fn replay() -> Vec<Arg> {
    Set::new().with::<DisplayArgs>().anywhere().options()
}

/// Every setting, only to show where its value comes from.
pub(super) fn config() -> Vec<Arg> {
    terminal().into_iter().map(|option| option.hide(true)).collect()
}
