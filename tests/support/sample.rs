//! A busy cluster on the screen: what the snapshots hold and what the documentation's pictures show.
#![allow(dead_code, reason = "each user takes a part of it")]

use std::{collections::BTreeMap, time::Duration};

use nodewatch_protocol::{
    AgentFacts, Amount, CaptureAbility, CaptureFile, CaptureSpec, CaptureState, Case, Delivery, Dropped, Endpoint,
    FileState, Finding, Flow, Hello, MissingSource, Mix, OwnersUpdate, PortOwner, PortProtocol, PortsKind, PortsUpdate,
    ReportState, Retention, RingState, Role, SamplePacket, Service, Share, SignalSeries, SignalsUpdate, SinkState,
    Spread, Statistics, Sums, Symptom, SymptomCount, Symptoms, Transport, Tunnel, Update, WatchSpec, WatchState,
    WatchedInterface, WatchedPair, Window,
};
use nodewatch_tui::{
    model::{
        DeployProgress, Expectation, Expectations, FetchProgress, Kind, LogsSettings, Machine, MadeObject, Node,
        NodesChange, Notice, Origin, Place, PortKey, Readiness, S3Url, SeenObject, SessionId, StoredFile, TunnelChange,
        Way,
    },
    screens::{Action, App, Input, update},
    session::{Event, Happened, Terms, delivery::StorageInfo, port_reports::Reports},
};

/// 2023-11-14 22:13:20 UTC.
pub const NOW: u64 = 1_700_000_000_000;

pub fn node(name: &str, zone: &str, readiness: Readiness) -> Node {
    Node {
        name: name.into(),
        readiness,
        cordoned: false,
        zone: Some(zone.into()),
        instance_type: Some("m5.large".into()),
        addresses: vec![],
        labels: BTreeMap::new(),
        version: Some("v1.33.1".into()),
        uid: None,
        created: None,
        instance_id: None,
        kubelet_port: None,
        machine: Machine::default(),
    }
}

pub fn app() -> App {
    let place = Place::Cluster { context: "prod-eu".into(), flavour: Some("eks".into()) };
    App::new(Terms::new(place, SessionId::new(0x7f3a_91c2), Duration::from_secs(4 * 3600)))
}

pub fn object(kind: Kind, name: &str, purpose: &str) -> MadeObject {
    MadeObject { kind, namespace: None, name: name.into(), uid: Some(name.into()), purpose: purpose.to_owned().into() }
}

/// What the cluster says there is of the session.
pub fn stock() -> Event {
    let seen = [
        (object(Kind::Job, "agent-7f3a91c2-1", "ip-10-0-1-12"), "its pod is there"),
        (object(Kind::Namespace, "nodewatch-7f3a91c2", "the session"), "active"),
        (object(Kind::ServiceAccount, "nodewatch-agent-7f3a91c2", "the agents' identity"), "there"),
    ];
    Event::Stock(Ok(seen.map(|(object, state)| SeenObject { object, state: state.into() }).to_vec()))
}

pub fn feed(app: &mut App, events: impl IntoIterator<Item = impl Into<Happened<Input>>>) {
    for event in events {
        update(app, event, NOW);
    }
}

pub fn ports(kind: PortsKind, opened: &[&str], closed: &[&str]) -> Update {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a port")).collect();
    Update::Ports(PortsUpdate { at: NOW, kind, opened: read(opened), closed: read(closed), more: false })
}

pub fn statistics(second: u64) -> Update {
    let end = |address: &str, port| Endpoint { address: address.parse().expect("an address"), port };
    let share = |packets, bytes| Share { packets, bytes };
    let rate = 8_000 + (second * 37 % 11) * 600;
    Update::Statistics(Box::new(Statistics {
        at: NOW,
        elapsed: second * 1000,
        packets: second * 10_000,
        bytes: second * 9_000_000,
        window: Window { millis: 1000, packets: rate, bytes: rate * 900 },
        dropped: Dropped { kernel: 12, interface: 0, queue: 0 },
        interfaces: vec![],
        mix: vec![
            Mix { protocol: "TCP".into(), share: share(second * 9_000, second * 8_800_000) },
            Mix { protocol: "UDP".into(), share: share(second * 1_000, second * 200_000) },
        ],
        sizes: [4000, 900, 300, 100, 400, 9000, 20],
        flows: vec![
            Flow {
                transport: Transport::Tcp,
                from: end("10.0.1.12", 44_312),
                to: end("10.0.3.9", 443),
                share: share(120_000, 98_000_000),
                tunnel: None,
            },
            Flow {
                transport: Transport::Udp,
                from: end("2001:db8::12", 5353),
                to: end("2001:db8::53", 53),
                share: share(900, 120_000),
                tunnel: None,
            },
        ],
        flows_tracked: 2,
        flows_overflow: Share::default(),
        left_out: Share::default(),
    }))
}

