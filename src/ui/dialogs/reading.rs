//! A text that is read: its lines, what is searched for in it, and how much of it there is.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    base::text::visible,
    screens::dialogs::reading::Reading,
    ui::{
        Theme,
        widgets::{first_line, scrolled, typed_part},
    },
};

/// Draws it inside a dialog, over a line that says where in it one is. The first line that is shown.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    inside: Rect,
    lines: Vec<Line<'static>>,
    (reading, scroll): (&Reading, usize),
    theme: &Theme,
) -> usize {
    let [body, status] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(inside);
    let (all, room) = (lines.len(), usize::from(body.height));
    let first = first_line(all, room, scroll);
    let search = visible(reading.search.value());
    let found = if search.is_empty() || reading.typing { String::new() } else { format!(" /{search}  ") };
    let part = match all {
        0 => " nothing found".to_owned(),
        _ if all <= room => String::new(),
        _ => format!(" {}-{} of {all}  ", first + 1, (first + room).min(all)),
    };
    scrolled(frame, body, lines, scroll);
    if all == 0 && !search.is_empty() {
        frame.render_widget(Line::styled(format!(" nothing matches {search}"), theme.dim), body);
    }
    if reading.typing {
        let (search, at) = typed_part(&reading.search, usize::from(status.width).saturating_sub(2));
        frame.render_widget(Line::from(vec![Span::styled(" /", theme.key), Span::raw(search)]), status);
        let column = status.x + 2 + at as u16;
        if column < status.right() {
            frame.set_cursor_position((column, status.y));
        }
        return first;
    }
    let keys = theme.keys.fill("{down} {up} {page-down} {top} {bottom} move  {filter} search  {back} close");
    let line = Line::from(vec![
        Span::styled(format!("{found}{part}"), theme.accent),
        Span::styled(format!(" {keys}"), theme.dim),
    ]);
    frame.render_widget(Paragraph::new(line), status);
    first
}
