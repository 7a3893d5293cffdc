//! Nothing leaks, on a real cluster, whatever happens to the laptop: `make test-cluster`.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_testing::{
    here::{is_root, skip},
    program::{self, json_lines, said},
};
use serde_json::{Value, json};

use crate::{
    kubernetes::{self, agent_processes, disturb, kubectl, kubectl_json, leftovers, nodes, ours, until},
    laptop::{self, output_to, run, run_to},
};

const SESSION_LABEL: &str = "nodewatch-tui/session";

/// A cleanup of everything that this test has left: it leaves nothing, and the next one has nothing to do.
fn clean_up() {
    run_to(0, &["cleanup", "--all", "--yes"]);
    assert_eq!(leftovers(), "");
    let again = run_to(0, &["cleanup", "--all", "--yes"]);
    assert!(again.contains("nothing to do"), "{again}");
}

/// Ports of every node, watched, up to the first report.
fn watching(more: &[&str]) -> Child {
    let mut child = laptop::start(&[&["ports", "--all", "--watch", "--interval", "1s", "-o", "json"], more].concat());
    assert!(program::first_result(&mut child).contains("\"ports\""));
    child
}

fn kill(mut child: Child) {
    program::kill(&child, "KILL");
    child.wait().expect("it ends");
}

/// The only session that there is.
fn session() -> Value {
    let output = run(&["sessions", "-o", "json"]);
    let mut sessions = json_lines(&output);
    assert_eq!(sessions.len(), 1, "{sessions:?} {}", said(&output));
    sessions.remove(0)
}

fn id(session: &Value) -> String {
    session["id"].as_str().expect("an id").to_owned()
}

/// A number that differs from run to run, below a bound.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

/// Four programs at a time are killed without warning somewhere between their first call and their last.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn killed_at_twenty_moments_one_cleanup_leaves_nothing() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let mut moments = Vec::new();
    for _ in 0..5 {
        let mut children: Vec<(u64, Child)> = (0..4)
            .map(|number| {
                let capture = ["capture", "--all", "--duration", "2s", "--out", folder];
                // Spread over the whole of a run, which takes some fifteen seconds.
                (number * 4000 + random(4000), laptop::start(&capture))
            })
            .collect();
        let begin = Instant::now();
        for (moment, child) in &mut children {
            std::thread::sleep(Duration::from_millis(*moment).saturating_sub(begin.elapsed()));
            program::kill(child, "KILL");
            child.wait().expect("it ends");
        }
        moments.extend(children.iter().map(|(moment, _)| *moment));
    }
    assert!(!leftovers().is_empty(), "killed at {moments:?}");
    let planned = run(&["cleanup", "--all", "--dry-run", "-o", "json"]);
    let planned = json_lines(&planned);
    assert!(planned.iter().any(|one| one["object"]["kind"] == "Namespace"), "{planned:?}");
    assert!(!leftovers().is_empty(), "a dry run removes nothing");
    clean_up();
}

/// One session with a reaper and one without, both killed. The cluster ends both; the reaper leaves nothing.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn without_the_laptop_the_cluster_ends_the_agents_and_the_reaper_the_namespace() {
    const BUDGET: u64 = 30;
    let budget = format!("{BUDGET}s");
    let reaped = watching(&["--session-budget", &budget, "--reaper"]);
    let plain = watching(&["--session-budget", &budget]);
    kill(reaped);
    kill(plain);
    assert_eq!(ours("jobs").len(), 2 * nodes().len() + 1);
    // Deadline, time to live and a minute.
    until("the end of every Job and pod", Duration::from_secs(BUDGET + 60 + 60), || {
        ours("jobs").is_empty() && ours("pods").is_empty()
    });
    until("the end of the reaped namespace", Duration::from_secs(60), || ours("namespaces").len() == 1);
    let left = session();
    assert_eq!((&left["holder"], left["objects"].as_array().map(Vec::len)), (&json!("abandoned"), Some(2)), "{left}");
    clean_up();
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn agents_end_by_themselves_when_nothing_is_heard_of_the_laptop() {
    kill(watching(&["--lease", "6s"]));
    until("the end of the agents", Duration::from_secs(60), || {
        ours("jobs").iter().all(|job| job["status"]["succeeded"] == 1)
    });
    for pod in ours("pods") {
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["exitCode"], 0, "{state}");
    }
    clean_up();
}

