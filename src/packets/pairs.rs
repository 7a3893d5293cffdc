//! Which copies that several nodes have captured are the same packet: one of each goes on, with what every node saw.
//!
//! Owns what a packet is known by on its way between hosts, how long copies wait for each other, and what is claimed of
//! one that only one node has. Memory is bounded: what cannot wait any longer goes on, and nothing is claimed of it.
//! What changes on the way (hops left, checksums, addresses of the link) is not looked at; behind NAT a packet is
//! another one.

mod ends;
mod flows;
mod said;

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    net::IpAddr,
};

use super::{
    Headers, Transport,
    line::{line, time_of_day},
};
use ends::Ends;
use flows::{Covered, Flows};
pub use said::{Clock, Conversation, OneSide, Paired};

/// How long copies wait for each other, in nanoseconds, where nobody says otherwise.
pub const WITHIN: i64 = 5_000_000_000;
/// Bytes of packets that wait, and what each takes beside them.
const MOST_HELD: usize = 192 * 1024 * 1024;
const OVERHEAD: usize = 256;
/// Of copies that look alike, so many at each of two places are compared with a new one.
const ALIKE: usize = 64;
/// Copies that are no further apart than this, against what is usual, are taken in the order in which they came; of
/// others the nearest. A sender waits longer before it sends the same again.
const NEAR: i64 = 50_000_000;
/// Flags of TCP that stay as they are on the way: not those of congestion.
const STAYING: u8 = 0x3F;
/// More bytes than this in one UDP packet were split or joined by a network card or kernel.
const DATAGRAM: u32 = 1500;

/// What a packet is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
    fragment: (u16, bool),
    length: u32,
    transport: [u32; 4],
}

impl Identity {
    fn of(headers: &Headers<'_>) -> Self {
        let both = |(from, to): (u16, u16)| u32::from(from) << 16 | u32::from(to);
        let transport = match headers.transport {
            Transport::Tcp { ports, sequence, acknowledged, flags, .. } => {
                [both(ports), sequence, acknowledged, (flags & STAYING).into()]
            }
            Transport::Udp { ports } => [both(ports), 0, 0, 0],
            Transport::Icmp { kind: (kind, code), rest } => [u32::from(kind) << 8 | u32::from(code), rest, 0, 0],
            Transport::Other => [0; 4],
        };
        Self {
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            id: headers.id,
            fragment: headers.fragment,
            length: headers.length,
            transport,
        }
    }
}

/// A copy as it comes.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Which of the interfaces that were described.
    pub interface: u32,
    /// When it was captured, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// The same as its interface counts it.
    pub ticks: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: &'a [u8],
    /// Its encoded options.
    pub options: &'a [u8],
}

/// A packet that goes on.
#[derive(Debug)]
pub struct Packet {
    /// The interface of the copy that came first.
    pub interface: u32,
    /// When that was captured.
    pub time: i64,
    /// The same as its interface counts it.
    pub ticks: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: Box<[u8]>,
    /// Its encoded options, as they came.
    pub options: Box<[u8]>,
    /// What is said of who has seen it.
    pub comment: Option<String>,
}

struct Held {
    packet: Packet,
    /// By the clock that releases.
    at: i64,
    identity: Option<Identity>,
    /// The first byte of its payload.
    payload: usize,
    payload_length: usize,
    /// Who else has seen it: the interface, and when.
    others: Vec<(u32, i64)>,
    /// Nodes whose copy may have gone on when it came.
    late: Vec<usize>,
}

/// Packets that wait and are known by the same.
#[derive(Default)]
struct Alike {
    /// In the order in which they came.
    numbers: VecDeque<u64>,
    /// By interface: the last one that a copy from there was the same as. The next is most often behind it.
    reached: Vec<(u32, u64)>,
}

impl Alike {
    fn reach(&mut self, interface: u32, number: u64) {
        match self.reached.iter_mut().find(|(known, _)| *known == interface) {
            Some((_, reached)) => *reached = number.max(*reached),
            None => self.reached.push((interface, number)),
        }
    }

    /// Those that a copy from an interface is compared with: around where it has got to, and around those of its time,
    /// before which are those for which `earlier` says so. A stream of datagrams has very many that look alike.
    fn near(&self, interface: u32, earlier: impl Fn(u64) -> bool) -> impl Iterator<Item = u64> {
        let reached = self.reached.iter().find(|(known, _)| *known == interface).map_or(0, |(_, reached)| *reached);
        let behind = self.numbers.partition_point(|number| *number <= reached).saturating_sub(ALIKE / 4);
        let then = self.numbers.partition_point(|number| earlier(*number)).saturating_sub(ALIKE / 2);
        let (first, second) = (behind.min(then), behind.max(then).max(behind.min(then) + ALIKE));
        let around = |at: usize| self.numbers.iter().skip(at).take(ALIKE).copied();
        around(first).chain(around(second))
    }
}

