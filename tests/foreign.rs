//! Captures of others, from outside: against `mergecap`, read whole by tshark, and the exit codes of `merge`.
//!
//! The public captures of tcpdump's and zeek's own tests are no part of this project. They are looked for in the folder
//! that `NODEWATCH_CAPTURES` names, or in `../shared/captures` beside the checkout; where they are not, that test says so
//! and is skipped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nodewatch_pcapng::{Block, Reader};
use nodewatch_testing::{here::skip, packets::try_count, program::said};
use nodewatch_tui::captures::merge::{Merge, MergeError, Merged};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// A packet: seconds and nanoseconds, link type, length on the wire, bytes.
type Packet = (i64, u32, u16, u32, Vec<u8>);

fn packets(path: &Path) -> Vec<Packet> {
    let mut reader = Reader::of_others(File::open(path).expect("there"), 1 << 18);
    let (mut links, mut found) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block().expect("whole") {
        match block {
            Block::Section(_) => links.clear(),
            Block::Interface(interface) => links.push(interface.link_type),
            Block::Packet(packet) => {
                let time = packet.time.unwrap_or_default();
                let link = links[packet.interface];
                found.push((time.seconds, time.nanos, link, packet.wire_length, packet.data.to_vec()));
            }
            Block::Statistics(_) | Block::Other(_) => {}
        }
    }
    found
}

fn merged(inputs: &[PathBuf], out: &Path) -> Result<Merged, MergeError> {
    let _ = fs::remove_file(out);
    Merge { inputs: inputs.to_vec(), window: 0..=u64::MAX, names: BTreeMap::new(), pair: None }.into_file(out)
}

fn mergecap(inputs: &[PathBuf], out: &Path) -> bool {
    let output = Command::new("mergecap").arg("-w").arg(out).args(inputs).output().expect("mergecap");
    output.status.success()
}

/// Two things that `mergecap` does anew and that are kept here: PPP in HDLC-like framing becomes PPP, and of an ATM cell's
/// four bytes of header the kind of traffic is guessed.
fn as_mergecap((seconds, nanos, link, wire, mut data): Packet) -> Packet {
    const PPP: u16 = 9;
    const PPP_HDLC: u16 = 50;
    const SUNATM: u16 = 123;
    if link == SUNATM {
        data.drain(..data.len().min(4));
    }
    (seconds, nanos, if link == PPP_HDLC { PPP } else { link }, wire, data)
}

fn public_captures() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let folder = std::env::var_os("NODEWATCH_CAPTURES").map_or(beside, PathBuf::from);
    let mut files = Vec::new();
    for below in ["tcpdump", "zeek"] {
        for entry in fs::read_dir(folder.join(below)).ok()? {
            let path = entry.ok()?.path();
            files.extend(path.extension().is_some_and(|end| end != "md").then_some(path));
        }
    }
    files.sort();
    Some(files)
}

