//! What the packets of a capture show, while somebody is told: from the same sockets, and never in their way.
//!
//! Owns which interfaces that is about. What is behind is captured and not analysed, and counted as such.

use std::{collections::BTreeMap, sync::mpsc::Receiver};

use nodewatch_analysis::{
    Echoes,
    decode::{Headers, Link},
};
use nodewatch_protocol::{Role, Symptoms, WatchedInterface};

use super::{
    super::{own::OwnTraffic, packet::RawPacket},
    CaptureEvent, Engine,
};
use crate::{
    moment::Moment,
    symptoms::{Analyst, Face},
};

/// What is to be analysed from now on.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Of two that come in whatever order, the higher one stands.
    pub number: u64,
    /// The interfaces and what they are; none ends it.
    pub roles: BTreeMap<String, Role>,
}

/// The analysis of a capture's packets, if any.
pub(super) struct Shown {
    asked: Receiver<Ask>,
    number: u64,
    roles: BTreeMap<String, Role>,
    analyst: Option<Box<Analyst>>,
    /// What the node's interfaces have shown.
    echoes: Echoes,
    /// A channel of the capture each.
    seconds: Vec<Second>,
}

/// What one channel has had in this second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    wanted: Option<Role>,
    packets: u64,
    skipped: u64,
    /// All that the kernel has dropped before.
    dropped: u64,
}

/// One channel whose packets are analysed.
pub(super) struct Channel<'a> {
    number: u16,
    analyst: &'a mut Analyst,
    second: &'a mut Second,
    passes_over: bool,
}

impl Shown {
    pub(super) fn new(asked: Receiver<Ask>, echoes: Echoes) -> Self {
        Self { asked, number: 0, roles: BTreeMap::new(), analyst: None, echoes, seconds: Vec::new() }
    }

    /// Packets are about to be read.
    pub(super) fn look(&mut self) {
        if let Some(analyst) = &mut self.analyst {
            analyst.look(Moment::now());
        }
    }

    /// That channel, where its packets are analysed. `passes_over` says that they are not, as too many wait.
    #[inline]
    pub(super) fn of(&mut self, channel: usize, name: &str, passes_over: impl FnOnce() -> bool) -> Option<Channel<'_>> {
        let analyst = self.analyst.as_deref_mut()?;
        if channel >= self.seconds.len() {
            self.seconds.resize(channel + 1, Second::default());
        }
        let second = &mut self.seconds[channel];
        if second.wanted.is_none() {
            second.wanted = Some(*self.roles.get(name)?);
        }
        Some(Channel { number: channel as u16, analyst, second, passes_over: passes_over() })
    }
}

impl Channel<'_> {
    /// A packet as it was captured.
    #[inline]
    pub(super) fn packet(&mut self, link: Link, packet: &RawPacket<'_>, headers: &Headers, own: &OwnTraffic) {
        // A capture may be told to keep these, or to leave out more.
        if headers.tuple.as_ref().is_some_and(|tuple| own.is_ours(tuple)) {
            return;
        }
        self.second.packets += 1;
        if self.passes_over {
            self.second.skipped += 1;
            return;
        }
        let packet = (packet.nanos, packet.wire_length, packet.data);
        self.analyst.read((self.number, link), packet, headers);
    }
}

impl<N: Fn(CaptureEvent)> Engine<N> {
    /// What was asked for since the last time.
    pub(super) fn heed(&mut self) {
        while let Ok(Ask { number, roles }) = self.shown.asked.try_recv() {
            if number < self.shown.number {
                continue;
            }
            let same = self.shown.roles == roles;
            self.shown.number = number;
            if same {
                continue;
            }
            let now = Moment::now();
            self.show(now, Analyst::end);
            self.shown.seconds.clear();
            let echoes = || self.shown.echoes.clone();
            self.shown.analyst = (!roles.is_empty()).then(|| Box::new(Analyst::new(true, now, echoes())));
            self.shown.roles = roles;
            for (index, channel) in self.channels.iter().enumerate() {
                let dropped = channel.kernel_drops;
                let wanted = self.shown.roles.get(&channel.name).copied();
                self.shown.seconds.push(Second { wanted, dropped, ..Second::default() });
                if let Some(analyst) = self.shown.analyst.as_mut().filter(|_| wanted.is_some()) {
                    analyst.listens(index as u16, now);
                }
            }
        }
    }

    /// Tells what the second that ends now has shown, by that way of the analysis.
    pub(super) fn show(&mut self, now: Moment, tell: fn(&mut Analyst, Moment, Vec<Face>) -> Symptoms) {
        let Shown { analyst: Some(analyst), seconds, .. } = &mut self.shown else { return };
        let mut faces = Vec::new();
        for (index, (second, channel)) in seconds.iter_mut().zip(&self.channels).enumerate() {
            let Some(role) = second.wanted else { continue };
            let open = self.feeds.iter().any(|feed| feed.channel == index && feed.until.is_none());
            let watched = WatchedInterface {
                name: channel.name.clone(),
                role,
                packets: second.packets,
                dropped: channel.kernel_drops.saturating_sub(second.dropped),
                skipped: second.skipped,
                gone: false,
            };
            (second.packets, second.skipped, second.dropped) = (0, 0, channel.kernel_drops);
            faces.push(Face { number: index as u16, open, watched });
        }
        let symptoms = tell(analyst, now, faces);
        (self.notify)(CaptureEvent::Symptoms(Box::new(symptoms)));
    }
}
