//! Takes what is told, keeps the last two minutes of it, and asks the rules.
//!
//! Owns which rule goes first where several fit, when an answer is over, and the bounds of memory. Nothing latches: an
//! answer without new evidence for two windows is over, and stays in history with its times.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use nodewatch_protocol::{Role, Service, Sums};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Certainty, Code, Journal, Pair, Place, Runner, Source, Told,
    alive::{self, Alive},
    joined::Joined,
    paths::{Sighting, Tap, TapId, Trouble},
    rules,
    signals::Signals,
    view::{Draft, Target, View},
};

/// Milliseconds that are judged together.
const WINDOW: u64 = 60_000;
/// Without new evidence for so long, an answer is over. Some of what has failed is known only after 10 s.
const OVER: u64 = 60_000 + 15_000;
/// Places that are known.
const MOST_TAPS: usize = 8_000;
/// Answers that stand.
const MOST_ANSWERS: usize = 500;
/// Answers that are over.
const MOST_HISTORY: usize = 200;
/// Seconds of pairs are summed so many at once, in milliseconds.
const STEP: u64 = 5_000;
/// A place of which nothing was told for so long is not watched any more.
const SILENT: u64 = 5_000;

/// What was looked at, for "nothing found".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Since when, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Until when.
    pub until: u64,
    /// Nodes, or sets of files.
    pub nodes: usize,
    /// Places where packets were seen.
    pub taps: usize,
    /// Connections that were begun and questions that were asked.
    pub attempts: u64,
    /// Of these, questions to DNS that were not answered.
    pub dns_unanswered: u64,
    /// What has failed.
    pub failed: u64,
    /// Attempts that had to be repeated.
    pub delayed: u64,
    /// Connections that show something that no answer explains, in this minute.
    pub unexplained: u64,
    /// Cases that had no room.
    pub left_out: u64,
}

/// What was counted in a step.
type StepSums = FxHashMap<(Target, TapId), Sums>;

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Engine {
    taps: Vec<Tap>,
    by_name: FxHashMap<(String, String), TapId>,
    joined: Joined,
    /// Sums by step, and of all steps of the window.
    steps: VecDeque<(u64, StepSums)>,
    pairs: FxHashMap<Target, BTreeMap<TapId, Sums>>,
    mtu: BTreeMap<IpAddr, u32>,
    signals: Signals,
    alive: Alive,
    /// What the API server has said.
    pub journal: Journal,
    /// The nodes' own addresses.
    nodes: FxHashSet<IpAddr>,
    answers: Vec<Answer>,
    history: VecDeque<Answer>,
    looked: Looked,
    idle: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(55_000)
    }
}

impl Engine {
    /// Knows nothing yet. `idle` is the silence, in milliseconds, from which on a connection may be forgotten by something
    /// on its way.
    pub fn new(idle: u64) -> Self {
        Self {
            taps: Vec::new(),
            by_name: FxHashMap::default(),
            joined: Joined::default(),
            steps: VecDeque::new(),
            pairs: FxHashMap::default(),
            mtu: BTreeMap::new(),
            signals: Signals::default(),
            alive: Alive::default(),
            journal: Journal::default(),
            nodes: FxHashSet::default(),
            answers: Vec::new(),
            history: VecDeque::new(),
            looked: Looked::default(),
            idle,
        }
    }

