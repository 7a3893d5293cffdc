//! The thread that writes the ring's list, so that nobody else waits for the disk because of it.
//!
//! Owns when the list is written: the latest one wins, and a disk that stands still holds up this thread alone. What is
//! written is asked for at the moment of writing.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// A large list is written so seldom that this much of the time is spent on it at most: one part of so many.
const SHARE: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A disk that takes longer than this for one list stands still.
const STALLED: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Due {
    /// Changes so far.
    changes: u64,
    /// Somebody waits: no pause.
    hurry: bool,
    /// Since when a list is being written.
    writing: Option<Instant>,
    told_stall: bool,
    closed: bool,
}

struct Shared {
    due: Mutex<Due>,
    changed: Condvar,
    /// The number of changes that the list on disk has in it.
    written: watch::Sender<u64>,
}

/// The thread's handle. Dropping it lets the thread write what is due and end.
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    /// Starts the thread. `write` writes the list as it is then.
    pub fn start(mut write: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { due: Mutex::default(), changed: Condvar::new(), written: watch::channel(0).0 });
        let keeper = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name("list".to_owned()).spawn(move || {
            while let Some(changes) = shared.next() {
                let began = Instant::now();
                write();
                shared.lock().writing = None;
                shared.written.send_replace(changes);
                shared.rest((began.elapsed() * (SHARE - 1)).min(LONGEST_PAUSE));
            }
        })?;
        Ok(keeper)
    }

    /// The list has changed.
    pub fn changed(&self) {
        self.shared.lock().changes += 1;
        self.shared.changed.notify_all();
    }

    /// Tells when all changes until now are on disk: the number to wait for, and the numbers that are reached.
    pub fn written(&self) -> (u64, watch::Receiver<u64>) {
        let changes = {
            let mut due = self.shared.lock();
            due.hurry = true;
            due.changes
        };
        self.shared.changed.notify_all();
        (changes, self.shared.written.subscribe())
    }

    /// A list is being written for so long that the disk stands still: true once a stall.
    pub fn has_stalled(&self) -> bool {
        let mut due = self.shared.lock();
        let stalled = due.writing.is_some_and(|since| since.elapsed() > STALLED);
        let first = stalled && !due.told_stall;
        due.told_stall = stalled;
        first
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Due> {
        // A few assignments under the lock: whole even if a holder panicked.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change; `None` at the end.
    fn next(&self) -> Option<u64> {
        let mut due = self.lock();
        loop {
            if due.changes > *self.written.borrow() {
                due.writing = Some(Instant::now());
                due.hurry = false;
                return Some(due.changes);
            }
            if due.closed {
                return None;
            }
            due = self.changed.wait(due).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn rest(&self, pause: Duration) {
        let due = self.lock();
        let wait = self.changed.wait_timeout_while(due, pause, |due| !due.hurry && !due.closed);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    #[test]
    fn the_latest_wins_nobody_waits_and_the_last_is_written_at_the_end() {
        let (enter, entered) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let count = Arc::new(AtomicUsize::new(0));
        let writes = Arc::clone(&count);
        let keeper = Keeper::start(move || {
            enter.send(()).expect("the test waits");
            left.recv().expect("the test lets it go");
            writes.fetch_add(1, Ordering::SeqCst);
        })
        .expect("a thread");
        keeper.changed();
        entered.recv().expect("it writes");
        // The disk stands still: changes go on all the same, and become one list.
        for _ in 0..1000 {
            keeper.changed();
        }
        let (wanted, mut written) = keeper.written();
        assert_eq!((wanted, *written.borrow()), (1001, 0));
        leave.send(()).expect("open");
        entered.recv().expect("it writes again");
        leave.send(()).expect("open");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let reached = runtime.block_on(written.wait_for(|reached| *reached >= wanted)).map(|reached| *reached);
        assert_eq!((reached.expect("it lives"), count.load(Ordering::SeqCst)), (1001, 2));

        keeper.changed();
        entered.recv().expect("it writes");
        keeper.changed();
        drop(keeper);
        leave.send(()).expect("open");
        entered.recv().expect("the last change too");
        leave.send(()).expect("open");
        assert!(entered.recv().is_err(), "and then it ends");
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }
}
