//! What is true of an agent: what its pod, its tunnel and old news do to it, and what becomes of its files.

use nodewatch_protocol::{CaptureState, FileState, RingState, StopReason, Update};
use nodewatch_tui::{
    model::{Node, Severity, StoredFile, Summary, Way},
    screens::Input,
    session::{Listing, delivery::StorageInfo, exit::Phase, receipt::FileNote},
};

use super::*;

fn up(name: &str) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0")))
}

fn lost(name: &str) -> Event {
    Event::Tunnel(name.into(), TunnelChange::Lost { reason: "cut".into() })
}

fn deploy(name: &str, progress: DeployProgress) -> Event {
    Event::Deploy(name.into(), progress)
}

fn failure() -> Notice {
    Notice::error("the pod cannot be scheduled onto its node", "0/2 nodes", "free some CPU")
}

fn failed() -> DeployProgress {
    DeployProgress::Failed(failure())
}

fn agent<'a>(app: &'a App, name: &str) -> &'a Agent {
    &app.session.nodes[&name.into()].agent
}

/// Events of an hour ago are told again whenever they are listed anew.
#[test]
fn what_is_said_of_a_pod_never_moves_an_agent_that_has_a_tunnel() {
    let mut app = live();
    feed(&mut app, [tunnel("a", running())]);
    for progress in [failed(), DeployProgress::Step("pulling the image".into()), DeployProgress::Running] {
        feed(&mut app, [deploy("a", progress)]);
        assert_eq!(*agent(&app, "a"), Agent::Live);
    }
    assert_eq!(key(&mut app, Action::Deploy), [], "there is nothing to deploy");
    assert!(app.session.nodes[&"a".into()].log.events.iter().any(|event| event.text.contains("cannot be scheduled")));
    // The guided exit stops its capture and waits for it.
    key(&mut app, Action::Quit);
    assert_eq!(key(&mut app, Action::Open), [Effect::Ask("a".into(), Request::StopCapture)]);
    assert!(matches!(phase(&app), Some(Phase::Stopping { .. })));
}

#[test]
fn a_tunnel_that_comes_up_is_the_truth_whatever_was_said_before() {
    let mut app = live();
    feed(&mut app, [lost("a"), deploy("a", failed())]);
    assert!(matches!(agent(&app, "a"), Agent::Failed(_)));
    feed(&mut app, [up("a")]);
    assert_eq!(*agent(&app, "a"), Agent::Live);
}

#[test]
fn an_agent_that_has_ended_stays_so_and_can_be_deployed_again() {
    let mut app = live();
    let told = |app: &App| app.session.notices.len();
    feed(&mut app, [tunnel("a", running()), lost("a"), deploy("a", DeployProgress::Ended("its pod is gone".into()))]);
    assert!(matches!(agent(&app, "a"), Agent::Ended(_)));
    let before = told(&app);
    // The list after the next gap says so again, and a tunnel's last words come late.
    feed(
        &mut app,
        [deploy("a", DeployProgress::Ended("its pod is gone".into())), up("a"), tunnel("a", running()), lost("a")],
    );
    assert!(matches!(agent(&app, "a"), Agent::Ended(_)) && told(&app) == before);
    let state = &app.session.nodes[&"a".into()];
    assert!(matches!(&state.capture, CaptureState::Stopped { reason: StopReason::AgentEnds, .. }), "nothing ticks");
    assert_eq!(state.agent.word(), "ended");
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["a".into()])]);
    feed(&mut app, [deploy("a", DeployProgress::Running), up("a")]);
    assert_eq!(*agent(&app, "a"), Agent::Live);
}

