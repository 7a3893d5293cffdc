//! What keys and events do to the app, step by step, with no I/O at all.

mod agents;
mod answers;
mod bundles;
mod captures;
mod clocks;
mod compute;
mod freezing;
mod habits;
mod images;
mod joining;
mod judge;
mod metrics;
mod ports;
mod replays;
mod reports;
#[path = "../support/sample.rs"]
mod sample;
mod seen;
mod signals;
mod small;
mod starts;
mod targets;
mod views;
mod watch;

use nodewatch_protocol::{
    AgentFacts, CaptureAbility, CaptureSpec, CaptureState, FileState, Hello, PortChange, PortsKind, Request, Response,
    StopReason, Terms, Update,
};
use nodewatch_tui::{
    model::{
        DeployProgress, FetchProgress, Group, Holder, Keep, NodeName, NodesChange, Notice, Readiness, Removal,
        SessionId, SessionSummary, TunnelChange,
    },
    screens::{Action, App, Edit, Input, Scope, Screen, update},
    session::{
        Effect, Event, Next, Permission,
        exit::{DETACH_WITHIN, Phase, STOP_WITHIN},
        node::{Agent, Asked},
    },
};
use sample::{NOW, app, facts, feed, file, node, tunnel};

fn key(app: &mut App, action: Action) -> Vec<Effect> {
    update(app, Input::Key(action), NOW)
}

/// The removal of all but that.
fn cleanup(keep: Keep) -> Effect {
    Effect::CleanUp { captured: vec![], known: vec![], keep }
}

/// Effects, whatever nodes a removal gathers manifests of.
fn removal(effects: Vec<Effect>) -> Vec<Effect> {
    let plain = |effect| match effect {
        Effect::CleanUp { keep, .. } => cleanup(keep),
        other => other,
    };
    effects.into_iter().map(plain).collect()
}

fn typed(app: &mut App, text: &str) {
    for character in text.chars() {
        key(app, Action::Edit(Edit::Insert(character)));
    }
}

/// Nodes a, b and c, all live.
fn live() -> App {
    let mut app = app();
    let nodes = ["a", "b", "c"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    feed(&mut app, [Event::DeployTo(["a", "b", "c"].map(NodeName::from).to_vec())]);
    for name in ["a", "b", "c"] {
        let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
        feed(&mut app, [Event::Tunnel(name.into(), up), tunnel(name, facts())]);
    }
    app
}

fn running() -> Update {
    Update::Capture(CaptureState::Running { since: NOW, interfaces: vec!["eth0".into()], spec: CaptureSpec::default() })
}

fn stopped() -> Update {
    Update::Capture(CaptureState::Stopped { since: NOW, at: NOW, reason: StopReason::Asked })
}

/// What agents are told in a session that begins now.
fn terms(lease_seconds: Option<u64>) -> Request {
    Request::Terms(Terms { left_seconds: (4 * 3600).into(), lease_seconds: lease_seconds.map(Into::into) })
}

fn phase(app: &App) -> Option<Phase> {
    app.session.exit().map(|exit| exit.phase)
}

#[test]
fn with_nothing_made_q_just_quits() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    assert_eq!(key(&mut app, Action::Quit), [Effect::Quit]);
}

#[test]
fn one_node_is_one_keystroke_and_several_are_asked_about() {
    let mut app = app();
    let nodes = ["a", "b", "c"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["a".into()])]);

    // From the second to the third, as a range.
    for action in [Action::Down, Action::Mark, Action::MarkRange] {
        key(&mut app, action);
    }
    assert_eq!(app.targets(), ["b", "c"].map(NodeName::from));
    assert_eq!(key(&mut app, Action::Deploy), []);
    assert_eq!(app.scope(), Scope::Dialog);
    assert_eq!(key(&mut app, Action::Back), []);
    key(&mut app, Action::Deploy);
    assert_eq!(key(&mut app, Action::Open), [Effect::Deploy(["b", "c"].map(NodeName::from).to_vec())]);
}

