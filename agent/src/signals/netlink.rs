//! Dumps over netlink, message by message.
//!
//! Owns the socket and the walk over messages and attributes. Must not know what they say. Every length that the
//! kernel wrote is checked before it is followed.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::SourceError;

/// The kernel answers at once, or not at all.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;

/// A netlink socket, opened when it is needed and again after a failure.
pub(crate) struct Netlink {
    /// `None` is that of routes, interfaces and queues, whose number is 0.
    protocol: Option<Protocol>,
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn new(protocol: Option<Protocol>) -> Self {
        Self { protocol, socket: None, buffer: Vec::new(), sequence: 0 }
    }

    /// Asks for a dump, and hands on the body of every message of that kind.
    pub(crate) fn dump(
        &mut self,
        (ask, kind): (u16, u16),
        body: &[u8],
        each: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<(), SourceError> {
        let dumped = self.try_dump((ask, kind), body, each);
        if dumped.is_err() {
            // What is still on its way belongs to no later question.
            self.socket = None;
        }
        dumped
    }

    fn try_dump(
        &mut self,
        (ask, kind): (u16, u16),
        body: &[u8],
        mut each: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<(), SourceError> {
        self.sequence = self.sequence.wrapping_add(1);
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open(self.protocol).map_err(SourceError::Refused)?),
        };
        // The kernel fills datagrams of up to 32 KiB when the reader offers that much.
        self.buffer.resize(32 * 1024, 0);
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend(ask.to_ne_bytes());
        request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(body);
        send(socket, &request, SendFlags::empty()).map_err(SourceError::Refused)?;
        loop {
            let (length, _) =
                recv(socket, self.buffer.as_mut_slice(), RecvFlags::empty()).map_err(SourceError::Refused)?;
            if messages(&self.buffer[..length], self.sequence, kind, &mut each)? {
                return Ok(());
            }
        }
    }
}

fn open(protocol: Option<Protocol>) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERED_WITHIN))?;
    Ok(socket)
}

/// True at the end of the dump with that number.
fn messages(
    mut bytes: &[u8],
    sequence: u32,
    wanted: u16,
    each: &mut impl FnMut(&[u8]) -> Option<()>,
) -> Result<bool, SourceError> {
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0).unwrap_or(0) as usize;
        let kind = u16_at(bytes, 4).unwrap_or(0);
        let body = bytes.get(HEADER..length).ok_or(SourceError::Malformed)?;
        if u32_at(bytes, 8) == Some(sequence) {
            match kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    let status = u32_at(body, 0).unwrap_or(0) as i32;
                    if status < 0 {
                        return Err(refusal(status));
                    }
                    return Ok(true);
                }
                kind if kind == wanted => each(body).ok_or(SourceError::Malformed)?,
                _ => {}
            }
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    if bytes.is_empty() { Ok(false) } else { Err(SourceError::Malformed) }
}

/// A kernel that was built without a list says so in one of these ways.
fn refusal(status: i32) -> SourceError {
    match Errno::from_raw_os_error(status.saturating_neg()) {
        Errno::NOENT | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT => SourceError::Absent,
        errno => SourceError::Refused(errno),
    }
}

/// Attributes, each with its kind and value; ends where they are none.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // Two bits say how the value is written.
        let kind = u16_at(bytes, 2)? & 0x3FFF;
        let value = bytes.get(4..length)?;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut seen = 0;
            let _ = messages(&bytes, 7, 16, &mut |body| { seen += body.len(); Some(()) });
            prop_assert!(seen <= bytes.len());
            prop_assert!(attributes(&bytes).map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
        }
    }
}
