//! The cluster layer against an API server in memory: refusals, odd answers, and what exactly is asked of it.

#[path = "support/api.rs"]
mod api;
#[path = "api_server/asked.rs"]
mod asked;
#[path = "api_server/current.rs"]
mod current;
#[path = "api_server/daemonset.rs"]
mod daemonset;
#[path = "api_server/images.rs"]
mod images;
#[path = "api_server/journal.rs"]
mod journal;
#[path = "api_server/patience.rs"]
mod patience;
#[path = "api_server/safety.rs"]
mod safety;
#[path = "api_server/targets.rs"]
mod targets;

use std::{collections::BTreeSet, path::Path, time::Duration};

use api::{Answer, Call, Server, Stack, refusal};
use futures::StreamExt;
use http::Method;
use nodewatch_protocol::Orders;
use nodewatch_tui::{
    agents::site::Site,
    cluster::{AgentSettings, Cluster, Connection, leftovers, trust_cluster},
    journal::Journals,
    model::{
        DeployProgress, Failure, Group, Holder, Keep, Kind, NodeName, NodesChange, Notice, Outcome, Place, Removal,
        SessionId, StandIn,
    },
};
use serde_json::{Value, json};

const NAMESPACE: &str = "/api/v1/namespaces/nodewatch-00000001";

struct Test {
    server: Server,
    connection: Connection,
    cluster: Cluster,
    journals: Journals,
    folder: tempfile::TempDir,
}

fn settings() -> AgentSettings {
    AgentSettings {
        image: "registry.example/agent:1".into(),
        pull_policy: None,
        budget: Duration::from_secs(600),
        lease: Duration::from_secs(60),
        namespace: None,
        reaper: false,
        service_account: None,
        ring: None,
        role: None,
        push: None,
        processes: false,
        daemonset: false,
        owner: "me@here".into(),
    }
}

fn test_with(settings: AgentSettings, script: impl FnMut(&Call) -> Option<(u16, Value)> + Send + 'static) -> Test {
    over(settings, Server::start(script))
}

fn over(settings: AgentSettings, (server, stack): (Server, Stack)) -> Test {
    let folder = tempfile::tempdir().expect("a folder");
    let journals = Journals::in_folder(folder.path());
    let connection = Connection::over(stack, Place::Local);
    let cluster = Cluster::new(connection.clone(), SessionId::new(1), settings, journals.clone());
    Test { server, connection, cluster, journals, folder }
}

/// The same with a script that says how the server answers, too.
fn scripted(script: impl FnMut(&Call) -> Option<Answer> + Send + 'static) -> Test {
    over(settings(), Server::scripted(script))
}

/// A session on a server that answers so where it answers, and otherwise as a server does.
fn test(script: impl FnMut(&Call) -> Option<(u16, Value)> + Send + 'static) -> Test {
    test_with(settings(), script)
}

