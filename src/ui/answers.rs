//! The Answers screen: a line an answer, and all of it below where it is opened.
//!
//! Owns how wide the columns are, and what is said where there is no answer.

use nodewatch_answers::{Answer, Certainty, words};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Hits, Theme,
    widgets::{crumbs, cursor_row, cut, first_shown, fit, fit_middle, fit_right, wrapped_lines},
};
use crate::{
    base::text::{counted, lasting, time_of_day, visible},
    model::Place,
    screens::{
        App,
        answers::{AnswerRow, when},
        cursor::RowKey,
    },
    session::node::NodeState,
};

/// Columns before the title, of its certainty, of numbers, and of its times.
const FRONT: usize = 3;
const CERTAINTY: usize = 8;
const MANY: usize = 12;
const WHEN: usize = 11;
/// From these widths on there is more room for the title, and for a word of what is over.
const ROOM_FOR_TITLES: usize = 100;
const TITLE: usize = 24;
const LONG_TITLE: usize = 38;
const WAS: usize = 15;
/// How far parts are indented, and how wide their names are.
const INDENT: usize = 5;
const NAME: usize = 10;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let rows = app.answer_rows();
    let width = usize::from(area.width);
    let found = rows.iter().filter_map(AnswerRow::answer).any(|answer| answer.is_current() && is_felt(answer));
    let narrowed = app.answers.why.is_some() || !app.answers.filter.0.is_empty() || app.layout.faults_only;
    let nothing = if found { Vec::new() } else { nothing(app, !rows.is_empty(), narrowed, width, theme) };
    let notes = if found { notes(app, width, theme) } else { Vec::new() };
    let of_all = if rows.is_empty() { area.height } else { area.height / 2 };
    let [title, looked, above, body, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::from(app.session.answers.looked().until > 0)),
        Constraint::Length((nothing.len() as u16).min(of_all)),
        Constraint::Min(0),
        Constraint::Length(notes.len() as u16),
    ])
    .areas(area);
    frame.render_widget(crumbs(app, &["NODES"], &heading(app), width, theme), title);
    frame.render_widget(cut(Line::styled(format!(" {}", looked_at(app)), theme.dim), width), looked);
    frame.render_widget(Paragraph::new(nothing), above);
    frame.render_widget(Paragraph::new(notes), below);
    list(frame, body, app, &rows, theme, hits);
}

/// Somebody has felt it: it is more than a counter.
fn is_felt(answer: &Answer) -> bool {
    answer.certainty != Certainty::Note
}

/// Rows, of which some take several lines; the cursor's is in sight.
fn list(frame: &mut Frame<'_>, area: Rect, app: &App, rows: &[AnswerRow<'_>], theme: &Theme, hits: &mut Hits) {
    let width = usize::from(area.width);
    let cursor = app.answer_place(rows);
    let mut lines: Vec<(usize, Line<'static>)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let selected = index == cursor;
        let sign = if selected { theme.symbols.cursor } else { " " };
        for line in row_lines(row, width, theme) {
            let line: Line<'static> = std::iter::once(Span::styled(sign, theme.accent)).chain(line.spans).collect();
            let line = cut(line, width);
            lines.push((index, if selected { cursor_row(line, width, theme) } else { line }));
        }
    }
    let room = usize::from(area.height);
    let at = lines.iter().position(|(index, _)| *index == cursor).unwrap_or(0);
    let first = first_shown(at, lines.len(), room);
    let shown = lines.into_iter().skip(first).take(room);
    let mut texts = Vec::new();
    for (line, (index, text)) in shown.enumerate() {
        let place = Rect { y: area.y + line as u16, height: 1, ..area };
        hits.row(place, RowKey::Answer(rows[index].key()));
        texts.push(text);
    }
    hits.cursor = rows.get(cursor).map(|row| RowKey::Answer(row.key()));
    frame.render_widget(Paragraph::new(texts), area);
}

