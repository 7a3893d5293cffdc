//! Counting: packets, bytes, sizes, protocol mix and flows, in bounded memory.
//!
//! Owns the flow table. Pure: time and drops come in from outside.

use std::{
    collections::HashMap,
    hash::{self, BuildHasher},
    net::{IpAddr, Ipv6Addr},
};

use ahash::RandomState;
use nodewatch_analysis::decode::{Class, Headers, Tuple};
use nodewatch_protocol::{Endpoint, Flow, Mix, SIZE_BUCKETS, Share, Transport, Tunnel};

/// Flows kept at most; with more, the half with the fewest bytes goes. About 1.5 MiB.
pub const MAX_FLOWS: usize = 16_384;
/// Flows told once a second.
pub const TOP_FLOWS: usize = 20;

/// Two endpoints in a fixed order, so that both directions are one flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct FlowKey {
    low: u128,
    high: u128,
    /// Tunnel, low endpoint's port, high endpoint's port, transport.
    rest: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct FlowCounts {
    share: Share,
    /// The first packet went from the high endpoint to the low one.
    from_high: bool,
}

/// Everything a capture counts of its packets.
#[derive(Debug)]
pub struct Counters {
    total: Share,
    classes: [Share; Class::ALL.len()],
    sizes: [u64; SIZE_BUCKETS.len() + 1],
    flows: HashMap<FlowKey, FlowCounts, RandomState>,
    /// The flow of the latest packets, and what of it is not in the table yet: packets come in runs.
    run: (FlowKey, FlowCounts),
    /// What the latest packet said of its flow: most runs go one way, and need no key made of it.
    latest: Option<(Tuple, Option<Tunnel>)>,
    overflow: Share,
}

impl Default for Counters {
    fn default() -> Self {
        // A random seed: whoever sends packets must not be able to choose colliding flows.
        let seed = hash::RandomState::new().hash_one(0) as usize;
        Self {
            total: Share::default(),
            classes: Default::default(),
            sizes: Default::default(),
            flows: HashMap::with_hasher(RandomState::with_seed(seed)),
            run: Default::default(),
            latest: None,
            overflow: Share::default(),
        }
    }
}

impl Counters {
    /// Counts one packet of that length on the wire.
    #[inline]
    pub fn count(&mut self, headers: &Headers, wire_length: u32) {
        add(&mut self.total, wire_length);
        add(&mut self.classes[headers.class as usize], wire_length);
        self.sizes[bucket(wire_length)] += 1;
        if let Some(tuple) = &headers.tuple {
            if !self.latest.as_ref().is_some_and(|(latest, tunnel)| latest == tuple && *tunnel == headers.tunnel) {
                self.turn_to(*tuple, headers.tunnel);
            }
            add(&mut self.run.1.share, wire_length);
        }
    }

    /// The flow of the latest packet is the one that is counted from now on.
    fn turn_to(&mut self, tuple: Tuple, tunnel: Option<Tunnel>) {
        self.latest = Some((tuple, tunnel));
        let (key, from_high) = key(&tuple, tunnel);
        if self.run.0 != key {
            self.settle();
            self.run = (key, FlowCounts { share: Share::default(), from_high });
        }
    }

    /// Puts into the table what is not in it yet.
    fn settle(&mut self) {
        let (key, FlowCounts { share, from_high }) = self.run;
        if share.packets == 0 {
            return;
        }
        self.run.1.share = Share::default();
        let counts = self.flows.entry(key).or_insert_with(|| FlowCounts { share: Share::default(), from_high });
        counts.share.packets += share.packets;
        counts.share.bytes += share.bytes;
        if self.flows.len() > MAX_FLOWS {
            self.forget_smallest();
        }
    }

    /// Packets and bytes since the beginning.
    pub fn total(&self) -> Share {
        self.total
    }

    /// Packets by size.
    pub fn sizes(&self) -> [u64; SIZE_BUCKETS.len() + 1] {
        self.sizes
    }

    /// The protocol mix, most bytes first, nothing that did not occur.
    pub fn mix(&self) -> Vec<Mix> {
        let mut mix: Vec<Mix> = Class::ALL
            .iter()
            .map(|&class| Mix { protocol: class.name().to_owned(), share: self.classes[class as usize] })
            .filter(|mix| mix.share.packets > 0)
            .collect();
        mix.sort_by_key(|mix| std::cmp::Reverse(mix.share.bytes));
        mix
    }

    /// The flows with the most bytes, most first.
    pub fn top_flows(&mut self) -> Vec<Flow> {
        self.settle();
        let mut flows: Vec<_> = self.flows.iter().collect();
        let by_bytes = |a: &(&FlowKey, &FlowCounts), b: &(&FlowKey, &FlowCounts)| b.1.share.bytes.cmp(&a.1.share.bytes);
        if flows.len() > TOP_FLOWS {
            flows.select_nth_unstable_by(TOP_FLOWS, by_bytes);
            flows.truncate(TOP_FLOWS);
        }
        flows.sort_by(by_bytes);
        flows.into_iter().map(|(key, counts)| flow(key, counts)).collect()
    }

    /// How many flows are known, and what the table had no room for.
    pub fn flow_table(&mut self) -> (u64, Share) {
        self.settle();
        (self.flows.len() as u64, self.overflow)
    }

