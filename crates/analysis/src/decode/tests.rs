//! Headers of every kind, and what is kept of packets that lie about them.

use proptest::prelude::*;

use super::*;

fn frame(kind: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0; 12], kind, rest].concat()
}

fn ip4_packet(protocol: u8, fragment: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, fragment[0], fragment[1], 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    bytes.extend_from_slice(payload);
    bytes
}

fn ip6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes[0] = 0x60;
    bytes[6] = next;
    bytes[23] = 1;
    bytes[39] = 2;
    bytes.extend_from_slice(payload);
    bytes
}

const PORTS: [u8; 4] = [0x1F, 0x90, 0, 53];

#[test]
fn ports_and_addresses_of_ipv4_under_a_vlan_tag() {
    let found = headers(Link::Ethernet, &frame(&[0x81, 0, 0, 5, 8, 0], &ip4_packet(17, [0, 0], &PORTS)));
    assert_eq!(found.class, Class::Udp);
    let tuple = found.tuple.expect("a tuple");
    assert_eq!((tuple.source_port, tuple.destination_port), (8080, 53));
    assert_eq!(tuple.source, 0xFFFF_0A00_0001);
}

#[test]
fn a_later_fragment_has_no_ports() {
    let found = headers(Link::Raw, &ip4_packet(6, [0, 9], &PORTS));
    assert_eq!(found.tuple.map(|tuple| tuple.source_port), Some(0));
}

#[test]
fn extension_headers_of_ipv6_are_passed_over() {
    let hop_by_hop = [6, 0, 0, 0, 0, 0, 0, 0];
    let found = headers(Link::Raw, &ip6_packet(0, &[hop_by_hop.as_slice(), &PORTS].concat()));
    assert_eq!(found.class, Class::Tcp);
    assert_eq!(found.tuple.map(|tuple| (tuple.source_port, tuple.source)), Some((8080, 1)));
}

#[test]
fn what_is_not_ip_is_named() {
    assert_eq!(headers(Link::Ethernet, &frame(&[8, 6], &[])).class, Class::Arp);
    assert_eq!(headers(Link::Ethernet, &frame(&[0x88, 0xCC], &[])).class, Class::Other);
    assert_eq!(headers(Link::Raw, &ip6_packet(58, &[])).class, Class::Icmp6);
}

/// What is kept of a packet with that many bytes of headers and a payload behind them.
fn kept_of(packet: &[u8], content: Content) -> usize {
    let bytes = frame(&[8, 0], packet);
    kept(content, &headers(Link::Ethernet, &bytes), bytes.len())
}

#[test]
fn headers_end_where_the_transport_layers_does() {
    let mut tcp = [0; 60];
    tcp[12] = 8 << 4;
    let udp = [&PORTS[..], &[0; 40]].concat();
    assert_eq!(kept_of(&ip4_packet(6, [0, 0], &tcp), Content::Headers), 14 + 20 + 32);
    assert_eq!(kept_of(&ip4_packet(17, [0, 0], &udp), Content::Headers), 14 + 20 + 8);
    assert_eq!(kept_of(&ip4_packet(17, [0, 9], &udp), Content::Headers), 14 + 20, "a later fragment");
    assert_eq!(kept_of(&ip4_packet(99, [0, 0], &[7; 40]), Content::Headers), 14 + 20);
    // An ICMP error with the headers, and no payload, of the packet that it is about.
    let error = [&[3, 1, 0, 0, 0, 0, 0, 0], ip4_packet(17, [0, 0], &udp).as_slice()].concat();
    assert_eq!(kept_of(&ip4_packet(1, [0, 0], &error), Content::Headers), 14 + 20 + 8 + 20 + 8);
    assert_eq!(kept_of(&ip4_packet(1, [0, 0], &[&[8, 0], &[7; 60][..]].concat()), Content::Headers), 14 + 20 + 8);
    let lldp = frame(&[0x88, 0xCC], &[7; 50]);
    assert_eq!(kept(Content::Headers, &headers(Link::Ethernet, &lldp), lldp.len()), 14);
}

