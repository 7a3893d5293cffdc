//! The node's open ports over time: the last scan, what changed, since when, and who holds what.
//!
//! Owns the picture that tunnels and reports are told of. Must not know either.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use nodewatch_protocol::{AcceptQueue, OwnersUpdate, Port, PortChange, PortOwner, PortsUpdate, UnixMillis, Update};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    sockets::{self, Scan, Scanner, Socket, owners},
    unix_millis,
};

/// Changes of ports that a tunnel opened later is told.
const HISTORY: usize = 1000;
/// Owners are looked for this often, and sooner when a port opens.
const OWNERS_EVERY: Duration = Duration::from_secs(10);
/// However often ports change, there is a pause of at least this between two looks for owners, and of this many times what
/// the last one took.
const OWNERS_PAUSE: Duration = Duration::from_secs(2);
const OWNERS_SHARE: u32 = 9;

/// The sockets of a node are listed within so long, or it is said that they are not.
const OVERDUE: Duration = Duration::from_secs(10);

/// Owners, and how long it took to find them.
type Found = (Vec<PortOwner>, Duration);

/// Whether processes are looked at.
enum Owners {
    /// They may not be.
    Off,
    /// What was found last, if anything was looked for yet; when the next look may be, and when it is due at the latest.
    Known { found: Option<Vec<PortOwner>>, rested: Instant, due: Instant, changed: bool },
    /// A look is under way.
    Looking { before: Option<Vec<PortOwner>>, answer: oneshot::Receiver<Found>, changed: bool },
}

/// One look at the node's sockets, which may take its time: files of sockets have a line for every connection.
pub(crate) struct Look {
    scanner: Scanner,
    before: Option<Arc<BTreeSet<Port>>>,
}

/// What came of it.
pub(crate) struct Looked {
    at: UnixMillis,
    scanner: Scanner,
    scan: Scan,
}

impl Look {
    /// Does it. Waits for the kernel.
    pub fn run(mut self) -> Looked {
        let at = unix_millis();
        let scan = self.scanner.scan(self.before.as_deref());
        Looked { at, scanner: self.scanner, scan }
    }
}

/// The ports of this node.
pub(crate) struct Ports {
    /// `None` while a look is under way.
    scanner: Option<Scanner>,
    /// When the look that is under way began, and whether it was said that it takes long.
    looking: (Instant, bool),
    /// `None` before the first scan that worked.
    last: Option<(UnixMillis, Arc<BTreeSet<Port>>)>,
    since: BTreeMap<Port, UnixMillis>,
    /// What opened and closed, oldest first.
    history: VecDeque<PortChange>,
    /// What the last scan could not tell.
    gaps: Vec<String>,
    /// Listeners with connections that wait, by the last scan.
    queues: Vec<AcceptQueue>,
    owners: Owners,
}

impl Ports {
    /// Nothing is known before the first scan. With `processes` it is found out who holds each port.
    pub fn new(processes: bool) -> Self {
        let now = Instant::now();
        Self {
            scanner: Some(Scanner::default()),
            looking: (now, false),
            last: None,
            since: BTreeMap::new(),
            history: VecDeque::new(),
            gaps: Vec::new(),
            queues: Vec::new(),
            owners: if processes {
                Owners::Known { found: None, rested: now, due: now, changed: false }
            } else {
                Owners::Off
            },
        }
    }

    /// A look to be done beside everything else; `None` while one is under way.
    pub fn look(&mut self) -> Option<Look> {
        let before = self.last.as_ref().map(|(_, ports)| Arc::clone(ports));
        let scanner = self.scanner.take()?;
        self.looking = (Instant::now(), false);
        Some(Look { scanner, before })
    }

    /// Whether the look that is under way takes so long that it is to be said; once for each.
    pub fn is_overdue(&mut self) -> bool {
        let (began, said) = &mut self.looking;
        let overdue = self.scanner.is_none() && !*said && began.elapsed() >= OVERDUE;
        *said |= overdue;
        overdue
    }