    #[cold]
    fn forget_smallest(&mut self) {
        let mut bytes: Vec<u64> = self.flows.values().map(|counts| counts.share.bytes).collect();
        let (_, &mut median, _) = bytes.select_nth_unstable(MAX_FLOWS / 2);
        // Of the flows just at the median, as many stay as there is room for beside the larger ones.
        let larger = self.flows.values().filter(|counts| counts.share.bytes > median).count();
        let mut room = (MAX_FLOWS / 2).saturating_sub(larger);
        let overflow = &mut self.overflow;
        self.flows.retain(|_, counts| {
            let at_median = counts.share.bytes == median && room > 0;
            let keep = at_median || counts.share.bytes > median;
            room -= usize::from(at_median);
            if !keep {
                overflow.packets += counts.share.packets;
                overflow.bytes += counts.share.bytes;
            }
            keep
        });
    }
}

#[inline]
fn add(share: &mut Share, wire_length: u32) {
    share.packets += 1;
    share.bytes += u64::from(wire_length);
}

#[inline]
fn bucket(wire_length: u32) -> usize {
    SIZE_BUCKETS.iter().position(|&bound| wire_length <= bound).unwrap_or(SIZE_BUCKETS.len())
}

#[inline]
fn key(tuple: &Tuple, tunnel: Option<Tunnel>) -> (FlowKey, bool) {
    let number = match tuple.transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
        Transport::Ip(number) => number,
    };
    let from_high = (tuple.source, tuple.source_port) > (tuple.destination, tuple.destination_port);
    let (low, low_port, high, high_port) = if from_high {
        (tuple.destination, tuple.destination_port, tuple.source, tuple.source_port)
    } else {
        (tuple.source, tuple.source_port, tuple.destination, tuple.destination_port)
    };
    let tunnel = tunnel.map_or(0, |tunnel| tunnel as u64 + 1);
    let rest = tunnel << 48 | u64::from(low_port) << 32 | u64::from(high_port) << 16 | u64::from(number);
    (FlowKey { low, high, rest }, from_high)
}

fn flow(key: &FlowKey, counts: &FlowCounts) -> Flow {
    let low = Endpoint { address: address(key.low), port: (key.rest >> 32) as u16 };
    let high = Endpoint { address: address(key.high), port: (key.rest >> 16) as u16 };
    let (from, to) = if counts.from_high { (high, low) } else { (low, high) };
    let transport = match key.rest as u8 {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        number => Transport::Ip(number),
    };
    let tunnel = ((key.rest >> 48) as usize).checked_sub(1).and_then(|number| Tunnel::ALL.get(number)).copied();
    Flow { transport, from, to, share: counts.share, tunnel }
}

fn address(bits: u128) -> IpAddr {
    Ipv6Addr::from(bits).to_canonical()
}

#[cfg(test)]
mod tests {
    use nodewatch_analysis::decode::Place;

    use super::*;

    fn packet(from: u128, to: u128, ports: (u16, u16)) -> Headers {
        Headers {
            length: 0,
            tunnel: None,
            fragment: None,
            place: Place::default(),
            class: Class::Tcp,
            tuple: Some(Tuple {
                transport: Transport::Tcp,
                source: from,
                destination: to,
                source_port: ports.0,
                destination_port: ports.1,
            }),
        }
    }

    #[test]
    fn both_directions_are_one_flow_named_after_its_first_packet() {
        let mut counters = Counters::default();
        counters.count(&packet(9, 2, (5000, 80)), 100);
        counters.count(&packet(2, 9, (80, 5000)), 1500);
        let flows = counters.top_flows();
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].share, Share { packets: 2, bytes: 1600 });
        assert_eq!((flows[0].from.port, flows[0].to.port), (5000, 80));
    }

    #[test]
    fn a_scan_of_every_port_stays_bounded_and_keeps_the_large_flow() {
        let mut counters = Counters::default();
        counters.count(&packet(1, 2, (443, 443)), 1_000_000);
        for address in 10..13 {
            for port in 1..=u16::MAX {
                counters.count(&packet(1, address, (1, port)), 60);
            }
        }
        let (tracked, overflow) = counters.flow_table();
        assert!(tracked <= MAX_FLOWS as u64);
        assert_eq!(counters.top_flows()[0].share.bytes, 1_000_000);
        // Every packet is in the table or counted as beyond it.
        let kept: u64 = counters.flows.values().map(|counts| counts.share.packets).sum();
        assert_eq!(kept + overflow.packets, counters.total().packets);
    }

    #[test]
    fn what_came_through_a_tunnel_is_a_flow_of_its_own_that_names_it() {
        let mut counters = Counters::default();
        let plain = packet(9, 2, (5000, 80));
        counters.count(&plain, 100);
        for (number, &tunnel) in Tunnel::ALL.iter().enumerate() {
            counters.count(&Headers { tunnel: Some(tunnel), ..plain }, 90 - number as u32);
        }
        let tunnels: Vec<Option<Tunnel>> = counters.top_flows().iter().map(|flow| flow.tunnel).collect();
        let expected: Vec<Option<Tunnel>> = std::iter::once(None).chain(Tunnel::ALL.map(Some)).collect();
        assert_eq!(tunnels, expected);
        assert!(counters.top_flows().iter().all(|flow| (flow.from.port, flow.to.port) == (5000, 80)));
    }

    #[test]
    fn sizes_and_mix_add_up() {
        let mut counters = Counters::default();
        for length in [64, 65, 1518, 9001] {
            let place = Place::default();
            let arp = Headers { class: Class::Arp, tuple: None, length: 42, tunnel: None, fragment: None, place };
            counters.count(&arp, length);
        }
        assert_eq!(counters.sizes(), [1, 1, 0, 0, 0, 1, 1]);
        assert_eq!(counters.mix().len(), 1);
        assert_eq!(counters.mix()[0].share.bytes, 64 + 65 + 1518 + 9001);
    }
}
