//! Ports over time: listeners that close and open again and again, and sockets that are a client's and no listener.
//!
//! Owns both rules, and what of a node's changes is worth a line. In bounded memory, however long a node is watched.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::RangeInclusive,
};

use nodewatch_protocol::{Port, PortChange, PortProtocol, UnixMillis};
use serde::{Deserialize, Serialize};

/// So many closings of a port...
const CLOSINGS: usize = 3;
/// ...within so long are a flap, in milliseconds. It goes on as long as the next one comes within the same.
pub const FLAPS_WITHIN: u64 = 120_000;
/// The last closings of a port that are remembered one by one.
const REMEMBERED: usize = 64;
/// Ports whose closings are remembered.
const MOST_PORTS: usize = 128;
/// Changes that are listed.
const MOST_CHANGES: usize = 500;
/// Sockets that may turn out to be a client's.
const MOST_YOUNG: usize = 4096;

/// What Linux gives to sockets that ask for no port, unless `net.ipv4.ip_local_port_range` says otherwise.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
/// A client's socket lives less than this, in milliseconds.
const CLIENT_LIVES: u64 = 60_000;

/// Whether a socket that has lived so long is a client's, as a resolver has one for each question: bound to no peer, so that
/// it looks like a server's, on a port that the kernel chose, and soon gone. Such sockets are counted and not listed.
pub fn is_client(port: &Port, lived: u64) -> bool {
    may_be_client(port) && lived < CLIENT_LIVES
}

/// Whether it is on a port that the kernel chooses for clients: only such a socket can be one.
pub fn may_be_client(port: &Port) -> bool {
    matches!(port.protocol, PortProtocol::Udp | PortProtocol::UdpLite) && EPHEMERAL.contains(&port.local.port())
}

/// A listener that closed at least three times in two minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flap {
    /// The socket.
    pub port: Port,
    /// How often it closed.
    pub closed: u64,
    /// How long it was closed in most cases, the shortest and the longest time of late, in milliseconds; `None` when it has
    /// not opened again.
    pub lasted: Option<(u64, u64, u64)>,
    /// From one closing to the next in most cases, in milliseconds.
    pub every: u64,
    /// When it first closed.
    pub first: UnixMillis,
    /// When it last closed.
    pub last: UnixMillis,
    /// It has not opened again.
    pub is_closed: bool,
    /// The last closings one by one, oldest first.
    pub closings: Vec<UnixMillis>,
}

impl Flap {
    /// It flapped so lately that it may go on.
    pub fn goes_on(&self, now: UnixMillis) -> bool {
        now.saturating_sub(self.last) <= FLAPS_WITHIN
    }

    /// The same by a clock that is so far ahead, in milliseconds.
    #[must_use]
    pub fn by_clock(mut self, ahead: i64) -> Self {
        let shift = |at: &mut UnixMillis| *at = at.saturating_add_signed(ahead);
        shift(&mut self.first);
        shift(&mut self.last);
        self.closings.iter_mut().for_each(shift);
        self
    }

    /// One flap of what was seen of a port earlier and later.
    #[must_use]
    pub fn joined(self, later: Self) -> Self {
        let lasted = match (self.lasted, later.lasted) {
            (Some((_, shortest, longest)), Some((typical, short, long))) => {
                Some((typical, shortest.min(short), longest.max(long)))
            }
            (earlier, later) => later.or(earlier),
        };
        let mut closings: Vec<UnixMillis> = self.closings.into_iter().chain(later.closings).collect();
        closings.drain(..closings.len().saturating_sub(REMEMBERED));
        Self { closed: self.closed + later.closed, lasted, first: self.first.min(later.first), closings, ..later }
    }

    /// What it does, without its name: `closed 12 times, 1.0 s each, about every 10 s`.
    pub fn how(&self) -> String {
        let each = match self.lasted {
            // A scan a second tells no finer.
            Some((typical, shortest, longest)) if longest - shortest <= 1000 || longest <= 2 * shortest => {
                format!(", {} each", length(typical))
            }
            Some((_, shortest, longest)) => format!(", {} to {} each", length(shortest), length(longest)),
            None => String::new(),
        };
        let now = if self.is_closed { ", and is closed now" } else { "" };
        format!("closed {} times{each}, about every {}{now}", self.closed, whole(self.every))
    }
}

impl fmt::Display for Flap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flaps: {}", self.port, self.how())
    }
}

