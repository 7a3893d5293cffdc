//! What goes along with a session's captures: one JSON document of every node's captures, files and drops.
//!
//! Owns its form, on the laptop and in S3, and how it is gathered from agents. Must not know the app.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use nodewatch_protocol::{FilePlace, FileRecord, FileState, MANIFEST, RingList, is_manifest, manifest_name};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::{io::AsyncReadExt, time::timeout};

use super::bundle::ListedBundle;
use crate::{
    agents::site::{FilePart, Site},
    base::{
        disk::{self, DiskError},
        text,
    },
    model::{DeployProgress, Held, Node, NodeName, Notice, SessionId},
};

/// A node's manifest is no larger than this.
const MOST: u64 = 16 * 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 10;
/// A file that is larger is no manifest.
const LARGEST: u64 = 256 << 20;

/// A session's captures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionManifest {
    /// The session.
    pub session: SessionId,
    /// The kubeconfig's context that it ran in; none on this machine.
    #[serde(default, alias = "place", deserialize_with = "context")]
    pub context: Option<String>,
    /// When this was written, RFC 3339.
    pub written: String,
    /// Nodes with captures.
    pub nodes: Vec<NodeEntry>,
    /// What the addresses of pods, services and nodes were called then.
    pub names: BTreeMap<IpAddr, String>,
    /// Bundles beside the captures, on the laptop that wrote this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<ListedBundle>,
}

/// Earlier versions wrote it as a place, as a file has one, and had words for this machine.
fn context<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|context| context != "this machine"))
}

/// One node's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The EC2 instance's id.
    pub instance_id: Option<String>,
    /// What its agent remembers.
    #[serde(flatten)]
    pub manifest: RingList,
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

async fn read_manifest(site: &dyn Site, node: &NodeName) -> Option<RingList> {
    let part = FilePart { file: MANIFEST.to_owned(), offset: 0, length: MOST };
    let bulk = site.fetch(node, part).await.ok()?;
    let mut bytes = Vec::new();
    bulk.reader.take(MOST).read_to_end(&mut bytes).await.ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What another session's agents have that nobody else has.
pub async fn held_by(site: &dyn Site, session: SessionId) -> Result<Vec<Held>, Notice> {
    held(site.beside(session).await?).await
}

/// What a site's agents have that nobody else has. One that does not say is an error: what it has is not known.
pub async fn held(site: Arc<dyn Site>) -> Result<Vec<Held>, Notice> {
    let (mut awaited, mut there, mut ended) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut agents = site.attach();
    let mut unseen = None;
    let settle = async {
        while let Some((node, progress)) = agents.next().await {
            match progress {
                DeployProgress::Step(_) => drop(awaited.insert(node)),
                DeployProgress::Running => drop(there.insert(node)),
                // Which agents there are is not known, and not that there are none.
                DeployProgress::Failed(notice) if !awaited.contains(&node) && !there.contains(&node) => {
                    unseen = Some(notice);
                    return;
                }
                DeployProgress::Failed(_) | DeployProgress::Ended(_) => drop(ended.insert(node)),
                // It still answers for as long as it is let.
                DeployProgress::Ending(_) | DeployProgress::Told(_) | DeployProgress::Image(_) => {}
            }
            let is_known = |node: &NodeName| there.contains(node) || ended.contains(node);
            if awaited.iter().all(is_known) {
                return;
            }
        }
    };
    // Those that are not found by then are named below.
    let is_late = timeout(WITHIN, settle).await.is_err();
    if let Some(notice) = unseen {
        return Err(notice);
    }
    if is_late && awaited.is_empty() && there.is_empty() && ended.is_empty() {
        let cause = "the API server does not list the agents";
        return Err(Notice::warning("not all of its agents reported their captures", cause, ""));
    }
    let nodes: Vec<NodeName> = awaited.union(&there).filter(|node| !ended.contains(*node)).cloned().collect();
    let asked = stream::iter(nodes.clone()).map(|node| {
        let site = Arc::clone(&site);
        async move { timeout(WITHIN, read_manifest(&*site, &node)).await.ok().flatten().map(|ring| (node, ring)) }
    });
    let told: Vec<(NodeName, RingList)> = asked.buffered(AT_ONCE).filter_map(async |one| one).collect().await;
    let silent: Vec<&str> =
        nodes.iter().filter(|node| !told.iter().any(|(known, _)| known == *node)).map(|node| node.0.as_str()).collect();
    if !silent.is_empty() {
        let cause = format!("no answer from {}", silent.join(", "));
        return Err(Notice::warning("not all of its agents reported their captures", cause, ""));
    }
    Ok(told
        .into_iter()
        .map(|(node, ring)| held_in(node, &ring))
        .filter(|held| held.capturing || held.files > 0)
        .collect())
}

fn held_in(node: NodeName, ring: &RingList) -> Held {
    let mut running = ring.captures.iter().filter(|capture| capture.ended.is_none());
    let running = running.next_back();
    let capturing = running.is_some();
    let recorder = running.and_then(|capture| capture.spec.recorder).map(|recorder| recorder.seconds.get());
    // How large a file is that is being written its ring's list does not say.
    let is_open = |record: &FileRecord| capturing && record.file.state == FileState::Open;
    let alone =
        |record: &&FileRecord| record.place == FilePlace::Kept && !record.file.is_elsewhere() && !is_open(record);
    let files = || ring.files.iter().filter(alone);
    let (count, bytes) = (files().count() as u64, files().map(|record| record.file.size).sum());
    Held { node, capturing, recorder, files: count, bytes }
}

impl SessionManifest {
    /// Takes over what an earlier document of the same session knows, of other nodes and of other rings of these.
    #[must_use]
    pub fn with(mut self, earlier: Self) -> Self {
        if earlier.session == self.session {
            for entry in earlier.nodes {
                self.add(entry);
            }
            let new = |known: &ListedBundle| !self.bundles.iter().any(|bundle| bundle.file == known.file);
            let missing: Vec<ListedBundle> = earlier.bundles.into_iter().filter(new).collect();
            self.bundles.extend(missing);
            for (address, name) in earlier.names {
                self.names.entry(address).or_insert(name);
            }
        }
        self
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

    /// Takes over of a node what nothing else has told of it.
    pub fn add_missing(&mut self, node: Node, mut known: RingList) {
        if let Some(told) = self.nodes.iter().find(|told| told.manifest.node == known.node) {
            known.files.retain(|record| !told.manifest.files.iter().any(|told| told.file.name == record.file.name));
            known.ring.clone_from(&told.manifest.ring);
        }
        if !known.files.is_empty() {
            self.add(NodeEntry { instance_id: node.instance_id, manifest: known });
        }
    }

    /// Writes it into the folder of captures, adding to what is there of the same session; where. Another session in
    /// that folder has a document of its own.
    pub fn write(self, folder: &Path) -> Result<PathBuf, DiskError> {
        let (path, of_old) = (folder.join(manifest_name(self.session.as_str())), folder.join(MANIFEST));
        // Earlier versions had one name for all sessions.
        let whole = [&path, &of_old].into_iter().filter_map(|path| read(path)).fold(self, Self::with);
        let failed = |error: serde_json::Error| DiskError::Write { path: path.clone(), source: error.into() };
        disk::write_over(&path, text::json_pretty(&whole).map_err(failed)?.as_bytes())
    }
}

fn read(path: &Path) -> Option<SessionManifest> {
    serde_json::from_slice(&disk::read_regular(path, LARGEST).ok()?).ok()
}

/// The documents of all sessions that have left theirs in that folder.
fn read_all(folder: &Path) -> Vec<SessionManifest> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_manifest));
    ours.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| read(&entry.path()))
        .collect()
}

