//! Options of headers, walked with the lengths that they may have.
//!
//! Owns how much of an options field is one: whatever does not fit is taken for payload, and kept by nobody who keeps
//! headers only. Pure.

/// Bytes of a TCP header's options that are options; `bytes` is all that the header claims.
#[inline]
pub fn tcp(bytes: &[u8]) -> usize {
    // What nearly every segment has: two fillers and timestamps.
    if bytes.len() == 12 && bytes.starts_with(&[1, 1, 8, 10]) { 12 } else { walk_tcp(bytes) }
}

fn walk_tcp(bytes: &[u8]) -> usize {
    walk(bytes, |kind, length| match kind {
        2 | 28 => length == 4,
        3 => length == 3,
        4 => length == 2,
        5 => matches!(length, 10 | 18 | 26 | 34),
        8 => length == 10,
        19 => length == 18,
        // Authentication, multipath, fast open, and what is being tried out.
        29 | 30 | 34 | 69 | 253 | 254 => length <= 22,
        _ => false,
    })
}

/// The same of an IPv4 header's.
pub fn ip4(bytes: &[u8]) -> usize {
    walk(bytes, |kind, length| match kind {
        // Routes and times.
        7 | 131 | 137 => length >= 3 && length % 4 == 3,
        68 => length >= 4 && length.is_multiple_of(4),
        136 | 148 => length == 4,
        // Labels.
        130 | 133 | 134 => length >= 3,
        _ => false,
    })
}

/// Kind, length and value each, but for kind 0, which ends them, and kind 1, which is a filler.
fn walk(bytes: &[u8], legal: impl Fn(u8, usize) -> bool) -> usize {
    let mut at = 0;
    while let Some(&kind) = bytes.get(at) {
        match kind {
            0 => return if bytes[at..].iter().all(|&byte| byte == 0) { bytes.len() } else { at + 1 },
            1 => at += 1,
            kind => {
                let length = bytes.get(at + 1).copied().map_or(0, usize::from);
                if length < 2 || at + length > bytes.len() || !legal(kind, length) {
                    return at;
                }
                at += length;
            }
        }
    }
    at
}

/// IPv6's hop-by-hop and destination options hold nothing but options.
pub fn are_ip6(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&kind) = bytes.get(at) {
        if kind == 0 {
            at += 1;
            continue;
        }
        let Some(value) = bytes.get(at + 1).and_then(|&length| bytes.get(at + 2..at + 2 + usize::from(length))) else {
            return false;
        };
        let legal = match kind {
            // Padding.
            1 => value.len() <= 6 && value.iter().all(|&byte| byte == 0),
            // Tunnel limit, router alert, jumbo, quick start, home address, path MTU.
            0x04 => value.len() == 1,
            0x05 => value.len() == 2,
            0xC2 | 0x30 => value.len() == 4,
            0x26 => value.len() == 6,
            0xC9 => value.len() == 16,
            // Labels, RPL, MPL, operations.
            0x07 | 0x08 | 0x11 | 0x23 | 0x31 | 0x63 | 0x6D => value.len() <= 40,
            _ => false,
        };
        if !legal {
            return false;
        }
        at += 2 + value.len();
    }
    true
}

/// How many bytes of an IPv6 routing header of that length are one.
pub fn routing(bytes: &[u8], length: usize) -> usize {
    let Some(header) = bytes.get(..length.min(bytes.len())).filter(|header| header.len() >= 8) else { return 0 };
    match header[2] {
        // Addresses and nothing else.
        0 | 2 if (length - 8).is_multiple_of(16) => length,
        4 => {
            let segments = 8 + 16 * (usize::from(header[4]) + 1);
            if segments > length {
                return 0;
            }
            let rest = header.get(segments..length).unwrap_or_default();
            if rest.iter().all(|&byte| byte == 0) { length } else { segments }
        }
        _ => 0,
    }
}

