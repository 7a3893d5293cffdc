//! The cluster layer against a scripted API server: refusals, odd answers, and what exactly is asked of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use nodewatch_tui::{
    cluster::{AgentSettings, Cluster, Connection},
    model::{DeployProgress, Failure, NodeName, NodesChange, Notice, Place, Removal, SessionId},
    site::Site,
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/api/v1/namespaces/nodewatch-00000001";

/// Every call that the server got: method, path, body.
type Calls = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A cluster whose server answers with this; watches are left unanswered, as quiet ones are.
fn cluster(mut answer: impl FnMut(&Method, &str, &Value) -> (u16, Value) + Send + 'static) -> (Cluster, Calls) {
    let (service, mut server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let calls = Calls::default();
    let seen = Arc::clone(&calls);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((request, respond)) = server.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.expect("a body");
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let watched = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
            let path = parts.uri.path().to_owned();
            let answered = (!watched).then(|| answer(&parts.method, &path, &body));
            seen.lock().expect("whole").push((parts.method, path, body));
            match answered {
                Some((code, value)) => {
                    let body = Body::from(value.to_string().into_bytes());
                    respond.send_response(Response::builder().status(code).body(body).expect("a response"));
                }
                None => unanswered.push(respond),
            }
        }
    });
    let connection = Connection::over(Client::new(service, "default"), Place::Local);
    let settings = AgentSettings { image: "agent:1".into(), pull_policy: None, budget: Duration::from_secs(600) };
    (Cluster::new(connection, SessionId::new(1), settings), calls)
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "code": code, "reason": reason, "message": message});
    (code, status)
}

/// The object as it was sent, with the UID that a server gives.
fn created(body: &Value) -> (u16, Value) {
    let mut object = body.clone();
    object["metadata"]["uid"] = json!(format!("uid-of-{}", object["kind"].as_str().unwrap_or("?")));
    (201, object)
}

fn empty_list() -> (u16, Value) {
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}))
}

