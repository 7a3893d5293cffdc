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
}

impl ExitCode {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadUsage => 2,
            Self::Partly => 3,
            Self::LeftBehind => 4,
            Self::NotPermitted => 5,
        }
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
