//! The import rules of ARCHITECTURE.md, read off the sources.

use std::{
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
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
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
    let first = |path: &String| path.trim().split("::").next().unwrap_or_default().to_owned();
    found.iter().map(first).filter(|name| !name.is_empty()).collect()
}

#[test]
fn each_layer_knows_only_what_it_may() {
    // A file or folder of src/, and the modules of ours that it may name besides its own.
    let rules: [(&str, &[&str]); 30] = [
        ("model/", &[]),
        ("text.rs", &[]),
        ("clock.rs", &["text"]),
        ("folders.rs", &[]),
        ("proxy.rs", &[]),
        ("aws_http.rs", &["proxy", "text"]),
        ("disk.rs", &["text"]),
        ("rings.rs", &["folders", "model"]),
        ("journal.rs", &["clock", "disk", "folders", "model", "text"]),
        ("site.rs", &["model"]),
        ("merge", &["disk", "text"]),
        ("manifest.rs", &["disk", "model", "site", "text"]),
        ("storage/", &["aws_http", "disk", "model", "text"]),
        ("logs/", &["aws_http", "model"]),
        ("drift.rs", &["model", "text"]),
        ("live", &["agent_client", "model", "site", "text"]),
        ("app/", &["model", "text"]),
        ("ui/", &["app", "config", "model", "text"]),
        ("config/", &["app", "folders", "model", "text"]),
        ("cluster/", &["clock", "journal", "model", "proxy", "site", "text"]),
        ("local.rs", &["model", "rings", "site", "text"]),
        ("agent_client.rs", &["model", "site"]),
        ("fetch.rs", &["agent_client", "disk", "model", "site", "text"]),
        (
            "runtime/",
            &[
                "agent_client",
                "app",
                "clock",
                "config",
                "disk",
                "fetch",
                "folders",
                "live",
                "logs",
                "manifest",
                "merge",
                "model",
                "record",
                "report",
                "site",
                "storage",
                "text",
                "ui",
            ],
        ),
        ("cli/", &["cluster", "headless", "model", "text", "ui"]),
        ("record/", &["app", "model", "text"]),
        ("report/", &["model", "text"]),
        (
            "headless/",
            &[
                "app", "cli", "clock", "cluster", "drift", "journal", "live", "logs", "manifest", "merge", "model",
                "rings", "runtime", "site", "storage", "text",
            ],
        ),
        // The one place that puts everything together.
        (
            "program/",
            &[
                "app", "cli", "clock", "cluster", "config", "folders", "headless", "journal", "local", "logs", "model",
                "record", "report", "rings", "runtime", "site", "storage", "text", "ui",
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

#[test]
fn each_library_stays_where_it_belongs() {
    let rules: [(&str, &[&str]); 10] = [
        ("kube::", &["src/cluster/"]),
        ("k8s_openapi::", &["src/cluster/"]),
        ("crossterm::", &["src/runtime/", "src/config/keymap/", "src/program/replay.rs"]),
        ("ratatui::", &["src/ui/", "src/runtime/", "src/program/replay.rs"]),
        ("aws_sdk_s3::", &["src/storage/", "agent/src/upload/"]),
        ("aws_sdk_cloudwatch::", &["src/logs/"]),
        (
            "aws_sdk_cloudwatchlogs::",
            &[
                "src/logs/",
                "agent/src/upload/",
                "agent/report/src/send.rs",
                "agent/report/src/group.rs",
                "agent/report/src/told.rs",
            ],
        ),
        ("aws_config::", &["src/storage/", "src/logs/", "agent/src/upload/"]),
        ("ureq::", &["agent/src/upload/", "agent/src/reaper.rs"]),
        ("nodewatch_agent::", &["agent/src/main.rs"]),
    ];
    let everything =
        [sources("src"), sources("agent/src"), sources("agent/protocol/src"), sources("agent/report/src")].concat();
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

/// What is foreign is made visible on its way out: each way out is in one place, where that is done.
#[test]
fn each_way_out_is_in_one_place() {
    let rules: [(&str, &[&str]); 6] = [
        ("io::stderr()", &["src/cluster/plugin.rs", "src/headless/output.rs", "src/program/mod.rs", "src/runtime/"]),
        ("eprint", &[]),
        ("println!", &[]),
        ("Self::Copy(", &["src/app/action.rs"]),
        ("Effect::Copy(", &["src/runtime/"]),
        ("to_clipboard_from", &["src/runtime/terminal.rs"]),
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
fn the_wire_crate_has_no_io() {
    for (file, text) in sources("agent/protocol/src") {
        let code = code(&text);
        for word in ["std::fs", "std::io", "std::process", "tokio", "std::time"] {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn unsafe_is_in_one_file() {
    for (file, text) in [sources("src"), sources("agent")].concat() {
        let unsafe_here = code(&text).contains("unsafe ") || code(&text).contains("allow(unsafe_code)");
        assert_eq!(unsafe_here, file.ends_with("agent/src/capture/source.rs"), "{}", file.display());
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
        sources("agent/pcapng/src"),
        sources("agent/protocol/src"),
        sources("agent/report/src"),
    ]
    .concat()
    {
        assert!(text.starts_with("//!"), "{} has no opening words", file.display());
        let lines = code(&text).lines().count();
        assert!(lines <= 600, "{} has {lines} lines of code", file.display());
    }
}
