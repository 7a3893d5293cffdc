//! What a capture begins with: which interfaces, and what of them cannot be read.
//!
//! Owns the choice between leaving an interface out, waiting for it and refusing the capture. Must not know packets.

use std::{collections::BTreeSet, io, net::IpAddr};

use nodewatch_analysis::Echoes;
use nodewatch_filter::FilterError;
use nodewatch_protocol::{CaptureSpec, Content, Interface, Refusal, RefusalKind};

use super::{
    devices::{Device, Devices},
    open::{OpenError, Opened, Opener},
    own::OwnTraffic,
    source::SocketError,
    toward::{Found, Toward},
};
use crate::{error::chain, ring::Ring};

/// A capture could not be started; nothing runs and no file was begun.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An interface that this node does not have.
    #[error("no interface {name:?} on this node; it has {}", known.join(", "))]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// None was named and none qualifies.
    #[error("this node has no interface to capture on by default")]
    NoDefault,
    /// The kernel does not say which interfaces there are.
    #[error("cannot list the node's network interfaces")]
    Devices(#[source] io::Error),
    /// The filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// None of the interfaces can be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Threads or wake-ups.
    #[error("cannot start the capture threads")]
    Threads(#[source] io::Error),
}

impl StartError {
    /// What is told to whoever asked for the capture.
    pub fn refusal(&self) -> Refusal {
        let (kind, next_step) = match self {
            Self::NoInterface { .. } => (RefusalKind::Invalid, "choose one of these"),
            Self::NoDefault => (RefusalKind::Invalid, "name an interface"),
            Self::Filter(error) => of_filter(error),
            Self::Open(OpenError::Filter(error)) => of_filter(error),
            Self::Open(OpenError::Socket { source, .. }) => (RefusalKind::Failed, of_socket(source)),
            Self::Devices(_) => (RefusalKind::Failed, "try another node"),
            Self::Threads(_) => {
                (RefusalKind::Failed, "the node is short of threads or files: try again, or another node")
            }
        };
        Refusal { kind, message: chain(self), next_step: next_step.to_owned() }
    }
}

fn of_filter(error: &FilterError) -> (RefusalKind, &'static str) {
    match error {
        FilterError::Interface { .. } => (RefusalKind::Failed, "check it with `ip link`, or choose another interface"),
        FilterError::HostName { .. } => (RefusalKind::Invalid, "use the host's addresses"),
        _ => (RefusalKind::Invalid, "use tcpdump syntax, see `man pcap-filter`"),
    }
}

fn of_socket(error: &SocketError) -> &'static str {
    match error.source.raw_os_error() {
        Some(libc::ENOMEM | libc::ENOBUFS) => "the node is short of memory: capture on fewer interfaces",
        Some(libc::ENODEV | libc::ENXIO) => "the interface was just removed: try again",
        Some(libc::EMFILE | libc::ENFILE) => "the agent ran out of file descriptors: capture on fewer interfaces",
        _ => "try another interface, or another node",
    }
}

/// What a capture needs to start.
pub struct Start {
    /// What to capture; its interfaces are ignored in favour of `interfaces`.
    pub spec: CaptureSpec,
    /// The interfaces to capture on.
    pub chosen: Chosen,
    /// The interfaces there are.
    pub known: Vec<Interface>,
    /// Where files go.
    pub ring: Ring,
    /// For the files' headers.
    pub hostname: String,
    /// Why there is nothing before the first file; empty for no such reason. With one, an interface that is not there
    /// is waited for.
    pub gap: String,
    /// Connections that are left out.
    pub own: OwnTraffic,
    /// What the node's interfaces have shown, where packets are analysed.
    pub echoes: Echoes,
}

/// The interfaces of a capture as they are chosen at its beginning.
#[derive(Debug, Default)]
pub struct Chosen {
    /// All of them, by name.
    pub interfaces: Vec<String>,
    /// Those that are a pod's own.
    pub led: BTreeSet<String>,
    /// Where pods' own are looked for again.
    pub(super) toward: Option<Toward>,
    said: Vec<Word>,
}

impl Chosen {
    /// These, which were named or are the node's default ones.
    pub fn named(interfaces: Vec<String>) -> Self {
        Self { interfaces, ..Self::default() }
    }

    /// The interfaces that lead to pods with these addresses, and the default ones too where some have none of their own.
    pub fn toward(addresses: &[IpAddr], defaults: Vec<String>) -> io::Result<Self> {
        let mut toward = Toward::open(addresses.to_vec(), defaults.clone())?;
        let Found { devices, missing } = toward.look(&Devices::open()?.list()?)?;
        let led: BTreeSet<String> = devices.into_iter().map(|device| device.name).collect();
        let mut interfaces: Vec<String> = led.iter().cloned().collect();
        if !missing.is_empty() {
            let with = defaults.join(", ");
            interfaces.extend(defaults.into_iter().filter(|name| !led.contains(name)));
            let said = missing.into_iter().map(|why| {
                Word::Note(format!(
                    "no interface leads to this pod alone ({why}): {with} is captured too, where packets between pods of \
                     this node are not seen, nor those that a tunnel wraps"
                ))
            });
            return Ok(Self { interfaces, led, toward: Some(toward), said: said.collect() });
        }
        Ok(Self { interfaces, led, toward: Some(toward), said: Vec::new() })
    }
}

