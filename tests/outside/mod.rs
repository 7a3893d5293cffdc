//! The program, kubectl and tmux as a user has them.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::print_stderr, reason = "a test says why it was skipped")]

use std::{
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// The state folder of this test alone.
pub fn state() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{}", std::process::id()))
}

/// Somebody with no more rights than `manifests/operator-rbac.yaml`, where the tests have made one.
pub fn operator() -> Option<PathBuf> {
    std::env::var_os("NODEWATCH_OPERATOR_KUBECONFIG").map(PathBuf::from)
}

/// The program as that user, with a state folder of its own.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    as_operator(&mut command).args(arguments);
    command
}

fn as_operator(command: &mut Command) -> &mut Command {
    if let Some(operator) = operator() {
        command.env("KUBECONFIG", operator);
    }
    command.env("XDG_STATE_HOME", state()).env("XDG_CONFIG_HOME", state())
}

pub fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

pub fn program(arguments: &[&str]) -> Child {
    command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

pub fn errors(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(child.stderr.take().expect("piped")).lines()
}

/// The first line of results. What follows is left in the pipe, which has room for it.
pub fn first_result(child: &mut Child) -> String {
    let results = child.stdout.as_mut().expect("piped");
    let mut line = String::new();
    BufReader::new(results).read_line(&mut line).expect("a line");
    line
}

pub fn line_with(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    lines.map_while(Result::ok).find(|line| line.contains(text)).expect("the program says so")
}

pub fn kill(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}

pub fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub fn kubectl(arguments: &[&str]) -> String {
    let output = Command::new("kubectl").args(arguments).output().expect("kubectl");
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An object of the test's own, gone when dropped.
pub struct Applied(tempfile::NamedTempFile);

pub fn apply(object: &serde_json::Value) -> Applied {
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

/// Says why a test does nothing here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
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

/// Waits until that many capture files are on the laptop.
pub fn until_files(tmux: &Tmux, count: usize) {
    let end = Instant::now() + Duration::from_secs(90);
    while tmux.files().len() < count {
        assert!(Instant::now() < end, "{count} files did not come:\n{}", tmux.screen());
        std::thread::sleep(Duration::from_millis(200));
    }
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

/// Packets in a file that tshark reads to its end.
pub fn tshark(file: &Path) -> usize {
    let output = Command::new("tshark").arg("-r").arg(file).args(["-n", "-T", "fields", "-e", "frame.len"]).output();
    let output = output.expect("tshark");
    let objections = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !objections.contains("cut short"), "{objections}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// A kubeconfig for a service account, as somebody else would have it.
pub fn kubeconfig_of_service_account(namespace: &str, name: &str) -> tempfile::NamedTempFile {
    kubeconfig(&serde_json::json!({"token": token(namespace, name)}))
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
    let status = serde_json::json!({"token": token(namespace, name)});
    serde_json::json!({"apiVersion": PLUGINS, "kind": "ExecCredential", "status": status}).to_string()
}

fn kubeconfig_with(plugin: &[&str]) -> tempfile::NamedTempFile {
    kubeconfig(&serde_json::json!({"exec": {
        "apiVersion": PLUGINS, "command": plugin[0], "args": plugin[1..], "interactiveMode": "Never"}}))
}

fn token(namespace: &str, name: &str) -> String {
    let jsonpath = |what: &[&str], path: &str| kubectl(&[what, &["-o", &format!("jsonpath={path}")]].concat());
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        // Kubernetes before 1.24 makes the token by itself, a moment later.
        let secret = jsonpath(&["-n", namespace, "get", "serviceaccount", name], "{.secrets[0].name}");
        if !secret.is_empty() {
            return base64(&jsonpath(&["-n", namespace, "get", "secret", &secret], "{.data.token}"));
        }
        if Instant::now() > end {
            return kubectl(&["-n", namespace, "create", "token", name]).trim().to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The current context with another user.
fn kubeconfig(user: &serde_json::Value) -> tempfile::NamedTempFile {
    let config = kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]);
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let name = config["contexts"][0]["context"]["user"].clone();
    config["users"] = serde_json::json!([{"name": name, "user": user}]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config.to_string()).expect("written");
    file
}

fn base64(encoded: &str) -> String {
    let mut child =
        Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("base64");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), encoded.as_bytes()).expect("written");
    String::from_utf8(child.wait_with_output().expect("decoded").stdout).expect("text")
}

/// Terminals of this test so far.
static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The program in a terminal of that size.
pub struct Tmux {
    name: String,
    folder: tempfile::TempDir,
}

impl Tmux {
    pub fn start(width: u16, height: u16, arguments: &str) -> Self {
        Self::with(width, height, arguments, &[])
    }

    pub fn with(width: u16, height: u16, arguments: &str, environment: &[(&str, String)]) -> Self {
        let command = format!("LANG=C.UTF-8 {PROGRAM} {arguments}; echo EXIT $?; sleep 600");
        Self::run(width, height, &command, environment)
    }

    /// Another program than ours.
    pub fn running(width: u16, height: u16, command: &str) -> Self {
        Self::run(width, height, command, &[])
    }

    fn run(width: u16, height: u16, command: &str, environment: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let number = STARTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("nodewatch-test-{}-{number}", std::process::id());
        let size = [width.to_string(), height.to_string()];
        // A server of its own: one that runs already would give its own environment.
        let mut tmux = Command::new("tmux");
        let started = as_operator(&mut tmux)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args(["-L", &name, "-u", "new-session", "-d", "-s", &name, "-x", &size[0], "-y", &size[1], "-c"])
            .arg(folder.path())
            .arg(command)
            .status();
        assert!(started.expect("tmux").success());
        Self { name, folder }
    }

    /// One key after another, each with the time that a person takes.
    pub fn keys(&mut self, keys: &[&str]) {
        for key in keys {
            self.send(&[key]);
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    pub fn text(&mut self, text: &str) {
        self.send(&["-l", text]);
        std::thread::sleep(Duration::from_millis(250));
    }

    fn send(&self, keys: &[&str]) {
        let sent = Command::new("tmux").args(["-L", &self.name, "send-keys", "-t", &self.name]).args(keys).status();
        assert!(sent.expect("tmux").success());
    }

    pub fn resize(&mut self, width: u16, height: u16) {
        let size = [width.to_string(), height.to_string()];
        let resized = Command::new("tmux")
            .args(["-L", &self.name, "resize-window", "-t", &self.name, "-x", &size[0], "-y", &size[1]])
            .status();
        assert!(resized.expect("tmux").success());
        std::thread::sleep(Duration::from_millis(250));
    }

    /// This terminal takes what programs copy (OSC 52), as those with a clipboard do.
    pub fn take_what_is_copied(&self) {
        let set = Command::new("tmux").args(["-L", &self.name, "set", "-s", "set-clipboard", "on"]).status();
        assert!(set.expect("tmux").success());
    }

    /// Waits until something was copied, and returns it.
    pub fn copied(&self) -> String {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let shown = Command::new("tmux").args(["-L", &self.name, "show-buffer"]).output().expect("tmux");
            if shown.status.success() {
                return String::from_utf8_lossy(&shown.stdout).into_owned();
            }
            assert!(Instant::now() < end, "nothing was copied");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn screen(&self) -> String {
        // -J joins lines that the terminal has wrapped.
        let shown = Command::new("tmux")
            .args(["-L", &self.name, "capture-pane", "-p", "-J", "-t", &self.name])
            .output()
            .expect("tmux");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Waits until the screen shows that text, and returns the screen.
    pub fn until(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < end, "{text:?} did not come:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the screen shows that text no more.
    pub fn until_gone(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(90);
        loop {
            let screen = self.screen();
            if !screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < end, "{text:?} did not go:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The capture files that the program has brought home.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self.all_files();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "pcapng"));
        files
    }

    /// Every file that the program has written.
    pub fn all_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The session may have ended by itself.
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).status();
    }
}
