//! Nodes that join while "plus nodes that join" is marked.

use nodewatch_protocol::{CaptureSpec, CaptureState, Hello, Request, Response, RingState, StopReason, Update};
use nodewatch_tui::{
    model::{DeployProgress, Node, NodeName, NodesChange, Readiness, TunnelChange},
    screens::{Action, App, Layer, update},
    session::{Effect, Event, Permission, exit::STOOD_IN_WITHIN},
};

use crate::{
    key, live, running,
    sample::{NOW, app, facts, feed, node, tunnel},
};

fn up(name: &str) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")))
}

fn with_uid(name: &str, uid: &str, readiness: Readiness) -> Node {
    Node { uid: Some(uid.to_owned()), ..node(name, "1a", readiness) }
}

fn joins(app: &mut App, node: Node, at: u64) -> Vec<Effect> {
    update(app, Event::Nodes(NodesChange::Applied(node)), at)
}

/// Its agent comes up and has told everything for long enough.
fn comes_up(app: &mut App, name: &str, at: u64) -> Vec<Effect> {
    let events = [up(name), tunnel(name, facts()), tunnel(name, Update::Ring(RingState::default()))];
    let mut effects: Vec<Effect> = events.into_iter().flat_map(|event| update(app, event, at)).collect();
    effects.extend(update(app, Event::Tick, at + 1000));
    effects.extend(update(app, Event::Tick, at + 3000));
    effects.extend(update(app, Event::Tick, at + 4000));
    effects
}

/// A second passes; which ports should be open is another matter.
fn tick(app: &mut App, at: u64) -> Vec<Effect> {
    let effects = update(app, Event::Tick, at);
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Expect(_) | Effect::Remember(_))).collect()
}

fn captures(effects: &[Effect]) -> Vec<(&str, &CaptureSpec)> {
    let started = effects.iter().filter_map(|effect| match effect {
        Effect::Ask(name, Request::StartCapture(spec)) => Some((name.0.as_str(), spec)),
        _ => None,
    });
    started.collect()
}

/// Nodes a, b and c with agents, all marked, also those that join.
fn all_and_later() -> App {
    let mut app = live();
    for action in [Action::MarkAll, Action::MarkAll, Action::Deploy] {
        assert_eq!(key(&mut app, action), []);
    }
    assert!(matches!(app.top(), Some(Layer::Confirm(_))), "who joins is asked about, even where all have one");
    assert!(!app.session.joining.is_active());
    key(&mut app, Action::Open);
    assert!(app.session.joining.is_active());
    app
}

#[test]
fn marking_all_once_means_those_that_are_there() {
    let mut app = live();
    key(&mut app, Action::MarkAll);
    assert!(!app.session.joining.is_wanted());
    assert_eq!(joins(&mut app, node("d", "1a", Readiness::Ready), NOW), []);
    assert_eq!(app.session.marks.len(), 3);
}

#[test]
fn marking_all_again_means_those_that_join_and_a_third_time_no_more() {
    let mut app = live();
    key(&mut app, Action::MarkAll);
    key(&mut app, Action::MarkAll);
    assert!(app.session.joining.is_wanted());
    // Nothing is deployed of itself: it is marked, and waits for the key as the others do.
    assert_eq!(joins(&mut app, node("d", "1a", Readiness::Ready), NOW), []);
    assert!(app.session.marks.contains(&"d".into()));
    key(&mut app, Action::MarkAll);
    assert!(!app.session.joining.is_wanted());
    assert_eq!(app.session.marks.len(), 4);
}

#[test]
fn what_a_filter_hides_is_not_meant_by_all() {
    let mut app = live();
    feed(&mut app, [Event::Nodes(NodesChange::Applied(node("d", "2b", Readiness::NotReady)))]);
    key(&mut app, Action::Filter);
    crate::typed(&mut app, "zone:1a");
    key(&mut app, Action::Open);
    key(&mut app, Action::MarkAll);
    key(&mut app, Action::MarkAll);
    assert!(!app.session.joining.is_wanted());
    let told = app.latest_notice().expect("a word").line();
    assert!(told.contains("1 node not shown"), "{told}");
}

