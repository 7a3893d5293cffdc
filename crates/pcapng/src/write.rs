//! Blocks as this product writes them: little-endian, nanosecond timestamps.
//!
//! Owns the bytes of a block. Must not know where they go.

use std::net::IpAddr;

use crate::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, Interface, NAME_RESOLUTION,
    Resolution, SECTION_HEADER,
};

/// An Enhanced Packet Block without its packet.
pub const PACKET_OVERHEAD: usize = 32;

/// One interface as its description block has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceBlock<'a> {
    /// Kernel name.
    pub name: &'a str,
    /// LINKTYPE_ number.
    pub link_type: u16,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// The capture filter, when there is one.
    pub filter: Option<&'a str>,
    /// For people; empty for none.
    pub description: &'a str,
}

/// One interface's counts as its statistics block has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatisticsBlock<'a> {
    /// Index of the interface in its section.
    pub interface: u32,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// When this file's packets begin; 0 where that is not known.
    pub since: u64,
    /// Packets taken in, whether or not they were written.
    pub received: u64,
    /// Dropped by the interface.
    pub dropped_by_interface: u64,
    /// Dropped by the kernel's packet ring.
    pub dropped_by_kernel: u64,
    /// Handed to the disk.
    pub delivered: u64,
    /// For people; empty for none.
    pub comment: &'a str,
}

/// A name for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The address.
    pub address: IpAddr,
    /// What it is called.
    pub name: String,
}

/// What a section says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionBlock<'a> {
    /// The node's name, which goes where the format has the hardware.
    pub hardware: &'a str,
    /// The program that writes it.
    pub application: &'a str,
    /// For people.
    pub comments: &'a [String],
}

/// Opens a section: every file begins with one.
pub fn section_header(out: &mut Vec<u8>, section: &SectionBlock<'_>) {
    block(out, SECTION_HEADER, |body| {
        body.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes());
        for comment in section.comments {
            option(body, 1, comment.as_bytes());
        }
        option(body, 2, section.hardware.as_bytes());
        option(body, 3, std::env::consts::OS.as_bytes());
        option(body, 4, section.application.as_bytes());
        option(body, 0, &[]);
    });
}

/// Describes the next interface of the section.
pub fn interface_description(out: &mut Vec<u8>, interface: &InterfaceBlock<'_>) {
    let described_as = Interface {
        link_type: interface.link_type,
        snaplen: interface.snaplen,
        name: String::new(),
        description: String::new(),
        filter: interface.filter.map(str::to_owned),
        resolution: Resolution::NANOS,
        options: Vec::new(),
    };
    described(out, interface.name, interface.description, &described_as);
}

/// The same, under another name, with all that is said of it.
pub(crate) fn described(out: &mut Vec<u8>, name: &str, description: &str, interface: &Interface) {
    block(out, INTERFACE_DESCRIPTION, |body| {
        body.extend(interface.link_type.to_le_bytes());
        body.extend([0, 0]);
        body.extend(interface.snaplen.to_le_bytes());
        option(body, 2, name.as_bytes());
        if !description.is_empty() {
            option(body, 3, description.as_bytes());
        }
        option(body, 9, &[interface.resolution.code()]);
        if let Some(filter) = &interface.filter {
            let mut value = vec![0];
            value.extend_from_slice(filter.as_bytes());
            option(body, 11, &value);
        }
        if interface.resolution.offset() != 0 {
            option(body, 14, &interface.resolution.offset().to_le_bytes());
        }
        body.extend_from_slice(&interface.options);
        option(body, 0, &[]);
    });
}

/// Writes one interface's counts, the last thing before a file is closed.
pub fn interface_statistics(out: &mut Vec<u8>, counts: &StatisticsBlock<'_>) {
    block(out, INTERFACE_STATISTICS, |body| {
        body.extend(counts.interface.to_le_bytes());
        body.extend(timestamp(counts.at));
        if !counts.comment.is_empty() {
            option(body, 1, counts.comment.as_bytes());
        }
        if counts.since > 0 {
            option(body, 2, &timestamp(counts.since));
        }
        option(body, 3, &timestamp(counts.at));
        option(body, 4, &counts.received.to_le_bytes());
        option(body, 5, &counts.dropped_by_interface.to_le_bytes());
        option(body, 7, &counts.dropped_by_kernel.to_le_bytes());
        option(body, 8, &counts.delivered.to_le_bytes());
        option(body, 0, &[]);
    });
}

