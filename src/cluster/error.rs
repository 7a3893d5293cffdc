//! The API server's refusals as notices: what happened, why, what to do.
//!
//! Owns the wording and the kind of failure. Pure.

use kube::{Error, runtime::watcher};

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
    let headline = format!("cannot {}", attempt.what);
    match error {
        Error::Api(status) => api(headline, attempt, status.code, &status.message),
        Error::Auth(auth) => Notice::error(
            headline,
            format!("the credentials in the kubeconfig do not work: {}", text::chain(auth)),
            "renew them (for EKS: aws sso login, or aws eks update-kubeconfig) and try again",
        )
        .of(Failure::NotPermitted),
        other => Notice::error(
            headline,
            format!("the API server cannot be reached: {}", text::chain(other)),
            "check the network, the VPN and the kubeconfig's server address (kubectl cluster-info)",
        )
        .of(Failure::BadInput),
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
        _ => Notice::error(headline, format!("the API server says {code}: {message}"), "try again"),
    }
}
