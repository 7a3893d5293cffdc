//! What a capture consists of, as a reader gives it.
//!
//! Owns the types. Must not know bytes.

use std::io;

use crate::{Resolution, Time};

/// Bytes that are no capture.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed.
    #[error("cannot read past byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The bytes end inside a block.
    #[error("the file ends inside the block that begins at byte {at}")]
    Torn {
        /// Where the block begins.
        at: u64,
    },
    /// Not a pcapng, or a damaged one.
    #[error("{what} at byte {at}")]
    Bad {
        /// Where the block begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a section says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Hardware: this product writes the node's name there.
    pub hardware: String,
    /// The program that wrote it.
    pub application: String,
    /// Comments.
    pub comments: Vec<String>,
}

/// What an interface's description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// LINKTYPE_ number.
    pub link_type: u16,
    /// Bytes kept of each packet; 0 is no limit.
    pub snaplen: u32,
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Its capture filter.
    pub filter: Option<String>,
    /// How its packets' [`Packet::ticks`] count time.
    pub resolution: Resolution,
    /// All else that is said of it, as little-endian options without an end.
    pub options: Vec<u8>,
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Which of the section's interfaces.
    pub interface: usize,
    /// Nanoseconds since the Unix epoch; 0 where the block has no time.
    pub nanos: u64,
    /// The same as exactly as nanoseconds say it, before 1970 too; `None` where the block has no time.
    pub time: Option<Time>,
    /// The same as the interface counts it.
    pub ticks: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: &'a [u8],
    /// Its options that are whole, as little-endian bytes with their end; empty where there are none.
    pub options: &'a [u8],
}

/// An interface's counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Which of the section's interfaces.
    pub interface: usize,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// Packets received.
    pub received: u64,
    /// Dropped by the interface.
    pub dropped_by_interface: u64,
    /// Dropped by the operating system.
    pub dropped_by_kernel: u64,
    /// Delivered to the file.
    pub delivered: u64,
    /// Comments.
    pub comments: Vec<String>,
    /// Accepted by the filter.
    pub accepted_by_filter: u64,
    /// When counting began, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// Which of the counts were said, a bit an option's code.
    pub said: u16,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block<'a> {
    /// A section begins; its interfaces follow.
    Section(Section),
    /// The section's next interface.
    Interface(Interface),
    /// A packet.
    Packet(Packet<'a>),
    /// Counts.
    Statistics(Statistics),
    /// Anything else.
    Other(Other<'a>),
}

/// A block of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other<'a> {
    /// Its type.
    pub kind: u32,
    /// The block as it can be written into another section: secrets, names, custom blocks that their makers want to be
    /// copied, journal entries. Empty for all others, and for damaged ones.
    pub anew: &'a [u8],
}

impl Other<'_> {
    /// Names and secrets hold for the packets that come after them; everything else has its place among the packets.
    pub fn is_for_all(&self) -> bool {
        matches!(self.kind, crate::NAME_RESOLUTION | crate::SECRETS)
    }
}