/// Names for addresses from the documents beside these files or in a folder above them. Of two for one address the
/// later counts.
pub fn names_for(files: &[PathBuf]) -> BTreeMap<IpAddr, String> {
    // A file lies in its node's folder, and that in the session's.
    let folders: BTreeSet<&Path> = files.iter().flat_map(|file| file.ancestors().skip(1).take(3)).collect();
    // A file that is named without a folder lies in this one.
    let here = |folder: &&Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() };
    let mut found: Vec<SessionManifest> = folders.iter().map(here).flat_map(|folder| read_all(&folder)).collect();
    found.sort_by(|a, b| (&a.written, &a.session).cmp(&(&b.written, &b.session)));
    found.into_iter().flat_map(|manifest| manifest.names).collect()
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture, stream::BoxStream};

    use super::*;
    use crate::{
        agents::site::{Bulk, OpenError, StreamFrom, Tunnel},
        model::NodesChange,
    };

    /// Agents that are there, or not, and their rings; one without a ring does not answer.
    struct Agents(Vec<(&'static str, DeployProgress, Option<RingList>)>);

    impl Site for Agents {
        fn nodes(&self) -> BoxStream<'static, NodesChange> {
            stream::pending().boxed()
        }

        fn deploy(&self, _nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
            stream::pending().boxed()
        }

        fn attach(&self) -> BoxStream<'static, (NodeName, DeployProgress)> {
            let taken_up = |(name, ..): &(&str, DeployProgress, Option<RingList>)| {
                (NodeName::from(*name), DeployProgress::Step("taking it up again".into()))
            };
            let begun: Vec<_> = self.0.iter().map(taken_up).collect();
            let then: Vec<_> = self.0.iter().map(|(name, now, _)| (NodeName::from(*name), now.clone())).collect();
            stream::iter(begun.into_iter().chain(then)).chain(stream::pending()).boxed()
        }

        fn open(&self, _node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
            async { Err(OpenError::Refused("no tunnel".into())) }.boxed()
        }

        fn fetch(&self, node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
            assert_eq!(part.file, MANIFEST);
            let ring = self.0.iter().find(|(name, ..)| node.0 == *name).and_then(|(_, _, ring)| ring.clone());
            async move {
                let Some(ring) = ring else { return std::future::pending().await };
                let bytes = serde_json::to_vec(&ring).expect("JSON");
                Ok(Bulk { reader: Box::new(std::io::Cursor::new(bytes)), guard: Box::new(()) })
            }
            .boxed()
        }

        fn follow(&self, node: &NodeName, _from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
            let what = format!("nothing follows on {node}");
            async move { Err(OpenError::Refused(what.into())) }.boxed()
        }
    }

    fn ring(files: &[serde_json::Value]) -> RingList {
        let amount = serde_json::json!({"files": 0, "bytes": 0, "packets": 0});
        let ring =
            serde_json::json!({"node": "", "captures": [], "files": files, "delivered": amount, "discarded": amount});
        serde_json::from_value(ring).expect("a ring")
    }

    fn file(name: &str, fetched: bool, place: &str) -> serde_json::Value {
        serde_json::json!({"name": name, "sequence": 1, "size": 10, "packets": 1, "started": 1, "state": "closed",
            "fetched": fetched, "capture": 1, "place": place})
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_agents_have_is_named_before_they_go() {
        let files =
            [file("a", false, "kept"), file("b", true, "kept"), file("c", false, "gone"), file("d", false, "kept")];
        let agents = Agents(vec![
            ("full", DeployProgress::Running, Some(ring(&files))),
            ("empty", DeployProgress::Running, Some(ring(&[]))),
            ("ended", DeployProgress::Ended("its pod was deleted".into()), None),
        ]);
        let held = held(Arc::new(agents)).await.expect("all have said");
        let told: Vec<(&str, u64, u64)> =
            held.iter().map(|held| (held.node.0.as_str(), held.files, held.bytes)).collect();
        assert_eq!(told, [("full", 2, 20)]);
    }

    #[test]
    fn what_is_being_written_is_no_file_of_no_bytes() {
        let open = serde_json::json!({"name": "e", "sequence": 2, "size": 0, "packets": 0, "started": 1,
            "state": "open", "capture": 1, "place": "kept"});
        let mut ring = ring(&[file("d", false, "kept"), open]);
        let spec = nodewatch_protocol::CaptureSpec::default();
        let capture = serde_json::json!({"since": 1, "interfaces": ["eth0"], "spec": spec, "ended": null});
        ring.captures.push(serde_json::from_value(capture).expect("a capture"));
        let held = held_in("a".into(), &ring);
        assert_eq!((held.capturing, held.files, held.bytes), (true, 1, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_does_not_say_what_it_has_is_named() {
        let agents = Agents(vec![
            ("answers", DeployProgress::Running, Some(ring(&[]))),
            ("hangs", DeployProgress::Running, None),
            ("never-came", DeployProgress::Step("waiting for the kubelet".into()), None),
        ]);
        let notice = held(Arc::new(agents)).await.expect_err("not all have said");
        assert_eq!(notice.cause, "no answer from hangs, never-came");
    }

    fn manifest(session: u32, node: &str) -> SessionManifest {
        let entry = RingList { node: node.into(), ..RingList::default() };
        SessionManifest {
            session: SessionId::new(session),
            context: Some("here".into()),
            written: "then".into(),
            nodes: vec![NodeEntry { instance_id: Some("i-1".into()), manifest: entry }],
            names: [("10.0.0.1".parse().expect("an address"), format!("pod of {node}"))].into(),
            bundles: Vec::new(),
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
        assert_eq!(read(&path).expect("read").nodes.len(), 2, "another session's is another document");
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
    fn where_a_session_ran_is_its_context_and_was_its_place() {
        let mut now = serde_json::to_value(manifest(1, "a")).expect("JSON");
        assert_eq!((&now["context"], now.get("place")), (&"here".into(), None));
        now.as_object_mut().expect("an object").remove("context");
        for (place, context) in [("prod (EKS)", Some("prod (EKS)")), ("this machine", None)] {
            let mut old = now.clone();
            old["place"] = place.into();
            let read: SessionManifest = serde_json::from_value(old).expect("an old manifest");
            assert_eq!(read.context.as_deref(), context);
        }
    }

    #[test]
    fn names_are_found_above_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        manifest(1, "a").write(folder.path()).expect("written");
        let names = names_for(&[folder.path().join("a/x.pcapng")]);
        assert_eq!(names.values().collect::<Vec<_>>(), ["pod of a"]);
    }

    #[test]
    fn two_sessions_in_one_folder_both_give_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = manifest(1, "a");
        first.names.insert("10.0.0.2".parse().expect("an address"), "only then".into());
        let first = first.write(folder.path()).expect("written");
        let mut later = manifest(2, "b");
        later.written = "thenceforth".into();
        let later = later.write(folder.path()).expect("written");
        assert_ne!(first, later);
        assert_eq!(read(&first).expect("still there").nodes.len(), 1);
        // As an earlier version wrote it.
        let mut old = manifest(3, "c");
        old.names = [("10.0.0.3".parse().expect("an address"), "of old".to_owned())].into();
        fs::write(folder.path().join(MANIFEST), serde_json::to_vec(&old).expect("JSON")).expect("written");
        let names = names_for(&[folder.path().join("a/x.pcapng"), folder.path().join("b/x.pcapng")]);
        assert_eq!(names.values().collect::<Vec<_>>(), ["pod of b", "only then", "of old"]);
    }
}
