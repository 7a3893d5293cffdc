//! Captures on their way, beside the tools that a user would pick instead, in one run, as ratios: `aws s3 cp` for
//! delivery, `mergecap` for merging, `tshark -z expert` for diagnosing, and `tcpdump -w` for a capture that delivers while it
//! runs.
//!
//! Needs root, Garage (`make deps`), `aws`, `mergecap`, `tshark` and `tcpdump`. Run by `make bench`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a program for people")]

#[path = "../tests/s3/storage.rs"]
mod storage;
#[path = "../agent/benches/support/mod.rs"]
mod support;

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_pcapng::{InterfaceBlock, SectionBlock, enhanced_packet, interface_description, section_header};
use nodewatch_protocol::{Request, Sink, ToAgent, encode};
use nodewatch_testing::bucket::Garage;
use nodewatch_tui::model::SessionId;
use storage::storage;
use support::{
    Agent, Namespaces, Outcome, Traffic, agent_program, agent_round, children_cpu, cpu_time, flood, tcpdump_round,
};

const FILES: usize = 8;
const FILE: usize = 64 * 1024 * 1024;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let ["flood", to, count, kind] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return flood(to.parse().unwrap(), count.parse().unwrap(), kind == "mixed");
    }
    deliver();
    merge();
    diagnose();
    let names = Namespaces::make();
    capture(&names, Traffic::Mixed, "mixed packets, RFC 6985");
    capture(&names, Traffic::Small, "small packets alone");
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

fn millis(times: &[(Duration, Duration)], of: impl Fn(&(Duration, Duration)) -> Duration) -> u64 {
    median(times.iter().map(|time| of(time).as_millis() as u64).collect())
}

/// The request that tells an agent to deliver there, as a line.
fn sink(endpoint: &str, node: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sink = runtime.block_on(async {
        let storage = storage(endpoint).await;
        storage.sink(&SessionId::new(1), &node.into()).await.unwrap().0
    });
    let Sink::Grant(_) = &sink else { panic!("a grant") };
    let line = encode(&ToAgent::Request { id: 99, request: Request::Sink(sink) }).unwrap();
    String::from_utf8(line).unwrap().trim().to_owned()
}

// ---------------------------------------------------------------------------------------------------- delivery

fn pcapng(folder: &Path, name: &str, size: usize, first: u64, step: u64) {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(folder.join(name)).unwrap());
    let mut bytes = Vec::new();
    section_header(&mut bytes, &SectionBlock { hardware: name, application: "nodewatch-agent bench", comments: &[] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 262_144, filter: None, description: "" };
    interface_description(&mut bytes, &interface);
    let data: Vec<u8> = (0..1500u32).map(|byte| ((byte * 2_654_435_761) >> 13) as u8).collect();
    let (mut written, mut nanos) = (0, first);
    while written + bytes.len() < size {
        // Sizes as traffic has them: acknowledgements and full segments.
        let length = if (nanos / step).is_multiple_of(3) { 1500 } else { 66 };
        enhanced_packet(&mut bytes, 0, nanos, length as u32, [&data[..length]], &[]);
        nanos += step;
        if bytes.len() > 1 << 20 {
            out.write_all(&bytes).unwrap();
            written += bytes.len();
            bytes.clear();
        }
    }
    out.write_all(&bytes).unwrap();
}

fn deliver() {
    let Some(garage) = Garage::start() else { return };
    let files = tempfile::tempdir().unwrap();
    for number in 0..FILES {
        pcapng(files.path(), &format!("{number}.pcapng"), FILE, number as u64 * 1_000_000_000_000, 1000);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(deliver_ours(&garage, files.path(), round));
        theirs.push(deliver_theirs(&garage, files.path(), round));
    }
    let (ours_wall, theirs_wall) = (millis(&ours, |time| time.0), millis(&theirs, |time| time.0));
    let (ours_cpu, theirs_cpu) = (millis(&ours, |time| time.1), millis(&theirs, |time| time.1));
    let rate = |wall: u64| (FILES * FILE / 1024 / 1024) as u64 * 1000 / wall;
    println!(
        "deliver   agent   {FILES} files of 64 MiB: {} MiB/s, {ours_cpu} ms of CPU\n          aws s3 cp {} MiB/s, \
         {theirs_cpu} ms of CPU; throughput ratio {:.2} (goal 1.00), CPU ratio {:.2} (goal 1.00)",
        rate(ours_wall),
        rate(theirs_wall),
        theirs_wall as f64 / ours_wall as f64,
        ours_cpu as f64 / theirs_cpu as f64
    );
}

fn deliver_ours(garage: &Garage, files: &Path, round: usize) -> (Duration, Duration) {
    let line = sink(&garage.endpoint(), &format!("ours-{round}"));
    let mut command = Command::new(agent_program());
    command.args(["serve", "--stdio"]);
    // Files that an agent before this one has left: found, and closed, before anything is measured.
    let mut agent = Agent::with_files(command, files);
    agent.lines_with(&["\"ports\"", "\"ring\""]);
    let begin = Instant::now();
    agent.say(&line);
    agent.line_with("\"queued\":{\"files\":0,");
    let wall = begin.elapsed();
    (wall, agent.end().0)
}

