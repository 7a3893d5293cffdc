//! What is judged only by what was seen before, in its own time, and once on its node.

use nodewatch_protocol::Finding;

use super::*;

#[test]
fn an_answer_is_missed_only_where_it_would_have_been_seen() {
    const OTHER: [u8; 4] = [10, 0, 0, 3];
    let ports = |from: u16| (from, 80);
    let tcp_there = tcp((CLIENT, OTHER), ports(7000), ACK, (1, 1), 9, 1);
    let tcp_back = tcp((OTHER, CLIENT), (80, 7000), ACK, (1, 2), 9, 1);
    let begins = tcp((OTHER, CLIENT), ports(7001), SYN, (1, 0), 9, 0);
    let named = udp((SERVER, CLIENT), (53, 1), &dns(9, 0x8180, "before"));
    let to_all = udp((CLIENT, [224, 0, 0, 251]), (5353, 5353), &dns(9, 0x8180, "mine"));
    let ping = ip(1, OTHER, CLIENT, &[0; 16]);
    let frame = |packet: &[u8]| [&[0; 12][..], &[8, 0], packet].concat();
    let found = arp(2, OTHER, CLIENT);
    let other_named = udp((SERVER, OTHER), (53, 1), &dns(9, 0x8180, "before"));
    let other_found = arp(2, SERVER, OTHER);
    // What is seen before, and of which kind missing answers are judged then.
    let cases: [(&[Vec<u8>], &[Service]); 8] = [
        (&[frame(&begins), frame(&to_all)], &[]),
        (&[frame(&tcp_there)], &[]),
        // Something comes to the client: it would go on after an answer, whichever way that takes.
        (&[frame(&ping)], &[Service::Tcp]),
        (&[frame(&tcp_back)], &[Service::Tcp]),
        (&[frame(&tcp_there), frame(&tcp_back)], &[Service::Tcp]),
        (&[frame(&named)], &[Service::Tcp, Service::Dns]),
        (&[found], &[Service::Tcp, Service::Neighbour]),
        // Of others answers come through the filter, and to the client something.
        (&[frame(&ping), frame(&other_named), other_found], &[Service::Tcp, Service::Dns, Service::Neighbour]),
    ];
    for (before, wanted) in cases {
        let mut listening = Listening::just_begun();
        let see = |listening: &mut Listening, nanos: i64, bytes: &[u8]| {
            let wire_length = bytes.len() as u32;
            listening.analysis.packet(&Seen { interface: 3, link: Link::Ethernet, nanos, wire_length, bytes });
        };
        for packet in before {
            see(&mut listening, -5 * SECOND, packet);
        }
        see(&mut listening, 0, &frame(&there(SYN, (100, 0), 0)));
        see(&mut listening, 0, &frame(&question(1, "a")));
        (0..3).for_each(|second| see(&mut listening, second * SECOND, &arp(1, CLIENT, SERVER)));
        see(&mut listening, 15 * SECOND, &frame(&udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b"")));
        let (told, totals) = listening.end();
        let failed = |service| told.iter().any(|(pair, counts)| pair.service == service && counts.failures() > 0);
        let judged: Vec<Service> =
            [Service::Tcp, Service::Dns, Service::Neighbour].into_iter().filter(|&service| failed(service)).collect();
        assert_eq!(judged, wanted, "{totals:?}");
        let attempts = wanted.iter().filter(|&&service| service != Service::Neighbour).count();
        assert_eq!(totals.unjudged.one_way, 2 - attempts as u64, "no neighbour is an attempt");
    }
}

#[test]
fn without_a_filter_whatever_comes_to_who_waits_shows_that_answers_would() {
    for (comes, judged) in [(true, 2), (false, 0)] {
        let mut listening = Listening::just_begun();
        listening.later(-5 * SECOND);
        listening.analysis.is_whole(3);
        if comes {
            listening.see(-4 * SECOND, &udp(([10, 0, 0, 3], CLIENT), (123, 123), b""));
        }
        listening.see(0, &there(SYN, (100, 0), 0));
        listening.see(0, &question(1, "a"));
        listening.later(15 * SECOND);
        let (told, totals) = listening.end();
        let failed: u64 = told.iter().map(|(_, counts)| counts.failures()).sum();
        assert_eq!((failed, totals.unjudged.one_way), (judged, 2 - judged), "{comes}");
    }
}

