//! The README's pictures and its demo, from frames that the program itself draws.

use std::fmt::Write;

use nodewatch_protocol::{CaptureState, FileState, StopReason, Update};
use nodewatch_tui::{
    app::{Action, App, Edit, Event, View},
    model::FetchProgress,
    ui::{self, Palette, Theme},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::sample::{NOW, busy, delivering, feed, file, reporting, stock, tunnel};

/// A cell's size.
const CELL: (usize, usize) = (9, 19);
const SIZE: (u16, u16) = (120, 30);
const DEMO: (u16, u16) = (100, 26);
/// Seconds that a frame of the demo stays.
const STAYS: usize = 2;

/// Every picture with its name.
pub fn all() -> Vec<(&'static str, String)> {
    let mut nodes = busy();
    nodes.view = View::Capture;
    let mut exit = nodes.clone();
    feed(&mut exit, [Event::Action(Action::Quit), stock()]);
    let mut files = delivering();
    feed(&mut files, [Action::Files, Action::Down].map(Event::Action));
    let mut ports = reporting();
    feed(&mut ports, [Action::Ports, Action::Down].map(Event::Action));
    let of = |app: &App| picture(&frame(app, SIZE));
    vec![
        ("nodes.svg", of(&nodes)),
        ("exit.svg", of(&exit)),
        ("files.svg", of(&files)),
        ("ports.svg", of(&ports)),
        ("demo.svg", demo(&film())),
    ]
}

/// An incident in a minute: the frames after each step.
fn film() -> Vec<Buffer> {
    let mut app = busy();
    app.view = View::Ports;
    app.marks.clear();
    let live = app.cursor.clone().map(|name| name.0).unwrap_or_default();
    let key = |action: Action| vec![Event::Action(action)];
    let typed = |text: &str| -> Vec<Event> {
        text.chars().map(|character| Event::Action(Action::Edit(Edit::Insert(character)))).collect()
    };
    let stopped = CaptureState::Stopped { since: NOW - 72_000, at: NOW, reason: StopReason::Asked };
    let name = "20231114T221208.000000Z-0001.pcapng";
    let here =
        FetchProgress::Done { path: format!("nodewatch-captures/7f3a91c2/{name}").into(), sha256: "3f5a".repeat(16) };
    let steps: Vec<Vec<Event>> = vec![
        vec![],
        key(Action::Filter).into_iter().chain(typed("zone:1a")).collect(),
        [Action::Open, Action::Open].map(Event::Action).to_vec(),
        key(Action::NextView),
        key(Action::NextView),
        [Action::Back, Action::Ports].map(Event::Action).to_vec(),
        key(Action::Events),
        vec![
            tunnel(&live, Update::Capture(stopped)),
            tunnel(&live, Update::Files(vec![file(name, 67_108_000, FileState::Closed)])),
            Event::Fetch(live.as_str().into(), name.into(), FetchProgress::Bytes(30_000_000)),
            Event::Action(Action::Files),
        ],
        vec![Event::Fetch(live.as_str().into(), name.into(), here)],
        vec![Event::Action(Action::Quit), stock()],
    ];
    let mut frames = Vec::new();
    for step in steps {
        feed(&mut app, step);
        frames.push(frame(&app, DEMO));
    }
    frames
}

fn frame(app: &App, (width, height): (u16, u16)) -> Buffer {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let theme = Theme::in_true_colour(Palette::Dark);
    let Ok(_) = terminal.draw(|frame| drop(ui::draw(frame, app, &theme)));
    terminal.backend().buffer().clone()
}

fn head(buffer: &Buffer) -> String {
    let (width, height) = (usize::from(buffer.area.width) * CELL.0, usize::from(buffer.area.height) * CELL.1);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" xml:space=\"preserve\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14.9\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#16181d\"/>\n"
    )
}

fn picture(buffer: &Buffer) -> String {
    format!("{}{}</svg>\n", head(buffer), rows(buffer))
}

/// One frame after the other, for ever.
fn demo(frames: &[Buffer]) -> String {
    let whole = frames.len() * STAYS;
    let share = 100.0 / frames.len() as f64;
    let mut out = head(&frames[0]);
    let _ = writeln!(
        out,
        "<style>g{{visibility:hidden;animation:show {whole}s step-end infinite}}g:first-of-type{{visibility:visible}}\
         @keyframes show{{0%{{visibility:visible}}{share:.3}%{{visibility:hidden}}}}</style>"
    );
    for (index, buffer) in frames.iter().enumerate() {
        let _ = writeln!(out, "<g style=\"animation-delay:{}s\">\n{}</g>", index * STAYS, rows(buffer));
    }
    out.push_str("</svg>\n");
    out
}

/// Each row as runs of cells that look alike.
fn rows(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut x = 0;
        while x < buffer.area.width {
            let first = &buffer[(x, y)];
            let end = (x..buffer.area.width).find(|&at| looks(&buffer[(at, y)]) != looks(first));
            let end = end.unwrap_or(buffer.area.width);
            let text: String = (x..end).map(|at| buffer[(at, y)].symbol()).collect();
            run(&mut out, (x, y), usize::from(end - x), &text, looks(first));
            x = end;
        }
    }
    out
}

/// Colour, whether it is reversed, whether it is bold.
fn looks(cell: &Cell) -> (Color, bool, bool) {
    let blank = cell.symbol().trim().is_empty() && !cell.modifier.contains(Modifier::REVERSED);
    // A blank looks like what is beside it, which makes longer runs.
    let colour = if blank { Color::Reset } else { cell.fg };
    (colour, cell.modifier.contains(Modifier::REVERSED), cell.modifier.contains(Modifier::BOLD) && !blank)
}

fn run(out: &mut String, (x, y): (u16, u16), cells: usize, text: &str, (colour, reversed, bold): (Color, bool, bool)) {
    let (left, top) = (usize::from(x) * CELL.0, usize::from(y) * CELL.1);
    let wide = cells * CELL.0;
    // Writing to a String does not fail.
    if reversed {
        let _ =
            writeln!(out, "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" fill=\"#d7dae0\"/>", CELL.1);
    }
    if text.trim().is_empty() {
        return;
    }
    let fill = if reversed { "#16181d".to_owned() } else { hex(colour) };
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text x=\"{left}\" y=\"{}\" textLength=\"{wide}\" fill=\"{fill}\"{weight}>{text}</text>",
        top + 15
    );
}

fn hex(colour: Color) -> String {
    match colour {
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        _ => "#d7dae0".to_owned(),
    }
}
