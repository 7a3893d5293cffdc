//! A stream for somebody who looks at single packets: the latest ones, their headers alone, and not too many.
//!
//! Owns which go out: so many a second, bursts whole where it was quiet before, and of what is too much those last that
//! begin or end a connection. How many did not is said with the next one that does, as pcapng has it: as packets lost
//! before it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use nodewatch_pcapng::{Block, Parser, enhanced_packet, packets_before};
use nodewatch_protocol::Content;

use crate::capture::{kept_of, tcp_flags};

/// Packets that wait for the next look, and what was left out.
pub(super) struct Thin {
    /// So many packets a second, and of those that came in one burst.
    most: usize,
    parser: Parser,
    links: Vec<u16>,
    waiting: VecDeque<Waiting>,
    /// Left out since the last one that waits.
    left_out: u64,
    /// How many may go out by now: what a quiet moment saved is for the burst that follows.
    budget: f64,
    /// What lies before the first look is no news.
    looked: Option<Instant>,
}

/// A packet that has not gone out.
struct Waiting {
    interface: u32,
    nanos: u64,
    wire_length: u32,
    data: Vec<u8>,
    /// It begins or ends a connection, or says that something failed: of a burst it stays longest.
    tells: bool,
    /// Left out just before it.
    before: u64,
}

impl Thin {
    /// At most so many a second.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        let waiting = VecDeque::with_capacity(most);
        let (parser, links) = (Parser::default(), Vec::new());
        Self { most, parser, links, waiting, left_out: 0, budget: most as f64, looked: None }
    }

    /// A file begins.
    pub(super) fn begin(&mut self) {
        self.parser = Parser::default();
        self.links.clear();
    }

    /// Takes whole blocks in; what is no packet goes out at once. False when they are none that can be read.
    pub(super) fn take(&mut self, blocks: &[u8], out: &mut Vec<u8>) -> bool {
        self.parser.push(blocks);
        let mut at = 0;
        loop {
            let before = at;
            match self.parser.next_block() {
                Ok(Some(Block::Packet(packet))) => {
                    let link = self.links.get(packet.interface).copied().unwrap_or_default();
                    let (kept, tells) = (kept_of(Content::Headers, link, packet.data), tells(link, packet.data));
                    self.waiting.push_back(Waiting {
                        interface: packet.interface as u32,
                        nanos: packet.nanos,
                        wire_length: packet.wire_length,
                        data: packet.data[..kept].to_vec(),
                        tells,
                        before: std::mem::take(&mut self.left_out),
                    });
                }
                Ok(Some(Block::Section(_))) => self.links.clear(),
                Ok(Some(Block::Interface(interface))) => self.links.push(interface.link_type),
                Ok(Some(Block::Statistics(_) | Block::Other(_))) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
            if self.waiting.len() > self.most {
                self.leave_one_out();
            }
            at = (at + length_of(&blocks[at..])).min(blocks.len());
            if kind_of(&blocks[before..]) != super::PACKET {
                out.extend_from_slice(&blocks[before..at]);
            }
        }
    }

    /// The last look was so long ago; the first comes once all was read that there is.
    pub(super) fn is_due(&self, every: Duration) -> bool {
        self.looked.is_some_and(|looked| looked.elapsed() >= every)
    }

    /// What waits goes out as far as the budget goes; the rest has time until the next look.
    pub(super) fn look(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.refill(now);
        self.send(self.budget as usize, out);
    }

    /// The same for the last packets of a file, after which nothing of it can go out: what is too much is left out.
    pub(super) fn finish(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.refill(now);
        // Files that follow one another quickly have some of each.
        let most = (self.budget as usize).max(self.most / super::LOOKS_A_SECOND).max(1);
        while self.waiting.len() > most {
            self.leave_one_out();
        }
        self.send(most, out);
    }

    fn refill(&mut self, now: Instant) {
        let Some(looked) = self.looked.replace(now) else {
            self.left_out = 0;
            self.waiting.iter_mut().for_each(|one| one.before = 0);
            return;
        };
        let most = self.most as f64;
        self.budget = (self.budget + now.duration_since(looked).as_secs_f64() * most).min(most);
    }

    fn send(&mut self, most: usize, out: &mut Vec<u8>) {
        for one in self.waiting.drain(..most.min(self.waiting.len())) {
            self.budget = (self.budget - 1.0).max(0.0);
            let mut options = Vec::new();
            if one.before > 0 {
                packets_before(&mut options, one.before);
            }
            enhanced_packet(out, one.interface, one.nanos, one.wire_length, [&one.data], &options);
        }
    }

    /// The oldest that tells little, or the oldest. It is counted at the one behind it.
    fn leave_one_out(&mut self) {
        let at = self.waiting.iter().position(|one| !one.tells).unwrap_or(0);
        let left_out = self.waiting.remove(at).map_or(0, |one| one.before + 1);
        match self.waiting.get_mut(at) {
            Some(next) => next.before += left_out,
            None => self.left_out += left_out,
        }
    }
}

