//! What the list of nodes needs room for: names, addresses, and columns that some node has something for.
//!
//! Looked at once a second and when other nodes are shown: a frame must not touch each of 1,000 nodes. Pure.

use std::collections::BTreeSet;

use unicode_width::UnicodeWidthStr;

use super::App;
use crate::{base::text::visible, model::Readiness, session::node::NodeState};

/// From so many thousandths of segments on it is worth a column that they are sent again.
pub const MANY_AGAIN: u64 = 10;

/// Something that at least one of the nodes has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// An address.
    Address,
    /// A kubelet's version.
    Version,
    /// An instance's id.
    Instance,
    /// An instance's type.
    Type,
    /// An availability zone.
    Zone,
    /// Two words as its status: it is cordoned and not ready.
    Both,
    /// A listener that opens and closes in turn.
    Flaps,
    /// A capture or a recorder that runs, or is about to.
    Captures,
    /// Packets that its capture lost.
    Drops,
    /// Packets that are watched.
    Watched,
    /// Attempts that failed in the last minute.
    Failed,
    /// Attempts that were delayed in the last minute.
    Delayed,
    /// Many segments sent again in the last minute.
    Again,
}

/// What the nodes that are shown have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Cells of the longest name.
    pub name: usize,
    /// Cells of the longest IPv6 address that stands first of its node's.
    pub address: usize,
    /// What some of them have.
    has: BTreeSet<Trait>,
}

impl Extent {
    /// Whether some node has it.
    pub fn has(&self, what: Trait) -> bool {
        self.has.contains(&what)
    }

    fn with(&mut self, state: &NodeState, now: u64) {
        let node = &state.node;
        self.name = self.name.max(visible(&node.name.0).width());
        let six = node.addresses.first().filter(|address| address.is_ipv6());
        self.address = self.address.max(six.map_or(0, |address| address.to_string().len()));
        let watched = state.seen.watch.heard().is_some();
        let recent = state.seen.watch.recent(now);
        let found = [
            (Trait::Address, !node.addresses.is_empty()),
            (Trait::Version, node.version.is_some()),
            (Trait::Instance, node.instance_id.is_some()),
            (Trait::Type, node.instance_type.is_some()),
            (Trait::Zone, node.zone.is_some()),
            (Trait::Both, node.cordoned && node.readiness != Readiness::Ready),
            (Trait::Flaps, state.worst_flap(now).is_some()),
            (Trait::Captures, state.is_capturing() || state.is_to_start()),
            (Trait::Drops, state.has_dropped()),
            (Trait::Watched, watched),
            (Trait::Failed, recent.failed > 0),
            (Trait::Delayed, recent.delayed > 0),
            (Trait::Again, recent.retransmitted_share().is_some_and(|share| share >= MANY_AGAIN)),
        ];
        self.has.extend(found.into_iter().filter_map(|(what, there)| there.then_some(what)));
    }
}

impl App {
    /// Looks at the nodes that are shown anew.
    pub(super) fn measure_list(&mut self) {
        let mut extent = Extent::default();
        for state in self.shown() {
            extent.with(state, self.session.now);
        }
        self.list.extent = extent;
    }
}
