//! An incident as the pictures tell it: connections to a shop break for some seconds, three of its nodes are watched.

use std::net::Ipv4Addr;

use nodewatch_protocol::{
    Amount, CaptureFile, CaptureSpec, CaptureState, Delivery, Dropped, Endpoint, FileState, Flow, Hello, Mix,
    OwnersUpdate, PortOwner, PortProtocol, PortsKind, RingState, Share, SinkState, Statistics, Transport, Update,
    Window,
};
use nodewatch_tui::{
    model::{
        DeployProgress, Expectation, Expectations, Kind, NodesChange, Origin, PortKey, Readiness, Removal, SeenObject,
        StoredFile, TunnelChange, Way,
    },
    screens::App,
    session::{Event, delivery::StorageInfo},
};

use super::sample::{NOW, app, facts, feed, file, node, object, ports, tunnel};

/// The nodes that are watched, the one with the cursor first.
pub const WATCHED: [&str; 3] = [
    "ip-10-0-1-12.eu-west-1.compute.internal",
    "ip-10-0-1-40.eu-west-1.compute.internal",
    "ip-10-0-2-7.eu-west-1.compute.internal",
];
const STARTING: &str = "ip-10-0-2-63.eu-west-1.compute.internal";
/// Seconds that have been captured.
const SECONDS: u64 = 72;

/// The cluster before anything is done.
pub fn listed() -> App {
    let mut app = app();
    let of = |name: &str, zone: &str, readiness| node(name, zone, readiness);
    let nodes = vec![
        of(WATCHED[0], "eu-west-1a", Readiness::Ready),
        of(WATCHED[1], "eu-west-1a", Readiness::Ready),
        of(WATCHED[2], "eu-west-1b", Readiness::Ready),
        of(STARTING, "eu-west-1b", Readiness::Ready),
        of("ip-10-0-3-9.eu-west-1.compute.internal", "eu-west-1c", Readiness::Ready),
        of("ip-10-0-3-11.eu-west-1.compute.internal", "eu-west-1c", Readiness::NotReady),
    ];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app.list.cursor = Some(WATCHED[0].into());
    app
}

/// Agents come up on three nodes, and tell their ports.
pub fn live(app: &mut App) {
    feed(app, [Event::DeployTo(WATCHED.map(Into::into).to_vec())]);
    feed(app, [Event::Expected(app.session.nodes.keys().cloned().collect(), expectations())]);
    for (at, name) in WATCHED.into_iter().enumerate() {
        let own: &[&str] = if at == 0 { &["tcp 0.0.0.0:8080"] } else { &[] };
        let all = ["tcp 0.0.0.0:22", "tcp6 [::]:10250", "tcp6 [::]:9100", "tcp 127.0.0.1:10248", "udp 0.0.0.0:68"];
        feed(
            app,
            [
                Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))),
                tunnel(name, facts()),
                tunnel(name, ports(PortsKind::Snapshot, &all, &[])),
                tunnel(name, ports(PortsKind::Changes, own, &[])),
            ],
        );
    }
    let port = "tcp 0.0.0.0:8080".parse().expect("a port");
    let owner = PortOwner { port, pid: 4711, process: "python3".into(), pod_uid: None };
    feed(
        app,
        [tunnel(WATCHED[0], Update::Owners(OwnersUpdate { owners: vec![owner], continued: false, more: false }))],
    );
    app.session.notices.clear();
}

/// Captures have run for a while.
pub fn capturing(app: &mut App) {
    let running = CaptureState::Running {
        since: NOW - SECONDS * 1000,
        interfaces: vec!["eth0".into()],
        spec: CaptureSpec { filter: Some("tcp port 443 or port 53".into()), ..CaptureSpec::default() },
    };
    for (at, name) in (0..).zip(WATCHED) {
        feed(app, [tunnel(name, Update::Capture(running.clone()))]);
        feed(app, (1..=SECONDS).map(|second| tunnel(name, Update::Statistics(Box::new(counted(second, at))))));
        feed(app, [tunnel(name, Update::Files(files(at)))]);
    }
    app.session.notices.clear();
}

/// One more agent is on its way.
pub fn starting(app: &mut App) {
    let step = DeployProgress::Step("pulling the image".into());
    feed(app, [Event::DeployTo(vec![STARTING.into()]), Event::Deploy(STARTING.into(), step)]);
    app.session.notices.clear();
}

/// The same with an S3 that takes what is closed.
pub fn delivering(app: &mut App) {
    app.session.terms.storage =
        Some(StorageInfo { url: "s3://incidents/tuesday".parse().expect("a place"), way: Way::Grant });
    let stored = (0..).zip(WATCHED).filter_map(|(at, name)| {
        let key = key_of(at, name, &files(at)[0])?;
        Some(StoredFile { key, size: 67_108_000, modified: NOW })
    });
    let stored: Vec<StoredFile> = stored.collect();
    feed(app, [Event::Stored(Ok(stored))]);
    for (at, name) in (0..).zip(WATCHED) {
        let mut list = files(at);
        list[0].sha256 = Some("3f5a".repeat(16));
        list[0].delivery = match key_of(at, name, &list[0]) {
            Some(key) => Delivery::Delivered { key, size: list[0].size, unproved: false },
            None => Delivery::Sending { sent: 41_000_000 },
        };
        let amount = |files, bytes, packets| Amount { files, bytes, packets };
        let ring = RingState {
            used: 75_000_000,
            limit: 1_073_741_824,
            queued: amount(1, 900_000, 1000),
            delivered: amount(1, 67_108_000, 74_564),
            discarded: Amount::default(),
            lost: Amount::default(),
            retries: 0,
            sink: SinkState::Grant { left_seconds: 2400 },
        };
        feed(app, [tunnel(name, Update::Files(list)), tunnel(name, Update::Ring(ring))]);
    }
    app.session.notices.clear();
}

