//! The journal as rules ask it: addresses that go to others, backends that leave, lists that lack, bounds.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn pod(uid: &str, ip: &str, phase: PodPhase, started: u64) -> Pod {
    Pod { name: format!("shop/{uid}"), uid: uid.into(), addresses: vec![address(ip)], phase, started, ..Pod::default() }
}

fn at(journal: &Journal, ip: &str, at: u64) -> Option<(String, PodPhase)> {
    journal.pod_at(address(ip), at).map(|pod| (pod.uid.clone(), pod.phase))
}

fn all(backends: &[(&str, bool)]) -> BTreeMap<(IpAddr, u16), bool> {
    backends.iter().map(|(ip, ready)| ((address(ip), 80), *ready)).collect()
}

#[test]
fn an_address_is_answered_for_its_moment_when_it_goes_to_another_pod() {
    let mut journal = Journal::default();
    journal.pod(1_000, pod("old", "10.0.0.1", PodPhase::Ready, 500));
    journal.pod(5_000, pod("old", "10.0.0.1", PodPhase::Terminating, 500));
    // Its address is free before the object is gone.
    journal.pod(6_000, pod("new", "10.0.0.1", PodPhase::NotReady, 5_900));
    journal.pod_gone(7_000, "old");
    journal.pod(8_000, pod("new", "10.0.0.1", PodPhase::Ready, 5_900));
    for (moment, uid, phase) in [
        (4_999, "old", PodPhase::Ready),
        (5_500, "old", PodPhase::Terminating),
        (6_500, "new", PodPhase::NotReady),
        (7_500, "new", PodPhase::NotReady),
        (9_000, "new", PodPhase::Ready),
    ] {
        assert_eq!(at(&journal, "10.0.0.1", moment), Some((uid.to_owned(), phase)), "at {moment}");
    }
    // Before anything was heard it was the one that had been begun then.
    assert_eq!(at(&journal, "10.0.0.1", 600).map(|pod| pod.0), Some("old".to_owned()));
    assert_eq!(at(&journal, "10.0.0.2", 9_000), None);
}

#[test]
fn a_pod_that_was_deleted_is_terminating_and_then_gone_and_stays_so_until_its_address_is_another_ones() {
    let mut journal = Journal::default();
    journal.pod(1_000, pod("a", "10.0.0.1", PodPhase::Ready, 0));
    journal.pod(2_000, Pod { deleted: Some(1_900), ..pod("a", "10.0.0.1", PodPhase::Terminating, 0) });
    journal.pod_gone(32_000, "a");
    journal.pod_gone(33_000, "a");
    let then = journal.pod_at(address("10.0.0.1"), 40_000).expect("a pod");
    assert_eq!((then.phase, then.deleted), (PodPhase::Gone, Some(1_900)));
    assert_eq!(at(&journal, "10.0.0.1", 10_000), Some(("a".to_owned(), PodPhase::Terminating)));
    // One that was never there is not gone.
    journal.pod(41_000, pod("b", "10.0.0.2", PodPhase::Gone, 0));
    journal.pod_gone(41_000, "c");
    assert_eq!(at(&journal, "10.0.0.2", 50_000), None);
}

#[test]
fn pods_with_their_nodes_network_have_no_address_of_their_own_and_nodes_give_theirs_a_name() {
    let mut journal = Journal::default();
    journal.pod(0, Pod { on_host: true, ..pod("proxy", "10.1.0.1", PodPhase::Ready, 0) });
    journal.node("n1", &[address("10.1.0.1")]);
    assert_eq!(at(&journal, "10.1.0.1", 1), None);
    assert_eq!(journal.name(address("10.1.0.1"), 10_250, 1), "n1");
    journal.lists(Source::Nodes);
    journal.node("n2", &[address("10.1.0.2")]);
    journal.listed(2, Source::Nodes);
    assert_eq!(journal.name(address("10.1.0.1"), 10_250, 3), "10.1.0.1");
    assert_eq!(journal.name(address("10.1.0.2"), 10_250, 3), "n2");
}

