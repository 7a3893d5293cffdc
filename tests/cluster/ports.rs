//! Ports of a real cluster: eight kinds of them, drift, owners, probes by key, and the DaemonSet that needs no TUI.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nodewatch_testing::{
    bucket, eventually,
    program::{self, json_lines, printed, said},
};
use serde_json::{Value, json};

use crate::{
    kubernetes::{apply, disturb, kubectl, leftovers, nodes},
    laptop::{self, output_to, run, run_to},
};

/// Opens sockets in the network of the first node, as its pods on the host's network do.
const OPEN: &str = "
import socket, sys
kept = []
def tcp(family, address, port, only6=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only6 is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
    s.bind((address, port)); s.listen(); kept.append(s)
node = sys.argv[1]
tcp(socket.AF_INET, '0.0.0.0', 17001)
tcp(socket.AF_INET, '127.0.0.1', 17002)
tcp(socket.AF_INET, node, 17003)
tcp(socket.AF_INET6, '::', 17004, 1)
tcp(socket.AF_INET6, '::', 17005, 0)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 17006)); kept.append(s)
print('open', flush=True)
sys.stdin.read()
";

struct Listeners(Child);

impl Listeners {
    /// `None` on another's cluster.
    fn open() -> Option<Self> {
        let _ = disturb()?;
        let address = kubectl(&["get", "node", &nodes()[0], "-o", "jsonpath={.status.addresses[0].address}"]);
        let mut child = Command::new("ip")
            .args(["netns", "exec", "nw-node1", "python3", "-c", OPEN, &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip netns");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "open\n");
        Some(Self(child))
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn pod(name: &str, labels: &Value, on_host: bool, ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": nodes()[0], "hostNetwork": on_host, "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "localhost/pause:1", "ports": ports}]}})
}

fn service(name: &str, app: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": app}, "ports": [{"port": 80, "nodePort": port}]}})
}

