//! A node's own capture files.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    base::text::{bytes, count, visible},
    screens::App,
    session::{files::FileRow, node::NodeState},
    ui::{
        Theme,
        files::{NAME, mark_of, place},
        widgets::{cursor_row, fit, fit_right, scrolled},
    },
};

/// One node's files, as a view of the node.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, full: bool) {
    if state.files.is_empty() {
        frame.render_widget(Line::styled(" no capture files on this node", theme.dim), area);
        return;
    }
    let head = format!(" {} {} {}  WHERE", fit("FILE", NAME), fit_right("SIZE", 8), fit_right("PACKETS", 7));
    let mut lines = vec![Line::styled(head, theme.dim)];
    let place_of_cursor = app.node_file_place(state);
    for (index, file) in state.files.iter().enumerate() {
        let selected = full && index == place_of_cursor;
        let (place, style) = place(&FileRow::on_node(state, file), theme);
        let name = format!(
            "{} {} {}  ",
            fit(&visible(&file.name), NAME),
            fit_right(&bytes(file.size), 8),
            fit_right(&count(file.packets), 7)
        );
        let cursor = Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent);
        let line = Line::from(vec![cursor, Span::raw(name), mark_of(file, theme), Span::styled(place, style)]);
        lines.push(if selected { cursor_row(line, area.width, theme) } else { line });
    }
    let scroll = if full { (place_of_cursor + 3).saturating_sub(usize::from(area.height)) } else { app.scroll };
    scrolled(frame, area, lines, scroll);
}
