//! Interfaces that are to be watched and are not there, or down.
//!
//! Owns which these are, and what is said of them. Those of pods come and go, unless they are named. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use nodewatch_protocol::Role;

use crate::capture::devices::Device;

/// Of one that comes and goes is told so often at the most.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Which are away now, and what is to be said of it.
type News = (Vec<(String, Role)>, Vec<Word>);

/// What is to be said of it, for people.
#[derive(Debug)]
pub(super) enum Word {
    /// One is away.
    Trouble(String),
    /// One is back.
    Note(String),
}

/// What should be there.
pub(super) struct Away {
    expected: BTreeMap<String, Role>,
    missing: BTreeSet<String>,
    /// When something was told of an interface last.
    told: HashMap<String, Instant>,
}

impl Away {
    /// These are named by whoever wants to watch.
    pub(super) fn new(named: &[String]) -> Self {
        let expected = named.iter().map(|name| (name.clone(), Role::default())).collect();
        Self { expected, missing: BTreeSet::new(), told: HashMap::new() }
    }

    /// It is watched now.
    pub(super) fn opened(&mut self, name: &str, role: Role) {
        if role == Role::Node || self.expected.contains_key(name) {
            self.expected.insert(name.to_owned(), role);
        }
    }

    /// It has another name now.
    pub(super) fn renamed(&mut self, before: &str, name: &str, role: Role) {
        if before != name {
            self.expected.remove(before);
        }
        self.opened(name, role);
    }

    /// Sees which are away: neither open nor a capture's. What is up and cannot be opened is told of elsewhere. Where others
    /// are than before, these, and what is to be said of it.
    pub(super) fn look(&mut self, there: &[Device], is_read: impl Fn(&str) -> bool, now: Instant) -> Option<News> {
        let up = |name: &String| there.iter().any(|device| device.name == *name && device.up);
        let is_away = |name: &&String| !is_read(name) && !up(name);
        let away: BTreeSet<String> = self.expected.keys().filter(is_away).cloned().collect();
        if away == self.missing {
            return None;
        }
        let mut words = Vec::new();
        for name in away.symmetric_difference(&self.missing) {
            if self.told.get(name).is_some_and(|told| now.duration_since(*told) < TOLD_EVERY) {
                continue;
            }
            self.told.insert(name.clone(), now);
            words.push(if !away.contains(name) {
                Word::Note(format!("interface {name} is back"))
            } else if there.iter().any(|device| device.name == *name) {
                Word::Trouble(format!("interface {name} is down; not watched until it is up again"))
            } else {
                Word::Trouble(format!("interface {name} is gone; not watched until it is back"))
            });
        }
        let role = |name: &String| self.expected.get(name).copied().unwrap_or_default();
        let listed = away.iter().map(|name| (name.clone(), role(name))).collect();
        self.missing = away;
        Some((listed, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, up: bool) -> Device {
        Device { index: 1, name: name.into(), hardware: 1, up, lost: 0, pod_end: false, bridge: false }
    }

    /// What is said, and last what is away.
    fn said(seen: Option<News>) -> Vec<String> {
        let Some((away, words)) = seen else { return Vec::new() };
        let said = words.into_iter().map(|word| match word {
            Word::Trouble(text) | Word::Note(text) => text,
        });
        let away: Vec<String> = away.iter().map(|(name, role)| format!("{name} {}", role.word())).collect();
        said.chain([away.join(", ")]).collect()
    }

    #[test]
    fn what_is_named_or_the_nodes_own_is_missed_once_and_what_is_a_pods_is_not() {
        let mut away = Away::new(&["eth1".to_owned()]);
        for (name, role) in [("eth0", Role::Node), ("eth1", Role::Other), ("eni7", Role::Pod)] {
            away.opened(name, role);
        }
        let begun = Instant::now();
        let mut look = |seconds, there: &[Device]| {
            let is_up = |name: &str| there.iter().any(|device| device.up && device.name == name);
            said(away.look(there, is_up, begun + Duration::from_secs(seconds)))
        };
        assert_eq!(look(1, &[device("eth0", true), device("eth1", true)]), <[String; 0]>::default());
        let gone = "interface eth1 is gone; not watched until it is back";
        assert_eq!(look(2, &[device("eth0", true)]), [gone, "eth1 other"]);
        assert_eq!(look(3, &[device("eth0", true)]), <[String; 0]>::default());
        let down = "interface eth0 is down; not watched until it is up again";
        assert_eq!(look(4, &[device("eth0", false)]), [down, "eth0 node, eth1 other"]);
        assert_eq!(look(5, &[device("eth0", true)]), ["eth1 other"], "a minute is not over");
        assert_eq!(look(70, &[device("eth0", true), device("eth1", true)]), ["interface eth1 is back", ""]);
    }
}