impl Held {
    fn bytes(&self) -> usize {
        self.packet.data.len() + self.packet.options.len() + OVERHEAD
    }

    fn payload(&self) -> &[u8] {
        &self.packet.data[self.payload..self.payload + self.payload_length]
    }
}

struct Interface {
    node: usize,
    name: String,
    link_type: u16,
}

/// Whether a node captured at a moment.
pub trait Coverage {
    /// True where that is known.
    fn covers(&self, node: &str, time: i64) -> bool;
}

/// Copies that wait for each other.
pub struct Pairs {
    within: i64,
    nodes: Vec<String>,
    interfaces: Vec<Option<Interface>>,
    held: VecDeque<Held>,
    /// The number of the first that is held.
    first: u64,
    bytes: usize,
    waiting: HashMap<Identity, Alike>,
    /// By node: the latest time of its packets that have gone on.
    gone: Vec<Option<i64>>,
    flows: Flows,
    ends: Ends,
    /// Names of addresses: where a node is called like it, its packets are expected there.
    names: HashMap<IpAddr, String>,
    paired: Paired,
}

impl Pairs {
    /// Copies wait so many nanoseconds for each other.
    pub fn new(within: i64, names: impl IntoIterator<Item = (IpAddr, String)>) -> Self {
        Self {
            within,
            nodes: Vec::new(),
            interfaces: Vec::new(),
            held: VecDeque::new(),
            first: 0,
            bytes: 0,
            waiting: HashMap::new(),
            gone: Vec::new(),
            flows: Flows::default(),
            ends: Ends::default(),
            names: names.into_iter().collect(),
            paired: Paired::default(),
        }
    }

    /// Packets of that number are of this interface, which is called `NODE/NAME`.
    pub fn describe(&mut self, number: u32, name: &str, link_type: u16) {
        let at = number as usize;
        if self.interfaces.len() <= at {
            self.interfaces.resize_with(at + 1, || None);
        }
        if self.interfaces[at].is_none() {
            let node = node_of(name);
            let node = self.nodes.iter().position(|known| known == node).unwrap_or_else(|| {
                self.nodes.push(node.to_owned());
                self.gone.push(None);
                self.nodes.len() - 1
            });
            self.interfaces[at] = Some(Interface { node, name: name.to_owned(), link_type });
        }
    }

    /// Takes a copy in. `at` is the time by which copies wait, and never runs back.
    pub fn take(&mut self, copy: &Sighting<'_>, at: i64) {
        let known = self.interfaces.get(copy.interface as usize).and_then(Option::as_ref);
        let node = known.map(|interface| interface.node);
        let headers = known.and_then(|known| Headers::of(known.link_type, copy.data, copy.wire_length));
        let identity = headers.as_ref().map(Identity::of);
        if let (Some(node), Some(headers), Some(identity)) = (node, &headers, identity)
            && let Some(number) = self.same(identity, headers.payload, copy.interface, copy.time)
        {
            self.join(number, node, copy);
            return;
        }
        let number = self.first + self.held.len() as u64;
        let (mut payload, mut payload_length) = (0, 0);
        let mut late = Vec::new();
        if let (Some(node), Some(headers), Some(identity)) = (node, &headers, identity) {
            // It is a part of the same bytes.
            payload = headers.payload.as_ptr() as usize - copy.data.as_ptr() as usize;
            payload_length = headers.payload.len();
            if payload_length == 0 {
                payload = 0;
            }
            self.waiting.entry(identity).or_default().numbers.push_back(number);
            late = self.gone_before(&identity, node, copy.time);
            self.flows.add(headers, node, number);
        }
        let packet = Packet {
            interface: copy.interface,
            time: copy.time,
            ticks: copy.ticks,
            wire_length: copy.wire_length,
            data: copy.data.into(),
            options: copy.options.into(),
            comment: None,
        };
        let held = Held { packet, at, identity, payload, payload_length, others: Vec::new(), late };
        self.bytes += held.bytes();
        self.held.push_back(held);
    }

