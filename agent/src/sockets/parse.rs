//! inet_diag's bytes: requests out, answers in. Pure; never panics, whatever the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// What was dumped changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// `struct nlmsghdr` is 16 bytes, `struct inet_diag_req_v2` 56, `struct inet_diag_msg` 72.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const MESSAGE: usize = 72;
/// Where `struct inet_diag_msg` has the interface that the socket is bound to, its queues, and its inode.
const DEVICE: usize = 40;
const QUEUES: usize = 56;
const INODE: usize = 68;
/// The attribute behind it: the socket takes no IPv4.
const INET_DIAG_SKV6ONLY: u16 = 11;

/// One socket of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub local: SocketAddr,
    /// The number of the interface that it is bound to, or 0.
    pub device: u32,
    pub v6only: bool,
    pub inode: u32,
    /// Of a listener, connections that wait and how many may; of others, bytes.
    pub queues: (u32, u32),
}

/// What one datagram from the kernel amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Datagram {
    /// The dump goes on in another datagram.
    More,
    /// The dump is complete.
    Done,
    /// The kernel's error number.
    Error(i32),
    /// Not what inet_diag writes.
    Malformed,
}

/// A dump request for the sockets whose state's bit is set in `states`.
pub(super) fn dump_request(sequence: u32, family: u8, ip_protocol: u8, states: u32) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    bytes[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = ip_protocol;
    bytes[20..24].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Reads one datagram of the dump with that sequence number and hands every socket to `found`; `interrupted` is set where the
/// kernel says that the dump is not consistent.
pub(super) fn datagram(
    mut bytes: &[u8],
    sequence: u32,
    interrupted: &mut bool,
    mut found: impl FnMut(Found),
) -> Datagram {
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0) as usize;
        let kind = u16_at(bytes, 4);
        if length < HEADER || length > bytes.len() {
            return Datagram::Malformed;
        }
        let body = &bytes[HEADER..length];
        // Another sequence number is the tail of a dump that was given up.
        if u32_at(bytes, 8) == sequence {
            *interrupted |= u16_at(bytes, 6) & NLM_F_DUMP_INTR != 0;
            match kind {
                // A dump without a handler ends at once, with the error behind the header.
                NLMSG_DONE => {
                    let status = if body.len() >= 4 { u32_at(body, 0) as i32 } else { 0 };
                    return if status < 0 { Datagram::Error(status.saturating_neg()) } else { Datagram::Done };
                }
                NLMSG_ERROR if body.len() >= 4 => {
                    return Datagram::Error((u32_at(body, 0) as i32).saturating_neg());
                }
                SOCK_DIAG_BY_FAMILY => match socket(body) {
                    Some(socket) => found(socket),
                    None => return Datagram::Malformed,
                },
                _ => return Datagram::Malformed,
            }
        }
        let aligned = length.next_multiple_of(4).min(bytes.len());
        bytes = &bytes[aligned..];
    }
    if bytes.is_empty() { Datagram::More } else { Datagram::Malformed }
}

/// One `struct inet_diag_msg` with its attributes.
fn socket(message: &[u8]) -> Option<Found> {
    if message.len() < MESSAGE {
        return None;
    }
    let port = u16::from_be_bytes([message[4], message[5]]);
    let address = match message[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&message[8..12]).ok()?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).ok()?)),
        _ => return None,
    };
    Some(Found {
        local: SocketAddr::new(address, port),
        device: u32_at(message, DEVICE),
        v6only: v6only(&message[MESSAGE..])?,
        inode: u32_at(message, INODE),
        queues: (u32_at(message, QUEUES), u32_at(message, QUEUES + 4)),
    })
}

