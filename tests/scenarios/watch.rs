//! Watching: what the key does with and without an agent, what survives a cut tunnel and a replaced agent, and the
//! Connections screen.

use nodewatch_protocol::{RefusalKind, RingState, Symptom, Symptoms, WatchSpec, WatchState, WatchedPair};
use nodewatch_tui::{
    model::{PodPlace, Workloads},
    screens::{Column, Confirm, Input, Layer, View, node::rows::Row},
    session::node::NodeState,
};

use super::*;
use crate::sample::{on, pair, sample_of, symptoms};

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

fn lost(name: &str) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Lost { reason: "cut".into() })
}

fn off() -> Update {
    Update::Watch(WatchState::Off)
}

/// What is asked when these come one after the other, but for what every tunnel is told.
fn asked(app: &mut App, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    let effects: Vec<Effect> = events.into_iter().flat_map(|event| update(app, event, NOW)).collect();
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Ask(_, Request::Terms(_)))).collect()
}

/// Its agent says Hello and how it stands.
fn comes_up(app: &mut App, name: &str, stands: Update) -> Vec<Effect> {
    feed(app, [Event::Deploy(name.into(), DeployProgress::Running)]);
    asked(app, [up(name), tunnel(name, facts()), tunnel(name, stands)])
}

fn watch(name: &str) -> Effect {
    Effect::Ask(name.into(), Request::Watch(Some(WatchSpec::default())))
}

fn unwatch(name: &str) -> Effect {
    Effect::Ask(name.into(), Request::Watch(None))
}

fn state<'a>(app: &'a App, name: &str) -> &'a NodeState {
    &app.session.nodes[&name.into()]
}

fn told(told: Symptoms) -> Update {
    Update::Symptoms(Box::new(told))
}

fn failing(last: u8, count: u32) -> WatchedPair {
    let symptoms = [(Symptom::Refused, count)];
    pair(&format!("10.0.0.{last}"), "10.0.3.9", 443, if count > 0 { &symptoms } else { &[] })
}

/// Nodes a, b and c, all live, of which a and b watch.
fn watching() -> App {
    let mut app = live();
    for name in ["a", "b", "c"] {
        feed(&mut app, [tunnel(name, off())]);
    }
    for name in ["a", "b"] {
        app.list.cursor = Some(name.into());
        assert_eq!(key(&mut app, Action::Watch), [watch(name)]);
        feed(&mut app, [tunnel(name, on())]);
    }
    app.list.cursor = Some("a".into());
    app
}

fn rows(app: &App) -> Vec<(String, u16)> {
    app.connections.rows.iter().map(|row| (format!("{} {}", row.node, row.key.source), row.key.port)).collect()
}

/// What is asked about watching as so much time has passed.
fn tick(app: &mut App, seconds: u64) -> Vec<Effect> {
    let effects = update(app, Event::Tick, NOW + seconds * 1000);
    effects.into_iter().filter(|effect| matches!(effect, Effect::Ask(_, Request::Watch(_)))).collect()
}

#[test]
fn one_key_deploys_watches_shows_and_stops() {
    let mut app = listed();
    assert_eq!(key(&mut app, Action::Watch), [Effect::Deploy(vec!["a".into()])]);
    assert!(state(&app, "a").is_to_watch() && !state(&app, "b").is_to_watch());
    assert!(app.hints().contains(&(Action::Watch, "unwatch")));
    assert_eq!(comes_up(&mut app, "a", off()), [watch("a")], "once it has said how it stands");
    assert_eq!(asked(&mut app, [tunnel("a", off())]), [], "and once");
    feed(&mut app, [tunnel("a", on()), tunnel("a", told(symptoms("eth0", vec![failing(1, 2)])))]);
    assert!(state(&app, "a").is_watching() && !state(&app, "a").is_to_watch());
    key(&mut app, Action::Connections);
    assert_eq!(rows(&app), [("a 10.0.0.1".into(), 443)]);
    assert_eq!((app.connections.looked.watched, app.connections.looked.failing), (1, 1));
    key(&mut app, Action::Open);
    assert!(matches!(app.top(), Some(Layer::Connection(view)) if view.key.port == 443), "{:?}", app.top());
    key(&mut app, Action::Back);
    assert_eq!(key(&mut app, Action::Watch), [unwatch("a")], "the row's node");
    feed(&mut app, [tunnel("a", off())]);
    assert!(!state(&app, "a").is_watching());
    assert_eq!(tick(&mut app, 10), []);
    assert_eq!(rows(&app).len(), 1, "what was seen stays");
}

