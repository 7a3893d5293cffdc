//! The way of an agent's own reports to CloudWatch Logs: its credentials over its own connections.
//!
//! Owns the client. The role is narrowed to the one group that the plan names.

use std::{thread, time::Duration};

use aws_sdk_cloudwatchlogs::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
};
use nodewatch_cloudwatch::{Bounds, Reporter};
use nodewatch_protocol::ReportPlan;
use serde_json::json;
use tokio::sync::oneshot;

use super::aws;
pub(crate) use super::http::Http;

/// A call's time, its connection's included.
const CALL_WITHIN: Duration = Duration::from_secs(60);

/// A reporter on a thread of its own: the agent's connections block.
pub(crate) fn reporter(plan: &ReportPlan, bounds: Bounds, http: Http) -> Result<Reporter, String> {
    let (answer, client) = std::sync::mpsc::channel();
    let plan = plan.clone();
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(answer.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            let (ended, over) = oneshot::channel::<()>();
            let reporter = connect(&plan, http)
                .map(|client| (Reporter::new(client, bounds, tokio::runtime::Handle::current()), ended));
            if answer.send(reporter).is_ok() {
                // The sender lives as long as the program, or is dropped with an error.
                let _ = over.await;
            }
        });
    };
    thread::Builder::new().name("reports".to_owned()).spawn(work).map_err(|error| error.to_string())?;
    let (reporter, ended) = client.recv().map_err(|error| error.to_string())??;
    // The thread's runtime serves the reporter for as long as there is one.
    reporter.keep(Box::new(ended));
    Ok(reporter)
}

fn connect(plan: &ReportPlan, http: Http) -> Result<Client, String> {
    let policy = policy(&plan.group, &aws::partition(&plan.region));
    let config = aws::config(http.clone(), http, &plan.region, policy)?;
    let mut settings = aws_sdk_cloudwatchlogs::config::Builder::from(&config)
        // Back-off and the next try are the queue's.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CALL_WITHIN).build());
    if let Some(endpoint) = &plan.endpoint {
        settings = settings.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(settings.build()))
}

/// What is left of the role: writing to this group, looking whether an event is there, and seeing to it that the group forgets.
fn policy(group: &str, partition: &str) -> String {
    let group = format!("arn:{partition}:logs:*:*:log-group:{group}");
    let actions = [
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:GetLogEvents",
        "logs:ListTagsForResource",
        "logs:PutLogEvents",
        "logs:PutRetentionPolicy",
        "logs:TagResource",
    ];
    let statements = [
        json!({"Effect": "Allow", "Action": actions, "Resource": [group, format!("{group}:*")]}),
        // AWS narrows this one to no group; it tells names, retentions and classes.
        json!({"Effect": "Allow", "Action": ["logs:DescribeLogGroups"], "Resource": "*"}),
    ];
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_of_a_partition_and_of_one_group() {
        for name in ["aws", "aws-cn", "aws-us-gov"] {
            let policy: serde_json::Value = serde_json::from_str(&policy("g", name)).expect("JSON");
            let wanted = [format!("arn:{name}:logs:*:*:log-group:g"), format!("arn:{name}:logs:*:*:log-group:g:*")];
            assert_eq!(policy["Statement"][0]["Resource"], json!(wanted));
        }
    }
}
