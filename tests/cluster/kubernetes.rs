//! The cluster past the program: its objects, users, nodes, and what `kubectl` says of them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nodewatch_testing::{
    eventually,
    here::skip,
    program::{printed, said},
};
use serde_json::{Value, json};

use crate::laptop::operator;

/// `kubectl`, which must do it; returns what it prints.
#[track_caller]
pub fn kubectl(arguments: &[&str]) -> String {
    let output = Command::new("kubectl").args(arguments).output().expect("kubectl");
    assert!(output.status.success(), "kubectl {arguments:?}: {}", said(&output));
    printed(&output)
}

/// The same, as JSON.
#[track_caller]
pub fn kubectl_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&kubectl(&[arguments, &["-o", "json"]].concat())).expect("JSON")
}

/// Our objects of that kind, as the API server has them.
pub fn ours(kind: &str) -> Vec<Value> {
    let mut list = kubectl_json(&["get", kind, "-A", "-l", "app.kubernetes.io/managed-by=nodewatch-tui"]);
    list["items"].as_array_mut().map(std::mem::take).expect("items")
}

/// An object of the test's own, gone when dropped.
pub struct Applied(tempfile::NamedTempFile);

pub fn apply(object: &Value) -> Applied {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), object.to_string()).expect("written");
    kubectl(&["apply", "-f", file.path().to_str().expect("a path")]);
    Applied(file)
}

impl Drop for Applied {
    fn drop(&mut self) {
        // A failed test must not be followed by a failed clean-up.
        let _ = Command::new("kubectl").args(["delete", "--wait=false", "-f"]).arg(self.0.path()).status();
    }
}

pub fn nodes() -> Vec<String> {
    kubectl(&["get", "nodes", "-o", "name"]).lines().map(|line| line.trim_start_matches("node/").to_owned()).collect()
}

/// Everything of ours in the cluster, by label; empty when nothing is.
pub fn leftovers() -> String {
    let kinds = "namespaces,jobs,daemonsets,pods,serviceaccounts";
    kubectl(&[
        "get",
        kinds,
        "-A",
        "-l",
        "app.kubernetes.io/managed-by=nodewatch-tui",
        "--no-headers",
        "--ignore-not-found",
    ])
}

/// Waits for something that the cluster does by itself.
#[track_caller]
pub fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    eventually(what, within, || if so() { Ok(()) } else { Err(leftovers()) });
}

/// The processes of agents, on a cluster whose processes are this machine's.
pub fn agent_processes() -> Vec<u32> {
    let found = Command::new("pgrep").args(["-f", "^/nodewatch-agent serve"]).output().expect("pgrep");
    printed(&found).lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills and starts the processes of a cluster of our own; `None` on another's.
pub fn disturb() -> Option<impl Fn(&[&str])> {
    let Ok(script) = std::env::var("NODEWATCH_TEST_CLUSTER") else {
        skip("this cluster is not ours to disturb");
        return None;
    };
    Some(move |arguments: &[&str]| {
        assert!(Command::new(&script).args(arguments).status().expect("the script").success(), "{arguments:?}");
    })
}

/// The operator's kubeconfig with its one context under several names, the first of them current.
pub fn kubeconfig_with_contexts(folder: &Path, names: &[&str]) -> String {
    let original = operator().or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from)).expect("a kubeconfig");
    let file = folder.join("kubeconfig");
    std::fs::copy(original, &file).expect("copied");
    let path = file.to_string_lossy().into_owned();
    let config = |arguments: &[&str]| kubectl(&[&["--kubeconfig", &path, "config"], arguments].concat());
    let context = config(&["current-context"]).trim().to_owned();
    let of = |field: &str| {
        let query = format!("-o=jsonpath={{.contexts[?(@.name==\"{context}\")].context.{field}}}");
        config(&["view", &query]).trim().to_owned()
    };
    let (cluster, user) = (of("cluster"), of("user"));
    for name in names {
        config(&["set-context", name, &format!("--cluster={cluster}"), &format!("--user={user}")]);
    }
    config(&["use-context", names[0]]);
    path
}

/// A kubeconfig for a service account, as somebody else would have it.
pub fn kubeconfig_of_service_account(namespace: &str, name: &str) -> tempfile::NamedTempFile {
    kubeconfig(&json!({"token": token(namespace, name)}))
}

/// The same, with the token coming from a credential plugin: `echo` with its answer.
pub fn kubeconfig_with_plugin(namespace: &str, name: &str) -> tempfile::NamedTempFile {
    kubeconfig_with(&["echo", &answer(namespace, name)])
}

/// The same, with the plugin reading its answer from a file.
pub fn kubeconfig_with_plugin_of(file: &Path) -> tempfile::NamedTempFile {
    kubeconfig_with(&["cat", file.to_str().expect("a path")])
}

const PLUGINS: &str = "client.authentication.k8s.io/v1beta1";

/// What a credential plugin would say of a service account.
pub fn answer(namespace: &str, name: &str) -> String {
    let status = json!({"token": token(namespace, name)});
    json!({"apiVersion": PLUGINS, "kind": "ExecCredential", "status": status}).to_string()
}

fn kubeconfig_with(plugin: &[&str]) -> tempfile::NamedTempFile {
    kubeconfig(&json!({"exec": {
        "apiVersion": PLUGINS, "command": plugin[0], "args": plugin[1..], "interactiveMode": "Never"}}))
}

/// Of a server's minor version, as in `20` or `31+`.
fn is_before_24(minor: &str) -> bool {
    minor.trim_end_matches('+').parse().is_ok_and(|minor: u32| minor < 24)
}

fn token(namespace: &str, name: &str) -> String {
    let jsonpath = |what: &[&str], path: &str| kubectl(&[what, &["-o", &format!("jsonpath={path}")]].concat());
    // Kubernetes before 1.24 makes the token by itself, a moment later; from then on there is none to wait for.
    if kubectl_json(&["version"])["serverVersion"]["minor"].as_str().is_some_and(is_before_24) {
        let secret = eventually("the account's token", Duration::from_secs(20), || {
            let name = jsonpath(&["-n", namespace, "get", "serviceaccount", name], "{.secrets[0].name}");
            (!name.is_empty()).then_some(name)
        });
        return base64(&jsonpath(&["-n", namespace, "get", "secret", &secret], "{.data.token}"));
    }
    kubectl(&["-n", namespace, "create", "token", name]).trim().to_owned()
}

/// The current context with another user.
fn kubeconfig(user: &Value) -> tempfile::NamedTempFile {
    let mut config = kubectl_json(&["config", "view", "--raw", "--flatten", "--minify"]);
    let name = config["contexts"][0]["context"]["user"].clone();
    config["users"] = json!([{"name": name, "user": user}]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config.to_string()).expect("written");
    file
}

fn base64(encoded: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), encoded).expect("written");
    printed(&Command::new("base64").arg("-d").arg(file.path()).output().expect("base64"))
}
