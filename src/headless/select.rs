//! Which nodes a command means.

use std::collections::BTreeMap;

use super::{output, run::Stop};
use crate::{
    cli::NodesArgs,
    model::{Failure, NodeName, Notice, Place},
    session::{
        Session,
        node::{Asked, NodeState},
        selector::Selector,
    },
};

/// What a label selector may be.
const SELECTORS: &str = "use kubectl syntax: -l 'a=b', 'a!=b', 'a in (b,c)', 'a notin (b)', 'a', '!a'";

/// A node that has joined was given the capture that runs on the others.
pub(super) fn was_given_capture(state: &NodeState) -> bool {
    state.is_capturing() || state.asked != Asked::Nothing || state.capture_over() || state.refusal.is_some()
}

/// The chosen nodes, each of which exists; a notice that names the one that does not.
pub(super) fn nodes(session: &Session, arguments: &NodesArgs) -> Result<Vec<NodeName>, Stop> {
    let bad = |headline: String, cause: String, next_step: &str| {
        Stop::Notice(Notice::error(headline, cause, next_step).of(Failure::BadInput))
    };
    let known = || known(session);
    if let Some(selector) = &arguments.selector {
        // What is wrong says itself that it is the selector.
        let labels = Selector::parse(selector).map_err(|error| bad(error, String::new(), SELECTORS))?;
        let chosen: Vec<NodeName> = session
            .nodes
            .values()
            .filter(|state| labels.takes(&state.node.labels))
            .map(|state| state.node.name.clone())
            .collect();
        let chosen = able(session, chosen)?;
        if chosen.is_empty() {
            return Err(bad(format!("no nodes match the selector {selector:?}"), known(), "see nodewatch-tui nodes"));
        }
        return Ok(chosen);
    }
    // One node needs no choice.
    if arguments.all || (arguments.nodes.is_empty() && session.terms.place == Place::Local) {
        return able(session, session.nodes.keys().cloned().collect());
    }
    if arguments.nodes.is_empty() {
        return Err(bad("no nodes chosen".to_owned(), known(), "use --nodes, --all or -l"));
    }
    let mut chosen: Vec<NodeName> = Vec::new();
    for name in &arguments.nodes {
        let name = named(name);
        if !session.nodes.contains_key(&name) {
            return Err(bad(format!("node {:?} not found", name.0), known(), "see nodewatch-tui nodes"));
        }
        if let Some(reason) = session.nodes.get(&name).and_then(|state| state.node.cannot_run()) {
            return Err(bad(format!("no agent can run on {:?}", name.0), reason.to_string(), "choose other nodes"));
        }
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

/// The nodes that there are, for somebody who has named none of them.
pub(super) fn known(session: &Session) -> String {
    let names: Vec<String> = session.nodes.keys().take(20).map(ToString::to_string).collect();
    let more = if session.nodes.len() > names.len() { ", ..." } else { "" };
    format!("available nodes: {}{more}", names.join(", "))
}

/// A node as it is named, by itself or as kubectl and `-o name` have it: `node/NAME`.
pub fn named(text: &str) -> NodeName {
    let text = text.trim();
    NodeName(["node/", "nodes/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text).to_owned())
}

/// Without those that no agent can ever run on, which are named.
fn able(session: &Session, mut chosen: Vec<NodeName>) -> Result<Vec<NodeName>, Stop> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    chosen.retain(|name| match session.nodes.get(name).and_then(|state| state.node.cannot_run()) {
        Some(reason) => {
            reasons.entry(reason.to_string()).or_default().push(name.to_string());
            false
        }
        None => true,
    });
    for (reason, names) in &reasons {
        let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
        output::say(&format!("skipped: {}{more}: {reason}", names[..names.len().min(5)].join(", ")));
    }
    if chosen.is_empty()
        && let Some(reason) = reasons.into_keys().next()
    {
        let notice = Notice::error("no agent can run on any chosen node", reason, "see nodewatch-tui nodes");
        return Err(Stop::Notice(notice.of(Failure::BadInput)));
    }
    Ok(chosen)
}
