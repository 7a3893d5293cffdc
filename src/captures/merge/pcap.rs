//! Classic pcap, packet by packet, as if it were a pcapng of one section.
//!
//! Owns the forms that pcap has besides its own: nanoseconds, both byte orders, the swapped lengths of its first
//! versions, and the longer packet headers of patched kernels and of Nokia and Ixia. They are told apart and made plain
//! here; `pcap-file` reads the plain form. Must not know where bytes come from.

use std::io::{self, Read};

use nodewatch_pcapng::{Block, Interface, Packet, ReadError, Resolution, Section, Time, read_some};
use pcap_file::{
    PcapError, TsResolution,
    pcap::{PcapHeader, PcapParser},
};

/// Bytes asked of the input at first, and at most.
const FIRST_CHUNK: usize = 16 * 1024;
/// A packet that is longer is damage; those of D-Bus and USB have 128 MiB.
const MOST: u32 = 128 * 1024 * 1024;
/// A packet that its file does not announce is damage from this on, as in libpcap.
const PLAUSIBLE: u32 = 262_144;
/// What is looked at to tell the forms apart: packets, and bytes of them.
const TRIED: usize = 3;
const TRIED_BYTES: usize = 1024 * 1024;

const HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// What the first four bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magic {
    Micros,
    Nanos,
    /// A. Kuznetzov's patch: packet headers are longer.
    Modified,
    /// One number more in the file's header.
    IxiaMicros,
    IxiaNanos,
}

/// The magic number, and whether it is big-endian.
fn magic(bytes: [u8; 4]) -> Option<(Magic, bool)> {
    let known = |number| match number {
        0xA1B2_C3D4 => Some(Magic::Micros),
        0xA1B2_3C4D => Some(Magic::Nanos),
        0xA1B2_CD34 => Some(Magic::Modified),
        0x1C00_01AC => Some(Magic::IxiaNanos),
        0x1C00_01AB => Some(Magic::IxiaMicros),
        _ => None,
    };
    let big = known(u32::from_be_bytes(bytes)).map(|magic| (magic, true));
    big.or_else(|| known(u32::from_le_bytes(bytes)).map(|magic| (magic, false)))
}

/// A file that begins like this is a pcap.
pub(super) fn is_pcap(first: [u8; 4]) -> bool {
    magic(first).is_some()
}

/// In which order a packet's header has the captured length and that on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    InOrder,
    Swapped,
    /// Whichever makes sense.
    Either,
}

/// How packets are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    lengths: Lengths,
    /// Bytes between a packet's header and its data.
    extra: usize,
    /// Bytes before the data that are counted as data and are none.
    padding: usize,
}

#[derive(Debug)]
enum State {
    Section,
    Interface(PcapParser),
    Packets(PcapParser),
}

/// Packets out of a pcap.
pub(super) struct Pcap<R> {
    input: R,
    bytes: Vec<u8>,
    done: usize,
    passed: u64,
    chunk: usize,
    most: usize,
    ended: bool,
    failed: Option<io::Error>,
    big_endian: bool,
    layout: Layout,
    resolution: Resolution,
    state: State,
}

impl<R: Read> Pcap<R> {
    /// Reads nothing yet, and never more than so many bytes at once.
    pub(super) fn new(input: R, most: usize) -> Self {
        Self {
            input,
            bytes: Vec::new(),
            done: 0,
            passed: 0,
            chunk: FIRST_CHUNK.min(most),
            most,
            ended: false,
            failed: None,
            big_endian: false,
            layout: Layout { lengths: Lengths::InOrder, extra: 0, padding: 0 },
            resolution: Resolution::MICROS,
            state: State::Section,
        }
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// A section, an interface, and then packets; `None` at the end.
    pub(super) fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        match std::mem::replace(&mut self.state, State::Section) {
            State::Section => {
                let parser = self.header()?;
                self.state = State::Interface(parser);
                Ok(Some(Block::Section(Section::default())))
            }
            State::Interface(parser) => {
                let interface = self.interface(&parser.header());
                self.state = State::Packets(parser);
                Ok(Some(Block::Interface(interface)))
            }
            State::Packets(parser) => {
                let packet = self.packet(&parser);
                self.state = State::Packets(parser);
                Ok(packet?.map(|packet| self.block(packet)))
            }
        }
    }

