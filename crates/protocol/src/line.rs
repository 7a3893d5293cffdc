//! One value, one line: encoding, decoding and splitting a byte stream at newlines.
//!
//! Owns the length limit. Must not know what the values mean.

use serde::{Serialize, de::DeserializeOwned};

/// The longest line either side accepts, newline included: 1 MiB.
pub const MAX_LINE: usize = 1024 * 1024;

/// Room that is kept between two lines.
const KEPT: usize = 64 * 1024;
/// How much of a bad line an error repeats.
const EXCERPT: usize = 60;

/// A line could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The line, or what has come of it so far, is over [`MAX_LINE`].
    #[error("a line longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not the JSON that was expected.
    #[error("not a protocol line: {excerpt:?}")]
    Malformed {
        /// The line's beginning; control characters show as escapes.
        excerpt: String,
        /// What the parser objects to.
        source: serde_json::Error,
    },
}

/// A value could not be written as a line.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It would be over [`MAX_LINE`].
    #[error("a value of {0} bytes does not fit a line")]
    TooLong(usize),
    /// It has no JSON form.
    #[error("a value without a JSON form")]
    Unwritable(#[from] serde_json::Error),
}

/// The value of one line, which may or may not end in a newline. Never panics, whatever the bytes.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, DecodeError> {
    if line.len() > MAX_LINE {
        return Err(DecodeError::TooLong);
    }
    serde_json::from_slice(line).map_err(|source| DecodeError::Malformed {
        excerpt: String::from_utf8_lossy(&line[..line.len().min(EXCERPT)]).into_owned(),
        source,
    })
}

/// One value as one line, newline included.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(EncodeError::TooLong(line.len()));
    }
    Ok(line)
}

/// Splits a byte stream into lines, holding at most one unfinished line.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
    /// How much of `pending` is known to hold no newline.
    searched: usize,
}

impl Lines {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Bytes that are held.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The next whole line without its newline, `None` when more bytes are needed.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, DecodeError> {
        let found = self.pending[self.searched..].iter().position(|&byte| byte == b'\n');
        let Some(offset) = found else {
            self.searched = self.pending.len();
            return if self.pending.len() > MAX_LINE { Err(DecodeError::TooLong) } else { Ok(None) };
        };
        let end = self.searched + offset;
        if end >= MAX_LINE {
            return Err(DecodeError::TooLong);
        }
        let mut line: Vec<u8> = self.pending.drain(..=end).collect();
        line.pop();
        self.searched = 0;
        // A long line's room is given back.
        if self.pending.is_empty() {
            self.pending.shrink_to(KEPT);
        }
        Ok(Some(line))
    }
}
