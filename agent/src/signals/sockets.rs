//! How full accept queues are, and how many local ports are in use toward one address and port.
//!
//! Owns the count over all TCP sockets of the node's network namespace. The kernel leaves out those whose local port
//! is none that it gives out itself. Layouts: `linux/inet_diag.h`, `net/tcp_states.h`.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use nodewatch_signals::{Origin, SignalId, find};
use rustc_hash::FxHashMap;
use rustix::net::netlink;

use super::{
    Source, SourceError, Values,
    files::load,
    netlink::{Netlink, u32_at},
};

const EVERY: Duration = Duration::from_secs(10);
/// So many of each are told.
const TOLD: usize = 5;
/// Different paths that are counted at once.
const MOST_PATHS: usize = 65_536;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;
/// States of sockets that hold a local port and have another end, the last one a handshake that is not finished.
const CONNECTED: u32 = ((1 << 13) - 2) & !(1 << CLOSE | 1 << LISTEN);
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_S_GE: u8 = 2;
const INET_DIAG_BC_S_LE: u8 = 3;
/// Where `struct inet_diag_msg` has its ports, addresses and queues.
const LOCAL_PORT: usize = 4;
const REMOTE_PORT: usize = 6;
const LOCAL: usize = 8;
const REMOTE: usize = 24;
const QUEUES: usize = 56;

/// Source, destination and port.
type Paths = FxHashMap<(IpAddr, IpAddr, u16), u64>;

/// TCP sockets, over IPv4 and IPv6.
pub(super) struct Connections {
    netlink: Netlink,
    range: PathBuf,
    text: String,
    queue: Option<SignalId>,
    ports: Option<SignalId>,
}

impl Connections {
    pub(super) fn new(proc: &Path) -> Self {
        let id = |name: &str| find(name).map(|(at, _)| at);
        Self {
            netlink: Netlink::new(Some(netlink::SOCK_DIAG)),
            range: proc.join("sys/net/ipv4/ip_local_port_range"),
            text: String::new(),
            queue: id("tcp.accept_queue"),
            ports: id("tcp.ephemeral_ports"),
        }
    }
}

