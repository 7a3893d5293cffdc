//! What keys act on: the view in front, the nodes that a pod leads to, captures that run already, and keys that do nothing.

use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent};
use nodewatch_protocol::{Freeze, Refusal, RefusalKind};
use nodewatch_tui::{
    config::keymap::Keymap,
    model::{PodPlace, ServicePlaces, Workloads},
    screens::{Column, Confirm, Input, Layer, cursor::RowId, dialogs::form::Field, node::rows::Row},
    session::node::Pending,
    ui::{self, Hits, Theme},
};
use ratatui::{Terminal, backend::TestBackend};

use super::{captures::armed, sample::ports, *};

fn two_nodes() -> App {
    let mut app = app();
    let mut nodes = ["a", "b"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    nodes[1].addresses = vec!["10.0.0.2".parse().expect("an address")];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app
}

/// Draws the app, and tells it what the terminal tells it of that.
fn drawn(app: &mut App) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
    let mut hits = Hits::default();
    terminal.draw(|frame| hits = ui::draw(frame, app.picture(), &Theme::standard())).expect("drawn");
    let news: Vec<Input> = hits.news(app).into_iter().collect();
    feed(app, news);
    assert!(hits.news(app).is_none(), "nothing is told twice");
    terminal.backend().to_string()
}

#[test]
fn the_first_key_back_from_the_end_of_a_text_moves_it() {
    for opened in [Action::Help, Action::Notices] {
        let mut app = two_nodes();
        feed(&mut app, (0..60).map(|number| Event::Told(Notice::info(format!("notice {number}")))));
        key(&mut app, opened);
        let top = drawn(&mut app);
        assert_eq!(app.scroll, 0);
        for _ in 0..30 {
            key(&mut app, Action::PageDown);
            drawn(&mut app);
        }
        let (end, last) = (drawn(&mut app), app.scroll);
        key(&mut app, Action::Down);
        assert_eq!((drawn(&mut app), app.scroll), (end.clone(), last), "{opened:?}");
        key(&mut app, Action::Up);
        assert_ne!(drawn(&mut app), end, "{opened:?}");
        assert_eq!(app.scroll, last - 1);
        // The other way round: what is counted from the end is no more than there is.
        key(&mut app, Action::Bottom);
        assert_eq!(drawn(&mut app), end);
        for _ in 0..30 {
            key(&mut app, Action::PageUp);
            drawn(&mut app);
        }
        assert_eq!(drawn(&mut app), top);
        key(&mut app, Action::Down);
        assert_ne!(drawn(&mut app), top, "{opened:?}");
    }
}

#[test]
fn the_guided_exit_scrolls_no_further_than_it_goes() {
    let mut app = live();
    key(&mut app, Action::Quit);
    assert!(matches!(app.top(), Some(Layer::Exit(_))));
    for _ in 0..5 {
        key(&mut app, Action::PageDown);
        drawn(&mut app);
    }
    assert_eq!(app.scroll, 0, "all of it is shown");
}

fn shown(app: &App) -> Vec<String> {
    app.shown().map(|state| state.node.name.0.clone()).collect()
}

fn rows(app: &App) -> Vec<RowId> {
    app.node_rows(app.current().expect("a node")).iter().map(Row::id).collect()
}

/// Types a filter and takes it; what is asked for on the way.
fn filter(app: &mut App, text: &str) -> Vec<Effect> {
    key(app, Action::Filter);
    let typed: Vec<Effect> =
        text.chars().flat_map(|character| key(app, Action::Edit(Edit::Insert(character)))).collect();
    key(app, Action::Open);
    typed
}

