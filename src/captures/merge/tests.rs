//! Merging held against files made for it: order, cut, damage, files of others, many at once.

use nodewatch_pcapng::{InterfaceBlock, Reader, StatisticsBlock, interface_description, interface_statistics};

use std::fs::File;

use super::*;

/// A file of one interface with packets of these times.
fn file(folder: &Path, node: &str, name: &str, nanos: &[u64]) -> PathBuf {
    let mut bytes = Vec::new();
    let comments = ["gap: a test".to_owned()];
    section_header(&mut bytes, &SectionBlock { hardware: node, application: "nodewatch-agent", comments: &comments });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 9, filter: None, description: "" };
    interface_description(&mut bytes, &interface);
    for &nanos in nanos {
        enhanced_packet(&mut bytes, 0, nanos, 60, [&nanos.to_le_bytes()], &[]);
    }
    let counts = StatisticsBlock {
        interface: 0,
        at: 9,
        since: 1,
        received: nanos.len() as u64 + 2,
        dropped_by_interface: 0,
        dropped_by_kernel: 2,
        delivered: nanos.len() as u64,
        comment: "incomplete: a test",
    };
    interface_statistics(&mut bytes, &counts);
    fs::create_dir_all(folder.join(node)).expect("a folder");
    let path = folder.join(node).join(name);
    fs::write(&path, bytes).expect("written");
    path
}

type Read = (Vec<(String, u64)>, Vec<String>, u64);

/// Packets by interface and time, comments, and kernel drops of the merged file.
fn read(bytes: &[u8]) -> Read {
    let mut reader = Reader::new(bytes);
    let (mut names, mut packets, mut comments, mut drops) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while let Some(block) = reader.next_block().expect("a whole file") {
        match block {
            Block::Section(section) => comments.extend(section.comments),
            Block::Interface(interface) => names.push(interface.name),
            Block::Packet(packet) => {
                assert_eq!(packet.data, packet.nanos.to_le_bytes(), "its own bytes");
                packets.push((names[packet.interface].clone(), packet.nanos));
            }
            Block::Statistics(counts) => drops += counts.dropped_by_kernel,
            Block::Other(_) => {}
        }
    }
    (packets, comments, drops)
}

fn merge(inputs: &[PathBuf], window: RangeInclusive<u64>) -> Result<(Merged, Vec<u8>), MergeError> {
    let mut out = Vec::new();
    let merge = Merge { inputs: inputs.to_vec(), window, names: BTreeMap::new(), pair: None };
    Ok((merge.write(&mut out, Path::new("out"))?, out))
}

#[test]
fn packets_come_in_time_order_also_where_a_file_is_a_little_out_of_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let second = 1_000_000_000;
    let a = file(folder.path(), "a", "1.pcapng", &[5, 3, 100, 3 * second, 2 * second]);
    let b = file(folder.path(), "b", "1.pcapng", &[4, second, 9 * second]);
    let later = file(folder.path(), "a", "2.pcapng", &[8 * second, 7 * second]);
    let (merged, bytes) = merge(&[a, b, later], 0..=u64::MAX).expect("merged");
    let (packets, comments, drops) = read(&bytes);
    let times: Vec<u64> = packets.iter().map(|(_, nanos)| *nanos).collect();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    // The pair that is out of order by a whole second is more than a capture's threads can do to it.
    assert_eq!(times.iter().filter(|time| **time < 2 * second).collect::<Vec<_>>(), [&3, &4, &5, &100, &second]);
    assert_eq!((merged.packets, merged.cut, merged.size), (10, 0, bytes.len() as u64));
    assert_eq!(times.len(), sorted.len());
    assert_eq!(packets.iter().filter(|(name, _)| name == "a/eth0").count(), 7);
    assert_eq!(packets.iter().filter(|(name, _)| name == "b/eth0").count(), 3);
    let sides =
        "each packet is in it once for each node that captured it: frame.interface_name == \"a/eth0\" shows one side";
    assert_eq!(comments, ["merged from 3 files", "gap: a test", sides]);
    assert_eq!(drops, 6);
}