impl Test {
    async fn first_failure(&self) -> Notice {
        let mut changes = self.cluster.nodes();
        loop {
            match changes.next().await {
                Some(NodesChange::Failed(notice)) => return notice,
                Some(NodesChange::Told(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// What is said first of each node.
    async fn deploy(&self, nodes: &[&str]) -> Vec<(NodeName, DeployProgress)> {
        let progress = self.cluster.deploy(nodes.iter().map(|&name| name.into()).collect());
        let of_a_node = |progress: &DeployProgress| !matches!(progress, DeployProgress::Told(_));
        let progress = progress.filter(move |(_, progress)| std::future::ready(of_a_node(progress)));
        let all = progress.take(nodes.len()).collect();
        tokio::time::timeout(Duration::from_secs(100), all).await.expect("in time")
    }

    async fn refused_deployment(&self) -> Notice {
        match self.deploy(&["n1"]).await.remove(0) {
            (_, DeployProgress::Failed(notice)) => notice,
            other => panic!("{other:?}"),
        }
    }

    async fn removals(&self, keep: Keep) -> Vec<Removal> {
        news(self.cluster.remove(keep)).await
    }

    fn made(&self) -> Vec<Kind> {
        self.cluster.made().iter().map(|object| object.kind).collect()
    }

    fn job_path(&self) -> String {
        let jobs = format!("{}/jobs/", NAMESPACE.replace("/api/v1", "/apis/batch/v1"));
        self.server.lock().objects.keys().find(|path| path.starts_with(&jobs)).expect("a Job").clone()
    }
}

async fn news(removals: impl futures::Stream<Item = Removal>) -> Vec<Removal> {
    let news = removals.filter(|removal| {
        let news = !matches!(removal, Removal::Removing(_));
        async move { news }
    });
    tokio::time::timeout(Duration::from_secs(100), news.collect()).await.expect("in time")
}

fn fate(removals: &[Removal], wanted: Kind) -> Result<(), String> {
    let fate = removals.iter().find_map(|removal| match removal {
        Removal::Gone(object) if object.kind == wanted => Some(Ok(())),
        Removal::Kept(object) if object.kind == wanted => Some(Err("kept".to_owned())),
        Removal::Failed(object, reason) if object.kind == wanted => Some(Err(reason.clone())),
        _ => None,
    });
    fate.unwrap_or_else(|| panic!("nothing is said of the {}: {removals:?}", wanted.word()))
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_list_names_the_missing_right() {
    let test = test(|_| Some(refusal(403, "Forbidden", "nodes is forbidden: User \"x\"")));
    let notice = test.first_failure().await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert_eq!(
        notice.line(),
        "cannot list the nodes: nodes is forbidden: User \"x\" (you need: list and watch on nodes)"
    );
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_say_how_to_renew_them() {
    let test = test(|_| Some(refusal(401, "Unauthorized", "Unauthorized")));
    let notice = test.first_failure().await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert!(notice.next_step.contains("aws sso login"), "{notice:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_kubernetes_are_a_notice() {
    let test = test(|_| Some((200, json!("\u{1b}[2J not a list"))));
    assert!(test.first_failure().await.headline.contains("cannot list the nodes"));
}

#[tokio::test(start_paused = true)]
async fn what_preflight_finds_missing_stops_the_session_before_anything_is_made() {
    let test = test(|call| {
        let attributes = &call.body["spec"]["resourceAttributes"];
        let denied = attributes["resource"] == "namespaces" && attributes["verb"] == "delete";
        denied.then(|| (201, json!({"metadata": {}, "spec": {}, "status": {"allowed": false}})))
    });
    let notice = test.refused_deployment().await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert!(notice.line().contains("no right to delete on namespaces"), "{}", notice.line());
    assert!(test.made().is_empty());
    assert!(test.journals.all().is_empty(), "a session that never began has no journal");
    let created: Vec<Call> =
        test.server.lock().calls.iter().filter(|call| call.method == Method::POST).cloned().collect();
    let asks = |call: &Call| call.path.contains("review") || call.query.contains("dryRun=All");
    assert!(created.iter().all(asks), "{created:?}");
    assert_eq!(test.server.lock().objects.len(), 1, "the dry run has made nothing");
}

#[tokio::test(start_paused = true)]
async fn a_refused_namespace_fails_the_node_and_nothing_was_made() {
    let test = test(|call| {
        let creates = call.method == Method::POST && call.path.ends_with("/namespaces") && call.query.is_empty();
        creates.then(|| refusal(403, "Forbidden", "namespaces is forbidden"))
    });
    let notice = test.refused_deployment().await;
    assert_eq!(notice.failure, Failure::NotPermitted);
    assert!(notice.next_step.contains("create on namespaces"), "{notice:?}");
    assert!(test.made().is_empty());
    assert!(test.journals.all().remove(0).expect("readable").is_over(), "a refusal leaves nothing to look for");
}

#[tokio::test(start_paused = true)]
async fn a_refused_job_leaves_what_was_made_on_the_list() {
    let test = test(|call| {
        let creates = call.method == Method::POST && call.path.ends_with("/jobs");
        creates.then(|| refusal(403, "Forbidden", "exceeded quota: jobs"))
    });
    let notice = test.refused_deployment().await;
    assert!(notice.cause.contains("exceeded quota"), "{notice:?}");
    assert_eq!(test.made(), [Kind::Namespace, Kind::ServiceAccount]);
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_creation_got_no_answer_is_written_down_and_found_again() {
    // The Job is created, and no answer comes back, however often.
    let test = test(|call| {
        let creates = call.method == Method::POST && call.path.ends_with("/jobs");
        creates.then(|| refusal(504, "Timeout", "no answer"))
    });
    test.refused_deployment().await;
    let record = test.journals.all().remove(0).expect("readable");
    assert!(record.objects.iter().any(|(_, object)| object.kind == Kind::Job && object.uid.is_none()), "{record:?}");
    let labels = json!({"nodewatch-tui/session": "00000001", "app.kubernetes.io/managed-by": "nodewatch-tui"});
    let name = record.objects.last().expect("objects").1.name.clone();
    let path = format!("{}/jobs/{name}", NAMESPACE.replace("/api/v1", "/apis/batch/v1"));
    let metadata = json!({"name": name, "namespace": "nodewatch-00000001", "uid": "late", "labels": labels});
    test.server.put(&path, json!({"metadata": metadata}));
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::Job), Ok(()));
    assert!(test.server.called(&Method::DELETE).contains(&path), "its UID was taken from the list");
    assert!(test.journals.all().remove(0).expect("readable").is_over());
}

#[tokio::test(start_paused = true)]
async fn a_creation_without_an_answer_is_tried_again_and_knows_its_own() {
    // The namespace is made, but the answer is lost; then the server comes back and refuses for a moment.
    let mut call_number = 0;
    let test = test(move |call| {
        let creates = call.method == Method::POST && call.path.ends_with("/namespaces") && call.query.is_empty();
        call_number += usize::from(creates);
        match call_number {
            1 if creates => Some(refusal(504, "Timeout", "no answer")),
            2 if creates => Some(refusal(403, "Forbidden", "not yet")),
            _ => None,
        }
    });
    let labels = json!({"nodewatch-tui/session": "00000001"});
    test.server.put(NAMESPACE, json!({"metadata": {"name": "nodewatch-00000001", "uid": "early", "labels": labels}}));
    assert!(matches!(test.deploy(&["n1"]).await[0].1, DeployProgress::Step(_)));
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
    assert_eq!(test.server.lock().objects.len(), 1, "only kube-system is left");
}

/// The Job is made and its answer is lost; its own count then exceeds the quota, so the next try is refused.
#[tokio::test(start_paused = true)]
async fn only_the_first_answer_proves_that_something_was_not_made() {
    for second in [refusal(403, "Forbidden", "exceeded quota: jobs"), refusal(401, "Unauthorized", "Unauthorized")] {
        let mut creations = 0;
        let test = test(move |call| {
            let creates = call.method == Method::POST && call.path.ends_with("/jobs") && call.query.is_empty();
            creations += usize::from(creates);
            creates.then(|| if creations == 1 { refusal(504, "Timeout", "no answer") } else { second.clone() })
        });
        test.refused_deployment().await;
        assert!(test.made().contains(&Kind::Job), "it may exist: {:?}", test.made());
        let record = test.journals.all().remove(0).expect("readable");
        assert!(record.objects.iter().any(|(_, object)| object.kind == Kind::Job), "{record:?}");
    }
}

/// Something of that name is there, and whose it is cannot be seen.
#[tokio::test(start_paused = true)]
async fn an_object_that_may_be_ours_is_not_called_gone() {
    let test = test(move |call| {
        if call.method == Method::POST && call.path.ends_with("/jobs") && call.query.is_empty() {
            return Some(refusal(409, "AlreadyExists", "there is one already"));
        }
        let looks_at_it = call.method == Method::GET && call.path.contains("/jobs/");
        looks_at_it.then(|| refusal(403, "Forbidden", "jobs is forbidden"))
    });
    test.refused_deployment().await;
    assert!(test.made().contains(&Kind::Job), "{:?}", test.made());
}

/// The server is away while a Job is created, and the end is moved meanwhile.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_moved_while_a_job_is_created_is_that_jobs_end_too() {
    let (away, mut is_away) = tokio::sync::mpsc::unbounded_channel();
    let mut creations = 0;
    let test = test(move |call| {
        let creates = call.method == Method::POST && call.path.ends_with("/jobs") && call.query.is_empty();
        creations += usize::from(creates);
        (creates && creations < 6).then(|| {
            let _ = away.send(());
            refusal(503, "Unavailable", "away")
        })
    });
    let ends = nodewatch_tui::base::clock::unix_millis() + 7_200_000;
    let moved = async {
        is_away.recv().await.expect("a creation");
        test.cluster.set_ends(ends).await.expect("moved");
    };
    tokio::join!(test.deploy(&["n1"]), moved);
    let path = test.job_path();
    let job = test.server.lock().objects[&path].clone();
    let deadline = job["spec"]["activeDeadlineSeconds"].as_u64().expect("a deadline");
    assert!((7000..=7200).contains(&deadline), "{deadline}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_that_name_that_is_not_ours_is_not_taken() {
    let test = test(|_| None);
    test.server.put(NAMESPACE, json!({"metadata": {"name": "nodewatch-00000001", "uid": "theirs"}}));
    let notice = test.refused_deployment().await;
    assert!(notice.line().contains("there is one already"), "{}", notice.line());
    test.removals(Keep::new()).await;
    assert_eq!(test.server.called(&Method::DELETE), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_nothing_is_created() {
    let test = test(|_| None);
    // A file where the folder should be, as good as a full disk.
    std::fs::write(test.folder.path().join("sessions"), b"").expect("written");
    let notice = test.refused_deployment().await;
    assert!(notice.line().contains("nothing was created: it cannot be recorded"), "{}", notice.line());
    assert!(notice.line().contains("XDG_STATE_HOME"), "{}", notice.line());
    assert_eq!(test.server.lock().objects.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn removal_is_by_uid_and_label_and_believes_what_it_sees() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    let account = format!("{NAMESPACE}/serviceaccounts/nodewatch-agent-00000001");
    {
        let mut state = test.server.lock();
        // Somebody has made a service account of the same name anew, and taken the label off the Job.
        state.objects.get_mut(&account).expect("made")["metadata"]["uid"] = json!("another");
    }
    let job = test.job_path();
    test.server.lock().objects.get_mut(&job).expect("made")["metadata"]["labels"] = json!({});
    let removals = test.removals(Keep::new()).await;
    assert_eq!(fate(&removals, Kind::ServiceAccount), Ok(()), "another UID means that ours is gone");
    assert!(fate(&removals, Kind::Job).is_err_and(|reason| reason.contains("left alone")), "{removals:?}");
    assert_eq!(removals.last(), Some(&Removal::Finished));
    let deletes = test.server.called(&Method::DELETE);
    assert!(!deletes.contains(&account) && !deletes.contains(&job), "only what is ours is deleted: {deletes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_already_is_done() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    test.server.lock().objects.retain(|path, _| path.ends_with("kube-system"));
    let removals = test.removals(Keep::new()).await;
    assert_eq!(removals.iter().filter(|removal| matches!(removal, Removal::Gone(_))).count(), 3, "{removals:?}");
    assert!(test.made().is_empty());
    assert_eq!(test.server.called(&Method::DELETE), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_delete_the_object_is_reported_as_left() {
    let test = test(|call| (call.method == Method::DELETE).then(|| refusal(403, "Forbidden", "you may not delete")));
    test.deploy(&["n1"]).await;
    let removals = test.removals(Keep::new()).await;
    for kind in [Kind::Job, Kind::ServiceAccount, Kind::Namespace] {
        let reason = fate(&removals, kind).expect_err("left");
        assert!(reason.contains("you may not delete") && reason.contains("you need"), "{reason}");
    }
    assert_eq!(test.made().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_stays_and_agents_keep_their_namespace() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    let removals = test.removals(Keep::from([Group::Agents])).await;
    for kind in [Kind::Job, Kind::ServiceAccount, Kind::Namespace] {
        assert_eq!(fate(&removals, kind), Err("kept".into()));
    }
    let removals = test.removals(Keep::from([Group::Base])).await;
    assert_eq!(fate(&removals, Kind::Job), Ok(()));
    assert_eq!(fate(&removals, Kind::Namespace), Err("kept".into()));
}

#[tokio::test(start_paused = true)]
async fn a_strangers_object_stops_the_namespaces_removal_and_is_named() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    test.server.put(&format!("{NAMESPACE}/configmaps/notes"), json!({"metadata": {"name": "notes", "uid": "n"}}));
    test.server
        .put(&format!("{NAMESPACE}/configmaps/kube-root-ca.crt"), json!({"metadata": {"name": "kube-root-ca.crt"}}));
    let removals = test.removals(Keep::new()).await;
    let reason = fate(&removals, Kind::Namespace).expect_err("it stays");
    assert!(reason.contains("ConfigMap notes") && !reason.contains("kube-root-ca"), "{reason}");
    assert_eq!(fate(&removals, Kind::Job), Ok(()));
    assert!(test.server.lock().objects.contains_key(NAMESPACE));
    test.server.lock().objects.remove(&format!("{NAMESPACE}/configmaps/notes"));
    assert_eq!(fate(&test.removals(Keep::new()).await, Kind::Namespace), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn in_a_namespace_of_somebody_else_only_our_objects_go() {
    let settings = AgentSettings { namespace: Some("tools".into()), ..settings() };
    let test = test_with(settings, |call| {
        // Quotas and limit ranges: none.
        let lists = ["/resourcequotas", "/limitranges"].iter().any(|kind| call.path.ends_with(kind));
        lists.then(|| (200, json!({"kind": "List", "metadata": {}, "items": []})))
    });
    test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "uid": "t"}}));
    let theirs = "/apis/batch/v1/namespaces/tools/jobs/backup";
    test.server.put(theirs, json!({"metadata": {"name": "backup", "namespace": "tools", "uid": "b"}}));
    test.deploy(&["n1"]).await;
    assert_eq!(test.made(), [Kind::ServiceAccount, Kind::Job]);
    let removals = test.removals(Keep::new()).await;
    assert_eq!((fate(&removals, Kind::Job), fate(&removals, Kind::ServiceAccount)), (Ok(()), Ok(())));
    let left: Vec<String> = test.server.lock().objects.keys().cloned().collect();
    assert_eq!(left, ["/api/v1/namespaces/kube-system", "/api/v1/namespaces/tools", theirs]);
}

#[tokio::test(start_paused = true)]
async fn another_cluster_at_the_same_address_loses_nothing() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    test.server.put("/api/v1/namespaces/kube-system", json!({"metadata": {"name": "kube-system", "uid": "cluster-2"}}));
    let removals = test.removals(Keep::new()).await;
    let [Removal::Refused(notice), Removal::Finished] = &removals[..] else { panic!("{removals:?}") };
    assert!(notice.line().contains("was cluster-1 and is cluster-2"), "{}", notice.line());
    assert!(matches!(&test.deploy(&["n2"]).await[0].1, DeployProgress::Failed(_)), "nor does it get anything");
    assert_eq!(test.server.called(&Method::DELETE), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_moved_everywhere_at_once() {
    let settings = AgentSettings { reaper: true, ..settings() };
    let test = test_with(settings, |_| None);
    test.deploy(&["n1"]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_millis() as u64;
    test.cluster.set_ends(now + 7_200_000).await.expect("moved");
    let state = test.server.lock();
    let deadline = |path: &str| {
        let job = state.objects.iter().find(|(known, _)| known.contains(path)).expect("a Job").1;
        job["spec"]["activeDeadlineSeconds"].as_u64().expect("a deadline")
    };
    assert!((7195..=7205).contains(&deadline("/jobs/agent-")), "{}", deadline("/jobs/agent-"));
    assert!((8995..=9005).contains(&deadline("/jobs/reaper-")), "{}", deadline("/jobs/reaper-"));
    let ends = state.objects[NAMESPACE]["metadata"]["annotations"]["nodewatch-tui/ends"].as_str().expect("a time");
    let ends: jiff::Timestamp = ends.parse().expect("RFC 3339");
    assert!((ends.as_millisecond() as u64).abs_diff(now + 7_200_000) < 1000);
    drop(state);
    assert_eq!(test.journals.all().remove(0).expect("readable").ends, now + 7_200_000);
}

#[tokio::test(start_paused = true)]
async fn after_its_end_a_session_gets_no_agent_until_the_end_is_moved() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    test.cluster.set_ends(1).await.expect("moved");
    let notice = match test.deploy(&["n2"]).await.remove(0) {
        (_, DeployProgress::Failed(notice)) => notice,
        other => panic!("{other:?}"),
    };
    assert!(notice.line().contains("budget is spent"), "{}", notice.line());
    test.cluster.set_ends(u64::MAX / 2).await.expect("moved");
    assert!(matches!(test.deploy(&["n2"]).await[0].1, DeployProgress::Step(_)));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_this_laptop_and_of_others_are_told_apart() {
    let test = test(|_| None);
    test.deploy(&["n1"]).await;
    let labels = json!({"nodewatch-tui/session": "0badcafe", "app.kubernetes.io/managed-by": "nodewatch-tui"});
    let annotations = json!({"nodewatch-tui/owner": "them@there", "nodewatch-tui/began": "2023-11-14T22:13:20Z"});
    let metadata = json!({"name": "nodewatch-0badcafe", "uid": "x", "labels": labels, "annotations": annotations});
    test.server.put("/api/v1/namespaces/nodewatch-0badcafe", json!({"metadata": metadata}));

    let found = leftovers(&test.connection, &test.journals).await.expect("found");
    let seen: Vec<_> = found.iter().map(|one| (one.summary.id.to_string(), one.summary.holder)).collect();
    assert_eq!(seen, [("00000001".into(), Holder::Running), ("0badcafe".into(), Holder::Elsewhere)]);
    let theirs = &found[1].summary;
    assert_eq!((theirs.owner.as_deref(), theirs.began), (Some("them@there"), Some(1_700_000_000_000)));
    // What another program has open is not cleaned up under it.
    let removals = news(found[0].clone().remove(test.journals.clone(), Duration::from_secs(1))).await;
    assert!(
        matches!(&removals[0], Removal::Refused(notice) if notice.line().contains("open in another")),
        "{removals:?}"
    );
    let removals = news(found[1].clone().remove(test.journals.clone(), Duration::from_secs(1))).await;
    assert_eq!(fate(&removals, Kind::Namespace), Ok(()));
    assert!(test.server.lock().objects.contains_key(NAMESPACE), "only the one that was meant");
}

/// Whoever asks a session's agents must know of each that may be there before it hears of one that has ended.
#[tokio::test(start_paused = true)]
async fn agents_that_may_be_there_are_told_before_those_that_have_ended() {
    let test = test(|_| None);
    test.deploy(&["n1", "n2"]).await;
    for (path, object) in &mut test.server.lock().objects {
        if path.contains("/jobs/") && object["metadata"]["annotations"]["nodewatch-tui/node"] == "n1" {
            object["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        }
    }
    let told: Vec<(NodeName, DeployProgress)> = test.cluster.attach().take(2).collect().await;
    assert!(matches!(&told[0], (node, DeployProgress::Step(_)) if *node == "n2".into()), "{told:?}");
    assert!(matches!(&told[1], (node, DeployProgress::Ended(_)) if *node == "n1".into()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_hangs_is_named() {
    let test = test(|call| {
        let deletes = call.method == Method::DELETE && call.path.contains("/jobs/");
        deletes.then(|| (200, json!({"metadata": {}})))
    });
    test.deploy(&["n1"]).await;
    let job = test.job_path();
    test.server.lock().objects.get_mut(&job).expect("made")["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let state = test.folder.path();
    let found = abandoned(&test, state).await;
    let removals = news(found.remove(test.journals.clone(), Duration::from_millis(500))).await;
    let reason = fate(&removals, Kind::Job).expect_err("it hangs");
    assert!(reason.contains("still there") && reason.contains("example.com/hold"), "{reason}");
}

/// The test's own session as it looks when its program has ended: the same journal without its lock.
async fn abandoned(test: &Test, state: &Path) -> nodewatch_tui::cluster::Leftover {
    let folder = state.join("sessions");
    let journal = folder.join("00000001.json");
    let copy = folder.join("copy");
    std::fs::copy(&journal, &copy).expect("copied");
    std::fs::rename(&copy, &journal).expect("renamed");
    leftovers(&test.connection, &test.journals).await.expect("found").remove(0)
}

/// Linear in nodes, at most four calls a node, never more than ten at once.
#[tokio::test(start_paused = true)]
async fn a_hundred_nodes_are_no_flood() {
    let test = test(|_| None);
    let names: Vec<String> = (0..100).map(|number| format!("node-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let base = test.deploy(&names[..1]).await.len();
    assert_eq!(base, 1);
    let before = test.server.lock().calls.len();
    test.deploy(&names[1..]).await;
    let removals = test.removals(Keep::new()).await;
    assert_eq!(removals.iter().filter(|removal| matches!(removal, Removal::Gone(_))).count(), 102);
    let state = test.server.lock();
    let calls = state.calls.len() - before;
    assert!(calls <= 4 * 99, "{calls} calls");
    assert!(state.most_in_flight <= 10, "{} at once", state.most_in_flight);
    let lists: BTreeSet<&str> =
        state.calls.iter().filter(|call| call.method == Method::GET).map(|call| call.path.as_str()).collect();
    assert!(!lists.iter().any(|path| path.contains("/jobs/")), "no Job is asked for by itself: {lists:?}");
}

#[tokio::test(start_paused = true)]
async fn preflight_says_what_is_wrong_with_an_existing_namespace() {
    let settings = AgentSettings { namespace: Some("tools".into()), ..settings() };
    let test = test_with(settings, |call| {
        let quota = json!({"metadata": {"name": "small"},
            "status": {"hard": {"pods": "3"}, "used": {"pods": "3"}}});
        match call.path.as_str() {
            path if path.ends_with("/resourcequotas") => {
                Some((200, json!({"kind": "List", "metadata": {}, "items": [quota]})))
            }
            path if path.ends_with("/limitranges") => Some(refusal(403, "Forbidden", "no limit ranges for you")),
            _ => None,
        }
    });
    let outcome = |checks: &[nodewatch_tui::model::PreflightCheck], name: &str| {
        checks.iter().find(|check| check.check == name).map(|check| (check.outcome, check.detail.clone()))
    };
    let checks = test.cluster.preflight(&[]).await;
    assert!(matches!(outcome(&checks, "namespace"), Some((Outcome::Failed, _))), "{checks:?}");

    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "labels": labels}}));
    let checks = test.cluster.preflight(&[]).await;
    let security = checks.iter().find(|check| check.check == "pod security").expect("checked");
    assert!(security.outcome == Outcome::Failed && security.fix.contains("kubectl label"), "{security:?}");
    let (quota, detail) = outcome(&checks, "quota").expect("checked");
    assert!(quota == Outcome::Failed && detail.contains("small"), "{detail}");
    assert!(matches!(outcome(&checks, "limit range"), Some((Outcome::Warning, _))));
}

fn daemonset_path() -> String {
    format!("{}/daemonsets/agents-00000001", NAMESPACE.replace("/api/v1", "/apis/apps/v1"))
}
