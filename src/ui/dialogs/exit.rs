//! The guided exit: every group of things with what becomes of it, and each thing in it.

use nodewatch_protocol::CaptureFile;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::{
    base::text::{bytes, counted, visible},
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
        widgets::{cursor_row, dialog, fit, fit_right, key_line, scrolled, short_name, wrapped_lines},
    },
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, view: ExitView, theme: &Theme) {
    let Some(exit) = app.session.exit() else { return };
    let size = (96.min(area.width.saturating_sub(4)), area.height.saturating_sub(4).min(30));
    let title = format!("Leave session {}", app.session.terms.id);
    let inside = dialog(frame, area, size, &title, theme);
    let width = usize::from(inside.width);
    let mut lines = vec![Line::styled(format!(" {}", theme.keys.fill(&headline(app, exit))), theme.title)];
    if let Some(notice) = &exit.trouble {
        lines.extend(wrapped_lines(&theme.notice(notice), 1, width, theme.bad));
    }
    for group in exit.groups() {
        lines.extend(group_lines(app, (exit, view), group, width, theme));
    }
    lines.push(report_line(app, theme));
    let body = Rect { height: inside.height.saturating_sub(1), ..inside };
    scrolled(frame, body, lines, app.scroll);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(key_line(keys(exit), theme), bottom);
}

fn headline(app: &App, exit: &Exit) -> String {
    let files = app.session.nodes.values().flat_map(NodeState::unfetched).count();
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
        Phase::Stopping { .. } => "waiting for captures to close their files".to_owned(),
        Phase::Delivering { .. } => format!("delivering {} to S3", counted(app.session.undelivered(), "file")),
        Phase::Fetching => format!("fetching {files} files"),
        Phase::FetchFailed => "some files could not be fetched".to_owned(),
        Phase::Removing => format!("removing, {} left", exit.ledger.left()),
        Phase::RemoveFailed if exit.end.sure => {
            format!("also delete what is not this session's: {}?", visible(&exit.end.holds.join(", ")))
        }
        Phase::RemoveFailed => format!("{} objects may still exist", exit.ledger.left()),
        Phase::Detaching { .. } => format!("detaching from {} agents", exit.untold.len()),
        Phase::Done => "everything is gone".to_owned(),
    }
}

/// What the user takes away of the session besides its files.
fn report_line(app: &App, theme: &Theme) -> Line<'static> {
    let (word, style, what) = if app.choices.report_at_end {
        ("write", theme.accent, "a session report, next to its files")
    } else {
        ("-", theme.dim, "no session report")
    };
    let key = theme.keys.fill("({report} toggles)");
    Line::from(vec![
        Span::styled(format!(" {word:7}"), style),
        Span::styled(format!(" {what} "), theme.title),
        Span::styled(key, theme.dim),
    ])
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
            (what.to_owned(), lines)
        }
    };
    let asking = exit.phase == Phase::Asking;
    let fate = match (group, exit.keeps(group)) {
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
    let head = Line::from(vec![
        Span::styled(format!("{cursor}{fate:7}"), style),
        Span::styled(format!(" {what}"), theme.title),
    ]);
    items.insert(0, if selected { cursor_row(head, width, theme) } else { head });
    items
}

fn file_lines(app: &App, exit: &Exit, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let mut lines = Vec::new();
    let mut size = 0;
    let mut count = 0;
    let mut lost = 0;
    for (name, state) in &app.session.nodes {
        for file in &state.files {
            let here = matches!(state.fetches.get(&file.name), Some(FetchProgress::Done { .. }));
            if !here && !state.is_proved_in_s3(file) {
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
    (format!("capture files only on nodes: {count}, {}{lost}", bytes(size)), lines)
}

fn object_lines(app: &App, exit: &Exit, group: Group, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let count = exit.ledger.of(group).count();
    let mut lines: Vec<Line<'static>> =
        exit.ledger.of(group).flat_map(|thing| thing_lines(thing, width, theme)).collect();
    let what = match group {
        Group::Agents => "agents",
        _ => "namespace and accounts",
    };
    // Before the cluster has said what there is, the agents are known all the same.
    if group == Group::Agents && lines.is_empty() && !exit.ledger.stocked {
        let deployed = app.session.nodes.values().filter(|state| state.agent.is_deployed());
        lines.extend(deployed.map(|state| {
            let capture = if state.is_capturing() { ", capturing" } else { "" };
            item(state.agent.word(), theme.plain, format!("agent on {}{capture}", visible(&state.node.name.0)))
        }));
    }
    // What is still to begin ends with the session.
    if group == Group::Agents && exit.phase == Phase::Asking {
        let waiting = app.session.nodes.values().filter(|state| state.is_to_start());
        lines.extend(waiting.map(|state| {
            let name = visible(&state.node.name.0);
            item("pending", theme.warn, format!("the capture on {name} has not started; leaving cancels it"))
        }));
    }
    let count = match (exit.ledger.stocked || !exit.phase.is_before_removal(), &exit.trouble) {
        (true, _) => count.to_string(),
        (false, None) => "asking the cluster".to_owned(),
        (false, Some(_)) => "unknown, no answer from the cluster".to_owned(),
    };
    let kept = if group == Group::Base && exit.keeps(Group::Agents) { " (agents need it)" } else { "" };
    // What the cluster is known not to clean up by itself.
    let inert = if group == Group::Base && exit.keeps(group) && kept.is_empty() {
        "; kept until nodewatch-tui cleanup or --reaper removes it"
    } else {
        ""
    };
    (format!("{what}: {count}{kept}{inert}"), lines)
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
    // What an object is for says more than its name, which may be cut.
    let mut what = match &thing.what {
        What::Object(object) => vec![visible(object.purpose.text()), more, name],
        What::Captures { found, .. } if thing.fate == Fate::Gone => vec![name, Found::Stored(*found).text(&thing.what)],
        What::Captures { .. } | What::Cloud(_) => vec![name, more],
    };
    what.retain(|part| !part.is_empty());
    let mut lines = vec![item(word, style, what.join("  "))];
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

fn keys(exit: &Exit) -> &'static [(Action, &'static str)] {
    match exit.phase {
        Phase::Asking => &[
            (Action::Open, "leave"),
            (Action::Mark, "keep or remove"),
            (Action::Interrupt, "detach"),
            (Action::Back, "stay"),
        ],
        Phase::Removing | Phase::Detaching { .. } => &[(Action::Interrupt, "do not wait")],
        Phase::Stopping { .. } | Phase::Delivering { .. } | Phase::Fetching => {
            &[(Action::Skip, "leave the files behind"), (Action::Interrupt, "detach")]
        }
        Phase::FetchFailed => {
            &[(Action::Open, "retry"), (Action::Skip, "leave the files behind"), (Action::Interrupt, "detach")]
        }
        Phase::RemoveFailed if exit.end.sure => &[
            (Action::Remove, "yes, with the namespace"),
            (Action::Back, "no"),
            (Action::Skip, "leave them, exit code 4"),
        ],
        Phase::RemoveFailed if !exit.end.holds.is_empty() => &[
            (Action::Open, "retry"),
            (Action::Remove, "include others' objects"),
            (Action::Skip, "leave them, exit code 4"),
        ],
        Phase::RemoveFailed => &[(Action::Open, "retry"), (Action::Skip, "leave them, exit code 4")],
        Phase::Done => &[(Action::Open, "quit")],
    }
}