#[test]
fn what_overlapping_files_of_a_node_have_is_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = file(folder.path(), "a", "1.pcapng", &[1, 2, 3, 3]);
    // Two of the same nanosecond are two, and another node's are its own.
    let again = file(folder.path(), "a", "2.pcapng", &[2, 3, 3, 4]);
    let b = file(folder.path(), "b", "1.pcapng", &[3]);
    let (merged, bytes) = merge(&[a, again, b], 0..=u64::MAX).expect("merged");
    assert_eq!((merged.packets, merged.again), (6, 3));
    let packets = read(&bytes).0;
    let of = |node: &str| packets.iter().filter(|(name, _)| name == node).map(|(_, time)| *time).collect::<Vec<_>>();
    assert_eq!((of("a/eth0"), of("b/eth0")), (vec![1, 2, 3, 3, 4], vec![3]));
}

#[test]
fn a_window_cuts_and_says_how_much() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = file(folder.path(), "a", "1.pcapng", &[1, 2, 3, 4]);
    let (merged, bytes) = merge(&[a], 2..=3).expect("merged");
    assert_eq!((merged.packets, merged.cut), (2, 2));
    assert_eq!(read(&bytes).0.len(), 2);
}

#[test]
fn many_files_in_a_row_are_one_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let minute = 60_000_000_000;
    let inputs: Vec<PathBuf> = (0..300u64)
        .map(|index| file(folder.path(), "a", &format!("{index:03}.pcapng"), &[index * minute, index * minute + 5]))
        .collect();
    let (merged, bytes) = merge(&inputs, 0..=u64::MAX).expect("merged");
    let times: Vec<u64> = read(&bytes).0.iter().map(|(_, nanos)| *nanos).collect();
    assert!(times.is_sorted());
    assert_eq!((merged.files, merged.packets), (300, 600));
}

#[test]
fn a_torn_file_gives_what_it_has_and_the_others_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = file(folder.path(), "a", "1.pcapng", &[1, 4]);
    let torn = file(folder.path(), "b", "torn.pcapng", &[2, 3, 5]);
    let bytes = fs::read(&torn).expect("read");
    // The statistics, and a few bytes of the last packet.
    let length = bytes.len() - STATISTICS - 3;
    fs::write(&torn, &bytes[..length]).expect("written");
    fs::write(folder.path().join("no.pcapng"), b"hello, this is no capture").expect("written");
    let inputs = [good.clone(), torn.clone(), folder.path().join("no.pcapng")];
    let (merged, bytes) = merge(&inputs, 0..=u64::MAX).expect("merged");
    assert_eq!(read(&bytes).0.iter().map(|(_, nanos)| *nanos).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let lines = merged.notes.lines();
    let begins = length + 3 - PACKET;
    assert!(
        lines.iter().any(|line| line.contains("torn.pcapng") && line.ends_with(&format!("at byte {begins}"))),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("no.pcapng") && line.contains("neither pcap nor pcapng")),
        "{lines:?}"
    );
}

