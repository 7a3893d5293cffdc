//! What is wrong with ports at this moment, whatever their class: those that flap, and those whose accept queue is full.

use std::collections::BTreeMap;

use crate::{model::PortKey, screens::App};

/// What is wrong with a port of a node at this moment, whatever its class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It closes again and again.
    Flaps,
    /// Its accept queue takes no more.
    Full,
}

/// The marks of all nodes, by place in the lists.
pub(super) struct Marks(BTreeMap<(usize, PortKey), Mark>);

impl Marks {
    pub(super) fn of(app: &App) -> Self {
        let mut marks = BTreeMap::new();
        for (at, (name, _)) in app.ports.lists.iter().enumerate() {
            let Some(state) = app.session.nodes.get(name) else { continue };
            let full = state.ports.queues.values().filter(|queue| queue.is_full());
            marks.extend(full.map(|queue| ((at, queue.port.into()), Mark::Full)));
            // Its queue is of interest once it stays open.
            let flaps = state.flaps_now(app.session.now);
            marks.extend(flaps.map(|flap| ((at, flap.port.into()), Mark::Flaps)));
        }
        Self(marks)
    }

    pub(super) fn at(&self, node: usize, key: PortKey) -> Option<Mark> {
        self.0.get(&(node, key)).copied()
    }

    /// On how many nodes the port has it.
    fn count(&self, key: PortKey, mark: Mark) -> usize {
        self.0.iter().filter(|((_, known), found)| *known == key && **found == mark).count()
    }

    /// Both in words, for a port that has them.
    pub(super) fn text(&self, key: PortKey) -> String {
        let said = |(mark, word)| Some(format!("{} {word}", Some(self.count(key, mark)).filter(|count| *count > 0)?));
        [(Mark::Flaps, "FLAPS"), (Mark::Full, "FULL")].into_iter().filter_map(said).collect::<Vec<_>>().join(" ")
    }
}
