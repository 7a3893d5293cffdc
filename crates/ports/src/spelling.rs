//! How a port is spelt in JSON: by its parts, in reports as events and in what subcommands print.
//!
//! Owns the names of the fields. Whoever writes an event leaves out what is `null` or `false`.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use nodewatch_protocol::{Device, Port, PortProtocol, PortScope, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::PortClass;

/// A socket's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFields<'a> {
    /// As `ss` says it: `tcp`, `tcp6`, `udp` and so on.
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    /// The local address.
    address: IpAddr,
    /// The interface that it is bound to, or its link-local address's scope.
    #[serde(default, borrow)]
    device: Option<Cow<'a, str>>,
    /// Whether a socket on `::` takes no IPv4; `None` of any other.
    #[serde(default)]
    v6only: Option<bool>,
    /// The number.
    port: u16,
}

impl<'a> From<&'a Port> for PortFields<'a> {
    fn from(port: &'a Port) -> Self {
        let on_all_v6 = port.local.is_ipv6() && port.local.ip().is_unspecified();
        Self {
            protocol: Cow::Borrowed(port.protocol_name()),
            address: port.local.ip(),
            device: port.device.as_ref().map(|device| Cow::Borrowed(device.name())),
            v6only: on_all_v6.then_some(port.v6only),
            port: port.local.port(),
        }
    }
}

impl PortFields<'_> {
    /// The socket; `None` where that is none. Events of earlier releases have neither interface nor `v6only`.
    pub fn port(&self) -> Option<Port> {
        Some(Port {
            protocol: PortProtocol::named(self.protocol.trim_end_matches('6'))?,
            local: SocketAddr::new(self.address, self.port),
            device: self.device.as_deref().and_then(Device::named),
            v6only: self.v6only.unwrap_or_default(),
        })
    }
}

/// A socket as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedPortFields<'a> {
    /// What it is.
    #[serde(flatten)]
    port: PortFields<'a>,
    /// From where it is reached.
    scope: PortScope,
    /// When it was first seen open.
    first_seen: UnixMillis,
    /// When it was last seen open.
    last_seen: UnixMillis,
    /// Whether it should be there.
    class: PortClass,
}

impl<'a> ListedPortFields<'a> {
    /// A socket that is open at `at`.
    pub fn new(port: &'a Port, class: PortClass, first_seen: UnixMillis, at: UnixMillis) -> Self {
        Self { port: port.into(), scope: port.scope(), first_seen, last_seen: at, class }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};

    use super::*;

    #[test]
    fn every_socket_is_read_as_it_was_written() {
        for text in [
            "tcp 0.0.0.0:22",
            "tcp 0.0.0.0%eth0:22",
            "tcp6 *:22",
            "tcp6 [::]:22",
            "udplite6 [fe80::1%eth0]:7",
            "sctp6 [::ffff:10.0.0.1]:9",
        ] {
            let port: Port = text.parse().expect("a port");
            let value = to_value(PortFields::from(&port)).expect("JSON");
            assert_eq!(PortFields::deserialize(&value).expect("read").port(), Some(port), "{value}");
        }
    }

    #[test]
    fn a_listed_socket_has_these_fields() {
        let port = "tcp6 [::]:22".parse().expect("a port");
        let value = to_value(ListedPortFields::new(&port, PortClass::Unknown, 5, 7)).expect("JSON");
        let wanted = json!({"protocol": "tcp6", "address": "::", "device": null, "v6only": true, "port": 22,
            "scope": "all", "first_seen": 5, "last_seen": 7, "class": null});
        assert_eq!(value, wanted);
    }

    #[test]
    fn what_is_none_is_refused_and_what_is_missing_is_not() {
        let read = |value: &Value| PortFields::deserialize(value).ok().and_then(|fields| fields.port());
        let old = read(&json!({"protocol": "tcp6", "address": "::", "port": 22}));
        assert_eq!(old.expect("a port").to_string(), "tcp6 *:22");
        for bad in [
            json!({"protocol": "tcp", "address": "what", "port": 22}),
            json!({"protocol": "icmp", "address": "::", "port": 22}),
            json!({"port": 99_999_999}),
            json!(7),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }
}
