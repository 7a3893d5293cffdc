//! Many capture files into one, in time order, in bounded memory and with a bounded number of files open.
//!
//! Owns the order of packets, what becomes of interfaces and comments, and the cut by time. Inputs are hostile, and of
//! anybody: what is damaged gives what comes before, and is named with its place. Must not know where files come from.

mod cover;
mod entry;
mod error;
mod find;
mod host;
mod input;
mod limit;
mod names;
mod notes;
mod once;
mod paired;
mod pcap;
mod reading;
mod snaplens;
mod source;
mod spool;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    ops::RangeInclusive,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nodewatch_pcapng::{
    Block, InterfaceTable, Name, ReadError, SectionBlock, Time, enhanced_packet, name_resolution, section_header,
};

use crate::{
    base::disk,
    packets::pairs::{Paired, Pairs, Sighting},
};

use cover::Cover;
use entry::{Entry, Key, What};
pub use error::MergeError;
pub use find::{Found, find};
use input::{Input, Shared};
use names::{FileNames, source_of};
pub use notes::Notes;
use once::Once;
use paired::nanos;
pub use paired::side_filter;
use reading::Take;
pub use reading::Taken;
use snaplens::Snaplens;
use source::{OpenError, Place};
use spool::Spool;

/// Bytes of packets read ahead, of all inputs that are open at once.
const READ_AHEAD: usize = 24 * 1024 * 1024;
const LEAST_AHEAD: usize = 64 * 1024;
const MOST_AHEAD: usize = 4 * 1024 * 1024;
/// Bytes read at once, of all inputs that are open at once, and of one.
const READ_AT_ONCE: usize = 16 * 1024 * 1024;
const LEAST_AT_ONCE: usize = 16 * 1024;
const MOST_AT_ONCE: usize = 256 * 1024;
/// Bytes gathered before they are written.
const BUFFER: usize = 1024 * 1024;
/// Names in one block.
const NAMES: usize = 500;
/// Comments in the new file's header, and their bytes: other programs take blocks up to 16 MiB.
const COMMENTS: usize = 50_000;
const COMMENT_BYTES: usize = 8 * 1024 * 1024;
/// Interfaces that are looked at for what is said of sides.
const LOOKED_AT: usize = 256;
/// So few files are opened whatever the limit says.
const FEW: usize = 8;

/// What to merge, and how.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The files; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// Packets of these nanoseconds since the Unix epoch only.
    pub window: RangeInclusive<u64>,
    /// Names for addresses.
    pub names: BTreeMap<IpAddr, String>,
    /// One copy of each packet that several nodes have; copies wait so many nanoseconds for each other.
    pub pair: Option<i64>,
}

/// What was merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// Files.
    pub files: usize,
    /// Packets in the new file.
    pub packets: u64,
    /// Packets outside the window.
    pub cut: u64,
    /// The times of the first and the last of these.
    pub span: Option<(Time, Time)>,
    /// Packets of one node that several files have, of which one copy was written.
    pub again: u64,
    /// Bytes of the new file.
    pub size: u64,
    /// The interfaces in it, as `NODE/INTERFACE`.
    pub interfaces: Vec<String>,
    /// What several nodes have, and what one alone.
    pub paired: Option<Paired>,
    /// What could not be done as it should.
    pub notes: Notes,
}

impl Merged {
    /// There are packets, and all are outside the window.
    pub fn is_outside(&self) -> bool {
        self.packets == 0 && self.cut > 0
    }

    /// The display filter of Wireshark that shows what one node has, where the file has several.
    pub fn side_filter(&self) -> Option<String> {
        side_filter(&self.interfaces)
    }

    fn takes(&mut self, window: &RangeInclusive<u64>, time: Time) -> bool {
        if *window == (0..=u64::MAX) || window.contains(&time.unix_nanos()) {
            return true;
        }
        self.cut += 1;
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        false
    }
}

