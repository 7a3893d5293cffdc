//! The kernel's signals: what is out of the normal stands first, what each means, and where.

use nodewatch_protocol::{MissingSource, SignalSeries, SignalsUpdate};
use nodewatch_tui::screens::{Column, Input, Layer, View, node::rows::Row, signals::SignalView};

use super::*;

fn series(id: u32, name: &str, item: &str, value: u64) -> SignalSeries {
    SignalSeries { id, name: name.into(), item: item.into(), value, total: 0 }
}

/// What every node of the test counts.
fn picture() -> Update {
    Update::Signals(SignalsUpdate {
        at: NOW,
        since: Some(NOW),
        told: vec![
            series(0, "tcp.listen_overflows", "", 10),
            series(1, "tcp.out_segs", "", 5_000),
            series(2, "udp.no_ports", "", 3),
            series(3, "conntrack.count", "", 100),
            series(4, "conntrack.max", "", 1000),
            series(5, "ena.pps_allowance_exceeded", "eth0", 0),
            series(6, "ena.pps_allowance_exceeded", "eth1", 0),
        ],
        missing: Some(vec![MissingSource { source: "/proc/pressure".into(), reason: "not there".into() }]),
        ..SignalsUpdate::default()
    })
}

fn moved(moved: &[(u32, u64)]) -> Update {
    Update::Signals(SignalsUpdate { at: NOW, moved: moved.to_vec(), ..SignalsUpdate::default() })
}

fn counting() -> App {
    let mut app = live();
    feed(&mut app, ["a", "b", "c"].map(|name| tunnel(name, picture())));
    app
}

fn rows(app: &App) -> Vec<&'static str> {
    app.signals.rows.iter().map(|row| row.info().name).collect()
}

fn tick(app: &mut App, seconds: u64) {
    update(app, Event::Tick, NOW + seconds * 1000);
}

#[test]
fn what_is_out_of_the_normal_stands_first_then_what_moves() {
    let mut app = counting();
    key(&mut app, Action::Signals);
    assert_eq!(app.screen, Screen::Signals);
    assert_eq!(app.signals.nodes.len(), 3);
    assert_eq!(rows(&app)[..2], ["tcp.listen_overflows", "tcp.out_segs"], "nothing has moved: as in the table");
    feed(&mut app, [tunnel("b", moved(&[(1, 900), (2, 1), (6, 7)])), tunnel("c", moved(&[(5, 2), (6, 3)]))]);
    tick(&mut app, 1);
    assert_eq!(rows(&app)[..3], ["ena.pps_allowance_exceeded", "udp.no_ports", "tcp.out_segs"]);
    let first = &app.signals.rows[0];
    assert_eq!((first.all.amount, first.out, first.all.out), (12, 2, true), "two nodes, three interfaces");
    assert!(!app.signals.rows[1].all.out, "one in a minute is normal");
    // What has ended is not held against anybody.
    tick(&mut app, 100);
    assert!(app.signals.rows.iter().all(|row| !row.all.out));
    assert_eq!(rows(&app)[0], "udp.no_ports", "it has moved in the last two minutes");
    tick(&mut app, 130);
    assert_eq!(rows(&app)[..2], ["tcp.listen_overflows", "tcp.out_segs"]);
}

#[test]
fn a_gauge_is_out_where_it_is_near_its_limit() {
    let mut app = counting();
    key(&mut app, Action::Signals);
    feed(&mut app, [tunnel("a", moved(&[(3, 799)]))]);
    tick(&mut app, 1);
    assert!(app.signals.rows.iter().all(|row| !row.all.out));
    feed(&mut app, [tunnel("a", moved(&[(3, 800)]))]);
    tick(&mut app, 2);
    assert_eq!((rows(&app)[0], app.signals.rows[0].all.amount), ("conntrack.count", 800));
}

#[test]
fn rows_are_filtered_sorted_copied_and_saved() {
    let mut app = counting();
    feed(&mut app, [tunnel("b", moved(&[(0, 4), (1, 900)]))]);
    key(&mut app, Action::Signals);
    key(&mut app, Action::Filter);
    typed(&mut app, "name:tcp");
    key(&mut app, Action::Open);
    assert_eq!(rows(&app), ["tcp.listen_overflows", "tcp.out_segs"]);
    key(&mut app, Action::Sort(Column::Packets));
    assert_eq!(rows(&app), ["tcp.out_segs", "tcp.listen_overflows"], "the most first");
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Copy), [Effect::copy(["tcp.listen_overflows +4"])]);
    // The cursor goes with its row.
    key(&mut app, Action::Sort(Column::Packets));
    assert_eq!(app.signals.cursor, 0);
    let effects = key(&mut app, Action::Save);
    let [Effect::Save { contents, .. }] = &effects[..] else { panic!("{effects:?}") };
    let lines: Vec<&str> = contents.lines().collect();
    assert_eq!(lines[0], "node,signal,item,value,last_minute,total,unit,out_of_normal,normal_is");
    assert_eq!(lines.len(), 1 + 6);
    assert!(lines.contains(&"b,tcp.listen_overflows,,14,4,4,connections,yes,never rises"), "{contents}");
    for screen in [Screen::Signals, Screen::Signals, Screen::Nodes] {
        key(&mut app, Action::Back);
        assert_eq!(app.screen, screen, "filter, order, screen");
    }
    key(&mut app, Action::Signals);
    key(&mut app, Action::Faults);
    assert_eq!(rows(&app), ["tcp.listen_overflows"]);
    key(&mut app, Action::Back);
    assert_eq!(rows(&app).len(), 6);
}

