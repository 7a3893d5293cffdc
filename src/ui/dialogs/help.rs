//! Every key, those of this screen first, by what they belong to.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::reading;
use crate::{
    config::keymap::{Binding, Group, Key, is_offered, shown_keys},
    screens::{App, dialogs::reading::Reading},
    ui::{
        Theme,
        widgets::{dialog, fit},
    },
};

/// Columns of the keys, and of one row with what it does.
const KEYS: usize = 16;
const ROW: u16 = 78;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, reading: &Reading, theme: &Theme) -> usize {
    let two = area.width >= 120;
    let here = section(app, reading, theme, true);
    let elsewhere = section(app, reading, theme, false);
    let lines = if two { beside(here, elsewhere) } else { below(here, elsewhere, theme) };
    let title = concat!("Keys of nodewatch-tui ", env!("CARGO_PKG_VERSION"));
    let width = if two { 2 * ROW + 2 } else { ROW + 2 };
    // What is searched for changes no size.
    let searching = reading.typing || !reading.search.value().is_empty();
    let height = if searching { area.height } else { lines.len() as u16 + 3 };
    let inside = dialog(frame, area, (width, height), title, theme);
    reading::draw(frame, inside, lines, (reading, app.scroll), theme)
}

/// The keys of this screen, or all others, group by group.
fn section(app: &App, reading: &Reading, theme: &Theme, wanted: bool) -> Vec<Line<'static>> {
    let here = app.screen.scope();
    let told = |binding: &Binding, keys: &[Key]| {
        let shown = !binding.help.is_empty() && is_offered(binding, app.session.permission);
        let found = reading.finds(binding.help)
            || reading.finds(binding.name)
            || shown_keys(keys).iter().any(|key| key == reading.search.value().trim());
        shown && found && binding.scopes.contains(&here) == wanted
    };
    let mut lines = Vec::new();
    for group in Group::ALL {
        let rows = theme.keys.rows().filter(|(binding, keys)| binding.group == group && told(binding, keys));
        let rows: Vec<Line<'static>> = rows.map(|(binding, keys)| row(binding, keys, theme)).collect();
        if !rows.is_empty() {
            let elsewhere = if wanted { "" } else { ", elsewhere" };
            lines.push(Line::styled(format!(" {}{elsewhere}", group.title()), theme.title));
            lines.extend(rows);
        }
    }
    lines
}

fn row(binding: &Binding, keys: &[Key], theme: &Theme) -> Line<'static> {
    let keys = shown_keys(keys).join(" ");
    Line::from(vec![Span::styled(fit(&format!("  {keys}"), KEYS), theme.key), Span::raw(binding.help)])
}

fn below(mut here: Vec<Line<'static>>, elsewhere: Vec<Line<'static>>, theme: &Theme) -> Vec<Line<'static>> {
    if !here.is_empty() && !elsewhere.is_empty() {
        here.push(Line::styled(theme.symbols.rule.repeat(usize::from(ROW)), theme.dim));
    }
    here.extend(elsewhere);
    here
}

fn beside(left: Vec<Line<'static>>, right: Vec<Line<'static>>) -> Vec<Line<'static>> {
    let rows = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    (0..rows)
        .map(|_| {
            let mut line = left.next().unwrap_or_default();
            let rest = usize::from(ROW).saturating_sub(line.width());
            line.push_span(Span::raw(" ".repeat(rest)));
            line.spans.extend(right.next().unwrap_or_default().spans);
            line
        })
        .collect()
}
