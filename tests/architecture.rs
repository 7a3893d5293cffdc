//! The import rules of ARCHITECTURE.md, read off the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                found.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no source in {folder}");
    found
}

/// The file's code: everything before its tests, comments left out.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
    let lines = text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Modules of ours that a file names, as in `crate::app` or inside `use crate::{app::...}`.
fn own_modules(code: &str) -> Vec<String> {
    after(code, "crate::").into_iter().filter(|name| !name.is_empty()).collect()
}

#[test]
fn each_layer_knows_only_what_it_may() {
    // A file or folder of src/, and the modules of ours that it may name besides its own.
    let rules: [(&str, &[&str]); 22] = [
        ("model/", &[]),
        ("base/", &[]),
        ("packets/", &["base"]),
        ("agents/", &["base", "model", "packets"]),
        ("captures/", &["agents", "base", "model", "packets"]),
        ("journal/", &["base", "model"]),
        ("storage/", &["base", "model"]),
        ("logs/", &["base", "model"]),
        ("otlp/", &["base", "model"]),
        ("cluster/", &["agents", "base", "journal", "model"]),
        ("session/", &["base", "model"]),
        ("screens/", &["base", "model", "session"]),
        ("config/", &["base", "model", "screens", "session"]),
        ("ui/", &["base", "config", "model", "packets", "screens", "session"]),
        ("handover/", &["base", "model"]),
        ("record/", &["base", "model", "session"]),
        ("cli/", &["base", "model", "ui"]),
        (
            "runtime/",
            &[
                "agents", "base", "captures", "config", "handover", "logs", "model", "otlp", "packets", "record",
                "screens", "session", "storage", "ui",
            ],
        ),
        (
            "headless/",
            &[
                "agents", "base", "captures", "cli", "cluster", "journal", "logs", "model", "packets", "runtime",
                "session", "storage",
            ],
        ),
        ("mcp/", &["base", "captures", "headless", "model"]),
        // The one place that puts everything together.
        (
            "program/",
            &[
                "agents", "base", "cli", "cluster", "config", "handover", "headless", "journal", "logs", "mcp",
                "model", "otlp", "record", "runtime", "screens", "session", "storage", "ui",
            ],
        ),
        ("lib.rs", &[]),
    ];
    for (file, text) in sources("src") {
        let inside = file.strip_prefix("src").expect("below src").to_string_lossy().into_owned();
        if inside == "main.rs" {
            continue;
        }
        let (rule, allowed) = rules
            .iter()
            .find(|(rule, _)| inside.starts_with(rule))
            .unwrap_or_else(|| panic!("{inside} has no rule: add one here and to ARCHITECTURE.md"));
        let own = rule.trim_end_matches('/').trim_end_matches(".rs");
        for module in own_modules(&code(&text)) {
            assert!(module == own || allowed.contains(&module.as_str()), "{inside} names crate::{module}");
        }
    }
}

/// What a session is changes in its own folder and nowhere else: others read it, and ask.
#[test]
fn a_sessions_fields_change_in_its_own_folder_alone() {
    let changes =
        [" = ", " += ", " -= ", " |= ", ".clear()", ".push", ".pop", ".insert(", ".remove(", ".retain(", "_mut("];
    let mut seen = 0;
    for folder in ["src/screens", "src/ui", "src/headless", "src/program", "src/record", "src/runtime", "src/config"] {
        for (file, text) in sources(folder) {
            for line in code(&text).lines() {
                // The options of that name are what the user typed.
                let Some((before, rest)) = line.split_once("session.") else { continue };
                if before.ends_with("options.") || before.ends_with("begun.") {
                    continue;
                }
                seen += 1;
                // A path of fields, up to what is done to it.
                let fields = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
                let done = match rest[..fields].rfind('.') {
                    Some(dot) if rest[fields..].starts_with('(') => &rest[dot..],
                    _ => &rest[fields..],
                };
                let changed = changes.iter().any(|change| done.starts_with(change));
                assert!(!changed, "{}: {}", file.display(), line.trim());
            }
        }
    }
    assert!(seen > 100, "the test reads the wrong thing");
}

/// Keys can be bound anew, so a text names what a key does, as in `{capture}`, and never the key.
#[test]
fn no_text_names_a_key() {
    // Where keys are named by definition; a recording's own fixed keys; a terminal without a screen.
    let homes = ["src/config/", "src/program/tables.rs", "src/program/replay.rs", "src/cluster/plugin.rs"];
    let named = ["Esc", "Enter", "Ctrl", "Backspace", "PgUp", "PgDn", "Space", "Tab"];
    let mut literals = 0;
    for (file, text) in [sources("src"), sources("agent/src"), sources("crates")].concat() {
        let name = file.to_string_lossy();
        if homes.iter().any(|home| name.starts_with(home)) || name.contains("tests") {
            continue;
        }
        for literal in code(&text).split('"').skip(1).step_by(2) {
            literals += 1;
            let words: Vec<&str> = literal.split(|c: char| !c.is_alphanumeric()).collect();
            let key = words.iter().find(|word| named.contains(word));
            let pressed = words.windows(2).any(|pair| pair[0].eq_ignore_ascii_case("press") && pair[1].len() == 1);
            assert!(key.is_none() && !pressed, "{name}: {literal:?}");
        }
    }
    assert!(literals > 1000, "the test reads the wrong thing");
}