fn row_lines(row: &AnswerRow<'_>, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    match row {
        AnswerRow::Answer(answer, open) => vec![head(answer, *open, width, theme)],
        AnswerRow::Part { of, name, text, .. } => part(of, name, text, width, theme),
        AnswerRow::Silenced(code, standing) => {
            let many =
                if *standing > 0 { format!(", {} of it now", counted(*standing, "answer")) } else { String::new() };
            let key = theme.keys.fill("{silence} shows it");
            let text = format!("  {} {} silenced{many}: {key}", code.text(), code.name());
            vec![Line::from(Span::styled(text, theme.dim))]
        }
    }
}

/// An answer in one line.
fn head(answer: &Answer, open: bool, width: usize, theme: &Theme) -> Line<'static> {
    let wide = width >= ROOM_FOR_TITLES;
    let (title, times) = if wide { (LONG_TITLE, WAS) } else { (TITLE, WHEN) };
    let place = width.saturating_sub(FRONT + CERTAINTY + 1 + title + 1 + MANY + 2 + times + 1);
    let over = !answer.is_current();
    let plain = if over || answer.certainty == Certainty::Note { theme.dim } else { theme.plain };
    let style = match answer.certainty {
        _ if over => theme.dim,
        Certainty::Verdict => theme.bad,
        Certainty::Likely => theme.warn,
        Certainty::Located => theme.plain,
        // It is never loud.
        Certainty::Note => plain,
    };
    let word = match (over, answer.certainty.is_answer()) {
        (true, _) if !wide => "over".to_owned(),
        (false, true) => answer.certainty.word().to_uppercase(),
        _ => answer.certainty.word().to_owned(),
    };
    let times_text = if over && wide { format!("was {}", when(answer)) } else { when(answer) };
    let name = if is_felt(answer) {
        let place = fit_middle(&visible(&answer.place.text()), place);
        let many = fit_right(&words::many(answer), MANY);
        format!("{} {place} {many}", fit(&visible(&answer.title()), title))
    } else {
        // A note is a sentence, and has neither code nor a number of those that it hurts.
        fit(&visible(&answer.text), (title + 1 + place + 1 + MANY).min(width))
    };
    Line::from(vec![
        Span::styled(if open { "- " } else { "+ " }, theme.dim),
        Span::styled(fit(&word, CERTAINTY), style),
        Span::styled(format!(" {name}"), plain),
        Span::styled(format!("  {times_text}"), theme.dim),
    ])
}

/// A part of an answer over as many lines as it takes.
fn part(answer: &Answer, name: &str, text: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let indent = INDENT + NAME;
    let style = part_style(answer, name, text, theme);
    // The sentence needs no name, and has its room.
    let (indent, name) = if name.is_empty() && text == answer.text { (INDENT, None) } else { (indent, Some(name)) };
    let lines = textwrap::wrap(&visible(text), width.saturating_sub(indent + 2).max(1))
        .into_iter()
        .map(std::borrow::Cow::into_owned)
        .collect::<Vec<_>>();
    let mut names = name.into_iter();
    lines
        .into_iter()
        .map(|line| {
            let name = names.next().unwrap_or_default();
            let front = format!("{}{}", " ".repeat(INDENT), fit(name, indent - INDENT));
            Line::from(vec![Span::styled(front, theme.dim), Span::styled(line, style)])
        })
        .collect()
}

fn part_style(answer: &Answer, name: &str, text: &str, theme: &Theme) -> Style {
    match name {
        words::DO => theme.accent,
        _ if text == answer.text => theme.title,
        _ => theme.plain,
    }
}

