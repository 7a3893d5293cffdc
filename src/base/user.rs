//! Who runs this program.
//!
//! Owns the name that others find on what was made.

use super::text;

/// `user@host`, for people who find what this program has made.
pub fn user_at_host() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let or = |name: &str, otherwise: &str| {
        if name.trim().is_empty() { otherwise.to_owned() } else { text::visible(name.trim()) }
    };
    format!("{}@{}", or(&user, "someone"), or(&host, "somewhere"))
}
