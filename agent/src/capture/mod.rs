//! Packet capture on named interfaces: source, filter, statistics, pcapng files.
//!
//! Owns everything between a network interface and a capture file. Must not know tunnels or requests.

mod channel;
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

use nodewatch_analysis::decode;

pub use engine::{Capture, CaptureEvent};
pub use save::save_pending;
pub use source::permitted;
pub use start::{Start, StartError};

/// How many bytes of a packet are kept, by its interface's link type in a file.
pub(crate) fn kept_of(content: nodewatch_protocol::Content, link_type: u16, bytes: &[u8]) -> usize {
    decode::kept(content, &decode::headers(decode::Link::from_number(link_type), bytes), bytes.len())
}

/// How the words on a file's drops begin.
const DROPPED: &str = "incomplete: dropped by kernel";
