//! The node program of nodewatch-tui: listening sockets and packets of one node, served over tunnels.
//!
//! Owns everything that runs on a node. Must not know screens or the laptop, and Kubernetes only in the reaper.
#![warn(missing_docs)]

#[allow(missing_docs, reason = "inner parts of the agent; the protocol crate is its documented face")]
pub mod bundle;
pub mod capture;
pub mod clock;
pub mod error;
pub mod gone;
pub mod hub;
mod judge;
pub mod lifetime;
pub mod live;
mod moment;
pub mod panics;
pub mod port_reports;
mod ports;
pub mod probe;
pub mod reaper;
#[allow(missing_docs, reason = "inner parts of the agent; the protocol crate is its documented face")]
pub mod ring;
pub mod server;
pub mod signals;
pub mod sockets;
pub mod stand_in;
mod subscribers;
mod symptoms;
#[allow(missing_docs, reason = "inner parts of the agent; the protocol crate is its documented face")]
pub mod upload;
mod watch;

/// Milliseconds since the Unix epoch.
pub fn unix_millis() -> nodewatch_protocol::UnixMillis {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
