//! What waits to be sent to one log stream: in the order in which it came, bounded, in batches that CloudWatch Logs takes.
//!
//! Owns the limits of `PutLogEvents`, as its API reference has them, and which events are one report. Pure.

use std::collections::{BTreeSet, HashSet, VecDeque};

use nodewatch_protocol::UnixMillis;

use crate::{
    event::Event,
    limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, OVERHEAD},
};

/// The time between a batch's first and last event, in milliseconds: a day, less a second.
const MAX_SPAN: u64 = 86_399_000;

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its time.
    pub at: UnixMillis,
    /// Its line.
    pub message: String,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    /// Parts of one report have one number.
    report: u64,
}

/// Events for one log stream, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    events: VecDeque<Waiting>,
    /// Reports that have come; the number of the next.
    reports: u64,
    /// So many of the first were sent, and may be there.
    in_flight: usize,
    /// Reports of which a part was not taken.
    broken: BTreeSet<u64>,
}

/// Reports that are through, as far as that became clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// All of these is there.
    pub sent: u64,
    /// A part of these was not taken, or all.
    pub refused: u64,
    /// Bytes that wait no more.
    pub bytes: usize,
}

impl Queue {
    /// Adds a report.
    pub fn push(&mut self, event: Event) {
        let report = self.reports;
        self.reports += 1;
        let waiting = |message| Waiting { entry: Entry { at: event.at, message }, report };
        self.events.extend(event.parts.into_iter().map(waiting));
    }

    /// Takes the oldest report out of which no part is on its way, and never the newest. Returns its bytes.
    pub fn drop_oldest(&mut self) -> Option<usize> {
        let under_way = self.in_flight.checked_sub(1).and_then(|last| self.events.get(last)).map(|one| one.report);
        // What is left of one whose first part is there already is no whole report either.
        let oldest = self.events.iter().map(|one| one.report).find(|report| Some(*report) > under_way)?;
        if oldest + 1 == self.reports {
            return None;
        }
        let mut bytes = 0;
        self.events.retain(|one| {
            let stays = one.report != oldest;
            bytes += if stays { 0 } else { one.entry.message.len() };
            stays
        });
        self.broken.remove(&oldest);
        Some(bytes)
    }

    /// How many events are waiting.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The first events that go together, at most so many: one at least where one waits. A batch must be in order of time, so it
    /// ends where a clock was set back. They stay in the queue until [`Queue::settle`] or [`Queue::forget`].
    pub fn batch(&mut self, at_most: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let (mut first, mut last) = (None, 0);
        let fits = |one: &&Waiting| {
            bytes += one.entry.message.len() + OVERHEAD;
            let at = one.entry.at;
            let Some(begin) = first else {
                (first, last) = (Some(at), at);
                return true;
            };
            let fits = bytes <= MAX_BATCH_BYTES && at >= last && at - begin <= MAX_SPAN;
            last = at;
            fits
        };
        let batch = self.events.iter().take(at_most.min(MAX_BATCH_EVENTS)).take_while(fits);
        let batch: Vec<Entry> = batch.map(|one| one.entry.clone()).collect();
        self.in_flight = batch.len();
        batch
    }

    /// It is known what has become of what was on its way: whether each was taken, by its place in the batch.
    pub fn settle(&mut self, taken: impl Fn(usize) -> bool) -> Settled {
        let gone: Vec<Waiting> = self.events.drain(..std::mem::take(&mut self.in_flight)).collect();
        for (index, one) in gone.iter().enumerate() {
            if !taken(index) {
                self.broken.insert(one.report);
            }
        }
        self.left(&gone)
    }

    /// Of what was on its way only these messages are there; the rest is to be sent again.
    pub fn forget(&mut self, there: &HashSet<String>) -> Settled {
        let mut gone = Vec::new();
        let rest = self.events.split_off(std::mem::take(&mut self.in_flight));
        for one in std::mem::replace(&mut self.events, rest).into_iter().rev() {
            if there.contains(&one.entry.message) {
                gone.push(one);
            } else {
                self.events.push_front(one);
            }
        }
        gone.reverse();
        self.left(&gone)
    }

