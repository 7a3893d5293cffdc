//! What the user can set: today the keymap's table.
//!
//! Owns the one place where keys, hints and help come from.

pub mod keymap;
