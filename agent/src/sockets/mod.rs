//! Listening sockets of this network namespace.
//!
//! Owns the scan and what changed between two of them. Must not know tunnels or captures. Needs no capability.

mod files;
mod netlink;
pub mod owners;
mod parse;
mod scanner;

use std::{collections::BTreeSet, net::SocketAddr};

use nodewatch_protocol::{Device, Port, PortProtocol};

pub use scanner::{Scan, Scanner};

/// A table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The kernel refused a netlink socket.
    #[error("cannot open a NETLINK_SOCK_DIAG socket")]
    Open(#[source] rustix::io::Errno),
    /// A request could not be sent.
    #[error("cannot ask the kernel for {0} sockets")]
    Ask(&'static str, #[source] rustix::io::Errno),
    /// An answer could not be read.
    #[error("cannot read the kernel's list of {0} sockets")]
    Read(&'static str, #[source] rustix::io::Errno),
    /// The kernel answered with an error number.
    #[error("the kernel refused to list {0} sockets (error {1})")]
    Refused(&'static str, i32),
    /// The kernel's answer has another form than inet_diag's or `/proc/net`'s.
    #[error("the kernel's list of {0} sockets is malformed")]
    Malformed(&'static str),
    /// The list as a file.
    #[error("cannot read /proc/net/{0}")]
    File(&'static str, #[source] std::io::Error),
}

/// A listening socket as a list has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// By which processes are found that hold it.
    pub inode: u32,
    /// What it listens on.
    pub port: Port,
    /// Of TCP, the connections that wait to be accepted and how many may; of others, and where that is not told, nothing.
    pub queue: (u32, u32),
}

/// One of the kernel's lists: a protocol over IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Table {
    protocol: PortProtocol,
    v6: bool,
}

/// Every list of listening sockets that there may be.
const TABLES: [Table; 10] = {
    let mut tables = [Table { protocol: PortProtocol::Tcp, v6: false }; 10];
    let mut at = 0;
    while at < 10 {
        tables[at] = Table { protocol: PortProtocol::ALL[at / 2], v6: at % 2 == 1 };
        at += 1;
    }
    tables
};

impl Table {
    /// As the file below `/proc/net` is called.
    fn name(self) -> &'static str {
        match (self.protocol, self.v6) {
            (PortProtocol::Tcp, false) => "tcp",
            (PortProtocol::Tcp, true) => "tcp6",
            (PortProtocol::Udp, false) => "udp",
            (PortProtocol::Udp, true) => "udp6",
            (PortProtocol::UdpLite, false) => "udplite",
            (PortProtocol::UdpLite, true) => "udplite6",
            (PortProtocol::Sctp, false) => "sctp",
            (PortProtocol::Sctp, true) => "sctp6",
            (PortProtocol::Dccp, false) => "dccp",
            (PortProtocol::Dccp, true) => "dccp6",
        }
    }

    /// As `/proc/net/protocols` has it.
    fn kernel_name(self) -> &'static str {
        match (self.protocol, self.v6) {
            (PortProtocol::Tcp, false) => "TCP",
            (PortProtocol::Tcp, true) => "TCPv6",
            (PortProtocol::Udp, false) => "UDP",
            (PortProtocol::Udp, true) => "UDPv6",
            (PortProtocol::UdpLite, false) => "UDP-Lite",
            (PortProtocol::UdpLite, true) => "UDPLITEv6",
            (PortProtocol::Sctp, false) => "SCTP",
            (PortProtocol::Sctp, true) => "SCTPv6",
            (PortProtocol::Dccp, false) => "DCCP",
            (PortProtocol::Dccp, true) => "DCCPv6",
        }
    }

    fn family(self) -> u8 {
        if self.v6 { parse::AF_INET6 } else { parse::AF_INET }
    }

    fn ip_protocol(self) -> u8 {
        match self.protocol {
            PortProtocol::Tcp => 6,
            PortProtocol::Udp => 17,
            PortProtocol::Dccp => 33,
            PortProtocol::Sctp => 132,
            PortProtocol::UdpLite => 136,
        }
    }

    /// The state whose sockets count as listening: a bound, unconnected UDP socket is in the one that TCP calls CLOSE.
    fn state(self) -> u8 {
        match self.protocol {
            PortProtocol::Udp | PortProtocol::UdpLite => 7,
            PortProtocol::Tcp | PortProtocol::Sctp | PortProtocol::Dccp => 10,
        }
    }

    fn port(self, local: SocketAddr, device: Option<Device>, v6only: bool) -> Port {
        let v6only = v6only && local.is_ipv6() && local.ip().is_unspecified();
        Port { device, v6only, ..Port::new(self.protocol, local) }
    }

    fn has(self, port: &Port) -> bool {
        port.protocol == self.protocol && port.local.is_ipv6() == self.v6
    }
}

/// The difference between two pictures: what is only in `now`, and what is only in `before`, both in order.
pub fn changes(before: &BTreeSet<Port>, now: &BTreeSet<Port>) -> (Vec<Port>, Vec<Port>) {
    (now.difference(before).copied().collect(), before.difference(now).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> BTreeSet<Port> {
        texts.iter().map(|text| text.parse().expect("a port")).collect()
    }

    #[test]
    fn changes_are_what_opened_and_what_closed() {
        let (opened, closed) =
            changes(&ports(&["tcp 0.0.0.0:22", "udp 0.0.0.0:68"]), &ports(&["tcp 0.0.0.0:22", "tcp6 [::]:22"]));
        assert_eq!(opened, ports(&["tcp6 [::]:22"]).into_iter().collect::<Vec<_>>());
        assert_eq!(closed, ports(&["udp 0.0.0.0:68"]).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_protocol_has_a_table_a_family() {
        for protocol in PortProtocol::ALL {
            for v6 in [false, true] {
                assert_eq!(TABLES.iter().filter(|table| **table == Table { protocol, v6 }).count(), 1);
            }
        }
    }
}
