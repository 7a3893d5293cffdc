//! Results for scripts: their forms, and what becomes of them where they cannot be written.

use std::{
    fs::File,
    path::Path,
    process::{Command, Output, Stdio},
};

use nodewatch_tui::headless::records::{RECORDS, schema::faults, undocumented};
use serde_json::Value;

use super::{PROGRAM, kubeconfig, refused, run};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove("KUBECONFIG").env("HOME", "/nonexistent").env_remove("XDG_STATE_HOME");
    command.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("r.jsonl");
    let recording = recording.to_str().expect("text");
    printed(&["nodes", "--local"]);
    let made = run(&["ports", "--local", "--record", recording]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    for arguments in [
        &["nodes", "--local"][..],
        &["nodes", "--local", "-o", "json"],
        &["ports", "--local"],
        &["preflight", "--local"],
        &["manifests"],
        &["config"],
        &["config", "-o", "yaml"],
        &["completions", "bash"],
        &["man"],
        &["explain", "N-11"],
        &["--help"],
        &["--version"],
        &["replay", recording, "--print"],
        &["report", "--from", recording, "--print"],
    ] {
        let full = File::options().write(true).open("/dev/full").expect("the device");
        let output = command(arguments).stdout(full).output().expect("it starts");
        let told = "error: cannot write standard output: No space left on device\n";
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(told), "{arguments:?}: {}", said(&output));
        // A reader that has left is no error.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command(arguments).stdout(writer).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains("error"), "{arguments:?}: {}", said(&output));
    }
}

/// A record has its kind, and no field that the reference does not have.
fn held(value: &Value) {
    let kind = value["kind"].as_str().unwrap_or_else(|| panic!("no kind: {value}"));
    let record = RECORDS.iter().find(|record| record.kind == kind).unwrap_or_else(|| panic!("unknown {kind}"));
    assert_eq!(value["schema"], 1);
    let new = undocumented(record, value);
    assert!(new.is_empty(), "not in the reference: {new:?}");
    // By our own reading and by another one.
    assert_eq!(faults(record, value), Vec::<String>::new());
    let file = format!("{}/docs/schema/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let schema = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let read = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    let wrong: Vec<String> =
        read.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "not as {file} has it: {wrong:#?}");
}

#[test]
fn every_form_says_the_same() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let target = listener.local_addr().expect("an address").to_string();
    for (arguments, kind) in [
        (&["nodes", "--local"][..], "node"),
        (&["ports", "--local"], "port_report"),
        (&["probe", "--local", &target, "--count", "2"], "probe"),
        (&["preflight", "--local"], "preflight_check"),
        (&["config"], "setting"),
        (&["explain"], "explanation"),
        (&["explain", "N-11", "n5"], "explanation"),
    ] {
        let form = |form: &'static str| printed(&[arguments, &["-o", form, "-q"]].concat());
        let values: Vec<Value> = form("json").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(!values.is_empty() && values.iter().all(|value| value["kind"] == kind), "{values:?}");
        values.iter().for_each(held);
        let yaml = form("yaml");
        let documents: Vec<Value> = yaml
            .split("---\n")
            .skip(1)
            .map(|document| serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}")))
            .collect();
        assert_eq!(documents.len(), values.len(), "{yaml}");
        documents.iter().for_each(held);
        let names = form("name");
        assert!(!names.is_empty() && names.lines().all(|line| !line.is_empty()), "{names}");
        assert!(form("wide").lines().count() >= values.len());
    }
    let report: Value = serde_json::from_str(&printed(&["ports", "--local", "-o", "json"])).expect("one value");
    assert!(report["at"].is_u64() && report["at_time"].as_str().is_some_and(|time| time.ends_with('Z')), "{report}");
    let port = &report["ports"][0];
    assert!(port["first_seen"].is_u64() && port["first_seen_time"].is_string(), "{port}");
    // What names a node in kubectl names it here.
    let node = printed(&["nodes", "--local", "-o", "name"]);
    assert!(node.starts_with("node/"), "{node}");
    printed(&["ports", "--local", "--nodes", node.trim()]);
}

