//! What came of pairing: counts, clocks, and what one side alone has.
//!
//! Owns the words. What is not known is said to be so, and is no loss.

use std::net::IpAddr;

use super::apart;
use crate::base::text::counted;

/// Packets of one side that are told one by one.
const TOLD: usize = 10_000;

/// A packet that a node has and another has not, although that captured at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneSide {
    /// When, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// Who has it.
    pub node: String,
    /// Who has not.
    pub not_on: Vec<String>,
    /// The packet, for people.
    pub packet: String,
    /// What of it the others have; empty for nothing.
    pub part: String,
}

/// What one node alone has between two addresses, of which no packet was seen on two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Who has it.
    pub node: String,
    /// Between whom.
    pub between: (IpAddr, IpAddr),
    /// How many packets.
    pub packets: u64,
}

/// A node's clock against another's, from the packets that both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Whose.
    pub of: String,
    /// Against whose.
    pub against: String,
    /// How far it is ahead, in nanoseconds; with the delay, where that is not known.
    pub ahead: i64,
    /// How long packets take from one to the other; `None` where all went the same way.
    pub delay: Option<u64>,
    /// From how many.
    pub matches: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paired {
    /// Packets that two nodes or more have.
    pub pairs: u64,
    /// Packets that one has and another has not, although that captured at the time.
    pub one_sided: u64,
    /// The first of these.
    pub rows: Vec<OneSide>,
    /// Packets whose bytes the other has in other segments, and those of the other that were left out for it.
    pub segments: u64,
    /// The others' segments of the same bytes, which were left out.
    pub left_out: u64,
    /// Packets between addresses of which no packet was seen on two nodes.
    pub one_node: u64,
    /// Between whom.
    pub conversations: Vec<Conversation>,
    /// How many more of these there are.
    pub more_conversations: u64,
    /// Packets of a time in which the other did not capture.
    pub outside: u64,
    /// Packets that could not wait for the other's copy.
    pub let_go: u64,
    /// Packets that are not IP.
    pub others: u64,
    /// The nodes' clocks.
    pub clocks: Vec<Clock>,
}

impl Paired {
    pub(super) fn one_side(&mut self, row: impl FnOnce() -> OneSide) {
        self.one_sided += 1;
        if self.rows.len() < TOLD {
            self.rows.push(row());
        }
    }

    /// A line each, for people.
    pub fn lines(&self) -> Vec<String> {
        let packets = |count: u64| counted(count as usize, "packet");
        let mut lines = vec![format!("{} seen on two nodes or more, written once", packets(self.pairs))];
        lines.extend(self.clocks.iter().map(Clock::line));
        if self.one_sided > 0 {
            lines.push(format!("{} seen on one node only, although the other captured then", packets(self.one_sided)));
        }
        if self.segments > 0 {
            lines.push(format!(
                "{} in unequal segments (the network card or kernel splits or joins them): no loss; {} left out for it",
                packets(self.segments),
                packets(self.left_out)
            ));
        }
        if self.one_node > 0 {
            let all = self.conversations.len() + self.more_conversations as usize;
            let of = if all == 0 { String::new() } else { format!(", between {}", counted(all, "address pair")) };
            lines.push(format!("{} of conversations that only one node has{of}", packets(self.one_node)));
        }
        if self.outside > 0 {
            lines.push(format!("{} of a time in which the other node was not capturing", packets(self.outside)));
        }
        if self.let_go > 0 {
            lines.push(format!("{} not compared: too many at once, or too late", packets(self.let_go)));
        }
        if self.others > 0 {
            lines.push(format!("{} not compared: not IP", packets(self.others)));
        }
        lines
    }
}

impl Clock {
    fn line(&self) -> String {
        let Self { of, against, ahead, delay, matches } = self;
        let of_matches = counted(*matches as usize, "packet");
        match delay {
            Some(delay) => {
                let (apart_by, way) = (apart(ahead.saturating_abs()), if *ahead < 0 { "behind" } else { "ahead of" });
                let (apart_by, delay) = (&apart_by[1..], apart(*delay as i64));
                format!(
                    "the clock of {of} is {apart_by} {way} that of {against}, one way takes {} (from {of_matches})",
                    &delay[1..]
                )
            }
            None => format!(
                "{of} saw them {} against {against} (from {of_matches}, all in one direction: clock and delay together)",
                apart(*ahead)
            ),
        }
    }
}
