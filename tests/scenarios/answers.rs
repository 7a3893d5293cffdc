//! Answers: the key that watches and then shows them, what a row tells and does, silence, the pair that is asked about, and
//! what is said where nothing was found.

use nodewatch_answers::Code;
use nodewatch_protocol::{CaptureFile, FileState, Symptom, WatchSpec};
use nodewatch_tui::{
    model::{FetchProgress, PodPlace, ServicePlaces, Workloads},
    screens::{Column, Input, Pointed, answers::AnswerRow, cursor::RowKey},
};
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::sample::{on, pair, symptoms, unanswered};

fn drawn(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, app.picture(), &theme))).expect("drawn");
    terminal.backend().to_string()
}

fn tick(app: &mut App, after: u64) {
    update(app, Event::Tick, NOW + after);
}

fn told(symptoms: nodewatch_protocol::Symptoms) -> Update {
    Update::Symptoms(Box::new(symptoms))
}

/// Nodes a, b and c are live, a is watched, and a pod on it does not take every connection.
fn found() -> App {
    let mut app = live();
    feed(&mut app, [tunnel("a", on()), tunnel("a", told(unanswered(6)))]);
    tick(&mut app, 4_000);
    app.session.notices.clear();
    key(&mut app, Action::Command);
    typed(&mut app, "answers");
    key(&mut app, Action::Open);
    assert_eq!(app.screen, Screen::Answers);
    app
}

fn command(app: &mut App, text: &str) {
    key(app, Action::Command);
    typed(app, text);
    key(app, Action::Open);
}

fn titles(app: &App) -> Vec<String> {
    let title = |row: &AnswerRow<'_>| match row {
        AnswerRow::Answer(answer, _) => Some(answer.title()),
        AnswerRow::Silenced(code, _) => Some(format!("{} silenced", code.text())),
        AnswerRow::Part { .. } => None,
    };
    app.answer_rows().iter().filter_map(title).collect()
}

fn last_notice(app: &App) -> String {
    app.session.notices.back().map(|(_, notice)| notice.line()).unwrap_or_default()
}

#[test]
fn the_key_watches_what_is_not_watched_and_then_shows_answers() {
    let mut app = live();
    feed(&mut app, [tunnel("a", Update::Watch(nodewatch_protocol::WatchState::Off))]);
    app.list.cursor = Some("a".into());
    let watch = Effect::Ask("a".into(), Request::Watch(Some(WatchSpec::default())));
    assert_eq!(key(&mut app, Action::Answers), [watch]);
    assert_eq!(app.screen, Screen::Nodes, "others may be meant too");
    feed(&mut app, [tunnel("a", on())]);
    assert_eq!(key(&mut app, Action::Answers), []);
    assert_eq!(app.screen, Screen::Answers);
    key(&mut app, Action::Back);
    assert_eq!(key(&mut app, Action::Watch), [Effect::Ask("a".into(), Request::Watch(None))]);
    // From where no node is chosen it shows them at once.
    let mut app = live();
    for action in [Action::Events, Action::Answers] {
        assert_eq!(key(&mut app, action), []);
    }
    assert_eq!(app.screen, Screen::Answers);
    let shown = drawn(&app, 80, 24);
    assert!(shown.contains("no node is watched: Esc, then a watches"), "{shown}");
}

