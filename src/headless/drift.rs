//! A baseline of a cluster's open ports, and how today differs from it.
//!
//! Owns the file's form and the comparison. Pure but for reading and writing that file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, chown},
    },
    path::{Path, PathBuf},
};

use nodewatch_protocol::{Port, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::model::{ListedPort, NodeName, PortClass, PortKey};

/// The form of the file. In the first one ports have no interface, and `[::]` stands for IPv4 too.
const VERSION: u32 = 2;
const FIRST: u32 = 1;
/// Standard input, or standard output.
pub const STANDARD: &str = "-";
/// A file larger than this is none: 120,000 ports take 10 MB.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Symbolic links that are followed, as the kernel does.
const MAX_LINKS: usize = 40;

/// A baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file does not let itself be read.
    #[error("cannot read the baseline {path:?}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nor written.
    #[error("cannot write the baseline {path:?}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its contents.
    #[error("{path:?} is not a baseline: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is another cluster's.
    #[error("{path:?} is the baseline of cluster {theirs:?}, not of {ours:?}")]
    OtherCluster {
        /// Which.
        path: PathBuf,
        /// The file's cluster.
        theirs: String,
        /// This one.
        ours: String,
    },
}

/// Every node's ports at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// When it was made.
    pub saved: UnixMillis,
    nodes: BTreeMap<String, Vec<Saved>>,
}

/// One port of a baseline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    port: Port,
    #[serde(default, skip_serializing_if = "is_unknown")]
    class: PortClass,
}

/// As serde wants it.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_unknown(class: &PortClass) -> bool {
    !class.is_known()
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The node.
    pub node: NodeName,
    /// What kind of difference.
    #[serde(rename = "drift")]
    pub kind: DriftKind,
    /// The port, as in `22/tcp`.
    pub port: String,
    /// What the baseline has; empty when nothing.
    pub before: String,
    /// What there is now; empty when nothing.
    pub now: String,
}

/// Kinds of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// Not in the baseline.
    New,
    /// In the baseline only.
    Gone,
    /// On other addresses, or of another class.
    Changed,
}

impl DriftKind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Changed => "changed",
        }
    }
}

/// A node's ports by number: addresses, and classes.
type ByKey = BTreeMap<PortKey, BTreeSet<(Port, PortClass)>>;

