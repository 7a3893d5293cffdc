//! Small pieces that several screens share.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, BorderType, Clear, Paragraph, Wrap},
};
use tui_input::Input;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Theme;
use crate::{
    base::text::{is_plain, visible},
    model::NodeName,
    screens::{Action, App, Screen, dialogs::reading::END},
};

/// How many columns a text takes.
pub(super) fn width_of(text: &str) -> usize {
    if is_plain(text) { text.len() } else { text.width() }
}

/// Text in exactly that many columns: cut with an ellipsis, or padded. The text must be visible already.
pub(super) fn fit(text: &str, width: usize) -> String {
    let have = width_of(text);
    if have <= width {
        return format!("{text}{}", " ".repeat(width - have));
    }
    let mut cut = String::new();
    let mut used = 0;
    for character in text.chars() {
        let next = character.width().unwrap_or(0);
        if used + next + 1 > width {
            break;
        }
        cut.push(character);
        used += next;
    }
    if width > 0 {
        cut.push('~');
        used += 1;
    }
    format!("{cut}{}", " ".repeat(width.saturating_sub(used)))
}

/// The same, at the right edge.
pub(super) fn fit_right(text: &str, width: usize) -> String {
    let have = width_of(text);
    if have <= width { format!("{}{text}", " ".repeat(width - have)) } else { fit(text, width) }
}

/// `%`, the longest name of an interface, `]:` and the longest port.
const LONGEST_END: usize = 23;

/// Cut where it matters least: an address's end has the interface and the port.
pub(super) fn fit_middle(text: &str, width: usize) -> String {
    if text.width() <= width || !text.is_ascii() {
        return fit(text, width);
    }
    let room = width.saturating_sub(1);
    let end = room.min(LONGEST_END.max(room * 2 / 3));
    let front = room - end;
    format!("{}~{}", &text[..front], &text[text.len() - end..])
}

/// A node's name in at most that many columns; a domain that does not fit is left out, as in `ip-10-0-1-12`,
/// and what is still too long is cut in the middle. In none, it is whole but for the domain.
pub(super) fn short_name(name: &NodeName, width: usize) -> String {
    let shown = visible(&name.0);
    let shown = match shown.split_once('.') {
        Some((host, _)) if shown.width() > width && host.parse::<u8>().is_err() => host.to_owned(),
        _ => shown,
    };
    // Pools name their nodes alike at the front.
    if width > 0 && shown.width() > width { fit_middle(&shown, width) } else { shown }
}

/// The screen's title behind those that lead to it, and at the right what filter, order and faults-only make of it.
pub(super) fn crumbs(app: &App, before: &[&str], title: &str, width: usize, theme: &Theme) -> Line<'static> {
    let mut line = Line::from(" ");
    for name in before {
        line.push_span(Span::styled(format!("{name} {} ", theme.symbols.crumb), theme.dim));
    }
    line.push_span(Span::styled(title.to_owned(), theme.title));
    let mut narrowed = Vec::new();
    if app.layout.faults_only {
        narrowed.push("faults only".to_owned());
    }
    if let Some(order) = app.screen_order() {
        narrowed.push(format!("by {}", order.text(theme.symbols.unicode)));
    }
    let asked = app.answers.why.as_ref().filter(|_| matches!(app.screen, Screen::Answers | Screen::Connections));
    narrowed.extend(asked.map(|why| format!("why: {}", visible(&why.text()))));
    let filter = app.filter_text();
    if !filter.is_empty() {
        narrowed.push(format!("filter: {}", visible(filter)));
    }
    if !narrowed.is_empty() {
        let room = width.saturating_sub(line.width());
        line.push_span(Span::styled(fit_right(&format!("  {} ", narrowed.join("  ")), room), theme.accent));
    }
    line
}

/// The first row shown of a list, so that the cursor stays in its middle.
pub(super) fn first_shown(cursor: usize, rows: usize, room: usize) -> usize {
    cursor.saturating_sub(room / 2).min(rows.saturating_sub(room))
}

/// The row under the cursor, as a band over the whole width.
pub(super) fn cursor_row(row: Line<'static>, width: impl Into<usize>, theme: &Theme) -> Line<'static> {
    let rest = width.into().saturating_sub(row.width());
    let whole = row.style;
    let spans =
        row.spans.into_iter().map(|span| Span::styled(span.content, theme.under_cursor(whole.patch(span.style))));
    spans.chain([Span::styled(" ".repeat(rest), theme.selected)]).collect()
}

/// Text over as many lines as it needs.
pub(super) fn wrapped(text: &str) -> Paragraph<'static> {
    Paragraph::new(text.to_owned()).wrap(Wrap { trim: false })
}

