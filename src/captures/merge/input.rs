//! One file that is being read: what comes next of it, and how it reads in the new file.
//!
//! Owns its order, its interfaces' new numbers and reading ahead. Must not know the other files.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
};

use nodewatch_pcapng::{Block, Interface, InterfaceTable, Other, Packet, Section, Time, comments_before};

use super::{
    cover::Cover,
    entry::{Entry, Key, What},
    host,
    names::FileNames,
    notes::Notes,
    snaplens::Snaplens,
    source::{Capture, OpenError, Place},
    spool::Spooled,
};
use crate::packets::pairs;

/// Comments that are put to one packet.
const COMMENTS: usize = 64;
/// Bytes of names and secrets that are held.
const HELD: usize = 16 * 1024 * 1024;
/// The longest packet that Wireshark and libpcap read, of most link types.
const MOST: usize = 262_144;

/// What all inputs of a merge work on.
pub(super) struct Shared {
    pub(super) table: InterfaceTable,
    pub(super) snaplens: Snaplens,
    pub(super) notes: Notes,
    /// Comments that the new file's header has.
    pub(super) said: HashSet<String>,
    /// Bytes for the new file that were not written yet, and how many were before them.
    pub(super) buffer: Vec<u8>,
    pub(super) written: u64,
    /// Names and secrets until the first interface is described: a file that begins otherwise is none that `mergecap`
    /// takes.
    pub(super) held: Vec<u8>,
    /// The new file's interfaces, by their numbers.
    pub(super) interfaces: Vec<Described>,
    /// When nodes captured.
    pub(super) cover: Cover,
    /// Files of others are each of a node of its own.
    pub(super) apart: bool,
    /// So they are, but for those that are of one capture.
    pub(super) by_name: Option<FileNames>,
    /// Captures of others so far: what their files have in common, and what they are called.
    pub(super) captures: Vec<(String, String)>,
}

/// An interface of the new file.
pub(super) struct Described {
    /// `NODE/INTERFACE`.
    pub(super) name: String,
    pub(super) link_type: u16,
    /// This product has captured it.
    pub(super) ours: bool,
}

impl Shared {
    fn for_all(&mut self, block: &[u8]) {
        let to = if self.table.is_empty() && self.held.len() < HELD { &mut self.held } else { &mut self.buffer };
        to.extend_from_slice(block);
    }

    pub(super) fn let_go(&mut self) {
        self.buffer.append(&mut self.held);
    }
}

enum From {
    Capture(Capture),
    Spool(Spooled),
}

/// One file that is being read.
pub(super) struct Input {
    path: PathBuf,
    file: u32,
    from: From,
    /// The node that the section names, or the folder that the file is in.
    node: String,
    /// The section's interfaces: their number in the new file, and their link type.
    numbers: Vec<(u32, u16)>,
    ahead: VecDeque<Entry>,
    bytes: Vec<u8>,
    newest: Key,
    /// This product's files are sorted; those of others keep their order, as with `mergecap`.
    sorted: Option<bool>,
    ended: bool,
    /// What a section says that the new header does not, until there is a packet to put it to.
    unsaid: Vec<String>,
    /// This product has written the section.
    ours: bool,
    /// It is a pipe.
    comes: bool,
    /// The time that the section covers, by each of its nodes.
    covered: BTreeMap<String, usize>,
}

impl Input {
    /// `node` is what its place says of its node.
    pub(super) fn open(place: &Place, node: String, file: u32, most: usize) -> Result<Self, OpenError> {
        let input = Self::new(place.path.clone(), node, file, From::Capture(place.open(most)?));
        Ok(Self { comes: !place.again(), ..input })
    }

    /// It is of that node and has packets that are clearly later.
    pub(super) fn goes_on_after(
        &mut self,
        node: &str,
        key: Key,
        shared: &mut Shared,
        ahead: usize,
    ) -> io::Result<bool> {
        if self.node != node {
            return Ok(false);
        }
        if !self.ended {
            self.read_on(shared, ahead)?;
        }
        let newest = self.newest.less_slack();
        Ok(!self.ended || newest > key)
    }

    pub(super) fn of_spool(spool: Spooled) -> Self {
        Self::new(PathBuf::new(), String::new(), 0, From::Spool(spool))
    }

    fn new(path: PathBuf, node: String, file: u32, from: From) -> Self {
        Self {
            path,
            file,
            from,
            node,
            numbers: Vec::new(),
            ahead: VecDeque::new(),
            bytes: Vec::new(),
            newest: Key::FIRST,
            sorted: None,
            ended: false,
            comes: false,
            unsaid: Vec::new(),
            ours: false,
            covered: BTreeMap::new(),
        }
    }

