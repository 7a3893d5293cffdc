//! A site whose agents are real and live in this process, over in-memory streams that a test can spoil.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use nodewatch_agent::{
    hub::{Hub, HubHandle, NodeFacts},
    lifetime::Lifetime,
    live::{From, follow},
    ring::{Ring, store::Store},
    server,
};
use nodewatch_pcapng::{self as pcapng, SectionBlock};
use nodewatch_tui::{
    agents::site::{Bulk, FilePart, OpenError, Site, StreamFrom, Tunnel},
    model::{DeployProgress, Machine, Node, NodeName, NodesChange, Place, Readiness, SessionId},
    runtime::Engine,
    screens::{App, Input},
    session::{Happened, Terms},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How a node's tunnels behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Bytes that are no protocol.
    Garbage,
    /// An agent of another protocol version.
    OtherVersion,
    /// Opened and then silent.
    Refused,
}

pub struct TestSite {
    nodes: Vec<(NodeName, Behaviour)>,
    pub hub: HubHandle,
    pub store: Store,
    /// Open tunnels, to be cut.
    tunnels: Mutex<Vec<tokio::task::AbortHandle>>,
    pub opened: AtomicUsize,
    /// A bulk stream is cut after so many bytes.
    pub cut_bulk_after: Option<u64>,
    /// Bulk streams carry one wrong byte.
    pub corrupt: bool,
    pub bulks: AtomicUsize,
}

impl TestSite {
    pub fn new(nodes: &[(&str, Behaviour)], ring: &Path) -> Self {
        let store = Store::open(ring).expect("a ring");
        let facts = NodeFacts { hostname: "test".into(), ..NodeFacts::default() };
        Self {
            nodes: nodes.iter().map(|&(name, behaviour)| (name.into(), behaviour)).collect(),
            hub: Hub::spawn(
                facts,
                Ring::open(store.clone(), "test").expect("a ring"),
                Lifetime::begin(None, None, None),
            )
            .expect("a hub"),
            store,
            tunnels: Mutex::default(),
            opened: AtomicUsize::new(0),
            cut_bulk_after: None,
            corrupt: false,
            bulks: AtomicUsize::new(0),
        }
    }

    pub fn cut_tunnels(&self) {
        for tunnel in self.tunnels.lock().expect("whole").drain(..) {
            tunnel.abort();
        }
    }
}

/// Puts a capture file with so many packets into a ring, as an agent before this one has left it.
pub fn leave_file(ring: &Path, name: &str, packets: usize) {
    let mut bytes = Vec::new();
    pcapng::section_header(&mut bytes, &SectionBlock { hardware: "test", application: "test", comments: &[] });
    let interface = pcapng::InterfaceBlock { name: "eth0", link_type: 1, snaplen: 0, filter: None, description: "" };
    pcapng::interface_description(&mut bytes, &interface);
    for packet in 0..packets {
        pcapng::enhanced_packet(&mut bytes, 0, packet as u64, 100, [&[packet as u8; 100]], &[]);
    }
    std::fs::write(ring.join(name), bytes).expect("written");
}

fn node(name: &NodeName) -> Node {
    Node {
        name: name.clone(),
        readiness: Readiness::Ready,
        cordoned: false,
        zone: None,
        instance_type: None,
        addresses: vec![],
        labels: BTreeMap::new(),
        version: None,
        uid: None,
        created: None,
        instance_id: None,
        kubelet_port: None,
        machine: Machine::default(),
    }
}

impl Site for TestSite {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        let nodes = self.nodes.iter().map(|(name, _)| node(name)).collect();
        stream::iter([NodesChange::Replaced(nodes)]).chain(stream::pending()).boxed()
    }

    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::iter(nodes).map(|name| (name, DeployProgress::Running)).chain(stream::pending()).boxed()
    }

    fn open(&self, name: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.nodes.iter().find(|(known, _)| known == name).expect("a known node").1;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (reader, writer) = tokio::io::split(ours);
        let hub = self.hub.clone();
        let agent = tokio::spawn(async move {
            let (reader, mut writer) = tokio::io::split(theirs);
            let line: &[u8] = match behaviour {
                Behaviour::Good => {
                    // The test sees by the app what became of it.
                    let _ = server::serve(reader, writer, &hub).await;
                    return;
                }
                Behaviour::Garbage => b"\x1b[2J\x00 no protocol \xff\n",
                Behaviour::OtherVersion => {
                    b"{\"hello\":{\"protocol\":99,\"program\":\"nodewatch-agent\",\"version\":\"9.9.9\"}}\n"
                }
                Behaviour::Refused => return,
            };
            writer.write_all(line).await.expect("room");
            std::future::pending::<()>().await;
        });
        self.tunnels.lock().expect("whole").push(agent.abort_handle());
        async move { Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(()) }) }.boxed()
    }

    fn follow(&self, _node: &NodeName, from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        let (store, (reader, writer)) = (self.store.clone(), std::io::pipe().expect("a pipe"));
        std::thread::spawn(move || {
            // The end of the pipe is what the reader sees of a failure.
            let from = From { since: from.since, capture: from.capture, rate: from.rate };
            let _ = follow(&store, &from, &mut std::io::BufWriter::new(writer));
        });
        let reader = tokio::fs::File::from_std(std::os::fd::OwnedFd::from(reader).into());
        async { Ok(Bulk { reader: Box::new(reader), guard: Box::new(()) }) }.boxed()
    }

    fn fetch(&self, _node: &NodeName, part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        self.bulks.fetch_add(1, Ordering::Relaxed);
        let file = self.store.read_from(&part.file, part.offset);
        let length = self.cut_bulk_after.map_or(part.length, |cut| cut.min(part.length));
        let corrupt = self.corrupt;
        async move {
            let file = tokio::fs::File::from_std(file.map_err(|error| OpenError::Refused(error.into()))?);
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes).await.map_err(|error| OpenError::Refused(error.into()))?;
            if corrupt && let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            Ok(Bulk { reader: Box::new(std::io::Cursor::new(bytes)), guard: Box::new(()) })
        }
        .boxed()
    }
}

/// The engine over a test site, with waiting for states.
pub struct Driver {
    pub engine: Engine<App>,
    pub ended: bool,
}

impl Driver {
    pub fn start(site: Arc<TestSite>, out: &Path) -> Self {
        let place = Place::Cluster { context: "test".into(), flavour: None };
        let terms = Terms::new(place, SessionId::new(0x7f3a_91c2), Duration::from_secs(3600));
        Self { engine: Engine::start(terms, site, out.to_owned()), ended: false }
    }

    pub fn app(&self) -> &App {
        &self.engine.state
    }

    pub fn send(&mut self, happened: impl Into<Happened<Input>>) {
        self.ended |= self.engine.handle(happened);
    }

    /// Takes in events until the app is so.
    pub async fn until(&mut self, what: &str, so: impl Fn(&App) -> bool) {
        let waited = async {
            while !so(&self.engine.state) && !self.ended {
                let event = self.engine.next().await;
                self.ended |= self.engine.handle(event);
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), waited).await;
        assert!(in_time.is_ok(), "{what} did not come about");
    }
}