impl Baseline {
    /// What there is now. Ports without a socket are the API's to say, not a baseline's.
    pub fn of<'a>(
        cluster: &str,
        saved: UnixMillis,
        nodes: impl Iterator<Item = (&'a NodeName, &'a [ListedPort])>,
    ) -> Self {
        let ports = |listed: &[ListedPort]| listed.iter().filter(|one| one.socket).map(saved_port).collect();
        let nodes = nodes.map(|(name, listed)| (name.0.clone(), ports(listed))).collect();
        Self { version: VERSION, cluster: cluster.to_owned(), saved, nodes }
    }

    /// Reads a file; it must be this cluster's. Waits for as long as the file makes it.
    pub fn read(path: &Path, cluster: &str) -> Result<Self, BaselineError> {
        let file = |source| BaselineError::Read { path: path.to_owned(), source };
        let invalid = |reason: String| BaselineError::Invalid { path: path.to_owned(), reason };
        let bytes = contents(path).map_err(file)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(invalid(format!("it is larger than {} MiB", MAX_BYTES / 1024 / 1024)));
        }
        let baseline: Self = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if !(FIRST..=VERSION).contains(&baseline.version) {
            return Err(invalid(format!("unsupported version {}, the newest known is {VERSION}", baseline.version)));
        }
        if baseline.cluster != cluster {
            let (theirs, ours) = (baseline.cluster, cluster.to_owned());
            return Err(BaselineError::OtherCluster { path: path.to_owned(), theirs, ours });
        }
        Ok(baseline)
    }

    /// Writes the file. A regular one is replaced, whole or not at all, and keeps its mode; into anything else it is written.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let file = |source| BaselineError::Write { path: path.to_owned(), source };
        let mut text = crate::base::text::json_pretty(self).map_err(|error| file(error.into()))?;
        text.push('\n');
        let written = match Target::of(path).map_err(file)? {
            Target::Output => {
                let mut output = io::stdout().lock();
                output.write_all(text.as_bytes()).and_then(|()| output.flush())
            }
            Target::Stream(place) => {
                OpenOptions::new().append(true).open(place).and_then(|mut stream| stream.write_all(text.as_bytes()))
            }
            Target::Regular(place) => replace(&place, text.as_bytes()),
        };
        written.map_err(file)
    }

    /// Nodes that it has.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// How a node differs. One that the baseline does not know, as nodes come and go, is held against all of its nodes: a
    /// port is new when none of them has it, and gone when each of them does.
    /// `whole` is false where the node's kernel did not tell all of a port: then both sides are taken for what it tells.
    pub fn compare(&self, node: &NodeName, listed: &[ListedPort], whole: bool) -> Vec<Drift> {
        let known = |saved| if whole && self.version != FIRST { saved } else { without_device(saved) };
        let by_key = |ports: &mut dyn Iterator<Item = Saved>| by_key(ports.map(known));
        let now = by_key(&mut listed.iter().filter(|one| one.socket).map(saved_port));
        let drift = |kind, key: &PortKey, before: String, now: String| Drift {
            node: node.clone(),
            kind,
            port: key.to_string(),
            before,
            now,
        };
        let Some(before) = self.nodes.get(&node.0) else {
            let all: Vec<ByKey> = self.nodes.values().map(|ports| by_key(&mut ports.iter().cloned())).collect();
            let new = now.iter().filter(|(key, _)| !all.iter().any(|node| node.contains_key(key)));
            let new = new.map(|(key, ports)| drift(DriftKind::New, key, String::new(), text(ports)));
            let common = all.first().into_iter().flatten();
            let gone =
                common.filter(|(key, _)| all.iter().all(|node| node.contains_key(key)) && !now.contains_key(key));
            let gone = gone.map(|(key, ports)| drift(DriftKind::Gone, key, text(ports), String::new()));
            return new.chain(gone).collect();
        };
        let before = by_key(&mut before.iter().cloned());
        let keys: BTreeSet<&PortKey> = before.keys().chain(now.keys()).collect();
        let differs = |key: &&PortKey| match (before.get(*key), now.get(*key)) {
            (None, Some(ports)) => Some(drift(DriftKind::New, key, String::new(), text(ports))),
            (Some(ports), None) => Some(drift(DriftKind::Gone, key, text(ports), String::new())),
            (Some(before), Some(now)) if before != now => Some(drift(DriftKind::Changed, key, text(before), text(now))),
            _ => None,
        };
        keys.iter().filter_map(differs).collect()
    }
}

/// A port as files of the first form have it, and kernels that list sockets in files alone.
fn without_device(mut saved: Saved) -> Saved {
    let port = &mut saved.port;
    port.device = None;
    port.v6only = port.local.is_ipv6() && port.local.ip().is_unspecified();
    saved
}

/// At most a byte more than is taken.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new(STANDARD) {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Where a baseline is written.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// To standard output.
    Output,
    /// Into what is there: a device, a pipe, an open file of some process.
    Stream(PathBuf),
    /// In the place of this file, which may not be there yet.
    Regular(PathBuf),
}