    /// The one that waits and is the same packet, seen elsewhere.
    fn same(&self, identity: Identity, payload: &[u8], interface: u32, time: i64) -> Option<u64> {
        let usual = self.ends.usual(&identity, self.node(interface));
        let fits = |number: &u64| {
            let Some(held) = self.held.get((*number - self.first) as usize) else { return false };
            let again = held.packet.interface == interface || held.others.iter().any(|(other, _)| *other == interface);
            // Nodes may keep more or less of a packet.
            let most = held.payload_length.min(payload.len());
            !again && held.payload()[..most] == payload[..most]
        };
        let away = |number: u64| {
            let Some(held) = self.held.get((number - self.first) as usize) else { return i64::MAX };
            let expected = usual(self.node(held.packet.interface));
            time.saturating_sub(held.packet.time).saturating_sub(expected).saturating_abs()
        };
        let earlier = |number: u64| {
            let held = self.held.get((number - self.first) as usize);
            held.is_some_and(|held| held.packet.time.saturating_add(usual(self.node(held.packet.interface))) < time)
        };
        let candidates: Vec<u64> = self.waiting.get(&identity)?.near(interface, earlier).filter(fits).collect();
        let near = candidates.iter().copied().find(|number| away(*number) <= NEAR);
        near.or_else(|| candidates.into_iter().min_by_key(|number| away(*number)))
    }

    /// Other nodes whose packets of that time have gone on already: nobody knows whether this one was among them.
    fn gone_before(&self, identity: &Identity, node: usize, time: i64) -> Vec<usize> {
        let usual = self.ends.usual(identity, node);
        let others = self.gone.iter().enumerate().filter(|(other, _)| *other != node);
        let gone = others.filter(|(other, gone)| gone.is_some_and(|gone| time.saturating_sub(usual(*other)) <= gone));
        gone.map(|(other, _)| other).collect()
    }

    /// It came too late for a node that would have it too. That one with another clock is ahead means nothing.
    fn is_late(&self, held: &Held, identity: &Identity, node: usize) -> bool {
        !held.late.is_empty() && self.expected(identity, node).iter().any(|other| held.late.contains(other))
    }

    fn node(&self, interface: u32) -> usize {
        self.interfaces.get(interface as usize).and_then(Option::as_ref).map_or(usize::MAX, |one| one.node)
    }

    fn join(&mut self, number: u64, node: usize, copy: &Sighting<'_>) {
        let first_node = match self.held.get((number - self.first) as usize) {
            Some(held) => self.node(held.packet.interface),
            None => return,
        };
        let Some(held) = self.held.get_mut((number - self.first) as usize) else { return };
        held.others.push((copy.interface, copy.time));
        let Some(identity) = held.identity else { return };
        if let Some(alike) = self.waiting.get_mut(&identity) {
            alike.reach(copy.interface, number);
        }
        if node != first_node {
            self.ends.matched(&identity, (first_node, held.packet.time), (node, copy.time));
            self.flows.matched(number);
        }
    }

    /// Gives out what need not wait any longer, in the order in which it came.
    pub fn release(&mut self, now: i64, coverage: &impl Coverage, mut give: impl FnMut(&Packet)) {
        while let Some(front) = self.held.front() {
            let waited = front.at.saturating_add(self.within) <= now;
            if !waited && self.bytes <= MOST_HELD {
                break;
            }
            let Some(held) = self.held.pop_front() else { break };
            self.bytes -= held.bytes();
            let number = self.first;
            self.first += 1;
            self.forget(&held, number);
            let node = self.node(held.packet.interface);
            if let Some(gone) = self.gone.get_mut(node) {
                *gone = (*gone).max(Some(held.packet.time));
            }
            let at = held.at;
            self.judge(held, number, waited, coverage, &mut give);
            self.flows.done_with(number, at, self.within);
        }
    }

    /// Gives out all that is left.
    pub fn end(mut self, coverage: &impl Coverage, give: impl FnMut(&Packet)) -> Paired {
        self.release(i64::MAX, coverage, give);
        self.ends.into_said(&self.nodes, &mut self.paired);
        self.paired
    }

    fn forget(&mut self, held: &Held, number: u64) {
        let Some(identity) = held.identity else { return };
        if let Some(alike) = self.waiting.get_mut(&identity) {
            // They go in the order in which they came.
            if alike.numbers.front() == Some(&number) {
                alike.numbers.pop_front();
            }
            if alike.numbers.is_empty() {
                self.waiting.remove(&identity);
            }
        }
    }

