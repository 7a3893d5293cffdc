//! Kubeconfigs as people have them: what is sent is what kubectl sends, and credentials are renewed when they must be.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt;
use nodewatch_testing::recorder::{Head, Recorder};
use nodewatch_tui::{
    base::loan,
    cluster::{Connection, Target},
    model::{Failure, Notice, Severity},
};

const PKI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pki");
const NODES: &str = r#"{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
const VERSION: &str = r#"{"major":"1","minor":"32","gitVersion":"v1.32.4"}"#;
const KUBE_SYSTEM: &str = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"u-1"}}"#;
const REFUSED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","metadata":{},"code":401,"reason":"Unauthorized","message":"Unauthorized"}"#;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    /// A program in the shell's words.
    fn plugin(&self, name: &str, script: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        path
    }

    /// A kubeconfig of one context.
    fn config(&self, name: &str, cluster: &str, user: &str) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\n"
        );
        self.write(name, &text)
    }
}

/// A plugin's answer with this status, as the shell prints it.
fn answer(status: &str) -> String {
    format!(
        r#"echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}'"#
    )
}

fn exec(plugin: &Path, more: &str) -> String {
    let plugin = plugin.display();
    format!("exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{plugin}', interactiveMode: Never{more}}}")
}

async fn open(kubeconfig: PathBuf) -> Result<Connection, Notice> {
    Connection::open(&Target { kubeconfig: vec![kubeconfig], context: None }).await
}

/// A server that takes these tokens one after the other: the next once it has seen so many calls with the last.
fn server(takes: impl Fn(usize, &str) -> bool + Send + 'static) -> Recorder {
    let mut calls = 0;
    Recorder::secure("127.0.0.1", tls::config(PKI, false), move |head| {
        calls += 1;
        let token = head.header("authorization").unwrap_or_default();
        if takes(calls, token) { (200, KUBE_SYSTEM.to_owned()) } else { (401, REFUSED.to_owned()) }
    })
}

/// A cluster behind that port.
fn secured(port: u16) -> String {
    format!("server: 'https://127.0.0.1:{port}', certificate-authority: '{PKI}/ca.pem'")
}

fn runs(files: &Files) -> usize {
    files.text("runs").lines().count()
}

