//! A node's rows as a table: the head, the rows that fit, and below them what there is to say of the one under the cursor.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    screens::{App, Screen, cursor::RowKey, node::rows::Row},
    session::node::NodeState,
    ui::{
        Hits, Theme,
        widgets::{cursor_row, cut, first_shown, wrapped, wrapped_lines},
    },
};

/// Rows below the table for the one under the cursor.
const FACTS: u16 = 4;
/// From so many rows on there is room for them.
const ROOM_FOR_FACTS: u16 = 12;

/// How a view shows its rows.
pub(super) struct Table<'a, F, G> {
    /// The columns' names.
    pub(super) head: String,
    /// A row as a line.
    pub(super) line: F,
    /// What else there is to say of the row under the cursor, each text on lines of its own.
    pub(super) facts: G,
    /// What stands there when there are none.
    pub(super) none: &'a str,
}

impl<F, G> Table<'_, F, G>
where
    F: Fn(&Row<'_>) -> Line<'static>,
    G: Fn(&Row<'_>) -> Vec<(String, Style)>,
{
    /// Draws the rows of the view in front; only those that are seen are made.
    pub(super) fn draw(
        self,
        frame: &mut Frame<'_>,
        area: Rect,
        app: &App,
        state: &NodeState,
        theme: &Theme,
        hits: &mut Hits,
    ) {
        let rows = app.node_rows(state);
        if rows.is_empty() {
            let narrowed = !app.tabs.of(app.view).filter.is_empty() || app.layout.faults_only;
            let text = if narrowed { " no rows match: {back} shows all" } else { self.none };
            frame.render_widget(wrapped(&theme.keys.fill(text)).style(theme.dim), area);
            return;
        }
        // Beside the list of nodes the cursor is that list's.
        let full = matches!(app.screen, Screen::Node(_));
        let facts = if full && area.height >= ROOM_FOR_FACTS && !app.layout.zoomed { FACTS } else { 0 };
        let [head, body, below] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(facts)]).areas(area);
        frame.render_widget(Line::styled(self.head, theme.dim), head);
        let room = usize::from(body.height);
        let cursor = full.then(|| app.node_row_place(&rows));
        let first = cursor.map_or(0, |at| first_shown(at, rows.len(), room));
        if full {
            hits.rows(body, rows.iter().skip(first).map(|row| RowKey::NodeRow(row.id())));
            hits.cursor = cursor.and_then(|at| rows.get(at)).map(|row| RowKey::NodeRow(row.id()));
        }
        let shown = rows.iter().enumerate().skip(first).take(room);
        let lines: Vec<Line<'static>> = shown
            .map(|(at, row)| {
                let selected = cursor == Some(at);
                let sign = Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent);
                let line: Line<'static> = std::iter::once(sign).chain((self.line)(row).spans).collect();
                let line = cut(line, usize::from(body.width));
                if selected { cursor_row(line, body.width, theme) } else { line }
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), body);
        if let Some(row) = cursor.and_then(|at| rows.get(at)).filter(|_| facts > 0) {
            let width = usize::from(below.width);
            let mut lines = vec![Line::styled(theme.symbols.rule.repeat(width), theme.dim)];
            let texts = (self.facts)(row);
            lines.extend(texts.iter().flat_map(|(text, style)| wrapped_lines(text, 1, width, *style)));
            frame.render_widget(Paragraph::new(lines), below);
        }
    }
}
