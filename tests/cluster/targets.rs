//! Captures of pods, on a real cluster: `make test-cluster`.

use std::{net::UdpSocket, path::Path, time::Duration};

use nodewatch_testing::{
    packets::tshark,
    program::{self, errors, line_with, said},
};
use serde_json::json;

use crate::{
    kubernetes::{Applied, apply, kubectl, kubectl_json, leftovers, nodes, until},
    laptop::{self, output_to},
};

const POD: &str = "nodewatch-target";

/// A pod on that node, with its own address, once it has one.
fn pod_on(node: &str) -> (Applied, String) {
    let pod = apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": "default"},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "localhost/pause:1"}]}}));
    let address = || kubectl_json(&["get", "pod", POD, "-n", "default"])["status"]["podIP"].as_str().map(str::to_owned);
    until("the pod's address", Duration::from_secs(60), || address().is_some());
    (pod, address().expect("just seen"))
}

/// Files of a node have the packets that were sent to that address.
fn has_packets_to(out: &Path, node: &str, address: &str) -> bool {
    let files = std::fs::read_dir(out.join(node)).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "pcapng"))
        .any(|path| tshark(&path, &["ip.dst", "udp.dstport"]).iter().any(|row| row[0] == address && row[1] == "9999"))
}

/// A pod is deleted and comes back on the other node: each node has its packets of that time, in whole files.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_capture_goes_with_a_pod_to_another_node() {
    let nodes = nodes();
    let (first, second) = (nodes[0].as_str(), nodes[1].as_str());
    let out = tempfile::tempdir().expect("a folder");
    let (pod, address) = pod_on(first);
    let name = format!("default/{POD}");
    let folder = out.path().to_str().expect("a path");
    // Files come home as they close, so that what they have can be waited for.
    let mut child = laptop::start(&[
        "capture",
        "--pod",
        &name,
        "--filter",
        "udp port 9999",
        "--rotate-time",
        "2s",
        "--out",
        folder,
    ]);
    let mut lines = errors(&mut child);
    // From the node itself a pod can be reached wherever its network leads; nobody answers there.
    let send = |to: &str| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
        // A refusal of one packet is told at the next.
        let _ = socket.send_to(b"to the pod", format!("{to}:9999"));
    };
    let arrive = |node: &str, to: &str| {
        until(&format!("packets of {node} are here"), Duration::from_secs(60), || {
            send(to);
            has_packets_to(out.path(), node, to)
        });
    };
    line_with(&mut lines, &format!("{first}: live"));
    arrive(first, &address);
    drop(pod);
    let there = || kubectl(&["get", "pod", POD, "-n", "default", "--ignore-not-found", "-o", "name"]);
    until("the pod is gone", Duration::from_secs(60), || there().trim().is_empty());
    let (_pod, other) = pod_on(second);
    line_with(&mut lines, &format!("{second}: an agent and the capture are added"));
    arrive(second, &other);
    program::kill(&child, "INT");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pod_that_is_not_there_is_refused_with_names_that_are_like_it() {
    let (_pod, _) = pod_on(&nodes()[0]);
    let refused = output_to(2, &["capture", "--pod", "default/nodewatch-targte", "--duration", "5s"]);
    let told = said(&refused);
    assert!(told.contains("not found: pod default/nodewatch-targte") && told.contains(POD), "{told}");
    let refused = said(&output_to(2, &["capture", "--pods", "-l", "app=none", "-n", "default"]));
    assert!(refused.contains("no pods with app=none in default"), "{refused}");
    assert_eq!(leftovers(), "");
}
