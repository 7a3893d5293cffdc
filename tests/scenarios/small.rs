//! Small screens and small words: nothing that matters is out of sight, and what is said is about what is there.

use nodewatch_protocol::{AcceptQueue, FileState, PortsKind, Update};
use nodewatch_tui::{
    model::{Group, Holder, NodesChange, PodPlace, Readiness, ServicePlaces, Workloads},
    screens::{Action, App, Edit, Input, Layer, Screen, View, dialogs::form::Field, update},
    session::{Effect, Event, Permission},
    ui::{self, Theme},
};
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::{
    key, live, phase, running,
    sample::{self, NOW, app, busy, feed, file, node, ports, stock, tunnel},
    typed,
};

fn buffer(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| drop(ui::draw(frame, app.picture(), &Theme::standard()))).expect("drawn");
    terminal.backend().buffer().clone()
}

/// The screen's lines, after what its drawing has told the app.
fn screen(app: &mut App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let mut news = None;
    terminal.draw(|frame| news = ui::draw(frame, app.picture(), &Theme::standard()).news(app)).expect("drawn");
    feed(app, news);
    terminal.backend().to_string()
}

fn told(app: &App) -> String {
    app.session.notices.back().map(|(_, notice)| notice.line()).unwrap_or_default()
}

fn hinted(app: &App, action: Action) -> bool {
    app.hints().iter().any(|(hinted, _)| *hinted == action)
}

#[test]
fn the_form_has_its_field_its_example_and_its_error_on_the_smallest_screen() {
    let mut app = live();
    key(&mut app, Action::CaptureOptions);
    for _ in 0..10 {
        key(&mut app, Action::NextView);
    }
    typed(&mut app, "many");
    key(&mut app, Action::Open);
    let drawn = screen(&mut app, 50, 12);
    for wanted in ["Snaplen", "many", "96: the first 96 bytes", "invalid snaplen", "Enter start", "Esc keep and close"]
    {
        assert!(drawn.contains(wanted), "{wanted}: {drawn}");
    }
}

#[test]
fn a_flow_that_was_looked_at_is_no_filter_of_the_next_capture() {
    let open = || {
        let mut app = busy();
        key(&mut app, Action::Open);
        app.view = View::Flows;
        key(&mut app, Action::Open);
        app
    };
    let mut app = open();
    let Some(Layer::Form(form)) = app.top() else { panic!("{:?}", app.top()) };
    assert!(form.value(Field::Filter).starts_with("host 10.0.1.12"), "{}", form.value(Field::Filter));
    key(&mut app, Action::Back);
    assert_eq!(app.remembered(), None, "nobody has typed it");

    // What was made of it is somebody's own.
    let mut app = open();
    typed(&mut app, " and tcp");
    key(&mut app, Action::Back);
    assert!(app.remembered().is_some_and(|filter| filter.ends_with("and tcp")));
    // And what was there before is there again.
    key(&mut app, Action::Open);
    key(&mut app, Action::Back);
    assert!(app.remembered().is_some_and(|filter| filter.ends_with("and tcp")));
}

#[test]
fn the_form_opens_at_its_filter_wherever_it_was_left() {
    let mut app = live();
    for action in [Action::CaptureOptions, Action::NextView, Action::NextView] {
        key(&mut app, action);
    }
    typed(&mut app, "2m");
    key(&mut app, Action::Back);
    key(&mut app, Action::CaptureOptions);
    typed(&mut app, "tcp");
    let Some(Layer::Form(form)) = app.top() else { panic!("{:?}", app.top()) };
    assert_eq!((form.value(Field::Filter), form.value(Field::Recorder)), ("tcp", "2m"));
}

