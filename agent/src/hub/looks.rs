//! Looks at the node: its interfaces and its open ports.
//!
//! Owns when a look begins and what is told of what it saw. The look itself asks the kernel, on a thread beside the
//! hub.

use nodewatch_protocol::Update;

use super::{Found, Hub, facts};
use crate::ports::Looked;

impl Hub {
    /// Beside the hub, unless that is under way.
    pub(super) fn look_at_interfaces(&mut self) {
        if self.facts_due.take().is_none() {
            return;
        }
        let (node, started, found) = (self.node.clone(), self.facts.started, self.found.0.clone());
        tokio::task::spawn_blocking(move || {
            // The hub may have ended.
            let _ = found.send(Found::Facts(Box::new(facts::read(&node, started))));
        });
    }

    /// Beside the hub, unless a look is under way.
    pub(super) fn look_at_ports(&mut self) {
        let Some(look) = self.ports.look() else {
            if self.ports.is_overdue() {
                self.trouble("the kernel does not list the node's sockets; the ports shown are out of date".to_owned());
            }
            return;
        };
        let found = self.found.0.clone();
        tokio::task::spawn_blocking(move || {
            // The hub may have ended.
            let _ = found.send(Found::Ports(Box::new(look.run())));
        });
    }

    pub(super) fn looked_at_ports(&mut self, looked: Looked) {
        for update in self.ports.looked(looked) {
            if let (Update::PortGaps(gaps), Some(reports)) = (&update, &mut self.reporting.reports)
                && !gaps.is_empty()
            {
                reports.failed();
            }
            self.subscribers.publish(&update);
        }
        if let Some(reports) = &mut self.reporting.reports {
            reports.due(&self.ports);
        }
    }
}
