//! The agent as a process: its signals, its limits, and the end of those that read it.

use std::{
    io::Read,
    os::unix::{fs::OpenOptionsExt as _, net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use nodewatch_protocol::{Request, Response};
use nodewatch_testing::{
    agent::Agent,
    eventually,
    program::{SOON, ended_soon},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-agent");

/// Serves on a socket in that folder, under these limits of the shell.
fn serve(folder: &Path, limits: &str) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limits} exec \"$@\"")).args(["sh", PROGRAM, "serve", "--ring"]);
    command.arg(folder.join("ring")).arg("--socket").arg(folder.join("agent.sock"));
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the agent starts");
    eventually("a listener", SOON, || UnixStream::connect(folder.join("agent.sock")).map(drop));
    child
}

fn connect(folder: &Path) -> Agent {
    let mut command = Command::new(PROGRAM);
    command.arg("connect").arg("--socket").arg(folder.join("agent.sock"));
    Agent::spawn(command, &folder.join("ring"))
}

/// Its exit code, which comes soon.
fn ended(child: Child) -> Option<i32> {
    ended_soon(child).status.code()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it runs");
}

#[test]
fn every_signal_that_ends_it_ends_it_well() {
    use rustix::process::Signal;
    for word in [Signal::TERM, Signal::INT, Signal::HUP] {
        let folder = tempfile::tempdir().expect("a folder");
        let child = serve(folder.path(), "");
        signal(&child, word);
        // A Job makes another pod of one that was deleted: this is no success.
        assert_eq!(ended(child), Some(143), "{word:?}");
    }
}

#[test]
fn one_whose_time_is_over_has_done_its_work_and_a_job_is_complete_with_it() {
    for limit in ["--lease", "--deadline"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(PROGRAM);
        command.args(["serve", limit, "1", "--ring"]).arg(folder.path().join("ring")).arg("--socket");
        let child = command.arg(folder.path().join("agent.sock")).stdin(Stdio::null()).spawn().expect("it starts");
        assert_eq!(ended(child), Some(0), "{limit}");
    }
}

/// A disk that hangs while the ring is recovered is a FIFO in the place of a capture file.
#[test]
fn a_signal_while_the_ring_is_recovered_is_heeded() {
    let folder = tempfile::tempdir().expect("a folder");
    let ring = folder.path().join("ring");
    std::fs::create_dir(&ring).expect("made");
    // A disk that does not answer, when the list is asked for.
    let fifo = ring.join("manifest.json");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--ring"]).arg(&ring).arg("--socket").arg(folder.path().join("agent.sock"));
    let child = command.stdin(Stdio::null()).spawn().expect("the agent starts");
    // The writing end opens once somebody wants to read; held, it leaves the reader waiting for bytes.
    let _held = eventually("its recovery", SOON, || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(&fifo)
    });
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(ended(child), Some(143));
}

#[test]
fn connections_beyond_its_descriptors_cost_nobody_the_agent() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = serve(folder.path(), "ulimit -n 40;");
    let mut first = connect(folder.path());
    let many: Vec<_> = (0..80).filter_map(|_| UnixStream::connect(folder.path().join("agent.sock")).ok()).collect();
    assert!(many.len() > 40, "{} connections", many.len());
    assert_eq!(first.ask(Request::Heartbeat), Response::Done);
    drop(many);
    assert_eq!(connect(folder.path()).ask(Request::Heartbeat), Response::Done);
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(ended(child), Some(143));
}

#[test]
fn a_second_agent_leaves_the_first_ones_socket_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = serve(folder.path(), "");
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--ring"]).arg(folder.path().join("another")).arg("--socket");
    let output = command.arg(folder.path().join("agent.sock")).stdin(Stdio::null()).output().expect("it ran");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("another agent is serving on the socket"), "{told}");
    assert_eq!(connect(folder.path()).ask(Request::Heartbeat), Response::Done);
    signal(&first, rustix::process::Signal::TERM);
    assert_eq!(ended(first), Some(143));
}

/// `follow` with nothing to write, as behind a quiet filter.
fn follow(folder: &Path) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["follow", "--ring"]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn what_reads_a_capture_ends_with_its_reader_or_its_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = r#"{"node":"n","captures":[{"since":7,"interfaces":[],"spec":{"snaplen":1,"rotate_bytes":65536,
        "rotate_seconds":1,"ring_bytes":65536},"ended":null}],"files":[],"delivered":{"files":0,"bytes":0,"packets":0},
        "discarded":{"files":0,"bytes":0,"packets":0}}"#;
    std::fs::write(folder.path().join("manifest.json"), list).expect("written");

    let mut deaf = follow(folder.path());
    let mut stream = deaf.stdout.take().expect("piped");
    stream.read_exact(&mut [0; 4]).expect("it has begun");
    drop(stream);
    let code = ended(deaf);
    assert_eq!(code, Some(1), "its reader has gone");

    let mut alone = follow(folder.path());
    let mut stream = alone.stdout.take().expect("piped");
    stream.read_exact(&mut [0; 4]).expect("it has begun");
    drop(alone.stdin.take());
    assert_eq!(ended(alone), Some(1), "its input has ended");
}
