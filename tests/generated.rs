//! What is made from the source is what is committed: the example config, the reference's tables, signals and answers. What is made on demand,
//! completions and the manual page, has every command and option in it.
//!
//! `UPDATE_GENERATED=1 cargo test --test generated` writes the committed ones anew.

#[path = "support/incident.rs"]
mod incident;
#[path = "support/pictures.rs"]
mod pictures;
#[path = "support/sample.rs"]
mod sample;

use std::{collections::BTreeSet, path::Path, process::Command};

use clap::{CommandFactory, error::ErrorKind};
use nodewatch_tui::{
    cli::{Cli, SETTINGS},
    config::file::Config,
    headless::records::{RECORDS, schema},
    mcp,
    program::{layers, tables},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodewatch-tui");

fn root(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Every command in the pages' blocks of commands has the name and the options that the program knows. What stands for a
/// value, as URL does, need not be one.
#[test]
fn commands_of_the_pages_are_commands_of_the_program() {
    let mut checked = 0;
    for page in [
        "README.md",
        "docs/guide.md",
        "docs/answers.md",
        "docs/diagnosis.md",
        "docs/mcp.md",
        "docs/supply-chain.md",
        "SECURITY.md",
    ] {
        let text = std::fs::read_to_string(root(page)).expect("a page");
        // Every second part is inside of a block.
        for line in text.split("```").skip(1).step_by(2).flat_map(str::lines) {
            let line = line.trim_start_matches("$ ").trim_start_matches("target/release/");
            if !line.starts_with("nodewatch-tui") {
                continue;
            }
            let words = shlex::split(line).unwrap_or_else(|| panic!("{page}: {line}"));
            let words = words.into_iter().take_while(|word| !["|", ">", "&&"].contains(&word.as_str()));
            checked += 1;
            if let Err(error) = Cli::command().try_get_matches_from(words)
                && matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand)
            {
                panic!("{page}: {line}: {error}");
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

/// Holds a file to what it should say, or writes it anew.
fn hold(file: &str, wanted: &str) {
    let path = root(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, wanted).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    assert!(found == wanted, "{file} differs from the source from line {first:?} on: run with UPDATE_GENERATED=1");
}

const REFERENCE: &str = "docs/reference.md";
const TOOLS: &str = "docs/mcp.md";

fn reference_with(table: &str, name: &str) -> String {
    page_with(REFERENCE, table, name)
}

fn page_with(page: &str, table: &str, name: &str) -> String {
    let text = std::fs::read_to_string(root(page)).expect("the page");
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- /{name} -->"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("{page} has no {begin}")) + begin.len();
    let to = text[from..].find(&end).unwrap_or_else(|| panic!("{page} has no {end}")) + from;
    format!("{}{table}{}", &text[..from], &text[to..])
}

#[test]
fn the_example_config_says_the_defaults() {
    let example = tables::example();
    hold("assets/config.example.toml", &example);
    let config = Config::parse(&example, &SETTINGS).expect("it can be read");
    let default = Config::default();
    assert_eq!(config.production.map(|it| it.to_string()), default.production.map(|it| it.to_string()));
    assert_eq!(config.viewer, default.viewer);
    let keys = |config: &nodewatch_tui::config::keymap::Keymap| {
        config.rows().map(|(binding, keys)| (binding.name, keys.first().map(ToString::to_string))).collect::<Vec<_>>()
    };
    assert_eq!(keys(&config.keys), keys(&default.keys));
}

#[test]
fn the_references_tables_are_the_sources() {
    hold(REFERENCE, &reference_with(&tables::key_table(), "keys"));
    hold(REFERENCE, &reference_with(&tables::option_tables(), "options"));
    hold(REFERENCE, &reference_with(&tables::record_table(), "records"));
    hold(REFERENCE, &reference_with(&tables::exit_code_table(), "exit codes"));
    hold(REFERENCE, &reference_with(&tables::metric_table(), "metrics"));
}

#[test]
fn the_table_of_tools_is_the_sources() {
    hold(TOOLS, &page_with(TOOLS, &mcp::tools::reference(), "tools"));
}

/// A file for each kind of record, and no other; each is a schema by another reading than ours.
#[test]
fn every_kind_of_record_has_its_schema() {
    let mut wanted = BTreeSet::new();
    for record in RECORDS {
        let schema = schema::schema(record);
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{}: {error}", record.kind));
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        hold(&format!("docs/schema/{}.json", record.kind), &text);
        wanted.insert(format!("{}.json", record.kind));
    }
    let there = std::fs::read_dir(root("docs/schema")).expect("the folder");
    let there: BTreeSet<String> =
        there.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(there, wanted);
}

#[test]
fn the_table_of_signals_is_the_sources() {
    hold("docs/signals.md", &nodewatch_signals::reference());
}

#[test]
fn the_page_of_answers_is_the_explanations() {
    hold("docs/answers.md", &nodewatch_answers::reference());
}

/// They show local time; the Makefile sets the zone.
#[test]
fn the_pictures_are_what_the_program_draws() {
    assert_eq!(std::env::var("TZ").as_deref(), Ok("UTC"), "run the tests with TZ=UTC, as make test does");
    for (name, picture) in pictures::all() {
        hold(&format!("assets/{name}"), &picture);
    }
}

/// Every command and every option that is not hidden.
fn names() -> BTreeSet<String> {
    fn gather(command: &clap::Command, names: &mut BTreeSet<String>) {
        let long = |argument: &clap::Arg| argument.get_long().map(|long| format!("--{long}"));
        names.extend(command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(long));
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            names.insert(command.get_name().to_owned());
            gather(command, names);
        }
    }
    let mut names = BTreeSet::new();
    gather(&layers::command(), &mut names);
    assert!(names.len() > 60 && names.contains("capture") && names.contains("--push-agent"), "{names:?}");
    names
}

fn made(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).env("HOME", "/nonexistent").output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn completions_of_every_shell_have_every_command_and_option() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = made(&["completions", shell]);
        for name in names() {
            let name = if shell == "fish" { name.trim_start_matches("--").to_owned() } else { name };
            assert!(script.contains(&name), "{shell} does not know {name}");
        }
    }
}

/// What a shell says to a line with its completions; nothing where it is not installed.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn asked(shell: &str, arguments: &[&str], question: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("completions");
    std::fs::write(&script, made(&["completions", shell])).expect("written");
    let line = question.replace("SCRIPT", &script.display().to_string());
    let asked = Command::new(shell).args(arguments).args(["-c", &line]).env("HOME", folder.path()).output();
    let Ok(answer) = asked else {
        eprintln!("skipped: there is no {shell}");
        return None;
    };
    assert!(answer.status.success() && answer.stderr.is_empty(), "{shell}: {answer:?}");
    Some(String::from_utf8(answer.stdout).expect("text"))
}

#[test]
fn shells_complete_commands_options_and_their_words() {
    // What readline would tell the function: all words, which is the cursor's, that one and the one before it.
    let bash = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [.., before, last] = words[..] else { return None };
        let at = words.len() - 1;
        let question = format!(
            "source SCRIPT; COMP_WORDS=({line}); COMP_CWORD={at}; \
             _nodewatch__tui nodewatch-tui '{last}' '{before}'; echo ${{COMPREPLY[@]}}"
        );
        asked("bash", &["--norc"], &question)
    };
    assert_eq!(bash("nodewatch-tui ca").as_deref(), Some("capture\n"));
    assert_eq!(bash("nodewatch-tui capture --cont").as_deref(), Some("--content --context\n"));
    assert_eq!(bash("nodewatch-tui --theme hi").as_deref(), Some("high-contrast\n"));
    // Only what the command takes.
    assert_eq!(bash("nodewatch-tui nodes --s").as_deref(), Some("--selector\n"));
    assert!(bash("nodewatch-tui explain N-0").is_some_and(|codes| codes.starts_with("N-01 N-02 ")));
    assert_eq!(bash("nodewatch-tui completions --").as_deref(), Some("--help\n"));
    let fish = |line: &str| asked("fish", &["--no-config"], &format!("source SCRIPT; complete -C '{line}'"));
    if let Some(words) = fish("nodewatch-tui replay --theme ") {
        assert_eq!(words, "auto\ndark\nhigh-contrast\nlight\nterminal\n");
    }
    // Of zsh only what it can be asked without a terminal: whether it can read them.
    asked("zsh", &["-f"], "zsh -n SCRIPT");
}