/// A length as it was measured.
fn length(millis: u64) -> String {
    if millis < 10_000 { format!("{:.1} s", millis as f64 / 1000.0) } else { whole(millis) }
}

/// A length in whole seconds, or minutes.
fn whole(millis: u64) -> String {
    match (millis + 500) / 1000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

/// The flaps in these changes of a node's ports, which are in the order of time.
pub fn flaps<'a>(changes: impl IntoIterator<Item = &'a PortChange>) -> Vec<Flap> {
    let mut history = PortHistory::default();
    changes.into_iter().for_each(|change| history.note(change));
    history.flaps()
}

/// One closing.
#[derive(Debug, Clone, Copy)]
struct Closing {
    at: UnixMillis,
    /// Until it opened again.
    lasted: Option<u64>,
}

/// A port's closings.
#[derive(Debug, Clone, Default)]
struct Track {
    /// The last ones.
    recent: VecDeque<Closing>,
    /// Those of flaps.
    closed: u64,
    /// When the first flap began, and the last one.
    first: UnixMillis,
    spell: UnixMillis,
    /// The last closing was part of a flap.
    flapping: bool,
}

impl Track {
    /// True when a flap begins with it.
    fn close(&mut self, at: UnixMillis) -> bool {
        let goes_on = self.recent.back().is_some_and(|last| at.saturating_sub(last.at) <= FLAPS_WITHIN);
        self.flapping &= goes_on;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Closing { at, lasted: None });
        if self.flapping {
            self.closed += 1;
            return false;
        }
        let begin = self.recent.len().checked_sub(CLOSINGS).map(|index| self.recent[index].at);
        if let Some(begin) = begin.filter(|&begin| at.saturating_sub(begin) <= FLAPS_WITHIN) {
            self.flapping = true;
            if self.closed == 0 {
                self.first = begin;
            }
            self.spell = begin;
            self.closed += CLOSINGS as u64;
        }
        self.flapping
    }

    fn open(&mut self, at: UnixMillis) {
        if let Some(last) = self.recent.back_mut() {
            last.lasted.get_or_insert(at.saturating_sub(last.at));
        }
    }

    fn flap(&self, port: Port) -> Option<Flap> {
        if self.closed == 0 {
            return None;
        }
        let spell: Vec<Closing> = self.recent.iter().filter(|closing| closing.at >= self.spell).copied().collect();
        let mut lasted: Vec<u64> = spell.iter().filter_map(|closing| closing.lasted).collect();
        lasted.sort_unstable();
        let mut between: Vec<u64> = spell.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect();
        between.sort_unstable();
        let middle = |sorted: &[u64]| sorted.get(sorted.len() / 2).copied();
        let ends = lasted.first().copied().zip(lasted.last().copied());
        Some(Flap {
            port,
            closed: self.closed,
            lasted: middle(&lasted).zip(ends).map(|(middle, (shortest, longest))| (middle, shortest, longest)),
            every: middle(&between).unwrap_or_default(),
            first: self.first,
            last: spell.last().map_or(self.first, |closing| closing.at),
            is_closed: self.recent.back().is_some_and(|closing| closing.lasted.is_none()),
            closings: spell.iter().map(|closing| closing.at).collect(),
        })
    }
}

/// What a node's ports did over time.
#[derive(Debug, Clone, Default)]
pub struct PortHistory {
    tracks: BTreeMap<Port, Track>,
    /// When sockets that may be a client's opened.
    young: BTreeMap<Port, UnixMillis>,
    /// Sockets of clients that have come and gone.
    clients: u64,
    /// What neither a client nor a flap did, oldest first, and how many more of these there were.
    changes: (VecDeque<PortChange>, u64),
}

impl PortHistory {
    /// Takes in a change; they come in the order of time.
    pub fn note(&mut self, change: &PortChange) {
        let PortChange { at, port, opened } = *change;
        if opened {
            if let Some(track) = self.tracks.get_mut(&port) {
                track.open(at);
            }
            if may_be_client(&port) {
                self.remember_young(port, at);
            }
        } else {
            let lived = self.young.remove(&port).map(|since| at.saturating_sub(since));
            if lived.is_some_and(|lived| is_client(&port, lived)) {
                self.clients += 1;
                self.unlist_opening(port);
                return;
            }
            if self.track(port).close(at) {
                self.changes.0.retain(|listed| listed.port != port);
            }
        }
        // The line of one that flaps is the flap's.
        if !self.tracks.get(&port).is_some_and(|track| track.flapping) {
            self.list(*change);
        }
    }

