//! What an agent tells of itself and its node.
//!
//! Owns the look at the node's interfaces, which asks the kernel and reads files: never on the hub's own task.

use nodewatch_protocol::{AgentFacts, CaptureAbility, Interface, UnixMillis};

use super::NodeFacts;
use crate::{
    capture::{self, interfaces},
    unix_millis,
};

pub(super) const NET_RAW: &str = "CAP_NET_RAW";
pub(super) const GRANT_NET_RAW: &str = "grant it: in Kubernetes the agent's Job adds NET_RAW and the image's binary needs the file \
     capability (setcap cap_net_raw=ep) as the container's direct entrypoint; on this machine run \
     `sudo setcap cap_net_raw=ep nodewatch-agent`, or run as root";

/// As things are now.
pub(super) fn read(node: &NodeFacts, started: UnixMillis) -> AgentFacts {
    let all = interfaces::list().unwrap_or_default();
    AgentFacts {
        hostname: node.hostname.clone(),
        started,
        now: unix_millis(),
        default_interfaces: default_interfaces(node, &all),
        interfaces: all,
        capture: match capture::permitted() {
            Ok(()) => CaptureAbility::Ready,
            Err(_) => CaptureAbility::Missing { right: NET_RAW.to_owned(), next_step: GRANT_NET_RAW.to_owned() },
        },
        // The hub's to say.
        ring: String::new(),
    }
}

/// The interfaces that a capture takes when none is named.
pub(super) fn default_interfaces(node: &NodeFacts, all: &[Interface]) -> Vec<String> {
    interfaces::defaults(all, &node.addresses, interfaces::Traits::read)
}
