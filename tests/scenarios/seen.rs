//! Keys are about what the screen shows: the row under the cursor, the picture while it is held still, marks that can be
//! seen; what goes for good is named first, and the program does not end over what is under way.

use nodewatch_protocol::{CaptureFile, CaptureSpec, FileState, Request, Update};
use nodewatch_tui::{
    model::{
        FetchProgress, Held, Holder, NodeName, NodesChange, Notice, Readiness, Removal, SeenObject, SessionId,
        SessionSummary,
    },
    screens::{Action, App, Confirm, Input, Layer, Pointed, Screen, View, cursor::RowKey, update},
    session::{
        Effect, Event, Job,
        exit::{LEAVE_WITHIN, Phase},
    },
};

use super::{
    job, key, live, phase, running,
    sample::{NOW, app, feed, file, node, tunnel},
    typed,
};

fn nodes() -> App {
    let mut app = app();
    let nodes = ["a", "b", "c"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    feed(&mut app, [Event::Nodes(NodesChange::Replaced(nodes))]);
    app
}

fn ring(app: &mut App, node: &str, numbers: std::ops::Range<u64>) {
    let name = |number| format!("20231114T221320.000000Z-{number:04}.pcapng");
    let files: Vec<CaptureFile> = numbers.map(|number| file(&name(number), 900, FileState::Closed)).collect();
    feed(app, [tunnel(node, Update::Files(files))]);
}

fn question(app: &App) -> Option<&Confirm> {
    match app.top() {
        Some(Layer::Confirm(question)) => Some(question),
        _ => None,
    }
}

fn told(app: &App) -> String {
    app.session.notices.back().map(|(_, notice)| notice.line()).unwrap_or_default()
}

fn screen(app: &App) -> String {
    use ratatui::{Terminal, backend::TestBackend};
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, app.picture(), &theme))).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn the_cursor_stays_on_its_file_and_the_question_names_it() {
    let mut app = live();
    ring(&mut app, "a", 1..3);
    ring(&mut app, "b", 1..4);
    for action in [Action::Files, Action::Bottom] {
        key(&mut app, action);
    }
    ring(&mut app, "a", 1..9);
    feed(&mut app, [Event::Tick]);
    key(&mut app, Action::Remove);
    let Some(Confirm::RemoveFiles { on_nodes, lost, .. }) = question(&app) else { panic!("{:?}", app.top()) };
    assert_eq!(on_nodes[..], [(NodeName::from("b"), "20231114T221320.000000Z-0003.pcapng".to_owned())]);
    assert_eq!(lost.len(), 1);
    let drawn = screen(&app);
    assert!(drawn.contains("b/20231114T221320.000000Z-0003.pcapng") && drawn.contains("no other copy"), "{drawn}");
    let remove = Request::RemoveFile { file: "20231114T221320.000000Z-0003.pcapng".into() };
    assert_eq!(key(&mut app, Action::Open), [Effect::Ask("b".into(), remove)]);

    // Its row has gone: the next one takes its place, and nothing else happens.
    ring(&mut app, "b", 1..3);
    feed(&mut app, [Event::Tick]);
    let Some(RowKey::File(row)) = app.row_under_cursor() else { panic!("a row") };
    assert_eq!((row.node.as_str(), &row.name[24..28]), ("b", "0002"));
}

#[test]
fn a_nodes_own_files_keep_the_cursor_too() {
    let mut app = live();
    ring(&mut app, "a", 1..4);
    key(&mut app, Action::Open);
    app.view = View::Files;
    for action in [Action::Down, Action::Down] {
        key(&mut app, action);
    }
    // The ring has let the oldest go.
    ring(&mut app, "a", 3..6);
    let effects = key(&mut app, Action::Open);
    assert!(matches!(&effects[..], [Effect::Fetch(_, file)] if file.name.ends_with("0003.pcapng")), "{effects:?}");
}

#[test]
fn an_event_is_opened_where_the_cursor_is_and_not_where_it_was() {
    let mut app = live();
    key(&mut app, Action::Events);
    key(&mut app, Action::Bottom);
    let Some(RowKey::Event(event)) = app.row_under_cursor() else { panic!("an event") };
    update(&mut app, tunnel("c", running()), NOW + 5_000);
    feed(&mut app, [Event::Tick]);
    assert_eq!(app.row_under_cursor(), Some(RowKey::Event(event.clone())));
    key(&mut app, Action::Open);
    assert_eq!(app.screen, Screen::Node(event.node.as_str().into()));
}

