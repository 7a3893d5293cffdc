//! What a cleanup that fails keeps from being done after it.

use futures::{
    FutureExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::*;
use crate::session::{Job, files::MadeFile};
use crate::{
    agents::site::{Bulk, FilePart, OpenError, StreamFrom, Tunnel},
    model::{Kind, MadeObject, NodesChange, Purpose, StorageSettings, Way},
    storage::Storage,
};

/// A site whose removal goes like this.
struct Removing(Vec<Removal>);

impl Site for Removing {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        stream::pending().boxed()
    }

    fn deploy(&self, _nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::pending().boxed()
    }

    fn open(&self, _node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        async { Err(OpenError::Refused("no tunnel".into())) }.boxed()
    }

    fn fetch(&self, _node: &NodeName, _part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        async { Err(OpenError::Refused("no file".into())) }.boxed()
    }

    fn follow(&self, _node: &NodeName, _from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        async { Err(OpenError::Refused("no capture".into())) }.boxed()
    }

    fn remove(&self, _keep: Keep) -> BoxStream<'static, Removal> {
        stream::iter(self.0.clone()).boxed()
    }
}

/// What becomes of the captures in S3, at an address where nobody listens, after that removal.
async fn after(removals: Vec<Removal>) -> String {
    let settings = StorageSettings {
        url: "s3://captures/inc".parse().expect("a place"),
        endpoint: Some("http://127.0.0.1:1".into()),
        region: Some("eu-west-1".into()),
        path_style: Some(true),
        form: nodewatch_protocol::ObjectForm::default(),
        way: Way::PodIdentity,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut outlets = Outlets::from(folder.path().join("out"));
    outlets.storage = Some(Arc::new(Storage::open(settings).await));
    let (events, mut told) = mpsc::channel(64);
    let session = SessionId::new(1);
    let mut performer = Performer::start(Arc::new(Removing(removals)), events, outlets, session, None);
    performer.perform(Effect::CleanUp { captured: Vec::new(), known: Vec::new(), keep: Keep::new() });
    performer.perform(Effect::Remove(Group::Storage));
    let outcome = loop {
        if let Event::Removed(Group::Storage, outcome) = told.recv().await.expect("the program goes on") {
            break outcome;
        }
    };
    performer.shut_down().await;
    outcome.expect_err("nobody listens").line()
}

#[tokio::test]
async fn captures_in_s3_are_not_touched_under_agents_that_could_not_be_removed() {
    let job =
        MadeObject { kind: Kind::Job, namespace: None, name: "agent-1".into(), uid: None, purpose: Purpose::Unknown };
    let namespace = MadeObject { kind: Kind::Namespace, ..job.clone() };
    let left = after(vec![Removal::Failed(job.clone(), "held".into()), Removal::Finished]).await;
    assert!(left.contains("was not touched") && left.contains("cleanup 00000001 --captures"), "{left}");
    let refused = Removal::Refused(Notice::error("another cluster", "", ""));
    assert!(after(vec![refused, Removal::Finished]).await.contains("was not touched"));
    // The namespace alone delivers nothing: S3 is asked, and its trouble is told.
    let gone = vec![Removal::Gone(job), Removal::Failed(namespace, "held".into()), Removal::Finished];
    let tried = after(gone).await;
    assert!(!tried.contains("was not touched"), "{tried}");
}

#[tokio::test]
async fn a_table_that_was_saved_is_a_file_of_the_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let (events, mut told) = mpsc::channel(64);
    let outlets = Outlets::from(folder.path().to_owned());
    let mut performer = Performer::start(Arc::new(Removing(Vec::new())), events, outlets, SessionId::new(1), None);
    let elsewhere = folder.path().join("none/a.csv").display().to_string();
    for name in ["a.csv".to_owned(), elsewhere] {
        performer.perform(Effect::Save { name, contents: "a\n1\n".into(), rows: 1 });
    }
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < 2 {
        match told.recv().await.expect("the program goes on") {
            Event::Made(file) => made.push(file),
            Event::Ended(Job::Write, notice) => ended.push(notice.line()),
            _ => {}
        }
    }
    performer.shut_down().await;
    assert_eq!(made, [MadeFile::table(folder.path().join("a.csv"), folder.path(), 1, 4)]);
    assert_eq!((made[0].name.as_str(), made[0].is_table()), ("a.csv", true));
    ended.sort();
    assert!(ended[0].starts_with("saved ") && ended[1].starts_with("the table was not saved"), "{ended:?}");
    // What earlier versions recorded of a merge is read.
    let old = serde_json::json!({"Merged": {"here": {"Done": {"path": "m.pcapng", "sha256": ""}}, "name": "m.pcapng",
        "files": 2, "packets": 3, "bytes": 4}});
    let Event::Made(old) = serde_json::from_value(old).expect("an event") else { panic!("a file was made") };
    assert_eq!(old, MadeFile::merged("m.pcapng".into(), 2, 3, 4));
}

