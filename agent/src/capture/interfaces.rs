//! The node's network interfaces, and which of them a capture takes by default.
//!
//! Owns reading `getifaddrs` and `/sys/class/net`. Must not know packet sockets.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use nodewatch_protocol::Interface;

/// Every interface of this network namespace by name.
pub fn list() -> nix::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs()? {
        let interface = found.entry(entry.interface_name.clone()).or_insert_with(|| Interface {
            name: entry.interface_name.clone(),
            addresses: Vec::new(),
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
            loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
        });
        let Some(address) = entry.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            interface.addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            interface.addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    Ok(found.into_values().collect())
}

/// What `/sys/class/net` says of an interface beyond its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits {
    /// Backed by a device: a network card, an ENI.
    pub device: bool,
    /// A bridge: its packets are seen again on a port.
    pub bridge: bool,
}

impl Traits {
    /// Reads them; an interface that is gone has none.
    pub fn read(name: &str) -> Self {
        let path = folder(name);
        Self { device: path.join("device").exists(), bridge: path.join("bridge").exists() }
    }
}

/// The interfaces that a capture takes when none is named: those that hold one of the node's addresses, and every
/// other network card with an address (a second ENI carries pods but is in no node's address list). Where the node's
/// addresses are not known: what is up, holds an address and is no bridge. Never loopback.
pub fn defaults(all: &[Interface], node_addresses: &[IpAddr], traits: impl Fn(&str) -> Traits) -> Vec<String> {
    let usable = || all.iter().filter(|one| one.up && !one.loopback && one.addresses.iter().any(is_global));
    let names = |wanted: &dyn Fn(&Interface) -> bool| -> Vec<String> {
        usable().filter(|one| wanted(one)).map(|one| one.name.clone()).collect()
    };
    let holds = |one: &Interface| one.addresses.iter().any(|address| node_addresses.contains(address));
    let by_address = names(&|one| holds(one) || traits(&one.name).device);
    if usable().any(holds) {
        return by_address;
    }
    let without_bridges = names(&|one| !traits(&one.name).bridge);
    if without_bridges.is_empty() { names(&|_| true) } else { without_bridges }
}

/// Neither loopback nor link-local.
fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

fn folder(name: &str) -> PathBuf {
    // Interface names hold no slash; `file_name` keeps a hostile one from leaving the folder.
    Path::new("/sys/class/net").join(Path::new(name).file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: &str) -> Interface {
        Interface {
            name: name.into(),
            addresses: vec![address.parse().expect("an address")],
            up: true,
            loopback: name == "lo",
        }
    }

    fn traits(name: &str) -> Traits {
        Traits { device: name.starts_with("eth"), bridge: name == "cni0" }
    }

    #[test]
    fn the_nodes_address_and_every_card_but_not_the_bridge() {
        let all = [
            interface("lo", "127.0.0.1"),
            interface("eth0", "10.0.1.12"),
            interface("eth1", "10.0.1.77"),
            interface("cni0", "10.244.1.1"),
            interface("eth2", "fe80::1"),
        ];
        assert_eq!(defaults(&all, &["10.0.1.12".parse().expect("an address")], traits), ["eth0", "eth1"]);
        assert_eq!(defaults(&all, &[], traits), ["eth0", "eth1"]);
    }

    #[test]
    fn a_bridge_that_holds_the_nodes_address_is_taken() {
        let all = [interface("cni0", "10.0.1.12"), interface("veth1", "10.9.9.9")];
        assert_eq!(defaults(&all, &["10.0.1.12".parse().expect("an address")], traits), ["cni0"]);
    }

    #[test]
    fn nothing_but_a_bridge_is_better_than_nothing() {
        assert_eq!(defaults(&[interface("cni0", "10.0.1.12")], &[], traits), ["cni0"]);
    }

    #[test]
    fn this_machine_has_a_loopback_interface() {
        let all = list().expect("interfaces");
        assert!(all.iter().any(|one| one.loopback && one.addresses.iter().any(IpAddr::is_loopback)), "{all:?}");
    }
}
