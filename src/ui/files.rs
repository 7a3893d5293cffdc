//! The Files screen: every capture file, wherever it is.

use nodewatch_protocol::{CaptureFile, Delivery, Dropped};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::{
    Hits, Theme,
    widgets::{bar, crumbs, cursor_row, cut, first_shown, fit, fit_right, scrolled, short_name, wrapped_lines},
};
use crate::{
    base::text::{bytes, count, counted, from_to, lasting, visible},
    model::{FetchProgress, NodeName},
    screens::{App, cursor::RowKey},
    session::{
        Permission,
        files::{FileRow, MadeOf, Stored, Whereabouts},
    },
};

/// Columns of a capture file's name: its start to the microsecond, and its number.
pub(super) const NAME: usize = 36;

/// How wide what varies is.
struct Columns {
    node: usize,
    name: usize,
}

impl Columns {
    fn of(width: u16) -> Self {
        let width = usize::from(width);
        // Narrow, a file goes by its month, day and time to the second.
        let name = if width >= 120 { NAME } else { 16 };
        Self { node: width.saturating_sub(name + 50).clamp(8, 28), name }
    }

    fn file(&self, name: &str) -> String {
        if self.name < NAME { short_file(name) } else { visible(name) }
    }
}

/// A file's name where there is little room: 20231114T221320.123456Z-0001.pcapng becomes 1114T221320-0001.
pub(super) fn short_file(name: &str) -> String {
    let short = || {
        let (start, number) = name.strip_suffix(".pcapng")?.split_once('-')?;
        Some(format!("{}-{number}", start.get(4..15)?))
    };
    visible(&short().unwrap_or_else(|| name.to_owned()))
}

/// Every file of the session, and what S3 has of older ones.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme, hits: &mut Hits) {
    let rows = app.file_rows();
    let facts = if area.height >= 14 && !app.layout.zoomed { 5 } else { 0 };
    let [title, list, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(facts)]).areas(area);
    frame.render_widget(title_line(app, &rows, usize::from(title.width), theme), title);
    let columns = Columns::of(area.width);
    let head = format!(
        "  {} {} {} {} {}  WHERE",
        fit("NODE", columns.node),
        fit("FILE", columns.name),
        fit_right("PACKETS", 7),
        fit_right("SIZE", 8),
        fit_right("DROP", 5)
    );
    let cursor = app.file_place(&rows);
    let [heads, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(list);
    frame.render_widget(Line::styled(head, theme.dim), heads);
    let room = usize::from(body.height);
    let first = first_shown(cursor, rows.len(), room);
    hits.rows(body, rows.iter().skip(first).map(|row| RowKey::File(row.key.clone())));
    hits.cursor = rows.get(cursor).map(|row| RowKey::File(row.key.clone()));
    let shown = rows.iter().enumerate().skip(first).take(room);
    let mut lines: Vec<Line<'static>> = shown
        .map(|(index, row)| {
            let line = cut(row_line(app, row, &columns, index == cursor, theme), usize::from(body.width));
            if index == cursor { cursor_row(line, body.width, theme) } else { line }
        })
        .collect();
    if rows.is_empty() {
        let narrowed = app.layout.faults_only || !app.files.filter.0.is_empty();
        let text = if narrowed {
            "  no files match: {back} shows all"
        } else if app.session.permission == Permission::ReadOnly {
            "  no capture files yet"
        } else {
            "  no capture files yet: {capture} on a node starts a capture"
        };
        lines.push(Line::styled(theme.keys.fill(text), theme.dim));
    }
    scrolled(frame, body, lines, 0);
    if let Some(row) = rows.get(cursor) {
        let mut lines = vec![Line::styled(theme.symbols.rule.repeat(usize::from(below.width)), theme.dim)];
        let width = usize::from(below.width);
        lines.extend(facts_of(app, row, theme).iter().flat_map(|(text, style)| wrapped_lines(text, 1, width, *style)));
        scrolled(frame, below, lines, 0);
    }
}

