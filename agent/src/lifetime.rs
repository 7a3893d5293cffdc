//! The agent's right to go on: its deadline, its lease, and the signals that end it.
//!
//! Owns when the agent ends; what an end means is the hub's. Both run on the boot-time clock, which nobody can set and which
//! goes on while the machine sleeps. The terms survive a restart of the container in a file beside the ring, as the
//! deadline counts from the session's beginning and not from the restart.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nodewatch_protocol::{Seconds, Terms, UnixMillis};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::clock::{self, Boot, Clock};

/// Why an agent ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The session's budget is spent.
    Deadline,
    /// No heartbeat came for the length of the lease.
    Lease,
}

/// What is left of an agent's time. Clones share it.
#[derive(Clone)]
pub struct Lifetime {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    boot_id: String,
    state: Mutex<State>,
    /// Counts changes of the state that bring an end nearer.
    changed: watch::Sender<u64>,
    file: Option<PathBuf>,
    /// Held by who writes the file, so that the older terms never replace the newer ones.
    writing: Mutex<()>,
}

struct State {
    deadline: Boot,
    lease: Option<Duration>,
    heard: Boot,
}

/// The terms as a restarted process needs them: the deadline as a moment, not as a time that is left.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// The deadline on the wall, for a node that was started anew meanwhile.
    ends: UnixMillis,
    lease_seconds: Option<Seconds>,
    /// The boot of the node in which these were written.
    #[serde(default)]
    boot: String,
    /// The deadline in milliseconds since that boot.
    #[serde(default)]
    boot_ends: u64,
    /// What was left when these were written: no clock that was set gives more.
    #[serde(default)]
    left_seconds: Seconds,
}

impl Remembered {
    fn left(&self, clock: &Clock, boot_id: &str) -> Duration {
        if !self.boot.is_empty() && self.boot == boot_id {
            return Boot::from_millis(self.boot_ends).since(clock.boot());
        }
        Duration::from_millis(self.ends.saturating_sub(clock.unix_millis())).min(self.left_seconds.duration())
    }
}

impl Lifetime {
    /// The terms that the process before this one has left in `file`, otherwise these. `None` is no limit.
    pub fn begin(deadline: Option<Duration>, lease: Option<Duration>, file: Option<PathBuf>) -> Self {
        Self::begin_by(Clock::system(), clock::boot_id(), deadline, lease, file)
    }

    /// The same by that clock, in that boot of the node.
    pub fn begin_by(
        clock: Clock,
        boot_id: String,
        deadline: Option<Duration>,
        lease: Option<Duration>,
        file: Option<PathBuf>,
    ) -> Self {
        let now = clock.boot();
        let remembered = file.as_ref().and_then(|file| fs::read(file).ok());
        // A file that was torn by a crash is none.
        let remembered: Option<Remembered> = remembered.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (left, lease) = match remembered {
            Some(terms) => (terms.left(&clock, &boot_id), terms.lease_seconds),
            None => (deadline.unwrap_or(Duration::MAX), lease.map(Into::into)),
        };
        let deadline = now + left.min(Seconds::MAX.duration());
        let state = State { deadline, lease: lease.map(Seconds::duration), heard: now };
        let lifetime = Self {
            shared: Arc::new(Shared {
                clock,
                boot_id,
                state: Mutex::new(state),
                changed: watch::channel(0).0,
                file,
                writing: Mutex::new(()),
            }),
        };
        // A restart within the first terms must find them too; a full disk costs only that.
        let _ = lifetime.remember();
        lifetime
    }

    /// Somebody is there.
    pub fn heard(&self) {
        self.lock().heard = self.shared.clock.boot();
    }

