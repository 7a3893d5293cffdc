//! How much of a packet interfaces say that they keep.
//!
//! Owns that all of a file say the same: libpcap reads no file in which they differ. What one said itself goes into a
//! comment.

use nodewatch_pcapng::{Interface, comment};

/// What no limit amounts to, as libpcap has it.
const NO_LIMIT: u32 = 262_144;
/// Where an interface description block has it.
const WITHIN: u64 = 12;
/// Places that are remembered, to be mended.
const PLACES: usize = 1 << 16;

/// What the interfaces of one file say.
#[derive(Debug, Default)]
pub(super) struct Snaplens {
    common: Option<u32>,
    mixed: bool,
    places: Vec<u64>,
}

impl Snaplens {
    /// Tells what is known before the first is described.
    pub(super) fn expect(&mut self, snaplen: u32) {
        let snaplen = adjusted(snaplen);
        self.mixed |= *self.common.get_or_insert(snaplen) != snaplen;
    }

    /// Makes the interface say what all say.
    pub(super) fn settle(&mut self, interface: &mut Interface) {
        let own = adjusted(interface.snaplen);
        self.expect(own);
        let common = self.common.unwrap_or(own);
        let said = if self.mixed { 0 } else { interface.snaplen };
        if own != NO_LIMIT && (self.mixed || own != common) {
            comment(&mut interface.options, &format!("snapshot length {own}"));
        }
        interface.snaplen = said;
    }

    /// An interface's description begins at that byte of the new file.
    pub(super) fn described_at(&mut self, at: u64) {
        if self.places.len() < PLACES {
            self.places.push(at + WITHIN);
        }
    }

    /// Where zeros have to be written, as interfaces turned out to differ when some had been described.
    pub(super) fn places(self) -> Vec<u64> {
        if self.mixed { self.places } else { Vec::new() }
    }
}

fn adjusted(snaplen: u32) -> u32 {
    if snaplen == 0 || snaplen > i32::MAX as u32 { NO_LIMIT } else { snaplen }
}
