//! An agent that reports by itself: with no laptop at all, and as a session tells it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nodewatch_protocol::{FromAgent, Hello, ReportPlan, Request, Response, ToAgent, Update, decode, encode};
use nodewatch_testing::{
    bucket::{Moto, pod_identity},
    eventually_async,
    program::{kill, said},
};
use serde_json::Value;

use crate::messages;

fn agent() -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_nodewatch-tui")).with_file_name("nodewatch-agent");
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_laptop_it_writes_a_line_each_and_sends_the_same() {
    let Some(moto) = Moto::start() else { return };
    let listener = TcpListener::bind("0.0.0.0:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let mut child = agent()
        .args(["report", "--interval", "1", "--exclude", "127.0.0.0/8", "--cloudwatch", "ds", "--log-group-per-node"])
        .args(["--node-name", "node-1", "--cluster", "prod", "--endpoint", &moto.endpoint, "--expect"])
        .arg(port.to_string())
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod_identity(None))
        .spawn()
        .expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines: Vec<String> = (0..3).map(|_| output.next().expect("a line").expect("text")).collect();
    kill(&child, "TERM");
    let rest: Vec<String> = output.map_while(Result::ok).collect();
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    let first: Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!((&first["hostname"], &first["cluster"]), (&"node-1".into(), &"prod".into()));
    let ports = first["ports"].as_array().expect("ports");
    let ours = ports.iter().find(|one| one["port"] == port).expect("the listener");
    assert_eq!((&ours["class"], &ours["scope"]), (&"expected".into(), &"all".into()));
    assert!(ports.iter().all(|one| !one["address"].as_str().expect("an address").starts_with("127.")));
    assert_eq!(messages(&moto.endpoint, "ds/node-1", "node-1").await, [lines, rest].concat());
}

#[test]
fn what_it_is_told_wrong_it_refuses_by_name() {
    for (arguments, token) in [
        (["--exclude", "22,,80"], "an empty item"),
        (["--expect", "70000"], "\"70000\""),
        (["--cloudwatch", "a b"], "invalid log group \"a b\""),
        (["--retention-days", "15"], "invalid retention \"15\""),
        (["--interval", "0"], "0"),
    ] {
        let output = agent().arg("report").args(arguments).output().expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(token), "{said}");
    }
}

/// As under `--pod-identity`: it goes on by itself, also after a restart that nobody tells it of.
#[tokio::test(flavor = "multi_thread")]
async fn told_by_a_session_it_reports_and_goes_on_after_a_restart() {
    let Some(moto) = Moto::start() else { return };
    let ring = tempfile::tempdir().expect("a folder");
    let identity = pod_identity(None);
    let start = || {
        let mut child = agent()
            .args(["serve", "--stdio", "--node-name", "node-1", "--ring"])
            .arg(ring.path())
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &identity)
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("piped");
        let hello = ToAgent::Hello(Hello::of("test", "0"));
        input.write_all(&encode(&hello).expect("a line")).expect("it listens");
        (child, input)
    };
    let plan = ReportPlan {
        group: "own".to_owned(),
        stream: "node-1".to_owned(),
        retention_days: 14,
        region: "us-east-1".to_owned(),
        endpoint: Some(moto.endpoint.clone()),
        cluster: "prod".to_owned(),
        hostname: "node-1".to_owned(),
        session: "7f3a91c2".to_owned(),
        interval_seconds: 1.into(),
        excluded: Vec::new(),
        expectations: None,
    };
    let (mut child, mut input) = start();
    let request = ToAgent::Request { id: 1, request: Request::Report(Some(Box::new(plan))) };
    input.write_all(&encode(&request).expect("a line")).expect("it listens");
    let mut told = BufReader::new(child.stdout.take().expect("piped")).split(b'\n').map_while(Result::ok);
    let mut answered = false;
    let sent = told.find_map(|line| match decode(&line).expect("the protocol") {
        FromAgent::Response { id: 1, response } => {
            assert_eq!(response, Response::Done);
            answered = true;
            None
        }
        FromAgent::Update(Update::Reports(state)) if state.sent >= 2 => Some(state),
        _ => None,
    });
    let sent = sent.expect("it reports");
    assert!(answered && sent.trouble.is_empty(), "{sent:?}");
    child.kill().expect("killed");
    child.wait().expect("ended");
    let before = messages(&moto.endpoint, "own", "node-1").await.len();

    let (mut child, input) = start();
    eventually_async("two more reports", Duration::from_secs(30), async || {
        messages(&moto.endpoint, "own", "node-1").await.len() >= before + 2
    })
    .await;
    drop(input);
    child.wait().expect("it ends with its tunnel");
    let events = messages(&moto.endpoint, "own", "node-1").await;
    let mut told: Vec<u64> = events
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).expect("JSON")["sequence"].as_u64().expect("a number"))
        .collect();
    let count = told.len();
    assert!(told.is_sorted(), "{told:?}");
    told.dedup();
    assert_eq!(told.len(), count, "none twice");
}
