//! Ways that packets should not take: answers that leave elsewhere, what is sent back, circles.

use super::*;

/// An attempt as one place of a node has seen it.
#[derive(Clone, Copy)]
struct At {
    node: usize,
    /// The node's interface, or its number as a pod's.
    interface: u16,
    what: Finding,
    asked: IpAddr,
    hops: Option<u8>,
    repeats: u32,
}

/// So many attempts, each seen so; the second node has another interface of its own, which is its third.
fn seen(count: u16, at: &[At]) -> Cluster {
    let mut cluster = Cluster::new().well();
    for number in 0..count {
        let began = (cluster.now * 1_000_000) as i64;
        for (place, one) in at.iter().enumerate() {
            let began = began + place as i64 * 1000;
            let case = Case::of(one.what, Service::Tcp, (CLIENT, 41_000 + number), (one.asked, 8080), began);
            let id = Some((u32::from(number) * 7 + 9_000_000, 5));
            let case = Case { interface: one.interface, id, hops: one.hops, repeats: one.repeats, ..case };
            cluster.told[one.node].cases.push(case);
        }
        for told in &mut cluster.told {
            told.faces.push(Face { name: "eth1".into(), role: Role::Node, ..Face::default() });
            told.faces.push(Face { name: "eni9".into(), role: Role::Pod, ..Face::default() });
        }
        cluster.count(BACKEND, Service::Tcp, 4, 3);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster
}

const fn at(node: usize, interface: u16, what: Finding, asked: IpAddr, hops: u8) -> At {
    At { node, interface, what, asked, hops: Some(hops), repeats: 3 }
}

/// Of those that are felt.
fn codes(cluster: &Cluster) -> Vec<Option<Code>> {
    let answers = cluster.engine.answers().iter().filter(|answer| answer.certainty.is_answer());
    answers.map(|answer| answer.code).collect()
}

#[test]
fn an_answer_that_leaves_by_another_interface_is_named_with_both() {
    let answer = At { hops: None, repeats: 0, ..at(1, 2, Finding::AnswerRepeated, BACKEND, 0) };
    let way = [
        at(0, 0, UNANSWERED, BACKEND, 64),
        at(0, 1, UNANSWERED, BACKEND, 63),
        at(1, 0, UNANSWERED, BACKEND, 62),
        at(1, 1, Finding::AnswerRepeated, BACKEND, 61),
        answer,
    ];
    let cluster = seen(3, &way);
    let found = cluster.is(Code::ReturnPath, Certainty::Verdict);
    assert!(found.text.contains("their answers leave b by eth1, and they came in by eth0"), "{}", found.text);
    assert_eq!((found.place.interface.as_deref(), found.failed), (Some("eth1"), 3));
    assert_eq!(codes(&seen(2, &way)), [], "two are too few");
    // Where the way in is not judged, as of an interface to which no answer ever comes.
    let blind = seen(3, &[way[0], way[1], way[3], way[4]]);
    let found = blind.is(Code::ReturnPath, Certainty::Verdict);
    assert!(found.text.contains("came in by another one"), "{}", found.text);
    // Nodes with several interfaces do that all day.
    let unfelt = seen(6, &[At { what: Finding::AnswerRepeated, ..way[3] }, answer]);
    assert_eq!(codes(&unfelt), [], "nobody has felt it: {:?}", unfelt.engine.answers());
}

#[test]
fn what_a_balancer_sends_back_to_its_node_is_told_from_what_it_sends_on() {
    let (out, back) = (at(0, 1, UNANSWERED, SERVICE, 63), at(0, 1, UNANSWERED, OTHER, 61));
    let refused = At { hops: None, ..at(0, 0, Finding::Stray, OTHER, 0) };
    let pod = at(0, 3, Finding::Answered, OTHER, 60);
    let begun = at(0, 0, UNANSWERED, SERVICE, 64);
    let cluster = seen(3, &[begun, out, back, pod, refused]);
    let found = cluster.is(Code::ReturnPath, Certainty::Verdict);
    assert!(found.text.contains("it has sent them back to 10.0.2.8:8080 on the same node"), "{}", found.text);
    assert_eq!(codes(&cluster), [Some(Code::ReturnPath)], "and it is no late packet");
    // To who has asked: nothing of it comes out there.
    let itself = seen(3, &[begun, out, At { asked: CLIENT, ..back }]);
    assert!(itself.is(Code::ReturnPath, Certainty::Verdict).text.ends_with("to who had asked"));
    // A node that only sends it on has not begun it, and another node's pod is not its own.
    let on = seen(6, &[at(0, 1, UNANSWERED, SERVICE, 60), at(0, 1, UNANSWERED, OTHER, 59)]);
    assert!(!codes(&on).contains(&Some(Code::ReturnPath)), "{:?}", on.engine.answers());
    let away = seen(6, &[begun, out, back]);
    assert!(!codes(&away).contains(&Some(Code::ReturnPath)), "{:?}", away.engine.answers());
}

#[test]
fn what_goes_in_circles_has_hardly_any_hops_left() {
    let circle = At { repeats: 62, ..at(1, 0, UNANSWERED, BACKEND, 2) };
    let cluster = seen(3, &[at(0, 0, UNANSWERED, BACKEND, 64), at(0, 1, UNANSWERED, BACKEND, 63), circle]);
    let found = cluster.is(Code::ReturnPath, Certainty::Verdict);
    assert!(found.text.contains("go in circles: b sends them out by eth0 again"), "{}", found.text);
    let far = seen(6, &[At { repeats: 5, ..circle }]);
    assert!(!codes(&far).contains(&Some(Code::ReturnPath)), "{:?}", far.engine.answers());
}

#[test]
fn what_is_for_the_node_itself_is_not_lost_beyond_it() {
    let lost = |own: bool| {
        let mut cluster = Cluster::new();
        cluster.engine.nodes_have(own.then_some((BACKEND, "b")).into_iter());
        for number in 0..6 {
            cluster.see_until(&Shown::of(UNANSWERED, 100 + number, cluster.now), 2);
            cluster.count(BACKEND, Service::Tcp, 1, 0);
            cluster.pass(1);
        }
        cluster.pass(4);
        let first = cluster.first();
        (first.title(), first.next[0].clone())
    };
    assert_eq!(lost(false).0, "lost beyond eth0 of b");
    let (title, next) = lost(true);
    assert_eq!(title, "lost inside b");
    assert_eq!(next, "ss -ltn 'sport = :8080'; nft list ruleset    # on b, which has 10.0.2.7");
}

#[test]
fn a_reset_that_the_node_has_made_itself_is_its_rules_and_not_the_servers() {
    let refused = |hops: u8, last: usize| {
        let mut cluster = Cluster::new().well();
        let change: fn(&mut Case) = match hops {
            64 => |case| (case.by_server, case.refusal_hops) = (true, Some(64)),
            _ => |case| (case.by_server, case.refusal_hops) = (true, Some(61)),
        };
        cluster.fail_so(6, REFUSED, last, change);
        cluster
    };
    let cluster = refused(64, 0);
    let found = cluster.is(Code::PolicyDrop, Certainty::Verdict);
    assert_eq!(found.place.node.as_deref(), Some("a"));
    assert!(found.text.contains("were refused by a itself"), "{}", found.text);
    // It has come from elsewhere, or the server's pod has seen what it refuses.
    for cluster in [refused(61, 0), refused(64, 3)] {
        assert_eq!(codes(&cluster), [], "{:?}", cluster.engine.answers());
    }
}

#[test]
fn the_way_to_a_port_that_never_answered_is_that_of_the_others_of_its_address() {
    let closed = |what: Finding, known: bool, change: fn(&mut Case)| {
        let mut cluster = if known { Cluster::new().well() } else { Cluster::new() };
        cluster.fail_so(6, what, 0, change);
        let first = cluster.engine.answers().first();
        first.map(|answer| (answer.code, answer.certainty, answer.place.node.clone()))
    };
    let dropped: fn(&mut Case) = |case| case.ports.1 = 9999;
    let policy = |certainty| Some((Some(Code::PolicyDrop), certainty, Some("a".to_owned())));
    assert_eq!(closed(UNANSWERED, true, dropped), policy(Certainty::Likely));
    let located = closed(UNANSWERED, false, dropped).map(|(code, certainty, _)| (code, certainty));
    assert_eq!(located, Some((None, Certainty::Located)), "nothing shows the way there");
    let rejected: fn(&mut Case) = |case| {
        (case.ports.1, case.by_server, case.refusal_hops) = (9999, true, Some(64));
    };
    assert_eq!(closed(REFUSED, true, rejected), policy(Certainty::Likely));
    // What is behind an address of a service is not always the same.
    let service: fn(&mut Case) = |case| (case.destination, case.ports.1) = (SERVICE, 9999);
    let located = closed(UNANSWERED, true, service).map(|(code, certainty, _)| (code, certainty));
    assert_eq!(located, Some((None, Certainty::Located)));
}

#[test]
fn the_way_of_others_is_believed_as_long_as_they_take_it_and_all_take_it() {
    let dropped: fn(&mut Case) = |case| case.ports.1 = 9999;
    let code = |before: fn(&mut Cluster)| {
        let mut cluster = Cluster::new().well();
        before(&mut cluster);
        cluster.fail_so(6, UNANSWERED, 0, dropped);
        cluster.first().code
    };
    assert_eq!(code(|_| {}), Some(Code::PolicyDrop));
    assert_eq!(code(|cluster| cluster.pass(70)), None, "the address may be another pod's by now");
    // Of others that were answered meanwhile it has missed some.
    let answered = |cluster: &mut Cluster, places: &[usize]| {
        for number in 50..54 {
            let shown = Shown::of(Finding::Answered, number, cluster.now);
            let places: Vec<(usize, Finding)> = places.iter().map(|place| (*place, Finding::Answered)).collect();
            cluster.see(&shown, &places);
            cluster.pass(1);
        }
        cluster.pass(3);
    };
    let mut blind = Cluster::new().well();
    answered(&mut blind, &[0, 2, 3]);
    blind.fail_so(6, UNANSWERED, 0, dropped);
    assert_eq!(blind.first().code, None);
    // Something else that was asked there has gone on to another address.
    let mut translated = Cluster::new().well();
    let shown = Shown { backend: OTHER, ..Shown::of(Finding::Answered, 60, translated.now) };
    translated.see_until(&shown, 3);
    translated.pass(4);
    translated.fail_so(6, UNANSWERED, 0, dropped);
    assert_eq!(translated.first().code, None);
}

#[test]
fn a_reset_of_the_node_from_the_start_is_its_rules_where_the_pod_is_on_another() {
    let refused = |node: &str, is_heard: bool| {
        let mut cluster = Cluster::new();
        if is_heard {
            cluster.engine.journal.hears(Source::Pods, cluster.now);
        }
        cluster.engine.journal.pod(cluster.now, Pod { node: node.into(), ..pod(PodPhase::Ready) });
        let by_node: fn(&mut Case) = |case| (case.by_server, case.refusal_hops) = (true, Some(64));
        cluster.fail_so(6, REFUSED, 0, by_node);
        cluster
    };
    let cluster = refused("b", true);
    let found = cluster.is(Code::PolicyDrop, Certainty::Likely);
    assert_eq!(found.place.node.as_deref(), Some("a"));
    assert!(found.text.contains("were refused by a itself: that pod is on another node"), "{}", found.text);
    // On a bridge, the pod beside it may have refused.
    assert_eq!(codes(&refused("a", true)), []);
    // Pods that are not heard of any more may be elsewhere by now.
    assert_eq!(codes(&refused("b", false)), []);
}

#[test]
fn an_untranslated_packet_is_sure_where_something_shows_that_it_should_have_been_translated() {
    let reset = |known: fn(&mut Cluster)| {
        let mut cluster = Cluster::new().well();
        known(&mut cluster);
        let stray: fn(&mut Case) = |case| (case.other, case.id) = (Some(SERVICE), None);
        cluster.fail_so(3, Finding::Stray, 1, stray);
        cluster.engine.answers().first().map(|answer| (answer.code, answer.certainty))
    };
    let pod = |cluster: &mut Cluster| {
        let pod = Pod { addresses: vec![SERVICE], ..pod(PodPhase::Ready) };
        cluster.engine.journal.hears(Source::Pods, BEGIN);
        cluster.engine.journal.pod(BEGIN, pod);
    };
    assert_eq!(reset(pod), None, "it is asked by its own address");
    let found = |certainty| Some((Some(Code::InvalidReset), certainty));
    assert_eq!(reset(|_| {}), found(Certainty::Likely));
    let of_service = |cluster: &mut Cluster| {
        cluster.engine.journal.service("shop/api", &[(SERVICE, 80)]);
        cluster.engine.journal.backends(BEGIN, "shop/api", BTreeMap::from([((BACKEND, 8080), true)]));
    };
    assert_eq!(reset(of_service), found(Certainty::Verdict));
    let was_seen = |cluster: &mut Cluster| {
        let shown = Shown { destination: SERVICE, ..Shown::of(Finding::Answered, 90, cluster.now) };
        cluster.see_until(&shown, 3);
        cluster.pass(5);
    };
    assert_eq!(reset(was_seen), found(Certainty::Verdict));
}

#[test]
fn a_handshake_that_was_complete_and_not_taken_comes_before_counters() {
    let mut cluster = Cluster::new().well();
    for (name, values) in
        [("conntrack.count", [80, 90]), ("conntrack.max", [1000, 1000]), ("conntrack.insert_failed", [0, 6])]
    {
        cluster.signal(name, &values[..1]);
        cluster.see(&Shown::of(Finding::Answered, 7, cluster.now), &[(3, Finding::Answered)]);
        cluster.signal(name, &values[1..]);
    }
    // Seen by the node alone, so that both may fit.
    for number in 0..6 {
        let shown = Shown::of(UNANSWERED, 100 + number, cluster.now);
        cluster.see(&shown, &[(2, UNANSWERED), (3, Finding::NotAccepted)]);
        cluster.count(BACKEND, Service::Tcp, 4, 3);
        cluster.signal("conntrack.insert_failed", &[u64::from(number)]);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster.is(Code::AcceptQueue, Certainty::Verdict);
}

#[test]
fn local_ports_that_are_nearly_all_in_use_are_a_note_until_they_are_told_of_no_more() {
    let mut cluster = Cluster::new().well();
    let path = ("a", "tcp.ephemeral_ports", "10.0.1.9 to 203.0.113.5:443");
    cluster.engine.signal(cluster.now, ("a", "tcp.ephemeral_range", ""), 28_232);
    cluster.engine.signal(cluster.now, path, 25_300);
    cluster.pass(1);
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
    cluster.engine.signal(cluster.now, path, 27_900);
    cluster.pass(1);
    let note = cluster.first();
    assert_eq!((note.certainty, note.place.node.as_deref()), (Certainty::Note, Some("a")));
    assert!(note.text.starts_with("27900 of 28232 local ports of a are in use on 10.0.1.9 to 203.0.113.5:443"));
    assert_eq!(note.next, ["ss -Htan | grep -cF 203.0.113.5:443    # on a; then keep-alive in the client's pool"]);
    cluster.engine.signal_is_gone(path);
    cluster.pass(1);
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
}