/// On an interface of the node: a pod to which nothing comes asks somebody who is gone, by the same neighbour as others
/// or by another one. What passes no neighbour of which answers come may come back elsewhere.
#[test]
fn an_attempt_by_a_neighbour_that_brings_answers_to_others_is_missed_and_one_by_another_is_not() {
    const OTHER: [u8; 4] = [10, 0, 0, 3];
    let frame = |from: u8, to: u8, packet: &[u8]| [&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0], packet].concat();
    for (neighbour, judged) in [(9, 1), (8, 0)] {
        let mut listening = Listening::just_begun();
        let mut see = |nanos: i64, bytes: &[u8]| {
            let wire_length = bytes.len() as u32;
            listening.analysis.packet(&Seen { interface: 3, link: Link::Ethernet, nanos, wire_length, bytes });
        };
        let of_others = |ends, ports, flags| tcp(ends, ports, flags, (1, 1), 9, 1);
        see(-5 * SECOND, &frame(1, 9, &of_others((OTHER, [10, 0, 9, 9]), (7000, 80), ACK)));
        see(-4 * SECOND, &frame(9, 1, &of_others(([10, 0, 9, 9], OTHER), (80, 7000), ACK)));
        // Nobody answers by the other one.
        see(-3 * SECOND, &frame(1, 8, &of_others((OTHER, [10, 0, 8, 8]), (7001, 80), ACK)));
        see(0, &frame(1, neighbour, &there(SYN, (100, 0), 0)));
        see(15 * SECOND, &frame(1, 9, &udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b"")));
        let (told, totals) = listening.end();
        let failed: u64 = told.iter().map(|(_, counts)| counts.failures()).sum();
        assert_eq!((failed, totals.unjudged.one_way), (judged, 1 - judged), "by {neighbour}");
    }
}

#[test]
fn an_interface_with_the_number_of_another_one_has_heard_nothing() {
    let mut listening = Listening::new();
    listening.analysis.is_gone(3);
    listening.later(0);
    listening.see(5 * SECOND, &there(SYN, (100, 0), 0));
    listening.later(20 * SECOND);
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.failures(), totals.unjudged.one_way), (0, 1));
}

#[test]
fn an_attempt_whose_ends_go_on_was_answered_on_another_way() {
    let ways: [Vec<u8>; 3] = [there(ACK, (101, 501), 0), there(ACK, (121, 501), 20), back(ACK, (501, 101), 30)];
    for packet in ways {
        let mut listening = Listening::new();
        listening.see(0, &there(SYN, (100, 0), 0));
        listening.see(5 * MILLI, &packet);
        listening.later(30 * SECOND);
        let (counts, totals) = listening.counts(Service::Tcp);
        assert_eq!((counts.attempts, counts.answered, counts.failures()), (1, 1, 0));
        assert!(counts.answers.is_none() && totals.unjudged.total() == 0, "how long it took was not seen");
    }
    // What was there before the attempt goes on from nothing of it.
    for packet in [there(ACK, (77, 501), 0), back(ACK, (501, 77), 0), there(RST, (77, 0), 0)] {
        let mut listening = Listening::new();
        listening.see(0, &there(SYN, (100, 0), 0));
        listening.see(5 * MILLI, &packet);
        listening.later(30 * SECOND);
        let (counts, _) = listening.counts(Service::Tcp);
        assert_eq!((counts.answered, counts.both(Symptom::Unanswered)), (0, 1));
    }
}

/// The same segment with its sender's clock in it.
fn stamped(packet: &[u8], clock: u32) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let mut options = vec![8, 10];
    options.extend(clock.to_be_bytes());
    options.extend([0, 0, 0, 0, 1, 1]);
    bytes.splice(40..40, options);
    let total = (bytes.len() as u16).to_be_bytes();
    bytes[2..4].copy_from_slice(&total);
    bytes[32] = 0x80;
    bytes
}

/// A segment: when, whether it comes back, its flags, numbers and length, and the clock of its sender.
type Clocked = (i64, bool, u8, (u32, u32), usize, u32);

