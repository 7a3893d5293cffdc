//! A text that is typed on one line.
//!
//! Owns what one edit and one paste do to it. Pure.

use tui_input::{Input, InputRequest};

use super::action::Edit;

/// No text field is longer, in characters.
const LONGEST: usize = 100_000;

/// Puts a text where a field's cursor is, in one go; line ends and whatever else is no text are left out, and what is too long.
pub fn insert(input: &mut Input, text: &str) {
    let (value, cursor) = (input.value(), input.cursor());
    let room = LONGEST.saturating_sub(value.chars().count());
    let text: String = text.chars().filter(|character| !character.is_control()).take(room).collect();
    let at = value.char_indices().nth(cursor).map_or(value.len(), |(at, _)| at);
    let whole = format!("{}{text}{}", &value[..at], &value[at..]);
    *input = Input::new(whole).with_cursor(cursor + text.chars().count());
}

/// Changes a text field.
pub fn apply(input: &mut Input, edit: Edit) {
    let request = match edit {
        Edit::Insert(character) => InputRequest::InsertChar(character),
        Edit::DeleteBack => InputRequest::DeletePrevChar,
        Edit::DeleteWord => InputRequest::DeletePrevWord,
        Edit::Delete => InputRequest::DeleteNextChar,
        Edit::Left => InputRequest::GoToPrevChar,
        Edit::Right => InputRequest::GoToNextChar,
        Edit::Start => InputRequest::GoToStart,
        Edit::End => InputRequest::GoToEnd,
        Edit::Clear => InputRequest::DeleteLine,
    };
    // The answer only says whether anything changed.
    let _ = input.handle(request);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_in_at_the_cursor_without_line_ends_and_within_a_bound() {
        let mut input = Input::new("äd".to_owned()).with_cursor(1);
        insert(&mut input, "b\nc\u{1b}");
        assert_eq!((input.value(), input.cursor()), ("äbcd", 3));
        insert(&mut input, &"x".repeat(2 * LONGEST));
        assert_eq!((input.value().chars().count(), input.cursor()), (LONGEST, LONGEST - 1));
    }
}
