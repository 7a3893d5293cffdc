//! The terminal: raw mode and its end, the loop of keys, events and frames.
//!
//! Owns the pace: a key is drawn at once, everything else at most ten times a second.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use crossterm::{
    clipboard::CopyToClipboard,
    event::{DisableBracketedPaste, EnableBracketedPaste, Event as TerminalEvent, EventStream},
    execute,
    terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use futures::{Stream, StreamExt};
use ratatui::{Terminal, backend::Backend};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::Engine;
use crate::{
    app::{Action, Edit, Event, Scope},
    config::keymap,
    ui,
};

/// Between two frames that no key asked for.
const FRAME: Duration = Duration::from_millis(100);
/// Events taken in before keys are looked at again.
const BATCH: usize = 256;

/// Puts the terminal back, whatever happens: dropped on return and on unwinding, and run by the panic hook.
struct Guard;

impl Guard {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let guard = Self;
        // Not ratatui's own clearing, which asks for the cursor: the keys' reader of an earlier session in this program
        // may take the answer.
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste)?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A terminal that is gone cannot be put back.
    let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// Runs the program on the real terminal until the user leaves.
pub async fn run(engine: &mut Engine) -> io::Result<()> {
    let _guard = Guard::enter()?;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        hook(info);
    }));
    let mut terminal = Terminal::new(ratatui::backend::CrosstermBackend::new(io::stdout()))?;
    let theme = ui::Theme::from_environment();
    drive(engine, &mut terminal, &theme, EventStream::new(), |_| {}).await
}

/// The loop, over any terminal and any source of keys. `drawn` is told after each frame.
pub async fn drive<B: Backend<Error = io::Error>>(
    engine: &mut Engine,
    terminal: &mut Terminal<B>,
    theme: &ui::Theme,
    mut input: impl Stream<Item = io::Result<TerminalEvent>> + Unpin,
    mut drawn: impl FnMut(&Terminal<B>),
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut frozen = None;
    let mut next_frame = Instant::now();
    let mut dirty = true;
    loop {
        if dirty && Instant::now() >= next_frame {
            // Paused, the screen shows the app as it was; dialogs end the pause.
            let paused = engine.app.paused && engine.app.overlay.is_none();
            if !paused {
                frozen = None;
            }
            let shown = if paused { &*frozen.get_or_insert_with(|| engine.app.clone()) } else { &engine.app };
            terminal.draw(|frame| ui::draw(frame, shown, theme))?;
            if let Some(text) = engine.clipboard.take().filter(|_| io::stdout().is_terminal()) {
                execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
            }
            drawn(terminal);
            dirty = false;
            next_frame = Instant::now() + FRAME;
        }
        tokio::select! {
            biased;
            key = input.next() => match key {
                Some(event) => {
                    for event in translate(&event?, engine.app.scope()) {
                        if engine.handle(event) {
                            return Ok(());
                        }
                    }
                    (dirty, next_frame) = (true, Instant::now());
                }
                // The terminal is gone: clean up without it.
                None => return finish(engine).await,
            },
            _ = terminate.recv() => { if engine.handle(Event::Finish) { return Ok(()) } }
            _ = hang_up.recv() => return finish(engine).await,
            event = engine.next() => {
                if engine.handle(event) {
                    return Ok(());
                }
                for _ in 0..BATCH {
                    let Some(event) = engine.try_next() else { break };
                    if engine.handle(event) {
                        return Ok(());
                    }
                }
                dirty = true;
            }
            () = sleep_until(next_frame), if dirty => {}
        }
    }
}

/// Cleans up with nobody watching.
async fn finish(engine: &mut Engine) -> io::Result<()> {
    let mut ended = engine.handle(Event::Finish);
    while !ended {
        let event = engine.next().await;
        ended = engine.handle(event);
    }
    Ok(())
}

fn translate(event: &TerminalEvent, scope: Scope) -> Vec<Event> {
    match event {
        TerminalEvent::Key(key) => keymap::action(*key, scope).map(Event::Action).into_iter().collect(),
        TerminalEvent::Paste(text) if scope == Scope::Text => text
            .chars()
            .filter(|character| !character.is_control())
            .map(|character| Event::Action(Action::Edit(Edit::Insert(character))))
            .collect(),
        _ => Vec::new(),
    }
}
