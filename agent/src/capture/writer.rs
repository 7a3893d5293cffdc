//! The thread that writes capture files, so that the one that captures never waits for a disk.
//!
//! Owns the open file, and the count of packets that a failing disk costs. Gets whole blocks in buffers and hands empty
//! buffers back; must not know packets. The list of files and its bound are the ring's.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nodewatch_pcapng::{self as pcapng, StatisticsBlock};
use nodewatch_protocol::{Dropped, FilePlace, PendingFreeze, Recorder, UnixMillis};

use super::save;
use crate::{
    clock::Boot,
    ring::{Beginning, Ending, Ring, store::StoreError},
};

/// A piece of the recorder is kept so much longer than asked for: packets reach a file a little after their time.
const SLACK: Duration = Duration::from_secs(2);

/// What the capture thread hands over, in order.
#[derive(Debug)]
pub enum Job {
    /// Begin this file.
    Begin {
        /// Its name in the ring.
        name: String,
        /// When its first packet may come.
        started: UnixMillis,
        /// The same by the boot-time clock.
        boot: Boot,
        /// What is missing before it; empty for nothing.
        incomplete: String,
    },
    /// Append whole blocks with so many packets.
    Append {
        /// The blocks.
        blocks: Vec<u8>,
        /// Packets in them.
        packets: u64,
    },
    /// Close the file.
    Close {
        /// When.
        ended: UnixMillis,
        /// The same by the boot-time clock.
        boot: Boot,
        /// What was dropped while it was open.
        dropped: Dropped,
        /// What else is missing; empty for nothing.
        incomplete: String,
    },
    /// Save this part of what the recorder holds; all of it is in closed files.
    Freeze {
        /// Which part.
        freeze: PendingFreeze,
    },
}

/// The writing side of one capture.
pub struct Writer<N: FnMut(String)> {
    ring: Ring,
    recorder: Option<Recorder>,
    open: Option<Open>,
    /// The last file that was closed.
    last: Option<String>,
    freezing: Vec<JoinHandle<()>>,
    /// Why nothing is written any more.
    failed: Option<String>,
    /// Packets that were handed over and not written, of those that no file was told of yet.
    unwritten: u64,
    /// All of them, for the capture's statistics.
    lost: Arc<AtomicU64>,
    notify: N,
}

struct Open {
    name: String,
    file: File,
    packets: u64,
}

