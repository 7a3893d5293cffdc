//! Any pcapng, block by block, from bytes as they come or from a reader.
//!
//! Owns both byte orders and the distrust of lengths: whatever the bytes, nothing panics and no more than one block and
//! one read is held in memory.

use std::io::{ErrorKind, Read, Result as Io};

use crate::{
    BYTE_ORDER_MAGIC, Block, CUSTOM, ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, Interface, JOURNAL,
    NAME_RESOLUTION, OBSOLETE_PACKET, Other, Packet, ReadError, Resolution, SECRETS, SECTION_HEADER, SIMPLE_PACKET,
    Section, Statistics, Time,
    options::{Lost, NETFLIX, Of, Options, Order, copy, copy_names},
    time::finer,
    write::{block, option},
};

/// A longer block is refused. The largest packet that libpcap captures takes 256 KiB.
pub const MAX_BLOCK: usize = 4 * 1024 * 1024;
/// The same for files of others: the largest packets, of D-Bus and USB, have 128 MiB.
const MAX_FOREIGN_BLOCK: usize = 132 * 1024 * 1024;
/// Bytes asked of a reader at first, and at most: little of a file that is only looked into.
const FIRST_CHUNK: usize = 16 * 1024;
const CHUNK: usize = 256 * 1024;
/// More interfaces than this in one section are no capture.
const MAX_INTERFACES: usize = 1 << 20;