#[test]
fn where_nothing_can_be_had_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let no = folder.path().join("no.pcapng");
    fs::write(&no, b"hello, this is no capture").expect("written");
    let out = folder.path().join("x");
    let none = Merge { inputs: vec![no], window: 0..=u64::MAX, names: BTreeMap::new(), pair: None };
    let error = none.into_file(&out).expect_err("no capture");
    assert!(matches!(&error, MergeError::Input { .. }) && error.to_string().contains("no.pcapng"), "{error}");
    let good = file(folder.path(), "a", "1.pcapng", &[1_000_000_000, 2_000_000_000]);
    let late = Merge { inputs: vec![good.clone()], window: 3..=4, names: BTreeMap::new(), pair: None };
    let outside = late.into_file(&out).expect("merged");
    assert!(outside.is_outside());
    assert_eq!(outside.span.map(|(first, last)| (first.seconds, last.seconds)), Some((1, 2)));
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let one = Merge { inputs: vec![good.clone()], window: 0..=u64::MAX, names: BTreeMap::new(), pair: None };
    one.into_file(&out).expect("merged");
    let again = one.into_file(&out).expect_err("nothing is overwritten");
    assert!(matches!(again, MergeError::Output { .. }), "{again}");
    let full = one.write(File::options().write(true).open("/dev/full").expect("there"), &out).expect_err("no room");
    assert!(
        matches!(&full, MergeError::Output { source, .. } if source.kind() == io::ErrorKind::StorageFull),
        "{full}"
    );
}

#[test]
fn folders_give_their_captures_whatever_their_names_and_say_what_they_pass_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = file(folder.path(), "a", "1.pcapng", &[7]);
    let bytes = fs::read(&a).expect("read");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    write("a/2.pcapng.zst", &zstd::encode_all(bytes.as_slice(), 1).expect("packed"));
    write("3.gz", &gz(&bytes));
    write("4.cap", &pcap(0xA1B2_C3D4, false, (2, 4), 0, &[7]));
    write("5", &bytes);
    write("6.pcap", b"torn");
    write("manifest.json", b"{}");
    write("notes.txt", b"what I saw");
    write("log.gz", &gz(b"no packets"));
    write("merged-1.pcapng", b"");
    write("7.pcapng.part", &bytes);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let found = find(&[folder.path().to_owned()]).expect("found");
    let names = |paths: &mut dyn Iterator<Item = &PathBuf>| -> Vec<String> {
        paths.map(|path| path.strip_prefix(folder.path()).expect("below").display().to_string()).collect()
    };
    assert_eq!(names(&mut found.captures.iter()), ["3.gz", "4.cap", "5", "6.pcap", "a/1.pcapng", "a/2.pcapng.zst"]);
    let mut passed = names(&mut found.passed_over.iter().map(|(path, _)| path));
    passed.sort();
    assert_eq!(passed, ["7.pcapng.part", "log.gz", "merged-1.pcapng", "notes.txt", "pipe"]);
    let merged = merge(&found.captures, 0..=u64::MAX).expect("merged").0;
    // Four are copies of one file, whose packet is written once.
    assert_eq!((merged.packets, merged.again, merged.notes.damaged.len()), (2, 3, 1));
    let empty = tempfile::tempdir().expect("a folder");
    assert!(matches!(find(&[empty.path().to_owned()]), Err(MergeError::Nothing { .. })));
    // As they were named, not by name: of equal times the later file's come first.
    let named = [folder.path().join("5"), a.clone(), folder.path().join("5")];
    let found = find(&named).expect("found");
    assert_eq!(found.captures, [folder.path().join("5"), a.clone()]);
    assert_eq!(found.again, [folder.path().join("5")]);
    // The same file by other names.
    std::os::unix::fs::symlink(&a, folder.path().join("link")).expect("a link");
    let named = [a.clone(), folder.path().join("link"), folder.path().join("a")];
    let found = find(&named).expect("found");
    assert_eq!((found.captures.len(), found.again), (2, vec![folder.path().join("link"), a]));
}

/// Nokia's packets have four bytes more, and not always the same.
#[test]
fn a_pcap_of_nokia_is_read_whatever_its_four_bytes_are() {
    let folder = tempfile::tempdir().expect("a folder");
    for more in [[0; 4], [1, 2, 3, 4], [0xff; 4], [0x11, 0x69, 0xbf, 0x9f]] {
        let mut bytes = pcap(0xA1B2_C3D4, false, (2, 4), 0, &[]);
        for number in 0..5u32 {
            let data = vec![0xa5; 60 + number as usize];
            for field in [1_700_000_000 + number, number * 1000, data.len() as u32, data.len() as u32] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.extend(more);
            bytes.extend(data);
        }
        let path = folder.path().join("nokia.pcap");
        fs::write(&path, bytes).expect("written");
        let merged = merge(&[path], 0..=u64::MAX).expect("merged").0;
        assert_eq!((merged.packets, merged.notes.damaged.len()), (5, 0), "{more:?}");
    }
}

