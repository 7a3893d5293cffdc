//! Listening sockets as they cross the wire.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// The transport protocol of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP in LISTEN; an MPTCP listener is one of these too, and answers TCP as well.
    Tcp,
    /// UDP, bound and not connected.
    Udp,
    /// UDP-Lite, bound and not connected.
    UdpLite,
    /// SCTP in LISTEN.
    Sctp,
    /// DCCP in LISTEN.
    Dccp,
}

impl PortProtocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::UdpLite, Self::Sctp, Self::Dccp];

    /// As people, JSON and lists of ports have it.
    pub fn word(self) -> &'static str {
        self.names().0
    }

    /// The protocol of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.word() == word)
    }

    /// Over IPv4, and over IPv6.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Tcp => ("tcp", "tcp6"),
            Self::Udp => ("udp", "udp6"),
            Self::UdpLite => ("udplite", "udplite6"),
            Self::Sctp => ("sctp", "sctp6"),
            Self::Dccp => ("dccp", "dccp6"),
        }
    }
}

/// A network interface by its name, as long as the kernel lets one be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device([u8; Device::MAX]);

impl Device {
    const MAX: usize = 15;

    /// `None` for what the kernel takes for no name, or what would not be read back from a text.
    pub fn named(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::MAX;
        let odd = |character: char| character.is_control() || character.is_whitespace() || "/:".contains(character);
        if !fits || name.contains(odd) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// One whose name cannot be told: `if7`, as `ss` has it.
    pub fn numbered(index: u32) -> Self {
        // Two letters and ten digits fit.
        Self::named(&format!("if{index}")).unwrap_or(Self([0; Self::MAX]))
    }

    /// The name.
    pub fn name(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX);
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name(), f)
    }
}

/// One listening socket: protocol, local address, port, the interface it is bound to.
///
/// Displays as `tcp 0.0.0.0:22`, `tcp 0.0.0.0%eth0:22`, `udp6 [fe80::1%eth0]:53`, `tcp6 [::]:22`, and as `tcp6 *:22` where
/// that takes IPv4 too; crosses the wire as that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The local address and port it is bound to.
    pub local: SocketAddr,
    /// The interface that it hears on alone; a link-local address's scope.
    pub device: Option<Device>,
    /// On `[::]`: it takes no IPv4. On any other address that goes without saying, and is false.
    pub v6only: bool,
}

/// Connections that wait on a TCP listener to be accepted, as `ss -ltn` has them: Recv-Q and Send-Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AcceptQueue {
    /// The listener.
    pub port: Port,
    /// How many wait.
    pub waiting: u32,
    /// The backlog: with one more than that the queue is full, and what comes then is dropped.
    pub limit: u32,
}

impl AcceptQueue {
    /// The kernel takes no more.
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }
}

impl Port {
    /// On every interface; on `[::]`, IPv4 too.
    pub fn new(protocol: PortProtocol, local: SocketAddr) -> Self {
        Self { protocol, local, device: None, v6only: false }
    }

    /// `tcp`, `tcp6`, `udp` or `udp6`, as `ss` and `netstat` say it, and so on.
    pub fn protocol_name(&self) -> &'static str {
        let (v4, v6) = self.protocol.names();
        if self.local.is_ipv6() { v6 } else { v4 }
    }

    /// Bound to `[::]`, it takes IPv4 too, as most do.
    pub fn is_dual(&self) -> bool {
        self.local.is_ipv6() && self.local.ip().is_unspecified() && !self.v6only
    }

    /// The address without the port: `0.0.0.0%eth0`, `fe80::1%eth0`, `*` for IPv6 and IPv4.
    pub fn address(&self) -> String {
        let address = if self.is_dual() { "*".to_owned() } else { self.local.ip().to_string() };
        match &self.device {
            Some(device) => format!("{address}%{}", device.name()),
            None => address,
        }
    }

    /// Address and port, as in `0.0.0.0%eth0:22`.
    pub fn place(&self) -> String {
        if self.local.is_ipv6() && !self.is_dual() {
            format!("[{}]:{}", self.address(), self.local.port())
        } else {
            format!("{}:{}", self.address(), self.local.port())
        }
    }
}

/// From where a listening socket can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortScope {
    /// From its own machine only.
    Loopback,
    /// On one address or one interface of the node.
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

/// The loopback interface, which the kernel makes under this name.
const LOOPBACK: &str = "lo";

impl Port {
    /// From where it can be reached, by the address and the interface it is bound to.
    pub fn scope(&self) -> PortScope {
        // A v4 address in v6 notation means what it does in v4.
        let address = self.local.ip().to_canonical();
        let device = self.device.as_ref().map(Device::name);
        if address.is_loopback() || device == Some(LOOPBACK) {
            PortScope::Loopback
        } else if address.is_unspecified() && device.is_none() {
            PortScope::All
        } else {
            PortScope::Node
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol_name(), self.place())
    }
}

