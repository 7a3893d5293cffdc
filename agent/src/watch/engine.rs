//! The thread that reads the packets of all interfaces that are watched.
//!
//! Owns the packet sockets while they are open, and each interface's number in the analysis.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use nodewatch_analysis::decode::{self, Link};
use nodewatch_protocol::{Role, Symptoms, WatchedInterface};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    WatchEvent,
    look::{News, Order},
};
use crate::{
    capture::{
        open::{self, Opened},
        own::OwnTraffic,
        source::{PacketSocket, RETIRE_MILLIS},
    },
    moment::Moment,
    symptoms::{Analyst, Face, Lag},
};

/// How often is told.
const EVERY: Duration = Duration::from_secs(1);
/// So long is waited for more, where little has come: hundreds of quiet interfaces must not wake the thread one by one.
const PAUSE: Duration = Duration::from_millis(5);
/// Nothing is left in the socket of an interface that is gone after this.
const EMPTY_AFTER: Duration = Duration::from_millis(3 * RETIRE_MILLIS as u64);
/// What an interface has shown may still be decided for so long after its end; then its number is another one's.
const KNOWN_FOR: Duration = Duration::from_secs(120);

/// One interface whose packets are read.
struct Tap {
    index: u32,
    number: u16,
    name: String,
    role: Role,
    link: Link,
    socket: PacketSocket,
    lag: Lag,
    packets: u64,
    dropped: u64,
    skipped: u64,
    /// It is gone; its socket is closed then.
    until: Option<Instant>,
}

/// One that is gone.
struct Gone {
    number: u16,
    name: String,
    role: Role,
    at: Instant,
}

/// The thread's own.
pub struct Engine<N> {
    analyst: Analyst,
    taps: Vec<Tap>,
    gone: VecDeque<Gone>,
    /// Those that are to be watched, and cannot be: they are not there, or down.
    away: Vec<(String, Role)>,
    next_number: u16,
    own: OwnTraffic,
    orders: Sender<Order>,
    news: Receiver<Vec<News>>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    notify: N,
}

impl<N: Fn(WatchEvent)> Engine<N> {
    /// One that reads nothing yet.
    pub fn new(
        (own, analyst): (OwnTraffic, Analyst),
        (orders, news): (Sender<Order>, Receiver<Vec<News>>),
        wake: Arc<OwnedFd>,
        stop: Arc<AtomicBool>,
        notify: N,
    ) -> Self {
        let (taps, gone, away) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { analyst, taps, gone, away, next_number: 0, own, orders, news, wake, stop, notify }
    }

