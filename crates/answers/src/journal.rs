//! What the API server has said of pods, endpoints and policies in the last 15 minutes, with times.
//!
//! Owns its bound, and that what an address stood for is answered for a moment and not for now: addresses are given to
//! other pods. What is told is applied at once and found by name and address, however much there is. Must not know how it
//! is heard.

mod backends;
mod news;
mod objects;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use news::News;

use backends::Backends;
use objects::Objects;
use pods::Pods;

/// Milliseconds that the journal goes back.
const KEPT: u64 = 15 * 60 * 1000;
/// Services, policies, nodes and cluster addresses of services that are kept, of each.
const MOST: usize = 20_000;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What can be heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Pods.
    Pods,
    /// EndpointSlices.
    Endpoints,
    /// Services.
    Services,
    /// Nodes.
    Nodes,
    /// NetworkPolicies.
    Policies,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pods, Self::Endpoints, Self::Services, Self::Nodes, Self::Policies];

    /// As the API has it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Endpoints => "endpointslices.discovery.k8s.io",
            Self::Services => "services",
            Self::Nodes => "nodes",
            Self::Policies => "networkpolicies.networking.k8s.io",
        }
    }
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodPhase {
    /// It takes traffic.
    Ready,
    /// It does not, or not yet.
    #[default]
    NotReady,
    /// It is being deleted.
    Terminating,
    /// It is not there any more.
    Gone,
}

/// What a pod was from a moment on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How far it is.
    pub phase: PodPhase,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub started: u64,
    /// When its deletion was asked for.
    pub deleted: Option<u64>,
    /// How often its containers have begun again, and when last.
    pub restarts: (u32, Option<u64>),
    /// It has its node's network.
    pub on_host: bool,
    /// Its labels, which many pods share.
    pub labels: Arc<Labels>,
}

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Labels of the pods that it selects; none selects all of its namespace. `None` where the selector is more than
    /// labels: it may select any.
    pub selects: Option<Labels>,
    /// It says what comes in.
    pub ingress: bool,
    /// It says what goes out.
    pub egress: bool,
}

/// The journal.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    pods: Pods,
    backends: Backends,
    /// Cluster addresses and ports by service, and the other way round.
    services: Objects<Vec<(IpAddr, u16)>>,
    by_address: FxHashMap<(IpAddr, u16), String>,
    /// Addresses by node, and the other way round.
    nodes: Objects<Vec<IpAddr>>,
    by_node_address: FxHashMap<IpAddr, String>,
    policies: Objects<Policy>,
    heard: BTreeMap<Source, u64>,
}

impl Journal {
    /// What a kind says is heard from that moment on.
    pub fn hears(&mut self, source: Source, now: u64) {
        self.heard.entry(source).or_insert(now);
    }

    /// A kind is not heard any more, or there is no right to. What it has said stays until it is heard again.
    pub fn is_deaf(&mut self, source: Source) {
        self.heard.remove(&source);
    }

    /// Since when a kind is heard.
    pub fn since(&self, source: Source) -> Option<u64> {
        self.heard.get(&source).copied()
    }

    /// Kinds of which nothing is heard.
    pub fn blind(&self) -> Vec<Source> {
        Source::ALL.into_iter().filter(|source| !self.heard.contains_key(source)).collect()
    }

    /// All that there is of a kind is told from here on, up to [`Journal::listed`].
    pub fn lists(&mut self, source: Source) {
        match source {
            Source::Pods => self.pods.lists(),
            Source::Endpoints => self.backends.lists(),
            Source::Services => self.services.lists(),
            Source::Nodes => self.nodes.lists(),
            Source::Policies => self.policies.lists(),
        }
    }

    /// That was all: what was not told since [`Journal::lists`] is gone. The kind is heard from now on.
    pub fn listed(&mut self, now: u64, source: Source) {
        match source {
            Source::Pods => self.pods.listed(now),
            Source::Endpoints => self.backends.listed(now),
            Source::Services => self.services.missing().iter().for_each(|name| self.service(name, &[])),
            Source::Nodes => self.nodes.missing().iter().for_each(|name| self.node_gone(name)),
            Source::Policies => self.policies.missing().iter().for_each(|name| self.policy_gone(name)),
        }
        self.hears(source, now);
    }

    /// A pod is like this from now on.
    pub fn pod(&mut self, now: u64, pod: Pod) {
        self.pods.put(now, pod);
        self.forget(now);
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, now: u64, uid: &str) {
        self.pods.gone(now, uid);
        self.forget(now);
    }

    /// The backends of a service, all of them, from now on.
    pub fn backends(&mut self, now: u64, service: &str, backends: BTreeMap<(IpAddr, u16), bool>) {
        self.slice(now, service, service, backends);
    }