    fn judge(
        &mut self,
        mut held: Held,
        number: u64,
        waited: bool,
        coverage: &impl Coverage,
        give: &mut impl FnMut(&Packet),
    ) {
        let node = self.node(held.packet.interface);
        let elsewhere = held.others.iter().any(|(interface, _)| self.node(*interface) != node);
        let Some(identity) = held.identity else {
            self.paired.others += 1;
            return give(&held.packet);
        };
        if elsewhere {
            self.paired.pairs += 1;
            held.packet.comment = Some(self.who_saw(&held));
            return give(&held.packet);
        }
        match self.flows.covered(number, node) {
            Covered::ByKept => {
                self.paired.left_out += 1;
                return;
            }
            Covered::Wholly(other) => {
                self.paired.segments += 1;
                let name = self.nodes.get(other).map_or("", String::as_str);
                held.packet.comment = Some(format!("{}; on {name} in other segments", self.who_saw(&held)));
            }
            _ if !waited || self.is_late(&held, &identity, node) => self.paired.let_go += 1,
            Covered::InPart(other, seen) => {
                let name = self.nodes.get(other).map_or("", String::as_str);
                let what = format!("seen on {name} only in part: {seen} of {} bytes", identity.length);
                self.only_here(&mut held, &identity, node, coverage, &what);
            }
            Covered::Not => self.only_here(&mut held, &identity, node, coverage, ""),
        }
        give(&held.packet);
    }

    /// Says of a packet that one node has that others have not, where they would have to.
    fn only_here(&mut self, held: &mut Held, identity: &Identity, node: usize, coverage: &impl Coverage, part: &str) {
        let expected = self.expected(identity, node);
        if expected.is_empty() && ends::may_say(&self.nodes, node, |name| coverage.covers(name, held.packet.time)) {
            self.ends.alone(identity, node);
            self.paired.one_node += 1;
            return;
        }
        let usual = self.ends.usual(identity, node);
        let there = |other: &usize| -> bool {
            let time = held.packet.time.saturating_sub(usual(*other));
            self.nodes.get(*other).is_some_and(|name| coverage.covers(name, time))
        };
        let not_on: Vec<String> =
            expected.iter().filter(|other| there(other)).filter_map(|other| self.nodes.get(*other).cloned()).collect();
        if not_on.is_empty() {
            self.paired.outside += 1;
            return;
        }
        if identity.protocol == 17 && self.ends.is_split(identity, identity.length > DATAGRAM) {
            // Where datagrams are joined or split there is no number that says which belong together.
            self.paired.segments += 1;
            return;
        }
        let here = self.nodes.get(node).cloned().unwrap_or_default();
        held.packet.comment = Some(if part.is_empty() { format!("seen on {here} only") } else { part.to_owned() });
        let link_type = self.interfaces.get(held.packet.interface as usize).and_then(Option::as_ref);
        let link_type = link_type.map_or(0, |interface| interface.link_type);
        self.paired.one_side(|| OneSide {
            time: held.packet.time,
            node: here,
            not_on,
            packet: line(link_type, &held.packet.data, held.packet.wire_length),
            part: part.to_owned(),
        });
    }

    /// Nodes that would have seen it too: those that have shared packets of the same two addresses, or have these.
    fn expected(&self, identity: &Identity, node: usize) -> Vec<usize> {
        let mut found = self.ends.nodes(identity);
        for address in [identity.source, identity.destination] {
            let named = self.names.get(&address).and_then(|name| self.nodes.iter().position(|known| known == name));
            found.extend(named);
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|other| *other != node);
        found
    }

    /// `node-2 14:34:02.741188, node-1 +20 us`.
    fn who_saw(&self, held: &Held) -> String {
        let first = self.node(held.packet.interface);
        // By their nodes alone, unless one has seen it twice.
        let mut nodes: Vec<usize> =
            held.others.iter().map(|(interface, _)| self.node(*interface)).chain([first]).collect();
        nodes.sort_unstable();
        let twice = nodes.windows(2).any(|two| two[0] == two[1]);
        let name = |interface: u32| {
            let known = self.interfaces.get(interface as usize).and_then(Option::as_ref);
            known.map_or("", |known| if twice { &known.name } else { node_of(&known.name) })
        };
        let mut text = format!("{} {}", name(held.packet.interface), time_of_day(held.packet.time));
        for (interface, time) in &held.others {
            // Writing to a String does not fail.
            let _ = write!(text, ", {} {}", name(*interface), apart(time.saturating_sub(held.packet.time)));
        }
        text
    }
}

/// The node in an interface's name.
pub fn node_of(interface: &str) -> &str {
    interface.rsplit_once('/').map_or(interface, |(node, _)| node)
}

/// A length of time with its sign: `+20 us`.
pub fn apart(nanos: i64) -> String {
    let sign = if nanos < 0 { '-' } else { '+' };
    let micros = nanos.unsigned_abs() / 1000;
    match micros {
        0..1000 => format!("{sign}{micros} us"),
        1000..1_000_000 => format!("{sign}{}.{:03} ms", micros / 1000, micros % 1000),
        _ => format!("{sign}{}.{:06} s", micros / 1_000_000, micros % 1_000_000),
    }
}

#[cfg(test)]
mod tests;
