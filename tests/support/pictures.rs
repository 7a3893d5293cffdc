//! The documentation's pictures and its demo, from frames that the program itself draws.

use std::fmt::Write;

use nodewatch_protocol::{CaptureState, FileState, StopReason, Update};
use nodewatch_tui::{
    model::FetchProgress,
    screens::{Action, App, Column, Edit, Input, View},
    session::Event,
    ui::{self, Palette, Theme},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::incident::{self, WATCHED};
use super::sample::{NOW, feed, tunnel};

/// A cell's size.
const CELL: (usize, usize) = (9, 19);
const SIZE: (u16, u16) = (120, 30);
const DEMO: (u16, u16) = (100, 26);
/// A dark terminal's own two colours.
const PAPER: &str = "#16181d";
const INK: &str = "#d7dae0";
/// Seconds that a frame of the demo stays.
const STAYS: usize = 2;

/// Every picture with its name.
pub fn all() -> Vec<(&'static str, String)> {
    let mut nodes = incident::listed();
    incident::live(&mut nodes);
    let mut ports = nodes.clone();
    incident::capturing(&mut nodes);
    incident::starting(&mut nodes);
    nodes.view = View::Capture;
    let mut exit = nodes.clone();
    feed(&mut exit, [Input::Key(Action::Quit)]);
    feed(&mut exit, [incident::stock()]);
    let mut files = nodes.clone();
    incident::delivering(&mut files);
    feed(&mut files, [Action::Files, Action::Down].map(Input::Key));
    feed(&mut ports, [Action::Ports, Action::Sort(Column::Class)].map(Input::Key));
    let of = |app: &App| picture(&frame(app, SIZE));
    vec![
        ("nodes.svg", of(&nodes)),
        ("exit.svg", of(&exit)),
        ("files.svg", of(&files)),
        ("ports.svg", of(&ports)),
        ("demo.svg", demo(&film())),
    ]
}

/// An incident in half a minute: the frames after each step.
fn film() -> Vec<Buffer> {
    type Step = Box<dyn Fn(&mut App)>;
    let key = |actions: &[Action]| -> Step {
        let actions = actions.to_vec();
        Box::new(move |app| feed(app, actions.iter().copied().map(Input::Key)))
    };
    let typed = |text: &'static str| -> Step {
        Box::new(move |app| feed(app, text.chars().map(|letter| Input::Key(Action::Edit(Edit::Insert(letter))))))
    };
    let steps: Vec<Step> = vec![
        Box::new(|_| ()),
        key(&[Action::Filter]),
        typed("10-0-1|2-7"),
        key(&[Action::Open, Action::MarkAll]),
        key(&[Action::Deploy]),
        key(&[Action::Open]),
        Box::new(incident::live),
        key(&[Action::Capture]),
        Box::new(|app| {
            incident::capturing(app);
            app.view = View::Capture;
        }),
        key(&[Action::Open]),
        key(&[Action::NextView]),
        key(&[Action::Ports, Action::Sort(Column::Class)]),
        Box::new(|app| {
            feed(app, stopped());
            feed(app, [Input::Key(Action::Files)]);
        }),
        Box::new(|app| feed(app, fetched(2))),
        key(&[Action::Quit]),
        Box::new(|app| feed(app, [incident::stock()])),
        Box::new(|app| {
            feed(app, [Input::Key(Action::Open)]);
            feed(app, fetched(3));
        }),
        Box::new(|app| feed(app, incident::removed())),
    ];
    let mut app = incident::listed();
    let mut frames = Vec::new();
    for step in steps {
        step(&mut app);
        frames.push(frame(&app, DEMO));
    }
    frames
}

/// Captures have ended, and their files are closed.
fn stopped() -> Vec<Event> {
    let state = CaptureState::Stopped { since: NOW - 72_000, at: NOW, reason: StopReason::Asked };
    let of = |(at, name): (u64, &str)| {
        let mut files = incident::files(at);
        for file in &mut files {
            file.state = FileState::Closed;
        }
        [tunnel(name, Update::Capture(state.clone())), tunnel(name, Update::Files(files))]
    };
    (0..).zip(WATCHED).flat_map(of).collect()
}

/// The files of so many nodes are here, those of others on their way.
fn fetched(nodes: u64) -> Vec<Event> {
    let of = |(at, name): (u64, &'static str)| {
        incident::files(at).into_iter().map(move |file| {
            let path = format!("nodewatch-captures/7f3a91c2/{name}/{}", file.name);
            let done = FetchProgress::Done { path: path.into(), sha256: "3f5a".repeat(16) };
            let progress = if at < nodes { done } else { FetchProgress::Bytes(file.size * 2 / 3) };
            Event::Fetch(name.into(), file.name, progress)
        })
    };
    (0..).zip(WATCHED).flat_map(of).collect()
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
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14.9\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>\n"
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
            let signs: Vec<&str> = (x..end).map(|at| buffer[(at, y)].symbol()).collect();
            run(&mut out, (x, y), &signs, &looks(first));
            x = end;
        }
    }
    out
}

