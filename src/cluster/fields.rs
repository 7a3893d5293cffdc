//! What lists of pods, services and endpoints are read for.
//!
//! Owns the small forms of these objects, for all that list many of them: everything else is dropped while it is read.

use std::net::IpAddr;

use serde::Deserialize;

use super::metadata::Metadata;

/// A pod.
#[derive(Deserialize)]
pub(super) struct Pod {
    pub metadata: Metadata,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub node_name: Option<String>,
    pub host_network: Option<bool>,
    #[serde(default)]
    pub containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Container {
    pub ports: Option<Vec<ContainerPort>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ContainerPort {
    #[serde(rename = "containerPort")]
    pub inside: i32,
    #[serde(rename = "hostPort")]
    pub host: Option<i32>,
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    pub protocol: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub phase: Option<String>,
    pub start_time: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIp>>,
    pub conditions: Option<Vec<PodCondition>>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
}

impl PodStatus {
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.pod_ips.iter().flatten().filter_map(|one| one.ip.parse().ok())
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PodIp {
    #[serde(default)]
    pub ip: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PodCondition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    #[serde(default)]
    pub restart_count: u32,
    pub state: Option<ContainerState>,
    pub last_state: Option<ContainerState>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ContainerState {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Running {
    pub started_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Terminated {
    pub finished_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Waiting {
    pub reason: Option<String>,
}

impl Pod {
    /// It is on its node's own network.
    pub fn is_on_host(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
    }

    /// Its addresses, which are its node's where it is on that one's network.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.status.iter().flat_map(PodStatus::addresses)
    }
}

/// A service.
#[derive(Deserialize)]
pub(super) struct Service {
    pub metadata: Metadata,
    pub spec: Option<ServiceSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Option<Vec<String>>,
    pub external_traffic_policy: Option<String>,
    pub health_check_node_port: Option<i32>,
    pub ports: Option<Vec<ServicePort>>,
}

impl ServiceSpec {
    /// Addresses in the cluster; a headless service says `None` in their place.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.cluster_ips.iter().flatten().filter_map(|address| address.parse().ok())
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub port: Option<i32>,
    pub node_port: Option<i32>,
    pub protocol: Option<String>,
}

impl Service {
    /// Its addresses in the cluster.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.spec.iter().flat_map(ServiceSpec::addresses)
    }
}

/// Some endpoints of a service, which may have many such slices.
#[derive(Deserialize)]
pub(super) struct Slice {
    pub metadata: Metadata,
    pub endpoints: Option<Vec<Endpoint>>,
}

/// One of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub addresses: Option<Vec<String>>,
    pub conditions: Option<EndpointConditions>,
    pub node_name: Option<String>,
    pub target_ref: Option<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct EndpointConditions {
    pub ready: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reference {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
}

impl Endpoint {
    /// Where a controller says nothing of readiness, it is ready.
    pub fn is_ready(&self) -> bool {
        self.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    }
}

impl Slice {
    /// The name of the service that it is of.
    pub fn service(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.service.as_deref()
    }

    /// Its service, as `NAMESPACE/NAME`, and where ready pods of it are; `None` as a node is a backend outside any.
    pub fn ready_nodes(self) -> Option<(String, Vec<Option<String>>)> {
        let service = format!("{}/{}", self.metadata.namespace, self.service()?);
        let ready = self.endpoints.into_iter().flatten().filter(Endpoint::is_ready);
        Some((service, ready.map(|endpoint| endpoint.node_name).collect()))
    }
}

/// All endpoints of a service, by servers before Kubernetes 1.21.
#[derive(Deserialize)]
pub(super) struct Endpoints {
    pub metadata: Metadata,
    pub subsets: Option<Vec<Subset>>,
}

#[derive(Deserialize)]
pub(super) struct Subset {
    /// Those that are ready.
    pub addresses: Option<Vec<Address>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Address {
    pub ip: Option<String>,
    pub node_name: Option<String>,
    pub target_ref: Option<Reference>,
}

impl Endpoints {
    /// The ready ones, in the form of today.
    pub fn ready(self) -> impl Iterator<Item = Endpoint> {
        let addresses = self.subsets.into_iter().flatten().flat_map(|subset| subset.addresses.into_iter().flatten());
        addresses.map(|Address { ip, node_name, target_ref }| Endpoint {
            addresses: ip.map(|ip| vec![ip]),
            conditions: None,
            node_name,
            target_ref,
        })
    }

    /// Its service, as `NAMESPACE/NAME`, and where ready pods of it are; `None` as a node is a backend outside any.
    pub fn ready_nodes(self) -> (String, Vec<Option<String>>) {
        (self.metadata.full_name(), self.ready().map(|endpoint| endpoint.node_name).collect())
    }
}
