//! The interfaces of a running capture, each from its beginning to its end, whatever becomes of it.
//!
//! Owns when nothing was captured from an interface, and what is said of it. Pure: what happened comes in from outside.

use std::time::{Duration, Instant};

use nodewatch_protocol::InterfaceState;

use super::channel::{Channel, Gap};
use crate::moment::Moment;

/// Lines about one interface in a minute: one that goes up and down all the time is counted, not told each time.
const LINES_A_MINUTE: u32 = 12;

/// One interface of the capture.
#[derive(Debug)]
pub struct Tap {
    /// The name by which it was asked for.
    pub name: String,
    /// Its channels in the file: one for each link type that it has had, the current one last.
    pub channels: Vec<usize>,
    /// The device that is read; another of its name has another number.
    pub index: Option<u32>,
    /// What that device is called, where it is not the name.
    called: Option<String>,
    /// How it is.
    pub state: InterfaceState,
    /// Since when nothing is captured from it.
    since: Option<Instant>,
    /// How long nothing was captured from it before that.
    before: Duration,
    /// What the device has lost, when that was last read.
    lost: Option<u64>,
    /// What was seen before this was asked for is old news.
    pub asked: u64,
    minute: Option<Instant>,
    lines: u32,
    /// It is a pod's own: that it goes with the pod is no loss.
    pub led: bool,
}

impl Tap {
    /// One that writes into that channel.
    pub fn new(name: String, channel: usize) -> Self {
        Self {
            name,
            channels: vec![channel],
            index: None,
            called: None,
            state: InterfaceState::Reading,
            since: None,
            before: Duration::ZERO,
            lost: None,
            asked: 0,
            minute: None,
            lines: 0,
            led: false,
        }
    }

    /// One that has come to a running capture with its pod, and has no channel before it is read.
    pub fn of_pod(name: String) -> Self {
        Self { channels: Vec::new(), state: InterfaceState::Gone, led: true, ..Self::new(name, 0) }
    }

    /// The channel that its packets go into.
    pub fn channel(&self) -> usize {
        self.channels.last().copied().unwrap_or_default()
    }

    /// It is read, or read again, from that device on.
    pub fn reading(&mut self, index: u32, lost: u64, channels: &mut [Channel], now: Moment) -> Option<String> {
        self.index = Some(index);
        self.lost = Some(lost);
        self.state = InterfaceState::Reading;
        let since = self.since.take()?;
        let gone = now.instant.duration_since(since);
        self.before += gone;
        if let Some(gap) = channels.get_mut(self.channel()).and_then(|channel| channel.gaps.last_mut()) {
            gap.to.get_or_insert(now.unix_nanos);
        }
        let line =
            format!("interface {} is back; nothing was captured from it for {:.1} s", self.name, gone.as_secs_f64());
        self.say(now, line)
    }

    /// Nothing comes from it any more, for that reason.
    pub fn missing(&mut self, state: InterfaceState, channels: &mut [Channel], now: Moment) -> Option<String> {
        if state != InterfaceState::Down {
            self.index = None;
        }
        if self.state == state {
            return None;
        }
        self.state = state;
        if self.led && matches!(state, InterfaceState::Down | InterfaceState::Gone) {
            // It is taken down before it goes.
            let line = format!("interface {} is gone with its pod", self.name);
            return if state == InterfaceState::Gone { self.say(now, line) } else { None };
        }
        self.since.get_or_insert(now.instant);
        if let Some(channel) = channels.get_mut(self.channel()) {
            channel.begin_gap(Gap { from: now.unix_nanos, to: None, times: 1, why: why(state) });
        }
        let name = &self.name;
        let line = match state {
            InterfaceState::Down => format!("interface {name} went down; not captured until it is up again"),
            InterfaceState::Gone => {
                format!("interface {name} disappeared; the capture continues and resumes it when it is back")
            }
            InterfaceState::Reading | InterfaceState::LeftOut => return None,
        };
        self.say(now, line)
    }

    /// The device that is read is called that; `None` is the name by which it was asked for.
    pub fn called(&mut self, other: Option<&str>, channels: &mut [Channel], now: Moment) -> Option<String> {
        if self.called.as_deref() == other {
            return None;
        }
        self.called = other.map(str::to_owned);
        let name = &self.name;
        let line = match other {
            Some(other) => {
                format!("interface {name} was renamed to {other}; still captured, as {name}")
            }
            None => format!("interface {name} was renamed back"),
        };
        self.mark(channels, now, &line);
        self.say(now, line)
    }

    /// Another device than the one that is read has the name, and is read from now on.
    pub fn replaced(&mut self, index: u32, channels: &mut [Channel], now: Moment) -> Option<String> {
        let called = self.called.take();
        if self.state != InterfaceState::Reading || self.index.is_none_or(|known| known == index) {
            return None;
        }
        let name = &self.name;
        let before = called.map_or_else(String::new, |other| format!(" of {other}"));
        let line = format!("another interface is now called {name} and is captured instead{before}");
        self.mark(channels, now, &line);
        self.say(now, line)
    }

    fn mark(&self, channels: &mut [Channel], now: Moment, line: &str) {
        if let Some(channel) = channels.get_mut(self.channel()) {
            channel.mark(now.unix_nanos, line);
        }
    }

