//! The node list's filter: `regex`, `!regex`, `-l SELECTOR`, `field:value`.
//!
//! Owns the little language. Pure.

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr};

use regex::{Regex, RegexBuilder};

use super::node::{Agent, NodeState};
use crate::model::{NodeName, Selector, Workloads};

/// A filter that has been read.
#[derive(Debug, Clone, Default)]
pub enum Filter {
    /// Shows everything.
    #[default]
    All,
    /// Name, zone, type, status or agent matches.
    Matches(Regex),
    /// None of these matches.
    MatchesNot(Regex),
    /// Its labels are so.
    Labels(Selector),
    /// One column contains that text.
    Field(Field, String),
    /// A pod or a service of that name leads to it, or that address is its own or leads to it.
    Leads(Lead),
}

/// What leads to nodes, and is looked for among pods and services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// A pod, by a part of `NAMESPACE/NAME`.
    Pod(String),
    /// A service, by the same.
    Service(String),
    /// An address of a node, a pod or a service.
    Address(IpAddr),
}

impl Lead {
    /// The nodes that it leads to, but for a node's own address.
    pub fn nodes(&self, workloads: &Workloads) -> BTreeSet<NodeName> {
        match self {
            Self::Pod(name) => workloads.with_pod(name),
            Self::Service(name) => workloads.of_service(name),
            Self::Address(address) => workloads.at(*address),
        }
    }
}

/// `field:value` where the field is a word: a regular expression that means a colon writes `[:]`. The rest of addresses and
/// paths begins otherwise.
pub fn field_of(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    let word = name.len() > 1 && name.trim().bytes().all(|byte| byte.is_ascii_lowercase());
    (word && !value.starts_with(':')).then(|| (name.trim(), value.trim()))
}

/// That there is no such field.
pub fn unknown_field<'a>(name: &str, fields: impl IntoIterator<Item = &'a str>) -> String {
    let known = fields.into_iter().map(|field| format!("{field}:")).collect::<Vec<_>>().join(" ");
    if known.is_empty() {
        return format!("unknown field {name:?}: rows here have none; write [:] for a colon");
    }
    format!("unknown field {name:?}; available: {known}")
}

/// A filter of rows that are texts by field.
#[derive(Debug, Clone, Default)]
pub enum TextFilter {
    /// Shows everything.
    #[default]
    All,
    /// A field matches.
    Matches(Regex),
    /// None does.
    MatchesNot(Regex),
    /// This field contains that text, in any case.
    Field(&'static str, String),
}

impl TextFilter {
    /// Reads a filter for rows with these fields; the error names what is wrong with it.
    pub fn parse(text: &str, fields: &[&'static str]) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::All);
        }
        if let Some((name, value)) = field_of(text) {
            let field = fields.iter().find(|field| **field == name);
            let field = field.ok_or_else(|| unknown_field(name, fields.iter().copied()))?;
            return Ok(Self::Field(field, value.to_lowercase()));
        }
        match text.strip_prefix('!') {
            Some(rest) => Ok(Self::MatchesNot(regex(rest)?)),
            None => Ok(Self::Matches(regex(text)?)),
        }
    }

    /// Whether a row with these fields is shown.
    pub fn shows(&self, row: &[(&str, &str)]) -> bool {
        let any = |regex: &Regex| row.iter().any(|(_, text)| regex.is_match(text));
        match self {
            Self::All => true,
            Self::Matches(regex) => any(regex),
            Self::MatchesNot(regex) => !any(regex),
            Self::Field(field, value) => {
                row.iter().any(|(name, text)| name == field && text.to_lowercase().contains(value.as_str()))
            }
        }
    }
}

/// Columns that `field:value` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Name,
    Status,
    Zone,
    Type,
    Agent,
}

impl Filter {
    /// Reads a filter; the error names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::All);
        }
        if let Some(labels) = text.strip_prefix("-l") {
            if labels.trim().is_empty() {
                return Err("-l needs a label selector, e.g. -l key=value".to_owned());
            }
            return Ok(Self::Labels(Selector::parse(labels)?));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Leads(Lead::Address(address)));
        }
        if let Some((name, value)) = field_of(text) {
            let (name, value) = (name, value.to_lowercase());
            return match (name, Field::parse(name)) {
                ("pod", _) => Ok(Self::Leads(Lead::Pod(value))),
                ("svc" | "service", _) => Ok(Self::Leads(Lead::Service(value))),
                (_, Some(field)) => Ok(Self::Field(field, value)),
                (_, None) => Err(unknown_field(name, field_names())),
            };
        }
        match text.strip_prefix('!') {
            Some(rest) => Ok(Self::MatchesNot(regex(rest)?)),
            None => Ok(Self::Matches(regex(text)?)),
        }
    }

    /// What has to be looked for to apply it.
    pub fn lead(&self) -> Option<&Lead> {
        match self {
            Self::Leads(lead) => Some(lead),
            _ => None,
        }
    }

    /// Whether a node is shown; `led_to` are those that its lead leads to.
    pub fn shows(&self, state: &NodeState, led_to: &BTreeSet<NodeName>) -> bool {
        match self {
            Self::All => true,
            Self::Matches(regex) => matches(regex, state),
            Self::MatchesNot(regex) => !matches(regex, state),
            Self::Labels(selector) => selector.takes(&state.node.labels),
            Self::Field(field, value) => field.of(state).to_lowercase().contains(value),
            Self::Leads(lead) => {
                let own = matches!(lead, Lead::Address(address) if state.node.addresses.contains(address));
                own || led_to.contains(&state.node.name)
            }
        }
    }
}