#[test]
fn names_are_kept_whole_where_they_are_asked_for() {
    let dns = ip4_packet(17, [0, 0], &[&PORTS[..], &[0; 40]].concat());
    let web = ip4_packet(17, [0, 0], &[&[0x1F, 0x90, 1, 187][..], &[0; 40]].concat());
    assert_eq!(kept_of(&dns, Content::Dns), 14 + 20 + 44);
    assert_eq!(kept_of(&web, Content::Dns), 14 + 20 + 8);
    assert_eq!(kept_of(&web, Content::Full), 14 + 20 + 44);
}

const MARK: &[u8] = b"SECRET-01-SECRET-01-SECRET-01-SECRET-01-SECRET-01-SECRET-01-SECRET-01-SECRET-01-SECRET-01-";

fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &kind.to_be_bytes(), rest].concat()
}

/// IPv4 with its true length and checksum.
fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ip4_packet(protocol, [0, 0], payload);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let sum: u32 = bytes[..20].chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    let checksum = !(((sum & 0xFFFF) + (sum >> 16)) as u16);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// IPv6 with its true length.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ip6_packet(next, payload);
    bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&[0x9C, 0x40][..], &port.to_be_bytes(), &length, &[0, 0], payload].concat()
}

/// A segment with ports 5 and 6 and the marker for payload.
fn segment() -> Vec<u8> {
    [&[0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0][..], MARK].concat()
}

const SNAP: [u8; 8] = [0xAA, 0xAA, 3, 0, 0, 0, 8, 0];

/// An 802.11 header that begins so, and what comes between it and IPv4.
fn wireless(control: [u8; 2]) -> Vec<u8> {
    let more = if control[1] & 3 == 3 { 6 } else { 0 } + if control[0] & 0x80 == 0 { 0 } else { 2 };
    [&control[..], &vec![0; 22 + more], &SNAP].concat()
}

const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 42, 0];
const GENEVE: [u8; 16] = [2, 0, 0x65, 0x58, 0, 0, 3, 0, 1, 2, 0x80, 1, 9, 9, 9, 9];

/// What is kept of a frame, without what is behind it.
fn kept_of_frame(frame: &[u8]) -> &[u8] {
    &frame[..kept(Content::Headers, &headers(Link::Ethernet, frame), frame.len())]
}

fn holds_payload(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|three| three == b"SEC" || three == b"CRE" || three == b"T-0")
}