    /// Its place among all files, where it is one of them and not several that were put aside.
    pub(super) fn file(&self) -> Option<u32> {
        matches!(self.from, From::Capture(_)).then_some(self.file)
    }

    /// The next entry is taken out, its bytes stay until the next reading.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Entry> {
        self.ahead.pop_front()
    }

    /// An entry's bytes, and its options.
    #[inline]
    pub(super) fn bytes(&self, entry: &Entry) -> (&[u8], &[u8]) {
        self.bytes[entry.start..][..entry.length + entry.options].split_at(entry.length)
    }

    /// What the next entry goes by, read far enough ahead that no earlier one follows it; `None` at the end.
    #[inline]
    pub(super) fn head(&mut self, shared: &mut Shared, ahead: usize) -> io::Result<Option<Key>> {
        loop {
            if let Some(entry) = self.ahead.front()
                && (self.sorted != Some(true)
                    || self.ended
                    || entry.key <= self.newest.less_slack()
                    || self.bytes.len() > ahead)
            {
                return Ok(Some(entry.key));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_on(shared, ahead)?;
        }
    }

    #[cold]
    fn read_on(&mut self, shared: &mut Shared, ahead: usize) -> io::Result<()> {
        self.compact();
        // What comes through a pipe may still be to be captured: no more is waited for than a part of what is held.
        let more = if self.comes { (self.bytes.len() / 2).min(ahead / 2) } else { ahead / 2 };
        let enough = self.bytes.len() + more;
        while self.bytes.len() <= enough && !self.ended {
            match &mut self.from {
                From::Spool(spool) => match spool.next(&mut self.bytes)? {
                    Some(entry) => self.ahead.push_back(entry),
                    None => self.ended = true,
                },
                From::Capture(_) => self.read_block(shared),
            }
        }
        if self.sorted == Some(true) {
            // Nearly in order already, which the sort makes use of. Equal times stay as they were.
            self.ahead.make_contiguous().sort_by_key(|entry| entry.key);
        }
        Ok(())
    }

    fn read_block(&mut self, shared: &mut Shared) {
        let From::Capture(capture) = &mut self.from else { return };
        let big_endian = capture.is_big_endian();
        match capture.next_block() {
            Ok(Some(Block::Packet(packet))) => {
                let Some(&(number, link_type)) = self.numbers.get(packet.interface) else { return };
                let key = Key::of(packet.time, self.file);
                let start = self.bytes.len();
                let length = packet.data.len().min(most(link_type));
                shared.notes.shortened += u64::from(length < packet.data.len());
                self.bytes.extend_from_slice(&packet.data[..length]);
                if big_endian {
                    host::to_little_endian(link_type, &mut self.bytes[start..]);
                }
                add_options(&mut self.bytes, &mut self.unsaid, &packet);
                let options = self.bytes.len() - start - length;
                self.newest = self.newest.max(key);
                if let (true, Some(time)) = (shared.apart, packet.time) {
                    cover(&mut self.covered, shared, number, time.unix_nanos());
                }
                let what = What::Packet { interface: number, ticks: packet.ticks, wire_length: packet.wire_length };
                self.ahead.push_back(Entry { key, what, start, length, options });
            }
            Ok(Some(Block::Section(section))) => self.begin_section(section, shared),
            Ok(Some(Block::Interface(interface))) => {
                let numbered = number(shared, &self.node, interface, self.ours);
                self.numbers.push(numbered);
            }
            Ok(Some(Block::Statistics(counts))) => {
                if let Some(&(number, _)) = self.numbers.get(counts.interface) {
                    shared.table.count(number, &counts);
                    let times = [counts.since, counts.at];
                    for time in times.into_iter().filter(|time| *time > 0).take(if shared.apart { 2 } else { 0 }) {
                        cover(&mut self.covered, shared, number, time);
                    }
                }
            }
            Ok(Some(Block::Other(other))) if other.anew.is_empty() => shared.notes.block(other.kind),
            Ok(Some(Block::Other(other))) if other.is_for_all() => shared.for_all(other.anew),
            Ok(Some(Block::Other(other))) => {
                let key = Key::of(journal_time(&other), self.file);
                let (start, length) = (self.bytes.len(), other.anew.len());
                self.bytes.extend_from_slice(other.anew);
                self.ahead.push_back(Entry { key, what: What::Block, start, length, options: 0 });
            }
            Ok(None) => self.end(shared),
            Err(error) => {
                shared.notes.damage(&self.path, &error);
                self.end(shared);
            }
        }
    }

    fn begin_section(&mut self, section: Section, shared: &mut Shared) {
        self.numbers.clear();
        self.covered.clear();
        self.ours = section.application.starts_with("nodewatch");
        self.sorted.get_or_insert(self.ours);
        self.node = node_of_section(&section, std::mem::take(&mut self.node));
        for comment in section.comments {
            if shared.said.contains(&comment) || self.unsaid.contains(&comment) {
                continue;
            }
            if self.unsaid.len() == COMMENTS {
                shared.notes.comments += 1;
            } else {
                self.unsaid.push(comment);
            }
        }
    }

    fn end(&mut self, shared: &mut Shared) {
        self.ended = true;
        shared.notes.comments += self.unsaid.len() as u64;
        if let From::Capture(capture) = &self.from {
            shared.notes.options(&self.path, capture.lost());
        }
    }

    /// Lets go of the bytes of entries that were written.
    fn compact(&mut self) {
        let mut kept = Vec::new();
        for entry in &mut self.ahead {
            let start = kept.len();
            kept.extend_from_slice(&self.bytes[entry.start..][..entry.length + entry.options]);
            entry.start = start;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&kept);
    }
}

