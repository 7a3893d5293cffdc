//! `diagnose` on nodes, from outside: the program and its agent on this machine, over packets between namespaces.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use nodewatch_testing::{
    here,
    namespaces::{Net, in_namespace},
    program::{ended_soon, errors, json_lines, kill, line_with, start},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");
/// What is seen in the beginning is not judged: an agent's first two seconds.
const NOT_JUDGED: Duration = Duration::from_secs(3);

/// A server whose accept queue takes two connections and is never emptied, and clients that go on asking for one.
#[test]
fn a_server_that_accepts_nothing_is_told_while_it_is_watched_and_is_the_result() {
    if !here::possible(&["ip", "nsenter"]) {
        return;
    }
    let net = Net::new();
    let to = SocketAddr::from(([10, 66, 0, 1], 8080));
    let listener = in_namespace(&net.here, || TcpListener::bind(to).expect("bind"));
    rustix::net::listen(&listener, 1).expect("a short queue");
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", net.here)).arg(PROGRAM);
    command.args(["diagnose", "--local", "--interface", "veth0", "--duration", "90s", "-o", "json"]);
    let state = net.ring.path();
    let mut child = start(command.env("XDG_STATE_HOME", state).env("XDG_CONFIG_HOME", state));
    let mut said = errors(&mut child);
    line_with(&mut said, "live after");
    thread::sleep(NOT_JUDGED);
    for _ in 0..12 {
        let there = net.there.clone();
        // They wait for longer than the test.
        thread::spawn(move || {
            let connected = in_namespace(&there, || TcpStream::connect_timeout(&to, Duration::from_secs(120)));
            thread::sleep(Duration::from_secs(120));
            drop(connected);
        });
    }
    let told = line_with(&mut said, "N-11");
    assert!(told.contains("10.66.0.1:8080"), "{told}");
    kill(&child, "TERM");
    let output = ended_soon(child);
    assert_eq!(output.status.code(), Some(6), "{told}");
    let records = json_lines(&output);
    let answer = records.iter().find(|record| record["kind"] == "answer").expect("an answer");
    assert_eq!((&answer["code"], &answer["certainty"]), (&"N-11".into(), &"verdict".into()), "{answer}");
    assert!(answer["failed"].as_u64() >= Some(5) && answer["proof"][0]["time"].is_string(), "{answer}");
    let looked = records.last().expect("what was looked at");
    assert_eq!((&looked["kind"], &looked["taps"], &looked["nodes"]), (&"looked".into(), &1.into(), &1.into()), "{looked}");
    assert!(looked["not_seen"].is_array(), "{looked}");
}
