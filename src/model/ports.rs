//! Which ports should answer on a node, and what becomes of that beside the sockets that there are.
//!
//! Owns the four classes of a port. What ought to be there comes from the Kubernetes API or from the user; pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use nodewatch_protocol::{Port, PortProtocol, PortScope, UnixMillis};
use nodewatch_report::PortSet;
use serde::{Deserialize, Serialize};

use super::NodeName;

/// A port number of a protocol, whatever address it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortKey {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: PortProtocol,
}

impl PortKey {
    /// As in `22/tcp`.
    pub fn text(self) -> String {
        format!("{}/{}", self.port, self.protocol.word())
    }
}

impl From<Port> for PortKey {
    fn from(port: Port) -> Self {
        Self { port: port.local.port(), protocol: port.protocol }
    }
}

/// Who says that a port should answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// A service's node port; on some nodes only those with its pods answer.
    NodePort(String),
    /// Where load balancers ask whether a node has a service's pods.
    HealthCheck(String),
    /// A pod's port on the host.
    HostPort(String),
    /// A port that a pod on the host's network declares.
    HostNetwork(String),
    /// The kubelet's own.
    Kubelet,
    /// The user has said so.
    Named,
}

impl Origin {
    /// For people: `NodePort of web/front`.
    pub fn text(&self) -> String {
        match self {
            Self::NodePort(service) => format!("NodePort of {service}"),
            Self::HealthCheck(service) => format!("health check of {service}"),
            Self::HostPort(pod) => format!("hostPort of {pod}"),
            Self::HostNetwork(pod) => format!("declared by {pod}"),
            Self::Kubelet => "kubelet".to_owned(),
            Self::Named => "named with --expect".to_owned(),
        }
    }

    /// Packets may be taken over before any socket sees them.
    fn may_be_rules(&self) -> bool {
        matches!(self, Self::NodePort(_) | Self::HostPort(_))
    }
}

/// A port that should answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// On this node; `None` is on every node.
    pub node: Option<NodeName>,
    /// The port.
    pub key: PortKey,
    /// On this address only.
    pub address: Option<IpAddr>,
    /// Who says so.
    pub origin: Origin,
    /// Something is behind it that can answer.
    pub ready: bool,
}

impl Expectation {
    /// A socket that would answer it.
    fn is_met_by(&self, port: &Port) -> bool {
        if PortKey::from(*port) != self.key {
            return false;
        }
        let bound = port.local.ip();
        match (self.address, port.scope()) {
            (None, PortScope::All | PortScope::Node) => true,
            // On all addresses, or on all of an interface, which may be the one with this.
            (Some(address), PortScope::All | PortScope::Node) if bound.is_unspecified() => {
                bound.is_ipv4() == address.is_ipv4() || port.is_dual()
            }
            (Some(address), _) => bound.to_canonical() == address.to_canonical(),
            // A pod may keep to itself what it declares.
            (None, PortScope::Loopback) => matches!(self.origin, Origin::HostNetwork(_)),
        }
    }
}

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

/// Whether a port should be there, and whether it is; from what is well to what is worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortClass {
    /// Open, and should be.
    Expected,
    /// Should answer and has no socket: packet rules take it to where it is served.
    ByRules,
    /// Open, and nobody says that it should be.
    Unexpected,
    /// Should answer, and nothing is there that could.
    Dead,
}

impl PortClass {
    /// In a word, as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Unexpected => "unexpected",
            Self::ByRules => "by_rules",
            Self::Dead => "dead",
        }
    }

    /// Packets may be answered.
    pub fn is_open(self) -> bool {
        self != Self::Dead
    }
}

/// One port of a node as reports and screens have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPort {
    /// The socket; for a port without one, what it would be bound to.
    pub port: Port,
    /// There is a socket.
    pub socket: bool,
    /// `None` where nobody knows what to expect.
    pub class: Option<PortClass>,
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
        matches!(self.class, Some(PortClass::Unexpected | PortClass::Dead))
    }
}

impl ListedPort {
    /// It is open, nobody says that it should be, and other machines reach it.
    pub fn is_alarming(&self) -> bool {
        self.class == Some(PortClass::Unexpected) && self.port.scope() != PortScope::Loopback
    }
}

/// A node's expectations, looked up quickly.
pub struct NodeExpectations<'a> {
    by_key: BTreeMap<PortKey, Vec<&'a Expectation>>,
    named: Option<&'a PortSet>,
    pods: &'a HashMap<String, String>,
    known: bool,
}

