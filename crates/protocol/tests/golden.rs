//! Every message of the current protocol version as it is written: a line that changes is a new version. Lines of
//! earlier versions stay readable, so that a peer of another version is told apart and not taken for garbage.

use std::fmt::Debug;

use nodewatch_protocol::{
    AcceptQueue, AgentFacts, Amount, CaptureAbility, CaptureFile, CaptureSpec, CaptureState, Case, Content, Delivery,
    Dropped, Endpoint, Expectation, ExpectedPorts, FileState, Finding, Flow, Freeze, FreezeCause, FreezeOn, FromAgent,
    Froze, Grant, Hello, Interface, InterfaceDrops, InterfaceState, MissingSource, Mix, NotJudged, ObjectForm, Origin,
    OwnSink, OwnersUpdate, PortChange, PortKey, PortOwner, PortProtocol, PortRule, PortsKind, PortsUpdate, Probe,
    ProbeOutcome, Probed, Recorder, Refusal, RefusalKind, ReportPlan, ReportState, Request, Response, Retention,
    RingState, Role, SamplePacket, ServerFacts, Service, Share, SignalSeries, SignalsUpdate, Sink, SinkState, Spread,
    Statistics, StopReason, Sums, Symptom, SymptomCount, Symptoms, Terms, ToAgent, Transport, Tunnel, Unlisted, Update,
    WatchSpec, WatchState, WatchedInterface, WatchedPair, Window, decode, encode,
};
use serde::{Serialize, de::DeserializeOwned};

const TO_AGENT: &str = include_str!("golden/v8-to-agent.jsonl");
const FROM_AGENT: &str = include_str!("golden/v8-from-agent.jsonl");
const EARLIER_TO_AGENT: [&str; 7] = [
    include_str!("golden/v1-to-agent.jsonl"),
    include_str!("golden/v2-to-agent.jsonl"),
    include_str!("golden/v3-to-agent.jsonl"),
    include_str!("golden/v4-to-agent.jsonl"),
    include_str!("golden/v5-to-agent.jsonl"),
    include_str!("golden/v6-to-agent.jsonl"),
    include_str!("golden/v7-to-agent.jsonl"),
];
const EARLIER_FROM_AGENT: [&str; 7] = [
    include_str!("golden/v1-from-agent.jsonl"),
    include_str!("golden/v2-from-agent.jsonl"),
    include_str!("golden/v3-from-agent.jsonl"),
    include_str!("golden/v4-from-agent.jsonl"),
    include_str!("golden/v5-from-agent.jsonl"),
    include_str!("golden/v6-from-agent.jsonl"),
    include_str!("golden/v7-from-agent.jsonl"),
];

fn ask(request: Request) -> ToAgent {
    ToAgent::Request { id: 7, request }
}

fn spec() -> CaptureSpec {
    CaptureSpec {
        interfaces: vec!["eth0".into()],
        filter: Some("tcp port 443".into()),
        limit_bytes: Some(1),
        limit_packets: Some(2),
        limit_seconds: Some(3.into()),
        ..CaptureSpec::default()
    }
}

fn freezing(on: FreezeOn) -> ToAgent {
    let recorder = Some(Recorder::default());
    ask(Request::StartCapture(CaptureSpec { recorder, freeze_on: Some(on), ..CaptureSpec::default() }))
}

fn froze(cause: FreezeCause) -> FromAgent {
    let freeze = Freeze { cause: Some(cause), ..Freeze::default() };
    FromAgent::Update(Update::Froze(Froze { message: "froze".into(), freeze }))
}

fn expectations() -> Vec<Expectation> {
    let expect = |port, origin| Expectation {
        node: None,
        key: PortKey { port, protocol: PortProtocol::Tcp },
        address: None,
        origin,
        ready: true,
    };
    vec![
        Expectation { node: Some("node-1".into()), ..expect(10250, Origin::Kubelet) },
        Expectation {
            address: Some("10.0.0.9".parse().expect("an address")),
            ..expect(80, Origin::HostPort("a/web".into()))
        },
        Expectation { ready: false, ..expect(30080, Origin::NodePort(String::new())) },
        expect(30081, Origin::HealthCheck(String::new())),
        expect(9100, Origin::HostNetwork(String::new())),
        expect(22, Origin::Named),
    ]
}