#[test]
fn tunnels_are_read_to_the_innermost_transport_header_and_no_further() {
    let inner = || v4(6, &segment());
    let frame = || ethernet(0x0800, &inner());
    let gre = |flags: [u8; 2], kind: u16, more: &[u8], rest: &[u8]| {
        v4(47, &[&flags[..], &kind.to_be_bytes(), more, rest].concat())
    };
    let mpls = [0, 0, 0x50, 64, 0, 0, 0x61, 64];
    let cases: Vec<(&str, Tunnel, Vec<u8>)> = vec![
        ("vxlan", Tunnel::Vxlan, ethernet(0x0800, &v4(17, &udp(4789, &[&VXLAN[..], &frame()].concat())))),
        ("flannel", Tunnel::Vxlan, ethernet(0x0800, &v4(17, &udp(8472, &[&VXLAN[..], &frame()].concat())))),
        ("vxlan over IPv6", Tunnel::Vxlan, ethernet(0x86DD, &v6(17, &udp(4789, &[&VXLAN[..], &frame()].concat())))),
        ("group policy", Tunnel::Vxlan, {
            let header = [0x88, 0, 0, 7, 0, 0, 42, 0];
            ethernet(0x0800, &v4(17, &udp(4789, &[&header[..], &frame()].concat())))
        }),
        ("generic extension", Tunnel::Vxlan, {
            let header = [0x0C, 0, 0, 3, 0, 0, 42, 0];
            ethernet(0x0800, &v4(17, &udp(4790, &[&header[..], &frame()].concat())))
        }),
        ("generic extension of IPv4", Tunnel::Vxlan, {
            let header = [0x0C, 0, 0, 1, 0, 0, 42, 0];
            ethernet(0x0800, &v4(17, &udp(4789, &[&header[..], &inner()].concat())))
        }),
        ("vlan in vxlan", Tunnel::Vxlan, {
            let tagged = ethernet(0x8100, &[&[0, 5, 8, 0][..], &inner()].concat());
            ethernet(0x0800, &v4(17, &udp(4789, &[&VXLAN[..], &tagged].concat())))
        }),
        ("geneve", Tunnel::Geneve, ethernet(0x0800, &v4(17, &udp(6081, &[&GENEVE[..], &frame()].concat())))),
        ("gre", Tunnel::Gre, ethernet(0x0800, &gre([0, 0], 0x0800, &[], &inner()))),
        ("gre with all", Tunnel::Gre, ethernet(0x0800, &gre([0xB0, 0], 0x6558, &[7; 12], &frame()))),
        ("gre of IPv6", Tunnel::Gre, ethernet(0x0800, &gre([0, 0], 0x86DD, &[], &v6(6, &segment())))),
        (
            "mirrored",
            Tunnel::Gre,
            ethernet(0x0800, &gre([0x10, 0], 0x88BE, &[&[0; 4][..], &[0x10; 8]].concat(), &frame())),
        ),
        ("mpls in gre", Tunnel::Gre, ethernet(0x0800, &gre([0, 0], 0x8847, &mpls, &inner()))),
        ("ipip", Tunnel::Ipip, ethernet(0x0800, &v4(4, &inner()))),
        ("4in6", Tunnel::Ipip, ethernet(0x86DD, &v6(4, &inner()))),
        ("6in4", Tunnel::SixInFour, ethernet(0x0800, &v4(41, &v6(6, &segment())))),
        ("ethernet in IP", Tunnel::EtherIp, ethernet(0x0800, &v4(97, &[&[0x30, 0][..], &frame()].concat()))),
        ("mpls", Tunnel::Mpls, ethernet(0x8847, &[&mpls[..], &inner()].concat())),
        ("pseudowire", Tunnel::Mpls, ethernet(0x8847, &[&mpls[..], &[0; 4], &frame()].concat())),
        ("pppoe", Tunnel::Pppoe, {
            let length = (inner().len() as u16 + 2).to_be_bytes();
            ethernet(0x8864, &[&[0x11, 0, 0, 1][..], &length, &[0, 0x21], &inner()].concat())
        }),
        ("vxlan in ipip", Tunnel::Ipip, {
            ethernet(0x0800, &v4(4, &v4(17, &udp(4789, &[&VXLAN[..], &frame()].concat()))))
        }),
    ];
    for (name, tunnel, frame) in cases {
        let found = headers(Link::Ethernet, &frame);
        assert_eq!(found.tunnel, Some(tunnel), "{name}");
        assert_eq!(found.class, Class::Tcp, "{name}");
        let tuple = found.tuple.expect(name);
        assert_eq!((tuple.source_port, tuple.destination_port), (5, 6), "{name}");
        assert_eq!(kept_of_frame(&frame).len(), frame.len() - MARK.len(), "{name}");
        // Cut anywhere, never more is kept than headers.
        for end in 0..frame.len() {
            assert!(!holds_payload(kept_of_frame(&frame[..end])), "{name} cut to {end}");
        }
    }
}

