//! What is changed in the cluster, as the answers' journal hears it: from lists and watches, and what may not be heard.

use std::collections::BTreeMap;

use nodewatch_answers::{Journal, News, PodPhase, Source};

use super::*;

const PODS: &str = "/api/v1/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

fn pod(name: &str, version: u32) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version.to_string()},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "podIPs": [{"ip": address(name).to_string()}],
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn address(name: &str) -> std::net::IpAddr {
    let last = name.bytes().last().unwrap_or_default();
    std::net::Ipv4Addr::new(10, 0, 0, last).into()
}

fn list(items: &[Value]) -> Answer {
    (200, json!({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})).into()
}

/// A watch that says this and stays open.
fn says(events: &[Value]) -> Answer {
    let Answer::Says { code, headers, .. } = Answer::quiet() else { panic!("a watch") };
    let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
    Answer::Says { code, headers, body: lines.concat().into(), ends: false }
}

/// A cluster with nothing in it, unless this says otherwise: to the call, and the how-many-th of its kind that is, a list or
/// a watch, from 1.
fn cluster(mut script: impl FnMut(&str, bool, usize) -> Option<Answer> + Send + 'static) -> Test {
    let mut counts: BTreeMap<(String, bool), usize> = BTreeMap::new();
    scripted(move |call| {
        let watches = call.query.contains("watch=true");
        if call.query.contains("sendInitialEvents") {
            return Some(refusal(422, "Invalid", "sendInitialEvents is forbidden for watch").into());
        }
        let count = counts.entry((call.path.clone(), watches)).or_default();
        *count += 1;
        script(&call.path, watches, *count).or_else(|| (!watches).then(|| list(&[])))
    })
}