#[test]
fn the_manual_page_has_every_command_and_option() {
    let page = made(&["man"]).replace("\\-", "-");
    for name in names() {
        assert!(page.to_lowercase().contains(&name), "the page does not have {name}");
    }
    assert!(page.contains(".SH SYNOPSIS\n\\fBnodewatch-tui\\fR [\\fIOPTIONS\\fR]\n"), "no option stands there");
    assert!(page.starts_with(".ie") || page.contains(".TH nodewatch-tui"), "{}", &page[..200]);
}

#[test]
fn the_version_names_the_agent_protocol() {
    let version = made(&["--version"]);
    let wanted =
        format!("nodewatch-tui {} (agent protocol {})\n", env!("CARGO_PKG_VERSION"), nodewatch_protocol::VERSION);
    assert_eq!(version, wanted);
}

/// What a release is: an archive with kubectl's name for the program in it, and a manifest that krew finds it by.
#[test]
fn a_release_archive_and_its_manifest_belong_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let (programs, out) = (folder.path().join("programs"), folder.path().join("out"));
    std::fs::create_dir(&programs).expect("a folder");
    for name in ["nodewatch-tui", "nodewatch-agent"] {
        // Of another platform, as far as this machine can tell.
        std::fs::write(programs.join(name), "not for this machine").expect("written");
    }
    let packed = Command::new(root("assets/dist.sh"))
        .arg(&programs)
        .args(["linux", "amd64"])
        .arg(&out)
        .arg("https://releases.example/nodewatch-tui")
        .env("HOME", "/nonexistent")
        .output()
        .expect("bash");
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let archive = format!("nodewatch-tui-{}-linux-amd64.tar.gz", env!("CARGO_PKG_VERSION"));
    let listed = Command::new("tar").arg("-tvzf").arg(out.join(&archive)).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for inside in [
        "kubectl-nodewatch -> nodewatch-tui",
        "nodewatch-agent",
        "nodewatch-tui.1",
        "completions/nodewatch-tui.zsh",
        "LICENSE",
    ] {
        assert!(listed.contains(inside), "{inside} is not in {listed}");
    }
    let text = std::fs::read_to_string(out.join("nodewatch.yaml")).expect("a manifest");
    let manifest: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let platforms = manifest["spec"]["platforms"].as_array().expect("platforms");
    assert_eq!(platforms.len(), 1, "only what was packed: {text}");
    assert_eq!(platforms[0]["selector"]["matchLabels"]["arch"], "amd64");
    assert!(
        platforms[0]["uri"]
            .as_str()
            .is_some_and(|uri| uri.starts_with("https://releases.example/") && uri.ends_with(&archive))
    );
    let sums = std::fs::read_to_string(out.join("SHA256SUMS")).expect("sums");
    let sum = platforms[0]["sha256"].as_str().expect("a sum");
    assert!(sum.len() == 64 && sums.contains(&format!("{sum}  {archive}\n")), "{sums}");
    assert!(!text.contains('@'), "{text}");
}

#[test]
fn as_a_plugin_of_kubectl_it_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-nodewatch");
    std::os::unix::fs::symlink(PROGRAM, &plugin).expect("linked");
    let output = Command::new(&plugin).arg("--help").env("HOME", "/nonexistent").output().expect("it starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(help.contains("Usage: kubectl nodewatch [OPTIONS]"), "{help}");
}
