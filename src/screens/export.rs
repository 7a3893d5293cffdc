//! The screen's rows as a table to save or copy.
//!
//! Owns columns and values of what is saved, which are exact and not what fits. Pure.

use nodewatch_protocol::Tunnel;
use serde_json::{Map, Value};

use super::{
    App, Screen, View,
    answers::AnswerRow,
    node::rows::{Row, endpoint, transport},
    signals::standing,
};
use crate::{
    base::text,
    model::{ListedPort, NodeName, Notice},
    session::{
        Effect,
        files::FileRow,
        node::{
            NodeState, SignalState,
            watch::{PairKey, PairState, Took},
        },
    },
};

/// Rows with a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it is of, for the file's name.
    pub name: &'static str,
    /// The columns' names.
    pub head: Vec<&'static str>,
    /// A row's values, one a column.
    pub rows: Vec<Vec<String>>,
}

/// The columns of what was seen between pairs of ends; times are in microseconds.
const PAIR_HEAD: [&str; 24] = [
    "node",
    "source",
    "source_name",
    "destination",
    "destination_name",
    "port",
    "service",
    "interface",
    "role",
    "tunnel",
    "attempts_last_minute",
    "failed_last_minute",
    "attempts",
    "answered",
    "failed",
    "delayed",
    "segments",
    "retransmitted",
    "answer_p50_us",
    "answer_p99_us",
    "round_trip_p50_us",
    "round_trip_p99_us",
    "last_seen",
    "symptoms",
];

/// Forms of a saved table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableForm {
    /// RFC 4180.
    Csv,
    /// One JSON object a line.
    Json,
}

impl Table {
    /// The table as a file's contents.
    pub fn contents(&self, form: TableForm) -> String {
        match form {
            TableForm::Json => self.rows.iter().fold(String::new(), |lines, row| {
                let fields = self.head.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone().into()));
                let line = text::json_line(&Value::Object(fields.collect::<Map<_, _>>()));
                format!("{lines}{line}\n")
            }),
            TableForm::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                // Writing to memory does not fail, and every row is as long as the head.
                let _ = writer.write_record(&self.head);
                for row in &self.rows {
                    let _ = writer.write_record(row.iter().map(|value| harmless(value)));
                }
                String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
            }
        }
    }
}

/// Spreadsheets take a value that begins like a formula for one, and terminals control characters for commands.
fn harmless(value: &str) -> String {
    let value = text::visible(value);
    if value.starts_with(['=', '+', '-', '@']) { format!("'{value}") } else { value }
}

impl App {
    /// What the screen shows, row by row.
    pub fn table(&self) -> Table {
        match &self.screen {
            Screen::Nodes => self.nodes_table(),
            Screen::Node(_) => self.current().map_or_else(|| self.nodes_table(), |state| self.node_table(state)),
            Screen::Files => self.files_table(),
            Screen::Ports => self.ports_table(),
            Screen::Pods => self.pods_table(),
            Screen::Signals => self.signals_table(),
            Screen::Connections => {
                let rows = self.connections.rows.iter();
                self.table_of_pairs(rows.filter_map(|row| Some((&row.node, &row.key, self.pair(&row.node, &row.key)?))))
            }
            Screen::Answers => self.answers_table(),
            Screen::Tail => {
                Table { name: "tail", head: vec!["time", "node", "interface", "packet"], rows: self.tail_rows() }
            }
            Screen::Events => Table {
                name: "events",
                head: vec!["time", "node", "event"],
                rows: self
                    .event_rows()
                    .into_iter()
                    .map(|row| vec![text::rfc3339(self.session.wall(row.at)), row.node.to_owned(), row.text])
                    .collect(),
            },
        }
    }