    fn remember_young(&mut self, port: Port, at: UnixMillis) {
        if self.young.len() >= MOST_YOUNG {
            self.young.retain(|_, since| at.saturating_sub(*since) < CLIENT_LIVES);
        }
        if self.young.len() < MOST_YOUNG {
            self.young.insert(port, at);
        }
    }

    fn unlist_opening(&mut self, port: Port) {
        if let Some(index) = self.changes.0.iter().rposition(|listed| listed.port == port && listed.opened) {
            self.changes.0.remove(index);
        }
    }

    fn list(&mut self, change: PortChange) {
        if self.changes.0.len() == MOST_CHANGES {
            self.changes.0.pop_front();
            self.changes.1 += 1;
        }
        self.changes.0.push_back(change);
    }

    /// A port's closings. Where there are too many ports, the one that closed longest ago goes, flaps last.
    fn track(&mut self, port: Port) -> &mut Track {
        if self.tracks.len() >= MOST_PORTS && !self.tracks.contains_key(&port) {
            let age = |track: &Track| (track.closed > 0, track.recent.back().map(|closing| closing.at));
            let oldest = self.tracks.iter().min_by_key(|(_, track)| age(track)).map(|(port, _)| *port);
            oldest.map(|oldest| self.tracks.remove(&oldest));
        }
        self.tracks.entry(port).or_default()
    }

    /// Every listener that flapped, the one that closed most often first.
    pub fn flaps(&self) -> Vec<Flap> {
        let mut flaps: Vec<Flap> = self.tracks.iter().filter_map(|(port, track)| track.flap(*port)).collect();
        flaps.sort_by_key(|flap| (std::cmp::Reverse(flap.closed), flap.port));
        flaps
    }

    /// What a listener did, if it flapped.
    pub fn flap(&self, port: &Port) -> Option<Flap> {
        self.tracks.get(port)?.flap(*port)
    }

    /// How many sockets of clients came and went.
    pub fn clients(&self) -> u64 {
        self.clients
    }

    /// What neither a client nor a flap did, oldest first. A socket so young that it may be a client's waits.
    pub fn changes(&self, now: UnixMillis) -> impl Iterator<Item = &PortChange> {
        let waits = move |change: &PortChange| change.opened && is_client(&change.port, now.saturating_sub(change.at));
        self.changes.0.iter().filter(move |change| !waits(change))
    }

    /// How many more of these there were than are kept.
    pub fn more_changes(&self) -> u64 {
        self.changes.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: u64, port: &str, opened: bool) -> PortChange {
        PortChange { at, port: port.parse().expect("a port"), opened }
    }

    /// A listener that closes for so long, every so often.
    fn flapping(port: &str, from: u64, times: u64, every: u64, lasted: u64) -> Vec<PortChange> {
        let pair = |turn: u64| {
            let at = from + turn * every;
            [change(at, port, false), change(at + lasted, port, true)]
        };
        (0..times).flat_map(pair).collect()
    }

    const SERVER: &str = "tcp 10.89.0.11:8080";
    const RESOLVER: &str = "udp 0.0.0.0:35132";

    #[test]
    fn three_closings_in_two_minutes_are_a_flap() {
        let told: Vec<String> = flaps(&flapping(SERVER, 1000, 12, 10_000, 1000)).iter().map(Flap::to_string).collect();
        assert_eq!(told, ["tcp 10.89.0.11:8080 flaps: closed 12 times, 1.0 s each, about every 10 s"]);
        assert_eq!(flaps(&flapping(SERVER, 0, 2, 10_000, 1000)), []);
        assert_eq!(flaps(&flapping(SERVER, 0, 3, 60_000, 1000)).len(), 1, "just within");
        assert_eq!(flaps(&flapping(SERVER, 0, 30, 60_001, 1000)), []);
    }

    #[test]
    fn a_restart_hours_before_is_no_part_of_it() {
        let mut changes = flapping(SERVER, 0, 1, 1, 5000);
        changes.extend(flapping(SERVER, 7_200_000, 4, 20_000, 2000));
        changes.extend(flapping(SERVER, 14_400_000, 1, 1, 5000));
        let flap = &flaps(&changes)[0];
        assert_eq!((flap.closed, flap.first, flap.every), (4, 7_200_000, 20_000));
        assert!(!flap.goes_on(flap.last + FLAPS_WITHIN + 1) && flap.goes_on(flap.last + FLAPS_WITHIN));
    }

