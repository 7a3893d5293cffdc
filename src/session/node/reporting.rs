//! How a node's reports to CloudWatch stand, and what the next one says besides ports.
//!
//! Owns what has happened since the last one. Pure.

use nodewatch_answers::Worst;
use nodewatch_protocol::{ReportPlan, ReportState, UnixMillis};
use nodewatch_report::{Answered, Reported, Schedule, Seen, Watched};

use super::NodeState;

/// How a node's reports to CloudWatch Logs stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reporting {
    /// When its tunnel was first up.
    pub live_since: Option<UnixMillis>,
    /// When they are due.
    pub schedule: Schedule,
    /// What failed on the node since the last one.
    pub errors: u64,
    /// How far what is reported besides ports was at the last one.
    seen: Reported,
    /// Answers that name it, since the last one.
    pub(in crate::session) answers: Worst,
    /// What the agent was told to report by itself.
    pub told: Option<ReportPlan>,
    /// How that stands.
    pub by_agent: Option<ReportState>,
}

impl NodeState {
    /// What was seen of its packets, which of its kernel's counters rose, and why connections failed, since the last report.
    pub(in crate::session) fn seen_since_report(&mut self) -> Seen {
        let watch = &self.seen.watch;
        let all = &watch.watched;
        let sums = Watched {
            failed: all.failed,
            delayed: all.delayed,
            retransmitted: all.retransmitted,
            dns_unanswered: all.dns_unanswered,
        };
        let watched = watch.heard().filter(|_| self.is_watching()).map(|(since, _)| (since, sums));
        let counters = self.seen.signals.series.values().filter(|series| series.info().is_counter());
        let seen = self.reporting.seen.since(watched, counters.map(|series| (series.info().name, series.total)));
        let answers = self.reporting.answers.take().into_iter();
        seen.with(answers.map(|(code, failed, text)| Answered { code: code.text(), failed, text }))
    }
}
