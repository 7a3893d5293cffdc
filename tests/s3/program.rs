//! The program itself, on this machine as the only node, with captures that go to S3.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nodewatch_testing::{
    bucket::{Garage, keys},
    eventually_async, here,
    packets::{Traffic, numbers},
    program::{printed, said},
    proxy::{Fault, Proxy},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

/// Whether packets can be captured and read here; says why not.
fn possible() -> bool {
    here::possible(&["tshark"])
}

/// The program in a folder of its own.
fn program(folder: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder.join("state")).env("HOME", folder);
    command.envs(Garage::environment(endpoint));
    command
}

fn capture(folder: &Path, endpoint: &str, port: u16, more: &[&str]) -> Child {
    let filter = format!("udp port {port}");
    let arguments = [&["--local", "capture", "-i", "lo", "--filter", &filter], more].concat();
    program(folder, endpoint, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

fn agents_of(program: u32) -> Vec<u32> {
    let listed = Command::new("pgrep").args(["-P", &program.to_string(), "nodewatch-agent"]).output().expect("pgrep");
    String::from_utf8(listed.stdout).expect("text").lines().map(|line| line.parse().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_requests_in_ten_fail_the_agent_dies_twice_and_nothing_that_was_counted_is_missing() {
    let Some(garage) = Garage::start() else { return };
    if !possible() {
        return;
    }
    let proxy = Proxy::start(garage.address);
    let faults = [Fault::Unavailable, Fault::CutRequest, Fault::HalfAnswer(20)];
    proxy.plan(move |number| if number % 10 < 3 { faults[number % 3] } else { Fault::None });
    let folder = tempfile::tempdir().expect("a folder");
    let sender = Traffic::here(Duration::from_millis(2));
    let more = ["--s3", "s3://captures/inc", "--rotate-time", "1s", "--content", "full", "--duration", "14s"];
    let child = capture(folder.path(), &proxy.endpoint(), sender.port, &more);
    let began = Instant::now();
    for at in [4, 8] {
        std::thread::sleep(Duration::from_secs(at).saturating_sub(began.elapsed()));
        for agent in agents_of(child.id()) {
            Command::new("kill").args(["-9", &agent.to_string()]).status().expect("kill");
        }
    }
    let output = ended(child);
    sender.stop();
    let said = said(&output);
    // Each death is a hole, which is told; nothing else is missing.
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert_eq!(said.matches("INCOMPLETE").count(), 2, "{said}");
    assert!(proxy.faults() >= 3, "the faults were there");

    let files = garage.fetched(folder.path()).await;
    let mut found: Vec<u32> = Vec::new();
    for file in &files {
        found.extend(numbers(file));
    }
    let all = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), all, "no packet twice");
    // What the program says was captured is what the files hold.
    let rows = printed(&output);
    let counted: usize = rows
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().nth(1).expect("a count").parse::<usize>().expect("one"))
        .sum();
    assert_eq!(all, counted, "{rows}\n{said}");
    // Two gaps of a restart at most; everything else is there without a hole.
    let holes = found.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(holes <= 2 && all > 2000, "{holes} holes in {all} packets");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_leaves_the_files_to_the_tunnel() {
    let Some(garage) = Garage::start() else { return };
    if !possible() {
        return;
    }
    let proxy = Proxy::start(garage.address);
    let folder = tempfile::tempdir().expect("a folder");
    let sender = Traffic::here(Duration::from_millis(5));
    let more = ["--s3", "s3://captures/inc", "--rotate-time", "1s", "--content", "full", "--duration", "5s"];
    let child = capture(folder.path(), &proxy.endpoint(), sender.port, &more);
    eventually_async("the first file in S3", Duration::from_secs(30), async || {
        keys(&garage.client(), "").await.iter().any(|key| key.ends_with(".pcapng"))
    })
    .await;
    proxy.plan(|_| Fault::Refused);
    let output = ended(child);
    sender.stop();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "not all of it is where it should be: {said}");
    assert!(said.contains("fetched  ") && said.contains("in S3    "), "some here, some there: {said}");
    assert!(said.contains("NOT IN S3 "), "each with the reason: {said}");
    let mut found: Vec<u32> = Vec::new();
    let here = Command::new("find").arg(folder.path()).args(["-name", "*.pcapng"]).output().expect("find").stdout;
    let here: Vec<PathBuf> = String::from_utf8(here).expect("text").lines().map(PathBuf::from).collect();
    for file in garage.fetched(folder.path()).await.iter().chain(&here) {
        found.extend(numbers(file));
    }
    found.sort_unstable();
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "one capture without a hole, in two places");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_uploads_are_left_out_and_come_back_when_asked_for() {
    let Some(garage) = Garage::start() else { return };
    if !possible() {
        return;
    }
    let run = |more: &'static [&'static str], others: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let filter = format!("tcp port {}", garage.address.port());
        let arguments =
            ["--local", "capture", "-i", "lo", "--filter", &filter, "--duration", "6s", "--rotate-time", "1s"];
        let arguments = [&arguments[..], &["--s3", "s3://captures/own"], more].concat();
        let mut command = program(folder.path(), &garage.endpoint(), &arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let address = garage.address;
        let others = std::thread::spawn(move || {
            for _ in 0..others {
                drop(std::net::TcpStream::connect(address).expect("Garage listens"));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let output = ended(child);
        others.join().expect("no panic");
        assert!(output.status.success(), "{}", said(&output));
        let rows = printed(&output);
        let count = |row: &str| row.split_whitespace().nth(1).expect("a count").parse::<u32>().expect("a number");
        rows.lines().skip(1).map(count).sum::<u32>()
    };
    assert_eq!(run(&[], 0), 0, "its own uploads are the only traffic on that port");
    // Without a packet there is no file and nothing to upload: somebody else's connections begin it.
    assert!(run(&["--include-own"], 20) > 10);
}

#[test]
fn one_stream_on_standard_output_is_read_by_tshark_while_it_runs() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sender = Traffic::here(Duration::from_millis(5));
    let more = ["--out", "-", "--content", "full", "--rotate-time", "1s"];
    let mut child = capture(folder.path(), "http://127.0.0.1:1", sender.port, &more);
    let stdout = child.stdout.take().expect("piped");
    // tshark ends after so many packets: the pipe breaks, and the program cleans up.
    let mut tshark = Command::new("tshark")
        .args(["-n", "-c", "400", "-T", "fields", "-e", "udp.payload", "-r", "-"])
        .stdin(stdout)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tshark");
    let mut rows = String::new();
    tshark.stdout.take().expect("piped").read_to_string(&mut rows).expect("rows");
    tshark.wait().expect("it ends");
    let output = ended(child);
    sender.stop();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let found: Vec<u32> = rows.lines().map(|row| u32::from_str_radix(row, 16).expect("a number")).collect();
    assert_eq!(found.len(), 400);
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "over several files without a hole");
    assert!(!folder.path().join("nodewatch-captures").exists(), "no file was made");
}

#[test]
fn a_bucket_that_is_not_there_is_refused_before_anything_runs() {
    let Some(garage) = Garage::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--local", "capture", "--duration", "1s", "--s3", "s3://no-such-bucket/x"];
    let output = program(folder.path(), &garage.endpoint(), &arguments).output().expect("it runs");
    let said = said(&output);
    assert!(matches!(output.status.code(), Some(2 | 5)) && said.contains("no-such-bucket"), "{said}");
    assert!(!said.contains("deploying"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_of_a_session_without_a_journal_are_removed_by_name() {
    let Some(garage) = Garage::start() else { return };
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sender = Traffic::here(Duration::from_millis(5));
    let child =
        capture(folder.path(), &garage.endpoint(), sender.port, &["--s3", "s3://captures/x", "--duration", "2s"]);
    let told = said(&ended(child));
    sender.stop();
    let again =
        told.split("remove: nodewatch-tui ").nth(1).expect("the way to remove them").lines().next().expect("a line");
    assert!(!keys(&garage.client(), "").await.is_empty());
    let arguments: Vec<&str> = again.split(' ').chain(["--yes"]).collect();
    let output = program(folder.path(), &garage.endpoint(), &arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(keys(&garage.client(), "").await, Vec::<String>::new());
}

/// With `--local` no journal is asked, and the bucket that is named is cleaned.
#[tokio::test(flavor = "multi_thread")]
async fn captures_of_a_session_on_this_machine_are_removed_with_it() {
    let Some(garage) = Garage::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let client = garage.client();
    for key in ["x/0000000b/a/1.pcapng", "x/0000000b/manifest.json", "x/0000000c/a/1.pcapng"] {
        client.put_object().bucket("captures").key(key).send().await.expect("put");
    }
    let arguments = ["cleanup", "0000000b", "--local", "--captures", "--s3", "s3://captures/x"];
    let run = |more: &[&str]| {
        program(folder.path(), &garage.endpoint(), &[&arguments, more].concat()).output().expect("it runs")
    };
    let planned = run(&["--dry-run"]);
    assert!(planned.status.success() && said(&planned).contains("would remove 2 objects"), "{}", said(&planned));
    assert_eq!(keys(&client, "").await.len(), 3, "nothing was removed");
    let removed = run(&["--yes"]);
    assert!(removed.status.success() && said(&removed).contains("removed 2 objects"), "{}", said(&removed));
    assert_eq!(keys(&client, "").await, ["x/0000000c/a/1.pcapng"], "another session's stay");
}

#[test]
fn merging_writes_where_it_is_told_and_overwrites_nothing() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sender = Traffic::here(Duration::from_millis(5));
    let child =
        capture(folder.path(), "", sender.port, &["--content", "full", "--rotate-time", "1s", "--duration", "3s"]);
    assert!(ended(child).status.success());
    sender.stop();
    let merge = |arguments: &[&str]| {
        let all = [&["merge", "nodewatch-captures"], arguments].concat();
        program(folder.path(), "", &all).output().expect("it runs")
    };
    std::fs::create_dir(folder.path().join("into")).expect("a folder");
    for (arguments, place) in [
        (&["--out", "a.pcapng"][..], "a.pcapng"),
        (&["-w", "b.pcapng"], "b.pcapng"),
        (&["--out", "into"], "into/merged.pcapng"),
    ] {
        let output = merge(arguments);
        assert!(output.status.success(), "{}", said(&output));
        let found = numbers(&folder.path().join(place));
        assert!(found.len() > 100 && found.windows(2).all(|pair| pair[1] == pair[0] + 1), "{found:?}");
    }
    let again = merge(&["--out", "a.pcapng"]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    let none = merge(&["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z", "--out", "none.pcapng"]);
    let said = said(&none);
    assert!(none.status.code() == Some(1) && said.contains("nothing: the files hold"), "{said}");
    assert!(!folder.path().join("none.pcapng").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, word) in [
        (&["--s3", "bucket/x", "--local", "capture"][..], "bucket/x"),
        (&["--local", "capture", "--content", "payload"], "payload"),
        (&["--local", "capture", "--recorder", "0s"], "0s"),
        (&["--local", "capture", "--recorder", "1m,1"], "1 bytes"),
        (&["--local", "capture", "--zstd"], "--s3"),
        (&["--local", "--pod-identity", "--s3", "s3://bucket", "capture"], "--service-account"),
        (&["merge", "no-such-folder"], "no-such-folder"),
        (&["merge", "--from", "noon", "."], "noon"),
        (&["merge", "."], "no capture file"),
    ] {
        let output = program(folder.path(), "http://127.0.0.1:1", arguments).output().expect("it runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
