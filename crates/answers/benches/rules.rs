//! All rules over 200 nodes that tell of 50,000 pairs of ends a second, most of which are well, while 200 connections a second
//! fail, most of ten causes: milliseconds of CPU a second, and memory. Run by `make bench`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{collections::BTreeMap, net::IpAddr};

use nodewatch_answers::{Engine, Face, Pair, Pod, PodPhase, Policy, Source, Told};
use nodewatch_protocol::{Case, Finding, Role, Service, Sums, Symptom};

const NODES: u32 = 200;
/// Pods of each node: each has an interface of its own.
const PODS: u32 = 8;
/// Pairs that begin at each node. Each is told of at four places: at both pods, and at both nodes.
const PAIRS: u32 = 62;
/// Clients of who fails.
const CLIENTS: u32 = 20;
/// Attempts a second that fail here and there, of which nobody knows why.
const SCATTERED: u32 = 10;
/// Attempts a second that were answered and are told of one by one, of each node.
const ANSWERED: u32 = 3;
/// Until this second all is well.
const WELL: u64 = 15;
/// The window of the rules is full then.
const FULL: u64 = 75;
const SECONDS: u64 = 105;
const BEGIN: u64 = 1_700_000_000_000;
/// That an attempt is not answered is known after so many milliseconds.
const WAITED: u64 = 9_500;

/// Who asks or is asked: the node, and its pod, or the node itself.
#[derive(Clone, Copy)]
struct End {
    node: u32,
    pod: Option<u32>,
    port: u16,
}

impl End {
    fn of(node: u32, pod: u32, port: u16) -> Self {
        Self { node: node % NODES, pod: Some(pod % PODS), port }
    }

    fn address(self) -> IpAddr {
        IpAddr::from([10, 1, self.node as u8, self.pod.map_or(1, |pod| 10 + pod) as u8])
    }

    fn name(self) -> String {
        format!("node-{}", self.node)
    }
}

/// Something that goes wrong, so often a second.
struct Fault {
    count: u32,
    what: Finding,
    service: Service,
    server: End,
    /// The only one who asks; others are asked by all.
    client: Option<End>,
    /// Places that see it, from the client's pod on.
    places: usize,
    /// As often others are answered.
    answered: u32,
    change: fn(&mut Case),
}

impl Fault {
    fn of(count: u32, what: Finding, server: End, places: usize) -> Self {
        Self { count, what, service: Service::Tcp, server, client: None, places, answered: 0, change: |_| {} }
    }
}

fn faults() -> Vec<Fault> {
    let symptom = Finding::Symptom;
    let unanswered = symptom(Symptom::Unanswered);
    let server = |node| End::of(node, 2, 9000);
    let client = |node| Some(End::of(node, 1, 0));
    let reset: fn(&mut Case) = |case| (case.silence_millis, case.by_server) = (350_400, true);
    let raced: fn(&mut Case) = |case| (case.silence_millis, case.by_server) = (5_000, true);
    let stuck: fn(&mut Case) = |case| (case.amount, case.others_pass) = (1448, true);
    let stalled: fn(&mut Case) = |case| case.amount = 2_500;
    let dns = End { port: 53, ..server(3) };
    let silent = Fault::of(30, symptom(Symptom::DnsUnanswered), dns, 4);
    let own = End { pod: None, ..server(11) };
    vec![
        // Dropped by a policy of the server's pod, after its node has seen it.
        Fault { answered: 5, ..Fault::of(20, unanswered, server(7), 3) },
        // The accept queue of a program in its node's own network is full.
        Fault { answered: 60, ..Fault::of(40, symptom(Symptom::Delayed), own, 3) },
        Fault { service: Service::Dns, answered: 60, ..silent },
        // Nothing comes from one node to another.
        Fault { client: client(20), ..Fault::of(20, unanswered, server(21), 2) },
        // The client's node has no room for more connections.
        Fault { client: client(30), answered: 20, ..Fault::of(20, unanswered, server(31), 1) },
        Fault { change: reset, ..Fault::of(10, symptom(Symptom::ForeignReset), server(40), 4) },
        // The pod is being deleted.
        Fault::of(20, symptom(Symptom::Refused), server(50), 4),
        Fault { change: raced, answered: 10, ..Fault::of(10, symptom(Symptom::ClosedTooSoon), server(60), 4) },
        Fault { client: client(71), change: stuck, answered: 10, ..Fault::of(10, Finding::Stuck, server(70), 2) },
        Fault { client: client(81), change: stalled, ..Fault::of(10, symptom(Symptom::Stalled), server(80), 4) },
    ]
}

/// What all nodes tell of one second.
struct Second {
    at: u64,
    told: Vec<Told>,
    /// Connections so far, all different.
    count: u32,
}

