//! `diagnose`, from outside: tshark's counts over public captures, whole and with packets lost, doubled and overtaken on
//! purpose; what it prints, and its exit codes.
//!
//! The public captures are looked for as in `tests/foreign.rs`; where they are not, those tests say so and are skipped.
//! Each file whose counts differ from tshark's is named here, and its kind in docs/diagnosis.md.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
};

use nodewatch_analysis::{Analysis, FATES, Limits, Seen, Symptom, decode::Link};
use nodewatch_testing::{
    eventually,
    here::{self, skip},
    namespaces::{Net, in_namespace, ip},
    program::{SOON, ended_soon, errors, kill, line_with, start},
};
use nodewatch_tui::captures::{diagnose::diagnose, merge::Merge};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// What is compared: a field of tshark, and a value of it where not any will do.
const FIELDS: [(&str, Option<&str>); 11] = [
    ("tcp.analysis.retransmission", None),
    ("tcp.analysis.fast_retransmission", None),
    ("tcp.analysis.spurious_retransmission", None),
    ("tcp.analysis.out_of_order", None),
    ("tcp.analysis.duplicate_ack", None),
    ("tcp.analysis.zero_window", None),
    ("tcp.analysis.keep_alive", None),
    ("tcp.flags.reset", Some("1")),
    ("dns.flags.response", Some("0")),
    ("dns.response_in", None),
    ("dns.flags.rcode", Some("3")),
];
/// Of these packets only those that differ from the others are told.
const QUESTIONS: usize = 8;
const ANSWERED: usize = 9;
const NO_NAME: usize = 10;

type Counts = [u64; FIELDS.len()];

fn by_tshark(file: &Path) -> Counts {
    let fields = FIELDS.iter().flat_map(|(field, _)| ["-e", field]);
    let mut command = Command::new("tshark");
    command.args(["-n", "-2", "-T", "fields", "-E", "separator=|", "-r"]).arg(file).args(fields);
    let output = command.stderr(Stdio::null()).output().expect("tshark");
    let mut counts = [0; FIELDS.len()];
    // Later versions say it in words.
    let text = String::from_utf8_lossy(&output.stdout).replace("True", "1").replace("False", "0");
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        for (at, (_, wanted)) in FIELDS.iter().enumerate() {
            let values = cells.get(at).copied().unwrap_or_default().split(',').filter(|value| !value.is_empty());
            let found = values.filter(|value| wanted.is_none_or(|wanted| *value == wanted)).count() as u64;
            // Of a segment in a segment's quotation one is enough; messages are counted each.
            counts[at] += if at < QUESTIONS { found.min(1) } else { found };
        }
        // Answers have codes, and so have questions: those say nothing.
        if cells.get(QUESTIONS).is_some_and(|said| *said == "0") {
            counts[NO_NAME] -= u64::from(cells[NO_NAME] == "3");
        }
    }
    counts[ANSWERED] = counts[QUESTIONS] - counts[ANSWERED].min(counts[QUESTIONS]);
    counts
}

/// How far connections have come, by what tshark says of each one's last segment.
fn fates_by_tshark(file: &Path) -> [u64; FATES.len()] {
    let mut command = Command::new("tshark");
    command.args(["-n", "-2", "-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness", "-r"]).arg(file);
    let output = command.stderr(Stdio::null()).output().expect("tshark");
    let mut last = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((Ok(stream), Ok(bits))) = line.split_once('\t').map(|(a, b)| (a.parse::<u32>(), b.parse::<u8>())) {
            last.insert(stream, bits);
        }
    }
    let mut counts = [0; FATES.len()];
    for bits in last.into_values() {
        let name = match bits {
            1 => "syn_sent",
            3 => "client_established",
            7 => "established",
            15 => "data",
            23 | 39 | 55 => "complete_no_data",
            31 | 47 | 63 => "complete_with_data",
            _ => "incomplete",
        };
        counts[FATES.iter().position(|fate| *fate == name).expect("one of them")] += 1;
    }
    counts
}

