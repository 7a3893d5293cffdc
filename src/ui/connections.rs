//! The Connections screen: a row a pair of ends on a node.
//!
//! Only the rows that fit are made: there may be thousands.

use std::net::IpAddr;

use nodewatch_protocol::{Service, Symptom, Tunnel};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, first_shown, fit, fit_middle, fit_right, short_name, wrapped_lines},
};
use crate::{
    base::text::{count, counted, lasting, time_of_day, visible},
    model::{NodeName, Place},
    screens::{
        App,
        connections::{Connections, Looked, rate},
        cursor::RowKey,
    },
    session::node::watch::{PairKey, PairState, Recent, Took, Unseen, WINDOW},
};

/// Rows below the list for the pair under the cursor, and from how many rows on they are there.
const FACTS: u16 = 5;
const ROOM_FOR_FACTS: u16 = 14;
/// Columns of numbers.
const RATE: usize = 6;
const FAILED: usize = 6;
const DELAYED: usize = 7;
const SHARE: usize = 5;
const TOOK: usize = 11;
const P99: usize = 6;
const AGE: usize = 4;
/// From these widths on there is room for more of them.
const ROOM_FOR_MORE: usize = 110;
const ROOM_FOR_ALL: usize = 150;

/// How wide each column is; one without width is not there.
pub(super) struct Columns {
    node: usize,
    from: usize,
    to: usize,
    interface: usize,
    more: bool,
    all: bool,
}

impl Columns {
    /// In that width, with the nodes' names or, where all are of one node, without.
    pub(super) fn of(width: usize, nodes: bool) -> Self {
        let (more, all) = (width >= ROOM_FOR_MORE, width >= ROOM_FOR_ALL);
        let node = match (nodes, all, more) {
            (false, ..) | (true, false, false) => 0,
            (true, false, true) => 14,
            (true, true, _) => 18,
        };
        let interface = if all { 18 } else { 0 };
        let numbers = if more {
            RATE + FAILED + DELAYED + SHARE + AGE + 5 + if all { 2 * (TOOK + 1) } else { TOOK + 1 }
        } else {
            RATE + FAILED + SHARE + P99 + 4
        };
        let gaps = 3 + 2 + usize::from(node > 0) + usize::from(interface > 0);
        let names = width.saturating_sub(gaps + numbers + node + interface).max(12);
        let from = names * 9 / 20;
        Self { node, from, to: names - from, interface, more, all }
    }

    pub(super) fn head(&self) -> String {
        let mut head = "  ".to_owned();
        let mut put = |title: &str, width: usize, right: bool| {
            if width > 0 {
                let title = if right { fit_right(title, width) } else { fit(title, width) };
                head = format!("{head} {title}");
            }
        };
        put("NODE", self.node, false);
        put("FROM", self.from, false);
        put("TO", self.to, false);
        put("INTERFACE", self.interface, false);
        put("TRY/S", RATE, true);
        put("FAILED", FAILED, true);
        put("DELAYED", if self.more { DELAYED } else { 0 }, true);
        put("RETR%", SHARE, true);
        put("ANSWER ms", if self.more { TOOK } else { 0 }, true);
        put("RTT ms", if self.all { TOOK } else { 0 }, true);
        put("p99 ms", if self.more { 0 } else { P99 }, true);
        put("AGE", if self.more { AGE } else { 0 }, true);
        head
    }

    /// A row, without the cursor's sign in front.
    pub(super) fn line(
        &self,
        app: &App,
        (node, key, pair, recent): (&NodeName, &PairKey, &PairState, &Recent),
        theme: &Theme,
    ) -> Line<'static> {
        let now = app.session.now;
        let age = now.saturating_sub(pair.last);
        let (fails, failed) = (recent.failed > 0, pair.all.failed > 0);
        let plain = if age >= WINDOW { theme.dim } else { theme.plain };
        let style = if fails { theme.bad } else { plain };
        let number = |amount: u32| if amount == 0 { String::new() } else { count(amount.into()) };
        let mut spans =
            vec![Span::styled(if fails { "! " } else { "  " }, if fails { theme.bad } else { theme.plain })];
        let mut put = |text: String, width: usize, right: bool, style: Style| {
            if width > 0 {
                let text = if right { fit_right(&text, width) } else { text };
                spans.push(Span::styled(format!(" {text}"), style));
            }
        };
        put(fit(&short_name(node, self.node), self.node), self.node, false, theme.dim);
        put(fit_middle(&from(app, key), self.from), self.from, false, style);
        put(fit_middle(&to(app, key), self.to), self.to, false, style);
        put(fit_middle(&interface(key), self.interface), self.interface, false, theme.dim);
        put(rate_text(rate(pair, recent, now)), RATE, true, plain);
        // What failed longer ago stays in sight, and is not as loud.
        match (fails, failed) {
            (false, true) => put(format!("({})", count(pair.all.failed)), FAILED, true, theme.dim),
            _ => put(number(recent.failed), FAILED, true, style),
        }
        let warns = |so: bool| if so { theme.warn } else { plain };
        let delayed = if self.more { DELAYED } else { 0 };
        put(number(recent.delayed), delayed, true, warns(recent.delayed > 0));
        let share = recent.retransmitted_share();
        put(share.map(share_text).unwrap_or_default(), SHARE, true, warns(share.is_some_and(|share| share >= 10)));
        put(took_text(pair.answers), if self.more { TOOK } else { 0 }, true, plain);
        put(took_text(pair.round_trips), if self.all { TOOK } else { 0 }, true, plain);
        let p99 = pair.answers.or(pair.round_trips).map(|took| millis(took.p99)).unwrap_or_default();
        put(p99, if self.more { 0 } else { P99 }, true, plain);
        put(lasting(age), if self.more { AGE } else { 0 }, true, theme.dim);
        Line::from(spans)
    }
}