/// Bytes of the statistics that [`file`] ends with, and of one of its packets.
const STATISTICS: usize = 12 + 12 + 24 + 12 * 6 + 4;
const PACKET: usize = 32 + 8;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

/// A pcap whose packets have these times, in its own unit, as [`read`] wants their bytes, and `extra` bytes more of
/// header each.
fn pcap(magic: u32, big_endian: bool, version: (u16, u16), extra: usize, times: &[u64]) -> Vec<u8> {
    let nanos = matches!(magic, 0xA1B2_3C4D | 0x1C00_01AC);
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut bytes = [word(magic).as_slice(), &half(version.0), &half(version.1), &[0; 8], &word(96), &word(1)].concat();
    if magic >> 16 == 0x1C00 {
        bytes.extend(word(0));
    }
    let swapped = version.0 == 543 || version == (2, 2);
    for time in times {
        let a_second: u64 = if nanos { 1_000_000_000 } else { 1_000_000 };
        let data = if nanos { *time } else { time * 1000 }.to_le_bytes();
        let (captured, wire) = if swapped { (60, 8) } else { (8, 60) };
        for field in [(time / a_second) as u32, (time % a_second) as u32, captured, wire] {
            bytes.extend(word(field));
        }
        match extra {
            4 => bytes.extend(word(0x9FBF_B601)),
            8 | 12 => {
                bytes.extend(word(2));
                bytes.extend(half(0x800));
                bytes.extend(&[0xFF; 16][..extra - 6]);
                let kind = bytes.len() - (extra - 6);
                bytes[kind] = 0;
            }
            _ => {}
        }
        bytes.extend(data);
    }
    bytes
}

fn times(bytes: &[u8]) -> Vec<u64> {
    read(bytes).0.iter().map(|(_, nanos)| *nanos).collect()
}

#[test]
fn every_form_of_pcap_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("one");
    let cases = [
        (0xA1B2_C3D4, (2, 4), 0),
        (0xA1B2_3C4D, (2, 4), 0),
        (0xA1B2_CD34, (2, 4), 8),
        (0xA1B2_CD34, (2, 4), 12),
        // By patched kernels and Nokia, under pcap's own number.
        (0xA1B2_C3D4, (2, 4), 8),
        (0xA1B2_C3D4, (2, 4), 4),
        (0x1C00_01AC, (2, 4), 0),
        (0x1C00_01AB, (2, 4), 0),
        (0xA1B2_C3D4, (2, 2), 0),
        (0xA1B2_C3D4, (2, 3), 0),
        (0xA1B2_C3D4, (543, 0), 0),
    ];
    let seen = [1_700_000_000_000_001, 1_700_000_001_999_999, 1_700_000_001_999_999];
    for (magic, version, extra) in cases {
        for big_endian in [false, true] {
            let nanos = matches!(magic, 0xA1B2_3C4D | 0x1C00_01AC);
            let wanted: Vec<u64> = seen.iter().map(|time| if nanos { time * 1000 + 5 } else { *time }).collect();
            let bytes = pcap(magic, big_endian, version, extra, &wanted);
            let wanted: Vec<u64> = wanted.iter().map(|time| if nanos { *time } else { time * 1000 }).collect();
            for bytes in [bytes.clone(), gz(&bytes), zstd::encode_all(bytes.as_slice(), 1).expect("packed")] {
                fs::write(&path, bytes).expect("written");
                let (merged, out) = merge(std::slice::from_ref(&path), 0..=u64::MAX).expect("merged");
                assert_eq!(times(&out), wanted, "{magic:#x} {version:?} {extra} {big_endian}");
                assert_eq!(merged.notes, Notes { link_types: [1].into(), ..Notes::default() });
            }
        }
    }
}

