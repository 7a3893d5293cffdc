//! A node's ports with what becomes of them beside what should answer there.
//!
//! Owns the list that screens and subcommands have, with reasons and owners in words. Classes are `nodewatch-ports`'s to give;
//! pure.

use std::{collections::HashMap, sync::Arc};

pub use nodewatch_ports::{Expectation, Origin, PortClass, PortKey};
use nodewatch_ports::{Expected, ExpectedPorts, PortSet};
use nodewatch_protocol::{Port, UnixMillis};
use serde::{Deserialize, Serialize};

use super::NodeName;

/// What is known of how a cluster should look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectations {
    /// What the API says.
    pub list: Vec<Expectation>,
    /// Names of pods by UID.
    pub pods: HashMap<String, String>,
    /// What could not be found out; empty when nothing.
    pub gaps: Vec<String>,
}

/// One port of a node as reports and screens have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPort {
    /// The socket; for a port without one, what it would be bound to.
    pub port: Port,
    /// There is a socket.
    pub socket: bool,
    /// Whether it should be there.
    pub class: PortClass,
    /// Why it should be there.
    pub why: Arc<str>,
    /// Who holds it, as far as that is known.
    pub owner: Arc<str>,
    /// When the socket was first seen.
    pub since: UnixMillis,
}

impl ListedPort {
    /// Something is open that should not be, or should be and is not.
    pub fn is_fault(&self) -> bool {
        self.class.is_fault()
    }
}

/// What is expected of one node, and the names of its pods.
pub struct NodeExpectations<'a> {
    expected: Expected<'a>,
    pods: &'a HashMap<String, String>,
}

impl<'a> NodeExpectations<'a> {
    /// What is expected of this node. `None` is a place that says nothing of its ports.
    pub fn of(node: &NodeName, expected: Option<&'a Expectations>, named: &'a PortSet) -> Self {
        static NO_PODS: std::sync::LazyLock<HashMap<String, String>> = std::sync::LazyLock::new(HashMap::new);
        Self {
            expected: Expected::of(&node.0, expected.map(|expected| &*expected.list), named.rules()),
            pods: expected.map_or(&NO_PODS, |expected| &expected.pods),
        }
    }

    /// The whole list: sockets with their classes, and what should answer without one.
    pub fn list(&self, sockets: impl Iterator<Item = (Port, UnixMillis, Option<Owner<'a>>)>) -> Vec<ListedPort> {
        let nothing: Arc<str> = Arc::from("");
        let mut met: Vec<&Expectation> = Vec::new();
        let mut listed: Vec<ListedPort> = sockets
            .map(|(port, since, owner)| {
                let judgement = self.expected.judge(&port);
                let why = match judgement.met.first() {
                    Some(one) => Arc::from(one.origin.text()),
                    None if judgement.named => Arc::from(Origin::Named.text()),
                    None => Arc::clone(&nothing),
                };
                let declared = judgement.met.iter().find_map(|one| match &one.origin {
                    Origin::HostNetwork(pod) => Some(pod.as_str()),
                    _ => None,
                });
                let owner = match (owner, declared) {
                    (Some(owner), _) => Arc::from(owner.text(self.pods)),
                    (None, Some(pod)) => Arc::from(pod),
                    (None, None) => Arc::clone(&nothing),
                };
                met.extend(judgement.met);
                ListedPort { port, socket: true, class: judgement.class, why, owner, since }
            })
            .collect();
        listed.extend(self.expected.missing(&met).into_iter().map(|missing| ListedPort {
            port: missing.port(),
            socket: false,
            class: missing.class,
            why: Arc::from(missing.expectation.origin.text()),
            owner: Arc::clone(&nothing),
            since: 0,
        }));
        listed.sort_by_key(|one| (one.port, one.socket));
        listed
    }

    /// The same for whoever reports; `None` where nobody says what to expect.
    pub fn to_tell(&self) -> Option<ExpectedPorts> {
        self.expected.to_tell()
    }
}

/// The process that holds a socket.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub process: &'a str,
    /// The UID of its pod.
    pub pod_uid: Option<&'a str>,
}

impl Owner<'_> {
    fn text(&self, pods: &HashMap<String, String>) -> String {
        let process = format!("{}[{}]", self.process, self.pid);
        match self.pod_uid.map(|uid| pods.get(uid).map_or(uid, String::as_str)) {
            Some(pod) => format!("{process} {pod}"),
            None => process,
        }
    }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::PortProtocol;

    use super::*;

    #[test]
    fn a_port_has_its_reason_and_its_owner() {
        let expect = |node: Option<&str>, port, origin| Expectation {
            node: node.map(str::to_owned),
            key: PortKey { port, protocol: PortProtocol::Tcp },
            address: None,
            origin,
            ready: true,
        };
        let expected = Expectations {
            list: vec![
                expect(Some("n"), 9100, Origin::HostNetwork("m/exporter".into())),
                expect(None, 30080, Origin::NodePort("a/web".into())),
                expect(Some("other"), 1, Origin::Kubelet),
            ],
            pods: [("uid".to_owned(), "a/pod".to_owned())].into(),
            gaps: Vec::new(),
        };
        let named = "22".parse().expect("a list");
        let owner = Owner { pid: 7, process: "sshd", pod_uid: Some("uid") };
        let sockets = [("tcp 0.0.0.0:22", Some(owner)), ("tcp 0.0.0.0:9100", None), ("tcp 0.0.0.0:666", None)];
        let sockets = sockets.map(|(text, owner)| (text.parse().expect("a port"), 1, owner));
        let listed = NodeExpectations::of(&"n".into(), Some(&expected), &named).list(sockets.into_iter());
        let told: Vec<_> = listed.iter().map(|one| (one.class.word(), &*one.why, &*one.owner, one.socket)).collect();
        assert_eq!(
            told,
            [
                ("expected", "named with --expect", "sshd[7] a/pod", true),
                ("unexpected", "", "", true),
                ("expected", "declared by m/exporter", "m/exporter", true),
                ("by_rules", "NodePort of a/web", "", false),
            ]
        );
    }
}
