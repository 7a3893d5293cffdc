//! A node's capture files: in the agent's ring, on their way, on the laptop.

use nodewatch_protocol::{CaptureFile, FileState};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    Theme,
    widgets::{bar, fit, fit_right, scrolled},
};
use crate::{
    app::{App, node::NodeState},
    model::FetchProgress,
    text::{bytes, count, visible},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, full: bool) {
    if state.files.is_empty() {
        frame.render_widget(Line::styled(" no capture file on this node", theme.dim), area);
        return;
    }
    let head = format!(" {} {} {}  WHERE", fit("FILE", 36), fit_right("SIZE", 8), fit_right("PACKETS", 7));
    let mut lines = vec![Line::styled(head, theme.dim)];
    for (index, file) in state.files.iter().enumerate() {
        let selected = full && index == app.file_cursor;
        let (place, style) = place(file, state, theme);
        let name = format!(
            "{}{} {} {}  ",
            if selected { theme.symbols.cursor } else { " " },
            fit(&visible(&file.name), 36),
            fit_right(&bytes(file.size), 8),
            fit_right(&count(file.packets), 7)
        );
        let row = if selected { theme.selected } else { theme.plain };
        lines.push(Line::from(vec![Span::styled(name, row), Span::styled(place, style)]));
    }
    let scroll = if full { (app.file_cursor + 3).saturating_sub(usize::from(area.height)) } else { app.scroll };
    scrolled(frame, area, lines, scroll);
}

fn place(file: &CaptureFile, state: &NodeState, theme: &Theme) -> (String, Style) {
    if file.state == FileState::Open {
        return ("being written".to_owned(), theme.accent);
    }
    match state.fetches.get(&file.name) {
        None => ("on the node".to_owned(), theme.plain),
        Some(FetchProgress::Bytes(have)) => (progress(*have, file.size, theme), theme.accent),
        Some(FetchProgress::Resuming { have, reason }) => {
            (format!("{} resuming: {}", progress(*have, file.size, theme), visible(reason)), theme.warn)
        }
        Some(FetchProgress::Done { path, .. }) => {
            (format!("here, checked: {}", visible(&path.display().to_string())), theme.good)
        }
        Some(FetchProgress::Failed(notice)) => (format!("not fetched: {}", visible(&notice.cause)), theme.bad),
    }
}

/// A bar with its percentage.
pub(super) fn progress(have: u64, size: u64, theme: &Theme) -> String {
    let percent = (have as f64 * 100.0 / size.max(1) as f64).min(100.0);
    format!("[{}] {percent:3.0}%", bar(have, size, 12, theme))
}