fn to_agent() -> Vec<ToAgent> {
    vec![
        ToAgent::Hello(Hello { protocol: 6, program: "nodewatch-tui".into(), version: "0.1.0".into() }),
        ask(Request::Heartbeat),
        ask(Request::StartCapture(spec())),
        ask(Request::StartCapture(CaptureSpec {
            content: Content::Dns,
            include_own: true,
            recorder: Some(Recorder::default()),
            ..CaptureSpec::default()
        })),
        ask(Request::StartCapture(CaptureSpec {
            toward: vec!["10.0.0.7".parse().expect("an address"), "fd00::7".parse().expect("an address")],
            ..CaptureSpec::default()
        })),
        ask(Request::StartCapture(CaptureSpec { bundle: true, ..CaptureSpec::default() })),
        freezing(FreezeOn::Verdict),
        freezing("N-05,N-11".parse().expect("codes")),
        freezing(FreezeOn::Failures(150)),
        ask(Request::StopCapture),
        ask(Request::Watch(Some(WatchSpec::default()))),
        ask(Request::Watch(Some(WatchSpec { interfaces: vec!["eth0".into()], filter: Some("tcp port 443".into()) }))),
        ask(Request::Watch(None)),
        ask(Request::Freeze(Freeze::default())),
        ask(Request::Freeze(Freeze { cause: Some(FreezeCause::Code(11)), ..Freeze::default() })),
        ask(Request::Sink(Sink::Ring)),
        ask(Request::Sink(Sink::Grant(Grant {
            url: "https://bucket.s3.eu-west-1.amazonaws.com/".into(),
            fields: [("policy".to_owned(), "e30=".to_owned())].into(),
            prefix: "captures/7f3a91c2/node-1/".into(),
            max_bytes: 5_368_709_120,
            valid_seconds: 900.into(),
            zstd: false,
            server: ServerFacts::default(),
        }))),
        ask(Request::Sink(Sink::Own(OwnSink {
            bucket: "bucket".into(),
            prefix: "captures/7f3a91c2/node-1/".into(),
            region: "eu-west-1".into(),
            endpoint: None,
            path_style: false,
            form: ObjectForm {
                kms_key: Some("arn:aws:kms:eu-west-1:1:key/2".into()),
                storage_class: Some("STANDARD_IA".into()),
                zstd: true,
            },
            server: ServerFacts { unchecked: true, authorities: Some("-----BEGIN CERTIFICATE-----".into()) },
        }))),
        ask(Request::Fetched { file: "a.pcapng".into() }),
        ask(Request::RemoveFile { file: "a.pcapng".into() }),
        ask(Request::Checksum { file: "a.pcapng".into() }),
        ask(Request::Terms(Terms { left_seconds: 14_400.into(), lease_seconds: Some(600.into()) })),
        ask(Request::Terms(Terms { left_seconds: 1.into(), lease_seconds: None })),
        ask(Request::Probe(Probe {
            protocol: PortProtocol::Udp,
            to: "[2001:db8::1]:53".parse().expect("an address"),
            tries: 10,
        })),
        ask(Request::Report(None)),
        ask(Request::Report(Some(Box::new(ReportPlan {
            group: "/nodewatch/prod".into(),
            stream: "node-1".into(),
            retention_days: 14,
            region: "eu-west-1".into(),
            endpoint: None,
            cluster: "prod".into(),
            hostname: "node-1".into(),
            session: "7f3a91c2".into(),
            interval_seconds: 60.into(),
            excluded: vec![
                PortRule::Ports { first: 8000, last: 8100, protocol: None },
                PortRule::Ports { first: 53, last: 53, protocol: Some(PortProtocol::Udp) },
                PortRule::Network { address: "127.0.0.0".parse().expect("an address"), length: 8 },
            ],
            expectations: Some(ExpectedPorts { list: expectations(), named: vec![] }),
        })))),
        ask(Request::Goodbye),
    ]
}

