//! The agent beside the tools that a user would pick instead, in one run, as ratios: `ss` for a scan of the sockets,
//! `tcpdump -w` for a capture. And what an idle agent costs.
//!
//! Needs root, `ss`, `tcpdump` and network namespaces of its own, which it removes. Run by `make bench`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a program for people")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_agent::sockets::Scanner;

const LISTENERS: usize = 1_000;
const CONNECTIONS: usize = 100_000;
const HOLDERS: usize = 10;
const PACKETS: u64 = 1_500_000;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["flood", to, count] => flood(to.parse().unwrap(), count.parse().unwrap()),
        ["hold", pairs] => hold(pairs.parse().unwrap()),
        ["sockets"] => sockets(),
        _ => {
            let names = Namespaces::make();
            idle();
            names.run(&std::env::current_exe().unwrap(), &["sockets"]).status().unwrap();
            capture(&names);
        }
    }
}

/// Two namespaces joined by a veth pair, gone when dropped.
struct Namespaces {
    here: String,
    there: String,
}

impl Namespaces {
    fn make() -> Self {
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

    fn run(&self, program: &Path, arguments: &[&str]) -> Command {
        Self::command(&self.here, program, arguments)
    }

    fn run_there(&self, program: &Path, arguments: &[&str]) -> Command {
        Self::command(&self.there, program, arguments)
    }

    fn command(name: &str, program: &Path, arguments: &[&str]) -> Command {
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

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().expect("ip").success(), "ip {arguments:?}");
}

fn agent_program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_nodewatch-agent"))
}

// ---------------------------------------------------------------------------------------------------- sockets

