//! From packets to buffers of whole pcapng blocks, handed to the writer in bounded number.
//!
//! Owns rotation and the count of packets that the full queue cost. Never blocks: with no buffer free, a packet is
//! counted as dropped by the queue and the capture goes on. Must not know rings or the disk.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use nodewatch_pcapng::{self as pcapng, InterfaceBlock, PACKET_OVERHEAD, SectionBlock, StatisticsBlock};
use nodewatch_protocol::{CaptureSpec, Content, Dropped, PendingFreeze, UnixMillis};

use super::{decode::Link, packet::RawPacket, writer::Job};
use crate::{
    clock::{Boot, Clock},
    ring::{Sequence, store::file_name},
};

/// A buffer is handed over when the next packet would take it past this.
const BUFFER: usize = 512 * 1024;
/// A packet is handed over by the kernel a little after its time: so long a span is waited for, in milliseconds.
const LATE: u64 = 300;
/// The clock on the wall was set when it differs by more than this, in milliseconds.
const SET: u64 = 100;
/// Buffers between the capture thread and the disk: 16 MiB in all.
pub const BUFFERS: usize = 32;

/// One interface of the capture, as its files describe and count it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Kernel name.
    pub name: String,
    /// How its packets begin.
    pub link: Link,
    /// Packets taken from it.
    pub packets: u64,
    /// Of these, handed to the disk.
    pub delivered: u64,
    /// Dropped by the kernel's ring.
    pub kernel_drops: u64,
    /// Lost by the interface before any capture could see them.
    pub interface_drops: u64,
    /// Bytes of each packet that are kept at the most.
    pub snaplen: u32,
    /// When nothing was captured from it, oldest first.
    pub gaps: Vec<Gap>,
    /// When what it stands for changed, in nanoseconds since the Unix epoch, and how; the latest of them.
    pub marks: VecDeque<(u64, String)>,
}

/// A time in which nothing was captured from an interface, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its beginning.
    pub from: u64,
    /// Its end; `None` while it lasts.
    pub to: Option<u64>,
    /// How many times of absence this stands for, which need not have followed each other without a pause.
    pub times: u32,
    /// The reason.
    pub why: &'static str,
}

/// Gaps of an interface that are known one by one; the oldest of more are told as one.
const MAX_GAPS: usize = 32;

impl Channel {
    /// One that nothing has come from yet.
    pub fn new(name: &str, link: Link, snaplen: u32) -> Self {
        Self {
            name: name.to_owned(),
            link,
            packets: 0,
            delivered: 0,
            kernel_drops: 0,
            interface_drops: 0,
            snaplen,
            gaps: Vec::new(),
            marks: VecDeque::new(),
        }
    }

    /// From now on it stands for something else.
    pub fn mark(&mut self, at: u64, what: &str) {
        if self.marks.len() == MAX_GAPS {
            self.marks.pop_front();
        }
        self.marks.push_back((at, what.to_owned()));
    }

    /// Nothing is captured from now on, or still nothing, for another reason.
    pub fn begin_gap(&mut self, gap: Gap) {
        if let Some(open) = self.gaps.last_mut().filter(|last| last.to.is_none()) {
            open.why = gap.why;
            return;
        }
        if self.gaps.len() >= MAX_GAPS {
            let oldest = self.gaps.remove(0);
            self.gaps[0].from = oldest.from;
            self.gaps[0].times += oldest.times;
        }
        self.gaps.push(gap);
    }

    /// What a file of that time says of them; empty where there were none.
    fn gaps_between(&self, from: u64, to: u64) -> String {
        let within = |gap: &Gap| {
            let (begin, end) = (gap.from.max(from), gap.to.unwrap_or(to).min(to));
            (begin < end).then(|| {
                let times = if gap.times > 1 { format!(", {} times", gap.times) } else { String::new() };
                let at = |nanos: u64| jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
                format!(
                    "nothing was captured from {} from {:.3} to {:.3} ({}{times})",
                    self.name,
                    at(begin),
                    at(end),
                    gap.why
                )
            })
        };
        let marks = self.marks.iter().filter(|(at, _)| (from..to).contains(at)).map(|(at, what)| {
            let at = jiff::Timestamp::from_nanosecond(i128::from(*at)).unwrap_or_default();
            format!("from {at:.3}: {what}")
        });
        self.gaps.iter().filter_map(within).chain(marks).collect::<Vec<_>>().join("; ")
    }
}