fn deliver_theirs(garage: &Garage, files: &Path, round: usize) -> (Duration, Duration) {
    let begin = Instant::now();
    let mut child = Command::new("aws")
        .args(["s3", "cp", "--recursive", "--quiet", "--exclude", "*", "--include", "*.pcapng"])
        .arg(files)
        .arg(format!("s3://captures/theirs-{round}/"))
        .envs(Garage::environment(&garage.endpoint()))
        .spawn()
        .expect("the AWS command line");
    let cpu = cpu_time(&mut child);
    (begin.elapsed(), cpu)
}

// ---------------------------------------------------------------------------------------------------- merging

fn merge() {
    const INPUTS: u64 = 4;
    let folder = tempfile::tempdir().unwrap();
    let inputs: Vec<String> = (0..INPUTS)
        .map(|number| {
            let name = format!("{number}.pcapng");
            // Packets of all files alternate.
            pcapng(folder.path(), &name, 250_000_000, 1_700_000_000_000_000_000 + number * 250, 1000);
            folder.path().join(name).display().to_string()
        })
        .collect();
    let out = folder.path().join("out");
    let program = agent_program().with_file_name("nodewatch-tui");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (program, results) in [(program.as_path(), &mut ours), (Path::new("mergecap"), &mut theirs)] {
            let mut command = Command::new(program);
            if program.ends_with("nodewatch-tui") {
                command.arg("merge");
            }
            command.arg("-w").arg(&out).args(&inputs);
            results.push(measured(command));
            std::fs::remove_file(&out).unwrap();
        }
    }
    println!(
        "merge     ours    4 files of 250 MB: {}\n          mergecap {}; ratio {} (goal 1.00)",
        told(&ours, " (goal 64)"),
        told(&theirs, ""),
        ratios(&ours, &theirs)
    );
}

// ---------------------------------------------------------------------------------------------------- diagnosing

const SYN: u8 = 2;
const PUSH: u8 = 8;
const ACK: u8 = 16;
const FIN: u8 = 1;