/// Detached with a capture running, found again, shortened, ended: by keys alone.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_detached_session_is_taken_up_again() {
    let mut tmux = laptop::terminal(120, 36, "--lease 5s");
    tmux.until("Ready");
    tmux.keys(&["C-a", "d", "Enter"]);
    tmux.until(&format!("agents {0}/{0} live", nodes().len()));
    tmux.keys(&["c"]);
    tmux.until("● 2s");
    tmux.keys(&["C-c"]);
    tmux.until("other object");
    tmux.keys(&["C-c"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("2 captures: "), "{screen}");
    drop(tmux);
    let detached = session();
    assert_eq!(detached["holder"], "detached");
    let id = id(&detached);
    assert!(screen.contains(&format!("nodewatch-tui attach {id}")), "{screen}");

    // Longer than the lease, which binds nobody now.
    std::thread::sleep(Duration::from_secs(8));
    let mut tmux = laptop::terminal(120, 36, &format!("attach {id}"));
    tmux.until(&format!("agents {0}/{0} live", nodes().len()));
    let screen = tmux.until("● 1");
    assert!(screen.contains(&format!("session {id}")), "{screen}");
    // Another program of this laptop sees that it is taken.
    let refused = output_to(4, &["cleanup", &id, "--yes"]);
    assert!(said(&refused).contains("open in another nodewatch-tui"), "{}", said(&refused));

    tmux.keys(&["b", "C-u"]);
    tmux.text("10m");
    tmux.keys(&["Enter"]);
    until("the new deadline", Duration::from_secs(20), || {
        ours("jobs").iter().all(|job| job["spec"]["activeDeadlineSeconds"].as_u64().is_some_and(|end| end < 900))
    });
    tmux.keys(&["Tab"; 4]);
    let events = tmux.until("attached to the capture");
    assert!(!events.contains("capture ended"), "undisturbed: {events}");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert!(screen.contains(&format!("fetched  {} files, ", nodes().len())), "{screen}");
    assert_eq!(leftovers(), "");
}

