//! A node's ports as its agent tells them: pictures that come in parts, changes, who holds what.
//!
//! Owns when a picture is whole, and what is told as opened and closed. Pure.

use std::{collections::BTreeMap, mem::take};

use nodewatch_ports::Flap;
use nodewatch_protocol::{
    AcceptQueue, MOST_QUEUES, OwnersUpdate, Port, PortChange, PortsKind, PortsUpdate, UnixMillis,
};

use super::{FRESH, MAX_EVENTS, NodeEvent, NodeState, PortRow};
use crate::model::{FullQueue, Severity};

impl PortRow {
    /// A client's socket, as far as can be told by now: such are counted and not listed. One that was there from the
    /// beginning is none as long as it is open: nobody knows since when.
    pub fn is_client(&self, now: UnixMillis) -> bool {
        let lived = self.closed.unwrap_or(now).saturating_sub(self.since);
        (self.opened || self.closed.is_some()) && nodewatch_ports::is_client(&self.port, lived)
    }
}

impl NodeState {
    /// Ports that are open now.
    pub fn open_ports(&self) -> impl Iterator<Item = &PortRow> {
        self.ports.rows.values().filter(|row| row.closed.is_none())
    }

    /// Ports that opened and closed lately, but for clients'.
    pub fn recent_changes(&self, now: UnixMillis) -> (usize, usize) {
        let fresh = |at: UnixMillis| now.saturating_sub(at) < FRESH;
        let listed = || self.ports.rows.values().filter(|row| !row.is_client(now));
        let opened = listed().filter(|row| row.closed.is_none() && row.opened && fresh(row.since)).count();
        let closed = listed().filter(|row| row.closed.is_some_and(fresh)).count();
        (opened, closed)
    }

    /// The listener that flaps now and has closed most often.
    pub fn worst_flap(&self, now: UnixMillis) -> Option<Flap> {
        self.flaps_now(now).next()
    }

    /// The listeners that flap now.
    pub fn flaps_now(&self, now: UnixMillis) -> impl Iterator<Item = Flap> {
        self.ports.over_time.flaps().into_iter().filter(move |flap| flap.goes_on(now))
    }

    /// What a port does if it flaps now.
    pub fn flap(&self, port: &Port, now: UnixMillis) -> Option<Flap> {
        self.ports.over_time.flap(port).filter(|flap| flap.goes_on(now))
    }

    /// A line of a port that opened or closed; one line for all that a flapping one does, and none for a client's.
    fn tell_port(&mut self, change: &PortChange, lived: u64) {
        let PortChange { at, port, opened } = *change;
        if let Some(flap) = self.flap(&port, at) {
            let (begins, own) = (format!("{port} flaps: "), [format!("opened {port}"), format!("closed {port}")]);
            self.log.events.retain(|event| !event.text.starts_with(&begins) && !own.contains(&event.text));
            self.note_port(NodeEvent { at, text: flap.to_string(), severity: Severity::Warning });
        } else if !nodewatch_ports::is_client(&port, lived) {
            let text = format!("{} {port}", if opened { "opened" } else { "closed" });
            self.note_port(NodeEvent { at, text, severity: Severity::Info });
        }
    }

    /// Forgets ports that closed too long ago.
    pub fn age(&mut self, now: UnixMillis) {
        self.ports.rows.retain(|_, row| row.closed.is_none_or(|at| now.saturating_sub(at) < FRESH));
    }

