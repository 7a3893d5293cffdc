//! Rotation, freezes, and a disk that stands still.

use std::sync::mpsc::channel;

use nodewatch_protocol::{BootSpan, Recorder};

use super::*;
use crate::clock::Clock;

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
    let freeze = PendingFreeze { id: 99, capture: 0, from: 0, to: 0, span, cause: None };
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
        let mut output = Output::begin(ways(jobs, empty), &CaptureSpec::default(), &channels(), ORIGIN, Moment::now());
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
