//! Which ports should answer on nodes, as services and pods say.
//!
//! Owns which objects are asked and what they mean. What may not be listed is named as a gap: the list is worth having all the
//! same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::{
    Client, Resource, ResourceExt,
    api::{Api, ListParams},
};
use nodewatch_protocol::PortProtocol;

use crate::model::{Expectation, Expectations, NodeName, Origin, PortKey};

/// Objects asked for at once.
const PAGE: u32 = 500;
/// Up to so many nodes their pods are asked for node by node, beyond it all pods are.
const BY_NODE: usize = 20;
/// A static pod's processes carry this, not the UID of the pod that stands for it in the API.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

pub(super) async fn expected(client: Client, nodes: Vec<NodeName>) -> Expectations {
    let mut found = Expectations::default();
    let mut gaps = Vec::new();
    let mut gap = |what: &str, error: &kube::Error| {
        // The message, without the object that comes with it.
        let why = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        gaps.push(format!("{what}: {why}"));
    };
    let all = ListParams::default();
    let services: Vec<Service> = list(&client, &all).await.unwrap_or_else(|error| {
        gap("services are not known", &error);
        Vec::new()
    });
    let services: Vec<Service> = services.into_iter().filter(has_node_ports).collect();
    if !services.is_empty() {
        let backends =
            backends(&client, &services).await.map_err(|error| gap("whether services have pods", &error)).ok();
        for service in &services {
            found.list.extend(of_service(service, backends.as_ref(), &nodes));
        }
    }
    let selections: Vec<ListParams> = if nodes.len() > BY_NODE {
        vec![all]
    } else {
        nodes.iter().map(|node| ListParams::default().fields(&format!("spec.nodeName={node}"))).collect()
    };
    for selection in selections {
        match list::<Pod>(&client, &selection).await {
            Ok(pods) => {
                for pod in pods {
                    found.list.extend(of_pod(&pod));
                    let name = full_name(&pod);
                    found.pods.extend(uids(&pod).map(|uid| (uid.to_owned(), name.clone())));
                }
            }
            Err(error) => {
                gap("pods are not known", &error);
                break;
            }
        }
    }
    found.gaps = gaps;
    found
}

/// What a pod's processes say that they are of.
fn uids(pod: &Pod) -> impl Iterator<Item = &str> {
    let hash = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CONFIG_HASH));
    pod.metadata.uid.iter().chain(hash).map(String::as_str)
}

fn full_name(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn protocol(name: Option<&str>) -> Option<PortProtocol> {
    match name {
        None | Some("TCP") => Some(PortProtocol::Tcp),
        Some("UDP") => Some(PortProtocol::Udp),
        Some("SCTP") => Some(PortProtocol::Sctp),
        Some(_) => None,
    }
}

fn key(number: i32, name: Option<&str>) -> Option<PortKey> {
    Some(PortKey { port: u16::try_from(number).ok().filter(|&port| port > 0)?, protocol: protocol(name)? })
}

fn has_node_ports(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    let ports = spec.ports.iter().flatten().any(|port| port.node_port.is_some());
    ports || spec.health_check_node_port.is_some_and(|port| port > 0)
}

/// Nodes with ready pods of each service; `None` as a node is a backend outside any.
type Backends = HashMap<String, BTreeSet<Option<String>>>;

static NOBODY: BTreeSet<Option<String>> = BTreeSet::new();

async fn backends(client: &Client, services: &[Service]) -> Result<Backends, kube::Error> {
    let namespaces: BTreeSet<String> = services.iter().filter_map(ResourceExt::namespace).collect();
    let mut found = Backends::new();
    for namespace in namespaces {
        // EndpointSlices of that version are not served before Kubernetes 1.21; these are, and after it too.
        let api: Api<Endpoints> = Api::namespaced(client.clone(), &namespace);
        for endpoints in pages(&api, &ListParams::default()).await? {
            let ready = endpoints.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten());
            found.insert(full_name(&endpoints), ready.map(|address| address.node_name.clone()).collect());
        }
    }
    Ok(found)
}

fn of_service(service: &Service, backends: Option<&Backends>, nodes: &[NodeName]) -> Vec<Expectation> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let name = full_name(service);
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    // Where nobody may say, or nothing has made the list of the pods that it selects, it is believed.
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    let nobody = (!selects).then_some(&NOBODY);
    let behind = backends.and_then(|backends| backends.get(&name).or(nobody));
    let ready = behind.is_none_or(|behind| !behind.is_empty());
    let mut found = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(key) = port.node_port.and_then(|number| key(number, port.protocol.as_deref())) else { continue };
        let expectation = |node: Option<NodeName>, ready| Expectation {
            node,
            key,
            address: None,
            origin: Origin::NodePort(name.clone()),
            ready,
        };
        match behind {
            // Only nodes with a pod answer; none has one when the service is dead.
            Some(behind) if local && ready => {
                let has = |node: &&NodeName| behind.contains(&Some(node.0.clone()));
                found.extend(nodes.iter().filter(has).map(|node| expectation(Some(node.clone()), true)));
            }
            _ => found.push(expectation(None, ready)),
        }
    }
    let health = spec.health_check_node_port.and_then(|number| key(number, None));
    found.extend(health.map(|key| Expectation {
        node: None,
        key,
        address: None,
        origin: Origin::HealthCheck(name.clone()),
        ready: true,
    }));
    found
}

