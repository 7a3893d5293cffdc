//! The thread that looks after what is watched: interfaces that come and go.
//!
//! Owns the kernel's list, the opening and closing of packet sockets, and how much memory all of them take together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use nodewatch_protocol::{Role, WatchSpec};

use super::{
    away::{Away, Word},
    choose::Known,
};
use crate::{
    capture::{
        StartError,
        devices::{Device, Devices},
        interfaces::{self, Traits},
        open::{self, OpenError, Opened, Opener},
        source::{Memory, PacketSocket},
    },
    error::chain,
    panics,
};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Addresses are asked for at least so often.
const ADDRESSES_EVERY: Duration = Duration::from_secs(10);
/// An interface that could not be opened is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// What is read of a packet: the headers, a question to DNS, what an error of ICMP quotes.
const SNAPLEN: u32 = 512;
/// Interfaces that are watched at the most.
const MOST: usize = 512;
/// Memory of the sockets of a few interfaces, and of however many there are.
const USUAL_MEMORY: usize = 8 * 1024 * 1024;
const MOST_MEMORY: usize = 24 * 1024 * 1024;
/// Memory of one socket at least, where all are few.
const FEW: usize = 2 * 1024 * 1024;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// These, by name, are a capture's: they are not watched here, until others are named.
    LeaveOut(BTreeSet<String>),
    /// Look now.
    Look,
    /// Close what brings no packets any more.
    Close(Vec<PacketSocket>),
}

/// What has changed.
#[derive(Debug)]
pub enum News {
    /// It is watched from now on.
    Opened {
        /// Its name.
        name: String,
        /// What it is.
        role: Role,
        /// Its packets.
        opened: Box<Opened>,
    },
    /// It has another name or role.
    Called {
        /// The kernel's number of it.
        index: u32,
        /// Its name now.
        name: String,
        /// What it is now.
        role: Role,
    },
    /// It is not watched any more.
    Gone(u32),
    /// These are to be watched and are not there, or down.
    Away(Vec<(String, Role)>),
    /// Something that people should know.
    Trouble(String),
    /// The same, and nothing is missing.
    Note(String),
}

/// One that is open.
#[derive(Debug)]
struct Open {
    name: String,
    role: Role,
    bytes: usize,
}

/// Looks after the interfaces of one watching.
pub struct Look {
    named: Vec<String>,
    addresses: Vec<IpAddr>,
    left_out: BTreeSet<String>,
    devices: Devices,
    opener: Opener,
    known: (Known, Option<Instant>),
    /// Those that were up when addresses were asked for last.
    up: BTreeSet<u32>,
    open: BTreeMap<u32, Open>,
    away: Away,
    /// When an interface that cannot be opened is tried again.
    not_before: HashMap<u32, Instant>,
    too_many: bool,
}

impl Look {
    /// Opens what there is to open now. Fails where nothing can be watched, nor ever could.
    pub fn begin(
        spec: &WatchSpec,
        addresses: Vec<IpAddr>,
        left_out: BTreeSet<String>,
    ) -> Result<(Self, Vec<News>), StartError> {
        let filter = spec.filter.as_deref().unwrap_or_default();
        let mut look = Self {
            named: spec.interfaces.clone(),
            addresses,
            left_out,
            devices: Devices::open().map_err(StartError::Devices)?,
            opener: Opener::new(filter, SNAPLEN, 1),
            known: (Known::default(), None),
            up: BTreeSet::new(),
            open: BTreeMap::new(),
            away: Away::new(&spec.interfaces),
            not_before: HashMap::new(),
            too_many: false,
        };
        let there = look.devices.list().map_err(StartError::Devices)?;
        let is_there = |name: &String| there.iter().any(|device| device.name == *name);
        if let Some(name) = look.named.iter().find(|name| !is_there(name)) {
            let known = there.iter().map(|device| device.name.clone()).collect();
            return Err(StartError::NoInterface { name: name.clone(), known });
        }
        let mut news = Vec::new();
        let failed = look.look(&there, &mut news);
        if look.open.is_empty() {
            if let Some(error) = failed {
                return Err(error.into());
            }
            // Nothing has read it yet.
            nodewatch_filter::check(filter)?;
            let known = &look.known.0;
            if look.named.is_empty() && known.choose(&[], &there).is_empty() {
                return Err(StartError::NoDefault);
            }
        }
        Ok((look, news))
    }

