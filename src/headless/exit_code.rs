//! How a command ends, for the shell that has run it.
//!
//! Owns the exit codes and what a failure amounts to.

use crate::model::{Failure, Notice};

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    Done,
    Failed,
    BadUsage,
    Partly,
    LeftBehind,
    NotPermitted,
    Found,
    Interrupted,
}

impl ExitCode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::BadUsage,
        Self::Partly,
        Self::LeftBehind,
        Self::NotPermitted,
        Self::Found,
        Self::Interrupted,
    ];

    /// What it says to whoever wrote a script.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => {
                "failed: also when the API server cannot be reached, when standard output cannot be written, when a signal \
                 interrupts, and when a session to `attach` is open in another `nodewatch-tui`"
            }
            Self::BadUsage => {
                "bad usage: a wrong option, name or file; a question answered with no; an unconfirmed new address or CA \
                 of a session's cluster"
            }
            Self::Partly => {
                "done in part: something is missing or not where it should be; the recording (`--record`) is not whole; \
                 with `ports --baseline`, something differs; with `probe`, not every try was answered"
            }
            Self::LeftBehind => {
                "something was left behind, and is listed: also captures of `--local` that were not fetched, and with \
                 `cleanup` a named session that is open in another `nodewatch-tui`"
            }
            Self::NotPermitted => "not permitted: a permission is missing",
            Self::Found => "`diagnose` has found why connections fail: a verdict or a likely answer",
            Self::Interrupted => {
                "a signal has ended `diagnose FILE...` early: what was read until then is printed, answers too"
            }
        }
    }

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadUsage => 2,
            Self::Partly => 3,
            Self::LeftBehind => 4,
            Self::NotPermitted => 5,
            Self::Found => 6,
            // As shells have it.
            Self::Interrupted => 130,
        }
    }

    /// A word for it, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::BadUsage => "bad_usage",
            Self::Partly => "partly",
            Self::LeftBehind => "left_behind",
            Self::NotPermitted => "not_permitted",
            Self::Found => "found",
            Self::Interrupted => "interrupted",
        }
    }

    /// That of a process that has ended with it; one that was killed has failed.
    pub fn of_code(code: Option<i32>) -> Self {
        let known = Self::ALL.into_iter().find(|exit| Some(i32::from(exit.code())) == code);
        known.unwrap_or(Self::Failed)
    }

    /// The first of two that is not well.
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        if self == Self::Done { later } else { self }
    }

    /// What a failure amounts to.
    pub fn of(notice: &Notice) -> Self {
        match notice.failure {
            Failure::Other | Failure::Busy | Failure::Unreachable | Failure::Image => Self::Failed,
            Failure::BadInput | Failure::Moved => Self::BadUsage,
            Failure::NotPermitted => Self::NotPermitted,
        }
    }
}
