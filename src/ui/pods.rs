//! The Pods screen: pods with their nodes, addresses, phases and restarts.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, first_shown, fit, fit_middle, fit_right, short_name, wrapped_lines},
};
use crate::{
    base::text::visible,
    model::Place,
    screens::{App, cursor::RowKey, pods::PodRow},
};

/// Columns of the phase and of the restarts.
const PHASE: usize = 10;
const RESTARTS: usize = 8;
/// Below this width addresses are left out.
const ROOM_FOR_ADDRESSES: u16 = 60;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let rows = app.pod_rows();
    let found = app.list.workloads.found.iter().flat_map(|found| &found.gaps);
    // What is not known of services changes nothing here.
    let gaps: Vec<&str> = found.map(String::as_str).filter(|gap| gap.contains("pod")).collect();
    let gaps = gaps.join("; ");
    let told = u16::from(!gaps.is_empty());
    let [title, head, body, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(told)])
            .areas(area);
    let name = match rows.iter().filter(|row| row.aimed).count() {
        0 => format!("PODS ({})", rows.len()),
        captured => format!("PODS ({}, {captured} captured)", rows.len()),
    };
    frame.render_widget(crumbs(app, &["NODES"], &name, usize::from(title.width), theme), title);
    let columns = Columns::of(area.width);
    frame.render_widget(Line::styled(columns.head(), theme.dim), head);
    if told > 0 {
        let mut lines = wrapped_lines(&gaps, 1, usize::from(below.width), theme.warn);
        lines.truncate(1);
        frame.render_widget(Paragraph::new(lines), below);
    }
    if rows.is_empty() {
        let text = match (&app.list.workloads.found, &app.session.terms.place) {
            (_, Place::Local) => "this machine has no pods",
            (None, _) => "looking up pods ...",
            (Some(_), _) => "no pods to show",
        };
        frame.render_widget(Line::styled(format!("  {text}"), theme.dim), body);
        return;
    }
    let cursor = app.pod_place(&rows);
    let room = usize::from(body.height);
    let first = first_shown(cursor, rows.len(), room);
    hits.rows(body, rows.iter().skip(first).map(|row| RowKey::Pod(row.pod.name.clone())));
    hits.cursor = rows.get(cursor).map(|row| RowKey::Pod(row.pod.name.clone()));
    let lines: Vec<Line<'static>> = rows
        .iter()
        .enumerate()
        .skip(first)
        .take(room)
        .map(|(index, row)| {
            let selected = index == cursor;
            let line = columns.line(row, selected, theme);
            if selected { cursor_row(line, body.width, theme) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
}

/// How wide each column is.
struct Columns {
    name: usize,
    node: usize,
    addresses: usize,
}

impl Columns {
    fn of(width: u16) -> Self {
        let left = usize::from(width).saturating_sub(3 + PHASE + RESTARTS + 4);
        let addresses = if width < ROOM_FOR_ADDRESSES { 0 } else { (left / 4).clamp(12, 40) };
        let left = left.saturating_sub(addresses + 2);
        let node = (left / 3).clamp(6, 40);
        Self { name: left.saturating_sub(node), node, addresses }
    }

    fn head(&self) -> String {
        let addresses =
            if self.addresses > 0 { format!("{}  ", fit("ADDRESSES", self.addresses)) } else { String::new() };
        let (name, node) = (fit("POD", self.name), fit("NODE", self.node));
        format!("   {name} {node} {addresses}{} {}", fit("PHASE", PHASE), fit_right("RESTARTS", RESTARTS))
    }

    fn line(&self, row: &PodRow<'_>, selected: bool, theme: &Theme) -> Line<'static> {
        let pod = row.pod;
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        let shown = match (pod.host_network, addresses.is_empty()) {
            (true, _) => "the node's".to_owned(),
            (false, true) => "-".to_owned(),
            (false, false) => addresses.join(" "),
        };
        let restarts = pod.restarts.map_or_else(String::new, |count| count.to_string());
        let phase = if pod.is_faulty() { theme.warn } else { theme.plain };
        let mut spans = vec![
            Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
            Span::styled(if row.aimed { theme.symbols.running } else { " " }, theme.good),
            Span::styled(format!(" {} ", fit_middle(&visible(&pod.name), self.name)), theme.plain),
            Span::styled(format!("{} ", fit(&visible(&short_name(&pod.node, self.node)), self.node)), theme.plain),
        ];
        if self.addresses > 0 {
            spans.push(Span::styled(format!("{}  ", fit(&shown, self.addresses)), theme.dim));
        }
        spans.push(Span::styled(format!("{} ", fit(&visible(&pod.phase), PHASE)), phase));
        spans.push(Span::styled(fit_right(&restarts, RESTARTS), theme.plain));
        Line::from(spans)
    }
}
