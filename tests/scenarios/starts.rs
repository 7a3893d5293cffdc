//! One keystroke on a node without an agent: what is deployed, asked and started, in which order, and how it is taken
//! back.

use nodewatch_protocol::Recorder;
use nodewatch_tui::{
    model::{Place, Sides},
    screens::{Confirm, Layer, dialogs::form::Field},
    session::node::Pending,
};

use super::*;

/// Nodes a, b and c, none with an agent.
fn listed() -> App {
    let mut app = app();
    let nodes = ["a", "b", "c"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app
}

fn up(name: &str) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")))
}

/// Its agent says Hello and tells its whole picture; what follows from that.
fn comes_up(app: &mut App, name: &str) -> Vec<Effect> {
    feed(app, [Event::Deploy(name.into(), DeployProgress::Running)]);
    let events = [up(name), tunnel(name, facts()), tunnel(name, Update::Capture(CaptureState::Idle))];
    let effects: Vec<Effect> = events.into_iter().flat_map(|event| update(app, event, NOW)).collect();
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Ask(_, Request::Terms(_)))).collect()
}

fn start(name: &str) -> Effect {
    Effect::Ask(name.into(), Request::StartCapture(CaptureSpec::default()))
}

fn deploys(names: &[&str]) -> Effect {
    Effect::Deploy(names.iter().map(|&name| name.into()).collect())
}

fn state<'a>(app: &'a App, name: &str) -> &'a nodewatch_tui::session::node::NodeState {
    &app.session.nodes[&name.into()]
}

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(width, height)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, app, &theme))).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn one_key_deploys_and_captures_as_soon_as_the_agent_is_live_and_once() {
    let mut app = listed();
    assert_eq!(key(&mut app, Action::Capture), [deploys(&["a"])]);
    assert!(screen(&app, 80, 24).contains("starting"), "on its row");
    key(&mut app, Action::Open);
    assert!(screen(&app, 80, 24).contains("the capture starts as soon as the agent is live"), "on its screen");
    key(&mut app, Action::Back);
    assert_eq!(comes_up(&mut app, "a"), [start("a")]);
    // News that come late or twice, a tunnel that is cut, an agent that is started again.
    assert_eq!(comes_up(&mut app, "a"), []);
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [Event::Tunnel("a".into(), lost)]);
    assert_eq!(comes_up(&mut app, "a"), []);
    feed(&mut app, [tunnel("a", running())]);
    assert_eq!(key(&mut app, Action::Capture), [Effect::Ask("a".into(), Request::StopCapture)]);
}

#[test]
fn the_same_key_takes_it_back_before_it_began() {
    let mut app = listed();
    key(&mut app, Action::Capture);
    assert_eq!(key(&mut app, Action::Capture), []);
    assert_eq!(state(&app, "a").pending, Pending::Nothing);
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.contains("cancelled")));
    assert_eq!(comes_up(&mut app, "a"), [], "the agent is there, and nothing more");
    assert_eq!(state(&app, "a").agent, Agent::Live);
    assert_eq!(key(&mut app, Action::Capture), [start("a")]);
}

/// The packets of a node are one key away too.
#[test]
fn to_see_packets_deploys_captures_and_shows_them_as_soon_as_there_are_some() {
    let mut app = listed();
    // Whatever is marked: the screen has one node's.
    key(&mut app, Action::Mark);
    assert_eq!(key(&mut app, Action::Tail), [deploys(&["b"])]);
    assert!(screen(&app, 80, 24).contains("starting"), "on its row");
    assert_eq!(comes_up(&mut app, "b"), [start("b")]);
    assert_eq!(update(&mut app, tunnel("b", running()), NOW), [Effect::Tail("b".into())]);
    assert_eq!(app.screen, Screen::Tail);
    // On a node with an agent it captures; who has gone on is told instead.
    key(&mut app, Action::Back);
    key(&mut app, Action::Up);
    comes_up(&mut app, "a");
    assert_eq!(key(&mut app, Action::Tail), [start("a")]);
    key(&mut app, Action::Files);
    assert_eq!(update(&mut app, tunnel("a", running()), NOW), []);
    assert_eq!(app.screen, Screen::Files);
    assert!(app.latest_notice().is_some_and(|notice| notice.headline == "the capture on a is running"));
}

