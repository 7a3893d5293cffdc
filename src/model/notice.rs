//! What is told to the user.
//!
//! Owns its parts: what happened, why, what to do about it, and what kind of failure it is.

use serde::{Deserialize, Serialize};

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is missing or late.
    Warning,
    /// Something did not work.
    Error,
}

/// Something told to the user: what happened, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How grave it is.
    pub severity: Severity,
    /// What happened, naming the thing.
    pub headline: String,
    /// Why; may be empty.
    pub cause: String,
    /// What to do; may be empty.
    pub next_step: String,
    /// What kind of failure it is, for exit codes.
    pub failure: Failure,
}

/// The kinds of failure that exit codes tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Something failed, or nothing did.
    Other,
    /// The user's input names something that is no such thing.
    BadInput,
    /// A right is missing.
    NotPermitted,
    /// The server cannot be reached.
    Unreachable,
    /// The server could not answer this time.
    Busy,
}

impl Failure {
    /// Trying again may help.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy)
    }
}

impl Notice {
    /// An error with its cause and the way out.
    pub fn error(headline: impl Into<String>, cause: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            headline: headline.into(),
            cause: cause.into(),
            next_step: next_step.into(),
            failure: Failure::Other,
        }
    }

    /// A warning with its cause and the way out.
    pub fn warning(headline: impl Into<String>, cause: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(headline, cause, next_step) }
    }

    /// Good to know.
    pub fn info(headline: impl Into<String>) -> Self {
        Self { severity: Severity::Info, ..Self::error(headline, "", "") }
    }

    /// The same, as another kind of failure.
    #[must_use]
    pub fn of(self, failure: Failure) -> Self {
        Self { failure, ..self }
    }

    /// What happened and why, without what to do about it, which may name keys: for what is written down.
    pub fn fact(&self) -> String {
        if self.cause.is_empty() { self.headline.clone() } else { format!("{}: {}", self.headline, self.cause) }
    }

    /// All of it on one line.
    pub fn line(&self) -> String {
        let mut line = self.headline.clone();
        if !self.cause.is_empty() {
            line = format!("{line}: {}", self.cause);
        }
        if !self.next_step.is_empty() {
            line = format!("{line} ({})", self.next_step);
        }
        line
    }
}