/// What a connection shows whose answer is repeated.
fn repeated(packets: &[Clocked]) -> Vec<Finding> {
    let mut listening = Listening::new();
    listening.later(0);
    for &(at, is_back, flags, numbers, length, clock) in packets {
        let packet = if is_back { back(flags, numbers, length) } else { there(flags, numbers, length) };
        listening.see(5 * SECOND + at, &stamped(&packet, clock));
    }
    let mut cases = Vec::new();
    listening.analysis.tell_cases(20 * SECOND, |case| cases.push(case.what));
    cases.retain(|what| *what != Finding::Answered);
    cases
}

#[test]
fn an_answer_is_repeated_in_vain_only_where_data_had_time_to_come() {
    let begun = [(0, false, SYN, (100, 0), 0, 1), (MILLI, true, SYN | ACK, (500, 101), 0, 7)];
    let bare = (2 * MILLI, false, ACK, (101, 501), 0, 2);
    let data = |at| (at, false, ACK, (101, 501), 10, 2);
    let again = |clock| (SECOND + MILLI, true, SYN | ACK, (500, 101), 0, clock);
    let with = |more: &[Clocked]| repeated(&[&begun[..], more].concat());
    assert_eq!(with(&[bare, data(3 * MILLI), again(1_007)]), [Finding::NotAccepted]);
    assert_eq!(
        with(&[bare, again(1_007)]),
        [Finding::AnswerRepeated],
        "it may wait for data, as TCP_DEFER_ACCEPT does"
    );
    assert_eq!(with(&[bare, data(990 * MILLI), again(1_007)]), [Finding::AnswerRepeated], "on its way");
    assert_eq!(with(&[bare, data(3 * MILLI), again(7)]), [], "the same packet, seen twice");
}

/// The question came by another interface: the answer alone is seen, and known by what it answers.
#[test]
fn an_answer_that_is_repeated_is_told_also_where_its_question_was_not_seen() {
    let told = |packets: &[(i64, Vec<u8>)]| {
        let mut listening = Listening::new();
        listening.later(0);
        for (at, packet) in packets {
            listening.see(5 * SECOND + at, packet);
        }
        let mut cases = Vec::new();
        listening.analysis.tell_cases(20 * SECOND, |case| cases.push(case));
        cases.into_iter().map(|case| (case.what, case.id.map(|id| id.0), case.hops, case.began)).collect::<Vec<_>>()
    };
    let answer = back(SYN | ACK, (500, 101), 0);
    let again = [(0, answer.clone()), (SECOND, answer.clone())];
    assert_eq!(told(&again), [(Finding::AnswerRepeated, Some(100), None, 5 * SECOND)]);
    assert_eq!(told(&again[..1]), [], "that may be how its packets go");
    let goes_on = [again[0].clone(), (SECOND / 2, there(ACK, (101, 501), 0)), again[1].clone()];
    assert_eq!(told(&goes_on), [], "it has come after all");
    let overtaken = [again[0].clone(), (1, there(SYN, (100, 0), 0)), (2, answer), (3, there(ACK, (101, 501), 0))];
    assert_eq!(told(&overtaken).iter().filter(|case| case.0 != Finding::Answered).count(), 0, "{overtaken:?}");
}

#[test]
fn who_ends_what_it_has_begun_itself_has_no_failure() {
    let abort = there(RST, (101, 0), 0);
    for answered in [true, false] {
        let mut listening = Listening::new();
        listening.see(0, &there(SYN, (100, 0), 0));
        if answered {
            listening.see(MILLI, &back(SYN | ACK, (500, 101), 0));
        }
        listening.see(2 * MILLI, &abort);
        listening.later(30 * SECOND);
        let (counts, totals) = listening.counts(Service::Tcp);
        assert_eq!((counts.failures(), counts.answered, totals.of(Symptom::ResetFlag)), (0, 1, 1), "{answered}");
    }
    // Once it goes on it is a connection, whoever ends it.
    let mut listening = Listening::new();
    handshake(&mut listening);
    listening.see(3 * MILLI, &abort);
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!(counts.of(Symptom::Reset, Way::There), 1);
    // The other end may not end it before that.
    let mut listening = Listening::new();
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &back(SYN | ACK, (500, 101), 0));
    listening.see(2 * MILLI, &back(RST, (501, 0), 0));
    let (counts, _) = listening.counts(Service::Tcp);
    assert_eq!(counts.of(Symptom::Reset, Way::Back), 1);
}

