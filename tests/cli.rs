//! The program from outside: what it refuses, with which words and which exit code, before anything is created.

#[path = "cli/results.rs"]
mod results;
#[path = "cli/silent.rs"]
mod silent;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

fn run(arguments: &[&str]) -> Output {
    run_in(Path::new("."), arguments)
}

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .env_remove("KUBECONFIG")
        .env_remove("NODEWATCH_IMAGE")
        .env("HOME", "/nonexistent")
        // A folder of nobody else's: what others have left on this machine is not this test's.
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("XDG_STATE_HOME")
        .output()
        .expect("the program starts")
}

/// Runs it, holds the exit code, and returns what it says. Whatever is refused leaves nothing where it ran.
fn refused(arguments: &[&str], code: i32) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run_in(folder.path(), arguments);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?} wrote a result");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{arguments:?} left {left:?}");
    said
}

fn kubeconfig(server: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: here, context: {{cluster: c, user: u}}}}, {{name: there, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn an_invalid_value_is_named() {
    for (arguments, token) in [
        (["capture", "--local", "--duration", "soon"], "\"soon\""),
        (["capture", "--local", "--max-bytes", "12XB"], "\"12XB\""),
        (["capture", "--local", "--snaplen", "0"], "snaplen 0 is not between 1 and 262144"),
        (["capture", "--local", "--filter", "tcp prt 80"], "\"tcp prt 80\" does not compile"),
        (["watch", "--local", "--filter", "tcp prt 80"], "\"tcp prt 80\" does not compile"),
        (["watch", "--local", "--duration", "soon"], "\"soon\""),
        (["ports", "--local", "--exclude", "22,,80"], "an empty item"),
        (["ports", "--local", "--nodes", "elsewhere"], "node \"elsewhere\" not found"),
        (["ports", "--local", "-l", "zone=1a"], "no nodes match the selector \"zone=1a\""),
        (["ports", "--local", "--exclude", "65536"], "\"65536\" in \"65536\": not a port"),
        (["ports", "--local", "--exclude", "9-8"], "a range that runs backwards"),
        (["ports", "--local", "--expect", "53/icmp"], "a protocol other than tcp, udp,"),
        (["ports", "--local", "--cloudwatch", "a b"], "\"a b\""),
        (["ports", "--local", "--log-retention", "15"], "\"15\""),
        (["ports", "--local", "--sns-topic", "pager"], "'pager'"),
        (["ports", "--local", "--cluster-name", "a/b"], "'a/b'"),
        (["ports", "--local", "--baseline", "/nonexistent/b"], "cannot read the baseline \"/nonexistent/b\""),
        (["ports", "--local", "--save-baseline", "/nonexistent/b"], "no such folder"),
        (["ports", "--local", "--since", "1h"], "--cloudwatch"),
        (["ports", "--local", "--duration", "1s"], "--watch"),
        (["ports", "--local", "--irsa", "arn:aws:iam::1:role/r"], "--irsa needs a bucket or a log group"),
        (["nodes", "--local", "-o", "xml"], "xml"),
        (["ports", "--local", "--session-budget", "0"], "\"0\""),
        (["nodes", "--local", "--context", "x"], "--context"),
        (["ports", "--local", "--lease", "never"], "\"never\""),
        (["ports", "--reaper", "--namespace", "x"], "--namespace"),
        (["cleanup", "--all", "--timeout", "x"], "\"x\""),
        (["cleanup", "--all", "--timeout", "31d"], "\"31d\" is too long"),
        (["ports", "--local", "--interval", "18446744073709551615"], "\"18446744073709551615\" is too long"),
        (["ports", "--local", "--interval", "2d"], "\"2d\" is too long"),
        (["ports", "--local", "--session-budget", "106751991167301d"], "\"106751991167301d\" is too long"),
        (["ports", "--local", "--lease", "9223372036854775807"], "\"9223372036854775807\" is too long"),
        (["freeze", "7f3a91c2", "--freeze-before", "18446744073709551615"], "is too long"),
        (["freeze", "7f3a91c2", "--freeze-after", "18446744073709551616"], "is too long"),
        (["ports", "--local", "--ring-size", "18446744073709551615"], "is too large"),
        (["capture", "--local", "--duration", "106751991167301d"], "\"106751991167301d\" is too long"),
        (["capture", "--local", "--rotate-time", "9223372036854775807s"], "is too long"),
        (["capture", "--local", "--rotate-size", "99999999999GiB"], "is too large"),
        (["capture", "--local", "--max-bytes", "18446744073709551615"], "is too large"),
        (["capture", "--local", "--max-packets", "18446744073709551615"], "is too many packets"),
        (["capture", "--local", "--recorder", "106751991167301d"], "is too long"),
        (["capture", "--local", "--recorder", "2m,99999999999GiB"], "is too large"),
        (["ports", "--local", "--sns-topic", "arn:aws:sns:eu-west-1:123456789012:t"], "--sns-topic needs alarms"),
        (["ports", "--local", "--sns-topic", "arn:aws:sns:eu-west-1:12345678901x:t"], "expected an SNS topic"),
        (["ports", "--local", "--sns-topic", "arn:aws:sns:eu-west-1:123456789012:a b"], "expected an SNS topic"),
        (["ports", "--local", "--irsa", "role"], "expected an IAM role"),
    ] {
        let said = refused(&arguments, 2);
        assert!(said.contains(token), "{arguments:?}: {said}");
    }
    for (arguments, token) in [
        (&["ports", "--local", "--alarms"][..], "--cloudwatch"),
        (&["alarms", "create", "--alarm-on", "N-05,N-17"], "\"N-17\""),
        (&["--local", "--cloudwatch", "g", "--alarm-on", "all"], "--alarm-on needs alarms"),
        (&["ports", "--local", "--watch", "--duration", "106751991167301d"], "\"106751991167301d\" is too long"),
        (&["ports", "--since", "4000d", "--cloudwatch", "g"], "\"4000d\" is too long: write at most 3653d"),
        (&["cleanup", "7f3a91c"], "\"7f3a91c\""),
        (&["capture", "--local", "--recorder", "2m", "--freeze-on", "N-05,N-17"], "\"N-17\""),
        (&["capture", "--local", "--recorder", "2m", "--freeze-on", "failures>200%"], "\"failures>200%\""),
        (&["capture", "--local", "--recorder", "2m", "--freeze-on", "failures>1"], "failures>1%"),
        (&["capture", "--local", "--freeze-on", "verdict"], "--recorder"),
        (&["diagnose", "x.pcap", "--all"], "'--all'"),
        (&["diagnose", "--nodes", "node-1", "x.pcap"], "'--nodes"),
        (&["diagnose", "x.pcap", "--filter", "tcp"], "'--filter"),
        (&["diagnose", "x.pcap", "--duration", "5m"], "'--duration"),
        (&["diagnose"], "name captures (diagnose FILE...) or nodes (--all"),
        (&["diagnose", "--local", "--filter", "tcp prt 80"], "\"tcp prt 80\" does not compile"),
        (&["attach", "../../etc"], "\"../../etc\""),
        (&["cleanup", "7f3a91c2", "--all"], "cannot be used with"),
        (&["cleanup", "7f3a91c2", "--local", "--reports"], "cannot be used with '--reports'"),
        (&["cleanup", "7f3a91c2", "--local", "--forget"], "cannot be used with '--forget'"),
        (&["cleanup", "--forget"], "SESSIONS"),
        (&["manifests", "--nodes", "a b"], "\"a b\""),
        (&["probe", "node-1", "--from", "node-2"], "\"node-1\" has no port"),
        (&["probe", "fd00::1:53", "--from", "node-2"], "\"fd00::1:53\" is ambiguous"),
        (&["probe", "node-1:8090"], "--from"),
        (&["probe", "--from", "node-2"], "<TARGET>"),
        (&["probe", "node-1:8090", "--from", "node-2", "--count", "0"], "0 is not in 1..=1000"),
        (&["probe", "--local", "elsewhere:8090"], "node \"elsewhere\" of \"elsewhere:8090\" not found"),
        (&["explain", "N-11", "N-17"], "no cause has the code \"N-17\": there are N-01 to N-16; nodewatch-tui explain"),
        (&["watch", "--local", "--metrics", "otlp=localhost:4318"], "--metrics: expected a URL"),
        (&["watch", "--local", "--metrics", "otlp=http://c:99999"], "--metrics: the URL's port is no number"),
        (&["watch", "--local", "--metrics", "statsd"], "expected otlp or otlp=URL"),
        (&["preflight", "--local", "--reaper"], "'--local' cannot be used with '--reaper'"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(token), "{arguments:?}: {said}");
    }
    let said = refused(&["watch", "--local", "--metrics", "otlp=http://user:secret@c"], 2);
    assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS") && !said.contains("secret"), "{said}");
}

#[test]
fn an_output_folder_that_cannot_be_written_is_found_first() {
    let said = refused(&["capture", "--local", "--out", "/proc/nowhere"], 2);
    assert!(said.contains("cannot write to /proc/nowhere") && said.contains("--out"), "{said}");
}

#[test]
fn an_unknown_context_is_named_with_those_there_are() {
    let file = kubeconfig("https://127.0.0.1:1");
    let path = file.path().to_str().expect("a path");
    let said = refused(&["nodes", "--kubeconfig", path, "--context", "prod"], 2);
    assert!(said.contains("no context \"prod\"") && said.contains("here, there"), "{said}");
}

#[test]
fn a_default_image_is_warned_of_before_a_command_deploys_and_one_that_was_named_is_not() {
    let file = kubeconfig("https://127.0.0.1:1");
    let path = file.path().to_str().expect("text");
    let warnings = |more: &[&str]| {
        let said = refused(&[more, &["--kubeconfig", path]].concat(), 1);
        said.lines().filter(|line| line.starts_with("warning: no agent image is published yet")).count()
    };
    assert_eq!(warnings(&["ports", "--all"]), 1);
    assert_eq!(warnings(&["ports", "--all", "--image", "registry.example/agent:1"]), 0);
    assert_eq!(warnings(&["nodes"]), 0, "nothing is deployed");
}

#[test]
fn a_missing_kubeconfig_says_how_to_name_one() {
    let said = refused(&["nodes", "--kubeconfig", "/nonexistent/config"], 2);
    assert!(said.contains("/nonexistent/config") && said.contains("--local"), "{said}");
}

#[test]
fn an_unreachable_server_is_reported_at_once() {
    // Port 1 on loopback refuses.
    let file = kubeconfig("https://127.0.0.1:1");
    let path = file.path().to_str().expect("a path");
    let said = refused(&["ports", "--all", "--kubeconfig", path], 1);
    assert!(said.contains("cannot list the nodes") && said.contains("cannot be reached"), "{said}");
    assert!(said.contains("kubectl cluster-info"), "{said}");
}

#[test]
fn without_a_terminal_the_commands_are_named() {
    let said = refused(&["--local"], 2);
    assert!(said.contains("no terminal to draw on") && said.contains("capture"), "{said}");
}

#[test]
fn this_machine_as_a_table_and_as_json() {
    let output = run(&["nodes", "--local"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with("NAME") && text.lines().count() == 2, "{text}");

    let output = run(&["nodes", "--local", "-o", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!((line["status"].as_str(), line["type"].as_str()), (Some("Ready"), Some("local")));
}

#[test]
fn ports_of_this_machine_with_exclusions_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let report = |exclude: &str| -> serde_json::Value {
        let output = run(&["ports", "--local", "-o", "json", "--exclude", exclude]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON value")
    };
    let has = |report: &serde_json::Value| {
        report["ports"].as_array().expect("ports").iter().any(|one| one["port"] == port && one["protocol"] == "tcp")
    };
    let all = report("");
    assert!(has(&all) && all["excluded"] == 0, "{all}");
    let some = report(&port.to_string());
    assert!(!has(&some) && some["excluded"].as_u64() >= Some(1), "{some}");
}

#[test]
fn manifests_need_no_cluster() {
    let output = run(&["manifests", "--nodes", "a,b", "--session", "7f3a91c2", "--image", "registry.example/agent:1"]);
    let yaml = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(yaml.matches("\nkind: ").count(), 4, "{yaml}");
    assert!(yaml.contains("name: nodewatch-7f3a91c2") && yaml.contains("image: registry.example/agent:1"), "{yaml}");
}

#[test]
fn a_config_that_cannot_be_understood_stops_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("nodewatch-tui")).expect("a folder");
    let path = folder.path().join("nodewatch-tui/config.toml");
    std::fs::write(&path, "readonly = true\n").expect("written");
    for arguments in [&["nodes", "--local"][..], &["sessions"], &[]] {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("XDG_CONFIG_HOME", folder.path())
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("line 1: unknown key \"readonly\": did you mean \"read_only\"?")
                && said.contains("config.toml"),
            "{said}"
        );
    }
}

/// A session of a cluster that no longer answers is reported and kept, and forgotten only on purpose.
/// A journal of a session that was left on the cluster of that kubeconfig's only context; the folder that it is in.
fn leave_session(state: &Path, kubeconfig: &Path, server: &str) -> PathBuf {
    let identity = serde_json::json!({"kubeconfig": [kubeconfig], "context": "here", "server": server,
        "ca_sha256": null, "kube_system_uid": "u"});
    let began = serde_json::json!({"at": 1, "began": {"session": "7f3a91c2", "owner": "me@here", "began": 1, "ends": 2,
        "cluster": identity, "namespace": "nodewatch-7f3a91c2", "own_namespace": true}});
    let made = serde_json::json!({"at": 1, "made": {"kind": "Namespace", "namespace": null,
        "name": "nodewatch-7f3a91c2", "uid": "x", "purpose": "the session"}});
    let folder = state.join("nodewatch-tui/sessions");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("7f3a91c2.json"), format!("{began}\n{made}\n")).expect("written");
    folder
}

#[test]
fn a_session_whose_cluster_is_gone_is_kept_until_it_is_forgotten() {
    let state = tempfile::tempdir().expect("a folder");
    let file = kubeconfig("https://127.0.0.1:1");
    let folder = leave_session(state.path(), file.path(), "https://127.0.0.1:1");
    let run = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("XDG_STATE_HOME", state.path())
            .env("HOME", "/nonexistent")
            .env_remove("KUBECONFIG")
            .output()
            .expect("the program starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (_, listed, _) = run(&["sessions", "-o", "json"]);
    let session: serde_json::Value = serde_json::from_str(listed.trim()).expect("one session");
    assert!(session["trouble"].as_str().is_some_and(|trouble| trouble.contains("cannot be reached")), "{session}");
    let (code, _, said) = run(&["cleanup", "--all", "--yes"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("session 7f3a91c2 was not removed") && said.contains("cannot be reached"), "{said}");
    let (code, _, said) = run(&["cleanup", "7f3a91c2", "--forget"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(folder.read_dir().expect("the folder").next().is_none());
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = run(&["--help"]);
    let text = String::from_utf8(output.stdout).expect("text");
    for word in [
        "nodes",
        "ports",
        "capture",
        "watch",
        "sessions",
        "cleanup",
        "attach",
        "explain",
        "preflight",
        "manifests",
        "--reaper",
        "--local",
        "--image",
        "--session-budget",
        "4 something was left behind",
    ] {
        assert!(text.contains(word), "{word} is missing");
    }
}

/// Flag, environment, file, default: each setting says where it came from.
#[test]
fn the_nearest_layer_wins_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("nodewatch-tui")).expect("a folder");
    let file = folder.path().join("nodewatch-tui/config.toml");
    std::fs::write(&file, "lease = '5m'\ninterval = '30s'\ntheme = 'light'\n[keys]\ndeploy = 'F5'\n").expect("written");
    let output = Command::new(PROGRAM)
        .args(["config", "-o", "json", "--theme", "dark"])
        .env("XDG_CONFIG_HOME", folder.path())
        .env("NODEWATCH_INTERVAL", "10s")
        .env("NODEWATCH_READ_ONLY", "yes")
        .env_remove("NODEWATCH_IMAGE")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let setting = |key: &str| {
        let found = lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key}"));
        (found["value"].clone(), found["source"].as_str().unwrap_or_default().to_owned())
    };
    for (key, value, source) in [
        ("theme", "dark".into(), "flag"),
        ("interval", "10s".into(), "environment"),
        ("lease", "5m".into(), "file, line 1"),
        ("session_budget", "4h".into(), "default"),
        ("keys.deploy", serde_json::json!(["F5"]), "file, line 5"),
        ("keys.quit", serde_json::json!(["q", "F10"]), "default"),
    ] {
        assert_eq!(setting(key), (value, source.to_owned()), "{key}");
    }
    let output =
        Command::new(PROGRAM).arg("config").env("NODEWATCH_LEASE", "soon").env("HOME", "/nonexistent").output();
    let said = String::from_utf8_lossy(&output.expect("it starts").stderr).into_owned();
    assert!(said.contains("NODEWATCH_LEASE") && said.contains("\"soon\""), "{said}");
}

#[test]
fn what_cannot_be_reported_replayed_or_pushed_is_named() {
    for (arguments, token) in [
        (&["report", "7f3a91c2"][..], "no report for session 7f3a91c2: this laptop has no journal of session"),
        (&["report"], "<SESSION>"),
        (&["report", "--from", "/nonexistent/r"], "cannot read the recording \"/nonexistent/r\""),
        (&["replay", "/nonexistent/r"], "cannot read the recording \"/nonexistent/r\""),
        (&["sessions", "--record", "x"], "unexpected argument '--record'"),
        (&["ports", "--local", "--record", "/etc/hostname"], "recordings are never overwritten"),
        (&["replay", "x", "--speed", "0"], "expected a number from 0.01 to 10000"),
        (&["capture", "--all", "--kubeconfig", "/nonexistent/k", "--record", "r"], "/nonexistent/k"),
        (&["completions", "tcsh"], "tcsh"),
        (&["--local", "--theme", "pink"], "\"pink\""),
        (&["manifests", "--push-agent", "busybox:1", "--agent-binary", "/etc/hostname"], "/etc/hostname"),
        (&["manifests", "--push-agent", "busybox:1", "--reaper"], "--reaper cannot be used with --push-agent"),
        (&["manifests", "--push-agent-as-root"], "--push-agent"),
        (&["capture", "--all", "--push-agent", "busybox:1"], "cannot carry the capability NET_RAW"),
        (&["watch", "--all", "--push-agent", "busybox:1"], "cannot carry the capability NET_RAW"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(token), "{arguments:?}: {said}");
    }
}

/// The pod that waits for its agent is as locked down as the one that has it.
#[test]
fn a_pod_of_a_stock_image_is_as_locked_down() {
    let output = run(&["manifests", "--push-agent", "busybox:1.36", "--nodes", "a", "--session", "7f3a91c2"]);
    let yaml = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for line in ["image: busybox:1.36", "runAsNonRoot: true", "readOnlyRootFilesystem: true", "add: []", "sha256sum -c"]
    {
        assert!(yaml.contains(line), "{line}: {yaml}");
    }
    assert!(!yaml.contains("hostPath") && !yaml.contains("hostPID") && !yaml.contains("NET_RAW"), "{yaml}");
}

/// What was done without a terminal can be looked at afterwards, too.
#[test]
fn a_command_is_recorded_reported_and_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("session.jsonl");
    let file = file.to_str().expect("text");
    let output = run(&["ports", "--local", "--watch", "--duration", "3s", "--interval", "1s", "--record", file]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let told = run(&["report", "--from", file, "--print"]);
    let report = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(report.starts_with("# nodewatch, session ") && report.contains("the agent is live"), "{report}");
    let drawn = run(&["replay", file, "--print"]);
    let frame = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert!(frame.lines().count() == 40 && frame.contains("NODES (1)"), "{frame}");
    assert!(frame.contains(" removed ") && !frame.contains("live"), "{frame}");
}

/// Which options a command takes is in the unit tests of the layers; here is what a refusal looks like.
#[test]
fn a_command_refuses_what_it_does_not_take() {
    for (command, option) in [
        (&["nodes"][..], &["--s3", "s3://bucket/p"][..]),
        (&["sessions"], &["--lease", "5m"]),
        (&["cleanup"], &["--image", "i"]),
        (&["freeze", "7f3a91c2"], &["--context", "c"]),
        (&["alarms", "list"], &["--reaper"]),
        (&["merge", "x"], &["--context", "c"]),
        (&["preflight"], &["--cloudwatch", "g"]),
        (&["report", "7f3a91c2"], &["--theme", "dark"]),
        (&["replay", "x"], &["--lease", "5m"]),
        (&["completions", "bash"], &["--kubeconfig", "k"]),
        (&["man"], &["--out", "d"]),
        (&["manifests"], &["--context", "c"]),
    ] {
        for arguments in [[command, option].concat(), [option, command].concat()] {
            let said = refused(&arguments, 2);
            let named = said.contains(&format!("unexpected argument '{}' found", option[0]));
            assert!(
                named && said.contains("Usage: nodewatch-tui ") && said.contains("--help"),
                "{arguments:?}: {said}"
            );
        }
    }
}

/// Like kubectl.
#[test]
fn options_may_stand_before_the_command() {
    let early = run(&["--session-budget", "10m", "--image=x:1", "manifests", "--session", "7f3a91c2"]);
    let late = run(&["manifests", "--image", "x:1", "--session", "7f3a91c2", "--session-budget", "10m"]);
    let lines = |output: &Output| {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // Without the times, which are those of the run.
        lines.into_iter().filter(|line| !line.contains("/ends") && !line.contains("/began")).collect::<Vec<_>>()
    };
    assert_eq!(lines(&early), lines(&late));
    assert!(lines(&early).iter().any(|line| line.contains("image: x:1")));
}

fn help(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn short_help_fits_on_a_screen() {
    for command in [
        &[][..],
        &["nodes"],
        &["ports"],
        &["capture"],
        &["watch"],
        &["diagnose"],
        &["sessions"],
        &["cleanup"],
        &["attach"],
        &["freeze"],
        &["alarms"],
        &["alarms", "create"],
        &["alarms", "delete"],
        &["merge"],
        &["explain"],
        &["preflight"],
        &["config"],
        &["report"],
        &["mcp"],
        &["replay"],
        &["completions"],
        &["manifests"],
    ] {
        let text = help(&[command, &["-h"][..]].concat());
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(text.lines().count() <= 50 && widest <= 100, "{command:?}: {widest} columns\n{text}");
    }
}

#[test]
fn help_has_only_the_groups_that_a_command_takes() {
    for (command, headings) in [
        (&["nodes"][..], &["Options:", "Connection:"][..]),
        (&["completions"], &["Arguments:", "Options:"]),
        (&["replay"], &["Arguments:", "Options:", "Display:"]),
        (&["merge"], &["Arguments:", "Options:"]),
        (&["config"], &["Options:"]),
        (&["sessions"], &["Options:", "Connection:"]),
        (&["cleanup"], &["Arguments:", "Options:", "Connection:", "S3:"]),
        (
            &["ports"],
            &["Options:", "Connection:", "Session:", "Port reports:", "CloudWatch:", "Agent credentials:", "Metrics:"],
        ),
        (&["capture"], &["Options:", "Connection:", "Session:", "S3:", "Agent credentials:", "Metrics:"]),
        (&["watch"], &["Options:", "Connection:", "Session:", "Metrics:"]),
        (&["diagnose"], &["Arguments:", "Options:", "Connection:", "Session:", "Metrics:"]),
    ] {
        let text = help(&[command, &["--help"]].concat());
        let found: Vec<&str> =
            text.lines().filter(|line| line.ends_with(':') && !line.starts_with([' ', '\t'])).collect();
        assert_eq!(found, headings, "{command:?}: {text}");
        assert!(text.lines().count() < 225, "{command:?}: {text}");
    }
}

/// A word that resembles an option of another command is not offered.
#[test]
fn only_options_of_the_command_are_suggested() {
    let said = refused(&["replay", "x", "--last"], 2);
    assert!(said.contains("'--last'") && !said.contains("--lease"), "{said}");
    let said = refused(&["ports", "--leas", "5m"], 2);
    assert!(said.contains("a similar argument exists: '--lease'"), "{said}");
}

/// What is typed is refused; the environment and the file are for all commands.
#[test]
fn settings_that_a_command_does_not_take_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("nodewatch-tui")).expect("a folder");
    let file = folder.path().join("nodewatch-tui/config.toml");
    std::fs::write(&file, "s3 = 's3://bucket/p'\ns3_region = 'r'\nlease = '5m'\ntheme = 'dark'\nalarms = true\n")
        .expect("written");
    for arguments in
        [&["nodes", "--local"][..], &["completions", "bash"], &["man"], &["manifests"], &["sessions", "--local"]]
    {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_STATE_HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("NODEWATCH_REAPER", "1")
            .env("NODEWATCH_INTERVAL", "never")
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
