//! Other sessions.

use ratatui::{Frame, layout::Rect, text::Line};

use crate::ui::{
    Theme,
    widgets::{cursor_row, dialog, fit, key_line, scrolled, wrapped_lines},
};
use crate::{
    base::text::{counted, date_and_time, visible},
    model::{Holder, SessionSummary},
    screens::{
        Action, App,
        dialogs::sessions::{Sessions, Sweep},
    },
    session::Permission,
};

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, sessions: &Sessions, theme: &Theme) {
    let size = (90.min(area.width.saturating_sub(2)), (sessions.rows.len() as u16 * 3 + 6).min(area.height));
    let inside = dialog(frame, area, size, "Other sessions", theme);
    let mut lines = vec![Line::styled(" SESSION   HOLDER    OWNER", theme.title)];
    for (index, (session, sweep)) in sessions.rows.iter().enumerate() {
        let selected = index == sessions.cursor;
        let cursor = if selected { theme.symbols.cursor } else { " " };
        let owner = visible(session.owner.as_deref().unwrap_or("unknown"));
        let head = Line::raw(format!("{cursor}{}  {} {owner}", session.id, fit(session.holder.word(), 9)));
        lines.push(if selected { cursor_row(head, inside.width, theme) } else { head });
        lines
            .push(Line::styled(format!("           {}", times(session, app.session.wall(app.session.now))), theme.dim));
        let (word, style) = match sweep {
            Sweep::Not if session.moved => {
                ("its cluster's address or CA has changed: attach and remove ask you to confirm".to_owned(), theme.warn)
            }
            Sweep::Not => (what_is_left(session), theme.plain),
            Sweep::Running(left) => (format!("removing, {left} left"), theme.accent),
            Sweep::Gone => ("everything is gone".to_owned(), theme.good),
            Sweep::Failed(reason) => (format!("LEFT: {reason}"), theme.bad),
        };
        lines.extend(wrapped_lines(&word, 11, usize::from(inside.width), style));
    }
    let body = Rect { height: inside.height.saturating_sub(1), ..inside };
    let first = (sessions.cursor * 3).saturating_sub(usize::from(body.height).saturating_sub(4));
    scrolled(frame, body, lines, first);
    let bottom = Rect { y: inside.bottom().saturating_sub(1), height: inside.height.min(1), ..inside };
    let holder = sessions.rows.get(sessions.cursor).map(|(session, _)| session.holder);
    let keys: &[(Action, &str)] = match holder {
        _ if app.session.permission == Permission::ReadOnly => &[(Action::Back, "close: this is read-only")],
        Some(Holder::Elsewhere) => &[(Action::Remove, "remove (asks for its id)"), (Action::Back, "close")],
        Some(Holder::Running) => &[(Action::Back, "close")],
        _ => &[(Action::Open, "attach"), (Action::Remove, "remove"), (Action::Back, "close")],
    };
    frame.render_widget(key_line(keys, theme), bottom);
}

fn times(session: &SessionSummary, now: u64) -> String {
    let began = session.began.map_or_else(|| "at an unknown time".to_owned(), date_and_time);
    let ends = match session.ends {
        Some(ends) if ends > now => format!(", ends {}", date_and_time(ends)),
        Some(ends) => format!(", ended {}", date_and_time(ends)),
        None => String::new(),
    };
    format!("began {began}{ends}, context {}", visible(&session.context))
}

fn what_is_left(session: &SessionSummary) -> String {
    match (session.agents(), session.objects.len()) {
        (0, others) => format!("no agents, {}", counted(others, "other object")),
        (agents, all) => format!("{}, {}", counted(agents, "agent"), counted(all - agents, "other object")),
    }
}
