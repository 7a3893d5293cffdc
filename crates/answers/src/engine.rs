//! Takes what is told, keeps the last two minutes of it, and asks the rules.
//!
//! Owns which rule goes first where several fit, what is forgotten when, and the bounds of memory.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nodewatch_protocol::{Role, Service, Sums};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Certainty, Code, Journal, Pair, Runner, Source, Told,
    alive::{self, Alive},
    joined::Joined,
    pairs::{Pairs, Target},
    paths::{Sighting, Trouble},
    places::Places,
    rules,
    seconds::Seconds,
    signals::Signals,
    standing::{Found, Standing},
    view::{Draft, View},
};

/// Milliseconds that are judged together.
const WINDOW: u64 = 60_000;
/// Targets of which it is known what a link on their way takes.
const MOST_MTU: usize = 8_000;
/// A clock that goes back by more, in milliseconds, was set.
const SET_BACK: u64 = 5_000;

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
    /// Places of which nothing is known, as there are too many.
    #[serde(default)]
    pub unplaced: usize,
    /// Connections that were begun and questions that were asked.
    pub attempts: u64,
    /// More than one node has counted them: what two have seen is in there twice.
    #[serde(default)]
    pub several: bool,
    /// Of these, those that no place has judged, as only one direction of them was seen wherever they were seen.
    #[serde(default)]
    pub one_direction: u64,
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

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Engine {
    places: Places,
    seconds: Seconds,
    joined: Joined,
    pairs: Pairs,
    mtu: BTreeMap<IpAddr, u32>,
    signals: Signals,
    alive: Alive,
    /// What the API server has said.
    pub journal: Journal,
    /// The nodes' own addresses.
    nodes: FxHashMap<IpAddr, String>,
    standing: Standing,
    /// When the rules were asked last.
    judged: u64,
    looked: Looked,
    /// What was counted of others than nodes that look after their own pods.
    others: Sums,
    /// The first that has told.
    counted_by: Option<String>,
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
            places: Places::default(),
            seconds: Seconds::default(),
            joined: Joined::default(),
            pairs: Pairs::default(),
            mtu: BTreeMap::new(),
            signals: Signals::default(),
            alive: Alive::default(),
            journal: Journal::default(),
            nodes: FxHashMap::default(),
            standing: Standing::default(),
            judged: 0,
            looked: Looked::default(),
            others: Sums::default(),
            counted_by: None,
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
        self.seconds.put(told);
        let (places, gone) = self.places.of(told);
        if !gone.is_empty() {
            self.joined.forget_taps(&gone);
        }
        let place = |interface: u16| places.get(usize::from(interface)).copied().flatten();
        self.others += self.sums_of_others(told);
        let counts = self.counted_by.get_or_insert_with(|| told.node.clone());
        self.looked.several |= *counts != told.node;
        self.looked.left_out = self.looked.left_out.saturating_add(told.left_out);
        self.looked.one_direction = self.looked.one_direction.saturating_add(told.one_direction);
        for pair in told.pairs_once().iter() {
            let Some(tap) = place(pair.interface) else { continue };
            let Pair { destination, port, .. } = *pair;
            let target = Target { destination, port, dns: pair.service == Service::Dns };
            if self.pairs.put(now, target, tap, &pair.sums) {
                self.alive.answers((destination, port), now);
            }
            if let Some(mtu) = pair.mtu.filter(|_| self.mtu.len() < MOST_MTU) {
                self.mtu.insert(pair.destination, mtu);
            }
        }
        for case in &told.cases {
            // A kubelet that looks after its pods: what is not ready refuses it, which is what it wants to know.
            let role = told.faces.get(usize::from(case.interface)).map(|face| face.role);
            let from_here = matches!(case.hops, Some(64 | 128 | 255)) && self.nodes.contains_key(&case.source);
            if role == Some(Role::Pod) && from_here {
                continue;
            }
            if let Some(tap) = place(case.interface) {
                self.joined.put(Sighting { tap, heard: now, case: case.clone() }, self.places.taps());
            }
        }
    }

    /// The addresses of all nodes: what these ask their own pods is looking after them, and no traffic.
    pub fn nodes_have<'a>(&mut self, addresses: impl Iterator<Item = (IpAddr, &'a str)>) {
        self.nodes.clear();
        self.nodes.extend(addresses.map(|(address, node)| (address, node.to_owned())));
    }

    /// What a second amounts to without what nodes ask their own pods, which nothing is judged by. Of pairs that had no room
    /// in the line it is not known who asks: they count as others', so that where very many pairs are told of, a share of what
    /// fails may be one that probes make larger or smaller.
    pub fn sums_of_others(&self, told: &Told) -> Sums {
        let mut sums = told.sums;
        for pair in &told.pairs {
            let is_pods = told.faces.get(usize::from(pair.interface)).is_some_and(|face| face.role == Role::Pod);
            if is_pods && self.nodes.get(&pair.source).is_some_and(|node| *node == told.node) {
                sums -= pair.sums;
            }
        }
        sums
    }

    /// A signal of a node is this high at that moment.
    pub fn signal(&mut self, now: u64, (node, name, item): (&str, &str, &str), value: u64) {
        self.signals.put(now, (node, name, item), value);
    }

    /// A node tells of its signals at that moment, also where none has moved. `anew`: after a time in which it has not, so
    /// that when its counters have risen meanwhile is not known.
    pub fn signals_are_told(&mut self, now: u64, node: &str, anew: bool) {
        self.signals.are_told(now, node, anew);
    }

    /// A signal of a node, or of something of it, is no more.
    pub fn signal_is_gone(&mut self, signal: (&str, &str, &str)) {
        self.signals.forget(signal);
    }

    /// Answers as they stand: causes, then places, those that hurt most first of each.
    pub fn answers(&self) -> &[Answer] {
        self.standing.answers()
    }

    /// Answers that are over, the latest first.
    pub fn history(&self) -> impl Iterator<Item = &Answer> {
        self.standing.history()
    }

    /// What was looked at.
    pub fn looked(&self) -> Looked {
        let Sums { attempts, failed, delayed, dns_unanswered, .. } = self.others;
        // What was answered or has failed was judged, whichever place has told that it was not.
        let one_direction = self.looked.one_direction.min(self.others.open());
        Looked { attempts, one_direction, dns_unanswered, failed, delayed, ..self.looked }
    }

    /// Asks the rules at that moment. `over`: nothing more will be told.
    pub fn judge(&mut self, now: u64, over: bool) {
        if now.saturating_add(SET_BACK) < self.judged {
            self.set_back(now);
        }
        self.judged = now;
        self.forget_old(now);
        let taps = self.places.taps();
        self.joined.settle(taps, &self.seconds, now, over);
        let (dead, troubles): (Vec<&Trouble>, Vec<&Trouble>) =
            self.joined.troubles().into_iter().partition(|trouble| self.is_dead(trouble, now));
        let view = View {
            window: (now.saturating_sub(WINDOW), now),
            taps,
            with_pods: taps.iter().filter(|tap| tap.role == Role::Pod).map(|tap| tap.node.as_str()).collect(),
            troubles: &troubles,
            dead: &dead,
            pairs: &self.pairs,
            summed: RefCell::default(),
            mtu: &self.mtu,
            signals: &self.signals,
            journal: &self.journal,
            clocks: &self.joined.clocks,
            nodes: &self.nodes,
            joined: &self.joined,
            idle: self.idle,
        };
        let (drafts, owners) = settle(rules::all(&view), troubles.len());
        let unexplained = |(at, trouble): &(usize, &&Trouble)| trouble.what.is_felt() && owners[*at].is_none();
        self.looked.unexplained = troubles.iter().enumerate().filter(unexplained).count() as u64;
        let watched = || taps.iter().filter(|tap| tap.is_watched(now));
        self.looked.taps = watched().count();
        self.looked.nodes = watched().map(|tap| tap.node.as_str()).collect::<BTreeSet<_>>().len();
        self.looked.unplaced = self.places.unplaced(now);
        let found = |draft: Draft| Found {
            key: draft.key(&view),
            hurt: draft.hurt.iter().map(|&at| troubles[at].number).collect(),
            answer: draft.answer(&view),
        };
        let found: Vec<Found> = drafts.into_iter().map(found).collect();
        let alive: FxHashSet<u64> = troubles.iter().map(|trouble| trouble.number).collect();
        self.standing.keep(found, (now, over), &alive);
    }

    /// The clock was set back: what was told before is of a time that has not come yet.
    fn set_back(&mut self, now: u64) {
        self.joined.clear();
        self.seconds.clear();
        self.pairs.clear();
        self.mtu.clear();
        self.signals.set_back(now);
        self.alive = Alive::default();
        self.places.set_back(now);
        self.standing.end_all();
        self.looked.since = self.looked.since.min(now);
        self.looked.until = now;
    }

    /// Who is asked has answered nobody for long, and is no endpoint of any service: a scan, or an old setting.
    fn is_dead(&self, trouble: &Trouble, now: u64) -> bool {
        let heard = self.journal.since(Source::Endpoints).is_some() && self.journal.since(Source::Services).is_some();
        let nobodys = |(address, port): (IpAddr, u16)| {
            self.alive.is_silent((address, port), now)
                && self.journal.service_at(address, port).is_none()
                && self.journal.service_of(address, port).is_none()
        };
        // One that is watched since a while ago may have heard its answers before.
        let listened = |it: &Sighting| {
            self.places
                .taps()
                .get(usize::from(it.tap.0))
                .is_some_and(|tap| tap.first.saturating_add(alive::LONG) <= now)
        };
        if !heard || !trouble.is_attempt() || !nobodys(trouble.backend) {
            return false;
        }
        let case = trouble.first();
        let is_asked = matches!(case.service, Service::Tcp | Service::Dns);
        is_asked && nobodys((case.destination, case.ports.1)) && trouble.seen.iter().any(listened)
    }

    fn forget_old(&mut self, now: u64) {
        let old = now.saturating_sub(WINDOW);
        self.signals.forget_old(now);
        let felt = self.joined.forget(now, old);
        self.looked.left_out = self.looked.left_out.saturating_add(felt);
        self.pairs.forget(old);
        if self.pairs.is_empty() {
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

/// Each of so many troubles belongs to one answer, which is told by its place. What another one fits as well is its runner-up.
fn settle(mut drafts: Vec<Draft>, troubles: usize) -> (Vec<Draft>, Vec<Option<usize>>) {
    drafts.sort_by_key(order);
    let mut owners: Vec<Option<usize>> = vec![None; troubles];
    let mut settled: Vec<Draft> = Vec::new();
    for mut draft in drafts {
        let before = draft.hurt.len();
        let mut taken = None;
        draft.hurt.retain(|&at| {
            taken = taken.or(owners[at]);
            owners[at].is_none()
        });
        let gone = before - draft.hurt.len();
        if let (Some(owner), Some(code)) = (taken, draft.code)
            && gone * 2 >= before
        {
            let owner: &mut Draft = &mut settled[owner];
            if owner.runner_up.is_none() && owner.code.is_some_and(|other| other != code) {
                owner.runner_up = Some(Runner { code, check: rules::check(code).to_owned() });
            }
            continue;
        }
        if before == 0 || !draft.hurt.is_empty() {
            draft.hurt.iter().for_each(|&at| owners[at] = Some(settled.len()));
            settled.push(draft);
        }
    }
    (settled, owners)
}
