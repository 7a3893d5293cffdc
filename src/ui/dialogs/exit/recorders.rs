//! What flight recorders hold and nobody has saved, in the guided exit.

use ratatui::text::{Line, Span};

use super::listed;
use crate::{
    base::text::lasting,
    model::Group,
    screens::App,
    session::{
        exit::{Exit, Phase},
        recorders::Unsaved,
    },
    ui::{Theme, widgets::fit},
};

/// What recorders hold and nobody has saved.
pub(super) fn recorders_lines(app: &App, exit: &Exit, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    if !matches!(exit.phase, Phase::Asking | Phase::FetchFailed) || exit.keeps(Group::Agents) {
        return Vec::new();
    }
    let saving = app.session.saving().map(|left| {
        let text = format!("flight recorders, {} more", lasting(left.div_ceil(1000) * 1000));
        Line::from(vec![Span::styled(" saving  ", theme.accent), Span::raw(text)])
    });
    let unsaved = app.session.unsaved_recorders().map(|unsaved| unsaved_line(&unsaved, width, theme));
    saving.into_iter().chain(unsaved).collect()
}

fn unsaved_line(unsaved: &Unsaved<'_>, width: usize, theme: &Theme) -> Line<'static> {
    let key = theme.keys.fill("{freeze} saves it");
    let (saved, style) = match unsaved.saved {
        0 => ("saved nowhere".to_owned(), theme.bad),
        saved => (format!("{} of it saved", lasting(saved)), theme.warn),
    };
    let text = format!("the recorder's last {}, {saved}: ", lasting(unsaved.held));
    let room = width.saturating_sub(9 + text.len() + key.len() + 2);
    let away = unsaved.nodes.iter().filter(|(_, away)| *away).count();
    let away = if away > 0 { format!(" ({away} unreachable)") } else { String::new() };
    let names = listed(unsaved.nodes.iter().map(|(name, _)| *name), room.saturating_sub(away.len()));
    let names = format!("{}{away}", fit(&names, room.saturating_sub(away.len())).trim_end());
    Line::from(vec![
        Span::styled(" lose    ", style),
        Span::raw(format!("{text}{names}  ")),
        Span::styled(key, theme.key),
    ])
}
