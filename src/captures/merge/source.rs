//! Where captures come from: files, standard input and pipes, packed or not.
//!
//! Owns what a file is, which its first bytes say and never its name. Must not know packets.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use nodewatch_pcapng::{Block, Lost, ReadError, Reader};

use super::pcap::{Pcap, is_pcap};

/// The name that stands for standard input.
pub(super) const STDIN: &str = "-";

/// Why there is nothing to read.
#[derive(Debug)]
pub(super) enum OpenError {
    Io(io::Error),
    /// It is something else.
    NoCapture,
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a capture is. What cannot be opened again is open from the start, and what was looked at is kept.
pub(super) struct Place {
    pub(super) path: PathBuf,
    stream: Option<Stream>,
}

struct Stream {
    input: Arc<File>,
    seen: Rc<RefCell<Vec<u8>>>,
}

impl Place {
    pub(super) fn new(path: PathBuf) -> Result<Self, OpenError> {
        let file = if path.as_os_str() == STDIN {
            Some(File::from(io::stdin().as_fd().try_clone_to_owned()?))
        } else if fs::metadata(&path)?.is_file() {
            None
        } else {
            Some(File::open(&path)?)
        };
        let stream = file.map(|file| Stream { input: Arc::new(file), seen: Rc::default() });
        Ok(Self { path, stream })
    }

    /// It can be opened as often as wanted.
    pub(super) fn again(&self) -> bool {
        self.stream.is_none()
    }

    /// Opens it to look at what it begins with; no more than `most` bytes are read at once.
    pub(super) fn look(&self, most: usize) -> Result<Capture, OpenError> {
        match &self.stream {
            None => self.open(most),
            Some(stream) => {
                let looked = Looked { input: Arc::clone(&stream.input), seen: Rc::clone(&stream.seen) };
                Capture::of(begin(Box::new(looked))?, most)
            }
        }
    }

    /// Opens it from its beginning, what cannot be opened again for the last time.
    pub(super) fn open(&self, most: usize) -> Result<Capture, OpenError> {
        match &self.stream {
            None => Capture::of(first(File::open(&self.path)?)?, most),
            Some(stream) => {
                let seen = Cursor::new(stream.seen.take());
                Capture::of(begin(Box::new(seen.chain(Arc::clone(&stream.input))))?, most)
            }
        }
    }
}

/// Remembers what it reads.
struct Looked {
    input: Arc<File>,
    seen: Rc<RefCell<Vec<u8>>>,
}

impl Read for Looked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.seen.borrow_mut().extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// A capture that is being read.
pub(super) struct Capture {
    form: Form,
    /// What it costs to have it open, where one that is not packed costs 1.
    pub(super) cost: usize,
}

enum Form {
    Pcapng(Reader<Box<dyn Read>>),
    Pcap(Box<Pcap<Box<dyn Read>>>),
}

impl Capture {
    fn of((first, input): ([u8; 4], Box<dyn Read>), most: usize) -> Result<Self, OpenError> {
        let Some(packing) = packing(first) else { return Ok(Self { form: form(first, input, most)?, cost: 1 }) };
        let unpacked: Box<dyn Read> = match packing {
            Packing::Gz => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(input))),
            Packing::Zstd => Box::new(zstd::stream::Decoder::with_buffer(BufReader::new(input))?),
        };
        let (first, input) = begin(unpacked)?;
        Ok(Self { form: form(first, input, most)?, cost: packing.cost() })
    }

    pub(super) fn next_block(&mut self) -> Result<Option<Block<'_>>, ReadError> {
        match &mut self.form {
            Form::Pcapng(reader) => reader.next_block(),
            Form::Pcap(pcap) => pcap.next_block(),
        }
    }

    /// Options that could not be kept so far.
    pub(super) fn lost(&self) -> Lost {
        match &self.form {
            Form::Pcapng(reader) => reader.parser().lost(),
            Form::Pcap(_) => Lost::default(),
        }
    }

    pub(super) fn is_big_endian(&self) -> bool {
        match &self.form {
            Form::Pcapng(reader) => reader.parser().is_big_endian(),
            Form::Pcap(pcap) => pcap.is_big_endian(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    Gz,
    Zstd,
}

impl Packing {
    /// By the memory that unpacking takes.
    fn cost(self) -> usize {
        match self {
            Self::Gz => 2,
            Self::Zstd => 8,
        }
    }
}

fn packing(first: [u8; 4]) -> Option<Packing> {
    match first {
        [0x1F, 0x8B, ..] => Some(Packing::Gz),
        // A frame, or one to skip before it.
        [0x28, 0xB5, 0x2F, 0xFD] | [0x50..=0x5F, 0x2A, 0x4D, 0x18] => Some(Packing::Zstd),
        _ => None,
    }
}

fn form(first: [u8; 4], input: Box<dyn Read>, most: usize) -> Result<Form, OpenError> {
    match first {
        [0x0A, 0x0D, 0x0D, 0x0A] => Ok(Form::Pcapng(Reader::of_others(input, most))),
        first if is_pcap(first) => Ok(Form::Pcap(Box::new(Pcap::new(input, most)))),
        _ => Err(OpenError::NoCapture),
    }
}

/// The first bytes of a file, and the file from its beginning.
fn first(mut file: File) -> Result<([u8; 4], Box<dyn Read>), OpenError> {
    let mut first = [0; 4];
    let read = fill(&mut file, &mut first)?;
    if read < first.len() {
        return Err(OpenError::NoCapture);
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((first, Box::new(file)))
}

/// The same of what cannot be rewound: the first bytes are put in front again.
fn begin(mut input: Box<dyn Read>) -> Result<([u8; 4], Box<dyn Read>), OpenError> {
    let mut first = [0; 4];
    let read = fill(&mut input, &mut first)?;
    if read < first.len() {
        return Err(OpenError::NoCapture);
    }
    Ok((first, Box::new(Cursor::new(first).chain(input))))
}

fn fill(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match input.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