impl<'a> NodeExpectations<'a> {
    /// What is expected of this node. `None` is a place that says nothing of its ports.
    pub fn of(node: &NodeName, expected: Option<&'a Expectations>, named: &'a PortSet) -> Self {
        static NO_PODS: std::sync::LazyLock<HashMap<String, String>> = std::sync::LazyLock::new(HashMap::new);
        let mut by_key: BTreeMap<PortKey, Vec<&Expectation>> = BTreeMap::new();
        for one in expected.iter().flat_map(|expected| &expected.list) {
            if one.node.as_ref().is_none_or(|name| name == node) {
                by_key.entry(one.key).or_default().push(one);
            }
        }
        let named = (!named.is_empty()).then_some(named);
        Self {
            known: expected.is_some() || named.is_some(),
            by_key,
            named,
            pods: expected.map_or(&NO_PODS, |expected| &expected.pods),
        }
    }

    /// The whole list: sockets with their classes, and what should answer without one.
    pub fn list(&self, sockets: impl Iterator<Item = (Port, UnixMillis, Option<Owner<'a>>)>) -> Vec<ListedPort> {
        let nothing: Arc<str> = Arc::from("");
        let mut met: BTreeSet<(PortKey, Option<IpAddr>)> = BTreeSet::new();
        let mut listed: Vec<ListedPort> = sockets
            .map(|(port, since, owner)| {
                let reasons = self.by_key.get(&PortKey::from(port)).into_iter().flatten();
                let met_here: Vec<&&Expectation> = reasons.filter(|one| one.is_met_by(&port)).collect();
                met.extend(met_here.iter().map(|one| (one.key, one.address)));
                let named = self.named.is_some_and(|named| named.contains(&port));
                let why = match met_here.first() {
                    Some(one) => Arc::from(one.origin.text()),
                    None if named => Arc::from(Origin::Named.text()),
                    None => Arc::clone(&nothing),
                };
                let class = match (self.known, !met_here.is_empty() || named) {
                    (false, _) => None,
                    (true, true) => Some(PortClass::Expected),
                    (true, false) => Some(PortClass::Unexpected),
                };
                let declared = met_here.iter().find_map(|one| match &one.origin {
                    Origin::HostNetwork(pod) => Some(pod.as_str()),
                    _ => None,
                });
                let owner = match (owner, declared) {
                    (Some(owner), _) => Arc::from(owner.text(self.pods)),
                    (None, Some(pod)) => Arc::from(pod),
                    (None, None) => Arc::clone(&nothing),
                };
                ListedPort { port, socket: true, class, why, owner, since }
            })
            .collect();
        let mut without: BTreeMap<(PortKey, Option<IpAddr>), Vec<&Expectation>> = BTreeMap::new();
        for one in self.by_key.values().flatten().filter(|one| !met.contains(&(one.key, one.address))) {
            without.entry((one.key, one.address)).or_default().push(one);
        }
        listed.extend(without.into_iter().map(|((key, address), reasons)| {
            let served = reasons.iter().find(|one| one.ready && one.origin.may_be_rules());
            let class = if served.is_some() { PortClass::ByRules } else { PortClass::Dead };
            let why = served.or(reasons.first()).map(|one| one.origin.text()).unwrap_or_default();
            let local = SocketAddr::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), key.port);
            ListedPort {
                port: Port::new(key.protocol, local),
                socket: false,
                class: Some(class),
                why: Arc::from(why),
                owner: Arc::clone(&nothing),
                since: 0,
            }
        }));
        listed.sort_by_key(|one| (one.port, one.socket));
        listed
    }

    /// The ports that should be there, in the language of `--expect`.
    pub fn set(&self) -> Option<PortSet> {
        self.known.then(|| {
            let mut set = self.named.cloned().unwrap_or_default();
            for key in self.by_key.keys() {
                set.add(key.protocol, key.port);
            }
            set
        })
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
    use super::*;

    fn key(port: u16, protocol: PortProtocol) -> PortKey {
        PortKey { port, protocol }
    }

    fn expect(node: Option<&str>, port: u16, origin: Origin, ready: bool) -> Expectation {
        Expectation { node: node.map(NodeName::from), key: key(port, PortProtocol::Tcp), address: None, origin, ready }
    }

    fn list(expected: &Expectations, named: &str, sockets: &[&str]) -> Vec<(String, Option<PortClass>)> {
        let named = named.parse().expect("a list");
        let ports = sockets.iter().map(|text| (text.parse().expect("a port"), 1, None));
        let listed = NodeExpectations::of(&"n".into(), Some(expected), &named).list(ports);
        listed.into_iter().map(|one| (one.port.to_string(), one.class)).collect()
    }

    fn classes(expected: &Expectations, sockets: &[&str]) -> Vec<PortClass> {
        list(expected, "", sockets).into_iter().filter_map(|(_, class)| class).collect()
    }

    #[test]
    fn each_of_the_four_classes() {
        let expected = Expectations {
            list: vec![
                expect(None, 30080, Origin::NodePort("a/web".into()), true),
                expect(None, 30081, Origin::NodePort("a/gone".into()), false),
                expect(Some("n"), 9100, Origin::HostNetwork("m/exporter".into()), true),
                expect(Some("n"), 9101, Origin::HostNetwork("m/hung".into()), true),
                expect(Some("other"), 9102, Origin::HostNetwork("m/elsewhere".into()), true),
                expect(Some("n"), 8080, Origin::HostPort("a/pod".into()), true),
                expect(None, 10250, Origin::Kubelet, true),
            ],
            ..Expectations::default()
        };
        let found =
            list(&expected, "22", &["tcp 0.0.0.0:22", "tcp 0.0.0.0:9100", "tcp6 [::]:10250", "tcp 0.0.0.0:666"]);
        let class = |text: &str| found.iter().find(|(port, _)| port.ends_with(text)).and_then(|(_, class)| *class);
        assert_eq!(class(":22"), Some(PortClass::Expected));
        assert_eq!(class(":9100"), Some(PortClass::Expected));
        assert_eq!(class("]:10250"), Some(PortClass::Expected));
        assert_eq!(class(":666"), Some(PortClass::Unexpected));
        assert_eq!(class(":30080"), Some(PortClass::ByRules));
        assert_eq!(class(":8080"), Some(PortClass::ByRules));
        assert_eq!(class(":30081"), Some(PortClass::Dead), "a service without pods");
        assert_eq!(class(":9101"), Some(PortClass::Dead), "declared and not listening");
        assert_eq!(class(":9102"), None, "another node's");
    }

    #[test]
    fn a_socket_on_loopback_answers_nobody_outside() {
        let node_port = Expectations {
            list: vec![expect(None, 30080, Origin::NodePort("a/web".into()), false)],
            ..Expectations::default()
        };
        assert_eq!(classes(&node_port, &["tcp 127.0.0.1:30080"]), [PortClass::Dead, PortClass::Unexpected]);
        let declared = Expectations {
            list: vec![expect(None, 30080, Origin::HostNetwork("a/web".into()), true)],
            ..Expectations::default()
        };
        assert_eq!(classes(&declared, &["tcp 127.0.0.1:30080"]), [PortClass::Expected]);
    }

    #[test]
    fn an_address_is_met_on_it_and_on_all() {
        let mut one = expect(None, 80, Origin::HostPort("a/pod".into()), true);
        one.address = Some("10.0.0.9".parse().expect("an address"));
        let expected = Expectations { list: vec![one], ..Expectations::default() };
        assert_eq!(classes(&expected, &["tcp 10.0.0.9:80"]), [PortClass::Expected]);
        assert_eq!(classes(&expected, &["tcp6 *:80"]), [PortClass::Expected]);
        assert_eq!(classes(&expected, &["tcp 0.0.0.0%eth0:80"]), [PortClass::Expected]);
        assert_eq!(classes(&expected, &["tcp6 [::]:80"]), [PortClass::ByRules, PortClass::Unexpected], "IPv6 alone");
        assert_eq!(classes(&expected, &["tcp 0.0.0.0%lo:80"]), [PortClass::Unexpected, PortClass::ByRules]);
        assert_eq!(classes(&expected, &["tcp 10.0.0.8:80"]), [PortClass::Unexpected, PortClass::ByRules]);
    }

    #[test]
    fn where_nobody_says_what_to_expect_nothing_is_unexpected() {
        let none = PortSet::default();
        let sockets = || [("tcp 0.0.0.0:22".parse().expect("a port"), 1, None)].into_iter();
        assert_eq!(NodeExpectations::of(&"n".into(), None, &none).list(sockets())[0].class, None);
        let named = "80".parse().expect("a list");
        let listed = NodeExpectations::of(&"n".into(), None, &named).list(sockets());
        assert_eq!(listed[0].class, Some(PortClass::Unexpected));
    }
}
