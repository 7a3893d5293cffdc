//! The node's open ports over time: the last scan, what changed, since when, and who holds what.
//!
//! Owns the picture that tunnels and reports are told of. Must not know either.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    time::Duration,
};

use nodewatch_protocol::{Port, PortChange, PortOwner, PortsKind, PortsUpdate, UnixMillis, Update};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    error::chain,
    sockets::{self, ScanError, Scanner, owners},
    unix_millis,
};

/// Ports in one line: well below the line limit at about 50 bytes each.
const PORTS_A_LINE: usize = 10_000;
/// Changes of ports that a tunnel opened later is told.
const HISTORY: usize = 1000;
/// Owners are looked for this often, and when a port opens.
const OWNERS_EVERY: Duration = Duration::from_secs(10);

/// Whether processes are looked at.
enum Owners {
    /// They may not be.
    Off,
    /// What was found last, if anything was looked for yet, and when the next look is due.
    Known(Option<Vec<PortOwner>>, Instant),
    /// A look is under way.
    Looking(Option<Vec<PortOwner>>, oneshot::Receiver<Vec<PortOwner>>),
}

/// The ports of this node.
pub(crate) struct Ports {
    scanner: Option<Scanner>,
    /// `None` before the first scan that worked.
    last: Option<(UnixMillis, BTreeSet<Port>)>,
    since: BTreeMap<Port, UnixMillis>,
    /// What opened and closed, oldest first.
    history: VecDeque<PortChange>,
    /// The last scan's failure, so that it is told once.
    trouble: Option<String>,
    owners: Owners,
}

impl Ports {
    /// Nothing scanned yet. With `processes` it is found out who holds each port.
    pub fn new(processes: bool) -> Self {
        Self {
            scanner: None,
            last: None,
            since: BTreeMap::new(),
            history: VecDeque::new(),
            trouble: None,
            owners: if processes { Owners::Known(None, Instant::now()) } else { Owners::Off },
        }
    }

    /// Looks once; returns what is to be told.
    pub fn scan(&mut self) -> Vec<Update> {
        let at = unix_millis();
        let mut told = Vec::new();
        match self.scan_once() {
            Ok(now) => {
                self.trouble = None;
                told.extend(self.scanned(at, now));
                told.extend(self.look_for_owners(!told.is_empty()));
            }
            Err(error) => {
                self.scanner = None;
                let message = format!("ports: {}", chain(&error));
                if self.trouble.as_ref() != Some(&message) {
                    told.push(Update::Trouble { message: message.clone() });
                    self.trouble = Some(message);
                }
            }
        }
        told
    }

    fn scan_once(&mut self) -> Result<BTreeSet<Port>, ScanError> {
        match &mut self.scanner {
            Some(scanner) => scanner.scan(),
            None => self.scanner.insert(Scanner::open()?).scan(),
        }
    }

    fn scanned(&mut self, at: UnixMillis, now: BTreeSet<Port>) -> Option<Update> {
        let update = match &self.last {
            None => {
                PortsUpdate { at, kind: PortsKind::Snapshot, opened: now.iter().copied().collect(), closed: vec![] }
            }
            Some((_, before)) => {
                let (opened, closed) = sockets::changes(before, &now);
                PortsUpdate { at, kind: PortsKind::Changes, opened, closed }
            }
        };
        self.last = Some((at, now));
        for port in &update.closed {
            self.since.remove(port);
        }
        self.since.extend(update.opened.iter().map(|&port| (port, at)));
        if update.kind == PortsKind::Changes {
            let opened = update.opened.iter().map(|&port| PortChange { at, port, opened: true });
            let closed = update.closed.iter().map(|&port| PortChange { at, port, opened: false });
            self.history.extend(closed.chain(opened));
            let surplus = self.history.len().saturating_sub(HISTORY);
            self.history.drain(..surplus);
        }
        let news = update.kind == PortsKind::Snapshot || !(update.opened.is_empty() && update.closed.is_empty());
        news.then_some(Update::Ports(update))
    }

    /// The walk over `/proc` takes its time, so it happens beside the scans.
    fn look_for_owners(&mut self, changed: bool) -> Option<Update> {
        let (known, due) = match &mut self.owners {
            Owners::Off => return None,
            Owners::Known(known, due) => (std::mem::take(known), changed || *due <= Instant::now()),
            Owners::Looking(known, answer) => {
                let Ok(found) = answer.try_recv() else { return None };
                let news = known.as_ref() != Some(&found);
                // What opened while it looked is found the next time.
                let next = Instant::now() + if changed { Duration::ZERO } else { OWNERS_EVERY };
                self.owners = Owners::Known(Some(found.clone()), next);
                return news.then_some(Update::Owners(found));
            }
        };
        if !due {
            if let Owners::Known(place, _) = &mut self.owners {
                *place = known;
            }
            return None;
        }
        let sockets = self.scanner.as_ref().map(|scanner| scanner.inodes().to_vec()).unwrap_or_default();
        let (answer, found) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // The hub may have ended.
            let _ = answer.send(owners::owners(Path::new("/proc"), &sockets));
        });
        self.owners = Owners::Looking(known, found);
        None
    }

    /// Everything that a new tunnel must know.
    pub fn picture(&self) -> Vec<Update> {
        let mut picture = Vec::new();
        if let Some((at, ports)) = &self.last {
            let all: Vec<Port> = ports.iter().copied().collect();
            let mut kind = PortsKind::Snapshot;
            // An empty picture is a picture too.
            let parts = if all.is_empty() { vec![&all[..]] } else { all.chunks(PORTS_A_LINE).collect() };
            for part in parts {
                picture.push(Update::Ports(PortsUpdate { at: *at, kind, opened: part.to_vec(), closed: vec![] }));
                kind = PortsKind::Continued;
            }
        }
        if !self.history.is_empty() {
            picture.push(Update::PortHistory(self.history.iter().copied().collect()));
        }
        if let Owners::Known(Some(known), _) | Owners::Looking(Some(known), _) = &self.owners {
            picture.push(Update::Owners(known.clone()));
        }
        picture
    }

    /// Open ports with the time since when; `None` before the first scan that worked.
    pub fn open(&self) -> Option<&BTreeMap<Port, UnixMillis>> {
        self.last.as_ref().map(|_| &self.since)
    }
}
