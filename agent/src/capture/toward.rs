//! The interfaces that lead to pods, found by the node's routes and by what its bridges have learnt.
//!
//! Owns which interface is a pod's own, and when it is looked for again. An interface that other pods share, as the node's
//! uplink or an overlay's, is none: there the capture takes the node's default interfaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    devices::Device,
    routes::{Neighbour, Route, Routes},
};

/// What was not found is looked for again after this, as long as it is missing.
const AGAIN: Duration = Duration::from_secs(1);
/// A pod's interface may get another name or another pod without any interface coming or going.
const ANYWAY: Duration = Duration::from_secs(10);
/// Addresses that a line names.
const NAMED: usize = 3;

/// Why no interface leads to an address alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It is the node's own.
    Own,
    /// There is no route.
    NoRoute,
    /// The routes lead there by an interface that is not the pod's alone.
    Shared(String),
    /// It is behind a bridge, which has not learnt yet where.
    Bridge(String),
}

impl Why {
    fn text(&self, addresses: &str) -> String {
        match self {
            Self::Own => format!("{addresses}: the node's own address"),
            Self::NoRoute => format!("{addresses}: the node has no route"),
            Self::Shared(name) => format!("{addresses}: the node's routes lead there by {name}, which others use too"),
            Self::Bridge(name) => format!("{addresses}: not known yet behind which port of {name}"),
        }
    }
}

/// What leads to some addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Pods' own interfaces.
    pub devices: Vec<Device>,
    /// Why some addresses have none, one line a reason.
    pub missing: Vec<String>,
}

/// Some addresses, and what is known of the ways to them.
#[derive(Debug)]
pub struct Toward {
    addresses: Vec<IpAddr>,
    /// The node's own interfaces, which are no pod's whatever they look like.
    own: Vec<String>,
    routes: Routes,
    /// The interfaces that there were at the last look.
    there: BTreeSet<u32>,
    /// When it is looked again in any case.
    next: Instant,
}

impl Toward {
    /// Nothing is looked at yet.
    pub fn open(addresses: Vec<IpAddr>, own: Vec<String>) -> io::Result<Self> {
        Ok(Self { addresses, own, routes: Routes::open()?, there: BTreeSet::new(), next: Instant::now() })
    }

    /// Whether another look may find something else.
    pub fn is_due(&self, there: &[Device]) -> bool {
        Instant::now() >= self.next
            || there.len() != self.there.len()
            || there.iter().any(|device| !self.there.contains(&device.index))
    }

    /// Looks for the interfaces among these.
    pub fn look(&mut self, there: &[Device]) -> io::Result<Found> {
        let mut ways = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            ways.push((*address, self.routes.to(*address)?));
        }
        let bridges: BTreeSet<u32> = there.iter().filter(|device| device.bridge).map(|device| device.index).collect();
        let by_bridge = ways.iter().any(|(_, way)| matches!(way, Route::Direct(index) if bridges.contains(index)));
        let (neighbours, bridged) =
            if by_bridge { (self.routes.neighbours()?, self.routes.bridged()?) } else { Default::default() };
        let pods: Vec<Device> = there.iter().map(|device| self.without_own(device)).collect();
        let found = find(&ways, &pods, &neighbours, &bridged);
        self.there = there.iter().map(|device| device.index).collect();
        self.next = Instant::now() + if found.missing.is_empty() { ANYWAY } else { AGAIN };
        Ok(found)
    }

    fn without_own(&self, device: &Device) -> Device {
        Device { pod_end: device.pod_end && !self.own.contains(&device.name), ..device.clone() }
    }
}

