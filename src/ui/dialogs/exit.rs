//! The guided exit: every group of things with what becomes of it, and each thing in it.

use nodewatch_protocol::FileState;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::ui::{
    Theme, files,
    widgets::{cursor_row, dialog, key_line, scrolled, short_name, wrapped_lines},
};
use crate::{
    base::text::{bytes, counted, visible},
    model::{FetchProgress, Group, MadeObject, StoredSummary},
    screens::{Action, App, dialogs::exit::ExitView},
    session::{
        exit::{Exit, Fate, InStorage, Phase},
        node::NodeState,
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
        Phase::Removing => format!("removing, {} left", exit.left()),
        Phase::RemoveFailed if exit.end.sure => {
            format!("also delete what is not this session's: {}?", visible(&exit.end.holds.join(", ")))
        }
        Phase::RemoveFailed => format!("{} objects may still exist", exit.left()),
        Phase::Detaching { .. } => format!("detaching from {} agents", exit.untold.len()),
        Phase::Done => "everything is gone".to_owned(),
    }
}

/// What the user takes away of the session besides its files.
fn report_line(app: &App, theme: &Theme) -> Line<'static> {
    let (word, style, what) = if app.report_at_end {
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
        Group::Files => file_lines(app, exit, theme),
        Group::Agents | Group::Base => object_lines(app, exit, group, width, theme),
        Group::Storage => storage_lines(exit, width, theme),
        Group::Reports | Group::Alarms => cloud_lines(exit, group, width, theme),
    };
    let asking = exit.phase == Phase::Asking;
    let fate = match (group, exit.keeps(group)) {
        (Group::Files, false) => "fetch",
        (_, false) => "remove",
        (_, true) => "keep",
    };
    let selected = asking && view.cursor == group;
    let cursor = if selected { theme.symbols.cursor } else { " " };
    let style = if exit.keeps(group) { theme.warn } else { theme.accent };
    let head = Line::from(vec![
        Span::styled(format!("{cursor}{fate:7}"), style),
        Span::styled(format!(" {what}"), theme.title),
    ]);
    items.insert(0, if selected { cursor_row(head, width, theme) } else { head });
    items
}

fn file_lines(app: &App, exit: &Exit, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let mut lines = Vec::new();
    let mut size = 0;
    let mut count = 0;
    let mut lost = 0;
    for (name, state) in &app.session.nodes {
        for file in &state.files {
            let here = matches!(state.fetches.get(&file.name), Some(FetchProgress::Done { .. }));
            if !here && !file.delivery.is_proved() {
                (size, count) = (size + file.size, count + 1);
            }
            let (word, style, more) = match state.fetches.get(&file.name) {
                _ if file.state == FileState::Open => ("open", theme.accent, "still being written".to_owned()),
                None if exit.keeps(Group::Files) => ("there", theme.warn, String::new()),
                None if file.delivery.is_proved() => ("in S3", theme.good, String::new()),
                None if file.delivery.is_delivered() => ("in S3", theme.warn, ", not compared".to_owned()),
                None => ("there", theme.plain, files::delivery(file, theme).unwrap_or_default()),
                Some(FetchProgress::Bytes(have) | FetchProgress::Resuming { have, .. }) => {
                    ("coming", theme.accent, files::progress(*have, file.size, theme))
                }
                Some(FetchProgress::Done { .. }) => ("here", theme.good, String::new()),
                Some(FetchProgress::Failed(notice)) => ("FAILED", theme.bad, visible(&notice.cause)),
            };
            let what = format!("{}  {} of {} {more}", bytes(file.size), visible(&file.name), short_name(name, 24));
            lines.push(item(word, style, what));
        }
        for file in state.late_files() {
            let what = format!("{}  {} of {}", bytes(file.size), visible(&file.name), short_name(name, 24));
            lines.push(item("coming", theme.accent, format!("{what}  its agent is gone")));
        }
        for file in state.lost_files() {
            lost += 1;
            let what = format!("{}  {} of {}", bytes(file.size), visible(&file.name), short_name(name, 24));
            lines.push(item("LOST", theme.bad, format!("{what}  its agent is gone")));
        }
    }
    let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
    (format!("capture files only on nodes: {count}, {}{lost}", bytes(size)), lines)
}