    /// A second of a node, heard at that moment.
    pub fn hear(&mut self, told: &Told) {
        let now = told.at;
        if self.looked.since == 0 {
            self.looked.since = now.saturating_sub(told.millis);
        }
        self.looked.until = self.looked.until.max(now);
        let places: Vec<Option<TapId>> = told.faces.iter().map(|face| self.tap(told, face)).collect();
        let place = |interface: u16| places.get(usize::from(interface)).copied().flatten();
        self.looked.attempts = self.looked.attempts.saturating_add(told.sums.attempts);
        self.looked.failed = self.looked.failed.saturating_add(told.sums.failed);
        self.looked.delayed = self.looked.delayed.saturating_add(told.sums.delayed);
        self.looked.dns_unanswered = self.looked.dns_unanswered.saturating_add(told.sums.dns_unanswered);
        self.looked.left_out = self.looked.left_out.saturating_add(told.left_out);
        let step = now / STEP;
        if self.steps.back().is_none_or(|(at, _)| *at < step) {
            self.steps.push_back((step, FxHashMap::default()));
        }
        for pair in &told.pairs {
            let Some(tap) = place(pair.interface) else { continue };
            let Pair { destination, port, .. } = *pair;
            let target = Target { destination, port, dns: pair.service == Service::Dns };
            if pair.sums.answered > 0 {
                self.alive.answers((destination, port), now);
            }
            if let Some((_, sums)) = self.steps.back_mut() {
                *sums.entry((target, tap)).or_default() += pair.sums;
            }
            *self.pairs.entry(target).or_default().entry(tap).or_default() += pair.sums;
            if let Some(mtu) = pair.mtu.filter(|_| self.mtu.len() < MOST_TAPS) {
                self.mtu.insert(pair.destination, mtu);
            }
        }
        for case in &told.cases {
            // A kubelet that looks after its pods: what is not ready refuses it, which is what it wants to know.
            let role = told.faces.get(usize::from(case.interface)).map(|face| face.role);
            let from_here = matches!(case.hops, Some(64 | 128 | 255)) && self.nodes.contains(&case.source);
            if role == Some(Role::Pod) && from_here {
                continue;
            }
            if let Some(tap) = place(case.interface) {
                self.joined.put(Sighting { tap, heard: now, case: case.clone() });
            }
        }
    }

    fn tap(&mut self, told: &Told, face: &crate::told::Face) -> Option<TapId> {
        let begun = told.at.saturating_sub(told.millis);
        let key = (told.node.clone(), face.name.clone());
        let id = match self.by_name.get(&key) {
            Some(id) => *id,
            None if self.taps.len() >= MOST_TAPS => return None,
            None => {
                let id = TapId(self.taps.len() as u16);
                let (node, interface) = key.clone();
                self.taps.push(Tap {
                    node,
                    interface,
                    role: face.role,
                    first: begun,
                    last: told.at,
                    lost: VecDeque::new(),
                });
                self.by_name.insert(key, id);
                id
            }
        };
        let tap = &mut self.taps[usize::from(id.0)];
        if begun.saturating_sub(tap.last) > SILENT {
            tap.first = begun;
        }
        tap.last = tap.last.max(told.at);
        tap.role = face.role;
        if face.lost {
            tap.lost.push_back(told.at);
        }
        while tap.lost.front().is_some_and(|lost| lost.saturating_add(2 * WINDOW) < told.at) {
            tap.lost.pop_front();
        }
        Some(id)
    }

    /// The addresses of all nodes: what these ask their own pods is looking after them, and no traffic.
    pub fn nodes_have(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.nodes.clear();
        self.nodes.extend(addresses);
    }

    /// A signal of a node is this high at that moment.
    pub fn signal(&mut self, now: u64, (node, name, item): (&str, &str, &str), value: u64) {
        self.signals.put(now, (node, name, item), value);
    }

    /// A signal of a node, or of something of it, is no more.
    pub fn signal_is_gone(&mut self, signal: (&str, &str, &str)) {
        self.signals.forget(signal);
    }

    /// Answers as they stand, those that hurt most first.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Answers that are over, the latest first.
    pub fn history(&self) -> impl Iterator<Item = &Answer> {
        self.history.iter().rev()
    }

    /// What was looked at.
    pub fn looked(&self) -> Looked {
        self.looked
    }

