//! The last lines: the latest notice, the keys that matter now, and the filter while it is typed.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Clear, Paragraph},
};
use tui_input::Input;

use unicode_width::UnicodeWidthStr;

use super::{
    Theme,
    widgets::{fit, typed_part, wrapped_lines},
};
use crate::{
    base::text::{line, visible},
    config::keymap::NO_KEY,
    model::Severity,
    screens::{App, Scope},
};

/// Below so many rows a message has one line, and from so many on it has as many as it needs, up to [`MOST_LINES`].
const ROOM_FOR_TWO: u16 = 12;
const ROOM_FOR_ALL: u16 = 20;
const MOST_LINES: usize = 5;

/// The latest notice, on lines of its own: what it is about first, then what to do, which is never what is cut off.
pub(super) fn message(app: &App, area: Rect, theme: &Theme) -> Vec<Line<'static>> {
    let Some(notice) = app.latest_notice() else { return Vec::new() };
    let (word, style) = match notice.severity {
        Severity::Info => ("", theme.plain),
        Severity::Warning => ("warning: ", theme.warn),
        Severity::Error => ("error: ", theme.bad),
    };
    let width = usize::from(area.width).saturating_sub(1).max(1);
    let (fact, step) = (line(&notice.fact()), line(&theme.next_step(notice)));
    let most = match area.height {
        0..ROOM_FOR_TWO => 1,
        ROOM_FOR_TWO..ROOM_FOR_ALL => 2,
        ROOM_FOR_ALL.. => MOST_LINES,
    };
    let wrap = |text: &str, indent: &'static str| -> Vec<String> {
        let options = textwrap::Options::new(width).initial_indent(indent).subsequent_indent("  ");
        textwrap::wrap(text, options).into_iter().map(Into::into).collect()
    };
    let beside = if step.is_empty() { format!("{word}{fact}") } else { format!("{word}{fact} ({step})") };
    // What is good to know reads on; what is to be done stands on lines of its own where it is much.
    let (facts, steps) = if step.is_empty() || notice.severity == Severity::Info || beside.width() <= width {
        (wrap(&beside, ""), Vec::new())
    } else if most == 1 {
        (vec![format!("{word}{step}: {fact}")], Vec::new())
    } else {
        (wrap(&format!("{word}{fact}"), ""), wrap(&step, "  "))
    };
    // Whoever wants the rest finds it among the notices.
    let more = theme.keys.fill(" ~ {notices}");
    let shorten = |mut lines: Vec<String>, most: usize| {
        if lines.len() > most || lines.iter().any(|line| line.width() > width) {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                *last = format!("{}{more}", fit(last, width.saturating_sub(more.width())).trim_end());
            }
        }
        lines
    };
    let steps = shorten(steps, most.saturating_sub(1));
    let facts = shorten(facts, most - steps.len());
    facts.into_iter().chain(steps).map(|text| Line::styled(format!(" {}", fit(&text, width)), style)).collect()
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let scope = app.scope();
    // A dialog names its own keys.
    if matches!(scope, Scope::Text | Scope::Dialog | Scope::Reading) {
        return;
    }
    let hints = app.hints().into_iter();
    let mut hints: Vec<(String, &str)> =
        hints.map(|(action, hint)| (theme.keys.key_for(action), hint)).filter(|(key, _)| key != NO_KEY).collect();
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
    frame.render_widget(Clear, area);
    let (text, at) = typed_part(input, usize::from(area.width).saturating_sub(1));
    let (told, style) = error.map_or_else(|| (hint.to_owned(), theme.dim), |error| (visible(error), theme.bad));
    let mut spans = vec![Span::styled(sign, theme.key), Span::raw(text)];
    let room = usize::from(area.width).saturating_sub(spans.iter().map(Span::width).sum::<usize>() + 3);
    if told.width() <= room {
        spans.push(Span::styled(format!("   {told}"), style));
    } else {
        // What does not fit beside the text stands above it, whole.
        let lines = wrapped_lines(&told, 1, usize::from(area.width), style);
        let height = (lines.len() as u16).min(area.y);
        let above = Rect { y: area.y - height, height, ..area };
        frame.render_widget(Clear, above);
        frame.render_widget(Paragraph::new(lines), above);
    }
    frame.render_widget(Line::from(spans), area);
    let column = area.x + 1 + at as u16;
    if column < area.right() {
        frame.set_cursor_position((column, area.y));
    }
}
