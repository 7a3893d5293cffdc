//! What ends do: receivers that do not read, and addresses of which nobody says that he has them.

use super::*;

#[test]
fn a_server_that_does_not_read_lets_all_its_clients_wait() {
    /// Each connection is of another client.
    fn of_another(case: &mut Case) {
        case.source = IpAddr::from([10, 0, 9, (case.ports.0 % 250) as u8]);
        case.amount = 4_000;
    }
    let by_server: fn(&mut Case) = |case| {
        of_another(case);
        case.by_server = true;
    };
    let stalled = |answered: u64, change: fn(&mut Case)| {
        let mut cluster = Cluster::new().well();
        cluster.count(BACKEND, Service::Tcp, answered, answered);
        cluster.fail_so(4, Finding::Symptom(Symptom::Stalled), 1, change);
        cluster
    };
    let cluster = stalled(0, by_server);
    let found = cluster.is(Code::SlowReceiver, Certainty::Verdict);
    assert!(
        found.text.contains("10.0.2.7:8080 does not read") && found.text.contains("while 4 clients had"),
        "{found:?}"
    );
    // Of thousands some are slow, and four clients that do not read are no reason to say anything of one.
    for cluster in [stalled(50_000, by_server), stalled(0, of_another)] {
        assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
    }
}

#[test]
fn a_pod_that_nobody_answers_who_has_an_address_cannot_send_there() {
    let asks = |count: u16, known: Option<PodPhase>, interface: u16, asker: PodPhase| {
        let mut cluster = Cluster::new().well();
        cluster.engine.journal.hears(Source::Pods, cluster.now);
        let client = Pod { name: "shop/web-1".into(), uid: "u2".into(), node: "a".into(), ..pod(PodPhase::Ready) };
        if asker != PodPhase::Gone {
            cluster.engine.journal.pod(cluster.now, Pod { addresses: vec![CLIENT], ..client });
        }
        if let Some(phase) = known {
            cluster.engine.journal.pod(cluster.now, pod(phase));
        }
        for _ in 0..count {
            let what = Finding::Symptom(Symptom::NeighbourUnanswered);
            let at = (cluster.now * 1_000_000) as i64;
            let case = Case::of(what, Service::Neighbour, (CLIENT, 0), (BACKEND, 0), at);
            cluster.told[0].cases.push(Case { interface, ..case });
            // So often it is said of who goes on asking.
            cluster.pass(10);
        }
        cluster.pass(4);
        cluster
    };
    let running = Some(PodPhase::Ready);
    let ready = PodPhase::Ready;
    let cluster = asks(4, running, 0, ready);
    let found = cluster.is(Code::Neighbour, Certainty::Likely);
    assert_eq!((found.place.node.as_deref(), found.place.interface.as_deref()), (Some("a"), Some("eni1")));
    assert!(found.text.contains("shop/web-1 cannot send to shop/api-1: 4 times"), "{}", found.text);
    // On the node's own network a pod has the node's address.
    let mut cluster = Cluster::new();
    cluster.engine.nodes_have([(CLIENT, "a")].into_iter());
    cluster.engine.journal.hears(Source::Pods, cluster.now);
    cluster.engine.journal.pod(cluster.now, pod(ready));
    let host = Pod { uid: "u3".into(), node: "a".into(), addresses: vec![CLIENT], on_host: true, ..pod(ready) };
    cluster.engine.journal.pod(cluster.now, host);
    for _ in 0..4 {
        let at = (cluster.now * 1_000_000) as i64;
        let what = Finding::Symptom(Symptom::NeighbourUnanswered);
        cluster.told[0].cases.push(Case::of(what, Service::Neighbour, (CLIENT, 0), (BACKEND, 0), at));
        cluster.pass(10);
    }
    assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
    // A scan, too few, one that is gone, what a node asks on its own link, and what it asks all on a bridge.
    let gone = PodPhase::Gone;
    for cluster in [
        asks(4, None, 0, ready),
        asks(2, running, 0, ready),
        asks(4, Some(gone), 0, ready),
        asks(4, running, 1, ready),
        asks(4, running, 0, gone),
    ] {
        assert!(cluster.engine.answers().is_empty(), "{:?}", cluster.engine.answers());
    }
}
