//! What happened on a node, newest first.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::ui::{Theme, widgets::scrolled};
use crate::{
    base::text::{time_of_day, visible},
    screens::App,
    session::node::NodeState,
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, state: &NodeState, theme: &Theme) {
    if state.log.events.is_empty() {
        frame.render_widget(Line::styled(" no events yet", theme.dim), area);
        return;
    }
    let lines = state
        .log
        .events
        .iter()
        .rev()
        .map(|event| {
            Line::from(vec![
                Span::styled(format!(" {}  ", time_of_day(app.session.wall(event.at))), theme.dim),
                Span::raw(visible(&event.text)),
            ])
        })
        .collect();
    scrolled(frame, area, lines, app.scroll);
}
