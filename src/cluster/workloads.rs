//! Where pods run, and which nodes services lead to, for somebody who looks for one.
//!
//! Owns which objects are asked. What may not be listed is named as a gap: the rest is worth having all the same.

use std::{collections::BTreeMap, time::Duration};

use kube::{Client, Error};
use tokio::time::{Instant, timeout_at};

use super::{
    expected,
    fields::{Endpoints, Pod, Service, Slice},
    lists::{Selection, pages},
};
use crate::model::{PodPlace, ServicePlaces, Workloads};

/// More pods than this are more than any cluster is made for.
const MOST: usize = 200_000;
/// All of it is had within this time, or less is.
const WITHIN: Duration = Duration::from_secs(25);

/// What there is now.
pub(super) async fn workloads(client: Client) -> Workloads {
    let end = Instant::now() + WITHIN;
    let mut found = Workloads::default();
    let mut more = 0_u64;
    let keep = |pod: Pod| match place(pod) {
        Some(_) if found.pods.len() == MOST => more += 1,
        Some(place) => found.pods.push(place),
        None => {}
    };
    let listed = timeout_at(end, pages(&client, "/api/v1/pods", Selection::default(), keep)).await;
    found.gaps.extend(expected::gap("pods are unknown", "list on pods", listed, WITHIN));
    if more > 0 {
        found.gaps.push(format!("{more} pods more than {MOST} are left out"));
    }
    let services = timeout_at(end, services(&client, &mut found.services)).await;
    let rights = "list on services and endpointslices (discovery.k8s.io)";
    found.gaps.extend(expected::gap("services are unknown", rights, services, WITHIN));
    found
}

fn place(pod: Pod) -> Option<PodPlace> {
    // One on the node's own network has the node's addresses.
    let host_network = pod.is_on_host();
    let addresses = pod.addresses().filter(|_| !host_network).collect();
    let (spec, status) = (pod.spec?, pod.status?);
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let node = spec.node_name.filter(|_| !over)?;
    let containers = status.container_statuses.unwrap_or_default();
    let restarts = containers.iter().fold(0_u32, |all, one| all.saturating_add(one.restart_count));
    let waits = containers.into_iter().find_map(|one| one.state?.waiting?.reason);
    let phase = waits.filter(|_| status.phase.as_deref() != Some("Pending")).or(status.phase).unwrap_or_default();
    let (name, node) = (pod.metadata.full_name(), node.as_str().into());
    Some(PodPlace { name, node, addresses, phase, restarts: Some(restarts), host_network })
}

async fn services(client: &Client, found: &mut BTreeMap<String, ServicePlaces>) -> Result<(), Error> {
    pages(client, "/api/v1/services", Selection::default(), |service: Service| {
        found.entry(service.metadata.full_name()).or_default().addresses = service.addresses().collect();
    })
    .await?;
    let slices = pages(client, "/apis/discovery.k8s.io/v1/endpointslices", Selection::default(), |slice: Slice| {
        if let Some((service, nodes)) = slice.ready_nodes() {
            let nodes = nodes.into_iter().flatten().map(|node| node.as_str().into());
            found.entry(service).or_default().nodes.extend(nodes);
        }
    });
    match slices.await {
        // A server before Kubernetes 1.21.
        Err(Error::Api(status)) if status.code == 404 => {
            pages(client, "/api/v1/endpoints", Selection::default(), |endpoints: Endpoints| {
                let (service, nodes) = endpoints.ready_nodes();
                let nodes = nodes.into_iter().flatten().map(|node| node.as_str().into());
                found.entry(service).or_default().nodes.extend(nodes);
            })
            .await
        }
        listed => listed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_without_a_node_or_that_is_over_is_nowhere_and_one_on_the_host_has_no_address_of_its_own() {
        let of = |spec: serde_json::Value, phase: &str| {
            let pod = json!({"metadata": {"name": "p", "namespace": "s"}, "spec": spec,
                "status": {"phase": phase, "podIPs": [{"ip": "10.0.0.7"}, {"ip": "hostile"}]}});
            place(serde_json::from_value(pod).expect("a pod"))
        };
        let there = of(json!({"nodeName": "a"}), "Running").expect("a place");
        assert_eq!((there.name.as_str(), there.node.0.as_str(), there.addresses.len()), ("s/p", "a", 1));
        let host = of(json!({"nodeName": "a", "hostNetwork": true}), "Running").expect("a place");
        assert!(host.addresses.is_empty());
        assert_eq!((there.phase.as_str(), there.restarts, host.host_network), ("Running", Some(0), true));
        assert_eq!((of(json!({}), "Pending"), of(json!({"nodeName": "a"}), "Succeeded")), (None, None));
    }
}
