//! Every capture file of the session, on nodes, on the way, here and in S3, and those of older sessions.
//!
//! Owns where each one is, and what of S3 is known. Pure.

mod made;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use nodewatch_protocol::{CaptureFile, Delivery, FileState, Request, UnixMillis};
use serde::{Deserialize, Serialize};

pub use self::made::{MadeFile, MadeOf};
use super::{Effect, Session, bundles::Bundles, node::NodeState};
use crate::{
    base::text,
    model::{FetchProgress, Held, MAX_LISTED, NodeName, Notice, S3Url, StoredFile},
};

/// What moves, and what S3 has.
#[derive(Debug, Clone, Default)]
pub struct Transfers {
    /// Files come here as soon as they are closed, where no sink takes them.
    pub(super) homing: bool,
    /// What S3 has.
    pub stored: Stored,
    /// Listings of S3 that are under way.
    pub(super) listings: Listings,
    /// Objects that were removed by this program's own key.
    pub(super) removed: BTreeSet<String>,
    /// Objects on their way here or here, by key.
    pub downloads: BTreeMap<String, FetchProgress>,
    /// How fast files move, all together.
    pub flow: Flow,
    /// Files that were made here: of others, and of what a screen shows.
    pub made: Vec<MadeFile>,
    /// Network state of nodes, beside their captures.
    pub bundles: Bundles,
    /// What went with rings and is to be told once it is known what S3 has.
    pub(super) missed: Vec<Missed>,
}

/// Listings of S3 that are under way, and what each of them must show: what was there before the first was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Listings {
    under_way: usize,
    due: BTreeSet<String>,
}

/// Files that went with their ring.
#[derive(Debug, Clone)]
pub(super) struct Missed {
    pub(super) node: NodeName,
    pub(super) files: Vec<String>,
    /// Why the ring is gone.
    pub(super) why: String,
}

/// How much had moved at a time, and how fast it did until then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// When.
    pub at: UnixMillis,
    /// Bytes of files under way and delivered.
    pub bytes: u64,
    /// Bytes a second.
    pub rate: u64,
}

/// What is known of S3.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stored {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// Asked.
    Asked,
    /// These are there.
    Known(Vec<StoredFile>),
    /// It could not be listed.
    Failed(Notice),
}

/// Where a capture file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts<'a> {
    /// Its agent is writing it.
    Writing,
    /// On its way here, with how many bytes and why it was begun again.
    Coming {
        /// Bytes that are here.
        have: u64,
        /// Why it goes on from there.
        resuming: Option<&'a str>,
    },
    /// On the laptop, checked.
    Here(&'a Path),
    /// In S3; perhaps nobody has compared it with what was sent.
    InS3 {
        /// It was.
        compared: bool,
    },
    /// On its way to S3.
    Uploading {
        /// Bytes that were sent.
        sent: u64,
    },
    /// In its agent's ring and nowhere else.
    OnNode,
    /// It was in a ring that is gone, and is nowhere else.
    Lost,
    /// Nowhere any more.
    Gone,
}

impl<'a> Whereabouts<'a> {
    fn of(row: &FileRow<'a>) -> Self {
        let &FileRow { on_node: file, ring_is_gone, removed, here, .. } = row;
        let stored = row.stored.is_some();
        match (here, file) {
            (Some(FetchProgress::Done { path, .. }), _) => Self::Here(path),
            (Some(FetchProgress::Bytes(have)), _) => Self::Coming { have: *have, resuming: None },
            (Some(FetchProgress::Resuming { have, reason }), _) => Self::Coming { have: *have, resuming: Some(reason) },
            (_, None) if stored => Self::InS3 { compared: true },
            (_, None) => Self::Gone,
            (_, Some(file)) => match &file.delivery {
                Delivery::Delivered { unproved, .. } if !removed => Self::InS3 { compared: !unproved },
                _ if stored => Self::InS3 { compared: true },
                _ if ring_is_gone => Self::Lost,
                _ if file.state == FileState::Open => Self::Writing,
                Delivery::Sending { sent } => Self::Uploading { sent: *sent },
                Delivery::Held | Delivery::Waiting { .. } | Delivery::Lost { .. } | Delivery::Delivered { .. } => {
                    Self::OnNode
                }
            },
        }
    }

    /// As screens say it, and as `place:` finds it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Writing => "being written",
            Self::Coming { .. } => "coming",
            Self::Here(_) => "here",
            Self::InS3 { compared: true } => "in S3",
            Self::InS3 { compared: false } => "in S3, not compared",
            Self::Uploading { .. } => "uploading",
            Self::OnNode => "on the node",
            Self::Lost => "lost",
            Self::Gone => "gone",
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub struct FileRow<'a> {
    /// Which file.
    pub key: FileKey,
    /// In the agent's ring.
    pub on_node: Option<&'a CaptureFile>,
    /// That ring went with its agent.
    pub ring_is_gone: bool,
    /// In S3.
    pub stored: Option<&'a StoredFile>,
    /// S3 had it, and a newer list of what S3 has lacks it.
    pub removed: bool,
    /// On its way here, or here.
    pub here: Option<&'a FetchProgress>,
    /// It was made here.
    pub made: Option<&'a MadeFile>,
}

