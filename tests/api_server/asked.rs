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

/// In a namespace that was just made the controllers have not been yet.
#[tokio::test(start_paused = true)]
async fn what_comes_by_itself_in_a_new_namespace_is_waited_for() {
    let says = |words: &str| refusal(403, "Forbidden", &format!("pods \"agent\" is forbidden: {words}"));
    let no_account = "error looking up service account tools/default: serviceaccount \"default\" not found";
    for words in [no_account, "status unknown for quota: q, resources: pods"] {
        let settings = AgentSettings { namespace: Some("tools".into()), ..settings() };
        let mut asked = 0;
        let test = test_with(settings, move |call| {
            let lists = ["/resourcequotas", "/limitranges"].iter().any(|kind| call.path.ends_with(kind));
            asked += usize::from(dry_runs(call, "/tools/pods"));
            let not_yet = dry_runs(call, "/tools/pods") && asked < 9;
            let none = (200, json!({"kind": "List", "metadata": {}, "items": []}));
            lists.then_some(none).or_else(|| not_yet.then(|| says(words)))
        });
        test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "uid": "t"}}));
        assert!(matches!(test.deploy(&["n1"]).await[0].1, DeployProgress::Step(_)), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_never_comes_stops_only_whose_it_is() {
    let test = |account: Option<&str>| {
        let settings = AgentSettings {
            namespace: Some("tools".into()),
            service_account: account.map(str::to_owned),
            ..settings()
        };
        let test = test_with(settings, |call| {
            let lists = ["/resourcequotas", "/limitranges"].iter().any(|kind| call.path.ends_with(kind));
            let words = "pods \"agent\" is forbidden: error looking up service account tools/x: not found";
            let none = (200, json!({"kind": "List", "metadata": {}, "items": []}));
            lists.then_some(none).or_else(|| dry_runs(call, "/tools/pods").then(|| refusal(403, "Forbidden", words)))
        });
        test.server.put("/api/v1/namespaces/tools", json!({"metadata": {"name": "tools", "uid": "t"}}));
        test
    };
    // Agents have one of their own, which is made later.
    let began = tokio::time::Instant::now();
    assert!(matches!(test(None).deploy(&["n1"]).await[0].1, DeployProgress::Step(_)));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let began = tokio::time::Instant::now();
    let named = test(Some("captures"));
    let notice = named.refused_deployment().await;
    assert!(notice.line().contains("error looking up service account"), "{}", notice.line());
    assert!(began.elapsed() < Duration::from_secs(5), "nothing makes it: {:?}", began.elapsed());
    let checks = named.cluster.preflight(&["n1".into()]).await;
    assert!(checks.iter().any(|check| check.fix.contains("--service-account")), "{checks:?}");
}

/// Also what the reaper needs, and what gives agents to nodes that join while nobody is there.
#[tokio::test(start_paused = true)]
async fn each_object_is_asked_for_before_it_is_made() {
    for (refused, kept) in [
        ("/roles", &[Kind::Namespace][..]),
        ("/daemonsets", &[Kind::Namespace, Kind::ServiceAccount, Kind::Role, Kind::RoleBinding, Kind::Job]),
    ] {
        let settings = AgentSettings { reaper: true, daemonset: true, ..settings() };
        let test = test_with(settings, move |call| {
            let words = "admission webhook \"x.example\" denied the request: not in this cluster";
            let own = call.path.contains("/nodewatch-00000001/") && dry_runs(call, refused);
            own.then(|| refusal(400, "BadRequest", words))
        });
        let notice = test.refused_deployment().await;
        assert!(notice.line().contains("not in this cluster"), "{refused}: {}", notice.line());
        let made = test.made();
        assert!(made.iter().all(|kind| kept.contains(kind)), "{refused}: {made:?}");
        assert!(test.server.lock().objects.keys().all(|path| !path.contains("/agent-")), "no agent's Job");
    }
    // A binding cannot be asked for before its role is there, which is nobody's fault.
    let settings = AgentSettings { reaper: true, daemonset: true, ..settings() };
    let test = test_with(settings, |call| {
        dry_runs(call, "/rolebindings").then(|| refusal(404, "NotFound", "roles \"nodewatch-reaper\" not found"))
    });
    let first = test.cluster.deploy(vec!["n1".into()]).next().await;
    assert!(matches!(first, Some((_, DeployProgress::Step(_)))), "{first:?}");
    let sent = test.server.lock().calls.clone();
    let asked = |kind: &str| sent.iter().any(|call| dry_runs(call, &format!("/nodewatch-00000001/{kind}")));
    for kind in ["serviceaccounts", "roles", "rolebindings", "jobs", "pods", "daemonsets"] {
        assert!(asked(kind), "{kind}");
    }
}

/// As policies do it to pods, and Kubernetes 1.37 lets them do it to volumes.
#[tokio::test(start_paused = true)]
async fn what_admission_changes_of_pods_is_told_too() {
    let test = test(|call| {
        dry_runs(call, "/nodewatch-00000001/pods").then(|| {
            let mut pod = call.body.clone();
            pod["spec"]["hostUsers"] = json!(false);
            pod["spec"]["volumes"][0]["emptyDir"]["mountOptions"] = json!(["noexec"]);
            pod["spec"]["initContainers"] = json!([{"name": "istio-init", "image": "proxy"}]);
            (201, pod)
        })
    });
    let Some((_, DeployProgress::Told(notice))) = test.cluster.deploy(vec!["n1".into()]).next().await else {
        panic!("it is told")
    };
    for part in ["hostUsers is false", "mountOptions", "istio-init"] {
        assert!(notice.line().contains(part), "{part}: {}", notice.line());
    }
}