fn by_us(file: &Path) -> Counts {
    let totals = diagnose(vec![file.to_owned()]).map(|diagnosis| diagnosis.totals).unwrap_or_default();
    let of = |symptom| totals.of(symptom);
    [
        of(Symptom::Retransmission),
        of(Symptom::FastRetransmission),
        of(Symptom::SpuriousRetransmission),
        of(Symptom::OutOfOrder),
        of(Symptom::DuplicateAck),
        of(Symptom::ZeroWindow),
        of(Symptom::KeepAlive),
        of(Symptom::ResetFlag),
        totals.dns.questions,
        totals.dns.unanswered(),
        totals.dns.nxdomain,
    ]
}

fn captures_below(folder: &str) -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let all = std::env::var_os("NODEWATCH_CAPTURES").map_or(beside, PathBuf::from);
    let entries = fs::read_dir(all.join(folder)).ok()?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end != "md")).collect();
    files.sort();
    Some(files)
}

/// Files that differ, by how they begin, and why: as in docs/diagnosis.md.
const EXPLAINED: [(&str, &str); 14] = [
    ("tunnels_gtp", "not unpacked"),
    ("tunnels_gre-over-udp-4754", "not unpacked"),
    ("sflow_expanded", "not unpacked"),
    ("LINKTYPE_PKTAP", "link type"),
    ("LINKTYPE_USER2_PKTAP", "link type"),
    ("LINKTYPE_IPV6_invalid", "link type"),
    ("arcnet-", "link type"),
    ("bgp-aigp", "link type"),
    ("ipoib", "link type"),
    ("tunnels_gre-sample", "quoted questions"),
    ("tunnels_geneve-vxlan-dns-truncated", "cut"),
    ("dns_udp_8053", "port"),
    ("tunnels_tunnel-direct-bypass", "tunnel and none"),
    ("bigtcp", "long segments"),
];

/// The same of each file by both, two files at once.
fn both(files: &[PathBuf]) -> Vec<(PathBuf, Counts, Counts)> {
    let next = Mutex::new(files.iter());
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(file) = next.lock().expect("held").next() else { break };
                    let counts = (file.clone(), by_tshark(file), by_us(file));
                    found.lock().expect("held").push(counts);
                }
            });
        }
    });
    found.into_inner().expect("held")
}

/// Compares all of them; gives tshark's counts and ours.
fn compare(files: &[PathBuf]) -> (Counts, Counts) {
    let (mut theirs, mut ours) = ([0; FIELDS.len()], [0; FIELDS.len()]);
    let mut unexplained = Vec::new();
    for (file, expected, found) in both(files) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if expected != found && !EXPLAINED.iter().any(|(begin, _)| name.starts_with(begin)) {
            unexplained.push((name, expected, found));
        }
        for at in 0..FIELDS.len() {
            theirs[at] += expected[at];
            ours[at] += found[at];
        }
    }
    assert!(unexplained.is_empty(), "tshark's, then ours: {unexplained:#?}");
    for at in 0..QUESTIONS {
        let (theirs, ours) = (theirs[at], ours[at]);
        assert!(theirs.abs_diff(ours) * 100 <= theirs, "{}: {theirs} of tshark, {ours} of ours", FIELDS[at].0);
    }
    (theirs, ours)
}

#[test]
fn zeeks_captures_are_counted_as_by_tshark() {
    let Some(files) = captures_below("zeek") else { return skip("the public captures are not here") };
    let (theirs, _) = compare(&files);
    assert!(theirs[0] > 200 && theirs[4] > 1000, "{theirs:?}");
}

#[test]
fn tcpdumps_captures_are_counted_as_by_tshark() {
    let Some(mut files) = captures_below("tcpdump") else { return skip("the public captures are not here") };
    // Most of these are of other protocols, and tshark takes its time.
    files.retain(|file| {
        let totals = diagnose(vec![file.clone()]).map(|diagnosis| diagnosis.totals).unwrap_or_default();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        totals.segments + totals.dns.questions > 0 || EXPLAINED.iter().any(|(begin, _)| name.starts_with(begin))
    });
    let (theirs, ours) = compare(&files);
    assert!(theirs[0] > 10 && ours[QUESTIONS] > 40, "{theirs:?} {ours:?}");
}

