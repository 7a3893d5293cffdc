//! The sender of reports to CloudWatch Logs.
//!
//! Owns streams, groups and what failed, for both programs: the laptop sends with its own credentials, an agent with those
//! of its role. Must not know what is in a report.
#![warn(missing_docs)]

mod group;
mod send;
mod told;

pub use group::{MANAGED_BY, silent};
pub use send::{Bounds, Reporter};
pub use told::told;

/// Every change under these locks is a few assignments, so the data is whole even if a holder panicked.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
