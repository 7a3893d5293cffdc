//! What several places have seen of one connection, put together.
//!
//! Owns by what sightings belong together: the numbers that no translation of addresses changes, in the order of the hops
//! that packets had left. Pure, in bounded memory.

use std::{collections::VecDeque, net::IpAddr};

use nodewatch_protocol::{Case, Finding, Service, Symptom};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    clocks::Clocks,
    group::{Group, SETTLED, ahead, is_same_beginning},
    lost::{Known, millis},
    paths::{KnownWay, Sighting, Tap, TapId, Trouble},
    seconds::Seconds,
    ways::Ways,
};

/// What of a connection stays the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// The sender's clock is another one in each beginning that is repeated.
    Begun(Service, u32, u32),
    Ends(Service, IpAddr, IpAddr, (u16, u16)),
}

fn identity(case: &Case) -> Identity {
    match case.id {
        Some((sequence, _)) if case.service == Service::Tcp => Identity::Begun(case.service, sequence, 0),
        Some((number, name)) => Identity::Begun(case.service, number, name),
        None => Identity::Ends(case.service, case.source, case.destination, case.ports),
    }
}

/// What belongs together is seen within this time, in nanoseconds.
const TOGETHER: u64 = 5_000_000_000;
/// Beginnings of one attempt have clocks that differ by less: two minutes, of clocks that count milliseconds.
const CLOCKS: u32 = 120_000;
/// Sightings that are kept: a minute of 200 connections a second, each seen at four places.
const MOST_SIGHTINGS: usize = 48_000;
/// With more of attempts that were answered, half as many are taken; with fewer, twice as many.
const MOST_ANSWERED: usize = 6_000;
const FEW_ANSWERED: usize = 1_500;
/// Those of attempts that were answered are kept for so long, in milliseconds: that one was lost is known 10 s later.
const ANSWERED: u64 = 20_000;

/// What was seen of all connections, each put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joined {
    groups: FxHashMap<Identity, Vec<Group>>,
    /// In the order in which they were first heard of.
    order: VecDeque<(u64, Identity)>,
    /// Connections so far.
    count: u64,
    sightings: usize,
    /// When the latest was first heard of that has no room any more.
    no_room: Option<u64>,
    /// Sightings of attempts that were answered, and how often the number of those that are taken was halved.
    answered: usize,
    halved: u32,
    /// The most of that in the last seconds, and since when.
    halved_lately: (u32, u64),
    ways: Ways,
    /// How far apart the clocks of their nodes are.
    pub(crate) clocks: Clocks,
}

impl Joined {
    /// Something more was seen.
    pub(crate) fn put(&mut self, sighting: Sighting, taps: &[Tap]) {
        let (key, heard) = (identity(&sighting.case), sighting.heard);
        if sighting.case.what == Finding::Answered {
            if sighting.case.lot().leading_zeros() < self.halved {
                return;
            }
            self.answered += 1;
        }
        self.sightings += 1;
        let clocks = &self.clocks;
        let groups = self.groups.entry(key.clone()).or_default();
        let is_its =
            |group: &Group| are_one(&group.seen[0], &sighting, taps, clocks) && !is_beside(&group.seen, &sighting);
        if let Some(group) = groups.iter_mut().find(|group| is_its(group)) {
            group.put(sighting);
            return;
        }
        self.count += 1;
        let number = self.count;
        groups.push(Group { number, seen: vec![sighting], heard: (heard, heard), fresh: true, trouble: None });
        self.order.push_back((number, key));
    }

