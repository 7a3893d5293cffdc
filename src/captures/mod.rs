//! Captures once they are files: many merged into one, what their packets say, and what goes along with a session's.
//!
//! Owns none of it but the list. Must not know sessions or screens.

pub mod bundle;
pub mod diagnose;
pub mod manifest;
pub mod merge;
mod taps;
