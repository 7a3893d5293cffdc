//! The list of nodes.
//!
//! Columns have a priority; where the screen is narrow the least important go first.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use super::{
    Hits, Theme,
    connections::share_text,
    widgets::{crumbs, cursor_row, first_shown, fit, fit_right, short_name, sparkline, wrapped},
};
use crate::{
    base::text::{bit_rate, count, lasting, visible},
    model::Readiness,
    screens::{
        App, Layout,
        cursor::RowKey,
        extent::{Extent, MANY_AGAIN, Trait},
    },
    session::{
        Listing,
        node::{Agent, Asked, NodeState},
    },
};

const SPARK: usize = 12;
/// As wide as the newest minute.
const SPARK_AT_MOST: usize = 60;
const NAME_AT_LEAST: usize = 16;
/// `NotReady,cordoned`.
const BOTH: usize = 17;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Address,
    Version,
    Instance,
    Status,
    Zone,
    Type,
    Agent,
    Ports,
    Changes,
    Capture,
    Packets,
    Bits,
    Drops,
    Failed,
    Delayed,
    Again,
    Spark,
}

/// Title, width, whether it is a number, and its priority: the highest number goes first.
const COLUMNS: [(Column, &str, usize, bool, u8); 11] = [
    (Column::Status, "STATUS", 8, false, 1),
    (Column::Zone, "ZONE", 10, false, 9),
    (Column::Type, "TYPE", 10, false, 8),
    (Column::Agent, "AGENT", 10, false, 0),
    (Column::Ports, "PORTS", 5, true, 2),
    (Column::Changes, "CHANGED 1m", 11, false, 7),
    (Column::Capture, "CAPTURE", 12, false, 3),
    (Column::Packets, "PPS", 5, true, 4),
    (Column::Bits, "BIT/S", 5, true, 6),
    // Kernel, interface and queue: three counters, never summed.
    (Column::Drops, "DROP k/i/q", 10, true, 5),
    (Column::Spark, "RATE", SPARK, false, 10),
];

/// What the wide list has besides, ahead of what a narrow screen leaves out first. A screen that has room for them beside
/// everything else shows them anyway.
const WIDE: [(Column, &str, usize, bool, u8); 3] = [
    (Column::Address, "ADDRESS", 15, false, 4),
    (Column::Version, "VERSION", 12, false, 5),
    (Column::Instance, "INSTANCE", 19, false, 6),
];
/// What was seen where packets are watched, in the wide list too. What is not as it should be stands on narrow screens.
const WATCHED: [(Column, &str, usize, bool, u8); 3] = [
    (Column::Failed, "FAILED", 6, true, 4),
    (Column::Delayed, "DELAYED", 7, true, 5),
    (Column::Again, "RETR%", 5, true, 6),
];
/// What the wide columns' priorities are behind where nobody has asked for them.
const SPARE: u8 = 20;

