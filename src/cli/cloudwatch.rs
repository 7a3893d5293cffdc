//! Reports and alarms in CloudWatch.

use clap::Args;
use nodewatch_answers::Codes;

use super::arn;

/// Where reports are, and under which name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CloudWatch")]
pub struct LogGroupArgs {
    /// Log group for reports of open ports
    ///
    /// Each node has a log stream. Reports have metrics in the embedded metric format.
    #[arg(long, value_name = "GROUP", value_parser = log_group)]
    pub cloudwatch: Option<String>,
    /// Name of the cluster in metrics and alarms [default: name of the context]
    #[arg(long, value_name = "NAME", value_parser = cluster_name, hide_short_help = true)]
    pub cluster_name: Option<String>,
}

/// How a session reports.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CloudWatch")]
pub struct ReportingArgs {
    /// Use a log group per node, GROUP/NODE
    #[arg(long, requires = "cloudwatch", hide_short_help = true)]
    pub log_group_per_node: bool,
    /// Days to keep events in log groups created by the session
    #[arg(long, value_name = "DAYS", default_value = "14", value_parser = retention, hide_short_help = true)]
    pub log_retention: u32,
    /// Create alarms for the session: silent nodes, agent errors, unexpected ports
    ///
    /// They are removed when the session ends.
    #[arg(long, requires = "cloudwatch", hide_short_help = true)]
    pub alarms: bool,
}

/// Who hears of alarms.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CloudWatch")]
pub struct TopicArgs {
    /// SNS topic to notify of alarms
    #[arg(long, value_name = "ARN", value_parser = arn::sns_topic, hide_short_help = true)]
    pub sns_topic: Option<String>,
}

/// Which answers have alarms.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "CloudWatch")]
pub struct AnswerAlarmsArgs {
    /// Also create an alarm for each of these answers, e.g. N-05,N-11, or all
    ///
    /// They are about nodes that are watched. explain lists the codes.
    #[arg(long, value_name = "CODES", hide_short_help = true)]
    pub alarm_on: Option<Codes>,
}

fn log_group(name: &str) -> Result<String, String> {
    nodewatch_report::check_group(name).map(|()| name.to_owned())
}

fn retention(text: &str) -> Result<u32, String> {
    nodewatch_report::check_retention(text)
}

/// The name is part of alarm names, and the value of a dimension.
fn cluster_name(text: &str) -> Result<String, String> {
    let good = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    good.then(|| text.to_owned())
        .ok_or_else(|| "expected 1 to 100 printable ASCII characters, without spaces and slashes".to_owned())
}