pub fn file(name: &str, size: u64, state: FileState) -> CaptureFile {
    CaptureFile {
        name: name.into(),
        sequence: name.rsplit_once('-').and_then(|(_, end)| end.split('.').next()?.parse().ok()).unwrap_or_default(),
        size,
        packets: size / 900,
        started: NOW,
        ended: if state == FileState::Open { 0 } else { NOW + 60_000 },
        state,
        dropped: Dropped::default(),
        incomplete: String::new(),
        sha256: None,
        delivery: Delivery::Held,
        fetched: false,
        since: 0,
    }
}

pub fn facts() -> Update {
    Update::Agent(AgentFacts {
        hostname: "n".into(),
        started: NOW,
        now: NOW,
        interfaces: vec![],
        default_interfaces: vec!["eth0".into()],
        capture: CaptureAbility::Ready,
        ring: String::new(),
    })
}

pub fn tunnel(name: &str, update: Update) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Update(update))
}

/// Several nodes in every state that there is.
pub fn busy() -> App {
    let mut app = app();
    let live = "ip-10-0-1-12.eu-west-1.compute.internal";
    let nodes = vec![
        node(live, "eu-west-1a", Readiness::Ready),
        node("ip-10-0-1-40.eu-west-1.compute.internal", "eu-west-1a", Readiness::Ready),
        node("ip-10-0-2-7.eu-west-1.compute.internal", "eu-west-1b", Readiness::NotReady),
        node("ip-10-0-3-9.eu-west-1.compute.internal", "eu-west-1c", Readiness::Ready),
        node("ip-10-0-3-11.eu-west-1.compute.internal", "eu-west-1c", Readiness::Unknown),
    ];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    let names: Vec<_> = app.session.nodes.keys().cloned().collect();
    feed(&mut app, [Event::DeployTo(names[..4].to_vec())]);
    feed(
        &mut app,
        [
            Event::Tunnel(live.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))),
            tunnel(live, facts()),
            tunnel(live, ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp6 [::]:10250", "udp 0.0.0.0:68"], &[])),
            tunnel(live, ports(PortsKind::Changes, &["tcp 0.0.0.0:8080"], &["udp 0.0.0.0:68"])),
            tunnel(
                live,
                Update::Capture(CaptureState::Running {
                    since: NOW - 72_000,
                    interfaces: vec!["eth0".into(), "eth1".into()],
                    spec: CaptureSpec { filter: Some("tcp port 443".into()), ..CaptureSpec::default() },
                }),
            ),
        ],
    );
    feed(&mut app, (1..=72).map(|second| tunnel(live, statistics(second))));
    feed(
        &mut app,
        [
            tunnel(
                live,
                Update::Files(vec![
                    file("20231114T221208.000000Z-0001.pcapng", 67_108_000, FileState::Closed),
                    file("20231114T221300.000000Z-0002.pcapng", 4_000_000, FileState::Closed),
                    file("20231114T221315.000000Z-0003.pcapng", 900_000, FileState::Open),
                ]),
            ),
            Event::Fetch(live.into(), "20231114T221208.000000Z-0001.pcapng".into(), FetchProgress::Bytes(30_000_000)),
            Event::Deploy(names[1].clone(), DeployProgress::Step("pulling the image".into())),
            Event::Deploy(
                names[2].clone(),
                DeployProgress::Failed(Notice::error("the image a cannot be pulled", "no such host", "name another")),
            ),
            Event::Tunnel(names[3].clone(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))),
            Event::Tunnel(names[3].clone(), TunnelChange::Lost { reason: "the tunnel was cut".into() }),
        ],
    );
    feed(&mut app, [Input::Key(Action::Mark)]);
    app.list.cursor = Some(live.into());
    app.session.notices.clear();
    app
}

