//! Captures of a real cluster on their way to a real S3 server, whatever happens to either: `make test-cluster`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nodewatch_protocol::RingList;
use nodewatch_testing::{
    bucket::{Garage, SECRET, keys, object},
    eventually_async,
    here::skip,
    packets::{Traffic, numbers},
    program::{self, said},
    proxy::{Fault, Proxy},
    terminal::Tmux,
};

use crate::{
    kubernetes::{agent_processes, kubectl, leftovers, nodes},
    laptop::{self, command},
};

/// Where the nodes of the tests' own cluster reach this machine.
fn host() -> Option<String> {
    if std::env::var_os("NODEWATCH_TEST_CLUSTER").is_none() {
        skip("whether nodes of this cluster reach this machine is not known");
        return None;
    }
    Some("10.89.0.1".to_owned())
}

fn address(node: &str) -> String {
    let path = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
    kubectl(&["get", "node", node, "-o", path]).trim().to_owned()
}

/// Where the numbered packets go.
const PORT: u16 = 5999;

fn traffic(node: &str, every: Duration) -> Traffic {
    Traffic::to(&address(node), PORT, every)
}

/// Kills every agent, as when a node runs out of memory, and waits until the first node's captures again.
fn kill_agents(tmux: &mut Tmux) {
    let killed = Instant::now();
    for agent in agent_processes() {
        Command::new("kill").args(["-9", &agent.to_string()]).status().expect("kill");
    }
    tmux.until_gone("1/1 live");
    tmux.until("agents 1/1 live");
    // What the one before had captured began before it was killed.
    tmux.until_so("the capture of the next agent", |screen| {
        running_for(screen).is_some_and(|time| (Duration::from_secs(2)..=killed.elapsed()).contains(&time))
    });
}

/// For how long the first capture on the screen has been running, as in `● 1m07s`.
fn running_for(screen: &str) -> Option<Duration> {
    let time = screen.split("● ").skip(1).find_map(|rest| rest.split_whitespace().next());
    time.and_then(|time| nodewatch_tui::base::text::parse_duration(time).ok())
}

fn storage_arguments(endpoint: &str) -> String {
    format!("--s3 s3://captures/inc --s3-endpoint {endpoint} --s3-region garage")
}

/// A capture of the numbered packets with their payload, begun by keys on the first node.
fn begin(tmux: &mut Tmux) {
    tmux.until("Ready");
    tmux.keys(&["d"]);
    tmux.until("agents 1/1 live");
    tmux.keys(&["C"]);
    tmux.until("Capture filter");
    tmux.text(&format!("udp port {PORT} and not icmp"));
    // Content, then rotate after.
    tmux.keys(&["Tab"]);
    tmux.text("full");
    tmux.keys(&["Tab"; 8]);
    tmux.text("2s");
    tmux.keys(&["Enter"]);
    tmux.until("Capture payloads?");
    tmux.keys(&["Enter"]);
    tmux.until("● ");
}