/// What was left over is offered at the start, and taken up or removed with a key.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_next_start_offers_what_was_left() {
    kill(watching(&[]));
    let id = id(&session());
    let mut tmux = laptop::terminal(80, 24, "");
    let screen = tmux.until("Other sessions");
    assert!(screen.contains(&id) && screen.contains("leftover"), "{screen}");
    tmux.keys(&["Enter"]);
    tmux.until(&format!("agents {0}/{0} live", nodes().len()));
    tmux.until(&format!("session {id}"));
    tmux.keys(&["q", "Enter"]);
    tmux.until("EXIT 0");
    assert_eq!(leftovers(), "");

    kill(watching(&[]));
    let mut tmux = laptop::terminal(80, 24, "");
    tmux.until("Other sessions");
    tmux.keys(&["C-d"]);
    // What would be lost is asked about first, of its agents.
    tmux.until("Remove session");
    tmux.until("no files without another copy");
    tmux.keys(&["Enter"]);
    tmux.until("everything is gone");
    tmux.keys(&["Escape", "q"]);
    tmux.until("EXIT 0");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn two_laptops_do_not_touch_each_other() {
    let theirs = tempfile::tempdir().expect("a folder");
    let mut command = laptop::command(&["ports", "--all", "--watch", "--interval", "1s", "-o", "json"]);
    let mut other = command
        .env("XDG_STATE_HOME", theirs.path())
        .env("USER", "them")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    program::first_result(&mut other);
    kill(watching(&[]));

    let seen = json_lines(&run(&["sessions", "-o", "json"]));
    let of = |holder: &str| seen.iter().find(|one| one["holder"] == holder).cloned().expect("a session");
    assert!(of("elsewhere")["owner"].as_str().expect("an owner").starts_with("them@"));
    let all = run_to(0, &["cleanup", "--all", "--yes"]);
    assert!(all.contains(": left alone; cleanup "), "{all}");
    assert_eq!(ours("namespaces").len(), 1);
    // Nobody types its id.
    let unconfirmed = run_to(4, &["cleanup", &id(&of("elsewhere")), "--yes"]);
    assert!(unconfirmed.contains("Type its id to remove it"), "{unconfirmed}");
    assert_eq!(ours("jobs").len(), nodes().len());

    program::kill(&other, "TERM");
    let said: Vec<String> = program::errors(&mut other).map_while(Result::ok).collect();
    assert_eq!(other.wait().expect("it ends").code(), Some(0), "{said:?}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn somebody_elses_namespace_and_objects_stay() {
    kubectl(&["create", "namespace", "tools"]);
    kubectl(&["-n", "tools", "create", "configmap", "theirs"]);
    output_to(0, &["ports", "--all", "-n", "tools", "-o", "json"]);
    assert_eq!(leftovers(), "");
    kubectl(&["-n", "tools", "get", "configmap", "theirs"]);
    kubectl(&["delete", "namespace", "tools"]);

    let missing = run_to(1, &["ports", "--all", "-n", "tools"]);
    assert!(missing.contains("namespace \"tools\" does not exist"), "{missing}");

    let mut child = watching(&[]);
    let namespace = ours("namespaces").remove(0)["metadata"]["name"].as_str().expect("a name").to_owned();
    kubectl(&["-n", &namespace, "create", "service", "clusterip", "notes", "--tcp=80"]);
    program::kill(&child, "TERM");
    let said: Vec<String> = program::errors(&mut child).map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(4), "{said:?}");
    assert!(said.iter().any(|line| line.contains("LEFT") && line.contains("Service notes")), "{said:?}");
    assert_eq!(ours("jobs").len() + ours("pods").len(), 0, "the rest is gone");
    kubectl(&["-n", &namespace, "delete", "service", "notes"]);
    clean_up();
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_finalizer_that_hangs_is_named() {
    kill(watching(&[]));
    let account = ours("serviceaccounts").remove(0);
    let text = |key: &str| account["metadata"][key].as_str().expect("text").to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let patch = |finalizers: &str| {
        let patch = format!("{{\"metadata\":{{\"finalizers\":{finalizers}}}}}");
        kubectl(&["-n", &namespace, "patch", "serviceaccount", &name, "--type=merge", "-p", &patch]);
    };
    patch("[\"example.com/hold\"]");
    let left = run_to(4, &["cleanup", "--all", "--yes", "--timeout", "8s"]);
    assert!(left.contains(&format!("LEFT  ServiceAccount {name}")) && left.contains("example.com/hold"), "{left}");
    patch("null");
    clean_up();
}

/// A kubeconfig whose context leads somewhere else by now.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_context_that_leads_elsewhere_loses_nothing() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let original = laptop::operator().map_or_else(
        || kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]),
        |operator| std::fs::read_to_string(operator).expect("a kubeconfig"),
    );
    std::fs::write(path, &original).expect("written");
    kill(watching(&["--kubeconfig", path]));
    let mut moved: Value = serde_json::from_str(&original).expect("JSON");
    let server = &mut moved["clusters"][0]["cluster"]["server"];
    let address = server.as_str().expect("an address").to_owned();
    if !address.contains("127.0.0.1") {
        skip("the server has no second name that is known here");
        return clean_up();
    }
    // The same server by another name, for want of a second cluster.
    *server = json!(address.replace("127.0.0.1", "localhost"));
    std::fs::write(path, moved.to_string()).expect("written");
    let refused = output_to(4, &["cleanup", "--all", "--yes", "--kubeconfig", "/nonexistent"]);
    assert!(
        said(&refused).contains("reaches the session's cluster at another address")
            && said(&refused).contains(&address),
        "{}",
        said(&refused)
    );
    assert!(!leftovers().is_empty());
    // Pointed back, the session is reached by its own context, also when the current one has another name for the cluster.
    std::fs::write(path, original).expect("written");
    let other = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(other.path(), moved.to_string()).expect("written");
    run_to(0, &["cleanup", "--all", "--yes", "--kubeconfig", other.path().to_str().expect("a path")]);
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_guarded_context_wants_its_name_and_read_only_wants_nothing() {
    let original = std::fs::read_to_string(laptop::operator().expect("an operator")).expect("a kubeconfig");
    let mut renamed: Value = serde_json::from_str(&original).expect("JSON");
    renamed["contexts"][0]["name"] = json!("prod-eu");
    renamed["current-context"] = json!("prod-eu");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), renamed.to_string()).expect("written");
    let path = file.path().to_str().expect("a path");
    let refused = run_to(2, &["ports", "--all", "--kubeconfig", path]);
    assert!(refused.contains("--confirm prod-eu"), "{refused}");
    run_to(2, &["ports", "--all", "--kubeconfig", path, "--confirm", "prod"]);
    let refused = run_to(2, &["ports", "--all", "--read-only"]);
    assert!(refused.contains("read-only"), "{refused}");
    run_to(0, &["nodes", "--read-only"]);
    assert_eq!(leftovers(), "");

    let mut tmux = laptop::terminal(80, 24, &format!("--kubeconfig {path}"));
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until("Type the context's name");
    tmux.text("prod-eu");
    tmux.keys(&["Enter"]);
    tmux.until("agents 1/1 live");
    tmux.keys(&["q", "Enter"]);
    tmux.until("EXIT 0");
    assert_eq!(leftovers(), "");
}

