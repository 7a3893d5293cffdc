//! Files as places on the way of a connection: which node, which of its interfaces, and what that is.
//!
//! Owns how names of files and interfaces are read, and what was seen at each place in a second. Pure.

use std::collections::BTreeMap;

use nodewatch_analysis::{Counts, PairKey};
use nodewatch_answers::{Face, Pair, Told};
use nodewatch_protocol::{Case, Role};
use std::net::Ipv6Addr;

/// What hosts' ends of pods' interfaces are called by network plugins: VPC CNI, bridges, Calico, Cilium, GKE.
const OF_PODS: [&str; 6] = ["pod", "eni", "veth", "cali", "lxc", "gke"];
/// What nodes' own interfaces are called.
const OF_NODES: [&str; 5] = ["eth", "ens", "enp", "eno", "bond"];

/// All places.
#[derive(Debug, Default)]
pub struct Taps {
    /// By the interface's number: which node, and which of its faces.
    places: Vec<Option<(usize, u16)>>,
    nodes: Vec<Told>,
    by_node: BTreeMap<String, usize>,
}

/// Node and interface of a name such as `NODE/INTERFACE`, or of others' file such as `NODE.INTERFACE.pcap`, also with `-` and
/// `_`: names of nodes have dots and dashes too. Files that are named after interfaces alone are of one node, which has no name.
fn parts(name: &str, ours: bool) -> (&str, &str) {
    let (place, interface) = name.rsplit_once('/').unwrap_or((name, ""));
    if ours {
        return (place, interface);
    }
    // The name of an interface in a file that is named after its place says less than that.
    let is_interface = |name: &str| role(name) != Role::Other;
    // Such words begin other words too.
    let is_plainly = |name: &str| {
        let is_word = OF_PODS.contains(&name) || name == "node";
        is_interface(name) && (is_word || name.bytes().any(|byte| byte.is_ascii_digit()))
    };
    match (place.rsplit_once('.'), place.rsplit_once(['-', '_'])) {
        (Some((node, last)), _) if is_interface(last) => (node, last),
        (_, Some((node, last))) if is_plainly(last) => (node, last),
        (None, None) if is_plainly(place) => ("", place),
        _ => (place, interface),
    }
}

fn role(interface: &str) -> Role {
    let begins = |names: &[&str]| names.iter().any(|name| interface.starts_with(name));
    match () {
        () if begins(&OF_PODS) => Role::Pod,
        () if begins(&OF_NODES) || interface == "node" => Role::Node,
        () => Role::Other,
    }
}

impl Taps {
    /// An interface has that name; `ours`: this product has captured it.
    pub fn name(&mut self, number: usize, name: &str, ours: bool) {
        let (node, interface) = parts(name, ours);
        let at = *self.by_node.entry(node.to_owned()).or_insert_with(|| {
            self.nodes.push(Told { node: node.to_owned(), ..Told::default() });
            self.nodes.len() - 1
        });
        if self.places.len() <= number {
            self.places.resize(number + 1, None);
        }
        let faces = &mut self.nodes[at].faces;
        let known = faces.iter().position(|face| face.name == interface);
        let face = known.unwrap_or_else(|| {
            faces.push(Face { name: interface.to_owned(), role: role(interface), lost: false });
            faces.len() - 1
        });
        self.places[number] = u16::try_from(face).ok().map(|face| (at, face));
    }

    fn place(&self, number: u16) -> Option<(usize, u16)> {
        self.places.get(usize::from(number)).copied().flatten()
    }

    /// An interface has lost packets.
    pub fn lose(&mut self, number: u16) {
        if let Some((node, face)) = self.place(number) {
            self.nodes[node].faces[usize::from(face)].lost = true;
        }
    }