/// Every signal of a node that the samples have, and what moves in so many steps of five seconds.
fn signals(item: &str, steps: u64) -> Vec<Update> {
    let series = |(id, (name, item, value)): (usize, (&str, &str, u64))| SignalSeries {
        id: id as u32,
        name: name.into(),
        item: item.into(),
        value,
        total: 0,
    };
    let told = [
        ("tcp.listen_overflows", "", 14),
        ("tcp.out_segs", "", 81_003_412),
        ("tcp.established", "", 211),
        ("udp.no_ports", "", 40),
        ("conntrack.count", "", 201_300),
        ("conntrack.max", "", 262_144),
        ("conntrack.invalid", "", 3_100),
        ("softnet.dropped", "", 0),
        ("ena.pps_allowance_exceeded", item, 2_900),
        ("ena.conntrack_allowance_available", item, 120_000),
        ("link.rx_dropped", item, 12),
    ];
    let missing = MissingSource { source: "/proc/pressure".into(), reason: "this kernel does not have it".into() };
    let whole = SignalsUpdate {
        at: NOW,
        since: Some(NOW),
        told: told.into_iter().enumerate().map(series).collect(),
        missing: Some(vec![missing]),
        ..SignalsUpdate::default()
    };
    let step = |step: u64| SignalsUpdate {
        at: NOW,
        moved: vec![(1, 5_000 + step * 37 % 11 * 900), (2, 200 + step * 7 % 13), (6, step % 3), (8, step % 4 * 90)],
        ..SignalsUpdate::default()
    };
    std::iter::once(whole).chain((0..steps).map(step)).map(Update::Signals).collect()
}

/// A pair of ends as an agent tells it, on its first interface.
pub fn pair(from: &str, to: &str, port: u16, symptoms: &[(Symptom, u32)]) -> WatchedPair {
    WatchedPair {
        source: from.parse().expect("an address"),
        destination: to.parse().expect("an address"),
        port,
        service: if port == 53 { Service::Dns } else { Service::Tcp },
        interface: 0,
        tunnel: None,
        packets: [400, 380],
        bytes: [40_000, 900_000],
        attempts: 12,
        answered: 11,
        lookups: 0,
        symptoms: symptoms.iter().map(|(symptom, count)| SymptomCount(*symptom, *count, 0)).collect(),
        stalled_millis: [0, 0],
        idle_millis: 0,
        mtu: None,
        told_by: None,
        hops_left: None,
        answers: Some(Spread { count: 11, p50: 840, p99: 12_400 }),
        round_trips: Some(Spread { count: 300, p50: 1_210, p99: 48_000 }),
    }
}

/// What was seen in a second at two interfaces, the first of the node and the other one of a pod.
pub fn symptoms(interface: &str, pairs: Vec<WatchedPair>) -> Symptoms {
    let seen =
        |name: &str, role| WatchedInterface { name: name.into(), role, packets: 900, ..WatchedInterface::default() };
    let mut sums = Sums::default();
    for pair in &pairs {
        sums += Sums::of(pair);
    }
    Symptoms {
        at: NOW,
        millis: 1000,
        interfaces: vec![seen(interface, Role::Node), seen("veth1a2b", Role::Pod)],
        connections: 40,
        sums,
        pairs,
        ..Symptoms::default()
    }
}

/// So many attempts that the pod behind the second interface has not answered, while it has answered others.
pub fn unanswered(count: u16) -> Symptoms {
    let told = WatchedPair {
        interface: 1,
        attempts: 131,
        answered: 131 - u64::from(count),
        ..pair("10.0.2.9", "10.0.1.55", 8080, &[(Symptom::Unanswered, count.into())])
    };
    let case = |at: u16, what: Finding, repeats: u32| {
        let (source, destination) = ((told.source, 41_000 + at), (told.destination, told.port));
        let began = (NOW + u64::from(at)) as i64 * 1_000_000;
        Case { interface: 1, repeats, hops: Some(62), ..Case::of(what, Service::Tcp, source, destination, began) }
    };
    // It lives: it answers others meanwhile.
    let of = |at| if at == count / 2 { (Finding::Answered, 0) } else { (Finding::Symptom(Symptom::Unanswered), 2) };
    let cases = (0..=count).map(|at| case(at, of(at).0, of(at).1)).collect();
    Symptoms { cases, ..symptoms("eth0", vec![told]) }
}