    /// The device's own count of what it lost; returns what is new.
    pub fn losses(&mut self, lost: u64) -> u64 {
        // A driver that is loaded anew counts from nothing.
        self.lost.replace(lost).map_or(0, |before| if lost < before { lost } else { lost - before })
    }

    /// For how long nothing was captured from it, until now.
    pub fn gap(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    fn say(&mut self, now: Moment, mut line: String) -> Option<String> {
        if self.minute.is_none_or(|minute| now.instant.duration_since(minute) >= Duration::from_secs(60)) {
            self.minute = Some(now.instant);
            self.lines = 0;
        }
        self.lines += 1;
        if self.lines == LINES_A_MINUTE {
            line.push_str("; further changes in this minute are counted, not shown");
        }
        (self.lines <= LINES_A_MINUTE).then_some(line)
    }
}

/// The reason as files have it.
fn why(state: InterfaceState) -> &'static str {
    match state {
        InterfaceState::Down => "it was down",
        InterfaceState::LeftOut => "it could not be read",
        InterfaceState::Reading | InterfaceState::Gone => "it had disappeared",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewatch_analysis::decode::Link;

    fn at(began: Moment, millis: u64) -> Moment {
        Moment {
            instant: began.instant + Duration::from_millis(millis),
            boot: began.boot + Duration::from_millis(millis),
            unix_nanos: began.unix_nanos + millis * 1_000_000,
        }
    }

    #[test]
    fn the_time_that_an_interface_was_away_is_counted_and_marked_once() {
        let began = Moment::now();
        let mut channels = vec![Channel::new("vx0", Link::Ethernet, 100)];
        let mut tap = Tap::new("vx0".into(), 0);
        assert_eq!(tap.reading(7, 0, &mut channels, began), None);
        let down = tap.missing(InterfaceState::Down, &mut channels, at(began, 1000)).expect("said");
        assert!(down.contains("vx0 went down"), "{down}");
        assert_eq!(tap.index, Some(7), "it may come up again by itself");
        let gone = tap.missing(InterfaceState::Gone, &mut channels, at(began, 1500)).expect("said");
        assert!(gone.contains("vx0 disappeared"), "{gone}");
        assert_eq!(tap.missing(InterfaceState::Gone, &mut channels, at(began, 1600)), None);
        assert_eq!(tap.gap(at(began, 2000).instant), Duration::from_secs(1));
        let back = tap.reading(9, 0, &mut channels, at(began, 3000)).expect("said");
        assert!(back.contains("for 2.0 s"), "{back}");
        assert_eq!(tap.gap(at(began, 9000).instant), Duration::from_secs(2));
        let [gap] = &channels[0].gaps[..] else { panic!("one gap: {:?}", channels[0].gaps) };
        assert_eq!((gap.from, gap.to), (at(began, 1000).unix_nanos, Some(at(began, 3000).unix_nanos)));
        assert_eq!(gap.why, "it had disappeared");
    }

    #[test]
    fn an_interface_that_goes_up_and_down_all_the_time_fills_neither_memory_nor_screen() {
        let began = Moment::now();
        let mut channels = vec![Channel::new("vx0", Link::Ethernet, 100)];
        let mut tap = Tap::new("vx0".into(), 0);
        let mut lines = 0;
        for round in 0..1000 {
            lines += u32::from(tap.missing(InterfaceState::Down, &mut channels, at(began, round * 20)).is_some());
            lines += u32::from(tap.reading(7, 0, &mut channels, at(began, round * 20 + 10)).is_some());
        }
        assert_eq!(lines, LINES_A_MINUTE);
        assert_eq!(tap.gap(at(began, 60_000).instant), Duration::from_secs(10));
        assert!(channels[0].gaps.len() <= 32);
        assert_eq!(channels[0].gaps.iter().map(|gap| gap.times).sum::<u32>(), 1000);
        let again = tap.missing(InterfaceState::Down, &mut channels, at(began, 100_000));
        assert!(again.is_some(), "a minute later it is told again");
    }

    #[test]
    fn a_device_that_gets_another_name_is_said_and_marked_once() {
        let began = Moment::now();
        let mut channels = vec![Channel::new("vx0", Link::Ethernet, 100)];
        let mut tap = Tap::new("vx0".into(), 0);
        tap.reading(7, 0, &mut channels, began);
        assert_eq!(tap.called(None, &mut channels, began), None, "it has its own");
        let said = tap.called(Some("vx9"), &mut channels, at(began, 1000)).expect("said");
        assert!(said.contains("vx0 was renamed to vx9"), "{said}");
        assert_eq!(tap.called(Some("vx9"), &mut channels, at(began, 1100)), None);
        let said = tap.replaced(8, &mut channels, at(began, 2000)).expect("said");
        assert!(said.contains("another interface is now called vx0") && said.contains("instead of vx9"), "{said}");
        assert_eq!(tap.gap(at(began, 9000).instant), Duration::ZERO, "nothing was missed");
        assert_eq!(channels[0].marks.len(), 2);
    }

    #[test]
    fn a_driver_that_counts_from_nothing_again_makes_no_huge_loss() {
        let mut tap = Tap::new("eth0".into(), 0);
        assert_eq!(tap.losses(100), 0, "before the capture");
        assert_eq!((tap.losses(103), tap.losses(2), tap.losses(2)), (3, 2, 0));
    }
}