    /// Reads until it is told to stop.
    pub fn run(mut self) {
        let mut next_tick = Instant::now() + EVERY;
        while !self.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= next_tick {
                self.tick(now);
                // Seconds that were missed, as by a machine that was suspended, are not made up for.
                next_tick = (next_tick + EVERY).max(Instant::now());
            }
            self.wait(next_tick.saturating_duration_since(now));
            while let Ok(news) = self.news.try_recv() {
                self.hear(news);
            }
            if !self.drain() {
                thread::sleep(PAUSE);
            }
        }
        self.finish();
        open::close(self.taps.into_iter().map(|tap| tap.socket).collect());
    }

    /// Lets no more in, takes what has come until now, and tells of it for the last time.
    fn finish(&mut self) {
        for tap in &self.taps {
            // What comes all the same is told of too.
            let _ = tap.socket.refuse_further();
        }
        let until = Instant::now() + EMPTY_AFTER;
        loop {
            self.read_drops();
            self.drain();
            if self.taps.iter().all(|tap| tap.socket.is_drained()) || Instant::now() >= until {
                break;
            }
            thread::sleep(PAUSE);
        }
        let faces = self.faces();
        let symptoms = self.analyst.end(Moment::now(), faces);
        self.tell(symptoms);
        (self.notify)(WatchEvent::Ended);
    }

    fn tell(&self, mut symptoms: Symptoms) {
        let away = |(name, role): &(String, Role)| WatchedInterface {
            name: name.clone(),
            role: *role,
            gone: true,
            ..WatchedInterface::default()
        };
        symptoms.interfaces.extend(self.away.iter().map(away));
        (self.notify)(WatchEvent::Symptoms(Box::new(symptoms)));
    }

    fn wait(&mut self, at_most: Duration) {
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
        let mut descriptors: Vec<PollFd<'_>> =
            self.taps.iter().map(|tap| PollFd::from_borrowed_fd(tap.socket.as_fd(), PollFlags::IN)).collect();
        descriptors.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        // An interrupted wait is a short one: the loop comes round again.
        let _ = poll(&mut descriptors, Some(&timeout));
        let mut failed = false;
        for (tap, descriptor) in self.taps.iter().zip(&descriptors) {
            if descriptor.revents().contains(PollFlags::ERR) {
                // Reading it clears it; otherwise every poll would return at once. Mostly, the interface is gone.
                failed |= tap.socket.pending_error().is_some() && tap.until.is_none();
            }
        }
        if failed {
            // The thread that looks lives for as long as this end of the way to it.
            let _ = self.orders.send(Order::Look);
        }
        // It holds a count that wakes the thread until it is read.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    /// Takes what the sockets hold; true where one of them had so much that there is more.
    fn drain(&mut self) -> bool {
        let Self { taps, analyst, own, .. } = self;
        analyst.look(Moment::now());
        let mut more = false;
        for tap in taps {
            let Tap { number, link, socket, lag, packets, skipped, .. } = tap;
            let behind = socket.is_behind();
            more |= behind;
            if lag.passes_over(behind) {
                let mut passed = 0;
                socket.drain(|_| {
                    passed += 1;
                    ControlFlow::Continue(())
                });
                *packets += passed;
                *skipped += passed;
                continue;
            }
            socket.drain(|packet| {
                let headers = decode::headers(*link, packet.data);
                if !headers.tuple.as_ref().is_some_and(|tuple| own.is_ours(tuple)) {
                    *packets += 1;
                    analyst.read((*number, *link), (packet.nanos, packet.wire_length, packet.data), &headers);
                }
                ControlFlow::Continue(())
            });
        }
        more
    }

    /// What the thread that looks after the interfaces has seen.
    pub fn hear(&mut self, news: Vec<News>) {
        for one in news {
            match one {
                News::Opened { name, role, opened } => self.opened(name, role, *opened),
                News::Called { index, name, role } => {
                    let is_it = |tap: &&mut Tap| tap.index == index && tap.until.is_none();
                    if let Some(tap) = self.taps.iter_mut().find(is_it) {
                        (tap.name, tap.role) = (name, role);
                    }
                }
                News::Gone(index) => {
                    let until = Instant::now() + EMPTY_AFTER;
                    for tap in self.taps.iter_mut().filter(|tap| tap.index == index && tap.until.is_none()) {
                        tap.until = Some(until);
                        // What comes from now on may be a capture's. Of one that is gone nothing comes anyway.
                        let _ = tap.socket.refuse_further();
                    }
                }
                News::Away(away) => self.away = away,
                News::Trouble(message) => (self.notify)(WatchEvent::Trouble(message)),
                News::Note(message) => (self.notify)(WatchEvent::Note(message)),
            }
        }
    }

    fn opened(&mut self, name: String, role: Role, opened: Opened) {
        let Opened { index, link, socket, .. } = opened;
        let number = self.number();
        self.analyst.listens(number, Moment::now());
        let (lag, packets, dropped, skipped) = (Lag::default(), 0, 0, 0);
        self.taps.push(Tap { index, number, name, role, link, socket, lag, packets, dropped, skipped, until: None });
    }

    /// A number that no other has, or had lately.
    fn number(&mut self) -> u16 {
        let long_ago = self.gone.front().is_some_and(|gone| gone.at.elapsed() >= KNOWN_FOR);
        let none_left = self.next_number == u16::MAX;
        if let Some(gone) = if long_ago || none_left { self.gone.pop_front() } else { None } {
            self.analyst.forget(gone.number);
            return gone.number;
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    fn tick(&mut self, now: Instant) {
        self.read_drops();
        let faces = self.faces();
        let symptoms = self.analyst.tell(Moment::now(), faces);
        self.tell(symptoms);
        self.close(now);
    }

    fn read_drops(&mut self) {
        for tap in &mut self.taps {
            // What cannot be asked is asked again in a second.
            tap.dropped += tap.socket.drops().unwrap_or(0);
        }
    }

    /// All interfaces of which something may be told.
    fn faces(&mut self) -> Vec<Face> {
        let mut faces: Vec<Face> = self.taps.iter_mut().map(Tap::face).collect();
        // Of those that are gone things may still be decided.
        for gone in self.gone.iter().filter(|gone| gone.at.elapsed() < KNOWN_FOR) {
            let watched = WatchedInterface { name: gone.name.clone(), role: gone.role, ..WatchedInterface::default() };
            faces.push(Face { number: gone.number, open: false, watched });
        }
        faces
    }

    /// Hands over the sockets of interfaces that are gone once they are empty, to be closed elsewhere.
    fn close(&mut self, now: Instant) {
        let over = |tap: &mut Tap| tap.until.is_some_and(|until| now >= until);
        let mut sockets = Vec::new();
        for tap in self.taps.extract_if(.., over) {
            let Tap { number, name, role, socket, .. } = tap;
            self.gone.push_back(Gone { number, name, role, at: now });
            sockets.push(socket);
        }
        if !sockets.is_empty() {
            // The thread that looks lives for as long as this end of the way to it.
            let _ = self.orders.send(Order::Close(sockets));
        }
    }
}

impl Tap {
    /// Its second, which ends with this.
    fn face(&mut self) -> Face {
        let watched = WatchedInterface {
            name: self.name.clone(),
            role: self.role,
            packets: std::mem::take(&mut self.packets),
            dropped: std::mem::take(&mut self.dropped),
            skipped: std::mem::take(&mut self.skipped),
            gone: false,
        };
        Face { number: self.number, open: self.until.is_none(), watched }
    }
}