/// As when somebody renews an account, or a login is taken back: the plugin has another token, and is asked for it.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_token_that_is_replaced_is_renewed_and_the_exit_leaves_nothing() {
    let name = format!("nodewatch-test-{}", random(1 << 32));
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}});
    let first = kubernetes::apply(&account);
    let _rights =
        kubernetes::apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]}));
    let answer = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(answer.path(), kubernetes::answer("default", &name)).expect("written");
    let kubeconfig = kubernetes::kubeconfig_with_plugin_of(answer.path());

    let mut tmux = laptop::terminal(120, 36, &format!("--kubeconfig {}", kubeconfig.path().display()));
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until("agents 1/1 live");
    kubectl(&["-n", "default", "delete", "serviceaccount", &name]);
    let _second = kubernetes::apply(&account);
    std::fs::write(answer.path(), kubernetes::answer("default", &name)).expect("written");
    // The API server knows a token for ten seconds: that long has to pass.
    std::thread::sleep(Duration::from_secs(12));
    tmux.keys(&["j", "d"]);
    tmux.until("agents 2/2 live");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert_eq!(leftovers(), "");
    drop(first);
}

type Change = dyn Fn(&mut Vec<Value>);

/// The operator's rights without one of them.
fn operator_without(name: &str, missing: &Change) -> (tempfile::NamedTempFile, Vec<kubernetes::Applied>) {
    let mut role = kubectl_json(&["get", "clusterrole", "nodewatch-operator"]);
    missing(role["rules"].as_array_mut().expect("rules"));
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]});
    let role = json!({"apiVersion": role["apiVersion"], "kind": "ClusterRole", "metadata": {"name": name},
        "rules": role["rules"]});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}});
    let applied = [account, role, binding].iter().map(kubernetes::apply).collect();
    (kubernetes::kubeconfig_of_service_account("default", name), applied)
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn preflight_names_the_missing_right_and_nothing_is_half_made() {
    let without = |resource: &'static str, verb: &'static str| {
        move |rules: &mut Vec<Value>| {
            for rule in rules
                .iter_mut()
                .filter(|rule| rule["resources"].as_array().is_some_and(|all| all.contains(&json!(resource))))
            {
                rule["verbs"].as_array_mut().expect("verbs").retain(|known| *known != verb);
            }
            rules.retain(|rule| rule["verbs"].as_array().is_some_and(|verbs| !verbs.is_empty()));
        }
    };
    let cases: [(&str, &Change, &str, &str); 3] = [
        ("no-delete", &without("namespaces", "delete"), "no right to delete on namespaces", "verbs: [delete]"),
        ("no-exec", &without("pods/exec", "get"), "no right to get on pods/exec", "resources: [pods/exec]"),
        ("no-nodes", &without("nodes", "list"), "no right to list on nodes", "verbs: [list]"),
    ];
    for (name, missing, detail, fix) in cases {
        let (config, _user) = operator_without(name, missing);
        let path = config.path().to_str().expect("a path");
        let output = output_to(5, &["preflight", "--kubeconfig", path, "-o", "json"]);
        let checks = json_lines(&output);
        let check = checks.iter().find(|check| check["detail"].as_str().is_some_and(|text| text.contains(detail)));
        let check = check.unwrap_or_else(|| panic!("{name}: {checks:?}"));
        assert!(check["fix"].as_str().expect("a fix").contains(fix), "{check}");
        let refused = run_to(5, &["ports", "--all", "--kubeconfig", path]);
        assert!(refused.contains("you need") || refused.contains(detail), "{name}: {refused}");
        assert_eq!(leftovers(), "", "{name}");
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_full_disk_under_the_journal_creates_nothing() {
    if !is_root() {
        return skip("needs root, to mount a full disk");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path");
    let mount = |arguments: &[&str]| {
        assert!(Command::new(arguments[0]).args(&arguments[1..]).status().expect("mount").success());
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path]);
    // Filled to the last page.
    let filler = folder.path().join("filler");
    let full = std::fs::write(&filler, vec![0; 1 << 20]).is_err();
    let output = laptop::command(&["ports", "--all"]).env("XDG_STATE_HOME", path).output().expect("it runs");
    mount(&["umount", path]);
    assert!(full);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("nothing was created: it cannot be recorded"), "{}", said(&output));
    assert!(said(&output).contains("No space left on device"), "{}", said(&output));
    assert_eq!(leftovers(), "");
}

/// A killed agent, kubelet and containerd: the other node is undisturbed, closed files stay, the cleanup is complete.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn what_dies_on_one_node_disturbs_no_other_and_loses_no_closed_file() {
    let Some(disturb) = disturb() else { return };
    let mut tmux = laptop::terminal(140, 40, "");
    tmux.until("Ready");
    tmux.keys(&["C-a", "d", "Enter"]);
    tmux.until("agents 2/2 live");
    tmux.keys(&["c"]);
    tmux.until("● 2s");

    // The kubelet first: the tunnel runs through it, the agent does not.
    disturb(&["kill", "kubelet2"]);
    tmux.until_gone("agents 2/2 live");
    disturb(&["start", "kubelet2"]);
    tmux.until("agents 2/2 live");
    // And through containerd.
    disturb(&["kill", "containerd2"]);
    tmux.until_gone("agents 2/2 live");
    disturb(&["start", "containerd2"]);
    tmux.until("agents 2/2 live");

    // One capture is closed, its file stays in the ring; then its agent is killed.
    tmux.keys(&["C-\\", "g", "c"]);
    tmux.keys(&["f"]);
    tmux.until("on the node");
    tmux.keys(&["Escape"]);
    let before = agent_processes();
    assert_eq!(before.len(), 2, "one a node");
    let first = first_nodes_agent(&before);
    assert!(Command::new("kill").args(["-KILL", &first.to_string()]).status().expect("kill").success());
    until("a new agent", Duration::from_secs(60), || {
        let now = agent_processes();
        now.len() == 2 && !now.contains(&first)
    });
    tmux.until("agents 2/2 live");
    let screen = tmux.screen();
    assert_eq!(screen.matches('●').count(), 1, "the other capture goes on: {screen}");
    tmux.keys(&["f"]);
    let files = tmux.until("on the node");
    assert!(files.contains("0001.pcapng"), "the ring keeps its closed file: {files}");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert!(screen.contains("fetched  2 files, "), "{screen}");
    assert_eq!(leftovers(), "");
}

