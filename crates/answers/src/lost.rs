//! What one connection shows, and on which part of its way it was lost.
//!
//! Owns which places are believed that have not seen it. How sightings are put together is told elsewhere.

use nodewatch_protocol::{Finding, Role, Symptom};

use crate::{
    clocks::Clocks,
    group::{Group, SETTLED, ahead, is_same_beginning},
    paths::{KnownWay, Segment, Sighting, Tap, TapId, Trouble, rank},
    seconds::Seconds,
    ways::{Way, Ways},
};

/// A beginning that is this much later than the first, in nanoseconds, is a repeated one.
const REPEATED: u64 = 500_000_000;

/// What is known of places, beside what they have seen of one connection.
pub(crate) struct Known<'a> {
    pub(crate) taps: &'a [Tap],
    pub(crate) seconds: &'a Seconds,
    pub(crate) ways: &'a Ways,
    pub(crate) clocks: &'a Clocks,
    /// When the latest was first heard of that had no room here: what has failed since then is here, wherever it was seen.
    pub(crate) no_room: Option<u64>,
    /// Of attempts that were answered only those have room whose lot begins with so many zeros.
    pub(crate) halved: u32,
}

/// Milliseconds of nanoseconds, both since the Unix epoch.
pub(crate) fn millis(nanos: i64) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}

impl Known<'_> {
    /// What a connection shows.
    pub(crate) fn trouble(&self, group: &Group) -> Trouble {
        let seen = group.seen.clone();
        let worst = |it: &&Sighting| rank(it.case.what);
        let what = seen.iter().min_by_key(worst).map_or(Finding::Answered, |it| it.case.what);
        let shown = seen.iter().filter(|it| it.case.what == what && is_later(what)).map(|it| it.case.at).min();
        let at = shown.unwrap_or(seen[0].case.began);
        let known = self.ways.of(&seen);
        let way = known.map_or(&[][..], |way| way.taps);
        let has_seen = |tap: &TapId| seen.iter().any(|it| it.tap == *tap);
        let heard = seen.iter().map(|it| it.heard).max().unwrap_or_default();
        let could_see = |tap: &TapId| known.is_some_and(|way| self.believes(way, *tap, &seen, (at, heard)));
        // Of places before one that has seen it, nothing follows.
        let behind = way.iter().rposition(&has_seen).map_or(way, |at| &way[at..]);
        // What was answered later, of which that place would have told, goes another way.
        let goes_round = |tap: &TapId| what == Finding::Symptom(Symptom::Delayed) && self.would_tell(*tap, &seen[0]);
        let is_missing = |tap: &&TapId| !has_seen(tap) && could_see(tap) && !goes_round(tap);
        let missing: Vec<TapId> = behind.iter().filter(is_missing).copied().collect();
        let (segment, edge) = segment(&seen, what, way, &missing, self).unzip();
        let edge = edge.flatten();
        let number = group.number;
        let asked = |it: &Sighting| (it.case.destination, it.case.ports.1);
        let backend = asked(&seen[seen.len() - 1]);
        let is_translated = seen.iter().any(|it| asked(it) != backend);
        let known_way = match known {
            None => KnownWay::No,
            Some(way) if way.by_address => KnownWay::OfAddress,
            Some(_) => KnownWay::Own,
        };
        let has_ended = |id: &TapId| {
            let there = millis(at.saturating_add(ahead(self.clocks, self.taps, seen[0].tap, *id)));
            self.taps.get(usize::from(id.0)).and_then(|tap| tap.ended).is_some_and(|ended| ended <= there)
        };
        let after_end = missing.iter().any(has_ended);
        let reused = seen.iter().any(|it| it.case.reused);
        Trouble {
            number,
            seen,
            what,
            at,
            missing,
            segment,
            way: known_way,
            after_end,
            edge,
            backend,
            is_translated,
            reused,
        }
    }

    /// Of attempts that were answered not all are told, nor kept: whether this one would have been.
    fn would_tell(&self, id: TapId, first: &Sighting) -> bool {
        let ahead = ahead(self.clocks, self.taps, first.tap, id);
        let told = millis(first.case.at.saturating_add(ahead));
        let node = self.taps.get(usize::from(id.0)).map(|tap| tap.node.as_str());
        let lot = first.case.lot();
        lot.leading_zeros() >= self.halved && node.is_some_and(|node| self.seconds.tells(node, lot, told))
    }

    /// Where that place has not seen it, it was not there: it was watched then, has lost nothing, had room for all that it
    /// had to tell, and has seen others on their way to the same end. `at` is when that was, in nanoseconds by the first
    /// place's clock, and `heard` until when it was told of, in milliseconds.
    fn believes(&self, way: Way<'_>, id: TapId, seen: &[Sighting], (at, heard): (i64, u64)) -> bool {
        let (Some(tap), Some(first), Some(last)) = (self.taps.get(usize::from(id.0)), seen.first(), seen.last()) else {
            return false;
        };
        let ahead = ahead(self.clocks, self.taps, first.tap, id);
        let there = millis(at.saturating_add(ahead));
        // Nodes have clocks of their own: what was heard before this may be of it all the same.
        let first_heard = seen.iter().map(|it| it.heard).min().unwrap_or_default();
        let told_by = heard.saturating_add(SETTLED).saturating_add_signed(ahead / 1_000_000);
        tap.sees(there)
            && !self.seconds.is_crowded(&tap.node, there.saturating_sub(1_000), told_by)
            && self.no_room.is_none_or(|no_room| no_room < millis(at) && no_room.saturating_add(SETTLED) < first_heard)
            && !self.ways.is_blind(way, id, &last.case, there)
    }
}