#[test]
fn backends_leave_and_come_back() {
    let mut journal = Journal::default();
    let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
    journal.backends(1_000, "shop/web", all(&[("10.0.0.1", true), ("10.0.0.2", false)]));
    assert_eq!((journal.left(one, 80, 2_000), journal.left(other, 80, 2_000)), (None, None), "never took any");
    journal.backends(3_000, "shop/web", all(&[("10.0.0.1", false), ("10.0.0.2", true)]));
    journal.backends(4_000, "shop/web", all(&[("10.0.0.2", true)]));
    assert_eq!(journal.left(one, 80, 2_999), None);
    assert_eq!(journal.left(one, 80, 3_500), Some(3_000));
    assert_eq!(journal.left(one, 80, 9_000), Some(3_000), "not since it was taken off the list");
    assert_eq!(journal.ready("shop/web"), BTreeSet::from([(other, 80)]));
    assert_eq!(journal.service_of(one, 80), Some("shop/web"), "it belonged to it");
    journal.backends(10_000, "shop/web", all(&[("10.0.0.1", true), ("10.0.0.2", true)]));
    assert_eq!((journal.left(one, 80, 9_999), journal.left(one, 80, 10_000)), (Some(3_000), None));
    assert_eq!((journal.left(one, 81, 10_000), journal.service_of(one, 81)), (None, None), "another port");
}

#[test]
fn a_backend_that_moves_to_another_slice_or_that_another_service_has_has_not_left() {
    let mut journal = Journal::default();
    let one = address("10.0.0.1");
    journal.slice(0, "shop/web-a", "shop/web", all(&[("10.0.0.1", true)]));
    journal.slice(1_000, "shop/web-b", "shop/web", all(&[("10.0.0.1", true)]));
    journal.slice(1_000, "shop/web-a", "shop/web", all(&[]));
    assert_eq!(journal.left(one, 80, 2_000), None);
    journal.slice(3_000, "shop/canary-a", "shop/canary", all(&[("10.0.0.1", true)]));
    journal.slice_gone(4_000, "shop/web-b");
    assert_eq!((journal.left(one, 80, 5_000), journal.service_of(one, 80)), (None, Some("shop/canary")));
    journal.slice(6_000, "shop/canary-a", "shop/canary", all(&[("10.0.0.1", false)]));
    assert_eq!(journal.left(one, 80, 7_000), Some(6_000));
}

#[test]
fn what_a_list_lacks_is_gone() {
    let mut journal = Journal::default();
    let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
    let tell = |journal: &mut Journal, now: u64, which: &[u8]| {
        for source in [Source::Pods, Source::Endpoints, Source::Services, Source::Policies] {
            journal.take_in(now, News::Lists(source));
        }
        for which in which {
            let ip = format!("10.0.0.{which}");
            journal.take_in(now, News::Pod(pod(&format!("p{which}"), &ip, PodPhase::Ready, 0)));
            let (name, service) = (format!("shop/web-{which}"), "shop/web".to_owned());
            let backends = vec![(address(&ip), 80, false), (address(&ip), 80, true)];
            journal.take_in(now, News::Slice { name, service, backends });
            let addresses = vec![(address(&format!("172.20.0.{which}")), 80)];
            journal.take_in(now, News::Service { name: format!("shop/s{which}"), addresses });
            journal.take_in(now, News::Policy(Policy { name: format!("shop/p{which}"), ..Policy::default() }));
        }
        for source in [Source::Pods, Source::Endpoints, Source::Services, Source::Policies] {
            journal.take_in(now, News::Listed(source));
        }
    };
    tell(&mut journal, 1_000, &[1, 2]);
    assert_eq!(journal.policies_of(&pod("p1", "10.0.0.1", PodPhase::Ready, 0)).len(), 2);
    tell(&mut journal, 2_000, &[2]);
    assert_eq!(at(&journal, "10.0.0.1", 3_000), Some(("p1".to_owned(), PodPhase::Gone)));
    assert_eq!(at(&journal, "10.0.0.2", 3_000), Some(("p2".to_owned(), PodPhase::Ready)));
    assert_eq!((journal.left(one, 80, 3_000), journal.left(other, 80, 3_000)), (Some(2_000), None));
    assert_eq!(journal.service_at(address("172.20.0.1"), 80), None);
    assert_eq!(journal.service_at(address("172.20.0.2"), 80), Some("shop/s2"));
    assert_eq!(journal.policies_of(&pod("p1", "10.0.0.1", PodPhase::Ready, 0)).len(), 1);
}

#[test]
fn policies_select_by_labels_in_their_namespace_and_those_that_may_are_among_them() {
    let mut journal = Journal::default();
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for (name, selects) in [
        ("shop/web", Some(labels(&[("app", "web")]))),
        ("shop/db", Some(labels(&[("app", "db")]))),
        ("shop/all", Some(labels(&[]))),
        ("shop/expressions", None),
        ("shop-2/all", Some(labels(&[]))),
    ] {
        journal.policy(Policy { name: name.to_owned(), selects, ingress: true, egress: false });
    }
    let web =
        Pod { labels: Arc::new(labels(&[("app", "web"), ("tier", "1")])), ..pod("w", "10.0.0.1", PodPhase::Ready, 0) };
    let names: Vec<&str> = journal.policies_of(&web).iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["shop/all", "shop/expressions", "shop/web"]);
    journal.policy_gone("shop/all");
    assert_eq!(journal.policies_of(&web).len(), 2);
}