#[test]
fn a_message_is_whole_where_there_is_room_and_names_the_thing_first() {
    let mut app = live();
    key(&mut app, Action::Freeze);
    let drawn = screen(&mut app, 80, 24);
    let at = |wanted: &str| drawn.find(wanted).unwrap_or_else(|| panic!("{wanted}: {drawn}"));
    assert!(at("nothing to freeze: no flight recorder is armed") < at("C arms one"), "{drawn}");
    assert!(drawn.contains("enter the time to keep as flight") && !drawn.contains(" ~ n"), "{drawn}");
    // Where there is not, the way out stays.
    assert!(screen(&mut app, 80, 14).contains("C arms one"));
}

#[test]
fn the_end_of_a_long_text_is_seen_while_it_is_typed() {
    for action in [Action::Filter, Action::Command, Action::Help] {
        let mut app = live();
        key(&mut app, action);
        if action == Action::Help {
            key(&mut app, Action::Filter);
        }
        typed(&mut app, &"x".repeat(90));
        typed(&mut app, "END");
        assert!(screen(&mut app, 80, 24).contains("xxEND "), "{}", screen(&mut app, 80, 24));
        key(&mut app, Action::Edit(Edit::Start));
        assert!(!screen(&mut app, 80, 24).contains("END"));
    }
    let mut app = live();
    for action in [Action::Help, Action::Filter] {
        key(&mut app, action);
    }
    typed(&mut app, "zeppelin");
    assert!(screen(&mut app, 80, 24).contains("nothing matches zeppelin"), "no blank page");
}

#[test]
fn the_exit_says_everything_at_80_columns_and_scrolls_by_every_key() {
    let mut app = busy();
    let name = |number: u64| format!("20231114T221320.000000Z-{number:04}.pcapng");
    let files = (1..57).map(|number| file(&name(number), 900, FileState::Closed)).collect();
    feed(&mut app, [tunnel("ip-10-0-1-12.eu-west-1.compute.internal", Update::Files(files))]);
    key(&mut app, Action::Quit);
    feed(&mut app, [stock()]);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains("Esc stay") && drawn.contains("ServiceAccount nodewatch-agent-7f3a91c2"), "{drawn}");

    key(&mut app, Action::Details);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains("1-") && drawn.contains(" of 6") && !drawn.contains("a page for those"), "{drawn}");
    key(&mut app, Action::Bottom);
    assert!(screen(&mut app, 80, 24).contains("a page for those"), "the end is reached");
    assert!(screen(&mut app, 80, 24).contains("Namespace nodewatch-7f3a91c2, active"), "as a thing and its state");
    key(&mut app, Action::Top);
    assert!(screen(&mut app, 80, 24).contains("fetch   56 files"), "{}", screen(&mut app, 80, 24));
    // The line that is changed is in sight.
    key(&mut app, Action::Down);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains("▌remove  1 agent"), "{drawn}");
    key(&mut app, Action::Mark);
    assert!(app.session.exit().is_some_and(|exit| exit.keeps(Group::Agents)));
    assert!(phase(&app).is_some());
}

#[test]
fn what_is_cut_off_says_so() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Note { message: format!("udp port {} is here", "5353 ".repeat(20)) })]);
    key(&mut app, Action::Events);
    let drawn = screen(&mut app, 80, 24);
    assert!(
        drawn.lines().any(|line| line.contains("udp port") && line.trim_end_matches('"').ends_with('~')),
        "{drawn}"
    );
}

#[test]
fn drops_are_seen_beside_a_port_that_flaps() {
    let mut app = flapping();
    assert!(screen(&mut app, 80, 24).contains("12/0/0") && screen(&mut app, 80, 24).contains("8080 FLAPS"));
}