impl Merge {
    /// The file that a merge into that one is written to before it is whole.
    pub fn part_of(path: &Path) -> PathBuf {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        PathBuf::from(part)
    }

    /// Writes the new file, which must not exist yet; the last rename makes it appear whole. There is none when all
    /// packets are outside the window.
    pub fn into_file(&self, path: &Path) -> Result<Merged, MergeError> {
        let failed = |source| MergeError::Output { path: path.to_owned(), source };
        match fs::metadata(path) {
            // A pipe or a device takes it as it comes.
            Ok(facts) if !facts.is_file() && !facts.is_dir() => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                return self.write(file, path);
            }
            Ok(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
            Err(_) => {}
        }
        let part = Self::part_of(path);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
        // Nobody who tidies up the folder takes it for one that was left.
        disk::hold(&file);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let merged = self.write_with(&file, path, folder).and_then(|(merged, snaplens)| {
            if merged.is_outside() {
                fs::remove_file(&part).map_err(failed)?;
                return Ok(Merged { size: 0, ..merged });
            }
            for place in snaplens.places() {
                file.write_all_at(&[0; 4], place).map_err(failed)?;
            }
            file.sync_all().map_err(failed)?;
            let named = disk::rename_to_free(&part, path).and_then(|()| disk::sync_folder(folder));
            named.map_err(failed)?;
            Ok(merged)
        });
        if merged.is_err() {
            // Half a file is no capture.
            let _ = fs::remove_file(&part);
        }
        merged
    }

    /// Writes to anything; `path` is for errors.
    pub fn write(&self, out: impl Write, path: &Path) -> Result<Merged, MergeError> {
        Ok(self.write_with(out, path, &std::env::temp_dir())?.0)
    }

    fn write_with(&self, out: impl Write, path: &Path, aside: &Path) -> Result<(Merged, Snaplens), MergeError> {
        let slots = limit::files().max(FEW);
        self.write_in(out, path, aside, slots, None)
    }

    /// With no more than so many files open at once.
    fn write_in<'a>(
        &'a self,
        out: impl Write,
        path: &'a Path,
        aside: &'a Path,
        slots: usize,
        take: Option<Take<'a>>,
    ) -> Result<(Merged, Snaplens), MergeError> {
        let is_read = take.is_some();
        let mut comments = vec![format!("merged from {} files", self.inputs.len())];
        let shared = Shared {
            table: InterfaceTable::default(),
            snaplens: Snaplens::default(),
            notes: Notes::default(),
            said: HashSet::new(),
            buffer: Vec::with_capacity(BUFFER + 64 * 1024),
            written: 0,
            held: Vec::new(),
            interfaces: Vec::new(),
            cover: Cover::default(),
            apart: self.pair.is_some(),
            by_name: is_read.then(|| FileNames::of(&self.inputs)),
            captures: Vec::new(),
        };
        let names = || self.names.iter().map(|(address, name)| (*address, name.clone()));
        let pairs = self.pair.map(|within| Pairs::new(within, names()));
        let (once, merged) = (Once::default(), Merged::default());
        let mut work =
            Work { merge: self, out, path, aside, shared, merged, once, pairs, now: i64::MIN, take, ended: Vec::new() };
        let mut waiting = Vec::new();
        for (number, input) in self.inputs.iter().enumerate() {
            waiting.extend(work.look(input, number as u32, &mut comments)?);
        }
        if waiting.is_empty() {
            return Err(work.nothing());
        }
        comments.extend(work.of_sides());
        let application = concat!("nodewatch-tui ", env!("CARGO_PKG_VERSION"));
        let header = SectionBlock { hardware: "", application, comments: &comments };
        section_header(&mut work.shared.buffer, &header);
        let names: Vec<Name> = self.names.iter().map(|(&address, name)| Name { address, name: name.clone() }).collect();
        for names in names.chunks(NAMES) {
            name_resolution(&mut work.shared.held, names);
        }
        work.run(waiting, slots, None)?;
        let nothing = work.merged.packets == 0 && work.merged.cut == 0 && !is_read;
        if nothing && !work.shared.notes.damaged.is_empty() {
            return Err(work.nothing());
        }
        work.finish()
    }
}