    /// Forgets what is older, and what has no room; how much of the latter somebody has felt.
    pub(crate) fn forget(&mut self, now: u64, old: u64) -> u64 {
        let answered = now.saturating_sub(ANSWERED);
        (self.sightings, self.answered) = (0, 0);
        let (all, those_answered) = (&mut self.sightings, &mut self.answered);
        let mut known = 0;
        self.groups.retain(|_, groups| {
            groups.retain_mut(|group| {
                let is_answered = group.is_answered();
                let stays = group.heard.1 >= if is_answered { answered } else { old };
                if stays {
                    group.forget_old(old);
                    known += 1;
                    *all += group.seen.len();
                    *those_answered += if is_answered { group.seen.len() } else { 0 };
                }
                stays
            });
            !groups.is_empty()
        });
        self.ways.forget_old(old);
        // Of few all are taken, of many the same ones at every place.
        match self.answered {
            MOST_ANSWERED.. => self.halved = (self.halved + 1).min(20),
            0..FEW_ANSWERED => self.halved = self.halved.saturating_sub(1),
            _ => {}
        }
        if self.halved >= self.halved_lately.0 || now.abs_diff(self.halved_lately.1) > ANSWERED {
            self.halved_lately = (self.halved, now);
        }
        // One that stays for long must not keep those behind it.
        if self.order.len() > 2 * known + 64 {
            let groups = &self.groups;
            let is_known = |(number, key): &(u64, Identity)| {
                groups.get(key).is_some_and(|groups| groups.iter().any(|group| group.number == *number))
            };
            self.order.retain(is_known);
        }
        self.make_room()
    }

    fn make_room(&mut self) -> u64 {
        let mut felt = 0;
        while self.sightings > MOST_SIGHTINGS
            && let Some((number, key)) = self.order.pop_front()
        {
            let Some(groups) = self.groups.get_mut(&key) else { continue };
            for gone in groups.extract_if(.., |group| group.number == number) {
                self.sightings -= gone.seen.len();
                felt += u64::from(gone.seen.iter().any(|it| it.case.what.is_felt()));
                self.no_room = self.no_room.max(Some(gone.heard.0));
            }
            if groups.is_empty() {
                self.groups.remove(&key);
            }
        }
        felt
    }

    /// These places are others from now on.
    pub(crate) fn forget_taps(&mut self, gone: &FxHashSet<TapId>) {
        self.ways.forget(gone);
    }

    /// All that was seen is of another time. Which ways there are stays known.
    pub(crate) fn clear(&mut self) {
        self.groups.clear();
        self.order.clear();
        self.clocks.clear();
        self.ways.forget_old(u64::MAX);
        (self.sightings, self.answered, self.no_room) = (0, 0, None);
    }

    /// Looks at what has been heard of for long enough, so that all have told of it. `over`: nothing more will be heard.
    pub(crate) fn settle(&mut self, taps: &[Tap], seconds: &Seconds, now: u64, over: bool) {
        let settled = |group: &Group| over || now.saturating_sub(group.heard.0) >= SETTLED;
        // One that was lost in places shows no way.
        let Self { groups, ways, clocks, .. } = self;
        for group in groups.values_mut().flatten().filter(|group| group.fresh && settled(group)) {
            in_order(&mut group.seen);
            compare(&group.seen, taps, clocks);
            if group.is_answered() {
                ways.learn(&group.seen);
                let here = &group.seen[0];
                let lot = here.case.lot();
                ways.passes(&group.seen, |tap| {
                    let known = taps.get(usize::from(tap.0))?;
                    let ahead = ahead(clocks, taps, here.tap, tap);
                    let there = |nanos: i64| millis(nanos.saturating_add(ahead));
                    let is_told = seconds.tells(&known.node, lot, there(here.case.at));
                    let moment = there(here.case.began);
                    (is_told && known.sees(moment)).then_some(moment)
                });
                group.fresh = false;
            }
        }
        let ways = self.ways.len();
        let known = Known {
            taps,
            seconds,
            ways: &self.ways,
            clocks: &self.clocks,
            no_room: self.no_room,
            halved: self.halved_lately.0,
        };
        for group in self.groups.values_mut().flatten().filter(|group| settled(group)) {
            // A way that is learned later is told, and so is a better one.
            let is_old = |(trouble, at): &&(Trouble, usize)| trouble.way != KnownWay::Own && *at != ways;
            let old = group.trouble.as_ref().filter(is_old).is_some_and(|(trouble, _)| {
                self.ways.of(&group.seen).is_some_and(|way| trouble.way == KnownWay::No || !way.by_address)
            });
            if (group.fresh || old) && !group.is_answered() {
                group.trouble = Some((known.trouble(group), ways));
                group.fresh = false;
            }
        }
    }