#[test]
fn a_capture_starts_where_it_can_and_says_where_not() {
    let mut app = live();
    let missing = AgentFacts {
        hostname: "b".into(),
        started: NOW,
        now: NOW,
        interfaces: vec![],
        default_interfaces: vec![],
        ring: String::new(),
        capture: CaptureAbility::Missing { right: "CAP_NET_RAW".into(), next_step: "grant it".into() },
    };
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [tunnel("b", Update::Agent(missing)), Event::Tunnel("c".into(), lost)]);
    key(&mut app, Action::MarkAll);
    assert_eq!(
        key(&mut app, Action::Capture),
        [Effect::Ask("a".into(), Request::StartCapture(CaptureSpec::default()))]
    );
    assert_eq!(app.session.nodes[&"a".into()].asked, Asked::Start);
    assert!(
        app.latest_notice()
            .is_some_and(|notice| notice.line().contains("no capture on b: the agent lacks CAP_NET_RAW"))
    );
    // Asked once is enough.
    assert_eq!(key(&mut app, Action::Capture), []);
    feed(&mut app, [tunnel("a", running())]);
    assert_eq!(app.session.nodes[&"a".into()].asked, Asked::Nothing);
    assert_eq!(key(&mut app, Action::Capture), [Effect::Ask("a".into(), Request::StopCapture)]);
}

#[test]
fn the_form_remembers_what_was_typed() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "udp port 53");
    let effects = key(&mut app, Action::Open);
    let spec = CaptureSpec { filter: Some("udp port 53".into()), ..CaptureSpec::default() };
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(spec.clone()))]);
    // The bare key takes it too.
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Capture), [Effect::Ask("b".into(), Request::StartCapture(spec))]);
}

#[test]
fn a_filter_that_is_given_up_leaves_the_one_before() {
    let mut app = live();
    key(&mut app, Action::Filter);
    typed(&mut app, "b");
    assert_eq!(app.list.cursor, Some("b".into()), "the cursor stays on a node that is shown");
    key(&mut app, Action::Open);
    key(&mut app, Action::Filter);
    typed(&mut app, "(");
    key(&mut app, Action::Open);
    assert_eq!(app.scope(), Scope::Text, "a filter that cannot be read is not taken");
    key(&mut app, Action::Back);
    assert_eq!(app.shown().count(), 1);
    key(&mut app, Action::Back);
    assert_eq!(app.shown().count(), 3);
}

#[test]
fn a_node_that_vanishes_with_an_agent_stays_on_the_screen() {
    let mut app = live();
    feed(&mut app, [Event::Nodes(NodesChange::Applied(node("d", "1b", Readiness::Ready)))]);
    feed(&mut app, [Event::Nodes(NodesChange::Gone("a".into())), Event::Nodes(NodesChange::Gone("d".into()))]);
    assert!(!app.session.nodes[&"a".into()].present && !app.session.nodes.contains_key(&"d".into()));
    assert!(app.latest_notice().is_some_and(|notice| notice.headline == "node a has left the cluster"));
    assert_eq!(app.session.nodes[&"b".into()].agent, Agent::Live);
}

#[test]
fn a_node_opened_full_screen_that_vanishes_leads_back_to_the_list() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    key(&mut app, Action::Open);
    feed(&mut app, [Event::Nodes(NodesChange::Gone("a".into()))]);
    assert_eq!((app.screen.clone(), app.list.cursor.clone()), (Screen::Nodes, None));
    // And every key is safe with no node at all.
    for action in [Action::Capture, Action::CaptureOptions, Action::Deploy, Action::Files, Action::Mark, Action::Open] {
        assert_eq!(key(&mut app, action), []);
    }
}

#[test]
fn a_failed_pod_can_be_deployed_again_and_its_lost_tunnel_hides_no_reason() {
    let mut app = live();
    let notice = Notice::error("the image a cannot be pulled", "no such host", "name another");
    let lost = || Event::Tunnel("a".into(), TunnelChange::Lost { reason: "cut".into() });
    feed(&mut app, [lost(), Event::Deploy("a".into(), DeployProgress::Failed(notice)), lost()]);
    assert!(
        matches!(&app.session.nodes[&"a".into()].agent, Agent::Failed(notice) if notice.headline.contains("image"))
    );
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["a".into()])]);
}

