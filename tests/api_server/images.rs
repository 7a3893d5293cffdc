//! An image that cannot be had, and another one that is named while the session runs.

use std::sync::{Arc, Mutex};

use nodewatch_tui::model::AgentImage;

use super::*;

/// What a watch of pods says of one whose image cannot be pulled.
fn failing(job: &str) -> Answer {
    let labels = json!({"nodewatch-tui/session": "00000001", "job-name": job});
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{job}-x"), "namespace": "nodewatch-00000001", "uid": "pod-1",
            "resourceVersion": "2", "labels": labels},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "agent", "image": "registry.example/agent:1",
            "imageID": "", "ready": false, "restartCount": 0, "state": waiting}]}});
    let line = json!({"type": "ADDED", "object": pod}).to_string() + "\n";
    Answer::Says { code: 200, headers: Vec::new(), body: line.into(), ends: false }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_image_failed_is_seen_gone_before_the_next_one_is_made_from_the_image_that_was_named() {
    let job = Arc::new(Mutex::new(None::<String>));
    let test = scripted(move |call| {
        if call.method == Method::POST && call.path.ends_with("/jobs") && !call.query.contains("dryRun") {
            job.lock().expect("whole").get_or_insert(call.body["metadata"]["name"].as_str().expect("a name").into());
        }
        let watches = call.query.contains("watch=true") && !call.query.contains("sendInitialEvents");
        let job = job.lock().expect("whole");
        match job.as_deref() {
            _ if !watches || !call.path.ends_with("/pods") => None,
            Some(job) => Some(failing(job)),
            // Until the Job is there it is cut, and begun again.
            None => Some(Answer::Says { code: 200, headers: Vec::new(), body: "".into(), ends: true }),
        }
    });
    let mut first = test.cluster.deploy(vec!["n1".into()]);
    let failed = async {
        loop {
            match first.next().await.expect("news") {
                (_, DeployProgress::Failed(notice)) => return notice,
                (_, DeployProgress::Step(_) | DeployProgress::Told(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let notice = tokio::time::timeout(Duration::from_secs(100), failed).await.expect("in time");
    assert_eq!((notice.failure, notice.cause.as_str()), (Failure::Image, "not found"));
    let before = test.job_path();

    let refused = test.cluster.set_image("Registry/agent 2").expect_err("no image");
    assert_eq!(refused.failure, Failure::BadInput);
    assert_eq!(test.cluster.set_image("registry.example/agent:2"), Ok(String::new()));
    let second: Vec<(NodeName, DeployProgress)> = test.cluster.deploy(vec!["n1".into()]).collect().await;
    let steps: Vec<&str> = second
        .iter()
        .map(|(_, progress)| match progress {
            DeployProgress::Step(step) => step.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(steps[0].starts_with("removing Job agent-00000001-"), "{steps:?}");
    assert_eq!(steps[1..], ["the Job is created"]);

    let after = test.job_path();
    assert!(before.ends_with("-1") && after.ends_with("-2"), "{before} {after}");
    let state = test.server.lock();
    assert!(!state.objects.contains_key(&before), "seen gone");
    let image = &state.objects[&after]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "registry.example/agent:2");
    drop(state);
    // Whoever takes the session up deploys from it too, and knows of one Job.
    let record = test.journals.all().remove(0).expect("readable");
    let jobs: Vec<&str> = record
        .objects
        .iter()
        .filter(|(_, object)| object.kind == Kind::Job)
        .map(|(_, object)| object.name.as_str())
        .collect();
    assert!(jobs.len() == 1 && jobs[0].ends_with("-2"), "{jobs:?}");
    assert_eq!(record.header.agents.expect("known").image, "registry.example/agent:2");
    assert_eq!(test.made().iter().filter(|kind| **kind == Kind::Job).count(), 1);
}

/// What a first deployment warns of.
async fn warned(image: AgentImage) -> String {
    let test = test_with(AgentSettings { image, ..settings() }, |_| None);
    let mut told = test.cluster.deploy(vec!["n1".into()]);
    let first = tokio::time::timeout(Duration::from_secs(100), told.next()).await.expect("in time");
    match first.expect("news").1 {
        DeployProgress::Told(notice) => notice.line(),
        _ => String::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn that_the_default_image_is_published_nowhere_is_not_said_twice() {
    assert!(warned("agent:2".into()).await.contains("docker.io"));
    let default = AgentImage { reference: "agent:2".into(), is_default: true };
    assert_eq!(warned(default).await, "", "whoever deploys was asked before");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_named_before_anything_is_made_is_the_sessions_from_its_beginning() {
    let test = test(|_| None);
    let odd = test.cluster.set_image("agent:2").expect("taken over");
    assert!(odd.contains("docker.io"), "{odd}");
    test.deploy(&["n1"]).await;
    let path = test.job_path();
    let job = test.server.lock().objects[&path].clone();
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "agent:2");
    assert_eq!(test.journals.all().remove(0).expect("readable").header.agents.expect("known").image, "agent:2");
}
