//! Which programs make a node's network, and in which version, by the images of its pods.
//!
//! Owns by what such a program is known. What may not be listed is said: the rest of a bundle is worth having all the same.

use std::time::Duration;

use kube::Client;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    expected,
    lists::{Selection, pages},
    metadata::Metadata,
};
use crate::model::{NetworkProgram, NodeName};

/// All of it is had within this time, or none is.
const WITHIN: Duration = Duration::from_secs(5);
/// Parts of images' names: kube-proxy, plugins for CNI, and what else changes packets on nodes.
const KNOWN: [&str; 20] = [
    "kube-proxy",
    "amazon-k8s-cni",
    "aws-network-policy-agent",
    "cilium",
    "calico",
    "flannel",
    "weave",
    "antrea",
    "kube-router",
    "kube-ovn",
    "ovn-kubernetes",
    "ovnkube",
    "azure-cns",
    "azure-npm",
    "netd",
    "multus",
    "ip-masq-agent",
    "node-cache",
    "istio",
    "linkerd",
];

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    image: String,
}

/// The programs of a node, or why they are not known.
pub(super) async fn programs(client: Client, node: NodeName) -> Result<Vec<NetworkProgram>, String> {
    let mut found = Vec::new();
    let fields = format!("spec.nodeName={}", node.0);
    let selection = Selection { fields: Some(&fields), ..Selection::default() };
    let keep = |pod: Pod| found.extend(of_pod(&pod));
    let listed = timeout(WITHIN, pages(&client, "/api/v1/pods", selection, keep)).await;
    if let Some(gap) = expected::gap("versions are unknown", "list on pods", listed, WITHIN) {
        return Err(gap);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn of_pod(pod: &Pod) -> Vec<NetworkProgram> {
    let images = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| &container.image);
    // The registry and the folders before the name say nothing of what it is.
    let known = images.filter(|image| {
        let name = image.split('@').next().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        KNOWN.iter().any(|known| name.contains(known)) || (image.contains("/cilium/") || image.contains("/calico/"))
    });
    let pod = pod.metadata.full_name();
    known.map(|image| NetworkProgram { pod: pod.clone(), image: image.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_images() {
        let pod = |image: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": "a", "namespace": "kube-system"},
                "spec": {"containers": [{"image": image}, {"image": "busybox"}]}}))
            .expect("a pod")
        };
        let image = "602401143452.dkr.ecr.eu-west-1.amazonaws.com/amazon-k8s-cni:v1.18.1";
        let told = of_pod(&pod(image));
        assert_eq!(told, [NetworkProgram { pod: "kube-system/a".into(), image: image.into() }]);
        assert_eq!(of_pod(&pod("quay.io/cilium/operator@sha256:00")).len(), 1);
        assert_eq!(of_pod(&pod("registry/cilium-not/nginx:1")), []);
    }
}
