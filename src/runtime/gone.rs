//! A terminal that goes away: noticed at once, and then nothing reads from it or writes to it any more.
//!
//! Owns the watch over standard input, and what takes the place of the terminal. Must not know what is drawn.

use std::{
    fs::File,
    io::{self, IsTerminal},
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::pipe,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin},
};
use tokio::sync::watch;

/// One for the whole program, however many screens it opens.
static WATCH: OnceLock<watch::Sender<bool>> = OnceLock::new();
/// Which of standard output and standard error are the terminal; nothing once they are let go.
static OURS: Mutex<Option<(bool, bool)>> = Mutex::new(None);

/// Tells when the terminal is gone.
#[derive(Debug)]
pub(super) struct Gone(watch::Receiver<bool>);

impl Gone {
    /// Begins to watch, for as long as the program runs.
    pub(super) fn watch() -> Self {
        let sender = WATCH.get_or_init(|| {
            *lock() = Some((io::stdout().is_terminal(), io::stderr().is_terminal()));
            let sender = watch::Sender::new(false);
            let told = sender.clone();
            std::thread::spawn(move || {
                if hangs_up(None) {
                    let_go();
                    told.send_replace(true);
                }
            });
            sender
        });
        Self(sender.subscribe())
    }

    /// Returns when it is. Cancel-safe.
    pub(super) async fn told(&mut self) {
        // The sender is never dropped.
        let _ = self.0.wait_for(|gone| *gone).await;
    }
}

/// Whether it is gone. Then it is let go too: whoever asks is about to say something.
pub(super) fn is_gone() -> bool {
    let watched = WATCH.get();
    let gone = watched.is_some_and(|gone| *gone.borrow() || hangs_up(Some(&Timespec::default())));
    if gone {
        let_go();
    }
    gone
}

/// Waits until nobody is at the other end of standard input; false when that cannot be told, or not within that time.
fn hangs_up(within: Option<&Timespec>) -> bool {
    loop {
        let terminal = stdin();
        // Asked for nothing, it answers when it is hung up and not before.
        let mut asked = [PollFd::new(&terminal, PollFlags::empty())];
        match poll(&mut asked, within) {
            Ok(_) => return asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Puts something in the place of a terminal that is gone: who reads waits for good, where it would be told of the end again and
/// again; what is written is nobody's, where it would be an error that ends programs.
fn let_go() {
    let mut ours = lock();
    let Some((out, error)) = ours.take() else { return };
    if let Ok((reader, writer)) = pipe() {
        // Its other end stays open as long as the program runs.
        std::mem::forget(writer);
        // What fails here leaves the terminal where it was.
        let _ = dup2_stdin(&reader);
    }
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = if out { dup2_stdout(&null) } else { Ok(()) };
        let _ = if error { dup2_stderr(&null) } else { Ok(()) };
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<(bool, bool)>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}