#[test]
fn filter_order_and_copy_are_the_view_in_fronts_and_not_the_lists() {
    let mut app = live();
    feed(
        &mut app,
        [tunnel("a", ports(PortsKind::Snapshot, &["tcp 10.0.0.1:22", "tcp 10.0.0.1:8080", "udp 0.0.0.0:53"], &[]))],
    );
    key(&mut app, Action::Open);
    assert_eq!(rows(&app).len(), 3);
    assert_eq!(filter(&mut app, "8080"), []);
    assert!(matches!(app.screen, Screen::Node(_)), "the place is kept");
    assert_eq!(rows(&app).len(), 1);
    assert_eq!(key(&mut app, Action::Copy), [Effect::copy(["tcp 10.0.0.1:8080"])]);
    key(&mut app, Action::Back);
    assert!(matches!(app.screen, Screen::Node(_)), "first the filter goes");
    key(&mut app, Action::Sort(Column::Ports));
    let first = rows(&app).remove(0);
    assert!(matches!(first, RowId::Port(port, true) if port.local.port() == 8080), "the largest first: {first:?}");
    assert!(app.list.order.is_none() && app.list.filter.0.is_empty(), "the list is left alone");
    // Into the port: who else has it.
    key(&mut app, Action::Open);
    assert_eq!((&app.screen, app.ports.filter.0.as_str()), (&Screen::Ports, "port:8080"));
}

#[test]
fn what_a_view_cannot_be_filtered_or_sorted_by_is_said() {
    let mut app = live();
    key(&mut app, Action::Open);
    key(&mut app, Action::NextView);
    key(&mut app, Action::Filter);
    assert!(app.layers.is_empty() && matches!(app.screen, Screen::Node(_)));
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.contains("nothing to filter")));
    key(&mut app, Action::Sort(Column::Packets));
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.contains("cannot be sorted by packets")));
    key(&mut app, Action::NextView);
    filter(&mut app, "pod:x");
    let error = match app.top() {
        Some(Layer::Filter(line)) => line.error.clone().unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert!(error.contains("unknown field \"pod\"") && error.contains("from:"), "{error}");
}

#[test]
fn a_cursor_in_a_view_stays_on_its_row_while_rows_come_and_go() {
    let mut app = live();
    feed(&mut app, [tunnel("a", ports(PortsKind::Snapshot, &["tcp 10.0.0.1:22", "tcp 10.0.0.1:8080"], &[]))]);
    key(&mut app, Action::Open);
    key(&mut app, Action::Down);
    let on = app.row_under_cursor();
    feed(&mut app, [tunnel("a", ports(PortsKind::Changes, &["tcp 10.0.0.1:21"], &[]))]);
    assert_eq!(app.row_under_cursor(), on);
    feed(&mut app, [tunnel("a", ports(PortsKind::Changes, &[], &["tcp 10.0.0.1:21"]))]);
    assert_eq!(app.row_under_cursor(), on, "also where one above it has closed");
}

#[test]
fn a_pod_a_service_and_an_address_find_their_nodes_and_are_looked_up_once() {
    let mut app = two_nodes();
    assert_eq!(filter(&mut app, "10.0.0.2"), [Effect::FindWorkloads], "asked once while it is typed");
    assert_eq!(shown(&app), ["b"], "a node's own address needs nobody");
    let pod = |name: &str, node: &str, ip: &str| PodPlace {
        name: name.into(),
        node: node.into(),
        addresses: vec![ip.parse().expect("an address")],
        phase: "Running".into(),
        restarts: Some(0),
        host_network: false,
    };
    let services = [("shop/pay".to_owned(), ServicePlaces { addresses: vec![], nodes: BTreeSet::from(["a".into()]) })];
    let found = Workloads {
        pods: vec![pod("shop/pay-1", "a", "10.1.0.7"), pod("shop/cart-1", "b", "10.1.0.8")],
        services: services.into(),
        gaps: vec![],
    };
    feed(&mut app, [Event::Workloads(found)]);
    for (text, nodes) in [("pod:pay", "a"), ("pod:shop/", "a b"), ("svc:pay", "a"), ("10.1.0.8", "b"), ("pod:no", "")] {
        key(&mut app, Action::Back);
        assert_eq!(filter(&mut app, text), [], "what is known is young");
        assert_eq!(shown(&app).join(" "), nodes, "{text}");
    }
    let later = NOW + 31_000;
    assert_eq!(update(&mut app, Event::Tick, later), [Effect::FindWorkloads]);
    assert_eq!(update(&mut app, Event::Tick, later + 60_000), [], "it is being asked for");
}