/// What the files' headers say of the capture.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The node.
    pub hostname: &'a str,
    /// Why there is nothing before the first file; empty for no such reason.
    pub gap: &'a str,
    /// Interfaces that were asked for and cannot be read.
    pub left_out: &'a [String],
}

/// The ways to the writer and back.
pub struct Ways {
    /// What it is to do.
    pub jobs: Sender<Job>,
    /// Buffers that it has emptied.
    pub empty: Receiver<Vec<u8>>,
    /// Packets that the disk did not take.
    pub lost: Arc<AtomicU64>,
    /// The numbers of files.
    pub sequence: Sequence,
}

/// A moment, on the clocks that a file needs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For rates.
    pub instant: Instant,
    /// For ages and spans, which go on while the machine is suspended.
    pub boot: Boot,
    /// For file contents, in nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self::by(&Clock::system())
    }

    /// Now, by that clock.
    pub fn by(clock: &Clock) -> Self {
        Self { instant: Instant::now(), boot: clock.boot(), unix_nanos: clock.unix_nanos() }
    }

    /// The same as the wire has it.
    pub fn unix_millis(self) -> UnixMillis {
        self.unix_nanos / 1_000_000
    }
}

/// The capture's files as the capture thread sees them.
pub struct Output {
    ways: Ways,
    /// Buffers not made yet: while the disk keeps up few are in use, and these stay in the processor's cache.
    unmade: usize,
    buffer: Vec<u8>,
    buffered_packets: u64,
    header: Vec<u8>,
    rotate_bytes: u64,
    rotate_seconds: u64,
    /// It is a flight recorder's memory.
    recorder: bool,
    file_bound: u64,
    /// Bytes of the file so far, handed over or not.
    file_bytes: u64,
    file_began: Moment,
    /// The counts when the file was begun.
    before: (Vec<Channel>, u64),
    /// Freezes that were handed over to be saved.
    frozen: Vec<u64>,
    /// Bytes of all files so far.
    pub total_bytes: u64,
    /// Packets that found no free buffer.
    pub queue_drops: u64,
}

impl Output {
    /// Begins the first file.
    pub fn begin(ways: Ways, spec: &CaptureSpec, channels: &[Channel], origin: Origin<'_>, now: Moment) -> Self {
        let header = header(spec, channels, origin.hostname, &[]);
        let first = header_with(spec, channels, &origin);
        let mut output = Self {
            ways,
            unmade: BUFFERS - 1,
            buffer: Vec::with_capacity(BUFFER),
            buffered_packets: 0,
            header,
            rotate_bytes: spec.rotate_bytes,
            rotate_seconds: match spec.recorder {
                // Pieces small enough to forget by, and not too many.
                Some(recorder) => (recorder.seconds.get() / 8).clamp(1, 10),
                None => spec.rotate_seconds.get(),
            },
            recorder: spec.recorder.is_some(),
            file_bound: u64::MAX,
            file_bytes: 0,
            file_began: now,
            before: (channels.to_vec(), 0),
            frozen: Vec::new(),
            total_bytes: 0,
            queue_drops: 0,
        };
        output.begin_file(channels, now, &first, origin.gap);
        output
    }

    /// Takes one packet of the channel with that index. False when it had to be dropped.
    #[inline]
    pub fn packet(&mut self, channels: &[Channel], index: usize, packet: &RawPacket<'_>) -> bool {
        let size = PACKET_OVERHEAD + packet.data.len().next_multiple_of(4) + 4;
        if self.file_bytes + size as u64 > self.rotate_bytes.min(self.file_bound) {
            self.rotate(channels, Moment::now());
        }
        if self.buffer.len() + size > BUFFER && !self.hand_over() {
            self.queue_drops += 1;
            return false;
        }
        let before = self.buffer.len();
        match (packet.vlan, packet.data.split_at_checked(12)) {
            (Some((tpid, tci)), Some((addresses, rest))) if channels[index].link == Link::Ethernet => {
                let mut tag = [0; 4];
                tag[..2].copy_from_slice(&tpid.to_be_bytes());
                tag[2..].copy_from_slice(&tci.to_be_bytes());
                // It counts within the snaplen, as readers hold against every packet.
                let room = (channels[index].snaplen as usize).saturating_sub(addresses.len());
                let tag = &tag[..tag.len().min(room)];
                let parts = [addresses, tag, &rest[..rest.len().min(room - tag.len())]];
                pcapng::enhanced_packet(
                    &mut self.buffer,
                    index as u32,
                    packet.nanos,
                    packet.wire_length + 4,
                    parts,
                    &[],
                );
            }
            _ => {
                let parts = [packet.data];
                pcapng::enhanced_packet(&mut self.buffer, index as u32, packet.nanos, packet.wire_length, parts, &[]);
            }
        }
        let written = (self.buffer.len() - before) as u64;
        self.file_bytes += written;
        self.total_bytes += written;
        self.buffered_packets += 1;
        true
    }

