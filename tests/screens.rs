//! What the screens show, at several sizes, empty, busy, failing, with hostile names.

#[path = "support/sample.rs"]
mod sample;

use nodewatch_protocol::{CaptureSpec, CaptureState, FileState, Hello, StopReason, Update};
use nodewatch_tui::{
    model::{
        Aimed, AimedPod, Group, Holder, Kind, Node, NodesChange, Notice, PodPlace, Readiness, Removal, SeenObject,
        SessionId, SessionSummary, StoredFile, StoredSummary, TailLine, TailNews, Target, TunnelChange, Workloads,
    },
    screens::{Action, App, Column, Edit, Input, Screen, update},
    session::{Event, Permission, ledger::Found},
    ui::{self, Theme},
};
use ratatui::{Terminal, backend::TestBackend};
use sample::{NOW, app, busy, delivering, facts, feed, file, node, object, stock, tunnel};

fn draw(app: &App, width: u16, height: u16) -> String {
    // Screens show local time; the Makefile sets the zone.
    assert_eq!(std::env::var("TZ").as_deref(), Ok("UTC"), "run the tests with TZ=UTC, as make test does");
    draw_with(app, width, height, &Theme::standard())
}

fn draw_with(app: &App, width: u16, height: u16, theme: &Theme) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| drop(ui::draw(frame, app, theme))).expect("drawn");
    terminal.backend().to_string()
}

fn keys(app: &mut App, actions: &[Action]) {
    feed(app, actions.iter().map(|&action| Input::Key(action)));
}

