//! Packets of many files, merged, on disk until their turn comes.
//!
//! Owns the form they have there. The file has no name: nothing stays of it, however the program ends.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::entry::{Entry, Key, What};

/// Bytes of an entry before its data.
const HEAD: usize = 41;

/// Entries that are being written.
pub(super) struct Spool(BufWriter<File>);

/// Entries that come back in the same order.
pub(super) struct Spooled(BufReader<File>);

impl Spool {
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(256 * 1024, tempfile::tempfile_in(folder)?)))
    }

    pub(super) fn add(&mut self, entry: &Entry, data: &[u8], options: &[u8]) -> io::Result<()> {
        let (kind, interface, ticks, wire_length) = match entry.what {
            What::Packet { interface, ticks, wire_length } => (0u8, interface, ticks, wire_length),
            What::Block => (1, 0, 0, 0),
        };
        let mut head = [0; HEAD];
        head[0..8].copy_from_slice(&entry.key.seconds.to_le_bytes());
        head[8..12].copy_from_slice(&entry.key.nanos.to_le_bytes());
        head[12..16].copy_from_slice(&entry.key.tie.to_le_bytes());
        head[16] = kind;
        head[17..21].copy_from_slice(&interface.to_le_bytes());
        head[21..29].copy_from_slice(&ticks.to_le_bytes());
        head[29..33].copy_from_slice(&wire_length.to_le_bytes());
        head[33..37].copy_from_slice(&(entry.length as u32).to_le_bytes());
        head[37..41].copy_from_slice(&(entry.options as u32).to_le_bytes());
        self.0.write_all(&head)?;
        self.0.write_all(data)?;
        self.0.write_all(options)
    }

    pub(super) fn end(self) -> io::Result<Spooled> {
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Spooled(BufReader::with_capacity(64 * 1024, file)))
    }
}

impl Spooled {
    /// The next entry, its bytes appended to those that there are; `None` at the end.
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Entry>> {
        let mut head = [0; HEAD];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let what = match head[16] {
            0 => What::Packet { interface: word(17), ticks: long(21), wire_length: word(29) },
            _ => What::Block,
        };
        let (start, length, options) = (bytes.len(), word(33) as usize, word(37) as usize);
        bytes.resize(start + length + options, 0);
        self.0.read_exact(&mut bytes[start..])?;
        let key = Key { seconds: long(0) as i64, nanos: word(8) as i32, tie: word(12) };
        Ok(Some(Entry { key, what, start, length, options }))
    }
}