/// Takes in what is said until that is so, and hands out what could not be heard.
async fn hear(test: &Test, journal: &mut Journal, until: impl Fn(&Journal, &[Notice]) -> bool) -> Vec<Notice> {
    let mut changes = test.cluster.changes().expect("a cluster");
    let mut notices = Vec::new();
    let all = async {
        while !until(journal, &notices) {
            match changes.next().await.expect("it goes on for good") {
                Ok(news) => journal.take_in(1_000, news),
                Err(notice) => notices.push(notice),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(3_600), all).await.expect("in time");
    notices
}

fn phase(journal: &Journal, name: &str) -> Option<PodPhase> {
    journal.pod_at(address(name), 2_000).map(|pod| pod.phase)
}

fn lists(test: &Test, path: &str) -> usize {
    let is_list = |call: &&Call| call.path == path && !call.query.contains("watch=true");
    test.server.lock().calls.iter().filter(is_list).count()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_deleted_while_it_is_watched_is_terminating_and_then_gone() {
    let test = cluster(|path, watches, count| match (path, watches, count) {
        (PODS, false, _) => Some(list(&[pod("a", 1), pod("b", 1)])),
        (PODS, true, 1) => {
            let mut leaving = pod("a", 2);
            leaving["metadata"]["deletionTimestamp"] = json!("2026-11-26T12:00:30Z");
            leaving["metadata"]["deletionGracePeriodSeconds"] = json!(30);
            let gone = json!({"type": "DELETED", "object": leaving.clone()});
            Some(says(&[json!({"type": "MODIFIED", "object": leaving}), gone]))
        }
        _ => None,
    });
    let mut journal = Journal::default();
    let mut phases = Vec::new();
    let mut changes = test.cluster.changes().expect("a cluster");
    while phases.last() != Some(&PodPhase::Gone) {
        let news = changes.next().await.expect("it goes on").expect("all may be heard");
        journal.take_in(1_000, news);
        phases.extend(phase(&journal, "a").filter(|phase| phases.last() != Some(phase)));
    }
    assert_eq!(phases, [PodPhase::Ready, PodPhase::Terminating, PodPhase::Gone]);
    assert_eq!(phase(&journal, "b"), Some(PodPhase::Ready));
    let deleted = journal.pod_at(address("a"), 2_000).and_then(|pod| pod.deleted);
    assert_eq!(deleted, Some(1_795_694_400_000), "when it was asked for, not when its grace is over");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_a_deaf_source_told_once_and_asked_for_ever_more_rarely() {
    let test = cluster(|path, watches, count| {
        let refused = refusal(403, "Forbidden", "pods is forbidden: User \"me\" cannot list resource \"pods\"");
        (path == PODS && !watches && count <= 16).then(|| refused.into())
    });
    let mut journal = Journal::default();
    let others = |journal: &Journal, notices: &[Notice]| journal.blind().len() == 2 && !notices.is_empty();
    let notices = hear(&test, &mut journal, others).await;
    assert_eq!(journal.blind(), [Source::Pods, Source::Nodes], "the others are heard; nodes are the session's to hear");
    assert_eq!(
        notices[0].line(),
        "answers do not know what is changed in pods: pods is forbidden: User \"me\" cannot list resource \"pods\" (you \
         need: list and watch on pods of all namespaces)"
    );
    // Some fifty minutes of it, and then it is allowed.
    let begin = tokio::time::Instant::now();
    let notices = hear(&test, &mut journal, |journal, _| journal.since(Source::Pods).is_some()).await;
    assert_eq!(notices.len(), 1);
    let minutes = begin.elapsed().as_secs() / 60;
    assert!(lists(&test, PODS) == 17 && minutes > 45, "{} lists in {minutes} min", lists(&test, PODS));
}

#[tokio::test(start_paused = true)]
async fn a_list_without_its_watch_is_deaf_too_and_not_listed_again_and_again() {
    let test = cluster(|path, watches, _| {
        let refused =
            refusal(403, "Forbidden", "services is forbidden: User \"me\" cannot watch resource \"services\"");
        (path == "/api/v1/services" && watches).then(|| refused.into())
    });
    let mut journal = Journal::default();
    let mut notices = Vec::new();
    let mut changes = test.cluster.changes().expect("a cluster");
    let half_an_hour = tokio::time::sleep(Duration::from_secs(1_800));
    tokio::pin!(half_an_hour);
    loop {
        tokio::select! {
            () = &mut half_an_hour => break,
            change = changes.next() => match change.expect("it goes on for good") {
                Ok(news) => journal.take_in(1_000, news),
                Err(notice) => notices.push(notice),
            },
        }
    }
    assert_eq!(journal.blind(), [Source::Services, Source::Nodes]);
    assert!(notices.len() == 1 && notices[0].next_step.contains("list and watch on services"), "{notices:?}");
    let lists = lists(&test, "/api/v1/services");
    assert!((2..=11).contains(&lists), "{lists} lists");
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_place_was_forgotten_is_listed_anew_and_what_the_list_lacks_is_gone() {
    let test = cluster(|path, watches, count| match (path, watches, count) {
        (PODS, false, 1) => Some(list(&[pod("a", 1), pod("b", 1)])),
        (PODS, false, _) => Some(list(&[pod("b", 1)])),
        (PODS, true, 1) => {
            let status = refusal(410, "Expired", "too old resource version: 1 (7)").1;
            Some(says(&[json!({"type": "ERROR", "object": status})]))
        }
        _ => None,
    });
    let mut journal = Journal::default();
    let mut news = Vec::new();
    let mut changes = test.cluster.changes().expect("a cluster");
    while phase(&journal, "a") != Some(PodPhase::Gone) {
        let one = changes.next().await.expect("it goes on").expect("all may be heard");
        journal.take_in(1_000, one.clone());
        news.push(one);
    }
    assert_eq!(phase(&journal, "b"), Some(PodPhase::Ready));
    assert!(!news.contains(&News::Deaf(Source::Pods)), "nothing is missed: {news:?}");
    assert_eq!(lists(&test, PODS), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_deaf_meanwhile_and_never_asked_in_a_hurry() {
    let test = cluster(|path, watches, count| match (path, watches, count) {
        (PODS, true, 1) | (PODS, false, 2..=30) => Some(refusal(503, "ServiceUnavailable", "away").into()),
        _ => None,
    });
    let mut journal = Journal::default();
    let begin = tokio::time::Instant::now();
    let (mut deaf, mut changes) = (0, test.cluster.changes().expect("a cluster"));
    while deaf == 0 || journal.since(Source::Pods).is_none() {
        let news = changes.next().await.expect("it goes on").expect("it is no refusal");
        deaf += usize::from(news == News::Deaf(Source::Pods));
        journal.take_in(1_000, news);
    }
    assert_eq!(deaf, 1, "said once");
    let (lists, seconds) = (lists(&test, PODS), begin.elapsed().as_secs());
    assert!(lists >= 31 && seconds > 45, "{lists} lists in {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_server_before_1_21_has_slices_in_their_older_form() {
    let test = cluster(|path, watches, _| match (path, watches) {
        (SLICES, _) => Some(refusal(404, "NotFound", "the server could not find the requested resource").into()),
        ("/apis/discovery.k8s.io/v1beta1/endpointslices", false) => Some(list(&[json!({
            "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": true},
                "topology": {"kubernetes.io/hostname": "n1"}}]})])),
        _ => None,
    });
    let mut journal = Journal::default();
    let notices = hear(&test, &mut journal, |journal, _| journal.blind() == [Source::Nodes]).await;
    assert!(notices.is_empty(), "{notices:?}");
    assert_eq!(journal.service_of("10.0.0.7".parse().expect("an address"), 80), Some("shop/web"));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_slices_says_so() {
    let test = cluster(|path, _, _| {
        let unknown = || refusal(404, "NotFound", "the server could not find the requested resource").into();
        path.contains("endpointslices").then(unknown)
    });
    let mut journal = Journal::default();
    let notices = hear(&test, &mut journal, |_, notices| !notices.is_empty()).await;
    assert!(notices[0].headline.contains("endpointslices"), "{notices:?}");
    assert!(journal.blind().contains(&Source::Endpoints));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_somebody_listens() {
    let test = cluster(|_, _, _| None);
    let changes = test.cluster.changes().expect("a cluster");
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(changes);
    assert_eq!(test.server.lock().calls.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn preflight_warns_of_rights_that_only_answers_need_and_refuses_nothing_for_them() {
    let test = test(|call| {
        let asked = &call.body["spec"]["resourceAttributes"];
        let everywhere = asked["namespace"].is_null() && asked["resource"] != "nodes";
        let denied = (asked["verb"] == "watch" && everywhere) || asked["resource"] == "networkpolicies";
        denied.then(|| (201, json!({"metadata": {}, "spec": {}, "status": {"allowed": false}})))
    });
    let checks = test.cluster.preflight(&[]).await;
    let rights = checks.iter().filter(|check| check.check == "rights" && check.outcome != Outcome::Passed);
    let told: Vec<(Outcome, &str)> = rights.map(|check| (check.outcome, check.detail.as_str())).collect();
    let without = "optional: needed for answers that know what was changed in the cluster";
    let wanted = [
        format!("no right to watch on pods; {without}"),
        format!("no right to watch on services; {without}"),
        format!("no right to watch on endpointslices (discovery.k8s.io); {without}"),
        format!("no right to list, watch on networkpolicies (networking.k8s.io); {without}"),
    ];
    assert_eq!(told, wanted.each_ref().map(|text| (Outcome::Warning, text.as_str())));
}
