//! Files as places on the way of a connection: which node, which of its interfaces, and what that is.
//!
//! Owns how names of files and interfaces are read, and what was seen at each place in a second. Pure.

use std::collections::BTreeMap;

use nodewatch_analysis::{Counts, PairKey};
use nodewatch_answers::{Face, Pair, Told};
use nodewatch_protocol::{Case, Role};
use std::net::Ipv6Addr;

/// What hosts' ends of pods' interfaces are called by network plugins: VPC CNI, bridges, Calico, Cilium, GKE, AKS.
const OF_PODS: [&str; 6] = ["eni", "veth", "cali", "lxc", "gke", "azv"];
/// Those that people number.
const OF_NUMBERS: [&str; 3] = ["pod", "eni", "veth"];
/// What nodes' own interfaces are called.
const OF_NODES: [&str; 9] = ["eth", "ens", "enp", "enP", "eno", "enx", "bond", "em", "ib"];
/// The node of files that are named after its interfaces alone.
const NAMELESS: &str = "the node";

/// All places.
#[derive(Debug, Default)]
pub struct Taps {
    /// By the interface's number: which node, and which of its faces.
    places: Vec<Option<(usize, u16)>>,
    /// By the interface's number: how many files of it are being read.
    open: Vec<u32>,
    nodes: Vec<Told>,
    by_node: BTreeMap<String, usize>,
}

/// Node and interface of a name such as `NODE/INTERFACE`, or of others' file.
fn parts(name: &str, ours: bool) -> (&str, &str) {
    let (place, interface) = name.rsplit_once('/').unwrap_or((name, ""));
    let Some((node, named)) = of_file(place).filter(|_| !ours) else { return (place, interface) };
    // A capture within a pod has its `eth0`, and is of the pod; one of several interfaces has the others' names too.
    let says_more = matches!((role(named), role(interface)), (_, Role::Pod) | (Role::Node, Role::Node));
    (if node.is_empty() { NAMELESS } else { node }, if says_more { interface } else { named })
}

/// Node and interface that the name of somebody's file has, as `NODE.INTERFACE`, also with `-` and `_`: names of nodes have
/// such letters too. A node without a name is that of a file which is named after its interface alone.
pub(super) fn of_file(name: &str) -> Option<(&str, &str)> {
    let name = without_times(without_ring(name));
    // `eth0.100` is a VLAN's.
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let before = name.rsplit_once('.').filter(|(_, last)| is_number(last)).map_or(name, |(before, _)| before);
    let begin = before.rfind(['.', '-', '_']).map_or(0, |at| at + 1);
    let named = &name[begin..];
    let (base, _) = named.split_once('.').unwrap_or((named, ""));
    let node = &name[..begin.saturating_sub(1)];
    let kind = role(base);
    match node {
        _ if kind == Role::Other => None,
        // Of `pod1.pcap` and `pod2.pcap`, and of `web-pod1.pcap`, nobody says that they are on one node.
        _ if base.starts_with("pod") && base.len() > 3 && !name[..begin].ends_with('.') => None,
        // What is captured in the pod, and on its node.
        "pod" | "node" => Some(("", if kind == Role::Pod { named } else { node })),
        _ => Some((node, named)),
    }
}

/// Without a time that a program has put behind it: `eth0.20260101-120000`. Shorter numbers are those of nodes.
fn without_times(name: &str) -> &str {
    let is_time = |text: &str| text.len() >= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut name = name;
    while let Some((before, _)) = name.rsplit_once(['.', '-', '_']).filter(|(_, last)| is_time(last)) {
        name = before;
    }
    name
}

/// Without what dumpcap puts behind the name of each file of a ring: `eth0_00001_20260101120000`.
fn without_ring(name: &str) -> &str {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.rsplitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(time), Some(number), Some(before)) if digits(time, 14) && digits(number, 5) => before,
        _ => name,
    }
}