    /// Takes in what a look has found; returns what is to be told.
    pub fn looked(&mut self, looked: Looked) -> Vec<Update> {
        let Looked { at, scanner, scan } = looked;
        self.scanner = Some(scanner);
        let mut told = Vec::new();
        if scan.gaps != self.gaps {
            self.gaps.clone_from(&scan.gaps);
            told.push(Update::PortGaps(scan.gaps));
        }
        if scan.known {
            let news = self.scanned(at, scan.ports);
            let changed = !news.is_empty();
            told.extend(news.into_iter().map(Update::Ports));
            if scan.queues != self.queues {
                self.queues.clone_from(&scan.queues);
                told.push(Update::Queues(scan.queues));
            }
            told.extend(self.look_for_owners(changed));
        }
        told
    }

    fn scanned(&mut self, at: UnixMillis, now: BTreeSet<Port>) -> Vec<PortsUpdate> {
        let Some((_, before)) = &self.last else {
            self.since = now.iter().map(|&port| (port, at)).collect();
            let picture = PortsUpdate::picture(at, &now);
            self.last = Some((at, Arc::new(now)));
            return picture;
        };
        let (opened, closed) = sockets::changes(before, &now);
        self.last = Some((at, Arc::new(now)));
        for port in &closed {
            self.since.remove(port);
        }
        self.since.extend(opened.iter().map(|&port| (port, at)));
        let changes = |ports: &[Port], opened| ports.iter().map(move |&port| PortChange { at, port, opened }).collect();
        let changes: [Vec<PortChange>; 2] = [changes(&closed, false), changes(&opened, true)];
        self.history.extend(changes.into_iter().flatten());
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
        PortsUpdate::changes(at, &opened, &closed)
    }

    /// The walk over `/proc` takes its time, so it happens beside the scans.
    fn look_for_owners(&mut self, news: bool) -> Vec<Update> {
        let now = Instant::now();
        match &mut self.owners {
            Owners::Off => Vec::new(),
            Owners::Looking { before, answer, changed } => {
                *changed |= news;
                let Ok((found, took)) = answer.try_recv() else { return Vec::new() };
                let told = if before.as_ref() == Some(&found) { Vec::new() } else { owner_updates(&found) };
                // What opened while it looked is found the next time.
                let changed = *changed;
                let rested = now + OWNERS_PAUSE.max(took.saturating_mul(OWNERS_SHARE));
                self.owners =
                    Owners::Known { found: Some(found), rested, due: rested.max(now + OWNERS_EVERY), changed };
                told
            }
            Owners::Known { found, rested, due, changed } => {
                *changed |= news;
                if now < *rested || (now < *due && !*changed) {
                    return Vec::new();
                }
                let before = found.take();
                // A look has just come back.
                let sockets = self.scanner.as_ref().map(|scanner| scanner.sockets().to_vec()).unwrap_or_default();
                let answer = look_for_holders(sockets);
                self.owners = Owners::Looking { before, answer, changed: false };
                Vec::new()
            }
        }
    }

    /// Everything that a new tunnel must know.
    pub fn picture(&self) -> Vec<Update> {
        // That there are none any more is news too.
        let mut picture = vec![Update::PortGaps(self.gaps.clone())];
        if let Some((at, ports)) = &self.last {
            picture.extend(PortsUpdate::picture(*at, ports.as_ref()).into_iter().map(Update::Ports));
        }
        picture.push(Update::Queues(self.queues.clone()));
        if !self.history.is_empty() {
            picture.push(Update::PortHistory(self.history.iter().copied().collect()));
        }
        if let Owners::Known { found: Some(known), .. } | Owners::Looking { before: Some(known), .. } = &self.owners {
            picture.extend(owner_updates(known));
        }
        picture
    }

