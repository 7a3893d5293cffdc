//! Delivery to S3, as far as the laptop has to do with it: which agents need a grant, and whether all is there.
//!
//! Owns when a grant is asked for and renewed, and when the guided exit stops to wait. Pure.

use std::time::Duration;

use nodewatch_protocol::{CaptureFile, Delivery, FileState, SinkState, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    Effect, Session,
    files::Flow,
    grant::{GrantState, Renewal},
    node::{Agent, NodeState},
};
use crate::{
    base::text::per_second,
    model::{FetchProgress, NodeName, Notice, S3Url, SessionId, Way},
};

/// After a failure, in milliseconds.
const RETRY: u64 = 30_000;
/// The guided exit waits so long for a delivery that does not move, in milliseconds.
pub const STALLED: u64 = 30_000;

/// Where captures go beside this laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageInfo {
    /// Where sessions' folders are.
    pub url: S3Url,
    /// What agents deliver with.
    pub way: Way,
}

impl StorageInfo {
    /// Where this session's are.
    pub fn session(&self, session: &SessionId) -> S3Url {
        self.url.below(session.as_str())
    }
}

impl Renewal {
    fn of(valid: Duration, now: UnixMillis) -> Self {
        let third = valid.as_millis() as u64 / 3;
        Self { at: now + third, not_before: now + RETRY.min(third), little: valid.as_secs() / 2 }
    }

    fn is_due(self, now: UnixMillis, sink: Option<&SinkState>) -> bool {
        let left = match sink {
            Some(SinkState::Grant { left_seconds }) => Some(*left_seconds),
            _ => None,
        };
        now >= self.at || (now >= self.not_before && left.is_some_and(|left| left < self.little))
    }
}

impl Session {
    /// Grants for live agents that have none, or soon none.
    pub(super) fn grants_due(&mut self) -> Vec<Effect> {
        if self.terms.storage.is_none() {
            return Vec::new();
        }
        let now = self.now;
        let mut effects = Vec::new();
        for (name, state) in self.nodes.iter_mut().filter(|(_, state)| state.agent == Agent::Live) {
            let due = match state.delivery.grant {
                GrantState::Nothing => true,
                GrantState::Asked => false,
                GrantState::Held(renewal) => {
                    let sink = state.ring.as_ref().map(|ring| &ring.sink);
                    renewal.is_some_and(|renewal| renewal.is_due(now, sink))
                }
                GrantState::Failed { retry_at } => now >= retry_at,
            };
            if due {
                state.delivery.grant = GrantState::Asked;
                effects.push(Effect::Grant(name.clone()));
            }
        }
        effects
    }

    /// An agent was told where to deliver, for that long, or not.
    pub(super) fn granted(&mut self, name: &NodeName, outcome: Result<Option<Duration>, Notice>) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(name) else { return };
        let failed_before = matches!(state.delivery.grant, GrantState::Failed { .. });
        match outcome {
            Ok(valid) => {
                state.delivery.grant = GrantState::Held(valid.map(|valid| Renewal::of(valid, now)));
                state.delivery.no_grant = None;
            }
            Err(notice) => {
                state.delivery.grant = GrantState::Failed { retry_at: now + RETRY };
                state.delivery.no_grant = Some(notice.fact());
                if !failed_before {
                    state.note(now, notice.line());
                    self.notify(notice);
                }
            }
        }
    }

    /// Files that are still on their way to S3 from agents that can deliver.
    pub fn undelivered(&self) -> usize {
        self.nodes.values().filter(|state| state.can_deliver()).map(NodeState::queued).sum()
    }

    /// Takes the measure of what moves, once a second.
    pub(super) fn measure_flow(&mut self) {
        let here = |progress: &FetchProgress| match progress {
            FetchProgress::Bytes(have) | FetchProgress::Resuming { have, .. } => *have,
            FetchProgress::Done { .. } | FetchProgress::Failed(_) => 0,
        };
        let fetched: u64 = self.nodes.values().flat_map(|state| state.fetches.values()).map(here).sum();
        let downloaded: u64 = self.transfers.downloads.values().map(here).sum();
        let bytes = self.delivery_progress() + fetched + downloaded;
        let flow = &mut self.transfers.flow;
        let millis = self.now.saturating_sub(flow.at);
        // A file that is through no longer counts among those under way: a step back is none.
        *flow = Flow { at: self.now, bytes, rate: per_second(bytes.saturating_sub(flow.bytes), millis) };
    }

    /// Bytes that have got there or are sent, for seeing whether it moves.
    pub(super) fn delivery_progress(&self) -> u64 {
        let sent = |state: &NodeState| -> u64 {
            let files = state.files.iter().map(|file| match &file.delivery {
                Delivery::Sending { sent } => *sent,
                _ => 0,
            });
            files.sum::<u64>() + state.ring.as_ref().map_or(0, |ring| ring.delivered.bytes)
        };
        self.nodes.values().map(sent).sum()
    }
}

impl NodeState {
    /// Its agent is there and knows where to deliver.
    pub fn can_deliver(&self) -> bool {
        let sink = self.ring.as_ref().map(|ring| &ring.sink);
        let usable = match sink {
            Some(SinkState::Grant { left_seconds }) => *left_seconds > 0,
            Some(SinkState::Own) => true,
            Some(SinkState::Ring) | None => matches!(self.delivery.grant, GrantState::Asked),
        };
        self.agent == Agent::Live && usable
    }

    /// Its closed files that the sink does not have yet.
    pub fn queued(&self) -> usize {
        self.files.iter().filter(|file| file.state == FileState::Closed && !file.delivery.is_over()).count()
    }

    /// Why a file of it is not in S3, as far as anyone has said.
    pub fn why_undelivered(&self, file: &CaptureFile) -> String {
        if self.is_removed_from_s3(file) {
            return "not in S3 any more: it was removed there after its upload".to_owned();
        }
        if let Delivery::Waiting { reason } | Delivery::Lost { reason } = &file.delivery {
            return reason.clone();
        }
        let expired = self.ring.as_ref().is_some_and(|ring| ring.sink == SinkState::Grant { left_seconds: 0 });
        let told = self.delivery.reasons.get(&file.name).or(self.delivery.no_grant.as_ref()).cloned();
        told.unwrap_or_else(|| match (expired, file.state) {
            (true, _) => "the grant had expired".to_owned(),
            (false, FileState::Open) => "it was still open".to_owned(),
            (false, FileState::Closed) => "it was not uploaded before the session ended".to_owned(),
        })
    }

    /// What is wrong with its delivery, in a few words.
    pub fn delivery_trouble(&self) -> Option<String> {
        let ring = self.ring.as_ref()?;
        if ring.sink == (SinkState::Grant { left_seconds: 0 }) && ring.queued.files > 0 {
            return Some("the grant has expired; files are kept in the ring".to_owned());
        }
        self.files.iter().find_map(|file| match &file.delivery {
            Delivery::Waiting { reason } => Some(format!("not delivered yet: {reason}")),
            Delivery::Lost { reason } => Some(format!("cannot be delivered: {reason}")),
            _ => None,
        })
    }
}