/// An agent that ended while this program was stopped, and the one that was started in its place.
#[test]
fn a_capture_that_ended_while_nobody_looked_is_in_the_events_and_over() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running()), tunnel("b", running())]);
    let later = NOW + 900_000;
    let ended = CaptureState::Stopped { since: NOW, at: later - 300_000, reason: StopReason::AgentEnds };
    for (name, state) in [("a", CaptureState::Idle), ("b", ended)] {
        let lost = TunnelChange::Lost { reason: "the tunnel was cut".into() };
        let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
        let Update::Agent(facts) = facts() else { unreachable!("facts") };
        let facts = Update::Agent(AgentFacts { started: later - 5, now: later, ..facts });
        let all = [Event::Tunnel(name.into(), lost), Event::Tunnel(name.into(), up), tunnel(name, facts)];
        for event in all.into_iter().chain([tunnel(name, Update::Capture(state))]) {
            update(&mut app, event, later);
        }
        let state = &app.session.nodes[&name.into()];
        assert!(state.capture_over(), "{name}: {:?}", state.capture);
        let events: Vec<&str> = state.log.events.iter().map(|event| event.text.as_str()).collect();
        assert!(events.contains(&"the agent restarted"), "{events:?}");
        assert_eq!(events.last(), Some(&"capture ended: the agent ended"));
    }
    assert_eq!(app.session.nodes[&"b".into()].log.events.back().map(|event| event.at), Some(later - 300_000));
}

/// Captures are stopped, also those whose tunnel was away; files are fetched; only then is anything removed.
#[test]
fn the_guided_exit_goes_step_by_step() {
    let mut app = live();
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [tunnel("a", running()), tunnel("b", running()), Event::Tunnel("b".into(), lost)]);
    key(&mut app, Action::Quit);
    assert_eq!(phase(&app), Some(Phase::Asking));
    assert_eq!(key(&mut app, Action::Open), [Effect::Ask("a".into(), Request::StopCapture)]);
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    let effects = update(&mut app, Event::Tunnel("b".into(), up), NOW);
    let told = [Effect::Ask("b".into(), terms(Some(600))), Effect::Ask("b".into(), Request::StopCapture)];
    assert_eq!(effects, told, "it is told when it is back");

    let files = |name| Update::Files(vec![file(name, 100, FileState::Closed)]);
    feed(&mut app, [tunnel("a", files("1.pcapng")), tunnel("a", stopped()), tunnel("b", files("2.pcapng"))]);
    let fetches = update(&mut app, tunnel("b", stopped()), NOW);
    assert_eq!((phase(&app), fetches.len()), (Some(Phase::Fetching), 2));

    let done = FetchProgress::Done { path: "1.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), "1.pcapng".into(), done.clone())]);
    let failed = FetchProgress::Failed(Notice::error("not fetched", "disk full", "make room"));
    feed(&mut app, [Event::Fetch("b".into(), "2.pcapng".into(), failed)]);
    assert_eq!(phase(&app), Some(Phase::FetchFailed), "nothing is removed over a file that is not here");

    let again = key(&mut app, Action::Open);
    assert!(matches!(&again[..], [Effect::Fetch(name, _)] if name.0 == "b"));
    let effects = update(&mut app, Event::Fetch("b".into(), "2.pcapng".into(), done), NOW);
    assert_eq!((phase(&app), removal(effects)), (Some(Phase::Removing), vec![cleanup(Keep::new())]));
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), [Effect::Quit]);
    assert!(app.session.receipt().files.lost.is_empty() && app.session.receipt().files.fetched.len() == 2);
}

#[test]
fn a_capture_that_does_not_end_in_time_is_asked_about() {
    let mut app = live();
    let open = Update::Files(vec![file("1.pcapng", 100, FileState::Open)]);
    feed(&mut app, [tunnel("a", running()), tunnel("a", open)]);
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(update(&mut app, Event::Tick, NOW + STOP_WITHIN), []);
    assert_eq!(phase(&app), Some(Phase::FetchFailed));
    assert_eq!(removal(key(&mut app, Action::Skip)), [cleanup(Keep::new())]);
    update(&mut app, Event::Removal(Removal::Finished), NOW);
    assert_eq!(app.session.receipt().files.lost.len(), 1, "what was left behind is in the receipt");
}

