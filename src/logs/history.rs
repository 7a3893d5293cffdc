//! Reports of the past, read back from CloudWatch Logs.
//!
//! Owns the query and its paging; time, node and port are filtered on the server.

use nodewatch_protocol::UnixMillis;
use serde_json::Value;

use super::{Logs, LogsError};
use crate::model::{PastQuery, PastReport};

/// The largest page that CloudWatch Logs gives.
const PAGE: i32 = 10_000;
/// Streams that one query may name.
const MAX_STREAMS: usize = 100;

impl Logs {
    /// Past reports, oldest first; of more than the limit the newest.
    pub async fn past(&self, query: &PastQuery) -> Result<Vec<PastReport>, LogsError> {
        let mut found: Vec<PastReport> = Vec::new();
        let settings = &self.settings;
        let groups: Vec<(String, Vec<String>)> = if settings.per_node && query.nodes.is_empty() {
            self.groups_below().await?.into_iter().map(|group| (group, Vec::new())).collect()
        } else if settings.per_node {
            let streams = query.nodes.iter().map(|node| settings.stream(node));
            streams.map(|stream| (stream.group, vec![stream.stream])).collect()
        } else {
            let streams: Vec<String> = query.nodes.iter().map(|node| settings.stream(node).stream).collect();
            let parts = streams.chunks(MAX_STREAMS).map(<[String]>::to_vec);
            let parts: Vec<Vec<String>> = if streams.is_empty() { vec![Vec::new()] } else { parts.collect() };
            parts.into_iter().map(|streams| (settings.group.clone(), streams)).collect()
        };
        for (group, streams) in groups {
            self.past_of(query, group, streams, &mut found).await?;
        }
        found.sort_by(|a, b| (a.at, &a.node).cmp(&(b.at, &b.node)));
        found.drain(..found.len().saturating_sub(query.limit));
        Ok(found)
    }

    async fn past_of(
        &self,
        query: &PastQuery,
        group: String,
        streams: Vec<String>,
        found: &mut Vec<PastReport>,
    ) -> Result<(), LogsError> {
        let pattern = match query.port {
            Some(key) => format!("{{ $.keys = \"* {} *\" }}", key.text()),
            None => "{ $.Heartbeat = 1 }".to_owned(),
        };
        let mut token: Option<String> = None;
        loop {
            let page = self
                .events
                .filter_log_events()
                .log_group_name(&group)
                .set_log_stream_names((!streams.is_empty()).then(|| streams.clone()))
                .start_time(query.since as i64)
                .filter_pattern(&pattern)
                .limit(PAGE)
                .set_next_token(token.clone())
                .send()
                .await
                .map_err(LogsError::of("read past reports"))?;
            let reports = page.events().iter().filter_map(|event| read(event.message()?, event.timestamp()?));
            // A server that does not know this pattern must not widen the answer.
            let meant = |report: &PastReport| {
                query.port.is_none_or(|key| report.ports.iter().any(|port| is_port(port, key.text().as_str())))
            };
            found.extend(reports.filter(meant));
            // Twice the limit is kept, so that a long history does not fill the memory.
            if found.len() > query.limit.saturating_mul(2) {
                found.sort_by_key(|report| report.at);
                found.drain(..found.len() - query.limit);
            }
            match page.next_token() {
                Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
                _ => return Ok(()),
            }
        }
    }

    async fn groups_below(&self) -> Result<Vec<String>, LogsError> {
        let mut found = Vec::new();
        let list = self.events.describe_log_groups().log_group_name_prefix(format!("{}/", self.settings.group));
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(LogsError::of("list log groups"))?;
            found.extend(page.log_groups().iter().filter_map(|group| group.log_group_name().map(str::to_owned)));
        }
        Ok(found)
    }
}

/// `tcp6 [::]:22` is `22/tcp`.
fn is_port(text: &str, key: &str) -> bool {
    let port = text.split('\t').next().and_then(|text| text.parse::<nodewatch_protocol::Port>().ok());
    port.is_some_and(|port| crate::model::PortKey::from(port).text() == key)
}

/// A report as it was sent; `None` where the event is somebody else's.
fn read(message: &str, at: i64) -> Option<PastReport> {
    let event: Value = serde_json::from_str(message).ok()?;
    let port = |port: &Value| {
        let protocol = port["protocol"].as_str()?;
        let address: std::net::IpAddr = port["address"].as_str()?.parse().ok()?;
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        let text = format!("{protocol} {}", std::net::SocketAddr::new(address, number));
        Some(match port["class"].as_str() {
            Some(class) => format!("{text}\t{class}"),
            None => text,
        })
    };
    Some(PastReport {
        at: at.max(0) as UnixMillis,
        node: event["hostname"].as_str()?.to_owned(),
        ports: event["ports"].as_array()?.iter().filter_map(port).collect(),
        excluded: event["excluded"].as_u64().unwrap_or(0),
        unexpected: event["UnexpectedPorts"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_report_is_passed_over_and_what_is_one_is_read() {
        for text in ["", "{}", "[]", "{\"hostname\": 7}", "{\"hostname\": \"n\"}", "\u{1b}"] {
            assert_eq!(read(text, 1), None, "{text}");
        }
        let text = r#"{"hostname": "n", "excluded": 2, "ports": [
            {"protocol": "tcp6", "address": "::", "port": 22, "class": "expected"},
            {"protocol": "tcp", "address": "what", "port": 22}, {"port": 99999999}]}"#;
        let report = read(text, 5).expect("a report");
        assert_eq!(report.ports, ["tcp6 [::]:22\texpected"]);
        assert_eq!((report.excluded, report.unexpected), (2, None));
        assert!(is_port(&report.ports[0], "22/tcp") && !is_port(&report.ports[0], "22/udp"));
    }
}