#[test]
fn to_see_packets_is_taken_back_by_the_same_key_and_with_what_it_was_to_start() {
    let mut app = listed();
    key(&mut app, Action::Tail);
    assert_eq!(key(&mut app, Action::Tail), []);
    assert_eq!(state(&app, "a").pending, Pending::Nothing);
    assert_eq!(comes_up(&mut app, "a"), [], "the agent is there, and nothing more");
    // A capture of its own stays.
    key(&mut app, Action::Down);
    key(&mut app, Action::Capture);
    key(&mut app, Action::Tail);
    assert_eq!(key(&mut app, Action::Tail), []);
    assert_eq!(comes_up(&mut app, "b"), [start("b")]);
    assert_eq!(update(&mut app, tunnel("b", running()), NOW), []);
    assert_eq!(app.screen, Screen::Nodes);
    // What is not to be is not waited for: a question that is answered with no, a deployment that fails.
    key(&mut app, Action::Down);
    app.session.permission = Permission::Guarded;
    assert_eq!(key(&mut app, Action::Tail), []);
    assert_eq!(key(&mut app, Action::Back), []);
    app.session.permission = Permission::Free;
    key(&mut app, Action::Tail);
    let failed = Notice::error("the pod does not start", "no room", "make some");
    feed(&mut app, [Event::Deploy("c".into(), DeployProgress::Failed(failed))]);
    assert_eq!(key(&mut app, Action::Tail), [deploys(&["c"])], "it begins anew");
}

#[test]
fn an_agent_that_is_on_its_way_captures_when_it_comes() {
    let mut app = listed();
    assert_eq!(key(&mut app, Action::Deploy), [deploys(&["a"])]);
    assert_eq!(key(&mut app, Action::Capture), [], "it is deployed once");
    assert_eq!(comes_up(&mut app, "a"), [start("a")]);
}

#[test]
fn the_question_says_that_it_is_a_flight_recorder_or_how_files_rotate() {
    for (fields, told) in [
        (&[(Field::Recorder, "2m")][..], "Then starts a flight recorder (last 2m) on 3 nodes"),
        (&[(Field::RotateTime, "7m")], "a new file each 7m."),
    ] {
        let mut app = listed();
        key(&mut app, Action::MarkAll);
        key(&mut app, Action::CaptureOptions);
        if let Some(Layer::Form(form)) = app.layers.last_mut() {
            for (field, text) in fields {
                form.set(*field, text);
            }
        }
        assert_eq!(key(&mut app, Action::Open), []);
        let shown: String =
            screen(&app, 80, 24).split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(shown.contains(told), "{shown}");
    }
}

#[test]
fn several_nodes_are_asked_about_once_with_what_is_to_start() {
    let mut app = listed();
    key(&mut app, Action::Deploy);
    comes_up(&mut app, "a");
    key(&mut app, Action::MarkAll);
    assert_eq!(key(&mut app, Action::Capture), []);
    assert!(matches!(app.top(), Some(Layer::Confirm(Confirm::Deploy(names, _))) if names.len() == 2));
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("Deploy to 2 and capture on 3 nodes?"), "{shown}");
    assert_eq!(key(&mut app, Action::Back), []);
    assert!(app.session.nodes.values().all(|state| !state.is_to_start()), "no is no");
    key(&mut app, Action::Capture);
    // One comes by itself while the question waits.
    feed(&mut app, [Event::Deploy("b".into(), DeployProgress::Running)]);
    assert_eq!(key(&mut app, Action::Open), [deploys(&["c"]), start("a")]);
    assert_eq!(comes_up(&mut app, "c"), [start("c")]);
    assert_eq!(comes_up(&mut app, "b"), [start("b")]);
}

#[test]
fn guards_stay_before_the_first_object() {
    let mut app = listed();
    app.session.permission = Permission::ReadOnly;
    for action in [Action::Capture, Action::CaptureOptions, Action::Follow, Action::Tail] {
        assert_eq!(key(&mut app, action), []);
        assert!(app.layers.is_empty() && !state(&app, "a").is_to_start());
    }
    app.session.permission = Permission::Guarded;
    assert_eq!(key(&mut app, Action::Capture), []);
    assert_eq!(app.scope(), Scope::Text);
    let Place::Cluster { context, .. } = app.session.terms.place.clone() else { panic!("a cluster") };
    typed(&mut app, &context);
    assert_eq!(key(&mut app, Action::Open), [deploys(&["a"])]);
    assert_eq!(comes_up(&mut app, "a"), [start("a")]);
}