/// One interface of the capture as it is at the beginning.
#[derive(Debug)]
pub struct Begun {
    /// Its name.
    pub name: String,
    /// How it is.
    pub how: How,
}

/// What became of an interface.
#[derive(Debug)]
pub enum How {
    /// It is read.
    Open(Box<Opened>),
    /// It is down, and of that hardware; it is read from when it comes up.
    Down(u16),
    /// It is not there; it is read from when it comes.
    Gone,
    /// It cannot be read, and others can.
    LeftOut,
}

/// What is to be said of an interface, for people.
#[derive(Debug, Clone)]
pub enum Word {
    /// Something is not captured that was asked for.
    Trouble(String),
    /// Worth knowing; nothing is missing.
    Note(String),
}

/// The interfaces of a capture, and what is to be said about them.
#[derive(Debug)]
pub struct Beginning {
    /// All of them.
    pub interfaces: Vec<Begun>,
    /// In their order.
    pub said: Vec<Word>,
    /// For those that come later.
    pub opener: Opener,
}

/// Opens what can be opened. Fails where nothing can be read, nor ever could.
pub fn begin(start: &Start, devices: &mut Devices) -> Result<Beginning, StartError> {
    let Chosen { interfaces: names, led, .. } = &start.chosen;
    if names.is_empty() {
        return Err(StartError::NoDefault);
    }
    let there = devices.list().map_err(StartError::Devices)?;
    let found = |name: &String| there.iter().find(|device| device.name == *name);
    if let Some(name) = names.iter().find(|name| found(name).is_none() && !led.contains(*name))
        && start.gap.is_empty()
    {
        let known = start.known.iter().map(|interface| interface.name.clone()).collect();
        return Err(StartError::NoInterface { name: name.clone(), known });
    }
    let filter = start.spec.filter.as_deref().unwrap_or_default();
    let mut opener = Opener::new(filter, start.spec.snaplen, names.len());
    let up: Vec<Device> = names.iter().filter_map(found).filter(|device| device.up).cloned().collect();
    let mut opened = opener.open(&up).into_iter();
    let mut said = left_out_of_the_default(start);
    said.extend(start.chosen.said.iter().cloned());
    let mut failed = None;
    let mut interfaces = Vec::new();
    for name in names {
        let how = match found(name) {
            // It has gone with its pod since it was looked for.
            None if led.contains(name) => How::Gone,
            None => {
                said.push(Word::Trouble(format!(
                    "interface {name} does not exist yet; capture starts when it appears"
                )));
                How::Gone
            }
            Some(device) if !device.up => {
                said.push(Word::Trouble(format!("interface {name} is down; capture starts when it comes up")));
                How::Down(device.hardware)
            }
            Some(_) => match opened.next() {
                Some(Ok(opened)) => {
                    said.extend(about(name, &opened, start.spec.content, start.spec.snaplen));
                    How::Open(Box::new(opened))
                }
                Some(Err(error)) => {
                    said.push(Word::Trouble(format!("skipped interface {name}: {}", chain(&error))));
                    failed.get_or_insert(error);
                    How::LeftOut
                }
                None => How::LeftOut,
            },
        };
        interfaces.push(Begun { name: name.clone(), how });
    }
    let any = |wanted: fn(&How) -> bool| interfaces.iter().any(|one| wanted(&one.how));
    if !any(|how| matches!(how, How::Open(_))) {
        match failed {
            Some(error) if !any(|how| matches!(how, How::Down(_) | How::Gone)) => return Err(error.into()),
            Some(_) => {}
            // Nothing has read the filter yet.
            None => nodewatch_filter::check(filter)?,
        }
    }
    Ok(Beginning { interfaces, said, opener })
}

/// What is to be said of an interface that is read, other than that it is.
pub fn about(name: &str, opened: &Opened, content: Content, snaplen: u32) -> Vec<Word> {
    let mut said = Vec::new();
    if !opened.filtered_here.is_empty() {
        said.push(Word::Note(format!(
            "interface {name}: the agent applies the filter instead of the kernel, which costs more on a busy \
             interface: {}",
            opened.filtered_here
        )));
    }
    if !opened.link.is_decoded() && content != Content::Full {
        said.push(Word::Trouble(format!(
            "interface {name}: cannot separate headers from payload for link type {}, so no packet data is kept; use \
             content full",
            opened.link.number()
        )));
    }
    if opened.snaplen < snaplen && content == Content::Full {
        said.push(Word::Note(format!(
            "interface {name}: packets are cut to {} bytes because many interfaces share the memory",
            opened.snaplen
        )));
    }
    said
}

/// Interfaces that would be in the default set if they were up.
fn left_out_of_the_default(start: &Start) -> Vec<Word> {
    if !(start.spec.interfaces.is_empty() && start.spec.toward.is_empty()) {
        return Vec::new();
    }
    let down = start.known.iter().filter(|one| !one.up && !one.loopback && !one.addresses.is_empty());
    let word = |name: &str| {
        Word::Note(format!("skipped interface {name}, which is down; name it to capture it when it comes up"))
    };
    down.map(|one| word(&one.name)).collect()
}
