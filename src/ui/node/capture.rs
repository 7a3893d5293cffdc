//! A node's capture: counts, a rolling chart, protocol mix and packet sizes.

use nodewatch_protocol::{CaptureAbility, CaptureState, InterfaceState, SIZE_BUCKETS, Statistics};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType, Paragraph},
};

use crate::ui::{
    Hits, Theme,
    widgets::{bar, fact, fit, fit_right, long_fact, wrapped},
};
use crate::{
    base::text::{axis_end, bit_rate, bits_per_second, bytes, count, lasting, time_of_day, visible},
    screens::{Action, App},
    session::{
        Permission,
        node::{HISTORY, NodeState, Sample, reason_text},
    },
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    let Some(statistics) = &state.counts.latest else {
        frame.render_widget(wrapped(&idle_text(app, state, theme)).style(theme.dim), area);
        return;
    };
    let [left, right] = Layout::horizontal([Constraint::Max(44), Constraint::Min(0)]).areas(area);
    let mut lines = facts(state, statistics, usize::from(left.width), theme);
    let roomy = usize::from(area.height) >= lines.len() + 8;
    if roomy {
        lines.push(Line::default());
        lines.extend(mix(statistics, theme));
    }
    frame.render_widget(Paragraph::new(lines), left);
    if right.width < 24 {
        return;
    }
    let sizes = if area.height >= 16 { SIZE_BUCKETS.len() as u16 + 2 } else { 0 };
    let [chart_area, sizes_area] = Layout::vertical([Constraint::Min(0), Constraint::Length(sizes)]).areas(right);
    chart(frame, chart_area, app, state, theme, hits);
    frame.render_widget(Paragraph::new(size_lines(statistics, sizes_area.width, theme)), sizes_area);
}

fn idle_text(app: &App, state: &NodeState, theme: &Theme) -> String {
    let ability = state.facts.as_ref().map(|facts| &facts.capture);
    if let Some(CaptureAbility::Missing { right, next_step }) = ability {
        return format!(" capture is not possible: the agent lacks {}\n {}", visible(right), visible(next_step));
    }
    if let Some(waits) = state.waits_for() {
        return format!(" {}", theme.keys.fill(waits));
    }
    match &state.capture {
        CaptureState::Running { .. } => " waiting for the first statistics".to_owned(),
        CaptureState::Stopped { reason, .. } => format!(" capture ended: {}", visible(&reason_text(reason))),
        CaptureState::Idle if app.session.permission == Permission::ReadOnly => " no capture yet".to_owned(),
        CaptureState::Idle => theme.keys.fill(" no capture yet: {capture} starts one, {capture-options} with options"),
    }
}

