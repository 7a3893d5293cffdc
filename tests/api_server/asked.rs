//! The server is asked before anything is made, and what it says is told as it says it.

use super::*;

fn denies() -> (u16, Value) {
    refusal(
        422,
        "Invalid",
        "jobs.batch \"agent\" is forbidden: ValidatingAdmissionPolicy 'rec' with binding 'rec' denied request: host network needs an exception, see go/net-exceptions",
    )
}

fn dry_runs(call: &Call, path: &str) -> bool {
    call.query.contains("dryRun=All") && call.path.ends_with(path)
}

#[tokio::test(start_paused = true)]
async fn a_policy_speaks_before_the_first_job_and_never_says_try_again() {
    let test = test(|call| {
        let job = call.method == Method::POST && call.path.ends_with("/nodewatch-00000001/jobs");
        job.then(denies)
    });
    let notice = test.refused_deployment().await;
    assert!(notice.line().contains("see go/net-exceptions"), "{}", notice.line());
    assert!(!notice.line().contains("try again"), "{}", notice.line());
    assert!(!test.made().contains(&Kind::Job));
    let asked: Vec<String> = test
        .server
        .lock()
        .calls
        .iter()
        .filter(|call| call.path.ends_with("/jobs"))
        .map(|call| call.query.clone())
        .collect();
    assert!(asked.iter().all(|query| query.contains("dryRun=All") || query.is_empty()), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn in_a_namespace_that_is_there_nothing_is_made_before_it_was_asked_for() {
    let settings = AgentSettings { namespace: Some("tools".into()), ..settings() };
    let test = test_with(settings, |call| {
        if dry_runs(call, "/tools/jobs") {
            return Some(refusal(
                403,
                "Forbidden",
                "jobs.batch \"agent\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=0, limited: count/jobs.batch=0",
            ));
        }
        let lists = ["/resourcequotas", "/limitranges"].iter().any(|kind| call.path.ends_with(kind));
        lists.then(|| (200, json!({"kind": "List", "metadata": {}, "items": []})))
    });
    test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "uid": "t"}}));
    let notice = test.refused_deployment().await;
    assert!(notice.line().contains("exceeded quota: q"), "{}", notice.line());
    assert!(test.made().is_empty() && test.journals.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_admission_changes_is_told_and_the_session_goes_on() {
    let test = test(|call| {
        dry_runs(call, "/nodewatch-00000001/jobs").then(|| {
            let mut job = call.body.clone();
            job["spec"]["suspend"] = json!(true);
            let containers = job["spec"]["template"]["spec"]["containers"].as_array_mut().expect("containers");
            containers.push(json!({"name": "istio-proxy", "image": "proxy"}));
            (201, job)
        })
    });
    let progress: Vec<_> = test.cluster.deploy(vec!["n1".into()]).take(2).collect().await;
    let [(_, DeployProgress::Told(notice)), (_, DeployProgress::Step(_))] = &progress[..] else {
        panic!("{progress:?}")
    };
    let line = notice.line();
    assert!(line.contains("istio-proxy") && line.contains("spec.suspend is true"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_a_moment_refuses_nothing() {
    // One of many questions, and each of the dry runs.
    for path in ["selfsubjectaccessreviews", "/namespaces", "/jobs", "/version", "/nodes"] {
        let mut failures = 1;
        let test = test(move |call| {
            let asks = call.path.ends_with(path)
                && (call.method == Method::GET || call.query.contains("dryRun") || path.starts_with("self"));
            if asks && failures > 0 {
                failures -= 1;
                return Some(refusal(500, "InternalError", "etcdserver: leader changed"));
            }
            None
        });
        assert!(matches!(test.deploy(&["n1"]).await[0].1, DeployProgress::Step(_)), "{path}");
    }
    let away = test(|call| call.path.ends_with("selfsubjectaccessreviews").then(|| refusal(503, "Busy", "later")));
    let checks = away.cluster.preflight(&[]).await;
    let rights = checks.iter().find(|check| check.check == "rights").expect("a check");
    assert_eq!(rights.outcome, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn pull_secrets_that_are_not_there_are_named() {
    let settings =
        AgentSettings { namespace: Some("tools".into()), service_account: Some("puller".into()), ..settings() };
    let test = test_with(settings, |call| {
        let lists = ["/resourcequotas", "/limitranges"].iter().any(|kind| call.path.ends_with(kind));
        lists.then(|| (200, json!({"kind": "List", "metadata": {}, "items": []})))
    });
    test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "uid": "t"}}));
    let secrets = json!([{"name": "there"}, {"name": "gone"}]);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller", "uid": "a"},
        "imagePullSecrets": secrets});
    test.server.put("/api/v1/namespaces/tools/serviceaccounts/puller", account);
    test.server.put("/api/v1/namespaces/tools/secrets/there", json!({"metadata": {"name": "there", "uid": "s"}}));
    let checks = test.cluster.preflight(&["n1".into()]).await;
    let secrets = checks.iter().find(|check| check.check == "pull secrets").expect("a check");
    assert_eq!(secrets.outcome, Outcome::Warning);
    assert!(secrets.detail.contains("gone") && !secrets.detail.contains("there,"), "{}", secrets.detail);
}
