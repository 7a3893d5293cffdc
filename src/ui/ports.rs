//! The ports of all nodes: by node, by port, and as a matrix.
//!
//! Only the rows that fit are made: there may be tens of thousands.

mod marks;

use nodewatch_protocol::{AcceptQueue, Port, ProbeOutcome};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use self::marks::{Mark, Marks};
use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, first_shown, fit, fit_middle, fit_right, short_name, wrapped_lines},
};
use crate::{
    base::text::{counted, time_of_day, visible},
    model::{ListedPort, NodeName, PortClass, PortKey},
    screens::{
        App,
        ports::{Mode, PortGroup, Ports},
    },
    session::{
        Permission,
        node::NodeState,
        probes::{ProbeResult, probe_in_short, probe_text},
    },
};

/// Rows below the list for what there is to say of the cursor's row.
const FACTS: u16 = 4;
/// Columns of a node in the matrix, at least.
const CELL: usize = 5;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let ports = &app.ports;
    let facts = if area.height >= 14 && !app.layout.zoomed { FACTS } else { 0 };
    let [title, tabs, body, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(facts)])
            .areas(area);
    frame.render_widget(title_line(app, usize::from(title.width), theme), title);
    frame.render_widget(tab_line(ports, tabs, theme, hits), tabs);
    if ports.is_empty() {
        let text = if ports.lists.is_empty() && app.session.permission == Permission::ReadOnly {
            "  no ports yet: no agent has told any, and this is read-only"
        } else if ports.lists.is_empty() {
            "  no ports yet: deploy to nodes first ({back}, {mark}, {deploy})"
        } else {
            "  no ports match: {back} shows all"
        };
        frame.render_widget(Line::styled(theme.keys.fill(text), theme.dim), body);
        return;
    }
    let room = usize::from(body.height).saturating_sub(1);
    let first = first_shown(ports.cursor, ports.len(), room);
    let list = Rect { y: body.y + 1, height: body.height.saturating_sub(1), ..body };
    hits.rows(list, (first..ports.len()).map_while(|row| ports.row(row)));
    let shown = first..(first + room).min(ports.len());
    let width = usize::from(body.width);
    let mut lines = Vec::with_capacity(room + 1);
    match ports.mode {
        Mode::ByNode => {
            let visible = shown.clone().filter_map(|at| Some(ports.listed(*ports.rows.get(at)?)?.1));
            let columns = Columns::of(width, visible);
            lines.push(columns.head(theme));
            lines.extend(shown.filter_map(|at| columns.row(app, at, theme)));
        }
        Mode::ByPort => {
            lines.push(Line::styled(
                format!("   {} {} {}  NODES", fit("PORT", 11), fit_right("OPEN", 9), fit("CLASS", 28)),
                theme.dim,
            ));
            let marks = Marks::of(app);
            lines.extend(shown.map(|at| group_row(ports, &marks, at, width, theme)));
        }
        Mode::Matrix => {
            let nodes = Matrix::of(ports, width);
            lines.push(nodes.head(ports, theme));
            let marks = Marks::of(app);
            lines.extend(shown.map(|at| nodes.row(ports, &marks, at, theme)));
        }
    }
    // Below the heads.
    if let Some(row) = lines.get_mut(1 + ports.cursor.saturating_sub(first)) {
        *row = cursor_row(std::mem::take(row), body.width, theme);
    }
    frame.render_widget(Paragraph::new(lines), body);
    frame.render_widget(Paragraph::new(fact_lines(app, usize::from(below.width), theme)), below);
}

fn title_line(app: &App, width: usize, theme: &Theme) -> Line<'static> {
    let ports = &app.ports;
    let (rows, lists) = (ports.rows.len(), ports.lists.len());
    let mut line = Line::default();
    if ports.excluded > 0 {
        line.push_span(Span::styled(format!("  {} excluded", ports.excluded), theme.warn));
    }
    if ports.clients > 0 {
        line.push_span(Span::styled(format!("  {} not listed", counted(ports.clients, "client socket")), theme.dim));
    }
    if let Some(state) = app.session.report_state() {
        let group = app.session.reports.as_ref().map(|reports| visible(&reports.settings.group)).unwrap_or_default();
        line.push_span(Span::styled(format!("  {} reported to {group}", state.sent), theme.accent));
        if state.queued > 0 {
            line.push_span(Span::styled(format!(", {} waiting", state.queued), theme.warn));
        }
        let lost = state.dropped + state.rejected;
        if lost > 0 {
            line.push_span(Span::styled(format!(", {lost} LOST"), theme.bad));
        }
        if !state.trouble.is_empty() {
            line.push_span(Span::styled(format!("  {}", visible(&state.trouble)), theme.bad));
        }
    }
    let name = format!("PORTS ({rows} on {})", counted(lists, "node"));
    let mut title = crumbs(app, &["NODES"], &name, width.saturating_sub(line.width()), theme);
    // What narrows the list stays at the right edge.
    let at = title.spans.len().min(3);
    title.spans.splice(at..at, line.spans);
    title
}

