//! A recording of every kind of start says again what the session said.

use std::path::Path;

use nodewatch_answers::{Certainty, Code, News, Pod, PodPhase, Source};
use nodewatch_tui::{
    model::{LogsSettings, NodesChange, Place, Readiness, Removal, S3Url, TunnelChange, Way},
    record::{Player, Recorder},
    screens::{Action, App, Input},
    session::{Event, FileTerms, Happened, Permission, S3Terms, SinkTerms, State, Terms, delivery::StorageInfo},
};

use crate::sample::{NOW, app, facts, file, node, stock, tunnel};

/// What a session begins with, by what is special of it.
fn starts() -> Vec<(&'static str, Terms)> {
    let plain = app().session.terms;
    let url: S3Url = "s3://captures/inc".parse().expect("a place");
    let storage = Some(StorageInfo { url, way: Way::Grant });
    let reports = Some(LogsSettings {
        group: "g".into(),
        per_node: false,
        retention_days: 14,
        interval_seconds: 60,
        cluster: "prod".into(),
        region: Some("eu-west-1".into()),
        endpoint: None,
        way: Way::Grant,
        alarms: true,
        sns_topic: None,
        alarm_on: nodewatch_answers::Codes::default(),
    });
    vec![
        ("plain", plain.clone()),
        (
            "local",
            Terms {
                place: Place::Local,
                files: FileTerms { ring_folder: Some("/tmp/ring".into()), ..FileTerms::default() },
                ..plain.clone()
            },
        ),
        (
            "a stream",
            Terms {
                place: Place::Local,
                files: FileTerms { keep_files: true, ..FileTerms::default() },
                ..plain.clone()
            },
        ),
        (
            "files that come home",
            Terms {
                files: FileTerms { bring_home: true, ..FileTerms::default() },
                ring_bytes: Some(1 << 20),
                ..plain.clone()
            },
        ),
        ("guarded", Terms { permission: Permission::Guarded, ..plain.clone() }),
        ("read-only", Terms { permission: Permission::ReadOnly, ..plain.clone() }),
        ("a first run", Terms { first_run: true, namespace: Some("observability".into()), ..plain.clone() }),
        (
            "to S3",
            Terms {
                storage,
                s3: S3Terms { storage_options: vec!["--s3-region".into(), "x".into()], ..S3Terms::default() },
                ..plain.clone()
            },
        ),
        ("reports", Terms { sinks: SinkTerms { reports, metrics: None }, processes: true, ..plain.clone() }),
        (
            "expectations",
            Terms {
                exclude: "22/tcp".parse().expect("ports"),
                expect: "443/tcp".parse().expect("ports"),
                daemonset: true,
                ..plain
            },
        ),
    ]
}

/// An incident from its beginning to its end.
fn incident() -> Vec<Happened<Input>> {
    let key = |action| Happened::from(Input::Key(action));
    let nodes = ["a", "b"].map(|name| node(name, "1a", Readiness::Ready)).to_vec();
    let up = TunnelChange::Up(nodewatch_protocol::Hello::of("nodewatch-agent", "0.1.0"));
    let files = nodewatch_protocol::Update::Files(vec![file(
        "20231114T221208.000000Z-0001.pcapng",
        67_108_000,
        nodewatch_protocol::FileState::Closed,
    )]);
    vec![
        Event::ClockSet(0).into(),
        Event::Nodes(NodesChange::Replaced(nodes)).into(),
        Event::DeployTo(vec!["a".into()]).into(),
        Event::Tunnel("a".into(), up).into(),
        tunnel("a", facts()).into(),
        tunnel("a", files).into(),
        tunnel("a", crate::sample::on()).into(),
        tunnel("a", nodewatch_protocol::Update::Symptoms(Box::new(crate::sample::unanswered(6)))).into(),
        Event::Tick.into(),
        Event::Tick.into(),
        Event::Tick.into(),
        Event::Tick.into(),
        key(Action::Capture),
        key(Action::Ports),
        key(Action::Back),
        Event::Tick.into(),
        key(Action::Quit),
        stock().into(),
        Event::Finish.into(),
        Event::Removal(Removal::Finished).into(),
    ]
}

