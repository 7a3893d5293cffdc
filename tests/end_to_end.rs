//! The whole program but its terminal and its cluster: the engine, the protocol, the real agent, in one process.

mod support;

use std::sync::{Arc, atomic::Ordering};

use nodewatch_protocol::{CaptureFile, Delivery, Dropped, FileState, Hello};
use nodewatch_tui::{
    agents::fetch::Fetch,
    model::{FetchProgress, Notice},
    screens::{Action, App, Input},
    session::{
        Event,
        node::{Agent, NodeState},
    },
};
use support::{Behaviour, Driver, TestSite, leave_file};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

struct Folders {
    ring: tempfile::TempDir,
    out: tempfile::TempDir,
}

fn folders() -> Folders {
    Folders { ring: tempfile::tempdir().expect("a folder"), out: tempfile::tempdir().expect("a folder") }
}

fn state<'a>(driver: &'a Driver, node: &str) -> &'a NodeState {
    &driver.app().session.nodes[&node.into()]
}

/// Deploys to every node of the site.
async fn deployed(site: &Arc<TestSite>, folders: &Folders) -> Driver {
    let mut driver = Driver::start(Arc::clone(site), folders.out.path());
    driver.until("the list", |app| !app.session.nodes.is_empty()).await;
    let names = driver.app().session.nodes.keys().cloned().collect();
    driver.send(Event::DeployTo(names));
    driver
}

