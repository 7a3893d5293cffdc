//! What is shipped fits the project: the image, the lists of what is in it, workflows, recipes of package managers, snippets
//! for other programs. None of these is run where it is meant to run: that is said in docs/supply-chain.md.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nodewatch_testing::program::said;
use nodewatch_tui::program::layers;
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(root(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn all(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

fn make_targets() -> BTreeSet<String> {
    all(r"(?m)^([a-z-]+):", &text("Makefile")).into_iter().collect()
}

fn image(arguments: &[&str]) -> Output {
    Command::new(root("assets/image.py")).args(arguments).output().expect("python3")
}

fn hex(bytes: &[u8]) -> String {
    let mut sum = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a String does not fail.
        let _ = write!(sum, "{byte:02x}");
    }
    sum
}

fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().expect("a digest").strip_prefix("sha256:").expect("SHA-256");
    let bytes = fs::read(layout.join("blobs/sha256").join(digest)).expect("a blob");
    assert_eq!(hex(&bytes), digest, "a blob is what its name says");
    bytes
}

fn json_blob(layout: &Path, digest: &Value) -> Value {
    serde_json::from_slice(&blob(layout, digest)).expect("JSON")
}

#[test]
fn the_image_of_two_platforms_has_one_digest_and_what_the_dockerfile_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(at("agent"), "a program").expect("written");
    let (amd64, arm64) =
        (format!("amd64:{}=/nodewatch-agent", at("agent")), format!("arm64:{}=/nodewatch-agent", at("agent")));
    let pack = |name: &str| {
        let (layout, archive, digest) = (at(name), at(&format!("{name}.tar")), at(&format!("{name}.digest")));
        let made = image(&[
            "--agent",
            "1.2.3",
            "--layout",
            &layout,
            "--archive",
            &archive,
            "--digest",
            &digest,
            &amd64,
            &arm64,
        ]);
        assert!(made.status.success(), "{}", said(&made));
        (PathBuf::from(layout), fs::read(archive).expect("an archive"), fs::read_to_string(digest).expect("a digest"))
    };
    let (layout, archive, digest) = pack("one");
    assert_eq!(
        (archive.clone(), digest.clone()),
        {
            let (_, archive, digest) = pack("two");
            (archive, digest)
        },
        "the same twice"
    );
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("an index")).expect("JSON");
    assert_eq!(top["manifests"][0]["digest"], digest.trim());
    let index = json_blob(&layout, &top["manifests"][0]["digest"]);
    let platforms = index["manifests"].as_array().expect("manifests");
    let architectures: Vec<&Value> = platforms.iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(architectures, [&json!("amd64"), &json!("arm64")]);
    let manifest = json_blob(&layout, &platforms[0]["digest"]);
    let config = json_blob(&layout, &manifest["config"]["digest"]);
    let dockerfile = text("agent/Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().expect("a stage");
    let said_as_json = |word: &str| -> Value {
        let line = last.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word}"));
        serde_json::from_str(line.trim()).unwrap_or_else(|_| json!(line.trim()))
    };
    for (word, key) in [("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd"), ("USER", "User")] {
        assert_eq!(config["config"][key], said_as_json(word), "{word}");
    }
    for label in ["title=\"nodewatch-agent\"", "licenses=\"Apache-2.0\"", "version=\"$VERSION\""] {
        assert!(last.contains(&format!("org.opencontainers.image.{label}")), "{label}: {last}");
    }
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "1.2.3");
    assert!(last.contains(&format!("ARG VERSION={}", env!("CARGO_PKG_VERSION"))), "the Dockerfile's version");
    // The file capability, as the kernel has it: effective, permitted NET_RAW.
    let mut capability = b"SCHILY.xattr.security.capability=".to_vec();
    capability.extend([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'\n']);
    assert!(archive.windows(capability.len()).any(|window| window == capability), "no capability in the layer");
}

#[test]
fn an_image_that_is_too_large_is_not_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("agent");
    fs::write(&program, vec![7; 200_000]).expect("written");
    let file = format!("{}=/nodewatch-agent", program.display());
    let layout = folder.path().join("layout");
    let layout = layout.to_str().expect("a path");
    let refused = image(&["--agent", "1.2.3", "--limit", "100000", "--layout", layout, &file]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("larger than 100,000 bytes") && !Path::new(layout).exists(), "{}", said(&refused));
    // A folder of somebody else's is not written over.
    let refused = image(&["--agent", "1.2.3", "--layout", folder.path().to_str().expect("a path"), &file]);
    assert!(!refused.status.success() && program.exists(), "{}", said(&refused));
    let makefile = text("Makefile");
    assert!(makefile.contains("IMAGE_LIMIT = 10000000") && makefile.contains("--limit $(IMAGE_LIMIT)"));
}

