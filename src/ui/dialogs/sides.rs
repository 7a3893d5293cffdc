//! How several nodes' packets are to be shown.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    base::text::{counted, visible},
    model::Sides,
    screens::{Action, App, dialogs::sides::SidesView},
    ui::{
        Theme,
        widgets::{cursor_row, dialog, key_line, scrolled, short_name, wrapped_lines},
    },
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, view: SidesView, theme: &Theme) {
    let nodes = &app.session.showing.asked;
    let names: Vec<String> = nodes.iter().map(|node| visible(&short_name(node, 30))).collect();
    let title = format!("Show {} in the viewer", counted(nodes.len(), "node"));
    let inside = dialog(frame, area, (74, Sides::ANSWERS.len() as u16 + 8), &title, theme);
    let mut lines = wrapped_lines(&names.join(", "), 1, usize::from(inside.width), theme.accent);
    lines.truncate(2);
    lines.push(Line::default());
    for (index, sides) in Sides::ANSWERS.into_iter().enumerate() {
        let selected = index == view.cursor;
        let sign = if selected { theme.symbols.cursor } else { " " };
        let line =
            Line::from(vec![Span::styled(sign, theme.accent), Span::raw(format!(" {}", SidesView::text(sides)))]);
        lines.push(if selected { cursor_row(line, inside.width, theme) } else { line });
    }
    lines.push(Line::default());
    lines.push(Line::styled(" Asked once a session; --viewer-nodes says it beforehand.", theme.dim));
    scrolled(frame, inside, lines, 0);
    let keys = key_line(&[(Action::Open, "show"), (Action::Back, "cancel")], theme);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(keys, bottom);
}
