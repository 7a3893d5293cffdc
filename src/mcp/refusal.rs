//! Why a tool does nothing, for a program and for a person.
//!
//! Owns the codes, which are a contract: docs/mcp.md has them.

/// A refusal, before anything was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// One of [`CODES`].
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

/// Every code, with what it means.
pub(super) const CODES: [(&str, &str); 6] = [
    ("bad_arguments", "an argument is unknown, missing or wrong"),
    ("not_allowed", "the server was started without `--allow-changes`, or the file is outside of its directory"),
    ("over_budget", "more nodes, seconds or bytes than the budget has"),
    ("unknown_session", "no capture of this server has that session ID"),
    ("cannot_start", "the command could not be started"),
    ("ending", "the server is about to end"),
];

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { code, message: message.into(), next_step: next_step.into() }
    }

    pub(super) fn bad_arguments(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new("bad_arguments", message, next_step)
    }

    pub(super) fn over_budget(message: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self::new("over_budget", message, next_step)
    }

    /// What changes something, where nothing may be changed.
    pub(super) fn not_allowed(what: &str) -> Self {
        let next_step = "ask the person to start the server with --allow-changes";
        Self::new("not_allowed", format!("{what}: this server only reads"), next_step)
    }
}
