//! What is told of two nodes, second by second, and what is answered.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use nodewatch_protocol::{Case, Finding, Role, Service, Sums, Symptom};

use crate::{Answer, Certainty, Code, Engine, Face, Pair, Pod, PodPhase, Policy, Segment, Source, Told};

const BEGIN: u64 = 1_700_000_000_000;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 9));
const BACKEND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 7));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 8));
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// The places of the way: the client's pod and node, the server's node and pod; hops that are left at each.
const WAY: [(&str, &str, Role, u8); 4] = [
    ("a", "eni1", Role::Pod, 64),
    ("a", "eth0", Role::Node, 63),
    ("b", "eth0", Role::Node, 62),
    ("b", "eni7", Role::Pod, 61),
];

/// One connection, as it is told of everywhere.
#[derive(Clone)]
struct Shown {
    what: Finding,
    began: u64,
    port: u16,
    id: u32,
    destination: IpAddr,
    backend: IpAddr,
    service: Service,
    change: fn(&mut Case),
}

impl Shown {
    fn of(what: Finding, number: u16, began: u64) -> Self {
        let id = u32::from(number).wrapping_mul(7919) ^ began as u32;
        let service = Service::Tcp;
        Self { what, began, port: 40_000 + number, id, destination: BACKEND, backend: BACKEND, service, change: |_| {} }
    }

    fn case(&self, place: u16, hops: u8) -> Case {
        let translated = place % 2 == 1 || hops < 64;
        let asked = if translated { self.backend } else { self.destination };
        let port = if self.service == Service::Dns { 53 } else { 8080 };
        let at = (self.began * 1_000_000) as i64;
        let case = Case::of(self.what, self.service, (CLIENT, self.port), (asked, port), at);
        let mut case = Case { interface: place % 2, id: Some((self.id, 77)), hops: Some(hops), ..case };
        (self.change)(&mut case);
        case
    }
}

/// Two nodes that are watched.
struct Cluster {
    engine: Engine,
    now: u64,
    told: [Told; 2],
}

impl Cluster {
    fn new() -> Self {
        Self { engine: Engine::default(), now: BEGIN, told: [second("a"), second("b")] }
    }

    /// Places that see it, by their number on the way, each with its own finding.
    fn see(&mut self, shown: &Shown, places: &[(usize, Finding)]) {
        for &(place, what) in places {
            let (_, _, _, hops) = WAY[place];
            let case = Shown { what, ..shown.clone() }.case(place as u16, hops);
            self.told[place / 2].cases.push(case);
        }
    }

    /// The same at all places up to one.
    fn see_until(&mut self, shown: &Shown, last: usize) {
        let places: Vec<(usize, Finding)> = (0..=last).map(|place| (place, shown.what)).collect();
        self.see(shown, &places);
    }