#[test]
fn an_agent_that_does_not_answer_is_not_live_and_those_that_are_removed_are_not_counted() {
    let mut app = live();
    let told = |app: &mut App, change| {
        feed(app, [Event::Tunnel("a".into(), change)]);
        (app.session.nodes[&"a".into()].agent_word(), app.session.agents())
    };
    assert_eq!(told(&mut app, TunnelChange::Silent), ("silent", Some((2, 3))));
    assert_eq!(told(&mut app, TunnelChange::Heard), ("live", Some((3, 3))));
    told(&mut app, TunnelChange::Silent);
    assert_eq!(told(&mut app, TunnelChange::Lost { reason: "silent".into() }), ("lost", Some((2, 3))));
    let up = TunnelChange::Up(Hello::of("nodewatch-agent", "0.1.0"));
    assert_eq!(told(&mut app, up), ("live", Some((3, 3))));
    feed(&mut app, [Event::Finish]);
    assert_eq!((phase(&app), app.session.agents()), (Some(Phase::Removing), None));
    assert_eq!(app.session.agent_word(&app.session.nodes[&"a".into()]), "removing");
}

#[test]
fn a_file_that_was_open_when_its_agent_went_ends_then() {
    let mut app = live();
    let files = vec![file("x-0001.pcapng", 9, FileState::Closed), file("x-0002.pcapng", 100, FileState::Open)];
    feed(&mut app, [tunnel("a", running()), tunnel("a", Update::Files(files)), lost("a")]);
    let ended = deploy("a", DeployProgress::Ended("its pod was deleted".into()));
    update(&mut app, ended, NOW + 90_000);
    update(&mut app, Event::Tick, NOW + 900_000);
    let former = &app.session.nodes[&"a".into()].gone.former;
    assert_eq!(former.iter().map(|file| file.ended).collect::<Vec<_>>(), [NOW + 60_000, NOW + 90_000]);
}

/// As an agent with that ring says it first.
fn ring_of(name: &str, ring: &str) -> Event {
    let Update::Agent(facts) = facts() else { panic!("facts") };
    tunnel(name, Update::Agent(AgentFacts { ring: ring.into(), ..facts }))
}