#[test]
fn public_captures_are_merged_as_by_mergecap() {
    let Some(files) = public_captures() else {
        return skip("the public captures are not here");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let mut taken = Vec::new();
    for file in files {
        let one = std::slice::from_ref(&file);
        let done = merged(one, &ours);
        if !mergecap(one, &theirs) {
            // It knows fewer link types.
            assert!(done.is_ok(), "{file:?}: {done:?}");
            continue;
        }
        let notes = done.unwrap_or_else(|error| panic!("{file:?}: {error}")).notes;
        assert!(notes.damaged.is_empty() && notes.blocks.is_empty(), "{file:?}: {:?}", notes.lines());
        let ours: Vec<Packet> = packets(&ours).into_iter().map(as_mergecap).collect();
        let theirs: Vec<Packet> = packets(&theirs).into_iter().map(as_mergecap).collect();
        assert!(ours == theirs, "{file:?}");
        taken.push(file);
    }
    assert!(taken.len() > 900, "{} files", taken.len());

    merged(&taken, &ours).expect("merged");
    assert!(mergecap(&taken, &theirs));
    let all: Vec<Packet> = packets(&ours).into_iter().map(as_mergecap).collect();
    assert!(all == packets(&theirs).into_iter().map(as_mergecap).collect::<Vec<_>>(), "another order");
    assert_eq!(try_count(&ours), Ok(all.len()));
}

fn run(folder: &Path, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("merge").args(arguments).current_dir(folder).env("HOME", "/nonexistent").stdin(input);
    command.output().expect("the program starts")
}

/// A pcapng of anybody with packets of these microseconds, in either byte order, each with a comment.
fn foreign(big_endian: bool, micros: &[u64]) -> Vec<u8> {
    let word = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let half = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let option = |code: u16, value: &[u8]| -> Vec<u8> {
        let padding = &[0; 3][..value.len().next_multiple_of(4) - value.len()];
        [&half(code), half(value.len() as u16).as_slice(), value, padding].concat()
    };
    let block = |kind: u32, body: &[u8]| -> Vec<u8> {
        let total = word(body.len() as u32 + 12);
        [&word(kind), total.as_slice(), body, &total].concat()
    };
    let section = [word(0x1A2B_3C4D).as_slice(), &half(1), &half(0), &[0xFF; 8], &option(1, b"of others")].concat();
    let interface = [half(1).as_slice(), &half(0), &word(128), &option(2, b"en0"), &option(9, &[6])].concat();
    let secrets = [word(0x544C_534B).as_slice(), &word(5), b"keys\n\0\0\0"].concat();
    let names = [option(1, b"\x0A\0\0\x01one\0"), option(0, b"")].concat();
    let custom = [word(32_473).as_slice(), b"note"].concat();
    let mut bytes =
        [block(0x0A0D_0D0A, &section), block(10, &secrets), block(1, &interface), block(4, &names)].concat();
    bytes.extend(block(0xBAD, &custom));
    for time in micros {
        let options = [option(1, b"a comment"), option(2, &word(0x21)), option(6, &word(7)), option(0, b"")].concat();
        let fixed = [0, (time >> 32) as u32, *time as u32, 4, 60].map(word).concat();
        bytes.extend(block(6, &[fixed.as_slice(), &[1, 2, 3, 4], &options].concat()));
    }
    let counts =
        [word(0).as_slice(), &word(0), &word(9), &option(4, &[word(0), word(5)].concat()), &option(0, b"")].concat();
    bytes.extend(block(5, &counts));
    bytes
}

fn pcap(micros: &[u32]) -> Vec<u8> {
    let header = [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    let packets = micros.iter().flat_map(|time| [[0, *time, 4, 60].map(u32::to_le_bytes).concat(), vec![1, 2, 3, 4]]);
    [header, packets.flatten().collect()].concat()
}

#[test]
fn what_is_said_of_packets_goes_along_whatever_the_byte_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("little"), foreign(false, &[10, 30])).expect("written");
    fs::write(at("big"), foreign(true, &[20, 40])).expect("written");
    fs::write(at("old.pcap"), pcap(&[15, 25])).expect("written");
    let notes = merged(&["little", "big", "old.pcap"].map(at), &at("out")).expect("merged").notes;
    assert_eq!(notes.lines(), Vec::<String>::new());
    let fields = ["frame.time_epoch", "frame.comment", "frame.packet_flags_direction", "frame.cap_len", "frame.len"];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields"]).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.arg("-r").arg(at("out")).arg("-Y").arg("frame.len == 60").output().expect("tshark");
    let seen = String::from_utf8(output.stdout).expect("text");
    let rows: Vec<Vec<&str>> = seen.lines().map(|line| line.split('\t').collect()).collect();
    let times: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let wanted = [10, 15, 20, 25, 30, 40].map(|micros| format!("0.0000{micros}000"));
    assert_eq!(times, wanted, "{seen}");
    assert_eq!(rows.iter().filter(|row| row[1] == "a comment" && row[2].ends_with('1')).count(), 4, "{seen}");
    assert!(rows.iter().all(|row| row[3..] == ["4", "60"]), "{seen}");
    let kinds = |path: &Path| {
        let mut reader = Reader::of_others(File::open(path).expect("there"), 1 << 18);
        let mut kinds = BTreeMap::new();
        while let Some(block) = reader.next_block().expect("whole") {
            if let Block::Other(other) = block {
                *kinds.entry(other.kind).or_insert(0) += usize::from(!other.anew.is_empty());
            }
        }
        kinds
    };
    assert_eq!(kinds(&at("out")), BTreeMap::from([(4, 2), (10, 2), (0xBAD, 2)]));
    // tcpdump wants one snapshot length of all, and mergecap interfaces before anything else.
    let output = Command::new("tcpdump").arg("-nr").arg(at("out")).args(["-w", "/dev/null"]).output().expect("tcpdump");
    assert!(output.status.success(), "{}", said(&output));
    assert!(mergecap(&[at("out")], &at("again")));
}

