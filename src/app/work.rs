//! What was begun beside the agents and has not ended: removals of other sessions, downloads, merges.
//!
//! Owns what of it there is, and that the program does not end over it without a word. Pure.

use std::collections::BTreeMap;

use super::{
    App, Confirm, Overlay,
    action::{Effect, Job},
    exit::LEAVE_WITHIN,
};
use crate::{
    base::text::counted,
    model::{FetchProgress, Notice, SessionId},
};

/// What is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Jobs, and how many of each.
    jobs: BTreeMap<Job, usize>,
    /// Sessions that are being removed.
    sweeps: Vec<SessionId>,
}

impl Work {
    fn begin(&mut self, job: Job) {
        *self.jobs.entry(job).or_default() += 1;
    }

    /// The removal of a session has ended, whatever came of it.
    pub(super) fn swept(&mut self, id: &SessionId) {
        self.sweeps.retain(|known| known != id);
    }
}

impl App {
    /// Remembers what these effects begin.
    pub(super) fn note_begun(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Merge(_) => self.work.begin(Job::Merge),
                Effect::RemoveStored(_) => self.work.begin(Job::RemoveStored),
                Effect::Follow(_) => self.work.begin(Job::Follow),
                Effect::Save { .. } | Effect::WriteReport(_) => self.work.begin(Job::Write),
                Effect::Sweep(id) if !self.work.sweeps.contains(id) => self.work.sweeps.push(id.clone()),
                _ => {}
            }
        }
    }

    /// A job has ended.
    pub(super) fn job_ended(&mut self, job: Job, notice: Notice) {
        if let Some(count) = self.work.jobs.get_mut(&job) {
            *count = count.saturating_sub(1);
        }
        self.notify(notice);
    }

    /// What would be cut if the program ended now, a line each.
    pub fn under_way(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.work.sweeps.iter().map(|id| format!("session {id} is being removed")).collect();
        let moving =
            |progress: &&FetchProgress| matches!(progress, FetchProgress::Bytes(_) | FetchProgress::Resuming { .. });
        let downloads = self.files.downloads.values().filter(moving).count();
        // The guided exit has waited for those from agents, or was told not to.
        let agents = if self.ended.is_some() { None } else { Some(self.nodes.values()) };
        let fetches: usize =
            agents.into_iter().flatten().map(|state| state.fetches.values().filter(moving).count()).sum();
        if downloads + fetches > 0 {
            lines.push(format!("{} on the way here", counted(downloads + fetches, "file")));
        }
        for (&job, &count) in self.work.jobs.iter().filter(|(_, count)| **count > 0) {
            lines.push(match job {
                Job::Merge => format!("{} of files", counted(count, "merge")),
                Job::RemoveStored => format!("{} being removed from S3", counted(count, "object")),
                Job::Follow => format!("{} fed with running captures", counted(count, "viewer")),
                Job::Write => format!("{} being written", counted(count, "file")),
            });
        }
        lines
    }

    /// Ends the program, or says first what is under way and waits for it.
    pub(super) fn quit(&mut self, unattended: bool) -> Vec<Effect> {
        if self.under_way().is_empty() {
            return vec![Effect::Quit];
        }
        let asked = match &self.overlay {
            Some(Overlay::Confirm(Confirm::Leave { until })) => Some(until.is_some()),
            _ => None,
        };
        if asked == Some(unattended) {
            // Asked twice.
            self.cut = self.under_way();
            return vec![Effect::Quit];
        }
        let until = unattended.then_some(self.now + LEAVE_WITHIN);
        self.overlay = Some(Overlay::Confirm(Confirm::Leave { until }));
        Vec::new()
    }

    /// Whoever wants to leave does so once nothing is under way any more.
    pub(super) fn leave_when_done(&mut self) -> Vec<Effect> {
        let Some(Overlay::Confirm(Confirm::Leave { until })) = self.overlay else { return Vec::new() };
        let late = until.is_some_and(|until| self.now >= until);
        if !late && !self.under_way().is_empty() {
            return Vec::new();
        }
        self.cut = self.under_way();
        self.overlay = None;
        vec![Effect::Quit]
    }
}
