//! The agent beside the tools that a user would pick instead, in one run, as ratios: `ss` for a scan of the sockets,
//! `tcpdump -w` for a capture. And what an idle agent costs.
//!
//! Needs root, `ss`, `tcpdump` and network namespaces of its own, which it removes. Run by `make bench`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a program for people")]

#[path = "support/mod.rs"]
mod support;

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_agent::{signals::Reader, sockets::Scanner};
use nodewatch_ports::PortClass;
use nodewatch_report::{Report, ReportedPort, Seen};
use support::{
    Agent, Namespaces, Outcome, Traffic, agent_program, agent_round, flood, tcpdump_into, tcpdump_round, watch_round,
    watched_capture_round,
};

const LISTENERS: usize = 1_000;
const CONNECTIONS: usize = 100_000;
const HOLDERS: usize = 10;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["flood", to, count, kind] => flood(to.parse().unwrap(), count.parse().unwrap(), kind == "mixed"),
        ["connections", each_second, seconds] => {
            begin_connections(each_second.parse().unwrap(), seconds.parse().unwrap());
        }
        ["capture"] => capture(&Namespaces::make()),
        ["watch"] => watch(&Namespaces::make()),
        ["hold", pairs] => hold(pairs.parse().unwrap()),
        ["sockets"] => sockets(),
        _ => {
            let names = Namespaces::make();
            idle();
            names.run(&std::env::current_exe().unwrap(), &["sockets"]).status().unwrap();
            capture(&names);
            watch(&names);
        }
    }
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
    let mut scanner = Scanner::default();
    let mut before = scanner.scan(None).ports;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        before = scanner.scan(Some(&before)).ports;
        ours.push(begin.elapsed());
        assert!(before.len() >= LISTENERS);
        let begin = Instant::now();
        let listed = Command::new("ss").arg("-ltunH").output().unwrap();
        theirs.push(begin.elapsed());
        assert!(listed.stdout.lines().count() >= LISTENERS);
    }
    let mut reports = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        let found = scanner.scan(Some(&before)).ports;
        let ports =
            found.iter().map(|&port| ReportedPort { port, first_seen: 1, class: PortClass::Expected }).collect();
        let (hostname, cluster, session) = ("node-1", "bench", "00000000");
        let report = Report {
            at: 2,
            hostname,
            cluster,
            session,
            sequence: 1,
            ports,
            excluded: 0,
            unexpected: Some(0),
            agent_errors: 0,
            seen: Seen::default(),
        };
        assert!(report.event().parts[0].len() > LISTENERS * 20);
        reports.push(begin.elapsed());
    }
    let (ours, theirs, reports) = (median(ours), median(theirs), median(reports));
    println!(
        "report    the same as an event for CloudWatch Logs: {reports:.2?}, ss -ltunH {theirs:.2?}, ratio {:.2} (goal 1.00)",
        reports.as_secs_f64() / theirs.as_secs_f64()
    );
    println!(
        "sockets   {} established, {} listeners: scan {ours:.2?}, ss -ltunH {theirs:.2?}, ratio {:.2} (goal 1.00)",
        HOLDERS * share * 2,
        listeners.len() + HOLDERS,
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    signals(HOLDERS * share * 2);
    for holder in &mut holders {
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
}

/// All signals of a node of 64 CPUs, by the processor's time. The seconds are counted and not waited for.
fn signals(established: usize) {
    let seconds = 100;
    let proc = tempfile::tempdir().unwrap();
    for file in
        ["netstat", "snmp", "snmp6", "sockstat", "sockstat6", "softnet_stat", "stat/nf_conntrack", "stat/arp_cache"]
    {
        let Ok(text) = std::fs::read_to_string(format!("/proc/net/{file}")) else { continue };
        // The last line is a CPU's, where there is one a CPU.
        let more = if file.contains("sta") && file.contains(['_', '/']) { 64 } else { 0 };
        let row = text.lines().next_back().unwrap_or_default();
        let rows = format!("{row}\n").repeat(more);
        let path = proc.path().join("net").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}{rows}")).unwrap();
    }
    let range = proc.path().join("sys/net/ipv4");
    std::fs::create_dir_all(&range).unwrap();
    std::fs::copy("/proc/sys/net/ipv4/ip_local_port_range", range.join("ip_local_port_range")).unwrap();
    let mut reader = Reader::new(nodewatch_agent::signals::all(proc.path()), 1);
    let begin = Instant::now();
    let busy = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = busy();
    for second in 0..seconds {
        reader.read(begin + Duration::from_secs(second), second);
    }
    let used = busy().saturating_sub(before);
    println!(
        "signals   64 CPUs, {established} sockets: {:.2} % of a core (goal 1), {:.2?} a second",
        used.as_secs_f64() * 100.0 / seconds as f64,
        used / seconds as u32
    );
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

fn capture(names: &Namespaces) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(agent_round(names, Traffic::Small, "full", None));
        theirs.push(tcpdump_round(names, Traffic::Small));
    }
    compare("capture", &ours, "tcpdump -w", &theirs, "0.80");
}