    fn bad(&self, what: &'static str) -> ReadError {
        ReadError::Bad { at: self.passed + self.done as u64, what }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.done..]
    }

    fn number(&self, at: usize) -> u32 {
        let Some(&bytes) = self.rest().get(at..).and_then(<[u8]>::first_chunk::<4>) else { return 0 };
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Reads until so many bytes are there; false when the file ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, ReadError> {
        while self.rest().len() < wanted {
            if let Some(source) = self.failed.take() {
                return Err(ReadError::Read { at: self.passed + self.bytes.len() as u64, source });
            }
            if self.ended {
                return Ok(false);
            }
            self.bytes.drain(..self.done);
            self.passed += self.done as u64;
            self.done = 0;
            let read = read_some(&mut self.input, &mut self.bytes, self.chunk);
            self.ended = matches!(read, Ok(0));
            self.failed = read.err();
            self.chunk = (self.chunk * 2).min(self.most);
        }
        Ok(true)
    }

    fn header(&mut self) -> Result<PcapParser, ReadError> {
        if !self.fill(HEADER)? {
            return Err(self.bad("the file ends inside the pcap header that begins"));
        }
        let first = self.rest().first_chunk::<4>().copied().unwrap_or_default();
        let (magic, big_endian) = magic(first).ok_or_else(|| self.bad("no pcap header"))?;
        self.big_endian = big_endian;
        let nanos = matches!(magic, Magic::Nanos | Magic::IxiaNanos);
        let plain = if nanos { 0xA1B2_3C4D_u32 } else { 0xA1B2_C3D4 };
        let plain = if big_endian { plain.to_be_bytes() } else { plain.to_le_bytes() };
        let start = self.done;
        self.bytes[start..start + 4].copy_from_slice(&plain);
        let parser = PcapParser::new(&self.bytes[start..start + HEADER]);
        let (_, parser) = parser.map_err(|_| self.bad("no pcap header"))?;
        let header = parser.header();
        if header.version_major < 2 {
            return Err(self.bad("a pcap version that is too old"));
        }
        self.resolution = if nanos { Resolution::NANOS } else { Resolution::MICROS };
        let old = header.version_major == 543 || (header.version_major == 2 && header.version_minor < 3);
        if old {
            self.layout.lengths = Lengths::Swapped;
        } else if (header.version_major, header.version_minor) == (2, 3) {
            self.layout.lengths = Lengths::Either;
        }
        let ixia = matches!(magic, Magic::IxiaMicros | Magic::IxiaNanos);
        if ixia && !self.fill(HEADER + 4)? {
            return Err(self.bad("the file ends inside the pcap header that begins"));
        }
        self.done += if ixia { HEADER + 4 } else { HEADER };
        if of_aix(&header).is_some() && magic == Magic::Micros {
            self.resolution = Resolution::NANOS;
            self.layout.padding = if of_aix(&header) == Some(FDDI) { 3 } else { 0 };
        } else if self.layout.lengths == Lengths::InOrder {
            let forms: &[usize] = match magic {
                Magic::Micros => &[0, 8, NOKIA],
                Magic::Modified => &[8, 12],
                Magic::Nanos | Magic::IxiaMicros | Magic::IxiaNanos => &[0],
            };
            self.layout.extra = self.likeliest(forms, header.snaplen)?;
        }
        Ok(parser)
    }

    /// Of the forms that a magic number stands for, that in which the first packets make sense.
    fn likeliest(&mut self, forms: &[usize], snaplen: u32) -> Result<usize, ReadError> {
        let mut best = (usize::MAX, forms[0]);
        for &extra in forms {
            let faults = if forms.len() == 1 { 0 } else { self.faults(extra, snaplen)? };
            if faults < best.0 {
                best = (faults, extra);
            }
            if faults == 0 {
                break;
            }
        }
        Ok(best.1)
    }

    /// What would be wrong with the first packets if their headers had so many bytes more.
    fn faults(&mut self, extra: usize, snaplen: u32) -> Result<usize, ReadError> {
        let (mut at, mut faults, mut strange) = (0, 0, false);
        for _ in 0..TRIED {
            // A failure of the input comes again when packets are read.
            if !self.peek(at + PACKET_HEADER + extra)? {
                faults += usize::from(self.rest().len() > at);
                break;
            }
            let [fraction, captured, wire] = [4, 8, 12].map(|field| self.number(at + field));
            faults += [fraction >= 1_000_000, captured > PLAUSIBLE, captured > snaplen, wire > MOST, captured > wire]
                .into_iter()
                .filter(|fault| *fault)
                .count();
            let more = self.number(at + PACKET_HEADER);
            if extra == NOKIA {
                strange |= !is_nokia(more);
            } else if extra > 0 {
                let protocol = self.rest().get(at + PACKET_HEADER + 4..).and_then(<[u8]>::first_chunk::<2>).copied();
                let read = if self.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
                let protocol = read(protocol.unwrap_or_default());
                let known = protocol >= 0x600 || matches!(protocol, 0..=0x17 | 0x60 | 0x200 | 0x400);
                let kind = self.rest().get(at + PACKET_HEADER + 6).copied().unwrap_or_default();
                faults += usize::from(more > 10_000) + usize::from(!known) + usize::from(kind > 4);
            }
            if captured > PLAUSIBLE {
                break;
            }
            at += PACKET_HEADER + extra + captured as usize;
            if !self.peek(at)? {
                faults += 1;
                break;
            }
        }
        Ok(match (faults, strange) {
            // Other numbers of theirs are in files too, and then everything else is as it should be: a torn file of the
            // common form may look like one of Nokia's.
            (0, true) => 1,
            (faults, true) => faults + NOT_NOKIA,
            (faults, false) => faults,
        })
    }

    /// Whether so many bytes are there, without giving up when reading fails.
    fn peek(&mut self, wanted: usize) -> Result<bool, ReadError> {
        if self.failed.is_some() || wanted > TRIED_BYTES {
            return Ok(self.rest().len() >= wanted);
        }
        while self.rest().len() < wanted && self.failed.is_none() && !self.ended {
            let more = self.rest().len() + 1;
            self.fill(more)?;
        }
        Ok(self.rest().len() >= wanted)
    }

    fn interface(&self, header: &PcapHeader) -> Interface {
        let network = u32::from(header.datalink);
        let aix = of_aix(header).filter(|_| self.resolution == Resolution::NANOS);
        let aix = aix.filter(|_| header.ts_resolution == TsResolution::MicroSecond);
        // Above the link type: whether frames end in a check sequence, and of how many 16-bit words.
        let fcs = (network & 0x0400_0000 != 0).then_some((network >> 28) as u8);
        let options = fcs.map(|words| vec![13, 0, 1, 0, words * 16, 0, 0, 0]).unwrap_or_default();
        Interface {
            link_type: aix.unwrap_or(network as u16),
            snaplen: header.snaplen,
            name: String::new(),
            description: String::new(),
            filter: None,
            resolution: self.resolution,
            options,
        }
    }

    /// Where the next packet's plain header begins, the packet's bytes behind it.
    fn packet(&mut self, parser: &PcapParser) -> Result<Option<Raw>, ReadError> {
        let Layout { lengths, extra, padding } = self.layout;
        if !self.fill(PACKET_HEADER + extra)? {
            let left = !self.rest().is_empty();
            return if left { Err(self.bad("the file ends inside the packet that begins")) } else { Ok(None) };
        }
        let [captured, wire] = [self.number(8), self.number(12)];
        let swapped = match lengths {
            Lengths::InOrder => false,
            Lengths::Swapped => true,
            Lengths::Either => captured > wire,
        };
        let captured = if swapped { wire } else { captured };
        let announced = parser.header().snaplen;
        if captured > MOST || (captured > PLAUSIBLE && announced != 0 && captured > announced) {
            return Err(self.bad("an invalid packet length"));
        }
        if !self.fill(PACKET_HEADER + extra + captured as usize)? {
            return Err(self.bad("the file ends inside the packet that begins"));
        }
        let start = self.done;
        if swapped {
            self.bytes[start + 8..start + 16].rotate_left(4);
        }
        self.bytes.copy_within(start..start + PACKET_HEADER, start + extra);
        let plain = &self.bytes[start + extra..];
        let (rest, raw) = match parser.next_raw_packet(plain) {
            Ok(parsed) => parsed,
            Err(PcapError::IncompleteBuffer) => return Err(self.bad("the file ends inside the packet that begins")),
            Err(_) => return Err(self.bad("a damaged packet")),
        };
        let end = self.bytes.len() - rest.len();
        let padding = padding.min(raw.data.len());
        let packet = Raw {
            seconds: raw.ts_sec,
            fraction: raw.ts_frac,
            wire: raw.orig_len.saturating_sub(padding as u32),
            data: end - raw.data.len() + padding..end,
        };
        self.done = end;
        Ok(Some(packet))
    }

    fn block(&self, raw: Raw) -> Block<'_> {
        let nanos_a_tick = if self.resolution == Resolution::NANOS { 1 } else { 1000 };
        let ticks_a_second = NANOS / nanos_a_tick;
        let nanos = raw.fraction.wrapping_mul(nanos_a_tick as u32);
        let mut fraction = u64::from(raw.fraction);
        if fraction >= ticks_a_second {
            // Damage, of which Wireshark and `mergecap` make this: one packet has one time, whoever reads it.
            fraction = (i64::from(nanos as i32) as u64).wrapping_mul(ticks_a_second) / NANOS;
        }
        let ticks = u64::from(raw.seconds) * ticks_a_second + fraction;
        let time = Time { seconds: raw.seconds.into(), nanos };
        Block::Packet(Packet {
            interface: 0,
            nanos: self.resolution.time(ticks).unix_nanos(),
            time: Some(time),
            ticks,
            wire_length: raw.wire,
            data: &self.bytes[raw.data],
            options: &[],
        })
    }
}

/// A packet whose data lie there.
struct Raw {
    seconds: u32,
    fraction: u32,
    wire: u32,
    data: std::ops::Range<usize>,
}

const NANOS: u64 = 1_000_000_000;
const NOKIA: usize = 4;
/// More faults than three packets can have.
const NOT_NOKIA: usize = 100;
const FDDI: u16 = 10;

/// Of the few values that Nokia's packets have there.
fn is_nokia(more: u32) -> bool {
    more & 0x0FFF_00F0 == 0x0FBF_0000
        && matches!(more >> 28, 0x9 | 0xB)
        && matches!(more >> 12 & 0xF, 0xB | 0xD)
        && matches!(more >> 8 & 0xF, 0x6 | 0x9)
        && matches!(more & 0xF, 1 | 2)
}

/// The link type of a file by AIX, which says it in numbers of its own.
fn of_aix(header: &PcapHeader) -> Option<u16> {
    if (header.version_major, header.version_minor) != (2, 2) {
        return None;
    }
    match u32::from(header.datalink) {
        6 => Some(1),
        9 => Some(6),
        15 => Some(FDDI),
        24 => Some(0),
        _ => None,
    }
}
