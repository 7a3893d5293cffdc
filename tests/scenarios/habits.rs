//! What people who know k9s and vim expect without asking: sorting, commands, back and forward, tables taken away.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use nodewatch_tui::{
    config::keymap::Keymap,
    model::{ContextRow, NodeName, NodesChange, Notice, PortClass, Readiness},
    screens::{
        Action, App, Column, Edit, Input, Layer, Pointed, Screen, View, command::CommandLine, cursor::RowKey,
        filter_line::FilterLine,
    },
    session::{Effect, Event, Next, exit::Phase},
};

use super::{
    key, live, phase,
    sample::{NOW, app, busy, delivering, feed, node, reporting},
    typed,
};

fn command(app: &mut App, text: &str) -> Vec<Effect> {
    key(app, Action::Command);
    typed(app, text);
    key(app, Action::Open)
}

fn error(app: &App) -> String {
    match app.top() {
        Some(Layer::Command(CommandLine { error, .. }) | Layer::Filter(FilterLine { error, .. })) => {
            error.clone().unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn names(app: &App) -> Vec<String> {
    app.shown().map(|state| state.node.name.0.clone()).collect()
}

fn zones() -> App {
    let mut app = app();
    let nodes = vec![
        node("a", "1c", Readiness::Ready),
        node("b", "1a", Readiness::NotReady),
        node("c", "1b", Readiness::Ready),
        node("d", "1a", Readiness::Ready),
    ];
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app
}

#[test]
fn rows_are_sorted_and_the_same_key_turns_them_around() {
    let mut app = zones();
    key(&mut app, Action::Sort(Column::Zone));
    assert_eq!(names(&app), ["b", "d", "c", "a"]);
    // The cursor stays on its node, and moves in the order that is seen.
    assert_eq!(app.list.cursor, Some("a".into()));
    key(&mut app, Action::Up);
    assert_eq!(app.list.cursor, Some("c".into()));
    key(&mut app, Action::Sort(Column::Zone));
    assert_eq!(names(&app), ["a", "c", "b", "d"], "equal ones stay by name");
    // A range is what lies between on the screen.
    key(&mut app, Action::Top);
    for action in [Action::Mark, Action::Down, Action::MarkRange] {
        key(&mut app, action);
    }
    assert_eq!(app.targets(), ["a", "b", "c"].map(NodeName::from));
    command(&mut app, "sort name");
    assert_eq!(names(&app), ["a", "b", "c", "d"]);
    command(&mut app, "sort colour");
    assert!(error(&app).contains("unknown column \"colour\"; available: name status"), "{}", error(&app));
}

#[test]
fn faults_only_shows_what_is_wrong_and_escape_shows_all_again() {
    let mut app = zones();
    key(&mut app, Action::Faults);
    assert_eq!(names(&app), ["b"]);
    assert_eq!(app.list.cursor, Some("b".into()), "the cursor is on a row that is there");
    key(&mut app, Action::Back);
    assert_eq!(names(&app).len(), 4);

    // On the other screens too, Esc shows all again before it leads back.
    for (open, screen) in
        [(Action::Files, Screen::Files), (Action::Ports, Screen::Ports), (Action::Events, Screen::Events)]
    {
        let mut app = reporting();
        for action in [open, Action::Faults, Action::Back] {
            key(&mut app, action);
        }
        assert!(app.screen == screen && !app.layout.faults_only, "{open:?}");
    }

    let mut app = reporting();
    key(&mut app, Action::Ports);
    let all = app.ports.rows.len();
    key(&mut app, Action::Faults);
    assert!(!app.ports.rows.is_empty() && app.ports.rows.len() < all);
    assert!(app.ports.rows.iter().all(|row| app.ports.listed(*row).expect("listed").1.is_fault()));
}

#[test]
fn ports_are_sorted_by_number_class_and_node() {
    let mut app = reporting();
    key(&mut app, Action::Ports);
    let numbers = |app: &App| -> Vec<u16> {
        app.ports.rows.iter().map(|row| app.ports.listed(*row).expect("listed").1.port.local.port()).collect()
    };
    key(&mut app, Action::Sort(Column::Ports));
    assert!(numbers(&app).is_sorted_by(|a, b| a >= b), "{:?}", numbers(&app));
    key(&mut app, Action::Sort(Column::Ports));
    assert!(numbers(&app).is_sorted(), "{:?}", numbers(&app));
    key(&mut app, Action::Sort(Column::Class));
    let mut classes: Vec<_> =
        app.ports.rows.iter().map(|row| app.ports.listed(*row).expect("listed").1.class).collect();
    classes.dedup();
    assert_eq!(classes, [PortClass::Dead, PortClass::Unexpected, PortClass::ByRules, PortClass::Expected]);
}

#[test]
fn back_and_forward_go_where_the_user_has_been() {
    let mut app = busy();
    key(&mut app, Action::Open);
    key(&mut app, Action::NextView);
    key(&mut app, Action::Files);
    key(&mut app, Action::Events);
    assert_eq!(app.screen, Screen::Events);
    key(&mut app, Action::GoBack);
    assert_eq!(app.screen, Screen::Files);
    key(&mut app, Action::GoBack);
    assert!(matches!(app.screen, Screen::Node(_)) && app.view == View::Capture);
    key(&mut app, Action::GoForward);
    assert_eq!(app.screen, Screen::Files);
    // A new way ends the old one.
    key(&mut app, Action::Ports);
    key(&mut app, Action::GoForward);
    assert_eq!(app.screen, Screen::Ports);
    for _ in 0..10 {
        key(&mut app, Action::GoBack);
    }
    assert_eq!(app.screen, Screen::Nodes, "where it began");
    // A node that has left the cluster is not gone back to.
    let mut app = zones();
    for action in [Action::Open, Action::Files] {
        key(&mut app, action);
    }
    feed(&mut app, [Event::Nodes(NodesChange::Gone("a".into()))]);
    key(&mut app, Action::GoBack);
    assert_eq!(app.screen, Screen::Nodes);
}

#[test]
fn every_command_goes_where_it_says() {
    for (text, screen) in [
        ("ports", Screen::Ports),
        ("po", Screen::Ports),
        ("captures", Screen::Files),
        ("files", Screen::Files),
        ("events", Screen::Events),
        ("nodes", Screen::Nodes),
    ] {
        let mut app = busy();
        command(&mut app, text);
        assert!(app.screen == screen && app.layers.is_empty(), "{text}: {:?}", app.screen);
    }
    let mut app = busy();
    assert_eq!(command(&mut app, "sessions"), [Effect::FindSessions]);
    assert_eq!(command(&mut app, "ctx"), [Effect::FindContexts]);
    command(&mut app, "help");
    assert!(matches!(app.top(), Some(Layer::Help(_))));
    key(&mut app, Action::Back);
    command(&mut app, "q");
    assert_eq!(phase(&app), Some(Phase::Asking));
}

#[test]
fn commands_are_completed_brought_back_and_refused_by_name() {
    let mut app = busy();
    let text = |app: &App| match app.top() {
        Some(Layer::Command(CommandLine { input, .. })) => input.value().to_owned(),
        _ => "nothing".to_owned(),
    };
    key(&mut app, Action::Command);
    typed(&mut app, "se");
    key(&mut app, Action::NextView);
    assert_eq!(text(&app), "sessions");
    assert_eq!(app.command_hint(), "sessions");
    key(&mut app, Action::Edit(Edit::Clear));
    // What two could be meant by is completed as far as both go.
    typed(&mut app, "f");
    key(&mut app, Action::NextView);
    assert_eq!((text(&app).as_str(), app.command_hint().as_str()), ("f", "files flows filter freeze"));
    key(&mut app, Action::Edit(Edit::Clear));
    typed(&mut app, "sort zo");
    key(&mut app, Action::NextView);
    assert_eq!(text(&app), "sort zone");
    key(&mut app, Action::Open);
    // A filter's fields are those of the screen.
    for (screen, begun, whole) in [
        ("nodes", "zo", "zone:"),
        ("connections", "sy", "symptom:"),
        ("ports", "ow", "owner:"),
        ("pods", "ph", "phase:"),
        ("signals", "un", "unit:"),
    ] {
        command(&mut app, screen);
        key(&mut app, Action::Command);
        typed(&mut app, &format!("filter {begun}"));
        key(&mut app, Action::NextView);
        assert_eq!(text(&app), format!("filter {whole}"));
        key(&mut app, Action::Back);
    }
    let mut app = busy();
    command(&mut app, "sort zone");
    command(&mut app, "events");
    command(&mut app, "nodes");
    key(&mut app, Action::Command);
    for (action, wanted) in [
        (Action::Up, "nodes"),
        (Action::Up, "events"),
        (Action::Up, "sort zone"),
        (Action::Up, "sort zone"),
        (Action::Down, "events"),
        (Action::Down, "nodes"),
        (Action::Down, ""),
    ] {
        key(&mut app, action);
        assert_eq!(text(&app), wanted);
    }
    key(&mut app, Action::Back);
    for (wrong, told) in [
        ("prots", "unknown command \"prots\"; available: nodes ports"),
        ("ports 22", "ports takes no argument, got \"22\""),
        ("probe node-1:8090", "in a shell: nodewatch-tui probe node-1:8090 --from NODE"),
        ("ns A_B", "invalid namespace \"A_B\""),
        ("filter (", "invalid regular expression \"(\""),
        ("budget soon", "invalid duration \"soon\""),
    ] {
        assert_eq!(command(&mut app, wrong), []);
        assert!(error(&app).contains(told), "{wrong}: {}", error(&app));
        key(&mut app, Action::Back);
        assert!(app.layers.is_empty());
    }
}

#[test]
fn every_screen_has_a_filter_whose_mistakes_are_told_while_typing() {
    for screen in [Action::Files, Action::Ports, Action::Events, Action::Back] {
        let mut app = delivering();
        key(&mut app, screen);
        key(&mut app, Action::Filter);
        typed(&mut app, "ip-10");
        assert_eq!(app.filter_text(), "ip-10", "{screen:?} is filtered while typing");
        typed(&mut app, "(");
        assert!(error(&app).contains("invalid regular expression"), "{screen:?}");
        assert_eq!(app.filter_text(), "ip-10", "what could be read stays in force");
        key(&mut app, Action::Open);
        assert!(!app.layers.is_empty(), "a filter with a mistake is not taken");
        key(&mut app, Action::Back);
        assert_eq!(app.filter_text(), "", "as it was before");
    }
    let mut app = delivering();
    key(&mut app, Action::Files);
    let all = app.file_rows().len();
    command(&mut app, "filter place:S3");
    assert!(!app.file_rows().is_empty() && app.file_rows().len() < all);
    assert!(app.file_rows().iter().all(|row| row.place().word() == "in S3"));
    key(&mut app, Action::Back);
    assert_eq!((app.file_rows().len(), app.screen.clone()), (all, Screen::Files));
}

#[test]
fn tables_are_saved_and_rows_copied() {
    let mut app = busy();
    let saved = command(&mut app, "save nodes.json");
    let [Effect::Save { name, contents, rows: 5 }] = &saved[..] else { panic!("{saved:?}") };
    let first: serde_json::Value = serde_json::from_str(contents.lines().next().expect("a line")).expect("JSON");
    assert_eq!(name, "nodes.json");
    assert_eq!((&first["status"], contents.lines().count()), (&"Ready".into(), 5));
    for name in ["save nodes.xml", "save nodes"] {
        assert_eq!(command(&mut app, name), [], "{name}");
        let told = app.latest_notice().expect("a notice").line();
        assert!(told.contains("ends in neither .csv nor .json (name it FILE.csv or FILE.json)"), "{told}");
    }
    let saved = key(&mut app, Action::Save);
    assert!(matches!(&saved[..], [Effect::Save { name, contents, .. }]
        if name.starts_with("nodes-") && name.contains(".csv") && contents.starts_with("node,status,zone")));
    assert_eq!(key(&mut app, Action::Copy), [Effect::Copy("ip-10-0-1-12.eu-west-1.compute.internal".into())]);
    let mut app = reporting();
    key(&mut app, Action::Ports);
    assert!(matches!(&key(&mut app, Action::Copy)[..], [Effect::Copy(text)] if text.ends_with("22/tcp")));
    key(&mut app, Action::Events);
    assert!(matches!(&key(&mut app, Action::Copy)[..], [Effect::Copy(text)] if text.contains("ip-10-0")));
    // Nothing is saved of nothing.
    let mut empty = super::sample::app();
    assert_eq!(key(&mut empty, Action::Save), []);
}

#[test]
fn another_context_waits_for_the_guided_exit() {
    let row = |name: &str| ContextRow { name: name.into(), cluster: "c".into(), user: "u".into(), current: false };
    let found = || Event::Contexts(Ok(vec![row("prod-eu"), row("staging")]));
    let mut app = app();
    feed(&mut app, [found()]);
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Open), [Effect::Quit]);
    assert_eq!(app.session.next, Some(Next::Context("staging".into())));

    let mut app = live();
    feed(&mut app, [found()]);
    key(&mut app, Action::Back);
    assert_eq!(command(&mut app, "ctx nowhere"), []);
    assert!(error(&app).contains("no context \"nowhere\"; available: prod-eu staging"));
    key(&mut app, Action::Back);
    let effects = command(&mut app, "ctx staging");
    assert!(!effects.contains(&Effect::Quit) && phase(&app) == Some(Phase::Asking), "{effects:?}");
    // Whoever stays, stays.
    key(&mut app, Action::Back);
    assert_eq!((app.session.next.clone(), app.layers.is_empty()), (None, true));
    assert_eq!(command(&mut app, "ctx prod-eu"), [], "it is there already");
    assert_eq!(app.session.next, None);
    assert!(command(&mut app, "ns tools").contains(&Effect::TakeStock));
    assert_eq!(app.session.next, Some(Next::Namespace(Some("tools".into()))));
    feed(&mut app, [Event::Finish]);
    assert_eq!(app.session.next, None, "a signal ends the program");
}

#[test]
fn the_mouse_selects_and_picks_a_part_of_the_chart() {
    let mut app = busy();
    let third = RowKey::Node(names(&app)[2].as_str().into());
    feed(&mut app, [Input::Pointed(Pointed::Row(third)), Input::Pointed(Pointed::Tab(1))]);
    assert!(
        app.list.cursor.as_ref().is_some_and(|name| name.0.starts_with("ip-10-0-2-7")) && app.view == View::Capture
    );
    // What was drawn may have changed since.
    feed(&mut app, [Input::Pointed(Pointed::Row(RowKey::Node("gone".into()))), Input::Pointed(Pointed::Tab(99))]);
    key(&mut app, Action::Open);
    feed(&mut app, [Input::Pointed(Pointed::Window(NOW - 5_000, NOW - 20_000))]);
    assert_eq!(app.layout.window, Some((NOW - 20_000, NOW - 5_000)));
    key(&mut app, Action::Back);
    assert!(app.layout.window.is_none() && matches!(app.screen, Screen::Node(_)), "Esc shows all of it first");
}

#[test]
fn a_report_is_written_by_key_and_at_the_end_by_choice() {
    let mut app = live();
    let effects = key(&mut app, Action::Report);
    let [Effect::WriteReport(summary)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((summary.nodes.len(), summary.receipt.len()), (3, 0));
    assert!(summary.timeline.iter().any(|moment| moment.text.contains("the agent is live")));
    key(&mut app, Action::Quit);
    assert!(app.choices.report_at_end, "nobody writes it afterwards");
    key(&mut app, Action::Report);
    assert!(!app.choices.report_at_end);
    key(&mut app, Action::Report);
    assert!(app.choices.report_at_end);
}

/// Each dialog opens by keys as they are pressed, and Esc leads back to where it was opened.
#[test]
fn every_dialog_is_reached_and_left_by_keys() {
    let keymap = Keymap::default();
    let press = |app: &mut App, keys: &str| {
        for character in keys.chars() {
            let event = match character {
                '\u{1b}' => KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE),
                '\u{1}' => KeyEvent::new(KeyCode::Char('a'), KeyModifiers::CONTROL),
                '\u{4}' => KeyEvent::new(KeyCode::Char('d'), KeyModifiers::CONTROL),
                other => KeyEvent::new(KeyCode::Char(other), KeyModifiers::NONE),
            };
            let action = keymap.action(event, app.scope()).unwrap_or_else(|| panic!("{character:?} means nothing"));
            key(app, action);
        }
    };
    for (keys, dialog) in [
        ("?", "Help"),
        ("n", "Notices"),
        ("/", "Filter("),
        (":", "Command"),
        ("C", "Form"),
        ("\u{1}d", "Confirm(Deploy"),
        ("f\u{4}", "Confirm(RemoveFiles"),
        ("b", "Typed"),
        ("q", "Exit"),
    ] {
        let mut app = busy();
        if dialog.starts_with("Confirm") {
            key(&mut app, Action::ClearMarks);
        }
        press(&mut app, keys);
        let opened = format!("{:?}", app.top());
        assert!(opened.contains(dialog), "{keys:?} opened {opened}");
        press(&mut app, "\u{1b}");
        assert!(app.layers.is_empty(), "{dialog} is not left by Esc: {:?}", app.top());
    }
    let found = Event::Contexts(Ok(vec![ContextRow {
        name: "a".into(),
        cluster: "c".into(),
        user: "u".into(),
        current: true,
    }]));
    let mut app = busy();
    assert_eq!(key(&mut app, Action::Contexts), [Effect::FindContexts]);
    feed(&mut app, [found]);
    assert!(matches!(app.top(), Some(Layer::Contexts(_))));
    press(&mut app, "\u{1b}");
    assert!(app.layers.is_empty());
    feed(&mut app, [Event::Contexts(Err(Notice::error("no kubeconfig", "", "")))]);
    assert!(app.layers.is_empty() && app.latest_notice().is_some());
}
