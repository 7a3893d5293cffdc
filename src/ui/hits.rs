//! What lies where on the screen that was drawn last, for the mouse.
//!
//! Owns rectangles and what they stand for; drawing fills them in and changes nothing else.

use nodewatch_protocol::UnixMillis;
use ratatui::layout::{Position, Rect};

use crate::screens::{App, Input, cursor::RowKey};

/// What a place on the screen stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A row of the list.
    Row(RowKey),
    /// A tab, from the first.
    Tab(usize),
    /// A moment in the capture chart.
    Moment(UnixMillis),
}

/// The places of one frame.
#[derive(Debug, Clone, Default)]
pub struct Hits {
    places: Vec<(Rect, Target)>,
    /// The chart, and from when to when it goes.
    chart: Option<(Rect, UnixMillis, UnixMillis)>,
    /// The row that is shown under the cursor.
    pub cursor: Option<RowKey>,
    /// The first line that is shown of a dialog whose text scrolls.
    pub first_line: Option<usize>,
}

impl Hits {
    /// Those of a frame with a dialog.
    pub(super) fn of_dialog(first_line: Option<usize>) -> Self {
        Self { first_line, ..Self::default() }
    }

    /// Rows from the top of an area on.
    pub(super) fn rows(&mut self, area: Rect, rows: impl Iterator<Item = RowKey>) {
        for (line, row) in rows.take(usize::from(area.height)).enumerate() {
            let place = Rect { y: area.y + line as u16, height: 1, ..area };
            self.places.push((place, Target::Row(row)));
        }
    }

    /// A row that has lines of its own.
    pub(super) fn row(&mut self, place: Rect, row: RowKey) {
        self.places.push((place, Target::Row(row)));
    }

    pub(super) fn tab(&mut self, line: Rect, from: usize, width: usize, index: usize) {
        let place = Rect { x: line.x + from as u16, width: width as u16, ..line };
        self.places.push((place.intersection(line), Target::Tab(index)));
    }

    pub(super) fn chart(&mut self, area: Rect, from: UnixMillis, to: UnixMillis) {
        self.chart = Some((area, from, to));
    }

    /// What the app does not know of what it shows: how far a text can be scrolled, its drawing says.
    pub fn news(&self, app: &App) -> Option<Input> {
        self.first_line.filter(|first| *first != app.picture().scroll).map(Input::Sees)
    }

    /// What is there.
    pub fn at(&self, column: u16, row: u16) -> Option<Target> {
        let here = Position { x: column, y: row };
        if let Some((area, from, to)) = self.chart.filter(|(area, ..)| area.contains(here)) {
            let across = u64::from(column - area.x) * (to - from) / u64::from(area.width.max(2) - 1);
            return Some(Target::Moment(from + across));
        }
        self.places.iter().find(|(place, _)| place.contains(here)).map(|(_, target)| target.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screens::cursor::RowId;

    #[test]
    fn a_place_is_found_and_a_chart_has_its_ends() {
        let mut hits = Hits::default();
        let area = Rect { x: 2, y: 3, width: 20, height: 2 };
        let row = |at: usize| RowKey::NodeRow(RowId::File(at.to_string()));
        hits.rows(area, (7..12).map(row));
        hits.tab(Rect { x: 0, y: 0, width: 10, height: 1 }, 8, 6, 1);
        hits.chart(Rect { x: 30, y: 3, width: 11, height: 4 }, 1_000, 11_000);
        assert_eq!((hits.at(2, 4), hits.at(21, 3)), (Some(Target::Row(row(8))), Some(Target::Row(row(7)))));
        assert_eq!((hits.at(2, 5), hits.at(22, 3)), (None, None), "only rows that are shown");
        assert_eq!((hits.at(9, 0), hits.at(10, 0)), (Some(Target::Tab(1)), None), "a tab ends with its line");
        assert_eq!((hits.at(30, 3), hits.at(40, 6)), (Some(Target::Moment(1_000)), Some(Target::Moment(11_000))));
    }
}