/// The process whose network is the first node's.
fn first_nodes_agent(processes: &[u32]) -> u32 {
    let node = Command::new("ip").args(["netns", "pids", "nw-node1"]).output().expect("ip");
    let there = program::printed(&node);
    let there: Vec<u32> = there.lines().filter_map(|line| line.trim().parse().ok()).collect();
    *processes.iter().find(|process| there.contains(process)).expect("an agent on the first node")
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_api_server_dies_in_a_deployment_and_in_a_cleanup() {
    let Some(disturb) = disturb() else { return };
    // In the deployment: whatever comes of it, nothing is left that was not said.
    let mut child = laptop::start(&["ports", "--all", "-o", "json"]);
    let said = program::errors(&mut child);
    until("the first Job", Duration::from_secs(30), || !ours("jobs").is_empty());
    disturb(&["kill", "apiserver"]);
    // For as long as it is away.
    std::thread::sleep(Duration::from_secs(2));
    disturb(&["start", "apiserver"]);
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    assert_eq!(leftovers(), "");

    // In the cleanup.
    let mut child = watching(&[]);
    program::kill(&child, "TERM");
    until("the cleanup's first deletion", Duration::from_secs(20), || {
        ours("jobs").iter().any(|job| job["metadata"]["deletionTimestamp"].is_string())
    });
    disturb(&["kill", "apiserver"]);
    std::thread::sleep(Duration::from_secs(3));
    disturb(&["start", "apiserver"]);
    let said: Vec<String> = program::errors(&mut child).map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{said:?}");
    assert!(said.iter().any(|line| line.contains("nothing is left")), "{said:?}");
    assert_eq!(leftovers(), "");
}

/// `manifests` prints what is applied: kubectl takes it, and the running objects are the same.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn manifests_are_exactly_what_is_applied() {
    let child = watching(&["--session-budget", "10m"]);
    let applied = ours("jobs");
    let id = id(&session());
    kill(child);
    let names = nodes().join(",");
    let output = output_to(0, &["manifests", "--nodes", &names, "--session", &id, "--session-budget", "10m"]);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("manifests.yaml");
    std::fs::write(&file, &output.stdout).expect("written");
    let path = file.to_str().expect("a path");
    let list = kubectl_json(&["apply", "--dry-run=client", "--validate=true", "-f", path]);
    let items = list["items"].as_array().expect("items");
    for job in applied {
        assert_eq!(job["metadata"]["labels"][SESSION_LABEL], json!(id));
        let same =
            items.iter().find(|item| item["metadata"]["name"] == job["metadata"]["name"]).expect("the same name");
        let image = |job: &Value| job["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        assert_eq!(image(same), image(&job));
        let deadline = |job: &Value| job["spec"]["activeDeadlineSeconds"].as_u64().expect("a deadline");
        assert!(deadline(same).abs_diff(deadline(&job)) <= 2);
    }
    clean_up();
}

/// A capture longer than its session: it ends before, and every file that was closed is on the laptop.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_capture_ends_before_its_session_and_brings_everything_home() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let capture = ["capture", "--all", "--rotate-time", "3s", "--session-budget", "40s", "--out", folder, "-o", "json"];
    let begin = Instant::now();
    let output = output_to(3, &capture);
    let said = said(&output);
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    assert!(said.contains("the session's budget of 40s ends in"), "{said}");
    assert!(!said.contains("LOST"), "{said}");
    let files = json_lines(&output);
    assert!(files.len() > 2 * nodes().len(), "{files:?}");
    for file in &files {
        assert!(file["path"].as_str().is_some_and(|path| Path::new(path).is_file()), "{file}");
    }
    clean_up();
}