impl Second {
    fn new(at: u64) -> Self {
        let face = |name: String, role| Face { name, role, ..Face::default() };
        let faces = || {
            let pods = (0..PODS).map(|pod| face(format!("eni{pod}"), Role::Pod));
            std::iter::once(face("eth0".into(), Role::Node)).chain(pods).collect()
        };
        let told = (0..NODES).map(|node| Told {
            node: format!("node-{node}"),
            at,
            millis: 1000,
            faces: faces(),
            answered_to: u32::MAX,
            ..Told::default()
        });
        Self { at, told: told.collect(), count: 0 }
    }

    /// The places on the way, each by node and interface. One that is asked in its node's own network is seen at three.
    fn way(client: End, server: End) -> impl Iterator<Item = (u32, u16)> {
        let pod = |end: End| end.pod.map(|pod| (end.node, pod as u16 + 1));
        pod(client).into_iter().chain([(client.node, 0), (server.node, 0)]).chain(pod(server))
    }

    fn count(&mut self, (client, server): (End, End), service: Service, places: usize, sums: Sums) {
        for (node, interface) in Self::way(client, server).take(places) {
            let told = &mut self.told[node as usize];
            told.sums += if interface == 0 { sums } else { Sums::default() };
            let (source, destination) = (client.address(), server.address());
            told.pairs.push(Pair {
                source,
                destination,
                port: server.port,
                service,
                interface,
                tunnel: None,
                sums,
                mtu: None,
            });
        }
    }

    /// One connection, as the first places of its way tell of it.
    fn see(&mut self, (client, server): (End, End), what: Finding, places: usize, change: impl Fn(&mut Case)) {
        self.count += 1;
        let number = (self.at / 1000 % 1000) as u32 * 4000 + self.count;
        let port = 32_768 + (number % 28_000) as u16;
        for (place, (node, interface)) in Self::way(client, server).take(places).enumerate() {
            let at = (self.at * 1_000_000) as i64 - 900_000_000 + i64::from(self.count) * 500_000;
            let (source, asked) = ((client.address(), port), (server.address(), server.port));
            let case = Case::of(what, Service::Tcp, source, asked, at);
            let id = Some((number.wrapping_mul(0x9E37_79B1), 1 + self.at as u32));
            let mut case = Case { interface, id, hops: Some(64 - place as u8), ..case };
            change(&mut case);
            self.told[node as usize].cases.push(case);
        }
    }

    /// Everybody asks somebody on another node, and is answered.
    fn well(&mut self) {
        let sums = Sums { packets: 40, segments: 40, attempts: 4, answered: 4, ..Sums::default() };
        let second = (self.at / 1000) as u32;
        for node in 0..NODES {
            for pair in 0..PAIRS {
                let client = End::of(node, pair, 0);
                let server = End::of(node + 1 + pair * 3, pair + 3, 8080 + (pair / PODS) as u16);
                self.count((client, server), Service::Tcp, 4, sums);
                if (second * ANSWERED + pair) % PAIRS < ANSWERED {
                    self.see((client, server), Finding::Answered, 4, |_| {});
                }
                if (node * PAIRS + pair + second * 1009).is_multiple_of(NODES * PAIRS / SCATTERED) {
                    let lost = Finding::Symptom(Symptom::Unanswered);
                    self.count(
                        (client, server),
                        Service::Tcp,
                        2,
                        Sums { packets: 4, segments: 4, attempts: 1, failed: 1, ..Sums::default() },
                    );
                    self.see((client, server), lost, 2, |case| case.began -= WAITED as i64 * 1_000_000);
                }
            }
        }
    }

    fn fault(&mut self, fault: &Fault, begun: bool) {
        let failed = if begun { fault.count } else { 0 };
        let answered = if begun { fault.answered } else { CLIENTS };
        for number in 0..failed + answered {
            // Everybody asks DNS; others are asked by some.
            let clients = if fault.service == Service::Dns { NODES - 1 } else { CLIENTS };
            let client = (number * 7 + (self.at / 1000) as u32) % clients;
            let any = End::of(fault.server.node + 1 + client, client, 0);
            let ends = (fault.client.unwrap_or(any), fault.server);
            let service = fault.service;
            if number >= failed {
                let sums = Sums { packets: 8, segments: 8, attempts: 1, answered: 1, ..Sums::default() };
                self.count(ends, service, 4, sums);
                if !begun || number == failed {
                    self.see(ends, Finding::Answered, 4, |case| case.service = service);
                }
                continue;
            }
            let symptom = match fault.what {
                Finding::Symptom(symptom) => Some(symptom),
                _ => None,
            };
            let is_failure = symptom.is_some_and(Symptom::is_failure);
            let sums = Sums {
                packets: 4,
                segments: 4,
                attempts: 1,
                answered: u64::from(!is_failure),
                failed: u64::from(is_failure),
                delayed: u64::from(symptom == Some(Symptom::Delayed)),
                dns_unanswered: u64::from(symptom == Some(Symptom::DnsUnanswered)),
                ..Sums::default()
            };
            self.count(ends, service, fault.places, sums);
            let waited = matches!(symptom, Some(Symptom::Unanswered | Symptom::DnsUnanswered));
            self.see(ends, fault.what, fault.places, |case| {
                case.service = service;
                case.began -= if waited { WAITED as i64 * 1_000_000 } else { 0 };
                (fault.change)(case);
            });
        }
    }
}

