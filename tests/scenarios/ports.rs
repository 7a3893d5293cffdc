//! The Ports screen by keys, reports that are due, alarms, and what the guided exit does with them.

use nodewatch_protocol::{
    PortProtocol, PortsKind, Probe, ProbeOutcome, Probed, ReportPlan, ReportState, Request, Response, Retention, Update,
};
use nodewatch_tui::{
    model::{
        Expectation, Expectations, Group, LogsSettings, NodeName, NodesChange, Notice, Origin, PastPort, PastReport,
        PortClass, PortKey, Readiness, Removal, TunnelChange, Way,
    },
    screens::{Action, App, Layer, Screen, command::CommandLine, filter_line::FilterLine, ports::Mode, update},
    session::{
        Effect, Event,
        exit::Phase,
        ledger::{Fate, Found},
        port_reports::Reports,
    },
};

use crate::{
    key, live, phase,
    sample::{NOW, feed, node, ports, tunnel},
    typed,
};

pub fn settings(way: Way) -> LogsSettings {
    LogsSettings {
        group: "g".into(),
        per_node: false,
        retention_days: 14,
        interval_seconds: 60,
        cluster: "c".into(),
        region: Some("eu-west-1".into()),
        endpoint: None,
        way,
        alarms: true,
        sns_topic: None,
        alarm_on: nodewatch_answers::Codes::default(),
    }
}

fn tcp(port: u16) -> PortKey {
    PortKey { port, protocol: PortProtocol::Tcp }
}

fn expected(ports: &[u16]) -> Event {
    let one = |&port: &u16| Expectation {
        node: None,
        key: tcp(port),
        address: None,
        origin: Origin::NodePort("ns/web".into()),
        ready: true,
    };
    let expectations = Expectations { list: ports.iter().map(one).collect(), ..Expectations::default() };
    Event::Expected(["a", "b", "c"].map(NodeName::from).to_vec(), expectations)
}

/// Nodes a, b and c with ports and what should be there.
fn scanned() -> App {
    let mut app = live();
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let mut node = node(name, "1a", Readiness::Ready);
        node.addresses = vec![format!("10.0.0.{}", index + 1).parse().expect("an address")];
        feed(&mut app, [Event::Nodes(NodesChange::Applied(node))]);
    }
    feed(
        &mut app,
        [
            tunnel("a", ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp 127.0.0.1:99", "udp 0.0.0.0:53"], &[])),
            tunnel("b", ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp 0.0.0.0:666"], &[])),
            tunnel("c", ports(PortsKind::Snapshot, &[], &[])),
            expected(&[22]),
        ],
    );
    app
}

fn reporting(way: Way) -> App {
    let mut app = scanned();
    app.session.reports = Some(Reports::new(settings(way)));
    app
}

pub fn tick(app: &mut App, seconds: u64) -> Vec<Effect> {
    update(app, Event::Tick, NOW + seconds * 1000)
}

fn reports(effects: &[Effect]) -> Vec<(String, serde_json::Value)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Report(node, event) => Some((node.0.clone(), serde_json::from_str(&event.parts[0]).expect("JSON"))),
            _ => None,
        })
        .collect()
}

#[test]
fn the_screen_shows_ports_by_node_by_port_and_as_a_matrix() {
    let mut app = scanned();
    key(&mut app, Action::Ports);
    assert_eq!(app.screen, Screen::Ports);
    assert_eq!(app.ports.rows.len(), 6, "three of a, two of b, and of c the one that rules serve");
    key(&mut app, Action::NextView);
    assert_eq!(app.ports.mode, Mode::ByPort);
    let open: Vec<(String, usize)> =
        app.ports.groups.iter().map(|group| (group.key.to_string(), group.open())).collect();
    assert_eq!(open, [("22/tcp".into(), 3), ("53/udp".into(), 1), ("99/tcp".into(), 1), ("666/tcp".into(), 1)]);
    assert_eq!(app.ports.groups[0].count(PortClass::ByRules), 1);
    key(&mut app, Action::NextView);
    assert_eq!(app.ports.mode, Mode::Matrix);
    assert_eq!(app.ports.groups[0].nodes.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [0, 1, 2]);

    // A port that opens is there at the next second.
    feed(&mut app, [tunnel("c", ports(PortsKind::Changes, &["tcp 0.0.0.0:7"], &[]))]);
    tick(&mut app, 1);
    assert_eq!(app.ports.groups[0].key.to_string(), "7/tcp");
}

