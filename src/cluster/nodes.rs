//! The node list by watch.
//!
//! Owns the conversion from Kubernetes' Node to ours; what the screens do not show is dropped here.

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::{
    Client, ResourceExt,
    api::Api,
    runtime::{WatchStreamExt, watcher},
};

use super::error::{Attempt, watch_notice};
use crate::model::{Node, NodesChange, Readiness};

/// All nodes, and every change, for good. Failures are told and tried again with back-off.
pub(super) fn watch(client: Client) -> BoxStream<'static, NodesChange> {
    let attempt = Attempt { what: "list the nodes".to_owned(), rights: "list and watch on nodes" };
    let mut listing = Vec::new();
    watcher(Api::<KubeNode>::all(client), watcher::Config::default())
        .default_backoff()
        .filter_map(move |event| {
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
                // The server has forgotten where the watch was; the list that follows says everything anew.
                Err(watcher::Error::WatchError(status)) if status.code == 410 => None,
                Err(error) => Some(NodesChange::Failed(watch_notice(&attempt, &error))),
            };
            async move { change }
        })
        .boxed()
}

fn convert(node: &KubeNode) -> Node {
    let labels = node.labels().clone();
    let label = |names: [&str; 2]| names.iter().find_map(|name| labels.get(*name).cloned());
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    let addresses = status.and_then(|status| status.addresses.as_ref());
    Node {
        name: node.name_any().as_str().into(),
        readiness: match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::Ready,
            Some("False") => Readiness::NotReady,
            _ => Readiness::Unknown,
        },
        cordoned: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false),
        // The second name is the one before Kubernetes 1.17.
        zone: label(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]),
        instance_type: label(["node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"]),
        addresses: addresses.into_iter().flatten().filter_map(|address| address.address.parse().ok()).collect(),
        version: status.and_then(|status| status.node_info.as_ref()).map(|info| info.kubelet_version.clone()),
        // As in aws:///eu-west-1a/i-0123456789abcdef0.
        instance_id: node
            .spec
            .as_ref()
            .and_then(|spec| spec.provider_id.as_deref()?.strip_prefix("aws://"))
            .and_then(|rest| rest.rsplit('/').next())
            .map(str::to_owned),
        kubelet_port: status
            .and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
            .and_then(|endpoint| u16::try_from(endpoint.port).ok()),
        labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
