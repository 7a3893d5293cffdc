//! Texts that must be typed before something grave.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    base::text::{counted, visible},
    screens::{
        Action,
        dialogs::typed::{Purpose, Typed},
    },
    session::pending::Goal,
    ui::{
        Theme,
        widgets::{dialog, key_line, typed_part, wrapped},
    },
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, typed: &Typed, later: bool, theme: &Theme) {
    let (title, text) = match &typed.purpose {
        Purpose::Deploy { context, nodes, goal } => {
            let (and, does) = match goal {
                Goal::Agent => (String::new(), "deploy"),
                Goal::Captures { on, .. } => {
                    (format!(", captures on {}", counted(on.len(), "node")), "deploy and capture")
                }
                Goal::Bundle { on } => (format!(", bundles of {}", counted(on.len(), "node")), "deploy and take them"),
                Goal::Watch { on, .. } => (format!(", watching {}", counted(on.len(), "node")), "deploy and watch"),
            };
            let agents = counted(nodes.len(), "node");
            let also = if later { ", and on nodes that join," } else { "" };
            let context = visible(context);
            let text = format!("Agents on {agents}{also} in {context}{and}.\nType the context's name to {does}:");
            ("Guarded context", text)
        }
        Purpose::Sweep(id) => (
            "Another laptop's session",
            format!("Someone may be using {id}.\nType its id to remove it with its agents and captures:"),
        ),
        Purpose::Trust(id) => (
            "Same cluster, new address or CA",
            format!(
                "The address or CA of {id}'s cluster has changed; its UID is the same.\nType the session's id to \
                 accept:"
            ),
        ),
        Purpose::Budget => (
            "Session end",
            "End the session this long from now, e.g. 30m or 8h.\nCaptures are not interrupted.".to_owned(),
        ),
    };
    let inside = dialog(frame, area, (64, 9), title, theme);
    let text_area = Rect { height: inside.height.min(3), ..inside };
    frame.render_widget(wrapped(&text), text_area);
    let row = |at: u16| Rect { y: inside.y + at, height: u16::from(inside.height > at), ..inside };
    let (text, at) = typed_part(&typed.input, usize::from(inside.width).saturating_sub(2));
    frame.render_widget(Line::from(vec![Span::styled("> ", theme.key), Span::raw(text)]), row(3));
    if let Some(error) = &typed.error {
        frame.render_widget(Line::styled(visible(error), theme.bad), row(4));
    }
    frame.render_widget(key_line(&[(Action::Open, "ok"), (Action::Back, "cancel")], theme), row(6));
    let column = inside.x + 2 + at as u16;
    if column < inside.right() && inside.height > 3 {
        frame.set_cursor_position((column, inside.y + 3));
    }
}
