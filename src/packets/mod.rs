//! What single packets say: their headers, a line for people, and which copies of several nodes are the same packet.
//!
//! Owns the reading of captured bytes on the laptop, all of it distrustful: whatever the bytes, nothing panics. Must
//! not know where packets come from or what is made of them.

mod headers;
mod line;
pub mod pairs;

pub use headers::{Headers, Transport};
pub use line::{line, time_of_day};
