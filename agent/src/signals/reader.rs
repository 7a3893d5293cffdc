//! What has moved since the reading before.
//!
//! Owns the counters as they were read last, one a CPU or field of a driver, and the numbers by which signals are
//! told. A part that is new, as a CPU or an interface that was plugged in, counts from its first reading on.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use nodewatch_protocol::{LONGEST_ITEM, MOST_SIGNALS, MissingSource, SignalSeries, SignalsUpdate, UnixMillis};
use nodewatch_signals::{Origin, SIGNALS, Signal, SignalId, difference, of};
use rustc_hash::FxHashMap;
use rustix::time::{ClockId, clock_gettime};

use super::{Source, SourceError, Value, Values};
use crate::error::chain;

/// A source rests this many times as long as the processor was busy with it.
const REST: u32 = 200;
/// What had no room or has gone is looked at again so often.
const EVERY: Duration = Duration::from_secs(1);

struct Watched {
    source: Box<dyn Source>,
    due: Option<Instant>,
    missing: Vec<MissingSource>,
    left_out: u64,
}

/// One counter of the kernel.
struct Part {
    id: u64,
    last: u64,
    round: u64,
}

/// One signal of the node, or of one of its interfaces.
struct Series {
    id: u32,
    signal: SignalId,
    source: usize,
    parts: Vec<Part>,
    /// Parts read in this round.
    read: usize,
    round: u64,
    /// Their sum, and what it was before.
    value: u64,
    before: u64,
    /// What was counted since the agent began, and since it was told last.
    total: u64,
    moved: u64,
    reset: bool,
    told: bool,
}

/// Reads all sources, and tells what has moved.
pub struct Reader {
    sources: Vec<Watched>,
    series: FxHashMap<(SignalId, Rc<str>), Series>,
    next_id: u32,
    round: u64,
    since: UnixMillis,
    missing: Option<Vec<MissingSource>>,
    values: Values,
}

impl Reader {
    /// One that has read nothing yet.
    pub fn new(sources: Vec<Box<dyn Source>>, since: UnixMillis) -> Self {
        let watched = |source| Watched { source, due: None, missing: Vec::new(), left_out: 0 };
        Self {
            sources: sources.into_iter().map(watched).collect(),
            series: FxHashMap::default(),
            next_id: 0,
            round: 0,
            since,
            missing: None,
            values: Values::default(),
        }
    }

    /// Reads the sources that are due. The first update is the whole picture.
    pub fn read(&mut self, now: Instant, at: UnixMillis) -> SignalsUpdate {
        self.round += 1;
        let mut update =
            SignalsUpdate { at, since: (self.round == 1).then_some(self.since), ..SignalsUpdate::default() };
        for index in 0..self.sources.len() {
            let watched = &mut self.sources[index];
            // Half a second early is no other second.
            if watched.due.is_some_and(|due| due > now + EVERY / 2) {
                continue;
            }
            let mut values = std::mem::take(&mut self.values);
            values.found.clear();
            values.missing.clear();
            let busy = busy();
            let outcome = watched.source.read(&mut values);
            let rest = busy_since(busy).saturating_mul(REST);
            watched.due = Some(now + watched.source.every().max(rest));
            self.take(index, &outcome, &values);
            self.tell(index, outcome.is_ok() || matches!(outcome, Err(SourceError::Absent)), &mut update);
            self.values = values;
        }
        update.left_out = self.sources.iter().map(|watched| watched.left_out).sum();
        let mut missing: Vec<MissingSource> = self.sources.iter().flat_map(|watched| watched.missing.clone()).collect();
        missing.sort();
        if self.missing.as_ref() != Some(&missing) {
            self.missing = Some(missing.clone());
            update.missing = Some(missing);
        }
        update
    }

    /// Compares what a source has read with what it read before.
    fn take(&mut self, index: usize, outcome: &Result<(), SourceError>, values: &Values) {
        let origin = self.sources[index].source.origin();
        let told =
            |(source, reason): &(String, String)| MissingSource { source: source.clone(), reason: reason.clone() };
        let mut missing: Vec<MissingSource> = values.missing.iter().map(told).collect();
        let mut left_out = 0;
        if let Err(error) = outcome {
            missing.push(MissingSource { source: origin.text().to_owned(), reason: chain(error) });
        } else {
            for value in &values.found {
                left_out += u64::from(!self.count(index, value));
            }
            missing.extend(self.absent(origin));
        }
        let watched = &mut self.sources[index];
        watched.missing = missing;
        watched.left_out = left_out;
    }

