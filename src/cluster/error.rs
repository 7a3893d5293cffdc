//! The API server's refusals as notices: what happened, why, what to do.
//!
//! Owns the wording, the kind of failure, and which of them pass by themselves.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{Error, runtime::watcher};
use tokio::time::Instant;

use super::{credentials::CredentialError, sender};
use crate::{
    model::{Failure, Notice},
    text,
};

/// What was tried, with the rights that it needs.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// As in "list the nodes".
    pub what: String,
    /// As in "list and watch on nodes".
    pub rights: &'static str,
}

/// The notice for a failed call.
pub(super) fn notice(attempt: &Attempt, error: &Error) -> Notice {
    if let Some(error) = sender::credential_error(error) {
        return of_credentials(attempt, error);
    }
    let headline = format!("cannot {}", attempt.what);
    match error {
        Error::Api(status) => api(headline, attempt, status.code, &status.message),
        other => Notice::error(
            headline,
            format!("the API server cannot be reached: {}", text::root_cause(other)),
            "check the network, the VPN and the kubeconfig's server address (kubectl cluster-info)",
        )
        .of(Failure::Unreachable),
    }
}

/// The notice for credentials that are not to be had.
pub(super) fn of_credentials(attempt: &Attempt, error: &CredentialError) -> Notice {
    let failure = if error.is_passing() { Failure::Busy } else { Failure::NotPermitted };
    Notice::error(format!("cannot {}", attempt.what), error.to_string(), error.next_step()).of(failure)
}

/// A server that was away refuses everything for a moment before it has read who may do what.
const COMING_BACK: Duration = Duration::from_secs(15);

/// Which failed calls are worth trying again, and for how long.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// The first failure of a row, and the last one that was not a refusal.
    trouble: Mutex<Option<(Instant, Instant)>>,
}

impl Patience {
    /// Whether to try again after this failure, which began to be tried so long ago at most.
    pub fn permits(&self, failure: Failure, at_most: Duration) -> bool {
        let now = Instant::now();
        // Both times are set in one go, so they are whole even if a holder panicked.
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (failure, *trouble) {
            (passing, known) if passing.is_passing() => {
                let first = known.map_or(now, |(first, _)| first);
                *trouble = Some((first, now));
                now - first < at_most
            }
            (Failure::NotPermitted, Some((_, last))) => now - last < COMING_BACK,
            _ => false,
        }
    }

    /// A call has worked: the next trouble is another one.
    pub fn worked(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, last)) = &mut *trouble {
            // Refusals may still follow for a moment.
            *first = Instant::now();
            if last.elapsed() > COMING_BACK {
                *trouble = None;
            }
        }
    }
}

/// The notice for a failed watch.
pub(super) fn watch_notice(attempt: &Attempt, error: &watcher::Error) -> Notice {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => notice(attempt, error),
        watcher::Error::WatchError(status) => {
            api(format!("cannot {}", attempt.what), attempt, status.code, &status.message)
        }
        watcher::Error::NoResourceVersion => {
            Notice::error(format!("cannot {}", attempt.what), error.to_string(), "the watch is tried again")
        }
    }
}

fn api(headline: String, attempt: &Attempt, code: u16, message: &str) -> Notice {
    match code {
        401 => Notice::error(
            headline,
            "the API server does not accept the credentials (401), they may have expired",
            "renew them (for EKS: aws sso login, or aws eks update-kubeconfig) and try again",
        )
        .of(Failure::NotPermitted),
        403 => Notice::error(headline, message, format!("you need: {}", attempt.rights)).of(Failure::NotPermitted),
        429 | 500.. => {
            Notice::error(headline, format!("the API server says {code}: {message}"), "try again").of(Failure::Busy)
        }
        _ => Notice::error(headline, format!("the API server says {code}: {message}"), "try again"),
    }
}