/// A capture's header, and its packets' times in microseconds, lengths and bytes.
type Pcap = (Vec<u8>, Vec<(u64, u32, Vec<u8>)>);

fn read_pcap(path: &Path) -> Pcap {
    let bytes = fs::read(path).expect("there");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    assert_eq!(word(0), 0xA1B2_C3D4, "{}", path.display());
    let (mut packets, mut at) = (Vec::new(), 24);
    while at + 16 <= bytes.len() {
        let length = word(at + 8) as usize;
        let time = u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4));
        packets.push((time, word(at + 12), bytes[at + 16..at + 16 + length].to_vec()));
        at += 16 + length;
    }
    (bytes[..24].to_vec(), packets)
}

fn write_pcap(path: &Path, (header, packets): &Pcap) {
    let mut out = header.clone();
    for (time, wire, data) in packets {
        for number in [(time / 1_000_000) as u32, (time % 1_000_000) as u32, data.len() as u32, *wire] {
            out.extend(number.to_le_bytes());
        }
        out.extend(data);
    }
    fs::write(path, out).expect("written");
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Some packets are lost, some come twice, some late.
fn disturbed((header, packets): &Pcap, numbers: &mut Numbers) -> Pcap {
    let mut found = Vec::new();
    for (time, wire, data) in packets {
        let late = [100, 2_000, 5_000, 30_000, 300_000][numbers.below(5) as usize];
        match numbers.below(40) {
            0 => {}
            1 => found.extend([(*time, *wire, data.clone()), (time + late, *wire, data.clone())]),
            2 => found.push((time + late, *wire, data.clone())),
            _ => found.push((*time, *wire, data.clone())),
        }
    }
    found.sort_by_key(|(time, ..)| *time);
    (header.clone(), found)
}

#[test]
fn packets_that_are_lost_doubled_and_overtaken_are_counted_as_by_tshark() {
    let Some(files) = captures_below("zeek") else { return skip("the public captures are not here") };
    let folder = tempfile::tempdir().expect("a folder");
    let mut numbers = Numbers(17);
    let mut made = Vec::new();
    for name in ["tcp_ssh-dups.pcap", "tcp_timestamp.pcap", "tcp_reassembly.pcap", "tunnels_gre-sample.pcap"] {
        let file = files.iter().find(|file| file.ends_with(name)).expect("there");
        let whole = read_pcap(file);
        for round in 0..4 {
            let path = folder.path().join(format!("{round}-{name}"));
            write_pcap(&path, &disturbed(&whole, &mut numbers));
            made.push(path);
        }
    }
    let mut sum = 0;
    for (file, expected, found) in both(&made) {
        assert_eq!(found[..QUESTIONS], expected[..QUESTIONS], "{file:?}: ours, then tshark's");
        let fates = diagnose(vec![file.clone()]).expect("read").totals.fates;
        // The same connection inside and outside of tunnels is one to tshark.
        if !file.ends_with("tunnels_gre-sample.pcap") {
            assert_eq!(fates, fates_by_tshark(&file), "{file:?}: ours, then tshark's");
        }
        sum += found.iter().sum::<u64>();
    }
    assert!(sum > 1000, "{sum}");
}

/// Of what comes to the other side some is lost, and some waits behind a slow queue while the rest overtakes it.
const DISTURBING: &str = "table inet disturbing {
  chain out {
    type filter hook postrouting priority 0; policy accept;
    udp dport 9 meta priority set 1:3
    tcp flags & (syn|ack) == syn meta priority set 1:3
    tcp dport 5001 numgen inc mod 61 == 40 counter drop
    tcp dport 5001 numgen inc mod 29 == 20 counter meta priority set 1:2
    udp sport 53 numgen inc mod 5 == 1 counter drop
  }
}";

