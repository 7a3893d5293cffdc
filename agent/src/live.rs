//! A running capture's files as one stream, while they are written.
//!
//! Owns the order of files, which is that of the ring's list, and when the stream ends. Runs as a process of its own
//! beside the agent, and sees nothing but the ring's folder. What went out of the ring before it was read is marked in
//! the stream and counted.

mod thin;

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use nodewatch_pcapng::{MAX_BLOCK, SectionBlock, section_header};
use nodewatch_protocol::{
    CaptureRecord, FilePlace, FileRecord, FileState, RingList, StopReason, StreamMark, UnixMillis,
};

use crate::ring::store::{Store, StoreError};
use thin::Thin;

/// Between two looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOKS_A_SECOND: usize = 5;
/// A capture has so long to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// Read at once; a longer block makes it grow.
const BUFFER: usize = 256 * 1024;
/// An enhanced packet block's type.
const PACKET: u32 = 6;

/// The stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ring.
    #[error(transparent)]
    Ring(#[from] StoreError),
    /// Reading, or whoever reads the stream.
    #[error("the stream was cut")]
    Stream(#[from] io::Error),
    /// Nothing to follow.
    #[error("no capture is running")]
    NoCapture,
}

/// What to follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct From {
    /// Files that were closed before this time are left out.
    pub since: UnixMillis,
    /// The capture that began then, running or not; `None` is the one that runs.
    pub capture: Option<UnixMillis>,
    /// At most so many packets a second, the latest ones, and of each its headers; `None` is every one, whole.
    pub rate: Option<u32>,
}

/// What is not in the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// Files that went unread, in whole or in part.
    pub files: u64,
    /// Their packets.
    pub packets: u64,
    /// Files went of which nothing is known any more.
    pub more: bool,
}

impl Missed {
    /// All is there.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.more { "at least " } else { "" };
        write!(f, "the stream lacks {least}{} packets of {least}{} files", self.packets, self.files)
    }
}

/// Copies a capture's files until it has ended and all is copied; returns what went before it was read.
pub fn follow(store: &Store, from: &From, out: &mut impl Write) -> Result<Missed, FollowError> {
    let mut list = List::of(store);
    let (capture, mut last) = begun(&mut list, from)?;
    // Up to there everything was told.
    let mut known = last;
    let thin = from.rate.map(|rate| Thin::new(rate as usize));
    let mut stream = Stream { out, missed: Missed::default(), buffer: vec![0; BUFFER], thin };
    stream.mark(&StreamMark::Capture(capture))?;
    loop {
        let Some(ring) = list.look() else {
            thread::sleep(LOOK_EVERY);
            continue;
        };
        let captures = one_capture(&ring, capture);
        let record = next(&ring, &captures, last);
        let over = record.is_none() && over(&ring, &captures);
        if let Some(forgotten) = forgotten(&ring, &captures).filter(|_| record.is_some() || over)
            && known.is_none_or(|known| forgotten > known)
        {
            stream.forgotten(forgotten)?;
            known = Some(forgotten);
        }
        let Some(record) = record else {
            if over {
                stream.mark(&StreamMark::End)?;
                return Ok(stream.missed);
            }
            thread::sleep(LOOK_EVERY);
            continue;
        };
        last = Some(record.file.sequence);
        known = known.max(last);
        if record.place == FilePlace::Gone {
            stream.missed(record, record.file.packets, "removed from the ring before it was read")?;
            continue;
        }
        match store.read_from(&record.file.name, 0) {
            Ok(input) => stream.file(&mut list, record, &input)?,
            Err(_) => stream.missed(record, record.file.packets, "removed from the ring before it was read")?,
        }
    }
}

/// The ring's list, read again only when the agent has written it.
struct List<'a> {
    store: &'a Store,
    read: Option<(Written, Rc<RingList>)>,
}

/// The file's number, its size, and when it was written: each list is a file of its own.
type Written = (u64, u64, i64, i64);

impl<'a> List<'a> {
    fn of(store: &'a Store) -> Self {
        Self { store, read: None }
    }

    /// As it is now; `None` where there is nothing that can be read.
    fn look(&mut self) -> Option<Rc<RingList>> {
        // Asked before reading: a newer list than this says is read once more, never missed.
        let written = self.store.list_written();
        if let (Some(written), Some((before, ring))) = (written, &self.read)
            && written == *before
        {
            return Some(Rc::clone(ring));
        }
        let ring = Rc::new(self.store.latest_list()?);
        self.read = written.map(|written| (written, Rc::clone(&ring)));
        Some(ring)
    }
}

