//! The API server's refusals as notices: what happened, why, what to do.
//!
//! Owns the wording, the kind of failure, and which of them pass by themselves.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{Error, core::Status, runtime::watcher};
use tokio::time::Instant;

use super::{
    calls::{CallError, foreign, reason},
    credentials::CredentialError,
    sender,
};
use crate::{
    base::text,
    model::{Failure, Notice},
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
        Error::Api(status) => api(&headline, attempt, status),
        other => {
            if let Some(reason) = reason(other) {
                return unanswered(headline, reason);
            }
            let cause = format!("the API server cannot be reached: {}", foreign(&text::root_cause(other)));
            let next_step = if is_tls(other) { CHECK_THE_CERTIFICATES } else { CHECK_THE_WAY };
            Notice::error(headline, cause, next_step).of(Failure::Unreachable)
        }
    }
}

const CHECK_THE_WAY: &str = "check the network, the VPN and the kubeconfig's server address (kubectl cluster-info)";

const CHECK_THE_CERTIFICATES: &str =
    "check that the kubeconfig's certificate-authority and server belong to this cluster, and what is in between";

/// The two do not trust each other: the way is there.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // An error of the system passes over what it was made of when it is asked for its source.
    let made_of = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || made_of.is_some_and(|made_of| is_tls(made_of)) || error.source().is_some_and(is_tls)
}

/// The notice for a call that was sent and has no answer of a Kubernetes API.
fn unanswered(headline: String, reason: &CallError) -> Notice {
    match reason {
        CallError::NotKubernetes { code, .. } => {
            // What stands before the API server says that itself is away.
            let passing = *code == 429 || *code >= 500;
            let next_step = if passing {
                "try again; if it persists, ask who runs the proxy or gateway in front of the API server"
            } else {
                "sign in to the network or the VPN, or fix the kubeconfig's server address"
            };
            let failure = if passing { Failure::Busy } else { Failure::Unreachable };
            Notice::error(headline, reason.to_string(), next_step).of(failure)
        }
        CallError::Endless => {
            let next_step = "check what answers at the kubeconfig's server address";
            Notice::error(headline, reason.to_string(), next_step).of(Failure::Unreachable)
        }
        _ => Notice::error(headline, reason.to_string(), CHECK_THE_WAY).of(Failure::Unreachable),
    }
}

/// The notice for credentials that are not to be had.
pub(super) fn of_credentials(attempt: &Attempt, error: &CredentialError) -> Notice {
    let failure = if error.is_passing() { Failure::Unreachable } else { Failure::NotPermitted };
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
        watcher::Error::WatchError(status) => api(&format!("cannot {}", attempt.what), attempt, status),
        watcher::Error::NoResourceVersion => {
            Notice::error(format!("cannot {}", attempt.what), error.to_string(), "retrying the watch")
        }
    }
}

/// A refusal, in the server's own words.
fn api(headline: &str, attempt: &Attempt, status: &Status) -> Notice {
    let message = foreign(&status.message);
    let says = || format!("the API server says {}: {message}", status.code);
    let refused = |cause: String, next_step: &str| Notice::error(headline, cause, next_step);
    match (status.code, refusal(status)) {
        (401, _) => refused(
            "the API server does not accept the credentials (401), they may have expired".to_owned(),
            "renew them (for EKS: aws sso login, or aws eks update-kubeconfig) and try again",
        )
        .of(Failure::NotPermitted),
        (code, Some(by)) => {
            // 403 is what a missing right has too, and is counted so.
            let failure = if code == 403 { Failure::NotPermitted } else { Failure::Other };
            refused(message, by).of(failure)
        }
        (403, None) => refused(message, &format!("you need: {}", attempt.rights)).of(Failure::NotPermitted),
        (429 | 500.., None) => refused(says(), "try again").of(Failure::Busy),
        (409, None) => refused(says(), "try again"),
        (404 | 405 | 410 | 415, None) => refused(says(), "check that README.md lists the server's version"),
        (_, None) => refused(says(), "it fails until what the message names is changed"),
    }
}

/// What to do about a refusal by something other than missing rights: trying again does not help.
fn refusal(status: &Status) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|words| status.message.contains(words));
    if !(400..500).contains(&status.code) {
        return None;
    }
    if says(&["ValidatingAdmissionPolicy", "admission webhook", "denied the request", "denied request"]) {
        Some("a policy of this cluster refuses it: change what it objects to, or ask its owner for an exception")
    } else if says(&["violates PodSecurity", "unable to validate against any pod security policy"]) {
        Some("the namespace's pod security refuses it: use a namespace that enforces privileged, or none (--namespace)")
    } else if says(&["exceeded quota", "maximum", "minimum"]) && status.code == 403 {
        Some("a quota or limit range of the namespace refuses it: make room there, or use another namespace")
    } else if says(&["being terminated"]) {
        Some("the namespace is being deleted: use another one, or wait until it is gone")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, message: &str) -> Notice {
        let attempt = Attempt { what: "create Job agent".to_owned(), rights: "create on jobs (batch)" };
        notice(&attempt, &Error::Api(Status::failure(message, "").with_code(code).boxed()))
    }

    #[test]
    fn a_refusal_that_stays_never_says_try_again() {
        for (code, message) in [
            (
                422,
                "jobs.batch \"a\" is forbidden: ValidatingAdmissionPolicy 'rec' with binding 'rec' denied request: no",
            ),
            (400, "admission webhook \"validate.kyverno.svc\" denied the request: no"),
            (403, "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces"),
            (403, "jobs.batch \"a\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1"),
            (422, "Job.batch \"a\" is invalid: spec.template: Invalid value"),
        ] {
            let notice = told(code, message);
            assert!(!notice.next_step.contains("try again"), "{notice:?}");
            assert!(!notice.next_step.contains("you need"), "{notice:?}");
            assert!(notice.cause.contains(message), "its own words: {notice:?}");
            assert!(!notice.failure.is_passing(), "{notice:?}");
        }
        assert!(told(403, "jobs is forbidden: User \"x\" cannot create").next_step.contains("create on jobs"));
        assert!(told(503, "away").failure.is_passing());
    }

    #[test]
    fn the_servers_words_are_foreign_text() {
        let notice = told(500, &format!("\u{1b}[2J{}", "x".repeat(9000)));
        assert!(notice.cause.len() < 800 && !notice.cause.contains('\u{1b}'), "{}", notice.cause.len());
    }

    #[test]
    fn a_page_before_the_api_is_named() {
        let page = |code| CallError::NotKubernetes { what: "an HTML page, title \"Sign in\"".to_owned(), code };
        let attempt = Attempt { what: "list the nodes".to_owned(), rights: "" };
        let told = |code| notice(&attempt, &Error::Service(page(code).into()));
        assert_eq!(
            told(200).line(),
            "cannot list the nodes: not a Kubernetes API: an HTML page, title \"Sign in\" (sign in to the network or \
             the VPN, or fix the kubeconfig's server address)"
        );
        assert_eq!((told(200).failure, told(502).failure), (Failure::Unreachable, Failure::Busy));
    }
}
