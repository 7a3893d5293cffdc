//! What a node's kernel counts.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::rows::Table;
use crate::{
    base::text::{count, counted, visible},
    screens::{App, node::rows::Row, signals::standing},
    session::node::{NodeState, STEPS},
    ui::{
        Hits, Theme,
        signals::{amount, facts_of, named, style_of},
        widgets::{fit, fit_right, sparkline},
    },
};

/// Columns of a number.
const NUMBER: usize = 9;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let now = app.session.now;
    let width = usize::from(area.width);
    let name = width.saturating_sub(3 + 2 * (NUMBER + 1) + 1 + STEPS).clamp(24, 60);
    let normal = width.saturating_sub(3 + name + 2 * (NUMBER + 1) + 1 + STEPS + 1);
    let missing = match state.seen.signals.missing.len() {
        0 => String::new(),
        many => format!("  ({} missing)", counted(many, "source")),
    };
    let head = format!(
        "   {} {} {} {} {}{missing}",
        fit("SIGNAL", name),
        fit_right("60 s", NUMBER),
        fit_right("NOW", NUMBER),
        fit("LAST 2 MIN", STEPS),
        if normal >= 12 { fit("NORMAL", 6) } else { String::new() },
    );
    let table = Table {
        head,
        line: |row: &Row<'_>| {
            let series = match row {
                Row::Signal(series) => series,
                Row::Missing(missing) => {
                    let text = format!("- {}: {}", visible(&missing.source), visible(&missing.reason));
                    return Line::from(Span::styled(fit(&text, width.saturating_sub(1)), theme.dim));
                }
                _ => return Line::default(),
            };
            let (info, own) = (series.info(), standing(state, series, now));
            let style = style_of(&own, theme);
            let recent = if info.is_counter() { amount(info, own.amount) } else { String::new() };
            let mut spans = vec![
                Span::styled(if own.out { "! " } else { "  " }, theme.warn),
                Span::styled(format!("{} ", named(info, &series.item, name)), style),
                Span::styled(format!("{} ", fit_right(&recent, NUMBER)), style),
                Span::styled(format!("{} ", fit_right(&count(series.value), NUMBER)), style),
                Span::styled(sparkline(series.points(now).into_iter(), STEPS, theme), theme.accent),
            ];
            if normal > 0 {
                spans.push(Span::styled(format!(" {}", fit(&info.normal.to_string(), normal)), theme.dim));
            }
            Line::from(spans)
        },
        facts: |row: &Row<'_>| match row {
            Row::Signal(series) => {
                let mut facts = facts_of(series.info(), theme);
                if !series.item.is_empty() {
                    facts.insert(0, (format!("of {}", visible(&series.item)), theme.plain));
                }
                facts
            }
            Row::Missing(missing) => {
                vec![(format!("not on this node: {}: {}", missing.source, missing.reason), theme.plain)]
            }
            _ => Vec::new(),
        },
        none: if state.agent.is_missing() {
            " no signals yet: {deploy} deploys the agent"
        } else {
            " no signals yet: its agent has told none"
        },
    };
    table.draw(frame, area, app, state, theme, hits);
}
