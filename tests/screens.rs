//! What the screens show, at several sizes, empty, busy, failing, with hostile names.

use std::{collections::BTreeMap, time::Duration};

use nodewatch_protocol::{
    AgentFacts, CaptureAbility, CaptureFile, CaptureSpec, CaptureState, Dropped, Endpoint, FileState, Flow, Hello, Mix,
    PortsKind, PortsUpdate, Share, Statistics, StopReason, Transport, Update, Window,
};
use nodewatch_tui::{
    app::{Action, App, Edit, Event, update},
    model::{
        DeployProgress, FetchProgress, MadeObject, Node, NodesChange, Notice, Place, Readiness, Removal, SessionId,
        TunnelChange,
    },
    ui::{self, Theme},
};
use ratatui::{Terminal, backend::TestBackend};

/// 2023-11-14 22:13:20 UTC.
const NOW: u64 = 1_700_000_000_000;

fn node(name: &str, zone: &str, readiness: Readiness) -> Node {
    Node {
        name: name.into(),
        readiness,
        cordoned: false,
        zone: Some(zone.into()),
        instance_type: Some("m5.large".into()),
        addresses: vec![],
        labels: BTreeMap::new(),
        version: Some("v1.33.1".into()),
    }
}

fn app() -> App {
    // Screens show local time; the Makefile sets the zone.
    assert_eq!(std::env::var("TZ").as_deref(), Ok("UTC"), "run the tests with TZ=UTC, as make test does");
    let place = Place::Cluster { context: "prod-eu".into(), flavour: Some("eks") };
    App::new(place, SessionId::new(0x7f3a_91c2), Duration::from_secs(4 * 3600))
}

fn feed(app: &mut App, events: impl IntoIterator<Item = Event>) {
    for event in events {
        update(app, event, NOW);
    }
}

fn ports(kind: PortsKind, opened: &[&str], closed: &[&str]) -> Update {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a port")).collect();
    Update::Ports(PortsUpdate { at: NOW, kind, opened: read(opened), closed: read(closed) })
}

fn statistics(second: u64) -> Update {
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
            },
            Flow {
                transport: Transport::Udp,
                from: end("2001:db8::12", 5353),
                to: end("2001:db8::53", 53),
                share: share(900, 120_000),
            },
        ],
        flows_tracked: 2,
        flows_overflow: Share::default(),
    }))
}

fn file(name: &str, size: u64, state: FileState) -> CaptureFile {
    CaptureFile { name: name.into(), size, packets: size / 900, started: NOW, state }
}

fn facts() -> Update {
    Update::Agent(AgentFacts {
        hostname: "n".into(),
        started: NOW,
        now: NOW,
        interfaces: vec![],
        default_interfaces: vec!["eth0".into()],
        capture: CaptureAbility::Ready,
    })
}

fn tunnel(name: &str, update: Update) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Update(update))
}

/// Several nodes in every state that there is.
fn busy() -> App {
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
    let names: Vec<_> = app.nodes.keys().cloned().collect();
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
            Event::Tunnel(names[3].clone(), TunnelChange::Lost { reason: "the tunnel was cut".into(), retry_in: 4000 }),
            Event::Action(Action::Mark),
        ],
    );
    app.cursor = Some(live.into());
    app.notices.clear();
    app
}

fn draw(app: &App, width: u16, height: u16) -> String {
    draw_with(app, width, height, &Theme::standard())
}

fn draw_with(app: &App, width: u16, height: u16, theme: &Theme) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| ui::draw(frame, app, theme)).expect("drawn");
    terminal.backend().to_string()
}

fn keys(app: &mut App, actions: &[Action]) {
    feed(app, actions.iter().map(|&action| Event::Action(action)));
}

#[test]
fn the_list_at_three_sizes() {
    let app = busy();
    insta::assert_snapshot!("list_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("list_160x40", draw(&app, 160, 40));
    insta::assert_snapshot!("list_40x10", draw(&app, 40, 10));
}

#[test]
fn a_node_in_every_view() {
    let mut app = busy();
    keys(&mut app, &[Action::Open]);
    for view in ["ports", "capture", "flows", "files", "events"] {
        insta::assert_snapshot!(format!("node_{view}_80x24"), draw(&app, 80, 24));
        keys(&mut app, &[Action::NextView]);
    }
}

#[test]
fn before_the_first_answer_and_with_no_node() {
    let mut app = app();
    assert!(draw(&app, 80, 24).contains("asking for the nodes"));
    let notice = Notice::error("cannot list the nodes", "forbidden", "you need: list and watch on nodes");
    feed(&mut app, [Event::Nodes(NodesChange::Failed(notice))]);
    insta::assert_snapshot!("forbidden_80x24", draw(&app, 80, 24));
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![]))]);
    assert!(draw(&app, 80, 24).contains("the cluster has no nodes"));
}

