//! Why connections fail: the causes by their codes, and what each means.
//!
//! Owns the codes and the explanations. Pure: no clock, no I/O.
#![warn(missing_docs)]

mod code;
mod explain;

pub use code::{Code, UnknownCode};
pub use explain::{Block, Explanation, blocks, explain, reference};
