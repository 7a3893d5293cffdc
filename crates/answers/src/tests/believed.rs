//! Places that have not seen a connection: which of them are believed, and what of two clocks is one.

use nodewatch_protocol::Tunnel;

use super::*;

const ANSWERED: Finding = Finding::Answered;

/// Attempts at the service's address that lead to that backend, a second each, seen at the places up to one.
fn attempts(cluster: &mut Cluster, count: u16, what: Finding, backend: IpAddr, last: usize) {
    for number in 0..count {
        let first = if what == ANSWERED { 0 } else { 200 };
        let shown = Shown { destination: SERVICE, backend, ..Shown::of(what, first + number, cluster.now) };
        cluster.see_until(&shown, last);
        cluster.count(SERVICE, Service::Tcp, 4, 3);
        cluster.pass(1);
    }
    cluster.pass(4);
}

fn codes(cluster: &Cluster) -> Vec<Option<Code>> {
    cluster.engine.answers().iter().map(|answer| answer.code).collect()
}

#[test]
fn a_way_is_known_of_the_backend_that_it_leads_to() {
    let lost = |backend, last| {
        let mut cluster = Cluster::new();
        attempts(&mut cluster, 4, ANSWERED, BACKEND, 3);
        attempts(&mut cluster, 6, UNANSWERED, backend, last);
        cluster
    };
    lost(BACKEND, 1).is(Code::WireLoss, Certainty::Verdict);
    // Another backend, on a node that nobody watches; and one of which it is not known yet which it will be.
    for cluster in [lost(OTHER, 1), lost(BACKEND, 0)] {
        let codes = codes(&cluster);
        assert!(!codes.contains(&Some(Code::WireLoss)) && !codes.contains(&Some(Code::PolicyDrop)), "{codes:?}");
        let answer = cluster.first();
        assert!(answer.proof.iter().all(|proof| proof.missing.is_empty()), "{answer:?}");
    }
}

#[test]
fn an_idle_connection_is_cut_by_nobody_because_another_backend_has_not_seen_it() {
    let mut cluster = Cluster::new();
    attempts(&mut cluster, 4, ANSWERED, BACKEND, 3);
    for number in 0..3 {
        let reset = Finding::Symptom(Symptom::Reset);
        let change: fn(&mut Case) = |case| case.silence_millis = 61_000 + u64::from(case.ports.0) % 7 * 40_000;
        let shown =
            Shown { destination: SERVICE, backend: OTHER, change, ..Shown::of(reset, 200 + number, cluster.now) };
        cluster.see_until(&shown, 1);
        cluster.pass(1);
    }
    cluster.pass(4);
    assert!(!codes(&cluster).contains(&Some(Code::IdleCut)), "{:?}", cluster.engine.answers());
}

#[test]
fn a_node_whose_cases_had_no_room_has_not_told_of_all() {
    let lost = |crowded| {
        let mut cluster = Cluster::new().well();
        for number in 0..6 {
            cluster.see_until(&Shown::of(UNANSWERED, 100 + number, cluster.now), 1);
            cluster.told[1].crowded = crowded;
            cluster.count(BACKEND, Service::Tcp, 4, 3);
            cluster.pass(1);
        }
        cluster.pass(4);
        codes(&cluster)
    };
    assert!(!lost(true).contains(&Some(Code::WireLoss)));
    assert!(lost(false).contains(&Some(Code::WireLoss)));
}

#[test]
fn a_place_that_misses_what_was_answered_is_blind() {
    let lost = |last_of_answered: usize, tells: bool| {
        let mut cluster = Cluster::new().well();
        for number in 0..18 {
            for more in 0..3 {
                let shown = Shown::of(ANSWERED, 1000 + number * 3 + more, cluster.now);
                cluster.see_until(&shown, last_of_answered);
            }
            if number % 3 == 1 {
                cluster.see_until(&Shown::of(UNANSWERED, 100 + number, cluster.now), 1);
            }
            if !tells {
                // It has room for those with the lowest numbers, and others are busier.
                cluster.told[1].answered_to = 0;
            }
            cluster.count(BACKEND, Service::Tcp, 4, 3);
            cluster.pass(1);
        }
        cluster.pass(4);
        codes(&cluster)
    };
    assert!(!lost(1, true).contains(&Some(Code::WireLoss)), "it was blind then");
    assert!(lost(3, true).contains(&Some(Code::WireLoss)), "it has seen the others");
    assert!(lost(1, false).contains(&Some(Code::WireLoss)), "it need not have told of these");
}

