//! The guided exit.

use nodewatch_protocol::FileState;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    Theme, files,
    widgets::{dialog, scrolled},
};
use crate::{
    app::Action,
    app::{
        App,
        exit::{Exit, Fate, Phase},
        node::NodeState,
    },
    config::keymap::key_for,
    model::FetchProgress,
    text::{bytes, visible},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, exit: &Exit, theme: &Theme) {
    let inside = dialog(frame, area, (76, 20), "Leave", theme);
    let mut lines = vec![Line::styled(format!(" {}", headline(app, exit)), theme.title), Line::default()];
    match exit.phase {
        Phase::Asking | Phase::Stopping { .. } | Phase::Fetching | Phase::FetchFailed => {
            lines.extend(agent_lines(app, theme));
            lines.extend(file_lines(app, theme));
        }
        Phase::Removing | Phase::RemoveFailed | Phase::Done => lines.extend(object_lines(exit, theme)),
    }
    let body = Rect { height: inside.height.saturating_sub(1), ..inside };
    scrolled(frame, body, lines, app.scroll);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    frame.render_widget(keys(&exit.phase, theme), bottom);
}

fn headline(app: &App, exit: &Exit) -> String {
    let files: Vec<_> = app.nodes.values().flat_map(NodeState::unfetched).collect();
    let size: u64 = files.iter().map(|file| file.size).sum();
    match exit.phase {
        Phase::Asking => format!(
            "Enter: stop captures, fetch {} files ({}), remove everything",
            files.len() + app.nodes.values().filter(|state| state.is_capturing()).count(),
            bytes(size)
        ),
        Phase::Stopping { .. } => "waiting for captures to close their files".to_owned(),
        Phase::Fetching => format!("fetching {} files", files.len()),
        Phase::FetchFailed => "some files could not be fetched".to_owned(),
        Phase::Removing => format!("removing, {} not yet seen gone", exit.left()),
        Phase::RemoveFailed => format!("{} objects may still be there", exit.left()),
        Phase::Done => "everything was seen gone".to_owned(),
    }
}

fn agent_lines(app: &App, theme: &Theme) -> Vec<Line<'static>> {
    app.nodes
        .iter()
        .filter(|(_, state)| state.agent.is_deployed())
        .map(|(name, state)| {
            let capture = if state.is_capturing() { ", capturing" } else { "" };
            Line::from(vec![
                Span::styled(" remove  ", theme.warn),
                Span::raw(format!("agent on {} ({}{capture})", visible(&name.0), state.agent.word())),
            ])
        })
        .collect()
}

fn file_lines(app: &App, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (name, state) in &app.nodes {
        for file in &state.files {
            let (word, style, more) = match state.fetches.get(&file.name) {
                _ if file.state == FileState::Open => (" fetch   ", theme.accent, "still being written".to_owned()),
                None => (" fetch   ", theme.accent, String::new()),
                Some(FetchProgress::Bytes(have) | FetchProgress::Resuming { have, .. }) => {
                    (" fetch   ", theme.accent, files::progress(*have, file.size, theme))
                }
                Some(FetchProgress::Done { .. }) => (" here    ", theme.good, String::new()),
                Some(FetchProgress::Failed(notice)) => (" FAILED  ", theme.bad, visible(&notice.cause)),
            };
            lines.push(Line::from(vec![
                Span::styled(word, style),
                Span::raw(format!("{} of {}, {} {more}", visible(&file.name), visible(&name.0), bytes(file.size))),
            ]));
        }
    }
    lines
}

fn object_lines(exit: &Exit, theme: &Theme) -> Vec<Line<'static>> {
    exit.objects
        .iter()
        .map(|(object, fate)| {
            let (word, style, more) = match fate {
                Fate::Removing => (" removing", theme.accent, String::new()),
                Fate::Gone => (" gone    ", theme.good, String::new()),
                Fate::Failed(reason) => (" LEFT    ", theme.bad, visible(reason)),
            };
            let what = format!(" {} {} ({}) {more}", object.kind, visible(&object.name), visible(&object.purpose));
            Line::from(vec![Span::styled(word, style), Span::raw(what)])
        })
        .collect()
}

fn keys(phase: &Phase, theme: &Theme) -> Line<'static> {
    let keys: &[(Action, &str)] = match phase {
        Phase::Asking => &[(Action::Open, "leave"), (Action::Back, "stay")],
        Phase::Removing => &[],
        Phase::Stopping { .. } | Phase::Fetching => &[(Action::Skip, "leave the files behind")],
        Phase::FetchFailed => &[(Action::Open, "again"), (Action::Skip, "leave the files behind")],
        Phase::RemoveFailed => &[(Action::Open, "again"), (Action::Skip, "leave them, exit code 4")],
        Phase::Done => &[(Action::Open, "end")],
    };
    let mut spans = Vec::new();
    for (action, what) in keys {
        spans.push(Span::styled(format!(" {}", key_for(*action)), theme.key));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    Line::from(spans)
}
