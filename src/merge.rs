//! Many capture files into one, in time order, in bounded memory.
//!
//! Owns the order of packets, what becomes of interfaces and comments, and the cut by time. Inputs are hostile: what is
//! no pcapng is named with its place. Must not know where files come from.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    net::IpAddr,
    ops::RangeInclusive,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nodewatch_pcapng::{
    Block, Interface, InterfaceTable, Name, ReadError, Reader, SectionBlock, enhanced_packet, name_resolution,
    section_header,
};

/// Packets of one file may be out of order by so much: interfaces are drained one after the other.
const SLACK: u64 = 500_000_000;
/// Bytes of packets read ahead, of all inputs that are open at once.
const READ_AHEAD: usize = 24 * 1024 * 1024;
const LEAST_AHEAD: usize = 256 * 1024;
const MOST_AHEAD: usize = 4 * 1024 * 1024;
/// Bytes gathered before they are written.
const BUFFER: usize = 1024 * 1024;
/// Names in one block.
const NAMES: usize = 500;

/// Files could not be merged; nothing is left of the new one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no capture file in {0:?}")]
    Nothing(Vec<PathBuf>),
    /// An input cannot be opened.
    #[error("cannot open {path:?}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An input is no pcapng, or a damaged one.
    #[error("{path:?} cannot be merged")]
    Input {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadError,
    },
    /// The output.
    #[error("cannot write {path:?}")]
    Output {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What to merge, and how.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The files.
    pub inputs: Vec<PathBuf>,
    /// Packets of these nanoseconds since the Unix epoch only.
    pub window: RangeInclusive<u64>,
    /// Names for addresses.
    pub names: BTreeMap<IpAddr, String>,
}

/// What was merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// Files.
    pub files: usize,
    /// Packets in the new file.
    pub packets: u64,
    /// Packets outside the window.
    pub cut: u64,
    /// Bytes of the new file.
    pub size: u64,
}

