//! What was begun beside the agents and has not ended: removals of other sessions, downloads, merges.
//!
//! Owns what of it there is, and that the program does not end over it without a word. Pure.

use std::collections::BTreeMap;

use nodewatch_protocol::UnixMillis;

use super::{Effect, Job, Session, exit::LEAVE_WITHIN};
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
    /// Whoever wants to leave waits for its end.
    waiting: Option<Waiting>,
    /// What was cut when the program ended.
    cut: Vec<String>,
}

/// The program ends once nothing is under way any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// When it ends in any case, where nobody is there to answer.
    pub until: Option<UnixMillis>,
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

impl Session {
    /// Remembers what these effects begin.
    fn note_begun(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Merge(_) | Effect::MergePairs(_) => self.work.begin(Job::Merge),
                Effect::RemoveStored(key) => {
                    self.transfers.removed.insert(key.clone());
                    self.work.begin(Job::RemoveStored);
                }
                Effect::Follow(_) | Effect::FollowPairs(_) => self.work.begin(Job::Follow),
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
        let mut lines: Vec<String> = self.work.sweeps.iter().map(|id| format!("removing session {id}")).collect();
        let moving =
            |progress: &&FetchProgress| matches!(progress, FetchProgress::Bytes(_) | FetchProgress::Resuming { .. });
        let downloads = self.transfers.downloads.values().filter(moving).count();
        // The guided exit has waited for those from agents, or was told not to.
        let agents = if self.ended().is_some() { None } else { Some(self.nodes.values()) };
        let fetches: usize =
            agents.into_iter().flatten().map(|state| state.fetches.values().filter(moving).count()).sum();
        if downloads + fetches > 0 {
            lines.push(format!("fetching {}", counted(downloads + fetches, "file")));
        }
        for (&job, &count) in self.work.jobs.iter().filter(|(_, count)| **count > 0) {
            lines.push(match job {
                Job::Merge => format!("running {}", counted(count, "merge")),
                Job::RemoveStored => format!("removing {} from S3", counted(count, "object")),
                Job::Follow => format!("feeding {} with running captures", counted(count, "viewer")),
                Job::Write => format!("writing {}", counted(count, "file")),
            });
        }
        lines
    }

    /// What was cut when the program ended, a line each.
    pub fn cut(&self) -> &[String] {
        &self.work.cut
    }

    /// The program is to end, and waits for what is under way.
    pub fn waiting(&self) -> Option<Waiting> {
        self.work.waiting
    }

    /// Ends the program, or says first what is under way and waits for it.
    pub(super) fn quit(&mut self, unattended: bool) -> Vec<Effect> {
        // Asked twice.
        let again = self.work.waiting.is_some_and(|waiting| waiting.until.is_some() == unattended);
        if again || self.under_way().is_empty() {
            return self.quit_now();
        }
        self.work.waiting = Some(Waiting { until: unattended.then_some(self.now + LEAVE_WITHIN) });
        Vec::new()
    }

    /// Ends the program, whatever is under way.
    pub(crate) fn quit_now(&mut self) -> Vec<Effect> {
        self.work.cut = self.under_way();
        self.work.waiting = None;
        vec![Effect::Quit]
    }

    /// The program goes on after all, unless its session is over: what has ended cannot be gone on with.
    pub(crate) fn stay(&mut self) {
        if self.ended().is_none() {
            self.work.waiting = None;
            self.next = None;
        }
    }

    /// Whoever wants to leave does so once nothing is under way any more.
    fn leave_when_done(&mut self) -> Vec<Effect> {
        let Some(Waiting { until }) = self.work.waiting else { return Vec::new() };
        let late = until.is_some_and(|until| self.now >= until);
        if late || self.under_way().is_empty() { self.quit_now() } else { Vec::new() }
    }

    /// Remembers what these effects begin, and adds what follows from there being nothing under way.
    pub(crate) fn after(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.note_begun(&effects);
        effects.extend(self.leave_when_done());
        effects
    }
}
