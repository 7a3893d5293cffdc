//! Packets of many files, one after the other, for whoever wants to look at them and needs no new file.
//!
//! Owns what is said of each. Their order is that of a merge.

use std::{io, path::Path};

use nodewatch_pcapng::lost_before;

use super::{FEW, Merge, MergeError, Merged, input::Described, limit};

/// Whoever takes packets.
pub(super) type Take<'a> = &'a mut dyn FnMut(&Taken<'_>);

/// A packet whose turn it is.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// The number of its interface among all of the files.
    pub interface: u32,
    /// That one's name, as `NODE/INTERFACE`; of others' files what is known.
    pub name: &'a str,
    /// Its link type's number in a file.
    pub link_type: u16,
    /// In nanoseconds since the Unix epoch; `None` where its file does not say.
    pub time: Option<i64>,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub bytes: &'a [u8],
    /// Packets that its interface has lost just before.
    pub lost: u64,
}

impl<'a> Taken<'a> {
    #[inline]
    pub(super) fn new(
        interface: u32,
        from: &'a Described,
        time: Option<i64>,
        wire_length: u32,
        (bytes, options): (&'a [u8], &[u8]),
    ) -> Self {
        let lost = if options.is_empty() { 0 } else { lost_before(options) };
        Self { interface, name: &from.name, link_type: from.link_type, time, wire_length, bytes, lost }
    }
}

impl Merge {
    /// Gives every packet in its turn, and writes none. A file that is damaged gives what it has.
    pub fn read(&self, take: &mut dyn FnMut(&Taken<'_>)) -> Result<Merged, MergeError> {
        let slots = limit::files().max(FEW);
        let (merged, _) = self.write_in(io::sink(), Path::new(""), &std::env::temp_dir(), slots, Some(take))?;
        Ok(merged)
    }
}

/// Where a file of others was captured, by its name: files that a program has begun one after the other differ in their
/// numbers and times.
pub(super) fn source_of(path: &Path) -> String {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".zst", ".gz"].iter().fold(&*stem, |stem, end| stem.trim_end_matches(end));
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let common =
        stem.trim_end_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.' | 'T' | 'Z'));
    if common.is_empty() { stem.to_owned() } else { common.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_capture_have_one_source() {
        let source = |name: &str| source_of(Path::new(name));
        assert_eq!(source("/a/dump.pcap"), "dump");
        assert_eq!(source("dump.pcap12"), "dump");
        assert_eq!(source("b/eth0_00001_20260101120000.pcapng.gz"), "eth");
        assert_eq!(source("web-2026-01-01T12:00.pcap"), source("web-2026-01-01T13:00.pcap"));
        assert_ne!(source("node-a.pcap"), source("node-b.pcap"));
        assert_eq!(source("20260101.pcap"), "20260101");
    }
}