#[test]
fn a_namespace_that_agents_go_to_is_in_the_header() {
    let mut app = two_nodes();
    assert!(!drawn(&mut app).contains("  ns "));
    app.session.terms.namespace = Some("tools".into());
    assert!(drawn(&mut app).contains("  ns tools"));
}

/// A pod that is Ready since a moment ago is found by whoever waits for it.
#[test]
fn what_was_not_found_is_looked_up_again_soon_and_why_is_said() {
    let mut app = two_nodes();
    assert_eq!(filter(&mut app, "svc:pay"), [Effect::FindWorkloads]);
    let with = |name: &str, nodes: &[&str]| {
        let nodes = nodes.iter().map(|node| (*node).into()).collect();
        let services = [(name.to_owned(), ServicePlaces { addresses: vec![], nodes })].into();
        Event::Workloads(Workloads { services, ..Workloads::default() })
    };
    feed(&mut app, [with("shop/cart", &["b"])]);
    let seen = drawn(&mut app);
    assert!(seen.contains("no service is called \"pay\""), "{seen}");
    assert_eq!(update(&mut app, Event::Tick, NOW + 9_000), []);
    assert_eq!(update(&mut app, Event::Tick, NOW + 10_000), [Effect::FindWorkloads]);
    let seen = drawn(&mut app);
    assert!(seen.contains("so far: reading pods and services again"), "{seen}");
    update(&mut app, with("shop/pay", &[]), NOW + 11_000);
    let seen = drawn(&mut app);
    assert!(seen.contains("service shop/pay has no ready pod"), "{seen}");
    assert_eq!(update(&mut app, Event::Tick, NOW + 20_000), [Effect::FindWorkloads]);
    update(&mut app, with("shop/pay", &["a"]), NOW + 21_000);
    assert_eq!(shown(&app), ["a"]);
    assert_eq!(update(&mut app, Event::Tick, NOW + 32_000), [], "what is found need not be looked up so soon");
}

#[test]
fn what_is_found_while_the_screen_is_paused_counts_when_it_goes_on() {
    let mut app = two_nodes();
    assert_eq!(filter(&mut app, "pod:x"), [Effect::FindWorkloads]);
    key(&mut app, Action::Pause);
    let pod = PodPlace {
        name: "shop/x-1".into(),
        node: "b".into(),
        addresses: vec![],
        phase: "Running".into(),
        restarts: None,
        host_network: false,
    };
    feed(&mut app, [Event::Workloads(Workloads { pods: vec![pod], ..Workloads::default() })]);
    key(&mut app, Action::Pause);
    assert_eq!(shown(&app), ["b"]);
    assert_eq!(
        update(&mut app, Event::Tick, NOW + 31_000),
        [Effect::FindWorkloads],
        "nobody waits for the first any more"
    );
}

#[test]
fn what_could_not_be_listed_is_said_and_the_rest_is_used() {
    let mut app = two_nodes();
    filter(&mut app, "pod:x");
    let found = Workloads { gaps: vec!["pods are unknown: forbidden".into()], ..Workloads::default() };
    feed(&mut app, [Event::Workloads(found)]);
    assert!(app.latest_notice().is_some_and(|notice| notice.line().contains("pods are unknown: forbidden")));
}

#[test]
fn the_form_says_what_it_replaces_and_one_capture_follows_the_other() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running())]);
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "tcp port 80");
    assert_eq!(app.replaced(&app.targets()), ["a".into()]);
    let effects = key(&mut app, Action::Open);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StopCapture)]);
    // News of the old one start nothing.
    assert_eq!(update(&mut app, tunnel("a", running()), NOW), []);
    let effects = update(&mut app, tunnel("a", stopped()), NOW);
    let spec = CaptureSpec { filter: Some("tcp port 80".into()), ..CaptureSpec::default() };
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(spec))]);
}

#[test]
fn a_stop_that_is_refused_starts_nothing() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running())]);
    key(&mut app, Action::CaptureOptions);
    key(&mut app, Action::Open);
    update(&mut app, Event::Answer("a".into(), Request::StopCapture, None), NOW);
    assert_eq!(app.session.nodes[&"a".into()].pending, Pending::Nothing);
    let told = app.latest_notice().expect("a word").line();
    assert!(told.contains("the one that was to take its place does not start"), "{told}");
}

