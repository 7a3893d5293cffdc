//! A node's own judgement: why connections fail, as far as this node's packets and counters tell.
//!
//! Owns when that is a reason for an armed flight recorder to freeze, how often one reason may be, and what the node's own
//! reports say of it. Must not know tunnels, files or the recorder. Pure: it is told, and asked once a second.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use nodewatch_answers::{Certainty, Code, Engine, Told, Worst, is_wanted};
use nodewatch_protocol::{FreezeCause, FreezeOn, SignalsUpdate, Symptoms, UnixMillis};
use nodewatch_report::Answered;

use crate::signals::picture::Picture;

/// One reason freezes once in so many milliseconds.
const AGAIN_AFTER: u64 = 600_000;
/// Attempts of so many milliseconds are judged together.
const WINDOW: u64 = 60_000;
/// Fewer failures in that time are nobody's trouble.
const ENOUGH: u64 = 5;

/// What this node knows.
pub struct Judge {
    on: Option<FreezeOn>,
    /// The answers since they were told last, where anybody is told.
    worst: Option<Worst>,
    node: String,
    engine: Engine,
    /// Seconds of the window: when, attempts, and how many of them have failed.
    seconds: VecDeque<(UnixMillis, u64, u64)>,
}

/// When each reason has frozen last, by the boot-time clock in milliseconds. It outlives one recorder.
#[derive(Debug, Default)]
pub struct Frozen(BTreeMap<FreezeCause, u64>);

impl Frozen {
    /// That reason has not frozen lately.
    pub fn may(&self, cause: FreezeCause, now: u64) -> bool {
        self.0.get(&cause).is_none_or(|last| now.saturating_sub(*last) >= AGAIN_AFTER)
    }

    /// That reason freezes now.
    pub fn note(&mut self, cause: FreezeCause, now: u64) {
        self.0.insert(cause, now);
    }
}

impl Judge {
    /// One that knows how the node's signals stand.
    pub fn new(node: &str, signals: &Picture, now: UnixMillis) -> Self {
        let node = node.to_owned();
        let mut judge = Self { on: None, worst: None, node, engine: Engine::default(), seconds: VecDeque::new() };
        judge.put(now, signals.values());
        judge
    }

    /// The node has these addresses.
    pub fn has(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.engine.nodes_have(addresses.map(|address| (address, self.node.as_str())));
    }

    /// What it is for: when a recorder is to freeze, and whether reports are to tell the answers.
    pub fn is_for(&mut self, on: Option<FreezeOn>, reports: bool) {
        if self.on != on {
            self.seconds.clear();
            self.on = on;
        }
        if self.worst.is_some() != reports {
            self.worst = reports.then(Worst::default);
        }
    }

    /// Somebody wants more than the share of what fails.
    fn asks_rules(&self) -> bool {
        self.worst.is_some() || matches!(self.on, Some(FreezeOn::Verdict | FreezeOn::Codes(_)))
    }

    /// A second of packets.
    pub fn hear(&mut self, symptoms: &Symptoms) {
        let told = Told::by(&self.node, symptoms, symptoms.at);
        if matches!(self.on, Some(FreezeOn::Failures(_))) {
            let sums = self.engine.sums_of_others(&told);
            self.seconds.push_back((symptoms.at, sums.attempts, sums.failed));
        }
        if self.asks_rules() {
            self.engine.hear(&told);
        }
    }

    /// The answers since this was asked last, for a report.
    pub fn answers(&mut self) -> Vec<Answered> {
        let worst = self.worst.as_mut().map(Worst::take).unwrap_or_default().into_iter();
        worst.map(|(code, failed, text)| Answered { code: code.text(), failed, text }).collect()
    }

    /// Signals have moved, as the picture has them now.
    pub fn signals(&mut self, update: &SignalsUpdate, picture: &Picture) {
        let moved = update.told.iter().map(|told| told.id).chain(update.moved.iter().map(|(id, _)| *id));
        self.engine.signals_are_told(update.at, &self.node, update.since.is_some());
        self.put(update.at, moved.filter_map(|id| picture.value(id)));
    }

