//! From an interface's name to its packet socket: link type, filter, memory.
//!
//! Owns what is compiled, once for each kind of interface, and the threads that open and close many sockets at once.
//! May take its time; the capture thread never waits for it.

use std::{collections::HashMap, fs, path::Path, sync::Arc, thread};

use nodewatch_analysis::decode::Link;
use nodewatch_filter::FilterError;

use super::{
    devices::Device,
    program,
    source::{self, Memory, PacketSocket, Setup, SocketError},
};

/// Rings that are opened or closed at the same time: each waits for the kernel's grace periods, which all of them
/// share.
const AT_ONCE: usize = 24;

/// Interfaces of one kind have one link type, and so one compiled filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    hardware: u16,
    /// A switch's port on the inside puts a tag of its own before the packets.
    switch: String,
}

impl Kind {
    fn of(device: &Device) -> Self {
        let name = Path::new(&device.name).file_name().unwrap_or_default();
        let tagging = Path::new("/sys/class/net").join(name).join("dsa/tagging");
        Self { hardware: device.hardware, switch: fs::read_to_string(tagging).unwrap_or_default() }
    }
}

/// What libpcap says of a kind of interface.
#[derive(Debug)]
struct Known {
    link: Link,
    cooked: bool,
    program: Vec<program::Instruction>,
}

/// Why an interface cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The filter, or what libpcap says of the interface.
    #[error(transparent)]
    Filter(Arc<FilterError>),
    /// The kernel's packet socket.
    #[error("cannot capture on interface {interface:?}")]
    Socket {
        /// The interface.
        interface: String,
        /// Why.
        source: Arc<SocketError>,
    },
}

/// An interface that is read from now on.
#[derive(Debug)]
pub struct Opened {
    /// The kernel's number of it.
    pub index: u32,
    /// How its packets begin.
    pub link: Link,
    /// Bytes that are kept of each packet at the most.
    pub snaplen: u32,
    /// Its packets.
    pub socket: PacketSocket,
    /// Packets that it lost before this.
    pub lost: u64,
    /// Why the agent filters its packets itself; empty where the kernel does.
    pub filtered_here: String,
}

/// Opens sockets for one capture.
#[derive(Debug)]
pub struct Opener {
    filter: String,
    snaplen: u32,
    memory: Memory,
    known: HashMap<Kind, Result<Arc<Known>, Arc<FilterError>>>,
}

impl Opener {
    /// For a capture of so many interfaces.
    pub fn new(filter: &str, snaplen: u32, interfaces: usize) -> Self {
        Self { filter: filter.to_owned(), snaplen, memory: Memory::of(interfaces), known: HashMap::new() }
    }

    /// So many interfaces share the memory from now on; what is open keeps what it has.
    pub fn share_among(&mut self, interfaces: usize) {
        self.memory = Memory::of(interfaces);
    }

    /// What is opened from now on gets that much memory.
    pub fn give_each(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// Opens these, which are up, all at once. The answers are in their order.
    pub fn open(&mut self, devices: &[Device]) -> Vec<Result<Opened, OpenError>> {
        let known: Vec<_> = devices.iter().map(|device| self.known(device)).collect();
        let (memory, snaplen) = (self.memory, self.snaplen);
        let work: Vec<_> = devices.iter().zip(known).collect();
        in_parallel(work, |(device, known)| open(device, &*known.map_err(OpenError::Filter)?, memory, snaplen))
    }

    /// libpcap is asked once for each kind, as it opens a socket of its own for the answer.
    fn known(&mut self, device: &Device) -> Result<Arc<Known>, Arc<FilterError>> {
        let kind = Kind::of(device);
        if let Some(known) = self.known.get(&kind) {
            return known.clone();
        }
        let known = match nodewatch_filter::compile(&device.name, &self.filter, self.snaplen) {
            Ok(compiled) => Ok(Arc::new(Known {
                link: Link::from_dlt(compiled.link_type),
                cooked: compiled.is_cooked(),
                program: source::instructions(compiled.program.get_instructions()).to_vec(),
            })),
            // That one is gone or down again; of its kind nothing is known yet.
            Err(error @ FilterError::Interface { .. }) => return Err(Arc::new(error)),
            Err(error) => Err(Arc::new(error)),
        };
        self.known.insert(kind, known.clone());
        known
    }
}

fn open(device: &Device, known: &Known, memory: Memory, snaplen: u32) -> Result<Opened, OpenError> {
    let snaplen = snaplen.min(memory.longest());
    let setup = Setup {
        index: device.index,
        program: &known.program,
        cooked: known.cooked,
        loopback: device.is_loopback(),
        snaplen,
        memory,
    };
    let socket = PacketSocket::open(&setup)
        .map_err(|source| OpenError::Socket { interface: device.name.clone(), source: Arc::new(source) })?;
    let filtered_here = if socket.filters_here() { program::why_not(&known.program) } else { String::new() };
    Ok(Opened { index: device.index, link: known.link, snaplen, socket, lost: device.lost, filtered_here })
}

/// Closes sockets, of which each takes the kernel a while.
pub fn close(sockets: Vec<PacketSocket>) {
    in_parallel(sockets, drop);
}

/// Does the same with each of them on a few threads; the answers are in their order.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    let share = items.len().div_ceil(AT_ONCE);
    let mut shares: Vec<Vec<T>> = Vec::new();
    for item in items {
        match shares.last_mut() {
            Some(last) if last.len() < share => last.push(item),
            _ => shares.push(vec![item]),
        }
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let done = threads.into_iter().map(thread::ScopedJoinHandle::join);
        // A panic in one of them is a panic here.
        done.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rings_fit_in_what_all_may_take() {
        for (sockets, block, blocks) in
            [(1, 512, 32), (2, 512, 16), (8, 512, 4), (32, 512, 4), (100, 128, 5), (300, 64, 3)]
        {
            assert_eq!(Memory::of(sockets), Memory { block: block * 1024, blocks }, "{sockets} sockets");
        }
        for sockets in 1..2000 {
            let Memory { block, blocks } = Memory::of(sockets);
            assert!(sockets * block * blocks <= 64 * 1024 * 1024, "{sockets} sockets");
        }
    }

    #[test]
    fn work_at_once_is_answered_in_its_order() {
        assert_eq!(in_parallel((0..100).collect(), |one: i32| one * 2), (0..200).step_by(2).collect::<Vec<_>>());
        assert_eq!(in_parallel(Vec::<i32>::new(), |one| one), Vec::<i32>::new());
    }
}
