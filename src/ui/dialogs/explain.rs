//! What a cause means: the text of its code, laid out.

use nodewatch_answers::{Block, Code, blocks, explain};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::closes;
use crate::{
    base::text::visible,
    screens::App,
    ui::{
        Theme,
        widgets::{dialog, scrolled, wrapped_lines},
    },
};

/// Wider, lines are hard to read.
const WIDEST: u16 = 104;

pub(in crate::ui) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, code: Code, theme: &Theme) -> usize {
    let size = (area.width.saturating_sub(4).min(WIDEST), area.height.saturating_sub(4));
    let explanation = explain(code);
    let inside = dialog(frame, area, size, &closes(explanation.title(), theme), theme);
    let width = usize::from(inside.width);
    let mut lines = Vec::new();
    for (heading, text) in explanation.sections() {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(format!(" {heading}"), theme.title));
        lines.extend(blocks(text).iter().flat_map(|block| laid_out(block, width, theme)));
    }
    scrolled(frame, inside, lines, app.scroll)
}

fn laid_out(block: &Block, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    match block {
        Block::Paragraph(text) => wrapped_lines(text, 1, width, theme.plain),
        Block::Item(text) => {
            let mut lines = wrapped_lines(text, 3, width, theme.plain);
            if let Some(first) = lines.first_mut() {
                let text = first.to_string();
                *first = Line::from(vec![Span::styled(" - ", theme.dim), Span::raw(text.trim_start().to_owned())]);
            }
            lines
        }
        Block::Literal(lines) => {
            lines.iter().map(|line| Line::styled(format!("   {}", visible(line)), theme.accent)).collect()
        }
    }
}