/// What a session wrote down when its laptop was detached: a captures and has two files that are nowhere else.
fn left_running() -> Summary {
    let mut app = live();
    let files = [("1", 100), ("2", 50), ("3", 25)]
        .map(|(number, size)| file(&format!("old-000{number}.pcapng"), size, FileState::Closed))
        .to_vec();
    feed(&mut app, [ring_of("a", "first"), tunnel("a", running()), tunnel("a", Update::Files(files))]);
    let done = FetchProgress::Done { path: "old-0001.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), "old-0001.pcapng".into(), done)]);
    let told = serde_json::to_string(&app.session.summary()).expect("JSON");
    serde_json::from_str(&told).expect("as it is read back")
}

fn attached(earlier: Summary) -> App {
    let mut app = app();
    let attach = Event::Attach { began: NOW, ends: Some(NOW + 7_200_000), stood_in: false };
    feed(&mut app, [Event::Earlier(Box::new(earlier)), attach]);
    app
}

/// Names of files that the receipt has as lost with their ring.
fn lost_files(app: &App) -> Vec<String> {
    let lost = app.session.receipt().files.lost.into_iter();
    lost.filter(|lost| lost.reason == "its ring was removed with its agent").map(|lost| lost.file).collect()
}

#[test]
fn files_of_a_pod_that_was_replaced_while_nobody_was_attached_are_lost_files() {
    let new = || tunnel("a", Update::Files(vec![file("new-0001.pcapng", 10, FileState::Closed)]));
    let mut app = attached(left_running());
    feed(&mut app, [deploy("a", DeployProgress::Running), up("a"), ring_of("a", "second"), new()]);
    let said = |app: &App, headline: &str| app.session.notices.iter().any(|(_, notice)| notice.headline == headline);
    assert!(said(&app, "lost 2 capture files of a (75 B)"), "{:?}", app.session.notices);
    assert_eq!(lost_files(&app), ["old-0002.pcapng", "old-0003.pcapng"]);
    let done = FetchProgress::Done { path: "new-0001.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), "new-0001.pcapng".into(), done)]);
    let receipt = app.session.receipt();
    assert!(receipt.files.lost.len() == 2 && !receipt.is_whole(), "exit code 3");
    assert!(receipt.text().contains("captured while nobody was attached is lost"), "{}", receipt.text());
    // Once, and the next summary knows it too.
    feed(&mut app, [lost("a"), up("a"), ring_of("a", "second"), new()]);
    assert_eq!(lost_files(&app).len(), 2);
    let mut again = attached(app.session.summary());
    feed(&mut again, [deploy("a", DeployProgress::Running), up("a"), ring_of("a", "second"), new()]);
    assert_eq!(lost_files(&again), Vec::<String>::new(), "they were lost, and that was told");

    // Its Job is gone, and with it all that it had.
    let mut app = attached(left_running());
    feed(&mut app, [deploy("a", DeployProgress::Ended("its Job is gone".into()))]);
    assert!(said(&app, "lost 2 capture files of a (75 B)") && lost_files(&app).len() == 2);
}

/// What agents have delivered by themselves only S3 can tell of, once their rings are gone.
#[test]
fn what_was_delivered_while_nobody_was_attached_is_not_lost() {
    let stored = StoredFile { key: "inc/7f3a91c2/a/old-0002.pcapng.zst".into(), size: 20, modified: NOW };
    let outcomes = [
        (Ok(vec![stored]), &["old-0003.pcapng"][..], "lost 1 capture file of a (25 B)"),
        (Err(failure()), &["old-0002.pcapng", "old-0003.pcapng"], "lost 2 capture files of a (75 B)"),
    ];
    for (outcome, lost, said) in outcomes {
        let mut app = app();
        let url = "s3://captures/inc".parse().expect("a place");
        app.session.terms.storage = Some(StorageInfo { url, way: Way::Grant });
        feed(&mut app, [Event::Earlier(Box::new(left_running()))]);
        let attach = Event::Attach { began: NOW, ends: Some(NOW + 7_200_000), stood_in: false };
        assert_eq!(update(&mut app, attach, NOW), [Effect::ListStored, Effect::Attach]);
        feed(&mut app, [deploy("a", DeployProgress::Ended("its Job is gone".into()))]);
        let is_said = |app: &App| app.session.notices.iter().any(|(_, notice)| notice.headline == said);
        assert!(!is_said(&app), "S3 may have them");
        feed(&mut app, [Event::Stored(outcome)]);
        assert!(is_said(&app), "{:?}", app.session.notices);
        assert_eq!(lost_files(&app), lost);
        let troubles = app.session.receipt().troubles;
        assert!(troubles.is_empty(), "what it captured since was delivered too: {troubles:?}");
    }
}

#[test]
fn a_ring_that_is_still_there_has_lost_nothing() {
    let mut app = attached(left_running());
    feed(&mut app, [deploy("a", DeployProgress::Running), up("a"), ring_of("a", "first"), tunnel("a", running())]);
    let listed = ["old-0002.pcapng", "old-0003.pcapng", "old-0004.pcapng"];
    let listed = listed.map(|name| file(name, 50, FileState::Closed)).to_vec();
    feed(&mut app, [tunnel("a", Update::Files(listed))]);
    assert!(app.session.notices.iter().all(|(_, notice)| notice.severity != Severity::Error));
    let state = &app.session.nodes[&"a".into()];
    assert_eq!((state.files.len(), state.lost_files().count()), (3, 0));
    assert!(app.session.receipt().troubles.is_empty());
}

/// The watch of pods has not told of it yet.
#[test]
fn a_tunnel_that_leads_to_another_ring_is_another_agents() {
    let mut app = live();
    let files = || tunnel("a", Update::Files(vec![file("old-0001.pcapng", 100, FileState::Closed)]));
    feed(&mut app, [ring_of("a", "first"), files(), lost("a"), up("a"), ring_of("a", "first"), files()]);
    assert_eq!(lost_files(&app), Vec::<String>::new());
    feed(&mut app, [lost("a"), up("a"), ring_of("a", "second"), tunnel("a", Update::Files(vec![]))]);
    assert_eq!(app.session.nodes[&"a".into()].lost_files().count(), 1);
}

/// Its Job makes another pod: nobody has to press anything.
#[test]
fn another_pod_of_the_same_job_is_another_agent() {
    let mut app = live();
    let ring = |files| [tunnel("a", Update::Ring(RingState::default())), tunnel("a", Update::Files(files))];
    feed(
        &mut app,
        ring(vec![file("old-0001.pcapng", 100, FileState::Closed), file("old-0002.pcapng", 50, FileState::Open)]),
    );
    let done = FetchProgress::Done { path: "old-0001.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), "old-0001.pcapng".into(), done)]);
    feed(&mut app, [deploy("a", DeployProgress::Ended("its pod was deleted".into()))]);
    let (_, notice) = app.session.notices.back().expect("it is said at once");
    assert_eq!((notice.severity, &*notice.headline), (Severity::Error, "lost 1 capture file of a (50 B)"));
    for progress in [DeployProgress::Step("waiting for the kubelet".into()), DeployProgress::Running] {
        feed(&mut app, [deploy("a", progress)]);
    }
    feed(&mut app, [up("a"), tunnel("a", facts())]);
    feed(&mut app, ring(vec![file("new-0001.pcapng", 10, FileState::Closed)]));
    assert_eq!(*agent(&app, "a"), Agent::Live);

    key(&mut app, Action::Files);
    let places: Vec<(String, &str)> =
        app.file_rows().iter().map(|row| (row.key.name.clone(), row.place().word())).collect();
    let expected = [("old-0001.pcapng", "here"), ("old-0002.pcapng", "lost"), ("new-0001.pcapng", "on the node")];
    assert_eq!(places, expected.map(|(name, place)| (name.to_owned(), place)));
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Open), [], "it cannot be had");
    assert!(app.latest_notice().is_some_and(|notice| notice.headline.contains("cannot be fetched")));
    key(&mut app, Action::Back);

    key(&mut app, Action::Quit);
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(100, 30)).expect("a terminal");
    let theme = nodewatch_tui::ui::Theme::standard();
    terminal.draw(|frame| drop(nodewatch_tui::ui::draw(frame, &app, &theme))).expect("drawn");
    let shown = terminal.backend().to_string();
    assert!(shown.contains("1 file only on nodes, 10 B, 1 lost") && shown.contains("lost with its agent"), "{shown}");
    let fetches = key(&mut app, Action::Open);
    assert!(matches!(&fetches[..], [Effect::Fetch(_, file)] if file.name == "new-0001.pcapng"), "{fetches:?}");
    let done = FetchProgress::Done { path: "new-0001.pcapng".into(), sha256: "00".into() };
    feed(&mut app, [Event::Fetch("a".into(), "new-0001.pcapng".into(), done), Event::Removal(Removal::Finished)]);
    let receipt = app.session.receipt();
    assert_eq!(receipt.files.fetched.len(), 2, "the one of the earlier ring too");
    let lost = FileNote {
        node: "a".into(),
        file: "old-0002.pcapng".into(),
        size: 50,
        reason: "its ring was removed with its agent".into(),
    };
    assert_eq!(receipt.files.lost, [lost]);
    assert!(!receipt.is_whole(), "exit code 3");
    assert!(
        receipt.text().contains("LOST     old-0002.pcapng of a, 50 B: its ring was removed with its agent"),
        "{}",
        receipt.text()
    );
}