fn statistics() -> Statistics {
    let end = |address: &str, port| Endpoint { address: address.parse().expect("an address"), port };
    let share = Share { packets: 2, bytes: 1600 };
    let flow = |transport, port, tunnel| Flow {
        transport,
        from: end("10.0.0.1", port),
        to: end("2001:db8::1", port),
        share,
        tunnel,
    };
    let interface = |name: &str, gap_millis, state| InterfaceDrops {
        name: name.into(),
        packets: 2,
        kernel: 1,
        interface: 2,
        gap_millis,
        state,
    };
    Statistics {
        at: 1_700_000_000_000,
        elapsed: 1000,
        packets: 2,
        bytes: 1600,
        window: Window { millis: 1000, packets: 2, bytes: 1600 },
        dropped: Dropped { kernel: 1, interface: 2, queue: 3 },
        interfaces: vec![
            interface("eth0", 0, InterfaceState::Reading),
            interface("eth1", 2300, InterfaceState::Down),
            interface("wg0", 4600, InterfaceState::Gone),
            interface("wlan0", 0, InterfaceState::LeftOut),
        ],
        mix: vec![Mix { protocol: "TCP".into(), share }],
        sizes: [0, 1, 0, 0, 0, 1, 0],
        flows: std::iter::once(None)
            .chain(Tunnel::ALL.map(Some))
            .map(|tunnel| flow(Transport::Tcp, 443, tunnel))
            .chain([flow(Transport::Udp, 53, None), flow(Transport::Ip(1), 0, None)])
            .collect(),
        flows_tracked: 3,
        flows_overflow: Share::default(),
        left_out: share,
    }
}

fn symptoms() -> Symptoms {
    let whole = WatchedPair {
        source: "10.0.0.1".parse().expect("an address"),
        destination: "2001:db8::1".parse().expect("an address"),
        port: 443,
        service: Service::Tcp,
        interface: 0,
        tunnel: Some(Tunnel::Vxlan),
        packets: [7, 6],
        bytes: [700, 600],
        attempts: 3,
        answered: 2,
        lookups: 1,
        symptoms: vec![SymptomCount(Symptom::Refused, 0, 1), SymptomCount(Symptom::Retransmission, 2, 0)],
        stalled_millis: [200, 0],
        idle_millis: 350_000,
        mtu: Some(1400),
        told_by: Some("10.0.0.254".parse().expect("an address")),
        hops_left: Some(63),
        answers: Some(Spread { count: 2, p50: 180, p99: 240 }),
        round_trips: Some(Spread { count: 9, p50: 200, p99: 900 }),
    };
    let bare = WatchedPair {
        tunnel: None,
        attempts: 0,
        answered: 0,
        lookups: 0,
        symptoms: vec![],
        stalled_millis: [0, 0],
        idle_millis: 0,
        mtu: None,
        told_by: None,
        hops_left: None,
        answers: None,
        round_trips: None,
        service: Service::Neighbour,
        ..whole.clone()
    };
    let interface = |name: &str, role, lost| WatchedInterface {
        name: name.into(),
        role,
        packets: 13,
        dropped: lost,
        skipped: lost,
        gone: role == Role::Other,
    };
    Symptoms {
        captured: false,
        at: 1_700_000_000_000,
        millis: 1000,
        interfaces: vec![
            interface("eth0", Role::Node, 0),
            interface("veth1", Role::Pod, 2),
            interface("cni0", Role::Other, 0),
        ],
        connections: 40,
        sums: Sums {
            packets: 26,
            segments: 13,
            bytes: 2600,
            attempts: 3,
            answered: 2,
            lookups: 1,
            failed: 1,
            delayed: 4,
            retransmitted: 2,
            dns_unanswered: 5,
        },
        pairs: vec![whole, bare],
        samples: vec![SamplePacket {
            pair: 0,
            symptom: Symptom::Refused,
            at: 1_700_000_000_000_000_000,
            link_type: 1,
            length: 60,
            headers: "00ff".into(),
        }],
        cases: vec![case(), Case { what: Finding::Answered, id: None, ..bare_case() }],
        unlisted: Unlisted { pairs: 1, packets: 2, failed: 5, felt: 6, cases: 7, no_room: 3, evicted: 4 },
        not_judged: NotJudged { first_seconds: 1, one_direction: 2, dropped: 3, undecided: 4 },
    }
}