impl<'a> FileRow<'a> {
    /// A file in the ring of a node, and how far it is on its way here.
    pub fn on_node(state: &'a NodeState, file: &'a CaptureFile) -> Self {
        let key = FileKey { session: None, node: state.node.name.0.clone(), name: file.name.clone() };
        let (removed, here) = (state.is_removed_from_s3(file), state.fetches.get(&file.name));
        Self { key, on_node: Some(file), ring_is_gone: false, stored: None, removed, here, made: None }
    }

    /// Its bytes, uncompressed where that is known.
    pub fn size(&self) -> u64 {
        if let Some(made) = self.made {
            return made.bytes;
        }
        self.on_node.map_or_else(|| self.stored.map_or(0, |stored| stored.size), |file| file.size)
    }

    /// Its packets, where they are known.
    pub fn packets(&self) -> u64 {
        match self.made.map(|made| made.of) {
            Some(MadeOf::Captures { packets, .. }) => packets,
            Some(MadeOf::Table { .. }) => 0,
            None => self.on_node.map_or(0, |file| file.packets),
        }
    }

    /// No capture, but a table that was saved.
    pub fn is_table(&self) -> bool {
        self.made.is_some_and(MadeFile::is_table)
    }

    /// Where it is.
    pub fn place(&self) -> Whereabouts<'a> {
        Whereabouts::of(self)
    }

    /// Something is missing from it, or it did not get where it was to go.
    pub fn is_fault(&self) -> bool {
        let incomplete = self.on_node.is_some_and(|file| {
            !file.is_complete() || matches!(file.delivery, Delivery::Waiting { .. } | Delivery::Lost { .. })
        });
        incomplete || self.removed || self.is_lost() || matches!(self.here, Some(FetchProgress::Failed(_)))
    }

    /// It was in a ring that is gone, and is nowhere else nor on its way.
    pub fn is_lost(&self) -> bool {
        self.place() == Whereabouts::Lost
    }

    /// It is whole, elsewhere and not on its way here.
    pub fn can_be_fetched(&self) -> bool {
        matches!(self.place(), Whereabouts::OnNode | Whereabouts::InS3 { .. } | Whereabouts::Uploading { .. })
    }

    /// Something of it is on a node or in S3 that is this session's to remove.
    pub fn can_be_removed(&self) -> bool {
        let in_ring = self.on_node.is_some_and(|file| file.state == FileState::Closed) && !self.ring_is_gone;
        in_ring || (self.key.session.is_none() && self.stored.is_some())
    }

    /// It is somewhere that can be named to others: on the laptop or in S3.
    pub fn has_address(&self) -> bool {
        self.path().is_some() || matches!(self.place(), Whereabouts::InS3 { .. })
    }

    /// Its checksum: what a fetch has checked it against, or what its agent says.
    pub fn sha256(&self) -> Option<&'a str> {
        match self.here {
            Some(FetchProgress::Done { sha256, .. }) => Some(sha256),
            _ => self.on_node.and_then(|file| file.sha256.as_deref()),
        }
    }

    /// Where it is on the laptop.
    pub fn path(&self) -> Option<&PathBuf> {
        match self.here {
            Some(FetchProgress::Done { path, .. }) => Some(path),
            _ => None,
        }
    }
}

/// A file, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileKey {
    /// Its session; `None` is this one.
    pub session: Option<String>,
    /// Its node.
    pub node: String,
    /// Its name.
    pub name: String,
}

impl FileKey {
    /// For people: its node, its name, and its session where that is another.
    pub fn text(&self) -> String {
        let session = self.session.as_ref().map_or_else(String::new, |session| format!("{session}:"));
        text::visible(&format!("{session}{}/{}", self.node, self.name))
    }
}

