//! Drawing only: the app as a picture, one file a screen.
//!
//! Reads the app by shared reference and changes nothing. The screen, top to bottom:
//!
//! ```text
//! header       place, session, deadline, agents, time
//! title        what is listed, filter
//! list         nodes               | or, opened with Enter:
//! tabs         the cursor's node   | tabs, and the view over the whole screen
//! view         ports, capture, ...
//! footer       notice, or keys
//! ```

mod all_events;
mod all_ports;
mod capture;
mod contexts;
mod dialogs;
mod events;
mod exit;
mod files;
mod flows;
mod footer;
mod header;
mod hits;
mod nodes;
mod ports;
mod sessions;
mod theme;
mod widgets;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

pub use hits::{Hits, Target};
pub use theme::{Palette, Theme};

use crate::{
    app::{App, Overlay, Screen, View, node::NodeState},
    base::text::visible,
};

/// What can be typed.
const TEXT_FILTER_HINT: &str = "regex, !regex, node:name, text:word, place:S3";
const FILTER_HINT: &str = "regex, !regex, -l label=value, zone:1a";
const PORT_FILTER_HINT: &str = "regex, !regex, port:22, class:unexpected, scope:all, device:, node:, owner:";
/// Below this many rows the list has the screen for itself.
const ROOM_FOR_DETAIL: u16 = 16;

/// From this many rows on there is one to spare for the first-run line.
const ROOM_FOR_HINT: u16 = 12;

/// Draws the whole app, and says what lies where.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme) -> Hits {
    let area = frame.area();
    let mut hits = Hits::default();
    frame.buffer_mut().set_style(area, theme.plain);
    let first_run = u16::from(app.first_run && area.height >= ROOM_FOR_HINT);
    let [top, middle, hint, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(first_run),
        Constraint::Length(1),
    ])
    .areas(area);
    if first_run > 0 {
        footer::draw_first_run(frame, hint, theme);
    }
    header::draw(frame, top, app, theme);
    match &app.screen {
        Screen::Nodes if middle.height < ROOM_FOR_DETAIL || app.layout.zoomed => {
            nodes::draw(frame, middle, app, theme, &mut hits);
        }
        Screen::Nodes => {
            // The list takes what its rows need, up to more than half.
            let rows = app.nodes.len() as u16 + 2;
            let list = rows.clamp(5, middle.height * 11 / 20);
            let [list, below] = Layout::vertical([Constraint::Length(list), Constraint::Min(0)]).areas(middle);
            nodes::draw(frame, list, app, theme, &mut hits);
            detail(frame, below, app, theme, &mut hits);
        }
        Screen::Node(_) => detail(frame, middle, app, theme, &mut hits),
        Screen::Files => files::screen(frame, middle, app, theme, &mut hits),
        Screen::Ports => all_ports::screen(frame, middle, app, theme, &mut hits),
        Screen::Events => all_events::screen(frame, middle, app, theme, &mut hits),
    }
    footer::draw(frame, bottom, app, theme);
    match &app.overlay {
        None => {}
        Some(Overlay::FilterInput { input, error, .. }) => {
            footer::draw_input(frame, bottom, "/", input, error.as_deref(), filter_hint(app), theme);
        }
        Some(Overlay::Command { input, error, .. }) => {
            footer::draw_input(frame, bottom, ":", input, error.as_deref(), &app.command_hint(), theme);
        }
        Some(Overlay::History(history)) => dialogs::history(frame, area, app, history, theme),
        Some(Overlay::Help) => dialogs::help(frame, area, app, theme),
        Some(Overlay::Notices) => dialogs::notices(frame, area, app, theme),
        Some(Overlay::Form(form)) => dialogs::form(frame, area, app, form, theme),
        Some(Overlay::Confirm(question)) => dialogs::confirm(frame, area, app, question, theme),
        Some(Overlay::Sessions(list)) => sessions::draw(frame, area, app, list, theme),
        Some(Overlay::Typed(text)) => sessions::typed(frame, area, text, app.joining.is_wanted(), theme),
        Some(Overlay::Contexts(contexts)) => contexts::draw(frame, area, app, contexts, theme),
        Some(Overlay::Exit(exit)) => exit::draw(frame, area, app, exit, theme),
    }
    if !theme.symbols.unicode {
        in_ascii(frame.buffer_mut());
    }
    // What lies under a dialog is nobody's to point at.
    if app.overlay.is_some() {
        return Hits::default();
    }
    hits.cursor = hits.cursor.take().or_else(|| app.row_under_cursor());
    hits
}

/// What the library draws of charts, and letters of others that the terminal has no sign for.
fn in_ascii(buffer: &mut Buffer) {
    for cell in buffer.content.iter_mut().filter(|cell| !cell.symbol().is_ascii()) {
        cell.set_symbol(match cell.symbol() {
            "│" => "|",
            "─" => "-",
            "└" => "+",
            _ => "?",
        });
    }
}

fn filter_hint(app: &App) -> &'static str {
    match app.screen {
        Screen::Nodes | Screen::Node(_) => FILTER_HINT,
        Screen::Ports => PORT_FILTER_HINT,
        Screen::Files | Screen::Events => TEXT_FILTER_HINT,
    }
}

/// The tabs of the cursor's node, and the chosen view.
fn detail(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let full = matches!(app.screen, Screen::Node(_));
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
        View::Ports => ports::draw(frame, body, app, state, theme),
        View::Capture => capture::draw(frame, body, app, state, theme, hits),
        View::Flows => flows::draw(frame, body, app, state, theme),
        View::Files => files::draw(frame, body, app, state, theme, full),
        View::Events => events::draw(frame, body, app, state, theme),
    }
}

/// Why there is nothing to see of a node yet.
fn blocked(state: &NodeState, theme: &Theme) -> Option<(String, Style)> {
    use crate::app::node::Agent;
    let nothing_seen = !state.scanned && (state.events.len() < 3 || state.is_to_start());
    match &state.agent {
        Agent::Failed(notice) | Agent::Ended(notice) => {
            let mut text = notice.headline.clone();
            for more in [&notice.cause, &theme.next_step(notice)] {
                if !more.is_empty() {
                    text = format!("{text}\n{more}");
                }
            }
            (!state.scanned).then_some((text, theme.bad))
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
    let room = usize::from(area.width).saturating_sub(49 + lead.width());
    let mut spans = vec![
        Span::styled(lead, theme.dim),
        Span::styled(widgets::short_name(&state.node.name, room), theme.title),
        Span::styled(format!(" {rule}{rule} "), theme.dim),
    ];
    let mut used: usize = spans.iter().map(Span::width).sum();
    for (index, view) in View::ALL.into_iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled(format!(" {rule} "), theme.dim));
            used += 3;
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
    line.push_span(Span::styled(rule.repeat(rest), theme.dim));
    frame.render_widget(line, area);
}