#[test]
fn taking_back_what_was_to_replace_a_capture_leaves_that_capture_alone() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running())]);
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "host db.example.com");
    assert!(matches!(key(&mut app, Action::Open)[..], [Effect::Resolve(..)]));
    assert_eq!(key(&mut app, Action::Capture), [], "it is not stopped");
    assert_eq!(app.session.nodes[&"a".into()].pending, Pending::Nothing);
}

#[test]
fn a_capture_that_has_begun_while_hosts_were_looked_up_is_not_replaced() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "host db.example.com");
    let effects = key(&mut app, Action::Open);
    let [Effect::Resolve(_, asked)] = &effects[..] else { panic!("{effects:?}") };
    // Its tunnel is back, and tells of a capture that somebody began there.
    feed(&mut app, [tunnel("a", running())]);
    let spec = CaptureSpec { filter: Some("host 10.0.0.1".into()), ..CaptureSpec::default() };
    assert_eq!(update(&mut app, Event::Resolved(vec!["a".into()], asked.clone(), Ok(spec)), NOW), []);
    assert!(app.session.nodes[&"a".into()].is_capturing());
    let told = app.latest_notice().expect("a word").line();
    assert!(told.contains("no capture was started on a: a capture is already running"), "{told}");
}

#[test]
fn a_form_is_about_the_nodes_that_it_was_opened_for() {
    let mut app = live();
    key(&mut app, Action::Events);
    // The newest event is b's as the form opens, and c's as it is taken.
    let refused = |name: &str, at| (tunnel(name, Update::PortGaps(vec![format!("no udp_diag on {name}")])), at);
    let (event, at) = refused("b", NOW + 1000);
    update(&mut app, event, at);
    assert_eq!(app.targets(), ["b".into()]);
    key(&mut app, Action::CaptureOptions);
    let (event, at) = refused("c", NOW + 2000);
    update(&mut app, event, at);
    assert_eq!(app.targets(), ["c".into()]);
    let effects = key(&mut app, Action::Open);
    assert_eq!(effects, [Effect::Ask("b".into(), Request::StartCapture(CaptureSpec::default()))]);
}

#[test]
fn a_refused_form_stays_open_and_what_is_wrong_is_not_what_the_next_capture_takes() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "tcp prt 80");
    assert_eq!(key(&mut app, Action::Open), []);
    let Some(Layer::Form(form)) = app.top() else { panic!("it stays") };
    assert!(form.error.as_ref().is_some_and(|(field, text)| *field == Field::Filter && text.contains("prt 80")));
    key(&mut app, Action::Back);
    assert_eq!(app.remembered(), None);
    let effects = key(&mut app, Action::Capture);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(CaptureSpec::default()))]);
}

#[test]
fn the_key_says_which_filter_it_takes() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "tcp port 80");
    key(&mut app, Action::Back);
    assert_eq!(app.remembered().as_deref(), Some("tcp port 80"));
    key(&mut app, Action::Capture);
    let told = app.latest_notice().expect("a word").line();
    assert!(told.contains("capture on a: tcp port 80, as last time (capture-options changes it)"), "{told}");
}

#[test]
fn every_armed_recorder_is_frozen_from_wherever_and_all_are_named() {
    let mut app = live();
    for name in ["a", "b"] {
        feed(&mut app, [tunnel(name, armed())]);
    }
    key(&mut app, Action::Open);
    let effects = key(&mut app, Action::Freeze);
    assert_eq!(effects.len(), 2, "{effects:?}");
    let told = app.latest_notice().expect("a word").line();
    assert_eq!(told, "2 flight recorders save 30 s before and 10 s after now: a, b");
    assert_eq!(app.session.nodes[&"b".into()].saving(NOW + 3_000), Some(7_000));
    assert_eq!(app.session.nodes[&"b".into()].saving(NOW + 10_000), None);
    key(&mut app, Action::Back);
    key(&mut app, Action::Mark);
    assert_eq!(key(&mut app, Action::Freeze).len(), 1, "marked nodes alone");
}

