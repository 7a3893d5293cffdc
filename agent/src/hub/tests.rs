//! A hub whose disk, server or neighbours never answer. A disk that hangs is a FIFO in the place of a file.

use std::{collections::BTreeSet, path::Path, process::Command};

use nodewatch_protocol::{
    CaptureSpec, Freeze, FromAgent, Grant, Recorder, ReportPlan, Request, Sink, StopReason, Terms, WatchSpec,
    WatchState, decode,
};
use tokio::time::timeout;

use super::captures::{By, Started};
use super::*;
use crate::{
    capture::{self, Capture, CaptureEvent, Chosen},
    ring::{store::Store, tests::capture},
};

/// What should come at once has come by then, or never does.
const SOON: Duration = Duration::from_secs(20);

fn spawn(folder: &Path) -> (HubHandle, Ring) {
    let ring = Ring::open(Store::open(folder).expect("a ring"), "test").expect("a ring");
    let lifetime = Lifetime::begin(None, None, Some(folder.join("terms.json")));
    (Hub::spawn(NodeFacts::default(), ring.clone(), lifetime).expect("a hub"), ring)
}

/// A closed file with a packet, which an agent before this one has left.
fn leave_file(folder: &Path, name: &str) {
    use nodewatch_pcapng::{InterfaceBlock, SectionBlock, enhanced_packet, interface_description, section_header};
    let mut bytes = Vec::new();
    section_header(&mut bytes, &SectionBlock { hardware: "n", application: "t", comments: &[] });
    let interface = InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
    interface_description(&mut bytes, &interface);
    enhanced_packet(&mut bytes, 0, 1, 4, [&[1; 4]], &[]);
    std::fs::write(folder.join(name), bytes).expect("written");
}

fn hang(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

async fn beats(hub: &HubHandle) {
    let beat = timeout(SOON, hub.ask(Request::Heartbeat)).await.expect("the hub waits for something");
    assert_eq!(beat, Some(Response::Done));
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_neither_heartbeats_nor_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_file(folder.path(), "a.pcapng");
    let (hub, _ring) = spawn(folder.path());
    for file in ["a.pcapng", "terms.part", "manifest.part"] {
        hang(&folder.path().join(file));
    }
    // A change of the list, which cannot be written any more.
    assert_eq!(hub.ask(Request::Fetched { file: "a.pcapng".into() }).await, Some(Response::Done));
    let checksum = hub.send(Request::Checksum { file: "a.pcapng".into() }).await.expect("the hub");
    let terms = Request::Terms(Terms { left_seconds: 600.into(), lease_seconds: None });
    for _ in 0..5 {
        assert_eq!(timeout(SOON, hub.ask(terms.clone())).await.expect("the terms hold at once"), Some(Response::Done));
    }
    beats(&hub).await;
    drop(checksum);
    timeout(SOON, hub.end(Duration::from_secs(600))).await.expect("nothing is left to do");
    // What waits for the disk is let be.
    for file in ["a.pcapng", "terms.part", "manifest.part"] {
        let path = folder.path().join(file);
        let open = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        // Whoever comes next must not wait again.
        let _ = std::fs::remove_file(&path);
        drop(open);
    }
}

/// A hub with a file that it delivers for ever: the server takes connections and never answers.
async fn delivering(folder: &Path) -> (HubHandle, std::net::TcpListener) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    leave_file(folder, "a.pcapng");
    let (hub, _ring) = spawn(folder);
    let grant = Grant {
        url: format!("http://{}/bucket", server.local_addr().expect("an address")),
        fields: std::collections::BTreeMap::new(),
        prefix: "p/".into(),
        max_bytes: 1024 * 1024,
        valid_seconds: u64::MAX.into(),
        zstd: false,
        server: nodewatch_protocol::ServerFacts::default(),
    };
    assert_eq!(hub.ask(Request::Sink(Sink::Grant(grant))).await, Some(Response::Done));
    (hub, server)
}

#[tokio::test]
async fn an_agent_that_is_ended_by_others_can_be_fetched_from_first() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_file(folder.path(), "a.pcapng");
    let (hub, ring) = spawn(folder.path());
    let laptop = hub.subscribe().await.expect("a hub");
    hub.end_within(Duration::from_secs(600));
    // Every look at the end comes after one of these.
    beats(&hub).await;
    tokio::time::sleep(FILES_EVERY * 3).await;
    beats(&hub).await;
    assert!(ring.has_alone());
    assert_eq!(hub.ask(Request::Fetched { file: "a.pcapng".into() }).await, Some(Response::Done));
    timeout(SOON, hub.over()).await.expect("it is fetched").expect("no panic");
    drop(laptop);
}