#[test]
fn a_click_is_about_the_row_that_was_drawn() {
    let mut app = nodes();
    feed(&mut app, [Event::Nodes(NodesChange::Applied(node("a0", "1a", Readiness::Ready)))]);
    feed(&mut app, [Input::Pointed(Pointed::Row(RowKey::Node("b".into())))]);
    assert_eq!(app.list.cursor, Some("b".into()));
    feed(&mut app, [Input::Pointed(Pointed::Row(RowKey::Node("gone".into())))]);
    assert_eq!(app.list.cursor, Some("b".into()));
}

#[test]
fn keys_move_in_the_picture_that_is_held_still_and_act_on_what_it_shows() {
    let mut app = nodes();
    key(&mut app, Action::Pause);
    feed(&mut app, [Event::Nodes(NodesChange::Applied(node("a0", "1a", Readiness::Ready)))]);
    key(&mut app, Action::Down);
    assert_eq!(app.picture().list.cursor, Some("b".into()), "the picture has no a0");
    assert!(!screen(&app).contains("a0") && screen(&app).contains("PAUSED"));
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["b".into()])]);
    assert!(!app.is_paused() && app.list.cursor == Some("b".into()) && screen(&app).contains("a0"));

    // What the picture shows is over: the key that was meant for it does nothing.
    let mut app = live();
    key(&mut app, Action::Pause);
    feed(&mut app, [tunnel("a", running())]);
    assert_eq!(key(&mut app, Action::Capture), [], "c was to start one, and would stop it");
    assert!(!app.is_paused() && told(&app).contains("out of date"), "{}", told(&app));
    assert_eq!(key(&mut app, Action::Capture), [Effect::Ask("a".into(), Request::StopCapture)]);

    // The node under the cursor has left.
    let mut app = nodes();
    key(&mut app, Action::Pause);
    feed(&mut app, [Event::Nodes(NodesChange::Gone("a".into()))]);
    assert_eq!(key(&mut app, Action::Deploy), []);
    assert!(told(&app).contains("nothing was done"), "{}", told(&app));

    // What is copied is what is seen, and the picture stays.
    let mut app = nodes();
    key(&mut app, Action::Pause);
    feed(&mut app, [Event::Nodes(NodesChange::Gone("a".into()))]);
    assert_eq!(key(&mut app, Action::Copy), [Effect::Copy("a".into())]);
    assert!(app.is_paused());
    key(&mut app, Action::Pause);
    assert_eq!((app.is_paused(), app.list.cursor.clone()), (false, Some("b".into())));
}

#[test]
fn on_a_nodes_screen_that_node_is_meant_whatever_is_marked_or_filtered() {
    let mut app = live();
    for action in [Action::Mark, Action::Open] {
        key(&mut app, action);
    }
    assert_eq!((app.screen.clone(), app.targets()), (Screen::Node("b".into()), vec!["b".into()]));
    let effects = key(&mut app, Action::Capture);
    assert_eq!(effects, [Effect::Ask("b".into(), Request::StartCapture(CaptureSpec::default()))]);
    // The list's filter hides it meanwhile.
    key(&mut app, Action::Faults);
    feed(&mut app, [Event::Nodes(NodesChange::Applied(node("a", "1b", Readiness::NotReady))), Event::Tick]);
    assert_eq!(app.current().map(|state| state.node.name.clone()), Some("b".into()));
}

#[test]
fn marks_that_are_not_shown_are_named_before_anything_is_done() {
    let mut app = live();
    key(&mut app, Action::Mark);
    key(&mut app, Action::Filter);
    typed(&mut app, "!^a$");
    key(&mut app, Action::Open);
    assert!(screen(&app).contains("1 marked, 1 hidden"), "{}", screen(&app));
    assert_eq!(key(&mut app, Action::Capture), []);
    assert!(matches!(question(&app), Some(Confirm::Hidden { hidden, .. }) if hidden[..] == ["a"]), "{:?}", app.top());
    assert!(screen(&app).contains("not shown: a"), "{}", screen(&app));
    key(&mut app, Action::Back);
    assert!(question(&app).is_none());
    key(&mut app, Action::Capture);
    let effects = key(&mut app, Action::Open);
    assert_eq!(effects, [Effect::Ask("a".into(), Request::StartCapture(CaptureSpec::default()))]);

    // A question that there is anyway names them.
    let mut app = nodes();
    key(&mut app, Action::MarkAll);
    key(&mut app, Action::Filter);
    typed(&mut app, "^a$");
    key(&mut app, Action::Open);
    key(&mut app, Action::Deploy);
    assert!(screen(&app).contains("Of these, not shown: b, c"), "{}", screen(&app));
    assert_eq!(key(&mut app, Action::Open), [Effect::Deploy(["a", "b", "c"].map(NodeName::from).to_vec())]);
}