#[test]
fn a_key_that_does_nothing_says_so() {
    let mut app = two_nodes();
    update(&mut app, Input::Unbound("F6".into()), NOW);
    assert!(app.latest_notice().is_some_and(|notice| notice.line() == "F6 does nothing here (help has the keys)"));
    let screens = Keymap::default().screens_of(KeyEvent::from(KeyCode::Char('P'))).expect("it is bound");
    update(&mut app, Input::Elsewhere("P".into(), screens), NOW);
    assert!(
        app.latest_notice().is_some_and(|notice| notice.headline == "P does nothing here; it works on: node, ports")
    );
    key(&mut app, Action::Probe);
    assert!(app.latest_notice().is_some_and(|notice| notice.line().contains("about the port under the cursor")));
    key(&mut app, Action::Exclude);
    assert!(app.session.terms.exclude.is_empty(), "nothing is left out unseen");
}

/// Nodes whose recorders hold something that nobody has saved, how much the longest holds and how much of it is saved.
fn unsaved(app: &App) -> Option<(String, u64, u64)> {
    let unsaved = app.session.unsaved_recorders()?;
    let names: Vec<&str> = unsaved.nodes.iter().map(|(name, _)| name.0.as_str()).collect();
    Some((names.join(" "), unsaved.held, unsaved.saved))
}

#[test]
fn leaving_names_what_a_recorder_would_lose_and_waits_for_what_is_saved() {
    let mut app = live();
    feed(&mut app, [tunnel("b", armed())]);
    assert_eq!(unsaved(&app), None, "it holds nothing yet");
    let at = NOW + 12_000;
    update(&mut app, Input::Key(Action::Quit), at);
    assert_eq!(unsaved(&app), Some(("b".into(), 12_000, 0)));
    let at = NOW + 300_000;
    assert_eq!(update(&mut app, Input::Key(Action::Freeze), at).len(), 1);
    assert_eq!(unsaved(&app), None, "it is being saved");
    let effects = update(&mut app, Input::Key(Action::Open), at);
    assert!(!effects.contains(&Effect::Ask("b".into(), Request::StopCapture)), "{effects:?}");
    let effects = update(&mut app, Event::Tick, at + 9_000);
    assert!(!effects.contains(&Effect::Ask("b".into(), Request::StopCapture)), "{effects:?}");
    update(&mut app, Input::Key(Action::Back), at + 9_500);
    assert_eq!(phase(&app), None, "nothing was removed: it can be called off");
    update(&mut app, Event::Tick, at + 11_000);
    assert_eq!(unsaved(&app), Some(("b".into(), 120_000, 40_000)));
    update(&mut app, Input::Key(Action::Quit), at + 11_000);
    let effects = update(&mut app, Input::Key(Action::Open), at + 11_000);
    assert!(effects.contains(&Effect::Ask("b".into(), Request::StopCapture)), "{effects:?}");
}

#[test]
fn a_recorder_whose_agent_cannot_be_reached_is_named_and_saves_that_time_once_it_is_back() {
    let mut app = live();
    for name in ["a", "b"] {
        feed(&mut app, [tunnel(name, armed())]);
    }
    let at = NOW + 100_000;
    let lost = |name: &str| Event::Tunnel(name.into(), TunnelChange::Lost { reason: "no answer".into() });
    update(&mut app, lost("b"), at);
    let effects = update(&mut app, Input::Key(Action::Freeze), at);
    assert_eq!(effects.len(), 1, "{effects:?}");
    let told = app.latest_notice().expect("a word").line();
    assert!(told.starts_with("cannot be reached now: b: its recorder saves this time once"), "{told}");
    // The exit says that it is there, in vain tries too, and can be left again.
    update(&mut app, Input::Key(Action::Quit), at + 1_000);
    assert_eq!(unsaved(&app), Some(("b".into(), 101_000, 0)));
    update(&mut app, Input::Key(Action::Back), at + 1_000);
    update(&mut app, Event::Tunnel("b".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))), at + 5_000);
    let effects = update(&mut app, tunnel("b", armed()), at + 5_000);
    let freeze = Freeze { before_seconds: 35.into(), after_seconds: 5.into(), cause: None };
    assert_eq!(effects, [Effect::Ask("b".into(), Request::Freeze(freeze))]);
    let effects = update(&mut app, tunnel("b", armed()), at + 6_000);
    assert_eq!(effects, [], "once");
}

