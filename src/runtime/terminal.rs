//! The terminal: raw mode and its end, the loop of keys, events and frames.
//!
//! Owns the pace: a key is drawn at once, everything else at most ten times a second, and nothing while the terminal
//! has not taken what was drawn before. Whatever ends the program, also a panic, the terminal is put back first.

use std::{
    io::{self, IsTerminal},
    mem,
    task::Poll,
    time::Duration,
};

use crossterm::{
    clipboard::CopyToClipboard,
    event::{Event as TerminalEvent, MouseButton, MouseEvent, MouseEventKind},
    execute,
};
use futures::{Stream, StreamExt, poll};
use ratatui::{
    Terminal,
    backend::{Backend, CrosstermBackend},
};
use tokio::time::{Instant, sleep_until};

pub use super::signals::Signals;
use super::{
    Engine,
    gone::is_gone,
    guard::{Guard, Paper, restore},
    input::Input as Keys,
    keyboard::Keyboard,
    lending::lend,
    panics,
    signals::End,
    spool,
};
use crate::{
    base::loan::{self, Ask},
    config::keymap::Keymap,
    model::{Failure, Notice},
    screens::{Action, App, Edit, Input, Pointed, Scope},
    session::Event,
    ui::{self, Hits, Target, Theme},
};

/// Between two frames that no key asked for.
const FRAME: Duration = Duration::from_millis(100);
/// Between two frames while the window is being resized.
const RESIZE: Duration = Duration::from_millis(30);
/// Events taken in before keys are looked at again.
const BATCH: usize = 256;
/// Typed characters taken in before anything else is looked at: a paste of a terminal that does not mark one.
const TYPED: usize = 16 * 1024;
/// Rows that a turn of the wheel moves.
const WHEEL: usize = 3;

/// Whether there is a terminal that screens can be drawn on; the notice says what is wrong with it.
pub fn check(instead: &str) -> Result<(), Notice> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let next_step = format!("run it in a terminal, or {instead}");
        return Err(Notice::error("no terminal to draw on", "", next_step).of(Failure::BadInput));
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        let next_step = format!("set TERM to your terminal's type (e.g. xterm-256color), or {instead}");
        let headline = "this terminal cannot show screens";
        return Err(Notice::error(headline, "TERM is dumb", next_step).of(Failure::BadInput));
    }
    Ok(())
}

/// The real terminal, for as long as the program draws on it.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Paper>>,
    theme: Theme,
    input: Keys<Keyboard>,
    signals: Signals,
    guard: Guard,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open(theme: Theme, mouse: bool) -> io::Result<Self> {
        let mut signals = Signals::listen()?;
        signals.watch_terminal();
        let guard = Guard::enter(mouse)?;
        panics::install();
        let terminal = Terminal::new(CrosstermBackend::new(Paper::default()))?;
        Ok(Self { terminal, theme, input: Keys::new(Keyboard::default()), signals, guard })
    }

    /// Shows the app while something is under way that it cannot do without; `None` when the user does not wait for it.
    pub async fn wait<T>(&mut self, app: &App, work: impl Future<Output = T>) -> io::Result<Option<T>> {
        let waited = self.wait_on(app, work).await;
        // Nobody is left to tell.
        if is_gone() { Ok(None) } else { waited }
    }

    async fn wait_on<T>(&mut self, app: &App, work: impl Future<Output = T>) -> io::Result<Option<T>> {
        self.terminal.draw(|frame| drop(ui::draw(frame, app, &self.theme)))?;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                _ = self.signals.ends.next() => return Ok(None),
                ask = loan::asked() => {
                    let meanwhile = async {
                        tokio::select! {
                            done = &mut work => Some(done),
                            () = self.signals.while_lent() => None,
                        }
                    };
                    match lend(ask, &mut self.input, self.guard.mouse, meanwhile).await? {
                        Some(None) => return Ok(None),
                        Some(done) => {
                            mem::forget(Guard::enter(self.guard.mouse)?);
                            return Ok(done);
                        }
                        None => {
                            self.terminal.swap_buffers();
                            self.terminal.draw(|frame| drop(ui::draw(frame, app, &self.theme)))?;
                        }
                    }
                }
                key = self.input.next() => {
                    let Some(event) = key.transpose()? else { return Ok(None) };
                    let events = translate(&event, Scope::List, &self.theme.keys, &mut Pointer::default());
                    if events.iter().any(|event| matches!(event, Input::Key(Action::Quit | Action::Interrupt))) {
                        return Ok(None);
                    }
                    self.terminal.draw(|frame| drop(ui::draw(frame, app, &self.theme)))?;
                }
            }
        }
    }

    /// Runs the program until the user leaves.
    pub async fn run(&mut self, engine: &mut Engine<App>) -> io::Result<()> {
        let Self { terminal, theme, input, signals, guard } = self;
        drive(engine, terminal, theme, (input, signals), guard.mouse, |_| {}).await
    }

    /// Draws one frame of something else than a running session.
    pub fn show(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>, &Theme)) -> io::Result<()> {
        let drawn = self.terminal.draw(|frame| draw(frame, &self.theme)).map(drop);
        // The next key says so.
        if is_gone() { Ok(()) } else { drawn }
    }

    /// The next key; `None` when the terminal is gone, or the program is to end.
    pub async fn key(&mut self) -> io::Result<Option<TerminalEvent>> {
        tokio::select! {
            _ = self.signals.ends.next() => Ok(None),
            key = self.input.next() => if is_gone() { Ok(None) } else { key.transpose() },
        }
    }
}