/// Text that is no [`Port`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid listening socket {0:?}: expected e.g. `tcp 0.0.0.0:22`")]
pub struct ParsePortError(String);

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParsePortError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Port> {
    let (name, place) = text.split_once(' ')?;
    let protocol = PortProtocol::ALL.into_iter().find(|one| name == one.names().0 || name == one.names().1)?;
    let (address, number) = place.rsplit_once(':')?;
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (address, device) = match inside.unwrap_or(address).split_once('%') {
        Some((address, device)) => (address, Some(Device::named(device)?)),
        None => (inside.unwrap_or(address), None),
    };
    let address: IpAddr = match (inside, address) {
        (None, "*") => Ipv6Addr::UNSPECIFIED.into(),
        (None, address) => IpAddr::V4(address.parse().ok()?),
        (Some(_), address) => IpAddr::V6(address.parse().ok()?),
    };
    let v6only = inside.is_some() && address.is_unspecified();
    let port = Port { protocol, local: SocketAddr::new(address, number.parse().ok()?), device, v6only };
    // One text for one socket: "tcp6 0.0.0.0:22" would be a second name for it, and so would "tcp 0.0.0.0:022".
    (port.to_string() == text).then_some(port)
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
    /// Another part of the same picture follows: it is whole with the one that has this not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Ports in one line: at up to 77 bytes each well below the line limit.
const PORTS_A_LINE: usize = 10_000;
/// Owners in one line, at up to 280 bytes each.
const OWNERS_A_LINE: usize = 3_000;

impl PortsUpdate {
    /// A whole picture, in as many parts as lines are needed. An empty one is a picture too.
    pub fn picture<'a>(at: UnixMillis, ports: impl IntoIterator<Item = &'a Port>) -> Vec<Self> {
        let ports: Vec<Port> = ports.into_iter().copied().collect();
        let last = ports.len().div_ceil(PORTS_A_LINE).saturating_sub(1);
        let part = |index: usize| PortsUpdate {
            at,
            kind: if index == 0 { PortsKind::Snapshot } else { PortsKind::Continued },
            opened: ports.chunks(PORTS_A_LINE).nth(index).unwrap_or_default().to_vec(),
            closed: Vec::new(),
            more: index < last,
        };
        (0..=last).map(part).collect()
    }

    /// What changed, in as many lines as are needed: each is true by itself.
    pub fn changes(at: UnixMillis, opened: &[Port], closed: &[Port]) -> Vec<Self> {
        let update = |opened: &[Port], closed: &[Port]| Self {
            at,
            kind: PortsKind::Changes,
            opened: opened.to_vec(),
            closed: closed.to_vec(),
            more: false,
        };
        if opened.len() + closed.len() <= PORTS_A_LINE {
            return if opened.is_empty() && closed.is_empty() { Vec::new() } else { vec![update(opened, closed)] };
        }
        let closed = closed.chunks(PORTS_A_LINE).map(|part| update(&[], part));
        closed.chain(opened.chunks(PORTS_A_LINE).map(|part| update(part, &[]))).collect()
    }
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

/// Who holds a node's ports, in whole or a part of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OwnersForm")]
pub struct OwnersUpdate {
    /// The owners.
    pub owners: Vec<PortOwner>,
    /// A further part of a list too large for one line; otherwise forget what was known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// Another part of the same list follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// The list alone is what agents before version 5 said.
#[derive(Deserialize)]
#[serde(untagged)]
enum OwnersForm {
    List(Vec<PortOwner>),
    Part {
        owners: Vec<PortOwner>,
        #[serde(default)]
        continued: bool,
        #[serde(default)]
        more: bool,
    },
}

impl From<OwnersForm> for OwnersUpdate {
    fn from(form: OwnersForm) -> Self {
        match form {
            OwnersForm::List(owners) => Self { owners, continued: false, more: false },
            OwnersForm::Part { owners, continued, more } => Self { owners, continued, more },
        }
    }
}

impl OwnersUpdate {
    /// The whole list, in as many parts as lines are needed.
    pub fn parts(owners: &[PortOwner]) -> Vec<Self> {
        let last = owners.len().div_ceil(OWNERS_A_LINE).saturating_sub(1);
        let part = |index: usize| Self {
            owners: owners.chunks(OWNERS_A_LINE).nth(index).unwrap_or_default().to_vec(),
            continued: index > 0,
            more: index < last,
        };
        (0..=last).map(part).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromAgent, Update, encode};

    fn port(text: &str) -> Port {
        text.parse().expect("a port")
    }

    #[test]
    fn what_a_socket_is_bound_to_is_part_of_its_text_as_ss_has_it() {
        for text in [
            "tcp 0.0.0.0:22",
            "tcp 0.0.0.0%va:8010",
            "udp6 [fe80::1%va]:53",
            "tcp6 *:8003",
            "tcp6 [::]:8004",
            "tcp6 *%va:8005",
            "tcp6 [::%va]:8006",
            "udplite 127.0.0.1:7",
            "sctp6 [::1]:9",
            "dccp 0.0.0.0:5",
            "udp 0.0.0.0%a]b%c:5",
        ] {
            assert_eq!(port(text).to_string(), text);
        }
        let all = ["tcp 0.0.0.0:1", "tcp 0.0.0.0%va:1", "tcp 0.0.0.0%vb:1", "tcp6 *:1", "tcp6 [::]:1", "tcp6 *%va:1"];
        let apart: std::collections::BTreeSet<Port> = all.into_iter().map(port).collect();
        assert_eq!(apart.len(), all.len());
        for text in [
            "tcp *:22",
            "tcp6 0.0.0.0:22",
            "tcp 0.0.0.0:022",
            "tcp6 ::1:22",
            "tcp 0.0.0.0%:22",
            "tcp 0.0.0.0%a b:22",
            "tcp 0.0.0.0%sixteen-letters-:22",
            "tcp 0.0.0.0%\u{1b}[2J:22",
            "tcp 0.0.0.0%a/b:22",
            "icmp 0.0.0.0:1",
            "tcp 0.0.0.0:",
            "tcp",
        ] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_loopback_interface_is_this_machine_and_another_is_no_more_than_itself() {
        for (text, scope) in [
            ("tcp 0.0.0.0:1", PortScope::All),
            ("tcp 0.0.0.0%lo:1", PortScope::Loopback),
            ("tcp6 *%lo:1", PortScope::Loopback),
            ("tcp 0.0.0.0%va:1", PortScope::Node),
            ("tcp6 [fe80::1%va]:1", PortScope::Node),
            ("tcp6 [::]:1", PortScope::All),
            ("tcp6 *:1", PortScope::All),
            ("tcp6 [::ffff:127.0.0.1]:1", PortScope::Loopback),
        ] {
            assert_eq!(port(text).scope(), scope, "{text}");
        }
    }

    /// As long as they come: every address and name at its longest, names that JSON writes as escapes.
    fn longest(index: u32) -> Port {
        let address = Ipv6Addr::from((u128::from(u32::MAX - index) << 96) | (u128::MAX >> 32));
        Port {
            device: Device::named("\"\"\"\"\"\"\"\"\"\"\"\"\"\"\""),
            ..Port::new(PortProtocol::UdpLite, SocketAddr::new(address.into(), 65_535))
        }
    }

    fn fits(updates: impl IntoIterator<Item = Update>) -> usize {
        let lines = updates.into_iter().map(|update| encode(&FromAgent::Update(update)).expect("it fits a line"));
        lines.collect::<Vec<_>>().len()
    }

    #[test]
    fn however_many_ports_no_line_is_too_long_and_none_is_missing() {
        let ports: Vec<Port> = (0..120_000).map(longest).collect();
        let picture = PortsUpdate::picture(1, &ports);
        let more: Vec<bool> = picture.iter().map(|part| part.more).collect();
        assert_eq!(more.iter().filter(|more| !**more).count(), 1);
        assert_eq!(more.last(), Some(&false), "the last part says that it is the last");
        assert!(
            picture[0].kind == PortsKind::Snapshot && picture[1..].iter().all(|part| part.kind == PortsKind::Continued)
        );
        assert!(picture.iter().flat_map(|part| &part.opened).eq(&ports));
        assert_eq!(fits(picture.into_iter().map(Update::Ports)), 12);

        let changes = PortsUpdate::changes(1, &ports, &ports);
        assert!(changes.iter().flat_map(|part| &part.opened).eq(&ports));
        assert!(changes.iter().flat_map(|part| &part.closed).eq(&ports));
        fits(changes.into_iter().map(Update::Ports));

        let owner = |&port: &Port| PortOwner {
            port,
            pid: u32::MAX,
            process: "\u{1}".repeat(15),
            pod_uid: Some("0f6c1f2e-9b0a-4a58-8a6e-0123456789ab".into()),
        };
        let owners: Vec<PortOwner> = ports.iter().map(owner).collect();
        let parts = OwnersUpdate::parts(&owners);
        assert!(parts.iter().flat_map(|part| &part.owners).eq(&owners));
        assert!(!parts[0].continued && parts[1].continued && parts[0].more);
        assert_eq!(parts.iter().filter(|part| !part.more).count(), 1);
        fits(parts.into_iter().map(Update::Owners));

        let history = ports[..1000].iter().map(|&port| PortChange { at: u64::MAX, port, opened: false });
        fits([Update::PortHistory(history.collect())]);
    }

    #[test]
    fn nothing_is_a_picture_too_and_no_change_is_no_line() {
        assert_eq!(PortsUpdate::picture(1, &[]).len(), 1);
        assert!(!PortsUpdate::picture(1, &[])[0].more);
        assert_eq!(OwnersUpdate::parts(&[]).len(), 1);
        assert!(PortsUpdate::changes(1, &[], &[]).is_empty());
    }
}