/// Runs in a namespace; what it reads is that text.
fn there(namespace: &str, program: &str, arguments: &[&str], input: &str) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ip");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    let output = child.wait_with_output().expect("waited for");
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// tcpdump on the other side, which listens.
fn tcpdump(net: &Net, file: &Path) -> Child {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &net.there, "tcpdump", "-Z", "root", "-i", "veth0", "-U", "--immediate-mode"]);
    // Room for all of it, however slowly tcpdump gets its turn.
    command.args(["-B", "65536", "-w"]);
    let mut child = start(command.arg(file));
    let mut said = errors(&mut child);
    line_with(&mut said, "listening on");
    // In the end it says how many there were.
    std::thread::spawn(move || said.for_each(drop));
    child
}

/// A transfer of some MiB, and questions of which some are not answered.
fn traffic(net: &Net) {
    const QUESTION: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x04name\0\0\x01\0\x01";
    let (listener, asker) = in_namespace(&net.there, || {
        let asker = UdpSocket::bind("10.66.0.2:40000").expect("bound");
        (TcpListener::bind("10.66.0.2:5001").expect("bound"), asker)
    });
    let server = in_namespace(&net.here, || UdpSocket::bind("10.66.0.1:53").expect("bound"));
    let mut sender = in_namespace(&net.here, || {
        // The beginning has to wait behind these: what is overtaken comes within a round trip then, which tshark goes by.
        let socket = UdpSocket::bind("10.66.0.1:0").expect("bound");
        (0..10).for_each(|_| assert_eq!(socket.send_to(&[0; 1400], "10.66.0.2:9").expect("sent"), 1400));
        TcpStream::connect("10.66.0.2:5001").expect("connected")
    });
    let (mut receiver, _) = listener.accept().expect("accepted");
    let reading = std::thread::spawn(move || std::io::copy(&mut receiver, &mut std::io::sink()).expect("read"));
    sender.write_all(&vec![7; 4 << 20]).expect("written");
    drop(sender);
    assert_eq!(reading.join().expect("no panic"), 4 << 20);
    for number in 0..20 {
        let mut message = QUESTION.to_vec();
        message[1] = number;
        asker.send_to(&message, "10.66.0.1:53").expect("sent");
        let (length, from) = server.recv_from(&mut message).expect("asked");
        message[2] = 0x81;
        // What nftables drops is told as an error.
        let _ = server.send_to(&message[..length], from);
    }
}

#[test]
fn real_traffic_of_which_some_is_lost_and_overtaken_is_counted_as_by_tshark() {
    if !here::possible(&["ip", "tc", "nft", "tcpdump", "tshark"]) {
        return;
    }
    let net = Net::new();
    let file = net.ring.path().join("there.pcap");
    // Segments as they are on a wire.
    ip(&["-n", &net.here, "link", "set", "veth0", "gso_max_segs", "1"]);
    ip(&["-n", &net.there, "link", "set", "veth0", "gso_max_segs", "1"]);
    let queues = "qdisc add dev veth0 root handle 1: htb default 1\n\
                  class add dev veth0 parent 1: classid 1:1 htb rate 1gbit\n\
                  class add dev veth0 parent 1: classid 1:2 htb rate 4mbit burst 1600 cburst 1600\n\
                  class add dev veth0 parent 1: classid 1:3 htb rate 200kbit burst 1600 cburst 1600\n";
    there(&net.here, "tc", &["-batch", "-"], queues);
    there(&net.here, "nft", &["-f", "-"], DISTURBING);
    let listening = tcpdump(&net, &file);
    traffic(&net);
    let last = b"the last packet";
    net.send("10.66.0.1:9", 1, last);
    eventually("the capture has the last packet", SOON, || {
        let bytes = fs::read(&file).unwrap_or_default();
        bytes.windows(last.len()).any(|window| window == last).then_some(()).ok_or(bytes.len())
    });
    kill(&listening, "INT");
    assert!(ended_soon(listening).status.success());

    let (theirs, ours) = (by_tshark(&file), by_us(&file));
    assert_eq!(ours, theirs, "ours, then tshark's");
    let [again, _, _, overtaken, duplicate_acks, ..] = ours;
    assert!(again + overtaken > 10 && duplicate_acks > 20, "{ours:?}");
    assert_eq!(ours[QUESTIONS..], [20, 4, 0], "questions, unanswered");
    let totals = diagnose(vec![file.clone()]).expect("read").totals;
    assert_eq!(totals.fates, fates_by_tshark(&file), "ours, then tshark's");
}

