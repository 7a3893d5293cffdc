//! What the packets of a capture show, while somebody is told: from the same sockets, and never in their way.
//!
//! Owns which interfaces that is about. What is behind is captured and not analysed, and counted as such; so is everything
//! once the analysis has panicked.

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
    panics,
    symptoms::{Analyst, Face},
};

/// What is said of an analysis that has failed.
const FAILED: &str = "the analysis of the capture's packets has failed: this is a bug; the capture goes on, and what goes wrong in its \
                      packets is not seen";

/// What is to be analysed from now on.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Of two that come in whatever order, the higher one stands.
    pub number: u64,
    /// The interfaces and what they are; none ends it.
    pub roles: BTreeMap<String, Role>,
}

/// The analysis of a capture's packets.
enum Analysis {
    /// Nobody has asked for it.
    Off,
    /// It goes on.
    On(Box<Analyst>),
    /// It has panicked, which the capture does without; whether that was said.
    Failed(Said),
}

/// Whether people were told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    NotYet,
}

/// What the packets of a capture show.
pub(super) struct Shown {
    asked: Receiver<Ask>,
    number: u64,
    roles: BTreeMap<String, Role>,
    analysis: Analysis,
    /// What the node's interfaces have shown.
    echoes: Echoes,
    /// A channel of the capture each.
    seconds: Vec<Second>,
    /// When something was told last.
    since: Moment,
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
    analysis: &'a mut Analysis,
    second: &'a mut Second,
    passes_over: bool,
}

impl Shown {
    pub(super) fn new(asked: Receiver<Ask>, echoes: Echoes) -> Self {
        let (roles, seconds) = (BTreeMap::new(), Vec::new());
        Self { asked, number: 0, roles, analysis: Analysis::Off, echoes, seconds, since: Moment::now() }
    }

    /// Packets are about to be read.
    pub(super) fn look(&mut self) {
        if let Analysis::On(analyst) = &mut self.analysis {
            analyst.look(Moment::now());
        }
    }

    /// That channel, where its packets are analysed, or would be. `passes_over` says that they are not, as too many wait.
    #[inline]
    pub(super) fn of(&mut self, channel: usize, name: &str, passes_over: impl FnOnce() -> bool) -> Option<Channel<'_>> {
        if matches!(self.analysis, Analysis::Off) {
            return None;
        }
        if channel >= self.seconds.len() {
            self.seconds.resize(channel + 1, Second::default());
        }
        let second = &mut self.seconds[channel];
        if second.wanted.is_none() {
            second.wanted = Some(*self.roles.get(name)?);
        }
        Some(Channel { number: channel as u16, analysis: &mut self.analysis, second, passes_over: passes_over() })
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
        let number = self.number;
        let packet = (packet.nanos, packet.wire_length, packet.data);
        self.analyses(|analyst| analyst.read((number, link), packet, headers));
    }

    /// Counts a packet, which is analysed by that unless too many wait or the analysis has failed.
    fn analyses(&mut self, read: impl FnOnce(&mut Analyst)) {
        self.second.packets += 1;
        if let (Analysis::On(analyst), false) = (&mut *self.analysis, self.passes_over) {
            if panics::caught(|| read(analyst)).is_ok() {
                return;
            }
            *self.analysis = Analysis::Failed(Said::NotYet);
        }
        self.second.skipped += 1;
    }
}

