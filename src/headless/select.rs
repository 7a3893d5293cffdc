//! Which nodes a command means.

use super::run::Stop;
use crate::{
    app::{App, filter::Filter},
    cli::NodesArgs,
    model::{Failure, NodeName, Notice, Place},
};

/// The chosen nodes, each of which exists; a notice that names the one that does not.
pub(super) fn nodes(app: &App, arguments: &NodesArgs) -> Result<Vec<NodeName>, Stop> {
    let bad = |headline: String, cause: String, next_step: &str| {
        Stop::Notice(Notice::error(headline, cause, next_step).of(Failure::BadInput))
    };
    let known = || {
        let names: Vec<String> = app.nodes.keys().take(20).map(ToString::to_string).collect();
        let more = if app.nodes.len() > names.len() { ", ..." } else { "" };
        format!("the nodes are {}{more}", names.join(", "))
    };
    if let Some(selector) = &arguments.selector {
        let filter = Filter::parse(&format!("-l {selector}"))
            .map_err(|error| bad(format!("{selector:?} is no label selector"), error, "write -l key=value"))?;
        let chosen: Vec<NodeName> =
            app.nodes.values().filter(|state| filter.shows(state)).map(|state| state.node.name.clone()).collect();
        if chosen.is_empty() {
            return Err(bad(format!("no node has the labels {selector:?}"), known(), "see nodewatch-tui nodes"));
        }
        return Ok(chosen);
    }
    // One node needs no choice.
    if arguments.all || (arguments.nodes.is_empty() && app.place == Place::Local) {
        return Ok(app.nodes.keys().cloned().collect());
    }
    if arguments.nodes.is_empty() {
        return Err(bad("no node was chosen".to_owned(), known(), "name some with --nodes, or say --all or -l"));
    }
    let mut chosen: Vec<NodeName> = Vec::new();
    for name in &arguments.nodes {
        let name = NodeName(name.trim().to_owned());
        if !app.nodes.contains_key(&name) {
            return Err(bad(format!("no node {:?}", name.0), known(), "see nodewatch-tui nodes"));
        }
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}