/// What the mouse has done so far, over the places of the frame before.
#[derive(Default)]
struct Pointer {
    hits: Hits,
    /// Where in the chart a drag began.
    drag: Option<u64>,
}

/// The loop, over any terminal and any source of keys. `drawn` is told after each frame.
pub async fn drive<B: Backend<Error: Send + Sync + 'static>>(
    engine: &mut Engine<App>,
    terminal: &mut Terminal<B>,
    theme: &Theme,
    (input, signals): (impl Stream<Item = io::Result<TerminalEvent>> + Unpin, &mut Signals),
    mouse: bool,
    drawn: impl FnMut(&Terminal<B>),
) -> io::Result<()> {
    signals.asked = 0;
    let driven = run_on(engine, terminal, theme, (input, &mut *signals), mouse, drawn).await;
    if driven.is_err() && !panics::happened() {
        // A terminal that is gone says so by failing, before or instead of a signal: clean up without it.
        let gone = is_gone();
        finish(engine, signals).await;
        if gone {
            return Ok(());
        }
    }
    driven
}

async fn run_on<B: Backend<Error: Send + Sync + 'static>>(
    engine: &mut Engine<App>,
    terminal: &mut Terminal<B>,
    theme: &Theme,
    (mut input, signals): (impl Stream<Item = io::Result<TerminalEvent>> + Unpin, &mut Signals),
    mouse: bool,
    mut drawn: impl FnMut(&Terminal<B>),
) -> io::Result<()> {
    let mut pointer = Pointer::default();
    let mut next_frame = Instant::now();
    let mut dirty = true;
    loop {
        no_panic()?;
        if mem::take(&mut engine.suspend) && io::stdout().is_terminal() {
            suspend(mouse)?;
            // The screen is blank, and so is what is held to be on it. Ratatui's own clearing asks for the cursor.
            terminal.swap_buffers();
            dirty = true;
        }
        if dirty && Instant::now() >= next_frame && spool::stdout().waiting() > 0 {
            next_frame = Instant::now() + FRAME;
        }
        if dirty && Instant::now() >= next_frame {
            pointer.hits = draw_frame(engine, terminal, theme)?;
            drawn(terminal);
            if pointer.hits.news(&engine.state).is_some_and(|news| engine.handle(news)) {
                return Ok(());
            }
            dirty = false;
            next_frame = Instant::now() + FRAME;
        }
        tokio::select! {
            biased;
            end = signals.ends.next() => match end {
                End::Asked => if asked(engine, signals) { return Ok(()) },
                End::Gone => {
                    // Whether it is, or somebody says so: nothing is drawn any more.
                    is_gone();
                    finish(engine, signals).await;
                    return Ok(());
                }
            },
            _ = signals.stop.recv() => engine.suspend = true,
            key = input.next() => {
                // The terminal is gone: clean up without it.
                let Some(event) = key else {
                    finish(engine, signals).await;
                    return Ok(());
                };
                let (last, ended) = heard(engine, event?, &mut input, (&theme.keys, &mut pointer)).await?;
                if ended {
                    return Ok(());
                }
                let resized = matches!(last, TerminalEvent::Resize(..));
                let soon = Instant::now() + RESIZE;
                (dirty, next_frame) = (true, if resized { next_frame.min(soon) } else { Instant::now() });
            }
            () = spool::stdout().gone(), if io::stdout().is_terminal() => {
                is_gone();
                finish(engine, signals).await;
                return Ok(());
            }
            ask = loan::asked() => {
                if lent(engine, (&mut input, &mut *signals), mouse, ask).await? {
                    return Ok(());
                }
                terminal.swap_buffers();
                dirty = true;
            }
            event = engine.next() => {
                if engine.handle(event) || takes_in_waiting(engine) {
                    return Ok(());
                }
                dirty = true;
            }
            () = sleep_until(next_frame), if dirty => {}
        }
    }
}