/// An Ethernet frame with IPv4 in it, between a client of that number and a server.
fn frame(protocol: u8, client: u32, back: bool, transport: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = client.to_be_bytes();
    let (client, server) = ([10, a, b, c], [172, 16, 0, 1 + c % 16]);
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend((20 + transport.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(if back { [server, client] } else { [client, server] }.concat());
    bytes.extend(transport);
    bytes
}

fn segment(client: u32, back: bool, flags: u8, (sequence, acknowledged): (u32, u32), length: usize) -> Vec<u8> {
    let port = 10_000 + (client % 50_000) as u16;
    let mut bytes = if back { [443, port] } else { [port, 443] }.map(u16::to_be_bytes).concat();
    bytes.extend([sequence, acknowledged].map(u32::to_be_bytes).concat());
    bytes.extend([0x80, flags, 0xFF, 0, 0, 0, 0, 0, 1, 1, 8, 10]);
    bytes.extend([sequence, acknowledged].map(u32::to_be_bytes).concat());
    bytes.resize(bytes.len() + length, 7);
    frame(6, client, back, &bytes)
}

fn datagram(client: u32, back: bool, port: u16, payload: &[u8]) -> Vec<u8> {
    let ports = if back { [port, 40_000] } else { [40_000, port] };
    let mut bytes = ports.map(u16::to_be_bytes).concat();
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    frame(17, client, back, &bytes)
}

/// What a client does, in order: it asks for a name, connects, asks, is answered in full segments of which one comes twice in
/// every eighth connection, and one ends it.
fn conversation(client: u32) -> Vec<Vec<u8>> {
    let mut name = vec![client as u8, (client >> 8) as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    name.extend(b"\x07service\x07default\x03svc\0\0\x01\0\x01");
    let mut answer = name.clone();
    answer[2] = 0x81;
    let mut packets = vec![datagram(client, false, 53, &name), datagram(client, true, 53, &answer)];
    packets.extend([
        segment(client, false, SYN, (100, 0), 0),
        segment(client, true, SYN | ACK, (900, 101), 0),
        segment(client, false, ACK, (101, 901), 0),
        segment(client, false, PUSH | ACK, (101, 901), 300),
    ]);
    for number in 0..8 {
        let sequence = 901 + number * 1448;
        packets.push(segment(client, true, ACK, (sequence, 401), 1448));
        if number == 3 && client.is_multiple_of(8) {
            packets.push(segment(client, true, ACK, (sequence, 401), 1448));
        }
        packets.push(segment(client, false, ACK, (401, sequence + 1448), 0));
    }
    packets.push(segment(client, true, FIN | ACK, (12_485, 401), 0));
    packets.push(segment(client, false, FIN | ACK, (401, 12_486), 0));
    packets.extend((0..4).map(|_| datagram(client, false, 4433, &[9; 700])));
    packets
}

/// Conversations, many at once, until the file is so large.
fn conversations(path: &Path, size: usize) {
    const AT_ONCE: u32 = 200;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    let mut bytes = Vec::new();
    section_header(&mut bytes, &SectionBlock { hardware: "node-1", application: "bench", comments: &[] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 262_144, filter: None, description: "" };
    interface_description(&mut bytes, &interface);
    let (mut written, mut nanos, mut first) = (0, 1_700_000_000_000_000_000, 0);
    while written < size {
        let all: Vec<Vec<Vec<u8>>> = (first..first + AT_ONCE).map(conversation).collect();
        first += AT_ONCE;
        for step in 0..all.iter().map(Vec::len).max().unwrap_or(0) {
            for packet in all.iter().filter_map(|packets| packets.get(step)) {
                enhanced_packet(&mut bytes, 0, nanos, packet.len() as u32, [&packet[..]], &[]);
                nanos += 20_000;
            }
        }
        out.write_all(&bytes).unwrap();
        written += bytes.len();
        bytes.clear();
    }
    out.flush().unwrap();
}

fn diagnose() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mixed.pcapng");
    conversations(&file, 1_000_000_000);
    let run = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&file);
        measured(command)
    };
    let program = agent_program().with_file_name("nodewatch-tui");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // Of each kind the ones right after the others: this machine is not as fast at all times.
    for _ in 0..ROUNDS {
        ours.push(run(&program, &["diagnose"]));
        theirs.push(run(Path::new("tshark"), &["-n", "-q", "-z", "expert", "-r"]));
    }
    let times = |of: fn(&Run) -> Duration| millis_of(&theirs, of) as f64 / millis_of(&ours, of) as f64;
    println!(
        "diagnose  ours    1 GB of connections and questions: {}\n          tshark  {}; {:.1} times as long, {:.1} times the \
         CPU (goal 10)",
        told(&ours, " (goal 128)"),
        told(&theirs, ""),
        times(|run| run.wall),
        times(|run| run.cpu)
    );
}

/// What a program has taken.
struct Run {
    wall: Duration,
    cpu: Duration,
    /// At most, in KiB.
    memory: u64,
}

fn millis_of(runs: &[Run], of: impl Fn(&Run) -> Duration) -> u64 {
    median(runs.iter().map(|run| of(run).as_millis() as u64).collect())
}

fn told(runs: &[Run], goal: &str) -> String {
    let memory = runs.iter().map(|run| run.memory).max().unwrap_or(0) / 1024;
    let (wall, cpu) = (millis_of(runs, |run| run.wall), millis_of(runs, |run| run.cpu));
    format!("{wall} ms, {cpu} ms of CPU, {memory} MB at most{goal}")
}

fn ratios(ours: &[Run], theirs: &[Run]) -> String {
    let ratio = |of: fn(&Run) -> Duration| millis_of(ours, of) as f64 / millis_of(theirs, of) as f64;
    format!("{:.2}, of CPU {:.2}", ratio(|run| run.wall), ratio(|run| run.cpu))
}

fn measured(mut command: Command) -> Run {
    let (begin, before) = (Instant::now(), children_cpu());
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut highest = 0;
    loop {
        if let Some(done) = child.try_wait().unwrap() {
            assert!(done.success(), "{command:?}");
            let (wall, cpu) = (begin.elapsed(), children_cpu().saturating_sub(before));
            return Run { wall, cpu, memory: highest };
        }
        let peak = std::fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        highest = highest.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
}

// ---------------------------------------------------------------------------------------------------- capture

/// Ring, content headers and upload on, against a capture that only writes. The server is in the node's own namespace.
fn capture(names: &Namespaces, traffic: Traffic, what: &str) {
    let address: SocketAddr = "127.0.0.1:39000".parse().unwrap();
    let Some(garage) = Garage::with(address, |program| names.run_there(program, &[])) else { return };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let line = sink(&garage.endpoint(), &format!("capture-{round}"));
        ours.push(agent_round(names, traffic, "headers", Some(&line)));
        theirs.push(tcpdump_round(names, traffic));
    }
    let cost = |rounds: &[Outcome]| median(rounds.iter().map(Outcome::nanos_a_packet).collect());
    let dropped = |rounds: &[Outcome]| rounds.iter().map(|round| round.dropped).sum::<u64>();
    println!(
        "capture   agent   {what}, with headers, ring and upload: {} ns a packet, {} dropped\n          tcpdump {} ns a packet, {} \
         dropped; ratio {:.2} (goal 1.00)",
        cost(&ours),
        dropped(&ours),
        cost(&theirs),
        dropped(&theirs),
        cost(&ours) as f64 / cost(&theirs) as f64
    );
}