    /// Asks the rules at that moment. `over`: nothing more will be told.
    pub fn judge(&mut self, now: u64, over: bool) {
        self.forget_old(now);
        self.joined.settle(&self.taps, now, over);
        let (dead, troubles): (Vec<&Trouble>, Vec<&Trouble>) =
            self.joined.troubles().into_iter().partition(|trouble| self.is_dead(trouble, now));
        let view = View {
            window: (now.saturating_sub(WINDOW), now),
            taps: &self.taps,
            troubles: &troubles,
            dead: &dead,
            pairs: &self.pairs,
            mtu: &self.mtu,
            signals: &self.signals,
            journal: &self.journal,
            clocks: &self.joined.clocks,
            nodes: &self.nodes,
            joined: &self.joined,
            idle: self.idle,
        };
        let drafts = settle(rules::all(&view));
        let explained: usize = drafts.iter().map(|draft| draft.hurt.len()).sum();
        let felt = troubles.iter().filter(|trouble| trouble.what.is_felt()).count();
        self.looked.unexplained = felt.saturating_sub(explained) as u64;
        let watched = |tap: &&Tap| tap.last.saturating_add(SILENT) >= now;
        self.looked.taps = self.taps.iter().filter(watched).count();
        let nodes: std::collections::BTreeSet<&str> =
            self.taps.iter().filter(watched).map(|tap| tap.node.as_str()).collect();
        self.looked.nodes = nodes.len();
        let found: Vec<((Option<Code>, Place), Answer)> =
            drafts.into_iter().map(|draft| (draft.key(), draft.answer(&view))).collect();
        self.keep(found, (now, over));
    }

    /// Who is asked has answered nobody for long, and is no endpoint of any service: a scan, or an old setting.
    fn is_dead(&self, trouble: &Trouble, now: u64) -> bool {
        let heard = self.journal.since(Source::Endpoints).is_some() && self.journal.since(Source::Services).is_some();
        let case = trouble.first();
        let is_asked = matches!(case.service, Service::Tcp | Service::Dns);
        let nobodys = |(address, port): (IpAddr, u16)| {
            self.alive.is_silent((address, port), now)
                && self.journal.service_at(address, port).is_none()
                && self.journal.service_of(address, port).is_none()
        };
        // One that is watched since a while ago may have heard its answers before.
        let listened = |it: &Sighting| {
            self.taps.get(usize::from(it.tap.0)).is_some_and(|tap| tap.first.saturating_add(alive::LONG) <= now)
        };
        let is_meant = heard && is_asked && trouble.is_attempt() && trouble.seen.iter().any(listened);
        is_meant && nobodys((case.destination, case.ports.1)) && nobodys(trouble.backend())
    }

    fn keep(&mut self, found: Vec<((Option<Code>, Place), Answer)>, (now, over): (u64, bool)) {
        let mut before = std::mem::take(&mut self.answers);
        for ((code, place), mut answer) in found {
            let is_note = answer.certainty == Certainty::Note;
            let is_same = |known: &Answer| known.code == code && known.place == place;
            let same = before.iter().position(|known| is_same(known) && !is_note && known.certainty != Certainty::Note);
            if let Some(known) = same.map(|at| before.swap_remove(at)) {
                // What was seen since then is counted once.
                let fresh = known.last < answer.last;
                answer.in_all = known.in_all.max(answer.failed);
                if fresh && answer.failed > known.failed {
                    answer.in_all = known.in_all + (answer.failed - known.failed);
                }
                answer.since = known.since.min(answer.since);
                answer.last = known.last.max(answer.last);
            }
            self.answers.push(answer);
        }
        // What only counters say ends with them; other evidence is older than a window now, and may come again.
        before.retain(|answer| answer.certainty != Certainty::Note);
        let (over_now, waiting): (Vec<Answer>, Vec<Answer>) =
            before.into_iter().partition(|answer| over || now.saturating_sub(answer.last) >= OVER);
        self.answers.extend(waiting);
        for mut answer in over_now {
            answer.until = Some(answer.last);
            self.history.push_back(answer);
        }
        while self.history.len() > MOST_HISTORY {
            self.history.pop_front();
        }
        // Those that hurt least go, where there are very many.
        self.answers.sort_by(|one, other| {
            let order = |answer: &Answer| {
                let note = answer.certainty == Certainty::Note;
                (note, std::cmp::Reverse(answer.failed), answer.certainty, answer.code)
            };
            order(one).cmp(&order(other)).then_with(|| one.text.cmp(&other.text))
        });
        self.answers.truncate(MOST_ANSWERS);
    }

