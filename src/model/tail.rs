//! Packets of a node, as they are looked at one by one.

use serde::{Deserialize, Serialize};

/// A packet as a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailLine {
    /// When, in nanoseconds since the Unix epoch, by its node's clock.
    pub nanos: u64,
    /// On which interface.
    pub interface: String,
    /// What, as tcpdump has it.
    pub text: String,
}

/// What comes of looking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TailNews {
    /// Packets, and how many before them were left out.
    Lines {
        /// The packets.
        lines: Vec<TailLine>,
        /// How many more there were.
        left_out: u64,
    },
    /// No more come, and why.
    Ended(String),
}