    /// Some backends of a service, those of one slice, from now on; those of its others stay.
    pub fn slice(&mut self, now: u64, name: &str, service: &str, backends: BTreeMap<(IpAddr, u16), bool>) {
        self.backends.put(now, name, service, backends);
        self.forget(now);
    }

    /// A slice is gone.
    pub fn slice_gone(&mut self, now: u64, name: &str) {
        self.backends.gone(now, name);
        self.forget(now);
    }

    /// A service has these addresses; none where it is gone.
    pub fn service(&mut self, name: &str, addresses: &[(IpAddr, u16)]) {
        for address in self.services.remove(name).unwrap_or_default() {
            if self.by_address.get(&address).is_some_and(|known| known == name) {
                self.by_address.remove(&address);
            }
        }
        let room = MOST.saturating_sub(self.by_address.len());
        let kept: Vec<(IpAddr, u16)> = addresses.iter().copied().take(room).collect();
        if kept.is_empty() {
            return;
        }
        self.by_address.extend(kept.iter().map(|address| (*address, name.to_owned())));
        self.services.put(name, kept);
    }

    /// A node has these addresses.
    pub fn node(&mut self, name: &str, addresses: &[IpAddr]) {
        self.node_gone(name);
        if self.nodes.len() < MOST {
            self.by_node_address.extend(addresses.iter().map(|address| (*address, name.to_owned())));
            self.nodes.put(name, addresses.to_vec());
        }
    }

    /// A node is gone.
    pub fn node_gone(&mut self, name: &str) {
        for address in self.nodes.remove(name).unwrap_or_default() {
            if self.by_node_address.get(&address).is_some_and(|known| known == name) {
                self.by_node_address.remove(&address);
            }
        }
    }

    /// A policy is like this from now on.
    pub fn policy(&mut self, policy: Policy) {
        if self.policies.len() < MOST || self.policies.get(&policy.name).is_some() {
            self.policies.put(&policy.name.clone(), policy);
        }
    }

    /// A policy is gone.
    pub fn policy_gone(&mut self, name: &str) {
        self.policies.remove(name);
    }

    /// What is older than the journal goes back, and is not the last that is known of something that is still there.
    fn forget(&mut self, now: u64) {
        let old = now.saturating_sub(KEPT);
        self.pods.forget(old);
        self.backends.forget(old);
    }

    /// The pod that had an address at that moment: the one that was begun last before it.
    pub fn pod_at(&self, address: IpAddr, at: u64) -> Option<&Pod> {
        self.pods.at(address, at)
    }

    /// The service of a cluster IP and port.
    pub fn service_at(&self, address: IpAddr, port: u16) -> Option<&str> {
        self.by_address.get(&(address, port)).map(String::as_str)
    }

    /// It is one of that service's cluster addresses.
    pub fn is_address_of(&self, address: IpAddr, service: &str) -> bool {
        self.services.get(service).is_some_and(|addresses| addresses.iter().any(|(known, _)| *known == address))
    }

    /// The service that a backend belongs to, or belonged to.
    pub fn service_of(&self, address: IpAddr, port: u16) -> Option<&str> {
        self.backends.service_of((address, port))
    }

    /// Since when an address takes no traffic any more of those that have it as a backend; `None` where it does, or never
    /// did.
    pub fn left(&self, address: IpAddr, port: u16, at: u64) -> Option<u64> {
        self.backends.left((address, port), at)
    }

    /// Backends of a service that take traffic now.
    pub fn ready(&self, service: &str) -> BTreeSet<(IpAddr, u16)> {
        self.backends.ready(service)
    }

    /// Policies that select a pod: those by labels, and those that may.
    pub fn policies_of(&self, pod: &Pod) -> Vec<&Policy> {
        let namespace = pod.name.split('/').next().unwrap_or_default();
        let beginning = format!("{namespace}/");
        let in_it = self.policies.below(&beginning);
        in_it
            .filter(|policy| {
                let selects = policy.selects.as_ref();
                selects.is_none_or(|labels| labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value)))
            })
            .collect()
    }

    /// The clean name of an address at that moment: its pod, its service, its node, or itself.
    pub fn name(&self, address: IpAddr, port: u16, at: u64) -> String {
        let pod = self.pod_at(address, at).map(|pod| pod.name.clone());
        let service = || self.service_at(address, port).map(str::to_owned);
        let node = || self.by_node_address.get(&address).cloned();
        pod.or_else(service).or_else(node).unwrap_or_else(|| address.to_string())
    }
}

#[cfg(test)]
mod tests;
