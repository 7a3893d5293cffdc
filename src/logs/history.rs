//! Reports of the past, read back from CloudWatch Logs.
//!
//! Owns the query, its paging, and how events become reports again: one that was sent in parts is put together, one that was
//! sent twice is one. Time, node and port are filtered on the server.

use std::collections::BTreeMap;

use nodewatch_ports::{PortClass, PortFields};
use nodewatch_protocol::UnixMillis;
use serde::Deserialize;
use serde_json::Value;

use super::{Logs, LogsError};
use crate::model::{PastPort, PastQuery, PastReport, PortKey};

/// The largest page that CloudWatch Logs gives.
const PAGE: i32 = 10_000;
/// Streams that one query may name.
const MAX_STREAMS: usize = 100;
/// Ports of all reports together that are kept: beyond it the oldest reports go, as with too many reports.
const MOST_PORTS: usize = 4_000_000;

impl Logs {
    /// Past reports, oldest first; of more than the limit the newest.
    pub async fn past(&self, query: &PastQuery) -> Result<Vec<PastReport>, LogsError> {
        let mut found = Found::default();
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
        Ok(found.reports(query))
    }

    async fn past_of(
        &self,
        query: &PastQuery,
        group: String,
        streams: Vec<String>,
        found: &mut Found,
    ) -> Result<(), LogsError> {
        // Of a report in parts all of them are wanted: whether a port was there only the whole can say.
        let pattern = match query.port {
            Some(key) => format!("{{ ($.keys = \"* {key} *\") || ($.parts > 1) }}"),
            None => "{ ($.Heartbeat = 1) || ($.parts > 1) }".to_owned(),
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
            for event in page.events() {
                if let (Some(message), Some(at)) = (event.message(), event.timestamp()) {
                    found.add(message, at);
                }
            }
            // More than the limit is kept, so that parts which are still to come find theirs.
            found.shrink(query.limit.saturating_mul(2));
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

/// Which report an event is of: by time first, then node, session and sequence.
type Key = (UnixMillis, String, String, u64);

/// A report, as far as its parts have come.
#[derive(Debug, Default)]
struct Gathered {
    parts: BTreeMap<u64, Piece>,
    of: u64,
}

#[derive(Debug)]
struct Piece {
    ports: Vec<PastPort>,
    /// As the event has them, for filters.
    keys: String,
    /// Ports that an event of old has left out.
    omitted: u64,
    excluded: u64,
    unexpected: Option<u64>,
}

#[derive(Debug, Default)]
struct Found {
    reports: BTreeMap<Key, Gathered>,
    ports: usize,
    cut: bool,
}

impl Found {
    /// An event; one that is somebody else's is passed over, one that was there before is no second report.
    fn add(&mut self, message: &str, at: i64) {
        let Some((key, number, of, piece)) = read(message, at) else { return };
        self.ports += piece.ports.len();
        let gathered = self.reports.entry(key).or_default();
        gathered.of = gathered.of.max(of);
        if let Some(before) = gathered.parts.insert(number, piece) {
            self.ports -= before.ports.len();
        }
    }

    /// The oldest go where there are more reports than that, or too much in them. One always stays.
    fn shrink(&mut self, limit: usize) {
        while self.reports.len() > limit.max(1) || (self.ports > MOST_PORTS && self.reports.len() > 1) {
            let Some((_, gone)) = self.reports.pop_first() else { return };
            self.ports -= gone.ports();
            self.cut = true;
        }
    }

    fn reports(mut self, query: &PastQuery) -> Vec<PastReport> {
        // A server that does not know the pattern must not widen the answer.
        if let Some(key) = query.port {
            self.reports.retain(|_, gathered| gathered.has(key));
        }
        self.ports = self.reports.values().map(Gathered::ports).sum();
        self.shrink(query.limit);
        let reports = self.reports.into_iter().map(|((at, node, ..), gathered)| gathered.report(at, node));
        let mut reports: Vec<PastReport> = reports.collect();
        if let Some(oldest) = reports.first_mut() {
            oldest.older_left_out = self.cut;
        }
        reports
    }
}

impl Gathered {
    fn ports(&self) -> usize {
        self.parts.values().map(|piece| piece.ports.len()).sum()
    }

    fn has(&self, key: PortKey) -> bool {
        let padded = format!(" {key} ");
        let listed = |piece: &Piece| piece.ports.iter().any(|past| PortKey::from(past.port) == key);
        self.parts.values().any(|piece| piece.keys.contains(&padded) || listed(piece))
    }

    fn report(self, at: UnixMillis, node: String) -> PastReport {
        let there = self.parts.len() as u64;
        let omitted: u64 = self.parts.values().map(|piece| piece.omitted).fold(0, u64::saturating_add);
        let incomplete = if there < self.of {
            Some(format!("{there} of {} parts found", self.of))
        } else {
            (omitted > 0).then(|| format!("{omitted} ports omitted"))
        };
        let excluded = self.parts.values().map(|piece| piece.excluded).fold(0, u64::saturating_add);
        let unexpected = self.parts.values().find_map(|piece| piece.unexpected);
        let ports = self.parts.into_values().flat_map(|piece| piece.ports).collect();
        PastReport { at, node, ports, excluded, unexpected, incomplete, older_left_out: false }
    }
}

/// An event of a report: which report, which part of how many, and what is in it. `None` where it is somebody else's.
fn read(message: &str, at: i64) -> Option<(Key, u64, u64, Piece)> {
    let event: Value = serde_json::from_str(message).ok()?;
    let node = event["hostname"].as_str()?.to_owned();
    let ports = event["ports"].as_array()?.iter().filter_map(port).collect();
    let number = event["part"].as_u64().unwrap_or(1);
    let of = event["parts"].as_u64().unwrap_or(1);
    if number == 0 || number > of {
        return None;
    }
    let at = event["at"].as_u64().unwrap_or(at.max(0) as UnixMillis);
    let session = event["session"].as_str().unwrap_or_default().to_owned();
    let sequence = event["sequence"].as_u64().unwrap_or(0);
    let piece = Piece {
        ports,
        keys: event["keys"].as_str().unwrap_or_default().to_owned(),
        omitted: event["ports_omitted"].as_u64().unwrap_or(0),
        excluded: event["excluded"].as_u64().unwrap_or(0),
        unexpected: event["UnexpectedPorts"].as_u64(),
    };
    Some(((at, node, session, sequence), number, of, piece))
}

/// A port of an event; `None` where that is none.
fn port(value: &Value) -> Option<PastPort> {
    let port = PortFields::deserialize(value).ok()?.port()?;
    Some(PastPort { port, class: value["class"].as_str().map_or(PortClass::Unknown, PortClass::named) })
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::PortProtocol;
    use nodewatch_report::{Report, ReportedPort};

    use super::*;

    fn query(port: Option<PortKey>, limit: usize) -> PastQuery {
        PastQuery { nodes: Vec::new(), port, since: 0, limit }
    }

    fn tcp(port: u16) -> PortKey {
        PortKey { port, protocol: PortProtocol::Tcp }
    }

    /// What a reporter sends of so many ports.
    fn sent(at: UnixMillis, sequence: u64, count: u32) -> Vec<String> {
        let port = |number: u32| {
            let text = format!("tcp 127.{}.0.1:{}", number / 65_000, number % 65_000 + 1);
            ReportedPort { port: text.parse().expect("a port"), first_seen: 1, class: PortClass::Expected }
        };
        let report = Report {
            at,
            hostname: "n",
            cluster: "c",
            session: "7f3a91c2",
            sequence,
            ports: (0..count).map(port).collect(),
            excluded: 2,
            unexpected: Some(1),
            agent_errors: 0,
            seen: nodewatch_report::Seen::default(),
        };
        report.event().parts
    }

    #[test]
    fn what_is_no_report_is_passed_over_and_what_is_one_is_read() {
        let mut found = Found::default();
        for text in ["", "{}", "[]", "{\"hostname\": 7}", "{\"hostname\": \"n\"}", "\u{1b}"] {
            found.add(text, 1);
        }
        for part in ["\"part\": 0, \"parts\": 2", "\"part\": 3, \"parts\": 2", "\"part\": 9"] {
            found.add(&format!("{{\"hostname\": \"n\", \"ports\": [], {part}}}"), 1);
        }
        assert!(found.reports.is_empty(), "{found:?}");
        let text = r#"{"hostname": "n", "excluded": 2, "ports": [
            {"protocol": "tcp6", "address": "::", "port": 22, "class": "expected"},
            {"protocol": "tcp", "address": "what", "port": 22}, {"port": 99999999}]}"#;
        found.add(text, 5);
        let reports = found.reports(&query(None, 9));
        let port = "tcp6 *:22".parse().expect("a port");
        assert_eq!(reports[0].ports, [PastPort { port, class: PortClass::Expected }]);
        assert_eq!((reports[0].at, reports[0].excluded, reports[0].unexpected), (5, 2, None));
        assert_eq!(reports[0].incomplete, None);
    }

    #[test]
    fn a_report_in_parts_is_put_together_in_whatever_order_and_however_often_they_come() {
        let parts = sent(7, 1, 20_000);
        assert!(parts.len() > 2);
        let mut found = Found::default();
        for part in parts.iter().rev().chain(&parts) {
            found.add(part, 7);
        }
        let reports = found.reports(&query(None, 9));
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].ports.len(), &reports[0].incomplete), (20_000, &None));
        assert_eq!((reports[0].excluded, reports[0].unexpected), (2, Some(1)), "counted once");
        // A shipper that gives every line a time of its own.
        let mut found = Found::default();
        for (index, part) in parts.iter().enumerate() {
            found.add(part, 100 + index as i64);
        }
        assert_eq!(found.reports(&query(None, 9)).len(), 1);
    }

    #[test]
    fn one_of_which_a_part_is_missing_says_so() {
        let mut found = Found::default();
        let parts = sent(7, 1, 20_000);
        for part in &parts[..parts.len() - 1] {
            found.add(part, 7);
        }
        found.add(&sent(8, 2, 3)[0], 8);
        let reports = found.reports(&query(None, 9));
        let why = reports[0].incomplete.clone().expect("told");
        assert_eq!(why, format!("{} of {} parts found", parts.len() - 1, parts.len()));
        assert_eq!(reports[1].incomplete, None);
    }

    #[test]
    fn a_port_is_found_in_whatever_part_it_is_and_in_events_of_old_by_their_keys() {
        let mut found = Found::default();
        for part in sent(7, 1, 20_000) {
            found.add(&part, 7);
        }
        for part in sent(9, 2, 30) {
            found.add(&part, 9);
        }
        let cut = r#"{"hostname": "n", "ports": [], "keys": " 15000/tcp 22/tcp ", "ports_omitted": 2, "sequence": 3}"#;
        found.add(cut, 10);
        let reports = found.reports(&query(Some(tcp(15_000)), 9));
        assert_eq!(reports.iter().map(|report| report.at).collect::<Vec<_>>(), [7, 10]);
        assert_eq!(reports[0].ports.len(), 20_000, "the whole report");
        assert_eq!(reports[1].incomplete.as_deref(), Some("2 ports omitted"));
    }

    #[test]
    fn the_newest_stay_where_there_are_too_many() {
        let mut found = Found::default();
        for at in 0..50 {
            found.add(&sent(at, at, 1)[0], at as i64);
            found.shrink(10);
        }
        let reports = found.reports(&query(None, 5));
        assert_eq!(reports.iter().map(|report| report.at).collect::<Vec<_>>(), [45, 46, 47, 48, 49]);
        assert!(reports[0].older_left_out && !reports[1].older_left_out, "and that others are not there is said");
    }
}