    /// What was counted of a pair in this second.
    pub fn pair(&mut self, key: &PairKey, counts: &Counts) {
        let Some((node, interface)) = self.place(key.interface) else { return };
        let told = &mut self.nodes[node];
        told.sums += counts.sums(key.service);
        let address = |bits| Ipv6Addr::from_bits(bits).to_canonical();
        told.pairs.push(Pair {
            source: address(key.source),
            destination: address(key.destination),
            port: key.port,
            service: key.service,
            interface,
            tunnel: key.tunnel,
            sums: counts.seen(key.service),
            mtu: (counts.longest > 0).then_some(counts.longest),
        });
    }

    /// What a connection has shown.
    pub fn case(&mut self, mut case: Case) {
        if let Some((node, interface)) = self.place(case.interface) {
            case.interface = interface;
            self.nodes[node].cases.push(case);
        }
    }

    /// The second of each node that ends at that moment, in milliseconds since the Unix epoch.
    pub fn take(
        &mut self,
        (at, millis): (u64, u64),
        left_out: u64,
        one_direction: u64,
    ) -> impl Iterator<Item = Told> + use<'_> {
        // Of all that are read at once, so many had room.
        let answered_to = Told::answered_to(self.nodes.iter().flat_map(|told| &told.cases));
        self.nodes.iter_mut().enumerate().map(move |(number, told)| {
            let faces = told.faces.iter().map(|face| Face { lost: false, ..face.clone() }).collect();
            let next = Told { node: told.node.clone(), faces, ..Told::default() };
            let crowded = left_out > 0;
            // What is known of all together is told once.
            let (left_out, one_direction) = if number == 0 { (left_out, one_direction) } else { (0, 0) };
            Told { at, millis, left_out, one_direction, crowded, answered_to, ..std::mem::replace(told, next) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_and_interfaces_say_which_place_it_is() {
        let parted = |name: &'static str, ours: bool| {
            let (node, interface) = parts(name, ours);
            (node, interface, role(interface))
        };
        let (read, captured) = (|name| parted(name, false), |name| parted(name, true));
        assert_eq!(read("A.pod"), ("A", "pod", Role::Pod));
        assert_eq!(read("B.eth0"), ("B", "eth0", Role::Node));
        assert_eq!(read("B.eth0/eth0"), ("B", "eth0", Role::Node));
        let node = "ip-10-0-1-2.ec2.internal";
        assert_eq!(captured("ip-10-0-1-2.ec2.internal/eni0a1b"), (node, "eni0a1b", Role::Pod));
        assert_eq!(captured("ip-10-0-1-2.ec2.internal/ens5"), (node, "ens5", Role::Node));
        assert_eq!(read("ip-10-0-1-2.ec2.internal.eth0"), (node, "eth0", Role::Node));
        assert_eq!(read("ip-10-0-1-2.ec2.internal.pod"), (node, "pod", Role::Pod));
        assert_eq!(read("ip-10-0-1-2.ec2.internal"), (node, "", Role::Other));
        for interface in ["worker-1.nodes.k8s.local/eni5", "worker-1.eth0.k8s/eni5", "a.node1/eni5", "a.eth0/eni5"] {
            let node = interface.trim_end_matches("/eni5");
            assert_eq!(captured(interface), (node, "eni5", Role::Pod));
        }
        assert_eq!(read("k8s.node1"), ("k8s.node1", "", Role::Other));
        assert_eq!(read("trace"), ("trace", "", Role::Other));
        // As tcpdump's users name them.
        assert_eq!([read("pod"), read("eth0")], [("", "pod", Role::Pod), ("", "eth0", Role::Node)]);
        assert_eq!(read("worker-1_eth0"), ("worker-1", "eth0", Role::Node));
        assert_eq!(read("ip-10-0-1-2-ens5"), ("ip-10-0-1-2", "ens5", Role::Node));
        assert_eq!(read("ip-10-0-1-2"), ("ip-10-0-1-2", "", Role::Other));
        assert_eq!([read("ethernet"), read("a-ethernet")].map(|(_, _, role)| role), [Role::Other; 2]);
        assert_eq!(read("worker-pod7"), ("worker", "pod7", Role::Pod));
    }
}
