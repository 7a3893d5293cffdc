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
    /// Nodes with a pod whose name contains that text, in any case.
    pub fn with_pod(&self, text: &str) -> BTreeSet<NodeName> {
        let text = text.to_lowercase();
        let found = self.pods.iter().filter(|pod| pod.name.to_lowercase().contains(&text));
        found.map(|pod| pod.node.clone()).collect()
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
