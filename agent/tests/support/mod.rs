//! Network namespaces, an agent as a child process, and tshark as the referee.
#![allow(clippy::print_stderr, reason = "a test says why it was skipped")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, CaptureState, FileState, FromAgent, Hello, Request, Response, Statistics, ToAgent,
    Update, decode, encode,
};

/// Root with the tools that the tests need; says why not, once a test.
pub fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let tools = ["ip", "tshark", "nsenter", "setpriv"];
    let missing: Vec<&str> = tools.into_iter().filter(|tool| run("which", &[tool]).stdout.is_empty()).collect();
    if !root || !missing.is_empty() {
        eprintln!("skipped: needs root (is {root}) and {missing:?}");
    }
    root && missing.is_empty()
}

pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("the program starts")
}

pub fn ip(arguments: &[&str]) {
    let output = run("ip", arguments);
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two namespaces joined by two veth pairs, and a folder; gone when dropped.
pub struct Net {
    pub here: String,
    pub there: String,
    /// A folder for an agent's ring.
    pub ring: tempfile::TempDir,
}

impl Net {
    pub fn new() -> Self {
        let id = std::process::id();
        let net = Self {
            here: format!("nwt{id}a"),
            there: format!("nwt{id}b"),
            ring: tempfile::tempdir().expect("a folder"),
        };
        ip(&["netns", "add", &net.here]);
        ip(&["netns", "add", &net.there]);
        for (link, subnet) in [("veth0", "10.66.0"), ("veth1", "10.66.1")] {
            ip(&["-n", &net.here, "link", "add", link, "type", "veth", "peer", "name", link, "netns", &net.there]);
            for (name, host) in [(&net.here, 1), (&net.there, 2)] {
                ip(&["-n", name, "addr", "add", &format!("{subnet}.{host}/24"), "dev", link]);
                let v6 = format!("fd00:66:{}::{host}/64", &subnet[6..]);
                ip(&["-n", name, "-6", "addr", "add", &v6, "dev", link, "nodad"]);
                ip(&["-n", name, "link", "set", link, "up"]);
                ip(&["-n", name, "link", "set", "lo", "up"]);
            }
        }
        net
    }

    /// Sends so many UDP packets with that payload from the other side.
    pub fn send(&self, to: &str, count: usize, payload: &[u8]) {
        in_namespace(&self.there, || {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).expect("bind");
            for _ in 0..count {
                // Nobody listens: the refusal of one packet is told at the next.
                let refused = socket.send_to(payload, to).is_err();
                if refused {
                    socket.send_to(payload, to).expect("the network takes it");
                }
            }
        });
    }
}

/// Runs on a thread of its own in that network namespace.
pub fn in_namespace<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::File::open(format!("/run/netns/{name}")).expect("the namespace");
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind)).expect("setns");
                work()
            })
            .join()
            .expect("no panic")
    })
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in [&self.here, &self.there] {
            run("ip", &["netns", "del", name]);
        }
    }
}

/// An agent, or a `connect` to one, with the protocol on its standard input and output.
pub struct Agent {
    pub child: Child,
    input: ChildStdin,
    updates: mpsc::Receiver<FromAgent>,
    next_id: u64,
    pub ring: PathBuf,
}

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-agent");

impl Agent {
    /// Serves on its standard input and output in that namespace.
    pub fn in_net(namespace: &str, ring: &Path) -> Self {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .arg(PROGRAM)
            .args(["serve", "--stdio", "--ring"])
            .arg(ring);
        Self::spawn(command, ring)
    }

    pub fn spawn(mut command: Command, ring: &Path) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the agent starts");
        let input = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).split(b'\n');
        let (sender, updates) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(decode(&line).expect("the agent speaks the protocol")).is_err() {
                    return;
                }
            }
        });
        let mut agent = Self { child, input, updates, next_id: 0, ring: ring.to_owned() };
        agent.say(&ToAgent::Hello(Hello::of("test", "0")));
        assert!(matches!(agent.next(), FromAgent::Hello(_)));
        agent
    }

    pub fn say(&mut self, message: &ToAgent) {
        self.input.write_all(&encode(message).expect("a line")).expect("the agent listens");
    }

    pub fn next(&mut self) -> FromAgent {
        self.updates.recv_timeout(Duration::from_secs(20)).expect("the agent says something in time")
    }

    /// The first thing of that kind, passing over others.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(FromAgent) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            if let Some(found) = wanted(self.next()) {
                return found;
            }
        }
        panic!("what was waited for did not come");
    }

    pub fn ask(&mut self, request: Request) -> Response {
        self.next_id += 1;
        let wanted = self.next_id;
        self.say(&ToAgent::Request { id: wanted, request });
        self.until(|message| match message {
            FromAgent::Response { id, response } if id == wanted => Some(response),
            _ => None,
        })
    }

    /// Starts a capture, which must work.
    pub fn start(&mut self, spec: CaptureSpec) {
        assert_eq!(self.ask(Request::StartCapture(spec)), Response::Done);
    }

    /// Waits for the capture's end; returns its last statistics, its state and its files.
    pub fn ended(&mut self) -> (Statistics, CaptureState, Vec<CaptureFile>) {
        let mut statistics = None;
        let mut files = Vec::new();
        self.until(|message| {
            match message {
                FromAgent::Update(Update::Statistics(update)) => statistics = Some(update),
                FromAgent::Update(Update::Files(update)) => files = update,
                FromAgent::Update(Update::Capture(state @ CaptureState::Stopped { .. })) => {
                    return Some((*statistics.take().expect("statistics"), state, files.clone()));
                }
                _ => {}
            }
            None
        })
    }

    pub fn stop(&mut self) -> (Statistics, Vec<PathBuf>) {
        // The answer is passed over with everything else before the end.
        self.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
        let (statistics, _, files) = self.ended();
        assert!(files.iter().all(|file| file.state == FileState::Closed), "{files:?}");
        (statistics, files.iter().map(|file| self.ring.join(&file.name)).collect())
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("running");
        self.child.wait().expect("killed");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that has failed must not leave a process that holds its output open.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What tshark reads in a file: one row a packet, one column a field. Fails where tshark objects to the file.
pub fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-T", "fields", "-E", "occurrence=f"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark");
    let objections = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !objections.contains("cut short"), "{objections}");
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    rows.lines().map(|row| row.split('\t').map(str::to_owned).collect()).collect()
}
