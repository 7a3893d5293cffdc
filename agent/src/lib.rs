//! The node program of nodewatch-tui: listening sockets and packets of one node, served over tunnels.
//!
//! Owns everything that runs on a node. Must not know Kubernetes, screens or the laptop.
#![warn(missing_docs)]

#[allow(missing_docs, reason = "inner parts of the agent; the protocol crate is its documented face")]
pub mod capture;
pub mod error;
pub mod hub;
pub mod lifetime;
pub mod server;
pub mod sockets;
mod subscribers;
