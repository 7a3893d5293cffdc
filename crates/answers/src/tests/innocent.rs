//! What looks like a cause and is none, or is another one.

use super::*;

#[test]
fn a_policy_of_the_other_direction_or_a_counter_that_nobody_has_read_convicts_nobody() {
    let lost = |ingress: bool, counters: &[&str]| {
        let mut cluster = Cluster::new().well();
        for source in [Source::Pods, Source::Policies] {
            cluster.engine.journal.hears(source, BEGIN);
        }
        cluster.engine.journal.pod(BEGIN, pod(PodPhase::Ready));
        let selects = Some(BTreeMap::new());
        cluster.engine.journal.policy(Policy { name: "shop/deny".into(), selects, ingress, egress: !ingress });
        for counter in counters {
            cluster.signal(counter, &[5]);
        }
        cluster.fail(6, UNANSWERED, 2);
        (cluster.first().code, cluster.first().certainty)
    };
    let all = ["conntrack.insert_failed", "conntrack.drop", "ip.reverse_path_drops", "arp.table_fulls"];
    assert_eq!(lost(true, &all), (Some(Code::PolicyDrop), Certainty::Verdict));
    assert_eq!(lost(true, &all[..3]), (Some(Code::PolicyDrop), Certainty::Likely));
    assert_eq!(lost(false, &all), (None, Certainty::Located), "what goes out of the server is not what is lost");
}

#[test]
fn a_counter_that_moves_by_itself_is_no_cause_of_what_is_lost_beyond_the_node() {
    for (signal, rise) in [
        ("ip.reverse_path_drops", 60),
        ("conntrack.insert_failed", 60),
        ("arp.table_fulls", 60),
        ("conntrack.insert_failed", 1),
    ] {
        let mut cluster = Cluster::new();
        cluster.signal(signal, &[0]);
        for number in 0..8 {
            // Node a sends it on, or takes it without there being enough drops.
            let shown = Shown { destination: OTHER, ..Shown::of(UNANSWERED, number, cluster.now) };
            cluster.see(&shown, if rise > 1 { &[(0, UNANSWERED), (1, UNANSWERED)] } else { &[(0, UNANSWERED)] });
            cluster.count(OTHER, Service::Tcp, 1, 0);
            cluster.engine.signal(cluster.now, ("a", signal, ""), rise * u64::from(number) / 8);
            cluster.engine.signal(cluster.now, ("b", signal, ""), rise * u64::from(number) / 8);
            cluster.pass(1);
        }
        cluster.pass(4);
        assert_eq!((cluster.first().code, cluster.first().certainty), (None, Certainty::Located), "{signal} {rise}");
    }
}

#[test]
fn a_queue_that_is_full_from_the_start_is_known_by_its_own_node_alone() {
    let full = |own: bool| {
        let mut cluster = Cluster::new();
        cluster.engine.nodes_have([(BACKEND, if own { "b" } else { "c" })].into_iter());
        cluster.signal("tcp.listen_overflows", &[0]);
        for number in 0..8 {
            cluster.see(&Shown::of(UNANSWERED, number, cluster.now), &[(2, UNANSWERED)]);
            cluster.count(BACKEND, Service::Tcp, 1, 0);
            cluster.signal("tcp.listen_overflows", &[2 * u64::from(number) + 2]);
            cluster.pass(1);
        }
        cluster.pass(4);
        (cluster.first().code, cluster.first().certainty)
    };
    assert_eq!(full(true), (Some(Code::AcceptQueue), Certainty::Verdict));
    assert_eq!(full(false), (None, Certainty::Located), "they are another listener's");
}

#[test]
fn where_data_is_lost_as_well_or_the_ports_are_in_use_it_is_no_accept_queue() {
    let lost = |retransmitted: u64, change: fn(&mut Case)| {
        let mut cluster = Cluster::new();
        for number in 0..8 {
            let shown = Shown { change, ..Shown::of(DELAYED, number, cluster.now) };
            cluster.see(&shown, &[(1, DELAYED)]);
            cluster.count(BACKEND, Service::Tcp, 10, 10);
            for told in &mut cluster.told {
                for pair in &mut told.pairs {
                    (pair.sums.segments, pair.sums.retransmitted) = (100, retransmitted);
                }
            }
            cluster.pass(1);
        }
        cluster.pass(4);
        cluster.engine.answers().first().map(|answer| (answer.code, answer.certainty))
    };
    assert_eq!(lost(1, |_| {}), Some((Some(Code::AcceptQueue), Certainty::Likely)));
    assert_eq!(lost(10, |_| {}), Some((None, Certainty::Located)));
    assert_eq!(lost(1, |case| case.reused = true), None);
}