/// S3 fails three requests in ten and is away for two minutes, the agent is killed twice, the laptop leaves for a while.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-cluster"]
async fn captures_arrive_whatever_happens_on_the_way() {
    let (Some(host), node) = (host(), nodes().remove(0)) else { return };
    let Some(garage) = Garage::on(&host) else { return };
    let proxy = Proxy::on(&host, garage.address);
    let faults = [Fault::Unavailable, Fault::CutRequest, Fault::HalfAnswer(20)];
    let flaky = move |number: usize| if number % 10 < 3 { faults[number % 3] } else { Fault::None };
    proxy.plan(flaky);
    let traffic = traffic(&node, Duration::from_millis(5));
    let environment = Garage::environment(&proxy.endpoint());
    let arguments = storage_arguments(&proxy.endpoint());
    let mut tmux = laptop::terminal_with(120, 36, &arguments, &environment);
    begin(&mut tmux);
    let enough = Duration::from_secs(8);
    tmux.until_so("eight seconds of a capture", |screen| running_for(screen).is_some_and(|time| time >= enough));

    proxy.plan(|_| Fault::Refused);
    let away = Instant::now();
    tmux.until("S3 FAILS");
    kill_agents(&mut tmux);

    // The laptop goes away, and comes back.
    tmux.keys(&["C-c", "C-c"]);
    let screen = tmux.until("EXIT ");
    // What the killed agent has missed is told.
    assert!(screen.contains("EXIT 3") && screen.contains("gap: nothing was captured"), "{screen}");
    assert!(screen.contains("come back: nodewatch-tui attach"), "{screen}");
    let id = screen.split("attach ").nth(1).expect("an id")[..8].to_owned();
    drop(tmux);
    // For as long as nobody is there.
    std::thread::sleep(Duration::from_secs(10));
    // Where its captures go is known from its journal.
    let mut tmux = laptop::terminal_with(120, 36, &format!("attach {id}"), &environment);
    tmux.until("agents 1/1 live");
    kill_agents(&mut tmux);
    // For as long as S3 is away.
    std::thread::sleep(Duration::from_secs(120).saturating_sub(away.elapsed()));
    proxy.plan(flaky);

    tmux.until_gone("S3 FAILS");
    tmux.keys(&["f"]);
    tmux.until("in S3, checked");
    tmux.keys(&["Escape", "q"]);
    tmux.until("captures in S3");
    tmux.keys(&["Enter"]);
    let screen = tmux.until("EXIT ");
    let sent = traffic.stop();
    assert!(screen.contains("EXIT 3") && screen.contains("gap: nothing was captured"), "{screen}");
    assert!(!screen.contains("LOST"), "{screen}");
    assert_eq!(tmux.files(), Vec::<PathBuf>::new(), "nothing came over the tunnel");

    let folder = tempfile::tempdir().expect("a folder");
    let mut found: Vec<u32> = Vec::new();
    for file in garage.fetched(folder.path()).await {
        found.extend(numbers(&file));
    }
    let all = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), all, "no packet twice");
    let holes: Vec<(u32, u32)> =
        found.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| (pair[0], pair[1])).collect();
    assert!(holes.len() <= 2, "only where the agent was killed: {holes:?} of {sent}");
    // What was counted as captured is what is there.
    let mut manifests: Vec<RingList> = Vec::new();
    for key in keys(&garage.client(), &format!("inc/{id}/{node}/manifest-")).await {
        manifests.push(serde_json::from_slice(&object(&garage.client(), &key).await).expect("a manifest"));
    }
    assert!(manifests.windows(2).all(|pair| pair[0].ring == pair[1].ring), "the agent has found its ring again");
    // After a try that may still arrive the next has another name; the last one knows most.
    let manifest = manifests.into_iter().max_by_key(|manifest| manifest.delivered.files).expect("a manifest");
    let counted: u64 = manifest.files.iter().map(|record| record.file.packets).sum();
    assert_eq!((counted, manifest.discarded.files), (all as u64, 0));
    assert!(manifest.captures.len() == 3, "taken up after each kill: {:?}", manifest.captures.len());
    assert_eq!(leftovers(), "");

    // What was kept is found again by its session, and removed when asked. A removal that fails is told and tried again by
    // the user: that is not what is looked at here.
    proxy.plan(|_| Fault::None);
    let cleanup = |more: &[&str]| {
        let output =
            command(&[&["cleanup", &id], more].concat()).envs(environment.clone()).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        (output.status.code(), said(&output))
    };
    let (_, said) = cleanup(&["--yes"]);
    assert!(said.contains(&format!("captures of session {id} are kept in s3://captures/inc/{id}/")), "{said}");
    assert!(!keys(&garage.client(), "").await.is_empty());
    let (code, said) = cleanup(&["--captures", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(keys(&garage.client(), "").await, Vec::<String>::new());
}

/// The last packets of a pod that is deleted are in S3 before its grace period is over; and nothing secret is anywhere.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-cluster"]
async fn a_deleted_pods_last_packets_arrive_and_no_secret_is_left_anywhere() {
    let (Some(host), node) = (host(), nodes().remove(0)) else { return };
    let Some(garage) = Garage::on(&host) else { return };
    let traffic = traffic(&node, Duration::from_millis(5));
    let arguments = storage_arguments(&garage.endpoint());
    let mut tmux = laptop::terminal_with(120, 36, &arguments, &Garage::environment(&garage.endpoint()));
    begin(&mut tmux);
    eventually_async("a capture in the bucket", Duration::from_secs(60), async || {
        keys(&garage.client(), "").await.iter().any(|key| key.ends_with(".pcapng"))
    })
    .await;

    let ours = ["-A", "-l", "app.kubernetes.io/managed-by=nodewatch-tui"];
    let objects = kubectl(&[&["get", "namespaces,jobs,pods,serviceaccounts,events", "-o", "yaml"], &ours[..]].concat());
    let pods = kubectl(&[&["get", "pods", "-o", "name", "--no-headers"], &ours[..]].concat());
    let namespace = kubectl(&[&["get", "pods", "-o", "jsonpath={.items[0].metadata.namespace}"], &ours[..]].concat());
    let pod = pods.lines().next().expect("a pod").to_owned();
    let logs = kubectl(&["-n", &namespace, "logs", &pod]);
    let processes =
        Command::new("sh").args(["-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).output().expect("ps").stdout;
    let folder = std::env::var("CLUSTER_DIR").expect("the cluster's folder");
    let on_nodes =
        ["-rlE", &format!("{SECRET}|[xX]-[aA]mz-[sS]ignature"), &folder, "--include=*.json", "--include=*.pcapng"];
    let on_nodes = Command::new("grep").args(on_nodes).output().expect("grep").stdout;
    for (place, text) in
        [("objects", objects), ("logs", logs), ("arguments", String::from_utf8_lossy(&processes).into())]
    {
        assert!(!text.contains(SECRET) && !text.to_lowercase().contains("x-amz-signature"), "a secret in the {place}");
    }
    assert_eq!(String::from_utf8_lossy(&on_nodes), "", "a secret on a node");

    kubectl(&["-n", &namespace, "delete", &pod, "--grace-period=30", "--wait=false"]);
    let deleted = Instant::now();
    let last = traffic.stop();
    let left = Duration::from_secs(25).saturating_sub(deleted.elapsed());
    eventually_async("the last packets", left, async || {
        let folder = tempfile::tempdir().expect("a folder");
        let files = garage.fetched(folder.path()).await;
        let newest = files.iter().flat_map(|file| numbers(file)).max().unwrap_or(0);
        // The signal comes to the agent a moment after the command; traffic ended with the command.
        if newest + 40 >= last { Ok(()) } else { Err(format!("{newest} of {last}")) }
    })
    .await;
    tmux.keys(&["q", "Enter"]);
    tmux.until("EXIT ");
    assert_eq!(leftovers(), "");
}

/// A fault that is over before anybody can press a key: the recorder of a session that runs elsewhere is frozen.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn an_armed_session_is_frozen_from_another_program() {
    let Some(_) = host() else { return };
    let node = nodes().remove(0);
    let traffic = traffic(&node, Duration::from_millis(20));
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let filter = format!("udp port {PORT} and not icmp");
    let mut armed = laptop::start(&[
        "capture",
        "--nodes",
        &node,
        "--recorder",
        "60s",
        "--filter",
        &filter,
        "--content",
        "full",
        "--out",
        folder,
    ]);
    let mut lines = program::errors(&mut armed);
    let line = program::line_with(&mut lines, "is armed");
    let id = line.split_whitespace().nth(1).expect("an id").to_owned();
    std::thread::spawn(move || lines.map_while(Result::ok).count());
    // The recorder has to have a past that is longer than what is asked of it.
    std::thread::sleep(Duration::from_secs(8));

    let frozen = tempfile::tempdir().expect("a folder");
    let place = frozen.path().to_str().expect("a path");
    let output =
        laptop::run(&["freeze", &id, "--freeze-before", "4s", "--freeze-after", "2s", "--out", place, "-o", "json"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let [file] = &program::json_lines(&output)[..] else { panic!("one file: {said}") };
    let found = numbers(Path::new(file["place"].as_str().expect("a path")));
    assert_eq!(Some(found.len() as u64), file["packets"].as_u64());
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "{found:?}");
    // Six seconds of at most fifty packets each.
    assert!((100..=330).contains(&found.len()), "{}", found.len());

    laptop::run_to(2, &["freeze", "00000000"]);
    program::kill(&armed, "INT");
    assert!(armed.wait().expect("it ends").success());
    traffic.stop();
    assert_eq!(leftovers(), "");
}

/// A drain gives an agent half a minute: what its recorder holds is saved, and is here.
#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn a_recorder_whose_node_is_drained_brings_home_what_it_holds() {
    let Some(_) = host() else { return };
    let node = nodes().remove(0);
    let traffic = traffic(&node, Duration::from_millis(20));
    let out = tempfile::tempdir().expect("a folder");
    let folder = out.path().to_str().expect("a path");
    let filter = format!("udp port {PORT} and not icmp");
    let recorder = ["--recorder", "60s", "--filter", &filter, "--content", "full", "--out", folder];
    let mut armed = laptop::start(&[&["capture", "--nodes", &node], &recorder[..]].concat());
    let mut lines = program::errors(&mut armed);
    program::line_with(&mut lines, "is armed");
    // The recorder has to have a past.
    std::thread::sleep(Duration::from_secs(5));
    let label = "app.kubernetes.io/managed-by=nodewatch-tui";
    let options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--pod-selector", label];
    kubectl(&[&["drain", &node], &options[..]].concat());
    kubectl(&["uncordon", &node]);
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    armed.wait().expect("it ends");
    traffic.stop();
    let said = said.join("\n");
    assert!(said.contains("its node is cordoned, as by kubectl drain"), "{said}");
    assert!(said.contains("saves all that it holds"), "{said}");
    assert!(!said.contains("LOST"), "{said}");
    let files: Vec<_> = std::fs::read_dir(out.path().join(&node)).expect("a folder").map_while(Result::ok).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}\n{said}") };
    let found = numbers(&file.path());
    assert!(found.len() > 100 && found.windows(2).all(|pair| pair[1] == pair[0] + 1), "{found:?}");
    assert_eq!(leftovers(), "");
}
