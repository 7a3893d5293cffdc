//! A node's open ports, in as many columns as fit.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    Theme,
    widgets::{fit, scrolled},
};
use crate::app::{
    App,
    node::{Agent, FRESH, NodeState, PortRow},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme) {
    if !state.scanned {
        let text = match state.agent {
            Agent::Absent => " no agent on this node: press {deploy} to deploy one",
            _ => " waiting for the first scan",
        };
        frame.render_widget(Line::styled(theme.keys.fill(text), theme.dim), area);
        return;
    }
    if state.ports.is_empty() {
        frame.render_widget(Line::styled(" no open port", theme.dim), area);
        return;
    }
    let cells: Vec<(String, Style)> = state.ports.values().map(|row| cell(app, row, theme)).collect();
    let widest = cells.iter().map(|(text, _)| text.len()).max().unwrap_or(0) + 2;
    let across = (usize::from(area.width).saturating_sub(1) / widest).max(1);
    let down = cells.len().div_ceil(across);
    // Down first, then across, as `ls` does: neighbours stay together.
    let lines = (0..down)
        .map(|y| {
            let mut spans = vec![Span::raw(" ")];
            for x in 0..across {
                if let Some((text, style)) = cells.get(x * down + y) {
                    spans.push(Span::styled(fit(text, widest), *style));
                }
            }
            Line::from(spans)
        })
        .collect();
    scrolled(frame, area, lines, app.scroll);
}

fn cell(app: &App, row: &PortRow, theme: &Theme) -> (String, Style) {
    let fresh = |at: u64| app.now.saturating_sub(at) < FRESH;
    if row.closed.is_some() {
        (format!("CLOSED {}", row.port), theme.bad)
    } else if row.opened && fresh(row.since) {
        (format!("NEW {}", row.port), theme.warn)
    } else {
        (row.port.to_string(), theme.plain)
    }
}
