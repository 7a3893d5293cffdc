//! Which ports should answer on nodes, as services and pods say.
//!
//! Owns which objects are asked and what they mean. What may not be listed is named as a gap: the list is worth having
//! all the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use kube::{Client, Error};
use nodewatch_protocol::PortProtocol;
use tokio::time::{Instant, timeout_at};

use super::{
    error::{Attempt, notice},
    fields::{Endpoints, Pod, Service, Slice},
    lists::{Selection, pages},
};
use crate::model::{Expectation, Expectations, NodeName, Origin, PortKey};

/// Up to so many nodes their pods are asked for node by node, beyond it all pods are.
const BY_NODE: usize = 20;
/// They are asked for anew every 30 s.
const WITHIN: Duration = Duration::from_secs(25);

/// What is expected to be open on these nodes, as far as the server says it in time.
pub(super) async fn expected(client: Client, nodes: Vec<NodeName>) -> Expectations {
    let end = Instant::now() + WITHIN;
    let mut found = Expectations::default();
    let mut services: Vec<Service> = Vec::new();
    let keep = |service: Service| services.extend(has_node_ports(&service).then_some(service));
    let listed = timeout_at(end, pages(&client, "/api/v1/services", Selection::default(), keep)).await;
    found.gaps.extend(gap("services are unknown", "list on services", listed, WITHIN));
    if !services.is_empty() {
        let asked = timeout_at(end, backends(&client, &services)).await;
        let (backends, listed) = match asked {
            Ok(Ok(backends)) => (Some(backends), Ok(Ok(()))),
            Ok(Err(error)) => (None, Ok(Err(error))),
            Err(late) => (None, Err(late)),
        };
        let rights = "list on endpointslices (discovery.k8s.io)";
        found.gaps.extend(gap("unknown whether services have pods", rights, listed, WITHIN));
        for service in &services {
            found.list.extend(of_service(service, backends.as_ref(), &nodes));
        }
    }
    let selections: Vec<Option<String>> = if nodes.len() > BY_NODE {
        vec![None]
    } else {
        nodes.iter().map(|node| Some(format!("spec.nodeName={node}"))).collect()
    };
    for fields in selections {
        let selection = Selection { fields: fields.as_deref(), ..Selection::default() };
        let keep = |pod: Pod| {
            found.list.extend(of_pod(&pod));
            let name = pod.metadata.full_name();
            found.pods.extend(uids(&pod).map(|uid| (uid.to_owned(), name.clone())));
        };
        let listed = timeout_at(end, pages(&client, "/api/v1/pods", selection, keep)).await;
        if let Some(gap) = gap("pods are unknown", "list on pods", listed, WITHIN) {
            found.gaps.push(gap);
            break;
        }
    }
    found
}

/// What is not known, and why.
pub(super) fn gap(
    what: &str,
    rights: &'static str,
    listed: Result<Result<(), Error>, tokio::time::error::Elapsed>,
    within: Duration,
) -> Option<String> {
    let why = match listed {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => {
            let notice = notice(&Attempt { what: String::new(), rights }, &error);
            if notice.next_step.contains(rights) {
                format!("{} ({})", notice.cause, notice.next_step)
            } else {
                notice.cause
            }
        }
        Err(_) => format!("the API server did not list everything within {} s", within.as_secs()),
    };
    Some(format!("{what}: {why}"))
}

/// What a pod's processes say that they are of.
fn uids(pod: &Pod) -> impl Iterator<Item = &str> {
    let hash = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.config_hash.as_ref());
    pod.metadata.uid.iter().chain(hash).map(String::as_str)
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

async fn backends(client: &Client, services: &[Service]) -> Result<Backends, Error> {
    let namespaces: BTreeSet<&str> = services.iter().map(|service| service.metadata.namespace.as_str()).collect();
    let mut found = Backends::new();
    for namespace in namespaces {
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let slices = pages(client, &path, Selection::default(), |slice: Slice| {
            if let Some((service, nodes)) = slice.ready_nodes() {
                found.entry(service).or_default().extend(nodes);
            }
        });
        match slices.await {
            // A server before Kubernetes 1.21.
            Err(Error::Api(status)) if status.code == 404 => {
                let path = format!("/api/v1/namespaces/{namespace}/endpoints");
                pages(client, &path, Selection::default(), |endpoints: Endpoints| {
                    let (service, nodes) = endpoints.ready_nodes();
                    found.insert(service, nodes.into_iter().collect());
                })
                .await?;
            }
            listed => listed?,
        }
    }
    Ok(found)
}

fn of_service(service: &Service, backends: Option<&Backends>, nodes: &[NodeName]) -> Vec<Expectation> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let name = service.metadata.full_name();
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    // Where nobody may say, or nothing has made a list of what is behind it, it is believed.
    let behind = backends.and_then(|backends| backends.get(&name));
    let ready = behind.is_none_or(|behind| !behind.is_empty());
    let mut found = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(key) = port.node_port.and_then(|number| key(number, port.protocol.as_deref())) else { continue };
        let expectation = |node: Option<&NodeName>, ready| Expectation {
            node: node.map(|node| node.0.clone()),
            key,
            address: None,
            origin: Origin::NodePort(name.clone()),
            ready,
        };
        match behind {
            // Only nodes with a pod answer; none has one when the service is dead.
            Some(behind) if local && ready => {
                let has = |node: &&NodeName| behind.contains(&Some(node.0.clone()));
                found.extend(nodes.iter().filter(has).map(|node| expectation(Some(node), true)));
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
    let ready = conditions.into_iter().any(|condition| condition.kind == "Ready" && condition.status == "True");
    let on_host = spec.host_network.unwrap_or(false);
    let name = pod.metadata.full_name();
    // Two containers may declare one port.
    let mut found: BTreeMap<(PortKey, Option<IpAddr>), Expectation> = BTreeMap::new();
    for port in spec.containers.iter().flat_map(|container| container.ports.iter().flatten()) {
        let number = if on_host { Some(port.inside) } else { port.host };
        let Some(key) = number.and_then(|number| key(number, port.protocol.as_deref())) else { continue };
        let address = port.host_ip.as_deref().and_then(|text| text.parse().ok());
        let address = address.filter(|address: &IpAddr| !address.is_unspecified());
        let origin = if on_host { Origin::HostNetwork(name.clone()) } else { Origin::HostPort(name.clone()) };
        let one = Expectation { node: Some(node.into()), key, address, origin, ready };
        found.insert((key, address), one);
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("an object")
    }

    fn told(found: &[Expectation]) -> Vec<(String, Option<String>, bool)> {
        found.iter().map(|one| (format!("{} {}", one.key, one.origin.text()), one.node.clone(), one.ready)).collect()
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
