//! Where the kernel would send a packet: the node's routes, its neighbours, and what its bridges have learnt.
//!
//! Owns the rtnetlink socket for these and the reading of its answers. No right is needed for any of it. Must not know
//! captures. Layouts: `linux/rtnetlink.h`, `linux/neighbour.h`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::OwnedFd,
};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

const HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const NEIGHBOUR_HEADER: usize = 12;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// NLM_F_REQUEST, and with NLM_F_DUMP.
const ONE: u16 = 0x1;
const DUMP: u16 = 0x301;
const INET: u8 = 2;
const INET6: u8 = 10;
const BRIDGE: u8 = 7;
/// RTN_UNICAST and RTN_LOCAL.
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const DESTINATION: u16 = 1;
const OUT: u16 = 4;
const GATEWAY: u16 = 5;
const VIA: u16 = 18;
/// NDA_DST, NDA_LLADDR, NDA_MASTER.
const NEIGHBOUR: u16 = 1;
const HARDWARE: u16 = 2;
const MASTER: u16 = 9;
/// NUD_INCOMPLETE and NUD_FAILED: their hardware address is none.
const UNKNOWN: u16 = 0x1 | 0x20;
/// More neighbours than this are looked at on no node.
const MOST: usize = 100_000;

/// Which way a packet would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Out of that interface, straight to its host.
    Direct(u32),
    /// Out of that interface, to the next router.
    Gateway(u32),
    /// Nowhere: the address is this node's own.
    Own,
    /// There is none.
    None,
}

/// What is known of a neighbour, or of a hardware address behind a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface that it is behind; of a bridge the port.
    pub index: u32,
    /// Its address; of a bridge none.
    pub address: Option<IpAddr>,
    /// Its hardware address.
    pub hardware: [u8; 6],
    /// The bridge, where the interface is a port of one.
    pub master: Option<u32>,
}

/// Asks again and again over one socket.
#[derive(Debug)]
pub struct Routes {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Routes {
    /// Opens the socket.
    pub fn open() -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// Where a packet to that address would go, by all rules and tables.
    pub fn to(&mut self, address: IpAddr) -> io::Result<Route> {
        let request = self.request(GET_ROUTE, ONE, &route_request(address));
        send(&self.socket, &request, SendFlags::empty())?;
        loop {
            let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut found = None;
            each(&self.buffer[..length], self.sequence, |kind, message| {
                match kind {
                    NEW_ROUTE => found = Some(route(message)),
                    // Unreachable, prohibited, a black hole.
                    ERROR => found = Some(Route::None),
                    _ => {}
                }
                found.is_some()
            });
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Neighbours by address.
    pub fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let mut found = self.dump(INET)?;
        found.extend(self.dump(INET6)?);
        Ok(found)
    }

    /// What bridges have learnt: which hardware address is behind which port.
    pub fn bridged(&mut self) -> io::Result<Vec<Neighbour>> {
        self.dump(BRIDGE)
    }

    fn dump(&mut self, family: u8) -> io::Result<Vec<Neighbour>> {
        let mut body = vec![0; NEIGHBOUR_HEADER];
        body[0] = family;
        let request = self.request(GET_NEIGHBOUR, DUMP, &body);
        send(&self.socket, &request, SendFlags::empty())?;
        let mut found = Vec::new();
        loop {
            let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut over = false;
            each(&self.buffer[..length], self.sequence, |kind, message| {
                match kind {
                    NEW_NEIGHBOUR if found.len() < MOST => found.extend(neighbour(message)),
                    DONE | ERROR => over = true,
                    _ => {}
                }
                over
            });
            if over {
                return Ok(found);
            }
        }
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }
}

fn route_request(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (INET6, v6.octets().to_vec()),
    };
    let mut body = vec![0; ROUTE_HEADER];
    body[0] = family;
    body[1] = (bytes.len() * 8) as u8;
    body.extend(((4 + bytes.len()) as u16).to_ne_bytes());
    body.extend(DESTINATION.to_ne_bytes());
    body.extend(bytes);
    body
}

/// Hands out the messages of one datagram that answer this request, until one is the last.
fn each(mut bytes: &[u8], sequence: u32, mut take: impl FnMut(u16, &[u8]) -> bool) {
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0) as usize;
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= HEADER) else { return };
        if u32_at(message, 8) == sequence && take(u16_at(message, 4), &message[HEADER..]) {
            return;
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn attributes(mut rest: &[u8], mut take: impl FnMut(u16, &[u8])) {
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 0));
        let Some(value) = rest.get(4..length) else { return };
        take(u16_at(rest, 2) & 0x3fff, value);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn route(body: &[u8]) -> Route {
    let Some(header) = body.get(..ROUTE_HEADER) else { return Route::None };
    let (mut out, mut gateway) = (None, false);
    attributes(&body[ROUTE_HEADER..], |kind, value| match kind {
        OUT => out = value.first_chunk::<4>().map(|four| u32::from_ne_bytes(*four)),
        GATEWAY | VIA => gateway = true,
        _ => {}
    });
    match (header[7], out) {
        (LOCAL, _) => Route::Own,
        (UNICAST, Some(out)) if gateway => Route::Gateway(out),
        (UNICAST, Some(out)) => Route::Direct(out),
        _ => Route::None,
    }
}

fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let header = body.get(..NEIGHBOUR_HEADER)?;
    if u16_at(header, 8) & UNKNOWN != 0 {
        return None;
    }
    let (mut address, mut hardware, mut master) = (None, None, None);
    attributes(&body[NEIGHBOUR_HEADER..], |kind, value| match kind {
        NEIGHBOUR => address = address_of(value),
        HARDWARE => hardware = <[u8; 6]>::try_from(value).ok(),
        MASTER => master = value.first_chunk::<4>().map(|four| u32::from_ne_bytes(*four)),
        _ => {}
    });
    Some(Neighbour { index: u32_at(header, 4), address, hardware: hardware?, master })
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|four| Ipv4Addr::from(*four).into()),
        16 => bytes.first_chunk::<16>().map(|all| Ipv6Addr::from(*all).into()),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_machines_own_address_is_its_own() {
        let mut routes = Routes::open().expect("a socket");
        assert_eq!(routes.to(Ipv4Addr::LOCALHOST.into()).expect("an answer"), Route::Own);
        routes.neighbours().expect("neighbours");
        routes.bridged().expect("what bridges know");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (route(&bytes), neighbour(&bytes));
            each(&bytes, 7, |_, _| false);
        }
    }
}
