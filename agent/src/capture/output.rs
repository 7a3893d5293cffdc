//! From packets to buffers of whole pcapng blocks, handed to the writer in bounded number.
//!
//! Owns rotation and the count of packets that the full queue cost. Never blocks: with no buffer free, a packet is
//! counted as dropped by the queue and the capture goes on. Must not know rings or the disk.

use std::{
    sync::mpsc::{Receiver, Sender},
    time::Instant,
};

use nodewatch_protocol::{CaptureSpec, UnixMillis};

use super::{
    decode::Link,
    pcapng::{self, InterfaceBlock, PACKET_OVERHEAD, StatisticsBlock},
    ring::RawPacket,
    store::file_name,
    writer::Job,
};

/// A buffer is handed over when the next packet would take it past this.
const BUFFER: usize = 512 * 1024;
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
    /// Dropped by the interface.
    pub interface_drops: u64,
}

/// A moment, on the clocks that a file needs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For lengths of time.
    pub instant: Instant,
    /// For file contents, in nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_nanos: unix.as_nanos() as u64 }
    }

    /// The same as the wire has it.
    pub fn unix_millis(self) -> UnixMillis {
        self.unix_nanos / 1_000_000
    }
}

/// The capture's files as the capture thread sees them.
pub struct Output {
    jobs: Sender<Job>,
    empty: Receiver<Vec<u8>>,
    /// Buffers not made yet: while the disk keeps up few are in use, and these stay in the processor's cache.
    unmade: usize,
    buffer: Vec<u8>,
    buffered_packets: u64,
    header: Vec<u8>,
    rotate_bytes: u64,
    rotate_seconds: u64,
    /// Bytes of the file so far, handed over or not.
    file_bytes: u64,
    file_began: Moment,
    sequence: u32,
    /// Bytes of all files so far.
    pub total_bytes: u64,
    /// Packets that found no free buffer.
    pub queue_drops: u64,
}

impl Output {
    /// Begins the first file.
    pub fn begin(
        jobs: Sender<Job>,
        empty: Receiver<Vec<u8>>,
        spec: &CaptureSpec,
        channels: &[Channel],
        hostname: &str,
        now: Moment,
    ) -> Self {
        let mut header = Vec::new();
        pcapng::section_header(&mut header, hostname);
        for channel in channels {
            let interface = InterfaceBlock {
                name: &channel.name,
                link_type: channel.link.number(),
                snaplen: spec.snaplen,
                filter: spec.filter.as_deref(),
            };
            pcapng::interface_description(&mut header, &interface);
        }
        let mut output = Self {
            jobs,
            empty,
            unmade: BUFFERS - 1,
            buffer: Vec::with_capacity(BUFFER),
            buffered_packets: 0,
            header,
            rotate_bytes: spec.rotate_bytes,
            rotate_seconds: spec.rotate_seconds,
            file_bytes: 0,
            file_began: now,
            sequence: 0,
            total_bytes: 0,
            queue_drops: 0,
        };
        output.begin_file(now);
        output
    }

    /// Takes one packet of the channel with that index. False when it had to be dropped.
    #[inline]
    pub fn packet(&mut self, channels: &[Channel], index: usize, packet: &RawPacket<'_>) -> bool {
        let size = PACKET_OVERHEAD + packet.data.len().next_multiple_of(4) + 4;
        if self.file_bytes + size as u64 > self.rotate_bytes {
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
                let parts = [addresses, tag.as_slice(), rest];
                pcapng::enhanced_packet(&mut self.buffer, index as u32, packet.nanos, packet.wire_length + 4, parts);
            }
            _ => {
                let parts = [packet.data];
                pcapng::enhanced_packet(&mut self.buffer, index as u32, packet.nanos, packet.wire_length, parts);
            }
        }
        let written = (self.buffer.len() - before) as u64;
        self.file_bytes += written;
        self.total_bytes += written;
        self.buffered_packets += 1;
        true
    }

    /// Rotates a file that is old enough, and lets what is buffered be seen on disk.
    pub fn tick(&mut self, channels: &[Channel], now: Moment) {
        if now.instant.duration_since(self.file_began.instant).as_secs() >= self.rotate_seconds {
            self.rotate(channels, now);
        }
        if !self.buffer.is_empty() {
            self.hand_over();
        }
    }

    /// Closes the last file. Waits for the disk, as no packet comes any more.
    pub fn end(mut self, channels: &[Channel], now: Moment) {
        self.statistics(channels, now);
        self.append_and_go_on_in(Vec::new());
        self.send(Job::Close);
    }

    /// Closes the file and begins the next, or goes on with this one while no buffer is free.
    #[cold]
    fn rotate(&mut self, channels: &[Channel], now: Moment) {
        let Some(next) = self.empty_buffer() else { return };
        self.statistics(channels, now);
        self.append_and_go_on_in(next);
        self.send(Job::Close);
        self.begin_file(now);
    }

    fn begin_file(&mut self, now: Moment) {
        self.sequence += 1;
        let micros = (now.unix_nanos / 1000 % 1000) as u16;
        let name = file_name(now.unix_millis(), micros, self.sequence);
        self.send(Job::Begin { name, started: now.unix_millis() });
        self.buffer.extend_from_slice(&self.header);
        self.file_bytes = self.header.len() as u64;
        self.total_bytes += self.header.len() as u64;
        self.file_began = now;
    }

    fn statistics(&mut self, channels: &[Channel], now: Moment) {
        for (index, channel) in channels.iter().enumerate() {
            let counts = StatisticsBlock {
                interface: index as u32,
                at: now.unix_nanos,
                since: self.file_began.unix_nanos,
                received: channel.packets + channel.kernel_drops,
                dropped_by_interface: channel.interface_drops,
                dropped_by_kernel: channel.kernel_drops,
                delivered: channel.delivered,
            };
            pcapng::interface_statistics(&mut self.buffer, &counts);
        }
    }

    fn hand_over(&mut self) -> bool {
        let Some(next) = self.empty_buffer() else { return false };
        self.append_and_go_on_in(next);
        true
    }

    fn empty_buffer(&mut self) -> Option<Vec<u8>> {
        if let Ok(returned) = self.empty.try_recv() {
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
        let _ = self.jobs.send(job);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn channels() -> Vec<Channel> {
        vec![Channel {
            name: "eth0".into(),
            link: Link::Ethernet,
            packets: 0,
            delivered: 0,
            kernel_drops: 0,
            interface_drops: 0,
        }]
    }

    fn packet(data: &[u8]) -> RawPacket<'_> {
        RawPacket { nanos: 1, wire_length: data.len() as u32, data, vlan: Some((0x8100, 5)), outgoing: false }
    }

    #[test]
    fn a_disk_that_stands_still_costs_counted_packets_and_nothing_else() {
        let (jobs, held_jobs) = channel();
        let (give_back, empty) = channel();
        let mut output = Output::begin(jobs, empty, &CaptureSpec::default(), &channels(), "n", Moment::now());
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
        let mut output = Output::begin(jobs, empty, &spec, &channels(), "n", Moment::now());
        let data = vec![7; 30_000];
        for _ in 0..5 {
            assert!(output.packet(&channels(), 0, &packet(&data)));
        }
        output.end(&channels(), Moment::now());

        let mut files: Vec<Vec<u8>> = Vec::new();
        for job in done {
            match job {
                Job::Begin { .. } => files.push(Vec::new()),
                Job::Append { blocks, .. } => files.last_mut().expect("begun").extend(blocks),
                Job::Close => {}
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
}
