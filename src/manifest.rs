//! What goes along with a session's captures: one JSON document of every node's captures, files and drops.
//!
//! Owns its form, on the laptop and in S3, and how it is gathered from agents. Must not know the app.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use nodewatch_protocol::{MANIFEST, NodeManifest};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt, time::timeout};

use crate::{
    model::{Node, NodeName, SessionId},
    site::{FilePart, Site},
};

/// A node's manifest is no larger than this.
const MOST: u64 = 16 * 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 10;

/// A session's captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionManifest {
    /// The session.
    pub session: SessionId,
    /// Where it ran.
    pub place: String,
    /// When this was written, RFC 3339.
    pub written: String,
    /// Nodes with captures.
    pub nodes: Vec<NodeEntry>,
    /// What the addresses of pods, services and nodes were called then.
    pub names: BTreeMap<IpAddr, String>,
}

/// One node's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The EC2 instance's id.
    pub instance_id: Option<String>,
    /// What its agent remembers.
    #[serde(flatten)]
    pub manifest: NodeManifest,
}

/// Asks the agents of these nodes; one that does not answer is left out.
pub async fn gather(site: Arc<dyn Site>, nodes: Vec<Node>) -> Vec<NodeEntry> {
    let asked = stream::iter(nodes).map(|node| of_node(Arc::clone(&site), node)).buffered(AT_ONCE);
    let answers: Vec<Option<NodeEntry>> = asked.collect().await;
    answers.into_iter().flatten().filter(|entry| !entry.manifest.captures.is_empty()).collect()
}

async fn of_node(site: Arc<dyn Site>, node: Node) -> Option<NodeEntry> {
    let manifest = timeout(WITHIN, read_manifest(&*site, &node.name)).await.ok().flatten()?;
    Some(NodeEntry { instance_id: node.instance_id, manifest })
}

async fn read_manifest(site: &dyn Site, node: &NodeName) -> Option<NodeManifest> {
    let part = FilePart { file: MANIFEST.to_owned(), offset: 0, length: MOST };
    let bulk = site.fetch(node, part).await.ok()?;
    let mut bytes = Vec::new();
    bulk.reader.take(MOST).read_to_end(&mut bytes).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl SessionManifest {
    /// Takes over what an earlier document of the same session knows, of other nodes and of other rings of these.
    #[must_use]
    pub fn with(mut self, earlier: Self) -> Self {
        if earlier.session == self.session {
            for entry in earlier.nodes {
                self.add(entry);
            }
            for (address, name) in earlier.names {
                self.names.entry(address).or_insert(name);
            }
        }
        self
    }

    fn write_part(&self, part: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(part)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()
    }

    /// What is known of a node from somewhere else too.
    pub fn add(&mut self, entry: NodeEntry) {
        match self.nodes.iter_mut().find(|known| known.manifest.node == entry.manifest.node) {
            Some(known) => {
                known.instance_id = known.instance_id.take().or(entry.instance_id);
                known.manifest = std::mem::take(&mut known.manifest).join(entry.manifest);
            }
            None => self.nodes.push(entry),
        }
    }

    /// Writes it into the session's folder, adding to what is there; where.
    pub fn write(self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join(MANIFEST);
        let whole = match read(&path) {
            Some(earlier) => self.with(earlier),
            None => self,
        };
        fs::create_dir_all(folder)?;
        let part = folder.join(format!("{MANIFEST}.part"));
        let written = whole.write_part(&part).and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            // Nobody goes on with it, and room may be short.
            let _ = fs::remove_file(&part);
        }
        written.map(|()| path)
    }
}

fn read(path: &Path) -> Option<SessionManifest> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Names for addresses from the documents beside these files or in a folder above them.
pub fn names_for(files: &[PathBuf]) -> BTreeMap<IpAddr, String> {
    let mut names = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for file in files {
        // A file lies in its node's folder, and that in the session's.
        for folder in file.ancestors().skip(1).take(3) {
            if seen.insert(folder.to_owned())
                && let Some(manifest) = read(&folder.join(MANIFEST))
            {
                names.extend(manifest.names);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(session: u32, node: &str) -> SessionManifest {
        let entry = NodeManifest { node: node.into(), ..NodeManifest::default() };
        SessionManifest {
            session: SessionId::new(session),
            place: "here".into(),
            written: "then".into(),
            nodes: vec![NodeEntry { instance_id: Some("i-1".into()), manifest: entry }],
            names: [("10.0.0.1".parse().expect("an address"), format!("pod of {node}"))].into(),
        }
    }

    #[test]
    fn a_node_that_has_left_stays_in_the_document_of_its_session() {
        let folder = tempfile::tempdir().expect("a folder");
        manifest(1, "a").write(folder.path()).expect("written");
        let path = manifest(1, "b").write(folder.path()).expect("written");
        let whole = read(&path).expect("read");
        let nodes: Vec<&str> = whole.nodes.iter().map(|entry| entry.manifest.node.as_str()).collect();
        assert_eq!(nodes, ["b", "a"]);
        manifest(2, "c").write(folder.path()).expect("written");
        assert_eq!(read(&path).expect("read").nodes.len(), 1, "another session's is another document");
    }

    #[test]
    fn a_second_ring_of_a_node_takes_nothing_from_the_first() {
        let mut first = manifest(1, "a");
        first.nodes[0].manifest.ring = "one".into();
        first.nodes[0].manifest.delivered.files = 2;
        let mut second = manifest(1, "a");
        second.nodes[0].manifest.ring = "two".into();
        second.nodes[0].manifest.delivered.files = 1;
        let whole = second.with(first);
        assert_eq!((whole.nodes.len(), whole.nodes[0].manifest.delivered.files), (1, 3));
    }

    #[test]
    fn names_are_found_above_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        manifest(1, "a").write(folder.path()).expect("written");
        let names = names_for(&[folder.path().join("a/x.pcapng")]);
        assert_eq!(names.values().collect::<Vec<_>>(), ["pod of a"]);
    }
}