fn facts(state: &NodeState, statistics: &Statistics, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    match &state.capture {
        CaptureState::Running { interfaces, spec, .. } => {
            lines.push(fact(" on", visible(&interfaces.join(", ")), theme.plain, theme));
            let filter = spec.filter.as_deref().map_or_else(|| "every packet".to_owned(), visible);
            // A filter that is cut is another filter.
            lines.extend(long_fact(" filter", &filter, width, theme));
        }
        CaptureState::Stopped { reason, .. } => {
            lines.push(fact(" ended", visible(&reason_text(reason)), theme.plain, theme));
        }
        CaptureState::Idle => {}
    }
    if let CaptureState::Running { spec, .. } = &state.capture {
        let kept = match spec.recorder {
            Some(recorder) => {
                let key = theme.keys.key_for(Action::Freeze);
                format!("{}, last {}, {key} saves", spec.content.word(), lasting(recorder.seconds.get() * 1000))
            }
            None => spec.content.word().to_owned(),
        };
        lines.push(fact(" content", kept, theme.plain, theme));
    }
    let rates = state.rates();
    lines.push(fact(" time", lasting(statistics.elapsed), theme.plain, theme));
    lines.push(fact(
        " packets",
        format!("{}  ({}/s)", count(statistics.packets), count(rates.packets)),
        theme.plain,
        theme,
    ));
    let rate = bit_rate(rates.bytes, 1000);
    lines.push(fact(" bytes", format!("{}  ({rate} bit/s)", bytes(statistics.bytes)), theme.plain, theme));
    let dropped = statistics.dropped;
    for (name, number) in
        [(" drop kernel", dropped.kernel), (" drop iface", dropped.interface), (" drop queue", dropped.queue)]
    {
        lines.push(fact(name, number.to_string(), if number > 0 { theme.bad } else { theme.good }, theme));
    }
    for one in &statistics.interfaces {
        let now = match one.state {
            InterfaceState::Reading if one.gap_millis < 1000 => continue,
            InterfaceState::Reading => "resumed",
            InterfaceState::Down => "down",
            InterfaceState::Gone => "missing",
            InterfaceState::LeftOut => "unreadable",
        };
        let text = format!("{} {now}, missed {}", visible(&one.name), lasting(one.gap_millis));
        lines.push(fact(" gap", text, theme.bad, theme));
    }
    if statistics.left_out.packets > 0 {
        lines.push(fact(" own skipped", count(statistics.left_out.packets), theme.dim, theme));
    }
    lines.extend(state.ring.as_ref().map(|ring| {
        let used = format!("{} of {}", bytes(ring.used), bytes(ring.limit));
        fact(" ring", used, theme.plain, theme)
    }));
    if let Some(discarded) = Some(state.discarded()).filter(|lost| lost.files > 0) {
        let text = format!("{} files, {} packets", discarded.files, count(discarded.packets));
        lines.push(fact(" discarded", text, theme.bad, theme));
    }
    lines.extend(state.delivery_trouble().map(|text| Line::styled(format!(" {}", visible(&text)), theme.bad)));
    lines
}

fn mix(statistics: &Statistics, theme: &Theme) -> Vec<Line<'static>> {
    let share = |mix: &nodewatch_protocol::Mix| {
        let percent = (mix.share.bytes as f64 * 100.0 / statistics.bytes.max(1) as f64).min(100.0);
        let bar = bar(mix.share.bytes, statistics.bytes, 12, theme);
        let mut line = fact(&format!(" {}", visible(&mix.protocol)), bar, theme.accent, theme);
        line.push_span(format!(" {percent:5.1}%  {}", count(mix.share.packets)));
        line
    };
    statistics.mix.iter().map(share).collect()
}

fn size_lines(statistics: &Statistics, width: u16, theme: &Theme) -> Vec<Line<'static>> {
    // Label, number and the spaces around them come first.
    let room = usize::from(width).saturating_sub(10 + 6 + 3).min(40);
    let most = statistics.sizes.iter().copied().max().unwrap_or(0);
    let mut lines = vec![Line::styled(" packet sizes in bytes", theme.dim)];
    for (index, &number) in statistics.sizes.iter().enumerate() {
        let label = match (index, SIZE_BUCKETS.get(index)) {
            (0, Some(bound)) => format!("to {bound}"),
            (_, Some(bound)) => format!("{}-{bound}", SIZE_BUCKETS[index - 1] + 1),
            (_, None) => format!("over {}", SIZE_BUCKETS[SIZE_BUCKETS.len() - 1]),
        };
        lines.push(Line::from(vec![
            Span::raw(format!(" {} ", fit_right(&label, 10))),
            Span::styled(bar(number, most, room, theme), theme.accent),
            Span::raw(format!(" {}", count(number))),
        ]));
    }
    lines
}

/// What part of the time the chart shows, in whole seconds back from the latest sample: below zero is still to come.
struct Shown {
    from: i64,
    to: i64,
    /// When the latest sample was taken.
    end: u64,
    picked: bool,
}

