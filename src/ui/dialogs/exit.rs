//! The guided exit: every group of things with what becomes of it, and on demand each thing in it.

mod recorders;

use nodewatch_protocol::CaptureFile;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::UnicodeWidthStr;

use self::recorders::recorders_lines;
use crate::{
    base::text::{bytes, counted, lasting, visible},
    model::{FetchProgress, Group, NodeName},
    screens::{Action, App, dialogs::exit::ExitView},
    session::{
        exit::{Exit, Phase},
        files::{FileRow, Whereabouts},
        ledger::{Fate, Found, Thing, What},
        node::NodeState,
    },
    ui::{
        Theme, files,
        widgets::{cursor_row, dialog, first_line, fit, fit_right, key_lines, scrolled, short_name, wrapped_lines},
    },
};

/// A removal that takes longer, in milliseconds, is a slow one.
const SLOW: u64 = 12_000;

/// Draws it; the first line that is shown.
pub(in crate::ui) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    view: ExitView,
    theme: &Theme,
) -> Option<usize> {
    let exit = app.session.exit()?;
    let outside = 96.min(area.width.saturating_sub(2));
    let width = usize::from(outside.saturating_sub(2));
    let mut lines = vec![Line::styled(format!(" {}", theme.keys.fill(&headline(app, exit))), theme.title)];
    if let Some(notice) = &exit.trouble {
        lines.extend(wrapped_lines(&theme.notice(notice), 1, width, theme.bad));
    }
    let mut at = 0;
    for group in exit.groups() {
        at = if group == view.cursor { lines.len() } else { at };
        lines.extend(group_lines(app, (exit, view), group, width, theme));
        if group == Group::Files {
            lines.extend(have_line(app, width, theme));
            lines.extend(recorders_lines(app, exit, width, theme));
        }
    }
    lines.push(report_line(app, theme));
    let keys = key_lines(&keys(app, exit, view), width, theme);
    // As high as what is in it, with its border and its keys.
    let height = ((lines.len() + keys.len()) as u16 + 2).min(area.height.saturating_sub(2));
    let title = format!("Leave session {}?", app.session.terms.id);
    let inside = dialog(frame, area, (outside, height), &title, theme);
    let bottom = inside.height.min(keys.len() as u16);
    let body = Rect { height: inside.height - bottom, ..inside };
    let (all, room) = (lines.len(), usize::from(body.height));
    let mut scroll = first_line(all, room, app.scroll);
    // The group that was gone to is seen, with what is in it.
    if view.follow && !(scroll..scroll + room).contains(&at) {
        scroll = at.saturating_sub(room / 2);
    }
    let first = scrolled(frame, body, lines, scroll);
    frame.render_widget(Paragraph::new(keys), Rect { y: body.bottom(), height: bottom, ..inside });
    if all > room && inside.height > 0 {
        let more = theme.keys.fill("{page-down} {bottom} more");
        let part = format!(" {}-{} of {all}  {more} ", first + 1, (first + room).min(all));
        let border = Rect { y: inside.bottom(), height: 1, ..inside }.intersection(area);
        frame.render_widget(Line::styled(fit(&part, part.width().min(width)), theme.accent), border);
    }
    Some(first)
}

