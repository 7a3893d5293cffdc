//! Puts the terminal back, whatever happens.
//!
//! Owns raw mode and the alternate screen, and what is written to the terminal. Must not know what is drawn.

use std::{
    io::{self, Write},
    mem,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crossterm::{
    cursor::Show,
    event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture},
    execute,
    terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

use super::spool;

/// The terminal is raw and shows the alternate screen.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that does not read has so long to take what puts it back.
const PUT_BACK_WITHIN: Duration = Duration::from_secs(2);

/// What goes to the terminal, a frame at a time. Nothing here waits for it.
#[derive(Default)]
pub(super) struct Paper(Vec<u8>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        spool::stdout().push(mem::take(&mut self.0));
        Ok(())
    }
}

/// Puts the terminal back, whatever happens: dropped on return and on unwinding, and run by the panic hook.
pub(super) struct Guard {
    pub mouse: bool,
}

impl Guard {
    pub fn enter(mouse: bool) -> io::Result<Self> {
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        let guard = Self { mouse };
        // Not ratatui's own clearing, which asks for the cursor: the keys' reader of an earlier session in this program
        // may take the answer.
        let mut paper = Paper::default();
        execute!(paper, EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste)?;
        if mouse {
            execute!(paper, EnableMouseCapture)?;
        }
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

pub(super) fn restore() {
    // Once: leaving the alternate screen again would put the cursor where it was before what has been said since.
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    // A terminal that is gone cannot be put back.
    let mut paper = Paper::default();
    let _ = execute!(paper, DisableMouseCapture, DisableBracketedPaste, LeaveAlternateScreen, Show);
    spool::stdout().written_within(PUT_BACK_WITHIN);
    let _ = disable_raw_mode();
}
