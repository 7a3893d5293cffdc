//! What the API server has said of pods, endpoints and policies in the last 15 minutes, with times.
//!
//! Owns its bound, and that what an address stood for is answered for a moment and not for now: addresses are given to
//! other pods. Must not know how it is heard.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

/// Milliseconds that the journal goes back.
const KEPT: u64 = 15 * 60 * 1000;
/// Entries of each kind that are kept.
const MOST: usize = 20_000;

/// What can be heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A backend of a service from a moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// `NAMESPACE/NAME` of the service.
    pub service: String,
    /// Its address and port.
    pub address: (IpAddr, u16),
    /// It takes traffic.
    pub ready: bool,
}

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `NAMESPACE/NAME`.
    pub name: String,
    /// Labels of the pods that it selects; none selects all of its namespace. `None` where the selector is more than
    /// labels: it may select any.
    pub selects: Option<BTreeMap<String, String>>,
    /// It says what comes in.
    pub ingress: bool,
    /// It says what goes out.
    pub egress: bool,
}

/// The journal.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    pods: VecDeque<(u64, Pod)>,
    backends: VecDeque<(u64, Backend)>,
    /// Backends as they stand now, by service.
    current: BTreeMap<String, BTreeMap<(IpAddr, u16), bool>>,
    /// Cluster IPs and ports of services.
    services: BTreeMap<(IpAddr, u16), String>,
    policies: BTreeMap<String, Policy>,
    heard: BTreeMap<Source, u64>,
    refused: BTreeSet<Source>,
}

impl Journal {
    /// What a kind says is heard from that moment on.
    pub fn hears(&mut self, source: Source, now: u64) {
        self.heard.entry(source).or_insert(now);
        self.refused.remove(&source);
    }

    /// A kind is not heard any more, or there is no right to.
    pub fn is_deaf(&mut self, source: Source) {
        self.heard.remove(&source);
        self.refused.insert(source);
    }

    /// Since when a kind is heard.
    pub fn since(&self, source: Source) -> Option<u64> {
        self.heard.get(&source).copied()
    }

    /// Kinds of which nothing is heard.
    pub fn blind(&self) -> Vec<Source> {
        Source::ALL.into_iter().filter(|source| !self.heard.contains_key(source)).collect()
    }

    /// A pod is like this from now on.
    pub fn pod(&mut self, now: u64, pod: Pod) {
        let known = self.pods.iter().rev().find(|(_, known)| known.uid == pod.uid);
        if known.is_none_or(|(_, known)| *known != pod) {
            self.pods.push_back((now, pod));
        }
        self.forget(now);
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, now: u64, uid: &str) {
        let known = self.pods.iter().rev().find(|(_, known)| known.uid == uid).map(|(_, known)| known.clone());
        if let Some(known) = known {
            self.pod(now, Pod { phase: PodPhase::Gone, ..known });
        }
    }

    /// The backends of a service, all of them, from now on.
    pub fn backends(&mut self, now: u64, service: &str, backends: BTreeMap<(IpAddr, u16), bool>) {
        let before = self.current.insert(service.to_owned(), backends.clone()).unwrap_or_default();
        let gone = before.keys().filter(|address| !backends.contains_key(address)).map(|address| (*address, false));
        let changed = backends.iter().filter(|(address, ready)| before.get(address) != Some(ready));
        for (address, ready) in changed.map(|(address, ready)| (*address, *ready)).chain(gone) {
            self.backends.push_back((now, Backend { service: service.to_owned(), address, ready }));
        }
        self.forget(now);
    }

    /// A service has these addresses; none where it is gone.
    pub fn service(&mut self, name: &str, addresses: &[(IpAddr, u16)]) {
        self.services.retain(|_, known| known != name);
        let room = MOST.saturating_sub(self.services.len());
        self.services.extend(addresses.iter().take(room).map(|address| (*address, name.to_owned())));
    }

    /// A policy is like this from now on.
    pub fn policy(&mut self, policy: Policy) {
        if self.policies.len() < MOST {
            self.policies.insert(policy.name.clone(), policy);
        }
    }

