//! The Tail screen: the last packets of a node, newest at the bottom.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Theme,
    widgets::{crumbs, short_name},
};
use crate::{
    base::text::{count, time_of_day, visible},
    model::TailLine,
    screens::App,
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let [title, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let tail = &app.tail;
    let lines = app.tail_lines();
    let node = tail.node.as_ref().map(|node| short_name(node, 24)).unwrap_or_default();
    let shown = if lines.len() == tail.lines.len() { String::new() } else { format!("{} of ", lines.len()) };
    let name = format!("TAIL {} ({shown}{})", visible(&node), tail.lines.len());
    let mut facts = Line::default();
    if tail.left_out > 0 {
        let text = format!("  {} seen, {} left out on the way", count(tail.all), count(tail.left_out));
        facts.push_span(Span::styled(text, theme.warn));
    }
    if tail.up > 0 {
        facts.push_span(Span::styled(format!("  {} newer below", tail.up), theme.accent));
    }
    let mut heading = crumbs(app, &["NODES"], &name, usize::from(title.width).saturating_sub(facts.width()), theme);
    // What narrows the lines stays at the right edge.
    let at = heading.spans.len().min(3);
    heading.spans.splice(at..at, facts.spans);
    frame.render_widget(heading, title);
    let room = usize::from(body.height);
    let ended = tail.ended.as_ref().map(|why| Line::styled(format!("  {}", visible(why)), theme.warn));
    let room = room.saturating_sub(usize::from(ended.is_some()));
    let end = lines.len().saturating_sub(tail.up);
    let mut drawn: Vec<Line<'static>> =
        lines[end.saturating_sub(room)..end].iter().map(|line| packet(line, theme)).collect();
    if drawn.is_empty() && ended.is_none() {
        let text = if tail.filter.0.is_empty() {
            "  waiting for packets ..."
        } else {
            "  no packet matches: {back} shows all"
        };
        drawn.push(Line::styled(theme.keys.fill(text), theme.dim));
    }
    drawn.extend(ended);
    frame.render_widget(Paragraph::new(drawn), body);
}

fn packet(line: &TailLine, theme: &Theme) -> Line<'static> {
    let millis = line.nanos / 1_000_000;
    let bad = line.text.contains("Flags [R") || line.text.contains("unreachable");
    Line::from(vec![
        Span::styled(format!(" {}.{:03} ", time_of_day(millis), millis % 1000), theme.dim),
        Span::styled(visible(&line.text), if bad { theme.bad } else { theme.plain }),
    ])
}