#[test]
fn the_list_at_three_sizes() {
    let app = busy();
    insta::assert_snapshot!("list_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("list_160x40", draw(&app, 160, 40));
    insta::assert_snapshot!("list_40x10", draw(&app, 40, 10));
}

#[test]
fn nodes_that_no_agent_can_run_on_say_why() {
    let mut app = app();
    let mut fargate = node("fargate-ip-10-0-1-2", "1a", Readiness::Ready);
    fargate.labels.insert("eks.amazonaws.com/compute-type".into(), "fargate".into());
    let mut windows = node("win-1", "1b", Readiness::Ready);
    windows.machine.system = Some("windows".into());
    let closed = Node { cordoned: true, ..node("ip-10-0-1-9", "1c", Readiness::NotReady) };
    let nodes = vec![fargate, windows, closed, node("ip-10-0-1-7", "1a", Readiness::Ready)];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    keys(&mut app, &[Action::Top]);
    insta::assert_snapshot!("unable_80x24", draw(&app, 80, 24));
}

#[test]
fn a_node_in_every_view() {
    let mut app = busy();
    keys(&mut app, &[Action::Open]);
    for view in ["ports", "capture", "flows", "files", "events", "signals", "connections"] {
        insta::assert_snapshot!(format!("node_{view}_80x24"), draw(&app, 80, 24));
        keys(&mut app, &[Action::NextView]);
    }
}

#[test]
fn the_ports_of_all_nodes_in_every_mode() {
    let mut app = sample::reporting();
    keys(&mut app, &[Action::Ports, Action::Down]);
    for mode in ["by_node", "by_port", "matrix"] {
        insta::assert_snapshot!(format!("ports_{mode}_80x24"), draw(&app, 80, 24));
        insta::assert_snapshot!(format!("ports_{mode}_140x30"), draw(&app, 140, 30));
        for (width, height) in [(1, 1), (5, 3), (20, 6), (300, 4)] {
            draw(&app, width, height);
        }
        keys(&mut app, &[Action::NextView]);
    }
    keys(&mut app, &[Action::Back, Action::Quit]);
    insta::assert_snapshot!("exit_with_reports_100x30", draw(&app, 100, 30));
}

#[test]
fn the_signals_of_all_nodes_and_of_one() {
    let mut app = sample::counting();
    keys(&mut app, &[Action::Signals]);
    insta::assert_snapshot!("signals_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("signals_140x30", draw(&app, 140, 30));
    keys(&mut app, &[Action::Open]);
    insta::assert_snapshot!("signal_100x30", draw(&app, 100, 30));
    keys(&mut app, &[Action::Back, Action::Back, Action::Open, Action::PreviousView, Action::PreviousView]);
    insta::assert_snapshot!("node_signals_140x30", draw(&app, 140, 30));
}

#[test]
fn the_connections_of_all_nodes_and_of_one() {
    let mut app = app();
    keys(&mut app, &[Action::Connections]);
    insta::assert_snapshot!("connections_empty_80x24", draw(&app, 80, 24));
    let mut app = sample::watching();
    insta::assert_snapshot!("nodes_watched_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("nodes_watched_200x24", draw(&app, 200, 24));
    keys(&mut app, &[Action::Connections]);
    for (width, height) in [(80, 24), (120, 24), (180, 30)] {
        insta::assert_snapshot!(format!("connections_{width}x{height}"), draw(&app, width, height));
    }
    keys(&mut app, &[Action::Open]);
    insta::assert_snapshot!("connection_100x40", draw(&app, 100, 40));
    keys(&mut app, &[Action::Back, Action::Back, Action::Open, Action::PreviousView]);
    insta::assert_snapshot!("node_connections_140x30", draw(&app, 140, 30));
    // Nothing that failed is an answer too.
    let mut well = sample::counting();
    let name = well.session.nodes.keys().next().cloned().expect("a node");
    let told = sample::symptoms("eth0", vec![sample::pair("10.0.0.1", "10.0.0.2", 80, &[])]);
    feed(&mut well, [tunnel(&name.0, sample::on()), tunnel(&name.0, Update::Symptoms(Box::new(told)))]);
    keys(&mut well, &[Action::Connections, Action::Faults]);
    insta::assert_snapshot!("connections_nothing_failed_80x24", draw(&well, 80, 24));
}

#[test]
fn the_answers() {
    let mut app = app();
    keys(&mut app, &[Action::Events, Action::Answers]);
    insta::assert_snapshot!("answers_empty_80x24", draw(&app, 80, 24));
    let mut app = sample::answering();
    insta::assert_snapshot!("nodes_with_an_answer_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Events, Action::Answers]);
    insta::assert_snapshot!("answers_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("answers_160x50", draw(&app, 160, 50));
    keys(&mut app, &[Action::Open]);
    insta::assert_snapshot!("answers_opened_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("answers_opened_160x50", draw(&app, 160, 50));
    holds(&app, "answers, opened");
    keys(&mut app, &[Action::Silence]);
    insta::assert_snapshot!("answers_silenced_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Silence, Action::Open]);
    update(&mut app, Event::Tick, NOW + 90_000);
    insta::assert_snapshot!("answers_over_160x50", draw(&app, 160, 50));
    // Nothing that failed is an answer too.
    let mut well = sample::counting();
    let name = well.session.nodes.keys().next().cloned().expect("a node");
    let told = sample::symptoms("eth0", vec![sample::pair("10.0.0.1", "10.0.0.2", 80, &[])]);
    feed(&mut well, [tunnel(&name.0, sample::on()), tunnel(&name.0, Update::Symptoms(Box::new(told)))]);
    update(&mut well, Event::Tick, NOW + 4_000);
    keys(&mut well, &[Action::Events, Action::Answers]);
    insta::assert_snapshot!("answers_nothing_80x24", draw(&well, 80, 24));
}

#[test]
fn before_the_first_answer_and_with_no_node() {
    let mut app = app();
    assert!(draw(&app, 80, 24).contains("loading nodes"));
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
fn the_pods() {
    let mut app = busy();
    keys(&mut app, &[Action::Command]);
    keys(&mut app, &"pods".chars().map(|c| Action::Edit(Edit::Insert(c))).collect::<Vec<_>>());
    keys(&mut app, &[Action::Open]);
    assert!(draw(&app, 80, 24).contains("looking up pods"));
    let pod = |name: &str, node: &str, addresses: &[&str], phase: &str, restarts: u32| PodPlace {
        name: name.into(),
        node: node.into(),
        addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        phase: phase.into(),
        restarts: Some(restarts),
        host_network: addresses.is_empty(),
    };
    let (first, second) = ("ip-10-0-1-12.eu-west-1.compute.internal", "ip-10-0-1-40.eu-west-1.compute.internal");
    let pods = vec![
        pod("shop/web-7d9f8c6b5d-abcde", first, &["10.1.0.4", "fd00:10:1::4"], "Running", 0),
        pod("shop/payments-0", second, &["10.1.1.9"], "CrashLoopBackOff", 41),
        pod("kube-system/kube-proxy-x7k2p", first, &[], "Running", 2),
        pod("hostile/\u{1b}[2J", "nowhere", &["10.1.2.3"], "Pending", 0),
    ];
    let gaps = vec!["3 pods more than 200000 are left out".to_owned(), "services are unknown: no right".to_owned()];
    let mut aimed = Aimed::default();
    let addresses = vec!["10.1.1.9".parse().expect("an address")];
    aimed.add(second.into(), AimedPod { name: "shop/payments-0".into(), addresses });
    let target = vec![Target::pod("shop/payments-0").expect("a pod")];
    let found = Event::Workloads(Workloads { pods, gaps, ..Workloads::default() });
    feed(&mut app, [found, Event::Aim(target.clone()), Event::Aimed(target, Ok(aimed))]);
    keys(&mut app, &[Action::Down, Action::Down]);
    insta::assert_snapshot!("pods_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("pods_140x30", draw(&app, 140, 30));
    holds(&app, "pods");
    keys(&mut app, &[Action::Sort(Column::Status), Action::Open]);
    assert_eq!(app.screen, Screen::Node(second.into()), "the same pod");
}

#[test]
fn how_several_nodes_are_shown_is_asked() {
    let mut app = busy();
    let other = "ip-10-0-1-40.eu-west-1.compute.internal";
    let since = NOW - 9_000;
    let running = CaptureState::Running { since, interfaces: vec!["eth0".into()], spec: CaptureSpec::default() };
    let up = Event::Tunnel(other.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")));
    feed(&mut app, [up, tunnel(other, facts()), tunnel(other, Update::Capture(running))]);
    keys(&mut app, &[Action::ClearMarks, Action::MarkAll, Action::Follow, Action::Down]);
    insta::assert_snapshot!("sides_80x24", draw(&app, 80, 24));
}

#[test]
fn the_last_packets_of_a_node() {
    let mut app = busy();
    keys(&mut app, &[Action::ClearMarks, Action::Tail]);
    insta::assert_snapshot!("tail_empty_80x24", draw(&app, 80, 24));
    let node = app.list.cursor.clone().expect("a node");
    let lines = [
        "IP 10.0.1.7.43312 > 10.0.1.12.8080: Flags [S], seq 2291, win 64240, length 0",
        "IP 10.0.1.12.8080 > 10.0.1.7.43312: Flags [R.], seq 0, ack 2292, win 0, length 0",
        "IP 10.0.1.7.52811 > 10.0.0.2.53: UDP, length 44",
        "a hostile \u{1b}[2J",
    ];
    let line = |(at, text): (usize, &&str)| TailLine {
        nanos: NOW * 1_000_000 + at as u64 * 741_000_000,
        interface: "eth0".into(),
        text: (*text).to_owned(),
    };
    let lines = lines.iter().enumerate().map(line).collect();
    feed(&mut app, [Event::Tail(node.clone(), TailNews::Lines { lines, left_out: 1034 })]);
    feed(&mut app, [Event::Tail(node, TailNews::Ended("the stream ended: no capture is running".into()))]);
    insta::assert_snapshot!("tail_80x24", draw(&app, 80, 24));
}

#[test]
fn the_guided_exit_from_asking_to_what_is_left() {
    let mut app = busy();
    keys(&mut app, &[Action::Quit]);
    insta::assert_snapshot!("exit_asking_80x24", draw(&app, 80, 24));
    let mut without_files = app.clone();
    keys(&mut without_files, &[Action::Mark, Action::Details]);
    let screen = draw(&without_files, 100, 30);
    assert!(screen.contains("discard 3 files only on nodes") && screen.contains("on the node, discarded "), "{screen}");
    keys(&mut without_files, &[Action::Down, Action::Mark]);
    let screen = draw(&without_files, 100, 30);
    assert!(screen.contains("keep    3 files only on nodes") && screen.contains("kept there"), "{screen}");
    feed(&mut app, [stock()]);
    keys(&mut app, &[Action::Down, Action::Down, Action::Mark]);
    insta::assert_snapshot!("exit_keeping_100x30", draw(&app, 100, 30));
    keys(&mut app, &[Action::Mark]);
    keys(&mut app, &[Action::Open, Action::Skip]);
    let namespace = object(Kind::Namespace, "nodewatch-7f3a91c2", "the session");
    feed(
        &mut app,
        [
            Event::Removal(Removal::Gone(object(Kind::Job, "agent-7f3a91c2-1", "ip-10-0-1-12"))),
            Event::Removal(Removal::Failed(
                namespace,
                "still there after 120 s, held by the finalizers example.com/hold".into(),
            )),
            Event::Removal(Removal::Finished),
        ],
    );
    insta::assert_snapshot!("exit_failed_80x24", draw(&app, 80, 24));
}

/// One session that was detached here, one of another laptop, with that text wherever one comes from outside.
fn other_sessions(text: &str) -> Event {
    let summary = |id, owner: &str, holder, objects: Vec<SeenObject>| SessionSummary {
        id: SessionId::new(id),
        context: text.into(),
        owner: Some(owner.into()),
        began: Some(NOW - 3_600_000),
        ends: Some(NOW + 3_600_000),
        holder,
        objects,
        trouble: String::new(),
        moved: false,
    };
    let seen = |kind| SeenObject { object: object(kind, text, text), state: text.into() };
    let found = vec![
        summary(1, "me@here", Holder::Detached, vec![seen(Kind::Job), seen(Kind::Namespace)]),
        summary(0xbad_cafe, &format!("them@{text}"), Holder::Elsewhere, vec![seen(Kind::Namespace)]),
    ];
    Event::Sessions { found: Ok(found), asked: true }
}

#[test]
fn other_sessions_and_what_is_typed_before_one_is_removed() {
    let mut app = busy();
    feed(&mut app, [other_sessions("there")]);
    let left = Removal::Failed(object(Kind::Namespace, "nodewatch-00000001", ""), "held by a finalizer".into());
    feed(&mut app, [Event::Sweep(SessionId::new(1), left)]);
    keys(&mut app, &[Action::Down]);
    insta::assert_snapshot!("sessions_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Remove, Action::Edit(Edit::Insert('7')), Action::Open]);
    insta::assert_snapshot!("typed_80x24", draw(&app, 80, 24));
}

#[test]
fn read_only_offers_nothing_that_changes_a_cluster() {
    let mut app = busy();
    app.session.permission = Permission::ReadOnly;
    keys(&mut app, &[Action::Help]);
    let drawn = draw(&app, 100, 90);
    assert!(!drawn.contains("deploy the agent") && !drawn.contains("start a capture"), "{drawn}");
    assert!(drawn.contains("READ-ONLY") && drawn.contains("filter the view in front"), "{drawn}");
}

#[test]
fn ascii_where_the_terminal_has_no_more() {
    for make in [sample::reporting, delivering, hostile] {
        for (name, actions) in SCREENS {
            let mut app = make();
            keys(&mut app, actions);
            let drawn = draw_with(&app, 120, 40, &Theme::plain_ascii());
            assert!(drawn.is_ascii(), "{name}: {drawn}");
        }
    }
    let mut app = busy();
    keys(&mut app, &[Action::Open, Action::NextView]);
    let chart = draw_with(&app, 120, 40, &Theme::plain_ascii());
    let unknown = chart.replace("? help", "").contains('?');
    assert!(chart.contains("#####") && chart.contains("+-----") && !unknown, "{chart}");
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
            Event::Nodes(NodesChange::Failed(Notice::error(hostile, hostile, hostile))),
        ],
    );
    for (screen, event) in [
        (vec![], None),
        (vec![Action::Open], None),
        (vec![Action::Notices], None),
        (vec![Action::Back], Some(other_sessions(hostile))),
        (
            vec![],
            Some(Event::Sweep(SessionId::new(1), Removal::Failed(object(Kind::Job, hostile, hostile), hostile.into()))),
        ),
        (vec![Action::Back, Action::Quit], Some(Event::Stock(Err(Notice::error(hostile, hostile, hostile))))),
    ] {
        keys(&mut app, &screen);
        feed(&mut app, event);
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
    let mut listed = busy();
    feed(&mut listed, [other_sessions("there")]);
    let mut typed = listed.clone();
    keys(&mut typed, &[Action::Down, Action::Remove]);
    screens.push(listed);
    screens.push(typed);
    for actions in [
        vec![Action::Budget],
        vec![Action::Open],
        vec![Action::Open, Action::NextView],
        vec![Action::Open, Action::NextView, Action::NextView],
        vec![Action::Files],
        vec![Action::Open, Action::PreviousView],
        vec![Action::Signals],
        vec![Action::Signals, Action::Open],
        vec![Action::Connections],
        vec![Action::Connections, Action::Open],
        vec![Action::Events, Action::Answers],
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
    let mut answers = sample::answering();
    keys(&mut answers, &[Action::Events, Action::Answers]);
    screens.push(answers.clone());
    keys(&mut answers, &[Action::Open, Action::Down, Action::Bottom]);
    screens.push(answers);
    for app in &screens {
        for width in [1, 2, 7, 20, 33, 80, 300] {
            for height in [1, 2, 3, 6, 24, 100] {
                draw(app, width, height);
            }
        }
    }
}

#[test]
fn every_capture_file_wherever_it_is() {
    let mut app = delivering();
    keys(&mut app, &[Action::Files, Action::Down]);
    insta::assert_snapshot!("files_80x24", draw(&app, 80, 24));
    insta::assert_snapshot!("files_160x24", draw(&app, 160, 24));
    keys(&mut app, &[Action::Mark, Action::Mark, Action::Remove]);
    insta::assert_snapshot!("files_remove_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Back]);
    feed(&mut app, [Event::Stored(Err(Notice::error("it cannot be listed", "403", "sign in")))]);
    assert!(draw(&app, 100, 24).contains("NOT LISTED"));
    // At any size, also with a cursor that was further down.
    keys(&mut app, &[Action::Bottom]);
    for (width, height) in [(1, 1), (20, 6), (40, 10), (300, 100)] {
        draw(&app, width, height);
    }
    let mut none = busy();
    for state in none.session.nodes.values_mut() {
        state.files.clear();
    }
    keys(&mut none, &[Action::Files]);
    assert!(draw(&none, 80, 24).contains("no capture files yet"));
}

#[test]
fn a_capture_that_is_delivered_and_an_exit_that_keeps_it() {
    let mut app = delivering();
    keys(&mut app, &[Action::NextView, Action::Open]);
    insta::assert_snapshot!("node_delivering_80x24", draw(&app, 80, 24));
    keys(&mut app, &[Action::Quit]);
    let found = StoredSummary { objects: 2, bytes: 4_003_000, versions: 1, uploads: 1 };
    feed(&mut app, [stock(), Event::Stocked(Group::Storage, Ok(Found::Stored(found)))]);
    insta::assert_snapshot!("exit_storage_100x40", draw(&app, 100, 40));
}

#[test]
fn hostile_names_in_a_bucket_are_shown_as_text() {
    let mut app = delivering();
    let key = "inc/7f3a91c2/\u{1b}[2Jnode/\u{1b}]0;x\u{7}\u{202e}.pcapng".to_owned();
    feed(&mut app, [Event::Stored(Ok(vec![StoredFile { key, size: u64::MAX, modified: u64::MAX }]))]);
    keys(&mut app, &[Action::Files, Action::Bottom]);
    let screen = draw(&app, 160, 24);
    assert!(screen.contains("\\u{1b}[2Jnode"), "{screen}");
    assert!(!screen.chars().any(|character| character.is_control() && character != '\n'), "{screen}");
}

/// The screen's rows. After one with wide characters the backend tells which cells they hide.
fn rows(drawn: &str) -> impl Iterator<Item = &str> {
    drawn.lines().map(|line| line.split("\" Hidden by multi-width").next().unwrap_or(line).trim_matches('"'))
}

/// Rows without what is blank at their ends.
fn trimmed(drawn: &str) -> String {
    rows(drawn).map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// An app whose every foreign text is meant to do harm.
fn hostile() -> App {
    let bad = "ev\u{1b}[2J\u{9b}31m\u{202e}日本e\u{301}=1+1";
    let mut app = app();
    let mut first = node(bad, bad, Readiness::Ready);
    first.instance_type = Some(bad.into());
    let wide = "ノード-日本語の名前-とても長い-".repeat(3);
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![first, node(&wide, &wide, Readiness::NotReady)]))]);
    feed(&mut app, [Event::DeployTo(vec![bad.into()])]);
    let refused = sample::pair("10.0.0.1", "fe80::1", 65_535, &[(nodewatch_protocol::Symptom::Refused, u32::MAX)]);
    let mut harm = sample::symptoms(bad, vec![refused]);
    harm.samples = vec![sample::sample_of(nodewatch_protocol::Symptom::Refused)];
    harm.samples[0].headers = "1b5b324a".repeat(99);
    feed(
        &mut app,
        [
            Event::Tunnel(bad.into(), TunnelChange::Up(Hello::of(bad, bad))),
            tunnel(bad, facts()),
            tunnel(bad, sample::ports(nodewatch_protocol::PortsKind::Snapshot, &["tcp 0.0.0.0:22"], &[])),
            tunnel(bad, sample::statistics(5)),
            tunnel(bad, Update::Files(vec![file(bad, 5, FileState::Closed)])),
            tunnel(bad, Update::Trouble { message: bad.into() }),
            tunnel(bad, sample::on()),
            tunnel(bad, Update::Symptoms(Box::new(harm))),
            Event::Tick,
            Event::Told(Notice::error(bad, bad, bad)),
        ],
    );
    app
}

/// An app where nothing works.
fn failing() -> App {
    let mut app = busy();
    let notice = Notice::error("cannot list the nodes", "connection refused", "check the network");
    let names: Vec<_> = app.session.nodes.keys().cloned().collect();
    let stopped = CaptureState::Stopped { since: 1, at: 2, reason: StopReason::Failed { message: "disk full".into() } };
    feed(
        &mut app,
        [
            Event::Nodes(NodesChange::Failed(notice.clone())),
            tunnel(&names[0].0, Update::Capture(stopped)),
            Event::Tunnel(names[0].clone(), TunnelChange::Lost { reason: "cut".into() }),
            Event::Told(notice),
            Event::Tick,
        ],
    );
    app
}

/// Every screen, view and mode, by the keys that lead there.
const SCREENS: [(&str, &[Action]); 24] = [
    ("nodes", &[]),
    ("nodes, wide", &[Action::Wide]),
    ("nodes, faults", &[Action::Faults]),
    ("nodes, zoomed", &[Action::Zoom]),
    ("node, ports", &[Action::Open]),
    ("node, capture", &[Action::Open, Action::NextView]),
    ("node, flows", &[Action::Open, Action::NextView, Action::NextView]),
    ("node, files", &[Action::Open, Action::NextView, Action::NextView, Action::NextView]),
    ("node, events", &[Action::Open, Action::PreviousView, Action::PreviousView, Action::PreviousView]),
    ("node, signals", &[Action::Open, Action::PreviousView, Action::PreviousView]),
    ("node, connections", &[Action::Open, Action::PreviousView]),
    ("files", &[Action::Files]),
    ("ports", &[Action::Ports]),
    ("ports by port", &[Action::Ports, Action::NextView]),
    ("ports, matrix", &[Action::Ports, Action::PreviousView]),
    ("events", &[Action::Events]),
    ("signals", &[Action::Signals]),
    ("signal", &[Action::Signals, Action::Open]),
    ("connections", &[Action::Connections]),
    ("connection", &[Action::Connections, Action::Open]),
    ("answers", &[Action::Events, Action::Answers, Action::Open]),
    ("command", &[Action::Command]),
    ("notices", &[Action::Notices]),
    ("exit", &[Action::Quit]),
];

/// No panic, no control character, and nothing wider or longer than the screen, whatever its size.
fn holds(app: &App, what: &str) {
    use unicode_width::UnicodeWidthStr;
    for (width, height) in [(1, 1), (5, 3), (20, 6), (40, 10), (80, 24), (200, 60), (300, 4)] {
        let drawn = draw(app, width, height);
        let steering = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        assert!(!drawn.contains(steering), "{what} at {width}x{height}: {drawn:?}");
        let lines: Vec<&str> = rows(&drawn).collect();
        let widest = lines.iter().map(|line| line.width()).max().unwrap_or_default();
        assert!(lines.len() == usize::from(height) && widest <= usize::from(width), "{what}: {drawn}");
    }
}

#[test]
fn every_screen_empty_busy_failing_and_hostile() {
    for (state, make) in
        [("empty", app as fn() -> App), ("busy", sample::watching), ("failing", failing), ("hostile", hostile)]
    {
        for (name, actions) in SCREENS {
            let mut app = make();
            app.list.cursor = app.session.nodes.keys().next().cloned();
            keys(&mut app, actions);
            holds(&app, &format!("{state}, {name}"));
            let name = name.replace(", ", "_").replace(' ', "_");
            insta::with_settings!({ snapshot_path => format!("snapshots/{state}"), prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(name, trimmed(&draw(&app, 80, 24)));
            });
        }
    }
}

#[test]
fn columns_line_up_whatever_characters_names_have() {
    use unicode_width::UnicodeWidthStr;
    let app = hostile();
    let mut terminal = Terminal::new(TestBackend::new(120, 30)).expect("a terminal");
    terminal.draw(|frame| drop(ui::draw(frame, &app, &Theme::standard()))).expect("drawn");
    let buffer = terminal.backend().buffer();
    // The column of the word below STATUS, by cells and not by characters.
    let column = |y: u16, word: &str| {
        let cells: Vec<&str> = (0..120).map(|x| buffer[(x, y)].symbol()).collect();
        (0..120).find(|&x| cells[x..].concat().starts_with(word))
    };
    assert_eq!(column(2, "STATUS"), column(3, "Ready"));
    assert_eq!(column(2, "STATUS"), column(4, "NotReady"));
    assert!("日本".width() == 4 && column(2, "STATUS").is_some());
}

#[test]
fn the_context_is_there_at_every_width_and_looks_different_where_it_is_guarded() {
    let mut app = busy();
    for width in [16, 20, 40, 80, 300] {
        assert!(draw(&app, width, 6).lines().next().expect("a line").contains("prod-eu"), "{width}");
    }
    let style = |app: &App| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
        terminal.draw(|frame| drop(ui::draw(frame, app, &Theme::standard()))).expect("drawn");
        terminal.backend().buffer()[(13, 0)].style()
    };
    let free = style(&app);
    app.session.permission = Permission::Guarded;
    assert_ne!(style(&app), free);
    assert!(draw(&app, 80, 24).contains("GUARDED"), "never colour alone");
}

#[test]
fn a_first_run_says_what_to_begin_with_until_something_is_deployed() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    app.session.terms.first_run = true;
    assert!(draw(&app, 80, 24).contains("first time? c deploys the agent and captures"));
    assert!(!draw(&app, 80, 8).contains("first time"), "not where there is no room for it");
    keys(&mut app, &[Action::Deploy]);
    assert!(!draw(&app, 80, 24).contains("first time"));
}
