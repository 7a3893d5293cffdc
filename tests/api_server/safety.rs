//! Nothing of others is touched: what keeps a session's own namespace, and what does not.

use super::*;

fn resource(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "singularName": "", "namespaced": true, "verbs": ["create", "delete", "list"]})
}

/// A server with some kinds more than the plain one.
fn kinds(call: &Call) -> Option<(u16, Value)> {
    let list = |version: &str, resources: Value| {
        Some((200, json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources})))
    };
    match call.path.as_str() {
        "/api/v1" => list(
            "v1",
            json!([
                resource("configmaps", "ConfigMap"),
                resource("secrets", "Secret"),
                resource("pods", "Pod"),
                resource("limitranges", "LimitRange"),
                resource("serviceaccounts", "ServiceAccount")
            ]),
        ),
        "/apis" => {
            let group = |name: &str| {
                let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
                json!({"name": name, "versions": [version], "preferredVersion": version})
            };
            Some((200, json!({"kind": "APIGroupList", "groups": [group("apps"), group("networking.k8s.io")]})))
        }
        "/apis/apps/v1" => {
            list("apps/v1", json!([resource("replicasets", "ReplicaSet"), resource("deployments", "Deployment")]))
        }
        "/apis/networking.k8s.io/v1" => {
            list("networking.k8s.io/v1", json!([resource("networkpolicies", "NetworkPolicy")]))
        }
        _ => None,
    }
}

/// Whether it is the list of that kind in the session's namespace.
fn lists(call: &Call, plural: &str) -> bool {
    call.method == Method::GET && call.path.ends_with(&format!("/nodewatch-00000001/{plural}"))
}

#[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "as scripts answer")]
fn items(items: Value) -> Option<(u16, Value)> {
    Some((200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})))
}

/// Quiet answers for the kinds that the plain server has no lists of.
fn nothing_more(call: &Call) -> Option<(u16, Value)> {
    let plurals = ["secrets", "replicasets", "deployments", "networkpolicies", "limitranges"];
    if plurals.iter().any(|plural| lists(call, plural)) { items(json!([])) } else { kinds(call) }
}