#[tokio::test]
async fn an_agent_that_nobody_watches_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_file(folder.path(), "a.pcapng");
    let (hub, ring) = spawn(folder.path());
    let laptop = hub.subscribe().await.expect("a hub");
    hub.end_within(Duration::from_secs(600));
    beats(&hub).await;
    drop(laptop);
    timeout(FETCHED_AFTER, hub.over()).await.expect("nobody fetches").expect("no panic");
    assert!(ring.has_alone());
}

#[tokio::test]
async fn an_end_can_come_nearer_and_never_goes_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, _server) = delivering(folder.path()).await;
    // As after a lapsed lease: in peace.
    hub.end_within(Duration::from_secs(600));
    beats(&hub).await;
    let late = hub.ask(Request::StartCapture(CaptureSpec::default())).await;
    assert!(matches!(&late, Some(Response::Refused(refusal)) if refusal.kind == RefusalKind::State), "{late:?}");
    let mut over = Box::pin(hub.over());
    tokio::select! {
        biased;
        _ = &mut over => panic!("the file is not delivered"),
        () = std::future::ready(()) => {}
    }
    // A pod that is deleted, and told so again and again.
    hub.end_within(Duration::from_millis(50));
    for _ in 0..3 {
        hub.end_within(Duration::from_secs(600));
    }
    timeout(SOON, over).await.expect("the nearest end stands").expect("it ended as it was told");
}

#[tokio::test]
async fn a_hub_that_dies_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, _ring) = spawn(folder.path());
    let HubHandle { commands, end, over, tunnels } = hub;
    // Its task ends with the last way to it.
    drop((commands, end));
    let mut over = over;
    timeout(SOON, over.wait_for(|over| *over)).await.expect("it ends").expect("it says so");

    let (dead, over) = watch::channel(false);
    drop(dead);
    let (commands, queue) = mpsc::channel(1);
    drop(queue);
    let hub = HubHandle { commands, end: Arc::new(watch::channel(None).0), over, tunnels };
    assert!(hub.over().await.is_err());
    assert_eq!(hub.ask(Request::Heartbeat).await, None);
}

fn plan() -> ReportPlan {
    ReportPlan {
        group: "g".into(),
        stream: "s".into(),
        retention_days: 1,
        region: "eu-central-1".into(),
        endpoint: Some("http://127.0.0.1:1".into()),
        cluster: "c".into(),
        hostname: "h".into(),
        session: "s".into(),
        interval_seconds: u64::MAX.into(),
        excluded: Vec::new(),
        expectations: None,
    }
}

#[tokio::test]
async fn a_plan_that_is_refused_leaves_the_one_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hub, ring) = spawn(folder.path());
    ring.remember_reports(Some(plan()));
    hub.end(Duration::ZERO).await;
    drop(ring);
    // Gone on with after a restart.
    let (hub, ring) = spawn(folder.path());
    let another = ReportPlan { group: "another".into(), ..plan() };
    let answer = hub.ask(Request::Report(Some(Box::new(another)))).await;
    assert!(matches!(answer, Some(Response::Refused(_))), "{answer:?}");
    assert_eq!(ring.list().reports, Some(plan()));
    beats(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_was_there_to_be_told_is_told_to_the_first_that_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_file(folder.path(), "a.pcapng");
    let (hub, ring) = spawn(folder.path());
    // Many times as long as it takes to be told.
    tokio::time::sleep(10 * FILES_EVERY).await;
    ring.say("3 packets could not be written".to_owned());
    tokio::time::sleep(10 * FILES_EVERY).await;
    let mut lines = hub.subscribe().await.expect("the hub");
    let mut told = Vec::new();
    while told.len() < 2 {
        let line = timeout(SOON, lines.recv()).await.expect("it is told").expect("the hub");
        if let Ok(FromAgent::Update(Update::Trouble { message })) = decode(&line) {
            told.push(message);
        }
    }
    assert!(told[0].contains("no file index") && told[1].contains("could not be written"), "{told:?}");
}