fn headline(app: &App, exit: &Exit) -> String {
    let files = app.session.nodes.values().flat_map(NodeState::unfetched).count();
    let went_on = lasting(app.session.now.saturating_sub(exit.since));
    match exit.phase {
        Phase::Asking if exit.keeps(Group::Agents) => "{open}: detach, agents and captures keep running".to_owned(),
        Phase::Asking if exit.keep.is_empty() => "{open}: stop captures, fetch files, remove everything".to_owned(),
        Phase::Asking if exit.keep.iter().all(|group| matches!(group, Group::Storage | Group::Reports)) => {
            let kept = match (exit.keeps(Group::Storage), exit.keeps(Group::Reports)) {
                (true, true) => "the captures in S3 and the reports",
                (true, false) => "the captures in S3",
                (false, _) => "the reports",
            };
            format!("{{open}}: stop captures, deliver files, remove all but {kept}")
        }
        Phase::Asking => "{open}: as chosen below".to_owned(),
        Phase::Stopping { .. } => match app.session.saving() {
            Some(left) => format!("flight recorders are saving, {} more", lasting(left.div_ceil(1000) * 1000)),
            None => format!("waiting for captures to close their files, {went_on}"),
        },
        Phase::Delivering { .. } => {
            format!("delivering {} to S3, {went_on}", counted(app.session.undelivered(), "file"))
        }
        Phase::Fetching => format!("fetching {}, {went_on}", counted(files, "file")),
        Phase::FetchFailed => match unreachable(app) {
            0 if files > 0 => "some files could not be fetched".to_owned(),
            0 => "every agent answers again: {open} stops captures and goes on".to_owned(),
            nodes => format!("captures on {} could not be stopped: no answer", counted(nodes, "node")),
        },
        Phase::Removing => {
            let why = match exit.end.silent {
                Some(seconds) => format!("the API server does not answer, {}", lasting(seconds * 1000)),
                None if app.session.now.saturating_sub(exit.since) < SLOW => "a namespace takes 5 to 10 s".to_owned(),
                None => "slower than usual".to_owned(),
            };
            format!("removing, {} left, {went_on} ({why})", exit.ledger.left())
        }
        Phase::RemoveFailed if exit.end.sure => {
            format!("also delete what is not this session's: {}?", visible(&exit.end.holds.join(", ")))
        }
        Phase::RemoveFailed => format!("{} may still exist", counted(exit.ledger.left(), "object")),
        Phase::Detaching { .. } => format!("detaching from {}, {went_on}", counted(exit.untold.len(), "agent")),
        Phase::Done => "everything is gone".to_owned(),
    }
}

/// What the user takes away of the session besides its files.
fn report_line(app: &App, theme: &Theme) -> Line<'static> {
    let (word, style) = if app.choices.report_at_end { ("yes", theme.accent) } else { ("no", theme.dim) };
    let key = theme.keys.fill("({report} changes it)");
    Line::from(vec![
        Span::styled(" report ", theme.accent),
        Span::styled(format!(" {word}"), style),
        Span::styled(format!("  a page for those who were not there {key}"), theme.dim),
    ])
}

/// What is here already.
fn have_line(app: &App, width: usize, theme: &Theme) -> Option<Line<'static>> {
    let rows = app.session.all_files().into_iter().filter(|row| row.key.session.is_none() && !row.is_table());
    let here: Vec<FileRow<'_>> = rows.filter(|row| row.path().is_some()).collect();
    let first = here.first()?;
    // A capture lies in its node's folder, and what was made of several beside these.
    let folder = first.path()?.ancestors().nth(if first.made.is_some() { 1 } else { 2 })?.display().to_string();
    let text = format!("{}, {}", counted(here.len(), "file"), bytes(here.iter().map(FileRow::size).sum()));
    let text = format!("{}  in {}", fit(&text, 34), visible(&folder));
    let room = width.saturating_sub(9);
    Some(Line::from(vec![Span::styled(" have    ", theme.good), Span::raw(tail(&text, room))]))
}

/// Nodes whose captures go on because their agents cannot be reached.
fn unreachable(app: &App) -> usize {
    app.session.nodes.values().filter(|state| state.is_writing() && !state.agent.has_tunnel()).count()
}

/// Names of nodes that fit, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a NodeName>, room: usize) -> String {
    let names: Vec<String> = names.map(|name| short_name(name, 24)).collect();
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        let next = if text.is_empty() { name.clone() } else { format!("{text}, {name}") };
        let more = if at + 1 < names.len() { format!(" and {} more", names.len() - at - 1) } else { String::new() };
        if at > 0 && next.width() + more.len() > room {
            return format!("{text} and {} more", names.len() - at);
        }
        text = next;
    }
    text
}

/// A text whose end tells most, in so many columns.
fn tail(text: &str, room: usize) -> String {
    if text.width() <= room || !text.is_ascii() {
        return fit(text, room).trim_end().to_owned();
    }
    format!("~{}", &text[text.len() - room.saturating_sub(1).min(text.len())..])
}

