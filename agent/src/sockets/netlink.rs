//! The talk with the kernel: one dump each for TCP and UDP over IPv4 and IPv6.
//!
//! Owns the netlink socket. The state filter travels in the request, so established connections never leave the
//! kernel. Layouts and numbers: `linux/inet_diag.h`, `linux/sock_diag.h`, `net/tcp_states.h`.

use std::{collections::BTreeSet, os::fd::OwnedFd};

use nodewatch_protocol::{Port, PortProtocol};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::{
    ScanError,
    parse::{self, Datagram},
};

const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// One dump: which table, and the state whose sockets count as listening.
struct Table {
    name: &'static str,
    family: AddressFamily,
    protocol: PortProtocol,
    ip_protocol: u8,
    state: u8,
}

/// A bound, unconnected UDP socket is in the state that TCP calls CLOSE.
const TABLES: [Table; 4] = [
    Table { name: "tcp", family: AddressFamily::INET, protocol: PortProtocol::Tcp, ip_protocol: 6, state: TCP_LISTEN },
    Table {
        name: "tcp6",
        family: AddressFamily::INET6,
        protocol: PortProtocol::Tcp,
        ip_protocol: 6,
        state: TCP_LISTEN,
    },
    Table { name: "udp", family: AddressFamily::INET, protocol: PortProtocol::Udp, ip_protocol: 17, state: TCP_CLOSE },
    Table {
        name: "udp6",
        family: AddressFamily::INET6,
        protocol: PortProtocol::Udp,
        ip_protocol: 17,
        state: TCP_CLOSE,
    },
];

/// Lists listening sockets again and again over one netlink socket.
#[derive(Debug)]
pub struct Scanner {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
    inodes: Vec<(u32, Port)>,
}

impl Scanner {
    /// Opens the netlink socket.
    pub fn open() -> Result<Self, ScanError> {
        let socket =
            socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))
                .map_err(ScanError::Open)?;
        // The kernel fills datagrams of up to 32 KiB when the reader offers that much.
        Ok(Self { socket, buffer: vec![0; 32 * 1024], sequence: 0, inodes: Vec::new() })
    }

    /// Every TCP socket in LISTEN and every bound, unconnected UDP socket of this network namespace.
    pub fn scan(&mut self) -> Result<BTreeSet<Port>, ScanError> {
        let mut sockets = Vec::new();
        for table in &TABLES {
            self.dump(table, &mut sockets)?;
        }
        self.inodes = sockets;
        Ok(self.inodes.iter().map(|(_, port)| *port).collect())
    }

    /// The sockets of the last scan by inode, by which processes are found that hold them.
    pub fn inodes(&self) -> &[(u32, Port)] {
        &self.inodes
    }

    fn dump(&mut self, table: &Table, sockets: &mut Vec<(u32, Port)>) -> Result<(), ScanError> {
        self.sequence = self.sequence.wrapping_add(1);
        let family = table.family.as_raw() as u8;
        let request = parse::dump_request(self.sequence, family, table.ip_protocol, 1 << table.state);
        send(&self.socket, &request, SendFlags::empty()).map_err(|errno| ScanError::Ask(table.name, errno))?;
        loop {
            let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())
                .map_err(|errno| ScanError::Read(table.name, errno))?;
            let datagram = &self.buffer[..length];
            let mut found = |local, inode| sockets.push((inode, Port { protocol: table.protocol, local }));
            match parse::datagram(datagram, self.sequence, &mut found) {
                Datagram::More => {}
                Datagram::Done => return Ok(()),
                Datagram::Error(number) => return Err(ScanError::Refused(table.name, number)),
                Datagram::Malformed => return Err(ScanError::Malformed(table.name)),
            }
        }
    }
}
