//! This agent's own connections, so that they can be left out of its captures.
//!
//! Owns the list of local ends that the uploader connects from. Must not know what goes over them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nodewatch_protocol::Transport;

use super::decode::Tuple;

/// The last packets of a closed connection come for so long.
const LINGER: Duration = Duration::from_secs(60);

/// Connections of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct OwnTraffic {
    ends: Arc<RwLock<Vec<End>>>,
    /// Something is in the list: the capture thread looks no further otherwise.
    any: Arc<AtomicBool>,
}

#[derive(Debug)]
struct End {
    port: u16,
    peer: (u128, u16),
    closed: Option<Instant>,
}

/// A connection of ours, for as long as this lives and a little longer.
#[derive(Debug)]
pub struct Ours {
    all: OwnTraffic,
    port: u16,
    peer: (u128, u16),
}

impl OwnTraffic {
    /// A connection from that local port is about to be made. The port is ours alone: it was bound.
    pub fn connecting(&self, port: u16, peer: SocketAddr) -> Ours {
        let peer = (bits(peer), peer.port());
        let mut ends = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|end| end.closed.is_none_or(|at| at.elapsed() < LINGER));
        ends.push(End { port, peer, closed: None });
        self.any.store(true, Ordering::Release);
        Ours { all: self.clone(), port, peer }
    }

    /// A packet of one of these connections, either way.
    #[inline]
    pub fn has(&self, tuple: &Tuple) -> bool {
        self.any.load(Ordering::Acquire) && tuple.transport == Transport::Tcp && self.lists(tuple)
    }

    fn lists(&self, tuple: &Tuple) -> bool {
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        ends.iter().any(|end| {
            (end.port == tuple.source_port && end.peer == (tuple.destination, tuple.destination_port))
                || (end.port == tuple.destination_port && end.peer == (tuple.source, tuple.source_port))
        })
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let mut ends = self.all.ends.write().unwrap_or_else(PoisonError::into_inner);
        for end in ends.iter_mut().filter(|end| (end.port, end.peer) == (self.port, self.peer)) {
            end.closed = Some(Instant::now());
        }
    }
}

/// As the decoder has addresses.
fn bits(address: SocketAddr) -> u128 {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped().to_bits(),
        SocketAddr::V6(address) => address.ip().to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_ours_also_shortly_after_the_end_and_nothing_else_is() {
        let own = OwnTraffic::default();
        let peer: SocketAddr = "10.0.0.9:443".parse().expect("an address");
        let packet = |from: (u128, u16), to: (u128, u16)| Tuple {
            transport: Transport::Tcp,
            source: from.0,
            source_port: from.1,
            destination: to.0,
            destination_port: to.1,
        };
        let here = (1, 40_000);
        let there = (bits(peer), 443);
        assert!(!own.has(&packet(here, there)));
        let ours = own.connecting(40_000, peer);
        assert!(own.has(&packet(here, there)) && own.has(&packet(there, here)));
        assert!(!own.has(&packet((1, 40_001), there)) && !own.has(&packet(here, (7, 443))));
        drop(ours);
        assert!(own.has(&packet(there, here)));
    }
}