#[test]
fn the_changes_of_the_cluster_are_heard_while_something_is_watched_and_a_little_longer() {
    use nodewatch_answers::{News, Pod, Source};
    let heard = |app: &mut App, seconds: u64| -> Vec<bool> {
        let effects = update(app, Event::Tick, NOW + seconds * 1000);
        let hears = |effect| if let Effect::HearChanges(on) = effect { Some(on) } else { None };
        effects.into_iter().filter_map(hears).collect()
    };
    let mut app = listed();
    let all = ["pods", "endpointslices.discovery.k8s.io", "services", "networkpolicies.networking.k8s.io"];
    let told =
        || Event::Changes(vec![News::Lists(Source::Pods), News::Pod(Pod::default()), News::Listed(Source::Pods)]);
    assert!(heard(&mut app, 1).is_empty(), "nothing is watched");
    update(&mut app, told(), NOW + 1_500);
    assert_eq!(app.session.answers.blind(), all, "nodes are heard all the time; what comes late is not believed");
    key(&mut app, Action::Watch);
    assert_eq!((heard(&mut app, 2), heard(&mut app, 3)), (vec![true], vec![]), "it is to watch");
    update(&mut app, told(), NOW + 3_500);
    assert_eq!(app.session.answers.blind(), &all[1..]);
    key(&mut app, Action::Watch);
    assert_eq!((heard(&mut app, 20), heard(&mut app, 32)), (vec![], vec![]), "it may be watched again");
    assert_eq!((heard(&mut app, 34), heard(&mut app, 35)), (vec![false], vec![]));
    assert_eq!(app.session.answers.blind(), all);
    update(&mut app, Event::Nodes(NodesChange::Failed(Notice::error("away", "", ""))), NOW + 36_000);
    assert_eq!(app.session.answers.blind().len(), 5);
}

/// Neither the question nor the report that is written at the end says that nothing was heard.
#[test]
fn what_was_heard_of_the_cluster_is_not_unheard_by_leaving() {
    use nodewatch_answers::{News, Source};
    let mut app = watching();
    update(&mut app, Event::Tick, NOW + 1_000);
    let told = [Source::Pods, Source::Endpoints, Source::Services, Source::Policies]
        .into_iter()
        .flat_map(|source| [News::Lists(source), News::Listed(source)]);
    update(&mut app, Event::Changes(told.collect()), NOW + 1_500);
    assert_eq!(app.session.answers.blind(), [""; 0]);
    key(&mut app, Action::Quit);
    update(&mut app, Event::Tick, NOW + 60_000);
    assert_eq!(app.session.answers.blind(), [""; 0], "nobody has said yes");
    feed(&mut app, [Event::Finish]);
    let effects = update(&mut app, Event::Tick, NOW + 61_000);
    assert!(effects.contains(&Effect::HearChanges(false)), "{effects:?}");
    assert_eq!(app.session.answers.blind(), [""; 0]);
}

#[test]
fn what_waits_is_taken_back_by_the_same_key_and_goes_with_a_deployment_that_fails() {
    let mut app = listed();
    key(&mut app, Action::Watch);
    assert_eq!(key(&mut app, Action::Watch), [], "nothing was asked yet");
    assert!(!state(&app, "a").is_to_watch());
    assert_eq!(comes_up(&mut app, "a", off()), [], "its agent comes all the same");
    app.list.cursor = Some("b".into());
    key(&mut app, Action::Watch);
    feed(&mut app, [Event::Deploy("b".into(), DeployProgress::Failed(Notice::error("no image", "pull", "push it")))]);
    let headline = &app.session.notices.back().expect("a notice").1.headline;
    assert_eq!(headline, "no watching of b: no image");
    assert_eq!(comes_up(&mut app, "b", off()), []);
}