#[test]
fn enter_tells_what_a_signal_means_and_how_it_stands_on_each_node() {
    let mut app = counting();
    feed(&mut app, [tunnel("c", moved(&[(6, 7)]))]);
    key(&mut app, Action::Signals);
    key(&mut app, Action::Open);
    let Some(Layer::Signal(SignalView { signal })) = app.top() else { panic!("{:?}", app.top()) };
    let on_nodes = app.signal_on_nodes(*signal);
    let told: Vec<_> = on_nodes.iter().map(|(node, series, own)| (&*node.0, &*series.item, own.out)).collect();
    assert_eq!(told[..2], [("c", "eth1", true), ("a", "eth0", false)]);
    assert_eq!(told.len(), 6);
    key(&mut app, Action::Back);
    assert!(app.layers.is_empty() && app.screen == Screen::Signals);
    // And by command, from wherever one is.
    key(&mut app, Action::Back);
    key(&mut app, Action::Command);
    typed(&mut app, "sig");
    key(&mut app, Action::Open);
    assert_eq!(app.screen, Screen::Signals);
    key(&mut app, Action::GoBack);
    assert_eq!(app.screen, Screen::Nodes);
}

#[test]
fn a_node_has_a_tab_of_its_own_with_a_row_an_interface() {
    let mut app = counting();
    app.list.cursor = Some("c".into());
    feed(&mut app, [tunnel("c", moved(&[(6, 7), (1, 20)]))]);
    key(&mut app, Action::Open);
    app.view = View::Signals;
    let shown = |app: &App| -> Vec<(String, String)> {
        let rows = app.node_rows(app.current().expect("a node"));
        rows.iter()
            .filter_map(|row| match row {
                Row::Signal(series) => Some((series.info().name.to_owned(), series.item.clone())),
                _ => None,
            })
            .collect()
    };
    let first = shown(&app);
    assert_eq!(first[0], ("ena.pps_allowance_exceeded".into(), "eth1".into()));
    assert_eq!((first[1].0.as_str(), first.len()), ("tcp.out_segs", 7));
    let missing = app.node_rows(app.current().expect("a node"));
    assert!(matches!(missing.last(), Some(Row::Missing(it)) if it.source == "/proc/pressure"), "said at the end");
    assert_eq!(key(&mut app, Action::Copy), [Effect::copy(["ena.pps_allowance_exceeded eth1 +7"])]);
    key(&mut app, Action::Open);
    assert!(matches!(app.top(), Some(Layer::Signal(_))));
    key(&mut app, Action::Back);
    key(&mut app, Action::Faults);
    assert_eq!(shown(&app).len(), 1);
    key(&mut app, Action::Back);
    key(&mut app, Action::Filter);
    typed(&mut app, "item:eth");
    key(&mut app, Action::Open);
    assert_eq!(shown(&app).len(), 2);
}

#[test]
fn a_held_screen_keeps_its_numbers_and_can_be_read() {
    let mut app = counting();
    feed(&mut app, [tunnel("b", moved(&[(0, 4)]))]);
    key(&mut app, Action::Signals);
    key(&mut app, Action::Pause);
    feed(&mut app, [tunnel("b", moved(&[(0, 4)]))]);
    tick(&mut app, 1);
    assert_eq!(app.picture().signals.rows[0].all.amount, 4);
    key(&mut app, Action::Open);
    assert!(matches!(app.picture().top(), Some(Layer::Signal(_))), "it is looked into");
    assert_eq!(key(&mut app, Action::Quit), [], "that closes it and leaves nothing");
    assert!(app.is_paused() && app.picture().layers.is_empty());
    update(&mut app, Input::Key(Action::Pause), NOW + 1000);
    assert_eq!((app.screen.clone(), app.signals.rows[0].all.amount), (Screen::Signals, 8));
}

#[test]
fn a_node_that_goes_takes_its_column_with_it() {
    let mut app = counting();
    key(&mut app, Action::Signals);
    for _ in 0..5 {
        key(&mut app, Action::Right);
    }
    assert_eq!(app.signals.first_column, 2);
    let nodes = vec![node("a", "1a", Readiness::Ready)];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    tick(&mut app, 1);
    assert!(app.signals.first_column < app.signals.nodes.len());
}
