//! A node's capture files: in its ring, let go by it, and of rings that are gone.
//!
//! Owns what an agent's lists of files do to that picture. Pure.

use std::collections::BTreeSet;

use nodewatch_protocol::{Amount, CaptureFile, CaptureState, Delivery, FileState, Update};

use super::{Before, NodeState};
use crate::model::FetchProgress;

/// Whether the whole list of files has come over the tunnel that is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    Coming,
    Whole,
}

/// How far the list of a ring's files has come.
#[derive(Debug, Clone, Default)]
pub(super) struct FileListing {
    /// The name of the ring that they are in; empty where nobody has said.
    pub(super) ring: String,
    /// The parts of a long list whose end has not come yet.
    pub(super) parts: Vec<CaptureFile>,
    pub(super) state: Listed,
    /// Files that were looked for on this laptop, by name.
    looked_for: BTreeSet<String>,
}

impl NodeState {
    /// A file that its ring has let go is still on its way.
    pub fn is_receiving(&self) -> bool {
        let fetches = self.gone.let_go.iter().filter_map(|file| self.fetches.get(&file.name));
        fetches.into_iter().any(|fetch| matches!(fetch, FetchProgress::Bytes(_) | FetchProgress::Resuming { .. }))
    }

    /// The ring's files, and those of it that are here, in no order.
    pub fn all_files(&self) -> impl Iterator<Item = &CaptureFile> {
        self.gone.let_go.iter().chain(&self.files)
    }

    /// Files of all its rings, in no order.
    pub fn every_file(&self) -> impl Iterator<Item = &CaptureFile> {
        self.gone.former.iter().chain(self.all_files())
    }

    /// It was delivered, and a newer list of what S3 has lacks it.
    pub fn is_removed_from_s3(&self, file: &CaptureFile) -> bool {
        file.delivery.is_delivered() && self.delivery.removed.contains(&file.name)
    }

    /// S3 has it, as far as anyone knows; perhaps nobody has compared it.
    pub fn is_in_s3(&self, file: &CaptureFile) -> bool {
        file.delivery.is_delivered() && !self.is_removed_from_s3(file)
    }

    /// S3 has every byte of it, as far as anyone knows.
    pub fn is_proved_in_s3(&self, file: &CaptureFile) -> bool {
        file.delivery.is_proved() && !self.is_removed_from_s3(file)
    }

    /// Closed files that are neither on the laptop nor, as far as was proved, in S3.
    pub fn unfetched(&self) -> impl Iterator<Item = &CaptureFile> {
        self.files.iter().filter(|file| {
            let here = matches!(self.fetches.get(&file.name), Some(FetchProgress::Done { .. }));
            file.state == FileState::Closed && !here && !self.is_proved_in_s3(file)
        })
    }

    /// Files that some laptop has fetched, by their agent's word, and that are not known to be here: each once.
    pub(in crate::session) fn take_unlooked(&mut self) -> Vec<CaptureFile> {
        let Self { files, fetches, listing, .. } = self;
        let fetched = files.iter().filter(|file| file.fetched && file.state == FileState::Closed);
        let unknown = fetched.filter(|file| !fetches.contains_key(&file.name));
        unknown.filter(|file| listing.looked_for.insert(file.name.clone())).cloned().collect()
    }

    /// What was thrown away for want of room, in all rings of the node.
    pub fn discarded(&self) -> Amount {
        let now = self.ring.as_ref().map(|ring| ring.discarded).unwrap_or_default();
        let before = self.gone.discarded;
        Amount {
            files: before.files + now.files,
            bytes: before.bytes + now.bytes,
            packets: before.packets + now.packets,
        }
    }

    /// Files that were in a ring that is gone and are nowhere else, nor on their way here.
    pub fn lost_files(&self) -> impl Iterator<Item = &CaptureFile> {
        self.gone.former.iter().filter(|file| {
            let kept = matches!(
                self.fetches.get(&file.name),
                Some(FetchProgress::Done { .. } | FetchProgress::Bytes(_) | FetchProgress::Resuming { .. })
            );
            !kept && !self.is_in_s3(file)
        })
    }