#[test]
fn a_probe_counts_the_tries_that_were_answered_and_says_what_became_of_the_others() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let open = listener.local_addr().expect("an address").to_string();
    // Nobody else is given the port of a socket that is bound, and only listening ones accept.
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let closed = format!("127.0.0.2:{}", bound.local_addr().expect("an address").port());
    let output = run(&["probe", "--local", &open, &closed, "--count", "2", "-o", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    values.iter().for_each(held);
    assert_eq!(values.len(), 2, "{text}");
    let of = |value: &Value| (value["tries"].as_u64(), value["answered"].as_u64(), value["microseconds"].is_u64());
    assert_eq!((of(&values[0]), of(&values[1])), ((Some(2), Some(2), true), (Some(2), Some(0), false)), "{text}");
    assert!(values[0]["at_time"].is_string() && values[0]["protocol"] == "tcp", "{text}");
    assert_eq!(values[1]["failures"][0]["outcome"], "refused", "{text}");
    assert_eq!(values[1]["failures"][0]["count"], 2, "{text}");
    let said = said(&output);
    assert!(said.contains(&format!("trying {closed} 2 times from ")) && said.contains("nothing is left"), "{said}");

    let table = run(&["probe", "--local", &closed, "--count", "1", "-q", "--no-headers"]);
    let row = String::from_utf8_lossy(&table.stdout).into_owned();
    assert_eq!((table.status.code(), row.lines().count()), (Some(3), 1), "{row}");
    assert!(row.contains(" 0/1 ") && row.trim_end().ends_with("1 refused") && table.stderr.is_empty(), "{row}");
}

#[test]
fn tables_have_no_heads_where_none_are_wanted_and_more_columns_where_they_are() {
    let table = printed(&["nodes", "--local"]);
    let heads: Vec<&str> = table.lines().next().expect("heads").split_whitespace().collect();
    assert_eq!(heads, ["NAME", "STATUS", "ROLES", "AGE", "INTERNAL-IP", "ZONE", "TYPE", "VERSION"]);
    let wide = printed(&["nodes", "--local", "-o", "wide"]);
    assert!(wide.starts_with("NAME") && wide.lines().next().is_some_and(|heads| heads.ends_with("LABELS")), "{wide}");
    let bare = printed(&["nodes", "--local", "--no-headers"]);
    assert_eq!((bare.lines().count(), bare.contains("NAME")), (1, false), "{bare}");
}

#[test]
fn where_nobody_watches_a_node_has_one_line_and_with_quiet_none() {
    let output = run(&["ports", "--local"]);
    let said = said(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains(": live after ") && lines[0].ends_with(" s"), "{said}");
    assert!(lines[1].starts_with("nodewatch-tui: session "), "no step to it is told: {said}");
    let output = run(&["ports", "--local", "-q"]);
    assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{}", self::said(&output));
    // What goes wrong is told all the same.
    let told = refused(&["ports", "--local", "-q", "--nodes", "elsewhere"], 2);
    assert!(told.starts_with("error: node \"elsewhere\" not found"), "{told}");
}

#[test]
fn a_baseline_without_a_difference_prints_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("b.json");
    let file = file.to_str().expect("text");
    let exclude = ["--exclude", "1-65535"];
    let saved = run(&[&["ports", "--local", "--save-baseline", file][..], &exclude].concat());
    assert_eq!(saved.status.code(), Some(0), "{}", said(&saved));
    let same = run(&[&["ports", "--local", "--baseline", file][..], &exclude].concat());
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
    assert!(same.stdout.is_empty(), "{}", String::from_utf8_lossy(&same.stdout));
    assert!(said(&same).contains(&format!("no difference from {file} (0 ports, 1 node)")), "{}", said(&same));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let other = run(&["ports", "--local", "--baseline", file]);
    let table = String::from_utf8_lossy(&other.stdout).into_owned();
    assert_eq!(other.status.code(), Some(3), "{}", said(&other));
    assert!(table.starts_with("NODE") && table.contains("DRIFT") && table.contains(&format!("{port}/tcp")), "{table}");
}

/// In a shell that lets no file grow above that: what comes then is an error, as on a full disk.
#[test]
fn a_recording_that_cannot_be_written_is_told_once_and_is_in_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {PROGRAM} ports --local --watch --duration 3s --interval 1s -q --record r"
    );
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(folder.path()).env("HOME", "/nonexistent").env_remove("XDG_STATE_HOME");
    let output = shell.env("TMPDIR", env!("CARGO_TARGET_TMPDIR")).output().expect("bash");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(said(&output).matches("warning: the recording has stopped").count(), 1, "{}", said(&output));
    assert!(said(&output).contains("  recording INCOMPLETE: cannot write the recording"), "{}", said(&output));
    assert!(!output.stdout.is_empty(), "the session goes on");
    let recording = folder.path().join("r");
    let recording = recording.to_str().expect("text");
    for arguments in [&["replay", recording, "--print"][..], &["report", "--from", recording, "--print"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("warning: the recording ends too early, at "), "{}", said(&output));
    }
}