fn group_lines(
    app: &App,
    (exit, view): (&Exit, ExitView),
    group: Group,
    width: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let (what, mut items) = match group {
        Group::Files => file_lines(app, exit, width, theme),
        Group::Agents | Group::Base => object_lines(app, exit, group, width, theme),
        Group::Storage | Group::Reports | Group::Alarms => {
            let lines = exit.ledger.of(group).flat_map(|thing| thing_lines(thing, width, theme)).collect();
            let what = match group {
                Group::Storage => "captures in S3",
                Group::Alarms => "alarms in CloudWatch",
                _ => "reports in CloudWatch Logs",
            };
            let told = |thing: &Thing| match &thing.fate {
                Fate::There(state) => format!("{}  {}", visible(&thing.name()), visible(state)),
                _ => visible(&thing.name()),
            };
            let names: Vec<String> = exit.ledger.of(group).map(told).collect();
            (format!("{}  {}", fit(what, 26), names.join(", ")), lines)
        }
    };
    if !view.details {
        items = told(app, exit, group, width, theme);
    }
    let asking = exit.phase == Phase::Asking;
    let fate = match (group, exit.keeps(group)) {
        // Nothing becomes of no file.
        (Group::Files, _) if has_no_files(app) => "",
        (Group::Files, false) => "fetch",
        (Group::Files, true) if exit.discards_files() => "discard",
        (_, false) => "remove",
        (_, true) => "keep",
    };
    let selected = asking && view.cursor == group;
    let cursor = if selected { theme.symbols.cursor } else { " " };
    let style = match exit.keeps(group) {
        true if group == Group::Files && exit.discards_files() => theme.bad,
        true => theme.warn,
        false => theme.accent,
    };
    // What does not fit goes on below.
    let mut parts = wrapped_lines(&what, 0, width.saturating_sub(9), theme.plain).into_iter();
    let mut head = Line::from(vec![Span::styled(format!("{cursor}{fate:7} "), style)]);
    head.spans.extend(parts.next().unwrap_or_default().spans);
    let mut lines = vec![if selected { cursor_row(head, width, theme) } else { head }];
    lines.extend(parts.map(|mut part| {
        part.spans.insert(0, Span::raw(" ".repeat(9)));
        part
    }));
    lines.append(&mut items);
    lines
}

/// No file is on a node, was lost with one, or will be there when captures have ended.
fn has_no_files(app: &App) -> bool {
    let none = |state: &NodeState| {
        let only_there = state.files.iter().any(|file| is_only_there(state, file));
        !only_there
            && !state.is_capturing()
            && state.late_files().next().is_none()
            && state.lost_files().next().is_none()
    };
    app.session.nodes.values().all(none)
}

/// Neither here nor, as far as was proved, in S3.
fn is_only_there(state: &NodeState, file: &CaptureFile) -> bool {
    !matches!(state.fetches.get(&file.name), Some(FetchProgress::Done { .. })) && !state.is_proved_in_s3(file)
}

/// What has to be read of a group although nobody has asked for each thing: what failed, is unknown, or is under way.
fn told(app: &App, exit: &Exit, group: Group, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    if group == Group::Files {
        for row in app.session.all_files() {
            if let (None, Some(FetchProgress::Failed(notice)), Some(file)) = (&row.key.session, row.here, row.on_node) {
                let node = NodeName(row.key.node.clone());
                lines.push(file_line(file, &node, &format!("{}, not fetched", row.place().word()), theme.bad));
                lines.extend(wrapped_lines(&notice.cause, 13, width, theme.bad));
            }
        }
        for (name, state) in &app.session.nodes {
            lines.extend(state.lost_files().map(|file| file_line(file, name, "lost with its agent", theme.bad)));
        }
        return lines;
    }
    if group == Group::Agents {
        lines.extend(not_begun(app, exit, theme));
    }
    let removing = exit.phase == Phase::Removing;
    for thing in exit.ledger.of(group) {
        match &thing.fate {
            Fate::Failed(_) | Fate::Unknown(_) => lines.extend(thing_lines(thing, width, theme)),
            Fate::Removing if removing && group == Group::Base => lines.extend(thing_lines(thing, width, theme)),
            _ => {}
        }
    }
    lines
}