/// One with everything that it can have.
fn case() -> Case {
    Case {
        what: Finding::Symptom(Symptom::ForeignReset),
        id: Some((4_000_000_000, 77)),
        repeats: 2,
        hops: Some(63),
        refusal_hops: Some(64),
        usual_hops: Some(61),
        by_server: true,
        silence_millis: 350_000,
        amount: 1448,
        others_pass: true,
        other: Some("10.0.0.254".parse().expect("an address")),
        ..bare_case()
    }
}

/// One with what every one has.
fn bare_case() -> Case {
    let end = |address: &str, port| (address.parse().expect("an address"), port);
    let (source, destination) = (end("10.0.0.1", 40_000), end("2001:db8::1", 443));
    let whole = Case::of(Finding::Stray, Service::Tcp, source, destination, 1_700_000_001_000_000_000);
    Case { interface: 1, began: 1_700_000_000_000_000_000, ..whole }
}

fn whole_signals() -> SignalsUpdate {
    let series = |id, name: &str, item: &str, value, total| SignalSeries {
        id,
        name: name.into(),
        item: item.into(),
        value,
        total,
    };
    SignalsUpdate {
        at: 5,
        since: Some(4),
        told: vec![
            series(0, "tcp.listen_overflows", "", 12, 3),
            series(7, "ena.pps_allowance_exceeded", "eth0", 900, 0),
        ],
        missing: Some(vec![MissingSource {
            source: "/proc/net/stat/arp_cache".into(),
            reason: "this kernel does not have it".into(),
        }]),
        left_out: 1,
        ..SignalsUpdate::default()
    }
}

