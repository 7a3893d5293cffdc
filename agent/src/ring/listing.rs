//! The list of files as tunnels are told of it: whole where it is short, otherwise in parts and then by what changed.
//!
//! Owns how much goes into one line. Must not know who reads them.

use nodewatch_protocol::{CaptureFile, Delivery, MAX_LINE, Update};

use super::Ring;

/// A list of more files than this is told by its changes.
const SHORT: usize = 256;
/// A line has room for a part and what is around it.
const PART: usize = MAX_LINE / 2;

/// How far the list was told.
#[derive(Debug, Default)]
pub struct Listing {
    revision: u64,
}

impl Listing {
    /// The whole list, for a tunnel that knows nothing yet.
    pub fn picture(ring: &Ring) -> Vec<Update> {
        let mut parts = parts(ring.files());
        let last = parts.pop().unwrap_or_default();
        parts.into_iter().map(Update::FilesPart).chain([Update::Files(last)]).collect()
    }

    /// What there is to tell since the last time.
    pub fn news(&mut self, ring: &Ring) -> Vec<Update> {
        let (revision, count, files, gone) = ring.changes_since(self.revision);
        self.revision = revision;
        if count <= SHORT {
            return Self::picture(ring);
        }
        let mut gone = Some(gone);
        let mut news: Vec<Update> = (parts(files).into_iter())
            .map(|files| Update::FilesChanged { files, gone: gone.take().unwrap_or_default() })
            .collect();
        if let Some(gone) = gone.filter(|gone| !gone.is_empty()) {
            news.push(Update::FilesChanged { files: Vec::new(), gone });
        }
        news
    }
}

fn parts(files: Vec<CaptureFile>) -> Vec<Vec<CaptureFile>> {
    let mut parts: Vec<Vec<CaptureFile>> = Vec::new();
    let mut room = 0;
    for file in files {
        let text = match &file.delivery {
            Delivery::Waiting { reason } | Delivery::Lost { reason } => reason.len(),
            Delivery::Delivered { key, .. } => key.len(),
            Delivery::Held | Delivery::Sending { .. } => 0,
        };
        // Characters that JSON must write as escapes take more; these texts have few.
        let bytes = 500 + file.name.len() + 2 * (file.incomplete.len() + text);
        match parts.last_mut() {
            Some(part) if bytes <= room => part.push(file),
            _ => {
                parts.push(vec![file]);
                room = PART;
            }
        }
        room = room.saturating_sub(bytes);
    }
    parts
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{Dropped, FileState, FromAgent, encode};

    use super::*;

    #[test]
    fn a_part_fits_a_line_whatever_is_said_of_its_files() {
        let file = |sequence| CaptureFile {
            name: format!("20231114T221320.123456Z-{sequence:04}.pcapng"),
            sequence,
            size: u64::MAX,
            packets: u64::MAX,
            started: u64::MAX,
            ended: u64::MAX,
            state: FileState::Closed,
            dropped: Dropped { kernel: u64::MAX, interface: u64::MAX, queue: u64::MAX },
            incomplete: "incomplete: \"".repeat(sequence as usize % 100),
            sha256: Some("0".repeat(64)),
            delivery: Delivery::Waiting { reason: "no answer".repeat(sequence as usize % 7) },
            fetched: true,
            since: 0,
        };
        let all: Vec<CaptureFile> = (0..5000).map(file).collect();
        let parts = parts(all.clone());
        assert!(parts.len() > 1 && parts.len() < 50, "{}", parts.len());
        for part in &parts {
            encode(&FromAgent::Update(Update::FilesPart(part.clone()))).expect("a line");
        }
        assert_eq!(parts.concat(), all);
    }
}
