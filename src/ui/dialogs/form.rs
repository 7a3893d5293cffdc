//! The capture form.

use crate::{
    base::text::{lasting, visible},
    model::NodeName,
    screens::{
        Action, App,
        dialogs::form::{CaptureForm, Field},
    },
    ui::{
        Theme,
        widgets::{dialog, first_shown, fit, key_lines, typed_part, wrapped_lines},
    },
};
use nodewatch_protocol::CaptureState;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

/// Columns of the labels.
const LABEL: usize = 17;
/// Lines below the fields: what can be entered, what is wrong, what runs already, keys.
const BELOW: u16 = 7;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, form: &CaptureForm, theme: &Theme) {
    let targets = app.form_targets(form);
    let of_pods = !form.value(Field::Pods).trim().is_empty();
    let title = match targets.as_slice() {
        _ if of_pods => "Capture of pods".to_owned(),
        [one] => format!("Capture on {}", visible(&one.0)),
        more => format!("Capture on {} nodes", more.len()),
    };
    let inside = dialog(frame, area, (78, Field::ALL.len() as u16 + BELOW + 2), &title, theme);
    let width = usize::from(inside.width);
    let mut below =
        vec![Line::styled(format!(" {}", fit(form.focused().example(), width.saturating_sub(1))), theme.dim)];
    match &form.error {
        Some((_, message)) => below.extend(wrapped_lines(message, 1, width, theme.bad).into_iter().take(2)),
        None => below.extend(
            replaced(app, &targets, theme)
                .filter(|_| !of_pods)
                .map(|text| Line::styled(format!(" {}", fit(&text, width.saturating_sub(1))), theme.warn)),
        ),
    }
    let close = if form.is_as_given() { "close" } else { "keep and close" };
    let keys =
        key_lines(&[(Action::Open, "start"), (Action::NextView, "next field"), (Action::Back, close)], width, theme);
    let height = usize::from(inside.height);
    // Where not everything has room, the field that is typed in and what is said of it have.
    let room = height.saturating_sub(below.len() + keys.len()).max(1);
    let first = first_shown(form.focus, Field::ALL.len(), room);
    let fields = Field::ALL.into_iter().skip(first).take(room);
    let mut lines: Vec<Line<'static>> = fields.map(|field| field_line(form, field, width, theme)).collect();
    if room > lines.len() {
        lines.push(Line::default());
    }
    lines.extend(below);
    let last = height.saturating_sub(keys.len()).max(lines.len().min(height));
    lines.resize(last, Line::default());
    lines.extend(keys);
    frame.render_widget(Paragraph::new(lines), inside);
    let (_, at) = typed_part(form.input(), value_room(width));
    let column = inside.x + (LABEL + at + 2 * usize::from(!form.focused().choices().is_empty())) as u16;
    let row = inside.y + (form.focus - first) as u16;
    if column < inside.right() && row < inside.bottom() {
        frame.set_cursor_position((column, row));
    }
}

/// Columns of a field's text.
fn value_room(width: usize) -> usize {
    width.saturating_sub(LABEL + 2)
}

fn field_line(form: &CaptureForm, field: Field, width: usize, theme: &Theme) -> Line<'static> {
    let focused = field == form.focused();
    let label = Span::styled(fit(&format!(" {}", field.label()), LABEL), if focused { theme.key } else { theme.dim });
    let value = form.value(field);
    let (shown, style) = match (value.is_empty(), field.choices().is_empty()) {
        (true, true) => (format!("({})", field.placeholder()), theme.dim),
        (true, false) => (field.placeholder().to_owned(), theme.dim),
        (false, _) if focused => (typed_part(form.input(), value_room(width)).0, theme.plain),
        (false, _) => (fit(&visible(value), value_room(width)).trim_end().to_owned(), theme.plain),
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