    /// New terms from the session, which hold from now on; whoever sets them sees to it that they are remembered.
    pub fn set(&self, terms: &Terms) {
        {
            let mut state = self.lock();
            let now = self.shared.clock.boot();
            state.deadline = now + terms.left_seconds.duration();
            state.lease = terms.lease_seconds.map(Seconds::duration);
            state.heard = now;
        }
        self.shared.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits for the end.
    pub async fn over(&self) -> End {
        self.wait(State::end).await
    }

    /// Waits for the deadline alone.
    pub async fn deadline(&self) -> End {
        self.wait(|state| (state.deadline, End::Deadline)).await
    }

    async fn wait(&self, end: impl Fn(&State) -> (Boot, End)) -> End {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let (at, why) = end(&self.lock());
            if at <= self.shared.clock.boot() {
                return why;
            }
            tokio::select! {
                () = self.shared.clock.reaches(at) => {}
                // The sender is as old as this value.
                _ = changed.changed() => {}
            }
        }
    }

    /// Writes the terms down for a restarted agent, which would not know them otherwise. Waits for the disk.
    pub fn remember(&self) -> io::Result<()> {
        let Some(file) = &self.shared.file else { return Ok(()) };
        let _turn = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = {
            let state = self.lock();
            let left = state.deadline.since(self.shared.clock.boot());
            Remembered {
                ends: self.shared.clock.unix_millis().saturating_add(left.as_millis() as u64),
                lease_seconds: state.lease.map(Into::into),
                boot: self.shared.boot_id.clone(),
                boot_ends: state.deadline.as_millis(),
                // Rounded up: a restart takes nothing away.
                left_seconds: Seconds::new(left.as_secs().saturating_add(1)),
            }
        };
        let part = file.with_extension("part");
        let mut output = File::create(&part)?;
        output.write_all(&serde_json::to_vec(&remembered)?)?;
        // A file that is there after a crash is whole.
        output.sync_all()?;
        fs::rename(part, file)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a few assignments, so the state is whole even if a holder panicked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&self) -> (Boot, End) {
        match self.lease.map(|lease| self.heard + lease) {
            Some(lapse) if lapse < self.deadline => (lapse, End::Lease),
            _ => (self.deadline, End::Deadline),
        }
    }
}

/// The signals that end the agent: SIGTERM, SIGINT, and SIGHUP of a terminal that was closed.
pub struct Signals([Signal; 3]);

impl Signals {
    /// From now on they no longer end the process by themselves; nor, where it is the first of its container, are they
    /// passed over.
    pub fn listen() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    /// A wall clock's time of no meaning.
    const NOON: u64 = 1_700_000_000_000;

    fn clock() -> Clock {
        Clock::standing(500_000, NOON)
    }

    fn begin(clock: &Clock, deadline: Duration, lease: Option<Duration>, file: Option<PathBuf>) -> Lifetime {
        Lifetime::begin_by(clock.clone(), "this boot".to_owned(), Some(deadline), lease, file)
    }