    /// Rotates a file that is old enough, hands over what is to be saved of the recorder, and lets what is buffered be
    /// seen on disk.
    pub fn tick(&mut self, channels: &[Channel], freezes: &[PendingFreeze], now: Moment) {
        self.frozen.retain(|id| freezes.iter().any(|freeze| freeze.id == *id));
        let at = now.boot.as_millis();
        let due: Vec<PendingFreeze> =
            self.pending(freezes).filter(|freeze| freeze.span.to.saturating_add(LATE) <= at).collect();
        // Ticks come once a second, and not to the microsecond.
        let age = now.boot.since(self.file_began.boot) + Duration::from_millis(500);
        if !due.is_empty() {
            // What was captured until now must belong to closed files: without a buffer to go on in, it is not yet time.
            if self.rotate(channels, now) {
                self.freeze(&due, now);
            }
        } else if age.as_secs() >= self.rotate_seconds || (self.recorder && self.clock_was_set(now)) {
            self.rotate(channels, now);
        }
        if !self.buffer.is_empty() {
            self.hand_over();
        }
    }

    /// An interface joins the capture, or comes back with another link type: the last of these channels.
    pub fn joined(&mut self, channels: &[Channel], spec: &CaptureSpec) {
        let Some(channel) = channels.last() else { return };
        let mut block = Vec::new();
        describe(&mut block, channel, spec);
        if self.buffer.len() + block.len() > BUFFER {
            // With no buffer free this one grows a little.
            self.hand_over();
        }
        self.buffer.extend_from_slice(&block);
        self.file_bytes += block.len() as u64;
        self.total_bytes += block.len() as u64;
        self.header.extend_from_slice(&block);
        self.before.0.push(channel.clone());
    }

    /// From the next packet on no file is larger than this, whatever the spec says: the volume is short.
    pub fn bound_file(&mut self, bytes: u64) {
        self.file_bound = bytes.max(CaptureSpec::MIN_FILE);
    }

    /// Closes the last file and saves what was to be saved later. Waits for the disk, as no packet comes any more.
    pub fn end(mut self, channels: &[Channel], freezes: &[PendingFreeze], now: Moment) {
        let (dropped, incomplete) = self.statistics(channels, now);
        self.append_and_go_on_in(Vec::new());
        self.send(Job::Close { ended: now.unix_millis(), boot: now.boot, dropped, incomplete });
        let rest: Vec<PendingFreeze> = self.pending(freezes).collect();
        self.freeze(&rest, now);
    }

    /// Packets that reached no file although they were captured: no buffer was free, or the disk failed.
    pub fn dropped(&self) -> u64 {
        self.queue_drops + self.ways.lost.load(Ordering::Relaxed)
    }

    fn pending<'a>(&'a self, freezes: &'a [PendingFreeze]) -> impl Iterator<Item = PendingFreeze> + 'a {
        freezes.iter().filter(|freeze| !self.frozen.contains(&freeze.id)).copied()
    }

    fn freeze(&mut self, freezes: &[PendingFreeze], now: Moment) {
        for &freeze in freezes {
            self.frozen.push(freeze.id);
            self.send(Job::Freeze { name: name(now, freeze.id), freeze });
        }
    }

    /// The clock on the wall was set since the file was begun: what is captured from now on is told from what was.
    fn clock_was_set(&self, now: Moment) -> bool {
        let offset = |moment: Moment| i128::from(moment.unix_millis()) - i128::from(moment.boot.as_millis());
        offset(now).abs_diff(offset(self.file_began)) > u128::from(SET)
    }

