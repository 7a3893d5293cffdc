//! The order of rows.
//!
//! Owns which columns rows can be sorted by, and how. Pure.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::session::node::NodeState;

/// A column that rows can be sorted by; which of them a screen has is the keymap's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Column {
    Name,
    Status,
    Zone,
    Type,
    Agent,
    Ports,
    Packets,
    Bytes,
    Drops,
    Time,
    Class,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::Status,
        Self::Zone,
        Self::Type,
        Self::Agent,
        Self::Ports,
        Self::Packets,
        Self::Bytes,
        Self::Drops,
        Self::Time,
        Self::Class,
    ];

    /// Its name, for commands and titles.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Status => "status",
            Self::Zone => "zone",
            Self::Type => "type",
            Self::Agent => "agent",
            Self::Ports => "ports",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Drops => "drops",
            Self::Time => "time",
            Self::Class => "class",
        }
    }

    /// Of numbers the largest is wanted first.
    fn is_number(self) -> bool {
        matches!(self, Self::Ports | Self::Packets | Self::Bytes | Self::Drops | Self::Time)
    }
}

/// A column and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub column: Column,
    /// The smallest last.
    pub descending: bool,
}

impl Order {
    /// By a column, or the other way around when it was by that already.
    pub fn toggled(before: Option<Self>, column: Column) -> Self {
        match before {
            Some(order) if order.column == column => Self { column, descending: !order.descending },
            _ => Self { column, descending: column.is_number() },
        }
    }

    /// For a title: `zone ▲`.
    pub fn text(self, unicode: bool) -> String {
        let sign = match (self.descending, unicode) {
            (false, true) => "▲",
            (true, true) => "▼",
            (false, false) => "^",
            (true, false) => "v",
        };
        format!("{} {sign}", self.column.word())
    }

    pub(super) fn directed(self, ordering: Ordering) -> Ordering {
        if self.descending { ordering.reverse() } else { ordering }
    }

    /// Two nodes in this order; equal ones by name.
    pub(super) fn nodes(self, a: &NodeState, b: &NodeState) -> Ordering {
        let drops = |state: &NodeState| {
            state.counts.latest.as_ref().map_or(0, |it| it.dropped.kernel + it.dropped.interface + it.dropped.queue)
        };
        let ordering = match self.column {
            Column::Status => (a.node.readiness, a.node.cordoned).cmp(&(b.node.readiness, b.node.cordoned)),
            Column::Zone => a.node.zone.cmp(&b.node.zone),
            Column::Type => a.node.instance_type.cmp(&b.node.instance_type),
            Column::Agent => a.agent.rank().cmp(&b.agent.rank()),
            Column::Ports => a.open_ports().count().cmp(&b.open_ports().count()),
            Column::Packets => a.rates().packets.cmp(&b.rates().packets),
            Column::Bytes => a.rates().bytes.cmp(&b.rates().bytes),
            Column::Drops => drops(a).cmp(&drops(b)),
            Column::Name | Column::Time | Column::Class => a.node.name.cmp(&b.node.name),
        };
        self.directed(ordering).then_with(|| a.node.name.cmp(&b.node.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_column_again_is_the_other_way_around() {
        let zone = Order::toggled(None, Column::Zone);
        assert!(!zone.descending && Order::toggled(Some(zone), Column::Zone).descending);
        assert!(Order::toggled(Some(zone), Column::Drops).descending, "the most drops first");
    }
}