    /// Open ports with the time since when; `None` before the first scan that worked.
    pub fn open(&self) -> Option<&BTreeMap<Port, UnixMillis>> {
        self.last.as_ref().map(|_| &self.since)
    }
}

fn owner_updates(owners: &[PortOwner]) -> Vec<Update> {
    OwnersUpdate::parts(owners).into_iter().map(Update::Owners).collect()
}

fn look_for_holders(sockets: Vec<Socket>) -> oneshot::Receiver<Found> {
    let (answer, found) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let began = std::time::Instant::now();
        let owners = owners::owners(Path::new("/proc"), &sockets);
        // The hub may have ended.
        let _ = answer.send((owners, began.elapsed()));
    });
    found
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{FromAgent, PortProtocol, PortsKind, encode};

    use super::*;

    fn ports(number: u32) -> BTreeSet<Port> {
        let port = |index: u32| {
            let address = std::net::Ipv4Addr::from(0x7f00_0001 + index / 60_000);
            Port::new(PortProtocol::Udp, (address, (index % 60_000) as u16 + 1).into())
        };
        (0..number).map(port).collect()
    }

    fn kinds(updates: &[PortsUpdate]) -> Vec<(PortsKind, bool)> {
        updates.iter().map(|update| (update.kind, update.more)).collect()
    }

    #[test]
    fn the_first_picture_of_very_many_ports_comes_in_parts_like_every_later_one() {
        let mut state = Ports::new(false);
        let first = state.scanned(1, ports(120_000));
        assert_eq!(first.iter().map(|part| part.opened.len()).sum::<usize>(), 120_000);
        assert_eq!(kinds(&first)[..2], [(PortsKind::Snapshot, true), (PortsKind::Continued, true)]);
        assert_eq!(kinds(&first).last(), Some(&(PortsKind::Continued, false)));
        for update in state.picture() {
            encode(&FromAgent::Update(update)).expect("no line is too long");
        }
        assert!(state.scanned(2, ports(120_000)).is_empty(), "nothing has changed");
        assert_eq!(state.open().map(BTreeMap::len), Some(120_000));
    }

    #[test]
    fn very_many_changes_are_told_in_lines_of_their_own_and_all_of_them() {
        let mut state = Ports::new(false);
        state.scanned(1, BTreeSet::new());
        let opened = state.scanned(2, ports(120_000));
        assert!(opened.iter().all(|part| part.kind == PortsKind::Changes && part.closed.is_empty()));
        assert_eq!(opened.iter().map(|part| part.opened.len()).sum::<usize>(), 120_000);
        let closed = state.scanned(3, BTreeSet::new());
        assert_eq!(closed.iter().map(|part| part.closed.len()).sum::<usize>(), 120_000);
        for update in opened.into_iter().chain(closed) {
            encode(&FromAgent::Update(Update::Ports(update))).expect("no line is too long");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_does_not_come_back_is_said_once() {
        let mut state = Ports::new(false);
        let look = state.look().expect("none is under way");
        assert!(state.look().is_none() && !state.is_overdue(), "it has just begun");
        tokio::time::advance(OVERDUE).await;
        assert!(state.is_overdue() && !state.is_overdue());
        state.looked(look.run());
        assert!(!state.is_overdue() && state.look().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn however_often_ports_change_the_processes_are_looked_at_with_pauses() {
        let mut state = Ports::new(true);
        let mut looks = 0;
        for _ in 0..60 {
            let was_looking = matches!(state.owners, Owners::Looking { .. });
            state.look_for_owners(true);
            looks += usize::from(!was_looking && matches!(state.owners, Owners::Looking { .. }));
            if let Owners::Looking { answer, .. } = &mut state.owners {
                // As if the walk took a second.
                let (slow, found) = oneshot::channel();
                *answer = found;
                let _ = slow.send((Vec::new(), Duration::from_secs(1)));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!((5..=7).contains(&looks), "{looks} looks in a minute");
    }
}