fn heading(app: &App) -> String {
    let of = |certainty| app.session.answers.current().filter(|answer| answer.certainty == certainty).count();
    let over = app.session.answers.history().count();
    let silenced = app.session.answers.silenced().len();
    let mut parts = vec![app.session.answers.count().to_string()];
    let more =
        [(of(Certainty::Located), "located"), (of(Certainty::Note), "notes"), (over, "over"), (silenced, "silenced")];
    parts.extend(more.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    format!("ANSWERS ({})", parts.join(", "))
}

/// What was looked at, in one line.
fn looked_at(app: &App) -> String {
    let looked = app.session.answers.looked();
    let minute = |at: u64| time_of_day(at).chars().take(5).collect::<String>();
    // What two nodes have seen each of them counts.
    let (watched, added) = if looked.several { ("", "added up: ") } else { ("watched ", "") };
    format!(
        "{}, {} {}{}-{}   {}{} attempts, {} failed, {} delayed",
        counted(looked.nodes, "node"),
        counted(looked.taps, "interface"),
        watched,
        minute(looked.since),
        minute(looked.until),
        added,
        looked.attempts,
        looked.failed,
        looked.delayed
    )
}

/// What is not explained, and what could not be seen, a line each.
fn notes(app: &App, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let unexplained = app.session.answers.looked().unexplained as usize;
    let unexplained = (unexplained > 0).then(|| {
        let text =
            format!("{} of the last minute unexplained: {{connections}} shows pairs", counted(unexplained, "symptom"));
        cut(Line::styled(format!(" {}", theme.keys.fill(&text)), theme.warn), width)
    });
    let spots = app.session.blind_spots().join("; ");
    let unseen = cut(Line::styled(format!(" not seen: {}", visible(&spots)), theme.dim), width);
    unexplained.into_iter().chain([unseen]).collect()
}

/// Why there is no answer: what to press, or what was looked at without finding anything.
fn nothing(app: &App, rows: bool, narrowed: bool, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let answering = &app.session.answers;
    let looked = answering.looked();
    if looked.until == 0 {
        return wrapped_lines(&theme.keys.fill(&unwatched(app)), 2, width, theme.dim);
    }
    let mut lines = Vec::new();
    let mut put = |text: &str, style: Style| lines.extend(wrapped_lines(text, 2, width, style));
    if narrowed {
        put(&theme.keys.fill("no answer that stands matches: {back} shows all, {connections} how many attempts of each pair have failed"), theme.plain);
        app.why_counts().iter().for_each(|line| put(&visible(line), theme.plain));
        if !rows {
            return lines;
        }
    } else {
        let over = lasting(looked.until.saturating_sub(looked.since));
        let withheld = answering.withheld().map(|what| format!("no answer is shown: {what}"));
        put(&withheld.unwrap_or_else(|| words::nothing(&looked, &over)), theme.plain);
    }
    if looked.unexplained > 0 {
        let text = format!(
            "{} of the last minute unexplained: {{connections}} shows pairs",
            counted(looked.unexplained as usize, "symptom")
        );
        put(&theme.keys.fill(&text), theme.warn);
    }
    for (at, spot) in app.session.blind_spots().iter().enumerate() {
        put(&format!("{:<10}{spot}", if at == 0 { "not seen" } else { "" }), theme.dim);
    }
    let next = if app.session.nodes.values().any(NodeState::has_recorder) {
        "next      {freeze} saves what the flight recorders have, for when it happens again"
    } else {
        "next      {capture-options} on nodes arms a flight recorder; {freeze} saves what it has when it happens again"
    };
    put(&theme.keys.fill(next), theme.dim);
    if app.session.terms.place != Place::Local {
        put(&theme.keys.fill("          {back}, then {answers} watches more nodes"), theme.dim);
    }
    lines
}

/// That nothing was told yet, and what to press.
fn unwatched(app: &App) -> String {
    let of = |so: fn(&NodeState) -> bool| app.session.nodes.values().filter(|state| so(state)).count();
    match (of(NodeState::is_watching), of(NodeState::is_to_watch)) {
        (0, 0) if app.session.terms.place == Place::Local => {
            "this machine is not watched: {back}, then {answers} watches it".to_owned()
        }
        (0, 0) => {
            "no node is watched: {back}, then {answers} watches the selected node, or those marked with {mark}; it \
                   deploys the agent where there is none"
                .to_owned()
        }
        (0, pending) => format!("{} to be watched, each as soon as its agent is live", counted(pending, "node")),
        (watched, _) => format!("{} watched: nothing told yet", counted(watched, "node")),
    }
}