fn tab_line(ports: &Ports, area: Rect, theme: &Theme, hits: &mut Hits) -> Line<'static> {
    let rule = theme.symbols.rule;
    let mut spans = vec![Span::styled(format!(" {rule}"), theme.dim)];
    let mut used = 2;
    for (index, mode) in Mode::ALL.into_iter().enumerate() {
        spans.push(Span::styled(format!("{rule} "), theme.dim));
        let width = mode.title().len() + if mode == ports.mode { 2 } else { 0 };
        hits.tab(area, used + 2, width, index);
        used += width + 3;
        spans.push(if mode == ports.mode {
            Span::styled(format!("[{}]", mode.title()), theme.selected)
        } else {
            Span::styled(mode.title(), theme.dim)
        });
        spans.push(Span::raw(" "));
    }
    let mut line = Line::from(spans);
    let rest = usize::from(area.width).saturating_sub(line.width());
    line.push_span(Span::styled(rule.repeat(rest), theme.dim));
    line
}

/// How a class is written and how it looks.
pub(super) fn class_of(class: PortClass, theme: &Theme) -> (&'static str, Style) {
    match class {
        PortClass::Unknown => ("-", theme.dim),
        PortClass::Expected => ("expected", theme.good),
        PortClass::Unexpected => ("UNEXPECTED", theme.warn),
        PortClass::ByRules => ("by rules", theme.accent),
        PortClass::Dead => ("DEAD", theme.bad),
    }
}

/// By node: how wide what varies is, and what there is room for.
struct Columns {
    node: usize,
    protocol: usize,
    address: usize,
    since: bool,
    owner: usize,
}

/// An address and a port of IPv4.
pub(super) const ADDRESS: usize = 21;
impl Columns {
    /// As wide as the rows that are shown need it, as far as there is room.
    fn of<'a>(width: usize, shown: impl Iterator<Item = &'a ListedPort> + Clone) -> Self {
        let since = width >= 100;
        let protocol = shown.clone().map(|listed| listed.port.protocol_name().len()).max().unwrap_or(0).max(5);
        let fixed = 3 + 1 + protocol + 1 + 9 + 11 + if since { 9 } else { 0 };
        let wanted = shown.map(|listed| address(listed).width()).max().unwrap_or(0).max(ADDRESS);
        // A long address takes from the reason first, which the lines below the list have in full.
        let address = wanted.min(width.saturating_sub(fixed + 14 + 2)).max(ADDRESS);
        let rest = width.saturating_sub(fixed + address);
        let node = (rest / 3).clamp(14, 44);
        Self { node, protocol, address, since, owner: rest.saturating_sub(node + 2) }
    }

    fn head(&self, theme: &Theme) -> Line<'static> {
        let since = if self.since { format!("{} ", fit("SINCE", 8)) } else { String::new() };
        let head = format!(
            "   {} {} {} {} {}{since}{}",
            fit("NODE", self.node),
            fit("PROTO", self.protocol),
            fit("ADDRESS", self.address),
            fit("SCOPE", 8),
            fit("CLASS", 11),
            fit("WHY, OWNER", self.owner)
        );
        Line::styled(head, theme.dim)
    }

    fn row(&self, app: &App, at: usize, theme: &Theme) -> Option<Line<'static>> {
        let ports = &app.ports;
        let (name, listed) = ports.listed(*ports.rows.get(at)?)?;
        let selected = at == ports.cursor;
        let (class, style) = class_of(listed.class, theme);
        let since = match (self.since, listed.socket) {
            (true, true) => format!("{} ", time_of_day(listed.since)),
            (true, false) => fit("", 9),
            (false, _) => String::new(),
        };
        let mut spans = vec![
            Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
            Span::raw("  "),
            Span::styled(fit(&short_name(name, self.node), self.node), theme.plain),
            Span::styled(
                format!(
                    " {} {} ",
                    fit(listed.port.protocol_name(), self.protocol),
                    fit_middle(&address(listed), self.address)
                ),
                theme.plain,
            ),
            Span::styled(format!("{} ", fit(scope(listed), 8)), theme.dim),
            Span::styled(format!("{} ", fit(class, 10)), style),
            Span::styled(since, theme.dim),
        ];
        let state = app.session.nodes.get(name).filter(|_| listed.socket);
        let flap = state.and_then(|state| state.flap(&listed.port, app.session.now));
        let flap = flap.map(|flap| (format!("FLAPS: {}", flap.how()), format!("FLAPS x{}", flap.closed), theme.bad));
        let full = state.and_then(|state| full_queue(state, listed));
        let full = full
            .map(|queue| (format!("FULL: {} wait, backlog {}", queue.waiting, queue.limit), "FULL".into(), theme.bad));
        spans.push(match probe_of(app, name, listed, theme).or(flap).or(full) {
            Some((text, short, style)) => {
                let text = visible(&text);
                Span::styled(fit(if text.width() <= self.owner { &text } else { &short }, self.owner), style)
            }
            None => Span::styled(fit(&why(listed), self.owner), theme.dim),
        });
        Some(Line::from(spans))
    }
}

