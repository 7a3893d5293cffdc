//! Any pcapng, block by block, from bytes as they come or from a reader.
//!
//! Owns both byte orders, timestamp resolutions and the distrust of lengths: whatever the bytes, nothing panics and no
//! more than one block and one read is held in memory.

use std::io::{self, Read};

use crate::{
    BYTE_ORDER_MAGIC, ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, OBSOLETE_PACKET, SECTION_HEADER,
    SIMPLE_PACKET,
};

/// A longer block is refused. The largest packet that libpcap captures takes 256 KiB.
pub const MAX_BLOCK: usize = 4 * 1024 * 1024;
/// Bytes asked of a reader at once.
const CHUNK: usize = 256 * 1024;
/// More interfaces than this in one section are no capture.
const MAX_INTERFACES: usize = 4096;

/// Bytes that are no pcapng.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed.
    #[error("cannot read on after byte {at}")]
    Read {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The bytes end inside a block.
    #[error("the file ends inside the block that begins at byte {at}")]
    Torn {
        /// Where the block begins.
        at: u64,
    },
    /// Not a pcapng, or a damaged one.
    #[error("{what} at byte {at}")]
    Bad {
        /// Where the block begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a section says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Hardware: this product writes the node's name there.
    pub hardware: String,
    /// The program that wrote it.
    pub application: String,
    /// Comments.
    pub comments: Vec<String>,
}

/// What an interface's description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// LINKTYPE_ number.
    pub link_type: u16,
    /// Bytes kept of each packet; 0 is no limit.
    pub snaplen: u32,
    /// Its name.
    pub name: String,
    /// Its capture filter.
    pub filter: Option<String>,
    resolution: Resolution,
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Which of the section's interfaces.
    pub interface: usize,
    /// Nanoseconds since the Unix epoch; 0 where the block has no time.
    pub nanos: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: &'a [u8],
    /// Its options as little-endian bytes, empty where there are none or the section is big-endian.
    pub options: &'a [u8],
}

