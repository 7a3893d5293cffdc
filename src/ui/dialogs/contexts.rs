//! The list of the kubeconfig's contexts.

use ratatui::{Frame, layout::Rect, text::Line};

use crate::ui::{
    Theme,
    widgets::{cursor_row, dialog, first_shown, fit, key_line},
};
use crate::{
    base::text::visible,
    screens::{Action, App, dialogs::contexts::Contexts},
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, contexts: &Contexts, theme: &Theme) {
    let rows = contexts.rows.len();
    let size = (90.min(area.width.saturating_sub(2)), (rows as u16 + 5).min(area.height));
    let inside = dialog(frame, area, size, "Contexts", theme);
    let name = usize::from(inside.width / 2).saturating_sub(4).max(8);
    let room = usize::from(inside.height).saturating_sub(2);
    let first = first_shown(contexts.cursor, rows, room);
    let mut lines = vec![Line::styled(format!("   {} CLUSTER", fit("CONTEXT", name)), theme.title)];
    for (index, row) in contexts.rows.iter().enumerate().skip(first).take(room) {
        let selected = index == contexts.cursor;
        let sign = if selected { theme.symbols.cursor } else { " " };
        let here = if app.session.is_here(&row.name) { theme.symbols.mark } else { " " };
        let text = format!("{sign}{here} {} {}", fit(&visible(&row.name), name), visible(&row.cluster));
        let line = Line::raw(text);
        lines.push(if selected { cursor_row(line, inside.width, theme) } else { line });
    }
    frame.render_widget(ratatui::widgets::Paragraph::new(lines), inside);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(key_line(&[(Action::Open, "switch"), (Action::Back, "stay")], theme), bottom);
}