/// What an interface is by its name, which has to have the form of one: its beginning is also that of other words.
fn role(interface: &str) -> Role {
    let base = interface.split_once('.').map_or(interface, |(base, _)| base);
    let rest = |prefix: &&str| base.strip_prefix(*prefix);
    let is_hex = |rest: &str| rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let is_slot = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_digit()) && rest.len() <= 12;
    let of_pod = || {
        let is_short = OF_NUMBERS.iter().filter_map(rest).any(is_number);
        is_short || OF_PODS.iter().filter_map(rest).any(|rest| rest.len() >= 4 && is_hex(rest))
    };
    let of_node = || {
        OF_NODES
            .iter()
            .filter_map(rest)
            .any(|rest| is_slot(rest) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let is = |word: &str| base.eq_ignore_ascii_case(word);
    match () {
        () if is("pod") || of_pod() => Role::Pod,
        () if is("node") || is("eth") || of_node() => Role::Node,
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
            self.open.resize(number + 1, 0);
        }
        let faces = &mut self.nodes[at].faces;
        let known = faces.iter().position(|face| face.name == interface);
        let face = known.unwrap_or_else(|| {
            // Of the second in which its file begins it has not all.
            faces.push(Face { name: interface.to_owned(), role: role(interface), lost: true, ended: false });
            faces.len() - 1
        });
        self.places[number] = u16::try_from(face).ok().map(|face| (at, face));
    }

    fn place(&self, number: u16) -> Option<(usize, u16)> {
        self.places.get(usize::from(number)).copied().flatten()
    }

    /// A file of that interface is being read.
    pub fn begin(&mut self, number: u16) {
        if let Some(open) = self.open.get_mut(usize::from(number)) {
            *open += 1;
        }
    }

    /// One of them has nothing more.
    pub fn end(&mut self, number: u16) {
        if let Some(open) = self.open.get_mut(usize::from(number)) {
            *open = open.saturating_sub(1);
        }
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
        self.nodes.iter_mut().flat_map(|told| &mut told.faces).for_each(|face| face.ended = true);
        for ((node, face), _) in self.places.iter().flatten().zip(&self.open).filter(|(_, open)| **open > 0) {
            self.nodes[*node].faces[usize::from(*face)].ended = false;
        }
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
        assert_eq!([read("pod"), read("eth0")], [(NAMELESS, "pod", Role::Pod), (NAMELESS, "eth0", Role::Node)]);
        assert_eq!(read("vethab12cd34"), (NAMELESS, "vethab12cd34", Role::Pod));
        assert_eq!(read("worker-1_eth0"), ("worker-1", "eth0", Role::Node));
        assert_eq!(read("ip-10-0-1-2-ens5"), ("ip-10-0-1-2", "ens5", Role::Node));
        assert_eq!(read("ip-10-0-1-2"), ("ip-10-0-1-2", "", Role::Other));
        assert_eq!(read("worker-vethabcdef"), ("worker", "vethabcdef", Role::Pod));
        assert_eq!(read("worker.pod7"), ("worker", "pod7", Role::Pod));
        assert_eq!(read("a.pod-20261127-120000"), ("a", "pod", Role::Pod));
        assert_eq!(read("a.eth0.20261127"), ("a", "eth0", Role::Node));
        assert_eq!(read("a.eth0.100"), ("a", "eth0.100", Role::Node));
        assert_eq!(read("a-eth0_00001_20260101120000"), ("a", "eth0", Role::Node));
        // What an interface of the file is called says more, but for that of a pod in its own network.
        assert_eq!(read("eth0/vethab12cd34"), (NAMELESS, "vethab12cd34", Role::Pod));
        assert_eq!(read("a.pod/eth0"), ("a", "pod", Role::Pod));
        for other in [
            "ethernet",
            "a-ethernet",
            "podcast",
            "podinfo1",
            "pod1",
            "web-pod1",
            "node-1",
            "lxc1",
            "ethereum1",
            "gkeeper2",
        ] {
            assert_eq!(read(other), (other, "", Role::Other));
        }
    }
}
