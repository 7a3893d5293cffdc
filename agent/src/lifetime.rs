//! The agent's right to go on: its deadline, its lease, and the signals that end it.
//!
//! Owns when the agent ends; what an end means is the hub's. The terms survive a restart of the container in a file
//! beside the ring, as the deadline counts from the session's beginning and not from the restart.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nodewatch_protocol::{Terms, UnixMillis};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A century: without a deadline, time all the same has an end to compute with.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 86_400);

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
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    file: Option<PathBuf>,
}

struct State {
    deadline: Instant,
    lease: Option<Duration>,
    heard: Instant,
}

/// The terms as a restarted process needs them: the deadline as a moment, not as a time that is left.
#[derive(Serialize, Deserialize)]
struct Remembered {
    ends: UnixMillis,
    lease_seconds: Option<u64>,
}

impl Lifetime {
    /// The terms that the process before this one has left in `file`, otherwise these. `None` is no limit.
    pub fn begin(deadline: Option<Duration>, lease: Option<Duration>, file: Option<PathBuf>) -> Self {
        let now = Instant::now();
        let remembered = file.as_ref().and_then(|file| fs::read(file).ok());
        let remembered: Option<Remembered> = remembered.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (left, lease) = match remembered {
            Some(terms) => (
                Duration::from_millis(terms.ends.saturating_sub(crate::unix_millis())),
                terms.lease_seconds.map(Duration::from_secs),
            ),
            None => (deadline.unwrap_or(FOR_GOOD), lease),
        };
        let state = State { deadline: now + left.min(FOR_GOOD), lease, heard: now };
        let lifetime = Self { state: Arc::new(Mutex::new(state)), changed: Arc::default(), file };
        // A restart within the first terms must find them too; a full disk costs only that.
        let _ = lifetime.remember();
        lifetime
    }

    /// Somebody is there.
    pub fn heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// New terms from the session. An error means that a restarted agent would not know them.
    pub fn set(&self, terms: &Terms) -> io::Result<()> {
        {
            let mut state = self.lock();
            let now = Instant::now();
            state.deadline = now + Duration::from_secs(terms.left_seconds).min(FOR_GOOD);
            state.lease = terms.lease_seconds.map(Duration::from_secs);
            state.heard = now;
        }
        self.changed.notify_one();
        self.remember()
    }

    /// Waits for the end.
    pub async fn over(&self) -> End {
        loop {
            let (at, end) = self.lock().end();
            if at <= Instant::now() {
                return end;
            }
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn remember(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let remembered = {
            let state = self.lock();
            let left = state.deadline.saturating_duration_since(Instant::now());
            Remembered {
                ends: crate::unix_millis().saturating_add(left.as_millis() as u64),
                lease_seconds: state.lease.map(|lease| lease.as_secs()),
            }
        };
        let part = file.with_extension("part");
        fs::write(&part, serde_json::to_vec(&remembered)?)?;
        fs::rename(part, file)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a few assignments, so the state is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&self) -> (Instant, End) {
        match self.lease.map(|lease| self.heard + lease.min(FOR_GOOD)) {
            Some(lapse) if lapse < self.deadline => (lapse, End::Lease),
            _ => (self.deadline, End::Deadline),
        }
    }
}

/// Waits for a signal that ends the agent.
pub async fn ended() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn ends_after(lifetime: &Lifetime) -> (u64, End) {
        let began = Instant::now();
        let end = lifetime.over().await;
        (began.elapsed().as_secs(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_nobody_renews_lapses_and_a_heartbeat_renews_it() {
        let lifetime = Lifetime::begin(Some(60 * MINUTE), Some(10 * MINUTE), None);
        assert_eq!(ends_after(&lifetime).await, (600, End::Lease));

        let lifetime = Lifetime::begin(Some(60 * MINUTE), Some(10 * MINUTE), None);
        let waiting = lifetime.clone();
        let ended = tokio::spawn(async move { ends_after(&waiting).await });
        for _ in 0..4 {
            tokio::time::sleep(9 * MINUTE).await;
            lifetime.heard();
        }
        assert_eq!(ended.await.expect("no panic"), (46 * 60, End::Lease));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds_whoever_is_there_and_moves_only_when_told() {
        let lifetime = Lifetime::begin(Some(5 * MINUTE), Some(10 * MINUTE), None);
        assert_eq!(ends_after(&lifetime).await, (300, End::Deadline));

        let lifetime = Lifetime::begin(Some(5 * MINUTE), Some(10 * MINUTE), None);
        let waiting = lifetime.clone();
        let ended = tokio::spawn(async move { ends_after(&waiting).await });
        tokio::time::sleep(MINUTE).await;
        // Detached: no lease any more, until the new deadline.
        lifetime.set(&Terms { left_seconds: 3600, lease_seconds: None }).expect("no file");
        assert_eq!(ended.await.expect("no panic"), (61 * 60, End::Deadline));
    }

    #[tokio::test]
    async fn a_restarted_agent_keeps_the_terms_it_was_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("terms.json");
        let first = Lifetime::begin(Some(MINUTE), Some(MINUTE), Some(file.clone()));
        first.set(&Terms { left_seconds: 0, lease_seconds: None }).expect("written");
        let restarted = Lifetime::begin(Some(MINUTE), Some(MINUTE), Some(file.clone()));
        assert_eq!(restarted.over().await, End::Deadline, "its time was over before it began again");

        // A file that was torn by a crash is none.
        fs::write(&file, b"{\"ends\":").expect("written");
        let again = Lifetime::begin(Some(Duration::ZERO), None, Some(file));
        assert_eq!(again.over().await, End::Deadline);
    }
}
