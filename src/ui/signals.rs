//! The Signals screen: a row a signal, a column a node.
//!
//! Only the rows and nodes that fit are made: there may be a thousand nodes.

use nodewatch_signals::Signal;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, first_shown, fit, fit_middle, fit_right, short_name, sparkline, wrapped_lines},
};
use crate::{
    base::text::{count, counted, visible},
    screens::{
        App,
        cursor::RowKey,
        signals::{SignalRow, Signals, Standing, standings},
    },
    session::node::STEPS,
};

/// Rows below the list for what the signal of the cursor's row means, and from how many rows on they are there.
const FACTS: u16 = 4;
const ROOM_FOR_FACTS: u16 = 12;
/// Columns of a node.
const CELL: usize = 9;
/// Columns of a sign and an amount.
const AMOUNT: usize = 9;

/// How wide what varies is.
struct Columns {
    name: usize,
    spark: usize,
    nodes: std::ops::Range<usize>,
}

impl Columns {
    fn of(signals: &Signals, width: usize) -> Self {
        let (name, spark) = if width >= 110 { (34, STEPS) } else { (28, STEPS / 2) };
        let room = width.saturating_sub(1 + name + 1 + AMOUNT + 1 + spark + 1);
        let fits = (room / CELL).max(1);
        let first = signals.first_column.min(signals.nodes.len().saturating_sub(fits));
        Self { name, spark, nodes: first..(first + fits).min(signals.nodes.len()) }
    }

    fn head(&self, signals: &Signals, theme: &Theme) -> Line<'static> {
        let mut head =
            format!(" {} {} {} ", fit("SIGNAL", self.name), fit_right("ALL", AMOUNT), fit("LAST 2 MIN", self.spark));
        for name in signals.nodes.iter().take(self.nodes.end).skip(self.nodes.start) {
            // What tells nodes apart is at their names' ends.
            let name = short_name(name, 0);
            let skipped = name.chars().count().saturating_sub(CELL - 1);
            head.push_str(&fit_right(&name.chars().skip(skipped).collect::<String>(), CELL));
        }
        Line::styled(head, theme.dim)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let signals = &app.signals;
    let facts = if area.height >= ROOM_FOR_FACTS && !app.layout.zoomed { FACTS } else { 0 };
    let [title, head, body, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(facts)])
            .areas(area);
    let out = signals.rows.iter().filter(|row| row.all.out).count();
    let bad = if out == 0 { String::new() } else { format!(", {out} out of the normal") };
    let name = format!("SIGNALS ({}{bad}, {})", signals.rows.len(), counted(signals.nodes.len(), "node"));
    frame.render_widget(crumbs(app, &["NODES"], &name, usize::from(title.width), theme), title);
    if signals.rows.is_empty() {
        let text = if signals.nodes.is_empty() {
            "  no signals yet: deploy to nodes first ({back}, {mark}, {deploy})"
        } else if app.layout.faults_only && signals.filter.0.is_empty() {
            "  nothing is out of the normal: {back} shows all"
        } else {
            "  no signals match: {back} shows all"
        };
        frame.render_widget(Line::styled(theme.keys.fill(text), theme.dim), body);
        return;
    }
    let columns = Columns::of(signals, usize::from(area.width));
    frame.render_widget(columns.head(signals, theme), head);
    let room = usize::from(body.height);
    let first = first_shown(signals.cursor, signals.rows.len(), room);
    let key = |row: &SignalRow| RowKey::Signal(row.info().name.to_owned());
    hits.rows(body, signals.rows.iter().skip(first).map(key));
    let nodes: Vec<Vec<Option<Standing>>> = columns
        .nodes
        .clone()
        .filter_map(|at| app.session.nodes.get(signals.nodes.get(at)?))
        .map(|state| standings(state, app.session.now))
        .collect();
    let lines: Vec<Line<'static>> = signals
        .rows
        .iter()
        .enumerate()
        .skip(first)
        .take(room)
        .map(|(at, row)| {
            let selected = at == signals.cursor;
            let line = line(row, &nodes, &columns, selected, theme);
            if selected { cursor_row(line, body.width, theme) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
    if let Some(row) = signals.row(signals.cursor).filter(|_| facts > 0) {
        let width = usize::from(below.width);
        let mut lines = vec![Line::styled(theme.symbols.rule.repeat(width), theme.dim)];
        for (text, style) in facts_of(row.info(), theme) {
            lines.extend(wrapped_lines(&text, 1, width, style));
        }
        frame.render_widget(Paragraph::new(lines), below);
    }
}

fn line(
    row: &SignalRow,
    nodes: &[Vec<Option<Standing>>],
    columns: &Columns,
    selected: bool,
    theme: &Theme,
) -> Line<'static> {
    let info = row.info();
    let out = match row.out {
        0 => String::new(),
        1 => "! ".to_owned(),
        many => format!("!{many} "),
    };
    let name = fit(info.name, columns.name.saturating_sub(4));
    let style = style_of(&row.all, theme);
    let mut spans = vec![
        Span::styled(if selected { theme.symbols.cursor } else { " " }, theme.accent),
        Span::styled(fit_right(&out, 4), theme.warn),
        Span::styled(format!("{name} "), style),
        Span::styled(format!("{} ", fit_right(&amount(info, row.all.amount), AMOUNT)), style),
        Span::styled(format!("{} ", sparkline(row.points.into_iter(), columns.spark, theme)), theme.accent),
    ];
    for standings in nodes {
        let own = standings.get(usize::from(row.signal)).copied().flatten();
        let (text, style) = cell(info, own, theme);
        spans.push(Span::styled(fit_right(&text, CELL), style));
    }
    Line::from(spans)
}

/// How a node stands: a sign where that is out of the normal, whatever colours the terminal has.
pub(super) fn cell(info: &Signal, own: Option<Standing>, theme: &Theme) -> (String, Style) {
    match own {
        None => ("-".to_owned(), theme.dim),
        Some(own) => {
            let sign = if own.out { "! " } else { "" };
            (format!("{sign}{}", amount(info, own.amount)), style_of(&own, theme))
        }
    }
}

pub(super) fn style_of(standing: &Standing, theme: &Theme) -> Style {
    match (standing.out, standing.moved) {
        (true, _) => theme.warn,
        (false, true) => theme.plain,
        (false, false) => theme.dim,
    }
}

/// A counter's amount is a difference.
pub(super) fn amount(info: &Signal, amount: u64) -> String {
    let sign = if info.is_counter() && amount > 0 { "+" } else { "" };
    format!("{sign}{}", count(amount))
}

/// What a signal means, as far as there is room for it below a list.
pub(super) fn facts_of(info: &Signal, theme: &Theme) -> Vec<(String, Style)> {
    let note = if info.note.is_empty() { String::new() } else { format!(" {}", info.note) };
    vec![
        (format!("{}{note}", info.meaning), theme.plain),
        (format!("normal: {}; {} ({}, {})", info.normal, info.unit, info.origin.text(), info.field), theme.dim),
    ]
}

/// What an item is called in a column.
pub(super) fn named(info: &Signal, item: &str, width: usize) -> String {
    let whole = if item.is_empty() { info.name.to_owned() } else { format!("{} {}", info.name, visible(item)) };
    if whole.width() > width && !item.is_empty() { fit_middle(&whole, width) } else { fit(&whole, width) }
}