#[allow(clippy::too_many_lines, reason = "a list of every message")]
fn from_agent() -> Vec<FromAgent> {
    let answer = |response| FromAgent::Response { id: 7, response };
    let refuse = |kind| {
        let next_step = "do that".to_owned();
        answer(Response::Refused(Refusal { kind, message: "no".into(), next_step }))
    };
    let facts = |capture| {
        let interface = Interface {
            name: "eth0".into(),
            addresses: vec!["10.0.0.1".parse().expect("an address")],
            up: true,
            loopback: false,
        };
        let facts = AgentFacts {
            hostname: "node-1".into(),
            started: 1,
            now: 2,
            interfaces: vec![interface],
            default_interfaces: vec!["eth0".into()],
            capture,
            ring: "0123456789abcdef".into(),
        };
        FromAgent::Update(Update::Agent(facts))
    };
    let ports = |kind, opened: &[&str], closed: &[&str]| {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a port")).collect();
        let more = kind == PortsKind::Snapshot;
        FromAgent::Update(Update::Ports(PortsUpdate { at: 5, kind, opened: read(opened), closed: read(closed), more }))
    };
    let state = |state| FromAgent::Update(Update::Capture(state));
    let stopped = |reason| state(CaptureState::Stopped { since: 1, at: 2, reason });
    let file = |file_state, delivery| CaptureFile {
        name: "a.pcapng".into(),
        sequence: 7,
        size: 480,
        packets: 3,
        started: 1,
        ended: 2,
        state: file_state,
        dropped: Dropped { kernel: 1, interface: 2, queue: 3 },
        incomplete: "incomplete: torn".into(),
        sha256: Some("00ff".into()),
        delivery,
        fetched: true,
        since: 0,
    };
    let amount = Amount { files: 1, bytes: 480, packets: 3 };
    let ring = |sink| {
        let (queued, delivered, discarded, lost) = (amount, amount, amount, amount);
        let state = RingState { used: 1, limit: 2, queued, delivered, discarded, lost, retries: 4, sink };
        FromAgent::Update(Update::Ring(state))
    };
    let probed = |outcome| {
        let probe = Probe { protocol: PortProtocol::Tcp, to: "10.0.0.2:22".parse().expect("an address"), tries: 3 };
        Response::Probed(Probed::of(
            probe,
            vec![(outcome, 300), (ProbeOutcome::Reached, 200), (ProbeOutcome::Reached, 100)],
        ))
    };
    let owner = |pod_uid| PortOwner {
        port: "tcp 0.0.0.0:22".parse().expect("a port"),
        pid: 812,
        process: "sshd".into(),
        pod_uid,
    };
    vec![
        FromAgent::Hello(Hello { protocol: 6, program: "nodewatch-agent".into(), version: "0.1.0".into() }),
        answer(Response::Done),
        answer(Response::Checksum { file: "a.pcapng".into(), size: 480, sha256: "00ff".into() }),
        answer(probed(ProbeOutcome::Reached)),
        answer(probed(ProbeOutcome::Refused)),
        answer(probed(ProbeOutcome::Silent)),
        answer(probed(ProbeOutcome::Unreachable {
            by: Some("10.0.0.1".parse().expect("an address")),
            reason: "prohibited by a firewall".into(),
        })),
        answer(probed(ProbeOutcome::Unreachable { by: None, reason: "no answer from its host".into() })),
        answer(probed(ProbeOutcome::Failed { reason: "network is unreachable".into() })),
        refuse(RefusalKind::Invalid),
        refuse(RefusalKind::NotPermitted),
        refuse(RefusalKind::State),
        refuse(RefusalKind::Failed),
        facts(CaptureAbility::Ready),
        facts(CaptureAbility::Missing { right: "CAP_NET_RAW".into(), next_step: "grant it".into() }),
        ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp6 [::]:22", "udp 0.0.0.0:68", "udp6 [::1]:323"], &[]),
        ports(
            PortsKind::Continued,
            &["tcp 0.0.0.0%eth0:80", "tcp6 *:80", "tcp6 [fe80::1%eth0]:80", "udplite 0.0.0.0:7", "sctp 0.0.0.0:9"],
            &[],
        ),
        ports(PortsKind::Changes, &["tcp 0.0.0.0:8080"], &["tcp 0.0.0.0:22"]),
        FromAgent::Update(Update::PortHistory(vec![
            PortChange { at: 4, port: "tcp 0.0.0.0:22".parse().expect("a port"), opened: false },
            PortChange { at: 5, port: "udp6 [::]:53".parse().expect("a port"), opened: true },
        ])),
        FromAgent::Update(Update::Owners(OwnersUpdate {
            owners: vec![owner(None), owner(Some("0f6c1f2e-9b0a-4a58-8a6e-0123456789ab".into()))],
            continued: false,
            more: true,
        })),
        FromAgent::Update(Update::Owners(OwnersUpdate { owners: vec![], continued: true, more: false })),
        FromAgent::Update(Update::Queues(vec![AcceptQueue {
            port: "tcp 0.0.0.0:80".parse().expect("a port"),
            waiting: 2,
            limit: 1,
        }])),
        FromAgent::Update(Update::PortGaps(vec!["sctp: no sctp_diag".into()])),
        FromAgent::Update(Update::Reports(ReportState {
            sent: 1,
            queued: 2,
            dropped: 3,
            rejected: 4,
            retries: 5,
            trouble: "throttled".into(),
            refused: "too old".into(),
            retention: Retention::Set { days: 14 },
            warning: "alarms stay silent".into(),
        })),
        state(CaptureState::Idle),
        state(CaptureState::Running { since: 1, interfaces: vec!["eth0".into()], spec: spec() }),
        stopped(StopReason::Asked),
        stopped(StopReason::ByteLimit),
        stopped(StopReason::PacketLimit),
        stopped(StopReason::TimeLimit),
        stopped(StopReason::AgentEnds),
        stopped(StopReason::Failed { message: "no space left on device".into() }),
        FromAgent::Update(Update::Statistics(Box::new(statistics()))),
        FromAgent::Update(Update::Watch(WatchState::Off)),
        FromAgent::Update(Update::Watch(WatchState::On { since: 1, spec: WatchSpec::default() })),
        FromAgent::Update(Update::Watch(WatchState::Failed { message: "no room".into() })),
        FromAgent::Update(Update::Symptoms(Box::new(symptoms()))),
        FromAgent::Update(Update::Symptoms(Box::new(Symptoms {
            captured: true,
            at: 2,
            millis: 1000,
            ..Symptoms::default()
        }))),
        FromAgent::Update(Update::Signals(whole_signals())),
        FromAgent::Update(Update::Signals(SignalsUpdate {
            at: 6,
            moved: vec![(0, 3), (1, 250_000)],
            gone: vec![7],
            ..SignalsUpdate::default()
        })),
        FromAgent::Update(Update::Files(vec![
            file(FileState::Open, Delivery::Held),
            file(FileState::Closed, Delivery::Sending { sent: 100 }),
            file(FileState::Closed, Delivery::Waiting { reason: "no answer".into() }),
            file(
                FileState::Closed,
                Delivery::Delivered { key: "captures/a.pcapng".into(), size: 480, unproved: false },
            ),
            file(FileState::Closed, Delivery::Delivered { key: "captures/a.pcapng".into(), size: 480, unproved: true }),
            file(FileState::Closed, Delivery::Lost { reason: "its bytes are gone".into() }),
        ])),
        FromAgent::Update(Update::FilesPart(vec![file(FileState::Closed, Delivery::Held)])),
        FromAgent::Update(Update::FilesChanged {
            files: vec![file(FileState::Closed, Delivery::Held)],
            gone: vec![5, 6],
        }),
        ring(SinkState::Ring),
        ring(SinkState::Grant { left_seconds: 60 }),
        ring(SinkState::Own),
        FromAgent::Update(Update::Dropped { updates: 9 }),
        FromAgent::Update(Update::Trouble { message: "ports: no".into() }),
        froze(FreezeCause::Code(11)),
        froze(FreezeCause::Failures),
        froze(FreezeCause::PodEnds),
        FromAgent::Update(Update::Ending),
        FromAgent::Update(Update::Note { message: "the filter is applied by the agent".into() }),
    ]
}

