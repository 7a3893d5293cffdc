//! Packet capture on named interfaces: source, filter, statistics, pcapng files, the ring on disk.
//!
//! Owns everything between a network interface and a capture file. Must not know tunnels or requests.

mod decode;
mod engine;
pub mod interfaces;
mod output;
pub mod pcapng;
mod ring;
mod statistics;
pub mod store;
mod writer;

pub use engine::{Capture, CaptureEvent, Start, StartError};
pub use ring::permitted;
pub use writer::FileEvent;