#[test]
fn payloads_and_names_are_settled_on_the_laptop_before_the_agent_is_there() {
    let mut app = listed();
    app.choices.full_content = true;
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "host db.example.com");
    let named = CaptureSpec { filter: Some("host db.example.com".into()), ..CaptureSpec::default() };
    assert_eq!(key(&mut app, Action::Open), [deploys(&["a"]), Effect::Resolve(vec!["a".into()], named.clone())]);
    assert_eq!(comes_up(&mut app, "a"), [], "its addresses are not known yet");
    let spec = CaptureSpec { filter: Some("host 10.0.0.1".into()), ..CaptureSpec::default() };
    let effects = update(&mut app, Event::Resolved(vec!["a".into()], named, Ok(spec.clone())), NOW);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(spec))]);
}

#[test]
fn a_recorder_is_armed_by_the_form_and_freezing_nothing_says_how() {
    let mut app = listed();
    assert_eq!(key(&mut app, Action::Freeze), []);
    assert!(app.latest_notice().is_some_and(|notice| notice.next_step.contains("deploying first")));
    key(&mut app, Action::CaptureOptions);
    for _ in 0..2 {
        key(&mut app, Action::Down);
    }
    typed(&mut app, "2m");
    assert_eq!(key(&mut app, Action::Open), [deploys(&["a"])]);
    key(&mut app, Action::Freeze);
    assert!(app.latest_notice().is_some_and(|notice| notice.cause.contains("armed yet")));
    let armed = comes_up(&mut app, "a");
    let [Effect::Ask(_, Request::StartCapture(CaptureSpec { recorder: Some(Recorder { seconds, .. }), .. }))] =
        &armed[..]
    else {
        panic!("{armed:?}")
    };
    assert_eq!(seconds.get(), 120);
}

#[test]
fn a_deployment_that_fails_drops_the_start_and_says_so() {
    let mut app = listed();
    key(&mut app, Action::Capture);
    let failed = || DeployProgress::Failed(Notice::error("the image cannot be pulled", "no such host", "name another"));
    feed(&mut app, [Event::Deploy("a".into(), failed())]);
    assert!(!state(&app, "a").is_to_start());
    let headline = app.latest_notice().map(|notice| notice.headline.clone());
    assert_eq!(headline.as_deref(), Some("no capture on a: the image cannot be pulled"));
    assert!(state(&app, "a").refusal.is_some());
    // The image is there after all: the agent comes, and captures nothing that nobody waits for any more.
    assert_eq!(comes_up(&mut app, "a"), []);

    key(&mut app, Action::Down);
    key(&mut app, Action::Capture);
    feed(&mut app, [Event::Deploy("b".into(), DeployProgress::Running)]);
    feed(&mut app, [Event::Deploy("b".into(), DeployProgress::Ended("its pod was deleted".into()))]);
    assert!(!state(&app, "b").is_to_start());
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.starts_with("no capture on b")));
    assert_eq!(key(&mut app, Action::Capture), [deploys(&["b"])], "and again");
}

/// A session that is taken up, whose agent has captured all the while.
#[test]
fn a_capture_that_runs_already_is_not_started_again() {
    let mut app = listed();
    feed(&mut app, [Event::Deploy("a".into(), DeployProgress::Step("taking it up again".into()))]);
    assert_eq!(key(&mut app, Action::Capture), []);
    feed(&mut app, [up("a"), tunnel("a", facts())]);
    assert_eq!(update(&mut app, tunnel("a", running()), NOW), []);
    assert!(!state(&app, "a").is_to_start());
    assert!(app.latest_notice().is_some_and(|notice| notice.cause.contains("is already running")));
}

#[test]
fn the_guided_exit_shows_what_has_not_begun_and_leaving_drops_it() {
    let mut app = listed();
    key(&mut app, Action::Capture);
    key(&mut app, Action::Quit);
    let shown = screen(&app, 100, 30);
    assert!(shown.contains("the capture on a has not started"), "{shown}");
    key(&mut app, Action::Back);
    assert!(state(&app, "a").is_to_start(), "nobody has left");
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(comes_up(&mut app, "a"), [], "nothing starts in a session that is being removed");

    let mut app = listed();
    key(&mut app, Action::Capture);
    key(&mut app, Action::Interrupt);
    key(&mut app, Action::Interrupt);
    assert_eq!(comes_up(&mut app, "a"), [], "nor in one that is left running");
}

