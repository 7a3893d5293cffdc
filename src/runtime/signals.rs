//! What the system tells the program while there is a screen: to end, to stop, that its terminal is gone.
//!
//! Owns the listening. Must not know what follows from it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{gone::Gone, spool};

/// What the system tells the program. Listened to for as long as there is a screen: a signal that comes between two
/// sessions is not lost.
pub struct Signals {
    pub(super) ends: Ends,
    pub(super) stop: Signal,
    /// How often the program was asked to end since it began to leave.
    pub(super) asked: u32,
}

/// Those that end something.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Of the terminal that is drawn on, where one is.
    gone: Option<Gone>,
}

/// Why the screen ends without a key.
pub(super) enum End {
    /// Somebody wants the program to end.
    Asked,
    /// Nobody sees it any more.
    Gone,
}

impl Ends {
    /// The next one of somebody who wants an end. A hang-up says that nobody sees it, and may come several times over.
    /// Cancel-safe.
    pub(super) async fn asked(&mut self) {
        let Self { interrupt, terminate, .. } = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        spool::hurry();
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> End {
        let end = self.any().await;
        spool::hurry();
        end
    }

    async fn any(&mut self) -> End {
        let Self { interrupt, terminate, hang_up, gone } = self;
        let gone = async {
            match gone {
                Some(gone) => gone.told().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => End::Asked,
            _ = terminate.recv() => End::Asked,
            _ = hang_up.recv() => End::Gone,
            () = gone => End::Gone,
        }
    }
}

impl Signals {
    /// From here on these signals end nothing by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            ends: Ends {
                // Ctrl-C is a key while there is a screen: this one comes from outside.
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up: signal(SignalKind::hangup())?,
                gone: None,
            },
            stop: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            asked: 0,
        })
    }

    /// While the terminal is lent: an end that is not for who has it. Ctrl-C is, and Ctrl-Z stops both. Cancel-safe.
    pub(super) async fn while_lent(&mut self) {
        loop {
            tokio::select! {
                _ = self.ends.terminate.recv() => break,
                _ = self.ends.hang_up.recv() => break,
                _ = self.ends.interrupt.recv() => {}
                _ = self.stop.recv() => {
                    // What cannot be stopped goes on.
                    let _ = rustix::process::kill_current_process_group(rustix::process::Signal::STOP);
                }
            }
        }
        spool::hurry();
    }

    /// The terminal that is drawn on ends something too, by going away.
    pub(super) fn watch_terminal(&mut self) {
        self.ends.gone = Some(Gone::watch());
    }
}
