//! The capture form.

use nodewatch_protocol::CaptureState;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{
    base::text::{lasting, visible},
    model::NodeName,
    screens::{
        Action, App,
        dialogs::form::{CaptureForm, Field},
    },
    ui::{
        Theme,
        widgets::{dialog, fit, key_line, wrapped_lines},
    },
};

/// Columns of the labels.
const LABEL: usize = 17;
/// Lines below the fields: what can be entered, what is wrong, what runs already, keys.
const BELOW: u16 = 7;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, form: &CaptureForm, theme: &Theme) {
    let targets = app.form_targets(form);
    let title = match targets.as_slice() {
        [one] => format!("Capture on {}", visible(&one.0)),
        more => format!("Capture on {} nodes", more.len()),
    };
    let inside = dialog(frame, area, (78, Field::ALL.len() as u16 + BELOW + 2), &title, theme);
    let width = usize::from(inside.width);
    let mut lines: Vec<Line<'static>> =
        Field::ALL.into_iter().map(|field| field_line(form, field, width, theme)).collect();
    lines.push(Line::default());
    let example = format!(" {}", form.focused().example());
    lines.push(Line::styled(example, theme.dim));
    match &form.error {
        Some((_, message)) => lines.extend(wrapped_lines(message, 1, width, theme.bad).into_iter().take(2)),
        None => lines.extend(
            replaced(app, &targets, theme)
                .map(|text| Line::styled(format!(" {}", fit(&text, width.saturating_sub(1))), theme.warn)),
        ),
    }
    let last = usize::from(inside.height).saturating_sub(1);
    lines.resize(last, Line::default());
    lines.push(key_line(
        &[(Action::Open, "start"), (Action::NextView, "next field"), (Action::Back, "keep and close")],
        theme,
    ));
    frame.render_widget(Paragraph::new(lines), inside);
    let column = inside.x + (LABEL + form.cursor() + 2 * usize::from(!form.focused().choices().is_empty())) as u16;
    let row = inside.y + form.focus as u16;
    if column < inside.right() && row < inside.bottom() {
        frame.set_cursor_position((column, row));
    }
}

fn field_line(form: &CaptureForm, field: Field, width: usize, theme: &Theme) -> Line<'static> {
    let focused = field == form.focused();
    let label = Span::styled(fit(&format!(" {}", field.label()), LABEL), if focused { theme.key } else { theme.dim });
    let value = form.value(field);
    let (shown, style) = match (value.is_empty(), field.choices().is_empty()) {
        (true, true) => (format!("({})", field.placeholder()), theme.dim),
        (true, false) => (field.placeholder().to_owned(), theme.dim),
        // What is typed last is what somebody looks at.
        (false, _) => (ends_of(&visible(value), width.saturating_sub(LABEL + 2), focused), theme.plain),
    };
    if focused && !field.choices().is_empty() {
        return Line::from(vec![
            label,
            Span::styled("< ", theme.key),
            Span::styled(shown, style),
            Span::styled(" >", theme.key),
        ]);
    }
    Line::from(vec![label, Span::styled(shown, style)])
}

/// A text in so many columns: its end where it is being typed, otherwise its beginning, and a sign where it is cut.
fn ends_of(text: &str, width: usize, end: bool) -> String {
    if text.width() <= width || !end {
        return fit(text, width).trim_end().to_owned();
    }
    let mut kept: Vec<char> = Vec::new();
    let mut used = 1;
    for character in text.chars().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    std::iter::once('~').chain(kept.into_iter().rev()).collect()
}

/// Which captures would end for this one.
fn replaced(app: &App, targets: &[NodeName], theme: &Theme) -> Option<String> {
    let replaced = app.replaced(targets);
    let filter_of = |name: &NodeName| match &app.session.nodes.get(name)?.capture {
        CaptureState::Running { spec, .. } => {
            Some(spec.filter.as_deref().map_or_else(|| "every packet".to_owned(), visible))
        }
        _ => None,
    };
    let unsaved = |name: &NodeName| app.session.nodes.get(name)?.unsaved(app.session.now);
    match replaced.as_slice() {
        [] => None,
        // What a recorder holds goes with it, unlike a capture's files.
        [one] if let Some((held, _)) = unsaved(one) => {
            let key = theme.keys.fill("{back}, then {freeze} saves it");
            Some(format!("replaces the recorder on {}: drops its last {}; {key}", visible(&one.0), lasting(held)))
        }
        [one] => {
            let what = filter_of(one).unwrap_or_default();
            Some(format!("replaces the capture on {}: {what}", visible(&one.0)))
        }
        more => {
            let recorders = more.iter().filter(|name| unsaved(name).is_some()).count();
            let drops = if recorders > 0 {
                format!(", of which {recorders} drop what a recorder holds")
            } else {
                String::new()
            };
            Some(format!("replaces the captures on {} nodes{drops}", more.len()))
        }
    }
}