    /// Connections that were answered were asked of one address, and have gone to the other.
    pub(crate) fn is_translated(&self, asked: IpAddr, backend: IpAddr) -> bool {
        self.ways.is_translated(asked, backend)
    }

    /// Those of which every place that has seen them says that they were answered, as seen furthest from who asks.
    pub(crate) fn answered(&self) -> impl Iterator<Item = &Sighting> {
        let groups = self.groups.values().flatten();
        groups.filter(|group| group.is_answered()).filter_map(|group| group.seen.last())
    }

    /// Connections that show something, in the order in which they have failed.
    pub(crate) fn troubles(&self) -> Vec<&Trouble> {
        let groups = self.groups.values().flatten();
        let mut troubles: Vec<(i64, &Trouble)> =
            groups.filter_map(|group| group.trouble.as_ref().map(|(trouble, _)| (trouble.at, trouble))).collect();
        let ends = |trouble: &Trouble| (trouble.first().source, trouble.first().ports);
        troubles.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| ends(one.1).cmp(&ends(other.1))));
        troubles.into_iter().map(|(_, trouble)| trouble).collect()
    }
}

/// What has the same numbers is the same where it was begun at about the same time, by the ends' clocks too. Where the
/// clocks of two nodes differ by more, it is what has the same time of its sender, or the difference is known.
fn are_one(one: &Sighting, other: &Sighting, taps: &[Tap], clocks: &Clocks) -> bool {
    let (here, there) = (&one.case, &other.case);
    let are_near = |ahead: i64| there.began.saturating_sub(ahead).abs_diff(here.began) <= TOGETHER;
    let node = |id: TapId| taps.get(usize::from(id.0)).map(|tap| tap.node.as_str());
    let elsewhere = || {
        let same = is_same_beginning(here, there) == Some(true);
        node(one.tap) != node(other.tap) && (same || are_near(ahead(clocks, taps, one.tap, other.tap)))
    };
    let stamps = match (here.id, there.id) {
        (Some((_, one)), Some((_, other))) if here.service == Service::Tcp => one.abs_diff(other) <= CLOCKS,
        _ => true,
    };
    stamps && (are_near(0) || elsewhere())
}

/// One place has seen another connection there with the same numbers, and not a translation, which takes a hop: as a resolver
/// library asks two servers the same question at once.
fn is_beside(seen: &[Sighting], other: &Sighting) -> bool {
    let ends = |case: &Case| (case.source, case.destination, case.ports);
    seen.iter().any(|it| {
        it.tap == other.tap
            && it.case.hops.is_some()
            && it.case.hops == other.case.hops
            && ends(&it.case) != ends(&other.case)
    })
}

/// Packets have fewer hops left the further they have come; where that does not tell, earlier is nearer.
fn in_order(group: &mut [Sighting]) {
    group.sort_by_key(|it| (std::cmp::Reverse(it.case.hops.unwrap_or(0)), it.case.began, it.tap));
}

