//! The session's report as somebody reads it who was not there: a flap, a loss, an agent that was lost, a hostile name.

use nodewatch_protocol::{
    CaptureFile, CaptureSpec, CaptureState, Dropped, FileState, Hello, PortChange, PortsKind, Statistics, StopReason,
    Update, Window,
};
use nodewatch_tui::{
    handover::{html, markdown},
    model::{
        Expectation, Expectations, FetchProgress, Kind, NodesChange, Origin, PortKey, Readiness, Removal, Summary,
        TunnelChange,
    },
    screens::{App, update},
    session::{Effect, Event},
};

use crate::sample::{self, NOW, app, facts, file, node, object, stock, tunnel};

/// What no node's name is, and what a name from outside may be.
const HOSTILE: &str = "<script>alert(1)</script>|`x`\u{1b}[2J\n# head";

fn at(app: &mut App, second: u64, event: Event) -> Vec<Effect> {
    update(app, event, NOW + second * 1000)
}

fn changed(opened: &[&str], closed: &[&str]) -> Update {
    sample::ports(PortsKind::Changes, opened, closed)
}

fn running(since: u64) -> Update {
    Update::Capture(CaptureState::Running {
        since,
        interfaces: vec!["eth0".into()],
        spec: CaptureSpec { filter: Some("tcp port 8080".into()), ..CaptureSpec::default() },
    })
}

fn counted(second: u64, bytes: u64) -> Update {
    let Update::Statistics(statistics) = sample::statistics(second) else { panic!("statistics") };
    let window = Window { millis: 1000, packets: bytes / 100, bytes };
    Update::Statistics(Box::new(Statistics { window, dropped: Dropped::default(), ..*statistics }))
}

fn written(name: &str, dropped: u64, incomplete: &str) -> CaptureFile {
    CaptureFile {
        dropped: Dropped { kernel: dropped, interface: 0, queue: 0 },
        incomplete: incomplete.into(),
        sha256: Some("5ebf2c9d".repeat(8)),
        started: NOW + 10_000,
        ..file(name, 98_304, FileState::Closed)
    }
}

fn expected(nodes: &[&str]) -> Event {
    let kubelet = Expectation {
        node: None,
        key: PortKey { port: 10250, protocol: nodewatch_protocol::PortProtocol::Tcp },
        address: None,
        origin: Origin::Kubelet,
        ready: true,
    };
    let expectations = Expectations { list: vec![kubelet], ..Expectations::default() };
    Event::Expected(nodes.iter().map(|&name| name.into()).collect(), expectations)
}

/// Two nodes: the first has a listener that closes for a second of every ten, the second was lost for a while.
fn watched(second: &str) -> App {
    let nodes = ["node-1", second];
    let mut app = app();
    app.session.terms.owner = "someone@vm".into();
    let listed = nodes.map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    at(&mut app, 0, Event::Nodes(NodesChange::Replaced(listed)));
    at(&mut app, 0, Event::DeployTo(nodes.map(Into::into).to_vec()));
    for name in nodes {
        at(&mut app, 1, Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))));
        at(&mut app, 1, tunnel(name, facts()));
        let ports = ["tcp 10.89.0.11:8080", "tcp6 *:10250", "tcp 127.0.0.1:9099"];
        at(&mut app, 1, tunnel(name, sample::ports(PortsKind::Snapshot, &ports, &[])));
    }
    at(&mut app, 2, expected(&nodes));
    for name in nodes {
        at(&mut app, 10, tunnel(name, running(NOW + 10_000)));
    }
    for second_of in 11..120 {
        if second_of % 10 == 5 {
            at(&mut app, second_of, tunnel(nodes[0], changed(&[], &["tcp 10.89.0.11:8080"])));
            at(&mut app, second_of + 1, tunnel(nodes[0], changed(&["tcp 10.89.0.11:8080"], &[])));
            let resolver = format!("udp 0.0.0.0:{}", 35_000 + second_of);
            at(&mut app, second_of + 1, tunnel(nodes[0], changed(&[&resolver], &[])));
            at(&mut app, second_of + 1, tunnel(nodes[0], changed(&[], &[&resolver])));
        }
        if second_of == 40 {
            at(&mut app, 40, Event::Tunnel(second.into(), TunnelChange::Lost { reason: "cut".into() }));
        }
        if second_of == 52 {
            let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
            at(&mut app, 52, Event::Tunnel(second.into(), up));
        }
        at(&mut app, second_of, tunnel(nodes[0], counted(second_of, 1200 + second_of % 7 * 90)));
        if !(40..52).contains(&second_of) {
            at(&mut app, second_of, tunnel(second, counted(second_of, 800 + second_of % 5 * 120)));
        }
        at(&mut app, second_of, Event::Tick);
    }
    app
}

