//! What each layer says, and which commands listen.

use super::*;

fn config(text: &str) -> Config {
    Config::parse(text, &SETTINGS).expect("a config")
}

fn read_in(environment: &[(&str, &str)], arguments: &[&str], text: &str) -> Result<(Cli, Vec<Setting>), LayersError> {
    let arguments: Vec<OsString> =
        std::iter::once("nodewatch-tui").chain(arguments.iter().copied()).map(Into::into).collect();
    let value = |name: &str| environment.iter().find(|(one, _)| *one == name).map(|(_, value)| value.into());
    read_with(&arguments, &config(text), &value)
}

fn read(arguments: &[&str], text: &str) -> Result<(Cli, Vec<Setting>), LayersError> {
    read_in(&[], arguments, text)
}

fn source(settings: &[Setting], key: &str) -> (Value, Source) {
    let setting = settings.iter().find(|setting| setting.key == key).expect("a setting");
    (setting.value.clone(), setting.source)
}

#[test]
fn an_option_overrides_the_file_and_the_file_the_default() {
    let text = "lease = '5m'\ninterval = 30\nread_only = true\nmouse = false";
    let (cli, settings) = read(&["ports", "--local", "--lease", "7m"], text).expect("read");
    assert_eq!((cli.options.session.lease.as_secs(), cli.options.interval.as_secs()), (420, 30));
    assert!(cli.options.connection.read_only);
    assert_eq!(source(&settings, "lease"), (json!("7m"), Source::Flag));
    assert_eq!(source(&settings, "interval"), (json!(30), Source::File(2)));
    assert_eq!(source(&settings, "session_budget"), (json!("4h"), Source::Default));
    assert_eq!(source(&settings, "production"), (json!("prod"), Source::Default));
    let (cli, _) = read(&["--lease", "7m", "ports"], text).expect("an option may stand before the command");
    assert_eq!(cli.options.session.lease.as_secs(), 420);
}

#[test]
fn other_layers_do_not_conflict_with_what_is_typed() {
    for arguments in [&["ports", "--local"][..], &["ports", "-n", "tools"]] {
        let (cli, _) = read(arguments, "reaper = true\ndaemonset = true").expect("read");
        assert!(!cli.options.session.reaper && !cli.options.session.daemonset, "{arguments:?}");
        let (cli, _) = read_in(&[("NODEWATCH_REAPER", "yes")], arguments, "").expect("read");
        assert!(!cli.options.session.reaper, "{arguments:?}");
    }
    assert!(read(&["ports"], "reaper = true").expect("read").0.options.session.reaper);
}

#[test]
fn the_environment_overrides_the_file_and_is_checked_for_what_the_command_takes() {
    let environment = [("NODEWATCH_LEASE", "6m"), ("NODEWATCH_PROCESSES", "1"), ("NODEWATCH_IMAGE", "")];
    let (cli, settings) = read_in(&environment, &["ports"], "lease = '5m'").expect("read");
    assert_eq!((cli.options.session.lease.as_secs(), cli.options.agents.processes), (360, true));
    assert_eq!(source(&settings, "lease"), (json!("6m"), Source::Environment));
    assert_eq!(source(&settings, "processes"), (json!(true), Source::Environment));
    assert_eq!(source(&settings, "image").1, Source::Default, "empty is unset");
    for (name, value) in [("NODEWATCH_LEASE", "soon"), ("NODEWATCH_PROCESSES", "perhaps")] {
        let error = read_in(&[(name, value)], &["ports"], "").expect_err(name).to_string();
        assert!(error.starts_with(name) && error.contains(value), "{error}");
        assert!(read_in(&[(name, value)], &["nodes"], "").is_ok(), "{name}");
    }
}

#[test]
fn an_image_is_named_also_by_the_name_of_the_default() {
    let name = DEFAULT_IMAGE;
    let is_default =
        |read: Result<(Cli, Vec<Setting>), LayersError>| read.expect("read").0.options.agents.image_is_default;
    for command in [&[][..], &["ports"]] {
        assert!(is_default(read(command, "")));
        assert!(!is_default(read(&[command, &["--image", name]].concat(), "")));
        assert!(is_default(read(command, &format!("image = '{name}'"))), "the example config, copied");
        assert!(!is_default(read(command, "image = 'registry.example/agent:1'")));
        assert!(!is_default(read_in(&[("NODEWATCH_IMAGE", name)], command, "")));
    }
}

