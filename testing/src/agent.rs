//! An agent as a child process, spoken to in the protocol.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, CaptureState, FileState, FromAgent, Hello, Request, Response, Statistics, ToAgent,
    Update, decode, encode,
};

/// What an agent has to say comes within that time.
const WITHIN: Duration = Duration::from_secs(40);

/// An agent, or a `connect` to one, with the protocol on its standard input and output.
pub struct Agent {
    /// Its process.
    pub child: Child,
    input: ChildStdin,
    updates: mpsc::Receiver<FromAgent>,
    next_id: u64,
    /// Its ring's folder.
    pub ring: PathBuf,
}

impl Agent {
    /// Serves on its standard input and output in that namespace.
    pub fn in_net(program: &str, namespace: &str, ring: &Path) -> Self {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .arg(program)
            .args(["serve", "--stdio", "--ring"])
            .arg(ring);
        Self::spawn(command, ring)
    }

    /// Any command that leads to one.
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
        assert!(matches!(agent.until("its hello", Some), FromAgent::Hello(_)));
        agent
    }

    /// Says something to it.
    pub fn say(&mut self, message: &ToAgent) {
        self.input.write_all(&encode(message).expect("a line")).expect("the agent listens");
    }

    /// The first thing of that kind, passing over others.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(FromAgent) -> Option<T>) -> T {
        let end = Instant::now() + WITHIN;
        let mut last = None;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(message) = self.updates.recv_timeout(left) else {
                panic!("{what} did not come; the last that was said: {last:?}")
            };
            last = Some(message.clone());
            if let Some(found) = wanted(message) {
                return found;
            }
        }
    }

    /// What it has said and nobody has taken in yet, the oldest first.
    pub fn heard(&mut self) -> Option<FromAgent> {
        self.updates.try_recv().ok()
    }

    /// Asks for something, and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, request: Request) -> Response {
        self.next_id += 1;
        let wanted = self.next_id;
        self.say(&ToAgent::Request { id: wanted, request });
        self.until("an answer", |message| match message {
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
        self.until("the end of the capture", |message| {
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

    /// Stops the capture, and returns its last statistics and its files.
    pub fn stop(&mut self) -> (Statistics, Vec<PathBuf>) {
        // The answer is passed over with everything else before the end.
        self.say(&ToAgent::Request { id: 0, request: Request::StopCapture });
        let (statistics, _, files) = self.ended();
        assert!(files.iter().all(|file| file.state == FileState::Closed), "{files:?}");
        (statistics, files.iter().map(|file| self.ring.join(&file.name)).collect())
    }

    /// Kills it, and waits for its end.
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
