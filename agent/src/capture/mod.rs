//! Packet capture on named interfaces: source, filter, statistics, pcapng files.
//!
//! Owns everything between a network interface and a capture file. Must not know tunnels or requests.

mod channel;
mod decode;
mod devices;
mod engine;
mod freeze;
pub mod interfaces;
mod moment;
mod open;
mod output;
pub mod own;
mod packet;
mod program;
mod save;
mod source;
mod start;
mod statistics;
mod taps;
mod watch;
mod writer;

pub use engine::{Capture, CaptureEvent};
pub use save::save_pending;
pub use source::permitted;
pub use start::{Start, StartError};

/// How the words on a file's drops begin.
const DROPPED: &str = "incomplete: dropped by kernel";