/// Capture files among these, and below those that are folders, by name.
pub fn find(places: &[PathBuf]) -> Result<Vec<PathBuf>, MergeError> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    let open = |path: &Path| {
        let path = path.to_owned();
        move |source| MergeError::Open { path, source }
    };
    for place in places {
        let facts = fs::metadata(place).map_err(open(place))?;
        if facts.is_dir() { folders.push(place.clone()) } else { found.push(place.clone()) }
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(open(&folder))? {
            let entry = entry.map_err(open(&folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(open(&folder))?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && (name.ends_with(".pcapng") || name.ends_with(".pcapng.zst"))
                && !name.starts_with("merged")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() { Err(MergeError::Nothing(places.to_vec())) } else { Ok(found) }
}

impl Merge {
    /// Writes the new file, which must not exist yet; the last rename makes it appear whole.
    pub fn into_file(&self, path: &Path) -> Result<Merged, MergeError> {
        let failed = |source| MergeError::Output { path: path.to_owned(), source };
        if path.exists() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
        let merged = self.write(file, path);
        let renamed = merged.and_then(|merged| fs::rename(&part, path).map(|()| merged).map_err(failed));
        if renamed.is_err() {
            // Half a file is no capture.
            let _ = fs::remove_file(&part);
        }
        renamed
    }

    /// Writes to anything; `path` is for errors.
    pub fn write(&self, out: impl Write, path: &Path) -> Result<Merged, MergeError> {
        let failed = |source| MergeError::Output { path: path.to_owned(), source };
        let mut waiting = Vec::new();
        let mut comments = vec![format!("merged from {} files", self.inputs.len())];
        for input in &self.inputs {
            let first = peek(input)?;
            for comment in first.comments {
                if !comments.contains(&comment) {
                    comments.push(comment);
                }
            }
            waiting.extend(first.nanos.map(|nanos| (nanos, input)));
        }
        // The earliest last, to be popped.
        waiting.sort_by(|a, b| b.cmp(a));

        let mut output = Output { out, buffer: Vec::with_capacity(BUFFER + 64 * 1024), merged: Merged::default() };
        let application = concat!("nodewatch-tui ", env!("CARGO_PKG_VERSION"));
        section_header(&mut output.buffer, &SectionBlock { hardware: "", application, comments: &comments });
        let names: Vec<Name> = self.names.iter().map(|(&address, name)| Name { address, name: name.clone() }).collect();
        for names in names.chunks(NAMES) {
            name_resolution(&mut output.buffer, names);
        }
        let mut table = InterfaceTable::default();
        let mut inputs: Vec<Option<Input>> = Vec::new();
        let mut heads: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        loop {
            // A file is opened when its time has come, so that many in a row are not open at once.
            while let Some(&(nanos, path)) = waiting.last()
                && heads.peek().is_none_or(|Reverse((head, _))| nanos.saturating_sub(SLACK) <= *head)
            {
                waiting.pop();
                let mut input = Input::open(path)?;
                let ahead = (READ_AHEAD / (heads.len() + 1)).clamp(LEAST_AHEAD, MOST_AHEAD);
                if let Some(head) = input.head(&mut table, &mut output.buffer, ahead)? {
                    heads.push(Reverse((head, inputs.len())));
                    inputs.push(Some(input));
                }
            }
            let Some(Reverse((_, number))) = heads.pop() else { break };
            let ahead = (READ_AHEAD / (heads.len() + 1)).clamp(LEAST_AHEAD, MOST_AHEAD);
            let Some(input) = inputs[number].as_mut() else { continue };
            // As long as it has the earliest packet there is nothing to compare anew.
            let others = heads.peek().map_or(u64::MAX, |Reverse((head, _))| *head);
            let until = waiting.last().map_or(others, |(nanos, _)| others.min(nanos.saturating_sub(SLACK)));
            let next = loop {
                let Some(entry) = input.ahead.pop_front() else { break None };
                if self.window.contains(&entry.nanos) {
                    let data = &input.bytes[entry.start..][..entry.length];
                    let options = &input.bytes[entry.start + entry.length..][..entry.options];
                    enhanced_packet(
                        &mut output.buffer,
                        entry.interface,
                        entry.nanos,
                        entry.wire_length,
                        [data],
                        options,
                    );
                    output.merged.packets += 1;
                    if output.buffer.len() >= BUFFER {
                        output.flush().map_err(failed)?;
                    }
                } else {
                    output.merged.cut += 1;
                }
                let head = input.head(&mut table, &mut output.buffer, ahead)?;
                if head.is_none_or(|head| head > until) {
                    break head;
                }
            };
            match next {
                Some(head) => heads.push(Reverse((head, number))),
                // Closed as soon as it is through.
                None => inputs[number] = None,
            }
        }
        table.write_counts(&mut output.buffer);
        output.flush().map_err(failed)?;
        output.out.flush().map_err(failed)?;
        Ok(Merged { files: self.inputs.len(), ..output.merged })
    }
}

struct Output<W> {
    out: W,
    buffer: Vec<u8>,
    merged: Merged,
}

impl<W: Write> Output<W> {
    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.merged.size += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A packet that was read and not written yet; its bytes and options lie one behind the other.
struct Entry {
    nanos: u64,
    interface: u32,
    wire_length: u32,
    start: usize,
    length: usize,
    options: usize,
}

/// One file that is being read.
struct Input {
    path: PathBuf,
    reader: Reader<Box<dyn Read>>,
    /// The node that the section names, or the folder that the file is in.
    node: String,
    /// The section's interfaces, by their number in the new file.
    numbers: Vec<u32>,
    ahead: VecDeque<Entry>,
    bytes: Vec<u8>,
    newest: u64,
    ended: bool,
}

impl Input {
    fn open(path: &Path) -> Result<Self, MergeError> {
        Ok(Self {
            path: path.to_owned(),
            reader: Reader::new(source(path)?),
            node: folder_name(path),
            numbers: Vec::new(),
            ahead: VecDeque::new(),
            bytes: Vec::new(),
            newest: 0,
            ended: false,
        })
    }

    /// The time of the next packet, read far enough ahead that no earlier one follows it; `None` at the end.
    #[inline]
    fn head(&mut self, table: &mut InterfaceTable, out: &mut Vec<u8>, ahead: usize) -> Result<Option<u64>, MergeError> {
        loop {
            if let Some(entry) = self.ahead.front()
                && (self.ended || entry.nanos.saturating_add(SLACK) <= self.newest || self.bytes.len() > ahead)
            {
                return Ok(Some(entry.nanos));
            }
            if self.ended {
                return Ok(None);
            }
            self.read_on(table, out, ahead)?;
        }
    }

    #[cold]
    fn read_on(&mut self, table: &mut InterfaceTable, out: &mut Vec<u8>, ahead: usize) -> Result<(), MergeError> {
        self.compact();
        let enough = self.bytes.len() + ahead / 2;
        while self.bytes.len() <= enough {
            let block = self.reader.next_block();
            let block = block.map_err(|source| MergeError::Input { path: self.path.clone(), source })?;
            match block {
                None => {
                    self.ended = true;
                    break;
                }
                Some(Block::Section(section)) => {
                    self.numbers.clear();
                    if !section.hardware.is_empty() && section.application.starts_with("nodewatch") {
                        self.node = section.hardware;
                    }
                }
                Some(Block::Interface(interface)) => {
                    self.numbers.push(number(table, out, &self.node, &interface));
                }
                Some(Block::Statistics(counts)) => {
                    if let Some(&number) = self.numbers.get(counts.interface) {
                        table.count(number, &counts);
                    }
                }
                Some(Block::Packet(packet)) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(packet.data);
                    self.bytes.extend_from_slice(packet.options);
                    self.newest = self.newest.max(packet.nanos);
                    self.ahead.push_back(Entry {
                        nanos: packet.nanos,
                        interface: self.numbers[packet.interface],
                        wire_length: packet.wire_length,
                        start,
                        length: packet.data.len(),
                        options: packet.options.len(),
                    });
                }
                Some(Block::Other(_)) => {}
            }
        }
        // Nearly in order already, which the sort makes use of. Equal times stay as they were.
        self.ahead.make_contiguous().sort_by_key(|entry| entry.nanos);
        Ok(())
    }

    /// Lets go of the bytes of packets that were written.
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

/// An interface goes by its node's name and its own. One that this product has merged before has both already.
fn number(table: &mut InterfaceTable, out: &mut Vec<u8>, node: &str, interface: &Interface) -> u32 {
    let name = match (node, interface.name.as_str()) {
        ("", name) => name.to_owned(),
        (node, "") => node.to_owned(),
        (node, name) => format!("{node}/{name}"),
    };
    table.number(out, &name, node, interface)
}

struct First {
    nanos: Option<u64>,
    comments: Vec<String>,
}

/// When a file's packets begin, and what its section says.
fn peek(path: &Path) -> Result<First, MergeError> {
    let mut reader = Reader::new(source(path)?);
    let mut first = First { nanos: None, comments: Vec::new() };
    loop {
        match reader.next_block().map_err(|source| MergeError::Input { path: path.to_owned(), source })? {
            None => return Ok(first),
            Some(Block::Section(section)) => first.comments.extend(section.comments),
            Some(Block::Packet(packet)) => {
                first.nanos = Some(packet.nanos);
                return Ok(first);
            }
            Some(Block::Interface(_) | Block::Statistics(_) | Block::Other(_)) => {}
        }
    }
}

/// The file's bytes, unpacked where they are zstd.
fn source(path: &Path) -> Result<Box<dyn Read>, MergeError> {
    let failed = |source| MergeError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    if read == 4 && magic == [0x28, 0xB5, 0x2F, 0xFD] {
        return Ok(Box::new(zstd::stream::Decoder::with_buffer(BufReader::new(file)).map_err(failed)?));
    }
    Ok(Box::new(file))
}

/// Files are fetched into a folder of their node's name.
fn folder_name(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