    pub(super) fn apply_ports(&mut self, update: PortsUpdate, now: UnixMillis) {
        match update.kind {
            PortsKind::Snapshot => self.ports.coming.ports = Some(update.opened.into_iter().collect()),
            PortsKind::Continued => match &mut self.ports.coming.ports {
                Some(ports) => ports.extend(update.opened),
                // As recordings of earlier versions have it, whose pictures say not whether they are whole.
                None => return self.open(update.opened, now, false),
            },
            PortsKind::Changes => {
                self.ports.coming.ports = None;
                self.close(&update.closed, now);
                self.open(update.opened, now, true);
                return;
            }
        }
        if update.more {
            return;
        }
        let ports = take(&mut self.ports.coming.ports).unwrap_or_default();
        let known_before = self.ports.known;
        self.ports.known = true;
        self.ports.history_is_news = !known_before;
        // What a picture no longer shows has closed while no one looked; the agent's picture is the truth.
        let gone: Vec<Port> = self.open_ports().map(|row| row.port).filter(|port| !ports.contains(port)).collect();
        self.close(&gone, now);
        self.open(ports, now, known_before);
    }

    /// What happened on the node while nobody looked, by the agent's clock.
    pub(super) fn apply_port_history(&mut self, changes: &[PortChange], now: UnixMillis) {
        if !take(&mut self.ports.history_is_news) {
            return;
        }
        // The agent's clock may differ from this one.
        let theirs = self.facts.as_ref().map_or(now, |facts| facts.now);
        for change in changes {
            let at = now.saturating_sub(theirs.saturating_sub(change.at));
            let port = change.port;
            if at > self.ports.heard_until {
                self.ports.over_time.note(&PortChange { at, ..*change });
            }
            if change.opened {
                if let Some(row) = self.ports.rows.get_mut(&port) {
                    (row.since, row.opened) = (at, true);
                }
            } else {
                let closed = PortRow { port, since: at, opened: false, closed: Some(at) };
                self.ports.rows.entry(port).or_insert(closed);
            }
            // How long it had been open nobody says.
            self.tell_port(&PortChange { at, ..*change }, 0);
        }
        self.age(now);
    }

    pub(super) fn apply_owners(&mut self, update: OwnersUpdate) {
        let owners = update.owners.into_iter().map(|owner| (owner.port, owner));
        match &mut self.ports.coming.owners {
            Some(coming) if update.continued => coming.extend(owners),
            // The rest of a list whose beginning was lost: the whole one follows.
            None if update.continued => return,
            coming => *coming = Some(owners.collect()),
        }
        if !update.more {
            self.ports.owners = take(&mut self.ports.coming.owners);
        }
    }

    /// A queue that is full is an event once, until it has been empty again.
    pub(super) fn apply_queues(&mut self, queues: Vec<AcceptQueue>, now: UnixMillis) {
        let new: BTreeMap<Port, AcceptQueue> =
            queues.into_iter().take(MOST_QUEUES).map(|queue| (queue.port, queue)).collect();
        let before = std::mem::replace(&mut self.ports.queues, new);
        let was_full = |port: &Port| before.get(port).is_some_and(AcceptQueue::is_full);
        let full: Vec<AcceptQueue> =
            self.ports.queues.values().filter(|queue| queue.is_full() && !was_full(&queue.port)).copied().collect();
        for queue in self.ports.queues.values().filter(|queue| queue.is_full()) {
            let AcceptQueue { port, waiting, limit } = *queue;
            let times = u64::from(!was_full(&port));
            let seen = FullQueue { port: port.to_string(), times, first: now, last: now, waiting, limit };
            let room = self.ports.full.len() < MOST_QUEUES;
            match self.ports.full.get_mut(&port) {
                Some(known) => *known = known.clone().joined(seen),
                None if room => {
                    self.ports.full.insert(port, seen);
                }
                None => {}
            }
        }
        for AcceptQueue { port, waiting, limit } in full {
            self.note_fault(now, format!("accept queue full: {port} has {waiting} waiting, its backlog is {limit}"));
        }
    }

    pub(super) fn apply_port_gaps(&mut self, gaps: Vec<String>, now: UnixMillis) {
        let before = std::mem::replace(&mut self.ports.gaps, gaps);
        let new: Vec<String> = self.ports.gaps.iter().filter(|gap| !before.contains(gap)).cloned().collect();
        for gap in new {
            self.reporting.errors += 1;
            self.note_fault(now, format!("ports: {gap}"));
        }
    }