/// Those that there is room for beside the names, as long as they are and as short as they may become; some may need more
/// than they usually have, and those that are empty on every row need none.
fn columns(
    width: usize,
    (name, name_at_least): (usize, usize),
    layout: Layout,
    wider: &[(Column, usize)],
    empty: &[Column],
    urgent: &[Column],
) -> Vec<(Column, &'static str, usize, bool)> {
    let mut chosen: Vec<_> = COLUMNS.to_vec();
    let spare = |mut column: (Column, &'static str, usize, bool, u8)| {
        column.4 += if layout.wide { 0 } else { SPARE };
        column
    };
    let end = chosen.len() - 1;
    chosen.splice(end..end, WATCHED.map(spare));
    chosen.splice(1..1, WIDE.map(spare));
    chosen.retain(|column| !empty.contains(&column.0));
    for column in chosen.iter_mut().filter(|column| urgent.contains(&column.0)) {
        // Of the same as a node's status, and behind it.
        column.4 = u8::from(column.0 != Column::Changes);
    }
    for column in &mut chosen {
        let needed = wider.iter().filter(|(wider, _)| *wider == column.0).map(|(_, needed)| *needed).max();
        column.2 = column.2.max(needed.unwrap_or(0));
    }
    let needs = |chosen: &[(Column, &str, usize, bool, u8)], name: usize| {
        3 + name + chosen.iter().map(|column| column.2 + 1).sum::<usize>()
    };
    // Names are whole before what nobody asked for has room.
    while needs(&chosen, name) > width && chosen.iter().any(|column| column.4 > SPARE) {
        let least = chosen.iter().enumerate().max_by_key(|(_, column)| column.4).map_or(0, |(at, _)| at);
        chosen.remove(least);
    }
    chosen.drain(..layout.first_column.min(chosen.len() - 1));
    while needs(&chosen, name_at_least) > width && !chosen.is_empty() {
        let least = chosen.iter().enumerate().max_by_key(|(_, column)| column.4).map_or(0, |(at, _)| at);
        chosen.remove(least);
    }
    chosen.into_iter().map(|(column, title, width, number, _)| (column, title, width, number)).collect()
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    // One column stays free at the edge.
    let width = usize::from(area.width).saturating_sub(1);
    let shown: Vec<&NodeState> = app.shown().collect();
    let mut lines = vec![title(app, shown.len(), width, theme)];
    // Room for two words only where a node is both, and for IPv6 only where nodes have it.
    let extent = &app.list.extent;
    let both = if extent.has(Trait::Both) { BOTH } else { 0 };
    let wider = [(Column::Status, both), (Column::Address, extent.address)];
    let longest = extent.name.max("NAME".len());
    let names = (longest + 1, NAME_AT_LEAST.min(longest + 1));
    let mut columns = columns(width, names, app.layout, &wider, &empty_columns(extent), &urgent(extent, app.layout));
    let fixed: usize = columns.iter().map(|column| column.2 + 1).sum();
    let room = width.saturating_sub(3 + fixed);
    let name_width = room.min(longest + 1);
    if let Some(spark) = columns.iter_mut().find(|column| column.0 == Column::Spark) {
        spark.2 = (SPARK + room - name_width).min(SPARK_AT_MOST);
    }

    if let Some(text) = empty(app, shown.len(), theme) {
        frame.render_widget(Paragraph::new(lines), area);
        let below = Rect { y: (area.y + 2).min(area.bottom()), height: area.height.saturating_sub(2), ..area };
        frame.render_widget(wrapped(&text), below);
        return;
    }

    let mut heads = format!("   {}", fit("NAME", name_width));
    for (_, title, width, number) in &columns {
        heads.push(' ');
        heads.push_str(&if *number { fit_right(title, *width) } else { fit(title, *width) });
    }
    lines.push(Line::styled(heads, theme.dim));

    let room = usize::from(area.height).saturating_sub(lines.len());
    let under = app.list.cursor.as_ref().and_then(|cursor| app.session.nodes.get(cursor));
    let at = under.and_then(|under| shown.iter().position(|state| std::ptr::eq(*state, under)));
    let first = first_shown(at.unwrap_or(0), shown.len(), room);
    let rows = Rect { y: (area.y + 2).min(area.bottom()), height: area.height.saturating_sub(2), ..area };
    hits.rows(rows, shown.iter().skip(first).map(|state| RowKey::Node(state.node.name.clone())));
    for (index, state) in shown.iter().enumerate().skip(first).take(room) {
        let at_cursor = at == Some(index);
        let line = row(app, state, at_cursor, name_width, &columns, theme);
        lines.push(if at_cursor { cursor_row(line, area.width, theme) } else { line });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// What somebody looks for, also where there is little room.
fn urgent(extent: &Extent, layout: Layout) -> Vec<Column> {
    let flaps = extent.has(Trait::Flaps).then_some(Column::Changes);
    // What runs is never out of sight, whatever else there is to say.
    let runs = extent.has(Trait::Captures).then_some(Column::Capture);
    let wrong = [
        (Trait::Drops, Column::Drops),
        (Trait::Failed, Column::Failed),
        (Trait::Delayed, Column::Delayed),
        (Trait::Again, Column::Again),
    ];
    // In the wide list somebody has asked for other columns.
    let wrong = wrong.into_iter().filter(|(what, _)| !layout.wide && extent.has(*what)).map(|(_, column)| column);
    flaps.into_iter().chain(runs).chain(wrong).collect()
}

/// Columns that no node has anything for.
fn empty_columns(extent: &Extent) -> Vec<Column> {
    [
        (Trait::Watched, Column::Failed),
        (Trait::Watched, Column::Delayed),
        (Trait::Watched, Column::Again),
        (Trait::Zone, Column::Zone),
        (Trait::Type, Column::Type),
        (Trait::Version, Column::Version),
        (Trait::Instance, Column::Instance),
        (Trait::Address, Column::Address),
    ]
    .into_iter()
    .filter_map(|(what, column)| (!extent.has(what)).then_some(column))
    .collect()
}

fn title(app: &App, shown: usize, width: usize, theme: &Theme) -> Line<'static> {
    let mut text = format!("NODES ({shown}");
    if shown != app.session.nodes.len() {
        text = format!("{text} of {}", app.session.nodes.len());
    }
    if !app.session.marks.is_empty() {
        let also = if app.session.joining.is_wanted() { ", plus nodes that join" } else { "" };
        text = format!("{text}, {} marked{also}", app.session.marks.len());
        let hidden = app.hidden_marks().len();
        if hidden > 0 {
            text = format!("{text}, {hidden} hidden");
        }
    }
    text.push(')');
    // What the capture key takes without asking stays in sight.
    let taken = app.remembered().map(|what| format!("  {}: {}", theme.keys.fill("{capture}"), visible(&what)));
    let taken = taken.unwrap_or_default();
    let old = if let Listing::Stale(_) = app.session.listing { "  list is stale, reconnecting" } else { "" };
    let room = width.saturating_sub(old.len());
    let taken = fit(&taken, taken.width().min(room.saturating_sub(text.width() + 2)));
    let mut line = crumbs(app, &[], &text, room.saturating_sub(taken.width()), theme);
    let at = line.spans.len().min(2);
    line.spans.insert(at, Span::styled(taken, theme.accent));
    line.push_span(Span::styled(old, theme.bad));
    line
}

/// What stands in an empty list's place.
fn empty(app: &App, shown: usize, theme: &Theme) -> Option<String> {
    if shown > 0 {
        return None;
    }
    Some(match &app.session.listing {
        Listing::Loading => " loading nodes ...".to_owned(),
        Listing::Stale(notice) => {
            format!(
                " {}\n {}\n {}",
                visible(&notice.headline),
                visible(&notice.cause),
                visible(&theme.next_step(notice))
            )
        }
        Listing::Current if app.session.nodes.is_empty() => " the cluster has no nodes".to_owned(),
        Listing::Current if app.list.workloads.waiting && app.list.workloads.found.is_none() => {
            " looking up pods and services ...".to_owned()
        }
        Listing::Current if !app.layout.faults_only && app.leads_nowhere().is_some() => {
            let why = app.leads_nowhere().unwrap_or_default();
            format!(" {}\n {}", visible(&why), theme.keys.fill("{back} shows all"))
        }
        Listing::Current => theme.keys.fill(" no nodes match: {back} shows all"),
    })
}

fn row(
    app: &App,
    state: &NodeState,
    at_cursor: bool,
    name_width: usize,
    columns: &[(Column, &'static str, usize, bool)],
    theme: &Theme,
) -> Line<'static> {
    let marked = app.session.marks.contains(&state.node.name);
    let unable = state.agent == Agent::Absent && state.node.cannot_run().is_some();
    let mut spans = vec![
        Span::styled(if at_cursor { theme.symbols.cursor } else { " " }, theme.accent),
        Span::styled(if marked { theme.symbols.mark } else { " " }, theme.warn),
        watched(state, theme),
        Span::styled(
            fit(&short_name(&state.node.name, name_width), name_width),
            match (marked, unable) {
                (true, _) => theme.title,
                (false, true) => theme.dim,
                (false, false) => theme.plain,
            },
        ),
    ];
    for (column, _, width, number) in columns {
        let (text, style) = cell(app, state, *column, *width, theme);
        let style = if unable { theme.dim } else { style };
        let text = if *number { fit_right(&text, *width) } else { fit(&text, *width) };
        spans.push(Span::raw(" "));
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn cell(app: &App, state: &NodeState, column: Column, width: usize, theme: &Theme) -> (String, Style) {
    let live = state.is_live();
    let plain = |text: String| (text, theme.plain);
    let foreign = |text: &Option<String>| plain(text.as_deref().map(visible).unwrap_or_default());
    match column {
        Column::Address => plain(state.node.addresses.first().map(ToString::to_string).unwrap_or_default()),
        Column::Version => foreign(&state.node.version),
        Column::Instance => foreign(&state.node.instance_id),
        Column::Status => status(state, theme),
        Column::Zone => foreign(&state.node.zone),
        Column::Type => foreign(&state.node.instance_type),
        Column::Agent => {
            let style = match &state.agent {
                agent if app.session.agents().is_none() && agent.runs() => theme.dim,
                Agent::Absent => theme.dim,
                Agent::Live if state.is_live() => theme.good,
                Agent::Deploying(_) | Agent::Connecting => theme.accent,
                Agent::Live | Agent::Lost { .. } => theme.warn,
                Agent::Failed(_) | Agent::Ended(_) => theme.bad,
            };
            (agent_text(app, state), style)
        }
        // What was seen last stays, dimmed, while the agent is away.
        Column::Ports if state.ports.known => {
            (state.open_ports().count().to_string(), if live { theme.plain } else { theme.dim })
        }
        Column::Ports => (if state.agent.is_deployed() { "" } else { "-" }.to_owned(), theme.dim),
        Column::Changes => changes(app, state, theme),
        Column::Capture => capture(app, state, theme),
        Column::Packets if state.is_capturing() => plain(count(state.rates().packets)),
        Column::Bits if state.is_capturing() => plain(bit_rate(state.rates().bytes, 1000)),
        Column::Drops => drops(state, theme),
        Column::Spark if state.is_capturing() => {
            (sparkline(state.counts.rates.iter().map(|sample| sample.packets), width, theme), theme.accent)
        }
        Column::Packets | Column::Bits | Column::Spark => plain(String::new()),
        Column::Failed | Column::Delayed | Column::Again => seen(app, state, column, theme),
    }
}

/// That its packets are watched, or are to be.
fn watched(state: &NodeState, theme: &Theme) -> Span<'static> {
    match (state.is_watching(), state.is_to_watch()) {
        (true, _) if state.agent.has_tunnel() => Span::styled("W", theme.good),
        (true, _) => Span::styled("W", theme.dim),
        (false, true) => Span::styled("w", theme.accent),
        (false, false) => Span::raw(" "),
    }
}

/// What was seen of its packets in the last minute.
fn seen(app: &App, state: &NodeState, column: Column, theme: &Theme) -> (String, Style) {
    let watch = &state.seen.watch;
    let recent = watch.recent(app.session.now);
    let number = |amount: u32, bad: Style| match (amount, state.is_analysing(app.session.now)) {
        (0, true) => ("0".to_owned(), theme.dim),
        (0, false) => (String::new(), theme.dim),
        (some, _) => (count(some.into()), bad),
    };
    match (column, recent.retransmitted_share()) {
        (Column::Failed, _) => number(recent.failed, theme.bad),
        (Column::Delayed, _) => number(recent.delayed, theme.warn),
        (_, Some(share)) => (share_text(share), if share >= MANY_AGAIN { theme.warn } else { theme.plain }),
        (_, None) => (String::new(), theme.dim),
    }
}

fn status(state: &NodeState, theme: &Theme) -> (String, Style) {
    if !state.present {
        return ("gone".to_owned(), theme.bad);
    }
    match (state.node.readiness, state.node.cordoned) {
        (Readiness::Ready, false) => ("Ready".to_owned(), theme.good),
        (Readiness::Ready, true) => ("cordoned".to_owned(), theme.warn),
        (_, _) => (state.node.status(), theme.bad),
    }
}

fn agent_text(app: &App, state: &NodeState) -> String {
    match &state.agent {
        Agent::Absent => match state.node.cannot_run() {
            Some(reason) => visible(reason.word()),
            None => state.agent.word().to_owned(),
        },
        Agent::Lost { since, .. } => format!("lost {}", lasting(app.session.now.saturating_sub(*since))),
        _ => app.session.agent_word(state).to_owned(),
    }
}

fn changes(app: &App, state: &NodeState, theme: &Theme) -> (String, Style) {
    let sign = |sign: &str, number: usize| if number == 0 { String::new() } else { format!("{sign}{number}") };
    if let Some(flap) = state.worst_flap(app.session.now) {
        return (format!("{} FLAPS", flap.port.local.port()), theme.bad);
    }
    let (opened, closed) = state.recent_changes(app.session.now);
    let text = [sign("+", opened), sign("-", closed)].join(" ").trim().to_owned();
    (text, theme.warn)
}

fn capture(app: &App, state: &NodeState, theme: &Theme) -> (String, Style) {
    use nodewatch_protocol::{CaptureState, StopReason};
    let symbols = theme.symbols;
    match (&state.capture, state.asked) {
        _ if state.is_to_start() => (format!("{} starting", symbols.idle), theme.accent),
        (_, Asked::Start) => (format!("{} starting", symbols.idle), theme.accent),
        (_, Asked::Stop) => (format!("{} stopping", symbols.running), theme.accent),
        (CaptureState::Running { spec, .. }, Asked::Nothing) if state.seems_to_capture() && spec.recorder.is_some() => {
            let style = if state.agent.has_tunnel() { theme.good } else { theme.dim };
            let kept = spec.recorder.map_or(0, |recorder| recorder.seconds.get() * 1000);
            let held = app.session.now.saturating_sub(state.counts.began);
            match state.saving(app.session.now) {
                Some(left) => {
                    let left = lasting(left.div_ceil(1000) * 1000);
                    (format!("{} saving {left}", symbols.recorder), theme.accent)
                }
                // Before it holds all that it is to keep, it says how much it does.
                None if held < kept => (format!("{} {}/{}", symbols.recorder, lasting(held), lasting(kept)), style),
                None => (format!("{} last {}", symbols.recorder, lasting(kept)), style),
            }
        }
        (CaptureState::Running { .. }, Asked::Nothing) if state.seems_to_capture() => {
            let style = if state.agent.has_tunnel() { theme.good } else { theme.dim };
            (format!("{} {}", symbols.running, lasting(app.session.now.saturating_sub(state.counts.began))), style)
        }
        // Nobody can say how it stands.
        (CaptureState::Running { .. }, Asked::Nothing) => (format!("{} unknown", symbols.idle), theme.warn),
        (CaptureState::Stopped { reason: StopReason::Failed { .. }, .. }, Asked::Nothing) => {
            (format!("{} failed", symbols.idle), theme.bad)
        }
        (CaptureState::Stopped { .. }, Asked::Nothing) => (format!("{} done", symbols.idle), theme.dim),
        (CaptureState::Idle, Asked::Nothing) if state.agent == Agent::Live => (symbols.idle.to_owned(), theme.dim),
        (CaptureState::Idle, Asked::Nothing) => (String::new(), theme.dim),
    }
}

fn drops(state: &NodeState, theme: &Theme) -> (String, Style) {
    let Some(statistics) = &state.counts.latest else { return (String::new(), theme.plain) };
    let dropped = statistics.dropped;
    let text = format!("{}/{}/{}", count(dropped.kernel), count(dropped.interface), count(dropped.queue));
    (text, if state.has_dropped() { theme.bad } else { theme.dim })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of names of the usual length.
    const LONG: (usize, usize) = (NAME_AT_LEAST, NAME_AT_LEAST);

    #[test]
    fn columns_go_by_priority_and_the_agent_goes_last() {
        let narrow = Layout::default();
        let of = |width| columns(width, LONG, narrow, &[], &[], &[]);
        assert_eq!(of(250).len(), COLUMNS.len() + WIDE.len() + WATCHED.len(), "room for all is used");
        assert_eq!(
            columns(250, (160, NAME_AT_LEAST), narrow, &[], &[], &[]).len(),
            COLUMNS.len(),
            "but a name comes first"
        );
        assert!(of(80).iter().all(|column| column.0 != Column::Spark && column.0 != Column::Zone));
        assert!(of(80).iter().any(|column| column.0 == Column::Drops));
        assert!(of(31).iter().all(|column| column.0 == Column::Agent));
        assert!(of(1).is_empty());
        let flaps = columns(80, LONG, narrow, &[], &[], &[Column::Changes]);
        assert!(flaps.iter().any(|column| column.0 == Column::Changes), "what is urgent stays");
        let both = columns(80, LONG, narrow, &[], &[], &[Column::Changes, Column::Drops]);
        for urgent in [Column::Changes, Column::Drops] {
            assert!(both.iter().any(|column| column.0 == urgent), "and pushes nothing urgent away");
        }
        let bare = columns(250, LONG, narrow, &[], &[Column::Zone], &[]);
        assert!(bare.iter().all(|column| column.0 != Column::Zone), "what is empty on every row takes no room");
    }

    #[test]
    fn a_capture_stays_in_sight_beside_everything_that_is_wrong() {
        let wrong = [Column::Changes, Column::Capture, Column::Failed, Column::Delayed, Column::Again];
        for names in [(7, 7), (50, NAME_AT_LEAST)] {
            let shown = columns(79, names, Layout::default(), &[], &[], &wrong);
            for there in [Column::Agent, Column::Status, Column::Changes, Column::Capture, Column::Failed] {
                assert!(shown.iter().any(|column| column.0 == there), "{names:?}");
            }
        }
    }

    #[test]
    fn the_wide_list_has_addresses_and_can_be_moved_through() {
        let wide = Layout { wide: true, ..Layout::default() };
        let of = |width, layout| columns(width, LONG, layout, &[], &[], &[]);
        assert!(of(120, wide).iter().any(|column| column.0 == Column::Address));
        let six = (Column::Address, "2600:1f18:1234:5600:aaaa:bbbb:cccc:dddd".len());
        let sixes = columns(200, LONG, wide, &[six], &[], &[]);
        assert!(sixes.iter().any(|column| column.0 == Column::Address && column.2 == 39), "an IPv6 address is whole");
        let moved = Layout { first_column: 4, ..wide };
        assert!(of(300, moved).iter().all(|column| column.0 != Column::Address));
        assert_eq!(of(300, Layout { first_column: 99, ..wide }).len(), 1, "one column stays");
    }
}
