//! The Ports screen's filter: `regex`, `!regex`, `field:value`.
//!
//! Owns the little language, and how it is applied to tens of thousands of rows. Pure.

use nodewatch_protocol::Port;
use regex::Regex;
use rustc_hash::FxHashMap;

use crate::{
    model::{ListedPort, NodeName},
    session::filter,
};

/// What the Ports screen shows.
#[derive(Debug, Clone, Default)]
pub enum PortFilter {
    /// Everything.
    #[default]
    All,
    /// Node, port, class, owner or reason matches.
    Matches(Regex),
    /// None of these matches.
    MatchesNot(Regex),
    /// One column contains that text.
    Field(PortField, String),
}

/// Columns that `field:value` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortField {
    Node,
    Port,
    Class,
    Scope,
    Device,
    Owner,
}

impl PortField {
    const ALL: [(&'static str, Self); 6] = [
        ("node", Self::Node),
        ("port", Self::Port),
        ("class", Self::Class),
        ("scope", Self::Scope),
        ("device", Self::Device),
        ("owner", Self::Owner),
    ];
}

/// What `field:value` can name.
pub(super) fn field_names() -> impl Iterator<Item = &'static str> {
    PortField::ALL.iter().map(|(name, _)| *name)
}

impl PortFilter {
    /// Reads a filter; the error names what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::All);
        }
        if let Some((name, value)) = filter::field_of(text) {
            let field = PortField::ALL.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
            let unknown = || filter::unknown_field(name, field_names());
            return Ok(Self::Field(field.ok_or_else(unknown)?, value.to_lowercase()));
        }
        match text.strip_prefix('!') {
            Some(rest) => Ok(Self::MatchesNot(filter::regex(rest)?)),
            None => Ok(Self::Matches(filter::regex(text)?)),
        }
    }
}

impl PortFilter {
    /// Whether it shows a port of which nothing else is known.
    pub(super) fn shows_port(&self, port: &Port) -> bool {
        match self {
            Self::All => true,
            Self::Matches(regex) => regex.is_match(&port.to_string()),
            Self::MatchesNot(regex) => !regex.is_match(&port.to_string()),
            Self::Field(PortField::Port, value) => match value.parse::<u16>() {
                Ok(number) => port.local.port() == number,
                Err(_) => port.to_string().contains(value.as_str()),
            },
            Self::Field(PortField::Scope, value) => port.scope().word().starts_with(value.as_str()),
            Self::Field(PortField::Node | PortField::Class | PortField::Device | PortField::Owner, _) => false,
        }
    }
}

/// A filter at work: what many rows share is looked at once.
pub(super) struct Sieve<'a> {
    filter: &'a PortFilter,
    ports: FxHashMap<Port, bool>,
    classes: FxHashMap<&'static str, bool>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(filter: &'a PortFilter) -> Self {
        Self { filter, ports: FxHashMap::default(), classes: FxHashMap::default() }
    }

    /// Whether the node's own columns decide.
    pub(super) fn node(&self, node: &NodeName) -> bool {
        match self.filter {
            PortFilter::Matches(regex) | PortFilter::MatchesNot(regex) => regex.is_match(&node.0),
            PortFilter::Field(PortField::Node, value) => node.0.to_lowercase().contains(value),
            _ => false,
        }
    }

    /// The same where the node is the only one: then it tells no rows apart.
    pub(super) fn is_of_node(&self, node: &NodeName) -> bool {
        matches!(self.filter, PortFilter::Field(PortField::Node, value) if node.0.to_lowercase().contains(value))
    }

    pub(super) fn shows(&mut self, node_matches: bool, listed: &ListedPort) -> bool {
        let class = listed.class.word();
        match self.filter {
            PortFilter::All => true,
            PortFilter::Matches(regex) => node_matches || self.matches(regex, class, listed),
            PortFilter::MatchesNot(regex) => !(node_matches || self.matches(regex, class, listed)),
            PortFilter::Field(PortField::Node, _) => node_matches,
            PortFilter::Field(PortField::Port, value) => {
                *self.ports.entry(listed.port).or_insert_with(|| match value.parse::<u16>() {
                    Ok(number) => listed.port.local.port() == number,
                    Err(_) => listed.port.to_string().contains(value.as_str()),
                })
            }
            PortFilter::Field(PortField::Class, value) => class.starts_with(value.as_str()),
            PortFilter::Field(PortField::Scope, value) => listed.port.scope().word().starts_with(value.as_str()),
            PortFilter::Field(PortField::Device, value) => {
                listed.port.device.is_some_and(|device| device.name().to_lowercase().starts_with(value.as_str()))
            }
            PortFilter::Field(PortField::Owner, value) => listed.owner.to_lowercase().contains(value),
        }
    }

    fn matches(&mut self, regex: &Regex, class: &'static str, listed: &ListedPort) -> bool {
        let port = *self.ports.entry(listed.port).or_insert_with(|| regex.is_match(&listed.port.to_string()));
        let text = |text: &str| !text.is_empty() && regex.is_match(text);
        let class = *self.classes.entry(class).or_insert_with(|| text(class));
        port || class || text(&listed.owner) || text(&listed.why)
    }
}
