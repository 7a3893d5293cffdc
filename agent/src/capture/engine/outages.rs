//! Interfaces that go down, vanish or come back while they are captured.
//!
//! Owns which packet socket belongs to which interface now. The kernel is asked by `watch`, on a thread of its own.

use std::time::{Duration, Instant};

use nodewatch_protocol::InterfaceState;

use super::{
    super::{
        channel::Channel,
        open::Opened,
        source::{PacketSocket, RETIRE_MILLIS},
        start,
        taps::Tap,
        watch::{News, Order, Sight},
    },
    CaptureEvent, Engine, Feed,
};
use crate::moment::Moment;

impl<N: Fn(CaptureEvent)> Engine<N> {
    /// A socket has an error: mostly, its interface is down or gone.
    pub(super) fn failed(&mut self, index: usize) {
        let feed = &mut self.feeds[index];
        // Reading the pending error clears it; otherwise every poll would return at once.
        let Some(error) = feed.socket.pending_error() else { return };
        if feed.until.is_some() {
            return;
        }
        let tap = feed.tap;
        let state = match error.raw_os_error() {
            Some(libc::ENETDOWN | libc::ENODEV) if feed.socket.is_bound() => InterfaceState::Down,
            Some(libc::ENETDOWN | libc::ENODEV) => InterfaceState::Gone,
            _ => {
                let message = format!("interface {}: {error}", self.taps[tap].name);
                return (self.notify)(CaptureEvent::Trouble(message));
            }
        };
        self.missing(tap, state);
        let tap_now = &mut self.taps[tap];
        tap_now.asked += 1;
        // The thread that looks lives for as long as this end of the way to it.
        let _ = self.orders.send(Order::Look { tap, index: tap_now.index, number: tap_now.asked });
    }

    fn missing(&mut self, tap: usize, state: InterfaceState) {
        let line = self.taps[tap].missing(state, &mut self.channels, Moment::now());
        if self.taps[tap].index.is_none() {
            self.retire(tap);
        }
        if let Some(line) = line {
            let quiet = self.taps[tap].led && state == InterfaceState::Gone;
            (self.notify)(if quiet { CaptureEvent::Note(line) } else { CaptureEvent::Trouble(line) });
        }
    }

    /// The socket of that interface brings nothing new; what is in it is still taken.
    fn retire(&mut self, tap: usize) {
        let until = Instant::now() + Duration::from_millis(3 * u64::from(RETIRE_MILLIS));
        for feed in self.feeds.iter_mut().filter(|feed| feed.tap == tap) {
            feed.until.get_or_insert(until);
        }
    }

    /// What the thread that looks after the interfaces has seen.
    pub(super) fn hear(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            for News { tap, number, sight } in news {
                if let Sight::Joined(name) = sight {
                    // In the order in which the thread that looks has them.
                    (self.notify)(CaptureEvent::Joined(name.clone()));
                    self.taps.push(Tap::of_pod(name));
                    continue;
                }
                // Seen before the last that is known here.
                let old = number < self.taps[tap].asked;
                match sight {
                    Sight::Opened(opened) => self.back(tap, *opened),
                    Sight::Up(lost) if !old => self.up(tap, None, lost),
                    Sight::Renamed(name, lost) if !old => self.up(tap, Some(&name), lost),
                    Sight::Down if !old => self.missing(tap, InterfaceState::Down),
                    Sight::Gone if !old => self.missing(tap, InterfaceState::Gone),
                    Sight::Unreadable(reason) if !old => {
                        if self.taps[tap].state != InterfaceState::LeftOut {
                            let line = format!("interface {} exists but cannot be read: {reason}", self.taps[tap].name);
                            (self.notify)(CaptureEvent::Trouble(line));
                        }
                        self.missing(tap, InterfaceState::LeftOut);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The device that is read is up, perhaps under another name than it was asked for by.
    fn up(&mut self, tap: usize, name: Option<&str>, lost: u64) {
        let channel = self.taps[tap].channel();
        self.channels[channel].interface_drops += self.taps[tap].losses(lost);
        if self.taps[tap].state != InterfaceState::Reading
            && let Some(index) = self.taps[tap].index
        {
            self.reading(tap, index, lost);
        }
        if let Some(line) = self.taps[tap].called(name, &mut self.channels, Moment::now()) {
            (self.notify)(CaptureEvent::Trouble(line));
        }
    }

    fn reading(&mut self, tap: usize, index: u32, lost: u64) {
        let line = self.taps[tap].reading(index, lost, &mut self.channels, Moment::now());
        if let Some(line) = line {
            // That it was away has been told, and is the trouble.
            (self.notify)(CaptureEvent::Note(line));
        }
    }

    /// An interface is there under its name, perhaps another one with another link type.
    fn back(&mut self, tap: usize, opened: Opened) {
        self.retire(tap);
        if let Some(line) = self.taps[tap].replaced(opened.index, &mut self.channels, Moment::now()) {
            (self.notify)(CaptureEvent::Trouble(line));
        }
        let words = start::about(&self.taps[tap].name, &opened, self.spec.content, self.spec.snaplen);
        let Opened { index, link, snaplen, socket, lost, .. } = opened;
        self.reading(tap, index, lost);
        let same = |&channel: &usize| self.channels[channel].link == link;
        let channel = self.taps[tap].channels.iter().copied().find(same).unwrap_or_else(|| {
            self.channels.push(Channel::new(&self.taps[tap].name, link, snaplen));
            self.output.joined(&self.channels, &self.spec);
            // One that comes back as it was has had it said.
            for word in words {
                (self.notify)(word.into());
            }
            self.channels.len() - 1
        });
        let channels = &mut self.taps[tap].channels;
        channels.retain(|&one| one != channel);
        channels.push(channel);
        self.feeds.push(Feed::new(socket, tap, channel));
    }

    /// Hands over the sockets of interfaces that are gone once they are empty, to be closed elsewhere.
    pub(super) fn close_retired(&mut self) {
        let now = Instant::now();
        let over = |feed: &mut Feed| feed.until.is_some_and(|until| now >= until);
        let sockets: Vec<PacketSocket> = self.feeds.extract_if(.., over).map(|feed| feed.socket).collect();
        if !sockets.is_empty() {
            // The thread that looks lives for as long as this end of the way to it.
            let _ = self.orders.send(Order::Close(sockets));
        }
    }
}
