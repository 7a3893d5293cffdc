//! The protocol over any byte stream: hello, requests, updates, heartbeat, reconnect with back-off.
//!
//! Owns one tunnel to one agent at a time and the order of what is said on it. Heartbeats depend on nobody who listens.
//! Must not know what carries the bytes nor what the app makes of them.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::future::BoxFuture;
use nodewatch_protocol::{
    DecodeError, FromAgent, HEARTBEAT_SECONDS, Hello, Lines, Request, Response, ToAgent, decode, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at},
};

use crate::{
    agents::site::{OpenError, Reader, Tunnel, Writer},
    model::{Notice, TunnelChange},
};

/// An agent answers every heartbeat, so a tunnel that says nothing for this long is cut.
const SILENCE: Duration = Duration::from_secs(3 * HEARTBEAT_SECONDS);
/// One that says nothing for this long has left an answer out.
const QUIET: Duration = Duration::from_secs(HEARTBEAT_SECONDS + 2);
/// Whoever looks so much later than it wanted to was not running.
const STOPPED: Duration = Duration::from_secs(5);
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Back-off between tries: this, doubled up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A request, and where its answer goes; a tunnel that is cut drops it.
pub struct Ask {
    /// What is asked.
    pub request: Request,
    /// Gets the answer.
    pub answer: oneshot::Sender<Response>,
}

