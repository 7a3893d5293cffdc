//! Captures of pods by key and by the form: what is asked, and what follows when pods move.

use nodewatch_protocol::{CaptureSpec, Request};
use nodewatch_tui::{
    model::{Aimed, AimedPod, Missing, Notice, PodPlace, Target, Workloads},
    screens::{Action, App, Screen, update},
    session::{Effect, Event},
};

use crate::{
    key, live,
    sample::{NOW, feed, tunnel},
    stopped, typed,
};

fn place(name: &str, node: &str, ip: &str) -> PodPlace {
    PodPlace {
        name: name.into(),
        node: node.into(),
        addresses: vec![ip.parse().expect("an address")],
        phase: "Running".into(),
        restarts: Some(0),
        host_network: false,
    }
}

fn aimed(pods: &[(&str, &str, &str)]) -> Aimed {
    let mut aimed = Aimed::default();
    for (name, node, ip) in pods {
        let addresses = vec![ip.parse().expect("an address")];
        aimed.add((*node).into(), AimedPod { name: (*name).to_owned(), addresses });
    }
    aimed
}

fn pod(name: &str) -> Target {
    Target::pod(name).expect("a pod")
}

/// What agents are asked to capture, and to stop.
fn asked(effects: &[Effect]) -> Vec<String> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask(name, Request::StartCapture(spec)) => {
            let toward: Vec<String> = spec.toward.iter().map(ToString::to_string).collect();
            Some(format!("{name}: {} by {}", spec.filter.as_deref().unwrap_or_default(), toward.join(" ")))
        }
        Effect::Ask(name, Request::StopCapture) => Some(format!("{name}: stop")),
        Effect::Deploy(names) => Some(format!("deploy {names:?}")),
        _ => None,
    });
    asks.collect()
}

fn found(app: &mut App, targets: &[&str], pods: &[(&str, &str, &str)]) -> Vec<Effect> {
    let targets = targets.iter().map(|name| pod(name)).collect();
    update(app, Event::Aimed(targets, Ok(aimed(pods))), NOW)
}

/// Its agent says that it captures what it was asked for.
fn runs(app: &mut App, name: &str, effects: &[Effect]) -> Vec<Effect> {
    let spec = effects.iter().find_map(|effect| match effect {
        Effect::Ask(node, Request::StartCapture(spec)) if node.0 == name => Some(spec.clone()),
        _ => None,
    });
    let (spec, interfaces) = (spec.expect("asked"), vec!["veth1".into()]);
    let running = nodewatch_protocol::CaptureState::Running { since: NOW, interfaces, spec };
    update(app, tunnel(name, nodewatch_protocol::Update::Capture(running)), NOW)
}

fn on_the_pods_screen() -> App {
    let mut app = live();
    key(&mut app, Action::Command);
    typed(&mut app, "pods");
    let effects = key(&mut app, Action::Open);
    assert_eq!((effects, &app.screen), (vec![Effect::FindWorkloads], &Screen::Pods));
    let pods = vec![place("shop/web-0", "a", "10.1.0.4"), place("shop/web-1", "b", "10.2.0.4")];
    feed(&mut app, [Event::Workloads(Workloads { pods, ..Workloads::default() })]);
    app
}

#[test]
fn a_key_on_a_pod_captures_it_and_again_stops_it() {
    let mut app = on_the_pods_screen();
    assert_eq!(key(&mut app, Action::Capture), [Effect::Aim(vec![pod("shop/web-0")])]);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.4")]);
    assert_eq!(asked(&effects), ["a: host 10.1.0.4 by 10.1.0.4"]);
    runs(&mut app, "a", &effects);
    assert!(app.pod_rows().first().is_some_and(|row| row.aimed));

    // Another one beside it.
    key(&mut app, Action::Down);
    let both = ["shop/web-0", "shop/web-1"];
    assert_eq!(key(&mut app, Action::Capture), [Effect::Aim(both.map(pod).to_vec())]);
    let effects = found(&mut app, &both, &[("shop/web-0", "a", "10.1.0.4"), ("shop/web-1", "b", "10.2.0.4")]);
    assert_eq!(asked(&effects), ["b: host 10.2.0.4 by 10.2.0.4"], "that of the first goes on as it is");
    runs(&mut app, "b", &effects);

    // One no more, then none.
    assert_eq!(key(&mut app, Action::Capture), [Effect::Aim(vec![pod("shop/web-0")])]);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.4")]);
    assert_eq!(asked(&effects), ["b: stop"]);
    key(&mut app, Action::Up);
    let effects = key(&mut app, Action::Capture);
    assert_eq!(asked(&effects), ["a: stop"]);
    assert!(effects.contains(&Effect::Aim(vec![])) && app.session.aim.is_none());
}

