//! The last line: the latest notice, or the keys that matter now; the filter while it is typed.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};
use tui_input::Input;

use super::Theme;
use crate::{
    base::text::visible,
    config::keymap::is_offered,
    model::Severity,
    screens::{App, Scope},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    if let Some(notice) = app.latest_notice() {
        let (word, style) = match notice.severity {
            Severity::Info => ("", theme.plain),
            Severity::Warning => ("warning: ", theme.warn),
            Severity::Error => ("error: ", theme.bad),
        };
        let line = Line::from(vec![Span::styled(word, style), Span::styled(theme.notice(notice), style)]);
        frame.render_widget(line, area);
        return;
    }
    let scope = app.scope();
    // A dialog names its own keys.
    if !matches!(scope, Scope::List | Scope::Node | Scope::Files | Scope::Ports | Scope::Events) {
        return;
    }
    let mut hints: Vec<(String, &str)> = theme
        .keys
        .rows()
        .filter(|(binding, _)| !binding.hint.is_empty() && binding.scopes.contains(&scope))
        .filter(|(binding, _)| is_offered(binding, app.session.permission))
        .filter_map(|(binding, keys)| Some((keys.first()?.to_string(), binding.hint)))
        .collect();
    // The last two are the ways to everything else and out: they stay where there is little room.
    let width = |hints: &[(String, &str)]| hints.iter().map(|(key, hint)| key.len() + hint.len() + 3).sum::<usize>();
    while hints.len() > 2 && width(&hints) > usize::from(area.width) + 1 {
        hints.remove(hints.len() - 3);
    }
    let spans = hints.into_iter().flat_map(|(key, hint)| {
        [Span::styled(format!(" {key}"), theme.key), Span::styled(format!(" {hint} "), theme.dim)]
    });
    frame.render_widget(Line::from(spans.collect::<Vec<_>>()), area);
}

/// What to begin with, for somebody who has never done so.
pub(super) fn draw_first_run(frame: &mut Frame<'_>, area: Rect, theme: &Theme) {
    let text = "first time? {capture} deploys the agent and captures, {quit} removes everything; {help} for help";
    frame.render_widget(Line::styled(format!(" {}", theme.keys.fill(text)), theme.accent), area);
}

/// A line that is being typed behind its sign, with what is wrong with it or what can be typed.
pub(super) fn draw_input(
    frame: &mut Frame<'_>,
    area: Rect,
    sign: &'static str,
    input: &Input,
    error: Option<&str>,
    hint: &str,
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