/// The same to its end.
fn incident(second: &str) -> Summary {
    let mut app = watched(second);
    for (name, file) in [
        ("node-1", written("20231114T221330.000000Z-0001.pcapng", 0, "")),
        (second, written("20231114T221330.000000Z-0002.pcapng", 12, "interface eth0 went away")),
    ] {
        let stopped = CaptureState::Stopped { since: NOW + 10_000, at: NOW + 120_000, reason: StopReason::Asked };
        at(&mut app, 120, tunnel(name, Update::Capture(stopped)));
        let done = FetchProgress::Done {
            path: format!("nodewatch-captures/7f3a91c2/{}", file.name).into(),
            sha256: "5ebf2c9d".repeat(8),
        };
        let fetched = file.name.clone();
        at(&mut app, 121, tunnel(name, Update::Files(vec![file])));
        at(&mut app, 122, Event::Fetch(name.into(), fetched, done));
    }
    at(&mut app, 123, stock());
    at(&mut app, 123, Event::Finish);
    at(&mut app, 124, stock());
    for (kind, name) in [
        (Kind::Job, "agent-7f3a91c2-1"),
        (Kind::Namespace, "nodewatch-7f3a91c2"),
        (Kind::ServiceAccount, "nodewatch-agent-7f3a91c2"),
    ] {
        at(&mut app, 130, Event::Removal(Removal::Gone(object(kind, name, "the session"))));
    }
    at(&mut app, 131, Event::Removal(Removal::Finished));
    assert!(app.session.ended().is_some(), "{:?}", app.session.leaving);
    app.session.summary()
}

/// An element a line, so that a difference can be read.
fn in_lines(page: &str) -> String {
    page.replace("><", ">\n<")
}