fn file_lines(app: &App, exit: &Exit, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let mut lines = Vec::new();
    let mut size = 0;
    let mut count = 0;
    let mut lost = 0;
    for (name, state) in &app.session.nodes {
        for file in &state.files {
            if is_only_there(state, file) {
                (size, count) = (size + file.size, count + 1);
            }
            let row = FileRow::on_node(state, file);
            let failed = match row.here {
                Some(FetchProgress::Failed(notice)) => Some(notice),
                _ => None,
            };
            let (place, style) = match failed {
                Some(_) => (format!("{}, not fetched", row.place().word()), theme.bad),
                None if row.place() == Whereabouts::OnNode && exit.discards_files() => {
                    (format!("{}, discarded", row.place().word()), theme.bad)
                }
                None if row.place() == Whereabouts::OnNode && exit.keeps(Group::Files) => {
                    (format!("{}, kept there", row.place().word()), theme.warn)
                }
                None => files::place(&row, theme),
            };
            lines.push(file_line(file, name, &place, style));
            lines.extend(failed.into_iter().flat_map(|notice| wrapped_lines(&notice.cause, 13, width, theme.bad)));
        }
        for file in state.late_files() {
            lines.push(file_line(file, name, "coming, its agent is gone", theme.accent));
        }
        for file in state.lost_files() {
            lost += 1;
            lines.push(file_line(file, name, "lost with its agent", theme.bad));
        }
    }
    let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
    let head = match count {
        0 => "no files that are only on nodes".to_owned(),
        count => format!("{} only on nodes, {}{lost}", counted(count, "file"), bytes(size)),
    };
    let nodes = app.session.nodes.values();
    let nodes = nodes.filter(|state| state.files.iter().any(|file| is_only_there(state, file)));
    let nodes = listed(nodes.map(|state| &state.node.name), width.saturating_sub(9 + 36));
    (format!("{}  {nodes}", fit(&head, 34)).trim_end().to_owned(), lines)
}

fn object_lines(app: &App, exit: &Exit, group: Group, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let count = exit.ledger.of(group).count();
    let mut lines: Vec<Line<'static>> =
        exit.ledger.of(group).flat_map(|thing| thing_lines(thing, width, theme)).collect();
    // Before the cluster has said what there is, the agents are known all the same.
    if group == Group::Agents && lines.is_empty() && !exit.ledger.stocked {
        let deployed = app.session.nodes.values().filter(|state| state.agent.is_deployed());
        lines.extend(deployed.map(|state| {
            let capture = if state.is_capturing() { ", capturing" } else { "" };
            item(state.agent_word(), theme.plain, format!("agent on {}{capture}", visible(&state.node.name.0)))
        }));
    }
    if group == Group::Agents {
        lines.extend(not_begun(app, exit, theme));
    }
    let known = exit.ledger.stocked || !exit.phase.is_before_removal();
    let room = width.saturating_sub(9 + 36);
    let gone = exit.ledger.of(group).filter(|thing| thing.fate == Fate::Gone).count();
    let gone = if gone > 0 { format!(", {gone} gone") } else { String::new() };
    let (what, names) = match group {
        Group::Agents if known => (counted(count, "agent"), agent_names(exit, room)),
        Group::Agents => {
            let deployed = app.session.nodes.values().filter(|state| state.agent.is_deployed());
            let names: Vec<&NodeName> = deployed.map(|state| &state.node.name).collect();
            (counted(names.len(), "agent"), listed(names.into_iter(), room))
        }
        _ => {
            let names = exit.ledger.of(group).map(|thing| visible(&thing.name())).collect::<Vec<_>>().join(", ");
            (if known { counted(count, "other object") } else { "namespace and accounts".to_owned() }, names)
        }
    };
    let known = match (known, &exit.trouble) {
        (true, _) => "",
        (false, None) => ", asking the cluster",
        (false, Some(_)) => ", unknown: no answer from the cluster",
    };
    let kept = if group == Group::Base && exit.keeps(Group::Agents) { " (agents need it)" } else { "" };
    // What the cluster is known not to clean up by itself.
    let inert = if group == Group::Base && exit.keeps(group) && kept.is_empty() {
        "; kept until nodewatch-tui cleanup or --reaper removes it"
    } else {
        ""
    };
    let head = format!("{what}{gone}{known}{kept}{inert}");
    (format!("{}  {names}", fit(&head, 34.max(head.width()))).trim_end().to_owned(), lines)
}

/// What is still to begin ends with the session.
fn not_begun<'a>(app: &'a App, exit: &Exit, theme: &'a Theme) -> impl Iterator<Item = Line<'static>> + use<'a> {
    let asking = exit.phase == Phase::Asking;
    let waiting = app.session.nodes.values().filter(move |state| asking && state.is_to_start());
    waiting.map(|state| {
        let name = visible(&state.node.name.0);
        item("pending", theme.warn, format!("the capture on {name} has not started; leaving cancels it"))
    })
}

/// The nodes of the agents that the cluster has said there are.
fn agent_names(exit: &Exit, room: usize) -> String {
    let nodes: Vec<NodeName> = exit
        .ledger
        .of(Group::Agents)
        .filter_map(|thing| Some(NodeName(thing.as_object()?.purpose.text().to_owned())))
        .collect();
    listed(nodes.iter(), room)
}

