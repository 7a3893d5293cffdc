//! One moment on every clock that packets need.
//!
//! Owns that all of them are read at once. Must not know what the moment is for.

use std::time::Instant;

use nodewatch_protocol::UnixMillis;

use crate::clock::{Boot, Clock};

/// A moment, on the clocks that a file needs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For rates.
    pub instant: Instant,
    /// For ages and spans, which go on while the machine is suspended.
    pub boot: Boot,
    /// For file contents, in nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self::by(&Clock::system())
    }

    /// Now, by that clock.
    pub fn by(clock: &Clock) -> Self {
        Self { instant: Instant::now(), boot: clock.boot(), unix_nanos: clock.unix_nanos() }
    }

    /// The same as the wire has it.
    pub fn unix_millis(self) -> UnixMillis {
        self.unix_nanos / 1_000_000
    }
}