    /// False where there is no room for it.
    fn count(&mut self, source: usize, Value { signal, item, part, number }: &Value) -> bool {
        let round = self.round;
        let key = (*signal, Rc::clone(item));
        let full = self.series.len() >= MOST_SIGNALS || item.len() > LONGEST_ITEM;
        if full && !self.series.contains_key(&key) {
            return false;
        }
        let next_id = &mut self.next_id;
        let series = self.series.entry(key).or_insert_with(|| {
            let id = *next_id;
            *next_id = next_id.wrapping_add(1);
            Series::new(id, *signal, source)
        });
        series.count(*part, *number, round);
        true
    }

    /// Fields that this kernel does not have, of signals that every node has once.
    fn absent(&self, origin: Origin) -> Option<MissingSource> {
        let none: Rc<str> = Rc::from("");
        let there = |signal: SignalId| self.series.contains_key(&(signal, Rc::clone(&none)));
        let absent: Vec<&str> = of(origin)
            .filter(|(at, signal)| !signal.scope.has_items() && !there(*at))
            .map(|(_, signal)| signal.field)
            .collect();
        let source = format!("{}: {}", origin.text(), absent.join(", "));
        (!absent.is_empty()).then(|| MissingSource { source, reason: chain(&SourceError::Absent) })
    }

    /// What has moved of a source, what is new and what has gone.
    fn tell(&mut self, source: usize, is_known: bool, update: &mut SignalsUpdate) {
        let round = self.round;
        self.series.retain(|(_, item), series| {
            if series.source != source || !is_known {
                return true;
            }
            if series.round != round {
                if series.told {
                    update.gone.push(series.id);
                }
                return false;
            }
            let parts = series.parts.len();
            series.parts.retain(|part| part.round == round);
            series.reset |= series.parts.len() < parts;
            series.tell(item, update);
            true
        });
        update.told.sort_by_key(|series| series.id);
        update.moved.sort_unstable();
        update.gone.sort_unstable();
    }
}

impl Series {
    fn new(id: u32, signal: SignalId, source: usize) -> Self {
        Self {
            id,
            signal,
            source,
            parts: Vec::new(),
            read: 0,
            round: 0,
            value: 0,
            before: 0,
            total: 0,
            moved: 0,
            reset: false,
            told: false,
        }
    }

    fn signal(&self) -> &'static Signal {
        &SIGNALS[usize::from(self.signal)]
    }

    fn count(&mut self, part: u64, value: u64, round: u64) {
        if self.round != round {
            (self.round, self.read, self.before, self.value) = (round, 0, self.value, 0);
        }
        self.value = self.value.saturating_add(value);
        // They come in the same order each time, as long as none comes or goes.
        let expected = self.parts.get(self.read).filter(|known| known.id == part).map(|_| self.read);
        let found = expected.or_else(|| self.parts.iter().position(|known| known.id == part));
        self.read += 1;
        let Some(known) = found.and_then(|at| self.parts.get_mut(at)) else {
            self.parts.push(Part { id: part, last: value, round });
            // What it has counted before is part of the value, and nothing that has moved.
            self.reset = true;
            return;
        };
        let difference = difference(known.last, value);
        (known.last, known.round) = (value, round);
        self.reset |= difference.reset;
        self.moved = self.moved.saturating_add(difference.moved);
    }

    fn tell(&mut self, item: &str, update: &mut SignalsUpdate) {
        let counter = self.signal().is_counter();
        let moved = std::mem::take(&mut self.moved);
        let reset = std::mem::take(&mut self.reset);
        self.total = self.total.saturating_add(moved);
        // There are many interfaces, and most count nothing: they are told with the first that they do.
        let quiet = matches!(self.signal().origin, Origin::Link | Origin::Qdisc) && self.value == 0 && moved == 0;
        if !self.told && quiet {
            return;
        }
        let total = if counter { self.total } else { 0 };
        if !self.told || (counter && reset) {
            self.told = true;
            update.told.push(SignalSeries {
                id: self.id,
                name: self.signal().name.to_owned(),
                item: item.to_owned(),
                value: self.value,
                total,
            });
        } else if counter && moved > 0 {
            update.moved.push((self.id, moved));
        } else if !counter && self.value != self.before {
            update.moved.push((self.id, self.value));
        }
    }
}

/// For how long the processor was busy with this thread.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn busy_since(before: Duration) -> Duration {
    busy().saturating_sub(before)
}

#[cfg(test)]
mod tests;
