//! The capture form.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    base::text::visible,
    screens::{
        Action, App,
        dialogs::form::{CaptureForm, Field},
    },
    ui::{
        Theme,
        widgets::{dialog, fit, key_line},
    },
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, form: &CaptureForm, theme: &Theme) {
    const LABEL: usize = 17;
    let title = match app.targets().as_slice() {
        [one] => format!("Capture on {}", visible(&one.0)),
        more => format!("Capture on {} nodes", more.len()),
    };
    let inside = dialog(frame, area, (70, Field::ALL.len() as u16 + 5), &title, theme);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (index, field) in Field::ALL.into_iter().enumerate() {
        let focused = index == form.focus;
        let label =
            Span::styled(fit(&format!(" {}", field.label()), LABEL), if focused { theme.key } else { theme.dim });
        let value = form.value(field);
        let value =
            if value.is_empty() { Span::styled(field.placeholder(), theme.dim) } else { Span::raw(visible(value)) };
        lines.push(Line::from(vec![label, value]));
    }
    lines.push(Line::default());
    lines.push(match &form.error {
        Some((_, message)) => Line::styled(format!(" {}", visible(message)), theme.bad),
        None => Line::default(),
    });
    lines.push(key_line(
        &[(Action::Open, "start"), (Action::NextView, "next field"), (Action::Back, "keep and close")],
        theme,
    ));
    frame.render_widget(Paragraph::new(lines), inside);
    let column = inside.x + (LABEL + form.cursor()) as u16;
    let row = inside.y + form.focus as u16;
    if column < inside.right() && row < inside.bottom() {
        frame.set_cursor_position((column, row));
    }
}