#[test]
fn a_torn_pcap_and_a_torn_archive_give_what_they_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = pcap(0xA1B2_C3D4, false, (2, 4), 0, &[1, 2, 3]);
    let mut huge = bytes.clone();
    huge[24 + 24 * 2 + 8..][..4].copy_from_slice(&0x4000_0000_u32.to_le_bytes());
    let packed = gz(&bytes);
    for (name, bytes, packets, why) in [
        ("torn", &bytes[..bytes.len() - 1], 2, "the file ends inside the packet that begins at byte 72"),
        ("head", &bytes[..bytes.len() - 20], 2, "the file ends inside the packet that begins at byte 72"),
        ("huge", &huge, 2, "an invalid packet length at byte 72"),
        ("cut.gz", &packed[..packed.len() - 9], 3, "cannot read past byte"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let (merged, _) = merge(&[path], 0..=u64::MAX).expect("merged");
        assert_eq!(merged.packets, packets, "{name}");
        assert!(merged.notes.lines()[0].contains(why), "{:?}", merged.notes.lines());
    }
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    let good = file(folder.path(), "a", "1.pcapng", &[1, 3]);
    let bytes = fs::read(file(folder.path(), "b", "1.pcapng", &[2, 4])).expect("read");
    for bytes in [bytes.clone(), gz(&bytes), pcap(0xA1B2_3C4D, true, (2, 4), 0, &[2, 4])] {
        let to = pipe.clone();
        let writer = std::thread::spawn(move || fs::write(to, bytes));
        let (merged, out) = merge(&[pipe.clone(), good.clone()], 0..=u64::MAX).expect("merged");
        writer.join().expect("ended").expect("written");
        assert_eq!((times(&out), merged.notes.damaged.len()), (vec![1, 2, 3, 4], 0));
    }
}

#[test]
fn the_order_of_others_is_kept_and_of_equal_times_the_later_file_comes_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, times: &[u64]| {
        let path = folder.path().join(name);
        fs::write(&path, pcap(0xA1B2_3C4D, false, (2, 4), 0, times)).expect("written");
        path
    };
    let (a, b) = (write("a", &[5, 3, 9]), write("b", &[5, 9, 8]));
    let (_, out) = merge(&[a, b], 0..=u64::MAX).expect("merged");
    // What `mergecap` makes of the two.
    assert_eq!(times(&out), [5, 5, 3, 9, 8, 9]);
}

#[test]
fn more_files_at_once_than_may_be_open_make_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let inputs: Vec<PathBuf> = (0..150u64)
        .map(|index| {
            let times: Vec<u64> = (0..20).map(|packet| packet * 1000 + index % 7).collect();
            if index % 3 == 0 {
                let path = folder.path().join(format!("{index}.pcap"));
                fs::write(&path, pcap(0xA1B2_3C4D, index % 2 == 0, (2, 4), 0, &times)).expect("written");
                return path;
            }
            let path = file(folder.path(), &format!("n{index}"), "1.pcapng", &times);
            let bytes = fs::read(&path).expect("read");
            fs::write(&path, if index % 5 == 0 { gz(&bytes) } else { bytes }).expect("written");
            path
        })
        .collect();
    let made = |slots| {
        let mut out = Vec::new();
        let merge = Merge { inputs: inputs.clone(), window: 2..=15_000, names: BTreeMap::new(), pair: None };
        let (merged, _) = merge.write_in(&mut out, Path::new("out"), folder.path(), slots, None).expect("merged");
        (
            merged,
            read(&out)
                .0
                .into_iter()
                .map(|(name, nanos)| (name.split('/').next_back().map(str::to_owned), nanos))
                .collect::<Vec<_>>(),
        )
    };
    let whole = made(1000);
    assert_eq!((whole.0.packets + whole.0.cut, whole.0.files), (150 * 20, 150));
    for slots in [12, 30, 200] {
        let (merged, packets) = made(slots);
        assert_eq!((merged.packets, merged.cut), (whole.0.packets, whole.0.cut), "{slots}");
        assert!(packets == whole.1, "{slots}");
    }
    let aside = fs::read_dir(folder.path())
        .expect("read")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".tmp")));
    assert_eq!(aside.count(), 0, "nothing is left of what was put aside");
}

