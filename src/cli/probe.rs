//! What `probe` tries, and from where.
//!
//! Owns how a target is written. Which node that is nobody knows here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use clap::Args;
use nodewatch_protocol::Probe;

/// What is tried, from which nodes and how often.
#[derive(Debug, Clone, Args)]
pub struct ProbeArgs {
    /// Ports to try: NODE:PORT (at the node's internal IP), ADDRESS:PORT or [IPv6]:PORT
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<ProbeTarget>,
    /// Nodes to try from, each by itself; not needed with --local
    #[arg(long, value_name = "NODE,...", value_delimiter = ',', required_unless_present = "local")]
    pub from: Vec<String>,
    /// How often to try, every 0.2 s
    #[arg(long, value_name = "N", default_value = "10",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(Probe::MOST)))]
    pub count: u16,
    /// Send UDP (on port 53 a DNS query) and wait for an answer, which many UDP services never give [default: TCP connects]
    #[arg(long)]
    pub udp: bool,
}

/// A port to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// As it was written.
    pub text: String,
    /// Where it is.
    pub host: ProbeHost,
    /// Its number.
    pub port: u16,
}

/// Where a port is to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeHost {
    /// A node, as its user names it.
    Node(String),
    /// There.
    Address(IpAddr),
}

impl FromStr for ProbeTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bad = |why: &str| Err(format!("{text:?} {why}"));
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match why_not(address) {
                Some(why) => bad(why),
                None => Ok(Self { text: text.into(), host: ProbeHost::Address(address.ip()), port: address.port() }),
            };
        }
        if text.starts_with('[') {
            return bad("is no IPv6 address with a port: write [fd00::1]:53");
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return bad("has no port: write NODE:PORT or ADDRESS:PORT");
        };
        if host.contains(':') {
            return bad("is ambiguous: write an IPv6 address in brackets, as [fd00::1]:53");
        }
        let number = port.parse::<u16>().ok().filter(|&number| number > 0 && !port.starts_with('+'));
        let Some(port) = number else {
            return Err(format!("{port:?} in {text:?} is not a port: use 1 to 65535 (with --udp for UDP)"));
        };
        // What has only digits and dots is meant as an address.
        if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return bad("names no node and no address: write NODE:PORT or ADDRESS:PORT");
        }
        Ok(Self { text: text.into(), host: ProbeHost::Node(host.into()), port })
    }
}

/// Why an address cannot be tried, if it cannot.
fn why_not(address: SocketAddr) -> Option<&'static str> {
    let ip = address.ip();
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    match () {
        () if address.port() == 0 => Some("has port 0: use 1 to 65535"),
        () if ip.is_unspecified() => Some("is no address of one machine: name a node or an address"),
        () if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            Some("is the address of many: name a node or an address")
        }
        () if link_local => Some("is a link-local address, which belongs to one link of one node: name another"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_node_or_an_address_with_a_port() {
        let read = |text: &str| text.parse::<ProbeTarget>().map(|target| (target.host, target.port));
        let node = |name: &str, port| Ok((ProbeHost::Node(name.into()), port));
        let address = |ip: &str, port| Ok((ProbeHost::Address(ip.parse().expect("an address")), port));
        assert_eq!(read("node-1:8090"), node("node-1", 8090));
        assert_eq!(read("node/ip-10-0-1-12.eu:22"), node("node/ip-10-0-1-12.eu", 22));
        assert_eq!(read(" 10.0.0.5:8090 "), address("10.0.0.5", 8090));
        assert_eq!(read("[fd00::1]:53"), address("fd00::1", 53));
        assert_eq!(read("127.0.0.1:1"), address("127.0.0.1", 1));
    }

    #[test]
    fn what_is_wrong_with_a_target_is_said_of_its_text() {
        for (text, told) in [
            ("node-1", "\"node-1\" has no port"),
            ("node-1:", "\"\" in \"node-1:\" is not a port"),
            ("node-1:0", "\"0\" in \"node-1:0\" is not a port"),
            ("node-1:65536", "\"65536\" in"),
            ("node-1:53/udp", "\"53/udp\" in \"node-1:53/udp\" is not a port: use 1 to 65535 (with --udp for UDP)"),
            ("10.0.0.5", "\"10.0.0.5\" has no port"),
            ("10.0.0:80", "\"10.0.0:80\" names no node and no address"),
            (":80", "\":80\" names no node and no address"),
            ("fd00::1:53", "\"fd00::1:53\" is ambiguous: write an IPv6 address in brackets"),
            ("[fd00::1]", "\"[fd00::1]\" is no IPv6 address with a port"),
            ("[node-1]:80", "\"[node-1]:80\" is no IPv6 address with a port"),
            ("[fe80::1]:80", "link-local"),
            ("0.0.0.0:80", "no address of one machine"),
            ("[ff02::1]:80", "address of many"),
            ("10.0.0.5:0", "has port 0"),
        ] {
            let error = text.parse::<ProbeTarget>().expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