async fn first_failure(cluster: &Cluster) -> Notice {
    match cluster.nodes().next().await {
        Some(NodesChange::Failed(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

async fn deployed(cluster: &Cluster) -> (NodeName, DeployProgress) {
    let mut progress = cluster.deploy(vec!["n1".into()]);
    let first = tokio::time::timeout(Duration::from_secs(10), progress.next()).await.expect("in time");
    first.expect("the node's progress")
}

async fn removals(cluster: &Cluster) -> Vec<Removal> {
    let all = cluster.remove().filter(|removal| {
        let news = !matches!(removal, Removal::Removing(_));
        async move { news }
    });
    tokio::time::timeout(Duration::from_secs(10), all.collect()).await.expect("in time")
}

#[tokio::test]
async fn a_forbidden_list_names_the_missing_right() {
    let (cluster, _) = cluster(|_, _, _| refusal(403, "Forbidden", "nodes is forbidden: User \"x\""));
    let notice = first_failure(&cluster).await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert_eq!(
        notice.line(),
        "cannot list the nodes: nodes is forbidden: User \"x\" (you need: list and watch on nodes)"
    );
}

#[tokio::test]
async fn expired_credentials_say_how_to_renew_them() {
    let (cluster, _) = cluster(|_, _, _| refusal(401, "Unauthorized", "Unauthorized"));
    let notice = first_failure(&cluster).await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert!(notice.next_step.contains("aws sso login"), "{notice:?}");
}

#[tokio::test]
async fn bytes_that_are_no_kubernetes_are_a_notice() {
    let (cluster, _) = cluster(|_, _, _| (200, json!("\u{1b}[2J not a list")));
    assert!(first_failure(&cluster).await.headline.contains("cannot list the nodes"));
}

#[tokio::test]
async fn a_refused_namespace_fails_the_node_and_nothing_was_made() {
    let (cluster, calls) = cluster(|_, _, _| refusal(403, "Forbidden", "namespaces is forbidden"));
    let (node, progress) = deployed(&cluster).await;
    let DeployProgress::Failed(notice) = progress else { panic!("{progress:?}") };
    assert_eq!((node.0.as_str(), notice.failure), ("n1", Failure::NotPermitted));
    assert!(notice.next_step.contains("create on namespaces"), "{notice:?}");
    assert!(cluster.made().is_empty());
    assert_eq!(calls.lock().expect("whole").len(), 1);
}

#[tokio::test]
async fn a_refused_job_leaves_what_was_made_on_the_list() {
    let (cluster, _) = cluster(|method, path, body| match (method, path) {
        (&Method::POST, path) if path.ends_with("/jobs") => refusal(403, "Forbidden", "exceeded quota: jobs"),
        (&Method::POST, _) => created(body),
        _ => empty_list(),
    });
    let (_, progress) = deployed(&cluster).await;
    let DeployProgress::Failed(notice) = progress else { panic!("{progress:?}") };
    assert!(notice.cause.contains("exceeded quota"), "{notice:?}");
    let made: Vec<&str> = cluster.made().iter().map(|object| object.kind).collect();
    assert_eq!(made, ["Namespace", "ServiceAccount"]);
}

#[tokio::test]
async fn removal_is_by_uid_and_label_and_believes_what_it_sees() {
    let gone = Arc::new(Mutex::new(false));
    let deleted = Arc::clone(&gone);
    let (cluster, calls) = cluster(move |method, path, body| {
        let labels = json!({"nodewatch-tui/session": "00000001"});
        match *method {
            Method::POST => created(body),
            // Somebody has made a service account of the same name anew.
            Method::GET if path.ends_with("/serviceaccounts/nodewatch-agent") => {
                (200, json!({"metadata": {"name": "nodewatch-agent", "uid": "another", "labels": labels}}))
            }
            Method::GET if path == NAMESPACE => {
                let mut gone = deleted.lock().expect("whole");
                let there = json!({"metadata": {"name": "nodewatch-00000001", "uid": "uid-of-Namespace",
                    "labels": labels, "finalizers": ["kubernetes"]}});
                if *gone {
                    refusal(404, "NotFound", "not found")
                } else {
                    *gone = false;
                    (200, there)
                }
            }
            Method::GET if path.contains("/jobs/") => {
                (200, json!({"metadata": {"name": "agent", "uid": "uid-of-Job", "labels": {}}}))
            }
            Method::DELETE => {
                *deleted.lock().expect("whole") = true;
                (200, json!({"metadata": {"name": "nodewatch-00000001", "uid": "uid-of-Namespace"}}))
            }
            _ => empty_list(),
        }
    });
    assert!(matches!(deployed(&cluster).await.1, DeployProgress::Step(_)));
    let removals = removals(&cluster).await;
    let fate = |kind: &str| {
        removals.iter().find_map(|removal| match removal {
            Removal::Gone(object) if object.kind == kind => Some(String::new()),
            Removal::Failed(object, reason) if object.kind == kind => Some(reason.clone()),
            _ => None,
        })
    };
    assert_eq!(fate("Namespace").as_deref(), Some(""));
    assert_eq!(fate("ServiceAccount").as_deref(), Some(""), "another UID means that ours is gone");
    assert!(fate("Job").is_some_and(|reason| reason.contains("left alone")), "it lost its label: {removals:?}");
    assert_eq!(removals.last(), Some(&Removal::Finished));
    assert_eq!(cluster.made().len(), 1);

    let calls = calls.lock().expect("whole");
    let deletes: Vec<_> = calls.iter().filter(|call| call.0 == Method::DELETE).collect();
    assert_eq!(deletes.len(), 1, "only what is ours is deleted: {deletes:?}");
    assert_eq!((deletes[0].1.as_str(), &deletes[0].2["preconditions"]["uid"]), (NAMESPACE, &json!("uid-of-Namespace")));
}

#[tokio::test]
async fn what_is_gone_already_is_done() {
    let (cluster, calls) = cluster(|method, path, body| match *method {
        Method::POST => created(body),
        Method::GET if path.contains("/nodewatch-") || path.contains("/jobs/") => refusal(404, "NotFound", "not found"),
        _ => empty_list(),
    });
    assert!(matches!(deployed(&cluster).await.1, DeployProgress::Step(_)));
    let removals = removals(&cluster).await;
    assert_eq!(removals.iter().filter(|removal| matches!(removal, Removal::Gone(_))).count(), 3, "{removals:?}");
    assert!(cluster.made().is_empty());
    assert!(calls.lock().expect("whole").iter().all(|call| call.0 != Method::DELETE));
}

#[tokio::test]
async fn without_the_right_to_delete_the_object_is_reported_as_left() {
    let (cluster, _) = cluster(|method, path, body| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let kind = if path.contains("/jobs") {
            "Job"
        } else if path.contains("/serviceaccounts") {
            "ServiceAccount"
        } else {
            "Namespace"
        };
        let labels = json!({"nodewatch-tui/session": "00000001"});
        match *method {
            Method::POST => created(body),
            Method::GET if path.ends_with("/pods") || path.ends_with("/events") => empty_list(),
            Method::GET => {
                (200, json!({"metadata": {"name": name, "uid": format!("uid-of-{kind}"), "labels": labels}}))
            }
            _ => refusal(403, "Forbidden", "you may not delete"),
        }
    });
    assert!(matches!(deployed(&cluster).await.1, DeployProgress::Step(_)));
    let removals = removals(&cluster).await;
    let left = removals.iter().filter(|removal| {
        matches!(removal, Removal::Failed(_, reason) if reason.contains("you may not delete") && reason.contains("you need"))
    });
    assert_eq!(left.count(), 3, "{removals:?}");
    assert_eq!(cluster.made().len(), 3);
}