impl Session {
    /// Every file, this session's nodes first, then what only S3 has.
    pub fn all_files(&self) -> Vec<FileRow<'_>> {
        let stored: &[StoredFile] = match &self.transfers.stored {
            Stored::Known(files) => files,
            _ => &[],
        };
        let mut by_key: BTreeMap<&str, &StoredFile> = stored.iter().map(|file| (file.key.as_str(), file)).collect();
        let mut rows = Vec::new();
        for (node, state) in &self.nodes {
            let former = state.gone.former.iter().map(|file| (file, true));
            for (file, ring_is_gone) in former.chain(state.files.iter().map(|file| (file, false))) {
                let in_s3 = match &file.delivery {
                    Delivery::Delivered { key, .. } => by_key.remove(key.as_str()),
                    _ => None,
                };
                let fetched = state.fetches.get(&file.name);
                rows.push(FileRow {
                    key: FileKey { session: None, node: node.0.clone(), name: file.name.clone() },
                    on_node: Some(file),
                    ring_is_gone,
                    stored: in_s3,
                    removed: state.is_removed_from_s3(file),
                    here: fetched.or_else(|| self.transfers.downloads.get(&in_s3?.key)),
                    made: None,
                });
            }
        }
        rows.extend(self.transfers.made.iter().map(|made| FileRow {
            removed: false,
            key: made.key(),
            on_node: None,
            ring_is_gone: false,
            stored: None,
            here: Some(&made.here),
            made: Some(made),
        }));
        let Some(storage) = &self.terms.storage else { return rows };
        let mut others: Vec<FileRow<'_>> = by_key
            .into_values()
            .filter_map(|stored| {
                let (session, node, name) = storage.url.split_key(&stored.key)?;
                let name = name.strip_suffix(".zst").unwrap_or(name);
                let session = (session != self.terms.id).then(|| session.to_string());
                name.ends_with(".pcapng").then(|| FileRow {
                    key: FileKey { session, node: node.to_owned(), name: name.to_owned() },
                    on_node: None,
                    ring_is_gone: false,
                    stored: Some(stored),
                    removed: false,
                    here: self.transfers.downloads.get(&stored.key),
                    made: None,
                })
            })
            .collect();
        // This session's first, then the newest.
        others.sort_by(|a, b| {
            let newest = |row: &FileRow<'_>| std::cmp::Reverse(row.stored.map(|stored| stored.modified));
            (a.key.session.is_some(), newest(a)).cmp(&(b.key.session.is_some(), newest(b)))
        });
        rows.extend(others);
        rows
    }

    /// Asks S3 for what it has.
    pub(crate) fn list_stored(&mut self) -> Vec<Effect> {
        if self.terms.storage.is_none() {
            return Vec::new();
        }
        if !matches!(self.transfers.stored, Stored::Known(_)) {
            self.transfers.stored = Stored::Asked;
        }
        // What was delivered before must be in the list.
        if self.transfers.listings.under_way == 0 {
            self.transfers.listings.due = self.delivered_here();
        }
        self.transfers.listings.under_way += 1;
        vec![Effect::ListStored]
    }

    /// What S3 has is known, or not.
    pub(super) fn stored(&mut self, stored: Result<Vec<StoredFile>, Notice>) {
        let listings = &mut self.transfers.listings;
        listings.under_way = listings.under_way.saturating_sub(1);
        // Which of several an answer belongs to is not known, so each shows at least what the first one must.
        let due = if listings.under_way == 0 { std::mem::take(&mut listings.due) } else { listings.due.clone() };
        match stored {
            Ok(files) => {
                let removed = self.hold_against(&due, &files);
                self.transfers.stored = Stored::Known(files);
                if removed > 0 {
                    let headline = format!("{} not in S3 any more", text::counted(removed, "file"));
                    let cause = "the newest list of the bucket lacks what was uploaded before";
                    let next_step = "{open} fetches what is still on a node";
                    self.notify(Notice::warning(headline, cause, next_step).naming_keys());
                }
            }
            Err(notice) => {
                self.notify(notice.clone());
                self.transfers.stored = Stored::Failed(notice);
            }
        }
        self.settle_missed();
    }

    /// Where captures of this session went before.
    pub(super) fn earlier_places(&self) -> impl Iterator<Item = S3Url> {
        self.terms.s3.earlier_places.iter().map(|place| place.below(self.terms.id.as_str()))
    }

    /// The address of a delivered file: where files go now, or where they went before if its key says so. Of two
    /// buckets with the same keys it is in the one that is known to have it.
    pub fn object_uri(&self, key: &str) -> Option<String> {
        let storage = self.terms.storage.as_ref()?;
        let now = storage.session(&self.terms.id);
        let Some(before) = self.earlier_places().find(|place| key.starts_with(&place.prefix)) else {
            return Some(now.object(key));
        };
        let uri = now.object(key);
        let at_end = self.ended().and_then(|exit| exit.end.in_bucket.as_ref());
        let listed = match (at_end, &self.transfers.stored) {
            (Some(Ok(found)), _) => found.iter().any(|(known, _)| *known == uri),
            (_, Stored::Known(found)) => found.iter().any(|file| file.key == key),
            _ => false,
        };
        Some(if key.starts_with(&now.prefix) && listed { uri } else { before.object(key) })
    }

    /// Keys of this session's files that were delivered to where it delivers now. What went to an earlier place is in
    /// no list of this one.
    pub(super) fn delivered_here(&self) -> BTreeSet<String> {
        let Some(storage) = &self.terms.storage else { return BTreeSet::new() };
        let place = storage.session(&self.terms.id);
        let earlier: Vec<String> = self.earlier_places().map(|place| place.prefix).collect();
        let files = self.nodes.values().flat_map(NodeState::every_file);
        let keys = files.filter_map(|file| match &file.delivery {
            Delivery::Delivered { key, .. } => Some(key),
            _ => None,
        });
        // A key names no bucket.
        let here = |key: &&String| key.starts_with(&place.prefix) && !earlier.iter().any(|it| key.starts_with(it));
        keys.filter(here).cloned().collect()
    }

    /// Notes which of these keys a list of what S3 has lacks; how many files that are new to it.
    pub(super) fn hold_against(&mut self, due: &BTreeSet<String>, found: &[StoredFile]) -> usize {
        // A list that was cut may lack anything.
        if found.len() >= MAX_LISTED {
            return 0;
        }
        let there: BTreeSet<&str> = found.iter().map(|file| file.key.as_str()).collect();
        let (now, by_key) = (self.now, &self.transfers.removed);
        let mut new = 0;
        for state in self.nodes.values_mut() {
            let (mut listed, mut lacking) = (Vec::new(), Vec::new());
            for file in state.every_file() {
                match &file.delivery {
                    Delivery::Delivered { key, .. } if there.contains(key.as_str()) => listed.push(file.name.clone()),
                    Delivery::Delivered { key, .. } if due.contains(key) => {
                        lacking.push((file.name.clone(), by_key.contains(key)));
                    }
                    _ => {}
                }
            }
            for name in &listed {
                state.delivery.removed.remove(name);
            }
            for (name, by_key) in lacking {
                // What this program was told to remove is no news.
                if state.delivery.removed.insert(name.clone()) && !by_key {
                    state.note(now, format!("{name} is not in S3 any more"));
                    new += 1;
                }
            }
        }
        new
    }

    /// An object's way here went on.
    pub(super) fn download_progress(&mut self, key: String, progress: FetchProgress) {
        match &progress {
            FetchProgress::Done { path, .. } => self.notify(Notice::info(format!("fetched {}", path.display()))),
            FetchProgress::Failed(notice) => self.notify(notice.clone()),
            FetchProgress::Bytes(_) | FetchProgress::Resuming { .. } => {}
        }
        self.transfers.downloads.insert(key, progress);
    }

    /// Sets an object of S3 on its way here.
    pub(crate) fn download(&mut self, key: String, node: String, session: Option<String>) -> Effect {
        self.transfers.downloads.insert(key.clone(), FetchProgress::Bytes(0));
        Effect::Download { key, node, session }
    }
}