#[test]
fn a_clock_that_was_set_back_fails_nothing_and_silences_nothing() {
    let hour = 3600 * SECOND;
    let mut listening = Listening::new();
    listening.see(hour, &there(SYN, (100, 0), 0));
    listening.see(hour + MILLI, &question(1, "a"));
    let later = tcp((CLIENT, SERVER), (40_001, 80), SYN, (900, 0), 5000, 0);
    // An hour back: what was asked before is not known to have waited for so long.
    listening.see(SECOND, &tcp((CLIENT, SERVER), (40_002, 80), ACK, (1, 1), 9, 0));
    listening.see(SECOND, &tcp((SERVER, CLIENT), (80, 40_002), ACK, (1, 1), 9, 0));
    assert_eq!(listening.analysis.totals().unjudged.undecided, 2);
    listening.see(5 * SECOND, &later);
    listening.later(20 * SECOND);
    let mut failed = Vec::new();
    listening.analysis.tell(20 * SECOND, |pair, counts| failed.push((pair.service, counts.failures())));
    failed.retain(|(_, count)| *count > 0);
    assert_eq!(failed, [(Service::Tcp, 1)], "and what is asked after it is told in its time");
}

#[test]
fn what_several_interfaces_of_a_node_show_counts_once_in_sums_also_behind_other_addresses() {
    let mut listening = Listening::new();
    let other = Analysis::new(Limits::default()).beside(listening.analysis.echoes.0.clone(), 1);
    let analyses = [&mut listening.analysis, &mut { other }];
    let mut sums = nodewatch_protocol::Sums::default();
    // A pod asks for a service; on the node's interface that is one of its pods; the third one is captured.
    for (interface, analysis, server, port) in
        [(3, 0, SERVER, 80), (4, 0, [10, 0, 7, 7], 8080), (0, 1, [10, 0, 7, 7], 8080)]
    {
        let analysis = &mut *analyses[analysis];
        analysis.listens(interface, -5 * SECOND);
        for kind in [Kind::Tcp, Kind::Dns] {
            analysis.judging.hears(interface, kind, mapped(CLIENT));
        }
        let mut see = |nanos: i64, bytes: &[u8]| {
            let wire_length = bytes.len() as u32;
            let nanos = nanos + i64::from(interface) * 100_000;
            analysis.packet(&Seen { interface, link: Link::Raw, nanos, wire_length, bytes });
        };
        let there = |from: u16, flags, numbers, length| tcp((CLIENT, server), (from, port), flags, numbers, 9, length);
        let back = |to: u16, flags, numbers| tcp((server, CLIENT), (port, to), flags, numbers, 9, 0);
        see(0, &there(40_000, SYN, (100, 0), 0));
        see(MILLI, &back(40_000, RST | ACK, (0, 101)));
        see(2 * MILLI, &there(40_001, SYN, (7_000, 0), 0));
        see(3 * MILLI, &there(40_002, SYN, (9_000, 0), 0));
        see(1003 * MILLI, &there(40_002, SYN, (9_000, 0), 0));
        see(1004 * MILLI, &back(40_002, SYN | ACK, (500, 9_001)));
        see(1005 * MILLI, &there(40_002, ACK, (9_001, 501), 10));
        see(1300 * MILLI, &there(40_002, ACK, (9_001, 501), 10));
        see(1400 * MILLI, &udp((CLIENT, server), (5000, 53), &dns(4, 0x0100, "a")));
        see(30 * SECOND, &udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b""));
    }
    let mut failed = 0;
    for analysis in analyses {
        analysis.tell(30 * SECOND, |pair, counts| {
            failed += counts.failures();
            sums += counts.sums(pair.service);
        });
    }
    assert_eq!(failed, 9, "each interface's pairs have their own");
    assert_eq!((sums.failed, sums.dns_unanswered, sums.delayed), (3, 1, 1));
    assert_eq!((sums.attempts, sums.answered, sums.lookups), (4, 1, 1));
    assert_eq!((sums.retransmitted, sums.segments), (2, 8));
}

