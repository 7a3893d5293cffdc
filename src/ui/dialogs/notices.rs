//! Past notices, whole, newest first.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::reading;
use crate::{
    base::text::time_of_day,
    model::Severity,
    screens::{App, dialogs::reading::Reading},
    ui::{
        Theme,
        widgets::{dialog, wrapped_lines},
    },
};

/// Columns of the time, and before the text.
const TIME: usize = 10;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, reading: &Reading, theme: &Theme) -> usize {
    let size = (area.width.saturating_sub(4), area.height.saturating_sub(4));
    let inside = dialog(frame, area, size, "Notices", theme);
    if app.session.notices.is_empty() {
        frame.render_widget(Line::styled(" none yet", theme.dim), inside);
        return 0;
    }
    let width = usize::from(inside.width);
    let mut lines = Vec::new();
    for (at, notice) in app.session.notices.iter().rev() {
        if !reading.finds(&theme.notice(notice)) {
            continue;
        }
        let style = match notice.severity {
            Severity::Info => theme.plain,
            Severity::Warning => theme.warn,
            Severity::Error => theme.bad,
        };
        let mut told = wrapped_lines(&notice.headline, TIME, width, style);
        if let Some(first) = told.first_mut() {
            *first = beside_its_time(first, &time_of_day(app.session.wall(*at)), style, theme);
        }
        for more in [&notice.cause, &theme.next_step(notice)] {
            told.extend(wrapped_lines(more, TIME, width, theme.plain));
        }
        lines.extend(told);
    }
    reading::draw(frame, inside, lines, (reading, app.scroll), theme)
}

fn beside_its_time(line: &Line<'_>, time: &str, style: Style, theme: &Theme) -> Line<'static> {
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    Line::from(vec![Span::styled(format!(" {time} "), theme.dim), Span::styled(text.trim_start().to_owned(), style)])
}