/// Where a neighbour discovery message ends that begins at `at`, and where in it the packet begins that a redirect
/// quotes.
pub fn neighbour_discovery(bytes: &[u8], at: usize) -> (usize, Option<usize>) {
    let fixed = match bytes.get(at) {
        Some(133) => 8,
        Some(134) => 16,
        Some(135 | 136) => 24,
        _ => 40,
    };
    let mut at = at + fixed;
    // Each is eight bytes at the least, so this ends.
    while let Some(&[kind, units]) = bytes.get(at..at + 2) {
        let legal = match (kind, units) {
            // Hardware addresses, of Ethernet and of InfiniBand; prefix, MTU, nonce, flags, route, NAT64 prefix.
            (1 | 2, 1 | 3) | (3, 4) | (5 | 14 | 26, 1) | (24, 1..=3) | (38, 2) => true,
            // Name servers.
            (25, units) => units >= 3 && units % 2 == 1 && units <= 17,
            // The packet that a redirect is about.
            (4, 1..) => return (at + 8, Some(at + 8)),
            _ => false,
        };
        let length = usize::from(units) * 8;
        if !legal || at + length > bytes.len() {
            break;
        }
        at += length;
    }
    (at, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = b"SECRET-SECRET-SECRET-SECRET-SECRET-SECRET-SECRET";

    #[test]
    fn options_of_tcp_end_where_they_are_none() {
        let syn = [2, 4, 5, 0xB4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(tcp(&syn), syn.len());
        assert_eq!(tcp(&[1, 1, 8, 10, 9, 9, 9, 9, 9, 9, 9, 9]), 12);
        assert_eq!(tcp(&PAYLOAD[..40]), 0);
        assert_eq!(tcp(&[&[1, 1, 4, 2], &PAYLOAD[..36]].concat()), 4);
        assert_eq!(tcp(&[&[0, 0, 0], &PAYLOAD[..17]].concat()), 1);
        assert_eq!(tcp(&[0; 12]), 12);
        assert_eq!(tcp(&[3]), 0);
    }

    #[test]
    fn options_of_ip_are_options() {
        let route = [&[7, 39, 4][..], &[1; 36], &[0]].concat();
        assert_eq!(ip4(&route), 40);
        assert_eq!(ip4(&PAYLOAD[..40]), 0);
        assert!(are_ip6(&[1, 4, 0, 0, 0, 0]) && are_ip6(&[0xC2, 4, 0, 1, 0, 0]) && are_ip6(&[5, 2, 0, 0, 0, 0]));
        assert!(!are_ip6(PAYLOAD) && !are_ip6(&[1, 4, b'S', b'E', b'C', b'R']) && !are_ip6(&[1, 200]));
    }

    #[test]
    fn a_routing_header_holds_addresses() {
        let segments = [&[6, 2, 4, 0, 0, 0, 0, 0][..], &[7; 16]].concat();
        assert_eq!(routing(&segments, 24), 24);
        assert_eq!(routing(&[&segments, &PAYLOAD[..8]].concat(), 32), 24);
        assert_eq!(routing(&[&[6, 5, 77, 0, 0, 0, 0, 0], PAYLOAD].concat(), 48), 0);
        assert_eq!(routing(&[6, 2, 4], 24), 0);
    }

    #[test]
    fn neighbour_discovery_ends_where_its_options_do() {
        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[7; 16], &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
        assert_eq!(neighbour_discovery(&solicitation, 0), (32, None));
        assert_eq!(neighbour_discovery(&[&solicitation, PAYLOAD].concat(), 0), (32, None));
        assert_eq!(neighbour_discovery(&[&solicitation[..24], PAYLOAD].concat(), 0), (24, None));
        assert_eq!(neighbour_discovery(&[&solicitation[..24], &[0; 16]].concat(), 0), (24, None));
        let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[7; 32], &[4, 6, 0, 0, 0, 0, 0, 0], &[0x60; 40]].concat();
        assert_eq!(neighbour_discovery(&redirect, 0), (48, Some(48)));
    }
}