/// Where S3 has a node's file; the last node's is on its way.
fn key_of(at: u64, name: &str, file: &CaptureFile) -> Option<String> {
    (at < 2).then(|| format!("tuesday/7f3a91c2/{name}/{}", file.name))
}

/// What there is to be removed.
fn objects() -> Vec<SeenObject> {
    let job = |at: usize| {
        let purpose = WATCHED[at].split('.').next().unwrap_or_default();
        (object(Kind::Job, &format!("agent-7f3a91c2-{}", at + 1), purpose), "its pod is there")
    };
    let base = [
        (object(Kind::Namespace, "nodewatch-7f3a91c2", "the session"), "active"),
        (object(Kind::ServiceAccount, "nodewatch-agent-7f3a91c2", "the agents' identity"), "there"),
    ];
    let all = (0..WATCHED.len()).map(job).chain(base);
    all.map(|(object, state)| SeenObject { object, state: state.into() }).collect()
}

/// The cluster says what there is of the session.
pub fn stock() -> Event {
    Event::Stock(Ok(objects()))
}

/// Everything has been seen gone.
pub fn removed() -> Vec<Event> {
    let gone = objects().into_iter().map(|seen| Event::Removal(Removal::Gone(seen.object)));
    gone.chain([Event::Removal(Removal::Finished)]).collect()
}

/// The node's files: one that is closed, one that is being written.
pub fn files(at: u64) -> Vec<CaptureFile> {
    let number = |index: u64| (if index == 0 { "221208" } else { "221302" }, 410_233 + 97_411 * (at + 1));
    let named = |index: u64, size, state| {
        let (start, micros) = number(index);
        file(&format!("20231114T{start}.{micros:06}Z-{:04}.pcapng", index + 1), size, state)
    };
    vec![named(0, 67_108_000, FileState::Closed), named(1, 9_000_000 - 1_700_000 * at, FileState::Open)]
}

fn expectations() -> Expectations {
    let expect = |port, protocol, origin, ready| Expectation {
        node: None,
        key: PortKey { port, protocol },
        address: (port == 10248).then_some(Ipv4Addr::LOCALHOST.into()),
        origin,
        ready,
    };
    let (tcp, udp) = (PortProtocol::Tcp, PortProtocol::Udp);
    let list = vec![
        expect(22, tcp, Origin::Named, true),
        expect(68, udp, Origin::Named, true),
        expect(10248, tcp, Origin::Kubelet, true),
        expect(10250, tcp, Origin::Kubelet, true),
        expect(9100, tcp, Origin::HostNetwork("monitoring/node-exporter".into()), true),
        expect(30443, tcp, Origin::NodePort("shop/front".into()), true),
        expect(31090, tcp, Origin::NodePort("shop/payments".into()), false),
    ];
    Expectations { list, ..Expectations::default() }
}

/// A second of a node: two slow waves, and a fault that takes most of it away for nine seconds.
fn counted(second: u64, at: u64) -> Statistics {
    let (time, node) = (second as f64, at as f64);
    let wave = 1.0 + 0.22 * (time / 8.0 + node).sin() + 0.07 * (time / 2.1 + 2.0 * node).sin();
    let fault = if (44..53).contains(&second) { 0.18 } else { 1.0 };
    let packets = (9_000.0 / (node + 1.0).sqrt() * wave * fault) as u64;
    let end = |address: &str, port| Endpoint { address: address.parse().expect("an address"), port };
    let share = |packets, bytes| Share { packets, bytes };
    let flow = |transport, from, to, percent: u64| Flow {
        transport,
        from,
        to,
        share: share(second * 72 * percent, second * 62_000 * percent),
        tunnel: None,
    };
    Statistics {
        at: NOW,
        elapsed: second * 1000,
        packets: second * 7_400,
        bytes: second * 6_500_000,
        window: Window { millis: 1000, packets, bytes: packets * 880 },
        dropped: Dropped { kernel: if at == 2 { 12 } else { 0 }, interface: 0, queue: 0 },
        interfaces: vec![],
        mix: vec![
            Mix { protocol: "TCP".into(), share: share(second * 7_000, second * 6_400_000) },
            Mix { protocol: "UDP".into(), share: share(second * 400, second * 100_000) },
        ],
        sizes: [21_000, 6_400, 5_200, 2_300, 9_800, 96_000, 120].map(|size| size * second / SECONDS),
        flows: vec![
            flow(Transport::Tcp, end("10.0.1.12", 44_312), end("10.0.3.9", 443), 61),
            flow(Transport::Tcp, end("10.0.1.12", 51_870), end("10.0.2.7", 443), 24),
            flow(Transport::Tcp, end("10.0.2.63", 39_004), end("10.0.1.12", 30_443), 12),
            flow(Transport::Udp, end("10.0.1.12", 41_022), end("10.0.0.2", 53), 2),
        ],
        flows_tracked: 214,
        flows_overflow: Share::default(),
        left_out: Share::default(),
    }
}
