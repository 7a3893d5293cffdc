//! Which nodes a command means.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    output,
    run::{Run, Stop},
};
use crate::{
    cli::{NodesArgs, TargetArgs},
    model::{Failure, NodeName, Notice, Place, Selector, Target, targets_text},
    session::{
        Event, Session,
        node::{Asked, NodeState},
        targets::{not_found, too_many},
    },
};

/// What a label selector may be.
const SELECTORS: &str = "use kubectl syntax: -l 'a=b', 'a!=b', 'a in (b,c)', 'a notin (b)', 'a', '!a'";

/// What a command is about.
pub(super) enum Choice {
    /// Nodes.
    Nodes(NodesArgs),
    /// Pods, whichever nodes they are on.
    Targets(Vec<Target>),
}

impl Choice {
    /// As the command line has it.
    pub(super) fn of(nodes: &NodesArgs, targets: &TargetArgs) -> Result<Self, Notice> {
        let targets = targets.targets(nodes).map_err(|error| {
            let next_step = if targets.pods { SELECTORS } else { "see --help" };
            Notice::error(error, "", next_step).of(Failure::BadInput)
        })?;
        Ok(if targets.is_empty() { Self::Nodes(nodes.clone()) } else { Self::Targets(targets) })
    }
}

/// Where the targets are has so long to be found out.
const AIMED_WITHIN: Duration = Duration::from_secs(60);

/// The nodes of the targets' pods, before anything is deployed; what is not there is named.
pub(super) async fn aimed(run: &mut Run, targets: &[Target]) -> Result<Vec<NodeName>, Stop> {
    run.handle(Event::Aim(targets.to_vec()));
    let give_up = Instant::now() + super::TRY_AGAIN_FOR;
    let known = |session: &Session| {
        session.aim.as_ref().is_some_and(|aim| match &aim.trouble {
            // It is looked at again by itself.
            Some(notice) => notice.failure != Failure::Busy || Instant::now() >= give_up,
            None => aim.now.is_some(),
        })
    };
    run.until(AIMED_WITHIN, &targets_text(targets), known).await?;
    let Some(aim) = &run.session().aim else { return Ok(Vec::new()) };
    let aimed = match (&aim.now, &aim.trouble) {
        (Some(aimed), _) => aimed,
        (None, Some(notice)) => return Err(Stop::Notice(notice.clone())),
        (None, None) => return Ok(Vec::new()),
    };
    if let Some(notice) = not_found(&aimed.missing).or_else(|| too_many(aimed)) {
        return Err(Stop::Notice(notice));
    }
    if aimed.nodes.is_empty() {
        let headline = format!("nothing to capture of {}", targets_text(targets));
        let next_step = "try again once it runs";
        return Err(Stop::Notice(Notice::error(headline, aimed.gaps.join("; "), next_step)));
    }
    for gap in &aimed.gaps {
        output::say(&format!("warning: {gap}"));
    }
    for (node, pods) in &aimed.nodes {
        for pod in pods {
            let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
            output::progress(&format!("pod {} is on {node} ({})", pod.name, addresses.join(", ")));
        }
    }
    able(run.session(), aimed.nodes.keys().cloned().collect())
}

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
