//! The picture of the session: faults as marks over the rates of its nodes, on one axis of time.
//!
//! Owns which marks there are, scales and holes. Times may be anything: clocks are set, and nodes have their own.

use std::fmt::Write;

use maud::{Markup, html as page};

use super::{
    lead::pauses,
    times::{Days, length},
};
use crate::{
    base::text::{self, line},
    model::{FileSummary, NodeSummary, RatePoint, Summary},
};

/// The picture's width, the room for names at the left, and at the right.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 168.0;
const RIGHT: f64 = 30.0;
/// The height of a row of marks, of the rates, and of the axis of time.
const ROW: f64 = 17.0;
const RATES: f64 = 150.0;
const AXIS: f64 = 20.0;
/// Rows of marks, and nodes with a line of their own.
const MOST_ROWS: usize = 12;
const MOST_LINES: usize = 5;
/// Characters of a name at the left.
const NAME: usize = 25;
/// Parts of the time in which other nodes' rates are summed.
const PARTS: usize = 200;

/// A row of marks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What it is about, on which node.
    pub what: String,
    /// Why: as people would say it.
    pub why: String,
    /// Something failed; otherwise something ran.
    pub fault: bool,
    /// The lower, the more important.
    rank: usize,
    /// From and to, in milliseconds.
    pub marks: Vec<(u64, u64)>,
}

/// Rows of marks, faults first.
pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let session = (summary.began.unwrap_or(summary.written), summary.written);
    let mut rows: Vec<Row> = summary.nodes.iter().flat_map(|node| fault_rows(node, session)).collect();
    rows.extend(summary.nodes.iter().filter(|node| !node.captures.is_empty()).map(|node| Row {
        what: format!("capture {}", node.name),
        why: "captured".to_owned(),
        fault: false,
        rank: usize::MAX,
        marks: node.captures.iter().map(|run| (run.began, run.ended.unwrap_or(summary.written))).collect(),
    }));
    rows.sort_by_key(|row| row.rank);
    rows
}

fn fault_rows(node: &NodeSummary, (began, written): (u64, u64)) -> Vec<Row> {
    let name = &node.name;
    let mut rows: Vec<Row> = node
        .flaps
        .iter()
        .map(|flap| Row {
            what: format!("{}:{} {name}", flap.port.protocol.word(), flap.port.local.port()),
            why: format!("{} closed", flap.port),
            fault: true,
            rank: 0,
            marks: flap.closings.iter().map(|&at| (at, at)).collect(),
        })
        .collect();
    let failed: Vec<(u64, u64)> =
        node.probes.iter().filter(|probe| !probe.open).map(|probe| (probe.at, probe.at)).collect();
    let lost: Vec<(u64, u64)> = node.outages.iter().map(|span| (span.from, span.until.unwrap_or(written))).collect();
    // By the node's clock, which may be anything: what lies outside the session has no place in its picture.
    let has_hole = |file: &&FileSummary| {
        let inside = (began.saturating_sub(60_000)..=written.saturating_add(60_000)).contains(&file.started);
        inside && (!file.incomplete.is_empty() || file.dropped != nodewatch_protocol::Dropped::default())
    };
    let holes: Vec<(u64, u64)> = node
        .files
        .iter()
        .filter(has_hole)
        .map(|file| (file.started, file.ended.clamp(file.started, written.max(file.started))))
        .collect();
    let others =
        [("probe", "did not answer", failed), ("loss", "in its files", holes), ("agent", "could not be reached", lost)];
    for (rank, (what, why, marks)) in (1..).zip(others) {
        if !marks.is_empty() {
            rows.push(Row { what: format!("{what} {name}"), why: why.to_owned(), fault: true, rank, marks });
        }
    }
    rows
}

/// Bits a second with a unit.
struct Scale {
    unit: &'static str,
    factor: f64,
    top: f64,
}

impl Scale {
    fn of(most: f64) -> Self {
        let (unit, factor) = match most {
            small if small < 1e3 => ("bit/s", 1.0),
            small if small < 1e6 => ("kbit/s", 1e3),
            small if small < 1e9 => ("Mbit/s", 1e6),
            _ => ("Gbit/s", 1e9),
        };
        Self { unit, factor, top: text::axis_end((most / factor).max(0.001)) }
    }
}

fn bits(point: &RatePoint) -> f64 {
    text::megabits(point.bytes, point.millis) * 1e6
}

/// The line of a node, or of several.
struct Line {
    name: String,
    points: Vec<RatePoint>,
}