#[test]
fn the_exit_code_says_how_it_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    let good = foreign(false, &[10, 30]);
    write("good", &good);
    write("torn", &good[..good.len() - 60]);
    write("none", b"neither");
    let open = |path: &str, write: bool| {
        Stdio::from(File::options().read(!write).write(write).open(folder.path().join(path)).expect("opened"))
    };
    for (arguments, code, word) in [
        (&["good", "-w", "a"][..], 0, "2 packets of 1 file"),
        (&["good", "-", "-w", "b"], 0, "4 packets of 2 files"),
        (&["good", "torn", "none", "-w", "c"], 3, "torn: the file ends inside the block that begins at byte"),
        (&["none", "-w", "d"], 2, "neither pcap nor pcapng"),
        (&["missing", "-w", "d"], 2, "No such file"),
        (&["good", "-w", "none"], 2, "none exists already: name another with --into"),
        (&["good", "-w", "/dev/full"], 1, "No space left on device"),
        (&["good", "-w", "/proc/none"], 2, "create its folder first"),
        (
            &["good", "--from", "2024-01-01T00:00:00Z", "-w", "d"],
            1,
            "nothing: the file holds 2 packets from 1970-01-01 00:00:00Z to 00:00:00Z; no file was written",
        ),
        (&[".", "-w", "e"], 3, "skipped 1 file: "),
    ] {
        let output = run(folder.path(), arguments, open("good", false));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(word), "{arguments:?}: {}", said(&output));
    }
    // More than a pipe holds, and nobody reads it.
    let many: Vec<u64> = (0..60_000).collect();
    write("many", &foreign(true, &many));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(PROGRAM);
    let output =
        command.args(["merge", "many", "-w", "-"]).current_dir(folder.path()).stdout(writer).stderr(Stdio::piped());
    let output = output.spawn().expect("the program starts").wait_with_output().expect("it ends");
    // Somebody who has enough, as `head` has, is no failure.
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn an_interrupted_merge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("good"), foreign(false, &[10, 30])).expect("written");
    let made = Command::new("mkfifo").arg(folder.path().join("silent")).status().expect("mkfifo");
    assert!(made.success());
    for signal in ["INT", "TERM", "HUP"] {
        let mut command = Command::new(PROGRAM);
        // Nobody ever writes into the pipe.
        command.args(["merge", "good", "silent", "-w", "out"]).current_dir(folder.path()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let part = folder.path().join(format!("out.{}.part", child.id()));
        while !part.exists() {
            assert!(child.try_wait().expect("asked").is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        let output = child.wait_with_output().expect("it ends");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{signal}: {said}");
        assert!(said.contains("interrupted"), "{said}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

/// A packet of TCP from 10.0.0.FROM to 10.0.0.TO, with its checksums.
fn tcp((from, to): (u8, u8), id: u16, (sequence, ack): (u32, u32), flags: u8, payload: &[u8], hops: u8) -> Vec<u8> {
    let sum = |parts: &[&[u8]]| {
        let all = parts.concat();
        let mut sum: u32 = all.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0))).sum();
        while sum > 0xFFFF {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }
        (!(sum as u16)).to_be_bytes()
    };
    let ports = if from == 1 { (4431u16, 8080u16) } else { (8080, 4431) };
    let mut segment = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    segment.extend(payload);
    let length = (segment.len() as u16).to_be_bytes();
    let checked = sum(&[&[10, 0, 0, from, 10, 0, 0, to, 0, 6], &length, &segment]);
    segment[16..18].copy_from_slice(&checked);
    let mut ip = vec![0x45, 0];
    ip.extend((20 + segment.len() as u16).to_be_bytes());
    ip.extend(id.to_be_bytes());
    ip.extend([0x40, 0, hops, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
    let checked = sum(&[&ip]);
    ip[10..12].copy_from_slice(&checked);
    [&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0][..], &ip, &segment].concat()
}

fn pcap_of(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [0xA1B2_3C4D_u32, 0x0004_0002, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for (nanos, data) in packets {
        let length = data.len() as u32;
        let head = [(nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, length, length];
        bytes.extend(head.map(u32::to_le_bytes).concat());
        bytes.extend(data);
    }
    bytes
}

/// How many packets tshark finds by a display filter.
fn shown(path: &Path, filter: &str) -> usize {
    let output = Command::new("tshark").args(["-n", "-Y", filter, "-r"]).arg(path).output().expect("tshark");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[test]
fn pairs_of_two_nodes_have_no_retransmission_that_there_was_not() {
    const ACK: u8 = 0x10;
    const PUSH: u8 = 0x18;
    let folder = tempfile::tempdir().expect("a folder");
    // What the client sends and sees, and the same at the server: 30 us later, by a clock that is 2 ms behind.
    let (mut client, mut server) = (Vec::new(), Vec::new());
    let (base, way, behind) = (1_700_000_000_000_000_000u64, 30_000, 2_000_000);
    let mut id = 0;
    let mut put = |at: u64, from_client: bool, numbers: (u32, u32), flags: u8, payload: &[u8], arrives: bool| {
        id += 1;
        let ends = if from_client { (1, 2) } else { (2, 1) };
        let (sent, received) = (base + at, base + at + way);
        let (here, there) = if from_client { (sent, received - behind) } else { (received, sent - behind) };
        let packet = |hops: u8| tcp(ends, id, numbers, flags, payload, hops);
        if from_client || arrives {
            client.push((here, packet(if from_client { 64 } else { 63 })));
        }
        if !from_client || arrives {
            server.push((there, packet(if from_client { 63 } else { 64 })));
        }
    };
    put(0, true, (99, 0), 2, b"", true);
    put(100_000, false, (499, 100), 0x12, b"", true);
    put(200_000, true, (100, 500), ACK, b"", true);
    for number in 0..20u32 {
        let at = 1_000_000 + u64::from(number) * 1_000_000;
        put(at, true, (100 + number * 10, 500 + number * 5), PUSH, b"0123456789", true);
        put(at + 200_000, false, (500 + number * 5, 110 + number * 10), PUSH, b"abcde", true);
        put(at + 400_000, true, (110 + number * 10, 505 + number * 5), ACK, b"", true);
    }
    // One is lost, and is sent again.
    put(30_000_000, true, (300, 600), PUSH, b"lost", false);
    put(240_000_000, true, (300, 600), PUSH, b"lost", true);
    put(240_200_000, false, (600, 304), ACK, b"", true);
    fs::write(folder.path().join("client.pcap"), pcap_of(&client)).expect("written");
    fs::write(folder.path().join("server.pcap"), pcap_of(&server)).expect("written");

    let at = |name: &str| folder.path().join(name);
    let inputs = ["client.pcap", "server.pcap"];
    let output = run(folder.path(), &[&inputs[..], &["-w", "both.pcapng"]].concat(), Stdio::null());
    assert!(output.status.success(), "{}", said(&output));
    let again = "tcp.analysis.retransmission || tcp.analysis.out_of_order || tcp.analysis.duplicate_ack";
    let again = format!("{again} || tcp.analysis.spurious_retransmission || tcp.analysis.lost_segment");
    assert!(shown(&at("both.pcapng"), &again) > 20, "each packet twice looks like that");

    let arguments = [&inputs[..], &["--pair", "-o", "json", "-w", "pairs.pcapng"]].concat();
    let output = run(folder.path(), &arguments, Stdio::null());
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let rows: Vec<serde_json::Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [lost, merged] = rows.as_slice() else { panic!("{text}\n{rows:?}") };
    assert_eq!(
        (&lost["kind"], &lost["node"], &lost["not_on"][0]),
        (&"one_side".into(), &"client".into(), &"server".into())
    );
    assert!(lost["packet"].as_str().is_some_and(|line| line.contains("Flags [P.], seq 300:304")), "{lost}");
    assert_eq!(merged["paired"]["pairs"], server.len());
    let clock = &merged["paired"]["clocks"][0];
    assert_eq!((&clock["ahead_ns"], &clock["one_way_ns"]), (&2_000_000.into(), &30_000.into()), "{clock}");
    assert!(text.contains("the clock of client is 2.000 ms ahead of that of server, one way takes 30 us"), "{text}");
    // The one that was sent again is the only one.
    assert_eq!(shown(&at("pairs.pcapng"), "tcp"), server.len() + 1);
    assert_eq!(shown(&at("pairs.pcapng"), &again), 1);
    assert_eq!(shown(&at("pairs.pcapng"), "frame.comment == \"seen on client only\""), 1);
    assert_eq!(shown(&at("pairs.pcapng"), "frame.comment contains \", client +\""), server.len());
}

/// A sequence that is the same each time; the tests of bytes that nobody can foresee are in the crates.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn damaged_files_make_a_file_that_tshark_reads_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let seeds = [foreign(false, &[1, 2, 3]), foreign(true, &[1, 2, 3]), pcap(&[1, 2, 3])];
    let mut dice = Dice(13);
    for round in 0..15 {
        let inputs: Vec<PathBuf> = (0..20)
            .map(|number| {
                let mut bytes = seeds[dice.below(seeds.len())].clone();
                for _ in 0..=dice.below(3) {
                    let at = dice.below(bytes.len());
                    match dice.below(4) {
                        0 => bytes[at] = dice.below(256) as u8,
                        1 => bytes[at] ^= 1 << dice.below(8),
                        2 => bytes.truncate(at.max(4)),
                        _ => bytes[at] = [0, 1, 2, 4, 8, 0xFF][dice.below(6)],
                    }
                }
                let path = folder.path().join(format!("{number}"));
                fs::write(&path, bytes).expect("written");
                path
            })
            .collect();
        let out = folder.path().join("out");
        match merged(&inputs, &out) {
            Ok(done) => {
                let seen = try_count(&out).unwrap_or_else(|said| panic!("round {round}: {said}"));
                // Custom blocks are frames there too.
                assert!(seen as u64 >= done.packets, "round {round}: {seen} of {}", done.packets);
            }
            Err(error) => assert!(matches!(error, MergeError::Input { .. }), "round {round}: {error}"),
        }
    }
}