    /// What has ended by now.
    async fn now(lifetime: &Lifetime) -> Option<End> {
        tokio::select! {
            biased;
            end = lifetime.over() => Some(end),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_lease_that_nobody_renews_lapses_and_a_heartbeat_renews_it() {
        let clock = clock();
        let lifetime = begin(&clock, 60 * MINUTE, Some(10 * MINUTE), None);
        for _ in 0..4 {
            clock.advance(9 * MINUTE);
            assert_eq!(now(&lifetime).await, None);
            lifetime.heard();
        }
        clock.advance(10 * MINUTE);
        assert_eq!(now(&lifetime).await, Some(End::Lease));
    }

    #[tokio::test]
    async fn the_deadline_holds_whoever_is_there_and_moves_only_when_told() {
        let clock = clock();
        let lifetime = begin(&clock, 5 * MINUTE, Some(10 * MINUTE), None);
        clock.advance(MINUTE);
        // Detached: no lease any more, until the new deadline.
        lifetime.set(&Terms { left_seconds: 3600.into(), lease_seconds: None });
        clock.advance(59 * MINUTE);
        assert_eq!(now(&lifetime).await, None);
        clock.advance(MINUTE);
        assert_eq!(now(&lifetime).await, Some(End::Deadline));
        assert_eq!(lifetime.deadline().await, End::Deadline);
    }

    #[tokio::test]
    async fn new_terms_wake_who_waits_for_the_end() {
        let clock = clock();
        let lifetime = begin(&clock, 60 * MINUTE, None, None);
        let mut waiting = Box::pin(lifetime.over());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("not yet"),
            () = std::future::ready(()) => {}
        }
        lifetime.set(&Terms { left_seconds: 0.into(), lease_seconds: None });
        assert_eq!(waiting.await, End::Deadline);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_neither_ends_nor_extends() {
        let folder = tempfile::tempdir().expect("a folder");
        for wall in [0, NOON / 2, NOON - 3_600_000, NOON + 3_600_000, NOON * 2] {
            let file = folder.path().join("terms.json");
            let _ = fs::remove_file(&file);
            let clock = clock();
            let first = begin(&clock, 10 * MINUTE, Some(60 * MINUTE), Some(file.clone()));
            clock.set_wall(wall);
            assert_eq!(now(&first).await, None, "{wall}");
            // The container restarts, and its program would give it an hour.
            let restarted = begin(&clock, 60 * MINUTE, None, Some(file));
            clock.advance(9 * MINUTE);
            assert_eq!((now(&first).await, now(&restarted).await), (None, None), "{wall}");
            clock.advance(MINUTE);
            assert_eq!(now(&first).await, Some(End::Deadline), "{wall}");
            assert_eq!(now(&restarted).await, Some(End::Deadline), "{wall}");
        }
    }

    #[tokio::test]
    async fn a_node_that_was_started_anew_goes_by_the_wall_and_never_gives_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("terms.json");
        let after = |wall| {
            let _ = fs::remove_file(&file);
            begin(&clock(), 10 * MINUTE, None, Some(file.clone()));
            // Its boot-time clock began again.
            let clock = Clock::standing(7, wall);
            let lifetime =
                Lifetime::begin_by(clock.clone(), "another".to_owned(), Some(60 * MINUTE), None, Some(file.clone()));
            (clock, lifetime)
        };
        let (clock, lifetime) = after(NOON + 4 * 60_000);
        clock.advance(5 * MINUTE);
        assert_eq!(now(&lifetime).await, None);
        clock.advance(MINUTE);
        assert_eq!(now(&lifetime).await, Some(End::Deadline));
        // A wall clock without a battery: not a minute more than was left.
        let (clock, lifetime) = after(0);
        clock.advance(10 * MINUTE + Duration::from_secs(1));
        assert_eq!(now(&lifetime).await, Some(End::Deadline));
    }

    #[tokio::test]
    async fn a_restarted_agent_keeps_the_terms_it_was_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("terms.json");
        let clock = clock();
        let first = begin(&clock, MINUTE, Some(MINUTE), Some(file.clone()));
        first.set(&Terms { left_seconds: 0.into(), lease_seconds: None });
        first.remember().expect("written");
        let restarted = begin(&clock, MINUTE, Some(MINUTE), Some(file.clone()));
        assert_eq!(now(&restarted).await, Some(End::Deadline), "its time was over before it began again");

        // A file that was torn by a crash is none.
        fs::write(&file, b"{\"ends\":").expect("written");
        let again = begin(&clock, Duration::ZERO, None, Some(file));
        assert_eq!(now(&again).await, Some(End::Deadline));
    }

    #[tokio::test]
    async fn no_length_is_too_long() {
        let clock = clock();
        let terms = r#"{"left_seconds":18446744073709551615,"lease_seconds":18446744073709551615}"#;
        let lifetime = begin(&clock, Duration::MAX, Some(Duration::MAX), None);
        lifetime.set(&serde_json::from_str(terms).expect("terms"));
        clock.advance(60 * MINUTE);
        assert_eq!(now(&lifetime).await, None);
    }

    /// A deadline passes while the machine sleeps: the runtime's own timers would not have noticed.
    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_while_the_machine_sleeps() {
        let clock = clock();
        let lifetime = begin(&clock, 60 * MINUTE, Some(10 * MINUTE), None);
        let waiting = lifetime.clone();
        let ended = tokio::spawn(async move { waiting.over().await });
        tokio::task::yield_now().await;
        clock.advance(11 * MINUTE);
        assert_eq!(ended.await.expect("no panic"), End::Lease);
    }
}
