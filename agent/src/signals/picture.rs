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