/// The interface's node captured at that time.
fn cover(covered: &mut BTreeMap<String, usize>, shared: &mut Shared, number: u32, time: u64) {
    let Some(known) = shared.interfaces.get(number as usize) else { return };
    let node = pairs::node_of(&known.name);
    let span = covered.get(node).copied();
    let now = shared.cover.extend(node, span, i64::try_from(time).unwrap_or(i64::MAX));
    if span.is_none() {
        covered.insert(node.to_owned(), now);
    }
}

fn add_options(bytes: &mut Vec<u8>, unsaid: &mut Vec<String>, packet: &Packet<'_>) {
    if unsaid.is_empty() {
        bytes.extend_from_slice(packet.options);
    } else {
        comments_before(bytes, &std::mem::take(unsaid), packet.options);
    }
}

/// An interface goes by its node's name and its own. One that this product has merged before has both already.
fn number(shared: &mut Shared, node: &str, mut interface: Interface, ours: bool) -> (u32, u16) {
    let name = name_of(node, &interface.name);
    let description = if interface.description.is_empty() { node } else { &interface.description }.to_owned();
    shared.snaplens.settle(&mut interface);
    shared.notes.link_types.insert(interface.link_type);
    let before = shared.buffer.len();
    let number = shared.table.kept(&mut shared.buffer, &name, &description, &interface);
    if shared.buffer.len() > before {
        shared.snaplens.described_at(shared.written + before as u64);
        shared.let_go();
    }
    if shared.interfaces.len() <= number as usize {
        shared.interfaces.push(Described { name, link_type: interface.link_type, ours });
    }
    (number, interface.link_type)
}

/// What the new file calls an interface.
pub(super) fn name_of(node: &str, interface: &str) -> String {
    match (node, interface) {
        ("", name) => name.to_owned(),
        (node, "") => node.to_owned(),
        (node, name) => format!("{node}/{name}"),
    }
}

/// The node of a section's interfaces; `before` is what the file's place says.
pub(super) fn node_of_section(section: &Section, before: String) -> String {
    if !section.hardware.is_empty() && section.application.starts_with("nodewatch") {
        section.hardware.clone()
    } else if section.application.starts_with("nodewatch-tui") {
        // Its interfaces have their nodes' names already.
        String::new()
    } else {
        before
    }
}

/// The node of a file by its place alone.
pub(super) fn node_before(place: &Place, shared: &Shared) -> String {
    if let Some(names) = &shared.by_name {
        return names.name(&place.path);
    }
    if shared.apart {
        return place.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    }
    folder_name(place)
}

/// When a journal entry was made.
fn journal_time(other: &Other<'_>) -> Option<Time> {
    const FIELD: &[u8] = b"__REALTIME_TIMESTAMP=";
    let at = other.anew.windows(FIELD.len()).position(|window| window == FIELD)?;
    let digits: String = other.anew[at + FIELD.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    let micros: u64 = digits.parse().ok()?;
    Some(nodewatch_pcapng::Resolution::MICROS.time(micros))
}

/// The longest packet that is written.
fn most(link_type: u16) -> usize {
    match link_type {
        // D-Bus and USBPcap.
        231 | 249 => 128 * 1024 * 1024,
        // Elektrobit.
        279 => 8 * 1024 * 1024,
        _ => MOST,
    }
}

/// Files are fetched into a folder of their node's name.
fn folder_name(place: &Place) -> String {
    if !place.again() {
        return String::new();
    }
    let folder = place.path.parent().and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