#[test]
fn whatever_becomes_of_captured_bytes_nothing_panics_and_nothing_grows() {
    let files = ["zeek", "tcpdump"].into_iter().filter_map(captures_below).flatten().collect::<Vec<_>>();
    if files.is_empty() {
        return skip("the public captures are not here");
    }
    let mut numbers = Numbers(4);
    let (mut packets, mut given) = (0, 0);
    for file in files {
        let limits = Limits { connections: 16, pairs: 16, questions: 16, seed: 3 };
        let mut analysis = Analysis::new(limits);
        let inputs = vec![file];
        let merge = Merge { inputs, window: 0..=u64::MAX, names: BTreeMap::new(), pair: None };
        let _ = merge.read(&mut |taken| {
            let link = Link::from_number(taken.link_type);
            let nanos = taken.time.unwrap_or(0);
            for round in 0..4 {
                let mut bytes = taken.bytes.to_vec();
                for _ in 0..round * 2 {
                    let length = bytes.len().min(120) as u64;
                    if length > 0 {
                        bytes[numbers.below(length) as usize] = numbers.below(256) as u8;
                    }
                }
                if round > 1 {
                    bytes.truncate(numbers.below(bytes.len() as u64 + 1) as usize);
                }
                let interface = taken.interface as u16;
                analysis.packet(&Seen { interface, link, nanos, wire_length: taken.wire_length, bytes: &bytes });
                packets += 1;
            }
        });
        let mut pairs = 0;
        analysis.end(|_, _| pairs += 1);
        // Those that are known, and those of connections whose pair is not.
        assert!(pairs <= 16 + 16, "{pairs}");
        given += pairs;
    }
    assert!(packets > 20_000 && given > 500, "{packets} {given}");
}

fn run(folder: &Path, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("diagnose").args(arguments).current_dir(folder).env("HOME", "/nonexistent").stdin(input);
    command.output().expect("the program starts")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A pcap of Ethernet in which 10.0.0.1 connects to 10.0.0.2, port 80, is answered, and sends its data twice.
fn small() -> Vec<u8> {
    small_at(1_700_000_000)
}

/// The same, begun at that second.
fn small_at(begun: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.extend(number.to_le_bytes());
    }
    let mut packet = |millis: u32, from: u8, flags: u8, seq: u32, ack: u32, length: usize| {
        let (to, ports) = (3 - from, if from == 1 { [40_000u16, 80] } else { [80, 40_000] });
        let mut bytes = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0];
        bytes.extend((40 + length as u16).to_be_bytes());
        bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
        bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([0x50, flags, 4, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + length, 7);
        for number in [begun + millis / 1000, millis % 1000 * 1000, bytes.len() as u32, bytes.len() as u32] {
            out.extend(number.to_le_bytes());
        }
        out.extend(bytes);
    };
    packet(0, 1, 2, 100, 0, 0);
    packet(1, 2, 0x12, 500, 101, 0);
    packet(2, 1, 0x10, 101, 501, 0);
    packet(3, 1, 0x18, 101, 501, 50);
    packet(400, 1, 0x18, 101, 501, 50);
    packet(401, 2, 0x10, 501, 151, 0);
    packet(5000, 2, 0x14, 501, 151, 0);
    out
}