#[test]
fn a_pod_with_another_address_begins_the_next_file_and_one_on_another_node_takes_the_capture_along() {
    let mut app = on_the_pods_screen();
    key(&mut app, Action::Capture);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.4")]);
    runs(&mut app, "a", &effects);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.9")]);
    assert_eq!(asked(&effects), ["a: stop"], "the file is closed first");
    let effects = update(&mut app, tunnel("a", stopped()), NOW);
    assert_eq!(asked(&effects), ["a: host 10.1.0.9 by 10.1.0.9"]);
    runs(&mut app, "a", &effects);

    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "b", "10.2.0.7")]);
    assert_eq!(asked(&effects), ["a: stop", "b: host 10.2.0.7 by 10.2.0.7"]);
    let told: Vec<String> = app.session.notices.iter().map(|(_, notice)| notice.headline.clone()).collect();
    assert!(told.iter().any(|line| line.contains("pod shop/web-0 moved from a to b (10.2.0.7)")), "{told:?}");
    let events = &app.session.nodes[&"a".into()].log.events;
    assert!(events.iter().any(|event| event.text.contains("another address: 10.1.0.9")), "{events:?}");
}

#[test]
fn a_node_without_an_agent_gets_one_with_the_pod_and_nothing_begins_again_where_somebody_stopped_it() {
    let mut app = on_the_pods_screen();
    key(&mut app, Action::Capture);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.4")]);
    runs(&mut app, "a", &effects);
    let joined = crate::sample::node("d", "1a", nodewatch_tui::model::Readiness::Ready);
    feed(&mut app, [Event::Nodes(nodewatch_tui::model::NodesChange::Applied(joined))]);
    let pods = [("shop/web-0", "d", "10.4.0.4")];
    assert_eq!(asked(&found(&mut app, &["shop/web-0"], &pods)), ["a: stop", "deploy [NodeName(\"d\")]"]);
    assert!(app.session.nodes[&"d".into()].is_to_start());

    // By the key on the node itself.
    key(&mut app, Action::Back);
    app.list.cursor = Some("d".into());
    let effects = key(&mut app, Action::Capture);
    assert!(effects.contains(&Effect::Aim(vec![])) || app.session.aim.is_some(), "{effects:?}");
    assert_eq!(asked(&found(&mut app, &["shop/web-0"], &[("shop/web-0", "d", "10.4.0.9")])), Vec::<String>::new());
}

#[test]
fn the_form_takes_pods_and_what_is_not_there_is_named() {
    let mut app = live();
    let write = |app: &mut App, text: &str| {
        key(app, Action::CaptureOptions);
        for _ in 0..4 {
            key(app, Action::NextView);
        }
        typed(app, text);
        key(app, Action::Open)
    };
    let targets = vec![pod("shop/web-9")];
    assert_eq!(write(&mut app, "shop/web-9"), [Effect::Aim(targets.clone())]);
    let missing = vec![Missing { target: pod("shop/web-9"), near: vec!["shop/web-0".into()] }];
    let nothing = Aimed { missing, ..Aimed::default() };
    let effects = update(&mut app, Event::Aimed(targets, Ok(nothing)), NOW);
    assert_eq!(effects, [Effect::Aim(vec![])]);
    let told = app.latest_notice().expect("told");
    assert!(told.headline.contains("pod shop/web-9") && told.cause.contains("shop/web-0"), "{told:?}");

    // The next capture is of nodes again.
    let effects = key(&mut app, Action::Capture);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(CaptureSpec::default()))]);
}

#[test]
fn what_cannot_be_found_out_while_it_is_followed_is_told_once_and_ends_nothing() {
    let mut app = on_the_pods_screen();
    key(&mut app, Action::Capture);
    let effects = found(&mut app, &["shop/web-0"], &[("shop/web-0", "a", "10.1.0.4")]);
    runs(&mut app, "a", &effects);
    let before = app.session.notices.len();
    for _ in 0..3 {
        let away = Notice::error("cannot find pod shop/web-0", "503", "try again");
        assert_eq!(update(&mut app, Event::Aimed(vec![pod("shop/web-0")], Err(away)), NOW), []);
    }
    assert_eq!(app.session.notices.len(), before + 1);
    assert!(app.session.aim.is_some());
}