#[test]
fn a_filter_narrows_while_it_is_typed_and_esc_brings_the_old_one_back() {
    let mut app = scanned();
    key(&mut app, Action::Ports);
    for (text, rows) in
        [("class:unexpected", 3), ("port:22", 3), ("!^a$", 3), ("scope:loop", 1), ("NodePort", 3), ("node:b", 2)]
    {
        key(&mut app, Action::Filter);
        key(&mut app, Action::Edit(nodewatch_tui::screens::Edit::Clear));
        typed(&mut app, text);
        key(&mut app, Action::Open);
        assert_eq!(app.ports.rows.len(), rows, "{text}");
    }
    key(&mut app, Action::Filter);
    key(&mut app, Action::Edit(nodewatch_tui::screens::Edit::Clear));
    typed(&mut app, "(");
    assert!(matches!(app.top(), Some(Layer::Filter(FilterLine { error: Some(error), .. })) if error.contains('(')));
    key(&mut app, Action::Open);
    assert!(!app.layers.is_empty(), "what cannot be read is not taken");
    key(&mut app, Action::Back);
    assert_eq!((app.ports.filter.0.as_str(), app.ports.rows.len()), ("node:b", 2));
    key(&mut app, Action::Back);
    assert_eq!((app.ports.filter.0.as_str(), app.ports.rows.len()), ("", 6));
}

#[test]
fn what_is_left_out_is_counted_and_comes_back() {
    let mut app = scanned();
    app.session.terms.exclude = "53/udp".parse().expect("a list");
    key(&mut app, Action::Ports);
    assert_eq!((app.ports.rows.len(), app.ports.excluded), (5, 1));
    key(&mut app, Action::Exclude);
    assert_eq!((app.ports.rows.len(), app.ports.excluded), (2, 4), "22/tcp on every node");
    key(&mut app, Action::IncludeAgain);
    assert_eq!((app.ports.rows.len(), app.ports.excluded), (5, 1));
}

#[test]
fn a_probe_comes_from_another_node_and_its_outcome_is_shown() {
    let mut app = scanned();
    key(&mut app, Action::Ports);
    let probe = Probe { protocol: PortProtocol::Tcp, to: "10.0.0.1:22".parse().expect("an address"), tries: 10 };
    assert_eq!(key(&mut app, Action::Probe), [Effect::Ask("b".into(), Request::Probe(probe))]);
    let probed =
        Probed::of(probe, vec![(ProbeOutcome::Reached, 300), (ProbeOutcome::Silent, 1), (ProbeOutcome::Silent, 1)]);
    feed(&mut app, [Event::Answer("b".into(), Request::Probe(probe), Some(Response::Probed(probed.clone())))]);
    let result = &app.session.ports.probes[&("a".into(), tcp(22))];
    assert_eq!((&result.from, &result.probed), (&"b".into(), &probed));
    assert!(
        app.latest_notice()
            .is_some_and(|notice| notice.headline.contains("10.0.0.1:22 of a: 1 of 10 reached, 0.3 ms; 2 no answer"))
    );

    // A port that only its own node reaches, and a cluster with one agent.
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Probe), []);
    assert!(app.latest_notice().is_some_and(|notice| notice.cause.contains("only its own node")));
    for name in ["b", "c"] {
        let lost = TunnelChange::Lost { reason: "cut".into() };
        feed(&mut app, [Event::Tunnel(name.into(), lost)]);
    }
    key(&mut app, Action::Up);
    assert_eq!(key(&mut app, Action::Probe), []);
    assert!(app.latest_notice().is_some_and(|notice| notice.cause.contains("another node")));
}

