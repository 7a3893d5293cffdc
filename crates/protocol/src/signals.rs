//! Signals on the wire: which a node has, and by how much they move.
//!
//! Owns their form, in which what does not move takes no room. What a signal means is its table's to say. A counter is
//! told as what it rose by since this agent began, so that what is set back, or full, on the node is nobody's to undo
//! here.

use serde::{Deserialize, Serialize};

use super::UnixMillis;

/// More signals of one node are told of no more.
pub const MOST_SIGNALS: usize = 6000;
/// The longest item of a signal, in bytes.
pub const LONGEST_ITEM: usize = 96;

/// News of a node's signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalsUpdate {
    /// When they were read.
    pub at: UnixMillis,
    /// When this agent began to read, in a whole picture: what was told before it is void. Counters of the same
    /// beginning go on where they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixMillis>,
    /// Signals that are new, or that are told anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<SignalSeries>,
    /// What has moved, by number: of a counter by how much, of a gauge where to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<(u32, u64)>,
    /// Numbers of those that are no more, as of an interface that has gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<u32>,
    /// Sources that the node does not have, in a whole picture and whenever they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<MissingSource>>,
    /// Signals that had no room among [`MOST_SIGNALS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl SignalsUpdate {
    /// Whether anything is news in it besides the time.
    pub fn says_something(&self) -> bool {
        let quiet = self.told.is_empty() && self.moved.is_empty() && self.gone.is_empty() && self.missing.is_none();
        !quiet || self.since.is_some()
    }
}

/// One signal of one node, or of one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSeries {
    /// By which the agent tells it from then on.
    pub id: u32,
    /// The signal's stable name.
    pub name: String,
    /// The interface, socket or path that it is about; empty where it is about the node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub item: String,
    /// As the kernel has it.
    pub value: u64,
    /// Of a counter, what it rose by since this agent began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total: u64,
}

/// A source of signals that a node does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingSource {
    /// What is missing, as people read it.
    pub source: String,
    /// Why.
    pub reason: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromAgent, MAX_LINE, Update, encode};

    #[test]
    fn all_signals_that_there_can_be_fit_one_line() {
        let series = |id| SignalSeries {
            id: u32::MAX - id,
            name: "ena.conntrack_allowance_available".into(),
            item: "eni0123456789ab".into(),
            value: u64::MAX,
            total: u64::MAX,
        };
        let told = (0..MOST_SIGNALS as u32).map(series).collect();
        let line = encode(&FromAgent::Update(Update::Signals(SignalsUpdate { told, ..SignalsUpdate::default() })));
        assert!(line.is_ok_and(|line| line.len() < MAX_LINE));
    }
}
