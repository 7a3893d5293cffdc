//! The program on this machine, with reports to CloudWatch.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use nodewatch_testing::{
    bucket::{Garage, Moto, free_port},
    eventually,
    program::{json_lines as lines, printed, said},
};
use serde_json::Value;

use crate::messages;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

fn command(folder: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder.join("state")).env("HOME", folder);
    command.env("XDG_CONFIG_HOME", folder).envs(Garage::environment(endpoint)).env("AWS_REGION", "us-east-1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, endpoint: &str, arguments: &[&str]) -> Output {
    command(folder, endpoint, arguments).output().expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_gets_there_with_its_alarms_and_is_read_back() {
    let Some(moto) = Moto::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("0.0.0.0:0").expect("bind");
    let port = listener.local_addr().expect("an address").port().to_string();
    let report =
        ["--local", "ports", "--cloudwatch", "grp", "--alarms", "--cluster-name", "c", "--expect", "1", "-o", "json"];
    let output = run(folder.path(), &moto.endpoint, &report);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.contains("reported 1 report to log group grp") && text.contains("removed  alarms of session"),
        "{text}"
    );
    let node = lines(&output)[0]["node"].as_str().expect("a name").to_owned();
    let events = messages(&moto.endpoint, "grp", &node).await;
    assert_eq!(events.len(), 1);
    let event: Value = serde_json::from_str(&events[0]).expect("JSON");
    assert_eq!(
        (&event["cluster"], &event["Heartbeat"], &event["hostname"]),
        (&"c".into(), &1.into(), &node.clone().into())
    );
    let unexpected = event["UnexpectedPorts"].as_u64().expect("a count");
    assert!(unexpected >= 1, "nobody expects the listener: {event}");

    let past = |more: &[&str]| {
        let arguments = [&["ports", "--since", "1h", "--cloudwatch", "grp", "-o", "json"], more].concat();
        let output = run(folder.path(), &moto.endpoint, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        lines(&output)
    };
    let reports = past(&[]);
    assert_eq!((reports.len(), &reports[0]["node"]), (1, &Value::from(node.clone())));
    assert_eq!(past(&["--port", &port, "--nodes", &node]).len(), 1);
    assert_eq!(past(&["--port", "1/udp"]).len(), 0);
    let table = run(folder.path(), &moto.endpoint, &["ports", "--since", "1h", "--cloudwatch", "grp"]);
    assert!(printed(&table).contains(" open"), "{}", said(&table));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_alarms_are_made_listed_and_removed() {
    let Some(moto) = Moto::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let alarms = |arguments: &[&str]| {
        let output = run(folder.path(), &moto.endpoint, &[&["--local", "alarms"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        lines(&output)
    };
    assert_eq!(alarms(&["create", "-o", "json"])[0]["made"], 3);
    assert_eq!(alarms(&["create", "-o", "json"])[0]["made"], 0);
    let kinds: Vec<Value> = alarms(&["list", "-o", "json"]).iter().map(|alarm| alarm["alarm"].clone()).collect();
    assert!(["silent", "agent-errors", "unexpected-ports"].iter().all(|kind| kinds.contains(&Value::from(*kind))));
    // A session on this machine has no journal: what it leaves when it is killed is found by its name.
    let watch = ["--local", "ports", "--watch", "--cloudwatch", "g", "--alarms", "--cluster-name", "local"];
    let mut killed = command(folder.path(), &moto.endpoint, &watch).spawn().expect("it starts");
    let left = eventually("the session's alarms", Duration::from_secs(60), || {
        let mut left = alarms(&["list", "-o", "json"]);
        left.retain(|alarm| alarm["session"].is_string());
        assert!(killed.try_wait().expect("its state").is_none(), "it ended before its alarms were there");
        if left.len() == 3 { Ok(left) } else { Err(format!("{left:?}")) }
    });
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    alarms(&["delete", "-y", "--session", left[0]["session"].as_str().expect("an id")]);
    assert_eq!(alarms(&["list", "-o", "json"]).len(), 3, "the cluster's own stay");
    let refused = run(folder.path(), &moto.endpoint, &["--local", "alarms", "delete"]);
    assert_eq!(refused.status.code(), Some(2), "nobody is there to ask: {}", said(&refused));
    alarms(&["delete", "-y"]);
    assert!(alarms(&["list", "-o", "json"]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_loses_nothing_silently() {
    let folder = tempfile::tempdir().expect("a folder");
    let closed = format!("http://127.0.0.1:{}", free_port());
    let output =
        run(folder.path(), &closed, &["--local", "ports", "--watch", "--duration", "1s", "--cloudwatch", "grp"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("LOST     1 report: 1 not sent"), "{text}");
}
