//! Writes the README's pictures into `assets/`, from frames that the program itself draws. Run by `make pictures`.

#[path = "../tests/support/sample.rs"]
mod sample;

use std::{fmt::Write, path::Path};

use nodewatch_tui::{
    app::{Action, Event},
    ui::{self, Theme},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Modifier},
};

const CELL: (usize, usize) = (9, 19);

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut app = sample::busy();
    app.view = nodewatch_tui::app::View::Capture;
    std::fs::write(folder.join("nodes.svg"), svg(&frame(&app)))?;
    sample::feed(&mut app, [Event::Action(Action::Quit), sample::stock()]);
    std::fs::write(folder.join("exit.svg"), svg(&frame(&app)))?;
    let mut app = sample::delivering();
    sample::feed(&mut app, [Action::Files, Action::Down].map(Event::Action));
    std::fs::write(folder.join("files.svg"), svg(&frame(&app)))?;
    let mut app = sample::reporting();
    sample::feed(&mut app, [Action::Ports, Action::Down].map(Event::Action));
    std::fs::write(folder.join("ports.svg"), svg(&frame(&app)))
}

fn frame(app: &nodewatch_tui::app::App) -> Buffer {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(120, 30));
    let Ok(_) = terminal.draw(|frame| drop(ui::draw(frame, app, &Theme::standard())));
    terminal.backend().buffer().clone()
}

fn svg(buffer: &Buffer) -> String {
    let (width, height) = (usize::from(buffer.area.width) * CELL.0, usize::from(buffer.area.height) * CELL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#16181d\"/>\n"
    );
    for y in 0..buffer.area.height {
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let reversed = cell.modifier.contains(Modifier::REVERSED);
            let (left, top) = (usize::from(x) * CELL.0, usize::from(y) * CELL.1);
            // Writing to a String does not fail.
            if reversed {
                let _ = writeln!(
                    out,
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"#d7dae0\"/>",
                    CELL.0, CELL.1
                );
            }
            if cell.symbol().trim().is_empty() {
                continue;
            }
            let fill = if reversed { "#16181d" } else { colour(cell.fg) };
            let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let symbol = cell.symbol().replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(out, "<text x=\"{left}\" y=\"{}\" fill=\"{fill}\"{weight}>{symbol}</text>", top + 15);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::DarkGray => "#7a808c",
        Color::Green => "#7ec16e",
        Color::Yellow => "#e5c07b",
        Color::Red => "#e5686f",
        Color::Cyan => "#5ab0c4",
        _ => "#d7dae0",
    }
}
