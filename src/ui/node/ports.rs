//! A node's open ports, in as many columns as fit.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::ui::{
    Theme,
    widgets::{fit, wrapped},
};
use crate::{
    base::text::visible,
    screens::App,
    session::node::{Agent, FRESH, NodeState, PortRow},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme) {
    if !state.ports.known {
        let text = match (&state.agent, state.node.cannot_run()) {
            (Agent::Absent, Some(reason)) => format!(" no agent can run here: {}", visible(&reason.to_string())),
            (Agent::Absent, None) => {
                theme.keys.fill(" no agent on this node: {deploy} deploys one, {capture} deploys one and captures")
            }
            _ => " waiting for the first scan".to_owned(),
        };
        frame.render_widget(wrapped(&text).style(theme.dim), area);
        return;
    }
    if state.ports.rows.is_empty() {
        frame.render_widget(Line::styled(" no open ports", theme.dim), area);
        return;
    }
    let rows: Vec<&PortRow> = state.ports.rows.values().collect();
    let widest =
        rows.iter().map(|row| row.port.to_string().len() + prefix(app, row, theme).0.len()).max().unwrap_or(0) + 2;
    let across = (usize::from(area.width).saturating_sub(1) / widest).max(1);
    let down = rows.len().div_ceil(across);
    // Only the lines that are seen are made: there may be very many.
    let first = app.scroll.min(down.saturating_sub(usize::from(area.height)));
    // Down first, then across, as `ls` does: neighbours stay together.
    let lines: Vec<Line<'_>> = (first..down.min(first + usize::from(area.height)))
        .map(|y| {
            let mut spans = vec![Span::raw(" ")];
            for x in 0..across {
                if let Some(row) = rows.get(x * down + y) {
                    let (prefix, style) = prefix(app, row, theme);
                    spans.push(Span::styled(fit(&visible(&format!("{prefix}{}", row.port)), widest), style));
                }
            }
            Line::from(spans)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is said of a port before its name, and how it looks.
fn prefix(app: &App, row: &PortRow, theme: &Theme) -> (&'static str, Style) {
    let fresh = |at: u64| app.session.now.saturating_sub(at) < FRESH;
    if row.closed.is_some() {
        ("CLOSED ", theme.bad)
    } else if row.opened && fresh(row.since) {
        ("NEW ", theme.warn)
    } else {
        ("", theme.plain)
    }
}