pub(super) fn address(listed: &ListedPort) -> String {
    if listed.socket { visible(&listed.port.place()) } else { format!(":{}", listed.port.local.port()) }
}

pub(super) fn scope(listed: &ListedPort) -> &'static str {
    if listed.socket { listed.port.scope().word() } else { "-" }
}

pub(super) fn why(listed: &ListedPort) -> String {
    // Who declares a port is most often who holds it.
    let owner = if listed.why.ends_with(&*listed.owner) { "" } else { &listed.owner };
    let parts = [&*listed.why, owner].into_iter().filter(|part| !part.is_empty()).map(visible);
    parts.collect::<Vec<_>>().join(", ")
}

fn group_row(ports: &Ports, marks: &Marks, at: usize, width: usize, theme: &Theme) -> Line<'static> {
    let Some(group) = ports.groups.get(at) else { return Line::default() };
    let selected = at == ports.cursor;
    let all = ports.lists.len();
    let open = group.open();
    let some = if open == all { theme.plain } else { theme.warn };
    let room = width.saturating_sub(57);
    // The fewer are more telling: who has it, or who lacks it.
    let has = |node: usize| group.nodes.iter().any(|(known, class)| *known == node && class.is_open());
    let names = |wanted: bool| {
        let mut names = String::new();
        for (node, (name, _)) in ports.lists.iter().enumerate() {
            if names.len() > room {
                break;
            }
            if has(node) == wanted {
                names = format!("{names}{} ", short_name(name, 16));
            }
        }
        names
    };
    let text = if open == all {
        "on all".to_owned()
    } else if open * 2 <= all {
        names(true)
    } else {
        format!("not on {}", names(false))
    };
    let marked = marks.text(group.key);
    let (counts, style) = if marked.is_empty() {
        (class_counts(group), worst(group, theme))
    } else {
        (format!("{marked} {}", class_counts(group)), theme.bad)
    };
    Line::from(vec![
        Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
        Span::styled(format!("  {} ", fit(&group.key.to_string(), 11)), theme.plain),
        Span::styled(format!("{} ", fit_right(&format!("{open}/{all}"), 9)), some),
        Span::styled(format!("{}  ", fit(&counts, 28)), style),
        Span::styled(fit(&text, room), theme.dim),
    ])
}

fn class_counts(group: &PortGroup) -> String {
    let classes = [PortClass::Expected, PortClass::Unexpected, PortClass::ByRules, PortClass::Dead];
    let counts: Vec<String> = classes
        .into_iter()
        .map(|class| (group.count(class), class))
        .filter(|(count, _)| *count > 0)
        .map(|(count, class)| match class {
            PortClass::ByRules => format!("{count} by rules"),
            class => format!("{count} {}", class.word()),
        })
        .collect();
    if counts.is_empty() { "-".to_owned() } else { counts.join(" ") }
}

fn worst(group: &PortGroup, theme: &Theme) -> Style {
    let has = |class| group.count(class) > 0;
    match (has(PortClass::Dead), has(PortClass::Unexpected)) {
        (true, _) => theme.bad,
        (false, true) => theme.warn,
        (false, false) => theme.plain,
    }
}