#[test]
fn an_answer_says_all_of_it_where_it_is_and_in_every_header() {
    let mut app = found();
    assert_eq!(titles(&app), ["N-11 accept queue full"]);
    assert_eq!(app.session.answers.count(), 1);
    let shown = drawn(&app, 120, 24);
    assert!(shown.contains("! 1 answer ") && shown.contains("VERDICT"), "{shown}");
    assert!(shown.contains("6 of 131") && shown.contains("10.0.1.55:8080"), "{shown}");
    let opened = key(&mut app, Action::Open);
    assert_eq!(opened, []);
    let shown = drawn(&app, 120, 40);
    for part in ["were not accepted in time", "proof", "10.0.2.9:41000", "ruled out", "not seen", " do ", " then "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // The first thing to do is copied, and of what is to be done then what the cursor is on.
    let copied = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Copy(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    assert!(copied(key(&mut app, Action::Copy)).starts_with("ss -ltn 'sport = :8080'"));
    key(&mut app, Action::Bottom);
    assert!(copied(key(&mut app, Action::Copy)).starts_with("raise the backlog"));
    // It closes from wherever the cursor is in it.
    key(&mut app, Action::Open);
    assert_eq!(app.answer_rows().len(), 1);
    for action in [Action::Files, Action::Events, Action::Signals] {
        key(&mut app, action);
        assert!(drawn(&app, 80, 24).contains("! 1 answer "), "{action:?}");
    }
}

#[test]
fn an_answer_is_an_event_of_each_node_that_it_names_once() {
    let mut app = found();
    tick(&mut app, 6_000);
    let events = |app: &App, node: &str| {
        let events = app.session.nodes[&node.into()].log.told.events.iter();
        events.filter(|event| event.text.starts_with("N-11 accept queue full: ")).count()
    };
    assert_eq!((events(&app, "a"), events(&app, "b")), (1, 0));
}

#[test]
fn a_silenced_code_is_a_line_until_the_same_key() {
    let mut app = found();
    assert_eq!(key(&mut app, Action::Silence), []);
    assert_eq!((titles(&app), app.session.answers.count()), (vec!["N-11 silenced".to_owned()], 0));
    assert!(last_notice(&app).starts_with("N-11 accept queue full is silenced"), "{}", last_notice(&app));
    let shown = drawn(&app, 80, 24);
    assert!(shown.contains("N-11 accept queue full silenced, 1 answer of it now: s shows it"), "{shown}");
    assert!(!shown.contains("! 1 answer"), "{shown}");
    assert!(shown.contains("no answer is shown: 1 answer silenced (N-11)") && !shown.contains("no cause"), "{shown}");
    assert!(app.session.answers.silenced().contains(&Code::AcceptQueue));
    assert_eq!(app.row_under_cursor(), app.answer_rows().last().map(|row| RowKey::Answer(row.key())));
    // Once it is over too: a report is mostly written then.
    let mut later = app.clone();
    tick(&mut later, 80_000);
    let report = nodewatch_tui::handover::markdown(&later.session.summary());
    assert!(report.contains("No answer is told here: 1 answer silenced (N-11)"), "{report}");
    key(&mut app, Action::Silence);
    assert_eq!((titles(&app), app.session.answers.count()), (vec!["N-11 accept queue full".to_owned()], 1));
}

#[test]
fn what_is_over_stays_with_its_times_and_the_badge_goes() {
    let mut app = found();
    tick(&mut app, 80_000);
    assert_eq!(app.session.answers.count(), 0);
    let shown = drawn(&app, 120, 30);
    assert!(shown.contains("was 22:13-22:13") && !shown.contains("! 1 answer"), "{shown}");
    assert!(drawn(&app, 80, 24).contains("over     N-11"), "{}", drawn(&app, 80, 24));
    key(&mut app, Action::Faults);
    assert!(titles(&app).is_empty());
    key(&mut app, Action::Back);
    assert_eq!(titles(&app).len(), 1);
}

#[test]
fn nothing_found_says_where_was_looked_and_what_could_not_be_seen() {
    let mut app = live();
    let well = symptoms("eth0", vec![pair("10.0.0.1", "10.0.0.2", 80, &[])]);
    feed(&mut app, [tunnel("a", on()), tunnel("a", told(well))]);
    tick(&mut app, 4_000);
    command(&mut app, "answers");
    let shown = drawn(&app, 120, 30);
    for part in [
        "nothing failed among 12 attempts of 2 interfaces",
        "2 nodes without a watch: b, c",
        "nothing is heard of",
        "arms a flight recorder; F saves",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Failures without a cause are no answer, and said.
    let failing = symptoms("eth0", vec![pair("10.0.0.1", "10.0.0.2", 80, &[(Symptom::Refused, 3)])]);
    feed(&mut app, [tunnel("a", told(failing))]);
    tick(&mut app, 6_000);
    let shown = drawn(&app, 120, 30);
    assert!(shown.contains("no cause found: 3 failed"), "{shown}");
}

#[test]
fn its_packets_are_opened_or_the_way_to_them_is_told() {
    let mut app = found();
    assert_eq!(key(&mut app, Action::Follow), []);
    assert!(last_notice(&app).starts_with("its packets were not kept"), "{}", last_notice(&app));
    // The node has a file of that time, which is not here; then it is.
    let name = "20231114T221320.000000Z-0001.pcapng";
    feed(&mut app, [tunnel("a", Update::Files(vec![file(name, 900, FileState::Closed)]))]);
    assert_eq!(key(&mut app, Action::Follow), []);
    assert!(last_notice(&app).contains(&format!("a/{name}")), "{}", last_notice(&app));
    let done = FetchProgress::Done { path: "here.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), name.into(), done)]);
    let effects = key(&mut app, Action::Follow);
    let [Effect::ViewOf { file: shown, filter }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(shown.to_str(), Some("here.pcapng"));
    assert!(filter.starts_with("(ip.addr == 10.0.2.9 and ip.addr == 10.0.1.55 and tcp.port in {41000, "), "{filter}");
    assert_eq!(filter.matches("410").count(), 6, "all that it has hurt, and not its proof alone: {filter}");
    // A file of another time has none of them.
    let mut app = found();
    let later = CaptureFile { started: NOW + 600_000, ended: NOW + 700_000, ..file(name, 900, FileState::Closed) };
    feed(&mut app, [tunnel("a", Update::Files(vec![later]))]);
    key(&mut app, Action::Follow);
    assert!(last_notice(&app).starts_with("its packets were not kept"), "{}", last_notice(&app));
    // What runs now is followed.
    feed(&mut app, [tunnel("a", running())]);
    assert_eq!(key(&mut app, Action::Follow), [Effect::Follow(vec!["a".into()])]);
}

#[test]
fn filter_order_table_and_mouse_are_those_of_other_screens() {
    let mut app = found();
    command(&mut app, "filter certainty:likely");
    assert!(titles(&app).is_empty());
    assert!(drawn(&app, 100, 24).contains("no answer that stands matches: Esc shows all"));
    key(&mut app, Action::Back);
    for (filter, shown) in [("node:a", 1), ("node:b", 0)] {
        command(&mut app, &format!("filter {filter}"));
        assert_eq!(titles(&app).len(), shown, "{filter}: where it was seen");
        key(&mut app, Action::Back);
    }
    command(&mut app, "filter code:n-11");
    assert_eq!(titles(&app).len(), 1);
    key(&mut app, Action::Sort(Column::Drops));
    assert!(drawn(&app, 100, 24).contains("by drops"));
    let table = app.table();
    assert_eq!((table.name, table.rows.len()), ("answers", 1));
    assert_eq!(table.rows[0][..2], ["verdict", "N-11"]);
    key(&mut app, Action::Open);
    let row = app.answer_rows()[2].key();
    feed(&mut app, [Input::Pointed(Pointed::Row(RowKey::Answer(row.clone())))]);
    assert_eq!(app.row_under_cursor(), Some(RowKey::Answer(row)));
    assert_eq!(app.targets(), ["a".into()], "keys for nodes are about the node that has seen it");
}

#[test]
fn a_node_whose_clock_is_set_back_has_not_failed_an_hour_ago() {
    const HOUR: u64 = 3_600_000;
    let mut app = live();
    feed(&mut app, [tunnel("a", on()), tunnel("a", told(symptoms("eth0", Vec::new())))]);
    let mut later = unanswered(6);
    later.at -= HOUR;
    for case in &mut later.cases {
        case.began -= HOUR as i64 * 1_000_000;
        case.at = case.began;
    }
    feed(&mut app, [tunnel("a", told(later))]);
    tick(&mut app, 4_000);
    let answer = app.session.answers.current().next().expect("an answer");
    assert!(answer.since + 1_000 >= NOW, "{} ms ago", NOW - answer.since);
}

#[test]
fn why_narrows_answers_and_connections_to_a_pair() {
    let mut app = found();
    let pod = |name: &str, address: &str| PodPlace {
        name: name.into(),
        node: "a".into(),
        addresses: vec![address.parse().expect("an address")],
        phase: "Running".into(),
        restarts: None,
        host_network: false,
    };
    let service =
        ServicePlaces { addresses: vec!["10.96.0.7".parse().expect("an address")], nodes: ["a".into()].into() };
    // Names are looked up as soon as a pair is being typed.
    key(&mut app, Action::Command);
    let effects: Vec<Effect> =
        "why x".chars().flat_map(|letter| key(&mut app, Action::Edit(Edit::Insert(letter)))).collect();
    assert_eq!(effects, [Effect::FindWorkloads]);
    key(&mut app, Action::Back);
    let pods = vec![pod("shop/web-1", "10.0.2.9"), pod("shop/api-1", "10.0.1.55"), pod("shop/cart-1", "10.0.9.9")];
    let services = [("shop/api".to_owned(), service)].into();
    feed(&mut app, [Event::Workloads(Workloads { pods, services, gaps: vec![] })]);
    command(&mut app, "why shop/web-1 shop/api-1:8080");
    assert_eq!((titles(&app).len(), app.screen.clone()), (1, Screen::Answers));
    assert!(drawn(&app, 100, 24).contains("why: shop/web-1 to shop/api-1:8080"));
    key(&mut app, Action::Connections);
    assert_eq!(app.connections.rows.len(), 1);
    command(&mut app, "why 10.0.2.9 shop/cart-1");
    assert_eq!(app.connections.rows.len(), 0);
    key(&mut app, Action::Answers);
    assert!(titles(&app).is_empty());
    key(&mut app, Action::Back);
    assert_eq!((titles(&app).len(), app.answers.why.is_none()), (1, true));
    command(&mut app, "why web-1 10.0.1.55:9090");
    assert!(titles(&app).is_empty(), "another port");
    let shown = drawn(&app, 100, 24);
    assert!(shown.contains("no connection and no question to DNS of web-1 to 10.0.1.55:9090 was seen"), "{shown}");
    let other = symptoms("eth0", vec![pair("10.0.2.9", "10.0.9.9", 80, &[(Symptom::Refused, 1)])]);
    feed(&mut app, [tunnel("a", told(other))]);
    command(&mut app, "why 10.0.2.9 10.0.9.9:80");
    let shown = drawn(&app, 100, 24);
    assert!(shown.contains("eth0 of a: 12 attempts, 11 answered, 1 failed, 0 delayed"), "{shown}");
    command(&mut app, "why");
    assert_eq!(titles(&app).len(), 1);
    command(&mut app, "why shop/web-1 shop/apu-1");
    let shown = drawn(&app, 160, 24);
    assert!(shown.contains("unknown name \"shop/apu-1\": did you mean shop/api-1"), "{shown}");
    assert!(app.answers.why.is_none());
}

#[test]
fn a_code_is_explained_in_the_program() {
    let mut app = found();
    command(&mut app, "explain");
    let shown = drawn(&app, 120, 40);
    assert!(shown.contains("N-11 accept queue full") && shown.contains("What it means"), "{shown}");
    key(&mut app, Action::Back);
    command(&mut app, "explain n-5");
    assert!(drawn(&app, 120, 40).contains("N-05 idle connection cut"));
    key(&mut app, Action::Back);
    command(&mut app, "explain N-99");
    assert!(drawn(&app, 120, 40).contains("no cause has the code"));
    for (width, height) in [(1, 1), (7, 3), (80, 24)] {
        app.layers.clear();
        command(&mut app, "explain 1");
        drawn(&app, width, height);
    }
}

#[test]
fn nothing_foreign_reaches_the_terminal_raw() {
    let mut app = live();
    let mut hostile = unanswered(6);
    hostile.interfaces[1].name = "ev\u{1b}[2Jil\u{202e}".into();
    feed(&mut app, [tunnel("a", on()), tunnel("a", told(hostile))]);
    tick(&mut app, 4_000);
    command(&mut app, "answers");
    key(&mut app, Action::Open);
    for (width, height) in [(1, 1), (20, 6), (80, 24), (200, 60)] {
        let shown = drawn(&app, width, height);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
    assert!(drawn(&app, 200, 60).contains("ev\\u{1b}[2Jil"));
    let summary = app.session.summary();
    for report in [nodewatch_tui::handover::markdown(&summary), nodewatch_tui::handover::html(&summary)] {
        assert!(!report.contains(['\u{1b}', '\u{202e}']) && report.contains("Why connections fail"));
    }
}

#[test]
fn the_report_has_answers_and_says_where_there_are_none() {
    let app = found();
    let summary = app.session.summary();
    let again: nodewatch_tui::model::Summary =
        serde_json::from_str(&serde_json::to_string(&summary).expect("JSON")).expect("a summary");
    assert_eq!(again, summary);
    let text = nodewatch_tui::handover::markdown(&summary);
    for part in ["## Why connections fail", "### VERDICT N-11 accept queue full", "10.0.2.9:41000", "    ss -ltn"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(nodewatch_tui::handover::html(&summary).contains("VERDICT N-11 accept queue full"));
    // Whoever takes the session up has it as over.
    let joined = summary.answers.clone().joined(nodewatch_tui::model::AnswersSummary::default());
    assert_eq!((joined.standing.len(), joined.over.len()), (0, 1));
    assert_eq!(joined.over[0].until, Some(joined.over[0].last));
    let nothing = nodewatch_tui::handover::markdown(&live().session.summary());
    assert!(nothing.contains("Not looked at: no packets were watched."), "{nothing}");
}
