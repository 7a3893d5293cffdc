//! One node: the tabs of its views, and the chosen one.

mod capture;
mod connections;
mod events;
mod files;
mod flows;
mod ports;
mod rows;
mod signals;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use super::{Hits, Theme, widgets};
use crate::{
    base::text::{counted, visible},
    screens::{App, Screen, View},
    session::node::{Agent, NodeState},
};

/// From this width on there is room for rules between tabs.
const ROOM_FOR_RULES: u16 = 100;

/// The tabs of the cursor's node, and the chosen view.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let [tabs, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let Some(state) = app.current() else {
        frame.render_widget(Paragraph::new(theme.symbols.rule.repeat(usize::from(tabs.width))).style(theme.dim), tabs);
        return;
    };
    draw_tabs(frame, tabs, app, state, theme, hits);
    if let Some((reason, style)) = blocked(state, theme) {
        let lines: Vec<String> = reason.lines().map(|line| format!(" {}", visible(line))).collect();
        frame.render_widget(widgets::wrapped(&lines.join("\n")).style(style), body);
        return;
    }
    match app.view {
        View::Ports => ports::draw(frame, body, app, state, theme, hits),
        View::Capture => capture::draw(frame, body, app, state, theme, hits),
        View::Flows => flows::draw(frame, body, app, state, theme, hits),
        View::Files => files::draw(frame, body, app, state, theme, hits),
        View::Events => events::draw(frame, body, app, state, theme, hits),
        View::Signals => signals::draw(frame, body, app, state, theme, hits),
        View::Connections => connections::draw(frame, body, app, state, theme, hits),
    }
}

/// What filter, order and faults-only make of the view.
fn narrowed(app: &App, theme: &Theme) -> String {
    let tab = app.tabs.of(app.view);
    let faults = (app.layout.faults_only
        && matches!(app.view, View::Ports | View::Files | View::Signals | View::Connections))
    .then(|| "faults only".to_owned());
    let order = tab.order.map(|order| format!("by {}", order.text(theme.symbols.unicode)));
    let filter = (!tab.filter.is_empty()).then(|| format!("filter: {}", visible(&tab.filter)));
    let clients = (app.view == View::Ports).then(|| app.current().map_or(0, |state| app.clients(state)));
    let clients =
        clients.filter(|count| *count > 0).map(|count| format!("{} not listed", counted(count, "client socket")));
    clients.into_iter().chain(faults).chain(order).chain(filter).collect::<Vec<_>>().join("  ")
}

/// Why there is nothing to see of a node yet.
fn blocked(state: &NodeState, theme: &Theme) -> Option<(String, Style)> {
    let nothing_seen = !state.ports.known && (state.log.events.len() < 3 || state.is_to_start());
    match &state.agent {
        Agent::Failed(notice) | Agent::Ended(notice) => {
            let mut text = notice.headline.clone();
            for more in [&notice.cause, &theme.next_step(notice)] {
                if !more.is_empty() {
                    text = format!("{text}\n{more}");
                }
            }
            (!state.ports.known).then_some((text, theme.bad))
        }
        Agent::Deploying(step) if nothing_seen => {
            let then = state.waits_for().map(|waits| format!("\n{}", theme.keys.fill(waits))).unwrap_or_default();
            Some((format!("deploying: {step}{then}"), theme.accent))
        }
        _ => None,
    }
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let rule = theme.symbols.rule;
    // The tabs and the rules between them come first.
    let full = matches!(app.screen, Screen::Node(_));
    let lead = if full { format!(" NODES {} ", theme.symbols.crumb) } else { format!(" {rule} ") };
    // On a narrow screen tabs stand closer, so that the node's name has room.
    let gap = if area.width >= ROOM_FOR_RULES { format!(" {rule} ") } else { " ".to_owned() };
    let titles: usize = View::ALL.iter().map(|view| view.title().len()).sum();
    let between = (View::ALL.len() - 1) * gap.width();
    let room = usize::from(area.width).saturating_sub(titles + between + 9 + lead.width());
    let mut spans = vec![
        Span::styled(lead, theme.dim),
        Span::styled(widgets::short_name(&state.node.name, room), theme.title),
        Span::styled(format!(" {rule}{rule} "), theme.dim),
    ];
    let mut used: usize = spans.iter().map(Span::width).sum();
    for (index, view) in View::ALL.into_iter().enumerate() {
        if index > 0 {
            used += gap.width();
            spans.push(Span::styled(gap.clone(), theme.dim));
        }
        let width = view.title().len() + if view == app.view { 2 } else { 0 };
        hits.tab(area, used, width, index);
        used += width;
        if view == app.view {
            spans.push(Span::styled(format!("[{}]", view.title()), theme.selected));
        } else {
            spans.push(Span::styled(view.title(), theme.dim));
        }
    }
    spans.push(Span::raw(" "));
    let line = Line::from(spans);
    let rest = usize::from(area.width).saturating_sub(line.width());
    let mut line = line;
    // What narrows the view stands at the right, cut where there is no room: the filter's own line has it whole.
    let narrowed = narrowed(app, theme);
    let shown = if narrowed.is_empty() { String::new() } else { format!(" {narrowed} ") };
    let shown = if shown.width() > rest { widgets::fit(&shown, rest) } else { shown };
    line.push_span(Span::styled(rule.repeat(rest - shown.width()), theme.dim));
    line.push_span(Span::styled(shown, theme.accent));
    frame.render_widget(line, area);
}
