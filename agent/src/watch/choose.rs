//! Which interfaces are watched, and what each is on its node.
//!
//! Owns the choice. Pure: what there is comes in from outside.

use std::{collections::BTreeSet, net::IpAddr};

use nodewatch_protocol::{Interface, Role};

use crate::capture::{
    devices::Device,
    interfaces::{self, Traits},
};

/// What is known of the node's interfaces beyond the kernel's list.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Those that a capture takes when none is named.
    pub defaults: BTreeSet<String>,
    /// Those that hold an address of the node.
    pub holders: BTreeSet<String>,
}

impl Known {
    /// Of all interfaces, by the node's own addresses as far as they are known.
    pub fn of(all: &[Interface], addresses: &[IpAddr], traits: impl Fn(&str) -> Traits) -> Self {
        let holds = |one: &&Interface| one.addresses.iter().any(|address| addresses.contains(address));
        Self {
            defaults: interfaces::defaults(all, addresses, traits).into_iter().collect(),
            holders: all.iter().filter(holds).map(|one| one.name.clone()).collect(),
        }
    }

    /// What an interface is.
    pub fn role(&self, device: &Device) -> Role {
        if self.holders.contains(&device.name) || self.defaults.contains(&device.name) {
            Role::Node
        } else if device.pod_end {
            Role::Pod
        } else {
            Role::Other
        }
    }

    /// Those that are up of those that are named; without a name those of captures and the pods' own.
    pub fn choose<'a>(&self, named: &[String], there: &'a [Device]) -> Vec<(&'a Device, Role)> {
        let chosen = |device: &Device, role: Role| match named {
            [] => !device.is_loopback() && (role == Role::Pod || self.defaults.contains(&device.name)),
            named => named.contains(&device.name),
        };
        let up = there.iter().filter(|device| device.up).map(|device| (device, self.role(device)));
        let mut all: Vec<_> = up.filter(|(device, role)| chosen(device, *role)).collect();
        // Where not all have room, the node's own come first.
        all.sort_by_key(|(device, role)| (*role, device.index));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, pod_end: bool) -> Device {
        let hardware = if name == "lo" { 772 } else { 1 };
        Device { index, name: name.into(), hardware, up: name != "down", lost: 0, pod_end, bridge: name == "cni0" }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_default_ones_and_the_pods_own_are_watched_each_with_its_role() {
        let there = [
            device(1, "lo", false),
            device(9, "eni1", true),
            device(2, "eth0", false),
            device(3, "eth1", false),
            device(4, "cni0", false),
            device(5, "down", true),
            // In a test the node's own card is one end of such a pair too.
            device(6, "veth0", true),
        ];
        let known = Known { defaults: names(&["eth0", "eth1", "veth0"]), holders: names(&["eth0"]) };
        let chosen = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
            let chosen = known.choose(&named, &there);
            chosen.into_iter().map(|(device, role)| (device.name.clone(), role.word())).collect::<Vec<_>>()
        };
        let told = |all: &[(&str, &'static str)]| all.iter().map(|&(n, r)| (n.to_owned(), r)).collect::<Vec<_>>();
        assert_eq!(chosen(&[]), told(&[("eth0", "node"), ("eth1", "node"), ("veth0", "node"), ("eni1", "pod")]));
        assert_eq!(
            chosen(&["cni0", "lo", "eni1", "down"]),
            told(&[("eni1", "pod"), ("lo", "other"), ("cni0", "other")])
        );
    }
}
