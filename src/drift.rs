//! A baseline of a cluster's open ports, and how today differs from it.
//!
//! Owns the file's form and the comparison. Pure but for reading and writing that file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use nodewatch_protocol::{Port, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::model::{ListedPort, NodeName, PortClass, PortKey};

/// The form of the file.
const VERSION: u32 = 1;

/// A baseline cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The file.
    #[error("cannot {operation} the baseline {path:?}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its contents.
    #[error("{path:?} is no baseline: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is another cluster's.
    #[error("{path:?} is the baseline of cluster {theirs:?}, this is {ours:?}")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The node.
    pub node: NodeName,
    /// What kind of difference.
    pub drift: DriftKind,
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
type ByKey = BTreeMap<PortKey, BTreeSet<(Port, Option<String>)>>;

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

    /// Reads a file; it must be this cluster's.
    pub fn read(path: &Path, cluster: &str) -> Result<Self, BaselineError> {
        let file = |source| BaselineError::File { operation: "read", path: path.to_owned(), source };
        let invalid = |reason: String| BaselineError::Invalid { path: path.to_owned(), reason };
        let text = fs::read_to_string(path).map_err(file)?;
        let baseline: Self = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if baseline.version != VERSION {
            return Err(invalid(format!("its version is {}, this program reads {VERSION}", baseline.version)));
        }
        if baseline.cluster != cluster {
            let (theirs, ours) = (baseline.cluster, cluster.to_owned());
            return Err(BaselineError::OtherCluster { path: path.to_owned(), theirs, ours });
        }
        Ok(baseline)
    }

    /// Writes the file: whole, or not at all.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let file = |source| BaselineError::File { operation: "write", path: path.to_owned(), source };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| file(error.into()))?;
        text.push('\n');
        let part = path.with_extension(format!("part-{}", std::process::id()));
        let written = fs::write(&part, text).and_then(|()| fs::rename(&part, path));
        written.map_err(|source| {
            // What is half written helps nobody.
            let _ = fs::remove_file(&part);
            file(source)
        })
    }

    /// Nodes that it has.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// How a node differs. One that the baseline does not know, as nodes come and go, is held against all of its nodes: a
    /// port is new when none of them has it, and gone when each of them does.
    pub fn compare(&self, node: &NodeName, listed: &[ListedPort]) -> Vec<Drift> {
        let now = by_key(listed.iter().filter(|one| one.socket).map(saved_port));
        let drift = |drift, key: &PortKey, before: String, now: String| Drift {
            node: node.clone(),
            drift,
            port: key.text(),
            before,
            now,
        };
        let Some(before) = self.nodes.get(&node.0) else {
            let all: Vec<ByKey> = self.nodes.values().map(|ports| by_key(ports.iter().cloned())).collect();
            let new = now.iter().filter(|(key, _)| !all.iter().any(|node| node.contains_key(key)));
            let new = new.map(|(key, ports)| drift(DriftKind::New, key, String::new(), text(ports)));
            let common = all.first().into_iter().flatten();
            let gone =
                common.filter(|(key, _)| all.iter().all(|node| node.contains_key(key)) && !now.contains_key(key));
            let gone = gone.map(|(key, ports)| drift(DriftKind::Gone, key, text(ports), String::new()));
            return new.chain(gone).collect();
        };
        let before = by_key(before.iter().cloned());
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

fn saved_port(listed: &ListedPort) -> Saved {
    Saved { port: listed.port, class: listed.class.map(|class: PortClass| class.word().to_owned()) }
}

fn by_key(ports: impl Iterator<Item = Saved>) -> ByKey {
    let mut found = ByKey::new();
    for saved in ports {
        found.entry(saved.port.into()).or_default().insert((saved.port, saved.class));
    }
    found
}

fn text(ports: &BTreeSet<(Port, Option<String>)>) -> String {
    let texts: Vec<String> = ports
        .iter()
        .map(|(port, class)| match class {
            Some(class) => format!("{port} {class}"),
            None => port.to_string(),
        })
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
            class: None,
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
        let drifts = baseline.compare(&node.into(), &listed(ports));
        drifts.iter().map(|one| format!("{} {} [{}] [{}]", one.drift.word(), one.port, one.before, one.now)).collect()
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
        for text in ["", "{}", "[1]", r#"{"version":2,"cluster":"c","saved":1,"nodes":{}}"#, hostile] {
            fs::write(&path, text).expect("written");
            let error = Baseline::read(&path, "c").expect_err(text).to_string();
            assert!(error.contains("is no baseline"), "{error}");
        }
        assert!(Baseline::read(&folder.path().join("none"), "c").is_err());
        assert!(written.write(&folder.path().join("no/such/folder")).is_err());
    }
}
