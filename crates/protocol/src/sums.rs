//! What pairs of ends amount to.
//!
//! Owns what is summed, and that no number overflows.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use crate::{Service, Symptom, WatchedPair};

/// Sums of a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Packets, both ways.
    pub packets: u64,
    /// Packets of TCP.
    pub segments: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Connections that were begun, questions that were asked.
    pub attempts: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Names that were looked up.
    pub lookups: u64,
    /// Failures, whichever symptom.
    pub failed: u64,
    /// Attempts that had to be repeated.
    pub delayed: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
    /// Questions to DNS without an answer.
    pub dns_unanswered: u64,
}

impl Sums {
    /// Attempts, at least so many, of which neither an answer nor a failure was seen.
    pub fn open(&self) -> u64 {
        self.attempts.saturating_sub(self.answered.saturating_add(self.failed))
    }

    /// Those of one pair, as one interface has seen it.
    pub fn of(pair: &WatchedPair) -> Self {
        let count = |so: fn(Symptom) -> bool| {
            let those = pair.symptoms.iter().filter(|it| so(it.0));
            those.map(|it| u64::from(it.1) + u64::from(it.2)).sum()
        };
        let packets = pair.packets[0].saturating_add(pair.packets[1]);
        Self {
            packets,
            segments: if pair.service == Service::Tcp { packets } else { 0 },
            bytes: pair.bytes[0].saturating_add(pair.bytes[1]),
            attempts: pair.attempts,
            answered: pair.answered,
            lookups: pair.lookups,
            failed: count(Symptom::is_failure),
            delayed: count(|symptom| symptom == Symptom::Delayed),
            retransmitted: count(|symptom| symptom == Symptom::Retransmission),
            dns_unanswered: count(|symptom| symptom == Symptom::DnsUnanswered),
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.packets, other.packets);
        add(&mut self.segments, other.segments);
        add(&mut self.bytes, other.bytes);
        add(&mut self.attempts, other.attempts);
        add(&mut self.answered, other.answered);
        add(&mut self.lookups, other.lookups);
        add(&mut self.failed, other.failed);
        add(&mut self.delayed, other.delayed);
        add(&mut self.retransmitted, other.retransmitted);
        add(&mut self.dns_unanswered, other.dns_unanswered);
    }
}

impl SubAssign for Sums {
    fn sub_assign(&mut self, other: Self) {
        let less = |sum: &mut u64, other: u64| *sum = sum.saturating_sub(other);
        less(&mut self.packets, other.packets);
        less(&mut self.segments, other.segments);
        less(&mut self.bytes, other.bytes);
        less(&mut self.attempts, other.attempts);
        less(&mut self.answered, other.answered);
        less(&mut self.lookups, other.lookups);
        less(&mut self.failed, other.failed);
        less(&mut self.delayed, other.delayed);
        less(&mut self.retransmitted, other.retransmitted);
        less(&mut self.dns_unanswered, other.dns_unanswered);
    }
}
