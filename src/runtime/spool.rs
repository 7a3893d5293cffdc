//! Standard output and standard error, written by a thread each, so that nothing waits for whoever reads them.
//!
//! Owns the order of what is written, how much of it waits, whether anybody still reads, and why nothing can be written.
//! Must not know what the bytes say.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt,
    },
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;

use crate::base::text;

/// While nothing is written, it is looked so often whether anybody still reads.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A pipe takes as much at once.
const PIECE: usize = 64 * 1024;

/// The program was told to end.
static HURRIED: AtomicBool = AtomicBool::new(false);

/// From now on a reader that is slow gets little more time: the program was told to end from outside.
pub fn hurry() {
    HURRIED.store(true, Ordering::Relaxed);
}

/// Whether it was.
pub fn is_hurried() -> bool {
    HURRIED.load(Ordering::Relaxed)
}

/// The program's standard output.
pub fn stdout() -> &'static Spool {
    static SPOOL: OnceLock<Spool> = OnceLock::new();
    SPOOL.get_or_init(|| Spool::over(io::stdout().as_fd()))
}

/// The program's standard error.
pub fn stderr() -> &'static Spool {
    static SPOOL: OnceLock<Spool> = OnceLock::new();
    SPOOL.get_or_init(|| Spool::over(io::stderr().as_fd()))
}

/// Bytes on their way to a file descriptor.
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// How it stands, for those who wait without a thread of their own.
    told: watch::Sender<Standing>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    standing: Standing,
    /// Why nothing more is written, where that is not for want of a reader.
    failure: Option<io::Error>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// Bytes that are not written yet.
    waiting: usize,
    /// Nobody reads any more, and nothing more is written.
    gone: bool,
}

impl Spool {
    /// Writes to that descriptor from now on.
    pub fn over(descriptor: BorrowedFd<'_>) -> Self {
        let shared = Arc::new(Shared::default());
        let written = Arc::clone(&shared);
        let begun = descriptor.try_clone_to_owned().and_then(|owned| {
            let name = "output".to_owned();
            std::thread::Builder::new().name(name).spawn(move || written.write(&File::from(owned)))
        });
        if begun.is_err() {
            // Without a thread there is no way out of here.
            shared.lock().standing.gone = true;
        }
        Self { shared }
    }

    /// Puts bytes behind those that wait. Never waits itself.
    pub fn push(&self, bytes: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.standing.gone || bytes.is_empty() {
            return;
        }
        state.standing.waiting += bytes.len();
        state.queue.push_back(bytes);
        self.shared.tell(&state);
    }

    /// Waits until all is written or nobody reads any more, no longer than that; false when time was too short.
    pub fn written_within(&self, at_most: Duration) -> bool {
        let end = Instant::now() + at_most;
        let mut state = self.shared.lock();
        while state.standing.waiting > 0 && !state.standing.gone {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Bytes that are not written yet.
    pub fn waiting(&self) -> usize {
        self.shared.lock().standing.waiting
    }

    /// Whether nobody reads any more.
    pub fn is_gone(&self) -> bool {
        self.shared.lock().standing.gone
    }

    /// Why bytes were not written, though somebody may read: a full disk. A reader that has left is no failure.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.as_ref().map(text::reason)
    }

    /// Waits until nobody reads any more.
    pub async fn gone(&self) {
        self.until(|standing| standing.gone).await;
    }

    /// Waits until all is written, or nobody reads any more.
    pub async fn drained(&self) {
        self.until(|standing| standing.gone || standing.waiting == 0).await;
    }

    async fn until(&self, so: impl Fn(&Standing) -> bool) {
        // The sender lives as long as this value.
        let _ = self.shared.told.subscribe().wait_for(|standing| so(standing)).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is a few assignments, so the state is whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State) {
        self.told.send_replace(state.standing);
        self.changed.notify_all();
    }

    /// The thread: writes what comes until nobody reads any more.
    fn write(&self, file: &File) {
        while let Some(bytes) = self.next(file) {
            for piece in bytes.chunks(PIECE) {
                if let Err(error) = write_all(file, piece) {
                    self.give_up(Some(error).filter(|error| !is_reader_gone(error, file)));
                    return;
                }
                let mut state = self.lock();
                state.standing.waiting = state.standing.waiting.saturating_sub(piece.len());
                self.tell(&state);
            }
        }
        self.give_up(None);
    }

    /// What is to be written next; `None` when nobody reads any more.
    fn next(&self, file: &File) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if let Some(bytes) = state.queue.pop_front() {
                return Some(bytes);
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && is_closed(file) {
                return None;
            }
        }
    }

    fn give_up(&self, failure: Option<io::Error>) {
        let mut state = self.lock();
        state.queue.clear();
        state.failure = failure;
        state.standing = Standing { waiting: 0, gone: true };
        self.tell(&state);
    }
}

/// The pipe has no other end any more, or the terminal has hung up, which answers as a broken disk does.
fn is_reader_gone(error: &io::Error, file: &File) -> bool {
    let is_device = || file.metadata().is_ok_and(|facts| facts.file_type().is_char_device());
    let is_io = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    error.kind() == io::ErrorKind::BrokenPipe || (is_io && is_device())
}

/// The other end of a pipe is closed, or the terminal has hung up.
fn is_closed(file: &File) -> bool {
    let mut looked = [PollFd::new(file, PollFlags::empty())];
    let now = Timespec::default();
    let found = poll(&mut looked, Some(&now));
    found.is_ok() && looked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

/// Whoever shares the descriptor may have made it one that does not wait.
fn write_all(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut looked = [PollFd::new(file, PollFlags::OUT)];
                // Interrupted by a signal it is looked at again.
                let _ = poll(&mut looked, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_nobody_reads_holds_nothing_up_and_comes_whole_when_it_is_read() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let spool = Spool::over(writer.as_fd());
        drop(writer);
        let line = [b'x'; 1000];
        for _ in 0..1000 {
            spool.push(line.to_vec());
        }
        assert!(!spool.written_within(Duration::from_millis(10)), "a pipe is smaller");
        assert!(spool.waiting() > 0 && !spool.is_gone());
        let read = std::thread::spawn(move || {
            let mut all = vec![0; 1_000_000];
            reader.read_exact(&mut all).map(|()| all)
        });
        assert!(spool.written_within(Duration::from_secs(30)));
        assert_eq!(read.join().expect("no panic").expect("all of it"), vec![b'x'; 1_000_000]);
    }

    #[tokio::test]
    async fn a_full_disk_is_no_reader_that_left() {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        let spool = Spool::over(full.as_fd());
        spool.push(b"for nobody".to_vec());
        spool.drained().await;
        assert_eq!(spool.failure().as_deref(), Some("No space left on device"));
        let (reader, writer) = io::pipe().expect("a pipe");
        let spool = Spool::over(writer.as_fd());
        drop((reader, writer));
        spool.push(b"for nobody".to_vec());
        spool.drained().await;
        assert!(spool.is_gone() && spool.failure().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_noticed_though_nothing_is_written() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let spool = Spool::over(writer.as_fd());
        drop((reader, writer));
        spool.gone().await;
        spool.push(b"for nobody".to_vec());
        spool.drained().await;
        assert_eq!(spool.waiting(), 0);
    }
}