/// How tunnels are opened.
pub type Opener = Box<dyn Fn() -> BoxFuture<'static, Result<Tunnel, OpenError>> + Send + Sync>;

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the tunnel was cut")]
    Cut,
    #[error("the tunnel failed: {0}")]
    Stream(#[from] std::io::Error),
    #[error("the agent sent invalid data: {0}")]
    Garbage(#[from] DecodeError),
    #[error("the agent sent an unexpected message")]
    Order,
    #[error("the agent sent nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the agent did not send Hello within {} s", HELLO_WITHIN.as_secs())]
    NoHello,
    #[error(transparent)]
    Version(#[from] nodewatch_protocol::VersionMismatch),
}

/// What is told, in order. What nobody takes yet is held, and nothing else waits for it.
struct Telling {
    changes: mpsc::Sender<TunnelChange>,
    held: VecDeque<TunnelChange>,
}

/// Whoever is told has gone.
struct Unheard;

impl Telling {
    fn tell(&mut self, change: TunnelChange) -> Result<(), Unheard> {
        if self.held.is_empty() {
            match self.changes.try_send(change) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(Unheard),
                Err(mpsc::error::TrySendError::Full(change)) => self.held.push_back(change),
            }
            return Ok(());
        }
        // Of tunnels that came and went with nothing in between only the last is news.
        if matches!(change, TunnelChange::Lost { .. }) {
            let passing =
                |change: &TunnelChange| !matches!(change, TunnelChange::Update(_) | TunnelChange::Incompatible(_));
            while self.held.back().is_some_and(passing) {
                self.held.pop_back();
            }
        }
        self.held.push_back(change);
        Ok(())
    }

    fn is_held_up(&self) -> bool {
        !self.held.is_empty()
    }

    /// Waits until the next of what is held is taken; for good when nothing is held. Cancel-safe.
    async fn catch_up(&mut self) -> Result<(), Unheard> {
        if self.held.is_empty() {
            std::future::pending::<()>().await;
        }
        let permit = self.changes.reserve().await.map_err(|_| Unheard)?;
        if let Some(change) = self.held.pop_front() {
            permit.send(change);
        }
        Ok(())
    }
}

/// Keeps a tunnel to one agent up until `asks` is closed, telling every change in order.
pub async fn keep_tunnel(open: Opener, mut asks: mpsc::Receiver<Ask>, changes: mpsc::Sender<TunnelChange>) {
    let mut pause = FIRST_PAUSE;
    let mut telling = Telling { changes, held: VecDeque::new() };
    loop {
        let mut was_up = false;
        let error = match one_tunnel(&open, &mut asks, &mut telling, &mut was_up).await {
            Ok(()) => return,
            Err(TunnelError::Version(mismatch)) => {
                let headline = "the agent and this program use different protocol versions";
                let notice = Notice::error(headline, mismatch.to_string(), "deploy the agent image of this release");
                let mut told = telling.tell(TunnelChange::Incompatible(notice));
                while told.is_ok() && telling.is_held_up() {
                    told = telling.catch_up().await;
                }
                return;
            }
            Err(error) => error,
        };
        if was_up {
            pause = FIRST_PAUSE;
        }
        if telling.tell(TunnelChange::Lost { reason: error.to_string() }).is_err() {
            return;
        }
        if refuse_asks_for(pause, &mut asks, &mut telling).await.is_break() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits, dropping what is asked meanwhile: the asker is told by the dropped sender.
async fn refuse_asks_for(
    pause: Duration,
    asks: &mut mpsc::Receiver<Ask>,
    telling: &mut Telling,
) -> std::ops::ControlFlow<()> {
    let end = Instant::now() + pause;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => return std::ops::ControlFlow::Continue(()),
            ask = asks.recv() => if ask.is_none() { return std::ops::ControlFlow::Break(()) },
            told = telling.catch_up() => if told.is_err() { return std::ops::ControlFlow::Break(()) },
        }
    }
}

/// One tunnel from its opening to its end. `Ok` when this side wants no more of it.
async fn one_tunnel(
    open: &Opener,
    asks: &mut mpsc::Receiver<Ask>,
    telling: &mut Telling,
    was_up: &mut bool,
) -> Result<(), TunnelError> {
    let Tunnel { reader, mut writer, guard } = open().await?;
    let _guard = guard;
    let mut input = Input { reader, lines: Lines::default() };
    say(&mut writer, &ToAgent::Hello(Hello::of("nodewatch-tui", env!("CARGO_PKG_VERSION")))).await?;
    let hello = match timeout(HELLO_WITHIN, input.next()).await.map_err(|_| TunnelError::NoHello)?? {
        FromAgent::Hello(hello) => hello,
        FromAgent::Response { .. } | FromAgent::Update(_) => return Err(TunnelError::Order),
    };
    hello.check()?;
    *was_up = true;
    if telling.tell(TunnelChange::Up(hello)).is_err() {
        return Ok(());
    }

    let mut heartbeat = interval(Duration::from_secs(HEARTBEAT_SECONDS));
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: HashMap<u64, oneshot::Sender<Response>> = HashMap::new();
    let mut next_id = 0;
    let mut heard = Instant::now();
    let mut quiet = Quiet::At(heard + QUIET);
    loop {
        let request = tokio::select! {
            // While this side is slow nothing more is read, and the agent counts what it leaves out.
            told = telling.catch_up() => {
                if told.is_err() {
                    return Ok(());
                }
                heard = Instant::now();
                continue;
            }
            () = quiet.comes(), if !telling.is_held_up() => {
                if quiet.is_told(telling).is_err() {
                    return Ok(());
                }
                continue;
            }
            line = timeout_at(heard + SILENCE, input.next()), if !telling.is_held_up() => {
                let due = heard + SILENCE;
                heard = Instant::now();
                let line = match line {
                    Ok(line) => line?,
                    // This program did not run itself: it was stopped, or starved. What the agent said meanwhile comes
                    // now.
                    Err(_) if heard > due + STOPPED => continue,
                    Err(_) => return Err(TunnelError::Silent),
                };
                if quiet.is_over(telling).is_err() {
                    return Ok(());
                }
                match line {
                    FromAgent::Hello(_) => return Err(TunnelError::Order),
                    FromAgent::Update(update) => {
                        if telling.tell(TunnelChange::Update(update)).is_err() {
                            return Ok(());
                        }
                    }
                    FromAgent::Response { id, response } => {
                        if let Some(answer) = waiting.remove(&id) {
                            // Whoever asked may have lost interest.
                            let _ = answer.send(response);
                        }
                    }
                }
                continue;
            }
            ask = asks.recv() => {
                let Some(Ask { request, answer }) = ask else {
                    let goodbye = ToAgent::Request { id: next_id, request: Request::Goodbye };
                    // A goodbye that cannot be said is one that the agent notices by the cut.
                    let _ = timeout(Duration::from_secs(1), say(&mut writer, &goodbye)).await;
                    return Ok(());
                };
                waiting.insert(next_id, answer);
                request
            }
            _ = heartbeat.tick() => Request::Heartbeat,
        };
        timeout(SILENCE, say(&mut writer, &ToAgent::Request { id: next_id, request }))
            .await
            .map_err(|_| TunnelError::Silent)??;
        next_id += 1;
    }
}

/// Whether the agent leaves answers out.
enum Quiet {
    /// Not before then.
    At(Instant),
    /// It does, which was told.
    Told,
}

impl Quiet {
    /// Waits until it does. Cancel-safe.
    async fn comes(&self) {
        match self {
            Self::At(at) => tokio::time::sleep_until(*at).await,
            Self::Told => std::future::pending().await,
        }
    }

    fn is_told(&mut self, telling: &mut Telling) -> Result<(), Unheard> {
        match *self {
            // This program did not run itself: what the agent said meanwhile comes now.
            Self::At(at) if Instant::now() > at + STOPPED => {
                *self = Self::At(Instant::now() + QUIET);
                Ok(())
            }
            Self::At(_) => {
                *self = Self::Told;
                telling.tell(TunnelChange::Silent)
            }
            Self::Told => Ok(()),
        }
    }

    /// The agent has said something.
    fn is_over(&mut self, telling: &mut Telling) -> Result<(), Unheard> {
        match std::mem::replace(self, Self::At(Instant::now() + QUIET)) {
            Self::At(_) => Ok(()),
            Self::Told => telling.tell(TunnelChange::Heard),
        }
    }
}

struct Input {
    reader: Reader,
    lines: Lines,
}

impl Input {
    /// The next line's value. Cancel-safe: what has been read stays in `lines`.
    async fn next(&mut self) -> Result<FromAgent, TunnelError> {
        let mut buffer = [0; 8 * 1024];
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(decode(&line)?);
            }
            match self.reader.read(&mut buffer).await? {
                0 => return Err(TunnelError::Cut),
                read => self.lines.push(&buffer[..read]),
            }
        }
    }
}