#[test]
fn the_report_of_an_incident_says_on_its_first_page_what_was_seen() {
    let summary = incident("node-2");
    let text = markdown(&summary);
    insta::assert_snapshot!("incident_markdown", text);
    let page = html(&summary);
    insta::assert_snapshot!("incident_html", in_lines(&page));
    // One sentence is one in both.
    for said in [
        "nodewatch, session 7f3a91c2, cluster prod-eu (eks), 14 Nov 2023 22:13:20 to 22:15:31 UTC (2 min), by someone@vm",
        "tcp 10.89.0.11:8080 (node-1) closed 11 times, 1.0 s each, about every 10 s, from 22:13:35 to 22:15:15.",
        "The agent on node-2 could not be reached from 22:14:00 to 22:14:12 (12 s).",
        "2 files, 192 KiB, dropped 12 by the kernel, checked, in nodewatch-captures/7f3a91c2.",
        "3 objects, all gone at 22:15:30.",
    ] {
        assert!(page.contains(said) && text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("udp 0.0.0.0:35"), "a resolver's sockets are counted: {text}");
}

#[test]
fn a_name_from_outside_stays_a_name_in_the_whole_report() {
    let summary = incident(HOSTILE);
    let (page, text) = (html(&summary), markdown(&summary));
    // In a block of code, which the command is, nothing is markup.
    let marked: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
    for told in [&page, &marked.join("\n")] {
        assert!(!told.contains("<script") && !told.contains('\u{1b}'), "{told}");
    }
    assert!(text.lines().all(|line| !line.starts_with("# head")), "{text}");
    insta::assert_snapshot!("hostile_markdown", text);
    insta::assert_snapshot!("hostile_html", in_lines(&page));
}

#[test]
fn a_session_that_was_taken_up_again_tells_what_was_before() {
    let earlier = Summary { detached: true, ..watched("node-2").session.summary() };
    let mut app = app();
    at(&mut app, 300, Event::Earlier(Box::new(earlier)));
    at(&mut app, 300, Event::Attach { began: NOW, ends: Some(NOW + 7_200_000), stood_in: false });
    at(&mut app, 300, Event::Deploy("node-1".into(), nodewatch_tui::model::DeployProgress::Running));
    at(&mut app, 300, Event::Tunnel("node-1".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))));
    let Update::Agent(mut agent) = facts() else { panic!("facts") };
    agent.now = NOW + 300_000;
    at(&mut app, 300, tunnel("node-1", Update::Agent(agent)));
    at(&mut app, 300, tunnel("node-1", running(NOW + 10_000)));
    at(&mut app, 300, tunnel("node-1", sample::ports(PortsKind::Snapshot, &["tcp 10.89.0.11:8080"], &[])));
    // The agent tells all that it remembers, also what the first laptop has seen.
    let change = |second: u64, opened| PortChange {
        at: NOW + second * 1000,
        port: "tcp 10.89.0.11:8080".parse().expect("a port"),
        opened,
    };
    let history = (1..30).flat_map(|turn| [change(turn * 10 + 5, false), change(turn * 10 + 6, true)]).collect();
    at(&mut app, 300, tunnel("node-1", Update::PortHistory(history)));
    for second in 301..320 {
        at(&mut app, second, tunnel("node-1", counted(second, 1000)));
        assert_eq!(
            at(&mut app, second, Event::Tick).iter().filter(|one| matches!(one, Effect::Remember(_))).count(),
            0
        );
    }
    let summary = app.session.summary();
    let node = &summary.nodes[0];
    assert_eq!((node.flaps[0].closed, node.captures.len()), (29, 1), "each closing once: {:?}", node.flaps);
    assert_eq!(node.captures[0].began, NOW + 10_000);
    let text = markdown(&summary);
    for said in [
        "Nobody was attached from 22:15:19 to 22:18:20 (3 min)",
        "| 22:13:30 | node-1 | capture started on eth0",
        "| 22:18:20 | node-1 | attached to the capture on eth0: tcp port 8080, content headers; it has run for 4m50s |",
        "| 22:18:20 | node-1 | attached: the agent is live, version 0.1.0 |",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(text.matches("capture started").count(), 2, "once a node: {text}");
    let page = html(&summary);
    // Two nodes before the pause, one after it, and node-2 was lost for a while.
    assert_eq!((page.matches("<polyline").count(), page.matches("class=\"hole\"").count()), (4, 1));
    assert!(page.contains("nobody attached"));
}

#[test]
fn what_was_done_on_nodes_goes_into_the_journal_once() {
    let mut app = app();
    let listed = vec![node("a", "1a", Readiness::Ready)];
    at(&mut app, 0, Event::Nodes(NodesChange::Replaced(listed)));
    at(&mut app, 0, Event::DeployTo(vec!["a".into()]));
    at(&mut app, 1, Event::Tunnel("a".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))));
    at(&mut app, 1, tunnel("a", facts()));
    at(&mut app, 2, tunnel("a", running(NOW + 2000)));
    let remembered = |effects: Vec<Effect>| -> Vec<String> {
        let acts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Remember(acts) => Some(acts),
            _ => None,
        });
        acts.flatten().map(|act| format!("{} {}", act.at - NOW, act.text)).collect()
    };
    let told = remembered(at(&mut app, 3, Event::Tick));
    assert_eq!(told, ["2000 capture started on eth0: tcp port 8080, content headers"]);
    assert_eq!(remembered(at(&mut app, 4, Event::Tick)), Vec::<String>::new());
}