    fn forget_old(&mut self, now: u64) {
        let old = now.saturating_sub(WINDOW);
        let felt = self.joined.forget(now, old);
        self.looked.left_out = self.looked.left_out.saturating_add(felt);
        while self.steps.front().is_some_and(|(step, _)| step.saturating_add(1).saturating_mul(STEP) < old) {
            let Some((_, gone)) = self.steps.pop_front() else { break };
            for ((target, tap), sums) in gone {
                let Some(taps) = self.pairs.get_mut(&target) else { continue };
                if let Some(known) = taps.get_mut(&tap) {
                    known.attempts = known.attempts.saturating_sub(sums.attempts);
                    known.answered = known.answered.saturating_sub(sums.answered);
                    known.failed = known.failed.saturating_sub(sums.failed);
                    known.delayed = known.delayed.saturating_sub(sums.delayed);
                    known.packets = known.packets.saturating_sub(sums.packets);
                    known.segments = known.segments.saturating_sub(sums.segments);
                    known.retransmitted = known.retransmitted.saturating_sub(sums.retransmitted);
                    known.lookups = known.lookups.saturating_sub(sums.lookups);
                    if known.packets == 0 && known.attempts == 0 {
                        taps.remove(&tap);
                    }
                }
                if taps.is_empty() {
                    self.pairs.remove(&target);
                }
            }
        }
        if self.steps.is_empty() {
            self.mtu.clear();
        }
    }
}

/// Where several causes fit, the one whose proof is the strongest: after exact patterns, of any cause, a counter that is
/// equal, then a place and an object, then a place and a counter, then statistics.
const ORDER: [Code; 16] = [
    Code::InvalidReset,
    Code::MtuHole,
    Code::ConntrackFull,
    Code::SnatPorts,
    Code::ReturnPath,
    Code::Neighbour,
    Code::EndpointGone,
    Code::PolicyDrop,
    Code::Allowance,
    Code::DnsThrottled,
    Code::AcceptQueue,
    Code::IdleCut,
    Code::KeepAliveRace,
    Code::DnsSilent,
    Code::WireLoss,
    Code::SlowReceiver,
];

fn order(draft: &Draft) -> (Option<Certainty>, bool, usize) {
    let place = draft.code.and_then(|code| ORDER.iter().position(|known| *known == code));
    (draft.certainty, !draft.exact, place.unwrap_or(ORDER.len()))
}

/// Each trouble belongs to one answer. What another one fits as well is its runner-up.
fn settle(mut drafts: Vec<Draft>) -> Vec<Draft> {
    drafts.sort_by_key(order);
    let mut settled: Vec<Draft> = Vec::new();
    for mut draft in drafts {
        let before = draft.hurt.len();
        let mut taken = None;
        draft.hurt.retain(|at| {
            let owner = settled.iter().position(|other| other.hurt.contains(at));
            taken = taken.or(owner);
            owner.is_none()
        });
        let gone = before - draft.hurt.len();
        if let (Some(owner), Some(code)) = (taken, draft.code)
            && gone * 2 >= before
        {
            let owner = &mut settled[owner];
            if owner.runner_up.is_none() && owner.code.is_some_and(|other| other != code) {
                owner.runner_up = Some(Runner { code, check: rules::check(code).to_owned() });
            }
            continue;
        }
        if before == 0 || !draft.hurt.is_empty() {
            settled.push(draft);
        }
    }
    settled
}
