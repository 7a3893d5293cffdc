//! What packets say: their headers, for both programs, what becomes of connections and questions, and what goes wrong.
//!
//! Owns the reading of captured bytes, all of it distrustful: whatever the bytes, nothing panics and nothing grows past
//! its bound. Pure: one packet at a time, no clock, no I/O. Must not know where packets come from.
#![warn(missing_docs)]

mod analysis;
mod cases;
mod connection;
mod datagrams;
pub mod decode;
pub mod detail;
mod echoes;
mod fate;
mod flow;
mod judging;
mod neighbours;
mod pairs;
mod questions;
mod showing;
mod silence;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod times;

pub use analysis::{Analysis, Limits, Totals};
pub use echoes::Echoes;
pub use fate::FATES;
pub use flow::Marks;
pub use judging::Unjudged;
pub use nodewatch_protocol::{Service, Symptom};
pub use pairs::{Counts, PairKey, Sample, Way};
pub use questions::DnsTotals;
pub use times::Times;

use decode::Link;

/// A packet as it was captured.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Where: a number that the caller gives.
    pub interface: u16,
    /// How its bytes begin.
    pub link: Link,
    /// When, in nanoseconds since the Unix epoch.
    pub nanos: i64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub bytes: &'a [u8],
}
