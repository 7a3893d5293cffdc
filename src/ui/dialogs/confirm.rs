//! Questions.

use nodewatch_protocol::CaptureSpec;
use ratatui::{Frame, layout::Rect};

use super::rights;
use crate::{
    base::text::{bytes, counted, lasting, visible},
    model::{Held, NodeName, Notice, SessionId},
    screens::{Action, App, Confirm, Layer, dialogs::sessions::Sessions},
    session::{
        files::{FileKey, held_text},
        pending::Goal,
    },
    ui::{
        Theme,
        widgets::{dialog, key_line, short_name, wrapped},
    },
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, question: &Confirm, theme: &Theme) {
    let (title, text) = match question {
        Confirm::DefaultImage(..) => (
            "No agent image is published yet".to_owned(),
            format!(
                "Now: docker.io/library/{}, which runs only on nodes that have it loaded. Name yours with --image or \
                 NODEWATCH_IMAGE, or here with {}. If you cannot push one, start with --push-agent busybox:1.36.",
                visible(&app.session.image.reference),
                theme.keys.fill("{command}image NAME")
            ),
        ),
        Confirm::Deploy(names, goal) => deployment(app, names, goal),
        Confirm::StopCaptures(names) => captures_to_stop(app, names, theme),
        Confirm::StopWatching(names) => (
            format!("Stop watching {}?", counted(names.len(), "node")),
            format!("Captures go on, and what was seen stays on the screen.\n{}", list(names)),
        ),
        Confirm::FullContent(names, ..) => (
            "Capture payloads?".to_owned(),
            format!(
                "They may contain passwords, tokens and personal data, which go wherever the files go. The manifest \
                 records this. Asked once per session.\n{}",
                list(names)
            ),
        ),
        Confirm::RemoveFiles { on_nodes, stored, bytes: size, lost } => {
            (format!("Remove {}?", bytes(*size)), files_to_remove(app, on_nodes, stored, lost))
        }
        Confirm::Hidden { hidden, .. } => {
            ("Include hidden items?".to_owned(), format!("Marked but not shown: {}", first_of(hidden)))
        }
        Confirm::Sweep { id, held } => (format!("Remove session {id}?"), session_to_remove(app, id, held.as_ref())),
        Confirm::Leave => (
            "Leave now?".to_owned(),
            format!(
                "Still running:\n{}\nIf you do not answer, the program exits when this is done.",
                app.session.under_way().join("\n")
            ),
        ),
    };
    let hidden = app.hidden_marks();
    let text = match question {
        Confirm::Deploy(names, _)
        | Confirm::StopCaptures(names)
        | Confirm::StopWatching(names)
        | Confirm::FullContent(names, ..) => {
            let unseen: Vec<NodeName> = names.iter().filter(|name| hidden.contains(name)).cloned().collect();
            if unseen.is_empty() { text } else { format!("{text}\nOf these, not shown: {}", list(&unseen)) }
        }
        _ => text,
    };
    let width = 64.min(area.width.saturating_sub(2));
    let needed: usize = text.lines().map(|line| line.len() / usize::from(width.saturating_sub(4)).max(1) + 1).sum();
    let inside = dialog(frame, area, (64, (needed as u16).saturating_add(4).max(10)), &title, theme);
    let text_area = Rect { height: inside.height.saturating_sub(1), ..inside };
    frame.render_widget(wrapped(&text), text_area);
    let yes = if matches!(question, Confirm::DefaultImage(..)) { "tries it" } else { "yes" };
    let keys = key_line(&[(Action::Open, yes), (Action::Back, "no")], theme);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(keys, bottom);
}

/// Which captures end, and what of them goes: files stay, a recorder's memory does not.
fn captures_to_stop(app: &App, names: &[NodeName], theme: &Theme) -> (String, String) {
    let now = app.session.now;
    let (recorders, others): (Vec<NodeName>, Vec<NodeName>) = names
        .iter()
        .cloned()
        .partition(|name| app.session.nodes.get(name).is_some_and(|state| state.recorder().is_some()));
    let mut text = Vec::new();
    for name in &recorders {
        let Some(state) = app.session.nodes.get(name) else { continue };
        let shown = visible(&name.0);
        if let Some(left) = state.saving(now) {
            text.push(format!("{shown}: its flight recorder is saving, {} more.", lasting(left.div_ceil(1000) * 1000)));
        } else if let Some((held, saved)) = state.unsaved(now) {
            let saved = if saved == 0 { "saved nowhere".to_owned() } else { format!("{} of it saved", lasting(saved)) };
            text.push(format!("{shown}: its flight recorder drops its last {}, {saved}.", lasting(held)));
        } else {
            text.push(format!("{shown}: all that its flight recorder holds is saved."));
        }
    }
    if !recorders.is_empty() {
        text.push(theme.keys.fill("{freeze} saves first, and captures go on."));
    }
    if !others.is_empty() {
        text.push(format!("Files of captures are kept on the nodes:\n{}", list(&others)));
    }
    let title = match names {
        [one] => format!("Stop the flight recorder on {}?", visible(&one.0)),
        more => format!("Stop {} captures?", more.len()),
    };
    (title, text.join("\n"))
}

fn list(names: &[NodeName]) -> String {
    let names: Vec<String> = names.iter().map(|name| visible(&name.0)).collect();
    names.join(", ")
}

