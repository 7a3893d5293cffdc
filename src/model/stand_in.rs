//! What nodes that join get while nobody is attached.

use nodewatch_protocol::Orders;

use super::NodeName;

/// Agents for nodes that join later.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StandIn {
    /// What each begins by itself.
    pub orders: Orders,
    /// Nodes that were there, and are served otherwise or not at all.
    pub besides: Vec<NodeName>,
}