    /// Closes the file and begins the next, or goes on with this one while no buffer is free: false then.
    #[cold]
    fn rotate(&mut self, channels: &[Channel], now: Moment) -> bool {
        let Some(next) = self.empty_buffer() else { return false };
        let (dropped, incomplete) = self.statistics(channels, now);
        self.append_and_go_on_in(next);
        self.send(Job::Close { ended: now.unix_millis(), boot: now.boot, dropped, incomplete });
        let header = std::mem::take(&mut self.header);
        self.begin_file(channels, now, &header, "");
        self.header = header;
        true
    }

    fn begin_file(&mut self, channels: &[Channel], now: Moment, header: &[u8], incomplete: &str) {
        let name = name(now, self.ways.sequence.take());
        let incomplete = incomplete.to_owned();
        self.send(Job::Begin { name, started: now.unix_millis(), boot: now.boot, incomplete });
        self.buffer.extend_from_slice(header);
        self.file_bytes = header.len() as u64;
        self.total_bytes += header.len() as u64;
        self.file_began = now;
        self.before = (channels.to_vec(), self.queue_drops);
    }

    /// Writes what was counted while this file was open; returns what was dropped of it, and when there was nothing.
    fn statistics(&mut self, channels: &[Channel], now: Moment) -> (Dropped, String) {
        let mut incomplete: Vec<String> = Vec::new();
        let mut dropped = Dropped { queue: self.queue_drops - self.before.1, ..Dropped::default() };
        for (index, (channel, before)) in channels.iter().zip(&self.before.0).enumerate() {
            let packets = channel.packets - before.packets;
            let delivered = channel.delivered - before.delivered;
            let kernel = channel.kernel_drops - before.kernel_drops;
            let interface = channel.interface_drops.saturating_sub(before.interface_drops);
            let queue = packets - delivered;
            dropped.kernel += kernel;
            dropped.interface += interface;
            let gaps = channel.gaps_between(self.file_began.unix_nanos, now.unix_nanos);
            let drops = (kernel, interface, queue) != (0, 0, 0);
            let drops = drops
                .then(|| format!("dropped by kernel {kernel}, by interface {interface}, by our own queue {queue}"));
            let holes: Vec<String> = drops.into_iter().chain((!gaps.is_empty()).then(|| gaps.clone())).collect();
            let comment = if holes.is_empty() { String::new() } else { format!("incomplete: {}", holes.join("; ")) };
            incomplete.extend((!gaps.is_empty()).then_some(gaps));
            let counts = StatisticsBlock {
                interface: index as u32,
                at: now.unix_nanos,
                since: self.file_began.unix_nanos,
                received: packets + kernel,
                dropped_by_interface: interface,
                dropped_by_kernel: kernel,
                delivered,
                comment: &comment,
            };
            pcapng::interface_statistics(&mut self.buffer, &counts);
        }
        let incomplete =
            if incomplete.is_empty() { String::new() } else { format!("incomplete: {}", incomplete.join("; ")) };
        (dropped, incomplete)
    }

    fn hand_over(&mut self) -> bool {
        let Some(next) = self.empty_buffer() else { return false };
        self.append_and_go_on_in(next);
        true
    }

