//! What current servers say and older ones do not, in the words of a real Kubernetes 1.36.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_the_server_warns_of_is_told_once() {
    let test = scripted(|call| {
        let creates = call.method == Method::POST && call.path.ends_with("/jobs") && call.query.is_empty();
        creates.then(|| Answer::recorded("job-warned"))
    });
    test.deploy(&["n1", "n2"]).await;
    let told: Vec<String> = test
        .cluster
        .nodes()
        .take(2)
        .filter_map(|change| async move {
            let NodesChange::Told(notice) = change else { return None };
            Some(notice.headline)
        })
        .collect()
        .await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("would violate PodSecurity \"restricted:latest\""), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_is_taken_where_the_server_has_one() {
    let node = |name: &str| json!({"type": "ADDED", "object": {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": "7"}}});
    let end = json!({"type": "BOOKMARK", "object": {"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": "9",
        "annotations": {"k8s.io/initial-events-end": "true"}}}});
    let said = format!("{}\n{}\n{end}\n", node("a"), node("b"));
    let test = scripted(move |call| {
        let Answer::Says { code, headers, .. } = Answer::quiet() else { return None };
        let streams = call.query.contains("sendInitialEvents=true");
        streams.then(|| Answer::Says { code, headers, body: said.clone().into(), ends: false })
    });
    let Some(NodesChange::Replaced(nodes)) = test.cluster.nodes().next().await else { panic!("a list") };
    assert_eq!(nodes.len(), 2);
    assert!(test.server.lock().calls.iter().all(|call| call.query.contains("watch=true")), "nothing is listed twice");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_is_refused_or_not_known_is_a_plain_list() {
    // A real 1.36 with an old storage refuses in the stream; Kubernetes 1.20 refuses the call; others take it for a watch.
    let answers = [
        Answer::recorded("watchlist"),
        refusal(422, "Invalid", "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch").into(),
        Answer::quiet(),
    ];
    for answer in answers {
        let test = scripted(move |call| match (&call.path[..], call.query.contains("sendInitialEvents")) {
            ("/api/v1/nodes", true) => Some(answer.clone()),
            ("/api/v1/nodes", false) if !call.query.contains("watch") => Some(Answer::recorded("nodes")),
            _ => None,
        });
        let change = test.cluster.nodes().next().await;
        let Some(NodesChange::Replaced(nodes)) = change else { panic!("{change:?}") };
        assert_eq!(nodes.len(), 2, "as the real one has them");
    }
}

/// What is said of a NodePort's service, and what is not known.
async fn node_port(script: impl Fn(&Call) -> Option<Answer> + Send + 'static) -> (Option<bool>, Vec<String>) {
    let service = json!({"metadata": {"name": "web", "namespace": "a"}, "spec": {"selector": {"app": "web"},
        "ports": [{"port": 80, "nodePort": 30080}]}});
    let list = move |items: &[&Value]| Answer::from((200, json!({"kind": "List", "metadata": {}, "items": items})));
    let test = scripted(move |call| {
        let services = call.path == "/api/v1/services";
        if services { Some(list(&[&service])) } else { script(call) }
    });
    let expected = test.cluster.expected(vec!["n1".into()]).expect("a cluster").await;
    (expected.list.first().map(|one| one.ready), expected.gaps)
}

#[tokio::test(start_paused = true)]
async fn slices_say_whether_something_is_behind_a_port() {
    let slices = |call: &Call| call.path == "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices";
    let slice = |endpoints: Value| {
        let labels = json!({"kubernetes.io/service-name": "web"});
        let slice = json!({"metadata": {"name": "web-x", "namespace": "a", "labels": labels}, "endpoints": endpoints});
        move |call: &Call| slices(call).then(|| (200, json!({"metadata": {}, "items": [slice]})).into())
    };
    let known = async |endpoints| node_port(slice(endpoints)).await;
    assert_eq!(known(json!([{"addresses": ["10.0.0.1"], "conditions": {}}])).await, (Some(true), Vec::new()));
    assert_eq!(known(json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}])).await.0, Some(false));
    assert_eq!(known(Value::Null).await.0, Some(false), "its slice is empty");
    // As a real 1.36 lists them: none is of this service, so nothing is known of it.
    let real = node_port(move |call| slices(call).then(|| Answer::recorded("endpointslices"))).await;
    assert_eq!(real, (Some(true), Vec::new()));
    // Before 1.21.
    let old = json!({"metadata": {"name": "web", "namespace": "a"}, "subsets": []});
    let old = node_port(move |call| {
        (call.path == "/api/v1/namespaces/a/endpoints").then(|| (200, json!({"metadata": {}, "items": [old]})).into())
    });
    assert_eq!(old.await, (Some(false), Vec::new()));
    // A role of before.
    let (ready, gaps) = node_port(move |call| {
        slices(call).then(|| refusal(403, "Forbidden", "endpointslices is forbidden: User \"x\" cannot list").into())
    })
    .await;
    assert_eq!(ready, Some(true), "it is believed");
    assert!(gaps[0].contains("you need: list on endpointslices (discovery.k8s.io)"), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_policys_refusal_is_told_in_its_own_words_and_does_not_say_try_again() {
    for recording in ["job-refused-by-policy", "job-refused-by-quota"] {
        let test = scripted(move |call| {
            let creates = call.method == Method::POST && call.path.ends_with("/jobs") && call.query.is_empty();
            creates.then(|| Answer::recorded(recording))
        });
        let notice = test.refused_deployment().await;
        assert!(!notice.next_step.contains("try again"), "{notice:?}");
        let words = ["see go/net-exceptions", "exceeded quota: q, requested: count/jobs.batch=1"];
        assert!(words.iter().any(|words| notice.cause.contains(words)), "{notice:?}");
        assert_eq!(test.made(), [Kind::Namespace, Kind::ServiceAccount]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_warns_of_what_is_read_is_nobodys_news() {
    let test = scripted(|call| {
        let lists = call.path == "/api/v1/nodes" && !call.query.contains("watch");
        lists.then(|| Answer::recorded("nodes").with("warning", "299 - \"v1 Node is deprecated in v9.99+\""))
    });
    let mut changes = test.cluster.nodes();
    assert!(matches!(changes.next().await, Some(NodesChange::Replaced(_))));
    let more = tokio::time::timeout(Duration::from_secs(5), changes.next()).await;
    assert!(!matches!(more, Ok(Some(NodesChange::Told(_)))), "{more:?}");
}