#[test]
fn an_exit_that_could_not_stop_recorders_names_them_and_they_can_still_be_saved() {
    let mut app = live();
    feed(&mut app, [tunnel("b", armed())]);
    let lost = Event::Tunnel("b".into(), TunnelChange::Lost { reason: "no answer".into() });
    let mut at = NOW + 240_000;
    update(&mut app, lost, at);
    for action in [Action::Quit, Action::Open] {
        update(&mut app, Input::Key(action), at);
    }
    at += 16_000;
    update(&mut app, Event::Tick, at);
    assert_eq!(phase(&app), Some(Phase::FetchFailed));
    assert_eq!(unsaved(&app), Some(("b".into(), 120_000, 0)));
    update(&mut app, Event::Tunnel("b".into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"))), at);
    update(&mut app, tunnel("b", armed()), at);
    assert_eq!(update(&mut app, Input::Key(Action::Freeze), at).len(), 1);
    update(&mut app, Event::Tick, at + 11_000);
    update(&mut app, Input::Key(Action::Back), at + 11_000);
    assert_eq!(phase(&app), None);
    // Left at last without another freeze, that is said.
    at += 600_000;
    for action in [Action::Quit, Action::Open] {
        update(&mut app, Input::Key(action), at);
    }
    let text = app.session.receipt().text();
    assert!(!text.contains("was dropped"), "not yet: {text}");
    let dropped = &app.session.exit().expect("the exit").end.dropped;
    assert_eq!(dropped, &["the flight recorder on b was dropped: its last 2m were saved nowhere"]);
}

#[test]
fn a_key_that_would_drop_what_a_recorder_holds_asks_first() {
    let mut app = live();
    feed(&mut app, [tunnel("a", armed())]);
    let at = NOW + 13_000;
    assert_eq!(update(&mut app, Input::Key(Action::Capture), at), []);
    assert!(matches!(app.top(), Some(Layer::Confirm(Confirm::StopCaptures(names))) if names.len() == 1));
    let effects = update(&mut app, Input::Key(Action::Freeze), at);
    assert!(matches!(&effects[..], [Effect::Ask(_, Request::Freeze(_))]), "{effects:?}");
    assert!(app.top().is_none());
    assert_eq!(update(&mut app, Input::Key(Action::Capture), at), [], "it is still saving");
    let effects = update(&mut app, Input::Key(Action::Open), at);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StopCapture)]);
}

#[test]
fn a_freeze_that_is_refused_saves_nothing_and_the_exit_says_so() {
    let mut app = live();
    for name in ["a", "b"] {
        feed(&mut app, [tunnel(name, armed())]);
    }
    let at = NOW + 60_000;
    update(&mut app, Input::Key(Action::Quit), at);
    let effects = update(&mut app, Input::Key(Action::Freeze), at);
    let [Effect::Ask(_, request), _] = &effects[..] else { panic!("{effects:?}") };
    let full = Refusal { kind: RefusalKind::Failed, message: "no room".into(), next_step: String::new() };
    update(&mut app, Event::Answer("a".into(), request.clone(), Some(Response::Refused(full))), at);
    assert_eq!(unsaved(&app), Some(("a".into(), 60_000, 0)));
    update(&mut app, Event::Answer("b".into(), request.clone(), Some(Response::Done)), at);
    assert_eq!(unsaved(&app), Some(("a".into(), 60_000, 0)), "b's is being saved");
    // The tunnel drops before b has answered a second time: it still saves what it was asked for before.
    let later = at + 2_000;
    update(&mut app, Input::Key(Action::Freeze), later);
    update(&mut app, Event::Answer("b".into(), request.clone(), None), later);
    assert_eq!(app.session.nodes[&"b".into()].saving(later), Some(8_000));
}
