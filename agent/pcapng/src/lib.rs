//! pcapng blocks (draft-ietf-opsawg-pcapng): writing captures, and reading any capture in bounded memory.
//!
//! Owns the file format, for the agent (which writes) and the TUI (which merges and follows). Must not know
//! interfaces, rings or files' names.
#![warn(missing_docs)]

mod read;
mod table;
mod whole;
mod write;

pub use read::{Block, Interface, MAX_BLOCK, Packet, Parser, ReadError, Reader, Section, Statistics};
pub use table::InterfaceTable;
pub use whole::{Whole, whole};
pub use write::{
    InterfaceBlock, Name, PACKET_OVERHEAD, SectionBlock, StatisticsBlock, enhanced_packet, interface_description,
    interface_statistics, name_resolution, section_header,
};

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1A2B_3C4D;

#[cfg(test)]
mod tests;
