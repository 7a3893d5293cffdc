//! What an agent says in between, while it writes a running capture as one stream of pcapng: comments of section headers.
//!
//! Owns the words of these comments, which people read too. Must not know pcapng.

use std::fmt;

use crate::UnixMillis;

/// One comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamMark {
    /// The stream is of the capture that began then; the first mark.
    Capture(UnixMillis),
    /// What follows is the file with that [`sequence`](crate::CaptureFile::sequence), from its beginning.
    File(u64),
    /// Packets of the file with that sequence are not in the stream.
    Missed {
        /// The file.
        sequence: u64,
        /// How many packets it had, or lacks.
        packets: u64,
        /// Why they are missing.
        why: String,
    },
    /// Files up to that sequence went, and what was in them is not known any more.
    Forgotten(u64),
    /// The capture has ended, and nothing follows.
    End,
}

const STREAM: &str = "stream: ";
const GAP: &str = "gap: ";

impl StreamMark {
    /// The mark that a comment is; `None` for one that says something else.
    pub fn of(comment: &str) -> Option<Self> {
        if let Some(rest) = comment.strip_prefix(STREAM) {
            return match rest.split_once(' ') {
                None if rest == "end" => Some(Self::End),
                Some(("capture", since)) => since.parse().ok().map(Self::Capture),
                Some(("file", sequence)) => sequence.parse().ok().map(Self::File),
                _ => None,
            };
        }
        let rest = comment.strip_prefix(GAP)?;
        if let Some(rest) = rest.strip_prefix("files up to ") {
            let sequence = rest.strip_suffix(" went, what was in them is not known")?;
            return sequence.parse().ok().map(Self::Forgotten);
        }
        let (packets, rest) = rest.split_once(" packets of file ")?;
        let (sequence, why) = rest.split_once(" are not here: ")?;
        Some(Self::Missed { sequence: sequence.parse().ok()?, packets: packets.parse().ok()?, why: why.to_owned() })
    }
}

impl fmt::Display for StreamMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture(since) => write!(f, "{STREAM}capture {since}"),
            Self::File(sequence) => write!(f, "{STREAM}file {sequence}"),
            Self::Missed { sequence, packets, why } => {
                write!(f, "{GAP}{packets} packets of file {sequence} are not here: {why}")
            }
            Self::Forgotten(sequence) => {
                write!(f, "{GAP}files up to {sequence} went, what was in them is not known")
            }
            Self::End => write!(f, "{STREAM}end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_read_as_it_was_written_and_nothing_else_is_one() {
        for mark in [
            StreamMark::Capture(1_700_000_000_000),
            StreamMark::File(17),
            StreamMark::Missed { sequence: 17, packets: 24, why: "it went before it was read".into() },
            StreamMark::Forgotten(u64::MAX),
            StreamMark::End,
        ] {
            assert_eq!(StreamMark::of(&mark.to_string()), Some(mark));
        }
        let others =
            ["", "stream: ", "stream: file", "stream: file x", "stream: end of it", "gap: nothing was captured"];
        for other in others {
            assert_eq!(StreamMark::of(other), None, "{other}");
        }
    }
}