    /// These are out of the queue; a report is through when none of its parts waits.
    fn left(&mut self, gone: &[Waiting]) -> Settled {
        let mut settled = Settled::default();
        let mut last = None;
        for one in gone {
            settled.bytes += one.entry.message.len();
            if last.replace(one.report) == Some(one.report) {
                continue;
            }
            if self.events.binary_search_by_key(&one.report, |one| one.report).is_ok() {
                continue;
            }
            if self.broken.remove(&one.report) {
                settled.refused += 1;
            } else {
                settled.sent += 1;
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(at: UnixMillis, length: usize) -> Event {
        Event { at, parts: vec!["x".repeat(length)] }
    }

    proptest! {
        #[test]
        fn batches_keep_every_limit_whatever_the_clock_does_and_nothing_is_lost_or_moved_in_time(
            events in proptest::collection::vec((0_u64..200_000_000, 1_usize..60_000), 1..80)
        ) {
            let mut queue = Queue::default();
            for (at, length) in &events {
                queue.push(event(*at, *length));
            }
            let mut seen = Vec::new();
            while !queue.is_empty() {
                let batch = queue.batch(usize::MAX);
                prop_assert!(!batch.is_empty() && batch.len() <= MAX_BATCH_EVENTS);
                let bytes: usize = batch.iter().map(|event| event.message.len() + 26).sum();
                prop_assert!(bytes <= MAX_BATCH_BYTES);
                prop_assert!(batch.is_sorted_by_key(|event| event.at));
                prop_assert!(batch.last().map(|event| event.at) <= batch.first().map(|event| event.at + 86_400_000));
                prop_assert_eq!(queue.settle(|_| true).sent, batch.len() as u64);
                seen.extend(batch);
            }
            let seen: Vec<(u64, usize)> = seen.iter().map(|event| (event.at, event.message.len())).collect();
            prop_assert_eq!(seen, events);
        }
    }

    /// A machine that boots with the clock of years ahead, and is right a moment later.
    #[test]
    fn a_clock_that_was_ahead_once_marks_nothing_that_comes_later() {
        let mut queue = Queue::default();
        for at in [1000, 2000, 90_000_000_000, 3000, 4000] {
            queue.push(event(at, 1));
        }
        let mut batches = Vec::new();
        while !queue.is_empty() {
            batches.push(queue.batch(usize::MAX).iter().map(|event| event.at).collect::<Vec<_>>());
            queue.settle(|_| true);
        }
        assert_eq!(batches, [vec![1000, 2000], vec![90_000_000_000], vec![3000, 4000]]);
    }

    #[test]
    fn ten_thousand_small_events_go_in_one_batch_and_the_next_in_another() {
        let mut queue = Queue::default();
        (0..10_001).for_each(|at| queue.push(event(at, 1)));
        assert_eq!(queue.batch(usize::MAX).len(), 10_000);
        assert_eq!(queue.settle(|_| true).sent, 10_000);
        assert_eq!(queue.batch(usize::MAX).len(), 1);
    }

    #[test]
    fn one_that_is_larger_than_a_batch_keeps_nobody_waiting() {
        let mut queue = Queue::default();
        queue.push(event(1, 2 * MAX_BATCH_BYTES));
        queue.push(event(2, 1));
        assert_eq!(queue.batch(usize::MAX).len(), 1);
        assert_eq!(queue.settle(|_| false), Settled { sent: 0, refused: 1, bytes: 2 * MAX_BATCH_BYTES });
        assert_eq!(queue.batch(usize::MAX)[0].at, 2);
    }

    fn named(messages: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for message in messages {
            queue.push(in_parts(&[message]));
        }
        queue
    }

    fn in_parts(messages: &[&str]) -> Event {
        Event { at: 1, parts: messages.iter().map(|&message| message.to_owned()).collect() }
    }

    fn messages(queue: &mut Queue) -> Vec<String> {
        queue.batch(usize::MAX).into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn only_what_is_there_is_forgotten() {
        let mut queue = named(&["a", "b"]);
        assert_eq!(queue.batch(usize::MAX).len(), 2);
        queue.push(in_parts(&["a"]));
        assert_eq!(queue.forget(&["a".to_owned()].into()).sent, 1);
        assert_eq!(messages(&mut queue), ["b", "a"], "one that was not on its way is not there");
    }

    #[test]
    fn what_is_on_its_way_is_not_thrown_away_for_room_nor_is_the_newest() {
        let mut queue = named(&["a", "b"]);
        assert_eq!(queue.batch(usize::MAX).len(), 2);
        assert_eq!(queue.drop_oldest(), None);
        queue.push(in_parts(&["c", "cc"]));
        assert_eq!(queue.drop_oldest(), None, "the newest is what counts");
        queue.push(in_parts(&["d"]));
        assert_eq!(queue.drop_oldest(), Some(3), "a report goes whole");
        assert_eq!(queue.settle(|_| true).sent, 2);
        assert_eq!(messages(&mut queue), ["d"]);
    }

    #[test]
    fn a_report_in_parts_is_one_report_and_is_there_when_all_of_it_is() {
        let mut queue = named(&["a"]);
        queue.push(in_parts(&["b1", "b2", "b3"]));
        queue.push(in_parts(&["c1", "c2"]));
        assert_eq!(queue.batch(3).len(), 3);
        assert_eq!(queue.settle(|_| true).sent, 1, "b is not whole yet");
        assert_eq!(queue.batch(2).len(), 2);
        assert_eq!(queue.drop_oldest(), None, "a part of c is on its way");
        assert_eq!(queue.settle(|place| place == 0), Settled { sent: 1, refused: 0, bytes: 4 });
        assert_eq!(queue.batch(9).len(), 1);
        assert_eq!(queue.settle(|_| true), Settled { sent: 0, refused: 1, bytes: 2 }, "a part of c was not taken");
        // Found in another order than sent.
        queue.push(in_parts(&["d1", "d2"]));
        queue.batch(9);
        assert_eq!(queue.forget(&["d2".to_owned()].into()).sent, 0);
        queue.batch(9);
        assert_eq!(queue.settle(|_| true).sent, 1);
        assert!(queue.is_empty());
    }
}
