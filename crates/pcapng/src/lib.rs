//! pcapng blocks (draft-ietf-opsawg-pcapng): writing captures, and reading any capture in bounded memory.
//!
//! Owns the file format, for the agent (which writes) and the TUI (which merges and follows). Must not know
//! interfaces, rings or files' names.
#![warn(missing_docs)]

mod block;
mod options;
mod read;
mod table;
mod time;
mod whole;
mod write;

pub use block::{Block, Interface, Other, Packet, ReadError, Section, Statistics};
pub use options::{Lost, lost_before};
pub use read::{MAX_BLOCK, Parser, Reader, read_some};
pub use table::InterfaceTable;
pub use time::{Resolution, Time};
pub use whole::{Whole, whole};
pub use write::{
    InterfaceBlock, Name, PACKET_OVERHEAD, SectionBlock, StatisticsBlock, comment, comments_before, enhanced_packet,
    interface_description, interface_statistics, name_resolution, packets_before, section_header,
};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const JOURNAL: u32 = 9;
const SECRETS: u32 = 10;
/// One that may be copied into another file.
const CUSTOM: u32 = 0xBAD;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;

#[cfg(test)]
mod tests;