#[test]
fn a_source_that_is_deaf_is_blind_until_it_is_heard_again() {
    let mut journal = Journal::default();
    assert_eq!(journal.blind(), Source::ALL);
    journal.take_in(1_000, News::Lists(Source::Pods));
    assert_eq!(journal.since(Source::Pods), None, "half a list says nothing");
    journal.take_in(1_000, News::Listed(Source::Pods));
    journal.take_in(2_000, News::Listed(Source::Pods));
    assert_eq!((journal.since(Source::Pods), journal.blind().len()), (Some(1_000), 4));
    journal.take_in(3_000, News::Deaf(Source::Pods));
    assert_eq!((journal.since(Source::Pods), journal.blind().len()), (None, 5));
    journal.take_in(4_000, News::Listed(Source::Pods));
    assert_eq!(journal.since(Source::Pods), Some(4_000));
}

#[test]
fn the_journal_goes_back_fifteen_minutes_and_what_is_there_stays() {
    let mut journal = Journal::default();
    journal.pod(0, pod("stays", "10.0.0.1", PodPhase::NotReady, 0));
    journal.pod(1_000, pod("stays", "10.0.0.1", PodPhase::Ready, 0));
    journal.pod(1_000, pod("goes", "10.0.0.2", PodPhase::Ready, 0));
    journal.pod_gone(2_000, "goes");
    journal.backends(1_000, "shop/web", all(&[("10.0.0.1", true), ("10.0.0.2", true)]));
    journal.backends(2_000, "shop/web", all(&[("10.0.0.1", true)]));
    let quiet = |journal: &mut Journal, now| {
        journal.pod(now, pod("other", "10.0.0.3", PodPhase::Ready, 0));
        journal.backends(now, "shop/other", all(&[("10.0.0.3", true)]));
    };
    quiet(&mut journal, 2_000 + KEPT);
    assert_eq!(at(&journal, "10.0.0.2", 3_000 + KEPT), Some(("goes".to_owned(), PodPhase::Gone)));
    assert_eq!(journal.left(address("10.0.0.2"), 80, 3_000 + KEPT), Some(2_000));
    quiet(&mut journal, 2_001 + KEPT);
    assert_eq!(at(&journal, "10.0.0.2", 3_000 + KEPT), None);
    assert_eq!(journal.left(address("10.0.0.2"), 80, 3_000 + KEPT), None);
    assert_eq!(at(&journal, "10.0.0.1", 3_000 + KEPT), Some(("stays".to_owned(), PodPhase::Ready)));
    assert_eq!(journal.service_of(address("10.0.0.1"), 80), Some("shop/web"));
    assert_eq!((journal.pods.sizes(), journal.backends.sizes()), ([2, 2, 0, 1], [2, 0, 2]));
}

#[test]
fn fifty_thousand_pods_fit_and_what_changes_all_the_time_does_not_grow() {
    let mut journal = Journal::default();
    let many = |number: u32| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        let labels = Arc::new(Labels::from([("app".to_owned(), format!("app-{}", number % 100))]));
        Pod { labels, ..pod(&format!("uid-{number}"), &ip, PodPhase::Ready, 0) }
    };
    journal.lists(Source::Pods);
    for number in 0..50_000 {
        journal.pod(1, many(number));
        let backends = BTreeMap::from([((many(number).addresses[0], 80), true)]);
        journal.slice(1, &format!("shop/s-{number}"), &format!("shop/s-{}", number % 5_000), backends);
    }
    journal.listed(1, Source::Pods);
    assert_eq!(journal.pods.sizes(), [50_000, 50_000, 0, 100]);
    assert_eq!(journal.pod_at(many(49_999).addresses[0], 2).map(|pod| pod.uid.as_str()), Some("uid-49999"));
    // All within a second, so that nothing is old; and more pods than there is room for.
    for round in 0..2 {
        for number in 0..50_000 {
            journal.pod(2, Pod { restarts: (round + 1, None), ..many(number) });
            let backends = BTreeMap::from([((many(number).addresses[0], 80), round % 2 == 1)]);
            journal.slice(2, &format!("shop/s-{number}"), &format!("shop/s-{}", number % 5_000), backends);
        }
    }
    for number in 50_000..80_000 {
        journal.pod(3, many(number));
    }
    assert_eq!(journal.pods.sizes(), [60_000, 60_000, 40_000, 100]);
    assert_eq!(journal.backends.sizes(), [50_000, 40_000, 50_000]);
    assert_eq!(journal.pod_at(many(49_999).addresses[0], 2).map(|pod| pod.restarts.0), Some(2));
}