#[test]
fn what_says_how_much_it_keeps_says_the_same_in_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = |name: &str, snaplens: [u32; 2]| {
        let mut bytes = Vec::new();
        section_header(&mut bytes, &SectionBlock { hardware: "", application: "other", comments: &[] });
        for (index, snaplen) in snaplens.into_iter().enumerate() {
            let name = ["eth0", "eth1"][index];
            let interface = InterfaceBlock { name, link_type: 1, snaplen, filter: None, description: "" };
            interface_description(&mut bytes, &interface);
            enhanced_packet(&mut bytes, index as u32, 7, 60, [&7u64.to_le_bytes()], &[]);
        }
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    for (snaplens, wanted) in [([96, 96], [96, 96]), ([96, 128], [0, 0]), ([0, 262_144], [0, 262_144])] {
        let out = folder.path().join(format!("out{}{}", snaplens[0], snaplens[1]));
        let inputs = vec![two("in", snaplens)];
        let merge = Merge { inputs, window: 0..=u64::MAX, names: BTreeMap::new(), pair: None };
        merge.into_file(&out).expect("merged");
        let mut reader = Reader::new(File::open(&out).expect("there"));
        let mut said = Vec::new();
        while let Some(block) = reader.next_block().expect("whole") {
            if let Block::Interface(interface) = block {
                said.push(interface.snaplen);
            }
        }
        assert_eq!(said, wanted, "{snaplens:?}");
    }
}

#[test]
fn a_block_that_claims_more_than_there_is_takes_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "a", "1.pcapng", &[1]);
    let mut bytes = fs::read(&path).expect("read");
    for claimed in [0x4000_0000_u32, 0x0700_0000] {
        bytes.truncate(bytes.len() - bytes.len() % 4);
        bytes.extend([6, 0, 0, 0]);
        bytes.extend(claimed.to_le_bytes());
        bytes.extend([0; 64]);
        fs::write(&path, &bytes).expect("written");
        let (merged, _) = merge(std::slice::from_ref(&path), 0..=u64::MAX).expect("merged");
        assert_eq!((merged.packets, merged.notes.damaged.len()), (1, 1));
    }
}

/// More than fit into 16 bits, and more than a few sections.
#[test]
fn sections_and_interfaces_without_number_are_one_section() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = Vec::new();
    let sections = 700;
    for section in 0..sections {
        let comments = [format!("comment {section}")];
        section_header(&mut bytes, &SectionBlock { hardware: "", application: "other", comments: &comments });
        for interface in 0..100 {
            let name = format!("{section}-{interface}");
            let interface = InterfaceBlock { name: &name, link_type: 1, snaplen: 9, filter: None, description: "" };
            interface_description(&mut bytes, &interface);
        }
        enhanced_packet(&mut bytes, 99, section, 60, [&section.to_le_bytes()], &[]);
    }
    let path = folder.path().join("in");
    fs::write(&path, bytes).expect("written");
    let (merged, out) = merge(&[path], 0..=u64::MAX).expect("merged");
    let (packets, ..) = read(&out);
    assert_eq!((packets.len() as u64, merged.notes.comments), (sections, 0));
    assert!(packets.iter().enumerate().all(|(at, (name, _))| name.ends_with(&format!("/{at}-99"))));
}
