//! Where pods run, and which nodes services lead to.
//!
//! Owns the list and what is found in it. Does nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::NodeName;

/// A pod that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlace {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Its node.
    pub node: NodeName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its phase, or what keeps a container of it from running, as kubectl says it.
    #[serde(default)]
    pub phase: String,
    /// How often containers of it were restarted, all together.
    #[serde(default)]
    pub restarts: Option<u32>,
    /// It has the node's network.
    #[serde(default)]
    pub host_network: bool,
}

impl PodPlace {
    /// It does not run as it should.
    pub fn is_faulty(&self) -> bool {
        self.phase != "Running"
    }
}

/// What a service leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlaces {
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Nodes with a ready pod of it.
    pub nodes: BTreeSet<NodeName>,
}

/// Pods and services, as the API had them at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workloads {
    /// Pods with a node.
    pub pods: Vec<PodPlace>,
    /// Services by `NAMESPACE/NAME`.
    pub services: BTreeMap<String, ServicePlaces>,
    /// What could not be found out.
    pub gaps: Vec<String>,
}

impl Workloads {
    /// With what was found before, where not everything could be found out now: a node too many is better than one too
    /// few for somebody who looks for a pod. It grows no further than the larger of both.
    #[must_use]
    pub fn or_before(mut self, before: Self) -> Self {
        if self.gaps.is_empty() {
            return self;
        }
        let room = before.pods.len().saturating_sub(self.pods.len());
        let known: BTreeSet<String> = self.pods.iter().map(|pod| pod.name.clone()).collect();
        self.pods.extend(before.pods.into_iter().filter(|pod| !known.contains(&pod.name)).take(room));
        let most = before.services.len();
        for (name, places) in before.services {
            let room = self.services.len() < most;
            match self.services.get_mut(&name) {
                Some(now) if now.nodes.is_empty() => now.nodes = places.nodes,
                None if room => drop(self.services.insert(name, places)),
                Some(_) | None => {}
            }
        }
        self
    }

    /// Nodes with a pod whose name contains that text, in any case.
    pub fn with_pod(&self, text: &str) -> BTreeSet<NodeName> {
        let text = text.to_lowercase();
        let found = self.pods.iter().filter(|pod| pod.name.to_lowercase().contains(&text));
        found.map(|pod| pod.node.clone()).collect()
    }

    /// Services whose name contains that text.
    pub fn services_named(&self, text: &str) -> Vec<&str> {
        let text = text.to_lowercase();
        self.services.keys().map(String::as_str).filter(|name| name.to_lowercase().contains(&text)).collect()
    }

    /// Nodes with a ready pod of a service whose name contains that text.
    pub fn of_service(&self, text: &str) -> BTreeSet<NodeName> {
        let text = text.to_lowercase();
        let found = self.services.iter().filter(|(name, _)| name.to_lowercase().contains(&text));
        found.flat_map(|(_, service)| service.nodes.iter().cloned()).collect()
    }

    /// Nodes that an address of a pod or a service leads to.
    pub fn at(&self, address: IpAddr) -> BTreeSet<NodeName> {
        let pods = self.pods.iter().filter(|pod| pod.addresses.contains(&address)).map(|pod| pod.node.clone());
        let services = self.services.values().filter(|service| service.addresses.contains(&address));
        pods.chain(services.flat_map(|service| service.nodes.iter().cloned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_listed_now_is_as_it_was_before_and_nothing_grows() {
        let pod = |name: &str, node: &str| PodPlace {
            name: name.into(),
            node: node.into(),
            addresses: vec![],
            phase: "Running".into(),
            restarts: None,
            host_network: false,
        };
        let service = |nodes: &[&str]| ServicePlaces {
            addresses: vec![],
            nodes: nodes.iter().map(|node| (*node).into()).collect(),
        };
        let of = |pods: &[(&str, &str)], services: &[(&str, &[&str])], gaps: &[&str]| Workloads {
            pods: pods.iter().map(|(name, node)| pod(name, node)).collect(),
            services: services.iter().map(|(name, nodes)| ((*name).to_owned(), service(nodes))).collect(),
            gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
        };
        let before = of(&[("s/a", "a"), ("s/b", "b")], &[("s/x", &["a"]), ("s/y", &["b"])], &[]);
        // The server fails in the middle of both.
        let now = of(&[("s/a", "c")], &[("s/x", &[])], &["pods are unknown", "services are unknown"]);
        let both = now.clone().or_before(before.clone());
        assert_eq!(both.pods, [pod("s/a", "c"), pod("s/b", "b")]);
        assert_eq!(both.services, of(&[], &[("s/x", &["a"]), ("s/y", &["b"])], &[]).services);
        assert_eq!((both.gaps.len(), now.or_before(both.clone())), (2, both));
        let whole = of(&[("s/a", "c")], &[], &[]);
        assert_eq!(whole.clone().or_before(before), whole, "what is gone is gone");
    }

    #[test]
    fn a_name_or_an_address_leads_to_its_nodes() {
        let pod = |name: &str, node: &str, ip: &str| PodPlace {
            name: name.to_owned(),
            node: node.into(),
            addresses: vec![ip.parse().expect("an address")],
            phase: "Running".to_owned(),
            restarts: None,
            host_network: false,
        };
        let service = ServicePlaces {
            addresses: vec!["172.20.0.7".parse().expect("an address")],
            nodes: ["a".into(), "b".into()].into(),
        };
        let workloads = Workloads {
            pods: vec![pod("shop/Payments-1", "a", "10.1.0.4"), pod("shop/cart-1", "b", "fd00::4")],
            services: [("shop/payments".to_owned(), service)].into(),
            gaps: Vec::new(),
        };
        let names = |found: BTreeSet<NodeName>| found.into_iter().map(|name| name.0).collect::<Vec<_>>().join(" ");
        assert_eq!(names(workloads.with_pod("payments")), "a");
        assert_eq!(names(workloads.with_pod("shop/")), "a b");
        assert_eq!(names(workloads.of_service("payments")), "a b");
        assert_eq!(names(workloads.at("fd00::4".parse().expect("an address"))), "b");
        assert_eq!(names(workloads.at("172.20.0.7".parse().expect("an address"))), "a b");
        assert_eq!(names(workloads.at("10.9.9.9".parse().expect("an address"))), "");
    }
}