/// The app with signals, on one node of which a pod does not take every connection.
pub fn answering() -> App {
    let mut app = counting();
    let name = app.session.nodes.keys().next().cloned().expect("a node");
    let mut told = unanswered(6);
    told.interfaces[1].name = "eni9f3c".into();
    feed(&mut app, [tunnel(&name.0, on()), tunnel(&name.0, Update::Symptoms(Box::new(told)))]);
    update(&mut app, Event::Tick, NOW + 4_000);
    app.session.notices.clear();
    app
}

/// An agent that watches.
pub fn on() -> Update {
    Update::Watch(WatchState::On { since: NOW, spec: WatchSpec::default() })
}

/// A SYN that shows a symptom of the second's first pair.
pub fn sample_of(symptom: Symptom) -> SamplePacket {
    let syn = "0202020202020a0a0a0a0a0a0800\
               4500003c1c4640004006b1e60a00010c0a000309\
               a0f801bb00000001000000005002fa0000000000";
    SamplePacket { pair: 0, symptom, at: NOW as i64 * 1_000_000, link_type: 1, length: 74, headers: syn.into() }
}

/// The app with signals, two of whose nodes are watched, and a third one's agent is on its way.
pub fn watching() -> App {
    let mut app = counting();
    let names: Vec<_> = app.session.nodes.keys().cloned().collect();
    let refused = pair("10.0.1.12", "10.0.3.9", 443, &[(Symptom::Refused, 3), (Symptom::Retransmission, 9)]);
    let delayed = WatchedPair { interface: 1, ..pair("10.0.1.12", "2001:db8::53", 53, &[(Symptom::DnsLate, 2)]) };
    let mut told = symptoms("eth0", vec![refused, delayed, pair("10.0.1.40", "10.0.1.12", 8080, &[])]);
    told.samples = vec![sample_of(Symptom::Refused)];
    told.unlisted.pairs = 3;
    let hostile = pair("10.9.9.9", "10.0.1.12", 22, &[(Symptom::Delayed, 1)]);
    let hostile = WatchedPair { tunnel: Some(Tunnel::Vxlan), ..hostile };
    for (name, told) in [(&names[0], told), (&names[2], symptoms("ev\u{1b}[2Jil", vec![hostile]))] {
        feed(&mut app, [tunnel(&name.0, on()), tunnel(&name.0, Update::Symptoms(Box::new(told)))]);
    }
    // Which columns the list has is looked at once a second.
    feed(&mut app, [Event::Tick]);
    app.session.notices.clear();
    app
}

/// The reporting app, with signals of three nodes.
pub fn counting() -> App {
    let mut app = reporting();
    let names: Vec<_> = app.session.nodes.keys().cloned().collect();
    for (at, item) in [(0, "eth0"), (2, "ens5"), (3, "ev\u{1b}[2Jil")] {
        for (step, update) in signals(item, 20).into_iter().enumerate() {
            // Further back in time, so that there is something to see of the last two minutes.
            let now = NOW - 100_000 + step as u64 * 5_000;
            nodewatch_tui::screens::update(&mut app, tunnel(&names[at].0, update), now);
        }
    }
    feed(
        &mut app,
        [tunnel(
            &names[2].0,
            Update::Signals(SignalsUpdate {
                at: NOW,
                moved: vec![(0, 34), (3, 2), (4, 231_000)],
                ..SignalsUpdate::default()
            }),
        )],
    );
    app.session.notices.clear();
    app
}