fn title_line(app: &App, rows: &[FileRow<'_>], width: usize, theme: &Theme) -> Line<'static> {
    let marked = app.files.marks.len();
    let marked = if marked > 0 { format!(", {marked} marked") } else { String::new() };
    let mut spans = Vec::new();
    if let Some(storage) = &app.session.terms.storage {
        let (word, style) = match &app.session.transfers.stored {
            Stored::Unknown | Stored::Known(_) => ("", theme.dim),
            Stored::Asked => ("  listing", theme.dim),
            Stored::Failed(_) => ("  NOT LISTED", theme.bad),
        };
        spans.push(Span::styled(format!("  {}", visible(&storage.url.to_string())), theme.accent));
        spans.push(Span::styled(word, style));
        let waiting = app.session.undelivered();
        if waiting > 0 {
            spans.push(Span::styled(format!("  {} to upload", counted(waiting, "file")), theme.accent));
        }
    }
    if app.session.transfers.flow.rate > 0 {
        spans.push(Span::styled(format!("  {}/s", bytes(app.session.transfers.flow.rate)), theme.accent));
    }
    let discarded: u64 = rings(app).map(|ring| ring.discarded.files).sum();
    if discarded > 0 {
        let lost: u64 = rings(app).map(|ring| ring.discarded.packets).sum();
        let text = format!("  {} with {} packets DISCARDED before upload", counted(discarded as usize, "file"), lost);
        spans.push(Span::styled(text, theme.bad));
    }
    let line = Line::from(spans);
    let name = format!("FILES ({}{marked})", rows.len());
    let mut title = crumbs(app, &["NODES"], &name, width.saturating_sub(line.width()), theme);
    // What narrows the list stays at the right edge.
    let at = title.spans.len().min(3);
    title.spans.splice(at..at, line.spans);
    title
}

fn rings(app: &App) -> impl Iterator<Item = &nodewatch_protocol::RingState> {
    app.session.nodes.values().filter_map(|state| state.ring.as_ref())
}

fn row_line(app: &App, row: &FileRow<'_>, columns: &Columns, selected: bool, theme: &Theme) -> Line<'static> {
    let mark = if app.files.marks.contains(&row.key) { theme.symbols.mark } else { " " };
    let node = NodeName(row.key.node.clone());
    let owner = match &row.key.session {
        Some(session) => format!("{session}:{}", short_name(&node, columns.node.saturating_sub(session.len() + 1))),
        None => short_name(&node, columns.node),
    };
    let known = row.on_node.is_some() || row.made.is_some_and(|made| !made.is_table());
    let packets = if known { count(row.packets()) } else { "-".to_owned() };
    let dropped = row.on_node.map_or_else(|| "-".to_owned(), |file| drops(file.dropped).to_string());
    let text = format!(
        "{mark}{} {} {} {} {}  ",
        fit(&owner, columns.node),
        fit(&columns.file(&row.key.name), columns.name),
        fit_right(&packets, 7),
        fit_right(&bytes(row.size()), 8),
        fit_right(&dropped, 5)
    );
    let (place, style) = place(row, theme);
    let cursor = if selected { theme.symbols.cursor } else { " " };
    let mut spans = vec![Span::styled(cursor, theme.accent), Span::raw(text)];
    spans.extend(row.on_node.map(|file| mark_of(file, theme)));
    spans.push(Span::styled(place, style));
    Line::from(spans)
}

fn drops(dropped: Dropped) -> u64 {
    dropped.kernel + dropped.interface + dropped.queue
}

/// A word for a file that something is missing from.
pub(super) fn mark_of(file: &CaptureFile, theme: &Theme) -> Span<'static> {
    if file.is_complete() { Span::raw("") } else { Span::styled("INCOMPLETE ", theme.bad) }
}

/// What there is to say of a file.
pub(super) fn facts_of(app: &App, row: &FileRow<'_>, theme: &Theme) -> Vec<(String, Style)> {
    let mut texts = Vec::new();
    if let Some(file) = row.on_node {
        let Dropped { kernel, interface, queue } = file.dropped;
        let ended = if file.ended == 0 { app.session.wall(app.session.now) } else { file.ended };
        let span = from_to(file.started, ended);
        let length = lasting(ended.saturating_sub(file.started));
        texts.push((
            format!(
                "{span} ({length}), {} packets, dropped by kernel {kernel}, interface {interface}, queue {queue}",
                file.packets
            ),
            theme.plain,
        ));
        if !file.incomplete.is_empty() {
            texts.push((file.incomplete.clone(), theme.bad));
        }
        if row.removed {
            let storage = app.session.terms.storage.as_ref();
            let place = storage
                .map_or_else(|| "S3".to_owned(), |storage| format!("{}", storage.session(&app.session.terms.id)));
            texts.push((
                format!("not in S3 any more: it was uploaded, and the newest list of {place} lacks it"),
                theme.bad,
            ));
        }
        texts.extend(row.sha256().map(|sum| (format!("sha256:{sum}"), theme.dim)));
        match &file.delivery {
            Delivery::Waiting { reason } => texts.push((format!("not delivered yet: {reason}"), theme.warn)),
            Delivery::Lost { reason } => texts.push((format!("cannot be delivered: {reason}"), theme.bad)),
            Delivery::Held | Delivery::Sending { .. } | Delivery::Delivered { .. } => {}
        }
    }
    if let (Some(stored), Some(storage)) = (row.stored, &app.session.terms.storage) {
        texts.push((format!("{}  {}", storage.url.object(&stored.key), bytes(stored.size)), theme.good));
    }
    texts.extend(row.path().map(|path| (path.display().to_string(), theme.good)));
    texts
}

/// Where a file is, and how far it is on its way.
pub(super) fn place(row: &FileRow<'_>, theme: &Theme) -> (String, Style) {
    let place = row.place();
    let (word, size) = (place.word(), row.on_node.map_or(0, |file| file.size));
    let (text, style) = match place {
        Whereabouts::Writing => (word.to_owned(), theme.accent),
        Whereabouts::Coming { have, .. } if size == 0 => (format!("{word} {}", bytes(have)), theme.accent),
        Whereabouts::Coming { have, resuming: None } => {
            (format!("{word} {}", progress(have, size, theme)), theme.accent)
        }
        Whereabouts::Coming { have, resuming: Some(why) } => {
            (format!("{word} {} resuming: {}", progress(have, size, theme), visible(why)), theme.warn)
        }
        Whereabouts::Here(path) => {
            let path = visible(&path.display().to_string());
            let what = match row.made.map(|made| made.of) {
                None => return (format!("{word}, checked: {path}"), theme.good),
                Some(MadeOf::Captures { files, .. }) => counted(files, "file"),
                Some(MadeOf::Table { rows }) => counted(rows, "row"),
            };
            (format!("{what}, {word}: {path}"), theme.good)
        }
        Whereabouts::InS3 { compared: true } if row.on_node.is_some() => (format!("{word}, checked"), theme.good),
        Whereabouts::InS3 { compared: true } => (word.to_owned(), theme.good),
        Whereabouts::InS3 { compared: false } => (word.to_owned(), theme.warn),
        Whereabouts::Uploading { sent } => (format!("{word} {}", progress(sent, size, theme)), theme.accent),
        Whereabouts::OnNode => match row.on_node.map(|file| &file.delivery) {
            Some(Delivery::Waiting { .. }) => (format!("{word}, retrying S3"), theme.accent),
            Some(Delivery::Lost { .. }) => (format!("{word}, cannot be uploaded"), theme.accent),
            _ if row.removed => (format!("{word}, not in S3 any more"), theme.warn),
            _ => (word.to_owned(), theme.plain),
        },
        Whereabouts::Lost if row.removed => (format!("{word}: not in S3 any more"), theme.bad),
        Whereabouts::Lost => (format!("{word} with its agent"), theme.bad),
        Whereabouts::Gone => (word.to_owned(), theme.dim),
    };
    match row.here {
        Some(FetchProgress::Failed(notice)) => (format!("{text}, not fetched: {}", visible(&notice.cause)), theme.bad),
        _ => (text, style),
    }
}

/// A bar with its percentage.
fn progress(have: u64, size: u64, theme: &Theme) -> String {
    let percent = (have as f64 * 100.0 / size.max(1) as f64).min(100.0);
    format!("[{}] {percent:3.0}%", bar(have, size, 12, theme))
}