    fn empty_buffer(&mut self) -> Option<Vec<u8>> {
        if let Ok(returned) = self.ways.empty.try_recv() {
            return Some(returned);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        Some(Vec::with_capacity(BUFFER))
    }

    fn append_and_go_on_in(&mut self, next: Vec<u8>) {
        let blocks = std::mem::replace(&mut self.buffer, next);
        let packets = std::mem::take(&mut self.buffered_packets);
        self.send(Job::Append { blocks, packets });
    }

    fn send(&self, job: Job) {
        // The writer lives until this sender is gone; it tells of its own failures.
        let _ = self.ways.jobs.send(job);
    }
}

fn name(now: Moment, sequence: u64) -> String {
    file_name(now.unix_millis(), (now.unix_nanos / 1000 % 1000) as u16, sequence)
}

fn header(spec: &CaptureSpec, channels: &[Channel], hostname: &str, comments: &[String]) -> Vec<u8> {
    let content = match spec.content {
        Content::Headers => "content headers: payloads were left out when this was captured",
        Content::Dns => "content dns: payloads were left out when this was captured, those of DNS excepted",
        Content::Full => "content full: payloads are in it",
    };
    let comments = [&[content.to_owned()], comments].concat();
    let mut header = Vec::new();
    let application = concat!("nodewatch-agent ", env!("CARGO_PKG_VERSION"));
    pcapng::section_header(&mut header, &SectionBlock { hardware: hostname, application, comments: &comments });
    for channel in channels {
        describe(&mut header, channel, spec);
    }
    header
}

fn describe(buffer: &mut Vec<u8>, channel: &Channel, spec: &CaptureSpec) {
    let interface = InterfaceBlock {
        name: &channel.name,
        link_type: channel.link.number(),
        snaplen: channel.snaplen,
        filter: spec.filter.as_deref(),
        description: "",
    };
    pcapng::interface_description(buffer, &interface);
}

/// The first file's header, which says what is missing before it and beside it.
fn header_with(spec: &CaptureSpec, channels: &[Channel], origin: &Origin<'_>) -> Vec<u8> {
    let gap = (!origin.gap.is_empty()).then(|| origin.gap.to_owned());
    let left_out = (!origin.left_out.is_empty())
        .then(|| format!("incomplete: nothing was captured from {}, which cannot be read", origin.left_out.join(", ")));
    let comments: Vec<String> = gap.into_iter().chain(left_out).collect();
    header(spec, channels, origin.hostname, &comments)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use nodewatch_protocol::{BootSpan, Recorder};

    use super::*;

    const ORIGIN: Origin<'_> = Origin { hostname: "n", gap: "", left_out: &[] };

    fn channels() -> Vec<Channel> {
        vec![Channel::new("eth0", Link::Ethernet, 65_535)]
    }

    fn ways(jobs: Sender<Job>, empty: Receiver<Vec<u8>>) -> Ways {
        Ways { jobs, empty, lost: Arc::default(), sequence: Sequence::default() }
    }

    fn packet(data: &[u8]) -> RawPacket<'_> {
        RawPacket { nanos: 1, wire_length: data.len() as u32, data, vlan: Some((0x8100, 5)), outgoing: false }
    }

    #[test]
    fn a_disk_that_stands_still_costs_counted_packets_and_nothing_else() {
        let (jobs, held_jobs) = channel();
        let (give_back, empty) = channel();
        let mut output = Output::begin(ways(jobs, empty), &CaptureSpec::default(), &channels(), ORIGIN, Moment::now());
        let data = vec![7; 60_000];
        let sent = 100 + BUFFERS * BUFFER / data.len();
        let taken = (0..sent).filter(|_| output.packet(&channels(), 0, &packet(&data))).count();
        assert_eq!(output.queue_drops as usize, sent - taken);
        assert!(taken > 0 && taken <= BUFFERS * BUFFER / data.len(), "the buffers hold no more: {taken}");

        // As soon as the disk moves, packets are taken again.
        let returned = held_jobs.try_iter().find_map(|job| match job {
            Job::Append { mut blocks, .. } => {
                blocks.clear();
                Some(blocks)
            }
            _ => None,
        });
        give_back.send(returned.expect("a full buffer")).expect("open");
        assert!(output.packet(&channels(), 0, &packet(&data)));
    }

    #[test]
    fn rotation_by_size_makes_whole_files_that_end_in_statistics() {
        let (jobs, done) = channel();
        let (_give_back, empty) = channel();
        let spec = CaptureSpec { rotate_bytes: CaptureSpec::MIN_FILE, ..CaptureSpec::default() };
        let mut output = Output::begin(ways(jobs, empty), &spec, &channels(), ORIGIN, Moment::now());
        let data = vec![7; 30_000];
        for _ in 0..5 {
            assert!(output.packet(&channels(), 0, &packet(&data)));
        }
        output.end(&channels(), &[], Moment::now());

        let mut files: Vec<Vec<u8>> = Vec::new();
        for job in done {
            match job {
                Job::Begin { .. } => files.push(Vec::new()),
                Job::Append { blocks, .. } => files.last_mut().expect("begun").extend(blocks),
                Job::Close { .. } | Job::Freeze { .. } => {}
            }
        }
        let packets: Vec<u64> = files
            .iter()
            .map(|file| {
                let whole = pcapng::whole(file.as_slice()).expect("read");
                assert_eq!(whole.length, file.len() as u64);
                whole.packets
            })
            .collect();
        assert_eq!(packets, [2, 2, 1]);
    }