fn no_panic() -> io::Result<()> {
    if panics::happened() { Err(io::Error::other("the program has failed, see above")) } else { Ok(()) }
}

/// Takes in events that are waiting, before keys are looked at again. True when the program is to end.
fn takes_in_waiting(engine: &mut Engine<App>) -> bool {
    for _ in 0..BATCH {
        let Some(event) = engine.try_next() else { return false };
        if engine.handle(event) {
            return true;
        }
    }
    false
}

/// Draws and records a frame, and gives the terminal what it is to take into its clipboard. What lies where.
fn draw_frame<B: Backend<Error: Send + Sync + 'static>>(
    engine: &mut Engine<App>,
    terminal: &mut Terminal<B>,
    theme: &Theme,
) -> io::Result<Hits> {
    let mut hits = Hits::default();
    let shown = engine.state.picture();
    let frame = terminal.draw(|frame| hits = ui::draw(frame, shown, theme)).map_err(io::Error::other)?;
    let area = frame.area;
    engine.record_frame(area.width, area.height);
    if let Some(text) = engine.clipboard.take().filter(|_| io::stdout().is_terminal()) {
        let mut paper = Paper::default();
        execute!(paper, CopyToClipboard::to_clipboard_from(text))?;
    }
    Ok(hits)
}

/// The cursor is not on the row any more that the last frame showed under it, and this key would act on what it is on.
fn is_unseen(input: &Input, hits: &Hits, app: &App) -> bool {
    let Input::Key(action) = input else { return false };
    let acts = app.layers.is_empty() && action.acts(&app.picture().screen);
    acts && hits.cursor.is_some() && hits.cursor != app.row_under_cursor()
}

fn moved() -> Event {
    let cause = "the row under the cursor was just removed, and the cursor is on another one";
    Event::Told(Notice::warning("nothing was done", cause, "check the row and press the key again"))
}

/// Gives the terminal back and stops, with all that the shell started together; goes on when the shell says so.
fn suspend(mouse: bool) -> io::Result<()> {
    restore();
    rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
    // It is put back by the guard that there is already.
    mem::forget(Guard::enter(mouse)?);
    Ok(())
}