/// What is true and what is seen is made without waiting for anything: no clock, no disk, no network, no thread.
#[test]
fn the_pure_parts_name_nothing_that_waits() {
    let waits =
        ["tokio", "futures::", "kube::", "k8s_openapi", "ratatui", "crossterm", "aws_", "std::fs", "std::net::Tcp"];
    let waits = waits.iter().chain(&["std::thread", "std::process", "SystemTime", "Instant", "async "]);
    for folder in [
        "src/session",
        "src/screens",
        "src/model",
        "crates/analysis/src",
        "crates/answers/src",
        "crates/ports",
        "crates/protocol/src",
        "crates/pcapng/src",
        "crates/report/src",
        "crates/signals/src",
    ] {
        for (file, text) in sources(folder) {
            let code = code(&text);
            let named = waits.clone().find(|name| code.contains(*name));
            assert_eq!(named, None, "{}", file.display());
        }
    }
}

/// `nodewatch-pure` compiles the same sources, and neither it nor anything that it depends on is what waits.
#[test]
fn the_pure_parts_compile_without_what_waits() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).expect("a lock file");
    let of = |package: &str| -> Vec<String> {
        let named = format!("name = \"{package}\"\n");
        let Some((_, rest)) = lock.split_once(&named) else { panic!("{package} is not in the lock file") };
        let own = rest.split("[[package]]").next().unwrap_or_default();
        let Some((_, list)) = own.split_once("dependencies = [") else { return Vec::new() };
        let names = list.split('"').skip(1).step_by(2);
        names.filter_map(|name| name.split(' ').next().map(str::to_owned)).collect()
    };
    let mut seen = BTreeSet::new();
    let mut next = vec!["nodewatch-pure".to_owned()];
    while let Some(package) = next.pop() {
        next.extend(of(&package).into_iter().filter(|name| !seen.contains(name)));
        seen.insert(package);
    }
    assert!(seen.contains("serde") && seen.len() > 20, "{seen:?}");
    for heavy in ["tokio", "futures", "kube", "ratatui", "crossterm", "hyper", "aws-"] {
        assert!(!seen.iter().any(|package| package.starts_with(heavy)), "{heavy}: {seen:?}");
    }
}

/// The modules of one folder that each of them names, by file or folder.
fn siblings(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = fs::read_dir(&root).expect("a folder").map(|entry| entry.expect("an entry").path());
    let names: BTreeSet<String> = entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| name(&path))
        .filter(|name| !["mod", "lib", "main", "tests"].contains(&name.as_str()))
        .collect();
    // As others of the folder name it: `crate::cluster::` from anywhere, `super::` from a file, twice that from below.
    let from_root =
        folder.split_once("src").map_or("", |(_, inside)| inside.trim_start_matches('/')).replace('/', "::");
    let from_root = if from_root.is_empty() { "crate::".to_owned() } else { format!("crate::{from_root}::") };
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources(folder) {
        let inside = file.strip_prefix(folder).expect("below it");
        let mut parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let first = parts.next().unwrap_or_default();
        let own = first.trim_end_matches(".rs").to_owned();
        let depth = parts.filter(|part| part != "mod.rs").count();
        if !names.contains(&own) {
            continue;
        }
        let code = code(&text);
        let up = "super::".repeat(depth + 1);
        let found = [up.as_str(), from_root.as_str()].into_iter().flat_map(|prefix| after(&code, prefix));
        named.entry(own.clone()).or_default().extend(found.filter(|name| names.contains(name) && *name != own));
    }
    named
}

/// What stands behind a path's beginning, also inside braces. A longer path that ends the same is another one.
fn after(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with("::") {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(character),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found.iter().map(|path| path.trim().split("::").next().unwrap_or_default().to_owned()).collect()
}

/// The modules that lead back to themselves.
fn circle(named: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let reach = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = named.get(from).into_iter().flatten().collect();
        while let Some(name) = next.pop() {
            if seen.insert(name.clone()) {
                next.extend(named.get(name).into_iter().flatten());
            }
        }
        seen
    };
    named.keys().filter(|name| reach(name).contains(*name)).cloned().collect()
}

