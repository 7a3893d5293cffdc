//! The DaemonSet that stands in for a program that is not there.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_daemonset_is_written_down_first_moved_with_the_end_and_removed_with_the_rest() {
    let settings = AgentSettings { reaper: true, daemonset: true, ..settings() };
    let test = test_with(settings, |_| None);
    test.deploy(&["n1"]).await;
    let what = StandIn { besides: vec!["n1".into()], ..StandIn::default() };
    let name = test.cluster.stand_in(what.clone()).await.expect("made");
    assert_eq!(name, "agents-00000001");
    let record = test.journals.all().remove(0).expect("readable");
    let known = |(_, object): &(u64, _)| {
        let object: &nodewatch_tui::model::MadeObject = object;
        object.kind == Kind::DaemonSet && object.uid.is_some()
    };
    assert!(record.objects.iter().any(known), "{record:?}");
    assert!(record.header.agents.is_some_and(|agents| agents.daemonset && agents.reaper));

    // Left a second time: it is changed and not made anew, and pods that run are left alone.
    let later = StandIn { orders: Orders { capture_ends: Some(7), ..Orders::default() }, ..what };
    test.cluster.set_image("registry.example/agent:2").expect("taken over");
    test.cluster.stand_in(later).await.expect("changed");
    let changed = test.server.lock().objects[&daemonset_path()].clone();
    let agent = &changed["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&agent["name"], &agent["image"]), (&json!("agent"), &json!("registry.example/agent:2")));
    let now = nodewatch_tui::base::clock::unix_millis();
    test.cluster.set_ends(now + 7_200_000).await.expect("moved");
    let daemonset = test.server.lock().objects[&daemonset_path()].clone();
    let annotations = &daemonset["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["nodewatch-tui/stand-in"].as_str().expect("text").contains("\"capture_ends\":7"));
    let ends: jiff::Timestamp = annotations["nodewatch-tui/ends"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!((ends.as_millisecond() as u64).abs_diff(now + 7_200_000) < 1000);
    // By name, as a list in a patch would take the place of the whole list.
    let patch = test
        .server
        .lock()
        .calls
        .iter()
        .rfind(|call| call.method == Method::PATCH && call.path == daemonset_path())
        .expect("a patch")
        .clone();
    assert_eq!(patch.content_type, "application/strategic-merge-patch+json");
    let agent = &patch.body["spec"]["template"]["spec"]["containers"][0];
    let variable = &agent["env"][0];
    assert_eq!(
        (agent["name"].as_str(), variable["name"].as_str()),
        (Some("agent"), Some("NODEWATCH_DEADLINE_SECONDS"))
    );
    let seconds: u64 = variable["value"].as_str().expect("text").parse().expect("a number");
    assert!((7190..=7200).contains(&seconds), "{seconds}");

    let found = leftovers(&test.connection, &test.journals).await.expect("sessions");
    let kinds: Vec<Kind> = found[0].summary.objects.iter().map(|seen| seen.object.kind).collect();
    assert!(kinds.contains(&Kind::DaemonSet), "{kinds:?}");
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::DaemonSet), Ok(()));
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
    assert!(test.journals.all().remove(0).expect("readable").is_over());
}

/// Who has no DaemonSet needs no right to look for one.
#[tokio::test(start_paused = true)]
async fn without_a_daemonset_nobody_needs_the_right_to_list_them() {
    let test = test(|call| {
        call.path.ends_with("/daemonsets").then(|| refusal(403, "Forbidden", "daemonsets.apps is forbidden"))
    });
    test.deploy(&["n1"]).await;
    assert_eq!(leftovers(&test.connection, &test.journals).await.expect("sessions").len(), 1);
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::Job), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_daemonset_says_which_right_is_missing() {
    let test = test(|call| {
        let creates = call.method == Method::POST && call.path.ends_with("/daemonsets");
        creates.then(|| refusal(403, "Forbidden", "daemonsets.apps is forbidden"))
    });
    test.deploy(&["n1"]).await;
    let notice = test.cluster.stand_in(StandIn::default()).await.expect_err("refused");
    assert!(notice.next_step.contains("create on daemonsets (apps)"), "{notice:?}");
    assert!(!test.made().contains(&Kind::DaemonSet));
}

/// Its agents are known by their pods alone, and are told of before anything else.
#[tokio::test(start_paused = true)]
async fn agents_of_a_daemonset_are_found_again_also_without_any_job() {
    let settings = AgentSettings { reaper: true, daemonset: true, ..settings() };
    let test = test_with(settings, |_| None);
    test.deploy(&["n1"]).await;
    test.cluster.stand_in(StandIn::default()).await.expect("made");
    let job = test.job_path();
    test.server.lock().objects.remove(&job);
    let labels = json!({"nodewatch-tui/session": "00000001", "nodewatch-tui/stand-in": "true"});
    let pod = json!({"metadata": {"name": "agents-x", "namespace": "nodewatch-00000001", "uid": "p", "labels": labels},
        "spec": {"nodeName": "joined"}});
    test.server.put(&format!("{NAMESPACE}/pods/agents-x"), pod);
    let told: Vec<(NodeName, DeployProgress)> = test.cluster.attach().take(2).collect().await;
    assert!(matches!(&told[0], (node, DeployProgress::Step(_)) if *node == "joined".into()), "{told:?}");
    assert!(matches!(&told[1], (node, DeployProgress::Ended(_)) if *node == "n1".into()), "{told:?}");
}
