//! Merging held against files made for it: order, cut, damage.

use nodewatch_pcapng::{InterfaceBlock, StatisticsBlock, interface_description, interface_statistics};

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
    let merge = Merge { inputs: inputs.to_vec(), window, names: BTreeMap::new() };
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
    assert_eq!(comments, ["merged from 3 files", "gap: a test"]);
    assert_eq!(drops, 6);
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
fn damage_is_named_and_leaves_nothing_half_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = file(folder.path(), "a", "1.pcapng", &[1]);
    let bytes = fs::read(&good).expect("read");
    let torn = folder.path().join("torn.pcapng");
    fs::write(&torn, &bytes[..bytes.len() - 3]).expect("written");
    let out = folder.path().join("out.pcapng");
    let all = Merge { inputs: vec![good.clone(), torn], window: 0..=u64::MAX, names: BTreeMap::new() };
    let error = crate::text::chain(&all.into_file(&out).expect_err("torn"));
    assert!(error.contains("torn.pcapng") && error.contains("ends inside the block"), "{error}");
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let one = Merge { inputs: vec![good.clone()], window: 0..=u64::MAX, names: BTreeMap::new() };
    one.into_file(&out).expect("merged");
    let again = one.into_file(&out).expect_err("nothing is overwritten");
    assert!(matches!(again, MergeError::Output { .. }), "{again}");
    fs::write(folder.path().join("no.pcapng"), b"hello, this is no capture").expect("written");
    let no = Merge { inputs: vec![folder.path().join("no.pcapng")], window: 0..=u64::MAX, names: BTreeMap::new() };
    assert!(matches!(no.into_file(&folder.path().join("x")), Err(MergeError::Input { .. })));
}

#[test]
fn folders_give_their_captures_and_packed_ones_are_unpacked() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = file(folder.path(), "a", "1.pcapng", &[7]);
    let packed = zstd::encode_all(fs::read(&a).expect("read").as_slice(), 1).expect("packed");
    fs::write(folder.path().join("a/2.pcapng.zst"), packed).expect("written");
    fs::write(folder.path().join("manifest.json"), b"{}").expect("written");
    fs::write(folder.path().join("merged-1.pcapng"), b"").expect("written");
    let found = find(&[folder.path().to_owned()]).expect("found");
    assert_eq!(found.len(), 2);
    assert_eq!(merge(&found, 0..=u64::MAX).expect("merged").0.packets, 2);
    let empty = tempfile::tempdir().expect("a folder");
    assert!(matches!(find(&[empty.path().to_owned()]), Err(MergeError::Nothing(_))));
}