fn object_lines(app: &App, exit: &Exit, group: Group, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let of_group: Vec<&(MadeObject, Fate)> =
        exit.objects.iter().filter(|(object, _)| object.kind.group() == group).collect();
    let count = of_group.len();
    let mut lines: Vec<Line<'static>> =
        of_group.iter().flat_map(|(object, fate)| object_line(object, fate, width, theme)).collect();
    let what = match group {
        Group::Agents => "agents",
        _ => "namespace and accounts",
    };
    // Before the cluster has said what there is, the agents are known all the same.
    if group == Group::Agents && lines.is_empty() && !exit.stocked {
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
    let count = match (exit.stocked || !exit.phase.is_before_removal(), &exit.trouble) {
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

/// A word for what became of something, and what there is to say of it.
fn fate_text(fate: &Fate, theme: &Theme) -> (&'static str, Style, String) {
    match fate {
        Fate::There(state) => ("there", theme.plain, visible(state)),
        Fate::Removing => ("removing", theme.accent, String::new()),
        Fate::Gone => ("gone", theme.good, String::new()),
        Fate::Kept => ("kept", theme.warn, String::new()),
        Fate::Failed(_) => ("LEFT", theme.bad, String::new()),
    }
}

/// An object; why one is left on lines of its own, as that is what has to be read.
fn object_line(object: &MadeObject, fate: &Fate, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let (word, style, more) = fate_text(fate, theme);
    // What it is for says more than its name, which may be cut.
    let name = visible(&format!("{} {}", object.kind.word(), object.name));
    let mut what = vec![visible(&object.purpose), more, name];
    what.retain(|part| !part.is_empty());
    let mut lines = vec![item(word, style, what.join("  "))];
    if let Fate::Failed(reason) = fate {
        lines.extend(wrapped_lines(reason, 13, width, theme.bad));
    }
    lines
}

fn storage_lines(exit: &Exit, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let Some((place, state)) = &exit.storage else { return (String::new(), Vec::new()) };
    let summary = |found: &StoredSummary| {
        let mut text = format!("{}, {}", counted(found.objects as usize, "object"), bytes(found.bytes));
        if found.versions > 0 {
            text = format!("{text}, {} older versions", found.versions);
        }
        if found.uploads > 0 {
            text = format!("{text}, {} unfinished uploads", found.uploads);
        }
        text
    };
    let place = visible(&place.to_string());
    let (word, style, more) = match state {
        InStorage::Asked => ("", theme.dim, "asking S3".to_owned()),
        InStorage::There(found) => ("there", theme.plain, summary(found)),
        InStorage::Unknown(_) => ("unknown", theme.warn, String::new()),
        InStorage::Removing => ("removing", theme.accent, String::new()),
        InStorage::Gone(found) => ("gone", theme.good, summary(found)),
        InStorage::Kept => ("kept", theme.warn, String::new()),
        InStorage::Failed(_) => ("LEFT", theme.bad, String::new()),
    };
    let mut lines = vec![item(word, style, format!("{place}  {more}"))];
    if let InStorage::Unknown(notice) | InStorage::Failed(notice) = state {
        lines.extend(wrapped_lines(&theme.notice(notice), 13, width, theme.bad));
    }
    ("captures in S3".to_owned(), lines)
}

fn cloud_lines(exit: &Exit, group: Group, width: usize, theme: &Theme) -> (String, Vec<Line<'static>>) {
    let of_group = exit.cloud.iter().filter(|(known, ..)| *known == group);
    let lines = of_group.flat_map(|(_, what, fate)| {
        let (word, style, more) = fate_text(fate, theme);
        let mut lines = vec![item(word, style, format!("{}  {more}", visible(what)))];
        if let Fate::Failed(reason) = fate {
            lines.extend(wrapped_lines(reason, 13, width, theme.bad));
        }
        lines
    });
    let what = if group == Group::Alarms { "alarms in CloudWatch" } else { "reports in CloudWatch Logs" };
    (what.to_owned(), lines.collect())
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