/// Lends the terminal to who must ask for what the guided exit needs, and to nobody else. True when the program is to end.
async fn lent(
    engine: &mut Engine<App>,
    (input, signals): (&mut (impl Stream<Item = io::Result<TerminalEvent>> + Unpin), &mut Signals),
    mouse: bool,
    ask: Ask,
) -> io::Result<bool> {
    if engine.state.session.exit().is_none_or(|exit| exit.unattended) {
        return Ok(false);
    }
    let meanwhile = async {
        loop {
            tokio::select! {
                biased;
                () = signals.while_lent() => {
                    is_gone();
                    finish(engine, signals).await;
                    return;
                }
                event = engine.next() => if engine.handle(event) { return },
            }
        }
    };
    Ok(lend(ask, input, mouse, meanwhile).await?.is_some())
}

/// Takes in that somebody wants the program to end: it begins to leave, and ends without waiting when it was asked so
/// before and is leaving still. True when it is to end.
fn asked(engine: &mut Engine<App>, signals: &mut Signals) -> bool {
    let leaving = engine.state.session.exit().is_some_and(|exit| exit.unattended);
    signals.asked = if leaving { signals.asked + 1 } else { 1 };
    if signals.asked < 2 {
        return engine.handle(Event::Finish);
    }
    // What may still be there is in the receipt.
    let made = engine.site().made();
    engine.handle(Event::Abandon(made));
    true
}

/// Cleans up with nobody watching.
async fn finish(engine: &mut Engine<App>, signals: &mut Signals) {
    let mut ended = engine.handle(Event::Finish);
    while !ended {
        tokio::select! {
            () = signals.ends.asked() => ended = asked(engine, signals),
            event = engine.next() => ended = engine.handle(event),
        }
    }
}

/// Takes in what came from the terminal, and all that is typed text and has come already as one edit. What came last,
/// and whether the program is to end.
async fn heard(
    engine: &mut Engine<App>,
    mut event: TerminalEvent,
    input: &mut (impl Stream<Item = io::Result<TerminalEvent>> + Unpin),
    (keys, pointer): (&Keymap, &mut Pointer),
) -> io::Result<(TerminalEvent, bool)> {
    let mut typed = String::new();
    loop {
        let mut meant = translate(&event, engine.state.scope(), keys, pointer);
        if let [Input::Key(Action::Edit(Edit::Insert(character)))] = meant[..]
            && typed.len() < TYPED
        {
            typed.push(character);
            if let Poll::Ready(next) = poll!(input.next()) {
                // Without one the terminal is gone, which is found out when it is asked again.
                let Some(next) = next else { break };
                event = next?;
                continue;
            }
            meant.clear();
        }
        let mut pending = text(mem::take(&mut typed)).into_iter().chain(meant);
        let ended = pending.any(|input| {
            if is_unseen(&input, &pointer.hits, &engine.state) { engine.handle(moved()) } else { engine.handle(input) }
        });
        return Ok((event, ended));
    }
    let ended = text(typed).is_some_and(|input| engine.handle(input));
    Ok((event, ended))
}

/// Typed text as what it means: one character is the key.
fn text(typed: String) -> Option<Input> {
    let mut characters = typed.chars();
    match (characters.next(), characters.next()) {
        (None, _) => None,
        (Some(character), None) => Some(Input::Key(Action::Edit(Edit::Insert(character)))),
        (Some(_), Some(_)) => Some(Input::Pasted(typed)),
    }
}

fn translate(event: &TerminalEvent, scope: Scope, keys: &Keymap, pointer: &mut Pointer) -> Vec<Input> {
    match event {
        TerminalEvent::Key(key) => {
            let meant = keys.action(*key, scope).map(Input::Key);
            meant
                .or_else(|| {
                    keys.unbound(*key, scope).map(|name| match keys.screens_of(*key) {
                        Some(screens) => Input::Elsewhere(name, screens),
                        None => Input::Unbound(name),
                    })
                })
                .into_iter()
                .collect()
        }
        TerminalEvent::Paste(text) if scope == Scope::Text => vec![Input::Pasted(text.clone())],
        TerminalEvent::Mouse(mouse) => pointed(*mouse, scope, pointer),
        _ => Vec::new(),
    }
}