/// The nodes whose columns fit.
struct Matrix {
    first: usize,
    nodes: usize,
    /// Columns of a node: as many as its name needs, where all nodes fit.
    cell: usize,
}

impl Matrix {
    fn of(ports: &Ports, width: usize) -> Self {
        let room = width.saturating_sub(15);
        let longest = ports.lists.iter().map(|(name, _)| short_name(name, 0).width() + 2).max().unwrap_or(CELL);
        let cell = (room / ports.lists.len().max(1)).clamp(CELL, longest.max(CELL));
        let fits = (room / cell).max(1);
        let first = ports.first_column.min(ports.lists.len().saturating_sub(fits));
        Self { first, nodes: fits.min(ports.lists.len() - first), cell }
    }

    /// What tells nodes apart is at their names' ends.
    fn head(&self, ports: &Ports, theme: &Theme) -> Line<'static> {
        let mut head = fit("   PORT", 15);
        for (name, _) in ports.lists.iter().skip(self.first).take(self.nodes) {
            let name = short_name(name, 0);
            let end: String = name.chars().rev().take(self.cell - 1).collect();
            let end: String = end.chars().rev().collect();
            head.push_str(&fit(&end, self.cell));
        }
        Line::styled(head, theme.dim)
    }

    fn row(&self, ports: &Ports, marks: &Marks, at: usize, theme: &Theme) -> Line<'static> {
        let Some(group) = ports.groups.get(at) else { return Line::default() };
        let selected = at == ports.cursor;
        let mut spans = vec![
            Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
            Span::styled(format!("  {}", fit(&group.key.to_string(), 12)), theme.plain),
        ];
        for node in self.first..self.first + self.nodes {
            // Nodes of a group are in order.
            let found = group.nodes.binary_search_by_key(&node, |(known, _)| *known);
            let (word, style) = match (marks.at(node, group.key), found.map(|at| group.nodes[at].1)) {
                (Some(Mark::Flaps), _) => ("FLAP", theme.bad),
                (Some(Mark::Full), _) => ("FULL", theme.bad),
                (None, Err(_)) => (".", theme.dim),
                (None, Ok(PortClass::Unknown)) => ("o", theme.plain),
                (None, Ok(PortClass::Expected)) => ("o", theme.good),
                (None, Ok(PortClass::Unexpected)) => ("o!", theme.warn),
                (None, Ok(PortClass::ByRules)) => ("r", theme.accent),
                (None, Ok(PortClass::Dead)) => ("DEAD", theme.bad),
            };
            spans.push(Span::styled(fit(word, self.cell), style));
        }
        Line::from(spans)
    }
}

fn fact_lines(app: &App, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let ports = &app.ports;
    let mut lines = vec![Line::styled(theme.symbols.rule.repeat(width), theme.dim)];
    let mut say = |text: String, style: Style| lines.extend(wrapped_lines(&text, 1, width, style));
    match ports.mode {
        Mode::ByNode => {
            let Some((name, listed)) = ports.rows.get(ports.cursor).and_then(|row| ports.listed(*row)) else {
                return lines;
            };
            for (text, style) in fact_of(app, name, listed, theme) {
                say(text, style);
            }
        }
        Mode::ByPort | Mode::Matrix => {
            let Some(group) = ports.groups.get(ports.cursor) else { return lines };
            say(
                format!("{}: {} of {} nodes, {}", group.key, group.open(), ports.lists.len(), class_counts(group)),
                worst(group, theme),
            );
            if ports.mode == Mode::Matrix {
                let legend = "o open, o! unexpected, r served by packet rules, DEAD should answer and nothing does, \
                              FLAP closes again and again, FULL accept queue full, . closed; {left} {right} scroll";
                say(theme.keys.fill(legend), theme.dim);
            }
            for (name, _) in &ports.lists {
                let Some(state) = app.session.nodes.get(name) else { continue };
                for flap in state.flaps_now(app.session.now).filter(|flap| PortKey::from(flap.port) == group.key) {
                    say(format!("{flap}, on {name}"), theme.bad);
                }
                let full = state.ports.queues.values().filter(|queue| queue.is_full());
                for queue in full.filter(|queue| PortKey::from(queue.port) == group.key) {
                    let AcceptQueue { port, waiting, limit } = queue;
                    say(
                        format!("accept queue of {port} full on {name}: {waiting} wait, the backlog is {limit}"),
                        theme.bad,
                    );
                }
            }
            for ((name, key), probe) in &app.session.ports.probes {
                if *key == group.key {
                    say(probe_line(name, probe), theme.accent);
                }
            }
        }
    }
    lines
}

