//! A signal: what it means, what is normal, and how it stands on each node.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::closes;
use crate::{
    base::text::visible,
    model::NodeName,
    screens::{
        App,
        signals::{SignalView, Standing, amount_text},
    },
    session::node::{STEPS, SignalState},
    ui::{
        Theme,
        signals::style_of,
        widgets::{dialog, fact, fit, fit_right, long_fact, scrolled, short_name, sparkline},
    },
};

/// Columns of a number.
const NUMBER: usize = 13;
/// So many rows of nodes are made at most; those left out are normal before those that are not.
const MOST: usize = 2000;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, view: SignalView, theme: &Theme) {
    let Some(info) = nodewatch_signals::SIGNALS.get(usize::from(view.signal)) else { return };
    let size = (area.width.saturating_sub(4), area.height.saturating_sub(4));
    let inside = dialog(frame, area, size, &closes(info.name, theme), theme);
    let width = usize::from(inside.width);
    let kind = if info.is_counter() { "counter" } else { "gauge" };
    let on_nodes = app.signal_on_nodes(view.signal);
    let out = on_nodes.iter().filter(|(.., own)| own.out).count();
    let mut lines = long_fact(" means", info.meaning, width, theme);
    if !info.note.is_empty() {
        lines.extend(long_fact(" note", info.note, width, theme));
    }
    lines.extend(long_fact(" normal", &info.normal.to_string(), width, theme));
    lines.extend(long_fact(" source", &format!("{}, {}", info.origin.text(), info.field), width, theme));
    lines.push(fact(" kind", format!("{kind} of {}, of a {}", info.unit, info.scope.word()), theme.plain, theme));
    let (told, style) = match out {
        0 => (format!("none of {}", on_nodes.len()), theme.plain),
        _ => (format!("! {out} of {}", on_nodes.len()), theme.warn),
    };
    lines.push(fact(" out", told, style, theme));
    lines.push(Line::default());
    let name = width.saturating_sub(3 + 2 * (NUMBER + 1) + STEPS + 2).clamp(12, 60);
    let head =
        format!("   {} {} {} LAST 2 MIN", fit("NODE", name), fit_right("60 s", NUMBER), fit_right("NOW", NUMBER));
    lines.push(Line::styled(head, theme.dim));
    lines.extend(on_nodes.iter().take(MOST).map(|row| line(app, row, name, theme)));
    scrolled(frame, inside, lines, app.scroll);
}

fn line(
    app: &App,
    (node, series, own): &(&NodeName, &SignalState, Standing),
    name: usize,
    theme: &Theme,
) -> Line<'static> {
    let info = series.info();
    let recent = if info.is_counter() { amount_text(info, own.amount) } else { String::new() };
    let whole = match series.item.as_str() {
        "" => short_name(node, name),
        item => format!("{} {}", short_name(node, name / 2), visible(item)),
    };
    let style = style_of(own, theme);
    Line::from(vec![
        Span::styled(if own.out { " ! " } else { "   " }, theme.warn),
        Span::styled(format!("{} ", fit(&whole, name)), style),
        Span::styled(format!("{} ", fit_right(&recent, NUMBER)), style),
        Span::styled(format!("{} ", fit_right(&series.value.to_string(), NUMBER)), style),
        Span::styled(sparkline(series.points(app.session.now).into_iter(), STEPS, theme), theme.accent),
    ])
}
