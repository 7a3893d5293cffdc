//! Tools for language models, called by a client of the SDK as one would in a cluster.

use std::fs;

use serde_json::{Value, json};

use crate::{
    kubernetes::{leftovers, nodes},
    laptop,
    mcp::Client,
};

fn kinds(answer: &Value) -> Vec<&str> {
    answer["records"].as_array().into_iter().flatten().filter_map(|record| record["kind"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-cluster"]
async fn tools_report_watch_diagnose_capture_and_freeze_and_nothing_is_left() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let reader = Client::start(laptop::command(&["mcp"])).await;
    let listed = reader.answer("nodes", json!({})).await;
    let names: Vec<&str> =
        listed["records"].as_array().expect("nodes").iter().filter_map(|node| node["name"].as_str()).collect();
    assert_eq!(names, nodes());
    assert!(kinds(&reader.answer("preflight", json!({})).await).iter().all(|kind| *kind == "preflight_check"));
    assert_eq!(reader.refusal("ports", json!({"all": true})).await.0, "not_allowed");
    assert_eq!(reader.ended().await, Some(0));
    assert_eq!(leftovers(), "", "reading makes nothing");

    let client = Client::start(laptop::command(&["mcp", "--allow-changes", "--out", folder])).await;
    let ports = client.answer("ports", json!({"all": true})).await;
    assert_eq!(kinds(&ports).len(), nodes().len(), "{ports}");
    assert_eq!(leftovers(), "", "a tool leaves nothing");
    let node = nodes().remove(0);
    let signals = client.answer("signals", json!({"nodes": [node], "seconds": 5})).await;
    assert!(kinds(&signals).contains(&"watched") && kinds(&signals).contains(&"signal"), "{signals}");
    let found = client.answer("diagnose", json!({"nodes": [node], "seconds": 5})).await;
    assert!(kinds(&found).contains(&"looked"), "{found}");

    let start = json!({"nodes": [node], "seconds": 120, "recorder_seconds": 30});
    let armed = client.answer("capture_start", start).await;
    let session = armed["records"][0]["session"].clone();
    let freeze = json!({"session": session, "before_seconds": 10, "after_seconds": 5});
    let frozen = client.answer("capture_freeze", freeze).await;
    assert!(frozen["records"][0]["packets"].as_u64() > Some(0), "a kubelet talks all the time: {frozen}");
    let stopped = client.answer("capture_stop", json!({"session": session})).await;
    assert!(matches!(stopped["outcome"].as_str(), Some("done" | "partly")), "{stopped}");
    assert_eq!(leftovers(), "");

    client.answer("capture_start", json!({"nodes": [node], "seconds": 120})).await;
    let before = fs::read_dir(folder).expect("the folder").count();
    assert_eq!(client.ended().await, Some(0));
    assert_eq!(leftovers(), "", "the end of standard input");
    assert!(before > 0 && fs::read_dir(folder).expect("the folder").count() >= before);
}