/// What `field:value` can name.
pub fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name).chain(["pod", "svc"])
}

/// Their names.
const FIELDS: [(&str, Field); 5] = [
    ("name", Field::Name),
    ("status", Field::Status),
    ("zone", Field::Zone),
    ("type", Field::Type),
    ("agent", Field::Agent),
];

impl Field {
    fn parse(text: &str) -> Option<Self> {
        FIELDS.iter().find(|(name, _)| *name == text.trim()).map(|(_, field)| *field)
    }

    fn of(self, state: &NodeState) -> Cow<'_, str> {
        match self {
            Self::Name => state.node.name.0.as_str().into(),
            Self::Status => state.node.status().into(),
            Self::Zone => state.node.zone.as_deref().unwrap_or_default().into(),
            Self::Type => state.node.instance_type.as_deref().unwrap_or_default().into(),
            Self::Agent => match (&state.agent, state.node.cannot_run()) {
                // The word that the list shows.
                (Agent::Absent, Some(reason)) => reason.word().to_owned().into(),
                _ => state.agent_word().into(),
            },
        }
    }
}

fn matches(regex: &Regex, state: &NodeState) -> bool {
    FIELDS.iter().any(|(_, field)| regex.is_match(&field.of(state)))
        || state.node.addresses.iter().any(|address| regex.is_match(&address.to_string()))
}

pub fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).case_insensitive(true).size_limit(1 << 20).build().map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("invalid regular expression {text:?}: {last}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Machine, Node, Readiness};

    fn state(name: &str, zone: &str) -> NodeState {
        NodeState::new(Node {
            name: name.into(),
            readiness: Readiness::Ready,
            cordoned: false,
            zone: Some(zone.into()),
            instance_type: None,
            addresses: vec![],
            labels: [("zone".to_owned(), zone.to_owned())].into(),
            version: None,
            uid: None,
            created: None,
            instance_id: None,
            kubelet_port: None,
            machine: Machine::default(),
        })
    }

    fn shown(filter: &str) -> Vec<String> {
        let filter = Filter::parse(filter).expect("a filter");
        [state("ip-1", "1a"), state("ip-2", "1b"), state("db", "1a")]
            .iter()
            .filter(|state| filter.shows(state, &BTreeSet::new()))
            .map(|state| state.node.name.0.clone())
            .collect()
    }

    #[test]
    fn every_form_of_the_language() {
        assert_eq!(shown(""), ["ip-1", "ip-2", "db"]);
        assert_eq!(shown("^IP"), ["ip-1", "ip-2"]);
        assert_eq!(shown("!^ip"), ["db"]);
        assert_eq!(shown("-l zone=1a"), ["ip-1", "db"]);
        assert_eq!(shown("-l zone=1a,missing"), Vec::<String>::new());
        assert_eq!(shown("-l zone in (1a, 1c)"), ["ip-1", "db"]);
        assert_eq!(shown("-l zone!=1a,!missing"), ["ip-2"]);
        assert_eq!(shown("zone:1b"), ["ip-2"]);
        assert!(Filter::parse("xyz:1").is_err_and(|error| error.contains("\"xyz\"") && error.contains("svc:")));
        assert!(matches!(Filter::parse("fd00::1"), Ok(Filter::Leads(Lead::Address(_)))));
        assert!(matches!(Filter::parse("10.0.0.1:80"), Ok(Filter::Matches(_))), "no field has a dot");
        assert!(matches!(Filter::parse("pod:Shop/a"), Ok(Filter::Leads(Lead::Pod(name))) if name == "shop/a"));
    }

    #[test]
    fn rows_of_text_are_filtered_in_the_same_language() {
        let row = [("node", "ip-1"), ("place", "in S3")];
        let shows = |text: &str| TextFilter::parse(text, &["node", "place"]).expect("a filter").shows(&row);
        assert!(shows("") && shows("s3") && shows("place:S3") && shows("!db") && shows("other[:]|ip"));
        assert!(!shows("db") && !shows("node:s3") && !shows("!ip"));
        assert!(TextFilter::parse("(", &[]).is_err());
        assert!(TextFilter::parse("other:x", &["node"]).is_err_and(|error| error.contains("available: node:")));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert!(Filter::parse("a(").is_err_and(|error| error.contains("\"a(\"") && error.contains("unclosed group")));
        assert!(Filter::parse("-l").is_err());
        assert!(Filter::parse("-l a in b").is_err_and(|error| error.contains("found \"b\"")));
    }
}
