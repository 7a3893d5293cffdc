//! The first line: place, session, deadline, agents, time.

use nodewatch_answers::Certainty;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::Theme;
use crate::{
    base::text::{counted, time_of_day, visible, zone},
    screens::App,
    session::{Permission, node::NodeState},
};

/// From this width on it says how many nodes are watched, which the rows say too.
const ROOM_FOR_WATCHED: u16 = 100;

/// How many answers there are that say why connections fail.
fn answers(app: &App, theme: &Theme) -> Option<Span<'static>> {
    let count = app.session.answers.count();
    let sure = app.session.answers.current().any(|answer| answer.certainty == Certainty::Verdict);
    let style = if sure { theme.bad } else { theme.warn };
    (count > 0).then(|| Span::styled(format!("  ! {}", counted(count, "answer")), style))
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    // The context is always there, and looks different where something is at stake.
    let (place, guard) = match app.session.permission {
        Permission::Free => (theme.accent, None),
        Permission::Guarded => (theme.guarded, Some("GUARDED")),
        Permission::ReadOnly => (theme.warn, Some("READ-ONLY")),
    };
    let name = if area.width >= 40 { " nodewatch  " } else { " " };
    let mut spans = vec![Span::styled(name, theme.title), Span::styled(visible(&app.session.place_text()), place)];
    // Where agents go, when that is not a namespace of the session's own.
    let namespace = app.session.terms.namespace.as_deref();
    spans.extend(namespace.map(|name| Span::styled(format!("  ns {}", visible(name)), theme.plain)));
    spans.extend(guard.map(|word| Span::styled(format!("  {word}"), theme.warn)));
    spans.extend(answers(app, theme));
    if app.session.life.began.is_some() {
        spans.push(Span::raw(format!("  session {}", app.session.terms.id)));
        // Hours and minutes are enough for a deadline.
        let roomy = app.session.terms.storage.is_none() || area.width >= 100;
        spans.extend(
            app.session
                .life
                .ends
                .filter(|_| roomy)
                .map(|ends| Span::raw(format!("  ends {}", &time_of_day(app.session.wall(ends))[..5]))),
        );
        spans.extend(app.session.agents().map(|(live, all)| {
            let style = if live < all { theme.warn } else { theme.good };
            Span::styled(format!("  agents {live}/{all} live"), style)
        }));
    }
    let watched = app.session.nodes.values().filter(|state| state.is_watching()).count();
    if watched > 0 && area.width >= ROOM_FOR_WATCHED {
        spans.push(Span::styled(format!("  watching {watched}"), theme.good));
    }
    if app.session.terms.storage.is_some() {
        let trouble = app.session.nodes.values().any(|state| state.delivery_trouble().is_some());
        let waiting: usize = app.session.nodes.values().map(NodeState::queued).sum();
        let style = if trouble { theme.bad } else { theme.good };
        let word = match (trouble, waiting) {
            (true, _) => format!("  S3 FAILS, {waiting} held"),
            (false, 0) => "  S3".to_owned(),
            (false, _) => format!("  S3 {waiting} to go"),
        };
        spans.push(Span::styled(word, style));
    }
    let dropped: u64 = app.session.nodes.values().map(|state| state.log.dropped_updates).sum();
    if dropped > 0 {
        spans.push(Span::styled(format!("  {dropped} updates dropped"), theme.bad));
    }
    if app.is_paused() {
        spans.push(Span::styled("  PAUSED", theme.warn));
    }
    let mut left = Line::from(spans);
    let now = app.session.wall(app.session.now);
    let time = format!("{} {}", time_of_day(now), zone(now));
    // The time says more than the program's name.
    if usize::from(area.width) < left.width() + time.len() + 2 {
        left.spans[0] = Span::raw(" ");
    }
    let room = usize::from(area.width).saturating_sub(left.width());
    frame.render_widget(left, area);
    if room > time.len() + 1 {
        let right = Rect { x: area.right() - time.len() as u16 - 1, width: time.len() as u16, ..area };
        frame.render_widget(Line::styled(time, theme.dim), right);
    }
}