/// Adds what there is now, and at most so many bytes: who writes into a pipe may take its time with the rest. Zero at the end.
pub fn read_some(input: &mut impl Read, bytes: &mut Vec<u8>, most: usize) -> Io<usize> {
    let before = bytes.len();
    bytes.resize(before + most, 0);
    let read = loop {
        match input.read(&mut bytes[before..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    bytes.truncate(before + read.as_ref().copied().unwrap_or_default());
    read
}

/// What is remembered of an interface.
#[derive(Debug, Clone, Copy)]
struct Known {
    resolution: Resolution,
    /// The option, where ticks are finer than a [`Resolution`] holds.
    finer: Option<u8>,
    snaplen: u32,
}

/// Blocks out of bytes as they come.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// How much of `bytes` has been handed out.
    done: usize,
    /// Bytes before `bytes`.
    passed: u64,
    order: Order,
    in_section: bool,
    interfaces: Vec<Known>,
    /// What was written anew of the block that was handed out.
    anew: Vec<u8>,
    foreign: bool,
    lost: Lost,
}

/// A whole block that lies in the buffer.
struct Whole {
    kind: u32,
    total: usize,
    /// Where its second length begins.
    end: usize,
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

    /// Options that were left out of what was handed out.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// The numbers in the section's packets, where their link type has some of the capturing host, are big-endian.
    pub fn is_big_endian(&self) -> bool {
        self.order == Order::Big
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
            self.order = match u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
                BYTE_ORDER_MAGIC => Order::Little,
                magic if magic == BYTE_ORDER_MAGIC.swap_bytes() => Order::Big,
                _ => return Err(self.bad("no pcapng byte-order magic")),
            };
        } else if !self.in_section {
            return Err(self.bad("no pcapng section header"));
        }
        let kind = self.u32([head[0], head[1], head[2], head[3]]);
        let length = self.u32([head[4], head[5], head[6], head[7]]) as usize;
        // Some writers leave the padding out of the length.
        let total = length.next_multiple_of(4);
        if length < 12 {
            return Err(self.bad("an invalid block length"));
        }
        if total > if self.foreign { MAX_FOREIGN_BLOCK } else { MAX_BLOCK } {
            return Err(self.bad(if self.foreign {
                "a block longer than 132 MiB"
            } else {
                "a block longer than 4 MiB"
            }));
        }
        if rest.len() < total {
            return Ok(None);
        }
        if rest[total - 4..total] != head[4..8] {
            return Err(self.bad("a block whose two lengths differ"));
        }
        Ok(Some(Whole { kind, total, end: self.done + total - 4 }))
    }

    fn parse(&mut self, whole: &Whole) -> Result<Block<'_>, ReadError> {
        let body = self.done + 8..whole.end;
        let block = match whole.kind {
            SECTION_HEADER => {
                let section = self.section(&self.bytes[body])?;
                self.in_section = true;
                self.interfaces.clear();
                Block::Section(section)
            }
            INTERFACE_DESCRIPTION => {
                let (interface, finer, lost) = self.interface(&self.bytes[body])?;
                if self.interfaces.len() == MAX_INTERFACES {
                    return Err(self.bad("too many interfaces"));
                }
                self.lost.add(lost, self.position());
                let (resolution, snaplen) = (interface.resolution, interface.snaplen);
                self.interfaces.push(Known { resolution, finer, snaplen });
                Block::Interface(interface)
            }
            INTERFACE_STATISTICS => Block::Statistics(self.statistics(&self.bytes[body])?),
            ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET => {
                self.check_packet(whole.kind, &self.bytes[body.clone()])?;
                self.take_options(whole.kind, body.clone());
                self.done += whole.total;
                return Ok(Block::Packet(self.packet(whole.kind, &self.bytes[body])));
            }
            kind => {
                let mut anew = std::mem::take(&mut self.anew);
                anew.clear();
                let lost = other(&mut anew, kind, &self.bytes[body], self.order);
                self.anew = anew;
                self.lost.add(lost, self.position());
                self.done += whole.total;
                return Ok(Block::Other(Other { kind, anew: &self.anew }));
            }
        };
        self.done += whole.total;
        Ok(block)
    }

    fn section(&self, body: &[u8]) -> Result<Section, ReadError> {
        let options = body.get(16..).ok_or_else(|| self.bad("a section header that is too short"))?;
        let mut section = Section::default();
        for (code, value) in Options::new(options, self.order) {
            match code {
                1 => section.comments.push(text(value)),
                2 => section.hardware = text(value),
                4 => section.application = text(value),
                _ => {}
            }
        }
        Ok(section)
    }

    /// The interface, its resolution where that is too fine, and what was left out.
    fn interface(&self, body: &[u8]) -> Result<(Interface, Option<u8>, Lost), ReadError> {
        let fixed = body.first_chunk::<8>().ok_or_else(|| self.bad("an interface description that is too short"))?;
        let mut interface = Interface {
            link_type: self.u16([fixed[0], fixed[1]]),
            snaplen: self.u32([fixed[4], fixed[5], fixed[6], fixed[7]]),
            name: String::new(),
            description: String::new(),
            filter: None,
            resolution: Resolution::MICROS,
            options: Vec::new(),
        };
        let (mut code_of_resolution, mut offset) = (Resolution::MICROS.code(), 0);
        for (code, value) in Options::new(&body[8..], self.order) {
            match (code, value) {
                (2, value) => interface.name = text(value),
                (3, value) => interface.description = text(value),
                (9, &[code]) => code_of_resolution = code,
                (11, [0, filter @ ..]) => interface.filter = Some(text(filter)),
                (14, value) => offset = value.first_chunk().map_or(0, |&bytes| self.order.u64(bytes) as i64),
                _ => {}
            }
        }
        let told = |code| matches!(code, 2 | 3 | 9 | 14) || (code == 11 && interface.filter.is_some());
        let lost = copy(&mut interface.options, &body[8..], self.order, Of::Interface, told);
        let resolution = Resolution::of(code_of_resolution, offset);
        let finer = resolution.is_none().then_some(code_of_resolution);
        interface.resolution = resolution.unwrap_or(Resolution::NANOS.later(offset));
        Ok((interface, finer, lost))
    }

    fn statistics(&self, body: &[u8]) -> Result<Statistics, ReadError> {
        let fixed = body.first_chunk::<12>().ok_or_else(|| self.bad("interface statistics that are too short"))?;
        let interface = self.u32([fixed[0], fixed[1], fixed[2], fixed[3]]) as usize;
        let at = self.ticks_and_time(interface, &fixed[4..]).1.unix_nanos();
        let mut counts = Statistics { interface, at, ..Statistics::default() };
        for (code, value) in Options::new(&body[12..], self.order) {
            let number = value.first_chunk::<8>().map_or(0, |&bytes| self.order.u64(bytes));
            match code {
                1 => counts.comments.push(text(value)),
                2 => counts.since = self.ticks_and_time(interface, value).1.unix_nanos(),
                4 => counts.received = number,
                5 => counts.dropped_by_interface = number,
                6 => counts.accepted_by_filter = number,
                7 => counts.dropped_by_kernel = number,
                8 => counts.delivered = number,
                _ => {}
            }
            counts.said |= 1u16.checked_shl(code.into()).unwrap_or(0);
        }
        Ok(counts)
    }

    /// A time in two halves, by that interface's resolution.
    fn ticks_and_time(&self, interface: usize, halves: &[u8]) -> (u64, Time) {
        let (Some(&high), Some(&low)) = (halves.first_chunk(), halves.get(4..).and_then(<[u8]>::first_chunk)) else {
            return (0, Time::default());
        };
        let mut ticks = u64::from(self.u32(high)) << 32 | u64::from(self.u32(low));
        let Some(known) = self.interfaces.get(interface) else { return (ticks, Resolution::NANOS.time(ticks)) };
        if let Some(code) = known.finer {
            ticks = finer(code, ticks);
        }
        (ticks, known.resolution.time(ticks))
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

    /// Writes the packet's options anew, where it has some.
    fn take_options(&mut self, kind: u32, body: std::ops::Range<usize>) {
        self.anew.clear();
        if kind == SIMPLE_PACKET {
            return;
        }
        let start = body.start + 20 + self.captured(kind, &self.bytes[body.clone()]).next_multiple_of(4);
        let drops = if kind == OBSOLETE_PACKET { self.drops(body.start) } else { None };
        if start >= body.end && drops.is_none() {
            return;
        }
        let mut anew = std::mem::take(&mut self.anew);
        if let Some(drops) = drops {
            option(&mut anew, 4, &u64::from(drops).to_le_bytes());
        }
        let of = if kind == OBSOLETE_PACKET { Of::ObsoletePacket } else { Of::Packet };
        let options = self.bytes.get(start..body.end).unwrap_or_default();
        let lost = copy(&mut anew, options, self.order, of, |_| false);
        self.lost.add(lost, self.position());
        if !anew.is_empty() {
            option(&mut anew, 0, &[]);
        }
        self.anew = anew;
    }

    /// What an obsolete packet says was lost before it; all ones are "not known".
    fn drops(&self, body: usize) -> Option<u16> {
        let drops = self.u16([self.bytes[body + 2], self.bytes[body + 3]]);
        (drops != u16::MAX).then_some(drops)
    }

    /// After [`Self::check_packet`] has passed.
    fn packet<'a>(&'a self, kind: u32, body: &'a [u8]) -> Packet<'a> {
        let interface = self.interface_of(kind, body);
        let captured = self.captured(kind, body);
        if kind == SIMPLE_PACKET {
            let wire_length = self.u32([body[0], body[1], body[2], body[3]]);
            let data = &body[4..4 + captured];
            return Packet { interface, nanos: 0, time: None, ticks: 0, wire_length, data, options: &[] };
        }
        let (ticks, time) = self.ticks_and_time(interface, &body[4..]);
        Packet {
            interface,
            nanos: time.unix_nanos(),
            time: Some(time),
            ticks,
            wire_length: self.u32([body[16], body[17], body[18], body[19]]),
            data: &body[20..20 + captured],
            options: &self.anew,
        }
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        self.order.u16(bytes)
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        self.order.u32(bytes)
    }
}

