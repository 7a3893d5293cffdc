//! Names of pods and services for their addresses, for the readers of captures.
//!
//! Owns which objects have a name for an address. What may not be listed has none: a capture is worth having all the
//! same.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Client, Resource, ResourceExt,
    api::{Api, ListParams},
};

/// Objects asked for at once.
const PAGE: u32 = 500;
/// More names than this help nobody.
const MAX_NAMES: usize = 100_000;

pub(super) async fn names(client: Client) -> BTreeMap<IpAddr, String> {
    let mut names = BTreeMap::new();
    let name = |kind: &str, meta: &dyn Fn() -> (String, String)| {
        let (namespace, name) = meta();
        format!("{name}.{namespace}.{kind}")
    };
    for service in list::<Service>(&client).await {
        let addresses = service.spec.as_ref().and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
        for address in addresses.iter().filter_map(|address| address.parse().ok()) {
            names.insert(address, name("svc", &|| (service.namespace().unwrap_or_default(), service.name_any())));
        }
    }
    for pod in list::<Pod>(&client).await {
        // One on the node's own network has the node's addresses.
        if pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false) {
            continue;
        }
        let addresses = pod.status.as_ref().and_then(|status| status.pod_ips.clone()).unwrap_or_default();
        for address in addresses.iter().filter_map(|one| one.ip.parse().ok()) {
            names.insert(address, name("pod", &|| (pod.namespace().unwrap_or_default(), pod.name_any())));
        }
    }
    for node in list::<Node>(&client).await {
        let addresses = node.status.as_ref().and_then(|status| status.addresses.clone()).unwrap_or_default();
        for address in addresses.iter().filter_map(|one| one.address.parse().ok()) {
            names.insert(address, node.name_any());
        }
    }
    names
}

/// Every object of a kind, or those that could be had.
async fn list<K>(client: &Client) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut found: Vec<K> = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    while let Ok(page) = api.list(&parameters).await {
        let more = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        found.extend(page.items);
        match more {
            Some(token) if found.len() < MAX_NAMES => parameters = parameters.continue_token(&token),
            _ => break,
        }
    }
    found
}