#[test]
fn no_module_leads_back_to_itself() {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for (file, _) in [sources("src"), sources("agent/src"), sources("crates"), sources("testing/src")].concat() {
        folders.extend(file.parent().map(Path::to_path_buf).filter(|folder| folder.to_string_lossy().contains("src")));
    }
    let mut found = Vec::new();
    for folder in folders {
        let folder = folder.to_string_lossy();
        let circle = circle(&siblings(&folder));
        if !circle.is_empty() {
            found.push(format!("{folder}: {circle:?}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_library_stays_where_it_belongs() {
    let rules: [(&str, &[&str]); 11] = [
        ("kube::", &["src/cluster/"]),
        ("k8s_openapi::", &["src/cluster/"]),
        ("crossterm::", &["src/runtime/", "src/config/keymap/", "src/program/replay.rs"]),
        ("ratatui::", &["src/ui/", "src/runtime/", "src/program/replay.rs"]),
        ("aws_sdk_s3::", &["src/storage/", "agent/src/upload/"]),
        ("aws_sdk_cloudwatch::", &["src/logs/"]),
        ("aws_sdk_cloudwatchlogs::", &["src/logs/", "agent/src/upload/", "crates/cloudwatch/src/"]),
        ("aws_config::", &["src/storage/", "src/logs/", "agent/src/upload/"]),
        ("rmcp::", &["src/mcp/"]),
        ("ureq::", &["agent/src/upload/", "agent/src/reaper.rs"]),
        ("nodewatch_agent::", &["agent/src/main.rs"]),
    ];
    let everything = [sources("src"), sources("agent/src"), sources("crates")].concat();
    for (library, homes) in rules {
        let mut used = false;
        for (file, text) in &everything {
            let file = file.to_string_lossy();
            if code(text).contains(library) {
                used = true;
                assert!(homes.iter().any(|home| file.starts_with(home)), "{file} names {library}");
            }
        }
        assert!(used, "nothing names {library}: the rule reads the wrong thing");
    }
}

/// Built as a whole the workspace has every feature that any of its parts asks for; a program that is built alone has its
/// own.
#[test]
fn each_program_asks_for_the_parts_of_rustix_that_it_uses() {
    for (manifest, folder) in [("Cargo.toml", "src"), ("agent/Cargo.toml", "agent/src")] {
        let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest)).expect("text");
        let asked: Vec<&str> = manifest.lines().filter(|line| line.starts_with("rustix = ")).collect();
        let mut used = BTreeSet::new();
        for (_, text) in sources(folder) {
            used.extend(after(&code(&text), "rustix::").into_iter().filter(|part| !part.is_empty() && part != "io"));
        }
        assert!(used.len() > 2, "the rule reads the wrong thing");
        for part in used {
            assert!(asked[0].contains(&format!("{part:?}")), "{folder} uses rustix::{part}");
        }
    }
}

/// What is foreign is made visible on its way out: each way out is in one place, where that is done.
#[test]
fn each_way_out_is_in_one_place() {
    let rules: [(&str, &[&str]); 7] = [
        ("io::stderr()", &["src/cluster/plugin.rs", "src/headless/output.rs", "src/program/mod.rs", "src/runtime/"]),
        ("eprint", &[]),
        ("println!", &[]),
        ("Self::Copy(", &["src/session/event.rs"]),
        ("Effect::Copy(", &["src/runtime/"]),
        ("to_clipboard_from", &["src/runtime/terminal.rs"]),
        // Without debug assertions clap says of any name that it may have been given.
        ("contains_id", &[]),
    ];
    for (file, text) in sources("src") {
        let file = file.to_string_lossy();
        for (word, homes) in &rules {
            let here = homes.iter().any(|home| file.starts_with(home));
            assert!(here || !code(&text).contains(word), "{file} names {word}");
        }
    }
}

#[test]
fn the_wire_and_the_judge_of_ports_have_no_io() {
    for (file, text) in [
        sources("crates/protocol/src"),
        sources("crates/ports/src"),
        sources("crates/analysis/src"),
        sources("crates/answers/src"),
        sources("crates/signals/src"),
    ]
    .concat()
    {
        let code = code(&text);
        for word in ["std::fs", "std::io", "std::process", "tokio", "std::time"] {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn unsafe_is_in_two_files() {
    for (file, text) in [sources("src"), sources("agent"), sources("crates"), sources("testing")].concat() {
        let unsafe_here = code(&text).contains("unsafe ") || code(&text).contains("allow(unsafe_code)");
        let homes = ["agent/src/capture/source.rs", "agent/src/signals/ioctl.rs"];
        assert_eq!(unsafe_here, homes.iter().any(|home| file.ends_with(home)), "{}", file.display());
    }
}

/// A check that is skipped without a word is a finding that is hidden.
#[test]
fn every_skip_of_checkov_has_its_reason_in_security() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("text");
    let skipped: Vec<String> = read("manifests/.checkov.yaml")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("  - ")?.to_owned()))
        .collect();
    assert!(!skipped.is_empty(), "the list has another form");
    let rows: Vec<String> = read("SECURITY.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| CKV")?.split(' ').next()?.to_owned()))
        .map(|id| format!("CKV{id}"))
        .collect();
    assert_eq!(skipped, rows);
}

#[test]
fn every_module_says_what_it_owns() {
    for (file, text) in [
        sources("src"),
        sources("agent/src"),
        sources("crates/analysis/src"),
        sources("crates/answers/src"),
        sources("crates/filter/src"),
        sources("crates/pcapng/src"),
        sources("crates/ports/src"),
        sources("crates/protocol/src"),
        sources("crates/report/src"),
        sources("crates/signals/src"),
        sources("testing/src"),
    ]
    .concat()
    {
        assert!(text.starts_with("//!"), "{} has no opening words", file.display());
        let lines = code(&text).lines().count();
        assert!(lines <= 600, "{} has {lines} lines of code", file.display());
    }
}