#[test]
fn what_only_has_a_tunnels_port_or_number_is_none() {
    for (name, end, frame) in [
        ("vxlan", 42, ethernet(0x0800, &v4(17, &udp(4789, MARK)))),
        (
            "vxlan, something reserved",
            42,
            ethernet(0x0800, &v4(17, &udp(4789, &[&[8, 0, 0, 1, 0, 0, 1, 0], MARK].concat()))),
        ),
        ("geneve", 42, ethernet(0x0800, &v4(17, &udp(6081, MARK)))),
        (
            "geneve, options too long",
            42,
            ethernet(0x0800, &v4(17, &udp(6081, &[&[0x3F, 0, 0x65, 0x58, 0, 0, 3, 0], MARK].concat()))),
        ),
        ("gre", 34, ethernet(0x0800, &v4(47, MARK))),
        ("gre of an unknown kind", 38, ethernet(0x0800, &v4(47, &[&[0, 0, 0x99, 0x99], MARK].concat()))),
        ("ipip", 34, ethernet(0x0800, &v4(4, MARK))),
        ("6in4", 34, ethernet(0x0800, &v4(41, MARK))),
        ("mpls", 14, ethernet(0x8847, MARK)),
        ("mpls of something", 14, ethernet(0x8847, &[&[0, 0, 0x51, 64], MARK].concat())),
        ("pppoe", 14, ethernet(0x8864, MARK)),
        ("pppoe of something", 20, ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 90, 0xFE, 0xFE], MARK].concat())),
    ] {
        assert_eq!(kept_of_frame(&frame).len(), end, "{name}");
        let outer = headers(Link::Ethernet, &frame).tuple.map(|tuple| tuple.source);
        assert!(frame[12] == 0x88 || outer == Some(0xFFFF_0A00_0001), "{name}: {outer:x?}");
    }
}

#[test]
fn tunnels_in_tunnels_end_somewhere() {
    let mut packet = v4(6, &segment());
    for _ in 0..2000 {
        packet = ip4_packet(4, [0, 0], &packet);
    }
    let kept = kept_of_frame(&ethernet(0x0800, &packet)).len();
    assert_eq!(kept, 14 + 20 * (usize::from(tunnel::DEEPEST) + 1));
    let mut error = v4(17, &udp(9, MARK));
    for _ in 0..2000 {
        error = ip4_packet(1, [0, 0], &[&[3, 1, 0, 0, 0, 0, 0, 0], &error[..]].concat());
    }
    assert!(kept_of_frame(&ethernet(0x0800, &error)).len() <= 14 + 28 * (usize::from(tunnel::DEEPEST) + 1));
}

