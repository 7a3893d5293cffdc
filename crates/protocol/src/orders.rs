//! What an agent begins by itself, where nobody is there to ask it: on a node that joined while its session was left alone.
//!
//! Owns the form in which a session leaves that behind: JSON in an annotation of the agents' pods, which they read from their
//! environment.

use serde::{Deserialize, Serialize};

use crate::{CaptureSpec, OwnSink, ReportPlan, UnixMillis};

/// What stands for the node's name in places of delivery, which the agent replaces; no node has capitals in its name.
pub const EACH_NODE: &str = "EACH-NODE";

/// What is to be begun. Whatever is missing is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// The capture that runs on the other nodes.
    pub capture: Option<CaptureSpec>,
    /// When it ends there, for a capture with a time limit.
    pub capture_ends: Option<UnixMillis>,
    /// Where captures are delivered with the agents' own credentials, with [`EACH_NODE`] in the prefix.
    pub sink: Option<OwnSink>,
    /// What agents report by themselves, without the names that come from the node.
    pub reports: Option<ReportPlan>,
    /// A log group a node.
    pub group_per_node: bool,
}