/// The table is what the command line says of itself.
#[test]
fn settings_that_need_another_option_wait_for_it() {
    for key in SETTINGS {
        let option = match (key, is_switch(&Cli::command(), key)) {
            (_, true) => flag(key),
            ("s3_path_style" | "mouse", _) => format!("{}=true", flag(key)),
            _ => continue,
        };
        let error = Cli::command().try_get_matches_from(["nodewatch-tui", &option]).err();
        let needs = error.is_some_and(|error| error.kind() == ErrorKind::MissingRequiredArgument);
        assert_eq!(needs, NEEDS.iter().any(|(one, _)| *one == key), "{key}");
    }
    let file = "s3_region = 'r'\nzstd = true\nalarms = true\npush_agent_as_root = true";
    let (cli, settings) = read(&["config"], file).expect("read");
    assert_eq!((cli.options.s3.region, cli.options.upload.zstd, cli.options.reporting.alarms), (None, false, false));
    assert_eq!(source(&settings, "s3_region"), (json!("r"), Source::File(1)));
    let (cli, _) = read(&["capture", "--s3", "s3://bucket/p"], file).expect("read");
    assert_eq!((cli.options.s3.region.as_deref(), cli.options.upload.zstd), (Some("r"), true));
    // What a typed option needs may come from the file.
    let (cli, _) = read(&["ports", "--since", "1h"], "cloudwatch = 'g'").expect("read");
    assert_eq!(cli.options.log_group.cloudwatch.as_deref(), Some("g"));
}

#[test]
fn options_before_a_command_are_its_own() {
    for arguments in [
        &["--context", "nodes", "alarms", "--cluster-name=c", "list", "-o", "json"][..],
        &["alarms", "list", "-o", "json", "--context", "nodes", "--cluster-name", "c"],
    ] {
        let (cli, _) = read(arguments, "").expect("read");
        assert_eq!(cli.options.connection.context.as_deref(), Some("nodes"), "{arguments:?}");
        assert_eq!(cli.options.log_group.cluster_name.as_deref(), Some("c"), "{arguments:?}");
    }
    let error = read(&["--local", "alarms", "delet"], "").expect_err("refused").to_string();
    assert!(error.contains("unrecognized subcommand 'delet'"), "{error}");
    let help = read(&["--local", "alarms", "-h"], "").expect_err("help").to_string();
    assert!(help.contains("Commands:"), "{help}");
    let error = read(&["--context", "c", "--theme", "dark", "nodes"], "").expect_err("refused").to_string();
    assert!(error.contains("unexpected argument '--theme'"), "{error}");
}

#[test]
fn an_invalid_value_is_the_files_error() {
    for (text, told) in [
        ("\nlease = 'soon'", "line 2: lease: invalid value 'soon'"),
        ("read_only = 7", "line 1: read_only: invalid value \"7\": use true or false"),
        ("exclude = \"22,65536\"", "\"65536\" in \"22,65536\": not a port"),
        ("theme = 'pink'", "\"pink\""),
        ("mouse = 'maybe'", "for '--mouse <BOOL>' [possible values: true, false]"),
        ("s3_path_style = 'maybe'", "[possible values: true, false]"),
        ("image_pull_policy = 'sometimes'", "[possible values: Always, IfNotPresent, Never]"),
    ] {
        let error = read(&["nodes"], text).expect_err(text).to_string();
        assert!(error.contains(told), "{text:?}: {error}");
    }
}

#[test]
fn what_is_in_force_can_be_read_back() {
    let (_, settings) = read(&["config"], "lease = '5m'\n[keys]\ndeploy = ['F5', 'd']").expect("read");
    let text = as_toml(&settings, Some(std::path::Path::new("/nowhere/config.toml")));
    assert!(text.contains("No config file: /nowhere/config.toml does not exist\n"), "{text}");
    assert!(as_toml(&settings, None).contains("No config file: neither XDG_CONFIG_HOME nor HOME is set"));
    assert!(text.contains("lease = \"5m\"  # file, line 1\n"), "{text}");
    assert!(text.contains("deploy = [\"F5\", \"d\"]  # file, line 3\n"), "{text}");
    let again = config(&text);
    assert_eq!(again.keys.key_for(crate::screens::Action::Deploy), "F5");
    let error = read_with(&["nodewatch-tui".into()], &again, &|_| None).err();
    assert!(error.is_none(), "{error:?}");
}

