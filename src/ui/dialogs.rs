//! What lies over a screen: help, past notices, questions, the capture form.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{
    Theme,
    widgets::{dialog, fit, key_line, scrolled, short_name, wrapped, wrapped_lines},
};
use crate::{
    app::{
        Action, App, Confirm,
        cursor::FileKey,
        form::{CaptureForm, Field},
        pending::Goal,
        reports::History,
        sessions::{Sessions, held_text},
    },
    base::text::{bytes, counted, date_and_time, time_of_day, visible},
    config::keymap::{Binding, Key, is_offered, shown_keys},
    model::{Held, NodeName, Notice, SessionId, Severity},
};

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let here = app.screen_scope();
    let of = |wanted: bool| {
        let told = move |binding: &Binding| !binding.help.is_empty() && is_offered(binding, app.permission);
        let rows =
            theme.keys.rows().filter(move |(binding, _)| told(binding) && binding.scopes.contains(&here) == wanted);
        rows.map(|(binding, keys)| help_line(binding, keys, theme))
    };
    let elsewhere = Line::styled(" on other screens and in dialogs", theme.title);
    let lines: Vec<Line<'static>> = of(true).chain([Line::default(), elsewhere]).chain(of(false)).collect();
    let title = closes(concat!("Keys of nodewatch-tui ", env!("CARGO_PKG_VERSION")), theme);
    let inside = dialog(frame, area, (100, lines.len() as u16 + 2), &title, theme);
    scrolled(frame, inside, lines, app.scroll);
}

fn help_line(binding: &Binding, keys: &[Key], theme: &Theme) -> Line<'static> {
    let keys = shown_keys(keys).join(" ");
    Line::from(vec![Span::styled(fit(&format!(" {keys}"), 15), theme.key), Span::raw(binding.help)])
}

/// A title with the key that closes the dialog.
fn closes(title: &str, theme: &Theme) -> String {
    format!("{title} ({} closes)", theme.keys.fill("{back}"))
}

pub(super) fn notices(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let inside = dialog(
        frame,
        area,
        (area.width.saturating_sub(4), area.height.saturating_sub(4)),
        &closes("Notices", theme),
        theme,
    );
    if app.notices.is_empty() {
        frame.render_widget(Line::styled(" none yet", theme.dim), inside);
        return;
    }
    let mut lines = Vec::new();
    for (at, notice) in app.notices.iter().rev() {
        let style = match notice.severity {
            Severity::Info => theme.plain,
            Severity::Warning => theme.warn,
            Severity::Error => theme.bad,
        };
        lines.push(Line::from(vec![
            Span::styled(format!(" {} ", time_of_day(app.wall(*at))), theme.dim),
            Span::styled(visible(&notice.headline), style),
        ]));
        for more in [&notice.cause, &theme.next_step(notice)] {
            if !more.is_empty() {
                lines.push(Line::raw(format!("          {}", visible(more))));
            }
        }
    }
    scrolled(frame, inside, lines, app.scroll);
}

/// What changed between past reports, newest first.
pub(super) fn history(frame: &mut Frame<'_>, area: Rect, app: &App, history: &History, theme: &Theme) {
    let size = (area.width.saturating_sub(4), area.height.saturating_sub(4));
    let title = closes(&visible(&history.title), theme);
    let inside = dialog(frame, area, size, &title, theme);
    let width = usize::from(inside.width);
    let lines: Vec<Line<'static>> = match &history.found {
        None => vec![Line::styled(" asking CloudWatch Logs ...", theme.dim)],
        Some(Err(notice)) => wrapped_lines(&theme.notice(notice), 1, width, theme.bad),
        Some(Ok(past)) if past.reports == 0 => vec![Line::styled(" no report of it in that time", theme.dim)],
        Some(Ok(past)) => {
            let newest = if past.cut { "the newest " } else { "" };
            let head = format!(" {newest}{}, what changed between them:", counted(past.reports, "report"));
            let mut lines = vec![Line::styled(head, theme.dim)];
            for (at, node, text) in &past.changes {
                let text = format!("{} {node}  {text}", date_and_time(*at));
                lines.extend(wrapped_lines(&text, 1, width, theme.plain));
            }
            lines
        }
    };
    scrolled(frame, inside, lines, app.scroll);
}

