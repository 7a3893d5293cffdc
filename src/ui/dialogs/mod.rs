//! What lies over a screen, one file each: the same names as in `screens/dialogs`. Help and past notices are here.

pub(super) mod confirm;
pub(super) mod contexts;
pub(super) mod exit;
pub(super) mod form;
pub(super) mod history;
pub(super) mod sessions;
pub(super) mod sides;
pub(super) mod typed;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    base::text::{time_of_day, visible},
    config::keymap::{Binding, Key, is_offered, shown_keys},
    model::Severity,
    screens::App,
    ui::{
        Theme,
        widgets::{dialog, fit, scrolled},
    },
};

pub(in crate::ui) fn help(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let here = app.screen.scope();
    let of = |wanted: bool| {
        let told = move |binding: &Binding| !binding.help.is_empty() && is_offered(binding, app.session.permission);
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

pub(in crate::ui) fn notices(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let inside = dialog(
        frame,
        area,
        (area.width.saturating_sub(4), area.height.saturating_sub(4)),
        &closes("Notices", theme),
        theme,
    );
    if app.session.notices.is_empty() {
        frame.render_widget(Line::styled(" none yet", theme.dim), inside);
        return;
    }
    let mut lines = Vec::new();
    for (at, notice) in app.session.notices.iter().rev() {
        let style = match notice.severity {
            Severity::Info => theme.plain,
            Severity::Warning => theme.warn,
            Severity::Error => theme.bad,
        };
        lines.push(Line::from(vec![
            Span::styled(format!(" {} ", time_of_day(app.session.wall(*at))), theme.dim),
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

/// What the agents of this session may do.
pub(in crate::ui) fn rights(processes: bool) -> &'static str {
    if processes {
        "NET_RAW and, for --processes, the host's processes, uid 0, SYS_PTRACE and DAC_READ_SEARCH (enough to read \
         every file and process on the node)"
    } else {
        "NET_RAW"
    }
}
