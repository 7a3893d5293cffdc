//! A packet as a line, as tcpdump has it.
//!
//! Owns the words. Nothing of a payload is in them.

use std::net::IpAddr;

use super::headers::{Headers, Transport, half};

const ARP: u16 = 0x0806;
/// The flags of TCP, from FIN up, as tcpdump has them.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];
const ACK: u8 = 0x10;
/// SYN, FIN or RST: the number of the first byte is worth saying also where there is none.
const COUNTED: u8 = 0x07;

/// A line without the time: `IP 10.0.0.1.4431 > 10.0.0.2.8080: Flags [S], seq 5, win 64240, length 0`.
pub fn line(link_type: u16, data: &[u8], wire_length: u32) -> String {
    match Headers::of(link_type, data, wire_length) {
        Some(headers) => of_ip(&headers),
        None => of_link(link_type, data, wire_length),
    }
}

fn of_ip(headers: &Headers<'_>) -> String {
    let ip = if headers.source.is_ipv4() { "IP" } else { "IP6" };
    let inside = if headers.tunneled { " (in a tunnel)" } else { "" };
    let (from, to) = headers.ports().map_or((None, None), |(from, to)| (Some(from), Some(to)));
    let ends = format!("{ip} {} > {}{inside}", end(headers.source, from), end(headers.destination, to));
    let length = headers.length;
    let what = match headers.transport {
        Transport::Tcp { sequence, acknowledged, flags, window, .. } => {
            let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
            let letters: String = set.map(|(_, letter)| letter).collect();
            let letters = if letters.is_empty() { "none" } else { &letters };
            let numbers = match length {
                0 if flags & COUNTED == 0 => String::new(),
                0 => format!(", seq {sequence}"),
                _ => format!(", seq {sequence}:{}", sequence.wrapping_add(length)),
            };
            let ack = if flags & ACK == 0 { String::new() } else { format!(", ack {acknowledged}") };
            format!("Flags [{letters}]{numbers}{ack}, win {window}, length {length}")
        }
        Transport::Udp { .. } => format!("UDP, length {length}"),
        Transport::Icmp { kind, rest } => icmp(headers.protocol, kind, rest, length + 8),
        Transport::Other if headers.fragment.0 > 0 => {
            format!("ip-proto-{}, fragment at {}, length {length}", headers.protocol, u32::from(headers.fragment.0) * 8)
        }
        Transport::Other => format!("ip-proto-{}, length {length}", headers.protocol),
    };
    format!("{ends}: {what}")
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| format!("{address}.{port}"))
}

fn icmp(protocol: u8, (kind, code): (u8, u8), rest: u32, length: u32) -> String {
    let (name, of_v6) = if protocol == 58 { ("ICMP6", true) } else { ("ICMP", false) };
    let echo = |what: &str| format!("echo {what}, id {}, seq {}", rest >> 16, rest & 0xFFFF);
    let what = match (of_v6, kind, code) {
        (false, 8, _) | (true, 128, _) => echo("request"),
        (false, 0, _) | (true, 129, _) => echo("reply"),
        (false, 3, 0) => "net unreachable".to_owned(),
        (false, 3, 1) | (true, 1, 3) => "host unreachable".to_owned(),
        (false, 3, 3) | (true, 1, 4) => "port unreachable".to_owned(),
        (false, 3, 4) => format!("unreachable - need to frag (mtu {})", rest & 0xFFFF),
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "unreachable - admin prohibited".to_owned(),
        (false, 3, _) | (true, 1, _) => format!("unreachable, code {code}"),
        (true, 2, _) => format!("packet too big, mtu {rest}"),
        (false, 11, _) | (true, 3, _) => "time exceeded".to_owned(),
        (false, 5, _) | (true, 137, _) => "redirect".to_owned(),
        (true, 133, _) => "router solicitation".to_owned(),
        (true, 134, _) => "router advertisement".to_owned(),
        (true, 135, _) => "neighbor solicitation".to_owned(),
        (true, 136, _) => "neighbor advertisement".to_owned(),
        _ => format!("type {kind}, code {code}"),
    };
    format!("{name} {what}, length {length}")
}

fn of_link(link_type: u16, data: &[u8], wire_length: u32) -> String {
    let Some((kind, start)) = network(link_type, data) else {
        return format!("link-type {link_type}, length {wire_length}");
    };
    let length = wire_length.saturating_sub(start as u32);
    let rest = data.get(start..).unwrap_or_default();
    if let (ARP, Some(operation), Some(bytes)) = (kind, half(rest, 6), rest.first_chunk::<28>()) {
        let address = |at: usize| IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (sender, target) = (address(14), address(24));
        match operation {
            1 => return format!("ARP, Request who-has {target} tell {sender}, length {length}"),
            2 => {
                let of = bytes[8..14].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
                return format!("ARP, Reply {sender} is-at {of}, length {length}");
            }
            _ => {}
        }
    }
    format!("ethertype 0x{kind:04x}, length {length}")
}

/// The kind of what the link layer carries, and where that begins.
fn network(link_type: u16, data: &[u8]) -> Option<(u16, usize)> {
    match link_type {
        1 => {
            let mut at = 12;
            while matches!(half(data, at)?, 0x8100 | 0x88A8 | 0x9100) {
                at += 4;
            }
            Some((half(data, at)?, at + 2))
        }
        113 => Some((half(data, 14)?, 16)),
        276 => Some((half(data, 0)?, 20)),
        _ => None,
    }
}

/// The time of day in UTC, to the microsecond: `14:34:02.741188`.
pub fn time_of_day(nanos: i64) -> String {
    let day = nanos.div_euclid(1000).rem_euclid(86_400 * 1_000_000);
    let (seconds, micros) = (day / 1_000_000, day % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::headers::tests::tcp_packet;

    #[test]
    fn a_packet_is_said_as_tcpdump_says_it() {
        let said = |data: &[u8]| line(1, data, data.len() as u32);
        let tcp = |flags, payload: &[u8]| tcp_packet((1, 2), (4431, 8080), 1, 100, flags, payload);
        assert_eq!(said(&tcp(2, b"")), "IP 10.0.0.1.4431 > 10.0.0.2.8080: Flags [S], seq 100, win 256, length 0");
        assert_eq!(
            said(&tcp(0x18, b"four")),
            "IP 10.0.0.1.4431 > 10.0.0.2.8080: Flags [P.], seq 100:104, ack 7, win 256, length 4"
        );
        assert_eq!(said(&tcp(0x10, b"")), "IP 10.0.0.1.4431 > 10.0.0.2.8080: Flags [.], ack 7, win 256, length 0");
        let mut unreachable = tcp(0, b"");
        unreachable[23] = 1;
        unreachable[34..42].copy_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(said(&unreachable), "IP 10.0.0.1 > 10.0.0.2: ICMP port unreachable, length 20");
        let mut arp = vec![0xFF; 12];
        arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(said(&arp), "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28");
        assert_eq!(said(&arp[..20]), "ethertype 0x0806, length 6");
        assert_eq!(line(147, b"", 9), "link-type 147, length 9");
    }

    #[test]
    fn times_before_1970_are_times_too() {
        assert_eq!(time_of_day(1_700_000_000_741_188_999), "22:13:20.741188");
        assert_eq!(time_of_day(-1), "23:59:59.999999");
    }
}
