//! A node's own capture files.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::rows::Table;
use crate::{
    base::text::{bytes, count, visible},
    screens::{App, node::rows::Row},
    session::node::NodeState,
    ui::{
        Hits, Theme,
        files::{NAME, facts_of, mark_of, place},
        widgets::{fit, fit_right},
    },
};

/// One node's files, as a view of the node.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let table = Table {
        head: format!(" {} {} {}  WHERE", fit("FILE", NAME), fit_right("SIZE", 8), fit_right("PACKETS", 7)),
        line: |row: &Row<'_>| {
            let Row::File(row) = row else { return Line::default() };
            let packets = row.on_node.map_or_else(|| "-".to_owned(), |file| count(file.packets));
            let name = format!(
                "{} {} {}  ",
                fit(&visible(&row.key.name), NAME),
                fit_right(&bytes(row.size()), 8),
                fit_right(&packets, 7)
            );
            let (place, style) = place(row, theme);
            let mark = row.on_node.map_or_else(|| Span::raw(""), |file| mark_of(file, theme));
            Line::from(vec![Span::raw(name), mark, Span::styled(place, style)])
        },
        facts: |row: &Row<'_>| match row {
            Row::File(row) => facts_of(app, row, theme),
            _ => Vec::new(),
        },
        none: " no capture files on this node",
    };
    table.draw(frame, area, app, state, theme, hits);
}
