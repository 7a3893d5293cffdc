//! Places where packets are seen, parts of the way between them, and one connection as all places have seen it.
//!
//! Owns these forms. How sightings are put together is told elsewhere.

use std::{collections::VecDeque, net::IpAddr};

use nodewatch_protocol::{Case, Finding, Role, Symptom};
use serde::{Deserialize, Serialize};

/// A place where packets are seen, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapId(pub u16);

/// A place where packets are seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tap {
    /// Its node; of files, what they are called.
    pub node: String,
    /// Its interface.
    pub interface: String,
    /// What that is.
    pub role: Role,
    /// When it was first and last told of, in milliseconds since the Unix epoch.
    pub first: u64,
    /// When it was last told of.
    pub last: u64,
    /// When packets were lost there, in the last minutes.
    pub lost: VecDeque<u64>,
    /// Since when nothing more is read of it.
    pub ended: Option<u64>,
}

/// A place of which nothing was told for so long, in milliseconds, is not watched any more.
pub(crate) const SILENT: u64 = 5_000;

impl Tap {
    /// It was told of just before that moment.
    pub(crate) fn is_watched(&self, now: u64) -> bool {
        self.last.saturating_add(SILENT) >= now
    }

    /// At that moment, in milliseconds, all that passed was seen there.
    pub(crate) fn sees(&self, moment: u64) -> bool {
        let around = self.lost.iter().any(|lost| lost.abs_diff(moment) < 2_000);
        self.first <= moment && self.last.saturating_add(1_000) >= moment && !around
    }

    /// For people.
    pub fn text(&self) -> String {
        match (self.node.is_empty(), self.interface.is_empty()) {
            (true, _) => self.interface.clone(),
            (_, true) => self.node.clone(),
            _ => format!("{} of {}", self.interface, self.node),
        }
    }
}

/// On which part of the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Inside a node, between two of its interfaces.
    Node {
        /// Which.
        node: String,
        /// It is the answer that is lost.
        back: bool,
    },
    /// Between two nodes.
    Between {
        /// The one that the packet has left.
        from: String,
        /// The one at which it has not arrived.
        to: String,
    },
    /// It has left the host's end of the pod's interface.
    Pod {
        /// The pod's node.
        node: String,
        /// That interface.
        interface: String,
    },
    /// It was seen there, and nothing is watched beyond.
    Beyond {
        /// The last place that has seen it.
        tap: String,
    },
}

impl Segment {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Node { node, back: false } => format!("lost inside {node}"),
            Self::Node { node, back: true } => format!("answers lost inside {node}"),
            Self::Between { from, to } => format!("lost between {from} and {to}"),
            Self::Pod { node, interface } => format!("not answered by the pod behind {interface} of {node}"),
            Self::Beyond { tap } => format!("lost beyond {tap}"),
        }
    }

    /// The node in which it is, where it is in one.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Node { node, .. } | Self::Pod { node, .. } => Some(node),
            Self::Between { .. } | Self::Beyond { .. } => None,
        }
    }
}

/// How grave a finding is: where places have seen several of one connection, it shows the first.
pub(crate) fn rank(what: Finding) -> u8 {
    match what {
        Finding::NotAccepted => 0,
        Finding::Stray => 1,
        Finding::Stuck => 2,
        Finding::Symptom(symptom) if symptom.is_failure() => 3,
        Finding::Symptom(symptom) if symptom.is_judged() => 4,
        Finding::Symptom(_) | Finding::AnswerTooLate => 5,
        Finding::AnswerRepeated => 6,
        Finding::Answered => 7,
    }
}

/// A case, where and when it was heard of.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) tap: TapId,
    /// In milliseconds since the Unix epoch.
    pub(crate) heard: u64,
    pub(crate) case: Case,
}

/// Which way connections of a kind take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownWay {
    /// Nobody knows: none was answered.
    No,
    /// That of other ports of the address: of those to this one none was answered.
    OfAddress,
    /// Others of its kind have shown it.
    Own,
}

/// One connection, or question, that shows something, as all have seen it.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// Which one it is of all that were ever seen.
    pub(crate) number: u64,
    /// In the order of its way.
    pub(crate) seen: Vec<Sighting>,
    /// What it shows, as felt by who asks.
    pub(crate) what: Finding,
    /// When it has failed, in nanoseconds since the Unix epoch: of an attempt, when it was begun.
    pub(crate) at: i64,
    /// Where others of its kind are seen and this was not.
    pub(crate) missing: Vec<TapId>,
    /// Where it was lost, as far as that is known.
    pub(crate) segment: Option<Segment>,
    /// The place that it has passed last, and the next one, which it has not passed.
    pub(crate) edge: Option<(TapId, TapId)>,
    /// Whether it is known which way connections of its kind take.
    pub(crate) way: KnownWay,
    /// What is read of a place where it is missing ended before.
    pub(crate) after_end: bool,
    /// Who is asked in the end, after all translation that was seen.
    pub(crate) backend: (IpAddr, u16),
    /// Not all have seen the same address and port asked.
    pub(crate) is_translated: bool,
    /// The end that was asked has answered for an older connection between the same ports first.
    pub(crate) reused: bool,
}

impl Trouble {
    /// As it was seen nearest to who asks: what it shows, where that place has told of more than one thing.
    pub(crate) fn first(&self) -> &Case {
        let here = self.seen.iter().take_while(|it| it.tap == self.seen[0].tap);
        here.into_iter().find(|it| it.case.what == self.what).map_or(&self.seen[0].case, |it| &it.case)
    }

    /// As it was seen nearest to who is asked.
    pub(crate) fn last(&self) -> &Case {
        &self.seen[self.seen.len() - 1].case
    }

    /// The first of them that shows that.
    pub(crate) fn showing(&self, what: Finding) -> Option<&Case> {
        // It shows nothing that is graver than what it shows.
        let may = rank(self.what) <= rank(what);
        self.seen.iter().filter(|_| may).map(|it| &it.case).find(|case| case.what == what)
    }

    /// One of them shows that.
    pub(crate) fn shows(&self, what: Finding) -> bool {
        self.showing(what).is_some()
    }

    /// An attempt or a question that has failed, or had to be repeated.
    pub(crate) fn is_attempt(&self) -> bool {
        self.is_lost() || matches!(self.what, Finding::Symptom(Symptom::Refused | Symptom::Unreachable))
    }

    /// An attempt or a question that was lost somewhere.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost_attempt() || self.what == Finding::Symptom(Symptom::DnsUnanswered)
    }

    /// An attempt that was lost, or had to be repeated.
    pub(crate) fn is_lost_attempt(&self) -> bool {
        matches!(self.what, Finding::Symptom(Symptom::Unanswered | Symptom::Delayed))
    }

    /// The most bytes, or milliseconds, that one of them shows.
    pub(crate) fn amount(&self) -> u32 {
        let shown = self.seen.iter().filter(|it| it.case.what == self.what);
        shown.map(|it| it.case.amount).max().unwrap_or(0)
    }

    /// When it has failed, in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.at / 1_000_000).unwrap_or(0)
    }

    /// When its last evidence was there, in milliseconds.
    pub(crate) fn shown(&self) -> u64 {
        let latest = self.seen.iter().map(|sighting| sighting.case.began.max(sighting.case.at)).max();
        // What is decided by waiting has happened when it was begun.
        let decided_late = matches!(self.what, Finding::Symptom(Symptom::Unanswered | Symptom::DnsUnanswered));
        if decided_late { self.millis() } else { u64::try_from(latest.unwrap_or(0) / 1_000_000).unwrap_or(0) }
    }
}
