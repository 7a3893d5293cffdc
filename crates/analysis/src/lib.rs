//! What packets say: their headers, for both programs.
//!
//! Owns the reading of captured bytes, all of it distrustful: whatever the bytes, nothing panics. Pure: one packet at a
//! time, no clock, no I/O. Must not know where packets come from.
#![warn(missing_docs)]

pub mod decode;