/// The only copy is never removed because a laptop's disk was full.
#[test]
fn with_nobody_watching_the_exit_asks_nothing_and_the_only_copy_stays() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    let effects = update(&mut app, Event::Finish, NOW);
    assert!(matches!(&effects[..], [Effect::Fetch(..)]), "{effects:?}");
    let failed = FetchProgress::Failed(Notice::error("not fetched", "disk full", "make room"));
    let told = ["a", "b", "c"].map(|name| Effect::Ask(name.into(), terms(None)));
    assert_eq!(update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), failed), NOW), told, "nothing is removed");
    for name in ["a", "b"] {
        feed(&mut app, [answered(name, terms(None))]);
    }
    assert_eq!(update(&mut app, answered("c", terms(None)), NOW), [Effect::Detach, Effect::Quit]);
    let receipt = app.session.receipt();
    assert!(receipt.left_behind() && !receipt.is_whole() && receipt.files.lost.is_empty(), "nobody has chosen that");
    let text = receipt.text();
    assert!(text.contains("KEPT     1.pcapng in the ring of a, 100 B: disk full"), "{text}");
    assert!(text.contains("LEFT     the session") && text.contains("nodewatch-tui attach 7f3a91c2"), "{text}");
}

#[test]
fn with_nobody_watching_what_no_agent_has_any_more_keeps_nothing() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    update(&mut app, Event::Finish, NOW);
    // What is on its way may still come.
    assert_eq!(update(&mut app, Event::Deploy("a".into(), DeployProgress::Ended("evicted".into())), NOW), []);
    let failed = FetchProgress::Failed(Notice::error("not fetched", "its agent has no tunnel", ""));
    let effects = update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), failed), NOW);
    assert_eq!(removal(effects), [cleanup(Keep::new())]);
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), [Effect::Quit]);
    let receipt = app.session.receipt();
    assert!(receipt.files.lost.len() == 1 && !receipt.is_whole() && !receipt.left_behind());
}

fn answered(name: &str, request: Request) -> Event {
    Event::Answer(name.into(), request, Some(Response::Done))
}

#[test]
fn ctrl_c_twice_detaches_and_waits_until_agents_know() {
    let mut app = live();
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [tunnel("a", running()), Event::Tunnel("c".into(), lost)]);
    assert_eq!(key(&mut app, Action::Interrupt), [Effect::TakeStock]);
    let told = ["a", "b"].map(|name| Effect::Ask(name.into(), terms(None)));
    assert_eq!(key(&mut app, Action::Interrupt), told, "no capture is stopped");
    assert_eq!(update(&mut app, answered("a", terms(None)), NOW), []);
    assert_eq!(update(&mut app, answered("b", terms(None)), NOW), [], "c does not know yet");
    let effects = update(&mut app, Event::Tick, NOW + DETACH_WITHIN);
    assert_eq!(effects, [Effect::Detach, Effect::Quit]);
    let detached = app.session.receipt().detached.expect("detached");
    assert_eq!(detached.agents.len(), 3);
    assert_eq!((detached.captures, detached.untold), (vec!["a".into()], vec!["c".into()]));
    assert!(!app.session.receipt().left_behind() && app.session.receipt().files.lost.is_empty());
    // While a viewer is still open, a tunnel comes back.
    let up = Event::Tunnel("c".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")));
    assert!(update(&mut app, up, NOW).contains(&Effect::Ask("c".into(), terms(None))), "no lease binds it again");
}

#[test]
fn kept_agents_go_on_after_their_files_are_fetched() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    for action in [Action::Quit, Action::Down, Action::Mark] {
        key(&mut app, action);
    }
    let effects = key(&mut app, Action::Open);
    assert!(matches!(&effects[..], [Effect::Fetch(..)]), "{effects:?}");
    let done = FetchProgress::Done { path: "1.pcapng".into(), sha256: "00".into() };
    let effects = update(&mut app, Event::Fetch("a".into(), "1.pcapng".into(), done), NOW);
    assert_eq!(effects, ["a", "b", "c"].map(|name| Effect::Ask(name.into(), terms(None))));
    for name in ["a", "b"] {
        feed(&mut app, [answered(name, terms(None))]);
    }
    assert_eq!(update(&mut app, answered("c", terms(None)), NOW), [Effect::Detach, Effect::Quit]);
}

