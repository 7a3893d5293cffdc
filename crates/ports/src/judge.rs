//! The judge: whether a socket should be there, and what should be there and is not.
//!
//! Owns the rule by which a socket meets an expectation. Both programs have their classes from here, so that a port is called
//! the same whoever reports it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use nodewatch_protocol::{Expectation, ExpectedPorts, Origin, Port, PortKey, PortRule, PortScope};

use crate::{PortClass, contains};

/// What is expected of one node, looked up quickly.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    by_key: BTreeMap<PortKey, Vec<&'a Expectation>>,
    named: &'a [PortRule],
    known: bool,
}

/// What is made of one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// Its class.
    pub class: PortClass,
    /// What of the API's expectations it meets.
    pub met: Vec<&'a Expectation>,
    /// The user has named it.
    pub named: bool,
}

/// A port that should answer and has no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing<'a> {
    /// By rules or dead.
    pub class: PortClass,
    /// The expectation that tells most about it.
    pub expectation: &'a Expectation,
}

impl Missing<'_> {
    /// What a socket for it would be bound to.
    pub fn port(&self) -> Port {
        let Expectation { key, address, .. } = self.expectation;
        Port::new(key.protocol, SocketAddr::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), key.port))
    }
}

/// The class of a socket of a node. `None` is a node of which nobody says what to expect.
pub fn judge(node: &str, expected: Option<&ExpectedPorts>, port: &Port) -> PortClass {
    Expected::told(node, expected).judge(port).class
}

impl<'a> Expected<'a> {
    /// Of that node: what the API says, of all nodes, and what the user says. Nothing is known where neither says anything.
    pub fn of(node: &str, list: Option<&'a [Expectation]>, named: &'a [PortRule]) -> Self {
        let mut by_key: BTreeMap<PortKey, Vec<&Expectation>> = BTreeMap::new();
        for one in list.unwrap_or_default() {
            if one.node.as_ref().is_none_or(|name| name == node) {
                by_key.entry(one.key).or_default().push(one);
            }
        }
        Self { by_key, named, known: list.is_some() || !named.is_empty() }
    }

    /// Of that node, as it is told to an agent.
    pub fn told(node: &str, expected: Option<&'a ExpectedPorts>) -> Self {
        let list = expected.map(|expected| &*expected.list);
        Self::of(node, list, expected.map(|expected| &*expected.named).unwrap_or_default())
    }

    /// To be told to an agent: everything that a socket's class depends on and nothing else, so that it changes only when a class
    /// may. `None` where nobody says what to expect.
    pub fn to_tell(&self) -> Option<ExpectedPorts> {
        self.known.then(|| {
            let list: BTreeSet<Expectation> = self.by_key.values().flatten().map(|one| essence(one)).collect();
            ExpectedPorts { list: list.into_iter().collect(), named: self.named.to_vec() }
        })
    }

    /// What is made of a socket.
    pub fn judge(&self, port: &Port) -> Judgement<'a> {
        let candidates = self.by_key.get(&PortKey::from(*port)).into_iter().flatten();
        let met: Vec<&Expectation> = candidates.copied().filter(|one| is_met(one, port)).collect();
        let named = contains(self.named, port);
        let class = match (self.known, !met.is_empty() || named) {
            (false, _) => PortClass::Unknown,
            (true, true) => PortClass::Expected,
            (true, false) => PortClass::Unexpected,
        };
        Judgement { class, met, named }
    }

    /// What of the API's expectations is not among those that sockets have met; each place once.
    pub fn missing(&self, met: &[&Expectation]) -> Vec<Missing<'a>> {
        let place = |one: &Expectation| (one.key, one.address);
        let met: BTreeSet<(PortKey, Option<IpAddr>)> = met.iter().map(|one| place(one)).collect();
        let mut without: BTreeMap<(PortKey, Option<IpAddr>), Vec<&'a Expectation>> = BTreeMap::new();
        for &one in self.by_key.values().flatten().filter(|one| !met.contains(&place(one))) {
            without.entry(place(one)).or_default().push(one);
        }
        let missing = without.into_values().filter_map(|reasons| {
            let served = reasons.iter().find(|one| one.ready && may_be_rules(&one.origin));
            let class = if served.is_some() { PortClass::ByRules } else { PortClass::Dead };
            Some(Missing { class, expectation: served.or(reasons.first())? })
        });
        missing.collect()
    }
}

