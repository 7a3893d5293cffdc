//! Looks at the node: its interfaces, its open ports and its kernel's signals.
//!
//! Owns when a look begins and what is told of what it saw. The look itself asks the kernel, on a thread beside the
//! hub.

use nodewatch_protocol::{SignalsUpdate, Update};

use super::{Found, Hub, facts};
use crate::{error::chain, ports::Looked, signals};

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
            reports.due(&self.ports, || self.seen.standing());
        }
    }

    /// Beside the hub, for as long as it is there.
    pub(super) fn begin_to_read_signals(&mut self) {
        let found = self.found.0.clone();
        if let Err(error) = signals::start(move |update| found.send(Found::Signals(Box::new(update))).is_ok()) {
            self.trouble(format!("signals are not read: {}", chain(&error)));
        }
    }

    pub(super) fn signals_read(&mut self, update: SignalsUpdate) {
        if let Some(judge) = &mut self.seen.own.judge {
            judge.signals_gone(&update, &self.seen.signals);
        }
        self.seen.signals.take(&update);
        if let Some(judge) = &mut self.seen.own.judge {
            judge.signals(&update, &self.seen.signals);
        }
        if update.says_something() {
            self.subscribers.publish(&Update::Signals(update));
        }
    }
}
