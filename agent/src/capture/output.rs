//! From packets to buffers of whole pcapng blocks, handed to the writer in bounded number.
//!
//! Owns rotation and the count of packets that the full queue cost. Never blocks: with no buffer free, a packet is
//! counted as dropped by the queue and the capture goes on. Must not know packet sockets or the disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender},
    },
    time::Duration,
};

use nodewatch_analysis::decode::Link;
use nodewatch_pcapng::{self as pcapng, InterfaceBlock, PACKET_OVERHEAD, SectionBlock, StatisticsBlock};
use nodewatch_protocol::{CaptureSpec, Content, Dropped, PendingFreeze};

use super::{channel::Channel, packet::RawPacket, writer::Job};
use crate::{
    moment::Moment,
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

/// The capture's files as the capture thread sees them.
pub struct Output {
    ways: Ways,
    /// Buffers not made yet: while the disk keeps up few are in use, and these stay in the processor's cache.
    unmade: usize,
    /// Buffers that wait to be filled, the one that was emptied last at the end.
    spare: Vec<Vec<u8>>,
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
            spare: Vec::with_capacity(BUFFERS),
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
            // What was captured until now must belong to closed files: without a buffer to go on in, it is not yet
            // time.
            if self.rotate(channels, now) {
                self.freeze(&due);
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
        self.freeze(&rest);
    }

    /// Packets that reached no file although they were captured: no buffer was free, or the disk failed.
    pub fn dropped(&self) -> u64 {
        self.queue_drops + self.ways.lost.load(Ordering::Relaxed)
    }

    fn pending<'a>(&'a self, freezes: &'a [PendingFreeze]) -> impl Iterator<Item = PendingFreeze> + 'a {
        freezes.iter().filter(|freeze| !self.frozen.contains(&freeze.id)).copied()
    }

    fn freeze(&mut self, freezes: &[PendingFreeze]) {
        for &freeze in freezes {
            self.frozen.push(freeze.id);
            self.send(Job::Freeze { freeze });
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
        self.spare.extend(self.ways.empty.try_iter());
        if let Some(latest) = self.spare.pop() {
            return Some(latest);
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
        Content::Headers => "content headers: captured without payloads",
        Content::Dns => "content dns: captured without payloads, except DNS",
        Content::Full => "content full: captured with payloads",
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
    let left_out = (!origin.left_out.is_empty()).then(|| {
        format!("incomplete: these interfaces cannot be read and were not captured: {}", origin.left_out.join(", "))
    });
    let comments: Vec<String> = gap.into_iter().chain(left_out).collect();
    header(spec, channels, origin.hostname, &comments)
}

#[cfg(test)]
mod tests;
