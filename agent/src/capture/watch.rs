//! The thread that looks after a capture's interfaces: which are there, up, gone, and back under their name.
//!
//! Owns looking at the kernel's list, opening sockets for what comes back and closing those of what is gone, so that
//! the capture thread waits for none of it.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    devices::{Device, Devices},
    open::{self, Opened, Opener},
    source::PacketSocket,
    toward::Toward,
};
use crate::error::chain;

/// How often is looked while all is well, and while an interface is missing.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOK_SOON: Duration = Duration::from_millis(100);
/// An interface that could not be opened is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the capture thread asks for.
#[derive(Debug)]
pub enum Order {
    /// Look now; that interface is read from this device, or from none any more.
    Look {
        /// Which.
        tap: usize,
        /// Its device.
        index: Option<u32>,
        /// Comes back with what is seen from then on.
        number: u64,
    },
    /// Close what brings no packets any more.
    Close(Vec<PacketSocket>),
}

/// What was seen of one interface.
#[derive(Debug)]
pub enum Sight {
    /// It is up, and has lost so many packets since it exists.
    Up(u64),
    /// It is up under that other name, and has lost so many packets since it exists.
    Renamed(String, u64),
    /// It is there and down.
    Down,
    /// There is none of that name.
    Gone,
    /// It is read from now on.
    Opened(Box<Opened>),
    /// It leads to a pod, was not known before, and is to be read from now on.
    Joined(String),
    /// It is there and cannot be read, for that reason.
    Unreadable(String),
}

/// What the capture thread is told.
#[derive(Debug)]
pub struct News {
    /// Which interface.
    pub tap: usize,
    /// The number of the last order that was carried out before this was seen.
    pub number: u64,
    /// What was seen.
    pub sight: Sight,
}

/// One interface that is looked after.
#[derive(Debug)]
pub struct Wanted {
    name: String,
    index: Option<u32>,
    missing: bool,
    not_before: Option<Instant>,
    /// It is a pod's own: once it is gone it does not come back.
    led: bool,
}

impl Wanted {
    /// By its name, read from that device if from any.
    pub fn new(name: String, index: Option<u32>, led: bool) -> Self {
        Self { name, index, missing: index.is_none(), not_before: None, led }
    }
}

/// The ends of both ways that the capture thread holds. The thread ends when the first of them is dropped.
pub type Ends = (Sender<Order>, Receiver<Vec<News>>);

/// Starts the thread; `wake` is written to with all news of a look.
pub fn spawn(
    wanted: Vec<Wanted>,
    toward: Option<Toward>,
    devices: Devices,
    opener: Opener,
    wake: Arc<OwnedFd>,
) -> io::Result<Ends> {
    let (orders, queue) = channel();
    let (news, told) = channel();
    let watch = Watch { wanted, toward, devices, opener, number: 0, news, batch: Vec::new(), wake };
    thread::Builder::new().name("interfaces".to_owned()).spawn(move || watch.run(&queue))?;
    Ok((orders, told))
}

struct Watch {
    wanted: Vec<Wanted>,
    toward: Option<Toward>,
    devices: Devices,
    opener: Opener,
    number: u64,
    news: Sender<Vec<News>>,
    batch: Vec<News>,
    wake: Arc<OwnedFd>,
}