#[test]
fn a_node_that_joins_gets_an_agent_and_the_capture_that_runs() {
    let mut app = all_and_later();
    let started = key(&mut app, Action::Capture);
    assert_eq!(captures(&started).len(), 3);
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, running())));

    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), [Effect::Deploy(vec!["d".into()])]);
    let events = &app.session.nodes[&"d".into()].log.events;
    assert!(events.iter().any(|event| event.text == "joined: adding an agent"), "{events:?}");
    assert!(
        app.session.notices.iter().any(|(_, notice)| notice.line().starts_with("d joined: adding an agent and the"))
    );
    let effects = comes_up(&mut app, "d", NOW);
    assert_eq!(captures(&effects), [("d", &CaptureSpec::default())], "once");
}

#[test]
fn it_gets_what_is_left_of_a_capture_with_an_end_and_none_that_is_over() {
    let mut app = all_and_later();
    let spec = CaptureSpec { limit_seconds: Some(60.into()), ..CaptureSpec::default() };
    let names: Vec<NodeName> = ["a", "b", "c"].map(NodeName::from).to_vec();
    feed(&mut app, [Event::StartCaptures(names, spec.clone())]);
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, running())));
    joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW + 20_000);
    let effects = comes_up(&mut app, "d", NOW + 20_000);
    let limit = captures(&effects)[0].1.limit_seconds.expect("a limit").duration().as_secs();
    assert!((35..=38).contains(&limit), "{limit}");

    joins(&mut app, with_uid("e", "1", Readiness::Ready), NOW + 70_000);
    assert_eq!(captures(&comes_up(&mut app, "e", NOW + 70_000)), []);
}

#[test]
fn a_capture_that_was_stopped_everywhere_is_not_given() {
    let mut app = all_and_later();
    key(&mut app, Action::Capture);
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, running())));
    key(&mut app, Action::Capture);
    key(&mut app, Action::Open);
    let over = CaptureState::Stopped { since: NOW, at: NOW, reason: StopReason::Asked };
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, Update::Capture(over.clone()))));
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), [Effect::Deploy(vec!["d".into()])]);
    assert_eq!(captures(&comes_up(&mut app, "d", NOW)), []);
}

#[test]
fn a_node_that_is_not_ready_gets_it_when_it_is() {
    let mut app = all_and_later();
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::NotReady), NOW), []);
    assert!(
        app.latest_notice().is_some_and(|notice| notice.line().contains("is not Ready: it gets an agent once Ready"))
    );
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Unknown), NOW), []);
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), [Effect::Deploy(vec!["d".into()])]);
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), [], "old news is no news");
}

#[test]
fn a_node_that_can_never_run_an_agent_is_passed_over_with_a_word() {
    let mut app = all_and_later();
    let mut fargate = with_uid("d", "1", Readiness::Ready);
    fargate.labels.insert("eks.amazonaws.com/compute-type".into(), "fargate".into());
    assert_eq!(joins(&mut app, fargate, NOW), []);
    let told = app.latest_notice().expect("a word").line();
    assert!(told.starts_with("d joined but was skipped: "), "{told}");
}

/// The watch had a gap: the list that follows has another node of the same name.
#[test]
fn a_node_that_comes_back_under_its_name_is_a_new_one() {
    let mut app = all_and_later();
    joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW);
    key(&mut app, Action::Capture);
    comes_up(&mut app, "d", NOW);
    feed(&mut app, ["a", "b", "c", "d"].map(|name| tunnel(name, running())));
    let ended = || DeployProgress::Ended("its pod was deleted".into());
    feed(&mut app, [Event::Deploy("d".into(), ended()), Event::Nodes(NodesChange::Gone("d".into()))]);
    // Its Job may bring its agent back by itself, and has a minute for that.
    assert_eq!(joins(&mut app, with_uid("d", "2", Readiness::Ready), NOW), []);
    assert_eq!(tick(&mut app, NOW + 59_000), []);
    let effects = tick(&mut app, NOW + 61_000);
    assert_eq!(effects, [Effect::Deploy(vec!["d".into()])]);
    let idle = tunnel("d", Update::Capture(CaptureState::Idle));
    feed(&mut app, [Event::Deploy("d".into(), DeployProgress::Running)]);
    update(&mut app, up("d"), NOW + 62_000);
    update(&mut app, idle, NOW + 62_000);
    let effects = comes_up(&mut app, "d", NOW + 62_000);
    assert_eq!(captures(&effects), [("d", &CaptureSpec::default())]);
}

