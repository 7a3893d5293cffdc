//! What a panic leaves: a terminal that is usable, and a file that says what happened.
//!
//! Owns the hook. A panic of any task ends the program: going on without it would hide that something is missing.

use std::{
    backtrace::Backtrace,
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use super::guard::restore;
use crate::base::{folders, text::visible};

static HAPPENED: AtomicBool = AtomicBool::new(false);
static INSTALLED: Once = Once::new();

/// Whether something has panicked since the hook was installed.
pub(super) fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// Puts the terminal back and writes the report before anything else is said of a panic.
pub(super) fn install() {
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            restore();
            let first = !HAPPENED.swap(true, Ordering::Relaxed);
            let text = visible(&info.to_string()).replace("\\u{a}", "\n");
            let place = if first { write(&text).ok() } else { None };
            // Nobody is left to tell when standard error is gone.
            let mut out = io::stderr();
            let _ = writeln!(out, "nodewatch-tui has failed: {text}");
            if let Some(place) = place {
                let _ = writeln!(out, "a report is in {}; it holds no packets and no credentials", place.display());
            }
            let _ = writeln!(out, "the session's objects are in its journal: remove them with nodewatch-tui cleanup");
        }));
    });
}

fn write(text: &str) -> io::Result<PathBuf> {
    let folder = folders::state().unwrap_or_else(|| std::env::temp_dir().join("nodewatch-tui"));
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let stamp = crate::base::clock::file_stamp(crate::base::clock::unix_millis());
    let path = folder.join(format!("panic-{stamp}.txt"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let version = env!("CARGO_PKG_VERSION");
    let system = std::env::consts::OS;
    let trace = Backtrace::force_capture();
    writeln!(file, "nodewatch-tui {version} on {system}\n{text}\n\n{trace}")?;
    Ok(path)
}