impl Watch {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let soon = self.wanted.iter().any(|one| one.missing);
            match orders.recv_timeout(if soon { LOOK_SOON } else { LOOK_EVERY }) {
                Ok(order) => {
                    self.obey(order);
                    while let Ok(order) = orders.try_recv() {
                        self.obey(order);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // A list that cannot be had now is asked for again at the next look.
            if let Ok(there) = self.devices.list() {
                self.join(&there);
                self.look(&there);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Look { tap, index, number } => {
                self.number = number;
                self.wanted[tap].index = index;
                self.wanted[tap].missing = true;
            }
            Order::Close(sockets) => open::close(sockets),
        }
    }

    /// Pods' interfaces that were not known before are wanted from now on.
    fn join(&mut self, there: &[Device]) {
        let Some(toward) = self.toward.as_mut().filter(|toward| toward.is_due(there)) else { return };
        // What cannot be asked now is asked again at the next look.
        let Ok(found) = toward.look(there) else { return };
        for device in found.devices {
            let known = |one: &Wanted| one.index == Some(device.index) || (one.name == device.name && !one.led);
            if self.wanted.iter().any(known) {
                continue;
            }
            // One of that name was another pod's.
            if let Some(at) = self.wanted.iter().position(|one| one.name == device.name) {
                self.wanted[at].missing = true;
                continue;
            }
            self.wanted.push(Wanted::new(device.name.clone(), None, true));
            self.opener.share_among(self.wanted.len());
            self.tell(self.wanted.len() - 1, Sight::Joined(device.name));
        }
    }

    fn look(&mut self, there: &[Device]) {
        let mut back = Vec::new();
        for tap in 0..self.wanted.len() {
            match sight(&self.wanted[tap], there) {
                Seen::Is(sight) => self.tell(tap, sight),
                Seen::Back(device) => back.push((tap, device.clone())),
            }
        }
        let now = Instant::now();
        back.retain(|(tap, _)| self.wanted[*tap].not_before.is_none_or(|at| at <= now));
        let (taps, devices): (Vec<usize>, Vec<Device>) = back.into_iter().unzip();
        for (tap, opened) in taps.into_iter().zip(self.opener.open(&devices)) {
            match opened {
                Ok(opened) => {
                    self.wanted[tap].index = Some(opened.index);
                    self.tell(tap, Sight::Opened(Box::new(opened)));
                }
                Err(error) => {
                    self.wanted[tap].not_before = Some(Instant::now() + TRY_AGAIN);
                    self.tell(tap, Sight::Unreadable(chain(&error)));
                }
            }
        }
        // The capture thread may have ended.
        let _ = self.news.send(std::mem::take(&mut self.batch));
        // A full counter means that a wake-up is already pending.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    fn tell(&mut self, tap: usize, sight: Sight) {
        let over = self.wanted[tap].led && matches!(sight, Sight::Gone);
        self.wanted[tap].missing = !over && !matches!(sight, Sight::Up(_) | Sight::Renamed(..) | Sight::Opened(_));
        self.batch.push(News { tap, number: self.number, sight });
    }
}

enum Seen<'a> {
    Is(Sight),
    /// Up under its name, and read by nobody.
    Back(&'a Device),
}

/// A device that is read keeps being read under whatever name, until another one has its name; one that is gone is
/// looked for by its name.
fn sight<'a>(wanted: &Wanted, there: &'a [Device]) -> Seen<'a> {
    let same = wanted.index.and_then(|index| there.iter().find(|device| device.index == index));
    match (same, there.iter().find(|device| device.name == wanted.name)) {
        (Some(device), Some(other)) if other.index != device.index && other.up => Seen::Back(other),
        (Some(device), _) if device.up && device.name != wanted.name => {
            Seen::Is(Sight::Renamed(device.name.clone(), device.lost))
        }
        (Some(device), _) if device.up => Seen::Is(Sight::Up(device.lost)),
        (None, Some(device)) if device.up => Seen::Back(device),
        (Some(_), _) | (None, Some(_)) => Seen::Is(Sight::Down),
        (None, None) => Seen::Is(Sight::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, name: &str, up: bool) -> Device {
        Device { index, name: name.into(), hardware: 1, up, lost: 3, pod_end: false, bridge: false }
    }

    #[test]
    fn a_device_is_known_by_its_number_and_found_again_by_its_name() {
        let wanted = Wanted::new("vx0".into(), Some(7), false);
        let seen = |there: &[Device]| match sight(&wanted, there) {
            Seen::Is(Sight::Up(lost)) => format!("up {lost}"),
            Seen::Is(Sight::Renamed(name, lost)) => format!("up {lost} as {name}"),
            Seen::Is(Sight::Down) => "down".to_owned(),
            Seen::Is(Sight::Gone) => "gone".to_owned(),
            Seen::Back(device) => format!("back as {}", device.index),
            Seen::Is(other) => format!("{other:?}"),
        };
        assert_eq!(seen(&[device(7, "vx0", true)]), "up 3");
        assert_eq!(seen(&[device(7, "other", true)]), "up 3 as other");
        assert_eq!(seen(&[device(7, "other", true), device(9, "vx0", false)]), "up 3 as other");
        assert_eq!(seen(&[device(7, "other", true), device(9, "vx0", true)]), "back as 9");
        assert_eq!(seen(&[device(7, "vx0", false)]), "down");
        assert_eq!(seen(&[device(9, "vx0", true)]), "back as 9");
        assert_eq!(seen(&[device(9, "vx0", false)]), "down");
        assert_eq!(seen(&[device(9, "vx1", true)]), "gone");
    }
}