#[test]
fn packets_that_lie_about_their_headers_keep_none_of_their_payload() {
    let tcp_of = |offset: u8, rest: &[u8]| {
        let mut bytes = [&[0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], &[offset << 4, 0x18], &[0; 6]].concat();
        bytes.extend_from_slice(rest);
        bytes
    };
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[7; 16]].concat();
    let with_options = {
        let mut bytes = v4(17, &udp(9, MARK));
        bytes[0] = 0x4F;
        bytes.splice(20..20, MARK[..40].iter().copied());
        let length = (bytes.len() as u16).to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
        bytes
    };
    let short = |mut packet: Vec<u8>, length: u8| {
        packet[3] = length;
        packet
    };
    for (name, frame) in [
        ("neighbour solicitation", ethernet(0x86DD, &v6(58, &[&solicitation[..], MARK].concat()))),
        (
            "with a true option",
            ethernet(0x86DD, &v6(58, &[&solicitation[..], &[1, 1, 2, 0, 0, 0, 0, 1], MARK].concat())),
        ),
        (
            "router advertisement",
            ethernet(0x86DD, &v6(58, &[&[134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], MARK].concat())),
        ),
        (
            "redirect",
            ethernet(
                0x86DD,
                &v6(58, &[&[137, 0, 0, 0, 0, 0, 0, 0][..], &[7; 32], &[4, 12, 0, 0, 0, 0, 0, 0], MARK].concat()),
            ),
        ),
        ("ICMP error that quotes no IP", ethernet(0x0800, &v4(1, &[&[3, 1, 0, 0, 0, 0, 0, 0], MARK].concat()))),
        ("ICMPv6 error that quotes no IP", ethernet(0x86DD, &v6(58, &[&[1, 0, 0, 0, 0, 0, 0, 0], MARK].concat()))),
        ("hop-by-hop of 255", ethernet(0x86DD, &v6(0, &[&[6, 255, 1, 4, 0, 0, 0, 0], MARK].concat()))),
        ("hop-by-hop of a long option", ethernet(0x86DD, &v6(0, &[&[6, 10, 1, 84], MARK].concat()))),
        ("destination options of nothing known", ethernet(0x86DD, &v6(60, &[&[6, 4], MARK].concat()))),
        ("routing header", ethernet(0x86DD, &v6(43, &[&[6, 4, 4, 0], MARK].concat()))),
        ("authentication header", ethernet(0x86DD, &v6(51, &[&[6, 200, 0, 0], MARK].concat()))),
        ("ARP that is none", ethernet(0x0806, MARK)),
        ("ARP of other lengths", ethernet(0x0806, &[&[0, 1, 8, 0, 60, 40, 0, 1], MARK].concat())),
        ("IPv4 that is none", ethernet(0x0800, MARK)),
        ("IPv4 with a header of nothing", ethernet(0x0800, &[&[0x40], &v4(6, &segment())[1..]].concat())),
        ("IPv4 options that are none", ethernet(0x0800, &with_options)),
        ("IPv6 that is none", ethernet(0x86DD, MARK)),
        ("data offset of 15", ethernet(0x0800, &v4(6, &tcp_of(15, MARK)))),
        ("data offset of 0", ethernet(0x0800, &v4(6, &tcp_of(0, MARK)))),
        ("an IP length that ends before the header", ethernet(0x0800, &short(v4(6, &[&[0; 8], MARK].concat()), 28))),
        ("802.3", ethernet(60, MARK)),
        ("SNAP", ethernet(60, &[&[0xAA, 0xAA, 3, 0, 0, 0, 0x99, 0x99], MARK].concat())),
        ("group membership that is none", ethernet(0x0800, &v4(2, MARK))),
        (
            "IPv4 in VXLAN that is none",
            ethernet(0x0800, &v4(17, &udp(4789, &[&VXLAN[..], &ethernet(0x0800, MARK)].concat()))),
        ),
        ("later fragment", ethernet(0x0800, &ip4_packet(17, [0, 9], MARK))),
    ] {
        assert!(!holds_payload(kept_of_frame(&frame)), "{name}: {:?}", String::from_utf8_lossy(kept_of_frame(&frame)));
        assert!(kept_of_frame(&frame).len() >= 14, "{name}");
    }
}

#[test]
fn what_is_true_in_a_header_is_kept() {
    let nd = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[7; 16], &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
    let error = [&[3, 4, 0, 0, 0, 0, 0, 0][..], &v4(6, &segment())].concat();
    let ah = [&[6, 4, 0, 0][..], &[1; 20], &segment()].concat();
    for (name, end, frame) in [
        (
            "three tags",
            26 + 40,
            ethernet(0x88A8, &[&[0, 7, 0x81, 0, 0, 5, 0x81, 0, 0, 6, 8, 0][..], &v4(6, &segment())].concat()),
        ),
        ("neighbour solicitation", 14 + 40 + 32, ethernet(0x86DD, &v6(58, &[&nd[..], MARK].concat()))),
        ("ICMP error", 14 + 28 + 40, ethernet(0x0800, &v4(1, &error))),
        ("authentication header", 14 + 20 + 24 + 20, ethernet(0x0800, &v4(51, &ah))),
        ("ARP", 14 + 28, ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[9; 20], MARK].concat())),
        ("SCTP", 14 + 32, ethernet(0x0800, &v4(132, &[&[0; 12], MARK].concat()))),
        ("UDP-Lite", 14 + 28, ethernet(0x0800, &v4(136, &[&[0; 8], MARK].concat()))),
        ("ESP", 14 + 28, ethernet(0x0800, &v4(50, &[&[0; 8], MARK].concat()))),
        ("SNAP", 22 + 40, ethernet(100, &[&[0xAA, 0xAA, 3, 0, 0, 0, 8, 0][..], &v4(6, &segment())].concat())),
    ] {
        assert_eq!(kept_of_frame(&frame).len(), end, "{name}");
    }
}

