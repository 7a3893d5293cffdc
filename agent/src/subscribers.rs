//! Tunnels that want updates, and what happens when one of them does not keep up.
//!
//! Owns the bounded queues. A full queue costs its own tunnel updates, counted, and nobody else anything; as soon as
//! there is room that tunnel gets the count, the troubles among them and the whole picture anew.

use std::sync::Arc;

use nodewatch_protocol::{FromAgent, Update, encode};
use tokio::sync::mpsc;

/// Lines that may wait for one tunnel.
const QUEUE: usize = 256;
/// Troubles kept for a tunnel that does not keep up; of more, the number is told.
const TROUBLES: usize = 64;

/// One encoded update, shared by all tunnels.
pub(crate) type Line = Arc<Vec<u8>>;

struct Subscriber {
    queue: mpsc::Sender<Line>,
    dropped: u64,
    /// Troubles among what was dropped, and how many more there were. No picture tells of them.
    troubles: (Vec<Line>, u64),
}

#[derive(Default)]
pub(crate) struct Subscribers {
    all: Vec<Subscriber>,
}

impl Subscribers {
    /// A new tunnel, which first gets the whole picture.
    pub(crate) fn add(&mut self, picture: &[Update]) -> mpsc::Receiver<Line> {
        let (queue, lines) = mpsc::channel(QUEUE);
        let mut subscriber = Subscriber { queue, dropped: 0, troubles: (Vec::new(), 0) };
        subscriber.send_all(picture);
        self.all.push(subscriber);
        lines
    }

    /// Nobody is there.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.all.retain(|subscriber| !subscriber.queue.is_closed());
        self.all.is_empty()
    }

    /// Hands an update to every tunnel that keeps up. Never waits.
    pub(crate) fn publish(&mut self, update: &Update) {
        let Some(line) = line(update) else { return };
        let trouble = matches!(update, Update::Trouble { .. });
        self.all.retain_mut(|subscriber| {
            let there = subscriber.send(&line);
            if trouble && subscriber.dropped > 0 {
                subscriber.keep(&line);
            }
            there
        });
    }

    /// Brings tunnels that had fallen behind up to date, where they have room again.
    pub(crate) fn catch_up(&mut self, picture: impl Fn() -> Vec<Update>) {
        for subscriber in &mut self.all {
            if subscriber.dropped > 0 && subscriber.queue.capacity() == QUEUE {
                let updates = std::mem::take(&mut subscriber.dropped);
                subscriber.send_all(&[Update::Dropped { updates }]);
                subscriber.send_kept();
                subscriber.send_all(&picture());
            }
        }
    }
}

impl Subscriber {
    /// False when the tunnel is gone.
    fn send(&mut self, line: &Line) -> bool {
        // In order or not at all: a change after a missing one would be misleading.
        if self.dropped > 0 {
            self.dropped += 1;
            return !self.queue.is_closed();
        }
        match self.queue.try_send(Arc::clone(line)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped = 1;
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    fn keep(&mut self, trouble: &Line) {
        let (kept, more) = &mut self.troubles;
        if kept.len() < TROUBLES {
            kept.push(Arc::clone(trouble));
        } else {
            *more += 1;
        }
    }

    /// There is room: the queue has more of it than is kept.
    fn send_kept(&mut self) {
        let (kept, more) = std::mem::take(&mut self.troubles);
        for line in &kept {
            self.send(line);
        }
        if more > 0 {
            let message = format!("skipped {more} more messages: the laptop fell behind");
            self.send_all(&[Update::Trouble { message }]);
        }
    }

    fn send_all(&mut self, updates: &[Update]) {
        for line in updates.iter().filter_map(line) {
            self.send(&line);
        }
    }
}

fn line(update: &Update) -> Option<Line> {
    let message = FromAgent::Update(update.clone());
    match encode(&message) {
        Ok(line) => Some(Arc::new(line)),
        Err(error) => {
            let message = format!("skipped an update: {}", crate::error::chain(&error));
            encode(&FromAgent::Update(Update::Trouble { message })).ok().map(Arc::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::decode;

    use super::*;

    fn trouble(number: usize) -> Update {
        Update::Trouble { message: number.to_string() }
    }

    fn read(lines: &mut mpsc::Receiver<Line>) -> Vec<Update> {
        std::iter::from_fn(|| lines.try_recv().ok())
            .map(|line| match decode(&line).expect("a line") {
                FromAgent::Update(update) => update,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_stalled_tunnel_loses_counted_updates_and_then_gets_the_picture() {
        let mut subscribers = Subscribers::default();
        let mut stalled = subscribers.add(&[]);
        let mut quick = subscribers.add(&[]);
        for number in 0..QUEUE + 10 {
            subscribers.publish(&trouble(number));
            assert_eq!(read(&mut quick), [trouble(number)]);
        }
        let picture = || vec![trouble(1000)];
        subscribers.catch_up(picture);
        assert_eq!(read(&mut stalled).len(), QUEUE, "still full at the time");
        subscribers.catch_up(picture);
        // What nothing else tells comes all the same.
        let troubles = (QUEUE..QUEUE + 10).map(trouble);
        let told: Vec<Update> =
            [Update::Dropped { updates: 10 }].into_iter().chain(troubles).chain(picture()).collect();
        assert_eq!(read(&mut stalled), told);
        subscribers.publish(&trouble(7));
        assert_eq!(read(&mut stalled), [trouble(7)]);

        for number in 0..QUEUE + TROUBLES + 5 {
            subscribers.publish(&trouble(number));
        }
        read(&mut stalled);
        subscribers.catch_up(Vec::new);
        let told = read(&mut stalled);
        assert_eq!(told.len(), 1 + TROUBLES + 1);
        let Some(Update::Trouble { message }) = told.last() else { panic!("{told:?}") };
        assert!(message.starts_with("skipped 5 more messages"), "{message}");
    }

    #[test]
    fn a_tunnel_that_is_gone_is_forgotten() {
        let mut subscribers = Subscribers::default();
        drop(subscribers.add(&[]));
        subscribers.publish(&trouble(0));
        assert!(subscribers.all.is_empty());
    }
}
