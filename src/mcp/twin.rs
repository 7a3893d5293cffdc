//! This program's own commands as processes: what they print and say, how they are told to end, and whether they have.
//!
//! Owns the processes. Each is a process group of its own, so that a signal to the server's group reaches it once, and
//! by the server; one that outlives the server ends by itself and cleans up.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{Settings, budget::Nodes, gathered::Gathered, refusal::Refusal};
use crate::headless::ExitCode;

/// What a command said last is kept up to here.
const MOST_SAID: usize = 200;
/// What a command that has ended has still in its pipes comes within this.
const REST_WITHIN: Duration = Duration::from_secs(2);

/// Runs commands.
#[derive(Debug, Clone)]
pub(super) struct Twin {
    program: PathBuf,
    environment: Vec<(String, String)>,
    /// How often the server was told to end.
    ending: watch::Receiver<u32>,
    ends: Ends,
}

/// How many commands run, and whether one of them has left something behind.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    running: Arc<watch::Sender<usize>>,
    left_behind: Arc<AtomicBool>,
}

/// A command that runs. It is told to end when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// What it says, line by line.
    pub said: mpsc::UnboundedReceiver<String>,
    /// What it comes to.
    pub done: oneshot::Receiver<Outcome>,
    stop: watch::Sender<bool>,
}

/// What a command came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub exit: ExitCode,
    pub gathered: Gathered,
    /// What it said last.
    pub said: Vec<String>,
}

impl Twin {
    pub(super) fn new(settings: &Settings, ending: watch::Receiver<u32>) -> Self {
        let running = Arc::new(watch::channel(0).0);
        Self {
            program: settings.program.clone(),
            environment: settings.environment.clone(),
            ending,
            ends: Ends { running, left_behind: Arc::default() },
        }
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Starts a command, which has these nodes until it ends.
    pub(super) fn start(&self, arguments: Vec<OsString>, nodes: Option<Nodes>) -> Result<Running, Refusal> {
        // Counted first, so that the server's end does not miss it.
        let count = Count::begin(&self.ends);
        if *self.ending.borrow() > 0 {
            return Err(Refusal::new("ending", "the server is about to end", "start it again"));
        }
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).process_group(0);
        let child = command.spawn().map_err(|error| {
            Refusal::new("cannot_start", format!("{}: {error}", self.program.display()), "install the program anew")
        })?;
        let (lines, said) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (tell, done) = oneshot::channel();
        let attended = Attended { stopped, ending: self.ending.clone(), lines };
        tokio::spawn(async move {
            let outcome = attended.attend(child).await;
            count.left_behind(outcome.exit == ExitCode::LeftBehind);
            drop(nodes);
            // Whoever has started it may have gone.
            let _ = tell.send(outcome);
            drop(count);
        });
        Ok(Running { said, done, stop })
    }
}

impl Running {
    /// Tells it to end; what it comes to is told as ever.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Ends {
    /// Waits until no command runs any more; whether one has left something behind.
    pub(super) async fn over(&self) -> bool {
        // The sender is here, so that it does not end.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
        self.left_behind.load(Ordering::Relaxed)
    }
}

/// One command among those that run.
struct Count(Ends);

impl Count {
    fn begin(ends: &Ends) -> Self {
        ends.running.send_modify(|running| *running += 1);
        Self(ends.clone())
    }

    fn left_behind(&self, left: bool) {
        self.0.left_behind.fetch_or(left, Ordering::Relaxed);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running = running.saturating_sub(1));
    }
}

/// Whom a command listens to, and who listens to it.
struct Attended {
    stopped: watch::Receiver<bool>,
    ending: watch::Receiver<u32>,
    lines: mpsc::UnboundedSender<String>,
}

impl Attended {
    /// Reads what it prints and says until it ends.
    async fn attend(mut self, mut child: Child) -> Outcome {
        let (results, sayings) = (child.stdout.take().map(lines), child.stderr.take().map(lines));
        let (Some(mut results), Some(mut sayings)) = (results, sayings) else {
            // Both were piped.
            return Outcome { exit: ExitCode::Failed, gathered: Gathered::default(), said: Vec::new() };
        };
        let mut outcome = Outcome { exit: ExitCode::Failed, gathered: Gathered::default(), said: Vec::new() };
        // How often it should be told to end, and how often it was.
        let (mut wanted, mut told) = (*self.ending.borrow_and_update(), 0);
        let ended = loop {
            if wanted > told {
                terminate(&child);
                told = wanted;
            }
            tokio::select! {
                Some(line) = results.recv() => outcome.gathered.take(&line),
                Some(line) = sayings.recv() => outcome.say(&line, &self.lines),
                ended = child.wait() => break ended,
                // Also when nobody waits for it any more.
                _ = self.stopped.changed(), if wanted == 0 => wanted = 1,
                Ok(()) = self.ending.changed() => wanted = wanted.max(*self.ending.borrow_and_update()),
            }
        };
        let rest = async {
            while let Some(line) = results.recv().await {
                outcome.gathered.take(&line);
            }
            while let Some(line) = sayings.recv().await {
                outcome.say(&line, &self.lines);
            }
        };
        // A process of its own may keep them open.
        let _ = timeout(REST_WITHIN, rest).await;
        outcome.exit = ExitCode::of_code(ended.ok().and_then(|status| status.code()));
        outcome
    }
}

impl Outcome {
    fn say(&mut self, line: &[u8], lines: &mpsc::UnboundedSender<String>) {
        let line = String::from_utf8_lossy(line).into_owned();
        if self.said.len() >= MOST_SAID {
            self.said.remove(0);
        }
        self.said.push(line.clone());
        // Nobody may listen.
        let _ = lines.send(line);
    }
}

/// A stream's lines, in their turn: a slow taker stops the reading.
fn lines(stream: impl AsyncRead + Send + Unpin + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut parts = BufReader::new(stream).split(b'\n');
        while let Ok(Some(line)) = parts.next_segment().await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    lines
}

/// As a person would with Ctrl-C: it stops, cleans up and ends. Told again it ends without waiting.
fn terminate(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}
