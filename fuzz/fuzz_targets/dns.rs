//! Messages of DNS over UDP, and over TCP in segments that follow each other, come twice or leave something out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewatch_analysis::{Analysis, Limits, Seen, decode::Link};
use nodewatch_fuzz::{Input, later, seeds};

const LIMITS: Limits = Limits { connections: 8, pairs: 8, questions: 4, seed: 1 };
const BACK: u8 = 0x10;
const OVER_TCP: u8 = 0x20;
/// Something in between was not captured; over UDP, to another port than usual.
const GAP: u8 = 0x40;
/// The same again; over UDP, with another client.
const AGAIN: u8 = 0x80;

fuzz_target!(init: seeds::plant("dns"), |data: &[u8]| {
    let mut input = Input(data);
    let mut analysis = Analysis::new(LIMITS);
    let (mut nanos, mut next) = (1_700_000_000_000_000_000, [1000u32, u32::MAX - 20]);
    while let (Some(how), Some(message)) = (input.byte(), input.some()) {
        nanos = later(nanos, how);
        let bytes = if how & OVER_TCP == 0 { datagram(how, message) } else { segment(how, message, &mut next) };
        let wire_length = bytes.len() as u32;
        analysis.packet(&Seen { interface: 0, link: Link::Raw, nanos, wire_length, bytes: &bytes });
    }
    let mut attempts = 0;
    analysis.end(|_, counts| attempts += counts.attempts);
    let dns = analysis.totals().dns;
    assert!(dns.answered <= dns.questions && dns.unanswered() <= dns.questions, "{dns:?}");
    assert!(attempts <= dns.questions + analysis.totals().connections);
});

fn ip(protocol: u8, how: u8, transport: &[u8]) -> Vec<u8> {
    let (client, server) = ([10, 0, 0, 1 + (how & AGAIN) * u8::from(protocol == 17) / AGAIN], [10, 0, 0, 9]);
    let (from, to) = if how & BACK == 0 { (client, server) } else { (server, client) };
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + transport.len() as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend([from, to].concat());
    bytes.extend(transport);
    bytes
}

fn ports(how: u8, port: u16) -> [u8; 4] {
    let (from, to) = if how & BACK == 0 { (40_000, port) } else { (port, 40_000u16) };
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d]
}

fn datagram(how: u8, message: &[u8]) -> Vec<u8> {
    let length = (8 + message.len() as u16).to_be_bytes();
    let port = if how & GAP == 0 { 53 } else { 5353 };
    ip(17, how, &[&ports(how, port)[..], &length, &[0, 0], message].concat())
}

fn segment(how: u8, message: &[u8], next: &mut [u32; 2]) -> Vec<u8> {
    let side = usize::from(how & BACK != 0);
    let gap = if how & GAP == 0 { 0 } else { 700 };
    let sequence = next[side].wrapping_add(gap);
    if how & AGAIN == 0 {
        next[side] = sequence.wrapping_add(message.len() as u32);
    }
    let numbers = [sequence.to_be_bytes(), next[1 - side].to_be_bytes()].concat();
    ip(6, how, &[&ports(how, 53)[..], &numbers, &[0x50, 0x10, 4, 0, 0, 0, 0, 0], message].concat())
}