/// SYN, FIN and RST, and what ICMP says.
fn tells(link_type: u16, bytes: &[u8]) -> bool {
    const FIN_SYN_RST: u8 = 0b111;
    match tcp_flags(link_type, bytes) {
        Ok(flags) => flags & FIN_SYN_RST != 0,
        Err(is_icmp) => is_icmp,
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |&four| u32::from_le_bytes(four))
}

fn kind_of(bytes: &[u8]) -> u32 {
    word(bytes, 0)
}

fn length_of(bytes: &[u8]) -> usize {
    word(bytes, 4) as usize
}

#[cfg(test)]
mod tests {
    use nodewatch_pcapng::{InterfaceBlock, SectionBlock, interface_description, lost_before, section_header};

    use super::*;

    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const RST: u8 = 4;

    /// TCP in IPv4 in Ethernet.
    fn tcp(flags: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x1F, 0x90, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        frame
    }

    struct Stream(Thin, Instant, u64);

    impl Stream {
        fn new(most: usize) -> Self {
            let mut stream = Self(Thin::new(most), Instant::now(), 0);
            let mut head = Vec::new();
            section_header(&mut head, &SectionBlock { hardware: "n", application: "t", comments: &[] });
            let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
            interface_description(&mut head, &interface);
            assert!(stream.0.take(&head, &mut Vec::new()));
            stream.0.look(stream.1, &mut Vec::new());
            stream
        }

        fn packets(&mut self, all: &[u8]) {
            let mut bytes = Vec::new();
            for &flags in all {
                self.2 += 1;
                enhanced_packet(&mut bytes, 0, self.2, 54, [&tcp(flags)], &[]);
            }
            assert!(self.0.take(&bytes, &mut Vec::new()));
        }

        /// The numbers of those that go out after so long, with how many were left out before each.
        fn look(&mut self, millis: u64) -> Vec<(u64, u64)> {
            self.1 += Duration::from_millis(millis);
            let mut out = Vec::new();
            self.0.look(self.1, &mut out);
            let mut head = Vec::new();
            section_header(&mut head, &SectionBlock { hardware: "n", application: "t", comments: &[] });
            let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
            interface_description(&mut head, &interface);
            head.extend(out);
            let (mut parser, mut seen) = (Parser::default(), Vec::new());
            parser.push(&head);
            while let Some(block) = parser.next_block().expect("whole blocks") {
                if let Block::Packet(packet) = block {
                    seen.push((packet.nanos, lost_before(packet.options)));
                }
            }
            seen
        }
    }

    #[test]
    fn a_burst_within_the_seconds_budget_goes_out_whole() {
        let mut stream = Stream::new(50);
        // Eight a second, in bursts of 40 that are over before the next look.
        for _ in 0..3 {
            stream.packets(&[[SYN; 10], [ACK; 10], [ACK; 10], [RST; 10]].concat());
            let seen = stream.look(5000);
            assert_eq!(seen.len(), 40);
            assert!(seen.iter().all(|(_, left_out)| *left_out == 0), "{seen:?}");
        }
        // A steady flow below the limit lacks nothing either, however it falls on looks.
        let mut seen = Vec::new();
        for turn in 0..50 {
            stream.packets(&vec![ACK; if turn % 2 == 0 { 20 } else { 0 }]);
            seen.extend(stream.look(210));
        }
        assert!(seen.iter().all(|(_, left_out)| *left_out == 0), "{seen:?}");
        assert!(seen.len() >= 480, "{}", seen.len());
    }

    #[test]
    fn of_too_much_those_that_begin_and_end_connections_stay_and_the_rest_is_counted() {
        let mut stream = Stream::new(10);
        let mut all = vec![ACK; 100];
        (all[0], all[40]) = (SYN, RST);
        stream.packets(&all);
        let seen = stream.look(1000);
        let latest = (93..=100).map(|number| (number, if number == 93 { 51 } else { 0 }));
        assert_eq!(seen, [(1, 0), (41, 39)].into_iter().chain(latest).collect::<Vec<_>>());
        // Never more than the budget, and no packet is both left out and waiting.
        stream.packets(&[ACK; 10]);
        assert_eq!(stream.look(100).len(), 1);
        assert_eq!(stream.look(1000).len(), 9);
        // Where all of them tell something, the latest do.
        stream.packets(&[SYN; 30]);
        let seen = stream.look(1000);
        assert_eq!((seen.len(), seen[0]), (10, (131, 20)));
    }
}