/// An option of each group, with a value, and the commands that take it. The terminal program, `attach` and `config` take
/// all of them.
const GROUPS: [(&[&str], &[&str]); 22] = [
    (
        &["--kubeconfig", "/nonexistent/k"],
        &["nodes", "ports", "capture", "diagnose", "sessions", "cleanup", "alarms", "preflight"],
    ),
    (
        &["--local"],
        &[
            "nodes",
            "ports",
            "capture",
            "sessions",
            "cleanup",
            "alarms",
            "preflight",
            "manifests",
            "freeze",
            "merge",
            "diagnose",
            "explain",
            "report",
            "replay",
        ],
    ),
    (&["--lease", "5m"], &["ports", "capture", "diagnose", "preflight", "manifests"]),
    (&["--reaper"], &["ports", "capture", "diagnose", "preflight", "manifests"]),
    (&["--image", "i"], &["ports", "capture", "diagnose", "preflight", "manifests"]),
    (&["--ring-size", "1GiB"], &["ports", "capture", "diagnose", "preflight", "manifests"]),
    (&["--record", "r"], &["ports", "capture", "diagnose"]),
    (&["--confirm", "c"], &["ports", "capture", "diagnose"]),
    (&["--freeze-before", "5s"], &["freeze"]),
    (&["--out", "d"], &["capture", "freeze", "merge", "report"]),
    (&["--exclude", "22"], &["ports"]),
    (&["--interval", "5s"], &["ports", "alarms create"]),
    (&["--s3", "s3://bucket/p"], &["capture", "cleanup", "preflight"]),
    (&["--zstd"], &["capture", "preflight"]),
    (&["--irsa", "arn:aws:iam::123456789012:role/r"], &["ports", "capture", "preflight", "manifests"]),
    (&["--cloudwatch", "g"], &["ports", "alarms"]),
    (&["--alarms"], &["ports"]),
    (&["--sns-topic", "arn:aws:sns:eu-west-1:123456789012:t"], &["ports", "alarms create"]),
    (&["--alarm-on", "N-05,N-11"], &["alarms create"]),
    (&["--metrics", "otlp"], &["ports", "capture", "diagnose"]),
    (&["--theme", "dark"], &["replay"]),
    (&["--mouse", "false"], &[]),
];

/// The other commands, with the arguments that they require.
const COMMANDS: [&[&str]; 18] = [
    &["nodes"],
    &["ports"],
    &["capture"],
    &["sessions"],
    &["cleanup"],
    &["freeze", "7f3a91c2"],
    &["alarms", "create"],
    &["alarms", "list"],
    &["alarms", "delete"],
    &["merge", "x"],
    &["diagnose"],
    &["explain", "N-11"],
    &["preflight"],
    &["report", "7f3a91c2"],
    &["replay", "x"],
    &["completions", "bash"],
    &["man"],
    &["manifests"],
];

fn is_among(takers: &[&str], command: &[&str]) -> bool {
    takers.iter().any(|taker| *taker == command[0] || *taker == command.join(" "))
}

#[test]
fn a_command_takes_the_options_of_its_groups_on_both_sides_and_refuses_all_others() {
    for command in COMMANDS {
        for (option, takers) in GROUPS {
            // Options that others need, or that exclude each other, are not what this is about.
            let needed: &[&str] = match option[0] {
                "--zstd" => &["--s3", "s3://bucket/p"],
                "--alarms" => &["--cloudwatch", "g"],
                _ => &[],
            };
            let is_taken = is_among(takers, command);
            let needed = if is_taken { needed } else { &[] };
            for arguments in [[command, option, needed].concat(), [option, needed, command].concat()] {
                match read(&arguments, "") {
                    Ok(_) => assert!(is_taken, "{arguments:?}"),
                    Err(LayersError::CommandLine(error)) => {
                        assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{arguments:?}: {error}");
                        let named = error.to_string().contains(&format!("unexpected argument '{}' found", option[0]));
                        assert!(named && !is_taken && error.exit_code() == 2, "{arguments:?}: {error}");
                    }
                    Err(error) => panic!("{arguments:?}: {error}"),
                }
            }
        }
    }
    for (option, _) in GROUPS.iter().filter(|(option, _)| !["--zstd", "--alarms"].contains(&option[0])) {
        for command in [&[][..], &["attach", "7f3a91c2"], &["config"]] {
            assert!(read(&[command, option].concat(), "").is_ok(), "{command:?} {option:?}");
        }
    }
}
