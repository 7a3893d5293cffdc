//! What was seen between pairs of ends on a node.

use ratatui::{Frame, layout::Rect, text::Line};

use super::rows::Table;
use crate::{
    screens::{App, node::rows::Row},
    session::node::NodeState,
    ui::{
        Hits, Theme,
        connections::{Columns, facts_of},
    },
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let columns = Columns::of(usize::from(area.width), false);
    let name = &state.node.name;
    let table = Table {
        head: columns.head(),
        line: |row: &Row<'_>| match row {
            Row::Pair(key, pair, recent) => columns.line(app, (name, key, pair, recent), theme),
            _ => Line::default(),
        },
        facts: |row: &Row<'_>| match row {
            Row::Pair(key, pair, _) => facts_of(app, (name, key, pair), theme),
            _ => Vec::new(),
        },
        none: if state.is_watching() {
            " watching: no packets between two ends yet"
        } else if state.is_to_watch() {
            " watching starts as soon as the agent is live; {watch} cancels it"
        } else {
            " not watched: {answers} watches this node"
        },
    };
    table.draw(frame, area, app, state, theme, hits);
}
