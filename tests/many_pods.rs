//! A cluster of fifteen thousand pods on five thousand nodes: what is needed of each is kept, not what it is. Measured in a
//! process of its own.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use futures::StreamExt;
use nodewatch_answers::{Journal, Source};
use nodewatch_tui::{
    agents::site::Site,
    cluster::{AgentSettings, Cluster, Connection, Target},
    journal::Journals,
    model::{NodeName, SessionId},
};

const PODS: usize = 15_000;
const NODES: usize = 5_000;
/// In MiB, with the program itself.
const AT_MOST: u64 = 150;
/// Tells the process that is measured where the server is.
const KUBECONFIG: &str = "NODEWATCH_MANY_PODS";

#[test]
fn fifteen_thousand_pods_fit_into_little_memory() {
    if let Some(kubeconfig) = std::env::var_os(KUBECONFIG) {
        return look(kubeconfig.into());
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(connection));
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).expect("written");
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own)
        .args(["--exact", "fifteen_thousand_pods_fit_into_little_memory", "--nocapture"])
        .env(KUBECONFIG, &kubeconfig)
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stdout);
    let peak = said.lines().find_map(|line| line.split_once("peak ")?.1.trim().parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(peak / 1024 < AT_MOST, "{} MiB", peak / 1024);
}

/// Lists everything for names, for ports, for filters, for the answers' journal and before a deployment, and says how much memory that took at most,
/// in KiB.
#[allow(clippy::print_stdout, reason = "read by the test")]
fn look(kubeconfig: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let target = Target { kubeconfig: vec![kubeconfig], ..Target::default() };
        let connection = Connection::open(&target).await.expect("a connection");
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = Cluster::new(connection, SessionId::new(1), settings(), Journals::in_folder(folder.path()));
        assert!(!cluster.names().await.is_empty());
        let nodes: Vec<NodeName> = (0..100).map(|number| NodeName(format!("node-{number}"))).collect();
        assert!(!cluster.expected(nodes).expect("a cluster").await.pods.is_empty());
        assert_eq!(cluster.workloads().expect("a cluster").await.pods.len(), PODS);
        let mut journal = Journal::default();
        let mut changes = cluster.changes().expect("a cluster");
        while journal.since(Source::Pods).is_none() {
            if let Some(Ok(news)) = changes.next().await {
                journal.take_in(1, news);
            }
        }
        let last = IpAddr::from([10, 0, 58, 151]);
        assert_eq!(journal.pod_at(last, 1).map(|pod| pod.name.as_str()), Some("apps/pod-14999"));
        let checks = cluster.preflight(&[]).await;
        let ready = format!("{NODES} Ready");
        assert!(checks.iter().any(|check| check.check == "nodes" && check.detail == ready), "{checks:?}");
    });
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("\npeak {}", peak.trim().trim_end_matches(" kB"));
}

fn serve(connection: TcpStream) {
    let mut input = BufReader::new(connection.try_clone().expect("a socket"));
    let mut output = connection;
    let managed = managed_fields();
    loop {
        let mut request = String::new();
        if input.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while input.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        // As of an older server.
        let streams = path.contains("sendInitialEvents=true");
        let status = if streams { "422 Unprocessable Entity" } else { "200 OK" };
        let body = if path.contains("watch=true") {
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":422}"#.to_owned()
        } else if path.starts_with("/api/v1/pods?") {
            page(path, PODS, |pod| pod_text(pod, &managed))
        } else if path.starts_with("/api/v1/nodes") {
            page(path, NODES, |node| node_text(node, &managed))
        } else {
            r#"{"kind":"List","metadata":{"resourceVersion":"1"},"items":[]}"#.to_owned()
        };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if output.write_all(head.as_bytes()).and_then(|()| output.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

/// The part of a list that was asked for; all of it where no part was.
fn page(path: &str, all: usize, text: impl Fn(usize) -> String) -> String {
    let number = |name: &str| {
        let value = path.split(['?', '&']).find_map(|part| part.strip_prefix(name));
        value.and_then(|value| value.parse::<usize>().ok())
    };
    let first = number("continue=").unwrap_or(0);
    let end = all.min(first + number("limit=").unwrap_or(all));
    let items: Vec<String> = (first..end).map(text).collect();
    let more = if end < all { end.to_string() } else { String::new() };
    format!(
        r#"{{"kind":"List","apiVersion":"v1","items":[{}],"metadata":{{"resourceVersion":"1","continue":"{more}"}}}}"#,
        items.join(",")
    )
}

fn pod_text(pod: usize, managed: &str) -> String {
    let address = format!("10.{}.{}.{}", pod / 65536, pod / 256 % 256, pod % 256);
    format!(
        r#"{{"metadata":{{"name":"pod-{pod}","namespace":"apps","uid":"u-{pod}","managedFields":{managed}}},
        "spec":{{"nodeName":"node-{}","containers":[{{"name":"c","image":"x"}}]}},
        "status":{{"phase":"Running","podIPs":[{{"ip":"{address}"}}]}}}}"#,
        pod % 100
    )
}

/// With the images that a kubelet lists.
fn node_text(node: usize, managed: &str) -> String {
    let image = |number: usize| {
        format!(r#"{{"names":["registry.example/team/app-{number}@sha256:{number:064}"],"sizeBytes":{number}}}"#)
    };
    let images: Vec<String> = (0..50).map(image).collect();
    format!(
        r#"{{"metadata":{{"name":"node-{node}","uid":"n-{node}","managedFields":{managed}}},"spec":{{}},
        "status":{{"images":[{}],"conditions":[{{"type":"Ready","status":"True"}}]}}}}"#,
        images.join(",")
    )
}

/// 10 KB, as kubelets and controllers leave them.
fn managed_fields() -> String {
    let mut fields = String::from(r#"[{"manager":"kubelet","operation":"Update","fieldsV1":{"#);
    for number in 0..300 {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(fields, r#"{comma}"f:field-{number}":{{".":{{}},"f:value":{{}}}}"#);
    }
    fields.push_str("}}]");
    fields
}

fn settings() -> AgentSettings {
    AgentSettings {
        image: "registry.example/agent:1".into(),
        pull_policy: None,
        budget: Duration::from_secs(600),
        lease: Duration::from_secs(60),
        namespace: None,
        reaper: false,
        daemonset: false,
        service_account: None,
        ring: None,
        role: None,
        push: None,
        processes: false,
        owner: "me@here".into(),
    }
}