pub(super) fn confirm(frame: &mut Frame<'_>, area: Rect, app: &App, question: &Confirm, theme: &Theme) {
    let list = |names: &[NodeName]| {
        let names: Vec<String> = names.iter().map(|name| visible(&name.0)).collect();
        names.join(", ")
    };
    let (title, text) = match question {
        Confirm::Deploy(names, goal) => {
            let later = app.joining.is_wanted();
            let (title, then) = match goal {
                Goal::Agent => (deploy_title(names.len(), later), String::new()),
                Goal::Captures { on, spec } => {
                    let on = counted(on.len(), "node");
                    let filter = spec.filter.as_deref().map_or_else(|| "every packet".to_owned(), visible);
                    let then = format!("\nThen captures on {on}: {filter}, content {}.", spec.content.word());
                    let title = match names.len() {
                        0 => format!("Capture on {on}, and on nodes that join later?"),
                        nodes => format!("Deploy to {nodes} and capture on {on}?"),
                    };
                    (title, then)
                }
            };
            let what = rights(app.ports.processes);
            let where_to = match (names.is_empty(), later) {
                (true, _) => " on every node that joins while this session is open".to_owned(),
                (false, true) => {
                    format!(" on each of:\n{} and every node that joins while this session is open", list(names))
                }
                (false, false) => format!(" on each of:\n{}", list(names)),
            };
            let alone = if later && app.joining.daemonset {
                "\nWhile nobody is attached a DaemonSet sees to later nodes, until the session ends."
            } else {
                ""
            };
            (title, format!("A hostNetwork pod with {what}{where_to}{then}{alone}"))
        }
        Confirm::StopCaptures(names) => {
            (format!("Stop {} captures?", names.len()), format!("Their files stay on the nodes:\n{}", list(names)))
        }
        Confirm::FullContent(names, _) => (
            "Capture payloads?".to_owned(),
            format!(
                "Passwords, tokens and people's data may be in them, and go wherever the files go. The manifest says \
                 so. Asked once a session.\n{}",
                list(names)
            ),
        ),
        Confirm::RemoveFiles { on_nodes, stored, bytes: size, lost } => {
            (format!("Remove {}?", bytes(*size)), files_to_remove(app, on_nodes, stored, lost))
        }
        Confirm::Hidden { hidden, .. } => {
            ("Also what is not shown?".to_owned(), format!("Marked, and not on the screen: {}", first_of(hidden)))
        }
        Confirm::Sweep { list, id, held } => {
            (format!("Remove session {id}?"), session_to_remove(list, id, held.as_ref()))
        }
        Confirm::Leave { .. } => (
            "Leave now?".to_owned(),
            format!(
                "Still under way:\n{}\nWithout an answer the program ends when that has.",
                app.under_way().join("\n")
            ),
        ),
    };
    let hidden = app.hidden_marks();
    let text = match question {
        Confirm::Deploy(names, _) | Confirm::StopCaptures(names) | Confirm::FullContent(names, _) => {
            let unseen: Vec<NodeName> = names.iter().filter(|name| hidden.contains(name)).cloned().collect();
            if unseen.is_empty() { text } else { format!("{text}\nNot on the screen of these: {}", list(&unseen)) }
        }
        _ => text,
    };
    let width = 64.min(area.width.saturating_sub(2));
    let needed: usize = text.lines().map(|line| line.len() / usize::from(width.saturating_sub(4)).max(1) + 1).sum();
    let inside = dialog(frame, area, (64, (needed as u16).saturating_add(4).max(10)), &title, theme);
    let text_area = Rect { height: inside.height.saturating_sub(1), ..inside };
    frame.render_widget(wrapped(&text), text_area);
    let keys = key_line(&[(Action::Open, "yes"), (Action::Back, "no")], theme);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(keys, bottom);
}

fn deploy_title(nodes: usize, also_later: bool) -> String {
    match (nodes, also_later) {
        (0, _) => "Deploy to nodes that join later?".to_owned(),
        (_, true) => format!("Deploy to {}, and to those that join later?", counted(nodes, "node")),
        (_, false) => format!("Deploy to {}?", counted(nodes, "node")),
    }
}

/// Names, as many as a question has room for.
fn first_of(names: &[String]) -> String {
    const MOST: usize = 8;
    let mut text = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text = format!("{text} and {} more", names.len() - MOST);
    }
    text
}

