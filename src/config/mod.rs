//! What the user can set: the keymap, and the config file.
//!
//! Owns the tables and their reading. Must not know what an action or a setting does.

pub mod file;
pub mod keymap;
