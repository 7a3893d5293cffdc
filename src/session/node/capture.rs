//! A node's capture: whether it runs, and what its end means.
//!
//! Owns what an agent's word of its capture does to the node. Pure.

use nodewatch_protocol::{CaptureState, FileState, FreezeCause, FreezeOn, Recorder, StopReason, UnixMillis};

use super::{Agent, Asked, Before, Listed, NodeState, Run, Sample};
use crate::base::text;

/// One reason freezes once in so many milliseconds, as agents hold it too.
const AGAIN_AFTER: UnixMillis = 600_000;
/// What a recorder has refused it is asked again after so many milliseconds: soon enough to save what led to it.
const REFUSED_AGAIN_AFTER: UnixMillis = 10_000;

/// What this program has asked a flight recorder to save: only that is brought home by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct Frozen {
    /// The place in the ring's order of the newest file before.
    pub after: Option<u64>,
    /// Bytes that may still come of it: a ring has no more, whatever an agent lists.
    pub left: u64,
    /// From when on it is saved, by the laptop's steady clock.
    pub from: UnixMillis,
    /// When all of it is saved, by the same.
    pub until: UnixMillis,
    /// The same of what was asked for before, which holds where the last request did not arrive or was refused.
    pub earlier: UnixMillis,
}

impl NodeState {
    /// A capture runs, as far as the agent has said.
    pub fn is_capturing(&self) -> bool {
        matches!(self.capture, CaptureState::Running { .. })
    }

    /// A flight recorder runs there.
    pub fn is_armed(&self) -> bool {
        let recorder = matches!(&self.capture, CaptureState::Running { spec, .. } if spec.recorder.is_some());
        self.agent.has_tunnel() && recorder
    }

    /// A flight recorder runs there, or most likely does: its agent cannot be reached now.
    pub fn has_recorder(&self) -> bool {
        self.recorder().is_some() && matches!(self.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting)
    }

    /// An agent that is there, or may come back, has a file that is not closed yet.
    pub fn is_writing(&self) -> bool {
        let open = self.is_capturing() || self.files.iter().any(|file| file.state == FileState::Open);
        open && matches!(self.agent, Agent::Live | Agent::Lost { .. } | Agent::Connecting)
    }

    /// Its armed flight recorder.
    pub fn recorder(&self) -> Option<Recorder> {
        match &self.capture {
            CaptureState::Running { spec, .. } => spec.recorder,
            CaptureState::Idle | CaptureState::Stopped { .. } => None,
        }
    }

    /// Its flight recorder is to freeze on the cause of that number; `certain`: nothing else is left.
    pub(in crate::session) fn is_to_freeze(&self, cause: u8, certain: bool) -> bool {
        self.freezes_on().is_some_and(|on| on.takes(cause, certain))
    }

    /// Its flight recorder was armed to freeze by itself.
    pub(in crate::session) fn freezes_by_itself(&self) -> bool {
        self.freezes_on().is_some()
    }

    fn freezes_on(&self) -> Option<FreezeOn> {
        match &self.capture {
            CaptureState::Running { spec, .. } => spec.freeze_on,
            CaptureState::Idle | CaptureState::Stopped { .. } => None,
        }
    }

    /// It has not frozen for that reason lately.
    pub(in crate::session) fn may_freeze(&self, cause: FreezeCause, now: UnixMillis) -> bool {
        let last = self.counts.froze_for.get(&cause);
        last.is_none_or(|last| now.saturating_sub(*last) >= AGAIN_AFTER)
    }

    /// It was to freeze for that reason and has not, as far as anybody knows.
    pub(in crate::session) fn has_not_frozen(&mut self, cause: FreezeCause, now: UnixMillis) {
        self.counts.froze_for.insert(cause, now.saturating_sub(AGAIN_AFTER - REFUSED_AGAIN_AFTER));
    }

    /// How long its flight recorder still saves, in milliseconds; `None` when it does not.
    pub fn saving(&self, now: UnixMillis) -> Option<u64> {
        let until = self.counts.frozen.filter(|_| self.is_armed())?.until;
        until.checked_sub(now).filter(|left| *left > 0)
    }

    /// A capture has run, and nothing is outstanding.
    pub fn capture_over(&self) -> bool {
        self.asked == Asked::Nothing && matches!(self.capture, CaptureState::Stopped { .. })
    }

    /// The last second's rates, zero when no capture runs or nobody tells.
    pub fn rates(&self) -> Sample {
        match (&self.agent, self.is_capturing()) {
            (Agent::Live, true) => self.counts.rates.back().copied().unwrap_or_default(),
            _ => Sample::default(),
        }
    }

    pub(super) fn apply_capture(&mut self, state: CaptureState, now: UnixMillis) {
        if state == self.capture {
            return;
        }
        // An agent that was started anew may know nothing of a capture that ended meanwhile.
        let state = match (state, &self.capture) {
            (CaptureState::Idle, &CaptureState::Running { since, .. }) => {
                let at = self.facts.as_ref().map_or(now, |facts| facts.now);
                CaptureState::Stopped { since, at, reason: StopReason::AgentEnds }
            }
            (state, _) => state,
        };
        match &state {
            CaptureState::Idle => {}
            CaptureState::Running { interfaces, spec, since } => {
                // The node's clock may show another time.
                let theirs = self.facts.as_ref().map_or(*since, |facts| facts.now);
                let ran = theirs.saturating_sub(*since);
                if !matches!(self.capture, CaptureState::Running { since: known, .. } if known == *since) {
                    self.counts.began = now.saturating_sub(ran);
                    self.counts.before = match self.listing.state {
                        Listed::Whole => Before::UpTo(self.files.iter().map(|file| file.sequence).max()),
                        Listed::Coming => Before::ToBeListed,
                    };
                    self.counts.frozen = None;
                }
                self.counts.rates.clear();
                self.counts.latest = None;
                let filter = spec.filter.as_deref().unwrap_or("every packet");
                let content = spec.content.word();
                let what = format!("on {}: {filter}, content {content}", interfaces.join(", "));
                if self.fate.found && ran > 0 {
                    self.note(now, format!("attached to the capture {what}; it has run for {}", text::lasting(ran)));
                } else {
                    self.note_act(now, format!("capture started {what}"));
                }
                self.log.told.runs(Run {
                    since: *since,
                    began: self.counts.began,
                    ended: None,
                    interfaces: interfaces.clone(),
                    spec: spec.clone(),
                });
            }
            CaptureState::Stopped { reason, at, .. } => {
                // Perhaps a while ago, by the agent's clock, which may differ from this one.
                let theirs = self.facts.as_ref().map_or(*at, |facts| facts.now);
                // Not before anything was seen of it, whatever it says.
                let first = self.reporting.live_since.unwrap_or(now);
                let at = now.saturating_sub(theirs.saturating_sub(*at)).max(first);
                let reason = reason_text(reason);
                self.note_act(at, format!("capture ended: {reason}"));
                self.log.told.ended(at, reason);
            }
        }
        self.asked = Asked::Nothing;
        self.capture = state;
    }
}

/// Why a capture ended, for people.
pub fn reason_text(reason: &StopReason) -> String {
    match reason {
        StopReason::Asked => "stopped".to_owned(),
        StopReason::ByteLimit => "byte limit reached".to_owned(),
        StopReason::PacketLimit => "packet limit reached".to_owned(),
        StopReason::TimeLimit => "time limit reached".to_owned(),
        StopReason::AgentEnds => "the agent ended".to_owned(),
        StopReason::Failed { message } => format!("failed: {message}"),
    }
}
