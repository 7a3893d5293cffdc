//! A node's network state at one moment, as an agent hands it out beside captures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// Fetched by this name, an agent's answer is a [`Bundle`] of that moment instead of a file of its ring.
pub const BUNDLE: &str = "bundle.json";

/// What can be read of a node's network without a capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// When it was read, by the node's clock.
    pub at: UnixMillis,
    /// What was read, in order.
    pub sections: Vec<BundleSection>,
}

/// One table or set of counters of a [`Bundle`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSection {
    /// What it is, such as `IPv4 routes`.
    pub name: String,
    /// Where it is from, such as `/proc/net/snmp`.
    pub source: String,
    /// Entries of a table, one a line.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Counters and limits by name.
    #[serde(default)]
    pub numbers: BTreeMap<String, u64>,
    /// Entries for which there was no room.
    #[serde(default)]
    pub left_out: u64,
    /// Why it is not there, or not all of it.
    #[serde(default)]
    pub error: Option<String>,
}

impl BundleSection {
    /// A section has room for so many bytes of lines and names.
    pub const MOST: usize = 256 * 1024;
    /// A whole bundle is written in fewer bytes.
    pub const MOST_WRITTEN: u64 = 16 * 1024 * 1024;
}