async fn say(writer: &mut Writer, message: &ToAgent) -> Result<(), std::io::Error> {
    let line = encode(message).map_err(std::io::Error::other)?;
    writer.write_all(&line).await?;
    writer.flush().await
}

/// Waits as long as a retry of something other than a tunnel should: `attempt` counts from 1.
pub async fn back_off(attempt: u32) {
    sleep((FIRST_PAUSE * 2u32.saturating_pow(attempt.saturating_sub(1).min(8))).min(LONGEST_PAUSE)).await;
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{DuplexStream, duplex, split};

    use super::*;

    /// A tunnel whose other end is the test's, and what is told of it.
    fn tunnel() -> (DuplexStream, mpsc::Sender<Ask>, mpsc::Receiver<TunnelChange>) {
        let (ours, theirs) = duplex(1024 * 1024);
        let theirs = std::sync::Mutex::new(Some(theirs));
        let open: Opener = Box::new(move || {
            let stream = theirs.lock().expect("whole").take();
            async move {
                let (reader, writer) = split(stream.ok_or_else(|| OpenError::Refused("once only".into()))?);
                Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(()) })
            }
            .boxed()
        });
        let (asks, queue) = mpsc::channel(8);
        let (changes, told) = mpsc::channel(64);
        tokio::spawn(keep_tunnel(open, queue, changes));
        (ours, asks, told)
    }

    async fn up(stream: &mut DuplexStream, told: &mut mpsc::Receiver<TunnelChange>) {
        let hello = FromAgent::Hello(Hello::of("nodewatch-agent", "0"));
        stream.write_all(&encode(&hello).expect("a line")).await.expect("room");
        assert!(matches!(told.recv().await, Some(TunnelChange::Up(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_was_stopped_does_not_take_its_own_silence_for_the_agents() {
        let (mut stream, _asks, mut told) = tunnel();
        up(&mut stream, &mut told).await;
        // Ctrl-Z, and fg after a while: no timer fires in between.
        tokio::time::advance(Duration::from_secs(42)).await;
        let trouble = nodewatch_protocol::Update::Trouble { message: "while it was stopped".into() };
        tokio::task::yield_now().await;
        stream.write_all(&encode(&FromAgent::Update(trouble)).expect("a line")).await.expect("room");
        let next = told.recv().await;
        assert!(matches!(next, Some(TunnelChange::Update(_))), "{next:?}");
        // An agent that says nothing while this program runs is silent.
        assert_eq!(told.recv().await, Some(TunnelChange::Silent));
        let Some(TunnelChange::Lost { reason, .. }) = told.recv().await else { panic!("it is lost") };
        assert_eq!(reason, "the agent sent nothing for 15 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_leaves_an_answer_out_is_told_of_before_it_is_cut_and_when_it_answers_again() {
        let (mut stream, _asks, mut told) = tunnel();
        up(&mut stream, &mut told).await;
        let begun = Instant::now();
        assert_eq!(told.recv().await, Some(TunnelChange::Silent));
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        let note = nodewatch_protocol::Update::Note { message: "here".into() };
        stream.write_all(&encode(&FromAgent::Update(note.clone())).expect("a line")).await.expect("room");
        assert_eq!(told.recv().await, Some(TunnelChange::Heard));
        assert_eq!(told.recv().await, Some(TunnelChange::Update(note)));
        assert_eq!(told.recv().await, Some(TunnelChange::Silent));
        assert!(matches!(told.recv().await, Some(TunnelChange::Lost { .. })));
    }

    /// Whatever holds this program up, its agents hear that it is there.
    #[tokio::test(start_paused = true)]
    async fn a_program_that_takes_in_nothing_is_still_heard() {
        let (stream, _asks, mut told) = tunnel();
        let (reader, mut writer) = split(stream);
        let hello = FromAgent::Hello(Hello::of("nodewatch-agent", "0"));
        writer.write_all(&encode(&hello).expect("a line")).await.expect("room");
        assert!(matches!(told.recv().await, Some(TunnelChange::Up(_))));
        let update = |number: u64| nodewatch_protocol::Update::Trouble { message: number.to_string() };
        // More than may wait.
        for number in 0..100 {
            writer.write_all(&encode(&FromAgent::Update(update(number))).expect("a line")).await.expect("room");
        }
        let mut input = Input { reader: Box::new(reader), lines: Lines::default() };
        let begin = Instant::now();
        let mut heartbeats = 0;
        while begin.elapsed() < Duration::from_secs(1200) {
            let mut buffer = [0; 1024];
            let read = input.reader.read(&mut buffer).await.expect("it is not cut");
            input.lines.push(&buffer[..read]);
            while let Some(line) = input.lines.next_line().expect("a line") {
                let said: ToAgent = decode(&line).expect("a message");
                heartbeats += u64::from(matches!(said, ToAgent::Request { request: Request::Heartbeat, .. }));
            }
        }
        assert!(heartbeats >= 1200 / HEARTBEAT_SECONDS, "{heartbeats}");
        // What it had not taken comes, in order, when it takes things in again.
        for number in 0..100 {
            assert_eq!(told.recv().await, Some(TunnelChange::Update(update(number))));
        }
    }
}