fn until_ready(pod: &str) {
    kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("pod/{pod}")]);
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn eight_kinds_of_port_are_each_in_the_right_class() {
    let Some(_listeners) = Listeners::open() else { return };
    let _objects = [
        apply(&service("web", "web", 30080)),
        apply(&service("gone", "nobody", 30081)),
        apply(&pod("web", &json!({"app": "web"}), false, &json!([{"containerPort": 8080, "hostPort": 18080}]))),
        apply(&pod("host", &json!({}), true, &json!([{"containerPort": 17001}, {"containerPort": 17009}]))),
    ];
    until_ready("web");
    until_ready("host");
    let output = output_to(0, &["ports", "--nodes", &nodes()[0], "-o", "json", "--expect", "17003-17005,17006/udp"]);
    let report = &json_lines(&output)[0];
    let told = |port: u64| -> Vec<String> {
        let sockets = report["ports"].as_array().expect("ports").iter();
        let without = report["without_socket"].as_array().expect("ports").iter();
        let words = |one: &Value| {
            let text = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {} {}", text("protocol"), text("address"), text("scope"), text("class"), text("why"))
        };
        sockets.chain(without).filter(|one| one["port"] == port).map(words).collect()
    };
    let named = "named with --expect";
    let address = kubectl(&["get", "node", &nodes()[0], "-o", "jsonpath={.status.addresses[0].address}"]);
    for (port, wanted) in [
        // All addresses, of a pod on the host's network; loopback; one address; v6 only; dual-stack; UDP.
        (17001, "tcp 0.0.0.0 all expected declared by default/host".to_owned()),
        (17002, "tcp 127.0.0.1 loopback unexpected -".to_owned()),
        (17003, format!("tcp {address} node expected {named}")),
        (17004, format!("tcp6 :: all expected {named}")),
        (17005, format!("tcp6 :: all expected {named}")),
        (17006, format!("udp 0.0.0.0 all expected {named}")),
        // What packet rules serve, and what nothing does.
        (30080, "tcp - - by_rules NodePort of default/web".to_owned()),
        (18080, "tcp - - by_rules hostPort of default/web".to_owned()),
        (30081, "tcp - - dead NodePort of default/gone".to_owned()),
        (17009, "tcp - - dead declared by default/host".to_owned()),
        (10250, format!("tcp {address} node expected kubelet")),
    ] {
        assert_eq!(told(port), [wanted], "{report:#}");
    }
    let owner = report["ports"].as_array().expect("ports").iter().find(|one| one["port"] == 17001).expect("it is open");
    assert_eq!(owner["owner"], "default/host", "without a look at processes the pod is known all the same");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn who_may_look_at_processes_names_the_owners() {
    let Some(_listeners) = Listeners::open() else { return };
    let output = output_to(0, &["ports", "--nodes", &nodes()[0], "--processes", "-o", "json"]);
    let report = &json_lines(&output)[0];
    let owner = |port: u64| {
        let ports = report["ports"].as_array().expect("ports");
        let found = ports.iter().find(|one| one["port"] == port).unwrap_or_else(|| panic!("{port}: {report}"));
        found["owner"].as_str().unwrap_or("nobody").to_owned()
    };
    assert!(owner(10250).starts_with("kubelet["), "{report}");
    assert!(owner(17003).starts_with("python3["), "{report}");
    assert_eq!(leftovers(), "");
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn what_differs_from_a_baseline_is_told_with_exit_code_3() {
    if disturb().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("baseline.json");
    let file = file.to_str().expect("a path");
    output_to(0, &["ports", "--all", "--save-baseline", file]);
    let same = run(&["ports", "--all", "--baseline", file, "-o", "json"]);
    assert_eq!(same.status.code(), Some(0), "{}", printed(&same));
    let _listeners = Listeners::open();
    let output = output_to(3, &["ports", "--all", "--baseline", file, "--exclude", "17002-17006", "-o", "json"]);
    let drifts: Vec<Value> = json_lines(&output).into_iter().filter(|line| line["drift"].is_string()).collect();
    assert_eq!(drifts.len(), 1, "{drifts:?}");
    assert_eq!((&drifts[0]["node"], &drifts[0]["drift"]), (&json!(nodes()[0]), &json!("new")));
    assert_eq!(drifts[0]["port"], "17001/tcp");
    let said = run_to(2, &["ports", "--all", "--baseline", file, "--cluster-name", "another"]);
    assert!(said.contains("\"another\"") && !said.contains("deploying"), "nothing is deployed for it: {said}");
    assert_eq!(leftovers(), "");
}

/// Every change within the watch, though reports are a minute apart.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_watch_tells_what_opens_and_closes_between_its_reports() {
    if disturb().is_none() {
        return;
    }
    let mut child = laptop::start(&["ports", "--all", "--watch", "-o", "json"]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut until = |what: &str| {
        let found = lines.find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} was not told"));
        serde_json::from_str::<Value>(&found).expect("JSON")
    };
    for _ in nodes() {
        assert!(until("\"without_socket\"")["ports"].is_array());
    }
    let listeners = Listeners::open();
    let mut opened = until("\"opened\"");
    while opened["port"] != 17001 {
        opened = until("\"opened\"");
    }
    assert_eq!((&opened["node"], opened["at"].is_u64()), (&json!(nodes()[0]), true));
    drop(listeners);
    while until("\"closed\"")["port"] != 17001 {}
    program::kill(&child, "TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "that is how a watch is meant to end");
    assert_eq!(leftovers(), "");
}

/// By keys alone, at the smallest size.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn all_nodes_ports_by_keys_and_a_probe_from_the_other_node() {
    let Some(_listeners) = Listeners::open() else { return };
    let mut tmux = laptop::terminal(80, 24, "");
    tmux.until("Ready");
    tmux.keys(&["C-a", "d", "Enter"]);
    tmux.until("agents 2/2 live");
    tmux.keys(&["o"]);
    tmux.until("0.0.0.0:17001");
    tmux.keys(&["/"]);
    tmux.text("port:17001");
    tmux.keys(&["Enter", "P"]);
    tmux.until("of 10 reached");
    tmux.keys(&["Tab"]);
    tmux.until("17001/tcp         1/2");
    tmux.keys(&["Tab"]);
    tmux.until("[matrix]");
    tmux.keys(&["e"]);
    tmux.until("1 excluded");
    tmux.keys(&["q", "Enter"]);
    let screen = tmux.until("EXIT ");
    assert!(screen.contains("EXIT 0"), "{screen}");
    assert_eq!(leftovers(), "");
}

/// A program that was killed leaves its alarms, and the journal knows of them.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn alarms_of_a_killed_session_go_with_cleanup() {
    let Some(moto) = bucket::Moto::start() else { return };
    let with_aws = |arguments: &[&str]| {
        let mut command = laptop::command(arguments);
        command.envs(bucket::Garage::environment(&moto.endpoint)).env("AWS_REGION", "us-east-1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let alarms = || {
        let aws = with_aws(&["alarms", "list", "--cluster-name", "c"]).output().expect("it starts");
        assert_eq!(aws.status.code(), Some(0), "{}", said(&aws));
        let metrics = aws_sdk_cloudwatch::config::Builder::from(&bucket::config(bucket::KEY, bucket::SECRET))
            .region(aws_config::Region::new("us-east-1"))
            .endpoint_url(&moto.endpoint);
        let client = aws_sdk_cloudwatch::Client::from_conf(metrics.build());
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let all = runtime.block_on(client.describe_alarms().send()).expect("a list");
        all.metric_alarms().len()
    };
    let watch =
        ["ports", "--all", "--watch", "--interval", "1s", "--cloudwatch", "g", "--alarms", "--cluster-name", "c"];
    let mut child = with_aws(&watch).spawn().expect("it starts");
    let wanted = nodes().len() + 2;
    eventually("the session's alarms", Duration::from_secs(60), || match alarms() {
        there if there < wanted => Err(format!("there are {there}")),
        _ => Ok(()),
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
    let cleanup = with_aws(&["cleanup", "--yes"]).output().expect("it starts");
    let said = said(&cleanup);
    assert_eq!(cleanup.status.code(), Some(0), "{said}");
    assert!(said.contains("alarms and 0 log groups of session"), "{said}");
    assert_eq!(alarms(), 0);
    assert_eq!(leftovers(), "");
}

/// As manifests/daemonset.yaml has it, with this cluster's image and an interval that a test can wait for.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn the_daemonset_reports_every_node_with_no_tui() {
    let Ok(image) = std::env::var("NODEWATCH_IMAGE") else { return };
    let yaml = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/daemonset.yaml")).expect("YAML");
    let yaml = yaml.replace("image: nodewatch-agent:0.1.0", &format!("image: {image}"));
    let yaml = yaml.replace("value: \"60\"", "value: \"1\"");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), yaml).expect("written");
    let path = file.path().to_str().expect("a path").to_owned();
    kubectl(&["apply", "-f", &path]);
    let all = nodes();
    let reports = eventually("a report of every node", Duration::from_secs(90), || {
        let logs = Command::new("kubectl")
            .args(["-n", "nodewatch-reports", "logs", "-l", "app.kubernetes.io/name=nodewatch-reports", "--tail=3"])
            .output()
            .expect("kubectl");
        let lines = printed(&logs);
        let reports: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let whole = all.iter().all(|node| reports.iter().any(|report| report["hostname"] == **node));
        if whole { Ok(reports) } else { Err(format!("{lines} {}", said(&logs))) }
    });
    kubectl(&["delete", "-f", &path, "--wait=true"]);
    for report in reports {
        assert_eq!((&report["Heartbeat"], &report["cluster"]), (&json!(1), &json!("my-cluster")), "{report}");
        let ports = report["ports"].as_array().expect("ports");
        assert!(ports.iter().any(|one| one["port"] == 10250 && one["class"] == "expected"), "{report}");
        assert!(ports.iter().all(|one| one["scope"] != "loopback"), "{report}");
    }
    assert_eq!(leftovers(), "", "what the TUI looks for is not this");
}
