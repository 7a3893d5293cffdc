//! A packet or block on its way into the new file, and what decides its turn.
//!
//! Owns the order. Must not know where entries come from.

use nodewatch_pcapng::Time;

/// Packets of a file of this product may be out of order by so much: interfaces are drained one after the other.
const SLACK: i32 = 500_000_000;
const SECOND: i32 = 1_000_000_000;

/// What an entry goes by: its time, then its file. As `mergecap` has it, of equal times that of the later file comes
/// first, and what has no time comes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) seconds: i64,
    /// A damaged time may have a negative number of them.
    pub(super) nanos: i32,
    pub(super) tie: u32,
}

impl Key {
    /// Before everything else.
    pub(super) const FIRST: Self = Self { seconds: i64::MIN, nanos: 0, tie: 0 };

    pub(super) fn of(time: Option<Time>, file: u32) -> Self {
        match time {
            Some(Time { seconds, nanos }) => Self { seconds, nanos: nanos as i32, tie: u32::MAX - file },
            None => Self { tie: file, ..Self::FIRST },
        }
    }

    pub(super) fn time(self) -> Time {
        Time { seconds: self.seconds, nanos: self.nanos as u32 }
    }

    /// The file that it is of.
    pub(super) fn file(self) -> u32 {
        if self.seconds == Self::FIRST.seconds { self.tie } else { u32::MAX - self.tie }
    }

    /// The earliest that may still come when this was seen.
    pub(super) fn less_slack(self) -> Self {
        if self.nanos >= SLACK {
            return Self { nanos: self.nanos - SLACK, tie: 0, ..self };
        }
        Self { seconds: self.seconds.saturating_sub(1), nanos: self.nanos.saturating_add(SECOND - SLACK), tie: 0 }
    }
}

/// A packet or block that was read and not written yet; its bytes and options lie one behind the other.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) what: What,
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) options: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Packet {
        interface: u32,
        ticks: u64,
        wire_length: u32,
    },
    /// A whole block that goes into the new file as it is.
    Block,
}
