//! A session's report, for those who were not there.
//!
//! Owns its two forms, Markdown and one self-contained HTML page, which have the same sentences in the same order: a
//! first page for somebody who reads no further, and what stands behind it. Pure: a summary in, text out. Everything in
//! a summary may come from a cluster, so nothing of it is taken as markup.

mod answers;
mod chart;
mod details;
mod html;
mod lead;
mod markdown;
mod times;

pub use html::html;
pub use markdown::markdown;

use std::cmp::Reverse;

use crate::model::{NodeSummary, PortClass, PortSummary};

/// A node's open ports and those that should be, the worst first.
fn ports(node: &NodeSummary) -> Vec<&PortSummary> {
    let mut ports: Vec<&PortSummary> = node.ports.iter().collect();
    ports.sort_by_key(|port| Reverse(port.class));
    ports
}

/// Ports that are not as they should be.
fn drift(node: &NodeSummary) -> impl Iterator<Item = (&PortSummary, PortClass)> {
    node.ports.iter().filter(|port| port.class.is_fault()).map(|port| (port, port.class))
}

#[cfg(test)]
mod tests;
