//! Alarms on reports, and metric filters for log groups whose events nobody turns into metrics.
//!
//! Owns names, tags and thresholds. Only what begins with our own prefix and says in its description that it is ours is ever
//! touched.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, MetricAlarm, Statistic, Tag};
use aws_sdk_cloudwatchlogs::{
    error::ProvideErrorMetadata,
    types::{MetricTransformation, OrderBy},
};
use futures::{StreamExt, TryStreamExt, stream};
use nodewatch_protocol::{SESSION_LABEL, UnixMillis};
use nodewatch_report::{METRICS, NAMESPACE, metric_of_answer};

use super::{Logs, LogsError};
use crate::model::{ALARM_MARK, Alarm, AlarmKind, NodeName, SessionId};

/// Alarms that one call deletes.
const A_CALL: usize = 100;
/// Calls at once.
const AT_ONCE: usize = 5;
/// Reports that may be missing before a node counts as silent.
const MISSED: i32 = 3;
/// A metric filter is switched off by CloudWatch Logs when its dimensions have more values in an hour than this; it is given
/// up a little before. "Creating metric filters" in the Amazon CloudWatch Logs user guide.
pub const MAX_NAMES: usize = 1000;

/// The longest period of an alarm, in seconds.
const LONGEST_PERIOD: u64 = 86_400;

/// In the place of a session's id: alarms that stay.
const STANDING: &str = "standing";

/// Whose alarms are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A session's, which go with it.
    Session(SessionId),
    /// The cluster's, which stay.
    Cluster,
}

impl Scope {
    fn word(&self) -> &str {
        match self {
            Self::Session(session) => session.as_str(),
            Self::Cluster => STANDING,
        }
    }

    fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Session(session) => Some(session),
            Self::Cluster => None,
        }
    }
}

/// What became of metric filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// Each metric has the node's name as dimension.
    ByHostname,
    /// So many names were seen that only the whole group's metrics are kept.
    Whole(usize),
}

impl Logs {
    /// What the names of all alarms of this cluster begin with.
    fn prefix(&self) -> String {
        format!("{ALARM_MARK}/{}/", self.settings.cluster)
    }

    fn name(&self, scope: &Scope, kind: &AlarmKind) -> String {
        let prefix = format!("{}{}/", self.prefix(), scope.word());
        match kind {
            AlarmKind::Silent(node) => format!("{prefix}silent/{node}"),
            AlarmKind::Errors => format!("{prefix}agent-errors"),
            AlarmKind::Unexpected => format!("{prefix}unexpected-ports"),
            AlarmKind::Answer(code) => format!("{prefix}answer/{}", code.text()),
        }
    }

    /// Makes the alarms of these nodes and of the codes that are set, and removes those of others. Returns what was made and
    /// removed.
    pub async fn reconcile(&self, scope: &Scope, nodes: &[NodeName]) -> Result<(usize, usize), LogsError> {
        let there: BTreeMap<String, AlarmKind> =
            self.alarms(scope).await?.into_iter().map(|alarm| (alarm.name, alarm.kind)).collect();
        let silent = nodes.iter().cloned().map(AlarmKind::Silent);
        let answers = self.settings.alarm_on.iter().map(AlarmKind::Answer);
        let wanted: Vec<AlarmKind> = silent.chain([AlarmKind::Errors, AlarmKind::Unexpected]).chain(answers).collect();
        let names: BTreeSet<String> = wanted.iter().map(|kind| self.name(scope, kind)).collect();
        let gone: Vec<String> = there.keys().filter(|name| !names.contains(*name)).cloned().collect();
        self.delete(&gone).await?;
        let mut puts = Vec::new();
        for kind in wanted.iter().filter(|kind| !there.contains_key(&self.name(scope, kind))) {
            puts.push(self.put(scope, kind));
        }
        let made = puts.len();
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok((made, gone.len()))
    }