#[test]
fn every_link_type_that_is_read_leads_to_the_same_ports() {
    let packet = v4(6, &segment());
    let cooked = [&[0, 0, 0x03, 0x0A, 0, 0][..], &[0; 8], &[8, 0]].concat();
    let quality = wireless([0x88, 1]);
    let behind_a_radio =
        |flags: u8, bytes: &[u8]| [&[0, 0, 17, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, flags][..], bytes].concat();
    // The data of one with quality of service may be moved to a multiple of four bytes.
    let aligned = [&quality[..26], &[0, 0], &quality[26..]].concat();
    for (number, header) in [
        (1, [&[2; 12][..], &[8, 0]].concat()),
        (101, vec![]),
        (113, cooked),
        (276, [&[8, 0][..], &[0; 18]].concat()),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        (9, vec![0xFF, 3, 0, 0x21]),
        (9, vec![0x21]),
        (50, vec![0xFF, 3, 0, 0x21]),
        (104, vec![0x0F, 0, 8, 0]),
        (12, vec![]),
        (228, vec![]),
        (10, [&[3; 13][..], &SNAP].concat()),
        (105, quality.clone()),
        (105, wireless([8, 3])),
        (127, behind_a_radio(0, &quality)),
        (127, behind_a_radio(0x20, &aligned)),
    ] {
        let bytes = [&header[..], &packet].concat();
        let found = headers(Link::from_number(number), &bytes);
        assert_eq!(found.tuple.map(|tuple| tuple.destination_port), Some(6), "link type {number}");
        assert_eq!(found.length, header.len() + 40, "link type {number}");
    }
    let unread = headers(Link::Other(127), &packet);
    assert_eq!((unread.length, unread.tuple), (0, None));
}

#[test]
fn frames_of_a_radio_that_hold_no_packet_are_not_read() {
    let packet = v4(6, &segment());
    // No data, a piece, encrypted.
    for control in [[0x80, 0], [0x48, 1], [8, 5], [8, 0x41]] {
        let found = headers(Link::from_number(105), &[wireless(control), packet.clone()].concat());
        assert_eq!(found.tuple, None, "{control:?}");
    }
    let mut packed = wireless([0x88, 1]);
    packed[24] = 0x80;
    assert_eq!(headers(Link::from_number(105), &[packed, packet].concat()).tuple, None);
}

#[test]
fn gre_carries_frames_of_access_points_and_numbered_ppp() {
    let packet = v4(6, &segment());
    let access_point = [&[0, 0, 0x82, 0][..], &wireless([0x88, 1]), &packet].concat();
    let numbers = [1, 2, 3, 4];
    let pptp = [&[0x30, 0x81, 0x88, 0x0B, 0, 9, 0, 7][..], &numbers, &numbers, &[0xFF, 3, 0, 0x21], &packet].concat();
    let not_acknowledged = [&[0x30, 1, 0x88, 0x0B, 0, 9, 0, 7][..], &numbers, &[0x21], &packet].concat();
    for inside in [access_point, pptp, not_acknowledged] {
        let frame = ethernet(0x0800, &v4(47, &inside));
        let found = headers(Link::Ethernet, &frame);
        assert_eq!((found.tunnel, found.tuple.map(|tuple| tuple.source_port)), (Some(Tunnel::Gre), Some(5)));
        assert_eq!(found.length, frame.len() - MARK.len());
    }
    let only_acknowledged = ethernet(0x0800, &v4(47, &[0x20, 0x81, 0x88, 0x0B, 0, 0, 0, 7, 0, 0, 0, 9]));
    assert_eq!(headers(Link::Ethernet, &only_acknowledged).tunnel, None);
}