/// Writes a block that other sections may have too; returns what of it was left out.
fn other(out: &mut Vec<u8>, kind: u32, body: &[u8], order: Order) -> Lost {
    let Some(&first) = body.first_chunk::<4>() else { return Lost::default() };
    match kind {
        NAME_RESOLUTION => {
            let mut lost = Lost::default();
            block(out, kind, |out| lost = copy_names(out, body, order));
            lost
        }
        SECRETS => {
            let Some(&length) = body[4..].first_chunk::<4>() else { return Lost::default() };
            let length = order.u32(length) as usize;
            let Some(secrets) = body.get(8..8usize.saturating_add(length)) else { return Lost::default() };
            let mut lost = Lost::default();
            block(out, kind, |out| {
                out.extend(order.u32(first).to_le_bytes());
                out.extend((length as u32).to_le_bytes());
                out.extend_from_slice(secrets);
                out.resize(out.len().next_multiple_of(4), 0);
                let options = body.get(8 + length.next_multiple_of(4)..).unwrap_or_default();
                let before = out.len();
                lost = copy(out, options, order, Of::Secrets, |_| false);
                if out.len() > before {
                    option(out, 0, &[]);
                }
            });
            lost
        }
        CUSTOM if order.u32(first) != NETFLIX => {
            block(out, kind, |out| {
                out.extend(order.u32(first).to_le_bytes());
                out.extend_from_slice(&body[4..]);
            });
            Lost::default()
        }
        JOURNAL => {
            block(out, kind, |out| out.extend_from_slice(body));
            Lost::default()
        }
        _ => Lost::default(),
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
    chunk: usize,
    most: usize,
    failed: Option<std::io::Error>,
}

impl<R: Read> Reader<R> {
    /// Of a file that this product wrote. Reads nothing yet.
    pub fn new(input: R) -> Self {
        Self { input, parser: Parser::default(), chunk: FIRST_CHUNK, most: CHUNK, failed: None }
    }

    /// Of a file that anybody wrote, with so many bytes read at once at most.
    pub fn of_others(input: R, most: usize) -> Self {
        let parser = Parser { foreign: true, ..Parser::default() };
        Self { input, parser, chunk: FIRST_CHUNK.min(most), most, failed: None }
    }

    /// What is known of the section.
    pub fn parser(&self) -> &Parser {
        &self.parser
    }

    /// The next block; `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        let whole = loop {
            if let Some(whole) = self.parser.whole_block()? {
                break whole;
            }
            let at = self.parser.position();
            if let Some(source) = self.failed.take() {
                return Err(ReadError::Read { at, source });
            }
            self.parser.compact();
            let read = read_some(&mut self.input, &mut self.parser.bytes, self.chunk);
            self.chunk = (self.chunk * 2).min(self.most);
            match read {
                Ok(0) if self.parser.is_empty() => return Ok(None),
                Ok(0) => return Err(ReadError::Torn { at }),
                Ok(_) => {}
                // What came before the failure is in the buffer, and is taken first.
                Err(source) => match self.parser.whole_block()? {
                    Some(whole) => {
                        self.failed = Some(source);
                        break whole;
                    }
                    None => return Err(ReadError::Read { at, source }),
                },
            }
        };
        self.parser.parse(&whole).map(Some)
    }
}
