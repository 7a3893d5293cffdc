//! Probes of ports, and reports that an agent sends by itself.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{ExpectedPorts, PortProtocol, PortRule, Seconds};

/// A try to reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Probe {
    /// TCP is connected to; UDP is sent to, on port 53 a DNS query.
    pub protocol: PortProtocol,
    /// Where.
    pub to: SocketAddr,
    /// How often, one after the other; at least once and at most [`Probe::MOST`] times.
    #[serde(default = "once")]
    pub tries: u16,
}

impl Probe {
    /// More tries than these are no probe but load.
    pub const MOST: u16 = 1000;
    /// Milliseconds between two tries.
    pub const EVERY: u64 = 200;
}

fn once() -> u16 {
    1
}

/// What came of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// What was tried.
    pub probe: Probe,
    /// What came of it: of several tries the failure that there was most often, if there was one.
    pub outcome: ProbeOutcome,
    /// Microseconds until that was known; of several tries that reached it, the median.
    pub micros: u64,
    /// How many tries reached it.
    #[serde(default)]
    pub reached: u16,
    /// Of several tries, what else came of them and how often, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<(ProbeOutcome, u16)>,
}

impl Probed {
    /// What came of tries together, each with its microseconds.
    pub fn of(probe: Probe, tries: Vec<(ProbeOutcome, u64)>) -> Self {
        let mut times: Vec<u64> = Vec::new();
        let mut failures: Vec<(ProbeOutcome, u16)> = Vec::new();
        let mut first = 0;
        for (outcome, micros) in tries {
            if outcome == ProbeOutcome::Reached {
                times.push(micros);
            } else if let Some((_, count)) = failures.iter_mut().find(|(known, _)| *known == outcome) {
                *count = count.saturating_add(1);
            } else {
                first = if failures.is_empty() { micros } else { first };
                failures.push((outcome, 1));
            }
        }
        times.sort_unstable();
        failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let outcome = failures.first().map_or(ProbeOutcome::Reached, |(outcome, _)| outcome.clone());
        let micros = times.get(times.len() / 2).copied().unwrap_or(first);
        let reached = u16::try_from(times.len()).unwrap_or(u16::MAX);
        if probe.tries == 1 {
            failures.clear();
        }
        Self { probe, outcome, micros, reached, failures }
    }
}

/// What can come of a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// The connection was accepted, or an answer came.
    Reached,
    /// The other side says that nothing is there.
    Refused,
    /// Somebody says that it cannot be reached: a router, a firewall that tells, or the node itself.
    Unreachable {
        /// Who says so; `None` is the probing node, when nobody answers on its own network.
        by: Option<IpAddr>,
        /// What is said.
        reason: String,
    },
    /// Nothing came back in time: dropped on the way or, with UDP, perhaps taken without a word.
    Silent,
    /// It could not be tried.
    Failed {
        /// Why not.
        reason: String,
    },
}

impl ProbeOutcome {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Refused => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Silent => "no answer",
            Self::Failed { .. } => "not tried",
        }
    }
}

/// What is reported of one node to CloudWatch Logs, and where; by it an agent reports by itself. Nothing of it is secret.
///
/// One of version 5 or before, as manifests of old sessions have it, says in other words what is left out and expected, and is
/// read without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPlan {
    /// The log group.
    pub group: String,
    /// The log stream.
    pub stream: String,
    /// Days after which a group that the agent makes forgets its events.
    pub retention_days: u32,
    /// The region.
    pub region: String,
    /// Another server than AWS's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The dimension `cluster`.
    pub cluster: String,
    /// The dimension `hostname`: the node's name.
    pub hostname: String,
    /// The session, for the events.
    pub session: String,
    /// Seconds between two reports.
    pub interval_seconds: Seconds,
    /// Ports that are counted and not listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<PortRule>,
    /// Ports that are to be there; `None` where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expectations: Option<ExpectedPorts>,
}

/// How reports stand. Every report is in exactly one of the first four counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportState {
    /// Accepted by CloudWatch Logs.
    pub sent: u64,
    /// Waiting to be sent.
    pub queued: u64,
    /// Thrown away because the queue was full.
    pub dropped: u64,
    /// Not taken by CloudWatch Logs, in whole or in part, for good: too old, of a time to come, or too large.
    pub rejected: u64,
    /// Tries that failed.
    pub retries: u64,
    /// Why the last try failed; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// Why those that were not taken were not; stays when later ones are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
    /// After how long the log groups forget, as far as that was seen to.
    #[serde(default, skip_serializing_if = "Retention::is_unknown")]
    pub retention: Retention,
    /// What else is not as it should be though reports arrive.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub warning: String,
}

/// After how long log groups forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retention {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// The groups are somebody else's, or have a retention already: it is left as it is.
    Theirs,
    /// Set here to so many days.
    Set {
        /// Days.
        days: u32,
    },
    /// A group that is ours does not forget: it could not be set.
    NotSet {
        /// Why not.
        reason: String,
    },
}

