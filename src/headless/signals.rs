//! The signals that end a command: SIGINT, SIGTERM, and SIGHUP where the program was not started to outlive its terminal.
//!
//! Owns which these are. What they end is not known here.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listened to for as long as this is there.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever has started the program wants it to outlive its terminal, as `nohup` does.
    hang_up: Option<Signal>,
}

impl Signals {
    /// From here on these signals end nothing by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        let Self { interrupt, terminate, hang_up } = self;
        let hung_up = async {
            match hang_up {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            // A shell and its terminal may both tell that the terminal is gone: once is enough.
            () = hung_up => *hang_up = None,
        }
    }
}

/// Whether a signal to hang up was to be ignored when the program began. Told by Linux alone.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