/// What a full ring threw away is counted over all rings of a node.
#[test]
fn what_earlier_rings_threw_away_is_not_forgotten() {
    let mut app = live();
    let threw = |files| {
        let discarded = nodewatch_protocol::Amount { files, bytes: 10 * files, packets: files };
        tunnel("a", Update::Ring(RingState { discarded, ..RingState::default() }))
    };
    feed(&mut app, [threw(2), deploy("a", DeployProgress::Ended("evicted".into()))]);
    feed(&mut app, [deploy("a", DeployProgress::Running), up("a"), threw(3)]);
    assert_eq!(app.session.nodes[&"a".into()].discarded().files, 5);
    assert_eq!(app.session.receipt().files.lost[0].size, 50);
}

/// A drain gives an agent half a minute: what it has closed by then comes home.
#[test]
fn an_agent_that_is_being_ended_is_heard_to_its_end() {
    let mut app = live();
    let closed = |number| file(&format!("x-{number:04}.pcapng"), 100, FileState::Closed);
    feed(&mut app, [tunnel("a", running()), tunnel("a", Update::Ring(RingState::default()))]);
    feed(&mut app, [tunnel("a", Update::Files(vec![closed(1)]))]);
    let ending = || deploy("a", DeployProgress::Ending("its pod is being deleted".into()));
    let effects = update(&mut app, ending(), NOW);
    assert_eq!(effects, [Effect::Fetch("a".into(), closed(1))]);
    assert_eq!(update(&mut app, ending(), NOW), [], "once");
    assert_eq!(*agent(&app, "a"), Agent::Live);
    let effects = update(&mut app, tunnel("a", Update::FilesChanged { files: vec![closed(2)], gone: vec![] }), NOW);
    assert_eq!(effects, [Effect::Fetch("a".into(), closed(2))]);
    feed(&mut app, [lost("a")]);
    assert!(matches!(agent(&app, "a"), Agent::Ended(_)), "nothing is reopened to a pod that goes");
    let losses =
        |app: &App| app.session.notices.iter().filter(|(_, notice)| notice.headline.starts_with("lost ")).count();
    assert_eq!(losses(&app), 0, "both are on their way");
    assert_eq!(app.session.nodes[&"a".into()].lost_files().count(), 0);
    // A node that answers no more ends with the pod, though nobody removes that.
    feed(&mut app, [lost("b"), deploy("b", DeployProgress::Ending("its pod is being deleted".into()))]);
    assert!(matches!(agent(&app, "b"), Agent::Ended(_)));
    key(&mut app, Action::Down);
    assert_eq!(key(&mut app, Action::Deploy), [Effect::Deploy(vec!["b".into()])]);
}