    /// Attempts in this second, at all places.
    fn count(&mut self, destination: IpAddr, service: Service, attempts: u64, answered: u64) {
        let port = if service == Service::Dns { 53 } else { 8080 };
        let sums = Sums { packets: 4 * attempts, attempts, answered, failed: attempts - answered, ..Sums::default() };
        for told in &mut self.told {
            told.sums += sums;
            for interface in 0..2 {
                told.pairs.push(Pair { interface, ..pair((destination, port), service, sums) });
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1000;
            for (told, name) in self.told.iter_mut().zip(["a", "b"]) {
                let told = Told { at: self.now, ..std::mem::replace(told, second(name)) };
                self.engine.hear(&told);
            }
            self.engine.judge(self.now, false);
        }
    }

    /// All is well, and the way is known.
    fn well(mut self) -> Self {
        for number in 0..4 {
            let shown = Shown::of(Finding::Answered, number, self.now);
            self.see_until(&shown, 3);
            self.count(BACKEND, Service::Tcp, 10, 10);
            self.pass(1);
        }
        self
    }

    fn fail(&mut self, count: u16, what: Finding, last: usize) {
        self.fail_so(count, what, last, |_| {});
    }

    /// Six attempts are lost inside a node, and counters move with the third.
    fn fail_with(&mut self, last: usize, counters: &[(&'static str, &'static str, [u64; 2])]) {
        for (node, name, values) in counters {
            self.engine.signal(self.now, (node, name, ""), values[0]);
        }
        for number in 0..6 {
            let shown = Shown::of(UNANSWERED, 100 + number, self.now);
            self.see_until(&shown, last);
            self.count(BACKEND, Service::Tcp, 4, 3);
            for (node, name, values) in counters.iter().filter(|_| number == 3) {
                self.engine.signal(self.now, (node, name, ""), values[1]);
            }
            self.pass(1);
        }
        self.pass(4);
    }

    fn fail_so(&mut self, count: u16, what: Finding, last: usize, change: fn(&mut Case)) {
        for number in 0..count {
            let shown = Shown { change, ..Shown::of(what, 100 + number, self.now) };
            self.see_until(&shown, last);
            if what == UNANSWERED && last == 3 {
                // As an accept queue does that is full now and then.
                let answered = Shown::of(Finding::Answered, 200 + number, self.now + 400);
                self.see(&answered, &[(3, Finding::Answered)]);
            }
            self.count(BACKEND, Service::Tcp, 4, 3);
            self.pass(1);
        }
        self.pass(4);
    }

    fn signal(&mut self, name: &str, values: &[u64]) {
        for value in values {
            self.engine.signal(self.now, ("b", name, ""), *value);
        }
    }

    fn first(&self) -> &Answer {
        self.engine.answers().first().unwrap_or_else(|| panic!("nothing: {:?}", self.engine.looked()))
    }

    fn is(&self, code: Code, certainty: Certainty) -> &Answer {
        let first = self.first();
        assert_eq!((first.code, first.certainty), (Some(code), certainty), "{first:#?}");
        first
    }
}

/// What a node's own interface has counted.
fn pair((destination, port): (IpAddr, u16), service: Service, sums: Sums) -> Pair {
    Pair { source: CLIENT, destination, port, service, interface: 1, tunnel: None, sums, mtu: None }
}

fn second(node: &str) -> Told {
    let faces = WAY.iter().filter(|place| place.0 == node);
    let faces = faces.map(|place| Face { name: place.1.to_owned(), role: place.2, ..Face::default() }).collect();
    Told { node: node.to_owned(), millis: 1000, faces, answered_to: u32::MAX, ..Told::default() }
}

const UNANSWERED: Finding = Finding::Symptom(Symptom::Unanswered);
const DELAYED: Finding = Finding::Symptom(Symptom::Delayed);
const REFUSED: Finding = Finding::Symptom(Symptom::Refused);

#[test]
fn the_place_that_saw_it_last_says_where_it_was_lost() {
    let mut between = Cluster::new().well();
    between.fail(6, UNANSWERED, 1);
    let answer = between.is(Code::WireLoss, Certainty::Verdict);
    assert_eq!(answer.place.segment, Some(Segment::Between { from: "a".into(), to: "b".into() }));
    assert_eq!((answer.failed, answer.proof.len()), (6, 3));
    assert_eq!(answer.proof[0].seen, ["eni1 of a", "eth0 of a"]);
    assert_eq!(answer.proof[0].missing, ["eth0 of b", "eni7 of b"]);

    let mut pod = Cluster::new().well();
    pod.fail(6, UNANSWERED, 3);
    pod.is(Code::AcceptQueue, Certainty::Verdict);

    let mut node = Cluster::new().well();
    node.fail(6, UNANSWERED, 2);
    assert_eq!(node.is(Code::PolicyDrop, Certainty::Likely).place.node.as_deref(), Some("b"));
}

#[test]
fn times_of_two_nodes_are_held_against_each_other_by_what_both_have_seen_answered() {
    const AHEAD: i64 = 4_000_000;
    let mut cluster = Cluster::new();
    for number in 0..4 {
        let shown = Shown::of(Finding::Answered, number, cluster.now);
        for (place, (_, _, _, hops)) in WAY.into_iter().enumerate() {
            let mut case = shown.case(place as u16, hops);
            // From place to place it takes 0.1 ms, either way.
            let (there, back) = (place as i64 * 100_000, (6 - place as i64) * 100_000 + 50_000);
            let ahead = if place < 2 { 0 } else { AHEAD };
            (case.began, case.at) = (case.began + there + ahead, case.began + back + ahead);
            cluster.told[place / 2].cases.push(case);
        }
        cluster.count(BACKEND, Service::Tcp, 10, 10);
        cluster.pass(1);
    }
    cluster.fail(6, UNANSWERED, 3);
    let answer = cluster.is(Code::AcceptQueue, Certainty::Verdict);
    let [gap] = &answer.clocks[..] else { panic!("one: {:?}", answer.clocks) };
    assert_eq!((gap.node.as_str(), gap.ahead.as_str()), ("a", "b"));
    assert!((gap.by - AHEAD).abs() <= gap.error && gap.error == 100_000, "{gap:?}");
    // Nothing was answered that both have seen.
    let mut blind = Cluster::new();
    blind.count(BACKEND, Service::Tcp, 10, 10);
    blind.fail(6, UNANSWERED, 3);
    let answer = blind.first();
    assert!(
        answer.clocks.is_empty() && answer.not_seen.iter().any(|what| what.contains("clocks of a and b")),
        "{answer:?}"
    );
    let mut one = Cluster::new().well();
    one.fail(6, UNANSWERED, 1);
    assert!(one.first().clocks.is_empty(), "only one node has seen these");
}

#[test]
fn one_that_came_through_at_its_second_beginning_was_lost_where_the_first_one_ended() {
    let mut cluster = Cluster::new().well();
    for number in 0..6 {
        let shown = Shown::of(DELAYED, 100 + number, cluster.now);
        cluster.see(&shown, &[(0, DELAYED), (1, DELAYED)]);
        // There it began a second later, by another clock of its sender.
        let late =
            Shown { began: shown.began + 1030, change: |case| case.id = case.id.map(|id| (id.0, 1107)), ..shown };
        cluster.see(&late, &[(2, Finding::Answered), (3, Finding::Answered)]);
        cluster.count(BACKEND, Service::Tcp, 4, 4);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster.is(Code::WireLoss, Certainty::Verdict);
}

#[test]
fn an_answer_that_does_not_come_back_is_lost_on_the_way_back() {
    let mut cluster = Cluster::new().well();
    for number in 0..6 {
        let shown = Shown::of(UNANSWERED, 100 + number, cluster.now);
        cluster.see(
            &shown,
            &[(0, UNANSWERED), (1, UNANSWERED), (2, Finding::AnswerRepeated), (3, Finding::AnswerRepeated)],
        );
        cluster.count(BACKEND, Service::Tcp, 4, 3);
        cluster.pass(1);
    }
    cluster.pass(4);
    let back = Segment::Between { from: "b".into(), to: "a".into() };
    assert_eq!(cluster.is(Code::WireLoss, Certainty::Verdict).place.segment, Some(back));
}

#[test]
fn a_place_that_lost_packets_is_not_one_that_saw_nothing() {
    let mut cluster = Cluster::new().well();
    for number in 0..6 {
        let shown = Shown::of(UNANSWERED, 100 + number, cluster.now);
        cluster.see_until(&shown, 1);
        cluster.told[1].faces.iter_mut().for_each(|face| face.lost = true);
        cluster.count(BACKEND, Service::Tcp, 4, 3);
        cluster.pass(1);
    }
    cluster.pass(4);
    assert_ne!(cluster.first().code, Some(Code::WireLoss), "{:?}", cluster.first());
}

#[test]
fn few_or_from_one_port_or_of_very_many_is_no_answer() {
    let mut few = Cluster::new().well();
    few.fail(4, UNANSWERED, 1);
    assert!(few.engine.answers().is_empty(), "{:?}", few.engine.answers());
    assert_eq!(few.engine.looked().unexplained, 4);

    let mut one_port = Cluster::new().well();
    one_port.fail_so(8, UNANSWERED, 1, |case| case.ports.0 = 40_000);
    assert!(one_port.engine.answers().is_empty(), "{:?}", one_port.engine.answers());

    let mut many = Cluster::new().well();
    many.count(BACKEND, Service::Tcp, 50_000, 50_000);
    many.fail(6, UNANSWERED, 1);
    assert!(many.engine.answers().is_empty(), "{:?}", many.engine.answers());
}

#[test]
fn an_answer_ends_by_itself_and_stays_with_its_times() {
    let mut cluster = Cluster::new().well();
    let began = cluster.now;
    cluster.fail(6, UNANSWERED, 1);
    let since = cluster.first().since;
    assert!((began..began + 1000).contains(&since));
    let mut seconds = 0;
    while !cluster.engine.answers().is_empty() {
        cluster.pass(1);
        seconds += 1;
        assert!(seconds <= 120, "it is told as over within two minutes: {:?}", cluster.first());
    }
    let over: Vec<&Answer> = cluster.engine.history().collect();
    assert_eq!((over.len(), over[0].code, over[0].since), (1, Some(Code::WireLoss), since));
    assert_eq!(over[0].until, Some(over[0].last));
    assert!((began + 5000..began + 6000).contains(&over[0].last), "when the last one failed: {}", over[0].last - began);
    cluster.fail(6, UNANSWERED, 1);
    assert!(cluster.first().since > over_last(&cluster), "another time of the same");
}

fn over_last(cluster: &Cluster) -> u64 {
    cluster.engine.history().next().map_or(0, |answer| answer.last)
}

#[test]
fn counters_name_the_mechanism_and_what_moves_without_failures_is_a_note() {
    type Counter = (&'static str, [u64; 2]);
    let of = |counters: &[Counter], fails: bool| {
        let mut cluster = Cluster::new().well();
        if fails {
            let counters: Vec<_> = counters.iter().map(|(name, values)| ("b", *name, *values)).collect();
            cluster.fail_with(2, &counters);
            return cluster;
        }
        for (name, values) in counters {
            cluster.signal(name, values);
        }
        cluster.pass(1);
        cluster
    };
    let full: &[Counter] =
        &[("conntrack.count", [980, 1000]), ("conntrack.max", [1000, 1000]), ("conntrack.drop", [5, 11])];
    let answer = of(full, true);
    let answer = answer.is(Code::ConntrackFull, Certainty::Verdict);
    assert_eq!((answer.counters[0].before, answer.counters[0].after), (5, 11));
    let clash: &[Counter] = &[
        ("conntrack.count", [80, 90]),
        ("conntrack.max", [1000, 1000]),
        ("conntrack.drop", [5, 11]),
        ("conntrack.insert_failed", [0, 6]),
    ];
    of(clash, true).is(Code::SnatPorts, Certainty::Verdict);
    of(&[("ip.reverse_path_drops", [0, 6])], true).is(Code::ReturnPath, Certainty::Verdict);
    of(&[("arp.table_fulls", [0, 33])], true).is(Code::Neighbour, Certainty::Verdict);
    let other_family = of(&[("ndisc.table_fulls", [0, 33])], true);
    assert!(other_family.engine.answers().iter().all(|answer| answer.code != Some(Code::Neighbour)));
    let neighbours: &[Counter] = &[("arp.table_fulls", [0, 33])];
    for (counters, count) in [(full, 1), (clash, 1), (neighbours, 1)] {
        let cluster = of(counters, false);
        let answers = cluster.engine.answers();
        assert_eq!(answers.len(), count, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.certainty == Certainty::Note && !answer.certainty.is_answer()));
    }
    let cluster = of(&[("conntrack.count", [850, 700]), ("conntrack.max", [1000, 1000])], false);
    assert!(cluster.engine.answers().is_empty(), "70 % is nobody's business");
}

#[test]
fn limits_of_the_instance_come_before_loss_between_nodes() {
    let mut cluster = Cluster::new().well();
    cluster.fail_with(1, &[("a", "ena.pps_allowance_exceeded", [0, 400])]);
    assert_eq!(cluster.is(Code::Allowance, Certainty::Verdict).place.node.as_deref(), Some("a"));
    assert!(cluster.engine.answers().iter().all(|answer| answer.code != Some(Code::WireLoss)));
}

#[test]
fn exact_patterns_need_three() {
    let exact = |what, change: fn(&mut Case), count| {
        let mut cluster = Cluster::new().well();
        cluster.fail_so(count, what, 1, change);
        cluster.engine.answers().first().map(|answer| (answer.code, answer.certainty))
    };
    let verdict = |code| Some((Some(code), Certainty::Verdict));
    let stray: fn(&mut Case) = |case| (case.other, case.id) = (Some(SERVICE), None);
    // Nothing shows that the service's address is translated to the backend's.
    assert_eq!(exact(Finding::Stray, stray, 3), Some((Some(Code::InvalidReset), Certainty::Likely)));
    assert_eq!(exact(Finding::Stray, stray, 2), None);
    let own: fn(&mut Case) = |case| (case.other, case.id) = (Some(BACKEND), None);
    assert_eq!(exact(Finding::Stray, own, 3), None, "it is nobody else's");
    let stuck: fn(&mut Case) = |case| (case.amount, case.others_pass) = (1448, true);
    assert_eq!(exact(Finding::Stuck, stuck, 3), verdict(Code::MtuHole));
    assert_eq!(exact(Finding::Stuck, |case| case.amount = 1448, 3), None, "nothing arrives any more");
    assert_eq!(exact(Finding::NotAccepted, |_| {}, 3), verdict(Code::AcceptQueue));
    let stalled: fn(&mut Case) = |case| case.amount = 2_500;
    assert_eq!(exact(Finding::Symptom(Symptom::Stalled), stalled, 3), verdict(Code::SlowReceiver));
    let paced = exact(Finding::Symptom(Symptom::Stalled), |case| case.amount = 900, 3);
    assert_eq!(paced, Some((Some(Code::SlowReceiver), Certainty::Likely)), "it may be on purpose");
    let one: fn(&mut Case) = |case| (case.amount, case.ports.0, case.id) = (2_500, 40_000, None);
    assert_eq!(exact(Finding::Symptom(Symptom::Stalled), one, 9), None, "one connection");
    assert_eq!(exact(Finding::Symptom(Symptom::Stalled), |case| case.amount = 300, 9), None, "a dip");
    let idle: fn(&mut Case) = |case| (case.silence_millis, case.by_server) = (350_400, true);
    assert_eq!(exact(Finding::Symptom(Symptom::ForeignReset), idle, 3), verdict(Code::IdleCut));
    assert_eq!(exact(Finding::Symptom(Symptom::Reset), |case| case.silence_millis = 300, 9), None, "it was not idle");
    let raced: fn(&mut Case) =
        |case| (case.silence_millis, case.by_server) = (5_000 + u64::from(case.ports.0 % 3), true);
    assert_eq!(exact(Finding::Symptom(Symptom::ClosedTooSoon), raced, 3), verdict(Code::KeepAliveRace));
    // That each was answered is told of as well, by the same places.
    let mut both = Cluster::new().well();
    for number in 0..3 {
        both.see_until(&Shown::of(Finding::Answered, 100 + number, both.now), 3);
        let closed = Finding::Symptom(Symptom::ClosedTooSoon);
        both.see_until(&Shown { change: raced, ..Shown::of(closed, 100 + number, both.now) }, 1);
        both.count(BACKEND, Service::Tcp, 4, 4);
        both.pass(1);
    }
    both.pass(4);
    both.is(Code::KeepAliveRace, Certainty::Verdict);
    let any: fn(&mut Case) =
        |case| (case.silence_millis, case.by_server) = (1_000 * u64::from(case.ports.0 % 17), true);
    assert_eq!(exact(Finding::Symptom(Symptom::ClosedTooSoon), any, 9), None, "at any time: a shutdown");
}

fn pod(phase: PodPhase) -> Pod {
    Pod {
        name: "shop/api-1".into(),
        uid: "u1".into(),
        node: "b".into(),
        addresses: vec![BACKEND],
        phase,
        started: BEGIN - 3_600_000,
        ..Pod::default()
    }
}

#[test]
fn the_journal_says_that_a_backend_was_leaving() {
    let mut cluster = Cluster::new().well();
    cluster.engine.journal.hears(Source::Pods, BEGIN);
    cluster.engine.journal.pod(BEGIN, pod(PodPhase::Ready));
    cluster.engine.journal.pod(cluster.now, Pod { deleted: Some(cluster.now), ..pod(PodPhase::Terminating) });
    cluster.fail(6, REFUSED, 3);
    let answer = cluster.is(Code::EndpointGone, Certainty::Verdict);
    assert_eq!(answer.place.pod.as_deref(), Some("shop/api-1"));
    assert!(answer.text.contains("is being deleted"), "{}", answer.text);

    // One that stays, and refuses: nothing is gone.
    let mut cluster = Cluster::new().well();
    cluster.engine.journal.pod(BEGIN, pod(PodPhase::Ready));
    cluster.fail(6, REFUSED, 3);
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
}

#[test]
fn endpoints_that_have_left_and_one_of_two_that_refuses() {
    let mut cluster = Cluster::new().well();
    let backends = |ready| BTreeMap::from([((BACKEND, 8080), ready), ((OTHER, 8080), true)]);
    cluster.engine.journal.hears(Source::Endpoints, BEGIN);
    cluster.engine.journal.backends(BEGIN, "shop/api", backends(true));
    cluster.engine.journal.backends(cluster.now, "shop/api", backends(false));
    cluster.fail(6, UNANSWERED, 3);
    assert_eq!(cluster.is(Code::EndpointGone, Certainty::Verdict).place.service.as_deref(), Some("shop/api"));

    // Without a journal, by the other backend's answers; one that knows of nothing knows better.
    let other = |heard: bool| {
        let mut cluster = Cluster::new();
        for source in [Source::Pods, Source::Endpoints].into_iter().filter(|_| heard) {
            cluster.engine.journal.hears(source, BEGIN);
        }
        for number in 0..12 {
            let shown = Shown { destination: SERVICE, ..Shown::of(REFUSED, number, cluster.now) };
            cluster.see_until(&shown, 3);
            cluster.count(SERVICE, Service::Tcp, 2, 1);
            cluster.count(BACKEND, Service::Tcp, 1, 0);
            cluster.pass(1);
        }
        cluster.pass(4);
        cluster
    };
    assert!(other(true).engine.answers().iter().all(|answer| answer.code.is_none()));
    let cluster = other(false);
    let answer = cluster.is(Code::EndpointGone, Certainty::Likely);
    assert!(!answer.not_seen.is_empty() && answer.text.contains("the other backends answer"), "{answer:?}");
}

#[test]
fn a_policy_that_selects_an_end_makes_it_sure_and_none_makes_it_another_cause() {
    let lost = |policy: Option<Policy>| {
        let mut cluster = Cluster::new().well();
        for source in [Source::Pods, Source::Policies] {
            cluster.engine.journal.hears(source, BEGIN);
        }
        cluster.engine.journal.pod(BEGIN, pod(PodPhase::Ready));
        if let Some(policy) = policy {
            cluster.engine.journal.policy(policy);
        }
        for counter in ["conntrack.insert_failed", "conntrack.drop", "ip.reverse_path_drops", "arp.table_fulls"] {
            cluster.signal(counter, &[5]);
        }
        cluster.fail(6, UNANSWERED, 2);
        cluster.first().clone()
    };
    let selects = |namespace: &str| Policy {
        name: format!("{namespace}/deny"),
        selects: Some(BTreeMap::new()),
        ingress: true,
        egress: false,
    };
    let answer = lost(Some(selects("shop")));
    assert_eq!((answer.code, answer.certainty), (Some(Code::PolicyDrop), Certainty::Verdict));
    assert!(answer.text.contains("shop/deny"), "{}", answer.text);
    for none in [lost(None), lost(Some(selects("elsewhere")))] {
        assert_eq!((none.code, none.certainty), (None, Certainty::Located), "{none:?}");
    }
}

#[test]
fn one_dns_server_of_two_is_silent_and_the_resolver_is_throttled_by_its_counter() {
    const DNS: Finding = Finding::Symptom(Symptom::DnsUnanswered);
    let mut cluster = Cluster::new();
    for number in 0..8 {
        let shown = Shown { service: Service::Dns, ..Shown::of(DNS, number, cluster.now) };
        cluster.see_until(&shown, 3);
        cluster.count(BACKEND, Service::Dns, 4, 3);
        cluster.count(OTHER, Service::Dns, 4, 4);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster.is(Code::DnsSilent, Certainty::Verdict);

    let resolver = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    let mut cluster = Cluster::new();
    cluster.engine.signal(cluster.now, ("a", "ena.linklocal_allowance_exceeded", "eth0"), 0);
    for number in 0..8 {
        let shown = Shown {
            service: Service::Dns,
            destination: resolver,
            backend: resolver,
            ..Shown::of(DNS, number, cluster.now)
        };
        cluster.see_until(&shown, 1);
        cluster.count(resolver, Service::Dns, 90, 89);
        cluster.engine.signal(cluster.now, ("a", "ena.linklocal_allowance_exceeded", "eth0"), u64::from(number) * 9);
        cluster.pass(1);
    }
    cluster.pass(4);
    cluster.is(Code::DnsThrottled, Certainty::Verdict);
}

#[test]
fn who_has_answered_nobody_for_long_and_is_no_endpoint_is_one_note_and_no_failure() {
    let asked = |minutes: u64, heard: bool, endpoint: bool| {
        let mut cluster = Cluster::new().well();
        if heard {
            cluster.engine.journal.hears(Source::Endpoints, BEGIN);
            cluster.engine.journal.hears(Source::Services, BEGIN);
        }
        if endpoint {
            cluster.engine.journal.backends(BEGIN, "shop/api", BTreeMap::from([((OTHER, 8080), true)]));
        }
        cluster.pass(minutes * 60);
        for number in 0..6 {
            let shown =
                Shown { destination: OTHER, backend: OTHER, ..Shown::of(UNANSWERED, 100 + number, cluster.now) };
            cluster.see_until(&shown, 1);
            cluster.count(OTHER, Service::Tcp, 1, 0);
            cluster.pass(1);
        }
        cluster.pass(4);
        let answers = cluster.engine.answers();
        answers.iter().map(|answer| (answer.certainty, answer.text.clone())).collect::<Vec<_>>()
    };
    let text = "6 attempts to reach who has answered nobody for 15 min and is no service's: 10.0.2.8:8080";
    assert_eq!(asked(16, true, false), [(Certainty::Note, text.to_owned())]);
    for (minutes, heard, endpoint) in [(13, true, false), (16, false, false), (16, true, true)] {
        let answers = asked(minutes, heard, endpoint);
        assert!(answers.iter().all(|(certainty, _)| *certainty != Certainty::Note), "{answers:?}");
        assert!(!answers.is_empty(), "{minutes} {heard} {endpoint}");
    }
}

#[test]
fn whatever_is_told_memory_has_a_bound() {
    let mut cluster = Cluster::new();
    for number in 0..40 {
        for place in 0..1500_u16 {
            let shown = Shown::of(UNANSWERED, place, BEGIN + number);
            cluster.see(&shown, &[(0, UNANSWERED)]);
            cluster.told[0].faces.push(Face { name: format!("veth{number}x{place}"), ..Face::default() });
        }
        cluster.pass(1);
    }
    assert!(cluster.engine.looked().left_out > 0);
    assert!(cluster.engine.looked().taps <= 30_000 && cluster.engine.looked().unplaced > 0);
    cluster.told[0].cases.push(Case { interface: 9999, ..Shown::of(REFUSED, 1, u64::MAX / 2_000_000).case(0, 1) });
    cluster.now = u64::MAX - 5000;
    cluster.pass(2);
}

mod believed;
mod ends;
mod innocent;
mod lasting;
mod ways;