fn pointed(mouse: MouseEvent, scope: Scope, pointer: &mut Pointer) -> Vec<Input> {
    let target = pointer.hits.at(mouse.column, mouse.row);
    match (mouse.kind, target) {
        // In a text field these are other fields or earlier commands.
        (MouseEventKind::ScrollUp, _) if scope != Scope::Text => vec![Input::Key(Action::Up); WHEEL],
        (MouseEventKind::ScrollDown, _) if scope != Scope::Text => vec![Input::Key(Action::Down); WHEEL],
        (MouseEventKind::Down(MouseButton::Left), target) => {
            pointer.drag = None;
            match target {
                Some(Target::Row(row)) => vec![Input::Pointed(Pointed::Row(row))],
                Some(Target::Tab(tab)) => vec![Input::Pointed(Pointed::Tab(tab))],
                Some(Target::Moment(at)) => {
                    pointer.drag = Some(at);
                    Vec::new()
                }
                None => Vec::new(),
            }
        }
        // The part is taken when the button is let go: meanwhile the chart, and so the time under the mouse, stays.
        (MouseEventKind::Up(MouseButton::Left), Some(Target::Moment(to))) => {
            let from = pointer.drag.take().filter(|from| *from != to);
            from.map(|from| Input::Pointed(Pointed::Window(from, to))).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::{
        model::{Place, SessionId},
        screens::{Layer, Screen as Shown, dialogs::reading::Reading},
        session::Terms,
    };

    fn mouse(kind: MouseEventKind, column: u16, row: u16) -> MouseEvent {
        MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }
    }

    #[test]
    fn a_key_does_not_act_on_a_row_that_was_not_seen_under_the_cursor() {
        let mut app = App::new(Terms::new(Place::Local, SessionId::new(1), Duration::from_secs(1)));
        let mut hits = Hits::default();
        app.list.cursor = Some("b".into());
        hits.cursor = app.row_under_cursor();
        let deploy = Input::Key(Action::Deploy);
        assert!(!is_unseen(&deploy, &hits, &app));
        app.list.cursor = Some("c".into());
        assert!(is_unseen(&deploy, &hits, &app), "b has left, and nobody has seen the cursor on c");
        assert!(!is_unseen(&Input::Key(Action::Down), &hits, &app), "moving is free");
        app.layers.push(Layer::Help(Reading::default()));
        assert!(!is_unseen(&deploy, &hits, &app));
    }

    #[test]
    fn a_paste_is_one_event_and_a_key_is_a_key() {
        let paste = TerminalEvent::Paste("a\nb".to_owned());
        let keys = Keymap::default();
        let meant = |scope| translate(&paste, scope, &keys, &mut Pointer::default());
        assert!(matches!(&meant(Scope::Text)[..], [Input::Pasted(text)] if text == "a\nb"));
        assert!(meant(Scope::List).is_empty(), "nothing is run");
        assert!(matches!(text("a".to_owned()), Some(Input::Key(Action::Edit(Edit::Insert('a'))))));
        assert!(matches!(text("ab".to_owned()), Some(Input::Pasted(text)) if text == "ab"));
        assert!(text(String::new()).is_none());
    }

    #[test]
    fn tabs_of_a_drawn_screen_can_be_clicked_and_the_wheel_scrolls() {
        let app = App::new(Terms::new(Place::Local, SessionId::new(1), Duration::from_secs(1)));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
        let mut pointer = Pointer::default();
        let mut shown = app.clone();
        shown.screen = Shown::Ports;
        let _ = terminal.draw(|frame| pointer.hits = ui::draw(frame, &shown, &Theme::standard()));
        let click = mouse(MouseEventKind::Down(MouseButton::Left), 18, 2);
        let events = pointed(click, Scope::Ports, &mut pointer);
        assert!(matches!(events[..], [Input::Pointed(Pointed::Tab(1))]), "{events:?}");
        let wheel = mouse(MouseEventKind::ScrollDown, 5, 5);
        assert_eq!(pointed(wheel, Scope::Ports, &mut pointer).len(), WHEEL);
        assert!(pointed(wheel, Scope::Text, &mut pointer).is_empty());
    }
}