/// A node that is shut down ends its containers before anybody says anything of their pods.
#[test]
fn an_agent_that_says_that_it_is_being_ended_is_fetched_from_and_may_come_back() {
    let mut app = live();
    let closed = |number| file(&format!("x-{number:04}.pcapng"), 100, FileState::Closed);
    let mut shut = node("a", "1a", Readiness::NotReady);
    shut.machine.shuts_down = true;
    feed(&mut app, [Event::Nodes(NodesChange::Applied(shut)), tunnel("a", running())]);
    feed(&mut app, [tunnel("a", Update::Ring(RingState::default())), tunnel("a", Update::Files(vec![closed(1)]))]);
    assert_eq!(update(&mut app, tunnel("a", Update::Ending), NOW), [Effect::Fetch("a".into(), closed(1))]);
    assert_eq!(update(&mut app, tunnel("a", Update::Ending), NOW), [], "once");
    let (_, notice) = app.session.notices.back().expect("it is told");
    assert_eq!(notice.headline, "the agent on a is being shut down");
    assert_eq!(notice.cause, "it was told to end (SIGTERM) from outside; its node is shutting down");
    let told = app.session.notices.len();
    // What is said of its pod then is more.
    feed(&mut app, [lost("a")]);
    assert!(matches!(agent(&app, "a"), Agent::Lost { .. }), "its container may start again");
    feed(&mut app, [up("a")]);
    assert_eq!(*agent(&app, "a"), Agent::Live);
    assert!(app.session.notices.len() > told, "the tunnel was lost");
    // The tunnel was cut within those seconds; what ends is told once.
    let told = app.session.notices.len();
    feed(&mut app, [tunnel("a", Update::Ending)]);
    feed(&mut app, [deploy("a", DeployProgress::Ending("its pod is being deleted".into()))]);
    assert_eq!(app.session.notices.len(), told);
}

/// What is taken away by others says so first: the pod by a condition, its node by a taint.
#[test]
fn the_notice_that_ends_an_agent_is_named() {
    let mut app = live();
    let mut drained = node("a", "1a", Readiness::Ready);
    drained.machine.taints = vec!["karpenter.sh/disrupted".into()];
    feed(&mut app, [Event::Nodes(NodesChange::Applied(drained))]);
    feed(&mut app, [deploy("a", DeployProgress::Ending("its pod is evicted".into()))]);
    let (_, notice) = app.session.notices.back().expect("it is told");
    assert_eq!(notice.cause, "its pod is evicted; Karpenter takes its node away (taint karpenter.sh/disrupted)");
    let mut app = live();
    feed(&mut app, [Event::Finish]);
    let told = app.session.notices.len();
    feed(&mut app, [tunnel("a", Update::Ending)]);
    assert_eq!(app.session.notices.len(), told, "it is this program that ends it");
}