/// A thing; why one is left or unknown is on lines of its own, as that is what has to be read.
fn thing_lines(thing: &Thing, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let (word, style, more) = match &thing.fate {
        Fate::Asked => ("asking", theme.dim, String::new()),
        Fate::Unknown(_) => ("unknown", theme.warn, String::new()),
        Fate::There(state) => ("there", theme.plain, visible(state)),
        Fate::Removing => ("removing", theme.accent, String::new()),
        Fate::Gone => ("gone", theme.good, String::new()),
        Fate::Kept => ("kept", theme.warn, String::new()),
        Fate::Failed(_) => ("LEFT", theme.bad, String::new()),
    };
    let name = visible(&thing.name());
    let mut what = match &thing.what {
        What::Object(object) => {
            let of = visible(object.purpose.text());
            let mut told = vec![if of.is_empty() { name } else { format!("{of}: {name}") }, more];
            told.retain(|part| !part.is_empty());
            vec![told.join(", ")]
        }
        What::Captures { found, .. } if thing.fate == Fate::Gone => vec![name, Found::Stored(*found).text(&thing.what)],
        What::Captures { .. } | What::Cloud(_) => vec![name, more],
    };
    what.retain(|part| !part.is_empty());
    let mut parts = wrapped_lines(&what.join("  "), 0, width.saturating_sub(13), theme.plain).into_iter();
    let mut first = item(word, style, String::new());
    first.spans.extend(parts.next().unwrap_or_default().spans);
    let mut lines = vec![first];
    lines.extend(parts.map(|mut part| {
        part.spans.insert(0, Span::raw(" ".repeat(13)));
        part
    }));
    if let Fate::Failed(reason) | Fate::Unknown(reason) = &thing.fate {
        lines.extend(wrapped_lines(reason, 13, width, theme.bad));
    }
    lines
}

/// A file, and where it is.
fn file_line(file: &CaptureFile, node: &NodeName, place: &str, style: Style) -> Line<'static> {
    let size = fit_right(&bytes(file.size), 8);
    let what = format!("{size}  {} of {}", files::short_file(&file.name), short_name(node, 24));
    Line::from(vec![Span::styled(format!("   {} ", fit(place, 28)), style), Span::raw(what)])
}

fn item(word: &str, style: Style, what: String) -> Line<'static> {
    Line::from(vec![Span::styled(format!("   {word:10}"), style), Span::raw(what)])
}

fn keys(app: &App, exit: &Exit, view: ExitView) -> Vec<(Action, &'static str)> {
    let details = (Action::Details, if view.details { "fewer" } else { "details" });
    match exit.phase {
        Phase::Asking => {
            let unsaved = app.session.unsaved_recorders().is_some();
            let mut keys = vec![(Action::Open, "leave"), (Action::Mark, "change the line")];
            keys.extend(unsaved.then_some((Action::Freeze, "save recorders")));
            keys.extend([details, (Action::Interrupt, "detach"), (Action::Back, "stay")]);
            keys
        }
        Phase::Removing | Phase::Detaching { .. } => vec![(Action::Interrupt, "do not wait"), details],
        Phase::Stopping { .. } | Phase::Delivering { .. } | Phase::Fetching => {
            vec![
                (Action::Back, "stay"),
                (Action::Skip, "leave the files behind"),
                (Action::Interrupt, "detach"),
                details,
            ]
        }
        Phase::FetchFailed => vec![
            (Action::Open, "retry"),
            (Action::Back, "stay"),
            (Action::Skip, "leave the files behind"),
            (Action::Interrupt, "detach"),
            details,
        ],
        Phase::RemoveFailed if exit.end.sure => vec![
            (Action::Remove, "yes, with the namespace"),
            (Action::Back, "no"),
            (Action::Skip, "leave them, exit code 4"),
        ],
        Phase::RemoveFailed if !exit.end.holds.is_empty() => vec![
            (Action::Open, "retry"),
            (Action::Remove, "include others' objects"),
            (Action::Skip, "leave them, exit code 4"),
        ],
        Phase::RemoveFailed => vec![(Action::Open, "retry"), (Action::Skip, "leave them, exit code 4"), details],
        Phase::Done => vec![(Action::Open, "quit")],
    }
}