/// The n-th run gives `t-n`, with what else its status has.
fn counting(files: &Files, more: &str) -> PathBuf {
    let script = format!(
        "echo run >> '{}'; n=$(wc -l < '{}')\n{}",
        files.path("runs").display(),
        files.path("runs").display(),
        answer(&format!(r#""token":"t-'$n'"{more}"#))
    );
    files.plugin("plugin", &script)
}

#[tokio::test]
async fn a_plugin_runs_again_when_its_token_is_refused_and_once_for_all_calls() {
    let files = Files::new();
    // From the second call on the first token is void, as when somebody has renewed the account.
    let server = server(|calls, token| if calls == 1 { token == "Bearer t-1" } else { token == "Bearer t-2" });
    let user = exec(&counting(&files, ""), "");
    let path = files.config("config", &secured(server.port), &user);
    let connection = open(path.clone()).await.expect("open");
    assert!(connection.identity().await.is_ok());
    let calls: Vec<_> = (0..8).map(|_| connection.identity()).collect();
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(outcome.expect("renewed").kube_system_uid, "u-1");
    }
    assert_eq!(runs(&files), 2, "once for eight refused calls");
    let again = open(path).await.expect("open");
    assert!(again.identity().await.is_ok());
    assert_eq!(runs(&files), 2, "a second connection uses the first one's");
}

#[tokio::test]
async fn a_token_that_is_always_refused_is_not_asked_for_without_end() {
    let files = Files::new();
    let server = server(|_, _| false);
    let user = exec(&counting(&files, ""), "");
    let path = files.config("config", &secured(server.port), &user);
    let connection = open(path).await.expect("open");
    for _ in 0..5 {
        let notice = connection.identity().await.expect_err("refused");
        assert!(notice.cause.contains("does not accept the credentials (401)"), "{notice:?}");
    }
    assert_eq!(runs(&files), 2, "at the start and at the first refusal");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_one_that_came_too_late_is_not_asked_for_at_each_call() {
    let files = Files::new();
    let server = server(|_, _| true);
    let cluster = secured(server.port);
    // It ends in two seconds, which is as good as now.
    let user =
        exec(&counting(&files, r#","expirationTimestamp":"'$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)'""#), "");
    let connection = open(files.config("config", &cluster, &user)).await.expect("open");
    for _ in 0..5 {
        connection.identity().await.expect("answered");
    }
    assert_eq!(runs(&files), 1, "a laptop's clock may be wrong");
    let files = Files::new();
    let user =
        exec(&counting(&files, r#","expirationTimestamp":"'$(date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ)'""#), "");
    let connection = open(files.config("config", &cluster, &user)).await.expect("open");
    let until = Instant::now() + Duration::from_secs(20);
    while runs(&files) < 2 && Instant::now() < until {
        connection.identity().await.expect("answered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(runs(&files) >= 2, "renewed");
    assert_eq!(server.seen().last().and_then(|head| head.header("authorization")), Some("Bearer t-2"));
}

#[tokio::test]
async fn a_certificate_that_a_plugin_renews_is_the_one_of_new_connections() {
    let files = Files::new();
    let quoted = |name: &str| fs::read_to_string(format!("{PKI}/{name}")).expect("PEM").replace('\n', "\\n");
    for (name, file) in [("first", "1"), ("second", "2")] {
        let (certificate, key) = (quoted(&format!("{name}.pem")), quoted(&format!("{name}.key")));
        let status = format!(r#""clientCertificateData":"{certificate}","clientKeyData":"{key}""#);
        files.write(
            file,
            &format!(
                r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{{status}}}}}"#
            ),
        );
    }
    let counter = files.path("runs").display().to_string();
    let script = format!("echo run >> '{counter}'; cat '{}'/$(wc -l < '{counter}')", files.0.path().display());
    let plugin = files.plugin("plugin", &script);
    let seen = tls::Server::start(PKI);
    let cluster = secured(seen.port);
    let connection = open(files.config("config", &cluster, &exec(&plugin, ""))).await.expect("open");
    connection.identity().await.expect("by the first certificate");
    // The server ends connections of the first one from now on, as it does when it has ended.
    seen.refuse_first();
    connection.identity().await.expect("by the second certificate");
    assert_eq!(runs(&files), 2);
    assert_eq!(seen.certificates(), ["first", "first", "second"]);
}

#[tokio::test]
async fn a_token_file_is_read_again_when_its_token_is_refused() {
    let files = Files::new();
    files.write("token", "old\n");
    let server = server(|calls, token| calls == 1 || token == "Bearer new");
    let path = files.config("config", &secured(server.port), "tokenFile: token");
    let connection = open(path).await.expect("open");
    connection.identity().await.expect("by the old one");
    files.write("token", "new\n");
    connection.identity().await.expect("by the new one");
}

#[tokio::test(flavor = "current_thread")]
async fn a_plugin_that_hangs_holds_nothing_else_up() {
    let files = Files::new();
    let plugin = files.plugin("plugin", "exec sleep 600");
    let path = files.config("config", "server: 'https://127.0.0.1:1'", &exec(&plugin, ""));
    let began = Instant::now();
    let given_up = tokio::time::timeout(Duration::from_millis(200), open(path)).await;
    assert!(given_up.is_err() && began.elapsed() < Duration::from_secs(5), "keys would be answered");
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_in_its_own_words() {
    let files = Files::new();
    let told = async |script: &str, more: &str| {
        // Of its own name, as a failure answers for a moment whoever asks the same plugin.
        let plugin =
            files.plugin(&format!("plugin-{}", fs::read_dir(files.0.path()).expect("a folder").count()), script);
        let mode = if more.is_empty() { ", interactiveMode: Never" } else { more };
        let mode = exec(&plugin, mode).replacen(", interactiveMode: Never", "", 1);
        open(files.config("config", "server: 'https://127.0.0.1:1'", &mode)).await.err().expect("no credentials")
    };
    let notice = told("echo 'Token has expired' >&2; echo secret; exit 255", ", interactiveMode: IfAvailable").await;
    let line = notice.line();
    assert!(line.contains(" ended with exit status: 255: Token has expired"), "{line}");
    assert!(!line.contains("secret") && notice.failure == Failure::NotPermitted, "{notice:?}");
    let line = told("printf 'a\\033[31mb\\nlast' >&2; exit 1", "").await.line();
    assert!(line.contains(r"a\u{1b}[31mb; last"), "{line}");
    assert!(told("echo Hello", "").await.line().contains("with an ExecCredential"));
    let version = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}'"#;
    assert!(told(version, "").await.line().contains("version client.authentication.k8s.io/v1beta1"));
    assert!(told(&answer(""), "").await.line().contains("neither a token nor a certificate"));
    assert!(told(&answer(r#""clientKeyData":"x""#), "").await.line().contains("but not both"));
    assert!(told("yes", "").await.line().contains("with more than 1"), "it is ended, and at once");
    assert!(told("kill -9 $$", "").await.line().contains("signal: 9"));
    // No terminal is here to ask on.
    let always = told(&answer(r#""token":"t""#), ", interactiveMode: Always").await.line();
    assert!(always.contains("interactiveMode: Always") && always.contains("there is none"), "{always}");
    let missing = "exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-authenticator, interactiveMode: Never, \
                   installHint: \"brew install it\\nor see the docs\"}";
    let line =
        open(files.config("config", "server: 'https://127.0.0.1:1'", missing)).await.err().expect("missing").line();
    assert!(line.contains("no-such-authenticator is not installed: brew install it, or see the docs"), "{line}");
}

/// Here no screen is drawn over, so nothing but the notice has it.
#[tokio::test]
async fn what_a_plugin_says_while_there_is_a_screen_is_a_notice() {
    loan::screen_opens();
    let files = Files::new();
    let server = server(|calls, token| if calls == 1 { token == "Bearer t-1" } else { token == "Bearer t-2" });
    let counter = files.path("runs").display().to_string();
    let count =
        format!("echo run >> '{counter}'; n=$(wc -l < '{counter}'); printf 'WARNING: \\033[31mrun %s\\n\\n' $n >&2");
    let plugin = files.plugin("plugin", &format!("{count}\n{}", answer(r#""token":"t-'$n'""#)));
    let path = files.config("config", &secured(server.port), &exec(&plugin, ""));
    let connection = open(path).await.expect("open");
    let mut news = connection.news();
    let mut heard = async || {
        let next = tokio::time::timeout(Duration::from_secs(20), news.next());
        next.await.expect("told").expect("a notice")
    };
    let notice = heard().await;
    let said = format!("the credential plugin {} says: WARNING: ", plugin.display());
    assert_eq!(notice.headline, format!(r"{said}\u{{1b}}[31mrun 1"));
    assert_eq!(notice.severity, Severity::Warning);
    // Renewed in the background.
    connection.identity().await.expect("by the first");
    connection.identity().await.expect("by the second");
    assert!(heard().await.headline.ends_with("[31mrun 2"));
}

#[tokio::test]
async fn a_plugin_is_told_the_truth_about_the_terminal_and_the_cluster() {
    let files = Files::new();
    let told = files.path("told");
    let script = format!("printf '%s' \"$KUBERNETES_EXEC_INFO\" > '{}'\n{}", told.display(), answer(r#""token":"t""#));
    let plugin = files.plugin("plugin", &script);
    let user = exec(&plugin, ", provideClusterInfo: true").replace("Never", "IfAvailable");
    let cluster = "server: 'https://127.0.0.1:1', tls-server-name: kube.example";
    open(files.config("config", cluster, &user)).await.expect("open");
    let told: serde_json::Value = serde_json::from_str(&files.text("told")).expect("JSON");
    assert_eq!(told["spec"]["interactive"], false);
    assert_eq!(told["spec"]["cluster"]["server"], "https://127.0.0.1:1");
    assert_eq!(told["spec"]["cluster"]["tls-server-name"], "kube.example");
    assert_eq!(told["apiVersion"], "client.authentication.k8s.io/v1");
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_named() {
    let files = Files::new();
    let config =
        files.config("config", "server: 'https://192.0.2.2:6443', proxy-url: 'http://me:secret@127.0.0.1:1'", "");
    let line = open(config).await.expect("open").identity().await.expect_err("gone").line();
    assert!(line.contains("cannot connect through the proxy http://127.0.0.1:1"), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_no_trouble_of_the_network() {
    let files = Files::new();
    let server = server(|_, _| true);
    let config = files.config("config", &format!("server: 'https://127.0.0.1:{}'", server.port), "token: abc");
    let notice = open(config).await.expect("open").identity().await.expect_err("nobody vouches for it");
    assert!(notice.next_step.contains("certificate-authority"), "{notice:?}");
    assert!(!notice.next_step.contains("VPN"), "{notice:?}");
}

/// One kubeconfig and environment; what is sent for them.
struct Case {
    name: &'static str,
    kubeconfig: String,
    variables: Vec<(&'static str, String)>,
}

fn first_of(mut child: Child, recorders: &[&Recorder]) -> Option<String> {
    let until = Instant::now() + Duration::from_secs(20);
    let mut ended = false;
    loop {
        // kubectl may ask for the server's version first, as whom it likes.
        let seen: Vec<Head> = recorders.iter().flat_map(|recorder| recorder.seen()).collect();
        if let Some(head) = seen.iter().find(|head| !head.line.ends_with("/version")) {
            // It may try again for a while, which is of no interest here.
            let _ = child.kill();
            let _ = child.wait();
            return Some(Head::told(head));
        }
        if ended || Instant::now() > until {
            return None;
        }
        ended = child.try_wait().expect("a child").is_some();
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sent(program: &str, arguments: &[&str], case: &Case, home: &Path, recorders: &[&Recorder]) -> Option<String> {
    for recorder in recorders {
        recorder.forget();
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("KUBECONFIG", &case.kubeconfig).envs(case.variables.iter().map(|(name, value)| (name, value)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    first_of(child, recorders)
}

#[test]
#[allow(clippy::too_many_lines, clippy::print_stderr, reason = "one table; what is skipped is said")]
fn what_is_sent_is_what_kubectl_sends() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("kubectl is not here: nothing is compared");
        return;
    }
    let files = Files::new();
    let body = |head: &Head| if head.line.ends_with("/version") { VERSION } else { NODES }.to_owned();
    let recorder = Recorder::start("0.0.0.0", move |head| (200, body(head)));
    let secure = Recorder::secure("127.0.0.1", tls::config(PKI, false), move |head| (200, body(head)));
    let safe = secured(secure.port);
    let port = recorder.port;
    let here = format!("127.0.0.1:{port}");
    let plain = format!("server: 'http://{here}'");
    let elsewhere = "server: 'https://192.0.2.2:6443', insecure-skip-tls-verify: true".to_owned();
    files.write("token", "from-file\n");
    let told = files.plugin(
        "told",
        &format!(
            "i=$(printf '%s' \"$KUBERNETES_EXEC_INFO\" | tr -dc 'a-zA-Z0-9:/.' | sed 's/.*interactive:\\(true\\|false\\).*/\\1/')\n{}",
            answer(r#""token":"interactive-'$i'""#)
        ),
    );
    let of_old = answer(r#""token":"old""#).replace("k8s.io/v1", "k8s.io/v1beta1");
    let old = exec(&files.plugin("old", &of_old), "").replace("k8s.io/v1", "k8s.io/v1beta1");
    let exec = exec(&told, "");
    let clusters = [
        ("a token in the clear", plain.clone(), "token: abc, as: alice".to_owned()),
        ("a plugin in the clear", plain.clone(), exec.clone()),
        ("a token", safe.clone(), "token: abc".to_owned()),
        ("nothing", plain.clone(), String::new()),
        ("host and port", format!("server: '{here}'"), "token: abc".to_owned()),
        ("localhost and port", format!("server: 'localhost:{port}'"), String::new()),
        ("host and port with an authority", format!("server: '{here}', insecure-skip-tls-verify: true"), String::new()),
        ("no server", String::new(), String::new()),
        ("an odd scheme", format!("server: 'ftp://{here}'"), String::new()),
        ("a token file", safe.clone(), "tokenFile: token".to_owned()),
        ("a token and a token file", safe.clone(), "token: abc, tokenFile: token".to_owned()),
        ("a password", safe.clone(), "username: me, password: 'pa:ss'".to_owned()),
        ("a plugin", safe.clone(), exec.clone()),
        ("an empty token beside a plugin", safe.clone(), format!("token: '', {exec}")),
        ("a token beside a plugin", safe.clone(), format!("token: abc, {exec}")),
        ("a plugin without a mode", safe.clone(), exec.replace(", interactiveMode: Never", "")),
        ("a plugin of before without a mode", safe.clone(), old.replace(", interactiveMode: Never", "")),
        ("a plugin of no known version", safe.clone(), exec.replace("k8s.io/v1", "k8s.io/v7")),
        ("a plugin without a version", safe.clone(), exec.replace("apiVersion: client.authentication.k8s.io/v1, ", "")),
        ("an authority that is not to be asked", format!("{safe}, insecure-skip-tls-verify: true"), String::new()),
        ("a plugin that may ask", safe.clone(), exec.replace("Never", "IfAvailable")),
        ("a plugin that must ask", safe.clone(), exec.replace("Never", "Always")),
        ("somebody else", safe.clone(), "token: abc, as: alice, as-uid: '42', as-groups: [dev, ops]".to_owned()),
        (
            "with extras",
            safe.clone(),
            "token: abc, as: alice, as-user-extra: {scopes: [a, b], 'x.y/z': [c]}".to_owned(),
        ),
        (
            "a proxy to what is plain",
            format!("server: 'http://192.0.2.2:8080', proxy-url: 'http://{here}'"),
            "token: abc".to_owned(),
        ),
        ("a proxy", format!("{elsewhere}, proxy-url: 'http://{here}'"), "token: abc".to_owned()),
        ("a proxy with a login", format!("{elsewhere}, proxy-url: 'http://me:p%40ss@{here}'"), String::new()),
        ("a SOCKS proxy", format!("{elsewhere}, proxy-url: 'socks5://{here}'"), String::new()),
        (
            "a SOCKS proxy and a name",
            format!("server: 'https://kube.invalid', proxy-url: 'socks5://{here}'"),
            String::new(),
        ),
        ("a proxy without a scheme", format!("{elsewhere}, proxy-url: '{here}'"), String::new()),
        ("an odd proxy", format!("{elsewhere}, proxy-url: 'ftp://{here}'"), String::new()),
        ("a certificate that is not there", safe.clone(), "client-certificate: no.crt, client-key: no.key".to_owned()),
        ("a provider of old", safe.clone(), "auth-provider: {name: gcp}".to_owned()),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (number, (name, cluster, user)) in clusters.into_iter().enumerate() {
        let kubeconfig = files.config(&format!("kc-{number}"), &cluster, &user).display().to_string();
        cases.push(Case { name, kubeconfig, variables: Vec::new() });
    }
    let proxied = files.config("kc-elsewhere", &elsewhere, "").display().to_string();
    let own = files.config("kc-own", &format!("{elsewhere}, proxy-url: 'http://{here}'"), "").display().to_string();
    let local = files.config("kc-local", &plain, "").display().to_string();
    let unsafe_http = files.config("kc-http", "server: 'http://192.0.2.2:6443'", "").display().to_string();
    let mut with = |name: &'static str, kubeconfig: &str, variables: &[(&'static str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        cases.push(Case { name, kubeconfig: kubeconfig.to_owned(), variables });
    };
    let address = format!("http://{here}");
    with("HTTPS_PROXY", &proxied, &[("HTTPS_PROXY", &address)]);
    with("https_proxy", &proxied, &[("https_proxy", &address)]);
    with("HTTPS_PROXY without a scheme", &proxied, &[("HTTPS_PROXY", &here)]);
    with("HTTPS_PROXY of SOCKS", &proxied, &[("HTTPS_PROXY", &format!("socks5://{here}"))]);
    with("HTTP_PROXY to what is plain", &unsafe_http, &[("HTTP_PROXY", &address)]);
    with(
        "HTTPS_PROXY to this machine",
        &local,
        &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("HTTP_PROXY", "http://127.0.0.1:1")],
    );
    with("NO_PROXY of others", &proxied, &[("HTTPS_PROXY", &address), ("NO_PROXY", "127.0.0.1,.internal, ,")]);
    with("NO_PROXY with blanks", &proxied, &[("HTTPS_PROXY", &address), ("NO_PROXY", "localhost 192.0.2.2")]);
    with("NO_PROXY of another port", &proxied, &[("HTTPS_PROXY", &address), ("NO_PROXY", "192.0.2.2:443")]);
    with("NO_PROXY and a proxy-url", &own, &[("NO_PROXY", "*")]);
    // An address of this machine that is none of its own network: what goes there directly is seen.
    let outside = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let outside = outside.map(|address| address.ip()).ok().filter(|address| !address.is_loopback());
    if let Some(outside) = outside {
        let cluster = format!("server: 'https://{outside}:{port}', insecure-skip-tls-verify: true");
        let direct = files.config("kc-direct", &cluster, "").display().to_string();
        let port = port.to_string();
        for except in ["*".to_owned(), outside.to_string(), format!("{outside}/24"), format!(" {outside}:{port} ,")] {
            with("NO_PROXY", &direct, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", &except)]);
        }
    }
    let text = fs::read_to_string(&local).expect("a kubeconfig");
    let nulls = files.write(
        "kc-nulls",
        "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\ncurrent-context: \"\"\n",
    );
    let twice = files.write("kc-twice", &format!("current-context: y\n{text}"));
    let documents = files.write("kc-documents", &format!("{text}---\ncurrent-context: y\n"));
    let marked = files.write("kc-marked", &format!("\u{feff}{}", text.replace('\n', "\r\n")));
    let users = files.write("kc-users", "users: [{name: u, user: {token: first}}]\n");
    for (name, files) in [
        ("nulls before it", vec![&nulls, &PathBuf::from(&local)]),
        ("a user before it", vec![&users, &PathBuf::from(&local)]),
        ("one that is missing", vec![&files.path("none"), &PathBuf::from(&local)]),
        ("a key twice", vec![&twice]),
        ("two documents", vec![&documents]),
        ("marked", vec![&marked]),
    ] {
        let joined = std::env::join_paths(files).expect("no colon").into_string().expect("text");
        with(name, &joined, &[]);
    }
    let ours = env!("CARGO_BIN_EXE_nodewatch-tui");
    let mut differ = Vec::new();
    for case in &cases {
        let home = files.path("home");
        let theirs = sent("kubectl", &["get", "--raw", "/api/v1/nodes"], case, &home, &[&recorder, &secure]);
        let ours = sent(ours, &["nodes"], case, &home, &[&recorder, &secure]);
        if theirs != ours {
            differ.push(format!(
                "{} {:?}\n  kubectl sends {theirs:?}\n  we send       {ours:?}",
                case.name, case.variables
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// A TLS server that wants a client certificate and knows two.
mod tls {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
    };

    use rustls::{
        RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, server::WebPkiClientVerifier,
    };
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    /// A server's side, which wants a client certificate or none.
    pub fn config(pki: &str, of_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(read(pki, "ca")).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let config = if of_client {
            config.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            config.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(format!("{pki}/server.key")).expect("a key");
        Arc::new(config.with_single_cert(vec![read(pki, "server")], key).expect("a configuration"))
    }

    fn read(pki: &str, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(format!("{pki}/{name}.pem")).expect("a certificate")
    }

    pub struct Server {
        pub port: u16,
        seen: Arc<Mutex<Vec<&'static str>>>,
        refuses: Arc<AtomicBool>,
    }

    impl Server {
        pub fn start(pki: &str) -> Self {
            let (config, first) = (config(pki, true), read(pki, "first"));
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let (seen, refuses) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
            let server = Self { port, seen: Arc::clone(&seen), refuses: Arc::clone(&refuses) };
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                    let mut stream = StreamOwned::new(connection, stream);
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                        head.push(byte[0]);
                    }
                    let certificates = stream.conn.peer_certificates();
                    let is_first = certificates.and_then(|chain| chain.first()).is_some_and(|own| *own == first);
                    seen.lock().expect("whole").push(if is_first { "first" } else { "second" });
                    let (code, body) = if is_first && refuses.load(Ordering::SeqCst) {
                        (401, super::REFUSED)
                    } else {
                        (200, super::KUBE_SYSTEM)
                    };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {code} Said\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                    // A client that is gone asks again.
                    let _ = stream.write_all(answer.as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            });
            server
        }

        pub fn refuse_first(&self) {
            self.refuses.store(true, Ordering::SeqCst);
        }

        pub fn certificates(&self) -> Vec<&'static str> {
            self.seen.lock().expect("whole").clone()
        }
    }
}