#[test]
fn any_change_of_the_nodes_shows_that_their_watch_lives() {
    let mut app = live();
    let refused = || NodesChange::Failed(Notice::error("cannot list the nodes", "refused", ""));
    let applied: fn() -> NodesChange = || NodesChange::Applied(node("a", "1a", Readiness::Ready));
    let changes: [NodesChange; 2] = [applied(), NodesChange::Gone("c".into())];
    for change in changes {
        feed(&mut app, [Event::Nodes(refused())]);
        assert!(matches!(app.session.listing, Listing::Stale(_)));
        feed(&mut app, [Event::Nodes(change)]);
        assert_eq!(app.session.listing, Listing::Current);
    }
    // Before the first list a change is not all of it.
    let mut fresh = sample::app();
    feed(&mut fresh, [Event::Nodes(applied())]);
    assert_eq!(fresh.session.listing, Listing::Loading);
}

/// A laptop that was asleep for half an hour, with twelve agents: four went meanwhile, one node hangs.
#[test]
fn after_half_an_hour_of_sleep_every_node_is_what_it_is() {
    let mut app = app();
    let names: Vec<String> = (1..=12).map(|number| format!("n{number:02}")).collect();
    let nodes: Vec<Node> = names.iter().map(|name| node(name, "1a", Readiness::Ready)).collect();
    feed(
        &mut app,
        [
            Event::Nodes(NodesChange::Replaced(nodes)),
            Event::DeployTo(names.iter().map(|name| name.as_str().into()).collect()),
        ],
    );
    for name in &names {
        feed(
            &mut app,
            [deploy(name, DeployProgress::Running), up(name), tunnel(name, facts()), tunnel(name, running())],
        );
    }
    let woken = NOW + 1_800_000;
    let at = |app: &mut App, event: Event, seconds: u64| update(app, event, woken + seconds * 1000);
    let pressed = |app: &mut App, action, seconds: u64| update(app, Input::Key(action), woken + seconds * 1000);
    at(&mut app, Event::Nodes(NodesChange::Failed(Notice::error("cannot list the nodes", "timed out", ""))), 0);
    // Every tunnel is cut; the list of pods says that four have gone; seven tunnels are up again; one node hangs.
    for name in &names {
        at(&mut app, lost(name), 1);
    }
    // Keys act meanwhile, on what is so.
    pressed(&mut app, Action::Top, 1);
    assert_eq!(pressed(&mut app, Action::Deploy, 1), [], "its tunnel is being reopened");
    for name in &names[..4] {
        at(&mut app, deploy(name, DeployProgress::Ended("its pod is gone".into())), 2);
    }
    assert_eq!(pressed(&mut app, Action::Deploy, 2), [Effect::Deploy(vec!["n01".into()])], "none is stuck");
    for name in &names[4..11] {
        for event in [up(name), tunnel(name, facts()), tunnel(name, running())] {
            at(&mut app, event, 3);
        }
    }
    for second in 4..30 {
        at(&mut app, lost("n12"), second);
        at(&mut app, Event::Tick, second);
    }
    let listed = app.session.nodes.values().map(|state| state.node.clone()).collect();
    at(&mut app, Event::Nodes(NodesChange::Replaced(listed)), 29);
    let words: Vec<&str> = app.session.nodes.values().map(|state| state.agent.word()).collect();
    assert_eq!(words, [&["deploying"][..], &["ended"; 3], &["live"; 7], &["lost"]].concat());
    assert!(app.session.nodes.values().take(4).all(|state| !state.is_capturing()));
    assert!(app.session.nodes.values().skip(4).take(7).all(nodewatch_tui::session::node::NodeState::is_capturing));
    assert_eq!(app.session.listing, Listing::Current);
}
