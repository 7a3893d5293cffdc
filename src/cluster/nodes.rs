//! The node list by watch.
//!
//! Owns the conversion from Kubernetes' Node to ours; what the screens do not show is dropped here.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::{ResourceExt, api::Api, runtime::watcher};

use super::{
    connect::Connection,
    error::{Attempt, watch_notice},
    lists::watched,
};
use crate::model::{Machine, Node, NodesChange, Readiness};

/// All nodes, and every change, for good. Failures are told and tried again with back-off; what else the connection has
/// to tell comes along. `program_for` is the one architecture that the agent program is for, where it is not the image's.
pub(super) fn watch(connection: &Connection, program_for: Option<&'static str>) -> BoxStream<'static, NodesChange> {
    let convert = move |node: &KubeNode| {
        let mut node = convert(node);
        node.machine.program_for = program_for.map(str::to_owned);
        node
    };
    let attempt = Attempt { what: "list the nodes".to_owned(), rights: "list and watch on nodes" };
    let mut listing = Vec::new();
    let api = Api::<KubeNode>::all(connection.client.clone());
    let changes = watched(api, watcher::Config::default(), Arc::clone(&connection.calls)).filter_map(move |event| {
        let change = match event {
            Ok(watcher::Event::Init) => {
                listing.clear();
                None
            }
            Ok(watcher::Event::InitApply(node)) => {
                listing.push(convert(&node));
                None
            }
            Ok(watcher::Event::InitDone) => Some(NodesChange::Replaced(std::mem::take(&mut listing))),
            Ok(watcher::Event::Apply(node)) => Some(NodesChange::Applied(convert(&node))),
            Ok(watcher::Event::Delete(node)) => Some(NodesChange::Gone(node.name_any().as_str().into())),
            Err(error) => Some(NodesChange::Failed(watch_notice(&attempt, &error))),
        };
        async move { change }
    });
    stream::select(changes, connection.news().map(NodesChange::Told)).boxed()
}

/// A node as the model has it.
pub(super) fn convert(node: &KubeNode) -> Node {
    let labels = node.labels().clone();
    let label = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name).cloned());
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let mut addresses: Vec<_> = addresses.into_iter().flatten().collect();
    addresses.sort_by_key(|address| address.type_ != "InternalIP");
    Node {
        name: node.name_any().as_str().into(),
        uid: node.uid(),
        readiness: match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            _ => Readiness::Unknown,
        },
        cordoned: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false),
        // The second name is the one before Kubernetes 1.17.
        zone: label(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
        instance_type: label(["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"]),
        created: node.metadata.creation_timestamp.as_ref().map(|time| time.0.as_millisecond().max(0) as u64),
        addresses: addresses.into_iter().filter_map(|address| address.address.parse().ok()).collect(),
        version: status.and_then(|status| status.node_info.as_ref()).map(|info| info.kubelet_version.clone()),
        // As in aws:///eu-west-1a/i-0123456789abcdef0.
        instance_id: node
            .spec
            .as_ref()
            .and_then(|spec| spec.provider_id.as_deref()?.strip_prefix("aws://"))
            .and_then(|rest| rest.rsplit('/').next())
            // Fargate has something else there.
            .filter(|id| id.starts_with("i-"))
            .map(str::to_owned),
        kubelet_port: status
            .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
            .and_then(|endpoint| u16::try_from(endpoint.port).ok()),
        machine: machine(node),
        labels,
    }
}