#[test]
fn a_line_a_pair_and_the_summary_with_names_that_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("one.pcap"), small()).expect("written");
    let output = run(folder.path(), &["one.pcap", "-o", "json"], Stdio::null());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = lines(&output);
    let [pair, looked, summary] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&pair["kind"], &pair["source"], &pair["port"]), (&"pair".into(), &"10.0.0.1".into(), &80.into()));
    assert_eq!((&looked["kind"], &looked["attempts"], &looked["taps"]), (&"looked".into(), &1.into(), &1.into()));
    assert_eq!(pair["symptoms"]["retransmissions"]["there"], 1);
    assert_eq!(pair["symptoms"]["reset"]["back"], 1);
    assert_eq!((&pair["failed"], &pair["attempts"], &pair["answered"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(pair["fates"], serde_json::json!({"complete_with_data": 1}));
    assert_eq!(summary["fates"], pair["fates"]);
    let packet = pair["samples"][0]["packet"].as_str().expect("a line");
    assert!(packet.starts_with("IP 10.0.0.") && packet.contains("Flags"), "{packet}");
    assert_eq!(
        (&summary["kind"], &summary["packets"], &summary["connections"]),
        (&"summary".into(), &7.into(), &1.into())
    );
    let names = |of: &Value| of.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&summary["tcp"]),
        [
            "duplicate_acks",
            "fast_retransmissions",
            "keep_alives",
            "out_of_order",
            "resets",
            "retransmissions",
            "spurious_retransmissions",
            "zero_windows"
        ]
    );
    assert_eq!(names(&summary["dns"]), ["nxdomain", "questions", "servfail", "unanswered"]);
    assert_eq!((&summary["tcp"]["retransmissions"], &summary["tcp"]["resets"]), (&1.into(), &1.into()));
}

#[test]
fn it_reads_folders_standard_input_and_packed_files_and_keeps_captures_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("node-a.pcap"), folder.path().join("node-b.pcap.gz"));
    fs::write(&first, small()).expect("written");
    let mut packed = flate2::write::GzEncoder::new(File::create(&second).expect("made"), flate2::Compression::fast());
    packed.write_all(&small()).and_then(|()| packed.finish()).expect("written");
    let output = run(folder.path(), &[".", "-o", "json"], Stdio::null());
    let lines = lines(&output);
    let interfaces: Vec<&str> = lines.iter().filter_map(|line| line["interface"].as_str()).collect();
    assert_eq!(interfaces, ["node-a", "node-b"], "{lines:?}");
    let summary = lines.last().expect("one");
    assert_eq!((&summary["files"], &summary["connections"]), (&2.into(), &2.into()));
    // The same packets at two places were not sent again.
    assert_eq!(summary["tcp"]["retransmissions"], 2);

    let output = run(folder.path(), &["-"], File::open(&first).expect("there").into());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for part in ["connections", "retransmissions", "10.0.0.2:80/tcp", "reset 1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let names = run(folder.path(), &["node-a.pcap", "-o", "name"], Stdio::null());
    assert_eq!(String::from_utf8_lossy(&names.stdout), "10.0.0.1 10.0.0.2:80/tcp\n");
}

#[test]
fn files_that_differ_in_their_numbers_are_one_capture_where_one_has_ended_before_the_other_begins() {
    let interfaces = |files: &[(&str, u32)]| {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, begun) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, small_at(*begun)).expect("written");
        }
        let output = run(folder.path(), &[".", "-o", "json"], Stdio::null());
        let lines = lines(&output);
        let pairs = lines.iter().filter(|line| line["kind"] == "pair");
        let names: Vec<String> = pairs.filter_map(|line| line["interface"].as_str().map(str::to_owned)).collect();
        let looked = lines.iter().find(|line| line["kind"] == "looked").expect("one");
        (names, looked["nodes"].as_u64().expect("a number"))
    };
    let (names, nodes) = interfaces(&[("node1.pcap", 1_700_000_000), ("node2.pcap", 1_700_000_001)]);
    assert_eq!((names, nodes), (vec!["node1".into(), "node2".into()], 2));
    let (names, nodes) = interfaces(&[("dump_1.pcap", 1_700_000_000), ("dump_2.pcap", 1_700_000_006)]);
    assert_eq!((names, nodes), (vec!["dump_1".into()], 1));
    let (_, nodes) = interfaces(&[("a/eth0.pcap", 1_700_000_000), ("b/eth0.pcap", 1_700_000_009)]);
    assert_eq!(nodes, 2, "folders are not one after the other");
    // Each node's own, one after the other.
    let files = [("node1_1.pcap", 0), ("node2_1.pcap", 1), ("node2_2.pcap", 7), ("node1_2.pcap", 8)];
    let (names, nodes) = interfaces(&files.map(|(name, after)| (name, 1_700_000_000 + after)));
    assert_eq!((names, nodes), (vec!["node1_1".into(), "node2_1".into()], 2));
    let (_, nodes) = interfaces(&[
        ("ip-10-0-1-2.ec2.internal.pod.pcap", 1_700_000_000),
        ("ip-10-0-1-2.ec2.internal.eth0.pcap", 1_700_000_000),
    ]);
    assert_eq!(nodes, 1, "two interfaces of one node, whose name has dots");
    for (files, expected) in [
        (["eth0.pcap", "pod.pcap", "vethab12.pcap"], 1),
        (["eth0.pcap", "pod-1.pcap", "pod-2.pcap"], 3),
        (["case-7-a-eth0.pcap", "case-7-a-eni0.pcap", "case-7-b-eth0.pcap"], 2),
        (["a/eth0.pcap", "a/pod.pcap", "b/eth0.pcap"], 2),
        (["a/pod.pcap", "b/vethab12.pcap", "b/eth0.pcap"], 2),
        (["client.pcap", "server.pcap", "between.pcap"], 3),
    ] {
        let (_, nodes) = interfaces(&files.map(|name| (name, 1_700_000_000)));
        assert_eq!(nodes, expected, "{files:?}");
    }
}

