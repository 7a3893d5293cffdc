//! What a report says besides ports: what was seen of packets since the last one, which of the kernel's counters rose, and
//! why connections failed.
//!
//! Owns the metrics' names, which of the signals are among them, and what has happened since the last report. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use nodewatch_protocol::{Sums, UnixMillis};
use serde::Serialize;

/// Metrics of what was seen of packets; they are in reports of nodes that are watched.
pub const SEEN_METRICS: [&str; 4] = ["FailedAttempts", "DelayedAttempts", "RetransmittedSegments", "DnsUnanswered"];

/// What was seen of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// What did not come about, whichever symptom.
    pub failed: u64,
    /// Attempts that had to be repeated.
    pub delayed: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
    /// Questions to DNS without an answer.
    pub dns_unanswered: u64,
}

impl Watched {
    /// Counts what was seen in one second.
    pub fn add(&mut self, second: &Sums) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.failed, second.failed);
        add(&mut self.delayed, second.delayed);
        add(&mut self.retransmitted, second.retransmitted);
        add(&mut self.dns_unanswered, second.dns_unanswered);
    }
}

/// What happened on a node since the last report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of its packets; `None` where these are not watched.
    pub watched: Option<Watched>,
    /// Counters that rose, by the names of their metrics, and by how much.
    pub moved: BTreeMap<String, u64>,
    /// Why connections failed, as far as there is an answer.
    pub answers: Vec<Answered>,
}

/// An answer as reports have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Its code: `N-11`.
    pub code: &'static str,
    /// How many connections and questions all answers of that code have hurt at once, within a minute.
    pub failed: u64,
    /// What the one says that has hurt most.
    pub text: String,
}

/// The metric of an answer's code: `N-11` is `AnswerN11`.
pub fn metric_of_answer(code: &str) -> String {
    format!("Answer{}", code.replace('-', ""))
}

impl Seen {
    /// With the answers that there were.
    #[must_use]
    pub fn with(self, answers: impl IntoIterator<Item = Answered>) -> Self {
        Self { answers: answers.into_iter().collect(), ..self }
    }

    /// The metrics that a report has of it.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = (Cow<'_, str>, u64)> {
        let watched = self.watched.map(|Watched { failed, delayed, retransmitted, dns_unanswered }| {
            SEEN_METRICS.into_iter().zip([failed, delayed, retransmitted, dns_unanswered])
        });
        let watched = watched.into_iter().flatten().map(|(name, count)| (Cow::Borrowed(name), count));
        let moved = self.moved.iter().map(|(name, by)| (Cow::Borrowed(name.as_str()), *by));
        let answers = self.answers.iter().map(|one| (Cow::Owned(metric_of_answer(one.code)), one.failed));
        watched.chain(moved).chain(answers)
    }
}

/// The metric of a signal, where reports have it when it rises: `ena.pps_allowance_exceeded` is
/// `EnaPpsAllowanceExceeded`. Those of the network card's allowances and of connection tracking are.
pub fn metric_of(signal: &str) -> Option<String> {
    if !(signal.starts_with("ena.") || signal.starts_with("conntrack.")) {
        return None;
    }
    let words = signal.split(['.', '_']);
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    };
    Some(words.map(capital).collect())
}

/// How far counters were when they were last reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    watched: Option<(UnixMillis, Watched)>,
    counters: BTreeMap<String, u64>,
}

impl Reported {
    /// What has happened since this was asked last. `watched` are the sums since watching began, and when that was;
    /// `counters` the names of signals and what each has risen by since its agent began, of each interface or altogether.
    pub fn since<'a>(
        &mut self,
        watched: Option<(UnixMillis, Watched)>,
        counters: impl Iterator<Item = (&'a str, u64)>,
    ) -> Seen {
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        for (signal, risen) in counters {
            let Some(metric) = metric_of(signal) else { continue };
            let sum = now.entry(metric).or_default();
            *sum = sum.saturating_add(risen);
        }
        let rose = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
        let before = std::mem::replace(&mut self.counters, now.clone());
        let moved = now.into_iter().map(|(metric, risen)| {
            let by = rose(before.get(&metric).copied().unwrap_or(0), risen);
            (metric, by)
        });
        let moved = moved.filter(|(_, by)| *by > 0).collect();
        let same = self.watched.filter(|(began, _)| watched.is_some_and(|(now, _)| now == *began));
        let before = same.map(|(_, before)| before).unwrap_or_default();
        let watched_since = watched.map(|(_, now)| Watched {
            failed: rose(before.failed, now.failed),
            delayed: rose(before.delayed, now.delayed),
            retransmitted: rose(before.retransmitted, now.retransmitted),
            dns_unanswered: rose(before.dns_unanswered, now.dns_unanswered),
        });
        // What was told before a rest is not told again after it.
        self.watched = watched.or(self.watched);
        Seen { watched: watched_since, moved, answers: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_added_up_and_overflow_nothing() {
        let second = Sums { failed: 5, delayed: 1, retransmitted: u64::MAX, dns_unanswered: 3, ..Sums::default() };
        let mut sums = Watched::default();
        sums.add(&second);
        sums.add(&second);
        assert_eq!(sums, Watched { failed: 10, delayed: 2, retransmitted: u64::MAX, dns_unanswered: 6 });
    }

    #[test]
    fn a_report_has_what_rose_since_the_last_one() {
        let mut reported = Reported::default();
        let watched = |failed| Some((5, Watched { failed, delayed: 1, ..Watched::default() }));
        let ena = |eth0, eth1| {
            [
                ("ena.pps_allowance_exceeded", eth0),
                ("ena.pps_allowance_exceeded", eth1),
                ("conntrack.drop", 0),
                ("tcp.out_segs", 900),
            ]
        };
        let first = reported.since(watched(3), ena(1, 2).into_iter());
        let metrics: Vec<(String, u64)> = first.metrics().map(|(name, count)| (name.into_owned(), count)).collect();
        assert_eq!(metrics[..2], [("FailedAttempts".to_owned(), 3), ("DelayedAttempts".to_owned(), 1)]);
        assert_eq!(metrics[4..], [("EnaPpsAllowanceExceeded".to_owned(), 3)], "what has not moved is no metric");
        let second = reported.since(watched(10), ena(1, 7).into_iter());
        assert_eq!(second.watched.map(|it| (it.failed, it.delayed)), Some((7, 0)));
        assert_eq!(second.moved.get("EnaPpsAllowanceExceeded"), Some(&5));
        let third = reported.since(watched(10), ena(1, 7).into_iter());
        assert_eq!((third.watched, third.moved.len()), (Some(Watched::default()), 0));
        // Another agent counts from nothing, and so does another watch.
        let anew = reported.since(Some((9, Watched { failed: 2, ..Watched::default() })), ena(1, 1).into_iter());
        assert_eq!((anew.watched.map(|it| it.failed), anew.moved["EnaPpsAllowanceExceeded"]), (Some(2), 2));
        assert_eq!(reported.since(None, std::iter::empty()), Seen::default());
        // It was not watched for a while, and is again.
        let again = reported.since(Some((9, Watched { failed: 3, ..Watched::default() })), std::iter::empty());
        assert_eq!(again.watched.map(|it| it.failed), Some(1));
    }
}
