//! This agent's own connections and its captures' destination, so that they can be left out of its captures.
//!
//! Owns the list of local ends that the uploader connects from, and of the places that captures are delivered to. Must
//! not know what goes over them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nodewatch_analysis::decode::Tuple;
use nodewatch_protocol::Transport;
use rustc_hash::FxHashMap;

/// The last packets of a closed connection come for so long.
const LINGER: Duration = Duration::from_secs(60);
/// A place that was not delivered to for so long is like any other again.
const LEFT: Duration = Duration::from_secs(3600);
/// S3 has many addresses; the latest are remembered.
const MAX_PLACES: usize = 256;

/// Connections of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct OwnTraffic {
    ends: Arc<RwLock<Vec<End>>>,
    /// Where captures are delivered to, and when they last were.
    places: Arc<RwLock<FxHashMap<(u128, u16), Instant>>>,
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

    /// Captures are delivered to these addresses. Whoever else sends there is left out too: another session's agent that
    /// captures these packets and delivers them makes packets that are captured here, without an end.
    pub fn leave_out(&self, addresses: &[SocketAddr]) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for &address in addresses {
            places.insert((bits(address), address.port()), now);
        }
        places.retain(|_, used| used.elapsed() < LEFT);
        while places.len() > MAX_PLACES {
            let Some(oldest) = places.iter().min_by_key(|(_, used)| **used).map(|(place, _)| *place) else { break };
            places.remove(&oldest);
        }
        self.any.store(true, Ordering::Release);
    }

    /// A packet of one of these connections or places, either way: no capture needs it.
    #[inline]
    pub fn has(&self, tuple: &Tuple) -> bool {
        self.is_any(tuple) && (self.lists(tuple) || self.is_delivery(tuple))
    }

    /// A packet of one of these connections, either way. What others do at the places that captures go to is theirs, and
    /// may go wrong.
    #[inline]
    pub fn is_ours(&self, tuple: &Tuple) -> bool {
        self.is_any(tuple) && self.lists(tuple)
    }

    fn is_any(&self, tuple: &Tuple) -> bool {
        self.any.load(Ordering::Acquire) && tuple.transport == Transport::Tcp
    }

    fn is_delivery(&self, tuple: &Tuple) -> bool {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.contains_key(&(tuple.destination, tuple.destination_port))
            || places.contains_key(&(tuple.source, tuple.source_port))
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

    #[test]
    fn whoever_delivers_to_the_same_place_is_left_out_and_its_neighbours_are_not() {
        let own = OwnTraffic::default();
        let place: SocketAddr = "10.0.0.9:443".parse().expect("an address");
        let packet = |from: (u128, u16), to: (u128, u16)| Tuple {
            transport: Transport::Tcp,
            source: from.0,
            source_port: from.1,
            destination: to.0,
            destination_port: to.1,
        };
        let (anybody, there) = ((77, 50_000), (bits(place), 443));
        own.leave_out(&[place]);
        assert!(own.has(&packet(anybody, there)) && own.has(&packet(there, anybody)));
        assert!(!own.is_ours(&packet(anybody, there)) && !own.is_ours(&packet(there, anybody)), "it may go wrong");
        let ours = own.connecting(50_001, place);
        assert!(own.is_ours(&packet((77, 50_001), there)) && own.is_ours(&packet(there, (77, 50_001))));
        drop(ours);
        assert!(!own.has(&packet(anybody, (bits(place), 80))) && !own.has(&packet(anybody, (78, 443))));
        let many: Vec<SocketAddr> = (0..1000).map(|port| ([10, 0, 0, 9], 1000 + port).into()).collect();
        for address in &many {
            own.leave_out(&[*address]);
        }
        assert!(own.places.read().expect("whole").len() <= MAX_PLACES);
        assert!(own.has(&packet(anybody, (bits(place), 1999))), "the latest are remembered");
    }
}