#[test]
fn a_service_without_endpoints_is_rejected_by_the_node() {
    const UNREACHABLE: Finding = Finding::Symptom(Symptom::Unreachable);
    let rejected = |service: bool| {
        let mut cluster = Cluster::new();
        if service {
            for source in [Source::Endpoints, Source::Services] {
                cluster.engine.journal.hears(source, BEGIN);
            }
            cluster.engine.journal.service("shop/api", &[(SERVICE, 8080)]);
        }
        for number in 0..8 {
            let what = if number % 4 == 3 { UNANSWERED } else { UNREACHABLE };
            let change: fn(&mut Case) = |case| (case.amount, case.other) = (3, Some(CLIENT));
            let shown = Shown { change, destination: SERVICE, ..Shown::of(what, number, cluster.now) };
            cluster.see(&shown, &[(0, what)]);
            cluster.count(SERVICE, Service::Tcp, 1, 0);
            cluster.pass(1);
        }
        cluster.pass(4);
        let answer = cluster.first();
        (answer.code, answer.certainty, answer.failed)
    };
    assert_eq!(rejected(true), (Some(Code::EndpointGone), Certainty::Verdict, 8));
    assert_eq!(rejected(false), (Some(Code::EndpointGone), Certainty::Likely, 8));
}

#[test]
fn what_an_own_reset_or_a_slow_name_shows_is_not_sure() {
    let mut cluster = Cluster::new();
    let own: fn(&mut Case) = |case| {
        (case.silence_millis, case.by_server) = (60_000, true);
        (case.refusal_hops, case.usual_hops) = (Some(61), Some(61));
    };
    cluster.fail_so(6, Finding::Symptom(Symptom::Reset), 0, own);
    let answer = cluster.is(Code::IdleCut, Certainty::Likely);
    assert_eq!(answer.runner_up.as_ref().map(|other| other.code), Some(Code::EndpointGone));

    for (asked, certainty) in [(100, Certainty::Likely), (2, Certainty::Verdict)] {
        let mut cluster = Cluster::new();
        for number in 0..8 {
            let late = Finding::Symptom(Symptom::DnsLate);
            let shown = Shown { service: Service::Dns, ..Shown::of(late, number, cluster.now) };
            cluster.see_until(&shown, 0);
            cluster.count(BACKEND, Service::Dns, asked / 2, asked / 2);
            cluster.pass(1);
        }
        cluster.pass(4);
        cluster.is(Code::DnsSilent, certainty);
    }
}

#[test]
fn large_segments_that_are_stuck_one_connection_after_another_are_too_large() {
    let stuck = |gap: i64| {
        let mut cluster = Cluster::new().well();
        for number in 0..8 {
            let shown =
                Shown { change: |case| case.amount = 1448, ..Shown::of(Finding::Stuck, 100 + number, cluster.now) };
            cluster.see_until(&shown, 1);
            if let Some(case) = cluster.told[0].cases.last_mut() {
                case.at = case.began + gap;
            }
            for case in &mut cluster.told[0].cases {
                case.at = case.began + gap;
            }
            cluster.count(BACKEND, Service::Tcp, 4, 4);
            cluster.pass(1);
        }
        cluster.pass(4);
        cluster.engine.answers().first().map(|answer| (answer.code, answer.certainty))
    };
    assert_eq!(stuck(1_500_000_000), Some((Some(Code::MtuHole), Certainty::Verdict)));
    assert_eq!(stuck(600_000_000_000), None, "the last was begun before the first was stuck: the end may be gone");
}

#[test]
fn a_kubelet_that_looks_after_its_pods_is_no_traffic() {
    let probed = |known: bool| {
        let mut cluster = Cluster::new().well();
        cluster.engine.nodes_have(known.then_some((CLIENT, "b")).into_iter());
        let restarted = Pod { restarts: (1, Some(cluster.now)), ..pod(PodPhase::NotReady) };
        cluster.engine.journal.hears(Source::Pods, BEGIN);
        cluster.engine.journal.pod(BEGIN, restarted);
        for number in 0..6 {
            let mut shown = Shown::of(REFUSED, 100 + number, cluster.now);
            shown.change = |case| case.hops = Some(64);
            cluster.see(&shown, &[(3, REFUSED)]);
            cluster.pass(1);
        }
        cluster.pass(4);
        cluster.engine.answers().len()
    };
    assert_eq!((probed(true), probed(false)), (0, 1));
}

#[test]
fn attempts_that_were_answered_somewhere_are_not_among_those_that_nobody_has_judged() {
    let one_way = |answered| {
        let mut cluster = Cluster::new();
        let sums = Sums { attempts: 9, answered, ..Sums::default() };
        (cluster.told[0].sums, cluster.told[0].one_direction) = (sums, 27);
        cluster.pass(1);
        crate::words::nothing(&cluster.engine.looked(), "1 s")
    };
    assert_eq!(one_way(9), "nothing failed among 9 attempts (each node counts what it sees) of 4 interfaces in 1 s");
    let some = "nothing failed among 9 attempts (each node counts what it sees) of 4 interfaces in 1 s; 2 not judged: only one direction was seen";
    assert_eq!(one_way(7), some);
    assert_eq!(
        one_way(0),
        "not judged: 9 attempts (each node counts what it sees) of 4 interfaces in 1 s, of which only one direction was seen"
    );
}
