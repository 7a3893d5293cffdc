//! Ports left out of reports: `22,80,8000-8100,53/udp`.
//!
//! Owns the little language. Pure.

use std::{ops::RangeInclusive, str::FromStr};

use nodewatch_protocol::{Port, PortProtocol};

/// Ports that are counted instead of listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusions(Vec<(RangeInclusive<u16>, Option<PortProtocol>)>);

/// An item of the list that is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{item:?} in {list:?}: {reason}; write ports as in 22,8000-8100,53/udp")]
pub struct ExclusionError {
    item: String,
    list: String,
    reason: &'static str,
}

impl Exclusions {
    /// Whether a port is left out.
    pub fn leave_out(&self, port: &Port) -> bool {
        self.0.iter().any(|(range, protocol)| {
            range.contains(&port.local.port()) && protocol.is_none_or(|protocol| protocol == port.protocol)
        })
    }
}

impl FromStr for Exclusions {
    type Err = ExclusionError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list.trim().is_empty() {
            return Ok(Self::default());
        }
        let item = |item: &str| {
            parse(item.trim()).map_err(|reason| ExclusionError { item: item.to_owned(), list: list.to_owned(), reason })
        };
        list.split(',').map(item).collect::<Result<_, _>>().map(Self)
    }
}

fn parse(item: &str) -> Result<(RangeInclusive<u16>, Option<PortProtocol>), &'static str> {
    if item.is_empty() {
        return Err("an empty item");
    }
    let (ports, protocol) = match item.split_once('/') {
        None => (item, None),
        Some((ports, "tcp")) => (ports, Some(PortProtocol::Tcp)),
        Some((ports, "udp")) => (ports, Some(PortProtocol::Udp)),
        Some(_) => return Err("a protocol other than tcp and udp"),
    };
    let port = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err("not a port from 1 to 65535"),
        Ok(port) => Ok(port),
    };
    let range = match ports.split_once('-') {
        None => port(ports)?..=port(ports)?,
        Some((low, high)) => port(low)?..=port(high)?,
    };
    if range.is_empty() { Err("a range that runs backwards") } else { Ok((range, protocol)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ports_ranges_and_protocols() {
        let exclusions: Exclusions = "22, 8000-8100,53/udp".parse().expect("a list");
        let left_out = |port: &str| exclusions.leave_out(&port.parse().expect("a port"));
        assert!(left_out("tcp 0.0.0.0:22") && left_out("udp6 [::]:8100") && left_out("udp 127.0.0.1:53"));
        assert!(!left_out("tcp 0.0.0.0:53") && !left_out("tcp 0.0.0.0:8101"));
    }

    #[test]
    fn nonsense_is_named() {
        for (list, item) in
            [("22,,80", "\"\""), ("0", "\"0\""), ("65536", "\"65536\""), ("9-8", "\"9-8\""), ("53/icmp", "\"53/icmp\"")]
        {
            let error = list.parse::<Exclusions>().expect_err(list).to_string();
            assert!(error.starts_with(item), "{error}");
        }
    }
}
