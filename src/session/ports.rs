//! What is known of ports beside what nodes say: which should be open, which are left out.
//!
//! Owns when the API is asked for that, and how a node's ports are listed with it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nodewatch_ports::PortSet;
use nodewatch_protocol::{Port, PortProtocol, Probe, UnixMillis};

use super::{
    Effect, Session,
    node::{Agent, NodeState},
    probes::ProbeResult,
};
use crate::model::{Expectation, Expectations, ListedPort, NodeExpectations, NodeName, Notice, Origin, Owner, PortKey};

/// What should be there is asked again this often, in milliseconds, of so few nodes; of more it takes every pod's list.
const EXPECT_EVERY: u64 = 30_000;
const FEW_NODES: usize = 20;
const EXPECT_SELDOM: u64 = 300_000;

/// What should be open, is left out and was probed.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// Left out while the session runs, beside those that it began with.
    pub left_out: PortSet,
    /// To be there, by the API; `None` until it has said.
    pub expected: Option<Expectations>,
    /// How often that has changed.
    pub version: u64,
    /// When that was asked last.
    asked_at: UnixMillis,
    /// And about which nodes.
    asked_for: BTreeSet<NodeName>,
    /// The nodes that it was said of.
    expected_for: BTreeSet<NodeName>,
    /// Probes under way by who tries them, with the node that each is about, if it is about one.
    pub(super) probing: HashMap<(NodeName, Probe), Option<NodeName>>,
    /// What came of probes of nodes.
    pub probes: BTreeMap<(NodeName, PortKey), ProbeResult>,
    /// What came last of each probe, by who tried it.
    pub tried: HashMap<(NodeName, Probe), ProbeResult>,
}

impl Ports {
    /// Whether it is known what should be there on a node.
    pub fn is_expected_known(&self, node: &NodeName) -> bool {
        self.expected_for.contains(node)
    }

    /// Whether that node still tries.
    pub fn is_trying(&self, from: &NodeName, probe: Probe) -> bool {
        self.probing.contains_key(&(from.clone(), probe))
    }

    /// Whether a probe of a node is under way.
    pub fn is_probing(&self, node: &NodeName, key: PortKey) -> bool {
        let is = |((_, probe), of): (&(NodeName, Probe), &Option<NodeName>)| {
            of.as_ref() == Some(node) && PortKey { port: probe.to.port(), protocol: probe.protocol } == key
        };
        self.probing.iter().any(is)
    }
}

impl Session {
    /// Whether a port is left out of lists and reports.
    pub fn leaves_out(&self, port: &Port) -> bool {
        self.terms.exclude.contains(port) || self.ports.left_out.contains(port)
    }

    /// Leaves a port out of lists and reports from here on.
    pub(crate) fn leave_out(&mut self, key: PortKey) {
        self.ports.left_out.add(key.protocol, key.port);
    }

    /// Leaves out no more than at the beginning.
    pub(crate) fn include_again(&mut self) {
        self.ports.left_out = PortSet::default();
    }

    /// A node's ports with what should be there, left-out ones included.
    pub fn list_ports(&self, state: &NodeState) -> Vec<ListedPort> {
        self.expectations_of(&state.node.name).list(state.open_ports().map(|row| {
            let owner = state.ports.owners.as_ref().and_then(|owners| owners.get(&row.port)).map(|owner| Owner {
                pid: owner.pid,
                process: &owner.process,
                pod_uid: owner.pod_uid.as_deref(),
            });
            (row.port, row.since, owner)
        }))
    }

    pub(super) fn expectations_of(&self, node: &NodeName) -> NodeExpectations<'_> {
        NodeExpectations::of(node, self.ports.expected.as_ref(), &self.terms.expect)
    }

    /// What should be there is asked while agents are live, gently.
    pub(super) fn expectations_due(&mut self) -> Vec<Effect> {
        let live: Vec<NodeName> = self
            .nodes
            .values()
            .filter(|state| state.agent == Agent::Live)
            .map(|state| state.node.name.clone())
            .collect();
        // Once for all that are coming up, and then not more often than a large cluster's API bears.
        let coming = self.nodes.values().any(|state| matches!(state.agent, Agent::Deploying(_) | Agent::Connecting));
        let new = !coming && live.iter().any(|name| !self.ports.asked_for.contains(name));
        let every = if live.len() > FEW_NODES { EXPECT_SELDOM } else { EXPECT_EVERY };
        let last = self.ports.asked_at.max(self.life.began.unwrap_or(0));
        let due = new || self.now.saturating_sub(last) >= every;
        if live.is_empty() || !due || self.is_leaving() {
            return Vec::new();
        }
        self.ports.asked_at = self.now;
        self.ports.asked_for = live.iter().cloned().collect();
        vec![Effect::Expect(live)]
    }

    /// The API has said what should be there.
    pub(super) fn expected(&mut self, nodes: Vec<NodeName>, mut expected: Expectations) {
        self.ports.expected_for = nodes.into_iter().collect();
        for state in self.nodes.values() {
            let Some(port) = state.node.kubelet_port else { continue };
            expected.list.push(Expectation {
                node: Some(state.node.name.0.clone()),
                key: PortKey { port, protocol: PortProtocol::Tcp },
                address: None,
                origin: Origin::Kubelet,
                ready: true,
            });
        }
        let before = self.ports.expected.as_ref().map(|expected| expected.gaps.clone()).unwrap_or_default();
        for gap in expected.gaps.iter().filter(|gap| !before.contains(gap)) {
            let next_step = "grant list on services, endpoints and pods; see manifests/operator-rbac.yaml";
            self.notify(Notice::warning("some expected ports are unknown", gap.clone(), next_step));
        }
        if self.ports.expected.as_ref() != Some(&expected) {
            self.ports.version += 1;
        }
        self.ports.expected = Some(expected);
    }
}