/// What the API server has said: a pod that leaves, and one that a policy selects.
fn journal(engine: &mut Engine, at: u64) {
    let journal = &mut engine.journal;
    let pod = |node: u32, phase| {
        let end = End::of(node, 2, 9000);
        let (name, uid) = (format!("shop/pod-{node}"), format!("uid-{node}"));
        let (addresses, started) = (vec![end.address()], BEGIN - 3_600_000);
        Pod { name, uid, node: end.name(), addresses, phase, started, ..Pod::default() }
    };
    for source in Source::ALL {
        journal.hears(source, BEGIN);
    }
    journal.pod(at, pod(7, PodPhase::Ready));
    journal.pod(at, Pod { deleted: Some(at), ..pod(50, PodPhase::Terminating) });
    let (name, selects) = ("shop/deny".to_owned(), Some(BTreeMap::new()));
    journal.policy(Policy { name, selects, ingress: true, egress: true });
}

/// Counters of kernels.
fn signals(engine: &mut Engine, at: u64, since: u64) {
    for node in 0..NODES {
        let node = format!("node-{node}");
        let mut put = |name, value| engine.signal(at, (&node, name, ""), value);
        for quiet in ["conntrack.insert_failed", "ip.reverse_path_drops", "arp.table_fulls", "softnet.dropped"] {
            put(quiet, 5);
        }
        put("tcp.listen_overflows", if node == "node-11" { 40 * since } else { 3 });
        put("conntrack.drop", if node == "node-30" { 20 * since } else { 0 });
        put("conntrack.count", if node == "node-30" { 65_530 } else { 9_000 });
        put("conntrack.max", 65_536);
    }
}

/// Milliseconds of CPU that this thread has had: other programs on the machine do not count.
fn spent() -> f64 {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = status.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok());
    nanos.unwrap_or(0) as f64 / 1e6
}

/// Kilobytes that this process has in memory.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() {
    let mut engine = Engine::default();
    let nodes: Vec<(IpAddr, String)> =
        (0..NODES).map(|node| End { node, pod: None, port: 0 }).map(|end| (end.address(), end.name())).collect();
    engine.nodes_have(nodes.iter().map(|(address, node)| (*address, node.as_str())));
    let faults = faults();
    let (mut heard, mut judged, mut longest, mut pairs, mut before) = (0.0, 0.0, 0.0_f64, 0, 0);
    for second in 0..SECONDS {
        let at = BEGIN + second * 1000;
        let mut all = Second::new(at);
        all.well();
        for fault in &faults {
            all.fault(fault, second >= WELL);
        }
        if second == WELL {
            journal(&mut engine, at);
        }
        pairs = all.told.iter().map(|told| told.pairs.len()).sum();
        before = if second == 0 { memory() } else { before };
        let begun = spent();
        signals(&mut engine, at, second.saturating_sub(WELL));
        for told in &all.told {
            engine.hear(told);
        }
        let between = spent();
        engine.judge(at, false);
        let over = spent();
        if second >= FULL {
            heard += between - begun;
            judged += over - between;
            longest = longest.max(over - begun);
        }
    }
    let seconds = (SECONDS - FULL) as f64;
    let failures: u32 = faults.iter().map(|fault| fault.count).sum::<u32>() + SCATTERED;
    let answers = engine.answers();
    println!(
        "all rules over {NODES} nodes, {pairs} pairs, {failures} failures a second: {:.1} ms a second ({:.1} to hear, {:.1} to judge), \
         at most {longest:.1} (goal 50); {} answers, {} MB",
        (heard + judged) / seconds,
        heard / seconds,
        judged / seconds,
        answers.len(),
        memory().saturating_sub(before) / 1024
    );
    for answer in answers {
        println!("  {} {}: {}", answer.certainty.word(), answer.title(), answer.text);
    }
    println!("  {:?}", engine.looked());
}
