//! Watching: packets are analysed and told of once a second, and nothing is written.
//!
//! Owns its threads: one reads the packets, one looks after the interfaces. Must not know tunnels or requests.

mod away;
mod choose;
mod engine;
mod look;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

use nodewatch_analysis::Echoes;
use nodewatch_protocol::{Role, Symptoms, UnixMillis, WatchSpec};
use rustix::event::{EventfdFlags, eventfd};

use crate::{
    capture::{
        StartError,
        devices::Devices,
        interfaces::{self, Traits},
        own::OwnTraffic,
    },
    moment::Moment,
    panics,
    symptoms::Analyst,
    unix_millis,
};
use engine::Engine;
use look::{Look, Order};

/// What watching tells.
#[derive(Debug)]
pub enum WatchEvent {
    /// Once a second.
    Symptoms(Box<Symptoms>),
    /// An interface is in trouble; others are watched.
    Trouble(String),
    /// Something that is worth knowing; nothing is missing.
    Note(String),
    /// It has ended by itself.
    Failed(String),
    /// It was told to end, and has told all that it has seen.
    Ended,
}

/// What is watched now. Dropping it ends that and closes the sockets; the last that was seen is told after it.
pub struct Watching {
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    orders: Sender<Order>,
    /// When it began.
    pub since: UnixMillis,
}

impl Watching {
    /// Opens the packet sockets, then starts the threads. This may take a while. `addresses` are the node's own, where
    /// they are known; the interfaces in `left_out` are a capture's; `own` is not analysed, and `echoes` are those of the
    /// node.
    pub fn start<N>(
        spec: &WatchSpec,
        addresses: Vec<IpAddr>,
        left_out: BTreeSet<String>,
        (own, echoes): (OwnTraffic, Echoes),
        notify: N,
    ) -> Result<Self, StartError>
    where
        N: Fn(WatchEvent) + Clone + Send + 'static,
    {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Threads(errno.into()))?;
        let (wake, stop) = (Arc::new(wake), Arc::new(AtomicBool::new(false)));
        let (look, begun) = Look::begin(spec, addresses, left_out)?;
        let (orders, queue) = channel();
        let (news, told) = channel();
        let failed = |notify: N, what: &str| {
            let message = format!("{what} has failed: this is a bug");
            move || notify(WatchEvent::Failed(message))
        };
        let say = failed(notify.clone(), "looking after its interfaces");
        look.spawn(queue, news, Arc::clone(&wake), say).map_err(StartError::Threads)?;
        let analyst = Analyst::new(false, Moment::now(), echoes);
        let analyst = if spec.is_filtered() { analyst.filtered() } else { analyst };
        let mut engine =
            Engine::new((own, analyst), (orders.clone(), told), Arc::clone(&wake), Arc::clone(&stop), notify.clone());
        engine.hear(begun);
        let say = failed(notify, "its analysis");
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || panics::contained(say, || engine.run()))
            .map_err(StartError::Threads)?;
        Ok(Self { stop, wake, orders, since: unix_millis() })
    }

    /// The interfaces with these names are a capture's now; those of before are watched again.
    pub fn leave_out(&self, names: BTreeSet<String>) {
        // Where it has failed nothing is watched anyway.
        let _ = self.orders.send(Order::LeaveOut(names));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full counter means that a wake-up is already pending.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// What interfaces with these names are on their node. Asks the kernel.
pub fn roles(names: &[String], addresses: &[IpAddr]) -> Vec<(String, Role)> {
    let all = interfaces::list().unwrap_or_default();
    let there = Devices::open().and_then(|mut devices| devices.list()).unwrap_or_default();
    let known = choose::Known::of(&all, addresses, Traits::read);
    let role = |name: &String| {
        let device = there.iter().find(|device| device.name == *name);
        (name.clone(), device.map_or(Role::Other, |device| known.role(device)))
    };
    names.iter().map(role).collect()
}
