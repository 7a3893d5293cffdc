//! Link types: what a file calls them, and what comes before the network layer.
//!
//! Owns the numbers and the link layer's headers. Pure.

use super::{Headers, network, ppp, raw_ip, u16_at, wireless};

/// How an interface's packets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// LINKTYPE_ETHERNET (1), loopback included.
    Ethernet,
    /// LINKTYPE_RAW (101): straight at the IP header.
    Raw,
    /// LINKTYPE_LINUX_SLL (113): what the kernel says instead of a link layer's header.
    Cooked,
    /// LINKTYPE_LINUX_SLL2 (276).
    Cooked2,
    /// LINKTYPE_NULL (0) and LINKTYPE_LOOP (108): an address family.
    Family(u16),
    /// LINKTYPE_PPP (9) and LINKTYPE_PPP_HDLC (50).
    Ppp(u16),
    /// LINKTYPE_C_HDLC (104).
    CiscoHdlc,
    /// LINKTYPE_FDDI (10).
    Fddi,
    /// LINKTYPE_IEEE802_11 (105), and (127) behind a radiotap header.
    Wireless(u16),
    /// One whose packets are written and not read.
    Other(u16),
}

impl Link {
    /// The link type of that number of libpcap's (DLT_…). Most of a file's numbers (LINKTYPE_…) are the same; these are
    /// those that are others on Linux.
    pub fn from_dlt(number: i32) -> Self {
        match u16::try_from(number).unwrap_or(u16::MAX) {
            11 => Self::Other(100),
            12 => Self::Raw,
            15 => Self::Other(102),
            16 => Self::Other(103),
            18 => Self::Other(246),
            19 => Self::Other(106),
            number => Self::from_number(number),
        }
    }

    /// The link type of that number in a file.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Ethernet,
            // Files of other systems have numbers of their own; the latter two hold one version each.
            101 | 12 | 14 | 228 | 229 => Self::Raw,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            0 | 108 => Self::Family(number),
            9 | 50 => Self::Ppp(number),
            104 => Self::CiscoHdlc,
            10 => Self::Fddi,
            105 | 127 => Self::Wireless(number),
            number => Self::Other(number),
        }
    }

    /// What libpcap will probably say of hardware of that kind (ARPHRD_…) once it is up.
    pub fn likely(hardware: u16) -> Self {
        match hardware {
            1 | 772 => Self::Ethernet,
            // Tunnels and tun devices.
            519 | 768 | 776 | 0xFFFE => Self::Raw,
            _ => Self::Cooked,
        }
    }

    /// The number that a capture file carries.
    pub fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::CiscoHdlc => 104,
            Self::Fddi => 10,
            Self::Family(number) | Self::Ppp(number) | Self::Wireless(number) | Self::Other(number) => number,
        }
    }

    /// Headers are told from payload.
    pub fn is_decoded(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// Reads a packet layer by layer.
#[inline(never)]
pub fn read(link: Link, bytes: &[u8]) -> Headers {
    match link {
        Link::Ethernet => ethernet(bytes, 0, 0),
        Link::Raw => raw_ip(bytes, 0, 0),
        Link::Cooked => cooked(bytes, 14, 16),
        Link::Cooked2 => cooked(bytes, 0, 20),
        Link::Family(_) => match bytes.get(..4) {
            Some(_) => raw_ip(bytes, 4, 0),
            None => Headers::of_link(0),
        },
        Link::Ppp(_) => match bytes.get(..2) {
            Some([0xFF, 0x03]) => ppp(bytes, 2, 0),
            _ => ppp(bytes, 0, 0),
        },
        Link::CiscoHdlc => match u16_at(bytes, 2) {
            Some(kind) => network(kind, bytes, 4, 0),
            None => Headers::of_link(0),
        },
        Link::Fddi => llc(bytes, 13, 0),
        Link::Wireless(127) => radio(bytes, wireless::behind_radio(bytes), 0),
        Link::Wireless(_) => wireless_frame(bytes, 0, 0),
        Link::Other(_) => Headers::of_link(0),
    }
}

/// The protocol stands at `kind`, the header ends at `end`.
fn cooked(bytes: &[u8], kind: usize, end: usize) -> Headers {
    match u16_at(bytes, kind) {
        // Not an Ethernet type but a kind of frame.
        Some(kind) if kind >= 0x0600 && bytes.len() >= end => network(kind, bytes, end, 0),
        _ => Headers::of_link(end),
    }
}

/// An Ethernet frame that begins at `at`.
#[inline]
pub fn ethernet(bytes: &[u8], at: usize, depth: u8) -> Headers {
    match u16_at(bytes, at + 12) {
        Some(kind) if kind >= 0x0600 => network(kind, bytes, at + 14, depth),
        Some(_) => llc(bytes, at + 14, depth),
        None => Headers::of_link(at + 12),
    }
}

/// An IEEE 802.11 frame that begins at `at`.
pub fn wireless_frame(bytes: &[u8], at: usize, depth: u8) -> Headers {
    radio(bytes, wireless::data(bytes, at, false), depth)
}

fn radio(bytes: &[u8], data: Result<usize, usize>, depth: u8) -> Headers {
    data.map_or_else(Headers::of_link, |at| llc(bytes, at, depth))
}

/// IEEE 802.3: of what may follow only SNAP is read.
#[cold]
fn llc(bytes: &[u8], at: usize, depth: u8) -> Headers {
    match bytes.get(at..at + 8) {
        Some(&[0xAA, 0xAA, 0x03, 0, 0, 0, high, low]) => network(u16::from_be_bytes([high, low]), bytes, at + 8, depth),
        _ => Headers::of_link(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_numbers_are_not_always_libpcaps() {
        for (dlt, number) in [
            (1, 1),
            (12, 101),
            (101, 101),
            (113, 113),
            (0, 0),
            (9, 9),
            (11, 100),
            (19, 106),
            (127, 127),
            (253, 253),
            (276, 276),
            (10, 10),
            (105, 105),
        ] {
            assert_eq!(Link::from_dlt(dlt).number(), number, "DLT {dlt}");
        }
        assert_eq!(Link::from_dlt(147), Link::Other(147));
    }
}