fn notes(test: &Test) {
    test.server.put(&format!("{NAMESPACE}/configmaps/precious"), json!({"metadata": {"name": "precious", "uid": "n"}}));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_tried_again_and_what_it_shows_counts() {
    let (mut failures, mut leaving) = (2, false);
    let test = test(move |call| {
        leaving |= call.method == Method::DELETE;
        if lists(call, "configmaps") && leaving && failures > 0 {
            failures -= 1;
            return Some(refusal(500, "InternalError", "etcdserver: request timed out"));
        }
        nothing_more(call)
    });
    test.deploy(&["n1"]).await;
    notes(&test);
    let reason = fate(&test.removals(Keep::new()).await, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("ConfigMap precious") && reason.contains("--with-namespace-contents"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_list_or_a_group_that_never_answers_keeps_the_namespace() {
    for (path, code) in [("/configmaps", 500), ("/configmaps", 404), ("/configmaps", 429), ("/apis/apps/v1", 503)] {
        let test = test(move |call| {
            if call.method == Method::GET && call.path.ends_with(path) {
                return Some(refusal(code, "Failed", "not this time"));
            }
            nothing_more(call)
        });
        test.deploy(&["n1"]).await;
        let removals = test.removals(Keep::new()).await;
        let reason = fate(&removals, Kind::Namespace).expect_err("it stays");
        assert!(reason.contains("its contents cannot be listed") && reason.contains("not this time"), "{reason}");
        assert!(test.server.lock().objects.contains_key(NAMESPACE), "{path} {code}");
    }
}

/// Servers beside the API server need not know the form in which only what every object has is listed.
#[tokio::test(start_paused = true)]
async fn a_kind_whose_server_lists_only_whole_objects_is_looked_at_all_the_same() {
    let mut asked = 0;
    let test = test(move |call| {
        if !lists(call, "configmaps") {
            return nothing_more(call);
        }
        // Each list of whole objects follows a refused one.
        asked += 1;
        (asked % 2 == 1).then(|| refusal(406, "NotAcceptable", "the server was unable to respond with a content type"))
    });
    test.deploy(&["n1"]).await;
    notes(&test);
    let reason = fate(&test.removals(Keep::new()).await, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("ConfigMap precious"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_listed_is_said() {
    let test = test(|call| {
        if lists(call, "secrets") {
            return Some(refusal(
                403,
                "Forbidden",
                "secrets is forbidden: User \"me\" cannot list resource \"secrets\"",
            ));
        }
        nothing_more(call)
    });
    test.deploy(&["n1"]).await;
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
    let said = removals.iter().any(|one| matches!(one, Removal::Noted(text) if text.contains("secrets")));
    assert!(said, "{removals:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_goes_by_its_owners_only_when_they_were_seen() {
    let owned = |name: &str, uid: &str, kind: &str, owner: &str| {
        json!({"metadata": {"name": name, "uid": uid,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": owner}]}})
    };
    // The owner may not be listed: the pod is what is seen.
    let pod = owned("bare-x", "p", "ReplicaSet", "bare");
    let server = test({
        let pod = pod.clone();
        move |call| match () {
            () if lists(call, "pods") && !call.query.contains("labelSelector") => items(json!([pod])),
            () if lists(call, "replicasets") => Some(refusal(403, "Forbidden", "replicasets is forbidden")),
            () => nothing_more(call),
        }
    });
    server.deploy(&["n1"]).await;
    let reason = fate(&server.removals(Keep::new()).await, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("Pod bare-x"), "{reason}");

    // The whole chain is seen: its top is named.
    let chained = owned("web-1-x", "p", "ReplicaSet", "web-1");
    let set = owned("web-1", "web-1", "Deployment", "web");
    let server = test(move |call| match () {
        () if lists(call, "pods") && !call.query.contains("labelSelector") => items(json!([chained])),
        () if lists(call, "replicasets") => items(json!([set])),
        () if lists(call, "deployments") => items(json!([{"metadata": {"name": "web", "uid": "web"}}])),
        () => nothing_more(call),
    });
    server.deploy(&["n1"]).await;
    let reason = fate(&server.removals(Keep::new()).await, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("Deployment web") && !reason.contains("Pod"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_policies_put_there_keeps_no_namespace() {
    let mut made = 0;
    let test = test(move |call| match () {
        () if lists(call, "secrets") => {
            made += 1;
            // Synced anew each time.
            items(json!([{"metadata": {"name": "registry", "uid": format!("s{made}")}},
                {"metadata": {"name": "late", "uid": "l", "labels": {"generate.kyverno.io/policy-name": "sync"}}}]))
        }
        () if lists(call, "networkpolicies") => {
            items(json!([{"metadata": {"name": "deny", "uid": "d", "labels": {"app.kubernetes.io/managed-by": "x"}}}]))
        }
        () if lists(call, "limitranges") => items(json!([{"metadata": {"name": "limits", "uid": "r"}}])),
        () => nothing_more(call),
    });
    test.deploy(&["n1"]).await;
    // Another program goes on with the session.
    let record = test.journals.all().into_iter().flatten().next().expect("a journal");
    assert_eq!(record.before, BTreeSet::from(["Secret/registry".to_owned()]));
    assert_eq!(fate(&test.removals(Keep::new()).await, Kind::Namespace), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn every_page_is_looked_at() {
    let mut deployed = false;
    let test = test(move |call| {
        deployed |= call.method == Method::POST && call.path.ends_with("/jobs") && !call.query.contains("dryRun");
        if !lists(call, "configmaps") || !deployed {
            return nothing_more(call);
        }
        assert!(call.query.contains("limit="), "{}", call.query);
        if call.query.contains("continue=next") {
            return items(json!([{"metadata": {"name": "last", "uid": "z"}}]));
        }
        let metadata = json!({"resourceVersion": "1", "continue": "next"});
        let first = json!([{"metadata": {"name": "kube-root-ca.crt", "uid": "a"}}]);
        Some((200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": first})))
    });
    test.deploy(&["n1"]).await;
    let reason = fate(&test.removals(Keep::new()).await, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("ConfigMap last"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_others_have_there_goes_only_as_it_was_named() {
    let test = test(nothing_more);
    test.deploy(&["n1"]).await;
    notes(&test);
    let Test { server, connection, cluster, journals, folder: _folder } = test;
    drop(cluster);
    let find = || async {
        let found = leftovers(&connection, &journals).await.expect("an answer");
        found.into_iter().next().expect("a session")
    };
    let session = find().await;
    let (named, hidden) = session.strangers(&journals, Duration::from_secs(10)).await.expect("an answer");
    assert_eq!((named, hidden), (vec!["ConfigMap precious".to_owned()], vec![]));

    // Something else has come since.
    let others = BTreeSet::from(["ConfigMap another".to_owned()]);
    let removals = news(session.remove_with(journals.clone(), Duration::from_secs(10), others)).await;
    let reason = fate(&removals, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("ConfigMap precious"), "{reason}");

    let others = BTreeSet::from(["ConfigMap precious".to_owned()]);
    let removals = news(find().await.remove_with(journals.clone(), Duration::from_secs(10), others)).await;
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
    assert!(!server.lock().objects.contains_key(NAMESPACE));
}

/// A session that was begun at another address of the same cluster, and is not open any more.
fn moved() -> (Server, Connection, Journals, tempfile::TempDir, impl Future<Output = ()>) {
    let Test { server, connection, cluster, journals, folder } = test(nothing_more);
    let path = folder.path().join("sessions/00000001.json");
    let begin = async move {
        let progress = cluster.deploy(vec!["n1".into()]);
        drop(tokio::time::timeout(Duration::from_secs(100), progress.take(1).collect::<Vec<_>>()).await);
        drop(cluster);
        let text = std::fs::read_to_string(&path).expect("a journal");
        assert!(text.contains("\"server\":\"\""), "{text}");
        std::fs::write(&path, text.replacen("\"server\":\"\"", "\"server\":\"https://old.example\"", 1))
            .expect("written");
    };
    (server, connection, journals, folder, begin)
}

#[tokio::test(start_paused = true)]
async fn the_same_cluster_by_another_way_is_asked_about_and_then_written_down() {
    let (server, connection, journals, _folder, begin) = moved();
    begin.await;
    let find = || async { leftovers(&connection, &journals).await.expect("an answer").remove(0) };
    let session = find().await;
    assert!(session.summary.moved);
    let notice = session.plan(&journals, Duration::from_secs(10)).await.expect_err("a question");
    assert_eq!(notice.failure, Failure::Moved);
    let line = notice.line();
    assert!(line.contains("https://old.example") && line.contains("--trust-cluster cluster-1"), "{line}");
    let removals = news(session.remove(journals.clone(), Duration::from_secs(10))).await;
    assert!(matches!(&removals[0], Removal::Refused(_)), "{removals:?}");
    assert_eq!(server.called(&Method::DELETE), [""; 0]);

    let wrong = trust_cluster(Some(&connection), &journals, "cluster-2").await.expect_err("no such cluster");
    assert!(wrong.line().contains("cluster-1"), "{}", wrong.line());
    trust_cluster(Some(&connection), &journals, "cluster-1").await.expect("trusted");
    let session = find().await;
    assert!(!session.summary.moved, "it is written down");
    let removals = news(session.remove(journals.clone(), Duration::from_secs(10))).await;
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_never_trusted() {
    let (server, connection, journals, _folder, begin) = moved();
    begin.await;
    server.put("/api/v1/namespaces/kube-system", json!({"metadata": {"name": "kube-system", "uid": "cluster-2"}}));
    let notice = trust_cluster(Some(&connection), &journals, "cluster-1").await.expect_err("another cluster");
    assert!(notice.line().contains("was cluster-1 and is cluster-2"), "{}", notice.line());
    let record = journals.all().remove(0).expect("a journal");
    assert_eq!(record.header.cluster.server, "https://old.example");
}
