//! Sets of ports as people write them: `22,8000-8100,53/udp,tcp/9100,127.0.0.0/8`.
//!
//! Owns the little language, for ports that are left out and for ports that are to be there. Pure.

use std::{error::Error, fmt, net::IpAddr, str::FromStr};

use nodewatch_protocol::{Port, PortProtocol, PortRule};

/// A set of ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSet(Vec<PortRule>);

/// An item of a list that is no such thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePortSetError {
    item: String,
    list: String,
    reason: &'static str,
}

impl fmt::Display for ParsePortSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, list, reason } = self;
        write!(f, "{item:?} in {list:?}: {reason}; use a list like 22,8000-8100,53/udp,tcp/9100,127.0.0.0/8")
    }
}

impl Error for ParsePortSetError {}

/// Whether some rule means a port.
pub fn contains(rules: &[PortRule], port: &Port) -> bool {
    rules.iter().any(|rule| match *rule {
        PortRule::Ports { first, last, protocol } => {
            (first..=last).contains(&port.local.port()) && protocol.is_none_or(|protocol| protocol == port.protocol)
        }
        PortRule::Network { address, length } => is_inside(port.local.ip(), address, length),
    })
}

impl PortSet {
    /// Whether a port is in it.
    pub fn contains(&self, port: &Port) -> bool {
        contains(&self.0, port)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it is made of.
    pub fn rules(&self) -> &[PortRule] {
        &self.0
    }

    /// What it is made of, to be kept.
    pub fn into_rules(self) -> Vec<PortRule> {
        self.0
    }

    /// Adds one port number of a protocol, unless it is there.
    pub fn add(&mut self, protocol: PortProtocol, port: u16) {
        let rule = PortRule::Ports { first: port, last: port, protocol: Some(protocol) };
        if !self.0.contains(&rule) {
            self.0.push(rule);
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for rule in &other.0 {
            if !self.0.contains(rule) {
                self.0.push(rule.clone());
            }
        }
        self
    }
}

fn is_inside(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let (address, network, width) = match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let rest = width - u32::from(length).min(width);
    // A shift by the whole width is no shift in Rust.
    address.checked_shr(rest).unwrap_or(0) == network.checked_shr(rest).unwrap_or(0)
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match rule {
                PortRule::Ports { first, last, protocol } => {
                    write!(f, "{comma}{first}")?;
                    if first != last {
                        write!(f, "-{last}")?;
                    }
                    if let Some(protocol) = protocol {
                        write!(f, "/{}", protocol.word())?;
                    }
                }
                PortRule::Network { address, length } => write!(f, "{comma}{address}/{length}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = ParsePortSetError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list.trim().is_empty() {
            return Ok(Self::default());
        }
        let item = |item: &str| {
            let bad = |reason| ParsePortSetError { item: item.trim().to_owned(), list: list.to_owned(), reason };
            parse(item.trim()).map_err(bad)
        };
        list.split(',').map(item).collect::<Result<_, _>>().map(Self)
    }
}

fn parse(item: &str) -> Result<PortRule, &'static str> {
    if item.is_empty() {
        return Err("an empty item");
    }
    if let Some(network) = network(item) {
        return network;
    }
    let split = PortProtocol::split(item);
    let (ports, protocol) = split.ok_or("a protocol other than tcp, udp, udplite, sctp and dccp")?;
    let port = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err("not a port from 1 to 65535"),
        Ok(port) => Ok(port),
    };
    let (first, last): (u16, u16) = match ports.split_once('-') {
        None => (port(ports)?, port(ports)?),
        Some((low, high)) => (port(low)?, port(high)?),
    };
    if first > last { Err("a range that runs backwards") } else { Ok(PortRule::Ports { first, last, protocol }) }
}

/// An address or a network; `None` where the item does not look like one.
fn network(item: &str) -> Option<Result<PortRule, &'static str>> {
    let (address, length) = match item.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (item, None),
    };
    let address: IpAddr = match address.parse() {
        Ok(address) => address,
        Err(_) if address.contains([':', '.']) => return Some(Err("not an address")),
        Err(_) => return None,
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    Some(match length.map_or(Ok(width), str::parse) {
        Ok(length) if length <= width => Ok(PortRule::Network { address, length }),
        _ => Err("a network with another length than its addresses can have"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> PortSet {
        text.parse().expect("a list")
    }

    fn has(list: &str, port: &str) -> bool {
        set(list).contains(&port.parse().expect("a port"))
    }

    #[test]
    fn ports_ranges_protocols_and_networks() {
        let list = "22, 8000-8100,53/udp,tcp/9100,9/sctp,127.0.0.0/8,fe80::/10,10.0.0.9";
        for port in [
            "tcp 0.0.0.0:22",
            "udp6 [::]:8100",
            "udp 1.2.3.4:53",
            "tcp 0.0.0.0:9100",
            "tcp 127.0.0.53:99",
            "tcp6 [::ffff:127.0.0.1]:99",
            "tcp6 [fe80::1]:99",
            "udp 10.0.0.9:1",
            "tcp 127.0.0.1%va:99",
            "sctp 0.0.0.0:9",
        ] {
            assert!(has(list, port), "{port}");
        }
        for port in ["tcp 0.0.0.0:53", "tcp 0.0.0.0:8101", "udp 0.0.0.0:9100", "tcp6 [::1]:99", "udp 10.0.0.8:1"] {
            assert!(!has(list, port), "{port}");
        }
        assert!(has("0.0.0.0/0", "tcp 9.9.9.9:1") && !has("0.0.0.0/0", "tcp6 [::]:1"));
        assert!(set("").is_empty());
    }

    #[test]
    fn nonsense_is_named() {
        for (list, item) in [
            ("22,,80", "\"\""),
            ("0", "\"0\""),
            ("65536", "\"65536\""),
            ("9-8", "\"9-8\""),
            ("53/icmp", "\"53/icmp\""),
            ("22,icmp/9", "\"icmp/9\""),
            ("tcp/udp", "\"tcp/udp\""),
            ("127.0.0.0/33", "\"127.0.0.0/33\""),
            ("1.2.3", "\"1.2.3\""),
            ("-5", "\"-5\""),
        ] {
            let error = list.parse::<PortSet>().expect_err(list).to_string();
            assert!(error.starts_with(item), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(text in "[0-9a-f:./,tcpud-]{0,40}") {
            if let Ok(read) = text.parse::<PortSet>() {
                let written = read.to_string();
                prop_assert_eq!(written.parse::<PortSet>(), Ok(read));
            }
        }
    }
}
