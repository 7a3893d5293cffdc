//! What lies over a screen, one file each: the same names as in `screens/dialogs`.

pub(super) mod confirm;
pub(super) mod connection;
pub(super) mod contexts;
pub(super) mod exit;
pub(super) mod explain;
pub(super) mod form;
pub(super) mod help;
pub(super) mod history;
pub(super) mod notices;
mod reading;
pub(super) mod sessions;
pub(super) mod sides;
pub(super) mod signal;
pub(super) mod typed;

use crate::ui::Theme;

/// A title with the key that closes the dialog.
fn closes(title: &str, theme: &Theme) -> String {
    format!("{title} ({} closes)", theme.keys.fill("{back}"))
}

/// What the agents of this session may do.
pub(in crate::ui) fn rights(processes: bool) -> &'static str {
    if processes {
        "NET_RAW and, for --processes, the host's processes, uid 0, SYS_PTRACE and DAC_READ_SEARCH (enough to read \
         every file and process on the node)"
    } else {
        "NET_RAW"
    }
}