/// When the latest packets go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// When it is time to.
    WhenDue,
    /// What there is.
    Now,
    /// All, for nothing more of this file can go out.
    Rest,
}

struct Stream<'a, W> {
    out: &'a mut W,
    missed: Missed,
    buffer: Vec<u8>,
    /// Only the latest packets go out.
    thin: Option<Thin>,
}

impl<W: Write> Stream<'_, W> {
    /// A section without interfaces, between those of files.
    fn mark(&mut self, mark: &StreamMark) -> io::Result<()> {
        let mut bytes = Vec::new();
        let comments = [mark.to_string()];
        let application = concat!("nodewatch-agent ", env!("CARGO_PKG_VERSION"));
        section_header(&mut bytes, &SectionBlock { hardware: "", application, comments: &comments });
        self.out.write_all(&bytes)?;
        self.out.flush()
    }

    fn missed(&mut self, record: &FileRecord, packets: u64, why: &str) -> io::Result<()> {
        if packets == 0 {
            return Ok(());
        }
        self.missed.files += 1;
        self.missed.packets += packets;
        self.mark(&StreamMark::Missed { sequence: record.file.sequence, packets, why: why.to_owned() })
    }

    fn forgotten(&mut self, sequence: u64) -> io::Result<()> {
        self.missed.more = true;
        self.mark(&StreamMark::Forgotten(sequence))
    }

    /// One file from its beginning until it is closed and all of it is copied. Only whole blocks go out: what is torn
    /// is cut by the agent that comes next.
    fn file(&mut self, list: &mut List<'_>, record: &FileRecord, input: &File) -> io::Result<()> {
        self.mark(&StreamMark::File(record.file.sequence))?;
        let name = &record.file.name;
        let (mut at, mut packets) = (0, 0);
        if let Some(thin) = &mut self.thin {
            thin.begin();
        }
        loop {
            if self.copy(input, &mut at, &mut packets)? {
                continue;
            }
            // Looked at before reading: what is closed now has no more than what is read next.
            let closed = list.look().and_then(|ring| closed(&ring, name));
            if self.copy(input, &mut at, &mut packets)? {
                continue;
            }
            // What was read goes out, and the file's last packets before the next file begins.
            self.show(if closed.is_some() { Show::Rest } else { Show::Now })?;
            let Some(listed) = closed else {
                thread::sleep(LOOK_EVERY);
                continue;
            };
            let unread = input.metadata()?.len() > at;
            let lacks = listed.saturating_sub(packets);
            return if unread && lacks > 0 { self.missed(record, lacks, "it is damaged") } else { Ok(()) };
        }
    }

    /// Sends the latest packets, when it is time to or when nothing more is there to be read.
    fn show(&mut self, show: Show) -> io::Result<()> {
        let due = |thin: &&mut Thin| show != Show::WhenDue || thin.is_due(LOOK_EVERY);
        let Some(thin) = self.thin.as_mut().filter(due) else { return Ok(()) };
        let (now, mut bytes) = (Instant::now(), Vec::new());
        if show == Show::Rest {
            thin.finish(now, &mut bytes);
        } else {
            thin.look(now, &mut bytes);
        }
        self.out.write_all(&bytes)?;
        self.out.flush()
    }

    /// Copies the whole blocks that there are; false when there are none.
    fn copy(&mut self, input: &File, at: &mut u64, packets: &mut u64) -> io::Result<bool> {
        let read = input.read_at(&mut self.buffer, *at)?;
        let whole = whole_blocks(&self.buffer[..read]);
        if whole.bytes == 0 {
            let full = read == self.buffer.len() && read < MAX_BLOCK;
            if full {
                self.buffer.resize(2 * read, 0);
            }
            return Ok(full);
        }
        match &mut self.thin {
            None => {
                self.out.write_all(&self.buffer[..whole.bytes])?;
                self.out.flush()?;
            }
            Some(thin) => {
                let mut bytes = Vec::new();
                if !thin.take(&self.buffer[..whole.bytes], &mut bytes) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.out.write_all(&bytes)?;
                self.show(Show::WhenDue)?;
            }
        }
        *at += whole.bytes as u64;
        *packets += whole.packets;
        Ok(true)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct WholeBlocks {
    bytes: usize,
    packets: u64,
}

/// How much of these bytes are whole blocks, as this product writes them.
fn whole_blocks(bytes: &[u8]) -> WholeBlocks {
    let mut whole = WholeBlocks { bytes: 0, packets: 0 };
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    while let (Some(kind), Some(length)) = (number(whole.bytes), number(whole.bytes + 4)) {
        let length = length as usize;
        if length < 12 || !length.is_multiple_of(4) || length > bytes.len() - whole.bytes {
            break;
        }
        whole.bytes += length;
        whole.packets += u64::from(kind == PACKET);
    }
    whole
}

/// The capture to follow, once there is one, and the sequence before the first file of the stream.
fn begun(list: &mut List<'_>, from: &From) -> Result<(UnixMillis, Option<u64>), FollowError> {
    let mut waited = Duration::ZERO;
    loop {
        let ring = list.look().unwrap_or_default();
        let wanted = match from.capture {
            Some(since) => ring.captures.iter().find(|capture| capture.since == since),
            None => ring.captures.last().filter(|capture| capture.ended.is_none()),
        };
        if let Some(capture) = wanted {
            return Ok((capture.since, before_first(&ring, capture.since, from.since)));
        }
        if waited >= BEGINS_WITHIN {
            return Err(FollowError::NoCapture);
        }
        thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

/// The sequence after which the stream begins; `None` is the capture's beginning. A time says where to begin and no
/// more: files that come later count whatever the clock says.
fn before_first(ring: &RingList, capture: UnixMillis, since: UnixMillis) -> Option<u64> {
    let captures = one_capture(ring, capture);
    let recorder = ring.captures.iter().any(|one| one.since == capture && one.spec.recorder.is_some());
    if since == 0 && !recorder {
        return None;
    }
    let begins = |record: &&FileRecord| {
        // What a flight recorder has forgotten was never to be kept.
        let there = !(recorder && record.place == FilePlace::Gone);
        there && (record.file.state == FileState::Open || record.file.ended >= since)
    };
    let files = || ring.files.iter().filter(|record| belongs(record, &captures));
    let first = files().filter(begins).map(|record| record.file.sequence).min();
    // Where all that there is ended before, what comes next is the first.
    let latest = files().map(|record| record.file.sequence).max();
    match first {
        Some(first) => first.checked_sub(1),
        // Nor does it lack what was forgotten before.
        None => latest.max(forgotten(ring, &captures)),
    }
}

/// The last of the capture's files with packets that is listed no more.
fn forgotten(ring: &RingList, captures: &BTreeSet<UnixMillis>) -> Option<u64> {
    captures.iter().filter_map(|since| ring.forgotten.get(since)).max().copied()
}

/// A capture, and those that went on with it after a restart.
fn one_capture(ring: &RingList, capture: UnixMillis) -> BTreeSet<UnixMillis> {
    let mut all = BTreeSet::from([capture]);
    let mut at = capture;
    // One that was interrupted is ended by the one that goes on with it.
    let ends_with = |at| {
        let ended = ring.captures.iter().find(|one| one.since == at)?.ended.as_ref()?;
        (ended.1 == StopReason::AgentEnds).then_some(ended.0)
    };
    let goes_on = |at| {
        let until = ends_with(at);
        let next = |one: &&CaptureRecord| one.resumes == Some(at) || until == Some(one.since);
        ring.captures.iter().find(next).map(|one| one.since)
    };
    while let Some(next) = goes_on(at)
        && all.insert(next)
    {
        at = next;
    }
    all
}

fn belongs(record: &FileRecord, captures: &BTreeSet<UnixMillis>) -> bool {
    // What was frozen is in the stream already.
    captures.contains(&record.capture) && !record.frozen
}

fn over(ring: &RingList, captures: &BTreeSet<UnixMillis>) -> bool {
    ring.captures.iter().filter(|one| captures.contains(&one.since)).all(|one| one.ended.is_some())
}

/// The packets of a file that is closed, or gone.
fn closed(ring: &RingList, name: &str) -> Option<u64> {
    match ring.files.iter().find(|record| record.file.name == name) {
        Some(record) => (record.file.state == FileState::Closed).then_some(record.file.packets),
        None => Some(0),
    }
}

fn next<'a>(ring: &'a RingList, captures: &BTreeSet<UnixMillis>, last: Option<u64>) -> Option<&'a FileRecord> {
    let wanted =
        |record: &&FileRecord| belongs(record, captures) && last.is_none_or(|last| record.file.sequence > last);
    ring.files.iter().filter(wanted).min_by_key(|record| record.file.sequence)
}

#[cfg(test)]
mod tests;
