//! The one stream that all nodes' packets go into.
//!
//! Owns what is written and when: at the head and again the names of addresses, packets as they come or one copy of
//! each. Must not know where they come from.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use nodewatch_pcapng::{
    Interface, InterfaceTable, Name, Packet, SectionBlock, comments_before, enhanced_packet, name_resolution,
    section_header,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::oneshot,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};

use super::{Live, LiveError};
use crate::{
    agents::site::Site,
    packets::pairs::{self, Coverage, Pairs, Sighting},
};

/// Names in one block.
const NAMES: usize = 500;
/// Names are asked for again, as pods come and go.
const NAMES_EVERY: Duration = Duration::from_secs(30);
/// The stream does not wait longer for the first ones.
const FIRST_NAMES: Duration = Duration::from_secs(1);
/// How often those that wait for another node's copy are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Bytes on their way out, and packets that wait for copies.
pub(super) struct Sink {
    bytes: Vec<u8>,
    pairs: Option<Pairs>,
    began: Instant,
    started: Started,
    /// Names until the first interface is described: other programs want that first.
    names: Vec<u8>,
    /// Whoever waits for the first interface's name.
    first: Option<oneshot::Sender<String>>,
}

/// Since when nodes capture; one whose stream has ended is not among them.
#[derive(Default)]
struct Started(BTreeMap<String, i64>);

impl Coverage for Started {
    fn covers(&self, node: &str, time: i64) -> bool {
        self.0.get(node).is_some_and(|started| *started <= time)
    }
}

impl Sink {
    pub(super) fn new(live: Live) -> Self {
        Self {
            bytes: Vec::new(),
            pairs: live.pair.map(|within| Pairs::new(within, [])),
            began: Instant::now(),
            started: Started::default(),
            names: Vec::new(),
            first: live.first,
        }
    }

    /// The number of a node's interface; it is described when it is new.
    pub(super) fn interface(&mut self, table: &mut InterfaceTable, node: &str, interface: &Interface) -> u32 {
        let name = format!("{node}/{}", interface.name);
        let number = table.number(&mut self.bytes, &name, node, interface);
        self.bytes.append(&mut self.names);
        if let Some(pairs) = &mut self.pairs {
            pairs.describe(number, &name, interface.link_type);
        }
        if let Some(first) = self.first.take() {
            // Whoever wanted to know may have gone.
            let _ = first.send(name);
        }
        number
    }

    /// A packet that has not come before.
    pub(super) fn packet(&mut self, node: &str, number: u32, packet: &Packet<'_>, options: &[u8]) {
        let Some(pairs) = &mut self.pairs else {
            return enhanced_packet(&mut self.bytes, number, packet.nanos, packet.wire_length, [packet.data], options);
        };
        let time = i64::try_from(packet.nanos).unwrap_or(i64::MAX);
        if !self.started.0.contains_key(node) {
            self.started.0.insert(node.to_owned(), time);
        }
        let (data, wire_length) = (packet.data, packet.wire_length);
        let sighting = Sighting { interface: number, time, ticks: packet.nanos, wire_length, data, options };
        pairs.take(&sighting, since(self.began));
    }

    /// A node's capture has ended.
    pub(super) fn ended(&mut self, node: &str) {
        self.started.0.remove(node);
    }

    fn release(&mut self) {
        if let Some(pairs) = &mut self.pairs {
            pairs.release(since(self.began), &self.started, |packet| put(&mut self.bytes, packet));
        }
    }

    fn end(&mut self) {
        if let Some(pairs) = self.pairs.take() {
            // What it found is in the comments.
            let _ = pairs.end(&self.started, |packet| put(&mut self.bytes, packet));
        }
    }
}

fn since(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

fn put(out: &mut Vec<u8>, packet: &pairs::Packet) {
    let mut options = packet.options.to_vec();
    if let Some(comment) = &packet.comment {
        options.clear();
        comments_before(&mut options, std::slice::from_ref(comment), &packet.options);
    }
    enhanced_packet(out, packet.interface, packet.ticks, packet.wire_length, [&packet.data], &options);
}

/// The stream and whoever reads it.
pub(super) struct Stream<W> {
    out: W,
    pub(super) table: InterfaceTable,
    pub(super) sink: Sink,
    looks: Interval,
    told: BTreeMap<IpAddr, String>,
}

impl<W: AsyncWrite + Unpin> Stream<W> {
    pub(super) async fn begin(mut out: W, live: Live) -> Result<Self, LiveError> {
        let mut header = Vec::new();
        let application = concat!("nodewatch-tui ", env!("CARGO_PKG_VERSION"));
        section_header(&mut header, &SectionBlock { hardware: "", application, comments: &[] });
        out.write_all(&header).await?;
        out.flush().await?;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (table, sink) = (InterfaceTable::default(), Sink::new(live));
        Ok(Self { out, table, sink, looks, told: BTreeMap::new() })
    }

    /// The next time to look at what waits; never where nothing does.
    pub(super) async fn look(&mut self) {
        if self.sink.pairs.is_none() {
            return std::future::pending().await;
        }
        self.looks.tick().await;
    }

    /// What addresses are called now.
    pub(super) fn name(&mut self, found: BTreeMap<IpAddr, String>) {
        let new = |(address, name): &(IpAddr, String)| self.told.get(address) != Some(name);
        let new: Vec<Name> = found.into_iter().filter(new).map(|(address, name)| Name { address, name }).collect();
        for names in new.chunks(NAMES) {
            name_resolution(&mut self.sink.names, names);
        }
        self.told.extend(new.into_iter().map(|one| (one.address, one.name)));
    }

    pub(super) async fn write(&mut self) -> Result<(), LiveError> {
        self.sink.release();
        if !self.table.is_empty() {
            self.sink.bytes.append(&mut self.sink.names);
        }
        if self.sink.bytes.is_empty() {
            return Ok(());
        }
        self.out.write_all(&self.sink.bytes).await?;
        self.out.flush().await?;
        self.sink.bytes.clear();
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<(), LiveError> {
        self.sink.end();
        self.table.write_counts(&mut self.sink.bytes);
        self.out.write_all(&self.sink.bytes).await?;
        self.out.shutdown().await?;
        Ok(())
    }
}

/// What addresses are called, again and again. What it asks for stays asked when nobody waits.
pub(super) struct Naming {
    site: Arc<dyn Site>,
    due: Interval,
    asked: Option<BoxFuture<'static, BTreeMap<IpAddr, String>>>,
}

impl Naming {
    pub(super) fn new(site: Arc<dyn Site>) -> Self {
        let mut due = interval(NAMES_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { site, due, asked: None }
    }

    /// Those that are known at once.
    pub(super) async fn first(&mut self) -> BTreeMap<IpAddr, String> {
        timeout(FIRST_NAMES, self.next()).await.unwrap_or_default()
    }

    pub(super) async fn next(&mut self) -> BTreeMap<IpAddr, String> {
        if self.asked.is_none() {
            self.due.tick().await;
        }
        let found = self.asked.get_or_insert_with(|| self.site.names()).await;
        self.asked = None;
        found
    }
}