#[test]
fn the_dialogs() {
    let mut help = busy();
    keys(&mut help, &[Action::Help]);
    insta::assert_snapshot!("help_100x40", draw(&help, 100, 40));

    let mut confirm = busy();
    keys(&mut confirm, &[Action::ClearMarks, Action::MarkAll, Action::Deploy]);
    insta::assert_snapshot!("confirm_80x24", draw(&confirm, 80, 24));

    let mut form = busy();
    keys(&mut form, &[Action::ClearMarks, Action::Top, Action::CaptureOptions, Action::NextView, Action::NextView]);
    keys(&mut form, &"soon".chars().map(|c| Action::Edit(Edit::Insert(c))).collect::<Vec<_>>());
    keys(&mut form, &[Action::Open]);
    insta::assert_snapshot!("form_80x24", draw(&form, 80, 24));

    let mut filter = busy();
    keys(&mut filter, &[Action::Filter, Action::Edit(Edit::Insert('(')), Action::Edit(Edit::Insert('1'))]);
    insta::assert_snapshot!("filter_80x24", draw(&filter, 80, 24));
}

#[test]
fn the_guided_exit_from_asking_to_what_is_left() {
    let mut app = busy();
    keys(&mut app, &[Action::Quit]);
    insta::assert_snapshot!("exit_asking_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Open, Action::Skip]);
    let object = |kind, name: &str| MadeObject { kind, name: name.into(), purpose: "the session".into() };
    feed(
        &mut app,
        [
            Event::Removal(Removal::Gone(object("Job", "agent-1"))),
            Event::Removal(Removal::Failed(object("Namespace", "nodewatch-7f3a91c2"), "held by a finalizer".into())),
            Event::Removal(Removal::Finished),
        ],
    );
    insta::assert_snapshot!("exit_failed_80x24", draw(&app, 80, 24));
}

#[test]
fn ascii_where_the_terminal_has_no_more() {
    let mut app = busy();
    let list = draw_with(&app, 80, 24, &Theme::plain_ascii());
    keys(&mut app, &[Action::Quit]);
    let exit = draw_with(&app, 80, 24, &Theme::plain_ascii());
    assert!(list.is_ascii(), "{list}");
    assert!(exit.is_ascii(), "{exit}");
}

/// Names, labels, ports' events, notices and reasons come from outside.
#[test]
fn hostile_text_is_shown_and_not_obeyed() {
    let hostile = "ev\u{1b}[2Jil\u{9b}31m\r\n\u{202e}\u{7f}日本";
    let mut app = app();
    let mut bad = node(hostile, hostile, Readiness::Ready);
    bad.instance_type = Some(hostile.into());
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![bad])), Event::DeployTo(vec![hostile.into()])]);
    let stopped = CaptureState::Stopped { since: 1, at: 2, reason: StopReason::Failed { message: hostile.into() } };
    feed(
        &mut app,
        [
            Event::Tunnel(hostile.into(), TunnelChange::Up(Hello::of(hostile, hostile))),
            tunnel(hostile, facts()),
            tunnel(hostile, Update::Trouble { message: hostile.into() }),
            tunnel(hostile, Update::Capture(stopped)),
            tunnel(hostile, Update::Files(vec![file(hostile, 5, FileState::Closed)])),
            Event::Notice(Notice::error(hostile, hostile, hostile)),
        ],
    );
    for screen in [vec![], vec![Action::Open], vec![Action::Notices], vec![Action::Back, Action::Quit]] {
        keys(&mut app, &screen);
        for _ in 0..5 {
            let drawn = draw(&app, 120, 40);
            let steering = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            assert!(!drawn.contains(steering), "{drawn:?}");
            keys(&mut app, &[Action::NextView]);
        }
    }
}

#[test]
fn every_screen_survives_every_size() {
    let mut screens = vec![busy(), app()];
    for actions in [
        vec![Action::Open],
        vec![Action::Open, Action::NextView],
        vec![Action::Open, Action::NextView, Action::NextView],
        vec![Action::Files],
        vec![Action::Open, Action::PreviousView],
        vec![Action::Help],
        vec![Action::Notices],
        vec![Action::Filter],
        vec![Action::ClearMarks, Action::Top, Action::CaptureOptions],
        vec![Action::MarkAll, Action::Deploy],
        vec![Action::Quit],
    ] {
        let mut app = busy();
        keys(&mut app, &actions);
        screens.push(app);
    }
    for app in &screens {
        for width in [1, 2, 7, 20, 33, 80, 300] {
            for height in [1, 2, 3, 6, 24, 100] {
                draw(app, width, height);
            }
        }
    }
}