fn files_to_remove(app: &App, on_nodes: &[(NodeName, String)], stored: &[String], lost: &[FileKey]) -> String {
    let (files, objects) = (counted(on_nodes.len(), "file"), counted(stored.len(), "object"));
    let mut lines = vec![format!("For good, {files} on nodes and {objects} in S3:")];
    let mut names: Vec<String> = on_nodes.iter().map(|(node, file)| file_name(node, file)).collect();
    names.extend(
        stored
            .iter()
            .map(|key| visible(&app.storage.as_ref().map_or_else(|| key.clone(), |storage| storage.url.object(key)))),
    );
    lines.extend(some_of(&names));
    let of_keys = |keys: &[FileKey]| {
        let names: Vec<String> = keys.iter().map(|key| file_name(&NodeName(key.node.clone()), &key.name)).collect();
        some_of(&names)
    };
    if !lost.is_empty() {
        lines.push("Nobody has then, here or elsewhere:".to_owned());
        lines.extend(of_keys(lost));
    }
    let hidden = app.hidden_files();
    if !hidden.is_empty() {
        lines.push("Not on the screen of these:".to_owned());
        lines.extend(of_keys(&hidden));
    }
    lines.join("\n")
}

fn file_name(node: &NodeName, file: &str) -> String {
    format!("{}/{}", short_name(node, 20), visible(file))
}

/// A line each, of the first few.
fn some_of(names: &[String]) -> Vec<String> {
    const MOST: usize = 4;
    let mut lines: Vec<String> = names.iter().take(MOST).map(|name| format!("  {name}")).collect();
    if names.len() > MOST {
        lines.push(format!("  and {} more", names.len() - MOST));
    }
    lines
}

fn session_to_remove(list: &Sessions, id: &SessionId, held: Option<&Result<Vec<Held>, Notice>>) -> String {
    let Some((session, _)) = list.rows.iter().find(|(session, _)| session.id == *id) else { return String::new() };
    let owner = visible(session.owner.as_deref().unwrap_or("nobody says whose"));
    let names: Vec<String> = session.objects.iter().map(|seen| visible(&seen.object.text())).collect();
    let what = format!(
        "Of {owner}, in context {}, {}: {}",
        visible(&session.context),
        session.holder.word(),
        first_of(&names)
    );
    let lost = match held {
        None => "Asking its agents what they have that nobody else has ...".to_owned(),
        Some(Err(notice)) => format!("What its agents have is not known, and is lost: {}", visible(&notice.line())),
        Some(Ok(held)) if held.is_empty() => {
            "No capture runs, and no agent has a file that nobody else has.".to_owned()
        }
        Some(Ok(held)) => {
            let lines: Vec<String> = held.iter().map(held_text).collect();
            format!("Lost with it:\n{}", lines.join("\n"))
        }
    };
    format!("{what}\n{lost}")
}

/// What the agents of this session may do.
pub(super) fn rights(processes: bool) -> &'static str {
    if processes {
        "NET_RAW and, for --processes, the host's processes, uid 0, SYS_PTRACE and DAC_READ_SEARCH, with which it could read \
         every file and process of the node,"
    } else {
        "NET_RAW"
    }
}

pub(super) fn form(frame: &mut Frame<'_>, area: Rect, app: &App, form: &CaptureForm, theme: &Theme) {
    const LABEL: usize = 17;
    let title = match app.targets().as_slice() {
        [one] => format!("Capture on {}", visible(&one.0)),
        more => format!("Capture on {} nodes", more.len()),
    };
    let inside = dialog(frame, area, (70, Field::ALL.len() as u16 + 5), &title, theme);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for (index, field) in Field::ALL.into_iter().enumerate() {
        let focused = index == form.focus;
        let label =
            Span::styled(fit(&format!(" {}", field.label()), LABEL), if focused { theme.key } else { theme.dim });
        let value = form.value(field);
        let value =
            if value.is_empty() { Span::styled(field.placeholder(), theme.dim) } else { Span::raw(visible(value)) };
        lines.push(Line::from(vec![label, value]));
    }
    lines.push(Line::default());
    lines.push(match &form.error {
        Some((_, message)) => Line::styled(format!(" {}", visible(message)), theme.bad),
        None => Line::default(),
    });
    lines.push(key_line(
        &[(Action::Open, "start"), (Action::NextView, "next field"), (Action::Back, "keep and close")],
        theme,
    ));
    frame.render_widget(Paragraph::new(lines), inside);
    let column = inside.x + (LABEL + form.cursor()) as u16;
    let row = inside.y + form.focus as u16;
    if column < inside.right() && row < inside.bottom() {
        frame.set_cursor_position((column, row));
    }
}