    /// A policy is gone.
    pub fn policy_gone(&mut self, name: &str) {
        self.policies.remove(name);
    }

    /// What is older than the journal goes back, and is not the last that is known of something that is still there.
    fn forget(&mut self, now: u64) {
        let old = now.saturating_sub(KEPT);
        let last: BTreeMap<&str, usize> =
            if self.pods.front().is_some_and(|(at, _)| *at < old) || self.pods.len() > MOST {
                self.pods.iter().enumerate().map(|(at, (_, pod))| (pod.uid.as_str(), at)).collect()
            } else {
                BTreeMap::new()
            };
        if !last.is_empty() {
            let stays: Vec<bool> = self
                .pods
                .iter()
                .enumerate()
                .map(|(at, (time, pod))| *time >= old || (last[pod.uid.as_str()] == at && pod.phase != PodPhase::Gone))
                .collect();
            let mut stays = stays.into_iter();
            self.pods.retain(|_| stays.next().unwrap_or(true));
        }
        while self.pods.len() > MOST {
            self.pods.pop_front();
        }
        while self.backends.front().is_some_and(|(at, _)| *at < old) || self.backends.len() > MOST {
            self.backends.pop_front();
        }
    }

    /// The pod that had an address at that moment: the one that was begun last before it.
    pub fn pod_at(&self, address: IpAddr, at: u64) -> Option<&Pod> {
        let known = self.pods.iter().filter(|(_, pod)| pod.addresses.contains(&address) && !pod.on_host);
        let mut before: Option<&(u64, Pod)> = None;
        let mut first: Option<&(u64, Pod)> = None;
        for entry in known {
            if entry.0 <= at {
                before = Some(entry);
            }
            first = first.or(Some(entry));
        }
        before.or(first).map(|(_, pod)| pod)
    }

    /// The service of a cluster IP and port.
    pub fn service_at(&self, address: IpAddr, port: u16) -> Option<&str> {
        self.services.get(&(address, port)).map(String::as_str)
    }

    /// The service that a backend belongs to, or belonged to.
    pub fn service_of(&self, address: IpAddr, port: u16) -> Option<&str> {
        let changed = self.backends.iter().rev().find(|(_, backend)| backend.address == (address, port));
        let current = || self.current.iter().find(|(_, backends)| backends.contains_key(&(address, port)));
        changed.map(|(_, backend)| backend.service.as_str()).or_else(|| current().map(|(service, _)| service.as_str()))
    }

    /// Since when an address takes no traffic any more of those that have it as a backend; `None` where it does, or never
    /// did.
    pub fn left(&self, address: IpAddr, port: u16, at: u64) -> Option<u64> {
        let of_it = self.backends.iter().filter(|(_, backend)| backend.address == (address, port));
        of_it.filter(|(time, _)| *time <= at).last().filter(|(_, backend)| !backend.ready).map(|(time, _)| *time)
    }

    /// Backends of a service that take traffic now.
    pub fn ready(&self, service: &str) -> Vec<(IpAddr, u16)> {
        let backends = self.current.get(service).into_iter().flatten();
        backends.filter(|(_, ready)| **ready).map(|(address, _)| *address).collect()
    }

    /// Policies that select a pod: those by labels, and those that may.
    pub fn policies_of(&self, pod: &Pod) -> Vec<&Policy> {
        let namespace = pod.name.split('/').next().unwrap_or_default();
        let in_it = self.policies.values().filter(|policy| policy.name.split('/').next() == Some(namespace));
        in_it
            .filter(|policy| {
                let selects = policy.selects.as_ref();
                selects.is_none_or(|labels| labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value)))
            })
            .collect()
    }

    /// The clean name of an address at that moment: its pod, its service, or itself.
    pub fn name(&self, address: IpAddr, port: u16, at: u64) -> String {
        let pod = self.pod_at(address, at).map(|pod| pod.name.clone());
        let service = || self.service_at(address, port).map(str::to_owned);
        pod.or_else(service).unwrap_or_else(|| address.to_string())
    }
}