#[test]
fn a_tunnel_that_comes_back_is_asked_only_where_its_agent_does_not_watch() {
    let mut app = watching();
    feed(&mut app, [lost("a"), lost("b")]);
    assert!(state(&app, "a").is_watching(), "as far as anybody knows");
    assert_eq!(asked(&mut app, [up("a"), tunnel("a", facts()), tunnel("a", on())]), []);
    // Another process than before.
    assert_eq!(asked(&mut app, [up("b"), tunnel("b", facts()), tunnel("b", off())]), [watch("b")]);
    // That is cut before it has answered.
    feed(&mut app, [Event::Answer("b".into(), Request::Watch(Some(WatchSpec::default())), None), lost("b")]);
    assert_eq!(asked(&mut app, [up("b"), tunnel("b", off())]), [watch("b")]);
    // One that says nothing is asked all the same.
    feed(&mut app, [lost("b"), up("b")]);
    assert_eq!(tick(&mut app, 2), []);
    assert_eq!(tick(&mut app, 3), [watch("b")]);
}

#[test]
fn a_stop_without_a_tunnel_is_told_once_there_is_one() {
    let mut app = watching();
    feed(&mut app, [lost("a")]);
    assert_eq!(key(&mut app, Action::Watch), []);
    assert!(!state(&app, "a").is_watching());
    assert_eq!(asked(&mut app, [up("a"), tunnel("a", on())]), [unwatch("a")]);
    assert_eq!(asked(&mut app, [tunnel("a", off())]), []);
    assert!(!state(&app, "a").is_watching() && !state(&app, "a").is_to_watch());
}

#[test]
fn of_several_wishes_the_newest_stands() {
    let [old, new] = ["host 10.0.0.1", "host 10.0.0.2"]
        .map(|filter| WatchSpec { filter: Some(filter.into()), ..WatchSpec::default() });
    let ask = |spec: &WatchSpec| Effect::Ask("a".into(), Request::Watch(Some(spec.clone())));
    let wish = |app: &mut App, spec: &WatchSpec| asked(app, [Event::Watch(vec!["a".into()], spec.clone())]);
    let on = |spec: &WatchSpec| tunnel("a", Update::Watch(WatchState::On { since: NOW, spec: spec.clone() }));
    let refused = |spec: &WatchSpec| {
        let refusal = nodewatch_protocol::Refusal {
            kind: RefusalKind::State,
            message: "a later request replaced this one".into(),
            next_step: String::new(),
        };
        Event::Answer("a".into(), Request::Watch(Some(spec.clone())), Some(Response::Refused(refusal)))
    };
    let notices = |app: &App| app.session.notices.len();
    // Before there is an agent.
    let mut app = listed();
    assert_eq!([wish(&mut app, &old), wish(&mut app, &new)], [vec![], vec![]]);
    assert_eq!(comes_up(&mut app, "a", off()), [ask(&new)]);
    // While it begins; what comes late is of the one before.
    assert_eq!(wish(&mut app, &old), [ask(&old)]);
    let before = notices(&app);
    assert_eq!(asked(&mut app, [refused(&new), on(&new), tunnel("a", off())]), []);
    assert_eq!((asked(&mut app, [on(&old)]), notices(&app)), (vec![], before));
    assert!(state(&app, "a").is_watching() && tick(&mut app, 9).is_empty());
    // While there is no tunnel.
    feed(&mut app, [lost("a")]);
    assert_eq!(wish(&mut app, &new), []);
    assert_eq!(asked(&mut app, [up("a"), on(&old)]), [ask(&new)]);
    assert_eq!(asked(&mut app, [on(&new)]), []);
    // While it is told to stop.
    assert_eq!(asked(&mut app, [Event::StopWatching(vec!["a".into()])]), [unwatch("a")]);
    assert_eq!(wish(&mut app, &new), [ask(&new)]);
    let done = Event::Answer("a".into(), Request::Watch(None), Some(Response::Done));
    assert_eq!(asked(&mut app, [done, tunnel("a", off()), on(&new)]), []);
    assert!(state(&app, "a").is_watching());
    // One that is refused leaves the one before it, also with the next agent.
    assert_eq!(wish(&mut app, &old), [ask(&old)]);
    assert_eq!(asked(&mut app, [refused(&old)]), []);
    feed(&mut app, [lost("a")]);
    assert_eq!(asked(&mut app, [up("a"), tunnel("a", off())]), [ask(&new)]);
    // Another laptop's is newer than this one's.
    assert_eq!(asked(&mut app, [on(&new), on(&old)]), []);
    feed(&mut app, [lost("a")]);
    assert_eq!(asked(&mut app, [up("a"), tunnel("a", off())]), [ask(&old)]);
}

