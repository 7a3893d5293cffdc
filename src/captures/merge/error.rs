//! Why files could not be merged.

use std::{io, path::PathBuf};

/// Files could not be merged; nothing is left of the new one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge.
    #[error("no capture file in {places:?}")]
    Nothing {
        /// Where.
        places: Vec<PathBuf>,
        /// What is there instead, and why that is none.
        passed_over: Vec<(PathBuf, String)>,
    },
    /// An input cannot be opened.
    #[error("cannot open {path:?}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No input has a packet, and this one is no capture, or a damaged one.
    #[error("cannot read {path:?}: {why}")]
    Input {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Packets cannot be put aside until their turn comes.
    #[error("cannot store packets temporarily in {folder:?}")]
    Aside {
        /// Where.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
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