#[test]
fn of_one_that_is_not_believed_it_is_not_known_on_which_side_of_it_that_was() {
    let mut cluster = Cluster::new().well();
    for number in 0..6 {
        cluster.see_until(&Shown::of(UNANSWERED, 100 + number, cluster.now), 1);
        cluster.told[1].faces[0].lost = true;
        cluster.count(BACKEND, Service::Tcp, 4, 3);
        cluster.pass(1);
    }
    cluster.pass(4);
    assert!(!codes(&cluster).contains(&Some(Code::WireLoss)), "{:?}", cluster.engine.answers());
}

#[test]
fn clocks_that_are_far_apart_make_no_two_of_one() {
    for ahead in [6_i64, 30, -8] {
        let mut cluster = Cluster::new();
        let see = |cluster: &mut Cluster, what, number| {
            let shown = Shown::of(what, number, cluster.now);
            for (place, (_, _, _, hops)) in WAY.into_iter().enumerate() {
                let mut case = shown.case(place as u16, hops);
                let by = if place < 2 { 0 } else { ahead * 1_000_000_000 };
                (case.began, case.at) = (case.began + by + place as i64, case.at + by + 20 - place as i64);
                cluster.told[place / 2].cases.push(case);
            }
            cluster.count(BACKEND, Service::Tcp, 4, 4);
            cluster.pass(1);
        };
        (0..4).for_each(|number| see(&mut cluster, ANSWERED, number));
        (0..6).for_each(|number| see(&mut cluster, DELAYED, 100 + number));
        cluster.pass(4);
        let failed: u64 = cluster.engine.answers().iter().map(|answer| answer.failed).sum();
        assert_eq!(failed, 6, "{ahead}: {:?}", cluster.engine.answers());
        let answer = cluster.first();
        assert_eq!(answer.proof[0].seen.len(), 4, "{answer:?}");
        let [gap] = &answer.clocks[..] else { panic!("one: {:?}", answer.clocks) };
        assert!((gap.by - ahead * 1_000_000_000).abs() <= gap.error, "{ahead}: {gap:?}");
    }
}

/// As it is in files: each question counts at the place that saw it first, and its answer at the one that saw that first.
#[test]
fn questions_that_were_answered_at_another_place_were_answered() {
    const DNS: Finding = Finding::Symptom(Symptom::DnsUnanswered);
    let mut cluster = Cluster::new();
    for number in 0..8 {
        let shown = Shown { service: Service::Dns, ..Shown::of(DNS, number, cluster.now) };
        cluster.see_until(&shown, 2);
        let counts = [
            Sums { packets: 20, attempts: 20, failed: 1, ..Sums::default() },
            Sums { packets: 19, answered: 19, ..Sums::default() },
        ];
        for (told, sums) in cluster.told.iter_mut().zip(counts) {
            told.pairs.push(pair((BACKEND, 53), Service::Dns, sums));
        }
        cluster.pass(1);
    }
    cluster.pass(4);
    let answer = cluster.first();
    assert!(answer.text.contains("8 of 160") && !answer.text.contains("none was answered"), "{answer:?}");
}

/// What was begun just now is neither answered nor failed.
#[test]
fn attempts_that_are_not_decided_yet_are_not_among_those_that_others_are_of() {
    let mut cluster = Cluster::new().well();
    for number in 0..10 {
        cluster.see_until(&Shown::of(UNANSWERED, 200 + number, cluster.now), 1);
        let sums = Sums { packets: 4, attempts: 2, failed: 1, ..Sums::default() };
        for told in &mut cluster.told {
            // What is seen inside a tunnel and out of it at one interface is the same.
            for tunnel in [None, Some(Tunnel::Vxlan)] {
                told.pairs.push(Pair { tunnel, ..pair((BACKEND, 8080), Service::Tcp, sums) });
            }
        }
        cluster.pass(1);
    }
    cluster.pass(4);
    let answer = cluster.first();
    // Forty were answered before.
    assert_eq!((answer.of, answer.failed), (50, 10), "{answer:?}");
}

/// Six attempts that are lost, and what is told of each second.
fn lost(cluster: &mut Cluster, last: usize, change: fn(&mut Told)) {
    for number in 0..6 {
        let shown = Shown::of(UNANSWERED, 300 + number, cluster.now);
        cluster.see_until(&shown, last);
        cluster.count(BACKEND, Service::Tcp, 4, 0);
        for told in &mut cluster.told {
            change(told);
        }
        cluster.pass(1);
    }
    for _ in 0..4 {
        for told in &mut cluster.told {
            change(told);
        }
        cluster.pass(1);
    }
}