/// What happens to a connection that was there before, and not as it is begun.
fn is_later(what: Finding) -> bool {
    use Symptom::{ClosedTooSoon, ForeignReset, IdleBefore, Reset, Stalled, TooBig};
    match what {
        Finding::Symptom(symptom) => {
            matches!(symptom, Reset | ForeignReset | ClosedTooSoon | Stalled | IdleBefore | TooBig)
        }
        Finding::Stuck | Finding::Stray => true,
        Finding::Answered | Finding::AnswerRepeated | Finding::NotAccepted | Finding::AnswerTooLate => false,
    }
}

/// A tap at the host's end of the interface of the pod that is asked: packets come there from elsewhere.
fn is_servers(sighting: &Sighting, tap: &Tap) -> bool {
    let from_here = matches!(sighting.case.hops, Some(64 | 128 | 255));
    tap.role == Role::Pod && !from_here
}

/// Where it was lost, and between which places where that is between two.
type Lost = (Segment, Option<(TapId, TapId)>);

fn segment(seen: &[Sighting], what: Finding, way: &[TapId], missing: &[TapId], known: &Known<'_>) -> Option<Lost> {
    let tap = |id: TapId| known.taps.get(usize::from(id.0));
    let attempt = matches!(
        what,
        Finding::Symptom(Symptom::Unanswered | Symptom::Delayed | Symptom::DnsUnanswered) | Finding::NotAccepted
    );
    if !attempt {
        return None;
    }
    // Where it was answered at its first beginning and the end that asks has not heard of it, the answer is lost between.
    let first = seen.first()?;
    let is_answer = |it: &Sighting| matches!(it.case.what, Finding::Answered | Finding::AnswerRepeated);
    let at_once = |it: &Sighting| {
        let ahead = ahead(known.clocks, known.taps, first.tap, it.tap);
        let by_time = || it.case.began.saturating_sub(ahead).abs_diff(first.case.began) < REPEATED;
        is_same_beginning(&first.case, &it.case).unwrap_or_else(by_time)
    };
    if let Some(at) = seen.iter().position(|it| is_answer(it) && at_once(it))
        && at > 0
    {
        let (to, from) = (tap(seen[at - 1].tap)?, tap(seen[at].tap)?);
        let segment = if to.node == from.node {
            Segment::Node { node: to.node.clone(), back: true }
        } else {
            Segment::Between { from: from.node.clone(), to: to.node.clone() }
        };
        return Some((segment, Some((seen[at].tap, seen[at - 1].tap))));
    }
    // What came through at a later beginning has not come through at the first.
    let last = seen.iter().rev().find(|it| !is_answer(it))?;
    let here = tap(last.tap)?;
    let came_late = |id: TapId| seen.iter().any(|it| it.tap == id && is_answer(it));
    // Of one that is not believed it is not known on which side of it that was.
    // Two before a router see the same hops left, so that their order is not known.
    let has_seen = |id: TapId| seen.iter().any(|it| it.tap == id && !is_answer(it));
    let behind = way.iter().skip_while(|id| **id != last.tap).copied().find(|id| !has_seen(*id));
    let next = behind.filter(|id| missing.contains(id) || came_late(*id));
    let seen_later = || seen.iter().skip_while(|it| it.tap != last.tap).find(|it| is_answer(it)).map(|it| it.tap);
    let next = next.or_else(|| seen_later().filter(|_| behind.is_none()));
    if let Some((id, next)) = next.and_then(|id| Some((id, tap(id)?))) {
        let segment = if next.node == here.node {
            Segment::Node { node: here.node.clone(), back: false }
        } else {
            Segment::Between { from: here.node.clone(), to: next.node.clone() }
        };
        return Some((segment, Some((last.tap, id))));
    }
    let is_last = way.last() == Some(&last.tap) && way.len() > 1;
    if is_servers(last, here) || (is_last && here.role == Role::Pod) {
        return Some((Segment::Pod { node: here.node.clone(), interface: here.interface.clone() }, None));
    }
    Some((Segment::Beyond { tap: here.text() }, None))
}