#[test]
fn both_ways_to_build_the_agent_leave_out_the_same() {
    let makefile = text("Makefile");
    for file in ["Makefile", "agent/Dockerfile"] {
        assert!(text(file).contains("-fno-asynchronous-unwind-tables"), "{file}");
    }
    let list = all(r"(?m)^ZSTD_FLAGS = .*,([A-Z0-9 ]+)\)$", &makefile);
    let dockerfile = text("agent/Dockerfile");
    for name in list[0].split(' ') {
        assert!(dockerfile.contains(&format!("-DZSTD_EXCLUDE_{name}_BLOCK_COMPRESSOR")), "{name}");
    }
}

#[test]
fn what_is_in_the_programs_is_listed_with_licences_and_sums() {
    let folder = tempfile::tempdir().expect("a folder");
    let triple =
        all("host: (.*)", &String::from_utf8_lossy(&Command::new("rustc").arg("-vV").output().expect("rustc").stdout));
    let made = Command::new(root("assets/inventory.py"))
        .current_dir(root(""))
        .arg(&triple[0])
        .arg(folder.path())
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .expect("python3");
    assert!(made.status.success(), "{}", said(&made));
    for (program, has, has_not) in
        [("nodewatch-agent", "aws-sdk-s3", "ratatui"), ("nodewatch-tui", "ratatui", "nodewatch-agent")]
    {
        let file = fs::read(folder.path().join(format!("sbom-{program}.cdx.json"))).expect("a list");
        let list: Value = serde_json::from_slice(&file).expect("JSON");
        assert_eq!(
            (&list["bomFormat"], &list["metadata"]["component"]["name"]),
            (&json!("CycloneDX"), &json!(program))
        );
        let components = list["components"].as_array().expect("components");
        let named = |name: &str| components.iter().find(|one| one["name"] == name);
        assert!(named(has_not).is_none(), "{program} has {has_not}");
        let one = named(has).unwrap_or_else(|| panic!("{program} lacks {has}"));
        assert!(one["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64), "{one}");
        assert!(components.iter().all(|one| one["licenses"][0]["expression"].is_string()), "one is without a licence");
    }
    let licences = fs::read_to_string(folder.path().join("THIRD-PARTY.txt")).expect("licences");
    assert!(licences.contains("aws-sdk-s3 ") && licences.contains("Apache License"), "{}", &licences[..400]);
}

const WORKFLOWS: [&str; 4] = ["ci", "release", "audit", "scorecard"];

/// What a job may change, beside reading the sources.
const MAY: [(&str, &str, &[&str]); 3] = [
    ("release", "image", &["attestations", "id-token", "packages"]),
    ("release", "draft", &["attestations", "contents", "id-token"]),
    ("scorecard", "scorecard", &["id-token", "security-events"]),
];

#[test]
fn workflows_are_pinned_and_may_do_no_more_than_they_need() {
    let pin = Regex::new(r"^\s*- uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$").expect("a pattern");
    let there: Vec<String> = fs::read_dir(root(".github/workflows"))
        .expect("workflows")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there.len(), WORKFLOWS.len(), "{there:?}");
    let mut pins = BTreeSet::new();
    for name in WORKFLOWS {
        let file = format!(".github/workflows/{name}.yml");
        let (lines, workflow) = (text(&file), yaml(&file));
        assert!(!lines.contains("pull_request_target"), "{file}");
        for line in lines.lines().filter(|line| line.contains("uses:")) {
            assert!(pin.is_match(line), "{file}: {line}");
            pins.extend(all(r"uses: (\S+@\S+)", line));
        }
        assert_eq!(workflow["permissions"], json!({}), "{file}");
        for (job, what) in workflow["jobs"].as_object().expect("jobs") {
            let asked = what["permissions"].as_object().unwrap_or_else(|| panic!("{file}: {job} has no permissions"));
            let writes: Vec<&str> = asked.iter().filter(|(_, how)| *how == "write").map(|(what, _)| &**what).collect();
            let may =
                MAY.iter().find(|(workflow, one, _)| (*workflow, *one) == (name, job)).map_or(&[][..], |may| may.2);
            assert_eq!(writes, may, "{file}: {job}");
            assert!(what["timeout-minutes"].is_u64(), "{file}: {job}");
            for step in what["steps"].as_array().expect("steps") {
                let checks_out = step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@"));
                assert!(!checks_out || step["with"]["persist-credentials"] == json!(false), "{file}: {job}");
                // What comes from outside is no part of a script.
                let script = step["run"].as_str().unwrap_or_default();
                assert!(!script.contains("github.event") && !script.contains("github.head_ref"), "{file}: {script}");
            }
        }
    }
    let actions: BTreeSet<&str> = pins.iter().filter_map(|pin| pin.split('@').next()).collect();
    assert_eq!(actions.len(), pins.len(), "an action has one version everywhere: {pins:?}");
}

#[test]
fn what_is_named_is_there() {
    let targets = make_targets();
    let files = [
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
        ".github/workflows/audit.yml",
        "README.md",
        "CONTRIBUTING.md",
        "docs/guide.md",
        "docs/supply-chain.md",
        "SECURITY.md",
    ];
    for file in files {
        let text = text(file);
        for target in all(r"(?m)(?:`|run: |\^|PATH. |^)make ([a-z-]+)", &text) {
            assert!(targets.contains(&target), "{file}: make {target}");
        }
        for path in all(r"((?:assets|tests)/[a-z0-9_-]+\.(?:py|sh|yaml|rb|toml))", &text) {
            assert!(root(&path).exists(), "{file}: {path}");
        }
    }
    let folders = yaml(".github/dependabot.yml");
    for update in folders["updates"].as_array().expect("updates") {
        let one = update["directory"].as_str().map(|folder| vec![folder]);
        let several = || update["directories"].as_array().expect("folders").iter().filter_map(Value::as_str).collect();
        for folder in one.unwrap_or_else(several) {
            assert!(root(folder.trim_start_matches('/')).is_dir(), "{folder}");
        }
    }
    for form in ["bug", "answer"] {
        let form = yaml(&format!(".github/ISSUE_TEMPLATE/{form}.yml"));
        assert!(form["name"].is_string() && form["description"].is_string() && form["body"].is_array());
    }
}

/// The archive of a platform, as the release has it.
fn archives() -> Vec<String> {
    all(r"uri: @URL@/releases/download/v@VERSION@/(\S+)", &text("assets/krew.yaml"))
}

#[test]
fn package_managers_know_the_names_that_the_release_has() {
    let manifest: toml::Value = toml::from_str(&text("Cargo.toml")).expect("TOML");
    let binstall = &manifest["package"]["metadata"]["binstall"];
    let overrides = binstall["overrides"].as_table().expect("platforms");
    let asked: BTreeSet<String> = overrides
        .values()
        .map(|one| one["pkg-url"].as_str().expect("a URL").replace("{ version }", "@VERSION@"))
        .map(|url| url.rsplit('/').next().expect("a name").to_owned())
        .collect();
    assert_eq!(asked, archives().into_iter().collect());
    let version = env!("CARGO_PKG_VERSION");
    let formula = text("assets/nodewatch-tui.rb");
    assert!(formula.contains("class NodewatchTui < Formula") && formula.contains("license \"Apache-2.0\""));
    let recipe = text("assets/PKGBUILD");
    for package in ["nodewatch-tui", "nodewatch-agent"] {
        assert!(recipe.contains(&format!("target/dist/{package}")) && recipe.contains(&format!("-p {package}")));
    }
    for both in [&formula, &recipe] {
        assert!(
            both.contains("-source.tar.gz") && both.contains("@SHA256_SOURCE@") && both.contains("kubectl-nodewatch")
        );
    }
    let flake = text("flake.nix");
    for path in all(r"\./([A-Za-z.]+)", &flake) {
        assert!(root(&path).exists(), "{path}");
    }
    assert!(!flake.contains(version) && flake.contains("manifest.version"), "the version is in one place");
}

/// The arguments of a snippet with what its program would put in, as ours takes them.
fn taken(arguments: &[String]) {
    let put_in = [
        ("$CONTEXT", "prod"),
        ("$NAMESPACE", "shop"),
        ("$NAME", "web-0"),
        ("{context}", "prod"),
        ("{namespace}", "shop"),
        ("{name}", "web-0"),
    ];
    let words =
        arguments.iter().map(|word| put_in.iter().fold(word.clone(), |word, (name, value)| word.replace(name, value)));
    let words: Vec<String> = std::iter::once("nodewatch-tui".to_owned()).chain(words).collect();
    assert!(!words.iter().any(|word| word.contains(['$', '{'])), "{words:?}");
    let matches = layers::command().try_get_matches_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(matches.contains_id("node") || matches.contains_id("pod"), "{words:?}");
}

#[test]
fn other_programs_open_this_one_on_what_their_cursor_is_on() {
    let k9s = yaml("assets/k9s-plugins.yaml");
    let plugins = k9s["plugins"].as_object().expect("plugins");
    let mut scopes = BTreeSet::new();
    for plugin in plugins.values() {
        assert_eq!((&plugin["command"], &plugin["background"]), (&json!("nodewatch-tui"), &json!(false)));
        // Required by k9s' own schema.
        assert!(plugin["shortCut"].is_string() && plugin["description"].is_string(), "{plugin}");
        scopes.extend(plugin["scopes"].as_array().expect("scopes").iter().map(ToString::to_string));
        let words = plugin["args"].as_array().expect("arguments").iter();
        taken(&words.map(|word| word.as_str().expect("a word").to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(scopes.len(), plugins.len(), "one key, and one plugin a list");
    let lfk = yaml("assets/lfk-actions.yaml");
    for kind in ["Node", "Pod"] {
        let action = &lfk["custom_actions"][kind][0];
        let words = shlex::split(action["command"].as_str().expect("a command")).expect("words");
        assert!(words[0] == "nodewatch-tui" && action["label"].is_string() && action["key"].is_string(), "{action}");
        taken(&words[1..]);
    }
}

/// What only Linux has. The agent is for Linux; the laptop's program and what it is made of are not.
const ONLY_LINUX: [&str; 16] = [
    "std::os::linux",
    " libc::",
    " nix::",
    "procfs::",
    "rustix::event::epoll",
    "rustix::event::eventfd",
    "rustix::fs::inotify",
    "rustix::fs::memfd",
    "rustix::mount",
    "rustix::thread::",
    "pidfd",
    "prctl",
    "signalfd",
    "timerfd",
    "O_TMPFILE",
    "ClockId::Boottime",
];

#[test]
fn the_laptops_program_uses_nothing_that_only_linux_has() {
    let mut folders = vec![root("src"), root("crates")];
    let (mut seen, mut guarded) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&path).expect("text");
            let lines: Vec<&str> = text[..text.find("#[cfg(test)]").unwrap_or(text.len())].lines().collect();
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                let Some(name) = ONLY_LINUX.iter().find(|name| line.contains(*name)) else { continue };
                let before = at.checked_sub(1).map(|before| lines[before].trim());
                assert_eq!(before, Some("#[cfg(target_os = \"linux\")]"), "{}: {name}", path.display());
                guarded += 1;
            }
        }
    }
    assert!(seen > 200 && guarded > 0, "the test reads the wrong thing: {seen}, {guarded}");
    let tree = [
        "tree",
        "-p",
        "nodewatch-tui",
        "-e",
        "normal",
        "--target",
        "aarch64-apple-darwin",
        "--prefix",
        "none",
        "--offline",
    ];
    let tree = Command::new(env!("CARGO")).current_dir(root("")).args(tree).output().expect("cargo");
    assert!(tree.status.success(), "{}", said(&tree));
    let crates = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(crates.contains("ratatui ") && crates.contains("kube "), "{crates}");
    for linux in ["nodewatch-agent ", "linux-raw-sys ", "procfs ", "netlink", "inotify "] {
        assert!(!crates.lines().any(|line| line.starts_with(linux)), "{linux} is among what macOS gets");
    }
}

/// The node's own role is not ours: the pod switches it off, and the agent has no code that could ask for it.
#[test]
fn nobody_asks_the_nodes_metadata_service() {
    for manifest in ["agent-job", "daemonset"] {
        let manifest = text(&format!("manifests/{manifest}.yaml"));
        assert!(manifest.contains("- name: AWS_EC2_METADATA_DISABLED\n              value: \"true\""), "{manifest}");
    }
    let mut folders = vec![root("agent/src"), root("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                for way in
                    ["aws_config::defaults", "aws_config::from_env", "load_defaults", "default_provider::", "imds::"]
                {
                    assert!(!text.contains(way), "{}: {way}", path.display());
                }
            }
        }
    }
}