    /// What is no more in this update is forgotten, by the names that the picture still has.
    pub fn signals_gone(&mut self, update: &SignalsUpdate, picture: &Picture) {
        let gone = update.gone.iter().filter_map(|id| picture.value(*id));
        for (name, item, _) in gone.filter(|(name, ..)| is_wanted(name)) {
            self.engine.signal_is_gone((&self.node, name, item));
        }
    }

    fn put<'a>(&mut self, now: UnixMillis, values: impl Iterator<Item = (&'a str, &'a str, u64)>) {
        for (name, item, value) in values.filter(|(name, ..)| is_wanted(name)) {
            self.engine.signal(now, (&self.node, name, item), value);
        }
    }

    /// The reasons there are at this moment, each with what it is in words.
    pub fn ask(&mut self, now: UnixMillis) -> Vec<(FreezeCause, String)> {
        if self.asks_rules() {
            self.engine.judge(now, false);
        }
        if let Some(worst) = &mut self.worst {
            worst.note(self.engine.answers().iter());
        }
        match self.on {
            Some(FreezeOn::Failures(most)) => {
                self.failures(now, most).into_iter().map(|text| (FreezeCause::Failures, text)).collect()
            }
            Some(on) => {
                let answers = self.engine.answers().iter().filter(|answer| answer.certainty.is_answer());
                let meant = answers.filter_map(|answer| {
                    let cause = answer.code? as u8;
                    let certain = answer.certainty == Certainty::Verdict;
                    on.takes(cause, certain).then(|| (FreezeCause::Code(cause), answer.title()))
                });
                meant.collect()
            }
            None => Vec::new(),
        }
    }

    /// More attempts have failed than may.
    fn failures(&mut self, now: UnixMillis, most: u16) -> Option<String> {
        // A clock that was set back leaves seconds that are not over yet.
        self.seconds.retain(|(at, ..)| at.abs_diff(now) < WINDOW);
        let sum = |of: fn(&(UnixMillis, u64, u64)) -> u64| self.seconds.iter().map(of).fold(0, u64::saturating_add);
        let (attempts, failed) = (sum(|second| second.1), sum(|second| second.2));
        // What fails is known later than what was begun.
        let of = attempts.max(failed);
        let is_more = u128::from(failed) * 10_000 > u128::from(of) * u128::from(most);
        (failed >= ENOUGH && is_more).then(|| format!("{failed} of {of} attempts failed"))
    }
}

/// A reason in words: `N-11 accept queue full`.
pub fn title(cause: FreezeCause) -> String {
    let number = match cause {
        FreezeCause::Code(number) => number,
        FreezeCause::Failures => return "too many attempts failed".to_owned(),
        FreezeCause::PodEnds => return "its pod was being ended".to_owned(),
    };
    let code = Code::ALL.get(usize::from(number).wrapping_sub(1));
    code.map_or_else(|| format!("N-{number:02}"), |code| format!("{} {}", code.text(), code.name()))
}