/// Lines from that offset on; the offset never goes past the last screenful, and a very large one is from the end. Which
/// line is the first.
pub(super) fn scrolled(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>, scroll: usize) -> usize {
    let first = first_line(lines.len(), usize::from(area.height), scroll);
    let shown: Vec<Line<'static>> = lines.into_iter().skip(first).take(usize::from(area.height)).collect();
    frame.render_widget(Paragraph::new(shown), area);
    first
}

/// The first of so many lines that is shown.
pub(super) fn first_line(lines: usize, room: usize, scroll: usize) -> usize {
    let last = lines.saturating_sub(room);
    if scroll > END / 2 { last.saturating_sub(END.saturating_sub(scroll)) } else { scroll.min(last) }
}

/// A box in the middle of the screen, cleared; returns its inside.
pub(super) fn dialog(frame: &mut Frame<'_>, area: Rect, size: (u16, u16), title: &str, theme: &Theme) -> Rect {
    let width = size.0.min(area.width);
    let height = size.1.min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let border = if theme.symbols.unicode { BorderType::Rounded } else { BorderType::Plain };
    let mut block = Block::bordered().border_type(border).border_style(theme.accent);
    if !theme.symbols.unicode {
        block = block.border_set(ASCII_BORDER);
    }
    let block = block.title(Span::styled(format!(" {title} "), theme.title));
    let inside = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    inside
}

const ASCII_BORDER: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Columns of a fact's name.
const FACT: usize = 13;

/// A name and its value.
pub(super) fn fact(name: &str, value: impl Into<String>, style: Style, theme: &Theme) -> Line<'static> {
    Line::from(vec![Span::styled(fit(name, FACT), theme.dim), Span::styled(value.into(), style)])
}

/// A name and a value that is never cut off: it goes on below itself.
pub(super) fn long_fact(name: &str, value: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let parts = textwrap::wrap(value, width.saturating_sub(FACT).max(1));
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    parts.into_iter().zip(names).map(|(part, name)| fact(name, part, theme.plain, theme)).collect()
}

/// The latest values as bars, the newest at the right.
pub(super) fn sparkline(values: impl DoubleEndedIterator<Item = u64>, width: usize, theme: &Theme) -> String {
    let mut latest: Vec<u64> = values.rev().take(width).collect();
    latest.reverse();
    let top = latest.iter().copied().max().unwrap_or(0).max(1);
    let bars = theme.symbols.bars;
    let drawn: String = latest
        .iter()
        .map(|&value| if value == 0 { " " } else { bars[(value * 7).div_ceil(top).min(7) as usize] })
        .collect();
    fit_right(&drawn, width)
}

/// A share of a whole as a bar.
pub(super) fn bar(part: u64, whole: u64, width: usize, theme: &Theme) -> String {
    let filled = if whole == 0 { 0 } else { (u128::from(part) * width as u128).div_ceil(u128::from(whole)) as usize };
    let sign = if theme.symbols.unicode { "█" } else { "#" };
    fit(&sign.repeat(filled.min(width)), width)
}

/// Foreign text on as many lines as it takes, indented.
pub(super) fn wrapped_lines(text: &str, indent: usize, width: usize, style: Style) -> Vec<Line<'static>> {
    let shown = visible(text);
    let lines = textwrap::wrap(&shown, width.saturating_sub(indent).max(1));
    lines.iter().map(|line| Line::styled(format!("{}{line}", " ".repeat(indent)), style)).collect()
}

/// A line in at most that many columns, with a sign where it is cut.
pub(super) fn cut(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut left = width;
    let mut whole = Line { spans: Vec::new(), ..line };
    for span in line.spans {
        let needed = span.width();
        // One column is for the sign.
        if needed < left {
            left -= needed;
            whole.spans.push(span);
        } else {
            let fitted = if needed == left { format!("{} ", span.content) } else { span.content.into_owned() };
            whole.spans.push(Span::styled(fit(&fitted, left), span.style));
            break;
        }
    }
    whole
}

