//! The sightings of one connection.
//!
//! Owns how many of them are kept and for how long. What belongs together, and what it shows, is told elsewhere.

use nodewatch_protocol::{Case, Finding, Service};

use crate::{
    clocks::Clocks,
    paths::{Sighting, Tap, TapId, Trouble},
};

/// Of one connection, and of one finding at one place.
const MOST_OF_ONE: usize = 128;
pub(crate) const MOST_ALIKE: usize = 8;
/// What is seen of one moment is told within this time, in milliseconds, as some is decided by waiting.
const DECIDED: u64 = 20_000;
/// Agents tell of the same moment within this time, in milliseconds.
pub(crate) const SETTLED: u64 = 3_000;

/// What was seen of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Which one it is of all that were ever seen.
    pub(crate) number: u64,
    pub(crate) seen: Vec<Sighting>,
    /// When it was first and last heard of.
    pub(crate) heard: (u64, u64),
    /// Something was heard of it since it was looked at.
    pub(crate) fresh: bool,
    /// What it shows, where it shows something; as of when so many ways were known.
    pub(crate) trouble: Option<(Trouble, usize)>,
}

impl Group {
    pub(crate) fn is_answered(&self) -> bool {
        self.seen.iter().all(|it| it.case.what == Finding::Answered)
    }

    /// One more was seen; of many alike the oldest goes.
    pub(crate) fn put(&mut self, sighting: Sighting) {
        (self.heard.1, self.fresh) = (self.heard.1.max(sighting.heard), true);
        let is_alike = |it: &&Sighting| it.tap == sighting.tap && it.case.what == sighting.case.what;
        if self.seen.len() >= MOST_OF_ONE || self.seen.iter().filter(is_alike).count() >= MOST_ALIKE {
            let alike = self.seen.iter().enumerate().filter(|(_, it)| is_alike(it));
            let oldest = alike.min_by_key(|(_, it)| it.heard).map_or(0, |(at, _)| at);
            self.seen.remove(oldest);
        }
        self.seen.push(sighting);
    }

    /// What it has shown before the window is over, where it has shown something since. What was seen of one moment stays
    /// together.
    pub(crate) fn forget_old(&mut self, old: u64) {
        let (before, last) = (self.seen.len(), self.heard.1);
        self.seen.retain(|it| it.heard >= old || it.heard.saturating_add(DECIDED) >= last);
        self.fresh |= self.seen.len() < before;
    }
}

/// By how much times of one place's node are ahead of those of another's, in nanoseconds, as far as that is known.
pub(crate) fn ahead(clocks: &Clocks, taps: &[Tap], here: TapId, there: TapId) -> i64 {
    let node = |id: TapId| taps.get(usize::from(id.0)).map_or("", |tap| tap.node.as_str());
    clocks.ahead(node(here), node(there))
}

/// The same beginning, by its sender's clock, where it has one: a later one shows another time.
pub(crate) fn is_same_beginning(one: &Case, other: &Case) -> Option<bool> {
    let stamp = |case: &Case| case.id.filter(|id| case.service == Service::Tcp && id.1 != 0).map(|id| id.1);
    Some(stamp(one)? == stamp(other)?)
}