impl Retention {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// The one of two that has more to say.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let rank = |retention: &Self| match retention {
            Self::Unknown => 0,
            Self::Theirs => 1,
            Self::Set { .. } => 2,
            Self::NotSet { .. } => 3,
        };
        if rank(other) > rank(&self) { other.clone() } else { self }
    }
}

impl ReportState {
    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let first = |one: String, two: &String| if one.is_empty() { two.clone() } else { one };
        Self {
            sent: self.sent.saturating_add(other.sent),
            queued: self.queued.saturating_add(other.queued),
            dropped: self.dropped.saturating_add(other.dropped),
            rejected: self.rejected.saturating_add(other.rejected),
            retries: self.retries.saturating_add(other.retries),
            trouble: first(self.trouble, &other.trouble),
            refused: first(self.refused, &other.refused),
            retention: self.retention.and(&other.retention),
            warning: first(self.warning, &other.warning),
        }
    }

    /// What has gone wrong for good since then, a line a thing.
    pub fn news_since(&self, before: &Self) -> Vec<String> {
        let mut news = Vec::new();
        let refused = self.rejected.saturating_sub(before.rejected);
        if refused > 0 {
            let reason = Self { rejected: refused, refused: self.refused.clone(), ..Self::default() };
            news.push(format!("reports that will not get there: {}", reason.why_lost()));
        }
        let dropped = self.dropped.saturating_sub(before.dropped);
        if dropped > 0 {
            let reason = Self { dropped, ..Self::default() };
            news.push(format!("reports that will not get there: {}", reason.why_lost()));
        }
        if self.retention != before.retention
            && let Retention::NotSet { reason } = &self.retention
        {
            news.push(format!("the log group does not forget, as its retention cannot be set: {reason}"));
        }
        if self.warning != before.warning && !self.warning.is_empty() {
            news.push(self.warning.clone());
        }
        news
    }

    /// Reports that are not there.
    pub fn lost(&self) -> u64 {
        self.queued.saturating_add(self.dropped).saturating_add(self.rejected)
    }

    /// Why they are not, by kind; never empty when some are not.
    pub fn why_lost(&self) -> String {
        let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
        let mut kinds = Vec::new();
        if self.queued > 0 {
            kinds.push(format!("{} not sent: {}", self.queued, or(&self.trouble, "no answer came before the end")));
        }
        if self.dropped > 0 {
            kinds.push(format!("{} had no room while others waited", self.dropped));
        }
        if self.rejected > 0 {
            kinds.push(format!("{} refused: {}", self.rejected, or(&self.refused, "the answer does not say why")));
        }
        kinds.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_always_has_a_reason() {
        let state = |queued, dropped, rejected| ReportState { queued, dropped, rejected, ..ReportState::default() };
        assert_eq!((state(0, 0, 0).lost(), state(0, 0, 0).why_lost().as_str()), (0, ""));
        for lost in [state(1, 0, 0), state(0, 1, 0), state(0, 0, 1)] {
            assert!(lost.lost() == 1 && lost.why_lost().len() > 10, "{lost:?}");
        }
        let all = ReportState { trouble: "no route".into(), refused: "2 too old".into(), ..state(1, 3, 2) };
        assert_eq!(all.why_lost(), "1 not sent: no route; 3 had no room while others waited; 2 refused: 2 too old");
        assert_eq!(state(u64::MAX, 1, 0).and(&state(1, 0, 0)).lost(), u64::MAX, "a hostile agent overflows nothing");
    }

    #[test]
    fn each_loss_is_told_once_when_it_happens() {
        let mut before = ReportState { sent: 3, trouble: "throttled".into(), ..ReportState::default() };
        let mut now = ReportState { rejected: 2, refused: "2 too old".into(), dropped: 1, ..before.clone() };
        now.retention = Retention::NotSet { reason: "denied".into() };
        now.warning = "silent".into();
        let news = now.news_since(&before);
        assert_eq!(news.len(), 4, "{news:?}");
        for (line, part) in news.iter().zip(["2 refused: 2 too old", "1 had no room", "denied", "silent"]) {
            assert!(line.contains(part), "{line}");
        }
        before = now.clone();
        assert!(now.news_since(&before).is_empty());
        now.rejected = 3;
        assert_eq!(now.news_since(&before), ["reports that will not get there: 1 refused: 2 too old"]);
    }

    #[test]
    fn a_group_that_does_not_forget_is_told_before_those_that_do() {
        let not_set = Retention::NotSet { reason: "denied".into() };
        for other in [Retention::Unknown, Retention::Theirs, Retention::Set { days: 14 }] {
            assert_eq!(other.clone().and(&not_set), not_set);
            assert_eq!(not_set.clone().and(&other), not_set);
        }
    }
}