/// When a connection and its answer have passed one node and the next one: both have seen it answered, or the same beginning
/// and the answer to a later one.
fn compare(way: &[Sighting], taps: &[Tap], clocks: &mut Clocks) {
    let node = |sighting: &Sighting| taps.get(usize::from(sighting.tap.0)).map_or("", |tap| tap.node.as_str());
    let delayed = Finding::Symptom(Symptom::Delayed);
    for pair in way.windows(2) {
        let (here, there) = (&pair[0], &pair[1]);
        let both = |what: Finding| here.case.what == what && there.case.what == what;
        let same = is_same_beginning(&here.case, &there.case);
        if (both(Finding::Answered) && same != Some(false)) || (both(delayed) && same == Some(true)) {
            let [here, there] = [here, there].map(|it| (node(it), it.case.began, it.case.at));
            clocks.learn(here, there);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::MOST_ALIKE;

    fn case(what: Finding, number: u32, began: u64) -> Case {
        let ends = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let case = Case::of(what, Service::Tcp, (ends[0], 40_000), (ends[1], 80), (began * 1_000_000) as i64);
        Case { id: Some((number, 7)), ..case }
    }

    #[test]
    fn one_question_to_two_servers_is_two_and_its_translation_is_none_of_them() {
        const BEGIN: u64 = 1_700_000_000_000;
        let mut joined = Joined::default();
        let mut see = |tap: u16, hops: u8, last: u8| {
            let case = case(Finding::Symptom(Symptom::DnsUnanswered), 7, BEGIN);
            let case = Case { destination: [10, 96, 0, last].into(), hops: Some(hops), ..case };
            joined.put(Sighting { tap: TapId(tap), heard: BEGIN, case }, &[]);
        };
        for (tap, hops) in [(0, 64), (1, 63)] {
            see(tap, hops, 10);
            see(tap, hops, 11);
        }
        let of = |last: u8| IpAddr::from([10, 96, 0, last]);
        let mut groups: Vec<Vec<IpAddr>> = joined
            .groups
            .values()
            .flatten()
            .map(|group| group.seen.iter().map(|it| it.case.destination).collect())
            .collect();
        groups.sort();
        assert_eq!(groups, [vec![of(10); 2], vec![of(11); 2]]);
    }

    #[test]
    fn only_what_is_as_old_as_those_without_room_may_have_been_seen_where_nobody_knows() {
        const BEGIN: u64 = 1_700_000_000_000;
        let mut joined = Joined::default();
        for number in 0..MOST_SIGHTINGS as u32 + 100 {
            let heard = BEGIN + u64::from(number);
            let case = case(Finding::Symptom(Symptom::Unanswered), number, heard);
            joined.put(Sighting { tap: TapId(0), heard, case }, &[]);
        }
        let now = BEGIN + MOST_SIGHTINGS as u64 + 100;
        assert_eq!((joined.forget(now, now - 60_000), joined.no_room), (100, Some(BEGIN + 99)));
    }

    #[test]
    fn one_that_stays_for_long_keeps_nothing_behind_it_and_nothing_of_old() {
        const BEGIN: u64 = 1_700_000_000_000;
        let mut joined = Joined::default();
        let stalled = Finding::Symptom(Symptom::Stalled);
        for second in 0..600 {
            let now = BEGIN + second * 1000;
            let what = if second == 0 { Finding::Stuck } else { stalled };
            let at = (now * 1_000_000) as i64;
            let seen = |case| Sighting { tap: TapId(0), heard: now, case };
            joined.put(seen(Case { at, ..case(what, 1, BEGIN) }), &[]);
            for number in 0..20 {
                let failed = case(Finding::Symptom(Symptom::Unanswered), 10 + second as u32 * 20 + number, now);
                joined.put(seen(failed), &[]);
            }
            joined.forget(now, now - 60_000);
            joined.settle(&[], &Seconds::default(), now, false);
        }
        assert!(joined.order.len() < 3_000, "{} of 12,001", joined.order.len());
        let troubles = joined.troubles();
        let long = troubles.iter().find(|trouble| trouble.number == 1).expect("it is still there");
        assert_eq!((long.what, long.seen.len()), (stalled, MOST_ALIKE), "it was stuck ten minutes ago");
        assert!(long.millis() > BEGIN + 590_000, "{}", long.millis() - BEGIN);
    }
}
