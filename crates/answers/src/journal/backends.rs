//! Backends of services and how they stood in the last 15 minutes, by address.
//!
//! Owns that a service's backends are those of all its slices, and when one has left: an endpoint that moves to another
//! slice of its service has not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use rustc_hash::FxHashMap;

use super::objects::Objects;

/// Backends that are known at once, of all slices together; slices with more have no room.
const MOST_BACKENDS: usize = 120_000;
/// Changes that are remembered, of all backends together.
const MOST_CHANGES: usize = 40_000;

/// Address and port.
type Target = (IpAddr, u16);

#[derive(Debug, Clone)]
struct Slice {
    service: Arc<str>,
    backends: BTreeMap<Target, bool>,
}

/// How a backend of a service stands from a moment on.
#[derive(Debug, Clone)]
struct Standing {
    since: u64,
    service: Arc<str>,
    there: bool,
    ready: bool,
    /// Since when it takes no traffic, where it has taken some.
    left: Option<u64>,
}

/// Backends of all services.
#[derive(Debug, Clone, Default)]
pub(super) struct Backends {
    slices: Objects<Slice>,
    by_service: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// Of each service that has or had it as many as there are changes, and one; the latest last.
    by_target: FxHashMap<Target, Vec<Standing>>,
    /// When a backend of a service has changed, the latest last.
    changes: VecDeque<(u64, Target, Arc<str>)>,
    /// In all slices.
    count: usize,
}

impl Backends {
    /// All slices follow.
    pub(super) fn lists(&mut self) {
        self.slices.lists();
    }

    /// Slices that the list has not had are gone.
    pub(super) fn listed(&mut self, now: u64) {
        for name in self.slices.missing() {
            self.gone(now, &name);
        }
    }

    /// A slice has these from now on, with whether they take traffic.
    pub(super) fn put(&mut self, now: u64, name: &str, service: &str, backends: BTreeMap<Target, bool>) {
        if self.slices.get(name).is_some_and(|known| &*known.service != service) {
            self.gone(now, name);
        }
        let before = self.slices.get(name).map(|known| &known.backends);
        let had = before.map_or(0, BTreeMap::len);
        if self.count - had + backends.len() > MOST_BACKENDS {
            return;
        }
        let none = BTreeMap::new();
        let before = before.unwrap_or(&none);
        let new = backends.iter().filter(|(target, ready)| before.get(target) != Some(ready));
        let gone = before.keys().filter(|target| !backends.contains_key(target));
        let changed: Vec<Target> = new.map(|(target, _)| *target).chain(gone.copied()).collect();
        self.count = self.count - had + backends.len();
        let service =
            self.by_service.get_key_value(service).map_or_else(|| service.into(), |(known, _)| Arc::clone(known));
        self.by_service.entry(Arc::clone(&service)).or_default().insert(name.to_owned());
        self.slices.put(name, Slice { service: Arc::clone(&service), backends });
        for target in changed {
            self.note(now, &service, target);
        }
    }

    /// A slice is gone.
    pub(super) fn gone(&mut self, now: u64, name: &str) {
        let Some(Slice { service, backends }) = self.slices.remove(name) else { return };
        self.count -= backends.len();
        if let Some(names) = self.by_service.get_mut(&service) {
            names.remove(name);
            if names.is_empty() {
                self.by_service.remove(&service);
            }
        }
        for target in backends.into_keys() {
            self.note(now, &service, target);
        }
    }

    fn of_service(&self, service: &str) -> impl Iterator<Item = &Slice> {
        let names = self.by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name))
    }

    /// How a backend stands now by all slices of its service, where that is another way than before.
    fn note(&mut self, now: u64, service: &Arc<str>, target: Target) {
        let standing = self.of_service(service).filter_map(|slice| slice.backends.get(&target));
        let (there, ready) = standing.fold((false, false), |(_, ready), one| (true, ready || *one));
        let known = self.by_target.entry(target).or_default();
        let left = match known.iter().rev().find(|known| known.service == *service) {
            Some(last) if (last.there, last.ready) == (there, ready) => return,
            Some(last) => {
                self.changes.push_back((now, target, Arc::clone(service)));
                if last.ready { Some(now) } else { last.left }
            }
            None => None,
        };
        let left = left.filter(|_| !ready);
        known.push(Standing { since: now, service: Arc::clone(service), there, ready, left });
    }

    /// How one stood before a change that is that old is asked for no more.
    pub(super) fn forget(&mut self, old: u64) {
        while self.changes.front().is_some_and(|(at, ..)| *at < old) || self.changes.len() > MOST_CHANGES {
            let Some((_, target, service)) = self.changes.pop_front() else { return };
            let Some(known) = self.by_target.get_mut(&target) else { continue };
            let mut of_it = known.iter().enumerate().filter(|(_, one)| one.service == service);
            let first = of_it.next().map(|(at, _)| at);
            let next_is_last = of_it.next().map(|(_, one)| one.there).filter(|_| of_it.next().is_none());
            if let Some(first) = first {
                known.remove(first);
            }
            if next_is_last == Some(false) {
                known.retain(|one| one.service != service);
            }
            if known.is_empty() {
                self.by_target.remove(&target);
            }
        }
    }

    /// The service that has or had it.
    pub(super) fn service_of(&self, target: Target) -> Option<&str> {
        let known = self.by_target.get(&target)?;
        let has = |service: &Arc<str>| self.of_service(service).any(|slice| slice.backends.contains_key(&target));
        let now = known.iter().rev().find(|one| has(&one.service));
        now.or(known.last()).map(|one| &*one.service)
    }

    /// Since when it takes no traffic of any service, where it has taken some.
    pub(super) fn left(&self, target: Target, at: u64) -> Option<u64> {
        let mut then: BTreeMap<&str, &Standing> = BTreeMap::new();
        for one in self.by_target.get(&target)?.iter().filter(|one| one.since <= at) {
            then.insert(&one.service, one);
        }
        if then.values().any(|one| one.ready) {
            return None;
        }
        then.values().filter_map(|one| one.left).max()
    }

    /// Those of a service that take traffic now.
    pub(super) fn ready(&self, service: &str) -> BTreeSet<Target> {
        let all = self.of_service(service).flat_map(|slice| &slice.backends);
        all.filter(|(_, ready)| **ready).map(|(target, _)| *target).collect()
    }

    /// Addresses with a history, changes, and backends that are kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.by_target.len(), self.changes.len(), self.count]
    }
}
