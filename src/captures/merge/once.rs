//! Packets that several files of one node have, as two freezes of the same seconds do.
//!
//! Owns which copy is one too many: the same interface, nanosecond, length and bytes in another file. A file that has
//! the same packet twice has seen it twice.

use super::entry::Key;

/// Packets of one nanosecond that are compared, and bytes of them.
const MOST: usize = 256;
const MOST_BYTES: usize = 1 << 20;

struct Seen {
    interface: u32,
    wire_length: u32,
    /// Where its bytes are.
    start: usize,
    length: usize,
    /// How many were written.
    written: usize,
    /// How many the first file had, and each other, by its place in the order.
    first: (u32, usize),
    others: Vec<(u32, usize)>,
}

/// Packets of the nanosecond that is being written.
#[derive(Default)]
pub(super) struct Once {
    at: Option<(i64, i32)>,
    seen: Vec<Seen>,
    bytes: Vec<u8>,
}

impl Once {
    /// Whether another file's copy was written already.
    #[inline]
    pub(super) fn again(&mut self, key: Key, interface: u32, wire_length: u32, data: &[u8]) -> bool {
        let at = (key.seconds, key.nanos);
        if self.at != Some(at) {
            self.at = Some(at);
            self.seen.clear();
            self.bytes.clear();
        }
        let same = self.seen.iter_mut().find(|seen| {
            seen.interface == interface
                && seen.wire_length == wire_length
                && self.bytes[seen.start..seen.start + seen.length] == *data
        });
        let Some(same) = same else {
            if self.seen.len() < MOST && self.bytes.len() + data.len() <= MOST_BYTES {
                let (start, length, first) = (self.bytes.len(), data.len(), (key.tie, 1));
                self.bytes.extend_from_slice(data);
                self.seen.push(Seen { interface, wire_length, start, length, written: 1, first, others: Vec::new() });
            }
            return false;
        };
        let mut files = std::iter::once(&mut same.first).chain(&mut same.others);
        let had = if let Some((_, had)) = files.find(|(file, _)| *file == key.tie) {
            *had += 1;
            *had
        } else {
            same.others.push((key.tie, 1));
            1
        };
        if had <= same.written {
            return true;
        }
        same.written = had;
        false
    }
}
