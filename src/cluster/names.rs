//! Names of pods and services for their addresses, for the readers of captures.
//!
//! Owns which objects have a name for an address. What may not be listed has none, and nobody waits long for any: a
//! capture is worth having all the same.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::time::timeout;

use super::{
    connect::Connection,
    fields::{Pod, Service},
    lists::{Selection, pages},
    metadata::Metadata,
};

/// More names than this help nobody.
const MAX_NAMES: usize = 100_000;
/// All of them are had within this time, or fewer are.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
    status: Option<NodeStatus>,
}

#[derive(Deserialize)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Deserialize)]
struct NodeAddress {
    #[serde(default)]
    address: String,
}

/// What is known after a while, the many last.
pub(super) async fn names(connection: &Connection) -> BTreeMap<IpAddr, String> {
    let names = Names::default();
    if timeout(WITHIN, gather(connection, &names)).await.is_err() {
        connection.calls.news.note(
            "some addresses have no name",
            format!("the API server did not list all pods within {} s", WITHIN.as_secs()),
        );
    }
    names.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

async fn gather(connection: &Connection, names: &Names) {
    let client = &connection.client;
    // A list that is refused has no names: the others have.
    let _ = pages(client, "/api/v1/services", Selection::default(), |service: Service| {
        names.add("svc", &service.metadata, service.addresses());
    })
    .await;
    let _ = pages(client, "/api/v1/nodes", Selection::default(), |node: Node| {
        let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
        names.add("", &node.metadata, addresses.iter().filter_map(|one| one.address.parse().ok()));
    })
    .await;
    let _ = pages(client, "/api/v1/pods", Selection::default(), |pod: Pod| {
        // One on the node's own network has the node's addresses.
        if !pod.is_on_host() {
            names.add("pod", &pod.metadata, pod.addresses());
        }
    })
    .await;
}

#[derive(Default)]
struct Names(Mutex<BTreeMap<IpAddr, String>>);

impl Names {
    fn add(&self, kind: &str, metadata: &Metadata, addresses: impl Iterator<Item = IpAddr>) {
        let Metadata { name, namespace, .. } = metadata;
        // Every change is one call, so the map is whole even if a holder panicked.
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            if names.len() < MAX_NAMES {
                let name = if kind.is_empty() { name.clone() } else { format!("{name}.{namespace}.{kind}") };
                names.insert(address, name);
            }
        }
    }
}