#[test]
fn a_namespace_that_is_kept_is_not_removed_and_files_may_stay() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Files(vec![file("1.pcapng", 100, FileState::Closed)]))]);
    for action in [Action::Quit, Action::Mark, Action::Down, Action::Down, Action::Mark] {
        key(&mut app, action);
    }
    let keep = Keep::from([Group::Files, Group::Base]);
    assert_eq!(removal(key(&mut app, Action::Open)), [cleanup(keep)]);
    update(&mut app, Event::Removal(Removal::Finished), NOW);
    let receipt = app.session.receipt();
    assert!(receipt.files.lost.is_empty() && receipt.files.left_there.len() == 1, "what was chosen is not lost");
    assert!(receipt.text().contains("gone with its agent, as requested: 1.pcapng of a"), "{}", receipt.text());
}

#[test]
fn a_refused_removal_stays_on_the_screen_and_is_tried_again() {
    let mut app = live();
    key(&mut app, Action::Quit);
    assert_eq!(removal(key(&mut app, Action::Open)), [cleanup(Keep::new())]);
    let refused = Removal::Refused(Notice::error("another cluster", "its UID differs", "point it back"));
    feed(&mut app, [Event::Removal(refused), Event::Removal(Removal::Finished)]);
    assert_eq!(phase(&app), Some(Phase::RemoveFailed));
    assert_eq!(removal(key(&mut app, Action::Open)), [cleanup(Keep::new())]);
    feed(&mut app, [Event::Removal(Removal::Finished)]);
    assert!(!app.session.receipt().left_behind());
}

#[test]
fn a_guarded_context_wants_its_name_once() {
    let mut app = app();
    app.session.permission = Permission::Guarded;
    let nodes = ["a", "b"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    assert_eq!(key(&mut app, Action::Deploy), []);
    typed(&mut app, "prod");
    assert_eq!(key(&mut app, Action::Open), [], "not the whole name");
    typed(&mut app, "-eu");
    assert_eq!(key(&mut app, Action::Open), [Effect::Deploy(vec!["a".into()])]);
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["b".into()])]);
}

#[test]
fn read_only_refuses_what_it_does_not_offer() {
    let mut app = live();
    app.session.permission = Permission::ReadOnly;
    for action in [Action::Deploy, Action::Capture, Action::CaptureOptions, Action::Budget] {
        assert_eq!(key(&mut app, action), []);
        assert!(app.layers.is_empty(), "{action:?}");
        assert!(app.latest_notice().is_some_and(|notice| notice.line().contains("read-only")), "{action:?}");
    }
}

#[test]
fn the_end_is_moved_for_agents_and_cluster_and_comes_with_a_warning() {
    let mut app = live();
    key(&mut app, Action::Budget);
    for _ in 0..5 {
        key(&mut app, Action::Edit(Edit::DeleteBack));
    }
    typed(&mut app, "soon");
    assert_eq!(key(&mut app, Action::Open), []);
    key(&mut app, Action::Edit(Edit::Clear));
    typed(&mut app, "20m");
    let effects = key(&mut app, Action::Open);
    assert_eq!(effects[0], Effect::SetEnds(NOW + 1_200_000));
    let terms = Request::Terms(Terms { left_seconds: 1200.into(), lease_seconds: Some(600.into()) });
    assert_eq!(effects[1..], ["a", "b", "c"].map(|name| Effect::Ask(name.into(), terms.clone())));
    update(&mut app, Event::Tick, NOW + 500_000);
    assert!(app.session.notices.is_empty());
    update(&mut app, Event::Tick, NOW + 600_000);
    update(&mut app, Event::Tick, NOW + 601_000);
    assert_eq!(app.session.notices.len(), 1, "said once");
    assert!(app.latest_notice().is_some_and(|notice| notice.line().contains("ends in 10 min")));
}