/// The nodes with the most bytes by themselves, the others together.
fn lines(summary: &Summary, (from, to): (u64, u64)) -> Vec<Line> {
    let mut nodes: Vec<&NodeSummary> = summary.nodes.iter().filter(|node| !node.rates.is_empty()).collect();
    let bytes = |node: &NodeSummary| node.rates.iter().fold(0u64, |sum, point| sum.saturating_add(point.bytes));
    nodes.sort_by_key(|node| (std::cmp::Reverse(bytes(node)), &node.name));
    let others = nodes.split_off(nodes.len().min(MOST_LINES));
    let mut lines: Vec<Line> =
        nodes.iter().map(|node| Line { name: node.name.0.clone(), points: node.rates.clone() }).collect();
    if !others.is_empty() {
        let longest = others.iter().flat_map(|node| &node.rates).map(|point| point.millis).max().unwrap_or(1);
        let part = ((to - from) / PARTS as u64).max(longest).max(1);
        let mut sums = std::collections::BTreeMap::<u64, RatePoint>::new();
        for point in others.iter().flat_map(|node| &node.rates) {
            let at = from + point.at.saturating_sub(from) / part * part;
            let sum = sums.entry(at).or_insert(RatePoint { at, millis: part, packets: 0, bytes: 0 });
            sum.packets = sum.packets.saturating_add(point.packets);
            sum.bytes = sum.bytes.saturating_add(point.bytes);
        }
        let name = text::counted(others.len(), "other node");
        lines.push(Line { name, points: sums.into_values().collect() });
    }
    for line in &mut lines {
        // A clock may have been set back meanwhile.
        line.points.sort_by_key(|point| point.at);
    }
    lines
}

/// Where things lie in the picture.
struct Place {
    from: u64,
    to: u64,
    top: f64,
    scale: Scale,
}

impl Place {
    fn x(&self, at: u64) -> f64 {
        let share = at.saturating_sub(self.from) as f64 / (self.to - self.from).max(1) as f64;
        LEFT + (WIDTH - LEFT - RIGHT) * share.min(1.0)
    }

    fn y(&self, bits: f64) -> f64 {
        self.top + RATES * (1.0 - (bits / self.scale.factor / self.scale.top).min(1.0))
    }

    /// One path a stretch without a hole.
    fn paths(&self, points: &[RatePoint]) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for (index, point) in points.iter().enumerate() {
            let begins = index == 0 || points[index - 1].is_before_a_hole(point);
            if begins {
                paths.push(String::new());
            }
            let ends = points.get(index + 1).is_none_or(|next| point.is_before_a_hole(next));
            let Some(path) = paths.last_mut() else { continue };
            let y = self.y(bits(point));
            // Writing to a String does not fail.
            let _ = write!(path, "{:.1},{y:.1} ", self.x(point.at));
            if ends {
                let _ = write!(path, "{:.1},{y:.1} ", self.x(point.at.saturating_add(point.millis)));
            }
        }
        paths.iter().map(|path| path.trim_end().to_owned()).collect()
    }
}

/// The whole time: from the session's beginning, or what is before it, to its end.
fn bounds(summary: &Summary, rows: &[Row]) -> (u64, u64) {
    let rates = summary.nodes.iter().flat_map(|node| &node.rates);
    let rates = rates.flat_map(|point| [point.at, point.at.saturating_add(point.millis)]);
    let marks = rows.iter().flat_map(|row| &row.marks).flat_map(|&(from, to)| [from, to]);
    let watched = summary.began.into_iter().chain([summary.written]);
    let all: Vec<u64> = rates.chain(marks).chain(watched).collect();
    (all.iter().copied().min().unwrap_or_default(), all.iter().copied().max().unwrap_or_default())
}

/// Round moments for the axis, at most six.
fn ticks(from: u64, to: u64) -> Vec<u64> {
    const STEPS: [u64; 17] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
    let span = (to - from).max(1);
    let step = STEPS.into_iter().map(|seconds| seconds * 1000).find(|step| span / step <= 5);
    let step = step.unwrap_or_else(|| (span / 5).div_ceil(86_400_000).saturating_mul(86_400_000));
    let first = from.div_ceil(step).saturating_mul(step);
    std::iter::successors(Some(first), |at| at.checked_add(step)).take_while(|at| *at <= to).take(7).collect()
}