#[test]
fn time_in_which_nothing_is_told_is_said() {
    let mut app = watching();
    let second = || tunnel("a", told(symptoms("eth0", vec![failing(1, 0)])));
    feed(&mut app, [second()]);
    feed(&mut app, [lost("a")]);
    key(&mut app, Action::Connections);
    tick(&mut app, 30);
    assert_eq!(app.connections.looked.unseen.untold, 30_000);
    for event in [up("a"), tunnel("a", on()), second()] {
        update(&mut app, event, NOW + 30_000);
    }
    tick(&mut app, 31);
    assert_eq!(app.connections.looked.unseen.untold, 29_000);
    key(&mut app, Action::Back);
    app.list.cursor = Some("a".into());
    update(&mut app, Input::Key(Action::Watch), NOW + 31_000);
    key(&mut app, Action::Connections);
    tick(&mut app, 600);
    assert_eq!(app.connections.looked.unseen.untold, 29_000, "nobody wants it any more");
}

#[test]
fn an_agent_that_is_replaced_watches_again_and_old_news_gets_older() {
    let mut app = watching();
    feed(&mut app, [tunnel("a", told(symptoms("eth0", vec![failing(1, 2)])))]);
    feed(&mut app, [lost("a"), Event::Deploy("a".into(), DeployProgress::Ended("evicted".into()))]);
    assert!(!state(&app, "a").is_watching() && !state(&app, "a").is_to_watch());
    key(&mut app, Action::Connections);
    tick(&mut app, 90);
    assert_eq!(app.connections.rows[0].recent.failed, 0, "a minute ago is not now");
    assert_eq!(app.connections.looked.failing, 0);
    assert_eq!(comes_up(&mut app, "a", off()), [watch("a")], "its Job has made another pod");
}

#[test]
fn another_laptop_s_watch_is_shown_and_its_end_is_believed() {
    let mut app = live();
    feed(&mut app, [tunnel("a", on())]);
    assert!(state(&app, "a").is_watching());
    assert_eq!(asked(&mut app, [tunnel("a", off())]), [], "somebody else has ended it");
    assert!(!state(&app, "a").is_to_watch());
}

#[test]
fn refusals_and_failures_are_told_and_nothing_is_asked_again() {
    let mut app = live();
    feed(&mut app, [tunnel("a", off())]);
    assert_eq!(key(&mut app, Action::Watch), [watch("a")]);
    let refusal = nodewatch_protocol::Refusal {
        kind: RefusalKind::NotPermitted,
        message: "no NET_RAW".into(),
        next_step: "grant it".into(),
    };
    let request = Request::Watch(Some(WatchSpec::default()));
    feed(&mut app, [Event::Answer("a".into(), request, Some(Response::Refused(refusal)))]);
    assert_eq!(app.session.notices.back().expect("a notice").1.headline, "a did not begin to watch");
    assert_eq!(tick(&mut app, 9), []);
    feed(&mut app, [tunnel("a", on()), tunnel("a", Update::Watch(WatchState::Failed { message: "it broke".into() }))]);
    assert_eq!(app.session.notices.back().expect("a notice").1.cause, "it broke");
    assert_eq!(tick(&mut app, 12), []);
    assert!(!state(&app, "a").is_watching());
    assert_eq!(state(&app, "a").asked, Asked::Nothing, "a capture's own requests are others");
}