impl Shown {
    /// The window grows with the capture up to the whole history. It moves once in a while and by as much: columns that are
    /// drawn stay where they are, so that a second costs a column and not the whole chart again.
    fn of(app: &App, state: &NodeState) -> Self {
        let seconds = state.counts.rates.len();
        let span = seconds.next_multiple_of(STEPS as usize).clamp(60, HISTORY) as i64;
        let elapsed = state.counts.latest.as_ref().map_or(0, |statistics| statistics.elapsed);
        let end = if state.counts.began == 0 { app.session.now } else { state.counts.began + elapsed };
        if let Some((from, to)) = app.layout.window {
            let back = |at: u64| end.saturating_sub(at).div_ceil(1000).min(span as u64) as i64;
            return Self { from: back(from).max(back(to) + 1), to: back(to), end, picked: true };
        }
        let step = span / STEPS;
        let at = (elapsed + 500) / 1000;
        let to_come = (step - at as i64 % step) % step;
        Self { from: span - to_come, to: -to_come, end, picked: false }
    }

    /// The time so many seconds before the latest sample.
    fn at(&self, back: i64) -> u64 {
        self.end.saturating_add_signed(back.saturating_mul(-1000))
    }
}

/// So often the chart moves while its whole window goes by.
const STEPS: i64 = 12;
/// Columns of the numbers beside the chart: the first time of day ends below the axis, and moves it where they are fewer.
const LABEL: usize = 7;
/// Columns of three times of day with a blank between them.
const THREE_TIMES: u16 = 26;

fn chart(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme, hits: &mut Hits) {
    if area.height < 4 {
        return;
    }
    let shown = Shown::of(app, state);
    let latest = state.counts.rates.len() as i64 - 1;
    let samples: Vec<(i64, &Sample)> = state
        .counts
        .rates
        .iter()
        .enumerate()
        .map(|(index, sample)| (latest - index as i64, sample))
        .filter(|(back, _)| (shown.to..=shown.from).contains(back))
        .collect();
    let [title_area, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let rate = |sample: &Sample| bits_per_second(sample.bytes, 1000);
    let mean = samples.iter().map(|(_, sample)| rate(sample)).sum::<u64>() / samples.len().max(1) as u64;
    let highest = samples.iter().map(|(_, sample)| rate(sample)).max().unwrap_or(0);
    let packets = samples.iter().map(|(_, sample)| sample.packets).sum::<u64>() / samples.len().max(1) as u64;
    let title = format!(" mean {} max {} bit/s {} pps", count(mean), count(highest), count(packets));
    let title = if shown.picked { format!("{title}, selected") } else { title };
    let title = fit(&title, usize::from(title_area.width));
    frame.render_widget(Line::styled(title, if shown.picked { theme.accent } else { theme.dim }), title_area);
    let mut points: Vec<(f64, f64)> =
        samples.iter().map(|(back, sample)| (-(*back as f64), rate(sample) as f64)).collect();
    // An area lies between two points.
    points.extend(if points.len() == 1 { points.first().copied() } else { None });
    let top = axis_end(highest.max(100) as f64);
    let marker = if theme.symbols.unicode { Marker::Braille } else { Marker::Custom('#') };
    let data = Dataset::default().marker(marker).graph_type(GraphType::Area).style(theme.accent).data(&points);
    let label = |value: f64| fit_right(&count(value as u64), LABEL);
    // Right of the labels and the axis, above the line of times.
    let graph = Rect {
        x: area.x + (LABEL as u16 + 1).min(area.width),
        width: area.width.saturating_sub(LABEL as u16 + 1),
        height: area.height.saturating_sub(2),
        ..area
    };
    let mut times = vec![shown.from, i64::midpoint(shown.from, shown.to), shown.to];
    if graph.width < THREE_TIMES {
        times.remove(1);
    }
    let times = times.into_iter().map(|back| time_of_day(app.session.wall(shown.at(back))));
    let x = Axis::default().bounds([-(shown.from as f64), -(shown.to as f64)]).labels(times).style(theme.dim);
    let y = Axis::default()
        .title("bit/s")
        .bounds([0.0, top])
        .labels([label(0.0), label(top / 2.0), label(top)])
        .style(theme.dim);
    frame.render_widget(Chart::new(vec![data]).x_axis(x).y_axis(y), area);
    hits.chart(graph, shown.at(shown.from), shown.at(shown.to));
}