/// How a cell looks.
#[derive(PartialEq, Eq)]
struct Looks {
    colour: String,
    behind: Option<String>,
    bold: bool,
}

fn looks(cell: &Cell) -> Looks {
    let blank = cell.symbol().trim().is_empty();
    let bold = cell.modifier.contains(Modifier::BOLD) && !blank;
    let behind = (cell.bg != Color::Reset).then(|| hex(cell.bg));
    if cell.modifier.contains(Modifier::REVERSED) {
        return Looks { colour: PAPER.to_owned(), behind: Some(hex(cell.fg)), bold };
    }
    // A blank looks like what is beside it, which makes longer runs.
    Looks { colour: hex(if blank { Color::Reset } else { cell.fg }), behind, bold }
}

fn run(out: &mut String, (x, y): (u16, u16), signs: &[&str], looks: &Looks) {
    let (left, top) = (usize::from(x) * CELL.0, usize::from(y) * CELL.1);
    let wide = signs.len() * CELL.0;
    // Writing to a String does not fail.
    if let Some(behind) = &looks.behind {
        let _ =
            writeln!(out, "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" fill=\"{behind}\"/>", CELL.1);
    }
    let text = signs.concat();
    if text.trim().is_empty() {
        return;
    }
    let fill = &looks.colour;
    let weight = if looks.bold { " font-weight=\"bold\"" } else { "" };
    if text.chars().all(|sign| BRAILLE.contains(&sign) || sign == ' ') {
        let _ = writeln!(
            out,
            "<path d=\"{}\" stroke=\"{fill}\" stroke-width=\"2.6\" stroke-dasharray=\"2.6 1.9\"/>",
            dots((left, top), &text)
        );
        return;
    }
    let mut at = 0;
    for same in signs.chunk_by(|a, b| a == b && *a != "│") {
        if let Some((x, y, width, height)) = shape(same[0]) {
            let (from, wide) = ((left + at * CELL.0) as f64 + x, ((same.len() - 1) * CELL.0) as f64 + width);
            let y = top as f64 + y;
            let _ =
                writeln!(out, "<rect x=\"{from}\" y=\"{y}\" width=\"{wide}\" height=\"{height}\" fill=\"{fill}\"/>");
        }
        at += same.len();
    }
    for (at, piece) in pieces(signs) {
        let text = piece.concat().replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" textLength=\"{}\" fill=\"{fill}\"{weight}>{text}</text>",
            left + at * CELL.0,
            top + 15,
            piece.len() * CELL.0
        );
    }
}

/// Signs that go on in the next cell, as what they are there: place and size in a cell. Fonts leave gaps between them.
fn shape(sign: &str) -> Option<(f64, f64, f64, f64)> {
    match sign {
        "█" => Some((0.0, 0.0, 9.0, 19.0)),
        "▌" => Some((0.0, 0.0, 4.5, 19.0)),
        "─" => Some((0.0, 9.0, 9.0, 1.0)),
        "│" => Some((4.0, 0.0, 1.0, 19.0)),
        _ => None,
    }
}

/// Signs with at most one blank between them, and where they begin: viewers differ in whether more of them count.
fn pieces<'a>(signs: &'a [&'a str]) -> Vec<(usize, &'a [&'a str])> {
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for at in (0..signs.len()).filter(|&at| signs[at] != " " && shape(signs[at]).is_none()) {
        match pieces.last_mut() {
            Some((_, end)) if at == *end || (at == *end + 1 && signs[*end] == " ") => *end = at + 1,
            _ => pieces.push((at, at + 1)),
        }
    }
    pieces.into_iter().map(|(from, to)| (from, &signs[from..to])).collect()
}

const BRAILLE: std::ops::RangeInclusive<char> = '\u{2800}'..='\u{28ff}';

/// Braille as it is, two by four dots a sign, as dashed lines: no font has to have it, or to be as wide as ours.
fn dots((left, top): (usize, usize), text: &str) -> String {
    // The bits of a sign's rows, left and right: the fourth row came later to Unicode.
    const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let mut path = String::new();
    for (row, bits) in BITS.into_iter().enumerate() {
        let of = |sign: char| bits.map(|bit| BRAILLE.contains(&sign) && u32::from(sign) & bit != 0);
        let row_of_dots: Vec<bool> = text.chars().flat_map(of).collect();
        let mut column = 0;
        for run in row_of_dots.chunk_by(|a, b| a == b) {
            if run[0] {
                let (x, y) = (left as f64 + column as f64 * 4.5 + 1.0, top as f64 + row as f64 * 4.75 + 2.4);
                let _ = write!(path, "M{x} {y}H{}", x + run.len() as f64 * 4.5 - 1.9);
            }
            column += run.len();
        }
    }
    path
}

fn hex(colour: Color) -> String {
    match colour {
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        _ => INK.to_owned(),
    }
}