/// Established connections cost nothing, as only listeners leave the kernel.
fn sockets() {
    let listeners: Vec<TcpListener> = (0..LISTENERS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    // Each pair is two established sockets; a process may hold only so many files.
    let share = CONNECTIONS / 2 / HOLDERS;
    let mut holders: Vec<Child> = (0..HOLDERS)
        .map(|_| {
            let program = std::env::current_exe().unwrap();
            let mut holder = Command::new(program);
            holder.args(["hold", &share.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut holder = holder.spawn().unwrap();
            BufReader::new(holder.stdout.take().unwrap()).lines().next().unwrap().unwrap();
            holder
        })
        .collect();
    let mut scanner = Scanner::open().unwrap();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        let found = scanner.scan().unwrap().len();
        ours.push(begin.elapsed());
        assert!(found >= LISTENERS);
        let begin = Instant::now();
        let listed = Command::new("ss").arg("-ltunH").output().unwrap();
        theirs.push(begin.elapsed());
        assert!(listed.stdout.lines().count() >= LISTENERS);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "sockets   {} established, {} listeners: scan {ours:.2?}, ss -ltunH {theirs:.2?}, ratio {:.2} (goal 1.00)",
        HOLDERS * share * 2,
        listeners.len() + HOLDERS,
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    for holder in &mut holders {
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
}

/// Holds that many pairs of established connections until standard input ends.
fn hold(pairs: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connections = Vec::with_capacity(pairs);
    for _ in 0..pairs {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        connections.push((client, listener.accept().unwrap().0));
    }
    println!("holding {}", connections.len());
    std::io::stdin().lines().for_each(drop);
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

// ---------------------------------------------------------------------------------------------------- the agent

/// An agent as a child process with its protocol on standard input and output.
struct Agent {
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    ring: tempfile::TempDir,
}

impl Agent {
    fn start(mut command: Command) -> Self {
        let ring = tempfile::tempdir().unwrap();
        let mut child =
            command.arg("--ring").arg(ring.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut agent = Self { child, input, lines, ring };
        agent.say(r#"{"hello":{"protocol":1,"program":"bench","version":"0"}}"#);
        agent
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next line that holds this text.
    fn line_with(&mut self, text: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(text)).expect("the agent goes on")
    }

    /// Ends it and returns its CPU time and its capture's size.
    fn end(mut self) -> (Duration, u64) {
        drop(self.input);
        let cpu = cpu_time(&mut self.child);
        let size =
            std::fs::read_dir(self.ring.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        (cpu, size)
    }
}

/// Waits for a child and returns the CPU time that it alone has taken.
fn cpu_time(child: &mut Child) -> Duration {
    let before = children_cpu();
    child.wait().unwrap();
    children_cpu().saturating_sub(before)
}

fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // cutime and cstime, in ticks of a hundredth of a second.
    let ticks: u64 = fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn idle() {
    let seconds = 20;
    let mut command = Command::new(agent_program());
    command.args(["serve", "--stdio"]);
    let mut agent = Agent::start(command);
    agent.line_with("\"ports\"");
    let status = || std::fs::read_to_string(format!("/proc/{}/stat", agent.child.id())).unwrap();
    let ticks = |stat: String| -> u64 {
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks(status());
    std::thread::sleep(Duration::from_secs(seconds));
    let used = ticks(status()) - before;
    let memory = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let peak = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap().replace("VmHWM:", "").trim().to_owned();
    println!(
        "idle      {:.2} % of a core over {seconds} s (goal 1), {peak} at most (goal 20000 kB)",
        used as f64 / seconds as f64
    );
    agent.end();
}

// ---------------------------------------------------------------------------------------------------- capture

/// Small UDP packets as fast as one core sends them.
fn flood(to: SocketAddr, count: u64) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(to).unwrap();
    for _ in 0..count {
        // A full queue is part of a flood.
        let _ = socket.send(&[7; 18]);
    }
}

struct Outcome {
    packets: u64,
    dropped: u64,
    cpu: Duration,
}

impl Outcome {
    fn nanos_a_packet(&self) -> u64 {
        self.cpu.as_nanos() as u64 / self.packets.max(1)
    }
}

fn capture(names: &Namespaces) {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(agent_round(names));
        theirs.push(tcpdump_round(names));
    }
    let dropped = |rounds: &[Outcome]| rounds.iter().map(|round| round.dropped).sum::<u64>();
    let packets = |rounds: &[Outcome]| median(rounds.iter().map(|round| round.packets).collect());
    let cost = |rounds: &[Outcome]| median(rounds.iter().map(Outcome::nanos_a_packet).collect());
    println!(
        "capture   agent   {} packets, {} ns a packet, {} dropped in {ROUNDS} rounds",
        packets(&ours),
        cost(&ours),
        dropped(&ours)
    );
    println!(
        "          tcpdump {} packets, {} ns a packet, {} dropped in {ROUNDS} rounds; ratio {:.2} (goal 0.80)",
        packets(&theirs),
        cost(&theirs),
        dropped(&theirs),
        cost(&ours) as f64 / cost(&theirs) as f64
    );
}

fn send(names: &Namespaces) {
    let count = PACKETS.to_string();
    let sent = names.run(&std::env::current_exe().unwrap(), &["flood", "10.77.0.9:9", &count]).status().unwrap();
    assert!(sent.success());
}

fn agent_round(names: &Namespaces) -> Outcome {
    let mut agent = Agent::start(names.run_there(&agent_program(), &["serve", "--stdio"]));
    agent.say(
        r#"{"request":{"id":1,"request":{"start_capture":{"interfaces":["veth0"],"filter":"udp","snaplen":262144,"rotate_bytes":1073741824,"rotate_seconds":3600,"ring_bytes":1073741824}}}}"#,
    );
    agent.line_with("\"running\"");
    send(names);
    std::thread::sleep(Duration::from_millis(300));
    agent.say(r#"{"request":{"id":2,"request":"stop_capture"}}"#);
    let mut statistics = String::new();
    loop {
        let line = agent.lines.next().unwrap().unwrap();
        if line.contains("\"statistics\"") {
            statistics = line;
        } else if line.contains("\"stopped\"") {
            break;
        }
    }
    let (cpu, size) = agent.end();
    let counts: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    let counts = &counts["update"]["statistics"];
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert!(size > number(&counts["packets"]) * 60, "the packets are in the file");
    let dropped = number(&counts["dropped"]["kernel"]) + number(&counts["dropped"]["queue"]);
    Outcome { packets: number(&counts["packets"]), dropped, cpu }
}

fn tcpdump_round(names: &Namespaces) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.pcap");
    let arguments = ["-i", "veth0", "-n", "-Z", "root", "-w", file.to_str().unwrap(), "udp"];
    let mut child = names.run_there(Path::new("tcpdump"), &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    said.by_ref().map(Result::unwrap).find(|line| line.contains("listening on")).unwrap();
    send(names);
    std::thread::sleep(Duration::from_millis(1300));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    let cpu = cpu_time(&mut child);
    let number = |what: &str| -> u64 {
        let line = rest.iter().find(|line| line.contains(what)).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    Outcome { packets: number("packets captured"), dropped: number("dropped by kernel"), cpu }
}
