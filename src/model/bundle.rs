//! What there is to know of a bundle, a node's network state in files.

use std::path::PathBuf;

use nodewatch_protocol::UnixMillis;
use serde::{Deserialize, Serialize};

/// Of which moment of a capture a node's network state is, by the agent's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleOf {
    /// Its beginning.
    Begin {
        /// When the capture began.
        since: UnixMillis,
    },
    /// Its end.
    End {
        /// When the capture began.
        since: UnixMillis,
        /// When it ended.
        at: UnixMillis,
    },
}

impl BundleOf {
    /// When the capture began, by which it is known.
    pub fn since(self) -> UnixMillis {
        match self {
            Self::Begin { since } | Self::End { since, .. } => since,
        }
    }

    /// The moment that is meant; what is read later shows a later state.
    pub fn due(self) -> UnixMillis {
        match self {
            Self::Begin { since } => since,
            Self::End { at, .. } => at,
        }
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::End { .. } => "end",
        }
    }
}

/// Where a bundle is on this laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFiles {
    /// For programs.
    pub json: PathBuf,
    /// For people.
    pub text: PathBuf,
    /// How many times the state is in it: two are the beginning and the end of a capture.
    pub taken: usize,
}

/// A program that makes a node's network, such as kube-proxy or a plugin for CNI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkProgram {
    /// Its pod, with the namespace.
    pub pod: String,
    /// Its image, which says the version.
    pub image: String,
}