#[test]
fn marked_files_that_are_not_shown_are_named_too() {
    let mut app = live();
    ring(&mut app, "a", 1..2);
    ring(&mut app, "b", 1..2);
    for action in [Action::Files, Action::Mark, Action::Mark, Action::Filter] {
        key(&mut app, action);
    }
    typed(&mut app, "node:b");
    key(&mut app, Action::Open);
    key(&mut app, Action::Remove);
    let drawn = screen(&app);
    assert!(drawn.contains("2 files on nodes") && drawn.contains("Of these, not shown"), "{drawn}");
    key(&mut app, Action::Back);
    assert_eq!(key(&mut app, Action::Open), []);
    assert!(matches!(question(&app), Some(Confirm::Hidden { hidden, .. }) if hidden.len() == 1), "{:?}", app.top());
    assert_eq!(key(&mut app, Action::Open).len(), 2);
}

#[test]
fn keys_that_do_nothing_with_a_file_are_not_offered_and_say_what_does() {
    let mut app = live();
    let files = |name: &str, state| Update::Files(vec![file(name, 900, state)]);
    feed(
        &mut app,
        [tunnel("a", files("1.pcapng", FileState::Open)), tunnel("b", files("2.pcapng", FileState::Closed))],
    );
    feed(&mut app, [tunnel("c", files("3.pcapng", FileState::Closed))]);
    let done = FetchProgress::Done { path: "c/3.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("c".into(), "3.pcapng".into(), done)]);
    key(&mut app, Action::Files);
    let offered = |app: &App| {
        let is = |action: Action| app.hints().iter().any(|(offered, _)| *offered == action);
        [Action::Open, Action::Follow, Action::Copy, Action::Remove].map(is)
    };
    let step = |app: &App| app.session.notices.back().map(|(_, notice)| notice.next_step.clone()).unwrap_or_default();
    assert_eq!(offered(&app), [false; 4], "it is being written");
    assert_eq!(key(&mut app, Action::Follow), []);
    assert!(step(&app).contains("it is being written"), "{}", step(&app));
    assert_eq!(key(&mut app, Action::Remove), []);
    assert_eq!(step(&app), "stop its capture first");
    key(&mut app, Action::Down);
    assert_eq!(offered(&app), [true, false, false, true], "it is on its node");
    assert_eq!(key(&mut app, Action::Follow), []);
    assert_eq!(step(&app), "{open} fetches it");
    key(&mut app, Action::Down);
    assert_eq!(offered(&app), [false, true, true, true], "it is here");
    assert_eq!(key(&mut app, Action::Open), []);
    assert_eq!(told(&app), "already on this laptop: c/3.pcapng");
}

#[test]
fn a_removal_says_when_the_server_is_silent_and_when_it_is_slow() {
    let mut app = live();
    key(&mut app, Action::Quit);
    key(&mut app, Action::Open);
    assert_eq!(phase(&app), Some(Phase::Removing));
    assert!(screen(&app).contains("(a namespace takes 5 to 10 s)"), "{}", screen(&app));
    feed(&mut app, [Event::Removal(Removal::Silent(20))]);
    assert!(screen(&app).contains("(the API server does not answer, 20s)"), "{}", screen(&app));
    feed(&mut app, [Event::Removal(Removal::Silent(0))]);
    update(&mut app, Event::Tick, NOW + 22_000);
    assert!(screen(&app).contains("22s (slower than usual)"), "{}", screen(&app));
}

pub fn other(holder: Holder) -> SessionSummary {
    SessionSummary {
        id: SessionId::new(1),
        context: "c".into(),
        owner: Some("me@here".into()),
        began: None,
        ends: None,
        holder,
        objects: vec![SeenObject { object: job(), state: String::new() }],
        trouble: String::new(),
        moved: false,
    }
}

#[test]
fn another_session_goes_after_a_question_that_says_what_goes_with_it() {
    let id = || SessionId::new(1);
    let mut app = app();
    feed(&mut app, [Event::Sessions { found: Ok(vec![other(Holder::Detached)]), asked: true }]);
    assert_eq!(key(&mut app, Action::Remove), [Effect::AskHeld(id())]);
    assert!(screen(&app).contains("Asking its agents"), "{}", screen(&app));
    let held = Held { node: "a".into(), capturing: true, recorder: None, files: 2, bytes: 4096 };
    feed(&mut app, [Event::Held(id(), Ok(vec![held]))]);
    let drawn = screen(&app);
    assert!(drawn.contains("a: a running capture and 2 files (4.00 KiB) not copied"), "{drawn}");
    key(&mut app, Action::Back);
    assert!(matches!(app.top(), Some(Layer::Sessions(_))), "back to the list, with nothing done");
    key(&mut app, Action::Remove);
    assert_eq!(key(&mut app, Action::Open), [Effect::Sweep(id())]);
}

#[test]
fn the_list_of_sessions_does_not_open_under_the_users_fingers() {
    let found = || Event::Sessions { found: Ok(vec![other(Holder::Abandoned)]), asked: false };
    let mut app = nodes();
    key(&mut app, Action::Down);
    feed(&mut app, [found()]);
    assert!(app.layers.is_empty() && told(&app).contains("1 other session"), "{}", told(&app));
    let mut app = nodes();
    feed(&mut app, [found()]);
    assert!(matches!(app.top(), Some(Layer::Sessions(_))), "nobody has pressed a key yet");
}

#[test]
fn the_program_does_not_end_over_what_is_under_way() {
    let id = || SessionId::new(1);
    let sweeping = || {
        let mut app = app();
        feed(&mut app, [Event::Sessions { found: Ok(vec![other(Holder::Detached)]), asked: true }]);
        for action in [Action::Remove, Action::Open, Action::Back] {
            key(&mut app, action);
        }
        app
    };
    let mut app = sweeping();
    assert_eq!(key(&mut app, Action::Quit), []);
    assert!(screen(&app).contains("removing session 00000001"), "{}", screen(&app));
    assert_eq!(update(&mut app, Event::Sweep(id(), Removal::Finished), NOW), [Effect::Quit], "it was waited for");

    let mut app = sweeping();
    key(&mut app, Action::Quit);
    key(&mut app, Action::Back);
    assert!(app.layers.is_empty());
    key(&mut app, Action::Quit);
    assert_eq!(key(&mut app, Action::Open), [Effect::Quit]);
    assert_eq!(app.session.cut().len(), 1, "it is said what was cut");

    // Nobody is there to ask.
    let mut app = sweeping();
    assert_eq!(update(&mut app, Event::Finish, NOW), []);
    assert_eq!(update(&mut app, Event::Tick, NOW + LEAVE_WITHIN - 1), []);
    assert_eq!(update(&mut app, Event::Tick, NOW + LEAVE_WITHIN), [Effect::Quit]);

    // A download and a merge count as well.
    let mut app = nodes();
    feed(&mut app, [Event::Download("k".into(), FetchProgress::Bytes(1))]);
    assert_eq!(key(&mut app, Action::Quit), []);
    let notice = Notice::error("it was not fetched", "", "");
    assert_eq!(update(&mut app, Event::Download("k".into(), FetchProgress::Failed(notice)), NOW), [Effect::Quit]);
    let mut app = nodes();
    assert!(!key(&mut app, Action::Report).is_empty());
    assert_eq!(key(&mut app, Action::Quit), []);
    assert_eq!(update(&mut app, Event::Ended(Job::Write, Notice::info("written")), NOW), [Effect::Quit]);
}

#[test]
fn the_guided_exit_too_waits_for_what_is_under_way() {
    let mut app = live();
    feed(&mut app, [Event::Download("k".into(), FetchProgress::Bytes(1))]);
    for action in [Action::Quit, Action::Open] {
        key(&mut app, action);
    }
    assert_eq!(phase(&app), Some(Phase::Removing));
    assert_eq!(update(&mut app, Event::Removal(Removal::Finished), NOW), []);
    assert!(screen(&app).contains("fetching 1 file"), "{}", screen(&app));
    let done = FetchProgress::Done { path: "k".into(), sha256: String::new() };
    assert_eq!(update(&mut app, Event::Download("k".into(), done), NOW), [Effect::Quit]);
    assert!(app.session.ended().is_some());
}