/// The picture; `None` when there is nothing to draw.
pub(super) fn chart(summary: &Summary, days: Days) -> Option<Markup> {
    let rows = rows(summary);
    let (from, to) = bounds(summary, &rows);
    let lines = lines(summary, (from, to));
    if rows.is_empty() && lines.is_empty() {
        return None;
    }
    let most = lines.iter().flat_map(|line| &line.points).map(bits).fold(0.0, f64::max);
    let shown = rows.len().min(MOST_ROWS);
    let top = ROW * shown as f64 + 24.0;
    let place = Place { from, to, top, scale: Scale::of(most) };
    let bottom = top + if lines.is_empty() { 0.0 } else { RATES };
    let height = bottom + AXIS;
    Some(page! {
        svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label="faults and rates over time" {
            (holes(summary, &place, bottom, days))
            @for (index, row) in rows.iter().take(MOST_ROWS).enumerate() { (row_of_marks(row, index, &place, days)) }
            @if !lines.is_empty() { (rates(&lines, &place)) }
            line x1=(LEFT) y1=(bottom) x2=(WIDTH - RIGHT) y2=(bottom) {}
            text x=(LEFT - 8.0) y=(bottom + 16.0) text-anchor="end" { "UTC" }
            @for at in ticks(from, to) {
                @let x = format!("{:.1}", place.x(at));
                line x1=(x) y1=(bottom) x2=(x) y2=(bottom + 4.0) {}
                text x=(x) y=(bottom + 16.0) text-anchor="middle" { (days.time(at)) }
            }
        }
        p.legend {
            @for (index, one) in lines.iter().enumerate() {
                span {
                    svg.key viewBox="0 0 28 8" aria-hidden="true" {
                        line class=(format!("n{index}")) x1="0" y1="4" x2="28" y2="4" {}
                    }
                    " " (line(&one.name))
                }
                " "
            }
            @if rows.len() > MOST_ROWS {
                span { "and " (text::counted(rows.len() - MOST_ROWS, "more row")) " of marks" }
            }
        }
    })
}

/// Times in which nobody was attached.
fn holes(summary: &Summary, place: &Place, bottom: f64, days: Days) -> Markup {
    page! {
        @for pause in pauses(summary) {
            @let (x, end) = (place.x(pause.from), place.x(pause.until.unwrap_or(pause.from)));
            @let (left, width) = (format!("{x:.1}"), format!("{:.1}", (end - x).max(1.0)));
            rect.hole x=(left) y="0" width=(width) height=(format!("{bottom:.1}")) {
                title { "nobody was attached " (days.span(pause)) }
            }
            @if end - x > 100.0 {
                text x=(format!("{:.1}", f64::midpoint(x, end))) y=(bottom - 6.0) text-anchor="middle" {
                    "nobody attached"
                }
            }
        }
    }
}

fn row_of_marks(row: &Row, index: usize, place: &Place, days: Days) -> Markup {
    let y = 6.0 + ROW * index as f64;
    let what = line(&row.what);
    let name: String =
        if what.chars().count() > NAME { what.chars().take(NAME - 1).chain(['…']).collect() } else { what.clone() };
    let class = if row.fault { "fault" } else { "ran" };
    let mark = |&(from, to): &(u64, u64)| {
        let x = place.x(from);
        let width = (place.x(to) - x).max(if row.fault { 2.0 } else { 1.0 });
        let title = if to > from {
            format!("{} to {} ({})", days.time(from), days.time(to), length(to - from))
        } else {
            days.time(from)
        };
        page! {
            rect class=(class) x=(format!("{x:.1}")) y=(y) width=(format!("{width:.1}")) height="10" {
                title { (title) }
            }
        }
    };
    page! {
        g {
            title { (what) ": " (line(&row.why)) }
            text x=(LEFT - 8.0) y=(y + 9.0) text-anchor="end" { (name) }
            line x1=(LEFT) y1=(y + 5.0) x2=(WIDTH - RIGHT) y2=(y + 5.0) {}
            @for one in &row.marks { (mark(one)) }
        }
    }
}

fn rates(lines: &[Line], place: &Place) -> Markup {
    let scale = &place.scale;
    page! {
        @for share in [0.0, 0.5, 1.0] {
            @let y = place.top + RATES * (1.0 - share);
            line x1=(LEFT) y1=(y) x2=(WIDTH - RIGHT) y2=(y) {}
            text x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" {
                (text::axis_label(scale.top * share)) @if share > 0.9 { " " (scale.unit) }
            }
        }
        @for (index, one) in lines.iter().enumerate() {
            @for path in place.paths(&one.points) { polyline class=(format!("n{index}")) points=(path) {} }
        }
    }
}