    fn a_recorder(freeze_at: u64) -> (CaptureSpec, PendingFreeze, Clock) {
        let recorder = Some(Recorder { seconds: 60.into(), bytes: 1 << 20 });
        let span = BootSpan { from: freeze_at - 1000, to: freeze_at };
        let freeze = PendingFreeze { id: 99, capture: 0, from: 0, to: 0, span };
        (CaptureSpec { recorder, ..CaptureSpec::default() }, freeze, Clock::standing(1_000_000, 1_700_000_000_000))
    }

    fn kinds(jobs: &Receiver<Job>) -> String {
        let kind = |job| match job {
            Job::Begin { .. } => 'b',
            Job::Append { .. } => 'a',
            Job::Close { .. } => 'c',
            Job::Freeze { .. } => 'f',
        };
        jobs.try_iter().map(kind).collect()
    }

    #[test]
    fn a_freeze_waits_for_a_buffer_and_then_everything_it_needs_is_closed() {
        let (jobs, done) = channel();
        let (give_back, empty) = channel();
        let (spec, freeze, clock) = a_recorder(1_004_000);
        let now = || Moment::by(&clock);
        let mut output = Output::begin(ways(jobs, empty), &spec, &channels(), ORIGIN, now());
        let data = vec![7; 60_000];
        while output.packet(&channels(), 0, &packet(&data)) {}
        done.try_iter().for_each(drop);
        clock.advance(Duration::from_secs(5));
        for _ in 0..3 {
            output.tick(&channels(), &[freeze], now());
            assert_eq!(kinds(&done), "", "no buffer is free: the span's packets are in no closed file");
        }
        give_back.send(Vec::new()).expect("open");
        output.tick(&channels(), &[freeze], now());
        assert_eq!(kinds(&done), "acbf");
        give_back.send(Vec::new()).expect("open");
        output.tick(&channels(), &[freeze], now());
        assert_eq!(kinds(&done), "a", "once");
    }

    #[test]
    fn a_freeze_falls_due_by_the_boot_clock_and_a_set_wall_clock_begins_a_piece() {
        for set in [3_600_000, -3_600_000] {
            let (jobs, done) = channel();
            let (_give_back, empty) = channel();
            let (spec, freeze, clock) = a_recorder(1_004_000);
            let now = || Moment::by(&clock);
            let mut output = Output::begin(ways(jobs, empty), &spec, &channels(), ORIGIN, now());
            assert_eq!(kinds(&done), "b");
            clock.advance(Duration::from_secs(1));
            clock.set_wall(now().unix_millis().saturating_add_signed(set));
            output.tick(&channels(), &[freeze], now());
            assert_eq!(kinds(&done), "acba", "told apart, and not yet due");
            clock.advance(Duration::from_secs(3));
            output.tick(&channels(), &[freeze], now());
            assert_eq!(kinds(&done), "", "a packet may come a little late");
            clock.advance(Duration::from_secs(1));
            output.tick(&channels(), &[freeze], now());
            assert_eq!(kinds(&done), "acbfa");
        }
    }

    #[test]
    fn a_vlan_tag_counts_within_the_snaplen() {
        for snaplen in [14, 60, 64, 65_535] {
            let channels = || vec![Channel::new("eth0", Link::Ethernet, snaplen)];
            let (jobs, done) = channel();
            let (_give_back, empty) = channel();
            let mut output =
                Output::begin(ways(jobs, empty), &CaptureSpec::default(), &channels(), ORIGIN, Moment::now());
            let frame: Vec<u8> = (0..100).collect();
            let captured = frame.len().min(snaplen as usize);
            let raw = RawPacket { wire_length: 100, ..packet(&frame[..captured]) };
            assert!(output.packet(&channels(), 0, &raw));
            output.end(&channels(), &[], Moment::now());
            let blocks: Vec<u8> = done
                .iter()
                .filter_map(|job| if let Job::Append { blocks, .. } = job { Some(blocks) } else { None })
                .flatten()
                .collect();
            let mut reader = pcapng::Reader::new(blocks.as_slice());
            let mut seen = 0;
            while let Some(block) = reader.next_block().expect("whole") {
                let pcapng::Block::Packet(packet) = block else { continue };
                let tagged = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
                assert_eq!(packet.data, &tagged[..(snaplen as usize).min(captured + 4)]);
                assert_eq!(packet.wire_length, 104);
                seen += 1;
            }
            assert_eq!(seen, 1);
        }
    }
}