    /// Goes on until nobody is left to give orders. `say` is called where that fails.
    pub fn spawn(
        mut self,
        orders: Receiver<Order>,
        news: Sender<Vec<News>>,
        wake: Arc<OwnedFd>,
        say: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let run = move || {
            let mut next = Instant::now() + EVERY;
            loop {
                match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                    Ok(Order::Close(sockets)) => {
                        open::close(sockets);
                        continue;
                    }
                    Ok(Order::LeaveOut(names)) => self.left_out = names,
                    Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                next = Instant::now() + EVERY;
                let mut seen = Vec::new();
                // A list that cannot be had now is asked for again at the next look.
                if let Ok(there) = self.devices.list() {
                    self.look(&there, &mut seen);
                }
                if !seen.is_empty() {
                    // Who watches may have ended.
                    let _ = news.send(seen);
                    // A full counter means that a wake-up is already pending.
                    let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes());
                }
            }
        };
        thread::Builder::new().name("watched".to_owned()).spawn(move || panics::contained(say, run)).map(drop)
    }

    /// Opens what has come and tells of what is gone; returns why one could not be opened.
    fn look(&mut self, there: &[Device], news: &mut Vec<News>) -> Option<OpenError> {
        self.learn(there);
        let mut chosen: Vec<(Device, Role)> = self.known.0.choose(&self.named, there).into_iter().map(owned).collect();
        chosen.retain(|(device, _)| !self.left_out.contains(&device.name));
        if chosen.len() > MOST && !std::mem::replace(&mut self.too_many, true) {
            let message = format!("watching {MOST} of {} interfaces; name those that matter", chosen.len());
            news.push(News::Trouble(message));
        }
        chosen.truncate(MOST);
        let is_chosen = |index: &u32| chosen.iter().any(|(device, _)| device.index == *index);
        let gone: Vec<u32> = self.open.keys().copied().filter(|index| !is_chosen(index)).collect();
        for index in gone {
            self.open.remove(&index);
            news.push(News::Gone(index));
        }
        self.not_before.retain(|index, _| is_chosen(index));
        let now = Instant::now();
        let mut come = Vec::new();
        for (device, role) in chosen {
            match self.open.get_mut(&device.index) {
                Some(open) if open.name != device.name || open.role != role => {
                    self.away.renamed(&open.name, &device.name, role);
                    (open.name, open.role) = (device.name.clone(), role);
                    news.push(News::Called { index: device.index, name: device.name, role });
                }
                Some(_) => {}
                None if self.not_before.get(&device.index).is_some_and(|at| *at > now) => {}
                None => come.push((device, role)),
            }
        }
        let failed = self.open(come, news);
        let Self { open, left_out, away, .. } = self;
        let is_read = |name: &str| left_out.contains(name) || open.values().any(|open| open.name == name);
        if let Some((away, words)) = away.look(there, is_read, now) {
            news.extend(words.into_iter().map(|word| match word {
                Word::Trouble(text) => News::Trouble(text),
                Word::Note(text) => News::Note(text),
            }));
            news.push(News::Away(away));
        }
        failed
    }

    /// Which are the default ones and hold which addresses, where that may have changed.
    fn learn(&mut self, there: &[Device]) {
        let (known, at) = &mut self.known;
        let up: BTreeSet<u32> = there.iter().filter(|device| device.up).map(|device| device.index).collect();
        if at.is_some_and(|at| at.elapsed() < ADDRESSES_EVERY) && up.is_subset(&self.up) {
            return;
        }
        // What cannot be asked now is asked again later.
        let Ok(all) = interfaces::list() else { return };
        (*at, self.up) = (Some(Instant::now()), up);
        *known = Known::of(&all, &self.addresses, Traits::read);
    }

    fn open(&mut self, come: Vec<(Device, Role)>, news: &mut Vec<News>) -> Option<OpenError> {
        if come.is_empty() {
            return None;
        }
        let taken: usize = self.open.values().map(|open| open.bytes).sum();
        self.opener.give_each(memory(self.open.len() + come.len(), come.len(), taken));
        let (devices, roles): (Vec<Device>, Vec<Role>) = come.into_iter().unzip();
        let mut failed = None;
        for ((device, role), opened) in devices.iter().zip(roles).zip(self.opener.open(&devices)) {
            let Device { index, name, .. } = device;
            match opened {
                Ok(opened) => {
                    let bytes = opened.socket.memory().bytes();
                    self.open.insert(*index, Open { name: name.clone(), role, bytes });
                    self.away.opened(name, role);
                    self.not_before.remove(index);
                    news.push(News::Opened { name: name.clone(), role, opened: Box::new(opened) });
                }
                Err(error) => {
                    let before = self.not_before.insert(*index, Instant::now() + TRY_AGAIN);
                    // One that comes and goes at once is no trouble; said once of one that stays.
                    if before.is_none() && self.known.1.is_some() && !is_gone(&error) {
                        news.push(News::Trouble(format!("interface {name} is not watched: {}", chain(&error))));
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        failed
    }
}

fn owned((device, role): (&Device, Role)) -> (Device, Role) {
    (device.clone(), role)
}

fn is_gone(error: &OpenError) -> bool {
    let OpenError::Socket { source, .. } = error else { return false };
    matches!(source.source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
}

/// The memory of each of those that come, when so many are open with them and others have taken so much.
fn memory(open: usize, come: usize, taken: usize) -> Memory {
    let share = (USUAL_MEMORY / open).max(FEW).min(MOST_MEMORY / open);
    Memory::within(share.min(MOST_MEMORY.saturating_sub(taken) / come))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_a_bounded_memory_however_they_come() {
        assert_eq!(memory(1, 1, 0).bytes(), USUAL_MEMORY);
        for at_once in [1, 7, 100, MOST] {
            let mut sizes: Vec<usize> = Vec::new();
            while sizes.len() < MOST {
                let come = at_once.min(MOST - sizes.len());
                let each = memory(sizes.len() + come, come, sizes.iter().sum());
                assert!(each.blocks >= 2, "{each:?}");
                sizes.extend(vec![each.bytes(); come]);
            }
            let all: usize = sizes.iter().sum();
            assert!(all <= MOST_MEMORY + MOST * 32 * 1024, "{all}");
        }
    }
}
