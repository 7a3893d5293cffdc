//! What waits to be sent to one log stream: in order, bounded, in batches that CloudWatch Logs takes.
//!
//! Owns the limits of `PutLogEvents`, as its API reference has them. Pure.

use std::collections::{HashSet, VecDeque};

use nodewatch_protocol::UnixMillis;

use crate::event::Event;

/// Events in one batch.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// Bytes of a batch's messages, with [`OVERHEAD`] for each.
pub const MAX_BATCH_BYTES: usize = 1_048_576;
/// A message's bytes: 256 KiB with its overhead, which every region has taken from the beginning.
pub const MAX_EVENT_BYTES: usize = 262_144 - OVERHEAD;
/// What each event counts for beside its message.
const OVERHEAD: usize = 26;
/// The time between a batch's first and last event, in milliseconds: a day, less a second.
const MAX_SPAN: u64 = 86_399_000;

/// Events for one log stream, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    events: VecDeque<Event>,
    last: UnixMillis,
    /// So many of the first were sent, and may be there.
    in_flight: usize,
}

impl Queue {
    /// Adds an event. A clock that was set back does not bring the order of events out.
    pub fn push(&mut self, event: Event) {
        self.last = self.last.max(event.at);
        self.events.push_back(Event { at: self.last, ..event });
    }

    /// Takes the oldest event out that is not on its way.
    pub fn drop_oldest(&mut self) -> Option<Event> {
        self.events.remove(self.in_flight)
    }

    /// How many are waiting.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The first events that go together. They stay in the queue until [`Queue::sent`] or [`Queue::forget`].
    pub fn batch(&mut self) -> Vec<Event> {
        let Some(first) = self.events.front() else { return Vec::new() };
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.message.len() + OVERHEAD;
            bytes <= MAX_BATCH_BYTES && event.at - first.at <= MAX_SPAN
        };
        let batch: Vec<Event> = self.events.iter().take(MAX_BATCH_EVENTS).take_while(fits).cloned().collect();
        self.in_flight = batch.len();
        batch
    }

    /// What was on its way is there.
    pub fn sent(&mut self) {
        self.events.drain(..self.in_flight);
        self.in_flight = 0;
    }

    /// Of what was on its way only these messages are there; the rest is to be sent again. Returns how many these were.
    pub fn forget(&mut self, there: &HashSet<String>) -> usize {
        let before = self.events.len();
        let mut index = 0;
        let in_flight = std::mem::take(&mut self.in_flight);
        self.events.retain(|event| {
            index += 1;
            index > in_flight || !there.contains(&event.message)
        });
        before - self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(at: UnixMillis, length: usize) -> Event {
        Event { at, message: "x".repeat(length) }
    }

    proptest! {
        #[test]
        fn batches_keep_every_limit_and_nothing_is_lost_or_out_of_order(
            events in proptest::collection::vec((0_u64..200_000_000, 1_usize..60_000), 1..80)
        ) {
            let mut queue = Queue::default();
            for (at, length) in &events {
                queue.push(event(*at, *length));
            }
            let mut seen = Vec::new();
            while !queue.is_empty() {
                let batch = queue.batch();
                prop_assert!(!batch.is_empty() && batch.len() <= MAX_BATCH_EVENTS);
                let bytes: usize = batch.iter().map(|event| event.message.len() + 26).sum();
                prop_assert!(bytes <= MAX_BATCH_BYTES);
                prop_assert!(batch.last().map(|event| event.at) <= batch.first().map(|event| event.at + 86_400_000));
                queue.sent();
                seen.extend(batch);
            }
            prop_assert!(seen.is_sorted_by_key(|event| event.at));
            let lengths: Vec<usize> = seen.iter().map(|event| event.message.len()).collect();
            prop_assert_eq!(lengths, events.iter().map(|(_, length)| *length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ten_thousand_small_events_go_in_one_batch_and_the_next_in_another() {
        let mut queue = Queue::default();
        (0..10_001).for_each(|at| queue.push(event(at, 1)));
        assert_eq!(queue.batch().len(), 10_000);
        queue.sent();
        assert_eq!(queue.batch().len(), 1);
    }

    fn named(messages: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for message in messages {
            queue.push(Event { at: 1, message: (*message).to_owned() });
        }
        queue
    }

    fn messages(queue: &mut Queue) -> Vec<String> {
        queue.batch().into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn only_what_is_there_is_forgotten() {
        let mut queue = named(&["a", "b"]);
        assert_eq!(queue.batch().len(), 2);
        queue.push(Event { at: 1, message: "a".to_owned() });
        assert_eq!(queue.forget(&["a".to_owned()].into()), 1);
        assert_eq!(messages(&mut queue), ["b", "a"], "one that was not on its way is not there");
    }

    #[test]
    fn what_is_on_its_way_is_not_thrown_away_for_room() {
        let mut queue = named(&["a", "b"]);
        assert_eq!(queue.batch().len(), 2);
        assert_eq!(queue.drop_oldest(), None);
        queue.push(Event { at: 1, message: "c".to_owned() });
        assert_eq!(queue.drop_oldest().map(|event| event.message), Some("c".to_owned()));
        queue.sent();
        assert!(queue.is_empty());
    }
}