impl<N: FnMut(String) + Send + 'static> Writer<N> {
    /// Starts the thread. It ends when `jobs` does and everything is on disk. Buffers go back through `empty`.
    /// `notify` is told why writing failed, once; then the file ends at its last whole block and nothing more is
    /// written, but counted in `lost`.
    pub fn spawn(
        ring: Ring,
        recorder: Option<Recorder>,
        jobs: Receiver<Job>,
        empty: Sender<Vec<u8>>,
        lost: Arc<AtomicU64>,
        notify: N,
    ) -> std::io::Result<JoinHandle<()>> {
        let mut writer = Self {
            ring,
            recorder,
            open: None,
            last: None,
            freezing: Vec::new(),
            failed: None,
            unwritten: 0,
            lost,
            notify,
        };
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            for job in jobs {
                writer.perform(job, &empty);
            }
            writer.end();
        })
    }

    fn perform(&mut self, job: Job, empty: &Sender<Vec<u8>>) {
        let done = match job {
            Job::Begin { name, started, boot, incomplete } => self.begin(name, started, boot, incomplete),
            Job::Append { mut blocks, packets } => {
                let done = self.append(&blocks, packets);
                blocks.clear();
                // The capture thread is gone once the capture has ended; then nobody needs the buffer.
                let _ = empty.send(blocks);
                done
            }
            Job::Close { ended, boot, dropped, incomplete } => {
                self.close(Ending { ended, boot: boot.as_millis(), dropped, incomplete })
            }
            Job::Freeze { freeze } => self.freeze(freeze),
        };
        if let Err(error) = done {
            self.fail(&error);
        }
    }

    /// The first failure is the one to tell, and the capture's end.
    fn fail(&mut self, error: &StoreError) {
        let message = crate::error::chain(error);
        if self.failed.is_none() {
            (self.notify)(message.clone());
            self.failed = Some(message);
        }
    }

    fn begin(&mut self, name: String, started: UnixMillis, boot: Boot, incomplete: String) -> Result<(), StoreError> {
        if self.failed.is_some() {
            return Ok(());
        }
        let place = if self.recorder.is_some() { FilePlace::Recorder } else { FilePlace::Kept };
        let beginning = Beginning {
            name: name.clone(),
            started,
            boot: boot.as_millis(),
            place,
            frozen: false,
            cause: None,
            capture: None,
            incomplete,
        };
        let file = self.ring.begin(beginning)?;
        self.open = Some(Open { name, file, packets: 0 });
        Ok(())
    }

    fn append(&mut self, blocks: &[u8], packets: u64) -> Result<(), StoreError> {
        let (None, Some(open)) = (&self.failed, &mut self.open) else {
            self.lose(packets);
            return Ok(());
        };
        let mut reached = 0;
        let written = self.ring.insist_on_room(blocks.len() as u64).and_then(|mut room| {
            let written = open.file.write_all(blocks);
            let (length, whole) = match &written {
                Ok(()) => (blocks.len() as u64, packets),
                Err(_) => cut(&self.ring, open, blocks),
            };
            room.spend(&open.name, length, whole);
            open.packets += whole;
            reached = whole;
            written.map_err(|source| StoreError::File { operation: "write", name: open.name.clone(), source })
        });
        self.lose(packets - reached);
        written
    }

    fn lose(&mut self, packets: u64) {
        self.unwritten += packets;
        self.lost.fetch_add(packets, Ordering::Relaxed);
    }

    fn close(&mut self, mut ending: Ending) -> Result<(), StoreError> {
        let closed = match self.open.take() {
            Some(mut open) => {
                if let Some(why) = &self.failed {
                    let lost = std::mem::take(&mut self.unwritten);
                    ending.incomplete = marked(&self.ring, &mut open, &ending, why, lost);
                    ending.dropped.queue += lost;
                }
                let boot = Boot::from_millis(ending.boot);
                let closed = if self.failed.is_some() && self.ring.size(&open.name) == 0 {
                    // Not even its first block is there: nothing can read it.
                    self.ring.give_up(&open.name)
                } else {
                    self.last = Some(open.name.clone());
                    self.ring.close(&open.name, &ending)
                };
                closed.map(|()| boot)
            }
            None => Ok(Boot::from_millis(ending.boot)),
        };
        let boot = closed?;
        if let Some(Recorder { seconds, bytes }) = self.recorder {
            self.ring.prune_recorder(boot - seconds.duration() - SLACK, bytes);
        }
        Ok(())
    }

    /// On a thread of its own: copying must not hold up what is being captured.
    fn freeze(&mut self, freeze: PendingFreeze) -> Result<(), StoreError> {
        let ring = self.ring.clone();
        let work = move || save::save(&ring, &save::name_of(&ring, &freeze), &freeze);
        let thread = thread::Builder::new().name("freeze".to_owned()).spawn(work).map_err(StoreError::Thread)?;
        self.freezing.retain(|one| !one.is_finished());
        self.freezing.push(thread);
        Ok(())
    }

    /// No job comes any more.
    fn end(&mut self) {
        if self.open.is_some() {
            // The capture thread is gone without a word.
            let clock = self.ring.clock();
            let incomplete = "incomplete: the capture was cut short".to_owned();
            let boot = clock.boot().as_millis();
            let ending = Ending { ended: clock.unix_millis(), boot, dropped: Dropped::default(), incomplete };
            if let Err(error) = self.close(ending) {
                self.fail(&error);
            }
        }
        if let (Some(last), true) = (&self.last, self.unwritten > 0) {
            self.ring.add_lost(last, self.unwritten);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if let (Some(why), true) = (&self.failed, lost > 0) {
            self.ring.say(format!("could not write {lost} captured packets: {why}"));
        }
        for freezing in self.freezing.drain(..) {
            // A panic there has cost its own file, which the next start marks.
            let _ = freezing.join();
        }
    }
}

/// Of blocks that were written in part the whole ones stay, as a reader must find no others: their bytes and packets.
fn cut(ring: &Ring, open: &mut Open, blocks: &[u8]) -> (u64, u64) {
    let before = ring.size(&open.name);
    let there = open.file.metadata().map_or(before, |facts| facts.len()).saturating_sub(before);
    let there = usize::try_from(there).unwrap_or(usize::MAX).min(blocks.len());
    let whole = pcapng::whole(&blocks[..there]).unwrap_or_default();
    let size = before + whole.length;
    match open.file.set_len(size).and_then(|()| open.file.seek(SeekFrom::Start(size))) {
        Ok(_) => (whole.length, whole.packets),
        // The next start cuts it.
        Err(_) => (0, 0),
    }
}

