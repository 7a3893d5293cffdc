//! Port reports: when one is due, what is in it, and in which order they go.
//!
//! Owns that, the embedded metric format and the queue, for both programs. Must not know how ports are found or judged, who
//! sends (that is `nodewatch-cloudwatch`), nor sessions, screens or clusters. Pure.
#![warn(missing_docs)]

mod event;
mod limits;
mod queue;
mod schedule;
mod seen;
mod stream;

pub use event::{Event, METRICS, NAMESPACE, Report, ReportedPort};
pub use limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_EVENT_BYTES};
pub use queue::{Entry, Queue, Settled};
pub use schedule::{Occasion, Schedule};
pub use seen::{Answered, Reported, SEEN_METRICS, Seen, Watched, metric_of, metric_of_answer};
pub use stream::{Stream, check_group, check_retention};

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
