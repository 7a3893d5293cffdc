//! Answers and what they are made of as time passes: which one it is, what it has hurt in all, what is old.

use super::*;

#[test]
fn what_it_has_hurt_in_all_is_counted_one_by_one() {
    let mut cluster = Cluster::new().well();
    cluster.fail(180, UNANSWERED, 1);
    let answer = cluster.is(Code::WireLoss, Certainty::Verdict);
    assert!((50..=61).contains(&answer.failed), "{answer:?}");
    assert_eq!(answer.in_all, 180);
}

#[test]
fn a_connection_of_long_ago_that_fails_now_has_failed_now() {
    let mut cluster = Cluster::new().well();
    let begun = cluster.now;
    let reset: fn(&mut Case) = |case| {
        (case.silence_millis, case.by_server) = (350_400, true);
        case.began -= 3_600 * 1_000_000_000;
    };
    cluster.fail_so(3, Finding::Symptom(Symptom::ForeignReset), 1, reset);
    let answer = cluster.is(Code::IdleCut, Certainty::Verdict);
    assert_eq!(answer.since, begun);
    assert!(answer.proof.iter().all(|proof| proof.at >= (begun * 1_000_000) as i64), "{answer:?}");
}

#[test]
fn an_answer_stays_the_same_one_whatever_is_known_of_its_names_and_times() {
    let mut cluster = Cluster::new().well();
    cluster.fail(6, UNANSWERED, 3);
    let id = cluster.is(Code::AcceptQueue, Certainty::Verdict).id;
    cluster.engine.journal.hears(Source::Pods, BEGIN);
    cluster.engine.journal.pod(BEGIN, pod(PodPhase::Ready));
    let since = cluster.first().since;
    // One that had begun before is known later.
    cluster.see_until(&Shown::of(UNANSWERED, 300, since - 2_000), 3);
    cluster.pass(4);
    let answer = cluster.is(Code::AcceptQueue, Certainty::Verdict);
    assert_eq!((answer.id, answer.place.pod.as_deref()), (id, Some("shop/api-1")));
    assert_eq!((answer.since, answer.in_all), (since - 2_000, 7));
    let told = cluster.engine.answers().iter().filter(|answer| answer.code == Some(Code::AcceptQueue)).count();
    assert_eq!((told, cluster.engine.history().count()), (1, 0));
    // What is stamped by a clock that was set back is no older.
    cluster.see_until(&Shown::of(UNANSWERED, 301, since - 3_600_000), 3);
    cluster.pass(4);
    let answer = cluster.is(Code::AcceptQueue, Certainty::Verdict);
    assert_eq!((answer.id, answer.since), (id, since - 2_000));
}

#[test]
fn an_answer_that_is_over_has_the_numbers_of_its_worst_minute() {
    let mut cluster = Cluster::new().well();
    cluster.fail(40, UNANSWERED, 1);
    let (failed, text) = (cluster.first().failed, cluster.first().text.clone());
    assert_eq!(failed, 40);
    let mut least = failed;
    while let Some(answer) = cluster.engine.answers().first() {
        least = least.min(answer.failed);
        cluster.pass(1);
    }
    assert!(least < 10, "it has become fewer: {least}");
    let over = cluster.engine.history().next().expect("it was there");
    assert_eq!((over.failed, &over.text, over.in_all), (failed, &text, 40));
    assert!(over.proof.iter().any(|proof| proof.at < (over.last * 1_000_000) as i64 - 30_000_000_000), "{over:?}");
}

#[test]
fn of_a_node_that_tells_of_no_signal_any_more_none_is_known() {
    let mut cluster = Cluster::new();
    cluster.signal("conntrack.count", &[850]);
    cluster.signal("conntrack.max", &[1000]);
    for _ in 0..4 {
        cluster.pass(40);
        assert_eq!(cluster.engine.answers().len(), 1, "it is nearly full: {:?}", cluster.engine.answers());
        cluster.engine.signals_are_told(cluster.now, "b", false);
    }
    cluster.pass(62);
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
}

#[test]
fn what_has_risen_while_nobody_was_told_has_not_risen_now() {
    for (anew, notes) in [(true, 0), (false, 1)] {
        let mut cluster = Cluster::new();
        cluster.signal("conntrack.insert_failed", &[5]);
        cluster.pass(30);
        cluster.engine.signals_are_told(cluster.now, "b", anew);
        cluster.signal("conntrack.insert_failed", &[50]);
        cluster.pass(1);
        assert_eq!(cluster.engine.answers().len(), notes, "{:?}", cluster.engine.answers());
    }
}

#[test]
fn a_clock_that_is_set_back_latches_nothing() {
    let mut cluster = Cluster::new().well();
    cluster.fail(6, UNANSWERED, 1);
    cluster.signal("conntrack.insert_failed", &[5, 50]);
    cluster.is(Code::WireLoss, Certainty::Verdict);
    cluster.now -= 3_600_000;
    cluster.pass(1);
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
    assert_eq!(cluster.engine.history().count(), 1);
    assert_eq!(cluster.engine.looked().until, cluster.now);
    // What fails from then on is found as before: the way is known.
    cluster.fail(6, UNANSWERED, 1);
    let answer = cluster.is(Code::WireLoss, Certainty::Verdict);
    assert_eq!((answer.failed, answer.of), (6, 24));
}

#[test]
fn what_an_answer_explains_that_nobody_has_felt_leaves_the_rest_unexplained() {
    let mut cluster = Cluster::new().well();
    for number in 0..3 {
        let change: fn(&mut Case) = |case| (case.other, case.id) = (Some(SERVICE), None);
        let stray = Shown { change, ..Shown::of(Finding::Stray, 100 + number, cluster.now) };
        cluster.see_until(&stray, 1);
        cluster.see_until(&Shown::of(REFUSED, 200 + number, cluster.now), 1);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster.is(Code::InvalidReset, Certainty::Likely);
    assert_eq!(cluster.engine.looked().unexplained, 3);
}