/// The busy node, whose port 8080 closes every second, with a full accept queue at port 22.
fn flapping() -> App {
    let mut app = busy();
    let live = "ip-10-0-1-12.eu-west-1.compute.internal";
    for second in 1..9 {
        let (opened, closed): (&[&str], &[&str]) =
            if second % 2 == 0 { (&["tcp 0.0.0.0:8080"], &[]) } else { (&[], &["tcp 0.0.0.0:8080"]) };
        let Update::Ports(mut change) = ports(PortsKind::Changes, opened, closed) else { unreachable!("ports") };
        change.at = NOW + second * 1000;
        update(&mut app, tunnel(live, Update::Ports(change)), NOW + second * 1000);
    }
    let full = AcceptQueue { port: "tcp 0.0.0.0:22".parse().expect("a port"), waiting: 4096, limit: 4095 };
    update(&mut app, tunnel(live, Update::Queues(vec![full])), NOW + 8_000);
    // Which columns the list has is looked at once a second.
    update(&mut app, Event::Tick, NOW + 8_000);
    app
}

#[test]
fn ports_that_flap_or_are_full_are_marked_by_port_in_the_matrix_and_where_there_is_little_room() {
    let mut app = flapping();
    key(&mut app, Action::Open);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains("4096 FULL") && drawn.contains("flap x4"), "{drawn}");
    for action in [Action::Ports, Action::NextView] {
        key(&mut app, action);
    }
    let drawn = screen(&mut app, 100, 24);
    assert!(drawn.contains("1 FLAPS") && drawn.contains("1 FULL"), "{drawn}");
    assert!(drawn.contains("accept queue of tcp 0.0.0.0:22 full on") && drawn.contains("4096 wait"), "{drawn}");
    key(&mut app, Action::NextView);
    let drawn = screen(&mut app, 100, 24);
    assert!(drawn.lines().any(|line| line.contains("8080/tcp") && line.contains("FLAP")), "{drawn}");
    assert!(drawn.lines().any(|line| line.contains("22/tcp") && line.contains("FULL")), "{drawn}");
}

#[test]
fn what_stands_behind_the_queue_stays_where_it_is() {
    let mut app = busy();
    key(&mut app, Action::Open);
    let owner = |drawn: String| drawn.lines().find_map(|line| line.find("OWNER")).expect("a head");
    let before = owner(screen(&mut app, 80, 24));
    let queue = AcceptQueue { port: "tcp 0.0.0.0:22".parse().expect("a port"), waiting: 1, limit: 128 };
    feed(&mut app, [tunnel("ip-10-0-1-12.eu-west-1.compute.internal", Update::Queues(vec![queue]))]);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains(" 1/128 "), "{drawn}");
    assert_eq!(owner(drawn), before);
}

#[test]
fn hints_are_what_the_row_takes() {
    let mut app = sample::delivering();
    key(&mut app, Action::Files);
    let mut seen = 0;
    let rows = app.file_rows().len();
    for _ in 0..rows {
        let row = app.row_under_cursor();
        if let Some(nodewatch_tui::screens::cursor::RowKey::File(name)) = row {
            let open = name.name.contains("0005");
            if open {
                assert!(!hinted(&app, Action::Open) && !hinted(&app, Action::Follow) && !hinted(&app, Action::Remove));
                assert_eq!(key(&mut app, Action::Follow), []);
                assert!(told(&app).contains("being written"), "{}", told(&app));
                key(&mut app, Action::Remove);
                assert!(told(&app).contains("stop its capture first"), "{}", told(&app));
                seen += 1;
            } else if name.name.contains("0004") {
                assert!(hinted(&app, Action::Open) && !hinted(&app, Action::Follow) && hinted(&app, Action::Remove));
                seen += 1;
            }
        }
        key(&mut app, Action::Down);
    }
    assert_eq!(seen, 2);
}

#[test]
fn read_only_offers_nothing_that_it_refuses() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    app.session.permission = Permission::ReadOnly;
    let drawn = screen(&mut app, 80, 24);
    assert!(!drawn.contains("deploys one") && drawn.contains("no agent on this node"), "{drawn}");
    let other = super::seen::other(Holder::Detached);
    feed(&mut app, [Event::Sessions { found: Ok(vec![other]), asked: true }]);
    let drawn = screen(&mut app, 80, 24);
    assert!(drawn.contains("read-only") && !drawn.contains("attach") && !drawn.contains("remove"), "{drawn}");
}

