//! Where this program's own files are on the laptop, after the XDG Base Directory Specification.
//!
//! Owns the two folders. Makes none.

use std::path::PathBuf;

/// What outlives a run and is nobody's to edit: `$XDG_STATE_HOME/nodewatch-tui`. `None` without a home.
pub fn state() -> Option<PathBuf> {
    below("XDG_STATE_HOME", ".local/state")
}

/// The same, where it can be made without making up a home: an account that has none has no place to keep things.
pub fn kept_state() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).is_some_and(|path| path.is_absolute());
    let at_home = || std::env::var_os("HOME").map(PathBuf::from).is_some_and(|home| home.is_dir());
    state().filter(|_| named || at_home())
}

/// What the user sets: `$XDG_CONFIG_HOME/nodewatch-tui`. `None` without a home.
pub fn config() -> Option<PathBuf> {
    below("XDG_CONFIG_HOME", ".config")
}

/// Relative paths in these variables do not count.
fn below(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))?.join("nodewatch-tui"))
}