#[test]
fn to_follow_starts_what_does_not_run_and_opens_one_viewer_for_all() {
    let mut app = listed();
    key(&mut app, Action::MarkAll);
    assert_eq!(key(&mut app, Action::Follow), []);
    assert_eq!(key(&mut app, Action::Open), [deploys(&["a", "b", "c"])]);
    for name in ["a", "b"] {
        assert_eq!(comes_up(&mut app, name), [start(name)]);
        assert_eq!(update(&mut app, tunnel(name, running()), NOW), []);
    }
    let failed = DeployProgress::Failed(Notice::error("no room", "0/3 nodes", "free some"));
    let effects = update(&mut app, Event::Deploy("c".into(), failed), NOW);
    assert_eq!(effects, [], "how is asked first");
    assert!(matches!(app.top(), Some(Layer::Sides(_))));
    let one = |name: &str| Effect::Follow(vec![name.into()]);
    assert_eq!(key(&mut app, Action::Open), [one("a"), one("b")], "a window each");
    let again = update(&mut app, Event::Tick, NOW);
    assert!(!again.iter().any(|effect| matches!(effect, Effect::Follow(_))), "once: {again:?}");
    assert_eq!(key(&mut app, Action::Follow), [one("a"), one("b")], "it is asked once");
}

#[test]
fn several_nodes_are_shown_as_was_chosen() {
    let both = || ["a", "b"].map(NodeName::from).to_vec();
    for (sides, wanted) in [
        (Sides::Windows, vec![Effect::Follow(vec!["a".into()]), Effect::Follow(vec!["b".into()])]),
        (Sides::Pair, vec![Effect::FollowPairs(both())]),
        (Sides::Together, vec![Effect::Follow(both())]),
    ] {
        // By the setting, and by the answer.
        for asked in [false, true] {
            let mut app = listed();
            app.session.terms.sides = if asked { Sides::Ask } else { sides };
            key(&mut app, Action::MarkAll);
            key(&mut app, Action::Deploy);
            key(&mut app, Action::Open);
            for name in ["a", "b"] {
                comes_up(&mut app, name);
                update(&mut app, tunnel(name, running()), NOW);
            }
            let effects = key(&mut app, Action::Follow);
            if !asked {
                assert_eq!(effects, wanted);
                continue;
            }
            assert_eq!(effects, []);
            let down = Sides::ANSWERS.iter().position(|one| *one == sides).expect("an answer");
            for _ in 0..down {
                key(&mut app, Action::Down);
            }
            assert_eq!(key(&mut app, Action::Open), wanted);
            assert!(app.layers.is_empty());
        }
    }
    // No answer, nothing is shown, and it is asked again.
    let mut app = listed();
    key(&mut app, Action::MarkAll);
    key(&mut app, Action::Deploy);
    key(&mut app, Action::Open);
    for name in ["a", "b"] {
        comes_up(&mut app, name);
        update(&mut app, tunnel(name, running()), NOW);
    }
    for _ in 0..2 {
        assert_eq!(key(&mut app, Action::Follow), []);
        assert!(matches!(app.top(), Some(Layer::Sides(_))));
        assert_eq!(key(&mut app, Action::Back), []);
        assert!(app.layers.is_empty());
    }
}

#[test]
fn every_key_that_does_nothing_says_why() {
    let mut app = live();
    let said = |app: &App| app.latest_notice().map(Notice::line).unwrap_or_default();
    assert_eq!(key(&mut app, Action::Capture), [start("a")]);
    assert_eq!(key(&mut app, Action::Capture), []);
    assert!(said(&app).contains("has not answered yet"), "{}", said(&app));
    feed(&mut app, [tunnel("a", running())]);
    key(&mut app, Action::Capture);
    assert_eq!(key(&mut app, Action::Capture), []);
    assert!(said(&app).contains("being stopped"), "{}", said(&app));
    feed(&mut app, [tunnel("a", stopped()), tunnel("a", running())]);
    let lost = TunnelChange::Lost { reason: "cut".into() };
    feed(&mut app, [Event::Tunnel("a".into(), lost)]);
    assert_eq!(key(&mut app, Action::Capture), []);
    assert!(said(&app).contains("its tunnel is lost"), "{}", said(&app));
    assert_eq!(key(&mut app, Action::FetchAll), []);
    assert!(said(&app).contains("nothing to fetch"), "{}", said(&app));
    assert_eq!(key(&mut app, Action::Deploy), []);
    assert!(said(&app).contains("nothing to deploy"), "{}", said(&app));
    let mut empty = sample::app();
    for action in [Action::Capture, Action::CaptureOptions, Action::Deploy, Action::Follow] {
        assert_eq!(key(&mut empty, action), []);
        assert!(said(&empty).contains("no node selected"), "{}", said(&empty));
    }
}