fn find(ways: &[(IpAddr, Route)], there: &[Device], neighbours: &[Neighbour], bridged: &[Neighbour]) -> Found {
    let device = |index: u32| there.iter().find(|device| device.index == index);
    let mut devices: BTreeMap<u32, Device> = BTreeMap::new();
    let mut missing: BTreeMap<Why, Vec<IpAddr>> = BTreeMap::new();
    for (address, way) in ways {
        let led = match way {
            Route::Own => Err(Why::Own),
            Route::None => Err(Why::NoRoute),
            Route::Gateway(index) => Err(device(*index).map_or(Why::NoRoute, |one| Why::Shared(one.name.clone()))),
            Route::Direct(index) => match device(*index) {
                None => Err(Why::NoRoute),
                Some(bridge) if bridge.bridge => port(*address, bridge.index, neighbours, bridged)
                    .and_then(device)
                    .filter(|port| port.pod_end)
                    .ok_or_else(|| Why::Bridge(bridge.name.clone())),
                Some(one) if one.pod_end => Ok(one),
                Some(other) => Err(Why::Shared(other.name.clone())),
            },
        };
        match led {
            Ok(device) => drop(devices.insert(device.index, device.clone())),
            Err(why) => missing.entry(why).or_default().push(*address),
        }
    }
    let missing = missing.iter().map(|(why, addresses)| why.text(&named(addresses))).collect();
    Found { devices: devices.into_values().collect(), missing }
}

/// The port of a bridge that an address is behind.
fn port(address: IpAddr, bridge: u32, neighbours: &[Neighbour], bridged: &[Neighbour]) -> Option<u32> {
    let is_it = |one: &&Neighbour| one.index == bridge && one.address == Some(address);
    let hardware = neighbours.iter().find(is_it)?.hardware;
    // The bridge's own address is learnt too, by no port.
    let behind = |one: &&Neighbour| one.hardware == hardware && one.master == Some(bridge) && one.index != bridge;
    bridged.iter().find(behind).map(|one| one.index)
}

fn named(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().take(NAMED).map(ToString::to_string).collect();
    let more = addresses.len() - shown.len();
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, pod_end: bool, bridge: bool) -> Device {
        Device { index, name: name.into(), hardware: 1, up: true, lost: 0, pod_end, bridge }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_pods_own_interface_is_found_straight_and_behind_a_bridge_and_a_shared_one_is_not_taken() {
        let there = [
            device(2, "eth0", false, false),
            device(3, "cni0", false, true),
            device(4, "veth4", true, false),
            device(5, "eni5", true, false),
            device(6, "cilium_host", false, false),
        ];
        let mac = |last| [2, 0, 0, 0, 0, last];
        let neighbour = |index, address, hardware, master| Neighbour { index, address, hardware, master };
        let neighbours =
            [neighbour(3, Some(ip("10.0.0.4")), mac(4), None), neighbour(2, Some(ip("10.0.0.9")), mac(4), None)];
        let bridged = [neighbour(3, None, mac(4), Some(3)), neighbour(4, None, mac(4), Some(3))];
        let ways = [
            (ip("10.0.0.4"), Route::Direct(3)),
            (ip("10.0.0.5"), Route::Direct(5)),
            (ip("10.0.0.6"), Route::Direct(3)),
            (ip("10.0.0.7"), Route::Gateway(2)),
            (ip("fd00::7"), Route::Gateway(2)),
            (ip("10.0.0.8"), Route::Gateway(6)),
            (ip("10.0.0.1"), Route::Own),
            (ip("10.9.9.9"), Route::None),
        ];
        let found = find(&ways, &there, &neighbours, &bridged);
        assert_eq!(found.devices.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["veth4", "eni5"]);
        assert_eq!(
            found.missing,
            [
                "10.0.0.1: the node's own address",
                "10.9.9.9: the node has no route",
                "10.0.0.8: the node's routes lead there by cilium_host, which others use too",
                "10.0.0.7, fd00::7: the node's routes lead there by eth0, which others use too",
                "10.0.0.6: not known yet behind which port of cni0",
            ]
        );
    }

    #[test]
    fn it_is_looked_again_when_interfaces_come_or_go() {
        let mut toward = Toward::open(Vec::new(), Vec::new()).expect("a socket");
        let there = [device(2, "eth0", false, false)];
        assert!(toward.is_due(&there));
        assert_eq!(toward.look(&there).expect("an answer"), Found::default());
        assert!(!toward.is_due(&there));
        assert!(toward.is_due(&[]) && toward.is_due(&[device(3, "veth3", true, false)]));
    }
}