#[test]
fn later_pieces_of_a_dns_answer_are_known_for_a_while() {
    let mut fragments = Fragments::default();
    let piece = |id: u8, place: [u8; 2], port: u8| {
        let mut packet = ip4_packet(17, place, &[&[0, port, 0x9C, 0x40, 0, 0, 0, 0], MARK].concat());
        packet[5] = id;
        headers(Link::Ethernet, &ethernet(0x0800, &packet))
    };
    let second = 1_000_000_000;
    assert!(fragments.are_dns(&piece(1, [0x20, 0], 53), 0));
    assert!(!fragments.are_dns(&piece(2, [0x20, 0], 99), 0));
    assert!(fragments.are_dns(&piece(1, [0x20, 185], 7), second));
    assert!(fragments.are_dns(&piece(1, [0, 250], 7), second), "the last piece");
    assert!(!fragments.are_dns(&piece(2, [0, 185], 53), second), "what looks like a port there is none");
    assert!(!fragments.are_dns(&piece(1, [0, 185], 7), 40 * second), "long after");
    let six = |place: u8, port: u8| {
        let extension = [17, 0, 0, place, 0, 0, 0, 9];
        let payload = [&extension[..], &[0, port, 0x9C, 0x40, 0, 0, 0, 0], MARK].concat();
        headers(Link::Ethernet, &ethernet(0x86DD, &v6(44, &payload)))
    };
    assert!(fragments.are_dns(&six(1, 53), 0) && fragments.are_dns(&six(0x40, 7), second));
    for other in 0..300_u64 {
        let first = Fragment { key: other, first: true };
        let dns = Headers { fragment: Some(first), ..piece(1, [0x20, 0], 53) };
        assert!(fragments.are_dns(&dns, second));
    }
    assert!(!fragments.are_dns(&piece(1, [0, 185], 7), second), "bounded");
}

#[test]
fn dns_inside_a_tunnel_is_dns() {
    let question = v4(17, &udp(53, MARK));
    let frame = ethernet(0x0800, &v4(17, &udp(4789, &[&VXLAN[..], &ethernet(0x0800, &question)].concat())));
    assert_eq!(kept(Content::Dns, &headers(Link::Ethernet, &frame), frame.len()), frame.len());
    assert_eq!(kept_of_frame(&frame).len(), frame.len() - MARK.len());
}

/// A header of VXLAN, and too little behind it.
const VXLAN_AROUND_NOTHING: [u8; 40] = {
    let mut bytes = [0; 40];
    bytes[0] = 8;
    bytes
};

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), link in 0_u16..280) {
        headers(Link::from_number(link), &bytes);
    }

    #[test]
    fn what_is_read_sooner_is_read_the_same(
        at in 12usize..70, byte: u8, again in 12usize..70, other: u8, cut in 30usize..120, timestamps: bool,
        port in proptest::option::of(proptest::sample::select(vec![53, 4789, 4790, 6081, 8472])),
    ) {
        let mut tcp = segment();
        if timestamps {
            tcp[12] = 0x80;
            tcp.splice(20..20, [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        let packet = port.map_or_else(|| v4(6, &tcp), |port| v4(17, &udp(port, &VXLAN_AROUND_NOTHING)));
        let mut bytes = ethernet(0x0800, &packet);
        (bytes[at], bytes[again]) = (byte, other);
        bytes.truncate(cut);
        prop_assert_eq!(headers(Link::Ethernet, &bytes), link::read(Link::Ethernet, &bytes));
    }

    #[test]
    fn a_damaged_tunnel_is_read_without_a_panic_and_keeps_no_more_than_there_is(at in 0usize..110, byte: u8, cut in 0usize..200) {
        let frame = ethernet(0x0800, &v4(6, &segment()));
        let mut bytes = ethernet(0x0800, &v4(17, &udp(6081, &[&GENEVE[..], &frame].concat())));
        bytes[at] = byte;
        bytes.truncate(cut);
        prop_assert!(kept_of_frame(&bytes).len() <= bytes.len());
    }

    #[test]
    fn a_cut_packet_is_read_without_a_panic(cut in 0usize..80, next: u8) {
        let bytes = frame(&[0x86, 0xDD], &ip6_packet(next, &[44, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0]));
        headers(Link::Ethernet, &bytes[..cut.min(bytes.len())]);
    }
}