/// Microseconds as milliseconds in few columns.
pub(super) fn millis(micros: u64) -> String {
    match micros {
        ..10_000 => format!("{}.{}", micros / 1000, micros % 1000 / 100),
        _ => count(micros / 1000),
    }
}

/// Half of them, and 99 of a hundred.
pub(super) fn took_text(took: Option<Took>) -> String {
    took.map(|took| format!("{}/{}", millis(took.p50), millis(took.p99))).unwrap_or_default()
}

/// Thousandths as per cent.
pub(super) fn share_text(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

fn rate_text(hundredths: u64) -> String {
    match hundredths {
        0 => String::new(),
        1..1_000 => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        _ => count(hundredths / 100),
    }
}

fn called(app: &App, address: IpAddr) -> Option<String> {
    let name = app.connections.name_of(address)?;
    // A node's domain is the same for all of them.
    Some(if name.contains('/') { visible(name) } else { short_name(&NodeName(name.to_owned()), 20) })
}

/// Who asks, by name where it has one.
pub(super) fn from(app: &App, key: &PairKey) -> String {
    called(app, key.source).unwrap_or_else(|| key.source.to_string())
}

/// Who is asked and for what, by name where it has one.
pub(super) fn to(app: &App, key: &PairKey) -> String {
    let service = key.service.name();
    match (called(app, key.destination), key.service) {
        (None, _) => crate::screens::connections::target(key),
        (Some(name), Service::Neighbour | Service::Other) => format!("{name}/{service}"),
        (Some(name), _) => format!("{name}:{}/{service}", key.port),
    }
}

/// An interface with what it is.
pub(super) fn interface(key: &PairKey) -> String {
    let tunnel = key.tunnel.map(|tunnel| format!(" in {}", Tunnel::name(tunnel))).unwrap_or_default();
    format!("{} {}{tunnel}", visible(&key.interface), key.role.word())
}

/// Symptoms of a pair, failures first.
pub(super) fn symptoms(pair: &PairState) -> String {
    let said = pair.symptoms.iter().filter(|(symptom, _)| *symptom != Symptom::ResetFlag);
    let words: Vec<String> =
        said.map(|(symptom, [there, back])| format!("{} {}", symptom.name(), there.saturating_add(*back))).collect();
    if words.is_empty() { "no symptoms".to_owned() } else { words.join(", ") }
}

/// What there is to say of a pair below a list.
pub(super) fn facts_of(
    app: &App,
    (node, key, pair): (&NodeName, &PairKey, &PairState),
    theme: &Theme,
) -> Vec<(String, Style)> {
    let ends = format!("{} to {}", key.source, crate::screens::connections::target(key));
    let since = time_of_day(app.session.wall(pair.first));
    let all = &pair.all;
    vec![
        (format!("{ends}, seen by {node} on {}", interface(key)), theme.plain),
        (symptoms(pair), if all.failed > 0 { theme.warn } else { theme.plain }),
        (
            format!(
                "since {since}: {} attempts, {} answered, {} failed, {} of {} segments sent again",
                all.attempts, all.answered, all.failed, all.retransmitted, all.segments
            ),
            theme.dim,
        ),
    ]
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let connections = &app.connections;
    let facts = if area.height >= ROOM_FOR_FACTS && !app.layout.zoomed { FACTS } else { 0 };
    let notes = notes(app);
    let [title, head, body, below, told] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(if connections.rows.is_empty() { 0 } else { facts }),
        Constraint::Length(u16::from(!notes.is_empty())),
    ])
    .areas(area);
    frame.render_widget(crumbs(app, &["NODES"], &heading(connections), usize::from(title.width), theme), title);
    if !notes.is_empty() {
        let mut lines = wrapped_lines(&notes, 1, usize::from(told.width), theme.warn);
        lines.truncate(1);
        frame.render_widget(Paragraph::new(lines), told);
    }
    if connections.rows.is_empty() {
        let text = theme.keys.fill(&nothing(app));
        let lines = wrapped_lines(&text, 2, usize::from(body.width), theme.dim);
        frame.render_widget(Paragraph::new(lines), body);
        return;
    }
    let columns = Columns::of(usize::from(area.width), true);
    frame.render_widget(Line::styled(columns.head(), theme.dim), head);
    let cursor = connections.place();
    let room = usize::from(body.height);
    let first = first_shown(cursor, connections.rows.len(), room);
    let shown = || connections.rows.iter().enumerate().skip(first).take(room);
    hits.rows(body, shown().map(|(_, row)| RowKey::Connection(row.node.clone(), row.key.clone())));
    let lines: Vec<Line<'static>> = shown()
        .map(|(at, row)| {
            let Some(pair) = app.pair(&row.node, &row.key) else { return Line::default() };
            let selected = at == cursor;
            let sign = Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent);
            let line = columns.line(app, (&row.node, &row.key, pair, &row.recent), theme);
            let line: Line<'static> = std::iter::once(sign).chain(line.spans).collect();
            if selected { cursor_row(line, body.width, theme) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
    let row = connections.row().filter(|_| facts > 0);
    if let Some((row, pair)) = row.and_then(|row| Some((row, app.pair(&row.node, &row.key)?))) {
        let width = usize::from(below.width);
        let mut lines = vec![Line::styled(theme.symbols.rule.repeat(width), theme.dim)];
        for (text, style) in facts_of(app, (&row.node, &row.key, pair), theme) {
            lines.extend(wrapped_lines(&text, 1, width, style));
        }
        frame.render_widget(Paragraph::new(lines), below);
    }
}

fn heading(connections: &Connections) -> String {
    let Looked { watched, captured, pending, failing, .. } = connections.looked;
    let of =
        if connections.more > 0 { format!(" of {}", connections.rows.len() + connections.more) } else { String::new() };
    let mut parts = vec![format!("{}{of}", connections.rows.len())];
    if failing > 0 {
        parts.push(format!("{failing} failing"));
    }
    parts.push(format!("{} watched", counted(watched, "node")));
    if captured > 0 {
        parts.push(format!("{captured} captured"));
    }
    if pending > 0 {
        parts.push(format!("{pending} to be watched"));
    }
    format!("CONNECTIONS ({})", parts.join(", "))
}

/// What cannot be known, in one line.
fn notes(app: &App) -> String {
    let looked = &app.connections.looked;
    let told = |amount: u64, what: &str| (amount > 0).then(|| format!("{} {what}", count(amount)));
    let gaps = app.list.workloads.found.iter().flat_map(|found| &found.gaps);
    let gaps = gaps.filter(|_| looked.told > 0).map(|gap| format!("no names: {gap}"));
    let lost = told(looked.lost, "packets lost, nothing around them is judged");
    let hidden = told(looked.not_listed, "pairs not listed");
    let unseen = unseen(&looked.unseen);
    lost.into_iter().chain(unseen).chain(hidden).chain(gaps).collect::<Vec<_>>().join("; ")
}

/// Of how much time not all was seen, and why; `None` where all was.
fn unseen(unseen: &Unseen) -> Option<String> {
    let part = |millis: u64, why: &str| (millis >= 1_000).then(|| format!("{} {why}", lasting(millis)));
    let parts = [
        part(unseen.dropped, "dropped"),
        part(unseen.behind, "behind"),
        part(unseen.gone, "interface gone"),
        part(unseen.untold, "not told"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("not seen: {}", parts.join(", ")))
}

/// Why there is no row: what to press, or what was looked at without finding anything.
fn nothing(app: &App) -> String {
    let connections = &app.connections;
    let looked = &connections.looked;
    if looked.told == 0 {
        return match (looked.watched, looked.pending) {
            (0, 0) if app.session.terms.place == Place::Local => {
                "this machine is not watched: {back}, then {answers} watches it".to_owned()
            }
            (0, 0) => {
                "no node is watched: {back}, then {answers} watches the selected node, or those marked with {mark}; \
                       it deploys the agent where there is none"
                    .to_owned()
            }
            (0, pending) => {
                format!("{} to be watched, each as soon as its agent is live", counted(pending, "node"))
            }
            (watched, _) => format!("{} watched: nothing told yet", counted(watched, "node")),
        };
    }
    if !connections.filter.0.is_empty() {
        return "no connections match: {back} shows all".to_owned();
    }
    let since = looked.since.unwrap_or(app.session.now);
    let at = time_of_day(app.session.wall(since));
    let seen = format!(
        "{} on {} and {} attempts looked at since {at} ({})",
        counted(looked.pairs, "pair"),
        counted(looked.told, "node"),
        count(looked.attempts),
        lasting(app.session.now.saturating_sub(since)),
    );
    let unjudged = match looked.not_judged {
        0 => String::new(),
        some => format!("; {} not judged, as not all of it was seen", count(some)),
    };
    let unjudged = unseen(&looked.unseen).into_iter().fold(unjudged, |text, unseen| format!("{text}; {unseen}"));
    if app.layout.faults_only && looked.pairs > 0 {
        return format!("nothing failed: {seen}{unjudged}. {{back}} shows all");
    }
    format!("no packets between two ends: {seen}")
}
