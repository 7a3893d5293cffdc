//! A site of many nodes whose agents are written lines over in-memory streams.

use std::time::Duration;

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use nodewatch_protocol::{
    CaptureSpec, CaptureState, Dropped, FromAgent, Hello, PortsKind, PortsUpdate, Share, SignalSeries, SignalsUpdate,
    Statistics, Sums, Update, Window, encode,
};
use nodewatch_tui::{
    agents::site::{Bulk, FilePart, OpenError, Site, StreamFrom, Tunnel},
    model::{DeployProgress, Node, NodeName, NodesChange, Readiness},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{NODES, sample};

/// Nodes whose agents tell something every second.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Signals and symptoms too.
    pub watched: bool,
}

/// The node with that number.
pub fn name(index: usize) -> NodeName {
    NodeName(format!("ip-10-0-{}-{}", index / 250, index % 250))
}

impl Site for Crowd {
    fn nodes(&self) -> BoxStream<'static, NodesChange> {
        let node = |index| Node {
            readiness: Readiness::Ready,
            zone: Some("eu-west-1a".into()),
            instance_type: Some("m5.large".into()),
            ..Node::named(name(index))
        };
        let all = (0..NODES).map(node).collect();
        stream::iter([NodesChange::Replaced(all)]).chain(stream::pending()).boxed()
    }

    fn deploy(&self, nodes: Vec<NodeName>) -> BoxStream<'static, (NodeName, DeployProgress)> {
        stream::iter(nodes).map(|node| (node, DeployProgress::Running)).chain(stream::pending()).boxed()
    }

    fn open(&self, node: &NodeName) -> BoxFuture<'static, Result<Tunnel, OpenError>> {
        let (watched, number) = (self.watched, (0..NODES).position(|index| name(index) == *node).unwrap_or_default());
        async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(agent(theirs, watched, number));
            let (reader, writer) = tokio::io::split(ours);
            Ok(Tunnel { reader: Box::new(reader), writer: Box::new(writer), guard: Box::new(()) })
        }
        .boxed()
    }

    fn follow(&self, _node: &NodeName, _from: StreamFrom) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        async { Err(OpenError::Refused("no capture here".into())) }.boxed()
    }

    fn fetch(&self, _node: &NodeName, _part: FilePart) -> BoxFuture<'static, Result<Bulk, OpenError>> {
        async { Err(OpenError::Refused("no files here".into())) }.boxed()
    }
}

/// Every signal there is.
pub fn every_signal() -> Vec<SignalSeries> {
    let series = |(signal, id): (&nodewatch_signals::Signal, u32)| SignalSeries {
        id,
        name: signal.name.into(),
        item: if signal.scope.has_items() { "eth0".into() } else { String::new() },
        value: 1000,
        total: 0,
    };
    nodewatch_signals::SIGNALS.iter().zip(0..).map(series).collect()
}

/// In milliseconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64
}

/// What is told once by one that watches.
fn watches() -> [Update; 2] {
    let told = every_signal();
    [Update::Signals(SignalsUpdate { since: Some(1), told, ..SignalsUpdate::default() }), sample::on()]
}

/// A second of one that watches: thirty signals have moved, twenty pairs have talked, and on one node in ten a pod does not
/// answer everybody.
fn seen(node: usize, second: u64) -> [Update; 2] {
    let at = now();
    let moved = (0..30).map(|id| (id * 4, 1 + u64::from(id) * second % 7)).collect();
    let mut symptoms = if node.is_multiple_of(10) { sample::unanswered(2) } else { sample::symptoms("eth0", vec![]) };
    for pair in 0..20 {
        let from = format!("10.{}.{}.{pair}", 1 + node / 250, node % 250);
        symptoms.pairs.push(sample::pair(&from, &format!("10.9.{}.{}", node % 7, pair % 5), 443, &[]));
    }
    symptoms.sums = Sums::default();
    for pair in &symptoms.pairs {
        symptoms.sums += Sums::of(pair);
    }
    let client = std::net::Ipv4Addr::from(0x0A64_0000 + node as u32).into();
    for (case, told) in symptoms.cases.iter_mut().zip([0, 1]) {
        case.began += (at as i64 - sample::NOW as i64 - 2_000) * 1_000_000;
        (case.source, case.ports.0) = (client, 30_000 + (second * 2 + told) as u16 % 20_000);
    }
    if !symptoms.cases.is_empty() {
        symptoms.pairs[0].source = client;
    }
    symptoms.at = at;
    let signals = SignalsUpdate { at, moved, ..SignalsUpdate::default() };
    [Update::Signals(signals), Update::Symptoms(Box::new(symptoms))]
}

/// An agent with twenty ports and a capture.
async fn agent(stream: tokio::io::DuplexStream, watched: bool, number: usize) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let opened = (1000..1020).map(|port| format!("tcp 0.0.0.0:{port}").parse().unwrap()).collect();
    let spec = CaptureSpec::default();
    for message in [
        FromAgent::Hello(Hello::of("nodewatch-agent", "0")),
        FromAgent::Update(Update::Ports(PortsUpdate {
            at: 0,
            kind: PortsKind::Snapshot,
            opened,
            closed: vec![],
            more: false,
        })),
        FromAgent::Update(Update::Capture(CaptureState::Running { since: 0, interfaces: vec!["eth0".into()], spec })),
    ] {
        writer.write_all(&encode(&message).unwrap()).await.unwrap();
    }
    for update in watches().into_iter().filter(|_| watched) {
        writer.write_all(&encode(&FromAgent::Update(update)).unwrap()).await.unwrap();
    }
    let mut asked = [0; 4096];
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut elapsed = 0;
    loop {
        tokio::select! {
            read = reader.read(&mut asked) => if read.is_ok_and(|read| read > 0) { continue } else { return },
            _ = second.tick() => {}
        }
        elapsed += 1000;
        let statistics = Statistics {
            at: elapsed,
            elapsed,
            packets: elapsed * 10,
            bytes: elapsed * 9000,
            window: Window { millis: 1000, packets: 10_000 + elapsed % 777, bytes: 9_000_000 },
            dropped: Dropped::default(),
            interfaces: vec![],
            mix: vec![],
            sizes: [1; 7],
            flows: vec![],
            flows_tracked: 0,
            flows_overflow: Share::default(),
            left_out: Share::default(),
        };
        let watching = watched.then(|| seen(number, elapsed / 1000)).into_iter().flatten();
        for update in std::iter::once(Update::Statistics(Box::new(statistics))).chain(watching) {
            if writer.write_all(&encode(&FromAgent::Update(update)).unwrap()).await.is_err() {
                return;
            }
        }
    }
}
