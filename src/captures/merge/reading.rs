//! Packets of many files, one after the other, for whoever wants to look at them and needs no new file.
//!
//! Owns what is said of each. Their order is that of a merge.

use std::{
    io,
    path::{Path, PathBuf},
};

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
    /// This product has captured it, and its name has its node's.
    pub ours: bool,
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
    /// The place of its file among all of them.
    pub file: u32,
    /// What of those is known to be damaged by now, and where.
    pub damaged: &'a [(PathBuf, String)],
    /// Packets before it of which one copy was given.
    pub again: u64,
    /// Files of which nothing more comes, in the order in which they ended.
    pub ended: &'a [u32],
}

impl<'a> Taken<'a> {
    #[inline]
    pub(super) fn new(
        (file, interface, wire_length): (u32, u32, u32),
        from: &'a Described,
        time: Option<i64>,
        (bytes, options): (&'a [u8], &[u8]),
        (damaged, again, ended): (&'a [(PathBuf, String)], u64, &'a [u32]),
    ) -> Self {
        let lost = if options.is_empty() { 0 } else { lost_before(options) };
        Self {
            interface,
            name: &from.name,
            ours: from.ours,
            link_type: from.link_type,
            time,
            wire_length,
            bytes,
            lost,
            file,
            damaged,
            again,
            ended,
        }
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
