//! Packet capture on named interfaces: source, filter, statistics, pcapng files.
//!
//! Owns everything between a network interface and a capture file. Must not know tunnels or requests.

mod decode;
mod engine;
mod freeze;
pub mod interfaces;
mod output;
pub mod own;
mod source;
mod statistics;
mod writer;

pub use engine::{Capture, CaptureEvent, Start, StartError};
pub use source::permitted;