#[test]
fn a_service_that_leads_nowhere_says_why_and_is_looked_for_again() {
    let mut app = app();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(vec![node("a", "1a", Readiness::Ready)]))]);
    let find = |app: &mut App, text: &str| {
        key(app, Action::Filter);
        key(app, Action::Edit(Edit::Clear));
        typed(app, text);
        key(app, Action::Open);
        screen(app, 100, 24)
    };
    find(&mut app, "svc:pay");
    let services = [("shop/orphan".to_owned(), ServicePlaces::default())];
    let found = Workloads { services: services.into(), ..Workloads::default() };
    feed(&mut app, [Event::Workloads(found.clone())]);
    assert!(find(&mut app, "svc:pay").contains("no service is called \"pay\""));
    assert!(find(&mut app, "svc:orphan").contains("service shop/orphan has no ready pod"));
    assert!(find(&mut app, "pod:pay").contains("no pod on a node is called \"pay\""));
    // It may have been made a moment ago.
    assert_eq!(update(&mut app, Event::Tick, NOW + 9_000), []);
    assert!(screen(&mut app, 100, 24).contains("9s ago"));
    assert_eq!(update(&mut app, Event::Tick, NOW + 10_000), [Effect::FindWorkloads]);
    assert!(screen(&mut app, 100, 24).contains("again"), "{}", screen(&mut app, 100, 24));
    let pod = PodPlace {
        name: "shop/pay-1".into(),
        node: "a".into(),
        addresses: vec![],
        phase: "Running".into(),
        restarts: None,
        host_network: false,
    };
    update(&mut app, Event::Workloads(Workloads { pods: vec![pod], ..found }), NOW + 10_500);
    assert_eq!(app.shown().count(), 1);
}

#[test]
fn answers_to_keys_are_no_events() {
    let mut app = live();
    feed(&mut app, [Input::Unbound("Ctrl-k".into())]);
    key(&mut app, Action::Copy);
    key(&mut app, Action::Probe);
    assert!(told(&app).contains("port under the cursor"), "{}", told(&app));
    assert_eq!(app.screen, Screen::Nodes);
    let heard: Vec<String> = app.session.notices.iter().map(|(_, notice)| notice.line()).collect();
    assert!(heard.iter().any(|line| line.contains("copied")), "they are told: {heard:?}");
    key(&mut app, Action::Events);
    let drawn = screen(&mut app, 120, 40);
    let (rows, _) = drawn.rsplit_once("that key is about").unwrap_or((&drawn, ""));
    assert!(!rows.contains("copied") && !rows.contains("does nothing here"), "{drawn}");
    assert!(app.event_rows().iter().all(|row| !row.text.contains("under the cursor")));
}

/// A chart that moves every second is drawn anew every second, over a line that may be slow.
#[test]
fn a_second_of_a_capture_changes_little_of_the_screen() {
    let mut app = busy();
    feed(&mut app, [tunnel("ip-10-0-1-12.eu-west-1.compute.internal", running())]);
    for action in [Action::Open, Action::NextView] {
        key(&mut app, action);
    }
    for seconds in [72, 200, 400] {
        let mut changed = 0;
        let from = app.session.nodes[&"ip-10-0-1-12.eu-west-1.compute.internal".into()].counts.rates.len() as u64;
        for second in from..seconds {
            feed(&mut app, [tunnel("ip-10-0-1-12.eu-west-1.compute.internal", sample::statistics(second))]);
        }
        let mut before = buffer(&app, 200, 60);
        for second in seconds..seconds + 24 {
            feed(&mut app, [tunnel("ip-10-0-1-12.eu-west-1.compute.internal", sample::statistics(second))]);
            let after = buffer(&app, 200, 60);
            changed += before.diff(&after).len();
            before = after;
        }
        assert!(changed / 24 < 600, "{} cells a second at {seconds} s", changed / 24);
    }
}
