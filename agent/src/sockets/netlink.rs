//! The talk with the kernel: a dump of one protocol's sockets over one family.
//!
//! Owns the netlink socket. The state filter travels in the request, so established connections never leave the
//! kernel. Layouts and numbers: `linux/inet_diag.h`, `linux/sock_diag.h`, `net/tcp_states.h`.

use std::{collections::BTreeMap, os::fd::OwnedFd, time::Duration};

use nodewatch_protocol::{Device, PortProtocol};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netdevice::index_to_name,
        netlink, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::{
    ScanError, Socket, Table,
    parse::{self, Datagram},
};

/// The kernel answers at once, or not at all.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// A dump that the kernel calls inconsistent is made anew so often; after that it is taken as it is.
const TRIES: usize = 3;

/// The netlink socket, opened when it is needed and again after a failure.
#[derive(Debug, Default)]
pub(super) struct Netlink {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// The sockets of one table, as the kernel lists them.
    pub(super) fn list(&mut self, table: Table) -> Result<Vec<Socket>, ScanError> {
        let listed = self.tries(table);
        if matches!(listed, Err(ScanError::Ask(..) | ScanError::Read(..) | ScanError::Malformed(..))) {
            // What is still on its way belongs to no later question.
            self.socket = None;
        }
        listed
    }

    fn tries(&mut self, table: Table) -> Result<Vec<Socket>, ScanError> {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            found.clear();
            if !self.dump(table, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// True when the tables changed under the dump, and it may have missed something.
    fn dump(&mut self, table: Table, sockets: &mut Vec<Socket>) -> Result<bool, ScanError> {
        self.sequence = self.sequence.wrapping_add(1);
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open()?),
        };
        // The kernel fills datagrams of up to 32 KiB when the reader offers that much.
        self.buffer.resize(32 * 1024, 0);
        let request = parse::dump_request(self.sequence, table.family(), table.ip_protocol(), 1 << table.state());
        send(socket, &request, SendFlags::empty()).map_err(|errno| ScanError::Ask(table.name(), errno))?;
        let mut names: BTreeMap<u32, Device> = BTreeMap::new();
        let mut interrupted = false;
        loop {
            let (length, _) = recv(socket, self.buffer.as_mut_slice(), RecvFlags::empty())
                .map_err(|errno| ScanError::Read(table.name(), errno))?;
            let found = |found: parse::Found| {
                let device = (found.device != 0)
                    .then(|| *names.entry(found.device).or_insert_with(|| device(socket, found.device)));
                let queue = if table.protocol == PortProtocol::Tcp { found.queues } else { (0, 0) };
                sockets.push(Socket { inode: found.inode, port: table.port(found.local, device, found.v6only), queue });
            };
            match parse::datagram(&self.buffer[..length], self.sequence, &mut interrupted, found) {
                Datagram::More => {}
                Datagram::Done => return Ok(interrupted),
                Datagram::Error(number) => return Err(ScanError::Refused(table.name(), number)),
                Datagram::Malformed => return Err(ScanError::Malformed(table.name())),
            }
        }
    }
}

fn open() -> Result<OwnedFd, ScanError> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))
        .map_err(ScanError::Open)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERED_WITHIN)).map_err(ScanError::Open)?;
    Ok(socket)
}

/// The interface of that number; one that is gone, or that no text can name, by its number.
fn device(socket: &OwnedFd, index: u32) -> Device {
    let name = index_to_name(socket, index).ok();
    name.and_then(|name| Device::named(&name)).unwrap_or_else(|| Device::numbered(index))
}

/// The kernel has no such list and will have none: asking again is of no use.
pub(super) fn is_final(error: &ScanError) -> bool {
    let passing = [Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::BUSY];
    match error {
        ScanError::Open(errno) => !passing.contains(errno),
        ScanError::Refused(_, number) => !passing.contains(&Errno::from_raw_os_error(*number)),
        _ => false,
    }
}
