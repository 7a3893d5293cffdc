//! Files that were made here: of captures, and of what a screen shows.
//!
//! Owns what each was made of and how its row is told from others. Pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FileKey;
use crate::model::FetchProgress;

/// A file that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFile {
    /// Where it is: as a file that is here.
    pub(super) here: FetchProgress,
    /// Its name.
    pub name: String,
    /// What it was made of.
    #[serde(flatten)]
    pub of: MadeOf,
    /// Its bytes.
    pub bytes: u64,
}

/// What a file was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MadeOf {
    /// Captures.
    Captures {
        /// How many.
        files: usize,
        /// Packets in it.
        packets: u64,
    },
    /// A screen's table.
    Table {
        /// Rows in it.
        rows: usize,
    },
}

impl MadeFile {
    /// Captures that were merged into that file.
    pub fn merged(path: PathBuf, files: usize, packets: u64, bytes: u64) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::at(path, name, MadeOf::Captures { files, packets }, bytes)
    }

    /// A table that was saved there. One outside the session's folder goes by its path.
    pub fn table(path: PathBuf, folder: &Path, rows: usize, bytes: u64) -> Self {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        Self::at(path, name, MadeOf::Table { rows }, bytes)
    }

    fn at(path: PathBuf, name: String, of: MadeOf, bytes: u64) -> Self {
        Self { here: FetchProgress::Done { path, sha256: String::new() }, name, of, bytes }
    }

    /// Which row it is: what was done stands where a node's name would.
    pub fn key(&self) -> FileKey {
        let what = if self.is_table() { "saved" } else { "merged" };
        FileKey { session: None, node: what.to_owned(), name: self.name.clone() }
    }

    /// No capture, but what a screen showed.
    pub fn is_table(&self) -> bool {
        matches!(self.of, MadeOf::Table { .. })
    }

    /// Where it is.
    pub fn path(&self) -> Option<&Path> {
        match &self.here {
            FetchProgress::Done { path, .. } => Some(path),
            _ => None,
        }
    }
}