/// A file that is opened when its time has come, so that many in a row are not open at once.
struct Waiting {
    key: Key,
    place: Place,
    file: u32,
    cost: usize,
}

/// A merge that is being done.
struct Work<'a, W> {
    merge: &'a Merge,
    out: W,
    path: &'a Path,
    /// Where packets are put aside.
    aside: &'a Path,
    shared: Shared,
    merged: Merged,
    once: Once,
    pairs: Option<Pairs>,
    /// The latest time of a packet.
    now: i64,
    /// Takes packets instead of the new file.
    take: Option<Take<'a>>,
    /// Files of which nothing more comes.
    ended: Vec<u32>,
}

impl<W: Write> Work<'_, W> {
    /// What a file begins with: when its packets begin, and what its section says.
    fn look(&mut self, path: &Path, file: u32, comments: &mut Vec<String>) -> Result<Option<Waiting>, MergeError> {
        let place = Place::new(path.to_owned());
        let looked = place.and_then(|place| place.look(MOST_AT_ONCE).map(|capture| (place, capture)));
        let (place, mut capture) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.not_opened(path, error).map(|()| None),
        };
        let mut ours = false;
        let mut node = input::node_before(&place, &self.shared);
        let mut so_far: usize = comments.iter().map(String::len).sum();
        let key = loop {
            match capture.next_block() {
                Ok(Some(Block::Section(section))) => {
                    ours |= section.application.starts_with("nodewatch");
                    node = input::node_of_section(&section, node);
                    for comment in section.comments {
                        let room = so_far + comment.len() <= COMMENT_BYTES && comments.len() < COMMENTS;
                        if room && self.shared.said.insert(comment.clone()) {
                            so_far += comment.len();
                            comments.push(comment);
                        }
                    }
                }
                Ok(Some(Block::Interface(interface))) => {
                    self.shared.snaplens.expect(interface.snaplen);
                    let name = input::name_of(&node, &interface.name);
                    if self.merged.interfaces.len() < LOOKED_AT && !self.merged.interfaces.contains(&name) {
                        self.merged.interfaces.push(name);
                    }
                }
                Ok(Some(Block::Packet(packet))) => {
                    let key = Key::of(packet.time, file);
                    break if ours { key.less_slack() } else { key };
                }
                Ok(Some(Block::Statistics(_) | Block::Other(_))) => {}
                // Without packets it may have secrets for those of others. Damage is told when it is read.
                Ok(None) | Err(_) => break Key::FIRST,
            }
        };
        Ok(Some(Waiting { key, place, file, cost: capture.cost }))
    }

    /// A file that is no capture or cannot be read is left out; one that the system has no room to open stops all.
    fn not_opened(&mut self, path: &Path, error: OpenError) -> Result<(), MergeError> {
        match error {
            OpenError::Io(source) if limit::is_reached(&source) => {
                Err(MergeError::Open { path: path.to_owned(), source })
            }
            OpenError::Io(source) => {
                self.shared.notes.damage(path, &ReadError::Read { at: 0, source });
                Ok(())
            }
            OpenError::NoCapture => {
                self.shared.notes.damage(path, &ReadError::Bad { at: 0, what: "neither pcap nor pcapng" });
                Ok(())
            }
        }
    }

    fn nothing(&self) -> MergeError {
        let first = self.shared.notes.damaged.first().cloned();
        let (path, why) = first.unwrap_or_else(|| (PathBuf::new(), "it is empty".to_owned()));
        MergeError::Input { path, why }
    }

    /// Merges these files, into the new one or aside. No more than `slots` are open at once.
    fn run(
        &mut self,
        mut waiting: Vec<Waiting>,
        slots: usize,
        mut aside: Option<&mut Spool>,
    ) -> Result<(), MergeError> {
        // The earliest last, to be popped.
        waiting.sort_by_key(|one| Reverse(one.key));
        let all: usize = waiting.iter().map(|one| one.cost).sum();
        let direct = if all <= slots { slots } else { slots / 2 };
        let mut inputs: Vec<Option<(Input, usize)>> = Vec::new();
        let mut heads: BinaryHeap<Reverse<(Key, usize)>> = BinaryHeap::new();
        let mut open = 0;
        loop {
            while let Some(next) = waiting.last()
                && heads.peek().is_none_or(|Reverse((head, _))| next.key <= *head)
            {
                let fits = all <= slots || slots <= FEW || open + next.cost <= direct / 2 || !next.place.again();
                let (mut input, cost) = if fits {
                    let Some(next) = waiting.pop() else { break };
                    let at_once = (READ_AT_ONCE / (heads.len() + 1)).clamp(LEAST_AT_ONCE, MOST_AT_ONCE);
                    let node = self.node_of(&next, &mut inputs)?;
                    match Input::open(&next.place, node, next.file, at_once) {
                        Ok(input) => (input, next.cost),
                        Err(error) => {
                            self.not_opened(&next.place.path, error)?;
                            continue;
                        }
                    }
                } else {
                    // All that waits has to fit, when this is the last that does.
                    let most = if open + 1 < direct { slots - direct } else { usize::MAX };
                    (self.put_aside(&mut waiting, most, slots - direct)?, 1)
                };
                let ahead = (READ_AHEAD / (heads.len() + 1)).clamp(LEAST_AHEAD, MOST_AHEAD);
                if let Some(head) = self.head(&mut input, ahead)? {
                    open += cost;
                    heads.push(Reverse((head, inputs.len())));
                    inputs.push(Some((input, cost)));
                }
            }
            let Some(Reverse((_, number))) = heads.pop() else { break };
            let ahead = (READ_AHEAD / (heads.len() + 1)).clamp(LEAST_AHEAD, MOST_AHEAD);
            let Some((input, cost)) = inputs[number].as_mut() else { continue };
            // As long as it has the earliest packet there is nothing to compare anew.
            let others = heads.peek().map(|Reverse((head, _))| *head);
            let until = waiting.last().map(|one| one.key).into_iter().chain(others).min();
            let next = loop {
                let Some(entry) = input.take() else { break None };
                self.place(&entry, input, aside.as_deref_mut())?;
                let head = self.head(input, ahead)?;
                if head.is_none_or(|head| until.is_some_and(|until| head >= until)) {
                    break head;
                }
            };
            if let Some(head) = next {
                heads.push(Reverse((head, number)));
            } else {
                // Closed as soon as it is through.
                open -= *cost;
                // What is put aside is read again.
                self.ended.extend(input.file().filter(|_| aside.is_none()));
                inputs[number] = None;
            }
        }
        Ok(())
    }

    /// The node of a file whose turn it is. One of others' is of a capture that has ended before it, where their names differ
    /// in numbers only: those of several nodes are captured at the same time.
    fn node_of(&mut self, next: &Waiting, inputs: &mut [Option<(Input, usize)>]) -> Result<String, MergeError> {
        let own = input::node_before(&next.place, &self.shared);
        if self.shared.by_name.is_none() {
            return Ok(own);
        }
        let source = source_of(&own);
        let alike = |name: &str| name.bytes().zip(own.bytes()).take_while(|(one, other)| one == other).count();
        let known = self.shared.captures.iter().filter(|(common, _)| *common == source);
        let mut known: Vec<String> = known.map(|(_, name)| name.clone()).collect();
        known.sort_by_key(|name| Reverse(alike(name)));
        for name in known {
            let mut goes_on = false;
            for (input, _) in inputs.iter_mut().flatten() {
                goes_on |= input
                    .goes_on_after(&name, next.key, &mut self.shared, LEAST_AHEAD)
                    .map_err(|source| self.aside_failed(source))?;
            }
            if !goes_on {
                return Ok(name);
            }
        }
        self.shared.captures.push((source, own.clone()));
        Ok(own)
    }

    fn head(&mut self, input: &mut Input, ahead: usize) -> Result<Option<Key>, MergeError> {
        let head = input.head(&mut self.shared, ahead).map_err(|source| self.aside_failed(source))?;
        if self.shared.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(head)
    }

    /// Merges the next of the waiting files, as many as cost no more than that, into one that takes their place.
    fn put_aside(&mut self, waiting: &mut Vec<Waiting>, most: usize, slots: usize) -> Result<Input, MergeError> {
        let (mut group, mut rest, mut cost) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = waiting.pop() {
            if !next.place.again() || (cost > 0 && cost + next.cost > most) {
                rest.push(next);
                if cost.saturating_add(FEW) > most {
                    break;
                }
            } else {
                cost += next.cost;
                group.push(next);
            }
        }
        waiting.extend(rest.into_iter().rev());
        let mut spool = Spool::begin(self.aside).map_err(|source| self.aside_failed(source))?;
        self.run(group, slots, Some(&mut spool))?;
        spool.end().map(Input::of_spool).map_err(|source| self.aside_failed(source))
    }

    fn aside_failed(&self, source: io::Error) -> MergeError {
        MergeError::Aside { folder: self.aside.to_owned(), source }
    }

    /// Puts an entry where it goes, or cuts it.
    #[inline]
    fn place(&mut self, entry: &Entry, input: &Input, aside: Option<&mut Spool>) -> Result<(), MergeError> {
        let (data, options) = input.bytes(entry);
        if let Some(spool) = aside {
            return spool.add(entry, data, options).map_err(|source| self.aside_failed(source));
        }
        match entry.what {
            What::Packet { interface, ticks, wire_length } => {
                let known = self.shared.interfaces.get(interface as usize);
                // Of others' files it is not known that they are of one capture.
                if known.is_some_and(|known| known.ours) && self.once.again(entry.key, interface, wire_length, data) {
                    self.merged.again += 1;
                    return Ok(());
                }
                let time = nanos(entry.key);
                if let (Some(within), Some(time)) = (self.merge.pair, time) {
                    let sighting = Sighting { interface, time, ticks, wire_length, data, options };
                    return self.pair(&sighting, within);
                }
                if !self.merged.takes(&self.merge.window, entry.key.time()) {
                    return Ok(());
                }
                self.merged.packets += 1;
                if let (Some(take), Some(from)) = (&mut self.take, known) {
                    let known = (&self.shared.notes.damaged[..], self.merged.again, &self.ended[..]);
                    let numbers = (entry.key.file(), interface, wire_length);
                    take(&Taken::new(numbers, from, time, (data, options), known));
                    return Ok(());
                }
                enhanced_packet(&mut self.shared.buffer, interface, ticks, wire_length, [data], options);
            }
            What::Block => self.shared.buffer.extend_from_slice(data),
        }
        if self.shared.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), MergeError> {
        let written = self.out.write_all(&self.shared.buffer);
        written.map_err(|source| MergeError::Output { path: self.path.to_owned(), source })?;
        self.shared.written += self.shared.buffer.len() as u64;
        self.shared.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(Merged, Snaplens), MergeError> {
        self.shared.let_go();
        self.end_pairs()?;
        let interfaces = self.shared.interfaces.iter().map(|known| known.name.clone());
        self.merged.interfaces = interfaces.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        self.shared.table.write_counts(&mut self.shared.buffer);
        self.flush()?;
        let flushed = self.out.flush();
        flushed.map_err(|source| MergeError::Output { path: self.path.to_owned(), source })?;
        let Shared { notes, snaplens, written, .. } = self.shared;
        Ok((Merged { files: self.merge.inputs.len(), size: written, notes, ..self.merged }, snaplens))
    }
}

#[cfg(test)]
mod tests;
