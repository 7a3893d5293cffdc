//! Packet capture on named interfaces: source, filter, statistics, pcapng files.
//!
//! Owns everything between a network interface and a capture file. Must not know tunnels or requests.

mod channel;
pub(crate) mod devices;
mod engine;
mod freeze;
pub mod interfaces;
pub(crate) mod open;
mod output;
pub mod own;
mod packet;
mod program;
mod routes;
mod save;
pub(crate) mod source;
mod start;
mod statistics;
mod taps;
mod toward;
mod watch;
mod writer;

use nodewatch_analysis::decode;

pub use engine::{Ask, Capture, CaptureEvent};
pub use save::save_pending;
pub use source::permitted;
pub use start::{Chosen, Start, StartError};

/// How many bytes of a packet are kept, by its interface's link type in a file.
pub(crate) fn kept_of(content: nodewatch_protocol::Content, link_type: u16, bytes: &[u8]) -> usize {
    decode::kept(content, &decode::headers(decode::Link::from_number(link_type), bytes), bytes.len())
}

/// The flags of a packet's innermost TCP header; of one that has none, whether it is ICMP.
pub(crate) fn tcp_flags(link_type: u16, bytes: &[u8]) -> Result<u8, bool> {
    let headers = decode::headers(decode::Link::from_number(link_type), bytes);
    let (decode::Class::Tcp, Some(tuple)) = (headers.class, headers.tuple) else {
        return Err(matches!(headers.class, decode::Class::Icmp | decode::Class::Icmp6));
    };
    // The headers end with it, and it says itself how long it is.
    let begins = |words: usize| {
        let header = bytes.get(headers.length.checked_sub(4 * words)?..)?;
        let port = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
        let is_it = usize::from(header.get(12)? >> 4) == words
            && (port(0)?, port(2)?) == (tuple.source_port, tuple.destination_port);
        is_it.then(|| header.get(13).copied()).flatten()
    };
    (5..=15).find_map(begins).ok_or(false)
}

/// How the words on a file's drops begin.
const DROPPED: &str = "incomplete: dropped by kernel";
