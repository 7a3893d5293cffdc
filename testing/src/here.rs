//! What this machine allows, and saying why a test is skipped.

use std::path::PathBuf;

/// Says why a test does nothing here.
#[allow(clippy::print_stderr, reason = "nextest shows it beside the test")]
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Whether this is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is on the path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether what only root may do can be done here, and these programs are installed; says why not.
pub fn possible(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        skip(&format!("needs {}", missing.join(", ")));
    } else if !is_root() {
        skip("needs root");
    }
    missing.is_empty() && is_root()
}

/// Where `make deps` puts what is slow to build.
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.map(|cache| cache.join("nodewatch-tui"))
}