/// Answers come by one interface of two alone, whichever of them has seen what is asked first; of another attempt, and
/// another question, both see one direction.
#[test]
fn what_one_interface_has_seen_answered_is_not_unjudged_by_another_one() {
    for whole in [3, 4] {
        let mut listening = Listening::just_begun();
        let mut see = |interface: u16, nanos: i64, bytes: &[u8]| {
            let (wire_length, nanos) = (bytes.len() as u32, nanos + i64::from(interface) * 100_000);
            listening.analysis.packet(&Seen { interface, link: Link::Raw, nanos, wire_length, bytes });
        };
        let begun = |from: u16, number: u32| tcp((CLIENT, SERVER), (from, 80), SYN, (number, 0), 9, 0);
        let asked = [begun(40_000, 100), question(1, "a"), begun(40_001, 7_000), question(2, "b")];
        let late = udp(([10, 9, 9, 9], [10, 9, 9, 8]), (9, 9), b"");
        for nanos in [-5 * SECOND, -4 * SECOND] {
            for interface in [3, 4] {
                see(interface, nanos, &late);
            }
        }
        for packet in &asked[..2] {
            for interface in [3, 4] {
                see(interface, 0, packet);
            }
        }
        see(whole, MILLI, &tcp((SERVER, CLIENT), (80, 40_000), SYN | ACK, (500, 101), 9, 0));
        see(whole, MILLI, &answer(1, 0, "a"));
        for packet in &asked[2..] {
            see(7 - whole, SECOND, packet);
        }
        for interface in [3, 4] {
            see(interface, 15 * SECOND, &late);
        }
        let (told, totals) = listening.end();
        let mut sums = nodewatch_protocol::Sums::default();
        for (pair, counts) in told {
            sums += counts.sums(pair.service);
        }
        assert_eq!((sums.attempts, sums.answered, sums.failed), (4, 2, 0), "{whole}");
        assert_eq!(totals.unjudged.one_way, 2, "{whole}");
    }
}

#[test]
fn an_interface_that_has_the_number_of_another_one_begins_anew() {
    let mut listening = Listening::new();
    listening.analysis.is_gone(3);
    listening.see(0, &there(SYN, (100, 0), 0));
    listening.see(MILLI, &back(RST | ACK, (0, 101), 0));
    let (counts, totals) = listening.counts(Service::Tcp);
    assert_eq!((counts.failures(), totals.unjudged.at_the_beginning), (0, 1));
}

#[test]
fn what_comes_too_early_or_one_way_or_with_losses_is_not_judged() {
    let refused = |listening: &mut Listening| {
        listening.see(0, &there(SYN, (100, 0), 0));
        listening.see(MILLI, &back(RST | ACK, (0, 101), 0));
    };
    let mut early = Listening::just_begun();
    refused(&mut early);
    let (counts, totals) = early.counts(Service::Tcp);
    assert_eq!((counts.failures(), totals.unjudged.at_the_beginning), (0, 1));

    let mut lossy = Listening::new();
    refused(&mut lossy);
    lossy.analysis.lost(3, 500 * MILLI);
    let mut told = Vec::new();
    lossy.analysis.tell(SECOND, |_, counts| told.push(counts.failures()));
    assert_eq!(told.iter().sum::<u64>(), 0);
    assert_eq!(lossy.analysis.totals().unjudged.lost_packets, 1);
    lossy.see(20 * SECOND, &there(SYN, (100_000, 0), 0));
    lossy.see(20 * SECOND + MILLI, &back(RST | ACK, (0, 100_001), 0));
    let (counts, _) = lossy.counts(Service::Tcp);
    assert_eq!(counts.failures(), 1, "the loss is over");

    let mut one_way = Listening::just_begun();
    one_way.later(-5 * SECOND);
    one_way.see(0, &there(SYN, (100, 0), 0));
    one_way.later(15 * SECOND);
    let (counts, totals) = one_way.counts(Service::Tcp);
    assert_eq!((counts.failures(), totals.unjudged.one_way), (0, 1));
}