/// A hub that does not run, of an armed recorder that began at 7.
fn armed(folder: &Path) -> Hub {
    let ring = Ring::open(Store::open(folder).expect("a ring"), "test").expect("a ring");
    let record = capture(1 << 20);
    let spec = CaptureSpec { recorder: Some(Recorder::default()), ..record.spec };
    ring.capture_began(CaptureRecord { spec: spec.clone(), ..record }, false);
    let lifetime = Lifetime::begin(None, None, None);
    let mut hub = Hub::new(NodeFacts::default(), ring, lifetime, watch::channel(None).1).expect("a hub");
    hub.state = CaptureState::Running { since: 7, interfaces: vec![], spec };
    hub
}

#[tokio::test]
async fn a_freeze_is_taken_only_by_a_capture_that_will_save_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hub = armed(folder.path());
    let freeze = || Freeze { before_seconds: 1.into(), after_seconds: 0.into(), cause: None };
    let refusal = hub.freeze(freeze());
    assert!(matches!(&refusal, Response::Refused(refusal) if refusal.kind == RefusalKind::State), "{refusal:?}");
    hub.capture = Slot::Beginning { stop: None, early: Vec::new() };
    assert_eq!(hub.freeze(freeze()), Response::Done);

    // As one that came when the capture had looked for the last time.
    hub.capture = Slot::None;
    assert_eq!(hub.ring.freezes().len(), 1);
    hub.capture_event(CaptureEvent::Ended(StopReason::Asked));
    let mut changes = hub.ring.changes();
    let freezes = hub.ring.clone();
    timeout(SOON, async {
        while !freezes.freezes().is_empty() {
            changes.changed().await.expect("the ring");
        }
    })
    .await
    .expect("it is saved by itself");
}

#[tokio::test]
async fn a_capture_that_is_to_go_on_and_fails_too_late_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hub = armed(folder.path());
    hub.capture = Slot::Beginning { stop: None, early: Vec::new() };
    let outcome = Err(refused(RefusalKind::Failed, "no such interface", "choose another"));
    let by = captures::tell(&hub.found.0, By::Restart(7), &refused(RefusalKind::Failed, "too slow", ""));
    hub.capture_started(Started { outcome, by, late: true });
    assert!(matches!(hub.state, CaptureState::Stopped { since: 7, .. }), "{:?}", hub.state);
    assert!(hub.ring.interrupted().is_none(), "its record is closed");
}

#[tokio::test]
async fn an_agent_that_ends_takes_back_no_wish_to_watch() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hub = armed(folder.path());
    hub.seen.watch.state = WatchState::On { since: 1, spec: WatchSpec::default() };
    hub.begin_to_end();
    assert!(hub.seen.watch.state.is_on(), "that it is off would say that somebody has ended it");
}

#[tokio::test]
async fn what_a_capture_has_read_is_watched_as_soon_as_it_reads_no_more() {
    if !nodewatch_testing::here::possible(&[]) {
        return;
    }
    for by_itself in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open(Store::open(folder.path()).expect("a ring"), "test").expect("a ring");
        let lifetime = Lifetime::begin(None, None, None);
        let mut hub = Hub::new(NodeFacts::default(), ring, lifetime, watch::channel(None).1).expect("a hub");
        let spec = CaptureSpec { interfaces: vec!["lo".into()], ..CaptureSpec::default() };
        let start = capture::Start {
            chosen: Chosen::named(spec.interfaces.clone()),
            known: capture::interfaces::list().expect("interfaces"),
            ring: hub.ring.clone(),
            hostname: "test".into(),
            gap: String::new(),
            own: hub.own.clone(),
            echoes: hub.seen.echoes.clone(),
            spec: spec.clone(),
        };
        let capture = Capture::start(start, |_| {}).expect("a capture of lo");
        hub.state = CaptureState::Running { since: capture.since, interfaces: vec!["lo".into()], spec };
        hub.capture = Slot::Running(capture);
        let left_out = |hub: &Hub| hub.captured_of(&WatchSpec::default());
        assert_eq!(left_out(&hub), BTreeSet::from(["lo".to_owned()]));
        if by_itself {
            hub.capture_event(CaptureEvent::Closing(StopReason::PacketLimit));
        } else {
            assert_eq!(hub.stop_capture(), Response::Done);
        }
        // Its files may take as long as the disk does: nobody has told the hub of an end.
        assert!(matches!(hub.state, CaptureState::Running { .. }));
        assert_eq!(left_out(&hub), BTreeSet::new());
    }
}
