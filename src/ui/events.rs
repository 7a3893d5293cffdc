//! The Events screen: what happened on all nodes, newest first.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, cut, first_shown, fit, short_name, wrapped_lines},
};
use crate::{
    base::text::{time_of_day, visible},
    model::{NodeName, Severity},
    screens::{App, cursor::RowKey},
};

/// Rows below the list for the whole text of the one under the cursor, and from how many rows on they are there.
const FACTS: u16 = 4;
const ROOM_FOR_FACTS: u16 = 12;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let rows = app.event_rows();
    let facts = if area.height >= ROOM_FOR_FACTS && !app.layout.zoomed { FACTS } else { 0 };
    let [title, head, body, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(facts)])
            .areas(area);
    let name = format!("EVENTS ({})", rows.len());
    frame.render_widget(crumbs(app, &["NODES"], &name, usize::from(title.width), theme), title);
    let node_width = (usize::from(area.width) / 4).clamp(8, 32);
    frame.render_widget(
        Line::styled(format!("  {} {}  EVENT", fit("TIME", 8), fit("NODE", node_width)), theme.dim),
        head,
    );
    if rows.is_empty() {
        frame.render_widget(Line::styled("  no events to show", theme.dim), body);
        return;
    }
    let cursor = app.event_place(&rows);
    let room = usize::from(body.height);
    let first = first_shown(cursor, rows.len(), room);
    hits.rows(body, rows.iter().skip(first).map(|row| RowKey::Event(row.key())));
    hits.cursor = rows.get(cursor).map(|row| RowKey::Event(row.key()));
    let lines: Vec<Line<'static>> = rows
        .iter()
        .enumerate()
        .skip(first)
        .take(room)
        .map(|(index, row)| {
            let selected = index == cursor;
            let (word, style) = match row.severity {
                Severity::Info => ("", theme.plain),
                Severity::Warning => ("warning: ", theme.warn),
                Severity::Error => ("error: ", theme.bad),
            };
            let node = short_name(&NodeName(row.node.to_owned()), node_width);
            let line = Line::from(vec![
                Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
                Span::styled(format!(" {} ", time_of_day(app.session.wall(row.at))), theme.dim),
                Span::styled(format!("{}  ", fit(&visible(&node), node_width)), theme.plain),
                Span::styled(format!("{word}{}", visible(&row.text)), style),
            ]);
            let line = cut(line, usize::from(body.width));
            if selected { cursor_row(line, body.width, theme) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
    if let Some(row) = rows.get(cursor).filter(|_| facts > 0) {
        let width = usize::from(below.width);
        let mut lines = vec![Line::styled(theme.symbols.rule.repeat(width), theme.dim)];
        lines.extend(wrapped_lines(&row.text, 1, width, theme.plain));
        frame.render_widget(Paragraph::new(lines), below);
    }
}
