//! What Wireshark says of a segment of TCP, by the same definitions: sent again, out of order, acknowledged twice.
//!
//! Owns the definitions and what each needs to be remembered of a direction. They look at one capture point alone, so
//! they are what is probable there and not what is known. Where Wireshark's versions differ, it is that of 4.0.

use std::ops::{BitOr, BitOrAssign};

use crate::detail::{ACK, FIN, RST, SYN, Segment};

/// What is said of a segment, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u16);

impl Marks {
    /// Sent again, whatever the kind.
    pub const RETRANSMISSION: Self = Self(1);
    /// Sent again because of duplicate acknowledgments.
    pub const FAST: Self = Self(1 << 1);
    /// Sent again although it was acknowledged.
    pub const SPURIOUS: Self = Self(1 << 2);
    /// Overtaken by a later one.
    pub const OUT_OF_ORDER: Self = Self(1 << 3);
    /// Acknowledges what was acknowledged before.
    pub const DUPLICATE_ACK: Self = Self(1 << 4);
    /// Its sender takes nothing.
    pub const ZERO_WINDOW: Self = Self(1 << 5);
    /// A byte sent to see whether a window is still closed.
    pub const PROBE: Self = Self(1 << 6);
    /// The answer to one.
    pub const PROBE_ACK: Self = Self(1 << 7);
    /// It fills the window of the other end.
    pub const WINDOW_FULL: Self = Self(1 << 8);
    /// Nothing but a new window.
    pub const WINDOW_UPDATE: Self = Self(1 << 9);
    /// Sent to see whether the other end is still there.
    pub const KEEP_ALIVE: Self = Self(1 << 10);
    /// The answer to one.
    pub const KEEP_ALIVE_ACK: Self = Self(1 << 11);
    /// What came before it was not seen.
    pub const PREVIOUS_UNSEEN: Self = Self(1 << 12);
    /// It acknowledges what was not seen.
    pub const ACKED_UNSEEN: Self = Self(1 << 13);
    /// It begins another connection between the same ports.
    pub const PORTS_REUSED: Self = Self(1 << 14);

    /// One of these is set.
    #[inline]
    pub fn has(self, marks: Self) -> bool {
        self.0 & marks.0 != 0
    }

    /// Nothing is said.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A retransmission this soon after duplicate acknowledgments is because of them.
const SOON_AFTER_ACK: u64 = 20_000_000;
/// So late a segment may come and be out of order, where the round trip is not known.
const OVERTAKEN: u64 = 3_000_000;

/// One acknowledgment of what was not seen may stand for many that were not seen either.
const MANY: u32 = u32::MAX;

/// How windows are scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Scale {
    /// The connection's beginning was not seen.
    #[default]
    Unknown,
    /// One end or both do not scale.
    Not,
    By(u8),
}

/// One direction of a connection. A number that is not known is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// The first number.
    base: Option<u32>,
    /// The number that is expected next.
    next: u32,
    /// The highest that all is known up to, as far as the other end may acknowledge.
    seen_up_to: u32,
    /// The last acknowledgment.
    acked: u32,
    /// Duplicate acknowledgments since; [`MANY`] after one of what was not seen.
    duplicates: u32,
    next_at: i64,
    acked_at: i64,
    /// `None` before its first segment.
    window: Option<u16>,
    marks: Marks,
    scale: Scale,
    /// Its first acknowledgment after the beginning has still to come: that one's window is not scaled yet.
    before_first_ack: bool,
}

