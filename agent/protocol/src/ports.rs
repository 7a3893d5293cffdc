//! Listening sockets as they cross the wire.

use std::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// The transport protocol of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortProtocol {
    /// TCP in LISTEN.
    Tcp,
    /// UDP, bound and not connected.
    Udp,
}

/// One listening socket: protocol, local address, port.
///
/// Displays as `tcp 0.0.0.0:22`, `tcp6 [::]:22`; crosses the wire as that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// TCP or UDP.
    pub protocol: PortProtocol,
    /// The local address and port it is bound to.
    pub local: SocketAddr,
}

impl Port {
    /// `tcp`, `tcp6`, `udp` or `udp6`, as `ss` and `netstat` say it.
    pub fn protocol_name(&self) -> &'static str {
        match (self.protocol, self.local.is_ipv6()) {
            (PortProtocol::Tcp, false) => "tcp",
            (PortProtocol::Tcp, true) => "tcp6",
            (PortProtocol::Udp, false) => "udp",
            (PortProtocol::Udp, true) => "udp6",
        }
    }
}

/// From where a listening socket can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortScope {
    /// From its own machine only.
    Loopback,
    /// On one address of the node.
    Node,
    /// On all addresses.
    All,
}

impl PortScope {
    /// As people and JSON have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Node => "node",
            Self::All => "all",
        }
    }
}

impl Port {
    /// From where it can be reached, by the address it is bound to.
    pub fn scope(&self) -> PortScope {
        // A v4 address in v6 notation means what it does in v4.
        let address = self.local.ip().to_canonical();
        if address.is_loopback() {
            PortScope::Loopback
        } else if address.is_unspecified() {
            PortScope::All
        } else {
            PortScope::Node
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol_name(), self.local)
    }
}

/// Text that is no [`Port`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no listening socket: expected for example `tcp 0.0.0.0:22`")]
pub struct ParsePortError(String);

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePortError(text.to_owned());
        let (name, local) = text.split_once(' ').ok_or_else(error)?;
        let local: SocketAddr = local.parse().map_err(|_| error())?;
        let protocol = match name {
            "tcp" | "tcp6" => PortProtocol::Tcp,
            "udp" | "udp6" => PortProtocol::Udp,
            _ => return Err(error()),
        };
        let port = Self { protocol, local };
        // One text for one socket: "tcp6 0.0.0.0:22" would be a second name for it.
        if port.protocol_name() == name { Ok(port) } else { Err(error()) }
    }
}

impl Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Open ports of a node, in whole or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsUpdate {
    /// When the scan was made.
    pub at: UnixMillis,
    /// What `opened` is.
    pub kind: PortsKind,
    /// The ports.
    pub opened: Vec<Port>,
    /// Ports that are gone since the last scan; only with [`PortsKind::Changes`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<Port>,
}

/// One port that opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortChange {
    /// The scan that saw it.
    pub at: UnixMillis,
    /// The port.
    pub port: Port,
    /// Opened, otherwise closed.
    pub opened: bool,
}

/// The process that holds a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortOwner {
    /// The port.
    pub port: Port,
    /// The process's id on the node.
    pub pid: u32,
    /// Its name, as `ps` has it.
    pub process: String,
    /// The UID of the pod that it runs in; `None` for one of the node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
}

/// How to read a [`PortsUpdate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortsKind {
    /// Forget what was known: `opened` is the picture, or its first part.
    Snapshot,
    /// A further part of a picture too large for one line.
    Continued,
    /// What opened and closed since.
    Changes,
}