/// The pod of one node is deleted under a capture, as by a drain: its part ends, and what it had closed is here.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pod_that_is_deleted_ends_its_nodes_part_of_a_capture() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let mut child =
        laptop::start(&["capture", "--all", "--duration", "45s", "--rotate-time", "3s", "--out", folder, "-o", "json"]);
    let errors = program::errors(&mut child);
    let node = nodes()[0].clone();
    // Files of three seconds each.
    laptop::files_come(out.path(), &node, 3);
    let pods = ours("pods");
    let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == node.as_str()).expect("its agent");
    let (name, namespace) = (pod["metadata"]["name"].as_str(), pod["metadata"]["namespace"].as_str());
    kubectl(&["delete", "pod", "--wait=false", "-n", namespace.expect("one"), name.expect("one")]);
    let begin = Instant::now();
    let said: Vec<String> = errors.map_while(Result::ok).collect();
    let output = child.wait_with_output().expect("it ends");
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    assert_eq!(output.status.code(), Some(3), "{said:?}");
    let reason = said.iter().find(|line| line.starts_with("error:") && line.contains(&node));
    assert!(reason.is_some(), "{said:?}");
    let files = json_lines(&output);
    let here = files.iter().filter(|file| file["node"] == node && file["path"].is_string()).count();
    assert!(here >= 2, "what was closed before is here: {files:?}");
    clean_up();
}

/// Whatever is under way, also in the cluster.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_second_signal_ends_without_waiting_and_names_what_stays() {
    let mut child = watching(&[]);
    let mut errors = program::errors(&mut child);
    program::kill(&child, "INT");
    program::line_with(&mut errors, "a second signal exits without waiting");
    program::kill(&child, "INT");
    let said: Vec<String> = errors.map_while(Result::ok).collect();
    let code = child.wait().expect("it ends").code();
    // Everything may have been seen gone between the two.
    if code != Some(0) {
        assert_eq!(code, Some(4), "{said:?}");
        assert!(said.iter().any(|line| line.contains("LEFT") && line.contains("Namespace nodewatch-")), "{said:?}");
    }
    clean_up();
}

/// Its Job makes another one, or has ended: whoever attaches is told what went with the ring.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn files_of_a_pod_that_went_while_nobody_was_attached_are_missed() {
    let mut tmux = laptop::terminal(120, 36, "");
    tmux.until("Ready");
    tmux.keys(&["c"]);
    tmux.until("● 2s");
    tmux.keys(&["c", "f"]);
    tmux.until("on the node");
    tmux.keys(&["Escape", "C-c"]);
    tmux.until("other object");
    tmux.keys(&["C-c"]);
    tmux.until("EXIT 0");
    drop(tmux);
    let pods = ours("pods");
    let text = |field: &str| pods[0]["metadata"][field].as_str().expect("text").to_owned();
    kubectl(&["delete", "pod", "-n", &text("namespace"), &text("name")]);

    let mut tmux = laptop::terminal(120, 36, &format!("attach {}", id(&session())));
    tmux.until("lost 1 capture file of");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 3") && screen.contains("LOST") && screen.contains("nothing is left"), "{screen}");
    assert_eq!(leftovers(), "");
}