/// What is made where, and what for.
fn deployment(app: &App, names: &[NodeName], goal: &Goal) -> (String, String) {
    let later = app.session.joining.is_wanted();
    let (title, then) = match goal {
        Goal::Agent => (deploy_title(names.len(), later), String::new()),
        Goal::Captures { on, spec, .. } => {
            let on = counted(on.len(), "node");
            let filter = spec.filter.as_deref().map_or_else(|| "every packet".to_owned(), visible);
            let what = match spec.recorder {
                Some(recorder) => format!("a flight recorder (last {})", lasting(recorder.seconds.get() * 1000)),
                None => "a capture".to_owned(),
            };
            let files = rotation(spec);
            let then = format!("\nThen starts {what} on {on}: {filter}, content {}{files}.", spec.content.word());
            let title = match names.len() {
                0 => format!("Capture on {on} and on nodes that join later?"),
                nodes => format!("Deploy to {nodes} and capture on {on}?"),
            };
            (title, then)
        }
        Goal::Bundle { on } => {
            let on = counted(on.len(), "node");
            let title = match names.len() {
                0 => format!("Bundles of {on}, and agents on nodes that join later?"),
                nodes => format!("Deploy to {nodes} and take bundles of {on}?"),
            };
            (title, format!("\nThen writes the network state of {on} into files here."))
        }
        Goal::Watch { on, .. } => {
            let on = counted(on.len(), "node");
            let title = match names.len() {
                0 => format!("Watch {on} and nodes that join later?"),
                nodes => format!("Deploy to {nodes} and watch {on}?"),
            };
            (title, format!("\nThen watches {on}: packets are analysed, none is written."))
        }
    };
    let what = rights(app.session.terms.processes);
    let where_to = match (names.is_empty(), later) {
        (true, _) => " on each node that joins during this session".to_owned(),
        (false, true) => {
            format!(" on each of:\n{}\nand on each node that joins during this session", list(names))
        }
        (false, false) => format!(" on each of:\n{}", list(names)),
    };
    let alone = if later && app.session.terms.daemonset {
        "\nWhile you are detached, a DaemonSet covers later nodes until the session ends."
    } else {
        ""
    };
    (title, format!("A hostNetwork pod with {what}{where_to}{then}{alone}"))
}

/// When a capture begins a new file, where that is not as usual. A flight recorder's files are nobody's matter.
fn rotation(spec: &CaptureSpec) -> String {
    let plain = CaptureSpec::default();
    let size = (spec.rotate_bytes != plain.rotate_bytes).then(|| bytes(spec.rotate_bytes));
    let time = (spec.rotate_seconds != plain.rotate_seconds).then(|| lasting(spec.rotate_seconds.get() * 1000));
    let each: Vec<String> = size.into_iter().chain(time).collect();
    if each.is_empty() || spec.recorder.is_some() {
        return String::new();
    }
    format!(", a new file each {}", each.join(" or "))
}

fn deploy_title(nodes: usize, also_later: bool) -> String {
    match (nodes, also_later) {
        (0, _) => "Deploy to nodes that join later?".to_owned(),
        (_, true) => format!("Deploy to {} and to nodes that join later?", counted(nodes, "node")),
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
    let mut lines = vec![format!("Permanently deletes {files} on nodes and {objects} in S3:")];
    let mut names: Vec<String> = on_nodes.iter().map(|(node, file)| file_name(node, file)).collect();
    names.extend(stored.iter().map(|key| {
        visible(&app.session.terms.storage.as_ref().map_or_else(|| key.clone(), |storage| storage.url.object(key)))
    }));
    lines.extend(some_of(&names));
    let of_keys = |keys: &[FileKey]| {
        let names: Vec<String> = keys.iter().map(|key| file_name(&NodeName(key.node.clone()), &key.name)).collect();
        some_of(&names)
    };
    if !lost.is_empty() {
        lines.push("These have no other copy:".to_owned());
        lines.extend(of_keys(lost));
    }
    let hidden = app.hidden_files();
    if !hidden.is_empty() {
        lines.push("Of these, not shown:".to_owned());
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

fn session_to_remove(app: &App, id: &SessionId, held: Option<&Result<Vec<Held>, Notice>>) -> String {
    let listed = app.layers.iter().find_map(|layer| match layer {
        Layer::Sessions(Sessions { rows, .. }) => rows.iter().find(|(session, _)| session.id == *id),
        _ => None,
    });
    let Some((session, _)) = listed else { return String::new() };
    let owner = visible(session.owner.as_deref().unwrap_or("unknown"));
    let names: Vec<String> = session.objects.iter().map(|seen| visible(&seen.object.text())).collect();
    let what = format!(
        "Owner {owner}, context {}, {}: {}",
        visible(&session.context),
        session.holder.word(),
        first_of(&names)
    );
    let lost = match held {
        None => "Asking its agents for files with no other copy ...".to_owned(),
        Some(Err(notice)) => format!("Its agents' files are unknown and will be lost: {}", visible(&notice.line())),
        Some(Ok(held)) if held.is_empty() => "No running captures, and no files without another copy.".to_owned(),
        Some(Ok(held)) => {
            let lines: Vec<String> = held.iter().map(held_text).collect();
            format!("Will be lost:\n{}", lines.join("\n"))
        }
    };
    format!("{what}\n{lost}")
}
