//! What comes from the terminal that nobody typed: its answers to what other programs have asked.
//!
//! Owns telling them from keys. Must not know what keys mean.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::{Future, Stream};
use tokio::time::{Instant, Sleep, sleep_until};

/// An answer comes at once; between two keys of a person more time passes.
const AT_ONCE: Duration = Duration::from_millis(30);
/// No answer has more characters.
const LONGEST: usize = 4096;

/// Events of a terminal, without strings that it sends by itself (OSC, DCS, APC, PM, SOS), which would be read as keys.
pub(super) struct Input<S> {
    inner: S,
    state: State,
    /// Until when what began like an answer has to go on.
    until: Pin<Box<Sleep>>,
    ready: VecDeque<Event>,
}

/// How much of an answer has been seen.
enum State {
    Keys,
    /// Escape, which may be the key.
    Escape(Event),
    /// What begins a string, which may be a key with Alt.
    Begun(Vec<Event>),
    /// Inside a string, of which so many characters have passed.
    String(usize),
}

impl<S> Input<S> {
    pub(super) fn new(inner: S) -> Self {
        let until = Box::pin(sleep_until(Instant::now()));
        Self { inner, state: State::Keys, until, ready: VecDeque::new() }
    }

    fn wait(&mut self) {
        self.until.as_mut().reset(Instant::now() + AT_ONCE);
    }

    /// What was held back were keys.
    fn release(&mut self) {
        match std::mem::replace(&mut self.state, State::Keys) {
            State::Escape(event) => self.ready.push_back(event),
            State::Begun(events) => self.ready.extend(events),
            State::Keys | State::String(_) => {}
        }
    }

    fn take(&mut self, event: Event) {
        match std::mem::replace(&mut self.state, State::Keys) {
            State::Keys => match key(&event) {
                Some((KeyCode::Esc, KeyModifiers::NONE)) => {
                    self.state = State::Escape(event);
                    self.wait();
                }
                Some((KeyCode::Char(first), modifiers))
                    if begins(first) && modifiers.difference(KeyModifiers::SHIFT) == KeyModifiers::ALT =>
                {
                    self.state = State::Begun(vec![event]);
                    self.wait();
                }
                _ => self.ready.push_back(event),
            },
            // A sequence that came in two parts.
            State::Escape(escape) => match key(&event) {
                Some((KeyCode::Char(first), modifiers)) if begins(first) && KeyModifiers::SHIFT.contains(modifiers) => {
                    self.state = State::Begun(vec![escape, event]);
                    self.wait();
                }
                _ => {
                    self.ready.push_back(escape);
                    self.take(event);
                }
            },
            State::Begun(mut held) => match key(&event) {
                Some((KeyCode::Char(_), modifiers)) if KeyModifiers::SHIFT.contains(modifiers) => {
                    self.state = State::String(1);
                    self.wait();
                }
                _ => {
                    self.ready.extend(held.drain(..));
                    self.take(event);
                }
            },
            State::String(passed) => {
                let ended = match key(&event) {
                    // BEL, or the string terminator whole or in two parts.
                    Some((KeyCode::Char('g'), KeyModifiers::CONTROL)) => true,
                    Some((KeyCode::Char('\\'), modifiers)) => modifiers == KeyModifiers::ALT,
                    Some(_) => passed >= LONGEST,
                    None => {
                        self.ready.push_back(event);
                        false
                    }
                };
                if !ended {
                    self.state = State::String(passed + 1);
                    self.wait();
                }
            }
        }
    }
}

/// The character that follows Escape where a string begins.
fn begins(character: char) -> bool {
    matches!(character, ']' | 'P' | '_' | '^' | 'X')
}

fn key(event: &Event) -> Option<(KeyCode, KeyModifiers)> {
    match event {
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => Some((*code, *modifiers)),
        _ => None,
    }
}

impl<S: Stream<Item = io::Result<Event>> + Unpin> Stream for Input<S> {
    type Item = io::Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            match Pin::new(&mut self.inner).poll_next(context) {
                Poll::Ready(Some(Ok(event))) => self.take(event),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    self.release();
                    return Poll::Ready(self.ready.pop_front().map(Ok));
                }
                Poll::Pending if matches!(self.state, State::Keys) => return Poll::Pending,
                Poll::Pending => match self.until.as_mut().poll(context) {
                    Poll::Ready(()) => self.release(),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// As crossterm reads them.
    fn read(bytes: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut alt = false;
        for character in bytes.chars() {
            let (code, modifiers) = match character {
                '\u{1b}' => {
                    alt = true;
                    continue;
                }
                '\u{7}' => (KeyCode::Char('g'), KeyModifiers::CONTROL),
                other if other.is_uppercase() => (KeyCode::Char(other), KeyModifiers::SHIFT),
                other => (KeyCode::Char(other), KeyModifiers::NONE),
            };
            let modifiers = if std::mem::take(&mut alt) { modifiers | KeyModifiers::ALT } else { modifiers };
            events.push(Event::Key(KeyEvent::new(code, modifiers)));
        }
        events
    }

    async fn heard(events: Vec<Event>) -> Vec<Event> {
        let stream = futures::stream::iter(events.into_iter().map(Ok)).chain(futures::stream::pending());
        let mut input = Input::new(stream);
        let mut heard = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(AT_ONCE * 4, input.next()).await {
            heard.push(event.expect("an event"));
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_the_terminal_are_no_keys() {
        for answer in [
            "\u{1b}]11;rgb:1a1a/1b1b/1c1c\u{1b}\\",
            "\u{1b}]10;rgb:ff/ff/ff\u{7}",
            "\u{1b}]52;c;cXVpdA==\u{7}",
            "\u{1b}P>|xterm(370)\u{1b}\\",
            "\u{1b}P1+r544e=78\u{1b}\\",
            "\u{1b}_Gi=31;OK\u{1b}\\",
        ] {
            assert_eq!(heard(read(&format!("j{answer}k"))).await, read("jk"), "{answer:?}");
        }
        // The line is so slow that Escape came alone.
        let mut parts = vec![Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE))];
        parts.extend(read("]11;rgb:1a1a/1b1b/1c1c\u{7}q"));
        assert_eq!(heard(parts).await, read("q"));
        // One whose end is lost takes no key that is typed later.
        assert_eq!(heard(read("\u{1b}]11;rgb:1a1a")).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_keys() {
        let escape = || Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        assert_eq!(heard(vec![escape()]).await, [escape()]);
        assert_eq!(heard(vec![escape(), escape()]).await, [escape(), escape()]);
        assert_eq!(heard(read("\u{1b}]")).await, read("\u{1b}]"));
        assert_eq!(heard(read("\u{1b}x\u{1b}f")).await, read("\u{1b}x\u{1b}f"));
        let resize = vec![escape(), Event::Resize(3, 4)];
        assert_eq!(heard(resize.clone()).await, resize);
    }
}