fn machine(node: &KubeNode) -> Machine {
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    Machine {
        system: info.map(|info| info.operating_system.clone()).filter(|system| !system.is_empty()),
        architecture: info.map(|info| info.architecture.clone()).filter(|architecture| !architecture.is_empty()),
        taints: taints.into_iter().flatten().map(|taint| taint.key.clone()).collect(),
        // The kubelet's own words, from its shutdown manager.
        shuts_down: ready
            .filter(|ready| ready.status != "True")
            .and_then(|ready| ready.message.as_deref())
            .is_some_and(|message| message.contains("node is shutting down")),
        program_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: serde_json::Value) -> Node {
        convert(&serde_json::from_value(value).expect("a node"))
    }

    fn info(system: &str, architecture: &str, image: &str) -> serde_json::Value {
        serde_json::json!({"operatingSystem": system, "architecture": architecture, "osImage": image, "bootID": "",
            "machineID": "", "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12.37",
            "kubeProxyVersion": "", "kubeletVersion": "v1.34.1-eks-113cf36", "systemUUID": ""})
    }

    #[test]
    fn every_kind_of_eks_compute_is_read() {
        use serde_json::json;
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let auto = read(json!({
            "metadata": {"name": "i-0123456789abcdef0", "labels": {"eks.amazonaws.com/compute-type": "auto",
                "kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64",
                "node.kubernetes.io/instance-type": "c7g.large", "topology.kubernetes.io/zone": "eu-west-1b"}},
            "spec": {"providerID": "aws:///eu-west-1b/i-0123456789abcdef0"},
            "status": {"conditions": ready, "addresses": [{"type": "InternalIP", "address": "10.0.3.7"},
                {"type": "InternalDNS", "address": "ip-10-0-3-7.eu-west-1.compute.internal"}],
                "nodeInfo": info("linux", "arm64", "Bottlerocket (EKS Auto, Standard) 2026.10.2")},
        }));
        assert_eq!((auto.cannot_run(), auto.instance_id.as_deref()), (None, Some("i-0123456789abcdef0")));
        // Neither an instance nor a zone.
        let hybrid = read(json!({
            "metadata": {"name": "mi-0a1b2c3d4e5f60718", "labels": {"eks.amazonaws.com/compute-type": "hybrid",
                "eks.amazonaws.com/hybrid-credential-provider": "ssm", "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64"}},
            "spec": {"providerID": "eks-hybrid:///eu-west-1/prod/mi-0a1b2c3d4e5f60718"},
            "status": {"conditions": ready, "addresses": [{"type": "InternalIP", "address": "192.168.80.11"}],
                "nodeInfo": info("linux", "amd64", "Ubuntu 24.04.3 LTS")},
        }));
        assert_eq!((hybrid.cannot_run(), hybrid.instance_id, hybrid.zone), (None, None, None));
        let fargate = read(json!({
            "metadata": {"name": "fargate-ip-10-0-1-2.eu-west-1.compute.internal",
                "labels": {"eks.amazonaws.com/compute-type": "fargate", "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64"}},
            "spec": {"providerID": "aws:///eu-west-1a/1d3cbd2d5b-1f4a/fargate-ip-10-0-1-2.eu-west-1.compute.internal",
                "taints": [{"key": "eks.amazonaws.com/compute-type", "value": "fargate", "effect": "NoSchedule"}]},
            "status": {"conditions": ready, "nodeInfo": info("linux", "amd64", "Amazon Linux 2023")},
        }));
        assert_eq!(fargate.cannot_run(), Some(crate::model::NoAgent::Fargate));
        assert_eq!(fargate.instance_id, None, "there is no instance of the user's behind it");
        let sixes = read(json!({
            "metadata": {"name": "i-0fedcba9876543210.eu-west-1.compute.internal"},
            "spec": {"providerID": "aws:///eu-west-1a/i-0fedcba9876543210"},
            "status": {"conditions": ready, "nodeInfo": info("linux", "amd64", "Bottlerocket OS 1.47.0 (aws-k8s-1.34)"),
                "addresses": [{"type": "InternalIP", "address": "2600:1f18:1234:5600::a7"},
                    {"type": "InternalDNS", "address": "i-0fedcba9876543210.eu-west-1.compute.internal"}]},
        }));
        assert_eq!(sixes.cannot_run(), None);
        assert_eq!(sixes.addresses, ["2600:1f18:1234:5600::a7".parse::<std::net::IpAddr>().expect("an address")]);
    }

    #[test]
    fn taints_of_providers_and_other_systems_are_read() {
        use serde_json::json;
        let azure = read(json!({
            "metadata": {"name": "virtual-node-aci-linux", "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"taints": [{"key": "virtual-kubelet.io/provider", "value": "azure", "effect": "NoSchedule"}]},
        }));
        assert!(azure.cannot_run().is_some());
        let windows = read(json!({"metadata": {"name": "w"},
            "status": {"nodeInfo": info("windows", "amd64", "Windows Server 2022 Datacenter")}}));
        assert_eq!(windows.cannot_run(), Some(crate::model::NoAgent::System("windows".into())));
    }

    #[test]
    fn a_node_as_eks_writes_it() {
        let node: KubeNode = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "ip-10-0-1-12", "labels": {
                "topology.kubernetes.io/zone": "eu-west-1a", "node.kubernetes.io/instance-type": "m5.large"}},
            "spec": {"unschedulable": true, "providerID": "aws:///eu-west-1a/i-0123456789abcdef0"},
            "status": {
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "Unknown"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.1.12"}, {"type": "Hostname", "address": "x"}],
            },
        }))
        .expect("a node");
        let node = convert(&node);
        assert_eq!((node.readiness, node.cordoned), (Readiness::Unknown, true));
        assert_eq!((node.zone.as_deref(), node.instance_type.as_deref()), (Some("eu-west-1a"), Some("m5.large")));
        assert_eq!(node.instance_id.as_deref(), Some("i-0123456789abcdef0"));
        assert_eq!(node.addresses, ["10.0.1.12".parse::<std::net::IpAddr>().expect("an address")]);
    }
}