    /// Files that are on their way here although their ring is gone: what has come of them may yet be all.
    pub fn late_files(&self) -> impl Iterator<Item = &CaptureFile> {
        let coming = |file: &&CaptureFile| {
            matches!(self.fetches.get(&file.name), Some(FetchProgress::Bytes(_) | FetchProgress::Resuming { .. }))
        };
        self.gone.former.iter().filter(coming)
    }

    /// A file that is listed is in the ring that there is.
    pub(super) fn take_back_former(&mut self) {
        if !self.gone.former.is_empty() {
            let listed: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
            self.gone.former.retain(|file| !listed.contains(file.name.as_str()));
        }
    }

    /// The reason of a delivery that failed is kept: the file may be on its way again when the session ends.
    fn note_undelivered(&mut self) {
        for file in &self.files {
            if let Delivery::Waiting { reason } | Delivery::Lost { reason } = &file.delivery
                && self.delivery.reasons.get(&file.name) != Some(reason)
            {
                self.delivery.reasons.insert(file.name.clone(), reason.clone());
            }
        }
    }

    /// Takes over what has changed in a long list.
    fn change_files(&mut self, changed: Vec<CaptureFile>, gone: &[u64]) {
        for file in changed {
            match self.files.binary_search_by_key(&file.sequence, |known| known.sequence) {
                Ok(at) => self.files[at] = file,
                Err(at) => self.files.insert(at, file),
            }
        }
        if !gone.is_empty() {
            let gone: BTreeSet<u64> = gone.iter().copied().collect();
            let (gone, files) =
                std::mem::take(&mut self.files).into_iter().partition(|file| gone.contains(&file.sequence));
            self.files = files;
            self.let_go(gone);
        }
    }

    /// A ring lets go what it was told is elsewhere. What is here is still to be accounted for.
    fn let_go(&mut self, gone: Vec<CaptureFile>) {
        let fetched = |file: &CaptureFile| match self.fetches.get(&file.name) {
            None | Some(FetchProgress::Failed(_)) => false,
            Some(FetchProgress::Bytes(_) | FetchProgress::Resuming { .. } | FetchProgress::Done { .. }) => true,
        };
        let fetched: Vec<CaptureFile> = gone.into_iter().filter(fetched).collect();
        self.gone.let_go.extend(fetched);
    }

    /// With the first list after a capture was found running, by the node's own times: nothing better is known of it.
    fn settle_before(&mut self) {
        let CaptureState::Running { since, .. } = self.capture else { return };
        if self.counts.before == Before::ToBeListed {
            let older = self.files.iter().filter(|file| file.state == FileState::Closed && file.ended < since);
            self.counts.before = Before::UpTo(older.map(|file| file.sequence).max());
        }
    }

    /// The name of the ring that its agent has; empty where nobody has said.
    pub(in crate::session) fn ring_name(&self) -> &str {
        &self.listing.ring
    }

    /// Its ring and the files in it as they were when somebody last looked.
    pub(in crate::session) fn ring_was(&mut self, name: String, mut files: Vec<CaptureFile>) {
        files.sort_by_key(|file| file.sequence);
        (self.listing.ring, self.files) = (name, files);
    }

    /// Its agent says which ring it has; true where it was another one before.
    pub(in crate::session) fn ring_is_another(&self, name: &str) -> bool {
        ![name, &self.listing.ring].contains(&"") && self.listing.ring != name
    }

    /// Its agent has that ring.
    pub(super) fn ring_is(&mut self, name: &str) {
        if !name.is_empty() {
            name.clone_into(&mut self.listing.ring);
        }
    }

    /// Takes in what the agent says of its ring's files.
    pub(super) fn apply_files(&mut self, update: Update) {
        match update {
            Update::FilesPart(files) => self.listing.parts.extend(files),
            Update::Files(files) => {
                let before = std::mem::replace(&mut self.files, std::mem::take(&mut self.listing.parts));
                self.files.extend(files);
                let there: BTreeSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
                let gone = before.into_iter().filter(|file| !there.contains(file.name.as_str())).collect();
                self.let_go(gone);
                self.listing.state = Listed::Whole;
                self.take_back_former();
                self.settle_before();
                self.note_undelivered();
            }
            Update::FilesChanged { files, gone } => {
                self.change_files(files, &gone);
                self.note_undelivered();
            }
            _ => {}
        }
    }
}
