//! The terminal is lent for a while to a program that has to ask something on it.
//!
//! Owns in which order it is let go, handed over and taken back. Must not know who asks.

use std::{
    io::{self, IsTerminal},
    mem,
};

use futures::{Stream, StreamExt, poll};

use super::guard::{Guard, restore};
use crate::base::loan::Ask;

/// Keys that were typed before and that nobody has taken.
const TYPED_BEFORE: usize = 1024;

/// Lends the terminal until it comes back, and takes it over again; or until something else is done meanwhile, after which
/// it stays as it is.
pub(super) async fn lend<T>(
    ask: Ask,
    input: &mut (impl Stream + Unpin),
    mouse: bool,
    meanwhile: impl Future<Output = T>,
) -> io::Result<Option<T>> {
    let lending = ask.accept();
    // Asked for a key, the reader lets go. What was typed before is not for who asks.
    for _ in 0..TYPED_BEFORE {
        if poll!(input.next()).is_pending() {
            break;
        }
    }
    let drawn = io::stdout().is_terminal();
    if drawn {
        restore();
    }
    let done = match lending.hand_over() {
        Some(returned) => tokio::select! {
            biased;
            _ = returned => None,
            done = meanwhile => Some(done),
        },
        None => None,
    };
    if drawn && done.is_none() {
        // It is put back by the guard that there is already.
        mem::forget(Guard::enter(mouse)?);
    }
    Ok(done)
}