/// As the command has it: several nodes try the same address, which may be nobody's.
#[test]
fn each_nodes_own_tries_of_an_address_are_its_own() {
    let mut app = scanned();
    let probe = |to: &str| Probe { protocol: PortProtocol::Tcp, to: to.parse().expect("an address"), tries: 2 };
    let answer = |from: &str, probe, outcome| {
        let probed = Probed::of(probe, vec![(ProbeOutcome::Reached, 300), (outcome, 300)]);
        Event::Answer(from.into(), Request::Probe(probe), Some(Response::Probed(probed)))
    };
    let (of_a, elsewhere) = (probe("10.0.0.1:22"), probe("192.0.2.1:22"));
    for (from, probe) in [("b", of_a), ("c", of_a), ("b", elsewhere)] {
        feed(&mut app, [Event::Asked(from.into(), Request::Probe(probe))]);
        assert!(app.session.ports.is_trying(&from.into(), probe));
    }
    feed(&mut app, [answer("b", of_a, ProbeOutcome::Reached), answer("c", of_a, ProbeOutcome::Refused)]);
    let reached = |app: &App, from: &str, probe| {
        app.session.ports.tried.get(&(from.into(), probe)).map(|result| result.probed.reached)
    };
    assert_eq!((reached(&app, "b", of_a), reached(&app, "c", of_a)), (Some(2), Some(1)));
    // What is known of a node's port is what was seen last.
    assert_eq!(app.session.ports.probes[&("a".into(), tcp(22))].from, "c".into());
    // An answer to something else is none, and the try is over.
    let other = Probed::of(of_a, vec![(ProbeOutcome::Reached, 1)]);
    feed(&mut app, [Event::Answer("b".into(), Request::Probe(elsewhere), Some(Response::Probed(other)))]);
    assert!(!app.session.ports.is_trying(&"b".into(), elsewhere) && reached(&app, "b", elsewhere).is_none());
    feed(&mut app, [Event::Asked("b".into(), Request::Probe(elsewhere)), answer("b", elsewhere, ProbeOutcome::Silent)]);
    assert_eq!(reached(&app, "b", elsewhere), Some(1));
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.starts_with("192.0.2.1:22: 1 of 2 reached")));
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let mut app = live();
    key(&mut app, Action::Command);
    typed(&mut app, "prots");
    key(&mut app, Action::Open);
    assert!(
        matches!(app.top(), Some(Layer::Command(CommandLine { error: Some(error), .. })) if error.contains("\"prots\""))
    );
    key(&mut app, Action::Edit(nodewatch_tui::screens::Edit::Clear));
    typed(&mut app, "ports");
    key(&mut app, Action::Open);
    assert_eq!((app.screen.clone(), app.layers.is_empty()), (Screen::Ports, true));
    key(&mut app, Action::Command);
    typed(&mut app, "nodes");
    key(&mut app, Action::Open);
    assert_eq!(app.screen, Screen::Nodes);
}

#[test]
fn what_opens_and_closes_between_two_reports_is_seen() {
    let mut app = scanned();
    let before = app.session.nodes[&NodeName::from("a")].ports.changes.1;
    feed(
        &mut app,
        [
            tunnel("a", ports(PortsKind::Changes, &["tcp 0.0.0.0:7"], &[])),
            tunnel("a", ports(PortsKind::Changes, &[], &["tcp 0.0.0.0:7"])),
        ],
    );
    let (changes, total) = &app.session.nodes[&NodeName::from("a")].ports.changes;
    assert_eq!(total - before, 2);
    let latest: Vec<(String, bool)> =
        changes.iter().rev().take(2).map(|change| (change.port.to_string(), change.opened)).collect();
    assert_eq!(latest, [("tcp 0.0.0.0:7".into(), false), ("tcp 0.0.0.0:7".into(), true)]);
}