#[test]
fn values_of_other_layers_are_refused_with_those_that_there_are() {
    for (variable, values) in [
        ("NODEWATCH_MOUSE", "[possible values: true, false]"),
        ("NODEWATCH_IMAGE_PULL_POLICY", "[possible values: Always, IfNotPresent, Never]"),
    ] {
        let output = command(&["config"]).env(variable, "perhaps").output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(variable) && said(&output).contains(values), "{}", said(&output));
    }
    let told = refused(&["nodes", "--local", "-l", "a in b"], 2);
    assert_eq!(told.matches("invalid label selector").count(), 1, "{told}");
}

#[test]
fn local_is_answered_by_every_command() {
    let checks = printed(&["preflight", "--local"]);
    for check in ["agent", "NET_RAW", "interfaces", "room"] {
        assert!(checks.contains(check), "{checks}");
    }
    for (arguments, told) in [
        (&["manifests", "--local"][..], "there are no manifests for --local: on this machine nothing is applied"),
        (
            &["freeze", "7f3a91c2", "--local"],
            "cannot freeze session 7f3a91c2: there is no such session on this machine",
        ),
        (&["merge", "--local", "/nonexistent/a"], "cannot open"),
        (&["replay", "--local", "/nonexistent/a"], "cannot read the recording"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
}

#[test]
fn what_no_cluster_would_take_is_refused_before_it_is_printed() {
    for (arguments, told) in [
        (&["manifests", "--image", "bad image"][..], "invalid image \"bad image\""),
        (&["manifests", "--push-agent", "a:b c"], "\"b c\" is not a tag"),
        (&["manifests", "-n", "Bad ns"], "invalid namespace \"Bad ns\""),
        (&["manifests", "-n", "a", "--service-account", "b c"], "invalid service account \"b c\""),
        (&["merge", "--out", "mg", "-w", "f", "a"], "cannot be used with '--into <FILE>'"),
    ] {
        let said = refused(arguments, 2);
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
}

#[test]
fn a_file_that_is_there_already_is_named_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let [from, to] = ["from.pcap", "to.pcapng"].map(|name| folder.path().join(name));
    // A capture without packets, see pcap-savefile(5).
    let head: [&[u8]; 7] =
        [&[0xd4, 0xc3, 0xb2, 0xa1], &[2, 0], &[4, 0], &[0; 4], &[0; 4], &[0, 0, 4, 0], &[1, 0, 0, 0]];
    std::fs::write(&from, head.concat()).expect("written");
    std::fs::write(&to, "mine").expect("written");
    let paths = [from, to].map(|path| path.to_str().expect("text").to_owned());
    let told = refused(&["merge", &paths[0], "-w", &paths[1]], 2);
    assert!(told.contains(&format!("{} exists already: name another with --into", paths[1])), "{told}");
}

/// What is no file would be read for ever, or waited for.
#[test]
fn pipes_and_devices_in_the_place_of_files_are_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = |path: &Path| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    };
    made(&folder.path().join("config/nodewatch-tui/config.toml"));
    let output = command(&["nodes", "--local"]).env("XDG_CONFIG_HOME", folder.path().join("config")).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("config.toml\": it is not a regular file"), "{}", said(&output));

    let journal = folder.path().join("state/nodewatch-tui/sessions/7f3a91c2.json");
    made(&journal);
    let server = kubeconfig("https://127.0.0.1:1");
    let kubeconfig = server.path().to_str().expect("a path");
    for arguments in [&["sessions", "--kubeconfig", kubeconfig][..], &["freeze", "7f3a91c2"], &["report", "7f3a91c2"]] {
        let mut command = command(arguments);
        command.env("XDG_STATE_HOME", folder.path().join("state")).stdin(Stdio::null());
        let output = command.output().expect("it starts");
        assert!(output.status.code().is_some_and(|code| (1..=3).contains(&code)), "{arguments:?}: {}", said(&output));
    }

    let output = command(&["config"]).env_remove("HOME").env_remove("XDG_CONFIG_HOME").output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("No config file: neither XDG_CONFIG_HOME nor HOME is set"), "{text}");
}