/// Says at the end of a file what is missing there. The disk that failed may take that little; where it does not, or
/// the ring has no room to count it, the list alone has it.
fn marked(ring: &Ring, open: &mut Open, ending: &Ending, why: &str, lost: u64) -> String {
    let words = format!("incomplete: {why}; {lost} captured packets were not written");
    let comment = if ending.incomplete.is_empty() { words } else { format!("{words}; {}", ending.incomplete) };
    let mut block = Vec::new();
    let counts = StatisticsBlock {
        interface: 0,
        at: ending.ended.saturating_mul(1_000_000),
        since: 0,
        received: open.packets + lost + ending.dropped.queue + ending.dropped.kernel,
        dropped_by_interface: ending.dropped.interface,
        dropped_by_kernel: ending.dropped.kernel,
        delivered: open.packets,
        comment: &comment,
    };
    pcapng::interface_statistics(&mut block, &counts);
    let size = ring.size(&open.name);
    if size == 0 {
        return comment;
    }
    let Ok(mut room) = ring.insist_on_room(block.len() as u64) else { return comment };
    match open.file.write_all(&block) {
        Ok(()) => room.spend(&open.name, block.len() as u64, 0),
        Err(_) => {
            // What is cut already cannot be cut better.
            let _ = open.file.set_len(size);
        }
    }
    comment
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::channel};

    use nodewatch_pcapng::{Block, Reader};

    use super::*;
    use crate::{
        clock::Clock,
        ring::{store::Store, tests::bytes},
    };

    #[test]
    fn packets_that_a_failed_disk_does_not_take_are_counted_in_file_list_and_statistics() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open(Store::open(folder.path()).expect("a folder"), "n").expect("a ring");
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            ring: ring.clone(),
            recorder: None,
            open: None,
            last: None,
            freezing: Vec::new(),
            failed: None,
            unwritten: 0,
            lost: Arc::clone(&lost),
            notify: move |message| tell.lock().expect("no panic").push(message),
        };
        let (empty, _buffers) = channel();
        let boot = Clock::system().boot();
        let begin = |name: &str| Job::Begin { name: name.into(), started: 1, boot, incomplete: String::new() };
        let append = |packets| Job::Append { blocks: bytes(packets, false), packets };
        let dropped = Dropped { kernel: 1, ..Dropped::default() };
        let close = || Job::Close { ended: 2, boot, dropped, incomplete: String::new() };
        writer.perform(begin("a.pcapng"), &empty);
        writer.perform(append(3), &empty);
        // From now on the disk takes nothing.
        let path = folder.path().join("a.pcapng");
        let writable = std::mem::replace(
            &mut writer.open.as_mut().expect("open").file,
            File::open(&path).expect("for reading only"),
        );
        writer.perform(append(10), &empty);
        writer.perform(append(5), &empty);
        // The little that says so, it takes again.
        writer.open.as_mut().expect("open").file = writable;
        writer.perform(close(), &empty);
        writer.perform(begin("b.pcapng"), &empty);
        writer.perform(append(7), &empty);
        writer.perform(close(), &empty);
        writer.end();

        let files = ring.files();
        let [file] = &files[..] else { panic!("one file: {files:?}") };
        assert_eq!((file.packets, file.dropped.queue, file.dropped.kernel), (3, 22, 1));
        assert!(file.incomplete.contains("15 captured packets were not written"), "{}", file.incomplete);
        assert_eq!((lost.load(Ordering::Relaxed), told.lock().expect("no panic").len()), (22, 1), "told once");
        assert!(ring.messages().iter().any(|said| said.contains("could not write 22 captured packets")));
        let mut reader = Reader::new(File::open(&path).expect("open"));
        let mut counts = None;
        while let Some(block) = reader.next_block().expect("whole") {
            if let Block::Statistics(found) = block {
                counts = Some(found);
            }
        }
        let counts = counts.expect("the file says so");
        assert_eq!((counts.received, counts.delivered, counts.comments[0].as_str()), (19, 3, file.incomplete.as_str()));
        assert_eq!(ring.store().size("a.pcapng").expect("there"), file.size);
    }

    #[test]
    fn a_mark_that_the_ring_has_no_room_for_is_in_the_list_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open(Store::open(folder.path()).expect("a folder"), "n").expect("a ring");
        let put = |name: &str| {
            let bytes = bytes(2, false);
            let beginning = Beginning { name: name.into(), ..Beginning::default() };
            let mut file = ring.begin(beginning).expect("begun");
            file.write_all(&bytes).expect("written");
            ring.insist_on_room(bytes.len() as u64).expect("room").spend(name, bytes.len() as u64, 2);
            Open { name: name.to_owned(), file, packets: 2 }
        };
        put("old-1.pcapng");
        ring.close("old-1.pcapng", &Ending::default()).expect("closed");
        let mut open = put("a-2.pcapng");
        // What would have to go for it cannot be removed.
        std::fs::remove_file(folder.path().join("old-1.pcapng")).expect("removed");
        std::fs::create_dir(folder.path().join("old-1.pcapng")).expect("a folder");
        ring.limit_volume(ring.size("a-2.pcapng") + ring.size("old-1.pcapng"));
        let said = marked(&ring, &mut open, &Ending::default(), "the disk is broken", 3);
        assert!(said.contains("3 captured packets were not written"), "{said}");
        assert_eq!(ring.store().size("a-2.pcapng").expect("there"), ring.size("a-2.pcapng"));
    }
}
