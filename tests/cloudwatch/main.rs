//! Reports on their way to CloudWatch, against moto: every event once and in order, alarms, history, agents by themselves.

mod agent;
mod alarms;
mod program;
mod refusals;
mod reports;
#[path = "../support/sample.rs"]
mod sample;
mod seen;
mod service;

use aws_config::SdkConfig;
use nodewatch_testing::bucket::{self, KEY, SECRET};
use nodewatch_tui::{
    logs::Logs,
    model::{LogsSettings, Way},
};

fn settings(endpoint: &str, group: &str) -> LogsSettings {
    LogsSettings {
        group: group.to_owned(),
        per_node: false,
        retention_days: 14,
        interval_seconds: 60,
        cluster: "test".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        way: Way::Grant,
        alarms: false,
        sns_topic: None,
        alarm_on: nodewatch_answers::Codes::default(),
    }
}

fn config() -> SdkConfig {
    bucket::config(KEY, SECRET)
}

fn logs(endpoint: &str, group: &str) -> Logs {
    Logs::with(settings(endpoint, group), config())
}

/// What CloudWatch Logs has, asked past any proxy.
fn client(endpoint: &str) -> aws_sdk_cloudwatchlogs::Client {
    let settings = aws_sdk_cloudwatchlogs::config::Builder::from(&config())
        .region(aws_config::Region::new("us-east-1"))
        .endpoint_url(endpoint);
    aws_sdk_cloudwatchlogs::Client::from_conf(settings.build())
}

/// Every message of a stream, in its order.
async fn messages(endpoint: &str, group: &str, stream: &str) -> Vec<String> {
    let client = client(endpoint);
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let get = client.get_log_events().log_group_name(group).log_stream_name(stream).start_from_head(true);
        let page = get.set_next_token(token.clone()).send().await.expect("the stream");
        found.extend(page.events().iter().map(|event| event.message().expect("a message").to_owned()));
        match page.next_forward_token() {
            Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
            _ => return found,
        }
    }
}