    fn note_change(&mut self, change: PortChange) {
        self.ports.over_time.note(&change);
        if self.ports.changes.0.len() == MAX_EVENTS {
            self.ports.changes.0.pop_front();
        }
        self.ports.changes.0.push_back(change);
        self.ports.changes.1 += 1;
    }

    fn open(&mut self, ports: impl IntoIterator<Item = Port>, now: UnixMillis, opened: bool) {
        for port in ports {
            let known = self.ports.rows.get(&port).is_some_and(|row| row.closed.is_none());
            if !known {
                self.ports.rows.insert(port, PortRow { port, since: now, opened, closed: None });
                if opened {
                    let change = PortChange { at: now, port, opened };
                    self.note_change(change);
                    self.tell_port(&change, 0);
                }
            }
        }
    }

    fn close(&mut self, ports: &[Port], now: UnixMillis) {
        for &port in ports {
            if let Some(row) = self.ports.rows.get_mut(&port).filter(|row| row.closed.is_none()) {
                row.closed = Some(now);
                // One that was there from the beginning has lived nobody knows how long.
                let lived = if row.opened { now.saturating_sub(row.since) } else { u64::MAX };
                let change = PortChange { at: now, port, opened: false };
                self.note_change(change);
                self.tell_port(&change, lived);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{PortOwner, PortProtocol, Update};

    use super::*;
    use crate::model::Node;

    fn state() -> NodeState {
        NodeState::new(Node::named("n".into()))
    }

    fn ports(number: u32) -> Vec<Port> {
        let port = |index: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0001 + index / 60_000);
            Port::new(PortProtocol::Tcp, (address, (index % 60_000) as u16 + 1).into())
        };
        (0..number).map(port).collect()
    }

    fn picture(state: &mut NodeState, ports: &[Port], now: UnixMillis) {
        for part in PortsUpdate::picture(now, ports) {
            state.apply(Update::Ports(part), now);
        }
    }

    #[test]
    fn a_picture_is_known_with_its_last_part_and_not_before() {
        let mut state = state();
        let ports = ports(120_000);
        let parts = PortsUpdate::picture(1, &ports);
        for part in &parts[..parts.len() - 1] {
            state.apply(Update::Ports(part.clone()), 1);
            assert!(!state.ports.known && state.ports.rows.is_empty());
        }
        state.apply(Update::Ports(parts[parts.len() - 1].clone()), 1);
        assert!(state.ports.known);
        assert_eq!(state.open_ports().count(), 120_000);
    }

    #[test]
    fn a_tunnel_that_returns_closes_nothing_that_is_open_and_keeps_since_when() {
        let mut state = state();
        let ports = ports(25_000);
        picture(&mut state, &ports, 1);
        // Cut off in the middle of a picture, and then once more, whole.
        state.apply(Update::Ports(PortsUpdate::picture(5, &ports).remove(0)), 5);
        picture(&mut state, &ports, 9);
        assert_eq!(state.ports.changes.1, 0);
        assert!(state.open_ports().all(|row| row.since == 1 && !row.opened));
        picture(&mut state, &ports[1..], 10);
        assert_eq!(state.ports.changes.1, 1);
        assert_eq!(state.ports.changes.0[0], PortChange { at: 10, port: ports[0], opened: false });
    }

    #[test]
    fn a_recording_of_an_earlier_version_shows_all_parts_of_its_pictures() {
        let mut state = state();
        let ports = ports(25_000);
        for part in PortsUpdate::picture(1, &ports) {
            state.apply(Update::Ports(PortsUpdate { more: false, ..part }), 1);
        }
        assert_eq!((state.open_ports().count(), state.ports.changes.1), (25_000, 0));
    }

    #[test]
    fn owners_are_known_with_their_last_part() {
        let mut state = state();
        let owner = |&port: &Port| PortOwner { port, pid: 1, process: "p".into(), pod_uid: None };
        let owners: Vec<PortOwner> = ports(7_000).iter().map(owner).collect();
        let parts = OwnersUpdate::parts(&owners);
        state.apply(Update::Owners(parts[1].clone()), 1);
        assert!(state.ports.owners.is_none());
        for part in &parts {
            assert!(state.ports.owners.is_none());
            state.apply(Update::Owners(part.clone()), 1);
        }
        assert_eq!(state.ports.owners.as_ref().map(BTreeMap::len), Some(7_000));
        state.apply(Update::Owners(OwnersUpdate::parts(&[]).remove(0)), 1);
        assert_eq!(state.ports.owners.as_ref().map(BTreeMap::len), Some(0));
    }

    #[test]
    fn a_listener_that_flaps_has_one_line_and_clients_have_none() {
        let mut state = state();
        let (server, client): (Port, Port) =
            ("tcp 10.0.0.1:8080".parse().expect("a port"), "udp 0.0.0.0:41234".parse().expect("a port"));
        picture(&mut state, &[server], 1);
        let changes = |opened: &[Port], closed: &[Port], at| {
            let (opened, closed) = (opened.to_vec(), closed.to_vec());
            Update::Ports(PortsUpdate { at, kind: PortsKind::Changes, opened, closed, more: false })
        };
        for turn in 1..=4_u64 {
            let at = turn * 10_000;
            state.apply(changes(&[client], &[server], at), at);
            state.apply(changes(&[server], &[client], at + 1000), at + 1000);
        }
        let texts: Vec<&str> = state.log.events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(texts, ["tcp 10.0.0.1:8080 flaps: closed 4 times, 1.0 s each, about every 10 s"]);
        assert!(state.flap(&server, 41_000).is_some() && state.flap(&server, 400_000).is_none(), "it may be over");
        assert_eq!(state.recent_changes(41_000), (1, 0), "the client's socket is no change");
    }

    #[test]
    fn a_queue_that_is_full_is_told_once_until_it_was_not() {
        let mut state = state();
        let port: Port = "tcp 0.0.0.0:80".parse().expect("a port");
        for (waiting, events) in [(1, 0), (2, 1), (3, 1), (0, 1), (2, 2)] {
            let queues = if waiting == 0 { vec![] } else { vec![AcceptQueue { port, waiting, limit: 1 }] };
            state.apply(Update::Queues(queues), 1);
            assert_eq!(state.log.events.len(), events, "{waiting}");
        }
    }

    #[test]
    fn a_queue_is_not_shown_as_full_when_its_agent_is_gone() {
        let mut state = state();
        let full = AcceptQueue { port: "tcp 0.0.0.0:80".parse().expect("a port"), waiting: 2, limit: 1 };
        state.apply(Update::Queues(vec![full]), 1);
        state.agent_is_over(2, 2);
        assert!(state.ports.queues.is_empty());
        state.apply(Update::Queues(vec![full]), 3);
        state.apply(Update::Queues(vec![AcceptQueue { waiting: 5, ..full }]), 4);
        let known = &state.ports.full[&full.port];
        assert_eq!((known.times, known.first, known.last, known.waiting), (2, 1, 4, 5), "for the report");
        assert!(state.log.events.iter().all(|event| event.severity == Severity::Warning), "it is a problem");
        assert_eq!(state.log.events.len(), 2, "the next agent's is told again");
    }

    #[test]
    fn a_gap_is_told_once_and_counted_once() {
        let mut state = state();
        for now in 1..4 {
            state.apply(Update::PortGaps(vec!["udp: no udp_diag".into()]), now);
        }
        assert_eq!((state.reporting.errors, state.log.events.len()), (1, 1));
        state.apply(Update::PortGaps(vec![]), 5);
        assert!(state.ports.gaps.is_empty());
    }
}