#[test]
fn several_are_asked_about_and_nodes_that_join_are_watched_too() {
    let mut app = listed();
    key(&mut app, Action::MarkAll);
    assert_eq!(key(&mut app, Action::Watch), []);
    assert!(matches!(app.top(), Some(Layer::Confirm(Confirm::Deploy(names, _))) if names.len() == 3));
    key(&mut app, Action::Back);
    key(&mut app, Action::MarkAll);
    key(&mut app, Action::Watch);
    key(&mut app, Action::Open);
    for name in ["a", "b", "c"] {
        assert_eq!(comes_up(&mut app, name, off()), [watch(name)]);
        feed(&mut app, [tunnel(name, on())]);
    }
    let nodes = ["a", "b", "c", "d"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    let effects = asked(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    assert_eq!(effects, [Effect::Deploy(vec!["d".into()])]);
    comes_up(&mut app, "d", off());
    feed(&mut app, [tunnel("d", Update::Ring(RingState::default()))]);
    assert_eq!(tick(&mut app, 1), []);
    assert_eq!(tick(&mut app, 3), [watch("d")], "once it has settled");
    feed(&mut app, [tunnel("d", on())]);
    assert_eq!(key(&mut app, Action::Watch), []);
    assert!(matches!(app.top(), Some(Layer::Confirm(Confirm::StopWatching(names))) if names.len() == 4));
    assert_eq!(key(&mut app, Action::Open), ["a", "b", "c", "d"].map(unwatch));
}

#[test]
fn nothing_is_watched_read_only() {
    let mut app = live();
    app.session.permission = Permission::ReadOnly;
    assert_eq!(key(&mut app, Action::Watch), []);
    assert_eq!(app.session.notices.back().expect("a notice").1.cause, "this is read-only");
    assert!(!app.hints().iter().any(|(action, _)| *action == Action::Watch));
}

#[test]
fn failures_stand_first_then_the_busiest_and_rows_are_filtered_sorted_and_saved() {
    let mut app = watching();
    let busy = WatchedPair { attempts: 90, ..failing(2, 0) };
    let dns = pair("10.0.0.7", "10.96.0.10", 53, &[(Symptom::DnsUnanswered, 1)]);
    feed(
        &mut app,
        [
            tunnel("a", told(symptoms("eth0", vec![failing(1, 0), busy, dns]))),
            tunnel("b", told(symptoms("eth0", vec![failing(9, 5)]))),
        ],
    );
    key(&mut app, Action::Connections);
    let order: Vec<String> = rows(&app).into_iter().map(|(row, _)| row).collect();
    assert_eq!(order, ["b 10.0.0.9", "a 10.0.0.7", "a 10.0.0.2", "a 10.0.0.1"]);
    key(&mut app, Action::Sort(Column::Name));
    assert_eq!(rows(&app)[0].0, "a 10.0.0.1");
    key(&mut app, Action::Back);
    for (text, found) in [
        ("from:10.0.0.9", 1),
        ("to:10.96", 1),
        ("node:a", 3),
        ("port:53", 1),
        ("port:5", 0),
        ("service:dns", 1),
        ("symptom:dns_unanswered", 1),
        ("10[.]0[.]3", 3),
        ("!10[.]0[.]3", 1),
    ] {
        key(&mut app, Action::Filter);
        typed(&mut app, text);
        key(&mut app, Action::Open);
        assert_eq!(rows(&app).len(), found, "{text}");
        key(&mut app, Action::Back);
    }
    key(&mut app, Action::Faults);
    assert_eq!(rows(&app).len(), 2);
    assert_eq!(key(&mut app, Action::Copy), [Effect::copy(["b 10.0.0.9 10.0.3.9:443/tcp failed 5"])]);
    let effects = key(&mut app, Action::Save);
    let [Effect::Save { contents, rows: 2, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert!(contents.starts_with("node,source,source_name,destination,"), "{contents}");
    // The cursor goes with its row.
    key(&mut app, Action::Down);
    feed(&mut app, [tunnel("a", told(symptoms("eth0", vec![failing(3, 50)])))]);
    tick(&mut app, 1);
    assert_eq!(app.connections.place(), 2);
    key(&mut app, Action::Back);
    key(&mut app, Action::Back);
    assert_eq!(app.screen, Screen::Nodes);
    // A node on which connections fail is one with a fault.
    key(&mut app, Action::Faults);
    assert!(app.shown().any(|state| state.node.name == "a".into()));
}

#[test]
fn addresses_have_the_names_of_pods_and_services_where_these_may_be_read() {
    let mut app = watching();
    feed(&mut app, [tunnel("a", told(symptoms("eth0", vec![failing(1, 1)])))]);
    assert_eq!(key(&mut app, Action::Connections), [Effect::FindWorkloads]);
    let pod = PodPlace {
        name: "shop/web-0".into(),
        node: "a".into(),
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        phase: "Running".into(),
        restarts: Some(0),
        host_network: false,
    };
    let found = Workloads { pods: vec![pod], gaps: vec!["services: forbidden".into()], ..Workloads::default() };
    feed(&mut app, [Event::Workloads(found)]);
    assert_eq!(app.connections.name_of("10.0.0.1".parse().expect("an address")), Some("shop/web-0"));
    key(&mut app, Action::Filter);
    typed(&mut app, "from:web-0");
    key(&mut app, Action::Open);
    assert_eq!(rows(&app).len(), 1);
    assert!(app.session.notices.iter().all(|(_, notice)| !notice.cause.contains("forbidden")), "a note is no error");
}

#[test]
fn a_node_has_a_tab_of_its_own() {
    let mut app = watching();
    let mut seen = symptoms("eth0", vec![failing(1, 1), failing(2, 0)]);
    seen.samples = vec![sample_of(Symptom::Refused)];
    feed(&mut app, [tunnel("a", told(seen))]);
    key(&mut app, Action::Open);
    app.view = View::Connections;
    let shown = app.node_rows(app.current().expect("a node"));
    assert!(matches!(shown[..], [Row::Pair(first, ..), Row::Pair(..)] if first.source.to_string() == "10.0.0.1"));
    key(&mut app, Action::Open);
    assert!(matches!(app.top(), Some(Layer::Connection(_))));
    key(&mut app, Action::Back);
    key(&mut app, Action::Faults);
    assert_eq!(app.node_rows(app.current().expect("a node")).len(), 1);
    key(&mut app, Action::Back);
    key(&mut app, Action::Connections);
    assert_eq!(app.connections.filter.0, "node:a", "from a node with that node's");
    // And by command.
    key(&mut app, Action::Command);
    typed(&mut app, "watch");
    assert_eq!(key(&mut app, Action::Open), [unwatch("a")]);
}

#[test]
fn a_held_screen_keeps_its_rows() {
    let mut app = watching();
    feed(&mut app, [tunnel("a", told(symptoms("eth0", vec![failing(1, 1)])))]);
    key(&mut app, Action::Connections);
    key(&mut app, Action::Pause);
    feed(&mut app, [tunnel("a", told(symptoms("eth0", vec![failing(2, 9)])))]);
    tick(&mut app, 1);
    assert_eq!(app.picture().connections.rows.len(), 1);
    update(&mut app, Input::Key(Action::Pause), NOW + 1000);
    assert_eq!(rows(&app)[0].0, "a 10.0.0.2");
}