/// An interface's counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Which of the section's interfaces.
    pub interface: usize,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// Packets received.
    pub received: u64,
    /// Dropped by the interface.
    pub dropped_by_interface: u64,
    /// Dropped by the operating system.
    pub dropped_by_kernel: u64,
    /// Delivered to the file.
    pub delivered: u64,
    /// Comments.
    pub comments: Vec<String>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block<'a> {
    /// A section begins; its interfaces follow.
    Section(Section),
    /// The section's next interface.
    Interface(Interface),
    /// A packet.
    Packet(Packet<'a>),
    /// Counts.
    Statistics(Statistics),
    /// Anything else, by its type.
    Other(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolution {
    Nanos,
    Other { ticks_a_second: u64, offset_seconds: i64 },
}

impl Resolution {
    fn nanos(self, ticks: u64) -> u64 {
        match self {
            Self::Nanos => ticks,
            Self::Other { ticks_a_second, offset_seconds } => {
                let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(ticks_a_second);
                let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
                let nanos = nanos.saturating_add(i128::from(offset_seconds) * 1_000_000_000);
                u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Blocks out of bytes as they come.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// How much of `bytes` has been handed out.
    done: usize,
    /// Bytes before `bytes`.
    passed: u64,
    big_endian: bool,
    in_section: bool,
    interfaces: Vec<Interface>,
}

/// A whole block that lies in the buffer.
struct Whole {
    kind: u32,
    total: usize,
}

impl Parser {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// The next block; `None` when more bytes are needed.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        match self.whole_block()? {
            Some(whole) => self.parse(&whole).map(Some),
            None => Ok(None),
        }
    }

    /// Where the next block begins.
    pub fn position(&self) -> u64 {
        self.passed + self.done as u64
    }

    /// Nothing is left but what was handed out.
    pub fn is_empty(&self) -> bool {
        self.done == self.bytes.len()
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.done);
        self.passed += self.done as u64;
        self.done = 0;
    }

    fn bad(&self, what: &'static str) -> ReadError {
        ReadError::Bad { at: self.position(), what }
    }

    fn whole_block(&mut self) -> Result<Option<Whole>, ReadError> {
        let rest = &self.bytes[self.done..];
        let Some(head) = rest.first_chunk::<12>() else { return Ok(None) };
        // The same in both byte orders.
        let begins_section = head[..4] == SECTION_HEADER.to_le_bytes();
        if begins_section {
            self.big_endian = match u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
                BYTE_ORDER_MAGIC => false,
                magic if magic == BYTE_ORDER_MAGIC.swap_bytes() => true,
                _ => return Err(self.bad("no byte-order magic of a pcapng section")),
            };
        } else if !self.in_section {
            return Err(self.bad("no pcapng section header"));
        }
        let kind = self.u32([head[0], head[1], head[2], head[3]]);
        let total = self.u32([head[4], head[5], head[6], head[7]]) as usize;
        if total < 12 || !total.is_multiple_of(4) {
            return Err(self.bad("a block length that cannot be"));
        }
        if total > MAX_BLOCK {
            return Err(self.bad("a block longer than 4 MiB"));
        }
        if rest.len() < total {
            return Ok(None);
        }
        if rest[total - 4..total] != head[4..8] {
            return Err(self.bad("a block whose two lengths differ"));
        }
        Ok(Some(Whole { kind, total }))
    }

    fn parse(&mut self, whole: &Whole) -> Result<Block<'_>, ReadError> {
        let body = self.done + 8..self.done + whole.total - 4;
        let block = match whole.kind {
            SECTION_HEADER => {
                let section = self.section(&self.bytes[body.clone()])?;
                self.in_section = true;
                self.interfaces.clear();
                Block::Section(section)
            }
            INTERFACE_DESCRIPTION => {
                let interface = self.interface(&self.bytes[body.clone()])?;
                if self.interfaces.len() == MAX_INTERFACES {
                    return Err(self.bad("too many interfaces"));
                }
                self.interfaces.push(interface.clone());
                Block::Interface(interface)
            }
            INTERFACE_STATISTICS => Block::Statistics(self.statistics(&self.bytes[body.clone()])?),
            ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET => {
                self.check_packet(whole.kind, &self.bytes[body.clone()])?;
                self.done += whole.total;
                return Ok(Block::Packet(self.packet(whole.kind, &self.bytes[body])));
            }
            other => Block::Other(other),
        };
        self.done += whole.total;
        Ok(block)
    }

    fn section(&self, body: &[u8]) -> Result<Section, ReadError> {
        let options = body.get(16..).ok_or_else(|| self.bad("a section header that is too short"))?;
        let mut section = Section::default();
        for (code, value) in self.options(options) {
            match code {
                1 => section.comments.push(text(value)),
                2 => section.hardware = text(value),
                4 => section.application = text(value),
                _ => {}
            }
        }
        Ok(section)
    }

    fn interface(&self, body: &[u8]) -> Result<Interface, ReadError> {
        let fixed = body.first_chunk::<8>().ok_or_else(|| self.bad("an interface description that is too short"))?;
        let mut interface = Interface {
            link_type: self.u16([fixed[0], fixed[1]]),
            snaplen: self.u32([fixed[4], fixed[5], fixed[6], fixed[7]]),
            name: String::new(),
            filter: None,
            resolution: Resolution::Nanos,
        };
        let mut ticks_a_second = 1_000_000;
        let mut offset_seconds = 0;
        for (code, value) in self.options(&body[8..]) {
            match (code, value) {
                (2, value) => interface.name = text(value),
                (9, &[resolution, ..]) => {
                    let (base, power) = if resolution & 0x80 == 0 { (10, resolution) } else { (2, resolution & 0x7F) };
                    ticks_a_second = 1;
                    for _ in 0..power {
                        ticks_a_second = u64::checked_mul(ticks_a_second, base)
                            .ok_or_else(|| self.bad("a timestamp resolution that cannot be"))?;
                    }
                }
                (11, [0, filter @ ..]) => interface.filter = Some(text(filter)),
                (14, value) => {
                    if let Some(&bytes) = value.first_chunk::<8>() {
                        let bytes = i64::from_le_bytes(bytes);
                        offset_seconds = if self.big_endian { bytes.swap_bytes() } else { bytes };
                    }
                }
                _ => {}
            }
        }
        if (ticks_a_second, offset_seconds) != (1_000_000_000, 0) {
            interface.resolution = Resolution::Other { ticks_a_second, offset_seconds };
        }
        Ok(interface)
    }

    fn statistics(&self, body: &[u8]) -> Result<Statistics, ReadError> {
        let fixed = body.first_chunk::<12>().ok_or_else(|| self.bad("interface statistics that are too short"))?;
        let interface = self.u32([fixed[0], fixed[1], fixed[2], fixed[3]]) as usize;
        let mut counts = Statistics { interface, at: self.time(interface, &fixed[4..]), ..Statistics::default() };
        for (code, value) in self.options(&body[12..]) {
            let number = value.first_chunk::<8>().map_or(0, |&bytes| {
                let number = u64::from_le_bytes(bytes);
                if self.big_endian { number.swap_bytes() } else { number }
            });
            match code {
                1 => counts.comments.push(text(value)),
                4 => counts.received = number,
                5 => counts.dropped_by_interface = number,
                7 => counts.dropped_by_kernel = number,
                8 => counts.delivered = number,
                _ => {}
            }
        }
        Ok(counts)
    }

    /// Nanoseconds of a time in two halves, by that interface's resolution.
    fn time(&self, interface: usize, halves: &[u8]) -> u64 {
        let (Some(&high), Some(&low)) = (halves.first_chunk(), halves.get(4..).and_then(<[u8]>::first_chunk)) else {
            return 0;
        };
        let ticks = u64::from(self.u32(high)) << 32 | u64::from(self.u32(low));
        let resolution = self.interfaces.get(interface).map_or(Resolution::Nanos, |one| one.resolution);
        resolution.nanos(ticks)
    }

    fn check_packet(&self, kind: u32, body: &[u8]) -> Result<(), ReadError> {
        let fixed = if kind == SIMPLE_PACKET { 4 } else { 20 };
        if body.len() < fixed {
            return Err(self.bad("a packet block that is too short"));
        }
        let interface = self.interface_of(kind, body);
        if interface >= self.interfaces.len() {
            return Err(self.bad("a packet of an interface that was not described"));
        }
        if body.len() - fixed < self.captured(kind, body) {
            return Err(self.bad("a packet that is longer than its block"));
        }
        Ok(())
    }

    fn interface_of(&self, kind: u32, body: &[u8]) -> usize {
        match kind {
            ENHANCED_PACKET => self.u32([body[0], body[1], body[2], body[3]]) as usize,
            OBSOLETE_PACKET => self.u16([body[0], body[1]]).into(),
            _ => 0,
        }
    }

    fn captured(&self, kind: u32, body: &[u8]) -> usize {
        if kind == SIMPLE_PACKET {
            let wire = self.u32([body[0], body[1], body[2], body[3]]) as usize;
            let snaplen = self.interfaces.first().map_or(0, |one| one.snaplen) as usize;
            let kept = if snaplen == 0 { wire } else { wire.min(snaplen) };
            return kept.min(body.len() - 4);
        }
        self.u32([body[12], body[13], body[14], body[15]]) as usize
    }

    /// After [`Self::check_packet`] has passed.
    fn packet<'a>(&self, kind: u32, body: &'a [u8]) -> Packet<'a> {
        let interface = self.interface_of(kind, body);
        let captured = self.captured(kind, body);
        if kind == SIMPLE_PACKET {
            let wire_length = self.u32([body[0], body[1], body[2], body[3]]);
            return Packet { interface, nanos: 0, wire_length, data: &body[4..4 + captured], options: &[] };
        }
        let options = match body.get(20 + captured.next_multiple_of(4)..) {
            Some(options) if kind == ENHANCED_PACKET && !self.big_endian => options,
            _ => &[],
        };
        Packet {
            interface,
            nanos: self.time(interface, &body[4..]),
            wire_length: self.u32([body[16], body[17], body[18], body[19]]),
            data: &body[20..20 + captured],
            options,
        }
    }

    /// Options up to the first that does not fit.
    fn options<'a>(&self, mut rest: &'a [u8]) -> impl Iterator<Item = (u16, &'a [u8])> {
        let big_endian = self.big_endian;
        std::iter::from_fn(move || {
            let &[a, b, c, d] = rest.first_chunk::<4>()?;
            let read = |pair| if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
            let (code, length) = (read([a, b]), usize::from(read([c, d])));
            let value = rest.get(4..4 + length)?;
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
            (code != 0).then_some((code, value))
        })
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// Blocks out of a reader.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    parser: Parser,
    chunk: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads nothing yet.
    pub fn new(input: R) -> Self {
        Self { input, parser: Parser::default(), chunk: vec![0; CHUNK] }
    }

    /// The next block; `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        let whole = loop {
            if let Some(whole) = self.parser.whole_block()? {
                break whole;
            }
            let at = self.parser.position();
            match self.input.read(&mut self.chunk) {
                Ok(0) if self.parser.is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::Torn { at }),
                Ok(read) => self.parser.push(&self.chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Read { at, source }),
            }
        };
        self.parser.parse(&whole).map(Some)
    }
}