/// Whether a socket would answer it.
fn is_met(expectation: &Expectation, port: &Port) -> bool {
    if PortKey::from(*port) != expectation.key {
        return false;
    }
    // A v4 address in v6 notation means what it does in v4.
    let bound = port.local.ip().to_canonical();
    match (expectation.address, port.scope()) {
        (None, PortScope::All | PortScope::Node) => true,
        // On all addresses, or on all of an interface, which may be the one with this.
        (Some(address), PortScope::All | PortScope::Node) if bound.is_unspecified() => {
            bound.is_ipv4() == address.to_canonical().is_ipv4() || port.is_dual()
        }
        (Some(address), _) => bound == address.to_canonical(),
        // A pod may keep to itself what it declares.
        (None, PortScope::Loopback) => matches!(expectation.origin, Origin::HostNetwork(_)),
    }
}

/// Packets may be taken over before any socket sees them.
fn may_be_rules(origin: &Origin) -> bool {
    matches!(origin, Origin::NodePort(_) | Origin::HostPort(_))
}

/// What of an expectation the class of a socket depends on.
fn essence(expectation: &Expectation) -> Expectation {
    let origin = match &expectation.origin {
        Origin::NodePort(_) => Origin::NodePort(String::new()),
        Origin::HealthCheck(_) => Origin::HealthCheck(String::new()),
        Origin::HostPort(_) => Origin::HostPort(String::new()),
        Origin::HostNetwork(_) => Origin::HostNetwork(String::new()),
        Origin::Kubelet => Origin::Kubelet,
        Origin::Named => Origin::Named,
    };
    Expectation { node: None, origin, ready: true, ..expectation.clone() }
}

#[cfg(test)]
mod tests {
    use nodewatch_protocol::{MAX_LINE, PortProtocol};

    use super::*;
    use crate::PortSet;

    fn expect(node: Option<&str>, port: u16, origin: Origin, ready: bool) -> Expectation {
        let key = PortKey { port, protocol: PortProtocol::Tcp };
        Expectation { node: node.map(str::to_owned), key, address: None, origin, ready }
    }

    fn list(expected: &[Expectation], named: &str, sockets: &[&str]) -> Vec<(String, PortClass)> {
        let named: PortSet = named.parse().expect("a list");
        let expected = Expected::of("n", Some(expected), named.rules());
        let mut met = Vec::new();
        let mut found = Vec::new();
        for socket in sockets {
            let port: Port = socket.parse().expect("a port");
            let judgement = expected.judge(&port);
            met.extend(judgement.met);
            found.push((port, judgement.class));
        }
        found.extend(expected.missing(&met).iter().map(|missing| (missing.port(), missing.class)));
        found.sort();
        found.into_iter().map(|(port, class)| (port.to_string(), class)).collect()
    }

    fn classes(expected: &[Expectation], sockets: &[&str]) -> Vec<PortClass> {
        list(expected, "", sockets).into_iter().map(|(_, class)| class).collect()
    }

