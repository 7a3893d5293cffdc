//! Pods and what they were in the last 15 minutes, by UID and by address.
//!
//! Owns their bound: what a pod is now is kept while it is there, what it was before as long as somebody may ask for it.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::{Labels, Pod, PodPhase};

/// Pods that are known at once; more have no room.
const MOST_PODS: usize = 60_000;
/// Changes that are remembered, of all pods together.
const MOST_CHANGES: usize = 40_000;
/// Sets of labels from which on those of pods that are gone are looked for.
const MANY_SETS: usize = 256;

#[derive(Debug, Clone)]
struct Known {
    /// What it was from which moment on, the latest last. There are as many as it has changes, and one.
    versions: Vec<(u64, Pod)>,
    /// The list that has had it last.
    list: u64,
}

impl Known {
    fn has(&self, address: IpAddr) -> bool {
        self.versions.iter().any(|(_, pod)| pod.addresses.contains(&address))
    }

    /// What it was at a moment at which it had that address.
    fn at(&self, address: IpAddr, at: u64) -> Option<&(u64, Pod)> {
        let then = self.versions.iter().rev().find(|(since, _)| *since <= at);
        then.filter(|(_, pod)| pod.addresses.contains(&address))
    }
}

/// All pods.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    by_uid: FxHashMap<Arc<str>, Known>,
    by_address: FxHashMap<IpAddr, Vec<Arc<str>>>,
    /// Which pod became another one when, the latest last.
    changes: VecDeque<(u64, Arc<str>)>,
    labels: BTreeSet<Arc<Labels>>,
    /// Sets of labels at which those are looked through.
    tidy_at: usize,
    /// Lists that were begun.
    lists: u64,
}

impl Pods {
    /// All there is follows.
    pub(super) fn lists(&mut self) {
        self.lists += 1;
    }

    /// What the list has not had is gone.
    pub(super) fn listed(&mut self, now: u64) {
        let missing = self.by_uid.iter().filter(|(_, known)| known.list != self.lists);
        let missing: Vec<Arc<str>> = missing.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in missing {
            self.gone(now, &uid);
        }
    }

    /// A pod is like this from now on.
    pub(super) fn put(&mut self, now: u64, mut pod: Pod) {
        pod.labels = self.shared(pod.labels);
        let (uid, known) = match self.by_uid.get_key_value(pod.uid.as_str()) {
            Some((uid, _)) => (Arc::clone(uid), true),
            None if pod.phase == PodPhase::Gone || self.by_uid.len() >= MOST_PODS => return,
            None => (Arc::from(pod.uid.as_str()), false),
        };
        let lists = self.lists;
        let entry = self
            .by_uid
            .entry(Arc::clone(&uid))
            .or_insert_with(|| Known { versions: Vec::with_capacity(1), list: lists });
        entry.list = lists;
        if entry.versions.last().is_some_and(|(_, last)| *last == pod) {
            return;
        }
        // One with its node's network has the node's addresses.
        let new = pod.addresses.iter().filter(|address| !pod.on_host && !entry.has(**address));
        for address in new {
            self.by_address.entry(*address).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&uid));
        }
        entry.versions.push((now, pod));
        if known {
            self.changes.push_back((now, uid));
        }
    }

    /// A pod is gone.
    pub(super) fn gone(&mut self, now: u64, uid: &str) {
        let last = self.by_uid.get(uid).and_then(|known| known.versions.last());
        if let Some(last) = last.map(|(_, pod)| pod.clone()) {
            self.put(now, Pod { phase: PodPhase::Gone, ..last });
        }
    }

    /// What was before a change that is that old is asked for no more, nor are pods that have gone so long ago.
    pub(super) fn forget(&mut self, old: u64) {
        while self.changes.front().is_some_and(|(at, _)| *at < old) || self.changes.len() > MOST_CHANGES {
            let Some((_, uid)) = self.changes.pop_front() else { return };
            let Some(known) = self.by_uid.get_mut(&uid) else { continue };
            let (_, before) = known.versions.remove(0);
            let is_over = matches!(&known.versions[..], [(_, last)] if last.phase == PodPhase::Gone);
            let mut unknown = before.addresses;
            if is_over {
                unknown.extend(known.versions.remove(0).1.addresses);
            }
            unknown.retain(|address| !known.has(*address));
            if is_over {
                self.by_uid.remove(&uid);
            }
            for address in unknown {
                if let Some(holders) = self.by_address.get_mut(&address) {
                    holders.retain(|holder| *holder != uid);
                    if holders.is_empty() {
                        self.by_address.remove(&address);
                    }
                }
            }
        }
    }

    /// The pod that had an address at that moment, or that was the first known to have it after it.
    pub(super) fn at(&self, address: IpAddr, at: u64) -> Option<&Pod> {
        let holders = self.by_address.get(&address)?.iter().filter_map(|uid| self.by_uid.get(uid));
        let then = holders.clone().filter_map(|known| known.at(address, at));
        let then = then.max_by_key(|(since, pod)| (pod.phase != PodPhase::Gone, pod.started, *since));
        let first = || {
            let with_it = |known: &&Known| known.versions.iter().position(|(_, pod)| pod.addresses.contains(&address));
            let firsts = holders.filter_map(|known| known.versions.get(with_it(&known)?));
            firsts.max_by_key(|(_, pod)| (pod.started <= at, pod.started))
        };
        then.or_else(first).map(|(_, pod)| pod)
    }

    /// The same labels, once for all pods that have them.
    fn shared(&mut self, labels: Arc<Labels>) -> Arc<Labels> {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        if self.labels.len() >= self.tidy_at.max(MANY_SETS) {
            self.labels.retain(|known| Arc::strong_count(known) > 1);
            self.tidy_at = 2 * self.labels.len();
        }
        self.labels.insert(Arc::clone(&labels));
        labels
    }

    /// Pods, addresses, changes, and sets of labels that are kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [self.by_uid.len(), self.by_address.len(), self.changes.len(), self.labels.len()]
    }
}