#[test]
fn what_is_missing_behind_the_end_of_a_file_is_no_proof() {
    let certainty = |change: fn(&mut Told)| {
        let mut cluster = Cluster::new().well();
        lost(&mut cluster, 1, change);
        let first = cluster.first();
        (first.code, first.certainty, first.ruled_out.is_empty())
    };
    assert_eq!(certainty(|_| {}), (Some(Code::WireLoss), Certainty::Verdict, false));
    let ended: fn(&mut Told) = |told| {
        let is_b = told.node == "b";
        told.faces.iter_mut().for_each(|face| face.ended = is_b);
    };
    assert_eq!(certainty(ended), (Some(Code::WireLoss), Certainty::Likely, true));
}

#[test]
fn files_whose_names_say_no_interface_may_be_of_one_node() {
    let mut cluster = Cluster::new();
    let alone: fn(&mut Told) = |told| {
        told.faces.truncate(1);
        (told.faces[0].name, told.faces[0].role) = (String::new(), Role::Other);
    };
    for (numbers, what, places) in [(0..4, ANSWERED, &[0, 2][..]), (100..106, UNANSWERED, &[0])] {
        for number in numbers {
            let shown = Shown::of(what, number, cluster.now);
            let places: Vec<(usize, Finding)> = places.iter().map(|place| (*place, what)).collect();
            cluster.see(&shown, &places);
            cluster.told.iter_mut().for_each(alone);
            cluster.pass(1);
        }
    }
    for _ in 0..4 {
        cluster.told.iter_mut().for_each(alone);
        cluster.pass(1);
    }
    let answer = cluster.is(Code::WireLoss, Certainty::Likely);
    assert!(answer.not_seen.iter().any(|what| what.contains("whether a and b are two nodes")), "{:?}", answer.not_seen);
}

#[test]
fn between_the_interfaces_of_pods_lie_both_nodes() {
    let places = |cluster: &mut Cluster, what: Finding, number: u16, places: &[usize]| {
        let shown = Shown::of(what, number, cluster.now);
        let places: Vec<(usize, Finding)> = places.iter().map(|place| (*place, what)).collect();
        cluster.see(&shown, &places);
        cluster.count(BACKEND, Service::Tcp, 4, 4);
        cluster.pass(1);
    };
    let mut cluster = Cluster::new();
    for number in 0..4 {
        places(&mut cluster, ANSWERED, number, &[0, 3]);
    }
    for number in 100..106 {
        places(&mut cluster, UNANSWERED, number, &[0]);
    }
    cluster.pass(4);
    let answer = cluster.first();
    assert_eq!((answer.code, answer.certainty), (None, Certainty::Located), "{answer:?}");
    assert!(answer.text.contains("lost between a and b"), "{answer:?}");
}

#[test]
fn a_server_that_answers_nothing_between_failures_may_be_dead() {
    /// Six failures, a second each, and what is answered to whom in the same seconds.
    fn failing(cluster: &mut Cluster, answers: Option<fn(&mut Case)>) {
        for number in 0..6 {
            cluster.see_until(&Shown::of(UNANSWERED, 300 + number, cluster.now), 3);
            if let Some(change) = answers {
                let shown = Shown { change, ..Shown::of(ANSWERED, 320 + number, cluster.now + 400) };
                cluster.see_until(&shown, 3);
            }
            cluster.count(BACKEND, Service::Tcp, 4, 3 * u64::from(answers.is_some()));
            cluster.pass(1);
        }
    }
    let told = |cluster: &Cluster| (cluster.first().code, cluster.first().certainty);
    let mut full = Cluster::new().well();
    failing(&mut full, Some(|_| {}));
    full.pass(4);
    assert_eq!(told(&full), (Some(Code::AcceptQueue), Certainty::Verdict));
    // An accept queue does not ask who comes.
    let mut choosy = Cluster::new().well();
    failing(&mut choosy, Some(|case| case.source = OTHER));
    choosy.pass(4);
    assert_eq!(told(&choosy), (Some(Code::AcceptQueue), Certainty::Likely));
    // Silent for a while, and back.
    let mut away = Cluster::new().well();
    failing(&mut away, None);
    let mut away = away.well();
    away.pass(4);
    assert_eq!(told(&away), (None, Certainty::Located));
}