    #[test]
    fn each_of_the_four_classes() {
        let expected = [
            expect(None, 30080, Origin::NodePort("a/web".into()), true),
            expect(None, 30081, Origin::NodePort("a/gone".into()), false),
            expect(Some("n"), 9100, Origin::HostNetwork("m/exporter".into()), true),
            expect(Some("n"), 9101, Origin::HostNetwork("m/hung".into()), true),
            expect(Some("other"), 9102, Origin::HostNetwork("m/elsewhere".into()), true),
            expect(Some("n"), 8080, Origin::HostPort("a/pod".into()), true),
            expect(None, 10250, Origin::Kubelet, true),
        ];
        let found =
            list(&expected, "22", &["tcp 0.0.0.0:22", "tcp 0.0.0.0:9100", "tcp6 [::]:10250", "tcp 0.0.0.0:666"]);
        let class = |text: &str| found.iter().find(|(port, _)| port.ends_with(text)).map(|(_, class)| *class);
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
        let node_port = [expect(None, 30080, Origin::NodePort("a/web".into()), false)];
        assert_eq!(classes(&node_port, &["tcp 127.0.0.1:30080"]), [PortClass::Dead, PortClass::Unexpected]);
        let declared = [expect(None, 30080, Origin::HostNetwork("a/web".into()), true)];
        assert_eq!(classes(&declared, &["tcp 127.0.0.1:30080"]), [PortClass::Expected]);
    }

    #[test]
    fn an_address_is_met_on_it_and_on_all() {
        let mut one = expect(None, 80, Origin::HostPort("a/pod".into()), true);
        one.address = Some("10.0.0.9".parse().expect("an address"));
        let expected = [one];
        for met in [
            "tcp 10.0.0.9:80",
            "tcp6 [::ffff:10.0.0.9]:80",
            "tcp6 *:80",
            "tcp 0.0.0.0%eth0:80",
            "tcp6 [::ffff:0.0.0.0]:80",
        ] {
            assert_eq!(classes(&expected, &[met]), [PortClass::Expected], "{met}");
        }
        assert_eq!(classes(&expected, &["tcp6 [::]:80"]), [PortClass::ByRules, PortClass::Unexpected], "IPv6 alone");
        assert_eq!(classes(&expected, &["tcp 0.0.0.0%lo:80"]), [PortClass::Unexpected, PortClass::ByRules]);
        assert_eq!(classes(&expected, &["tcp 10.0.0.8:80"]), [PortClass::Unexpected, PortClass::ByRules]);
    }

    #[test]
    fn where_nobody_says_what_to_expect_nothing_is_unexpected() {
        let port = "tcp 0.0.0.0:22".parse().expect("a port");
        assert_eq!(judge("n", None, &port), PortClass::Unknown);
        let named: PortSet = "80".parse().expect("a list");
        let expected = Expected::of("n", None, named.rules());
        assert_eq!(expected.judge(&port).class, PortClass::Unexpected);
        let told = expected.to_tell();
        assert_eq!(judge("n", told.as_ref(), &port), PortClass::Unexpected);
        assert_eq!(Expected::of("n", None, &[]).to_tell(), None);
        // Known, and nothing at all.
        assert_eq!(judge("n", Some(&ExpectedPorts::default()), &port), PortClass::Unexpected);
    }

    #[test]
    fn what_an_agent_is_told_has_no_names_and_fits_a_line_for_every_node_port_there_can_be() {
        let name = || "x".repeat(300);
        let protocols = [PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp];
        let ports = (30_000..=32_767).flat_map(|port| protocols.map(|protocol| PortKey { port, protocol }));
        let list: Vec<Expectation> =
            ports.map(|key| Expectation { key, ..expect(None, 1, Origin::NodePort(name()), false) }).collect();
        let told = Expected::of("n", Some(&list), &[]).to_tell().expect("known");
        assert_eq!(told.list.len(), list.len());
        let text = serde_json::to_string(&told).expect("JSON");
        assert!(text.len() < MAX_LINE - 4096 && !text.contains("xx"), "{}", text.len());
        // What makes no difference to a class is no news.
        let changed: Vec<Expectation> = list.iter().cloned().map(|one| Expectation { ready: true, ..one }).collect();
        assert_eq!(Expected::of("n", Some(&changed), &[]).to_tell(), Some(told));
    }
}