/// What a second has shown, by that way of telling it, and whether all of that was said. Of an analysis that has failed the
/// packets were left out.
fn told(
    analysis: &mut Analysis,
    (since, now): (Moment, Moment),
    faces: Vec<Face>,
    tell: fn(&mut Analyst, Moment, Vec<Face>) -> Symptoms,
) -> Option<(Symptoms, Said)> {
    match analysis {
        Analysis::Off => return None,
        Analysis::On(analyst) => match panics::caught(|| tell(analyst, now, faces.clone())) {
            Ok(symptoms) => return Some((symptoms, Said::Yes)),
            Err(panics::Panicked) => *analysis = Analysis::Failed(Said::NotYet),
        },
        Analysis::Failed(_) => {}
    }
    let Analysis::Failed(said) = analysis else { return None };
    let of_them = faces.into_iter().filter(|face| face.open || face.watched.packets > 0);
    let left_out = |watched: WatchedInterface| WatchedInterface { skipped: watched.packets, ..watched };
    let symptoms = Symptoms {
        captured: true,
        at: now.unix_millis(),
        millis: now.boot.since(since.boot).as_millis() as u64,
        interfaces: of_them.map(|face| left_out(face.watched)).collect(),
        ..Symptoms::default()
    };
    Some((symptoms, std::mem::replace(said, Said::Yes)))
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
            let echoes = self.shown.echoes.clone();
            self.shown.analysis =
                if roles.is_empty() { Analysis::Off } else { Analysis::On(Box::new(Analyst::new(true, now, echoes))) };
            self.shown.roles = roles;
            for (index, channel) in self.channels.iter().enumerate() {
                let dropped = channel.kernel_drops;
                let wanted = self.shown.roles.get(&channel.name).copied();
                self.shown.seconds.push(Second { wanted, dropped, ..Second::default() });
                if let (Analysis::On(analyst), true) = (&mut self.shown.analysis, wanted.is_some()) {
                    analyst.listens(index as u16, now);
                }
            }
        }
    }

    /// Tells what the second that ends now has shown, by that way of the analysis.
    pub(super) fn show(&mut self, now: Moment, tell: fn(&mut Analyst, Moment, Vec<Face>) -> Symptoms) {
        let Shown { analysis, seconds, since, .. } = &mut self.shown;
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
        let since = std::mem::replace(since, now);
        let Some((symptoms, said)) = told(analysis, (since, now), faces, tell) else { return };
        if said == Said::NotYet {
            (self.notify)(CaptureEvent::Trouble(FAILED.to_owned()));
        }
        (self.notify)(CaptureEvent::Symptoms(Box::new(symptoms)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_analysis_that_panics_ends_alone_and_what_it_would_have_seen_is_left_out() {
        let (_asks, asked) = std::sync::mpsc::channel();
        let mut shown = Shown::new(asked, crate::symptoms::echoes());
        let begun = Moment::now();
        assert!(shown.of(0, "eth0", || false).is_none(), "nobody has asked");
        shown.roles.insert("eth0".into(), Role::Node);
        shown.analysis = Analysis::On(Box::new(Analyst::new(true, begun, shown.echoes.clone())));
        let mut see = |read: fn(&mut Analyst)| shown.of(0, "eth0", || false).expect("it is wanted").analyses(read);
        see(|_| ());
        see(|_| panic!("on purpose"));
        see(|_| panic!("it is not called any more"));
        let counted = shown.seconds[0];
        assert_eq!((counted.packets, counted.skipped), (3, 2));
        let face = || {
            let watched = WatchedInterface { name: "eth0".into(), packets: 3, ..WatchedInterface::default() };
            vec![Face { number: 0, open: true, watched }]
        };
        let second = |analysis: &mut Analysis, tell| told(analysis, (begun, begun), face(), tell);
        let lost = |second: Option<(Symptoms, Said)>| {
            let (symptoms, said) = second.expect("something is told");
            assert!(symptoms.captured);
            (symptoms.interfaces[0].skipped, said == Said::Yes)
        };
        assert_eq!(lost(second(&mut shown.analysis, Analyst::tell)), (3, false));
        assert_eq!(lost(second(&mut shown.analysis, Analyst::tell)), (3, true), "said once");
        // And one that panics as it tells.
        shown.analysis = Analysis::On(Box::new(Analyst::new(true, begun, shown.echoes.clone())));
        assert_eq!(lost(second(&mut shown.analysis, Analyst::tell)), (0, true));
        assert_eq!(lost(second(&mut shown.analysis, |_, _, _| panic!("on purpose"))), (3, false));
        assert!(second(&mut Analysis::Off, Analyst::tell).is_none());
    }
}