impl Source for Connections {
    fn origin(&self) -> Origin {
        Origin::SockDiag
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn read(&mut self, values: &mut Values) -> Result<(), SourceError> {
        load(&self.range, &mut self.text)?;
        let mut numbers = self.text.split_ascii_whitespace().map_while(|word| word.parse::<u16>().ok());
        let range = numbers.next().zip(numbers.next()).ok_or(SourceError::Malformed)?;
        let (mut queues, mut paths, mut left_out) = (Vec::new(), Paths::default(), 0_u64);
        for family in [AF_INET, AF_INET6] {
            let kind = (SOCK_DIAG_BY_FAMILY, SOCK_DIAG_BY_FAMILY);
            self.netlink.dump(kind, &question(family, 1 << LISTEN, None), |message| {
                let (waiting, most) = (u32_at(message, QUEUES)?, u32_at(message, QUEUES + 4)?);
                if waiting > 0 {
                    let percent = u64::from(waiting) * 100 / u64::from(most.max(1));
                    queues.push((percent, socket(message, LOCAL, LOCAL_PORT)?));
                }
                Some(())
            })?;
            self.netlink.dump(kind, &question(family, CONNECTED, Some(range)), |message| {
                let ((source, _), (to, port)) =
                    (socket(message, LOCAL, LOCAL_PORT)?, socket(message, REMOTE, REMOTE_PORT)?);
                let room = paths.len() < MOST_PATHS;
                match paths.get_mut(&(source, to, port)) {
                    Some(count) => *count += 1,
                    None if room => drop(paths.insert((source, to, port), 1)),
                    None => left_out += 1,
                }
                Some(())
            })?;
        }
        tell_queues(self.queue, queues, values);
        tell_paths(self.ports, paths, u64::from(range.1.saturating_sub(range.0)) + 1, values);
        if left_out > 0 {
            values.miss(
                format!("{} of {left_out} sockets", Origin::SockDiag.text()),
                format!("more than {MOST_PATHS} paths"),
            );
        }
        Ok(())
    }
}

/// `struct inet_diag_req_v2`, and behind it a program that takes local ports from the first to the last.
fn question(family: u8, states: u32, ports: Option<(u16, u16)>) -> Vec<u8> {
    let mut body = vec![0; 56];
    body[0] = family;
    body[1] = TCP;
    body[4..8].copy_from_slice(&states.to_ne_bytes());
    if let Some((first, last)) = ports {
        body.extend(20_u16.to_ne_bytes());
        body.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        // An instruction, how far to go when it is so and when not, and its number; past the end is no.
        for (instruction, port, otherwise) in [(INET_DIAG_BC_S_GE, first, 20_u16), (INET_DIAG_BC_S_LE, last, 12)] {
            body.extend([instruction, 8]);
            body.extend(otherwise.to_ne_bytes());
            body.extend([0, 0]);
            body.extend(port.to_ne_bytes());
        }
    }
    body
}

/// One end of a socket.
fn socket(message: &[u8], address: usize, port: usize) -> Option<(IpAddr, u16)> {
    let port = u16::from_be_bytes(message.get(port..port + 2)?.try_into().ok()?);
    let bytes: [u8; 16] = message.get(address..address + 16)?.try_into().ok()?;
    let address = match *message.first()? {
        AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        // A socket of both families talks to IPv4 by addresses of its own form.
        AF_INET6 => Ipv6Addr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some((address, port))
}

fn tell_queues(signal: Option<SignalId>, mut queues: Vec<(u64, (IpAddr, u16))>, values: &mut Values) {
    // Several sockets of one port each have a queue: the fullest counts.
    queues.sort_unstable_by_key(|(percent, socket)| (*socket, Reverse(*percent)));
    queues.dedup_by_key(|(_, socket)| *socket);
    queues.sort_unstable_by_key(|(percent, socket)| (Reverse(*percent), *socket));
    for (percent, (address, port)) in queues.into_iter().take(TOLD) {
        if let Some(signal) = signal {
            values.add_item(signal, &Rc::from(std::net::SocketAddr::new(address, port).to_string()), 0, percent);
        }
    }
}

/// Those that take at least one of a hundred ports.
fn tell_paths(signal: Option<SignalId>, paths: Paths, range: u64, values: &mut Values) {
    let mut most: Vec<_> = paths.into_iter().filter(|(_, count)| count * 100 >= range).collect();
    most.sort_unstable_by_key(|(path, count)| (Reverse(*count), *path));
    for ((source, to, port), count) in most.into_iter().take(TOLD) {
        if let Some(signal) = signal {
            let item = format!("{source} to {}", std::net::SocketAddr::new(to, port));
            values.add_item(signal, &Rc::from(item), 0, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &Values) -> Vec<(&str, u64)> {
        values.found.iter().map(|value| (&*value.item, value.number)).collect()
    }

    #[test]
    fn the_fullest_queue_of_a_port_counts_and_the_fullest_are_told() {
        let at = |last: u8, port: u16| (IpAddr::from([10, 0, 0, last]), port);
        let mut queues: Vec<_> = (1..9).map(|last| (u64::from(last) * 10, at(last, 80))).collect();
        queues.push((3, at(8, 80)));
        let mut values = Values::default();
        tell_queues(Some(0), queues, &mut values);
        let all =
            [("10.0.0.8:80", 80), ("10.0.0.7:80", 70), ("10.0.0.6:80", 60), ("10.0.0.5:80", 50), ("10.0.0.4:80", 40)];
        assert_eq!(told(&values), all);
    }

    #[test]
    fn paths_with_many_ports_are_told_and_those_with_few_are_not() {
        let path = |last: u8| (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, last]), 443);
        let paths = [(path(2), 9), (path(3), 10), (path(4), 500)].into_iter().collect();
        let mut values = Values::default();
        tell_paths(Some(0), paths, 1000, &mut values);
        assert_eq!(told(&values), [("10.0.0.1 to 10.0.0.4:443", 500), ("10.0.0.1 to 10.0.0.3:443", 10)]);
    }

    #[test]
    fn ends_of_sockets_are_read_and_what_is_cut_is_none() {
        let mut message = vec![0; 72];
        message[0] = AF_INET6;
        message[LOCAL_PORT..LOCAL_PORT + 2].copy_from_slice(&40_000_u16.to_be_bytes());
        message[LOCAL + 10..LOCAL + 16].copy_from_slice(&[255, 255, 10, 0, 0, 1]);
        assert_eq!(socket(&message, LOCAL, LOCAL_PORT), Some((IpAddr::from([10, 0, 0, 1]), 40_000)));
        assert_eq!(socket(&message[..20], LOCAL, LOCAL_PORT), None);
        message[0] = 1;
        assert_eq!(socket(&message, LOCAL, LOCAL_PORT), None);
    }
}