#[test]
fn each_live_node_is_reported_at_its_interval_and_a_missed_one_is_not_made_up_for() {
    let mut app = reporting(Way::Grant);
    app.session.terms.exclude = "53/udp".parse().expect("a list");
    let first = reports(&tick(&mut app, 1));
    assert_eq!(first.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let (a, b) = (&first[0].1, &first[1].1);
    assert_eq!((&a["OpenPorts"], &a["excluded"], &a["UnexpectedPorts"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!((&b["UnexpectedPorts"], &b["cluster"], &b["session"]), (&1.into(), &"c".into(), &"7f3a91c2".into()));
    assert!(reports(&tick(&mut app, 2)).is_empty());
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [Event::Tunnel("c".into(), lost)]);
    let second = reports(&tick(&mut app, 61));
    assert_eq!(second.len(), 2, "a node that is not heard of is silent");
    assert!(second[0].1["sequence"].as_u64() > first[0].1["sequence"].as_u64(), "any two events differ");
    assert_eq!(reports(&tick(&mut app, 1000)).len(), 2, "one each, however long it was away");
}

#[test]
fn a_clock_that_steps_takes_no_report_away() {
    let mut app = reporting(Way::Grant);
    assert_eq!(reports(&tick(&mut app, 100_000)).len(), 3);
    assert!(reports(&tick(&mut app, 100_030)).is_empty());
    // Three hours back, and at the usual pace from there.
    assert_eq!(reports(&tick(&mut app, 89_200)).len(), 3);
    assert!(reports(&tick(&mut app, 89_230)).is_empty());
    assert_eq!(reports(&tick(&mut app, 89_260)).len(), 3);
    // A day ahead: one, not all those between.
    assert_eq!(reports(&tick(&mut app, 175_600)).len(), 3);
    assert!(reports(&tick(&mut app, 175_601)).is_empty());
    assert_eq!(reports(&tick(&mut app, 175_660)).len(), 3);
}

#[test]
fn what_is_wrong_with_reports_is_told_once_whoever_sends_them() {
    let mut app = reporting(Way::Grant);
    let told = |app: &mut App| app.session.notices.drain(..).map(|(_, notice)| notice.headline).collect::<Vec<_>>();
    told(&mut app);
    let refused = |rejected| ReportState { rejected, refused: "too new".into(), ..ReportState::default() };
    feed(&mut app, [Event::Reports(refused(2)), Event::Reports(refused(2))]);
    let first = told(&mut app);
    assert!(first.len() == 1 && first[0].contains("2 refused: too new"), "{first:?}");
    let retention = Retention::NotSet { reason: "denied".into() };
    let state = ReportState { retention, ..ReportState::default() };
    feed(&mut app, [Event::Tunnel("a".into(), TunnelChange::Update(Update::Reports(state)))]);
    let second = told(&mut app);
    assert!(second.len() == 1 && second[0].contains("denied"), "{second:?}");
    key(&mut app, Action::Quit);
    let receipt = app.session.receipt();
    assert!(receipt.text().contains("LOST     2 reports: 2 refused: too new"), "{}", receipt.text());
}

#[test]
fn after_how_long_reports_are_forgotten_is_claimed_only_when_it_is_so() {
    for (retention, claim) in [
        (Retention::Unknown, None),
        (Retention::Theirs, Some("existing retention unchanged")),
        (Retention::Set { days: 14 }, Some("retention of 14 d")),
        (Retention::NotSet { reason: "denied".into() }, Some("NEVER expire")),
    ] {
        let mut app = reporting(Way::Grant);
        tick(&mut app, 1);
        key(&mut app, Action::Quit);
        key(&mut app, Action::Open);
        // It may become known with the last report, when the exit is on the screen already.
        feed(&mut app, [Event::Reports(ReportState { sent: 3, retention, ..ReportState::default() })]);
        feed(
            &mut app,
            [Event::Removal(Removal::Finished), Event::Removed(Group::Alarms, Ok(Found::Text(String::new())))],
        );
        let text = app.session.receipt().text();
        assert_eq!(text.contains("expire") || text.contains("retention"), claim.is_some(), "{text}");
        assert!(claim.is_none_or(|claim| text.contains(claim)), "{text}");
    }
}

fn past(port: &str) -> PastPort {
    PastPort { port: port.parse().expect("a port"), class: PortClass::Unknown }
}

#[test]
fn a_report_that_is_not_whole_closes_nothing_and_opens_only_what_is_new() {
    let report = |at, ports: &[&str], incomplete: Option<&str>| PastReport {
        at,
        node: "a".into(),
        ports: ports.iter().map(|port| past(port)).collect(),
        excluded: 0,
        unexpected: None,
        incomplete: incomplete.map(str::to_owned),
        older_left_out: false,
    };
    let cut = Some("1 of 2 parts found");
    let past = [
        report(1, &["tcp 0.0.0.0:1"], cut),
        report(2, &["tcp 0.0.0.0:1", "tcp 0.0.0.0:2"], None),
        report(3, &["tcp 0.0.0.0:3"], cut),
        report(4, &["tcp 0.0.0.0:2", "tcp 0.0.0.0:3"], None),
    ];
    let changes = nodewatch_tui::session::port_reports::changes(&past);
    let told: Vec<(u64, &str)> = changes.iter().rev().map(|(at, _, text)| (*at, text.as_str())).collect();
    let why = "(incomplete report: 1 of 2 parts found)";
    let lines = [format!("at least 1 open  {why}"), format!("+tcp 0.0.0.0:3  {why}")];
    assert_eq!(told, [(1, lines[0].as_str()), (2, "2 open"), (3, &lines[1]), (4, "-tcp 0.0.0.0:1")]);
}

#[test]
fn an_agent_with_a_role_is_told_once_and_again_when_more_is_expected() {
    let mut app = reporting(Way::PodIdentity);
    let told = |effects: Vec<Effect>| {
        let plans = effects.into_iter().filter_map(|effect| match effect {
            Effect::Ask(node, Request::Report(Some(plan))) => Some((node.0, plan)),
            Effect::Report(..) => panic!("the laptop reports too"),
            _ => None,
        });
        plans.collect::<Vec<_>>()
    };
    let first = told(tick(&mut app, 1));
    assert_eq!(first.len(), 3);
    let keys = |plan: &ReportPlan| {
        let list = plan.expectations.iter().flat_map(|expected| &expected.list);
        list.map(|one| one.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((keys(&first[0].1), first[0].1.stream.as_str()), (vec!["22/tcp".to_owned()], "a"));
    assert!(told(tick(&mut app, 2)).is_empty());
    feed(&mut app, [expected(&[22, 80])]);
    assert_eq!(keys(&told(tick(&mut app, 3))[2].1), ["22/tcp", "80/tcp"]);
}

#[test]
fn alarms_follow_the_nodes() {
    let mut app = reporting(Way::Grant);
    let alarms = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::Alarms(nodes) => Some(nodes),
            _ => None,
        })
    };
    assert_eq!(alarms(tick(&mut app, 1)), Some(["a", "b", "c"].map(NodeName::from).to_vec()));
    assert_eq!(alarms(tick(&mut app, 2)), None);
    feed(&mut app, [Event::Nodes(NodesChange::Gone("b".into()))]);
    assert_eq!(alarms(tick(&mut app, 3)), Some(["a", "c"].map(NodeName::from).to_vec()));
}

#[test]
fn the_guided_exit_keeps_reports_and_removes_alarms_and_says_what_is_left() {
    let mut app = reporting(Way::Grant);
    tick(&mut app, 1);
    feed(&mut app, [Event::Reports(ReportState { sent: 3, queued: 0, ..ReportState::default() })]);
    assert!(key(&mut app, Action::Quit).contains(&Effect::Stock(Group::Alarms)));
    feed(
        &mut app,
        [
            Event::Stocked(Group::Alarms, Ok(Found::Text("5 alarms".into()))),
            Event::Stocked(Group::Reports, Ok(Found::Text("3".into()))),
        ],
    );
    let effects = key(&mut app, Action::Open);
    assert!(effects.contains(&Effect::Remove(Group::Alarms)), "{effects:?}");
    assert!(!effects.contains(&Effect::Remove(Group::Reports)), "{effects:?}");
    assert!(!tick(&mut app, 70).iter().any(|effect| matches!(effect, Effect::Alarms(_))), "none is made any more");
    feed(&mut app, [Event::Removal(Removal::Finished)]);
    assert_eq!(phase(&app), Some(Phase::Removing), "alarms are waited for");
    let denied = || Notice::error("alarms may still be there", "denied", "");
    feed(&mut app, [Event::Removed(Group::Alarms, Err(denied()))]);
    assert_eq!(phase(&app), Some(Phase::RemoveFailed));
    let effects = key(&mut app, Action::Open);
    assert!(effects.contains(&Effect::Remove(Group::Alarms)), "tried again: {effects:?}");
    feed(&mut app, [Event::Removal(Removal::Finished), Event::Removed(Group::Alarms, Err(denied()))]);
    assert_eq!(key(&mut app, Action::Skip), [Effect::Quit]);
    let receipt = app.session.receipt();
    assert!(receipt.left_behind());
    let text = receipt.text();
    assert!(
        text.contains("reported 3 reports to log group g") && text.contains("LEFT     alarms of session"),
        "{text}"
    );
    assert!(receipt.things.iter().any(|thing| (thing.group, &thing.fate) == (Group::Reports, &Fate::Kept)));
}

#[test]
fn history_is_asked_for_a_port_and_shown_when_it_comes() {
    let mut app = scanned();
    key(&mut app, Action::Ports);
    assert_eq!(key(&mut app, Action::History), []);
    assert!(app.latest_notice().is_some_and(|notice| notice.next_step.contains("--cloudwatch")));
    app.session.reports = Some(Reports::new(settings(Way::Grant)));
    let effects = key(&mut app, Action::History);
    assert!(
        matches!(&effects[..], [Effect::Past(query)] if query.nodes == ["a".into()] && query.port == Some(tcp(22))),
        "{effects:?}"
    );
    let report = |at, ports: &[&str]| PastReport {
        at,
        node: "a".into(),
        ports: ports.iter().map(|port| past(port)).collect(),
        excluded: 0,
        unexpected: None,
        incomplete: None,
        older_left_out: false,
    };
    let past = [report(1, &["tcp 0.0.0.0:22"]), report(2, &["tcp 0.0.0.0:22"]), report(3, &["tcp 0.0.0.0:80"])];
    let changes = nodewatch_tui::session::port_reports::changes(&past);
    let told: Vec<(u64, &str)> = changes.iter().map(|(at, _, text)| (*at, text.as_str())).collect();
    assert_eq!(told, [(3, "+tcp 0.0.0.0:80  -tcp 0.0.0.0:22"), (1, "1 open")]);
    feed(&mut app, [Event::Past(Ok(past.to_vec()))]);
    assert!(matches!(app.top(), Some(Layer::History(history)) if history.found.is_some()));
    key(&mut app, Action::Back);
    assert_eq!((app.layers.is_empty(), app.screen.clone()), (true, Screen::Ports));
}

#[test]
fn rights_beyond_the_usual_are_asked_about_for_one_node_too() {
    let mut app = crate::app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    app.session.terms.processes = true;
    assert_eq!(key(&mut app, Action::Deploy), []);
    assert_eq!(key(&mut app, Action::Open), [Effect::Deploy(vec!["a".into()])]);
}
