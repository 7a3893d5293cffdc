//! Captures once they are files: many merged into one, and what goes along with a session's.
//!
//! Owns none of it but the list. Must not know sessions or screens.

pub mod manifest;
pub mod merge;