/// Removes files for good: in agents' rings by name, in S3 by key.
pub fn remove_files(on_nodes: Vec<(NodeName, String)>, stored: Vec<String>) -> Vec<Effect> {
    let on_nodes = on_nodes.into_iter().map(|(name, file)| Effect::Ask(name, Request::RemoveFile { file }));
    on_nodes.chain(stored.into_iter().map(Effect::RemoveStored)).collect()
}

/// What would be lost of an agent with its ring, for people.
pub fn held_text(held: &Held) -> String {
    let count = text::counted(usize::try_from(held.files).unwrap_or(usize::MAX), "file");
    let files = format!("{count} ({})", text::bytes(held.bytes));
    let recorder = held.recorder.map(|seconds| format!("a flight recorder, last {}", text::lasting(seconds * 1000)));
    let what = match (recorder, held.capturing, held.files) {
        (Some(recorder), _, 0) => recorder,
        (Some(recorder), ..) => format!("{recorder}, and {files}"),
        (None, true, 0) => "a running capture and the file that it writes".to_owned(),
        (None, true, _) => format!("a running capture and {files}"),
        (None, false, _) => files,
    };
    format!("{}: {what} not copied anywhere else", text::visible(&held.node.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_capture_is_not_said_to_have_nothing() {
        let of = |recorder, capturing, files| {
            held_text(&Held { node: "a".into(), capturing, recorder, files, bytes: 2048 * files })
        };
        let held = |capturing, files| of(None, capturing, files);
        assert_eq!(held(true, 0), "a: a running capture and the file that it writes not copied anywhere else");
        assert_eq!(held(true, 1), "a: a running capture and 1 file (2.00 KiB) not copied anywhere else");
        assert_eq!(held(false, 2), "a: 2 files (4.00 KiB) not copied anywhere else");
        assert_eq!(of(Some(120), true, 0), "a: a flight recorder, last 2m not copied anywhere else");
        assert_eq!(
            of(Some(90), true, 1),
            "a: a flight recorder, last 1m30s, and 1 file (2.00 KiB) not copied anywhere else"
        );
    }
}
