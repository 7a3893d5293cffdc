//! What lies where on the screen that was drawn last, for the mouse.
//!
//! Owns rectangles and what they stand for; drawing fills them in and changes nothing else.

use nodewatch_protocol::UnixMillis;
use ratatui::layout::{Position, Rect};

/// What a place on the screen stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A row of the list, from its first.
    Row(usize),
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
}

impl Hits {
    /// Rows from the top of an area on, the first of them with that index.
    pub(super) fn rows(&mut self, area: Rect, first: usize, count: usize) {
        for (line, index) in (first..first + count).take(usize::from(area.height)).enumerate() {
            let place = Rect { y: area.y + line as u16, height: 1, ..area };
            self.places.push((place, Target::Row(index)));
        }
    }

    pub(super) fn tab(&mut self, line: Rect, from: usize, width: usize, index: usize) {
        let place = Rect { x: line.x + from as u16, width: width as u16, ..line };
        self.places.push((place.intersection(line), Target::Tab(index)));
    }

    pub(super) fn chart(&mut self, area: Rect, from: UnixMillis, to: UnixMillis) {
        self.chart = Some((area, from, to));
    }

    /// What is there.
    pub fn at(&self, column: u16, row: u16) -> Option<Target> {
        let here = Position { x: column, y: row };
        if let Some((area, from, to)) = self.chart.filter(|(area, ..)| area.contains(here)) {
            let across = u64::from(column - area.x) * (to - from) / u64::from(area.width.max(2) - 1);
            return Some(Target::Moment(from + across));
        }
        self.places.iter().find(|(place, _)| place.contains(here)).map(|(_, target)| *target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_and_a_chart_has_its_ends() {
        let mut hits = Hits::default();
        let area = Rect { x: 2, y: 3, width: 20, height: 2 };
        hits.rows(area, 7, 5);
        hits.tab(Rect { x: 0, y: 0, width: 10, height: 1 }, 8, 6, 1);
        hits.chart(Rect { x: 30, y: 3, width: 11, height: 4 }, 1_000, 11_000);
        assert_eq!((hits.at(2, 4), hits.at(21, 3)), (Some(Target::Row(8)), Some(Target::Row(7))));
        assert_eq!((hits.at(2, 5), hits.at(22, 3)), (None, None), "only rows that are shown");
        assert_eq!((hits.at(9, 0), hits.at(10, 0)), (Some(Target::Tab(1)), None), "a tab ends with its line");
        assert_eq!((hits.at(30, 3), hits.at(40, 6)), (Some(Target::Moment(1_000)), Some(Target::Moment(11_000))));
    }
}
