//! Port reports: when one is due, what is in it, and its way to CloudWatch Logs.
//!
//! Owns that, the embedded metric format, and the queue with its sender, for both programs: the laptop sends with its own
//! credentials, an agent with those of its role. Must not know how ports are found or judged, nor sessions, screens or clusters.
#![warn(missing_docs)]

mod event;
mod group;
mod limits;
mod queue;
mod schedule;
mod send;
mod told;

pub use event::{Event, METRICS, NAMESPACE, Report, ReportedPort};
pub use group::{MANAGED_BY, silent};
pub use limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_EVENT_BYTES};
pub use queue::{Entry, Queue, Settled};
pub use schedule::{Occasion, Schedule};
pub use send::{Bounds, Reporter, Stream, check_group, check_retention};
pub use told::told;

/// Every change under these locks is a few assignments, so the data is whole even if a holder panicked.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// An error and its causes on one line, joined by colons. A cause that its effect already tells is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
