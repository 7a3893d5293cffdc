//! Namespaces, an agent and tcpdump as child processes, and what they cost. Shared by the benches.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

pub const PACKETS: u64 = 1_500_000;
/// After a flood, whatever it went to has taken and written it within this: the agent does so once a second.
const SETTLED: Duration = Duration::from_millis(1300);

/// Two namespaces joined by a veth pair, gone when dropped.
pub struct Namespaces {
    pub here: String,
    pub there: String,
}

impl Namespaces {
    pub fn make() -> Self {
        let id = std::process::id();
        let names = Self { here: format!("nwb{id}a"), there: format!("nwb{id}b") };
        let (a, b) = (names.here.as_str(), names.there.as_str());
        ip(&["netns", "add", a]);
        ip(&["netns", "add", b]);
        ip(&["-n", a, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", b]);
        for (name, address) in [(a, "10.77.0.1/24"), (b, "10.77.0.2/24")] {
            ip(&["-n", name, "addr", "add", address, "dev", "veth0"]);
            ip(&["-n", name, "link", "set", "veth0", "up"]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        // Another machine's address: the receiving side captures the packets and has no other work with them.
        ip(&["-n", a, "neigh", "add", "10.77.0.9", "lladdr", "02:00:00:00:00:09", "dev", "veth0"]);
        names
    }

    pub fn run(&self, program: &Path, arguments: &[&str]) -> Command {
        Self::command(&self.here, program, arguments)
    }

    pub fn run_there(&self, program: &Path, arguments: &[&str]) -> Command {
        Self::command(&self.there, program, arguments)
    }

    pub fn command(name: &str, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{name}")).arg(program).args(arguments);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.here]);
        ip(&["netns", "del", &self.there]);
    }
}

pub fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().expect("ip").success(), "ip {arguments:?}");
}

/// The program that was built beside this one.
pub fn agent_program() -> PathBuf {
    let folders = std::env::current_exe().unwrap();
    folders.ancestors().nth(2).unwrap().join("nodewatch-agent")
}

/// An agent as a child process with its protocol on standard input and output.
pub struct Agent {
    pub child: Child,
    pub input: ChildStdin,
    pub lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    pub ring: tempfile::TempDir,
}

impl Agent {
    pub fn start(command: Command) -> Self {
        Self::with_files(command, Path::new("/nowhere"))
    }

    /// With the capture files of that folder in its ring.
    pub fn with_files(mut command: Command, files: &Path) -> Self {
        let ring = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(files).into_iter().flatten().map(Result::unwrap) {
            std::fs::copy(file.path(), ring.path().join(file.file_name())).unwrap();
        }
        let mut child =
            command.arg("--ring").arg(ring.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut agent = Self { child, input, lines, ring };
        agent.say(&format!(
            r#"{{"hello":{{"protocol":{},"program":"bench","version":"0"}}}}"#,
            nodewatch_protocol::VERSION
        ));
        agent
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next line that holds this text.
    pub fn line_with(&mut self, text: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(text)).expect("the agent goes on")
    }

    /// Waits until lines with all of these texts have come, in whatever order.
    pub fn lines_with(&mut self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let line = self.lines.next().expect("the agent goes on").unwrap();
            missing.retain(|text| !line.contains(text));
        }
    }

    /// Ends it and returns its CPU time and its capture's size.
    pub fn end(mut self) -> (Duration, u64) {
        drop(self.input);
        let cpu = cpu_time(&mut self.child);
        let size =
            std::fs::read_dir(self.ring.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        (cpu, size)
    }
}

/// Waits for a child and returns the CPU time that it alone has taken.
pub fn cpu_time(child: &mut Child) -> Duration {
    let before = children_cpu();
    child.wait().unwrap();
    children_cpu().saturating_sub(before)
}

pub fn children_cpu() -> Duration {
    // cutime and cstime.
    ticks("self", [13, 14])
}

/// Two columns of a process's times, which are in ticks of a hundredth of a second.
fn ticks(process: &str, columns: [usize; 2]) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = columns.iter().map(|&column| fields[column].parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The CPU time of a process that goes on, from a moment on: of all of its threads, in user and kernel mode. What it
/// has taken to start is not in it.
pub struct Busy {
    process: String,
    threads: HashMap<String, u64>,
    ticks: Duration,
}

impl Busy {
    pub fn from_now(process: u32) -> Self {
        let process = process.to_string();
        Self { threads: Self::threads(&process), ticks: ticks(&process, [11, 12]), process }
    }

    /// Until now.
    pub fn time(&self) -> Duration {
        let threads = Self::threads(&self.process);
        let of = |(thread, nanos): (&String, &u64)| nanos - self.threads.get(thread).unwrap_or(&0);
        let time = Duration::from_nanos(threads.iter().map(of).sum());
        // Ticks are coarse, but have what threads took that have ended meanwhile.
        let with_ended = ticks(&self.process, [11, 12]).saturating_sub(self.ticks);
        assert!(time + Duration::from_millis(25) > with_ended, "{time:?} of {with_ended:?}: threads have ended");
        time
    }

    /// Nanoseconds of each thread.
    fn threads(process: &str) -> HashMap<String, u64> {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(Result::unwrap);
        let nanos = |thread: &std::fs::DirEntry| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        threads.filter_map(|one| Some((one.file_name().into_string().ok()?, nanos(&one)?))).collect()
    }
}

/// What a flood is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// The smallest packets that Ethernet has.
    Small,
    /// Seven small, four medium, one large: the "Internet mix" of RFC 6985.
    Mixed,
}

/// UDP packets as fast as one core sends them.
pub fn flood(to: SocketAddr, count: u64, mixed: bool) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(to).unwrap();
    let data = [7; 1454];
    for number in 0..count {
        let size = match number % 12 {
            0..7 => 18,
            _ if !mixed => 18,
            7..11 => 530,
            _ => 1454,
        };
        // A full queue is part of a flood.
        let _ = socket.send(&data[..size]);
    }
}

pub struct Outcome {
    pub packets: u64,
    /// Or not analysed, where they are to be.
    pub dropped: u64,
    /// From when it was ready until it had written all packets.
    pub cpu: Duration,
}

impl Outcome {
    pub fn nanos_a_packet(&self) -> u64 {
        self.cpu.as_nanos() as u64 / self.packets.max(1)
    }
}

pub fn send(names: &Namespaces, traffic: Traffic) {
    let count = PACKETS.to_string();
    let kind = if traffic == Traffic::Mixed { "mixed" } else { "small" };
    let sent = names.run(&std::env::current_exe().unwrap(), &["flood", "10.77.0.9:9", &count, kind]).status().unwrap();
    assert!(sent.success());
}

/// One capture of a flood. `sink` is a request for where to deliver, and makes files small enough to be delivered
/// meanwhile.
pub fn agent_round(names: &Namespaces, traffic: Traffic, content: &str, sink: Option<&str>) -> Outcome {
    capture_round(names, traffic, content, sink, false)
}

/// The same of all packets, which are watched meanwhile.
pub fn watched_capture_round(names: &Namespaces, traffic: Traffic) -> Outcome {
    capture_round(names, traffic, "full", None, true)
}

fn capture_round(names: &Namespaces, traffic: Traffic, content: &str, sink: Option<&str>, watched: bool) -> Outcome {
    let mut agent = Agent::start(names.run_there(&agent_program(), &["serve", "--stdio"]));
    if watched {
        agent.say(r#"{"request":{"id":9,"request":{"watch":{"interfaces":["veth0"]}}}}"#);
        agent.line_with("\"watch\":{\"on\"");
    }
    let filter = if watched { "" } else { "udp and port 9" };
    if let Some(sink) = sink {
        agent.say(sink);
    }
    let rotate = if sink.is_some() { 16 * 1024 * 1024 } else { 1024 * 1024 * 1024 };
    agent.say(&format!(
        r#"{{"request":{{"id":1,"request":{{"start_capture":{{"interfaces":["veth0"],"filter":"{filter}","snaplen":262144,"rotate_bytes":{rotate},"rotate_seconds":3600,"ring_bytes":1073741824,"content":"{content}"}}}}}}}}"#
    ));
    agent.line_with("\"running\"");
    if watched {
        agent.line_with("\"captured\":true");
    }
    let (busy, before) = (Busy::from_now(agent.child.id()), ticks(&agent.child.id().to_string(), [11, 12]));
    send(names, traffic);
    std::thread::sleep(SETTLED);
    let until_written = busy.time();
    agent.say(r#"{"request":{"id":2,"request":"stop_capture"}}"#);
    let mut statistics = String::new();
    let mut skipped = 0;
    loop {
        let line = agent.lines.next().unwrap().unwrap();
        if line.contains("\"statistics\"") {
            statistics = line;
        } else if line.contains("\"symptoms\"") {
            skipped += not_analysed(&line);
        } else if line.contains("\"stopped\"") {
            break;
        }
    }
    let (whole, size) = agent.end();
    // What is delivered is delivered until its end.
    let cpu = if sink.is_some() { whole.saturating_sub(before) } else { until_written };
    let counts: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    let counts = &counts["update"]["statistics"];
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert!(size > number(&counts["packets"]) * 60, "the packets are in the file");
    let dropped = number(&counts["dropped"]["kernel"]) + number(&counts["dropped"]["queue"]) + skipped;
    Outcome { packets: number(&counts["packets"]), dropped, cpu }
}

/// Watches a flood; what was not analysed counts as dropped.
pub fn watch_round(names: &Namespaces, traffic: Traffic) -> Outcome {
    let mut agent = watching(names);
    let busy = Busy::from_now(agent.child.id());
    send(names, traffic);
    std::thread::sleep(SETTLED);
    let cpu = busy.time();
    let (packets, dropped) = agent.end_watching();
    agent.end();
    Outcome { packets, dropped, cpu }
}

/// An agent that watches what the flood goes to.
pub fn watching(names: &Namespaces) -> Agent {
    let mut agent = Agent::start(names.run_there(&agent_program(), &["serve", "--stdio"]));
    agent.say(r#"{"request":{"id":1,"request":{"watch":{"interfaces":["veth0"],"filter":"port 9"}}}}"#);
    agent.line_with("\"watch\":{\"on\"");
    agent
}

impl Agent {
    /// Ends what is watched; how many packets came, and how many of them were not analysed or had no room.
    pub fn end_watching(&mut self) -> (u64, u64) {
        self.say(r#"{"request":{"id":2,"request":{"watch":null}}}"#);
        let (mut packets, mut dropped) = (0, 0);
        loop {
            let line = self.lines.next().unwrap().unwrap();
            if line.contains("\"watch\":\"off\"") {
                return (packets, dropped);
            }
            packets += told_of(&line, "packets");
            dropped += told_of(&line, "dropped") + not_analysed(&line);
        }
    }

    /// A line of its status, such as `VmHWM`, in kB.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|one| one.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// A count of all interfaces that a line about symptoms tells of.
fn told_of(line: &str, count: &str) -> u64 {
    let told: serde_json::Value = serde_json::from_str(line).unwrap();
    let interfaces = told["update"]["symptoms"]["interfaces"].as_array();
    interfaces.into_iter().flatten().map(|interface| interface[count].as_u64().unwrap_or(0)).sum()
}

/// Packets that came and were not analysed, as too many waited.
fn not_analysed(line: &str) -> u64 {
    told_of(line, "skipped")
}

pub fn tcpdump_round(names: &Namespaces, traffic: Traffic) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    tcpdump_into(names, traffic, folder.path().join("out.pcap").to_str().unwrap())
}

/// What tcpdump takes, into that file.
pub fn tcpdump_into(names: &Namespaces, traffic: Traffic, file: &str) -> Outcome {
    let arguments = ["-i", "veth0", "-n", "-Z", "root", "-w", file, "udp and port 9"];
    let mut child = names.run_there(Path::new("tcpdump"), &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    said.by_ref().map(Result::unwrap).find(|line| line.contains("listening on")).unwrap();
    let busy = Busy::from_now(child.id());
    send(names, traffic);
    std::thread::sleep(SETTLED);
    let cpu = busy.time();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    child.wait().unwrap();
    let number = |what: &str| -> u64 {
        let line = rest.iter().find(|line| line.contains(what)).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    Outcome { packets: number("packets captured"), dropped: number("dropped by kernel"), cpu }
}
