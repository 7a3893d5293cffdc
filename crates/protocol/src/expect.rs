//! Which ports should answer on a node, as both sides say it.
//!
//! Owns a port's identity beside its addresses with its text (`22/tcp`), rules for ports, and who expects what. What follows
//! from that for a socket is not decided here: the judge is `nodewatch-ports`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Port, PortProtocol};

/// A port number of a protocol, whatever address it is on. As text `22/tcp`; `tcp/22` and, for TCP, `22` are read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortKey {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: PortProtocol,
}

impl From<Port> for PortKey {
    fn from(port: Port) -> Self {
        Self { port: port.local.port(), protocol: port.protocol }
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a whole, so that a width counts for the whole.
        f.pad(&format!("{}/{}", self.port, self.protocol.word()))
    }
}

/// Text that is no [`PortKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid port {0:?}: use 22/tcp, 53/udp or 22")]
pub struct ParsePortKeyError(String);

impl FromStr for PortKey {
    type Err = ParsePortKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParsePortKeyError(text.to_owned());
        let (number, protocol) = PortProtocol::split(text).ok_or_else(bad)?;
        let port = number.parse().ok().filter(|&port: &u16| port > 0).ok_or_else(bad)?;
        Ok(Self { port, protocol: protocol.unwrap_or(PortProtocol::Tcp) })
    }
}

impl PortProtocol {
    /// Takes the protocol off a text like `22/tcp`, `tcp/8000-8100` or `22`; `None` where a slash stands beside no protocol,
    /// or between two.
    pub fn split(text: &str) -> Option<(&str, Option<Self>)> {
        let Some((left, right)) = text.split_once('/') else { return Some((text, None)) };
        match (Self::named(left), Self::named(right)) {
            (Some(protocol), None) => Some((right, Some(protocol))),
            (None, Some(protocol)) => Some((left, Some(protocol))),
            _ => None,
        }
    }
}

/// Some ports that are meant together, by number or by address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRule {
    /// Ports of one protocol, or of all.
    Ports {
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
        /// Of this protocol only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<PortProtocol>,
    },
    /// Every port that is bound to an address of a network.
    Network {
        /// An address of it.
        address: IpAddr,
        /// How many of its bits all addresses of the network share.
        length: u8,
    },
}

/// Who says that a port should answer. Where that is a service or a pod its name is with it, as `namespace/name`; agents are not
/// told names, for which nothing depends on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A service's node port; on some nodes only those with its pods answer.
    #[serde(alias = "NodePort")]
    NodePort(String),
    /// Where load balancers ask whether a node has a service's pods.
    #[serde(alias = "HealthCheck")]
    HealthCheck(String),
    /// A pod's port on the host.
    #[serde(alias = "HostPort")]
    HostPort(String),
    /// A port that a pod on the host's network declares.
    #[serde(alias = "HostNetwork")]
    HostNetwork(String),
    /// The kubelet's own.
    #[serde(alias = "Kubelet")]
    Kubelet,
    /// The user has said so.
    #[serde(alias = "Named")]
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
}

/// A port that should answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Expectation {
    /// On this node; `None` is on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The port.
    pub key: PortKey,
    /// On this address only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Who says so.
    pub origin: Origin,
    /// Something is behind it that can answer.
    #[serde(default = "ready", skip_serializing_if = "Clone::clone")]
    pub ready: bool,
}

fn ready() -> bool {
    true
}

/// What is known of the ports that should answer on a node. A socket that meets nothing of it is unexpected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedPorts {
    /// What the cluster's API says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<Expectation>,
    /// What the user says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<PortRule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_in_one_way_and_read_in_three() {
        for (text, written) in [("22", "22/tcp"), ("22/tcp", "22/tcp"), ("udp/53", "53/udp"), ("9/sctp", "9/sctp")] {
            assert_eq!(text.parse::<PortKey>().expect(text).to_string(), written);
        }
        for text in ["", "0", "65536", "22/", "/22", "22/icmp", "tcp/udp", "tcp", "22/tcp/udp", "-1", "+22/tcp/"] {
            let error = text.parse::<PortKey>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("22/tcp"), "{error}");
        }
        assert_eq!(format!("[{:<8}]", "22".parse::<PortKey>().expect("a port")), "[22/tcp  ]");
    }

    #[test]
    fn what_goes_without_saying_is_not_on_the_wire() {
        let one = Expectation {
            node: None,
            key: PortKey { port: 80, protocol: PortProtocol::Tcp },
            address: None,
            origin: Origin::Kubelet,
            ready: true,
        };
        let text = serde_json::to_string(&one).expect("JSON");
        assert_eq!(text, r#"{"key":{"port":80,"protocol":"tcp"},"origin":"kubelet"}"#);
        assert_eq!(serde_json::from_str::<Expectation>(&text).expect("read"), one);
    }

    #[test]
    fn recordings_of_before_are_read() {
        let text = r#"{"node":"n","key":{"port":80,"protocol":"tcp"},"address":null,"origin":{"NodePort":"a/web"},"ready":false}"#;
        let read: Expectation = serde_json::from_str(text).expect("read");
        assert_eq!(
            (read.node.as_deref(), &read.origin, read.ready),
            (Some("n"), &Origin::NodePort("a/web".into()), false)
        );
    }
}
