//! `replay`: plays back a recording on the terminal.
//!
//! Owns the pace and its keys. What is drawn is what the program drew.

use std::{io, path::Path, time::Duration};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyModifiers};
use ratatui::{Frame, Terminal, backend::TestBackend, layout::Rect, text::Line};

use super::{print, say};
use crate::{
    base::text::{date_and_time, time_of_day},
    cli::{Options, ReplayArgs},
    config::file::Config,
    headless::ExitCode,
    model::{Notice, Summary},
    record::{Player, Step},
    runtime::terminal::{self, Screen},
    screens::App,
    ui::{self, Theme},
};

/// The longest wait for a pause in the recording.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How much a key changes the speed.
const FASTER: f64 = 2.0;
/// Why a recording may have no end.
const CUT: &str = "what came after that was not written: the program was killed, or the disk was full";

pub(super) async fn run(options: &Options, config: &Config, arguments: &ReplayArgs) -> Result<ExitCode, Notice> {
    let mut player = Player::open(&arguments.file).map_err(|error| error.notice())?;
    let theme = Theme::from_environment(options.display.theme, options.display.ascii, config.keys.clone());
    if arguments.print {
        let text = last_frame(&mut player, &theme)?;
        print(&text);
        return Ok(whole(&player));
    }
    terminal::check("use --print")?;
    let failed = |error: io::Error| Notice::error("terminal error", error.to_string(), "");
    let mut screen = Screen::open(theme, false).map_err(failed)?;
    play(&mut screen, &mut player, arguments.speed).await.map(|()| ExitCode::Done)
}

/// What the session's report would say at the end of a recording, and whether that was the session's end.
pub(super) fn summary(file: &Path) -> Result<(Summary, ExitCode), Notice> {
    let mut player: Player<App> = Player::open(file).map_err(|error| error.notice())?;
    while player.step().map_err(|error| error.notice())?.is_some() {}
    Ok((player.state.session.summary(), whole(&player)))
}

/// Says of a recording that was played whether it ends before its session did.
fn whole(player: &Player<App>) -> ExitCode {
    if player.is_whole() {
        return ExitCode::Done;
    }
    let at = date_and_time(player.state.session.now);
    let headline = format!("the recording ends too early, at {at}");
    say(&format!("warning: {}", Notice::warning(headline, CUT, "").line()));
    ExitCode::Partly
}

fn last_frame(player: &mut Player<App>, theme: &Theme) -> Result<String, Notice> {
    let mut text = String::new();
    while let Some(step) = player.step().map_err(|error| error.notice())? {
        if let Step::Frame(_, width, height) = step {
            let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
            let Ok(_) = terminal.draw(|frame| drop(ui::draw(frame, player.state.picture(), theme)));
            text = lines(&terminal);
        }
    }
    Ok(text)
}

fn lines(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).fold(String::new(), |all, y| all + row(y).trim_end() + "\n")
}

/// How the recording is played.
struct Pace {
    speed: f64,
    paused: bool,
}

async fn play(screen: &mut Screen, player: &mut Player<App>, speed: f64) -> Result<(), Notice> {
    let failed = |error: io::Error| Notice::error("terminal error", error.to_string(), "");
    let mut pace = Pace { speed, paused: false };
    let mut shown_at = None;
    let mut ended = false;
    loop {
        let step = if ended { None } else { player.step().map_err(|error| error.notice())? };
        ended |= step.is_none();
        let at = match step {
            Some(Step::Event(_)) => continue,
            Some(Step::Frame(at, ..)) => at,
            None => player.state.session.now,
        };
        let gap = Duration::from_millis(at.saturating_sub(shown_at.replace(at).unwrap_or(at)));
        let mut wait = gap.div_f64(pace.speed).min(LONGEST_WAIT);
        loop {
            let draw = |frame: &mut Frame<'_>, theme: &Theme| {
                ui::draw(frame, player.state.picture(), theme);
                let end = ended.then(|| player.is_whole());
                status(frame, &pace, at, end, theme);
            };
            screen.show(draw).map_err(failed)?;
            let still = ended || pace.paused;
            tokio::select! {
                () = tokio::time::sleep(wait), if !still => break,
                key = screen.key() => match key.map_err(failed)? {
                    None => return Ok(()),
                    Some(key) => match heard(&key, &mut pace) {
                        Heard::Quit => return Ok(()),
                        Heard::Next if !ended => break,
                        Heard::Next | Heard::Other => wait = Duration::ZERO,
                    },
                },
            }
        }
    }
}

/// What a key means while a recording is played.
enum Heard {
    Quit,
    /// The next frame.
    Next,
    Other,
}

fn heard(event: &TerminalEvent, pace: &mut Pace) -> Heard {
    let TerminalEvent::Key(key) = event else { return Heard::Other };
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Heard::Quit,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Heard::Quit,
        KeyCode::Right | KeyCode::Char('l') => return Heard::Next,
        KeyCode::Char(' ') => pace.paused = !pace.paused,
        KeyCode::Char('+') => pace.speed *= FASTER,
        KeyCode::Char('-') => pace.speed /= FASTER,
        _ => {}
    }
    Heard::Other
}

/// Over the right end of the last line, so that everything else is as it was.
/// `end` says at the end whether it is the session's.
fn status(frame: &mut Frame<'_>, pace: &Pace, at: u64, end: Option<bool>, theme: &Theme) {
    let state = match (end, pace.paused) {
        (Some(true), _) => "END",
        (Some(false), _) => "CUT OFF HERE",
        (None, true) => "PAUSED",
        (None, false) => "REPLAY",
    };
    let speed = pace.speed;
    let text = format!(" {state} {} {speed}x  Space pause  Right step  + - speed  q quit ", time_of_day(at));
    let area = frame.area();
    let width = (text.len() as u16).min(area.width);
    let end = Rect { x: area.right() - width, y: area.bottom().saturating_sub(1), width, height: area.height.min(1) };
    frame.render_widget(Line::styled(text, theme.selected), end);
}
