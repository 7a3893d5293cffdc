//! All nodes means all, on a real cluster to which a node is added: `make test-cluster`.

use std::time::{Duration, Instant};

use nodewatch_testing::program::{self, errors, line_with, printed, said};

use crate::{
    kubernetes::{disturb, kubectl, leftovers, nodes, until},
    laptop::{self, run, run_to},
};

/// The node that comes and goes.
const NUMBER: &str = "3";
const NODE: &str = "node-3";

/// Takes the node away again, whatever becomes of the test.
struct Joined<F: Fn(&[&str])>(F);

impl<F: Fn(&[&str])> Joined<F> {
    fn begin(disturb: F) -> Self {
        let joined = Self(disturb);
        (joined.0)(&["leave", NUMBER]);
        joined
    }

    /// It joins, and is Ready.
    fn join(&self) {
        (self.0)(&["join", NUMBER]);
    }
}

impl<F: Fn(&[&str])> Drop for Joined<F> {
    fn drop(&mut self) {
        (self.0)(&["leave", NUMBER]);
    }
}

/// Whether an agent of ours runs there.
fn agent_runs() -> bool {
    let ours = ["get", "pods", "-A", "-l", "app.kubernetes.io/name=nodewatch-agent", "--no-headers"];
    let on_it = kubectl(&[&ours[..], &["--field-selector", &format!("spec.nodeName={NODE}")]].concat());
    on_it.contains("Running")
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_capture_of_all_nodes_reaches_one_that_joins() {
    let Some(disturb) = disturb() else { return };
    let joined = Joined::begin(disturb);
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let mut child = laptop::start(&["capture", "--all", "--rotate-time", "2s", "--out", folder]);
    let mut lines = errors(&mut child);
    laptop::files_come(out.path(), &nodes()[0], 1);
    joined.join();
    line_with(&mut lines, &format!("{NODE} joined"));
    laptop::files_come(out.path(), NODE, 1);
    program::kill(&child, "INT");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest:?}");
    let files = std::fs::read_dir(out.path().join(NODE)).expect("its folder").count();
    assert!(files > 0, "{rest:?}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn marked_twice_all_nodes_are_also_those_that_join() {
    let Some(disturb) = disturb() else { return };
    let joined = Joined::begin(disturb);
    let before = nodes().len();
    let mut tmux = laptop::terminal(120, 36, "");
    tmux.until("Ready");
    tmux.keys(&["C-a", "C-a"]);
    tmux.until("plus nodes that join");
    tmux.keys(&["d"]);
    tmux.until("and to nodes that join later?");
    tmux.keys(&["Enter"]);
    tmux.until(&format!("agents {before}/{before} live"));
    tmux.keys(&["c"]);
    tmux.until("● ");
    joined.join();
    tmux.until(&format!("agents {0}/{0} live", before + 1));
    tmux.until_so("its capture", |screen| screen.lines().any(|line| line.contains(NODE) && line.contains('●')));
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nothing is left"), "{screen}");
    assert!(screen.contains(&format!("fetched  {} files, ", before + 1)), "{screen}");
    assert_eq!(leftovers(), "");
}

/// Leaves a session running with a capture on every node, and with what serves those that join.
fn left_running(budget: &str) -> String {
    let before = nodes().len();
    let mut tmux = laptop::terminal(120, 36, &format!("--reaper --daemonset --session-budget {budget}"));
    tmux.until("Ready");
    tmux.keys(&["C-a", "C-a", "d"]);
    tmux.until("and to nodes that join later?");
    tmux.keys(&["Enter"]);
    tmux.until(&format!("agents {before}/{before} live"));
    tmux.keys(&["c"]);
    tmux.until("● ");
    tmux.keys(&["C-c"]);
    tmux.until("other object");
    tmux.keys(&["C-c"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("nodes that join get an agent from agents-"), "{screen}");
    let attach = screen.split("nodewatch-tui attach ").nth(1).expect("the way back");
    attach.chars().take(8).collect()
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_node_that_joins_while_nobody_is_there_is_captured_and_found_again() {
    let Some(disturb) = disturb() else { return };
    let joined = Joined::begin(disturb);
    let before = nodes().len();
    let id = left_running("30m");
    joined.join();
    until("an agent", Duration::from_secs(60), agent_runs);
    // No option: the journal knows how it was begun.
    let mut tmux = laptop::terminal(120, 36, &format!("attach {id}"));
    tmux.until(&format!("agents {0}/{0} live", before + 1));
    tmux.until_so("its capture", |screen| screen.lines().any(|line| line.contains(NODE) && line.contains('●')));
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0") && screen.contains("confirmed removed; nothing is left"), "{screen}");
    assert!(screen.contains(&format!("fetched  {} files, ", before + 1)), "{screen}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn cleanup_removes_what_serves_nodes_that_join() {
    let Some(disturb) = disturb() else { return };
    let joined = Joined::begin(disturb);
    let id = left_running("30m");
    joined.join();
    until("an agent", Duration::from_secs(60), agent_runs);
    let planned = run(&["cleanup", &id, "--dry-run"]);
    assert!(printed(&planned).contains("DaemonSet"), "{}", said(&planned));
    let done = run_to(0, &["cleanup", &id, "--yes"]);
    assert!(done.contains("removed  DaemonSet"), "{done}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn at_the_sessions_end_its_agents_rest_and_the_reaper_removes_them() {
    let Some(disturb) = disturb() else { return };
    let joined = Joined::begin(disturb);
    let begun = Instant::now();
    left_running("90s");
    joined.join();
    until("an agent", Duration::from_secs(60), agent_runs);
    // The end, the agents' time, and a minute.
    until("the end of everything", Duration::from_secs(90 + 150 + 90).saturating_sub(begun.elapsed()), || {
        leftovers().is_empty()
    });
    run_to(0, &["cleanup", "--all", "--yes"]);
}
