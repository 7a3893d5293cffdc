//! Commands and sessions as on any day: nodes, ports, captures, signals, what is refused, a first session by keys.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use nodewatch_testing::{
    packets,
    program::{self, json_lines, said},
};
use serde_json::{Value, json};

use crate::{
    kubernetes::{self, disturb, kubectl, kubectl_json, leftovers, nodes, ours, until},
    laptop::{self, output_to, run, run_to},
};

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn nodes_are_listed_as_kubectl_lists_them() {
    let output = run(&["nodes", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let listed: Vec<String> =
        json_lines(&output).iter().map(|node| node["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(listed, nodes());
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn ports_of_every_node_and_nothing_is_left() {
    let output = output_to(0, &["ports", "--all", "-o", "json"]);
    let said = said(&output);
    for report in json_lines(&output) {
        let ports = report["ports"].as_array().expect("ports");
        assert!(ports.iter().any(|port| port["port"] == 10250), "every kubelet listens on 10250: {report}");
    }
    assert_eq!(json_lines(&output).len(), nodes().len());
    assert!(said.contains("confirmed removed; nothing is left"), "{said}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_capture_comes_home_whole_and_checked() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let output = output_to(
        0,
        &[
            "capture",
            "--all",
            "--filter",
            "tcp port 10250 or tcp port 16443",
            "--duration",
            "4s",
            "--out",
            folder,
            "-o",
            "json",
        ],
    );
    let files = json_lines(&output);
    assert_eq!(files.len(), nodes().len());
    for file in files {
        let path = Path::new(file["path"].as_str().expect("a path"));
        let packets = packets::count(path);
        assert_eq!(Some(packets as u64), file["packets"].as_u64(), "{file}");
        assert!(packets > 0, "a kubelet talks to its API server all the time: {file}");
        assert_eq!(file["dropped"], json!({"kernel": 0, "interface": 0, "queue": 0}));
    }
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_image_that_is_not_there_is_told_within_seconds() {
    let begin = Instant::now();
    let node = nodes().remove(0);
    let said =
        run_to(1, &["ports", "--nodes", &node, "--image", "nodewatch-agent:none", "--image-pull-policy", "Never"]);
    assert!(said.contains("the image nodewatch-agent:none cannot be pulled") && said.contains("--image"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(120), "the reason comes long before any time-out");
    assert_eq!(leftovers(), "");
}

/// The other node goes on, and both are cleaned up.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_without_room_says_so_and_the_other_goes_on() {
    if disturb().is_none() {
        return;
    }
    let nodes = nodes();
    let room = kubectl(&["get", "node", &nodes[0], "-o", "jsonpath={.status.allocatable.cpu}"]);
    let room: u64 = room.parse().expect("whole processors");
    let filler = kubernetes::apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "filler", "namespace": "default"},
        "spec": {"nodeName": nodes[0], "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "filler", "image": "localhost/pause:1",
            "resources": {"requests": {"cpu": format!("{}m", room * 1000 - 20)}}}]}}));
    // A kubelet refuses it while another's pod is still ending there, and then the node has room.
    kubectl(&["wait", "--for=condition=Ready", "pod/filler", "--timeout=60s"]);
    let output = run(&["ports", "--all", "-o", "json"]);
    drop(filler);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "done in part: {said}");
    assert!(said.contains(&format!("error: {}: the pod cannot be scheduled onto its node", nodes[0])), "{said}");
    assert!(said.contains("Insufficient cpu"), "{said}");
    let reported: Vec<_> = json_lines(&output).iter().map(|report| report["node"].clone()).collect();
    assert_eq!(reported, nodes[1..]);
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_manifests_are_what_kubectl_takes() {
    let manifests: [(&str, &[&str]); 7] = [
        ("namespace", &["v1 Namespace nodewatch-00000000"]),
        ("service-account", &["v1 ServiceAccount nodewatch-agent-00000000"]),
        ("agent-job", &["batch/v1 Job agent-00000000-node-name"]),
        ("agent-daemonset", &["apps/v1 DaemonSet agents-00000000"]),
        (
            "reaper",
            &[
                "v1 ServiceAccount nodewatch-reaper-00000000",
                "rbac.authorization.k8s.io/v1 Role nodewatch-reaper-00000000",
                "rbac.authorization.k8s.io/v1 RoleBinding nodewatch-reaper-00000000",
                "batch/v1 Job reaper-00000000",
            ],
        ),
        ("operator-rbac", &["rbac.authorization.k8s.io/v1 ClusterRole nodewatch-operator"]),
        (
            "daemonset",
            &[
                "v1 Namespace nodewatch-reports",
                "v1 ServiceAccount nodewatch-reports",
                "apps/v1 DaemonSet nodewatch-reports",
            ],
        ),
    ];
    for (file, wanted) in manifests {
        let path = format!("{}/manifests/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
        // Validated by the server's own schemas: an unknown field or a wrong type is refused.
        let taken = kubectl_json(&["apply", "--dry-run=client", "--validate=true", "-f", &path]);
        let one = std::slice::from_ref(&taken);
        let text = |object: &Value, place: &str| object.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let told = taken["items"].as_array().map_or(one, Vec::as_slice).iter().map(|object| {
            ["/apiVersion", "/kind", "/metadata/name"].map(|place| text(object, place).unwrap_or_default()).join(" ")
        });
        assert_eq!(told.collect::<Vec<_>>(), wanted, "{file}");
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn what_is_refused_before_anything_is_created() {
    for (arguments, token) in [
        (vec!["ports", "--nodes", "nowhere"], "node \"nowhere\" not found"),
        (vec!["capture", "--all", "--filter", "tcp prt 80"], "does not compile"),
        (vec!["ports"], "no nodes chosen"),
    ] {
        let said = run_to(2, &arguments);
        assert!(said.contains(token), "{said}");
    }
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_interface_that_no_node_has_is_refused_by_the_agent() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let node = nodes().remove(0);
    let said = run_to(2, &["capture", "--nodes", &node, "-i", "nope7", "--duration", "2s", "--out", folder]);
    assert!(said.contains("no interface \"nope7\"") && said.contains("eth0"), "{said}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_user_without_rights_is_told_which_are_missing() {
    kubectl(&["create", "namespace", "restricted"]);
    kubectl(&["-n", "restricted", "create", "serviceaccount", "nobody"]);
    let config = kubernetes::kubeconfig_of_service_account("restricted", "nobody");
    let path = config.path().to_str().expect("a path");
    let output = run(&["nodes", "--kubeconfig", path]);
    kubectl(&["delete", "namespace", "restricted", "--wait=true"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot list the nodes") && said.contains("list and watch on nodes"), "{said}");
}

/// EKS's kubeconfig runs `aws eks get-token`; this one runs a command of ours that answers in the same form.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_credential_plugin_is_run_and_its_failure_is_told() {
    kubectl(&["create", "namespace", "plugin"]);
    kubectl(&["-n", "plugin", "create", "serviceaccount", "somebody"]);
    let works = kubernetes::kubeconfig_with_plugin("plugin", "somebody");
    let who = run(&["nodes", "--kubeconfig", works.path().to_str().expect("a path")]);
    kubectl(&["delete", "namespace", "plugin", "--wait=true"]);
    let said = said(&who);
    assert!(said.contains("system:serviceaccount:plugin:somebody"), "the plugin's token was used: {said}");

    let text = std::fs::read_to_string(works.path()).expect("a kubeconfig");
    std::fs::write(works.path(), text.replace("\"echo\"", "\"false\"")).expect("written");
    let said = run_to(5, &["nodes", "--kubeconfig", works.path().to_str().expect("a path")]);
    assert!(
        said.contains("the credential plugin false ended with exit status: 1") && said.contains("aws sso login"),
        "{said}"
    );
    assert!(!said.contains("ExecCredential"), "what the plugin was given may be a secret: {said}");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn interrupted_in_the_middle_it_cleans_up() {
    // A watch is meant to end so; a deployment is not.
    for (signal, after, code) in [("INT", Moment::Report, 0), ("TERM", Moment::Report, 0), ("TERM", Moment::Job, 1)] {
        let mut child = laptop::start(&["ports", "--all", "--watch", "--interval", "1s", "-o", "json"]);
        let said = program::errors(&mut child);
        match after {
            Moment::Report => assert!(program::first_result(&mut child).contains("\"ports\"")),
            Moment::Job => until("the first Job", Duration::from_secs(30), || !ours("jobs").is_empty()),
        }
        program::kill(&child, signal);
        let rest: Vec<String> = said.map_while(Result::ok).collect();
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "SIG{signal}: {rest:?}");
        assert!(rest.iter().any(|line| line.contains("nothing is left")), "SIG{signal}: {rest:?}");
        assert_eq!(leftovers(), "");
    }
}

/// When a signal comes.
enum Moment {
    Job,
    Report,
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_api_server_dies_and_the_capture_goes_on() {
    let Some(disturb) = disturb() else { return };
    let mut tmux = laptop::terminal(120, 36, "");
    tmux.until("Ready");
    tmux.keys(&["C-a", "d", "Enter"]);
    tmux.until("agents 2/2 live");
    tmux.keys(&["c"]);
    tmux.until("● 2s");
    disturb(&["kill", "apiserver"]);
    tmux.until("lost");
    disturb(&["start", "apiserver"]);
    tmux.until("agents 2/2 live");
    tmux.keys(&["Tab"; 4]);
    let events = tmux.until("tunnel reconnected");
    assert_eq!(events.matches("capture started").count(), 1, "the same capture goes on: {events}");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert!(screen.contains("fetched  2 files, "), "{screen}");
    assert_eq!(leftovers(), "");
}

/// A whole session by keys alone, at the smallest size.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_first_session_by_keys_at_80x24() {
    let first = nodes().remove(0);
    let mut tmux = laptop::terminal(80, 24, "");
    tmux.until("Ready");
    tmux.keys(&["?"]);
    tmux.until("Keys of nodewatch-tui");
    tmux.keys(&["Escape", "/"]);
    tmux.text(&first);
    tmux.keys(&["Enter", "d"]);
    tmux.until("live");
    tmux.until(":10250");
    tmux.keys(&["C"]);
    tmux.until("Capture filter");
    tmux.text("tcp port 10250 or tcp port 16443");
    tmux.keys(&["Enter"]);
    tmux.until("● ");
    tmux.keys(&["Enter", "Tab"]);
    tmux.until("packet sizes");
    tmux.until("filter      tcp port 10250");
    tmux.keys(&["c"]);
    tmux.keys(&["Tab", "Tab"]);
    tmux.until("on the node");
    tmux.keys(&["Enter"]);
    tmux.until("here, checked");
    tmux.keys(&["q"]);
    tmux.until("remove everything");
    tmux.until("1 agent ");
    tmux.keys(&["Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0"), "{screen}");
    assert!(screen.contains("3 objects created, 3 confirmed removed; nothing is left"), "{screen}");
    assert_eq!(leftovers(), "");
    assert!(tmux.files().iter().all(|file| packets::count(file) > 0) && tmux.files().len() == 1, "{:?}", tmux.files());
}

/// The pod is as locked down as SECURITY.md says, seen on the object that runs.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_running_pod_has_one_capability_and_a_deadline() {
    let mut child = laptop::start(&["ports", "--all", "--watch", "--session-budget", "10m"]);
    let said = program::errors(&mut child);
    program::first_result(&mut child);
    let jobs = kubectl(&["get", "jobs,pods", "-A", "-l", "app.kubernetes.io/managed-by=nodewatch-tui", "-o", "json"]);
    program::kill(&child, "TERM");
    said.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let list: Value = serde_json::from_str(&jobs).expect("JSON");
    let items = list["items"].as_array().expect("items");
    let of = |kind: &str| items.iter().filter(|item| item["kind"] == kind).cloned().collect::<Vec<_>>();
    for job in of("Job") {
        let deadline = job["spec"]["activeDeadlineSeconds"].as_u64().expect("a deadline");
        assert!((500..=600).contains(&deadline), "{deadline}");
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 60);
    }
    assert_eq!(of("Pod").len(), nodes().len());
    for pod in of("Pod") {
        let spec = &pod["spec"];
        let security = &spec["containers"][0]["securityContext"];
        assert_eq!(security["capabilities"], json!({"add": ["NET_RAW"], "drop": ["ALL"]}));
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert!(spec["volumes"].as_array().expect("volumes").iter().all(|volume| volume.get("emptyDir").is_some()));
        assert!(spec.get("hostPID").is_none());
    }
    assert_eq!(leftovers(), "");
}
