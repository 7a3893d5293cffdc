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
//! message      the latest notice, for a while
//! footer       keys
//! ```

mod answers;
mod connections;
mod dialogs;
mod events;
mod files;
mod footer;
mod header;
mod hits;
mod node;
mod nodes;
mod pods;
mod ports;
mod signals;
mod tail;
mod theme;
mod widgets;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    widgets::Paragraph,
};

pub use hits::{Hits, Target};
pub use theme::{Palette, Theme};

use crate::screens::{App, Layer, Screen, View};

/// What can be typed.
const TEXT_FILTER_HINT: &str = "regex, !regex, node:name, text:word, place:S3";
const FILTER_HINT: &str = "regex, !regex, address, pod:NAME, svc:NAME, zone:1a, -l label=value";
const PORT_FILTER_HINT: &str = "regex, !regex, port:22, class:unexpected, scope:all, device:, node:, owner:";
const PAIR_FILTER_HINT: &str = "regex, !regex, from:, to:, node:, port:443, service:dns, symptom:refused";
const SIGNAL_FILTER_HINT: &str = "regex, !regex, name:conntrack, source:snmp, unit:packets";
/// Below this many rows the list has the screen for itself.
const ROOM_FOR_DETAIL: u16 = 16;

/// From this many rows on there is one to spare for the first-run line.
const ROOM_FOR_HINT: u16 = 12;

/// Draws the whole app, and says what lies where.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme) -> Hits {
    let area = frame.area();
    let mut hits = Hits::default();
    frame.buffer_mut().set_style(area, theme.plain);
    let first_run = u16::from(app.is_first_run() && area.height >= ROOM_FOR_HINT);
    let message = footer::message(app, area, theme);
    let [top, middle, hint, told, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(first_run),
        Constraint::Length(message.len() as u16),
        Constraint::Length(1),
    ])
    .areas(area);
    if first_run > 0 {
        footer::draw_first_run(frame, hint, theme);
    }
    frame.render_widget(Paragraph::new(message), told);
    header::draw(frame, top, app, theme);
    match &app.screen {
        Screen::Nodes if middle.height < ROOM_FOR_DETAIL || app.layout.zoomed => {
            nodes::draw(frame, middle, app, theme, &mut hits);
        }
        Screen::Nodes => {
            // The list takes what its rows need, up to more than half.
            let rows = app.session.nodes.len() as u16 + 2;
            let list = rows.clamp(5, middle.height * 11 / 20);
            let [list, below] = Layout::vertical([Constraint::Length(list), Constraint::Min(0)]).areas(middle);
            nodes::draw(frame, list, app, theme, &mut hits);
            node::draw(frame, below, app, theme, &mut hits);
        }
        Screen::Node(_) => node::draw(frame, middle, app, theme, &mut hits),
        Screen::Files => files::draw(frame, middle, app, theme, &mut hits),
        Screen::Ports => ports::draw(frame, middle, app, theme, &mut hits),
        Screen::Events => events::draw(frame, middle, app, theme, &mut hits),
        Screen::Pods => pods::draw(frame, middle, app, theme, &mut hits),
        Screen::Tail => tail::draw(frame, middle, app, theme),
        Screen::Signals => signals::draw(frame, middle, app, theme, &mut hits),
        Screen::Connections => connections::draw(frame, middle, app, theme, &mut hits),
        Screen::Answers => answers::draw(frame, middle, app, theme, &mut hits),
    }
    footer::draw(frame, bottom, app, theme);
    let first_line = app.top().and_then(|layer| draw_layer(frame, (area, bottom), app, layer, theme));
    if !theme.symbols.unicode {
        in_ascii(frame.buffer_mut());
    }
    // What lies under a dialog is nobody's to point at.
    if app.top().is_some() {
        return Hits::of_dialog(first_line);
    }
    hits.cursor = hits.cursor.take().or_else(|| app.row_under_cursor());
    hits
}

/// Draws it; the first line that is shown of a text that scrolls.
fn draw_layer(
    frame: &mut Frame<'_>,
    (area, bottom): (Rect, Rect),
    app: &App,
    layer: &Layer,
    theme: &Theme,
) -> Option<usize> {
    match layer {
        Layer::Help(reading) => return Some(dialogs::help::draw(frame, area, app, reading, theme)),
        Layer::Notices(reading) => return Some(dialogs::notices::draw(frame, area, app, reading, theme)),
        Layer::History(history) => return Some(dialogs::history::draw(frame, area, app, history, theme)),
        Layer::Exit(view) => return dialogs::exit::draw(frame, area, app, *view, theme),
        Layer::Filter(line) => {
            footer::draw_input(frame, bottom, "/", &line.input, line.error.as_deref(), filter_hint(app), theme);
        }
        Layer::Command(line) => {
            footer::draw_input(frame, bottom, ":", &line.input, line.error.as_deref(), &app.command_hint(), theme);
        }
        Layer::Signal(view) => dialogs::signal::draw(frame, area, app, *view, theme),
        Layer::Connection(view) => return Some(dialogs::connection::draw(frame, area, app, view, theme)),
        Layer::Explanation(code) => return Some(dialogs::explain::draw(frame, area, app, *code, theme)),
        Layer::Form(form) => dialogs::form::draw(frame, area, app, form, theme),
        Layer::Typed(typed) => {
            dialogs::typed::draw(frame, area, typed, app.session.joining.is_wanted(), theme);
        }
        Layer::Confirm(question) => dialogs::confirm::draw(frame, area, app, question, theme),
        Layer::Sessions(list) => dialogs::sessions::draw(frame, area, app, list, theme),
        Layer::Contexts(contexts) => dialogs::contexts::draw(frame, area, app, contexts, theme),
        Layer::Sides(view) => dialogs::sides::draw(frame, area, app, *view, theme),
    }
    None
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
        Screen::Nodes => FILTER_HINT,
        Screen::Node(_) => match app.view {
            View::Ports => PORT_FILTER_HINT,
            View::Flows => "regex, !regex, from:10.0.0.1, to:, proto:udp, tunnel:vxlan",
            View::Files => "regex, !regex, file:name, place:S3",
            View::Events | View::Capture => "regex, !regex, text:word",
            View::Signals => "regex, !regex, name:conntrack, item:eth0, source:snmp",
            View::Connections => PAIR_FILTER_HINT,
        },
        Screen::Ports => PORT_FILTER_HINT,
        Screen::Pods => "regex, !regex, pod:name, node:name, address:10.1.2.3, phase:pending",
        Screen::Signals => SIGNAL_FILTER_HINT,
        Screen::Connections => PAIR_FILTER_HINT,
        Screen::Answers => "regex, !regex, code:n-11, certainty:likely, node:, pod:, service:, place:, text:",
        Screen::Files | Screen::Events | Screen::Tail => TEXT_FILTER_HINT,
    }
}