fn of_pod(pod: &Pod) -> Vec<Expectation> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let Some(node) = spec.node_name.as_deref().filter(|_| phase == Some("Running")) else { return Vec::new() };
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let on_host = spec.host_network.unwrap_or(false);
    let name = full_name(pod);
    // Two containers may declare one port.
    let mut found: BTreeMap<(PortKey, Option<std::net::IpAddr>), Expectation> = BTreeMap::new();
    for port in spec.containers.iter().flat_map(|container| container.ports.iter().flatten()) {
        let number = if on_host { Some(port.container_port) } else { port.host_port };
        let Some(key) = number.and_then(|number| key(number, port.protocol.as_deref())) else { continue };
        let address = port.host_ip.as_deref().and_then(|text| text.parse().ok());
        let address = address.filter(|address: &std::net::IpAddr| !address.is_unspecified());
        let origin = if on_host { Origin::HostNetwork(name.clone()) } else { Origin::HostPort(name.clone()) };
        let one = Expectation { node: Some(node.into()), key, address, origin, ready };
        found.insert((key, address), one);
    }
    found.into_values().collect()
}

async fn list<K>(client: &Client, parameters: &ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    pages(&Api::all(client.clone()), parameters).await
}

async fn pages<K>(api: &Api<K>, parameters: &ListParams) -> Result<Vec<K>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut found = Vec::new();
    let mut parameters = parameters.clone().limit(PAGE);
    loop {
        let page = api.list(&parameters).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("an object")
    }

    fn told(found: &[Expectation]) -> Vec<(String, Option<String>, bool)> {
        found
            .iter()
            .map(|one| {
                (format!("{} {}", one.key.text(), one.origin.text()), one.node.clone().map(|node| node.0), one.ready)
            })
            .collect()
    }

    #[test]
    fn a_service_is_expected_where_its_policy_says() {
        let service = |policy: &str| -> Service {
            read(
                json!({"metadata": {"name": "web", "namespace": "a"}, "spec": {"externalTrafficPolicy": policy, "selector": {"app": "web"},
                "healthCheckNodePort": if policy == "Local" { 31000 } else { 0 },
                "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "nodePort": 30053, "protocol": "UDP"},
                    {"port": 9, "nodePort": 30009, "protocol": "SCTP"}, {"port": 81}]}}),
            )
        };
        let nodes = ["n1".into(), "n2".into()];
        let on_first: Backends = [("a/web".to_owned(), [Some("n1".to_owned())].into())].into();
        let web = |text: &str| format!("{text} NodePort of a/web");
        assert_eq!(
            told(&of_service(&service("Cluster"), Some(&on_first), &nodes)),
            [(web("30080/tcp"), None, true), (web("30053/udp"), None, true), (web("30009/sctp"), None, true)]
        );
        assert_eq!(
            told(&of_service(&service("Local"), Some(&on_first), &nodes)),
            [
                (web("30080/tcp"), Some("n1".to_owned()), true),
                (web("30053/udp"), Some("n1".to_owned()), true),
                (web("30009/sctp"), Some("n1".to_owned()), true),
                ("31000/tcp health check of a/web".to_owned(), None, true),
            ]
        );
        let none: Backends = [("a/web".to_owned(), BTreeSet::new())].into();
        assert!(told(&of_service(&service("Cluster"), Some(&none), &nodes)).iter().all(|(_, _, ready)| !ready));
        // Where nothing makes lists of endpoints there is none, and that says nothing.
        let no_list = Backends::new();
        assert!(told(&of_service(&service("Cluster"), Some(&no_list), &nodes)).iter().all(|(_, _, ready)| *ready));
        let mut by_hand = service("Cluster");
        by_hand.spec.as_mut().expect("a spec").selector = None;
        assert!(told(&of_service(&by_hand, Some(&no_list), &nodes)).iter().all(|(_, _, ready)| !ready));
        assert!(told(&of_service(&service("Cluster"), None, &nodes)).iter().all(|(_, _, ready)| *ready));
    }

    #[test]
    fn a_static_pod_is_found_by_the_hash_that_its_processes_carry() {
        let hash = "0123456789abcdef0123456789abcdef";
        let pod: Pod = read(json!({"metadata": {"name": "etcd-n1", "namespace": "kube-system", "uid": "u",
            "annotations": {"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash}}}));
        assert_eq!(uids(&pod).collect::<Vec<_>>(), ["u", hash]);
        let pod: Pod = read(json!({"metadata": {"name": "p", "namespace": "a", "uid": "u"}}));
        assert_eq!(uids(&pod).collect::<Vec<_>>(), ["u"]);
    }

    #[test]
    fn pods_say_what_they_have_on_their_host() {
        let pod = |on_host: bool, phase: &str| -> Pod {
            read(json!({"metadata": {"name": "p", "namespace": "a"},
                "spec": {"nodeName": "n1", "hostNetwork": on_host, "containers": [
                    {"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.9"},
                        {"containerPort": 81}]}]},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}}))
        };
        let on_n1 = |text: &str| (text.to_owned(), Some("n1".to_owned()), true);
        assert_eq!(told(&of_pod(&pod(false, "Running"))), [on_n1("8080/tcp hostPort of a/p")]);
        assert_eq!(
            told(&of_pod(&pod(true, "Running"))),
            [on_n1("80/tcp declared by a/p"), on_n1("81/tcp declared by a/p")]
        );
        assert_eq!(told(&of_pod(&pod(true, "Succeeded"))), []);
    }
}
