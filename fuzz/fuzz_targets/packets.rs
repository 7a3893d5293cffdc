//! Packets of any link type: headers, what stands behind them, and what is made of them one after the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewatch_analysis::{
    Analysis, Limits, Seen,
    decode::{self, Fragments, Link},
    detail::{Icmp, Message, Neighbour, Segment, hops_left},
};
use nodewatch_fuzz::{Input, later, packets, seeds};
use nodewatch_protocol::Content;

const LINKS: [u16; 12] = [1, 101, 113, 276, 0, 9, 105, 127, 104, 10, 50, 147];
const LIMITS: Limits = Limits { connections: 8, pairs: 8, questions: 8, seed: 1 };

fuzz_target!(init: seeds::plant("packets"), |data: &[u8]| {
    let mut input = Input(data);
    let Some(number) = input.byte().map(|link| LINKS[usize::from(link) % LINKS.len()]) else { return };
    let link = Link::from_number(number);
    let (mut analysis, mut fragments) = (Analysis::new(LIMITS), Fragments::default());
    let (mut nanos, mut told, mut seen_packets) = (1_700_000_000_000_000_000, 0, 0);
    while let (Some(step), Some(bytes)) = (input.byte(), input.some()) {
        nanos = later(nanos, step);
        let wire_length = if step & 0x40 == 0 { bytes.len() as u32 } else { u32::MAX };
        let interface = u16::from(step >> 4 & 1);
        one(number, bytes, wire_length);
        fragments.are_dns(&decode::headers(link, bytes), nanos as u64);
        if step & 0x80 != 0 {
            analysis.lost(interface, nanos);
        }
        analysis.packet(&Seen { interface, link, nanos, wire_length, bytes });
        seen_packets += 1;
        if step & 0x20 != 0 {
            analysis.tell(nanos, |_, counts| told += counts.packets.iter().sum::<u64>());
        }
    }
    let mut pairs = 0;
    analysis.end(|_, counts| {
        told += counts.packets.iter().sum::<u64>();
        pairs += 1;
    });
    let totals = analysis.totals();
    assert!(pairs <= LIMITS.pairs + LIMITS.connections && told <= seen_packets && totals.packets == seen_packets);
    assert_eq!(totals.fates.iter().sum::<u64>(), totals.connections);
});

/// Everything that can be asked of one packet.
fn one(number: u16, bytes: &[u8], wire_length: u32) {
    let headers = decode::headers(Link::from_number(number), bytes);
    for content in [Content::Full, Content::Dns, Content::Headers] {
        assert!(decode::kept(content, &headers, bytes.len()) <= bytes.len());
    }
    if let Some(segment) = Segment::of(&headers, bytes, wire_length) {
        assert!(segment.payload.len() <= segment.length as usize);
        let options = segment.options();
        assert!(segment.stamps().is_none_or(|stamps| options.stamps == Some(stamps)));
    }
    let _ = Icmp::of(&headers, bytes).map(|icmp| (icmp.too_big(headers.class), icmp.is_unreachable(headers.class)));
    let _ = (Neighbour::of(&headers, bytes), hops_left(&headers, bytes), Message::of(bytes));
    if let Some(known) = packets::Headers::of(number, bytes, wire_length) {
        assert!(known.payload.len() <= bytes.len());
    }
    let line = packets::line(number, bytes, wire_length);
    assert!(!line.contains(char::is_control), "{line:?}");
}
