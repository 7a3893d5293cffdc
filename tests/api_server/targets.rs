//! What targets are, as the API server has it: which lists are asked for, and what is made of their answers.

use nodewatch_tui::model::{Aimed, Target};

use super::*;

fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"metadata": {}, "items": items}))
}

fn pod(name: &str, node: &str, ip: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"nodeName": node},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]}})
}

fn query(call: &Call) -> String {
    urlencoding::decode(&call.query).expect("text").into_owned()
}

/// What is told first of these targets, so many times.
async fn told(test: &Test, targets: &[Target], times: usize) -> Vec<Result<Aimed, Notice>> {
    let found = test.cluster.aim(targets.to_vec()).expect("there are pods").take(times).collect();
    tokio::time::timeout(Duration::from_secs(300), found).await.expect("in time")
}

fn shown(aimed: &Aimed) -> String {
    let mut shown: Vec<String> = Vec::new();
    for (node, pods) in &aimed.nodes {
        shown.extend(pods.iter().map(|pod| format!("{} on {node} at {:?}", pod.name, pod.addresses)));
    }
    shown.extend(aimed.gaps.iter().cloned());
    shown.extend(aimed.missing.iter().map(|missing| format!("no {}, like {:?}", missing.target, missing.near)));
    shown.join("; ")
}

#[tokio::test(start_paused = true)]
async fn each_target_is_asked_for_where_it_is_and_by_what_it_is() {
    let test = test(|call| {
        let query = query(call);
        match call.path.as_str() {
            "/api/v1/namespaces/shop/pods" if query.contains("fieldSelector=metadata.name=web-0") => {
                Some(list(&[pod("web-0", "n1", "10.1.0.4")]))
            }
            "/api/v1/pods" if query.contains("labelSelector=app in (a,b)") => {
                let over = json!({"metadata": {"name": "job-1", "namespace": "shop"}, "spec": {"nodeName": "n1"},
                    "status": {"phase": "Succeeded"}});
                Some(list(&[pod("web-0", "n1", "10.1.0.4"), pod("web-1", "n2", "10.2.0.4"), over]))
            }
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
                if query.contains("labelSelector=kubernetes.io/service-name=web") =>
            {
                let endpoint = |name: &str, ip: &str, ready: bool| {
                    json!({"addresses": [ip], "nodeName": "n3", "conditions": {"ready": ready},
                        "targetRef": {"kind": "Pod", "name": name, "namespace": "shop"}})
                };
                let labels = json!({"kubernetes.io/service-name": "web"});
                let slice = |endpoints: &[Value]| json!({"metadata": {"name": "web-x", "namespace": "shop", "labels": labels}, "endpoints": endpoints});
                Some(list(&[
                    slice(&[endpoint("web-7", "10.3.0.7", true), endpoint("web-8", "10.3.0.8", false)]),
                    slice(&[endpoint("web-7", "fd00::7", true)]),
                ]))
            }
            _ => None,
        }
    });
    let targets = [
        Target::pod("shop/web-0").expect("a pod"),
        Target::pods(None, "app in (a,b)").expect("labels"),
        Target::service("shop/web").expect("a service"),
    ];
    let [Ok(aimed)] = &told(&test, &targets, 1).await[..] else { panic!("found") };
    assert_eq!(
        shown(aimed),
        "shop/web-0 on n1 at [10.1.0.4]; shop/web-1 on n2 at [10.2.0.4]; shop/web-7 on n3 at [10.3.0.7, fd00::7]; pod \
         shop/job-1 has ended (Succeeded)"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_has_names_that_are_like_it_and_a_service_without_pods_is_there() {
    let test = test(|call| match (call.path.as_str(), query(call).contains("fieldSelector=metadata.name=")) {
        ("/api/v1/namespaces/shop/pods", true) | ("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", _) => {
            Some(list(&[]))
        }
        ("/api/v1/namespaces/shop/pods", false) => {
            Some(list(&[pod("web-0", "n1", "10.1.0.4"), pod("db", "n1", "10.1.0.5")]))
        }
        ("/api/v1/namespaces/shop/services", true) => {
            Some(list(&[json!({"metadata": {"name": "idle", "namespace": "shop"}})]))
        }
        _ => None,
    });
    let targets = [Target::pod("shop/wep-0").expect("a pod"), Target::service("shop/idle").expect("a service")];
    let [Ok(aimed)] = &told(&test, &targets, 1).await[..] else { panic!("found") };
    assert_eq!(shown(aimed), "service shop/idle has no ready pods; no pod shop/wep-0, like [\"shop/web-0\"]");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_named_and_a_server_that_is_away_is_asked_again() {
    let mut times = 0;
    let test = test(move |call| {
        if !call.path.ends_with("/pods") {
            return None;
        }
        times += 1;
        Some(match times {
            1 => refusal(403, "Forbidden", "pods is forbidden: User \"me\" cannot list resource \"pods\""),
            2 => refusal(503, "Unavailable", "away"),
            _ => list(&[pod("web-0", "n1", "10.1.0.4")]),
        })
    });
    let target = [Target::pod("shop/web-0").expect("a pod")];
    // One that is away for a moment is asked again by the call itself.
    let [Err(denied), Ok(aimed)] = &told(&test, &target, 2).await[..] else { panic!("two") };
    assert_eq!(denied.failure, Failure::NotPermitted);
    assert!(denied.next_step.contains("list on pods") && denied.headline.contains("pod shop/web-0"), "{denied:?}");
    assert_eq!(shown(aimed), "shop/web-0 on n1 at [10.1.0.4]");
}

#[tokio::test(start_paused = true)]
async fn only_what_changes_is_told_and_a_rollout_is_one_change() {
    let mut times = 0;
    let test = test(move |call| {
        if !call.path.ends_with("/pods") {
            return None;
        }
        times += 1;
        Some(list(&match times {
            1..=4 => vec![pod("web-0", "n1", "10.1.0.4")],
            5 => vec![],
            _ => vec![pod("web-0", "n2", "10.2.0.4")],
        }))
    });
    let target = [Target::pods(Some("shop"), "app=web").expect("labels")];
    let found = told(&test, &target, 2).await;
    let shown: Vec<String> = found.iter().map(|found| shown(found.as_ref().expect("found"))).collect();
    assert_eq!(shown, ["shop/web-0 on n1 at [10.1.0.4]", "shop/web-0 on n2 at [10.2.0.4]"]);
}