#[tokio::test]
async fn ports_open_and_close_on_the_screen() {
    let folders = folders();
    let site = Arc::new(TestSite::new(&[("a", Behaviour::Good)], folders.ring.path()));
    let mut driver = deployed(&site, &folders).await;
    driver.until("the first scan", |app| app.session.nodes.values().all(|state| state.ports.known)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = format!("tcp {}", listener.local_addr().expect("an address")).parse().expect("a port");
    driver
        .until("the new port", |app| app.session.nodes[&"a".into()].ports.rows.get(&port).is_some_and(|row| row.opened))
        .await;
    drop(listener);
    driver.until("its end", |app| app.session.nodes[&"a".into()].ports.rows[&port].closed.is_some()).await;
    let texts: Vec<&str> = state(&driver, "a").log.events.iter().map(|event| event.text.as_str()).collect();
    assert!(texts.contains(&format!("opened {port}").as_str()) && texts.contains(&format!("closed {port}").as_str()));
}

#[tokio::test]
async fn a_bad_agent_is_shown_on_its_node_and_the_others_go_on() {
    let folders = folders();
    let nodes = [
        ("garbage", Behaviour::Garbage),
        ("good", Behaviour::Good),
        ("refused", Behaviour::Refused),
        ("version", Behaviour::OtherVersion),
    ];
    let site = Arc::new(TestSite::new(&nodes, folders.ring.path()));
    let mut driver = deployed(&site, &folders).await;
    driver
        .until("every agent to settle", |app| {
            app.session.nodes.iter().all(|(name, state)| match name.0.as_str() {
                "good" => state.agent == Agent::Live && state.ports.known,
                "version" => matches!(state.agent, Agent::Failed(_)),
                _ => matches!(state.agent, Agent::Lost { attempts, .. } if attempts >= 2),
            })
        })
        .await;
    let Agent::Failed(notice) = &state(&driver, "version").agent else { panic!("it has failed") };
    assert!(notice.cause.contains("nodewatch-agent 9.9.9 speaks protocol 99"), "{notice:?}");
    let Agent::Lost { reason, .. } = &state(&driver, "garbage").agent else { panic!("it is lost") };
    assert!(reason.contains("sent invalid data") && !reason.contains('\u{1b}'), "{reason}");
}

#[tokio::test]
async fn a_lost_tunnel_comes_back_with_the_agents_state() {
    let folders = folders();
    leave_file(folders.ring.path(), "before.pcapng", 3);
    let site = Arc::new(TestSite::new(&[("a", Behaviour::Good)], folders.ring.path()));
    let mut driver = deployed(&site, &folders).await;
    let whole = |state: &NodeState| state.agent == Agent::Live && state.ports.known && !state.files.is_empty();
    driver.until("the agent", |app| app.session.nodes.values().all(whole)).await;
    let ports = state(&driver, "a").ports.rows.clone();

    site.cut_tunnels();
    driver.until("the loss", |app| matches!(app.session.nodes[&"a".into()].agent, Agent::Lost { .. })).await;
    assert!(!state(&driver, "a").ports.rows.is_empty(), "what was seen stays");
    driver.until("the return", |app| app.session.nodes[&"a".into()].agent == Agent::Live).await;
    assert_eq!(site.opened.load(Ordering::Relaxed), 2);
    // Nothing that was open before is taken for new.
    assert!(ports.keys().all(|port| state(&driver, "a").ports.rows.get(port).is_none_or(|row| !row.opened)));
    assert_eq!(state(&driver, "a").files[0].name, "before.pcapng");
}

#[tokio::test]
async fn a_fetch_is_resumed_after_every_cut_and_checked() {
    let folders = folders();
    leave_file(folders.ring.path(), "large.pcapng", 500);
    let size = folders.ring.path().join("large.pcapng").metadata().expect("a file").len();
    let mut site = TestSite::new(&[("a", Behaviour::Good)], folders.ring.path());
    site.cut_bulk_after = Some(size / 3 - 1);
    let site = Arc::new(site);
    let mut driver = deployed(&site, &folders).await;
    driver.until("the file", |app| app.session.nodes[&"a".into()].files.len() == 1).await;
    driver.send(Input::Key(Action::FetchAll));
    let done = |state: &NodeState| matches!(state.fetches.get("large.pcapng"), Some(FetchProgress::Done { .. }));
    driver.until("the fetch", |app| app.session.nodes.values().all(done)).await;
    assert_eq!(site.bulks.load(Ordering::Relaxed), 4, "three pieces and the rest");
    let here = folders.out.path().join("a/large.pcapng");
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    assert_eq!(read(&here), read(&folders.ring.path().join("large.pcapng")));
    let mode = std::os::unix::fs::PermissionsExt::mode(&here.metadata().expect("facts").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// Fetches a.pcapng of node a, which must fail, and returns why.
async fn failed_fetch(driver: &mut Driver) -> Notice {
    driver.until("the file", |app| app.session.nodes[&"a".into()].files.len() == 1).await;
    driver.send(Input::Key(Action::FetchAll));
    let failed = |state: &NodeState| matches!(state.fetches.get("a.pcapng"), Some(FetchProgress::Failed(_)));
    driver.until("the failure", |app| app.session.nodes.values().all(failed)).await;
    match state(driver, "a").fetches.get("a.pcapng") {
        Some(FetchProgress::Failed(notice)) => notice.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_byte_is_found_and_no_file_is_left() {
    let folders = folders();
    leave_file(folders.ring.path(), "a.pcapng", 5);
    let mut site = TestSite::new(&[("a", Behaviour::Good)], folders.ring.path());
    site.corrupt = true;
    let site = Arc::new(site);
    let mut driver = deployed(&site, &folders).await;
    let notice = failed_fetch(&mut driver).await;
    assert!(notice.cause.contains("SHA-256"), "{notice:?}");
    assert_eq!(std::fs::read_dir(folders.out.path().join("a")).expect("the folder").count(), 0);
}

/// A closed file as an agent tells of it.
fn claimed(name: &str, size: u64) -> CaptureFile {
    CaptureFile {
        name: name.into(),
        sequence: 1,
        size,
        packets: 1,
        started: 1,
        ended: 2,
        state: FileState::Closed,
        dropped: Dropped::default(),
        incomplete: String::new(),
        sha256: None,
        delivery: Delivery::Held,
        fetched: false,
        since: 0,
    }
}

/// What its ring had is not asked for again and again, and not said to be there still.
#[tokio::test]
async fn nothing_is_fetched_from_an_agent_that_has_gone() {
    let folders = folders();
    let mut site = TestSite::new(&[("a", Behaviour::Good)], folders.ring.path());
    site.cut_bulk_after = Some(10);
    leave_file(folders.ring.path(), "a.pcapng", 5);
    let (asks, _queue) = tokio::sync::mpsc::channel(1);
    let (file, folder) = (claimed("a.pcapng", 1000), folders.out.path().join("a"));
    let fetch =
        Fetch { node: "a".into(), file, folder: folder.clone(), most: 1000, asks, is_there: Box::new(|| false) };
    let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
    fetch.run(&site, move |step| drop(sender.send(step))).await;
    let mut last = None;
    while let Some(step) = steps.recv().await {
        last = Some(step);
    }
    let Some(FetchProgress::Failed(notice)) = last else { panic!("it must fail") };
    assert!(notice.cause.contains("is gone") && !notice.next_step.contains("keeps"), "{notice:?}");
    assert_eq!(site.bulks.load(Ordering::Relaxed), 1);
    assert_eq!(std::fs::read_dir(&folder).map_or(0, Iterator::count), 0, "no half of it is left");
}

/// An agent may say anything of its files: nothing is written for one that no ring can hold, or that this disk cannot.
#[tokio::test]
async fn a_size_that_cannot_be_is_not_believed() {
    let folders = folders();
    let site = TestSite::new(&[("a", Behaviour::Good)], folders.ring.path());
    for (most, told) in [(1000, "can hold (1000)"), (u64::MAX, "are free")] {
        let file = claimed("../a.pcapng", 1_000_000_000_000_000_000);
        let (asks, _queue) = tokio::sync::mpsc::channel(1);
        let folder = folders.out.path().join("a");
        let fetch = Fetch { node: "a".into(), file, folder: folder.clone(), most, asks, is_there: Box::new(|| true) };
        let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
        fetch.run(&site, move |step| drop(sender.send(step))).await;
        let Some(FetchProgress::Failed(notice)) = steps.recv().await else { panic!("it must fail") };
        assert!(notice.cause.contains(told), "{notice:?}");
        assert_eq!(std::fs::read_dir(&folder).map_or(0, Iterator::count), 0);
    }
    assert_eq!(site.bulks.load(Ordering::Relaxed), 0, "nothing was asked of the node");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folders = folders();
    leave_file(folders.ring.path(), "a.pcapng", 5);
    let site = Arc::new(TestSite::new(&[("a", Behaviour::Good)], folders.ring.path()));
    // A file stands where the node's folder would be.
    std::fs::write(folders.out.path().join("a"), b"in the way").expect("written");
    let mut driver = deployed(&site, &folders).await;
    let notice = failed_fetch(&mut driver).await;
    assert!(notice.cause.contains("cannot write") && notice.next_step.contains("--out"), "{notice:?}");
}

#[tokio::test]
async fn leaving_fetches_every_file_and_ends_with_a_receipt() {
    let folders = folders();
    leave_file(folders.ring.path(), "a.pcapng", 5);
    let site = Arc::new(TestSite::new(&[("a", Behaviour::Good)], folders.ring.path()));
    let mut driver = deployed(&site, &folders).await;
    driver.until("the file", |app| app.session.nodes[&"a".into()].files.len() == 1).await;
    driver.send(Input::Key(Action::Quit));
    assert!(!driver.ended, "it asks first");
    driver.send(Input::Key(Action::Open));
    driver.until("the end", |_| false).await;
    assert!(driver.ended);
    let app = Box::pin(driver.engine.shut_down()).await;
    let text = app.session.receipt().text();
    assert!(text.contains("fetched") && text.contains("a.pcapng") && !text.contains("LOST"), "{text}");
}

/// A tunnel whose reader never reads costs the agent nothing and the others nothing.
#[tokio::test]
async fn a_stalled_reader_holds_nobody_up() {
    let folders = folders();
    let site = TestSite::new(&[("a", Behaviour::Good)], folders.ring.path());
    let (mut stalled, theirs) = tokio::io::duplex(256);
    let hub = site.hub.clone();
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(theirs);
        nodewatch_agent::server::serve(reader, writer, &hub).await
    });
    let hello =
        nodewatch_protocol::encode(&nodewatch_protocol::ToAgent::Hello(Hello::of("test", "0"))).expect("a line");
    stalled.write_all(&hello).await.expect("room");

    let site = Arc::new(site);
    let mut driver = deployed(&site, &folders).await;
    for _ in 0..3 {
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
        let port = format!("udp {}", listener.local_addr().expect("an address")).parse().expect("a port");
        driver.until("the new port", |app| app.session.nodes[&"a".into()].ports.rows.contains_key(&port)).await;
    }
    // It was served as far as it read.
    let mut line = String::new();
    BufReader::new(stalled).read_line(&mut line).await.expect("a line");
    assert!(line.starts_with("{\"hello\""), "{line}");
}

/// Every frame of a recorded session is drawn again, to the letter.
#[tokio::test]
async fn a_replay_draws_the_frames_of_the_session() {
    use nodewatch_tui::{
        record::{Player, Recorder, Step},
        ui::{self, Theme},
    };
    use ratatui::{Terminal, backend::TestBackend};

    fn frame(app: &App, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let theme = Theme::standard();
        terminal.draw(|frame| drop(ui::draw(frame, app.picture(), &theme))).expect("drawn");
        terminal.backend().to_string()
    }

    let folders = folders();
    let site = Arc::new(TestSite::new(&[("a", Behaviour::Good), ("b", Behaviour::Garbage)], folders.ring.path()));
    let path = folders.out.path().join("session.jsonl");
    let mut driver = Driver::start(Arc::clone(&site), folders.out.path());
    driver.engine.record(Recorder::create(&path).expect("a file")).expect("begun");
    let mut drawn = Vec::new();
    let sizes = [(80, 24), (200, 60), (40, 10)];
    let keys = [
        Action::MarkAll,
        Action::Deploy,
        Action::Open,
        Action::NextView,
        Action::Events,
        Action::Pause,
        Action::Down,
        Action::Pause,
        Action::GoBack,
        Action::Help,
        Action::Down,
        Action::Back,
        Action::Ports,
        Action::Quit,
    ];
    for key in keys {
        driver.send(Input::Key(key));
        let until = driver.app().session.now + 300;
        driver.until("some time", |app| app.session.now >= until).await;
        let size = sizes[drawn.len() % sizes.len()];
        drawn.push(frame(driver.app(), size));
        driver.engine.record_frame(size.0, size.1);
    }
    drop(driver);

    let mut player = Player::<App>::open(&path).expect("a recording");
    let mut again = Vec::new();
    while let Some(step) = player.step().expect("a step") {
        // The first second came before the first frame, and stands for one of its own size.
        if let Step::Frame(_, width, height) = step
            && sizes.contains(&(width, height))
        {
            again.push(frame(&player.state, (width, height)));
        }
    }
    assert_eq!(again.len(), drawn.len());
    for (index, (again, drawn)) in again.iter().zip(&drawn).enumerate() {
        assert_eq!(again, drawn, "frame {index}");
    }
}