/// Nodes with expected, unexpected and dead ports, reported to CloudWatch Logs.
pub fn reporting() -> App {
    let mut app = busy();
    let live = "ip-10-0-1-12.eu-west-1.compute.internal";
    app.session.reports = Some(Reports::new(LogsSettings {
        group: "/nodewatch/prod".into(),
        per_node: false,
        retention_days: 14,
        interval_seconds: 60,
        cluster: "prod".into(),
        region: None,
        endpoint: None,
        way: Way::Grant,
        alarms: true,
        sns_topic: None,
        alarm_on: nodewatch_answers::Codes::default(),
    }));
    let expect = |port, origin, ready| Expectation {
        node: None,
        key: PortKey { port, protocol: PortProtocol::Tcp },
        address: None,
        origin,
        ready,
    };
    let list = vec![
        expect(10250, Origin::Kubelet, true),
        expect(30080, Origin::NodePort("shop/front".into()), true),
        expect(31999, Origin::NodePort("shop/\u{1b}[2Jgone".into()), false),
    ];
    let names: Vec<_> = app.session.nodes.keys().cloned().collect();
    feed(
        &mut app,
        [
            Event::Expected(names.clone(), Expectations { list, ..Expectations::default() }),
            tunnel(&names[3].0, ports(PortsKind::Snapshot, &["tcp6 [::]:10250", "tcp 127.0.0.1:10248"], &[])),
            tunnel(
                live,
                Update::Owners(OwnersUpdate {
                    owners: vec![PortOwner {
                        port: "tcp 0.0.0.0:8080".parse().expect("a port"),
                        pid: 4711,
                        process: "no\u{1b}de".into(),
                        pod_uid: None,
                    }],
                    continued: false,
                    more: false,
                }),
            ),
            Event::Reports(ReportState {
                sent: 41,
                queued: 2,
                dropped: 1,
                trouble: "Rate exceeded".into(),
                retention: Retention::Set { days: 14 },
                ..ReportState::default()
            }),
        ],
    );
    app.session.notices.clear();
    app
}

/// The busy app with captures that go to S3: there, on the way, held, incomplete, and some of an older session.
pub fn delivering() -> App {
    let mut app = busy();
    let live = "ip-10-0-1-12.eu-west-1.compute.internal";
    let url: S3Url = "s3://captures/inc".parse().expect("a place");
    app.session.terms.storage = Some(StorageInfo { url, way: Way::Grant });
    let key = |session: &str, name: &str| format!("inc/{session}/{live}/{name}");
    let delivered = CaptureFile {
        delivery: Delivery::Delivered {
            key: key("7f3a91c2", "20231114T221000.000000Z-0001.pcapng"),
            size: 4_000_000,
            unproved: false,
        },
        sha256: Some("3f5a".repeat(16)),
        ..file("20231114T221000.000000Z-0001.pcapng", 4_000_000, FileState::Closed)
    };
    let torn = CaptureFile {
        incomplete: "incomplete: the agent was stopped while it wrote this file".into(),
        dropped: Dropped { kernel: 7, interface: 0, queue: 2 },
        ..file("20231114T221100.000000Z-0002.pcapng", 900_000, FileState::Closed)
    };
    let sending = CaptureFile {
        delivery: Delivery::Sending { sent: 30_000_000 },
        ..file("20231114T221208.000000Z-0003.pcapng", 67_108_000, FileState::Closed)
    };
    let waiting = CaptureFile {
        delivery: Delivery::Waiting { reason: "s3.example answers 503: SlowDown".into() },
        ..file("20231114T221300.000000Z-0004.pcapng", 4_000_000, FileState::Closed)
    };
    let open = file("20231114T221315.000000Z-0005.pcapng", 900_000, FileState::Open);
    let stored =
        |session: &str, name: &str, modified| StoredFile { key: key(session, name), size: 4_000_000, modified };
    let amount = |files, bytes, packets| Amount { files, bytes, packets };
    feed(
        &mut app,
        [
            tunnel(live, Update::Files(vec![delivered, torn, sending, waiting, open])),
            tunnel(
                live,
                Update::Ring(RingState {
                    used: 77_000_000,
                    limit: 1_073_741_824,
                    queued: amount(3, 72_008_000, 80_008),
                    delivered: amount(1, 4_000_000, 4_444),
                    discarded: amount(2, 130_000_000, 140_000),
                    lost: Amount::default(),
                    retries: 3,
                    sink: SinkState::Grant { left_seconds: 2400 },
                }),
            ),
            Event::Stored(Ok(vec![
                stored("7f3a91c2", "20231114T221000.000000Z-0001.pcapng", NOW),
                stored("0badcafe", "20231101T090000.000000Z-0001.pcapng", NOW - 1_000_000),
                stored("7f3a91c2", "manifest.json", NOW),
            ])),
        ],
    );
    app.session.notices.clear();
    app
}