/// What a file says of it.
pub fn said(cause: FreezeCause) -> String {
    format!("frozen by itself: {}", title(cause))
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{Case, Finding, Role, Service, Sums, WatchedInterface};

    use super::*;

    fn second(at: UnixMillis, attempts: u64, failed: u64) -> Symptoms {
        Symptoms { at, millis: 1_000, sums: Sums { attempts, failed, ..Sums::default() }, ..Symptoms::default() }
    }

    #[test]
    fn too_many_failures_are_a_reason_as_long_as_they_are_recent() {
        let mut judge = Judge::new("n", &Picture::default(), 0);
        judge.is_for(Some(FreezeOn::Failures(100)), false);
        let at = 1_000_000;
        judge.hear(&second(at, 400, 4));
        assert_eq!(judge.ask(at), [], "four are too few");
        judge.hear(&second(at + 1_000, 100, 1));
        assert_eq!(judge.ask(at + 1_000), [], "one in a hundred is not more than that");
        judge.hear(&second(at + 2_000, 0, 1));
        assert_eq!(judge.ask(at + 2_000), [(FreezeCause::Failures, "6 of 500 attempts failed".to_owned())]);
        assert_eq!(judge.ask(at + 61_500), [], "nothing latches");
    }

    #[test]
    fn what_a_node_asks_its_own_pods_is_no_failure_of_anybody() {
        let refused = |source: &str, role: Role| {
            let pair = serde_json::json!({
                "source": source, "destination": "10.0.0.2", "port": 8080, "service": "tcp", "interface": 0,
                "packets": [9, 9], "bytes": [700, 700], "attempts": 9, "answered": 0, "symptoms": [["refused", 9, 0]],
            });
            let pairs = vec![serde_json::from_value(pair).expect("a pair")];
            let face = WatchedInterface { name: "veth0".into(), role, ..WatchedInterface::default() };
            Symptoms { interfaces: vec![face], pairs, ..second(1_000, 100, 9) }
        };
        for (source, role, reasons) in
            [("192.0.2.1", Role::Pod, 0), ("192.0.2.9", Role::Pod, 1), ("192.0.2.1", Role::Node, 1)]
        {
            let mut judge = Judge::new("n", &Picture::default(), 0);
            judge.is_for(Some(FreezeOn::Failures(100)), false);
            judge.has(std::iter::once("192.0.2.1".parse().expect("an address")));
            judge.hear(&refused(source, role));
            assert_eq!(judge.ask(1_000).len(), reasons, "{source} at {role:?}");
        }
    }

    /// Three of nine connections are not taken although their handshakes are complete.
    fn not_accepted(at: UnixMillis) -> Symptoms {
        let end = |last: u8| IpAddr::from([10, 0, 0, last]);
        let case = |port: u16| {
            let began = at as i64 * 1_000_000;
            let case = Case::of(Finding::NotAccepted, Service::Tcp, (end(1), 40_000 + port), (end(2), 443), began);
            Case { id: Some((port.into(), 1)), hops: Some(63), ..case }
        };
        let pair = serde_json::json!({
            "source": "10.0.0.1", "destination": "10.0.0.2", "port": 443, "service": "tcp", "interface": 0,
            "packets": [25, 25], "bytes": [2_000, 2_000], "attempts": 9, "answered": 6,
        });
        let face = WatchedInterface { name: "veth0".into(), role: Role::Pod, ..WatchedInterface::default() };
        let pairs = vec![serde_json::from_value(pair).expect("a pair")];
        Symptoms { interfaces: vec![face], pairs, cases: (0..3).map(case).collect(), ..second(at, 9, 0) }
    }

    #[test]
    fn reports_have_the_answers_of_their_time_whatever_freezes() {
        let at = 1_000_000;
        for on in [None, Some(FreezeOn::Failures(100))] {
            let mut judge = Judge::new("n", &Picture::default(), 0);
            judge.is_for(on, true);
            for second in 0..8 {
                let told = if second == 1 { not_accepted(at + 1_000) } else { self::second(at + second * 1_000, 0, 0) };
                judge.hear(&told);
                assert_eq!(judge.ask(at + second * 1_000), [], "{on:?}");
            }
            let told = judge.answers();
            assert_eq!(told.iter().map(|one| (one.code, one.failed)).collect::<Vec<_>>(), [("N-11", 3)], "{on:?}");
            assert_eq!(judge.answers(), [], "each once");
            judge.is_for(on, false);
            judge.ask(at + 9_000);
            assert_eq!(judge.answers(), [], "nobody is told");
        }
    }

    #[test]
    fn a_reason_freezes_once_in_ten_minutes_and_another_one_by_itself() {
        let mut frozen = Frozen::default();
        assert!(frozen.may(FreezeCause::Failures, 5));
        frozen.note(FreezeCause::Failures, 5);
        assert!(!frozen.may(FreezeCause::Failures, 600_004) && frozen.may(FreezeCause::Failures, 600_005));
        assert!(frozen.may(FreezeCause::Code(11), 6));
    }

    #[test]
    fn a_file_says_the_cause_by_name() {
        assert_eq!(said(FreezeCause::Code(11)), "frozen by itself: N-11 accept queue full");
        assert_eq!(said(FreezeCause::Code(99)), "frozen by itself: N-99");
    }
}
