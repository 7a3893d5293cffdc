//! CloudWatch from the laptop: reports to its Logs, reports of the past, alarms and metric filters.
//!
//! Owns every call to CloudWatch that is made with the laptop's credentials. Must not know the app, a screen or Kubernetes.

mod alarms;
mod check;
mod history;

use std::{collections::HashMap, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cloudwatchlogs::{
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
};
use nodewatch_cloudwatch::{Bounds, MANAGED_BY, Reporter};
use nodewatch_protocol::SESSION_LABEL;
use nodewatch_report::chain;

use crate::{
    base::aws_http,
    model::{Failure, LogsSettings, Notice, SessionId},
};

pub use alarms::{Filters, MAX_NAMES, Scope};
pub use check::asked;

/// A call's time, its retries included.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// CloudWatch did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {reason}")]
pub struct LogsError {
    operation: &'static str,
    reason: String,
    refused: bool,
}

impl LogsError {
    fn of<E: std::error::Error + ProvideErrorMetadata + 'static>(
        operation: &'static str,
    ) -> impl FnOnce(SdkError<E>) -> Self {
        move |error| {
            let refused = matches!(
                error.code(),
                Some(
                    "AccessDeniedException" | "AccessDenied" | "UnrecognizedClientException" | "ExpiredTokenException"
                )
            );
            Self { operation, reason: chain(&error), refused }
        }
    }

    /// For the user, as the reason why something was not done.
    pub fn notice(&self, headline: impl Into<String>) -> Notice {
        let (next_step, failure) = if self.refused {
            (
                "grant the rights in manifests/cloudwatch-policy.json, or choose another AWS_PROFILE",
                Failure::NotPermitted,
            )
        } else {
            ("check AWS_PROFILE, AWS_REGION and the log group name", Failure::Other)
        };
        Notice::error(headline, self.to_string(), next_step).of(failure)
    }
}

/// CloudWatch as this laptop reaches it.
#[derive(Debug, Clone)]
pub struct Logs {
    settings: LogsSettings,
    config: SdkConfig,
    events: aws_sdk_cloudwatchlogs::Client,
    metrics: aws_sdk_cloudwatch::Client,
}

impl Logs {
    /// Reads the environment and profiles; calls nobody.
    pub async fn open(settings: LogsSettings) -> Self {
        // The chain of credentials makes a large future.
        let config =
            Box::pin(aws_config::defaults(BehaviorVersion::latest()).http_client(aws_http::client()).load()).await;
        Self::with(settings, config)
    }

    /// The same with what somebody else has read.
    pub fn with(mut settings: LogsSettings, config: SdkConfig) -> Self {
        let region = config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        settings.region = Some(settings.region.unwrap_or(region));
        settings.endpoint = settings.endpoint.or_else(|| config.endpoint_url().map(str::to_owned));
        let region = settings.region.clone().map(aws_config::Region::new);
        let timeouts = TimeoutConfig::builder().operation_timeout(CALL_WITHIN).build();
        let mut logs = aws_sdk_cloudwatchlogs::config::Builder::from(&config)
            .region(region.clone())
            .timeout_config(timeouts.clone());
        let mut metrics = aws_sdk_cloudwatch::config::Builder::from(&config).region(region).timeout_config(timeouts);
        if let Some(endpoint) = &settings.endpoint {
            logs = logs.endpoint_url(endpoint);
            metrics = metrics.endpoint_url(endpoint);
        }
        Self {
            settings,
            events: aws_sdk_cloudwatchlogs::Client::from_conf(logs.build()),
            metrics: aws_sdk_cloudwatch::Client::from_conf(metrics.build()),
            config,
        }
    }

    /// What it was opened with, and what was found out.
    pub fn settings(&self) -> &LogsSettings {
        &self.settings
    }

    /// Sends a session's reports, on the current runtime.
    pub fn reporter(&self, session: &SessionId) -> Reporter {
        self.reporter_within(session, &Bounds::default())
    }

    /// The same with other bounds.
    pub fn reporter_within(&self, session: &SessionId, bounds: &Bounds) -> Reporter {
        let mut settings = aws_sdk_cloudwatchlogs::config::Builder::from(&self.config)
            .region(self.settings.region.clone().map(aws_config::Region::new))
            // Back-off and the next try are the queue's.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_WITHIN).build());
        if let Some(endpoint) = &self.settings.endpoint {
            settings = settings.endpoint_url(endpoint);
        }
        let (key, value) = MANAGED_BY;
        let tags = HashMap::from([(key.to_owned(), value.to_owned()), (SESSION_LABEL.to_owned(), session.to_string())]);
        let bounds = Bounds { retention_days: self.settings.retention_days, tags, ..bounds.clone() };
        let client = aws_sdk_cloudwatchlogs::Client::from_conf(settings.build());
        Reporter::new(client, bounds, tokio::runtime::Handle::current())
    }

    /// Removes log groups with all that is in them. One that cannot be removed keeps no other.
    pub async fn remove_groups(&self, groups: &[String]) -> Result<(), LogsError> {
        let mut outcome = Ok(());
        for group in groups {
            match self.events.delete_log_group().log_group_name(group).send().await {
                Ok(_) => {}
                Err(error) if error.code() == Some("ResourceNotFoundException") => {}
                Err(error) => {
                    let mut error = LogsError::of("remove a log group")(error);
                    if self.is_protected(group).await {
                        error.reason = format!(
                            "log group {group} has deletion protection: disable it with aws logs \
                             put-log-group-deletion-protection --log-group-identifier {group} \
                             --no-deletion-protection-enabled"
                        );
                    }
                    outcome = outcome.and(Err(error));
                }
            }
        }
        outcome
    }

    async fn is_protected(&self, name: &str) -> bool {
        let found = self.events.describe_log_groups().log_group_name_prefix(name).send().await;
        let protected = |group: &aws_sdk_cloudwatchlogs::types::LogGroup| {
            group.log_group_name() == Some(name) && group.deletion_protection_enabled() == Some(true)
        };
        found.is_ok_and(|found| found.log_groups().iter().any(protected))
    }

    /// Groups that this session has made, by their tag, below the settings' group.
    pub async fn groups_of(&self, session: &SessionId) -> Result<Vec<String>, LogsError> {
        let mut found = Vec::new();
        let list = self.events.describe_log_groups().log_group_name_prefix(&self.settings.group);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(LogsError::of("list log groups"))?;
            for group in page.log_groups() {
                let (Some(name), Some(arn)) = (group.log_group_name(), group.arn()) else { continue };
                let ours = name == self.settings.group || name.starts_with(&format!("{}/", self.settings.group));
                if !ours {
                    continue;
                }
                // This form of the name ends in `:*`, which tags are not asked with.
                let tags = self.events.list_tags_for_resource().resource_arn(arn.trim_end_matches(":*")).send().await;
                let tags = tags.map_err(LogsError::of("read the tags of a log group"))?;
                let session_tag = tags.tags().and_then(|tags| tags.get(SESSION_LABEL));
                if session_tag.map(String::as_str) == Some(session.as_str()) {
                    found.push(name.to_owned());
                }
            }
        }
        Ok(found)
    }
}
