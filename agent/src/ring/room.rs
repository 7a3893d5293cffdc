//! Who may have how much of the ring, and what goes first.
//!
//! Owns the bounds and the one order in which files go. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::{Delivery, FilePlace, FileRecord, FileState};

use super::list::List;

/// What all files may take, and what the capture that runs may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of everything: the volume's.
    pub total: u64,
    /// Of the running capture's files, and of what others have too.
    pub capture: u64,
}

/// Whether something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Fits,
    /// Not before the file with that number has gone.
    After(u64),
    /// Not at all.
    Full,
}

/// What a file is worth: the first of these go first, and among equals the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// The sink or a laptop has it too.
    Elsewhere,
    /// A recorder's memory that nobody can freeze any more.
    DeadPiece,
    /// A recorder's memory that comes again, and that no freeze waits for.
    Piece,
    /// A capture's.
    Capture,
    /// A capture's that is on its way out.
    Sending,
    /// What somebody chose to save.
    Frozen,
    /// What somebody has chosen to save, and is not saved yet.
    Needed,
}

fn worth(list: &List, live: &[u64], record: &FileRecord) -> Worth {
    match record.place {
        _ if record.file.is_elsewhere() => Worth::Elsewhere,
        FilePlace::Recorder if list.is_needed(record) => Worth::Needed,
        FilePlace::Recorder if live.contains(&record.capture) => Worth::Piece,
        FilePlace::Recorder => Worth::DeadPiece,
        FilePlace::Kept | FilePlace::Gone => match record.file.delivery {
            _ if record.frozen => Worth::Frozen,
            Delivery::Sending { .. } => Worth::Sending,
            _ => Worth::Capture,
        },
    }
}

/// Whether so many bytes more fit, with what goes next where they do not: none of those that cannot go.
pub(super) fn room(list: &List, bounds: Bounds, bytes: u64, stuck: &BTreeSet<u64>) -> Room {
    let live = list.live();
    let here = || list.records().filter(|record| record.place != FilePlace::Gone);
    // Another capture's files that nobody else has do not have to make room for this one's, while the volume has some.
    let counted = |record: &FileRecord| live.contains(&record.capture) || worth(list, &live, record) < Worth::Piece;
    let counted_bytes: u64 = here().filter(|record| counted(record)).map(|record| record.file.size).sum();
    let over_total = list.used().saturating_add(bytes) > bounds.total;
    let over_capture = counted_bytes.saturating_add(list.reserved).saturating_add(bytes) > bounds.capture;
    if !over_total && !over_capture {
        return Room::Fits;
    }
    let closed =
        here().filter(|record| record.file.state == FileState::Closed && !stuck.contains(&record.file.sequence));
    let victim = (closed.filter(|record| over_total || counted(record)))
        .min_by_key(|record| (worth(list, &live, record), record.file.sequence));
    victim.map_or(Room::Full, |record| Room::After(record.file.sequence))
}

/// What all files together may take: the capture's bound, beside what other captures have left that nobody else has.
pub(super) fn limit(list: &List, bounds: Bounds) -> u64 {
    let live = list.live();
    let others: u64 = (list.records())
        .filter(|record| record.place != FilePlace::Gone && !live.contains(&record.capture))
        .filter(|record| worth(list, &live, record) >= Worth::Piece)
        .map(|record| record.file.size)
        .sum();
    bounds.total.min(bounds.capture.saturating_add(others))
}

/// The recorder's pieces that are older than `before` or too many together, those that a freeze waits for left out.
pub(super) fn outdated(list: &List, before: u64, bytes: u64) -> Vec<u64> {
    let pieces = || list.records().filter(|record| record.place == FilePlace::Recorder);
    let mut total: u64 = pieces().map(|record| record.file.size).sum();
    let mut old = Vec::new();
    for record in pieces().filter(|record| record.file.state == FileState::Closed && !list.is_needed(record)) {
        if record.span.is_some_and(|span| span.to >= before) && total <= bytes {
            continue;
        }
        total -= record.file.size;
        old.push(record.file.sequence);
    }
    old
}