/// Whether the attributes say so; `None` where they are none.
fn v6only(mut attributes: &[u8]) -> Option<bool> {
    while !attributes.is_empty() {
        let length = usize::from(u16::from_ne_bytes([*attributes.first()?, *attributes.get(1)?]));
        let kind = u16::from_ne_bytes([*attributes.get(2)?, *attributes.get(3)?]);
        let value = attributes.get(4..length)?;
        if kind == INET_DIAG_SKV6ONLY {
            return Some(value.first().is_some_and(|&byte| byte != 0));
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
    Some(false)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(sequence: u32, kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0..4].copy_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn listener(family: u8, port: u16, address: &[u8]) -> Vec<u8> {
        let mut body = vec![0; MESSAGE];
        body[0] = family;
        body[4..6].copy_from_slice(&port.to_be_bytes());
        body[8..8 + address.len()].copy_from_slice(address);
        body
    }

    fn read(bytes: &[u8]) -> (Vec<String>, Datagram) {
        let mut found = Vec::new();
        let outcome = datagram(bytes, 7, &mut false, |one| found.push(one.local.to_string()));
        (found, outcome)
    }

    #[test]
    fn addresses_of_both_families_are_read_to_the_end() {
        let mut bytes = message(7, SOCK_DIAG_BY_FAMILY, &listener(AF_INET, 22, &[10, 0, 0, 1]));
        bytes.extend(message(7, SOCK_DIAG_BY_FAMILY, &listener(AF_INET6, 443, &[0; 16])));
        assert_eq!(read(&bytes), (vec!["10.0.0.1:22".into(), "[::]:443".into()], Datagram::More));
        bytes.extend(message(7, NLMSG_DONE, &[0; 4]));
        assert_eq!(read(&bytes).1, Datagram::Done);
    }

    #[test]
    fn another_dumps_tail_is_passed_over() {
        let bytes = message(6, SOCK_DIAG_BY_FAMILY, &listener(AF_INET, 22, &[10, 0, 0, 1]));
        assert_eq!(read(&bytes), (vec![], Datagram::More));
    }

    #[test]
    fn the_kernels_error_number_is_kept() {
        assert_eq!(read(&message(7, NLMSG_ERROR, &(-13i32).to_ne_bytes())).1, Datagram::Error(13));
    }

    #[test]
    fn a_dump_without_a_handler_ends_with_its_error_and_is_no_empty_list() {
        assert_eq!(read(&message(7, NLMSG_DONE, &(-2i32).to_ne_bytes())).1, Datagram::Error(2));
        assert_eq!(read(&message(7, NLMSG_DONE, &0i32.to_ne_bytes())).1, Datagram::Done);
        assert_eq!(read(&message(7, NLMSG_DONE, &[])).1, Datagram::Done);
        assert_eq!(read(&message(7, NLMSG_DONE, &i32::MIN.to_ne_bytes())).1, Datagram::Error(i32::MAX));
    }

    #[test]
    fn an_inconsistent_dump_is_marked() {
        let mut bytes = message(7, SOCK_DIAG_BY_FAMILY, &listener(AF_INET, 22, &[10, 0, 0, 1]));
        let mut interrupted = false;
        datagram(&bytes, 7, &mut interrupted, |_| {});
        assert!(!interrupted);
        bytes[6..8].copy_from_slice(&NLM_F_DUMP_INTR.to_ne_bytes());
        datagram(&bytes, 7, &mut interrupted, |_| {});
        assert!(interrupted);
    }

    #[test]
    fn the_interface_and_whether_ipv4_is_taken_are_read() {
        let mut body = listener(AF_INET6, 8004, &[0; 16]);
        body[DEVICE..DEVICE + 4].copy_from_slice(&7u32.to_ne_bytes());
        // An attribute that is passed over, of a length that is no multiple of four.
        body.extend([5, 0, 8, 0, 1, 0, 0, 0]);
        body.extend([5, 0, 11, 0, 1, 0, 0, 0]);
        let mut found = Vec::new();
        datagram(&message(7, SOCK_DIAG_BY_FAMILY, &body), 7, &mut false, |one| found.push(one));
        assert_eq!((found[0].device, found[0].v6only), (7, true));
        body[MESSAGE + 12] = 0;
        datagram(&message(7, SOCK_DIAG_BY_FAMILY, &body), 7, &mut false, |one| found.push(one));
        assert!(!found[1].v6only);
        for broken in [&[9, 0, 11, 0, 1][..], &[3, 0, 11, 0], &[5, 0, 11]] {
            let mut body = listener(AF_INET6, 8004, &[0; 16]);
            body.extend(broken);
            assert_eq!(read(&message(7, SOCK_DIAG_BY_FAMILY, &body)).1, Datagram::Malformed, "{broken:?}");
        }
    }

    #[test]
    fn a_cut_message_is_malformed() {
        let bytes = message(7, SOCK_DIAG_BY_FAMILY, &listener(AF_INET, 22, &[10, 0, 0, 1]));
        assert_eq!(read(&bytes[..bytes.len() - 1]).1, Datagram::Malformed);
        assert_eq!(read(&message(7, SOCK_DIAG_BY_FAMILY, &[2; 10])).1, Datagram::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }
    }
}
