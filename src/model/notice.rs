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
    /// The next step is a text of this program's own that names keys, as `{deploy}`. In all other texts braces are data.
    #[serde(default)]
    pub names_keys: bool,
    /// What kind of failure it is, for exit codes.
    pub failure: Failure,
    /// It only answers a key: nothing has happened that somebody looks for later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passing: bool,
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
    /// A node cannot pull the agents' image.
    Image,
    /// It is the session's cluster by another way, which somebody has to say is right.
    Moved,
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
            names_keys: false,
            failure: Failure::Other,
            passing: false,
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

    /// The same; keys that its next step names in braces are filled in where there are some. Nothing of others may be in
    /// that step.
    #[must_use]
    pub fn naming_keys(self) -> Self {
        Self { names_keys: true, ..self }
    }

    /// The same, as an answer to a key and no event.
    #[must_use]
    pub fn as_answer(self) -> Self {
        Self { passing: true, ..self }
    }

    /// What happened and why, without what to do about it, which may name keys: for what is written down.
    pub fn fact(&self) -> String {
        if self.cause.is_empty() { self.headline.clone() } else { format!("{}: {}", self.headline, self.cause) }
    }

    /// All of it on one line, for where there are no keys: `press {deploy}` names the act alone.
    pub fn line(&self) -> String {
        self.line_with(without_keys)
    }

    /// All of it on one line, with what `fill` makes of names of keys.
    pub fn line_with(&self, fill: impl Fn(&str) -> String) -> String {
        let mut line = self.fact();
        let next_step = self.next_step_with(fill);
        if !next_step.is_empty() {
            line = format!("{line} ({next_step})");
        }
        line
    }

    /// What to do, with what `fill` makes of names of keys.
    pub fn next_step_with(&self, fill: impl Fn(&str) -> String) -> String {
        if self.names_keys { fill(&self.next_step) } else { self.next_step.clone() }
    }
}

/// Names of keys as plain words.
fn without_keys(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    parts.fold(first, |told, part| match part.split_once('}') {
        Some((name, rest)) if is_name(name) => told + name + rest,
        _ => told + "{" + part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_are_no_keys_the_act_is_named() {
        assert_eq!(without_keys("press {deploy} to {go-back}"), "press deploy to go-back");
        assert_eq!(without_keys("{\"a\": {1}} {}"), "{\"a\": {1}} {}");
    }

    #[test]
    fn braces_of_others_are_left_as_they_are() {
        let notice = Notice::error("s3://b/{prod}/x stays", "no {deploy} here", "press {deploy}").naming_keys();
        assert_eq!(notice.line(), "s3://b/{prod}/x stays: no {deploy} here (press deploy)");
        let filled = notice.line_with(|step| step.replace("{deploy}", "d"));
        assert_eq!(filled, "s3://b/{prod}/x stays: no {deploy} here (press d)");
        let foreign = Notice::error("refused", "", "ask {quit}");
        assert_eq!(foreign.line_with(|_| String::new()), "refused (ask {quit})");
    }
}
