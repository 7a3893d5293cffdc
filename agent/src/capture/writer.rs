//! The thread that writes capture files, so that the one that captures never waits for a disk.
//!
//! Owns the open file and the files that come out of a flight recorder. Gets whole blocks in buffers and hands empty
//! buffers back; must not know packets. The list of files and its bound are the ring's.

use std::{
    fs::File,
    io::Write,
    sync::mpsc::{Receiver, Sender},
    thread::{self, JoinHandle},
};

use nodewatch_protocol::{Dropped, FilePlace, PendingFreeze, Recorder, UnixMillis};

use super::freeze::{self, Frozen};
use crate::{
    ring::{Ring, store::StoreError},
    unix_millis,
};

/// Packets reach a file a little after their time: this much more of the recorder is looked at, in milliseconds.
const SLACK: u64 = 2_000;

/// What the capture thread hands over, in order.
#[derive(Debug)]
pub enum Job {
    /// Begin this file.
    Begin {
        /// Its name in the ring.
        name: String,
        /// When its first packet may come.
        started: UnixMillis,
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
        /// What was dropped while it was open.
        dropped: Dropped,
        /// When nothing was captured while it was open, and from where; empty for never.
        incomplete: String,
    },
    /// Save this part of what the recorder holds.
    Freeze {
        /// The new file's name.
        name: String,
        /// Which part.
        span: PendingFreeze,
    },
}

/// The writing side of one capture.
pub struct Writer<N: FnMut(String)> {
    ring: Ring,
    recorder: Option<Recorder>,
    open: Option<(String, File)>,
    freezing: Vec<JoinHandle<()>>,
    failed: bool,
    notify: N,
}

impl<N: FnMut(String) + Send + 'static> Writer<N> {
    /// Starts the thread. It ends when `jobs` does and everything is on disk. Buffers go back through `empty`.
    /// `notify` is told why writing failed, once; then the file ends at its last whole block and nothing more is
    /// written.
    pub fn spawn(
        ring: Ring,
        recorder: Option<Recorder>,
        jobs: Receiver<Job>,
        empty: Sender<Vec<u8>>,
        notify: N,
    ) -> std::io::Result<JoinHandle<()>> {
        let mut writer = Self { ring, recorder, open: None, freezing: Vec::new(), failed: false, notify };
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            for job in jobs {
                writer.perform(job, &empty);
            }
            for freezing in writer.freezing {
                // A panic there has cost its own file, which the next start marks.
                let _ = freezing.join();
            }
        })
    }

    fn perform(&mut self, job: Job, empty: &Sender<Vec<u8>>) {
        let done = match job {
            Job::Begin { name, started } => self.begin(name, started),
            Job::Append { mut blocks, packets } => {
                let done = self.append(&blocks, packets);
                blocks.clear();
                // The capture thread is gone once the capture has ended; then nobody needs the buffer.
                let _ = empty.send(blocks);
                done
            }
            Job::Close { ended, dropped, incomplete } => self.close(ended, dropped, &incomplete),
            Job::Freeze { name, span } => self.freeze(name, span),
        };
        if let Err(error) = done {
            self.failed = true;
            let message = crate::error::chain(&error);
            // What it can still do about the ring is done; the first failure is the one to tell.
            let _ = self.close(unix_millis(), Dropped::default(), &format!("incomplete: {message}"));
            (self.notify)(message);
        }
    }

    fn begin(&mut self, name: String, started: UnixMillis) -> Result<(), StoreError> {
        if !self.failed {
            let place = if self.recorder.is_some() { FilePlace::Recorder } else { FilePlace::Kept };
            let file = self.ring.begin(name.clone(), started, place)?;
            self.open = Some((name, file));
        }
        Ok(())
    }

    fn append(&mut self, blocks: &[u8], packets: u64) -> Result<(), StoreError> {
        let Some((name, file)) = &mut self.open else { return Ok(()) };
        self.ring.make_room(blocks.len() as u64)?;
        if let Err(source) = file.write_all(blocks) {
            // A reader must find whole blocks only.
            let cut = file.set_len(self.ring.size(name));
            let operation = if cut.is_ok() { "write" } else { "write, or even cut," };
            return Err(StoreError::File { operation, name: name.clone(), source });
        }
        self.ring.appended(name, blocks.len() as u64, packets);
        Ok(())
    }

    fn close(&mut self, ended: UnixMillis, dropped: Dropped, incomplete: &str) -> Result<(), StoreError> {
        if let Some((name, _)) = self.open.take() {
            self.ring.close(&name, ended, dropped, incomplete);
        }
        if let Some(Recorder { seconds, bytes }) = self.recorder {
            self.ring.prune_recorder(ended.saturating_sub(seconds.millis() + SLACK), bytes)?;
        }
        Ok(())
    }

    /// On a thread of its own: copying must not hold up what is being captured.
    fn freeze(&mut self, name: String, span: PendingFreeze) -> Result<(), StoreError> {
        let wider = PendingFreeze { from: span.from.saturating_sub(SLACK), to: span.to + SLACK, ..span };
        let segments = self.ring.segments(wider)?;
        let ring = self.ring.clone();
        let work = move || {
            let mut dropped = Dropped::default();
            let mut incomplete: Vec<String> = Vec::new();
            for (file, _) in &segments {
                dropped.kernel += file.dropped.kernel;
                dropped.interface += file.dropped.interface;
                dropped.queue += file.dropped.queue;
                incomplete.extend((!file.incomplete.is_empty()).then(|| file.incomplete.clone()));
            }
            let first = segments.first().map_or(span.to, |(file, _)| file.started);
            if first > span.from {
                let late = (first - span.from) / 1000;
                incomplete.push(format!("incomplete: the recorder holds nothing of the first {late} s"));
            }
            let size = segments.iter().map(|(file, _)| file.size).sum();
            let incomplete = incomplete.join("; ");
            let done = ring.make_room(size).and_then(|()| {
                let mut out = ring.begin(name.clone(), span.from, FilePlace::Kept)?;
                let nanos = span.from * 1_000_000..=span.to * 1_000_000;
                let files = segments.into_iter().map(|(_, file)| file).collect();
                let Frozen { size, packets } = freeze::assemble(files, &nanos, &incomplete, &mut out)
                    .map_err(|source| StoreError::File { operation: "freeze into", name: name.clone(), source })?;
                ring.appended(&name, size, packets);
                Ok(())
            });
            match done {
                Ok(()) => ring.close(&name, span.to, dropped, &incomplete),
                Err(error) => ring.say(format!("the flight recorder was not saved: {}", crate::error::chain(&error))),
            }
            ring.drop_freeze(span);
        };
        let thread = thread::Builder::new().name("freeze".to_owned()).spawn(work);
        let thread = thread.map_err(|source| StoreError::File { operation: "freeze", name: String::new(), source })?;
        self.freezing.retain(|one| !one.is_finished());
        self.freezing.push(thread);
        Ok(())
    }
}
