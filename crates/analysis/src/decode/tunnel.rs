//! Packets inside packets: VXLAN, Geneve, GRE, IP in IP, MPLS, PPPoE.
//!
//! Owns what a tunnel's own header looks like. One that does not look so is none: a port or a number alone does not make
//! a tunnel, and payload is not taken for headers. Pure.

use nodewatch_protocol::Tunnel;

use super::{
    Headers, ip4, ip6,
    link::{ethernet, wireless_frame},
    network, raw_ip, u16_at,
};

/// Tunnels, and packets that errors quote, inside each other are read to this depth.
pub const DEEPEST: u8 = 8;

const ETHERNET: u16 = 0x6558;

/// The headers of what is inside, or, where that is no packet that can be read, the tunnel's own.
fn inside(kind: Tunnel, end: usize, read: Headers) -> Headers {
    Headers { length: read.length.max(end), tunnel: Some(kind), ..read }
}

/// What UDP to one of these ports carries; `at` is where its payload begins.
#[cold]
#[inline(never)]
pub fn udp(port: u16, bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    if depth >= DEEPEST {
        return None;
    }
    let header = bytes.get(at..at + 8)?;
    if port == 6081 {
        return geneve(header, bytes, at, depth);
    }
    // An identifier is there, nothing reserved is set; a group policy may be.
    let plain = matches!(header, [0x08, 0, 0, 0, _, _, _, 0]);
    let policy = matches!(header, [0x88, flags, _, _, _, _, _, 0] if flags & !0x48 == 0);
    // The generic extension says what it carries: IPv4, IPv6, or a frame.
    let carried = match header {
        [0x0C, 0, 0, kind @ 1..=3, _, _, _, 0] => *kind,
        _ if plain || policy => 3,
        _ => return None,
    };
    let end = at + 8;
    let read = match carried {
        1 => ip4(bytes, end, depth + 1),
        2 => ip6(bytes, end, depth + 1),
        _ => ethernet(bytes, end, depth + 1),
    };
    Some(inside(Tunnel::Vxlan, end, read))
}

fn geneve(header: &[u8], bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    if header[0] & 0xC0 != 0 || header[1] & 0x3F != 0 || header[7] != 0 {
        return None;
    }
    let end = at + 8 + usize::from(header[0] & 0x3F) * 4;
    let mut option = at + 8;
    while option < end {
        let length = *bytes.get(option + 3)?;
        if length & 0xE0 != 0 {
            return None;
        }
        option += 4 + usize::from(length) * 4;
    }
    if option != end || bytes.len() < end {
        return None;
    }
    carried(Tunnel::Geneve, u16_at(header, 2)?, bytes, end, depth)
}

/// What IP of that protocol number carries; `at` is where the IP headers end.
#[cold]
#[inline(never)]
pub fn ip(protocol: u8, bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    if depth >= DEEPEST {
        return None;
    }
    match protocol {
        4 => Some(inside(Tunnel::Ipip, at, ip4(bytes, at, depth + 1))),
        41 => Some(inside(Tunnel::SixInFour, at, ip6(bytes, at, depth + 1))),
        47 => gre(bytes, at, depth),
        97 => (bytes.get(at..at + 2)? == [0x30, 0])
            .then(|| inside(Tunnel::EtherIp, at + 2, ethernet(bytes, at + 2, depth + 1))),
        137 => mpls(bytes, at, depth),
        _ => None,
    }
}

fn gre(bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    const CHECKSUM: u16 = 0x8000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    let flags = u16_at(bytes, at)?;
    if flags & 0x7 == 1 {
        return pptp(flags, bytes, at, depth);
    }
    // Version 0, no source route, nothing reserved.
    if flags & !(CHECKSUM | KEY | SEQUENCE) != 0 {
        return None;
    }
    let kind = u16_at(bytes, at + 2)?;
    let words = [CHECKSUM, KEY, SEQUENCE].into_iter().filter(|&flag| flags & flag != 0).count();
    let end = at + 4 + 4 * words;
    let mirrored = |end| inside(Tunnel::Gre, end, ethernet(bytes, end, depth + 1));
    match kind {
        // Mirrored frames (ERSPAN), with a header of their own from the second version on.
        0x88BE if flags & SEQUENCE == 0 => Some(mirrored(end)),
        0x88BE => (bytes.get(end)? >> 4 == 1).then(|| mirrored(end + 8)),
        0x22EB => (bytes.get(end)? >> 4 == 2)
            .then(|| mirrored(end + 12 + if bytes.get(end + 11).is_some_and(|byte| byte & 1 != 0) { 8 } else { 0 })),
        // Frames of an access point, as Aruba's send them.
        0x8200..=0x83FF => Some(inside(Tunnel::Gre, end, wireless_frame(bytes, end, depth + 1))),
        _ => carried(Tunnel::Gre, kind, bytes, end, depth),
    }
}