fn after(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

fn nanos(from: i64, to: i64) -> u64 {
    // What runs back is not soon after.
    to.wrapping_sub(from) as u64
}

impl Flow {
    /// It has begun, and with another number than this.
    pub fn began_otherwise(&self, sequence: u32) -> bool {
        self.base.is_some_and(|base| base != sequence)
    }

    /// The same beginning comes again: an RST in between may have led the count astray.
    pub fn begins_again(&mut self, sequence: u32) {
        if self.base == Some(sequence) {
            self.next = self.seen_up_to;
        }
    }

    /// It begins with that number, whatever was thought.
    pub fn rebase(&mut self, sequence: u32) {
        self.base = Some(sequence);
    }

    /// The first number, as far as it is known.
    pub fn base(&self) -> Option<u32> {
        self.base
    }

    /// The number that is expected next; 0 where nothing was seen.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Judges a segment that goes this way at a moment, and remembers what the next ones are judged by. `round_trip` is
    /// that of the connection's beginning; 0 where that was not seen.
    pub fn judge(&mut self, back: &mut Self, segment: &Segment<'_>, at: i64, round_trip: i64) -> Marks {
        let plain = !segment.has(SYN | FIN | RST);
        if self.base.is_none() {
            self.base = Some(if segment.has(SYN) { segment.sequence } else { segment.sequence.wrapping_sub(1) });
        }
        if back.base.is_none() && segment.has(ACK) {
            back.base = Some(segment.acknowledged.wrapping_sub(1));
        }
        let mut marks = if segment.length == 1 && segment.sequence == self.next && back.window == Some(0) {
            Marks::PROBE
        } else {
            self.of_window(back, segment, plain)
        };
        if segment.acknowledged != self.acked {
            self.duplicates = 0;
        }
        if segment.has(ACK) && back.seen_up_to != 0 && after(segment.acknowledged, back.seen_up_to) {
            marks |= back.acked_unseen();
        }
        if (segment.length > 0 || segment.has(SYN | FIN)) && !marks.has(Marks::KEEP_ALIVE) {
            marks |= self.sent_again(back, segment, at, round_trip);
        }
        self.remember(segment, at, marks);
        self.settle_scale(back, segment);
        marks
    }

    /// Everything that is said by windows and acknowledgments.
    fn of_window(&mut self, back: &Self, segment: &Segment<'_>, plain: bool) -> Marks {
        let &Segment { sequence, acknowledged, window, length, .. } = segment;
        let mut marks = Marks::default();
        if window == 0 && plain {
            marks |= Marks::ZERO_WINDOW;
        }
        if self.next != 0 && after(sequence, self.next) && !segment.has(RST) {
            marks |= Marks::PREVIOUS_UNSEEN;
        }
        if length <= 1 && sequence == self.next.wrapping_sub(1) && plain {
            marks |= Marks::KEEP_ALIVE;
        }
        if length > 0 && plain && back.is_filled_by(sequence.wrapping_add(length)) {
            marks |= Marks::WINDOW_FULL;
        }
        let repeats = length == 0 && plain && sequence == self.next && acknowledged == self.acked;
        if !repeats {
            return marks;
        }
        if self.window != Some(window) {
            return if window == 0 { marks } else { marks | Marks::WINDOW_UPDATE };
        }
        if window == 0 {
            return if back.marks.has(Marks::PROBE) { marks | Marks::PROBE_ACK } else { marks };
        }
        if back.marks.has(Marks::KEEP_ALIVE) {
            return marks | Marks::KEEP_ALIVE_ACK;
        }
        self.duplicates = if self.duplicates == MANY { 1 } else { self.duplicates.saturating_add(1) };
        marks | Marks::DUPLICATE_ACK
    }

    /// The other end's bytes up to there are as many as this end takes.
    fn is_filled_by(&self, end: u32) -> bool {
        let shift = match self.scale {
            Scale::Unknown => return false,
            Scale::By(shift) if !self.before_first_ack => u32::from(shift),
            Scale::By(_) | Scale::Not => 0,
        };
        self.window.is_some_and(|window| end == self.acked.wrapping_add(u32::from(window) << shift))
    }

    /// Bytes of this direction were acknowledged that were not seen: said once for each gap.
    fn acked_unseen(&mut self) -> Marks {
        if after(self.next, self.seen_up_to) {
            self.seen_up_to = self.next;
            return Marks::ACKED_UNSEEN;
        }
        let said = self.duplicates != 0;
        self.duplicates = MANY;
        if said { Marks::default() } else { Marks::ACKED_UNSEEN }
    }

    /// Of which kind a segment is that does not go on where the last one ended.
    fn sent_again(&self, back: &Self, segment: &Segment<'_>, at: i64, round_trip: i64) -> Marks {
        let &Segment { sequence, length, .. } = segment;
        let end = sequence.wrapping_add(length);
        if length > 0 && back.acked != 0 && !after(end, back.acked) {
            return Marks::SPURIOUS | Marks::RETRANSMISSION;
        }
        let behind = self.next != 0 && after(self.next, sequence);
        // New bytes behind that of a probe, which the other end did not take.
        if !behind || (length > 1 && self.next.wrapping_sub(1) == sequence) {
            return Marks::default();
        }
        if back.duplicates >= 2 && back.acked == sequence && nanos(back.acked_at, at) < SOON_AFTER_ACK {
            return Marks::FAST | Marks::RETRANSMISSION;
        }
        let overtaken = if round_trip == 0 { OVERTAKEN } else { round_trip as u64 };
        let counted = end.wrapping_add(u32::from(segment.has(SYN | FIN)));
        if nanos(self.next_at, at) < overtaken && self.next != counted {
            return Marks::OUT_OF_ORDER;
        }
        Marks::RETRANSMISSION
    }

    fn remember(&mut self, segment: &Segment<'_>, at: i64, marks: Marks) {
        let counted = segment.length + u32::from(segment.has(SYN | FIN));
        let next = segment.sequence.wrapping_add(counted);
        if !marks.has(Marks::PROBE) {
            if self.next == 0 || after(next, self.next) {
                (self.next, self.next_at) = (next, at);
            }
            if self.seen_up_to == 0 || self.seen_up_to == segment.sequence {
                self.seen_up_to = self.next;
            }
        }
        (self.window, self.acked, self.acked_at, self.marks) = (Some(segment.window), segment.acknowledged, at, marks);
    }

    fn settle_scale(&mut self, back: &mut Self, segment: &Segment<'_>) {
        if segment.has(SYN) {
            self.before_first_ack = true;
            let said = segment.options().scale.map_or(Scale::Not, Scale::By);
            self.scale = said;
            if segment.has(ACK) {
                if said == Scale::Not {
                    back.scale = Scale::Not;
                } else if back.scale == Scale::Not {
                    self.scale = Scale::Not;
                }
            }
        } else if segment.has(ACK) {
            self.before_first_ack = false;
        }
    }
}
