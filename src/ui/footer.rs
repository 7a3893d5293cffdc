//! The last line: the latest notice, or the keys that matter now; the filter while it is typed.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use tui_input::Input;

use super::Theme;
use crate::{
    app::{App, Scope},
    config::keymap::{BINDINGS, Binding, is_offered},
    model::Severity,
    text::visible,
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    if let Some(notice) = app.latest_notice() {
        let (word, style) = match notice.severity {
            Severity::Info => ("", theme.plain),
            Severity::Warning => ("warning: ", theme.warn),
            Severity::Error => ("error: ", theme.bad),
        };
        let line = Line::from(vec![Span::styled(word, style), Span::styled(visible(&notice.line()), style)]);
        frame.render_widget(line, area);
        return;
    }
    let scope = app.scope();
    // A dialog names its own keys.
    if !matches!(scope, Scope::List | Scope::Node | Scope::Files | Scope::Ports) {
        return;
    }
    let mut spans = Vec::new();
    let hinted = |binding: &&Binding| {
        !binding.hint.is_empty() && binding.scopes.contains(&scope) && is_offered(binding, app.permission)
    };
    for binding in BINDINGS.iter().filter(hinted) {
        spans.push(Span::styled(format!(" {}", binding.keys[0].text()), theme.key));
        spans.push(Span::styled(format!(" {} ", binding.hint), theme.dim));
    }
    frame.render_widget(Line::from(spans), area);
}

/// A line that is being typed behind its sign, with what is wrong with it or what can be typed.
pub(super) fn draw_input(
    frame: &mut Frame<'_>,
    area: Rect,
    sign: &'static str,
    input: &Input,
    error: Option<&str>,
    hint: &'static str,
    theme: &Theme,
) {
    frame.render_widget(ratatui::widgets::Clear, area);
    let text = visible(input.value());
    let hint = error.map_or_else(
        || Span::styled(format!("   {hint}"), theme.dim),
        |error| Span::styled(format!("   {}", visible(error)), theme.bad),
    );
    frame.render_widget(Line::from(vec![Span::styled(sign, theme.key), Span::raw(text), hint]), area);
    let column = area.x + 1 + input.visual_cursor() as u16;
    if column < area.right() {
        frame.set_cursor_position((column, area.y));
    }
}
