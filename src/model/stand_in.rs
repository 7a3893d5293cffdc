//! What nodes that join get while nobody is attached.

use nodewatch_protocol::{CaptureSpec, OwnSink, ReportPlan, UnixMillis};
use serde::Serialize;

use super::NodeName;

/// What stands for a node's name in places of delivery, which the agent replaces; no node has capitals in its name.
pub const EACH_NODE: &str = "EACH-NODE";

/// What an agent begins by itself on a node that has joined. The agent's `stand_in` reads it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StandIn {
    /// The capture that runs on the other nodes.
    pub capture: Option<CaptureSpec>,
    /// When it ends there.
    pub capture_ends: Option<UnixMillis>,
    /// Where captures are delivered with the agents' own credentials, with [`EACH_NODE`] in the prefix.
    pub sink: Option<OwnSink>,
    /// What agents report by themselves, without the names that come from the node.
    pub reports: Option<ReportPlan>,
    /// A log group a node.
    pub group_per_node: bool,
    /// Nodes that were there, and are served otherwise or not at all.
    #[serde(skip)]
    pub besides: Vec<NodeName>,
}