/// What is seen of a line that is being typed, in that many columns, and where in it its cursor is: what is around the
/// cursor stays in sight.
pub(super) fn typed_part(input: &Input, width: usize) -> (String, usize) {
    let value = input.value();
    let at = value.char_indices().nth(input.cursor()).map_or(value.len(), |(at, _)| at);
    let (before, behind) = (visible(&value[..at]), visible(&value[at..]));
    // Behind the text the cursor takes a column of its own.
    if before.width() + behind.width().max(1) <= width {
        return (format!("{before}{behind}"), before.width());
    }
    if width == 0 {
        return (String::new(), 0);
    }
    let (some, few) = (width / 4, width.saturating_sub(2));
    let shown_behind = behind.width().clamp(1, some.max(1));
    if before.width() <= few && before.width() + shown_behind <= width {
        return (fit(&format!("{before}{behind}"), width).trim_end().to_owned(), before.width());
    }
    let front = tail_of(&before, width.saturating_sub(shown_behind));
    let place = front.width();
    (format!("{front}{}", fit(&behind, shown_behind)).trim_end().to_owned(), place)
}

/// The end of a text in at most that many columns, behind a sign.
fn tail_of(text: &str, width: usize) -> String {
    let mut from = text.len();
    let mut used = 1;
    for (at, character) in text.char_indices().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        from = at;
    }
    if width == 0 { String::new() } else { format!("~{}", &text[from..]) }
}

/// Keys with what they do here, for a dialog's last lines: none is cut off.
pub(super) fn key_lines(keys: &[(Action, &str)], width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = Vec::new();
    for key in keys {
        let one = key_line(std::slice::from_ref(key), theme);
        match lines.last_mut() {
            // The blanks behind the last need no room.
            Some(line) if line.width() + one.width() <= width + 2 => line.spans.extend(one.spans),
            _ => lines.push(one),
        }
    }
    lines
}

/// Keys with what they do here, for a dialog's last line.
pub(super) fn key_line(keys: &[(Action, &str)], theme: &Theme) -> Line<'static> {
    let mut spans = Vec::new();
    for (action, what) in keys {
        spans.push(Span::styled(format!(" {}", theme.keys.key_for(*action)), theme.key));
        spans.push(Span::raw(format!(" {what}  ")));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_do_not_break_columns() {
        for text in ["plain", "日本語のノード", "e\u{301}accent", ""] {
            for width in 0..12 {
                assert_eq!(fit(text, width).width(), width, "{text:?} in {width}");
                assert_eq!(fit_right(text, width).width(), width, "{text:?} in {width}");
            }
        }
    }

    #[test]
    fn what_is_typed_is_seen_around_its_cursor() {
        let long = "tcp port 8080 and host db.example.com and not 日本語のノード";
        for cursor in 0..=long.chars().count() {
            let input = Input::new(long.to_owned()).with_cursor(cursor);
            for width in 0..80 {
                let (shown, at) = typed_part(&input, width);
                assert!(shown.width() <= width && at <= width, "{shown:?} in {width}");
                if width > 8 {
                    let before: String = long.chars().take(cursor).collect();
                    let end: String = before.chars().rev().take(1).collect();
                    assert!(at < width && shown.contains(&end), "{end:?} before the cursor: {shown:?} in {width}");
                }
            }
        }
        let (shown, at) = typed_part(&Input::new("a very long filter".to_owned()), 10);
        assert_eq!((shown.as_str(), at), ("~g filter", 9), "the end that is typed is shown");
    }

    #[test]
    fn a_line_that_is_cut_says_so_and_no_key_is_cut_off() {
        let line =
            |parts: &[&str]| Line::from(parts.iter().map(|part| Span::raw((*part).to_owned())).collect::<Vec<_>>());
        for (width, shown) in [(9, "udp 53535"), (8, "udp 535~"), (5, "udp ~"), (4, "udp~"), (2, "u~"), (0, "")] {
            assert_eq!(cut(line(&["udp ", "53535"]), width).to_string(), shown, "{width}");
        }
        let keys = [(Action::Open, "leave"), (Action::Mark, "change the line"), (Action::Back, "stay")];
        let texts: Vec<String> = key_lines(&keys, 30, &Theme::standard()).iter().map(Line::to_string).collect();
        assert_eq!(
            texts.iter().map(|text| text.trim()).collect::<Vec<_>>(),
            ["Enter leave", "Space change the line", "Esc stay"]
        );
    }

    #[test]
    fn bars_stay_in_their_width_whatever_the_numbers() {
        let theme = Theme::standard();
        assert_eq!(bar(u64::MAX, 1, 5, &theme).width(), 5);
        assert_eq!(bar(1, 0, 5, &theme).trim(), "");
        assert_eq!(sparkline([0, 1, 100].into_iter(), 5, &theme), "   ▂█");
        assert_eq!(sparkline(std::iter::repeat_n(3, 50), 4, &theme), "████");
    }
}