/// GRE in its other version: PPP, numbered and acknowledged.
fn pptp(flags: u16, bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGED: u16 = 0x0080;
    let is_it = flags & !(SEQUENCE | ACKNOWLEDGED) == KEY | 1 && u16_at(bytes, at + 2)? == 0x880B;
    if !is_it || flags & SEQUENCE == 0 {
        return None;
    }
    let end = at + if flags & ACKNOWLEDGED == 0 { 12 } else { 16 };
    let skipped = if bytes.get(end..end + 2)? == [0xFF, 0x03] { 2 } else { 0 };
    Some(inside(Tunnel::Gre, end, ppp(bytes, end + skipped, depth + 1)))
}

/// A tunnel that names what it carries by its Ethernet type.
fn carried(tunnel: Tunnel, kind: u16, bytes: &[u8], end: usize, depth: u8) -> Option<Headers> {
    match kind {
        ETHERNET => Some(inside(tunnel, end, ethernet(bytes, end, depth + 1))),
        0x0600.. => Some(inside(tunnel, end, network(kind, bytes, end, depth + 1))),
        _ => None,
    }
}

/// Labels, then whatever the path's end knows it to be: IP, or an Ethernet frame.
#[cold]
#[inline(never)]
pub fn mpls(bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    if depth >= DEEPEST {
        return None;
    }
    let mut end = at;
    for _ in 0..16 {
        let label = bytes.get(end..end + 4)?;
        end += 4;
        if label[2] & 1 != 0 {
            let first = *bytes.get(end)?;
            let read = match first >> 4 {
                4 | 6 if is_ip(bytes, end) => raw_ip(bytes, end, depth + 1),
                // A control word may stand before a frame.
                0 => ethernet(bytes, end + 4, depth + 1),
                _ => return None,
            };
            return (read.tuple.is_some()).then(|| inside(Tunnel::Mpls, end, read));
        }
    }
    None
}

/// Nothing but the packet itself says that it is IP: its checksum, or a protocol that is one, must say so as well.
fn is_ip(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..at + 20) {
        Some(header) if header[0] >> 4 == 4 => {
            let length = usize::from(header[0] & 0x0F) * 4;
            let words = bytes.get(at..at + length).unwrap_or_default().chunks_exact(2);
            let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
            (sum & 0xFFFF) + (sum >> 16) == 0xFFFF
        }
        Some(header) => matches!(header[6], 0 | 4 | 6 | 17 | 41 | 43 | 44 | 47 | 50 | 51 | 58 | 60 | 132),
        None => false,
    }
}

/// A PPPoE session's packet.
#[cold]
#[inline(never)]
pub fn pppoe(bytes: &[u8], at: usize, depth: u8) -> Option<Headers> {
    let &[0x11, 0, _, _, high, low] = bytes.get(at..at + 6)? else { return None };
    if depth >= DEEPEST {
        return None;
    }
    let end = at + 6 + usize::from(u16::from_be_bytes([high, low]));
    let bytes = &bytes[..end.min(bytes.len())];
    Some(inside(Tunnel::Pppoe, at + 6, ppp(bytes, at + 6, depth + 1)))
}

/// What PPP carries, from its protocol number on.
pub fn ppp(bytes: &[u8], at: usize, depth: u8) -> Headers {
    let (protocol, end) = match bytes.get(at) {
        // The number's first byte may be left out where it is zero.
        Some(&short) if short & 1 == 1 => (u16::from(short), at + 1),
        _ => match u16_at(bytes, at) {
            Some(protocol) if protocol & 1 == 1 => (protocol, at + 2),
            _ => return Headers::of_link(at),
        },
    };
    match protocol {
        0x0021 => ip4(bytes, end, depth),
        0x0057 => ip6(bytes, end, depth),
        0x0281 | 0x0283 => mpls(bytes, end, depth).unwrap_or(Headers::of_link(end)),
        // Control protocols.
        0x8021 | 0x8057 | 0xC021 | 0xC023 | 0xC025 | 0xC223 => Headers::of_link(end),
        _ => Headers::of_link(at),
    }
}