    fn pods_table(&self) -> Table {
        let row = |row: super::pods::PodRow<'_>| {
            let pod = row.pod;
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            let restarts = pod.restarts.map_or_else(String::new, |count| count.to_string());
            vec![pod.name.clone(), pod.node.0.clone(), addresses.join(" "), pod.phase.clone(), restarts]
        };
        let head = vec!["pod", "node", "addresses", "phase", "restarts"];
        Table { name: "pods", head, rows: self.pod_rows().into_iter().map(row).collect() }
    }

    fn tail_rows(&self) -> Vec<Vec<String>> {
        let node = self.tail.node.as_ref().map_or("", |node| node.0.as_str());
        let row = |line: &crate::model::TailLine| {
            let millis = line.nanos / 1_000_000;
            let time = format!("{}.{:03}", text::rfc3339(millis).trim_end_matches('Z'), millis % 1000);
            vec![format!("{time}Z"), node.to_owned(), line.interface.clone(), line.text.clone()]
        };
        self.tail_lines().into_iter().map(row).collect()
    }

    fn nodes_table(&self) -> Table {
        let row = |state: &NodeState| {
            let node = &state.node;
            let rates = state.rates();
            let dropped = state.counts.latest.as_ref().map(|it| it.dropped).unwrap_or_default();
            let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
            vec![
                node.name.0.clone(),
                node.status(),
                node.zone.clone().unwrap_or_default(),
                node.instance_type.clone().unwrap_or_default(),
                addresses.join(" "),
                node.version.clone().unwrap_or_default(),
                state.agent_word().to_owned(),
                if state.ports.known { state.open_ports().count().to_string() } else { String::new() },
                rates.packets.to_string(),
                (rates.bytes * 8).to_string(),
                dropped.kernel.to_string(),
                dropped.interface.to_string(),
                dropped.queue.to_string(),
            ]
        };
        Table {
            name: "nodes",
            head: vec![
                "node",
                "status",
                "zone",
                "type",
                "addresses",
                "version",
                "agent",
                "ports",
                "packets_per_second",
                "bits_per_second",
                "dropped_kernel",
                "dropped_interface",
                "dropped_queue",
            ],
            rows: self.shown().map(row).collect(),
        }
    }

    /// The view in front of one node.
    fn node_table(&self, state: &NodeState) -> Table {
        let name = &state.node.name;
        let rows = self.node_rows(state);
        match self.view {
            View::Ports => {
                let listed = rows.iter().filter_map(|row| match row {
                    Row::Port(listed) => Some((name, *listed)),
                    _ => None,
                });
                self.table_of_ports(listed)
            }
            View::Files => self.table_of_files(rows.into_iter().filter_map(|row| match row {
                Row::File(row) => Some(row),
                _ => None,
            })),
            View::Flows => Table {
                name: "flows",
                head: vec!["node", "protocol", "tunnel", "from", "to", "packets", "bytes"],
                rows: rows
                    .iter()
                    .filter_map(|row| match row {
                        Row::Flow(flow) => Some(vec![
                            name.0.clone(),
                            transport(flow.transport),
                            flow.tunnel.map_or("", Tunnel::name).to_owned(),
                            endpoint(&flow.from),
                            endpoint(&flow.to),
                            flow.share.packets.to_string(),
                            flow.share.bytes.to_string(),
                        ]),
                        _ => None,
                    })
                    .collect(),
            },
            View::Signals => {
                let series = rows.iter().filter_map(|row| match row {
                    Row::Signal(series) => Some((state, *series)),
                    _ => None,
                });
                self.table_of_signals(series)
            }
            View::Connections => self.table_of_pairs(rows.iter().filter_map(|row| match row {
                Row::Pair(key, pair, _) => Some((name, *key, *pair)),
                _ => None,
            })),
            View::Capture | View::Events => {
                Table { name: "events", head: vec!["time", "node", "event"], rows: self.node_events(state) }
            }
        }
    }

    fn files_table(&self) -> Table {
        self.table_of_files(self.file_rows().into_iter())
    }

    fn table_of_files<'a>(&self, rows: impl Iterator<Item = FileRow<'a>>) -> Table {
        let row = |row: FileRow<'_>| {
            let dropped = row.on_node.map(|file| file.dropped).unwrap_or_default();
            vec![
                row.key.session.clone().unwrap_or_else(|| self.session.terms.id.to_string()),
                row.key.node.clone(),
                row.key.name.clone(),
                row.on_node.map_or_else(String::new, |file| file.packets.to_string()),
                row.size().to_string(),
                dropped.kernel.to_string(),
                dropped.interface.to_string(),
                dropped.queue.to_string(),
                row.place().word().to_owned(),
                row.sha256().unwrap_or_default().to_owned(),
            ]
        };
        Table {
            name: "files",
            head: vec![
                "session",
                "node",
                "file",
                "packets",
                "bytes",
                "dropped_kernel",
                "dropped_interface",
                "dropped_queue",
                "place",
                "sha256",
            ],
            rows: rows.map(row).collect(),
        }
    }

    fn ports_table(&self) -> Table {
        self.table_of_ports(self.ports.rows.iter().filter_map(|row| self.ports.listed(*row)))
    }

    fn table_of_ports<'a>(&self, rows: impl Iterator<Item = (&'a NodeName, &'a ListedPort)>) -> Table {
        let row = |(name, listed): (&NodeName, &ListedPort)| {
            vec![
                name.0.clone(),
                listed.port.protocol_name().to_owned(),
                if listed.socket { listed.port.address() } else { String::new() },
                listed.port.local.port().to_string(),
                if listed.socket { listed.port.scope().word().to_owned() } else { String::new() },
                listed.class.word().to_owned(),
                listed.why.to_string(),
                listed.owner.to_string(),
                if listed.socket { text::rfc3339(self.session.wall(listed.since)) } else { String::new() },
            ]
        };
        Table {
            name: "ports",
            head: vec!["node", "protocol", "address", "port", "scope", "class", "why", "owner", "since"],
            rows: rows.map(row).collect(),
        }
    }

    /// What the screen shows of every node.
    fn signals_table(&self) -> Table {
        let nodes = &self.session.nodes;
        let of_row = self.signals.rows.iter().flat_map(|row| {
            nodes.values().flat_map(move |state| {
                let own = state.seen.signals.series.values().filter(|series| series.signal == row.signal);
                own.map(move |series| (state, series))
            })
        });
        self.table_of_signals(of_row)
    }

    fn table_of_signals<'a>(&self, series: impl Iterator<Item = (&'a NodeState, &'a SignalState)>) -> Table {
        let now = self.session.now;
        let row = |(state, series): (&NodeState, &SignalState)| {
            let (info, counter) = (series.info(), series.info().is_counter());
            let only = |number: u64| if counter { number.to_string() } else { String::new() };
            vec![
                state.node.name.0.clone(),
                info.name.to_owned(),
                series.item.clone(),
                series.value.to_string(),
                only(series.moved(now)),
                only(series.total),
                info.unit.to_owned(),
                if standing(state, series, now).out { "yes" } else { "no" }.to_owned(),
                info.normal.to_string(),
            ]
        };
        Table {
            name: "signals",
            head: vec!["node", "signal", "item", "value", "last_minute", "total", "unit", "out_of_normal", "normal_is"],
            rows: series.map(row).collect(),
        }
    }

    fn table_of_pairs<'a>(&self, pairs: impl Iterator<Item = (&'a NodeName, &'a PairKey, &'a PairState)>) -> Table {
        let now = self.session.now;
        let took = |took: Option<Took>, of: fn(Took) -> u64| took.map_or_else(String::new, |it| of(it).to_string());
        let row = |(node, key, pair): (&NodeName, &PairKey, &PairState)| {
            let (recent, all) = (pair.recent(now), &pair.all);
            let symptoms: Vec<String> = pair
                .symptoms
                .iter()
                .map(|(symptom, [there, back])| format!("{} {}", symptom.name(), there.saturating_add(*back)))
                .collect();
            let name = |address| self.connections.name_of(address).unwrap_or_default().to_owned();
            vec![
                node.0.clone(),
                key.source.to_string(),
                name(key.source),
                key.destination.to_string(),
                name(key.destination),
                key.port.to_string(),
                key.service.name().to_owned(),
                key.interface.to_string(),
                key.role.word().to_owned(),
                key.tunnel.map_or("", Tunnel::name).to_owned(),
                recent.attempts.to_string(),
                recent.failed.to_string(),
                all.attempts.to_string(),
                all.answered.to_string(),
                all.failed.to_string(),
                all.delayed.to_string(),
                all.segments.to_string(),
                all.retransmitted.to_string(),
                took(pair.answers, |took| took.p50),
                took(pair.answers, |took| took.p99),
                took(pair.round_trips, |took| took.p50),
                took(pair.round_trips, |took| took.p99),
                text::rfc3339(self.session.wall(pair.last)),
                symptoms.join(", "),
            ]
        };
        Table { name: "connections", head: PAIR_HEAD.to_vec(), rows: pairs.map(row).collect() }
    }

    fn answers_table(&self) -> Table {
        let time = text::rfc3339;
        let row = |answer: &nodewatch_answers::Answer| {
            vec![
                answer.certainty.word().to_owned(),
                answer.code_text().to_owned(),
                answer.text.clone(),
                answer.place.text(),
                time(answer.since),
                answer.until.map_or_else(String::new, time),
                answer.failed.to_string(),
                answer.of.to_string(),
                answer.in_all.to_string(),
                answer.next.first().cloned().unwrap_or_default(),
                answer.filter(),
            ]
        };
        let head =
            vec!["certainty", "code", "text", "place", "since", "until", "failed", "of", "in_all", "next", "filter"];
        let rows = self.answer_rows().into_iter().filter_map(|shown| match shown {
            AnswerRow::Answer(answer, _) => Some(row(answer)),
            AnswerRow::Part { .. } | AnswerRow::Silenced(..) => None,
        });
        Table { name: "answers", head, rows: rows.collect() }
    }

    fn node_events(&self, state: &NodeState) -> Vec<Vec<String>> {
        let name = &state.node.name.0;
        let events = state.log.events.iter();
        events.map(|event| vec![text::rfc3339(self.session.wall(event.at)), name.clone(), event.text.clone()]).collect()
    }

    /// Saves the screen's table under that name, or one of its own.
    pub(super) fn save_table(&mut self, name: Option<&str>) -> Vec<Effect> {
        let table = self.table();
        if table.rows.is_empty() {
            self.session.notify(Notice::warning("nothing was saved", "the table is empty", ""));
            return Vec::new();
        }
        let own =
            format!("{}-{}.csv", table.name, text::time_of_day(self.session.wall(self.session.now)).replace(':', ""));
        let name = name.map_or(own, str::to_owned);
        let ending = std::path::Path::new(&name).extension().unwrap_or_default().to_ascii_lowercase();
        let form = match ending.to_str() {
            Some("json") => TableForm::Json,
            Some("csv") => TableForm::Csv,
            _ => {
                let cause = format!("{name:?} ends in neither .csv nor .json");
                self.session.notify(Notice::error("nothing was saved", cause, "name it FILE.csv or FILE.json"));
                return Vec::new();
            }
        };
        vec![Effect::Save { name, contents: table.contents(form), rows: table.rows.len() }]
    }

    /// Copies what the cursor is on.
    pub(super) fn copy_row(&mut self) -> Vec<Effect> {
        let copied: Vec<String> = match &self.screen {
            Screen::Node(name) => vec![self.node_row_text().unwrap_or_else(|| name.0.clone())],
            Screen::Nodes => self.targets().into_iter().map(|name| name.0).collect(),
            Screen::Ports => {
                let port = self
                    .port_under_cursor()
                    .map(|(name, key)| name.map_or_else(|| key.to_string(), |name| format!("{} {key}", name.0)));
                port.into_iter().collect()
            }
            Screen::Events => {
                let row = self.event_under_cursor();
                row.map(|row| format!("{} {} {}", text::rfc3339(self.session.wall(row.at)), row.node, row.text))
                    .into_iter()
                    .collect()
            }
            Screen::Pods => self.pod_under_cursor().map(|row| row.pod.name.clone()).into_iter().collect(),
            Screen::Signals => self.signal_text().into_iter().collect(),
            Screen::Connections => self.connection_text().into_iter().collect(),
            Screen::Answers => self.answer_text().into_iter().collect(),
            // The newest that is shown.
            Screen::Tail => {
                let lines = self.tail_lines();
                let at = lines.len().saturating_sub(self.tail.up + 1);
                lines.get(at).map(|line| line.text.clone()).into_iter().collect()
            }
            Screen::Files => Vec::new(),
        };
        if copied.is_empty() {
            self.session.notify(Notice::warning("nothing was copied", "nothing selected", ""));
            return Vec::new();
        }
        self.session.notify(Notice::info(format!("copied {}", copied.join(" "))).as_answer());
        vec![Effect::copy(copied.iter().map(String::as_str))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_a_cluster_are_no_formulas_and_no_commands() {
        let table = Table {
            name: "nodes",
            head: vec!["node", "note"],
            rows: vec![vec!["=1+1".into(), "a,\"b\"\u{1b}[2J".into()]],
        };
        assert_eq!(table.contents(TableForm::Csv), "node,note\n'=1+1,\"a,\"\"b\"\"\\u{1b}[2J\"\n");
        let json = table.contents(TableForm::Json);
        assert!(json.contains("\"=1+1\"") && json.ends_with("}\n") && !json.contains('\u{1b}'), "{json}");
    }
}
