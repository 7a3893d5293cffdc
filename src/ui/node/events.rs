//! What happened on a node, newest first.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::rows::Table;
use crate::{
    base::text::{time_of_day, visible},
    screens::{App, node::rows::Row},
    session::node::NodeState,
    ui::{Hits, Theme},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let table = Table {
        head: " TIME      EVENT".to_owned(),
        line: |row: &Row<'_>| match row {
            Row::Event(event) => Line::from(vec![
                Span::styled(format!("{}  ", time_of_day(app.session.wall(event.at))), theme.dim),
                Span::raw(visible(&event.text)),
            ]),
            _ => Line::default(),
        },
        facts: |row: &Row<'_>| match row {
            Row::Event(event) => vec![(event.text.clone(), theme.plain)],
            _ => Vec::new(),
        },
        none: " no events yet",
    };
    table.draw(frame, area, app, state, theme, hits);
}