    async fn put(&self, scope: &Scope, kind: &AlarmKind) -> Result<(), LogsError> {
        let settings = &self.settings;
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let cluster = &settings.cluster;
        let (metric, description) = match kind {
            AlarmKind::Silent(node) => ("Heartbeat".to_owned(), format!("no report from {node}")),
            AlarmKind::Errors => ("AgentErrors".to_owned(), "an error on a node of the cluster".to_owned()),
            AlarmKind::Unexpected => {
                ("UnexpectedPorts".to_owned(), "an unexpected port on a node of the cluster".to_owned())
            }
            AlarmKind::Answer(code) => {
                let description = format!("connections fail on a node of the cluster: {} {}", code.text(), code.name());
                (metric_of_answer(code.text()), description)
            }
        };
        let session = match scope {
            Scope::Session(session) => format!(", session {session}"),
            Scope::Cluster => String::new(),
        };
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        // A period must be a multiple of a minute and hold one report at least.
        let period = settings.interval_seconds.min(LONGEST_PERIOD).div_ceil(60).max(1) * 60;
        let put = self
            .metrics
            .put_metric_alarm()
            .alarm_name(self.name(scope, kind))
            .alarm_description(format!("{ALARM_MARK}: {description} (cluster {cluster}{session})"))
            .namespace(NAMESPACE)
            .metric_name(metric)
            .dimensions(dimension("cluster", cluster))
            .set_alarm_actions(settings.sns_topic.clone().map(|topic| vec![topic]))
            .set_ok_actions(settings.sns_topic.clone().map(|topic| vec![topic]))
            .period(period as i32)
            .tags(tag("managed-by", ALARM_MARK))
            .tags(tag("nodewatch-tui/cluster", cluster))
            .tags(tag(SESSION_LABEL, scope.word()));
        let put = match kind {
            AlarmKind::Silent(node) => put
                .dimensions(dimension("hostname", &node.0))
                .statistic(Statistic::Sum)
                .comparison_operator(ComparisonOperator::LessThanThreshold)
                .threshold(1.0)
                .evaluation_periods(MISSED)
                .treat_missing_data("breaching"),
            AlarmKind::Errors | AlarmKind::Unexpected | AlarmKind::Answer(_) => put
                .statistic(Statistic::Maximum)
                .comparison_operator(ComparisonOperator::GreaterThanThreshold)
                .threshold(0.0)
                .evaluation_periods(1)
                .treat_missing_data("notBreaching"),
        };
        put.send().await.map_err(LogsError::of("create an alarm"))?;
        Ok(())
    }

    /// The alarms that there are of this scope.
    pub async fn alarms(&self, scope: &Scope) -> Result<Vec<Alarm>, LogsError> {
        let mut found = self.alarms_below(&format!("{}{}/", self.prefix(), scope.word())).await?;
        found.retain(|alarm| alarm.session.as_ref() == scope.session());
        Ok(found)
    }

    /// Every alarm of the cluster, its sessions' too.
    pub async fn all_alarms(&self) -> Result<Vec<Alarm>, LogsError> {
        self.alarms_below(&self.prefix()).await
    }