fn written<T: Serialize>(messages: &[T]) -> String {
    let lines: Vec<u8> = messages.iter().flat_map(|message| encode(message).expect("a line")).collect();
    String::from_utf8(lines).expect("JSON is UTF-8")
}

fn hold<T: Serialize + DeserializeOwned + PartialEq + Debug>(golden: &str, messages: &[T]) {
    assert_eq!(golden, written(messages), "a line of the protocol has changed");
    let read: Vec<T> = golden.lines().map(|line| decode(line.as_bytes()).expect("a message")).collect();
    assert_eq!(read, messages);
}

#[test]
fn lines_to_the_agent_are_as_committed() {
    hold(TO_AGENT, &to_agent());
}

#[test]
fn lines_from_the_agent_are_as_committed() {
    hold(FROM_AGENT, &from_agent());
}

#[test]
fn lines_of_earlier_versions_can_be_read() {
    let mut to_agent = EARLIER_TO_AGENT.iter().flat_map(|lines| lines.lines());
    assert!(to_agent.all(|line| decode::<ToAgent>(line.as_bytes()).is_ok()));
    let mut from_agent = EARLIER_FROM_AGENT.iter().flat_map(|lines| lines.lines());
    assert!(from_agent.all(|line| decode::<FromAgent>(line.as_bytes()).is_ok()));
}

#[test]
fn a_field_from_a_later_release_is_passed_over() {
    let line = br#"{"hello":{"protocol":1,"program":"nodewatch-agent","version":"9.0.0","mood":"good"}}"#;
    assert!(matches!(decode::<FromAgent>(line), Ok(FromAgent::Hello(_))));
}

#[test]
fn another_version_is_refused_with_the_way_out() {
    let hello = Hello { protocol: 99, program: "nodewatch-agent".into(), version: "9.0.0".into() };
    let error = hello.check().expect_err("another version").to_string();
    assert!(error.contains("nodewatch-agent 9.0.0 speaks protocol 99, this program speaks 8"), "{error}");
    assert!(error.contains("--image"), "{error}");
}

#[test]
#[ignore = "writes the golden lines of the current version; run after a new version was decided on"]
fn write_golden_lines() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let version = nodewatch_protocol::VERSION;
    std::fs::write(folder.join(format!("v{version}-to-agent.jsonl")), written(&to_agent())).expect("written");
    std::fs::write(folder.join(format!("v{version}-from-agent.jsonl")), written(&from_agent())).expect("written");
}
