//! Past reports: what changed between them, newest first.

use ratatui::{Frame, layout::Rect, text::Line};

use super::closes;
use crate::{
    base::text::{counted, date_and_time, visible},
    screens::{App, dialogs::history::History},
    ui::{
        Theme,
        widgets::{dialog, scrolled, wrapped_lines},
    },
};

/// What changed between past reports, newest first. The first line that is shown.
pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, history: &History, theme: &Theme) -> usize {
    let size = (area.width.saturating_sub(4), area.height.saturating_sub(4));
    let title = closes(&visible(&history.title), theme);
    let inside = dialog(frame, area, size, &title, theme);
    let width = usize::from(inside.width);
    let lines: Vec<Line<'static>> = match &history.found {
        None => vec![Line::styled(" asking CloudWatch Logs ...", theme.dim)],
        Some(Err(notice)) => wrapped_lines(&theme.notice(notice), 1, width, theme.bad),
        Some(Ok(past)) if past.reports == 0 => vec![Line::styled(" no reports in that period", theme.dim)],
        Some(Ok(past)) => {
            let newest = if past.cut { "the newest " } else { "" };
            let head = format!(" {newest}{}, changes between them:", counted(past.reports, "report"));
            let mut lines = vec![Line::styled(head, theme.dim)];
            for (at, node, text) in &past.changes {
                let text = format!("{} {node}  {text}", date_and_time(*at));
                lines.extend(wrapped_lines(&text, 1, width, theme.plain));
            }
            lines
        }
    };
    scrolled(frame, inside, lines, app.scroll)
}