/// Names for addresses, as Wireshark shows them. Names are cut at 255 bytes.
pub fn name_resolution(out: &mut Vec<u8>, names: &[Name]) {
    block(out, NAME_RESOLUTION, |body| {
        for Name { address, name } in names {
            let name: String = name.chars().filter(|character| *character != '\0').take(255).collect();
            let (kind, address) = match address {
                IpAddr::V4(address) => (1u16, address.octets().to_vec()),
                IpAddr::V6(address) => (2, address.octets().to_vec()),
            };
            option(body, kind, &[address.as_slice(), name.as_bytes(), &[0]].concat());
        }
        option(body, 0, &[]);
    });
}

/// One packet. `ticks` are nanoseconds since the Unix epoch, but where its interface counts otherwise. `parts` are its captured bytes in order; more than one where a VLAN tag is put back in its place.
/// `options` are encoded ones, their end included, a multiple of four bytes; empty for none.
#[inline]
pub fn enhanced_packet<const N: usize>(
    out: &mut Vec<u8>,
    interface: u32,
    ticks: u64,
    wire_length: u32,
    parts: [&[u8]; N],
    options: &[u8],
) {
    let captured: usize = parts.iter().map(|part| part.len()).sum();
    let padded = captured.next_multiple_of(4);
    let total = (PACKET_OVERHEAD + padded + options.len()) as u32;
    let mut head = [0u8; 28];
    head[0..4].copy_from_slice(&ENHANCED_PACKET.to_le_bytes());
    head[4..8].copy_from_slice(&total.to_le_bytes());
    head[8..12].copy_from_slice(&interface.to_le_bytes());
    head[12..20].copy_from_slice(&timestamp(ticks));
    head[20..24].copy_from_slice(&(captured as u32).to_le_bytes());
    head[24..28].copy_from_slice(&wire_length.to_le_bytes());
    out.reserve(total as usize);
    out.extend_from_slice(&head);
    for part in parts {
        out.extend_from_slice(part);
    }
    if !options.is_empty() {
        out.extend_from_slice(&[0; 3][..padded - captured]);
        out.extend_from_slice(options);
        out.extend_from_slice(&total.to_le_bytes());
        return;
    }
    // Padding and the trailing length in one piece, each of a length that is known here.
    let [a, b, c, d] = total.to_le_bytes();
    match padded - captured {
        0 => out.extend_from_slice(&[a, b, c, d]),
        1 => out.extend_from_slice(&[0, a, b, c, d]),
        2 => out.extend_from_slice(&[0, 0, a, b, c, d]),
        _ => out.extend_from_slice(&[0, 0, 0, a, b, c, d]),
    }
}

/// Adds a comment to options.
pub fn comment(options: &mut Vec<u8>, text: &str) {
    option(options, 1, text.as_bytes());
}

/// Writes, as a packet's options, that so many packets before it were lost.
pub fn packets_before(options: &mut Vec<u8>, lost: u64) {
    option(options, 4, &lost.to_le_bytes());
    option(options, 0, &[]);
}

/// Writes comments and then these options, which have their end or are none.
pub fn comments_before(out: &mut Vec<u8>, comments: &[String], options: &[u8]) {
    for text in comments {
        comment(out, text);
    }
    out.extend_from_slice(if options.is_empty() { &[0; 4] } else { options });
}

/// A 64-bit timestamp as pcapng splits it: high half first.
pub(crate) fn timestamp(ticks: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0..4].copy_from_slice(&((ticks >> 32) as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(ticks as u32).to_le_bytes());
    bytes
}

pub(crate) fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let total = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
    out.extend(total.to_le_bytes());
}

pub(crate) fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    // An option's length has 16 bits; a longer text is cut, and not inside a character.
    let mut most = value.len().min(usize::from(u16::MAX));
    while most < value.len() && most > 0 && value[most] & 0xC0 == 0x80 {
        most -= 1;
    }
    let value = &value[..most];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
}