/// Each round beside the one of the other that came right after it.
fn compare(what: &str, ours: &[Outcome], other: &str, theirs: &[Outcome], goal: &str) {
    let cost = |rounds: &[Outcome]| median(rounds.iter().map(Outcome::nanos_a_packet).collect());
    let dropped = |rounds: &[Outcome]| rounds.iter().map(|round| round.dropped).sum::<u64>();
    let ratio = |(ours, theirs): (&Outcome, &Outcome)| ours.nanos_a_packet() as f64 / theirs.nanos_a_packet() as f64;
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{what:10}{} ns a packet, {} dropped or not analysed in {ROUNDS} rounds; {other} {} ns, {} dropped; ratio {:.2}, {:.2} to \
         {:.2} (goal {goal})",
        cost(ours),
        dropped(ours),
        cost(theirs),
        dropped(theirs),
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}

// ---------------------------------------------------------------------------------------------------- watching

fn watch(names: &Namespaces) {
    let mut rounds: [Vec<Outcome>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(watch_round(names, Traffic::Small));
        rounds[1].push(tcpdump_into(names, Traffic::Small, "/dev/null"));
        rounds[2].push(watched_capture_round(names, Traffic::Small));
        rounds[3].push(tcpdump_round(names, Traffic::Small));
    }
    compare("watch", &rounds[0], "tcpdump -w /dev/null", &rounds[1], "0.80");
    compare("both", &rounds[2], "tcpdump -w", &rounds[3], "1.00");
    connections(names);
}

/// Every packet is of another connection.
fn connections(names: &Namespaces) {
    let (each_second, seconds) = (100_000, 12);
    let mut agent = support::watching(names);
    let before = agent.memory("VmRSS");
    let program = std::env::current_exe().unwrap();
    let arguments = ["connections", &each_second.to_string(), &seconds.to_string()];
    let mut sender = names.run(&program, &arguments).spawn().unwrap();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    let early = agent.memory("VmHWM");
    assert!(sender.wait().unwrap().success());
    let took = begin.elapsed();
    std::thread::sleep(Duration::from_millis(1300));
    let late = agent.memory("VmHWM");
    let (packets, dropped) = agent.end_watching();
    agent.end();
    println!(
        "connect   {:.0} new connections a second: {} kB more after 4 s, {} kB after {:.0} s (bound 65536), {dropped} of \
         {packets} dropped or not analysed",
        packets as f64 / took.as_secs_f64(),
        early.saturating_sub(before),
        late.saturating_sub(before),
        took.as_secs_f64()
    );
}

/// First segments of connections, each of another one, at that rate.
fn begin_connections(each_second: u64, seconds: u64) {
    let mut wire = pcap::Capture::from_device("veth0").unwrap().open().unwrap();
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 0, 10, 77, 0, 9]);
    frame.extend([0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xFF, 0xFF, 0, 0, 0, 0]);
    let begin = Instant::now();
    for number in 0..each_second * seconds {
        frame[27..30].copy_from_slice(&(number as u32 >> 8).to_be_bytes()[1..]);
        frame[34..36].copy_from_slice(&(1024 + number as u16 % 60_000).to_be_bytes());
        wire.sendpacket(frame.as_slice()).unwrap();
        let due = begin + Duration::from_nanos(number * 1_000_000_000 / each_second);
        if number % 100 == 0 {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}
