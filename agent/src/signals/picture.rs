//! The signals as they were told last, for tunnels that begin later.
//!
//! Owns the whole picture, made of the updates.

use std::collections::BTreeMap;

use nodewatch_protocol::{MissingSource, SignalSeries, SignalsUpdate, Update};
use nodewatch_signals::find;

/// What has been told so far.
#[derive(Debug, Default)]
pub struct Picture {
    last: SignalsUpdate,
    series: BTreeMap<u32, (SignalSeries, bool)>,
    missing: Vec<MissingSource>,
}

impl Picture {
    /// Takes in what has moved.
    pub fn take(&mut self, update: &SignalsUpdate) {
        if update.since.is_some() {
            self.series.clear();
        }
        for series in &update.told {
            let counter = find(&series.name).is_some_and(|(_, signal)| signal.is_counter());
            self.series.insert(series.id, (series.clone(), counter));
        }
        for (id, moved) in &update.moved {
            match self.series.get_mut(id) {
                Some((series, true)) => {
                    series.value = series.value.saturating_add(*moved);
                    series.total = series.total.saturating_add(*moved);
                }
                Some((series, false)) => series.value = *moved,
                None => {}
            }
        }
        for id in &update.gone {
            self.series.remove(id);
        }
        if let Some(missing) = &update.missing {
            self.missing.clone_from(missing);
        }
        let since = update.since.or(self.last.since);
        self.last = SignalsUpdate { at: update.at, since, left_out: update.left_out, ..SignalsUpdate::default() };
    }

    /// Names of counters, and what each has risen by since the first reading.
    pub fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.series.values().filter(|(_, counter)| *counter).map(|(series, _)| (series.name.as_str(), series.total))
    }

    /// Every signal: its name, what it is about, and how high it is; of a counter, since the first reading.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.series.values().map(value)
    }

    /// The same of that number.
    pub fn value(&self, id: u32) -> Option<(&str, &str, u64)> {
        self.series.get(&id).map(value)
    }

    /// All of it; nothing before the first reading.
    pub fn whole(&self) -> Option<Update> {
        self.last.since?;
        Some(Update::Signals(SignalsUpdate {
            told: self.series.values().map(|(series, _)| series.clone()).collect(),
            missing: Some(self.missing.clone()),
            ..self.last.clone()
        }))
    }
}

fn value((series, counter): &(SignalSeries, bool)) -> (&str, &str, u64) {
    (&series.name, &series.item, if *counter { series.total } else { series.value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(id: u32, name: &str, value: u64, total: u64) -> SignalSeries {
        SignalSeries { id, name: name.into(), item: String::new(), value, total }
    }

    #[test]
    fn a_tunnel_that_comes_later_is_told_where_everything_stands() {
        let mut picture = Picture::default();
        assert_eq!(picture.whole(), None, "nothing was read yet");
        let told = vec![series(0, "tcp.listen_overflows", 7, 0), series(1, "tcp.established", 20, 0)];
        let missing = Some(vec![MissingSource { source: "/proc/pressure".into(), reason: "none".into() }]);
        picture.take(&SignalsUpdate {
            at: 1,
            since: Some(1),
            told,
            missing: missing.clone(),
            ..SignalsUpdate::default()
        });
        picture.take(&SignalsUpdate { at: 2, moved: vec![(0, 3), (1, 18), (9, 1)], ..SignalsUpdate::default() });
        let late = vec![series(2, "udp.no_ports", 1, 1)];
        picture.take(&SignalsUpdate { at: 3, told: late, gone: vec![1], left_out: 2, ..SignalsUpdate::default() });
        let told = vec![series(0, "tcp.listen_overflows", 10, 3), series(2, "udp.no_ports", 1, 1)];
        let whole = SignalsUpdate { at: 3, since: Some(1), told, missing, left_out: 2, ..SignalsUpdate::default() };
        assert_eq!(picture.whole(), Some(Update::Signals(whole)));
    }
}