impl Target {
    /// What a name leads to.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new(STANDARD) {
            return Ok(Self::Output);
        }
        if let (Ok(there), Ok(output)) = (fs::metadata(path), standard_output())
            && !there.is_dir()
            && (there.dev(), there.ino()) == (output.dev(), output.ino())
        {
            return Ok(Self::Output);
        }
        let mut place = path.to_owned();
        for _ in 0..MAX_LINKS {
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = folder.canonicalize()?;
            place = folder.join(place.file_name().ok_or(io::ErrorKind::IsADirectory)?);
            // What a process has open is linked to there, and the link's text need not name a file.
            if folder.starts_with("/proc") {
                return Ok(Self::Stream(place));
            }
            match fs::symlink_metadata(&place) {
                Ok(there) if there.is_symlink() => place = folder.join(fs::read_link(&place)?),
                Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(there) if there.is_file() => return Ok(Self::Regular(place)),
                Ok(_) => return Ok(Self::Stream(place)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Regular(place)),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

fn standard_output() -> io::Result<fs::Metadata> {
    File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()
}

fn replace(place: &Path, text: &[u8]) -> io::Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let part = place.with_file_name(format!(".{name}.{:08x}", rand::random::<u32>()));
    let written = OpenOptions::new().write(true).create_new(true).open(&part).and_then(|mut file| {
        if let Ok(before) = fs::metadata(place) {
            // Who may not give a file away writes one of his own, as ever.
            let _ = chown(&part, Some(before.uid()), Some(before.gid()));
            fs::set_permissions(&part, before.permissions())?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&part, place)
    });
    if written.is_err() {
        // What is half written helps nobody.
        let _ = fs::remove_file(&part);
    }
    written
}

fn saved_port(listed: &ListedPort) -> Saved {
    Saved { port: listed.port, class: listed.class }
}

fn by_key(ports: impl Iterator<Item = Saved>) -> ByKey {
    let mut found = ByKey::new();
    for saved in ports {
        found.entry(saved.port.into()).or_default().insert((saved.port, saved.class));
    }
    found
}

fn text(ports: &BTreeSet<(Port, PortClass)>) -> String {
    let texts: Vec<String> = ports
        .iter()
        .map(|(port, class)| if class.is_known() { format!("{port} {}", class.word()) } else { port.to_string() })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn listed(ports: &[&str]) -> Vec<ListedPort> {
        let one = |text: &&str| ListedPort {
            port: text.parse().expect("a port"),
            socket: true,
            class: PortClass::Unknown,
            why: Arc::from(""),
            owner: Arc::from(""),
            since: 1,
        };
        ports.iter().map(one).collect()
    }

    fn baseline(nodes: &[(&str, &[&str])]) -> Baseline {
        let nodes: Vec<(NodeName, Vec<ListedPort>)> =
            nodes.iter().map(|(name, ports)| ((*name).into(), listed(ports))).collect();
        Baseline::of("c", 1, nodes.iter().map(|(name, ports)| (name, &ports[..])))
    }

    fn told(baseline: &Baseline, node: &str, ports: &[&str]) -> Vec<String> {
        let drifts = baseline.compare(&node.into(), &listed(ports), true);
        drifts.iter().map(|one| format!("{} {} [{}] [{}]", one.kind.word(), one.port, one.before, one.now)).collect()
    }

    #[test]
    fn new_gone_and_changed() {
        let baseline = baseline(&[("n", &["tcp 0.0.0.0:22", "tcp 127.0.0.1:80", "udp 0.0.0.0:53"])]);
        assert_eq!(
            told(&baseline, "n", &["tcp 0.0.0.0:22", "tcp 0.0.0.0:80", "tcp 0.0.0.0:81"]),
            [
                "gone 53/udp [udp 0.0.0.0:53] []",
                "changed 80/tcp [tcp 127.0.0.1:80] [tcp 0.0.0.0:80]",
                "new 81/tcp [] [tcp 0.0.0.0:81]",
            ]
        );
        assert!(told(&baseline, "n", &["udp 0.0.0.0:53", "tcp 0.0.0.0:22", "tcp 127.0.0.1:80"]).is_empty());
    }

    #[test]
    fn a_class_is_a_word_in_the_file_and_differs_as_a_class() {
        let with = |class| vec![ListedPort { class, ..listed(&["tcp 0.0.0.0:22"]).remove(0) }];
        let saved = |class| {
            let (name, ports) = (NodeName::from("n"), with(class));
            Baseline::of("c", 1, [(&name, &ports[..])].into_iter())
        };
        let text = serde_json::to_string(&saved(PortClass::ByRules)).expect("JSON");
        assert!(text.contains(r#"{"port":"tcp 0.0.0.0:22","class":"by_rules"}"#), "{text}");
        assert!(!serde_json::to_string(&saved(PortClass::Unknown)).expect("JSON").contains("class"));
        let before: Baseline = serde_json::from_str(&text).expect("read back");
        assert!(before.compare(&"n".into(), &with(PortClass::ByRules), true).is_empty());
        let drift = before.compare(&"n".into(), &with(PortClass::Unexpected), true).remove(0);
        assert_eq!(
            (drift.before.as_str(), drift.now.as_str()),
            ("tcp 0.0.0.0:22 by_rules", "tcp 0.0.0.0:22 unexpected")
        );
    }

    #[test]
    fn a_node_that_has_come_is_held_against_all_that_were() {
        let baseline = baseline(&[("a", &["tcp 0.0.0.0:22", "tcp 0.0.0.0:1"]), ("b", &["tcp 0.0.0.0:22"])]);
        assert!(told(&baseline, "c", &["tcp 0.0.0.0:22", "tcp 0.0.0.0:1"]).is_empty());
        assert!(told(&baseline, "c", &["tcp 0.0.0.0:22"]).is_empty());
        assert_eq!(
            told(&baseline, "c", &["tcp 0.0.0.0:9"]),
            ["new 9/tcp [] [tcp 0.0.0.0:9]", "gone 22/tcp [tcp 0.0.0.0:22] []"]
        );
    }

    #[test]
    fn a_file_is_read_back_and_a_foreign_or_broken_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("baseline.json");
        let written = baseline(&[("n", &["tcp6 [::]:22"])]);
        written.write(&path).expect("written");
        assert_eq!(Baseline::read(&path, "c").expect("read"), written);
        let error = Baseline::read(&path, "other").expect_err("another cluster").to_string();
        assert!(error.contains("\"c\"") && error.contains("\"other\""), "{error}");
        let hostile = r#"{"version":1,"cluster":"c","saved":1,"nodes":{"n":[{"port":"tcp what"}]}}"#;
        for text in ["", "{}", "[1]", r#"{"version":3,"cluster":"c","saved":1,"nodes":{}}"#, hostile] {
            fs::write(&path, text).expect("written");
            let error = Baseline::read(&path, "c").expect_err(text).to_string();
            assert!(error.contains("is not a baseline"), "{error}");
        }
        assert!(Baseline::read(&folder.path().join("none"), "c").is_err());
        assert!(written.write(&folder.path().join("no/such/folder")).is_err());
    }

    #[test]
    fn interfaces_scopes_and_ipv6_alone_are_drift() {
        let baseline = baseline(&[("n", &["tcp6 *:8600", "tcp 0.0.0.0%va:8010", "tcp 0.0.0.0%vb:8010"])]);
        assert_eq!(
            told(&baseline, "n", &["tcp6 [::]:8600", "tcp 0.0.0.0%va:8010"]),
            [
                "changed 8010/tcp [tcp 0.0.0.0%va:8010, tcp 0.0.0.0%vb:8010] [tcp 0.0.0.0%va:8010]",
                "changed 8600/tcp [tcp6 *:8600] [tcp6 [::]:8600]",
            ]
        );
    }

    #[test]
    fn a_baseline_of_the_first_form_is_held_against_what_it_could_know() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("baseline.json");
        let text = r#"{"version":1,"cluster":"c","saved":1,"nodes":{"n":[{"port":"tcp6 [::]:22"},
            {"port":"tcp 0.0.0.0:8010"},{"port":"udp6 [fe80::1]:53"}]}}"#;
        fs::write(&path, text).expect("written");
        let baseline = Baseline::read(&path, "c").expect("an earlier version's");
        for v6 in ["tcp6 *:22", "tcp6 [::]:22"] {
            let ports = [v6, "tcp 0.0.0.0%va:8010", "tcp 0.0.0.0%vb:8010", "udp6 [fe80::1%va]:53"];
            assert!(told(&baseline, "n", &ports).is_empty(), "{v6}");
        }
        assert_eq!(
            told(&baseline, "n", &["tcp6 *:22", "tcp 10.0.0.1%va:8010", "udp6 [fe80::1%va]:53"]),
            ["changed 8010/tcp [tcp 0.0.0.0:8010] [tcp 10.0.0.1:8010]"]
        );
    }

    #[test]
    fn very_many_ports_are_saved_and_compared_and_none_is_missing() {
        let texts: Vec<String> =
            (0..120_000u32).map(|at| format!("udp 127.0.{}.1:{}", at / 60_000, at % 60_000 + 1)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("baseline.json");
        baseline(&[("n", &texts)]).write(&path).expect("written");
        let baseline = Baseline::read(&path, "c").expect("read");
        assert!(told(&baseline, "n", &texts).is_empty());
        assert_eq!(
            told(&baseline, "n", &texts[1..]),
            ["changed 1/udp [udp 127.0.0.1:1, udp 127.0.1.1:1] [udp 127.0.1.1:1]"]
        );
    }

    #[test]
    fn links_are_followed_modes_kept_and_what_is_no_regular_file_is_never_replaced() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let written = baseline(&[("n", &["tcp 0.0.0.0:22"])]);

        fs::write(at("real"), "old").expect("written");
        fs::set_permissions(at("real"), fs::Permissions::from_mode(0o640)).expect("a mode");
        symlink("real", at("link")).expect("a link");
        symlink(at("link"), at("link-to-link")).expect("a link");
        written.write(&at("link-to-link")).expect("written");
        assert!(fs::symlink_metadata(at("link")).expect("there").is_symlink());
        assert!(fs::symlink_metadata(at("link-to-link")).expect("there").is_symlink());
        assert_eq!(Baseline::read(&at("real"), "c").expect("read"), written);
        assert_eq!(fs::metadata(at("real")).expect("there").permissions().mode() & 0o777, 0o640);

        symlink("new", at("dangling")).expect("a link");
        written.write(&at("dangling")).expect("written");
        assert_eq!(Baseline::read(&at("new"), "c").expect("read"), written);
        symlink("loop", at("loop")).expect("a link");
        assert!(written.write(&at("loop")).is_err());
        assert!(written.write(folder.path()).is_err());

        let made = std::process::Command::new("mkfifo").arg(at("fifo")).status().expect("mkfifo");
        assert!(made.success());
        let reader = {
            let path = at("fifo");
            std::thread::spawn(move || Baseline::read(&path, "c"))
        };
        written.write(&at("fifo")).expect("written");
        assert_eq!(reader.join().expect("no panic").expect("read"), written);
        assert!(fs::metadata(at("fifo")).expect("there").file_type().is_fifo());

        let open = File::create(at("open")).expect("created");
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)));
        let expected = Target::of(&by_descriptor).expect("a target");
        assert!(matches!(expected, Target::Stream(_)), "{expected:?}");
        written.write(&by_descriptor).expect("written");
        assert_eq!(Baseline::read(&at("open"), "c").expect("read"), written);
        assert!(matches!(Target::of(Path::new("/dev/null")), Ok(Target::Stream(_))));
        assert_eq!(Target::of(Path::new("-")).expect("a target"), Target::Output);
        let left = fs::read_dir(folder.path()).expect("a folder").flatten();
        assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with('.')));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = Baseline::read(Path::new("/dev/zero"), "c").expect_err("no baseline").to_string();
        assert!(error.contains("larger than 256 MiB"), "{error}");
    }
}
