//! What a merge could not do as it should.
//!
//! Owns the count of it, and how it is said.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use nodewatch_pcapng::{Lost, ReadError};

use crate::base::text::{chain, counted};

/// What a merge could not do as it should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Files that are damaged, and where. What comes before is merged.
    pub damaged: Vec<(PathBuf, String)>,
    /// Blocks that were left out, by their type.
    pub blocks: BTreeMap<u32, u64>,
    /// Options that have no place in another file.
    pub kept_back: u64,
    /// Comments for which there was no packet and no room.
    pub comments: u64,
    /// Packets that were longer than other programs read.
    pub shortened: u64,
    /// Link types in the new file.
    pub link_types: BTreeSet<u16>,
}

impl Notes {
    pub(super) fn damage(&mut self, path: &Path, error: &ReadError) {
        self.damaged.push((path.to_owned(), chain(error)));
    }

    pub(super) fn block(&mut self, kind: u32) {
        *self.blocks.entry(kind).or_default() += 1;
    }

    pub(super) fn options(&mut self, path: &Path, lost: Lost) {
        self.kept_back += lost.kept_back;
        if lost.damaged > 0 {
            let what = if lost.damaged == 1 { "a damaged option" } else { "damaged options" };
            self.damaged.push((path.to_owned(), format!("skipped {what} in the block at byte {}", lost.first_at)));
        }
    }

    /// The same for people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.damaged.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
        let blocks: u64 = self.blocks.values().sum();
        if blocks > 0 {
            let kinds: Vec<String> = self.blocks.keys().take(8).map(|kind| format!("{kind:#x}")).collect();
            lines.push(format!(
                "skipped {} of other kinds (type {})",
                counted(blocks as usize, "block"),
                kinds.join(", ")
            ));
        }
        if self.kept_back > 0 {
            lines.push(format!(
                "skipped {} that only apply to their own file",
                counted(self.kept_back as usize, "option")
            ));
        }
        if self.comments > 0 {
            lines.push(format!("skipped {}", counted(self.comments as usize, "section comment")));
        }
        if self.shortened > 0 {
            let what = counted(self.shortened as usize, "packet");
            lines.push(format!("{what} cut to the 262144 bytes that Wireshark and tcpdump read"));
        }
        if self.link_types.len() > 1 {
            let types = self.link_types.len();
            lines.push(format!(
                "packets of {types} link types: Wireshark shows all of them, tcpdump only reads files \
                                with one"
            ));
        }
        lines
    }
}