/// What there is to say of one port of a node.
pub(super) fn fact_of(app: &App, name: &NodeName, listed: &ListedPort, theme: &Theme) -> Vec<(String, Style)> {
    let (class, style) = class_of(listed.class, theme);
    let probe = app.session.ports.probes.get(&(name.clone(), PortKey::from(listed.port)));
    let gaps = app.session.nodes.get(name).into_iter().flat_map(|state| &state.ports.gaps);
    let flap = app.session.nodes.get(name).and_then(|state| state.flap(&listed.port, app.session.now));
    let full = app.session.nodes.get(name).and_then(|state| full_queue(state, listed));
    let full = full
        .map(|queue| format!("accept queue full: {} connections wait, the backlog is {}", queue.waiting, queue.limit));
    std::iter::once((format!("{} on {name}: {class}{}", place(listed), reason(listed)), style))
        .chain(full.map(|text| (text, theme.bad)))
        .chain(flap.map(|flap| (flap.to_string(), theme.bad)))
        .chain(probe.map(|probe| (probe_line(name, probe), theme.accent)))
        .chain(gaps.map(|gap| (gap.clone(), theme.warn)))
        .collect()
}

/// A port's accept queue, where it takes no more.
fn full_queue<'a>(state: &'a NodeState, listed: &ListedPort) -> Option<&'a AcceptQueue> {
    state.ports.queues.get(&listed.port).filter(|queue| queue.is_full())
}

/// What came of the last probe of a port, also in short.
pub(super) fn probe_of(
    app: &App,
    name: &NodeName,
    listed: &ListedPort,
    theme: &Theme,
) -> Option<(String, String, Style)> {
    let probe = app.session.ports.probes.get(&(name.clone(), listed.port.into()))?;
    let style = if probe.probed.outcome == ProbeOutcome::Reached { theme.good } else { theme.bad };
    Some((probe_text(&probe.probed), probe_in_short(&probe.probed), style))
}

fn place(listed: &ListedPort) -> String {
    let Port { local, .. } = listed.port;
    if listed.socket {
        listed.port.to_string()
    } else {
        format!("{} {} (no socket)", listed.port.protocol_name(), local.port())
    }
}

fn reason(listed: &ListedPort) -> String {
    let why = match listed.class {
        PortClass::ByRules => ", forwarded to its pods by packet rules",
        PortClass::Dead => ": should answer, and nothing does",
        _ => "",
    };
    let parts: Vec<&str> = [&*listed.why, &*listed.owner].into_iter().filter(|part| !part.is_empty()).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("{why}{parts}")
}

fn probe_line(name: &NodeName, probe: &ProbeResult) -> String {
    let ProbeResult { from, at, probed } = probe;
    format!("{} probe of {} on {name} from {from}: {}", time_of_day(*at), probed.probe.to, probe_text(probed))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn listed(text: &str) -> ListedPort {
        let nothing: Arc<str> = Arc::from("");
        let port = text.parse().expect("a port");
        ListedPort {
            port,
            socket: true,
            class: PortClass::Unknown,
            why: Arc::clone(&nothing),
            owner: nothing,
            since: 0,
        }
    }

    #[test]
    fn a_long_address_gets_room_and_its_port_and_interface_are_never_cut_off() {
        let long = "[fe80:1111:2222:3333:4444:5555:6666:7777%enp0s31f6abcde]:65535";
        let rows = [listed("tcp 0.0.0.0:22"), listed(&format!("udplite6 {long}"))];
        for width in [80, 100, 120, 200] {
            let columns = Columns::of(width, rows.iter());
            let shown = fit_middle(&address(&rows[1]), columns.address);
            assert_eq!(shown.width(), columns.address);
            assert!(shown.trim_end().ends_with("%enp0s31f6abcde]:65535"), "{width}: {shown}");
            assert_eq!(columns.protocol, 8);
            assert!(3 + columns.node + 1 + columns.protocol + 1 + columns.address + 1 + 9 + 11 <= width, "{width}");
        }
        assert_eq!(Columns::of(160, rows.iter()).address, long.len());
        assert_eq!(Columns::of(80, rows[..1].iter()).address, ADDRESS);
    }
}