/// The session that was recorded, and the same of its recording.
fn recorded(terms: Terms, incident: Vec<Happened<Input>>, path: &Path) -> (App, App) {
    let mut app = App::begin(terms);
    let mut recorder = Recorder::create(path).expect("a file");
    recorder.begin(&app.session.terms).expect("written");
    for (second, happened) in (0..).zip(incident) {
        let now = NOW + second * 1000;
        recorder.event(&happened, now).expect("written");
        // What it makes a program do is not recorded.
        let _ = app.take_in(happened, now);
    }
    recorder.finish(NOW).expect("written");
    let mut player = Player::<App>::open(path).expect("a recording");
    while player.step().expect("a step").is_some() {}
    (app, player.state)
}

#[test]
fn a_replay_says_what_the_session_said_whatever_it_began_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receipts = std::collections::BTreeSet::new();
    for (name, terms) in starts() {
        let path = folder.path().join(name.replace(' ', "-"));
        let (app, again) = recorded(terms, incident(), &path);
        assert_eq!(again.session.terms, app.session.terms, "{name}");
        let text = app.session.receipt().text();
        assert_eq!(again.session.receipt().text(), text, "{name}");
        assert_eq!(again.session.receipt().json(), app.session.receipt().json(), "{name}");
        let summary = |app: &App| nodewatch_tui::handover::markdown(&app.session.summary());
        assert_eq!(summary(&again), summary(&app), "{name}");
        let answers = |app: &App| app.session.answers.current().cloned().collect::<Vec<_>>();
        assert_eq!((answers(&again), answers(&app).len()), (answers(&app), 1), "{name}");
        assert_eq!(format!("{:?}", again.layers), format!("{:?}", app.layers), "{name}");
        receipts.insert(text);
    }
    assert!(receipts.len() > 3, "the starts differ in what is said of them: {receipts:?}");
}

/// What the API server said while connections failed is in the recording, and with it why they did.
#[test]
fn a_replay_gives_the_answers_that_need_what_the_cluster_was_doing() {
    let pod = |phase, deleted| Pod {
        name: "shop/api-1".into(),
        uid: "u1".into(),
        node: "a".into(),
        addresses: vec!["10.0.1.55".parse().expect("an address")],
        phase,
        started: NOW - 3_600_000,
        deleted,
        ..Pod::default()
    };
    let of_pods = |news: Vec<News>| Event::Changes(news).into();
    let listed = vec![News::Lists(Source::Pods), News::Pod(pod(PodPhase::Ready, None)), News::Listed(Source::Pods)];
    let leaves = vec![News::Pod(pod(PodPhase::Terminating, Some(NOW + 8_000)))];
    let mut incident = incident();
    let is_watched = |it: &Happened<Input>| {
        matches!(it, Happened::Event(Event::Tunnel(_, TunnelChange::Update(nodewatch_protocol::Update::Watch(_)))))
    };
    let then = incident.iter().position(is_watched).expect("watched") + 1;
    incident.splice(then..then, [Event::Tick.into(), of_pods(listed), of_pods(leaves)]);
    let folder = tempfile::tempdir().expect("a folder");
    let (app, again) = recorded(app().session.terms, incident, &folder.path().join("journal"));
    let answers = |app: &App| app.session.answers.current().cloned().collect::<Vec<_>>();
    let [answer] = &answers(&app)[..] else { panic!("one: {:?}", answers(&app)) };
    assert_eq!((answer.code, answer.certainty), (Some(Code::EndpointGone), Certainty::Verdict));
    assert!(answer.text.contains("its pod shop/api-1 is being deleted"), "{}", answer.text);
    assert_eq!(answers(&again), answers(&app));
    assert_eq!(again.session.answers.blind(), app.session.answers.blind());
}