    async fn alarms_below(&self, prefix: &str) -> Result<Vec<Alarm>, LogsError> {
        let mut found = Vec::new();
        let mut pages = self.metrics.describe_alarms().alarm_name_prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(LogsError::of("list the alarms"))?;
            found.extend(page.metric_alarms().iter().filter_map(|alarm| read(alarm, &self.prefix())));
        }
        Ok(found)
    }

    /// Removes all of them; returns how many these were.
    pub async fn delete_alarms(&self, scope: &Scope) -> Result<usize, LogsError> {
        let names: Vec<String> = self.alarms(scope).await?.into_iter().map(|alarm| alarm.name).collect();
        self.delete(&names).await?;
        Ok(names.len())
    }

    async fn delete(&self, names: &[String]) -> Result<(), LogsError> {
        for names in names.chunks(A_CALL) {
            let delete = self.metrics.delete_alarms().set_alarm_names(Some(names.to_vec()));
            delete.send().await.map_err(LogsError::of("remove alarms"))?;
        }
        Ok(())
    }

    /// Metrics for a group whose events arrive as plain lines, as a log shipper sends an agent's standard output.
    pub async fn put_filters(&self, now: UnixMillis, nodes: usize) -> Result<Filters, LogsError> {
        let names = self.names_within_an_hour(now).await?.max(nodes);
        let filters = if names < MAX_NAMES { Filters::ByHostname } else { Filters::Whole(names) };
        for metric in METRICS {
            let transformation = MetricTransformation::builder()
                .metric_namespace(NAMESPACE)
                .metric_name(metric)
                .metric_value(format!("$.{metric}"));
            let transformation = match filters {
                Filters::ByHostname => transformation.dimensions("hostname", "$.hostname"),
                Filters::Whole(_) => transformation,
            };
            // It has all that is required.
            let transformation = transformation.build().map_err(|error| LogsError {
                operation: "create a metric filter",
                reason: error.to_string(),
                refused: false,
            })?;
            self.events
                .put_metric_filter()
                .log_group_name(&self.settings.group)
                .filter_name(filter_name(metric))
                .filter_pattern(format!("{{ $.{metric} = * }}"))
                .metric_transformations(transformation)
                .send()
                .await
                .map_err(LogsError::of("create a metric filter"))?;
        }
        Ok(filters)
    }

    /// Removes our metric filters from the group; those that are not there are no matter.
    pub async fn delete_filters(&self) -> Result<(), LogsError> {
        for metric in METRICS {
            let delete = self.events.delete_metric_filter().log_group_name(&self.settings.group);
            match delete.filter_name(filter_name(metric)).send().await {
                Ok(_) => {}
                Err(error) if error.code() == Some("ResourceNotFoundException") => {}
                Err(error) => return Err(LogsError::of("remove a metric filter")(error)),
            }
        }
        Ok(())
    }

    /// Streams with an event in the last hour: each is a node's name.
    async fn names_within_an_hour(&self, now: UnixMillis) -> Result<usize, LogsError> {
        let streams = self.events.describe_log_streams().log_group_name(&self.settings.group);
        let mut pages = streams.order_by(OrderBy::LastEventTime).descending(true).into_paginator().send();
        let mut names = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(LogsError::of("list log streams"))?;
            let hour_ago = now.saturating_sub(3_600_000) as i64;
            let recent = page.log_streams().iter().filter(|stream| {
                let last = stream.last_event_timestamp().max(stream.creation_time());
                last.is_some_and(|at| at >= hour_ago)
            });
            let recent = recent.count();
            names += recent;
            if recent < page.log_streams().len() || names >= MAX_NAMES {
                break;
            }
        }
        Ok(names)
    }
}

fn filter_name(metric: &str) -> String {
    format!("{ALARM_MARK}-{metric}")
}

/// An alarm of ours; `None` where somebody else has taken such a name.
fn read(alarm: &MetricAlarm, prefix: &str) -> Option<Alarm> {
    let name = alarm.alarm_name()?;
    alarm.alarm_description()?.strip_prefix(ALARM_MARK)?;
    let (scope, rest) = name.strip_prefix(prefix)?.split_once('/')?;
    let session = if scope == STANDING { None } else { Some(scope.parse().ok()?) };
    let kind = match rest.split_once('/') {
        Some(("silent", node)) => AlarmKind::Silent(node.into()),
        Some(("answer", code)) => AlarmKind::Answer(code.parse().ok()?),
        None if rest == "agent-errors" => AlarmKind::Errors,
        None if rest == "unexpected-ports" => AlarmKind::Unexpected,
        _ => return None,
    };
    let state = alarm.state_value().map_or("", aws_sdk_cloudwatch::types::StateValue::as_str).to_owned();
    Some(Alarm { name: name.to_owned(), session, kind, state })
}
