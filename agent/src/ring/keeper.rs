//! The thread that writes the ring's list, so that nobody else waits for the disk because of it.
//!
//! Owns when the list is written: the latest one wins, and a disk that stands still holds up this thread alone. What is
//! written is asked for at the moment of writing, and one that could not be written is tried again.

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
    /// Tries so far, each with its number.
    tries: u64,
    /// Since when a list is being written.
    writing: Option<Instant>,
    told_stall: bool,
    closed: bool,
}

/// How far writing has got.
#[derive(Default)]
struct Written {
    /// The number of changes that the list on disk has in it.
    changes: u64,
    /// The last try that failed.
    failed: u64,
}

/// One try.
struct Try {
    number: u64,
    changes: u64,
    /// Nobody is there to see another.
    last: bool,
}

struct Shared {
    due: Mutex<Due>,
    changed: Condvar,
    written: watch::Sender<Written>,
}

/// The thread's handle. Dropping it lets the thread write what is due and end.
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    /// Starts the thread. `write` writes the list as it is then; false when it could not, and is to try again later.
    pub fn start(mut write: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { due: Mutex::default(), changed: Condvar::new(), written: watch::Sender::default() });
        let keeper = Self { shared: Arc::clone(&shared) };
        thread::Builder::new().name("list".to_owned()).spawn(move || {
            while let Some(Try { number, changes, last }) = shared.next() {
                let began = Instant::now();
                let done = write();
                shared.lock().writing = None;
                shared.written.send_modify(|written| {
                    if done {
                        written.changes = changes;
                    } else {
                        written.failed = number;
                    }
                });
                if !done && last {
                    return;
                }
                let pause = if done { (began.elapsed() * (SHARE - 1)).min(LONGEST_PAUSE) } else { LONGEST_PAUSE };
                shared.rest(pause);
            }
        })?;
        Ok(keeper)
    }

    /// The list has changed.
    pub fn changed(&self) {
        self.shared.lock().changes += 1;
        self.shared.changed.notify_all();
    }

    /// Asks at once for all changes until now to be on disk, and tells when they are; false when a try from now on
    /// has failed.
    pub fn written(&self) -> impl Future<Output = bool> + use<> {
        let (changes, tries) = {
            let mut due = self.shared.lock();
            due.hurry = true;
            (due.changes, due.tries)
        };
        self.shared.changed.notify_all();
        let mut written = self.shared.written.subscribe();
        async move {
            let told = written.wait_for(|written| written.changes >= changes || written.failed > tries).await;
            told.is_ok_and(|written| written.changes >= changes)
        }
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

    /// Waits for a change that is not on disk; `None` at the end.
    fn next(&self) -> Option<Try> {
        let mut due = self.lock();
        loop {
            if due.changes > self.written.borrow().changes {
                due.writing = Some(Instant::now());
                due.hurry = false;
                due.tries += 1;
                return Some(Try { number: due.tries, changes: due.changes, last: due.closed });
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
            true
        })
        .expect("a thread");
        keeper.changed();
        entered.recv().expect("it writes");
        // The disk stands still: changes go on all the same, and become one list.
        for _ in 0..1000 {
            keeper.changed();
        }
        let written = keeper.written();
        leave.send(()).expect("open");
        entered.recv().expect("it writes again");
        leave.send(()).expect("open");
        assert_eq!((wait(written), count.load(Ordering::SeqCst)), (true, 2));

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

    fn wait(written: impl Future<Output = bool>) -> bool {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(written)
    }

    #[test]
    fn a_list_that_could_not_be_written_is_tried_again_without_another_change() {
        let (enter, entered) = mpsc::channel();
        let (leave, left) = mpsc::channel::<bool>();
        let keeper = Keeper::start(move || {
            enter.send(()).expect("the test waits");
            left.recv().expect("the test lets it go")
        })
        .expect("a thread");
        keeper.changed();
        entered.recv().expect("it writes");
        leave.send(false).expect("open");
        entered.recv().expect("it tries again by itself");
        // Whoever asks now is told of the next try, not of this one.
        let written = keeper.written();
        leave.send(false).expect("open");
        entered.recv().expect("at once");
        leave.send(false).expect("open");
        assert!(!wait(written));
        let written = keeper.written();
        entered.recv().expect("and again");
        leave.send(true).expect("open");
        assert!(wait(written));

        // At the end it is tried once more, and no longer.
        keeper.changed();
        entered.recv().expect("it writes");
        drop(keeper);
        leave.send(false).expect("open");
        entered.recv().expect("once more");
        leave.send(false).expect("open");
        assert!(entered.recv().is_err(), "and then it ends");
    }
}