#[test]
fn exit_codes_say_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("one.pcap"), small()).expect("written");
    fs::write(folder.path().join("torn.pcap"), &small()[..300]).expect("written");
    fs::write(folder.path().join("text"), "no capture at all").expect("written");
    let code = |arguments: &[&str]| run(folder.path(), arguments, Stdio::null()).status.code();
    assert_eq!(code(&["one.pcap"]), Some(0));
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["nowhere.pcap"]), Some(2));
    assert_eq!(code(&["text"]), Some(2));
    let nothing = run(folder.path(), &["/dev/null"], Stdio::null());
    let told = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(nothing.status.code() == Some(2) && !told.contains("merge"), "{told}");
    assert!(told.contains("nothing was diagnosed: cannot read \"/dev/null\""), "{told}");
    assert_eq!(code(&["one.pcap", "text"]), Some(3));
    let torn = run(folder.path(), &["torn.pcap", "-o", "json"], Stdio::null());
    assert_eq!(torn.status.code(), Some(3));
    assert_eq!(lines(&torn).last().expect("one")["packets"], 3, "{torn:?}");
    assert!(String::from_utf8_lossy(&torn.stderr).contains("torn.pcap"), "{torn:?}");
}

/// So often is a connection's worth written, of half a kilobyte.
const COUNT: u32 = 400;

/// As `tcpdump -w - | diagnose -` is ended.
#[test]
fn what_was_read_of_an_input_that_does_not_end_is_told_when_it_is_interrupted() {
    let mut command = Command::new(PROGRAM);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("text"), "no capture").expect("written");
    command.args(["diagnose", "text", "-", "-o", "json"]).env("HOME", "/nonexistent").stdin(Stdio::piped());
    let mut child = command
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("standard input");
    // More than a pipe holds, and little for whoever reads: what comes first has been read when all is written.
    input.write_all(&small()[..24]).expect("written");
    (0..COUNT).for_each(|number| input.write_all(&small_at(1_700_000_000 + 6 * number)[24..]).expect("written"));
    kill(&child, "INT");
    let output = ended_soon(child);
    drop(input);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let told = lines(&output);
    let packets = told.last().and_then(|summary| summary["packets"].as_u64());
    assert!(packets >= Some(200), "{packets:?}");
    assert_eq!(told.last().expect("one")["files"], 1, "of which packets have come");
    assert!(told.iter().any(|record| record["kind"] == "looked"), "what was looked at");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted") && said.contains("warning: text: "), "{said}");
}

#[test]
fn a_file_whose_times_go_back_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, later) = (small(), small_at(1_700_000_060));
    fs::write(folder.path().join("shuffled.pcap"), [&later[..], &first[24..]].concat()).expect("written");
    let output = run(folder.path(), &["shuffled.pcap"], Stdio::null());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("1 packet earlier than the one before"), "{told}");
    let refused = run(folder.path(), &["shuffled.pcap", "--local"], Stdio::null());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
