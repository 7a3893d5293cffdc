//! Listening sockets of this network namespace.
//!
//! Owns the scan and what changed between two of them. Must not know tunnels or captures. Needs no capability.

mod netlink;
pub mod owners;
mod parse;

use std::collections::BTreeSet;

use nodewatch_protocol::Port;

pub use netlink::Scanner;

/// A scan failed.
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
    /// The kernel's answer has another form than inet_diag's.
    #[error("the kernel's list of {0} sockets is malformed")]
    Malformed(&'static str),
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
    fn a_scan_sees_a_socket_open_and_close() {
        let mut scanner = Scanner::open().expect("netlink");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = std::net::UdpSocket::bind("[::1]:0").expect("bind");
        let tcp: Port = format!("tcp {}", listener.local_addr().expect("address")).parse().expect("a port");
        let udp: Port = format!("udp6 {}", bound.local_addr().expect("address")).parse().expect("a port");
        let connected = std::net::TcpStream::connect(tcp.local).expect("connect");
        let client: Port = format!("tcp {}", connected.local_addr().expect("address")).parse().expect("a port");

        let before = scanner.scan().expect("scan");
        assert!(before.contains(&tcp) && before.contains(&udp), "{before:?}");
        assert!(!before.contains(&client), "an established connection is no open port");

        drop((listener, bound));
        let after = scanner.scan().expect("scan");
        assert!(!after.contains(&tcp) && !after.contains(&udp), "{after:?}");
    }
}
