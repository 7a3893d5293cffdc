//! The thread that writes capture files, so that the one that captures never waits for a disk.
//!
//! Owns the open file, rotation on disk and the ring's bound. Gets whole blocks in buffers and hands empty buffers
//! back; must not know packets. What it does, it tells as [`FileEvent`]s.

use std::{
    fs::File,
    io::Write,
    sync::mpsc::{Receiver, Sender},
    thread,
};

use nodewatch_protocol::{CaptureFile, FileState, UnixMillis};

use super::store::{Store, StoreError, surplus};

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
    Close,
}

/// What became of the files.
#[derive(Debug)]
pub enum FileEvent {
    /// The list of files, whenever it changed.
    Files(Vec<CaptureFile>),
    /// The oldest file went to keep the ring within its bound.
    Discarded(String),
    /// Writing failed; the file ends at its last whole block and nothing more is written.
    Failed(String),
}

/// The writing side of one capture.
pub struct Writer<N: FnMut(FileEvent)> {
    store: Store,
    limit: u64,
    files: Vec<CaptureFile>,
    open: Option<File>,
    failed: bool,
    notify: N,
}

impl<N: FnMut(FileEvent) + Send + 'static> Writer<N> {
    /// Starts the thread. It ends when `jobs` does. Buffers go back through `empty`.
    pub fn spawn(
        store: Store,
        limit: u64,
        files: Vec<CaptureFile>,
        jobs: Receiver<Job>,
        empty: Sender<Vec<u8>>,
        notify: N,
    ) -> std::io::Result<thread::JoinHandle<Vec<CaptureFile>>> {
        let mut writer = Self { store, limit, files, open: None, failed: false, notify };
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            for job in jobs {
                writer.perform(job, &empty);
            }
            writer.files
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
            Job::Close => {
                self.close();
                Ok(())
            }
        };
        if let Err(error) = done {
            self.failed = true;
            self.close();
            (self.notify)(FileEvent::Failed(crate::error::chain(&error)));
        }
    }

    fn begin(&mut self, name: String, started: UnixMillis) -> Result<(), StoreError> {
        if self.failed {
            return Ok(());
        }
        self.open = Some(self.store.create(&name)?);
        self.files.push(CaptureFile { name, size: 0, packets: 0, started, state: FileState::Open });
        self.tell();
        Ok(())
    }

    fn append(&mut self, blocks: &[u8], packets: u64) -> Result<(), StoreError> {
        let (Some(open), Some(entry)) = (&mut self.open, self.files.last_mut()) else { return Ok(()) };
        if let Err(source) = open.write_all(blocks) {
            // A reader must find whole blocks only.
            let cut = open.set_len(entry.size);
            let operation = if cut.is_ok() { "write" } else { "write, or even cut," };
            return Err(StoreError::File { operation, name: entry.name.clone(), source });
        }
        entry.size += blocks.len() as u64;
        entry.packets += packets;
        self.discard_surplus()?;
        self.tell();
        Ok(())
    }

    fn discard_surplus(&mut self) -> Result<(), StoreError> {
        for name in surplus(&self.files, self.limit) {
            self.store.remove(&name)?;
            self.files.retain(|file| file.name != name);
            (self.notify)(FileEvent::Discarded(name));
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            if let Some(entry) = self.files.last_mut() {
                entry.state = FileState::Closed;
            }
            self.tell();
        }
    }

    fn tell(&mut self) {
        (self.notify)(FileEvent::Files(self.files.clone()));
    }
}
