//! A whole incident by keys alone, at the smallest and at a wide size; an agent sent into a stock image; contexts switched
//! inside the program. Runs on a real cluster, `make test-cluster`.

use std::process::Command;

use nodewatch_testing::{
    here::skip,
    packets,
    program::{json_lines, printed, said},
};
use serde_json::json;

use crate::{
    kubernetes::{self, apply, kubectl_json, leftovers, nodes},
    laptop::{self, PROGRAM, command, output_to, run, run_to},
};

/// Find a node, deploy to three, capture, fetch, freeze a flight recorder, merge, report, clean up.
fn incident(width: u16, height: u16) {
    let nodes = nodes();
    let chosen = nodes.len().min(3);
    let live = format!("agents {chosen}/{chosen} live");
    let mut tmux = laptop::terminal(width, height, "--freeze-before 5s --freeze-after 1s --record incident.jsonl");
    tmux.until("Ready");

    // Find a node; then mark the first three.
    tmux.keys(&["/"]);
    tmux.text(&format!("name:{}", nodes[0]));
    tmux.until(&format!("NODES (1 of {}", nodes.len()));
    tmux.keys(&["Enter", "Escape", "g"]);
    tmux.keys(&vec!["Space"; chosen]);
    tmux.until(&format!("{chosen} marked"));
    tmux.keys(&["d"]);
    tmux.until("Deploy to");
    tmux.keys(&["Enter"]);
    tmux.until(&live);

    // A capture on all three, stopped and fetched.
    tmux.keys(&["c"]);
    tmux.until("● 3s");
    tmux.keys(&["c"]);
    tmux.until("captures?");
    tmux.keys(&["Enter"]);
    tmux.until("○ done");
    tmux.keys(&["s", "f"]);
    tmux.until_files(chosen);

    // A flight recorder, frozen; what it saves comes by itself.
    tmux.keys(&["Escape", "C"]);
    tmux.until("Flight recorder");
    tmux.keys(&["Tab", "Tab", "Right", "Right", "Enter"]);
    tmux.until("◉ 6s/2m");
    tmux.keys(&["F", "f"]);
    tmux.until_files(2 * chosen);

    // One file of all, in order of time.
    tmux.keys(&["g"]);
    tmux.keys(&vec!["Space"; 2 * chosen]);
    tmux.until(&format!("{} marked", 2 * chosen));
    tmux.keys(&["m"]);
    tmux.until("merged-");

    // What happened, and the report.
    tmux.keys(&["v"]);
    tmux.until("capture started on");
    tmux.keys(&["r"]);
    tmux.until("report: ");

    tmux.keys(&["q"]);
    tmux.until("other object");
    tmux.until("report  yes");
    tmux.keys(&["Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert_eq!(leftovers(), "");

    let files = tmux.all_files();
    let with = |end: &str| files.iter().filter(|file| file.to_string_lossy().ends_with(end)).collect::<Vec<_>>();
    let captured: usize = tmux
        .files()
        .iter()
        .filter(|file| !file.to_string_lossy().contains("merged"))
        .map(|file| packets::count(file))
        .sum();
    let merged: Vec<_> = tmux.files().into_iter().filter(|file| file.to_string_lossy().contains("merged")).collect();
    assert_eq!(merged.len(), 1, "{files:?}");
    let in_one = packets::count(&merged[0]);
    assert!(in_one > 0 && in_one <= captured, "{in_one} of {captured}");
    // One by key, one at the end.
    assert_eq!((with(".md").len(), with(".html").len()), (2, 2), "{files:?}");
    let last = with(".md").into_iter().max_by_key(|file| file.to_string_lossy().len()).expect("the second");
    let report = std::fs::read_to_string(last).expect("text");
    for told in
        nodes.iter().take(chosen).map(String::as_str).chain(["flight recorder: saving the last", "nothing is left"])
    {
        assert!(report.contains(told), "{told:?} is not in {report}");
    }

    // The recording ends as the program did, and tells the same.
    let recording = with("incident.jsonl").remove(0).to_string_lossy().into_owned();
    let replayed = run(&["replay", &recording, "--print"]);
    let last = printed(&replayed);
    assert!(last.lines().count() == usize::from(height) && last.contains("Leave session"), "{last}");
    let text = std::fs::read_to_string(&recording).expect("text");
    assert!(!text.contains("PRIVATE KEY") && !text.contains("Bearer "), "a credential is in the recording");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_incident_by_keys_at_80x24() {
    incident(80, 24);
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_incident_by_keys_at_200x60() {
    incident(200, 60);
}

/// Without a registry the agent goes into a stock image: ports without any capability; packets only where that was asked for.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_pushed_agent_reports_ports_and_captures_only_as_root() {
    let Ok(stock) = std::env::var("NODEWATCH_STOCK_IMAGE") else {
        return skip("no stock image was named (NODEWATCH_STOCK_IMAGE)");
    };
    let node = nodes().remove(0);
    let push = ["--push-agent", &stock, "--nodes", &node];
    let ports = output_to(0, &[&["ports", "-o", "json"], &push[..]].concat());
    let lines = json_lines(&ports);
    assert!(lines.iter().any(|line| line.to_string().contains("10250")), "{lines:?}");
    assert_eq!(leftovers(), "");

    // Captures take a capability that a sent file cannot carry: refused before anything is made.
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_string_lossy().into_owned();
    let capture = ["capture", "--duration", "3s", "--out", &out];
    let said = run_to(2, &[&capture[..], &push[..]].concat());
    assert!(said.contains("cannot carry the capability NET_RAW") && said.contains("--push-agent-as-root"), "{said}");
    assert_eq!(leftovers(), "");

    // As uid 0, with that capability and no other.
    let mut child = command(&[&capture[..], &push[..], &["--push-agent-as-root"]].concat());
    let mut child =
        child.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let mut seen = None;
    while child.try_wait().expect("waited").is_none() {
        let pods = kubectl_json(&["get", "pods", "-A", "-l", "app.kubernetes.io/name=nodewatch-agent"]);
        seen = pods["items"].get(0).map(|pod| pod["spec"].clone()).or(seen);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    let spec = seen.expect("a pod was there");
    let container = &spec["containers"][0]["securityContext"];
    assert_eq!(container["capabilities"], json!({"add": ["NET_RAW"], "drop": ["ALL"]}));
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert!(spec["hostPID"].is_null() && spec["automountServiceAccountToken"] == false, "{spec}");
    let files = Command::new("find").args([&out, "-name", "*.pcapng"]).output().expect("find");
    let file = printed(&files).lines().next().expect("a capture").to_owned();
    assert!(packets::count(file.as_ref()) > 0);
    assert_eq!(leftovers(), "");
}

/// A program that is not the one that was meant never runs.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_stock_image_that_cannot_take_the_agent_is_told() {
    let Ok(image) = std::env::var("NODEWATCH_IMAGE") else { return skip("no image") };
    let node = nodes().remove(0);
    // The agent image itself has no shell.
    let ports = run(&["ports", "--push-agent", &image, "--nodes", &node]);
    let said = said(&ports);
    assert_ne!(ports.status.code(), Some(0), "{said}");
    assert!(said.contains("sh"), "{said}");
    assert_eq!(leftovers(), "");
}

/// Contexts are changed inside the program; a session stays in its own.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn contexts_and_namespaces_are_changed_inside_the_program() {
    let namespace = "nodewatch-incident-test";
    let _namespace = apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    let folder = tempfile::tempdir().expect("a folder");
    let file = kubernetes::kubeconfig_with_contexts(folder.path(), &["here", "there", "prod-eu"]);
    let mut tmux = laptop::terminal_with(100, 30, "", &[("KUBECONFIG", file)]);
    tmux.until("Ready");
    assert!(tmux.screen().contains("nodewatch  here"), "{}", tmux.screen());
    tmux.keys(&["x"]);
    tmux.until("prod-eu");
    tmux.keys(&["Down", "Enter"]);
    // The second one in the kubeconfig's order.
    tmux.until("nodewatch  prod-eu  GUARDED");
    tmux.until("Ready");
    tmux.keys(&[":"]);
    tmux.text("ctx there");
    tmux.keys(&["Enter"]);
    tmux.until("nodewatch  there");
    tmux.until("Ready");
    // One that does not exist leaves everything as it is.
    tmux.keys(&[":"]);
    tmux.text("ctx nowhere");
    tmux.keys(&["Enter"]);
    tmux.until("no context \"nowhere\"");
    tmux.until("nodewatch  there");
    tmux.until("Ready");

    // A session that has agents is left first, and then comes the other.
    tmux.keys(&["g", "d"]);
    tmux.until("agents 1/1 live");
    tmux.keys(&[":"]);
    tmux.text("ctx prod-eu");
    tmux.keys(&["Enter"]);
    tmux.until("other object");
    tmux.keys(&["Enter"]);
    let screen = tmux.until("GUARDED");
    assert!(screen.contains("prod-eu"), "{screen}");
    assert_eq!(leftovers(), "");

    tmux.keys(&[":"]);
    tmux.text(&format!("ns {namespace}"));
    tmux.keys(&["Enter"]);
    tmux.until("Ready");
    tmux.keys(&[":"]);
    tmux.text("ns");
    tmux.keys(&["Enter"]);
    tmux.until(&format!("agents are deployed to namespace {namespace}"));
    tmux.keys(&["q"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "both receipts are told: {screen}");
    assert_eq!(leftovers(), "");
}

/// kubectl finds the program under its own name for it.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn kubectl_runs_it_as_a_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, folder.path().join("kubectl-nodewatch")).expect("linked");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
    let output = Command::new("kubectl").args(["nodewatch", "nodes"]).env("PATH", path).output().expect("kubectl");
    let listed = printed(&output);
    assert!(nodes().iter().all(|node| listed.contains(node)), "{listed}");
}