#[test]
fn other_sessions_are_taken_up_or_removed_each_in_its_way() {
    let session = |id, holder| SessionSummary {
        id: SessionId::new(id),
        context: "c".into(),
        owner: None,
        began: None,
        ends: None,
        holder,
        objects: vec![nodewatch_tui::model::SeenObject { object: job(), state: String::new() }],
        trouble: String::new(),
        moved: false,
    };
    let found = vec![session(1, Holder::Abandoned), session(2, Holder::Elsewhere), session(3, Holder::Running)];
    let mut app = app();
    feed(&mut app, [Event::Sessions { found: Ok(found), asked: false }]);
    assert_eq!(key(&mut app, Action::Remove), [Effect::AskHeld(SessionId::new(1))]);
    assert_eq!(key(&mut app, Action::Open), [Effect::Sweep(SessionId::new(1))]);
    assert_eq!(key(&mut app, Action::Remove), [], "once is enough");
    feed(&mut app, [Event::Sweep(SessionId::new(1), Removal::Finished)]);

    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Open), [], "it is taken up where it was begun");
    key(&mut app, Action::Remove);
    typed(&mut app, "00000001");
    assert_eq!(key(&mut app, Action::Open), [], "another id");
    key(&mut app, Action::Edit(Edit::Clear));
    typed(&mut app, "00000002");
    assert_eq!(key(&mut app, Action::Open), [Effect::Sweep(SessionId::new(2))]);

    feed(&mut app, [Event::Sessions { found: Ok(vec![session(1, Holder::Detached)]), asked: true }]);
    assert_eq!(key(&mut app, Action::Open), [], "the other one is still being removed");
    assert_eq!(update(&mut app, Event::Sweep(SessionId::new(2), Removal::Finished), NOW), [Effect::Quit]);
    assert_eq!(app.session.next, Some(Next::Attach(SessionId::new(1))));

    // What runs in another window is no leftover; who asks sees it, and nothing is done to it here.
    let mut app = self::app();
    feed(&mut app, [Event::Sessions { found: Ok(vec![session(3, Holder::Running)]), asked: false }]);
    assert_eq!(app.layers.len(), 0);
    feed(&mut app, [Event::Sessions { found: Ok(vec![session(3, Holder::Running)]), asked: true }]);
    assert_eq!(app.layers.len(), 1);
    for action in [Action::Open, Action::Remove] {
        assert_eq!(key(&mut app, action), []);
        let told = app.latest_notice().expect("told").line();
        assert!(told.contains("another nodewatch-tui on this laptop"), "{told}");
    }
}

fn job() -> nodewatch_tui::model::MadeObject {
    nodewatch_tui::model::MadeObject {
        kind: nodewatch_tui::model::Kind::Job,
        namespace: None,
        name: "agent-1".into(),
        uid: None,
        purpose: "a".to_owned().into(),
    }
}

#[test]
fn a_session_that_is_taken_up_knows_its_nodes_before_the_list_and_what_happened_meanwhile() {
    let mut app = app();
    let effects =
        update(&mut app, Event::Attach { began: NOW - 10, ends: Some(NOW + 7_200_000), stood_in: false }, NOW);
    assert_eq!(effects, [Effect::Attach]);
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Running)]);
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    let effects = update(&mut app, Event::Tunnel("a".into(), up), NOW);
    let terms = Request::Terms(Terms { left_seconds: 7200.into(), lease_seconds: Some(600.into()) });
    assert_eq!(effects, [Effect::Ask("a".into(), terms)], "the lease binds again");
    let change = |at, port: &str, opened| PortChange { at, port: port.parse().expect("a port"), opened };
    let history = vec![change(NOW - 90_000, "tcp 0.0.0.0:1", false), change(NOW - 30_000, "tcp 0.0.0.0:8080", true)];
    feed(
        &mut app,
        [
            tunnel("a", facts()),
            tunnel("a", sample::ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp 0.0.0.0:8080"], &[])),
            tunnel("a", Update::PortHistory(history.clone())),
        ],
    );
    let state = &app.session.nodes[&"a".into()];
    assert_eq!(state.recent_changes(NOW), (1, 0));
    let told: Vec<&str> = state.log.events.iter().map(|event| event.text.as_str()).collect();
    assert!(told.contains(&"closed tcp 0.0.0.0:1") && told.contains(&"opened tcp 0.0.0.0:8080"), "{told:?}");
    // After a cut the picture comes again; what was seen is not told twice.
    let before = state.log.events.len();
    feed(
        &mut app,
        [
            tunnel("a", sample::ports(PortsKind::Snapshot, &["tcp 0.0.0.0:22", "tcp 0.0.0.0:8080"], &[])),
            tunnel("a", Update::PortHistory(history)),
        ],
    );
    assert_eq!(app.session.nodes[&"a".into()].log.events.len(), before);
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    assert_eq!(app.session.nodes[&"a".into()].agent, Agent::Live, "the list only adds what it knows");
}
