//! The kernel's signals: read once a second, on a thread beside the hub.
//!
//! Owns the sources and what of them has moved. Needs no capability. A source that this kernel does not have is told
//! once and is no failure. Must not know tunnels.

mod ethtool;
mod files;
pub(crate) mod ioctl;
mod links;
pub(crate) mod netlink;
pub mod picture;
mod reader;
mod sockets;

use std::{
    cell::RefCell,
    io,
    path::Path,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use nodewatch_protocol::SignalsUpdate;
use nodewatch_signals::{Origin, SignalId};

pub use reader::Reader;

use crate::unix_millis;

/// How often signals are read.
const EVERY: Duration = Duration::from_secs(1);

/// Why a source says nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This kernel has no such thing, or has it no longer.
    #[error("this kernel does not have it")]
    Absent,
    /// A file could not be read.
    #[error("cannot be read")]
    File(#[source] io::Error),
    /// The kernel refused to answer.
    #[error("the kernel refused")]
    Refused(#[source] rustix::io::Errno),
    /// What the kernel wrote has another form than is known.
    #[error("its form is not known")]
    Malformed,
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The second is that of /proc/pressure on a kernel that was started without it.
            io::ErrorKind::NotFound | io::ErrorKind::Unsupported => Self::Absent,
            _ => Self::File(error),
        }
    }
}

/// Where signals come from.
pub trait Source {
    /// Which ones.
    fn origin(&self) -> Origin;

    /// How often it is read.
    fn every(&self) -> Duration {
        EVERY
    }

    /// Reads all of them.
    fn read(&mut self, values: &mut Values) -> Result<(), SourceError>;
}

/// What a source has read.
#[derive(Debug)]
pub struct Values {
    found: Vec<Value>,
    missing: Vec<(String, String)>,
    none: Rc<str>,
}

/// A number of one signal.
#[derive(Debug)]
struct Value {
    signal: SignalId,
    /// The interface or path that it is about.
    item: Rc<str>,
    /// What of it: a CPU, or one of several fields. Each is counted by itself, and what is told is their sum.
    part: u64,
    number: u64,
}

impl Default for Values {
    fn default() -> Self {
        Self { found: Vec::new(), missing: Vec::new(), none: Rc::from("") }
    }
}

impl Values {
    /// One of the node.
    pub fn add(&mut self, signal: SignalId, value: u64) {
        self.add_part(signal, 0, value);
    }

    /// A part of one of the node.
    pub fn add_part(&mut self, signal: SignalId, part: u64, value: u64) {
        self.found.push(Value { signal, item: Rc::clone(&self.none), part, number: value });
    }

    /// A part of one that the node has several of.
    pub fn add_item(&mut self, signal: SignalId, item: &Rc<str>, part: u64, value: u64) {
        self.found.push(Value { signal, item: Rc::clone(item), part, number: value });
    }

    /// A part of the source is not there.
    pub fn miss(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.missing.push((what.into(), reason.into()));
    }
}

/// The node's interfaces, by number, as they were listed last.
type Interfaces = Rc<RefCell<Vec<(u32, Rc<str>)>>>;

/// Every source of this machine; those that are files are below that folder.
pub fn all(proc: &Path) -> Vec<Box<dyn Source>> {
    let interfaces = Interfaces::default();
    let mut sources = files::all(proc);
    // The first lists the interfaces for the others.
    sources.push(Box::new(links::Links::new(Rc::clone(&interfaces))));
    sources.push(Box::new(links::Qdiscs::new(Rc::clone(&interfaces))));
    sources.push(Box::new(ethtool::Drivers::new(interfaces)));
    sources.push(Box::new(sockets::Connections::new(proc)));
    sources
}

/// Reads on a thread of its own, until nobody takes what it tells any more.
pub fn start(mut tell: impl FnMut(SignalsUpdate) -> bool + Send + 'static) -> io::Result<()> {
    let run = move || {
        let mut reader = Reader::new(all(Path::new("/proc")), unix_millis());
        let mut next = Instant::now();
        while tell(reader.read(Instant::now(), unix_millis())) {
            // Seconds that were missed, as by a machine that was suspended, are not made up for.
            let now = Instant::now();
            next = (next + EVERY).max(now);
            thread::sleep(next - now);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(run).map(drop)
}