#[test]
fn nothing_is_given_where_nothing_may_be_changed_or_while_the_session_is_left() {
    let mut app = all_and_later();
    app.session.permission = Permission::ReadOnly;
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), []);
    app.session.permission = Permission::Free;
    key(&mut app, Action::Quit);
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), []);
    // Esc: it goes on, and nobody is forgotten.
    key(&mut app, Action::Back);
    assert_eq!(tick(&mut app, NOW), [Effect::Deploy(vec!["d".into()])]);
}

#[test]
fn chosen_outside_the_screens_all_means_later_nodes_from_the_first_deployment() {
    let mut app = app();
    let nodes = ["a", "b"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes)), Event::MeanLaterNodes]);
    let names: Vec<NodeName> = ["a", "b"].map(NodeName::from).to_vec();
    assert_eq!(update(&mut app, Event::DeployTo(names), NOW).len(), 1);
    let both = joins(&mut app, with_uid("c", "1", Readiness::Ready), NOW);
    assert_eq!(both, [Effect::Deploy(vec!["c".into()])]);
}

/// Detached twice by Ctrl-C: what is asked of the cluster, and the exit as it then stands.
fn left_running(app: &mut App) -> Vec<Effect> {
    key(app, Action::Interrupt);
    key(app, Action::Interrupt)
}

#[test]
fn a_session_that_is_left_running_sees_to_nodes_that_join_where_that_was_asked_for() {
    let mut app = all_and_later();
    app.session.terms.daemonset = true;
    let names: Vec<NodeName> = ["a", "b", "c"].map(NodeName::from).to_vec();
    let spec = CaptureSpec { limit_seconds: Some(60.into()), ..CaptureSpec::default() };
    feed(&mut app, [Event::StartCaptures(names.clone(), spec.clone())]);
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, running())));
    let effects = left_running(&mut app);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::StandIn(what) => Some(what),
        _ => None,
    });
    let what = asked.expect("asked for");
    assert_eq!((&what.orders.capture, what.orders.capture_ends), (&Some(spec), Some(NOW + 60_000)));
    assert_eq!(what.besides, names);

    // All agents have heard it, and the cluster has not answered yet.
    for name in ["a", "b", "c"] {
        let heard = Event::Answer(name.into(), crate::terms(None), Some(Response::Done));
        assert_eq!(update(&mut app, heard, NOW), []);
    }
    let served = Event::StoodIn(Ok("agents-00000001".into()));
    assert_eq!(update(&mut app, served, NOW), [Effect::Detach, Effect::Quit]);
    let receipt = app.session.receipt().text();
    assert!(receipt.contains("nodes that join get an agent from agents-00000001"), "{receipt}");
}

#[test]
fn a_cluster_that_does_not_answer_does_not_hold_the_program_and_the_receipt_says_so() {
    let mut app = all_and_later();
    app.session.terms.daemonset = true;
    left_running(&mut app);
    assert_eq!(tick(&mut app, NOW + STOOD_IN_WITHIN - 1), []);
    assert_eq!(tick(&mut app, NOW + STOOD_IN_WITHIN), [Effect::Detach, Effect::Quit]);
    assert!(
        app.session.receipt().text().contains("NOT SERVED nodes that join, possibly"),
        "{}",
        app.session.receipt().text()
    );
}

#[test]
fn a_session_of_some_nodes_makes_nothing_for_later_ones() {
    let mut app = live();
    app.session.terms.daemonset = true;
    let effects = left_running(&mut app);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::StandIn(_))), "{effects:?}");
}

/// Taken up again: the DaemonSet gives them their agents, and two on one node would be one too many.
#[test]
fn where_a_daemonset_gives_agents_the_program_deploys_none_and_gives_captures() {
    let mut app = live();
    feed(&mut app, [Event::Attach { began: NOW, ends: Some(NOW + 7_200_000), stood_in: true }]);
    for action in [Action::MarkAll, Action::MarkAll, Action::Deploy, Action::Open, Action::Capture] {
        key(&mut app, action);
    }
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, running())));
    assert_eq!(joins(&mut app, with_uid("d", "1", Readiness::Ready), NOW), []);
    feed(&mut app, [Event::Deploy("d".into(), DeployProgress::Running)]);
    assert_eq!(captures(&comes_up(&mut app, "d", NOW)).len(), 1);
}