/// A namespace that is removed underneath takes every agent with it, and what they knew.
#[tokio::test]
async fn a_manifest_is_written_of_what_no_agent_can_say_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let (events, mut told) = mpsc::channel(64);
    let outlets = Outlets::from(folder.path().to_owned());
    let removing = Arc::new(Removing(vec![Removal::Finished]));
    let mut performer = Performer::start(removing, events, outlets, SessionId::new(1), Some("here".into()));
    let file = serde_json::json!({"name": "x.pcapng", "size": 9, "packets": 1, "started": 1, "ended": 2,
        "state": "closed", "sha256": "ab", "fetched": true, "capture": 1, "place": "gone"});
    let files = vec![serde_json::from_value(file).expect("a record")];
    let ring = RingList { node: "a".into(), files, ..RingList::default() };
    let known = vec![(Node::named("a".into()), ring)];
    performer.perform(Effect::CleanUp { captured: Vec::new(), known, keep: Keep::new() });
    while !matches!(told.recv().await.expect("the program goes on"), Event::Removal(Removal::Finished)) {}
    performer.shut_down().await;
    let written = std::fs::read(folder.path().join("manifest-00000001.json")).expect("a manifest");
    let written: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    assert_eq!((&written["context"], &written["nodes"][0]["files"][0]["place"]), (&"here".into(), &"gone".into()));
    assert_eq!(written["nodes"][0]["files"][0]["sha256"], "ab", "{written}");
}

/// What another program has fetched is known by its bytes: another file of that name and size is not it.
#[tokio::test]
async fn a_file_that_is_here_already_is_found_by_its_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, sha256) = (folder.path().join("out"), "d81c55f49c5bb0d36bc11e3966ec4efab66f8dfefbbc1761161ca9d230e5466a");
    std::fs::create_dir_all(out.join("a")).expect("made");
    for (name, bytes) in [("0.pcapng", "other"), ("1.pcapng", "other"), ("1-2.pcapng", "saved")] {
        std::fs::write(out.join("a").join(name), bytes).expect("written");
    }
    let file = |name: &str| CaptureFile {
        name: name.into(),
        sequence: 1,
        size: 5,
        packets: 1,
        since: 0,
        started: 1,
        ended: 2,
        state: nodewatch_protocol::FileState::Closed,
        dropped: nodewatch_protocol::Dropped::default(),
        incomplete: String::new(),
        sha256: Some(sha256.into()),
        delivery: nodewatch_protocol::Delivery::Held,
        fetched: true,
    };
    let (events, mut told) = mpsc::channel(64);
    let outlets = Outlets::from(out.clone());
    let mut performer = Performer::start(Arc::new(Removing(Vec::new())), events, outlets, SessionId::new(1), None);
    for name in ["0.pcapng", "2.pcapng", "1.pcapng"] {
        performer.perform(Effect::LookFor("a".into(), file(name)));
    }
    let found = loop {
        if let Event::Here { file, path, sha256, .. } = told.recv().await.expect("the program goes on") {
            break (file, path, sha256);
        }
    };
    performer.shut_down().await;
    assert_eq!(found, ("1.pcapng".to_owned(), out.join("a/1-2.pcapng"), sha256.to_owned()));
}