    #[test]
    fn lengths_that_differ_are_told_as_they_are() {
        let mut changes = flapping(SERVER, 0, 2, 20_000, 500);
        changes.extend(flapping(SERVER, 40_000, 2, 20_000, 6200));
        assert_eq!(flaps(&changes)[0].how(), "closed 4 times, 0.5 s to 6.2 s each, about every 20 s");
        let open_end = [change(0, SERVER, false), change(1000, SERVER, true), change(9000, SERVER, false)];
        let last = change(30_000, SERVER, false);
        let told = flaps(open_end.iter().chain([&change(10_000, SERVER, true), &last]))[0].how();
        assert_eq!(told, "closed 3 times, 1.0 s each, about every 21 s, and is closed now");
    }

    #[test]
    fn what_was_seen_before_and_after_a_pause_is_one_flap() {
        let part = |from| flaps(&flapping(SERVER, from, 5, 10_000, 1000)).remove(0);
        let joined = part(0).joined(part(600_000).by_clock(1000));
        assert_eq!((joined.closed, joined.first, joined.last), (10, 0, 641_000));
        assert_eq!(joined.closings.len(), 10);
    }

    #[test]
    fn a_clients_socket_is_counted_and_not_listed() {
        let port = |text: &str| text.parse::<Port>().expect("a port");
        assert!(is_client(&port(RESOLVER), 59_999) && !is_client(&port(RESOLVER), 60_000));
        assert!(!is_client(&port("udp 0.0.0.0:5353"), 1) && !is_client(&port("tcp 0.0.0.0:35132"), 1));
        let mut history = PortHistory::default();
        for turn in 0..60 {
            let resolver = format!("udp 0.0.0.0:{}", 40_000 + turn);
            history.note(&change(turn * 1000, &resolver, true));
            history.note(&change(turn * 1000 + 500, &resolver, false));
        }
        history.note(&change(70_000, "tcp 0.0.0.0:9000", true));
        history.note(&change(70_000, RESOLVER, true));
        let listed = |history: &PortHistory, now| -> Vec<String> {
            history.changes(now).map(|change| change.port.to_string()).collect()
        };
        assert_eq!((history.clients(), listed(&history, 71_000)), (60, vec!["tcp 0.0.0.0:9000".to_owned()]));
        assert_eq!(listed(&history, 130_000).len(), 2, "what stays is a server's");
        history.note(&change(140_000, RESOLVER, false));
        assert_eq!((history.clients(), history.changes(140_000).count()), (60, 3));
    }

    #[test]
    fn a_flap_has_one_line_and_no_pairs() {
        let mut history = PortHistory::default();
        for change in &flapping(SERVER, 0, 40, 10_000, 1000) {
            history.note(change);
        }
        assert_eq!((history.changes(400_000).count(), history.flaps().len()), (0, 1));
        assert_eq!(history.flap(&SERVER.parse().expect("a port")).map(|flap| flap.closed), Some(40));
    }

    #[test]
    fn a_flap_is_told_after_a_week_of_everything_and_memory_is_bounded() {
        let mut history = PortHistory::default();
        for second in 0..6_000u64 {
            let at = second * 10_000;
            history.note(&change(at, SERVER, false));
            for one in 0..3 {
                let other = format!("tcp 0.0.0.0:{}", 1 + (second * 3 + one) % 30_000);
                history.note(&change(at, &other, true));
                history.note(&change(at, &other, false));
                history.note(&change(at, &format!("udp 0.0.0.0:{}", 32_768 + (second * 3 + one) % 28_000), true));
            }
            history.note(&change(at + 1000, SERVER, true));
        }
        assert_eq!(history.flap(&SERVER.parse().expect("a port")).map(|flap| flap.closed), Some(6_000));
        assert!(history.tracks.len() <= MOST_PORTS && history.young.len() <= MOST_YOUNG);
        assert!(history.changes.0.len() <= MOST_CHANGES && history.more_changes() > 0);
        assert!(history.tracks.values().all(|track| track.recent.len() <= REMEMBERED));
    }
}
