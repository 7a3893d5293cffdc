//! A pair of ends: what was seen between them, what that means, and packets that show it.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::closes;
use crate::{
    base::text::{bytes, lasting, time_of_day, visible},
    packets,
    screens::{
        App,
        connections::{ConnectionView, rate, target},
    },
    session::node::watch::{PairState, Took},
    ui::{
        Theme,
        connections::{from, interface, millis, share_text, to},
        widgets::{dialog, fact, fit, fit_right, long_fact, scrolled, wrapped_lines},
    },
};

/// Columns of a symptom's name and of a number.
const SYMPTOM: usize = 25;
const NUMBER: usize = 9;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, view: &ConnectionView, theme: &Theme) -> usize {
    let size = (area.width.saturating_sub(4), area.height.saturating_sub(4));
    let inside = dialog(frame, area, size, &closes("connection", theme), theme);
    let width = usize::from(inside.width);
    let lines = match app.pair(&view.node, &view.key) {
        Some(pair) => facts(app, view, pair, width, theme),
        None => vec![Line::styled(" not remembered any more: it was not seen for long", theme.dim)],
    };
    scrolled(frame, inside, lines, app.scroll)
}

fn facts(app: &App, view: &ConnectionView, pair: &PairState, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let (key, now) = (&view.key, app.session.now);
    let named = |name: String, address: String| if name == address { name } else { format!("{name} ({address})") };
    let mut lines = long_fact(" from", &named(from(app, key), key.source.to_string()), width, theme);
    lines.extend(long_fact(" to", &named(to(app, key), target(key)), width, theme));
    lines.extend(long_fact(" seen by", &format!("{}, {}", visible(&view.node.0), interface(key)), width, theme));
    let (first, last) = (app.session.wall(pair.first), app.session.wall(pair.last));
    let age = lasting(now.saturating_sub(pair.last));
    let times = format!("{} to {} UTC, {age} ago", time_of_day(first), time_of_day(last));
    lines.extend(long_fact(" seen", &times, width, theme));
    lines.push(Line::default());
    let (recent, all) = (pair.recent(now), &pair.all);
    let rate = rate(pair, &recent, now);
    let style = if all.failed > 0 { theme.bad } else { theme.plain };
    let minute = |amount: u32| format!("{amount} in the last minute");
    let attempts =
        format!("{}, {} answered; {}.{:02} a second lately", all.attempts, all.answered, rate / 100, rate % 100);
    lines.extend(long_fact(" attempts", &attempts, width, theme));
    lines.push(fact(" failed", format!("{}, {}", all.failed, minute(recent.failed)), style, theme));
    lines.push(fact(" delayed", format!("{}, {}", all.delayed, minute(recent.delayed)), theme.plain, theme));
    let share = recent.retransmitted_share().map_or_else(|| "-".to_owned(), |share| format!("{} %", share_text(share)));
    let again = format!("{} of {} segments; {share} in the last minute", all.retransmitted, all.segments);
    lines.extend(long_fact(" sent again", &again, width, theme));
    if all.lookups > 0 {
        lines.push(fact(" lookups", all.lookups.to_string(), theme.plain, theme));
    }
    lines.push(fact(" size", format!("{} in {} packets", bytes(all.bytes), all.packets), theme.plain, theme));
    let took = |took: Option<Took>| {
        took.map(|it| format!("half within {} ms, 99 % within {} ms, of {}", millis(it.p50), millis(it.p99), it.count))
    };
    let more = [
        (" answered in", took(pair.answers)),
        (" round trip", took(pair.round_trips)),
        (" stalled", stalled(pair)),
        (" idle", (pair.idle_millis > 0).then(|| format!("{} at most before a failure", lasting(pair.idle_millis)))),
        (" path MTU", pair.mtu.map(|mtu| format!("{mtu} bytes, as an ICMP error says"))),
        (" ICMP from", pair.told_by.map(|by| by.to_string())),
        (" RST's TTL", pair.hops_left.map(|hops| hops.to_string())),
    ];
    for (name, text) in more {
        lines.extend(text.iter().flat_map(|text| long_fact(name, text, width, theme)));
    }
    lines.push(Line::default());
    lines.extend(symptoms(pair, width, theme));
    lines.push(Line::default());
    lines.extend(samples(pair, width, theme));
    lines
}

fn stalled(pair: &PairState) -> Option<String> {
    let [there, back] = pair.stalled_millis;
    (there > 0 || back > 0).then(|| format!("{} there, {} back: windows were closed", lasting(there), lasting(back)))
}

fn symptoms(pair: &PairState, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    if pair.symptoms.is_empty() {
        return vec![Line::styled(" no symptoms", theme.dim)];
    }
    let number = |text: &str| fit_right(text, NUMBER);
    let head = format!(" {} {} {}  MEANS", fit("SYMPTOM", SYMPTOM), number("THERE"), number("BACK"));
    let mut lines = vec![Line::styled(head, theme.dim)];
    for (symptom, [there, back]) in &pair.symptoms {
        let style = if symptom.is_failure() { theme.bad } else { theme.plain };
        let counts =
            format!(" {} {} {}", fit(symptom.name(), SYMPTOM), number(&there.to_string()), number(&back.to_string()));
        let room = width.saturating_sub(counts.len() + 2);
        lines.push(Line::from(vec![
            Span::styled(counts, style),
            Span::styled(format!("  {}", fit(symptom.meaning(), room)), theme.dim),
        ]));
    }
    lines
}

fn samples(pair: &PairState, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    if pair.samples.is_empty() {
        return vec![Line::styled(" no sample packets", theme.dim)];
    }
    let mut lines = vec![Line::styled(" SAMPLE PACKETS, by the node's clock", theme.dim)];
    let mut samples: Vec<_> = pair.samples.iter().collect();
    samples.sort_by_key(|sample| (sample.symptom, sample.nanos));
    for sample in samples {
        let packet = packets::line(sample.link_type, &sample.headers, sample.length);
        let text = format!("{} {}: {packet}", packets::time_of_day(sample.nanos), sample.symptom.name());
        let style: Style = if sample.symptom.is_failure() { theme.bad } else { theme.plain };
        lines.extend(wrapped_lines(&text, 1, width, style));
    }
    lines
}
