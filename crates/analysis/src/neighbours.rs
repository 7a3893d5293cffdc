//! Questions for hardware addresses that nobody answers.
//!
//! Owns how often somebody has asked for an address. A host asks three times, a second apart.

use crate::{detail::Neighbour, table::Table};

/// Asked so often, it is not answered.
const TIMES: u8 = 3;
/// So long after the first time, at least.
const OVER: i64 = 1_500_000_000;
/// Later it is another question; who goes on asking is said again after as long.
const FORGOTTEN: i64 = 10_000_000_000;

/// Who asks for whom, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    asker: u128,
    address: u128,
    interface: u16,
}

#[derive(Debug)]
struct Asked {
    times: u8,
    first: i64,
    last: i64,
    /// When it was said last that nobody answers.
    said: Option<i64>,
}

/// All that were asked for.
pub(crate) struct Neighbours(Table<Key, Asked>);

impl Neighbours {
    pub(crate) fn new(most: usize, seed: usize) -> Self {
        Self(Table::new(most, seed))
    }

    /// A question or answer; true where it shows that nobody answers.
    pub(crate) fn take(&mut self, interface: u16, neighbour: &Neighbour, at: i64) -> bool {
        let key = Key { asker: neighbour.asker, address: neighbour.address, interface };
        let known = self.0.find(&key).and_then(|place| self.0.get_mut(place));
        match (neighbour.asks, known) {
            (false, None) => false,
            (false, Some((_, asked))) => {
                (asked.times, asked.said) = (0, None);
                false
            }
            (true, None) => {
                self.0.insert(key, Asked { times: 1, first: at, last: at, said: None }, |asked| asked.last);
                false
            }
            (true, Some((_, asked))) => {
                if asked.times == 0 || at.saturating_sub(asked.last) > FORGOTTEN {
                    (asked.times, asked.first, asked.said) = (0, at, None);
                }
                asked.last = at;
                asked.times = asked.times.saturating_add(1);
                let is_news = asked.said.is_none_or(|said| at.abs_diff(said) >= FORGOTTEN.unsigned_abs());
                let nobody = asked.times >= TIMES && at.saturating_sub(asked.first) >= OVER && is_news;
                if nobody {
                    asked.said = Some(at);
                }
                nobody
            }
        }
    }
}
