//! The kernel's own list of network interfaces: what each is, whether it is up, and what it lost.
//!
//! Owns the rtnetlink socket and the reading of its answers. Must not know packet sockets. Layouts:
//! `linux/rtnetlink.h`, `linux/if_link.h`.

use std::{io, os::fd::OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// ARPHRD_LOOPBACK.
const LOOPBACK: u16 = 772;

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The kernel's number of it, which none gets a second time.
    pub index: u32,
    /// Its name, which another may get once it is gone.
    pub name: String,
    /// The kind of its hardware (ARPHRD_…).
    pub hardware: u16,
    /// Administratively up.
    pub up: bool,
    /// Packets that came and that it could not take, before any capture could see them.
    pub lost: u64,
    /// One end of a pair, whose other end is in another network namespace: a pod's.
    pub pod_end: bool,
    /// A bridge.
    pub bridge: bool,
}

impl Device {
    /// Every packet passes it twice.
    pub fn is_loopback(&self) -> bool {
        self.hardware == LOOPBACK
    }
}

/// Lists the interfaces of this network namespace again and again over one socket.
#[derive(Debug)]
pub struct Devices {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const DONE: u16 = 3;
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// NLM_F_REQUEST and NLM_F_DUMP.
const DUMP: u16 = 0x301;
const UP: u32 = 1;
const NAME: u16 = 3;
const COUNTERS: u16 = 23;
/// IFLA_LINKINFO, in it IFLA_INFO_KIND, and IFLA_LINK_NETNSID.
const INFO: u16 = 18;
const KIND: u16 = 1;
const OTHER_NAMESPACE: u16 = 37;

impl Devices {
    /// Opens the socket.
    pub fn open() -> io::Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// All of them.
    pub fn list(&mut self) -> io::Result<Vec<Device>> {
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.socket, &request(self.sequence), SendFlags::empty())?;
        let mut found = Vec::new();
        loop {
            let (length, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            if read(&self.buffer[..length], self.sequence, &mut found)? {
                return Ok(found);
            }
        }
    }
}

fn request(sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + LINK_HEADER);
    bytes.extend(((HEADER + LINK_HEADER) as u32).to_ne_bytes());
    bytes.extend(GET_LINK.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.resize(HEADER + LINK_HEADER, 0);
    bytes
}

/// Reads one datagram of the answer; true at its end.
fn read(mut bytes: &[u8], sequence: u32, found: &mut Vec<Device>) -> io::Result<bool> {
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0) as usize;
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= HEADER) else {
            return Err(io::Error::other("the kernel's list of interfaces is damaged"));
        };
        if u32_at(message, 8) == sequence {
            match u16_at(message, 4) {
                DONE => return Ok(true),
                ERROR => {
                    let number = if message.len() >= HEADER + 4 { u32_at(message, HEADER) as i32 } else { 0 };
                    return Err(io::Error::from_raw_os_error(-number));
                }
                NEW_LINK => found.extend(device(message)),
                _ => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn device(message: &[u8]) -> Option<Device> {
    let link = message.get(HEADER..HEADER + LINK_HEADER)?;
    let mut name = None;
    let mut lost = 0;
    let (mut kind, mut elsewhere) = (String::new(), false);
    attributes(&message[HEADER + LINK_HEADER..], |attribute, value| match attribute {
        NAME => name = Some(text(value)),
        COUNTERS => lost = lost_before_any_tap(value),
        INFO => attributes(value, |inner, value| {
            if inner == KIND {
                kind = text(value);
            }
        }),
        OTHER_NAMESPACE => elsewhere = true,
        _ => {}
    });
    Some(Device {
        index: u32_at(link, 4),
        name: name?,
        hardware: u16_at(link, 2),
        up: u32_at(link, 8) & UP != 0,
        lost,
        pod_end: elsewhere && matches!(kind.as_str(), "veth" | "netkit"),
        bridge: kind == "bridge",
    })
}

fn attributes(mut rest: &[u8], mut take: impl FnMut(u16, &[u8])) {
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 0));
        let Some(value) = rest.get(4..length) else { return };
        // Two bits of it say how the value is written.
        take(u16_at(rest, 2) & 0x3fff, value);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// `rx_dropped` is not among them: mostly it counts packets that nobody on the node wanted, which a capture has seen.
fn lost_before_any_tap(counters: &[u8]) -> u64 {
    const OVER: usize = 11;
    const FIFO: usize = 14;
    const MISSED: usize = 15;
    let counter = |number: usize| {
        let bytes = counters.get(number * 8..number * 8 + 8).and_then(<[u8]>::first_chunk::<8>);
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    // Drivers use one or the other for the same event.
    counter(MISSED) + counter(OVER).max(counter(FIFO))
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
    fn this_machines_loopback_is_in_the_list() {
        let found = Devices::open().expect("a socket").list().expect("a list");
        let lo = found.iter().find(|one| one.name == "lo").expect("loopback");
        assert!(lo.is_loopback() && lo.index == 1, "{lo:?}");
    }

    #[test]
    fn what_nobody_on_the_node_wanted_is_no_loss() {
        // rx_dropped 5, rx_over_errors 3, rx_fifo_errors 3, rx_missed_errors 7.
        let mut counters = [0_u64; 24];
        (counters[6], counters[11], counters[14], counters[15]) = (5, 3, 3, 7);
        let bytes: Vec<u8> = counters.iter().flat_map(|one| one.to_ne_bytes()).collect();
        assert_eq!(lost_before_any_tap(&bytes), 10);
        assert_eq!(lost_before_any_tap(&bytes[..80]), 0, "an older kernel's shorter list");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = bytes.clone();
            if message.len() >= 16 {
                let length = message.len() as u32;
                message[..4].copy_from_slice(&length.to_ne_bytes());
                message[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
                message[8..12].copy_from_slice(&7_u32.to_ne_bytes());
            }
            let _ = read(&message, 7, &mut Vec::new());
            let _ = read(&bytes, 7, &mut Vec::new());
        }
    }
}
